//! The association of an identity with EKS Pod Identity: what makes it as it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Refusal};
use crate::model::{
    association::{DesiredAssociation, ObservedAssociation},
    gather::Gather as _,
    ownership::{Ownership, Part, is_ownership_tag},
};

/// | observed | outcome |
/// |---|---|
/// | absent | create it |
/// | the tool's | what differs; one that loses its session policy, which no update can take away, is made anew |
/// | an add-on's, or somebody else's | refusal |
pub(super) fn start(desired: &DesiredAssociation, observed: Option<&ObservedAssociation>) -> Result<Vec<Action>, Refusal> {
    let Some(observed) = observed else {
        return Ok(vec![Action::CreateAssociation(Box::new(desired.clone()))]);
    };
    if !observed.is_own() {
        return Err(Refusal::ForeignAssociation { observed: Box::new(observed.clone()) });
    }
    let (cluster, id, subject) = (desired.cluster.clone(), observed.id.clone(), desired.subject.clone());
    let (wanted, present) = (&desired.settings, &observed.settings);
    // An update that does not name it leaves it as it is, and nobody says that an empty one takes it away.
    if present.session_policy.is_some() && wanted.session_policy.is_none() {
        let desired = DesiredAssociation { kept: kept_tags(observed), ..desired.clone() };
        return Ok(vec![Action::DeleteAssociation { cluster, id, subject }, Action::CreateAssociation(Box::new(desired))]);
    }
    if let (Some(wanted), Some(present)) = (&desired.external_id, &observed.external_id)
        && wanted != present
    {
        return Err(Refusal::OtherExternalId {
            subject,
            target: Box::new(observed.settings.of_pods().clone()),
            wanted: wanted.to_string(),
            observed: present.to_string(),
        });
    }
    let mut actions = Vec::new();
    if wanted != present {
        actions.push(Action::UpdateAssociation { cluster, id, subject, settings: wanted.clone() });
    }
    actions.extend(tags(desired, observed));
    Ok(actions)
}

/// What people should know where an association is made anew.
pub(super) fn gap(actions: &[Action]) -> Option<String> {
    let deleted = actions.iter().find_map(|action| match action {
        Action::DeleteAssociation { subject, .. } => Some(subject),
        _ => None,
    })?;
    Some(format!(
        "the association of ServiceAccount `{deleted}` is deleted and made again, since no update takes a session policy away: \
         pods that start in between, or refresh their credentials then, get none. Restart a pod that runs without"
    ))
}

/// The tags that stay on one that is made anew: what others have put there, the marks of other jobs among it.
fn kept_tags(observed: &ObservedAssociation) -> BTreeMap<String, String> {
    let before = Ownership::from_tags(&observed.tags);
    // EKS keeps the prefix for itself: <https://docs.aws.amazon.com/eks/latest/userguide/eks-using-tags.html#tag-restrictions>
    let is_kept = |key: &String| !is_ownership_tag(key) && !before.has(Part::Tag(key)) && !key.to_lowercase().starts_with("aws:");
    observed.tags.iter().filter(|(key, _)| is_kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Tags as on a role: what comes is recorded before, and only what was recorded is ever taken away.
fn tags(desired: &DesiredAssociation, observed: &ObservedAssociation) -> Vec<Action> {
    let before = Ownership::from_tags(&observed.tags);
    let mut after = before.unknown();
    for (key, value) in desired.user_tags() {
        // One that somebody else has set to the same value is theirs.
        if observed.tags.get(key) != Some(value) || before.has(Part::Tag(key)) {
            after.add(Part::Tag(key));
        }
    }
    let (during, after) = (before.union(&after).to_tags(), after.to_tags());
    let users = desired.user_tags().map(|(key, value)| (key.clone(), value.clone()));
    let wanted = users.chain(desired.own_tags()).chain(during.clone());
    let set: BTreeMap<String, String> = wanted.filter(|(key, value)| observed.tags.get(key) != Some(value)).gather();
    let is_wanted = |key: &String| desired.user_tags().any(|(wanted, _)| wanted.eq_ignore_ascii_case(key));
    let is_left = |key: &&String| !is_wanted(key) && !is_ownership_tag(key) && before.has(Part::Tag(key));
    let mut gone: BTreeSet<String> = observed.tags.keys().filter(is_left).cloned().collect();
    let record = observed.tags.keys().filter(|key| is_ownership_tag(key)).cloned();
    let mut stale: BTreeSet<String> = during.keys().cloned().chain(record).filter(|key| !after.contains_key(key)).collect();
    let kept: BTreeMap<String, String> = after.into_iter().filter(|(key, value)| during.get(key) != Some(value)).gather();
    if kept.is_empty() {
        // Nothing has to stand between: one call.
        gone.append(&mut stale);
    }
    let whose = || (desired.cluster.clone(), observed.id.clone(), observed.arn.clone(), desired.subject.clone());
    let tag = |tags: BTreeMap<String, String>| {
        let (cluster, id, arn, subject) = whose();
        (!tags.is_empty()).then_some(Action::TagAssociation { cluster, id, arn, subject, tags })
    };
    let untag = |keys: BTreeSet<String>| {
        let (cluster, id, arn, subject) = whose();
        (!keys.is_empty()).then_some(Action::UntagAssociation { cluster, id, arn, subject, keys })
    };
    [tag(set), untag(gone), tag(kept), untag(stale)].into_iter().flatten().collect()
}
