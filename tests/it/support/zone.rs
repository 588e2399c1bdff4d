//! The trust zone of the sandbox's cluster, as an administrator makes it: with what `docs/permissions/bootstrap-policy.json` allows and no more.

use std::collections::BTreeMap;

use qovery_irsa_sandbox::{
    Setup,
    aws::{Credentials, Role},
};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, Run},
    repository::read,
};

/// A zone with a boundary of its own.
pub(crate) const ZONE: &str = "
cluster:
  name: demo
  namespaces: [z*]
  permissionsBoundary:
    Version: '2012-10-17'
    Statement: [{Effect: Allow, Action: ['s3:*', 'sqs:*'], Resource: '*'}]
  tags: {team: platform}
";

/// The job's role.
pub(crate) const ROLE: &str = "qovery-irsa-demo";
pub(crate) const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/qovery-irsa-demo-boundary";

/// An administrator's laptop.
pub(crate) struct Laptop {
    pub(crate) environment: Environment,
    /// The administrator's, not the job's.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Laptop {
    /// One with this manifest, and an account in which the cluster has no provider.
    pub(crate) fn new(manifest: &str) -> Self {
        Self::with(Setup::default(), manifest)
    }

    /// The same in this sandbox.
    pub(crate) fn with(setup: Setup, manifest: &str) -> Self {
        let environment = Environment::with(setup, manifest);
        let partition = format!("arn:{}:", environment.sandbox.setup().partition);
        let policy = read("docs/permissions/bootstrap-policy.json").replace("arn:aws:", &partition);
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let Credentials { access_key_id, secret_access_key, .. } =
            environment.sandbox.aws(|aws| aws.add_user("administrator", Some(policy)));
        let mut variables = environment.variables.clone();
        variables.retain(|name, _| !name.starts_with("QOVERY_") && name != "KUBECONFIG");
        variables.insert("AWS_ACCESS_KEY_ID".to_owned(), access_key_id);
        variables.insert("AWS_SECRET_ACCESS_KEY".to_owned(), secret_access_key);
        Self { environment, variables }
    }

    /// The same, and the zone is made.
    #[track_caller]
    pub(crate) fn bootstrapped(manifest: &str) -> Self {
        let laptop = Self::new(manifest);
        laptop.bootstrap(&[]).ended(0);
        laptop
    }

    pub(crate) fn bootstrap(&self, arguments: &[&str]) -> Run {
        self.environment.run_with(&[&["bootstrap"], arguments].concat(), &self.variables)
    }

    pub(crate) fn role(&self) -> Option<Role> {
        self.environment.sandbox.aws(|aws| aws.roles().get(ROLE).cloned())
    }

    /// The policy of the job's role.
    pub(crate) fn permissions(&self) -> Value {
        serde_json::from_str(&self.role().unwrap().inline["qovery-irsa"]).unwrap()
    }

    /// The subjects of the job's role.
    pub(crate) fn subjects(&self) -> Value {
        let trust: Value = serde_json::from_str(&self.role().unwrap().trust).unwrap();
        trust["Statement"][0]["Condition"]["StringLike"][format!("{}:sub", self.environment.issuer())].clone()
    }

    /// The document of the boundary that counts.
    pub(crate) fn boundary(&self) -> Option<Value> {
        let document = self.environment.sandbox.aws(|aws| aws.policies().get(BOUNDARY).map(|policy| policy.document().to_owned()));
        document.map(|document| serde_json::from_str(&document).unwrap())
    }

    /// Calls IAM as an administrator of everything.
    #[track_caller]
    pub(crate) fn by_hand(&self, operation: &str, parameters: &[(&str, &str)]) {
        self.environment.sandbox.aws(|aws| aws.call(operation, parameters)).unwrap();
    }
}

/// A policy that allows this on everything.
pub(crate) fn allowing(action: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}).to_string()
}
