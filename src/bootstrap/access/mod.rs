//! `bootstrap --cluster-access`: a role for one ServiceAccount that reaches all namespaces of the cluster, within the guard. What differs is
//! decided in `plan/bootstrap/access`.

mod apply;
mod force;
mod observe;
mod proof;
mod reach;

use std::time::Duration;

use tokio::time::Instant;

use super::{BootstrapError, observe::Bench};
use crate::{
    clients::{call::BackOff, kubernetes::Kubernetes},
    model::{
        bootstrap::{AuthenticationMode, DesiredAccess, ObservedAccess},
        line::one_line,
    },
    plan::{
        Mode,
        bootstrap::{
            Direction,
            access::{AccessPlan, make, remove},
        },
    },
    report::Report,
    steps::StepError,
};

/// How often a plan is carried out: once, and some more for what is shown late or others do meanwhile.
const MOST_ROUNDS: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a run works with.
pub(super) struct Gate<'a> {
    bench: &'a Bench<'a>,
    kubernetes: Kubernetes,
    mode: AuthenticationMode,
    desired: &'a DesiredAccess,
}

/// Reaches the cluster and sees that nothing stands in the way. Nothing is changed.
///
/// # Errors
/// AWS or the cluster cannot be reached or refuses, or something may not be touched.
pub(super) async fn open<'a>(
    bench: &'a Bench<'a>,
    desired: &'a DesiredAccess,
    report: &mut Report<'_>,
) -> Result<Gate<'a>, BootstrapError> {
    let (kubernetes, mode) = tokio::select! {
        reached = reach::reach(bench) => reached?,
        () = bench.patience.interruption() => return Err(StepError::Interrupted.into()),
    };
    let gate = Gate { bench, kubernetes, mode, desired };
    gate.plan(report).await?;
    Ok(gate)
}

/// Reaches the cluster and answers what is there of cluster access. Nothing is changed.
///
/// # Errors
/// AWS or the cluster cannot be reached or refuses, or something may not be touched.
pub(super) async fn look(bench: &Bench<'_>, desired: &DesiredAccess) -> Result<ObservedAccess, BootstrapError> {
    let (kubernetes, mode) = reach::reach(bench).await?;
    let observed = Gate { bench, kubernetes, mode, desired }.observe().await?;
    make(desired, &observed).map_err(StepError::from)?;
    Ok(observed)
}

impl Gate<'_> {
    /// Makes cluster access and proves that the guard holds, takes it away, or only says what that takes. Answers how many actions a dry run has
    /// found.
    ///
    /// # Errors
    /// AWS or the cluster refuses, something may not be touched, or the guard does not hold.
    pub(super) async fn run(&self, mode: Mode, settle: Duration, report: &mut Report<'_>) -> Result<usize, BootstrapError> {
        let to_do = self.converge(mode, settle, report).await?;
        if mode == Mode::Apply && self.bench.direction == Direction::Make {
            self.prove(report).await?;
        }
        Ok(to_do)
    }

    /// Looks, plans and carries out until nothing is to be done.
    async fn converge(&self, mode: Mode, settle: Duration, report: &mut Report<'_>) -> Result<usize, BootstrapError> {
        let patience = self.bench.patience;
        let mut plan = self.plan(report).await?;
        for _ in 0..MOST_ROUNDS {
            match mode {
                Mode::Apply => report.planned(&plan.actions),
                Mode::DryRun => report.previewed(&plan.actions),
            }
            if plan.actions.is_empty() || mode == Mode::DryRun {
                plan.left.iter().for_each(|left| report.left(left));
                return Ok(plan.actions.len());
            }
            self.apply(&plan, settle, report).await?;
            plan = self.seen(settle, report).await?;
        }
        if plan.actions.is_empty() {
            plan.left.iter().for_each(|left| report.left(left));
            return Ok(0);
        }
        let left: Vec<String> = plan.actions.iter().map(|action| one_line(&action.to_string())).collect();
        Err(StepError::NotVerified { seconds: patience.elapsed().as_secs(), left: left.join("\n  ") }.into())
    }

    /// The plan after one was carried out. IAM may show the past for as long as `settle` says: until then it is only looked at again.
    async fn seen(&self, settle: Duration, report: &mut Report<'_>) -> Result<AccessPlan, BootstrapError> {
        let began = Instant::now();
        let mut pauses = BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE);
        let _waiting = self.bench.patience.waiting("the changes to show");
        loop {
            let plan = self.plan(report).await?;
            if plan.actions.is_empty() || began.elapsed() >= settle || !self.bench.patience.sleep(pauses.jittered()).await {
                return Ok(plan);
            }
        }
    }

    /// What is to be done now.
    async fn plan(&self, report: &mut Report<'_>) -> Result<AccessPlan, BootstrapError> {
        let observed = tokio::select! {
            observed = self.observe() => observed?,
            () = self.bench.patience.interruption() => return Err(StepError::Interrupted.into()),
        };
        let plan = match self.bench.direction {
            Direction::Make => make(self.desired, &observed),
            Direction::Remove => remove(self.desired, &observed),
        };
        let plan = plan.map_err(StepError::from)?;
        plan.notes.iter().for_each(|note| report.note(note));
        Ok(plan)
    }
}
