//! From desired and observed to a plan or to refusals: pure and deterministic.
//!
//! No I/O, clock, environment, file, SDK type, logger or async in this room. A plan leaves nothing to decide.

mod action;
mod delete;
mod provider;
mod refusal;
mod role;
mod service_account;
mod start;
#[cfg(test)]
mod tests;

pub use action::{Action, AppliedServiceAccount, NewRole, SubjectChange};
pub use refusal::{ForeignPolicy, Refusal, Refusals};

use crate::model::{desired::Desired, observed::Observed};

/// The field manager of the tool's server-side applies.
pub const FIELD_MANAGER: &str = "qovery-irsa";

/// What a run is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All as desired.
    Start,
    /// All gone that this environment added.
    Delete,
}

/// What brings it about.
///
/// # Errors
/// Something may not be touched: then nothing is.
pub fn plan(goal: Goal, desired: &Desired, observed: &Observed) -> Result<Plan, Refusals> {
    match goal {
        Goal::Start => start::start(desired, observed),
        Goal::Delete => delete::delete(desired, observed),
    }
}

/// What is to be done: first the prelude, then all lanes, which do not touch each other. Within each the order counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What everything else waits for.
    pub prelude: Vec<Action>,
    /// One lane for each role: the role, and the ServiceAccounts that name it.
    pub lanes: Vec<Vec<Action>>,
    /// What was seen and left alone, for people.
    pub notes: Vec<String>,
}

impl Plan {
    /// All actions in order, lane after lane.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.prelude.iter().chain(self.lanes.iter().flatten())
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions().next().is_none()
    }
}
