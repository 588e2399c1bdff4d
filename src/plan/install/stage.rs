//! The deployment stage of the job: it must be done before a service starts that uses what it makes.

use super::{InstallRefusal, JobAction};
use crate::model::{
    job::{JobSpec, ObservedEnvironment, QoveryName, Stage},
    service::{Service, ServiceKind},
};

/// Puts the job into the stage that the manifest names.
pub(super) fn stage(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    let Some(name) = &spec.stage else { return Ok(Vec::new()) };
    let job = observed.job.as_ref().map(|job| job.id.clone());
    let Some(at) = observed.stages.iter().position(|stage| is_called(stage, name)) else {
        let create = JobAction::CreateStage { name: name.clone() };
        let first = observed.stages.first();
        let to_the_front =
            first.map(|first| JobAction::MoveStage { name: name.clone(), before: first.id.clone(), before_name: first.name.clone() });
        let attach = JobAction::AttachToStage { job, stage: None, name: name.clone() };
        return Ok([create].into_iter().chain(to_the_front).chain([attach]).collect());
    };
    if let Some((before, service)) = first_user(observed, at) {
        let refusal = InstallRefusal::StageTooLate { stage: name.clone(), before: before.name.clone(), service: Box::new(service.clone()) };
        return Err(vec![refusal]);
    }
    let stage = &observed.stages[at];
    let is_in = job.as_ref().is_some_and(|job| stage.services.contains(job));
    let attach = JobAction::AttachToStage { job, stage: Some(stage.id.clone()), name: name.clone() };
    Ok(if is_in { Vec::new() } else { vec![attach] })
}

/// What people should know of a stage that the manifest does not name.
pub(super) fn note(spec: &JobSpec, observed: &ObservedEnvironment) -> Option<String> {
    let job = observed.job.as_ref().filter(|_| spec.stage.is_none())?;
    let at = observed.stages.iter().position(|stage| stage.services.contains(&job.id))?;
    let (before, service) = first_user(observed, at)?;
    Some(format!(
        "the job is in deployment stage `{}`, after or with `{}`, in which {service} may use the role already: name a `stage` for it",
        observed.stages[at].name, before.name
    ))
}

/// The first service, up to this stage, whose pods may ask for a role: an application or a container.
fn first_user(observed: &ObservedEnvironment, at: usize) -> Option<(&Stage, &Service)> {
    let may_ask = |service: &&Service| matches!(service.kind, ServiceKind::Application | ServiceKind::Container);
    observed.stages.iter().take(at + 1).find_map(|stage| {
        let first = observed.services.iter().filter(may_ask).find(|service| stage.services.contains(&service.id))?;
        Some((stage, first))
    })
}

fn is_called(stage: &Stage, name: &QoveryName) -> bool {
    stage.name.to_lowercase() == name.as_str().to_lowercase()
}
