//! The spec of a trust zone, and the names that what is made of it has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::{
    agent::AutoMode,
    arn::{Account, PolicyArn, RoleArn},
    names::{ClusterName, NamespacePattern, Region, RoleName, RolePath, ServiceAccountName, Subject, TagKey, TagValue},
    oidc::IssuerUrl,
};

/// The value of the tag `qovery-irsa/owner` of what `bootstrap` makes in AWS.
pub const BOOTSTRAP: &str = "bootstrap";
/// The tag that says for which cluster it was made.
pub const CLUSTER_TAG: &str = "qovery-irsa/cluster";
/// The tag that says in which region that cluster is: an account may have two of one name.
pub const REGION_TAG: &str = "qovery-irsa/region";
/// The inline policy of the job's role.
pub const JOB_POLICY: &str = "qovery-irsa";

/// What people read about the policy that bounds the jobs' roles.
pub const BOUNDARY_DESCRIPTION: &str = "What roles of the qovery-irsa jobs can have at most";

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
    /// The keys of the tags that roles get from the manifest. With a boundary the jobs may set these tags and no others.
    pub role_tags: BTreeSet<TagKey>,
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

/// The cluster as EKS describes it, and the account of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The account, which is the cluster's.
    pub account: Account,
    /// The region.
    pub region: Region,
    /// The cluster's OIDC issuer.
    pub issuer: IssuerUrl,
    /// Whether EKS runs the nodes, and the agent of EKS Pod Identity on them.
    pub auto_mode: AutoMode,
}
