//! The roles: those the tool makes and those given by ARN, whomever they trust.
//!
//! The order for a role that exists, so that at no moment it grants more than is wanted: the record of what comes, a boundary where
//! there was none, who leaves, what is taken away, another boundary or none, what changes, who comes in, what is given, the record of what
//! is gone.

mod attributes;
mod role_plan;
mod trust;

use std::collections::BTreeSet;

use self::{attributes::Owned, trust::Trust};
pub(super) use self::{
    role_plan::RolePlan,
    trust::{kept_patterns, leave_irsa, leave_pod_identity, shut_out},
};
use super::{Action, Freshness, Refusal, Writers};
use crate::model::{
    anchor::{Anchor, StatementKind},
    arn::ClusterArn,
    association::SessionTags,
    date::Date,
    desired::{Desired, DesiredRole, DesiredServiceAccount, DesiredTrust, OwnedRole, Unused},
    gather::Gather as _,
    names::{Namespace, RoleName, TagValue},
    observed::{LEFT_TAG, Limits, OWNER_TAG, Observed, ObservedRole, Owner, RETAIN_TAG, Users},
    oidc::{Audience, Provider},
    registry::{self, Entry},
    role::NewRole,
    subjects::SubjectPattern,
};

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
///
/// `here`: what the tool's statements for this cluster rest on, those of the other binding among them.
pub(super) fn start(desired: &DesiredRole, observed: Option<&ObservedRole>, limits: &Limits, here: &[Anchor]) -> Result<RolePlan, Refusal> {
    let Some(observed) = observed else {
        return create(desired, limits);
    };
    refuse_other(desired, observed)?;
    if observed.arn != desired.arn {
        return Err(Refusal::OtherPath { observed: Box::new(observed.arn.clone()), desired: Box::new(desired.arn.clone()) });
    }
    let owned = desired.owned.as_deref().map(|owned| Owned::new(owned, observed));
    let trust = Trust::start(desired, observed, limits)?;
    owned.iter().try_for_each(|owned| policies_fit(&desired.arn.name, owned.attached_after(), limits))?;
    let mut tags = owned.as_ref().map(Owned::tags).unwrap_or_default();
    tags.extend(retained(desired).filter(|(key, _)| !observed.tags.contains_key(key)));
    tags_fit(&desired.arn.name, observed.tags.keys().chain(trust.tags.keys()).chain(tags.keys()), trust.gone.as_ref())?;
    let mut outcome = RolePlan { notes: trust.notes.clone(), ..RolePlan::default() };
    let Some(owned) = owned else {
        outcome.actions.extend(trust.registration(&desired.arn.name));
        outcome.actions.extend(trust.update);
        return Ok(outcome);
    };
    outcome.notes.extend(owned.notes(&desired.anchor, here));
    let actions = &mut outcome.actions;
    let before = observed.trust.own_subjects(&desired.anchor, trust::kind(&desired.trust));
    let boundary = owned.put_boundary();
    // A boundary that replaces another may allow more, as none does: then it comes after what is taken away. One where there was none only bounds.
    let (bounds, replaces) = if observed.permissions_boundary.is_none() { (boundary, None) } else { (None, boundary) };
    let (changed, new) = owned.put_inline();
    let mut given_and_taken = owned.take_away();
    // A guard comes before what it guards: a call on it that is denied ends the lane before anything is given.
    given_and_taken.extend(replaces);
    given_and_taken.extend(owned.delete_boundary());
    given_and_taken.extend(changed);

    // The record before what it records: a crash between leaves a record too many, which is harmless.
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
    actions.extend(owned.attach());
    actions.extend(new);
    actions.extend(owned.update());
    actions.extend(owned.clear_up(no_longer_so(desired, observed)));
    Ok(outcome)
}

/// That a role for the namespaces of a pattern is for another namespace than the ServiceAccount's, unless a foreign statement lets it in.
pub(super) fn outside(wanted: &DesiredRole, found: Option<&ObservedRole>, account: &DesiredServiceAccount) -> Option<String> {
    let DesiredTrust::Patterns(trusted) = &wanted.trust else { return None };
    let (subject, own) = (&account.subject, SubjectPattern::from(&account.subject));
    let audience = account.binding.audience().cloned().unwrap_or_else(Audience::of_pod_identity);
    let is_in = trusted.all().any(|pattern| pattern.covers(&own))
        || found.is_some_and(|found| found.trust.foreign_trusts(&wanted.anchor, &audience, subject));
    (!is_in).then(|| {
        let (name, namespace) = (&wanted.arn.name, &subject.namespace);
        format!("role `{name}`: none of its `namespaces` matches `{namespace}`, so the pods of ServiceAccount `{subject}` do not get it. Add a pattern that does")
    })
}

/// The tag of a shared role that is retained.
fn retained(desired: &DesiredRole) -> Option<(String, String)> {
    let stays = desired.owned.as_ref().is_some_and(|owned| owned.unused == Unused::Stays);
    stays.then(|| (RETAIN_TAG.to_owned(), "true".to_owned()))
}

/// Tags that say what is no longer so: that the role was left, or that it is retained.
fn no_longer_so(desired: &DesiredRole, observed: &ObservedRole) -> BTreeSet<String> {
    let keys = std::iter::once(LEFT_TAG).chain(retained(desired).is_none().then_some(RETAIN_TAG));
    keys.filter(|key| observed.tags.contains_key(*key)).map(str::to_owned).gather()
}

/// | whose role | outcome |
/// |---|---|
/// | one environment's | delete it, policies first; while another job wants it, only this job's mark goes |
/// | many environments' | remove this one's subjects; the last one out deletes an owned role unless it is retained, or lets EKS Pod Identity in |
/// | every environment's that matches a pattern, or that associations give to pods | it stays |
/// | given by ARN | remove this environment's subjects |
/// | not the one that is desired | nothing, with a note |
///
/// A role that somebody else relies on is not deleted: what is the tool's goes, see [`Owned::delete`].
pub(super) fn delete(wanted: &DesiredRole, found: &ObservedRole, desired: &Desired, observed: &Observed, freshness: Freshness) -> RolePlan {
    if let Err(refusal) = refuse_other(wanted, found) {
        if matches!(refusal, Refusal::NewerForm { .. }) {
            return RolePlan { left: Some(refusal.to_string()), ..RolePlan::default() };
        }
        return RolePlan { notes: vec![format!("left alone: {refusal}")], ..RolePlan::default() };
    }
    match (&wanted.trust, wanted.owned.as_deref()) {
        (DesiredTrust::Environment { .. }, Some(owned)) => {
            let (job, marks) = (desired.place.job.as_ref(), found.marks());
            if marks.others(job, &observed.gone_jobs).is_empty() {
                let cluster = desired.place.cluster_arn(&observed.account);
                return Owned::new(owned, found).delete(&anchors(found, &desired.provider, cluster.as_ref()), job, observed.at);
            }
            let own = job.filter(|job| marks.of(Some(job)).is_some());
            let untag = own.map(|job| Action::UntagRole { role: found.arn.name.clone(), keys: [job.tag()].into() });
            RolePlan { actions: untag.into_iter().collect(), ..RolePlan::default() }
        }
        (DesiredTrust::Registry { .. }, _) => {
            let actions = Trust::delete(wanted, found);
            let unread = trust::unread_in_words(&wanted.arn.name, found);
            if freshness == Freshness::Settled && actions.is_empty() && !unread.is_empty() {
                return RolePlan { left: Some(unread.join("; ")), ..RolePlan::default() };
            }
            if !actions.is_empty() {
                return RolePlan { waits: is_last_out(wanted, found), actions, ..RolePlan::default() };
            }
            match freshness {
                // Nothing of this environment is seen, but it may have been written by a run that has just been killed.
                Freshness::Unsettled => RolePlan { waits: true, ..RolePlan::default() },
                Freshness::Settled if is_last_out(wanted, found) => delete_unused(wanted, found, observed.at, freshness),
                Freshness::Settled => RolePlan { notes: stays_for_pods(found).into_iter().collect(), ..RolePlan::default() },
            }
        }
        (DesiredTrust::Environment { .. } | DesiredTrust::Patterns(_), _) => RolePlan::default(),
    }
}

/// What the tool's statements in the trust of a role rest on that one environment has, or that nobody uses any more: all of this issuer, and
/// all for EKS Pod Identity. `cluster` is meant by one from which a person has taken it out.
fn anchors(found: &ObservedRole, provider: &Provider, cluster: Option<&ClusterArn>) -> Vec<Anchor> {
    let clusters = found.pods_of().into_iter().filter_map(|named| named.or_else(|| cluster.cloned()));
    let pods = clusters.gather::<BTreeSet<_>>().into_iter().map(|cluster| Anchor::PodIdentity(cluster, SessionTags::default()));
    std::iter::once(Anchor::Oidc(provider.clone())).chain(pods).collect()
}

/// That a role of many environments stays, since associations may give it to pods of others: an environment knows only its own.
pub(super) fn stays_for_pods(found: &ObservedRole) -> Option<String> {
    if found.pods_of().is_empty() || found.tags.contains_key(RETAIN_TAG) {
        return None;
    }
    let name = &found.arn.name;
    match Owner::from_tags(&found.tags) {
        Some(Owner::Shared) => Some(format!(
            "role `{name}` stays: pods of other environments may have it by EKS Pod Identity. `sweep` removes it when no association uses it"
        )),
        None => Some(format!(
            "role `{name}` goes on trusting EKS Pod Identity: other environments may have it. If none does, remove its tags `qovery-irsa/pods/…` and then the tool's statement, by hand"
        )),
        Some(Owner::Identity(..) | Owner::Cluster) => None,
    }
}

/// Whether a role of many environments stays when none uses it any more.
fn is_retained(wanted: &DesiredRole, found: &ObservedRole) -> bool {
    let by_manifest = matches!(wanted.trust, DesiredTrust::Registry { retain: true, .. })
        || wanted.owned.as_ref().is_some_and(|owned| owned.unused == Unused::Stays);
    // A manifest of another environment may say so: its tag is all that is known of it.
    by_manifest || (!found.pods_of().is_empty() && found.tags.contains_key(RETAIN_TAG))
}

/// Whether nobody is left once this environment has gone, so that the role goes too as soon as that is certain.
fn is_last_out(wanted: &DesiredRole, found: &ObservedRole) -> bool {
    let DesiredTrust::Registry { issuer, declarers, .. } = &wanted.trust else { return false };
    let own = registry::entries(&found.tags, issuer).into_iter().filter(|entry| declarers.contains(&entry.declared_by));
    let own: BTreeSet<String> = own.flat_map(|entry| entry.tags(issuer).into_keys()).collect();
    let others = found.tags.iter().filter(|(key, _)| !own.contains(*key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    let is_for_pods = !found.pods_of().is_empty();
    wanted.owned.is_some() && !is_retained(wanted, found) && !is_for_pods && registry::is_empty(&others)
}

/// Removes what environments have left whose namespace does not exist.
///
/// | role | outcome |
/// |---|---|
/// | with entries of such environments | remove these |
/// | owned, without subjects, not retained | delete it; one that lets EKS Pod Identity in only if no association uses it |
/// | otherwise | nothing |
pub(super) fn sweep(
    wanted: &DesiredRole,
    found: &ObservedRole,
    desired: &Desired,
    observed: &Observed,
    exist: &BTreeSet<Namespace>,
    freshness: Freshness,
) -> RolePlan {
    let Some(wanted) = of_registry(wanted, &desired.provider) else { return RolePlan::default() };
    let DesiredTrust::Registry { issuer, .. } = &wanted.trust else { return RolePlan::default() };
    if refuse_other(&wanted, found).is_err() {
        return RolePlan::default();
    }
    let (gone, others): (BTreeSet<Entry>, BTreeSet<Entry>) =
        registry::entries(&found.tags, issuer).into_iter().partition(|entry| !exist.contains(&entry.declared_by.namespace));
    let actions = trust::unregister(&wanted, found, issuer, &gone, &others);
    if !actions.is_empty() {
        return RolePlan { actions, ..RolePlan::default() };
    }
    if wanted.owned.is_none() || is_retained(&wanted, found) || !registry::is_empty(&found.tags) {
        return RolePlan::default();
    }
    match observed.users.get(&found.arn.name) {
        _ if found.pods_of().is_empty() => delete_unused(&wanted, found, observed.at, freshness),
        Some(Users::Nobody) => delete_unused(&wanted, found, observed.at, freshness),
        Some(Users::Unknown(why)) => RolePlan {
            notes: vec![format!("role `{}` stays: it is not known whether an association uses it: {why}", found.arn.name)],
            ..RolePlan::default()
        },
        Some(Users::Somebody) | None => RolePlan::default(),
    }
}

/// A role of many environments as its registry is concerned, whatever the identities of the manifest get it by. None if it has none.
fn of_registry(wanted: &DesiredRole, provider: &Provider) -> Option<DesiredRole> {
    match (&wanted.trust, wanted.owned.as_deref()) {
        (DesiredTrust::Registry { .. }, _) => Some(wanted.clone()),
        (DesiredTrust::Patterns(trusted), owned) if trusted.kind == StatementKind::Subjects => {
            let retain = owned.is_some_and(|owned| owned.unused == Unused::Stays);
            let (entries, declarers) = (BTreeSet::new(), BTreeSet::new());
            let trust = DesiredTrust::Registry { issuer: provider.issuer.clone(), entries, declarers, retain };
            Some(DesiredRole { anchor: Anchor::Oidc(provider.clone()), trust, ..wanted.clone() })
        }
        (DesiredTrust::Environment { .. } | DesiredTrust::Patterns(_), _) => None,
    }
}

/// Removes all that belongs to an issuer which no longer exists: the entries of its environments, and the statements of patterns, which no
/// environment removes.
///
/// A statement for EKS Pod Identity names a cluster and no issuer. A cluster that is made again under its name has the same ARN, and its
/// environments rely on the statement: so it stays with the role.
pub(super) fn retire(wanted: &DesiredRole, found: &ObservedRole, desired: &Desired, observed: &Observed, freshness: Freshness) -> RolePlan {
    if matches!(wanted.trust, DesiredTrust::Environment { .. }) || refuse_other(wanted, found).is_err() {
        return RolePlan::default();
    }
    let wanted = DesiredRole { anchor: Anchor::Oidc(desired.provider.clone()), ..wanted.clone() };
    let nobody = BTreeSet::new();
    let without = trust::without_patterns(&wanted, found);
    let mut narrowed = found.clone();
    if let Some(Action::UpdateTrust { trust, .. }) = &without {
        narrowed.trust = trust.clone();
    }
    let mut outcome = sweep(&wanted, &narrowed, desired, observed, &nobody, freshness);
    if outcome.actions.iter().any(|action| matches!(action, Action::DeleteRole { .. })) {
        return outcome;
    }
    outcome.actions.splice(0..0, without);
    let clusters = found.pods_of().into_iter().flatten().filter(|_| !outcome.waits).collect::<Vec<_>>();
    let clusters = clusters.into_iter();
    outcome.notes.extend(clusters.map(|cluster| {
        format!(
            "role `{}`: its statement for EKS Pod Identity in cluster `{}` stays: it holds for each cluster of that name. If there will be none, remove the role's tags `qovery-irsa/pods/…` first and then the statement, by hand",
            found.arn.name,
            cluster.as_str()
        )
    }));
    outcome
}

/// Deletes the role of an environment that no longer exists, whichever jobs wanted it.
pub(super) fn sweep_environment(found: &ObservedRole, desired: &Desired, observed: &Observed) -> RolePlan {
    let provider = &desired.provider;
    let refusal = match Owner::from_tags(&found.tags) {
        Some(Owner::Identity(subject, issuer)) if issuer == provider.issuer => {
            let anchors = anchors(found, provider, desired.place.cluster_arn(&observed.account).as_ref());
            return Owned::new(&OwnedRole::bare(Owner::Identity(subject, issuer)), found).delete(&anchors, None, observed.at);
        }
        Some(owner) => other_owner(found, owner, None),
        None => Refusal::ForeignRole { observed: Box::new(found.arn.clone()) },
    };
    RolePlan { notes: vec![format!("left alone: {refusal}")], ..RolePlan::default() }
}

/// A shared role that the tool made goes with its last user, once it is certain that nobody is just coming in.
fn delete_unused(wanted: &DesiredRole, found: &ObservedRole, at: Date, freshness: Freshness) -> RolePlan {
    let (Some(owned), Anchor::Oidc(provider)) = (wanted.owned.as_deref(), &wanted.anchor) else { return RolePlan::default() };
    match freshness {
        Freshness::Unsettled => RolePlan { waits: true, ..RolePlan::default() },
        Freshness::Settled => Owned::new(owned, found).delete(&anchors(found, provider, None), None, at),
    }
}

/// The role once these actions are done, as far as whom it trusts and its tags are concerned.
pub(super) fn after(found: Option<&ObservedRole>, actions: &[Action]) -> Option<ObservedRole> {
    let mut role = found.cloned();
    for action in actions {
        match (action, &mut role) {
            (Action::CreateRole(new), _) => {
                role = Some(ObservedRole::fresh(new));
            }
            (Action::TagRole { tags, .. }, Some(role)) => role.tags.extend(tags.clone()),
            (Action::UntagRole { keys, .. }, Some(role)) => role.tags.retain(|key, _| !keys.contains(key)),
            (Action::UpdateTrust { trust, .. }, Some(role)) => role.trust = trust.clone(),
            _ => {}
        }
    }
    role
}

fn create(desired: &DesiredRole, limits: &Limits) -> Result<RolePlan, Refusal> {
    let Some(owned) = desired.owned.as_deref() else {
        return Err(Refusal::NoSuchRole(Box::new(desired.arn.clone())));
    };
    let name = &desired.arn.name;
    let trust = Trust::create(desired, limits)?;
    policies_fit(name, owned.attributes.policies.len(), limits)?;
    let mut tags = attributes::tags_of_new(owned);
    tags.extend(trust.tags);
    tags.extend(retained(desired));
    tags_fit(name, tags.keys(), None)?;
    if let Owner::Identity(subject, _) = &owned.owner
        && subject.to_string().parse::<TagValue>().is_err()
    {
        return Err(Refusal::LongSubject { role: name.clone(), subject: subject.clone() });
    }
    let create = Action::CreateRole(Box::new(NewRole {
        arn: desired.arn.clone(),
        subjects: trust.policy.own_subjects(&desired.anchor, trust::kind(&desired.trust)),
        trust: trust.policy,
        settings: owned.attributes.settings.clone(),
        permissions_boundary: owned.attributes.permissions_boundary.clone(),
        tags,
    }));
    let actions = std::iter::once(create).chain(attributes::policies_of_new(name, &owned.attributes)).collect();
    Ok(RolePlan { actions, notes: trust.notes, ..RolePlan::default() })
}

/// A role that is not the one desired is not touched: one given by ARN has that ARN, one that the tool makes that owner.
fn refuse_other(desired: &DesiredRole, observed: &ObservedRole) -> Result<(), Refusal> {
    let owner = Owner::from_tags(&observed.tags);
    if let (None, Some(value)) = (&owner, observed.tags.get(OWNER_TAG)) {
        return Err(Refusal::NewerForm { role: observed.arn.name.clone(), key: OWNER_TAG.to_owned(), value: value.clone() });
    }
    match (desired.owned.as_deref(), owner) {
        // One environment's role has one writer: two would remove each other's subject, for ever.
        (None, Some(owner @ Owner::Identity(..))) => Err(other_owner(observed, owner, None)),
        (None, _) if observed.arn == desired.arn => Ok(()),
        (None, _) => Err(Refusal::OtherArn { given: Box::new(desired.arn.clone()), observed: Box::new(observed.arn.clone()) }),
        (Some(role), Some(owner)) if owner == role.owner => Ok(()),
        (Some(role), Some(owner)) => Err(other_owner(observed, owner, Some(&role.owner))),
        (Some(_), None) => Err(Refusal::ForeignRole { observed: Box::new(observed.arn.clone()) }),
    }
}

/// The role is somebody else's; or the same identity's, in a cluster that was made again with another issuer.
fn other_owner(observed: &ObservedRole, owner: Owner, wanted: Option<&Owner>) -> Refusal {
    let role = observed.arn.name.clone();
    match (owner, wanted) {
        (Owner::Identity(subject, issuer), Some(Owner::Identity(same, here))) if subject == *same && issuer != *here => {
            Refusal::EarlierCluster { role, issuer, here: here.clone() }
        }
        (owner, _) => Refusal::OwnedByOther { role, owner: Box::new(owner) },
    }
}

/// IAM allows ten unless the account has been given more.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const POLICIES_PER_ROLE: usize = 10;

fn policies_fit(role: &RoleName, count: usize, limits: &Limits) -> Result<(), Refusal> {
    let quota = limits.attached_policies.unwrap_or(POLICIES_PER_ROLE);
    if count > quota { Err(Refusal::TooManyPolicies { role: role.clone(), count, quota }) } else { Ok(()) }
}

/// `gone`: which registered namespaces no longer exist.
fn tags_fit<'a>(role: &RoleName, keys: impl Iterator<Item = &'a String>, gone: Option<&BTreeSet<String>>) -> Result<(), Refusal> {
    let count = keys.map(|key| key.to_lowercase()).gather::<BTreeSet<_>>().len();
    if count > TAGS_PER_ROLE { Err(Refusal::TooManyTags { role: role.clone(), count, gone: gone.cloned() }) } else { Ok(()) }
}
