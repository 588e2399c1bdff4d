//! A green deploy means that a pod gets the role; otherwise the broken link is named.

use std::time::Duration;

use qovery_irsa_sandbox::faults::{Fault, Point, When};
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{MANIFEST, NAMESPACE},
    virtual_world::{World, place, run_and_prove, shared},
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

const TOKEN: &str = "kubernetes:create serviceaccounts/token";

#[test]
fn a_policy_of_the_cluster_that_refuses_the_token_is_quoted_and_nobody_says_that_pods_get_no_role() {
    let mut environment = Environment::new(MANIFEST);
    let said = "serviceaccounts \"app\" is forbidden: ValidatingAdmissionPolicy 'tokens' with binding 'all' denied request: no tokens";
    for status in [403, 422] {
        environment.sandbox.faults().clear();
        let refused = Fault::Error { status, code: "Invalid".to_owned(), message: said.to_owned() };
        environment.sandbox.faults().add(TOKEN, When::Always, refused);
        environment.set("IRSA_PROOF", "auto");
        let run = environment.start();
        assert!(
            run.out.contains("note: not proven: the cluster does not let the job request a token") && run.out.contains(said),
            "{}",
            run.out
        );
        environment.set("IRSA_PROOF", "required");
        let run = environment.run(&["start"]).ended(4);
        assert!(run.err.starts_with("error: not proven: it is not known whether pods"), "{}", run.err);
        assert!(run.err.contains("hint: admission policy `tokens` of the cluster refuses it"), "{}", run.err);
    }
}

#[test]
fn a_job_that_may_not_request_tokens_says_so_and_fails_only_where_the_proof_is_required() {
    let mut environment = Environment::new(MANIFEST);
    environment.sandbox.faults().add(TOKEN, When::Always, Fault::denied(TOKEN));
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

const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
const KEYS: &str = "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements";

fn token_refused(message: &str) -> Fault {
    Fault::Error { status: 400, code: "InvalidIdentityToken".to_owned(), message: message.to_owned() }
}

#[test]
fn keys_of_the_issuer_that_sts_cannot_fetch_yet_are_waited_for() {
    let mut environment = Environment::new(MANIFEST);
    environment.sandbox.faults().add(ASSUME, When::Next(2), token_refused(KEYS));
    let run = environment.start();
    assert!(run.out.contains("proven: "), "{}", run.out);
    environment.set("IRSA_TIMEOUT", "10s");
    environment.sandbox.faults().add(ASSUME, When::Always, token_refused(KEYS));
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains("hint: STS cannot fetch the keys of the cluster's OIDC issuer"), "{}", run.err);
}

#[test]
fn a_thumbprint_that_does_not_fit_comes_with_the_command_that_mends_it() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let message = "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint";
    environment.sandbox.faults().add(ASSUME, When::Always, token_refused(message));
    let run = environment.run(&["start"]).ended(4);
    let issuer = environment.issuer();
    let command = format!("--open-id-connect-provider-arn arn:aws:iam::123456789012:oidc-provider/{issuer} ");
    assert!(run.err.contains(&command), "{}", run.err);
}

#[test]
fn a_policy_of_the_organization_that_denies_the_proof_is_named_at_once() {
    let environment = Environment::new(MANIFEST);
    let message = "User: arn:aws:sts::123456789012:web-identity is not authorized to perform: sts:AssumeRoleWithWebIdentity on resource: x with an explicit deny in a resource control policy";
    environment.sandbox.faults().add(
        ASSUME,
        When::Always,
        Fault::Error { status: 403, code: "AccessDenied".to_owned(), message: message.to_owned() },
    );
    let began = std::time::Instant::now();
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains("hint: a resource control policy of the organization denies `sts:AssumeRoleWithWebIdentity`"), "{}", run.err);
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
}
