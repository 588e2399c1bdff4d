//! Pods that are made for a proof: try out, create, list, delete.

use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Resource, api::ListParams};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{Kubernetes, pages};
use crate::{
    clients::call::CallError,
    model::{
        date::Date,
        names::Namespace,
        proof_pod::{FoundProofPod, Gate, LABEL, ProofPod},
    },
};

/// The call that makes a pod, as permissions name it.
pub const CREATE_PODS: &str = "kubernetes:create pods";
/// The call that deletes one.
pub const DELETE_PODS: &str = "kubernetes:delete pods";

#[derive(Deserialize)]
struct Found {
    metadata: ObjectMeta,
}

impl Kubernetes {
    /// Asks by a dry run whether the cluster would take the pod without its gate.
    ///
    /// # Errors
    /// It would not, or the API server does not answer.
    pub async fn try_out_ungated(&self, pod: &ProofPod) -> Result<(), CallError> {
        self.send("POST", &format!("{}?dryRun=All", collection(&pod.subject.namespace)), &pod.object(Gate::None)).await
    }

    /// Creates the pod, which never runs.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn create_proof_pod(&self, pod: &ProofPod) -> Result<(), CallError> {
        self.send("POST", &collection(&pod.subject.namespace), &pod.object(Gate::Closed)).await
    }

    /// The pods of proofs in a namespace.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn proof_pods_in(&self, namespace: &Namespace) -> Result<Vec<FoundProofPod>, CallError> {
        let found = |found: Found| {
            let label = found.metadata.labels.and_then(|mut labels| labels.remove(LABEL)).unwrap_or_default();
            let created = found.metadata.creation_timestamp.and_then(|time| u64::try_from(time.0.as_second()).ok()).unwrap_or_default();
            let created = Date::since_1970(std::time::Duration::from_secs(created));
            Ok(Some(FoundProofPod { name: found.metadata.name.unwrap_or_default(), label, created }))
        };
        pages::all(self, &collection(namespace), ListParams::default().labels(LABEL), 100, found).await
    }

    /// Deletes a pod at once; one that is gone is as good.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete_proof_pod(&self, namespace: &Namespace, name: &str) -> Result<(), CallError> {
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0 });
        match self.send("DELETE", &format!("{}/{name}", collection(namespace)), &options).await {
            Err(error) if error.kind.is_missing() => Ok(()),
            answer => answer,
        }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<(), CallError> {
        let request = http::Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, "application/json");
        let request = request.body(body.to_string().into_bytes()).map_err(|error| CallError::not_sent(error.to_string()))?;
        self.client.request::<IgnoredAny>(request).await.map(drop).map_err(|error| self.failed(&error))
    }
}

fn collection(namespace: &Namespace) -> String {
    v1::Pod::url_path(&(), Some(namespace.as_str()))
}
