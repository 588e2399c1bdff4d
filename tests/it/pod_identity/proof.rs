//! What proves a role by EKS Pod Identity: a session for the token of a pod that runs, or of one that is made for it and never does; and what
//! is said where there is neither.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::faults::{Fault, Point, When};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, Run},
    fixtures::NAMESPACE,
    pod_identity::{ASSOCIATED, add_agent, add_pod, admit_pod},
    repository::objects,
};

const TOKEN: &str = "kubernetes:create serviceaccounts/token";
const ASSUME: &str = "eks-auth:AssumeRoleForPodIdentity";

fn environment() -> Environment {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    environment
}

/// With the right to create pods, and for a proof by one that never runs.
fn with_pods() -> Environment {
    let mut environment = environment();
    environment.set("IRSA_PROOF", "pod");
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    apply(&environment, "docs/permissions/rbac-proof-pod.yaml");
    environment
}

/// That and the guard, which takes only pods from the job that never run.
fn guarded() -> Environment {
    let environment = with_pods();
    apply(&environment, "docs/permissions/admission-guard-pods.yaml");
    environment
}

fn apply(environment: &Environment, file: &str) {
    environment.sandbox.kubernetes(|kubernetes| objects(file).into_iter().for_each(|object| drop(kubernetes.put_object(object))));
}

/// The names of the pods in the namespace.
fn pods(environment: &Environment) -> Vec<String> {
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes
            .objects("pods", NAMESPACE)
            .into_iter()
            .map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    })
}

fn count(environment: &Environment, operation: &str) -> usize {
    environment.sandbox.witness().count(operation)
}

fn says_not_yet(run: &Run, why: &str) {
    assert!(run.out.contains("note: not proven by a session yet: no pod of ServiceAccount `z1a2b3c4-shop/app` runs"), "{}", run.out);
    assert!(run.out.contains(why), "{}", run.out);
}

#[test]
fn a_pod_that_has_gone_since_it_was_seen_makes_room_for_the_next() {
    let environment = environment();
    environment.start();
    for name in ["app-1", "app-2", "app-3"] {
        add_pod(&environment, NAMESPACE, "app", name);
    }
    // The look asks for the first, the proof for it again, then for the second.
    let rule = environment.sandbox.faults().add(TOKEN, When::Next(3), Fault::error(404, "NotFound"));
    assert!(environment.start().out.contains("proven: pods of ServiceAccount `z1a2b3c4-shop/app`"));
    environment.sandbox.faults().remove(rule);
    environment.sandbox.faults().add(TOKEN, When::Always, Fault::error(404, "NotFound"));
    let run = environment.start();
    assert!(run.out.contains("not proven by a session yet: no pod of ServiceAccount `z1a2b3c4-shop/app` runs any more"), "{}", run.out);
}

#[test]
fn pods_that_are_older_than_the_association_are_named_though_their_tokens_prove_it() {
    let environment = environment();
    add_pod(&environment, NAMESPACE, "other", "other-1");
    for name in ["app-1", "app-2", "app-3", "app-4", "app-5"] {
        add_pod(&environment, NAMESPACE, "app", name);
    }
    let note = "note: pods of ServiceAccount `z1a2b3c4-shop/app` run without the role, most likely since they are older than its association: `app-1`, `app-2`, `app-3` and 2 more. Make them anew, a Deployment's with `kubectl -n z1a2b3c4-shop rollout restart deployment/NAME`";
    let run = environment.start();
    assert!(run.out.contains("proven: pods of ServiceAccount") && run.out.contains(note), "{}", run.out);
    // By the session that the look asks for.
    let run = environment.start();
    assert!(run.writes == 0 && run.out.contains("proven: pods of ServiceAccount") && run.out.contains(note), "{}", run.out);
    admit_pod(&environment, "new");
    for name in ["app-1", "app-2", "app-3", "app-4"] {
        environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, name));
    }
    let run = environment.start();
    assert!(run.out.contains("older than its association: `app-5`. Make"), "{}", run.out);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, "app-5"));
    let run = environment.start();
    assert!(run.out.contains("proven: pods of ServiceAccount") && !run.out.contains("without the role"), "{}", run.out);
}

#[test]
fn without_a_pod_the_links_are_looked_at_and_a_broken_one_fails_the_run() {
    let mut environment = environment();
    says_not_yet(&environment.start(), "is in place, and the role lets EKS in; the next deploy proves it");
    let trust = |statement: &Value| {
        environment.change_role(|role| {
            let mut document: Value = serde_json::from_str(&role.trust).unwrap();
            document["Statement"].as_array_mut().unwrap().truncate(1);
            document["Statement"].as_array_mut().unwrap().push(statement.clone());
            role.trust = document.to_string();
        });
    };
    trust(&json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}));
    says_not_yet(&environment.start(), "statement 2 may deny it; cannot be judged from here: `aws:SecureTransport`");
    trust(&json!({"Effect": "Deny", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": "sts:TagSession"}));
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains("error: not proven: pods of ServiceAccount `z1a2b3c4-shop/app` do not get role"), "{}", run.err);
    assert!(run.err.contains("  trust: statement 2 denies it") && run.err.contains("hint: remove or narrow that statement"), "{}", run.err);
    trust(&json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}));
    environment.set("IRSA_PROOF", "required");
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains("it is not known whether pods of ServiceAccount `z1a2b3c4-shop/app` get role"), "{}", run.err);
    assert!(run.err.contains("caused by: no pod of ServiceAccount `z1a2b3c4-shop/app` runs"), "{}", run.err);
    assert!(run.err.contains("hint: deploy again once a pod of the ServiceAccount runs; or set `IRSA_PROOF=auto`"), "{}", run.err);
    add_pod(&environment, NAMESPACE, "app", "app-1");
    environment.start();
}

#[test]
fn what_eks_does_not_see_yet_is_waited_for_and_what_stays_is_an_error_with_its_link() {
    let environment = environment();
    add_pod(&environment, NAMESPACE, "app", "app-1");
    environment.sandbox.aws(|aws| aws.delay_eks(Duration::from_secs(2)));
    let run = environment.start();
    assert!(
        run.out.contains("proven: pods of ServiceAccount `z1a2b3c4-shop/app`") && run.out.contains("sessions up to 6 h"),
        "{}",
        run.out
    );
    assert!(count(&environment, ASSUME) > 1, "the association was not in effect at once");
    environment.sandbox.aws(|aws| aws.delay_eks(Duration::ZERO));
    let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"});
    environment.change_role(|role| {
        let mut document: Value = serde_json::from_str(&role.trust).unwrap();
        document["Statement"].as_array_mut().unwrap().push(deny.clone());
        role.trust = document.to_string();
    });
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains("caused by: AccessDeniedException: Unauthorized Exception!"), "{}", run.err);
    assert!(run.err.contains("  trust: statement 2 denies it"), "{}", run.err);
}

#[test]
fn a_job_that_may_not_ask_says_so_and_fails_only_where_the_proof_is_required() {
    let mut environment = environment();
    environment.start();
    add_pod(&environment, NAMESPACE, "app", "app-1");
    for (operation, file) in [(ASSUME, "docs/permissions/pod-identity-policy.json"), (TOKEN, "docs/permissions/rbac.yaml")] {
        let rule = environment.sandbox.faults().add(operation, When::Always, Fault::denied(operation));
        environment.set("IRSA_PROOF", "auto");
        let run = environment.start();
        assert!(run.out.contains("note: not proven: the job may not") && run.out.contains(file), "{}", run.out);
        environment.set("IRSA_PROOF", "required");
        let run = environment.run(&["start"]).ended(4);
        assert!(run.err.contains(file), "{}", run.err);
        environment.sandbox.faults().remove(rule);
    }
    environment.start();
}

#[test]
fn a_pod_that_never_runs_proves_it_and_is_gone_afterwards() {
    let environment = guarded();
    let run = environment.start();
    assert!(run.out.contains("proven: pods of ServiceAccount `z1a2b3c4-shop/app`"), "{}", run.out);
    assert_eq!(pods(&environment), [] as [String; 0]);
    let mark = environment.sandbox.witness().mark();
    environment.start();
    let calls = environment.sandbox.witness().since(mark).into_iter().map(|call| call.operation).collect::<Vec<_>>();
    let of_pods: Vec<&str> = calls.iter().map(String::as_str).filter(|call| call.contains(" pods")).collect();
    assert_eq!(
        of_pods,
        ["kubernetes:list pods", "kubernetes:list pods", "kubernetes:create pods", "kubernetes:create pods", "kubernetes:delete pods"]
    );
    // Where one runs, its token is enough.
    add_pod(&environment, NAMESPACE, "app", "app-1");
    environment.sandbox.witness().clear();
    environment.start();
    assert_eq!(count(&environment, "kubernetes:create pods"), 0);
}

#[test]
fn that_eks_does_not_take_its_token_is_no_failure() {
    let environment = guarded();
    environment.sandbox.aws(|aws| aws.take_unscheduled_pods(false));
    says_not_yet(
        &environment.start(),
        "and EKS does not take the token of the one that was made for it and never ran: InvalidTokenException",
    );
    assert_eq!(pods(&environment), [] as [String; 0]);
}

#[test]
fn no_pod_is_made_unless_the_guard_stands() {
    let environment = with_pods();
    says_not_yet(&environment.start(), "the cluster would take any pod from the job, also one that runs");
    let mut environment = environment_that_may_not_create_pods();
    says_not_yet(&environment.start(), "the job may not create pods");
    assert_eq!((count(&environment, "kubernetes:delete pods"), pods(&environment).len()), (0, 0));
    environment.set("IRSA_PROOF", "auto");
    environment.sandbox.witness().clear();
    environment.start();
    assert_eq!(count(&environment, "kubernetes:create pods"), 0);
}

fn environment_that_may_not_create_pods() -> Environment {
    let mut environment = environment();
    environment.set("IRSA_PROOF", "pod");
    environment
}

#[test]
fn a_pod_whose_creation_nobody_answered_is_used_and_deleted() {
    let environment = guarded();
    environment.start();
    // The first is the dry run.
    environment.sandbox.faults().add("kubernetes:create pods", When::Nth(2), Fault::lost_answer());
    let run = environment.start();
    assert!(run.out.contains("proven: "), "{}", run.out);
    assert_eq!(pods(&environment), [] as [String; 0]);
}

/// Waits until EKS is asked while it hangs: then the pod is there.
fn hanging(environment: &Environment) -> crate::support::environment::Running {
    environment.sandbox.faults().add(ASSUME, When::Always, Fault::Hang { point: Point::Before, duration: Duration::from_mins(1) });
    let (mark, running) = (environment.sandbox.witness().mark(), environment.spawn_in(NAMESPACE, &["start"]));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !environment.sandbox.witness().since(mark).iter().any(|call| call.operation == ASSUME) {
        assert!(Instant::now() < deadline, "EKS was never asked");
        sleep(Duration::from_millis(5));
    }
    assert_eq!(pods(environment).len(), 1);
    running
}

#[test]
fn asked_to_end_the_run_deletes_the_pod_first() {
    let environment = guarded();
    environment.start();
    let running = hanging(&environment);
    running.signal("TERM");
    let run = running.end().ended(1);
    assert!(run.err.contains("interrupted by a signal"), "{}", run.err);
    assert_eq!(pods(&environment), [] as [String; 0]);
}

#[test]
fn a_pod_that_a_killed_run_has_left_goes_with_the_next_proof() {
    let environment = guarded();
    environment.start();
    let mut running = hanging(&environment);
    running.child.kill().unwrap();
    running.end();
    environment.sandbox.faults().clear();
    let left = pods(&environment);
    assert_eq!(left.len(), 1);
    assert!(left[0].contains("qovery-irsa-proof-"), "{left:?}");
    // It is no user of anything: nobody waits for it.
    let run = environment.start();
    assert!(run.out.contains("proven: "), "{}", run.out);
    assert_eq!(pods(&environment), [] as [String; 0]);
}

/// The role of the association assumes another, of another account, in turn.
#[test]
fn with_a_target_role_the_session_must_be_of_that_one() {
    const TARGET: &str = "arn:aws:iam::210987654321:role/data";
    let manifest = format!(
        r#"
identities:
  - serviceAccount: app
    podIdentity: {{targetRoleArn: "{TARGET}"}}
    role:
      inlinePolicies: {{onward: {{Version: "2012-10-17", Statement: [{{Effect: Allow, Action: ["sts:AssumeRole", "sts:TagSession"], Resource: "{TARGET}"}}]}}}}
"#
    );
    let environment = Environment::of_pod_identity(&manifest);
    add_agent(&environment);
    add_pod(&environment, NAMESPACE, "app", "app-1");
    let external_id = format!("eu-west-3/123456789012/demo/{NAMESPACE}/app");
    let trust = |asked: &str| {
        let document = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {"StringEquals": {"sts:ExternalId": asked}},
        }]});
        environment.sandbox.aws(|aws| aws.add_role_elsewhere(TARGET, &document.to_string()));
    };
    trust(&external_id);
    let run = environment.start();
    assert!(
        run.out.contains(&format!("proven: pods of ServiceAccount `{NAMESPACE}/app` get role `{TARGET}`, sessions up to 1 h")),
        "{}",
        run.out
    );
    trust("another");
    let mut impatient = environment.variables.clone();
    impatient.insert("IRSA_TIMEOUT".to_owned(), "10s".to_owned());
    let run = environment.run_with(&["start"], &impatient).ended(4);
    assert!(
        run.err.contains(&format!("error: not proven: pods of ServiceAccount `{NAMESPACE}/app` do not get role `{TARGET}`")),
        "{}",
        run.err
    );
    assert!(
        run.err.contains(&format!("hint: let the trust policy of target role `{TARGET}` allow role `arn:aws:iam::123456789012:role/")),
        "{}",
        run.err
    );
    assert!(run.err.contains(&format!("with external ID `{external_id}`")), "{}", run.err);
}
