//! What `bootstrap` makes once for a cluster, so that the jobs of its environments run without a key: as it should be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    arn::{PolicyArn, RoleArn},
    names::{ClusterName, Namespace, NamespacePattern, Region, RoleName, RolePath, ServiceAccountName, Subject, TagKey, TagValue},
};

/// One trust zone: a cluster, the namespaces whose jobs may use the job's role, and what that role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapSpec {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its region; that of the AWS profile if not given.
    pub region: Option<Region>,
    /// The namespaces whose jobs may use the job's role, at least one pattern.
    pub namespaces: BTreeSet<NamespacePattern>,
    /// The ServiceAccount that the jobs run as.
    pub service_account: ServiceAccountName,
    /// The job's role. It stands outside `path`.
    pub role: RoleName,
    /// The path below which the jobs make roles.
    pub path: RolePath,
    /// What these roles can have at most.
    pub boundary: BoundaryChoice,
    /// Shared and existing roles that the jobs may change as well.
    pub roles: BTreeSet<RoleArn>,
    /// Whether identities may use EKS Pod Identity.
    pub pod_identity: bool,
    /// Who may reach the whole cluster; nobody if not given.
    pub access: Option<Subject>,
    /// Tags of what is made in AWS.
    pub tags: BTreeMap<TagKey, TagValue>,
}

/// What bounds the roles that the jobs make. There is no default: whoever bootstraps decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundaryChoice {
    /// A managed policy that is there.
    Policy(PolicyArn),
    /// A managed policy that `bootstrap` makes of this document, with a version for each change.
    Document(Value),
    /// Nothing: the jobs may give any permission.
    None,
}

/// The namespace that a pattern of the spec could be narrowed by: the one that all namespaces of a Qovery project have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectNamespaces {
    /// The project's id or name, as the person gave it.
    pub project: String,
    /// The namespaces of its environments.
    pub namespaces: BTreeSet<Namespace>,
}
