//! ServiceAccounts that a chart makes and keeps (`roleOnly`): the job makes the role and proves it, by both bindings, and never writes them.

use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::NAMESPACE,
    pod_identity::{ASSOCIATED, add_agent, add_pod, associations},
};

const ROLE_ONLY: &str = r"
identities:
  - serviceAccount: app
    roleOnly: true
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
";

const KEPT: &str = r"
identities:
  - serviceAccount: app
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
";

/// The ServiceAccount as a chart makes it, with these annotations.
fn install_chart(environment: &Environment, annotations: &Value) {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {
            "namespace": NAMESPACE, "name": "app", "annotations": annotations, "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "managedFields": [{
                "manager": "helm", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {
                    "f:annotations": {".": {}, "f:eks.amazonaws.com/role-arn": {}}, "f:labels": {".": {}, "f:app.kubernetes.io/managed-by": {}},
                }},
            }],
        },
    });
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account).unwrap());
}

fn role_arn(environment: &Environment) -> String {
    format!("arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/{}", environment.role_name())
}

/// The version of the ServiceAccount: it changes with each write.
fn version(environment: &Environment) -> Value {
    environment.service_account().unwrap()["metadata"]["resourceVersion"].clone()
}

#[test]
fn a_role_waits_for_the_charts_service_account_and_is_proven_once_that_is_there() {
    let mut environment = Environment::new(ROLE_ONLY);
    let run = environment.start();
    let not_yet = format!(
        "not proven yet: ServiceAccount `{NAMESPACE}/app` does not exist; it needs annotation `eks.amazonaws.com/role-arn: {}`",
        role_arn(&environment)
    );
    assert!(run.out.contains(&not_yet), "{}", run.out);
    assert_eq!((environment.roles(), environment.service_account()), (1, None));
    assert_eq!(environment.outputs()["IDENTITY_APP_ROLE_ARN"]["value"], role_arn(&environment));
    let run = environment.start();
    assert!(run.writes == 0 && run.out.contains(&not_yet), "{}", run.out);
    environment.set("IRSA_PROOF", "required");
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains(&format!("ServiceAccount `{NAMESPACE}/app` does not exist")), "{}", run.err);
    // Without the annotation its pods get no role, whatever STS says.
    install_chart(&environment, &json!({}));
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains(&format!("pods of ServiceAccount `{NAMESPACE}/app` do not get role")), "{}", run.err);
    assert!(run.err.contains("has no annotation `eks.amazonaws.com/role-arn: "), "{}", run.err);
    environment.set("IRSA_PROOF", "auto");
    let run = environment.start();
    assert!(run.out.contains(&format!("not proven yet: ServiceAccount `{NAMESPACE}/app` has no annotation")), "{}", run.out);
    install_chart(&environment, &json!({"eks.amazonaws.com/role-arn": role_arn(&environment)}));
    environment.set("IRSA_PROOF", "required");
    let (before, run) = (version(&environment), environment.start());
    assert!(run.writes == 0 && run.out.contains("proven: ") && !run.out.contains("not proven"), "{}", run.out);
    environment.delete();
    assert_eq!((environment.roles(), version(&environment)), (0, before));
    assert_eq!(environment.sandbox.witness().count("kubernetes:patch serviceaccounts"), 0);
}

#[test]
fn with_pod_identity_the_association_needs_no_service_account() {
    let environment = Environment::of_pod_identity(&ASSOCIATED.replace("podIdentity: true", "podIdentity: true\n    roleOnly: true"));
    add_agent(&environment);
    let run = environment.start();
    assert!(run.out.contains(&format!("not proven yet: ServiceAccount `{NAMESPACE}/app` does not exist")), "{}", run.out);
    assert_eq!((associations(&environment).len(), environment.service_account()), (1, None));
    install_chart(&environment, &json!({}));
    add_pod(&environment, NAMESPACE, "app", "app-1");
    let (before, run) = (version(&environment), environment.start());
    assert!(run.writes == 0 && run.out.contains("proven: ") && !run.out.contains("not proven"), "{}", run.out);
    assert_eq!(version(&environment), before);
    assert_eq!(environment.sandbox.witness().count("kubernetes:patch serviceaccounts"), 0);
}

#[test]
fn one_that_the_tool_made_becomes_the_charts_without_a_moment_without_the_role() {
    let mut environment = Environment::new(KEPT);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    environment.start();
    let (uid, role) = (environment.service_account().unwrap()["metadata"]["uid"].clone(), role_arn(&environment));
    environment.write_manifest(ROLE_ONLY);
    let run = environment.start();
    assert!(run.out.contains("but for annotation `eks.amazonaws.com/role-arn`") && run.out.contains("proven: "), "{}", run.out);
    let account = environment.service_account().unwrap();
    assert_eq!(account["metadata"]["annotations"], json!({"eks.amazonaws.com/role-arn": role}));
    assert!(account["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty), "{account}");
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    let account = environment.service_account().unwrap();
    assert_eq!((environment.roles(), &account["metadata"]["uid"]), (0, &uid));
    assert!(account["metadata"]["annotations"].as_object().is_none_or(serde_json::Map::is_empty), "{account}");
}
