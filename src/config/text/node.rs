//! The manifest as a tree of plain values that know their lines: after YAML, before any meaning.
//!
//! No key of the manifest is known here.

use std::collections::BTreeMap;

use crate::model::grammar::Step;

/// A value where it stands. Two are equal that say the same, wherever they stand.
#[derive(Clone, Debug)]
pub(in crate::config) struct Node {
    /// The line, from 1: that of its key, of itself in a list.
    pub(super) line: usize,
    pub(in crate::config) value: Value,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Value {
    /// A value whose problem is reported already: whatever depends on it stays silent.
    Wrong,
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Sequence(Vec<Node>),
    Mapping(BTreeMap<String, Node>),
}

/// A number as YAML reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    /// The line of the node that a path leads to, or of the nearest node above it that exists.
    pub(in crate::config) fn line_of(&self, path: &[Step]) -> usize {
        let below = path.split_first().and_then(|(step, rest)| Some((self.value.below(step)?, rest)));
        below.map_or(self.line, |(node, rest)| node.line_of(rest))
    }

    /// The node with only those entries of its mapping whose key is wanted.
    pub(in crate::config) fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let Value::Mapping(entries) = &self.value else { return self.clone() };
        let entries = entries.iter().filter(|(key, _)| wanted(key)).map(|(key, node)| (key.clone(), node.clone()));
        Self { line: self.line, value: Value::Mapping(entries.collect()) }
    }
}

impl Value {
    fn below(&self, step: &Step) -> Option<&Node> {
        match (self, step) {
            (Self::Sequence(nodes), Step::Index(index)) => nodes.get(*index),
            (Self::Mapping(entries), Step::Key(key)) => entries.get(key),
            _ => None,
        }
    }

    /// What the value is, for a message: `a list`, ``the number `3` ``.
    pub(super) fn described(&self) -> String {
        match self {
            Self::Wrong => "a value with a problem".to_owned(),
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Number(number) => format!("the number `{number}`"),
            Self::String(_) => "a string".to_owned(),
            Self::Sequence(_) => "a list".to_owned(),
            Self::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}
