//! `bootstrap --cluster-access`: a role for one ServiceAccount that reaches all namespaces of the cluster, within the guard. What differs is
//! decided in `plan/bootstrap/access`.

mod apply;
mod force;
mod observe;
mod proof;
mod reach;

use std::time::Duration;

use super::{
    BootstrapError,
    converge::{Part, converge},
    observe::Bench,
};
use crate::{
    clients::{call::Patience, kubernetes::Kubernetes},
    model::bootstrap::{AuthenticationMode, DesiredAccess, ObservedAccess},
    plan::{
        Mode,
        bootstrap::{
            Direction,
            access::{AccessAction, AccessPlan, make, remove},
        },
    },
    report::Report,
    steps::StepError,
};

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
        let to_do = converge(self, mode, settle, report).await?;
        if mode == Mode::Apply && self.bench.direction == Direction::Make {
            self.prove(report).await?;
        }
        Ok(to_do)
    }
}

impl Part for Gate<'_> {
    type Action = AccessAction;

    fn patience(&self) -> &Patience {
        self.bench.patience
    }

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
    async fn apply(&self, plan: &AccessPlan, settle: Duration, report: &mut Report<'_>) -> Result<(), BootstrapError> {
        self.carry_out_all(plan, settle, report).await
    }
}
