//! A green deploy means that a pod gets the role; otherwise the broken link is named.

use std::time::Duration;

use qovery_irsa_sandbox::faults::{Fault, Point, When};
use serde_json::{Value, json};

use crate::{
    harness::{Environment, MANIFEST, NAMESPACE},
    virtual_cloud::{World, place, run_and_prove, shared},
};

#[test]
fn a_start_proves_that_a_pod_gets_the_role() {
    let environment = Environment::new(MANIFEST);
    let run = environment.start();
    let role = format!("arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/{}", environment.role_name());
    assert!(
        run.out.contains(&format!("proven: pods of ServiceAccount `{NAMESPACE}/app` get role `{role}`, sessions up to 2 h\n")),
        "{}",
        run.out
    );
    let again = environment.run(&["start", "--format=json"]).ended(0);
    assert_eq!(
        (again.writes, &again.json()["proven"]),
        (0, &json!([{"service_account": format!("{NAMESPACE}/app"), "role": role, "max_session_seconds": 7200}]))
    );
    // The first run also asked for a token of a ServiceAccount that was not there yet.
    let witness = environment.sandbox.witness();
    assert_eq!((witness.count("kubernetes:create serviceaccounts/token"), witness.count("sts:AssumeRoleWithWebIdentity")), (3, 2));
    assert!(!run.out.contains("eyJ") && !again.out.contains("eyJ"), "no token is printed");
}

/// The look that finds something to do may see a session; only one that finds nothing more counts.
#[test]
fn a_session_from_before_the_last_change_proves_nothing() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.change_role(|role| role.attached.clear());
    let hang = Fault::Hang { point: Point::Before, duration: Duration::from_millis(1500) };
    environment.sandbox.faults().add("iam:AttachRolePolicy", When::Nth(1), hang);
    environment.sandbox.witness().clear();
    let running = environment.spawn_in(NAMESPACE, &["start"]);
    let seen = |operation: &str| environment.sandbox.witness().of(operation).iter().any(|call| call.status == Some(200));
    while !environment.sandbox.witness().operations().iter().any(|operation| operation == "iam:AttachRolePolicy") {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(seen("sts:AssumeRoleWithWebIdentity"));
    environment.change_role(|role| {
        let mut trust: Value = serde_json::from_str(&role.trust).unwrap();
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRoleWithWebIdentity"});
        trust["Statement"].as_array_mut().unwrap().push(deny);
        role.trust = trust.to_string();
    });
    let run = running.end().ended(4);
    assert!(run.err.contains("\n  trust: statement 2 denies it, whatever the others allow\n"), "{}", run.err);
}

#[test]
fn a_statement_that_denies_is_named_and_the_deploy_is_not_green() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    std::fs::remove_file(environment.output_file()).unwrap();
    environment.change_role(|role| {
        let mut trust: Value = serde_json::from_str(&role.trust).unwrap();
        trust["Statement"]
            .as_array_mut()
            .unwrap()
            .push(json!({"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRoleWithWebIdentity"}));
        role.trust = trust.to_string();
    });
    let started = std::time::Instant::now();
    let run = environment.run(&["start"]).ended(4);
    assert!(started.elapsed() < Duration::from_secs(40), "what is broken does not heal: {:?}", started.elapsed());
    assert!(
        run.err.starts_with(&format!(
            "error: not proven: pods of ServiceAccount `{NAMESPACE}/app` do not get role `arn:aws:iam::123456789012:role/"
        )),
        "{}",
        run.err
    );
    assert!(run.err.contains("\n  trust: statement 2 denies it, whatever the others allow\n"), "{}", run.err);
    assert!(run.err.contains("caused by: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"), "{}", run.err);
    assert!(run.err.contains("hint: remove or narrow that statement of the trust policy by hand"), "{}", run.err);
    assert!(!environment.output_file().exists(), "outputs are for green deploys");
}

#[test]
fn a_job_that_may_not_request_tokens_says_so_and_fails_only_where_the_proof_is_required() {
    let mut environment = Environment::new(MANIFEST);
    environment.sandbox.faults().add("kubernetes:create serviceaccounts/token", When::Always, Fault::error(403, "Forbidden"));
    let run = environment.start();
    assert!(
        run.out.contains("note: not proven: the job may not request a token of ServiceAccount")
            && run.out.contains("`serviceaccounts/token`"),
        "{}",
        run.out
    );
    environment.set("IRSA_PROOF", "required");
    let run = environment.run(&["start"]).ended(4);
    assert!(
        run.err.contains("caused by: failed to request a token of ServiceAccount")
            && run.err.contains("hint: allow `create serviceaccounts/token`"),
        "{}",
        run.err
    );
    environment.set("IRSA_PROOF", "off");
    environment.sandbox.witness().clear();
    environment.start();
    assert_eq!(environment.sandbox.witness().count("sts:AssumeRoleWithWebIdentity"), 0);
}

#[test]
fn a_first_deploy_ends_proven_although_sts_shows_the_past() {
    let environment = Environment::new(MANIFEST);
    let stale = Fault::Stale { up_to: Duration::from_secs(4) };
    environment.sandbox.faults().add("sts:AssumeRoleWithWebIdentity", When::Always, stale);
    let run = environment.start();
    assert!(run.out.contains("proven: "), "{}", run.out);
}

#[test]
fn an_answer_that_waiting_does_not_change_ends_the_proof_at_once() {
    for (status, code) in [(403, "RegionDisabledException"), (400, "ExpiredTokenException")] {
        let environment = Environment::new(MANIFEST);
        environment.sandbox.faults().add("sts:AssumeRoleWithWebIdentity", When::Always, Fault::error(status, code));
        let started = std::time::Instant::now();
        let run = environment.run(&["start"]).ended(4);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert!(run.err.contains(&format!("caused by: {code}: ")), "{}", run.err);
    }
}

#[test]
fn a_first_deploy_ends_proven_although_a_change_takes_half_a_minute_to_arrive() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for seconds in [0, 5, 15, 30] {
            let world = std::rc::Rc::new(World::new(seconds, Duration::ZERO));
            world.propagation.set(Duration::from_secs(seconds));
            tokio::time::sleep(Duration::from_mins(1)).await;
            let took = run_and_prove(world.clone(), shared(), place(1), Duration::from_mins(5)).await.unwrap();
            assert!(took <= Duration::from_secs(seconds + 10), "{took:?} for {seconds} s");
        }
        // A deadline before it arrives ends the run, and says that nothing that was seen is wrong.
        let world = std::rc::Rc::new(World::new(7, Duration::ZERO));
        world.propagation.set(Duration::from_mins(10));
        tokio::time::sleep(Duration::from_mins(11)).await;
        let error = run_and_prove(world, shared(), place(1), Duration::from_mins(1)).await.unwrap_err();
        assert!(error.starts_with("not proven: pods of ServiceAccount `z00000001-env/app` do not get role"), "{error}");
    });
}
