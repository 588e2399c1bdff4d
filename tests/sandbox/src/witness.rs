//! The witness: every request that reached a service, in the order of arrival, for assertions on calls, rounds and
//! radio silence.
//!
//! It only remembers. What a call did is told to it by `server.rs`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its place in the order of arrival, over all services, from 1.
    pub sequence: u64,
    /// Which server it reached: `aws`, `kubernetes`, `kubernetes-2`.
    pub server: &'static str,
    /// `iam`, `sts`, `eks` or `kubernetes`.
    pub service: String,
    /// As [`Service::operation`](crate::service::Service::operation) names it.
    pub operation: String,
    /// The parameters as the service understood them; as sent when a fault kept the call from the service.
    pub parameters: Value,
    /// The status sent; nothing while it is in flight, and when the connection was broken instead.
    pub status: Option<u16>,
    /// The error code in the protocol's own words (`NoSuchEntity`, `ResourceNotFoundException`, `Conflict`).
    pub error: Option<String>,
    /// Whether the state changed, also when the answer was lost.
    pub changed: bool,
    /// The faults injected into it, by name.
    pub faults: Vec<&'static str>,
    /// Which connection brought it; connections are counted over all services, from 1.
    pub connection: u64,
    /// When its last byte was read, since the witness began.
    pub arrived: Duration,
    /// When its answer was given to the connection or the connection broken.
    pub answered: Option<Duration>,
}

/// A moment in the record, see [`Witness::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// The record of calls; clones share it.
#[derive(Clone, Debug)]
pub struct Witness {
    began: Instant,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    calls: Vec<Call>,
    arrivals: u64,
    connections: u64,
    unimplemented: Vec<String>,
}

impl Default for Witness {
    fn default() -> Self {
        Self { began: Instant::now(), record: Arc::default() }
    }
}

impl Witness {
    /// Every call, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.record().calls.clone()
    }

    /// The present moment, to ask later what came after it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.record().arrivals)
    }

    /// The calls that arrived after `mark`.
    #[must_use]
    pub fn since(&self, mark: Mark) -> Vec<Call> {
        self.selected(|call| call.sequence > mark.0)
    }

    /// The calls that changed something.
    #[must_use]
    pub fn writes(&self) -> Vec<Call> {
        self.selected(|call| call.changed)
    }

    /// The calls of one operation, such as `iam:CreateRole`; a pattern ending in `*` names several.
    #[must_use]
    pub fn of(&self, pattern: &str) -> Vec<Call> {
        self.selected(|call| matches(pattern, &call.operation))
    }

    /// How many calls of an operation (or of a pattern ending in `*`) arrived.
    #[must_use]
    pub fn count(&self, pattern: &str) -> usize {
        self.record().calls.iter().filter(|call| matches(pattern, &call.operation)).count()
    }

    /// The names of the operations, in the order of arrival, repetitions included.
    #[must_use]
    pub fn operations(&self) -> Vec<String> {
        self.record().calls.iter().map(|call| call.operation.clone()).collect()
    }

    /// How many rounds of the network the calls need, see [`rounds`].
    #[must_use]
    pub fn rounds(&self) -> usize {
        rounds(&self.record().calls)
    }

    /// The operations answered with 501 since the start, [`clear`](Self::clear) or not. A test whose list is not empty
    /// has asked for something the sandbox does not have and proves nothing.
    #[must_use]
    pub fn unimplemented(&self) -> Vec<String> {
        self.record().unimplemented.clone()
    }

    /// Forgets the operations answered with 501, for a test that asked on purpose.
    pub fn forget_unimplemented(&self) {
        self.record().unimplemented.clear();
    }

    /// Forgets the calls. Sequence numbers go on; a call in flight is forgotten too.
    pub fn clear(&self) {
        self.record().calls.clear();
    }

    fn selected(&self, which: impl Fn(&Call) -> bool) -> Vec<Call> {
        self.record().calls.iter().filter(|call| which(call)).cloned().collect()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new connection.
    pub(crate) fn connected(&self) -> u64 {
        let mut record = self.record();
        record.connections += 1;
        record.connections
    }

    /// Notes a request as it arrives; the number names it in the calls below.
    pub(crate) fn arrived(
        &self,
        server: &'static str,
        operation: &str,
        parameters: Value,
        connection: u64,
        faults: Vec<&'static str>,
    ) -> u64 {
        let mut record = self.record();
        record.arrivals += 1;
        let sequence = record.arrivals;
        record.calls.push(Call {
            sequence,
            server,
            service: operation.split(':').next().unwrap_or_default().to_owned(),
            operation: operation.to_owned(),
            parameters,
            status: None,
            error: None,
            changed: false,
            faults,
            connection,
            arrived: self.began.elapsed(),
            answered: None,
        });
        sequence
    }

    /// Notes what the service did, before any answer leaves.
    pub(crate) fn done(&self, sequence: u64, changed: bool, parameters: Value) {
        self.update(sequence, |call| {
            call.changed = changed;
            call.parameters = parameters;
        });
    }

    /// Notes the answer given.
    pub(crate) fn answered(&self, sequence: u64, status: u16, error: Option<String>) {
        let now = self.began.elapsed();
        self.update(sequence, |call| {
            call.status = Some(status);
            call.error = error;
            call.answered = Some(now);
        });
    }

    /// Notes that the connection was broken instead of answering.
    pub(crate) fn broken(&self, sequence: u64) {
        let now = self.began.elapsed();
        self.update(sequence, |call| call.answered = Some(now));
    }

    /// Notes that the service itself answered 501.
    pub(crate) fn not_implemented(&self, operation: &str) {
        let mut record = self.record();
        if !record.unimplemented.iter().any(|known| known == operation) {
            record.unimplemented.push(operation.to_owned());
        }
    }

    fn update(&self, sequence: u64, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self.record().calls.iter_mut().rev().find(|call| call.sequence == sequence) {
            change(call);
        }
    }
}

/// The least number of rounds in which these calls can have been made: calls that were in flight together share one.
///
/// Two calls sent together overlap for certain only if each takes a while, so give every operation a latency of some
/// 20 ms before counting.
#[must_use]
pub fn rounds(calls: &[Call]) -> usize {
    let mut flights: Vec<(Duration, Duration)> = calls.iter().map(|call| (call.arrived, call.answered.unwrap_or(Duration::MAX))).collect();
    flights.sort_by_key(|(_, answered)| *answered);
    let mut rounds = 0;
    let mut last_answer = None;
    for (arrived, answered) in flights {
        if last_answer.is_none_or(|end| arrived >= end) {
            rounds += 1;
            last_answer = Some(answered);
        }
    }
    rounds
}

/// Whether a pattern names an operation: equal, or equal up to a `*` at its end; or one of several, divided by `|`, does.
pub(crate) fn matches(pattern: &str, operation: &str) -> bool {
    pattern.split('|').any(|pattern| pattern.strip_suffix('*').map_or(pattern == operation, |prefix| operation.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(arrived: u64, answered: Option<u64>) -> Call {
        Call {
            sequence: 0,
            server: "aws",
            service: String::new(),
            operation: String::new(),
            parameters: Value::Null,
            status: None,
            error: None,
            changed: false,
            faults: Vec::new(),
            connection: 0,
            arrived: Duration::from_millis(arrived),
            answered: answered.map(Duration::from_millis),
        }
    }

    #[test]
    fn rounds_are_counted_by_overlap() {
        type Flights = &'static [(u64, Option<u64>)];
        let cases: [(&str, Flights, usize); 6] = [
            ("nothing", &[], 0),
            ("one call", &[(0, Some(5))], 1),
            ("two together", &[(0, Some(5)), (1, Some(6))], 1),
            ("one after the other", &[(0, Some(5)), (5, Some(6))], 2),
            ("two in a row beside a long one", &[(0, Some(9)), (1, Some(2)), (3, Some(4))], 2),
            ("one still in flight", &[(0, Some(2)), (3, None), (4, Some(5))], 2),
        ];
        for (name, flights, rounds_wanted) in cases {
            let calls: Vec<Call> = flights.iter().map(|(from, to)| flight(*from, *to)).collect();
            assert_eq!(rounds(&calls), rounds_wanted, "{name}");
        }
    }

    #[test]
    fn a_pattern_is_exact_or_ends_in_a_star() {
        for (pattern, operation, named) in [
            ("iam:GetRole", "iam:GetRole", true),
            ("iam:GetRole", "iam:GetRolePolicy", false),
            ("iam:*", "iam:GetRolePolicy", true),
            ("iam:Get*", "iam:ListRoles", false),
            ("*", "kubernetes:get /version", true),
        ] {
            assert_eq!(matches(pattern, operation), named, "{pattern} {operation}");
        }
    }

    #[test]
    fn a_call_is_remembered_from_arrival_to_answer() {
        let witness = Witness::default();
        let first = witness.arrived("aws", "iam:GetRole", Value::Null, 1, Vec::new());
        let mark = witness.mark();
        let second = witness.arrived("aws", "iam:CreateRole", Value::Null, 1, Vec::new());
        witness.done(second, true, Value::from("app"));
        witness.answered(second, 200, None);
        witness.answered(first, 404, Some("NoSuchEntity".into()));
        assert_eq!(witness.operations(), ["iam:GetRole", "iam:CreateRole"]);
        assert_eq!(witness.count("iam:*"), 2);
        assert_eq!(witness.since(mark).len(), 1);
        assert_eq!(witness.writes()[0].parameters, "app");
        assert_eq!(witness.of("iam:GetRole")[0].error.as_deref(), Some("NoSuchEntity"));
        witness.not_implemented("iam:CreateUser");
        witness.clear();
        assert!(witness.calls().is_empty());
        assert_eq!(witness.unimplemented(), ["iam:CreateUser"]);
    }
}
