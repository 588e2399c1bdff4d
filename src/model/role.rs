//! What a role is like, and a role as it is created.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    arn::{PolicyArn, RoleArn},
    names::{PolicyName, TagKey, TagValue},
    subjects::SubjectPattern,
    trust::TrustPolicy,
};

/// What the call that creates a role and the call that updates it both say. An attribute that goes along with these calls is a field here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSettings {
    /// The description; of an identity that says none, the role gets one that says whom it is for.
    pub description: Option<String>,
    /// How long a session may last, in seconds, 3,600 to 43,200.
    pub max_session_duration: u32,
}

impl Default for RoleSettings {
    /// IAM's own.
    fn default() -> Self {
        Self { description: None, max_session_duration: 3600 }
    }
}

/// What a role that the tool manages is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleAttributes {
    /// What goes along with the calls that create and update it.
    pub settings: RoleSettings,
    /// The permissions boundary.
    pub permissions_boundary: Option<PolicyArn>,
    /// Managed policies to attach.
    pub policies: BTreeSet<PolicyArn>,
    /// Inline policies by name.
    pub inline_policies: BTreeMap<PolicyName, Value>,
    /// Tags beside the tool's own.
    pub tags: BTreeMap<TagKey, TagValue>,
}

/// A role to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRole {
    /// Path and name.
    pub arn: RoleArn,
    /// Its trust policy.
    pub trust: TrustPolicy,
    /// Whom it trusts.
    pub subjects: BTreeSet<SubjectPattern>,
    /// Description and so on.
    pub settings: RoleSettings,
    /// Its permissions boundary, in the same call: the role is never without.
    pub permissions_boundary: Option<PolicyArn>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}
