//! Services bound to their ServiceAccount through Qovery's API, and what comes of it when that does not go well.

use qovery_irsa_sandbox::{
    faults::{Fault, When},
    qovery::{Kind, READER_TOKEN},
};
use serde_json::json;

use crate::support::{
    fixtures::NAMESPACE,
    shop::{BOUND, Shop},
};

const LIST: &str = "qovery:listServicesByEnvironmentId";
const PUT: &str = "qovery:editAdvancedSettings";

#[test]
fn services_are_bound_where_they_differ_and_the_report_says_from_when_on() {
    let shop = Shop::new(BOUND);
    shop.set("worker", "security.service_account_name", json!("app"));
    let run = shop.environment.start();
    assert_eq!((shop.account_of("api"), shop.account_of("worker")), ("app".to_owned(), "app".to_owned()));
    assert_eq!(run.done().last(), Some(&"bind application `api` to ServiceAccount `app`"));
    assert!(
        run.out.contains("note: left to do once this deployment has ended: deploy application `api` again. ")
            && !run.out.contains("`worker`"),
        "{}",
        run.out
    );
    let again = shop.environment.start();
    assert_eq!(again.writes, 0);
    assert!(!again.out.contains("left to do"), "{}", again.out);
}

#[test]
fn what_nobody_knows_in_the_settings_survives() {
    let shop = Shop::new(BOUND);
    shop.set("api", "a.setting.of.tomorrow", json!({ "deep": [1, null, "x"] }));
    let id = shop.service(&shop.id, "api");
    let mut before = shop.environment.sandbox.qovery(|qovery| qovery.settings(&id)).unwrap();
    shop.environment.start();
    before.insert("security.service_account_name".to_owned(), json!("app"));
    assert_eq!(shop.environment.sandbox.qovery(|qovery| qovery.settings(&id)).unwrap(), before);
}

#[test]
fn a_service_of_another_service_account_is_refused_and_nothing_is_changed_anywhere() {
    let shop = Shop::new(BOUND);
    shop.set("api", "security.service_account_name", json!("theirs"));
    let run = shop.environment.run(&["start"]).ended(3);
    assert_eq!(run.writes, 0);
    assert!(
        run.err.starts_with("error: refused: application `api` runs with ServiceAccount `theirs`; it should be `app`\n"),
        "{}",
        run.err
    );
    shop.environment.write_manifest(&BOUND.replace("bindServices", "takeOver: true\n    bindServices"));
    assert!(shop.environment.start().done().contains(&"bind application `api` to ServiceAccount `app`, no longer to `theirs`"));
    assert_eq!(shop.account_of("api"), "app");
}

#[test]
fn plan_shows_the_bindings_and_delete_asks_qovery_nothing() {
    let mut shop = Shop::new(BOUND);
    let planned = shop.environment.run(&["plan"]).ended(10);
    assert_eq!(planned.writes, 0);
    let started = shop.environment.start();
    assert_eq!(planned.planned(), started.done());
    let mark = shop.environment.sandbox.witness().mark();
    shop.environment.unset("IRSA_QOVERY_TOKEN");
    shop.environment.delete();
    assert!(shop.environment.sandbox.witness().since(mark).iter().all(|call| call.service != "qovery"));
    assert_eq!(shop.account_of("api"), "app", "delete unbinds nothing");
}

#[test]
fn a_token_that_is_wrong_binds_nothing_and_one_that_may_only_read_is_a_clear_error_and_none_is_shown() {
    let mut shop = Shop::new(BOUND);
    shop.environment.set("IRSA_QOVERY_TOKEN", "qov_nobody_knows_this_one");
    let run = shop.environment.start();
    let note = format!(
        "note: the services are not bound, since Qovery cannot be asked: failed to list the services of environment `{}`: Unauthorized: ",
        shop.id
    );
    assert!(run.out.contains(&note) && !run.out.contains("nobody_knows"), "{}", run.out);
    let by_hand = "or set `security.service_account_name` in the console, of `api` to `app`, `worker` to `app`, and deploy them";
    assert!(run.out.contains(by_hand), "{}", run.out);
    assert_eq!(shop.account_of("api"), "");
    shop.environment.set("IRSA_QOVERY_TOKEN", READER_TOKEN);
    let run = shop.environment.run(&["start"]).ended(1);
    assert!(run.err.contains("failed to bind application `api`") && run.err.contains("caused by: Forbidden: "), "{}", run.err);
    assert!(run.err.contains("hint: give the API token a role"), "{}", run.err);
    shop.environment.set("IRSA_QOVERY_TOKEN", qovery_irsa_sandbox::qovery::TOKEN);
    assert_eq!(shop.environment.start().done().len(), 2, "it continues where it stopped");
}

#[test]
fn an_environment_that_qovery_does_not_have_is_said_and_has_its_role_all_the_same() {
    let mut shop = Shop::new(BOUND);
    shop.environment.set("QOVERY_ENVIRONMENT_ID", "00000000-0000-4000-8000-000000000000");
    let run = shop.environment.start();
    assert!(
        run.out.contains("cannot be asked: failed to list the services") && run.out.contains("Not Found: no environment with id"),
        "{}",
        run.out
    );
    assert_eq!((shop.environment.roles(), shop.account_of("api")), (1, String::new()));
}

#[test]
fn faults_that_pass_are_survived_at_every_call() {
    let error = |status| Fault::Error { status, code: String::new(), message: "for a moment".to_owned() };
    for operation in [LIST, "qovery:getAdvancedSettings", PUT] {
        for fault in [Fault::Throttle, error(500), error(503), Fault::lost_answer(), Fault::TruncatedBody, Fault::ContentType("text/html")]
        {
            let shop = Shop::new(BOUND);
            shop.environment.sandbox.faults().add(operation, When::Nth(1), fault.clone());
            shop.environment.start();
            assert_eq!(shop.account_of("api"), "app", "{operation} {fault:?}");
        }
    }
}

#[test]
fn a_throttle_is_obeyed_for_as_long_as_it_asks() {
    let shop = Shop::new(BOUND);
    shop.environment.sandbox.faults().add(LIST, When::Next(2), Fault::Throttle);
    let started = std::time::Instant::now();
    shop.environment.start();
    assert!(started.elapsed() >= std::time::Duration::from_secs(2), "twice a second: {:?}", started.elapsed());
}

#[test]
fn faults_that_stay_end_before_the_deadline_with_the_reason_and_a_later_run_completes() {
    let error = |status, message: &str| Fault::Error { status, code: String::new(), message: message.to_owned() };
    for (operation, fault, cause, code) in [
        (LIST, error(500, "broken"), "Internal Server Error: broken", 0),
        (LIST, Fault::Throttle, "Too Many Requests: too many requests", 0),
        (LIST, Fault::TruncatedBody, "NoConnection: ", 0),
        (LIST, error(200, "not the answer that was asked for"), "UnreadableAnswer: missing field `results`", 0),
        (PUT, error(409, "a deployment is in progress"), "caused by: Conflict: a deployment is in progress", 1),
        (PUT, error(400, "odd setting"), "caused by: Bad Request: odd setting", 1),
    ] {
        let mut shop = Shop::new(BOUND);
        shop.environment.set("IRSA_TIMEOUT", "10s");
        let rule = shop.environment.sandbox.faults().add(operation, When::Always, fault);
        let started = std::time::Instant::now();
        let run = shop.environment.run(&["start"]).ended(code);
        assert!(started.elapsed() < std::time::Duration::from_secs(15));
        let told = if code == 0 { &run.out } else { &run.err };
        assert!(told.contains(cause), "{operation}: {told}");
        assert!(run.writes > 0, "the role is made whatever Qovery says: {told}");
        assert_eq!(shop.account_of("api"), "", "{operation}");
        shop.environment.sandbox.faults().remove(rule);
        shop.environment.start();
        assert_eq!((shop.account_of("api"), shop.account_of("worker")), ("app".to_owned(), "app".to_owned()));
    }
}

#[test]
fn a_service_that_somebody_binds_elsewhere_meanwhile_is_not_taken_from_them() {
    let shop = Shop::new(BOUND);
    let id = shop.service(&shop.id, "api");
    // Seen empty by the first look; by the time it is written somebody else was there.
    shop.environment.sandbox.faults().add("iam:CreateRole", When::Nth(1), Fault::Latency(std::time::Duration::from_millis(1500)));
    let child = shop.environment.spawn_in(NAMESPACE, &["start"]);
    while shop.environment.sandbox.witness().count("iam:CreateRole") == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    shop.environment.sandbox.qovery(|qovery| qovery.set_setting(&id, "security.service_account_name", json!("theirs")));
    let err = child.end().ended(3).err;
    assert!(err.contains("application `api` runs with ServiceAccount `theirs`"), "{err}");
    assert_eq!(shop.account_of("api"), "theirs");
}

#[test]
fn a_cron_job_is_bound_by_its_id_as_any_job() {
    let shop = Shop::new(BOUND);
    let nightly = shop.environment.sandbox.qovery(|qovery| qovery.add_service(&shop.id, Kind::Job, "nightly"));
    shop.environment.write_manifest(&BOUND.replace("[api, worker]", &format!("[{}]", nightly.to_uppercase())));
    assert_eq!(shop.environment.start().done().last(), Some(&"bind job `nightly` to ServiceAccount `app`"));
    assert_eq!((shop.account_of("nightly"), shop.account_of("api")), ("app".to_owned(), String::new()));
    shop.environment.write_manifest(&BOUND.replace("[api, worker]", "[db, nobody]"));
    let run = shop.environment.run(&["start"]).ended(3);
    assert!(run.err.contains("database `db` cannot be bound") && run.err.contains("has no service `nobody`; there are"), "{}", run.err);
}

#[test]
fn a_terraform_service_is_bound_like_any_other_and_the_report_names_its_traps() {
    let shop = Shop::new(&BOUND.replace("[api, worker]", "[infra]"));
    shop.environment.sandbox.qovery(|qovery| qovery.add_service(&shop.id, Kind::Terraform, "infra"));
    shop.set("infra", "terraform.setting.of.tomorrow", json!(7));
    let run = shop.environment.start();
    assert_eq!(run.done().last(), Some(&"bind Terraform service `infra` to ServiceAccount `app`"));
    for trap in ["a Role for secrets and leases", "they are AWS keys, and win over the role"] {
        assert!(run.out.contains(trap), "{}", run.out);
    }
    assert_eq!((shop.account_of("infra"), shop.account_of("api")), ("app".to_owned(), String::new()));
    let id = shop.service(&shop.id, "infra");
    let settings = shop.environment.sandbox.qovery(|qovery| qovery.settings(&id)).unwrap();
    assert_eq!(settings["terraform.setting.of.tomorrow"], 7);
    let again = shop.environment.start();
    assert!(again.writes == 0 && !again.out.contains("secrets and leases"), "{}", again.out);
}

#[test]
fn what_runs_with_a_service_account_of_somebody_else_is_refused_whatever_it_is() {
    for kind in [Kind::Helm, Kind::ArgoCd, Kind::Database] {
        let shop = Shop::new(&BOUND.replace("[api, worker]", "[other]"));
        shop.environment.sandbox.qovery(|qovery| qovery.add_service(&shop.id, kind, "other"));
        let run = shop.environment.run(&["start"]).ended(3);
        assert!(run.writes == 0 && run.err.contains("`other` cannot be bound"), "{kind:?}: {}", run.err);
    }
}
