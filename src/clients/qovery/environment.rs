//! What surrounds the job: the environment itself, its stages and variables, and what the organization has.

use std::collections::BTreeSet;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Qovery, error};
use crate::{
    clients::call::CallError,
    model::{
        job::{JobFile, Named, Stage},
        names::NameProblem,
        qovery::{QoveryId, QoveryName},
        secret::Secret,
        service::{Service, ServiceKind},
        variable::{ObservedVariable, VariableName, VariableScope},
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
    #[serde(default)]
    is_skipped: bool,
}

#[derive(Deserialize)]
struct AVariable {
    id: String,
    key: String,
    value: Option<String>,
    scope: String,
    is_secret: bool,
    #[serde(default)]
    variable_type: String,
    mount_path: Option<String>,
}

impl AVariable {
    /// What is kept in a secret manager is said to be no secret, though nobody is shown it; so is another name of such a one.
    /// <https://github.com/Qovery/qovery-openapi-spec>
    fn is_hidden(&self) -> bool {
        let names_another = matches!(self.variable_type.as_str(), "ALIAS" | "OVERRIDE");
        self.is_secret || self.variable_type.ends_with("EXTERNAL_SECRET") || (names_another && self.value.is_none())
    }
}

#[derive(Deserialize)]
struct ANamed {
    id: String,
    #[serde(default)]
    name: String,
    url: Option<String>,
}

/// Whose variables are asked for.
#[derive(Clone, Copy, Debug)]
pub enum VariablesOf<'a> {
    /// A service's, inherited ones included.
    Service(&'a Service),
    /// Those that a service in the environment would inherit.
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
            let (mut services, mut skipped) = (BTreeSet::new(), BTreeSet::new());
            for staged in stage.services.unwrap_or_default() {
                let Some(service) = staged.service_id.as_deref().map(id).transpose()? else { continue };
                if staged.is_skipped {
                    skipped.insert(service.clone());
                }
                services.insert(service);
            }
            Ok(Stage { id: id(&stage.id)?, name: stage.name, services, skipped })
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

    /// Lets a service that is skipped in its stage run with the environment again.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn unskip(&self, stage: &QoveryId, service: &QoveryId) -> Result<(), CallError> {
        self.put(&format!("/deploymentStage/{stage}/service/{service}"), &json!({ "is_skipped": false })).await
    }

    /// Variables and secrets, inherited ones included.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn variables(&self, of: VariablesOf<'_>) -> Result<Vec<ObservedVariable>, CallError> {
        let (scope, parent) = match of {
            VariablesOf::Service(service) => (scope_of(&service.kind), &service.id),
            VariablesOf::Environment => ("ENVIRONMENT", self.environment()),
        };
        let listed: Vec<AVariable> = self.list(&format!("/variable?parent_id={parent}&scope={scope}")).await?;
        let variable = |found: AVariable| {
            let is_secret = found.is_hidden();
            let value = found.value.filter(|_| !is_secret);
            let scope = VariableScope::of(&found.scope);
            Ok(ObservedVariable { id: id(&found.id)?, name: found.key, value, scope, is_secret, mount_path: found.mount_path })
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

    /// Deletes a variable.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn delete_variable(&self, variable: &QoveryId) -> Result<(), CallError> {
        self.delete(&format!("/variable/{variable}")).await
    }

    /// Creates a variable of a job that Qovery mounts as a file. What looks like a variable in the file stays as it is.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn create_file(&self, job: &QoveryId, key: &str, file: &JobFile) -> Result<(), CallError> {
        let body = json!({
            "key": key, "value": file.content, "mount_path": file.mount_path(), "is_secret": false, "enable_interpolation_in_file": false,
            "variable_scope": "JOB", "variable_parent_id": job.as_str(),
        });
        self.create("/variable", &body).await.map(drop)
    }

    /// Gives a file of a job another content.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn edit_file(&self, variable: &QoveryId, key: &str, file: &JobFile) -> Result<(), CallError> {
        let body = json!({ "key": key, "value": file.content, "enable_interpolation_in_file": false });
        self.put(&format!("/variable/{variable}"), &body).await
    }

    /// The Helm repositories of an organization.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn helm_repositories(&self, organization: &QoveryId) -> Result<Vec<Named>, CallError> {
        self.named(&format!("/organization/{organization}/helmRepository")).await
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
        listed.into_iter().map(|named| Ok(Named { id: id(&named.id)?, name: named.name, url: named.url })).collect()
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, CallError> {
        Ok(self.get::<List<T>>(path).await?.results)
    }

    async fn put_empty(&self, path: &str) -> Result<(), CallError> {
        self.put(path, &Value::Null).await
    }
}

/// The scope of a service's own variables.
fn scope_of(kind: &ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Application => "APPLICATION",
        ServiceKind::Container => "CONTAINER",
        ServiceKind::Terraform => "TERRAFORM",
        ServiceKind::Job | ServiceKind::Other(_) => "JOB",
    }
}

fn id(text: &str) -> Result<QoveryId, CallError> {
    text.parse().map_err(|problem: NameProblem| error::unreadable(&serde::de::Error::custom(problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_manager_keeps_is_hidden_by_whatever_name() {
        let hidden = |kind: &str, value: Option<&str>, is_secret: bool| {
            let found = json!({ "id": "x", "key": "K", "value": value, "scope": "PROJECT", "variable_type": kind, "is_secret": is_secret });
            serde_json::from_value::<AVariable>(found).unwrap().is_hidden()
        };
        for (kind, value, is_secret, expected) in [
            ("VALUE", Some("x"), false, false),
            ("VALUE", None, false, false),
            ("VALUE", None, true, true),
            ("FILE", Some("x"), false, false),
            ("BUILT_IN", Some("x"), false, false),
            ("EXTERNAL_SECRET", None, false, true),
            ("EXTERNAL_SECRET", Some("arn:aws:secretsmanager:…"), false, true),
            ("FILE_EXTERNAL_SECRET", None, false, true),
            ("ALIAS", Some("x"), false, false),
            ("ALIAS", None, false, true),
            ("OVERRIDE", None, false, true),
        ] {
            assert_eq!(hidden(kind, value, is_secret), expected, "{kind} {value:?} {is_secret}");
        }
    }
}
