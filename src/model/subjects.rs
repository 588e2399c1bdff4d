//! Whom a trust policy names: a subject, or a pattern of subjects.

use std::fmt;

use super::{
    document::pattern_matches,
    names::{NamespacePattern, ServiceAccountName, Subject},
};

const PREFIX: &str = "system:serviceaccount:";

/// A subject or a pattern of subjects, as a trust policy has it: `system:serviceaccount:<namespace>:<name>`, where `*` is any text and `?` any
/// one character. A subject is the pattern of itself alone.
///
/// One that was read from a statement may be any text: somebody may have edited the statement by hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubjectPattern(String);

impl SubjectPattern {
    /// The ServiceAccounts of one name in all namespaces of a pattern.
    #[must_use]
    pub fn in_namespaces(namespaces: &NamespacePattern, service_account: &ServiceAccountName) -> Self {
        Self::of_parts(namespaces.as_str(), service_account.as_str())
    }

    /// Every ServiceAccount of the cluster.
    #[must_use]
    pub fn everybody() -> Self {
        Self::of_parts("*", "*")
    }

    /// Reads a value of a condition on the `sub` claim.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn of_parts(namespace: &str, service_account: &str) -> Self {
        Self(format!("{PREFIX}{namespace}:{service_account}"))
    }

    /// As a condition on the `sub` claim has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Namespace and ServiceAccount, each a name or a pattern; none if it was written by hand in another form.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix(PREFIX)?.split_once(':')
    }

    /// Whether every subject that matches the other pattern matches this one, as far as the texts show it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        pattern_matches(&self.0, &other.0)
    }
}

impl From<&Subject> for SubjectPattern {
    fn from(subject: &Subject) -> Self {
        Self(subject.claim())
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_pattern_of_itself_and_a_pattern_covers_its_subjects() {
        let subject: Subject = "z1/app".parse().unwrap();
        let name = SubjectPattern::from(&subject);
        let pattern = SubjectPattern::in_namespaces(&"z*".parse().unwrap(), &subject.service_account);
        assert_eq!((name.as_str(), name.parts()), ("system:serviceaccount:z1:app", Some(("z1", "app"))));
        assert_eq!(pattern.parts(), Some(("z*", "app")));
        assert!(pattern.covers(&name) && SubjectPattern::everybody().covers(&pattern) && !name.covers(&pattern));
        assert_eq!(SubjectPattern::read("by hand").parts(), None);
    }
}
