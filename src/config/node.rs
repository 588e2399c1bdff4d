//! The manifest as a tree of plain values: after YAML, before any meaning.
//!
//! No key of the manifest is known here.

use std::collections::BTreeMap;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
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
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
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

impl Node {
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
