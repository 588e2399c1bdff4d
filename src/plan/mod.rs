//! From desired and observed to a plan or to refusals: pure and deterministic.
//!
//! No I/O, clock, environment, file, SDK type, logger or async in this room. A plan leaves nothing to decide.

mod action;
mod agent;
mod association;
#[cfg(feature = "laptop")]
pub mod bootstrap;
pub mod departure;
mod goal;
pub mod install;
mod keys;
mod lanes;
mod ledger;
mod moving;
mod own_account;
mod progress;
mod provider;
mod refusal;
mod removal;
mod role;
mod service_account;
mod services;
mod start;
mod sweep;
#[cfg(test)]
mod tests;

pub use action::{Action, Call, SubjectChange};
pub use agent::asks_for_agent;
pub use goal::{Freshness, Goal, Mode, Provision};
pub use lanes::{Lane, Plan, Writers};
pub use ledger::{asks_for_jobs, is_due, kept_for_others};
pub use moving::roles_by_irsa;
pub use own_account::refuse_own;
pub use progress::{CarriedOut, Next, Progress};
pub use refusal::{Refusal, Refusals};
pub use services::binding_notes;

use crate::model::{desired::Desired, observed::Observed};

/// What brings it about.
///
/// # Errors
/// Something may not be touched: then nothing is.
pub fn plan(goal: Goal, desired: &Desired, observed: &Observed, freshness: Freshness) -> Result<Plan, Refusals> {
    match goal {
        Goal::Start => start::start(desired, observed),
        Goal::Prune => Ok(removal::prune(desired, observed, freshness)),
        Goal::Delete => Ok(removal::delete(desired, observed, freshness)),
        Goal::Sweep => sweep::sweep(desired, observed, freshness),
        Goal::Retire(provision) => Ok(sweep::retire(desired, observed, provision, freshness)),
    }
}
