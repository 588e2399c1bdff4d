//! Pods of a ServiceAccount: which role each was given when it was created.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod as Object;
use kube::{Api, api::ListParams};

use super::{Kubernetes, error};
use crate::{
    call::CallError,
    model::{names::Subject, pods::Pod},
};

impl Kubernetes {
    /// The pods of a ServiceAccount that run or are about to.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn pods_of(&self, subject: &Subject) -> Result<Vec<Pod>, CallError> {
        let api: Api<Object> = Api::namespaced(self.client.clone(), subject.namespace.as_str());
        let parameters = ListParams::default().fields(&format!("spec.serviceAccountName={}", subject.service_account));
        let pods = api.list(&parameters).await.map_err(|error| error::of_kube(&error))?;
        let ended = |pod: &Object| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        Ok(pods.items.into_iter().filter(|pod| !ended(pod)).map(|pod| observed(&pod)).collect())
    }
}

fn observed(pod: &Object) -> Pod {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    let roles: BTreeSet<String> =
        variables.filter(|variable| variable.name == "AWS_ROLE_ARN").filter_map(|variable| variable.value.clone()).collect();
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    let owner = owner.map(|owner| match (owner.kind.as_str(), hash) {
        // A Deployment's ReplicaSet is named after it and the hash of its template.
        ("ReplicaSet", Some(hash)) => match owner.name.strip_suffix(&format!("-{hash}")) {
            Some(deployment) => ("Deployment".to_owned(), deployment.to_owned()),
            None => (owner.kind.clone(), owner.name.clone()),
        },
        _ => (owner.kind.clone(), owner.name.clone()),
    });
    Pod { name: pod.metadata.name.clone().unwrap_or_default(), owner, roles }
}
