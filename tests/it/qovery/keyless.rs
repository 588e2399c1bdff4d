//! `install` of a job without a key: the chart's Helm service, the manifest that travels, services that are bound before their first start.

use qovery_irsa_sandbox::{
    faults::{Fault, When},
    qovery::{Put, SettingsRead, World},
};
use serde_json::{Map, Value, json};

use crate::support::shop::{BOUND, BOUND_SERVICES, Shop, UNBOUND, nothing_to_do, started};

const ROLE: &str = "arn:aws:iam::123456789012:role/qovery-irsa-prod";
const POLICY: &str = r#"{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}"#;

/// The manifest of a keyless job; its policy is in a file.
fn keyless() -> String {
    BOUND
        .replace(
            "  secrets: [IRSA_QOVERY_TOKEN]\n",
            &format!("  role: {ROLE}\n  chart: {{git: {{url: \"https://github.com/acme/qovery-irsa\"}}}}\n"),
        )
        .replace("    role:\n", "    role:\n      inlinePolicies: {own: {file: policies/own.json}}\n")
}

/// An environment in which nothing was deployed, with that manifest and its file.
fn shop(world: World) -> Shop {
    let shop = Shop::fresh(&keyless());
    shop.environment.sandbox.qovery(|qovery| qovery.set_world(world));
    write_policy(&shop, POLICY);
    shop
}

fn write_policy(shop: &Shop, text: &str) {
    let folder = std::path::Path::new(&shop.environment.variables["IRSA_MANIFEST"]).parent().unwrap().join("policies");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("own.json"), text).unwrap();
}

fn helm(shop: &Shop) -> Map<String, Value> {
    let id = shop.service(&shop.id, "aws-identity-account");
    shop.environment.sandbox.qovery(|qovery| qovery.helm(&id)).unwrap()
}

/// The values that the chart gets.
fn values(shop: &Shop) -> Value {
    let content = helm(shop)["values_override"]["file"]["raw"]["values"][0]["content"].clone();
    serde_json::from_str(content.as_str().unwrap()).unwrap()
}

#[test]
fn a_keyless_job_is_installed_by_one_command_and_again_changes_nothing() {
    for put in [Put::Resets, Put::Keeps] {
        let shop = shop(World { put, ..World::default() });
        let dry = shop.environment.run(&["install", "--dry-run"]).ended(10);
        assert_eq!(dry.writes, 0);
        let run = shop.environment.run(&["install"]).ended(0);
        assert_eq!(run.done(), dry.planned());
        assert_eq!(
            run.done(),
            [
                "create lifecycle job `aws-identity`",
                "upload `qovery.yml` to `/qovery-irsa/qovery.yml` of the job",
                "upload `policies/own.json` to `/qovery-irsa/policies/own.json` of the job",
                "create variable `IRSA_MANIFEST` of the job",
                "create variable `IRSA_PROOF` of the job",
                "set advanced settings of the job: `security.automount_service_account_token` to `true`, `security.service_account_name` to `\"qovery-irsa\"`",
                "create Helm service `aws-identity-account`, which makes the job's ServiceAccount",
                "create deployment stage `identities-account`",
                "move deployment stage `identities-account` before `DATABASE DEFAULT`",
                "put the Helm service into deployment stage `identities-account`",
                "create deployment stage `identities`",
                "move deployment stage `identities` before `DATABASE DEFAULT`",
                "put the job into deployment stage `identities`",
                "bind application `api` to ServiceAccount `app`",
                "bind container `worker` to ServiceAccount `app`",
            ]
        );
        assert_eq!(values(&shop), json!({ "serviceAccount": "qovery-irsa", "roleArn": ROLE }));
        let stages = shop.environment.sandbox.qovery(|qovery| qovery.stages(&shop.id));
        assert_eq!(
            (stages[0].1.as_slice(), stages[1].1.as_slice()),
            (["aws-identity-account".to_owned()].as_slice(), ["aws-identity".to_owned()].as_slice())
        );
        let job = shop.service(&shop.id, "aws-identity");
        let (variables, files) = shop.environment.sandbox.qovery(|qovery| (qovery.variables_of(&job), qovery.files_of(&job)));
        assert!(variables.keys().all(|name| !name.starts_with("AWS_")), "{variables:?}");
        assert_eq!(files["/qovery-irsa/qovery.yml"], keyless());
        assert_eq!(files["/qovery-irsa/policies/own.json"], POLICY);
        let sent = shop.environment.sandbox.witness().calls();
        let sent =
            sent.iter().filter(|call| call.operation == "qovery:createVariable" && call.parameters["body"]["mount_path"].is_string());
        assert!(sent.clone().count() == 2 && sent.clone().all(|call| call.parameters["body"]["enable_interpolation_in_file"] == false));

        let state = shop.environment.sandbox.state();
        let again = shop.environment.run(&["install"]).ended(0);
        assert_eq!((again.writes, shop.environment.sandbox.state() == state), (0, true), "{}", again.out);
    }
}

#[test]
fn an_edit_changes_just_that_and_what_the_console_set_stays() {
    for put in [Put::Resets, Put::Keeps] {
        let shop = shop(World { put, ..World::default() });
        shop.environment.run(&["install"]).ended(0);
        let id = shop.service(&shop.id, "aws-identity-account");
        let mut edited = helm(&shop);
        edited.insert("timeout_sec".to_owned(), json!(77));
        edited.insert("arguments".to_owned(), json!(["--wait"]));
        shop.ask("PUT", &format!("/helm/{id}"), Some(&Value::Object(edited)));
        assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0, "what the manifest does not name is no difference");
        let other = "arn:aws:iam::123456789012:role/other";
        let run = shop.environment.run(&["install", "--role", other]).ended(0);
        assert_eq!(run.done(), ["edit Helm service `aws-identity-account`: `values`"]);
        let now = helm(&shop);
        assert_eq!((&values(&shop)["roleArn"], &now["timeout_sec"], &now["arguments"]), (&json!(other), &json!(77), &json!(["--wait"])));
        assert_eq!(shop.environment.run(&["install", "--role", other]).ended(0).writes, 0);
    }
}

#[test]
fn the_chart_may_come_from_a_helm_repository_and_move_there() {
    let shop = shop(World::default());
    shop.environment.run(&["install"]).ended(0);
    let git = "git: {url: \"https://github.com/acme/qovery-irsa\"}";
    shop.environment.write_manifest(&keyless().replace(git, "repository: charts, version: \"1.0\""));
    let refused = shop.environment.run(&["install"]).ended(3);
    assert!(refused.writes == 0 && refused.err.contains("the organization has no Helm repository `charts`"), "{}", refused.err);
    let repository = shop.environment.sandbox.qovery(|qovery| qovery.add_helm_repository("charts"));
    shop.environment.run(&["install"]).ended(0);
    assert_eq!(
        helm(&shop)["source"],
        json!({ "helm_repository": { "repository": repository, "chart_name": "qovery-irsa", "chart_version": "1.0" } })
    );
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
    shop.environment.write_manifest(&keyless());
    shop.environment.run(&["install"]).ended(0);
    assert_eq!(helm(&shop)["source"]["git_repository"]["url"], "https://github.com/acme/qovery-irsa");
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
}

#[test]
fn a_file_that_changes_is_uploaded_again_and_one_that_is_not_named_any_more_is_deleted() {
    let shop = shop(World::default());
    shop.environment.run(&["install"]).ended(0);
    let changed = POLICY.replace("GetObject", "PutObject");
    write_policy(&shop, &changed);
    let run = shop.environment.run(&["install"]).ended(0);
    assert_eq!(run.done(), ["upload `policies/own.json` again to `/qovery-irsa/policies/own.json` of the job"]);
    let job = shop.service(&shop.id, "aws-identity");
    let files = || shop.environment.sandbox.qovery(|qovery| qovery.files_of(&job));
    assert_eq!(files()["/qovery-irsa/policies/own.json"], changed);
    shop.environment.write_manifest(&keyless().replace("      inlinePolicies: {own: {file: policies/own.json}}\n", ""));
    let run = shop.environment.run(&["install"]).ended(0);
    assert_eq!(
        run.done(),
        ["delete file `/qovery-irsa/policies/own.json` of the job", "upload `qovery.yml` again to `/qovery-irsa/qovery.yml` of the job"]
    );
    assert_eq!(files().len(), 1);
    write_policy(&shop, "no JSON");
    shop.environment.write_manifest(&keyless());
    let run = shop.environment.run(&["install"]).ended(2);
    assert!(run.err.contains("policies/own.json` is not JSON"), "{}", run.err);
    assert_eq!(run.writes, 0, "nothing is sent of a manifest that the job could not use");
}

/// Whether Qovery shows the content of a file is not confirmed.
#[test]
fn where_qovery_shows_no_content_of_files_they_are_uploaded_by_each_run_and_the_run_ends() {
    let shop = shop(World::default());
    shop.environment.sandbox.qovery(qovery_irsa_sandbox::qovery::Qovery::hide_files);
    shop.environment.run(&["install"]).ended(0);
    for _ in 0..2 {
        let again = shop.environment.run(&["install"]).ended(0);
        assert_eq!(again.done().len(), 2, "{}", again.out);
        assert!(again.done().iter().all(|done| done.starts_with("upload `")), "{}", again.out);
    }
}

#[test]
fn faults_that_pass_and_answers_that_are_lost_leave_one_of_each() {
    for operation in ["qovery:createHelm", "qovery:createVariable", "qovery:createEnvironmentDeploymentStage", "qovery:listHelms"] {
        for fault in [Fault::error(503, ""), Fault::lost_answer()] {
            let shop = shop(World::default());
            shop.environment.sandbox.faults().add(operation, When::Nth(1), fault.clone());
            shop.environment.run(&["install"]).ended(0);
            assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0, "{operation} {fault:?}");
            let stages = shop.environment.sandbox.qovery(|qovery| qovery.stages(&shop.id));
            assert_eq!(
                (stages[0].0.as_str(), stages[1].0.as_str(), stages.len()),
                ("identities-account", "identities", 6),
                "{operation} {fault:?}"
            );
        }
    }
}

#[test]
fn a_file_that_is_gone_by_now_is_no_failure() {
    let shop = shop(World::default());
    shop.environment.run(&["install"]).ended(0);
    shop.environment.write_manifest(&keyless().replace("      inlinePolicies: {own: {file: policies/own.json}}\n", ""));
    shop.environment.sandbox.faults().add("qovery:deleteVariable", When::Nth(1), Fault::lost_answer());
    shop.environment.run(&["install"]).ended(0);
    let job = shop.service(&shop.id, "aws-identity");
    assert_eq!(shop.environment.sandbox.qovery(|qovery| qovery.files_of(&job)).len(), 1);
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
}

#[test]
fn keys_that_the_job_inherits_are_refused_with_the_way_out() {
    let shop = shop(World::default());
    shop.environment.sandbox.qovery(|qovery| qovery.set_project_variable("AWS_ACCESS_KEY_ID", "AKIA-of-the-project", true));
    let run = shop.environment.run(&["install"]).ended(3);
    assert!(
        run.err.contains("the job would have secret `AWS_ACCESS_KEY_ID` of the project, which keeps it from its own role"),
        "{}",
        run.err
    );
    assert!(run.writes == 0 && !run.err.contains("AKIA-of"), "{}", run.err);
    shop.environment.sandbox.qovery(|qovery| qovery.remove_project_variable("AWS_ACCESS_KEY_ID"));
    shop.environment.run(&["install"]).ended(0);
}

#[test]
fn where_nothing_was_deployed_one_deployment_is_enough_whenever_settings_are_read() {
    for settings in [SettingsRead::AtStart, SettingsRead::PerStage] {
        let shop = Shop::fresh(BOUND);
        shop.environment.sandbox.qovery(|qovery| qovery.set_world(World { settings, ..World::default() }));
        shop.environment.run(&["install"]).ended(0);
        let deployed = shop.deploy();
        assert_eq!((deployed.runs[0].code, started(&deployed)), (0, BOUND_SERVICES.to_vec()), "{settings:?} {}", deployed.runs[0].err);
        nothing_to_do(&shop.deploy());
        assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
    }
}

#[test]
fn where_something_runs_the_job_binds_unless_install_is_asked_to() {
    let shop = Shop::new(BOUND);
    let run = shop.environment.run(&["install"]).ended(0);
    assert!(
        run.out.contains("note: application `api`, container `worker`: the job binds what is not bound yet on its next run"),
        "{}",
        run.out
    );
    assert_eq!(shop.account_of("api"), "");
    let run = shop.environment.run(&["install", "--bind"]).ended(0);
    assert_eq!(run.done(), ["bind application `api` to ServiceAccount `app`", "bind container `worker` to ServiceAccount `app`"]);
    assert_eq!(started(&shop.deploy()), BOUND_SERVICES);

    let other = Shop::new(BOUND);
    other.environment.run(&["install"]).ended(0);
    assert_eq!(started(&other.deploy()), UNBOUND, "settings are read when a deployment starts");
}

#[test]
fn a_manifest_that_nobody_uploaded_is_said_with_the_way_to_have_one() {
    let mut shop = Shop::fresh(BOUND);
    shop.environment.unset("IRSA_MANIFEST");
    let run = shop.environment.run(&["start"]).ended(2);
    assert!(run.err.contains("let `install` upload a `qovery.yml`"), "{}", run.err);
}
