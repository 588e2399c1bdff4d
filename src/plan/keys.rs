//! Variables that keep a service from its role, and API tokens that other services than the job can read, by their names in Qovery.
//!
//! `install` refuses keys that a service it binds would have; `start` says so, and binds.

use std::collections::BTreeMap;

use crate::model::{
    containers::PROFILES,
    desired::Desired,
    observed::Observed,
    variable::{AWS_KEYS, ObservedVariable, SET_BY_EKS, VariableScope},
};

/// A variable that services have.
pub(super) struct Held {
    /// The variable.
    pub(super) variable: ObservedVariable,
    /// Who has it: of one that is inherited all, of a service's own that service.
    pub(super) services: Vec<String>,
}

/// A service as messages name it, and the variables that it sees.
pub(super) type Seen<'a> = (String, &'a [ObservedVariable]);

/// Which AWS keys services have, each once; by name, then by where it is set.
pub(super) fn keys(services: &[Seen<'_>]) -> Vec<Held> {
    held(&AWS_KEYS, services, set)
}

/// What may keep services from their role, beside keys, in words.
pub(super) fn beside_keys(services: &[Seen<'_>]) -> Vec<String> {
    let may_win = |held| {
        let way = way(&held, "");
        format!("{}: some AWS SDKs take what a profile says before the role. {way}, unless its profile is meant", said(&held))
    };
    without_role(services).into_iter().chain(held(&PROFILES, services, set).into_iter().map(may_win)).collect()
}

/// What keeps EKS from giving a role to the pods of services. It goes by the name: a variable that is set to nothing counts too.
fn without_role(services: &[Seen<'_>]) -> Vec<String> {
    let note = |held| {
        let way = way(&held, ". If the job needs it, give it to the job itself");
        format!("{}: EKS then gives its pods neither role nor token. {way}", said(&held))
    };
    held(&SET_BY_EKS, services, in_force).into_iter().map(note).collect()
}

type Find = for<'a> fn(&'a [ObservedVariable], &str) -> Option<&'a ObservedVariable>;

fn held(names: &[&str], services: &[Seen<'_>], find: Find) -> Vec<Held> {
    let mut all = Vec::new();
    for name in names {
        let mut inherited: BTreeMap<VariableScope, Held> = BTreeMap::new();
        for (service, variables) in services {
            let Some(variable) = find(variables, name) else { continue };
            let held = || Held { variable: variable.clone(), services: Vec::new() };
            if variable.scope.is_inherited() {
                inherited.entry(variable.scope).or_insert_with(held).services.push(service.clone());
            } else {
                all.push(Held { services: vec![service.clone()], ..held() });
            }
        }
        all.extend(inherited.into_values());
    }
    all
}

/// The variable of that name that counts; one that is set to nothing is none.
pub(super) fn set<'a>(variables: &'a [ObservedVariable], name: &str) -> Option<&'a ObservedVariable> {
    in_force(variables, name).filter(|variable| variable.value.as_deref() != Some(""))
}

/// The variable of that name: one that is set further in covers the others.
pub(super) fn in_force<'a>(variables: &'a [ObservedVariable], name: &str) -> Option<&'a ObservedVariable> {
    variables.iter().filter(|variable| variable.name == name).max_by_key(|variable| variable.scope)
}

/// What keeps services that are bound from their role. Their pods are made with these variables, whatever they run with.
pub(super) fn notes(desired: &Desired, observed: &Observed) -> Vec<String> {
    let is_bound = |service| desired.services.iter().any(|binding| binding.service.means(service));
    let (mut bound, mut unseen): (Vec<Seen<'_>>, Vec<String>) = (Vec::new(), Vec::new());
    for found in observed.services.iter().filter(|found| is_bound(&found.service)) {
        match &found.variables {
            Some(Ok(variables)) => bound.push((found.service.to_string(), variables)),
            Some(Err(why)) => unseen.push(format!("whether {} has AWS keys that win over its role is not known: {why}", found.service)),
            None => {}
        }
    }
    let of_key = |held| {
        let way = way(&held, ". If the job needs it, make it a secret of the job itself");
        format!("{}: AWS SDKs take it before the role. {way}", said(&held))
    };
    keys(&bound).into_iter().map(of_key).chain(beside_keys(&bound)).chain(unseen).collect()
}

/// ``application `api`, container `worker` have secret `X` of the project``
fn said(Held { variable, services }: &Held) -> String {
    let has = if services.len() == 1 { "has" } else { "have" };
    let own = if variable.scope.is_inherited() { "" } else { " of its own" };
    format!("{} {has} {variable}{own}", services.join(", "))
}

fn way(Held { variable, services }: &Held, job: &str) -> String {
    if variable.scope.is_inherited() {
        format!("Delete it there, and deploy{job}")
    } else {
        format!("Delete it of {}, and deploy", services.join(", "))
    }
}
