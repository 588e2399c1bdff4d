//! The process is killed right after a write; the next run ends where an undisturbed one does.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::faults::{Fault, Point, When};

use crate::{
    harness::{Environment, GIVEN, MANIFEST, NAMESPACE},
    runs::by_hand,
};

/// The writes of a run, as calls.
fn writes_of(environment: &Environment, command: &str) -> Vec<String> {
    let before = environment.sandbox.witness().mark();
    environment.run(&[command]).ended(0);
    environment.sandbox.witness().since(before).into_iter().filter(|call| call.changed).map(|call| call.operation).collect()
}

fn arranged(manifest: &str) -> Environment {
    let environment = Environment::new(manifest);
    environment.sandbox.aws(by_hand);
    environment
}

/// Kills the run when this write was done and before it was answered.
fn kill_after(environment: &Environment, command: &str, operation: &str, which: u64) {
    let hang = Fault::Hang { point: Point::After, duration: Duration::from_mins(1) };
    let rule = environment.sandbox.faults().add(operation, When::Nth(which), hang);
    let before = environment.sandbox.witness().mark();
    let mut child = environment.spawn_in(NAMESPACE, &[command]);
    let deadline = Instant::now() + Duration::from_secs(30);
    let done = || environment.sandbox.witness().since(before).iter().any(|call| call.faults.contains(&"hang") && call.changed);
    while !done() {
        assert!(Instant::now() < deadline, "{operation} never came");
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    environment.sandbox.faults().remove(rule);
}

#[test]
fn a_run_killed_after_any_write_is_completed_by_the_next() {
    for manifest in [MANIFEST, GIVEN] {
        let undisturbed = arranged(manifest);
        let starts = writes_of(&undisturbed, "start");
        let after_start = undisturbed.sandbox.state();
        let deletes = writes_of(&undisturbed, "delete");
        let after_delete = undisturbed.sandbox.state();
        assert!(starts.len() >= 4 && deletes.len() >= 3, "{starts:?} {deletes:?}");

        for (command, writes, end) in [("start", &starts, &after_start), ("delete", &deletes, &after_delete)] {
            for (index, operation) in writes.iter().enumerate() {
                let environment = arranged(manifest);
                if command == "delete" {
                    environment.start();
                }
                let which = writes[..=index].iter().filter(|other| *other == operation).count();
                kill_after(&environment, command, operation, which as u64);
                environment.run(&[command]).ended(0);
                assert_eq!(environment.sandbox.state(), *end, "{command} killed after {operation}");
            }
        }
    }
}
