//! The plan: actions in the order in which they are applied.

use super::action::{Action, Call as _};
use crate::model::applied::{AppliedServiceAccount, Applying};

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
