//! From desired and observed to a plan or to refusals: pure and deterministic.
//!
//! No I/O, clock, environment, file, SDK type, logger or async in this room. A plan leaves nothing to decide.

mod action;
mod delete;
pub mod install;
mod progress;
mod provider;
mod refusal;
mod role;
mod service_account;
mod services;
mod start;
mod sweep;
#[cfg(test)]
mod tests;

pub use action::{Action, AppliedServiceAccount, NewRole, SubjectChange};
pub use progress::{CarriedOut, Next, Progress};
pub use refusal::{ForeignPolicy, Refusal, Refusals};
pub use services::binding_note;

use crate::model::{desired::Desired, observed::Observed};

/// One changing call, as it is printed and as logs name it.
pub trait Call: std::fmt::Display {
    /// The API call that it is.
    fn call(&self) -> &'static str;
}

/// The field manager of the tool's server-side applies.
pub const FIELD_MANAGER: &str = "qovery-irsa";

/// What a run is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All as desired.
    Start,
    /// All gone that this environment added.
    Delete,
    /// All gone that environments have left which no longer exist.
    Sweep,
}

/// Whether an observation is known to show all that was written before a settle time ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It may show the past.
    Unsettled,
    /// A settle time has passed since the run's own last write.
    Settled,
}

/// What brings it about.
///
/// # Errors
/// Something may not be touched: then nothing is.
pub fn plan(goal: Goal, desired: &Desired, observed: &Observed, freshness: Freshness) -> Result<Plan, Refusals> {
    match goal {
        Goal::Start => start::start(desired, observed),
        Goal::Delete => delete::delete(desired, observed, freshness),
        Goal::Sweep => {
            sweep::sweep(desired, observed, desired.service_accounts.first().map(|account| &account.subject.namespace), freshness)
        }
    }
}

/// Who writes to what a lane changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// This environment alone.
    One,
    /// Other environments too, at the same time.
    Many,
}

/// Actions in order: a role, and the ServiceAccounts that name it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// Who writes to the role.
    pub writers: Writers,
    /// What is to be done.
    pub actions: Vec<Action>,
}

/// What is to be done: first the prelude, then all lanes, which do not touch each other. Within each the order counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What everything else waits for.
    pub prelude: Vec<Action>,
    /// One lane for each role.
    pub lanes: Vec<Lane>,
    /// Whether something is left to do once the observation is settled.
    pub waits: bool,
    /// What was seen and left alone, for people.
    pub notes: Vec<String>,
}

impl Plan {
    /// All actions in order, lane after lane.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.prelude.iter().chain(self.lanes.iter().flat_map(|lane| &lane.actions))
    }

    /// Only the lanes with many writers.
    #[must_use]
    pub fn of_many_writers(self) -> Self {
        Self { prelude: Vec::new(), lanes: self.lanes.into_iter().filter(|lane| lane.writers == Writers::Many).collect(), ..self }
    }

    /// Whether it changes the trust or the entries of a role that others write to, so that a settle time begins.
    #[must_use]
    pub fn writes_to_many(&self) -> bool {
        let of_role = |action: &Action| matches!(action, Action::CreateRole(_) | Action::UpdateTrust { .. } | Action::UntagRole { .. });
        self.lanes.iter().any(|lane| lane.writers == Writers::Many && lane.actions.iter().any(of_role))
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions().next().is_none()
    }
}
