//! Associations of EKS Pod Identity: which role the pods of a ServiceAccount get, as it should be and as it was seen.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    arn::{ExternalId, RoleArn},
    date::Date,
    marks::{JobMark, Marks, OWNER_TAG},
    names::{ClusterName, Subject},
    ownership::{Ownership, Part},
};

/// Whether EKS gives the sessions of pods tags that say of which cluster, namespace and ServiceAccount they are.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionTags {
    /// It does.
    #[default]
    On,
    /// It does not: the trust of a role cannot ask for them.
    Off,
}

/// What an update of an association can change.
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdatePodIdentityAssociation.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociationSettings {
    /// The role, in the cluster's account.
    pub role: RoleArn,
    /// The role that it assumes in turn, perhaps of another account: then the pods get this one.
    pub target: Option<RoleArn>,
    /// Whether sessions have tags.
    pub session_tags: SessionTags,
    /// What limits the sessions beside the role's own policies.
    pub session_policy: Option<Value>,
}

impl AssociationSettings {
    /// The role that the pods get in the end.
    #[must_use]
    pub fn of_pods(&self) -> &RoleArn {
        self.target.as_ref().unwrap_or(&self.role)
    }
}

/// An association as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredAssociation {
    /// The cluster.
    pub cluster: ClusterName,
    /// Namespace and ServiceAccount.
    pub subject: Subject,
    /// What can be changed later.
    pub settings: AssociationSettings,
    /// The external ID that the trust of the target role asks for, as far as the manifest says it: EKS makes one for each association.
    pub external_id: Option<ExternalId>,
    /// The tags beside the mark of the job: the user's, and the tool's own that says whose it is.
    pub tags: BTreeMap<String, String>,
    /// Tags that others have put on the one before, where it is made anew.
    pub kept: BTreeMap<String, String>,
    /// The job whose mark it carries.
    pub job: Option<JobMark>,
}

impl DesiredAssociation {
    /// All tags of a new one: the user's, the tool's own, the mark of the job, the record of which are the user's, and those of others.
    #[must_use]
    pub fn all_tags(&self) -> BTreeMap<String, String> {
        let mut ownership = Ownership::default();
        self.user_tags().for_each(|(key, _)| ownership.add(Part::Tag(key)));
        [self.kept.clone(), self.tags.clone(), self.own_tags(), ownership.to_tags()].into_iter().flatten().collect()
    }

    /// The tags that the manifest asks for.
    pub fn user_tags(&self) -> impl Iterator<Item = (&String, &String)> {
        self.tags.iter().filter(|(key, _)| *key != OWNER_TAG)
    }

    /// The tool's own tags: whose it is, and the mark of the job.
    #[must_use]
    pub fn own_tags(&self) -> BTreeMap<String, String> {
        let mark = self.job.as_ref().map(|job| (job.tag(), super::marks::Mark::Wanted.value()));
        mark.into_iter().chain([(OWNER_TAG.to_owned(), self.subject.to_string())]).collect()
    }
}

/// How long an association is taken to be unknown somewhere in EKS after it was made or changed. AWS says several seconds.
pub const PROPAGATION: Duration = Duration::from_mins(5);

/// The id of an association: `a-abcdefghijklmnop1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssociationId(String);

impl AssociationId {
    /// As EKS gives it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AssociationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An association that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedAssociation {
    /// Its id.
    pub id: AssociationId,
    /// Its ARN, by which it is tagged.
    pub arn: String,
    /// Namespace and ServiceAccount.
    pub subject: Subject,
    /// What can be changed.
    pub settings: AssociationSettings,
    /// The external ID with which its role assumes the target role.
    pub external_id: Option<ExternalId>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The ARN of the add-on that owns it.
    pub add_on: Option<String>,
    /// When it was made.
    pub created: Date,
    /// When it was last changed; when it was made, if it never was.
    pub changed: Date,
}

impl ObservedAssociation {
    /// Whether the tool made it for this ServiceAccount.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.tags.get(OWNER_TAG).is_some_and(|owner| *owner == self.subject.to_string()) && self.add_on.is_none()
    }

    /// Whether every pod that starts at this moment gets its role by it as it is: EKS takes some seconds to know what changes.
    /// <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html#pod-id-considerations>
    #[must_use]
    pub fn is_known_everywhere(&self, at: Date) -> bool {
        self.created.max(self.changed).after(PROPAGATION) <= at
    }

    /// The marks of the jobs that want it.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks::of_tags(&self.tags)
    }
}

/// Whether the cluster can give pods the credentials of associations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KnownAgent {
    /// Nobody looked.
    #[default]
    NotRead,
    /// It can: how, in words.
    Runs(String),
    /// It cannot: no agent was found in any of the places where it can be.
    Missing,
    /// It could not be seen: why, in words.
    Unknown(String),
}
