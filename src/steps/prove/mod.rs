//! The step that proves it: AWS gives a session of the role for the token of a pod, or for one that a pod would get.
//!
//! Of a role by a web identity a token is minted for the ServiceAccount, and STS is asked (`web_identity`). Of a role by EKS Pod Identity EKS
//! is asked with the token of a pod that runs (`pod`); where none runs, with that of a pod that is made for it (`gated`).

mod gated;
mod not_proven;
mod pod;
mod prover;
mod web_identity;

pub use not_proven::{NotProven, Unproven, Way};

use std::{cell::RefCell, collections::BTreeSet};

use futures_util::future::join_all;

use self::{
    pod::Tried,
    prover::{Outcome, Prover},
};
use crate::{
    clients::call::Patience,
    config::Proof,
    model::{
        desired::{Desired, DesiredServiceAccount},
        identity::Identity,
        lack::Lack,
        names::ServiceAccountName,
        observed::Observed,
    },
    plan::Action,
    report::Report,
    steps::world::World,
};

/// Proves every identity, side by side: by the sessions that its pods were seen to get, else by asking for one.
///
/// Answers the ServiceAccounts whose pods are proven to get their role. `applied` is what the run has carried out: for that to show is worth waiting for. An interruption ends it soon, and well.
///
/// # Errors
/// Those whose pods do not get their role.
#[allow(clippy::too_many_arguments, reason = "each is another thing, and one caller has them all")]
pub async fn prove(
    identities: &[Identity],
    desired: &Desired,
    observed: &Observed,
    applied: &[Action],
    world: &impl World,
    patience: &Patience,
    proof: Proof,
    report: &mut Report<'_>,
) -> Result<BTreeSet<ServiceAccountName>, Vec<NotProven>> {
    if proof == Proof::Off {
        return Ok(BTreeSet::new());
    }
    let prover = Prover { identities, desired, observed, applied, world, patience, proof, notes: RefCell::default() };
    if proof == Proof::Pod && !desired.associations.is_empty() {
        prover.remove_left().await;
    }
    let proofs = join_all(desired.service_accounts.iter().map(async |account| (account, prover.prove(account).await))).await;
    let (mut proven_accounts, mut failed) = (BTreeSet::new(), Vec::new());
    for (account, proven) in proofs {
        match proven {
            Ok(Outcome::Proven) => {
                report.proven(&account.subject, prover.role_of_pods(account), prover.longest_session(account));
                prover.note_pods_without(account);
                proven_accounts.insert(account.subject.service_account.clone());
            }
            Ok(Outcome::Noted(note)) => report.note(&note),
            Ok(Outcome::Interrupted) => {}
            Err(error) => failed.push(*error),
        }
    }
    prover.notes.into_inner().iter().for_each(|note| report.note(note));
    if failed.is_empty() { Ok(proven_accounts) } else { Err(failed) }
}

impl<C: World> Prover<'_, C> {
    async fn prove(&self, account: &DesiredServiceAccount) -> Result<Outcome, Box<NotProven>> {
        if let Some(lack) = Lack::of(account, self.observed.service_accounts.get(&account.subject.service_account)) {
            return match self.proof {
                Proof::Required => Err(self.not_proven(account, Unproven::Lacking(lack), None)),
                Proof::Auto | Proof::Pod | Proof::Off => Ok(Outcome::Noted(format!("not proven yet: {lack}"))),
            };
        }
        if self.observed.sessions.show(&account.subject.service_account, self.role_of_pods(account)) {
            return Ok(Outcome::Proven);
        }
        match (account.binding.audience(), self.association(account)) {
            (Some(audience), _) => self.unless_interrupted(account, self.by_web_identity(account, audience)).await,
            (None, Some(association)) => match (self.by_running_pod(account, association).await?, self.proof) {
                (Tried::Ended(outcome), _) => Ok(outcome),
                (Tried::Nobody(why), Proof::Pod) => self.by_gated_pod(account, association, &why).await,
                (Tried::Nobody(why), Proof::Auto | Proof::Required | Proof::Off) => self.not_yet(account, &why),
            },
            // Desired has an association for each that has no audience.
            (None, None) => self.not_yet(account, "no association is desired"),
        }
    }
}
