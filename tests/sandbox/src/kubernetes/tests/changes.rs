//! Field managers, refusals, and what counts as a change.

use super::*;

#[test]
fn field_managers_own_conflict_and_let_go_as_recorded() {
    let mut cluster = cluster();
    let steps = [
        (
            "POST a kubectl-create",
            r#","annotations":{"r":"old"}"#,
            r#"{"r":"old"} null [kubectl-create Update {"f:annotations":{".":{},"f:r":{}}}]"#,
        ),
        (
            "APPLY a irsa",
            r#","annotations":{"r":"new"}"#,
            r#"409 Conflict | Apply failed with 1 conflict: conflict with "kubectl-create" using v1: .metadata.annotations.r"#,
        ),
        (
            "APPLY a irsa",
            r#","annotations":{"r":"old"}"#,
            r#"{"r":"old"} null [irsa Apply {"f:annotations":{"f:r":{}}}; kubectl-create Update {"f:annotations":{".":{},"f:r":{}}}]"#,
        ),
        (
            "APPLY a irsa&force=true",
            r#","annotations":{"r":"new"}"#,
            r#"{"r":"new"} null [irsa Apply {"f:annotations":{"f:r":{}}}; kubectl-create Update {"f:annotations":{}}]"#,
        ),
        ("APPLY a irsa", "", r#"null null [kubectl-create Update {"f:annotations":{}}]"#),
        ("APPLY b helm", r#","labels":{"app":"x"}"#, r#"null {"app":"x"} [helm Apply {"f:labels":{"f:app":{}}}]"#),
        (
            "APPLY b irsa",
            r#","annotations":{"r":"v"}"#,
            r#"{"r":"v"} {"app":"x"} [helm Apply {"f:labels":{"f:app":{}}}; irsa Apply {"f:annotations":{"f:r":{}}}]"#,
        ),
        ("MERGE b kubectl-annotate", r#","annotations":{"r":null}"#, r#"null {"app":"x"} [helm Apply {"f:labels":{"f:app":{}}}]"#),
        (
            "APPLY b irsa",
            r#","annotations":{"r":"v"}"#,
            r#"{"r":"v"} {"app":"x"} [helm Apply {"f:labels":{"f:app":{}}}; irsa Apply {"f:annotations":{"f:r":{}}}]"#,
        ),
        (
            "MERGE b kubectl-annotate",
            r#","annotations":{"r":"hacked"}"#,
            r#"{"r":"hacked"} {"app":"x"} [helm Apply {"f:labels":{"f:app":{}}}; kubectl-annotate Update {"f:annotations":{"f:r":{}}}]"#,
        ),
        (
            "APPLY b irsa",
            r#","annotations":{"r":"v"}"#,
            r#"409 Conflict | Apply failed with 1 conflict: conflict with "kubectl-annotate" using v1: .metadata.annotations.r"#,
        ),
        ("APPLY c irsa", r#","resourceVersion":"5""#, "null null []"),
    ];
    for (step, metadata, recorded) in steps {
        let (verb, rest) = step.split_once(' ').unwrap();
        let (name, manager) = rest.split_once(' ').unwrap();
        let (line, media) = match verb {
            "POST" => (format!("POST {ACCOUNTS}?fieldManager={manager}"), JSON),
            "APPLY" => (format!("PATCH {ACCOUNTS}/{name}?fieldManager={manager}"), APPLY),
            _ => (format!("PATCH {ACCOUNTS}/{name}?fieldManager={manager}"), MERGE),
        };
        let answer = admin(&mut cluster, &line, media, &account(name, metadata));
        assert_eq!(summary(&answer), recorded, "{step} {metadata}");
    }
}

#[test]
fn refusals_are_worded_as_recorded() {
    let mut cluster = cluster();
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("b", ""));
    let patch = format!("PATCH {ACCOUNTS}/b?fieldManager=irsa");
    let long = format!("PATCH {ACCOUNTS}/b?fieldManager={}", "m".repeat(140));
    let token = format!("POST {ACCOUNTS}/b/token");
    #[rustfmt::skip]
    let cases = [
        (patch.as_str(), APPLY, account("b", r#","managedFields":[{}]"#), "400 BadRequest | metadata.managedFields must be nil"),
        (&patch, APPLY, r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"b"},"bogus":1}"#.to_owned(), "500 - | failed to create typed patch object (/b; /v1, Kind=ServiceAccount): .bogus: field not declared in schema"),
        (&patch, APPLY, r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"b"}}"#.to_owned(), "400 BadRequest | invalid object type: /v1, Kind=Secret"),
        (&patch, APPLY, account("b", r#","annotations":{"n":1}"#), "500 - | failed to create typed patch object (/b; /v1, Kind=ServiceAccount): .metadata.annotations.n: expected string, got &value.valueUnstructured{Value:1}"),
        (&long, APPLY, account("b", ""), "422 Invalid | PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"),
        (&format!("{patch}&dryRun=Some"), APPLY, account("b", ""), "422 Invalid | PatchOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""),
        (&patch, "text/plain", "{}".to_owned(), "415 UnsupportedMediaType | 415: Unsupported Media Type"),
        (&patch, APPLY, account("z", ""), "400 BadRequest | the name of the object (z) does not match the name on the URL (b)"),
        (&patch, MERGE, r#"{"metadata":{"resourceVersion":"1","annotations":{"z":"z"}}}"#.to_owned(), "409 Conflict | Operation cannot be fulfilled on serviceaccounts \"b\": the object has been modified; please apply your changes to the latest version and try again"),
        ("PATCH /api/v1/namespaces/nope/serviceaccounts/a?fieldManager=irsa", APPLY, account("a", ""), "404 NotFound | namespaces \"nope\" not found"),
        (&token, JSON, r#"{"spec":{"expirationSeconds":60}}"#.to_owned(), "422 Invalid | TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes"),
        ("GET /api/v1/namespaces/team/secrets", JSON, String::new(), "501 NotImplemented | not implemented by the local API: /api/v1/namespaces/team/secrets"),
        ("GET /api/v1/pods?watch=true", JSON, String::new(), "501 NotImplemented | not implemented by the local API: watch pods"),
    ];
    for (line, media, body, recorded) in cases {
        let answer = admin(&mut cluster, line, media, &body);
        assert_eq!(summary(&answer), recorded, "{line} {body}");
        assert!(!answer.2, "{line} changed something");
    }
    let bad = account("b", r#","annotations":{"bad key!":"v"}"#);
    let (code, status, _) = admin(&mut cluster, &patch, APPLY, &bad);
    assert_eq!((code, status["details"]["causes"].as_array().unwrap().len()), (422, 4));
}

#[test]
fn only_what_changes_the_state_counts_as_a_change() {
    let mut cluster = cluster();
    let apply = format!("PATCH {ACCOUNTS}/a?fieldManager=irsa");
    let body = account("a", r#","annotations":{"r":"v"}"#);
    let steps = [
        (format!("{apply}&dryRun=All"), APPLY, body.clone(), 201, false),
        (apply.clone(), APPLY, body.clone(), 201, true),
        (apply.clone(), APPLY, body, 200, false),
        (format!("POST {ACCOUNTS}/a/token"), JSON, "{}".to_owned(), 201, false),
        (apply.clone(), MERGE, r#"{"metadata":{"annotations":{"r":"v"}}}"#.to_owned(), 200, false),
        (format!("DELETE {ACCOUNTS}/a?dryRun=All"), JSON, String::new(), 200, false),
        (format!("DELETE {ACCOUNTS}/a"), JSON, String::new(), 200, true),
        (format!("DELETE {ACCOUNTS}/a"), JSON, String::new(), 404, false),
    ];
    for (line, media, body, code, changed) in steps {
        let answer = admin(&mut cluster, &line, media, &body);
        assert_eq!((answer.0, answer.2), (code, changed), "{line}");
    }
}
