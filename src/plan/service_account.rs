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
    observed::{FIELD_MANAGER, Field, MANAGED_BY, ObservedServiceAccount, Overridden, ROLE_ANNOTATION, is_restorer},
    record::EARLIER_ROLES,
};

/// What a mark says until it is removed.
const LEAVING: &str = "leaving";

/// What makes a ServiceAccount as desired.
#[derive(Default)]
pub(super) struct Applies {
    /// Before anything is done to the role that it is about to have: the role is recorded.
    pub(super) first: Option<Action>,
    /// When the role is ready.
    pub(super) last: Option<Action>,
    /// What people should know.
    pub(super) notes: Vec<String>,
}

/// | observed | action |
/// |---|---|
/// | absent | create it, marked as the tool's |
/// | each field as desired and held by the tool, none other held | none |
/// | being deleted | refusal: the object will not come back |
/// | a field of one that the tool has touched differs, and a person has changed it by hand | set it back |
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
        taken: BTreeSet::new(),
    };
    if observed.is_none_or(ObservedServiceAccount::is_made_by_tool) {
        applied.labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    }
    applied.labels.extend(observed.iter().flat_map(|observed| marks_on(observed)));
    applied.labels.extend(desired.job.iter().map(|job| (job.label(), Mark::Wanted.value())));
    let Some(observed) = observed else { return Ok(Applies { last: Some(apply(applied)), ..Applies::default() }) };
    let present = observed.role().filter(|present| *present != desired.role);
    let mut earlier = observed.earlier_roles();
    if let Some(present) = &present {
        earlier.add(present, at);
    }
    earlier.remove(&desired.role);
    applied.annotations.extend(earlier.render().map(|text| (EARLIER_ROLES.to_owned(), text)));
    let fields = applied.fields();
    let mut refusals: Vec<Refusal> = Vec::new();
    let mut notes = Vec::new();
    for (field, value) in &fields {
        match conflict(&applied.subject, field, value, observed) {
            None => {}
            Some(Conflict::Taken(note)) => {
                applied.taken.insert(field.clone());
                notes.push(note);
            }
            Some(Conflict::Refused(refusal)) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    if !applied.taken.is_empty() && present.is_some() {
        // First what was there before, so that what is forced is what was seen; the other role follows.
        return Ok(Applies { first: None, last: Some(apply(set_back(&applied, observed))), notes });
    }
    let in_place = fields.iter().all(|(field, value)| observed.values.get(field) == Some(value) && observed.held_by_tool(field));
    let nothing_else = observed.managers.keys().all(|field| fields.contains_key(field) || !observed.held_by_tool(field));
    if in_place && nothing_else {
        return Ok(Applies::default());
    }
    let mut record = observed.earlier_roles();
    let first = (present.is_some() && !record.contains(&desired.role)).then(|| {
        record.add(&desired.role, at);
        apply_held(with_record(held(&applied.subject, observed, Applying::Record), record.render()), observed)
    });
    // What was recorded before has given it another version.
    applied.seen = first.is_none().then(|| seen(observed));
    Ok(Applies { first, last: Some(apply(applied)), notes })
}

/// Dates the mark of a job whose manifest no longer names the ServiceAccount.
pub(super) fn date(subject: &Subject, observed: &ObservedServiceAccount, job: &JobMark, at: Date) -> Action {
    let mut applied = held(subject, observed, Applying::Date);
    applied.labels.insert(job.label(), Mark::LeftSince(at).value());
    apply_held(applied, observed)
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
    Some(apply_held(with_record(held(subject, observed, Applying::Forget), record.render()), observed))
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
        let label = own.label();
        if observed.others(&Field::Label(label.clone())).next().is_some() {
            // What somebody else holds too stays when the tool lets go of it. Whose value is overwritten holds it no more.
            applied.labels.insert(label, LEAVING.to_owned());
        } else {
            applied.labels.remove(&label);
        }
        return Some(apply_held(applied, observed));
    }
    if is_deletable(observed) {
        Some(Action::DeleteServiceAccount { subject: subject.clone(), uid: observed.uid.clone() })
    } else if observed.values.keys().any(|field| is_ours(field, observed) && observed.others(field).next().is_some()) {
        Some(apply_held(reclaimed(subject, observed), observed))
    } else if observed.is_touched() {
        Some(Action::ReleaseServiceAccount { subject: subject.clone(), uid: observed.uid.clone() })
    } else {
        None
    }
}

/// Why a ServiceAccount of which the tool's fields are removed stays itself, unless it is plainly somebody else's.
pub(super) fn stays(subject: &Subject, observed: &ObservedServiceAccount) -> Option<String> {
    let others: BTreeSet<String> = other_managers(observed).map(|manager| format!("`{manager}`")).collect();
    let way =
        format!("if nobody needs it, `kubectl -n {} delete serviceaccount {}` removes it", subject.namespace, subject.service_account);
    match (observed.is_made_by_tool(), others.is_empty()) {
        (true, false) => {
            let others = others.into_iter().collect::<Vec<_>>().join(", ");
            Some(format!("ServiceAccount `{subject}` stays: {others} holds fields of it; {way}"))
        }
        (false, true) => {
            Some(format!("ServiceAccount `{subject}` stays: its label `{}` does not say that this tool created it; {way}", MANAGED_BY.0))
        }
        (true, true) | (false, false) => None,
    }
}

/// Whether the tool created it and nobody else relies on it.
fn is_deletable(observed: &ObservedServiceAccount) -> bool {
    observed.is_made_by_tool() && other_managers(observed).next().is_none()
}

/// The managers that hold a field, but the tool's and those that only bring back what was there.
fn other_managers(observed: &ObservedServiceAccount) -> impl Iterator<Item = &String> {
    observed.managers.values().flatten().filter(|manager| *manager != FIELD_MANAGER && !is_restorer(manager))
}

/// Whether a field is one that only the tool sets, and nobody else claims.
fn is_ours(field: &Field, observed: &ObservedServiceAccount) -> bool {
    let is_known = match field {
        Field::Annotation(key) => key == ROLE_ANNOTATION || key == EARLIER_ROLES,
        Field::Label(key) => marks::is_label(key) || (key == MANAGED_BY.0 && observed.is_made_by_tool()),
        Field::Automount | Field::Other(_) => false,
    };
    is_known && observed.is_left_to_tool(field) && observed.is_touched()
}

/// Its own fields with other values: whoever else holds them holds them no more.
fn reclaimed(subject: &Subject, observed: &ObservedServiceAccount) -> AppliedServiceAccount {
    let mut applied = held(subject, observed, Applying::Reclaim);
    for field in observed.values.keys().filter(|field| is_ours(field, observed) && observed.others(field).next().is_some()) {
        match field {
            Field::Annotation(key) => drop(applied.annotations.insert(key.clone(), String::new())),
            Field::Label(key) => drop(applied.labels.insert(key.clone(), LEAVING.to_owned())),
            Field::Automount | Field::Other(_) => {}
        }
    }
    applied
}

/// What was there, with the desired values of what is taken.
fn set_back(wanted: &AppliedServiceAccount, observed: &ObservedServiceAccount) -> AppliedServiceAccount {
    let mut applied = held(&wanted.subject, observed, Applying::Apply);
    let copied = |from: &BTreeMap<String, String>, key: &String| from.get(key).map(|value| (key.clone(), value.clone()));
    for field in &wanted.taken {
        match field {
            Field::Annotation(key) => applied.annotations.extend(copied(&wanted.annotations, key)),
            Field::Label(key) => applied.labels.extend(copied(&wanted.labels, key)),
            Field::Automount => applied.automount = wanted.automount,
            Field::Other(_) => {}
        }
    }
    AppliedServiceAccount { taken: wanted.taken.clone(), ..applied }
}

/// What changes fields that somebody has only brought back: these are taken.
fn apply_held(mut applied: AppliedServiceAccount, observed: &ObservedServiceAccount) -> Action {
    let differs = |(field, value): &(Field, String)| observed.values.get(field).is_some_and(|present| present != value);
    let changed = applied.fields().into_iter().filter(differs).map(|(field, _)| field);
    applied.taken = changed.filter(|field| observed.others(field).next().is_some() && observed.is_left_to_tool(field)).collect();
    apply(applied)
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
        taken: BTreeSet::new(),
    };
    for (field, value) in observed.values.iter().filter(|(field, _)| observed.held_by_tool(field) || is_ours(field, observed)) {
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
        Field::Label(key) if marks::is_label(key) && observed.is_left_to_tool(field) => Some((key.clone(), value.clone())),
        _ => None,
    })
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

/// What stands in the way of a value.
enum Conflict {
    /// A person's hand has changed it: it is set back, with these words.
    Taken(String),
    /// Somebody else sets it.
    Refused(Refusal),
}

fn conflict(subject: &Subject, field: &Field, desired: &str, observed: &ObservedServiceAccount) -> Option<Conflict> {
    let value = observed.values.get(field).filter(|value| *value != desired)?;
    let managers: BTreeSet<String> = observed.others(field).cloned().collect();
    if managers.is_empty() {
        return None;
    }
    let by_hand = managers.iter().all(|manager| is_by_hand(manager) || is_restorer(manager));
    if by_hand && observed.is_touched() {
        let by = managers.iter().map(|manager| format!("`{manager}`")).collect::<Vec<_>>().join(", ");
        return Some(Conflict::Taken(format!("ServiceAccount `{subject}`: {field} was changed to `{value}` by {by}, and is set back")));
    }
    Some(Conflict::Refused(Refusal::HeldField {
        subject: subject.clone(),
        field: field.clone(),
        managers,
        observed: value.clone(),
        desired: desired.to_owned(),
    }))
}

/// Whether a field manager is a person's single edit: `kubectl annotate`, `label`, `edit`, `patch` and so on. `kubectl apply` is none: it
/// says again what stands in a file, as Helm and Argo CD do.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>
fn is_by_hand(manager: &str) -> bool {
    manager.starts_with("kubectl-") && !matches!(manager, "kubectl-client-side-apply" | "kubectl-last-applied")
}
