//! What surrounds the job: the environment itself, its stages and variables, and what the organization has.

use std::collections::BTreeSet;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Qovery, error};
use crate::{
    call::CallError,
    model::{
        job::{Named, ObservedVariable, QoveryName, Stage, VariableName},
        names::NameProblem,
        secret::Secret,
        service::QoveryId,
    },
};

/// An environment, and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentPlace {
    /// Its name.
    pub name: String,
    /// The id of its organization.
    pub organization: QoveryId,
    /// The id of its project.
    pub project: QoveryId,
}

#[derive(Deserialize)]
struct AnEnvironment {
    name: String,
    organization: Reference,
    project: Reference,
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

#[derive(Deserialize)]
struct List<T> {
    /// The description lets it be left out; the API never does, and nothing may be created on the word of an answer without it.
    results: Vec<T>,
}

#[derive(Deserialize)]
struct AStage {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    deployment_order: i64,
    #[serde(default)]
    services: Option<Vec<StagedService>>,
}

#[derive(Deserialize)]
struct StagedService {
    service_id: Option<String>,
}

#[derive(Deserialize)]
struct AVariable {
    id: String,
    key: String,
    value: Option<String>,
    scope: String,
    is_secret: bool,
}

#[derive(Deserialize)]
struct ANamed {
    id: String,
    #[serde(default)]
    name: String,
}

/// Whose variables are asked for.
#[derive(Clone, Copy, Debug)]
pub enum VariablesOf<'a> {
    /// The job's, inherited ones included.
    Job(&'a QoveryId),
    /// Those that a job in the environment would inherit.
    Environment,
}

impl Qovery {
    /// The environment.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn place(&self) -> Result<EnvironmentPlace, CallError> {
        let found: AnEnvironment = self.get(&format!("/environment/{}", self.environment())).await?;
        Ok(EnvironmentPlace { name: found.name, organization: id(&found.organization.id)?, project: id(&found.project.id)? })
    }

    /// The deployment stages of the environment, in their order.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn stages(&self) -> Result<Vec<Stage>, CallError> {
        let mut listed: Vec<AStage> = self.list(&format!("/environment/{}/deploymentStage", self.environment())).await?;
        listed.sort_by_key(|stage| stage.deployment_order);
        let stage = |stage: AStage| {
            let services = stage.services.unwrap_or_default().into_iter().filter_map(|service| service.service_id);
            let services: Result<BTreeSet<QoveryId>, CallError> = services.map(|service| id(&service)).collect();
            Ok(Stage { id: id(&stage.id)?, name: stage.name, services: services? })
        };
        listed.into_iter().map(stage).collect()
    }

    /// Creates a deployment stage, and answers its id.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn create_stage(&self, name: &QoveryName) -> Result<QoveryId, CallError> {
        self.create(&format!("/environment/{}/deploymentStage", self.environment()), &json!({ "name": name.as_str() })).await
    }

    /// Moves a stage before another.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn move_stage(&self, stage: &QoveryId, before: &QoveryId) -> Result<(), CallError> {
        self.put_empty(&format!("/deploymentStage/{stage}/moveBefore/{before}")).await
    }

    /// Puts a service into a stage.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn attach_to_stage(&self, stage: &QoveryId, service: &QoveryId) -> Result<(), CallError> {
        self.put_empty(&format!("/deploymentStage/{stage}/service/{service}")).await
    }

    /// Variables and secrets, inherited ones included.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn variables(&self, of: VariablesOf<'_>) -> Result<Vec<ObservedVariable>, CallError> {
        let (scope, parent) = match of {
            VariablesOf::Job(job) => ("JOB", job),
            VariablesOf::Environment => ("ENVIRONMENT", self.environment()),
        };
        let listed: Vec<AVariable> = self.list(&format!("/variable?parent_id={parent}&scope={scope}")).await?;
        let variable = |found: AVariable| {
            let value = found.value.filter(|_| !found.is_secret);
            Ok(ObservedVariable { id: id(&found.id)?, name: found.key, value, of_job: found.scope == "JOB", is_secret: found.is_secret })
        };
        listed.into_iter().map(variable).collect()
    }

    /// Creates a variable of a job.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn create_variable(&self, job: &QoveryId, name: &VariableName, value: &str) -> Result<(), CallError> {
        self.create_named(job, name, value, false).await
    }

    /// Creates a secret of a job.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn create_secret(&self, job: &QoveryId, name: &VariableName, value: &Secret) -> Result<(), CallError> {
        self.create_named(job, name, value.reveal(), true).await
    }

    async fn create_named(&self, job: &QoveryId, name: &VariableName, value: &str, is_secret: bool) -> Result<(), CallError> {
        let body = json!({
            "key": name.as_str(), "value": value, "is_secret": is_secret, "variable_scope": "JOB", "variable_parent_id": job.as_str(),
        });
        self.create("/variable", &body).await.map(drop)
    }

    /// Gives a variable another value.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn edit_variable(&self, variable: &QoveryId, name: &VariableName, value: &str) -> Result<(), CallError> {
        self.put(&format!("/variable/{variable}"), &json!({ "key": name.as_str(), "value": value })).await
    }

    /// The container registries of an organization.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn registries(&self, organization: &QoveryId) -> Result<Vec<Named>, CallError> {
        self.named(&format!("/organization/{organization}/containerRegistry")).await
    }

    /// The Git tokens of an organization.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn git_tokens(&self, organization: &QoveryId) -> Result<Vec<Named>, CallError> {
        self.named(&format!("/organization/{organization}/gitToken")).await
    }

    async fn named(&self, path: &str) -> Result<Vec<Named>, CallError> {
        let listed: Vec<ANamed> = self.list(path).await?;
        listed.into_iter().map(|named| Ok(Named { id: id(&named.id)?, name: named.name })).collect()
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, CallError> {
        Ok(self.get::<List<T>>(path).await?.results)
    }

    async fn put_empty(&self, path: &str) -> Result<(), CallError> {
        self.put(path, &Value::Null).await
    }
}

fn id(text: &str) -> Result<QoveryId, CallError> {
    text.parse().map_err(|problem: NameProblem| error::unreadable(&serde::de::Error::custom(problem)))
}
