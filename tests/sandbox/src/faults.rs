//! The faults that can be injected, and the seeded decision which call meets which.
//!
//! Only decisions are here; `server.rs` carries them out, `errors.rs` words the error bodies.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{errors::Protocol, service::Response, witness::matches};

/// What goes wrong. Durations are wall time, except the age of a stale read, which is by the shared clock.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The network takes this long, half of it on the way in, half on the way out.
    Latency(Duration),
    /// The same, exponentially distributed.
    ExponentialLatency {
        /// The mean of the distribution.
        mean: Duration,
    },
    /// Nothing is done, and the service says that it is asked too often, in its own words.
    Throttle,
    /// Nothing is done, and this error is answered in the service's protocol.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error code (for Kubernetes the reason).
        code: String,
        /// The message.
        message: String,
    },
    /// A new connection is reset before anything is read from it. The rule's pattern is asked about
    /// `aws:connect`, `kubernetes:connect`, `kubernetes-2:connect` and `qovery:connect`; connections that stand are left alone.
    RefuseConnection,
    /// The TLS handshake of a new connection is answered by an alert. The rule's pattern is asked about `aws:tls`, `kubernetes:tls`,
    /// `kubernetes-2:tls` and `qovery:tls`.
    BreakTls,
    /// The connection is reset. [`Point::After`] is the lost answer: the state has changed and nobody is told.
    Reset(Point),
    /// The connection is closed in order, without an answer.
    Close(Point),
    /// It is done, the headers promise the whole body, and the connection ends halfway through it.
    TruncatedBody,
    /// It is done, and the body trickles in over this time.
    SlowBody(Duration),
    /// It is done and answered under this content type.
    ContentType(&'static str),
    /// Silence for this long. The request is carried out even if the client has left in the meantime.
    Hang {
        /// Before or after doing it.
        point: Point,
        /// How long.
        duration: Duration,
    },
    /// Reads (and the decisions of STS and EKS Auth) are answered from a random moment at most this long ago; each read on its own.
    Stale {
        /// The greatest age.
        up_to: Duration,
    },
}

/// On which side of the change a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Nothing has been done.
    Before,
    /// It has been done.
    After,
}

/// Which of the calls that match a rule's pattern meet its fault, counted from the moment the rule was added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Every one.
    Always,
    /// Only this one; the first is 1.
    Nth(u64),
    /// As many as this, then none.
    Next(u64),
    /// Each with this probability.
    Probability(f64),
    /// Those beyond this many a second of wall time, as a service counts that throttles: a bucket that holds the calls of one second.
    Beyond {
        /// How many a second are let through.
        per_second: u32,
    },
}

impl Fault {
    /// An error answer; common ones are `(409, "ConcurrentModification")`, `(500, "ServiceFailure")` and
    /// `(503, "ServiceUnavailable")`.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::Error { status, code: code.to_owned(), message: "injected by the sandbox".to_owned() }
    }

    /// The call is not permitted, in the service's own words.
    #[must_use]
    pub fn denied(operation: &str) -> Self {
        let (code, message) = match operation.strip_prefix("kubernetes:").and_then(|call| call.split_once(' ')) {
            Some((verb, path)) if path.starts_with('/') => ("Forbidden", format!("forbidden: User \"job\" cannot {verb} path \"{path}\"")),
            Some((verb, resource)) => (
                "Forbidden",
                format!(
                    "{resource} is forbidden: User \"job\" cannot {verb} resource \"{resource}\" in API group \"\" in the namespace \"z1a2b3c4-shop\""
                ),
            ),
            None => (
                "AccessDenied",
                format!(
                    "User: arn:aws:iam::123456789012:user/job is not authorized to perform: {operation} on resource: * because no identity-based policy allows the {operation} action"
                ),
            ),
        };
        Self::Error { status: 403, code: code.to_owned(), message }
    }

    /// The state changes, the answer is lost and the connection reset.
    #[must_use]
    pub fn lost_answer() -> Self {
        Self::Reset(Point::After)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Latency(_) | Self::ExponentialLatency { .. } => "latency",
            Self::Throttle => "throttle",
            Self::Error { .. } => "error",
            Self::RefuseConnection => "refused connection",
            Self::BreakTls => "broken TLS",
            Self::Reset(Point::Before) => "reset",
            Self::Reset(Point::After) => "lost answer",
            Self::Close(_) => "closed connection",
            Self::TruncatedBody => "truncated body",
            Self::SlowBody(_) => "slow body",
            Self::ContentType(_) => "content type",
            Self::Hang { .. } => "hang",
            Self::Stale { .. } => "stale read",
        }
    }
}

/// Names a rule, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// The rules; clones share them.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<Rules>>);

#[derive(Debug)]
struct Rules {
    seed: u64,
    added: u64,
    list: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    id: RuleId,
    pattern: String,
    when: When,
    fault: Fault,
    matched: u64,
    random: Random,
    bucket: Option<Bucket>,
}

/// What is left of the calls that a rate allows.
#[derive(Debug)]
struct Bucket {
    left: f64,
    filled: Instant,
}

impl Faults {
    /// No rules. The same seed, rules and order of calls give the same faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rules { seed, added: 0, list: Vec::new() })))
    }

    /// Adds a rule for an operation such as `iam:CreateRole`, or for all that begin as a pattern ending in `*`; `|` divides several.
    ///
    /// Latencies and hangs of several rules add up; of the faults that take the place of the answer the rule added
    /// first wins.
    #[allow(clippy::must_use_candidate, reason = "most rules are never taken back")]
    pub fn add(&self, pattern: &str, when: When, fault: Fault) -> RuleId {
        let mut rules = self.rules();
        rules.added += 1;
        let id = RuleId(rules.added);
        // Each rule draws from a sequence of its own, so that one rule's calls do not disturb another's.
        let random = Random::new(rules.seed ^ id.0.wrapping_mul(0xD1B5_4A32_D192_ED03));
        rules.list.push(Rule { id, pattern: pattern.to_owned(), when, fault, matched: 0, random, bucket: None });
        id
    }

    /// The patterns of the rules that no call has matched: what was to go wrong never came up, or is misspelt.
    #[must_use]
    pub fn unmatched(&self) -> Vec<String> {
        let rules = self.rules();
        let unmatched = rules.list.iter().filter(|rule| rule.matched == 0);
        unmatched.map(|rule| rule.pattern.clone()).collect()
    }

    /// Takes one rule back.
    pub fn remove(&self, id: RuleId) {
        self.rules().list.retain(|rule| rule.id != id);
    }

    /// Takes all rules back.
    pub fn clear(&self) {
        self.rules().list.clear();
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a new connection to a server is to be refused.
    pub(crate) fn refuses(&self, server: &str) -> bool {
        self.strikes(&Fault::RefuseConnection, &format!("{server}:connect"))
    }

    /// Whether the TLS handshake of a new connection to a server is to fail.
    pub(crate) fn breaks_tls(&self, server: &str) -> bool {
        self.strikes(&Fault::BreakTls, &format!("{server}:tls"))
    }

    fn strikes(&self, fault: &Fault, operation: &str) -> bool {
        let mut struck = false;
        for rule in self.rules().list.iter_mut().filter(|rule| rule.fault == *fault) {
            struck |= rule.strikes(operation);
        }
        struck
    }

    /// What happens to one call.
    pub(crate) fn decide(&self, operation: &str) -> Decision {
        let mut decision = Decision::default();
        for rule in &mut self.rules().list {
            let stale = matches!(rule.fault, Fault::Stale { .. });
            let of_connections = matches!(rule.fault, Fault::RefuseConnection | Fault::BreakTls);
            if of_connections || (stale && !may_be_stale(operation)) || !rule.strikes(operation) {
                continue;
            }
            decision.add(&rule.fault, operation, &mut rule.random);
        }
        decision
    }
}

impl Rule {
    /// Counts a call that matches and says whether this rule strikes it.
    fn strikes(&mut self, operation: &str) -> bool {
        if !matches(&self.pattern, operation) {
            return false;
        }
        self.matched += 1;
        match self.when {
            When::Always => true,
            When::Nth(n) => self.matched == n,
            When::Next(n) => self.matched <= n,
            When::Probability(p) => self.random.unit() < p,
            When::Beyond { per_second } => !self.takes(f64::from(per_second)),
        }
    }

    /// Whether the bucket has a call left.
    fn takes(&mut self, per_second: f64) -> bool {
        let now = Instant::now();
        let bucket = self.bucket.get_or_insert(Bucket { left: per_second, filled: now });
        let refill = now.duration_since(bucket.filled).as_secs_f64() * per_second;
        *bucket = Bucket { left: (bucket.left + refill).min(per_second), filled: now };
        let has = bucket.left >= 1.0;
        bucket.left -= f64::from(u8::from(has));
        has
    }
}

/// A write answered from the past would be lost, so only reads can be stale, and the trust decisions of STS and EKS Auth.
fn may_be_stale(operation: &str) -> bool {
    let (service, name) = operation.split_once(':').unwrap_or_default();
    if service == "kubernetes" {
        return name.starts_with("get ") || name.starts_with("list ");
    }
    ["Get", "List", "Describe", "AssumeRole"].iter().any(|verb| name.starts_with(verb))
}

/// What takes the place of doing the call and answering it.
#[derive(Clone, Debug)]
pub(crate) enum Instead {
    Error(Response),
    Reset(Point),
    Close(Point),
}

/// What happens to one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decision {
    /// The names of the faults, for the witness.
    pub(crate) names: Vec<&'static str>,
    /// Time passed before and after doing it.
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) instead: Option<Instead>,
    /// How old the state is from which it is answered.
    pub(crate) age: Option<Duration>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) truncated: bool,
    pub(crate) trickle: Option<Duration>,
}

impl Decision {
    fn add(&mut self, fault: &Fault, operation: &str, random: &mut Random) {
        match fault {
            Fault::Latency(latency) => {
                self.before += *latency / 2;
                self.after += *latency / 2;
            }
            Fault::ExponentialLatency { mean } => {
                let latency = mean.mul_f64(random.exponential());
                self.before += latency / 2;
                self.after += latency / 2;
            }
            Fault::Throttle => self.instead(Instead::Error(Protocol::of(operation).throttled())),
            Fault::Error { status, code, message } => {
                let error = Protocol::of(operation).error(*status, code, message);
                self.instead(Instead::Error(error));
            }
            Fault::Reset(point) => self.instead(Instead::Reset(*point)),
            Fault::Close(point) => self.instead(Instead::Close(*point)),
            Fault::TruncatedBody => self.truncated = true,
            Fault::SlowBody(duration) => self.trickle = Some(*duration),
            Fault::ContentType(name) => self.content_type = Some(name),
            Fault::Hang { point, duration } => match point {
                Point::Before => self.before += *duration,
                Point::After => self.after += *duration,
            },
            Fault::Stale { up_to } => self.age = Some(up_to.mul_f64(random.unit())),
            Fault::RefuseConnection | Fault::BreakTls => return,
        }
        self.names.push(fault.name());
    }

    fn instead(&mut self, instead: Instead) {
        self.instead.get_or_insert(instead);
    }
}

/// A small seeded sequence (`SplitMix64`), so that a seed means the same for ever.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        let high = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    /// Exponentially distributed with mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(faults: &Faults, operation: &str, calls: usize) -> Vec<bool> {
        (0..calls).map(|_| !faults.decide(operation).names.is_empty()).collect()
    }

    #[test]
    fn a_rule_strikes_at_its_moment() {
        let cases = [
            (When::Always, [true, true, true, true]),
            (When::Nth(2), [false, true, false, false]),
            (When::Next(2), [true, true, false, false]),
            (When::Beyond { per_second: 3 }, [false, false, false, true]),
            (When::Probability(0.0), [false; 4]),
            (When::Probability(1.0), [true; 4]),
        ];
        for (when, wanted) in cases {
            let faults = Faults::new(1);
            faults.add("iam:*", when, Fault::Throttle);
            assert_eq!(struck(&faults, "iam:GetRole", 4), wanted, "{when:?}");
        }
    }

    #[test]
    fn calls_of_other_operations_are_not_counted() {
        let faults = Faults::new(1);
        faults.add("iam:CreateRole", When::Nth(2), Fault::Throttle);
        faults.add("iam:CreteRole", When::Always, Fault::Throttle);
        assert_eq!(struck(&faults, "iam:CreateRole", 1), [false]);
        assert_eq!(struck(&faults, "iam:GetRole", 3), [false; 3]);
        assert_eq!(struck(&faults, "iam:CreateRole", 1), [true]);
        assert_eq!(faults.unmatched(), ["iam:CreteRole"]);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_seed_others() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.add("*", When::Probability(0.3), Fault::Throttle);
            struck(&faults, "iam:GetRole", 200)
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let share = run(7).iter().filter(|hit| **hit).count();
        assert!((40..80).contains(&share), "{share} of 200");
    }

    #[test]
    fn exponential_latency_has_the_mean_asked_for() {
        let faults = Faults::new(3);
        let mean = Duration::from_millis(10);
        faults.add("*", When::Always, Fault::ExponentialLatency { mean });
        let total: Duration = (0..2_000).map(|_| faults.decide("iam:GetRole")).map(|decision| decision.before + decision.after).sum();
        let measured = total / 2_000;
        assert!(measured > mean.mul_f64(0.9) && measured < mean.mul_f64(1.1), "{measured:?}");
    }

    #[test]
    fn only_reads_and_trust_decisions_can_be_stale() {
        let faults = Faults::new(1);
        let up_to = Duration::from_secs(3);
        faults.add("*", When::Always, Fault::Stale { up_to });
        for (operation, stale) in [
            ("iam:GetRole", true),
            ("iam:ListRoleTags", true),
            ("iam:UpdateAssumeRolePolicy", false),
            ("sts:AssumeRoleWithWebIdentity", true),
            ("eks:DescribeCluster", true),
            ("kubernetes:get serviceaccounts", true),
            ("kubernetes:patch serviceaccounts", false),
        ] {
            let age = faults.decide(operation).age;
            assert_eq!(age.is_some(), stale, "{operation}");
            assert!(age.unwrap_or_default() < up_to);
        }
    }

    #[test]
    fn delays_add_up_and_the_first_answer_wins() {
        let faults = Faults::new(1);
        let ms = Duration::from_millis;
        faults.add("*", When::Always, Fault::Latency(ms(10)));
        faults.add("*", When::Always, Fault::Hang { point: Point::After, duration: ms(20) });
        faults.add("*", When::Always, Fault::lost_answer());
        faults.add("*", When::Always, Fault::Throttle);
        let decision = faults.decide("iam:GetRole");
        assert_eq!((decision.before, decision.after), (ms(5), ms(25)));
        assert!(matches!(decision.instead, Some(Instead::Reset(Point::After))));
    }

    #[test]
    fn a_rule_can_be_taken_back() {
        let faults = Faults::new(1);
        let id = faults.add("aws:connect", When::Always, Fault::RefuseConnection);
        assert!(faults.refuses("aws"));
        assert!(!faults.refuses("kubernetes"));
        faults.remove(id);
        assert!(!faults.refuses("aws"));
    }
}
