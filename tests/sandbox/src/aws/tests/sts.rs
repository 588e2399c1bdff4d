//! Sessions: by web identity and by trust, and what they are good for.

use serde_json::json;

use super::{Bed, ISSUER, Pairs, Reply, query_request, token, trust};
use crate::{
    aws::{Aws, sigv4},
    keys::ClusterKey,
    service::Service,
};

const ROLE: &str = "arn:aws:iam::111122223333:role/qovery/app";

fn error(reply: &Reply) -> (u16, String, String) {
    (reply.status, reply.tag("Code"), reply.tag("Message"))
}

#[test]
fn a_token_of_the_subject_gets_a_session_that_knows_who_it_is() {
    let mut bed = Bed::with_role();
    let token = token(&ClusterKey::first(), bed.now, &json!({}));
    let reply = bed.web_identity(&token, &[]);
    assert!(!reply.changed);
    assert_eq!(reply.tag("SubjectFromWebIdentityToken"), "system:serviceaccount:team:app");
    assert_eq!(reply.tag("Expiration"), "2026-11-24T07:00:00Z");
    assert_eq!(reply.parameters["WebIdentityToken"]["sub"], "system:serviceaccount:team:app");
    bed.credentials = reply.session();
    let identity = bed.call("GetCallerIdentity", &[]);
    assert_eq!(identity.tag("Arn"), "arn:aws:sts::111122223333:assumed-role/app/proof");
    assert!(identity.tag("UserId").ends_with(":proof"));
    bed.pass(3_600);
    assert_eq!(bed.call("GetCallerIdentity", &[]).tag("Code"), "ExpiredToken");
}

#[test]
fn a_web_identity_is_refused_as_aws_refuses_it() {
    let key = ClusterKey::first();
    let denied = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
    let no_provider = "No OpenIDConnect provider found in your account for";
    let bed = Bed::with_role();
    let with = |changes| token(&key, bed.now, &changes);
    let other_role = "arn:aws:iam::111122223333:role/app";
    let other_account = "arn:aws:iam::999922223333:role/qovery/app";
    let good = with(json!({}));
    let cases: [(String, Pairs<'_>, &str, &str); 13] = [
        (with(json!({"sub": "system:serviceaccount:team:evil"})), &[], "AccessDenied", denied),
        (good.clone(), &[("RoleArn", other_role)], "AccessDenied", denied),
        (good.clone(), &[("RoleArn", other_account)], "InvalidIdentityToken", no_provider),
        (with(json!({"iss": format!("{ISSUER}2")})), &[], "InvalidIdentityToken", no_provider),
        (with(json!({"aud": ["kubernetes"]})), &[], "InvalidIdentityToken", "Incorrect token audience"),
        (with(json!({"aud": null})), &[], "InvalidIdentityToken", "Missing a required claim: aud"),
        (with(json!({"exp": 1_795_500_000})), &[], "ExpiredTokenException", "Token expired"),
        (token(&ClusterKey::second(), bed.now, &json!({})), &[], "InvalidIdentityToken", "invalid signature"),
        ("not-a-token".into(), &[], "InvalidIdentityToken", "not a valid JWT"),
        (good.clone(), &[("RoleSessionName", "a b")], "ValidationError", "roleSessionName"),
        (good.clone(), &[("DurationSeconds", "899")], "ValidationError", "durationSeconds"),
        (good.clone(), &[("DurationSeconds", "3601")], "ValidationError", "MaxSessionDuration"),
        (good.clone(), &[("RoleArn", "arn:aws:iam::111122223333:user/app")], "ValidationError", "is invalid"),
    ];
    for (token, more, code, part) in cases {
        let reply = Bed::with_role().web_identity(&token, more);
        let (status, found, message) = error(&reply);
        assert_eq!(found, code, "{message}");
        assert_eq!(status, if code == "AccessDenied" { 403 } else { 400 });
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn an_issuer_whose_keys_cannot_be_fetched_or_that_rotated_them() {
    let mut bed = Bed::with_role();
    let second = token(&ClusterKey::second(), bed.now, &json!({}));
    bed.aws.trust_issuer(ISSUER, ClusterKey::second());
    assert_eq!(bed.web_identity(&second, &[]).status, 200);
    bed.aws.forget_issuer(ISSUER);
    let reply = bed.web_identity(&second, &[]);
    assert_eq!(reply.tag("Code"), "InvalidIdentityToken");
    assert!(reply.tag("Message").starts_with("Couldn't retrieve verification key"));
}

#[test]
fn a_session_is_accepted_by_a_copy_of_the_state_from_before_it() {
    let mut bed = Bed::with_role();
    let mut old = bed.aws.snapshot();
    let token = token(&ClusterKey::first(), bed.now, &json!({}));
    let credentials = bed.web_identity(&token, &[]).session();
    let mut request = query_request("GetCallerIdentity", &[]);
    sigv4::tests::sign(&mut request, &credentials, "sts", "eu-west-3", bed.now);
    assert_eq!(old.answer(&request, bed.now).response.status, 200);
}

#[test]
fn a_session_acts_with_the_policies_of_its_role_within_the_boundary() {
    let mut bed = Bed::with_role();
    let token = token(&ClusterKey::first(), bed.now, &json!({}));
    let session = bed.web_identity(&token, &[]).session();
    let attach = |arn| [("RoleName", "app"), ("PolicyArn", arn)];
    bed.credentials = session.clone();
    let list = "User: arn:aws:sts::111122223333:assumed-role/app/proof is not authorized to perform: iam:ListRoles on resource: arn:aws:iam::111122223333:role/ because no";
    let (_, _, message) = bed.refused("ListRoles", &[]);
    assert_eq!(message, format!("{list} identity-based policy allows the iam:ListRoles action"));
    bed.credentials = Aws::admin();
    bed.ok("AttachRolePolicy", &attach("arn:aws:iam::aws:policy/IAMFullAccess"));
    bed.credentials = session.clone();
    bed.ok("ListRoles", &[]);
    let boundary = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
    bed.aws.role_mut("app").unwrap().boundary = Some(boundary.into());
    let (_, _, message) = bed.refused("ListRoles", &[]);
    assert_eq!(message, format!("{list} permissions boundary allows the iam:ListRoles action"));
}

#[test]
fn who_may_assume_a_role_without_a_token() {
    let mut bed = Bed::with_role();
    let user = "arn:aws:iam::111122223333:user/job";
    let root = "arn:aws:iam::111122223333:root";
    let may = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}});
    let plain = bed.aws.add_user("job", None);
    let allowed = bed.aws.add_user("allowed", Some(may));
    let document = |principal: &str, effect: &str| {
        let mut document = trust("a:b");
        document["Statement"] = json!([
            {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"},
            {"Effect": effect, "Principal": {"AWS": user}, "Action": "sts:AssumeRole"},
        ]);
        document.to_string()
    };
    for (trust, credentials, good) in [
        (trust("a:b").to_string(), &Aws::admin(), false),
        (document(root, "Allow"), &Aws::admin(), true),
        (document(root, "Allow"), &plain, true),
        (document(root, "Deny"), &plain, false),
        (document(root, "Deny"), &allowed, true),
        (document("arn:aws:iam::999922223333:root", "Allow"), &allowed, false),
        (document("*", "Deny"), &plain, false),
    ] {
        bed.aws.role_mut("app").unwrap().trust = trust.clone();
        bed.credentials = credentials.clone();
        let reply = bed.call("AssumeRole", &[("RoleArn", ROLE), ("RoleSessionName", "job")]);
        assert_eq!(reply.status == 200, good, "{trust} {}", reply.text);
        if !good {
            assert_eq!(reply.tag("Code"), "AccessDenied");
        }
    }
}
