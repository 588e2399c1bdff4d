//! What people and backups do to a ServiceAccount that the tool made, and what the next run makes of it.

use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{GIVEN, MANIFEST, NAMESPACE, by_hand},
};

const ROLE: &str = "eks.amazonaws.com/role-arn";
const OTHER: &str = "arn:aws:iam::123456789012:role/other";

/// Changes a field as this manager's update does: it holds the field then, and nobody else.
fn edit(environment: &Environment, manager: &str, map: &str, key: &str, value: &str) {
    let mut account = environment.service_account().unwrap();
    account["metadata"][map][key] = json!(value);
    let (map, key) = (format!("f:{map}"), format!("f:{key}"));
    let entries = account["metadata"]["managedFields"].as_array_mut().unwrap();
    for entry in entries.iter_mut() {
        if let Some(fields) = entry["fieldsV1"]["f:metadata"][&map].as_object_mut() {
            fields.remove(&key);
        }
    }
    entries.push(json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": { "f:metadata": { map: { key: {} } } },
    }));
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
}

fn made() -> Environment {
    let mut environment = Environment::new(MANIFEST);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    environment.start();
    environment
}

fn role_of(environment: &Environment) -> Value {
    environment.service_account().unwrap()["metadata"]["annotations"][ROLE].clone()
}

#[test]
fn a_hand_edit_is_set_back_and_said_and_then_there_is_nothing_to_do() {
    for (manager, map, key, value) in [
        ("kubectl-annotate", "annotations", ROLE, OTHER),
        ("kubectl-edit", "annotations", ROLE, OTHER),
        ("kubectl-label", "labels", "tier", "frontend"),
        ("kubectl-label", "labels", "qovery-irsa/job-1a2b3c4d", "mine"),
    ] {
        let environment = made();
        let before = environment.service_account().unwrap()["metadata"][map][key].clone();
        edit(&environment, manager, map, key, value);
        let run = environment.start();
        // The mark is set back by its job's own field manager.
        let back = if map == "labels" && key.starts_with("qovery-irsa/") {
            "as wanted by job `1a2b3c4d`"
        } else {
            "of ServiceAccount `z1a2b3c4-shop/app` back"
        };
        assert!(run.done().len() == 1 && run.done()[0].ends_with(back), "{}", run.out);
        assert!(run.out.contains(&format!("was changed to `{value}` by `{manager}`, and is set back")), "{}", run.out);
        assert_eq!(environment.service_account().unwrap()["metadata"][map][key], before);
        assert_eq!(environment.start().writes, 0);
        environment.delete();
        assert_eq!((environment.service_account(), environment.roles()), (None, 0));
    }
}

#[test]
fn a_value_of_helm_or_argo_is_refused_with_the_command_that_helps() {
    let environment = made();
    let role = role_of(&environment);
    edit(&environment, "argocd-controller", "annotations", ROLE, OTHER);
    let run = environment.run(&["start"]).ended(3);
    assert_eq!(run.writes, 0);
    let command = format!("kubectl -n {NAMESPACE} annotate --overwrite serviceaccount app '{ROLE}={}'", role.as_str().unwrap());
    assert!(run.err.contains("held by field manager `argocd-controller`") && run.err.contains(&command), "{}", run.err);
    // What the command does.
    edit(&environment, "kubectl-annotate", "annotations", ROLE, role.as_str().unwrap());
    environment.start();
    assert_eq!(environment.start().writes, 0);
}

#[test]
fn what_a_backup_brings_back_and_what_has_lost_its_managers_is_taken_hold_of_and_goes() {
    for (restored, deploys) in [(None, 0), (None, 1), (Some("velero-server"), 0), (Some("velero-server"), 1)] {
        let environment = made();
        let mut account = environment.service_account().unwrap();
        let metadata = account["metadata"].as_object_mut().unwrap();
        let fields =
            |map: &Value| map.as_object().unwrap().keys().map(|key| (format!("f:{key}"), json!({}))).collect::<serde_json::Map<_, _>>();
        let held = json!({ "f:annotations": fields(&metadata["annotations"]), "f:labels": fields(&metadata["labels"]) });
        let entry = |manager: &str| {
            json!({
                "manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:metadata": held, "f:automountServiceAccountToken": {} },
            })
        };
        let managers: Vec<Value> = restored.into_iter().map(entry).collect();
        metadata.insert("managedFields".to_owned(), json!(managers));
        environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
        for _ in 0..deploys {
            assert_eq!(environment.start().done().len(), 2, "the fields, and the mark");
            assert_eq!(environment.start().writes, 0);
        }
        environment.delete();
        assert_eq!((environment.service_account(), environment.roles()), (None, 0), "{restored:?} {deploys}");
    }
}

#[test]
fn a_service_account_without_its_label_stays_with_a_word_and_without_the_tools_fields() {
    let environment = made();
    let mut account = environment.service_account().unwrap();
    account["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/managed-by");
    for entry in account["metadata"]["managedFields"].as_array_mut().unwrap() {
        entry["fieldsV1"]["f:metadata"]["f:labels"].as_object_mut().unwrap().remove("f:app.kubernetes.io/managed-by");
    }
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    let run = environment.delete();
    assert!(run.out.contains("does not say that this tool created it") && run.out.contains("delete serviceaccount app"), "{}", run.out);
    let left = environment.service_account().unwrap();
    assert!(left["metadata"]["annotations"][ROLE].is_null() && !left.to_string().contains("qovery-irsa/"), "{left}");
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
    let environment = Environment::new(GIVEN);
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
