//! The policies for policy tokens of Qovery in `docs/permissions`: they allow what the job and `install` ask, nothing else of the API, and
//! without any one of these calls a run fails with its name or says what it could not do.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use qovery_irsa_sandbox::qovery::{Event, Kind, LeftOut, World, operations};
use serde_json::{Value, json};

use crate::support::{
    environment::Run,
    keyless::{JOB_ROLE, KEYLESS},
    repository::read,
    shop::{BOUND, Shop},
};

const START: &str = "docs/permissions/qovery-policy-start.rego";
const INSTALL: &str = "docs/permissions/qovery-policy-install.rego";
const POLICY_TOKEN: &str = "sk-qov-01-local0000000000000000000000";

/// What the policy of the job allows: method, path, and what is said where it is not allowed.
const OF_START: [(&str, &str, &str); 11] = [
    ("GET", "/environment/{id}/services", "the services are not bound, since Qovery cannot be asked: failed to list the services"),
    ("GET", "/environment/{id}/statuses", "so what running pods use stays"),
    ("GET", "/environment/{id}/deploymentStage", "nothing is removed: the environment stays"),
    (
        "GET",
        "/application/{id}/advancedSettings",
        "the services are not bound, since Qovery cannot be asked: failed to read the advanced settings of application",
    ),
    (
        "GET",
        "/container/{id}/advancedSettings",
        "the services are not bound, since Qovery cannot be asked: failed to read the advanced settings of container",
    ),
    (
        "GET",
        "/job/{id}/advancedSettings",
        "the services are not bound, since Qovery cannot be asked: failed to read the advanced settings of job",
    ),
    (
        "GET",
        "/terraform/{id}/advancedSettings",
        "the services are not bound, since Qovery cannot be asked: failed to read the advanced settings of Terraform service",
    ),
    ("PUT", "/application/{id}/advancedSettings", "`PUT /application/{id}/advancedSettings`"),
    ("PUT", "/container/{id}/advancedSettings", "`PUT /container/{id}/advancedSettings`"),
    ("PUT", "/job/{id}/advancedSettings", "`PUT /job/{id}/advancedSettings`"),
    ("PUT", "/terraform/{id}/advancedSettings", "`PUT /terraform/{id}/advancedSettings`"),
];

/// What the policy of `install` allows: method and path.
const OF_INSTALL: [(&str, &str); 31] = [
    ("GET", "/environment/{id}"),
    ("GET", "/environment/{id}/services"),
    ("GET", "/environment/{id}/deploymentStage"),
    ("GET", "/environment/{id}/statuses"),
    ("POST", "/environment/{id}/job"),
    ("POST", "/environment/{id}/helm"),
    ("POST", "/environment/{id}/deploymentStage"),
    ("GET", "/job/{id}"),
    ("PUT", "/job/{id}"),
    ("GET", "/helm/{id}"),
    ("PUT", "/helm/{id}"),
    ("GET", "/application/{id}/advancedSettings"),
    ("PUT", "/application/{id}/advancedSettings"),
    ("GET", "/container/{id}/advancedSettings"),
    ("PUT", "/container/{id}/advancedSettings"),
    ("GET", "/job/{id}/advancedSettings"),
    ("PUT", "/job/{id}/advancedSettings"),
    ("GET", "/terraform/{id}/advancedSettings"),
    ("PUT", "/terraform/{id}/advancedSettings"),
    ("PUT", "/deploymentStage/{id}/service/{id}"),
    ("PUT", "/deploymentStage/{id}/moveBefore/{id}"),
    ("GET", "/organization/{id}/containerRegistry"),
    ("GET", "/organization/{id}/helmRepository"),
    ("GET", "/organization/{id}/gitToken"),
    ("GET", "/variable"),
    ("POST", "/variable"),
    ("PUT", "/variable/{id}"),
    ("DELETE", "/variable/{id}"),
    ("POST", "/job/{id}/deploy"),
    ("POST", "/helm/{id}/deploy"),
    ("POST", "/environment/{id}/deploy"),
];

/// The policy with the project of the local Qovery, as its comment says how.
fn policy(shop: &Shop, file: &str) -> String {
    let project = shop.ask("GET", &format!("/environment/{}", shop.id), None)["project"]["id"].as_str().unwrap().to_owned();
    let text = read(file);
    assert_eq!(text.matches("00000000-0000-4000-8000-000000000000").count(), 1);
    text.replace("00000000-0000-4000-8000-000000000000", &project)
}

fn give_token(shop: &Shop, policy: &str, denied: &[(&str, &str)]) {
    shop.environment.sandbox.qovery(|qovery| qovery.add_token_with_policy(POLICY_TOKEN, policy, denied)).unwrap();
}

/// The operations of the API that a policy allows in its own project, each as method and path.
fn allowed(shop: &Shop, file: &str, body: &Value) -> Vec<(String, String)> {
    let policy = policy(shop, file);
    give_token(shop, &policy, &[]);
    let mut ids = std::collections::BTreeMap::new();
    for (kind, name) in [
        ("application", Kind::Application),
        ("container", Kind::Container),
        ("job", Kind::Job),
        ("helm", Kind::Helm),
        ("terraform", Kind::Terraform),
    ] {
        ids.insert(kind, shop.environment.sandbox.qovery(|qovery| qovery.add_service(&shop.id, name, &format!("a-{kind}"))));
    }
    ids.insert("environment", shop.id.clone());
    ids.insert("service", ids["job"].clone());
    let concrete = |path: &str| {
        let mut before = "";
        let segments = path.split('/').map(|segment| {
            let given = if segment.starts_with('{') {
                ids.get(before).cloned().unwrap_or_else(|| "ffffffff-0000-4000-8000-000000000000".to_owned())
            } else {
                segment.to_owned()
            };
            before = segment;
            given
        });
        segments.collect::<Vec<_>>().join("/")
    };
    let template = |path: &str| path.split('/').map(|part| if part.starts_with('{') { "{id}" } else { part }).collect::<Vec<_>>().join("/");
    let all = operations().into_iter().filter(|(method, path)| {
        shop.environment.sandbox.qovery(|qovery| qovery.token_allows(POLICY_TOKEN, method, &concrete(path), body))
    });
    all.map(|(method, path)| (method, template(&path))).collect()
}

#[test]
fn each_policy_allows_its_calls_and_no_other_of_the_api() {
    let sorted = |mut calls: Vec<(String, String)>| {
        calls.sort();
        calls.dedup();
        calls
    };
    let owned = |method: &str, path: &str| (method.to_owned(), path.to_owned());
    let shop = Shop::new(BOUND);
    let wanted = OF_START.iter().map(|(method, path, _)| owned(method, path)).collect();
    assert_eq!(sorted(allowed(&shop, START, &Value::Null)), sorted(wanted));
    let shop = Shop::new(BOUND);
    let wanted: Vec<_> = OF_INSTALL.iter().map(|(method, path)| owned(method, path)).collect();
    assert_eq!(sorted(allowed(&shop, INSTALL, &json!({ "variable_scope": "JOB" }))), sorted(wanted));
    // Of variables only a job's can be made.
    let shop = Shop::new(BOUND);
    assert!(!allowed(&shop, INSTALL, &json!({ "variable_scope": "PROJECT" })).contains(&owned("POST", "/variable")));
}

#[test]
fn another_project_is_out_of_reach_and_the_placeholder_reaches_nothing() {
    let shop = Shop::new(BOUND);
    give_token(&shop, &read(START), &[]);
    let services = format!("/environment/{}/services", shop.id);
    assert!(!shop.environment.sandbox.qovery(|qovery| qovery.token_allows(POLICY_TOKEN, "GET", &services, &Value::Null)));
    give_token(&shop, &read(INSTALL), &[]);
    for (method, path) in [("GET", services), ("POST", format!("/environment/{}/deploy", shop.id))] {
        assert!(!shop.environment.sandbox.qovery(|qovery| qovery.token_allows(POLICY_TOKEN, method, &path, &Value::Null)), "{path}");
    }
}

/// One service of each kind that can be bound.
fn all_kinds() -> String {
    BOUND.replace("[api, worker]", "[api, worker, nightly, infra]")
}

fn with_all_kinds(world: World) -> Shop {
    let mut shop = Shop::new(&all_kinds());
    shop.environment.sandbox.qovery(|qovery| {
        qovery.set_world(world);
        qovery.add_service(&shop.id, Kind::Job, "nightly");
        qovery.add_service(&shop.id, Kind::Terraform, "infra");
    });
    shop.environment.run(&["install"]).ended(0);
    shop.environment.set("IRSA_QOVERY_TOKEN", POLICY_TOKEN);
    shop
}

/// A first deploy, and the deletion of the environment with a service that is skipped.
fn life_of_a_job(denied: &[(&str, &str)]) -> String {
    let shop = with_all_kinds(World { left_out: LeftOut::LeftOut, ..World::default() });
    give_token(&shop, &policy(&shop, START), denied);
    shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", POLICY_TOKEN);
    let deployed = shop.deploy();
    let mut said: String = deployed.runs.iter().map(|run| run.out.clone() + &run.err).collect();
    if deployed.runs.iter().all(|run| run.code == 0) {
        shop.skip("db");
        let deleted = shop.delete(&shop.id);
        said += &deleted.runs.iter().map(|run| run.out.clone() + &run.err).collect::<String>();
    }
    said
}

#[test]
fn the_policy_of_the_job_is_enough_and_each_call_is_missed() {
    let whole = life_of_a_job(&[]);
    for (method, path, said) in OF_START {
        assert!(!whole.contains(said), "{method} {path}: {whole}");
    }
    assert!(whole.contains("bind Terraform service `infra` to ServiceAccount `app`"), "{whole}");
    // What it leaves out costs a note.
    assert!(whole.contains("Unauthorized"), "{whole}");
    side_by_side(&OF_START, |(method, path, said)| {
        let missed = life_of_a_job(&[(method, path)]);
        assert!(missed.contains(said), "{method} {path}: {missed}");
    });
}

/// Every way in which `install` asks something: a keyless job, again with another image, file and chart, a job from Git, other kinds of
/// services. The first run that fails ends it.
fn life_of_an_installation(denied: &[(&str, &str)]) -> Result<(), String> {
    let mut shop = Shop::of_nothing(World::default(), KEYLESS);
    shop.environment.sandbox.qovery(|qovery| {
        qovery.add_service(&shop.id, Kind::Job, "nightly");
        qovery.add_service(&shop.id, Kind::Terraform, "infra");
        qovery.add_git_token("bot");
        qovery.add_helm_repository("charts");
    });
    shop.bootstrap(&[]).ended(0);
    give_token(&shop, &policy(&shop, INSTALL), denied);
    shop.environment.set("IRSA_QOVERY_TOKEN", POLICY_TOKEN);
    let well = |run: Run| if run.code == 0 { Ok(run) } else { Err(run.err) };
    let id = shop.id.clone();
    let install = |flags: &[&str]| {
        let arguments = [&["install", "--environment", &id, "--role", JOB_ROLE], flags].concat();
        let (run, performed) = shop.engine().in_background(|| shop.environment.run(&arguments));
        assert!(performed.iter().all(|performed| performed.well && performed.event != Event::Delete), "{performed:?}");
        well(run)
    };
    let file = |text: &str| std::fs::write(shop.environment.sandbox.files().join("own.json"), text).unwrap();
    let policy = |action: &str| format!(r#"{{"Statement": [{{"Effect": "Allow", "Action": "{action}", "Resource": "*"}}]}}"#);
    let with_file = KEYLESS
        .replace("[api, worker]", "[api, worker, nightly, infra]")
        .replace("    role:\n", "    role:\n      inlinePolicies: {own: {file: own.json}}\n");
    file(&policy("s3:GetObject"));
    shop.environment.write_manifest(&with_file);
    install(&["--deploy"])?;
    file(&policy("s3:PutObject"));
    let edited = with_file
        .replace("tag: \"1.0\"", "tag: \"1.1\"")
        .replace("git: {url: \"https://github.com/acme/qovery-irsa\"}", "repository: charts, version: \"1.0\"");
    shop.environment.write_manifest(&edited);
    install(&[])?;
    let image = "image: {registry: ghcr, name: acme/qovery-irsa, tag: \"1.0\"}";
    let git = "git: {url: \"https://github.com/acme/identity.git\", token: bot}";
    shop.environment.write_manifest(&KEYLESS.replace(image, git));
    install(&[]).map(drop)
}

#[test]
fn the_policy_of_install_is_enough_and_without_any_call_a_run_fails_with_its_name() {
    life_of_an_installation(&[]).unwrap();
    side_by_side(&OF_INSTALL, |(method, path)| {
        let Err(said) = life_of_an_installation(&[(method, path)]) else { panic!("{method} {path} is not missed") };
        // Settings are read by one function for all kinds.
        let generic = format!("{method} /{{service}}/{{id}}/advancedSettings");
        let named = said.contains(&format!("`{method} {path}`")) || method == "GET" && said.contains(&generic);
        assert!(named && said.contains("it is a policy token that may not call"), "{method} {path}: {said}");
    });
}

/// Plays it for each, some at a time.
fn side_by_side<T: Copy + Send + Sync>(all: &[T], play: impl Fn(T) + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(*one))) {
                        failures.lock().unwrap().push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
