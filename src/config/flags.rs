//! The command line as typed: what is to be done, and its options.
//!
//! What an option means is in `settings.rs`.

use std::path::PathBuf;

/// What identities are loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To bring them about, or to see what that takes: services are bound, and Qovery's API must be reachable for it.
    #[default]
    Start,
    /// To take them away. What is not needed for this, problems of the manifest among them, is a note: a delete event that fails keeps the
    /// environment from being deleted.
    Remove,
    /// To examine them.
    Examine,
}

/// The options of `install` that have no variable, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallFlags {
    /// `--role`, instead of `job.role`.
    pub role: Option<String>,
    /// `--boundary`: what bounds the roles that the job makes.
    pub boundary: Option<String>,
    /// `--bind`: whether services are bound though some were deployed before.
    pub bind: bool,
    /// `--sweep`: the cron job that sweeps is installed, and not the job.
    pub sweeps: bool,
    /// `--deploy`: the run may take longer if nobody says how long.
    pub deploys: bool,
}

/// The options of the command line, as typed. Each beats its variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// What the identities are for: the command.
    pub purpose: Purpose,
    /// `--manifest`, instead of `IRSA_MANIFEST`.
    pub manifest: Option<PathBuf>,
    /// `--format`, instead of `IRSA_FORMAT`.
    pub format: Option<String>,
    /// `--timeout`, instead of `IRSA_TIMEOUT`.
    pub timeout: Option<String>,
    /// `--service-account` of `doctor`: no identity is read, this one is examined.
    pub service_account: Option<String>,
    /// `--environment` of `install`, instead of `QOVERY_ENVIRONMENT_ID`.
    pub environment: Option<String>,
    /// `--issuer` of `sweep`: all of this issuer is removed.
    pub issuer: Option<String>,
    /// What else `install` takes.
    pub install: InstallFlags,
    /// Whether `install` only prints, so that no environment is asked for.
    pub prints: bool,
    /// `--namespace` of `doctor`, instead of `QOVERY_KUBERNETES_NAMESPACE_NAME`.
    pub namespace: Option<String>,
    /// Those of `bootstrap`.
    pub bootstrap: BootstrapFlags,
}

/// The options of `bootstrap`, as typed. Each beats its key in the manifest's `cluster`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootstrapFlags {
    /// `--cluster`
    pub cluster: Option<String>,
    /// `--region`
    pub region: Option<String>,
    /// `--namespaces`, separated by commas.
    pub namespaces: Option<String>,
    /// `--boundary`: a file, an ARN or `none`.
    pub boundary: Option<String>,
    /// `--project`: the Qovery project whose namespaces are looked at.
    pub project: Option<String>,
    /// `--cluster-access`: the namespace that may reach the whole cluster.
    pub cluster_access: Option<String>,
    /// `--pod-identity`
    pub pod_identity: bool,
    /// `--delete`: what is made is taken away, so that less need be said.
    pub delete: bool,
}
