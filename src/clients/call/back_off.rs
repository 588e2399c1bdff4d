//! Pauses between the rounds of a loop.

use std::time::Duration;

/// Pauses, each twice as long as the one before, up to the longest.
#[derive(Clone, Debug)]
pub struct BackOff {
    next: Duration,
    longest: Duration,
}

impl BackOff {
    /// From `first` on, none longer than `longest`.
    #[must_use]
    pub fn doubling(first: Duration, longest: Duration) -> Self {
        Self { next: first.min(longest), longest }
    }

    /// All of one length.
    #[must_use]
    pub fn even(pause: Duration) -> Self {
        Self::doubling(pause, pause)
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.longest.min(pause.saturating_mul(2));
        pause
    }

    /// The next pause, half of it random: so that many jobs that began together do not go on together.
    pub fn jittered(&mut self) -> Duration {
        self.pause().mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_takes_at_most_half() {
        let seconds = |mut pauses: BackOff| [(); 5].map(|()| pauses.pause().as_secs());
        assert_eq!(seconds(BackOff::doubling(Duration::from_secs(1), Duration::from_secs(5))), [1, 2, 4, 5, 5]);
        assert_eq!(seconds(BackOff::doubling(Duration::from_secs(9), Duration::from_secs(5))), [5; 5]);
        assert_eq!(seconds(BackOff::even(Duration::from_secs(3))), [3; 5]);
        let mut pauses = BackOff::even(Duration::from_secs(10));
        for _ in 0..1000 {
            let pause = pauses.jittered();
            assert!((5.0..=10.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
    }
}
