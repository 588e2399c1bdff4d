//! Who comes into a cluster: access entries, and the bearer tokens that are shown to its API server.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use http::{HeaderMap, Method};
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::{Bed, eks::bed, token};
use crate::{
    aws::{Aws, ClusterUser, Credentials, sigv4, time},
    keys::ClusterKey,
    service::Request,
};

const ENTRIES: &str = "/clusters/c1/access-entries";
const ROLE: &str = "arn:aws:iam::111122223333:role/qovery/app";

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

fn good(credentials: &Credentials) -> Bearer<'_> {
    Bearer { credentials, cluster: "c1", url: STS, expires: "60", more: "" }
}

/// As whom the bearer of a token comes into the cluster.
fn user(bed: &Bed, bearer: &Bearer<'_>) -> Option<ClusterUser> {
    bed.aws.user_of_cluster("c1", &bearer.text(bed), bed.now)
}

/// Where the entry of a principal is.
fn entry(principal: &str) -> String {
    format!("{ENTRIES}/{}", utf8_percent_encode(principal, sigv4::UNRESERVED))
}

#[test]
fn an_entry_is_made_once_described_changed_listed_and_deleted() {
    let mut bed = bed();
    let body = json!({"principalArn": ROLE, "kubernetesGroups": ["irsa"], "tags": {"team": "platform"}});
    let made = bed.eks(Method::POST, ENTRIES, &body);
    assert!(made.changed, "{}", made.text);
    let shown = made.json()["accessEntry"].clone();
    assert_eq!(shown["username"], "arn:aws:sts::111122223333:assumed-role/app/{{SessionName}}");
    assert_eq!((&shown["type"], &shown["tags"], &shown["clusterName"]), (&json!("STANDARD"), &json!({"team": "platform"}), &json!("c1")));
    let arn = shown["accessEntryArn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:eks:eu-west-3:111122223333:access-entry/c1/role/111122223333/app/"), "{arn}");
    let again = bed.eks(Method::POST, ENTRIES, &body);
    assert_eq!((again.status, again.error_type.as_deref(), again.changed), (409, Some("ResourceInUseException"), false));

    let described = bed.eks(Method::GET, &entry(ROLE), &Value::Null);
    assert_eq!(described.json()["accessEntry"], shown);
    assert_eq!(described.parameters, json!({"clusterName": "c1", "principalArn": ROLE}));
    assert!(!bed.eks(Method::POST, &entry(ROLE), &json!({"kubernetesGroups": ["irsa"]})).changed);
    let renamed = bed.eks(Method::POST, &entry(ROLE), &json!({"username": "job:{{SessionName}}"}));
    assert!(renamed.changed);
    assert_eq!(
        (&renamed.json()["accessEntry"]["username"], &renamed.json()["accessEntry"]["kubernetesGroups"]),
        (&json!("job:{{SessionName}}"), &json!(["irsa"]))
    );

    let admin = bed.aws.admin_arn();
    bed.aws.add_access_entry("c1", &admin, "admin", &["system:masters"]);
    let first = bed.eks(Method::GET, &format!("{ENTRIES}?maxResults=1"), &Value::Null).json();
    assert_eq!(first["accessEntries"], json!([ROLE]));
    let token = utf8_percent_encode(first["nextToken"].as_str().unwrap(), sigv4::UNRESERVED).to_string();
    let rest = bed.eks(Method::GET, &format!("{ENTRIES}?nextToken={token}"), &Value::Null).json();
    assert_eq!(rest, json!({"accessEntries": [admin], "nextToken": null}));
    assert_eq!(bed.aws.state()["accessEntries"][format!("c1/{ROLE}")]["groups"], json!(["irsa"]));

    assert!(bed.eks(Method::DELETE, &entry(ROLE), &Value::Null).changed);
    for method in [Method::GET, Method::DELETE] {
        let gone = bed.eks(method, &entry(ROLE), &Value::Null);
        assert_eq!((gone.status, gone.error_type.as_deref()), (404, Some("ResourceNotFoundException")));
        assert!(gone.text.contains("The specified principalArn could not be found."), "{}", gone.text);
    }
}

#[test]
fn an_entry_that_eks_would_not_make_is_refused() {
    let mut bed = bed();
    for (change, part) in [
        (json!({"principalArn": "arn:aws:iam::111122223333:role/none"}), "invalid principal"),
        // A path is part of a role's ARN.
        (json!({"principalArn": "arn:aws:iam::111122223333:role/app"}), "invalid principal"),
        (json!({"principalArn": "arn:aws:sts::111122223333:assumed-role/app/s"}), "invalid principal"),
        (json!({"principalArn": ""}), "can't be blank"),
        (
            json!({"kubernetesGroups": ["system:masters"]}),
            "The kubernetes group name system:masters is invalid, it cannot start with system:",
        ),
        (json!({"username": "system:node:x"}), "cannot start with system:"),
        (json!({"username": "{{SessionName}}"}), "colon"),
    ] {
        let mut body = json!({"principalArn": ROLE});
        for (member, value) in change.as_object().unwrap() {
            body[member] = value.clone();
        }
        let refused = bed.eks(Method::POST, ENTRIES, &body);
        assert_eq!((refused.status, refused.error_type.as_deref()), (400, Some("InvalidParameterException")), "{change}");
        assert!(refused.text.contains(part), "{}", refused.text);
    }
    let elsewhere = json!({"principalArn": "arn:aws:iam::999999999999:role/theirs"});
    assert_eq!(bed.eks(Method::POST, ENTRIES, &elsewhere).status, 200);
    let nodes = json!({"principalArn": ROLE, "type": "EC2_LINUX"});
    assert_eq!(bed.eks(Method::POST, ENTRIES, &nodes).status, 501);
    bed.aws.cluster_mut("c1").unwrap().authentication_mode = "CONFIG_MAP".into();
    let refused = bed.eks(Method::POST, ENTRIES, &json!({"principalArn": ROLE}));
    assert_eq!(refused.error_type.as_deref(), Some("InvalidRequestException"));
}

#[test]
fn who_may_make_entries_can_be_limited_to_groups() {
    let mut bed = bed();
    let statement = json!({"Effect": "Allow", "Action": "eks:CreateAccessEntry", "Resource": "arn:aws:eks:*:*:cluster/c1",
        "Condition": {"ForAllValues:StringEquals": {"eks:kubernetesGroups": ["irsa"]}}});
    bed.credentials = bed.aws.add_user("job", Some(json!({"Statement": [statement]})));
    let body = |group: &str| json!({"principalArn": ROLE, "kubernetesGroups": [group]});
    assert_eq!(bed.eks(Method::POST, ENTRIES, &body("others")).error_type.as_deref(), Some("AccessDeniedException"));
    assert_eq!(bed.eks(Method::POST, ENTRIES, &body("irsa")).status, 200);
    assert_eq!(bed.eks(Method::GET, &entry(ROLE), &Value::Null).status, 403);
}

#[test]
fn a_bearer_token_stands_for_its_user_for_fifteen_minutes() {
    let mut bed = bed();
    let admin = Aws::admin();
    let text = good(&admin).text(&bed);
    let who = |bed: &Bed| bed.aws.user_of_cluster("c1", &text, bed.now);
    assert_eq!(who(&bed), None, "no entry, no entrance");
    bed.aws.add_access_entry("c1", &bed.aws.admin_arn(), "admin:{{AccountID}}", &["system:masters"]);
    let found = who(&bed).unwrap();
    assert_eq!((found.username.as_str(), found.groups), ("admin:111122223333", vec!["system:masters".to_owned()]));
    assert_eq!(found.extra["canonicalArn"], [bed.aws.admin_arn()]);
    bed.pass(900);
    assert!(who(&bed).is_some());
    bed.pass(1);
    assert_eq!(who(&bed), None);
}

#[test]
fn a_session_comes_in_as_its_role_until_the_role_is_another() {
    let mut bed = bed();
    let body = json!({"principalArn": ROLE, "kubernetesGroups": ["irsa"]});
    assert!(bed.eks(Method::POST, ENTRIES, &body).changed);
    let session = |bed: &mut Bed| {
        let token = token(&ClusterKey::first(), bed.now, &json!({}));
        bed.web_identity(&token, &[]).session()
    };
    let first = session(&mut bed);
    let found = user(&bed, &good(&first)).unwrap();
    assert_eq!((found.username.as_str(), found.groups), ("arn:aws:sts::111122223333:assumed-role/app/proof", vec!["irsa".to_owned()]));
    assert_eq!(found.extra["sessionName"], ["proof"]);
    assert_eq!(found.extra["canonicalArn"], [ROLE]);
    bed.aws.cluster_mut("c1").unwrap().authentication_mode = "CONFIG_MAP".into();
    assert_eq!(user(&bed, &good(&first)), None, "access entries do not count");
    bed.aws.cluster_mut("c1").unwrap().authentication_mode = "API".into();
    assert!(user(&bed, &good(&first)).is_some());

    let trust = super::trust("team:app").to_string();
    bed.ok("DeleteRole", &[("RoleName", "app")]);
    bed.ok("CreateRole", &[("RoleName", "app"), ("Path", "/qovery/"), ("AssumeRolePolicyDocument", &trust)]);
    let second = session(&mut bed);
    assert_eq!(user(&bed, &good(&second)), None, "a role made again has another id");
}

#[test]
fn a_bearer_token_is_refused_when_anything_is_off() {
    let mut bed = bed();
    bed.aws.add_access_entry("c1", &bed.aws.admin_arn(), "admin", &[]);
    bed.aws.add_cluster("c2", "https://127.0.0.1:2", "PEM", "https://oidc.example.com/id/OTHER");
    let admin = Aws::admin();
    let wrong = Credentials { secret_access_key: "wrong".into(), ..Aws::admin() };
    for (what, bearer) in [
        ("secret", good(&wrong)),
        ("cluster", Bearer { cluster: "c2", ..good(&admin) }),
        ("host", Bearer { url: "https://sts.example.com/", ..good(&admin) }),
        ("scheme", Bearer { url: "http://sts.eu-west-3.amazonaws.com/", ..good(&admin) }),
        ("expiry", Bearer { expires: "61", ..good(&admin) }),
        ("parameter", Bearer { more: "&Other=1", ..good(&admin) }),
        ("repetition", Bearer { more: "&Action=GetCallerIdentity", ..good(&admin) }),
    ] {
        assert_eq!(user(&bed, &bearer), None, "{what}");
    }
    assert!(user(&bed, &good(&admin)).is_some());
    for text in ["k8s-aws-v1.", "k8s-aws-v1.!!", "other", &format!("{}=", good(&admin).text(&bed))] {
        assert_eq!(bed.aws.user_of_cluster("c1", text, bed.now), None);
    }
    assert!(user(&bed, &Bearer { url: "http://127.0.0.1:4566/", ..good(&admin) }).is_some());
}
