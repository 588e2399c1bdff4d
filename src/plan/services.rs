//! The services of the environment: which ServiceAccount each asks for by its advanced setting `security.service_account_name`.

use super::{Action, Refusal};
use crate::model::{
    desired::Desired,
    names::ServiceAccountName,
    observed::Observed,
    service::{DesiredBinding, ObservedService},
};

/// What lets the services run with this ServiceAccount.
///
/// | the service | its setting | action |
/// |---|---|---|
/// | is not there, or there twice by that name | | refusal |
/// | cannot have a ServiceAccount, or is bound by another identity too | | refusal |
/// | is there | as desired | none |
/// | is there | empty | bind it |
/// | is there | another ServiceAccount | refusal; with `takeOver` bind it |
pub(super) fn start(service_account: &ServiceAccountName, desired: &Desired, observed: &Observed) -> Result<Vec<Action>, Vec<Refusal>> {
    let (mut actions, mut refusals) = (Vec::new(), Vec::new());
    for binding in desired.bindings.iter().filter(|binding| binding.service_account == *service_account) {
        match bind(binding, desired, observed) {
            Ok(action) => actions.extend(action),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(actions) } else { Err(refusals) }
}

/// When what was bound takes effect, if anything was.
///
/// Qovery reads the settings of an environment's services when a deployment starts: one that is under way, as the job's own, began with
/// what was set before.
#[must_use]
pub fn binding_note(applied: &[Action]) -> Option<String> {
    let bound = applied.iter().filter_map(|action| match action {
        Action::BindService { service, service_account, .. } => Some(format!("{service} runs with ServiceAccount `{service_account}`")),
        _ => None,
    });
    let bound: Vec<String> = bound.collect();
    (!bound.is_empty()).then(|| {
        format!(
            "{} from the next deployment on: Qovery reads the setting when a deployment starts, and this one has started. Deploy once more, in the console or by `qovery environment deploy`",
            bound.join(", ")
        )
    })
}

fn bind(binding: &DesiredBinding, desired: &Desired, observed: &Observed) -> Result<Option<Action>, Refusal> {
    let found = only(binding, observed)?;
    let service = &found.service;
    if !service.kind.can_be_bound() {
        return Err(Refusal::UnboundKind { service: Box::new(service.clone()) });
    }
    if let Some(other) = desired.bindings.iter().find(|other| *other != binding && other.service.means(service)) {
        // Once by name and once by id: as text they are not the same.
        return Err(Refusal::BoundTwice {
            service: Box::new(service.clone()),
            one: binding.service_account.clone(),
            other: other.service_account.clone(),
        });
    }
    match &found.service_account {
        Some(present) if present == binding.service_account.as_str() => Ok(None),
        Some(present) if !binding.take_over => Err(Refusal::BoundElsewhere {
            service: Box::new(service.clone()),
            observed: present.clone(),
            desired: binding.service_account.clone(),
        }),
        before => Ok(Some(Action::BindService {
            service: service.clone(),
            service_account: binding.service_account.clone(),
            before: before.clone(),
        })),
    }
}

/// The one service that is meant.
fn only<'a>(binding: &DesiredBinding, observed: &'a Observed) -> Result<&'a ObservedService, Refusal> {
    let meant: Vec<&ObservedService> = observed.services.iter().filter(|found| binding.service.means(&found.service)).collect();
    match meant.as_slice() {
        [only] => Ok(only),
        [] => Err(Refusal::NoSuchService {
            service: binding.service.clone(),
            known: observed.services.iter().map(|found| found.service.clone()).filter(|service| service.kind.can_be_bound()).collect(),
        }),
        several => Err(Refusal::AmbiguousService {
            service: binding.service.clone(),
            meant: several.iter().map(|found| found.service.clone()).collect(),
        }),
    }
}
