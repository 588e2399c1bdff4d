//! What the loop works on: an account and a cluster that can be seen and changed.
//!
//! The real one is a [`Connection`](crate::connect::Connection); tests put another in its place, whose time is their own.

use crate::{
    call::{CallError, Failed, Patience},
    model::{
        desired::Place,
        identity::Identity,
        observed::{Limits, Observed},
    },
    plan::{Action, Goal},
};

/// An account and a cluster.
pub trait Cloud {
    /// Namespace, issuer and cluster.
    fn place(&self) -> &Place;

    /// Sees what is there for these identities; for a sweep also what others have left.
    ///
    /// # Errors
    /// A service refuses or does not answer.
    fn observe(&self, goal: Goal, identities: &[Identity], patience: &Patience) -> impl Future<Output = Result<Observed, Failed>>;

    /// Looks up what a role that outgrows the default quota is judged by.
    ///
    /// # Errors
    /// A service refuses or does not answer.
    fn limits(&self, patience: &Patience) -> impl Future<Output = Result<Limits, Failed>>;

    /// Makes the one call that an action is.
    ///
    /// # Errors
    /// The service refuses or does not answer.
    fn carry_out(&self, action: &Action) -> impl Future<Output = Result<(), CallError>>;
}
