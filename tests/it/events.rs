//! Every event of an environment, one by one as `docs/events.md` has them, on the local Qovery.

use serde_json::json;

use crate::{
    harness::NAMESPACE,
    qovery::{BOUND, Deployed, Shop},
};

fn nothing_to_do(deployed: &Deployed) {
    let [run] = deployed.runs.as_slice() else { panic!("one run") };
    assert_eq!((run.code, run.writes), (0, 0), "{}{}", run.out, run.err);
    assert!(run.out.lines().last().unwrap().starts_with("nothing to do"), "{}", run.out);
}

fn started(deployed: &Deployed) -> Vec<(&str, &str)> {
    deployed.started.iter().map(|(name, account)| (name.as_str(), account.as_str())).collect()
}

const UNBOUND: [(&str, &str); 3] = [("api", ""), ("db", ""), ("worker", "")];
const BOUND_SERVICES: [(&str, &str); 3] = [("api", "app"), ("db", ""), ("worker", "app")];

#[test]
fn the_first_deploy_makes_and_binds_and_the_second_shows_it() {
    let shop = Shop::installed(BOUND);
    let first = shop.deploy();
    assert_eq!(first.runs[0].code, 0, "{}", first.runs[0].err);
    assert!(first.runs[0].out.contains("from the next deployment on"), "{}", first.runs[0].out);
    assert_eq!(started(&first), UNBOUND);
    let second = shop.deploy();
    nothing_to_do(&second);
    assert_eq!(started(&second), BOUND_SERVICES);
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
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        aws.add_role("taken", "/", trust);
    });
    shop.environment.write_manifest(&BOUND.replace("    role:\n", "    role:\n      name: taken\n"));
    let deployed = shop.deploy();
    assert_eq!((deployed.runs[0].code, deployed.started.len()), (3, 0), "{}", deployed.runs[0].err);
    shop.environment.write_manifest(BOUND);
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
    let output = seen["results"].as_array().unwrap().iter().find(|variable| variable["value"] == *role).unwrap();
    let digits = shop.service(&shop.id, "aws-identity")[..8].to_uppercase();
    assert_eq!(output["key"], format!("QOVERY_OUTPUT_JOB_Z{digits}_ROLE_ARN"));
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

#[test]
fn the_page_names_every_event_and_has_a_test_for_it() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).skip(1).collect();
    assert_eq!(
        rows,
        [
            "first deploy",
            "deploy again",
            "redeploy",
            "stop",
            "deploy after a stop",
            "delete of the environment",
            "force run of the job",
            "clone",
            "preview of a pull request",
            "delete of a clone or preview",
        ]
    );
}
