//! The real world: what the loop asks of it, passed on to AWS and Kubernetes. One call for each action, nothing is decided here.

use crate::{
    clients::call::{CallError, Failed, Patience},
    model::{
        applied::AppliedServiceAccount,
        arn::RoleArn,
        association::{AssociationId, KnownAgent},
        identity::Identity,
        names::{ClusterName, RoleName, Subject},
        observed::{Limits, Observed},
        oidc::Audience,
        place::Place,
        pods::PodRef,
        proof_pod::{FoundProofPod, ProofPod},
        sessions::AssumedRole,
    },
    plan::Action,
    steps::{
        connect::{ConnectError, Connection},
        observe,
        world::{Look, World},
    },
};

impl World for Connection {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn confirm(&self, patience: &Patience) -> Result<Option<String>, ConnectError> {
        self.confirm_issuer(patience).await
    }

    async fn observe(&self, look: Look, identities: &[Identity], patience: &Patience) -> Result<Observed, Failed> {
        match look {
            Look::Wanted => observe::wanted(identities, self, patience).await,
            Look::WantedAndNamespace => observe::wanted_and_namespace(identities, self, patience).await,
            Look::WantedAndSessions => observe::wanted_and_sessions(identities, self, patience).await,
            Look::Made => observe::made(identities, self, patience).await,
            Look::MadeAndPods => observe::made_and_pods(identities, self, patience).await,
            Look::Leaving => observe::leaving(identities, self, patience).await,
            Look::Left => observe::left(identities, self, patience).await,
            Look::Retired => observe::retired(identities, self, patience).await,
        }
    }

    async fn rehearse(&self, applied: &AppliedServiceAccount) -> Result<(), CallError> {
        self.kubernetes.rehearse_service_account(applied).await
    }

    async fn limits(&self, patience: &Patience) -> Result<Limits, Failed> {
        observe::limits(self, patience).await
    }

    async fn token(&self, subject: &Subject, audience: &Audience) -> Result<String, CallError> {
        self.kubernetes.token(subject, audience).await
    }

    async fn assume(&self, role: &RoleArn, token: &str) -> Result<AssumedRole, CallError> {
        self.aws.assume_with_token(role, token).await
    }

    async fn agent(&self, patience: &Patience) -> Result<KnownAgent, Failed> {
        observe::agent(self, patience).await
    }

    async fn token_of_pod(&self, subject: &Subject, pod: &PodRef) -> Result<String, CallError> {
        self.kubernetes.token_of_pod(subject, &Audience::of_pod_identity(), pod).await
    }

    async fn assume_for_pod(&self, cluster: &ClusterName, token: &str) -> Result<AssumedRole, CallError> {
        self.aws.assume_for_pod(cluster, token).await
    }

    async fn try_out_ungated(&self, pod: &ProofPod) -> Result<(), CallError> {
        self.kubernetes.try_out_ungated(pod).await
    }

    async fn create_proof_pod(&self, pod: &ProofPod) -> Result<(), CallError> {
        self.kubernetes.create_proof_pod(pod).await
    }

    async fn proof_pods(&self) -> Result<Vec<FoundProofPod>, CallError> {
        self.kubernetes.proof_pods_in(&self.place.namespace).await
    }

    async fn delete_proof_pod(&self, name: &str) -> Result<(), CallError> {
        self.kubernetes.delete_proof_pod(&self.place.namespace, name).await
    }

    async fn role_exists(&self, name: &RoleName) -> Result<(), CallError> {
        self.aws.role_exists(name).await
    }

    async fn association_exists(&self, cluster: &ClusterName, id: &AssociationId) -> Result<(), CallError> {
        self.aws.association_exists(cluster, id).await
    }

    /// One match, one call per action.
    async fn carry_out(&self, action: &Action) -> Result<(), CallError> {
        let Self { aws, kubernetes, qovery, .. } = self;
        match action {
            Action::CreateProvider { provider, audiences } => aws.create_provider(provider, audiences, &self.place.maker()).await,
            Action::AddAudience { provider, audience } => aws.add_audience(provider, audience).await,
            Action::DeleteProvider { provider } => aws.delete_provider(provider).await,
            Action::CreateRole(role) => aws.create_role(role).await,
            Action::UpdateRole { role, settings } => aws.update_role(role, settings).await,
            Action::PutBoundary { role, boundary } => aws.put_boundary(role, boundary).await,
            Action::DeleteBoundary { role } => aws.delete_boundary(role).await,
            Action::TagRole { role, tags } => aws.tag_role(role, tags).await,
            Action::UntagRole { role, keys } => aws.untag_role(role, keys).await,
            Action::UpdateTrust { role, trust, .. } => aws.update_trust(role, trust).await,
            Action::AttachPolicy { role, policy } => aws.attach_policy(role, policy).await,
            Action::DetachPolicy { role, policy } => aws.detach_policy(role, policy).await,
            Action::PutInlinePolicy { role, policy, document } => aws.put_inline_policy(role, policy, document).await,
            Action::DeleteInlinePolicy { role, policy } => aws.delete_inline_policy(role, policy).await,
            Action::DeleteRole { role } => aws.delete_role(role).await,
            Action::CreateAssociation(association) => aws.create_association(association).await,
            Action::UpdateAssociation { cluster, id, settings, .. } => aws.update_association(cluster, id, settings).await,
            Action::TagAssociation { arn, tags, .. } => aws.tag_association(arn, tags.clone()).await,
            Action::UntagAssociation { arn, keys, .. } => aws.untag_association(arn, keys.clone()).await,
            Action::DeleteAssociation { cluster, id, .. } => aws.delete_association(cluster, id).await,
            Action::ApplyServiceAccount(applied) => kubernetes.apply_service_account(applied).await,
            Action::ReleaseServiceAccount { subject, uid } => kubernetes.release_service_account(subject, uid).await,
            Action::MarkServiceAccount { subject, job, mark, uid, force } => {
                kubernetes.mark_service_account(subject, job, *mark, uid.as_deref(), *force).await
            }
            Action::DeleteServiceAccount { subject, seen } => kubernetes.delete_service_account(subject, seen).await,
            Action::BindService { service, service_account, before } => match qovery {
                Some(qovery) => qovery.bind(service, service_account, before.as_deref()).await,
                // Services are only ever seen through it.
                None => Err(CallError::not_sent("there is no connection to Qovery")),
            },
        }
    }
}
