//! What `bootstrap --cluster-access` declines to touch, and the way out.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::model::{arn::RoleArn, bootstrap::ObjectRef, names::Namespace};

/// What `bootstrap --cluster-access` declines to touch.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AccessRefusal {
    /// The cluster has no access entries.
    #[error("the cluster's authentication mode is `CONFIG_MAP`: it has no access entries")]
    ConfigMap,
    /// The API server has no admission policies.
    #[error(
        "the API server has no ValidatingAdmissionPolicy: it is older than Kubernetes 1.30, and without the guard the group could be every ServiceAccount"
    )]
    NoPolicies,
    /// The namespace does not exist.
    #[error("namespace `{0}` does not exist")]
    NoNamespace(Namespace),
    /// The namespace is going.
    #[error("namespace `{0}` is being deleted")]
    NamespaceEnds(Namespace),
    /// An object of the name is somebody else's.
    #[error("{0} exists, and `bootstrap` did not make it")]
    ForeignObject(ObjectRef),
    /// An object of the name is of another trust zone.
    #[error("{object} is of the cluster access that `bootstrap` made for role `{zone}`")]
    OtherZone {
        /// The object.
        object: ObjectRef,
        /// The job's role of that zone.
        zone: String,
    },
    /// Somebody else has changed what `bootstrap` applied.
    #[error("{object} differs, and a part of it belongs to {}", listed(managers))]
    Held {
        /// The object.
        object: ObjectRef,
        /// The field managers.
        managers: BTreeSet<String>,
    },
    /// The role has an access entry of somebody else's.
    #[error("role `{role}` has an access entry of type `{kind}` that `bootstrap` did not make")]
    ForeignEntry {
        /// The role.
        role: Box<RoleArn>,
        /// The type of the entry.
        kind: String,
    },
}

fn listed(managers: &BTreeSet<String>) -> String {
    managers.iter().map(|manager| format!("`{manager}`")).collect::<Vec<_>>().join(", ")
}

impl AccessRefusal {
    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::ConfigMap => "change it first, and know that there is no way back: `aws eks update-cluster-config --name CLUSTER --access-config authenticationMode=API_AND_CONFIG_MAP`. The ConfigMap goes on to count beside the entries".to_owned(),
            Self::NoPolicies => "update the cluster to Kubernetes 1.30 or newer; the jobs themselves need no cluster access".to_owned(),
            Self::NoNamespace(_) => "correct the name, or deploy something to its environment first: Qovery then makes it".to_owned(),
            Self::NamespaceEnds(_) => "wait until it is gone and create it again, or name another one".to_owned(),
            Self::ForeignObject(at) => format!(
                "if it was applied by hand from `docs/permissions`, see who is in group `qovery-irsa` and take them out, then delete the bindings and roles before the policy, and run this again: `kubectl get {} {} --output yaml`",
                at.kind.plural(),
                at.name
            ),
            Self::OtherZone { .. } => {
                "a cluster has one cluster access: add the namespaces to that zone, or take it away there with `bootstrap --delete`".to_owned()
            }
            Self::Held { object, managers } => format!(
                "see what {} changed and undo it there: `kubectl get {} {} --show-managed-fields --output yaml`",
                listed(managers),
                object.kind.plural(),
                object.name
            ),
            Self::ForeignEntry { role, .. } => {
                format!("see what it is for, then delete it by hand: `aws eks describe-access-entry --cluster-name CLUSTER --principal-arn {role}`")
            }
        }
    }
}
