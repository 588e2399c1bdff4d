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
        self.environment.run(&[&["install", "--environment", &self.id, "--role", JOB_ROLE], flags].concat())
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
