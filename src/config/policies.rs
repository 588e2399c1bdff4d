//! Policy documents: where the manifest has them, or in a file of their own that it names. What IAM would not take is reported.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use super::text::{
    json,
    limits::{LARGEST_POLICY_FILE, MOST_POLICY_FILES},
    problems::{At, path_shown, quoted},
    reader::Document,
};
use crate::model::grammar::{self, Fault};

/// The key of a mapping that is no document, but names the file with it. No document has such an element.
pub(super) const FILE: &str = "file";

/// The files that a manifest names, and how they are read.
pub(super) struct Files<'a> {
    folder: PathBuf,
    read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// How many bytes may still be read, of all together.
    left: Cell<usize>,
    /// Where only files below the folder can be used: those that were read, by their path in it.
    collected: Option<RefCell<BTreeMap<String, String>>>,
}

impl<'a> Files<'a> {
    /// Those of the manifest at this path: what they are called is relative to its folder.
    pub(super) fn beside(manifest: &Path, read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Self {
        let folder = manifest.parent().map(Path::to_owned).unwrap_or_default();
        Self { folder, read, left: Cell::new(MOST_POLICY_FILES), collected: None }
    }

    /// The same, for a manifest that travels to the job with its files.
    pub(super) fn collecting(manifest: &Path, read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Self {
        Self { collected: Some(RefCell::default()), ..Self::beside(manifest, read) }
    }

    /// The files that were read, by their path in the manifest's folder.
    pub(super) fn collected(self) -> BTreeMap<String, String> {
        self.collected.map(RefCell::into_inner).unwrap_or_default()
    }

    /// # Errors
    /// Why there is no document in the file, in words.
    fn named(&self, name: &str) -> Result<Value, String> {
        let Some(collected) = &self.collected else { return self.document(&self.folder.join(name)) };
        let place = below(name).ok_or("is outside the manifest's folder: the job gets files in it and below it")?;
        let text = self.text(&self.folder.join(name))?;
        let document = parsed(&text)?;
        collected.borrow_mut().insert(place, text);
        Ok(document)
    }

    /// # Errors
    /// Why there is no document in the file, in words.
    pub(super) fn document(&self, path: &Path) -> Result<Value, String> {
        parsed(&self.text(path)?)
    }

    fn text(&self, path: &Path) -> Result<String, String> {
        let content = (self.read)(path).map_err(|error| format!("cannot be read: {error}"))?;
        if content.len() > LARGEST_POLICY_FILE {
            return Err(format!("is larger than {} KiB", LARGEST_POLICY_FILE >> 10));
        }
        let left = self.left.get().checked_sub(content.len());
        self.left.set(left.unwrap_or_default());
        left.ok_or_else(|| format!("makes all policy files together larger than {} MiB", MOST_POLICY_FILES >> 20))?;
        String::from_utf8(content).map_err(|_| "is not UTF-8 text".to_owned())
    }
}

fn parsed(text: &str) -> Result<Value, String> {
    json::parse(text).map_err(|problem| format!("is not JSON: {problem}"))
}

/// The document that stands in the manifest or in the file that it names; nothing after it has reported why there is none.
pub(super) fn document(Document(value): Document, files: &Files<'_>, at: &At<'_>) -> Option<Value> {
    let Some(name) = file(&value) else {
        for Fault { path, text } in grammar::faults(&value) {
            at.below(&path, &text);
        }
        return Some(value);
    };
    let at = at.key(FILE);
    if name.is_empty() {
        at.report("names no file");
        return None;
    }
    let path = files.folder.join(name);
    let shown = quoted(&path.display().to_string());
    let document = files.named(name).map_err(|problem| at.report(format_args!("{shown} {problem}"))).ok()?;
    for Fault { path, text } in grammar::faults(&document) {
        at.report(format_args!("{shown}: {}{text}", path_shown(&path)));
    }
    Some(document)
}

/// What IAM would not take in a document, each with its place in it.
#[cfg(feature = "laptop")]
pub(super) fn faults(document: &Value) -> Vec<String> {
    grammar::faults(document).into_iter().map(|Fault { path, text }| format!("{}{text}", path_shown(&path))).collect()
}

/// The path of a file below a folder; nothing if it is not there. A `..` may lead through a folder that the job does not have.
fn below(name: &str) -> Option<String> {
    let mut place = Vec::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => place.push(part.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(place.join("/"))
}

/// The file that stands in place of a document.
fn file(value: &Value) -> Option<&str> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.get(FILE)?.as_str()
}
