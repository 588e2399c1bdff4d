//! Managed policies of the account: their versions, tags, and what they are attached to.

use serde_json::{Value, json};

use super::{Bed, trust};

const OURS: &str = "arn:aws:iam::111122223333:policy/ours";

fn document(action: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}).to_string()
}

fn bed() -> Bed {
    let mut bed = Bed::with_role();
    bed.ok("CreatePolicy", &[("PolicyName", "ours"), ("PolicyDocument", &document("s3:*"))]);
    bed
}

fn version(bed: &mut Bed, action: &str, as_default: &str) -> String {
    let document = document(action);
    let parameters = [("PolicyArn", OURS), ("PolicyDocument", document.as_str()), ("SetAsDefault", as_default)];
    let reply = bed.call("CreatePolicyVersion", &parameters);
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.tag("IsDefaultVersion"), as_default);
    reply.tag("VersionId")
}

fn read(bed: &mut Bed, version: &str) -> Value {
    let text = bed.call("GetPolicyVersion", &[("PolicyArn", OURS), ("VersionId", version)]).tag("Document");
    let text = percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned();
    serde_json::from_str::<Value>(&text).unwrap()["Statement"][0]["Action"].clone()
}

#[test]
fn a_new_version_counts_only_if_it_is_asked_for_and_numbers_are_never_used_twice() {
    let mut bed = bed();
    assert_eq!(version(&mut bed, "sqs:*", "false"), "v2");
    let default = |bed: &mut Bed| bed.call("GetPolicy", &[("PolicyArn", OURS)]).tag("DefaultVersionId");
    assert_eq!((default(&mut bed).as_str(), bed.aws.policies()[OURS].document()), ("v1", document("s3:*").as_str()));
    assert_eq!(version(&mut bed, "sns:*", "true"), "v3");
    assert_eq!(default(&mut bed), "v3");
    assert_eq!((read(&mut bed, "v1"), read(&mut bed, "v2"), read(&mut bed, "v3")), (json!("s3:*"), json!("sqs:*"), json!("sns:*")));
    assert!(bed.ok("SetDefaultPolicyVersion", &[("PolicyArn", OURS), ("VersionId", "v2")]));
    assert!(!bed.ok("SetDefaultPolicyVersion", &[("PolicyArn", OURS), ("VersionId", "v2")]));
    assert!(bed.ok("DeletePolicyVersion", &[("PolicyArn", OURS), ("VersionId", "v3")]));
    assert_eq!(version(&mut bed, "sns:*", "false"), "v4");
    let gone = "Policy arn:aws:iam::111122223333:policy/ours version v3 does not exist or is not attachable.";
    for action in ["GetPolicyVersion", "DeletePolicyVersion", "SetDefaultPolicyVersion"] {
        assert_eq!(bed.refused(action, &[("PolicyArn", OURS), ("VersionId", "v3")]), (404, "NoSuchEntity".into(), gone.into()));
        assert_eq!(bed.refused(action, &[("PolicyArn", OURS), ("VersionId", "3")]).1, "ValidationError");
    }
}

#[test]
fn versions_are_listed_newest_first_page_by_page_and_without_documents() {
    let mut bed = bed();
    version(&mut bed, "sqs:*", "true");
    version(&mut bed, "sns:*", "false");
    let first = bed.call("ListPolicyVersions", &[("PolicyArn", OURS), ("MaxItems", "2")]);
    let ids: Vec<_> = first.text.match_indices("<VersionId>").map(|(at, tag)| &first.text[at + tag.len()..at + tag.len() + 2]).collect();
    assert_eq!((ids, first.text.contains("<Document>")), (vec!["v3", "v2"], false));
    let second = bed.call("ListPolicyVersions", &[("PolicyArn", OURS), ("Marker", &first.tag("Marker"))]);
    assert_eq!((second.tag("VersionId").as_str(), second.tag("IsTruncated").as_str()), ("v1", "false"));
    let of_aws = bed.call("ListPolicyVersions", &[("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess")]);
    assert_eq!(of_aws.tag("VersionId"), "v1");
    assert_eq!(bed.refused("ListPolicyVersions", &[("PolicyArn", "arn:aws:iam::111122223333:policy/none")]).1, "NoSuchEntity");
}

#[test]
fn there_are_five_versions_at_the_most_and_the_one_that_counts_stays() {
    let mut bed = bed();
    for _ in 0..4 {
        version(&mut bed, "sqs:*", "false");
    }
    let sixth = document("sns:*");
    let (status, code, _) = bed.refused("CreatePolicyVersion", &[("PolicyArn", OURS), ("PolicyDocument", &sixth)]);
    assert_eq!((status, code.as_str()), (409, "LimitExceeded"));
    assert_eq!(bed.refused("DeletePolicyVersion", &[("PolicyArn", OURS), ("VersionId", "v1")]).1, "DeleteConflict");
    assert_eq!(bed.refused("DeletePolicy", &[("PolicyArn", OURS)]).1, "DeleteConflict");
    for number in 2..=5 {
        bed.ok("DeletePolicyVersion", &[("PolicyArn", OURS), ("VersionId", &format!("v{number}"))]);
    }
    assert!(bed.ok("DeletePolicy", &[("PolicyArn", OURS)]));
}

#[test]
fn a_document_that_is_no_policy_makes_no_version() {
    let mut bed = bed();
    let long = document(&format!("s3:{}", "x".repeat(6_144)));
    for (document, code) in [("{", "MalformedPolicyDocument"), (long.as_str(), "LimitExceeded")] {
        assert_eq!(bed.refused("CreatePolicyVersion", &[("PolicyArn", OURS), ("PolicyDocument", document)]).1, code);
    }
    let own = document("s3:*");
    let aws = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    assert_eq!(bed.refused("CreatePolicyVersion", &[("PolicyArn", aws), ("PolicyDocument", &own)]).1, "AccessDenied");
}

#[test]
fn what_a_policy_is_attached_to_and_what_it_bounds_is_listed_and_keeps_it() {
    let mut bed = bed();
    let trust = trust("a:b").to_string();
    bed.ok("CreateRole", &[("RoleName", "bounded"), ("AssumeRolePolicyDocument", &trust), ("PermissionsBoundary", OURS)]);
    bed.ok("AttachRolePolicy", &[("RoleName", "app"), ("PolicyArn", OURS)]);
    let mut of = |more: &[(&str, &str)]| bed.call("ListEntitiesForPolicy", &[&[("PolicyArn", OURS)], more].concat()).tag("PolicyRoles");
    let (app, bounded) = ("<RoleName>app<", "<RoleName>bounded<");
    let shown = |text: &str| (text.contains(app), text.contains(bounded));
    assert_eq!(shown(&of(&[])), (true, true));
    assert_eq!(shown(&of(&[("PolicyUsageFilter", "PermissionsPolicy")])), (true, false));
    assert_eq!(shown(&of(&[("PolicyUsageFilter", "PermissionsBoundary")])), (false, true));
    assert_eq!(shown(&of(&[("EntityFilter", "User")])), (false, false));
    assert_eq!(bed.refused("DeletePolicy", &[("PolicyArn", OURS)]).1, "DeleteConflict");
    bed.ok("DetachRolePolicy", &[("RoleName", "app"), ("PolicyArn", OURS)]);
    assert_eq!(bed.refused("DeletePolicy", &[("PolicyArn", OURS)]).1, "DeleteConflict", "it still bounds a role");
}

#[test]
fn a_policy_is_tagged_and_its_tags_can_be_asked_for() {
    let mut bed = bed();
    let tag = [("PolicyArn", OURS), ("Tags.member.1.Key", "qovery-irsa/owner"), ("Tags.member.1.Value", "bootstrap")];
    assert!(bed.ok("TagPolicy", &tag));
    assert!(!bed.ok("TagPolicy", &tag));
    assert_eq!(bed.call("GetPolicy", &[("PolicyArn", OURS)]).tag("Value"), "bootstrap");
    assert_eq!(bed.call("ListPolicyTags", &[("PolicyArn", OURS)]).tag("Key"), "qovery-irsa/owner");
    let admin = bed.credentials.clone();
    let only_ours = json!({"Statement": [{"Effect": "Allow", "Action": "iam:CreatePolicyVersion", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/qovery-irsa/owner": "bootstrap"}}}]});
    bed.credentials = bed.aws.add_user("administrator", Some(only_ours));
    let next = document("sqs:*");
    let create = [("PolicyArn", OURS), ("PolicyDocument", next.as_str())];
    bed.ok("CreatePolicyVersion", &create);
    bed.credentials = admin.clone();
    assert!(bed.ok("UntagPolicy", &[("PolicyArn", OURS), ("TagKeys.member.1", "qovery-irsa/owner")]));
    let key = bed.aws.add_user("administrator", None);
    bed.credentials = key;
    assert_eq!(bed.refused("CreatePolicyVersion", &create).1, "AccessDenied");
}
