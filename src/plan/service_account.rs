//! The ServiceAccount: which fields the tool applies, when another manager's value stands in the way, and what `delete` leaves.

use std::collections::BTreeMap;

use super::{Action, AppliedServiceAccount, FIELD_MANAGER, Refusal};
use crate::model::{
    desired::DesiredServiceAccount,
    names::Subject,
    observed::{Field, ObservedServiceAccount},
};

/// The label that marks a ServiceAccount the tool created, and its value.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "qovery-irsa");

/// | observed | action |
/// |---|---|
/// | absent | create it, marked as the tool's |
/// | each field as desired and held by the tool, none other held | none |
/// | a field differs and another manager holds it | refusal |
/// | otherwise | apply: takes shared hold of equal fields, lets go of those no longer desired |
pub(super) fn start(desired: &DesiredServiceAccount, observed: Option<&ObservedServiceAccount>) -> Result<Option<Action>, Vec<Refusal>> {
    let mut labels = desired.labels.clone();
    if observed.is_none_or(is_own) {
        labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    }
    let applied = AppliedServiceAccount {
        subject: desired.subject.clone(),
        role: desired.role.clone(),
        creates: observed.is_none(),
        annotations: desired.annotations.clone(),
        labels,
        automount: desired.automount,
    };
    if let Some(observed) = observed {
        let fields = fields(&applied);
        let refusals: Vec<Refusal> =
            fields.iter().filter_map(|(field, value)| held_field(&applied.subject, field, value, observed)).collect();
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let in_place = fields.iter().all(|(field, value)| observed.values.get(field) == Some(value) && observed.held_by_tool(field));
        let nothing_else = observed.managers.keys().all(|field| fields.contains_key(field) || !observed.held_by_tool(field));
        if in_place && nothing_else {
            return Ok(None);
        }
    }
    Ok(Some(Action::ApplyServiceAccount(Box::new(applied))))
}

/// A ServiceAccount that the tool created and nobody else holds a field of is deleted; of any other only the tool's fields go.
pub(super) fn delete(subject: &Subject, observed: Option<&ObservedServiceAccount>) -> Option<Action> {
    let observed = observed?;
    let shared = observed.managers.values().flatten().any(|manager| manager != FIELD_MANAGER);
    if is_own(observed) && !shared {
        Some(Action::DeleteServiceAccount { subject: subject.clone(), uid: observed.uid.clone() })
    } else if observed.managers.keys().any(|field| observed.held_by_tool(field)) {
        Some(Action::ReleaseServiceAccount { subject: subject.clone(), uid: observed.uid.clone() })
    } else {
        None
    }
}

impl ObservedServiceAccount {
    fn held_by_tool(&self, field: &Field) -> bool {
        self.managers.get(field).is_some_and(|managers| managers.contains(FIELD_MANAGER))
    }
}

fn is_own(observed: &ObservedServiceAccount) -> bool {
    let mark = Field::Label(MANAGED_BY.0.to_owned());
    observed.values.get(&mark).is_some_and(|value| value == MANAGED_BY.1) && observed.held_by_tool(&mark)
}

fn fields(applied: &AppliedServiceAccount) -> BTreeMap<Field, String> {
    let annotations = applied.annotations.iter().map(|(key, value)| (Field::Annotation(key.clone()), value.clone()));
    let labels = applied.labels.iter().map(|(key, value)| (Field::Label(key.clone()), value.clone()));
    annotations.chain(labels).chain(applied.automount.map(|automount| (Field::Automount, automount.to_string()))).collect()
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
