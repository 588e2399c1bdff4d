//! `install --deploy`: asks Qovery for the deployments one after the other, follows each to its end, and looks for the proof in the outputs
//! of the job. When a deployment is over is decided in `plan/install/deployment.rs`.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::{
    clients::{
        call::{BackOff, CallError, ErrorKind, Failed, Patience},
        qovery::{Qovery, VariablesOf},
    },
    config::InstallConfig,
    model::{
        deployment::{Status, Statuses, Target},
        output::proven_identity,
        qovery::QoveryId,
        service::{Service, is_same_name},
    },
    plan::{
        Call as _,
        install::{Deploy, Followed, Progress},
    },
    report::Report,
};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a request is made that another deployment gets in the way of.
const MOST_REQUESTS: usize = 5;

/// What the outputs of the job say after its last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proofs {
    /// These identities, by the part of their outputs' names that stands for them, and whether each is proven.
    Said(Vec<(String, bool)>),
    /// Nothing, for this reason.
    Unsaid(String),
}

/// Why it was not deployed to the end.
#[derive(Debug, Error)]
pub enum DeployError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Failed),
    /// Nothing of that name is there.
    #[error("the environment has no service `{0}`")]
    Missing(String),
    /// It ended, and not well.
    #[error("{}", .0)]
    Ended(Box<Ended>),
    /// The time of the run is over, and it is not.
    #[error("{target} is not deployed after {seconds} s: its state is `{state}`")]
    Late {
        /// What was deployed.
        target: Target,
        /// Its state, in Qovery's word.
        state: String,
        /// The time of the whole run.
        seconds: u64,
    },
    /// A signal came.
    #[error("interrupted by a signal: the deployment of {0} goes on in Qovery")]
    Interrupted(Target),
    /// A signal came before anything was asked for.
    #[error("interrupted by a signal: the deployment of {0} was not asked for")]
    NotAsked(Target),
}

/// A deployment that did not end well.
#[derive(Debug)]
pub struct Ended {
    target: Target,
    progress: Progress,
    state: String,
    /// The services that failed with it, and their states.
    services: Vec<String>,
    console: Option<String>,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, state, services, .. } = self;
        match self.progress {
            Progress::Canceled => write!(f, "the deployment of {target} was cancelled in Qovery")?,
            Progress::Gone => write!(f, "{target} was stopped or deleted while it was deployed: its state is `{state}`")?,
            Progress::Failed | Progress::Done | Progress::GoesOn => write!(f, "the deployment of {target} failed: its state is `{state}`")?,
        }
        services.iter().try_for_each(|service| write!(f, "\n  {service}"))
    }
}

impl DeployError {
    /// What a person can do about it. Of a call that failed nothing: its kind tells.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let again = "run `install --deploy` again";
        Some(match self {
            Self::Call(_) => return None,
            Self::Missing(_) => format!("somebody deleted or renamed it meanwhile: {again}"),
            Self::Late { .. } => format!("it goes on in Qovery: follow it in the console, or {again} with a longer `--timeout` (up to 1h)"),
            Self::Interrupted(_) => format!("follow it in the console, or {again}: it waits for what is under way"),
            Self::NotAsked(_) => again.to_owned(),
            Self::Ended(ended) => ended.hint(again),
        })
    }
}

impl Ended {
    fn hint(&self, again: &str) -> String {
        let logs = self.console.as_ref().map_or_else(String::new, |console| format!(". Its log: {console}"));
        match (self.progress, &self.target) {
            (Progress::Canceled, _) => format!("whoever cancelled it knows why; {again}{logs}"),
            (Progress::Gone, _) => format!("{again}{logs}"),
            (_, Target::Account(_)) => format!(
                "the log of the Helm service says why. If Qovery refuses a Role or RoleBinding: let the job reach the cluster by an EKS access entry: docs/troubleshooting.md has the steps. If Helm says `invalid ownership metadata`: the objects are of an earlier Helm service, docs/troubleshooting.md says how to hand them over{logs}"
            ),
            (_, Target::Job(_)) => format!(
                "the last lines of the job's log say why and what to do. Its exit code: 1 a service failed, 2 configuration, 3 refused, 4 not proven (docs/troubleshooting.md). Then {again}{logs}"
            ),
            (_, Target::Environment(_)) => format!("see the logs of these services, then {again}{logs}"),
        }
    }
}

/// What is deployed, in order: the Helm service of the job's ServiceAccount, where the job has one, the job, the environment.
///
/// # Errors
/// Qovery does not answer, or a service is not there.
pub async fn targets(
    config: &InstallConfig,
    environment: &QoveryId,
    qovery: &Qovery,
    patience: &Patience,
) -> Result<Vec<Target>, DeployError> {
    let call = "qovery:GET /environment/{id}/services";
    let services = patience.call(call, async || qovery.services().await).await;
    let services = services.map_err(Failed::to("list the services of the environment", call))?;
    let named = |name: &str| services.iter().find(|service| is_same_name(&service.name, name)).cloned();
    let found = |name: String| named(&name).ok_or(DeployError::Missing(name));
    let job = config.job.name.as_str();
    let account = config.job.account.as_ref().map(|_| found(format!("{job}-account"))).transpose()?;
    let job = found(job.to_owned())?;
    Ok(account.map(Target::Account).into_iter().chain([Target::Job(job), Target::Environment(environment.clone())]).collect())
}

/// Deploys these one after the other, each to its end.
///
/// # Errors
/// Qovery does not answer, a deployment did not end well or not in time, or a signal came.
pub async fn deploy(targets: &[Target], qovery: &Qovery, patience: &Patience, report: &mut Report<'_>) -> Result<(), DeployError> {
    let mut deployer = Deployer { qovery, patience, report };
    for target in targets {
        deployer.deploy(target).await?;
    }
    Ok(())
}

/// What the outputs of the job say, now that these are deployed. Where an identity is not proven, the job is deployed once more: by EKS Pod
/// Identity nothing can be proven before a pod runs.
///
/// # Errors
/// As [`deploy`].
pub async fn proofs(targets: &[Target], qovery: &Qovery, patience: &Patience, report: &mut Report<'_>) -> Result<Proofs, DeployError> {
    let mut deployer = Deployer { qovery, patience, report };
    let Some((target, job)) = targets.iter().find_map(|target| match target {
        Target::Job(job) => Some((target, job)),
        Target::Account(_) | Target::Environment(_) => None,
    }) else {
        return Ok(Proofs::Unsaid("no job was deployed".to_owned()));
    };
    match deployer.proofs(job).await? {
        Proofs::Said(said) if said.iter().any(|(_, proven)| !proven) => {
            deployer.report.note("not every identity is proven, and pods run only now: the job is deployed once more");
            deployer.deploy(target).await?;
            deployer.proofs(job).await
        }
        proofs => Ok(proofs),
    }
}

struct Deployer<'a, 'r> {
    qovery: &'a Qovery,
    patience: &'a Patience,
    report: &'a mut Report<'r>,
}

impl Deployer<'_, '_> {
    async fn statuses(&self, target: &Target) -> Result<Statuses, DeployError> {
        let call = "qovery:GET /environment/{id}/statuses";
        let seen = self.patience.call(call, async || self.qovery.statuses().await).await;
        seen.map_err(|source| match source.kind {
            ErrorKind::Timeout if self.patience.is_over() => self.late(target, "not known"),
            _ => Failed { doing: format!("see how the deployment of {target} goes on"), call, source }.into(),
        })
    }

    fn late(&self, target: &Target, state: &str) -> DeployError {
        DeployError::Late { target: target.clone(), state: state.to_owned(), seconds: self.patience.seconds() }
    }

    async fn deploy(&mut self, target: &Target) -> Result<(), DeployError> {
        let action = Deploy(target.clone());
        let started = Instant::now();
        let before = self.ask(target, &action).await?;
        self.follow(target, before).await?;
        self.report.did(&action, started.elapsed());
        Ok(())
    }

    /// Asks for the deployment when nothing else is under way. Answers how its target was right before.
    async fn ask(&mut self, target: &Target, action: &Deploy) -> Result<Status, DeployError> {
        let mut requests = 0;
        loop {
            let before = self.idle(target).await?;
            if self.patience.is_interrupted() {
                return Err(DeployError::NotAsked(target.clone()));
            }
            requests += 1;
            match self.patience.call(action.call(), async || self.qovery.deploy(target).await).await {
                Ok(()) => return Ok(before),
                // Somebody else was faster.
                Err(CallError { kind: ErrorKind::Changed, .. }) if requests < MOST_REQUESTS => {
                    self.pause(target, FIRST_PAUSE, "another deployment is under way", false).await?;
                }
                Err(source) => return Err(Failed { doing: action.to_string(), call: action.call(), source }.into()),
            }
        }
    }

    /// Waits until nothing is done to the environment. Answers how the target is then.
    async fn idle(&mut self, target: &Target) -> Result<Status, DeployError> {
        let _waiting = self.patience.waiting(format!("another deployment of the environment to end, before {target} is deployed"));
        let mut pauses = BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let seen = self.statuses(target).await?;
            let Some(status) = seen.of(target) else { return Err(missing(target)) };
            if !seen.is_busy() {
                return Ok(status.clone());
            }
            self.report.note("another deployment of the environment is under way: waiting for its end");
            self.pause(target, pauses.pause(), "another deployment is under way", false).await?;
        }
    }

    async fn follow(&mut self, target: &Target, before: Status) -> Result<(), DeployError> {
        let _waiting = self.patience.waiting(format!("{target} to be deployed"));
        let (mut followed, mut pauses, mut shown) = (Followed::new(before), BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE), String::new());
        loop {
            let seen = self.statuses(target).await?;
            let Some(status) = seen.of(target) else { return Err(missing(target)) };
            let progress = followed.next(status);
            match progress {
                Progress::GoesOn => {}
                // The state of the environment may come before that of a service in it.
                Progress::Done if matches!(target, Target::Account(_) | Target::Job(_)) || seen.failed().next().is_none() => return Ok(()),
                Progress::Done | Progress::Failed | Progress::Canceled | Progress::Gone => {
                    let progress = if progress == Progress::Done { Progress::Failed } else { progress };
                    return Err(self.ended(target, progress, status, &seen).await);
                }
            }
            if status.is_busy() && shown != status.state {
                shown.clone_from(&status.state);
                self.report.line(&format!("deploying {target}: `{shown}`"));
            }
            self.pause(target, pauses.pause(), &status.state, true).await?;
        }
    }

    /// Waits a while, unless the time is over or a signal comes.
    async fn pause(&self, target: &Target, pause: Duration, state: &str, was_asked: bool) -> Result<(), DeployError> {
        match (self.patience.sleep(pause).await, self.patience.is_interrupted(), was_asked) {
            (true, false, _) => Ok(()),
            (_, true, true) => Err(DeployError::Interrupted(target.clone())),
            (_, true, false) => Err(DeployError::NotAsked(target.clone())),
            (false, false, _) => Err(self.late(target, state)),
        }
    }

    /// What people need to know of an end that is none: of the environment, which services.
    async fn ended(&self, target: &Target, progress: Progress, status: &Status, seen: &Statuses) -> DeployError {
        let mut services = Vec::new();
        if matches!(target, Target::Environment(_)) && progress == Progress::Failed {
            let call = "qovery:GET /environment/{id}/services";
            // Not to know their names costs the names.
            let named = self.patience.for_advice().call(call, async || self.qovery.services().await).await.unwrap_or_default();
            let name = |id: &str| {
                let found = named.iter().find(|service| service.id.as_str() == id);
                found.map_or_else(|| format!("service `{id}`"), Service::to_string)
            };
            services = seen.failed().map(|(id, status)| format!("{}: `{}`", name(id), status.state)).collect();
        }
        let console = self.report.console().map(str::to_owned);
        let state = status.state.clone();
        DeployError::Ended(Box::new(Ended { target: target.clone(), progress, state, services, console }))
    }

    /// What the job's outputs say, as its services see them. That they cannot be read is no proof, and no failed deployment.
    async fn proofs(&self, job: &Service) -> Result<Proofs, DeployError> {
        let call = "qovery:GET /variable";
        let seen = self.patience.call(call, async || self.qovery.variables(VariablesOf::Service(job)).await).await;
        Ok(match seen {
            Err(error) => Proofs::Unsaid(error.to_string()),
            Ok(seen) => {
                let said = seen.iter().filter_map(|variable| {
                    let proven = variable.value.as_deref()? == "true";
                    Some((proven_identity(&variable.name, &job.id)?.to_owned(), proven))
                });
                match said.collect::<Vec<_>>() {
                    none if none.is_empty() => Proofs::Unsaid("Qovery shows no output of the job that tells".to_owned()),
                    said => Proofs::Said(said),
                }
            }
        })
    }
}

fn missing(target: &Target) -> DeployError {
    match target {
        Target::Account(service) | Target::Job(service) => DeployError::Missing(service.name.clone()),
        Target::Environment(id) => DeployError::Missing(id.to_string()),
    }
}
