//! Why a run failed: which exit code that is, and what is said of each error.

use std::error::Error;

use thiserror::Error;

#[cfg(feature = "laptop")]
use crate::bootstrap::BootstrapError;
use crate::{
    clients::call::{ErrorKind, Failed},
    config::Problems,
    hint::{self, Known},
    install::deploy::DeployError,
    model::desired::DesiredProblem,
    plan::Refusals,
    report::{Described, Failure, causes, exit::Exit},
    steps::{StepError, apply::ApplyError, connect::ConnectError, output::OutputError, prove::NotProven},
};

/// Why a run failed.
#[derive(Debug, Error)]
pub(super) enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] Problems),
    /// A deployment that was asked for.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A step ended early.
    #[error(transparent)]
    Step(#[from] StepError),
    /// All is as it should be, and yet no pod would get its role.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    NotProven(Vec<NotProven>),
    /// The outputs.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The trust zone was not made or taken away.
    #[cfg(feature = "laptop")]
    #[error(transparent)]
    Bootstrap(BootstrapError),
}

#[cfg(feature = "laptop")]
impl From<BootstrapError> for RunError {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Step(error @ StepError::Refused(_)) => Self::Step(error),
            BootstrapError::Connect(error) => Self::Connect(error),
            other => Self::Bootstrap(other),
        }
    }
}

impl From<Failed> for RunError {
    fn from(failed: Failed) -> Self {
        Self::Step(failed.into())
    }
}

impl From<DesiredProblem> for RunError {
    fn from(problem: DesiredProblem) -> Self {
        Self::Step(problem.into())
    }
}

impl From<Refusals> for RunError {
    fn from(refusals: Refusals) -> Self {
        Self::Step(refusals.into())
    }
}

impl RunError {
    /// Whether the API server forbids to read ServiceAccounts, which each look begins with.
    pub(super) fn is_forbidden_look(&self) -> bool {
        let Self::Step(StepError::Observe(failed)) = self else { return false };
        matches!(failed.call, "kubernetes:get serviceaccounts" | "kubernetes:list serviceaccounts") && failed.source.kind.is_denied()
    }

    /// How the process ends.
    fn exit(&self) -> Exit {
        match self {
            Self::Step(StepError::Refused(_)) => Exit::Refused,
            Self::NotProven(_) => Exit::NotProven,
            Self::Step(StepError::Apply(ApplyError::Failed(failed)))
                if failed.iter().any(|failed| matches!(failed.source.kind, ErrorKind::Held(_))) =>
            {
                Exit::Refused
            }
            Self::Connect(ConnectError::Call(_) | ConnectError::Slow(_))
            | Self::Step(StepError::Confirm(ConnectError::Call(_) | ConnectError::Slow(_)))
            | Self::Deploy(_)
            | Self::Output(_) => Exit::Failed,
            Self::Config(_) | Self::Connect(_) | Self::Step(StepError::Desired(_) | StepError::Confirm(_)) => Exit::Misconfigured,
            Self::Step(_) => Exit::Failed,
            #[cfg(feature = "laptop")]
            Self::Bootstrap(error) => error.exit(),
        }
    }

    /// What is said of it: each error with its causes, and what a person can do about it.
    #[must_use]
    pub(super) fn failure(&self, known: &Known) -> Failure {
        let of_call = |failed: &Failed| described(failed, hint::of_call(failed, known));
        let errors = match self {
            Self::Step(StepError::Apply(ApplyError::Failed(failed))) => failed.iter().map(of_call).collect(),
            Self::NotProven(failed) => {
                let of_proof = |failed: &NotProven| {
                    let known = Known { provider: failed.provider().cloned(), ..known.clone() };
                    described(failed, failed.hint().or_else(|| hint::of_call(failed.failed()?, &known)))
                };
                failed.iter().map(of_proof).collect()
            }
            other => vec![described(other, other.hint(known))],
        };
        Failure { exit: self.exit(), errors }
    }

    fn hint(&self, known: &Known) -> Option<String> {
        match self {
            Self::Config(_) => Some("nothing was read from or changed in AWS, Kubernetes or Qovery".to_owned()),
            Self::Connect(error) | Self::Step(StepError::Confirm(error)) => hint::of_connection(error, known),
            Self::Deploy(DeployError::Call(failed)) => hint::of_call(failed, known),
            Self::Deploy(error) => error.hint(),
            Self::Output(_) => {
                Some("AWS and Kubernetes are as they should be; make the directory writable, or set `IRSA_OUTPUT`".to_owned())
            }
            Self::Step(StepError::Observe(failed)) => hint::of_call(failed, known),
            Self::Step(StepError::Desired(problem)) => Some(problem.hint().to_owned()),
            Self::Step(StepError::Refused(refusals)) => Some(refusals.hint()),
            Self::Step(StepError::Apply(ApplyError::Interrupted) | StepError::Interrupted) => {
                Some("deploy again: it continues where it stopped".to_owned())
            }
            Self::Step(StepError::NotVerified { .. }) => Some(
                "IAM may be slow, or something else changes the same things: deploy again; if it stays, see who changes them in CloudTrail"
                    .to_owned(),
            ),
            #[cfg(feature = "laptop")]
            Self::Bootstrap(error) => error.hint(known),
            // Each of them has its own.
            Self::Step(StepError::Apply(ApplyError::Failed(_))) | Self::NotProven(_) => None,
        }
    }
}

fn described(error: &(dyn Error + 'static), hint: Option<String>) -> Described {
    Described { message: error.to_string(), causes: causes(error), hint }
}
