//! Many environments deploy at once into an account that throttles: all of them converge, none starves, and what they call in vain stays a
//! small part of what they call.

use std::{collections::BTreeMap, thread, time::Instant};

use qovery_irsa_sandbox::faults::{Fault, When};

use crate::support::{environment::Environment, extent::extent, fixtures::MANIFEST};

const READS: &str = "iam:Get*|iam:List*";
const WRITES: &str = "iam:Create*|iam:Update*|iam:Put*|iam:Attach*|iam:Tag*|iam:Delete*|iam:Detach*|iam:Untag*";

/// The least, the median and the most.
fn figures<T: Ord + Copy>(mut values: Vec<T>) -> [T; 3] {
    values.sort_unstable();
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

#[test]
#[allow(clippy::print_stdout, reason = "the figures of docs/reliability.md")]
fn many_environments_at_once_all_converge_in_an_account_that_throttles() {
    let (environments, reads_a_second, writes_a_second) = extent((24, 8, 4), (200, 20, 10));
    let mut environment = Environment::new(MANIFEST);
    environment.sandbox.settle();
    // Where the calls go is known without asking the one cluster two hundred times.
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    let namespaces: Vec<String> = (0..environments).map(|number| format!("z{number:03}-clone")).collect();
    environment.sandbox.kubernetes(|kubernetes| namespaces.iter().for_each(|name| kubernetes.add_namespace(name)));
    environment.start();
    let mark = environment.sandbox.witness().mark();
    environment.spawn_in(&namespaces[0], &["start"]).end().ended(0);
    let alone = environment.sandbox.witness().since(mark).iter().filter(|call| call.service == "iam").count();
    for (pattern, per_second) in [(READS, reads_a_second), (WRITES, writes_a_second)] {
        environment.sandbox.faults().add(pattern, When::Beyond { per_second }, Fault::Throttle);
    }
    for command in ["start", "delete"] {
        let mark = environment.sandbox.witness().mark();
        let began = Instant::now();
        let running: Vec<_> = namespaces[1..].iter().map(|namespace| environment.spawn_in(namespace, &[command])).collect();
        let waiting = running.into_iter().map(|child| {
            thread::spawn(move || {
                child.end().ended(0);
                began.elapsed().as_secs()
            })
        });
        let times: Vec<u64> = waiting.collect::<Vec<_>>().into_iter().map(|waiting| waiting.join().unwrap()).collect();
        let calls = environment.sandbox.witness().since(mark);
        let calls: Vec<_> = calls.iter().filter(|call| call.service == "iam").collect();
        let throttled = calls.iter().filter(|call| call.faults.contains(&"throttle")).count();
        let mut by_role: BTreeMap<String, usize> = BTreeMap::new();
        for call in &calls {
            if let Some(role) = call.parameters["RoleName"].as_str() {
                *by_role.entry(role.to_owned()).or_default() += 1;
            }
        }
        let (time, each) = (figures(times), figures(by_role.into_values().collect()));
        println!(
            "{command}, first, median and last done after {time:?} s: {} calls of IAM, {throttled} throttled, {each:?} of an environment, {alone} alone",
            calls.len()
        );
        assert!(throttled > environments, "no storm");
        // Without a pace that all calls of a run share it is more than three times as many, and five times for the unluckiest.
        assert!(calls.len() < 5 * alone * environments / 2, "{} calls", calls.len());
        assert!(each[2] < 3 * alone, "{} calls of one environment", each[2]);
    }
}
