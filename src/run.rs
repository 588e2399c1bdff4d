//! The program in one function: configure, connect, then observe, plan and apply until there is nothing to do.

use std::{io::Write, time::Instant};

use tokio::sync::watch;

use crate::{
    call::Patience,
    cli::{Cli, Command},
    config::{self, Config, Flags},
    connect::connect,
    converge::Work,
    failure::{DONE, RunError, TO_DO},
    model::desired::Desired,
    output,
    plan::{Freshness, Goal},
    report::{Report, counted},
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
    let flags = Flags::from(&cli.options);
    let variables: Vec<(String, String)> = variables.into_iter().collect();
    let (format, termination_log) = config::report_settings(&flags, &variables);
    let mut report = Report::new(name(cli.command), format, out, err);
    // Boxed: the whole run is one large future.
    let result = Box::pin(execute(cli.command, &flags, variables, interrupted, &mut report)).await;
    report.finish(result, started.elapsed(), &termination_log)
}

async fn execute(
    command: Command,
    flags: &Flags,
    variables: Vec<(String, String)>,
    interrupted: watch::Receiver<bool>,
    report: &mut Report<'_>,
) -> Result<(u8, String), RunError> {
    let Some((goal, applies)) = goal(command) else {
        return Ok((DONE, "nothing to do: a stopped environment keeps its roles and ServiceAccounts".to_owned()));
    };
    let config = config::load(flags, variables, config::read_file)?;
    let patience = Patience::new(config.timeout, interrupted);
    let connection = tokio::select! {
        connection = connect(&config, &patience) => connection?,
        () = patience.interruption() => return Err(RunError::Interrupted),
    };
    let work = Work { goal, identities: &config.identities, cloud: &connection, patience: &patience, settle: config.settle };
    if !applies {
        let (_, plan) = work.plan(Freshness::Unsettled, report).await?;
        report.plan(&plan);
        let count = plan.actions().count();
        let code = if count == 0 || goal == Goal::Sweep { DONE } else { TO_DO };
        return Ok((code, if count == 0 { "nothing to do".to_owned() } else { format!("{} to do", counted(count, "action")) }));
    }
    let desired = work.converge(report).await?;
    if goal == Goal::Start {
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

/// What a command is to bring about, and whether it does; none if there is nothing to bring about.
fn goal(command: Command) -> Option<(Goal, bool)> {
    match command {
        Command::Stop => None,
        Command::Start => Some((Goal::Start, true)),
        Command::Delete => Some((Goal::Delete, true)),
        Command::Sweep { dry_run } => Some((Goal::Sweep, !dry_run)),
        Command::Plan { of } => Some((of, false)),
    }
}

fn name(command: Command) -> &'static str {
    match command {
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
