//! The deployment stage of the job: it must be done before a service starts that uses what it makes, and it must run at all.

use super::action::{JobAction, Staged};
use crate::model::{
    job::{JobAccount, JobSpec, ObservedEnvironment, Runs, Stage},
    qovery::{QoveryId, QoveryName},
    service::{Service, ServiceKind, is_same_name},
};
use crate::plan::refusal::InstallRefusal;

/// Puts the job into the stage that the manifest names, and the Helm service of a keyless job into one before it; lets both run there.
pub(super) fn stages(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    let (Some(account), Some(stage)) = (&spec.account, &spec.stage) else { return of_job(spec, observed) };
    // The job's stage goes before all others, but not before this one.
    let mut without = observed.clone();
    without.stages.retain(|known| !is_called(known, &account.stage));
    let job = of_job(spec, &without)?;
    let mut actions = of_account(account, stage, &job, observed).map_err(|refusal| vec![refusal])?;
    actions.extend(job);
    Ok(actions)
}

/// The Helm service comes before the job: before its stage as it is, or before what that will be moved before.
fn of_account(
    account: &JobAccount,
    stage_of_job: &QoveryName,
    of_job: &[JobAction],
    observed: &ObservedEnvironment,
) -> Result<Vec<JobAction>, InstallRefusal> {
    let helm = observed.account.as_ref().map(|helm| &helm.id);
    let name = &account.stage;
    let moves = of_job.iter().find_map(|action| match action {
        JobAction::MoveStage { before, .. } => Some(before),
        _ => None,
    });
    let next = match moves {
        Some(before) => observed.stages.iter().position(|stage| stage.id == *before),
        None => observed.stages.iter().position(|stage| is_called(stage, stage_of_job)),
    };
    let before_next = |stage: Option<&Stage>| {
        let next = &observed.stages[next?];
        Some(JobAction::MoveStage {
            stage: stage.map(|stage| stage.id.clone()),
            name: name.clone(),
            before: next.id.clone(),
            before_name: next.name.clone(),
        })
    };
    let attach = |stage: Option<QoveryId>| JobAction::AttachToStage { what: Staged::Account, id: helm.cloned(), stage, name: name.clone() };
    let unskip = |stage: Option<QoveryId>| {
        let (helm, _) = skipped(helm?, observed)?;
        Some(JobAction::Unskip { what: Staged::Account, id: helm.clone(), stage, name: name.as_str().to_owned() })
    };
    let Some(at) = observed.stages.iter().position(|stage| is_called(stage, name)) else {
        let create = JobAction::CreateStage { name: name.clone() };
        return Ok([create].into_iter().chain(before_next(None)).chain([attach(None)]).chain(unskip(None)).collect());
    };
    let stage = &observed.stages[at];
    let mut actions = Vec::new();
    if next.is_some_and(|next| next < at) {
        // Nobody else minds where it is.
        if !stage.services.iter().all(|service| Some(service) == helm) {
            return Err(InstallRefusal::AccountStageTooLate { stage: name.clone() });
        }
        actions.extend(before_next(Some(stage)));
    }
    if !helm.is_some_and(|helm| stage.services.contains(helm)) {
        actions.push(attach(Some(stage.id.clone())));
    }
    actions.extend(unskip(Some(stage.id.clone())));
    Ok(actions)
}

/// Puts the job into the stage that the manifest names, and lets it run in the stage it is in.
fn of_job(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
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
    let attach = |stage: Option<QoveryId>| JobAction::AttachToStage { what: Staged::Job, id: job.clone(), stage, name: name.clone() };
    // Whether a service is skipped goes with it from stage to stage.
    let unskip = |stage: Option<QoveryId>| {
        let (job, _) = skipped(&observed.job.as_ref()?.id, observed)?;
        Some(JobAction::Unskip { what: Staged::Job, id: job.clone(), stage, name: name.as_str().to_owned() })
    };
    let Some(at) = observed.stages.iter().position(|stage| is_called(stage, name)) else {
        let create = JobAction::CreateStage { name: name.clone() };
        return Ok([create].into_iter().chain(to_the_front(None)).chain([attach(None)]).chain(unskip(None)).collect());
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
        actions.push(attach(Some(stage.id.clone())));
    }
    actions.extend(unskip(Some(stage.id.clone())));
    Ok(actions)
}

fn unskip_where_it_is(observed: &ObservedEnvironment) -> Option<JobAction> {
    let (job, stage) = skipped(&observed.job.as_ref()?.id, observed)?;
    Some(JobAction::Unskip { what: Staged::Job, id: job.clone(), stage: Some(stage.id.clone()), name: stage.name.clone() })
}

/// A service and its stage, if it never runs with the environment.
fn skipped<'a>(service: &'a QoveryId, observed: &'a ObservedEnvironment) -> Option<(&'a QoveryId, &'a Stage)> {
    observed.stages.iter().find(|stage| stage.skipped.contains(service)).map(|stage| (service, stage))
}

/// What people should know of a stage that the manifest does not name.
pub(super) fn note(spec: &JobSpec, observed: &ObservedEnvironment) -> Option<String> {
    let job = observed.job.as_ref().filter(|_| spec.stage.is_none() && spec.runs == Runs::OnEvents)?;
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
