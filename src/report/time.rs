//! Where the time of a run went.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::clients::call::{Spent, Took};

/// A run that takes longer says where its time went.
pub(super) const LONG: Duration = Duration::from_secs(5);

/// The times of a run, for machines: in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Times {
    calls: BTreeMap<&'static str, CallTime>,
    waiting_seconds: f64,
}

/// What the calls of one kind took.
#[derive(Debug, Serialize)]
struct CallTime {
    attempts: u32,
    calling_seconds: f64,
    pausing_seconds: f64,
}

impl From<&Spent> for Times {
    fn from(spent: &Spent) -> Self {
        let calls = spent.calls.iter().map(|(name, Took { attempts, calling, pausing })| {
            (*name, CallTime { attempts: *attempts, calling_seconds: rounded(*calling), pausing_seconds: rounded(*pausing) })
        });
        Self { calls: calls.collect(), waiting_seconds: rounded(spent.waiting) }
    }
}

/// The calls that took most of the time.
pub(super) fn line(spent: &Spent, took: Duration) -> String {
    let whole = |call: &Took| call.calling + call.pausing;
    let mut calls: Vec<(&str, Took)> = spent.calls.iter().map(|(name, call)| (*name, *call)).collect();
    calls.retain(|(_, call)| whole(call) >= took / 20);
    calls.sort_by_key(|(_, call)| std::cmp::Reverse(whole(call)));
    let calls = calls.iter().take(5).map(|(name, call)| match call.attempts {
        1 => format!("{name} {}", shown(call.calling)),
        attempts => format!("{name} {} in {attempts} attempts and {} between them", shown(call.calling), shown(call.pausing)),
    });
    let waiting = (spent.waiting >= took / 20).then(|| format!("{} waiting for what was done to show", shown(spent.waiting)));
    let parts: Vec<String> = calls.chain(waiting).collect();
    format!("time: {}, of it {}", shown(took), if parts.is_empty() { "nothing in long calls".to_owned() } else { parts.join("; ") })
}

/// As people read it.
pub(super) fn shown(took: Duration) -> String {
    if took < Duration::from_secs(1) { format!("{} ms", took.as_millis()) } else { format!("{:.1} s", took.as_secs_f64()) }
}

/// In seconds, to the millisecond.
pub(super) fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}
