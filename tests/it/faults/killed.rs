//! The process is killed, right after a write or at any moment; the next run ends where an undisturbed one does. Asked to end, it ends
//! in time and says what it did.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::faults::{Fault, Point, When};
use serde_json::Value;

use crate::support::{
    environment::{Environment, Running, in_time},
    fixtures::{GIVEN, MANIFEST, NAMESPACE, by_hand, may_assume, namespaces, subject},
    pod_identity::{ASSOCIATED, add_agent},
};

/// The association of `ASSOCIATED` with all that an update can add, the session policy that none can take away, other tags, and another role.
const ASSOCIATED_OTHERWISE: &str = r#"
identities:
  - serviceAccount: app
    podIdentity:
      targetRoleArn: arn:aws:iam::210987654321:role/data
      disableSessionTags: true
      sessionPolicy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}
      tags: {team: platform}
    role:
      name: another
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
"#;

/// A role of its own, and a place in one that all have together.
const OWN_AND_SHARED: &str = r#"
identities:
  - serviceAccount: app
    role: {scope: shared, name: together, policies: ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]}
  - serviceAccount: own
    role:
      policies: ["arn:aws:iam::aws:policy/AmazonSQSFullAccess"]
      inlinePolicies: {own: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "arn:aws:s3:::own/*"}]}}
"#;

/// The writes of a run: which operation, and the how many-th call of it that is; a dry run is a call too.
fn writes_of(environment: &Environment, command: &str) -> Vec<(String, u64)> {
    let before = environment.sandbox.witness().mark();
    environment.run(&[command]).ended(0);
    let mut calls: BTreeMap<String, u64> = BTreeMap::new();
    let numbered = environment.sandbox.witness().since(before).into_iter().map(|call| {
        let which = calls.entry(call.operation.clone()).or_default();
        *which += 1;
        (call.changed, (call.operation, *which))
    });
    numbered.filter(|(changed, _)| *changed).map(|(_, write)| write).collect()
}

fn arranged(manifest: &str) -> Environment {
    let environment = Environment::of_pod_identity(manifest);
    environment.sandbox.aws(by_hand);
    add_agent(&environment);
    environment
}

/// Kills the run when this write was done and before it was answered.
fn kill_after(environment: &Environment, command: &str, operation: &str, which: u64) {
    let hang = Fault::Hang { point: Point::After, duration: Duration::from_mins(1) };
    let rule = environment.sandbox.faults().add(operation, When::Nth(which), hang);
    let before = environment.sandbox.witness().mark();
    let mut running = environment.spawn_in(NAMESPACE, &[command]);
    let deadline = Instant::now() + Duration::from_secs(30);
    let done = || environment.sandbox.witness().since(before).iter().any(|call| call.faults.contains(&"hang") && call.changed);
    while !done() {
        assert!(Instant::now() < deadline, "{operation} never came");
        sleep(Duration::from_millis(2));
    }
    running.child.kill().unwrap();
    assert_eq!(running.end().code, -1);
    environment.sandbox.faults().remove(rule);
}

#[test]
fn a_run_killed_after_any_write_is_completed_by_the_next() {
    for manifest in [MANIFEST, GIVEN, ASSOCIATED] {
        let undisturbed = arranged(manifest);
        let starts = writes_of(&undisturbed, "start");
        let after_start = undisturbed.sandbox.state();
        let deletes = writes_of(&undisturbed, "delete");
        let after_delete = undisturbed.sandbox.state();
        assert!(starts.len() >= 4 && deletes.len() >= 3, "{starts:?} {deletes:?}");

        for (command, writes, end) in [("start", &starts, &after_start), ("delete", &deletes, &after_delete)] {
            for (operation, which) in writes {
                let environment = arranged(manifest);
                if command == "delete" {
                    environment.start();
                }
                kill_after(&environment, command, operation, *which);
                environment.run(&[command]).ended(0);
                assert_eq!(environment.sandbox.state(), *end, "{command} killed after {operation}");
            }
        }
    }
}

/// Without the time at which an earlier role was left: it differs from run to run.
fn undated(mut state: Value) -> Value {
    match &mut state {
        Value::Object(members) => {
            for (key, value) in members {
                *value = match value.as_str().and_then(|text| text.rsplit_once(' ')) {
                    Some((role, _)) if key == "qovery-irsa/earlier-roles" => role.into(),
                    _ => undated(value.take()),
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = undated(item.take())),
        _ => {}
    }
    state
}

#[test]
fn a_change_of_an_association_that_is_killed_after_any_write_is_completed_by_the_next() {
    for (from, to) in [(ASSOCIATED, ASSOCIATED_OTHERWISE), (ASSOCIATED_OTHERWISE, ASSOCIATED)] {
        let changed = || {
            let environment = arranged(from);
            environment.start();
            environment.write_manifest(to);
            environment
        };
        let undisturbed = changed();
        let writes = writes_of(&undisturbed, "start");
        let end = undated(undisturbed.sandbox.state());
        assert!(writes.iter().any(|(operation, _)| operation.contains("PodIdentityAssociation")), "{writes:?}");
        for (operation, which) in writes {
            let environment = changed();
            kill_after(&environment, "start", &operation, which);
            environment.start();
            assert_eq!(undated(environment.sandbox.state()), end, "killed after {operation}");
        }
    }
}

/// Runs the command in all namespaces at once, again and again; before each has succeeded it is killed up to three times, each time at
/// a random moment. Answers how many were killed.
fn killed_at_random(environment: &Environment, namespaces: &[String], command: &str, chance: &mut fastrand::Rng) -> usize {
    let mut killed = 0;
    for round in 0..4 {
        let mut running: Vec<(Instant, Running)> = Vec::new();
        for namespace in namespaces {
            let end = Instant::now() + if round < 3 { Duration::from_millis(chance.u64(5..900)) } else { Duration::from_mins(1) };
            running.push((end, environment.spawn_in(namespace, &[command])));
        }
        running.sort_by_key(|(end, _)| *end);
        for (end, mut run) in running {
            while run.child.try_wait().unwrap().is_none() && Instant::now() < end {
                sleep(Duration::from_millis(2));
            }
            if run.child.try_wait().unwrap().is_none() {
                run.child.kill().unwrap();
                killed += 1;
            }
            let run = run.end();
            assert!(round < 3 || run.code == 0, "{}{}", run.out, run.err);
        }
    }
    killed
}

#[test]
fn runs_that_are_killed_at_random_among_others_leave_what_the_next_ones_complete() {
    let seed = 20_261_124;
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut environment = Environment::new(OWN_AND_SHARED);
    environment.set("IRSA_SETTLE", "1");
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    let clones = namespaces(&environment, 12);
    // Slow enough that a run has moments at which it can be killed.
    let mean = Duration::from_millis(20);
    environment.sandbox.faults().add("*", When::Always, Fault::ExponentialLatency { mean });
    let killed = killed_at_random(&environment, &clones, "start", &mut chance);
    assert!(killed > 12, "only {killed} were killed");
    let own_roles = |environment: &Environment| {
        environment.sandbox.aws(|aws| aws.roles().values().filter(|role| role.name.starts_with("own-")).cloned().collect::<Vec<_>>())
    };
    assert_eq!(own_roles(&environment).len(), 12);
    for role in own_roles(&environment) {
        assert_eq!((role.attached.len(), role.inline.len()), (1, 1), "{}", role.name);
    }
    assert_eq!(may_assume(&environment, "together", &clones), clones.iter().map(|namespace| subject(namespace)).collect());
    for clone in &clones {
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", clone);
        assert_eq!(environment.start().writes, 0, "{clone} was not complete");
    }

    let (leaving, staying) = clones.split_at(8);
    let killed = killed_at_random(&environment, leaving, "delete", &mut chance);
    assert!(killed > 8, "only {killed} were killed");
    assert_eq!(own_roles(&environment).len(), 4);
    assert_eq!(may_assume(&environment, "together", &clones), staying.iter().map(|namespace| subject(namespace)).collect());
    let accounts = environment.sandbox.state()["kubernetes"].to_string();
    assert!(leaving.iter().all(|namespace| !accounts.contains(&format!("\"{namespace}/app\""))), "{accounts}");
}

/// Kubernetes gives a pod 30 s between SIGTERM and SIGKILL.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
#[test]
fn asked_to_end_while_a_call_hangs_the_run_ends_within_the_time_that_kubernetes_gives() {
    let token = "kubernetes:create serviceaccounts/token";
    // Of a token the third call is the first that the run does not go on without: there is nothing left to do but to prove it.
    for (operation, nth, applied) in [("iam:CreateRole", 1, "1 of 5"), ("iam:GetRole", 1, ""), (token, 1, ""), (token, 3, "5 of 5")] {
        let environment = Environment::new(MANIFEST);
        let hang = Fault::Hang { point: Point::Before, duration: Duration::from_mins(2) };
        environment.sandbox.faults().add(operation, When::Always, hang);
        let begin = || {
            let (mark, running) = (environment.sandbox.witness().mark(), environment.spawn_in(NAMESPACE, &["start"]));
            while environment.sandbox.witness().since(mark).iter().filter(|call| call.operation == operation).count() < nth {
                sleep(Duration::from_millis(5));
            }
            running.signal("TERM");
            running
        };
        let err = in_time(Duration::from_secs(25), || begin().end().ended(1).err);
        assert!(err.starts_with("error: ") && err.contains("hint: deploy again: it continues where it stopped"), "{operation}: {err}");
        assert!(err.contains(&format!("applied before this: {applied}")) || applied.is_empty(), "{operation}: {err}");
        environment.sandbox.faults().clear();
        environment.start();
        assert_eq!(environment.start().writes, 0, "{operation}");
    }
}
