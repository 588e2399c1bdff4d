//! A namespace or a ServiceAccount that is being deleted is said to be, and nothing in it is said to be in place or proven.

use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, Run},
    fixtures::{MANIFEST, NAMESPACE},
    repository::objects,
};

/// The namespace begins to terminate, and nothing that is in it goes yet.
fn end_namespace(environment: &Environment) {
    environment.sandbox.kubernetes(|kubernetes| {
        let mut namespace = kubernetes.object("namespaces", "", NAMESPACE).cloned().unwrap();
        namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        namespace["status"]["phase"] = "Terminating".into();
        kubernetes.put_object(namespace);
    });
}

/// The ServiceAccount is deleted, and a finalizer holds it.
fn end_service_account(environment: &Environment) {
    let mut account = environment.service_account().unwrap();
    account["metadata"]["finalizers"] = json!(["example.com/held"]);
    account["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
}

#[track_caller]
fn claims_nothing(run: &Run) {
    for wrong in ["in place", "proven: ", "may not request", "rbac.yaml"] {
        assert!(!run.out.contains(wrong) && !run.err.contains(wrong), "{wrong}:\n{}\n{}", run.out, run.err);
    }
    assert_eq!(run.writes, 0);
}

#[test]
fn in_a_namespace_that_is_being_deleted_nothing_is_in_place_or_proven() {
    let mut environment = Environment::new(MANIFEST);
    environment.start();
    end_namespace(&environment);
    let said = format!(
        "error: refused: namespace `{NAMESPACE}` is being deleted: no pod starts there any more\nhint: deploy again when it is gone"
    );
    for proof in ["auto", "required", "off"] {
        environment.set("IRSA_PROOF", proof);
        let run = environment.run(&["start"]).ended(3);
        assert!(run.err.starts_with(&said), "{proof}: {}", run.err);
        claims_nothing(&run);
    }
    let run = environment.run(&["plan"]).ended(3);
    assert!(run.err.starts_with(&said), "{}", run.err);
    claims_nothing(&run);
    environment.unset("IRSA_PROOF");
    // A job that may request no tokens is told so before anybody looks at the namespace.
    environment.sandbox.kubernetes(|kubernetes| {
        for object in objects("docs/permissions/rbac-without-proof.yaml") {
            kubernetes.put_object(object);
        }
    });
    let run = environment.run(&["start"]).ended(3);
    assert!(run.err.starts_with(&said), "{}", run.err);
    let run = environment.run(&["doctor"]).ended(1);
    assert!(run.out.contains(&format!("none is given: namespace `{NAMESPACE}` is being deleted")), "{}", run.out);
    environment.delete();
    assert_eq!((environment.service_account(), environment.roles()), (None, 0));
}

#[test]
fn a_first_deploy_into_a_namespace_that_is_being_deleted_writes_nothing() {
    let environment = Environment::new(MANIFEST);
    end_namespace(&environment);
    let run = environment.run(&["start"]).ended(3);
    assert!(run.err.contains("is being deleted"), "{}", run.err);
    claims_nothing(&run);
    assert_eq!(environment.roles(), 0);
}

#[test]
fn a_namespace_that_begins_to_end_before_the_proof_is_no_missing_permission() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.change_role(|role| role.trust = role.trust.replace("StringEquals", "StringLike"));
    // Not seen by the first look: the token is asked for before.
    let slow = qovery_irsa_sandbox::faults::Fault::Latency(std::time::Duration::from_millis(800));
    environment.sandbox.faults().add("iam:UpdateAssumeRolePolicy", qovery_irsa_sandbox::faults::When::Always, slow);
    let mark = environment.sandbox.witness().mark();
    let running = environment.spawn_in(NAMESPACE, &["start"]);
    while !environment.sandbox.witness().since(mark).iter().any(|call| call.operation == "iam:UpdateAssumeRolePolicy") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    end_namespace(&environment);
    let run = running.end();
    assert!(matches!(run.code, 3 | 4), "{}: {}\n{}", run.code, run.out, run.err);
    assert!(run.err.contains("is being deleted") || run.err.contains("because it is being terminated"), "{}", run.err);
    for wrong in ["in place", "\nproven: ", "may not request", "rbac.yaml"] {
        assert!(!run.out.contains(wrong) && !run.err.contains(wrong), "{wrong}:\n{}\n{}", run.out, run.err);
    }
}

#[test]
fn a_service_account_that_is_being_deleted_is_not_in_place() {
    let mut environment = Environment::new(MANIFEST);
    environment.start();
    end_service_account(&environment);
    let said = format!("error: refused: ServiceAccount `{NAMESPACE}/app` is being deleted\nhint: deploy again when it is gone");
    for proof in ["auto", "off"] {
        environment.set("IRSA_PROOF", proof);
        let run = environment.run(&["start"]).ended(3);
        assert!(run.err.starts_with(&said), "{}", run.err);
        claims_nothing(&run);
    }
    environment.unset("IRSA_PROOF");
    let run = environment.run(&["doctor"]).ended(1);
    assert!(run.out.contains(&format!("`{NAMESPACE}/app` is being deleted")), "{}", run.out);
    // What is being deleted already is not deleted again, nor waited for.
    let run = environment.delete();
    let note = format!("note: ServiceAccount `{NAMESPACE}/app` is being deleted already: what holds it are its finalizers");
    assert!(run.out.contains(&note), "{}", run.out);
    assert_eq!(environment.roles(), 0);
    assert!(environment.service_account().is_some());
}

#[test]
fn a_delete_of_a_service_account_that_a_finalizer_holds_ends_at_once() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let mut account: Value = environment.service_account().unwrap();
    account["metadata"]["finalizers"] = json!(["example.com/held"]);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    let mark = environment.sandbox.witness().mark();
    environment.delete();
    let deletions =
        environment.sandbox.witness().since(mark).iter().filter(|call| call.operation == "kubernetes:delete serviceaccounts").count();
    assert_eq!((deletions, environment.roles()), (1, 0));
    assert!(environment.service_account().unwrap()["metadata"]["deletionTimestamp"].is_string());
}
