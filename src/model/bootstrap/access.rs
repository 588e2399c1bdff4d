//! Who reaches the whole cluster, as it should be and as it was seen: a role for one ServiceAccount, its access entry, and what the cluster keeps.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BootstrapSpec, DesiredBootstrap,
    cluster_object::{ClusterObject, ObjectRef, ObservedObject},
    cluster_rights::{guard, rights, service_account},
};
use crate::model::{
    arn::RoleArn,
    names::{Namespace, RoleName, RolePath, Subject},
    observed::ObservedRole,
    subjects::SubjectPattern,
    trust::Trusted,
};

/// How a cluster knows principals of IAM.
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_AccessConfigResponse.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthenticationMode {
    /// By access entries, alone or beside the `ConfigMap` `aws-auth`; or EKS does not say.
    #[default]
    AccessEntries,
    /// By the `ConfigMap` `aws-auth` alone.
    ConfigMap,
}

/// An access entry of the cluster.
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_AccessEntry.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The groups that it puts its principal in.
    pub groups: BTreeSet<String>,
    /// `STANDARD` for people and pods.
    pub kind: String,
    /// Its ARN.
    pub arn: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What cluster access should be.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredAccess {
    /// The one ServiceAccount that gets it.
    pub subject: Subject,
    /// Its role, with trust, permissions and tags. The rest of a zone is not looked at here.
    pub role: DesiredBootstrap,
    /// The job's role, which names the zone.
    pub zone: RoleArn,
    /// What bounds the group in the cluster, in the order in which it is applied.
    pub guard: Vec<ClusterObject>,
    /// What the group may do in the cluster.
    pub rights: Vec<ClusterObject>,
    /// The ServiceAccount.
    pub service_account: Option<ClusterObject>,
}

/// The type of an access entry that names groups.
pub const STANDARD: &str = "STANDARD";

/// What the name of the role that reaches the cluster ends with.
const SUFFIX: &str = "-access";

/// The name of the role that reaches the cluster; nothing if the job's role has so long a name that there is none.
#[must_use]
pub fn access_role(job: &RoleName) -> Option<RoleName> {
    format!("{job}{SUFFIX}").parse().ok()
}

impl DesiredAccess {
    /// Cluster access of a zone; nothing if the spec has none, or the role's name would be too long.
    #[must_use]
    pub fn new(spec: &BootstrapSpec, zone: &DesiredBootstrap) -> Option<Self> {
        let subject = spec.access.clone()?;
        let account = &zone.role.account;
        let role = account.role_arn(&RolePath::top(), &access_role(&spec.role)?);
        let mut trusted = Trusted::nobody(zone.trusted.kind);
        trusted.add(&zone.audience.clone().into(), SubjectPattern::read(&subject.claim()));
        Some(Self {
            guard: guard(spec, &subject, account, &zone.role),
            rights: rights(spec, &zone.role),
            service_account: service_account(&subject, &role, &zone.role),
            zone: zone.role.clone(),
            role: DesiredBootstrap {
                role,
                description: format!("What sweep and list of qovery-irsa may do in EKS cluster {}", spec.cluster),
                trusted,
                boundary: None,
                agent: false,
                ..zone.clone()
            },
            subject,
        })
    }

    /// Everything that the cluster keeps, in the order in which it is applied.
    pub fn objects(&self) -> impl Iterator<Item = &ClusterObject> {
        self.guard.iter().chain(&self.rights).chain(&self.service_account)
    }
}

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedNamespace {
    /// It is not there.
    Missing,
    /// It is being deleted.
    Ends,
    /// It is there.
    There,
}

/// What was seen of cluster access.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedAccess {
    /// The role.
    pub role: Option<ObservedRole>,
    /// How the cluster knows principals.
    pub mode: AuthenticationMode,
    /// The access entry of the role; nothing where the mode has none.
    pub entry: Option<AccessEntry>,
    /// Whether the API server has admission policies.
    pub has_policies: bool,
    /// The namespace of the ServiceAccount.
    pub namespace: (Namespace, ObservedNamespace),
    /// The objects that are there.
    pub objects: BTreeMap<ObjectRef, ObservedObject>,
}
