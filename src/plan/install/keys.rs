//! Keys and API tokens that other services than the job would have: AWS SDKs take keys before a role, and every service can read a token.

use std::collections::{BTreeMap, BTreeSet};

use super::{InstallRefusal, variables::in_force};
use crate::model::{
    job::{ObservedEnvironment, ObservedVariable, VariableScope},
    service::ServiceRef,
};

/// What AWS SDKs read before they look for a role.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
/// By what names the job reads an API token of Qovery.
const TOKENS: [&str; 3] = ["IRSA_QOVERY_TOKEN", "QOVERY_API_TOKEN", "QOVERY_CLI_ACCESS_TOKEN"];

/// AWS keys that services of `binds` would have: these would never use their role. A key that several inherit is told once.
///
/// A service that is not there yet will inherit what any service of the environment does.
pub(super) fn refusals(binds: &BTreeSet<ServiceRef>, observed: &ObservedEnvironment) -> Vec<InstallRefusal> {
    let inherited = inherited(observed);
    let bound: Vec<(String, &[ObservedVariable])> = binds.iter().filter_map(|meant| seen_by(meant, observed, &inherited)).collect();
    let mut refusals = Vec::new();
    for name in KEYS {
        let mut inheriting: BTreeMap<VariableScope, (ObservedVariable, Vec<String>)> = BTreeMap::new();
        for (service, variables) in &bound {
            let Some(key) = key(variables, name) else { continue };
            if key.scope.is_inherited() {
                let (_, services) = inheriting.entry(key.scope).or_insert_with(|| (key.clone(), Vec::new()));
                services.push(service.clone());
            } else {
                refusals.push(InstallRefusal::OwnKey { key: key.clone(), service: service.clone() });
            }
        }
        refusals.extend(inheriting.into_values().map(|(key, services)| InstallRefusal::InheritedKey { key, services }));
    }
    refusals
}

/// What people should know where nothing is refused.
pub(super) fn notes(observed: &ObservedEnvironment) -> Vec<String> {
    let inherited = inherited(observed);
    let all = |names: &[&'static str]| {
        let found = names.iter().filter_map(|name| key(&inherited, name)).map(ToString::to_string);
        Some(found.collect::<Vec<_>>().join(", ")).filter(|found| !found.is_empty())
    };
    let way = "Delete that there, and run `install` with `IRSA_SECRET_<name>` set for each name in `secrets`, which makes secrets of the job itself";
    let keys = all(&KEYS).map(|keys| {
        format!("every service of the environment inherits {keys}, and AWS SDKs take such keys before a role of the service. {way}")
    });
    let tokens = all(&TOKENS).map(|tokens| format!("every service of the environment can read {tokens}, an API token. {way}"));
    keys.into_iter().chain(tokens).collect()
}

/// What any service of the environment has.
fn inherited(observed: &ObservedEnvironment) -> Vec<ObservedVariable> {
    observed.variables.iter().filter(|variable| variable.scope.is_inherited()).cloned().collect()
}

/// The service that is meant, and its variables; nothing if it is the job itself or of a kind that has no role.
fn seen_by<'a>(
    meant: &ServiceRef,
    observed: &'a ObservedEnvironment,
    inherited: &'a [ObservedVariable],
) -> Option<(String, &'a [ObservedVariable])> {
    if let Some(bound) = observed.bound.iter().find(|bound| meant.means(&bound.service)) {
        return Some((bound.service.to_string(), &bound.variables));
    }
    let there = observed.services.iter().any(|service| meant.means(service));
    (!there).then(|| (format!("service `{meant}`"), inherited))
}

/// The key that counts; one that is set to nothing is none.
fn key<'a>(variables: &'a [ObservedVariable], name: &str) -> Option<&'a ObservedVariable> {
    in_force(variables, name).filter(|variable| variable.value.as_deref() != Some(""))
}
