//! The whole way in and out again: from an account and a cluster where nothing is made to pods that have their roles, and back.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::{
    aws::Aws,
    faults::{Fault, Point, When},
    qovery::{Chart, LeftOut, World},
    witness::Mark,
};
use serde_json::{Value, json};

use crate::support::{
    environment::{Run, Running},
    extent::extent,
    fixtures::NAMESPACE,
    keyless::{ACCOUNT, KEYLESS},
    repository,
    shop::{BOUND_SERVICES, Deployed, Shop, ended_well, in_worlds, nothing_to_do, started, worlds},
};

/// Nothing that Qovery keeps or gives holds a key of AWS.
fn without_keys(shop: &Shop) {
    let sandbox = &shop.environment.sandbox;
    let state = sandbox.qovery(|qovery| qovery.state());
    for variable in state["variables"].as_array().unwrap() {
        let name = variable[1].as_str().unwrap();
        assert!(!name.starts_with("AWS_") && !name.contains("KUBECONFIG"), "{variable}");
    }
    let text = state.to_string();
    for secret in [Aws::admin().access_key_id, Aws::admin().secret_access_key, "AKIA".to_owned(), "ASIA".to_owned()] {
        assert!(!text.contains(&secret), "{secret}");
    }
    assert!(sandbox.aws(|aws| aws.users().is_empty()), "nobody has made a user");
}

#[track_caller]
fn proven(deployed: &Deployed, namespace: &str) {
    assert_eq!(deployed.failures, []);
    let [run] = deployed.runs.as_slice() else { panic!("one run: {}", deployed.runs.len()) };
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    let proof = format!("proven: pods of ServiceAccount `{namespace}/app` get role");
    assert!(run.out.contains(&proof), "{}", run.out);
    assert_eq!(started(deployed), BOUND_SERVICES);
}

#[test]
fn from_nothing_to_a_proven_pod_and_back_to_nothing() {
    // Nothing is skipped, and Qovery takes the chart: what else it does is another test's.
    let plain = |worlds: Vec<World>| -> Vec<World> {
        let mut plain: Vec<World> = Vec::new();
        for world in worlds {
            let world = World { left_out: LeftOut::Deleted, chart: Chart::Taken, ..world };
            if !plain.contains(&world) {
                plain.push(world);
            }
        }
        plain
    };
    in_worlds(&extent(plain(worlds()), plain(World::all())), |world| {
        let shop = Shop::of_nothing(world, KEYLESS);
        let nothing = shop.around();
        shop.bootstrap(&[]).ended(0);
        let bootstrapped = shop.around();
        shop.install_keyless(&[]).ended(0);
        without_keys(&shop);

        let namespace = shop.environment.sandbox.qovery(|qovery| qovery.namespace_of(&shop.id)).unwrap();
        proven(&shop.deploy(), &namespace);
        assert_eq!(shop.pods_with_role(), 2);
        without_keys(&shop);
        nothing_to_do(&shop.deploy());

        let clone = shop.clone_named("shop-clone");
        let its_namespace = shop.environment.sandbox.qovery(|qovery| qovery.namespace_of(&clone)).unwrap();
        proven(&shop.event(&clone, "deploy"), &its_namespace);
        without_keys(&shop);

        ended_well(&shop.delete(&shop.id));
        nothing_to_do(&shop.event(&clone, "deploy"));
        ended_well(&shop.delete(&clone));
        assert_eq!(shop.around(), bootstrapped);
        shop.bootstrap(&["--delete"]).ended(0);
        assert_eq!(shop.around(), nothing);
    });
}

/// `install` has bound the services, and a clone's are bound as the services it is made of: the job needs no token.
#[test]
fn a_job_without_an_api_token_proves_the_role_and_its_clones_do_too() {
    let manifest = KEYLESS.replace("  secrets: [IRSA_QOVERY_TOKEN]\n", "");
    assert_ne!(manifest, KEYLESS);
    let shop = Shop::keyless_in(World::default(), &manifest);
    let first = shop.deploy();
    proven(&first, NAMESPACE);
    assert!(
        first.runs[0].out.contains("note: services are not bound by this run: `IRSA_QOVERY_TOKEN` is not set."),
        "{}",
        first.runs[0].out
    );
    let clone = shop.clone_named("shop-clone");
    let namespace = shop.environment.sandbox.qovery(|qovery| qovery.namespace_of(&clone)).unwrap();
    proven(&shop.event(&clone, "deploy"), &namespace);
    nothing_to_do(&shop.deploy());
    for environment in [&clone, &shop.id] {
        ended_well(&shop.delete(environment));
    }
    assert_eq!(shop.environment.roles(), 1, "the job's own");
}

/// What a person types: `bootstrap`, and the command that its report ends with.
#[test]
fn two_commands_lead_from_nothing_to_the_proof() {
    let shop = Shop::of_nothing(World::default(), KEYLESS);
    let boundary = repository::root().join("docs/permissions/boundary.json").display().to_string();
    let first = shop.bootstrap(&["--boundary", &boundary]).ended(0);
    let next = first.out.lines().find_map(|line| line.strip_prefix("next: qovery-irsa ")).unwrap_or_else(|| panic!("{}", first.out));
    let next = next.replace("ENVIRONMENT_ID", &shop.id);
    let words: Vec<&str> = next.split(' ').collect();
    assert_eq!(words.last(), Some(&"--deploy"));
    let (run, performed) = shop.engine().in_background(|| shop.environment.run(&words));
    let run = run.ended(0);
    assert!(run.out.lines().last().unwrap().starts_with("deployed and proven: 1 identity"), "{}", run.out);
    assert!(performed.iter().all(|deployment| deployment.well), "{performed:?}");
    assert_eq!(shop.pods_with_role(), 2);
    without_keys(&shop);
    let role =
        shop.environment.sandbox.aws(|aws| aws.roles().values().find(|role| role.path.starts_with("/qovery/demo/")).cloned()).unwrap();
    assert_eq!(role.boundary.as_deref(), Some("arn:aws:iam::123456789012:policy/qovery-irsa-demo-boundary"));
    // The same two commands again: nothing is changed.
    let again = shop.bootstrap(&["--boundary", &boundary]).ended(0);
    assert_eq!(again.writes, 0, "{}", again.out);
    let state = of_clouds(&shop);
    let installed: Vec<&str> = words.iter().copied().filter(|word| *word != "--deploy").collect();
    let again = shop.environment.run(&installed).ended(0);
    assert_eq!((again.writes, of_clouds(&shop)), (0, state), "{}", again.out);
}

#[test]
fn where_qovery_refuses_the_role_of_the_chart_nothing_is_deployed_and_its_log_says_so() {
    let shop = Shop::keyless_in(World { chart: Chart::RoleRefused, ..World::default() }, KEYLESS);
    let deployed = shop.deploy();
    assert!(deployed.runs.is_empty() && deployed.started.is_empty());
    let (service, why) = &deployed.failures[0];
    assert_eq!(service, "aws-identity-account");
    assert!(why.starts_with("Cannot deploy Role"), "{why}");
}

/// The way out in docs/troubleshooting.md, step by step.
#[test]
fn where_qovery_refuses_the_role_cluster_access_is_the_other_way() {
    let shop = Shop::of_nothing(World { chart: Chart::RoleRefused, ..World::default() }, KEYLESS);
    shop.bootstrap(&["--cluster-access", NAMESPACE]).ended(0);
    shop.install_keyless(&[]).ended(0);
    assert_eq!(shop.deploy().failures[0].0, "aws-identity-account");
    let account = shop.service(&shop.id, "aws-identity-account");
    shop.ask("DELETE", &format!("/helm/{account}"), None);
    shop.perform();
    let other = KEYLESS.lines().map(|line| match line.trim_start() {
        chart if chart.starts_with("chart:") => "  advancedSettings: {security.service_account_name: qovery-irsa-sweep}",
        _ => line,
    });
    shop.environment.write_manifest(&other.collect::<Vec<_>>().join("\n"));
    let installed = shop.environment.run(&["install", "--environment", &shop.id]).ended(0);
    assert!(!installed.out.contains("cannot reach AWS"), "{}", installed.out);
    ended_well(&shop.deploy());
    shop.deploy();
    assert_eq!(shop.pods_with_role(), 2);
    ended_well(&shop.delete(&shop.id));
}

/// What is documented in docs/events.md: the chart keeps what it made.
#[test]
fn the_chart_is_deployed_again_uninstalled_and_installed_again() {
    let shop = Shop::keyless_in(World::default(), KEYLESS);
    ended_well(&shop.deploy());
    let objects = || {
        let object = |plural: &str| {
            let sandbox = &shop.environment.sandbox;
            let object = sandbox.kubernetes(|kubernetes| kubernetes.object(plural, NAMESPACE, ACCOUNT).cloned()).unwrap();
            let metadata = &object["metadata"];
            json!([metadata["uid"], metadata["annotations"], metadata["labels"], object["rules"], object["roleRef"], object["subjects"]])
        };
        ["serviceaccounts", "roles", "rolebindings"].map(object)
    };
    let made = objects();
    nothing_to_do(&shop.deploy());
    assert_eq!(objects(), made, "deployed again nothing of it changes");
    let helm = shop.service(&shop.id, "aws-identity-account");
    shop.environment.sandbox.qovery(|qovery| qovery.uninstall(&helm)).unwrap();
    assert_eq!(shop.perform().failures, []);
    assert_eq!(objects(), made, "uninstalled all of it stays");
    nothing_to_do(&shop.deploy());
    assert_eq!(objects(), made, "installed again it is the same release");
    ended_well(&shop.delete(&shop.id));
}

#[test]
fn the_service_account_is_gone_at_the_delete_event() {
    let shop = Shop::keyless_in(World::default(), KEYLESS);
    ended_well(&shop.deploy());
    shop.environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("serviceaccounts", NAMESPACE, ACCOUNT));
    let deleted = shop.delete(&shop.id);
    assert!(deleted.runs.is_empty());
    let (service, why) = &deleted.failures[0];
    assert_eq!(service, "aws-identity");
    assert!(why.contains("serviceaccount \"qovery-irsa\" not found"), "{why}");
    assert!(shop.environment.sandbox.qovery(|qovery| qovery.has_environment(&shop.id)), "the environment stays");
    // The way out: the chart is deployed again, then the environment is deleted.
    ended_well(&shop.deploy());
    ended_well(&shop.delete(&shop.id));
    assert!(!shop.environment.sandbox.qovery(|qovery| qovery.has_environment(&shop.id)));
    assert_eq!(shop.environment.roles(), 1, "the job's own");
}

/// The writes of the first deployment, and what is there after it.
fn undisturbed() -> (Vec<(String, u64)>, Value) {
    let shop = Shop::keyless_in(World::default(), KEYLESS);
    let before = shop.environment.sandbox.witness().mark();
    ended_well(&shop.deploy());
    let mut numbers = BTreeMap::<String, u64>::new();
    let calls = shop.environment.sandbox.witness().since(before).into_iter().filter(|call| call.service != "qovery");
    let numbered = calls.map(|call| {
        let number = numbers.entry(call.operation.clone()).or_default();
        *number += 1;
        (call.changed, (call.operation, *number))
    });
    let writes = numbered.filter(|(changed, _)| *changed).map(|(_, write)| write).collect();
    (writes, of_clouds(&shop))
}

fn of_clouds(shop: &Shop) -> Value {
    let state = shop.environment.sandbox.state();
    json!([state["aws"], state["kubernetes"]])
}

/// Kills the run when its write was done and before it was answered.
fn killed_in(shop: &Shop, mut running: Running, before: Mark) -> Run {
    let deadline = Instant::now() + Duration::from_secs(30);
    let witness = shop.environment.sandbox.witness();
    while !witness.since(before).iter().any(|call| call.faults.contains(&"hang") && call.changed) {
        assert!(Instant::now() < deadline, "the write never came");
        sleep(Duration::from_millis(2));
    }
    running.child.kill().unwrap();
    running.end()
}

#[test]
fn a_first_run_that_is_killed_after_any_write_is_completed_by_the_next_deployment() {
    let (writes, end) = undisturbed();
    assert!(writes.len() >= 4, "{writes:?}");
    for (operation, number) in writes {
        let shop = Shop::keyless_in(World::default(), KEYLESS);
        let hang = Fault::Hang { point: Point::After, duration: Duration::from_mins(1) };
        let rule = shop.environment.sandbox.faults().add(&operation, When::Nth(number), hang);
        let before = shop.environment.sandbox.witness().mark();
        shop.ask("POST", &format!("/environment/{}/deploy", shop.id), None);
        let killed = shop.perform_as(|_, running| killed_in(&shop, running, before));
        assert_eq!((killed.runs[0].code, killed.started.len()), (-1, 0), "{operation}: no service starts");
        shop.environment.sandbox.faults().remove(rule);
        let again = shop.deploy();
        ended_well(&again);
        assert_eq!(started(&again), BOUND_SERVICES, "{operation}");
        assert_eq!(of_clouds(&shop), end, "killed after {operation}");
    }
}
