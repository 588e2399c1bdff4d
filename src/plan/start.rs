//! The plan of `start`: provider, then for each role the role, the ServiceAccounts that name it, and the services that run with them.

use super::{Lane, Plan, Refusal, Refusals, association, keys, ledger, provider, role, service_account, services};
use crate::model::{
    desired::{Desired, DesiredTrust},
    identity::Keeper,
    lack::Lack,
    observed::Observed,
};

/// What makes the account and the cluster as desired.
pub(super) fn start(desired: &Desired, observed: &Observed) -> Result<Plan, Refusals> {
    let mut plan = Plan { prelude: provider::actions(desired, &observed.provider), ..Plan::default() };
    let mut refusals: Vec<Refusal> = Vec::new();
    if let Some(wanted) = desired.service_accounts.first().filter(|_| observed.namespace_ends) {
        refusals.push(Refusal::NamespaceEnds(wanted.subject.namespace.clone()));
    }
    for (name, wanted) in &desired.roles {
        let (mut lane, writers) = (Vec::new(), role::writers(wanted));
        match role::start(wanted, observed.roles.get(name), &observed.limits) {
            Ok(outcome) => {
                lane = outcome.actions;
                plan.notes.extend(outcome.notes);
            }
            Err(refusal) => refusals.push(refusal),
        }
        // Once the role trusts EKS Pod Identity, which EKS looks at, and before the ServiceAccount: a pod that starts has its role.
        for wanted in desired.associations.values().filter(|wanted| wanted.settings.role.name == *name) {
            let found = observed.associations.as_ref().and_then(|found| found.get(&wanted.subject.service_account));
            match association::start(wanted, found) {
                Ok(actions) => lane.extend(actions),
                Err(refusal) => refusals.push(refusal),
            }
        }
        let is_recorded = matches!(wanted.trust, DesiredTrust::Registry { .. });
        let mut first = Vec::new();
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name && wanted.keeper == Keeper::Tool) {
            let present = observed.service_accounts.get(&wanted.subject.service_account);
            plan.notes.extend(service_account::audience_note(wanted, present));
            let mut applies = service_account::start(wanted, present, observed.at);
            plan.notes.extend(applies.as_mut().map(|applies| std::mem::take(&mut applies.notes)).unwrap_or_default());
            match applies {
                // Nobody lists the roles that many environments have together: a new ServiceAccount records them before they are touched.
                Ok(applies) if present.is_none() && is_recorded => first.extend(applies.last),
                // Else last: a pod that starts before the role is ready would run without it.
                Ok(applies) => {
                    first.extend(applies.first.filter(|_| !lane.is_empty()));
                    lane.extend(applies.last);
                }
                Err(held) => refusals.extend(held),
            }
        }
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name && wanted.keeper == Keeper::Other) {
            let present = observed.service_accounts.get(&wanted.subject.service_account);
            let actions = service_account::let_go(wanted, present, &observed.gone_jobs, observed.at);
            let lack = Lack::of(wanted, present).filter(|_| actions.is_empty());
            plan.notes.extend(lack.map(|lack| format!("{lack}. With `roleOnly` the tool does not write it")));
            lane.extend(actions);
        }
        lane.splice(0..0, first);
        // After the ServiceAccounts: a pod that asks for one that is not there does not start.
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name && !observed.services_unseen) {
            match services::start(&wanted.subject.service_account, desired, observed) {
                Ok(actions) => lane.extend(actions),
                Err(refused) => refusals.extend(refused),
            }
        }
        if !lane.is_empty() {
            plan.lanes.push(Lane { writers, actions: lane });
        }
    }
    plan.notes.extend(keys::notes(desired, observed));
    ledger::date(desired, observed, &mut plan);
    if refusals.is_empty() { Ok(plan) } else { Err(Refusals(refusals)) }
}
