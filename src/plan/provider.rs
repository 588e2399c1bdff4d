//! The OIDC provider of the cluster: created if missing, given an audience it lacks, otherwise never touched.
//!
//! On clusters that Qovery manages, Qovery's own Terraform owns it.

use super::Action;
use crate::model::{desired::Desired, observed::KnownProvider};

/// | what is known | outcome |
/// |---|---|
/// | it was read: absent | create it |
/// | it was read: present | add the audiences it lacks |
/// | sessions show it, or nobody looked | nothing |
pub(super) fn actions(desired: &Desired, known: &KnownProvider) -> Vec<Action> {
    match known {
        KnownProvider::Read(None) => {
            vec![Action::CreateProvider { provider: desired.provider.clone(), audiences: desired.audiences.clone() }]
        }
        KnownProvider::Read(Some(observed)) => desired
            .audiences
            .iter()
            .filter(|audience| !observed.audiences.contains(audience.as_str()))
            .map(|audience| Action::AddAudience { provider: desired.provider.clone(), audience: audience.clone() })
            .collect(),
        KnownProvider::ShownBySessions | KnownProvider::NotRead => Vec::new(),
    }
}
