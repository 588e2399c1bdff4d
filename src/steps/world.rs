//! What the loop works on: an account and a cluster that can be seen and changed.
//!
//! The real one is a [`Connection`](crate::steps::connect::Connection); tests put another in its place, whose time is their own.

use crate::{
    clients::call::{CallError, Failed, Patience},
    config::Proof,
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
    plan::{Action, Goal},
    steps::connect::ConnectError,
};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All that is wanted: provider, roles, ServiceAccounts, services.
    Wanted,
    /// The same, and whether the namespace is being deleted.
    WantedAndNamespace,
    /// All that is wanted, and the sessions that pods get, which tells that of the namespace too.
    WantedAndSessions,
    /// What one environment has made: roles, ServiceAccounts.
    Made,
    /// The same, and which pods run with it.
    MadeAndPods,
    /// What one environment has made, and who uses it: pods, what makes pods, services.
    Leaving,
    /// What environments that no longer exist have left.
    Left,
    /// What belongs to an issuer that no longer exists.
    Retired,
}

impl Look {
    /// What is looked at for this.
    #[must_use]
    pub fn of(goal: Goal, proof: Proof) -> Self {
        match (goal, proof) {
            (Goal::Start, Proof::Off) => Self::WantedAndNamespace,
            (Goal::Start, Proof::Auto | Proof::Pod | Proof::Required) => Self::WantedAndSessions,
            (Goal::Prune, _) => Self::Leaving,
            (Goal::Delete, _) => Self::Made,
            (Goal::Sweep, _) => Self::Left,
            (Goal::Retire(_), _) => Self::Retired,
        }
    }

    /// What is looked at while it is waited for something to show: a session would likely be refused, and of the namespace it is known.
    #[must_use]
    pub fn meanwhile(self) -> Self {
        if matches!(self, Self::WantedAndSessions | Self::WantedAndNamespace) { Self::Wanted } else { self }
    }
}

/// An account and a cluster.
pub trait World {
    /// Namespace, issuer and cluster.
    fn place(&self) -> &Place;

    /// Before the first change: whether this is the cluster that is meant. Answers a note if nobody can tell.
    ///
    /// # Errors
    /// It is not, or a service does not answer.
    fn confirm(&self, _: &Patience) -> impl Future<Output = Result<Option<String>, ConnectError>> {
        std::future::ready(Ok(None))
    }

    /// Sees what is there for these identities.
    ///
    /// # Errors
    /// A service refuses or does not answer.
    fn observe(&self, look: Look, identities: &[Identity], patience: &Patience) -> impl Future<Output = Result<Observed, Failed>>;

    /// Applies a ServiceAccount as a dry run: all that could refuse it is asked, and nothing changes.
    ///
    /// # Errors
    /// As if it were applied.
    fn rehearse(&self, applied: &AppliedServiceAccount) -> impl Future<Output = Result<(), CallError>>;

    /// Looks up what a role that outgrows the default quota is judged by.
    ///
    /// # Errors
    /// A service refuses or does not answer.
    fn limits(&self, patience: &Patience) -> impl Future<Output = Result<Limits, Failed>>;

    /// A token as a pod of the ServiceAccount gets one.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    fn token(&self, subject: &Subject, audience: &Audience) -> impl Future<Output = Result<String, CallError>>;

    /// Assumes a role as a pod does: with nothing but the token. Answers the ARN of role and session.
    ///
    /// # Errors
    /// STS refuses or does not answer.
    fn assume(&self, role: &RoleArn, token: &str) -> impl Future<Output = Result<AssumedRole, CallError>>;

    /// Whether the cluster can give pods the credentials of associations.
    ///
    /// # Errors
    /// A service does not answer. That none may be asked is an answer: then it is not known.
    fn agent(&self, patience: &Patience) -> impl Future<Output = Result<KnownAgent, Failed>>;

    /// A token as the pod has one for EKS.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    fn token_of_pod(&self, subject: &Subject, pod: &PodRef) -> impl Future<Output = Result<String, CallError>>;

    /// Assumes the role of an association as the agent does for a pod: with the pod's token.
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    fn assume_for_pod(&self, cluster: &ClusterName, token: &str) -> impl Future<Output = Result<AssumedRole, CallError>>;

    /// Asks by a dry run whether the cluster would take the pod of a proof without its gate.
    ///
    /// # Errors
    /// It would not, or the API server does not answer.
    fn try_out_ungated(&self, _: &ProofPod) -> impl Future<Output = Result<(), CallError>> {
        std::future::ready(Err(CallError::not_sent("no pods are made here")))
    }

    /// Creates the pod of a proof, which never runs.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    fn create_proof_pod(&self, _: &ProofPod) -> impl Future<Output = Result<(), CallError>> {
        std::future::ready(Err(CallError::not_sent("no pods are made here")))
    }

    /// The pods of proofs in the namespace.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    fn proof_pods(&self) -> impl Future<Output = Result<Vec<FoundProofPod>, CallError>> {
        std::future::ready(Ok(Vec::new()))
    }

    /// Deletes the pod of a proof; one that is gone is as good.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    fn delete_proof_pod(&self, _name: &str) -> impl Future<Output = Result<(), CallError>> {
        std::future::ready(Ok(()))
    }

    /// Whether a role exists: an error that says so if it does not.
    ///
    /// # Errors
    /// The role is missing, or IAM refuses or does not answer.
    fn role_exists(&self, _: &RoleName) -> impl Future<Output = Result<(), CallError>> {
        std::future::ready(Ok(()))
    }

    /// Whether an association exists: an error that says so if it does not.
    ///
    /// # Errors
    /// The association is missing, or EKS refuses or does not answer.
    fn association_exists(&self, _: &ClusterName, _: &AssociationId) -> impl Future<Output = Result<(), CallError>> {
        std::future::ready(Ok(()))
    }

    /// Makes the one call that an action is.
    ///
    /// # Errors
    /// The service refuses or does not answer.
    fn carry_out(&self, action: &Action) -> impl Future<Output = Result<(), CallError>>;
}
