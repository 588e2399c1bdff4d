//! A role as it is created.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    arn::{PolicyArn, RoleArn},
    trust::TrustPolicy,
};

/// A role to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRole {
    /// Path and name.
    pub arn: RoleArn,
    /// Its trust policy.
    pub trust: TrustPolicy,
    /// Whom it trusts: `sub` claims, or patterns of them.
    pub subjects: BTreeSet<String>,
    /// Its description.
    pub description: String,
    /// Seconds a session may last.
    pub max_session_duration: u32,
    /// Its permissions boundary, in the same call: the role is never without.
    pub permissions_boundary: Option<PolicyArn>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}
