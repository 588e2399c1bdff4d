//! Members of a JSON value by their path, as `$.credential.access_token`, `$.items[0].token` or `$['a key']`.
//!
//! It stands in for the crate of this name. `kube` uses that for `token-key` and `expiry-key` of kubeconfigs alone, which name a member each.
//! Filters, slices, wildcards and `..` are errors here, never another answer than the crate's.

use serde_json::Value;
use thiserror::Error;

/// A path that is none, or that asks for more than a member.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no path of members: write it as `$.credential.access_token`")]
pub struct PathError(String);

/// What can be asked for members.
pub trait JsonPath {
    /// The value at a path, if it is there: one at most.
    ///
    /// # Errors
    /// The path is none, or asks for more than a member.
    fn query(&self, path: &str) -> Result<Vec<&Value>, PathError>;
}

impl JsonPath for Value {
    fn query(&self, path: &str) -> Result<Vec<&Value>, PathError> {
        let steps = steps(path).ok_or_else(|| PathError(path.to_owned()))?;
        let found = steps.iter().try_fold(self, |value, step| match step {
            Step::Member(name) => value.as_object()?.get(*name),
            Step::Element(index) => value.as_array()?.get(*index),
        });
        Ok(found.into_iter().collect())
    }
}

enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let step;
        (step, rest) = if let Some(after) = rest.strip_prefix('.') {
            let (name, after) = after.split_at(after.find(['.', '[']).unwrap_or(after.len()));
            let is_name = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
            (Step::Member(Some(name).filter(|name| !name.is_empty() && name.chars().all(is_name))?), after)
        } else {
            let after = rest.strip_prefix('[')?;
            if let Some(quote) = after.chars().next().filter(|quote| matches!(quote, '\'' | '"')) {
                let (name, after) = after.get(1..)?.split_once(quote)?;
                (Step::Member(Some(name).filter(|name| !name.contains('\\'))?), after.strip_prefix(']')?)
            } else {
                let (index, after) = after.split_once(']')?;
                let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
                (Step::Element(Some(index).filter(|_| is_number)?.parse().ok()?), after)
            }
        };
        steps.push(step);
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_of_members_finds_one_value_or_none() {
        let printed = json!({"credential": {"access_token": "t", "a key": 1}, "items": [{"x": true}]});
        for (path, found) in [
            ("$", vec![printed.clone()]),
            ("$.credential.access_token", vec![json!("t")]),
            ("$['credential'][\"a key\"]", vec![json!(1)]),
            ("$.items[0].x", vec![json!(true)]),
            ("$.items[1]", vec![]),
            ("$.items.x", vec![]),
            ("$.credential[0]", vec![]),
            ("$.nothing.there", vec![]),
        ] {
            assert_eq!(printed.query(path).unwrap().into_iter().cloned().collect::<Vec<_>>(), found, "{path}");
        }
    }

    #[test]
    fn what_asks_for_more_than_a_member_is_an_error() {
        let value = json!({});
        for path in
            ["", "credential", "$.", "$..x", "$.*", "$[*]", "$[?@.x]", "$[0:1]", "$[-1]", "$['x", "$[x]", "$[]", "$.a b", "$x", "$['\\'']"]
        {
            assert_eq!(value.query(path), Err(PathError(path.to_owned())), "{path}");
        }
        assert!(PathError("$..x".to_owned()).to_string().contains("`$..x`"));
    }
}
