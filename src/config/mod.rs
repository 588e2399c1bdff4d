//! Configuration: environment variables, flags and the manifest become one [`Config`], or all of their problems at once.
//!
//! As typed and as meant are two things: `env.rs` and `manifest.rs` hold what was typed, `settings.rs` and
//! `identities.rs` say what it means, `scope.rs` what both call a scope, `twice.rs` what two identities have in common.
//! Between text and manifest stand `yaml.rs` (text to nodes), `interpolation.rs` (`${NAME}`) and `reader.rs` (nodes to
//! what was typed). [`read_file`] is the only I/O, and nothing is asked of AWS or Kubernetes here.

mod duration;
mod env;
mod identities;
mod interpolation;
mod job;
mod manifest;
mod node;
mod pieces;
mod problems;
mod reader;
mod scope;
mod settings;
#[cfg(test)]
mod tests;
mod twice;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    node::Node,
    problems::{At, ProblemLog, choices},
};
use crate::model::{
    advice::advice,
    arn::{ExternalId, RoleArn},
    identity::{Identity, Prune, RoleOrigin, Scope},
    job::JobSpec,
    line::bounded,
    marks::JobMark,
    names::{ClusterName, Namespace, Region, RolePath, ServiceAccountName},
    oidc::IssuerUrl,
    qovery::QoveryAccess,
    secret::Secret,
    service::ServiceRef,
    variable::VariableName,
};

pub use self::problems::Problems;

/// The manifest that is read if none is named and no variable gives an identity.
pub const DEFAULT_MANIFEST: &str = "qovery.yml";

const DEFAULT_OUTPUT: &str = "/qovery-output/qovery-output.json";
const DEFAULT_TERMINATION_LOG: &str = "/dev/termination-log";
/// Where Kubernetes mounts the token of a pod's ServiceAccount.
const TOKEN_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The sections of a manifest; anything else at its top is a mistake.
const SECTIONS: [&str; 4] = ["defaults", "identities", "job", "prune"];
/// What stands before the name of a secret in the variable that gives its value to `install`.
pub const SECRET_PREFIX: &str = "IRSA_SECRET_";
/// The largest manifest, in bytes.
const LARGEST_MANIFEST: usize = 1 << 20;
/// How much of its path stands before each of its problems, in characters.
const LONGEST_PATH: usize = 256;

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
    /// Whether `install` only prints, so that no environment is asked for.
    pub prints: bool,
    /// `--namespace` of `doctor`, instead of `QOVERY_KUBERNETES_NAMESPACE_NAME`.
    pub namespace: Option<String>,
}

/// The configuration that flags, variables and manifest give. A manifest that exists wins over the variables of one identity: such a
/// variable may be an output of the job under its own name.
///
/// `variables` are all of the process's environment: the manifest may read any of them. If a name comes twice the first
/// counts. `read_file` is called at most once, with the path of the manifest: [`read_file`](fn@read_file) outside tests.
///
/// # Errors
/// Every problem of flags, variables and manifest, with its place; for a removal only of those that say where things are.
pub fn load(
    flags: &Flags,
    variables: impl IntoIterator<Item = (String, String)>,
    read_file: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, Problems> {
    let (log, lesser) = (ProblemLog::default(), ProblemLog::default());
    // What a removal does without.
    let spare = if flags.purpose == Purpose::Remove { &lesser } else { &log };
    let all = first_of_each(variables);
    let variables = known(&all, spare);
    let mut settings = settings::settings(flags, &variables, &log, spare);
    let mut notes = unknown_settings(flags.purpose, &all, spare);
    let (mut file, mut text) = (String::new(), String::new());
    let mut meant = identities::Meant::default();
    let manifest = settings::manifest_file(flags, &variables).filter(|_| settings.examined.is_none() && flags.service_account.is_none());
    let content = manifest.as_ref().map(|manifest| read_file(&manifest.path));
    match (manifest, content) {
        (Some(manifest), Some(content)) if manifest.named || !is_missing(&content) => {
            file = bounded(&manifest.path.display().to_string(), LONGEST_PATH);
            notes.extend(settings::beside_a_manifest(&variables));
            let content = manifest_text(content, spare);
            let typed = content.as_deref().and_then(|text| typed_manifest(text, &IDENTITIES, &all, spare));
            meant = typed.map(|typed| identities::meant(typed, &settings.fallbacks, &At::root(spare))).unwrap_or_default();
            text = content.unwrap_or_default();
        }
        _ if flags.service_account.is_some() => {}
        // A removal knows without them what to remove.
        _ if flags.purpose == Purpose::Remove && variables.service_account_name.is_none() => {}
        _ => meant.identities.extend(settings::identity_of_variables(&variables, &settings.fallbacks, spare)),
    }
    let binds = flags.purpose == Purpose::Start && meant.identities.iter().any(|identity| !identity.services.services.is_empty());
    let qovery = match flags.purpose {
        _ if binds => settings::qovery(flags, &variables, ("IRSA_QOVERY_TOKEN", "services are bound through Qovery's API"), &log),
        Purpose::Examine => None,
        Purpose::Start => settings::qovery_if_any(flags, &variables, &log),
        Purpose::Remove => {
            let unusable = ProblemLog::default();
            let qovery = settings::qovery_if_any(flags, &variables, &unusable);
            // As good as a token that gets no answer.
            if !unusable.is_empty() && settings.on_delete == OnDelete::Ask {
                settings.on_delete = OnDelete::KeepIfUsed;
            }
            notes.extend(unusable.into_problems("", |_| None).iter().map(|problem| format!("Qovery is not asked: {problem}")));
            qovery
        }
    };
    if flags.purpose == Purpose::Start {
        notes.extend(meant.identities.iter().flat_map(advice));
    }
    let paths = paths(flags.purpose, &meant, &settings.fallbacks);
    let line_of = |path: &[problems::Step]| yaml::line_of(&text, path);
    notes.extend(lesser.into_problems(&file, line_of).iter().map(|problem| format!("does not matter here: {problem}")));
    match settings.environment {
        Some(environment) if log.is_empty() => Ok(Config {
            environment,
            identities: meant.identities,
            prune: meant.prune,
            paths,
            examined: settings.examined,
            access: settings.access,
            qovery,
            on_delete: settings.on_delete,
            retired: settings.retired,
            notes,
            timeout: settings.timeout,
            settle: settings.settle,
            proof: settings.proof,
            output: settings.output,
            termination_log: settings.termination_log,
            format: settings.format,
        }),
        _ => Err(log.into_problems(&file, line_of)),
    }
}

/// The sections of a manifest that say what the identities are.
const IDENTITIES: [&str; 3] = ["defaults", "prune", "identities"];

fn is_missing(content: &io::Result<Vec<u8>>) -> bool {
    matches!(content, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The paths below which roles of the cluster's environments are looked for: those of the manifest, else `IRSA_PATH`, else the default. For a
/// removal all of these, since the manifest may be another than it was.
fn paths(purpose: Purpose, meant: &identities::Meant, fallbacks: &settings::Fallbacks) -> BTreeSet<RolePath> {
    let of_roles = meant.identities.iter().filter_map(|identity| match (&identity.role.origin, &identity.role.scope) {
        (RoleOrigin::Managed(role), Scope::Environment) => Some(role.path.clone()),
        _ => None,
    });
    let mut paths: BTreeSet<RolePath> = of_roles.collect();
    let fallback = fallbacks.path.clone().or_else(|| identities::DEFAULT_PATH.parse().ok());
    if purpose == Purpose::Remove {
        paths.extend(meant.path.clone().into_iter().chain(fallback));
    } else if paths.is_empty() {
        paths.extend(meant.path.clone().or(fallback));
    }
    paths
}

/// Variables that begin like settings of the tool and are none: a slip is a problem, any other a note.
fn unknown_settings(purpose: Purpose, all: &BTreeMap<String, String>, log: &ProblemLog) -> Vec<String> {
    let mut notes = Vec::new();
    for unknown in env::unknown(all) {
        match unknown.meant {
            Some(meant) if purpose != Purpose::Examine => {
                log.setting(&bounded(unknown.name, LONGEST_PATH), format_args!("is no setting of this tool: did you mean `{meant}`?"));
            }
            _ => notes.push(format!("`{}` is no setting of this tool, and not read", bounded(unknown.name, LONGEST_PATH))),
        }
    }
    notes
}

/// How the report is written and where the last error goes, also where the rest of the configuration is no good.
#[must_use]
pub fn report_settings(flags: &Flags, variables: &[(String, String)]) -> (Format, PathBuf) {
    let named =
        |name: &str| variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    let format = if flags.format.as_deref().or_else(|| named("IRSA_FORMAT")) == Some("json") { Format::Json } else { Format::Text };
    (format, named("IRSA_TERMINATION_LOG").unwrap_or(DEFAULT_TERMINATION_LOG).into())
}

/// Reads a file, or as much of it as shows that it is too large for a manifest.
///
/// # Errors
/// The file cannot be opened or read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LARGEST_MANIFEST as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// Whether a variable of this name is a setting of this tool.
#[cfg(test)]
pub(crate) fn is_setting(name: &str) -> bool {
    env::is_read(name)
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
    /// What secrets of the job would be set to, if they are not there: the values of `IRSA_SECRET_<NAME>`. Never those of the variables of
    /// their own names, which are the installer's: an administrator's AWS keys must not become the job's.
    pub secrets: BTreeMap<VariableName, Secret>,
    /// The deadline of the whole run, from 10 seconds to an hour.
    pub timeout: Duration,
}

/// The configuration of `install`. As [`load`], it tells all problems at once. Of the identities only the services are looked at that they
/// bind, and a problem there is none of `install`'s.
///
/// # Errors
/// Every problem of flags, variables and the manifest's `job`, with its place.
pub fn load_install(
    flags: &Flags,
    variables: impl IntoIterator<Item = (String, String)>,
    read_file: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
) -> Result<InstallConfig, Problems> {
    let log = ProblemLog::default();
    let all = first_of_each(variables);
    let variables = known(&all, &log);
    let installing = settings::installing(flags, &variables, &log);
    let file = bounded(&installing.manifest.display().to_string(), LONGEST_PATH);
    let text = manifest_text(read_file(&installing.manifest), &log);
    let binds = text.as_deref().map(|text| bound_services(text, &all)).unwrap_or_default();
    let typed = text.as_deref().and_then(|text| typed_manifest(text, &["job"], &all, &log));
    let job = typed.and_then(|typed| job::job(typed.job, &At::root(&log)));
    match job {
        Some(job) if log.is_empty() => {
            let value = |name: &VariableName| all.get(&format!("{SECRET_PREFIX}{name}")).filter(|value| !value.is_empty());
            let secrets = job.secrets.iter().filter_map(|name| Some((name.clone(), Secret::new(value(name)?.clone())))).collect();
            Ok(InstallConfig { job, qovery: installing.qovery, binds, secrets, timeout: installing.timeout })
        }
        _ => Err(log.into_problems(&file, |path| yaml::line_of(text.as_deref()?, path))),
    }
}

/// The services that the identities bind. What has a problem is passed over: `start` will tell it.
fn bound_services(text: &str, variables: &BTreeMap<String, String>) -> BTreeSet<ServiceRef> {
    let unheard = ProblemLog::default();
    let typed = typed_manifest(text, &["identities"], variables, &unheard);
    let identities = typed.and_then(|typed| typed.identities.value()).unwrap_or_default().into_iter().filter_map(reader::Typed::value);
    let services = identities.flat_map(|identity| identity.bind_services.value().unwrap_or_default()).filter_map(reader::Typed::value);
    services.filter_map(|service| service.parse().ok()).collect()
}

fn first_of_each(variables: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in variables {
        all.entry(name).or_insert(value);
    }
    all
}

fn known(all: &BTreeMap<String, String>, log: &ProblemLog) -> env::Variables {
    env::Variables::from_all(all).unwrap_or_else(|error| {
        log.setting("environment", error);
        env::Variables::default()
    })
}

/// The text of the manifest, or nothing after the log got the reason.
fn manifest_text(content: io::Result<Vec<u8>>, log: &ProblemLog) -> Option<String> {
    let content = content.map_err(|error| log.file(format_args!("cannot be read: {error}"))).ok()?;
    if content.len() > LARGEST_MANIFEST {
        log.file("is larger than 1 MiB");
        return None;
    }
    String::from_utf8(content).map_err(|_| log.file("is not UTF-8 text")).ok()
}

/// The manifest as typed, of which only these sections are looked at: what a variable of another section's is not set is no problem then.
fn typed_manifest(text: &str, sections: &[&str], variables: &BTreeMap<String, String>, log: &ProblemLog) -> Option<manifest::Manifest> {
    let root = At::root(log);
    let mut node = match yaml::parse(text) {
        Ok(node) => node,
        Err(problem) => {
            match problem.position {
                Some((line, column)) => log.position(line, column, problem.text),
                None => log.file(problem.text),
            }
            return None;
        }
    };
    if let Node::Mapping(entries) = &mut node {
        entries.retain(|key, _| !SECTIONS.contains(&key.as_str()) || sections.contains(&key.as_str()));
    }
    interpolation::interpolate(&mut node, variables, &root);
    let typed = reader::read::<manifest::Manifest>(&node, &root);
    if typed.is_absent() {
        log.file(format_args!("is empty: add {}", choices(sections.last().copied())));
    }
    typed.value()
}
