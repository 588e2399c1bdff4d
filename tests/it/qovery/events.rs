//! Every event of an environment, one by one as `docs/events.md` has them, on the local Qovery.

use qovery_irsa_sandbox::{
    faults::{Fault, When},
    qovery::{Chart, LeftOut, SettingsRead, World},
};
use serde_json::json;

use crate::support::{
    extent::extent,
    fixtures::{EC2_TRUST, NAMESPACE},
    repository::read,
    shop::{BOUND, BOUND_SERVICES, Shop, UNBOUND, ended_well, in_worlds, nothing_to_do, started, worlds},
};

#[test]
fn the_first_deploy_makes_and_binds_and_the_second_shows_it() {
    let shop = Shop::installed(BOUND);
    let first = shop.deploy();
    assert_eq!(first.runs[0].code, 0, "{}", first.runs[0].err);
    assert!(
        first.runs[0].out.contains("note: left to do once this deployment has ended: deploy application `api`, container `worker` again. "),
        "{}",
        first.runs[0].out
    );
    assert_eq!(started(&first), UNBOUND);
    let second = shop.deploy();
    nothing_to_do(&second);
    assert_eq!(started(&second), BOUND_SERVICES);
}

/// Whenever Qovery reads the settings: who does what the report says has what it promises, and is told nothing more.
#[test]
fn what_is_left_to_do_is_said_and_is_right_whenever_settings_are_read() {
    for settings in [SettingsRead::AtStart, SettingsRead::PerStage] {
        let shop = Shop::installed_in(World { settings, ..World::default() }, BOUND);
        let first = shop.deploy();
        let said = "left to do once this deployment has ended: deploy application `api`, container `worker` again.";
        assert!(first.runs[0].out.contains(said), "{}", first.runs[0].out);
        // Not a word of when they have it, which nobody knows.
        assert_eq!(started(&first) == BOUND_SERVICES, settings == SettingsRead::PerStage);
        let second = shop.deploy();
        nothing_to_do(&second);
        assert!(!second.runs[0].out.contains("left to do"), "{}", second.runs[0].out);
        assert_eq!((started(&second), shop.pods_with_role()), (BOUND_SERVICES.to_vec(), 2));
        // Bound before the first deployment: nothing is left, and nothing is said.
        let shop = Shop::installed_in(World { settings, ..World::default() }, BOUND);
        shop.environment.run(&["install", "--bind"]).ended(0);
        let only = shop.deploy();
        ended_well(&only);
        assert!(!only.runs[0].out.contains("left to do"), "{}", only.runs[0].out);
        assert_eq!((started(&only), shop.pods_with_role()), (BOUND_SERVICES.to_vec(), 2));
    }
}

#[test]
fn a_redeploy_is_a_start_that_finds_nothing_to_do() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    let again = shop.event(&shop.id, "redeploy");
    nothing_to_do(&again);
    assert!(again.runs[0].out.contains("proven: pods of ServiceAccount `z1a2b3c4-shop/app` get role"), "{}", again.runs[0].out);
    assert_eq!(started(&again), BOUND_SERVICES);
}

#[test]
fn a_stop_changes_nothing_and_the_deploy_after_it_finds_all_there() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    let stopped = shop.event(&shop.id, "stop");
    nothing_to_do(&stopped);
    assert!(stopped.started.is_empty() && shop.environment.roles() == 1);
    let again = shop.deploy();
    nothing_to_do(&again);
    assert_eq!(started(&again), BOUND_SERVICES);
}

#[test]
fn the_delete_of_the_environment_takes_away_what_it_added() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    shop.ask("DELETE", &format!("/environment/{}", shop.id), None);
    let deleted = shop.perform();
    assert_eq!(deleted.runs[0].code, 0, "{}", deleted.runs[0].err);
    assert_eq!(shop.environment.roles(), 0);
    assert!(!shop.environment.sandbox.qovery(|qovery| qovery.has_environment(&shop.id)));
}

#[test]
fn a_force_run_does_the_event_that_is_chosen_and_starts_no_service() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    let job = shop.service(&shop.id, "aws-identity");
    let force = |event: &str| {
        shop.ask("POST", &format!("/job/{job}/deploy?forceEvent={event}"), Some(&json!({})));
        shop.perform()
    };
    shop.environment.change_role(|role| role.attached.clear());
    let repaired = force("START");
    assert_eq!(repaired.runs[0].done().len(), 1, "{}", repaired.runs[0].out);
    assert!(repaired.started.is_empty());
    nothing_to_do(&force("STOP"));
    // A delete event alone removes nothing that a running service uses, unless it is told to.
    let kept = force("DELETE");
    assert_eq!((kept.runs[0].code, shop.environment.roles()), (0, 1), "{}{}", kept.runs[0].out, kept.runs[0].err);
    shop.set_of_job(&shop.id, "IRSA_ON_DELETE", "remove");
    assert_eq!(force("DELETE").runs[0].code, 0);
    assert_eq!((shop.environment.roles(), shop.environment.service_account()), (0, None));
    assert_eq!(shop.account_of("api"), "app", "services are not unbound");
    assert_eq!(force("START").runs[0].code, 0);
    assert_eq!(shop.environment.roles(), 1);
}

#[test]
fn a_clone_has_its_own_role_from_its_first_deployment_and_leaves_the_first_environment_alone() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    let clone = shop.clone_named("shop-clone");
    let deployed = shop.event(&clone, "deploy");
    assert_eq!(deployed.runs[0].code, 0, "{}", deployed.runs[0].err);
    assert!(!deployed.runs[0].out.contains("bind "), "its services are bound already: {}", deployed.runs[0].out);
    assert_eq!(started(&deployed), BOUND_SERVICES);
    assert_eq!(shop.environment.roles(), 2);

    shop.ask("DELETE", &format!("/environment/{clone}"), None);
    let deleted = shop.perform();
    assert_eq!(deleted.runs[0].code, 0, "{}", deleted.runs[0].err);
    assert_eq!(shop.environment.roles(), 1);
    nothing_to_do(&shop.deploy());
}

#[test]
fn previews_come_and_go_as_clones_and_share_a_role_if_the_manifest_says_so() {
    let manifest = BOUND.replace("    role:\n", "    role:\n      scope: shared\n      name: together\n");
    let shop = Shop::installed(&manifest);
    shop.deploy();
    let previews: Vec<String> = (1..=3).map(|number| shop.clone_named(&format!("pr-{number}"))).collect();
    for preview in &previews {
        assert_eq!(shop.event(preview, "deploy").runs[0].code, 0);
    }
    let trust = || shop.environment.sandbox.aws(|aws| aws.roles()["together"].trust.clone());
    assert_eq!((shop.environment.roles(), trust().matches("system:serviceaccount:").count()), (1, 4));
    for preview in &previews {
        shop.ask("DELETE", &format!("/environment/{preview}"), None);
        assert_eq!(shop.perform().runs[0].code, 0);
    }
    assert_eq!(trust().matches("system:serviceaccount:").count(), 1);
    nothing_to_do(&shop.deploy());
}

#[test]
fn a_job_that_fails_ends_the_deployment_before_a_service_starts() {
    let shop = Shop::installed(BOUND);
    shop.environment.sandbox.aws(|aws| {
        aws.add_role("taken", "/", EC2_TRUST);
    });
    shop.write_manifest(&BOUND.replace("    role:\n", "    role:\n      name: taken\n"));
    let deployed = shop.deploy();
    assert_eq!((deployed.runs[0].code, deployed.started.len()), (3, 0), "{}", deployed.runs[0].err);
    shop.write_manifest(BOUND);
    assert_eq!(started(&shop.deploy()), UNBOUND);
}

#[test]
fn an_application_reads_the_outputs_by_an_alias_that_its_clones_have_too() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    let api = shop.service(&shop.id, "api");
    let role = format!("arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/{}", shop.environment.role_name());
    assert_eq!(policy_of(&shop, &api), role, "found by its end");

    let seen = shop.ask("GET", &format!("/variable?parent_id={api}&scope=APPLICATION"), None);
    let output = seen["results"]
        .as_array()
        .unwrap()
        .iter()
        .find(|variable| variable["value"] == *role && variable["aliased_variable"].is_null())
        .unwrap();
    let digits = shop.service(&shop.id, "aws-identity")[..8].to_uppercase();
    assert_eq!(output["key"], format!("QOVERY_OUTPUT_JOB_Z{digits}_IDENTITY_APP_ROLE_ARN"));
    let alias = json!({ "key": "APP_ROLE_ARN", "alias_scope": "ENVIRONMENT", "alias_parent_id": shop.id });
    shop.ask("POST", &format!("/variable/{}/alias", output["id"].as_str().unwrap()), Some(&alias));
    assert_eq!(policy_of(&shop, &api), role);

    let clone = shop.clone_named("shop-clone");
    shop.event(&clone, "deploy");
    let of_clone = policy_of(&shop, &shop.service(&clone, "api"));
    assert!(of_clone != role && of_clone.contains("shop-clone"), "{of_clone}");
}

/// Which role the example application lets in, run with what Qovery gives the service.
fn policy_of(shop: &Shop, service: &str) -> String {
    let variables = shop.environment.sandbox.qovery(|qovery| qovery.variables_of(service));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/outputs/bucket-policy.sh");
    let output = std::process::Command::new("sh")
        .arg(script)
        .env_clear()
        .envs(variables)
        .env("PATH", "/usr/bin:/bin")
        .env("BUCKET", "theirs")
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let policy: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    policy["Statement"][0]["Principal"]["AWS"].as_str().unwrap().to_owned()
}

/// A role of somebody else, below the path of the environment.
fn theirs(shop: &Shop) -> serde_json::Value {
    shop.environment.sandbox.aws(|aws| {
        aws.add_role("theirs", &format!("/qovery/demo/{NAMESPACE}/"), EC2_TRUST);
    });
    seen(shop)
}

fn seen(shop: &Shop) -> serde_json::Value {
    shop.environment.sandbox.aws(|aws| json!(format!("{:?}", aws.roles()["theirs"])))
}

/// Deploy, deploy, clone, stop, deploy, a delete that fails, delete: whatever Qovery is like where its sources are silent.
#[test]
fn a_whole_life_leaves_nothing_behind_in_any_world() {
    // No service is skipped, and each was deployed.
    let few: Vec<World> = worlds().into_iter().map(|world| World { left_out: LeftOut::Deleted, ..world }).collect();
    // There is no chart.
    let all = World::all().into_iter().filter(|world| (world.left_out, world.chart) == (LeftOut::Deleted, Chart::Taken));
    let all: Vec<World> = all.collect();
    in_worlds(&extent(few, all), |world| {
        let shop = Shop::installed_in(world, BOUND);
        let before = theirs(&shop);
        ended_well(&shop.deploy());
        let again = shop.deploy();
        nothing_to_do(&again);
        assert_eq!(started(&again), BOUND_SERVICES);
        let clone = shop.clone_named("shop-clone");
        ended_well(&shop.event(&clone, "deploy"));
        assert_eq!(shop.environment.roles(), 3);
        nothing_to_do(&shop.event(&shop.id, "stop"));
        ended_well(&shop.deploy());
        let rule = shop.environment.sandbox.faults().add("iam:DeleteRole", When::Always, Fault::error(403, "AccessDenied"));
        assert_eq!(shop.delete(&shop.id).runs[0].code, 1);
        assert!(shop.environment.sandbox.qovery(|qovery| qovery.has_environment(&shop.id)), "it is not deleted");
        shop.environment.sandbox.faults().remove(rule);
        ended_well(&shop.delete(&shop.id));
        assert!(!shop.environment.sandbox.qovery(|qovery| qovery.has_environment(&shop.id)));
        assert_eq!(shop.environment.roles(), 2, "that of the clone, and theirs");
        nothing_to_do(&shop.event(&clone, "deploy"));
        ended_well(&shop.delete(&clone));
        assert_eq!((shop.environment.roles(), seen(&shop)), (1, before));
    });
}

#[test]
fn a_job_that_is_deleted_alone_with_a_token_that_is_not_valid_keeps_what_pods_use() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    shop.deploy();
    shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", "qov_nobody_knows_this_one");
    shop.set_of_job(&shop.id, "IRSA_TIMEOUT", "20s");
    let deleted = shop.delete_job();
    assert_eq!((deleted.runs[0].code, shop.environment.roles()), (0, 1), "{}{}", deleted.runs[0].out, deleted.runs[0].err);
    assert!(deleted.runs[0].out.contains("Unauthorized"), "{}", deleted.runs[0].out);
}

#[test]
fn an_uninstall_ends_well_and_what_it_leaves_the_delete_of_the_environment_takes() {
    in_worlds(&worlds(), |world| {
        let shop = Shop::installed_in(world, BOUND);
        shop.deploy();
        ended_well(&shop.event(&shop.id, "uninstall"));
        ended_well(&shop.delete(&shop.id));
        assert_eq!(shop.environment.roles(), 0);
    });
}

#[test]
fn a_token_that_has_expired_costs_a_note_and_no_deployment() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", "qov_nobody_knows_this_one");
    let deployed = shop.deploy();
    nothing_to_do(&deployed);
    assert!(deployed.runs[0].out.contains("note: the services are not bound, since Qovery cannot be asked"), "{}", deployed.runs[0].out);
    assert_eq!(started(&deployed), BOUND_SERVICES);
    ended_well(&shop.delete(&shop.id));
    assert_eq!(shop.environment.roles(), 0);
}

/// The aliases of an output that an earlier version wrote are variables of the next run, and no settings of it.
#[test]
fn an_environment_with_aliases_of_earlier_outputs_goes_on() {
    let shop = Shop::installed(BOUND);
    shop.deploy();
    for (name, value) in [("SERVICE_ACCOUNT_NAME", "app"), ("ROLE_ARN", "arn:aws:iam::123456789012:role/app")] {
        shop.environment.sandbox.qovery(|qovery| qovery.set_variable(&shop.id, "ENVIRONMENT", name, value, false));
    }
    nothing_to_do(&shop.deploy());
    nothing_to_do(&shop.event(&shop.id, "stop"));
    ended_well(&shop.delete(&shop.id));
    assert_eq!(shop.environment.roles(), 0);
}

#[test]
fn the_page_names_every_event_and_has_a_test_for_it() {
    let page = read("docs/events.md");
    let table = page.split("## What to know").next().unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).skip(1).collect();
    assert_eq!(
        rows,
        [
            "first deploy",
            "deploy again",
            "redeploy",
            "stop",
            "deploy after a stop",
            "delete of the environment",
            "delete that fails",
            "delete of the job alone, with an API token",
            "delete of the environment, after its job was replaced by another",
            "delete of the job alone, without a token",
            "delete of the job alone, with a token that is not valid",
            "delete of the job and some services in one request",
            "uninstall of the job alone",
            "uninstall of the environment",
            "start with a token that is not valid",
            "the job is skipped in its stage",
            "a service is skipped",
            "force run of the job",
            "clone",
            "preview of a pull request",
            "delete of a clone or preview",
        ]
    );
}
