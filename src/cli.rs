//! The command line. Each option is also an environment variable; `config` brings them together.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    config::{Flags, Purpose},
    plan::Goal,
};

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "qovery-irsa", version, about = "Gives the services of a Qovery environment on EKS their AWS permissions", after_help = AFTER)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What all commands take.
    #[command(flatten)]
    pub options: Options,
}

const AFTER: &str = "\
As a Qovery lifecycle job give the events deploy, stop and delete the arguments [\"start\"], [\"stop\"] and [\"delete\"].

Exit codes: 0 done or nothing to do; 1 AWS, Kubernetes or Qovery failed, running again may help; 2 configuration, it will not;
3 refused, a person must decide; 4 in place, but a pod would not get its role; 10 `plan` found something to do.
`doctor` exits with 1 if something is broken.";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make provider, role, trust and ServiceAccount what they should be
    Start,
    /// Change nothing: what a stopped environment has stays
    Stop,
    /// Remove what this environment added
    Delete,
    /// Examine the chain from each ServiceAccount to its role, and change nothing
    Doctor {
        /// Examine this ServiceAccount, whether or not a manifest knows it
        #[arg(long, value_name = "NAME")]
        service_account: Option<String>,
        /// Its namespace [default: `QOVERY_KUBERNETES_NAMESPACE_NAME`]
        #[arg(long, value_name = "NAMESPACE")]
        namespace: Option<String>,
    },
    /// Remove roles and registrations left behind by deleted environments
    Sweep {
        /// Print what would be removed, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Remove everything of this OIDC issuer instead, whose cluster no longer exists
        #[arg(long, value_name = "URL")]
        issuer: Option<String>,
        /// With `--issuer`: remove its OIDC provider too, if this tool made it
        #[arg(long, requires = "issuer")]
        provider: bool,
    },
    /// Create or update the lifecycle job of the manifest's `job:` in an environment of Qovery
    Install {
        /// The environment's id [variable: `QOVERY_ENVIRONMENT_ID`]
        #[arg(long, value_name = "ID")]
        environment: Option<String>,
        /// Print what would be changed, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the job for another tool, without asking Qovery: `terraform`
        #[arg(long, value_name = "FORM", conflicts_with_all = ["environment", "dry_run"])]
        print: Option<PrintedForm>,
    },
    /// Print what `start` or `delete` would do, and change nothing
    Plan {
        /// The command to plan
        #[arg(default_value = "start", value_parser = goal, value_name = "start|delete")]
        of: Goal,
    },
}

/// For which tool the job is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrintedForm {
    /// A `qovery_job` resource of Qovery's Terraform provider
    Terraform,
}

/// What all commands take.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The manifest [variable: `IRSA_MANIFEST`] [default: qovery.yml]
    #[arg(long, global = true, value_name = "PATH")]
    pub manifest: Option<PathBuf>,
    /// `text` or `json` [variable: `IRSA_FORMAT`] [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub format: Option<String>,
    /// How long the whole run may take, as `300`, `5m` [variable: `IRSA_TIMEOUT`] [default: 5m]
    #[arg(long, global = true, value_name = "DURATION")]
    pub timeout: Option<String>,
}

impl From<&Cli> for Flags {
    fn from(cli: &Cli) -> Self {
        let Options { manifest, format, timeout } = cli.options.clone();
        let (service_account, namespace) = match &cli.command {
            Command::Doctor { service_account, namespace } => (service_account.clone(), namespace.clone()),
            _ => (None, None),
        };
        let purpose = match &cli.command {
            Command::Delete | Command::Sweep { .. } | Command::Plan { of: Goal::Delete } => Purpose::Remove,
            Command::Doctor { .. } => Purpose::Examine,
            _ => Purpose::Start,
        };
        let issuer = match &cli.command {
            Command::Sweep { issuer, .. } => issuer.clone(),
            _ => None,
        };
        let (environment, prints) = match &cli.command {
            Command::Install { environment, print, .. } => (environment.clone(), print.is_some()),
            _ => (None, false),
        };
        Self { purpose, manifest, format, timeout, service_account, environment, issuer, prints, namespace }
    }
}

fn goal(text: &str) -> Result<Goal, &'static str> {
    match text {
        "start" => Ok(Goal::Start),
        "delete" => Ok(Goal::Delete),
        _ => Err("`start` and `delete` have a plan"),
    }
}
