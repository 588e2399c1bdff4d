//! The program in one function: configure, connect, then observe, plan and apply until there is nothing to do.

mod deployed;
mod error;

use std::{collections::BTreeSet, io::Write, time::Instant};

use tokio::sync::watch;

#[cfg(feature = "laptop")]
use crate::{
    bootstrap::{self, Bootstrapped},
    cli::BootstrapOptions,
    plan::bootstrap::Direction,
};
use crate::{
    cli::{Cli, Command, PrintedForm},
    clients::{
        call::{Failed, Patience},
        http,
    },
    config::{self, Config, Flags, Proof},
    doctor::{Patient, examine, glance},
    hint::Known,
    install::{self, terraform},
    model::{
        desired::Desired,
        line::counted,
        marks::Jobs,
        names::{ServiceAccountName, Subject},
        observed::Observed,
        output::outputs,
    },
    plan::{self, Action, Freshness, Goal, Mode, Plan, Provision},
    report::{
        Report, causes,
        check::State,
        exit::{End, Exit},
    },
    steps::{
        StepError,
        connect::{ConnectError, Connection, connect, connect_by_eks},
        converge::{Converged, Work},
        departure::{self, Departure, InUse},
        output,
        prove::prove,
        retire,
        world::Look,
    },
};
use deployed::deployed;
use error::RunError;

/// Runs a command to its end. `interrupted` turns true when the process is asked to end.
pub async fn run(
    cli: &Cli,
    variables: impl IntoIterator<Item = (String, String)>,
    interrupted: watch::Receiver<bool>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let started = Instant::now();
    let flags = Flags::from(cli);
    let variables: Vec<(String, String)> = variables.into_iter().collect();
    let (format, termination_log) = config::report_settings(&flags, &variables);
    let mut report = Report::new(name(&cli.command), format, out, err);
    let known = Known::of(&variables);
    let ticker = report.ticker();
    // Boxed: the whole run is one large future.
    let result = ticker.beside(Box::pin(execute(&cli.command, &flags, variables, interrupted, &mut report))).await;
    report.finish(result.map_err(|error| error.failure(&known)), started.elapsed(), &termination_log)
}

async fn execute(
    command: &Command,
    flags: &Flags,
    variables: Vec<(String, String)>,
    interrupted: watch::Receiver<bool>,
    report: &mut Report<'_>,
) -> Result<End, RunError> {
    if matches!(command, Command::Stop) {
        return Ok(End::new(Exit::NothingToDo, "nothing to do: a stopped environment keeps its roles and ServiceAccounts"));
    }
    if let Command::Install { dry_run, print, .. } = command {
        return install_job(flags, variables, mode(*dry_run), *print, interrupted, report).await;
    }
    #[cfg(feature = "laptop")]
    if let Command::Bootstrap(options) = command {
        return Box::pin(bootstrap_zone(flags, options, variables, interrupted, report)).await;
    }
    let config = config::load(flags, variables, config::read_file)?;
    config.notes.iter().for_each(|note| report.note(note));
    let patience = Patience::new(config.timeout, interrupted);
    report.clock(&patience);
    let mut connection = tokio::select! {
        connection = connect(&config, &patience) => connection?,
        () = patience.interruption() => return Err(StepError::Interrupted.into()),
    };
    match Box::pin(carry_out(command, &config, &mut connection, &patience, report)).await {
        // Nothing was changed yet: the first look ended so.
        Err(error) if error.is_forbidden_look() && report.applied_count() == 0 => {
            match Box::pin(connect_by_eks(&connection, &config, &patience)).await {
                None => Err(error),
                Some(Err(why)) => {
                    report.note(&format!(
                        "the mounted token may not read ServiceAccounts, and by the job's AWS credentials it does not work either: {why}"
                    ));
                    Err(error)
                }
                Some(Ok(mut other)) => {
                    report.note(&by_eks(&other));
                    Box::pin(carry_out(command, &config, &mut other, &patience, report)).await
                }
            }
        }
        done => done,
    }
}

/// That another way was taken than the usual one, and how to mend that.
fn by_eks(connection: &Connection) -> String {
    let own = connection.own.as_ref().map(ToString::to_string).unwrap_or_default();
    format!(
        "the mounted token of ServiceAccount `{own}` may not read ServiceAccounts: the API server is reached by an EKS token of the job's AWS credentials instead. Give that ServiceAccount its rights (docs/permissions/rbac.yaml), or set `IRSA_KUBE_AUTH=eks`"
    )
}

/// What the command is for, over a connection.
async fn carry_out(
    command: &Command,
    config: &Config,
    connection: &mut Connection,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<End, RunError> {
    let Some((goal, mode)) = goal(command) else {
        return examine_all(config, connection, patience, report).await;
    };
    if goal == Goal::Start {
        plan::refuse_own(connection.own.as_ref(), &config.identities)?;
    }
    if let (Goal::Retire(_), Some(issuer)) = (goal, &config.retired) {
        retire::refuse_alive(issuer, connection, patience).await?;
        connection.place.issuer = issuer.clone();
    }
    let proof = if (goal, mode) == (Goal::Start, Mode::Apply) { config.proof } else { Proof::Off };
    let connection = &*connection;
    let mut work = Work {
        goal,
        look: Look::of(goal, proof),
        identities: &config.identities,
        prune: config.prune,
        jobs: Jobs::Unknown,
        world: connection,
        patience,
        settle: config.settle,
    };
    if goal == Goal::Delete {
        let departure = if mode == Mode::Apply {
            departure::before_delete(config, connection, patience, report).await?
        } else {
            departure::departure(config, connection, patience, report).await
        };
        match departure {
            Departure::Stays { why, .. } if mode == Mode::Apply => return Ok(End::new(Exit::NothingToDo, why)),
            Departure::Stays { jobs, .. } => {
                report.note("this is what the deletion of the environment removes. `delete` alone removes nothing now: Qovery says that the environment stays");
                work.jobs = jobs;
            }
            Departure::Goes { jobs, in_use } => {
                work.jobs = jobs;
                if in_use == InUse::Kept {
                    work.look = Look::MadeAndPods;
                }
            }
        }
    }
    if mode == Mode::DryRun {
        return plan_only(&work, report).await;
    }
    let Converged { desired, observed, applied, plan } = Box::pin(work.converge(report)).await?;
    let Plan { mut left, kept, .. } = plan;
    let seen_whole = observed.unread.is_empty();
    if goal == Goal::Start {
        shown_to_pods(&applied, &work).await?;
        let proven = prove(&config.identities, &desired, &observed, &applied, connection, patience, proof, report).await;
        if patience.is_interrupted() {
            return Err(StepError::Interrupted.into());
        }
        let proven = proven.map_err(RunError::NotProven)?;
        if !applied.is_empty() {
            for note in glance(&desired, connection, patience).await.iter().chain(&plan::binding_notes(&applied)) {
                report.note(note);
            }
        }
        write_outputs(&desired, &observed, &proven, config, report)?;
        left = prune(&work, &desired, observed, report).await?;
    }
    for thing in &left {
        report.left(thing);
    }
    let exit = if report.applied_count() == 0 { Exit::NothingToDo } else { Exit::Done };
    Ok(End::new(exit, last_line(goal, report.applied_count(), config.identities.len(), kept.len(), left.len(), seen_whole)))
}

/// Waits until EKS shows a new association to pods that are created: one that starts before gets no role as long as it lives.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>
async fn shown_to_pods(applied: &[Action], work: &Work<'_, Connection>) -> Result<(), StepError> {
    if !applied.iter().any(|action| matches!(action, Action::CreateAssociation(_))) {
        return Ok(());
    }
    let _waiting = work.patience.waiting("EKS to show the association to new pods");
    let is_over = work.settle.is_zero() || work.patience.sleep(work.settle).await;
    if !is_over && work.patience.is_interrupted() { Err(StepError::Interrupted) } else { Ok(()) }
}

/// Prints what would be done, and changes nothing.
async fn plan_only(work: &Work<'_, Connection>, report: &mut Report<'_>) -> Result<End, RunError> {
    // What `sweep` removes only after a while is a part of what it does. An environment that is deleted may just have been made.
    let freshness = if matches!(work.goal, Goal::Sweep | Goal::Retire(_)) { Freshness::Settled } else { Freshness::Unsettled };
    let (desired, observed, mut plan) = Box::pin(work.plan(work.look, freshness, report)).await?;
    if work.goal == Goal::Start
        && let Some(pruning) = pruning(work, &desired, observed, report).await
    {
        let (_, _, pruned) = Box::pin(pruning.plan(Look::Leaving, Freshness::Unsettled, report)).await?;
        plan.extend(pruned);
    }
    let count = plan.actions().count();
    if count > 0 {
        work.confirm(report).await?;
    }
    report.plan(&plan);
    plan.left.iter().chain(&plan.lost).for_each(|left| report.left(left));
    Ok(match count {
        0 => End::new(Exit::NothingToDo, "nothing to do"),
        count => End::new(Exit::ToDo, format!("{} to do", counted(count, "action"))),
    })
}

/// After a deploy that succeeded: removes what no identity has named for long enough and nobody uses. That it fails costs a note, since what
/// the deploy is for is in place.
async fn prune(
    work: &Work<'_, Connection>,
    desired: &Desired,
    observed: Observed,
    report: &mut Report<'_>,
) -> Result<Vec<String>, RunError> {
    let Some(pruning) = pruning(work, desired, observed, report).await else { return Ok(Vec::new()) };
    match Box::pin(pruning.converge(report)).await {
        Ok(pruned) => Ok(pruned.plan.left),
        Err(error) if work.patience.is_interrupted() => Err(error.into()),
        Err(error) => {
            let causes = causes(&error).iter().fold(String::new(), |all, cause| all + ": " + cause);
            report.note(&format!("what no identity names any more is not removed, the next deploy tries again: {error}{causes}"));
            Ok(Vec::new())
        }
    }
}

/// What a deploy removes after it, if anything is due: first Qovery is asked which jobs exist, where the marks of others count.
async fn pruning<'a>(
    work: &Work<'a, Connection>,
    desired: &Desired,
    mut observed: Observed,
    report: &mut Report<'_>,
) -> Option<Work<'a, Connection>> {
    let jobs = if plan::asks_for_jobs(desired, &observed) {
        departure::existing_jobs(work.world, &observed.marked_by(), work.patience, report).await
    } else {
        Jobs::Unknown
    };
    observed.judge_marks(&jobs);
    for note in &plan::kept_for_others(desired, &observed) {
        report.note(note);
    }
    plan::is_due(desired, &observed).then(|| Work { goal: Goal::Prune, look: Look::Leaving, jobs, ..work.clone() })
}

fn last_line(goal: Goal, applied: usize, identities: usize, kept: usize, left: usize, seen_whole: bool) -> String {
    let identities = counted(identities, "identity");
    let line = match (applied, goal) {
        (0, Goal::Start) => format!("nothing to do: {identities} in place"),
        (0, Goal::Delete) if kept + left > 0 => "nothing removed".to_owned(),
        (0, Goal::Delete) if !seen_whole => {
            "nothing to do: nothing of this environment was seen, and not all could be looked at".to_owned()
        }
        (0, Goal::Delete) => "nothing to do: nothing of this environment is there".to_owned(),
        (0, Goal::Sweep) => "nothing to do: no environment has left anything".to_owned(),
        (0, _) => "nothing to do".to_owned(),
        (count, Goal::Start | Goal::Prune) => format!("{}, {identities}", counted(count, "action")),
        (count, _) => counted(count, "action"),
    };
    let kept = (kept > 0).then(|| format!("{} kept", counted(kept, "thing")));
    let left = (left > 0).then(|| format!("{} left", counted(left, "thing")));
    match kept.into_iter().chain(left).collect::<Vec<_>>().join(", ") {
        stays if stays.is_empty() => line,
        stays => format!("{line}; {stays}: see above"),
    }
}

/// Creates or updates the job itself, or prints it.
async fn install_job(
    flags: &Flags,
    variables: Vec<(String, String)>,
    mode: Mode,
    print: Option<PrintedForm>,
    interrupted: watch::Receiver<bool>,
    report: &mut Report<'_>,
) -> Result<End, RunError> {
    let config = config::load_install(flags, variables, config::read_file, config::RELEASED_IMAGE)?;
    config.notes.iter().for_each(|note| report.note(note));
    if let Some(PrintedForm::Terraform) = print {
        report.printed(&terraform::render(&config.job));
        return Ok(End::printed());
    }
    let patience = Patience::new(config.timeout, interrupted);
    report.clock(&patience);
    http::install_crypto();
    let http = http::client().map_err(ConnectError::from)?;
    let to_do = install::run(&config, mode, &http, &patience, report).await?;
    if flags.install.deploys {
        return deployed(&config, mode, &http, &patience, report).await;
    }
    let job = &config.job.name;
    Ok(match (report.applied_count(), to_do) {
        (0, 0) => End::new(Exit::NothingToDo, format!("nothing to do: job `{job}` is in place")),
        (0, count) => End::new(Exit::ToDo, format!("{} to do", counted(count, "action"))),
        (count, _) => {
            let then =
                if flags.install.sweeps { "Deploy it once: Qovery then runs it every day" } else { "Deploy the environment to run it" };
            End::new(Exit::Done, format!("{}: job `{job}` is in place. {then}", counted(count, "action")))
        }
    })
}

/// Makes what the jobs of a cluster need in AWS, takes it away, or prints it.
#[cfg(feature = "laptop")]
async fn bootstrap_zone(
    flags: &Flags,
    options: &BootstrapOptions,
    variables: Vec<(String, String)>,
    interrupted: watch::Receiver<bool>,
    report: &mut Report<'_>,
) -> Result<End, RunError> {
    let config = config::load_bootstrap(flags, variables, config::read_file)?;
    if options.print.is_none() {
        config.notes.iter().for_each(|note| report.note(note));
    }
    let patience = Patience::new(config.timeout, interrupted);
    report.clock(&patience);
    if let Some(PrintedForm::Terraform) = options.print {
        let text = bootstrap::print(&config, &patience).await?;
        report.printed(&text);
        return Ok(End::printed());
    }
    let direction = if options.delete { Direction::Remove } else { Direction::Make };
    let mode = mode(options.dry_run);
    let Bootstrapped { to_do, next } = bootstrap::run(&config, direction, mode, &patience, report).await?;
    let cluster = &config.spec.cluster;
    let place = if direction == Direction::Make { "in place" } else { "gone" };
    if let Some(next) = next.filter(|_| mode == Mode::Apply) {
        report.next(&next);
    }
    Ok(match (report.applied_count(), to_do) {
        (0, 0) => End::new(Exit::NothingToDo, format!("nothing to do: what `bootstrap` makes for cluster `{cluster}` is {place}")),
        (0, count) => End::new(Exit::ToDo, format!("{} to do", counted(count, "action"))),
        (count, _) => {
            End::new(Exit::Done, format!("{}: what `bootstrap` makes for cluster `{cluster}` is {place}", counted(count, "action")))
        }
    })
}

/// Examines the ServiceAccount that was named, or those of all identities.
async fn examine_all(config: &Config, connection: &Connection, patience: &Patience, report: &mut Report<'_>) -> Result<End, RunError> {
    let call = "sts:GetCallerIdentity";
    let account = patience.call(call, async || connection.aws.account().await).await;
    let account = account.map_err(Failed::to("ask who the job is for AWS", call))?;
    report.place(connection.place.namespace.as_str(), connection.place.issuer.as_str(), account.id.as_str());
    let desired = Desired::new(&config.identities, &connection.place, &account)?;
    let named = config.examined.clone().map(|service_account| {
        let subject = Subject { namespace: connection.place.namespace.clone(), service_account };
        Patient { subject, wanted: None }
    });
    let (mut broken, mut unknown) = (0, 0);
    let patients: Vec<Patient> = Patient::of(&desired).chain(named).collect();
    for patient in &patients {
        let checks = examine(patient, connection, &account, patience).await;
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        broken += count(State::Broken);
        unknown += count(State::Unknown);
        report.examined(&patient.subject, &checks);
    }
    let examined = counted(patients.len(), "ServiceAccount");
    // What could not be seen is not known to be healthy.
    Ok(match (broken, unknown) {
        (0, 0) => End::new(Exit::Healthy, format!("{examined}: nothing is broken")),
        (0, unknown) => End::new(Exit::Unknown, format!("{examined}: {unknown} could not be seen")),
        (broken, 0) => End::new(Exit::Broken, format!("{examined}: {broken} broken")),
        (broken, unknown) => End::new(Exit::Broken, format!("{examined}: {broken} broken, {unknown} could not be seen")),
    })
}

/// What a command is to bring about, and whether it does; none if there is nothing to bring about.
fn goal(command: &Command) -> Option<(Goal, Mode)> {
    match command {
        Command::Stop | Command::Doctor { .. } | Command::Install { .. } => None,
        #[cfg(feature = "laptop")]
        Command::Bootstrap(_) => None,
        Command::Start => Some((Goal::Start, Mode::Apply)),
        Command::Delete => Some((Goal::Delete, Mode::Apply)),
        Command::Sweep { dry_run, issuer, provider } => {
            let provision = if *provider { Provision::Remove } else { Provision::Keep };
            Some((if issuer.is_some() { Goal::Retire(provision) } else { Goal::Sweep }, mode(*dry_run)))
        }
        Command::Plan { of } => Some((*of, Mode::DryRun)),
    }
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Apply }
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Doctor { .. } => "doctor",
        Command::Install { .. } => "install",
        #[cfg(feature = "laptop")]
        Command::Bootstrap(_) => "bootstrap",
        Command::Start => "start",
        Command::Stop => "stop",
        Command::Delete => "delete",
        Command::Sweep { .. } => "sweep",
        Command::Plan { of: Goal::Delete } => "plan delete",
        Command::Plan { .. } => "plan start",
    }
}

fn write_outputs(
    desired: &Desired,
    observed: &Observed,
    proven: &BTreeSet<ServiceAccountName>,
    config: &Config,
    report: &mut Report<'_>,
) -> Result<(), RunError> {
    let outputs = outputs(&desired.service_accounts, observed.associations.as_ref(), proven);
    if output::write(&outputs, &config.output)? {
        report.outputs(outputs);
    } else {
        report.note(&format!("no outputs were written: `{}` is in no directory; the job does not run in Qovery", config.output.display()));
    }
    Ok(())
}
