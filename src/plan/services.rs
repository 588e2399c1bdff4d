//! The services of the environment: which ServiceAccount each asks for by its advanced setting `security.service_account_name`.

use super::{Action, Refusal};
use crate::model::{
    desired::Desired,
    names::ServiceAccountName,
    observed::Observed,
    service::{DesiredService, ObservedService, Service, ServiceKind},
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
    for binding in desired.services.iter().filter(|binding| binding.service_account == *service_account) {
        match bind(binding, &desired.services, &observed.services) {
            Ok(Some(Bind { service, before })) => {
                actions.push(Action::BindService { service, service_account: binding.service_account.clone(), before });
            }
            Ok(None) => {}
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(actions) } else { Err(refusals) }
}

/// What is left to do for the services that were bound, if any was, and what a Terraform service loses or does not gain by it. Nothing is left
/// for those that were bound before the deployment, as by `install`.
///
/// Whether Qovery reads the settings of a service when a deployment starts or when the service's stage does is not documented, so the
/// deployment that runs this job may or may not use them already. What is said is right either way: a deployment restarts no pod whose
/// configuration it finds unchanged. <https://www.qovery.com/docs/configuration/deployment/actions>
#[must_use]
pub fn binding_notes(applied: &[Action]) -> Vec<String> {
    let bound: Vec<_> = applied
        .iter()
        .filter_map(|action| match action {
            Action::BindService { service, service_account, .. } => Some((service, service_account)),
            _ => None,
        })
        .collect();
    if bound.is_empty() {
        return Vec::new();
    }
    let services = bound.iter().map(|(service, _)| service.to_string()).collect::<Vec<_>>().join(", ");
    let left = format!(
        "left to do once this deployment has ended: deploy {services} again. Qovery may have read their settings before they were bound now, and then their pods have no role. If their pods have it, deploying again restarts none of them"
    );
    let of_terraform = bound.iter().filter(|(service, _)| service.kind == ServiceKind::Terraform).map(traps_of_terraform);
    std::iter::once(left).chain(of_terraform).collect()
}

/// Qovery's own ServiceAccount of a Terraform service may use secrets and leases, where Terraform's `kubernetes` backend keeps the state and
/// its lock; and the cluster's credentials are keys in the service's environment.
/// <https://developer.hashicorp.com/terraform/language/backend/kubernetes>
fn traps_of_terraform((service, account): &(&Service, &ServiceAccountName)) -> String {
    format!(
        "{service}: with the Kubernetes state backend, give ServiceAccount `{account}` a Role for secrets and leases in the namespace, as Qovery's own ServiceAccount of the service has it. And turn off the use of the cluster's credentials in the service: they are AWS keys, and win over the role"
    )
}

/// A service that is to be bound.
pub(super) struct Bind {
    /// The service.
    pub(super) service: Service,
    /// The ServiceAccount that it asks for now.
    pub(super) before: Option<String>,
}

/// What one binding takes, where these are all that are wanted and these the services that are there.
pub(super) fn bind(binding: &DesiredService, wanted: &[DesiredService], observed: &[ObservedService]) -> Result<Option<Bind>, Refusal> {
    let found = only(binding, observed)?;
    let service = &found.service;
    if !service.kind.can_be_bound() {
        return Err(Refusal::UnboundKind { service: Box::new(service.clone()) });
    }
    if let Some(other) = wanted.iter().find(|other| *other != binding && other.service.means(service)) {
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
        before => Ok(Some(Bind { service: service.clone(), before: before.clone() })),
    }
}

/// The one service that is meant.
fn only<'a>(binding: &DesiredService, observed: &'a [ObservedService]) -> Result<&'a ObservedService, Refusal> {
    let meant: Vec<&ObservedService> = observed.iter().filter(|found| binding.service.means(&found.service)).collect();
    match meant.as_slice() {
        [only] => Ok(only),
        [] => Err(Refusal::NoSuchService {
            service: binding.service.clone(),
            known: observed.iter().map(|found| found.service.clone()).filter(|service| service.kind.can_be_bound()).collect(),
        }),
        several => Err(Refusal::AmbiguousService {
            service: binding.service.clone(),
            meant: several.iter().map(|found| found.service.clone()).collect(),
        }),
    }
}
