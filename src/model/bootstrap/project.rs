//! The namespaces of a Qovery project, and the pattern that is for them alone.

use std::collections::BTreeSet;

use crate::model::{
    document::pattern_matches,
    names::{Namespace, NamespacePattern},
};

/// The namespaces of the environments of a Qovery project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectNamespaces {
    /// The project's id, as the person gave it.
    pub project: String,
    /// The namespaces of its environments.
    pub namespaces: BTreeSet<Namespace>,
}

/// The narrowest pattern that ends with `-*` and matches all of these namespaces: `z1a2b3c4-*`.
///
/// Nothing if they have no such beginning in common, and nothing of fewer than two: one namespace does not show what the next one begins with.
/// Namespaces of other projects may have the same beginning: that cannot be seen from these.
#[must_use]
pub fn common_pattern(namespaces: &BTreeSet<Namespace>) -> Option<NamespacePattern> {
    let (first, last) = (namespaces.first()?.as_str(), namespaces.last()?.as_str());
    // The set is in order: what its first and its last name have in common, all of them have.
    let common = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    let end = first[..common].rfind('-').filter(|_| namespaces.len() > 1)?;
    format!("{}-*", &first[..end]).parse().ok()
}

/// What people should know about their patterns, by what the environments of one project say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceAdvice {
    /// Nothing.
    None,
    /// This, though nothing is wrong.
    Note(String),
    /// No pattern is given, and this may be the one.
    Missing(String),
}

/// What the namespaces of a project say about the patterns that are given.
#[must_use]
pub fn namespace_advice(found: &ProjectNamespaces, given: &BTreeSet<NamespacePattern>) -> NamespaceAdvice {
    let ProjectNamespaces { project, namespaces } = found;
    let pattern = common_pattern(namespaces);
    if given.is_empty() {
        return NamespaceAdvice::Missing(match pattern {
            Some(pattern) => format!(
                "write `namespaces: [{pattern}]` below `cluster:` in the manifest, or `--namespaces '{pattern}'`: all {} namespaces of project `{project}` begin so. Another project's may too: that was not looked at",
                namespaces.len()
            ),
            None => format!(
                "the environments of project `{project}` do not show one pattern for all of them ({}). Write patterns below `cluster:` in the manifest, or as `--namespaces`; `z*` is every environment of the cluster",
                shown(namespaces)
            ),
        });
    }
    let matches = |pattern: &NamespacePattern, text: &str| pattern_matches(pattern.as_str(), text);
    if let Some(outside) = namespaces.iter().find(|namespace| !given.iter().any(|pattern| matches(pattern, namespace.as_str()))) {
        return NamespaceAdvice::Note(format!(
            "namespace `{outside}` of project `{project}` matches no pattern: its job could not use the role"
        ));
    }
    match pattern {
        Some(pattern) if given.iter().any(|wide| *wide != pattern && matches(wide, pattern.as_str())) => NamespaceAdvice::Note(format!(
            "all {} namespaces of project `{project}` begin alike: `namespaces: [{pattern}]` keeps out what does not. Another project's may begin so too: that was not looked at",
            namespaces.len()
        )),
        _ => NamespaceAdvice::None,
    }
}

/// A few of them.
fn shown(namespaces: &BTreeSet<Namespace>) -> String {
    match namespaces.len() {
        0 => "none has a namespace yet".to_owned(),
        count => {
            let some = namespaces.iter().take(3).map(|namespace| format!("`{namespace}`")).collect::<Vec<_>>().join(", ");
            if count > 3 { format!("{some} and {} more", count - 3) } else { some }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(namespaces: &[&str]) -> Option<String> {
        let namespaces = namespaces.iter().map(|namespace| namespace.parse().unwrap()).collect();
        common_pattern(&namespaces).map(|pattern| pattern.to_string())
    }

    #[test]
    fn namespaces_of_one_project_have_a_pattern_in_common() {
        for (namespaces, expected) in [
            (&["z1a2b3c4-shop", "z1a2b3c4-staging"][..], Some("z1a2b3c4-*")),
            (&["z1a2b3c4-shop-eu", "z1a2b3c4-shop-us", "z1a2b3c4-shop-ap"], Some("z1a2b3c4-shop-*")),
            (&["z1a2b3c4-shop-1", "z1a2b3c4-shop-12"], Some("z1a2b3c4-shop-*")),
            // A name that is the beginning of another.
            (&["z1-shop", "z1-shop-eu"], Some("z1-*")),
        ] {
            assert_eq!(pattern(namespaces).as_deref(), expected, "{namespaces:?}");
        }
    }

    #[test]
    fn namespaces_that_have_too_little_in_common_have_none() {
        for namespaces in [&["z1a2b3c4-shop", "z1a2b3c5-shop"][..], &["z1", "z2"], &["z1a2b3c4-shop"], &["shop"], &[]] {
            assert_eq!(pattern(namespaces), None, "{namespaces:?}");
        }
    }
}
