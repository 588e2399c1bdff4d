//! EKS's calls, and the bearer token its clusters take.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use http::{HeaderMap, Method};
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::{Bed, ISSUER, token};
use crate::{
    aws::{Addon, Aws, Credentials, sigv4, time},
    keys::ClusterKey,
    service::Request,
};

fn bed() -> Bed {
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
    assert_eq!(reply.parameters, json!({"name": "c1"}));
    let missing = bed.eks(Method::GET, "/clusters/none", &Value::Null);
    assert_eq!(missing.status, 404);
    assert_eq!(missing.error_type.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(missing.json(), json!({"message": "No cluster found for name: none."}));
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
fn an_association_is_made_once_listed_and_deleted() {
    let mut bed = bed();
    let path = "/clusters/c1/pod-identity-associations";
    let body = |role: &str| {
        json!({"namespace": "team", "serviceAccount": "app", "clientRequestToken": "t",
            "roleArn": format!("arn:aws:iam::111122223333:role/{role}")})
    };
    for (role, part) in [("none", "does not exist"), ("qovery/app", "Trust policy")] {
        let reply = bed.eks(Method::POST, path, &body(role));
        assert_eq!(reply.error_type.as_deref(), Some("InvalidParameterException"));
        assert!(reply.text.contains(part), "{}", reply.text);
    }
    let made = bed.eks(Method::POST, path, &body("pods"));
    assert!(made.changed);
    let id = made.json()["association"]["associationId"].as_str().unwrap().to_owned();
    let again = bed.eks(Method::POST, path, &body("pods"));
    assert_eq!((again.status, again.changed), (409, false));
    assert_eq!(again.error_type.as_deref(), Some("ResourceInUseException"));
    for (query, count) in [("", 1), ("?namespace=team&serviceAccount=app", 1), ("?namespace=x", 0)] {
        let listed = bed.eks(Method::GET, &format!("{path}{query}"), &Value::Null).json();
        let associations = listed["associations"].as_array().unwrap().clone();
        assert_eq!(associations.len(), count);
        assert!(associations.iter().all(|it| it.get("roleArn").is_none()));
    }
    let one = format!("{path}/{id}");
    let described = bed.eks(Method::GET, &one, &Value::Null).json();
    assert_eq!(described["association"]["roleArn"], "arn:aws:iam::111122223333:role/pods");
    assert!(bed.aws.state()["podIdentityAssociations"]["c1/team/app"].is_object());
    assert!(bed.eks(Method::DELETE, &one, &Value::Null).changed);
    assert_eq!(bed.eks(Method::DELETE, &one, &Value::Null).status, 404);
}

#[test]
fn add_ons_and_callers_without_permission() {
    let mut bed = bed();
    let path = "/clusters/c1/addons/eks-pod-identity-agent";
    assert_eq!(bed.eks(Method::GET, path, &Value::Null).status, 404);
    let addon = Addon { version: "v1".into(), status: "ACTIVE".into() };
    let cluster = bed.aws.cluster_mut("c1").unwrap();
    cluster.addons.insert("eks-pod-identity-agent".into(), addon);
    assert_eq!(bed.eks(Method::GET, path, &Value::Null).json()["addon"]["status"], "ACTIVE");
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

/// A bearer token as clients make it.
struct Bearer<'a> {
    credentials: &'a Credentials,
    cluster: &'a str,
    url: &'a str,
    expires: &'a str,
    more: &'a str,
}

impl Bearer<'_> {
    fn text(&self, bed: &Bed) -> String {
        let code = |text: &str| utf8_percent_encode(text, sigv4::UNRESERVED).to_string();
        let date = time::basic(bed.now);
        let scope = format!("{}/{}/eu-west-3/sts/aws4_request", self.credentials.access_key_id, &date[..8]);
        let mut query = format!(
            "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={}&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id{}",
            code(&scope),
            self.expires,
            self.more
        );
        if let Some(token) = &self.credentials.session_token {
            query = format!("{query}&X-Amz-Security-Token={}", code(token));
        }
        let host = self.url.split('/').nth(2).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        headers.insert("x-k8s-aws-id", self.cluster.parse().unwrap());
        let request = Request { method: Method::GET, path: "/".into(), query: query.clone(), headers, body: bytes::Bytes::new() };
        let signature = sigv4::tests::query_signature(&request, &self.credentials.secret_access_key);
        let url = format!("{}?{query}&X-Amz-Signature={signature}", self.url);
        format!("k8s-aws-v1.{}", BASE64URL.encode(url))
    }
}

const STS: &str = "https://sts.eu-west-3.amazonaws.com/";

#[test]
fn a_bearer_token_tells_the_arn_for_fifteen_minutes() {
    let mut bed = bed();
    let admin = Aws::admin();
    let bearer = Bearer { credentials: &admin, cluster: "c1", url: STS, expires: "60", more: "" };
    let text = bearer.text(&bed);
    assert_eq!(bed.aws.verify_eks_token(&text, bed.now), Some(bed.aws.admin_arn()));
    bed.pass(900);
    assert!(bed.aws.verify_eks_token(&text, bed.now).is_some());
    bed.pass(1);
    assert_eq!(bed.aws.verify_eks_token(&text, bed.now), None);
}

#[test]
fn a_session_counts_as_its_role() {
    let mut bed = bed();
    let token = token(&ClusterKey::first(), bed.now, &json!({}));
    let session = bed.web_identity(&token, &[]).session();
    let bearer = Bearer { credentials: &session, cluster: "c1", url: STS, expires: "60", more: "" };
    assert_eq!(bed.aws.verify_eks_token(&bearer.text(&bed), bed.now).as_deref(), Some("arn:aws:iam::111122223333:role/qovery/app"));
}

#[test]
fn a_bearer_token_is_refused_when_anything_is_off() {
    let bed = bed();
    let admin = Aws::admin();
    let wrong = Credentials { secret_access_key: "wrong".into(), ..Aws::admin() };
    let good = || Bearer { credentials: &admin, cluster: "c1", url: STS, expires: "60", more: "" };
    for (what, bearer) in [
        ("secret", Bearer { credentials: &wrong, ..good() }),
        ("cluster", Bearer { cluster: "c2", ..good() }),
        ("host", Bearer { url: "https://sts.example.com/", ..good() }),
        ("scheme", Bearer { url: "http://sts.eu-west-3.amazonaws.com/", ..good() }),
        ("expiry", Bearer { expires: "61", ..good() }),
        ("parameter", Bearer { more: "&Other=1", ..good() }),
        ("repetition", Bearer { more: "&Action=GetCallerIdentity", ..good() }),
    ] {
        assert_eq!(bed.aws.verify_eks_token(&bearer.text(&bed), bed.now), None, "{what}");
    }
    assert!(bed.aws.verify_eks_token(&good().text(&bed), bed.now).is_some());
    for text in ["k8s-aws-v1.", "k8s-aws-v1.!!", "other", &format!("{}=", good().text(&bed))] {
        assert_eq!(bed.aws.verify_eks_token(text, bed.now), None);
    }
    let loopback = Bearer { url: "http://127.0.0.1:4566/", ..good() };
    assert!(bed.aws.verify_eks_token(&loopback.text(&bed), bed.now).is_some());
}
