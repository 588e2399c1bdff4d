//! The command line. Each option is also an environment variable; `config` brings them together.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    config::{BootstrapFlags, Flags, InstallFlags, Purpose},
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
3 refused, a person must decide; 4 in place, but a pod would not get its role; 10 a dry run (`plan`, `--dry-run`) found something to do.
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
    /// Create or update the lifecycle job of the manifest's `job:` in an environment of Qovery, with the manifest and all that it needs
    Install {
        /// The environment's id [variable: `QOVERY_ENVIRONMENT_ID`]
        #[arg(long, value_name = "ID")]
        environment: Option<String>,
        /// The role that the job runs with, as `bootstrap` made it [manifest: `job.role`]
        #[arg(long, value_name = "ARN")]
        role: Option<String>,
        /// The managed policy that bounds the roles that the job makes, as `bootstrap` named it
        #[arg(long, value_name = "ARN")]
        boundary: Option<String>,
        /// Bind services now, though some were deployed before: their next deployment starts with the job
        #[arg(long)]
        bind: bool,
        /// Then deploy the job and the environment, follow both to the end, and say which identities are proven
        #[arg(long)]
        deploy: bool,
        /// Install the cron job that sweeps once a day instead, in the environment of `cluster.access.namespace`
        #[cfg(feature = "laptop")]
        #[arg(long, conflicts_with_all = ["role", "boundary", "bind", "deploy", "print"])]
        sweep: bool,
        /// Print what would be changed, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the job for another tool, without asking Qovery: `terraform`
        #[arg(long, value_name = "FORM", conflicts_with_all = ["environment", "deploy", "dry_run"])]
        print: Option<PrintedForm>,
    },
    /// Make what the jobs of a cluster need in AWS to run without a key: OIDC provider, role, permissions boundary
    #[cfg(feature = "laptop")]
    Bootstrap(BootstrapOptions),
    /// Print what `start` or `delete` would do, and change nothing
    Plan {
        /// The command to plan
        #[arg(default_value = "start", value_parser = goal, value_name = "start|delete")]
        of: Goal,
    },
}

/// For which tool it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrintedForm {
    /// Resources of Terraform
    Terraform,
}

/// What `bootstrap` takes. Each option wins over its key in the manifest's `cluster`
#[cfg(feature = "laptop")]
#[derive(Clone, Debug, Args)]
pub struct BootstrapOptions {
    /// The EKS cluster [key: `cluster.name`] [variable: `QOVERY_KUBERNETES_CLUSTER_NAME`]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Its region [key: `cluster.region`] [default: that of the AWS profile]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Patterns of the namespaces whose jobs may use the role, as `z1a2b3c4-*` [key: `cluster.namespaces`]
    #[arg(long, value_name = "PATTERN,…")]
    pub namespaces: Option<String>,
    /// What roles can have at most: a file with a policy document, the ARN of a policy, or `none` [key: `cluster.permissionsBoundary`]
    #[arg(long, value_name = "FILE|ARN|none")]
    pub boundary: Option<String>,
    /// Look in this Qovery project for a narrower pattern; needs `QOVERY_API_TOKEN`
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// Make a second role, with which this namespace can reach the whole cluster: for `sweep` [key: `cluster.access.namespace`]
    #[arg(long, value_name = "NAMESPACE")]
    pub cluster_access: Option<String>,
    /// Install the agent of EKS Pod Identity, and allow what it takes [key: `cluster.podIdentity`]
    #[arg(long)]
    pub pod_identity: bool,
    /// Print what would be changed, and change nothing; exit 10 if there is something
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what `bootstrap` has made for this cluster
    #[arg(long, conflicts_with_all = ["print", "project"])]
    pub delete: bool,
    /// Print it for another tool, and change nothing: `terraform`
    #[arg(long, value_name = "FORM", conflicts_with_all = ["dry_run", "project"])]
    pub print: Option<PrintedForm>,
}

#[cfg(feature = "laptop")]
impl From<BootstrapOptions> for BootstrapFlags {
    fn from(options: BootstrapOptions) -> Self {
        let BootstrapOptions { cluster, region, namespaces, boundary, project, cluster_access, pod_identity, dry_run: _, delete, print: _ } =
            options;
        Self { cluster, region, namespaces, boundary, project, cluster_access, pod_identity, delete }
    }
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
    /// How long the whole run may take, as `300`, `5m` [variable: `IRSA_TIMEOUT`] [default: 5m, with `--deploy` 30m]
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
        let (environment, prints, install) = match &cli.command {
            Command::Install {
                environment,
                role,
                boundary,
                bind,
                deploy,
                #[cfg(feature = "laptop")]
                sweep,
                dry_run: _,
                print,
            } => {
                #[cfg(feature = "laptop")]
                let sweeps = *sweep;
                #[cfg(not(feature = "laptop"))]
                let sweeps = false;
                let install = InstallFlags { role: role.clone(), boundary: boundary.clone(), bind: *bind, sweeps, deploys: *deploy };
                (environment.clone(), print.is_some(), install)
            }
            _ => (None, false, InstallFlags::default()),
        };
        let bootstrap = match &cli.command {
            #[cfg(feature = "laptop")]
            Command::Bootstrap(options) => options.clone().into(),
            _ => BootstrapFlags::default(),
        };
        Self { purpose, manifest, format, timeout, service_account, environment, issuer, install, prints, namespace, bootstrap }
    }
}

fn goal(text: &str) -> Result<Goal, &'static str> {
    match text {
        "start" => Ok(Goal::Start),
        "delete" => Ok(Goal::Delete),
        _ => Err("`start` and `delete` have a plan"),
    }
}
