//! Why a trust policy lets a token in or does not: statement by statement, condition by condition, in words.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    document::{pattern_matches, texts},
    oidc::Provider,
    token::Claims,
    trust::{ASSUME, TrustPolicy},
};

/// What one statement says to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It lets the token in.
    Allows,
    /// It keeps the token out, whatever others say.
    Denies,
    /// It is not about this token, for these reasons.
    Silent(Vec<String>),
}

/// What each statement says, in order.
#[must_use]
pub fn explain(trust: &TrustPolicy, provider: &Provider, claims: &Claims) -> Vec<Verdict> {
    trust.statements().iter().map(|statement| verdict(statement, provider, claims)).collect()
}

/// Whether the token is let in: some statement allows and none denies.
#[must_use]
pub fn lets_in(verdicts: &[Verdict]) -> bool {
    verdicts.contains(&Verdict::Allows) && !verdicts.contains(&Verdict::Denies)
}

fn verdict(statement: &Value, provider: &Provider, claims: &Claims) -> Verdict {
    let mut reasons = Vec::new();
    reasons.extend(principal(statement, provider));
    reasons.extend(action(statement));
    reasons.extend(conditions(&statement["Condition"], provider, claims));
    match (reasons.is_empty(), statement["Effect"].as_str()) {
        (true, Some("Allow")) => Verdict::Allows,
        (true, _) => Verdict::Denies,
        (false, _) => Verdict::Silent(reasons),
    }
}

fn principal(statement: &Value, provider: &Provider) -> Option<String> {
    if statement["Principal"] == "*" || texts(&statement["Principal"]["Federated"]).iter().any(|arn| *arn == provider.arn || *arn == "*") {
        return None;
    }
    if !statement["NotPrincipal"].is_null() {
        return Some("its `NotPrincipal` is not understood here".to_owned());
    }
    match texts(&statement["Principal"]["Federated"]).as_slice() {
        [] => Some("its principal is no OIDC provider".to_owned()),
        others => Some(format!("its principal is `{}`, the token's provider is `{}`", others.join("`, `"), provider.arn)),
    }
}

fn action(statement: &Value) -> Option<String> {
    let actions = texts(&statement["Action"]);
    let fits = actions.iter().any(|action| pattern_matches(&action.to_lowercase(), &ASSUME.to_lowercase()));
    (!fits).then(|| format!("its action is `{}`, not `{ASSUME}`", actions.join("`, `")))
}

fn conditions(condition: &Value, provider: &Provider, claims: &Claims) -> Vec<String> {
    let context: BTreeMap<String, Vec<String>> = BTreeMap::from([
        (provider.subject_key().to_lowercase(), vec![claims.subject.clone()]),
        (provider.audience_key().to_lowercase(), claims.audiences.clone()),
    ]);
    let operators = condition.as_object().into_iter().flatten();
    operators
        .flat_map(|(operator, keys)| keys.as_object().into_iter().flatten().map(move |(key, values)| (operator, key, values)))
        .filter_map(|(operator, key, values)| unmet(operator, key, values, context.get(&key.to_lowercase()).map(Vec::as_slice)))
        .collect()
}

/// Why one condition does not hold, if it does not.
fn unmet(operator: &str, key: &str, values: &Value, actual: Option<&[String]>) -> Option<String> {
    let name = key.rsplit(':').next().unwrap_or(key);
    let wanted = texts(values);
    let shown = || format!("`{}`", wanted.join("` or `"));
    let (operator, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
    let operator = operator.trim_start_matches("ForAnyValue:");
    if operator == "Null" {
        let wants_absent = wanted.first() == Some(&"true") || values == &Value::Bool(true);
        return (wants_absent == actual.is_some())
            .then(|| format!("it wants `{name}` to be {}", if wants_absent { "absent" } else { "there" }));
    }
    let negated = operator.contains("Not");
    let matches = |text: &str| match operator {
        "StringEquals" | "StringNotEquals" => Some(wanted.contains(&text)),
        "StringLike" | "StringNotLike" => Some(wanted.iter().any(|pattern| pattern_matches(pattern, text))),
        "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => Some(wanted.iter().any(|other| other.eq_ignore_ascii_case(text))),
        _ => None,
    };
    let Some(actual) = actual else {
        return (!if_exists && !negated).then(|| format!("it wants `{key}` = {}, which the token does not have", shown()));
    };
    let mut met = false;
    for text in actual {
        match matches(text) {
            None => return Some(format!("its condition `{operator}` on `{name}` is not understood here")),
            Some(fits) => met |= fits,
        }
    }
    let has = actual.join("` and `");
    match (negated, met) {
        (false, false) => Some(format!("it wants `{name}` = {}, the token has `{has}`", shown())),
        (true, true) => Some(format!("it wants `{name}` not to be {}, the token has `{has}`", shown())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider() -> Provider {
        Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A".to_owned(),
            issuer: "https://oidc.example.com/id/A".parse().unwrap(),
        }
    }

    fn claims() -> Claims {
        Claims {
            issuer: "https://oidc.example.com/id/A".to_owned(),
            audiences: vec!["sts.amazonaws.com".to_owned()],
            subject: "system:serviceaccount:z1:app".to_owned(),
        }
    }

    fn said(statement: &Value) -> String {
        let trust = TrustPolicy::parse(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()).unwrap();
        match explain(&trust, &provider(), &claims()).remove(0) {
            Verdict::Allows => "allows".to_owned(),
            Verdict::Denies => "denies".to_owned(),
            Verdict::Silent(reasons) => reasons.join("; "),
        }
    }

    #[test]
    fn each_condition_that_does_not_hold_is_named_with_what_it_wants_and_what_the_token_has() {
        let (sub, aud) = ("oidc.example.com/id/A:sub", "oidc.example.com/id/A:aud");
        let web = |condition: Value| json!({"Effect": "Allow", "Principal": {"Federated": provider().arn}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition});
        let good = json!({aud: "sts.amazonaws.com", sub: "system:serviceaccount:z1:app"});
        for (statement, text) in [
            (web(json!({"StringEquals": good})), "allows"),
            (
                web(
                    json!({"StringLike": {sub: "system:serviceaccount:z*:app"}, "ForAnyValue:StringEquals": {aud: ["x", "sts.amazonaws.com"]}}),
                ),
                "allows",
            ),
            (web(json!({"StringEqualsIfExists": {"aws:SourceIp": "x", sub: "system:serviceaccount:z1:app"}})), "allows"),
            (web(json!({"Null": {sub: "false"}, "StringNotEquals": {sub: "system:serviceaccount:z2:app"}})), "allows"),
            (
                web(json!({"StringEquals": {aud: "sts.amazonaws.com", sub: "system:serviceaccount:z2:app"}})),
                "it wants `sub` = `system:serviceaccount:z2:app`, the token has `system:serviceaccount:z1:app`",
            ),
            (
                web(json!({"StringLike": {sub: ["a*", "b*"]}})),
                "it wants `sub` = `a*` or `b*`, the token has `system:serviceaccount:z1:app`",
            ),
            (web(json!({"StringEquals": {aud: "vault"}})), "it wants `aud` = `vault`, the token has `sts.amazonaws.com`"),
            (
                web(json!({"StringNotEquals": {sub: "system:serviceaccount:z1:app"}})),
                "it wants `sub` not to be `system:serviceaccount:z1:app`, the token has `system:serviceaccount:z1:app`",
            ),
            (
                web(json!({"StringEquals": {"oidc.example.com/id/B:sub": "x"}})),
                "it wants `oidc.example.com/id/B:sub` = `x`, which the token does not have",
            ),
            (web(json!({"Null": {sub: "true"}})), "it wants `sub` to be absent"),
            (web(json!({"IpAddress": {sub: "1.2.3.4"}})), "its condition `IpAddress` on `sub` is not understood here"),
            (
                json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}),
                "its principal is no OIDC provider; its action is `sts:AssumeRole`, not `sts:AssumeRoleWithWebIdentity`",
            ),
            (
                json!({"Effect": "Allow", "Principal": {"Federated": "arn:other"}, "Action": "sts:*"}),
                "its principal is `arn:other`, the token's provider is `arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A`",
            ),
            (json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*"}), "denies"),
            (json!({"Effect": "Deny", "NotPrincipal": {"AWS": "x"}, "Action": "sts:*"}), "its `NotPrincipal` is not understood here"),
        ] {
            assert_eq!(said(&statement), text, "{statement}");
        }
    }

    #[test]
    fn a_deny_outweighs_any_allow() {
        assert!(lets_in(&[Verdict::Silent(Vec::new()), Verdict::Allows]));
        assert!(!lets_in(&[Verdict::Allows, Verdict::Denies]));
        assert!(!lets_in(&[]));
    }
}
