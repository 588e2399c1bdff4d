//! What `bootstrap` declines to touch, and the way out.

use thiserror::Error;

use crate::model::{
    arn::{PolicyArn, RoleArn},
    names::RoleName,
};

/// What `bootstrap` declines to touch.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BootstrapRefusal {
    /// A role of the job's name was not made by `bootstrap` for this cluster.
    #[error("role `{role}` exists, and `bootstrap` did not make it for this cluster{}", whose(found.as_deref()))]
    ForeignRole {
        /// The role.
        role: Box<RoleArn>,
        /// The cluster that its tags name, with its region.
        found: Option<String>,
    },
    /// A policy of the boundary's name was not made by `bootstrap` for this cluster.
    #[error("policy `{policy}` exists, and `bootstrap` did not make it for this cluster{}", whose(found.as_deref()))]
    ForeignPolicy {
        /// The policy.
        policy: Box<PolicyArn>,
        /// The cluster that its tags name, with its region.
        found: Option<String>,
    },
    /// The boundary that is named is not there.
    #[error("policy `{0}` does not exist: it is named as permissions boundary")]
    NoBoundary(Box<PolicyArn>),
    /// Roles that the jobs made are there yet.
    #[error("{count} still {} on this cluster: {}", if count.0 == 1 { "relies" } else { "rely" }, some(roles, *count))]
    RolesBelow {
        /// How many, in words: `3 roles`.
        count: Counted,
        /// The first of them.
        roles: Vec<String>,
    },
    /// Something is on the job's role that `bootstrap` did not put there.
    #[error("role `{role}` cannot be deleted: it has {what}")]
    RoleInUse {
        /// The role.
        role: RoleName,
        /// What it has, in words.
        what: String,
    },
    /// The boundary is in use.
    #[error("policy `{policy}` cannot be deleted: it is attached to, or the permissions boundary of, {uses}")]
    PolicyInUse {
        /// The policy.
        policy: Box<PolicyArn>,
        /// How many use it, in words.
        uses: String,
    },
}

/// How many roles there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted(pub usize);

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::model::line::counted(self.0, "role"))
    }
}

fn whose(found: Option<&str>) -> String {
    found.map(|cluster| format!(": its tags name cluster {cluster}")).unwrap_or_default()
}

fn some(roles: &[String], count: Counted) -> String {
    let named = roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(", ");
    match count.0.saturating_sub(roles.len()) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

impl BootstrapRefusal {
    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::ForeignRole { .. } => {
                "give the job's role another name (`cluster.role`), or delete that role by hand if nobody needs it. A cluster of the same name in another region needs another `path` too: the jobs of both could change the same roles"
                    .to_owned()
            }
            Self::ForeignPolicy { .. } => {
                "give the job's role another name (`cluster.role`), which names the policy too; or give the ARN of that policy as `--boundary`"
                    .to_owned()
            }
            Self::NoBoundary(_) => "correct the ARN, or give a file with the policy document: `bootstrap` then makes the policy".to_owned(),
            Self::RolesBelow { .. } => {
                "delete the environments that use them, then run `sweep`; a role that a person made or keeps must be deleted by hand".to_owned()
            }
            Self::RoleInUse { .. } => "take that off the role by hand, then run `bootstrap --delete` again".to_owned(),
            Self::PolicyInUse { policy, .. } => {
                format!("see who uses it (`aws iam list-entities-for-policy --policy-arn {policy}`), and take it away there first")
            }
        }
    }
}
