//! The grammar of IAM policy documents: what IAM takes and with which words it refuses the rest.
//!
//! What a document grants is the concern of `evaluate`.

use serde_json::{Map, Value};

use super::{
    error::AwsError,
    evaluate::{glob, operator},
    strict_json::{self, JsonError},
};

const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];
const SYNTAX: &str = "Syntax errors in policy.";
const NO_PRINCIPAL: &str = "Missing required field Principal cannot be empty!";
const TRUST_ACTIONS: [&str; 6] = [
    "sts:AssumeRole",
    "sts:AssumeRoleWithSAML",
    "sts:AssumeRoleWithWebIdentity",
    "sts:TagSession",
    "sts:SetSourceIdentity",
    "sts:SetContext",
];

/// What a document is checked against besides the grammar.
pub(crate) struct Surroundings<'a> {
    /// The partition that ARNs have to name.
    pub(crate) partition: &'a str,
    /// Whether an AWS principal (an ARN or an account) is there.
    pub(crate) principal_exists: &'a dyn Fn(&str) -> bool,
}

/// The length as the quotas count it: characters without white space.
pub(crate) fn size(text: &str) -> usize {
    text.chars().filter(|character| !character.is_whitespace()).count()
}

/// A trust policy: who may assume a role.
pub(crate) fn check_trust(text: &str, around: &Surroundings<'_>) -> Result<Value, AwsError> {
    let document = read(text, "This policy contains invalid Json")?;
    for statement in statements(&document)? {
        for field in ["Resource", "NotResource"] {
            if statement.contains_key(field) {
                return Err(AwsError::malformed(format!("Has prohibited field {field}")));
            }
        }
        check_fields(statement)?;
        check_principal(statement, around)?;
        for action in actions(statement)? {
            let known = TRUST_ACTIONS.iter().any(|known| glob(&action.to_lowercase(), &known.to_lowercase()));
            if !known || !action.to_lowercase().starts_with("sts:") {
                return Err(AwsError::malformed("AssumeRole policy may only specify STS AssumeRole actions."));
            }
        }
    }
    Ok(document)
}

/// A permission policy, inline or managed: what its holder may do.
pub(crate) fn check_permissions(text: &str, partition: &str) -> Result<Value, AwsError> {
    let document = read(text, SYNTAX)?;
    for statement in statements(&document)? {
        if statement.contains_key("Principal") || statement.contains_key("NotPrincipal") {
            return Err(AwsError::malformed("Policy document should not specify a principal."));
        }
        check_fields(statement)?;
        for action in actions(statement)? {
            check_action(&action)?;
        }
        check_resources(statement, partition)?;
    }
    Ok(document)
}

/// The same document in other words: lists of one as the one, keys sorted, no white space. IAM may answer so.
pub(crate) fn equivalent(text: &str) -> String {
    fn unwrap_ones(value: &mut Value) {
        match value {
            Value::Array(items) if items.len() == 1 => {
                let mut only = items.remove(0);
                unwrap_ones(&mut only);
                *value = only;
            }
            Value::Array(items) => items.iter_mut().for_each(unwrap_ones),
            Value::Object(map) => map.values_mut().for_each(unwrap_ones),
            _ => {}
        }
    }
    let Ok(mut document) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    unwrap_ones(&mut document);
    document.to_string()
}

/// The document with a principal in another form: IAM shows a deleted one as its unique id.
pub(crate) fn with_principal_replaced(text: &str, arn: &str, id: &str) -> String {
    let quoted = |it: &str| Value::String(it.to_owned()).to_string();
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    let named = statements(&document).is_ok_and(|statements| {
        statements.iter().any(|statement| {
            ["Principal", "NotPrincipal"].iter().any(|field| {
                statement
                    .get(*field)
                    .and_then(|principal| principal.get("AWS"))
                    .is_some_and(|aws| one_or_many(aws).any(|it| it.as_str() == Some(arn)))
            })
        })
    });
    if named { text.replace(&quoted(arn), &quoted(id)) } else { text.to_owned() }
}

/// The statements, whether in a list or alone.
pub(crate) fn statements(document: &Value) -> Result<Vec<&Map<String, Value>>, AwsError> {
    let found: Vec<_> =
        document.get("Statement").map(|statement| one_or_many(statement).map(Value::as_object).collect()).unwrap_or_default();
    if found.is_empty() {
        return Err(AwsError::malformed("Could not parse the policy: Statement is empty!"));
    }
    found.into_iter().collect::<Option<_>>().ok_or_else(|| AwsError::malformed(SYNTAX))
}

/// A list, or the one item that stands for it.
pub(crate) fn one_or_many(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice).iter()
}

fn read(text: &str, not_json: &str) -> Result<Value, AwsError> {
    let document = strict_json::parse(text).map_err(|error| {
        AwsError::malformed(match error {
            JsonError::Syntax => not_json,
            JsonError::RepeatedKey => SYNTAX,
        })
    })?;
    let object = document.as_object().ok_or_else(|| AwsError::malformed(SYNTAX))?;
    let known = object.keys().all(|key| ["Version", "Id", "Statement"].contains(&key.as_str()));
    let version = object.get("Version").is_none_or(|version| version.as_str().is_some_and(|version| VERSIONS.contains(&version)));
    if known && version && object.get("Id").is_none_or(Value::is_string) {
        check_sids(&document)?;
        Ok(document)
    } else {
        Err(AwsError::malformed(SYNTAX))
    }
}

fn check_sids(document: &Value) -> Result<(), AwsError> {
    let mut seen = Vec::new();
    for statement in statements(document)? {
        let Some(sid) = statement.get("Sid") else {
            continue;
        };
        let sid = sid.as_str().ok_or_else(|| AwsError::malformed(SYNTAX))?;
        if !sid.chars().all(|character| character.is_ascii_alphanumeric()) {
            return Err(AwsError::malformed(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
            ));
        }
        if !sid.is_empty() && seen.contains(&sid) {
            return Err(AwsError::malformed("Statement IDs (SID) in a single policy must be unique."));
        }
        seen.push(sid);
    }
    Ok(())
}

/// What holds for the statements of both kinds.
fn check_fields(statement: &Map<String, Value>) -> Result<(), AwsError> {
    const FIELDS: [&str; 9] = ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    let known = statement.keys().all(|key| FIELDS.contains(&key.as_str()));
    let effect = statement.get("Effect").and_then(Value::as_str);
    if !known || !matches!(effect, Some("Allow" | "Deny")) {
        return Err(AwsError::malformed(SYNTAX));
    }
    for (one, other) in [("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")] {
        if statement.contains_key(one) && statement.contains_key(other) {
            return Err(AwsError::malformed(SYNTAX));
        }
    }
    statement.get("Condition").map_or(Ok(()), check_condition)
}

fn check_condition(condition: &Value) -> Result<(), AwsError> {
    let syntax = || AwsError::malformed(SYNTAX);
    for (name, keys) in condition.as_object().ok_or_else(syntax)? {
        if operator(name).is_none() {
            return Err(AwsError::malformed(format!("Invalid Condition type : {name}.")));
        }
        for (key, values) in keys.as_object().ok_or_else(syntax)? {
            if !key.contains(':') {
                return Err(AwsError::malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
            }
            let scalars = one_or_many(values).all(|value| value.is_string() || value.is_boolean() || value.is_number());
            if !scalars || values.as_array().is_some_and(Vec::is_empty) {
                return Err(syntax());
            }
        }
    }
    Ok(())
}

fn actions(statement: &Map<String, Value>) -> Result<Vec<String>, AwsError> {
    let given = statement.get("Action").or_else(|| statement.get("NotAction"));
    let texts = given.map(texts).transpose()?.unwrap_or_default();
    if texts.is_empty() {
        return Err(AwsError::malformed("Policy statement must contain actions."));
    }
    Ok(texts)
}

fn check_action(action: &str) -> Result<(), AwsError> {
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err(AwsError::malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
    };
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric() || more.contains(character))
    };
    if !plain(vendor, "-") {
        return Err(AwsError::malformed(format!("Vendor {vendor} is not valid")));
    }
    if !plain(name, "*?-_.") {
        return Err(AwsError::malformed(SYNTAX));
    }
    Ok(())
}

fn check_resources(statement: &Map<String, Value>, partition: &str) -> Result<(), AwsError> {
    let given = statement.get("Resource").or_else(|| statement.get("NotResource"));
    let texts = given.map(texts).transpose()?.unwrap_or_default();
    if texts.is_empty() {
        return Err(AwsError::malformed("Policy statement must contain resources."));
    }
    for resource in texts.iter().filter(|resource| *resource != "*") {
        let parts: Vec<&str> = resource.splitn(6, ':').collect();
        if parts.len() < 6 || parts[0] != "arn" {
            return Err(AwsError::malformed(format!("Resource {resource} must be in ARN format or \"*\".")));
        }
        if !glob(parts[1], partition) {
            return Err(AwsError::malformed(format!("Partition \"{}\" is not valid for resource \"{resource}\".", parts[1])));
        }
    }
    Ok(())
}

fn check_principal(statement: &Map<String, Value>, around: &Surroundings<'_>) -> Result<(), AwsError> {
    let empty = || AwsError::malformed(NO_PRINCIPAL);
    let given = statement.get("Principal").or_else(|| statement.get("NotPrincipal")).ok_or_else(empty)?;
    if given.as_str() == Some("*") {
        return Ok(());
    }
    let kinds = given.as_object().ok_or_else(|| AwsError::malformed("Invalid principal in policy."))?;
    if kinds.is_empty() {
        return Err(empty());
    }
    for (kind, values) in kinds {
        let values = texts(values)?;
        if values.is_empty() {
            return Err(empty());
        }
        for value in values {
            let invalid = || AwsError::malformed(format!("Invalid principal in policy: \"{}\":\"{value}\"", kind.to_uppercase()));
            match kind.as_str() {
                "AWS" if value == "*" || (around.principal_exists)(&value) => {}
                "Service" if is_service(&value) => {}
                "Federated" if is_federated(&value, around.partition) => {}
                "Federated" => {
                    return Err(AwsError::malformed("Federated principals must be valid domain names or SAML metadata ARNs"));
                }
                "AWS" | "Service" => return Err(invalid()),
                _ => return Err(AwsError::malformed(SYNTAX)),
            }
        }
    }
    Ok(())
}

fn is_service(value: &str) -> bool {
    is_domain(value) && ["amazonaws.com", "amazonaws.com.cn", "aws.internal"].iter().any(|suffix| value.ends_with(&format!(".{suffix}")))
}

fn is_federated(value: &str, partition: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    match parts[..] {
        ["arn", part, "iam", "", account, name] => {
            part == partition
                && is_account(account)
                && ["oidc-provider/", "saml-provider/"].iter().any(|kind| name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()))
        }
        _ => is_domain(value),
    }
}

/// Twelve digits.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_domain(value: &str) -> bool {
    value.contains('.')
        && value
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(|character| character.is_ascii_alphanumeric() || character == '-'))
}

fn texts(value: &Value) -> Result<Vec<String>, AwsError> {
    one_or_many(value).map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(|| AwsError::malformed(SYNTAX))
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
