//! What EKS holds: plain data that tests may arrange and read.
//!
//! Rules are elsewhere; nothing here refuses anything.

use std::{collections::BTreeMap, time::SystemTime};

/// An EKS cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The name.
    pub name: String,
    /// The address of its API server.
    pub endpoint: String,
    /// Its certificate authority, PEM.
    pub certificate_authority_pem: String,
    /// Its OIDC issuer, with `https://`.
    pub issuer: String,
    /// `ACTIVE`, unless a test says otherwise.
    pub status: String,
    /// The Kubernetes version.
    pub version: String,
    /// The role of the control plane.
    pub role_arn: String,
    /// When it was made.
    pub created: SystemTime,
    /// `API_AND_CONFIG_MAP`, as Qovery's clusters have it, unless a test says otherwise.
    pub authentication_mode: String,
    /// Whether EKS runs its nodes and the agent of Pod Identity on them (EKS Auto Mode).
    pub auto_mode: bool,
    /// The installed add-ons.
    pub addons: BTreeMap<String, Addon>,
    /// The access entries by the ARN of the principal.
    pub access_entries: BTreeMap<String, AccessEntry>,
    /// Pod Identity associations by id.
    pub associations: BTreeMap<String, PodIdentityAssociation>,
}

impl Cluster {
    /// Whether access entries count. Else only the `ConfigMap` `aws-auth` does, which is not here.
    pub(super) fn has_access_entries(&self) -> bool {
        self.authentication_mode != "CONFIG_MAP"
    }
}

/// An add-on of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addon {
    /// The version.
    pub version: String,
    /// `ACTIVE`, `CREATING`, `DEGRADED`, …
    pub status: String,
}

/// An access entry: a principal of IAM that may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The name in the cluster; `{{SessionName}}`, `{{SessionNameRaw}}` and `{{AccountID}}` are filled in.
    pub username: String,
    /// The groups in the cluster.
    pub groups: Vec<String>,
    /// The unique id of the principal when the entry was made; nothing if that is not known.
    pub principal_id: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last changed.
    pub modified: SystemTime,
}

/// An EKS Pod Identity association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentityAssociation {
    /// The namespace.
    pub namespace: String,
    /// The `ServiceAccount`.
    pub service_account: String,
    /// The role its pods get.
    pub role_arn: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: SystemTime,
}
