//! The plans of `sweep`: what environments have left whose namespace no longer exists, and what belongs to an issuer that no longer exists.
//!
//! The first fails closed: without a list of namespaces, or where that list cannot be this cluster's, there is nothing to do.

use std::collections::BTreeSet;

use super::{Action, Freshness, Plan, Provision, Refusal, Refusals, Writers, role};
use crate::model::{desired::Desired, names::Namespace, observed::Observed};

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
    Ok(without(exist, desired, observed, freshness))
}

/// What removes all that belongs to the issuer of `desired`, which no longer exists, and with it no namespace of its cluster.
pub(super) fn retire(desired: &Desired, observed: &Observed, provision: Provision, freshness: Freshness) -> Plan {
    let mut plan = without(&BTreeSet::new(), desired, observed, freshness);
    match (&observed.provider, provision) {
        (Some(found), Provision::Remove) if found.is_own => {
            plan.prelude.push(Action::DeleteProvider { provider: desired.provider.clone() });
        }
        (Some(_), Provision::Remove) => {
            plan.left.push(format!("OIDC provider `{}`: this tool did not make it", desired.provider.issuer.host_and_path()));
        }
        (Some(_), Provision::Keep) => plan.notes.push(format!(
            "OIDC provider `{}` stays: `--provider` removes it, if this tool made it",
            desired.provider.issuer.host_and_path()
        )),
        (None, _) => {}
    }
    plan
}

fn without(exist: &BTreeSet<Namespace>, desired: &Desired, observed: &Observed, freshness: Freshness) -> Plan {
    let (provider, at) = (&desired.provider, observed.at);
    let mut plan = Plan { notes: observed.unread.clone(), ..Plan::default() };
    for role in &observed.left_behind {
        plan.add(Writers::One, role::sweep_environment(role, provider, at));
    }
    for (name, wanted) in &desired.roles {
        if let Some(found) = observed.roles.get(name) {
            plan.add(Writers::Many, role::sweep(wanted, found, provider, exist, at, freshness));
        }
    }
    plan
}
