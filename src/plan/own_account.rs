//! The ServiceAccount that the job itself runs as is nobody's to change: its annotation is the job's own role.

use super::{Refusal, Refusals};
use crate::model::{identity::Identity, names::Subject};

/// Refuses identities with the ServiceAccount that the job runs as.
///
/// # Errors
/// There is one.
pub fn refuse_own(own: Option<&Subject>, identities: &[Identity]) -> Result<(), Refusals> {
    let Some(own) = own else { return Ok(()) };
    match identities.iter().find(|identity| identity.service_account.name == own.service_account) {
        Some(_) => Err(Refusals(vec![Refusal::OwnServiceAccount(own.clone())])),
        None => Ok(()),
    }
}
