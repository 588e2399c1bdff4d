//! One changing call for cluster access.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    model::{
        arn::RoleArn,
        bootstrap::{ClusterObject, ObjectKind, ObjectRef},
        names::ClusterName,
    },
    plan::{Call, bootstrap::BootstrapAction},
};

/// One change in AWS or in the cluster, with all it needs: nothing is left to decide.
#[derive(Clone, Debug, PartialEq)]
pub enum AccessAction {
    /// A change of the role, in IAM.
    Role(BootstrapAction),
    /// A server-side apply.
    Apply {
        /// The object.
        object: ClusterObject,
        /// The uid of the one that was seen; nothing where there is none yet.
        seen: Option<String>,
        /// What it changes, one value a line; of a new one nothing, since the published files say it.
        difference: Vec<String>,
    },
    /// `CreateAccessEntry`. Before it, the guard has to be in force.
    CreateEntry {
        /// The cluster.
        cluster: ClusterName,
        /// Whom it lets in.
        role: RoleArn,
        /// Its groups.
        groups: BTreeSet<String>,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// `UpdateAccessEntry`
    UpdateEntry {
        /// The cluster.
        cluster: ClusterName,
        /// Whom it lets in.
        role: RoleArn,
        /// The groups that it has.
        before: BTreeSet<String>,
        /// Its groups.
        groups: BTreeSet<String>,
    },
    /// `TagResource`
    TagEntry {
        /// Whom it lets in.
        role: RoleArn,
        /// The ARN of the entry.
        arn: String,
        /// The tags to set.
        tags: BTreeMap<String, String>,
    },
    /// `DeleteAccessEntry`
    DeleteEntry {
        /// The cluster.
        cluster: ClusterName,
        /// Whom it lets in.
        role: RoleArn,
    },
    /// A deletion.
    Delete {
        /// The object.
        at: ObjectRef,
        /// Its uid.
        uid: String,
    },
}

impl AccessAction {
    /// Whether it lets somebody into the group, so that the guard has to be in force before it.
    #[must_use]
    pub fn lets_in(&self) -> bool {
        matches!(self, Self::CreateEntry { .. } | Self::UpdateEntry { .. })
    }
}

impl Call for AccessAction {
    fn call(&self) -> &'static str {
        match self {
            Self::Role(action) => action.call(),
            Self::Apply { object, .. } => applies(object.at.kind),
            Self::CreateEntry { .. } => "eks:CreateAccessEntry",
            Self::UpdateEntry { .. } => "eks:UpdateAccessEntry",
            Self::TagEntry { .. } => "eks:TagResource",
            Self::DeleteEntry { .. } => "eks:DeleteAccessEntry",
            Self::Delete { at, .. } => deletes(at.kind),
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Role(action) => action.details(),
            Self::Apply { difference, .. } => difference.clone(),
            Self::UpdateEntry { before, groups, .. } => {
                vec![format!("- groups: {}", listed(before)), format!("+ groups: {}", listed(groups))]
            }
            _ => Vec::new(),
        }
    }
}

fn applies(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::AdmissionPolicy => "kubernetes:patch validatingadmissionpolicies",
        ObjectKind::AdmissionPolicyBinding => "kubernetes:patch validatingadmissionpolicybindings",
        ObjectKind::ClusterRole => "kubernetes:patch clusterroles",
        ObjectKind::ClusterRoleBinding => "kubernetes:patch clusterrolebindings",
        ObjectKind::Role => "kubernetes:patch roles",
        ObjectKind::RoleBinding => "kubernetes:patch rolebindings",
        ObjectKind::ServiceAccount => "kubernetes:patch serviceaccounts",
    }
}

fn deletes(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::AdmissionPolicy => "kubernetes:delete validatingadmissionpolicies",
        ObjectKind::AdmissionPolicyBinding => "kubernetes:delete validatingadmissionpolicybindings",
        ObjectKind::ClusterRole => "kubernetes:delete clusterroles",
        ObjectKind::ClusterRoleBinding => "kubernetes:delete clusterrolebindings",
        ObjectKind::Role => "kubernetes:delete roles",
        ObjectKind::RoleBinding => "kubernetes:delete rolebindings",
        ObjectKind::ServiceAccount => "kubernetes:delete serviceaccounts",
    }
}

/// One line, as the plan and the report show it.
impl fmt::Display for AccessAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(action) => action.fmt(f),
            Self::Apply { object, seen: None, .. } => write!(f, "create {}", object.at),
            Self::Apply { object, .. } => write!(f, "change {}", object.at),
            Self::CreateEntry { cluster, role, groups, .. } => {
                write!(f, "create the access entry of role `{role}` in EKS cluster `{cluster}` with groups {}", listed(groups))
            }
            Self::UpdateEntry { cluster, role, .. } => {
                write!(f, "change the groups of the access entry of role `{role}` in EKS cluster `{cluster}`")
            }
            Self::TagEntry { role, tags, .. } => {
                let tags = tags.iter().map(|(key, value)| format!("`{key}` = `{value}`")).collect::<Vec<_>>().join(", ");
                write!(f, "tag the access entry of role `{role}`: {tags}")
            }
            Self::DeleteEntry { cluster, role } => {
                write!(f, "delete the access entry of role `{role}` in EKS cluster `{cluster}`")
            }
            Self::Delete { at, .. } => write!(f, "delete {at}"),
        }
    }
}

fn listed(groups: &BTreeSet<String>) -> String {
    if groups.is_empty() {
        return "none".to_owned();
    }
    groups.iter().map(|group| format!("`{group}`")).collect::<Vec<_>>().join(", ")
}
