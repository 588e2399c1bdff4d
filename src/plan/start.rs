//! The plan of `start`: provider, then for each role the role, the ServiceAccounts that name it, and the services that run with them.

use std::collections::BTreeMap;

use super::{
    Action, Lane, Plan, Refusal, Refusals, agent, association, keys, ledger,
    moving::{self, Before},
    provider, role, service_account, services,
};
use crate::model::{
    anchor::Anchor,
    desired::{Desired, DesiredRole, DesiredServiceAccount, DesiredTrust},
    identity::Keeper,
    lack::Lack,
    observed::Observed,
};

/// What people should know before: a role that is for the namespaces of patterns, none of which matches this one.
fn outside(desired: &Desired, observed: &Observed) -> Vec<String> {
    let note = |account: &DesiredServiceAccount| {
        let name = &account.role.name;
        role::outside(desired.roles.get(name)?, observed.roles.get(name), account)
    };
    desired.service_accounts.iter().filter_map(note).collect()
}

/// What makes the account and the cluster as desired.
pub(super) fn start(desired: &Desired, observed: &Observed) -> Result<Plan, Refusals> {
    let mut plan = Plan { prelude: provider::actions(desired, &observed.provider), ..Plan::default() };
    let (mut refusals, here) = (Vec::new(), desired.anchors());
    plan.notes.extend(outside(desired, observed));
    if let Some(wanted) = desired.service_accounts.first().filter(|_| observed.namespace_ends) {
        refusals.push(Refusal::NamespaceEnds(wanted.subject.namespace.clone()));
    }
    for (name, wanted) in &desired.roles {
        let (mut lane, writers) = (Vec::new(), role::writers(wanted));
        let mut moves: Vec<(&DesiredServiceAccount, Before<'_>)> = Vec::new();
        let mut kept = BTreeMap::new();
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name) {
            match moving::decide(wanted, desired, observed) {
                Ok(decided) => {
                    let account = &wanted.subject.service_account;
                    kept.insert(account.clone(), decided.kept(observed.service_accounts.get(account)));
                    moves.push((wanted, decided.before));
                    plan.notes.extend(decided.notes);
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        for side in desired.sides(wanted) {
            let found = role::after(observed.roles.get(name), &lane);
            // Why it is not made is said already.
            if found.is_none() && side.owned.is_none() && wanted.owned.is_some() {
                continue;
            }
            let (anchor, note) = moving::widest(&side, desired, observed);
            match role::start(&DesiredRole { anchor, ..side.clone() }, found.as_ref(), &observed.limits, &here) {
                Ok(outcome) => {
                    lane.extend(outcome.actions);
                    plan.notes.extend(outcome.notes.into_iter().chain(note));
                    if let (Anchor::PodIdentity(..), Some(found)) = (&side.anchor, &found) {
                        plan.notes.extend(role::kept_patterns(&side, found, &desired.provider));
                    }
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        // Once the role trusts EKS Pod Identity, which EKS looks at, and before the ServiceAccount: a pod that starts has its role.
        let mut associations = Vec::new();
        for wanted in desired.associations.values().filter(|wanted| wanted.settings.role.name == *name) {
            let found = observed.associations.as_ref().and_then(|found| found.get(&wanted.subject.service_account));
            let before = moves.iter().find(|(account, _)| account.subject == wanted.subject).map_or(Before::Nothing, |(_, before)| *before);
            match association::start(wanted, found) {
                Ok(actions) => {
                    let (actions, note) = moving::in_time(actions, &lane, before, found);
                    plan.notes.extend(association::gap(&actions));
                    associations.extend(actions);
                    plan.notes.extend(note);
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        lane.extend(associations);
        let is_recorded = matches!(wanted.trust, DesiredTrust::Registry { .. });
        let mut first = Vec::new();
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name && wanted.keeper == Keeper::Tool) {
            let present = observed.service_accounts.get(&wanted.subject.service_account);
            plan.notes.extend(service_account::audience_note(wanted, present));
            let kept = kept.get(&wanted.subject.service_account).cloned().unwrap_or_default();
            let mut applies = service_account::start(wanted, present, &kept, observed.at);
            plan.notes.extend(applies.as_mut().map(|applies| std::mem::take(&mut applies.notes)).unwrap_or_default());
            match applies {
                // Nobody lists the roles that many environments have together: a new ServiceAccount records them before they are touched.
                Ok(applies) if present.is_none() && is_recorded => first.extend(applies.last),
                // Else last: a pod that starts before the role is ready would run without it.
                Ok(applies) => {
                    let is_all = !applies.last.iter().any(|action| matches!(action, Action::ApplyServiceAccount(_)));
                    first.extend(applies.first.filter(|_| is_all || !lane.is_empty()));
                    lane.extend(applies.last);
                }
                Err(held) => refusals.extend(held),
            }
        }
        for wanted in desired.service_accounts.iter().filter(|wanted| wanted.role.name == *name && wanted.keeper == Keeper::Other) {
            let present = observed.service_accounts.get(&wanted.subject.service_account);
            let kept = kept.get(&wanted.subject.service_account).cloned().unwrap_or_default();
            let actions = service_account::let_go(wanted, present, &kept, &observed.gone_jobs, observed.at);
            let lack = Lack::of(wanted, present).filter(|_| actions.is_empty());
            plan.notes.extend(lack.map(|lack| format!("{lack}. With `roleOnly` the tool does not write it")));
            lane.extend(actions);
        }
        lane.extend(closing(wanted, &moves, desired, observed, &lane));
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
    match agent::start(desired, observed) {
        Ok(note) => plan.notes.extend(note),
        Err(refusal) => refusals.push(refusal),
    }
    plan.notes.extend(keys::notes(desired, observed));
    ledger::date(desired, observed, &mut plan);
    if refusals.is_empty() { Ok(plan) } else { Err(Refusals(refusals)) }
}

/// What of the bindings before goes, once the role and its ServiceAccounts are as desired: the annotation has gone already, and it let nobody
/// in who could come after it.
fn closing(
    wanted: &DesiredRole,
    moves: &[(&DesiredServiceAccount, Before<'_>)],
    desired: &Desired,
    observed: &Observed,
    lane: &[Action],
) -> Vec<Action> {
    let (mut actions, mut records) = (Vec::new(), Vec::new());
    let Some(found) = role::after(observed.roles.get(&wanted.arn.name), lane) else { return actions };
    for side in desired.sides(wanted).filter(|side| matches!(side.anchor, Anchor::PodIdentity(..))) {
        actions.extend(role::leave_irsa(&side, &found, &desired.provider, &moving::leaving(moves.iter().copied())));
    }
    for (account, before) in moves {
        let Before::AssociationGoes(association) = before else { continue };
        if let Some((cluster, association)) = desired.place.cluster.as_ref().zip(*association) {
            let (id, subject) = (association.id.clone(), account.subject.clone());
            actions.push(Action::DeleteAssociation { cluster: cluster.clone(), id, subject });
            let present = observed.service_accounts.get(&account.subject.service_account).filter(|_| account.keeper == Keeper::Tool);
            records.extend(present.and_then(|present| service_account::without_record(account, present, observed.at)));
        }
        // EKS no longer asks for it.
        actions.extend(role::leave_pod_identity(wanted, &found));
    }
    actions.extend(records);
    actions
}
