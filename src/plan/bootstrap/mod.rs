//! The plan of `bootstrap`: from a trust zone as it should be and AWS as it was seen to what makes it so, or takes it away.

pub mod access;
mod action;
mod making;
mod part;
mod removing;

pub use action::{BootstrapAction, BootstrapPlan};
use making::make;
pub use part::PartPlan;
use removing::remove;

use super::refusal::Refusals;
use crate::model::bootstrap::{DesiredBootstrap, ObservedBootstrap};

/// Whether a trust zone is made or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It is made.
    Make,
    /// It is taken away.
    Remove,
}

/// What brings it about.
///
/// # Errors
/// Something may not be touched: then nothing is.
pub fn plan(direction: Direction, desired: &DesiredBootstrap, observed: &ObservedBootstrap) -> Result<BootstrapPlan, Refusals> {
    match direction {
        Direction::Make => make(desired, observed),
        Direction::Remove => remove(desired, observed),
    }
}
