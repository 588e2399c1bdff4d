//! How long a call may take, when it is tried again, and what it is waited for.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    back_off::BackOff,
    error::{CallError, ErrorKind},
    pace::Pace,
};
use crate::model::startup::Startup;

/// What the calls of one kind took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// How often it was sent.
    pub attempts: u32,
    /// From sending to the answer.
    pub calling: Duration,
    /// Between an attempt and the next.
    pub pausing: Duration,
}

/// Where the time of a run went. Calls run side by side, so that their sum may be more than the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// By call, as permissions name it.
    pub calls: BTreeMap<&'static str, Took>,
    /// Waiting for what was done to show.
    pub waiting: Duration,
}

/// How long a run may go on: until its deadline, or until it is interrupted.
#[derive(Clone, Debug)]
pub struct Patience {
    began: Instant,
    until: Instant,
    limit: Duration,
    interrupted: watch::Receiver<bool>,
    shared: Arc<Mutex<Shared>>,
}

/// What all calls of a run know of each other.
#[derive(Debug, Default)]
struct Shared {
    spent: Spent,
    /// By service.
    paces: BTreeMap<&'static str, Pace>,
    /// By service.
    startups: BTreeMap<&'static str, Startup>,
    /// What is waited for just now, in the order in which it began.
    waits: BTreeMap<u64, Wait>,
    waited: u64,
}

/// Something that is waited for.
#[derive(Clone, Debug)]
struct Wait {
    what: String,
    since: Instant,
    /// What went wrong last.
    said: Option<String>,
    /// When it is next worth a line.
    due: Duration,
}

/// Says that something is waited for, until it is dropped.
#[derive(Debug)]
pub struct Waiting {
    shared: Arc<Mutex<Shared>>,
    number: u64,
}

impl Waiting {
    fn says(&self, said: &CallError) {
        if let Some(wait) = locked(&self.shared).waits.get_mut(&self.number) {
            wait.said = Some(said.to_string());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        locked(&self.shared).waits.remove(&self.number);
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A wait that is longer gets a line; then again whenever it has become three times as long, or a minute longer.
const WORTH_A_LINE: Duration = Duration::from_secs(5);

/// No single attempt takes longer: a connection that hangs is one to give up.
const ATTEMPT: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Patience {
    /// Until `limit` from now.
    #[must_use]
    pub fn new(limit: Duration, interrupted: watch::Receiver<bool>) -> Self {
        let began = Instant::now();
        Self { began, until: began + limit, limit, interrupted, shared: Arc::default() }
    }

    /// Where the time went until now.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.shared().spent.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        locked(&self.shared)
    }

    /// The same, but not longer than this from now.
    #[must_use]
    pub fn at_most(&self, limit: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + limit), limit, ..self.clone() }
    }

    /// The same, but over this much earlier, so that there is time for what must be done in the end.
    #[must_use]
    pub fn leaving(&self, time: Duration) -> Self {
        let until = self.until.checked_sub(time).map_or_else(Instant::now, |until| until.max(Instant::now()));
        Self { until: until.min(self.until), ..self.clone() }
    }

    /// The same for what is only good to know: a tenth of the time, so that a run that asks in several looks and is never answered
    /// still does its work.
    #[must_use]
    pub fn for_advice(&self) -> Self {
        self.at_most(self.limit / 10)
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

    /// Says what is waited for until the answer is dropped: for [`progress`](Self::progress).
    pub fn waiting(&self, what: impl Into<String>) -> Waiting {
        let mut shared = self.shared();
        shared.waited += 1;
        let number = shared.waited;
        shared.waits.insert(number, Wait { what: what.into(), since: Instant::now(), said: None, due: WORTH_A_LINE });
        Waiting { shared: Arc::clone(&self.shared), number }
    }

    /// A line that says what has been waited for, for some seconds, and for how long. Nothing if that was said a short while ago.
    #[must_use]
    pub fn progress(&self) -> Option<String> {
        let now = Instant::now();
        let mut shared = self.shared();
        let long = shared.waits.values_mut().filter(|wait| now - wait.since >= wait.due);
        let mut long: Vec<Wait> = long
            .map(|wait| {
                let taken = now - wait.since;
                wait.due = (taken * 3).min(taken + Duration::from_mins(1));
                wait.clone()
            })
            .collect();
        drop(shared);
        // What knows why comes first.
        long.sort_by_key(|wait| (wait.said.is_none(), wait.since));
        let first = long.first()?;
        let more = if long.len() > 1 { format!(", and for {} more", long.len() - 1) } else { String::new() };
        let said = first.said.as_ref().map_or_else(String::new, |said| format!("; last answer: {said}"));
        Some(format!("waiting for {}{more}, {} s of {} s{said}", first.what, (now - first.since).as_secs(), self.limit.as_secs()))
    }

    /// Waits for an interruption; for ever if none comes.
    pub async fn interruption(&self) {
        let mut interrupted = self.interrupted.clone();
        if interrupted.wait_for(|interrupted| *interrupted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What this comes to, unless the deadline comes first.
    pub async fn within<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.until, future).await.ok()
    }

    /// Waits for what was done to show, unless that would outlast the deadline or the run is interrupted: then false, at once.
    pub async fn sleep(&self, pause: Duration) -> bool {
        let began = Instant::now();
        let slept = self.rest_until(began + pause).await;
        self.shared().spent.waiting += began.elapsed();
        slept
    }

    async fn rest_until(&self, wake: Instant) -> bool {
        if wake <= Instant::now() {
            return true;
        }
        if wake >= self.until {
            return false;
        }
        tokio::select! {
            () = sleep_until(wake) => true,
            () = self.interruption() => false,
        }
    }

    /// Calls until it succeeds, fails for good, or the deadline is near; between attempts it waits, longer each time, with jitter.
    /// What a service throttles slows all calls of that service down, also those that are sent for the first time. The time is booked on `call`, as permissions name it.
    ///
    /// A call in flight is not interrupted.
    ///
    /// # Errors
    /// The last failure that says more than that the time was over.
    pub async fn call<T>(&self, call: &'static str, attempt: impl AsyncFnMut() -> Result<T, CallError>) -> Result<T, CallError> {
        let mut kept = Kept { attempt, answer: None };
        self.try_until_it_ends(call, &mut kept).await?;
        kept.answer.ok_or_else(|| CallError::not_sent("the answer was not kept"))
    }

    /// Compiled once for all calls: they are many.
    async fn try_until_it_ends(&self, call: &'static str, attempt: &mut dyn Attempt) -> Result<(), CallError> {
        let service = call.split_once(':').map_or(call, |(service, _)| service);
        let waiting = self.waiting(format!("`{call}`"));
        let mut pauses = BackOff::doubling(FIRST_PAUSE, longest_pause(self.limit));
        let mut last: Option<CallError> = None;
        loop {
            let (slot, said) = self.shared().paces.entry(service).or_default().slot(Instant::now(), self.until);
            let rested = match slot {
                Some(slot) => self.rest(call, slot).await,
                None => false,
            };
            if !rested {
                return Err(last.or(said).unwrap_or_else(|| CallError::new(ErrorKind::Timeout, "Timeout", self.timeout_message())));
            }
            let sent = Instant::now();
            let answer = timeout_at(self.until.min(sent + ATTEMPT), attempt.make()).await;
            let answer = answer.unwrap_or_else(|_| Err(CallError::new(ErrorKind::Timeout, "Timeout", self.timeout_message())));
            self.attempted(call, service, sent, answer.as_ref().err());
            let error = match (answer, last) {
                (Ok(()), _) => return Ok(()),
                // What the service said says more than that the time was over.
                (Err(error), Some(said))
                    if error.kind == ErrorKind::Timeout && said.kind != ErrorKind::Timeout && Instant::now() >= self.until =>
                {
                    return Err(said);
                }
                (Err(error), _) => error,
            };
            let pause = obeyed(&error, pauses.jittered());
            // What is throttled waits for its slot.
            let goes_on = match &error.kind {
                ErrorKind::Throttled => true,
                kind if kind.passes() => self.rest(call, Instant::now() + pause).await,
                // Another call may have been served meanwhile: then this one is refused for good.
                kind if kind.may_be_early() && self.may_be_starting(service) => {
                    // Short pauses: a longer one would outlast the seconds in which it may pass.
                    let pause = pause.min(FIRST_PAUSE * 5);
                    self.rest(call, Instant::now() + pause).await && self.may_be_starting(service)
                }
                _ => false,
            };
            if !goes_on {
                return Err(error);
            }
            waiting.says(&error);
            last = Some(error);
        }
    }

    /// Whether a refusal of this service may pass.
    fn may_be_starting(&self, service: &'static str) -> bool {
        let at = self.began.elapsed();
        self.shared().startups.entry(service).or_default().refused(at)
    }

    /// Books an attempt, and what its answer says of the pace.
    fn attempted(&self, call: &'static str, service: &'static str, sent: Instant, error: Option<&CallError>) {
        let mut shared = self.shared();
        let took = shared.spent.calls.entry(call).or_default();
        took.attempts += 1;
        took.calling += sent.elapsed();
        if error.is_none_or(|error| error.kind.is_of_served()) {
            shared.startups.entry(service).or_default().served();
        }
        let pace = shared.paces.entry(service).or_default();
        match error {
            Some(error) if error.kind == ErrorKind::Throttled => pace.throttled(sent, Instant::now(), error),
            Some(error) if error.kind.passes() => {}
            _ => pace.answered(),
        }
    }

    /// Rests between attempts of a call, unless that would outlast the deadline or the run is interrupted: then false, at once.
    async fn rest(&self, call: &'static str, wake: Instant) -> bool {
        let began = Instant::now();
        let rested = self.rest_until(wake).await;
        if !began.elapsed().is_zero() {
            self.shared().spent.calls.entry(call).or_default().pausing += began.elapsed();
        }
        rested
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// The seconds of the whole run.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.limit.as_secs()
    }

    fn timeout_message(&self) -> String {
        if Instant::now() < self.until {
            format!("no answer within {} s", ATTEMPT.as_secs())
        } else if self.until == self.began + self.limit {
            format!("no answer within the {} s of the whole run", self.limit.as_secs())
        } else {
            format!("no answer within {} s", self.limit.as_secs())
        }
    }
}

/// An attempt of a call, which can be made again.
trait Attempt {
    fn make(&mut self) -> Pin<Box<dyn Future<Output = Result<(), CallError>> + '_>>;
}

/// An attempt that keeps its answer.
struct Kept<T, F> {
    attempt: F,
    answer: Option<T>,
}

impl<T, F: AsyncFnMut() -> Result<T, CallError>> Attempt for Kept<T, F> {
    fn make(&mut self) -> Pin<Box<dyn Future<Output = Result<(), CallError>> + '_>> {
        Box::pin(async {
            self.answer = Some((self.attempt)().await?);
            Ok(())
        })
    }
}

/// The pause, or the longer one that the service asks for, within reason.
fn obeyed(error: &CallError, pause: Duration) -> Duration {
    error.retry_after.map_or(pause, |asked| pause.max(asked.min(LONGEST_PAUSE)))
}

/// A pause that would outlast the deadline ends the call. So that no short run gives up with half of its time left, none is longer than
/// a tenth of it, or than a second.
fn longest_pause(limit: Duration) -> Duration {
    (limit / 10).clamp(Duration::from_secs(1), LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::call::{Denial, DeniedBy};

    fn patience(limit: Duration) -> (watch::Sender<bool>, Patience) {
        let (interrupt, interrupted) = watch::channel(false);
        (interrupt, Patience::new(limit, interrupted))
    }

    /// As an API server that starts refuses everything.
    fn by_rbac() -> ErrorKind {
        let (action, caller) = (Some("list pods".to_owned()), Some("job".to_owned()));
        ErrorKind::Denied(Denial { action, by: DeniedBy::Rbac, is_explicit: false, caller })
    }

    fn fault(kind: ErrorKind) -> CallError {
        CallError::new(kind, "Fault", "for the test")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_said_after_some_seconds_and_then_less_and_less() {
        let (_interrupt, patience) = patience(Duration::from_mins(5));
        let mut said = Vec::new();
        let working = async {
            let _waiting = patience.waiting("IAM to show what was done");
            let _ = patience.call::<()>("test:Call", async || Err(fault(ErrorKind::NoConnection))).await;
        };
        let watching = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                said.extend(patience.progress());
            }
        };
        tokio::select! {
            () = working => {}
            () = watching => {}
        }
        assert_eq!(said[0], "waiting for `test:Call`, and for 1 more, 5 s of 300 s; last answer: Fault: for the test");
        assert!((5..12).contains(&said.len()), "{said:#?}");
        assert_eq!(patience.progress(), None, "nothing is waited for any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_tried_again_until_it_has_passed() {
        let (_interrupt, patience) = patience(Duration::from_mins(5));
        for kind in [ErrorKind::Throttled, ErrorKind::Transient] {
            let mut left = 5;
            let answer = patience
                .call("test:Call", async || {
                    left -= 1;
                    if left == 0 { Ok("done") } else { Err(fault(kind.clone())) }
                })
                .await;
            assert_eq!(answer, Ok("done"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_fault_ends_at_once() {
        let (_interrupt, patience) = patience(Duration::from_mins(1));
        let started = Instant::now();
        assert_eq!(patience.call::<()>("test:Call", async || Err(fault(ErrorKind::denied()))).await, Err(fault(ErrorKind::denied())));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_a_service_that_starts_passes_and_a_missing_right_costs_some_seconds_once() {
        let early = || fault(by_rbac());
        let (_interrupt, first) = patience(Duration::from_mins(1));
        let started = Instant::now();
        let answer = first.call("test:Call", async || if started.elapsed() < Duration::from_secs(1) { Err(early()) } else { Ok("done") });
        assert_eq!(answer.await, Ok("done"));
        // Once it has served, it means what it says.
        let started = Instant::now();
        assert_eq!(first.call::<()>("test:Other", async || Err(early())).await, Err(early()));
        assert_eq!(started.elapsed(), Duration::ZERO);

        let (_interrupt, second) = patience(Duration::from_mins(1));
        let (started, mut attempts) = (Instant::now(), 0);
        let denied = second.call::<()>("test:Call", async || {
            attempts += 1;
            Err(early())
        });
        assert_eq!(denied.await, Err(early()));
        let took = started.elapsed();
        assert!(Duration::from_secs(2) < took && took < Duration::from_secs(4) && attempts < 20, "{attempts} in {took:?}");
        assert_eq!(second.call::<()>("test:Call", async || Err(early())).await, Err(early()));
        assert_eq!(started.elapsed(), took);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_tried_again_where_another_call_was_served_meanwhile() {
        let early = || fault(by_rbac());
        let (_interrupt, patience) = patience(Duration::from_mins(1));
        let mut attempts = 0;
        let (denied, served) = tokio::join!(
            patience.call::<()>("test:Call", async || {
                attempts += 1;
                Err(early())
            }),
            patience.call("test:Other", async || Ok("done")),
        );
        assert_eq!((denied, served, attempts), (Err(early()), Ok("done"), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_fault_is_tried_until_the_deadline_is_near_however_short_the_run() {
        for (seconds, least, most) in [(10, 13, 23), (60, 15, 25), (300, 36, 66)] {
            for _ in 0..100 {
                let limit = Duration::from_secs(seconds);
                let (_interrupt, patience) = patience(limit);
                let started = Instant::now();
                let mut attempts = 0;
                let answer = patience
                    .call::<()>("test:Call", async || {
                        attempts += 1;
                        Err(fault(ErrorKind::Transient))
                    })
                    .await;
                assert_eq!(answer, Err(fault(ErrorKind::Transient)));
                let took = started.elapsed();
                assert!(limit * 9 / 10 <= took && took <= limit, "{took:?} of {limit:?}");
                assert!((least..=most).contains(&attempts), "{attempts} in {limit:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_given_up_and_tried_again() {
        let (_interrupt, patience) = patience(Duration::from_secs(50));
        let started = Instant::now();
        let error = patience.call::<()>("test:Call", async || std::future::pending().await).await.unwrap_err();
        assert_eq!(error.to_string(), "Timeout: no answer within the 50 s of the whole run");
        assert_eq!(started.elapsed(), Duration::from_secs(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_refused_before_it_hung_is_quoted() {
        let (_interrupt, patience) = patience(Duration::from_secs(10));
        let mut attempts = 0;
        let error = patience
            .call::<()>("test:Call", async || {
                attempts += 1;
                if attempts == 1 { Err(fault(ErrorKind::Throttled)) } else { std::future::pending().await }
            })
            .await
            .unwrap_err();
        assert_eq!(error, fault(ErrorKind::Throttled));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_have_no_time_to_wait_for_their_turn_do_not_make_others_wait() {
        let (_interrupt, patience) = patience(Duration::from_mins(5));
        let hasty = patience.at_most(Duration::from_secs(2));
        let calls = (0..20).map(|_| hasty.call::<()>("test:Call", async || Err(fault(ErrorKind::Throttled))));
        assert!(futures_util::future::join_all(calls).await.iter().all(|answer| *answer == Err(fault(ErrorKind::Throttled))));
        let began = Instant::now();
        assert_eq!(patience.call("test:Call", async || Ok(())).await, Ok(()));
        assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_interruption_ends_the_waiting_and_not_the_call() {
        let (interrupt, patience) = patience(Duration::from_mins(5));
        let mut attempts = 0;
        let answer = patience
            .call::<()>("test:Call", async || {
                attempts += 1;
                interrupt.send_replace(true);
                tokio::time::sleep(Duration::from_secs(5)).await;
                Err(fault(ErrorKind::Transient))
            })
            .await;
        assert_eq!((answer, attempts), (Err(fault(ErrorKind::Transient)), 1));
        assert!(patience.is_interrupted());
    }

    #[test]
    fn a_service_that_asks_to_wait_is_obeyed_within_reason() {
        let mut error = fault(ErrorKind::Throttled);
        error.retry_after = Some(Duration::from_secs(3));
        assert!(obeyed(&error, Duration::ZERO) >= Duration::from_secs(3));
        error.retry_after = Some(Duration::from_hours(1));
        assert!(obeyed(&error, Duration::ZERO) <= LONGEST_PAUSE);
    }
}
