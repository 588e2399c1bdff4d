use http::HeaderMap;
use serde_json::json;

use super::{
    Aliases, DeleteEvent, Deployment, Event, Kind, LoneDelete, Put, Qovery, READER_TOKEN, SettingsRead, Step, TOKEN, World,
    description::Description,
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
    assert_eq!(Description::vendored().ids().len(), 47);
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
    let Step::Run { arguments, .. } = &deployments[0].steps[1] else { panic!("the job comes after the database") };
    let variables = qovery.variables_of_run(&job);
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

/// Carries out what was asked for last: its jobs end so. What the states were when a job ran: of the environment, of `api` and of the job.
fn carry_out(qovery: &mut Qovery, exit_code: i32) -> Vec<[Option<&'static str>; 3]> {
    let Deployment { environment, event, steps, .. } = qovery.take_deployments().pop().unwrap();
    let api = qovery.service_named(&environment, "api").unwrap_or_default();
    let mut seen = Vec::new();
    for step in &steps {
        qovery.reached(step);
        if let Step::Run { job, .. } = step {
            seen.push([qovery.state_of(&environment), qovery.state_of_service(&api), qovery.state_of_service(job)]);
            qovery.job_ended(job, exit_code, None);
            if exit_code != 0 {
                break;
            }
        }
        qovery.passed(step, true);
    }
    qovery.deployment_ended(&environment, event, exit_code == 0);
    seen
}

/// An environment with a job that is deployed.
fn deployed(world: World) -> (Qovery, String, String) {
    let (mut qovery, id) = with_environment();
    qovery.set_world(world);
    let job = job(&mut qovery, &id);
    call(&mut qovery, "POST", &format!("/environment/{id}/deploy"), None);
    carry_out(&mut qovery, 0);
    (qovery, id, job)
}

#[test]
fn states_are_true_while_a_deployment_waits_goes_on_and_has_ended() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    let path = format!("/environment/{id}/status");
    let state = |qovery: &mut Qovery| call(qovery, "GET", &path, None).1["state"].as_str().unwrap().to_owned();
    assert_eq!(state(&mut qovery), "READY");
    for (event, words) in [
        ("deploy", ["DEPLOYMENT_QUEUED", "DEPLOYING", "DEPLOYED"]),
        ("redeploy", ["DEPLOYMENT_QUEUED", "DEPLOYING", "DEPLOYED"]),
        ("stop", ["STOP_QUEUED", "STOPPING", "STOPPED"]),
        ("uninstall", ["DELETE_QUEUED", "DELETING", "READY"]),
    ] {
        assert_eq!(call(&mut qovery, "POST", &format!("/environment/{id}/{event}"), None).0, 202, "{event}");
        assert_eq!(state(&mut qovery), words[0]);
        let seen = carry_out(&mut qovery, 0);
        assert!(seen.iter().all(|[of, _, of_job]| [*of, *of_job] == [Some(words[1]); 2]), "{event}: {seen:?}");
        assert_eq!((state(&mut qovery).as_str(), qovery.state_of_service(&job)), (words[2], Some(words[2])));
    }
    call(&mut qovery, "POST", &format!("/environment/{id}/deploy"), None);
    assert_eq!(carry_out(&mut qovery, 1), [[Some("DEPLOYING"), Some("DEPLOYMENT_QUEUED"), Some("DEPLOYING")]]);
    let (_, states) = call(&mut qovery, "GET", &format!("/environment/{id}/statuses"), None);
    let of = |kind: &str| states[kind][0]["state"].as_str().unwrap().to_owned();
    assert_eq!((of("jobs").as_str(), of("applications").as_str(), of("databases").as_str()), ("DEPLOYMENT_ERROR", "READY", "DEPLOYED"));
    assert_eq!(states["environment"]["state"], "DEPLOYMENT_ERROR");
}

#[test]
fn the_delete_event_runs_when_the_world_says_so_and_states_tell_what_goes() {
    for (delete_event, at, api) in
        [(DeleteEvent::Before, 0, "DELETE_QUEUED"), (DeleteEvent::Beside, 3, "DELETING"), (DeleteEvent::After, 6, "DELETED")]
    {
        let (mut qovery, id, _) = deployed(World { delete_event, ..World::default() });
        call(&mut qovery, "DELETE", &format!("/environment/{id}"), None);
        let steps = qovery.deployments[0].steps.clone();
        assert!(matches!(steps[at], Step::Run { .. }) && steps.len() == 7, "{delete_event:?}: {steps:?}");
        assert_eq!(carry_out(&mut qovery, 0), [[Some("DELETING"), Some(api), Some("DELETING")]]);
        assert!(!qovery.has_environment(&id));
    }
}

#[test]
fn a_delete_event_that_fails_keeps_the_environment_and_all_its_services_for_the_next_delete() {
    for (delete_event, api) in [(DeleteEvent::Before, "DEPLOYED"), (DeleteEvent::Beside, "DELETE_ERROR"), (DeleteEvent::After, "DELETED")] {
        let (mut qovery, id, job) = deployed(World { delete_event, ..World::default() });
        call(&mut qovery, "DELETE", &format!("/environment/{id}"), None);
        carry_out(&mut qovery, 1);
        let of_api = qovery.service_named(&id, "api").unwrap();
        let states = (qovery.state_of(&id), qovery.state_of_service(&job), qovery.state_of_service(&of_api));
        assert_eq!(states, (Some("DELETE_ERROR"), Some("DELETE_ERROR"), Some(api)), "{delete_event:?}");
        call(&mut qovery, "DELETE", &format!("/environment/{id}"), None);
        assert_eq!(carry_out(&mut qovery, 0).len(), 1);
        assert!(!qovery.has_environment(&id));
    }
}

#[test]
fn a_job_that_is_deleted_or_uninstalled_alone_runs_its_delete_event_and_the_rest_stays() {
    for (lone_delete, during, failed) in
        [(LoneDelete::EnvironmentUnchanged, "DEPLOYED", "DEPLOYED"), (LoneDelete::EnvironmentDeleting, "DELETING", "DELETE_ERROR")]
    {
        let (mut qovery, id, job) = deployed(World { lone_delete, ..World::default() });
        qovery.job_ended(&job, 0, Some(br#"{"ROLE": {"value": "x"}}"#));
        let seen = [[Some(during), Some("DEPLOYED"), Some("DELETING")]];
        assert_eq!(call(&mut qovery, "POST", &format!("/job/{job}/uninstall"), Some(&json!({}))).0, 202);
        assert_eq!(carry_out(&mut qovery, 0), seen);
        assert_eq!((qovery.state_of(&id), qovery.state_of_service(&job)), (Some("DEPLOYED"), Some("READY")));
        let (_, states) = call(&mut qovery, "GET", &format!("/environment/{id}/statuses"), None);
        assert_eq!(states["applications"][0]["is_part_last_deployment"], false);

        assert_eq!(call(&mut qovery, "DELETE", &format!("/job/{job}"), None).0, 204);
        let Step::Run { arguments, .. } = &qovery.deployments[0].steps[0] else { panic!("a run") };
        assert_eq!(arguments, &["delete"]);
        assert_eq!(carry_out(&mut qovery, 1), seen);
        assert_eq!(call(&mut qovery, "GET", &format!("/job/{job}/status"), None).1["state"], "DELETE_ERROR");
        assert_eq!(qovery.state_of(&id), Some(failed));

        call(&mut qovery, "DELETE", &format!("/job/{job}"), None);
        carry_out(&mut qovery, 0);
        assert!(qovery.service_named(&id, "identity").is_none());
        let api = qovery.service_named(&id, "api").unwrap();
        assert_eq!(qovery.variables_of(&api), [("ROLE".to_owned(), "x".to_owned())].into(), "the alias stays, with its last value");
    }
}

#[test]
fn services_and_job_that_are_deleted_in_one_request_go_and_no_other_does() {
    let (mut qovery, id, job) = deployed(World::default());
    let api = qovery.service_named(&id, "api").unwrap();
    qovery.delete_services(&id, &[api.clone(), job.clone()]).unwrap();
    let worker = qovery.service_named(&id, "worker").unwrap();
    assert_eq!(qovery.state_of_service(&worker), Some("DEPLOYED"));
    assert_eq!(carry_out(&mut qovery, 0), [[Some("DELETING"), Some("DELETING"), Some("DELETING")]]);
    assert_eq!((qovery.service(&api).is_none(), qovery.service(&job).is_none(), qovery.state_of(&id)), (true, true, Some("DEPLOYED")));
    let (_, services) = call(&mut qovery, "GET", &format!("/environment/{id}/services"), None);
    assert_eq!(services["results"].as_array().unwrap().len(), 2);
}

#[test]
fn a_skipped_job_never_runs_with_its_environment_until_it_is_put_back() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    let runs = |qovery: &mut Qovery| {
        call(qovery, "POST", &format!("/environment/{id}/deploy"), None);
        carry_out(qovery, 0).len()
    };
    // Whether a request that does not say so puts it back is as the world has it.
    for (put, left) in [(Put::Keeps, 0), (Put::Resets, 1)] {
        qovery.set_world(World { put, ..World::default() });
        qovery.skip(&job, true);
        assert_eq!(runs(&mut qovery), 0);
        let (_, stages) = call(&mut qovery, "GET", &format!("/environment/{id}/deploymentStage"), None);
        assert_eq!(stages["results"][1]["services"][0]["is_skipped"], true);
        let path = format!("/deploymentStage/{}/service/{job}", qovery.environments[&id].stages[1].id);
        assert_eq!(call(&mut qovery, "PUT", &path, None).0, 200);
        assert_eq!(runs(&mut qovery), left, "{put:?}");
        assert_eq!(call(&mut qovery, "PUT", &path, Some(&json!({ "is_skipped": false }))).0, 200);
        assert_eq!(runs(&mut qovery), 1);
    }
    qovery.skip(&job, true);
    call(&mut qovery, "DELETE", &format!("/environment/{id}"), None);
    assert_eq!(qovery.state_of_service(&job), Some("DELETE_QUEUED"), "it goes with the environment, without its event");
    assert_eq!(carry_out(&mut qovery, 0).len(), 0);
    assert!(!qovery.has_environment(&id));
}

#[test]
fn an_alias_that_a_person_made_of_an_output_outlives_the_next_run() {
    let (mut qovery, id, job) = deployed(World::default());
    qovery.job_ended(&job, 0, Some(br#"{"ROLE": {"value": "one"}, "OLD": {"value": "x"}}"#));
    let output = qovery.variables.iter().find(|variable| variable.key.ends_with("_ROLE")).unwrap().id.clone();
    let alias = json!({ "key": "MINE", "alias_scope": "ENVIRONMENT", "alias_parent_id": id });
    let (status, shown) = call(&mut qovery, "POST", &format!("/variable/{output}/alias"), Some(&alias));
    assert_eq!((status, &shown["aliased_variable"]["scope"]), (201, &json!("BUILT_IN")));
    qovery.job_ended(&job, 0, Some(br#"{"ROLE": {"value": "two"}}"#));
    let seen = qovery.variables_of(&job);
    assert_eq!((seen["MINE"].as_str(), seen["ROLE"].as_str(), seen["OLD"].as_str()), ("two", "two", "x"));
    assert!(!seen.keys().any(|key| key.ends_with("_OLD")), "the output itself is replaced: {seen:?}");
    let alias = qovery.variables.iter().find(|variable| variable.key == "OLD").unwrap().id.clone();
    assert_eq!(call(&mut qovery, "DELETE", &format!("/variable/{alias}"), None).0, 204);
    assert!(!qovery.variables_of(&job).contains_key("OLD"));
}

#[test]
fn files_external_secrets_and_overrides_are_shown_as_what_they_are() {
    let (mut qovery, id) = with_environment();
    let job = job(&mut qovery, &id);
    qovery.set_project_variable("WIDE", "project", false);
    qovery.set_variable(&job, "JOB", "WIDE", "job", false);
    let manager = "00000000-0000-4000-8000-000000000001";
    for (key, more) in [
        ("FILE", json!({ "mount_path": "/qovery/qovery.yml" })),
        ("KEPT", json!({ "secret_manager_access_id": manager })),
        ("KEPT_FILE", json!({ "secret_manager_access_id": manager, "mount_path": "/key" })),
    ] {
        let mut body = json!({ "key": key, "value": "hush", "is_secret": false, "variable_scope": "JOB", "variable_parent_id": job });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, made) = call(&mut qovery, "POST", "/variable", Some(&body));
        assert_eq!((status, &made["is_secret"]), (201, &json!(false)), "{made}");
    }
    let (_, listed) = call(&mut qovery, "GET", &format!("/variable?parent_id={job}&scope=JOB"), None);
    let columns = |variable: &serde_json::Value| {
        ["key", "variable_type", "value", "mount_path"].map(|key| variable[key].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(
        listed["results"].as_array().unwrap().iter().map(columns).collect::<Vec<_>>(),
        [
            ["WIDE", "VALUE", "project", "-"],
            ["WIDE", "OVERRIDE", "job", "-"],
            ["FILE", "FILE", "hush", "/qovery/qovery.yml"],
            ["KEPT", "EXTERNAL_SECRET", "-", "-"],
            ["KEPT_FILE", "FILE_EXTERNAL_SECRET", "-", "/key"],
        ]
    );
    assert_eq!(listed["results"][1]["overridden_variable"]["scope"], "PROJECT");
    let seen = qovery.variables_of(&job);
    assert_eq!((seen["WIDE"].as_str(), seen["FILE"].as_str(), seen["KEPT"].as_str()), ("job", "/qovery/qovery.yml", "hush"));
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
    qovery.add_service(&id, Kind::AgenticWorkflow, "agent");
    let settings = json!({ "security.service_account_name": "app" });
    assert_eq!(call(&mut qovery, "PUT", &format!("/terraform/{infra}/advancedSettings"), Some(&settings)).0, 201);
    assert_eq!(qovery.account_of(&infra), "app");
    qovery.set_service(&infra, "use_cluster_credentials", json!(false));
    let repository = "00000000-0000-4000-8000-000000000002";
    let source = json!({ "helm_repository": { "repository": repository, "chart_name": "c", "chart_version": "1" } });
    let values = json!({ "set": [["a", "b"]] });
    let helm = json!({ "name": "chart", "auto_deploy": false, "source": source, "arguments": ["--wait"], "values_override": values });
    let (status, made) = call(&mut qovery, "POST", &format!("/environment/{id}/helm"), Some(&helm));
    assert_eq!(status, 201, "{made}");
    let shown = &made["source"]["repository"];
    assert_eq!((&shown["chart_name"], &shown["repository"]["id"]), (&json!("c"), &json!(repository)));
    assert_eq!((&made["arguments"], &made["values_override"]), (&helm["arguments"], &values));
    assert_eq!(call(&mut qovery, "POST", &format!("/environment/{id}/helm"), Some(&helm)).0, 409);
    let path = format!("/helm/{}", made["id"].as_str().unwrap());
    let source = json!({ "git_repository": { "url": "https://github.com/acme/charts.git", "branch": "v2" } });
    let helm = json!({ "name": "chart", "auto_deploy": false, "source": source, "arguments": [], "values_override": {} });
    let (status, edited) = call(&mut qovery, "PUT", &path, Some(&helm));
    assert_eq!((status, &edited["source"]["git"]["git_repository"]["branch"]), (200, &json!("v2")), "{edited}");
    assert_eq!(call(&mut qovery, "GET", &format!("{path}/advancedSettings"), None).0, 200);
    assert_eq!(call(&mut qovery, "PUT", &format!("{path}/advancedSettings"), Some(&json!({ "a.b": 1 }))), (201, json!({ "a.b": 1 })));
    let (status, services) = call(&mut qovery, "GET", &format!("/environment/{id}/services"), None);
    assert_eq!((status, services["results"].as_array().unwrap().len()), (200, 7), "{services}");
    let terraform = services["results"].as_array().unwrap().iter().find(|service| service["service_type"] == "TERRAFORM").unwrap();
    assert_eq!(terraform["use_cluster_credentials"], false);
    assert_eq!(call(&mut qovery, "GET", &format!("/environment/{id}/helm"), None).1["results"].as_array().unwrap().len(), 1);
    assert_eq!(call(&mut qovery, "DELETE", &path, None).0, 204);
    carry_out(&mut qovery, 0);
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
