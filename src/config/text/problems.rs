//! Problems of the configuration: where they are, how they read, and the log that collects them.
//!
//! Nothing here decides what is a problem, and nothing here reads a file.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use super::limits::{LONGEST_BARE_KEY, LONGEST_PROBLEM, LONGEST_VALUE, MOST_PROBLEM_TEXT, MOST_PROBLEMS, PATH_BEGINNING, PATH_END};
use crate::model::{grammar::Step, line::bounded, names::NameProblem};

/// Everything that is wrong with the configuration, as the user reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    shown: Vec<String>,
    count: usize,
}

impl Problems {
    /// The problems one by one: the first hundred at most, and no more than one reads.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.shown.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.count == 1 { "problem" } else { "problems" };
        write!(f, "{} {noun} in the configuration", self.count)?;
        for problem in &self.shown {
            write!(f, "\n  {problem}")?;
        }
        match self.count.saturating_sub(self.shown.len()) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

/// Where a problem is.
enum Place {
    /// In a variable or a flag: its text tells which.
    Setting,
    /// In the manifest as a whole.
    File,
    /// At a line and column of the manifest.
    Position(usize, usize),
    /// At a node of the manifest.
    Node(Vec<Step>),
}

struct Problem {
    place: Place,
    text: String,
}

/// Collects problems, so that all of them are reported at once.
#[derive(Default)]
pub(in crate::config) struct ProblemLog {
    kept: RefCell<Vec<Problem>>,
    count: Cell<usize>,
}

impl ProblemLog {
    fn add(&self, place: Place, text: String) {
        self.count.set(self.count.get() + 1);
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MOST_PROBLEMS {
            kept.push(Problem { place, text });
        }
    }

    /// The variable or flag `name` itself: `` `NAME` is not set ``.
    pub(in crate::config) fn setting(&self, name: &str, text: impl fmt::Display) {
        self.add(Place::Setting, format!("`{name}` {text}"));
    }

    /// The value of the variable or flag `name`: `` `NAME`: `x` is not … ``.
    pub(in crate::config) fn value(&self, name: &str, text: impl fmt::Display) {
        self.add(Place::Setting, format!("`{name}`: {text}"));
    }

    /// The manifest as a whole.
    pub(in crate::config) fn file(&self, text: impl fmt::Display) {
        self.add(Place::File, text.to_string());
    }

    /// A line and column of the manifest.
    pub(in crate::config) fn position(&self, line: usize, column: usize, text: impl fmt::Display) {
        self.add(Place::Position(line, column), text.to_string());
    }

    pub(in crate::config) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// The problems as text: settings first, then the manifest from top to bottom.
    ///
    /// `line_of` finds the line of a node of the manifest, `file` is the manifest's name as given.
    pub(in crate::config) fn into_problems(self, file: &str, line_of: impl Fn(&[Step]) -> Option<usize>) -> Problems {
        let mut lines: Vec<(usize, String)> = self
            .kept
            .into_inner()
            .into_iter()
            .map(|Problem { place, text }| match place {
                Place::Setting => (0, text),
                Place::File => (1, format!("{file}: {text}")),
                Place::Position(line, column) => (line, format!("{file}:{line}:{column}: {text}")),
                Place::Node(path) => {
                    let line = line_of(&path);
                    let at = line.map(|line| format!(":{line}")).unwrap_or_default();
                    (line.unwrap_or(usize::MAX), format!("{file}{at}: {}{text}", path_shown(&path)))
                }
            })
            .collect();
        lines.sort_by_key(|(line, _)| *line);
        let mut left = MOST_PROBLEM_TEXT;
        let fits = |line: &String| left.checked_sub(line.len()).inspect(|less| left = *less).is_some();
        let shown = lines.into_iter().map(|(_, text)| bounded(&text, LONGEST_PROBLEM)).take_while(fits).collect();
        Problems { shown, count: self.count.get() }
    }
}

/// A node of the manifest that problems can be reported at.
pub(in crate::config) struct At<'a> {
    log: &'a ProblemLog,
    way: Option<(&'a At<'a>, BorrowedStep<'a>)>,
}

#[derive(Clone, Copy)]
enum BorrowedStep<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(in crate::config) fn root(log: &'a ProblemLog) -> Self {
        Self { log, way: None }
    }

    /// The value of a key of the mapping here.
    pub(in crate::config) fn key<'b>(&'b self, key: &'b str) -> At<'b> {
        At { log: self.log, way: Some((self, BorrowedStep::Key(key))) }
    }

    /// An element of the list here.
    pub(in crate::config) fn index(&self, index: usize) -> At<'_> {
        At { log: self.log, way: Some((self, BorrowedStep::Index(index))) }
    }

    /// Reports a problem of this node.
    pub(in crate::config) fn report(&self, text: impl fmt::Display) {
        self.log.add(Place::Node(self.path()), text.to_string());
    }

    /// Reports a problem of the node at this path.
    pub(in crate::config) fn report_at(log: &ProblemLog, path: Vec<Step>, text: impl fmt::Display) {
        log.add(Place::Node(path), text.to_string());
    }

    /// Reports a problem of a node below this one.
    pub(in crate::config) fn below(&self, path: &[Step], text: impl fmt::Display) {
        let path = self.path().into_iter().chain(path.iter().cloned()).collect();
        self.log.add(Place::Node(path), text.to_string());
    }

    /// The way to this node.
    pub(in crate::config) fn path(&self) -> Vec<Step> {
        let mut path = Vec::new();
        let mut at = self;
        while let Some((parent, step)) = at.way {
            path.push(match step {
                BorrowedStep::Key(key) => Step::Key(key.to_owned()),
                BorrowedStep::Index(index) => Step::Index(index),
            });
            at = parent;
        }
        path.reverse();
        path
    }
}

/// A path as people write it: `identities[1].labels["example.com/team"]`.
struct Shown<'a>(&'a [Step]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key)
                    if !key.is_empty()
                        && key.len() <= LONGEST_BARE_KEY
                        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) =>
                {
                    write!(f, "{}{key}", if position == 0 { "" } else { "." })?;
                }
                Step::Key(key) => write!(f, "[\"{}\"]", printable(key))?,
            }
        }
        Ok(())
    }
}

/// A path before a message, nothing for the root: of one that is too long its beginning and its end.
pub(in crate::config) fn path_shown(path: &[Step]) -> String {
    if path.is_empty() {
        return String::new();
    }
    let text = format!("{}: ", Shown(path));
    match (text.chars().count() - 2).checked_sub(PATH_BEGINNING + PATH_END) {
        None | Some(0) => text,
        Some(beyond) => text.chars().take(PATH_BEGINNING).chain(['…']).chain(text.chars().skip(PATH_BEGINNING + beyond)).collect(),
    }
}

/// A value for a message: in backticks, on one line, of bounded length.
pub(in crate::config) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text))
}

/// A name problem with its value bounded and on one line.
pub(in crate::config) fn named(problem: &NameProblem) -> String {
    format!("{} is not {}: {}", quoted(&problem.value), problem.kind, problem.rule)
}

fn printable(text: &str) -> String {
    bounded(text, LONGEST_VALUE)
}

/// `a`, `a` or `b`, `a`, `b` or `c`: every choice in backticks.
pub(in crate::config) fn choices<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        None => String::new(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_problem_is_singular_and_settings_come_before_lines() {
        let log = ProblemLog::default();
        log.setting("A", "is not set");
        assert_eq!(log.into_problems("m.yml", |_| None).to_string(), "1 problem in the configuration\n  `A` is not set");

        let log = ProblemLog::default();
        At::root(&log).key("z").index(3).key("example.com/x").report("second");
        log.position(2, 7, "first");
        log.value("B", "`x` is odd");
        insta::assert_snapshot!(log.into_problems("m.yml", |_| Some(9)), @r#"
        3 problems in the configuration
          `B`: `x` is odd
          m.yml:2:7: first
          m.yml:9: z[3]["example.com/x"]: second
        "#);
    }

    #[test]
    fn values_cannot_break_the_line_or_flood_the_message() {
        assert_eq!(quoted("a\nb\u{1b}[31m\u{202e}"), "`a\\nb\\u{1b}[31m\\u{202e}`");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 131);
    }

    #[test]
    fn beyond_a_hundred_problems_are_counted() {
        let log = ProblemLog::default();
        for _ in 0..137 {
            log.file("odd");
        }
        let problems = log.into_problems("m.yml", |_| None);
        assert_eq!(problems.iter().count(), 100);
        assert!(problems.to_string().starts_with("137 problems in the configuration\n"));
        assert!(problems.to_string().ends_with("\n  and 37 more"));
    }

    #[test]
    fn choices_read_as_a_sentence() {
        assert_eq!(choices(["a"]), "`a`");
        assert_eq!(choices(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
