//! Conditions of one's own in the tool's trust statement: operator, key, values, as IAM has them.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{fingerprint::fingerprint, gather::Gather as _};

/// Conditions that a request must meet beside the name and the audience of its token; often none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conditions(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

/// What is wrong with one of them: at which operator and key, if it is about one, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionProblem {
    /// The keys on the way to it.
    pub path: Vec<String>,
    /// In words.
    pub text: String,
}

/// The operators without `ForAnyValue:`, `ForAllValues:` and `IfExists`.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
pub(super) const OPERATORS: [&str; 27] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Null",
];

impl Conditions {
    /// Reads them as they stand in a manifest or a statement.
    ///
    /// # Errors
    /// Everything that IAM would not take, or that the tool writes itself.
    pub fn read(value: &Value) -> Result<Self, Vec<ConditionProblem>> {
        let (mut conditions, mut problems) = (Self::default(), Vec::new());
        let mut report = |path: &[&str], text: String| {
            problems.push(ConditionProblem { path: path.iter().map(|key| (*key).to_owned()).collect(), text });
        };
        let Value::Object(operators) = value else {
            report(&[], "must be a mapping of operators, as `IpAddress: {\"aws:SourceIp\": [10.0.0.0/8]}`".to_owned());
            return Err(problems);
        };
        for (operator, keys) in operators {
            let Some(base) = base_of(operator) else {
                report(&[operator], "is no condition operator of IAM; their names begin with a capital letter, as `StringLike`".to_owned());
                continue;
            };
            let Value::Object(keys) = keys else {
                report(&[operator], "must be a mapping of condition keys".to_owned());
                continue;
            };
            if keys.is_empty() {
                report(&[operator], "is empty".to_owned());
            }
            let mut seen = BTreeSet::new();
            for (key, values) in keys {
                if let Some(text) = problem_of_key(key) {
                    report(&[operator, key], text.to_owned());
                } else if !seen.insert(key.to_lowercase()) {
                    report(&[operator, key], "differs only by case from another key: for IAM they are one key".to_owned());
                }
                match values_of(base, values) {
                    Ok(values) => drop(conditions.0.entry(operator.clone()).or_default().insert(key.clone(), values)),
                    Err(text) => report(&[operator, key], text),
                }
            }
        }
        if problems.is_empty() { Ok(conditions) } else { Err(problems) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their condition keys, each with its operator.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(operator, wanted)| wanted.keys().map(move |key| (operator.as_str(), key.as_str())))
    }

    /// As they stand in a statement. One value is written as a text: IAM shows it either way, and a trust policy is short.
    #[must_use]
    pub fn to_members(&self) -> Map<String, Value> {
        let values = |values: &BTreeSet<String>| match values.iter().collect::<Vec<_>>().as_slice() {
            [only] => Value::String((*only).clone()),
            all => all.iter().map(|value| Value::String((*value).clone())).collect(),
        };
        let keys = |keys: &BTreeMap<String, BTreeSet<String>>| keys.iter().map(|(key, wanted)| (key.clone(), values(wanted))).collect();
        self.0.iter().map(|(operator, wanted)| (operator.clone(), Value::Object(keys(wanted)))).collect()
    }

    /// A fingerprint of them, by which an entry of a registry names them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&[&self.text()], 8)
    }

    /// In the characters that a tag takes.
    #[must_use]
    pub fn encoded(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.text())
    }

    /// Reads what [`Self::encoded`] wrote.
    #[must_use]
    pub fn decoded(text: &str) -> Option<Self> {
        Self::read(&serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?).ok()
    }

    fn text(&self) -> String {
        Value::Object(self.to_members()).to_string()
    }
}

/// An operator without what may stand before and after it; none if IAM does not know it.
fn base_of(operator: &str) -> Option<&str> {
    let plain = OPERATORS.iter().find(|known| **known == operator);
    let rest = ["ForAnyValue:", "ForAllValues:"].iter().find_map(|quantifier| operator.strip_prefix(quantifier)).unwrap_or(operator);
    let base = rest.strip_suffix("IfExists").unwrap_or(rest);
    let composed = || OPERATORS.iter().find(|known| **known == base && base != "Null");
    plain.or_else(composed).copied()
}

fn problem_of_key(key: &str) -> Option<&'static str> {
    let claim = key.to_lowercase();
    let (prefix, name) = key.split_once(':').unwrap_or_default();
    if prefix.contains('.') && [":sub", ":aud"].iter().any(|own| claim.ends_with(own)) {
        return Some("is written by the tool: whom the role trusts is `serviceAccount`, `extraSubjects` and `audience`");
    }
    let legal = key.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    (prefix.is_empty() || name.is_empty() || !legal).then_some("is no condition key: use one as `aws:SourceIp`")
}

fn values_of(base: &str, values: &Value) -> Result<BTreeSet<String>, String> {
    let list = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
    if list.is_empty() {
        return Err("is empty: no request would meet it".to_owned());
    }
    let one = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => return Err("must be a text, a number, `true` or `false`, or a list of them".to_owned()),
        };
        // What is computed from the request has no form yet.
        let fits = text.contains("${")
            || match base {
                "IpAddress" | "NotIpAddress" => is_network(&text),
                "Bool" | "Null" => text == "true" || text == "false",
                numeric if numeric.starts_with("Numeric") => text.parse::<f64>().is_ok_and(f64::is_finite),
                _ => true,
            };
        let wanted = match base {
            "IpAddress" | "NotIpAddress" => "an address or a network, as `10.0.0.0/8`",
            "Bool" | "Null" => "`true` or `false`",
            _ => "a number",
        };
        if fits { Ok(text) } else { Err(format!("`{}` is not {wanted}", text.escape_debug())) }
    };
    list.iter().map(one).gather()
}

fn is_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= longest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn they_read_back_from_a_statement_and_from_a_tag() {
        for (value, written) in [
            (json!({}), json!({})),
            (json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}}), json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})),
            (
                json!({"ForAnyValue:StringLikeIfExists": {"aws:PrincipalOrgPaths": ["b*", "a*"]}, "Bool": {"aws:SecureTransport": true}, "NumericLessThan": {"sts:DurationSeconds": 3600}}),
                json!({"ForAnyValue:StringLikeIfExists": {"aws:PrincipalOrgPaths": ["a*", "b*"]}, "Bool": {"aws:SecureTransport": "true"}, "NumericLessThan": {"sts:DurationSeconds": "3600"}}),
            ),
        ] {
            let conditions = Conditions::read(&value).unwrap();
            assert_eq!(Value::Object(conditions.to_members()), written);
            assert_eq!(Conditions::read(&written).as_ref(), Ok(&conditions));
            assert_eq!(Conditions::decoded(&conditions.encoded()).as_ref(), Some(&conditions));
        }
        let one = Conditions::read(&json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})).unwrap();
        assert_ne!(one.fingerprint(), Conditions::read(&json!({"IpAddress": {"aws:SourceIp": "11.0.0.0/8"}})).unwrap().fingerprint());
    }

    #[test]
    fn each_rule_has_its_problem() {
        for (value, problem) in [
            (json!([]), "must be a mapping of operators"),
            (json!({"ipAddress": {"aws:SourceIp": "10.0.0.0/8"}}), "ipAddress: is no condition operator of IAM"),
            (json!({"NullIfExists": {"aws:SourceIp": "true"}}), "NullIfExists: is no condition operator of IAM"),
            (json!({"ForEach:StringLike": {"aws:SourceIp": "x"}}), "ForEach:StringLike: is no condition operator of IAM"),
            (json!({"IpAddress": "10.0.0.0/8"}), "IpAddress: must be a mapping of condition keys"),
            (json!({"IpAddress": {}}), "IpAddress: is empty"),
            (json!({"StringLike": {"SourceIp": "x"}}), "StringLike.SourceIp: is no condition key"),
            (json!({"StringLike": {"aws:": "x"}}), "StringLike.aws:: is no condition key"),
            (json!({"StringLike": {"oidc.example.com/id/A:SUB": "*"}}), "StringLike.oidc.example.com/id/A:SUB: is written by the tool"),
            (json!({"StringEquals": {"oidc.example.com/id/B:aud": "x"}}), "StringEquals.oidc.example.com/id/B:aud: is written by the tool"),
            (json!({"StringLike": {"aws:X": "x", "AWS:x": "y"}}), "StringLike.aws:X: differs only by case"),
            (json!({"StringLike": {"aws:X": []}}), "StringLike.aws:X: is empty: no request would meet it"),
            (json!({"StringLike": {"aws:X": {"a": 1}}}), "StringLike.aws:X: must be a text"),
            (
                json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "10.0.0.0/33"]}}),
                "IpAddress.aws:SourceIp: `10.0.0.0/33` is not an address",
            ),
            (json!({"BoolIfExists": {"aws:SecureTransport": "yes"}}), "BoolIfExists.aws:SecureTransport: `yes` is not `true` or `false`"),
            (json!({"NumericLessThan": {"sts:DurationSeconds": "1h"}}), "NumericLessThan.sts:DurationSeconds: `1h` is not a number"),
        ] {
            let problems = Conditions::read(&value).unwrap_err();
            let [problem_found] = problems.as_slice() else { panic!("{value}: {problems:?}") };
            let separator = if problem_found.path.is_empty() { "" } else { ": " };
            let shown = format!("{}{separator}{}", problem_found.path.join("."), problem_found.text);
            assert!(shown.starts_with(problem), "{value}: {shown}");
        }
    }
}
