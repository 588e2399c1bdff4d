//! The services that identities bind: `install` lets them ask for their ServiceAccounts itself where the job's first run then comes before them.

use super::{action::JobAction, keys::has_token, wanted::Wanted};
use crate::{
    model::{
        job::{BindWhen, Deployed, ObservedEnvironment},
        service::{ObservedService, Service},
    },
    plan::{
        refusal::Refusal,
        services::{Bind, bind},
    },
};

/// What binds the services, and what people should know. What the job would refuse is refused here.
///
/// | a service that is not bound as its identity says | |
/// |---|---|
/// | is not there, and the run deploys | a refusal: its pods would run without the role |
/// | is not there | a note: who binds it later, if anybody |
/// | comes after the job, and none was ever deployed, or `--bind` | bind it |
/// | else, and the run deploys | a note: bound once the job has run |
/// | else, and the job has an API token | a note: the job binds it, and a second deployment is needed |
/// | else | a note: nobody binds it |
pub(super) fn bindings(wanted: &Wanted<'_>, observed: &ObservedEnvironment) -> Result<(Vec<JobAction>, Vec<String>), Vec<Refusal>> {
    let job = observed.job.as_ref().map(|job| &job.id);
    let others: Vec<ObservedService> =
        observed.services.iter().filter(|service| Some(&service.id) != job).map(|service| seen(service, observed)).collect();
    let (mut actions, mut left, mut missing, mut refusals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for binding in wanted.bindings {
        match bind(binding, wanted.bindings, &others) {
            Ok(None) => {}
            Ok(Some(Bind { service, before })) if may_bind(wanted, observed) && comes_after_job(&service, wanted, observed) => {
                actions.push(JobAction::BindService { service, service_account: binding.service_account.clone(), before });
            }
            Ok(Some(Bind { service, .. })) => left.push(service.to_string()),
            // The job itself needs no identity, and is no service that it could be bound to.
            Err(Refusal::NoSuchService { service, .. }) if wanted.bind != BindWhen::AfterJob => missing.push(format!("`{service}`")),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let has_token = has_token(wanted.job, observed);
    let later = (!left.is_empty()).then(|| {
        let left = left.join(", ");
        match wanted.bind {
            BindWhen::AfterJob => format!("{left}: `--deploy` binds what is not bound yet once the job has run"),
            _ if has_token => format!(
                "{left}: the job binds what is not bound yet on its next run, and pods get the role from the deployment after that. `install --bind` binds now, and one deployment is enough"
            ),
            BindWhen::Always => {
                format!("{left}: not bound, for the job does not come before. Name a `stage` in `job`, then run `install` again")
            }
            BindWhen::NothingDeployed => format!(
                "{left}: not bound, for something was deployed before, and the job has no API token with which it could. Run `install --bind`, then deploy; `install --deploy` does both"
            ),
        }
    });
    let none = (!missing.is_empty()).then(|| {
        let then = if has_token {
            "create it before you deploy, the job refuses to run without"
        } else {
            "create it, then run `install` again, which binds it. The job has no API token with which it could"
        };
        format!("`bindServices` names {}, which the environment does not have: {then}", missing.join(", "))
    });
    Ok((actions, later.into_iter().chain(none).collect()))
}

fn seen(service: &Service, observed: &ObservedEnvironment) -> ObservedService {
    let bound = observed.bound.iter().find(|bound| bound.service.id == service.id);
    ObservedService { service: service.clone(), service_account: bound.and_then(|bound| bound.service_account.clone()), variables: None }
}

fn may_bind(wanted: &Wanted<'_>, observed: &ObservedEnvironment) -> bool {
    wanted.bind == BindWhen::Always || observed.deployed == Some(Deployed::Never)
}

/// A stage that is named comes before every service that is bound: the same plan sees to it. Else it is where the job is.
fn comes_after_job(service: &Service, wanted: &Wanted<'_>, observed: &ObservedEnvironment) -> bool {
    if wanted.job.stage.is_some() {
        return true;
    }
    let stage_of = |id| observed.stages.iter().position(|stage| stage.services.contains(id));
    let job = observed.job.as_ref().and_then(|job| stage_of(&job.id));
    matches!((job, stage_of(&service.id)), (Some(job), Some(service)) if job < service)
}
