//! `${NAME}` in the string values of the manifest.
//!
//! It happens between YAML and meaning: a value becomes part of one string and can never add a key, a list or a type.
//! Keys are left as they are. An empty variable counts as one that is not set, as everywhere in the configuration.

use std::collections::BTreeMap;

use super::{
    limits::MOST_INSERTED,
    node::{Node, Value},
    problems::{At, quoted},
};
use crate::model::grammar::Step;

/// Replaces the variables in every string of the tree.
///
/// A string with a problem is reported and becomes [`Value::Wrong`].
pub(in crate::config) fn interpolate(node: &mut Node, variables: &BTreeMap<String, String>, at: &At<'_>) {
    Interpolation { variables, left: MOST_INSERTED, unset: None }.node(node, at);
}

/// The same where some variables may be known only elsewhere: a string with one that is not set becomes [`Value::Wrong`] without a report.
/// Where these strings are.
pub(in crate::config) fn interpolate_as_far(node: &mut Node, variables: &BTreeMap<String, String>, at: &At<'_>) -> Vec<Vec<Step>> {
    let mut interpolation = Interpolation { variables, left: MOST_INSERTED, unset: Some(Vec::new()) };
    interpolation.node(node, at);
    interpolation.unset.unwrap_or_default()
}

struct Interpolation<'v> {
    variables: &'v BTreeMap<String, String>,
    left: usize,
    /// Where variables are not set, if that is no problem.
    unset: Option<Vec<Vec<Step>>>,
}

/// Why a reference has no value.
enum Fault {
    /// It is none.
    Malformed(String),
    /// Its variable is not set.
    Unset(String),
}

impl Interpolation<'_> {
    fn node(&mut self, node: &mut Node, at: &At<'_>) {
        match &mut node.value {
            Value::String(text) if text.contains('$') => match self.text(text) {
                Ok(replaced) => *text = replaced,
                Err(problems) => {
                    for problem in problems {
                        match (problem, &mut self.unset) {
                            (Fault::Unset(_), Some(unset)) => unset.push(at.path()),
                            (Fault::Unset(problem) | Fault::Malformed(problem), _) => at.report(problem),
                        }
                    }
                    node.value = Value::Wrong;
                }
            },
            Value::Sequence(nodes) => {
                for (index, node) in nodes.iter_mut().enumerate() {
                    self.node(node, &at.index(index));
                }
            }
            Value::Mapping(entries) => {
                for (key, node) in entries {
                    self.node(node, &at.key(key));
                }
            }
            Value::Wrong | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// # Errors
    /// Every problem of the text.
    fn text(&mut self, text: &str) -> Result<String, Vec<Fault>> {
        let mut problems = Vec::new();
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            replaced.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                replaced.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some((reference, after)) = after.split_once('}') else {
                    problems.push(Fault::Malformed(format!("{} has no `}}` at its end", quoted(&format!("${rest}")))));
                    break;
                };
                match value(self.variables, reference) {
                    Ok(value) => match self.left.checked_sub(value.len()) {
                        Some(left) => {
                            self.left = left;
                            replaced.push_str(value);
                        }
                        None => {
                            problems.push(Fault::Malformed(format!(
                                "the values inserted into the manifest are larger than {} MiB together",
                                MOST_INSERTED >> 20
                            )));
                        }
                    },
                    Err(problem) => problems.push(problem),
                }
                rest = after;
            } else {
                replaced.push('$');
            }
        }
        replaced.push_str(rest);
        if problems.is_empty() { Ok(replaced) } else { Err(problems) }
    }
}

/// The value of what stands between `${` and `}`.
fn value<'r>(variables: &'r BTreeMap<String, String>, reference: &'r str) -> Result<&'r str, Fault> {
    let (name, default) = reference.split_once(":-").map_or((reference, None), |(name, default)| (name, Some(default)));
    if !is_name(name) || default.is_some_and(|default| default.contains('$')) {
        let whole = format!("${{{reference}}}");
        return Err(Fault::Malformed(format!(
            "{} is not a variable: use `${{NAME}}` or `${{NAME:-default}}`, and {} for a variable of IAM",
            quoted(&whole),
            quoted(&format!("${whole}"))
        )));
    }
    let value = variables.get(name);
    match (value.filter(|value| !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default),
        (None, None) => {
            let state = if value.is_some() { "is empty" } else { "is not set" };
            Err(Fault::Unset(format!(
                "the variable {} {state}: set it, or write {}",
                quoted(name),
                quoted(&format!("${{{name}:-default}}"))
            )))
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::{problems::ProblemLog, yaml};
    use super::*;
    use proptest::prelude::*;

    fn variables() -> BTreeMap<String, String> {
        [("A", "one"), ("B_2", "x: [y"), ("E", ""), ("D", "${A} $$")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn text(text: &str) -> Result<String, String> {
        let said = |(Fault::Malformed(problem) | Fault::Unset(problem))| problem;
        let replaced = Interpolation { variables: &variables(), left: MOST_INSERTED, unset: None }.text(text);
        replaced.map_err(|problems| problems.into_iter().map(said).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn legal_forms_are_replaced() {
        for (form, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "one"),
            ("a-${A}-${A}-b", "a-one-one-b"),
            ("${B_2}", "x: [y"),
            ("${A:-two}", "one"),
            ("${X:-two}", "two"),
            ("${E:-two}", "two"),
            ("${X:-}", ""),
            ("${X:-a:-b}", "a:-b"),
            ("${D}", "${A} $$"),
            ("$$", "$"),
            ("$$$$", "$$"),
            ("$${A}", "${A}"),
            ("$$${A}", "$one"),
            ("$${aws:username}", "${aws:username}"),
            ("$", "$"),
            ("$A", "$A"),
            ("5$ and $ {A}", "5$ and $ {A}"),
            ("é${A}é", "éoneé"),
        ] {
            assert_eq!(text(form).as_deref(), Ok(expected), "{form:?}");
        }
    }

    #[test]
    fn other_forms_are_problems_that_say_what_to_write() {
        for form in ["${}", "${aws:username}", "${*}", "${A-b}", "${1A}", "${A }", "${X:-${A}}", "${A", "x ${", "${é}"] {
            assert!(text(form).is_err(), "{form:?}");
        }
        assert_eq!(
            text("arn:aws:s3:::b/${aws:username}/*").unwrap_err(),
            "`${aws:username}` is not a variable: use `${NAME}` or `${NAME:-default}`, and `$${aws:username}` for a variable of IAM"
        );
        assert_eq!(text("${X}").unwrap_err(), "the variable `X` is not set: set it, or write `${X:-default}`");
        assert_eq!(text("${E}").unwrap_err(), "the variable `E` is empty: set it, or write `${E:-default}`");
        assert_eq!(text("a ${A").unwrap_err(), "`${A` has no `}` at its end");
        assert_eq!(
            text("${X}${A}${E:-}${Y:-}${A").unwrap_err(),
            "the variable `X` is not set: set it, or write `${X:-default}`; `${A` has no `}` at its end"
        );
    }

    #[test]
    fn values_that_would_fill_the_memory_are_refused() {
        let variables = [("BIG".to_owned(), "x".repeat(1 << 20))].into();
        let mut node = yaml::parse(&format!("[{}]", vec!["'${BIG}'"; 100].join(", "))).unwrap();
        let log = ProblemLog::default();
        interpolate(&mut node, &variables, &At::root(&log));
        let Value::Sequence(nodes) = node.value else { panic!("{node:?}") };
        assert_eq!(nodes.iter().filter(|node| node.value == Value::Wrong).count(), 96);
    }

    /// The tree without what its strings say.
    fn structure(node: &Node) -> Node {
        let value = match &node.value {
            Value::String(_) => Value::String(String::new()),
            Value::Sequence(nodes) => Value::Sequence(nodes.iter().map(structure).collect()),
            Value::Mapping(entries) => Value::Mapping(entries.iter().map(|(key, node)| (key.clone(), structure(node))).collect()),
            other => other.clone(),
        };
        Node { line: node.line, value }
    }

    proptest! {
        #[test]
        fn a_value_never_changes_the_structure(value in "(?s).{1,40}", prefix in "[ -#%-~]{0,10}") {
            let manifest = "a: ${V}\nb: [\"x${V}y\", {c: \"${V}\", \"${V}\": d}]\ne: |\n  ${V}\n  ${V:-z}\nf: '${V}'\n";
            let before = yaml::parse(manifest).unwrap();
            let mut after = before.clone();
            let log = ProblemLog::default();
            let value = format!("{prefix}{value}");
            interpolate(&mut after, &[("V".to_owned(), value.clone())].into(), &At::root(&log));
            prop_assert!(log.is_empty());
            prop_assert_eq!(structure(&before), structure(&after));
            let Value::Mapping(entries) = after.value else { panic!() };
            prop_assert_eq!(&entries["f"].value, &Value::String(value));
        }

        #[test]
        fn any_text_is_replaced_or_refused(form in "[${}A:a-]{0,12}|(?s).{0,20}") {
            if let Ok(replaced) = text(&form) && !form.contains('$') {
                prop_assert_eq!(replaced, form);
            }
        }
    }
}
