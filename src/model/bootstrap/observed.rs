//! What was seen of a trust zone in AWS.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::{
    agent::AddOn,
    arn::{PolicyArn, RoleArn},
    observed::ObservedRole,
    trust::TrustPolicy,
};

/// What was seen of a trust zone in AWS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedBootstrap {
    /// The OIDC provider of the cluster.
    pub provider: Option<ObservedZoneProvider>,
    /// The managed policy of the name that `bootstrap` gives the boundary it makes.
    pub own_boundary: Option<ObservedPolicy>,
    /// Whether the managed policy is there that the spec names as boundary; nothing if it names none.
    pub named_boundary: Option<bool>,
    /// The role of the job's name. Its inline policies have their documents; attached policies and instance profiles are read.
    pub role: Option<ObservedRole>,
    /// The add-on of EKS Pod Identity. Nothing if nobody looked.
    pub agent: Option<ObservedAddOn>,
    /// The roles of the account that are to stay, for a removal; nothing if nobody looked.
    pub roles: Option<Vec<ListedRole>>,
}

/// An OIDC provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedZoneProvider {
    /// Its audiences.
    pub audiences: BTreeSet<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A managed policy.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedPolicy {
    /// Its ARN.
    pub arn: PolicyArn,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The document of its default version.
    pub document: Value,
    /// Its versions.
    pub versions: Vec<PolicyVersion>,
    /// What it is attached to, and what has it as boundary: roles, users and groups.
    pub uses: usize,
}

/// A version of a managed policy. A policy has five at most.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// `v1` and so on: IAM counts on, and uses no number twice.
    pub id: String,
    /// Whether it is the one that counts.
    pub is_default: bool,
}

impl PolicyVersion {
    /// Its number; versions of another form come first.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.id.trim_start_matches('v').parse().unwrap_or_default()
    }
}

/// An add-on of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedAddOn {
    /// Its status.
    pub state: AddOn,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A role as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedRole {
    /// The role.
    pub arn: RoleArn,
    /// Whom it trusts; nothing if that is no policy document.
    pub trust: Option<TrustPolicy>,
}
