//! What a ServiceAccount that somebody else makes (`roleOnly`) lacks before its pods can get their role.

use std::collections::BTreeMap;

use super::{
    desired::DesiredServiceAccount,
    gather::Gather as _,
    identity::{Binding, Keeper},
    names::Subject,
    observed::{AUDIENCE_ANNOTATION, Field, ObservedServiceAccount, ROLE_ANNOTATION},
};

/// What it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It does not exist. By these annotations EKS would give its pods the role.
    Itself(Subject, BTreeMap<String, String>),
    /// It has not these annotations, by which EKS gives its pods the role.
    Annotations(Subject, BTreeMap<String, String>),
}

impl Lack {
    /// What is lacking; nothing of a ServiceAccount that the tool keeps, and nothing that EKS Pod Identity does without.
    #[must_use]
    pub fn of(wanted: &DesiredServiceAccount, observed: Option<&ObservedServiceAccount>) -> Option<Self> {
        if wanted.keeper == Keeper::Tool {
            return None;
        }
        let has = |key: &str, value: &String| {
            observed.is_some_and(|observed| observed.values.get(&Field::Annotation(key.to_owned())) == Some(value))
        };
        let missing: BTreeMap<String, String> = binding_annotations(wanted)
            .filter(|(key, value)| !has(key, value))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .gather();
        let subject = wanted.subject.clone();
        match observed {
            None => Some(Self::Itself(subject, missing)),
            Some(_) => (!missing.is_empty()).then_some(Self::Annotations(subject, missing)),
        }
    }
}

/// The annotations that bind a ServiceAccount to its role.
pub fn binding_annotations(wanted: &DesiredServiceAccount) -> impl Iterator<Item = (&'static str, &String)> {
    let keys = match wanted.binding {
        Binding::Irsa { .. } => [ROLE_ANNOTATION, AUDIENCE_ANNOTATION].as_slice(),
        Binding::PodIdentity(_) => &[],
    };
    keys.iter().filter_map(|key| Some((*key, wanted.annotations.get(*key)?)))
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = |annotations: &BTreeMap<String, String>| {
            annotations.iter().map(|(key, value)| format!("`{key}: {value}`")).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Itself(subject, needed) if needed.is_empty() => write!(f, "ServiceAccount `{subject}` does not exist"),
            Self::Itself(subject, needed) => {
                write!(f, "ServiceAccount `{subject}` does not exist; it needs annotation {}", listed(needed))
            }
            Self::Annotations(subject, missing) => write!(f, "ServiceAccount `{subject}` has no annotation {}", listed(missing)),
        }
    }
}
