//! Keys and API tokens that other services than the job would have: AWS SDKs take keys before a role, and every service can read a token.

use std::collections::BTreeSet;

use crate::plan::refusal::InstallRefusal;
use crate::{
    model::{
        job::{JobSpec, ObservedEnvironment},
        service::ServiceRef,
        variable::{AWS_KEYS, ObservedVariable, SET_BY_EKS},
    },
    plan::keys::{self, Held, Seen, in_force, set},
};

/// By what names the job reads an API token of Qovery.
const TOKENS: [&str; 3] = ["IRSA_QOVERY_TOKEN", "QOVERY_API_TOKEN", "QOVERY_CLI_ACCESS_TOKEN"];

/// The advanced setting that names a service's ServiceAccount.
const SERVICE_ACCOUNT: &str = "security.service_account_name";

/// AWS keys that services of `binds` would have: these would never use their role. A key that several inherit is told once.
///
/// A service that is not there yet will inherit what any service of the environment does.
pub(super) fn refusals(binds: &BTreeSet<ServiceRef>, observed: &ObservedEnvironment) -> Vec<InstallRefusal> {
    let inherited = inherited(observed);
    let refusal = |Held { variable: key, services }| {
        if key.scope.is_inherited() {
            InstallRefusal::InheritedKey { key, services }
        } else {
            InstallRefusal::OwnKey { key, service: services.join(", ") }
        }
    };
    keys::keys(&bound(binds, observed, &inherited)).into_iter().map(refusal).collect()
}

/// What keeps a keyless job from its role.
pub(super) fn of_job(spec: &JobSpec, observed: &ObservedEnvironment) -> Vec<InstallRefusal> {
    if spec.account.is_none() {
        return Vec::new();
    }
    let keys = AWS_KEYS.iter().filter_map(|name| set(&observed.variables, name));
    // EKS goes by the name: one that is set to nothing counts too.
    let of_eks = SET_BY_EKS.iter().filter_map(|name| in_force(&observed.variables, name));
    keys.chain(of_eks).map(|key| InstallRefusal::KeyOfJob { key: key.clone() }).collect()
}

/// Whether the job has an API token of Qovery, or gets one.
pub(super) fn has_token(spec: &JobSpec, observed: &ObservedEnvironment) -> bool {
    TOKENS.iter().any(|name| sees(spec, observed, name))
}

/// Whether the job has a variable or a secret of that name, or gets one.
fn sees(spec: &JobSpec, observed: &ObservedEnvironment, name: &str) -> bool {
    let named = spec.secrets.iter().chain(spec.variables.keys()).any(|known| known.as_str() == name);
    named || in_force(&observed.variables, name).is_some()
}

/// What is missing where the job would have no AWS credentials at all.
pub(super) fn without_credentials(spec: &JobSpec, observed: &ObservedEnvironment) -> Option<String> {
    let has = |name: &&str| sees(spec, observed, name);
    // A role that `install --role` gave before, or somebody else's ServiceAccount.
    let present = observed.job.as_ref().and_then(|job| job.settings.get(SERVICE_ACCOUNT)).and_then(serde_json::Value::as_str);
    let runs_as_another = spec.advanced_settings.contains_key(SERVICE_ACCOUNT) || present.is_some_and(|name| !name.is_empty());
    if spec.account.is_some() || runs_as_another || AWS_KEYS.iter().chain(&SET_BY_EKS).any(has) {
        return None;
    }
    Some("the job has neither a `role` nor AWS keys, so it cannot reach AWS: run `bootstrap` once for the cluster, then `install` with `--role`, and name a `chart` in `job`".to_owned())
}

/// What people should know where nothing is refused.
pub(super) fn notes(binds: &BTreeSet<ServiceRef>, observed: &ObservedEnvironment) -> Vec<String> {
    let inherited = inherited(observed);
    let all = |names: &[&'static str]| {
        let found = names.iter().filter_map(|name| set(&inherited, name)).map(ToString::to_string);
        Some(found.collect::<Vec<_>>().join(", ")).filter(|found| !found.is_empty())
    };
    let way = "Delete that there, and run `install` with `IRSA_SECRET_<name>` set for each name in `secrets`, which makes secrets of the job itself";
    let keys = all(&AWS_KEYS).map(|keys| {
        format!("every service of the environment inherits {keys}, and AWS SDKs take such keys before a role of the service. {way}")
    });
    let tokens = all(&TOKENS).map(|tokens| format!("every service of the environment can read {tokens}, an API token. {way}"));
    keys.into_iter().chain(tokens).chain(keys::beside_keys(&bound(binds, observed, &inherited))).collect()
}

/// The services of `binds`, each once however it is named.
fn bound<'a>(binds: &BTreeSet<ServiceRef>, observed: &'a ObservedEnvironment, inherited: &'a [ObservedVariable]) -> Vec<Seen<'a>> {
    let mut bound: Vec<Seen<'a>> = Vec::new();
    for seen in binds.iter().filter_map(|meant| seen_by(meant, observed, inherited)) {
        if !bound.iter().any(|(service, _)| *service == seen.0) {
            bound.push(seen);
        }
    }
    bound
}

/// What any service of the environment has.
fn inherited(observed: &ObservedEnvironment) -> Vec<ObservedVariable> {
    observed.variables.iter().filter(|variable| variable.scope.is_inherited()).cloned().collect()
}

/// The service that is meant, and its variables; nothing if it is the job itself or of a kind that has no role.
fn seen_by<'a>(meant: &ServiceRef, observed: &'a ObservedEnvironment, inherited: &'a [ObservedVariable]) -> Option<Seen<'a>> {
    if let Some(bound) = observed.bound.iter().find(|bound| meant.means(&bound.service)) {
        return Some((bound.service.to_string(), &bound.variables));
    }
    let there = observed.services.iter().any(|service| meant.means(service));
    (!there).then(|| (format!("service `{meant}`"), inherited))
}
