//! Tags of roles and associations, as meant.
//!
//! Which tags the tool sets itself is not known here, but how many.

use std::collections::BTreeMap;

use super::text::{
    pieces::{entries, name, text},
    problems::{At, quoted},
    reader::Typed,
};
use crate::model::{
    gather::Gather as _,
    names::{TagKey, TagValue},
};

/// A role takes 50 tags, and so does an association; eight may be the tool's own: owner, issuer, a job's mark, what was left, and the record
/// of ownership.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html>
const MOST_TAGS: usize = 50 - 8;

/// What has tags.
#[derive(Clone, Copy)]
pub(super) enum Tagged {
    Role,
    Association,
}

/// Tags that are no two of one key but for case: neither among themselves nor with those they are merged into. IAM ignores case there. EKS
/// does not, but what counts tags, such as a cost report, may.
pub(super) fn tags(
    typed: Typed<BTreeMap<String, Typed<String>>>,
    of: Tagged,
    merged_into: &BTreeMap<TagKey, TagValue>,
    at: &At<'_>,
) -> BTreeMap<TagKey, TagValue> {
    let mut spellings: BTreeMap<String, String> = merged_into.keys().map(|key| (key.as_str().to_lowercase(), key.to_string())).gather();
    entries(typed, at, |key, value, at| {
        let other = spellings.entry(key.to_lowercase()).or_insert_with(|| key.to_owned());
        if other != key {
            let why = match of {
                Tagged::Role => "for IAM they are one key",
                Tagged::Association => "write one of them",
            };
            at.report(format_args!("differs only by case from {}: {why}", quoted(other)));
        }
        let key = text(key, at);
        Some((key?, name(value, at)?))
    })
}

/// That these are more than there is room for.
pub(super) fn too_many(tags: &BTreeMap<TagKey, TagValue>, of: Tagged) -> Option<String> {
    let count = tags.len();
    (count > MOST_TAGS).then(|| match of {
        Tagged::Role => format!("{count} tags, those of `defaults` included: a role takes {MOST_TAGS} beside the tool's own"),
        Tagged::Association => format!("{count} tags: an association takes {MOST_TAGS} beside the tool's own"),
    })
}
