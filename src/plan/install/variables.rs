//! The variables and secrets that the job sees: its own, and those it inherits.

use std::collections::BTreeSet;

use super::action::JobAction;
use crate::plan::refusal::InstallRefusal;
use crate::{
    model::{
        job::{JobSpec, ObservedEnvironment},
        qovery::QoveryId,
        variable::{ObservedVariable, VariableName},
    },
    plan::keys::in_force,
};

/// Secrets can be created and never read: one that is there stays, whatever its value.
pub(super) fn secrets(
    spec: &JobSpec,
    observed: &ObservedEnvironment,
    at_hand: &BTreeSet<VariableName>,
) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    collected(spec.secrets.iter().map(|name| match seen(observed, name) {
        Some(ObservedVariable { is_secret: true, .. }) => Ok(None),
        Some(_) => Err(InstallRefusal::SecretReadable(name.clone())),
        None if at_hand.contains(name) => Ok(Some(JobAction::CreateSecret { job: job(observed), name: name.clone() })),
        None => Err(InstallRefusal::SecretMissing(name.clone())),
    }))
}

/// Variables are compared. One that is inherited with the same value is as good as one of the job's own.
pub(super) fn variables(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    collected(spec.variables.iter().map(|(name, value)| match seen(observed, name) {
        None => Ok(Some(JobAction::CreateVariable { job: job(observed), name: name.clone(), value: value.clone() })),
        Some(ObservedVariable { is_secret: true, .. }) => Err(InstallRefusal::VariableHidden(name.clone())),
        Some(found) if found.value.as_ref() == Some(value) => Ok(None),
        Some(found) if !found.scope.is_inherited() => {
            Ok(Some(JobAction::EditVariable { id: found.id.clone(), name: name.clone(), value: value.clone() }))
        }
        Some(_) => Err(InstallRefusal::Inherited(name.clone())),
    }))
}

fn job(observed: &ObservedEnvironment) -> Option<QoveryId> {
    observed.job.as_ref().map(|job| job.id.clone())
}

fn seen<'a>(observed: &'a ObservedEnvironment, name: &VariableName) -> Option<&'a ObservedVariable> {
    in_force(&observed.variables, name.as_str())
}

/// All actions, or all refusals.
fn collected(each: impl Iterator<Item = Result<Option<JobAction>, InstallRefusal>>) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    let (mut actions, mut refusals) = (Vec::new(), Vec::new());
    for one in each {
        match one {
            Ok(action) => actions.extend(action),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(actions) } else { Err(refusals) }
}
