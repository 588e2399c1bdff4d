//! What was seen in the account and the cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    arn::{Account, PolicyArn, RoleArn},
    names::{Namespace, PolicyName, RoleName, ServiceAccountName, Subject},
    oidc::IssuerUrl,
    trust::TrustPolicy,
};

/// The tag that says whose role it is: `<namespace>/<service account>`.
pub const OWNER_TAG: &str = "qovery-irsa/owner";
/// The tag that says of which cluster: the issuer without `https://`.
pub const ISSUER_TAG: &str = "qovery-irsa/issuer";
/// With what every tag of the tool begins.
pub const OWN_TAG_PREFIX: &str = "qovery-irsa/";

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The account of the credentials.
    pub account: Account,
    /// The OIDC provider of the cluster, if there is one.
    pub provider: Option<ObservedProvider>,
    /// The roles that were looked for and are there, by the name they were looked for.
    pub roles: BTreeMap<RoleName, ObservedRole>,
    /// The ServiceAccounts that were looked for and are there.
    pub service_accounts: BTreeMap<ServiceAccountName, ObservedServiceAccount>,
}

/// An OIDC provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedProvider {
    /// The audiences it knows: IAM's client ids.
    pub audiences: BTreeSet<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRole {
    /// Its ARN, path and name in it.
    pub arn: RoleArn,
    /// Its description; empty if it has none.
    pub description: String,
    /// Seconds a session may last.
    pub max_session_duration: u32,
    /// The ARN of its permissions boundary.
    pub permissions_boundary: Option<PolicyArn>,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
    /// Its trust policy.
    pub trust: TrustPolicy,
    /// The managed policies attached to it.
    pub attached: BTreeSet<PolicyArn>,
    /// Its inline policies: all names, and the documents of those that were asked for.
    pub inline_policies: BTreeMap<PolicyName, Option<Value>>,
}

impl ObservedRole {
    /// The identity whose role this is, if the tool made it for one of this cluster.
    #[must_use]
    pub fn owner(&self, issuer: &IssuerUrl) -> Option<Subject> {
        let of_this_cluster = self.tags.get(ISSUER_TAG).is_some_and(|tag| tag == issuer.host_and_path());
        self.tags.get(OWNER_TAG).filter(|_| of_this_cluster)?.parse().ok()
    }
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedServiceAccount {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its unique id.
    pub uid: String,
    /// What is set on it, by field.
    pub values: BTreeMap<Field, String>,
    /// Which field managers hold which field.
    pub managers: BTreeMap<Field, BTreeSet<String>>,
}

/// A field that a field manager can hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `metadata.annotations.<key>`
    Annotation(String),
    /// `metadata.labels.<key>`
    Label(String),
    /// `automountServiceAccountToken`
    Automount,
    /// Any other, by its path.
    Other(String),
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Annotation(key) => write!(f, "annotation `{key}`"),
            Self::Label(key) => write!(f, "label `{key}`"),
            Self::Automount => f.write_str("`automountServiceAccountToken`"),
            Self::Other(path) => write!(f, "`{path}`"),
        }
    }
}
