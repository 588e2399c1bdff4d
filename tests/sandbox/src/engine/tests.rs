//! The engine with jobs that are closures: what it gives them, what it does with charts.

use std::{fs, sync::Mutex};

use serde_json::json;

use super::*;
use crate::{
    aws::Credentials,
    qovery::{Chart, DeleteEvent, Kind, TOKEN, World},
    service::{Request, Service as _},
};

const NAMESPACE: &str = "z1a2b3c4-shop";
const ACCOUNT: &str = "apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Values.serviceAccount | quote }}
  annotations:
    eks.amazonaws.com/role-arn: {{ .Values.roleArn | quote }}
    helm.sh/resource-policy: keep
";
const ROLE: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .Values.serviceAccount }}
  annotations: {helm.sh/resource-policy: keep}
rules: [{apiGroups: [''], resources: [serviceaccounts], verbs: [list]}]
";
const BINDING: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: goes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .Values.serviceAccount | quote }}}
subjects: [{kind: ServiceAccount, name: {{ .Values.serviceAccount | quote }}}]
";

/// A sandbox with an environment, a chart, and a Helm service before a job that runs as the chart's `ServiceAccount`.
struct Scene {
    sandbox: Sandbox,
    charts: tempfile::TempDir,
    environment: String,
    job: String,
    helm: String,
}

impl Scene {
    fn new() -> Self {
        let charts = tempfile::tempdir().unwrap();
        let folder = charts.path().join("account");
        fs::create_dir_all(folder.join("templates")).unwrap();
        for (name, text) in [
            ("Chart.yaml", "apiVersion: v2\nname: account\nversion: 1.0.0\n"),
            ("templates/account.yaml", ACCOUNT),
            ("templates/binding.yaml", BINDING),
            ("templates/role.yaml", ROLE),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let sandbox = Sandbox::start();
        let (environment, job, helm) = sandbox.qovery(|qovery| {
            let environment = qovery.add_environment("shop", NAMESPACE);
            qovery.add_service(&environment, Kind::Application, "api");
            let helm = make_helm(qovery, &environment, "identity-account");
            let job = qovery.add_service(&environment, Kind::Job, "identity");
            let on = |argument| json!({ "arguments": [argument] });
            qovery.set_job(&job, "schedule", json!({ "on_start": on("start"), "on_delete": on("delete") }));
            qovery.set_setting(&job, "security.service_account_name", json!("qovery-irsa"));
            (environment, job, helm)
        });
        let scene = Self { sandbox, charts, environment, job, helm };
        // The chart first: Helm services are of a later stage.
        let stages = scene.ask("GET", &format!("/environment/{}/deploymentStage", scene.environment), None);
        let first = stages["results"][0]["id"].as_str().unwrap().to_owned();
        scene.ask("PUT", &format!("/deploymentStage/{first}/service/{}", scene.helm), None);
        scene
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Token {TOKEN}").parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        let body = body.map(|body| body.to_string()).unwrap_or_default().into();
        let request = Request { method: method.parse().unwrap(), path: path.to_owned(), query: String::new(), headers, body };
        let response = self.sandbox.qovery(|qovery| qovery.answer(&request, std::time::SystemTime::now())).response;
        let text = String::from_utf8_lossy(&response.body);
        assert!(response.status < 300, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn perform(&self, event: &str, run: impl Fn(&JobRun) -> i32 + Send + Sync) -> Performed {
        let path = format!("/environment/{}", self.environment);
        if event == "delete" {
            self.ask("DELETE", &path, None);
        } else {
            self.ask("POST", &format!("{path}/{event}"), None);
        }
        let engine = Engine::new(&self.sandbox, |job| JobEnd { code: run(job) }).with_charts(self.charts.path());
        engine.perform().unwrap()
    }

    fn objects(&self) -> [bool; 3] {
        let has = |plural: &str, name: &str| self.sandbox.kubernetes(|kubernetes| kubernetes.object(plural, NAMESPACE, name).is_some());
        [has("serviceaccounts", "qovery-irsa"), has("roles", "qovery-irsa"), has("rolebindings", "goes")]
    }
}

fn make_helm(qovery: &mut Qovery, environment: &str, name: &str) -> String {
    let helm = qovery.add_service(environment, Kind::Helm, name);
    let values = json!({ "serviceAccount": "qovery-irsa", "roleArn": "arn:aws:iam::123456789012:role/job" }).to_string();
    qovery.set_service(
        &helm,
        "source",
        json!({ "git_repository": { "url": "https://github.com/acme/it", "root_path": "/charts/account" } }),
    );
    qovery.set_service(
        &helm,
        "values_override",
        json!({ "file": { "raw": { "values": [{ "name": "values.yaml", "content": values }] } } }),
    );
    helm
}

#[test]
fn a_job_runs_as_its_service_account_with_token_web_identity_and_files_and_without_keys() {
    let scene = Scene::new();
    let file = json!({
        "key": "JOB_FILE_QOVERY_YML", "value": "identities: []", "is_secret": false, "variable_scope": "JOB", "variable_parent_id": scene.job,
        "mount_path": "/qovery-irsa/qovery.yml",
    });
    scene.ask("POST", "/variable", Some(file));
    scene.sandbox.qovery(|qovery| qovery.set_variable(&scene.job, "JOB", "IRSA_MANIFEST", "/qovery-irsa/qovery.yml", false));
    let seen = Mutex::new(Vec::new());
    let performed = scene.perform("deploy", |run| {
        seen.lock().unwrap().push(run.clone());
        fs::write(&run.variables["IRSA_OUTPUT"], r#"{"NAME": {"value": "x", "sensitive": false}}"#).unwrap();
        0
    });
    assert!(performed.well, "{performed:?}");
    assert_eq!((performed.runs, performed.started.len()), (vec![("identity".to_owned(), 0)], 1));
    let run = seen.into_inner().unwrap().remove(0);
    assert_eq!((run.account.as_deref(), run.arguments.as_slice()), (Some("qovery-irsa"), ["start".to_owned()].as_slice()));
    let variables = &run.variables;
    assert_eq!(variables["AWS_ROLE_ARN"], "arn:aws:iam::123456789012:role/job");
    assert_eq!(fs::read_to_string(&variables["IRSA_MANIFEST"]).unwrap(), "identities: []");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "KUBECONFIG"] {
        assert!(!variables.contains_key(name), "{name}");
    }
    let subject = |file: &str| -> Value {
        let token = fs::read_to_string(file).unwrap();
        scene.sandbox.cluster().kubernetes(|kubernetes| kubernetes.key().verify(&token)).unwrap()
    };
    let own = subject(&variables["AWS_WEB_IDENTITY_TOKEN_FILE"]);
    assert_eq!((&own["sub"], &own["aud"]), (&json!("system:serviceaccount:z1a2b3c4-shop:qovery-irsa"), &json!(["sts.amazonaws.com"])));
    let mounted = subject(&format!("{}/token", variables["IRSA_KUBE_TOKEN_DIR"]));
    assert_eq!(mounted["aud"], json!(["https://kubernetes.default.svc"]));
    assert!(mounted["kubernetes.io"]["pod"]["uid"].is_string());
    // Outputs are read, and the services see them.
    let api = scene.sandbox.qovery(|qovery| qovery.service_named(&scene.environment, "api")).unwrap();
    assert_eq!(scene.sandbox.qovery(|qovery| qovery.variables_of(&api))["NAME"], "x");
    // None of this was asked of a server.
    let Credentials { secret_access_key, .. } = crate::aws::Aws::admin();
    assert!(!variables.values().any(|value| value.contains(&secret_access_key)));
}

#[test]
fn a_job_whose_service_account_is_not_there_cannot_start_and_ends_the_deployment() {
    let scene = Scene::new();
    scene.ask("DELETE", &format!("/helm/{}", scene.helm), None);
    let engine = Engine::new(&scene.sandbox, |_| JobEnd { code: 0 }).with_charts(scene.charts.path());
    assert!(engine.perform().unwrap().well);
    drop(engine);
    let performed = scene.perform("deploy", |_| panic!("it cannot start"));
    assert!(!performed.well && performed.runs.is_empty() && performed.started.is_empty());
    assert!(performed.failures[0].1.contains("serviceaccount \"qovery-irsa\" not found"), "{:?}", performed.failures);
    assert_eq!(scene.sandbox.qovery(|qovery| qovery.state_of_service(&scene.job)), Some("DEPLOYMENT_ERROR"));
}

#[test]
fn an_uninstall_leaves_what_is_to_be_kept_and_only_the_same_release_takes_it_again() {
    for delete_event in [DeleteEvent::Before, DeleteEvent::Beside, DeleteEvent::After] {
        let scene = Scene::new();
        scene.sandbox.qovery(|qovery| qovery.set_world(World { delete_event, ..World::default() }));
        assert!(scene.perform("deploy", |_| 0).well);
        assert_eq!(scene.objects(), [true, true, true]);
        // Whether the chart is uninstalled before the job's event.
        let during = Mutex::new(None);
        let uninstalled = scene.perform("uninstall", |_| {
            *during.lock().unwrap() = Some(scene.objects());
            0
        });
        assert!(uninstalled.well, "{uninstalled:?}");
        assert_eq!(during.into_inner().unwrap(), Some([true, true, delete_event == DeleteEvent::Before]), "{delete_event:?}");
        assert!(scene.sandbox.kubernetes(|kubernetes| kubernetes.object("namespaces", "", NAMESPACE).is_none()), "with the environment");
    }
    let scene = Scene::new();
    assert!(scene.perform("deploy", |_| 0).well);
    scene.ask("DELETE", &format!("/helm/{}", scene.helm), None);
    let engine = Engine::new(&scene.sandbox, |_| JobEnd { code: 0 }).with_charts(scene.charts.path());
    assert!(engine.perform().unwrap().well);
    drop(engine);
    assert_eq!(scene.objects(), [true, true, false], "alone, and the namespace stays");
    let other = scene.sandbox.qovery(|qovery| make_helm(qovery, &scene.environment, "identity-account"));
    let refused = scene.perform("deploy", |_| 0);
    assert!(!refused.well && refused.failures[0].1.contains("invalid ownership metadata"), "{refused:?}");
    assert_eq!(scene.sandbox.qovery(|qovery| qovery.state_of_service(&other)), Some("DEPLOYMENT_ERROR"));
}

#[test]
fn qoverys_engine_takes_only_namespaced_kinds_and_in_one_world_no_role() {
    let scene = Scene::new();
    scene.sandbox.qovery(|qovery| qovery.set_world(World { chart: Chart::RoleRefused, ..World::default() }));
    let refused = scene.perform("deploy", |_| 0);
    assert_eq!(scene.objects(), [false; 3], "{refused:?}");
    assert!(!refused.well && refused.failures[0].1.starts_with("Cannot deploy RoleBinding"), "{refused:?}");
    scene.sandbox.qovery(|qovery| qovery.set_world(World::default()));
    let wide = ROLE.replace("kind: Role", "kind: ClusterRole");
    fs::write(scene.charts.path().join("account/templates/wide.yaml"), &wide).unwrap();
    let refused = scene.perform("deploy", |_| 0);
    assert!(!refused.well && refused.failures[0].1.ends_with("as it is a cluster wide resource"), "{refused:?}");
    let elsewhere = ROLE.replace("metadata:\n", "metadata:\n  namespace: other\n");
    fs::write(scene.charts.path().join("account/templates/wide.yaml"), elsewhere).unwrap();
    let refused = scene.perform("deploy", |_| 0);
    assert!(!refused.well && refused.failures[0].1.contains("does not target correct namespace"), "{refused:?}");
    fs::write(scene.charts.path().join("account/templates/wide.yaml"), wide).unwrap();
    scene.sandbox.qovery(|qovery| qovery.set_service(&scene.helm, "allow_cluster_wide_resources", json!(true)));
    assert!(scene.perform("deploy", |_| 0).well);
    assert!(scene.sandbox.kubernetes(|kubernetes| kubernetes.object("clusterroles", "", "qovery-irsa").is_some()));
}

#[test]
fn whoever_follows_a_deployment_sees_each_state_of_a_service() {
    let scene = Scene::new();
    let engine = Engine::new(&scene.sandbox, |_| JobEnd { code: 0 }).with_charts(scene.charts.path()).with_pause(Duration::from_millis(50));
    let (states, performed) = engine.in_background(|| {
        scene.ask("POST", &format!("/environment/{}/deploy", scene.environment), None);
        let mut states: Vec<&str> = Vec::new();
        while states.last() != Some(&"DEPLOYED") {
            let state = scene.sandbox.qovery(|qovery| qovery.state_of_service(&scene.helm)).unwrap();
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
        states
    });
    assert_eq!(states, ["DEPLOYMENT_QUEUED", "DEPLOYING", "DEPLOYED"]);
    assert!(performed.len() == 1 && performed[0].well, "{performed:?}");
}
