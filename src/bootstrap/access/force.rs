//! Whether the guard is in force: asked by a dry run of the group, which nobody is in yet. A policy counts some seconds after it was applied.

use std::time::Duration;

use tokio::time::Instant;

use super::{BootstrapError, Gate};
use crate::{
    clients::{
        call::{Admission, BackOff, CallError, Denial, ErrorKind, Failed},
        kubernetes::Impersonated,
    },
    model::{
        bootstrap::{ACCESS_GROUP, ObjectKind, ObjectRef},
        document::pattern_matches,
    },
    report::Report,
    steps::StepError,
};

/// For how long a policy is waited for.
const LONGEST: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// The name of the guard.
pub(super) const GUARD: &str = "qovery-irsa";
/// The ServiceAccount that is asked about and never stored.
pub(super) const PROBE: &str = "qovery-irsa-proof";
/// Namespaces that every cluster has.
const OF_EVERY_CLUSTER: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];

/// What a question as the group was answered.
pub(super) enum Answer {
    /// Yes.
    Allowed,
    /// The guard refuses.
    ByGuard,
    /// Something else in the cluster refuses, in these words.
    ByOther(String),
    /// The group lacks the right: not yet, or at all.
    NoRight,
    /// The administrator may not ask as somebody else.
    NotAsked(String),
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// It is none: the API server did not answer, or in an unknown form.
    pub(super) fn of(answer: Result<(), CallError>) -> Result<Self, CallError> {
        let error = match answer {
            Ok(()) => return Ok(Self::Allowed),
            Err(error) => error,
        };
        match &error.kind {
            ErrorKind::Admission(Admission::Policy(name)) if name == GUARD => Ok(Self::ByGuard),
            ErrorKind::Denied(Denial { action: Some(action), .. }) if action.starts_with("impersonate ") => {
                Ok(Self::NotAsked(error.to_string()))
            }
            ErrorKind::Denied(_) => Ok(Self::NoRight),
            ErrorKind::Admission(_) => Ok(Self::ByOther(error.to_string())),
            _ => Err(error),
        }
    }
}

impl Gate<'_> {
    /// The user as whom is asked: a session of the role, as EKS names it.
    pub(super) fn user(&self) -> String {
        let role = &self.desired.role.role;
        format!("arn:{}:sts::{}:assumed-role/{}/qovery-irsa-bootstrap", role.account.partition, role.account.id, role.name)
    }

    /// A ServiceAccount in a namespace that the guard keeps the group out of; none if the zone has all that every cluster has.
    pub(super) fn elsewhere(&self) -> Option<ObjectRef> {
        let is_within = |namespace: &str| {
            let of_zone = self.bench.spec.namespaces.iter().any(|pattern| pattern_matches(pattern.as_str(), namespace));
            of_zone || namespace == self.desired.subject.namespace.as_str()
        };
        let name = OF_EVERY_CLUSTER.into_iter().find(|name| !is_within(name))?;
        Some(ObjectRef { kind: ObjectKind::ServiceAccount, namespace: Some(name.parse().ok()?), name: PROBE.to_owned() })
    }

    /// Returns when the guard refuses the group a ServiceAccount elsewhere. Says so where that cannot be asked, and waits for as long as `settle`
    /// says: a policy counts some seconds after it was applied.
    ///
    /// # Errors
    /// The guard does not refuse in time, or the API server does not answer. Nobody was put in the group.
    pub(super) async fn wait_for_the_guard(&self, settle: Duration, report: &mut Report<'_>) -> Result<(), BootstrapError> {
        let Some(at) = self.elsewhere() else {
            report.note("not proven: that the guard is in force, since the namespaces of this zone are all that could be asked about");
            return self.wait_unseen(settle).await;
        };
        let (user, patience) = (self.user(), self.bench.patience);
        let who = Impersonated { user: &user, group: ACCESS_GROUP };
        let role = self.desired.role.role.to_string();
        let began = Instant::now();
        let mut pauses = BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE);
        let _waiting = patience.waiting("the guard to be in force");
        let mut seen = None;
        loop {
            let asked = self.asked("a ServiceAccount elsewhere", async || self.kubernetes.rehearse_as(who, &at, &role).await).await;
            let answer = match (asked, seen) {
                // The time ended within a question: the answer before it counts.
                (Err(BootstrapError::Call(_)), Some(said)) if patience.is_over() => return Err(not_in_force(began, said)),
                (asked, _) => asked?,
            };
            let said = match answer {
                Answer::ByGuard => return Ok(()),
                Answer::NotAsked(said) => {
                    report
                        .note(&format!("not proven: that the guard is in force, since these credentials may not ask as the group: {said}"));
                    return self.wait_unseen(settle).await;
                }
                Answer::ByOther(said) => {
                    report.note(&format!("not proven: that the guard is in force, since something else refuses first: {said}"));
                    return self.wait_unseen(settle).await;
                }
                Answer::Allowed => "the API server would have taken a ServiceAccount in another namespace",
                Answer::NoRight => "the rights of the group are not in force yet",
            };
            if began.elapsed() >= LONGEST || !patience.sleep(pauses.jittered()).await {
                return Err(if patience.is_interrupted() { StepError::Interrupted.into() } else { not_in_force(began, said) });
            }
            seen = Some(said);
        }
    }

    /// Waits where nobody can see whether the guard counts by now.
    async fn wait_unseen(&self, settle: Duration) -> Result<(), BootstrapError> {
        let patience = self.bench.patience;
        let _waiting = patience.waiting("the guard to be in force");
        let is_over = settle.is_zero() || patience.sleep(settle).await;
        if !is_over && patience.is_interrupted() { Err(StepError::Interrupted.into()) } else { Ok(()) }
    }

    /// Asks as the group. What passes is asked again; a refusal is an answer.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn asked(&self, what: &str, question: impl AsyncFn() -> Result<(), CallError>) -> Result<Answer, BootstrapError> {
        const CALL: &str = "kubernetes:impersonate groups";
        let asked = self.bench.patience.call(CALL, async || Answer::of(question().await)).await;
        asked.map_err(|source| Failed { doing: format!("ask as group `{ACCESS_GROUP}` for {what}"), call: CALL, source }.into())
    }
}

fn not_in_force(began: Instant, said: &str) -> BootstrapError {
    let seconds = began.elapsed().as_secs();
    BootstrapError::NotGuarded(vec![format!(
        "the guard is not in force after {seconds} s: {said}; nobody was put in group `{ACCESS_GROUP}`"
    )])
}
