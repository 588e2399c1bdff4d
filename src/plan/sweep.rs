//! The plan of `sweep`: what environments have left whose namespace no longer exists.
//!
//! It fails closed: without a list of namespaces, or where that list cannot be this cluster's, there is nothing to do.

use super::{Freshness, Lane, Plan, Refusal, Refusals, Writers, role};
use crate::model::{desired::Desired, names::Namespace, observed::Observed};

/// What removes what is left. A role that may not be touched is left alone with a note.
///
/// # Errors
/// The namespaces are not known, or this environment's own is not among them.
pub(super) fn sweep(desired: &Desired, observed: &Observed, own: Option<&Namespace>, freshness: Freshness) -> Result<Plan, Refusals> {
    let exist = observed.limits.namespaces.as_ref();
    let (Some(exist), Some(own)) = (exist, own) else { return Err(Refusals(vec![Refusal::NamespacesUnknown])) };
    if !exist.contains(own) {
        return Err(Refusals(vec![Refusal::NamespaceNotListed(own.clone())]));
    }
    let provider = &desired.provider;
    let mut plan = Plan::default();
    let left_behind = observed.left_behind.iter().map(|role| (Writers::One, role::sweep_environment(role, provider)));
    let together = desired.roles.iter().filter_map(|(name, wanted)| {
        let observed = observed.roles.get(name)?;
        Some((Writers::Many, role::sweep(wanted, observed, provider, exist, freshness)))
    });
    for (writers, outcome) in left_behind.chain(together) {
        match outcome {
            Ok(outcome) => {
                plan.notes.extend(outcome.notes);
                plan.waits |= outcome.waits;
                if !outcome.actions.is_empty() {
                    plan.lanes.push(Lane { writers, actions: outcome.actions });
                }
            }
            Err(refusals) => plan.notes.extend(refusals.iter().map(|refusal| format!("left alone: {refusal}"))),
        }
    }
    Ok(plan)
}
