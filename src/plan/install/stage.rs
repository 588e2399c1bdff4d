//! The deployment stage of the job: it must be done before a service starts that uses what it makes, and it must run at all.

use super::action::JobAction;
use crate::model::{
    job::{JobSpec, ObservedEnvironment, Stage},
    qovery::{QoveryId, QoveryName},
    service::{Service, ServiceKind, is_same_name},
};
use crate::plan::refusal::InstallRefusal;

/// Puts the job into the stage that the manifest names, and lets it run in the stage it is in.
pub(super) fn stage(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    let Some(name) = &spec.stage else { return Ok(unskip_where_it_is(observed).into_iter().collect()) };
    let job = observed.job.as_ref().map(|job| job.id.clone());
    let to_the_front = |stage: Option<&Stage>| {
        let first = observed.stages.first()?;
        Some(JobAction::MoveStage {
            stage: stage.map(|stage| stage.id.clone()),
            name: name.clone(),
            before: first.id.clone(),
            before_name: first.name.clone(),
        })
    };
    // Whether a service is skipped goes with it from stage to stage.
    let unskip = |stage: Option<&Stage>| {
        let (job, _) = skipped(observed)?;
        Some(JobAction::Unskip { job: job.clone(), stage: stage.map(|stage| stage.id.clone()), name: name.as_str().to_owned() })
    };
    let Some(at) = observed.stages.iter().position(|stage| is_called(stage, name)) else {
        let create = JobAction::CreateStage { name: name.clone() };
        let attach = JobAction::AttachToStage { job, stage: None, name: name.clone() };
        return Ok([create].into_iter().chain(to_the_front(None)).chain([attach]).chain(unskip(None)).collect());
    };
    let stage = &observed.stages[at];
    let mut actions = Vec::new();
    if let Some((before, service)) = first_user(observed, at) {
        // Nobody else minds where it is: it was created by a run that did not get further.
        if !stage.services.iter().all(|service| Some(service) == job.as_ref()) {
            let service = Box::new(service.clone());
            return Err(vec![InstallRefusal::StageTooLate { stage: name.clone(), before: before.name.clone(), service }]);
        }
        actions.extend(to_the_front(Some(stage)));
    }
    if !job.as_ref().is_some_and(|job| stage.services.contains(job)) {
        actions.push(JobAction::AttachToStage { job, stage: Some(stage.id.clone()), name: name.clone() });
    }
    actions.extend(unskip(Some(stage)));
    Ok(actions)
}

fn unskip_where_it_is(observed: &ObservedEnvironment) -> Option<JobAction> {
    let (job, stage) = skipped(observed)?;
    Some(JobAction::Unskip { job: job.clone(), stage: Some(stage.id.clone()), name: stage.name.clone() })
}

/// The job and its stage, if it never runs with the environment.
fn skipped(observed: &ObservedEnvironment) -> Option<(&QoveryId, &Stage)> {
    let job = &observed.job.as_ref()?.id;
    observed.stages.iter().find(|stage| stage.skipped.contains(job)).map(|stage| (job, stage))
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

/// The first service, up to this stage, whose pods may ask for a role: an application, a container, or another that is to be bound.
fn first_user(observed: &ObservedEnvironment, at: usize) -> Option<(&Stage, &Service)> {
    let may_ask = |service: &&Service| {
        matches!(service.kind, ServiceKind::Application | ServiceKind::Container)
            || observed.bound.iter().any(|bound| bound.service.id == service.id)
    };
    observed.stages.iter().take(at + 1).find_map(|stage| {
        let first = observed.services.iter().filter(may_ask).find(|service| stage.services.contains(&service.id))?;
        Some((stage, first))
    })
}

fn is_called(stage: &Stage, name: &QoveryName) -> bool {
    is_same_name(&stage.name, name.as_str())
}
