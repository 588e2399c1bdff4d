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
    /// A step of it.
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

impl From<Failed> for BootstrapError {
    fn from(failed: Failed) -> Self {
        Self::Step(failed.into())
    }
}
