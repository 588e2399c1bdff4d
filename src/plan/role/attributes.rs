//! What a role that the tool manages is like: permissions, boundary, description, tags. What the tool put there is recorded as its own, and
//! only that is ever taken away.

use std::collections::{BTreeMap, BTreeSet};

use super::{role_plan::RolePlan, trust::without};
use crate::{
    model::{
        anchor::Anchor,
        arn::PolicyArn,
        date::Date,
        desired::OwnedRole,
        document::means_the_same,
        gather::Gather as _,
        marks::OWN_TAG_PREFIX,
        marks::{JobMark, Mark},
        names::{PolicyName, RoleName},
        observed::{LEFT_TAG, ObservedRole},
        ownership::{Ownership, Part, is_ownership_tag},
        role::RoleAttributes,
    },
    plan::Action,
};

/// The tags of a new role: whose it is, the record of all that will be put on it, the user's.
pub(super) fn tags_of_new(owned: &OwnedRole) -> BTreeMap<String, String> {
    let (desired, mut ownership) = (&owned.attributes, Ownership::default());
    desired.policies.iter().for_each(|policy| ownership.add(Part::Attached(policy)));
    desired.inline_policies.keys().for_each(|policy| ownership.add(Part::Inline(policy)));
    desired.tags.keys().for_each(|key| ownership.add(Part::Tag(key.as_str())));
    desired.permissions_boundary.iter().for_each(|boundary| ownership.add(Part::Boundary(boundary)));
    let mut tags = ownership.to_tags();
    tags.extend(owned.owner.tags());
    tags.extend(mark(owned));
    tags.extend(desired.tags.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned())));
    tags
}

/// The mark of the job that wants the role.
fn mark(owned: &OwnedRole) -> Option<(String, String)> {
    owned.job.as_ref().map(|job| (job.tag(), Mark::Wanted.value()))
}

/// The permission policies of a new role.
pub(super) fn policies_of_new<'a>(role: &'a RoleName, desired: &'a RoleAttributes) -> impl Iterator<Item = Action> + 'a {
    let attach = desired.policies.iter().map(|policy| Action::AttachPolicy { role: role.clone(), policy: policy.clone() });
    let put = desired.inline_policies.iter().map(|(policy, document)| Action::PutInlinePolicy {
        role: role.clone(),
        policy: policy.clone(),
        document: document.clone(),
    });
    attach.chain(put)
}

/// A role that the tool owns: desired, observed, and which parts of it are the tool's before, while and after it is changed.
pub(super) struct Owned<'a> {
    name: &'a RoleName,
    role: &'a OwnedRole,
    desired: &'a RoleAttributes,
    observed: &'a ObservedRole,
    before: Ownership,
    during: Ownership,
    after: Ownership,
}

impl<'a> Owned<'a> {
    pub(super) fn new(role: &'a OwnedRole, observed: &'a ObservedRole) -> Self {
        let before = Ownership::from_tags(&observed.tags);
        let (during, after) = (Ownership::default(), Ownership::default());
        let mut owned = Self { name: &observed.arn.name, role, desired: &role.attributes, observed, before, during, after };
        owned.after = owned.ownership_after();
        owned.during = owned.before.union(&owned.after);
        owned
    }

    /// Deletes the role, policies first, unless somebody else relies on it.
    ///
    /// | somebody else's on the role | what goes | what stays |
    /// |---|---|---|
    /// | nothing | all of it | |
    /// | a policy, or the role is in an instance profile | the tool's policies and statement; a `Deny` stands in for it | the role and what is theirs |
    /// | a statement that lets somebody in | the tool's statement | the role with all its policies |
    ///
    /// A role that stays carries the date, and people are told. `anchors`: what the tool's statements rest on that go with the role.
    pub(super) fn delete(&self, anchors: &[Anchor], job: Option<&JobMark>, at: Date) -> RolePlan {
        let (name, observed) = (self.name, self.observed);
        let theirs = self.theirs(anchors);
        let detach = |policy: &PolicyArn| Action::DetachPolicy { role: name.clone(), policy: policy.clone() };
        let put_away = |policy: &PolicyName| Action::DeleteInlinePolicy { role: name.clone(), policy: policy.clone() };
        if theirs.is_empty() {
            let policies = observed.attached.iter().map(detach).chain(observed.inline_policies.keys().map(put_away));
            return RolePlan { actions: policies.chain([Action::DeleteRole { role: name.clone() }]).collect(), ..RolePlan::default() };
        }
        let mut actions: Vec<Action> = without(name, observed, anchors).into_iter().collect();
        let mut keys: BTreeSet<String> = job.map(JobMark::tag).into_iter().collect();
        if !self.lets_others_in(anchors) {
            actions.extend(observed.attached.iter().filter(|policy| !self.is_foreign(policy)).map(detach));
            actions.extend(observed.inline_policies.keys().filter(|policy| !self.is_foreign_inline(policy)).map(put_away));
            keys.extend(observed.tags.keys().filter(|key| is_ownership_tag(key)).cloned());
        }
        keys.retain(|key| observed.tags.contains_key(key));
        let date = (!observed.tags.contains_key(LEFT_TAG)).then(|| (LEFT_TAG.to_owned(), at.to_string()));
        actions.extend(date.map(|date| Action::TagRole { role: name.clone(), tags: [date].into() }));
        actions.extend((!keys.is_empty()).then(|| Action::UntagRole { role: name.clone(), keys }));
        RolePlan { actions, left: Some(format!("role `{name}`: {}", theirs.join(", "))), ..RolePlan::default() }
    }

    /// What somebody else has on the role, or of it.
    fn theirs(&self, anchors: &[Anchor]) -> Vec<String> {
        let observed = self.observed;
        let attached = observed.attached.iter().filter(|policy| self.is_foreign(policy));
        let attached = attached.map(|policy| format!("policy `{policy}` was attached by somebody else"));
        let inline = observed.inline_policies.keys().filter(|policy| self.is_foreign_inline(policy));
        let inline = inline.map(|policy| format!("inline policy `{policy}` was put there by somebody else"));
        let profiles = observed.instance_profiles.iter().map(|profile| format!("it is in instance profile `{profile}`"));
        let trust = observed.trust.of_others(anchors);
        let lets_in = anchors.iter().any(|anchor| trust.lets_strangers_in(anchor));
        let statement = lets_in.then(|| "a statement of its trust policy lets somebody else in".to_owned());
        let clusters: BTreeSet<&str> = anchors.iter().flat_map(|anchor| trust.other_clusters(anchor)).gather();
        let clusters = clusters.into_iter();
        let clusters = clusters.map(|issuer| format!("a statement of this tool's lets in subjects of another cluster, `{issuer}`"));
        attached.chain(inline).chain(profiles).chain(statement).chain(clusters).collect()
    }

    /// How many managed policies it has in the end: the desired ones, and those of others.
    pub(super) fn attached_after(&self) -> usize {
        let foreign = self.observed.attached.iter().filter(|policy| self.is_foreign(policy)).count();
        self.desired.policies.len() + foreign
    }

    fn lets_others_in(&self, anchors: &[Anchor]) -> bool {
        let trust = self.observed.trust.of_others(anchors);
        anchors.iter().any(|anchor| trust.has_foreign_allow(anchor))
    }

    fn is_foreign(&self, policy: &PolicyArn) -> bool {
        !self.attached_by_tool(policy) && !self.desired.policies.contains(policy)
    }

    fn is_foreign_inline(&self, policy: &PolicyName) -> bool {
        !self.inline_by_tool(policy) && !self.desired.inline_policies.contains_key(policy)
    }

    fn attached_by_tool(&self, policy: &PolicyArn) -> bool {
        self.before.has(Part::Attached(policy))
    }

    fn inline_by_tool(&self, policy: &PolicyName) -> bool {
        self.before.has(Part::Inline(policy))
    }

    /// What is the tool's once all is done: each desired part that was its own before or that it puts there now.
    fn ownership_after(&self) -> Ownership {
        let mut after = self.before.unknown();
        let mut own = |part: Part<'_>, in_place: bool| {
            if !in_place || self.before.has(part) {
                after.add(part);
            }
        };
        for policy in &self.desired.policies {
            own(Part::Attached(policy), self.observed.attached.contains(policy));
        }
        for policy in self.desired.inline_policies.keys() {
            own(Part::Inline(policy), self.inline_in_place(policy));
        }
        for (key, value) in &self.desired.tags {
            own(Part::Tag(key.as_str()), self.tag_value(key.as_str()) == Some(value.as_str()));
        }
        if let Some(boundary) = &self.desired.permissions_boundary {
            own(Part::Boundary(boundary), self.observed.permissions_boundary.as_ref() == Some(boundary));
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

    pub(super) fn put_boundary(&self) -> Option<Action> {
        let boundary = self.desired.permissions_boundary.as_ref()?;
        (self.observed.permissions_boundary.as_ref() != Some(boundary))
            .then(|| Action::PutBoundary { role: self.name.clone(), boundary: boundary.clone() })
    }

    pub(super) fn delete_boundary(&self) -> Option<Action> {
        let boundary = self.observed.permissions_boundary.as_ref().filter(|_| self.desired.permissions_boundary.is_none())?;
        self.before.has(Part::Boundary(boundary)).then(|| Action::DeleteBoundary { role: self.name.clone() })
    }

    /// Tags to set before anything else: the user's that differ, the mark of the job, and the record of what is about to come.
    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        let users = self.desired.tags.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()));
        let users = users.filter(|(key, value)| self.tag_value(key) != Some(value));
        let own = self.during.to_tags().into_iter().chain(mark(self.role));
        let own = own.filter(|(key, value)| self.observed.tags.get(key) != Some(value));
        users.chain(own).gather()
    }

    /// Policies that the tool put there and nobody wants any more.
    pub(super) fn take_away(&self) -> Vec<Action> {
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
    pub(super) fn put_inline(&self) -> (Vec<Action>, Vec<Action>) {
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

    pub(super) fn attach(&self) -> Vec<Action> {
        self.desired
            .policies
            .difference(&self.observed.attached)
            .map(|policy| Action::AttachPolicy { role: self.name.clone(), policy: policy.clone() })
            .collect()
    }

    pub(super) fn update(&self) -> Option<Action> {
        let (desired, observed) = (self.desired, self.observed);
        (observed.settings != desired.settings).then(|| Action::UpdateRole { role: self.name.clone(), settings: desired.settings.clone() })
    }

    /// Tags that go and the record of what is left, in this order: the user's tags while they are still recorded, the record that stays,
    /// then tags of the record that are no longer needed, and these.
    pub(super) fn clear_up(&self, others: BTreeSet<String>) -> impl Iterator<Item = Action> {
        let wanted = |key: &str| self.desired.tags.keys().any(|wanted| wanted.as_str().to_lowercase() == key.to_lowercase());
        let users = self.observed.tags.keys();
        let users = users.filter(|key| !key.starts_with(OWN_TAG_PREFIX) && !wanted(key) && self.before.has(Part::Tag(key)));
        let mut users: BTreeSet<String> = users.cloned().collect();
        let (during, after) = (self.during.to_tags(), self.after.to_tags());
        let observed = self.observed.tags.keys().filter(|key| is_ownership_tag(key)).cloned();
        let mut stale: BTreeSet<String> = during.keys().cloned().chain(observed).filter(|key| !after.contains_key(key)).collect();
        stale.extend(others);
        let kept: BTreeMap<String, String> = after.into_iter().filter(|(key, value)| during.get(key) != Some(value)).gather();
        if kept.is_empty() {
            // Nothing has to stand between: one call.
            users.append(&mut stale);
        }
        let role = self.name;
        let untag = |keys: BTreeSet<String>| (!keys.is_empty()).then(|| Action::UntagRole { role: role.clone(), keys });
        let retag = (!kept.is_empty()).then(|| Action::TagRole { role: role.clone(), tags: kept });
        [untag(users), retag, untag(stale)].into_iter().flatten()
    }

    /// What others put on the role: kept.
    /// `here`: what the tool's statements for this cluster rest on.
    pub(super) fn notes(&self, anchor: &Anchor, here: &[Anchor]) -> impl Iterator<Item = String> {
        let name = self.name;
        let attached = self.observed.attached.iter().filter(|policy| self.is_foreign(policy));
        let attached = attached.map(move |policy| format!("role `{name}`: policy `{policy}` was attached by somebody else, kept"));
        let inline = self
            .observed
            .inline_policies
            .keys()
            .filter(|policy| self.is_foreign_inline(policy))
            .map(move |policy| format!("role `{name}`: inline policy `{policy}` was put there by somebody else, kept"));
        let boundary = self
            .observed
            .permissions_boundary
            .iter()
            .filter(|boundary| self.desired.permissions_boundary.is_none() && !self.before.has(Part::Boundary(boundary)))
            .map(move |boundary| format!("role `{name}`: permissions boundary `{boundary}` was set by somebody else, kept"));
        let others = self.observed.trust.of_others(here);
        let count = others.foreign_count(anchor);
        let statements = (count > 0).then(|| format!("role `{name}`: {count} statement(s) of its trust policy are of somebody else, kept"));
        let clusters = others.other_clusters(anchor).into_iter();
        let clusters = clusters.map(move |issuer| {
            format!("role `{name}`: a statement of its trust policy is this tool's for another cluster, `{issuer}`, kept")
        });
        attached.chain(inline).chain(boundary).chain(statements).chain(clusters.collect::<Vec<_>>())
    }
}
