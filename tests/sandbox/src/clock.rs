//! The clock that the services share: real, scaled or stepped by hand.
//!
//! It says what time the services believe it is (signatures, expiry, the age of a stale read). How long an injected
//! fault lasts is wall time and not asked here.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// A clock; clones share their time.
///
/// A client signs with the machine's clock, so a clock moved by more than five minutes makes every signature too old.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What the clock said at `since`.
    base: SystemTime,
    since: Instant,
    /// Seconds of this clock per second of the machine; 0 stands still.
    factor: f64,
}

impl Clock {
    /// The machine's time.
    #[must_use]
    pub fn real() -> Self {
        Self::scaled(1.0)
    }

    /// Starts at the machine's time and runs `factor` times as fast.
    #[must_use]
    pub fn scaled(factor: f64) -> Self {
        Self::with(SystemTime::now(), factor)
    }

    /// Stands still at `start` and moves only by [`advance`](Self::advance).
    #[must_use]
    pub fn stepped(start: SystemTime) -> Self {
        Self::with(start, 0.0)
    }

    fn with(base: SystemTime, factor: f64) -> Self {
        Self(Arc::new(Mutex::new(State { base, since: Instant::now(), factor: factor.max(0.0) })))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.state().now()
    }

    /// Moves the clock forward at once, whatever its kind.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.base += by;
    }

    /// From now on runs `factor` times as fast as the machine; 0 stands still.
    pub fn scale(&self, factor: f64) {
        let mut state = self.state();
        state.base = state.now();
        state.since = Instant::now();
        state.factor = factor.max(0.0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> SystemTime {
        self.base + self.since.elapsed().mul_f64(self.factor)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepped_clock_moves_only_when_told() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::stepped(start);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.now(), start);
        clock.clone().advance(Duration::from_mins(1));
        assert_eq!(clock.now(), start + Duration::from_mins(1));
    }

    #[test]
    fn a_scaled_clock_runs_faster_than_the_machine() {
        let clock = Clock::scaled(1_000.0);
        let before = clock.now();
        std::thread::sleep(Duration::from_millis(10));
        let passed = clock.now().duration_since(before).unwrap();
        assert!(passed >= Duration::from_secs(10), "{passed:?}");
    }

    #[test]
    fn changing_the_scale_keeps_the_time_reached() {
        let clock = Clock::scaled(1_000.0);
        std::thread::sleep(Duration::from_millis(5));
        clock.scale(0.0);
        let frozen = clock.now();
        assert!(frozen >= SystemTime::now() + Duration::from_secs(4));
        assert_eq!(clock.now(), frozen);
    }
}
