//! `AssumeRoleForPodIdentity`: which tokens get which sessions, and what these may do.

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Bed, Reply, eks::bed, token};
use crate::{
    aws::{Aws, Credentials, sigv4},
    keys::ClusterKey,
    service::Request,
};

const CLUSTER: &str = "arn:aws:eks:eu-west-3:111122223333:cluster/c1";
const ROLE: &str = "arn:aws:iam::111122223333:role/pods";
const TARGET: &str = "arn:aws:iam::999999999999:role/target";
const AUDIENCE: &str = "pods.eks.amazonaws.com";
const REFUSED: &str = "Unauthorized Exception! EKS does not have permissions to assume the associated role.";

/// The claims that matter to EKS Pod Identity, of a pod on a node.
fn bound() -> Value {
    json!({"namespace": "team", "serviceaccount": {"name": "app", "uid": "s"}, "pod": {"name": "app-7d9f8c6b5-x2x4z", "uid": "p"}, "node": {"name": "n"}})
}

/// A cluster with an association of `team/app`, with these settings.
fn associated(changes: &Value) -> Bed {
    let mut bed = bed();
    let mut body = json!({"namespace": "team", "serviceAccount": "app", "roleArn": ROLE});
    for (member, value) in changes.as_object().unwrap() {
        body[member] = value.clone();
    }
    let made = bed.eks(Method::POST, "/clusters/c1/pod-identity-associations", &body);
    assert!(made.changed, "{}", made.text);
    bed
}

fn ask_with(bed: &mut Bed, token: &str) -> Reply {
    ask_for(bed, &json!({"token": token}))
}

fn ask_for(bed: &mut Bed, body: &Value) -> Reply {
    let mut request = Request {
        method: Method::POST,
        path: "/clusters/c1/assume-role-for-pod-identity".to_owned(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: body.to_string().into(),
    };
    sigv4::tests::sign(&mut request, &bed.credentials, "eks-auth", "eu-west-3", bed.now);
    bed.send(&request)
}

/// With the pod's token, some of its claims changed.
fn ask(bed: &mut Bed, changes: &Value) -> Reply {
    let mut claims = json!({"aud": [AUDIENCE], "kubernetes.io": bound()});
    for (member, value) in changes.as_object().unwrap() {
        claims[member] = value.clone();
    }
    let token = token(&ClusterKey::first(), bed.now, &claims);
    ask_with(bed, &token)
}

fn session(reply: &Reply) -> Credentials {
    let keys = &reply.json()["credentials"];
    let text = |member: &str| keys[member].as_str().unwrap().to_owned();
    Credentials {
        access_key_id: text("accessKeyId"),
        secret_access_key: text("secretAccessKey"),
        session_token: Some(text("sessionToken")),
    }
}

/// What the credentials are.
fn identity(bed: &mut Bed, credentials: Credentials) -> String {
    let before = std::mem::replace(&mut bed.credentials, credentials);
    let arn = bed.call("GetCallerIdentity", &[]).tag("Arn");
    bed.credentials = before;
    arn
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str, part: &str) {
    assert_eq!((reply.status, reply.error_type.as_deref()), (status, Some(code)), "{}", reply.text);
    assert!(reply.text.contains(part), "{}", reply.text);
}

fn set_trust(bed: &mut Bed, condition: &Value) {
    let statement = json!({"Effect": "Allow", "Principal": {"Service": AUDIENCE}, "Action": ["sts:AssumeRole", "sts:TagSession"], "Condition": condition});
    let document = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    bed.ok("UpdateAssumeRolePolicy", &[("RoleName", "pods"), ("PolicyDocument", &document)]);
}

#[test]
fn a_pod_gets_a_session_of_the_role_of_its_association() {
    let mut bed = associated(&json!({}));
    let reply = ask(&mut bed, &json!({}));
    assert_eq!((reply.status, reply.changed), (200, false), "{}", reply.text);
    let shown = reply.json();
    assert_eq!(shown["subject"], json!({"namespace": "team", "serviceAccount": "app"}));
    assert_eq!(shown["audience"], AUDIENCE);
    assert!(shown["podIdentityAssociation"]["associationArn"].as_str().unwrap().contains("podidentityassociation/c1/a-"));
    let arn = shown["assumedRoleUser"]["arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:sts::111122223333:assumed-role/pods/eks-c1-app-7d9f8c-"), "{arn}");
    let lives = shown["credentials"]["expiration"].as_u64().unwrap() - crate::aws::time::unix_seconds(bed.now);
    assert_eq!(lives, 21_600);
    assert_eq!(identity(&mut bed, session(&reply)), arn);
    // The witness sees the claims, not the token.
    assert_eq!(reply.parameters["token"]["kubernetes.io"]["pod"]["uid"], "p");
}

#[test]
fn a_token_that_is_not_that_of_a_pod_of_the_cluster_is_refused() {
    let mut bed = associated(&json!({}));
    let now = crate::aws::time::unix_seconds(bed.now);
    let without = |member: &str| {
        let mut bound = bound();
        bound.as_object_mut().unwrap().remove(member);
        json!({"kubernetes.io": bound})
    };
    for (changes, code, part) in [
        (json!({"aud": ["sts.amazonaws.com"]}), "InvalidTokenException", "audience"),
        (json!({"iss": "https://oidc.example.com/id/OTHER"}), "InvalidTokenException", "not issued by the cluster"),
        (json!({"exp": now}), "ExpiredTokenException", "expired"),
        (json!({"nbf": now + 600}), "InvalidTokenException", "not valid yet"),
        (without("pod"), "InvalidTokenException", "not bound to a pod"),
        (without("serviceaccount"), "InvalidTokenException", "not bound to a pod"),
    ] {
        refused(&ask(&mut bed, &changes), 400, code, part);
    }
    let claims = json!({"aud": [AUDIENCE], "kubernetes.io": bound()});
    let forged = token(&ClusterKey::second(), bed.now, &claims);
    refused(&ask_with(&mut bed, &forged), 400, "InvalidTokenException", "signature");
    refused(&ask_with(&mut bed, "nonsense"), 400, "InvalidTokenException", "cannot be parsed");
    refused(&ask_with(&mut bed, ""), 400, "InvalidParameterException", "token");

    let other = json!({"kubernetes.io": {"namespace": "team", "serviceaccount": {"name": "other"}, "pod": {"name": "a", "uid": "b"}}});
    refused(&ask(&mut bed, &other), 404, "ResourceNotFoundException", "team/other");
    // A pod without a node is taken or not: nobody outside knows.
    assert_eq!(ask(&mut bed, &without("node")).status, 200);
    bed.aws.take_unscheduled_pods(false);
    refused(&ask(&mut bed, &without("node")), 400, "InvalidTokenException", "on a node");
    assert_eq!(ask(&mut bed, &json!({})).status, 200);
}

#[test]
fn a_request_may_say_where_the_pod_is_and_nothing_that_is_not_known() {
    let mut bed = associated(&json!({}));
    let token = token(&ClusterKey::first(), bed.now, &json!({"aud": [AUDIENCE], "kubernetes.io": bound()}));
    let placed = json!({"token": token, "eksNodeName": "n", "instanceId": "i-1", "zone": "euw3-az1"});
    assert_eq!(ask_for(&mut bed, &placed).status, 200);
    refused(&ask_for(&mut bed, &json!({"token": token, "role": "x"})), 501, "NotImplemented", "the member role");
    // The same without a token, for tests in a time of their own.
    let of =
        |bed: &Bed, service_account: &str| bed.aws.session_of_pod(bed.now, "c1", "team", service_account, ("app-7d9f8c6b5-x2x4z", "p"));
    assert!(of(&bed, "app").unwrap().starts_with("arn:aws:sts::111122223333:assumed-role/pods/eks-c1-app-7d9f8c-"));
    let (status, code, _) = of(&bed, "other").unwrap_err();
    assert_eq!((status, code.as_str()), (404, "ResourceNotFoundException"));
}

#[test]
fn the_trust_of_the_role_is_asked_with_the_tags_of_the_pod() {
    let mut bed = associated(&json!({}));
    let equals = |key: &str, value: &str| json!({"StringEquals": {key: value}});
    for (condition, allowed) in [
        (equals("aws:SourceAccount", "111122223333"), true),
        (equals("aws:SourceAccount", "999999999999"), false),
        (json!({"ArnEquals": {"aws:SourceArn": CLUSTER}}), true),
        (equals("aws:RequestTag/eks-cluster-arn", CLUSTER), true),
        (equals("aws:RequestTag/eks-cluster-name", "c2"), false),
        (json!({"StringLike": {"aws:RequestTag/kubernetes-namespace": "te*"}}), true),
        (equals("aws:RequestTag/kubernetes-service-account", "app"), true),
        (equals("aws:RequestTag/kubernetes-pod-name", "app-7d9f8c6b5-x2x4z"), true),
        (equals("aws:RequestTag/kubernetes-pod-uid", "q"), false),
        (json!({"ForAllValues:StringLike": {"aws:TagKeys": ["eks-*", "kubernetes-*"]}}), true),
    ] {
        set_trust(&mut bed, &condition);
        let reply = ask(&mut bed, &json!({}));
        if allowed {
            assert_eq!(reply.status, 200, "{condition}: {}", reply.text);
        } else {
            refused(&reply, 400, "AccessDeniedException", REFUSED);
        }
    }
    // Without session tags a condition on one cannot hold, and the right to tag is not asked for.
    let mut bed = associated(&json!({"disableSessionTags": true}));
    set_trust(&mut bed, &equals("aws:RequestTag/kubernetes-namespace", "team"));
    refused(&ask(&mut bed, &json!({})), 400, "AccessDeniedException", REFUSED);
    let only = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": AUDIENCE}, "Action": "sts:AssumeRole"}]});
    bed.ok("UpdateAssumeRolePolicy", &[("RoleName", "pods"), ("PolicyDocument", &only.to_string())]);
    assert_eq!(ask(&mut bed, &json!({})).status, 200);
    let mut bed = associated(&json!({}));
    bed.ok("UpdateAssumeRolePolicy", &[("RoleName", "pods"), ("PolicyDocument", &only.to_string())]);
    refused(&ask(&mut bed, &json!({})), 400, "AccessDeniedException", REFUSED);
}

#[test]
fn a_session_may_do_what_role_tags_and_policy_allow_together() {
    let read = |resource: &str, condition: Value| {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": resource, "Condition": condition}]}).to_string()
    };
    let may = |bed: &mut Bed| {
        let reply = ask(bed, &json!({}));
        bed.credentials = session(&reply);
        let calls = [bed.call("GetRole", &[("RoleName", "pods")]), bed.call("ListRolePolicies", &[("RoleName", "pods")])];
        bed.credentials = Aws::admin();
        calls.map(|call| (call.status, call.tag("Message")))
    };
    let mut bed = associated(&json!({}));
    let tagged = read("*", json!({"StringEquals": {"aws:PrincipalTag/kubernetes-namespace": "team"}}));
    bed.ok("PutRolePolicy", &[("RoleName", "pods"), ("PolicyName", "p"), ("PolicyDocument", &tagged)]);
    assert!(may(&mut bed).iter().all(|(status, _)| *status == 200));
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:GetRole","Resource":"*"}]}"#;
    let mut bed = associated(&json!({"disableSessionTags": true, "policy": policy}));
    bed.ok("PutRolePolicy", &[("RoleName", "pods"), ("PolicyName", "p"), ("PolicyDocument", &tagged)]);
    assert!(may(&mut bed).iter().all(|(status, _)| *status == 403), "no session tag, no permission by it");
    bed.ok("PutRolePolicy", &[("RoleName", "pods"), ("PolicyName", "p"), ("PolicyDocument", &read("*", json!({})))]);
    let [allowed, narrowed] = may(&mut bed);
    assert_eq!(allowed.0, 200);
    assert!(narrowed.0 == 403 && narrowed.1.ends_with("because no session policy allows the iam:ListRolePolicies action"), "{narrowed:?}");
}

#[test]
fn a_target_role_is_reached_by_the_role_with_the_external_id_of_the_association() {
    let mut bed = associated(&json!({"targetRoleArn": TARGET}));
    let onward = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": TARGET}]});
    refused(&ask(&mut bed, &json!({})), 400, "AccessDeniedException", REFUSED);
    let trust = |id: &str, actions: Value| {
        let condition = json!({"StringEquals": {"sts:ExternalId": id}, "ArnEquals": {"aws:PrincipalArn": ROLE}});
        let principal = json!({"AWS": "arn:aws:iam::111122223333:root"});
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": actions, "Condition": condition}]}).to_string()
    };
    let both = json!(["sts:AssumeRole", "sts:TagSession"]);
    let id = "eu-west-3/111122223333/c1/team/app";
    bed.aws.add_role_elsewhere(TARGET, &trust(id, both.clone()));
    refused(&ask(&mut bed, &json!({})), 400, "AccessDeniedException", REFUSED);
    bed.ok("PutRolePolicy", &[("RoleName", "pods"), ("PolicyName", "p"), ("PolicyDocument", &onward.to_string())]);
    let reply = ask(&mut bed, &json!({}));
    let shown = reply.json();
    let arn = shown["assumedRoleUser"]["arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:sts::999999999999:assumed-role/target/eks-c1-app-7d9f8c-"), "{arn}");
    assert_eq!(shown["credentials"]["expiration"].as_u64().unwrap() - crate::aws::time::unix_seconds(bed.now), 3_600);
    assert_eq!(identity(&mut bed, session(&reply)), arn);
    for other in [trust("other", both), trust(id, json!("sts:AssumeRole"))] {
        bed.aws.add_role_elsewhere(TARGET, &other);
        refused(&ask(&mut bed, &json!({})), 400, "AccessDeniedException", REFUSED);
    }
}

#[test]
fn the_caller_needs_the_permission_on_the_cluster() {
    let mut bed = associated(&json!({}));
    let allow =
        |resource: &str| json!({"Statement": [{"Effect": "Allow", "Action": "eks-auth:AssumeRoleForPodIdentity", "Resource": resource}]});
    bed.credentials = bed.aws.add_user("none", None);
    refused(
        &ask(&mut bed, &json!({})),
        400,
        "AccessDeniedException",
        "perform: eks-auth:AssumeRoleForPodIdentity on resource: arn:aws:eks",
    );
    bed.credentials = bed.aws.add_user("other", Some(allow("arn:aws:eks:*:*:cluster/c2")));
    assert_eq!(ask(&mut bed, &json!({})).status, 400);
    bed.credentials = bed.aws.add_user("job", Some(allow(CLUSTER)));
    assert_eq!(ask(&mut bed, &json!({})).status, 200);
}
