//! Why a trust zone was not made or taken away.

use thiserror::Error;

use crate::{
    clients::call::{ErrorKind, Failed},
    hint::{self, Known},
    model::{bootstrap::BootstrapProblem, names::RoleName},
    report::exit::Exit,
    steps::{StepError, connect::ConnectError},
};

/// Why a trust zone was not made or taken away.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Failed),
    /// A step ended early for another reason.
    #[error(transparent)]
    Step(#[from] StepError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The zone cannot be in this account.
    #[error(transparent)]
    Zone(#[from] BootstrapProblem),
    /// The guard of the cluster does not hold, or is not in force: what was seen, one line each.
    #[error("{}", .0.join("\n"))]
    NotGuarded(Vec<String>),
    /// The job's role has so long a name that the role for cluster access would have none.
    #[error("role name `{0}` is too long: the role for cluster access has that name with `-access` after it, and IAM takes 64 characters")]
    LongName(RoleName),
    /// No namespaces are given, and those of the project were asked for.
    #[error("no namespaces are given: {said}")]
    NoNamespaces {
        /// What the project's environments say about it.
        said: String,
    },
}

impl BootstrapError {
    /// The exit code of a run that ends so.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Zone(_) | Self::NoNamespaces { .. } | Self::LongName(_) => Exit::Misconfigured,
            Self::NotGuarded(_) => Exit::NotProven,
            Self::Call(_) | Self::Step(_) | Self::Connect(_) => Exit::Failed,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self, known: &Known) -> Option<String> {
        let said = match self {
            Self::Zone(problem) => problem.hint(),
            Self::Call(failed) if failed.service() == "kubernetes" && is_of_stranger(&failed.source.kind) => {
                "cluster access is made by an administrator of the cluster: use AWS credentials whose access entry has the policy `AmazonEKSClusterAdminPolicy`, or set `KUBECONFIG` to a file of one"
            }
            Self::Call(failed) => return hint::of_bootstrap(failed, known),
            Self::Step(StepError::Interrupted) => "run `bootstrap` again: it continues where it stopped",
            Self::Step(_) => "IAM may be slow, or something else changes the same things: run `bootstrap` again",
            Self::Connect(error) => return hint::of_connection(error, known),
            Self::NotGuarded(_) => {
                "see the policy and its binding: `kubectl get validatingadmissionpolicy,validatingadmissionpolicybinding qovery-irsa --output yaml`. Until the guard holds, take cluster access away with `bootstrap --delete`, or delete the access entry of its role"
            }
            Self::LongName(_) => "give the job's role a shorter name (`cluster.role`)",
            Self::NoNamespaces { .. } => return None,
        };
        Some(said.to_owned())
    }
}

/// Whether the cluster does not know who asks, or lets them do too little.
fn is_of_stranger(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Credentials(_) | ErrorKind::Denied(_))
}
