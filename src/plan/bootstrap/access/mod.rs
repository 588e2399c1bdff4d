//! The plan of cluster access: from what it should be and what was seen to what makes it so, or takes it away.

mod action;

use std::collections::BTreeSet;

pub use action::AccessAction;

use super::{BootstrapAction, making, part::PartPlan, removing};
use crate::{
    model::bootstrap::{
        ACCESS_GROUP, AuthenticationMode, ClusterObject, DesiredAccess, ObjectKind, ObservedAccess, ObservedNamespace, ObservedObject,
        STANDARD, all_rights,
    },
    plan::refusal::{AccessRefusal, Refusal, Refusals},
};

/// The plan of cluster access.
pub type AccessPlan = PartPlan<AccessAction>;

/// What makes cluster access as it should be, in this order: the role; the guard; the rights of the group; the access entry, which
/// puts the role in the group; the ServiceAccount, which gets the role. Nobody is in the group before the guard is in force.
///
/// | observed | actions |
/// |---|---|
/// | the role is missing, or differs | as for the job's role |
/// | an object is missing, or differs | apply it |
/// | no access entry | create it |
/// | ours, of a role that is made anew | delete it first: it names the role that is gone |
/// | ours, with other groups or tags | change that |
/// | an object or entry of somebody else, or of another zone | refusal |
/// | an object that differs and that somebody else holds a part of | refusal |
/// | an API server without admission policies, no namespace | refusal |
///
/// # Errors
/// All refusals.
pub fn make(desired: &DesiredAccess, observed: &ObservedAccess) -> Result<AccessPlan, Refusals> {
    let mut refusals = prerequisites(observed);
    let mut plan = AccessPlan::default();
    match making::role_alone(&desired.role, observed.role.as_ref()) {
        Ok((actions, notes)) => {
            plan.actions.extend(actions.into_iter().map(AccessAction::Role));
            plan.notes.extend(notes);
        }
        Err(refusal) => refusals.push(Refusal::Bootstrap(Box::new(refusal))),
    }
    let mut objects = Vec::new();
    for object in desired.objects() {
        match apply(object, desired, observed) {
            Ok(action) => objects.extend(action.map(|action| (object, action))),
            Err(refusal) => refusals.push(refused(refusal)),
        }
    }
    let (last, first): (Vec<_>, Vec<_>) = objects.into_iter().partition(|(object, _)| desired.service_account.as_ref() == Some(*object));
    plan.actions.extend(first.into_iter().map(|(_, action)| action));
    match entry(desired, observed) {
        Ok(actions) => plan.actions.extend(actions),
        Err(refusal) => refusals.push(refused(refusal)),
    }
    plan.actions.extend(last.into_iter().map(|(_, action)| action));
    if refusals.is_empty() { Ok(plan) } else { Err(Refusals(refusals)) }
}

/// Whether a cluster that knows principals so can let a role in by an access entry.
///
/// # Errors
/// It cannot.
pub fn may_have_entries(mode: AuthenticationMode) -> Result<(), Refusals> {
    match mode {
        AuthenticationMode::AccessEntries => Ok(()),
        AuthenticationMode::ConfigMap => Err(Refusals(vec![refused(AccessRefusal::ConfigMap)])),
    }
}

fn refused(refusal: AccessRefusal) -> Refusal {
    Refusal::Access(Box::new(refusal))
}

fn prerequisites(observed: &ObservedAccess) -> Vec<Refusal> {
    let (namespace, state) = &observed.namespace;
    let policies = (!observed.has_policies).then_some(AccessRefusal::NoPolicies);
    let namespace = match state {
        ObservedNamespace::There => None,
        ObservedNamespace::Missing => Some(AccessRefusal::NoNamespace(namespace.clone())),
        ObservedNamespace::Ends => Some(AccessRefusal::NamespaceEnds(namespace.clone())),
    };
    policies.into_iter().chain(namespace).map(refused).collect()
}

fn apply(object: &ClusterObject, desired: &DesiredAccess, observed: &ObservedAccess) -> Result<Option<AccessAction>, AccessRefusal> {
    let seen = observed.objects.get(&object.at);
    if let Some(seen) = seen {
        match seen.zone() {
            Some(zone) if zone == desired.zone.to_string() => {}
            Some(zone) => return Err(AccessRefusal::OtherZone { object: object.at.clone(), zone: zone.to_owned() }),
            None => return Err(AccessRefusal::ForeignObject(object.at.clone())),
        }
        if object.is_as_seen(seen) {
            return Ok(None);
        }
        let managers = seen.other_managers();
        if !managers.is_empty() {
            return Err(AccessRefusal::Held { object: object.at.clone(), managers });
        }
    }
    Ok(Some(AccessAction::Apply {
        object: object.clone(),
        seen: seen.map(|seen| seen.uid().to_owned()),
        difference: seen.map(|seen| object.difference(seen)).unwrap_or_default(),
    }))
}

fn entry(desired: &DesiredAccess, observed: &ObservedAccess) -> Result<Vec<AccessAction>, AccessRefusal> {
    let (cluster, role) = (&desired.role.cluster, &desired.role.role);
    let groups = BTreeSet::from([ACCESS_GROUP.to_owned()]);
    let tags = &desired.role.tags;
    let create = || AccessAction::CreateEntry { cluster: cluster.clone(), role: role.clone(), groups: groups.clone(), tags: tags.clone() };
    let Some(found) = &observed.entry else { return Ok(vec![create()]) };
    if !desired.role.is_own(&found.tags) || found.kind != STANDARD {
        return Err(AccessRefusal::ForeignEntry { role: Box::new(role.clone()), kind: found.kind.clone() });
    }
    // An entry is of the principal's unique id. <https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html>
    if observed.role.is_none() {
        return Ok(vec![AccessAction::DeleteEntry { cluster: cluster.clone(), role: role.clone() }, create()]);
    }
    let mut actions = Vec::new();
    if found.groups != groups {
        let (cluster, role) = (cluster.clone(), role.clone());
        actions.push(AccessAction::UpdateEntry { cluster, role, before: found.groups.clone(), groups });
    }
    let missing = making::missing(&found.tags, tags);
    if !missing.is_empty() {
        actions.push(AccessAction::TagEntry { role: role.clone(), arn: found.arn.clone(), tags: missing });
    }
    Ok(actions)
}

/// What takes cluster access away, in this order: the access entry, the rights, the guard, the ServiceAccount, the role. So the group has nobody
/// before the guard goes.
///
/// | observed | outcome |
/// |---|---|
/// | ours, of this zone | delete it |
/// | not ours, or another zone's | it is left, and named |
/// | the guard, where a binding of the group is left | it is left, and named |
/// | the role, ours, with a policy or instance profile of somebody else's | refusal |
///
/// # Errors
/// All refusals.
pub fn remove(desired: &DesiredAccess, observed: &ObservedAccess) -> Result<AccessPlan, Refusals> {
    let mut plan = AccessPlan::default();
    let role = &desired.role.role;
    match &observed.entry {
        Some(entry) if desired.role.is_own(&entry.tags) => {
            plan.actions.push(AccessAction::DeleteEntry { cluster: desired.role.cluster.clone(), role: role.clone() });
        }
        Some(_) => plan.left.push(format!("access entry of role `{role}`: `bootstrap` did not make it for this cluster")),
        None => {}
    }
    let rights = all_rights(&desired.zone);
    let is_own = |seen: &ObservedObject| seen.zone() == Some(desired.zone.to_string().as_str());
    let is_bound_by_others = |object: &ClusterObject| {
        object.at.kind == ObjectKind::ClusterRoleBinding && observed.objects.get(&object.at).is_some_and(|seen| !is_own(seen))
    };
    // Somebody else gives the group rights: the guard bounds them.
    let is_guarded = rights.iter().any(is_bound_by_others);
    // A binding before what it binds.
    let order = rights.iter().rev().chain(desired.guard.iter().rev()).chain(&desired.service_account);
    for object in order {
        let Some(seen) = observed.objects.get(&object.at) else { continue };
        match seen.zone() {
            Some(_) if is_own(seen) && is_guarded && desired.guard.contains(object) => {
                plan.left.push(format!("{}: it bounds what somebody else gives group `{ACCESS_GROUP}`", object.at));
            }
            Some(_) if is_own(seen) => {
                plan.actions.push(AccessAction::Delete { at: object.at.clone(), uid: seen.uid().to_owned() });
            }
            Some(zone) => plan.left.push(format!("{}: `bootstrap` made it for `{zone}`", object.at)),
            None => plan.left.push(format!("{}: `bootstrap` did not make it", object.at)),
        }
    }
    if let Some(found) = &observed.role {
        if desired.role.is_own(&found.tags) {
            let actions = removing::delete_role(found).map_err(|refusal| Refusals(vec![Refusal::Bootstrap(Box::new(refusal))]))?;
            plan.actions.extend(actions.into_iter().map(AccessAction::Role));
        } else {
            plan.left.push(format!("role `{}`: `bootstrap` did not make it for this cluster", found.arn));
        }
    }
    Ok(plan)
}

impl From<BootstrapAction> for AccessAction {
    fn from(action: BootstrapAction) -> Self {
        Self::Role(action)
    }
}
