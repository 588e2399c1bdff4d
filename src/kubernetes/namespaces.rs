//! Namespaces: which exist.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace as Object;
use kube::{Api, api::ListParams};

use super::{Kubernetes, error};
use crate::{
    call::{CallError, Kind},
    model::names::Namespace,
};

impl Kubernetes {
    /// The names of all namespaces, those that are terminating among them, in pages of 500.
    ///
    /// # Errors
    /// The API server refuses, does not answer, or names a namespace that can be none.
    pub async fn namespaces(&self) -> Result<BTreeSet<Namespace>, CallError> {
        let api: Api<Object> = Api::all(self.client.clone());
        let mut names = BTreeSet::new();
        let mut parameters = ListParams::default().limit(500);
        loop {
            let page = api.list_metadata(&parameters).await.map_err(|error| error::of_kube(&error))?;
            for object in page.items {
                let name = object.metadata.name.unwrap_or_default();
                names.insert(name.parse().map_err(|problem: crate::model::names::NameProblem| {
                    CallError::new(Kind::Other, "UnreadableAnswer", problem.to_string())
                })?);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(names),
            }
        }
    }
}
