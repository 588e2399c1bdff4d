//! The plan of `start`: provider, then for each role the role, the ServiceAccounts that name it, and the services that run with them.

use super::{Lane, Plan, Refusal, Refusals, provider, role, service_account, services};
use crate::model::{desired::Desired, observed::Observed};

/// What makes the account and the cluster as desired.
pub(super) fn start(desired: &Desired, observed: &Observed) -> Result<Plan, Refusals> {
    let mut plan = Plan { prelude: provider::actions(desired, observed.provider.as_ref()), ..Plan::default() };
    let mut refusals: Vec<Refusal> = Vec::new();
    for (name, wanted) in &desired.roles {
        let mut lane = Vec::new();
        match role::start(wanted, observed.roles.get(name), &desired.provider, &observed.limits) {
            Ok(outcome) => {
                lane = outcome.actions;
                plan.notes.extend(outcome.notes);
            }
            Err(refusal) => refusals.push(refusal),
        }
        // Last: a pod that starts before the role is ready would run without it.
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name) {
            match service_account::start(wanted, observed.service_accounts.get(&wanted.subject.service_account)) {
                Ok(action) => lane.extend(action),
                Err(held) => refusals.extend(held),
            }
        }
        // After the ServiceAccounts: a pod that asks for one that is not there does not start.
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name) {
            match services::start(&wanted.subject.service_account, desired, observed) {
                Ok(actions) => lane.extend(actions),
                Err(refused) => refusals.extend(refused),
            }
        }
        if !lane.is_empty() {
            plan.lanes.push(Lane { writers: role::writers(wanted), actions: lane });
        }
    }
    if refusals.is_empty() { Ok(plan) } else { Err(Refusals(refusals)) }
}
