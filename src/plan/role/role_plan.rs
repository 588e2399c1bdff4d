//! What is to be done with one role.

use crate::plan::action::Action;

/// What to do with a role.
#[derive(Default)]
pub(in crate::plan) struct RolePlan {
    pub(in crate::plan) actions: Vec<Action>,
    /// What was seen and left alone, and who may assume the role.
    pub(in crate::plan) notes: Vec<String>,
    /// Whether something is left to do once the observation is fresh.
    pub(in crate::plan) waits: bool,
    /// That the role stays though the tool made it, and why.
    pub(in crate::plan) left: Option<String>,
}
