//! The registry of a role that several environments share: one tag for each subject, written by the environment that declares it.
//!
//! IAM replaces a trust policy whole and the last write wins, but merges tags by key. So each environment writes only its own
//! tags, and the tool's statement in the trust policy is a projection of all of them.
//!
//! For EKS Pod Identity one tag stands for each cluster, and every environment writes the same: so whoever writes the document for IRSA knows
//! the statement, also where the document that it read is one of the past.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    anchor::{Grant, StatementKind},
    arn::ClusterArn,
    conditions::Conditions,
    fingerprint::fingerprint,
    gather::Gather as _,
    names::{Subject, TagValue},
    oidc::{Audience, IssuerUrl},
    trust::Trusted,
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
    /// Under which conditions of one's own.
    pub conditions: Conditions,
}

impl Entry {
    /// The key of the entry's tag: a fingerprint of the issuer and the value, so that each cluster finds its own.
    #[must_use]
    pub fn tag_key(&self, issuer: &IssuerUrl) -> String {
        key(issuer, &self.tag_value())
    }

    /// The value of the entry's tag: `<namespace>/<service account>`, then ` for <declarer>` and ` aud <audience>` where they differ from the usual,
    /// then ` if <fingerprint of the conditions>` where there are any.
    #[must_use]
    pub fn tag_value(&self) -> String {
        let mut value = self.subject.to_string();
        if self.declared_by != self.subject {
            value = format!("{value} for {}", self.declared_by);
        }
        if self.audience != Audience::default() {
            value = format!("{value} aud {}", self.audience);
        }
        if !self.conditions.is_empty() {
            value = format!("{value} if {}", self.conditions.fingerprint());
        }
        value
    }

    /// All tags of the entry: its own, and those that hold its conditions, `….if`, `….if.2` and so on. So whoever renders the statement knows
    /// them, and the entry's own environment alone writes them.
    #[must_use]
    pub fn tags(&self, issuer: &IssuerUrl) -> BTreeMap<String, String> {
        let key = self.tag_key(issuer);
        let of_conditions = of_conditions(&key, &self.conditions);
        std::iter::once((key, self.tag_value())).chain(of_conditions).gather()
    }

    /// Whether IAM takes the value: 256 characters at most.
    #[must_use]
    pub fn fits_a_tag(&self) -> bool {
        self.tag_value().parse::<TagValue>().is_ok()
    }

    /// Reads one of these tags. A tag of another cluster, or of unknown form, is none.
    #[must_use]
    pub fn from_tag(tag_key: &str, tags: &BTreeMap<String, String>, issuer: &IssuerUrl) -> Option<Self> {
        let value = tags.get(tag_key)?;
        if tag_key == key(issuer, value) { parse(tag_key, value, tags) } else { None }
    }
}

/// With what the key of a tag begins that says that EKS may assume the role for the pods of a cluster.
pub const PODS_PREFIX: &str = "qovery-irsa/pods/";

/// That EKS may assume the role for all pods of a cluster that associations give it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodsEntry {
    /// The cluster.
    pub cluster: ClusterArn,
    /// Under which conditions of one's own.
    pub conditions: Conditions,
}

impl PodsEntry {
    /// Its tags: the cluster's ARN, then ` if <fingerprint of the conditions>` where there are any, and those that hold the conditions.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut value = self.cluster.as_str().to_owned();
        if !self.conditions.is_empty() {
            value = format!("{value} if {}", self.conditions.fingerprint());
        }
        let key = format!("{PODS_PREFIX}{}", fingerprint(&[&value], FINGERPRINT));
        let of_conditions = of_conditions(&key, &self.conditions);
        std::iter::once((key, value)).chain(of_conditions).gather()
    }

    /// Those among the tags of a role. What is of unknown form is none.
    #[must_use]
    pub fn all(tags: &BTreeMap<String, String>) -> Vec<Self> {
        let of_tag = |(key, value): (&String, &String)| {
            let (cluster, conditions) = with_conditions(key, value, tags)?;
            let entry = Self { cluster: cluster.parse().ok()?, conditions };
            (entry.tags().get(key) == Some(value)).then_some(entry)
        };
        tags.iter().filter(|(key, _)| key.starts_with(PODS_PREFIX)).filter_map(of_tag).collect()
    }
}

/// The tags that hold conditions.
fn of_conditions(key: &str, conditions: &Conditions) -> Vec<(String, String)> {
    let encoded = if conditions.is_empty() { String::new() } else { conditions.encoded() };
    let chunks = encoded.as_bytes().chunks(LONGEST_VALUE).map(|chunk| String::from_utf8_lossy(chunk).into_owned());
    chunks.zip(1..).map(|(chunk, number)| (conditions_key(key, number), chunk)).collect()
}

/// What stands before the fingerprint of conditions, and these, if the tags hold them.
fn with_conditions<'a>(key: &str, value: &'a str, tags: &BTreeMap<String, String>) -> Option<(&'a str, Conditions)> {
    let Some((rest, fingerprint)) = value.split_once(" if ") else { return Some((value, Conditions::default())) };
    let encoded: String = (1..).map_while(|number| tags.get(&conditions_key(key, number))).map(String::as_str).collect();
    Some((rest, Conditions::decoded(&encoded).filter(|conditions| conditions.fingerprint() == fingerprint)?))
}

/// The length of the fingerprint in a key.
const FINGERPRINT: usize = 16;

/// The longest value of a tag.
const LONGEST_VALUE: usize = 256;

fn conditions_key(key: &str, number: usize) -> String {
    if number == 1 { format!("{key}.if") } else { format!("{key}.if.{number}") }
}

fn key(issuer: &IssuerUrl, value: &str) -> String {
    format!("{TAG_PREFIX}{}", fingerprint(&[issuer.as_str(), value], FINGERPRINT))
}

fn parse(tag_key: &str, value: &str, tags: &BTreeMap<String, String>) -> Option<Entry> {
    let (value, conditions) = with_conditions(tag_key, value, tags)?;
    let (rest, audience) = match value.split_once(" aud ") {
        Some((rest, audience)) => (rest, audience.parse().ok()?),
        None => (value, Audience::default()),
    };
    let (subject, declared_by) = rest.split_once(" for ").unwrap_or((rest, rest));
    Some(Entry { subject: subject.parse().ok()?, audience, declared_by: declared_by.parse().ok()?, conditions })
}

/// The entries of this cluster among the tags of a role.
#[must_use]
pub fn entries(tags: &BTreeMap<String, String>, issuer: &IssuerUrl) -> BTreeSet<Entry> {
    tags.keys().filter_map(|key| Entry::from_tag(key, tags, issuer)).gather()
}

/// What the tool's statements must trust: nothing but the entries.
#[must_use]
pub fn projection(entries: &BTreeSet<Entry>) -> Trusted {
    let mut trusted = Trusted::nobody(StatementKind::Subjects);
    for entry in entries {
        let grant = Grant { audience: entry.audience.clone(), conditions: entry.conditions.clone() };
        trusted.add(&grant, (&entry.subject).into());
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
    let is_entry = |key: &str, value: &str| key.len() == TAG_PREFIX.len() + FINGERPRINT && parse(key, value, tags).is_some();
    // The conditions of an entry are known with it.
    let known = |key: &str, value: &str| match key.split_once(".if") {
        Some((entry, _)) => tags.get(entry).is_some_and(|value| is_entry(entry, value)),
        None => is_entry(key, value),
    };
    tags.iter()
        .filter(|(key, value)| key.starts_with(TAG_PREFIX) && !known(key, value))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(subject: &str, declared_by: &str, audience: &str) -> Entry {
        let conditions = Conditions::default();
        Entry {
            subject: subject.parse().unwrap(),
            audience: audience.parse().unwrap(),
            declared_by: declared_by.parse().unwrap(),
            conditions,
        }
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
            assert_eq!(Entry::from_tag(&entry.tag_key(&issuer), &entry.tags(&issuer), &issuer), Some(entry));
        }
    }

    #[test]
    fn conditions_read_back_from_tags_of_their_own_and_without_them_the_entry_is_unknown() {
        let issuer: IssuerUrl = "https://oidc.example.com/id/A".parse().unwrap();
        for count in [1, 40] {
            let networks: Vec<String> = (0..count).map(|number| format!("10.{number}.0.0/16")).collect();
            let conditions = Conditions::read(&serde_json::json!({"IpAddress": {"aws:SourceIp": networks}})).unwrap();
            let entry = Entry { conditions, ..entry("k/keda", "z1/app", "vault") };
            let tags = entry.tags(&issuer);
            assert_eq!(tags.len(), if count == 1 { 2 } else { 5 });
            assert!(tags.iter().all(|(key, value)| key.len() <= 128 && value.parse::<TagValue>().is_ok()));
            assert_eq!(entries(&tags, &issuer), BTreeSet::from([entry.clone()]));
            assert_eq!(unknown(&tags), []);
            let mut without = tags;
            assert!(without.remove(&conditions_key(&entry.tag_key(&issuer), 1)).is_some());
            assert_eq!(entries(&without, &issuer), BTreeSet::new());
            assert!(!unknown(&without).is_empty());
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
    fn the_clusters_of_eks_pod_identity_read_back_from_tags_of_their_own() {
        let cluster: ClusterArn = "arn:aws:eks:eu-west-3:123456789012:cluster/demo".parse().unwrap();
        let networks: Vec<String> = (0..40).map(|number| format!("10.{number}.0.0/16")).collect();
        let narrow = Conditions::read(&serde_json::json!({"IpAddress": {"aws:SourceIp": networks}})).unwrap();
        for (conditions, count) in [(Conditions::default(), 1), (narrow, 5)] {
            let entry = PodsEntry { cluster: cluster.clone(), conditions };
            let mut tags = entry.tags();
            assert_eq!(tags.len(), count);
            assert!(tags.iter().all(|(key, value)| key.len() <= 128 && value.parse::<TagValue>().is_ok()), "{tags:?}");
            assert_eq!(PodsEntry::all(&tags), [entry]);
            assert!(is_empty(&tags) && unknown(&tags).is_empty(), "they register nobody");
            for value in tags.values_mut() {
                value.push('x');
            }
            assert_eq!(PodsEntry::all(&tags), []);
        }
    }

    #[test]
    fn a_value_too_long_for_a_tag_is_known() {
        assert!(!entry(&format!("z1/{}", "a".repeat(253)), "z1/app", "sts.amazonaws.com").fits_a_tag());
    }

    #[test]
    fn a_subject_declared_twice_is_trusted_once() {
        let entries = BTreeSet::from([entry("k/keda", "z1/app", "sts.amazonaws.com"), entry("k/keda", "z2/app", "sts.amazonaws.com")]);
        assert_eq!(projection(&entries).subjects[&Audience::default().into()].len(), 1);
    }
}
