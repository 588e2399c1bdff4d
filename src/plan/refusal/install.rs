//! Why a job is not installed, and the way out.

use std::fmt;

use thiserror::Error;

use crate::model::{
    job::Named,
    names::Namespace,
    qovery::QoveryName,
    service::Service,
    variable::{ObservedVariable, VariableName},
};

/// Why a job is not installed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InstallRefusal {
    /// Something else has the name.
    #[error("{service} has the name of the job, and is no lifecycle job")]
    NameTaken {
        /// What has it.
        service: Box<Service>,
    },
    /// Something else has the name of the cron job.
    #[error("{service} has the name of the cron job, and is none")]
    CronNameTaken {
        /// What has it.
        service: Box<Service>,
    },
    /// The cron job would run where its ServiceAccount is not.
    #[error("the environment's namespace is `{found}`, and cluster access is given to namespace `{wanted}`")]
    OtherNamespace {
        /// The namespace that has cluster access.
        wanted: Namespace,
        /// That of the environment.
        found: String,
    },
    /// Something else has the name of the Helm service.
    #[error("{service} has the name of the Helm service that makes the job's ServiceAccount, and is none")]
    AccountNameTaken {
        /// What has it.
        service: Box<Service>,
    },
    /// A keyless job would not use its role.
    #[error("the job would have {key}, which keeps it from its own role")]
    KeyOfJob {
        /// The key.
        key: ObservedVariable,
    },
    /// The organization does not have what the manifest names.
    #[error("the organization has no {kind} `{name}`{}", known_in_words(known))]
    NotFound {
        /// What was looked for.
        kind: Lookup,
        /// Its name or id, or the host.
        name: String,
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
    /// The stage of the Helm service does not come before that of the job, and is not its alone.
    #[error(
        "deployment stage `{stage}` comes after the job's stage, and has other services: the job's ServiceAccount would not be there in time"
    )]
    AccountStageTooLate {
        /// The stage.
        stage: QoveryName,
    },
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
    /// The container registry of the released image, by its host.
    ReleaseRegistry,
    /// A Git token for the job's source.
    GitToken,
    /// A Git token for the chart.
    ChartToken,
    /// A Helm repository.
    HelmRepository,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "container registry",
            Self::ReleaseRegistry => "container registry on",
            Self::GitToken | Self::ChartToken => "Git token",
            Self::HelmRepository => "Helm repository",
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
            Self::NameTaken { .. } | Self::CronNameTaken { .. } => "give the job another `name` in the manifest".to_owned(),
            Self::NotFound { kind: Lookup::Registry, .. } => {
                "add the registry in the console (organization settings, container registries), or correct `image.registry`".to_owned()
            }
            Self::NotFound { kind: Lookup::ReleaseRegistry, name, .. } => format!(
                "add a registry with the URL `https://{name}` in the console (organization settings, container registries), or name another by `image.registry`"
            ),
            Self::NotFound { kind: Lookup::ChartToken, .. } => {
                "add the token in the console (organization settings, Git repository access), or correct `chart.git.token`".to_owned()
            }
            Self::NotFound { kind: Lookup::HelmRepository, .. } => {
                "add the repository in the console (organization settings, Helm repositories), or correct `chart.repository`".to_owned()
            }
            Self::OtherNamespace { found, .. } => format!(
                "name the environment of that namespace by `--environment`; or give this one access: set `cluster.access.namespace` to `{found}`, and run `bootstrap`"
            ),
            Self::AccountNameTaken { .. } => "give the job another `name` in the manifest, or rename that service".to_owned(),
            Self::KeyOfJob { key } => format!(
                "delete `{}`{}: with its role the job needs no key, and a service that needs it can have it for itself",
                key.name,
                if key.scope.is_inherited() { key.scope.to_string() } else { " of the job in the console".to_owned() }
            ),
            Self::AccountStageTooLate { .. } => {
                "move the stage before the job's in the console, or give the job another `stage`".to_owned()
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
            Self::Inherited(name) => format!("change or delete `{name}` where it is set, or say in `variables` what it should be"),
            Self::VariableHidden(name) => format!("move `{name}` from `variables` to `secrets`"),
            Self::StageTooLate { .. } => {
                "move the stage in the console, or name another one: one that does not exist is created first".to_owned()
            }
        }
    }
}
