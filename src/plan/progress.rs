//! What a run does next: look, carry out, wait, or end. Pure: the loop in `converge` tells it how much time has passed.
//!
//! A role with many writers is only done when a plan is empty on an observation made a settle time after the run's own last write
//! to it: whoever wrote last has then seen every tag that was written before, and whoever tags later writes later.

use std::time::Duration;

use super::{Freshness, Plan, Writers};

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How the last plan that was carried out ended, if any was.
    pub carried_out: Option<CarriedOut>,
    /// Since the first was.
    pub since_first: Duration,
    /// Since the run's own last write to a role with many writers, or since it began.
    pub quiet: Duration,
    /// Whether there was such a write.
    pub wrote_to_many: bool,
    /// How long IAM may show the past.
    pub settle: Duration,
}

/// How a plan that was carried out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarriedOut {
    /// Whole, this long ago.
    Whole(Duration),
    /// Somebody else was faster.
    Overtaken,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: all is as it should be.
    Done,
    /// Carry out the plan.
    CarryOut,
    /// Carry out only the lanes with many writers: what this environment alone writes was written, and must only be seen.
    CarryOutMany,
    /// Look again after a growing pause.
    LookAgain,
    /// Look again after exactly this.
    Wait(Duration),
    /// What was carried out is not to be seen.
    GiveUp,
}

/// How long to wait for what was carried out to be seen. Field reports speak of up to a minute.
const LONGEST_SETTLING: Duration = Duration::from_mins(1);

impl Progress {
    /// What is left of the settle time.
    fn unsettled(&self) -> Duration {
        self.settle.saturating_sub(self.quiet)
    }

    /// How long to wait before looking: a look during the settle time could not end the run.
    #[must_use]
    pub fn before_looking(&self) -> Duration {
        if self.wrote_to_many { self.unsettled() } else { Duration::ZERO }
    }

    /// What an observation made now shows.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        if self.unsettled().is_zero() { Freshness::Settled } else { Freshness::Unsettled }
    }

    /// What to do about a plan.
    ///
    /// | plan | carried out before | next |
    /// |---|---|---|
    /// | empty | | done; if something waits for a settled look, that look |
    /// | not empty | no, or overtaken | carry it out |
    /// | not empty, with a lane of many writers | whole | carry out these lanes |
    /// | not empty | whole, less than a settle time ago | look again: what is seen may be the past |
    /// | not empty | whole, longer ago | carry it out: a look of the past hid it before, or something has changed it since |
    /// | not empty, after a minute and a settle time | yes | give up, unless other writers explain it |
    #[must_use]
    pub fn next(&self, plan: &Plan) -> Next {
        if plan.is_empty() {
            return if plan.waits { Next::Wait(self.unsettled()) } else { Next::Done };
        }
        match self.carried_out {
            Some(CarriedOut::Whole(_)) if plan.lanes.iter().any(|lane| lane.writers == Writers::Many) => Next::CarryOutMany,
            Some(_) if self.since_first > LONGEST_SETTLING + self.settle => Next::GiveUp,
            Some(CarriedOut::Whole(ago)) if ago < self.settle => Next::LookAgain,
            None | Some(CarriedOut::Whole(_) | CarriedOut::Overtaken) => Next::CarryOut,
        }
    }
}
