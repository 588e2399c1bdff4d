//! Why a trust zone was not made or taken away.

use thiserror::Error;

use crate::{
    clients::call::Failed,
    model::bootstrap::BootstrapProblem,
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
    /// No namespaces are given, and those of the project were asked for.
    #[error("no namespaces are given: {said}")]
    NoNamespaces {
        /// What the project's environments say about it.
        said: String,
    },
}
