//! The ServiceAccount: which fields the tool applies, when another manager's value stands in the way, and what a removal leaves.
//!
//! It is also the environment's record: it carries the marks of the jobs that want it, and each role that it had until that is left.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, AppliedServiceAccount, Applying, Refusal, Seen};
use crate::model::{
    arn::RoleArn,
    date::Date,
    desired::DesiredServiceAccount,
    marks::{self, JobMark, Mark},
    names::Subject,
    observed::{FIELD_MANAGER, Field, ObservedServiceAccount, Overridden},
    record::EARLIER_ROLES,
};

/// The label that marks a ServiceAccount the tool created, and its value.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "qovery-irsa");

/// What makes a ServiceAccount as desired.
#[derive(Default)]
pub(super) struct Applies {
    /// Before anything is done to the role that it is about to have: the role is recorded.
    pub(super) first: Option<Action>,
    /// When the role is ready.
    pub(super) last: Option<Action>,
}

/// | observed | action |
/// |---|---|
/// | absent | create it, marked as the tool's |
/// | each field as desired and held by the tool, none other held | none |
/// | being deleted | refusal: the object will not come back |
/// | a field differs and another manager holds it | refusal |
/// | another role, set by the tool | record the new role, and in the end apply it and record the old one |
/// | otherwise | apply: takes shared hold of equal fields, lets go of those no longer desired |
pub(super) fn start(desired: &DesiredServiceAccount, observed: Option<&ObservedServiceAccount>, at: Date) -> Result<Applies, Vec<Refusal>> {
    if observed.is_some_and(|observed| observed.ends) {
        return Err(vec![Refusal::ServiceAccountEnds(desired.subject.clone())]);
    }
    let mut applied = AppliedServiceAccount {
        subject: desired.subject.clone(),
        role: Some(desired.role.clone()),
        how: if observed.is_none() { Applying::Create } else { Applying::Apply },
        seen: None,
        annotations: desired.annotations.clone(),
        labels: desired.labels.clone(),
        automount: desired.automount,
    };
    if observed.is_none_or(is_own) {
        applied.labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    }
    applied.labels.extend(observed.iter().flat_map(|observed| marks_on(observed)));
    applied.labels.extend(desired.job.iter().map(|job| (job.label(), Mark::Wanted.value())));
    let Some(observed) = observed else { return Ok(Applies { first: None, last: Some(apply(applied)) }) };
    let present = observed.role().filter(|present| *present != desired.role);
    let mut earlier = observed.earlier_roles();
    if let Some(present) = &present {
        earlier.add(present, at);
    }
    earlier.remove(&desired.role);
    applied.annotations.extend(earlier.render().map(|text| (EARLIER_ROLES.to_owned(), text)));
    let fields = applied.fields();
    let refusals: Vec<Refusal> = fields.iter().filter_map(|(field, value)| held_field(&applied.subject, field, value, observed)).collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let in_place = fields.iter().all(|(field, value)| observed.values.get(field) == Some(value) && observed.held_by_tool(field));
    let nothing_else = observed.managers.keys().all(|field| fields.contains_key(field) || !observed.held_by_tool(field));
    if in_place && nothing_else {
        return Ok(Applies::default());
    }
    let mut record = observed.earlier_roles();
    let first = (present.is_some() && !record.contains(&desired.role)).then(|| {
        record.add(&desired.role, at);
        apply(with_record(held(&applied.subject, observed, Applying::Record), record.render()))
    });
    // What was recorded before has given it another version.
    applied.seen = first.is_none().then(|| seen(observed));
    Ok(Applies { first, last: Some(apply(applied)) })
}

/// Dates the mark of a job whose manifest no longer names the ServiceAccount.
pub(super) fn date(subject: &Subject, observed: &ObservedServiceAccount, job: &JobMark, at: Date) -> Action {
    let mut applied = held(subject, observed, Applying::Date);
    applied.labels.insert(job.label(), Mark::LeftSince(at).value());
    apply(applied)
}

/// Drops roles from its record that it has left; nothing if they are not recorded.
pub(super) fn forget(subject: &Subject, observed: &ObservedServiceAccount, left: &BTreeSet<RoleArn>) -> Option<Action> {
    let mut record = observed.earlier_roles();
    if !left.iter().any(|role| record.contains(role)) {
        return None;
    }
    for role in left {
        record.remove(role);
    }
    Some(apply(with_record(held(subject, observed, Applying::Forget), record.render())))
}

/// Takes it from a job. While another job wants it, only the job's mark goes. Else one that the tool created and nobody else holds a field
/// of is deleted; of any other only the tool's fields go.
pub(super) fn remove(
    subject: &Subject,
    observed: &ObservedServiceAccount,
    job: Option<&JobMark>,
    gone: &BTreeSet<JobMark>,
) -> Option<Action> {
    let marks = observed.marks();
    if !marks.others(job, gone).is_empty() {
        let own = job.filter(|job| marks.of(Some(job)).is_some())?;
        let mut applied = held(subject, observed, Applying::Unmark);
        applied.labels.remove(&own.label());
        return Some(apply(applied));
    }
    let shared = observed.managers.values().flatten().any(|manager| manager != FIELD_MANAGER);
    if is_own(observed) && !shared {
        Some(Action::DeleteServiceAccount { subject: subject.clone(), uid: observed.uid.clone() })
    } else if observed.is_touched() {
        Some(Action::ReleaseServiceAccount { subject: subject.clone(), uid: observed.uid.clone() })
    } else {
        None
    }
}

fn apply(applied: AppliedServiceAccount) -> Action {
    Action::ApplyServiceAccount(Box::new(applied))
}

fn seen(observed: &ObservedServiceAccount) -> Seen {
    Seen { uid: observed.uid.clone(), version: observed.version.clone() }
}

/// The ServiceAccount with just what the tool holds of it.
fn held(subject: &Subject, observed: &ObservedServiceAccount, how: Applying) -> AppliedServiceAccount {
    let mut applied = AppliedServiceAccount {
        subject: subject.clone(),
        role: observed.role(),
        how,
        seen: Some(seen(observed)),
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
        automount: None,
    };
    for (field, value) in observed.values.iter().filter(|(field, _)| observed.held_by_tool(field)) {
        match field {
            Field::Annotation(key) => drop(applied.annotations.insert(key.clone(), value.clone())),
            Field::Label(key) => drop(applied.labels.insert(key.clone(), value.clone())),
            Field::Automount => applied.automount = value.parse().ok(),
            Field::Other(_) => {}
        }
    }
    applied
}

fn with_record(mut applied: AppliedServiceAccount, record: Option<String>) -> AppliedServiceAccount {
    match record {
        Some(text) => drop(applied.annotations.insert(EARLIER_ROLES.to_owned(), text)),
        None => drop(applied.annotations.remove(EARLIER_ROLES)),
    }
    applied
}

/// The marks on it, as labels.
fn marks_on(observed: &ObservedServiceAccount) -> impl Iterator<Item = (String, String)> {
    observed.values.iter().filter_map(|(field, value)| match field {
        Field::Label(key) if marks::is_label(key) && observed.held_by_tool(field) => Some((key.clone(), value.clone())),
        _ => None,
    })
}

fn is_own(observed: &ObservedServiceAccount) -> bool {
    let mark = Field::Label(MANAGED_BY.0.to_owned());
    observed.values.get(&mark).is_some_and(|value| value == MANAGED_BY.1) && observed.held_by_tool(&mark)
}

/// The fields that are not as they were applied: something on the way changes them, and would again.
#[must_use]
pub fn overridden(applied: &AppliedServiceAccount, after: &ObservedServiceAccount) -> Vec<Overridden> {
    let others = applied.fields().into_iter().filter(|(field, value)| after.values.get(field) != Some(value));
    let others = others.map(|(field, value)| Overridden {
        found: after.values.get(&field).cloned(),
        manager: after.managers.get(&field).and_then(|managers| managers.iter().find(|manager| *manager != FIELD_MANAGER).cloned()),
        field: field.to_string(),
        applied: value,
    });
    others.collect()
}

fn held_field(subject: &Subject, field: &Field, desired: &str, observed: &ObservedServiceAccount) -> Option<Refusal> {
    let value = observed.values.get(field).filter(|value| *value != desired)?;
    let manager = observed.managers.get(field)?.iter().find(|manager| *manager != FIELD_MANAGER)?;
    Some(Refusal::HeldField {
        subject: subject.clone(),
        field: field.clone(),
        manager: manager.clone(),
        observed: value.clone(),
        desired: desired.to_owned(),
    })
}
