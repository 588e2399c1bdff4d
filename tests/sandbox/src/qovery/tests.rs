use http::HeaderMap;
use serde_json::json;

use super::{
    Aliases, DeleteEvent, Event, Kind, LoneDelete, Put, Qovery, READER_TOKEN, SettingsRead, Step, TOKEN, World, description::Description,
};
use crate::service::{Request, Service};

fn request(method: &str, path: &str, token: &str, body: Option<&serde_json::Value>) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Token {token}").parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Request {
        method: method.parse().unwrap(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: body.map(ToString::to_string).unwrap_or_default().into(),
    }
}

fn call(qovery: &mut Qovery, method: &str, path: &str, body: Option<&serde_json::Value>) -> (u16, serde_json::Value) {
    let response = qovery.answer(&request(method, path, TOKEN, body), std::time::SystemTime::now()).response;
    (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
}

fn with_environment() -> (Qovery, String) {
    let mut qovery = Qovery::new("eu-west-3", "demo");
    let id = qovery.add_environment("shop", "z1-shop");
    qovery.add_service(&id, Kind::Application, "api");
    qovery.add_service(&id, Kind::Container, "worker");
    qovery.add_service(&id, Kind::Database, "db");
    (qovery, id)
}

fn job(qovery: &mut Qovery, environment: &str) -> String {
    let registry = qovery.add_registry("ghcr");
    let body = json!({
        "name": "identity", "healthchecks": {}, "source": {"image": {"image_name": "a/b", "tag": "1", "registry_id": registry}},
        "schedule": {"on_start": {"arguments": ["start"]}, "on_delete": {"arguments": ["delete"]}},
    });
    let (status, job) = call(qovery, "POST", &format!("/environment/{environment}/job"), Some(&body));
    assert_eq!(status, 201, "{job}");
    job["id"].as_str().unwrap().to_owned()
}

#[test]
fn every_operation_of_the_description_is_implemented() {
    assert_eq!(Description::vendored().ids().len(), 42);
    let (mut qovery, id) = with_environment();
    job(&mut qovery, &id);
    for path in ["services", "job", "deploymentStage"] {
        let (status, body) = call(&mut qovery, "GET", &format!("/environment/{id}/{path}"), None);
        assert_eq!(status, 200, "{path}: {body}");
        assert!(!body["results"].as_array().unwrap().is_empty());
    }
    assert_eq!(call(&mut qovery, "GET", &format!("/environment/{id}"), None).0, 200);
}

#[test]
fn a_request_that_the_description_does_not_know_is_refused_with_its_reason() {
    let (mut qovery, id) = with_environment();
    let body = json!({ "name": "x", "healthchecks": {}, "invented": 1 });
    let (status, answer) = call(&mut qovery, "POST", &format!("/environment/{id}/job"), Some(&body));
    assert_eq!(status, 501);
    assert!(answer["message"].as_str().unwrap().contains("invented"), "{answer}");
    for (method, path) in [("GET", "/environment/x"), ("GET", "/nowhere"), ("GET", "/variable"), ("DELETE", "/job/x"), ("PATCH", "/job/x")]
    {
        assert_eq!(call(&mut qovery, method, path, None).0, 501, "{method} {path}");
    }
    assert_eq!(call(&mut qovery, "POST", &format!("/environment/{id}/job"), Some(&json!({ "name": 1, "healthchecks": {} }))).0, 501);
}

#[test]
fn who_is_not_known_or_may_only_read_is_refused() {
    let (mut qovery, id) = with_environment();
    let now = std::time::SystemTime::now();
    let path = format!("/environment/{id}/deploy");
    assert_eq!(qovery.answer(&request("POST", &path, "qov_other", None), now).response.status, 401);
    assert_eq!(qovery.answer(&request("POST", &path, READER_TOKEN, None), now).response.status, 403);
    assert_eq!(qovery.answer(&request("GET", &format!("/environment/{id}"), READER_TOKEN, None), now).response.status, 200);
    assert_eq!(call(&mut qovery, "GET", "/environment/00000000-0000-4000-8000-000000000000", None).0, 404);
}

#[test]
fn advanced_settings_are_replaced_whole_and_keep_what_nobody_knows() {
    let (mut qovery, id) = with_environment();
    let api = qovery.service_named(&id, "api").unwrap();
    let path = format!("/application/{api}/advancedSettings");
    let wanted = json!({ "security.service_account_name": "app", "some.new.key": {"a": [1]} });
    assert_eq!(call(&mut qovery, "PUT", &path, Some(&wanted)), (201, wanted.clone()));
    assert_eq!(call(&mut qovery, "GET", &path, None), (200, wanted));
    assert_eq!(call(&mut qovery, "GET", &format!("/container/{api}/advancedSettings"), None).0, 404);
}

#[test]
fn names_are_taken_whatever_their_case_and_an_edit_takes_away_what_it_does_not_name() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    let registry = qovery.registries[0].0.clone();
    let body =
        json!({ "name": "Identity", "healthchecks": {}, "source": {"image": {"image_name": "a/b", "tag": "2", "registry_id": registry}} });
    assert_eq!(call(&mut qovery, "POST", &format!("/environment/{id}/job"), Some(&body)).0, 409);
    let (status, edited) = call(&mut qovery, "PUT", &format!("/job/{job}"), Some(&body));
    assert_eq!((status, &edited["source"]["image"]["tag"], &edited["schedule"]), (200, &json!("2"), &json!({})));
}

#[test]
fn stages_are_made_at_the_end_moved_and_filled() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    let (_, stage) = call(&mut qovery, "POST", &format!("/environment/{id}/deploymentStage"), Some(&json!({ "name": "first" })));
    let stage = stage["id"].as_str().unwrap().to_owned();
    let first = qovery.environments[&id].stages[0].id.clone();
    assert_eq!(call(&mut qovery, "PUT", &format!("/deploymentStage/{stage}/moveBefore/{first}"), None).0, 200);
    assert_eq!(call(&mut qovery, "PUT", &format!("/deploymentStage/{stage}/service/{job}"), None).0, 200);
    let stages = qovery.stages(&id);
    assert_eq!(stages[0], ("first".to_owned(), vec!["identity".to_owned()]));
    assert_eq!(stages.len(), 5);
}

#[test]
fn a_deployment_reads_the_settings_when_it_starts_and_runs_the_stages_in_order() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    let api = qovery.service_named(&id, "api").unwrap();
    call(&mut qovery, "POST", &format!("/environment/{id}/deploy"), None);
    qovery.set_setting(&api, "security.service_account_name", json!("app"));
    call(&mut qovery, "POST", &format!("/environment/{id}/redeploy"), None);
    call(&mut qovery, "POST", &format!("/environment/{id}/stop"), None);
    call(&mut qovery, "POST", &format!("/job/{job}/deploy?forceEvent=DELETE"), None);
    let deployments = qovery.take_deployments();
    assert_eq!(
        deployments.iter().map(|deployment| deployment.event).collect::<Vec<_>>(),
        [Event::Deploy, Event::Redeploy, Event::Stop, Event::Force]
    );
    let account = |at: usize| {
        deployments[at].steps.iter().find_map(|step| match step {
            Step::Start { service, service_account } if *service == api => Some(service_account.clone()),
            _ => None,
        })
    };
    assert_eq!((account(0), account(1)), (Some(Some(String::new())), Some(Some("app".to_owned()))));
    let Step::Run { arguments, variables, .. } = &deployments[0].steps[1] else { panic!("the job comes after the database") };
    assert_eq!((arguments.as_slice(), variables["QOVERY_KUBERNETES_NAMESPACE_NAME"].as_str()), (&["start".to_owned()][..], "z1-shop"));
    assert!(!deployments[2].steps.iter().any(|step| matches!(step, Step::Run { .. })), "it has no command for stop");
    let Step::Run { arguments, .. } = &deployments[3].steps[0] else { panic!() };
    assert_eq!(arguments, &["delete"]);
}

#[test]
fn outputs_are_read_as_the_engine_reads_them_and_clones_have_their_own() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    let api = qovery.service_named(&id, "api").unwrap();
    qovery.job_ended(&job, 1, Some(br#"{"ROLE": {"value": "x"}}"#));
    qovery.job_ended(&job, 0, Some(br#"{"ROLE": {"value": "x"}, "bad-name": {"value": "y"}}"#));
    assert_eq!(qovery.variables_of(&api).len(), 0);
    qovery.job_ended(&job, 0, Some(br#"{"role_arn": {"value": "arn"}, "number": 1}"#));
    let key = format!("QOVERY_OUTPUT_JOB_Z{}_ROLE_ARN", job[..8].to_uppercase());
    let both = [(key.clone(), "arn".to_owned()), ("ROLE_ARN".to_owned(), "arn".to_owned())];
    assert_eq!(qovery.variables_of(&api), both.into());

    let output = qovery.variables.iter().find(|variable| variable.key == key).unwrap().id.clone();
    let alias = json!({ "key": "APP_ROLE_ARN", "alias_scope": "ENVIRONMENT", "alias_parent_id": id });
    assert_eq!(call(&mut qovery, "POST", &format!("/variable/{output}/alias"), Some(&alias)).0, 201);
    let (_, clone) = call(&mut qovery, "POST", &format!("/environment/{id}/clone"), Some(&json!({ "name": "Shop Clone" })));
    let clone = clone["id"].as_str().unwrap().to_owned();
    assert!(qovery.namespace_of(&clone).unwrap().ends_with("-shop-clone"));
    let copied = qovery.service_named(&clone, "identity").unwrap();
    assert_ne!(copied, job);
    qovery.job_ended(&copied, 0, Some(br#"{"ROLE_ARN": {"value": "other"}}"#));
    let seen = qovery.variables_of(&qovery.service_named(&clone, "api").unwrap());
    assert_eq!(seen["APP_ROLE_ARN"], "other");
    assert_eq!(qovery.variables_of(&api)["APP_ROLE_ARN"], "arn");
}

#[test]
fn of_each_output_there_is_an_alias_that_every_service_sees_the_job_included_and_that_stays() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    qovery.set_variable(&id, "ENVIRONMENT", "MINE", "by hand", false);
    qovery.job_ended(&job, 0, Some(br#"{"service_account_name": {"value": "app"}, "mine": {"value": "theirs"}}"#));
    let seen = qovery.variables_of(&job);
    assert_eq!((seen["SERVICE_ACCOUNT_NAME"].as_str(), seen["MINE"].as_str()), ("app", "by hand"));
    let (_, listed) = call(&mut qovery, "GET", &format!("/variable?parent_id={job}&scope=JOB"), None);
    let of = |key: &str| listed["results"].as_array().unwrap().iter().find(|variable| variable["key"] == key).unwrap().clone();
    let alias = of("SERVICE_ACCOUNT_NAME");
    assert_eq!((&alias["scope"], &alias["variable_type"], &alias["owned_by"]), (&json!("ENVIRONMENT"), &json!("ALIAS"), &json!("QOVERY")));
    let output = of(&format!("QOVERY_OUTPUT_JOB_Z{}_SERVICE_ACCOUNT_NAME", job[..8].to_uppercase()));
    assert_eq!((&output["scope"], &output["variable_type"]), (&json!("BUILT_IN"), &json!("BUILT_IN")));
    qovery.job_ended(&job, 0, Some(br#"{"OTHER": {"value": "x"}}"#));
    assert_eq!(qovery.variables_of(&job)["SERVICE_ACCOUNT_NAME"], "app", "with its last value");
    for (aliases, seen) in [(Aliases::Cloned, true), (Aliases::NotCloned, false)] {
        qovery.set_world(World { aliases, ..World::default() });
        let (_, clone) = call(&mut qovery, "POST", &format!("/environment/{id}/clone"), Some(&json!({ "name": format!("{aliases:?}") })));
        let copied = qovery.service_named(clone["id"].as_str().unwrap(), "identity").unwrap();
        assert_eq!(qovery.variables_of(&copied).contains_key("SERVICE_ACCOUNT_NAME"), seen, "{aliases:?}");
        assert_eq!(qovery.variables_of(&copied)["MINE"], "by hand");
    }
}

#[test]
fn settings_are_read_when_the_world_says_so() {
    for (settings, account) in [(SettingsRead::AtStart, Some(String::new())), (SettingsRead::PerStage, None)] {
        let (mut qovery, id) = with_environment();
        qovery.set_world(World { settings, ..World::default() });
        let api = qovery.service_named(&id, "api").unwrap();
        call(&mut qovery, "POST", &format!("/environment/{id}/deploy"), None);
        qovery.set_setting(&api, "security.service_account_name", json!("app"));
        let steps = qovery.take_deployments().remove(0).steps;
        let start = steps.iter().find_map(|step| match step {
            Step::Start { service, service_account } if *service == api => Some(service_account.clone()),
            _ => None,
        });
        assert_eq!((start, qovery.account_of(&api).as_str()), (Some(account), "app"));
    }
}

#[test]
fn the_delete_event_runs_when_the_world_says_so_and_states_tell_what_goes() {
    for (delete_event, at) in [(DeleteEvent::Before, 0), (DeleteEvent::Beside, 3), (DeleteEvent::After, 6)] {
        let (mut qovery, id) = with_environment();
        qovery.set_world(World { delete_event, ..World::default() });
        job(&mut qovery, &id);
        call(&mut qovery, "POST", &format!("/environment/{id}/deploy"), None);
        qovery.deployment_ended(&id, Event::Deploy, true);
        assert_eq!(call(&mut qovery, "GET", &format!("/environment/{id}/status"), None).1["state"], "DEPLOYED");
        qovery.take_deployments();
        call(&mut qovery, "DELETE", &format!("/environment/{id}"), None);
        let steps = qovery.take_deployments().remove(0).steps;
        assert!(matches!(steps[at], Step::Run { .. }) && steps.len() == 7, "{delete_event:?}: {steps:?}");
        let (_, states) = call(&mut qovery, "GET", &format!("/environment/{id}/statuses"), None);
        assert_eq!((&states["environment"]["state"], &states["applications"][0]["state"]), (&json!("DELETING"), &json!("DELETE_QUEUED")));
        qovery.deployment_ended(&id, Event::Delete, false);
        assert_eq!(qovery.state_of(&id), Some("DELETE_ERROR"), "a delete event that fails keeps the environment");
        qovery.deployment_ended(&id, Event::Delete, true);
        assert!(!qovery.has_environment(&id));
    }
}

#[test]
fn a_job_that_is_deleted_or_uninstalled_alone_runs_its_delete_event_and_the_rest_stays() {
    for (lone_delete, state) in [(LoneDelete::EnvironmentUnchanged, "DEPLOYED"), (LoneDelete::EnvironmentDeleting, "DELETING")] {
        let (mut qovery, id) = with_environment();
        qovery.set_world(World { lone_delete, ..World::default() });
        let job = job(&mut qovery, &id);
        call(&mut qovery, "POST", &format!("/environment/{id}/deploy"), None);
        qovery.deployment_ended(&id, Event::Deploy, true);
        qovery.take_deployments();
        assert_eq!(call(&mut qovery, "POST", &format!("/job/{job}/uninstall"), Some(&json!({}))).0, 202);
        assert_eq!(qovery.take_deployments()[0].steps.len(), 1);
        qovery.deployment_ended(&id, Event::Uninstall, true);
        assert!(qovery.service_named(&id, "identity").is_some());
        assert_eq!(call(&mut qovery, "DELETE", &format!("/job/{job}"), None).0, 204);
        let Step::Run { arguments, .. } = &qovery.take_deployments()[0].steps[0] else { panic!("a run") };
        assert_eq!(arguments, &["delete"]);
        let (_, states) = call(&mut qovery, "GET", &format!("/environment/{id}/statuses"), None);
        assert_eq!((&states["environment"]["state"], &states["jobs"][0]["state"]), (&json!(state), &json!("DELETING")));
        let api = &states["applications"][0];
        assert_eq!((&api["state"], &api["is_part_last_deployment"]), (&json!("DEPLOYED"), &json!(false)));
        qovery.deployment_ended(&id, Event::DeleteServices, false);
        assert_eq!(call(&mut qovery, "GET", &format!("/job/{job}/status"), None).1["state"], "DELETE_ERROR");
        qovery.deployment_ended(&id, Event::DeleteServices, true);
        assert!(qovery.has_environment(&id) && qovery.service_named(&id, "identity").is_none());
    }
}

#[test]
fn a_skipped_job_never_runs_with_its_environment_until_it_is_put_back() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    qovery.skip(&job, true);
    let runs = |qovery: &mut Qovery| {
        call(qovery, "POST", &format!("/environment/{id}/deploy"), None);
        qovery.take_deployments()[0].steps.iter().filter(|step| matches!(step, Step::Run { .. })).count()
    };
    assert_eq!(runs(&mut qovery), 0);
    let (_, stages) = call(&mut qovery, "GET", &format!("/environment/{id}/deploymentStage"), None);
    let stage = &stages["results"][1];
    assert_eq!(stage["services"][0]["is_skipped"], true);
    let path = format!("/deploymentStage/{}/service/{job}", stage["id"].as_str().unwrap());
    assert_eq!(call(&mut qovery, "PUT", &path, Some(&json!({ "is_skipped": false }))).0, 200);
    assert_eq!(runs(&mut qovery), 1);
}

#[test]
fn a_put_resets_what_it_does_not_name_or_keeps_it_as_the_world_has_it() {
    for (put, kept) in [(Put::Resets, None), (Put::Keeps, Some(json!("ARM64")))] {
        let (mut qovery, id) = with_environment();
        qovery.set_world(World { put, ..World::default() });
        let job = job(&mut qovery, &id);
        qovery.set_job(&job, "cpu_architecture", json!("ARM64"));
        let (_, shown) = call(&mut qovery, "GET", &format!("/job/{job}"), None);
        assert_eq!(shown["cpu_architecture"], "ARM64");
        let registry = qovery.registries[0].0.clone();
        let source = json!({"image": {"image_name": "a/b", "tag": "2", "registry_id": registry}});
        let body = json!({ "name": "identity", "healthchecks": {}, "source": source });
        call(&mut qovery, "PUT", &format!("/job/{job}"), Some(&body));
        assert_eq!(qovery.job(&job).unwrap().get("cpu_architecture").cloned(), kept, "{put:?}");
    }
}

#[test]
fn external_secrets_are_said_to_be_none_and_never_shown_and_policy_tokens_are_denied_some_calls() {
    let (mut qovery, id) = with_environment();
    qovery.set_external_secret("TOKEN_IN_AWS", "hush");
    let job = job(&mut qovery, &id);
    let (_, listed) = call(&mut qovery, "GET", &format!("/variable?parent_id={job}&scope=JOB"), None);
    let found = listed["results"].as_array().unwrap().iter().find(|variable| variable["key"] == "TOKEN_IN_AWS").unwrap();
    assert_eq!((&found["is_secret"], &found["value"], &found["variable_type"]), (&json!(false), &json!(null), &json!("EXTERNAL_SECRET")));
    assert_eq!(qovery.variables_of(&job)["TOKEN_IN_AWS"], "hush");
    qovery.add_policy_token("qov_policy", &[(http::Method::GET, "/variable")]);
    let now = std::time::SystemTime::now();
    let status = |qovery: &mut Qovery, path: &str| qovery.answer(&request("GET", path, "qov_policy", None), now).response.status;
    assert_eq!(status(&mut qovery, &format!("/environment/{id}")), 200);
    assert_eq!(status(&mut qovery, &format!("/variable?parent_id={job}&scope=JOB")), 401);
}

#[test]
fn terraform_and_helm_services_are_there_with_what_can_be_set_on_them() {
    let (mut qovery, id) = with_environment();
    let infra = qovery.add_service(&id, Kind::Terraform, "infra");
    qovery.add_service(&id, Kind::ArgoCd, "argo");
    let settings = json!({ "security.service_account_name": "app" });
    assert_eq!(call(&mut qovery, "PUT", &format!("/terraform/{infra}/advancedSettings"), Some(&settings)).0, 201);
    assert_eq!(qovery.account_of(&infra), "app");
    let helm = json!({ "name": "chart", "auto_deploy": false, "source": { "helm_repository": { "chart_name": "c", "chart_version": "1" } }, "arguments": [], "values_override": {} });
    let (status, made) = call(&mut qovery, "POST", &format!("/environment/{id}/helm"), Some(&helm));
    assert_eq!(status, 201, "{made}");
    assert_eq!(call(&mut qovery, "POST", &format!("/environment/{id}/helm"), Some(&helm)).0, 409);
    let path = format!("/helm/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&mut qovery, "PUT", &path, Some(&helm)).0, 200);
    let (status, services) = call(&mut qovery, "GET", &format!("/environment/{id}/services"), None);
    assert_eq!((status, services["results"].as_array().unwrap().len()), (200, 6), "{services}");
    assert_eq!(call(&mut qovery, "DELETE", &path, None).0, 204);
    qovery.deployment_ended(&id, Event::DeleteServices, true);
    assert_eq!(call(&mut qovery, "GET", &path, None).0, 404);
}

#[test]
fn secrets_are_never_shown_and_narrower_variables_win() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    qovery.set_project_variable("A", "wide", false);
    qovery.set_project_variable("S", "hush", true);
    let body = json!({ "key": "B", "value": "own", "is_secret": true, "variable_scope": "JOB", "variable_parent_id": job });
    assert_eq!(call(&mut qovery, "POST", "/variable", Some(&body)).0, 201);
    let (_, listed) = call(&mut qovery, "GET", &format!("/variable?parent_id={job}&scope=JOB"), None);
    assert!(!listed.to_string().contains("hush") && !listed.to_string().contains("own"), "{listed}");
    assert_eq!(qovery.variables_of(&job).len(), 3);
    assert_eq!(call(&mut qovery, "POST", "/variable", Some(&body)).0, 409);
}
