//! The grammar of a policy that is put on a role: what IAM would refuse, found before anything is sent.
//!
//! Only what is certain is a fault: what this does not know, IAM may.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value};

use super::conditions::OPERATORS;

/// A step of the way to a place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// Something that IAM does not take, and where it stands in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The way there.
    pub path: Vec<Step>,
    /// What is wrong.
    pub text: String,
}

const DOCUMENT: [&str; 3] = ["Version", "Id", "Statement"];
const STATEMENT: [&str; 9] = ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
/// What IAM would refuse in a policy of a role, in the order of the document.
#[must_use]
pub fn faults(document: &Value) -> Vec<Fault> {
    let mut found = Found { path: Vec::new(), faults: Vec::new() };
    let Value::Object(members) = document else {
        found.fault("must be a policy document: a mapping with `Statement`");
        return found.faults;
    };
    found.known(members, &DOCUMENT, "an element of a policy document");
    if let Some(version) = members.get("Version")
        && !matches!(version.as_str(), Some("2012-10-17" | "2008-10-17"))
    {
        found.at_key("Version", |found| found.fault("must be `\"2012-10-17\"`, in quotes"));
    }
    match members.get("Statement") {
        None => found.fault("`Statement` is missing"),
        Some(Value::Array(statements)) => found.at_key("Statement", |found| {
            let mut ids = BTreeSet::new();
            for (index, one) in statements.iter().enumerate() {
                found.at(Step::Index(index), |found| found.statement(one, &mut ids));
            }
        }),
        Some(one @ Value::Object(_)) => found.at_key("Statement", |found| found.statement(one, &mut BTreeSet::new())),
        Some(_) => found.at_key("Statement", |found| found.fault("must be a list of statements, or one")),
    }
    found.faults
}

struct Found {
    path: Vec<Step>,
    faults: Vec<Fault>,
}

impl Found {
    fn fault(&mut self, text: impl fmt::Display) {
        self.faults.push(Fault { path: self.path.clone(), text: text.to_string() });
    }

    fn at(&mut self, step: Step, look: impl FnOnce(&mut Self)) {
        self.path.push(step);
        look(self);
        self.path.pop();
    }

    fn at_key(&mut self, key: &str, look: impl FnOnce(&mut Self)) {
        self.at(Step::Key(key.to_owned()), look);
    }

    /// Elements are known by their exact names.
    fn known(&mut self, members: &Map<String, Value>, names: &[&str], what: &str) {
        for key in members.keys().filter(|key| !names.contains(&key.as_str())) {
            let near = names.iter().map(|name| (strsim::damerau_levenshtein(&key.to_lowercase(), &name.to_lowercase()), name)).min();
            let near = near.filter(|(distance, _)| *distance <= 2).map(|(_, name)| format!(", did you mean `{name}`?"));
            self.at_key(key, |found| found.fault(format_args!("is not {what}{}", near.unwrap_or_default())));
        }
    }

    fn statement<'v>(&mut self, statement: &'v Value, ids: &mut BTreeSet<&'v str>) {
        let Value::Object(members) = statement else {
            return self.fault("must be a statement: a mapping with `Effect`, `Action` and `Resource`");
        };
        self.known(members, &STATEMENT, "an element of a statement");
        if let Some(sid) = members.get("Sid") {
            self.at_key("Sid", |found| match sid.as_str() {
                Some(sid) if !sid.chars().all(|character| character.is_ascii_alphanumeric()) => {
                    found.fault("may hold ASCII letters and digits only");
                }
                Some("") => {}
                Some(sid) if !ids.insert(sid) => found.fault("stands in two statements"),
                Some(_) => {}
                None => found.fault("must be a string"),
            });
        }
        match members.get("Effect") {
            None => self.fault("`Effect` is missing: `Allow` or `Deny`"),
            Some(effect) if matches!(effect.as_str(), Some("Allow" | "Deny")) => {}
            Some(_) => self.at_key("Effect", |found| found.fault("must be `Allow` or `Deny`, spelt so")),
        }
        for key in ["Principal", "NotPrincipal"].into_iter().filter(|key| members.contains_key(*key)) {
            self.at_key(key, |found| found.fault("cannot stand in a policy of a role: the role is the principal"));
        }
        self.one_of(members, "Action", "NotAction", action_fault);
        self.one_of(members, "Resource", "NotResource", resource_fault);
        if let Some(condition) = members.get("Condition") {
            self.at_key("Condition", |found| found.condition(condition));
        }
    }

    /// Exactly one of two elements, and of it a text or a list of texts.
    fn one_of(&mut self, members: &Map<String, Value>, one: &str, other: &str, wrong: impl Fn(&str) -> Option<String>) {
        let key = match (members.get(one), members.get(other)) {
            (None, None) => return self.fault(format_args!("`{one}` is missing")),
            (Some(_), Some(_)) => return self.fault(format_args!("`{one}` and `{other}` cannot stand beside each other")),
            (Some(_), None) => one,
            (None, Some(_)) => other,
        };
        let text = |found: &mut Self, value: &Value| match value.as_str() {
            Some(text) => wrong(text).into_iter().for_each(|fault| found.fault(fault)),
            None => found.fault("must be a string"),
        };
        self.at_key(key, |found| match &members[key] {
            Value::Array(values) if values.is_empty() => found.fault("must not be empty"),
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    found.at(Step::Index(index), |found| text(found, value));
                }
            }
            value => text(found, value),
        });
    }

    fn condition(&mut self, condition: &Value) {
        let Value::Object(operators) = condition else { return self.fault("must be a mapping from operators to keys") };
        for (operator, keys) in operators {
            self.at_key(operator, |found| {
                if !is_operator(operator) {
                    found.fault("is not a condition operator");
                }
                let Value::Object(keys) = keys else { return found.fault("must be a mapping from condition keys to values") };
                for (key, values) in keys {
                    found.at_key(key, |found| {
                        if !key.contains(':') {
                            found.fault("is not a condition key: they have the form `aws:SourceIp`");
                        }
                        let plain = |value: &Value| matches!(value, Value::String(_) | Value::Bool(_) | Value::Number(_));
                        let good = match values {
                            Value::Array(values) => values.iter().all(plain),
                            value => plain(value),
                        };
                        if !good {
                            found.fault("must be a value, or a list of values");
                        }
                    });
                }
            });
        }
    }
}

/// Whether this is an operator; upper and lower case are not told apart, since IAM does not say whether it does.
fn is_operator(text: &str) -> bool {
    let single = ["ForAllValues:", "ForAnyValue:"].iter().find_map(|set| text.strip_prefix(set)).unwrap_or(text);
    let plain = single.strip_suffix("IfExists").unwrap_or(single);
    OPERATORS.iter().any(|operator| operator.eq_ignore_ascii_case(plain))
}

fn action_fault(action: &str) -> Option<String> {
    let plain = |text: &str, more: &[char]| {
        !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric() || more.contains(&character))
    };
    let good =
        action == "*" || action.split_once(':').is_some_and(|(service, name)| plain(service, &['-']) && plain(name, &['*', '?', '-', '_']));
    (!good).then(|| format!("`{action}` is not an action: use `service:Action`, as `s3:GetObject`, or `*`"))
}

fn resource_fault(resource: &str) -> Option<String> {
    let good = resource == "*" || (resource.starts_with("arn:") && resource.matches(':').count() >= 5);
    (!good).then(|| format!("`{resource}` is not a resource: use an ARN, as `arn:aws:s3:::bucket/*`, or `*`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(document: &Value) -> Vec<String> {
        let step = |step: &Step| match step {
            Step::Key(key) => format!(".{key}"),
            Step::Index(index) => format!("[{index}]"),
        };
        faults(document).iter().map(|fault| format!("{}: {}", fault.path.iter().map(step).collect::<String>(), fault.text)).collect()
    }

    #[test]
    fn what_iam_takes_has_no_fault() {
        for document in [
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}),
            json!({"Statement": {"Sid": "A1", "Effect": "Deny", "NotAction": ["iam:Get*", "sts:*"], "NotResource": ["arn:aws:s3:::a/*"]}}),
            json!({"Version": "2012-10-17", "Id": "x", "Statement": [
                {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:PrincipalTag/team}/*", "Condition": {
                    "StringEquals": {"aws:RequestedRegion": ["eu-west-3"]}, "BoolIfExists": {"aws:SecureTransport": true},
                    "ForAllValues:StringLike": {"aws:TagKeys": "a*"}, "Null": {"aws:TokenIssueTime": "false"},
                    "NumericLessThan": {"s3:max-keys": 10}}},
            ]}),
        ] {
            assert_eq!(shown(&document), [] as [String; 0], "{document}");
        }
    }

    #[test]
    fn each_fault_stands_at_its_place() {
        let of = |statement: Value| shown(&json!({ "Statement": [statement] })).join(" | ");
        let with = |key: &str, value: Value| {
            let mut statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
            statement[key] = value;
            of(statement)
        };
        for (found, wanted) in [
            (with("Effect", json!("allow")), ".Statement[0].Effect: must be `Allow` or `Deny`, spelt so"),
            (with("Acton", json!("s3:*")), ".Statement[0].Acton: is not an element of a statement, did you mean `Action`?"),
            (with("resource", json!("*")), ".Statement[0].resource: is not an element of a statement, did you mean `Resource`?"),
            (
                with("Action", json!("s3GetObject")),
                ".Statement[0].Action: `s3GetObject` is not an action: use `service:Action`, as `s3:GetObject`, or `*`",
            ),
            (
                with("Action", json!(["s3:GetObject", "s3:"])),
                ".Statement[0].Action[1]: `s3:` is not an action: use `service:Action`, as `s3:GetObject`, or `*`",
            ),
            (with("Action", json!([])), ".Statement[0].Action: must not be empty"),
            (with("Action", json!(1)), ".Statement[0].Action: must be a string"),
            (with("NotAction", json!("s3:*")), ".Statement[0]: `Action` and `NotAction` cannot stand beside each other"),
            (
                with("Resource", json!("bucket")),
                ".Statement[0].Resource: `bucket` is not a resource: use an ARN, as `arn:aws:s3:::bucket/*`, or `*`",
            ),
            (
                with("Resource", json!("arn:aws:s3")),
                ".Statement[0].Resource: `arn:aws:s3` is not a resource: use an ARN, as `arn:aws:s3:::bucket/*`, or `*`",
            ),
            (with("Principal", json!("*")), ".Statement[0].Principal: cannot stand in a policy of a role: the role is the principal"),
            (with("Sid", json!("a b")), ".Statement[0].Sid: may hold ASCII letters and digits only"),
            (with("Condition", json!({"StringEqual": {"aws:x": "y"}})), ".Statement[0].Condition.StringEqual: is not a condition operator"),
            (
                with("Condition", json!({"StringEquals": {"x": "y"}})),
                ".Statement[0].Condition.StringEquals.x: is not a condition key: they have the form `aws:SourceIp`",
            ),
            (
                with("Condition", json!({"StringEquals": {"aws:x": {}}})),
                ".Statement[0].Condition.StringEquals.aws:x: must be a value, or a list of values",
            ),
            (
                of(json!({})),
                ".Statement[0]: `Effect` is missing: `Allow` or `Deny` | .Statement[0]: `Action` is missing | .Statement[0]: `Resource` is missing",
            ),
            (of(json!("x")), ".Statement[0]: must be a statement: a mapping with `Effect`, `Action` and `Resource`"),
            (
                shown(&json!({"Version": "2012-10-18", "Statment": []})).join(" | "),
                ".Statment: is not an element of a policy document, did you mean `Statement`? | .Version: must be `\"2012-10-17\"`, in quotes | : `Statement` is missing",
            ),
            (shown(&json!([])).join(" | "), ": must be a policy document: a mapping with `Statement`"),
        ] {
            assert_eq!(found, wanted);
        }
        let twice = json!({"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*"});
        assert_eq!(shown(&json!({"Statement": [twice.clone(), twice]})), [".Statement[1].Sid: stands in two statements"]);
    }
}
