//! IAM's calls: what they answer, what they change, how they refuse.

use serde_json::{Value, json};

use super::{Bed, HOST, PROVIDER, trust};
use crate::service::Service;

const READ_ONLY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";
const S3: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

#[test]
fn a_call_repeated_changes_nothing() {
    let other = trust("other:app").to_string();
    let inline = [("RoleName", "app"), ("PolicyName", "p"), ("PolicyDocument", S3)];
    let calls: [(&str, &[(&str, &str)]); 10] = [
        ("AttachRolePolicy", &[("RoleName", "app"), ("PolicyArn", READ_ONLY)]),
        ("TagRole", &[("RoleName", "app"), ("Tags.member.1.Key", "k"), ("Tags.member.1.Value", "v")]),
        ("UpdateAssumeRolePolicy", &[("RoleName", "app"), ("PolicyDocument", &other)]),
        ("PutRolePolicy", &inline),
        ("PutRolePermissionsBoundary", &[("RoleName", "app"), ("PermissionsBoundary", READ_ONLY)]),
        ("DeleteRolePermissionsBoundary", &[("RoleName", "app")]),
        ("UpdateRole", &[("RoleName", "app"), ("Description", "d"), ("MaxSessionDuration", "7200")]),
        ("UpdateRoleDescription", &[("RoleName", "app"), ("Description", "e")]),
        ("UntagRole", &[("RoleName", "app"), ("TagKeys.member.1", "k")]),
        ("AddClientIDToOpenIDConnectProvider", &[("OpenIDConnectProviderArn", PROVIDER), ("ClientID", "x")]),
    ];
    let mut bed = Bed::with_role();
    for (action, parameters) in calls {
        assert!(bed.ok(action, parameters), "{action} the first time");
        assert!(!bed.ok(action, parameters), "{action} the second time");
    }
}

#[test]
fn deleting_what_is_not_there_is_an_error_for_roles_and_none_for_providers() {
    let mut bed = Bed::with_role();
    let provider = [("OpenIDConnectProviderArn", PROVIDER)];
    assert!(bed.ok("DeleteOpenIDConnectProvider", &provider));
    assert!(!bed.ok("DeleteOpenIDConnectProvider", &provider));
    assert!(bed.ok("DeleteRole", &[("RoleName", "app")]));
    assert_eq!(
        bed.refused("DeleteRole", &[("RoleName", "app")]),
        (404, "NoSuchEntity".into(), "The role with name app cannot be found.".into())
    );
}

#[test]
fn a_role_in_an_instance_profile_is_not_deleted_and_its_profiles_are_listed() {
    let mut bed = Bed::with_role();
    let list = |bed: &mut Bed, more: &[(&str, &str)]| bed.call("ListInstanceProfilesForRole", &[&[("RoleName", "app")], more].concat());
    assert!(!list(&mut bed, &[]).text.contains("<member>"));
    bed.aws.role_mut("app").unwrap().instance_profiles = ["nodes".to_owned(), "others".to_owned()].into();
    let first = list(&mut bed, &[("MaxItems", "1")]);
    assert_eq!((first.tag("InstanceProfileName").as_str(), first.tag("IsTruncated").as_str()), ("nodes", "true"));
    let second = list(&mut bed, &[("MaxItems", "1"), ("Marker", &first.tag("Marker"))]);
    assert_eq!((second.tag("InstanceProfileName").as_str(), second.tag("IsTruncated").as_str()), ("others", "false"));
    let conflict = "Cannot delete entity, must remove roles from instance profile first.";
    assert_eq!(bed.refused("DeleteRole", &[("RoleName", "app")]), (409, "DeleteConflict".into(), conflict.into()));
    assert_eq!(bed.refused("ListInstanceProfilesForRole", &[("RoleName", "none")]).0, 404);
}

#[test]
fn a_role_is_deleted_only_when_nothing_hangs_on_it() {
    let mut bed = Bed::with_role();
    bed.ok("AttachRolePolicy", &[("RoleName", "app"), ("PolicyArn", READ_ONLY)]);
    bed.ok("PutRolePolicy", &[("RoleName", "app"), ("PolicyName", "p"), ("PolicyDocument", S3)]);
    let message = |bed: &mut Bed| bed.refused("DeleteRole", &[("RoleName", "app")]);
    let conflict = |text: &str| (409, "DeleteConflict".to_owned(), text.to_owned());
    let detach = "Cannot delete entity, must detach all policies first.";
    assert_eq!(message(&mut bed), conflict(detach));
    bed.ok("DetachRolePolicy", &[("RoleName", "app"), ("PolicyArn", READ_ONLY)]);
    let delete = "Cannot delete entity, must delete policies first.";
    assert_eq!(message(&mut bed), conflict(delete));
    bed.ok("DeleteRolePolicy", &[("RoleName", "app"), ("PolicyName", "p")]);
    assert!(bed.ok("DeleteRole", &[("RoleName", "app")]));
}

#[test]
fn a_tag_key_in_other_case_replaces_the_first() {
    let mut bed = Bed::with_role();
    let tag = |key: &str, value: &str| {
        vec![("RoleName", "app".to_owned()), ("Tags.member.1.Key", key.to_owned()), ("Tags.member.1.Value", value.to_owned())]
    };
    for (key, value) in [("owner", "a"), ("Owner", "b")] {
        let tags = tag(key, value);
        let tags: Vec<_> = tags.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert!(bed.ok("TagRole", &tags));
    }
    assert_eq!(bed.aws.state()["roles"]["app"]["tags"], json!({"Owner": "b"}));
    assert!(bed.ok("UntagRole", &[("RoleName", "app"), ("TagKeys.member.1", "OWNER")]));
    assert_eq!(bed.aws.state()["roles"]["app"]["tags"], json!({}));
}

#[test]
fn tags_that_iam_refuses() {
    let long = "k".repeat(129);
    let value = "v".repeat(257);
    let pattern = r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*";
    for (key, value, code, part) in [
        ("aws:x", "v", "InvalidInput", "System tags cannot be added/updated by requester"),
        ("", "v", "ValidationError", "greater than or equal to 1"),
        (long.as_str(), "v", "ValidationError", "less than or equal to 128"),
        ("k", value.as_str(), "ValidationError", "less than or equal to 256"),
        ("k", "a,b", "ValidationError", pattern),
        ("k*", "v", "ValidationError", pattern),
        ("k", "\u{301}", "ValidationError", pattern),
        ("k", "tab\there", "ValidationError", pattern),
    ] {
        let tags = [("RoleName", "app"), ("Tags.member.1.Key", key), ("Tags.member.1.Value", value)];
        let (status, found, message) = Bed::with_role().refused("TagRole", &tags);
        assert_eq!((status, found.as_str()), (400, code), "{key}");
        assert!(message.contains(part), "{message}");
    }
    for (key, value) in [("k", ""), ("é @", "a/b:c=d+e-f_g.h"), ("q\u{a0}", "日本")] {
        let tags = [("RoleName", "app"), ("Tags.member.1.Key", key), ("Tags.member.1.Value", value)];
        assert!(Bed::with_role().ok("TagRole", &tags));
    }
    let twice = [
        ("RoleName", "app"),
        ("Tags.member.1.Key", "k"),
        ("Tags.member.1.Value", "1"),
        ("Tags.member.2.Key", "K"),
        ("Tags.member.2.Value", "2"),
    ];
    assert_eq!(Bed::with_role().refused("TagRole", &twice).2, "Duplicate tag keys found. Please note that Tag keys are case insensitive.");
}

#[test]
fn names_are_unique_ignoring_case_and_found_either_way_as_told() {
    let mut bed = Bed::with_role();
    let document = trust("a:b").to_string();
    let create = [("RoleName", "APP"), ("AssumeRolePolicyDocument", document.as_str())];
    assert_eq!(bed.refused("CreateRole", &create), (409, "EntityAlreadyExists".into(), "Role with name APP already exists.".into()));
    assert_eq!(bed.call("GetRole", &[("RoleName", "APP")]).tag("RoleName"), "app");
    bed.aws.look_up_exact_case(true);
    assert_eq!(bed.refused("GetRole", &[("RoleName", "APP")]).1, "NoSuchEntity");
    assert_eq!(bed.refused("CreateRole", &create).1, "EntityAlreadyExists");
}

#[test]
fn a_role_is_shown_whole_and_its_documents_percent_encoded() {
    let mut bed = Bed::with_role();
    bed.ok("PutRolePermissionsBoundary", &[("RoleName", "app"), ("PermissionsBoundary", READ_ONLY)]);
    bed.aws.role_mut("app").unwrap().trust = r#"{"Version": "2012-10-17", "x": "a+b~"}"#.into();
    let reply = bed.call("GetRole", &[("RoleName", "app")]);
    assert_eq!(reply.tag("AssumeRolePolicyDocument"), "%7B%22Version%22%3A%20%222012-10-17%22%2C%20%22x%22%3A%20%22a%2Bb~%22%7D");
    assert_eq!(reply.tag("Arn"), "arn:aws:iam::111122223333:role/qovery/app");
    assert_eq!(reply.tag("PermissionsBoundaryArn"), READ_ONLY);
    assert_eq!(reply.tag("MaxSessionDuration"), "3600");
    assert_eq!(reply.tag("CreateDate"), "2026-11-24T06:00:00Z");
    assert!(reply.tag("RoleId").starts_with("AROA") && reply.tag("RoleId").len() == 21);
    assert!(reply.text.contains("<RoleLastUsed></RoleLastUsed>"));
}

#[test]
fn pages_cover_everything_once() {
    let mut bed = Bed::new();
    let document = trust("a:b").to_string();
    for index in 0..7 {
        let (name, path) = (format!("r{index}"), if index == 3 { "/other/" } else { "/qovery/" });
        bed.ok("CreateRole", &[("RoleName", &name), ("Path", path), ("AssumeRolePolicyDocument", &document)]);
    }
    let (mut names, mut marker) = (Vec::new(), String::new());
    loop {
        let mut parameters = vec![("PathPrefix", "/qovery/"), ("MaxItems", "2")];
        if !marker.is_empty() {
            parameters.push(("Marker", &marker));
        }
        let reply = bed.call("ListRoles", &parameters);
        names.extend(reply.text.split("<RoleName>").skip(1).map(|part| part[..2].to_owned()));
        if reply.tag("IsTruncated") == "false" {
            break;
        }
        marker = reply.tag("Marker");
    }
    assert_eq!(names, ["r0", "r1", "r2", "r4", "r5", "r6"]);
    let (_, code, message) = bed.refused("ListRoles", &[("Marker", "%")]);
    assert_eq!((code.as_str(), message.as_str()), ("ValidationError", "Invalid Marker."));
}

#[test]
fn a_deleted_principal_shows_as_its_id_and_cannot_be_written_back() {
    let mut bed = Bed::with_role();
    let arn = "arn:aws:iam::111122223333:role/qovery/app";
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"},
    ]})
    .to_string();
    bed.ok("CreateRole", &[("RoleName", "other"), ("AssumeRolePolicyDocument", &document)]);
    let id = bed.aws.roles()["app"].id.clone();
    bed.ok("DeleteRole", &[("RoleName", "app")]);
    let seen = bed.aws.roles()["other"].trust.clone();
    assert!(seen.contains(&id) && !seen.contains(arn));
    let update = [("RoleName", "other"), ("PolicyDocument", seen.as_str())];
    let (_, code, message) = bed.refused("UpdateAssumeRolePolicy", &update);
    assert_eq!(code, "MalformedPolicyDocument");
    assert_eq!(message, format!("Invalid principal in policy: \"AWS\":\"{id}\""));
}

#[test]
fn roles_and_policies_of_aws_itself_are_out_of_reach() {
    let mut bed = Bed::with_role();
    bed.aws.role_mut("app").unwrap().path = "/aws-service-role/".into();
    let (status, code, _) = bed.refused("DeleteRole", &[("RoleName", "app")]);
    assert_eq!((status, code.as_str()), (400, "UnmodifiableEntity"));
    let service = "arn:aws:iam::aws:policy/aws-service-role/AmazonEKSServiceRolePolicy";
    let attach = [("RoleName", "app"), ("PolicyArn", service)];
    assert_eq!(Bed::with_role().refused("AttachRolePolicy", &attach).1, "PolicyNotAttachable");
    let delete = [("PolicyArn", READ_ONLY)];
    assert_eq!(bed.refused("DeletePolicy", &delete).1, "AccessDenied");
}

#[test]
fn an_equivalent_document_is_shown_on_request() {
    let mut bed = Bed::with_role();
    bed.aws.show_equivalent_documents(true);
    let shown = bed.call("GetRole", &[("RoleName", "app")]).tag("AssumeRolePolicyDocument");
    let text = percent_encoding::percent_decode_str(&shown).decode_utf8().unwrap().into_owned();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["Statement"]["Condition"]["StringEquals"][format!("{HOST}:aud")], "sts.amazonaws.com");
}

#[test]
fn the_partition_is_in_every_arn() {
    let mut bed = Bed::new();
    bed.aws.set_partition("aws-cn");
    let document = trust("a:b").to_string();
    let create = |document| [("RoleName", "r"), ("AssumeRolePolicyDocument", document)];
    assert_eq!(bed.refused("CreateRole", &create(&document)).2, "Federated principals must be valid domain names or SAML metadata ARNs");
    let document = document.replace("arn:aws:", "arn:aws-cn:");
    bed.ok("CreateRole", &create(&document));
    let shown = bed.call("GetRole", &[("RoleName", "r")]).tag("Arn");
    assert_eq!(shown, "arn:aws-cn:iam::111122223333:role/r");
    let attach = |arn| [("RoleName", "r"), ("PolicyArn", arn)];
    assert_eq!(bed.refused("AttachRolePolicy", &attach(READ_ONLY)).1, "NoSuchEntity");
    bed.ok("AttachRolePolicy", &attach("arn:aws-cn:iam::aws:policy/ReadOnlyAccess"));
}

#[test]
fn what_is_not_implemented_says_so() {
    let mut bed = Bed::new();
    let reply = bed.call("CreateServiceLinkedRole", &[("AWSServiceName", "x")]);
    assert_eq!((reply.status, reply.tag("Code").as_str()), (501, "NotImplemented"));
    let named = bed.aws.operation(&super::query_request("CreateServiceLinkedRole", &[]));
    assert_eq!(named, "iam:CreateServiceLinkedRole");
}

#[test]
fn the_witness_sees_parameters_as_json() {
    let mut bed = Bed::with_role();
    let document = trust("a:b");
    let reply = bed.call("UpdateAssumeRolePolicy", &[("RoleName", "app"), ("PolicyDocument", &document.to_string())]);
    assert_eq!(reply.parameters, json!({"RoleName": "app", "PolicyDocument": document}));
}

#[test]
fn the_one_version_of_a_policy_shows_its_document() {
    let mut bed = Bed::new();
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}).to_string();
    bed.ok("CreatePolicy", &[("PolicyName", "ours"), ("PolicyDocument", &document)]);
    for arn in ["arn:aws:iam::111122223333:policy/ours", "arn:aws:iam::aws:policy/AmazonS3FullAccess"] {
        let version = bed.call("GetPolicy", &[("PolicyArn", arn)]).tag("DefaultVersionId");
        let shown = bed.call("GetPolicyVersion", &[("PolicyArn", arn), ("VersionId", &version)]);
        assert_eq!((shown.status, shown.tag("IsDefaultVersion").as_str()), (200, "true"));
        let text = percent_encoding::percent_decode_str(&shown.tag("Document")).decode_utf8().unwrap().into_owned();
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(shown["Statement"][0]["Action"].to_string().contains("s3:*"), "{shown}");
        assert_eq!(bed.refused("GetPolicyVersion", &[("PolicyArn", arn), ("VersionId", "v2")]).1, "NoSuchEntity");
    }
    assert_eq!(bed.refused("GetPolicyVersion", &[("PolicyArn", "arn:aws:iam::aws:policy/None"), ("VersionId", "v1")]).1, "NoSuchEntity");
    let arn = ("PolicyArn", "arn:aws:iam::aws:policy/AmazonS3FullAccess");
    assert_eq!(bed.refused("GetPolicyVersion", &[arn, ("VersionId", "1")]).1, "ValidationError");
}
