//! Evaluation, case by case.

use serde_json::json;

use super::*;

const PROVIDER: &str = "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/A";
const HOST: &str = "oidc.example.com/id/A";

fn may(document: &Value) -> Vec<String> {
    let subjects = ["a:app", "b:app", "b:evil"].map(|it| format!("system:serviceaccount:{it}"));
    let allowed = who_may_assume(document, PROVIDER, HOST, "sts.amazonaws.com", &subjects);
    allowed.iter().map(|it| it.trim_start_matches("system:serviceaccount:").to_owned()).collect()
}

fn trust(condition: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition,
    }]})
}

#[test]
fn conditions_choose_the_subjects() {
    let sub = format!("{HOST}:sub");
    let aud = format!("{HOST}:aud");
    let a = "system:serviceaccount:a:app";
    for (condition, subjects) in [
        (json!({}), "a:app b:app b:evil"),
        (json!({"StringEquals": {&sub: a}}), "a:app"),
        (json!({"StringEquals": {&sub: [a, "system:serviceaccount:b:app"]}}), "a:app b:app"),
        (json!({"StringEquals": {&sub: "system:serviceaccount:*:app"}}), ""),
        (json!({"StringLike": {&sub: "system:serviceaccount:?:app"}}), "a:app b:app"),
        (json!({"StringLike": {&sub: "*"}, "StringEquals": {&aud: "other"}}), ""),
        (json!({"StringEquals": {&sub: a, &aud: "sts.amazonaws.com"}}), "a:app"),
        (json!({"StringNotEquals": {&sub: a}}), "b:app b:evil"),
        (json!({"StringNotLike": {&sub: "*:evil"}}), "a:app b:app"),
        (json!({"ForAnyValue:StringEquals": {&sub: a}}), "a:app"),
        (json!({"ForAllValues:StringEquals": {&sub: a}}), "a:app"),
        (json!({"ForAllValues:StringEquals": {"x:absent": a}}), "a:app b:app b:evil"),
        (json!({"ForAnyValue:StringEquals": {"x:absent": a}}), ""),
        (json!({"StringEquals": {"x:absent": a}}), ""),
        (json!({"StringEqualsIfExists": {"x:absent": a}}), "a:app b:app b:evil"),
        (json!({"StringNotEquals": {"x:absent": a}}), "a:app b:app b:evil"),
        (json!({"Null": {&sub: "false"}}), "a:app b:app b:evil"),
        (json!({"Null": {&sub: true}}), ""),
        (json!({"StringEqualsIgnoreCase": {&sub: a.to_uppercase()}}), "a:app"),
        (json!({"StringEquals": {sub.to_uppercase(): a}}), "a:app"),
        (json!({"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}), ""),
    ] {
        assert_eq!(may(&trust(&condition)).join(" "), subjects, "{condition}");
    }
}

#[test]
fn a_deny_wins_over_every_allow() {
    let mut document = trust(&json!({}));
    let deny = json!({
        "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole*",
        "Condition": {"StringLike": {format!("{HOST}:sub"): "*:evil"}},
    });
    document["Statement"].as_array_mut().unwrap().push(deny);
    assert_eq!(may(&document), ["a:app", "b:app"]);
}

#[test]
fn several_statements_add_up_and_one_may_stand_alone() {
    let alone = |subject: &str| {
        let condition = json!({"StringEquals": {format!("{HOST}:sub"): format!("system:serviceaccount:{subject}")}});
        trust(&condition)["Statement"][0].clone()
    };
    assert_eq!(may(&json!({"Statement": [alone("a:app"), alone("b:evil")]})), ["a:app", "b:evil"]);
    assert_eq!(may(&json!({"Statement": alone("a:app")})), ["a:app"]);
}

#[test]
fn principal_and_action_have_to_fit() {
    for (field, value, count) in [
        ("Principal", json!({"Federated": ["x", PROVIDER]}), 3),
        ("Principal", json!({"Federated": format!("{PROVIDER}B")}), 0),
        ("Principal", json!({"AWS": PROVIDER}), 0),
        ("Principal", json!("*"), 3),
        ("Action", json!("sts:*"), 3),
        ("Action", json!(["sts:TagSession", "STS:assumerolewithwebidentity"]), 3),
        ("Action", json!("sts:AssumeRole"), 0),
    ] {
        let mut document = trust(&json!({}));
        document["Statement"][0][field] = value.clone();
        assert_eq!(may(&document).len(), count, "{field} {value}");
    }
}

#[test]
fn permission_policies_look_at_action_resource_and_context() {
    let document = json!({"Statement": [
        {"Effect": "Allow", "Action": "iam:*Role", "Resource": "arn:aws:iam::*:role/qovery/*"},
        {"Effect": "Deny", "NotAction": ["iam:Get*"], "Resource": "*",
         "Condition": {"ArnNotLike": {"iam:PermissionsBoundary": "arn:aws:iam::*:policy/ours-*"}}},
    ]});
    let decide = |action: &str, resource: &str, boundary: Option<&str>| {
        let context: Context = boundary.map(|arn| ("iam:permissionsboundary".to_owned(), vec![arn.to_owned()])).into_iter().collect();
        let question = Question { asker: Asker::Holder, action, resource: Some(resource), context: &context };
        super::decide([&document], &question)
    };
    let ours = "arn:aws:iam::111122223333:role/qovery/x";
    assert_eq!(decide("iam:GetRole", ours, None), Decision::Allowed);
    assert_eq!(decide("iam:CreateRole", ours, None), Decision::Denied);
    let good = Some("arn:aws:iam::111122223333:policy/ours-apps");
    assert_eq!(decide("iam:CreateRole", ours, good), Decision::Allowed);
    assert_eq!(decide("iam:CreateRole", ours, Some("arn:aws:iam::111122223333:policy/x")), Decision::Denied);
    assert_eq!(decide("iam:GetRole", "arn:aws:iam::111122223333:role/x", None), Decision::Silent);
    assert_eq!(decide("s3:GetObject", ours, good), Decision::Silent);
}

#[test]
fn patterns_fit_whole_texts() {
    for (pattern, text, fits) in [
        ("", "", true),
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abbcd", false),
        ("a?c", "ac", false),
        ("*b*", "abc", true),
        ("z*:app", "zéé:app", true),
        ("**a", "ba", true),
        ("a*b*c", "axbxbxc", true),
    ] {
        assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
    }
}

#[test]
fn a_request_has_more_keys_than_those_of_its_token() {
    let under = |condition: &Value, others: &[(&str, &str)]| {
        let others = others.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect();
        let subject = ["system:serviceaccount:a:app".to_owned()];
        !who_may_assume_under(&trust(condition), PROVIDER, HOST, "sts.amazonaws.com", &subject, &others).is_empty()
    };
    let (network, elsewhere) = ([("aws:SourceIp", "10.1.2.3")], [("aws:SourceIp", "192.0.2.1")]);
    let inside = json!({"IpAddress": {"AWS:sourceip": ["10.0.0.0/8", "2001:db8::/32"]}});
    assert!(under(&inside, &network));
    assert!(under(&inside, &[("aws:SourceIp", "2001:db8::1")]));
    assert!(!under(&inside, &elsewhere) && !under(&inside, &[]));
    let outside = json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}});
    assert!(!under(&outside, &network));
    assert!(under(&outside, &elsewhere) && under(&outside, &[]));
    let session = json!({"StringLike": {"sts:RoleSessionName": "app-*"}});
    assert!(under(&session, &[("sts:RoleSessionName", "app-1")]));
    assert!(!under(&session, &[("sts:RoleSessionName", "other")]));
    let vpc = json!({"StringNotEqualsIfExists": {"aws:SourceVpc": "vpc-1"}});
    assert!(under(&vpc, &[("aws:SourceVpc", "vpc-2")]) && under(&vpc, &[]));
    assert!(!under(&vpc, &[("aws:SourceVpc", "vpc-1")]));
}

#[test]
fn addresses_are_in_a_network_or_are_not() {
    for (address, network, is) in [
        ("10.1.2.3", "10.0.0.0/8", Some(true)),
        ("11.1.2.3", "10.0.0.0/8", Some(false)),
        ("10.1.2.3", "0.0.0.0/0", Some(true)),
        ("::1", "0.0.0.0/0", Some(false)),
        ("10.1.2.3", "10.1.2.3", Some(true)),
        ("10.1.2.4", "10.1.2.3/32", Some(false)),
        ("10.1.2.4", "10.1.2.3/33", None),
        ("10.1.2.4", "x", None),
        ("x", "10.0.0.0/8", None),
    ] {
        assert_eq!(in_network(address, network), is, "{address} {network}");
    }
}
