//! Signatures and the permissions of limited callers.

use serde_json::{Value, json};

use super::{Bed, query_request, trust};
use crate::{
    aws::{Aws, Credentials},
    service::Service,
};

const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/ours";

fn limited(statements: &Value) -> Bed {
    let mut bed = Bed::with_role();
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    bed.credentials = bed.aws.add_user("job", Some(document));
    bed
}

fn create<'a>(document: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![("RoleName", "new"), ("AssumeRolePolicyDocument", document)];
    parameters.extend(more);
    parameters
}

#[test]
fn a_bad_signature_is_refused_with_the_code_of_its_kind() {
    let mut bed = Bed::new();
    let good = Aws::admin();
    for (key, secret, token, code) in [
        (good.access_key_id.as_str(), "wrong", None, "SignatureDoesNotMatch"),
        ("AKIAIOSFODNN7EXAMPLE", "x", None, "InvalidClientTokenId"),
        ("ASIAIOSFODNN7EXAMPLE", "x", None, "InvalidClientTokenId"),
        ("ASIAIOSFODNN7EXAMPLE", "x", Some("e30=.e30="), "InvalidClientTokenId"),
        (good.access_key_id.as_str(), "wrong", Some("t"), "InvalidClientTokenId"),
    ] {
        bed.credentials =
            Credentials { access_key_id: key.into(), secret_access_key: secret.into(), session_token: token.map(str::to_owned) };
        let (status, found, _) = bed.refused("ListRoles", &[]);
        assert_eq!((status, found.as_str()), (403, code));
    }
    let unsigned = bed.send(&query_request("ListRoles", &[]));
    assert_eq!((unsigned.status, unsigned.tag("Code").as_str()), (403, "MissingAuthenticationToken"));
}

#[test]
fn an_operation_is_named_without_a_signature_being_good() {
    let bed = Bed::new();
    for (action, name) in [
        ("CreateRole", "iam:CreateRole"),
        ("AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity"),
        ("GetCallerIdentity", "sts:GetCallerIdentity"),
    ] {
        assert_eq!(bed.aws.operation(&query_request(action, &[])), name);
    }
}

#[test]
fn a_user_without_a_policy_may_only_ask_who_it_is() {
    let mut bed = Bed::with_role();
    bed.credentials = bed.aws.add_user("job", None);
    let arn = bed.call("GetCallerIdentity", &[]).tag("Arn");
    assert_eq!(arn, "arn:aws:iam::111122223333:user/job");
    assert_eq!(
        bed.refused("GetRole", &[("RoleName", "app")]).2,
        "User: arn:aws:iam::111122223333:user/job is not authorized to perform: iam:GetRole on resource: arn:aws:iam::111122223333:role/qovery/app because no identity-based policy allows the iam:GetRole action"
    );
    assert!(bed.refused("GetRole", &[("RoleName", "none")]).2.contains("on resource: role none because"));
}

#[test]
fn a_required_policy_holds_for_every_user_and_not_for_the_administrator() {
    let mut bed = limited(&json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    bed.ok("GetRole", &[("RoleName", "app")]);
    bed.aws.require_policy(json!({"Statement": {"Effect": "Allow", "Action": "iam:List*", "Resource": "*"}}));
    assert_eq!(bed.refused("GetRole", &[("RoleName", "app")]).1, "AccessDenied");
    bed.ok("ListRoles", &[]);
    bed.credentials = Aws::admin();
    bed.ok("GetRole", &[("RoleName", "app")]);
}

#[test]
fn a_boundary_can_be_required_for_making_roles() {
    let mut bed = limited(&json!([
        {"Effect": "Allow", "Action": ["iam:CreateRole", "iam:PutRolePermissionsBoundary"],
         "Resource": "arn:aws:iam::111122223333:role/qovery/*",
         "Condition": {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}},
    ]));
    let admin = Aws::admin();
    let job = std::mem::replace(&mut bed.credentials, admin);
    let document = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}});
    bed.ok("CreatePolicy", &[("PolicyName", "ours"), ("PolicyDocument", &document.to_string())]);
    bed.credentials = job;
    let trust = trust("a:b").to_string();
    let path = ("Path", "/qovery/");
    for more in [&[path][..], &[("PermissionsBoundary", BOUNDARY)]] {
        assert_eq!(bed.refused("CreateRole", &create(&trust, more)).1, "AccessDenied");
    }
    bed.ok("CreateRole", &create(&trust, &[path, ("PermissionsBoundary", BOUNDARY)]));
}

#[test]
fn tags_on_creation_take_the_permission_to_tag_and_can_be_required() {
    let tagged = json!({"Effect": "Allow", "Action": "iam:CreateRole", "Resource": "*",
        "Condition": {"StringEquals": {"aws:RequestTag/Team": "platform"}}});
    let tagging = json!({"Effect": "Allow", "Action": "iam:TagRole", "Resource": "*"});
    let trust = trust("a:b").to_string();
    let tags = [("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "platform")];
    let mut bed = limited(&json!([tagged]));
    assert!(bed.refused("CreateRole", &create(&trust, &tags)).2.contains("perform: iam:TagRole"));
    let mut bed = limited(&json!([tagged, tagging]));
    assert!(bed.refused("CreateRole", &create(&trust, &[])).2.contains("perform: iam:CreateRole"));
    bed.ok("CreateRole", &create(&trust, &tags));
}

#[test]
fn only_certain_policies_may_be_attached_and_a_deny_wins() {
    let mut bed = limited(&json!([
        {"Effect": "Allow", "NotAction": "iam:DeleteRole", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:AttachRolePolicy", "Resource": "*",
         "Condition": {"ArnNotLike": {"iam:PolicyARN": "arn:aws:iam::aws:policy/AmazonS3*"}}},
    ]));
    let attach = |arn| [("RoleName", "app"), ("PolicyArn", arn)];
    bed.ok("AttachRolePolicy", &attach("arn:aws:iam::aws:policy/AmazonS3FullAccess"));
    let denied = bed.refused("AttachRolePolicy", &attach("arn:aws:iam::aws:policy/AdministratorAccess"));
    assert!(denied.2.ends_with("with an explicit deny in an identity-based policy"));
    assert_eq!(bed.refused("DeleteRole", &[("RoleName", "app")]).1, "AccessDenied");
}
