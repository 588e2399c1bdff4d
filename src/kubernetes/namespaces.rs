//! Namespaces: which exist.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace as Object;
use kube::{Api, api::ListParams, core::PartialObjectMeta};

use super::{Kubernetes, pages};
use crate::{
    call::{CallError, Kind},
    model::names::{NameProblem, Namespace},
};

impl Kubernetes {
    /// The names of all namespaces, those that are terminating among them.
    ///
    /// # Errors
    /// The API server refuses, does not answer, or names a namespace that can be none.
    pub async fn namespaces(&self) -> Result<BTreeSet<Namespace>, CallError> {
        let api: Api<Object> = Api::all(self.client.clone());
        let name = |object: PartialObjectMeta<Object>| {
            let name = object.metadata.name.unwrap_or_default();
            name.parse().map(Some).map_err(|problem: NameProblem| CallError::new(Kind::Other, "UnreadableAnswer", problem.to_string()))
        };
        let names = pages::all(ListParams::default(), 500, async |parameters| api.list_metadata(parameters).await, name).await?;
        Ok(names.into_iter().collect())
    }
}
