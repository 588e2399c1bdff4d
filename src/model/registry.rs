//! The registry of a role that several environments share: one tag for each subject, written by the environment that declares it.
//!
//! IAM replaces a trust policy whole and the last write wins, but merges tags by key. So each environment writes only its own
//! tags, and the tool's statement in the trust policy is a projection of all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    fingerprint::fingerprint,
    names::{Subject, TagValue},
    oidc::{Audience, IssuerUrl},
    trust::{Kind, Trusted},
};

/// With what the key of a registry tag begins.
pub const TAG_PREFIX: &str = "qovery-irsa/subject/";

/// One subject, the audience of its tokens, and the identity that declares it: itself, or the one whose `extraSubjects` name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Who may assume the role.
    pub subject: Subject,
    /// With a token for whom.
    pub audience: Audience,
    /// On whose behalf.
    pub declared_by: Subject,
}

impl Entry {
    /// The key of the entry's tag: a fingerprint of the issuer and the value, so that each cluster finds its own.
    #[must_use]
    pub fn tag_key(&self, issuer: &IssuerUrl) -> String {
        key(issuer, &self.tag_value())
    }

    /// The value of the entry's tag: `<namespace>/<service account>`, then ` for <declarer>` and ` aud <audience>` where they differ from the usual.
    #[must_use]
    pub fn tag_value(&self) -> String {
        let mut value = self.subject.to_string();
        if self.declared_by != self.subject {
            value = format!("{value} for {}", self.declared_by);
        }
        if self.audience != Audience::default() {
            value = format!("{value} aud {}", self.audience);
        }
        value
    }

    /// Whether IAM takes the value: 256 characters at most.
    #[must_use]
    pub fn fits_a_tag(&self) -> bool {
        self.tag_value().parse::<TagValue>().is_ok()
    }

    /// Reads a tag. A tag of another cluster, or of unknown form, is none.
    #[must_use]
    pub fn from_tag(tag_key: &str, value: &str, issuer: &IssuerUrl) -> Option<Self> {
        if tag_key == key(issuer, value) { parse(value) } else { None }
    }
}

/// The length of the fingerprint in a key.
const FINGERPRINT: usize = 16;

fn key(issuer: &IssuerUrl, value: &str) -> String {
    format!("{TAG_PREFIX}{}", fingerprint(&[issuer.as_str(), value], FINGERPRINT))
}

fn parse(value: &str) -> Option<Entry> {
    let (rest, audience) = match value.split_once(" aud ") {
        Some((rest, audience)) => (rest, audience.parse().ok()?),
        None => (value, Audience::default()),
    };
    let (subject, declared_by) = rest.split_once(" for ").unwrap_or((rest, rest));
    Some(Entry { subject: subject.parse().ok()?, audience, declared_by: declared_by.parse().ok()? })
}

/// The entries of this cluster among the tags of a role.
#[must_use]
pub fn entries(tags: &BTreeMap<String, String>, issuer: &IssuerUrl) -> BTreeSet<Entry> {
    tags.iter().filter_map(|(key, value)| Entry::from_tag(key, value, issuer)).collect()
}

/// What the tool's statements must trust: nothing but the entries.
#[must_use]
pub fn projection(entries: &BTreeSet<Entry>) -> Trusted {
    let mut trusted = Trusted::nobody(Kind::Subjects);
    for entry in entries {
        trusted.add(&entry.audience, entry.subject.claim());
    }
    trusted
}

/// Whether anybody is registered, also from another cluster or in an unknown form.
#[must_use]
pub fn is_empty(tags: &BTreeMap<String, String>) -> bool {
    !tags.keys().any(|key| key.starts_with(TAG_PREFIX))
}

/// The values of tags below the tool's prefix that are of unknown form: of no cluster's making.
#[must_use]
pub fn unknown(tags: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let known = |key: &str, value: &str| key.len() == TAG_PREFIX.len() + FINGERPRINT && parse(value).is_some();
    tags.iter()
        .filter(|(key, value)| key.starts_with(TAG_PREFIX) && !known(key, value))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(subject: &str, declared_by: &str, audience: &str) -> Entry {
        Entry { subject: subject.parse().unwrap(), audience: audience.parse().unwrap(), declared_by: declared_by.parse().unwrap() }
    }

    #[test]
    fn an_entry_reads_back_from_its_tag() {
        let issuer: IssuerUrl = "https://oidc.example.com/id/A".parse().unwrap();
        for (entry, value) in [
            (entry("z1/app", "z1/app", "sts.amazonaws.com"), "z1/app"),
            (entry("kube-system/keda-operator", "z1/app", "sts.amazonaws.com"), "kube-system/keda-operator for z1/app"),
            (entry("z1/app", "z1/app", "vault"), "z1/app aud vault"),
            (entry("k/keda", "z1/app", "vault"), "k/keda for z1/app aud vault"),
        ] {
            assert_eq!(entry.tag_value(), value);
            assert_eq!(Entry::from_tag(&entry.tag_key(&issuer), value, &issuer), Some(entry));
        }
    }

    #[test]
    fn the_tags_of_another_cluster_and_unknown_tags_are_no_entries() {
        let (ours, theirs): (IssuerUrl, IssuerUrl) = ("https://a.example.com".parse().unwrap(), "https://b.example.com".parse().unwrap());
        let entry = entry("z1/app", "z1/app", "sts.amazonaws.com");
        let tags = BTreeMap::from([
            (entry.tag_key(&theirs), entry.tag_value()),
            (format!("{TAG_PREFIX}by-hand"), "z2/app".to_owned()),
            ("team".to_owned(), "z3/app".to_owned()),
        ]);
        assert_eq!(entries(&tags, &ours), BTreeSet::new());
        assert_eq!(entries(&tags, &theirs), BTreeSet::from([entry]));
        assert_eq!(unknown(&tags), [("qovery-irsa/subject/by-hand", "z2/app")]);
        assert!(!is_empty(&tags));
    }

    #[test]
    fn a_value_too_long_for_a_tag_is_known() {
        assert!(!entry(&format!("z1/{}", "a".repeat(253)), "z1/app", "sts.amazonaws.com").fits_a_tag());
    }

    #[test]
    fn a_subject_declared_twice_is_trusted_once() {
        let entries = BTreeSet::from([entry("k/keda", "z1/app", "sts.amazonaws.com"), entry("k/keda", "z2/app", "sts.amazonaws.com")]);
        assert_eq!(projection(&entries).claims[&Audience::default()].len(), 1);
    }
}
