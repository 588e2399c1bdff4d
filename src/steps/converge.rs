//! The loop: observe, plan, apply, and observe again until there is nothing to do.
//!
//! What was applied counts only when it is seen: IAM is eventually consistent, and a write that is not seen may have been lost
//! to another's. Nothing is applied twice on the word of a read that may be stale: only after a settle time.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    clients::call::{BackOff, Patience, Waiting},
    model::{
        desired::Desired,
        identity::{Identity, Prune},
        line::one_line,
        marks::Jobs,
        observed::Observed,
    },
    plan::{Action, CarriedOut, Freshness, Goal, Next, Plan, Progress, Refusal, Refusals, asks_for_agent, plan},
    report::Report,
    steps::{
        StepError,
        apply::{Completion, apply},
        world::{Look, World},
    },
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is to be brought about, and with what.
#[derive(Debug)]
pub struct Work<'a, C> {
    /// What a run is to bring about.
    pub goal: Goal,
    /// For whom.
    pub identities: &'a [Identity],
    /// What becomes of things that no identity names any more.
    pub prune: Prune,
    /// Which jobs exist, as far as it is known: marks of others keep nothing.
    pub jobs: Jobs,
    /// What is looked at, first and after each plan that was carried out.
    pub look: Look,
    /// Where.
    pub world: &'a C,
    /// How long it may take.
    pub patience: &'a Patience,
    /// How long IAM may show the past.
    pub settle: Duration,
}

/// What a run has brought about.
#[derive(Clone, Debug)]
pub struct Converged {
    /// What should be, and is.
    pub desired: Desired,
    /// The look that showed it.
    pub observed: Observed,
    /// What was done for it.
    pub applied: Vec<Action>,
    /// The plan that has nothing more to do: with what could not be taken away.
    pub plan: Plan,
}

impl<C> Clone for Work<'_, C> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), ..*self }
    }
}

impl<C: World> Work<'_, C> {
    /// What should be, what is there now, and what makes this that.
    ///
    /// # Errors
    /// What is there cannot be seen, or may not be touched.
    pub async fn plan(&self, look: Look, freshness: Freshness, report: &mut Report<'_>) -> Result<(Desired, Observed, Plan), StepError> {
        let mut observed = self.unless_interrupted(self.world.observe(look, self.identities, self.patience)).await?;
        let place = self.world.place();
        report.place(place.namespace.as_str(), place.issuer.as_str(), observed.account.id.as_str());
        let desired = self.desired(&observed, report)?;
        observed.judge_marks(&self.jobs);
        if asks_for_agent(self.goal, &desired, &observed) {
            observed.agent = self.unless_interrupted(self.world.agent(self.patience)).await?;
        }
        let plan = match plan(self.goal, &desired, &observed, freshness) {
            Err(refusals) if observed.limits.trust_policy.is_none() && refusals.0.iter().any(Refusal::asks_for_limits) => {
                observed.limits = self.unless_interrupted(self.world.limits(self.patience)).await?;
                plan(self.goal, &desired, &observed, freshness)?
            }
            plan => plan?,
        };
        Ok((desired, observed, plan))
    }

    /// What should be. For a removal an identity that cannot be there is none, and a note says so.
    fn desired(&self, observed: &Observed, report: &mut Report<'_>) -> Result<Desired, StepError> {
        let (place, account) = (self.world.place(), &observed.account);
        let desired = match self.goal {
            Goal::Start | Goal::Prune => Desired::new(self.identities, place, account)?,
            Goal::Delete | Goal::Sweep | Goal::Retire(_) => {
                let (desired, problems) = Desired::for_removal(self.identities, place, account);
                for problem in &problems {
                    report.note(&format!("does not matter here: {problem}"));
                }
                desired
            }
        };
        Ok(Desired { prune: self.prune, ..desired })
    }

    /// Brings it about, and sees that it is.
    ///
    /// # Errors
    /// It cannot be seen, may not be touched, or a call failed.
    pub async fn converge(&self, report: &mut Report<'_>) -> Result<Converged, StepError> {
        let mut course = Course::new(self.settle);
        let (mut applied, mut lost) = (Vec::new(), Vec::new());
        let mut waiting: Option<Waiting> = None;
        let mut look = self.look;
        loop {
            let progress = course.progress();
            self.sleep(progress.before_looking(), &course).await?;
            let (desired, observed, plan) = self.plan(look, course.progress().freshness(), report).await?;
            course.left = plan.actions().map(|action| one_line(&action.to_string())).collect();
            lost = with(lost, plan.lost.iter().cloned());
            let plan = match course.progress().next(&plan) {
                Next::Done => {
                    report.plan(&plan);
                    let plan = Plan { left: with(plan.left, lost), lost: Vec::new(), ..plan };
                    return Ok(Converged { desired, observed, applied, plan });
                }
                Next::CarryOut => plan,
                Next::CarryOutMany => plan.of_many_writers(),
                Next::Wait(time) => {
                    look = self.look.meanwhile();
                    self.sleep(time, &course).await?;
                    continue;
                }
                Next::LookAgain => {
                    look = self.look.meanwhile();
                    self.sleep(course.pauses.pause(), &course).await?;
                    continue;
                }
                Next::GiveUp => return Err(course.in_vain()),
            };
            if course.first.is_none() {
                self.confirm(report).await?;
            }
            report.plan(&plan);
            drop(waiting.take());
            let outcome = apply(&plan, self.world, self.patience, self.settle, |done| {
                report.did(&done.action, done.took);
                applied.push(done.action);
            })
            .await?;
            // What was carried out again without a write that settles must not be carried out again at once.
            let pauses = matches!(outcome, Completion::Overtaken(_)) || (course.carried_out.is_some() && !plan.writes_to_many());
            course.carried_out(&plan, outcome);
            waiting = Some(self.patience.waiting("IAM to show what was done"));
            look = self.look;
            if pauses {
                self.sleep(course.pauses.pause(), &course).await?;
            }
        }
    }

    /// Before something is changed: that it is the cluster that is meant.
    ///
    /// # Errors
    /// It is not, or a service does not answer.
    pub async fn confirm(&self, report: &mut Report<'_>) -> Result<(), StepError> {
        if let Some(doubt) = self.unless_interrupted(self.world.confirm(self.patience)).await? {
            report.note(&doubt);
        }
        Ok(())
    }

    async fn sleep(&self, time: Duration, course: &Course) -> Result<(), StepError> {
        if time.is_zero() || self.patience.sleep(time).await {
            return Ok(());
        }
        Err(if self.patience.is_interrupted() { StepError::Interrupted } else { course.in_vain() })
    }

    async fn unless_interrupted<T, E: Into<StepError>>(&self, reading: impl Future<Output = Result<T, E>>) -> Result<T, StepError> {
        tokio::select! {
            read = reading => read.map_err(Into::into),
            () = self.patience.interruption() => Err(StepError::Interrupted),
        }
    }
}

/// These, and those that are not among them.
fn with(mut these: Vec<String>, more: impl IntoIterator<Item = String>) -> Vec<String> {
    for thing in more {
        if !these.contains(&thing) {
            these.push(thing);
        }
    }
    these
}

/// When what happened.
struct Course {
    /// How long IAM may show the past.
    shown: Duration,
    /// That, and a little more, another time for each write.
    settle: Duration,
    /// The run's own last write to a role with many writers, or its beginning.
    last_write: Instant,
    wrote_to_many: bool,
    carried_out: Option<(Instant, Completion)>,
    /// When the first plan was carried out.
    first: Option<Instant>,
    pauses: BackOff,
    /// The actions of the last plan.
    left: Vec<String>,
}

impl Course {
    fn new(settle: Duration) -> Self {
        Self {
            shown: settle,
            settle,
            last_write: Instant::now(),
            wrote_to_many: false,
            carried_out: None,
            first: None,
            pauses: BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE),
            left: Vec::new(),
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            carried_out: self.carried_out.as_ref().map(|(at, outcome)| match outcome {
                Completion::Whole => CarriedOut::Whole(at.elapsed()),
                Completion::Overtaken(_) => CarriedOut::Overtaken,
            }),
            since_first: self.first.map(|first| first.elapsed()).unwrap_or_default(),
            quiet: self.last_write.elapsed(),
            wrote_to_many: self.wrote_to_many,
            settle: self.settle,
        }
    }

    fn carried_out(&mut self, plan: &Plan, outcome: Completion) {
        if plan.writes_to_many() {
            self.wrote_to_many = true;
            self.last_write = Instant::now();
            // Apart from each other, so that not all look and write at once.
            self.settle = self.shown.mul_f64(1.0 + fastrand::f64() / 4.0);
        }
        self.first.get_or_insert_with(Instant::now);
        self.carried_out = Some((Instant::now(), outcome));
    }

    /// What it was waited for in vain.
    fn in_vain(&self) -> StepError {
        if let Some((_, Completion::Overtaken(action))) = &self.carried_out
            && let Action::CreateRole(role) = &**action
        {
            return Refusals(vec![Refusal::NameTaken(role.arn.name.clone())]).into();
        }
        let since = self.first.unwrap_or(self.last_write);
        StepError::NotVerified { seconds: since.elapsed().as_secs(), left: self.left.join("\n  ") }
    }
}
