//! What the tool put on a role of its own, remembered in the role's tags: only that is ever taken away again.
//!
//! A part is recorded before it is put there and dropped from the record after it is gone, so a crash between leaves a record too many,
//! which is harmless.

use std::collections::{BTreeMap, BTreeSet};

use super::{arn::PolicyArn, fingerprint::fingerprint, gather::Gather as _, names::PolicyName};

/// The key of the tag; `.2`, `.3` … follow it when one value does not hold all.
pub const TAG_KEY: &str = "qovery-irsa/made";

/// A part is ten characters with the space after it and a tag value holds 256.
const PARTS_PER_TAG: usize = 25;

const FINGERPRINT: usize = 8;

/// One thing on a role.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// An attached managed policy.
    Attached(&'a PolicyArn),
    /// An inline policy.
    Inline(&'a PolicyName),
    /// A tag, by its key; keys ignore case.
    Tag(&'a str),
    /// The permissions boundary.
    Boundary(&'a PolicyArn),
}

impl Part<'_> {
    fn token(self) -> String {
        let (kind, text) = match self {
            Self::Attached(arn) => ('p', arn.as_str().to_owned()),
            Self::Inline(name) => ('i', name.as_str().to_owned()),
            Self::Tag(key) => ('t', key.to_lowercase()),
            Self::Boundary(arn) => ('b', arn.as_str().to_owned()),
        };
        format!("{kind}{}", fingerprint(&[&text], FINGERPRINT))
    }
}

/// The parts of a role that the tool owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership(BTreeSet<String>);

impl Ownership {
    /// Reads them from the tags of a role.
    #[must_use]
    pub fn from_tags(tags: &BTreeMap<String, String>) -> Self {
        Self(
            tags.iter()
                .filter(|(key, _)| is_ownership_tag(key))
                .flat_map(|(_, value)| value.split(' '))
                .filter(|token| !token.is_empty())
                .map(str::to_owned)
                .gather(),
        )
    }

    /// The tags that hold them; none if there are none.
    #[must_use]
    pub fn to_tags(&self) -> BTreeMap<String, String> {
        let tokens: Vec<&str> = self.0.iter().map(String::as_str).collect();
        tokens
            .chunks(PARTS_PER_TAG)
            .enumerate()
            .map(|(index, chunk)| (if index == 0 { TAG_KEY.to_owned() } else { format!("{TAG_KEY}.{}", index + 1) }, chunk.join(" ")))
            .gather()
    }

    /// Whether the tool owns the part.
    #[must_use]
    pub fn has(&self, part: Part<'_>) -> bool {
        self.0.contains(&part.token())
    }

    /// Adds a part.
    pub fn add(&mut self, part: Part<'_>) {
        self.0.insert(part.token());
    }

    /// The parts of a form that this version does not know: a newer one has recorded them, and needs them.
    #[must_use]
    pub fn unknown(&self) -> Self {
        let is_known = |token: &&String| {
            let (kind, rest) = token.split_at_checked(1).unwrap_or_default();
            ["p", "i", "t", "b"].contains(&kind) && rest.len() == FINGERPRINT && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        Self(self.0.iter().filter(|token| !is_known(token)).cloned().gather())
    }

    /// These and the others.
    #[must_use]
    pub fn union(&self, others: &Self) -> Self {
        Self(self.0.union(&others.0).cloned().gather())
    }
}

/// Whether a tag records parts.
#[must_use]
pub fn is_ownership_tag(key: &str) -> bool {
    key == TAG_KEY
        || key
            .strip_prefix(TAG_KEY)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_read_back_from_their_tags_however_many() {
        for count in [0, 1, 25, 26, 60] {
            let mut ownership = Ownership::default();
            for number in 0..count {
                ownership.add(Part::Tag(&format!("key-{number}")));
            }
            let tags = ownership.to_tags();
            assert_eq!(tags.len(), usize::div_ceil(count, PARTS_PER_TAG));
            assert!(tags.values().all(|value| value.len() <= 256));
            assert_eq!(Ownership::from_tags(&tags), ownership);
        }
    }

    #[test]
    fn kinds_do_not_mix_and_tag_keys_ignore_case() {
        let mut ownership = Ownership::default();
        ownership.add(Part::Tag("Team"));
        let name: PolicyName = "Team".parse().unwrap();
        assert!(ownership.has(Part::Tag("team")));
        assert!(!ownership.has(Part::Inline(&name)));
    }

    #[test]
    fn parts_of_a_newer_form_are_told_from_known_ones() {
        let mut ownership = Ownership::default();
        ownership.add(Part::Tag("team"));
        assert_eq!(ownership.unknown(), Ownership::default());
        let tags = BTreeMap::from([(TAG_KEY.to_owned(), format!("{} xabcdefgh pabc é", ownership.to_tags()[TAG_KEY]))]);
        let unknown = Ownership::from_tags(&tags).unknown();
        assert_eq!(unknown.to_tags()[TAG_KEY], "pabc xabcdefgh é");
    }
}
