//! The proof of a role by EKS Pod Identity: EKS gives it for the token of a pod of the ServiceAccount that runs. Without a pod every link
//! that can be seen is looked at, and the next deploy proves it.

use super::{
    not_proven::{NotProven, Unproven},
    prover::{Outcome, Prover, Question, Refused},
};
use crate::{
    clients::{
        aws::ASSUME_FOR_POD,
        call::{CallError, ErrorKind, Failed, Patience, PodFault},
        kubernetes::TOKEN,
    },
    config::Proof,
    model::{
        association::DesiredAssociation,
        desired::DesiredServiceAccount,
        diagnosis::Diagnosis,
        observed::Observed,
        pod_diagnosis::diagnose_association,
        pods::{PodRef, running, running_pods},
    },
    plan::roles_by_irsa,
    steps::world::{Look, World},
};

/// How many pods a note names.
const NAMED: usize = 3;

/// How asking with the token of a pod ended.
pub(super) enum Asked {
    /// EKS gave the session.
    Given,
    /// It did not.
    Refused(Box<Refused>),
    /// The pod has gone meanwhile, or is another's.
    Gone,
}

/// How it went with the pods that run.
pub(super) enum Tried {
    /// The token of one of them decided.
    Ended(Outcome),
    /// There is none: in words.
    Nobody(String),
}

impl<C: World> Prover<'_, C> {
    pub(super) async fn by_running_pod(
        &self,
        account: &DesiredServiceAccount,
        association: &DesiredAssociation,
    ) -> Result<Tried, Box<NotProven>> {
        let mut went = "";
        for pod in running_pods(self.observed.pods.as_deref().unwrap_or_default(), &account.subject.service_account) {
            let asked = tokio::select! {
                asked = self.with_token_of(pod, account, association, self.patience) => asked,
                () = self.patience.interruption() => return Ok(Tried::Ended(Outcome::Interrupted)),
            };
            match asked {
                Asked::Given => return Ok(Tried::Ended(Outcome::Proven)),
                Asked::Refused(refused) => return self.judged(account, *refused).map(Tried::Ended),
                Asked::Gone => went = " any more",
            }
        }
        Ok(Tried::Nobody(match self.observed.pods {
            Some(_) => format!("no pod of ServiceAccount `{}` runs{went}", account.subject),
            None => format!(
                "it cannot be seen whether a pod of ServiceAccount `{}` runs, since the job may not list pods (`list` on `pods`, docs/permissions/rbac.yaml)",
                account.subject
            ),
        }))
    }

    /// A session for the token of a pod says nothing of whether its containers know where to ask: those of pods that were created before EKS
    /// knew the association do not.
    pub(super) fn note_pods_without(&self, account: &DesiredServiceAccount) {
        if self.association(account).is_none() {
            return;
        }
        let by_irsa = roles_by_irsa(account, self.desired, self.observed);
        let pods = running(self.observed.pods.as_deref().unwrap_or_default(), &account.subject.service_account);
        let without = pods.filter(|(used, _)| !used.relies_on_association() && !used.may_have_by_web_identity(&by_irsa));
        let without: Vec<String> = without.map(|(_, pod)| format!("`{}`", pod.name)).collect();
        let more = match without.len().saturating_sub(NAMED) {
            _ if without.is_empty() => return,
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (subject, named) = (&account.subject, without.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", "));
        self.note(format!(
            "pods of ServiceAccount `{subject}` run without the role, most likely since they are older than its association: {named}{more}. Make them anew, a Deployment's with `kubectl -n {} rollout restart deployment/NAME`; `doctor` has the command for each, and other causes",
            subject.namespace
        ));
    }

    /// Asks EKS with the token of this pod.
    pub(super) async fn with_token_of(
        &self,
        pod: &PodRef,
        account: &DesiredServiceAccount,
        association: &DesiredAssociation,
        patience: &Patience,
    ) -> Asked {
        let (subject, role) = (&account.subject, self.role_of_pods(account));
        let doing = format!("request a token of ServiceAccount `{subject}` for pod `{}`", pod.name);
        let token = match patience.call(TOKEN, async || self.world.token_of_pod(subject, pod).await).await {
            Ok(token) => token,
            Err(error) if is_gone(&error.kind) => return Asked::Gone,
            Err(error) => return Asked::Refused(Box::new(Failed::to(doing, TOKEN)(error).into())),
        };
        let question = Question {
            doing: format!("assume role `{role}` with the token of pod `{}` of ServiceAccount `{subject}`", pod.name),
            call: ASSUME_FOR_POD,
            waiting: format!("EKS to give role `{role}` for the token of a pod of ServiceAccount `{subject}`"),
        };
        let ask = async || match self.world.assume_for_pod(&association.cluster, &token).await? {
            session if session.is_of(role) => Ok(()),
            session => Err(CallError::new(ErrorKind::PodSession(PodFault::OtherRole), "OtherRole", format!("EKS gave `{session}`"))),
        };
        let diagnose = async || {
            let observed = self.world.observe(Look::Wanted, self.identities, patience).await.ok()?;
            self.diagnosis_of_pods(account, &observed)
        };
        match self.until_given(account, question, patience, ask, diagnose).await {
            Ok(()) => Asked::Given,
            Err(refused) => Asked::Refused(Box::new(refused)),
        }
    }

    fn diagnosis_of_pods(&self, account: &DesiredServiceAccount, observed: &Observed) -> Option<Diagnosis> {
        let (wanted, cluster) = (self.association(account)?, self.desired.place.cluster_arn(&observed.account)?);
        let found = observed.associations.as_ref()?.get(&account.subject.service_account);
        Some(diagnose_association(wanted, &cluster, found, observed.roles.get(&account.role.name)))
    }

    /// That nobody has looked at the role that the identity's own goes on to.
    fn of_target(&self, account: &DesiredServiceAccount) -> String {
        let role = self.role_of_pods(account);
        if *role == account.role { String::new() } else { format!(". Nothing was asked of target role `{role}`: `doctor` looks at it") }
    }

    /// No session could be asked for: what was seen last must do.
    pub(super) fn not_yet(&self, account: &DesiredServiceAccount, why: &str) -> Result<Outcome, Box<NotProven>> {
        let diagnosis = self.diagnosis_of_pods(account, self.observed);
        let refused = |diagnosis| Err(self.not_proven(account, Unproven::NobodyAsked(why.to_owned()), diagnosis));
        match (diagnosis, self.proof) {
            (diagnosis @ Some(Diagnosis::Broken(_)), _) | (diagnosis, Proof::Required) => refused(diagnosis),
            (Some(Diagnosis::Unknown(statements)), _) => Ok(Outcome::Noted(format!(
                "not proven by a session yet: {why}. Its association with role `{}` is in place, but whether that role lets EKS in cannot be judged from here: {}; the next deploy proves it",
                account.role,
                statements.join("; ")
            ))),
            (Some(Diagnosis::Holds) | None, _) => Ok(Outcome::Noted(format!(
                "not proven by a session yet: {why}. Its association with role `{}` is in place, and the role lets EKS in{}; the next deploy proves it",
                account.role,
                self.of_target(account)
            ))),
        }
    }
}

/// Whether no token can be bound to the pod any more: it has gone, its name is another pod's, or that runs with another ServiceAccount.
fn is_gone(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound(_) | ErrorKind::Changed | ErrorKind::Invalid)
}
