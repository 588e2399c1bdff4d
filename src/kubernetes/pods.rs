//! Pods of a ServiceAccount: which role each was given when it was created.

use std::collections::BTreeSet;

use kube::{
    Api,
    api::{ApiResource, ListParams},
    core::Object,
};
use serde::Deserialize;

use super::{Kubernetes, pages};
use crate::{
    call::CallError,
    model::{names::Subject, pods::Pod},
};

/// Of a pod what is looked at: its whole type is two thousand fields, and code that reads each of them.
type Seen = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    env: Option<Vec<Variable>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Variable {
    name: String,
    value: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    phase: Option<String>,
}

impl Kubernetes {
    /// The pods of a ServiceAccount that run or are about to.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn pods_of(&self, subject: &Subject) -> Result<Vec<Pod>, CallError> {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
        let api: Api<Seen> = Api::namespaced_with(self.client.clone(), subject.namespace.as_str(), &resource);
        let parameters = ListParams::default().fields(&format!("spec.serviceAccountName={}", subject.service_account));
        let running = |pod: Seen| {
            let ended = matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
            Ok((!ended).then(|| observed(&pod)))
        };
        pages::all(parameters, 100, async |parameters| api.list(parameters).await, running).await
    }
}

fn observed(pod: &Seen) -> Pod {
    let variables = pod.spec.containers.iter().flatten().flat_map(|container| container.env.iter().flatten());
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
