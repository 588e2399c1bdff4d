//! The loop: observe, plan, apply, and observe again until there is nothing to do.
//!
//! What was applied counts only when it is seen: IAM is eventually consistent, and a write that is not seen may have been lost
//! to another's. Nothing is applied twice on the word of a read that may be stale.

use std::time::{Duration, Instant};

use crate::{
    apply::{Outcome, apply},
    call::Patience,
    connect::Connection,
    failure::RunError,
    model::{desired::Desired, identity::Identity},
    observe::observe,
    plan::{Action, Goal, Plan, Refusal, Refusals, plan},
    report::Report,
};

/// How long to wait for what was applied to be seen. Field reports speak of up to a minute.
const SETTLING: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is to be brought about, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// What a run is to bring about.
    pub goal: Goal,
    /// For whom.
    pub identities: &'a [Identity],
    /// Where.
    pub connection: &'a Connection,
    /// How long it may take.
    pub patience: &'a Patience,
}

impl Work<'_> {
    /// What should be, and what brings it about from what is there now.
    ///
    /// # Errors
    /// What is there cannot be seen, or may not be touched.
    pub async fn plan(&self, report: &mut Report<'_>) -> Result<(Desired, Plan), RunError> {
        let observed = tokio::select! {
            observed = observe(self.identities, self.connection, self.patience) => observed?,
            () = self.patience.interruption() => return Err(RunError::Interrupted),
        };
        let place = &self.connection.place;
        report.place(place.namespace.as_str(), place.issuer.as_str(), observed.account.id.as_str());
        let desired = Desired::new(self.identities, place, &observed.account)?;
        let plan = plan(self.goal, &desired, &observed)?;
        Ok((desired, plan))
    }

    /// Brings it about, and sees that it is.
    ///
    /// # Errors
    /// It cannot be seen, may not be touched, or a call failed.
    pub async fn converge(&self, report: &mut Report<'_>) -> Result<Desired, RunError> {
        // When the loop began to wait, and for what.
        let mut waiting: Option<(Instant, Outcome)> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let (desired, plan) = self.plan(report).await?;
            if plan.is_empty() {
                report.plan(&plan);
                return Ok(desired);
            }
            let since = waiting.as_ref().map(|(since, _)| *since);
            match waiting.take() {
                Some((since, outcome)) if since.elapsed() > SETTLING => return Err(unsettled(&plan, since, outcome)),
                Some((since, Outcome::Done)) => waiting = Some((since, Outcome::Done)),
                None | Some((_, Outcome::Taken(_))) => {
                    report.plan(&plan);
                    let outcome = apply(&plan, self.connection, self.patience, |applied| report.applied(&applied)).await?;
                    let look_at_once = outcome == Outcome::Done;
                    waiting = Some((since.filter(|_| !look_at_once).unwrap_or_else(Instant::now), outcome));
                    if look_at_once {
                        continue;
                    }
                }
            }
            if !self.patience.sleep(pause).await {
                let (since, outcome) = waiting.unwrap_or((Instant::now(), Outcome::Done));
                return Err(if self.patience.is_interrupted() { RunError::Interrupted } else { unsettled(&plan, since, outcome) });
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

/// What it was waited for in vain.
fn unsettled(plan: &Plan, since: Instant, outcome: Outcome) -> RunError {
    match outcome {
        Outcome::Taken(Action::CreateRole(role)) => Refusals(vec![Refusal::NameTaken(role.arn.name)]).into(),
        Outcome::Taken(_) | Outcome::Done => {
            let left = plan.actions().map(ToString::to_string).collect::<Vec<_>>().join("\n  ");
            RunError::NotVerified { seconds: since.elapsed().as_secs(), left }
        }
    }
}
