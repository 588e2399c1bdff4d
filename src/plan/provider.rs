//! The OIDC provider of the cluster: created if missing, given an audience it lacks, otherwise never touched.
//!
//! On clusters that Qovery manages, Qovery's own Terraform owns it.

use super::Action;
use crate::model::{desired::Desired, observed::ObservedProvider};

pub(super) fn actions(desired: &Desired, observed: Option<&ObservedProvider>) -> Vec<Action> {
    match observed {
        None => vec![Action::CreateProvider { provider: desired.provider.clone(), audiences: desired.audiences.clone() }],
        Some(observed) => desired
            .audiences
            .iter()
            .filter(|audience| !observed.audiences.contains(audience.as_str()))
            .map(|audience| Action::AddAudience { provider: desired.provider.clone(), audience: audience.clone() })
            .collect(),
    }
}
