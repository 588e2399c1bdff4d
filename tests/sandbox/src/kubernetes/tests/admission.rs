//! Policies of admission: whom they let through, in which words they refuse, and that nothing passes which cannot be evaluated.

use super::*;

/// A policy of these validations for ServiceAccounts and their tokens, and its binding.
fn guarded(spec: &Value) -> Kubernetes {
    let mut cluster = cluster();
    let mut whole = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["serviceaccounts", "serviceaccounts/*"]},
        ]},
    });
    for (member, value) in spec.as_object().unwrap() {
        whole[member] = value.clone();
    }
    let kind = |kind: &str, spec: &Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "guard"}, "spec": spec});
    cluster.put_object(kind("ValidatingAdmissionPolicy", &whole)).unwrap();
    cluster.put_object(kind("ValidatingAdmissionPolicyBinding", &json!({"policyName": "guard", "validationActions": ["Deny"]}))).unwrap();
    cluster
}

fn create(cluster: &mut Kubernetes) -> String {
    summary(&admin(cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", "")))
}

const DENIED: &str =
    "422 Invalid | serviceaccounts \"a\" is forbidden: ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: ";

#[test]
fn a_refusal_is_worded_as_by_a_real_server() {
    for (validation, said) in [
        (json!({"expression": "false"}), "failed expression: false"),
        (json!({"expression": "1 == 2", "message": "no"}), "no"),
        (json!({"expression": "false", "message": "no", "messageExpression": "'not `' + request.name + '`'"}), "not `a`"),
        (json!({"expression": "false", "message": "no", "messageExpression": "request.nothing"}), "no"),
        (json!({"expression": "false", "message": "no", "messageExpression": "' '"}), "no"),
        (json!({"expression": "request.nothing"}), "expression 'request.nothing' resulted in error: no such key: nothing"),
    ] {
        assert_eq!(create(&mut guarded(&json!({"validations": [validation]}))), format!("{DENIED}{said}"));
    }
    let mut cluster = guarded(&json!({"validations": [{"expression": "false", "message": "no", "reason": "Forbidden"}]}));
    let (code, document, _) = admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", ""));
    assert_eq!((code, &document["reason"]), (403, &json!("Forbidden")));
    let why = "ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: no";
    assert_eq!(document["details"], json!({"name": "a", "kind": "serviceaccounts", "causes": [{"message": why}]}));
}

#[test]
fn what_cannot_be_evaluated_is_no_pass() {
    for spec in [
        // A function of Kubernetes that the interpreter does not have, a name it does not know, no CEL, no boolean, another overload.
        json!({"validations": [{"expression": "isQuantity('1')"}]}),
        json!({"validations": [{"expression": "authorizer.group('').check()"}]}),
        json!({"validations": [{"expression": "params.data.size() == 0"}]}),
        json!({"validations": [{"expression": "1 +"}]}),
        json!({"validations": [{"expression": "'true'"}]}),
        json!({"validations": [{"expression": "object.metadata.name > 1"}]}),
        json!({"validations": [{"expression": "false", "messageExpression": "nothing"}]}),
        json!({"matchConditions": [{"name": "c", "expression": "nothing"}], "validations": [{"expression": "true"}]}),
        // A variable counts where it is used.
        json!({"variables": [{"name": "v", "expression": "nothing"}], "validations": [{"expression": "variables.v"}]}),
        // No names of variables.
        json!({"variables": [{"name": "namespace", "expression": "1"}], "validations": [{"expression": "true"}]}),
        json!({"variables": [{"name": "a-b", "expression": "1"}], "validations": [{"expression": "true"}]}),
        // What a policy says and is not known here.
        json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "true"}]}),
        json!({"failurePolicy": "Maybe", "validations": [{"expression": "true"}]}),
        json!({"matchConstraints": {"namespaceSelector": {}, "resourceRules": []}}),
    ] {
        let mut cluster = guarded(&spec);
        let answer = create(&mut cluster);
        assert!(answer.starts_with("501 NotImplemented"), "{spec}: {answer}");
        assert_eq!(cluster.object("serviceaccounts", "team", "a"), None);
    }
    let unused = json!({"variables": [{"name": "v", "expression": "nothing"}], "validations": [{"expression": "true || variables.v"}]});
    assert_eq!(create(&mut guarded(&unused)), "null null []");
}

#[test]
fn constraints_and_conditions_say_whom_a_policy_is_for() {
    let no = json!([{"expression": "false", "message": "no"}]);
    let rule = |operations: &str, resources: &str| json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": [operations], "resources": [resources]}]});
    for (spec, denied) in [
        (json!({"matchConstraints": rule("CREATE", "serviceaccounts")}), true),
        (json!({"matchConstraints": rule("*", "*")}), true),
        (json!({"matchConstraints": rule("UPDATE", "serviceaccounts")}), false),
        (json!({"matchConstraints": rule("*", "serviceaccounts/*")}), true),
        (json!({"matchConstraints": rule("*", "serviceaccounts/token")}), false),
        (json!({"matchConstraints": rule("*", "pods")}), false),
        (json!({"matchConditions": [{"name": "c", "expression": "'system:masters' in request.userInfo.groups"}]}), true),
        (json!({"matchConditions": [{"name": "c", "expression": "request.userInfo.username == 'nobody'"}]}), false),
        (json!({"matchConditions": [{"name": "c", "expression": "request.nothing"}]}), true),
        (json!({"failurePolicy": "Ignore", "matchConditions": [{"name": "c", "expression": "request.nothing"}]}), false),
        (json!({"failurePolicy": "Ignore", "validations": [{"expression": "request.nothing"}]}), false),
    ] {
        let mut spec = spec;
        if spec["validations"].is_null() {
            spec["validations"] = no.clone();
        }
        let answer = create(&mut guarded(&spec));
        assert_eq!(answer.starts_with(DENIED), denied, "{spec}: {answer}");
    }
}

#[test]
fn every_way_to_change_an_object_is_asked_about_a_dry_run_too_and_reads_are_not() {
    let mut cluster = guarded(&json!({
        "matchConditions": [{"name": "c", "expression": "request.userInfo.username == 'nobody'"}],
        "variables": [
            {"name": "sub", "expression": "has(request.subResource) ? '/' + request.subResource : ''"},
            {"name": "name", "expression": "has(request.name) ? request.name : '*'"},
            {"name": "objects", "expression": "(oldObject == null ? '-' : 'old') + ' ' + (object == null ? '-' : object.kind)"},
        ],
        "validations": [{
            "expression": "false",
            "messageExpression": "request.operation + variables.sub + ' ' + variables.name + ' ' + variables.objects + (request.dryRun ? ' dry' : '')",
        }],
    }));
    cluster.put_object(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "all"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}));
    cluster.put_object(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "all"},
        "subjects": [{"kind": "User", "name": "nobody"}], "roleRef": {"kind": "ClusterRole", "name": "all"}}));
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", ""));
    let before = cluster.object("serviceaccounts", "team", "a").cloned();
    let (created, patched) = (account("b", ""), account("a", r#","labels":{"x":"y"}"#));
    for (line, media, body, asked) in [
        (format!("POST {ACCOUNTS}"), JSON, created.as_str(), "CREATE b - ServiceAccount"),
        (format!("POST {ACCOUNTS}?dryRun=All"), JSON, &created, "CREATE b - ServiceAccount dry"),
        (format!("PATCH {ACCOUNTS}/b?fieldManager=m"), APPLY, &created, "CREATE b - ServiceAccount"),
        (format!("PATCH {ACCOUNTS}/a?fieldManager=m"), APPLY, &patched, "UPDATE a old ServiceAccount"),
        (format!("PATCH {ACCOUNTS}/a?fieldManager=m&dryRun=All"), APPLY, &patched, "UPDATE a old ServiceAccount dry"),
        (format!("PATCH {ACCOUNTS}/a"), MERGE, "{}", "UPDATE a old ServiceAccount"),
        (format!("PUT {ACCOUNTS}/a"), JSON, &patched, "UPDATE a old ServiceAccount"),
        (format!("DELETE {ACCOUNTS}/a"), JSON, "", "DELETE a old -"),
        (format!("DELETE {ACCOUNTS}/a"), JSON, r#"{"dryRun":["All"]}"#, "DELETE a old - dry"),
        (format!("DELETE {ACCOUNTS}"), JSON, "", "DELETE * old -"),
        (format!("POST {ACCOUNTS}/a/token"), JSON, "{}", "CREATE/token a - TokenRequest"),
    ] {
        let (code, document, changed) = ask(&mut cluster, &line, "nobody-token", media, body);
        let said = document["message"].as_str().unwrap_or_default().rsplit(": ").next().unwrap();
        assert_eq!((code, said, changed), (422, asked, false), "{line}");
    }
    assert_eq!(cluster.object("serviceaccounts", "team", "a").cloned(), before);
    assert_eq!(ask(&mut cluster, &format!("GET {ACCOUNTS}/a"), "nobody-token", JSON, "").0, 200);
    // A collection goes once nobody stands in its way.
    assert_eq!(admin(&mut cluster, &format!("DELETE {ACCOUNTS}"), JSON, "").0, 200);
    assert_eq!(cluster.object("serviceaccounts", "team", "a"), None);
}

#[test]
fn a_token_request_is_seen_with_the_audience_of_the_server_filled_in() {
    let mut cluster = guarded(&json!({"validations": [{
        "expression": "!has(request.subResource) || object.spec.audiences == ['sts.amazonaws.com'] && object.spec.expirationSeconds <= 3600",
        "message": "no",
    }]}));
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", ""));
    for (spec, code) in [
        ("{}", 422),
        (r#"{"audiences":[]}"#, 422),
        (r#"{"audiences":["sts.amazonaws.com"]}"#, 201),
        (r#"{"audiences":["sts.amazonaws.com"],"expirationSeconds":3601}"#, 422),
    ] {
        let answer = admin(&mut cluster, &format!("POST {ACCOUNTS}/a/token"), JSON, &format!(r#"{{"spec":{spec}}}"#));
        assert_eq!(answer.0, code, "{spec}: {}", summary(&answer));
    }
}

#[test]
fn a_policy_that_counts_late_lets_pass_until_then() {
    let mut cluster = guarded(&json!({"validations": [{"expression": "false"}]}));
    let mut binding = cluster.remove_object("validatingadmissionpolicybindings", "", "guard").unwrap();
    binding["metadata"] = json!({"name": "guard"});
    cluster.policies_count_after = Duration::from_secs(5);
    let path = "POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    assert_eq!(admin(&mut cluster, path, JSON, &binding.to_string()).0, 201);
    let dry = |cluster: &mut Kubernetes| admin(cluster, &format!("POST {ACCOUNTS}?dryRun=All"), JSON, &account("a", "")).0;
    assert_eq!(dry(&mut cluster), 201);
    cluster.policies_count_after = Duration::ZERO;
    assert_eq!(dry(&mut cluster), 422);
}
