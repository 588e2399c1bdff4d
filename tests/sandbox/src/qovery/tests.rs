use http::HeaderMap;
use serde_json::json;

use super::{Event, Kind, Qovery, READER_TOKEN, Step, TOKEN, description::Description};
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
    assert_eq!(Description::vendored().ids().len(), 28);
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
    for (method, path) in [("GET", "/environment/x"), ("GET", "/nowhere"), ("GET", "/variable"), ("DELETE", "/job/x")] {
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
    assert_eq!((account(0), account(1)), (Some(String::new()), Some("app".to_owned())));
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
    assert_eq!(qovery.variables_of(&api), [(key.clone(), "arn".to_owned())].into());

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
