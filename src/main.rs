//! The process edge: arguments, environment, signals, standard streams, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use qovery_irsa::{cli::Cli, run};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
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
    ExitCode::from(run(&cli, variables, interrupted, &mut std::io::stdout(), &mut std::io::stderr()).await)
}
