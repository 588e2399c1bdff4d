//! Pod Identity associations: made, changed, listed, tagged, deleted, and what EKS refuses.

use std::time::Duration;

use http::Method;
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::{Bed, Reply, eks::bed, trust};
use crate::aws::sigv4;

const PATH: &str = "/clusters/c1/pod-identity-associations";
const ROLE: &str = "arn:aws:iam::111122223333:role/pods";
const TARGET: &str = "arn:aws:iam::999999999999:role/target";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

/// A request for the association of `team/app`, with some members changed; null takes one away.
fn body(changes: &Value) -> Value {
    let mut body = json!({"namespace": "team", "serviceAccount": "app", "roleArn": ROLE});
    for (member, value) in changes.as_object().unwrap() {
        body[member] = value.clone();
    }
    body
}

fn create(bed: &mut Bed, changes: &Value) -> Reply {
    bed.eks(Method::POST, PATH, &body(changes))
}

/// Where the association is that was made.
fn made(bed: &mut Bed, changes: &Value) -> String {
    let reply = create(bed, changes);
    assert!(reply.changed, "{}", reply.text);
    format!("{PATH}/{}", reply.json()["association"]["associationId"].as_str().unwrap())
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str, part: &str) {
    assert_eq!((reply.status, reply.error_type.as_deref(), reply.changed), (status, Some(code), false), "{}", reply.text);
    assert!(reply.text.contains(part), "{}", reply.text);
}

#[test]
fn an_association_is_made_once_listed_and_deleted() {
    let mut bed = bed();
    let one = made(&mut bed, &json!({"clientRequestToken": "t"}));
    let id = one.rsplit('/').next().unwrap().to_owned();
    // The same request again has the same answer; another one is refused.
    let again = create(&mut bed, &json!({"clientRequestToken": "t"}));
    assert_eq!((again.status, again.changed, &again.json()["association"]["associationId"]), (200, false, &json!(id)));
    for other in [json!({"clientRequestToken": "u"}), json!({"clientRequestToken": "t", "disableSessionTags": true}), json!({})] {
        refused(&create(&mut bed, &other), 409, "ResourceInUseException", &format!("Association already exists: {id}"));
    }
    for (query, count) in [("", 1), ("?namespace=team&serviceAccount=app", 1), ("?namespace=x", 0), ("?serviceAccount=x", 0)] {
        let listed = bed.eks(Method::GET, &format!("{PATH}{query}"), &Value::Null).json();
        let associations = listed["associations"].as_array().unwrap().clone();
        assert_eq!(associations.len(), count);
        assert!(associations.iter().all(|it| it.get("roleArn").is_none() && it.get("tags").is_none()));
    }
    let described = bed.eks(Method::GET, &one, &Value::Null).json()["association"].clone();
    assert_eq!((&described["roleArn"], &described["disableSessionTags"]), (&json!(ROLE), &json!(false)));
    for absent in ["targetRoleArn", "externalId", "policy", "ownerArn"] {
        assert!(described.get(absent).is_none(), "{absent}");
    }
    assert!(bed.aws.state()["podIdentityAssociations"]["c1/team/app"].is_object());
    assert!(bed.eks(Method::DELETE, &one, &Value::Null).changed);
    for method in [Method::DELETE, Method::GET, Method::POST] {
        let body = if method == Method::POST { json!({"roleArn": ROLE}) } else { Value::Null };
        refused(&bed.eks(method, &one, &body), 404, "ResourceNotFoundException", &id);
    }
    made(&mut bed, &json!({}));
}

#[test]
fn associations_are_listed_page_by_page() {
    let mut bed = bed();
    for number in 0..105 {
        made(&mut bed, &json!({"serviceAccount": format!("app-{number}")}));
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = bed.eks(Method::GET, &format!("{PATH}?namespace=team{token}"), &Value::Null).json();
        let ids = page["associations"].as_array().unwrap().iter().map(|it| it["serviceAccount"].as_str().unwrap().to_owned());
        seen.push(ids.collect::<Vec<_>>());
        match page["nextToken"].as_str() {
            Some(next) => token = format!("&nextToken={next}"),
            None => break,
        }
    }
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [100, 5]);
    let mut all = seen.concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 105);
    bed.aws.quotas_mut().associations = 105;
    refused(&create(&mut bed, &json!({})), 400, "ResourceLimitExceededException", "105");
}

#[test]
fn a_target_role_a_policy_and_tags_are_shown_as_they_were_given() {
    let mut bed = bed();
    let changes = json!({"targetRoleArn": TARGET, "disableSessionTags": true, "policy": POLICY, "tags": {"team": "platform"}});
    let one = made(&mut bed, &changes);
    let shown = bed.eks(Method::GET, &one, &Value::Null).json()["association"].clone();
    assert_eq!(shown["externalId"], "eu-west-3/111122223333/c1/team/app");
    for (member, value) in changes.as_object().unwrap() {
        assert_eq!(&shown[member], value);
    }
}

#[test]
fn what_eks_would_not_make_is_refused_and_nothing_is_made() {
    let mut bed = bed();
    bed.ok("CreateRole", &[("RoleName", "half"), ("AssumeRolePolicyDocument", &half_trust().to_string())]);
    bed.aws.add_role_elsewhere(TARGET, "{}");
    let long = POLICY.replace("s3:GetObject", &format!("s3:{}", "x".repeat(2_048)));
    let tags: Value = (0..51).map(|number| (format!("k{number}"), json!("v"))).collect();
    for (changes, code, part) in [
        (
            json!({"roleArn": "arn:aws:iam::111122223333:role/none"}),
            "InvalidParameterException",
            "Role provided in the request does not exist.",
        ),
        (json!({"roleArn": "arn:aws:iam::111122223333:role/qovery/app"}), "InvalidParameterException", "Trust policy of role is invalid"),
        (json!({"roleArn": "arn:aws:iam::111122223333:role/half"}), "InvalidParameterException", "Trust policy of role is invalid"),
        (json!({"roleArn": "arn:aws:iam::111122223333:user/pods"}), "InvalidParameterException", "Invalid role ARN"),
        (json!({"roleArn": TARGET}), "AccessDeniedException", "Cross-account pass role is not allowed."),
        (json!({"targetRoleArn": "target"}), "InvalidParameterException", "Invalid target role ARN"),
        (json!({"targetRoleArn": ""}), "InvalidParameterException", "Invalid target role ARN"),
        (json!({"policy": POLICY}), "InvalidParameterException", "disableSessionTags must be true"),
        (json!({"policy": long, "disableSessionTags": true}), "InvalidParameterException", "2048 characters"),
        (json!({"policy": "{}", "disableSessionTags": true}), "InvalidParameterException", "policy is invalid"),
        (json!({"tags": tags}), "InvalidParameterException", "at most 50 tags"),
        (json!({"tags": {"aws:x": "y"}}), "InvalidParameterException", "aws:"),
        (json!({"namespace": ""}), "InvalidParameterException", "namespace can't be blank"),
        (json!({"serviceAccount": null}), "InvalidParameterException", "serviceAccount can't be blank"),
        (json!({"namespace": 1}), "SerializationException", "namespace is no string"),
        (json!({"policy": {}}), "SerializationException", "policy is no string"),
        (json!({"disableSessionTags": "true"}), "SerializationException", "disableSessionTags is no boolean"),
        (json!({"tags": {"a": 1}}), "SerializationException", "a is no string"),
        // EKS itself passes over what it does not know: a test that asks for it would prove nothing.
        (json!({"externalId": "x"}), "NotImplemented", "the member externalId"),
    ] {
        let status = match code {
            "AccessDeniedException" => 403,
            "NotImplemented" => 501,
            _ => 400,
        };
        refused(&create(&mut bed, &changes), status, code, part);
    }
    assert_eq!(bed.aws.state()["podIdentityAssociations"], json!({}));
    let missing = bed.eks(Method::POST, "/clusters/none/pod-identity-associations", &body(&json!({})));
    refused(&missing, 404, "ResourceNotFoundException", "No cluster found");
}

/// Without `sts:TagSession`.
fn half_trust() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
}

#[test]
fn an_update_changes_what_it_names_and_never_whose_it_is() {
    let mut bed = bed();
    let one = made(&mut bed, &json!({"tags": {"a": "b"}}));
    let update = |bed: &mut Bed, body: Value| bed.eks(Method::POST, &one, &body);
    assert!(!update(&mut bed, json!({"roleArn": ROLE})).changed);
    bed.pass(60);
    let reply = update(&mut bed, json!({"targetRoleArn": TARGET, "clientRequestToken": "t"}));
    let shown = reply.json()["association"].clone();
    assert!(reply.changed && shown["modifiedAt"].as_u64() > shown["createdAt"].as_u64());
    assert_eq!((&shown["namespace"], &shown["targetRoleArn"], &shown["tags"]), (&json!("team"), &json!(TARGET), &json!({"a": "b"})));
    refused(&update(&mut bed, json!({})), 400, "InvalidParameterException", "At least one of");
    let shown = update(&mut bed, json!({"roleArn": ROLE})).json()["association"].clone();
    assert_eq!(shown["targetRoleArn"], json!(TARGET), "what is not named stays");
    let shown = update(&mut bed, json!({"targetRoleArn": ""})).json()["association"].clone();
    assert!(shown.get("targetRoleArn").is_none() && shown.get("externalId").is_none(), "{shown}");
    refused(&update(&mut bed, json!({"roleArn": ROLE, "namespace": "other"})), 501, "NotImplemented", "the member namespace");
    refused(&update(&mut bed, json!({"policy": POLICY})), 400, "InvalidParameterException", "disableSessionTags must be true");
    refused(
        &update(&mut bed, json!({"roleArn": "arn:aws:iam::111122223333:role/none"})),
        400,
        "InvalidParameterException",
        "does not exist",
    );
    assert!(update(&mut bed, json!({"policy": POLICY, "disableSessionTags": true})).changed);
    refused(&update(&mut bed, json!({"disableSessionTags": false})), 400, "InvalidParameterException", "disableSessionTags must be true");

    let associations = &mut bed.aws.cluster_mut("c1").unwrap().associations;
    associations.values_mut().next().unwrap().owner_arn = Some("arn:aws:eks:eu-west-3:111122223333:addon/c1/x/1".into());
    refused(&update(&mut bed, json!({"roleArn": ROLE})), 400, "InvalidRequestException", "addon/c1/x/1");
    refused(&bed.eks(Method::DELETE, &one, &Value::Null), 400, "InvalidRequestException", "addon/c1/x/1");
    let listed = bed.eks(Method::GET, PATH, &Value::Null).json();
    assert!(listed["associations"][0]["ownerArn"].is_string());
}

#[test]
fn tags_are_changed_by_the_arn_of_what_carries_them() {
    let mut bed = bed();
    let one = made(&mut bed, &json!({"tags": {"a": "b"}}));
    let arn = bed.eks(Method::GET, &one, &Value::Null).json()["association"]["associationArn"].as_str().unwrap().to_owned();
    let path = |arn: &str| format!("/tags/{}", utf8_percent_encode(arn, sigv4::UNRESERVED));
    let tags = path(&arn);
    let reply = bed.eks(Method::POST, &tags, &json!({"tags": {"c": "d"}}));
    assert!(reply.changed);
    assert_eq!(reply.parameters["resourceArn"], json!(arn));
    assert!(!bed.eks(Method::POST, &tags, &json!({"tags": {"c": "d"}})).changed);
    assert_eq!(bed.eks(Method::GET, &tags, &Value::Null).json(), json!({"tags": {"a": "b", "c": "d"}}));
    assert!(bed.eks(Method::DELETE, &format!("{tags}?tagKeys=a&tagKeys=x"), &Value::Null).changed);
    assert_eq!(bed.eks(Method::GET, &one, &Value::Null).json()["association"]["tags"], json!({"c": "d"}));

    let entry = bed.eks(Method::POST, "/clusters/c1/access-entries", &json!({"principalArn": ROLE}));
    let tags = path(entry.json()["accessEntry"]["accessEntryArn"].as_str().unwrap());
    assert!(bed.eks(Method::POST, &tags, &json!({"tags": {"c": "d"}})).changed);
    assert_eq!(bed.eks(Method::GET, &tags, &Value::Null).json(), json!({"tags": {"c": "d"}}));
    refused(&bed.eks(Method::GET, &path(&format!("{arn}x")), &Value::Null), 404, "NotFoundException", &arn);
    // Of the model's errors these calls have two: none is an `InvalidParameterException`.
    let many: Value = (0..50).map(|number| (format!("k{number}"), json!("v"))).collect();
    for (method, path, body, part) in [
        (Method::POST, path(&arn), json!({"tags": {}}), "tags can't be blank"),
        (Method::POST, path(&arn), json!({"tags": {"aws:x": "y"}}), "aws:"),
        (Method::POST, path(&arn), json!({"tags": many}), "at most 50 tags"),
        (Method::POST, path("a-1"), json!({"tags": {"a": "b"}}), "Invalid resource ARN: a-1"),
        (Method::DELETE, path(&arn), Value::Null, "tagKeys has to name"),
    ] {
        refused(&bed.eks(method, &path, &body), 400, "BadRequestException", part);
    }
}

#[test]
fn a_caller_needs_the_call_the_tags_and_the_role() {
    let mut bed = bed();
    let arn = |resource: &str| format!("arn:aws:eks:*:*:{resource}");
    let own = json!({"StringEquals": {"aws:ResourceTag/owner": "us"}});
    let statements = [
        json!({"Effect": "Allow", "Action": "eks:CreatePodIdentityAssociation", "Resource": arn("cluster/c1")}),
        json!({"Effect": "Allow", "Action": "eks:TagResource", "Resource": arn("podidentityassociation/c1/*")}),
        json!({"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE, "Condition": {"StringEquals": {"iam:PassedToService": "pods.eks.amazonaws.com"}}}),
        json!({"Effect": "Allow", "Action": "iam:GetRole", "Resource": ROLE}),
        json!({"Effect": "Allow", "Action": "eks:DeletePodIdentityAssociation", "Resource": arn("podidentityassociation/c1/*"), "Condition": own}),
    ];
    let changes = json!({"tags": {"owner": "us"}});
    for (left_out, part) in [
        (0, "eks:CreatePodIdentityAssociation"),
        (1, "eks:TagResource on resource: arn:aws:eks:eu-west-3:111122223333:podidentityassociation/c1/*"),
        (2, "iam:PassRole on resource: arn:aws:iam::111122223333:role/pods"),
        (3, "iam:GetRole"),
    ] {
        let mut some = statements.to_vec();
        some.remove(left_out);
        bed.credentials = bed.aws.add_user(&format!("job-{left_out}"), Some(json!({"Statement": some})));
        refused(&create(&mut bed, &changes), 403, "AccessDeniedException", part);
    }
    bed.credentials = bed.aws.add_user("job", Some(json!({"Statement": statements})));
    let ours = made(&mut bed, &changes);
    let theirs = made(&mut bed, &json!({"serviceAccount": "other"}));
    assert!(bed.eks(Method::DELETE, &ours, &Value::Null).changed);
    assert_eq!(bed.eks(Method::DELETE, &theirs, &Value::Null).status, 403);
    // The right to read the role can depend on its tags.
    let mut tagged = statements.to_vec();
    tagged[3]["Condition"] = json!({"StringEquals": {"aws:ResourceTag/team": "us"}});
    bed.credentials = bed.aws.add_user("tagged", Some(json!({"Statement": tagged})));
    refused(&create(&mut bed, &changes), 403, "AccessDeniedException", "iam:GetRole");
    bed.aws.role_mut("pods").unwrap().tags.insert("team".to_owned(), "us".to_owned());
    assert!(create(&mut bed, &changes).changed);
}

#[test]
fn eks_notices_late_where_it_is_told_to() {
    let mut bed = bed();
    bed.aws.delay_eks(Duration::from_secs(10));
    let new_trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"], "Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}}]});
    bed.ok("CreateRole", &[("RoleName", "fresh"), ("AssumeRolePolicyDocument", &new_trust.to_string())]);
    let fresh = json!({"roleArn": "arn:aws:iam::111122223333:role/fresh"});
    refused(&create(&mut bed, &fresh), 400, "InvalidParameterException", "Role provided in the request does not exist.");
    bed.pass(10);
    // A condition is no matter of creation.
    let one = made(&mut bed, &fresh);
    assert!(bed.aws.association_of("c1", "team", "app", bed.now).is_none(), "not in effect yet");
    bed.pass(10);
    let role = |bed: &Bed| bed.aws.association_of("c1", "team", "app", bed.now).map(|(_, found)| found.role_arn.clone());
    assert_eq!(role(&bed).as_deref(), Some("arn:aws:iam::111122223333:role/fresh"));
    assert!(bed.eks(Method::POST, &one, &json!({"roleArn": ROLE})).changed);
    assert_eq!(role(&bed).as_deref(), Some("arn:aws:iam::111122223333:role/fresh"), "the change is not in effect yet");
    bed.pass(10);
    assert_eq!(role(&bed).as_deref(), Some(ROLE));
    assert!(bed.eks(Method::DELETE, &one, &Value::Null).changed);
    refused(&create(&mut bed, &fresh), 409, "ResourceInUseException", one.rsplit('/').next().unwrap());
    assert_eq!(role(&bed).as_deref(), Some(ROLE), "nor is it gone already");
    bed.pass(10);
    assert_eq!(role(&bed), None);
    bed.ok("UpdateAssumeRolePolicy", &[("RoleName", "app"), ("PolicyDocument", &new_trust.to_string())]);
    let app = json!({"roleArn": "arn:aws:iam::111122223333:role/qovery/app"});
    refused(&create(&mut bed, &app), 400, "InvalidParameterException", "Trust policy of role is invalid");
    bed.pass(10);
    made(&mut bed, &app);
    bed.ok("UpdateAssumeRolePolicy", &[("RoleName", "app"), ("PolicyDocument", &trust("team:app").to_string())]);
}

#[test]
fn lists_and_descriptions_are_as_late_as_the_effect_where_a_test_says_so() {
    let mut bed = bed();
    bed.aws.delay_eks(Duration::from_secs(10));
    bed.pass(10);
    let seen = |bed: &mut Bed, one: &str| {
        let listed = bed.eks(Method::GET, PATH, &Value::Null).json()["associations"].as_array().unwrap().len();
        let described = bed.eks(Method::GET, one, &Value::Null);
        (listed, described.status, described.json()["association"]["disableSessionTags"].clone())
    };
    let one = made(&mut bed, &json!({}));
    assert_eq!(seen(&mut bed, &one), (1, 200, json!(false)), "at once");
    bed.aws.show_associations_late(true);
    assert_eq!(seen(&mut bed, &one), (0, 404, Value::Null));
    // What changes it knows better.
    refused(&create(&mut bed, &json!({})), 409, "ResourceInUseException", one.rsplit('/').next().unwrap());
    bed.pass(10);
    assert_eq!(seen(&mut bed, &one), (1, 200, json!(false)));
    assert!(bed.eks(Method::POST, &one, &json!({"disableSessionTags": true})).changed);
    assert_eq!(seen(&mut bed, &one), (1, 200, json!(false)));
    bed.pass(10);
    assert_eq!(seen(&mut bed, &one), (1, 200, json!(true)));
    assert!(bed.eks(Method::DELETE, &one, &Value::Null).changed);
    assert_eq!(seen(&mut bed, &one), (1, 200, json!(true)));
    refused(&bed.eks(Method::DELETE, &one, &Value::Null), 404, "ResourceNotFoundException", one.rsplit('/').next().unwrap());
    bed.pass(10);
    assert_eq!(seen(&mut bed, &one), (0, 404, Value::Null));
}

#[test]
fn a_page_is_as_long_as_asked_and_begins_where_the_one_before_ended() {
    let mut bed = bed();
    for number in 0..3 {
        made(&mut bed, &json!({"serviceAccount": format!("app-{number}")}));
    }
    let first = bed.eks(Method::GET, &format!("{PATH}?maxResults=2"), &Value::Null).json();
    assert_eq!(first["associations"].as_array().unwrap().len(), 2);
    let next = format!("{PATH}?maxResults=2&nextToken={}", first["nextToken"].as_str().unwrap());
    // One that goes between the pages moves no other.
    let gone = format!("{PATH}/{}", first["associations"][1]["associationId"].as_str().unwrap());
    assert!(bed.eks(Method::DELETE, &gone, &Value::Null).changed);
    let second = bed.eks(Method::GET, &next, &Value::Null).json();
    assert_eq!((second["associations"].as_array().unwrap().len(), &second["nextToken"]), (1, &Value::Null));
    for (query, code, status) in [
        ("maxResults=0", "InvalidParameterException", 400),
        ("maxResults=101", "InvalidParameterException", 400),
        ("nextToken=no%20token", "InvalidParameterException", 400),
        ("roleArn=x", "NotImplemented", 501),
    ] {
        refused(&bed.eks(Method::GET, &format!("{PATH}?{query}"), &Value::Null), status, code, "");
    }
}
