//! How fast a run may call a service that says it is asked too often.
//!
//! Hundreds of environments share the rates of one account. A run that is throttled therefore sends its calls of that service one
//! after another, further and further apart, and comes closer again with each that is answered: what all of them send settles near
//! what the service takes, instead of each of the calls that a run makes side by side knocking on its own.
//! Time comes from outside.

use std::time::Duration;

use tokio::time::Instant;

use crate::clients::call::CallError;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
/// Closer than this is as good as at once.
const LEAST: Duration = Duration::from_millis(150);
/// With twice as far for each call that is throttled, about two of three are answered in the long run.
const CLOSER: f64 = 0.7;

/// The pace of one service.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// How far calls are apart; nothing until the first is throttled.
    interval: Duration,
    /// When the next may be sent.
    next: Option<Instant>,
    /// When the interval was last made longer.
    slowed: Option<Instant>,
    /// What the service said then.
    said: Option<CallError>,
}

impl Pace {
    /// When a call that wants to be sent now, and before `until`, may be; and how the service last refused if that is not at once. A call
    /// for which it is too late takes nobody's place.
    pub(super) fn slot(&mut self, now: Instant, until: Instant) -> (Option<Instant>, Option<CallError>) {
        if self.interval.is_zero() {
            return (Some(now), None);
        }
        let slot = self.next.map_or(now, |next| next.max(now));
        if slot >= until {
            return (None, self.said.clone());
        }
        // Half fixed, half random: runs that were throttled together do not come back together.
        self.next = Some(slot + self.interval.mul_f64(0.5 + fastrand::f64()));
        (Some(slot), self.said.clone())
    }

    /// A call that was sent then is throttled.
    pub(super) fn throttled(&mut self, sent: Instant, now: Instant, error: &CallError) {
        // Calls that were sent side by side are throttled for one reason.
        if self.slowed.is_none_or(|slowed| sent >= slowed) {
            self.interval = (self.interval * 2).clamp(FIRST, LONGEST);
            self.slowed = Some(now);
            let wait = self.interval.mul_f64(0.5 + fastrand::f64() / 2.0);
            let asked = error.retry_after.unwrap_or_default().min(LONGEST);
            self.next = self.next.max(Some(now + wait.max(asked)));
        }
        self.said = Some(error.clone());
    }

    /// A call is answered.
    pub(super) fn answered(&mut self) {
        self.interval = self.interval.mul_f64(CLOSER);
        if self.interval < LEAST {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::call::ErrorKind;

    fn refused() -> CallError {
        CallError::new(ErrorKind::Throttled, "Throttling", "Rate exceeded")
    }

    /// Of a call that has an hour.
    fn slot(pace: &mut Pace, now: Instant) -> (Instant, Option<CallError>) {
        let (slot, said) = pace.slot(now, now + Duration::from_hours(1));
        (slot.unwrap(), said)
    }

    fn slots(pace: &mut Pace, now: Instant, count: usize) -> Vec<Duration> {
        (0..count).map(|_| slot(pace, now).0 - now).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_until_a_call_is_throttled_and_then_all_go_one_after_another() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(slots(&mut pace, now, 3), [Duration::ZERO; 3]);
        pace.throttled(now, now, &refused());
        let slots = slots(&mut pace, now, 4);
        assert!(slots[0] >= FIRST / 2 && slots[0] <= FIRST, "{slots:?}");
        let apart = |pair: &[Duration]| pair[1].saturating_sub(pair[0]);
        assert!(slots.windows(2).all(|pair| (FIRST / 2..=FIRST * 3 / 2).contains(&apart(pair))), "{slots:?}");
        assert_eq!(slot(&mut pace, now).1, Some(refused()), "a call that is never sent can say why");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_sent_side_by_side_slow_down_once_and_no_interval_is_longer_than_ten_seconds() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..5 {
            pace.throttled(now, now + Duration::from_millis(1), &refused());
        }
        assert_eq!(pace.interval, FIRST);
        for second in 1..20 {
            let sent = now + Duration::from_secs(second);
            pace.throttled(sent, sent, &refused());
        }
        assert_eq!(pace.interval, LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_answers_again_is_soon_asked_as_fast_as_before() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.throttled(now, now, &refused());
        let answered = (1..10).find(|_| {
            pace.answered();
            slot(&mut pace, now).0 == now
        });
        assert_eq!(answered, Some(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_asks_to_wait_is_obeyed_within_reason() {
        let now = Instant::now();
        for (asked, least, most) in [(3, 3, 3), (3600, 10, 10)] {
            let mut pace = Pace::default();
            pace.throttled(now, now, &CallError { retry_after: Some(Duration::from_secs(asked)), ..refused() });
            let wait = slot(&mut pace, now).0 - now;
            assert!((Duration::from_secs(least)..=Duration::from_secs(most)).contains(&wait), "{wait:?}");
        }
    }
}
