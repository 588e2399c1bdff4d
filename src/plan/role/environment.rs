//! A role that the tool makes for one environment: it has one writer, and everything on it that the tool put there is claimed.
//!
//! The order, so that at no moment the role grants more than is wanted: the boundary, the claims of what comes, then what is
//! taken away, then trust, then what is given, then the claims of what is gone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Outcome, tags_fit};
use crate::{
    model::{
        arn::PolicyArn,
        claims::{Claim, Claims, is_claims_tag},
        desired::DesiredEnvironmentRole,
        document::means_the_same,
        names::{PolicyName, RoleName},
        observed::{ISSUER_TAG, OWN_TAG_PREFIX, OWNER_TAG, ObservedRole},
        oidc::Provider,
        trust::{TrustPolicy, Trusted},
    },
    plan::{Action, NewRole, Refusal, SubjectChange, refusal::ForeignPolicy},
};

/// | observed | outcome |
/// |---|---|
/// | absent | create it |
/// | made for this identity | what differs, field by field |
/// | made for another identity, by somebody else, or below another path | refusal |
pub(super) fn start(desired: &DesiredEnvironmentRole, observed: Option<&ObservedRole>, provider: &Provider) -> Result<Outcome, Refusal> {
    let Some(observed) = observed else { return create(desired, provider) };
    refuse_foreign(desired, observed, provider)?;
    if observed.arn != desired.arn {
        return Err(Refusal::OtherPath { observed: Box::new(observed.arn.clone()), desired: Box::new(desired.arn.clone()) });
    }
    let role = Role { name: &desired.arn.name, desired, observed, before: Claims::from_tags(&observed.tags) };
    let after = role.claims_after();
    let during = role.before.union(&after);

    let mut actions = Vec::new();
    actions.extend(role.put_boundary());
    actions.extend(role.tag(&during)?);
    actions.extend(role.take_away());
    let (changed, new) = role.put_inline();
    let trust = role.update_trust(provider);
    // A changed document is taken away and given at once: no subject may come in before it, and none may stay for it.
    if trust.as_ref().is_some_and(|(_, widens)| *widens) {
        actions.extend(changed);
        actions.extend(trust.map(|(action, _)| action));
    } else {
        actions.extend(trust.map(|(action, _)| action));
        actions.extend(changed);
    }
    actions.extend(role.attach());
    actions.extend(new);
    actions.extend(role.delete_boundary());
    actions.extend(role.update());
    actions.extend(role.untag(&during, &after));
    actions.extend(role.retag(&during, &after));
    Ok((actions, role.notes(provider)))
}

/// | observed | outcome |
/// |---|---|
/// | not made for this identity | nothing, with a note |
/// | a policy on it that neither the tool nor the manifest put there | refusal |
/// | otherwise | delete it, policies first |
pub(super) fn delete(desired: &DesiredEnvironmentRole, observed: &ObservedRole, provider: &Provider) -> Result<Outcome, Vec<Refusal>> {
    if let Err(refusal) = refuse_foreign(desired, observed, provider) {
        return Ok((Vec::new(), vec![format!("left alone: {refusal}")]));
    }
    let name = &observed.arn.name;
    let role = Role { name, desired, observed, before: Claims::from_tags(&observed.tags) };
    let attached = observed.attached.iter().filter(|policy| !role.attached_by_tool(policy) && !desired.policies.contains(policy));
    let inline =
        observed.inline_policies.keys().filter(|policy| !role.inline_by_tool(policy) && !desired.inline_policies.contains_key(policy));
    let foreign = attached
        .map(|policy| ForeignPolicy::Attached(policy.clone()))
        .chain(inline.map(|policy| ForeignPolicy::Inline(policy.as_str().to_owned())));
    let refusals: Vec<Refusal> = foreign.map(|policy| Refusal::ForeignPolicy { role: name.clone(), policy }).collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let detach = observed.attached.iter().map(|policy| Action::DetachPolicy { role: name.clone(), policy: policy.clone() });
    let inline = observed.inline_policies.keys().map(|policy| Action::DeleteInlinePolicy { role: name.clone(), policy: policy.clone() });
    let actions = detach.chain(inline).chain(std::iter::once(Action::DeleteRole { role: name.clone() })).collect();
    Ok((actions, role.statement_note(provider, "they go with it").into_iter().collect()))
}

fn create(desired: &DesiredEnvironmentRole, provider: &Provider) -> Result<Outcome, Refusal> {
    let name = &desired.arn.name;
    let mut claims = Claims::default();
    desired.policies.iter().for_each(|policy| claims.add(Claim::Attached(policy)));
    desired.inline_policies.keys().for_each(|policy| claims.add(Claim::Inline(policy)));
    desired.tags.keys().for_each(|key| claims.add(Claim::Tag(key.as_str())));
    desired.permissions_boundary.iter().for_each(|boundary| claims.add(Claim::Boundary(boundary)));
    let mut tags = claims.to_tags();
    tags.insert(OWNER_TAG.to_owned(), desired.owner.to_string());
    tags.insert(ISSUER_TAG.to_owned(), provider.issuer.host_and_path().to_owned());
    tags.extend(desired.tags.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned())));
    tags_fit(name, tags.keys())?;
    let trusted = Trusted::from([(desired.audience.clone(), desired.subjects.clone())]);
    let create = Action::CreateRole(Box::new(NewRole {
        arn: desired.arn.clone(),
        trust: TrustPolicy::new(provider, &trusted),
        subjects: desired.subjects.clone(),
        description: desired.description.clone(),
        max_session_duration: desired.max_session_duration,
        permissions_boundary: desired.permissions_boundary.clone(),
        tags,
    }));
    let attach = desired.policies.iter().map(|policy| attach(name, policy));
    let put = desired.inline_policies.iter().map(|(policy, document)| Action::PutInlinePolicy {
        role: name.clone(),
        policy: policy.clone(),
        document: document.clone(),
    });
    Ok((std::iter::once(create).chain(attach).chain(put).collect(), Vec::new()))
}

fn refuse_foreign(desired: &DesiredEnvironmentRole, observed: &ObservedRole, provider: &Provider) -> Result<(), Refusal> {
    match observed.owner(&provider.issuer) {
        Some(owner) if owner == desired.owner => Ok(()),
        Some(owner) => Err(Refusal::OwnedByOther { role: observed.arn.name.clone(), owner: owner.to_string() }),
        None => Err(match (observed.tags.get(OWNER_TAG), observed.tags.get(ISSUER_TAG)) {
            (Some(owner), Some(issuer)) => {
                Refusal::OwnedByOther { role: observed.arn.name.clone(), owner: format!("{owner} of cluster {issuer}") }
            }
            _ => Refusal::ForeignRole { observed: Box::new(observed.arn.clone()) },
        }),
    }
}

fn attach(role: &RoleName, policy: &PolicyArn) -> Action {
    Action::AttachPolicy { role: role.clone(), policy: policy.clone() }
}

/// One role, desired and observed, and what the tool claims of it.
struct Role<'a> {
    name: &'a RoleName,
    desired: &'a DesiredEnvironmentRole,
    observed: &'a ObservedRole,
    before: Claims,
}

impl Role<'_> {
    fn attached_by_tool(&self, policy: &PolicyArn) -> bool {
        self.before.has(Claim::Attached(policy))
    }

    fn inline_by_tool(&self, policy: &PolicyName) -> bool {
        self.before.has(Claim::Inline(policy))
    }

    /// What the tool claims once all is done: each desired thing that it claimed before or that it puts there now.
    fn claims_after(&self) -> Claims {
        let mut after = Claims::default();
        let mut claim = |claim: Claim<'_>, in_place: bool| {
            if !in_place || self.before.has(claim) {
                after.add(claim);
            }
        };
        for policy in &self.desired.policies {
            claim(Claim::Attached(policy), self.observed.attached.contains(policy));
        }
        for policy in self.desired.inline_policies.keys() {
            claim(Claim::Inline(policy), self.inline_in_place(policy));
        }
        for (key, value) in &self.desired.tags {
            claim(Claim::Tag(key.as_str()), self.tag_value(key.as_str()) == Some(value.as_str()));
        }
        if let Some(boundary) = &self.desired.permissions_boundary {
            claim(Claim::Boundary(boundary), self.observed.permissions_boundary.as_ref() == Some(boundary));
        }
        after
    }

    /// The value of a tag; keys ignore case.
    fn tag_value(&self, key: &str) -> Option<&str> {
        self.observed.tags.iter().find(|(other, _)| other.to_lowercase() == key.to_lowercase()).map(|(_, value)| value.as_str())
    }

    fn inline_in_place(&self, policy: &PolicyName) -> bool {
        match (self.desired.inline_policies.get(policy), self.observed.inline_policies.get(policy)) {
            (Some(desired), Some(Some(observed))) => means_the_same(desired, observed),
            _ => false,
        }
    }

    fn put_boundary(&self) -> Option<Action> {
        let boundary = self.desired.permissions_boundary.as_ref()?;
        (self.observed.permissions_boundary.as_ref() != Some(boundary))
            .then(|| Action::PutBoundary { role: self.name.clone(), boundary: boundary.clone() })
    }

    fn delete_boundary(&self) -> Option<Action> {
        let boundary = self.observed.permissions_boundary.as_ref().filter(|_| self.desired.permissions_boundary.is_none())?;
        self.before.has(Claim::Boundary(boundary)).then(|| Action::DeleteBoundary { role: self.name.clone() })
    }

    /// The user's tags that differ, and the claims of what is about to come.
    fn tag(&self, during: &Claims) -> Result<Option<Action>, Refusal> {
        let mut tags: BTreeMap<String, String> = self
            .desired
            .tags
            .iter()
            .filter(|(key, value)| self.tag_value(key.as_str()) != Some(value.as_str()))
            .map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()))
            .collect();
        tags.extend(during.to_tags().into_iter().filter(|(key, value)| self.observed.tags.get(key) != Some(value)));
        tags_fit(self.name, self.observed.tags.keys().chain(tags.keys()))?;
        Ok((!tags.is_empty()).then(|| Action::TagRole { role: self.name.clone(), tags }))
    }

    /// Policies that the tool put there and nobody wants any more.
    fn take_away(&self) -> Vec<Action> {
        let detach = self
            .observed
            .attached
            .iter()
            .filter(|policy| !self.desired.policies.contains(policy) && self.attached_by_tool(policy))
            .map(|policy| Action::DetachPolicy { role: self.name.clone(), policy: policy.clone() });
        let inline = self
            .observed
            .inline_policies
            .keys()
            .filter(|policy| !self.desired.inline_policies.contains_key(policy) && self.inline_by_tool(policy))
            .map(|policy| Action::DeleteInlinePolicy { role: self.name.clone(), policy: policy.clone() });
        detach.chain(inline).collect()
    }

    /// Inline policies to put: those whose document changes, and those that are new.
    fn put_inline(&self) -> (Vec<Action>, Vec<Action>) {
        self.desired
            .inline_policies
            .iter()
            .filter(|(policy, _)| !self.inline_in_place(policy))
            .map(|(policy, document)| Action::PutInlinePolicy {
                role: self.name.clone(),
                policy: policy.clone(),
                document: document.clone(),
            })
            .partition(
                |action| matches!(action, Action::PutInlinePolicy { policy, .. } if self.observed.inline_policies.contains_key(policy)),
            )
    }

    /// The new trust policy if it differs, and whether it lets in anybody new.
    fn update_trust(&self, provider: &Provider) -> Option<(Action, bool)> {
        let (observed, audience) = (&self.observed.trust, &self.desired.audience);
        let before = observed.own_subjects(provider);
        let subjects: BTreeSet<_> = self
            .desired
            .subjects
            .iter()
            .filter(|subject| before.contains(&subject.claim()) || !observed.foreign_trusts(provider, audience, subject))
            .cloned()
            .collect();
        let trust = observed.rendered(provider, &Trusted::from([(audience.clone(), subjects)]));
        if trust.own_means_the_same(observed, provider) {
            return None;
        }
        let subjects = SubjectChange::between(&before, &trust.own_subjects(provider));
        let widens = !subjects.added.is_empty();
        Some((Action::UpdateTrust { role: self.name.clone(), trust, subjects }, widens))
    }

    fn attach(&self) -> Vec<Action> {
        self.desired.policies.difference(&self.observed.attached).map(|policy| attach(self.name, policy)).collect()
    }

    fn update(&self) -> Option<Action> {
        let (desired, observed) = (self.desired, self.observed);
        (observed.description != desired.description || observed.max_session_duration != desired.max_session_duration).then(|| {
            Action::UpdateRole {
                role: self.name.clone(),
                description: desired.description.clone(),
                max_session_duration: desired.max_session_duration,
            }
        })
    }

    /// The user's tags that the tool set and nobody wants any more, and tags of claims that are no longer needed.
    fn untag(&self, during: &Claims, after: &Claims) -> Option<Action> {
        let wanted = |key: &str| self.desired.tags.keys().any(|wanted| wanted.as_str().to_lowercase() == key.to_lowercase());
        let users = self
            .observed
            .tags
            .keys()
            .filter(|key| !key.starts_with(OWN_TAG_PREFIX) && !wanted(key) && self.before.has(Claim::Tag(key)))
            .cloned();
        let claims_after = after.to_tags();
        let stale = during
            .to_tags()
            .into_keys()
            .chain(self.observed.tags.keys().filter(|key| is_claims_tag(key)).cloned())
            .filter(|key| !claims_after.contains_key(key));
        let keys: BTreeSet<String> = users.chain(stale).collect();
        (!keys.is_empty()).then(|| Action::UntagRole { role: self.name.clone(), keys })
    }

    /// The claims of what is left.
    fn retag(&self, during: &Claims, after: &Claims) -> Option<Action> {
        let during = during.to_tags();
        let tags: BTreeMap<String, String> = after.to_tags().into_iter().filter(|(key, value)| during.get(key) != Some(value)).collect();
        (!tags.is_empty()).then(|| Action::TagRole { role: self.name.clone(), tags })
    }

    /// What others put on the role: kept.
    fn notes(&self, provider: &Provider) -> Vec<String> {
        let name = self.name;
        let attached =
            self.observed.attached.iter().filter(|policy| !self.desired.policies.contains(policy) && !self.attached_by_tool(policy));
        let attached = attached.map(|policy| format!("role `{name}`: policy `{policy}` was attached by somebody else, kept"));
        let inline = self
            .observed
            .inline_policies
            .keys()
            .filter(|policy| !self.desired.inline_policies.contains_key(policy) && !self.inline_by_tool(policy))
            .map(|policy| format!("role `{name}`: inline policy `{policy}` was put there by somebody else, kept"));
        let boundary = self
            .observed
            .permissions_boundary
            .iter()
            .filter(|boundary| self.desired.permissions_boundary.is_none() && !self.before.has(Claim::Boundary(boundary)))
            .map(|boundary| format!("role `{name}`: permissions boundary `{boundary}` was set by somebody else, kept"));
        attached.chain(inline).chain(boundary).chain(self.statement_note(provider, "kept")).collect()
    }

    fn statement_note(&self, provider: &Provider, fate: &str) -> Option<String> {
        let count = self.observed.trust.foreign_count(provider);
        (count > 0).then(|| format!("role `{}`: {count} statement(s) of its trust policy are of somebody else, {fate}", self.name))
    }
}
