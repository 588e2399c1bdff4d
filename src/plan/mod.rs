//! From desired and observed to a plan or to refusals: pure and deterministic.
//!
//! No I/O, clock, environment, file, SDK type, logger or async in this room. A plan leaves nothing to decide.

mod action;
pub mod departure;
pub mod install;
mod keys;
mod ledger;
mod progress;
mod provider;
mod refusal;
mod removal;
mod role;
mod service_account;
mod services;
mod start;
mod sweep;
#[cfg(test)]
mod tests;

pub use action::{Action, AppliedServiceAccount, Applying, NewRole, Seen, SubjectChange};
pub use ledger::{asks_for_jobs, is_due, kept_for_others};
pub use progress::{CarriedOut, Next, Progress};
pub use refusal::{Refusal, Refusals};
pub use service_account::overridden;
pub use services::binding_notes;

use crate::model::{desired::Desired, observed::Observed};

/// One changing call, as it is printed and as logs name it.
pub trait Call: std::fmt::Display {
    /// The API call that it is.
    fn call(&self) -> &'static str;
}

/// What a run is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All as desired.
    Start,
    /// All gone that this job made, that no identity has named for long enough and that nobody uses.
    Prune,
    /// All gone that this environment added.
    Delete,
    /// All gone that environments have left which no longer exist.
    Sweep,
    /// All gone that belongs to an issuer which no longer exists.
    Retire(Provision),
}

/// What becomes of the OIDC provider of an issuer that no longer exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provision {
    /// It stays.
    Keep,
    /// It goes, if the tool made it.
    Remove,
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
        Goal::Prune => Ok(removal::prune(desired, observed, freshness)),
        Goal::Delete => Ok(removal::delete(desired, observed, freshness)),
        Goal::Sweep => sweep::sweep(desired, observed, freshness),
        Goal::Retire(provision) => Ok(sweep::retire(desired, observed, provision, freshness)),
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

/// What is to be done: first the prelude, then all lanes, which do not touch each other, then the closing. Within each the order counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What everything else waits for.
    pub prelude: Vec<Action>,
    /// One lane for each role.
    pub lanes: Vec<Lane>,
    /// What waits for all lanes: of a removal the ServiceAccounts, which record the roles.
    pub closing: Vec<Action>,
    /// Whether something is left to do once the observation is settled.
    pub waits: bool,
    /// What was seen and left alone, for people.
    pub notes: Vec<String>,
    /// What a removal leaves, since somebody of the environment wants it, for people.
    pub kept: Vec<String>,
    /// What a removal could not take away, for people: they must look at it.
    pub left: Vec<String>,
    /// The same, of what no later look shows: what records it goes with this plan.
    pub lost: Vec<String>,
}

impl Plan {
    /// All actions in order, lane after lane.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.prelude.iter().chain(self.lanes.iter().flat_map(|lane| &lane.actions)).chain(&self.closing)
    }

    /// This, and what another plan does.
    pub fn extend(&mut self, other: Self) {
        let Self { prelude, lanes, closing, waits, notes, kept, left, lost } = other;
        self.prelude.extend(prelude);
        self.lanes.extend(lanes);
        self.closing.extend(closing);
        self.waits |= waits;
        self.notes.extend(notes);
        self.kept.extend(kept);
        self.left.extend(left);
        self.lost.extend(lost);
    }

    /// Only the lanes with many writers, and the closing: Kubernetes shows no past.
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

    /// What is applied as a dry run before anything else is changed: the ServiceAccounts as they are to be in the end. Nothing where
    /// the first change is in Kubernetes anyhow.
    #[must_use]
    pub fn rehearsals(&self) -> Vec<&AppliedServiceAccount> {
        if !self.actions().any(|action| action.call().starts_with("iam:")) {
            return Vec::new();
        }
        let applied = self.actions().filter_map(|action| match action {
            Action::ApplyServiceAccount(applied) if matches!(applied.how, Applying::Create | Applying::Apply) => Some(&**applied),
            _ => None,
        });
        applied.collect()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions().next().is_none()
    }
}
