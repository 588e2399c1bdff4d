//! The proof where no pod runs: a pod is made that never does, since a scheduling gate keeps it from every node; EKS is asked with its token,
//! and it is deleted again.
//!
//! To create pods is the right to run anything with any ServiceAccount of the namespace. So it is done only where an admission policy takes
//! nothing but such pods from the job, which a dry run of one without the gate shows. Whether EKS takes the token of a pod that was never
//! scheduled is not known: that it does not is no failure.

use std::time::Duration;

use super::{
    not_proven::NotProven,
    pod::Asked,
    prover::{Outcome, Prover},
};
use crate::{
    clients::{
        call::{Admission, ErrorKind, Failed},
        kubernetes::{CREATE_PODS, DELETE_PODS, TOKEN},
    },
    model::{association::DesiredAssociation, desired::DesiredServiceAccount, proof_pod::ProofPod},
    steps::world::World,
};

/// The call that finds pods that were left, as permissions name it.
const LIST_PODS: &str = "kubernetes:list pods";

/// What is left of the run's time for deleting the pod.
const DELETING: Duration = Duration::from_secs(5);

impl<C: World> Prover<'_, C> {
    /// Removes what a run that was killed has left.
    pub(super) async fn remove_left(&self) {
        let found = match self.patience.call(LIST_PODS, async || self.world.proof_pods().await).await {
            Ok(found) => found,
            Err(error) => return self.note(format!("pods that an earlier proof may have left are not looked for: {error}")),
        };
        for pod in found.iter().filter(|pod| pod.is_left(self.desired.place.job.as_ref(), self.observed.at)) {
            self.delete(&pod.name).await;
        }
    }

    /// Deletes a pod; a note says if that fails.
    async fn delete(&self, name: &str) {
        if let Err(error) = self.patience.call(DELETE_PODS, async || self.world.delete_proof_pod(name).await).await {
            self.note(format!("pod `{name}`, which was made for a proof and never runs, could not be deleted: {error}. The next deploy with `IRSA_PROOF=pod` does it"));
        }
    }

    /// Makes a pod, since nothing runs, and asks with its token.
    pub(super) async fn by_gated_pod(
        &self,
        account: &DesiredServiceAccount,
        association: &DesiredAssociation,
        nothing_runs: &str,
    ) -> Result<Outcome, Box<NotProven>> {
        let subject = &account.subject;
        let pod = ProofPod::new(subject, self.desired.place.job.as_ref(), fastrand::u64(..));
        if let Err(why) = self.guarded(&pod).await {
            return self.not_yet(account, &format!("{nothing_runs}, and none was made for it: {why}"));
        }
        if self.patience.is_interrupted() {
            return Ok(Outcome::Interrupted);
        }
        let patience = self.patience.leaving(DELETING);
        // What was sent may have been done: an interruption waits for the answer.
        let created = patience.call(CREATE_PODS, async || self.world.create_proof_pod(&pod).await).await;
        let asked = match &created {
            // Nobody else has its name: it is there since the answer to an earlier attempt was lost.
            Err(error) if error.kind != ErrorKind::AlreadyExists => Err(format!("{nothing_runs}, and none could be made for it: {error}")),
            Ok(()) | Err(_) => {
                let reference = pod.reference();
                tokio::select! {
                    asked = self.with_token_of(&reference, account, association, &patience) => Ok(Some(asked)),
                    () = self.patience.interruption() => Ok(None),
                }
            }
        };
        let is_refused = created.as_ref().is_err_and(|error| {
            matches!(error.kind, ErrorKind::Denied(_) | ErrorKind::Admission(_) | ErrorKind::Invalid | ErrorKind::NotFound(_))
        });
        if !is_refused {
            self.delete(&pod.name).await;
        }
        match asked {
            Ok(None) => Ok(Outcome::Interrupted),
            Ok(Some(Asked::Given)) => Ok(Outcome::Proven),
            Ok(Some(Asked::Gone)) => self.not_yet(account, &format!("{nothing_runs}, and the one that was made for it has gone")),
            Ok(Some(Asked::Refused(refused))) => match &refused.source {
                Failed { source, .. } if matches!(&source.kind, ErrorKind::PodSession(fault) if fault.is_of_token()) => self.not_yet(
                    account,
                    &format!("{nothing_runs}, and EKS does not take the token of the one that was made for it and never ran: {source}"),
                ),
                Failed { call: TOKEN, source, .. } => {
                    self.not_yet(account, &format!("{nothing_runs}, and there is no token of the one that was made for it: {source}"))
                }
                _ => self.judged(account, *refused),
            },
            Err(why) => self.not_yet(account, &why),
        }
    }

    /// Whether the cluster takes nothing but pods that never run from the job; else why none is made.
    async fn guarded(&self, pod: &ProofPod) -> Result<(), String> {
        let tried = self.patience.call(CREATE_PODS, async || self.world.try_out_ungated(pod).await).await;
        match tried.map_err(|error| (error.kind.clone(), error)) {
            Err((ErrorKind::Admission(Admission::Policy(_)), _)) => Ok(()),
            Ok(()) => Err("the cluster would take any pod from the job, also one that runs. Its guard must stand first (docs/permissions/admission-guard-pods.yaml)".to_owned()),
            Err((ErrorKind::Denied(_), _)) => Err("the job may not create pods (docs/permissions/admission-guard-pods.yaml, then docs/permissions/rbac-proof-pod.yaml)".to_owned()),
            Err((_, error)) => Err(format!("it cannot be seen that the guard for pods stands (docs/permissions/admission-guard-pods.yaml): {error}")),
        }
    }
}
