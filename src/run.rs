//! The program in one function: configure, connect, then observe, plan and apply until there is nothing to do.

use std::{io::Write, time::Instant};

use tokio::sync::watch;

use crate::{
    call::{Failed, Patience},
    cli::{Cli, Command, PrintedForm},
    cloud::Look,
    config::{self, Config, Flags, Proof},
    connect::{Connection, connect},
    converge::{Converged, Work},
    doctor::{Patient, State, examine, glance},
    failure::{DONE, FAILED, RunError, TO_DO},
    install,
    model::{desired::Desired, names::Subject},
    output,
    plan::{self, Freshness, Goal},
    prove::prove,
    report::{Report, counted},
    terraform,
};

/// Runs a command to its exit code. `interrupted` turns true when the process is asked to end.
pub async fn run(
    cli: &Cli,
    variables: impl IntoIterator<Item = (String, String)>,
    interrupted: watch::Receiver<bool>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let started = Instant::now();
    let flags = Flags::from(cli);
    let variables: Vec<(String, String)> = variables.into_iter().collect();
    let (format, termination_log) = config::report_settings(&flags, &variables);
    let mut report = Report::new(name(&cli.command), format, out, err);
    // Boxed: the whole run is one large future.
    let result = Box::pin(execute(&cli.command, &flags, variables, interrupted, &mut report)).await;
    report.finish(result, started.elapsed(), &termination_log)
}

async fn execute(
    command: &Command,
    flags: &Flags,
    variables: Vec<(String, String)>,
    interrupted: watch::Receiver<bool>,
    report: &mut Report<'_>,
) -> Result<(u8, String), RunError> {
    if matches!(command, Command::Stop) {
        return Ok((DONE, "nothing to do: a stopped environment keeps its roles and ServiceAccounts".to_owned()));
    }
    if let Command::Install { dry_run, print, .. } = command {
        return install_job(flags, variables, *dry_run, *print, interrupted, report).await;
    }
    let config = config::load(flags, variables, config::read_file)?;
    let patience = Patience::new(config.timeout, interrupted);
    report.clock(&patience);
    let connection = tokio::select! {
        connection = connect(&config, &patience) => connection?,
        () = patience.interruption() => return Err(RunError::Interrupted),
    };
    let Some((goal, applies)) = goal(command) else {
        return examine_all(&config, &connection, &patience, report).await;
    };
    let proof = if goal == Goal::Start && applies { config.proof } else { Proof::Off };
    let look = Look::of(goal, proof);
    let work = Work { goal, look, identities: &config.identities, cloud: &connection, patience: &patience, settle: config.settle };
    if !applies {
        let (_, _, plan) = Box::pin(work.plan(look, Freshness::Unsettled, report)).await?;
        report.plan(&plan);
        let count = plan.actions().count();
        let code = if count == 0 || goal == Goal::Sweep { DONE } else { TO_DO };
        return Ok((code, if count == 0 { "nothing to do".to_owned() } else { format!("{} to do", counted(count, "action")) }));
    }
    let Converged { desired, observed, applied } = Box::pin(work.converge(report)).await?;
    if goal == Goal::Start {
        let proving = prove(&config.identities, &desired, &observed.sessions, &connection, &patience, proof, report);
        tokio::select! {
            proven = proving => proven.map_err(RunError::NotProven)?,
            () = patience.interruption() => return Err(RunError::Interrupted),
        }
        if !applied.is_empty() {
            for note in glance(&desired, &connection, &patience).await.iter().chain(&plan::binding_note(&applied)) {
                report.note(note);
            }
        }
        write_outputs(&desired, &config, report)?;
    }
    let identities = counted(config.identities.len(), "identity");
    let last_line = match (report.applied_count(), goal) {
        (0, Goal::Start) => format!("nothing to do: {identities} in place"),
        (0, Goal::Delete) => format!("nothing to do: {identities} gone"),
        (0, Goal::Sweep) => "nothing to do: no environment has left anything".to_owned(),
        (count, Goal::Sweep) => counted(count, "action"),
        (count, _) => format!("{}, {identities}", counted(count, "action")),
    };
    Ok((DONE, last_line))
}

/// Creates or updates the job itself, or prints it.
async fn install_job(
    flags: &Flags,
    variables: Vec<(String, String)>,
    dry: bool,
    print: Option<PrintedForm>,
    interrupted: watch::Receiver<bool>,
    report: &mut Report<'_>,
) -> Result<(u8, String), RunError> {
    let config = config::load_install(flags, variables, config::read_file)?;
    if let Some(PrintedForm::Terraform) = print {
        report.printed(&terraform::render(&config.job));
        return Ok((DONE, String::new()));
    }
    let patience = Patience::new(config.timeout, interrupted);
    report.clock(&patience);
    let to_do = install::run(&config, dry, &patience, report).await?;
    let job = &config.job.name;
    Ok((
        DONE,
        match (report.applied_count(), to_do) {
            (0, 0) => format!("nothing to do: job `{job}` is in place"),
            (0, count) => format!("{} to do", counted(count, "action")),
            (count, _) => format!("{}: job `{job}` is in place. Deploy the environment to run it", counted(count, "action")),
        },
    ))
}

/// Examines the ServiceAccount that was named, or those of all identities.
async fn examine_all(
    config: &Config,
    connection: &Connection,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<(u8, String), RunError> {
    let call = "sts:GetCallerIdentity";
    let account = patience.call(call, async || connection.aws.account().await).await;
    let account = account.map_err(Failed::to("ask who the job is for AWS", call))?;
    report.place(connection.place.namespace.as_str(), connection.place.issuer.as_str(), account.id.as_str());
    let desired = Desired::new(&config.identities, &connection.place, &account)?;
    let of_manifest = desired.service_accounts.into_iter().map(|wanted| Patient { subject: wanted.subject, role: Some(wanted.role) });
    let named = config.examined.clone().map(|service_account| {
        let subject = Subject { namespace: connection.place.namespace.clone(), service_account };
        Patient { subject, role: None }
    });
    let mut broken = 0;
    let patients: Vec<Patient> = of_manifest.chain(named).collect();
    for patient in &patients {
        let checks = examine(patient, connection, &account, patience).await;
        broken += checks.iter().filter(|check| check.state == State::Broken).count();
        report.examined(&patient.subject, &checks);
    }
    let examined = counted(patients.len(), "ServiceAccount");
    Ok(if broken == 0 { (DONE, format!("{examined}: nothing is broken")) } else { (FAILED, format!("{examined}: {broken} broken")) })
}

/// What a command is to bring about, and whether it does; none if there is nothing to bring about.
fn goal(command: &Command) -> Option<(Goal, bool)> {
    match command {
        Command::Stop | Command::Doctor { .. } | Command::Install { .. } => None,
        Command::Start => Some((Goal::Start, true)),
        Command::Delete => Some((Goal::Delete, true)),
        Command::Sweep { dry_run } => Some((Goal::Sweep, !*dry_run)),
        Command::Plan { of } => Some((*of, false)),
    }
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Doctor { .. } => "doctor",
        Command::Install { .. } => "install",
        Command::Start => "start",
        Command::Stop => "stop",
        Command::Delete => "delete",
        Command::Sweep { .. } | Command::Plan { of: Goal::Sweep } => "sweep",
        Command::Plan { of: Goal::Start } => "plan start",
        Command::Plan { of: Goal::Delete } => "plan delete",
    }
}

fn write_outputs(desired: &Desired, config: &Config, report: &mut Report<'_>) -> Result<(), RunError> {
    let outputs = output::outputs(&desired.service_accounts);
    if output::write(&outputs, &config.output)? {
        report.outputs(outputs);
    } else {
        report.note(&format!("no outputs were written: `{}` is in no directory; the job does not run in Qovery", config.output.display()));
    }
    Ok(())
}
