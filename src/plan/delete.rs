//! The plan of `delete`: for each role first the ServiceAccounts that name it, then the role or this environment's part of it.
//!
//! The OIDC provider stays: the cluster and other roles live by it.

use super::{Freshness, Lane, Plan, Refusal, Refusals, role, service_account};
use crate::model::{desired::Desired, observed::Observed};

/// What takes away exactly that which this environment added.
pub(super) fn delete(desired: &Desired, observed: &Observed, freshness: Freshness) -> Result<Plan, Refusals> {
    let mut plan = Plan::default();
    let mut refusals: Vec<Refusal> = Vec::new();
    for (name, wanted) in &desired.roles {
        let service_accounts =
            desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name).filter_map(|wanted| {
                service_account::delete(&wanted.subject, observed.service_accounts.get(&wanted.subject.service_account))
            });
        let mut lane: Vec<_> = service_accounts.collect();
        if let Some(observed) = observed.roles.get(name) {
            match role::delete(wanted, observed, &desired.provider, freshness) {
                Ok(outcome) => {
                    lane.extend(outcome.actions);
                    plan.notes.extend(outcome.notes);
                    plan.waits |= outcome.waits;
                }
                Err(refused) => refusals.extend(refused),
            }
        }
        if !lane.is_empty() {
            plan.lanes.push(Lane { writers: role::writers(wanted), actions: lane });
        }
    }
    if refusals.is_empty() { Ok(plan) } else { Err(Refusals(refusals)) }
}
