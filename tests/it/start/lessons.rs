//! What other tools get wrong, each as a behaviour of this one.

use serde_json::{Value, json};

use crate::{
    start::runs::by_hand,
    support::environment::{Environment, MANIFEST, NAMESPACE},
};

/// As ROSA and ccoctl do not.
#[test]
fn the_trust_policy_of_a_role_that_exists_is_updated() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.write_manifest(
        &MANIFEST.replace("maxSessionDuration: 2h", "maxSessionDuration: 2h\n      extraSubjects: [kube-system/keda-operator]"),
    );
    let run = environment.start();
    assert_eq!(
        run.done(),
        [format!("update the trust policy of role `{}`: trust `system:serviceaccount:kube-system:keda-operator`", environment.role_name())]
    );
    let trust = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().trust.clone());
    assert!(trust.contains("system:serviceaccount:kube-system:keda-operator"), "{trust}");
}

/// As irsa-manager does not: it takes the role over, detaches its policies and reports success where it leaks.
#[test]
fn a_role_of_that_name_is_not_taken_over_and_nothing_is_written() {
    let environment = Environment::new(&MANIFEST.replace("    role:\n", "    role:\n      name: by-hand\n"));
    environment.sandbox.aws(by_hand);
    let before = environment.sandbox.state();
    for (command, code) in [("start", 3), ("plan", 3), ("delete", 0)] {
        let run = environment.run(&[command]).ended(code);
        assert_eq!(run.writes, 0, "{command}");
    }
    let refused = environment.run(&["start"]);
    assert!(
        refused.err.contains("refused: role `arn:aws:iam::123456789012:role/by-hand` exists and was not made by this tool"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("hint: to let this tool manage only its trust, give the identity `role: {arn: "), "{}", refused.err);
    assert_eq!(environment.sandbox.state(), before);
}

#[test]
fn a_role_that_cannot_be_deleted_is_reported_and_not_called_deleted() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let conflict = qovery_irsa_sandbox::faults::Fault::error(409, "DeleteConflict");
    environment.sandbox.faults().add("iam:DeleteRole", qovery_irsa_sandbox::faults::When::Always, conflict);
    let run = environment.run(&["delete"]).ended(1);
    assert!(run.err.contains("error: failed to delete role `") && run.err.contains("caused by: DeleteConflict: "), "{}", run.err);
}

/// As eksctl does not.
#[test]
fn a_deleted_service_account_and_a_deleted_annotation_are_made_again() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let made = environment.sandbox.state();
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.delete_namespace(NAMESPACE);
        kubernetes.add_namespace(NAMESPACE);
    });
    environment.start();
    assert_eq!(environment.sandbox.state(), made);
}

/// As ACK did: a clash of names ended in the deletion of a role that was there before.
#[test]
fn a_clash_of_names_never_deletes_the_role_that_was_there_before() {
    for exact in [false, true] {
        let mut environment = Environment::new(&MANIFEST.replace("    role:\n", "    role:\n      name: BY-HAND\n"));
        environment.sandbox.aws(by_hand);
        environment.sandbox.aws(|aws| aws.look_up_exact_case(exact));
        environment.set("IRSA_TIMEOUT", "10");
        let run = environment.run(&["start"]).ended(3);
        assert!(run.err.contains("refused: role `"), "{}", run.err);
        environment.delete();
        assert!(environment.sandbox.aws(|aws| aws.roles().contains_key("by-hand")));
    }
}

/// As ccoctl and ROSA do not: they cut names at 64 characters.
#[test]
fn two_long_namespaces_that_share_sixty_characters_get_different_roles() {
    let mut environment = Environment::new(MANIFEST);
    let shared = "z".repeat(60);
    for namespace in [format!("{shared}aaa"), format!("{shared}bbb")] {
        environment.sandbox.kubernetes(|kubernetes| kubernetes.add_namespace(&namespace));
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", &namespace);
        environment.start();
        assert_eq!(environment.start().writes, 0);
    }
    assert_eq!(environment.roles(), 2);
    assert!(environment.sandbox.aws(|aws| aws.roles().keys().all(|name| name.len() <= 64)));
}

/// As kops does not: it untags all and tags again.
#[test]
fn a_change_of_tags_never_loses_tags_of_others() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.change_role(|role| drop(role.tags.insert("theirs".to_owned(), "kept".to_owned())));
    environment.write_manifest(&MANIFEST.replace("{team: platform}", "{cost: low}"));
    let mark = environment.sandbox.witness().mark();
    environment.start();
    let untagged: Vec<Value> = environment
        .sandbox
        .witness()
        .since(mark)
        .into_iter()
        .filter(|call| call.operation == "iam:UntagRole")
        .map(|call| call.parameters)
        .collect();
    assert_eq!(untagged.len(), 1);
    assert!(!untagged[0].to_string().contains("theirs"), "{untagged:?}");
    let tags = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().tags.clone());
    assert_eq!((tags["theirs"].as_str(), tags["cost"].as_str(), tags.contains_key("team")), ("kept", "low", false));
}

/// As iam-manager, irsa-manager, Voodoo, ccoctl, ROSA and kops do not.
#[test]
fn the_audience_is_always_checked() {
    let environment =
        Environment::new(&MANIFEST.replace("- serviceAccount: app\n", "- serviceAccount: app\n    audience: vault.example.com\n"));
    environment.guard("audiences", "['vault.example.com']");
    environment.start();
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles().values().next().unwrap().trust).unwrap());
    let issuer = environment.sandbox.cluster().issuer().strip_prefix("https://").unwrap().to_owned();
    assert_eq!(trust["Statement"][0]["Condition"]["StringEquals"][format!("{issuer}:aud")], "vault.example.com");
    let account = environment.service_account().unwrap();
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/audience"], "vault.example.com");
    assert_eq!(environment.sandbox.aws(|aws| aws.providers()[&issuer].client_ids.clone()), ["vault.example.com"]);
}

/// The ServiceAccount that the Helm chart `qovery-sa-helper` 0.1.0 renders.
fn of_the_helm_chart(role: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {
            "name": "app", "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"eks.amazonaws.com/role-arn": role, "meta.helm.sh/release-name": "sa"},
            "managedFields": [{"manager": "helm", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:eks.amazonaws.com/role-arn": {}, "f:meta.helm.sh/release-name": {}},
                    "f:labels": {".": {}, "f:app.kubernetes.io/managed-by": {}}}}}],
        },
    })
}

#[test]
fn a_service_account_of_the_helm_chart_with_the_same_role_is_shared_and_outlives_the_delete() {
    let manifest = "identities: [{serviceAccount: app, role: {arn: \"arn:aws:iam::123456789012:role/by-hand\"}}]";
    let environment = Environment::new(manifest);
    environment.sandbox.aws(by_hand);
    let role = "arn:aws:iam::123456789012:role/by-hand";
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(of_the_helm_chart(role)));
    environment.start();
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    let left = environment.service_account().unwrap();
    assert_eq!(left["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], role);
    assert_eq!(left["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "Helm"}));
}

#[test]
fn a_service_account_of_the_helm_chart_with_another_role_is_refused_with_the_manager_and_the_way_out() {
    let environment = Environment::new(MANIFEST);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(of_the_helm_chart("arn:aws:iam::123456789012:role/other")));
    let run = environment.run(&["start"]).ended(3);
    assert_eq!(run.writes, 0);
    assert!(
        run.err.contains("annotation `eks.amazonaws.com/role-arn` is `arn:aws:iam::123456789012:role/other`, held by field manager `helm`"),
        "{}",
        run.err
    );
    assert!(run.err.contains("hint: remove it where `helm` sets it"), "{}", run.err);
}
