//! An identity as the user means it: one ServiceAccount bound to one role.
//!
//! What it becomes in an account and a cluster is in `desired.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    arn::{ExternalId, RoleArn},
    association::SessionTags,
    conditions::Conditions,
    names::{LabelValue, MetadataKey, NamespacePattern, RoleName, RolePath, ServiceAccountName, Subject, TagKey, TagValue},
    oidc::Audience,
    role::RoleAttributes,
    service::{DesiredService, ServiceRef},
};

/// What becomes of things that this job made and no identity names any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prune {
    /// A deploy dates them, a later one removes them.
    #[default]
    On,
    /// They are named and stay.
    Off,
}

/// One ServiceAccount bound to one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ServiceAccount in the environment's namespace.
    pub service_account: ServiceAccountSpec,
    /// The role its pods get.
    pub role: RoleSpec,
    /// How they get it.
    pub binding: Binding,
    /// The services that should run with the ServiceAccount.
    pub services: BoundServices,
}

impl Identity {
    /// Its services, each with the ServiceAccount.
    pub fn bindings(&self) -> impl Iterator<Item = DesiredService> {
        self.services.services.iter().map(|service| DesiredService {
            service: service.clone(),
            service_account: self.service_account.name.clone(),
            take_over: self.services.take_over,
        })
    }
}

/// How the pods of a ServiceAccount get a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// By an annotation: a pod shows STS a token of its cluster.
    Irsa {
        /// The audience of the tokens.
        audience: Audience,
    },
    /// By an association of EKS Pod Identity.
    PodIdentity(Box<PodIdentity>),
}

/// What an association is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// The role that the identity's role assumes in turn: then the pods get this one.
    pub target: Option<Target>,
    /// Whether sessions have tags.
    pub session_tags: SessionTags,
    /// What limits the sessions beside the role's own policies.
    pub session_policy: Option<Value>,
    /// Tags of the association beside the tool's own.
    pub tags: BTreeMap<TagKey, TagValue>,
}

/// A role, perhaps of another account, that the role of an association assumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The role.
    pub role: RoleArn,
    /// The external ID that its trust asks for, if it is known.
    pub external_id: Option<ExternalId>,
}

impl Binding {
    /// The audience of the tokens that pods show STS; none if they show it none.
    #[must_use]
    pub fn audience(&self) -> Option<&Audience> {
        match self {
            Self::Irsa { audience } => Some(audience),
            Self::PodIdentity(_) => None,
        }
    }
}

impl Default for Binding {
    fn default() -> Self {
        Self::Irsa { audience: Audience::default() }
    }
}

/// Services that should run with a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundServices {
    /// Which, by name or id.
    pub services: BTreeSet<ServiceRef>,
    /// Whether one that asks for another ServiceAccount is taken from it.
    pub take_over: bool,
}

/// The ServiceAccount of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountSpec {
    /// Its name.
    pub name: ServiceAccountName,
    /// How long these tokens live, in seconds; the webhook's default if not given.
    pub token_expiration: Option<u32>,
    /// Labels beside the tool's own.
    pub labels: BTreeMap<MetadataKey, LabelValue>,
    /// Annotations beside the tool's own.
    pub annotations: BTreeMap<MetadataKey, String>,
    /// `automountServiceAccountToken`; left alone if not given.
    pub automount: Option<bool>,
    /// Whose it is to make.
    pub keeper: Keeper,
}

/// Who makes a ServiceAccount and keeps it as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeper {
    /// The tool.
    #[default]
    Tool,
    /// Somebody else, a chart perhaps (`roleOnly`): the tool never writes to it.
    Other,
}

/// The role of an identity: where it comes from, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSpec {
    /// Where it comes from.
    pub origin: RoleOrigin,
    /// Whose it is.
    pub scope: Scope,
    /// Further subjects that may assume it.
    pub extra_subjects: BTreeSet<Subject>,
    /// What a request must meet beside, for all of them.
    pub conditions: Conditions,
}

/// Where a role comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleOrigin {
    /// The tool manages it.
    Managed(Box<ManagedRole>),
    /// It exists already: only its trust is managed.
    Given(RoleArn),
}

/// Whose role it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One environment's.
    Environment,
    /// Many environments', each of which registers itself.
    Shared {
        /// Whether an owned role stays when its last subject leaves.
        retain: bool,
    },
    /// Every environment's whose namespace matches a pattern.
    Cluster {
        /// The patterns.
        namespaces: BTreeSet<NamespacePattern>,
    },
}

/// A role that the tool manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedRole {
    /// Its name; made from ServiceAccount and namespace if not given, which only one environment's role need not.
    pub name: Option<RoleName>,
    /// The path below which the role is created: for one environment's role cluster and namespace follow it.
    pub path: RolePath,
    /// What it is like.
    pub attributes: RoleAttributes,
}
