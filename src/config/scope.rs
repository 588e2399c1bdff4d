//! The word for a role's scope, the same in the manifest and in `IRSA_SCOPE`.
//!
//! What belongs to a scope beside its word, and where that is written, is not known here.

use std::str::FromStr;

use crate::model::names::NameProblem;

/// Whose role it is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeWord {
    Environment,
    Shared,
    Cluster,
}

impl ScopeWord {
    /// The scope of a role that says nothing of it. One given by ARN was there before the environment and may outlive it.
    pub(super) fn of_silent(given: bool) -> Self {
        if given { Self::Shared } else { Self::Environment }
    }

    /// Whether several environments have such a role together, so that its name cannot be made from one of them.
    pub(super) fn is_together(self) -> bool {
        matches!(self, Self::Shared | Self::Cluster)
    }
}

impl FromStr for ScopeWord {
    type Err = NameProblem;

    fn from_str(text: &str) -> Result<Self, NameProblem> {
        match text {
            "environment" => Ok(Self::Environment),
            "shared" => Ok(Self::Shared),
            "cluster" => Ok(Self::Cluster),
            _ => Err(NameProblem::new(text, "a scope", "use `environment`, `shared` or `cluster`")),
        }
    }
}
