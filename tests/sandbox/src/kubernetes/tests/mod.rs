//! The API through its front door, against answers recorded from kube-apiserver 1.36.2 where there are some.

mod access;
mod admission;
mod changes;
mod impersonation;
mod objects;
mod pods;

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
const ISSUER: &str = "https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF";
const ACCOUNTS: &str = "/api/v1/namespaces/team/serviceaccounts";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_mins(29_924_299)
}

fn cluster() -> Kubernetes {
    let mut cluster = Kubernetes::new(ISSUER, ClusterKey::first());
    cluster.add_token("admin-token", "admin", &["system:masters"]);
    cluster.add_token("nobody-token", "nobody", &["nobodies"]);
    cluster.add_namespace("team");
    cluster
}

/// `METHOD path?query`, as the bearer of a token (empty: anonymous).
fn request(line: &str, token: &str, media: &str, body: &str) -> Request {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    let pairs = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", media.to_owned()),
        ("user-agent", "curl/8".to_owned()),
        ("host", "127.0.0.1:6443".to_owned()),
    ];
    for (name, value) in pairs {
        if !(name == "authorization" && token.is_empty()) {
            let name = HeaderName::from_static(name);
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        }
    }
    Request { method: method.parse().unwrap(), path: path.to_owned(), query: query.to_owned(), headers, body: Bytes::from(body.to_owned()) }
}

fn ask(cluster: &mut Kubernetes, line: &str, token: &str, media: &str, body: &str) -> (u16, Value, bool) {
    let answer = cluster.answer(&request(line, token, media, body), now());
    let document = serde_json::from_slice(&answer.response.body).unwrap();
    (answer.response.status, document, answer.changed)
}

fn admin(cluster: &mut Kubernetes, line: &str, media: &str, body: &str) -> (u16, Value, bool) {
    ask(cluster, line, "admin-token", media, body)
}

fn account(name: &str, metadata: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"ServiceAccount","metadata":{{"name":"{name}"{metadata}}}}}"#)
}

/// Annotations, labels and managers on one line, or the failure.
fn summary((code, document, _): &(u16, Value, bool)) -> String {
    if document["kind"] == "Status" {
        let text = |member: &str| document[member].as_str().unwrap_or("-").to_owned();
        return format!("{code} {} | {}", text("reason"), text("message"));
    }
    let metadata = &document["metadata"];
    let managers: Vec<String> = metadata["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            let text = |member: &str| entry[member].as_str().unwrap_or_default();
            format!("{} {} {}", text("manager"), text("operation"), entry["fieldsV1"]["f:metadata"])
        })
        .collect();
    format!("{} {} [{}]", metadata["annotations"], metadata["labels"], managers.join("; "))
}
