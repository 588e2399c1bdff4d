//! The roles: those the tool makes and those given by ARN, whomever they trust.
//!
//! The order for a role that exists, so that at no moment it grants more than is wanted: the claims of what comes, a boundary where
//! there was none, who leaves, what is taken away or changes, who comes in, what is given, the claims of what is gone.

mod attributes;
mod trust;

use std::collections::BTreeSet;

use self::{attributes::Made, trust::Trust};
use super::{Action, Freshness, NewRole, Refusal, Writers};
use crate::model::{
    desired::{Attributes, DesiredRole, DesiredTrust},
    names::{Namespace, RoleName, TagValue},
    observed::{Limits, ObservedRole, Owner},
    oidc::Provider,
    registry::{self, Entry},
};

/// What to do with a role.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) actions: Vec<Action>,
    /// What was seen and left alone, and who may assume the role.
    pub(super) notes: Vec<String>,
    /// Whether something is left to do once the observation is fresh.
    pub(super) waits: bool,
}

/// How many tags a role can carry.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const TAGS_PER_ROLE: usize = 50;

/// Who else writes to the role.
pub(super) fn writers(desired: &DesiredRole) -> Writers {
    match desired.trust {
        DesiredTrust::Environment { .. } => Writers::One,
        DesiredTrust::Registry { .. } | DesiredTrust::Patterns(_) => Writers::Many,
    }
}

/// | observed | outcome |
/// |---|---|
/// | absent | create it; refusal if it is given by ARN |
/// | with the ARN and the owner it should have | what differs, field by field |
/// | with another ARN, or made by somebody else | refusal |
pub(super) fn start(
    desired: &DesiredRole,
    observed: Option<&ObservedRole>,
    provider: &Provider,
    limits: &Limits,
) -> Result<Outcome, Refusal> {
    let Some(observed) = observed else {
        return create(desired, provider, limits);
    };
    refuse_other(desired, observed)?;
    if observed.arn != desired.arn {
        return Err(Refusal::OtherPath { observed: Box::new(observed.arn.clone()), desired: Box::new(desired.arn.clone()) });
    }
    let made = desired.attributes.as_deref().map(|attributes| Made::new(attributes, observed));
    let trust = Trust::start(desired, observed, provider, limits)?;
    let tags = made.as_ref().map(Made::tags).unwrap_or_default();
    tags_fit(&desired.arn.name, observed.tags.keys().chain(trust.tags.keys()).chain(tags.keys()), trust.gone.as_ref())?;
    let mut outcome = Outcome { notes: trust.notes.clone(), ..Outcome::default() };
    let Some(made) = made else {
        outcome.actions.extend(trust.registration(&desired.arn.name));
        outcome.actions.extend(trust.update);
        return Ok(outcome);
    };
    outcome.notes.extend(made.notes(provider));
    let actions = &mut outcome.actions;
    let before = observed.trust.own_claims(provider, trust::kind(&desired.trust));
    let boundary = made.put_boundary();
    // A boundary that replaces another may allow more: then it comes after what is taken away. One where there was none only bounds.
    let (bounds, replaces) = if observed.permissions_boundary.is_none() { (boundary, None) } else { (None, boundary) };
    let (changed, new) = made.put_inline();
    let mut given_and_taken = made.take_away();
    given_and_taken.extend(changed);
    given_and_taken.extend(replaces);

    // Claims before what they claim: a crash between leaves a claim too many, which is harmless.
    actions.extend((!tags.is_empty()).then(|| Action::TagRole { role: desired.arn.name.clone(), tags }));
    actions.extend(bounds);
    actions.extend(trust.registration(&desired.arn.name));
    // Who leaves does so before anything else changes, and who comes in finds everything changed.
    match (trust.widens(&before), trust.in_two_steps) {
        (true, Some([narrowed, whole])) if !given_and_taken.is_empty() => {
            actions.push(narrowed);
            actions.extend(given_and_taken);
            actions.push(whole);
        }
        (true, _) => {
            actions.extend(given_and_taken);
            actions.extend(trust.update);
        }
        (false, _) => {
            actions.extend(trust.update);
            actions.extend(given_and_taken);
        }
    }
    actions.extend(made.attach());
    actions.extend(new);
    actions.extend(made.delete_boundary());
    actions.extend(made.update());
    actions.extend(made.clear_up());
    Ok(outcome)
}

/// | whose role | outcome |
/// |---|---|
/// | one environment's | delete it, policies first; refusal if somebody else put one there |
/// | many environments' | remove this one's subjects; the last one out deletes an owned role unless it is retained |
/// | every environment's that matches a pattern | it stays |
/// | given by ARN | remove this environment's subjects |
/// | not the one that is desired | nothing, with a note |
pub(super) fn delete(
    desired: &DesiredRole,
    observed: &ObservedRole,
    provider: &Provider,
    freshness: Freshness,
) -> Result<Outcome, Vec<Refusal>> {
    if let Err(refusal) = refuse_other(desired, observed) {
        return Ok(Outcome { notes: vec![format!("left alone: {refusal}")], ..Outcome::default() });
    }
    match (&desired.trust, desired.attributes.as_deref()) {
        (DesiredTrust::Environment { .. }, Some(attributes)) => Made::new(attributes, observed).delete(provider),
        (DesiredTrust::Registry { .. }, _) => match Trust::delete(desired, observed, provider) {
            // Nothing of this environment is seen, but it may have been written by a run that has just been killed.
            actions if actions.is_empty() && freshness == Freshness::Unsettled => Ok(Outcome { waits: true, ..Outcome::default() }),
            actions if actions.is_empty() => last_out(desired, observed, provider, freshness),
            actions => Ok(Outcome { actions, ..Outcome::default() }),
        },
        (DesiredTrust::Environment { .. } | DesiredTrust::Patterns(_), _) => Ok(Outcome::default()),
    }
}

/// Removes what environments have left whose namespace does not exist.
///
/// | role | outcome |
/// |---|---|
/// | with entries of such environments | remove these |
/// | owned, without subjects, not retained | delete it |
/// | otherwise | nothing |
pub(super) fn sweep(
    desired: &DesiredRole,
    observed: &ObservedRole,
    provider: &Provider,
    exist: &BTreeSet<Namespace>,
    freshness: Freshness,
) -> Result<Outcome, Vec<Refusal>> {
    if !matches!(desired.trust, DesiredTrust::Registry { .. }) || refuse_other(desired, observed).is_err() {
        return Ok(Outcome::default());
    }
    let (gone, others): (BTreeSet<Entry>, BTreeSet<Entry>) =
        registry::entries(&observed.tags, &provider.issuer).into_iter().partition(|entry| !exist.contains(&entry.declared_by.namespace));
    let actions = trust::unregister(&desired.arn.name, observed, provider, &gone, &others);
    if actions.is_empty() { last_out(desired, observed, provider, freshness) } else { Ok(Outcome { actions, ..Outcome::default() }) }
}

/// Deletes the role of an environment that no longer exists.
pub(super) fn sweep_environment(observed: &ObservedRole, provider: &Provider) -> Result<Outcome, Vec<Refusal>> {
    let Some(owner @ Owner::Identity(..)) = Owner::from_tags(&observed.tags) else {
        return Err(vec![Refusal::ForeignRole { observed: Box::new(observed.arn.clone()) }]);
    };
    if !matches!(&owner, Owner::Identity(_, issuer) if *issuer == provider.issuer) {
        return Err(vec![Refusal::OwnedByOther { role: observed.arn.name.clone(), owner: Box::new(owner) }]);
    }
    Made::new(&Attributes::bare(owner), observed).delete(provider)
}

/// A shared role that the tool made goes with its last subject, once it is certain that nobody is just coming in.
fn last_out(desired: &DesiredRole, observed: &ObservedRole, provider: &Provider, freshness: Freshness) -> Result<Outcome, Vec<Refusal>> {
    match (&desired.trust, desired.attributes.as_deref()) {
        (DesiredTrust::Registry { retain: false, .. }, Some(attributes)) if registry::is_empty(&observed.tags) => match freshness {
            Freshness::Unsettled => Ok(Outcome { waits: true, ..Outcome::default() }),
            Freshness::Settled => Made::new(attributes, observed).delete(provider),
        },
        _ => Ok(Outcome::default()),
    }
}

fn create(desired: &DesiredRole, provider: &Provider, limits: &Limits) -> Result<Outcome, Refusal> {
    let Some(attributes) = desired.attributes.as_deref() else {
        return Err(Refusal::NoSuchRole(Box::new(desired.arn.clone())));
    };
    let name = &desired.arn.name;
    let trust = Trust::create(desired, provider, limits)?;
    let mut tags = attributes::tags_of_new(attributes);
    tags.extend(trust.tags);
    tags_fit(name, tags.keys(), None)?;
    if let Owner::Identity(subject, _) = &attributes.owner
        && subject.to_string().parse::<TagValue>().is_err()
    {
        return Err(Refusal::LongSubject { role: name.clone(), subject: subject.clone() });
    }
    let create = Action::CreateRole(Box::new(NewRole {
        arn: desired.arn.clone(),
        subjects: trust.policy.own_claims(provider, trust::kind(&desired.trust)),
        trust: trust.policy,
        description: attributes.description.clone(),
        max_session_duration: attributes.max_session_duration,
        permissions_boundary: attributes.permissions_boundary.clone(),
        tags,
    }));
    let actions = std::iter::once(create).chain(attributes::policies_of_new(name, attributes)).collect();
    Ok(Outcome { actions, notes: trust.notes, waits: false })
}

/// A role that is not the one desired is not touched: one given by ARN has that ARN, one that the tool makes that owner.
fn refuse_other(desired: &DesiredRole, observed: &ObservedRole) -> Result<(), Refusal> {
    match (desired.attributes.as_deref(), Owner::from_tags(&observed.tags)) {
        // One environment's role has one writer: two would remove each other's subject, for ever.
        (None, Some(owner @ Owner::Identity(..))) => Err(Refusal::OwnedByOther { role: observed.arn.name.clone(), owner: Box::new(owner) }),
        (None, _) if observed.arn == desired.arn => Ok(()),
        (None, _) => Err(Refusal::OtherArn { given: Box::new(desired.arn.clone()), observed: Box::new(observed.arn.clone()) }),
        (Some(attributes), Some(owner)) if owner == attributes.owner => Ok(()),
        (Some(_), Some(owner)) => Err(Refusal::OwnedByOther { role: observed.arn.name.clone(), owner: Box::new(owner) }),
        (Some(_), None) => Err(Refusal::ForeignRole { observed: Box::new(observed.arn.clone()) }),
    }
}

/// `gone`: which registered namespaces no longer exist.
fn tags_fit<'a>(role: &RoleName, keys: impl Iterator<Item = &'a String>, gone: Option<&BTreeSet<String>>) -> Result<(), Refusal> {
    let count = keys.map(|key| key.to_lowercase()).collect::<BTreeSet<_>>().len();
    if count > TAGS_PER_ROLE { Err(Refusal::TooManyTags { role: role.clone(), count, gone: gone.cloned() }) } else { Ok(()) }
}
