//! An environment in the local Qovery, and its events carried out as Qovery carries them out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use qovery_irsa_sandbox::{
    Engine, JobEnd, JobRun, Performed,
    qovery::{Kind, Qovery, TOKEN, World},
};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, Run, Running},
    extent::extent,
    fixtures::NAMESPACE,
};

/// What `qovery.yml` says in these tests.
pub(crate) const BOUND: &str = r#"
identities:
  - serviceAccount: app
    bindServices: [api, worker]
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
job:
  name: aws-identity
  image: {registry: ghcr, name: acme/qovery-irsa, tag: "1.0"}
  stage: identities
  secrets: [IRSA_QOVERY_TOKEN]
  variables: {IRSA_PROOF: required}
"#;

/// An environment of Qovery around the sandbox's namespace, with an application, a container and a database, and no job yet.
pub(crate) struct Shop {
    pub(crate) environment: Environment,
    pub(crate) id: String,
}

/// How a deployment went.
pub(crate) struct Deployed {
    /// The runs of jobs, in order.
    pub(crate) runs: Vec<Run>,
    /// With which ServiceAccount each service started, by the service's name.
    pub(crate) started: BTreeMap<String, String>,
    /// What could not be deployed or begin: the service's name and why.
    pub(crate) failures: Vec<(String, String)>,
}

impl Shop {
    pub(crate) fn new(manifest: &str) -> Self {
        let shop = Self::fresh(manifest);
        // Something runs already: then it is the job that binds services.
        let db = shop.service(&shop.id, "db");
        shop.environment.sandbox.qovery(|qovery| qovery.set_deployed(&db));
        shop
    }

    /// The same where nothing was ever deployed.
    pub(crate) fn fresh(manifest: &str) -> Self {
        let mut environment = Environment::new(manifest);
        let id = environment.sandbox.qovery(|qovery| {
            let id = qovery.add_environment("shop", NAMESPACE);
            qovery.add_service(&id, Kind::Application, "api");
            qovery.add_service(&id, Kind::Container, "worker");
            qovery.add_service(&id, Kind::Database, "db");
            qovery.add_registry("ghcr");
            qovery.add_git_token("bot");
            id
        });
        environment.set("QOVERY_ENVIRONMENT_ID", &id);
        environment.set("IRSA_QOVERY_TOKEN", TOKEN);
        // What `install` makes a secret of the job itself.
        environment.set("IRSA_SECRET_IRSA_QOVERY_TOKEN", TOKEN);
        environment.set("IRSA_TIMEOUT", "60s");
        Self { environment, id }
    }

    /// The same, with the job installed.
    pub(crate) fn installed(manifest: &str) -> Self {
        Self::installed_in(World::default(), manifest)
    }

    /// The same, with a Qovery that is as this world has it.
    pub(crate) fn installed_in(world: World, manifest: &str) -> Self {
        let shop = Self::new(manifest);
        shop.environment.sandbox.qovery(|qovery| qovery.set_world(world));
        shop.environment.run(&["install"]).ended(0);
        shop
    }

    /// Another manifest, which reaches the job by `install`.
    pub(crate) fn write_manifest(&self, manifest: &str) {
        self.environment.write_manifest(manifest);
        self.environment.run(&["install"]).ended(0);
    }

    /// A variable of the job of an environment.
    pub(crate) fn set_of_job(&self, environment: &str, name: &str, value: &str) {
        let job = self.service(environment, "aws-identity");
        self.environment.sandbox.qovery(|qovery| qovery.set_variable(&job, "JOB", name, value, name.ends_with("TOKEN")));
    }

    /// Deletes an environment: what the API is asked for, and what follows.
    pub(crate) fn delete(&self, environment: &str) -> Deployed {
        self.ask("DELETE", &format!("/environment/{environment}"), None);
        self.perform()
    }

    /// Deletes the job alone.
    pub(crate) fn delete_job(&self) -> Deployed {
        let job = self.service(&self.id, "aws-identity");
        self.ask("DELETE", &format!("/job/{job}"), None);
        self.perform()
    }

    /// Uninstalls the job alone.
    pub(crate) fn uninstall_job(&self) -> Deployed {
        let job = self.service(&self.id, "aws-identity");
        self.ask("POST", &format!("/job/{job}/uninstall"), Some(&json!({})));
        self.perform()
    }

    /// Deletes these services, and no other, in one request.
    pub(crate) fn delete_services(&self, names: &[&str]) -> Deployed {
        let services: Vec<String> = names.iter().map(|name| self.service(&self.id, name)).collect();
        self.environment.sandbox.qovery(|qovery| qovery.delete_services(&self.id, &services)).unwrap();
        self.perform()
    }

    /// Runs the job alone with this event.
    pub(crate) fn force(&self, event: &str) -> Deployed {
        let job = self.service(&self.id, "aws-identity");
        self.ask("POST", &format!("/job/{job}/deploy?forceEvent={event}"), Some(&json!({})));
        self.perform()
    }

    /// How many pods run in the environment's namespace that the webhook gave a role.
    pub(crate) fn pods_with_role(&self) -> usize {
        let services = ["api", "worker", "db"].map(|name| self.environment.sandbox.qovery(|qovery| qovery.service_named(&self.id, name)));
        let role = |id: &String| {
            let pod = self.environment.sandbox.kubernetes(|kubernetes| kubernetes.object("pods", NAMESPACE, id).cloned());
            let variables = pod.and_then(|pod| pod["spec"]["containers"][0]["env"].as_array().cloned()).unwrap_or_default();
            variables.iter().any(|variable| variable["name"] == "AWS_ROLE_ARN")
        };
        services.iter().flatten().filter(|id| role(id)).count()
    }

    /// Lets a service run with its environment no more.
    pub(crate) fn skip(&self, name: &str) {
        let service = self.service(&self.id, name);
        self.environment.sandbox.qovery(|qovery| qovery.skip(&service, true));
    }

    pub(crate) fn service(&self, environment: &str, name: &str) -> String {
        self.environment.sandbox.qovery(|qovery| qovery.service_named(environment, name)).unwrap_or_else(|| panic!("no service {name}"))
    }

    /// The ServiceAccount that a service asks for.
    pub(crate) fn account_of(&self, name: &str) -> String {
        let id = self.service(&self.id, name);
        let settings = self.environment.sandbox.qovery(|qovery| qovery.settings(&id)).unwrap();
        settings["security.service_account_name"].as_str().unwrap().to_owned()
    }

    pub(crate) fn set(&self, name: &str, key: &str, value: Value) {
        let id = self.service(&self.id, name);
        self.environment.sandbox.qovery(|qovery| qovery.set_setting(&id, key, value));
    }

    /// Asks Qovery's API for something, as the console does.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let sandbox = &self.environment.sandbox;
        let mut roots = rustls::RootCertStore::empty();
        let file = sandbox.files().join("ca.pem");
        let certificates = rustls::pki_types::pem::PemObject::pem_file_iter(file).unwrap();
        roots.add_parsable_certificates(
            certificates.map(|certificate: Result<rustls::pki_types::CertificateDer<'static>, _>| certificate.unwrap()),
        );
        qovery_irsa::clients::http::install_crypto();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
            let mut request = client.request(method.parse().unwrap(), format!("{}{path}", sandbox.qovery_url()));
            request = request.header("authorization", format!("Token {TOKEN}"));
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{method} {path}: {}", answer.text().await.unwrap());
            let text = answer.text().await.unwrap();
            serde_json::from_str(&text).unwrap_or_default()
        })
    }

    pub(crate) fn event(&self, environment: &str, event: &str) -> Deployed {
        self.ask("POST", &format!("/environment/{environment}/{event}"), None);
        self.perform()
    }

    pub(crate) fn deploy(&self) -> Deployed {
        self.event(&self.id, "deploy")
    }

    pub(crate) fn clone_named(&self, name: &str) -> String {
        let clone = self.ask("POST", &format!("/environment/{}/clone", self.id), Some(&json!({ "name": name })));
        clone["id"].as_str().unwrap().to_owned()
    }

    /// An engine that runs the real binary for the image of the jobs.
    pub(crate) fn engine(&self) -> Engine<'_> {
        Engine::new(&self.environment.sandbox, |job| JobEnd { code: self.run_job(job).end().code })
    }

    /// Carries out the one deployment that was asked for, with the real binary for the image of the jobs.
    pub(crate) fn perform(&self) -> Deployed {
        self.perform_as(|_, running| running.end())
    }

    /// The same; this waits for the end of each run.
    pub(crate) fn perform_as(&self, end: impl Fn(&JobRun, Running) -> Run + Send + Sync) -> Deployed {
        let sandbox = &self.environment.sandbox;
        let runs = Mutex::new(Vec::new());
        let engine = Engine::new(sandbox, |job| {
            let run = end(job, self.run_job(job));
            let code = run.code;
            runs.lock().unwrap().push(run);
            JobEnd { code }
        });
        let Performed { started, failures, .. } = engine.perform().expect("a deployment was asked for");
        let others = sandbox.qovery(Qovery::take_deployments);
        assert!(others.is_empty(), "one deployment: {others:?}");
        drop(engine);
        Deployed { runs: runs.into_inner().unwrap(), started, failures }
    }

    /// The real binary. A job that runs as a ServiceAccount has nothing else than what its pod gets. Another has the keys and the manifest of the test,
    /// as if they were in its image.
    fn run_job(&self, job: &JobRun) -> Running {
        let arguments: Vec<&str> = job.arguments.iter().map(String::as_str).collect();
        let mut all = BTreeMap::from([("IRSA_SETTLE".to_owned(), "0".to_owned())]);
        if job.account.is_none() {
            all = self.environment.variables.clone();
            all.retain(|name, _| {
                !name.starts_with("QOVERY_")
                    && !["IRSA_QOVERY_TOKEN", "IRSA_SECRET_IRSA_QOVERY_TOKEN", "IRSA_ON_DELETE"].contains(&name.as_str())
            });
        }
        all.extend(job.variables.clone());
        self.environment.spawn(&arguments, &all)
    }
}

/// With which ServiceAccounts the services start before the job has bound them, and after.
pub(crate) const UNBOUND: [(&str, &str); 3] = [("api", ""), ("db", ""), ("worker", "")];
pub(crate) const BOUND_SERVICES: [(&str, &str); 3] = [("api", "app"), ("db", ""), ("worker", "app")];

/// The only run had nothing to do.
pub(crate) fn nothing_to_do(deployed: &Deployed) {
    let [run] = deployed.runs.as_slice() else { panic!("one run") };
    assert_eq!((run.code, run.writes), (0, 0), "{}{}", run.out, run.err);
    assert!(run.out.lines().last().unwrap().starts_with("nothing to do"), "{}", run.out);
}

/// The services that started, and with which ServiceAccount.
pub(crate) fn started(deployed: &Deployed) -> Vec<(&str, &str)> {
    deployed.started.iter().map(|(name, account)| (name.as_str(), account.as_str())).collect()
}

/// Each run ended with exit code 0.
pub(crate) fn ended_well(deployed: &Deployed) {
    for run in &deployed.runs {
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    }
}

/// Worlds in which each switch has each of its values; with `LONG=1`, in which every two values of two switches come together.
pub(crate) fn worlds() -> Vec<World> {
    let pairwise = World::pairwise();
    let values = |world: &World| {
        let World { aliases, settings, delete_event, put, lone_delete, left_out, chart } = world;
        [
            format!("{aliases:?}"),
            format!("{settings:?}"),
            format!("{delete_event:?}"),
            format!("{put:?}"),
            format!("{lone_delete:?}"),
            format!("{left_out:?}"),
            format!("{chart:?}"),
        ]
    };
    let mut wanted: BTreeSet<String> = pairwise.iter().flat_map(values).collect();
    let mut few = Vec::new();
    while !wanted.is_empty() {
        let new = |world: &&World| values(world).iter().filter(|value| wanted.contains(*value)).count();
        let best = *pairwise.iter().max_by_key(new).unwrap();
        for value in values(&best) {
            wanted.remove(&value);
        }
        few.push(best);
    }
    extent(few, pairwise)
}

/// Plays it in each of these worlds, several at a time: most of the time pods end.
pub(crate) fn in_worlds(worlds: &[World], play: impl Fn(World) + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(world) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(*world)));
                    if let Err(panic) = played {
                        let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.lock().unwrap().push(format!("{world:?}: {said}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} worlds:\n{}", failures.len(), worlds.len(), failures.join("\n"));
}
