//! The OIDC provider of the cluster: created if missing, given an audience it lacks, otherwise never touched.
//!
//! On clusters that Qovery manages, Qovery's own Terraform owns it.

use super::Action;
use crate::model::{desired::Desired, observed::KnownProvider};

/// | what is known | outcome |
/// |---|---|
/// | no binding needs it | nothing |
/// | it was read: absent | create it |
/// | it was read: present | add the audiences it lacks |
/// | sessions show it, or nobody looked | nothing |
pub(super) fn actions(desired: &Desired, known: &KnownProvider) -> Vec<Action> {
    let (provider, audiences) = (&desired.provider, desired.audiences());
    match known {
        KnownProvider::Read(None) if !audiences.is_empty() => vec![Action::CreateProvider { provider: provider.clone(), audiences }],
        KnownProvider::Read(Some(observed)) => audiences
            .into_iter()
            .filter(|audience| !observed.audiences.contains(audience.as_str()))
            .map(|audience| Action::AddAudience { provider: provider.clone(), audience })
            .collect(),
        KnownProvider::Read(None) | KnownProvider::ShownBySessions | KnownProvider::NotRead => Vec::new(),
    }
}
