//! A ServiceAccount as it is written.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    arn::RoleArn,
    names::Subject,
    observed::{Field, ObservedServiceAccount, Overridden, is_tools},
};

/// A ServiceAccount as the tool applies it: these fields and no others are the tool's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedServiceAccount {
    /// Namespace and name.
    pub subject: Subject,
    /// The role its pods get, if the tool has set one.
    pub role: Option<RoleArn>,
    /// What for.
    pub how: Applying,
    /// What was seen: where somebody else has changed it since, or deleted it, it is not applied. None for one that is new.
    pub seen: Option<Seen>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// `automountServiceAccountToken`.
    pub automount: Option<bool>,
    /// The fields that are taken from whoever changed them by hand or brought them back: the apply is forced for these, and conflicts in no
    /// other.
    pub taken: BTreeSet<Field>,
}

impl AppliedServiceAccount {
    /// What is applied, field by field.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<Field, String> {
        let annotations = self.annotations.iter().map(|(key, value)| (Field::Annotation(key.clone()), value.clone()));
        let labels = self.labels.iter().map(|(key, value)| (Field::Label(key.clone()), value.clone()));
        annotations.chain(labels).chain(self.automount.map(|automount| (Field::Automount, automount.to_string()))).collect()
    }

    /// The fields that are not as they were applied: something on the way changes them, and would again.
    #[must_use]
    pub fn overridden(&self, after: &ObservedServiceAccount) -> Vec<Overridden> {
        let others = self.fields().into_iter().filter(|(field, value)| after.values.get(field) != Some(value));
        let others = others.map(|(field, value)| Overridden {
            found: after.values.get(&field).cloned(),
            manager: after.managers.get(&field).and_then(|managers| managers.iter().find(|manager| !is_tools(manager)).cloned()),
            field: field.to_string(),
            applied: value,
        });
        others.collect()
    }
}

/// Which ServiceAccount was seen, and how it was then.
///
/// The API server makes an object that is gone again if an apply names its version alone; with its uid it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
}

/// What a ServiceAccount is applied for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applying {
    /// It is new.
    Create,
    /// It gets what is desired.
    Apply,
    /// It gets back what somebody has changed.
    SetBack,
    /// The role that it is about to have is recorded.
    Record,
    /// A mark of an earlier version goes, which all jobs wrote as one.
    Unmark,
    /// Somebody else keeps it now: all of the tool's fields go but those that its pods still need.
    LetGo,
    /// Roles that it has left go from its record.
    Forget,
    /// Its fields are held by somebody who only brought them back: they are taken, so that they can be removed.
    Reclaim,
}
