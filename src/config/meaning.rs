//! The configuration as meant: every value is legal.
//!
//! How it is typed, and where a value comes from if nothing is typed, is not known here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use crate::model::{
    arn::{ExternalId, RoleArn},
    identity::{Identity, Prune},
    job::{BindWhen, JobSpec},
    marks::JobMark,
    names::{ClusterName, Namespace, Region, RolePath, ServiceAccountName},
    oidc::IssuerUrl,
    qovery::QoveryAccess,
    secret::Secret,
    service::{DesiredService, ServiceRef},
    variable::VariableName,
};
#[cfg(feature = "laptop")]
use crate::model::{bootstrap::BootstrapSpec, qovery::ProjectAccess};

/// What the job is to do and where, as meant: every value is legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The environment it runs in.
    pub environment: Environment,
    /// The identities, no two of one ServiceAccount. At least one, but for a removal, which knows without them what to remove, and where a
    /// ServiceAccount is only examined.
    pub identities: Vec<Identity>,
    /// What becomes of things that no identity names any more.
    pub prune: Prune,
    /// The paths below which roles of the cluster's environments are looked for, at least one.
    pub paths: BTreeSet<RolePath>,
    /// The ServiceAccount that is only examined.
    pub examined: Option<ServiceAccountName>,
    /// How AWS and Kubernetes are reached.
    pub access: Access,
    /// How Qovery's API is reached; nothing if there is no need for it and no token.
    pub qovery: Option<QoveryAccess>,
    /// What `delete` does.
    pub on_delete: OnDelete,
    /// The issuer of which `sweep` removes all.
    pub retired: Option<IssuerUrl>,
    /// What people should know of the configuration, though it is no problem.
    pub notes: Vec<String>,
    /// The deadline of the whole run, from 10 seconds to an hour.
    pub timeout: Duration,
    /// How long after its own last write to a role with many writers a run looks again: longer than IAM shows the past.
    pub settle: Duration,
    /// Whether it is proven that a pod gets its role.
    pub proof: Proof,
    /// Where the outputs are written.
    pub output: PathBuf,
    /// Where the last error is written for Kubernetes.
    pub termination_log: PathBuf,
    /// How the report is written.
    pub format: Format,
}

/// The Qovery environment that the job belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its Kubernetes namespace.
    pub namespace: Namespace,
    /// The name of its EKS cluster.
    pub cluster: Option<ClusterName>,
    /// The region of the cluster.
    pub region: Option<Region>,
    /// Qovery's id of the environment.
    pub id: Option<String>,
    /// Its name, as people gave it.
    pub name: Option<String>,
    /// Qovery's id of its project.
    pub project_id: Option<String>,
    /// The mark of the job that runs.
    pub job: Option<JobMark>,
}

/// How AWS and Kubernetes are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// A role to assume before anything is asked of IAM: that of another account.
    pub assume_role: Option<RoleArn>,
    /// What that role's trust policy may ask for.
    pub external_id: Option<ExternalId>,
    /// Where the credentials for Kubernetes come from.
    pub kube_auth: KubeAuth,
    /// Where a mounted token stands.
    pub kube_token_directory: PathBuf,
    /// The cluster's issuer; found out if not given.
    pub issuer: Option<IssuerUrl>,
}

/// What `delete` does with what the environment added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// With an API token it asks Qovery whether the environment goes; without one it removes.
    #[default]
    Ask,
    /// It removes.
    Remove,
    /// It removes what no running pod uses.
    KeepIfUsed,
}

/// Where the credentials for Kubernetes come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubeAuth {
    /// A kubeconfig if there is one, else a mounted token, else EKS.
    #[default]
    Auto,
    /// The kubeconfig that `KUBECONFIG` names.
    Kubeconfig,
    /// The token mounted in the pod.
    Token,
    /// A token made from the AWS credentials.
    Eks,
}

/// Whether it is proven that a pod gets its role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Yes, unless the job may not request tokens.
    #[default]
    Auto,
    /// As `Auto`, and where no pod runs whose token can be asked for, by a pod that is made for it and never starts.
    Pod,
    /// Yes, or the run has failed.
    Required,
    /// No.
    Off,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What `install` is to make, as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallConfig {
    /// The job.
    pub job: JobSpec,
    /// How Qovery's API is reached; nothing if the job is only printed.
    pub qovery: Option<QoveryAccess>,
    /// The services that the identities bind, as far as the manifest can be read without the variables that the job has.
    pub binds: BTreeSet<ServiceRef>,
    /// The same with what they are bound to.
    pub bindings: Vec<DesiredService>,
    /// When `install` binds them itself.
    pub bind: BindWhen,
    /// What people should know of the configuration, though it is no problem.
    pub notes: Vec<String>,
    /// What secrets of the job would be set to, if they are not there: the values of `IRSA_SECRET_<NAME>`. Never those of the variables of
    /// their own names, which are the installer's: an administrator's AWS keys must not become the job's.
    pub secrets: BTreeMap<VariableName, Secret>,
    /// The deadline of the whole run, from 10 seconds to an hour.
    pub timeout: Duration,
}

/// What `bootstrap` is to make in AWS, as meant: every value is legal.
#[cfg(feature = "laptop")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapConfig {
    /// The trust zone. For a removal it has no boundary, and where a project is asked it may have no namespaces.
    pub spec: BootstrapSpec,
    /// The project whose namespaces are looked at, if one is named.
    pub project: Option<ProjectAccess>,
    /// What people should know of the configuration, though it is no problem.
    pub notes: Vec<String>,
    /// The deadline of the whole run.
    pub timeout: Duration,
    /// How long IAM may show the past after a write.
    pub settle: Duration,
}
