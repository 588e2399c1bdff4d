//! Variables and flags as meant: everything but the manifest.
//!
//! A flag beats its variable. Nothing is read from anywhere here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{
    Access, DEFAULT_OUTPUT, DEFAULT_TERMINATION_LOG, Environment, Flags, Format, KubeAuth, TOKEN_DIRECTORY, duration,
    env::Variables,
    identities::{DEFAULT_PATH, DEFAULT_SESSION},
    problems::{ProblemLog, choices, named, quoted},
};
use crate::model::{
    arn::{PolicyArn, RoleArn},
    identity::{EnvironmentRole, GivenRole, Identity, RoleSpec, ServiceAccountSpec},
    names::{NameProblem, ServiceAccountName},
    oidc::Audience,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);

/// What variables and flags say.
pub(super) struct Settings {
    /// Nothing if it has a problem.
    pub(super) environment: Option<Environment>,
    pub(super) access: Access,
    pub(super) timeout: Duration,
    pub(super) output: PathBuf,
    pub(super) termination_log: PathBuf,
    pub(super) format: Format,
    /// The boundary of every role that is made and names none.
    pub(super) permissions_boundary: Option<PolicyArn>,
    pub(super) identities: Source,
}

/// Where the identities are written.
pub(super) enum Source {
    /// In the variables; nothing if it has a problem.
    Variables(Option<Box<Identity>>),
    /// In a file; `named` if the user said which.
    Manifest { path: PathBuf, named: bool },
}

/// What variables and flags mean; every problem goes to the log.
pub(super) fn settings(flags: &Flags, variables: &Variables, log: &ProblemLog) -> Settings {
    let v = variables;
    if let Some(scope) = v.irsa_scope.as_deref().filter(|scope| *scope != "environment") {
        log.value("IRSA_SCOPE", unknown_scope(scope, "`IRSA_ROLE_ARN`"));
    }
    let permissions_boundary = parsed(log, "IRSA_PERMISSIONS_BOUNDARY", v.irsa_permissions_boundary.as_deref());
    Settings {
        environment: environment(v, log),
        access: Access {
            assume_role: parsed(log, "IRSA_ASSUME_ROLE_ARN", v.irsa_assume_role_arn.as_deref()),
            kube_auth: choice(
                log,
                ("IRSA_KUBE_AUTH", v.irsa_kube_auth.as_deref()),
                &[("auto", KubeAuth::Auto), ("kubeconfig", KubeAuth::Kubeconfig), ("token", KubeAuth::Token), ("eks", KubeAuth::Eks)],
            ),
            kube_token_directory: v.irsa_kube_token_dir.as_deref().unwrap_or(TOKEN_DIRECTORY).into(),
            issuer: parsed(log, "IRSA_OIDC_ISSUER", v.irsa_oidc_issuer.as_deref()),
        },
        timeout: timeout(log, flag_or_variable(("--timeout", flags.timeout.as_deref()), ("IRSA_TIMEOUT", v.irsa_timeout.as_deref()))),
        output: v.irsa_output.as_ref().map_or_else(|| DEFAULT_OUTPUT.into(), PathBuf::from),
        termination_log: v.irsa_termination_log.as_ref().map_or_else(|| DEFAULT_TERMINATION_LOG.into(), PathBuf::from),
        format: choice(
            log,
            flag_or_variable(("--format", flags.format.as_deref()), ("IRSA_FORMAT", v.irsa_format.as_deref())),
            &[("text", Format::Text), ("json", Format::Json)],
        ),
        identities: source(flags, v, permissions_boundary.as_ref(), log),
        permissions_boundary,
    }
}

/// What to say about a scope that this version does not know.
pub(super) fn unknown_scope(scope: &str, arn: &str) -> String {
    format!("{} is not a scope that this version knows: use `environment`, or give an existing role by {arn}", quoted(scope))
}

fn environment(v: &Variables, log: &ProblemLog) -> Option<Environment> {
    let namespace = "QOVERY_KUBERNETES_NAMESPACE_NAME";
    if v.qovery_kubernetes_namespace_name.is_none() {
        log.setting(namespace, "is not set");
    }
    let namespace = parsed(log, namespace, v.qovery_kubernetes_namespace_name.as_deref());
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
    })
}

fn source(flags: &Flags, v: &Variables, boundary: Option<&PolicyArn>, log: &ProblemLog) -> Source {
    let named = match (&flags.manifest, &v.irsa_manifest) {
        (Some(path), _) => Some(("--manifest", path.clone())),
        (None, Some(path)) => Some(("IRSA_MANIFEST", PathBuf::from(path))),
        (None, None) => None,
    };
    // With a token file `AWS_ROLE_ARN` is the role that the job itself runs as, and belongs to the AWS SDK.
    let old_name = v.aws_role_arn.as_deref().filter(|_| v.aws_web_identity_token_file.is_none());
    let role = v.irsa_role_arn.as_deref().map(|arn| ("IRSA_ROLE_ARN", arn)).or(old_name.map(|arn| ("AWS_ROLE_ARN", arn)));
    match (&v.service_account_name, named) {
        (Some(name), named) => {
            if let Some((option, _)) = named {
                log.setting(option, "and `SERVICE_ACCOUNT_NAME` are both set: use the manifest or the variables");
            }
            Source::Variables(identity(name, role, v.irsa_policy_arns.as_deref(), boundary, log).map(Box::new))
        }
        (None, named) => {
            for (option, _) in
                [("IRSA_ROLE_ARN", &v.irsa_role_arn), ("IRSA_POLICY_ARNS", &v.irsa_policy_arns)].iter().filter(|(_, value)| value.is_some())
            {
                log.setting(option, "is set without `SERVICE_ACCOUNT_NAME`");
            }
            let path = named.as_ref().map_or_else(|| super::DEFAULT_MANIFEST.into(), |(_, path)| path.clone());
            Source::Manifest { path, named: named.is_some() }
        }
    }
}

/// The one identity that needs no manifest.
fn identity(
    name: &str,
    role: Option<(&str, &str)>,
    policies: Option<&str>,
    boundary: Option<&PolicyArn>,
    log: &ProblemLog,
) -> Option<Identity> {
    let name: Option<ServiceAccountName> = parsed(log, "SERVICE_ACCOUNT_NAME", Some(name));
    let role = match (role, policies) {
        (Some((variable, arn)), None) => {
            parsed::<RoleArn>(log, variable, Some(arn)).map(|arn| RoleSpec::Given(GivenRole { arn, extra_subjects: BTreeSet::new() }))
        }
        (None, Some(policies)) => Some(RoleSpec::Environment(Box::new(EnvironmentRole {
            name: None,
            path: DEFAULT_PATH.parse().ok()?,
            policies: policy_arns(policies, log),
            inline_policies: BTreeMap::new(),
            permissions_boundary: boundary.cloned(),
            max_session_duration: DEFAULT_SESSION,
            description: None,
            tags: BTreeMap::new(),
            extra_subjects: BTreeSet::new(),
        }))),
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
            audience: Audience::default(),
            token_expiration: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            automount: None,
        },
        role: role?,
    })
}

fn policy_arns(list: &str, log: &ProblemLog) -> BTreeSet<PolicyArn> {
    let name = "IRSA_POLICY_ARNS";
    let mut texts = list.split(',').map(str::trim).filter(|text| !text.is_empty()).peekable();
    if texts.peek().is_none() {
        log.setting(name, "holds no ARN");
    }
    texts.filter_map(|text| parsed(log, name, Some(text))).collect()
}

fn flag_or_variable<'a>(
    flag: (&'static str, Option<&'a str>),
    variable: (&'static str, Option<&'a str>),
) -> (&'static str, Option<&'a str>) {
    if flag.1.is_some() { flag } else { variable }
}

fn timeout(log: &ProblemLog, (name, value): (&str, Option<&str>)) -> Duration {
    match value.map(|value| duration::parse(value, &(10..=3600))) {
        None => DEFAULT_TIMEOUT,
        Some(Ok(seconds)) => Duration::from_secs(u64::from(seconds)),
        Some(Err(problem)) => {
            log.value(name, problem);
            DEFAULT_TIMEOUT
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

fn parsed<T: FromStr<Err = NameProblem>>(log: &ProblemLog, name: &str, value: Option<&str>) -> Option<T> {
    value?.parse().map_err(|problem| log.value(name, named(&problem))).ok()
}
