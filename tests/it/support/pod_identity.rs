//! EKS Pod Identity in the sandbox: the agent, pods as the API server would make them, associations as EKS has them.

use std::time::Duration;

use qovery_irsa_sandbox::aws::{Addon, PodIdentityAssociation};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, of_given_roles},
    fixtures::NAMESPACE,
    repository::read,
};

/// One identity whose role is made for it, by EKS Pod Identity.
pub(crate) const ASSOCIATED: &str = r"
identities:
  - serviceAccount: app
    podIdentity: true
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
";

impl Environment {
    /// An environment whose job may do what EKS Pod Identity takes beside the rest.
    pub(crate) fn of_pod_identity(manifest: &str) -> Self {
        Self::new(manifest).with_pod_identity()
    }

    /// The same, with the permissions that EKS Pod Identity takes.
    pub(crate) fn with_pod_identity(self) -> Self {
        let addition: Value = serde_json::from_str(&read("docs/permissions/pod-identity-policy.json")).unwrap();
        let mut statements = addition["Statement"].as_array().cloned().unwrap();
        statements.push(of_given_roles());
        self.with_permissions("docs/permissions/iam-policy.json", &statements)
    }
}

/// The add-on with the agent.
pub(crate) fn add_agent(environment: &Environment) {
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| {
        let addon = Addon { version: "v1.3.8-eksbuild.2".to_owned(), status: "ACTIVE".to_owned(), ..Addon::default() };
        aws.cluster_mut(&name).unwrap().addons.insert("eks-pod-identity-agent".to_owned(), addon);
    });
}

/// A pod that runs with a ServiceAccount. The webhook of EKS has looked at it as it was created.
pub(crate) fn add_pod(environment: &Environment, namespace: &str, service_account: &str, name: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name},
        "spec": {"serviceAccountName": service_account, "nodeName": "node-1", "containers": [{"name": "main", "image": "app"}]},
        "status": {"phase": "Running"},
    });
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(pod.clone()).unwrap());
}

/// The associations of the cluster.
pub(crate) fn associations(environment: &Environment) -> Vec<PodIdentityAssociation> {
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| aws.clusters()[&name].associations.values().cloned().collect())
}

/// A pod that runs with the ServiceAccount `app`, admitted by the webhook of EKS: it keeps what it gets now.
pub(crate) fn admit_pod(environment: &Environment, name: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {"serviceAccountName": "app", "nodeName": "node-1", "containers": [{"name": "main", "image": "app"}]},
        "status": {"phase": "Running"},
    });
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_admitted_pod(pod.clone()));
}

/// The ARN of the role that a pod gets at this moment, as its SDK would ask for it, and how; what it is told otherwise.
pub(crate) fn role_of_pod(environment: &Environment, name: &str) -> Result<(&'static str, String), String> {
    let (sandbox, cluster) = (&environment.sandbox, environment.sandbox.cluster());
    let pod = sandbox.kubernetes(|kubernetes| kubernetes.object("pods", NAMESPACE, name).cloned()).ok_or("it is gone")?;
    let variables = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let variable = |name: &str| variables.iter().find(|found| found["name"] == name).and_then(|found| found["value"].as_str());
    let audience = pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["audience"].as_str();
    let token = cluster.pod_token(NAMESPACE, "app", name, audience.unwrap_or_default());
    let now = sandbox.clock().now();
    if let Some(role) = variable("AWS_ROLE_ARN") {
        return sandbox.aws(|aws| aws.web_identity(role, &token, now)).map(|()| ("IRSA", role.to_owned()));
    }
    variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").ok_or("it has no credentials")?;
    sandbox.aws(|aws| aws.pod_identity(cluster.name(), &token, now)).map(|role| ("association", role))
}

/// Lets the associations be this old.
pub(crate) fn associations_are_old(environment: &Environment) {
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| {
        for association in aws.cluster_mut(&name).unwrap().associations.values_mut() {
            association.created -= Duration::from_hours(1);
            association.modified -= Duration::from_hours(1);
        }
    });
}
