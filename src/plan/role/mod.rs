//! The roles: those the tool makes for one environment, and those given by ARN.

mod environment;
mod given;

use crate::{
    model::{desired::DesiredRole, names::RoleName, observed::ObservedRole, oidc::Provider},
    plan::{Action, Refusal},
};

/// What to do, and what was seen and left alone.
pub(super) type Outcome = (Vec<Action>, Vec<String>);

/// How many tags a role can carry.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const TAGS_PER_ROLE: usize = 50;

pub(super) fn start(desired: &DesiredRole, observed: Option<&ObservedRole>, provider: &Provider) -> Result<Outcome, Refusal> {
    match desired {
        DesiredRole::Environment(desired) => environment::start(desired, observed, provider),
        DesiredRole::Given(desired) => given::start(desired, observed, provider),
    }
}

pub(super) fn delete(desired: &DesiredRole, observed: &ObservedRole, provider: &Provider) -> Result<Outcome, Vec<Refusal>> {
    match desired {
        DesiredRole::Environment(desired) => environment::delete(desired, observed, provider),
        DesiredRole::Given(desired) => Ok(given::delete(desired, observed, provider)),
    }
}

fn tags_fit<'a>(role: &RoleName, keys: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    let count = keys.map(|key| key.to_lowercase()).collect::<std::collections::BTreeSet<_>>().len();
    if count > TAGS_PER_ROLE { Err(Refusal::TooManyTags { role: role.clone(), count }) } else { Ok(()) }
}
