//! `install`: from nothing to the job, again, each change, and each way in which Qovery says no.

use qovery_irsa_sandbox::{
    faults::{Fault, When},
    qovery::{Kind, Put, READER_TOKEN, TOKEN, World},
};
use serde_json::json;

use crate::support::shop::{BOUND, Shop};

fn job_of(shop: &Shop) -> serde_json::Map<String, serde_json::Value> {
    let id = shop.service(&shop.id, "aws-identity");
    shop.environment.sandbox.qovery(|qovery| qovery.job(&id)).unwrap()
}

#[test]
fn the_job_is_installed_by_one_command_and_again_changes_nothing() {
    let shop = Shop::new(BOUND);
    let dry = shop.environment.run(&["install", "--dry-run"]).ended(10);
    assert_eq!(dry.writes, 0);
    assert!(dry.out.lines().last().unwrap().starts_with("8 actions to do"), "{}", dry.out);
    let json = shop.environment.run(&["install", "--dry-run", "--format=json"]).ended(10).json();
    assert_eq!((&json["outcome"], json["plan"].as_array().unwrap().len()), (&json!("to do"), 8));
    let first = shop.environment.run(&["install"]).ended(0);
    assert_eq!(first.done(), dry.planned());
    assert_eq!(
        first.done(),
        [
            "create lifecycle job `aws-identity`",
            "create secret `IRSA_QOVERY_TOKEN` of the job",
            "upload `qovery.yml` to `/qovery-irsa/qovery.yml` of the job",
            "create variable `IRSA_MANIFEST` of the job",
            "create variable `IRSA_PROOF` of the job",
            "create deployment stage `identities`",
            "move deployment stage `identities` before `DATABASE DEFAULT`",
            "put the job into deployment stage `identities`",
        ]
    );
    let console = format!("/environment/{}", shop.id);
    assert!(first.out.starts_with("environment `shop`: https://console.qovery.com/organization/"), "{}", first.out);
    assert!(first.out.lines().next().unwrap().ends_with(&console), "{}", first.out);
    let job = job_of(&shop);
    assert_eq!(
        (&job["cpu"], &job["memory"], &job["max_duration_seconds"], &job["max_nb_restart"]),
        (&json!(100), &json!(64), &json!(900), &json!(1))
    );
    assert_eq!(job["schedule"]["on_delete"], json!({ "arguments": ["delete"] }));
    assert_eq!(
        shop.environment.sandbox.qovery(|qovery| qovery.stages(&shop.id))[0],
        ("identities".to_owned(), vec!["aws-identity".to_owned()])
    );

    let state = shop.environment.sandbox.state();
    let again = shop.environment.run(&["install"]).ended(0);
    assert_eq!(again.writes, 0);
    assert!(again.out.lines().last().unwrap().starts_with("nothing to do: job `aws-identity` is in place"), "{}", again.out);
    assert_eq!(shop.environment.sandbox.state(), state);
    let calls = shop.environment.sandbox.witness().calls();
    assert!(calls.iter().all(|call| call.service == "qovery"), "nothing is asked of AWS or Kubernetes");
}

#[test]
fn a_changed_job_changes_just_that_and_what_people_set_in_the_console_stays() {
    let shop = Shop::installed(BOUND);
    let id = shop.service(&shop.id, "aws-identity");
    shop.environment.sandbox.qovery(|qovery| {
        qovery.set_job(&id, "auto_preview", json!(true));
        qovery.set_job(&id, "cpu_architecture", json!("ARM64"));
        qovery.set_job(&id, "description", json!("by hand"));
        qovery.set_job(&id, "labels_groups", json!([{ "id": "a1b2ffff-0000-4000-8000-00000000ffff" }]));
        qovery.set_setting(&id, "a.setting.of.tomorrow", json!(1));
    });
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0, "what the manifest does not name is no difference");
    let mut wanted = job_of(&shop);

    shop.environment.write_manifest(&BOUND.replace("tag: \"1.0\"", "tag: \"1.1\""));
    let run = shop.environment.run(&["install"]).ended(0);
    assert_eq!(
        run.done(),
        ["edit lifecycle job `aws-identity`: `image.tag`", "upload `qovery.yml` again to `/qovery-irsa/qovery.yml` of the job"]
    );
    wanted["source"]["image"]["tag"] = json!("1.1");
    let mut edited = job_of(&shop);
    // What Qovery shows of what nobody has set comes back with the request.
    edited.retain(|key, _| wanted.contains_key(key));
    assert_eq!(edited, wanted);

    shop.environment.write_manifest(&format!(
        "{}  advancedSettings: {{security.read_only_root_filesystem: true}}\n",
        BOUND.replace("\"1.0\"", "\"1.1\"")
    ));
    let run = shop.environment.run(&["install"]).ended(0);
    assert_eq!(
        run.done(),
        [
            "upload `qovery.yml` again to `/qovery-irsa/qovery.yml` of the job",
            "set advanced settings of the job: `security.read_only_root_filesystem` to `true`"
        ]
    );
    let settings = shop.environment.sandbox.qovery(|qovery| qovery.settings(&id)).unwrap();
    assert_eq!((&settings["security.read_only_root_filesystem"], &settings["a.setting.of.tomorrow"]), (&json!(true), &json!(1)));
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);

    shop.environment.write_manifest(&BOUND.replace("IRSA_PROOF: required", "IRSA_PROOF: \"off\"").replace("\"1.0\"", "\"1.1\""));
    assert_eq!(
        shop.environment.run(&["install"]).ended(0).done(),
        ["upload `qovery.yml` again to `/qovery-irsa/qovery.yml` of the job", "edit variable `IRSA_PROOF` of the job"]
    );
}

#[test]
fn a_job_from_git_is_installed_and_found_again() {
    let manifest = BOUND.replace(
        "image: {registry: ghcr, name: acme/qovery-irsa, tag: \"1.0\"}",
        "git: {url: \"https://github.com/acme/identity.git\", token: bot}",
    );
    let shop = Shop::installed(&manifest);
    assert_eq!(job_of(&shop)["source"]["docker"]["git_repository"]["provider"], "GITHUB");
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
    shop.environment.write_manifest(BOUND);
    assert!(shop.environment.run(&["install"]).ended(0).done()[0].starts_with("edit lifecycle job `aws-identity`: `image.registry`"));
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
}

#[test]
fn a_missing_secret_gets_the_value_meant_for_it_which_is_never_shown_and_never_the_installers_own() {
    let mut shop = Shop::new(&BOUND.replace("[IRSA_QOVERY_TOKEN]", "[IRSA_QOVERY_TOKEN, AWS_SECRET_ACCESS_KEY]"));
    let refused = shop.environment.run(&["install"]).ended(3);
    assert_eq!(refused.writes, 0);
    assert!(refused.err.contains("the job would not see secret `AWS_SECRET_ACCESS_KEY`"), "{}", refused.err);
    shop.environment.set("IRSA_SECRET_AWS_SECRET_ACCESS_KEY", "hush-hush-value");
    let run = shop.environment.run(&["install", "--format=json"]).ended(0);
    assert!(
        run.json()["applied"].as_array().unwrap().iter().any(|done| done["action"] == "create secret `AWS_SECRET_ACCESS_KEY` of the job")
    );
    assert!(!run.out.contains("hush-hush") && !run.err.contains("hush-hush"));
    let id = shop.service(&shop.id, "aws-identity");
    assert_eq!(shop.environment.sandbox.qovery(|qovery| qovery.variables_of(&id))["AWS_SECRET_ACCESS_KEY"], "hush-hush-value");
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0, "a value that cannot be read is not written again");
}

#[test]
fn an_environment_that_has_something_else_of_that_name_is_refused() {
    let shop = Shop::new(&BOUND.replace("name: aws-identity", "name: API"));
    let run = shop.environment.run(&["install"]).ended(3);
    assert_eq!(run.writes, 0);
    assert!(run.err.contains("refused: application `api` has the name of the job, and is no lifecycle job"), "{}", run.err);
}

#[test]
fn the_environment_can_be_named_by_a_flag_and_nothing_else_is_needed() {
    let mut shop = Shop::new(BOUND);
    for name in [
        "QOVERY_ENVIRONMENT_ID",
        "QOVERY_KUBERNETES_NAMESPACE_NAME",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "KUBECONFIG",
    ] {
        shop.environment.unset(name);
    }
    let id = shop.id.clone();
    shop.environment.run(&["install", "--environment", &id]).ended(0);
    let dry = shop.environment.run(&["install", "--environment", &id, "--dry-run", "--format=json"]).ended(0).json();
    assert_eq!(dry["outcome"], "nothing to do");
    let run = shop.environment.run(&["install"]).ended(2);
    assert!(run.err.contains("`--environment` is not set"), "{}", run.err);
}

#[test]
fn each_no_of_qovery_is_a_clear_error() {
    let mut shop = Shop::new(BOUND);
    for (token, cause) in [
        ("qov_nobody_knows", "caused by: Unauthorized: the token is missing or not valid\nhint: Qovery does not know the token, "),
        (READER_TOKEN, "caused by: Forbidden: you do not have the permission to do this\nhint: give the API token a role that may "),
    ] {
        shop.environment.set("IRSA_QOVERY_TOKEN", token);
        let run = shop.environment.run(&["install"]).ended(1);
        assert!(run.err.contains(cause), "{}", run.err);
        assert!(!run.err.contains(token));
        assert_eq!(run.writes, 0);
    }
    shop.environment.set("IRSA_QOVERY_TOKEN", qovery_irsa_sandbox::qovery::TOKEN);
    shop.environment.set("IRSA_TIMEOUT", "10s");
    let error = |status, message: &str| Fault::Error { status, code: String::new(), message: message.to_owned() };
    let again = Some("deploy again: it continues where it stopped\n");
    for (operation, fault, cause, hint) in [
        (
            "qovery:getEnvironment",
            error(404, "gone"),
            "caused by: Not Found: gone\n",
            Some("check the environment's id (`QOVERY_ENVIRONMENT_ID`, of `install` `--environment`), and that "),
        ),
        // What Qovery says of a request is all that is to be said.
        ("qovery:createJob", error(400, "cpu is too large"), "caused by: Bad Request: cpu is too large\n", None),
        ("qovery:createJob", error(502, "no"), "caused by: Bad Gateway: no\n", again),
        ("qovery:listVariables", Fault::TruncatedBody, "caused by: NoConnection: ", Some("check the way from the job to Qovery's API, ")),
        ("qovery:listVariables", error(200, "not what was asked for"), "caused by: UnreadableAnswer: missing field `results` at ", again),
        ("qovery:listVariables", Fault::Throttle, "caused by: Too Many Requests: too many requests\n", again),
        ("qovery:createVariable", error(500, "later"), "caused by: Internal Server Error: later\n", again),
    ] {
        let rule = shop.environment.sandbox.faults().add(operation, When::Always, fault);
        let run = shop.environment.run(&["install"]).ended(1);
        let hinted = run.err.split_once("\nhint: ").map(|(_, hint)| hint);
        assert!(run.err.contains(cause), "{operation}: {}", run.err);
        assert!(hint.map_or(hinted.is_none(), |hint| hinted.is_some_and(|said| said.starts_with(hint))), "{operation}: {}", run.err);
        shop.environment.sandbox.faults().remove(rule);
    }
    shop.environment.run(&["install"]).ended(0);
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0, "it continues where it stopped");
}

#[test]
fn faults_that_pass_and_answers_that_are_lost_leave_one_job() {
    let operations = [
        "qovery:getEnvironment",
        "qovery:createJob",
        "qovery:createVariable",
        "qovery:createEnvironmentDeploymentStage",
        "qovery:attachServiceToDeploymentStage",
    ];
    for operation in operations {
        for fault in [Fault::Throttle, Fault::error(503, ""), Fault::lost_answer()] {
            let shop = Shop::new(BOUND);
            shop.environment.sandbox.faults().add(operation, When::Nth(1), fault.clone());
            shop.environment.run(&["install"]).ended(0);
            assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0, "{operation} {fault:?}");
            let stages = shop.environment.sandbox.qovery(|qovery| qovery.stages(&shop.id));
            assert_eq!(stages.iter().filter(|(name, _)| name == "identities").count(), 1, "{operation} {fault:?}");
            assert_eq!(stages[0].0, "identities", "{operation} {fault:?}: {stages:?}");
        }
    }
}

#[test]
fn the_job_is_printed_for_terraform_without_asking_anybody() {
    let mut shop = Shop::new(BOUND);
    shop.environment.variables.retain(|name, _| name == "IRSA_MANIFEST");
    let run = shop.environment.run(&["install", "--print", "terraform"]).ended(0);
    assert!(run.out.starts_with("terraform {\n  required_providers {\n    qovery = {\n      source  = "), "{}", run.out);
    assert!(run.out.ends_with("}\n") && run.out.contains("resource \"qovery_job\" \"aws_identity\" {\n"), "{}", run.out);
    assert!(run.err.is_empty());
    assert!(shop.environment.sandbox.witness().calls().is_empty());
    let conflict = shop.environment.run(&["install", "--print", "terraform", "--dry-run"]).ended(2);
    assert!(conflict.err.contains("cannot be used with"), "{}", conflict.err);
}

#[test]
fn what_the_console_set_survives_an_edit_whatever_a_put_does_with_what_it_does_not_name() {
    for put in [Put::Resets, Put::Keeps] {
        let shop = Shop::installed_in(World { put, ..World::default() }, BOUND);
        let id = shop.service(&shop.id, "aws-identity");
        let set = [("cpu_architecture", json!("ARM64")), ("ephemeral_storage_in_gib", json!(3)), ("description", json!("by hand"))];
        shop.environment.sandbox.qovery(|qovery| set.iter().for_each(|(key, value)| qovery.set_job(&id, key, value.clone())));
        shop.environment.write_manifest(&BOUND.replace("stage: identities", "stage: identities\n  memory: 128"));
        assert_eq!(
            shop.environment.run(&["install"]).ended(0).done(),
            ["edit lifecycle job `aws-identity`: `memory`", "upload `qovery.yml` again to `/qovery-irsa/qovery.yml` of the job"]
        );
        let job = job_of(&shop);
        assert_eq!(job["memory"], 128);
        for (key, value) in &set {
            assert_eq!(&job[*key], value, "{put:?}");
        }
    }
}

#[test]
fn a_secret_that_a_secret_manager_keeps_is_the_secret_it_is() {
    let manifest = BOUND.replace("[IRSA_QOVERY_TOKEN]", "[IRSA_QOVERY_TOKEN, DATABASE_PASSWORD]");
    let shop = Shop::new(&manifest);
    shop.environment.sandbox.qovery(|qovery| qovery.set_external_secret("DATABASE_PASSWORD", "kept-elsewhere"));
    let run = shop.environment.run(&["install"]).ended(0);
    assert!(run.done().iter().all(|done| !done.contains("DATABASE_PASSWORD")), "{}", run.out);
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
    shop.environment.write_manifest(&BOUND.replace("variables: {", "variables: {DATABASE_PASSWORD: mine, "));
    let run = shop.environment.run(&["install"]).ended(3);
    assert!(run.writes == 0 && run.err.contains("variable `DATABASE_PASSWORD` is a secret already"), "{}", run.err);
}

#[test]
fn a_job_that_is_skipped_runs_again_after_an_install_whether_its_stage_is_named_or_not() {
    let unnamed = BOUND.replace("  stage: identities\n", "");
    for manifest in [BOUND, &unnamed] {
        let shop = Shop::installed(manifest);
        let id = shop.service(&shop.id, "aws-identity");
        shop.environment.sandbox.qovery(|qovery| qovery.skip(&id, true));
        let stages = shop.environment.sandbox.qovery(|qovery| qovery.stages(&shop.id));
        let dry = shop.environment.run(&["install", "--dry-run"]).ended(10);
        assert!(dry.writes == 0 && dry.planned().len() == 1 && dry.planned()[0].ends_with(": it is skipped there"), "{}", dry.out);
        assert_eq!(shop.environment.run(&["install"]).ended(0).done(), dry.planned());
        assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0);
        assert_eq!(shop.environment.sandbox.qovery(|qovery| qovery.stages(&shop.id)), stages, "nothing moved");
        assert_eq!(shop.deploy().runs.len(), 1, "it runs with the environment");
    }
}

#[test]
fn keys_that_reach_a_bound_service_are_refused_until_they_are_the_jobs_own() {
    let manifest = BOUND.replace("[IRSA_QOVERY_TOKEN]", "[IRSA_QOVERY_TOKEN, AWS_ACCESS_KEY_ID]");
    let mut shop = Shop::new(&manifest);
    shop.environment.sandbox.qovery(|qovery| qovery.set_project_variable("AWS_ACCESS_KEY_ID", "AKIA-of-the-project", true));
    let run = shop.environment.run(&["install"]).ended(3);
    assert_eq!(run.writes, 0);
    assert!(
        run.err.contains(
            "refused: application `api`, container `worker` would have secret `AWS_ACCESS_KEY_ID` of the project, which AWS SDKs take before a role"
        ) && run.err.contains("with the variable `IRSA_SECRET_AWS_ACCESS_KEY_ID` set"),
        "{}",
        run.err
    );
    assert!(!run.err.contains("AKIA-of"), "{}", run.err);
    let seen = shop.ask("GET", &format!("/variable?parent_id={}&scope=ENVIRONMENT", shop.id), None);
    let key = seen["results"].as_array().unwrap().iter().find(|found| found["key"] == "AWS_ACCESS_KEY_ID").unwrap();
    shop.ask("DELETE", &format!("/variable/{}", key["id"].as_str().unwrap()), None);
    shop.environment.set("IRSA_SECRET_AWS_ACCESS_KEY_ID", "AKIA-of-the-job");
    assert!(shop.environment.run(&["install"]).ended(0).done().contains(&"create secret `AWS_ACCESS_KEY_ID` of the job"));
    assert_eq!(shop.environment.run(&["install"]).ended(0).writes, 0, "the way out that the hint names is one");
}

#[test]
fn a_key_of_any_kind_of_service_that_is_to_be_bound_is_refused_and_those_of_others_are_not() {
    for (kind, scope, shown) in [
        (Kind::Application, "APPLICATION", "application"),
        (Kind::Container, "CONTAINER", "container"),
        (Kind::Job, "JOB", "job"),
        (Kind::Terraform, "TERRAFORM", "Terraform service"),
    ] {
        let shop = Shop::new(&BOUND.replace("[api, worker]", "[bound]"));
        let [bound, other] =
            ["bound", "other"].map(|name| shop.environment.sandbox.qovery(|qovery| qovery.add_service(&shop.id, kind, name)));
        shop.environment.sandbox.qovery(|qovery| qovery.set_variable(&other, scope, "AWS_SESSION_TOKEN", "x", true));
        shop.environment.run(&["install", "--dry-run"]).ended(10);
        shop.environment.sandbox.qovery(|qovery| qovery.set_variable(&bound, scope, "AWS_SESSION_TOKEN", "x", true));
        let run = shop.environment.run(&["install"]).ended(3);
        assert!(
            run.writes == 0 && run.err.contains(&format!("{shown} `bound` has a secret `AWS_SESSION_TOKEN` of its own")),
            "{}",
            run.err
        );
    }
}

#[test]
fn keys_and_tokens_that_every_service_can_read_are_said_with_the_way_out() {
    let shop = Shop::new(&BOUND.replace("    bindServices: [api, worker]\n", ""));
    shop.environment.sandbox.qovery(|qovery| {
        qovery.set_project_variable("IRSA_QOVERY_TOKEN", TOKEN, true);
        let id = shop.id.clone();
        qovery.set_variable(&id, "ENVIRONMENT", "AWS_SECRET_ACCESS_KEY", "x", true);
    });
    let run = shop.environment.run(&["install"]).ended(0);
    for said in [
        "note: every service of the environment inherits secret `AWS_SECRET_ACCESS_KEY` of the environment, ",
        "note: every service of the environment can read secret `IRSA_QOVERY_TOKEN` of the project, an API token. ",
        "`IRSA_SECRET_<name>`",
    ] {
        assert!(run.out.contains(said), "{said}: {}", run.out);
    }
}

#[test]
fn a_policy_token_that_lacks_a_call_is_told_which() {
    const POLICY_TOKEN: &str = "qov_local_policy_000000000000000";
    for (method, path, call) in [
        (http::Method::GET, "/variable", "GET /variable`"),
        (http::Method::GET, "/environment/", "GET /environment/{id}"),
        (http::Method::POST, "/variable", "POST /variable`"),
        (http::Method::PUT, "/deploymentStage/", "PUT /deploymentStage/{id}/moveBefore/{id}`"),
    ] {
        let mut shop = Shop::new(BOUND);
        shop.environment.sandbox.qovery(|qovery| qovery.add_policy_token(POLICY_TOKEN, &[(method.clone(), path)]));
        shop.environment.set("IRSA_QOVERY_TOKEN", POLICY_TOKEN);
        let run = shop.environment.run(&["install"]).ended(1);
        let hint = format!("hint: Qovery does not know the token, or it is a policy token that may not call `{call}");
        assert!(run.err.contains(&hint) && !run.err.contains(POLICY_TOKEN), "{}", run.err);
        shop.environment.set("IRSA_QOVERY_TOKEN", TOKEN);
        shop.environment.run(&["install"]).ended(0);
    }
}
