//! The objects of the cluster and their versions.
//!
//! Keeping only: no rules, no permissions. A copy is cheap, since unchanged objects are shared.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ring::digest;
use serde_json::Value;

use super::resources::Resource;

type Key = (&'static str, String, String);

/// Every stored object.
#[derive(Clone, Debug)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    ids: u64,
    seed: Arc<str>,
}

impl Store {
    /// An empty store whose ids follow from the seed.
    pub(super) fn new(seed: &str) -> Self {
        Self { objects: BTreeMap::new(), version: 200, ids: 0, seed: seed.into() }
    }

    /// The version of the store as a whole.
    pub(super) fn version(&self) -> String {
        self.version.to_string()
    }

    pub(super) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Value> {
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        self.objects.get(&key).map(AsRef::as_ref)
    }

    /// The objects of a kind by namespace and name; of every namespace if none is given.
    pub(super) fn list<'s>(&'s self, resource: &'s Resource, namespace: &'s str) -> impl Iterator<Item = &'s Value> {
        self.objects
            .range((resource.plural, String::new(), String::new())..)
            .take_while(|((plural, ..), _)| *plural == resource.plural)
            .filter(move |((_, within, _), _)| namespace.is_empty() || within == namespace)
            .map(|(_, object)| &**object)
    }

    /// Stores an object under its next version.
    pub(super) fn put(&mut self, resource: &Resource, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version().into();
        let text = |member: &str| object["metadata"][member].as_str().unwrap_or_default().to_owned();
        let key = (resource.plural, text("namespace"), text("name"));
        self.objects.insert(key, Arc::new(object.clone()));
        object
    }

    /// Takes an object out: as it was, under the version of its removal.
    pub(super) fn take(&mut self, resource: &Resource, namespace: &str, name: &str) -> Option<Value> {
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        let mut object = Arc::unwrap_or_clone(self.objects.remove(&key)?);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version().into();
        Some(object)
    }

    /// Removes everything in a namespace.
    pub(super) fn clear(&mut self, namespace: &str) {
        self.objects.retain(|(_, within, _), _| within != namespace);
    }

    /// An id in the form of a random UUID that was not given before.
    pub(super) fn new_id(&mut self) -> String {
        self.ids += 1;
        let hash = digest::digest(&digest::SHA256, format!("{} {}", self.seed, self.ids).as_bytes());
        let mut id = String::with_capacity(36);
        for (index, byte) in hash.as_ref().iter().take(16).enumerate() {
            let byte = match index {
                6 => (byte & 0x0f) | 0x40,
                8 => (byte & 0x3f) | 0x80,
                _ => *byte,
            };
            if matches!(index, 4 | 6 | 8 | 10) {
                id.push('-');
            }
            id.extend([byte >> 4, byte & 0x0f].map(|half| char::from_digit(half.into(), 16).unwrap_or('0')));
        }
        id
    }
}

/// Seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A time as `2026-11-23T18:18:59Z`.
pub(super) fn timestamp(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of the year 0, so that the day of a leap year comes last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_457_940, "2026-11-23T18:19:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(timestamp(seconds), text);
        }
    }

    #[test]
    fn ids_are_uuids_and_differ() {
        let mut store = Store::new("a");
        let (first, second) = (store.new_id(), store.new_id());
        assert_ne!(first, second);
        assert_eq!((first.len(), first.as_bytes()[14]), (36, b'4'));
    }
}
