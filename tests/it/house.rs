//! The rooms of the source and the arrows between them: what `src/lib.rs` draws is what the files do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    ItemUse, UseTree,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// A module: the names on the way to it, none for the root.
type Module = Vec<String>;

/// What one file names of others.
#[derive(Default)]
struct Named {
    /// A path below the root, and the line.
    paths: Vec<(Vec<String>, usize)>,
    /// A path that begins with a name of the module's own scope: perhaps a child.
    relative: Vec<(Vec<String>, usize)>,
    /// What the module hands on under its own name: name and path.
    handed_on: BTreeMap<String, Vec<String>>,
}

/// Walks one file, without what only tests see.
struct Walk<'a> {
    module: &'a [String],
    named: Named,
}

impl Walk<'_> {
    /// The path below the root, if it is one of this crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base: Vec<String> = self.module.to_vec();
        match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => return None,
        }
        let mut rest = &path[1..];
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn tree(&mut self, tree: &UseTree, way: &mut Vec<String>, is_handed_on: bool) {
        match tree {
            UseTree::Path(path) => {
                way.push(path.ident.to_string());
                self.tree(&path.tree, way, is_handed_on);
                way.pop();
            }
            UseTree::Group(group) => {
                for item in &group.items {
                    self.tree(item, way, is_handed_on);
                }
            }
            UseTree::Name(name) if name.ident == "self" => self.used(way.clone(), None, tree.span().start().line, is_handed_on),
            UseTree::Name(name) => {
                let path = way.iter().cloned().chain([name.ident.to_string()]).collect();
                self.used(path, Some(name.ident.to_string()), tree.span().start().line, is_handed_on);
            }
            UseTree::Rename(renamed) => {
                let path = way.iter().cloned().chain([renamed.ident.to_string()]).collect();
                self.used(path, Some(renamed.rename.to_string()), tree.span().start().line, is_handed_on);
            }
            UseTree::Glob(_) => self.used(way.clone(), None, tree.span().start().line, is_handed_on),
        }
    }

    fn used(&mut self, path: Vec<String>, name: Option<String>, line: usize, is_handed_on: bool) {
        // `pub use child::Name` needs no `self`.
        let absolute = self.absolute(&path).or_else(|| is_handed_on.then(|| self.module.iter().chain(&path).cloned().collect()));
        match (absolute, name) {
            (Some(absolute), Some(name)) if is_handed_on => {
                self.named.handed_on.insert(name, absolute);
            }
            (Some(absolute), _) => self.named.paths.push((absolute, line)),
            (None, _) => self.named.relative.push((self.module.iter().cloned().chain(path).collect(), line)),
        }
    }

    /// Paths in the arguments of macros.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) if ["crate", "super", "self"].contains(&first.to_string().as_str()) => {
                    let mut path = vec![first.to_string()];
                    let mut rest = &tokens[at + 1..];
                    while let [TokenTree::Punct(one), TokenTree::Punct(two), TokenTree::Ident(next), ..] = rest {
                        if one.as_char() != ':' || two.as_char() != ':' {
                            break;
                        }
                        path.push(next.to_string());
                        rest = &rest[3..];
                    }
                    if path.len() > 1 {
                        self.used(path, None, first.span().start().line, false);
                    }
                }
                _ => {}
            }
        }
    }
}

fn is_of_tests(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|only| only.is_ident("test")))
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_of_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_of_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &mut Vec::new(), !matches!(item.vis, syn::Visibility::Inherited));
    }

    // `pub(in crate::plan)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>();
        if segments.len() > 1 {
            self.used(segments, None, path.span().start().line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

/// The source: each module with its file and what it names.
struct Source {
    modules: BTreeMap<Module, (String, Named)>,
}

/// One use of a module by another.
struct Use {
    file: String,
    line: usize,
    from: Module,
    to: Module,
}

impl Source {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut source = Self { modules: BTreeMap::new() };
        source.folder(&root, &mut Vec::new());
        assert!(source.modules.len() > 80, "{}", source.modules.len());
        source
    }

    fn folder(&mut self, folder: &Path, way: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if name == "tests" || name == "main" && way.is_empty() {
                continue;
            }
            if path.is_dir() {
                way.push(name);
                self.folder(&path, way);
                way.pop();
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let mut module = way.clone();
                if !["mod", "lib"].contains(&name.as_str()) {
                    module.push(name);
                }
                let shown = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
                let mut walk = Walk { module: &module, named: Named::default() };
                walk.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
                let named = walk.named;
                self.modules.insert(module, (shown, named));
            }
        }
    }

    /// The module in which what a path names is written, however many others hand it on.
    fn home(&self, path: &[String]) -> Option<Module> {
        let module = (0..=path.len()).rev().map(|length| &path[..length]).find(|module| self.modules.contains_key(*module))?;
        let next = path.get(module.len());
        let handed_on = next.and_then(|name| self.modules[module].1.handed_on.get(name));
        match handed_on {
            Some(further) if further != path => self.home(further),
            _ => Some(module.to_vec()),
        }
    }

    fn uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        for (from, (file, named)) in &self.modules {
            let is_of_child = |path: &[String]| path.get(..=from.len()).is_some_and(|child| self.modules.contains_key(child));
            let relative = named.relative.iter().filter(|(path, _)| is_of_child(path));
            for (path, line) in named.paths.iter().chain(relative) {
                let to = self.home(path).unwrap();
                if to != *from {
                    uses.push(Use { file: file.clone(), line: *line, from: from.clone(), to });
                }
            }
        }
        uses
    }
}

/// The map of `src/lib.rs`, from the top down: each room and those that it may use.
fn map() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let map = text.lines().skip_while(|line| *line != "//! ```text").skip(1).take_while(|line| *line != "//! ```");
    let rows = map.map(|line| line.trim_start_matches("//! ").split_once('→').unwrap());
    let names = |cell: &str| cell.split_whitespace().filter(|name| *name != "–").map(str::to_owned).collect::<BTreeSet<_>>();
    rows.map(|(room, uses)| (room.trim().to_owned(), names(uses))).collect()
}

#[test]
fn arrows_between_rooms_are_those_of_the_map() {
    let (source, map) = (Source::read(), BTreeMap::from_iter(map()));
    let folders: BTreeSet<String> = source.modules.keys().filter_map(|module| module.first().cloned()).collect();
    assert_eq!(map.keys().cloned().collect::<BTreeSet<_>>(), folders, "the rooms of src and of the map");
    let mut drawn: BTreeSet<(String, String)> = BTreeSet::new();
    let mut against = Vec::new();
    for Use { file, line, from, to } in source.uses() {
        let (Some(from), Some(to)) = (from.first(), to.first()) else { continue };
        if from == to {
            continue;
        }
        if !map[from].contains(to) {
            against.push(format!("{file}:{line}: `{from}` uses `{to}`, which the map in src/lib.rs does not draw"));
        }
        drawn.insert((from.clone(), to.clone()));
    }
    assert!(against.is_empty(), "{}", against.join("\n"));
    let unused = map.iter().flat_map(|(from, to)| to.iter().map(|to| (from.clone(), to.clone()))).filter(|arrow| !drawn.contains(arrow));
    assert_eq!(unused.collect::<Vec<_>>(), [], "arrows that nothing uses");
}

#[test]
fn the_map_leads_down_only() {
    let mut above = BTreeSet::new();
    for (room, uses) in map() {
        above.insert(room.clone());
        let up = uses.intersection(&above).collect::<Vec<_>>();
        assert!(up.is_empty(), "`{room}` may not use {up:?}, which stand above it");
    }
}

/// The arrows between the parts of one folder, each with the first line that draws it. A part is a file or a folder; `mod.rs` is one too.
fn arrows(uses: &[Use], folder: &[String]) -> BTreeMap<(String, String), String> {
    let part = |module: &Module| {
        let inside = module.strip_prefix(folder)?;
        Some(inside.first().map_or_else(|| "mod".to_owned(), Clone::clone))
    };
    let mut arrows = BTreeMap::new();
    for Use { file, line, from, to } in uses {
        if let (Some(from), Some(to)) = (part(from), part(to))
            && from != to
        {
            arrows.entry((from, to)).or_insert_with(|| format!("{file}:{line}"));
        }
    }
    arrows
}

fn reaches(arrows: &BTreeMap<(String, String), String>, from: &str, to: &str) -> bool {
    let mut reached = BTreeSet::from([from]);
    loop {
        let next: Vec<&str> = arrows
            .keys()
            .filter(|(one, other)| reached.contains(one.as_str()) && !reached.contains(other.as_str()))
            .map(|(_, other)| other.as_str())
            .collect();
        if next.is_empty() {
            return reached.contains(to);
        }
        reached.extend(next);
    }
}

#[test]
fn no_folder_has_a_circle_in_it() {
    let source = Source::read();
    let uses = source.uses();
    let folders: BTreeSet<Module> = source.modules.keys().filter_map(|module| Some(module.split_last()?.1.to_vec())).collect();
    let mut circles = Vec::new();
    for folder in folders {
        let arrows = arrows(&uses, &folder);
        for ((from, to), at) in &arrows {
            if reaches(&arrows, to, from) {
                circles.push(format!("{at}: src/{}: `{from}` uses `{to}`, and `{to}` comes back to `{from}`", folder.join("/")));
            }
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// The most files of `src` that an attribute may cost which goes along with the calls that create and update a role.
const FILES_OF_AN_ATTRIBUTE: usize = 8;

/// Whether a file says a word, tests aside.
fn says(path: &Path, word: &str) -> bool {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\n").next().unwrap();
    code.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').any(|other| other == word)
}

#[test]
fn an_attribute_of_a_role_is_in_the_files_that_contributing_names_and_few_enough() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = Source::read();
    let files = source.modules.values().map(|(file, _)| file.clone());
    let saying: BTreeSet<String> = files.filter(|file| says(&root.join(file), "max_session_duration")).collect();
    let contributing = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let section = contributing.split("\n## ").find(|section| section.starts_with("Add a key to the manifest\n")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(file, _)| file.to_owned()));
    assert_eq!(saying, rows.collect(), "the files that name `max_session_duration`, and those of the table in CONTRIBUTING.md");
    assert!(saying.len() <= FILES_OF_AN_ATTRIBUTE, "{saying:?}");
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut named = 0;
    for document in documents.chain(["CONTRIBUTING.md", "README.md"].map(|name| root.join(name))) {
        let text = fs::read_to_string(&document).unwrap();
        for word in text.split('`').skip(1).step_by(2).filter(|word| word.starts_with("src/") || word.starts_with("tests/")) {
            named += 1;
            assert!(root.join(word).exists(), "{}: {word}", document.display());
        }
    }
    assert!(named > 20, "{named}");
}

/// What decides nothing by itself: the clock, the environment, files, the network, other threads, and what belongs to an SDK.
const OUTSIDE: [&str; 16] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "kube",
    "k8s_openapi",
    "reqwest",
    "http",
    "envy",
];

#[test]
fn plan_and_model_see_nothing_of_the_outside() {
    let source = Source::read();
    let mut seen = Vec::new();
    let mut looked_at = 0;
    for (module, (file, named)) in &source.modules {
        if !["plan", "model"].contains(&module.first().map_or("", String::as_str)) {
            continue;
        }
        for (path, line) in &named.relative {
            looked_at += 1;
            let path = path[module.len()..].join("::");
            let is_outside = |outside: &&str| path == **outside || path.starts_with(&format!("{outside}::"));
            if path.starts_with("aws_") || OUTSIDE.iter().any(is_outside) {
                seen.push(format!("{file}:{line}: {path}"));
            }
        }
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let asynchronous = (1..).zip(text.lines()).filter(|(_, line)| line.contains("async "));
        seen.extend(
            asynchronous.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(number, line)| format!("{file}:{number}: {line}")),
        );
    }
    assert!(looked_at > 100, "{looked_at}");
    assert!(seen.is_empty(), "{}", seen.join("\n"));
}
