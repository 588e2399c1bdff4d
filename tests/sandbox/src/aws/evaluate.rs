//! What policy documents grant: statements, principals, actions, resources and conditions, as IAM evaluates them.
//!
//! Written apart from the product on purpose, so that tests may judge the product's documents by it.
//! Policy variables (`${aws:username}`) are not expanded.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Map, Value};

use super::documents::one_or_many;

/// The keys of a request, in lower case, with their values.
pub type Context = BTreeMap<String, Vec<String>>;

/// Who asks, as a trust policy sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker<'a> {
    /// A holder of a permission policy: principals are not looked at.
    Holder,
    /// A web identity, by the ARN of its provider.
    Federated(&'a str),
    /// An AWS identity, by any of these ARNs or account ids.
    Aws(&'a [String]),
    /// An AWS service.
    Service(&'a str),
}

/// One question put to policy documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) asker: Asker<'a>,
    pub(crate) action: &'a str,
    /// `None` for trust policies, where the resource is the role itself.
    pub(crate) resource: Option<&'a str>,
    pub(crate) context: &'a Context,
}

/// What documents say to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    /// A `Deny` applies; nothing outweighs it.
    Denied,
    /// Nothing applies.
    Silent,
}

/// Which of the subjects may assume a role with this trust policy through web identity:
/// their tokens come from `provider_arn`, whose issuer is `issuer_host` (without `https://`), for `audience`.
#[must_use]
pub fn who_may_assume(trust_document: &Value, provider_arn: &str, issuer_host: &str, audience: &str, subjects: &[String]) -> Vec<String> {
    who_may_assume_under(trust_document, provider_arn, issuer_host, audience, subjects, &Context::new())
}

/// The same for requests that have these keys too: the network they come from, the region they go to, the name of the session.
#[must_use]
pub fn who_may_assume_under(
    trust_document: &Value,
    provider_arn: &str,
    issuer_host: &str,
    audience: &str,
    subjects: &[String],
    others: &Context,
) -> Vec<String> {
    let may = |subject: &&String| {
        let mut context = web_identity_context(issuer_host, subject, audience);
        context.extend(others.iter().map(|(key, values)| (key.to_lowercase(), values.clone())));
        let question =
            Question { asker: Asker::Federated(provider_arn), action: "sts:AssumeRoleWithWebIdentity", resource: None, context: &context };
        decide([trust_document], &question) == Decision::Allowed
    };
    subjects.iter().filter(may).cloned().collect()
}

/// Whether a role with this trust policy lets a service of AWS do this, in a request with these keys.
#[must_use]
pub fn service_may(trust_document: &Value, service: &str, action: &str, keys: &Context) -> bool {
    let context = keys.iter().map(|(key, values)| (key.to_lowercase(), values.clone())).collect();
    let question = Question { asker: Asker::Service(service), action, resource: None, context: &context };
    decide([trust_document], &question) == Decision::Allowed
}

/// The condition keys that a web identity token sets.
pub(crate) fn web_identity_context(issuer_host: &str, subject: &str, audience: &str) -> Context {
    let key = |claim: &str| format!("{issuer_host}:{claim}").to_lowercase();
    Context::from([(key("sub"), vec![subject.to_owned()]), (key("aud"), vec![audience.to_owned()])])
}

/// All documents together: a `Deny` wins, then an `Allow`.
pub(crate) fn decide<'d>(documents: impl IntoIterator<Item = &'d Value>, question: &Question<'_>) -> Decision {
    let mut decision = Decision::Silent;
    for document in documents {
        let statements = document.get("Statement").into_iter().flat_map(one_or_many);
        for statement in statements.filter_map(Value::as_object) {
            let deny = match statement.get("Effect").and_then(Value::as_str) {
                Some("Allow") => false,
                Some("Deny") => true,
                _ => continue,
            };
            if applies(statement, question, deny) {
                if deny {
                    return Decision::Denied;
                }
                decision = Decision::Allowed;
            }
        }
    }
    decision
}

fn applies(statement: &Map<String, Value>, question: &Question<'_>, deny: bool) -> bool {
    principal_applies(statement, question.asker)
        && action_applies(statement, question.action)
        && question.resource.is_none_or(|resource| resource_applies(statement, resource))
        && match statement.get("Condition") {
            None => true,
            Some(Value::Object(condition)) => condition_applies(condition, question.context, deny),
            Some(_) => deny,
        }
}

fn principal_applies(statement: &Map<String, Value>, asker: Asker<'_>) -> bool {
    if matches!(asker, Asker::Holder) {
        return true;
    }
    match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(principal), _) => principal_names(principal, asker),
        (None, Some(excepted)) => !principal_names(excepted, asker),
        (None, None) => false,
    }
}

fn principal_names(principal: &Value, asker: Asker<'_>) -> bool {
    if principal.as_str() == Some("*") {
        return true;
    }
    let names = |kind: &str, wanted: &dyn Fn(&str) -> bool| {
        principal.get(kind).into_iter().flat_map(one_or_many).filter_map(Value::as_str).any(wanted)
    };
    // {"AWS": "*"} means the same as "*".
    names("AWS", &|name| name == "*")
        || names("Federated", &|name| name == "*")
        || match asker {
            Asker::Holder => true,
            Asker::Federated(arn) => names("Federated", &|name| name == arn),
            Asker::Service(service) => names("Service", &|name| name == service),
            Asker::Aws(identities) => names("AWS", &|name| identities.iter().any(|identity| identity == name)),
        }
}

fn action_applies(statement: &Map<String, Value>, action: &str) -> bool {
    let names = |patterns: &Value| {
        one_or_many(patterns).filter_map(Value::as_str).any(|pattern| glob(&pattern.to_lowercase(), &action.to_lowercase()))
    };
    match (statement.get("Action"), statement.get("NotAction")) {
        (Some(actions), _) => names(actions),
        (None, Some(excepted)) => !names(excepted),
        (None, None) => false,
    }
}

fn resource_applies(statement: &Map<String, Value>, resource: &str) -> bool {
    let names = |patterns: &Value| one_or_many(patterns).filter_map(Value::as_str).any(|pattern| glob(pattern, resource));
    match (statement.get("Resource"), statement.get("NotResource")) {
        (Some(resources), _) => names(resources),
        (None, Some(excepted)) => !names(excepted),
        (None, None) => false,
    }
}

/// How the values of a key are quantified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Plain,
    Any,
    All,
}

/// A condition operator, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operator {
    set: Set,
    test: Test,
    negated: bool,
    if_exists: bool,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Null,
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Bool,
    Numeric(fn(f64, f64) -> bool),
    Address,
    /// Known to IAM, not evaluated here: such an `Allow` does not apply and such a `Deny` does.
    Unevaluated,
}

/// Reads `ForAnyValue:StringLikeIfExists` and the like; `None` for what IAM does not know.
pub(crate) fn operator(name: &str) -> Option<Operator> {
    let (set, name) = if let Some(rest) = name.strip_prefix("ForAnyValue:") {
        (Set::Any, rest)
    } else if let Some(rest) = name.strip_prefix("ForAllValues:") {
        (Set::All, rest)
    } else {
        (Set::Plain, name)
    };
    let (base, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |base| (base, true));
    let (test, negated) = match base {
        "Null" if set == Set::Plain && !if_exists => (Test::Null, false),
        "StringEquals" => (Test::Equals, false),
        "StringNotEquals" => (Test::Equals, true),
        "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
        "StringLike" => (Test::Like, false),
        "StringNotLike" => (Test::Like, true),
        "ArnEquals" | "ArnLike" => (Test::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
        "Bool" => (Test::Bool, false),
        "NumericEquals" => (Test::Numeric(|left, right| left.total_cmp(&right).is_eq()), false),
        "NumericNotEquals" => (Test::Numeric(|left, right| left.total_cmp(&right).is_eq()), true),
        "NumericLessThan" => (Test::Numeric(|left, right| left < right), false),
        "NumericLessThanEquals" => (Test::Numeric(|left, right| left <= right), false),
        "NumericGreaterThan" => (Test::Numeric(|left, right| left > right), false),
        "NumericGreaterThanEquals" => (Test::Numeric(|left, right| left >= right), false),
        "IpAddress" => (Test::Address, false),
        "NotIpAddress" => (Test::Address, true),
        "BinaryEquals"
        | "DateEquals"
        | "DateNotEquals"
        | "DateLessThan"
        | "DateLessThanEquals"
        | "DateGreaterThan"
        | "DateGreaterThanEquals" => (Test::Unevaluated, false),
        _ => return None,
    };
    Some(Operator { set, test, negated, if_exists })
}

fn condition_applies(condition: &Map<String, Value>, context: &Context, deny: bool) -> bool {
    condition.iter().all(|(name, keys)| {
        let Some(operator) = operator(name) else {
            return deny;
        };
        keys.as_object().is_some_and(|keys| {
            keys.iter().all(|(key, wanted)| {
                let wanted: Vec<String> = one_or_many(wanted).map(scalar).collect();
                let present = context.get(&key.to_lowercase()).map(Vec::as_slice);
                operator.holds(present, &wanted, deny)
            })
        })
    })
}

impl Operator {
    fn holds(self, present: Option<&[String]>, wanted: &[String], deny: bool) -> bool {
        match self.test {
            Test::Null => return wanted.iter().any(|it| (it == "true") == present.is_none()),
            Test::Unevaluated => return deny,
            _ => {}
        }
        let one = |value: &String| {
            let matched = wanted.iter().any(|it| self.test.matches(it, value));
            matched != self.negated
        };
        match (present, self.set) {
            (None, _) if self.if_exists => true,
            // Nothing is there to break a "for all", or a "not".
            (None, Set::All) => true,
            (None, Set::Any) => false,
            (None, Set::Plain) => self.negated,
            (Some(values), Set::All) => values.iter().all(one),
            (Some(values), Set::Plain) if self.negated => values.iter().all(one),
            (Some(values), Set::Any | Set::Plain) => values.iter().any(one),
        }
    }
}

impl Test {
    fn matches(self, wanted: &str, value: &str) -> bool {
        match self {
            Self::Equals => wanted == value,
            Self::EqualsIgnoreCase | Self::Bool => wanted.to_lowercase() == value.to_lowercase(),
            Self::Like => glob(wanted, value),
            Self::Arn => {
                let (patterns, parts): (Vec<_>, Vec<_>) = (wanted.splitn(6, ':').collect(), value.splitn(6, ':').collect());
                patterns.len() == 6 && parts.len() == 6 && patterns.iter().zip(&parts).all(|(pattern, part)| glob(pattern, part))
            }
            Self::Numeric(compare) => match (value.parse(), wanted.parse()) {
                (Ok(value), Ok(wanted)) => compare(value, wanted),
                _ => false,
            },
            Self::Address => in_network(value, wanted).unwrap_or(false),
            Self::Null | Self::Unevaluated => false,
        }
    }
}

/// Whether an address is in a network, `10.0.0.0/8`, or is that address.
fn in_network(address: &str, network: &str) -> Option<bool> {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let (network, length) = network.split_once('/').map_or((network, None), |(network, length)| (network, Some(length)));
    let (address, network) = (address.parse::<IpAddr>().ok()?, network.parse::<IpAddr>().ok()?);
    let ((one, _), (other, longest)) = (bits(address), bits(network));
    let length = length.map_or(Some(longest), |length| length.parse::<u32>().ok()).filter(|length| *length <= longest)?;
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    Some(address.is_ipv4() == network.is_ipv4() && one & mask == other & mask)
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a pattern with `*` (any characters) and `?` (any one) fits a whole text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where to go on after the last star: one more character for it.
    let mut retry = None;
    while at < text.len() {
        match pattern.get(of) {
            Some('*') => {
                retry = Some((of + 1, at));
                of += 1;
            }
            Some(&character) if character == '?' || character == text[at] => {
                of += 1;
                at += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    of = after_star;
                    at = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|&character| character == '*')
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
