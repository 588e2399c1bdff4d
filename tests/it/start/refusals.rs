//! Before the first write: whatever can refuse is asked, and of what is refused nothing is made.

use qovery_irsa_sandbox::faults::{Fault, When};
use serde_json::json;

use crate::support::{
    environment::Environment,
    fixtures::{MANIFEST, NAMESPACE, by_hand},
};

const PATCH: &str = "kubernetes:patch serviceaccounts";

fn refused(message: &str, status: u16) -> Fault {
    Fault::Error { status, code: "Forbidden".to_owned(), message: message.to_owned() }
}

/// Nothing is made in AWS or Kubernetes, and the error says this.
#[track_caller]
fn makes_nothing(environment: &Environment, code: i32, says: &[&str]) {
    let run = environment.run(&["start"]).ended(code);
    assert_eq!((run.writes, environment.roles()), (0, 0), "{}{}", run.out, run.err);
    for says in says {
        assert!(run.err.contains(says), "{says}: {}", run.err);
    }
    assert!(!run.err.contains("rbac.yaml") && !run.err.contains("iam-policy.json"), "{}", run.err);
}

#[test]
fn a_namespace_that_is_misspelt_gets_no_role() {
    let environment = Environment::new(MANIFEST);
    let run = environment.spawn_in("z1a2b3c4-shpo", &["start"]).end().ended(1);
    assert_eq!((run.writes, environment.roles()), (0, 0), "{}{}", run.out, run.err);
    assert!(run.err.contains("NotFound: namespaces \"z1a2b3c4-shpo\" not found"), "{}", run.err);
    assert!(run.err.contains("hint: the namespace must exist: check `QOVERY_KUBERNETES_NAMESPACE_NAME`"), "{}", run.err);
}

#[test]
fn a_namespace_that_is_being_deleted_gets_no_role() {
    let environment = Environment::new(MANIFEST);
    environment.sandbox.kubernetes(|kubernetes| {
        let metadata = json!({"name": NAMESPACE, "deletionTimestamp": "2026-01-01T00:00:00Z"});
        kubernetes
            .put_object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": {"finalizers": ["kubernetes"]}}))
    });
    makes_nothing(&environment, 3, &["refused: namespace `z1a2b3c4-shop` is being deleted", "hint: deploy again when it is gone"]);
}

#[test]
fn what_the_clusters_admission_refuses_is_seen_before_a_role_is_made() {
    for (status, message, hint) in [
        (
            403,
            "admission webhook \"validation.gatekeeper.sh\" denied the request: [must-have-team] you must provide labels: {\"team\"}",
            "hint: admission webhook `validation.gatekeeper.sh` of the cluster refuses it",
        ),
        (
            400,
            "admission webhook \"validate.kyverno.svc\" denied the request: policy team",
            "hint: admission webhook `validate.kyverno.svc`",
        ),
        (
            422,
            "serviceaccounts \"app\" is forbidden: ValidatingAdmissionPolicy 'teams' with binding 'all' denied request: no team",
            "hint: admission policy `teams` of the cluster refuses it",
        ),
        (
            403,
            "serviceaccounts \"app\" is forbidden: exceeded quota: none, requested: count/serviceaccounts=1",
            "hint: resource quota `none`",
        ),
        (
            403,
            "serviceaccounts \"app\" is forbidden: unable to create new content in namespace z1a2b3c4-shop because it is being terminated",
            "hint: the namespace is being deleted",
        ),
        (403, "no, says something that nobody knows", "hint: the cluster refuses it for a reason of its own"),
    ] {
        let environment = Environment::new(MANIFEST);
        environment.sandbox.faults().add(PATCH, When::Always, refused(message, status));
        makes_nothing(
            &environment,
            1,
            &["error: failed to try out ServiceAccount `z1a2b3c4-shop/app` before anything is changed", message, hint],
        );
    }
}

#[test]
fn a_webhook_that_cannot_be_asked_by_a_dry_run_is_asked_when_it_counts() {
    let environment = Environment::new(MANIFEST);
    let message = "admission webhook \"old.example.com\" does not support dry run";
    environment.sandbox.faults().add(PATCH, When::Nth(1), refused(message, 400));
    environment.start();
    assert_eq!(environment.sandbox.witness().count(PATCH), 2);
}

#[test]
fn a_webhook_that_does_not_answer_is_waited_for_and_then_named() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("IRSA_TIMEOUT", "10s");
    let message = "Internal error occurred: failed calling webhook \"team.example.com\": failed to call webhook: connection refused";
    let down = Fault::Error { status: 500, code: "InternalError".to_owned(), message: message.to_owned() };
    environment.sandbox.faults().add(PATCH, When::Next(2), down.clone());
    environment.start();
    environment.delete();
    environment.sandbox.faults().add(PATCH, When::Always, down);
    makes_nothing(&environment, 1, &[message, "hint: admission webhook `team.example.com` of the cluster does not answer"]);
}

#[test]
fn a_mutating_policy_that_changes_a_field_is_named_by_the_field_at_once() {
    let environment = Environment::new(MANIFEST);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.mutations = vec![("/metadata/labels/tier".to_owned(), json!("frontend"))]);
    makes_nothing(&environment, 1, &["label `tier`", "`backend`", "`frontend`", "hint: "]);
    // Where the role is in place already, the first apply shows it.
    environment.sandbox.kubernetes(|kubernetes| kubernetes.mutations.clear());
    environment.start();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.mutations = vec![("/automountServiceAccountToken".to_owned(), json!(true))]);
    environment.write_manifest(&MANIFEST.replace("tier: backend", "tier: other"));
    environment.sandbox.witness().clear();
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("`automountServiceAccountToken`") && run.err.contains("changes"), "{}", run.err);
    assert_eq!(environment.sandbox.witness().count(PATCH), 1, "it is not tried again: {}", run.err);
}

#[test]
fn documents_that_iam_does_not_take_are_problems_with_their_line() {
    for (statement, problem) in [
        (
            "{Effect: allow, Action: 's3:*', Resource: '*'}",
            "manifest.yml:6: identities[0].role.inlinePolicies.own.Statement[0].Effect: must be `Allow` or `Deny`",
        ),
        ("{Effect: Allow, Acton: 's3:*', Resource: '*'}", "Statement[0].Acton: is not an element of a statement, did you mean `Action`?"),
        ("{Effect: Allow, Action: s3GetObject, Resource: '*'}", "Statement[0].Action: `s3GetObject` is not an action"),
    ] {
        let manifest = format!(
            "identities:\n  - serviceAccount: app\n    role:\n      inlinePolicies:\n        own:\n          Statement: [{statement}]\n"
        );
        let environment = Environment::new(&manifest);
        makes_nothing(&environment, 2, &[problem, "hint: nothing was read from or changed"]);
    }
}

#[test]
fn policies_beyond_the_quota_or_of_another_partition_and_protected_paths_are_refused_before_anything_is_made() {
    let policies =
        |count: usize| (0..count).map(|number| format!("\"arn:aws:iam::123456789012:policy/p{number}\"")).collect::<Vec<_>>().join(", ");
    let manifest = |role: &str| format!("identities: [{{serviceAccount: app, role: {role}}}]");
    let environment = Environment::new(&manifest(&format!("{{policies: [{}]}}", policies(11))));
    makes_nothing(&environment, 3, &["would have 11 managed policies; the quota is 10", "--quota-code L-0DA4ABF3 --desired-value 20"]);

    environment.write_manifest(&manifest("{policies: [\"arn:aws-cn:iam::aws:policy/AmazonS3ReadOnlyAccess\"]}"));
    makes_nothing(
        &environment,
        2,
        &["policy `arn:aws-cn:iam::aws:policy/AmazonS3ReadOnlyAccess` belongs to partition `aws-cn`, the account to `aws`"],
    );

    for role in ["{path: /aws-reserved/x/}", "{arn: \"arn:aws:iam::123456789012:role/aws-service-role/eks.amazonaws.com/x\"}"] {
        environment.write_manifest(&manifest(role));
        makes_nothing(&environment, 2, &["are AWS's own: nobody else can change them"]);
    }
}

#[test]
fn what_a_run_waits_for_is_said_after_some_seconds() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("IRSA_TIMEOUT", "12s");
    environment.sandbox.faults().add("iam:GetRole", When::Always, Fault::error(503, "ServiceUnavailable"));
    let run = environment.run(&["start"]).ended(1);
    let line =
        run.out.lines().find(|line| line.starts_with("waiting for `iam:GetRole`")).unwrap_or_else(|| panic!("{}{}", run.out, run.err));
    assert!(line.contains(" s of 12 s; last answer: ServiceUnavailable: "), "{line}");
    // A machine reads a document: the line is for people.
    let run = environment.run(&["start", "--format", "json"]).ended(1);
    assert!(run.err.contains("waiting for `iam:GetRole`") && run.json()["outcome"] == "failed", "{}", run.err);
}

#[test]
fn an_api_server_that_cannot_be_reached_is_named_with_who_named_it() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("IRSA_TIMEOUT", "10s");
    environment.sandbox.faults().add("kubernetes:connect", When::Always, Fault::RefuseConnection);
    let run = environment.run(&["start"]).ended(1);
    let host = environment.sandbox.kubernetes_url().trim_start_matches("https://").to_owned();
    assert!(run.err.contains(&format!("(API server `{host}`, as the kubeconfig names it)")), "{}", run.err);
    assert!(run.err.contains("hint: check the way from the job to that host"), "{}", run.err);
    assert!(run.out.contains("waiting for `kubernetes:"), "{}", run.out);
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
