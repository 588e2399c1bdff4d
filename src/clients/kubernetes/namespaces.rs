//! Namespaces: which exist.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace as Object;
use kube::{Resource, api::ListParams};

use super::{Kubernetes, pages};
use crate::{
    clients::call::CallError,
    model::{
        gather::Gather as _,
        names::{NameProblem, Namespace},
    },
};

impl Kubernetes {
    /// Whether a namespace is being deleted. One that is not there is not. It takes the right to list namespaces, which the job has for `sweep`.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn namespace_ends(&self, namespace: &Namespace) -> Result<bool, CallError> {
        let named = ListParams::default().fields(&format!("metadata.name={namespace}"));
        let ends = |object: Object| Ok(Some(object.metadata.deletion_timestamp.is_some()));
        Ok(pages::all(self, &Object::url_path(&(), None), named, 500, ends).await?.contains(&true))
    }

    /// The names of all namespaces, those that are terminating among them.
    ///
    /// # Errors
    /// The API server refuses, does not answer, or names a namespace that can be none.
    pub async fn namespaces(&self) -> Result<BTreeSet<Namespace>, CallError> {
        let name = |object: Object| {
            let name = object.metadata.name.unwrap_or_default();
            name.parse().map(Some).map_err(|problem: NameProblem| CallError::unreadable(problem.to_string()))
        };
        let names = pages::all(self, &Object::url_path(&(), None), ListParams::default(), 500, name).await?;
        Ok(names.into_iter().gather())
    }
}
