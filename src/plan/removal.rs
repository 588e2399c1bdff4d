//! The plans that remove: `delete` all of an environment, and of a deploy what no identity names any more.
//!
//! For each role first the associations that give it to pods, then the role or this environment's part of it; in the end the
//! ServiceAccounts, which record the roles until these are left. The OIDC provider stays: the cluster and other roles live by it.

use super::{
    Action, Freshness, Lane, Plan, Writers,
    ledger::{self, Fate, Removal},
    role, service_account,
};
use crate::model::{association::ObservedAssociation, desired::Desired, names::Subject, observed::Observed};

/// What takes away exactly that which this environment added. What is not there is believed to be gone a settle time later: a run that was
/// cancelled may have been in its last call.
pub(super) fn delete(desired: &Desired, observed: &Observed, freshness: Freshness) -> Plan {
    let mut plan = remove(ledger::all(desired, observed), desired, observed, freshness);
    plan.waits |= freshness == Freshness::Unsettled;
    plan
}

/// What takes away what no identity has named for long enough and nobody uses.
pub(super) fn prune(desired: &Desired, observed: &Observed, freshness: Freshness) -> Plan {
    let mut plan = remove(ledger::due(desired, observed), desired, observed, freshness);
    ledger::inherit(desired, observed, &mut plan);
    plan
}

fn remove(removal: Removal, desired: &Desired, observed: &Observed, freshness: Freshness) -> Plan {
    let mut associations = disassociate(&removal, desired, observed);
    let mut plan = Plan { notes: removal.notes, kept: removal.kept, left: removal.left, lost: removal.lost, ..Plan::default() };
    for (name, wanted) in &removal.roles {
        let Some(found) = observed.roles.get(name) else { continue };
        let mut outcome = role::delete(wanted, found, desired, observed, freshness);
        let writers = role::writers(wanted);
        // What gives it to pods goes before it.
        if writers == Writers::One && !outcome.actions.is_empty() {
            let of_role = associations.extract_if(.., |(association, _)| association.settings.role == found.arn);
            outcome.actions.splice(0..0, of_role.map(|(_, action)| action).collect::<Vec<_>>());
        }
        plan.add(writers, outcome);
    }
    plan.lanes.extend(associations.into_iter().map(|(_, action)| Lane { writers: Writers::One, actions: vec![action] }));
    // A role that goes only once it is certain that nobody is just coming in is recorded until then.
    if plan.waits {
        return plan;
    }
    let job = desired.place.job.as_ref();
    for (name, fate) in &removal.accounts {
        let Some(found) = observed.service_accounts.get(name) else { continue };
        let subject = Subject { namespace: desired.place.namespace.clone(), service_account: name.clone() };
        if found.ends {
            plan.notes.push(format!("ServiceAccount `{subject}` is being deleted already: what holds it are its finalizers"));
            continue;
        }
        let action = match fate {
            Fate::Goes => service_account::remove(&subject, found, job, &observed.gone_jobs),
            Fate::LetGo => service_account::leave(&subject, found, job, &observed.gone_jobs),
            Fate::Leaves(roles) => service_account::forget(&subject, found, roles).into_iter().collect(),
        };
        if matches!(fate, Fate::Goes) && action.iter().any(|action| matches!(action, Action::ReleaseServiceAccount { .. })) {
            plan.notes.extend(service_account::stays(&subject, found));
        }
        plan.closing.extend(action);
    }
    plan
}

/// Takes the associations that leave from the job: while another job wants one, only the job's mark goes.
fn disassociate<'a>(removal: &Removal, desired: &Desired, observed: &'a Observed) -> Vec<(&'a ObservedAssociation, Action)> {
    let job = desired.place.job.as_ref();
    let found = removal.associations.iter().filter_map(|name| observed.associations.as_ref()?.get(name));
    let action = |found: &ObservedAssociation| {
        let (cluster, id, subject) = (desired.place.cluster.clone()?, found.id.clone(), found.subject.clone());
        if found.marks().others(job, &observed.gone_jobs).is_empty() {
            return Some(Action::DeleteAssociation { cluster, id, subject });
        }
        let job = job.filter(|job| found.marks().of(Some(job)).is_some())?;
        Some(Action::UntagAssociation { cluster, id, arn: found.arn.clone(), subject, keys: [job.tag()].into() })
    };
    found.filter_map(|found| Some((found, action(found)?))).collect()
}

impl Plan {
    /// Adds what is to be done with a role.
    pub(super) fn add(&mut self, writers: Writers, outcome: role::RolePlan) {
        self.notes.extend(outcome.notes);
        self.left.extend(outcome.left);
        self.waits |= outcome.waits;
        if !outcome.actions.is_empty() {
            self.lanes.push(Lane { writers, actions: outcome.actions });
        }
    }
}
