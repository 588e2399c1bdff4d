//! What `bootstrap` asks about a project: its environments and their namespaces.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Qovery, error};
use crate::{
    clients::call::CallError,
    model::{
        names::{NameProblem, Namespace},
        qovery::{ProjectAccess, QoveryAccess, QoveryId},
    },
};

/// The built-in variable that names an environment's namespace.
/// <https://www.qovery.com/docs/configuration/environment-variables>
const NAMESPACE: &str = "QOVERY_KUBERNETES_NAMESPACE_NAME";

/// A project of Qovery, as its API shows it.
#[derive(Clone, Debug)]
pub struct Project {
    qovery: Qovery,
    project: QoveryId,
}

#[derive(Deserialize)]
struct List<T> {
    results: Vec<T>,
}

#[derive(Deserialize)]
struct AnEnvironment {
    id: String,
}

#[derive(Deserialize)]
struct AVariable {
    key: String,
    value: Option<String>,
}

impl Project {
    /// Sets up the client; nothing is sent.
    #[must_use]
    pub fn new(access: &ProjectAccess, http: &reqwest::Client) -> Self {
        let ProjectAccess { url, token, project } = access.clone();
        // Which environment the client is about is never asked here.
        let qovery = Qovery::new(&QoveryAccess { url, token, environment: project.clone() }, http);
        Self { qovery, project }
    }

    /// The ids of its environments.
    /// <https://api-doc.qovery.com/#tag/Environments/operation/listEnvironment>
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn environments(&self) -> Result<BTreeSet<QoveryId>, CallError> {
        let listed: List<AnEnvironment> = self.qovery.get(&format!("/project/{}/environment", self.project)).await?;
        let id = |environment: AnEnvironment| environment.id.parse().map_err(odd);
        listed.results.into_iter().map(id).collect()
    }

    /// The namespace of one of them; none of one that has no such variable.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn namespace(&self, environment: &QoveryId) -> Result<Option<Namespace>, CallError> {
        let listed: List<AVariable> = self.qovery.get(&format!("/variable?parent_id={environment}&scope=ENVIRONMENT")).await?;
        let namespace = listed.results.into_iter().find(|variable| variable.key == NAMESPACE).and_then(|variable| variable.value);
        namespace.map(|namespace| namespace.parse().map_err(odd)).transpose()
    }
}

fn odd(problem: NameProblem) -> CallError {
    error::unreadable(&serde::de::Error::custom(problem))
}
