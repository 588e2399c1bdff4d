//! The plans of `sweep`: what environments have left whose namespace no longer exists, and what belongs to an issuer that no longer exists.
//!
//! The first fails closed: without a list of namespaces, or where that list cannot be this cluster's, there is nothing to do.

use super::{Action, Freshness, Lane, Plan, Provision, Refusal, Refusals, Writers, role};
use crate::model::{
    association::ObservedAssociation,
    desired::{Desired, DesiredRole},
    observed::{KnownProvider, Observed, ObservedRole},
};

/// What removes what is left. A role that may not be touched is left alone with a note.
///
/// # Errors
/// The namespaces are not known, or this environment's own is not among them.
pub(super) fn sweep(desired: &Desired, observed: &Observed, freshness: Freshness) -> Result<Plan, Refusals> {
    let Some(exist) = observed.limits.namespaces.as_ref() else { return Err(Refusals(vec![Refusal::NamespacesUnknown])) };
    let own = &desired.place.namespace;
    if !exist.contains(own) {
        return Err(Refusals(vec![Refusal::NamespaceNotListed(own.clone())]));
    }
    let sweep = |wanted: &DesiredRole, found: &ObservedRole| role::sweep(wanted, found, desired, observed, exist, freshness);
    Ok(without(desired, observed, sweep))
}

/// What removes all that belongs to the issuer of `desired`, which no longer exists, and with it no namespace of its cluster.
pub(super) fn retire(desired: &Desired, observed: &Observed, provision: Provision, freshness: Freshness) -> Plan {
    let retire = |wanted: &DesiredRole, found: &ObservedRole| role::retire(wanted, found, desired, observed, freshness);
    let mut plan = without(desired, observed, retire);
    match (&observed.provider, provision) {
        (KnownProvider::Read(Some(found)), Provision::Remove) if found.is_own => {
            plan.prelude.push(Action::DeleteProvider { provider: desired.provider.clone() });
        }
        (KnownProvider::Read(Some(_)) | KnownProvider::ShownBySessions, Provision::Remove) => {
            plan.left.push(format!("OIDC provider `{}`: this tool did not make it", desired.provider.issuer.host_and_path()));
        }
        (KnownProvider::Read(Some(_)) | KnownProvider::ShownBySessions, Provision::Keep) => plan.notes.push(format!(
            "OIDC provider `{}` stays: `--provider` removes it, if this tool made it",
            desired.provider.issuer.host_and_path()
        )),
        (KnownProvider::Read(None) | KnownProvider::NotRead, _) => {}
    }
    plan
}

/// Removes the roles that are left behind whole, each after the associations that give it to pods, and of those that many environments have
/// together what `of_many` says.
fn without(desired: &Desired, observed: &Observed, of_many: impl Fn(&DesiredRole, &ObservedRole) -> role::RolePlan) -> Plan {
    let mut plan = Plan { notes: observed.unread.clone(), ..Plan::default() };
    let mut associations: Vec<&ObservedAssociation> = observed.left_associations.iter().collect();
    let delete = |association: &ObservedAssociation| {
        let cluster = desired.place.cluster.clone()?;
        let (id, subject) = (association.id.clone(), association.subject.clone());
        Some(Action::DeleteAssociation { cluster, id, subject })
    };
    for role in &observed.left_behind {
        let mut outcome = role::sweep_environment(role, desired, observed);
        if !outcome.actions.is_empty() {
            let of_role = associations.extract_if(.., |association| association.settings.role == role.arn);
            outcome.actions.splice(0..0, of_role.filter_map(delete).collect::<Vec<_>>());
        }
        plan.add(Writers::One, outcome);
    }
    for action in associations.into_iter().filter_map(delete) {
        plan.lanes.push(Lane { writers: Writers::One, actions: vec![action] });
    }
    for (name, wanted) in &desired.roles {
        if let Some(found) = observed.roles.get(name) {
            plan.add(Writers::Many, of_many(wanted, found));
        }
    }
    plan
}
