//! EKS Pod Identity in the sandbox: the agent, pods as the API server would make them, associations as EKS has them.

use qovery_irsa_sandbox::aws::{Addon, PodIdentityAssociation};
use serde_json::{Value, json};

use crate::support::{environment::Environment, repository::read};

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
        let addition: Value = serde_json::from_str(&read("docs/permissions/pod-identity-policy.json")).unwrap();
        let statements = addition["Statement"].as_array().cloned().unwrap();
        Self::new(manifest).with_permissions("docs/permissions/iam-policy.json", &statements)
    }
}

/// The add-on with the agent.
pub(crate) fn add_agent(environment: &Environment) {
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| {
        let addon = Addon { version: "v1.3.8-eksbuild.2".to_owned(), status: "ACTIVE".to_owned() };
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
