//! The past states of a service, from which stale reads are answered.
//!
//! What is arranged before the first request counts as having always been so.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use crate::service::Service;

/// How many states are kept, and for how long by the shared clock.
const STATES: usize = 512;
const AGE: Duration = Duration::from_mins(5);

/// States with the time since when they held, oldest first; never empty.
pub(crate) struct History {
    states: VecDeque<(SystemTime, Box<dyn Service>)>,
    begun: bool,
}

impl History {
    pub(crate) fn new(state: Box<dyn Service>, now: SystemTime) -> Self {
        Self { states: VecDeque::from([(now, state)]), begun: false }
    }

    /// From the first request on, a change has a before.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// Notes the state after a change.
    pub(crate) fn changed(&mut self, state: Box<dyn Service>, now: SystemTime) {
        if !self.begun {
            self.states.clear();
        }
        self.states.push_back((now, state));
        // The oldest state is dropped once the next one is itself too old to be asked for.
        while self.states.len() > 1 && (self.states.len() > STATES || self.states[1].0 + AGE < now) {
            self.states.pop_front();
        }
    }

    /// Makes the present the only past.
    pub(crate) fn settle(&mut self, state: Box<dyn Service>, now: SystemTime) {
        self.states.clear();
        self.states.push_back((now, state));
    }

    /// A copy of the state as it was at `then`, or of the oldest one known.
    pub(crate) fn at(&self, then: SystemTime) -> Option<Box<dyn Service>> {
        self.states.iter().rev().find(|(since, _)| *since <= then).or_else(|| self.states.front()).map(|(_, state)| state.snapshot())
    }
}
