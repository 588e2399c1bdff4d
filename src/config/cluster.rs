//! The `cluster:` section and the flags of `bootstrap` as meant: the trust zone of a cluster.
//!
//! A flag wins over its key. Every problem is reported at its place and the rest is still looked at. What AWS has already is not known here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    env::Variables,
    fallbacks::DEFAULT_PATH,
    flags::BootstrapFlags,
    job::JOB_SERVICE_ACCOUNT,
    manifest,
    policies::{self, Files},
    settings::{list, parsed},
    tags::{Tagged, tags, too_many},
    text::{
        pieces::{name, names, required, text},
        problems::{At, ProblemLog, quoted},
        reader::{Document, Json, Typed},
    },
};
use crate::model::{
    arn::RoleArn,
    bootstrap::{BootstrapSpec, BoundaryChoice, access_role},
    gather::Gather as _,
    names::{ClusterName, NameProblem, NamespacePattern, Region, RoleName, RolePath, ServiceAccountName, Subject, TagKey},
};

/// The ServiceAccount that may reach the whole cluster.
const ACCESS_SERVICE_ACCOUNT: &str = "qovery-irsa-sweep";
/// What a managed policy may hold, in characters without white space.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const LARGEST_MANAGED_POLICY: usize = 6_144;
/// The word for no boundary.
const NO_BOUNDARY: &str = "none";

const CHOICES: &str = "it says what roles of the jobs can have at most, and there is no default. Choose one: a file with a policy document, of which `bootstrap` makes the policy; the ARN of a managed policy; or `none`, with which whoever can run as the job can give any permission of the account";
const PATTERNS: &str = "it says in which namespaces jobs may use the job's role, as patterns. `z*` is every environment of the cluster; a project's own beginning, as `z1a2b3c4-*`, keeps the others out (`--project ID` finds it)";

/// What the other sections say that a trust zone depends on.
pub(super) struct Beside {
    /// `defaults.path`
    pub(super) path: Typed<String>,
    /// `job.serviceAccount`
    pub(super) service_account: Typed<String>,
    /// The keys of the tags that roles get.
    pub(super) role_tags: BTreeSet<TagKey>,
}

/// The trust zone of manifest, flags and variables; nothing if a log got a problem that leaves none.
///
/// For a removal no namespaces and no boundary are needed. Where a project is asked for its namespaces, none need be given yet.
pub(super) fn spec(
    typed: Typed<manifest::Cluster>,
    beside: Beside,
    flags: &BootstrapFlags,
    variables: &Variables,
    files: &Files<'_>,
    log: &ProblemLog,
) -> Option<BootstrapSpec> {
    let root = At::root(log);
    let at = &root.key("cluster");
    let is_wrong = matches!(typed, Typed::Wrong);
    let manifest::Cluster {
        name: typed_name,
        region: typed_region,
        namespaces: typed_namespaces,
        role: typed_role,
        permissions_boundary,
        roles: typed_roles,
        pod_identity,
        access: typed_access,
        tags: typed_tags,
    } = typed.value().unwrap_or_default();
    // All parts before the first `?`: each reports its own problems.
    let cluster = cluster(typed_name, flags, variables, is_wrong, at, log);
    let region = match flags.region.as_deref() {
        Some(region) => parsed::<Region>(log, "--region", Some(region)),
        None if typed_region.is_absent() => parsed(log, "QOVERY_CLOUD_PROVIDER_REGION", variables.qovery_cloud_provider_region.as_deref()),
        None => name(typed_region, &at.key("region")),
    };
    let namespaces = namespaces(typed_namespaces, flags, is_wrong, at, log);
    let role = role(typed_role, cluster.as_ref(), at);
    let path = path(beside.path, variables, &root.key("defaults").key("path"), log);
    let service_account = service_account(beside.service_account, &root.key("job").key("serviceAccount"));
    let boundary = boundary(permissions_boundary, flags, is_wrong, files, at, log);
    let roles: BTreeSet<RoleArn> = names(typed_roles, &at.key("roles"));
    for listed in &roles {
        if role.as_ref().is_some_and(|role| role.as_str().eq_ignore_ascii_case(listed.name.as_str())) {
            at.key("roles")
                .report(format_args!("{} is the job's own role: with it the jobs could let anybody in", quoted(&listed.to_string())));
        }
        if role.as_ref().and_then(access_role).is_some_and(|role| role.as_str().eq_ignore_ascii_case(listed.name.as_str())) {
            at.key("roles").report(format_args!(
                "{} is the role of cluster access: with it the jobs could let themselves into the whole cluster",
                quoted(&listed.to_string())
            ));
        }
        literal(listed.path.as_str(), &at.key("roles"));
    }
    let access = access(typed_access, flags, at, log);
    let tags = tags(typed_tags, Tagged::Role, &BTreeMap::new(), &at.key("tags"));
    if let Some(problem) = too_many(&tags, Tagged::Role) {
        at.key("tags").report(problem);
    }
    // What is only put into documents does not matter where they go.
    let (namespaces, roles) = if flags.delete { Default::default() } else { (namespaces, roles) };
    Some(BootstrapSpec {
        region,
        namespaces,
        roles,
        role_tags: beside.role_tags,
        pod_identity: flags.pod_identity || pod_identity.value() == Some(true),
        access,
        tags,
        cluster: cluster?,
        service_account: service_account?,
        role: role?,
        path: path?,
        boundary: boundary?,
    })
}

fn cluster(
    typed: Typed<String>,
    flags: &BootstrapFlags,
    variables: &Variables,
    is_wrong: bool,
    at: &At<'_>,
    log: &ProblemLog,
) -> Option<ClusterName> {
    if let Some(cluster) = flags.cluster.as_deref() {
        return parsed(log, "--cluster", Some(cluster));
    }
    if !typed.is_absent() {
        return name(typed, &at.key("name"));
    }
    let variable = "QOVERY_KUBERNETES_CLUSTER_NAME";
    let value = variables.qovery_kubernetes_cluster_name.as_deref();
    if value.is_none() && !is_wrong {
        log.setting(
            "--cluster",
            format_args!("is not set: name the EKS cluster here, as `cluster.name` in the manifest, or by `{variable}`"),
        );
    }
    parsed(log, variable, value)
}

fn namespaces(
    typed: Typed<Vec<Typed<String>>>,
    flags: &BootstrapFlags,
    is_wrong: bool,
    at: &At<'_>,
    log: &ProblemLog,
) -> BTreeSet<NamespacePattern> {
    if let Some(given) = flags.namespaces.as_deref() {
        return list(log, "--namespaces", given, "pattern");
    }
    let is_needed = !flags.delete && flags.project.is_none() && !is_wrong;
    if typed.is_absent() && is_needed {
        log.setting("--namespaces", format_args!("is not set, nor is `cluster.namespaces` in the manifest: {PATTERNS}"));
    }
    if matches!(&typed, Typed::Value(given) if given.is_empty()) && is_needed {
        at.key("namespaces").report(format_args!("is empty: {PATTERNS}"));
    }
    names(typed, &at.key("namespaces"))
}

/// Named after the cluster if it has no name of its own.
fn role(typed: Typed<String>, cluster: Option<&ClusterName>, at: &At<'_>) -> Option<RoleName> {
    if !typed.is_absent() {
        return name(typed, &at.key("role"));
    }
    let name = format!("qovery-irsa-{}", cluster?);
    let role = name.parse().ok();
    if role.is_none() {
        at.report(format_args!("{} is too long for the name of a role: give it one as `role`, of at most 64 characters", quoted(&name)));
    }
    role
}

/// The path of the manifest, else of `IRSA_PATH`, else the default. The job's role must not stand below it.
fn path(typed: Typed<String>, variables: &Variables, at: &At<'_>, log: &ProblemLog) -> Option<RolePath> {
    let top = "is `/`, below which every role of the account stands, the job's own included: it could change itself. Use a path such as `/qovery/`";
    match typed {
        Typed::Value(path) => {
            let path: RolePath = text(&path, at)?;
            if path == RolePath::top() {
                at.report(top);
            }
            literal(path.as_str(), at);
            Some(path)
        }
        Typed::Wrong => {
            at.report("cannot be known here: write it without variables, or set those that it names");
            None
        }
        Typed::Absent => {
            let Some(value) = variables.irsa_path.as_deref() else { return DEFAULT_PATH.parse().ok() };
            let path: RolePath = parsed(log, "IRSA_PATH", Some(value))?;
            if path == RolePath::top() {
                log.setting("IRSA_PATH", top);
            }
            if let Some(problem) = pattern(path.as_str()) {
                log.setting("IRSA_PATH", problem);
            }
            Some(path)
        }
    }
}

/// In the job's policy these would stand for other paths too.
fn pattern(path: &str) -> Option<String> {
    path.contains(['*', '?', '$']).then(|| format!("holds {} with `*`, `?` or `$`: a policy would take it for a pattern", quoted(path)))
}

fn literal(path: &str, at: &At<'_>) {
    if let Some(problem) = pattern(path) {
        at.report(problem);
    }
}

fn service_account(typed: Typed<String>, at: &At<'_>) -> Option<ServiceAccountName> {
    match typed {
        Typed::Absent => JOB_SERVICE_ACCOUNT.parse().ok(),
        Typed::Value(name) => text(&name, at),
        Typed::Wrong => {
            at.report("cannot be known here: write it without variables, or set those that it names");
            None
        }
    }
}

/// What `--boundary` says, else `cluster.permissionsBoundary`. For a removal it does not matter.
fn boundary(
    typed: Typed<Json>,
    flags: &BootstrapFlags,
    is_wrong: bool,
    files: &Files<'_>,
    at: &At<'_>,
    log: &ProblemLog,
) -> Option<BoundaryChoice> {
    if flags.delete {
        return Some(BoundaryChoice::None);
    }
    if let Some(given) = flags.boundary.as_deref() {
        return of_flag(given, files, log);
    }
    let at = &at.key("permissionsBoundary");
    match typed {
        Typed::Absent if is_wrong => None,
        Typed::Absent => {
            log.setting("--boundary", format_args!("is not set, nor is `cluster.permissionsBoundary` in the manifest: {CHOICES}"));
            None
        }
        Typed::Wrong => None,
        Typed::Value(Json(Value::String(text))) => of_text(&text).map_err(|problem| at.report(problem)).ok(),
        Typed::Value(Json(value @ Value::Object(_))) => {
            if value.get("file").is_some_and(|file| !file.is_string()) {
                at.key("file").report("must be the path of a file with a policy document");
                return None;
            }
            let document = policies::document(Document(value), files, at)?;
            if let Some(problem) = too_large(&document) {
                at.report(problem);
            }
            Some(BoundaryChoice::Document(document))
        }
        Typed::Value(_) => {
            at.report("must be an ARN, `{file: …}` or `none`");
            None
        }
    }
}

fn of_flag(given: &str, files: &Files<'_>, log: &ProblemLog) -> Option<BoundaryChoice> {
    let flag = "--boundary";
    if given == NO_BOUNDARY || given.starts_with("arn:") {
        return of_text(given).map_err(|problem| log.value(flag, problem)).ok();
    }
    let path = std::path::Path::new(given);
    let shown = quoted(given);
    let document = match files.document(path) {
        Ok(document) => document,
        Err(problem) => {
            log.value(flag, format_args!("{shown} {problem}. Name a file with a policy document, the ARN of a managed policy, or `none`"));
            return None;
        }
    };
    for fault in policies::faults(&document) {
        log.value(flag, format_args!("{shown}: {fault}"));
    }
    if let Some(problem) = too_large(&document) {
        log.value(flag, format_args!("{shown} {problem}"));
    }
    Some(BoundaryChoice::Document(document))
}

fn of_text(text: &str) -> Result<BoundaryChoice, String> {
    if text == NO_BOUNDARY {
        return Ok(BoundaryChoice::None);
    }
    if let Some(problem) = pattern(text) {
        return Err(problem);
    }
    let problem = |problem: NameProblem| format!("{} is not {}: {}, `{{file: …}}` or `none`", quoted(text), problem.kind, problem.rule);
    text.parse().map(BoundaryChoice::Policy).map_err(problem)
}

fn too_large(document: &Value) -> Option<String> {
    let size = document.to_string().chars().count();
    (size > LARGEST_MANAGED_POLICY)
        .then(|| format!("has {size} characters without white space: a managed policy takes {LARGEST_MANAGED_POLICY}"))
}

fn access(typed: Typed<manifest::ClusterAccess>, flags: &BootstrapFlags, at: &At<'_>, log: &ProblemLog) -> Option<Subject> {
    let Some(namespace) = flags.cluster_access.as_deref() else { return access_of(typed, at) };
    let service_account = typed.value().map(|typed| typed.service_account).unwrap_or_default();
    let account = access_account(service_account, &at.key("access"));
    let namespace = parsed(log, "--cluster-access", Some(namespace));
    Some(Subject { namespace: namespace?, service_account: account? })
}

/// Who reaches the cluster as the manifest says.
pub(super) fn access_of(typed: Typed<manifest::ClusterAccess>, at: &At<'_>) -> Option<Subject> {
    let at = &at.key("access");
    let manifest::ClusterAccess { namespace: typed_namespace, service_account } = typed.value()?;
    let account = access_account(service_account, at);
    required(&typed_namespace, "namespace", at);
    let namespace = name(typed_namespace, &at.key("namespace"));
    Some(Subject { namespace: namespace?, service_account: account? })
}

fn access_account(typed: Typed<String>, at: &At<'_>) -> Option<ServiceAccountName> {
    if typed.is_absent() { ACCESS_SERVICE_ACCOUNT.parse().ok() } else { name(typed, &at.key("serviceAccount")) }
}

/// The keys of the tags that identities of a manifest give their roles. One that has a problem is `start`'s to tell.
pub(super) fn role_tags(defaults: Option<&manifest::Defaults>, identities: &[Typed<manifest::Identity>]) -> BTreeSet<TagKey> {
    let of = |tags: &Typed<BTreeMap<String, Typed<String>>>| -> Vec<TagKey> {
        let Typed::Value(tags) = tags else { return Vec::new() };
        tags.keys().filter_map(|key| key.parse().ok()).collect()
    };
    let roles = identities.iter().filter_map(|identity| match identity {
        Typed::Value(manifest::Identity { role: Typed::Value(role), .. }) => Some(of(&role.tags)),
        _ => None,
    });
    defaults.map(|defaults| of(&defaults.tags)).into_iter().chain(roles).flatten().gather()
}
