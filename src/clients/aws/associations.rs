//! EKS Pod Identity: associations, the agent that they need, and the session that a pod gets.

use aws_sdk_eks::types::{AddonStatus, PodIdentityAssociation};

use super::{Aws, eks::MOST_PAGES, error};
use crate::{
    clients::call::CallError,
    model::{
        agent::{AGENT, AddOn, AutoMode},
        association::{AssociationId, AssociationSettings, DesiredAssociation, ObservedAssociation, SessionTags},
        date::Date,
        gather::Gather as _,
        names::{ClusterName, Namespace, ServiceAccountName, Subject},
        sessions::AssumedRole,
    },
};

/// An association as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: AssociationId,
    /// Namespace and ServiceAccount.
    pub subject: Subject,
}

impl Aws {
    /// `ListPodIdentityAssociations`: those of a namespace or of all, and of one ServiceAccount if it is named; all pages.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_ListPodIdentityAssociations.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn associations(
        &self,
        cluster: &ClusterName,
        namespace: Option<&Namespace>,
        service_account: Option<&ServiceAccountName>,
    ) -> Result<Vec<Listed>, CallError> {
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let list = self.eks.list_pod_identity_associations().cluster_name(cluster.as_str());
            let list = list.set_namespace(namespace.map(ToString::to_string)).set_service_account(service_account.map(ToString::to_string));
            let page = list.set_next_token(next).send().await.map_err(|error| error::of_sdk(&error))?;
            for listed in page.associations() {
                let subject = subject(listed.namespace(), listed.service_account())?;
                let id = AssociationId::read(listed.association_id().ok_or_else(|| lacks("id"))?);
                found.push(Listed { id, subject });
            }
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(CallError::unreadable(format!("the list has more than {MOST_PAGES} pages")))
    }

    /// `DescribePodIdentityAssociation`; none if it is gone by now.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribePodIdentityAssociation.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn association(&self, cluster: &ClusterName, id: &AssociationId) -> Result<Option<ObservedAssociation>, CallError> {
        let describe = self.eks.describe_pod_identity_association().cluster_name(cluster.as_str()).association_id(id.as_str());
        let answer = match describe.send().await.map_err(|error| error::of_sdk(&error)) {
            Ok(answer) => answer,
            Err(error) if error.kind.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        observed(answer.association.ok_or_else(|| lacks("association"))?).map(Some)
    }

    /// Whether an association exists: an error that says so if it does not.
    ///
    /// # Errors
    /// The association is missing, or EKS refuses or does not answer.
    pub async fn association_exists(&self, cluster: &ClusterName, id: &AssociationId) -> Result<(), CallError> {
        let describe = self.eks.describe_pod_identity_association().cluster_name(cluster.as_str()).association_id(id.as_str());
        describe.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `CreatePodIdentityAssociation`
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn create_association(&self, wanted: &DesiredAssociation) -> Result<(), CallError> {
        let AssociationSettings { role, target, session_tags, session_policy } = &wanted.settings;
        let create = self.eks.create_pod_identity_association().cluster_name(wanted.cluster.as_str());
        let create = create.namespace(wanted.subject.namespace.as_str()).service_account(wanted.subject.service_account.as_str());
        let create = create.role_arn(role.to_string()).set_target_role_arn(target.as_ref().map(ToString::to_string));
        let create = create.disable_session_tags(*session_tags == SessionTags::Off);
        let create = create.set_policy(session_policy.as_ref().map(ToString::to_string));
        let create = create.set_tags(Some(wanted.all_tags().into_iter().collect()));
        create.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `UpdatePodIdentityAssociation`
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdatePodIdentityAssociation.html>
    ///
    /// A target role that is not named stays, and an empty one takes it away. EKS documents neither; AWS's own controller always sends it so:
    /// <https://github.com/aws-controllers-k8s/eks-controller/blob/main/templates/hooks/pod_identity_association/sdk_update_post_build_request.go.tpl>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn update_association(
        &self,
        cluster: &ClusterName,
        id: &AssociationId,
        settings: &AssociationSettings,
    ) -> Result<(), CallError> {
        let AssociationSettings { role, target, session_tags, session_policy } = settings;
        let update = self.eks.update_pod_identity_association().cluster_name(cluster.as_str()).association_id(id.as_str());
        let update = update.role_arn(role.to_string()).target_role_arn(target.as_ref().map(ToString::to_string).unwrap_or_default());
        let update = update.disable_session_tags(*session_tags == SessionTags::Off);
        let update = update.set_policy(session_policy.as_ref().map(ToString::to_string));
        update.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `DeletePodIdentityAssociation`
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DeletePodIdentityAssociation.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn delete_association(&self, cluster: &ClusterName, id: &AssociationId) -> Result<(), CallError> {
        let delete = self.eks.delete_pod_identity_association().cluster_name(cluster.as_str()).association_id(id.as_str());
        delete.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `TagResource` of EKS
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_TagResource.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn tag_association(&self, arn: &str, tags: impl IntoIterator<Item = (String, String)>) -> Result<(), CallError> {
        let tag = self.eks.tag_resource().resource_arn(arn).set_tags(Some(tags.into_iter().collect()));
        tag.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `UntagResource` of EKS
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_UntagResource.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn untag_association(&self, arn: &str, keys: impl IntoIterator<Item = String>) -> Result<(), CallError> {
        let untag = self.eks.untag_resource().resource_arn(arn).set_tag_keys(Some(keys.into_iter().collect()));
        untag.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `DescribeAddon` of the agent's add-on.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeAddon.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn agent_add_on(&self, cluster: &ClusterName) -> Result<AddOn, CallError> {
        let describe = self.eks.describe_addon().cluster_name(cluster.as_str()).addon_name(AGENT);
        match describe.send().await.map_err(|error| error::of_sdk(&error)) {
            Ok(answer) => Ok(add_on(answer.addon.and_then(|addon| addon.status))),
            Err(error) if error.kind.is_missing() => Ok(AddOn::Absent),
            Err(error) => Err(error),
        }
    }

    /// `DescribeCluster`, for whether EKS runs its nodes.
    /// <https://docs.aws.amazon.com/eks/latest/userguide/automode.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn auto_mode(&self, cluster: &ClusterName) -> Result<AutoMode, CallError> {
        let answer = self.eks.describe_cluster().name(cluster.as_str()).send().await.map_err(|error| error::of_sdk(&error))?;
        let enabled = answer.cluster.and_then(|cluster| cluster.compute_config).and_then(|config| config.enabled);
        Ok(if enabled == Some(true) { AutoMode::On } else { AutoMode::Off })
    }

    /// `AssumeRoleForPodIdentity`, as the agent does it for a pod: with the pod's token.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_auth_AssumeRoleForPodIdentity.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn assume_for_pod(&self, cluster: &ClusterName, token: &str) -> Result<AssumedRole, CallError> {
        let answer = self.eks_auth.assume_role_for_pod_identity().cluster_name(cluster.as_str()).token(token).send().await;
        let session = answer.map_err(|error| error::of_pod_token(error::of_sdk(&error)))?;
        // The credentials are dropped unread: that EKS gave them is the proof.
        Ok(AssumedRole::read(session.assumed_role_user().map(aws_sdk_eksauth::types::AssumedRoleUser::arn).unwrap_or_default()))
    }
}

pub(super) fn add_on(status: Option<AddonStatus>) -> AddOn {
    match status {
        Some(AddonStatus::Active | AddonStatus::Updating | AddonStatus::UpdateFailed | AddonStatus::Degraded) => AddOn::Installed,
        Some(AddonStatus::Creating) => AddOn::Coming,
        Some(other) => AddOn::Failed(other.as_str().to_owned()),
        None => AddOn::Failed("none".to_owned()),
    }
}

fn observed(found: PodIdentityAssociation) -> Result<ObservedAssociation, CallError> {
    let subject = subject(found.namespace(), found.service_account())?;
    let role = found.role_arn.as_deref().ok_or_else(|| lacks("role"))?.parse().map_err(odd)?;
    let session_policy = found.policy.as_deref().filter(is_set).map(serde_json::from_str).transpose();
    let session_policy = session_policy.map_err(|error| CallError::unreadable(format!("its session policy is no JSON: {error}")))?;
    Ok(ObservedAssociation {
        id: AssociationId::read(found.association_id.as_deref().ok_or_else(|| lacks("id"))?),
        arn: found.association_arn.clone().ok_or_else(|| lacks("ARN"))?,
        subject,
        settings: AssociationSettings {
            role,
            target: found.target_role_arn.as_deref().filter(is_set).map(str::parse).transpose().map_err(odd)?,
            session_tags: if found.disable_session_tags == Some(true) { SessionTags::Off } else { SessionTags::On },
            session_policy,
        },
        external_id: found.external_id.as_deref().filter(is_set).map(str::parse).transpose().map_err(odd)?,
        tags: found.tags.into_iter().flatten().gather(),
        add_on: found.owner_arn,
        created: date(found.created_at),
        changed: date(found.modified_at.or(found.created_at)),
    })
}

/// What was taken away may be shown empty.
fn is_set(text: &&str) -> bool {
    !text.is_empty()
}

fn date(at: Option<aws_sdk_eks::primitives::DateTime>) -> Date {
    Date::since_1970(std::time::Duration::from_secs(at.and_then(|at| u64::try_from(at.secs()).ok()).unwrap_or_default()))
}

fn subject(namespace: Option<&str>, service_account: Option<&str>) -> Result<Subject, CallError> {
    Ok(Subject {
        namespace: namespace.unwrap_or_default().parse().map_err(odd)?,
        service_account: service_account.unwrap_or_default().parse().map_err(odd)?,
    })
}

fn lacks(part: &str) -> CallError {
    CallError::unreadable(format!("the association has no {part}"))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn odd(problem: crate::model::names::NameProblem) -> CallError {
    CallError::unreadable(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_away_and_is_shown_empty_is_not_there() {
        let shown = PodIdentityAssociation::builder().association_id("a-1").association_arn("arn").namespace("z1").service_account("app");
        let shown = shown.role_arn("arn:aws:iam::123456789012:role/app").target_role_arn("").external_id("").policy("");
        let found = observed(shown.build()).unwrap();
        assert_eq!((found.settings.target, found.external_id, found.settings.session_policy), (None, None, None));
    }

    #[test]
    fn an_add_on_brings_the_agent_from_when_it_was_active_until_it_is_removed() {
        for (status, expected) in [
            ("ACTIVE", AddOn::Installed),
            ("UPDATING", AddOn::Installed),
            ("UPDATE_FAILED", AddOn::Installed),
            ("DEGRADED", AddOn::Installed),
            ("CREATING", AddOn::Coming),
            ("CREATE_FAILED", AddOn::Failed("CREATE_FAILED".to_owned())),
            ("DELETING", AddOn::Failed("DELETING".to_owned())),
            ("DELETE_FAILED", AddOn::Failed("DELETE_FAILED".to_owned())),
            ("UNHEARD", AddOn::Failed("UNHEARD".to_owned())),
        ] {
            assert_eq!(add_on(Some(AddonStatus::from(status))), expected, "{status}");
        }
    }
}
