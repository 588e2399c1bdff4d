//! The loop that the zone and its cluster access share: look, plan and carry out, until nothing is to be done.

use std::time::Duration;

use tokio::time::Instant;

use super::error::BootstrapError;
use crate::{
    clients::call::{BackOff, Patience},
    model::line::one_line,
    plan::{Call, Mode, bootstrap::PartPlan},
    report::Report,
    steps::StepError,
};

/// How often a plan is carried out: once, and some more for what is shown late or others do meanwhile.
const MOST_ROUNDS: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is made or taken away as one.
pub(super) trait Part {
    /// One change of it.
    type Action: Call;

    /// How long a run may take, and whether it is asked to end.
    fn patience(&self) -> &Patience;

    /// What is to be done now.
    async fn plan(&self, report: &mut Report<'_>) -> Result<PartPlan<Self::Action>, BootstrapError>;

    /// Carries out a plan. Where something is there, changed or gone already, somebody was faster or an answer was lost: what is there must be
    /// looked at again, and that is no failure.
    async fn apply(&self, plan: &PartPlan<Self::Action>, settle: Duration, report: &mut Report<'_>) -> Result<(), BootstrapError>;
}

/// Looks, plans and carries out until nothing is to be done. Answers how many actions a dry run has found.
///
/// # Errors
/// A look or a change failed, or something stays to be done.
pub(super) async fn converge(part: &impl Part, mode: Mode, settle: Duration, report: &mut Report<'_>) -> Result<usize, BootstrapError> {
    let mut plan = part.plan(report).await?;
    for _ in 0..MOST_ROUNDS {
        match mode {
            Mode::Apply => report.planned(&plan.actions),
            Mode::DryRun => report.previewed(&plan.actions),
        }
        if plan.actions.is_empty() || mode == Mode::DryRun {
            plan.left.iter().for_each(|left| report.left(left));
            return Ok(plan.actions.len());
        }
        part.apply(&plan, settle, report).await?;
        plan = seen(part, settle, report).await?;
    }
    if plan.actions.is_empty() {
        plan.left.iter().for_each(|left| report.left(left));
        return Ok(0);
    }
    let left: Vec<String> = plan.actions.iter().map(|action| one_line(&action.to_string())).collect();
    Err(StepError::NotVerified { seconds: part.patience().elapsed().as_secs(), left: left.join("\n  ") }.into())
}

/// The plan after one was carried out. IAM may show the past for as long as `settle` says: until then it is only looked at again.
async fn seen<P: Part>(part: &P, settle: Duration, report: &mut Report<'_>) -> Result<PartPlan<P::Action>, BootstrapError> {
    let began = Instant::now();
    let mut pauses = BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE);
    let _waiting = part.patience().waiting("the changes to show");
    loop {
        let plan = part.plan(report).await?;
        if plan.actions.is_empty() || began.elapsed() >= settle || !part.patience().sleep(pauses.jittered()).await {
            return Ok(plan);
        }
    }
}
