//! `bootstrap` is killed, denied, or its answers are lost: the next run completes, and nothing is there twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::sleep,
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::faults::{Fault, Point, When};

use crate::support::zone::{Laptop, ROLE, ZONE};

/// What a run changes, in order: which operation, and the how many-th call of it that is.
fn writes(laptop: &Laptop, arguments: &[&str]) -> Vec<(String, u64)> {
    let mark = laptop.environment.sandbox.witness().mark();
    laptop.bootstrap(arguments).ended(0);
    let mut calls: BTreeMap<String, u64> = BTreeMap::new();
    let numbered = laptop.environment.sandbox.witness().since(mark).into_iter().map(|call| {
        let which = calls.entry(call.operation.clone()).or_default();
        *which += 1;
        (call.changed, (call.operation, *which))
    });
    numbered.filter(|(changed, _)| *changed).map(|(_, write)| write).collect()
}

fn with_pods() -> String {
    ZONE.replace("  name: demo", "  name: demo\n  podIdentity: true")
}

/// A zone in which all that can differ does.
fn drifted() -> Laptop {
    let laptop = Laptop::bootstrapped(&with_pods());
    laptop.environment.sandbox.aws(|aws| {
        let role = aws.role_mut(ROLE).unwrap();
        role.description = None;
        role.tags.remove("team");
        role.inline.clear();
        role.trust = role.trust.replace(":z*:", ":y*:");
        let url = aws.providers().values().next().unwrap().url.clone();
        aws.provider_mut(&url).unwrap().client_ids = vec!["another".to_owned()];
    });
    laptop.environment.write_manifest(&with_pods().replace("'sqs:*'", "'sns:*'"));
    laptop
}

type Case = (&'static str, fn() -> Laptop, &'static [&'static str]);

const CASES: [Case; 3] = [
    ("make", || Laptop::new(&with_pods()), &[]),
    ("change", drifted, &[]),
    ("delete", || Laptop::bootstrapped(&with_pods()), &["--delete"]),
];

/// What another run of the same time has too: not the moments and ids.
fn state(laptop: &Laptop) -> serde_json::Value {
    laptop.environment.sandbox.state()
}

#[test]
fn a_run_killed_after_any_write_is_completed_by_the_next() {
    for (name, arrange, arguments) in CASES {
        let undisturbed = arrange();
        let writes = writes(&undisturbed, arguments);
        let end = state(&undisturbed);
        assert!(writes.len() >= 5, "{name}: {writes:?}");
        for (operation, which) in writes {
            let laptop = arrange();
            let hang = Fault::Hang { point: Point::After, duration: Duration::from_mins(1) };
            let faults = laptop.environment.sandbox.faults();
            let rule = faults.add(&operation, When::Nth(which), hang);
            let before = laptop.environment.sandbox.witness().mark();
            let mut running = laptop.environment.spawn(&[&["bootstrap"], arguments].concat(), &laptop.variables);
            let deadline = Instant::now() + Duration::from_secs(30);
            let done =
                || laptop.environment.sandbox.witness().since(before).iter().any(|call| call.faults.contains(&"hang") && call.changed);
            while !done() {
                assert!(Instant::now() < deadline, "{operation} never came");
                sleep(Duration::from_millis(2));
            }
            running.child.kill().unwrap();
            running.end();
            faults.remove(rule);
            laptop.bootstrap(arguments).ended(0);
            assert_eq!(state(&laptop), end, "{name}: killed after {operation}");
        }
    }
}

#[test]
fn an_answer_that_is_lost_is_no_failure() {
    for (name, arrange, arguments) in CASES {
        let undisturbed = arrange();
        let writes = writes(&undisturbed, arguments);
        for (operation, which) in writes {
            let laptop = arrange();
            laptop.environment.sandbox.faults().add(&operation, When::Nth(which), Fault::Reset(Point::After));
            laptop.bootstrap(arguments).ended(0);
            assert_eq!(laptop.bootstrap(arguments).ended(0).writes, 0, "{name}: {operation}");
        }
    }
}

#[test]
fn each_call_that_is_denied_ends_the_run_with_its_name_and_the_next_run_completes() {
    for (name, arrange, arguments) in CASES {
        let undisturbed = arrange();
        let mark = undisturbed.environment.sandbox.witness().mark();
        undisturbed.bootstrap(arguments).ended(0);
        let end = state(&undisturbed);
        let operations: BTreeSet<String> =
            undisturbed.environment.sandbox.witness().since(mark).into_iter().map(|call| call.operation).collect();
        for operation in operations {
            let laptop = arrange();
            let rule = laptop.environment.sandbox.faults().add(&operation, When::Always, Fault::denied(&operation));
            let run = laptop.bootstrap(arguments).ended(1);
            assert!(run.err.contains("AccessDenied"), "{name}: {operation}: {}", run.err);
            assert!(
                run.err
                    .contains(&format!("hint: allow `{operation}` for whoever runs `bootstrap` (docs/permissions/bootstrap-policy.json)")),
                "{name}: {}",
                run.err
            );
            laptop.environment.sandbox.faults().remove(rule);
            laptop.bootstrap(arguments).ended(0);
            assert_eq!(state(&laptop), end, "{name}: {operation} denied");
        }
    }
}

#[test]
fn reads_that_show_the_past_are_waited_for() {
    let mut laptop = Laptop::new(ZONE);
    laptop.variables.insert("IRSA_SETTLE".to_owned(), "5".to_owned());
    laptop.environment.sandbox.faults().add("iam:*", When::Always, Fault::Stale { up_to: Duration::from_secs(1) });
    laptop.bootstrap(&[]).ended(0);
    laptop.environment.sandbox.faults().clear();
    assert_eq!(laptop.bootstrap(&[]).ended(0).writes, 0);
}
