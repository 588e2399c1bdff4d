//! One changing call: what a plan is made of, what is printed and what `apply` carries out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

use crate::model::{
    anchor::Grant,
    applied::{AppliedServiceAccount, Applying, Seen},
    arn::PolicyArn,
    association::{AssociationId, AssociationSettings, DesiredAssociation},
    gather::Gather as _,
    marks::{JobMark, Mark},
    names::{ClusterName, PolicyName, RoleName, ServiceAccountName, Subject},
    oidc::{Audience, Provider},
    role::{NewRole, RoleSettings},
    service::{Service, ServiceKind},
    subjects::SubjectPattern,
    trust::{TrustPolicy, Trusted},
};

/// One changing call, as it is printed and as logs name it.
pub trait Call: std::fmt::Display {
    /// The API call that it is.
    fn call(&self) -> &'static str;

    /// What changes in the documents that it sends, one statement a line with `+` or `-` before it; most calls say it all in their own line.
    fn details(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One change in AWS, Kubernetes or Qovery, with all it needs: nothing is left to decide.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `CreateOpenIDConnectProvider`
    CreateProvider {
        /// The provider to be.
        provider: Provider,
        /// Its audiences.
        audiences: BTreeSet<Audience>,
    },
    /// `AddClientIDToOpenIDConnectProvider`
    AddAudience {
        /// The provider.
        provider: Provider,
        /// The audience it lacks.
        audience: Audience,
    },
    /// `DeleteOpenIDConnectProvider`
    DeleteProvider {
        /// The provider.
        provider: Provider,
    },
    /// `CreateRole`
    CreateRole(Box<NewRole>),
    /// `UpdateRole`
    UpdateRole {
        /// The role.
        role: RoleName,
        /// What it is to be like.
        settings: RoleSettings,
    },
    /// `PutRolePermissionsBoundary`
    PutBoundary {
        /// The role.
        role: RoleName,
        /// The policy that bounds it.
        boundary: PolicyArn,
    },
    /// `DeleteRolePermissionsBoundary`
    DeleteBoundary {
        /// The role.
        role: RoleName,
    },
    /// `TagRole`
    TagRole {
        /// The role.
        role: RoleName,
        /// The tags to set.
        tags: BTreeMap<String, String>,
    },
    /// `UntagRole`
    UntagRole {
        /// The role.
        role: RoleName,
        /// The keys to remove.
        keys: BTreeSet<String>,
    },
    /// `UpdateAssumeRolePolicy`
    UpdateTrust {
        /// The role.
        role: RoleName,
        /// The whole document.
        trust: TrustPolicy,
        /// Whom it lets in that the document before did not, and the other way round.
        subjects: SubjectChange,
    },
    /// `AttachRolePolicy`
    AttachPolicy {
        /// The role.
        role: RoleName,
        /// The managed policy.
        policy: PolicyArn,
    },
    /// `DetachRolePolicy`
    DetachPolicy {
        /// The role.
        role: RoleName,
        /// The managed policy.
        policy: PolicyArn,
    },
    /// `PutRolePolicy`
    PutInlinePolicy {
        /// The role.
        role: RoleName,
        /// The policy's name.
        policy: PolicyName,
        /// The whole document.
        document: Value,
    },
    /// `DeleteRolePolicy`
    DeleteInlinePolicy {
        /// The role.
        role: RoleName,
        /// The policy's name.
        policy: PolicyName,
    },
    /// `DeleteRole`
    DeleteRole {
        /// The role.
        role: RoleName,
    },
    /// `CreatePodIdentityAssociation`
    CreateAssociation(Box<DesiredAssociation>),
    /// `UpdatePodIdentityAssociation`
    UpdateAssociation {
        /// The cluster.
        cluster: ClusterName,
        /// The association.
        id: AssociationId,
        /// Its namespace and ServiceAccount.
        subject: Subject,
        /// What it is to be like.
        settings: AssociationSettings,
    },
    /// `TagResource` of EKS
    TagAssociation {
        /// The cluster.
        cluster: ClusterName,
        /// The association.
        id: AssociationId,
        /// Its ARN.
        arn: String,
        /// Its namespace and ServiceAccount.
        subject: Subject,
        /// The tags to set.
        tags: BTreeMap<String, String>,
    },
    /// `UntagResource` of EKS
    UntagAssociation {
        /// The cluster.
        cluster: ClusterName,
        /// The association.
        id: AssociationId,
        /// Its ARN.
        arn: String,
        /// Its namespace and ServiceAccount.
        subject: Subject,
        /// The keys to remove.
        keys: BTreeSet<String>,
    },
    /// `DeletePodIdentityAssociation`
    DeleteAssociation {
        /// The cluster.
        cluster: ClusterName,
        /// The association.
        id: AssociationId,
        /// Its namespace and ServiceAccount.
        subject: Subject,
    },
    /// A server-side apply of the ServiceAccount.
    ApplyServiceAccount(Box<AppliedServiceAccount>),
    /// A server-side apply of one job's mark, by its own field manager: of nothing else, and without a mark of nothing at all.
    MarkServiceAccount {
        /// The ServiceAccount.
        subject: Subject,
        /// The job.
        job: JobMark,
        /// Its mark, or none any more.
        mark: Option<Mark>,
        /// The one that was seen, if it was: one that has gone is not made again.
        uid: Option<String>,
        /// Whether another value, of a person's hand or a restore, is taken.
        force: bool,
    },
    /// A server-side apply of nothing: the tool lets go of its fields.
    ReleaseServiceAccount {
        /// The ServiceAccount.
        subject: Subject,
        /// The one that was seen: one that has gone is not made again.
        uid: String,
    },
    /// `DELETE` of the ServiceAccount.
    DeleteServiceAccount {
        /// The ServiceAccount.
        subject: Subject,
        /// The one that was seen: another of that name stays, and one that somebody has changed since.
        seen: Seen,
    },
    /// The service's advanced setting `security.service_account_name`: read, one key changed, written back whole.
    BindService {
        /// The service.
        service: Service,
        /// The ServiceAccount it is to ask for.
        service_account: ServiceAccountName,
        /// What it asked for when it was seen: another value by now is somebody else's doing.
        before: Option<String>,
    },
}

/// Which subjects a new trust policy adds and removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectChange {
    /// The subjects or patterns it adds.
    pub added: BTreeSet<SubjectPattern>,
    /// The subjects or patterns it removes.
    pub removed: BTreeSet<SubjectPattern>,
    /// The audiences of tokens that it takes and the one before did not.
    pub new_audiences: BTreeSet<Audience>,
    /// The audiences of tokens that it no longer takes.
    pub old_audiences: BTreeSet<Audience>,
    /// Whether somebody whom it let in before is let in under other or fewer conditions, or with other tokens.
    pub loosened: bool,
    /// Whether conditions of one's own come, go or change.
    pub conditions: bool,
    /// By which binding, where the role is trusted by the other too.
    pub by: Option<Means>,
}

/// How subjects get a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By a token that they show STS.
    Irsa,
    /// By an association.
    PodIdentity,
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Irsa => "IRSA",
            Self::PodIdentity => "EKS Pod Identity",
        })
    }
}

impl SubjectChange {
    /// What changes between two sets of subjects or patterns.
    #[must_use]
    pub fn between(before: &BTreeSet<SubjectPattern>, after: &BTreeSet<SubjectPattern>) -> Self {
        Self { added: after.difference(before).cloned().collect(), removed: before.difference(after).cloned().collect(), ..Self::default() }
    }

    /// The same, with what changes beside the names: audiences and conditions.
    #[must_use]
    pub fn with_grants(self, before: &Trusted, after: &Trusted) -> Self {
        // Where nobody was let in before, or is after, that is no news.
        if before.subjects.is_empty() || after.subjects.is_empty() {
            return self;
        }
        let audiences = |trusted: &Trusted| trusted.subjects.keys().map(|grant| grant.audience.clone()).collect::<BTreeSet<_>>();
        let (one, other) = (audiences(before), audiences(after));
        // Only what adds conditions to none is certainly no looser.
        let stands = |grant: &Grant, subject: &SubjectPattern| {
            let unconditional = Grant::from(grant.audience.clone());
            [grant, &unconditional].iter().any(|grant| before.subjects.get(grant).is_some_and(|subjects| subjects.contains(subject)))
        };
        let known = |subject: &SubjectPattern| before.all().any(|other| other == subject);
        let mut subjects = after.subjects.iter().flat_map(|(grant, subjects)| subjects.iter().map(move |subject| (grant, subject)));
        let loosened = subjects.any(|(grant, subject)| known(subject) && !stands(grant, subject));
        // Whoever comes or goes with conditions is named; here only those who stay count.
        let asked = |trusted: &Trusted, of: &Trusted| {
            let stays = |subject: &&SubjectPattern| of.all().any(|other| other == *subject);
            let subjects = trusted.subjects.iter();
            let subjects =
                subjects.flat_map(|(grant, subjects)| subjects.iter().filter(stays).map(move |subject| (subject, &grant.conditions)));
            subjects.map(|(subject, conditions)| (subject.clone(), conditions.clone())).collect::<BTreeSet<_>>()
        };
        let conditions = asked(before, after) != asked(after, before);
        let (new_audiences, old_audiences) = (other.difference(&one).cloned().gather(), one.difference(&other).cloned().gather());
        Self { new_audiences, old_audiences, loosened, conditions, ..self }
    }
}

impl fmt::Display for SubjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.added.is_empty(), self.removed.is_empty()) {
            (false, false) => write!(f, "trust {}, no longer {}", trusted(&self.added), trusted(&self.removed)),
            (false, true) => write!(f, "trust {}", trusted(&self.added)),
            (true, false) => write!(f, "no longer trust {}", trusted(&self.removed)),
            (true, true) => f.write_str("same subjects"),
        }?;
        if !self.new_audiences.is_empty() {
            write!(f, ", tokens now for {}", listed(&self.new_audiences))?;
        }
        if !self.old_audiences.is_empty() {
            write!(f, ", no longer tokens for {}", listed(&self.old_audiences))?;
        }
        if self.conditions {
            f.write_str(", under other conditions")?;
        }
        self.by.map_or(Ok(()), |by| write!(f, ", by {by}"))
    }
}

impl Action {
    /// The role that it changes: one that exists already.
    #[must_use]
    pub fn changed_role(&self) -> Option<&RoleName> {
        match self {
            Self::UpdateRole { role, .. }
            | Self::PutBoundary { role, .. }
            | Self::DeleteBoundary { role }
            | Self::TagRole { role, .. }
            | Self::UntagRole { role, .. }
            | Self::UpdateTrust { role, .. }
            | Self::AttachPolicy { role, .. }
            | Self::DetachPolicy { role, .. }
            | Self::PutInlinePolicy { role, .. }
            | Self::DeleteInlinePolicy { role, .. }
            | Self::DeleteRole { role } => Some(role),
            _ => None,
        }
    }

    /// Whether it takes something from a role, or the role itself: what is gone already need not be taken.
    #[must_use]
    pub fn takes_from_role(&self) -> bool {
        matches!(
            self,
            Self::DeleteBoundary { .. }
                | Self::UntagRole { .. }
                | Self::DetachPolicy { .. }
                | Self::DeleteInlinePolicy { .. }
                | Self::DeleteRole { .. }
        )
    }

    /// Whether it takes something from an association, or the association itself.
    #[must_use]
    pub fn takes_from_association(&self) -> bool {
        matches!(self, Self::UntagAssociation { .. } | Self::DeleteAssociation { .. })
    }

    /// The association that it changes or deletes: one that exists already.
    #[must_use]
    pub fn changed_association(&self) -> Option<(&ClusterName, &AssociationId)> {
        match self {
            Self::UpdateAssociation { cluster, id, .. }
            | Self::TagAssociation { cluster, id, .. }
            | Self::UntagAssociation { cluster, id, .. }
            | Self::DeleteAssociation { cluster, id, .. } => Some((cluster, id)),
            _ => None,
        }
    }

    /// The role that it gives to a ServiceAccount by an association.
    #[must_use]
    pub fn associated_role(&self) -> Option<&RoleName> {
        match self {
            Self::CreateAssociation(association) => Some(&association.settings.role.name),
            Self::UpdateAssociation { settings, .. } => Some(&settings.role.name),
            _ => None,
        }
    }

    /// Whether it changes who gets this role, so that it may take a while until STS or EKS knows.
    #[must_use]
    pub fn changes_chain_to(&self, name: &RoleName) -> bool {
        match self {
            Self::CreateProvider { .. } | Self::AddAudience { .. } => true,
            Self::CreateRole(role) => role.arn.name == *name,
            Self::UpdateTrust { role, .. } => role == name,
            _ => self.associated_role() == Some(name),
        }
    }
}

impl Call for Action {
    /// As `CloudTrail` or an audit log shows it.
    fn call(&self) -> &'static str {
        match self {
            Self::CreateProvider { .. } => "iam:CreateOpenIDConnectProvider",
            Self::AddAudience { .. } => "iam:AddClientIDToOpenIDConnectProvider",
            Self::DeleteProvider { .. } => "iam:DeleteOpenIDConnectProvider",
            Self::CreateRole(_) => "iam:CreateRole",
            Self::UpdateRole { .. } => "iam:UpdateRole",
            Self::PutBoundary { .. } => "iam:PutRolePermissionsBoundary",
            Self::DeleteBoundary { .. } => "iam:DeleteRolePermissionsBoundary",
            Self::TagRole { .. } => "iam:TagRole",
            Self::UntagRole { .. } => "iam:UntagRole",
            Self::UpdateTrust { .. } => "iam:UpdateAssumeRolePolicy",
            Self::AttachPolicy { .. } => "iam:AttachRolePolicy",
            Self::DetachPolicy { .. } => "iam:DetachRolePolicy",
            Self::PutInlinePolicy { .. } => "iam:PutRolePolicy",
            Self::DeleteInlinePolicy { .. } => "iam:DeleteRolePolicy",
            Self::DeleteRole { .. } => "iam:DeleteRole",
            Self::CreateAssociation(_) => "eks:CreatePodIdentityAssociation",
            Self::UpdateAssociation { .. } => "eks:UpdatePodIdentityAssociation",
            Self::TagAssociation { .. } => "eks:TagResource",
            Self::UntagAssociation { .. } => "eks:UntagResource",
            Self::DeleteAssociation { .. } => "eks:DeletePodIdentityAssociation",
            Self::ApplyServiceAccount(_) | Self::MarkServiceAccount { .. } | Self::ReleaseServiceAccount { .. } => {
                "kubernetes:patch serviceaccounts"
            }
            Self::DeleteServiceAccount { .. } => "kubernetes:delete serviceaccounts",
            Self::BindService { service, .. } => settings_call(&service.kind),
        }
    }
}

/// The call that changes the advanced settings of a service.
pub(super) fn settings_call(kind: &ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Application => "qovery:PUT /application/{id}/advancedSettings",
        ServiceKind::Container => "qovery:PUT /container/{id}/advancedSettings",
        ServiceKind::Terraform => "qovery:PUT /terraform/{id}/advancedSettings",
        ServiceKind::Job | ServiceKind::Other(_) => "qovery:PUT /job/{id}/advancedSettings",
    }
}

/// One line, as the plan and the report show it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateProvider { provider, audiences } => {
                write!(f, "create OIDC provider `{}` with audience {}", provider.issuer.host_and_path(), listed(audiences))
            }
            Self::AddAudience { provider, audience } => {
                write!(f, "add audience `{audience}` to OIDC provider `{}`", provider.issuer.host_and_path())
            }
            Self::DeleteProvider { provider } => write!(f, "delete OIDC provider `{}`", provider.issuer.host_and_path()),
            Self::CreateRole(role) => {
                write!(f, "create role `{}` below `{}`, trusting {}", role.arn.name, role.arn.path, trusted(&role.subjects))
            }
            Self::UpdateRole { role, settings } => {
                write!(f, "update role `{role}`: description, sessions of {} s", settings.max_session_duration)
            }
            Self::PutBoundary { role, boundary } => write!(f, "put permissions boundary `{boundary}` on role `{role}`"),
            Self::DeleteBoundary { role } => write!(f, "delete the permissions boundary of role `{role}`"),
            Self::TagRole { role, tags } => write!(f, "tag role `{role}` with {}", listed(tags.keys())),
            Self::UntagRole { role, keys } => write!(f, "untag role `{role}`: {}", listed(keys)),
            Self::UpdateTrust { role, subjects, .. } => write!(f, "update the trust policy of role `{role}`: {subjects}"),
            Self::AttachPolicy { role, policy } => write!(f, "attach policy `{policy}` to role `{role}`"),
            Self::DetachPolicy { role, policy } => write!(f, "detach policy `{policy}` from role `{role}`"),
            Self::PutInlinePolicy { role, policy, .. } => write!(f, "put inline policy `{policy}` on role `{role}`"),
            Self::DeleteInlinePolicy { role, policy } => write!(f, "delete inline policy `{policy}` of role `{role}`"),
            Self::DeleteRole { role } => write!(f, "delete role `{role}`"),
            Self::CreateAssociation(association) => {
                let DesiredAssociation { subject, settings, .. } = &**association;
                write!(f, "associate ServiceAccount `{subject}` with role `{}`", settings.role)?;
                settings.target.as_ref().map_or(Ok(()), |target| write!(f, ", which assumes role `{target}`"))
            }
            Self::UpdateAssociation { subject, settings, .. } => {
                write!(f, "update the association of ServiceAccount `{subject}` with role `{}`", settings.role)
            }
            Self::TagAssociation { subject, tags, .. } => {
                write!(f, "tag the association of ServiceAccount `{subject}` with {}", listed(tags.keys()))
            }
            Self::UntagAssociation { subject, keys, .. } => {
                write!(f, "untag the association of ServiceAccount `{subject}`: {}", listed(keys))
            }
            Self::DeleteAssociation { subject, .. } => write!(f, "delete the association of ServiceAccount `{subject}`"),
            Self::ApplyServiceAccount(applied) => {
                let (subject, role) = (&applied.subject, applied.role.as_ref().map(ToString::to_string).unwrap_or_default());
                match applied.how {
                    Applying::SetBack => {
                        let taken: Vec<String> = applied.taken.iter().map(ToString::to_string).collect();
                        write!(f, "set {} of ServiceAccount `{subject}` back", taken.join(", "))
                    }
                    Applying::Create => write!(f, "create ServiceAccount `{subject}` with role `{role}`"),
                    Applying::Apply => write!(f, "apply ServiceAccount `{subject}` with role `{role}`"),
                    Applying::Record => write!(f, "record the next role on ServiceAccount `{subject}`"),
                    Applying::Unmark => write!(f, "take a mark of an earlier version from ServiceAccount `{subject}`"),
                    Applying::LetGo => {
                        let kept: Vec<String> = applied.fields().keys().map(ToString::to_string).collect();
                        write!(f, "remove the tool's fields from ServiceAccount `{subject}`, but for {}", kept.join(", "))
                    }
                    Applying::Reclaim => write!(f, "take hold of the tool's fields on ServiceAccount `{subject}`"),
                    Applying::Forget => write!(f, "drop roles that it has left from the record of ServiceAccount `{subject}`"),
                }
            }
            Self::MarkServiceAccount { subject, job, mark, .. } => match mark {
                Some(Mark::Wanted) => write!(f, "mark ServiceAccount `{subject}` as wanted by job `{job}`"),
                Some(Mark::LeftSince(_)) => write!(f, "mark ServiceAccount `{subject}` as no longer named"),
                None => write!(f, "take the mark of job `{job}` from ServiceAccount `{subject}`"),
            },
            Self::ReleaseServiceAccount { subject, .. } => write!(f, "remove the tool's fields from ServiceAccount `{subject}`"),
            Self::DeleteServiceAccount { subject, .. } => write!(f, "delete ServiceAccount `{subject}`"),
            Self::BindService { service, service_account, before } => {
                write!(f, "bind {service} to ServiceAccount `{service_account}`")?;
                before.as_ref().map_or(Ok(()), |before| write!(f, ", no longer to `{before}`"))
            }
        }
    }
}

/// Whom a trust policy lets in. What stands for all that EKS Pod Identity asks for is no pattern that lets in everybody.
fn trusted(subjects: &BTreeSet<SubjectPattern>) -> String {
    let everybody = SubjectPattern::everybody();
    let word = |subject: &SubjectPattern| {
        if *subject == everybody { "every pod that an association gives it to".to_owned() } else { format!("`{subject}`") }
    };
    subjects.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn listed<T: fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| format!("`{thing}`")).collect::<Vec<_>>().join(", ")
}
