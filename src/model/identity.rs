//! An identity as the user means it: one ServiceAccount bound to one role.
//!
//! What it becomes in an account and a cluster is in `desired.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    arn::{PolicyArn, RoleArn},
    names::{LabelValue, MetadataKey, PolicyName, RoleName, RolePath, ServiceAccountName, Subject, TagKey, TagValue},
    oidc::Audience,
};

/// One ServiceAccount bound to one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ServiceAccount in the environment's namespace.
    pub service_account: ServiceAccountSpec,
    /// The role its pods get.
    pub role: RoleSpec,
}

/// The ServiceAccount of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountSpec {
    /// Its name.
    pub name: ServiceAccountName,
    /// The audience of the tokens its pods get.
    pub audience: Audience,
    /// How long these tokens live, in seconds; the webhook's default if not given.
    pub token_expiration: Option<u32>,
    /// Labels beside the tool's own.
    pub labels: BTreeMap<MetadataKey, LabelValue>,
    /// Annotations beside the tool's own.
    pub annotations: BTreeMap<MetadataKey, String>,
    /// `automountServiceAccountToken`; left alone if not given.
    pub automount: Option<bool>,
}

/// The role of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleSpec {
    /// A role of this environment alone, made and deleted by the tool (`scope: environment`).
    Environment(Box<EnvironmentRole>),
    /// An existing role given by ARN: only its trust is managed.
    Given(GivenRole),
}

/// A role that the tool makes for one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentRole {
    /// Its name; made from ServiceAccount and namespace if not given.
    pub name: Option<RoleName>,
    /// The path below which the role is created: cluster and namespace follow it.
    pub path: RolePath,
    /// Managed policies to attach.
    pub policies: BTreeSet<PolicyArn>,
    /// Inline policies by name.
    pub inline_policies: BTreeMap<PolicyName, Value>,
    /// The permissions boundary.
    pub permissions_boundary: Option<PolicyArn>,
    /// How long a session may last, in seconds, 3,600 to 43,200.
    pub max_session_duration: u32,
    /// The description; one that names the ServiceAccount if not given.
    pub description: Option<String>,
    /// Tags beside the tool's own.
    pub tags: BTreeMap<TagKey, TagValue>,
    /// Further subjects that may assume the role.
    pub extra_subjects: BTreeSet<Subject>,
}

/// A role that exists already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenRole {
    /// Its ARN.
    pub arn: RoleArn,
    /// Further subjects that may assume the role.
    pub extra_subjects: BTreeSet<Subject>,
}
