//! One call to a service: how it fails, how long it may take, and when it is tried again.
//!
//! Each adapter turns its own errors into [`CallError`]; nobody else sees an SDK's.

use std::{fmt, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

/// A call that failed, in the service's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// What the failure means for the caller.
    pub kind: Kind,
    /// The service's code, as `AccessDenied`.
    pub code: String,
    /// The service's message.
    pub message: String,
    /// The id under which the service knows the request.
    pub request_id: Option<String>,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
}

/// What a failure means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The thing is not there.
    NotFound,
    /// The thing is there already.
    AlreadyExists,
    /// Another field manager holds what the apply would change.
    Held,
    /// Not permitted.
    Denied,
    /// Not known who calls: missing, wrong or expired credentials.
    Unauthenticated,
    /// Too many calls: later.
    Throttled,
    /// A fault that passes.
    Transient,
    /// Stopped by a signal.
    Interrupted,
    /// Any other: trying again does not help.
    Other,
}

impl CallError {
    /// A failure without a request id.
    #[must_use]
    pub fn new(kind: Kind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into(), request_id: None, retry_after: None }
    }

    /// The messages of an error and its sources, outermost first, each once.
    #[must_use]
    pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
        let mut messages: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let message = error.to_string();
            // Some errors repeat their source's text in their own.
            if !messages.iter().any(|shown| shown.contains(&message)) {
                messages.push(message);
            }
            next = error.source();
        }
        messages.join(": ")
    }

    fn passes(&self) -> bool {
        matches!(self.kind, Kind::Throttled | Kind::Transient)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        self.request_id.as_ref().map_or(Ok(()), |id| write!(f, " (request id {id})"))
    }
}

impl std::error::Error for CallError {}

/// A call that failed, and what it was to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to {doing}")]
pub struct Failed {
    /// What was being done to which thing.
    pub doing: String,
    /// The call as permissions name it: `iam:GetRole`, `kubernetes:get serviceaccounts`.
    pub call: &'static str,
    /// Why.
    #[source]
    pub source: CallError,
}

impl Failed {
    /// For `map_err`: the failure of `call`, which was to do this.
    pub fn to(doing: impl Into<String>, call: &'static str) -> impl FnOnce(CallError) -> Self {
        let doing = doing.into();
        move |source| Self { doing, call, source }
    }
}

/// How long a run may go on: until its deadline, or until it is interrupted.
#[derive(Clone, Debug)]
pub struct Patience {
    began: Instant,
    until: Instant,
    limit: Duration,
    interrupted: watch::Receiver<bool>,
}

/// No single attempt takes longer: a connection that hangs is one to give up.
const ATTEMPT: Duration = Duration::from_secs(20);
const TIMEOUT: &str = "Timeout";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const FIRST_PAUSE_WHEN_THROTTLED: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Patience {
    /// Until `limit` from now.
    #[must_use]
    pub fn new(limit: Duration, interrupted: watch::Receiver<bool>) -> Self {
        let began = Instant::now();
        Self { began, until: began + limit, limit, interrupted }
    }

    /// The same, but not longer than this from now.
    #[must_use]
    pub fn at_most(&self, limit: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + limit), limit, ..self.clone() }
    }

    /// How long the run has gone on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether the run was interrupted.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// Waits for an interruption; for ever if none comes.
    pub async fn interruption(&self) {
        let mut interrupted = self.interrupted.clone();
        if interrupted.wait_for(|interrupted| *interrupted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sleeps, unless that would outlast the deadline or the run is interrupted: then false, at once.
    pub async fn sleep(&self, pause: Duration) -> bool {
        let wake = Instant::now() + pause;
        if wake >= self.until {
            return false;
        }
        tokio::select! {
            () = sleep_until(wake) => true,
            () = self.interruption() => false,
        }
    }

    /// Calls until it succeeds, fails for good, or the deadline is near; between attempts it waits, longer each time, with jitter.
    ///
    /// A call in flight is not interrupted.
    ///
    /// # Errors
    /// The last failure that says more than that the time was over.
    pub async fn call<T>(&self, mut attempt: impl AsyncFnMut() -> Result<T, CallError>) -> Result<T, CallError> {
        let mut attempts = 0_u32;
        let mut last: Option<CallError> = None;
        loop {
            let until = self.until.min(Instant::now() + ATTEMPT);
            let error = match timeout_at(until, attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => match last.take() {
                    Some(said) if Instant::now() >= self.until && said.code != TIMEOUT => return Err(said),
                    _ => CallError::new(Kind::Transient, TIMEOUT, self.timeout_message()),
                },
            };
            if !error.passes() || !self.sleep(pause(&error, attempts)).await {
                return Err(error);
            }
            last = Some(error);
            attempts += 1;
        }
    }

    fn timeout_message(&self) -> String {
        if Instant::now() < self.until {
            format!("no answer within {} s", ATTEMPT.as_secs())
        } else {
            format!("no answer within the {} s of the whole run", self.limit.as_secs())
        }
    }
}

/// Half fixed, half random, doubled each time: enough apart that many jobs do not knock together.
fn pause(error: &CallError, attempts: u32) -> Duration {
    let first = if error.kind == Kind::Throttled { FIRST_PAUSE_WHEN_THROTTLED } else { FIRST_PAUSE };
    let longest = first.saturating_mul(2_u32.saturating_pow(attempts)).min(LONGEST_PAUSE);
    let jittered = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
    error.retry_after.map_or(jittered, |asked| jittered.max(asked.min(LONGEST_PAUSE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(limit: Duration) -> (watch::Sender<bool>, Patience) {
        let (interrupt, interrupted) = watch::channel(false);
        (interrupt, Patience::new(limit, interrupted))
    }

    fn fault(kind: Kind) -> CallError {
        CallError::new(kind, "Fault", "for the test")
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_tried_again_until_it_has_passed() {
        let (_interrupt, patience) = patience(Duration::from_mins(5));
        for kind in [Kind::Throttled, Kind::Transient] {
            let mut left = 5;
            let answer = patience
                .call(async || {
                    left -= 1;
                    if left == 0 { Ok("done") } else { Err(fault(kind)) }
                })
                .await;
            assert_eq!(answer, Ok("done"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_fault_ends_before_the_deadline_and_a_final_one_at_once() {
        let (_interrupt, patience) = patience(Duration::from_mins(1));
        let started = Instant::now();
        assert_eq!(patience.call::<()>(async || Err(fault(Kind::Denied))).await, Err(fault(Kind::Denied)));
        assert_eq!(started.elapsed(), Duration::ZERO);
        let mut attempts = 0;
        let answer = patience
            .call::<()>(async || {
                attempts += 1;
                Err(fault(Kind::Transient))
            })
            .await;
        assert_eq!(answer, Err(fault(Kind::Transient)));
        assert!(started.elapsed() <= Duration::from_mins(1));
        assert!((8..=24).contains(&attempts), "{attempts}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_given_up_and_tried_again() {
        let (_interrupt, patience) = patience(Duration::from_secs(50));
        let started = Instant::now();
        let error = patience.call::<()>(async || std::future::pending().await).await.unwrap_err();
        assert_eq!(error.to_string(), "Timeout: no answer within the 50 s of the whole run");
        assert_eq!(started.elapsed(), Duration::from_secs(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_refused_before_it_hung_is_quoted() {
        let (_interrupt, patience) = patience(Duration::from_secs(10));
        let mut attempts = 0;
        let error = patience
            .call::<()>(async || {
                attempts += 1;
                if attempts == 1 { Err(fault(Kind::Throttled)) } else { std::future::pending().await }
            })
            .await
            .unwrap_err();
        assert_eq!(error, fault(Kind::Throttled));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interruption_ends_the_waiting_and_not_the_call() {
        let (interrupt, patience) = patience(Duration::from_mins(5));
        let mut attempts = 0;
        let answer = patience
            .call::<()>(async || {
                attempts += 1;
                interrupt.send_replace(true);
                tokio::time::sleep(Duration::from_secs(5)).await;
                Err(fault(Kind::Transient))
            })
            .await;
        assert_eq!((answer, attempts), (Err(fault(Kind::Transient)), 1));
        assert!(patience.is_interrupted());
    }

    #[test]
    fn a_service_that_asks_to_wait_is_obeyed_within_reason() {
        let mut error = fault(Kind::Throttled);
        error.retry_after = Some(Duration::from_secs(3));
        assert!(pause(&error, 0) >= Duration::from_secs(3));
        error.retry_after = Some(Duration::from_hours(1));
        assert!(pause(&error, 0) <= LONGEST_PAUSE);
    }
}
