//! What the session of a role may do: what the policies of the role allow, within its boundary. A deny of either wins.

use http::Method;
use serde_json::{Value, json};

use super::{Bed, token, trust};
use crate::{aws::Credentials, keys::ClusterKey};

const OURS: &str = "arn:aws:iam::111122223333:policy/ours";

fn statement(effect: &str, action: &str) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": "*"})
}

fn document(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// What a session may do, by the codes of three calls.
fn may(bed: &mut Bed, session: &Credentials) -> [bool; 3] {
    let admin = std::mem::replace(&mut bed.credentials, session.clone());
    let roles = bed.call("ListRoles", &[]).status == 200;
    let role = bed.call("GetRole", &[("RoleName", "app")]).status == 200;
    let clusters = bed.eks(Method::GET, "/clusters", &Value::Null).status == 200;
    bed.credentials = admin;
    [roles, role, clusters]
}

/// A session by a token, and one by `AssumeRole` of a role that trusts the account.
fn sessions(bed: &mut Bed, role: &str) -> [Credentials; 2] {
    let arn = format!("arn:aws:iam::111122223333:role/qovery/{role}");
    let token = token(&ClusterKey::first(), bed.now, &json!({}));
    let by_token = bed.web_identity(&token, &[("RoleArn", &arn)]).session();
    let by_call = bed.call("AssumeRole", &[("RoleArn", &arn), ("RoleSessionName", "test")]).session();
    [by_token, by_call]
}

fn bed() -> Bed {
    let mut bed = Bed::with_role();
    let mut both = trust("team:app");
    let account = json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"});
    both["Statement"].as_array_mut().unwrap().push(account);
    bed.ok("UpdateAssumeRolePolicy", &[("RoleName", "app"), ("PolicyDocument", &both.to_string())]);
    bed
}

#[test]
fn a_session_of_a_role_without_policies_may_do_nothing() {
    let mut bed = bed();
    for session in sessions(&mut bed, "app") {
        assert_eq!(may(&mut bed, &session), [false; 3]);
    }
}

#[test]
fn a_session_may_do_what_inline_and_attached_policies_of_its_role_allow_now() {
    let mut bed = bed();
    let [by_token, by_call] = sessions(&mut bed, "app");
    let list = document(&[statement("Allow", "iam:ListRoles")]);
    bed.ok("PutRolePolicy", &[("RoleName", "app"), ("PolicyName", "p"), ("PolicyDocument", &list)]);
    bed.ok("CreatePolicy", &[("PolicyName", "ours"), ("PolicyDocument", &document(&[statement("Allow", "iam:GetRole")]))]);
    bed.ok("AttachRolePolicy", &[("RoleName", "app"), ("PolicyArn", OURS)]);
    for session in [&by_token, &by_call] {
        assert_eq!(may(&mut bed, session), [true, true, false], "the same session, with what its role got after it began");
    }
    let next = document(&[statement("Allow", "eks:ListClusters")]);
    bed.ok("CreatePolicyVersion", &[("PolicyArn", OURS), ("PolicyDocument", &next)]);
    assert_eq!(may(&mut bed, &by_token), [true, true, false], "only the default version counts");
    bed.ok("SetDefaultPolicyVersion", &[("PolicyArn", OURS), ("VersionId", "v2")]);
    for session in [&by_token, &by_call] {
        assert_eq!(may(&mut bed, session), [true, false, true]);
    }
}

#[test]
fn a_boundary_grants_nothing_bounds_everything_and_counts_with_its_default_version() {
    let mut bed = bed();
    bed.ok("CreatePolicy", &[("PolicyName", "ours"), ("PolicyDocument", &document(&[statement("Allow", "iam:*")]))]);
    bed.ok("PutRolePermissionsBoundary", &[("RoleName", "app"), ("PermissionsBoundary", OURS)]);
    let [by_token, by_call] = sessions(&mut bed, "app");
    assert_eq!(may(&mut bed, &by_token), [false; 3]);
    let all = document(&[statement("Allow", "*")]);
    bed.ok("PutRolePolicy", &[("RoleName", "app"), ("PolicyName", "p"), ("PolicyDocument", &all)]);
    for session in [&by_token, &by_call] {
        assert_eq!(may(&mut bed, session), [true, true, false]);
    }
    let narrower = document(&[statement("Allow", "*"), statement("Deny", "iam:ListRoles")]);
    bed.ok("CreatePolicyVersion", &[("PolicyArn", OURS), ("PolicyDocument", &narrower), ("SetAsDefault", "true")]);
    for session in [&by_token, &by_call] {
        assert_eq!(may(&mut bed, session), [false, true, true]);
    }
}

#[test]
fn a_deny_in_one_policy_of_a_role_wins_over_all_others() {
    let mut bed = bed();
    let all = document(&[statement("Allow", "*")]);
    let never = document(&[statement("Deny", "eks:*")]);
    bed.ok("PutRolePolicy", &[("RoleName", "app"), ("PolicyName", "all"), ("PolicyDocument", &all)]);
    bed.ok("PutRolePolicy", &[("RoleName", "app"), ("PolicyName", "never"), ("PolicyDocument", &never)]);
    for session in sessions(&mut bed, "app") {
        assert_eq!(may(&mut bed, &session), [true, true, false]);
    }
}
