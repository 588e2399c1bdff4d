//! The chain from a ServiceAccount to its role, link by link: each ok, broken, unknown or worth a note, with evidence and remedy. Reads only.
//!
//! Which chain it is: that of the binding in the manifest. Of a ServiceAccount that is only named: EKS Pod Identity if it has an
//! association, else IRSA.

mod irsa;
mod pod_identity;
mod reading;

use std::time::Duration;

use futures_util::future::join_all;

use self::{pod_identity::Known, reading::Doctor};
use crate::{
    clients::call::Patience,
    model::{
        arn::{Account, RoleArn},
        association::DesiredAssociation,
        desired::Desired,
        identity::Keeper,
        names::Subject,
        oidc::Provider,
    },
    report::check::{Check, State},
    steps::connect::Connection,
};

/// What is examined: a ServiceAccount, and what the manifest says of it.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The ServiceAccount.
    pub subject: Subject,
    /// What a manifest says of it; none if it is only named.
    pub wanted: Option<Wanted>,
}

/// What a manifest says of a ServiceAccount.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The role that it should have.
    pub role: RoleArn,
    /// The association that should give it, if its binding is EKS Pod Identity.
    pub association: Option<DesiredAssociation>,
    /// Who makes the ServiceAccount.
    pub keeper: Keeper,
}

impl Patient {
    /// Those of all identities of a manifest.
    pub fn of(desired: &Desired) -> impl Iterator<Item = Self> {
        desired.service_accounts.iter().map(|wanted| Self {
            subject: wanted.subject.clone(),
            wanted: Some(Wanted {
                role: wanted.role.clone(),
                association: desired.associations.get(&wanted.subject.service_account).cloned(),
                keeper: wanted.keeper,
            }),
        })
    }
}

/// Examines one ServiceAccount. What cannot be seen is unknown; nothing is an error.
pub async fn examine(patient: &Patient, connection: &Connection, account: &Account, patience: &Patience) -> Vec<Check> {
    let doctor = Doctor { connection, patience, provider: Provider::of(&connection.place.issuer, account) };
    let (subject, wanted) = (&patient.subject, patient.wanted.as_ref());
    let keeper = wanted.map(|wanted| wanted.keeper).unwrap_or_default();
    let desired = wanted.and_then(|wanted| wanted.association.as_ref());
    let association = match (wanted, &connection.place.cluster) {
        (None, Some(cluster)) => doctor.associations(cluster, subject).await,
        (Some(_), Some(cluster)) if desired.is_some() => doctor.associations(cluster, subject).await,
        _ => Ok(Vec::new()),
    };
    let association = association.map(|found| found.into_iter().next());
    if desired.is_none() && !matches!(association, Ok(Some(_))) {
        let examined = irsa::Examined { subject, role: wanted.map(|wanted| &wanted.role), keeper, account };
        return irsa::examine(&examined, doctor.account(subject).await, &doctor).await;
    }
    let known = Known { subject, desired, keeper, account };
    pod_identity::examine(&known, association, &doctor).await
}

/// What a deploy that has changed something should know beside: an association that gives pods another role, and containers that run
/// without theirs, or may. What may not be seen is left out.
pub async fn glance(desired: &Desired, connection: &Connection, patience: &Patience) -> Vec<String> {
    let patience = patience.at_most(GLANCE);
    let doctor = Doctor { connection, patience: &patience, provider: desired.provider.clone() };
    let notes = desired.service_accounts.iter().map(async |wanted| {
        let checks = match wanted.binding.audience() {
            Some(audience) => irsa::glance(&doctor, &wanted.subject, &wanted.role, audience).await,
            None => pod_identity::glance(&doctor, &wanted.subject, &wanted.role).await,
        };
        let noted = checks.into_iter().filter(|check| matches!(check.state, State::Broken | State::Note));
        noted
            .map(|check| format!("ServiceAccount `{}`: {}: {}", wanted.subject, check.evidence, check.remedy.unwrap_or_default()))
            .collect::<Vec<_>>()
    });
    join_all(notes).await.concat()
}

/// A deploy does not wait longer for what is only worth knowing.
const GLANCE: Duration = Duration::from_secs(10);
