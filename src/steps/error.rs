//! Why a step of a run ended early.

use thiserror::Error;

use crate::{
    clients::call::Failed,
    model::desired::DesiredProblem,
    plan::Refusals,
    steps::{apply::ApplyError, connect::ConnectError},
};

/// Why a step ended early.
#[derive(Debug, Error)]
pub enum StepError {
    /// What is there could not be seen.
    #[error(transparent)]
    Observe(#[from] Failed),
    /// The identities cannot be in this account.
    #[error(transparent)]
    Desired(#[from] DesiredProblem),
    /// Something may not be touched.
    #[error(transparent)]
    Refused(#[from] Refusals),
    /// It is not the cluster that is meant, or that cannot be told.
    #[error(transparent)]
    Confirm(#[from] ConnectError),
    /// The plan was not carried out whole.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// What was applied cannot be seen.
    #[error("applied, but this is still to do after {seconds} s:\n  {left}")]
    NotVerified {
        /// How long it was waited for.
        seconds: u64,
        /// The actions that are left, one a line.
        left: String,
    },
    /// A signal came before anything was changed.
    #[error("interrupted by a signal")]
    Interrupted,
}
