//! EKS's calls about clusters and add-ons.

use http::{HeaderMap, Method};
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::{Bed, ISSUER};
use crate::{
    aws::{Addon, Aws, sigv4},
    service::Request,
};

pub(super) fn bed() -> Bed {
    let mut bed = Bed::with_role();
    bed.aws.add_cluster("c1", "https://127.0.0.1:1", "PEM", ISSUER);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": ["sts:AssumeRole", "sts:TagSession"]}]});
    bed.ok("CreateRole", &[("RoleName", "pods"), ("AssumeRolePolicyDocument", &trust.to_string())]);
    bed
}

#[test]
fn a_cluster_is_described() {
    let mut bed = bed();
    let reply = bed.eks(Method::GET, "/clusters/c1", &Value::Null);
    let cluster = &reply.json()["cluster"];
    assert_eq!(cluster["identity"]["oidc"]["issuer"], ISSUER);
    assert_eq!(cluster["certificateAuthority"]["data"], "UEVN");
    assert_eq!(cluster["arn"], "arn:aws:eks:eu-west-3:111122223333:cluster/c1");
    assert_eq!(cluster["status"], "ACTIVE");
    assert_eq!(cluster["accessConfig"], json!({"authenticationMode": "API_AND_CONFIG_MAP"}));
    assert!(cluster.get("computeConfig").is_none());
    assert_eq!(reply.parameters, json!({"name": "c1"}));
    let missing = bed.eks(Method::GET, "/clusters/none", &Value::Null);
    assert_eq!(missing.status, 404);
    assert_eq!(missing.error_type.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(missing.json(), json!({"message": "No cluster found for name: none."}));
    bed.aws.cluster_mut("c1").unwrap().auto_mode = true;
    assert_eq!(bed.eks(Method::GET, "/clusters/c1", &Value::Null).json()["cluster"]["computeConfig"]["enabled"], true);
}

#[test]
fn a_cluster_made_through_the_api_has_the_access_mode_that_was_asked_for() {
    let mut bed = bed();
    let made = |bed: &mut Bed, name: &str, access: &Value| {
        let body = json!({"name": name, "roleArn": "arn:aws:iam::111122223333:role/eks", "resourcesVpcConfig": {"subnetIds": ["a", "b"]}, "accessConfig": access});
        let reply = bed.eks(Method::POST, "/clusters", &body);
        (reply.status, reply.json()["cluster"]["accessConfig"]["authenticationMode"].clone())
    };
    assert_eq!(made(&mut bed, "old", &Value::Null), (200, json!("CONFIG_MAP")));
    assert_eq!(made(&mut bed, "new", &json!({"authenticationMode": "API"})), (200, json!("API")));
    assert_eq!(made(&mut bed, "odd", &json!({"authenticationMode": "SOMETHING"})).0, 400);
    let refused = bed.eks(Method::GET, "/clusters/old/access-entries", &Value::Null);
    assert_eq!((refused.status, refused.error_type.as_deref()), (400, Some("InvalidRequestException")));
}

#[test]
fn clusters_are_listed_page_by_page_to_whom_it_is_allowed_for_all() {
    let mut bed = bed();
    bed.aws.add_cluster("c2", "https://127.0.0.1:1", "PEM", "https://oidc.example.com/id/OTHER");
    assert_eq!(bed.eks(Method::GET, "/clusters", &Value::Null).json(), json!({"clusters": ["c1", "c2"], "nextToken": null}));
    let first = bed.eks(Method::GET, "/clusters?maxResults=1", &Value::Null).json();
    assert_eq!(first["clusters"], json!(["c1"]));
    let next = format!("/clusters?maxResults=1&nextToken={}", first["nextToken"].as_str().unwrap());
    assert_eq!(bed.eks(Method::GET, &next, &Value::Null).json(), json!({"clusters": ["c2"], "nextToken": null}));
    assert_eq!(bed.eks(Method::GET, "/clusters?maxResults=0", &Value::Null).status, 400);
    let of_clusters =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "eks:*", "Resource": "arn:aws:eks:*:*:cluster/*"}]});
    bed.credentials = bed.aws.add_user("job", Some(of_clusters));
    assert_eq!(bed.eks(Method::GET, "/clusters/c1", &Value::Null).status, 200);
    assert_eq!(bed.eks(Method::GET, "/clusters", &Value::Null).status, 403);
}

#[test]
fn another_region_knows_no_cluster() {
    let mut bed = bed();
    let mut request = Request {
        method: Method::GET,
        path: "/clusters/c1".into(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: bytes::Bytes::new(),
    };
    sigv4::tests::sign(&mut request, &Aws::admin(), "eks", "us-east-1", bed.now);
    assert_eq!(bed.send(&request).status, 404);
}

#[test]
fn add_ons_and_callers_without_permission() {
    let mut bed = bed();
    let path = "/clusters/c1/addons/eks-pod-identity-agent";
    assert_eq!(bed.eks(Method::GET, path, &Value::Null).status, 404);
    let addon = Addon { version: "v1".into(), status: "ACTIVE".into(), ..Addon::default() };
    let cluster = bed.aws.cluster_mut("c1").unwrap();
    cluster.addons.insert("eks-pod-identity-agent".into(), addon);
    assert_eq!(bed.eks(Method::GET, path, &Value::Null).json()["addon"]["status"], "ACTIVE");
    let listed = bed.eks(Method::GET, "/clusters/c1/addons", &Value::Null).json();
    assert_eq!(listed, json!({"addons": ["eks-pod-identity-agent"], "nextToken": null}));
    bed.credentials = bed.aws.add_user("job", None);
    let denied = bed.eks(Method::GET, "/clusters/c1", &Value::Null);
    assert_eq!(denied.error_type.as_deref(), Some("AccessDeniedException"));
    assert!(denied.text.contains("perform: eks:DescribeCluster on resource: arn:aws:eks:eu-west-3"));
    bed.credentials.secret_access_key = "wrong".into();
    let unsigned = bed.eks(Method::GET, "/clusters/c1", &Value::Null);
    assert_eq!(unsigned.error_type.as_deref(), Some("InvalidSignatureException"));
    bed.credentials.access_key_id = "AKIAIOSFODNN7EXAMPLE".into();
    let unknown = bed.eks(Method::GET, "/clusters/c1", &Value::Null);
    assert_eq!(unknown.error_type.as_deref(), Some("UnrecognizedClientException"));
}

#[test]
fn an_add_on_is_made_once_with_its_tags_and_is_active_after_a_while() {
    let mut bed = bed();
    let path = "/clusters/c1/addons";
    let one = "/clusters/c1/addons/eks-pod-identity-agent";
    let body = json!({"addonName": "eks-pod-identity-agent", "tags": {"qovery-irsa/owner": "bootstrap"}});
    let made = bed.eks(Method::POST, path, &body);
    assert!(made.changed, "{}", made.text);
    assert_eq!((&made.json()["addon"]["status"], &made.json()["addon"]["tags"]), (&json!("CREATING"), &body["tags"]));
    assert_eq!(bed.eks(Method::POST, path, &body).error_type.as_deref(), Some("ResourceInUseException"));
    let unknown = bed.eks(Method::POST, path, &json!({"addonName": "no-such-thing"}));
    assert_eq!(unknown.error_type.as_deref(), Some("InvalidParameterException"));
    bed.pass(20);
    let shown = bed.eks(Method::GET, one, &Value::Null).json();
    assert_eq!((&shown["addon"]["status"], &shown["addon"]["tags"]), (&json!("ACTIVE"), &body["tags"]));
    let tags = format!("/tags/{}", utf8_percent_encode(shown["addon"]["addonArn"].as_str().unwrap(), sigv4::UNRESERVED));
    assert_eq!(bed.eks(Method::GET, &tags, &Value::Null).json(), json!({"tags": body["tags"]}));
    assert_eq!(bed.eks(Method::DELETE, one, &Value::Null).json()["addon"]["status"], "DELETING");
    assert_eq!(bed.eks(Method::DELETE, one, &Value::Null).status, 404);
    assert_eq!(bed.eks(Method::GET, &tags, &Value::Null).status, 404);
}

#[test]
fn tags_on_a_new_add_on_or_access_entry_take_the_permission_to_tag() {
    let mut bed = bed();
    let all = |action: &str| json!({"Effect": "Allow", "Action": action, "Resource": "*"});
    let entry = json!({"principalArn": bed.aws.admin_arn(), "tags": {"a": "b"}});
    let addon = json!({"addonName": "coredns", "tags": {"a": "b"}});
    bed.credentials = bed.aws.add_user("job", Some(json!({"Statement": [all("eks:Create*")]})));
    for (path, body) in [("/clusters/c1/access-entries", &entry), ("/clusters/c1/addons", &addon)] {
        let denied = bed.eks(Method::POST, path, body);
        assert!(denied.text.contains("eks:TagResource"), "{}", denied.text);
    }
    bed.credentials = bed.aws.add_user("other", Some(json!({"Statement": [all("eks:Create*"), all("eks:TagResource")]})));
    for (path, body) in [("/clusters/c1/access-entries", &entry), ("/clusters/c1/addons", &addon)] {
        assert_eq!(bed.eks(Method::POST, path, body).status, 200);
    }
}
