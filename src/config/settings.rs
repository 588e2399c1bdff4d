//! Variables and flags as meant: everything but the manifest.
//!
//! A flag beats its variable. Nothing is read from anywhere here.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{
    env::Variables,
    fallbacks::{DEFAULT_PATH, Fallbacks},
    flags::Flags,
    meaning::{Access, Environment, Format, KubeAuth, OnDelete, Proof},
    scope::ScopeWord,
    text::{
        duration,
        problems::{ProblemLog, choices, named, quoted},
        reader::Typed,
    },
};
use crate::model::{
    arn::{PolicyArn, RoleArn},
    conditions::Conditions,
    gather::Gather as _,
    identity::{Binding, BoundServices, Identity, Keeper, ManagedRole, RoleOrigin, RoleSpec, Scope, ServiceAccountSpec},
    marks::JobMark,
    names::{NameProblem, ServiceAccountName},
    oidc::IssuerUrl,
    qovery::QoveryAccess,
    role::RoleAttributes,
    secret::Secret,
};

#[cfg(feature = "laptop")]
use crate::model::qovery::ProjectAccess;

/// The manifest that is read if none is named and no variable gives an identity.
pub const DEFAULT_MANIFEST: &str = "qovery.yml";

const DEFAULT_OUTPUT: &str = "/qovery-output/qovery-output.json";
pub(super) const DEFAULT_TERMINATION_LOG: &str = "/dev/termination-log";
/// Where Kubernetes mounts the token of a pod's ServiceAccount.
const TOKEN_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// <https://api-doc.qovery.com>
const QOVERY_API: &str = "https://api.qovery.com";
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);
/// Services are built, pulled and started meanwhile.
const DEFAULT_TIMEOUT_OF_DEPLOYMENTS: Duration = Duration::from_mins(30);
/// IAM usually shows a write after two seconds.
const DEFAULT_SETTLE: Duration = Duration::from_secs(8);

/// The value of `IRSA_MANIFEST` that says that there is none, though one may be in the image.
const NO_MANIFEST: &str = "none";

/// How pods get the role of the one identity that needs no manifest.
#[derive(Clone, Copy, Default)]
enum BindingWord {
    #[default]
    Irsa,
    PodIdentity,
}

const BINDINGS: [(&str, BindingWord); 2] = [("irsa", BindingWord::Irsa), ("podIdentity", BindingWord::PodIdentity)];

/// What variables and flags say.
pub(super) struct Settings {
    /// Nothing if it has a problem.
    pub(super) environment: Option<Environment>,
    pub(super) access: Access,
    pub(super) timeout: Duration,
    pub(super) settle: Duration,
    pub(super) proof: Proof,
    pub(super) output: PathBuf,
    pub(super) termination_log: PathBuf,
    pub(super) format: Format,
    /// What roles have of which nothing else is said.
    pub(super) fallbacks: Fallbacks,
    pub(super) on_delete: OnDelete,
    /// The ServiceAccount that is only examined.
    pub(super) examined: Option<ServiceAccountName>,
    /// The issuer of which all is removed.
    pub(super) retired: Option<IssuerUrl>,
}

/// Where the manifest is.
pub(super) struct ManifestFile {
    pub(super) path: PathBuf,
    /// Whether the user said which.
    pub(super) named: bool,
}

/// What variables and flags mean; every problem goes to a log: of what says where things are to `needed`.
pub(super) fn settings(flags: &Flags, variables: &Variables, needed: &ProblemLog, log: &ProblemLog) -> Settings {
    let v = variables;
    if v.irsa_assume_role_external_id.is_some() && v.irsa_assume_role_arn.is_none() {
        log.setting("IRSA_ASSUME_ROLE_EXTERNAL_ID", "is set without `IRSA_ASSUME_ROLE_ARN`, the role that asks for it");
    }
    Settings {
        environment: environment(flags, v, needed),
        access: Access {
            assume_role: parsed(needed, "IRSA_ASSUME_ROLE_ARN", v.irsa_assume_role_arn.as_deref()),
            external_id: parsed(needed, "IRSA_ASSUME_ROLE_EXTERNAL_ID", v.irsa_assume_role_external_id.as_deref()),
            kube_auth: choice(
                needed,
                ("IRSA_KUBE_AUTH", v.irsa_kube_auth.as_deref()),
                &[("auto", KubeAuth::Auto), ("kubeconfig", KubeAuth::Kubeconfig), ("token", KubeAuth::Token), ("eks", KubeAuth::Eks)],
            ),
            kube_token_directory: v.irsa_kube_token_dir.as_deref().unwrap_or(TOKEN_DIRECTORY).into(),
            issuer: parsed(needed, "IRSA_OIDC_ISSUER", v.irsa_oidc_issuer.as_deref()),
        },
        timeout: timeout(flags, v, log),
        settle: settle(v, log),
        proof: choice(
            log,
            ("IRSA_PROOF", v.irsa_proof.as_deref()),
            &[("auto", Proof::Auto), ("pod", Proof::Pod), ("required", Proof::Required), ("off", Proof::Off)],
        ),
        output: v.irsa_output.as_ref().map_or_else(|| DEFAULT_OUTPUT.into(), PathBuf::from),
        termination_log: v.irsa_termination_log.as_ref().map_or_else(|| DEFAULT_TERMINATION_LOG.into(), PathBuf::from),
        format: format(flags, v, log),
        examined: parsed(log, "--service-account", flags.service_account.as_deref()),
        retired: parsed(needed, "--issuer", flags.issuer.as_deref()),
        fallbacks: Fallbacks {
            permissions_boundary: parsed(log, "IRSA_PERMISSIONS_BOUNDARY", v.irsa_permissions_boundary.as_deref()),
            path: parsed(needed, "IRSA_PATH", v.irsa_path.as_deref()),
        },
        on_delete: on_delete(v, log),
    }
}

/// How the report is written.
pub(super) fn format(flags: &Flags, v: &Variables, log: &ProblemLog) -> Format {
    choice(
        log,
        flag_or_variable(("--format", flags.format.as_deref()), ("IRSA_FORMAT", v.irsa_format.as_deref())),
        &[("text", Format::Text), ("json", Format::Json)],
    )
}

/// What `delete` does. A word that is not known, as one of a newer version, is taken for the careful one.
fn on_delete(v: &Variables, log: &ProblemLog) -> OnDelete {
    let known = [("remove", OnDelete::Remove), ("keep-if-used", OnDelete::KeepIfUsed)];
    let value = v.irsa_on_delete.as_deref();
    let chosen = choice(log, ("IRSA_ON_DELETE", value), &known);
    if value.is_some() && chosen == OnDelete::Ask { OnDelete::KeepIfUsed } else { chosen }
}

/// Where the manifest would be; nothing if there is to be none.
pub(super) fn manifest_file(flags: &Flags, v: &Variables) -> Option<ManifestFile> {
    let named = flags.manifest.clone().or_else(|| v.irsa_manifest.as_ref().map(PathBuf::from));
    match named {
        Some(path) if path.as_os_str() == NO_MANIFEST => None,
        Some(path) => Some(ManifestFile { path, named: true }),
        None => Some(ManifestFile { path: DEFAULT_MANIFEST.into(), named: false }),
    }
}

/// What people should know of variables that count for nothing beside a manifest.
pub(super) fn beside_a_manifest(v: &Variables) -> Option<String> {
    let set: Vec<&str> = one_identity(v)
        .into_iter()
        .chain([("SERVICE_ACCOUNT_NAME", &v.service_account_name)])
        .filter(|(_, value)| value.is_some())
        .map(|(name, _)| name)
        .collect();
    (!set.is_empty()).then(|| {
        format!("{}: not read, since the manifest gives the identities (`IRSA_MANIFEST=none` reads the variables instead)", listed(&set))
    })
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The identity of the variables, where there is no manifest; nothing after the log got the reason.
pub(super) fn identity_of_variables(v: &Variables, fallbacks: &Fallbacks, log: &ProblemLog) -> Option<Identity> {
    // With a token file `AWS_ROLE_ARN` is the role that the job itself runs as, and belongs to the AWS SDK.
    let old_name = v.aws_role_arn.as_deref().filter(|_| v.aws_web_identity_token_file.is_none());
    let role = v.irsa_role_arn.as_deref().map(|arn| ("IRSA_ROLE_ARN", arn)).or(old_name.map(|arn| ("AWS_ROLE_ARN", arn)));
    if let Some(name) = &v.service_account_name {
        return identity(name, role, v, fallbacks, log);
    }
    let mut alone = one_identity(v).into_iter().filter(|(_, value)| value.is_some()).peekable();
    if alone.peek().is_none() {
        log.setting(
            "SERVICE_ACCOUNT_NAME",
            format_args!(
                "is not set and there is no `{DEFAULT_MANIFEST}`: for one identity set it with `IRSA_ROLE_ARN` or `IRSA_POLICY_ARNS`, \
                 for more let `install` upload a `{DEFAULT_MANIFEST}`, or name a manifest by `IRSA_MANIFEST`"
            ),
        );
    }
    alone.for_each(|(name, _)| log.setting(name, "is set without `SERVICE_ACCOUNT_NAME`"));
    None
}

const INSTALLED: &str = "the job is installed through Qovery's API";

/// What `install` reads of variables and flags.
pub(super) struct Installing {
    pub(super) manifest: PathBuf,
    pub(super) qovery: Option<QoveryAccess>,
    pub(super) timeout: Duration,
    pub(super) role: Typed<RoleArn>,
    pub(super) boundary: Option<PolicyArn>,
}

/// What variables and flags mean for `install`; every problem goes to the log.
pub(super) fn installing(flags: &Flags, v: &Variables, log: &ProblemLog) -> Installing {
    format(flags, v, log);
    Installing {
        manifest: manifest_file(flags, v).map_or_else(|| DEFAULT_MANIFEST.into(), |file| file.path),
        qovery: if flags.prints { None } else { installed(flags, v, log) },
        timeout: timeout(flags, v, log),
        role: match flags.install.role.as_deref() {
            None => Typed::Absent,
            role => parsed(log, "--role", role).map_or(Typed::Wrong, Typed::Value),
        },
        boundary: match flags.install.boundary.as_deref() {
            Some(none @ "none") => {
                log.value(
                    "--boundary",
                    format_args!("`{none}` is a choice of `bootstrap`: here it is the ARN that `bootstrap` printed, and the flag is left out where it printed none"),
                );
                None
            }
            given => parsed(log, "--boundary", given),
        },
    }
}

/// How Qovery's API is reached by `install`, whose environment a person names.
fn installed(flags: &Flags, v: &Variables, log: &ProblemLog) -> Option<QoveryAccess> {
    if flags.environment.is_none() && v.qovery_environment_id.is_none() {
        log.setting("--environment", "is not set: the id of the environment, which its address in the console ends with");
        qovery_token(v, "QOVERY_API_TOKEN", INSTALLED, log);
        return None;
    }
    qovery(flags, v, ("QOVERY_API_TOKEN", INSTALLED), log)
}

pub(super) fn settle(v: &Variables, log: &ProblemLog) -> Duration {
    time(log, ("IRSA_SETTLE", v.irsa_settle.as_deref()), &(0..=60), DEFAULT_SETTLE)
}

pub(super) fn timeout(flags: &Flags, v: &Variables, log: &ProblemLog) -> Duration {
    let given = flag_or_variable(("--timeout", flags.timeout.as_deref()), ("IRSA_TIMEOUT", v.irsa_timeout.as_deref()));
    let default = if flags.install.deploys { DEFAULT_TIMEOUT_OF_DEPLOYMENTS } else { DEFAULT_TIMEOUT };
    time(log, given, &(10..=3600), default)
}

/// Whether there is an API token of Qovery.
pub(super) fn has_token(v: &Variables) -> bool {
    [&v.irsa_qovery_token, &v.qovery_api_token, &v.qovery_cli_access_token].into_iter().any(Option::is_some)
}

/// The same where the job does without: nothing if there is no token, or no environment's id.
pub(super) fn qovery_if_any(flags: &Flags, v: &Variables, log: &ProblemLog) -> Option<QoveryAccess> {
    let id = flags.environment.as_ref().or(v.qovery_environment_id.as_ref());
    if id.is_none() || !has_token(v) {
        return None;
    }
    qovery(flags, v, ("IRSA_QOVERY_TOKEN", "Qovery is asked"), log)
}

/// How Qovery's API is reached; every problem goes to the log. With the usual name of the token, and why one is needed.
pub(super) fn qovery(flags: &Flags, v: &Variables, (name, why): (&str, &str), log: &ProblemLog) -> Option<QoveryAccess> {
    let (environment, id) =
        flag_or_variable(("--environment", flags.environment.as_deref()), ("QOVERY_ENVIRONMENT_ID", v.qovery_environment_id.as_deref()));
    if id.is_none() {
        log.setting(environment, format_args!("is not set: {why}, which asks for the environment's id"));
    }
    let environment = parsed(log, environment, id);
    let url = parsed(log, "IRSA_QOVERY_API_URL", Some(v.irsa_qovery_api_url.as_deref().unwrap_or(QOVERY_API)));
    let token = qovery_token(v, name, why, log);
    Some(QoveryAccess { url: url?, token: token?, environment: environment? })
}

/// How a project of Qovery is asked for its namespaces, if `bootstrap` names one; every problem goes to the log.
#[cfg(feature = "laptop")]
pub(super) fn project(flags: &Flags, v: &Variables, log: &ProblemLog) -> Option<ProjectAccess> {
    let given = flags.bootstrap.project.as_deref().filter(|_| !flags.bootstrap.delete);
    given?;
    let project = parsed(log, "--project", given);
    let url = parsed(log, "IRSA_QOVERY_API_URL", Some(v.irsa_qovery_api_url.as_deref().unwrap_or(QOVERY_API)));
    let token = qovery_token(v, "QOVERY_API_TOKEN", "the project's namespaces are read through Qovery's API", log);
    Some(ProjectAccess { url: url?, token: token?, project: project? })
}

fn qovery_token(v: &Variables, usual: &str, why: &str, log: &ProblemLog) -> Option<Secret> {
    let names = [
        ("IRSA_QOVERY_TOKEN", &v.irsa_qovery_token),
        ("QOVERY_API_TOKEN", &v.qovery_api_token),
        ("QOVERY_CLI_ACCESS_TOKEN", &v.qovery_cli_access_token),
    ];
    let Some((name, token)) = names.into_iter().find_map(|(name, value)| Some((name, value.as_deref()?.trim()))) else {
        let whose = if usual == "IRSA_QOVERY_TOKEN" { ", to a job as a secret of its own" } else { "" };
        log.setting(usual, format_args!("is not set: {why}; make an API token in the console, and give it by this name{whose}"));
        return None;
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        // Without its value.
        log.setting(name, "holds characters that no token has");
        return None;
    }
    Some(Secret::new(token.to_owned()))
}

fn environment(flags: &Flags, v: &Variables, log: &ProblemLog) -> Option<Environment> {
    let namespace = "QOVERY_KUBERNETES_NAMESPACE_NAME";
    let (namespace, value) =
        flag_or_variable(("--namespace", flags.namespace.as_deref()), (namespace, v.qovery_kubernetes_namespace_name.as_deref()));
    if value.is_none() {
        log.setting(namespace, "is not set");
    }
    let namespace = parsed(log, namespace, value);
    let cluster = parsed(log, "QOVERY_KUBERNETES_CLUSTER_NAME", v.qovery_kubernetes_cluster_name.as_deref());
    // Qovery's variable says where the cluster is; the SDK's are for whatever runs outside Qovery.
    let region = [
        ("QOVERY_CLOUD_PROVIDER_REGION", &v.qovery_cloud_provider_region),
        ("AWS_REGION", &v.aws_region),
        ("AWS_DEFAULT_REGION", &v.aws_default_region),
    ];
    let region = region.into_iter().find(|(_, value)| value.is_some()).and_then(|(name, value)| parsed(log, name, value.as_deref()));
    Some(Environment {
        namespace: namespace?,
        cluster,
        region,
        id: v.qovery_environment_id.clone(),
        name: v.qovery_environment_name.clone(),
        project_id: v.qovery_project_id.clone(),
        job: v.qovery_job_id.as_deref().and_then(JobMark::of_job),
    })
}

/// The variables that belong to the one identity that needs no manifest.
fn one_identity(v: &Variables) -> [(&'static str, &Option<String>); 6] {
    [
        ("IRSA_ROLE_ARN", &v.irsa_role_arn),
        ("IRSA_POLICY_ARNS", &v.irsa_policy_arns),
        ("IRSA_SCOPE", &v.irsa_scope),
        ("IRSA_ROLE_NAME", &v.irsa_role_name),
        ("IRSA_NAMESPACES", &v.irsa_namespaces),
        ("IRSA_BINDING", &v.irsa_binding),
    ]
}

/// The one identity that needs no manifest.
fn identity(name: &str, role: Option<(&str, &str)>, v: &Variables, fallbacks: &Fallbacks, log: &ProblemLog) -> Option<Identity> {
    let name: Option<ServiceAccountName> = parsed(log, "SERVICE_ACCOUNT_NAME", Some(name));
    let policies = v.irsa_policy_arns.as_deref();
    let word = scope_word(v, role.is_some() && policies.is_none(), log);
    let scope = scope(word, v, log);
    let origin = match (role, policies) {
        (Some((variable, arn)), None) => {
            if v.irsa_role_name.is_some() {
                log.setting("IRSA_ROLE_NAME", format_args!("cannot stand beside `{variable}`: a given role has its name"));
            }
            parsed::<RoleArn>(log, variable, Some(arn)).map(RoleOrigin::Given)
        }
        (None, Some(policies)) => {
            if v.irsa_role_name.is_none() && word.is_some_and(ScopeWord::is_together) {
                log.setting("IRSA_ROLE_NAME", "is not set: environments that have a role together must call it by one name");
            }
            Some(RoleOrigin::Managed(Box::new(ManagedRole {
                name: parsed(log, "IRSA_ROLE_NAME", v.irsa_role_name.as_deref()),
                path: fallbacks.path.clone().or_else(|| DEFAULT_PATH.parse().ok())?,
                attributes: RoleAttributes {
                    policies: list(log, "IRSA_POLICY_ARNS", policies, "ARN"),
                    permissions_boundary: fallbacks.permissions_boundary.clone(),
                    ..RoleAttributes::default()
                },
            })))
        }
        (Some((variable, _)), Some(_)) => {
            log.setting(variable, "and `IRSA_POLICY_ARNS` are both set: give an existing role, or the policies of one to be made");
            None
        }
        (None, None) => {
            log.setting(
                "SERVICE_ACCOUNT_NAME",
                "is set without a role: set `IRSA_ROLE_ARN` (an existing role) or `IRSA_POLICY_ARNS` (a role is made)",
            );
            None
        }
    };
    Some(Identity {
        service_account: ServiceAccountSpec {
            name: name?,
            token_expiration: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            automount: None,
            keeper: Keeper::Tool,
        },
        role: RoleSpec { origin: origin?, scope: scope?, extra_subjects: BTreeSet::new(), conditions: Conditions::default() },
        binding: match choice(log, ("IRSA_BINDING", v.irsa_binding.as_deref()), &BINDINGS) {
            BindingWord::Irsa => Binding::default(),
            BindingWord::PodIdentity => Binding::PodIdentity(Box::default()),
        },
        services: BoundServices::default(),
    })
}

/// Whose role it is; nothing after the log got the reason.
fn scope_word(v: &Variables, given: bool, log: &ProblemLog) -> Option<ScopeWord> {
    let variable = "IRSA_SCOPE";
    let Some(text) = v.irsa_scope.as_deref() else { return Some(ScopeWord::of_silent(given)) };
    let word = parsed(log, variable, Some(text))?;
    if given && word == ScopeWord::Environment {
        log.setting(variable, "is `environment`, but a given role cannot be one environment's: use `shared` or `cluster`");
        return None;
    }
    Some(word)
}

/// The scope with what belongs to it.
fn scope(word: Option<ScopeWord>, v: &Variables, log: &ProblemLog) -> Option<Scope> {
    let variable = "IRSA_NAMESPACES";
    let namespaces = v.irsa_namespaces.as_deref().map(|namespaces| list(log, variable, namespaces, "pattern"));
    match (word?, namespaces) {
        (ScopeWord::Environment | ScopeWord::Shared, Some(_)) => {
            log.setting(variable, "is set, but belongs to `IRSA_SCOPE=cluster`");
            None
        }
        (ScopeWord::Environment, None) => Some(Scope::Environment),
        (ScopeWord::Shared, None) => Some(Scope::Shared { retain: false }),
        (ScopeWord::Cluster, Some(namespaces)) => Some(Scope::Cluster { namespaces }),
        (ScopeWord::Cluster, None) => {
            log.setting(variable, "is not set: write out which namespaces may use the role, as `z*`");
            None
        }
    }
}

/// The values of a variable, separated by commas; `what` is one of them.
pub(super) fn list<T: FromStr<Err = NameProblem> + Ord>(log: &ProblemLog, name: &str, list: &str, what: &str) -> BTreeSet<T> {
    let mut texts = list.split(',').map(str::trim).filter(|text| !text.is_empty()).peekable();
    if texts.peek().is_none() {
        log.setting(name, format_args!("holds no {what}"));
    }
    texts.filter_map(|text| parsed(log, name, Some(text))).gather()
}

fn flag_or_variable<'a>(
    flag: (&'static str, Option<&'a str>),
    variable: (&'static str, Option<&'a str>),
) -> (&'static str, Option<&'a str>) {
    if flag.1.is_some() { flag } else { variable }
}

fn time(log: &ProblemLog, (name, value): (&str, Option<&str>), bounds: &RangeInclusive<u32>, default: Duration) -> Duration {
    match value.map(|value| duration::parse(value, bounds)) {
        None => default,
        Some(Ok(seconds)) => Duration::from_secs(u64::from(seconds)),
        Some(Err(problem)) => {
            log.value(name, problem);
            default
        }
    }
}

/// One of a few words; the first if none is given.
fn choice<T: Copy + Default>(log: &ProblemLog, (name, value): (&str, Option<&str>), known: &[(&str, T)]) -> T {
    let Some(value) = value else { return T::default() };
    known.iter().find(|(word, _)| *word == value).map_or_else(
        || {
            log.value(name, format_args!("{} is not known: use {}", quoted(value), choices(known.iter().map(|(word, _)| *word))));
            T::default()
        },
        |(_, choice)| *choice,
    )
}

pub(super) fn parsed<T: FromStr<Err = NameProblem>>(log: &ProblemLog, name: &str, value: Option<&str>) -> Option<T> {
    value?.parse().map_err(|problem| log.value(name, named(&problem))).ok()
}
