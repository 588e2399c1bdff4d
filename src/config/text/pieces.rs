//! What a mapping, a list, a name or a duration of the manifest means, wherever it stands: one problem each, and on to the next.
//!
//! No key of the manifest is known here.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    str::FromStr,
};

use super::{
    duration,
    problems::{At, named},
    reader::{DurationText, Typed},
};
use crate::model::{gather::Gather as _, names::NameProblem};

/// The entries of a mapping. `meant` gives what one means, or nothing after it has reported why not.
pub(in crate::config) fn entries<T, K: Ord, V>(
    typed: Typed<BTreeMap<String, Typed<T>>>,
    at: &At<'_>,
    mut meant: impl FnMut(&str, Typed<T>, &At<'_>) -> Option<(K, V)>,
) -> BTreeMap<K, V> {
    let typed = typed.value().unwrap_or_default();
    typed
        .into_iter()
        .filter_map(|(key, value)| {
            let at = at.key(&key);
            if value.is_absent() {
                at.report("has no value");
            }
            meant(&key, value, &at)
        })
        .gather()
}

/// The elements of a list of names.
pub(in crate::config) fn names<T: FromStr<Err = NameProblem> + Ord>(typed: Typed<Vec<Typed<String>>>, at: &At<'_>) -> BTreeSet<T> {
    elements(typed, at).filter_map(|(index, element)| text(&element, &at.index(index))).collect()
}

/// The elements of a list, each with its index.
pub(in crate::config) fn elements(typed: Typed<Vec<Typed<String>>>, at: &At<'_>) -> impl Iterator<Item = (usize, String)> {
    (0..).zip(typed.value().unwrap_or_default()).filter_map(|(index, typed)| Some((index, present(typed, &at.index(index))?)))
}

pub(in crate::config) fn name<T: FromStr<Err = NameProblem>>(typed: Typed<String>, at: &At<'_>) -> Option<T> {
    text(&typed.value()?, at)
}

pub(in crate::config) fn text<T: FromStr<Err = NameProblem>>(text: &str, at: &At<'_>) -> Option<T> {
    text.parse().map_err(|problem| at.report(named(&problem))).ok()
}

pub(in crate::config) fn seconds(typed: Typed<DurationText>, bounds: &RangeInclusive<u32>, at: &At<'_>) -> Option<u32> {
    duration::parse(&typed.value()?.0, bounds).map_err(|problem| at.report(problem)).ok()
}

/// Reports at the mapping that a key of it is missing.
pub(in crate::config) fn required<T>(typed: &Typed<T>, key: &str, at: &At<'_>) {
    if typed.is_absent() {
        at.report(format_args!("`{key}` is missing"));
    }
}

/// An element of a list, which cannot be null.
pub(in crate::config) fn present<T>(typed: Typed<T>, at: &At<'_>) -> Option<T> {
    if typed.is_absent() {
        at.report("has no value");
    }
    typed.value()
}
