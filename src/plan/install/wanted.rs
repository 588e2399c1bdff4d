//! What `install` is asked for.

use std::collections::BTreeSet;

use crate::model::{
    job::{BindWhen, JobSpec},
    service::{DesiredService, ServiceRef},
    variable::VariableName,
};

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The job.
    pub job: &'a JobSpec,
    /// The services that the manifest's identities bind to a role.
    pub binds: &'a BTreeSet<ServiceRef>,
    /// The same with what they are bound to, as far as that is known here.
    pub bindings: &'a [DesiredService],
    /// When they are bound now, and not by the job.
    pub bind: BindWhen,
    /// The secrets whose values the installer has.
    pub at_hand: &'a BTreeSet<VariableName>,
}
