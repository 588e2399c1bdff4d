//! `install --deploy`: what is asked of Qovery and in which order, when it is over, and what is said of each way in which it does not go
//! well. The engine of the local Qovery carries the deployments out meanwhile.

use std::{thread::sleep, time::Duration};

use qovery_irsa_sandbox::{
    engine::{Engine, Performed},
    faults::{Fault, When},
    qovery::{Chart, Event, Kind, Shows, World},
};
use serde_json::json;

use crate::support::{
    environment::{Environment, Run},
    keyless::{JOB_ROLE, KEYLESS},
    pod_identity::add_agent,
    shop::{BOUND, Shop},
};

const DEPLOY: [&str; 2] = ["install", "--deploy"];
/// So long each step of the engine takes: whoever looks sees it under way.
const STEP: Duration = Duration::from_millis(700);

/// An environment for whose cluster `bootstrap` has been run, on a Qovery that is so.
fn bootstrapped(world: World) -> Shop {
    let shop = Shop::of_nothing(world, KEYLESS);
    shop.bootstrap(&[]).ended(0);
    shop
}

/// `install --deploy` without a key, beside an engine.
fn run_keyless(shop: &Shop) -> (Run, Vec<(Event, bool)>) {
    let arguments = ["install", "--environment", &shop.id, "--role", JOB_ROLE, "--deploy"];
    let (run, performed) = shop.engine().in_background(|| shop.environment.run(&arguments));
    (run, performed.iter().map(|Performed { event, well, .. }| (*event, *well)).collect())
}

fn denied() -> Fault {
    Fault::Error { status: 403, code: "AccessDenied".to_owned(), message: "no".to_owned() }
}

/// A run beside an engine that carries out what is asked for.
fn run_beside(engine: &Engine<'_>, shop: &Shop) -> (Run, Vec<(Event, bool)>) {
    let (run, performed) = engine.in_background(|| shop.environment.run(&DEPLOY));
    (run, performed.iter().map(|Performed { event, well, .. }| (*event, *well)).collect())
}

#[test]
fn one_command_installs_deploys_job_and_environment_and_ends_with_the_proof() {
    let shop = Shop::new(BOUND);
    let (run, performed) = run_beside(&shop.engine(), &shop);
    let run = run.ended(0);
    assert_eq!(performed, [(Event::Force, true), (Event::Deploy, true)]);
    assert!(run.out.lines().last().unwrap().starts_with("deployed and proven: 1 identity"), "{}", run.out);
    assert_eq!(run.done()[run.done().len() - 2..], ["deploy job `aws-identity`", "deploy the environment"]);
    // Again: nothing is installed, and all is deployed.
    let (run, performed) = run_beside(&shop.engine(), &shop);
    assert_eq!(performed.len(), 2);
    assert_eq!(run.ended(0).done(), ["deploy job `aws-identity`", "deploy the environment"]);
    let help = shop.environment.run(&["install", "--help"]).out;
    assert!(help.contains("with `--deploy` 30m"), "{help}");
}

#[test]
fn a_dry_run_deploys_nothing_and_says_that_it_would() {
    let shop = Shop::new(BOUND);
    let run = shop.environment.run(&["install", "--deploy", "--dry-run"]);
    assert_eq!(run.writes, 0);
    assert!(run.out.contains("note: `--deploy` then deploys the job and the environment"), "{}", run.out);
    let printed = shop.environment.run(&["install", "--deploy", "--print=terraform"]);
    assert!(printed.code != 0 && printed.err.contains("cannot be used with"), "{}", printed.err);
}

/// Whatever the statuses show of a request, and from when on: the second run must not take the ends of the first for its own.
#[test]
fn the_end_of_the_deployment_before_is_never_taken_for_the_new_one() {
    std::thread::scope(|scope| {
        for (late, requests, no_ids) in [(2, true, false), (3, false, false), (2, true, true), (1, false, true)] {
            scope.spawn(move || {
                let shop = Shop::new(BOUND);
                let engine = || shop.engine().with_pause(STEP);
                run_beside(&engine(), &shop).0.ended(0);
                shop.environment.sandbox.qovery(|qovery| qovery.set_shows(Shows { late, requests, no_ids }));
                let (run, performed) = engine().in_background(|| {
                    let run = shop.environment.run(&DEPLOY);
                    let left = shop.environment.sandbox.qovery(|qovery| qovery.state_of(&shop.id));
                    assert_eq!(left, Some("DEPLOYED"), "it ended before the deployment did: {}", run.out);
                    run
                });
                let told = run.ended(0);
                assert_eq!(performed.len(), 2, "{late} {requests} {no_ids}: {}", told.out);
            });
        }
    });
}

#[test]
fn without_a_key_the_account_comes_first_and_one_command_ends_with_the_proof() {
    let shop = bootstrapped(World::default());
    let (run, performed) = run_keyless(&shop);
    let run = run.ended(0);
    let deployed: Vec<&str> = run.done().into_iter().filter(|done| done.starts_with("deploy ")).collect();
    assert_eq!(deployed, ["deploy Helm service `aws-identity-account`", "deploy job `aws-identity`", "deploy the environment"]);
    assert_eq!(performed, [(Event::Deploy, true), (Event::Force, true), (Event::Deploy, true)]);
    assert!(run.out.lines().last().unwrap().starts_with("deployed and proven: 1 identity"), "{}", run.out);
}

/// Something was deployed before, and the job has no token of its own. Before the job has run nothing is bound: had it failed, a service that
/// is deployed alone would ask for a ServiceAccount that is not there.
#[test]
fn without_a_token_services_are_bound_between_the_job_and_the_environment() {
    let shop = Shop::of_nothing(World::default(), &KEYLESS.replace("  secrets: [IRSA_QOVERY_TOKEN]\n", ""));
    shop.bootstrap(&[]).ended(0);
    let db = shop.service(&shop.id, "db");
    shop.environment.sandbox.qovery(|qovery| qovery.set_deployed(&db));
    shop.environment.sandbox.faults().add("iam:CreateRole", When::Nth(1), denied());
    let (run, _) = run_keyless(&shop);
    let bound = |run: &Run| -> Vec<String> {
        let after = |done: &&str| done.starts_with("bind ") || done.starts_with("deploy ");
        run.done().into_iter().filter(after).map(str::to_owned).collect()
    };
    assert_eq!(bound(&run.ended(1)), ["deploy Helm service `aws-identity-account`"]);
    let (run, _) = run_keyless(&shop);
    let run = run.ended(0);
    assert_eq!(
        bound(&run),
        [
            "deploy Helm service `aws-identity-account`",
            "deploy job `aws-identity`",
            "bind application `api` to ServiceAccount `app`",
            "bind container `worker` to ServiceAccount `app`",
            "deploy the environment"
        ]
    );
    assert_eq!(shop.pods_with_role(), 2);
    assert!(run.out.lines().last().unwrap().starts_with("deployed and proven: 1 identity"), "{}", run.out);
}

#[test]
fn a_service_that_is_not_there_is_refused_before_anything_is_deployed() {
    let shop = Shop::of_nothing(World::default(), &KEYLESS.replace("[api, worker]", "[apy, worker]"));
    let arguments = ["install", "--environment", &shop.id, "--role", JOB_ROLE, "--deploy"];
    for more in [&[][..], &["--dry-run"]] {
        let run = shop.environment.run(&[&arguments[..], more].concat());
        assert_eq!((run.code, run.writes), (3, 0), "{}{}", run.out, run.err);
        assert!(run.err.contains("refused: the environment has no service `apy`; there are "), "{}", run.err);
    }
}

#[test]
fn an_account_that_fails_ends_it_with_the_known_causes_and_the_job_is_not_run() {
    let known_causes = |shop: &Shop| {
        let (run, performed) = run_keyless(shop);
        let err = run.ended(1).err;
        assert_eq!(performed, [(Event::Deploy, false)]);
        let said = "error: the deployment of Helm service `aws-identity-account` failed: its state is `DEPLOYMENT_ERROR`\n";
        assert!(err.starts_with(said), "{err}");
        for cause in ["by an EKS access entry", "`invalid ownership metadata`", "docs/troubleshooting.md", "https://console.qovery.com/"] {
            assert!(err.contains(cause), "{cause}: {err}");
        }
    };
    known_causes(&bootstrapped(World { chart: Chart::RoleRefused, ..World::default() }));
    // A Helm service that was deleted leaves its objects, and the next has another name for Helm.
    let shop = bootstrapped(World::default());
    run_keyless(&shop).0.ended(0);
    let account = shop.service(&shop.id, "aws-identity-account");
    shop.ask("DELETE", &format!("/helm/{account}"), None);
    shop.perform();
    known_causes(&shop);
}

#[test]
fn a_job_that_fails_ends_it_before_any_service_is_deployed() {
    let shop = Shop::new(BOUND);
    shop.environment.sandbox.faults().add("iam:CreateRole", When::Always, denied());
    let (run, performed) = run_beside(&shop.engine(), &shop);
    let err = run.ended(1).err;
    assert_eq!(performed, [(Event::Force, false)]);
    assert!(err.starts_with("error: the deployment of job `aws-identity` failed: its state is `DEPLOYMENT_ERROR`\n"), "{err}");
    assert!(err.contains("hint: the last lines of the job's log say why") && err.contains("4 not proven"), "{err}");
    assert!(err.contains("https://console.qovery.com/organization/"), "{err}");
}

#[test]
fn a_service_that_fails_is_named_with_its_state() {
    let shop = Shop::new(BOUND);
    let chart = json!({ "git_repository": { "url": "https://github.com/acme/shop.git", "root_path": "/charts/nowhere" } });
    shop.environment.sandbox.qovery(|qovery| {
        let broken = qovery.add_service(&shop.id, Kind::Helm, "broken");
        qovery.set_service(&broken, "source", chart);
        qovery.set_service(&broken, "values_override", json!({}));
    });
    let (run, performed) = run_beside(&shop.engine(), &shop);
    let err = run.ended(1).err;
    assert_eq!(performed, [(Event::Force, true), (Event::Deploy, false)]);
    let said = "error: the deployment of the environment failed: its state is `DEPLOYMENT_ERROR`\n  helm `broken`: `DEPLOYMENT_ERROR`\n";
    assert!(err.replace("Helm service `broken`", "helm `broken`").starts_with(said), "{err}");
}

#[test]
fn a_deployment_of_somebody_else_is_waited_for() {
    let shop = Shop::installed(BOUND);
    shop.ask("POST", &format!("/environment/{}/deploy", shop.id), None);
    let (run, performed) = run_beside(&shop.engine().with_pause(STEP), &shop);
    let run = run.ended(0);
    assert!(run.out.contains("note: another deployment of the environment is under way: waiting for its end"), "{}", run.out);
    assert_eq!(performed, [(Event::Deploy, true), (Event::Force, true), (Event::Deploy, true)]);
    // Somebody who is faster between the look and the request: Qovery says so, and it is waited for as well.
    let conflict = Fault::Error { status: 409, code: String::new(), message: "a deployment is in progress".to_owned() };
    shop.environment.sandbox.faults().add("qovery:deployJob", When::Nth(1), conflict);
    let (run, performed) = run_beside(&shop.engine(), &shop);
    assert_eq!((run.ended(0).done().len(), performed.len()), (2, 2));
}

#[test]
fn what_is_cancelled_is_said_to_be() {
    let shop = Shop::installed(BOUND);
    let running = shop.environment.spawn_in(crate::support::fixtures::NAMESPACE, &DEPLOY);
    let job = shop.service(&shop.id, "aws-identity");
    while shop.environment.sandbox.qovery(|qovery| qovery.state_of_service(&job)) != Some("DEPLOYMENT_QUEUED") {
        sleep(Duration::from_millis(20));
    }
    shop.environment.sandbox.qovery(|qovery| qovery.cancel(&shop.id));
    let err = running.end().ended(1).err;
    assert!(err.starts_with("error: the deployment of job `aws-identity` was cancelled in Qovery\n"), "{err}");
}

#[test]
fn an_interruption_says_what_goes_on_in_qovery_and_the_next_run_goes_on_with_it() {
    let shop = Shop::installed(BOUND);
    let running = shop.environment.spawn_in(crate::support::fixtures::NAMESPACE, &DEPLOY);
    let job = shop.service(&shop.id, "aws-identity");
    while shop.environment.sandbox.qovery(|qovery| qovery.state_of_service(&job)) != Some("DEPLOYMENT_QUEUED") {
        sleep(Duration::from_millis(20));
    }
    running.signal("INT");
    let err = running.end().ended(1).err;
    assert!(err.starts_with("error: interrupted by a signal: the deployment of job `aws-identity` goes on in Qovery\n"), "{err}");
    let (run, performed) = run_beside(&shop.engine(), &shop);
    run.ended(0);
    assert_eq!(performed, [(Event::Force, true), (Event::Force, true), (Event::Deploy, true)]);
}

#[test]
fn the_end_of_the_time_says_where_it_stands() {
    let mut shop = Shop::installed(BOUND);
    shop.environment.set("IRSA_TIMEOUT", "10s");
    let err = shop.environment.run(&DEPLOY).ended(1).err;
    assert!(err.starts_with("error: job `aws-identity` is not deployed after 10 s: its state is `DEPLOYMENT_QUEUED`\n"), "{err}");
    assert!(err.contains("hint: it goes on in Qovery") && err.contains("`--timeout` (up to 1h)"), "{err}");
}

#[test]
fn outputs_that_cannot_be_read_are_no_proof() {
    let shop = Shop::installed(BOUND);
    let engine = shop.engine();
    let sandbox = &shop.environment.sandbox;
    let (run, performed) = engine.in_background(|| {
        let running = shop.environment.spawn_in(crate::support::fixtures::NAMESPACE, &DEPLOY);
        while sandbox.witness().count("qovery:deployEnvironment") == 0 {
            sleep(Duration::from_millis(10));
        }
        let denied = Fault::Error { status: 403, code: String::new(), message: "no".to_owned() };
        sandbox.faults().add("qovery:listVariables", When::Always, denied);
        running.end()
    });
    let run = run.ended(1);
    assert!(performed.len() == 2 && performed.iter().all(|performed| performed.well), "{performed:?}");
    assert!(run.out.contains("note: it cannot be seen in Qovery which identities are proven: Forbidden: no"), "{}", run.out);
    assert!(
        run.out.lines().last().unwrap().starts_with("deployed, and it is not known whether the services get their roles"),
        "{}",
        run.out
    );
}

#[test]
fn an_identity_without_a_proof_is_said_to_have_none() {
    let shop = Shop::new(&BOUND.replace("IRSA_PROOF: required", "IRSA_PROOF: \"off\""));
    let (run, performed) = run_beside(&shop.engine(), &shop);
    let run = run.ended(0);
    // Since pods run only after the environment's deployment, the job is asked once more.
    assert_eq!(performed.len(), 3);
    assert!(run.out.contains("note: identity `APP` is not proven: "), "{}", run.out);
    assert!(run.out.lines().last().unwrap().starts_with("deployed; not proven yet: 1 of 1 identity"), "{}", run.out);
}

#[test]
fn pod_identity_is_proven_by_a_run_after_the_first_pod() {
    let manifest =
        BOUND.replace("    bindServices", "    podIdentity: true\n    bindServices").replace("IRSA_PROOF: required", "IRSA_PROOF: auto");
    let shop = Shop::new(&manifest);
    let Shop { environment, id } = shop;
    let shop = Shop { environment: Environment::with_pod_identity(environment), id };
    add_agent(&shop.environment);
    let (run, performed) = run_beside(&shop.engine(), &shop);
    let run = run.ended(0);
    assert_eq!(performed, [(Event::Force, true), (Event::Deploy, true), (Event::Force, true)]);
    assert!(run.out.contains("note: not every identity is proven, and pods run only now"), "{}", run.out);
    assert!(run.out.lines().last().unwrap().starts_with("deployed and proven: 1 identity"), "{}", run.out);
}
