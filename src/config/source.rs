//! The manifest's text: read and parsed once, then typed for the sections that a command needs.
//!
//! What the sections mean is not known here.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::{
    manifest::Manifest,
    policies::FILE,
    text::{
        interpolation::{interpolate, interpolate_as_far},
        limits::{LARGEST_MANIFEST, LONGEST_FILE},
        node::{Node, Value},
        problems::{At, ProblemLog, Problems, choices},
        reader, yaml,
    },
};
use crate::model::{grammar::Step, line::bounded};

/// The sections of a manifest; anything else at its top is a mistake.
const SECTIONS: [&str; 5] = ["cluster", "defaults", "identities", "job", "prune"];

/// The sections of a manifest that say what the identities are.
pub(super) const IDENTITIES: [&str; 3] = ["defaults", "prune", "identities"];

/// A manifest as far as it could be read, or none.
#[derive(Default)]
pub(super) struct Source {
    /// Its name as given.
    file: String,
    /// Nothing after the log got the reason.
    root: Option<Node>,
}

impl Source {
    /// The manifest of this content.
    pub(super) fn of(path: &Path, content: io::Result<Vec<u8>>, log: &ProblemLog) -> Self {
        let text = text(content, log);
        Self { file: bounded(&path.display().to_string(), LONGEST_FILE), root: text.and_then(|text| root(&text, log)) }
    }

    /// These sections of the manifest, as typed. A variable that is not set is no problem in the others.
    pub(super) fn typed(&self, sections: &[&str], variables: &BTreeMap<String, String>, log: &ProblemLog) -> Option<Manifest> {
        let at = At::root(log);
        let mut root = self.root.as_ref()?.only(|key| !SECTIONS.contains(&key) || sections.contains(&key));
        interpolate(&mut root, variables, &at);
        let typed = reader::read::<Manifest>(&root, &at);
        if typed.is_absent() {
            log.file(format_args!("is empty: add {}", choices(sections.last().copied())));
        }
        typed.value()
    }

    /// Whether the manifest has this section.
    pub(super) fn has(&self, section: &str) -> bool {
        self.root.as_ref().is_some_and(|root| matches!(&root.value, Value::Mapping(entries) if entries.contains_key(section)))
    }

    /// The same as far as these variables tell: what depends on one that is not set is left out, and no problem. Keys at the top that are no
    /// section are not looked at: [`typed`](Self::typed) does so. A file that cannot be told is a problem, since it cannot be read here.
    pub(super) fn typed_as_far(&self, sections: &[&str], variables: &BTreeMap<String, String>, log: &ProblemLog) -> Option<Manifest> {
        let at = At::root(log);
        let mut root = self.root.as_ref()?.only(|key| sections.contains(&key));
        for path in interpolate_as_far(&mut root, variables, &at) {
            if matches!(path.last(), Some(Step::Key(key)) if key == FILE) {
                At::report_at(log, path, "names a file by a variable that only the job has: `install` cannot read the file");
            }
        }
        reader::read::<Manifest>(&root, &at).value()
    }

    /// The problems of a log as text, those of the manifest with their lines.
    pub(super) fn problems(&self, log: ProblemLog) -> Problems {
        log.into_problems(&self.file, |path| Some(self.root.as_ref()?.line_of(path)))
    }
}

/// Reads a file, or as much of it as shows that it is too large for a manifest.
///
/// # Errors
/// The file cannot be opened or read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe that nobody writes to would never end.
    if !std::fs::metadata(path)?.file_type().is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(LARGEST_MANIFEST as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// The text of the manifest, or nothing after the log got the reason.
fn text(content: io::Result<Vec<u8>>, log: &ProblemLog) -> Option<String> {
    let content = content.map_err(|error| log.file(format_args!("cannot be read: {error}"))).ok()?;
    if content.len() > LARGEST_MANIFEST {
        log.file(format_args!("is larger than {} MiB", LARGEST_MANIFEST >> 20));
        return None;
    }
    String::from_utf8(content).map_err(|_| log.file("is not UTF-8 text")).ok()
}

/// The tree of the manifest, or nothing after the log got the reason.
fn root(text: &str, log: &ProblemLog) -> Option<Node> {
    let report = |problem: yaml::SyntaxProblem| match problem.position {
        Some((line, column)) => log.position(line, column, problem.text),
        None => log.file(problem.text),
    };
    yaml::parse(text).map_err(report).ok()
}
