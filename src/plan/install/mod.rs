//! The plan of `install`: from the job as it should be and the environment as it was seen to what makes it so.
//!
//! What of the job the manifest does not name stays as it is: people set it in the console.

mod action;
mod keys;
mod request;
mod stage;
mod variables;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use action::JobAction;
use serde_json::Value;
use thiserror::Error;

use super::{Refusal, Refusals};
use crate::model::{
    job::{JobSpec, Named, ObservedEnvironment, ObservedVariable, QoveryName, VariableName},
    service::{Service, ServiceRef, is_same_name},
};

/// What is to be done in order, and what people should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstallPlan {
    /// The actions.
    pub actions: Vec<JobAction>,
    /// What was seen and left alone.
    pub notes: Vec<String>,
}

/// What makes the job as it should be. `binds` are the services that the manifest's identities bind to a role, `at_hand` the secrets whose
/// values the installer has.
///
/// | observed | actions |
/// |---|---|
/// | no service of that name | create the job, then all that follows |
/// | a lifecycle job that differs | edit it: what the manifest does not name stays |
/// | a cron job, or another service | refusal |
/// | a secret that is missing | create it if its value is at hand, else a refusal |
/// | a variable that is missing, or the job's own with another value | create or edit it |
/// | a variable inherited with another value | refusal |
/// | advanced settings that differ | put them back with these changed |
/// | AWS keys that a service of `binds` has or inherits | refusal: it would never use its role |
/// | AWS keys or an API token that only others inherit | a note |
/// | a variable of a service of `binds` that keeps EKS from giving it a role | a note |
/// | another stage than named | attach the job to it; a stage of that name that is missing is created before all others |
/// | a named stage that comes after a service's that may use the role | move it first if it is the job's alone, else a refusal |
/// | the job is skipped in its stage | let it run |
///
/// # Errors
/// All refusals.
pub fn install(
    spec: &JobSpec,
    binds: &BTreeSet<ServiceRef>,
    observed: &ObservedEnvironment,
    at_hand: &BTreeSet<VariableName>,
) -> Result<InstallPlan, Refusals> {
    let mut refusals: Vec<Refusal> = Vec::new();
    let mut plan = InstallPlan::default();
    let mut add = |part: Result<Vec<JobAction>, Vec<InstallRefusal>>| match part {
        Ok(actions) => plan.actions.extend(actions),
        Err(refused) => refusals.extend(refused.into_iter().map(|refusal| Refusal::Install(Box::new(refusal)))),
    };
    let same_name = |service: &&Service| is_same_name(&service.name, spec.name.as_str());
    let taken = observed.services.iter().find(same_name).filter(|_| observed.job.as_ref().is_none_or(|job| !job.is_lifecycle));
    add(match taken {
        Some(service) => Err(vec![InstallRefusal::NameTaken { service: Box::new(service.clone()) }]),
        None => request::job(spec, observed),
    });
    add(variables::secrets(spec, observed, at_hand));
    add(variables::variables(spec, observed));
    add(Ok(settings(spec, observed)));
    add(stage::stage(spec, observed));
    add(Err(keys::refusals(binds, observed)));
    plan.notes.extend(stage::note(spec, observed));
    plan.notes.extend(keys::notes(binds, observed));
    if refusals.is_empty() { Ok(plan) } else { Err(Refusals(refusals)) }
}

/// The advanced settings of the manifest that differ. Those of a job that is not there yet are not known, so all are set.
fn settings(spec: &JobSpec, observed: &ObservedEnvironment) -> Vec<JobAction> {
    let present = observed.job.as_ref().map(|job| &job.settings);
    let differs = |(key, value): &(&String, &Value)| present.and_then(|present| present.get(*key)) != Some(*value);
    let changed: BTreeMap<String, Value> =
        spec.advanced_settings.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    vec![JobAction::PutSettings { job: observed.job.as_ref().map(|job| job.id.clone()), settings: changed }]
}

/// Why a job is not installed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InstallRefusal {
    /// Something else has the name.
    #[error("{service} has the name of the job, and is no lifecycle job")]
    NameTaken {
        /// What has it.
        service: Box<Service>,
    },
    /// The organization does not have what the manifest names.
    #[error("the organization has no {kind} `{name}`{}", known_in_words(known))]
    NotFound {
        /// What was looked for.
        kind: Lookup,
        /// Its name or id.
        name: QoveryName,
        /// Those that are there.
        known: Vec<Named>,
    },
    /// A secret is nowhere, and its value is not at hand.
    #[error("the job would not see secret `{0}`: it has none of that name, and the value is not known here")]
    SecretMissing(VariableName),
    /// What should be a secret can be read by everybody.
    #[error("`{0}` should be a secret, but is a variable that everybody may read")]
    SecretReadable(VariableName),
    /// A service that is to run with a role would inherit a key.
    #[error("{} would have {key}, which AWS SDKs take before a role", services.join(", "))]
    InheritedKey {
        /// The key.
        key: ObservedVariable,
        /// Who would have it.
        services: Vec<String>,
    },
    /// A service that is to run with a role has a key of its own.
    #[error("{service} has a {key} of its own, which AWS SDKs take before a role")]
    OwnKey {
        /// The key.
        key: ObservedVariable,
        /// Whose it is.
        service: String,
    },
    /// A variable is inherited with another value.
    #[error("variable `{0}` is set above the job with another value")]
    Inherited(VariableName),
    /// What should be a variable is a secret.
    #[error("variable `{0}` is a secret already: its value cannot be compared")]
    VariableHidden(VariableName),
    /// The named stage comes too late.
    #[error("deployment stage `{stage}` comes after or with `{before}`, in which {service} may use the role already")]
    StageTooLate {
        /// The stage of the manifest.
        stage: QoveryName,
        /// The stage that must come later.
        before: String,
        /// Who is in it.
        service: Box<Service>,
    },
}

/// What is looked for in the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A container registry.
    Registry,
    /// A Git token.
    GitToken,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "container registry",
            Self::GitToken => "Git token",
        })
    }
}

fn known_in_words(known: &[Named]) -> String {
    match known {
        [] => String::new(),
        known => format!("; there are {}", known.iter().map(|named| format!("`{}`", named.name)).collect::<Vec<_>>().join(", ")),
    }
}

impl InstallRefusal {
    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NameTaken { .. } => "give the job another `name` in the manifest".to_owned(),
            Self::NotFound { kind: Lookup::Registry, .. } => {
                "add the registry in the console (organization settings, container registries), or correct `image.registry`".to_owned()
            }
            Self::NotFound { kind: Lookup::GitToken, .. } => {
                "add the token in the console (organization settings, Git repository access), or correct `git.token`".to_owned()
            }
            Self::SecretMissing(name) => format!(
                "run `install` with the variable `IRSA_SECRET_{name}` set: that makes it a secret of the job itself, which clones copy and no other service can read"
            ),
            Self::InheritedKey { key, .. } => format!(
                "delete `{0}`{1}, and give it to the job itself: name it in `secrets` and run `install` with the variable `IRSA_SECRET_{0}` set, which makes it a secret of the job",
                key.name, key.scope
            ),
            Self::OwnKey { key, service } => format!("delete `{}` of {service} in the console: the role takes its place", key.name),
            Self::SecretReadable(name) => format!("delete variable `{name}` in the console and create it anew as a secret"),
            Self::Inherited(name) => format!("change `{name}` where it is set, or take it out of `variables`"),
            Self::VariableHidden(name) => format!("move `{name}` from `variables` to `secrets`"),
            Self::StageTooLate { .. } => {
                "move the stage in the console, or name another one: one that does not exist is created first".to_owned()
            }
        }
    }
}
