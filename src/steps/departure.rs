//! Before a delete: whether the environment goes or only its job, and whether the pods that use what is removed have ended.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    clients::{
        call::{BackOff, Failed, Patience},
        qovery::Qovery,
    },
    config::{Config, OnDelete},
    model::{
        gather::Gather as _,
        line::counted,
        marks::{JobMark, Jobs},
        names::ServiceAccountName,
        pods::Use,
        states::States,
    },
    plan::departure::{Verdict, verdict},
    report::Report,
    steps::{StepError, connect::Connection},
};

/// Pods have 60 seconds to end if nothing is said, and Qovery some more to ask them to.
const LONGEST_WAIT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_secs(2);

/// What becomes of roles and ServiceAccounts that running pods use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InUse {
    /// They go.
    Removed,
    /// They stay.
    Kept,
}

impl From<OnDelete> for InUse {
    fn from(on_delete: OnDelete) -> Self {
        if on_delete == OnDelete::KeepIfUsed { Self::Kept } else { Self::Removed }
    }
}

/// What a delete event is to do.
pub(crate) enum Departure {
    /// Nothing.
    Stays {
        /// For this reason.
        why: String,
        /// Which jobs exist.
        jobs: Jobs,
    },
    /// Remove what the environment added.
    Goes {
        /// Which jobs exist, if Qovery was asked.
        jobs: Jobs,
        /// What becomes of what running pods use.
        in_use: InUse,
    },
}

/// Finds out whether the environment goes, and waits for its pods.
///
/// # Errors
/// The API server does not answer, or a signal came.
pub(crate) async fn before_delete(
    config: &Config,
    connection: &Connection,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<Departure, StepError> {
    let departure = departure(config, connection, patience, report).await;
    let Departure::Goes { in_use, .. } = departure else { return Ok(departure) };
    match wait_for_pods(config, connection, patience, in_use, report).await {
        Err(StepError::Observe(failed)) if in_use == InUse::Removed => {
            report.note(&format!("pods that are terminating are not waited for: {}", failed.source));
        }
        Err(StepError::Observe(failed)) if failed.source.kind.is_denied() => {
            let why = format!("nothing is removed: it cannot be seen which pods still run: {}", failed.source);
            return Ok(Departure::Stays { why, jobs: Jobs::Unknown });
        }
        waited => waited?,
    }
    Ok(departure)
}

/// Finds out whether the environment goes, and which jobs exist.
pub(crate) async fn departure(config: &Config, connection: &Connection, patience: &Patience, report: &mut Report<'_>) -> Departure {
    let by_a_job = config.environment.job.is_some();
    match (config.on_delete, &connection.qovery) {
        // A person says so: no mark of a job keeps anything.
        (OnDelete::Remove, _) if !by_a_job => Departure::Goes { jobs: Jobs::Exist(BTreeSet::new()), in_use: InUse::Removed },
        (on_delete, None) => Departure::Goes { jobs: Jobs::Unknown, in_use: on_delete.into() },
        (on_delete, Some(qovery)) => match (on_delete, ask(config.environment.job.as_ref(), qovery, patience).await) {
            (OnDelete::Ask, Ok((states, jobs))) => match verdict(&states) {
                Verdict::Stays => Departure::Stays { why: STAYS.to_owned(), jobs: Jobs::Exist(jobs) },
                verdict => Departure::Goes {
                    jobs: Jobs::Exist(jobs),
                    in_use: if verdict == Verdict::Unclear { InUse::Kept } else { InUse::Removed },
                },
            },
            (OnDelete::Ask, Err(failed)) => {
                report.note(&format!("{failed}: {}; so what running pods use stays", failed.source));
                Departure::Goes { jobs: Jobs::Unknown, in_use: InUse::Kept }
            }
            (_, Ok((_, jobs))) => Departure::Goes { jobs: Jobs::Exist(jobs), in_use: on_delete.into() },
            (_, Err(failed)) => {
                report.note(&format!("{failed}: {}; so what has the mark of another job stays", failed.source));
                Departure::Goes { jobs: Jobs::Unknown, in_use: on_delete.into() }
            }
        },
    }
}

const STAYS: &str = "nothing is removed: the environment stays, only its job is deleted. Its roles and ServiceAccounts stay for the services. To remove them, run `delete` with `IRSA_ON_DELETE=remove`: from a machine where `QOVERY_JOB_ID` is not set, or from another job that has an API token. Or delete the environment and run `sweep`";

/// The states of environment and services, and the environment's jobs.
async fn ask(job: Option<&JobMark>, qovery: &Qovery, patience: &Patience) -> Result<(States, BTreeSet<JobMark>), Failed> {
    let (inquiry, call) = (patience.for_advice(), "qovery:GET /environment/{id}/statuses");
    let answer = inquiry.call(call, async || qovery.states(job).await).await;
    let (mut states, jobs) = answer.map_err(Failed::to("ask Qovery for the states of the environment and its services", call))?;
    if states.asks_for_skipped()
        // Not to know it keeps more.
        && let Ok(stages) = inquiry.call("qovery:GET /environment/{id}/deploymentStage", async || qovery.stages().await).await
    {
        states.skip(|service| stages.iter().any(|stage| stage.skipped.iter().any(|skipped| skipped.as_str() == service)));
    }
    Ok((states, jobs))
}

/// Which of the jobs still exist whose marks were seen; not known where Qovery cannot be asked.
pub(crate) async fn existing_jobs(connection: &Connection, seen: &BTreeSet<JobMark>, patience: &Patience, report: &mut Report<'_>) -> Jobs {
    let (Some(qovery), Some(own)) = (&connection.qovery, &connection.place.job) else { return Jobs::Unknown };
    match ask(Some(own), qovery, patience).await {
        Ok((_, exist)) => Jobs::listed(&exist, seen, own),
        Err(failed) => {
            report.note(&format!("{failed}: {}", failed.source));
            Jobs::Unknown
        }
    }
}

/// Waits for the pods of the environment's ServiceAccounts that are terminating; where what is used stays, for all of them.
async fn wait_for_pods(
    config: &Config,
    connection: &Connection,
    patience: &Patience,
    in_use: InUse,
    report: &mut Report<'_>,
) -> Result<(), StepError> {
    let (began, mut pauses) = (Instant::now(), BackOff::even(PAUSE));
    // At least half of the time is for the removal itself.
    let longest = LONGEST_WAIT.min(config.timeout / 2);
    let mut accounts: Option<BTreeSet<ServiceAccountName>> = None;
    loop {
        let pods = pods(connection, patience).await?;
        let accounts = match &accounts {
            Some(accounts) => accounts,
            None if pods.is_empty() => return Ok(()),
            None => accounts.insert(own_accounts(config, connection, patience).await?),
        };
        let awaited = pods
            .iter()
            .filter(|pod| accounts.iter().any(|account| account.as_str() == pod.service_account) && (in_use == InUse::Kept || pod.ends));
        let awaited: Vec<&str> = awaited.map(|pod| pod.user.as_str()).collect();
        if awaited.is_empty() || began.elapsed() + PAUSE > longest {
            return Ok(());
        }
        report.note(&format!("waiting up to {} s for pods to end: {}", longest.as_secs(), shown(&awaited)));
        if !patience.sleep(pauses.pause()).await {
            return if patience.is_interrupted() { Err(StepError::Interrupted) } else { Ok(()) };
        }
    }
}

fn shown(pods: &[&str]) -> String {
    match pods {
        [first, rest @ ..] if !rest.is_empty() => format!("{first} and {}", counted(rest.len(), "other")),
        pods => pods.concat(),
    }
}

async fn pods(connection: &Connection, patience: &Patience) -> Result<Vec<Use>, Failed> {
    let call = "kubernetes:list pods";
    let pods = patience.for_advice().call(call, async || connection.kubernetes.pods_in(&connection.place.namespace).await).await;
    pods.map_err(Failed::to("list the pods of the namespace", call))
}

/// The ServiceAccounts that identities name and those that the tool holds a field of.
async fn own_accounts(config: &Config, connection: &Connection, patience: &Patience) -> Result<BTreeSet<ServiceAccountName>, Failed> {
    let mut own: BTreeSet<ServiceAccountName> = config.identities.iter().map(|identity| identity.service_account.name.clone()).gather();
    let call = "kubernetes:list serviceaccounts";
    match patience.call(call, async || connection.kubernetes.service_accounts_in(&connection.place.namespace).await).await {
        Ok(found) => own.extend(found.into_iter().filter(|(_, found)| found.is_touched()).map(|(name, _)| name)),
        Err(error) if error.kind.is_denied() => {}
        Err(error) => return Err(Failed::to("list the ServiceAccounts of the namespace", call)(error)),
    }
    Ok(own)
}
