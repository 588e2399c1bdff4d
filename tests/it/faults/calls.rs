//! Calls that are denied, conflict, show the past or never answer: the right message, and the next run completes. What passes: `matrix.rs`.

use std::{collections::BTreeSet, time::Duration};

use qovery_irsa_sandbox::faults::{Fault, Point, When};

use crate::support::{
    environment::Environment,
    extent::extent,
    fixtures::{GIVEN, MANIFEST, NAMESPACE, by_hand},
    pod_identity::{ASSOCIATED, add_agent, add_pod},
};

/// A world in which nothing is there yet but the role that is given by ARN, the agent of EKS Pod Identity, and a pod that waits for its role.
fn busy(manifest: &str) -> Environment {
    let environment = Environment::of_pod_identity(manifest);
    environment.sandbox.aws(by_hand);
    add_agent(&environment);
    add_pod(&environment, NAMESPACE, "app", "app-1");
    environment
}

fn operations(environment: &Environment, command: &str) -> BTreeSet<String> {
    let mark = environment.sandbox.witness().mark();
    environment.run(&[command]).ended(0);
    environment.sandbox.witness().since(mark).into_iter().map(|call| call.operation).collect()
}

#[test]
fn each_call_that_is_denied_ends_the_run_with_the_permission_that_is_missing_and_the_next_run_completes() {
    // What was denied with one manifest need not be with the other, unless all is played.
    let mut denied = BTreeSet::new();
    for manifest in [MANIFEST, GIVEN, ASSOCIATED] {
        let undisturbed = busy(manifest);
        let commands = ["start", "delete"].map(|command| (command, operations(&undisturbed, command), undisturbed.sandbox.state()));
        for (command, operations, end) in &commands {
            // What the proof asks for has answers of its own, and what is only worth knowing is left out where it may not be seen.
            let optional = [
                "kubernetes:get /.well-known/openid-configuration",
                "kubernetes:create serviceaccounts/token",
                "sts:AssumeRoleWithWebIdentity",
                "kubernetes:list pods",
                "kubernetes:list namespaces",
                "kubernetes:list serviceaccounts",
                "iam:ListRoles",
                "iam:ListInstanceProfilesForRole",
                "eks:DescribeAddon",
                "eks-auth:AssumeRoleForPodIdentity",
            ];
            // Of web identities the associations are only looked at for a note.
            let of_notes = ["eks:ListPodIdentityAssociations", "eks:DescribePodIdentityAssociation"];
            let is_noted = |operation: &str| optional.contains(&operation) || (manifest != ASSOCIATED && of_notes.contains(&operation));
            let others = operations.iter().filter(|operation| !is_noted(operation));
            for operation in others {
                if !denied.insert((*command, operation.clone())) && extent(true, false) {
                    continue;
                }
                let environment = busy(manifest);
                if *command == "delete" {
                    environment.start();
                }
                let rule = environment.sandbox.faults().add(operation, When::Always, Fault::denied(operation));
                let run = environment.run(&[command]).ended(1);
                let permission = operation.strip_prefix("kubernetes:").unwrap_or(operation);
                assert!(
                    run.err.starts_with("error: failed to ") && run.err.contains(&format!("hint: allow `{permission}`")),
                    "{operation}: {}",
                    run.err
                );
                assert!(run.err.contains("  caused by: "), "{operation}: {}", run.err);
                assert!(!environment.output_file().exists() || *command == "delete", "{operation}");
                let log = std::fs::read_to_string(&environment.variables["IRSA_TERMINATION_LOG"]);
                assert!(log.is_err(), "a termination log is only written where Kubernetes made one");
                environment.sandbox.faults().remove(rule);
                environment.run(&[command]).ended(0);
                assert_eq!(environment.sandbox.state(), *end, "{command} after {operation}");
            }
        }
    }
}

#[test]
fn an_error_says_what_was_applied_before_it() {
    let environment = Environment::new(MANIFEST);
    environment.sandbox.faults().add("iam:PutRolePolicy", When::Always, Fault::error(403, "AccessDenied"));
    let run = environment.run(&["start"]).ended(1);
    let issuer = environment.issuer();
    let role = environment.role_name();
    let before = format!(
        "\napplied before this: 3 of 5 actions (create OIDC provider `{issuer}` with audience `sts.amazonaws.com`; create role `{role}` below `/qovery/demo/{NAMESPACE}/`, trusting `system:serviceaccount:{NAMESPACE}:app`; attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `{role}`)\n"
    );
    assert!(run.err.contains(&before), "{}", run.err);
    assert!(run.err.contains("request id"), "{}", run.err);
    assert!(environment.service_account().is_none(), "the ServiceAccount is annotated last");
}

#[test]
fn answers_that_show_the_past_are_waited_for_and_nothing_is_written_twice() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("IRSA_SETTLE", "4");
    environment.sandbox.faults().add("iam:Get*", When::Always, Fault::Stale { up_to: Duration::from_secs(2) });
    environment.sandbox.faults().add("iam:List*", When::Always, Fault::Stale { up_to: Duration::from_secs(2) });
    let first = environment.start();
    assert_eq!((first.writes, first.done().len()), (5, 5), "{}", first.out);
    environment.sandbox.faults().clear();
    assert_eq!(environment.start().writes, 0);
}

#[test]
fn a_service_that_never_answers_ends_the_run_before_the_deadline() {
    for operation in ["iam:GetRole", "kubernetes:list serviceaccounts"] {
        let mut environment = Environment::new(MANIFEST);
        environment.set("IRSA_TIMEOUT", "10");
        environment.sandbox.faults().add(operation, When::Always, Fault::Hang { point: Point::Before, duration: Duration::from_mins(1) });
        let started = std::time::Instant::now();
        let run = environment.run(&["start"]).ended(1);
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        assert!(run.err.contains("caused by: Timeout: ") && run.err.contains("hint: deploy again"), "{}", run.err);
        assert_eq!(run.writes, 0);
    }
}

#[test]
fn a_signal_lets_the_call_in_flight_finish_and_reports_what_was_applied() {
    let environment = Environment::new(MANIFEST);
    environment.sandbox.faults().add("iam:CreateRole", When::Nth(1), Fault::Latency(Duration::from_millis(600)));
    let running = environment.spawn_in(NAMESPACE, &["start"]);
    while environment.sandbox.witness().count("iam:CreateRole") == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal("TERM");
    let err = running.end().ended(1).err;
    assert!(err.contains("error: interrupted by a signal") && err.contains("applied before this: 2 of 5 actions"), "{err}");
    assert_eq!(environment.roles(), 1);
    environment.start();
    assert_eq!(environment.start().writes, 0);
}

#[test]
fn what_a_look_of_the_past_has_hidden_is_carried_out_after_the_settle_time() {
    let mut environment = Environment::new(MANIFEST);
    environment.start();
    environment.set("IRSA_SETTLE", "2");
    // The first look does not show the role: it was made only a moment ago.
    environment.sandbox.faults().add("iam:GetRole", When::Nth(1), Fault::error(404, "NoSuchEntity"));
    let run = environment.run(&["delete"]).ended(0);
    assert!(run.done().last().is_some_and(|action| action.starts_with("delete role `")), "{}", run.out);
    assert_eq!((environment.roles(), environment.service_account()), (0, None));
}

#[test]
fn a_role_that_cannot_be_deleted_is_reported_and_not_called_deleted() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let conflict = Fault::error(409, "DeleteConflict");
    environment.sandbox.faults().add("iam:DeleteRole", When::Always, conflict);
    let run = environment.run(&["delete"]).ended(1);
    assert!(run.err.contains("error: failed to delete role `") && run.err.contains("caused by: DeleteConflict: "), "{}", run.err);
}
