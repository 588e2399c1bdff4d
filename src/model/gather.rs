//! Ordered maps and sets, filled one entry after the other.
//!
//! `collect()` sorts what it makes a map or a set of, and the compiler writes that sort anew for each type of entry: in the release binary
//! some kilobytes for each. What is gathered here is short, and filling it costs nothing that shows.

use std::collections::{BTreeMap, BTreeSet};

/// Something that is filled with entries of one type.
pub trait Gathered<T>: Sized {
    /// With these entries; of two that are equal the last one counts.
    fn of(entries: impl Iterator<Item = T>) -> Self;
}

impl<K: Ord, V> Gathered<(K, V)> for BTreeMap<K, V> {
    fn of(entries: impl Iterator<Item = (K, V)>) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<T: Ord> Gathered<T> for BTreeSet<T> {
    fn of(entries: impl Iterator<Item = T>) -> Self {
        let mut set = Self::new();
        set.extend(entries);
        set
    }
}

/// The first failure ends it.
impl<T, E, All: Gathered<T>> Gathered<Result<T, E>> for Result<All, E> {
    fn of(entries: impl Iterator<Item = Result<T, E>>) -> Self {
        let mut failed = None;
        let all = All::of(entries.map_while(|entry| entry.map_err(|error| failed = Some(error)).ok()));
        failed.map_or(Ok(all), Err)
    }
}

/// `gather()` in place of `collect()`.
pub trait Gather: Iterator + Sized {
    /// A map or set of the entries.
    fn gather<All: Gathered<Self::Item>>(self) -> All {
        All::of(self)
    }
}

impl<I: Iterator> Gather for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_the_last_of_two_values_and_a_failure_ends_it() {
        let entries = [("b", 1), ("a", 2), ("b", 3)];
        assert_eq!(entries.into_iter().gather::<BTreeMap<_, _>>(), BTreeMap::from([("a", 2), ("b", 3)]));
        let numbers = |texts: [&str; 3]| texts.iter().map(|text| text.parse::<u8>()).gather::<Result<BTreeSet<_>, _>>();
        assert_eq!(numbers(["2", "1", "2"]), Ok(BTreeSet::from([1, 2])));
        assert!(numbers(["2", "x", "1"]).is_err());
    }
}
