//! The cron job of `install --sweep`: it works in one namespace only, as one ServiceAccount, and without a key.

use crate::{
    model::{
        job::{Daily, JobSpec, ObservedEnvironment, Runs},
        variable::{AWS_KEYS, SET_BY_EKS},
    },
    plan::{keys::in_force, refusal::InstallRefusal},
};

/// The variable in which Qovery tells services their namespace.
const NAMESPACE: &str = "QOVERY_KUBERNETES_NAMESPACE_NAME";

/// What keeps the cron job from its role.
pub(super) fn refusals(spec: &JobSpec, observed: &ObservedEnvironment) -> Vec<InstallRefusal> {
    let Runs::Daily(Daily { namespace }) = &spec.runs else { return Vec::new() };
    let found = namespace_of(observed).filter(|found| *found != namespace.as_str());
    let elsewhere = found.map(|found| InstallRefusal::OtherNamespace { wanted: namespace.clone(), found: found.to_owned() });
    let keys = AWS_KEYS.iter().chain(&SET_BY_EKS).filter_map(|name| in_force(&observed.variables, name));
    elsewhere.into_iter().chain(keys.map(|key| InstallRefusal::KeyOfJob { key: key.clone() })).collect()
}

/// Where Qovery does not show the namespace.
pub(super) fn note(spec: &JobSpec, observed: &ObservedEnvironment) -> Option<String> {
    let Runs::Daily(Daily { namespace }) = &spec.runs else { return None };
    let is_known = namespace_of(observed).is_some();
    (!is_known)
        .then(|| format!("Qovery does not show the namespace of this environment: the cron job works in namespace `{namespace}` only"))
}

fn namespace_of(observed: &ObservedEnvironment) -> Option<&str> {
    in_force(&observed.variables, NAMESPACE)?.value.as_deref()
}
