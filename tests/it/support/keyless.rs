//! The way in without a key: an administrator's laptop, an account and a cluster in which nobody has made anything, an environment of Qovery.

use qovery_irsa_sandbox::{
    Sandbox,
    qovery::{Kind, TOKEN, World},
};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, Run},
    fixtures::NAMESPACE,
    shop::Shop,
};

/// What `qovery.yml` says on this way.
pub(crate) const KEYLESS: &str = r#"
cluster:
  name: demo
  namespaces: [z*]
  permissionsBoundary: none
identities:
  - serviceAccount: app
    bindServices: [api, worker]
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
job:
  name: aws-identity
  image: {registry: ghcr, name: acme/qovery-irsa, tag: "1.0"}
  chart: {git: {url: "https://github.com/acme/qovery-irsa"}}
  secrets: [IRSA_QOVERY_TOKEN]
  variables: {IRSA_PROOF: required}
"#;

/// The role that `bootstrap` makes for the jobs of this cluster.
pub(crate) const JOB_ROLE: &str = "arn:aws:iam::123456789012:role/qovery-irsa-demo";
/// The ServiceAccount that the job runs as.
pub(crate) const ACCOUNT: &str = "qovery-irsa";

impl Shop {
    /// An environment whose cluster and account have nothing of this tool, and a laptop with the administrator's credentials.
    pub(crate) fn of_nothing(world: World, manifest: &str) -> Self {
        let sandbox = Sandbox::start();
        sandbox.kubernetes(|kubernetes| kubernetes.add_namespace(NAMESPACE));
        let id = sandbox.qovery(|qovery| {
            qovery.set_world(world);
            let id = qovery.add_environment("shop", NAMESPACE);
            qovery.add_service(&id, Kind::Application, "api");
            qovery.add_service(&id, Kind::Container, "worker");
            qovery.add_service(&id, Kind::Database, "db");
            qovery.add_registry("ghcr");
            id
        });
        let file = sandbox.files().join("qovery.yml");
        std::fs::write(&file, manifest).unwrap();
        let mut variables = sandbox.environment();
        for (name, value) in [
            ("IRSA_MANIFEST", file.display().to_string()),
            ("IRSA_QOVERY_TOKEN", TOKEN.to_owned()),
            ("IRSA_SECRET_IRSA_QOVERY_TOKEN", TOKEN.to_owned()),
            ("IRSA_SETTLE", "0".to_owned()),
        ] {
            variables.insert(name.to_owned(), value);
        }
        Self { environment: Environment { sandbox, variables }, id }
    }

    /// The same, with what `bootstrap` and `install` make.
    pub(crate) fn keyless_in(world: World, manifest: &str) -> Self {
        let shop = Self::of_nothing(world, manifest);
        shop.bootstrap(&[]).ended(0);
        shop.install_keyless(&[]).ended(0);
        shop
    }

    pub(crate) fn bootstrap(&self, flags: &[&str]) -> Run {
        self.environment.run(&[&["bootstrap"], flags].concat())
    }

    /// `install` as the last line of `bootstrap` says it.
    pub(crate) fn install_keyless(&self, flags: &[&str]) -> Run {
        let run = self.environment.run(&["install", "--environment", &self.id]).ended(0);
        self.by_hand();
        run
    }

    /// BY HAND until `install` does it.
    fn by_hand(&self) {
        let stages = format!("/environment/{}/deploymentStage", self.id);
        let all = self.ask("GET", &stages, None);
        let first = all["results"][0]["id"].as_str().unwrap().to_owned();
        let mut made = Vec::new();
        for name in ["identities-account", "identities"] {
            let stage = self.ask("POST", &stages, Some(&json!({ "name": name })));
            let id = stage["id"].as_str().unwrap().to_owned();
            self.ask("PUT", &format!("/deploymentStage/{id}/moveBefore/{first}"), None);
            made.push(id);
        }
        let values = json!({ "serviceAccount": ACCOUNT, "roleArn": JOB_ROLE }).to_string();
        let helm = json!({
            "name": "aws-identity-account", "auto_deploy": false, "arguments": [], "allow_cluster_wide_resources": false,
            "source": { "git_repository": { "url": "https://github.com/acme/qovery-irsa", "root_path": "/charts/qovery-irsa" } },
            "values_override": { "file": { "raw": { "values": [{ "name": "values.yaml", "content": values }] } } },
        });
        let helm = self.ask("POST", &format!("/environment/{}/helm", self.id), Some(&helm));
        let job = self.service(&self.id, "aws-identity");
        for (stage, service) in made.iter().zip([helm["id"].as_str().unwrap(), &job]) {
            self.ask("PUT", &format!("/deploymentStage/{stage}/service/{service}"), None);
        }
        self.set("aws-identity", "security.service_account_name", json!(ACCOUNT));
        let manifest = std::fs::read_to_string(&self.environment.variables["IRSA_MANIFEST"]).unwrap();
        for (key, value, path) in [
            ("JOB_FILE_QOVERY_YML", manifest.as_str(), Some("/qovery-irsa/qovery.yml")),
            ("IRSA_MANIFEST", "/qovery-irsa/qovery.yml", None),
        ] {
            let mut variable =
                json!({ "key": key, "value": value, "is_secret": false, "variable_scope": "JOB", "variable_parent_id": job });
            if let Some(path) = path {
                variable["mount_path"] = path.into();
            }
            self.ask("POST", "/variable", Some(&variable));
        }
        for service in ["api", "worker"] {
            self.set(service, "security.service_account_name", json!("app"));
        }
    }

    /// What is in AWS and in the cluster, but for the environments' own namespaces.
    pub(crate) fn around(&self) -> Value {
        let mut state = self.environment.sandbox.state();
        for cluster in state["kubernetes"].as_object_mut().unwrap().values_mut() {
            cluster["namespaces"].as_object_mut().unwrap().retain(|name, _| !name.starts_with('z'));
        }
        json!({ "aws": state["aws"], "kubernetes": state["kubernetes"] })
    }
}
