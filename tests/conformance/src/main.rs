//! Runs the main scenarios of `qovery-irsa`, the real binary, against servers that nobody here wrote.
//!
//! What each server cannot show is asked of it first; the scenarios that need it are named as not proven. Against the servers that this
//! program starts itself it is known what that is, and any difference fails: a gap that is new, and one that is gone.

mod api_server;
mod aws;
mod failure;
mod job;
mod kubernetes;
mod scenarios;
mod third_party_iam;
mod world;

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use failure::{Doing as _, Failure};
use tokio::signal::unix::{SignalKind, signal};
use world::{Given, Lack, World};

const USAGE: &str = "usage: conformance [--given-aws] [--given-cluster] [--only TEXT]\n  see tests/conformance/README.md\n";

/// What fakecloud 0.51 cannot show.
const KNOWN_LACKS: [Lack; 3] = [Lack::TokenSignature, Lack::CaseOfNames, Lack::TrustPolicyCheck];

fn say(text: &str) {
    // Whoever does not read it does not miss it.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn arguments() -> Result<(Given, Option<String>), Failure> {
    let (mut given, mut only) = (Given::default(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--given-aws" => given.aws = true,
            "--given-cluster" => given.cluster = true,
            "--only" => only = Some(arguments.next().ok_or_else(|| Failure::new(USAGE))?),
            _ => return Err(Failure::new(USAGE)),
        }
    }
    Ok((given, only))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    qovery_irsa::clients::http::install_crypto();
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {}", failure.told());
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool, Failure> {
    let (given, only) = arguments()?;
    let started = Instant::now();
    // Taken before anything is started, so that nothing stays running.
    let mut interrupts = signal(SignalKind::interrupt()).doing(|| "cannot wait for signals".to_owned())?;
    let mut world = tokio::select! {
        world = World::new(given) => world?,
        _ = interrupts.recv() => return Err(Failure::new("interrupted")),
    };
    let outcome = tokio::select! {
        outcome = run_in(&mut world, given, only.as_deref()) => outcome,
        _ = interrupts.recv() => Err(Failure::new("interrupted")),
    };
    for failure in world.clean_up().await {
        say(&format!("left behind: {}", failure.told()));
    }
    let outcome = outcome?;
    say(&format!("\n{outcome}, {}", seconds(started.elapsed())));
    Ok(outcome.failed == 0)
}

#[derive(Default)]
struct Outcome {
    proven: usize,
    failed: usize,
    not_proven: usize,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} proven, {} failed, {} not proven here", self.proven, self.failed, self.not_proven)
    }
}

async fn run_in(world: &mut World, given: Given, only: Option<&str>) -> Result<Outcome, Failure> {
    say(&format!("{}\njob: {}", world.servers, world.job_path().display()));
    world.admit_the_job().await?;
    world.examine().await?;
    for lack in &world.lacks {
        say(&format!("not shown here: {lack}"));
    }
    say("");
    let mut outcome = Outcome::default();
    // Whether there are admission policies is the API server's matter.
    let of_aws: BTreeSet<Lack> = world.lacks.iter().copied().filter(|lack| *lack != Lack::AdmissionPolicies).collect();
    if !given.aws && of_aws != BTreeSet::from(KNOWN_LACKS) {
        outcome.failed += 1;
        say("FAILED what fakecloud cannot show is not what `KNOWN_LACKS` and the README say");
    }
    for scenario in scenarios::ALL.iter().filter(|scenario| only.is_none_or(|only| scenario.name.contains(only))) {
        if let Some(lack) = scenario.needs.iter().find(|lack| !world.can(**lack)) {
            outcome.not_proven += 1;
            say(&format!("NOT PROVEN {}\n  {lack}", scenario.name));
            continue;
        }
        let started = Instant::now();
        match (scenario.run)(world).await {
            Ok(()) => {
                outcome.proven += 1;
                say(&format!("proven {} ({})", scenario.name, seconds(started.elapsed())));
            }
            Err(failure) => {
                outcome.failed += 1;
                say(&format!("FAILED {}\n  {}", scenario.name, failure.told()));
            }
        }
    }
    Ok(outcome)
}
