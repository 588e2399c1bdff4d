//! Policy documents: read, compared by meaning, written without white space.
//!
//! IAM takes and returns equivalent forms: a string where a list of one could stand, any order, any white space.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use thiserror::Error;

use super::gather::Gather as _;

/// The longest document that IAM takes or returns, in characters, white space included.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
const LONGEST_DOCUMENT: usize = 131_072;

/// A text that is no policy document.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not a policy document: {0}")]
pub struct DocumentProblem(pub String);

/// Reads the statements of a document: a single object counts as a list of one.
///
/// # Errors
/// The text is not JSON, not an object, or has no statements.
pub fn parse(text: &str) -> Result<(Map<String, Value>, Vec<Value>), DocumentProblem> {
    let value: Value = serde_json::from_str(text).map_err(|error| DocumentProblem(format!("no JSON ({error})")))?;
    let Value::Object(mut document) = value else { return Err(DocumentProblem("no JSON object".to_owned())) };
    match document.remove("Statement") {
        Some(Value::Array(statements)) => Ok((document, statements)),
        Some(statement @ Value::Object(_)) => Ok((document, vec![statement])),
        _ => Err(DocumentProblem("no `Statement`".to_owned())),
    }
}

/// A document as it was before it was percent-encoded, which IAM does with all that it returns, as in RFC 3986.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html>
///
/// # Errors
/// What comes out is no text, or a longer one than IAM takes: read as JSON it would take many times its size.
pub fn percent_decoded(document: &str) -> Result<String, DocumentProblem> {
    let decoded = percent_decode_str(document).decode_utf8().map_err(|error| DocumentProblem(error.to_string()))?;
    if decoded.chars().nth(LONGEST_DOCUMENT).is_some() {
        return Err(DocumentProblem(format!("longer than {LONGEST_DOCUMENT} characters")));
    }
    Ok(decoded.into_owned())
}

/// Whether two documents mean the same to IAM, as far as their form tells.
#[must_use]
pub fn means_the_same(one: &Value, other: &Value) -> bool {
    canonical_document(one) == canonical_document(other)
}

/// A document in the one form that equal meanings share.
#[must_use]
pub fn canonical_document(document: &Value) -> Value {
    let Value::Object(members) = document else { return document.clone() };
    members
        .iter()
        .map(|(key, value)| {
            let value = if key == "Statement" {
                Value::Array(
                    as_set(value).iter().map(canonical_statement).gather::<BTreeSet<_>>().into_iter().map(|Ordered(value)| value).collect(),
                )
            } else {
                value.clone()
            };
            (key.clone(), value)
        })
        .collect()
}

/// A statement in the one form that equal meanings share.
#[must_use]
pub fn canonical_statement(statement: &Value) -> Ordered {
    let Value::Object(members) = statement else { return Ordered(statement.clone()) };
    Ordered(
        members
            .iter()
            .map(|(key, value)| {
                let value = match key.as_str() {
                    // The names of actions ignore case; resources do not.
                    "Action" | "NotAction" => canonical_list(value, str::to_ascii_lowercase),
                    "Resource" | "NotResource" => canonical_list(value, str::to_owned),
                    "Principal" | "NotPrincipal" => canonical_principal(value),
                    "Condition" => canonical_condition(value),
                    _ => value.clone(),
                };
                (key.clone(), value)
            })
            .collect(),
    )
}

/// JSON with an order, by its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered(pub Value);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_string().cmp(&other.0.to_string())
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// `"*"` and `{"AWS": "*"}` are one principal.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
fn canonical_principal(principal: &Value) -> Value {
    match principal {
        Value::String(all) if all == "*" => serde_json::json!({ "AWS": ["*"] }),
        Value::Object(kinds) => kinds.iter().map(|(kind, who)| (kind.clone(), canonical_list(who, str::to_owned))).collect(),
        other => other.clone(),
    }
}

/// The names of condition keys ignore case; values may be text, numbers or truth values.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html>
fn canonical_condition(condition: &Value) -> Value {
    let Value::Object(operators) = condition else { return condition.clone() };
    operators
        .iter()
        .map(|(operator, keys)| {
            let keys = match keys {
                Value::Object(keys) => {
                    let mut by_key: BTreeMap<String, Vec<Value>> = BTreeMap::new();
                    for (key, values) in keys {
                        by_key.entry(key.to_ascii_lowercase()).or_default().push(canonical_list(values, str::to_owned));
                    }
                    by_key.into_iter().map(|(key, lists)| (key, canonical_lists(lists))).collect()
                }
                other => other.clone(),
            };
            (operator.clone(), keys)
        })
        .collect()
}

/// A key that stands there in two cases is two conditions, and both must hold: no single list means that.
fn canonical_lists(mut lists: Vec<Value>) -> Value {
    match lists.pop() {
        Some(only) if lists.is_empty() => only,
        last => lists.into_iter().chain(last).map(Ordered).gather::<BTreeSet<_>>().into_iter().map(|Ordered(list)| list).collect(),
    }
}

fn canonical_list(values: &Value, text: impl Fn(&str) -> String) -> Value {
    let texts: BTreeSet<String> = as_set(values)
        .iter()
        .map(|value| match value {
            Value::String(value) => text(value),
            other => other.to_string(),
        })
        .gather();
    texts.into_iter().map(Value::String).collect()
}

fn as_set(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        other => std::slice::from_ref(other),
    }
}

/// The texts of a string or a list of strings.
#[must_use]
pub fn texts(value: &Value) -> Vec<&str> {
    as_set(value).iter().filter_map(Value::as_str).collect()
}

/// Whether a pattern with `*` (any text) and `?` (any one character) matches a text.
#[must_use]
pub fn pattern_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut star, mut resume) = (0, None, 0);
    let mut position = 0;
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some(at);
                resume = position;
                at += 1;
            }
            Some(&character) if character == '?' || character == text[position] => {
                at += 1;
                position += 1;
            }
            _ => match star {
                Some(before) => {
                    at = before + 1;
                    resume += 1;
                    position = resume;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&character| character == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equivalent_forms_mean_the_same() {
        let one = json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a",
            "Condition": {"StringEquals": {"aws:PrincipalTag/Team": "x"}, "Bool": {"aws:SecureTransport": true}}}});
        let other = json!({"Statement": [{
            "Condition": {"Bool": {"aws:securetransport": ["true"]}, "StringEquals": {"AWS:principaltag/team": ["x"]}},
            "Resource": ["arn:aws:s3:::a"], "Action": ["S3:getobject"], "Effect": "Allow"}], "Version": "2012-10-17"});
        assert!(means_the_same(&one, &other));
    }

    #[test]
    fn order_of_lists_and_statements_does_not_matter() {
        let one = json!({"Statement": [{"Action": ["b:x", "a:y"]}, {"Action": "c:z"}]});
        let other = json!({"Statement": [{"Action": ["c:z"]}, {"Action": ["a:y", "b:x", "b:x"]}]});
        assert!(means_the_same(&one, &other));
    }

    #[test]
    fn a_key_that_stands_twice_in_two_cases_is_two_conditions() {
        let condition = |keys: serde_json::Value| json!({"Statement": [{"Effect": "Allow", "Condition": {"StringEquals": keys}}]});
        let once = condition(json!({"a:sub": "x"}));
        for keys in [json!({"A:SUB": "y", "a:sub": "x"}), json!({"A:SUB": "x", "a:sub": "y"}), json!({"A:SUB": "x", "a:sub": "x"})] {
            assert!(!means_the_same(&once, &condition(keys.clone())), "{keys}");
            assert!(!means_the_same(&condition(json!({"a:sub": ["x", "y"]})), &condition(keys.clone())), "{keys}");
            assert!(means_the_same(&condition(keys.clone()), &condition(keys.clone())), "{keys}");
        }
    }

    #[test]
    fn different_meanings_differ() {
        let base = json!({"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a"}]});
        for other in [
            json!({"Statement": [{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a"}]}),
            json!({"Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::a"}]}),
            json!({"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::A"}]}),
            json!({"Statement": [{"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "arn:aws:s3:::a"}]}),
            json!({"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a", "Condition": {}}]}),
        ] {
            assert!(!means_the_same(&base, &other), "{other}");
        }
    }

    #[test]
    fn principals_of_everyone_are_one() {
        assert_eq!(canonical_principal(&json!("*")), canonical_principal(&json!({"AWS": "*"})));
        assert_ne!(canonical_principal(&json!("*")), canonical_principal(&json!({"Federated": "*"})));
    }

    #[test]
    fn patterns_match_as_in_iam() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("z*:app", "z1:app", true),
            ("z*:app", "a1:app", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xxaxxb", true),
            ("*a*b", "xxaxx", false),
            ("abc", "abcd", false),
            ("abc*", "abc", true),
        ] {
            assert_eq!(pattern_matches(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_document_longer_than_iam_takes_is_not_read() {
        for (length, is_read) in [(LONGEST_DOCUMENT, true), (LONGEST_DOCUMENT + 1, false)] {
            let decoded = percent_decoded(&"%C3%A9".repeat(length));
            assert_eq!(decoded.is_ok(), is_read, "{length}");
        }
        assert_eq!(percent_decoded(&"%7B".repeat(200_000)), Err(DocumentProblem("longer than 131072 characters".to_owned())));
    }

    #[test]
    fn what_is_no_document_is_a_problem() {
        for text in ["", "{", "[]", "{}", "{\"Statement\": 1}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
