//! The lives of objects, lists, and what a test sees of them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::*;

#[test]
fn a_namespace_terminates_until_it_is_removed() {
    let mut cluster = cluster();
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", ""));
    let (_, namespace, _) = admin(&mut cluster, "DELETE /api/v1/namespaces/team", JSON, "");
    assert_eq!(namespace["status"]["phase"], "Terminating");
    let late = admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("b", ""));
    assert_eq!(late.1["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(admin(&mut cluster, &format!("GET {ACCOUNTS}/a"), JSON, "").0, 200);
    cluster.delete_namespace("team");
    assert_eq!(admin(&mut cluster, &format!("GET {ACCOUNTS}/a"), JSON, "").0, 404);

    cluster.default_service_accounts = true;
    cluster.finalize_namespaces = true;
    let body = r#"{"metadata":{"name":"next"}}"#;
    admin(&mut cluster, "POST /api/v1/namespaces", JSON, body);
    assert!(cluster.object("serviceaccounts", "next", "default").is_some());
    admin(&mut cluster, "DELETE /api/v1/namespaces/next", JSON, "");
    assert!(cluster.object("namespaces", "", "next").is_none());
    assert!(cluster.object("serviceaccounts", "next", "default").is_none());
}

#[test]
fn a_finalizer_holds_an_object_until_it_is_taken_off() {
    let mut cluster = cluster();
    let body = account("a", r#","finalizers":["example.com/hold"]"#);
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &body);
    let (_, object, _) = admin(&mut cluster, &format!("DELETE {ACCOUNTS}/a"), JSON, "");
    assert!(object["metadata"]["deletionTimestamp"].is_string());
    let release = r#"{"metadata":{"finalizers":null}}"#;
    assert_eq!(admin(&mut cluster, &format!("PATCH {ACCOUNTS}/a"), MERGE, release).0, 200);
    assert!(cluster.object("serviceaccounts", "team", "a").is_none());
}

#[test]
fn a_put_replaces_the_version_it_names() {
    let mut cluster = cluster();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/team/leases";
    let lease = |version: &Value, holder: &str| {
        json!({"metadata": {"name": "l", "resourceVersion": version}, "spec": {"holderIdentity": holder}}).to_string()
    };
    let body = lease(&Value::Null, "a");
    let (_, created, _) = admin(&mut cluster, &format!("POST {leases}"), JSON, &body);
    let version = &created["metadata"]["resourceVersion"];
    let put = format!("PUT {leases}/l");
    assert_eq!(admin(&mut cluster, &put, JSON, &lease(version, "b")).0, 200);
    assert_eq!(admin(&mut cluster, &put, JSON, &lease(version, "c")).0, 409);
    let (code, status, _) = admin(&mut cluster, &put, JSON, &lease(&Value::Null, "d"));
    assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &json!("metadata.resourceVersion")));
    let missing = admin(&mut cluster, &format!("PUT {ACCOUNTS}/none"), JSON, &account("none", ""));
    assert_eq!(missing.0, 404);
}

#[test]
fn lists_come_in_pages_of_items_without_a_kind() {
    let mut cluster = cluster();
    for name in ["a", "b", "c"] {
        admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account(name, ""));
    }
    let (_, first, _) = admin(&mut cluster, &format!("GET {ACCOUNTS}?limit=2"), JSON, "");
    assert_eq!(first["kind"], "ServiceAccountList");
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert!(first["items"][0]["kind"].is_null());
    let next = first["metadata"]["continue"].as_str().unwrap();
    let line = format!("GET {ACCOUNTS}?limit=2&continue={next}");
    let (_, second, _) = admin(&mut cluster, &line, JSON, "");
    assert_eq!(second["items"][0]["metadata"]["name"], "c");
    assert!(second["metadata"]["continue"].is_null());
    let odd = format!("GET {ACCOUNTS}?continue={}", BASE64URL.encode("x"));
    assert_eq!(admin(&mut cluster, &odd, JSON, "").0, 400);
}

#[test]
fn the_state_shows_what_a_person_would_set_and_who_owns_it() {
    let mut cluster = cluster();
    let line = format!("PATCH {ACCOUNTS}/a?fieldManager=irsa");
    admin(&mut cluster, &line, APPLY, &account("a", r#","annotations":{"r":"v"}"#));
    assert_eq!(
        cluster.state()["namespaces"]["team"]["serviceAccounts"]["a"],
        json!({
            "labels": null,
            "annotations": {"r": "v"},
            "automountServiceAccountToken": null,
            "managers": [{"manager": "irsa", "operation": "Apply", "fields": [".metadata.annotations.r"]}],
        })
    );
    let copy = cluster.clone();
    admin(&mut cluster, &format!("DELETE {ACCOUNTS}/a"), JSON, "");
    assert!(copy.object("serviceaccounts", "team", "a").is_some());
}

#[test]
fn a_call_is_recorded_with_what_it_asked() {
    let mut cluster = cluster();
    let call = request(&format!("PATCH {ACCOUNTS}/a?fieldManager=irsa"), "admin-token", APPLY, &account("a", ""));
    assert_eq!(cluster.operation(&call), "kubernetes:patch serviceaccounts");
    let parameters = cluster.answer(&call, now()).parameters;
    assert_eq!(parameters["namespace"], "team");
    assert_eq!(parameters["name"], "a");
    assert_eq!(parameters["query"], json!({"fieldManager": "irsa"}));
    assert_eq!(parameters["body"]["kind"], "ServiceAccount");
    let version = request("GET /version", "", JSON, "");
    assert_eq!(cluster.operation(&version), "kubernetes:get /version");
}
