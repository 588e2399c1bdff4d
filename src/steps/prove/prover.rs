//! What every way to prove an identity has in common: what is known, asking until it is worth it no more, and what no answer means.

use std::{cell::RefCell, time::Duration};

use tokio::time::Instant;

use super::not_proven::{NotProven, Unproven, Way, may_show};
use crate::{
    clients::{
        aws::ASSUME_FOR_POD,
        call::{BackOff, CallError, ErrorKind, Failed, Patience},
        kubernetes::TOKEN,
    },
    config::Proof,
    model::{
        arn::RoleArn,
        association::DesiredAssociation,
        desired::{Desired, DesiredServiceAccount},
        diagnosis::{Diagnosis, worth_waiting},
        identity::Identity,
        observed::Observed,
    },
    plan::Action,
    steps::world::World,
};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a proof ended that has not failed.
pub(super) enum Outcome {
    /// A session was seen.
    Proven,
    /// None was seen, and that is no failure.
    Noted(String),
    /// A signal came.
    Interrupted,
}

pub(super) struct Prover<'a, C> {
    pub(super) identities: &'a [Identity],
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) applied: &'a [Action],
    pub(super) world: &'a C,
    pub(super) patience: &'a Patience,
    pub(super) proof: Proof,
    /// What people should know besides how each proof ended.
    pub(super) notes: RefCell<Vec<String>>,
}

/// Why no session was given.
pub(super) struct Refused {
    pub(super) source: Failed,
    pub(super) diagnosis: Option<Diagnosis>,
}

impl From<Failed> for Refused {
    fn from(source: Failed) -> Self {
        Self { source, diagnosis: None }
    }
}

/// What is asked for a session.
pub(super) struct Question {
    pub(super) doing: String,
    pub(super) call: &'static str,
    /// What is waited for, in words.
    pub(super) waiting: String,
}

impl<'a, C: World> Prover<'a, C> {
    pub(super) fn association(&self, account: &DesiredServiceAccount) -> Option<&'a DesiredAssociation> {
        self.desired.associations.get(&account.subject.service_account)
    }

    /// The role that the pods get in the end.
    pub(super) fn role_of_pods<'b>(&'b self, account: &'b DesiredServiceAccount) -> &'b RoleArn {
        self.association(account).map_or(&account.role, |association| association.settings.of_pods())
    }

    /// The seconds that a session of theirs lasts, at most.
    pub(super) fn longest_session(&self, account: &DesiredServiceAccount) -> u32 {
        match self.association(account) {
            None => self.desired.max_session(&account.role),
            // EKS decides, not the role; a session of a target role is a session of a session, which STS lets last an hour.
            // <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
            Some(association) if association.settings.target.is_none() => 21_600,
            Some(_) => 3_600,
        }
    }

    /// Whether this run has changed who gets the role: then the services may be slow to show it.
    fn changed(&self, account: &DesiredServiceAccount) -> bool {
        self.applied.iter().any(|action| action.changes_chain_to(&account.role.name))
    }

    /// Whether it was given, or that a signal came first.
    pub(super) async fn unless_interrupted(
        &self,
        account: &DesiredServiceAccount,
        asking: impl Future<Output = Result<(), Refused>>,
    ) -> Result<Outcome, Box<NotProven>> {
        tokio::select! {
            given = asking => match given {
                Ok(()) => Ok(Outcome::Proven),
                Err(refused) => self.judged(account, refused),
            },
            () = self.patience.interruption() => Ok(Outcome::Interrupted),
        }
    }

    /// Asks for a session until it is given, or waiting for it is not worth it any more.
    pub(super) async fn until_given(
        &self,
        account: &DesiredServiceAccount,
        question: Question,
        patience: &Patience,
        ask: impl AsyncFn() -> Result<(), CallError>,
        diagnose: impl AsyncFn() -> Option<Diagnosis>,
    ) -> Result<(), Refused> {
        let Question { doing, call, waiting } = question;
        let changed = self.changed(account);
        let _waiting = patience.waiting(waiting);
        let (started, mut pauses) = (Instant::now(), BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE));
        loop {
            let Err(source) = patience.call(call, &ask).await else { return Ok(()) };
            let may_show = may_show(&source.kind);
            let diagnosis = diagnose().await;
            let waits = may_show && worth_waiting(diagnosis.as_ref(), changed).is_none_or(|limit| started.elapsed() < limit);
            if !waits || !patience.sleep(pauses.pause()).await {
                return Err(Refused { source: Failed { doing, call, source }, diagnosis });
            }
        }
    }

    /// What it means that no session was given: a note where the job may not ask, as long as nobody insists.
    pub(super) fn judged(&self, account: &DesiredServiceAccount, refused: Refused) -> Result<Outcome, Box<NotProven>> {
        let source = &refused.source.source;
        let note = match (refused.source.call, &source.kind) {
            (TOKEN, ErrorKind::Denied(_)) => format!(
                "not proven: the job may not request a token of ServiceAccount `{}` (`create` on `serviceaccounts/token`: docs/permissions/admission-guard.yaml, then docs/permissions/rbac.yaml)",
                account.subject
            ),
            (TOKEN, ErrorKind::Admission(_)) => {
                format!("not proven: the cluster does not let the job request a token of ServiceAccount `{}`: {source}", account.subject)
            }
            (ASSUME_FOR_POD, ErrorKind::Denied(_)) => format!(
                "not proven: the job may not ask EKS for the session of a pod of ServiceAccount `{}` (`{ASSUME_FOR_POD}`: docs/permissions/pod-identity-policy.json)",
                account.subject
            ),
            _ => return Err(self.not_proven(account, Unproven::Call(refused.source), refused.diagnosis)),
        };
        match self.proof {
            Proof::Required => Err(self.not_proven(account, Unproven::Call(refused.source), refused.diagnosis)),
            Proof::Auto | Proof::Pod | Proof::Off => Ok(Outcome::Noted(note)),
        }
    }

    /// What people should know besides how the proof ended.
    pub(super) fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    pub(super) fn not_proven(&self, account: &DesiredServiceAccount, source: Unproven, diagnosis: Option<Diagnosis>) -> Box<NotProven> {
        let way = match self.association(account) {
            None => Way::WebIdentity(self.desired.provider.arn.clone()),
            Some(association) if association.settings.target.is_none() => Way::PodIdentity,
            Some(association) => {
                let found = self.observed.associations.as_ref().and_then(|found| found.get(&account.subject.service_account));
                let external_id = found.and_then(|found| found.external_id.clone());
                Way::Target { role: association.settings.role.clone(), external_id }
            }
        };
        Box::new(NotProven {
            subject: account.subject.clone(),
            role: self.role_of_pods(account).clone(),
            way,
            diagnosis,
            changed: self.changed(account),
            source,
        })
    }
}
