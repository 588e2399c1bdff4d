//! What EKS holds: plain data that tests may arrange and read.
//!
//! Rules are elsewhere; nothing here refuses anything.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

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
    /// The last association that was deleted, by namespace and `ServiceAccount`.
    pub recently_deleted: BTreeMap<(String, String), DeletedAssociation>,
}

impl Cluster {
    /// Whether access entries count. Else only the `ConfigMap` `aws-auth` does, which is not here.
    pub(super) fn has_access_entries(&self) -> bool {
        self.authentication_mode != "CONFIG_MAP"
    }
}

/// An add-on of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addon {
    /// The version.
    pub version: String,
    /// `ACTIVE`, `CREATING`, `DEGRADED`, …
    pub status: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// From when on one that is being made is `ACTIVE`.
    pub active_from: Option<SystemTime>,
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
    /// The role its pods get, or on whose way they get the target role.
    pub role_arn: String,
    /// The role that this role assumes for them.
    pub target_role_arn: Option<String>,
    /// Whether their sessions have no tags.
    pub disable_session_tags: bool,
    /// The policy that narrows their sessions, as text.
    pub policy: Option<String>,
    /// The add-on that has made it.
    pub owner_arn: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// By which a repeated request is known.
    pub client_request_token: Option<String>,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last changed.
    pub modified: SystemTime,
    /// What it was before that.
    pub before: Option<Box<PodIdentityAssociation>>,
}

impl PodIdentityAssociation {
    /// A plain one.
    #[must_use]
    pub fn new(namespace: &str, service_account: &str, role_arn: &str, created: SystemTime) -> Self {
        Self {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            role_arn: role_arn.to_owned(),
            target_role_arn: None,
            disable_session_tags: false,
            policy: None,
            owner_arn: None,
            tags: BTreeMap::new(),
            client_request_token: None,
            created,
            modified: created,
            before: None,
        }
    }

    /// Namespace and `ServiceAccount`: of these there is one.
    pub(super) fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.service_account.clone())
    }

    /// Whether the request for another one is that for this one, sent again.
    pub(super) fn was_asked_for_by(&self, other: &Self) -> bool {
        let same = Self { created: self.created, modified: self.modified, ..other.clone() };
        self.client_request_token.is_some() && *self == same
    }

    /// What it was at that time, if it was there: its last change is remembered, not those before.
    pub(super) fn as_of(&self, then: SystemTime) -> Option<&Self> {
        let last = if self.modified > then { self.before.as_deref().unwrap_or(self) } else { self };
        (self.created <= then).then_some(last)
    }
}

/// An association that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedAssociation {
    /// Its id.
    pub id: String,
    /// What it was.
    pub association: PodIdentityAssociation,
    /// When it was deleted.
    pub at: SystemTime,
}

/// How EKS is where its public sources are silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct EksWorld {
    /// How long it takes to notice what has changed.
    pub(in super::super) delay: Duration,
    /// Whether lists and descriptions of associations are as late as their effect.
    pub(in super::super) shows_associations_late: bool,
    /// Whether Pod Identity takes a token of a pod that has no node.
    pub(in super::super) takes_unscheduled_pods: bool,
}

impl Default for EksWorld {
    fn default() -> Self {
        Self { delay: Duration::ZERO, shows_associations_late: false, takes_unscheduled_pods: true }
    }
}
