//! The process edge: arguments, environment, signals, standard streams, exit code.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use qovery_irsa::{cli::Cli, report::exit::Exit, run};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return no_runtime(&error),
    };
    let exit = runtime.block_on(command(&cli));
    // Not waited for: a look-up of a name, or a program for credentials, that outlives the run.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}

/// Threads and timers are not to be had.
fn no_runtime(error: &std::io::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: the process cannot be set up\n  caused by: {error}");
    ExitCode::from(Exit::Failed.code())
}

async fn command(cli: &Cli) -> Exit {
    let (interrupt, interrupted) = watch::channel(false);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        if let Ok(mut signals) = signal(kind) {
            let interrupt = interrupt.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    interrupt.send_replace(true);
                }
            });
        }
    }
    // A value that is no text is shown as what is wrong with it, not as missing.
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    run(cli, variables, interrupted, &mut std::io::stdout(), &mut std::io::stderr()).await
}
