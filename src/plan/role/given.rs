//! A role given by ARN: made by somebody else, possibly shared by many environments. The tool writes registry tags of this
//! environment and its own statements in the trust policy, a projection of all registry tags.

use std::collections::{BTreeMap, BTreeSet};

use super::{Outcome, tags_fit};
use crate::{
    model::{
        desired::DesiredGivenRole,
        names::RoleName,
        observed::ObservedRole,
        oidc::Provider,
        registry::{Entry, entries, projection},
    },
    plan::{Action, Refusal, SubjectChange},
};

/// | observed | outcome |
/// |---|---|
/// | absent, or with another ARN | refusal |
/// | a subject neither registered nor trusted by a foreign statement | register it |
/// | an entry of this environment that is no longer desired | remove it |
/// | own statements that are not the projection of the registry | update the trust policy |
pub(super) fn start(desired: &DesiredGivenRole, observed: Option<&ObservedRole>, provider: &Provider) -> Result<Outcome, Refusal> {
    let Some(observed) = observed else { return Err(Refusal::NoSuchRole(Box::new(desired.arn.clone()))) };
    if observed.arn != desired.arn {
        return Err(Refusal::OtherArn { given: Box::new(desired.arn.clone()), observed: Box::new(observed.arn.clone()) });
    }
    let role = &desired.arn.name;
    let registered = entries(&observed.tags, &provider.issuer);
    let new: BTreeSet<Entry> = desired
        .entries
        .difference(&registered)
        .filter(|entry| !observed.trust.foreign_trusts(provider, &entry.audience, &entry.subject))
        .cloned()
        .collect();
    if let Some(long) = new.iter().find(|entry| !entry.fits_a_tag()) {
        return Err(Refusal::LongSubject { role: role.clone(), subject: long.subject.clone() });
    }
    let stale: BTreeSet<Entry> = registered
        .iter()
        .filter(|entry| desired.declarers.contains(&entry.declared_by) && !desired.entries.contains(entry))
        .cloned()
        .collect();
    let after: BTreeSet<Entry> = registered.union(&new).filter(|entry| !stale.contains(entry)).cloned().collect();

    let tags: BTreeMap<String, String> = new.iter().map(|entry| (entry.tag_key(&provider.issuer), entry.tag_value())).collect();
    tags_fit(role, observed.tags.keys().chain(tags.keys()))?;
    let mut actions = Vec::new();
    if !tags.is_empty() {
        actions.push(Action::TagRole { role: role.clone(), tags });
    }
    actions.extend(untag(role, &stale, provider));
    actions.extend(update_trust(role, observed, &after, provider));
    Ok((actions, unbacked(observed, registered.union(&after), provider)))
}

/// Removes what this environment registered, and with it its subjects. The role stays.
pub(super) fn delete(desired: &DesiredGivenRole, observed: &ObservedRole, provider: &Provider) -> Outcome {
    if observed.arn != desired.arn {
        return (Vec::new(), vec![format!("left alone: role `{}` is not `{}`", observed.arn, desired.arn)]);
    }
    let role = &desired.arn.name;
    let (own, others): (BTreeSet<Entry>, BTreeSet<Entry>) =
        entries(&observed.tags, &provider.issuer).into_iter().partition(|entry| desired.declarers.contains(&entry.declared_by));
    let actions = untag(role, &own, provider).into_iter().chain(update_trust(role, observed, &others, provider)).collect();
    (actions, Vec::new())
}

fn untag(role: &RoleName, stale: &BTreeSet<Entry>, provider: &Provider) -> Option<Action> {
    (!stale.is_empty())
        .then(|| Action::UntagRole { role: role.clone(), keys: stale.iter().map(|entry| entry.tag_key(&provider.issuer)).collect() })
}

fn update_trust(role: &RoleName, observed: &ObservedRole, entries: &BTreeSet<Entry>, provider: &Provider) -> Option<Action> {
    let trust = observed.trust.rendered(provider, &projection(entries));
    if trust.own_means_the_same(&observed.trust, provider) {
        return None;
    }
    let subjects = SubjectChange::between(&observed.trust.own_subjects(provider), &trust.own_subjects(provider));
    Some(Action::UpdateTrust { role: role.clone(), trust, subjects })
}

/// Subjects in the tool's statements that no tag backs: edits by hand, removed.
fn unbacked<'a>(observed: &ObservedRole, entries: impl Iterator<Item = &'a Entry>, provider: &Provider) -> Vec<String> {
    let backed: BTreeSet<String> = entries.map(|entry| entry.subject.claim()).collect();
    let unbacked = observed.trust.own_subjects(provider).into_iter().filter(|claim| !backed.contains(claim));
    unbacked.map(|claim| format!("role `{}`: `{claim}` stands in the tool's statement but in no tag, removed", observed.arn.name)).collect()
}
