//! The plan of `install`: from the job as it should be and the environment as it was seen to what makes it so.
//!
//! What of the job the manifest does not name stays as it is: people set it in the console.

mod account;
mod action;
mod binding;
mod daily;
mod deployment;
mod files;
mod keys;
mod request;
mod stage;
mod variables;
mod wanted;

use std::collections::BTreeMap;

pub use action::{JobAction, Staged};
pub use deployment::{Deploy, Followed, Progress};
use serde_json::Value;
pub use wanted::Wanted;

use super::refusal::{InstallRefusal, Refusal, Refusals};
use crate::model::{
    gather::Gather as _,
    job::{JobSpec, ObservedEnvironment, Runs},
    service::{Service, is_same_name},
};

/// What is to be done in order, and what people should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstallPlan {
    /// The actions.
    pub actions: Vec<JobAction>,
    /// What was seen and left alone.
    pub notes: Vec<String>,
}

/// What makes the job as it should be.
///
/// | observed | actions |
/// |---|---|
/// | no service of that name | create the job, then all that follows |
/// | a lifecycle job that differs | edit it: what the manifest does not name stays |
/// | a cron job, or another service | refusal; the other way round for the cron job of `--sweep` |
/// | another namespace than that of cluster access, or an AWS key, for that cron job | refusal |
/// | a secret that is missing | create it if its value is at hand, else a refusal |
/// | a variable that is missing, or the job's own with another value | create or edit it |
/// | a variable inherited with another value | refusal |
/// | a file that is missing, differs, or is not named any more | upload or delete it |
/// | advanced settings that differ | put them back with these changed |
/// | a keyless job without its Helm service, or with one that differs | create or edit it: what the manifest does not name stays |
/// | a keyless job that sees AWS keys, or what keeps EKS from giving it its role | refusal |
/// | AWS keys that a service of `binds` has or inherits | refusal: it would never use its role |
/// | AWS keys or an API token that only others inherit | a note |
/// | a variable of a service of `binds` that keeps EKS from giving it a role | a note |
/// | another stage than named | attach the job to it; a stage of that name that is missing is created before all others |
/// | a named stage that comes after a service's that may use the role | move it first if it is the job's alone, else a refusal |
/// | the Helm service in another stage, or in one that does not come before the job's | the same, before the job's stage |
/// | the job or the Helm service is skipped in its stage | let it run |
/// | a service that asks for another ServiceAccount than its identity's | bind it, or a note that the job does |
///
/// # Errors
/// All refusals.
pub fn install(wanted: &Wanted<'_>, observed: &ObservedEnvironment) -> Result<InstallPlan, Refusals> {
    let Wanted { job: spec, binds, at_hand, .. } = *wanted;
    let mut refusals: Vec<Refusal> = Vec::new();
    let mut plan = InstallPlan::default();
    let mut add = |part: Result<Vec<JobAction>, Vec<InstallRefusal>>| match part {
        Ok(actions) => plan.actions.extend(actions),
        Err(refused) => refusals.extend(refused.into_iter().map(|refusal| Refusal::Install(Box::new(refusal)))),
    };
    let same_name = |service: &&Service| is_same_name(&service.name, spec.name.as_str());
    let is_lifecycle = spec.runs == Runs::OnEvents;
    let taken =
        observed.services.iter().find(same_name).filter(|_| observed.job.as_ref().is_none_or(|job| job.is_lifecycle != is_lifecycle));
    add(match taken {
        Some(service) if is_lifecycle => Err(vec![InstallRefusal::NameTaken { service: Box::new(service.clone()) }]),
        Some(service) => Err(vec![InstallRefusal::CronNameTaken { service: Box::new(service.clone()) }]),
        None => request::job(spec, observed),
    });
    add(variables::secrets(spec, observed, at_hand));
    add(Ok(files::files(spec, observed)));
    add(variables::variables(spec, observed));
    add(Ok(settings(spec, observed)));
    add(spec.account.as_ref().map_or(Ok(Vec::new()), |account| account::account(account, observed)));
    add(stage::stages(spec, observed));
    add(Err(keys::of_job(spec, observed)));
    add(Err(daily::refusals(spec, observed)));
    add(Err(keys::refusals(binds, observed)));
    match binding::bindings(wanted, observed) {
        Ok((actions, notes)) => {
            plan.actions.extend(actions);
            plan.notes.extend(notes);
        }
        Err(refused) => refusals.extend(refused),
    }
    plan.notes.extend(account::note(spec, observed));
    plan.notes.extend(daily::note(spec, observed));
    plan.notes.extend(stage::note(spec, observed));
    plan.notes.extend(keys::without_credentials(spec, observed));
    plan.notes.extend(keys::notes(binds, observed));
    if refusals.is_empty() { Ok(plan) } else { Err(Refusals(refusals)) }
}

/// The advanced settings of the manifest that differ. Those of a job that is not there yet are not known, so all are set.
fn settings(spec: &JobSpec, observed: &ObservedEnvironment) -> Vec<JobAction> {
    let present = observed.job.as_ref().map(|job| &job.settings);
    let differs = |(key, value): &(&String, &Value)| present.and_then(|present| present.get(*key)) != Some(*value);
    let changed: BTreeMap<String, Value> =
        spec.advanced_settings.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).gather();
    if changed.is_empty() {
        return Vec::new();
    }
    vec![JobAction::PutSettings { job: observed.job.as_ref().map(|job| job.id.clone()), settings: changed }]
}
