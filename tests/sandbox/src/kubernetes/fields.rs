//! Sets of field paths: who owns what in an object (the `fieldsV1` of `managedFields`).
//!
//! Sets only; which fields a document has is in `schema.rs`, who takes them in `managed.rs`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of field paths, as a tree. A path element is written as in `fieldsV1`: `f:name`, `k:{"name":"x"}`, `v:"x"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    member: bool,
    children: BTreeMap<String, Fields>,
}

impl Fields {
    /// Reads `fieldsV1`.
    pub(super) fn from_value(value: &Value) -> Self {
        let Some(members) = value.as_object() else {
            return Self::default();
        };
        let mut fields = Self::default();
        for (element, below) in members {
            if element == "." {
                fields.member = true;
                continue;
            }
            let mut child = Self::from_value(below);
            child.member |= child.children.is_empty();
            fields.children.insert(element.clone(), child);
        }
        fields
    }

    /// Writes `fieldsV1`.
    pub(super) fn to_value(&self) -> Value {
        let mut members = Map::new();
        for (element, child) in &self.children {
            let mut below = child.to_value();
            if child.member
                && !child.children.is_empty()
                && let Some(below) = below.as_object_mut()
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            members.insert(element.clone(), below);
        }
        members.into()
    }

    pub(super) fn insert(&mut self, path: &[String]) {
        match path {
            [] => self.member = true,
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Takes out one path, not those below it.
    pub(super) fn remove(&mut self, path: &[&str]) {
        match path {
            [] => self.member = false,
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.remove(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Whether this very place is in the set.
    pub(super) const fn is_member(&self) -> bool {
        self.member
    }

    /// What is below a path element.
    pub(super) fn child(&self, element: &str) -> Option<&Self> {
        self.children.get(element)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.member |= other.member;
        for (element, theirs) in &other.children {
            let ours = union.children.entry(element.clone()).or_default();
            *ours = ours.union(theirs);
        }
        union
    }

    /// The paths that are in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.filtered(Some(other), &|ours, theirs| ours && theirs.is_some_and(Self::is_member))
    }

    /// The paths that are not in the other set.
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.filtered(Some(other), &|ours, theirs| ours && !theirs.is_some_and(Self::is_member))
    }

    /// The paths at which, or below which, the other set has nothing.
    pub(super) fn outside(&self, other: &Self) -> Self {
        self.filtered(Some(other), &|ours, theirs| ours && theirs.is_none())
    }

    fn filtered(&self, other: Option<&Self>, keep: &dyn Fn(bool, Option<&Self>) -> bool) -> Self {
        let children = self
            .children
            .iter()
            .map(|(element, ours)| {
                let theirs = other.and_then(|other| other.child(element));
                (element.clone(), ours.filtered(theirs, keep))
            })
            .filter(|(_, kept)| !kept.is_empty())
            .collect();
        Self { member: keep(self.member, other), children }
    }

    /// Every path in the set as conflicts name it: `.metadata.annotations.key`, `.secrets[name="x"]`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(prefix.to_owned());
        }
        for (element, child) in &self.children {
            child.collect(&format!("{prefix}{}", readable(element)), paths);
        }
    }
}

fn readable(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", pairs.join(","))
        }
        _ => element.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: &Value) -> Fields {
        Fields::from_value(value)
    }

    #[test]
    fn a_set_is_written_as_it_was_read() {
        let cases = [
            json!({}),
            json!({"f:metadata": {"f:annotations": {".": {}, "f:r": {}}}}),
            json!({"f:metadata": {"f:annotations": {}}}),
            json!({"f:secrets": {"k:{\"name\":\"x\"}": {}}}),
        ];
        for value in cases {
            assert_eq!(set(&value).to_value(), value);
        }
    }

    #[test]
    fn a_difference_leaves_the_container_that_is_a_member_itself() {
        let owned = set(&json!({"f:metadata": {"f:annotations": {".": {}, "f:r": {}}}}));
        let taken = set(&json!({"f:metadata": {"f:annotations": {"f:r": {}}}}));
        assert_eq!(owned.difference(&taken).to_value(), json!({"f:metadata": {"f:annotations": {}}}));
        assert_eq!(owned.intersection(&taken), taken);
        assert_eq!(owned.union(&taken), owned);
        assert!(taken.outside(&owned).is_empty());
    }

    #[test]
    fn paths_are_named_as_in_conflicts() {
        let fields = set(&json!({
            "f:metadata": {"f:annotations": {"f:eks.amazonaws.com/role-arn": {}}, "f:finalizers": {"v:\"a/b\"": {}}},
            "f:secrets": {"k:{\"name\":\"x\"}": {}},
        }));
        let names = [".metadata.annotations.eks.amazonaws.com/role-arn", ".metadata.finalizers[=\"a/b\"]", ".secrets[name=\"x\"]"];
        assert_eq!(fields.paths(), names);
    }
}
