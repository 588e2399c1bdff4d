//! Configuration: environment variables, flags and the manifest become one [`Config`], or all of their problems at once.
//!
//! As typed and as meant are two things. `flags.rs`, `env.rs` and `manifest.rs` hold what was typed; `settings.rs`, `identities.rs` and
//! `job.rs` turn it into the types of `meaning.rs`. `pod_identity.rs`, `policies.rs` and `tags.rs` do so for a part of an identity each.
//! `fallbacks.rs` has the defaults that settings and identities share, `scope.rs` the names of scopes, `twice.rs` the checks between
//! identities, `travelling.rs` what `install` sends with the job. `source.rs` reads the manifest's text through `text/`, which knows no key.
//! [`read_file`] is the only I/O, and nothing is asked of AWS or Kubernetes here.

#[cfg(feature = "laptop")]
mod cluster;
mod env;
mod fallbacks;
mod flags;
mod identities;
mod job;
mod manifest;
mod meaning;
mod pod_identity;
mod policies;
mod scope;
mod settings;
mod source;
#[cfg(feature = "laptop")]
mod sweeping;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod travelling;
mod twice;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use self::{
    fallbacks::{DEFAULT_PATH, Fallbacks},
    identities::Meant,
    policies::Files,
    source::{IDENTITIES, Source},
    text::{
        limits::LONGEST_FILE,
        problems::{At, ProblemLog},
        reader::Typed,
    },
    travelling::Travelling,
};
use crate::model::{
    advice::advice,
    identity::{RoleOrigin, Scope},
    job::{BindWhen, ReleasedImage},
    line::bounded,
    names::RolePath,
    secret::Secret,
    service::ServiceRef,
    variable::VariableName,
};

#[cfg(feature = "laptop")]
pub use self::meaning::BootstrapConfig;
pub use self::{
    env::SECRET_PREFIX,
    flags::{BootstrapFlags, Flags, InstallFlags, Purpose},
    meaning::{Access, Config, Environment, Format, InstallConfig, KubeAuth, OnDelete, Proof},
    settings::DEFAULT_MANIFEST,
    source::read_file,
    text::problems::Problems,
};

/// The configuration that flags, variables and manifest give. A manifest that exists wins over the variables of one identity: such a
/// variable may be an output of the job under its own name.
///
/// `variables` are all of the process's environment: the manifest may read any of them. If a name comes twice the first
/// counts. `read_file` is called with the path of the manifest, and with those of the policy documents that it names:
/// [`read_file`](fn@read_file) outside tests.
///
/// # Errors
/// Every problem of flags, variables and manifest, with its place; for a removal only of those that say where things are.
pub fn load(
    flags: &Flags,
    variables: impl IntoIterator<Item = (String, String)>,
    read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, Problems> {
    let (log, lesser) = (ProblemLog::default(), ProblemLog::default());
    // What a removal does without.
    let spare = if flags.purpose == Purpose::Remove { &lesser } else { &log };
    let all = first_of_each(variables);
    let variables = known(&all, spare);
    let mut settings = settings::settings(flags, &variables, &log, spare);
    let mut notes = unknown_settings(flags.purpose, &all, spare);
    let mut source = Source::default();
    let mut meant = Meant::default();
    let manifest = settings::manifest_file(flags, &variables).filter(|_| settings.examined.is_none() && flags.service_account.is_none());
    let content = manifest.as_ref().map(|manifest| read_file(&manifest.path));
    match (manifest, content) {
        (Some(manifest), Some(content)) if manifest.named || !is_missing(&content) => {
            notes.extend(settings::beside_a_manifest(&variables));
            source = Source::of(&manifest.path, content, spare);
            let typed = source.typed(&IDENTITIES, &all, spare);
            let files = Files::beside(&manifest.path, &read_file);
            meant = typed.map(|typed| identities::meant(typed, &settings.fallbacks, &files, &At::root(spare))).unwrap_or_default();
        }
        _ if flags.service_account.is_some() => {}
        // A removal knows without them what to remove.
        _ if flags.purpose == Purpose::Remove && variables.service_account_name.is_none() => {}
        _ => meant.identities.extend(settings::identity_of_variables(&variables, &settings.fallbacks, spare)),
    }
    let binds = flags.purpose == Purpose::Start && meant.identities.iter().any(|identity| !identity.services.services.is_empty());
    let qovery = match flags.purpose {
        _ if binds && settings::has_token(&variables) => {
            settings::qovery(flags, &variables, ("IRSA_QOVERY_TOKEN", "services are bound through Qovery's API"), &log)
        }
        _ if binds => {
            notes.push(NOT_BOUND.to_owned());
            None
        }
        Purpose::Examine => None,
        Purpose::Start => settings::qovery_if_any(flags, &variables, &log),
        Purpose::Remove => {
            let unusable = ProblemLog::default();
            let qovery = settings::qovery_if_any(flags, &variables, &unusable);
            // As good as a token that gets no answer.
            if !unusable.is_empty() && settings.on_delete == OnDelete::Ask {
                settings.on_delete = OnDelete::KeepIfUsed;
            }
            notes.extend(source.problems(unusable).iter().map(|problem| format!("Qovery is not asked: {problem}")));
            qovery
        }
    };
    if flags.purpose == Purpose::Start {
        notes.extend(meant.identities.iter().flat_map(advice));
    }
    let paths = paths(flags.purpose, &meant, &settings.fallbacks);
    notes.extend(source.problems(lesser).iter().map(|problem| format!("does not matter here: {problem}")));
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
        _ => Err(source.problems(log)),
    }
}

/// A job without a token is none to stop: what `install` has bound, its clones included, runs with its role.
const NOT_BOUND: &str = "services are not bound by this run: `IRSA_QOVERY_TOKEN` is not set. `install --bind` binds them, or make an API token in the console, and give it by this name, to a job as a secret of its own";

fn is_missing(content: &io::Result<Vec<u8>>) -> bool {
    matches!(content, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The paths below which roles of the cluster's environments are looked for: those of the manifest, else `IRSA_PATH`, else the default. For a
/// removal all of these, since the manifest may be another than it was.
fn paths(purpose: Purpose, meant: &Meant, fallbacks: &Fallbacks) -> BTreeSet<RolePath> {
    let of_roles = meant.identities.iter().filter_map(|identity| match (&identity.role.origin, &identity.role.scope) {
        (RoleOrigin::Managed(role), Scope::Environment) => Some(role.path.clone()),
        _ => None,
    });
    let mut paths: BTreeSet<RolePath> = of_roles.collect();
    let fallback = fallbacks.path.clone().or_else(|| DEFAULT_PATH.parse().ok());
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
                log.setting(&bounded(unknown.name, LONGEST_FILE), format_args!("is no setting of this tool: did you mean `{meant}`?"));
            }
            _ => notes.push(format!("`{}` is no setting of this tool, and not read", bounded(unknown.name, LONGEST_FILE))),
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
    (format, named("IRSA_TERMINATION_LOG").unwrap_or(settings::DEFAULT_TERMINATION_LOG).into())
}

/// Whether a variable of this name is a setting of this tool.
#[cfg(test)]
pub(crate) fn is_setting(name: &str) -> bool {
    env::is_read(name)
}

/// The image that was released with this program, as `registry.example/name`: whoever builds a release sets it.
pub const RELEASED_IMAGE: Option<&str> = option_env!("QOVERY_IRSA_IMAGE");

/// The configuration of `install`. As [`load`], it tells all problems at once. The identities are read as the job would, as far as that goes
/// without the variables that only the job has.
///
/// `released` is [`RELEASED_IMAGE`] outside tests.
///
/// # Errors
/// Every problem of flags, variables and manifest, with its place.
pub fn load_install(
    flags: &Flags,
    variables: impl IntoIterator<Item = (String, String)>,
    read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
    released: Option<&str>,
) -> Result<InstallConfig, Problems> {
    let log = ProblemLog::default();
    let all = first_of_each(variables);
    let variables = known(&all, &log);
    let installing = settings::installing(flags, &variables, &log);
    let content = read_file(&installing.manifest);
    let text = content.as_ref().ok().and_then(|content| String::from_utf8(content.clone()).ok()).unwrap_or_default();
    let source = Source::of(&installing.manifest, content, &log);
    let binds = bound_services(&source, &all);
    let beside =
        job::Beside { role: installing.role, image: released.and_then(|image| ReleasedImage::of(image, env!("CARGO_PKG_VERSION"))) };
    let job = source.typed(&["job"], &all, &log).and_then(|typed| job::job(typed.job, &beside, &At::root(&log)));
    #[cfg(feature = "laptop")]
    if flags.install.sweeps {
        let swept = source.typed(&["cluster", "defaults"], &all, &log);
        let (cluster, defaults) = swept.map(|swept| (swept.cluster, swept.defaults)).unwrap_or_default();
        let subject = sweeping::subject(cluster, &log);
        let path = defaults.value().and_then(|defaults| defaults.path.value()).and_then(|path| path.parse().ok());
        let job = job.zip(subject).and_then(|(job, subject)| sweeping::sweeping(job, subject, path, &At::root(&log)));
        return match job {
            Some(job) if log.is_empty() => Ok(InstallConfig {
                job,
                qovery: installing.qovery,
                binds: BTreeSet::new(),
                bindings: Vec::new(),
                bind: BindWhen::NothingDeployed,
                secrets: BTreeMap::new(),
                notes: Vec::new(),
                timeout: installing.timeout,
            }),
            _ => Err(source.problems(log)),
        };
    }
    let manifest = Travelling { source: &source, path: &installing.manifest, text, read_file: &read_file };
    let travels = job.as_ref().map(|job| {
        let mut seen = all.clone();
        seen.extend(job.variables.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone())));
        manifest.travels(job, &seen, installing.boundary.as_ref(), &log)
    });
    match (job, travels) {
        (Some(mut job), Some(travels)) if log.is_empty() => {
            let value = |name: &VariableName| all.get(&format!("{SECRET_PREFIX}{name}")).filter(|value| !value.is_empty());
            let secrets = job.secrets.iter().filter_map(|name| Some((name.clone(), Secret::new(value(name)?.clone())))).collect();
            let bindings = travels.bindings.clone();
            let notes = travels.give(&mut job);
            let when = match &flags.install {
                InstallFlags { bind: true, .. } => BindWhen::Always,
                InstallFlags { deploys: true, .. } => BindWhen::AfterJob,
                InstallFlags { .. } => BindWhen::NothingDeployed,
            };
            Ok(InstallConfig { job, qovery: installing.qovery, binds, bindings, bind: when, secrets, notes, timeout: installing.timeout })
        }
        _ => Err(source.problems(log)),
    }
}

/// The configuration of `bootstrap`. As [`load`], it tells all problems at once. A manifest need not exist where the flags say all; of its
/// sections other than `cluster` only the path, the job's ServiceAccount and the keys of tags are looked at.
///
/// # Errors
/// Every problem of flags, variables and the manifest's `cluster`, with its place.
#[cfg(feature = "laptop")]
pub fn load_bootstrap(
    flags: &Flags,
    variables: impl IntoIterator<Item = (String, String)>,
    read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<BootstrapConfig, Problems> {
    let log = ProblemLog::default();
    let all = first_of_each(variables);
    let variables = known(&all, &log);
    let mut notes = unknown_settings(flags.purpose, &all, &log);
    if variables.irsa_assume_role_arn.is_some() {
        notes.push(
            "`IRSA_ASSUME_ROLE_ARN` is not read: `bootstrap` works in the account of the cluster, with your own credentials".to_owned(),
        );
    }
    let mut source = Source::default();
    let mut folder = PathBuf::new();
    if let Some(manifest) = settings::manifest_file(flags, &variables) {
        let content = read_file(&manifest.path);
        if manifest.named || !is_missing(&content) {
            source = Source::of(&manifest.path, content, &log);
            folder.clone_from(&manifest.path);
        }
    }
    let typed = source.typed(&["cluster"], &all, &log);
    // A variable that only the job has, and a mistake in another section, is none of `bootstrap`'s.
    let unheard = ProblemLog::default();
    let other = source.typed(&["defaults", "identities", "job"], &all, &unheard);
    let (defaults, identities, job) = other.map(|other| (other.defaults, other.identities, other.job)).unwrap_or_default();
    let (defaults, identities) = (defaults.value(), identities.value().unwrap_or_default());
    let role_tags = cluster::role_tags(defaults.as_ref(), &identities);
    let beside = cluster::Beside {
        path: defaults.map(|defaults| defaults.path).unwrap_or_default(),
        service_account: job.value().map(|job| job.service_account).unwrap_or_default(),
        role_tags,
    };
    // A file that a flag names stands where the person is, one of the manifest beside the manifest.
    let files = Files::beside(if flags.bootstrap.boundary.is_some() { Path::new("") } else { &folder }, &read_file);
    let section = typed.map(|typed| typed.cluster).unwrap_or_default();
    let spec = cluster::spec(section, beside, &flags.bootstrap, &variables, &files, &log);
    let project = settings::project(flags, &variables, &log);
    let (timeout, settle) = (settings::timeout(flags, &variables, &log), settings::settle(&variables, &log));
    settings::format(flags, &variables, &log);
    match spec {
        Some(spec) if log.is_empty() => Ok(BootstrapConfig { spec, project, notes, timeout, settle }),
        _ => Err(source.problems(log)),
    }
}

/// The services that the identities bind. What has a problem is passed over: `start` will tell it.
fn bound_services(source: &Source, variables: &BTreeMap<String, String>) -> BTreeSet<ServiceRef> {
    let unheard = ProblemLog::default();
    let typed = source.typed(&["identities"], variables, &unheard);
    let identities = typed.and_then(|typed| typed.identities.value()).unwrap_or_default().into_iter().filter_map(Typed::value);
    let services = identities.flat_map(|identity| identity.bind_services.value().unwrap_or_default()).filter_map(Typed::value);
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
