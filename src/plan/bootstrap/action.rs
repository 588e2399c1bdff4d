//! One changing call of `bootstrap`: what its plan is made of, what is printed and what is carried out.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::part::PartPlan;
use crate::{
    model::{
        agent::AGENT,
        arn::{PolicyArn, RoleArn},
        bootstrap::{JOB_POLICY, difference},
        names::{ClusterName, RoleName},
        oidc::{Audience, Provider},
        role::RoleSettings,
        trust::TrustPolicy,
    },
    plan::Call,
};

/// The plan of a trust zone.
pub type BootstrapPlan = PartPlan<BootstrapAction>;

/// One change in AWS, with all it needs: nothing is left to decide.
#[derive(Clone, Debug, PartialEq)]
pub enum BootstrapAction {
    /// `CreateOpenIDConnectProvider`
    CreateProvider {
        /// The provider to be.
        provider: Provider,
        /// Its audience.
        audience: Audience,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// `AddClientIDToOpenIDConnectProvider`
    AddAudience {
        /// The provider.
        provider: Provider,
        /// The audience it lacks.
        audience: Audience,
    },
    /// `DeleteOpenIDConnectProvider`
    DeleteProvider {
        /// The provider.
        provider: Provider,
    },
    /// `CreatePolicy`
    CreatePolicy {
        /// The policy to be.
        policy: PolicyArn,
        /// Its document.
        document: Value,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// `CreatePolicyVersion`, as the version that counts.
    CreatePolicyVersion {
        /// The policy.
        policy: PolicyArn,
        /// The document that counts now.
        before: Value,
        /// The document.
        document: Value,
    },
    /// `DeletePolicyVersion`
    DeletePolicyVersion {
        /// The policy.
        policy: PolicyArn,
        /// The id of the version.
        version: String,
    },
    /// `TagPolicy`
    TagPolicy {
        /// The policy.
        policy: PolicyArn,
        /// The tags to set.
        tags: BTreeMap<String, String>,
    },
    /// `DeletePolicy`
    DeletePolicy {
        /// The policy.
        policy: PolicyArn,
    },
    /// `CreateRole`
    CreateRole {
        /// Path and name.
        role: RoleArn,
        /// Its trust policy.
        trust: TrustPolicy,
        /// What people read about it, and how long a session may last.
        settings: RoleSettings,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// `UpdateRole`
    UpdateRole {
        /// The role.
        role: RoleName,
        /// What it is to be like.
        settings: RoleSettings,
    },
    /// `TagRole`
    TagRole {
        /// The role.
        role: RoleName,
        /// The tags to set.
        tags: BTreeMap<String, String>,
    },
    /// `PutRolePolicy`
    PutPermissions {
        /// The role.
        role: RoleName,
        /// The document that counts now; nothing if there is none.
        before: Option<Value>,
        /// The document.
        document: Value,
    },
    /// `DeleteRolePolicy`
    DeletePermissions {
        /// The role.
        role: RoleName,
    },
    /// `UpdateAssumeRolePolicy`
    UpdateTrust {
        /// The role.
        role: RoleName,
        /// The document that counts now.
        before: TrustPolicy,
        /// The document.
        trust: TrustPolicy,
        /// Whether it keeps out more than before, and lets nobody in.
        narrows: bool,
    },
    /// `DeleteRole`
    DeleteRole {
        /// The role.
        role: RoleName,
    },
    /// `CreateAddon`
    CreateAgent {
        /// The cluster.
        cluster: ClusterName,
        /// The add-on's tags.
        tags: BTreeMap<String, String>,
    },
    /// `DeleteAddon`
    DeleteAgent {
        /// The cluster.
        cluster: ClusterName,
    },
}

impl Call for BootstrapAction {
    fn call(&self) -> &'static str {
        match self {
            Self::CreateProvider { .. } => "iam:CreateOpenIDConnectProvider",
            Self::AddAudience { .. } => "iam:AddClientIDToOpenIDConnectProvider",
            Self::DeleteProvider { .. } => "iam:DeleteOpenIDConnectProvider",
            Self::CreatePolicy { .. } => "iam:CreatePolicy",
            Self::CreatePolicyVersion { .. } => "iam:CreatePolicyVersion",
            Self::DeletePolicyVersion { .. } => "iam:DeletePolicyVersion",
            Self::TagPolicy { .. } => "iam:TagPolicy",
            Self::DeletePolicy { .. } => "iam:DeletePolicy",
            Self::CreateRole { .. } => "iam:CreateRole",
            Self::UpdateRole { .. } => "iam:UpdateRole",
            Self::TagRole { .. } => "iam:TagRole",
            Self::PutPermissions { .. } => "iam:PutRolePolicy",
            Self::DeletePermissions { .. } => "iam:DeleteRolePolicy",
            Self::UpdateTrust { .. } => "iam:UpdateAssumeRolePolicy",
            Self::DeleteRole { .. } => "iam:DeleteRole",
            Self::CreateAgent { .. } => "eks:CreateAddon",
            Self::DeleteAgent { .. } => "eks:DeleteAddon",
        }
    }

    /// What a document says and did not say before, and the other way round.
    fn details(&self) -> Vec<String> {
        match self {
            Self::CreatePolicy { document, .. } => difference(&Value::Null, document),
            Self::CreatePolicyVersion { before, document, .. } => difference(before, document),
            Self::CreateRole { trust, .. } => difference(&Value::Null, &trust.to_value()),
            Self::PutPermissions { before, document, .. } => difference(before.as_ref().unwrap_or(&Value::Null), document),
            Self::UpdateTrust { before, trust, .. } => difference(&before.to_value(), &trust.to_value()),
            _ => Vec::new(),
        }
    }
}

/// One line, as the plan and the report show it.
impl fmt::Display for BootstrapAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateProvider { provider, audience, .. } => {
                write!(f, "create OIDC provider `{}` with audience `{audience}`", provider.issuer.host_and_path())
            }
            Self::AddAudience { provider, audience } => {
                write!(f, "add audience `{audience}` to OIDC provider `{}`", provider.issuer.host_and_path())
            }
            Self::DeleteProvider { provider } => write!(f, "delete OIDC provider `{}`", provider.issuer.host_and_path()),
            Self::CreatePolicy { policy, .. } => write!(f, "create policy `{policy}`, the permissions boundary"),
            Self::CreatePolicyVersion { policy, .. } => write!(f, "change policy `{policy}`, the permissions boundary, by a new version"),
            Self::DeletePolicyVersion { policy, version } => write!(f, "delete version {version} of policy `{policy}`"),
            Self::TagPolicy { policy, tags } => write!(f, "tag policy `{policy}`: {}", keys(tags)),
            Self::DeletePolicy { policy } => write!(f, "delete policy `{policy}`"),
            Self::CreateRole { role, .. } => write!(f, "create role `{role}`"),
            Self::UpdateRole { role, .. } => write!(f, "change the description of role `{role}`"),
            Self::TagRole { role, tags } => write!(f, "tag role `{role}`: {}", keys(tags)),
            Self::PutPermissions { role, before: None, .. } => write!(f, "put policy `{JOB_POLICY}` on role `{role}`"),
            Self::PutPermissions { role, .. } => write!(f, "change policy `{JOB_POLICY}` of role `{role}`"),
            Self::DeletePermissions { role } => write!(f, "delete policy `{JOB_POLICY}` of role `{role}`"),
            Self::UpdateTrust { role, narrows: true, .. } => write!(f, "narrow the trust policy of role `{role}`"),
            Self::UpdateTrust { role, .. } => write!(f, "change the trust policy of role `{role}`"),
            Self::DeleteRole { role } => write!(f, "delete role `{role}`"),
            Self::CreateAgent { cluster, .. } => write!(f, "create add-on `{AGENT}` of EKS cluster `{cluster}`"),
            Self::DeleteAgent { cluster } => write!(f, "delete add-on `{AGENT}` of EKS cluster `{cluster}`"),
        }
    }
}

fn keys(tags: &BTreeMap<String, String>) -> String {
    tags.iter().map(|(key, value)| format!("`{key}` = `{value}`")).collect::<Vec<_>>().join(", ")
}
