//! `install`: sees the environment, plans, carries out, and sees that it is so. What differs is decided in `plan/install`.

pub mod terraform;

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::{
    clients::{
        call::{CallError, ErrorKind, Failed, Patience},
        qovery::{Qovery, VariablesOf},
    },
    config::InstallConfig,
    model::{
        gather::Gather as _,
        job::{BoundService, JobSource, ObservedEnvironment, ObservedJob},
        line::one_line,
        qovery::QoveryId,
        secret::Secret,
        service::{Service, ServiceKind, is_same_name},
        variable::VariableName,
    },
    plan::{
        Call as _, Mode,
        install::{InstallPlan, JobAction, install},
    },
    report::Report,
    steps::StepError,
};

/// How often it is looked again: once to see what was done, and some more for what others do meanwhile.
const MOST_LOOKS: usize = 4;

/// Installs the job, or only says what that takes.
///
/// # Errors
/// Qovery cannot be reached or refuses, or something may not be touched.
pub async fn run(
    config: &InstallConfig,
    mode: Mode,
    http: &reqwest::Client,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<usize, StepError> {
    let Some(access) = &config.qovery else { return Ok(0) };
    let installer = Installer { qovery: Qovery::new(access, http), config, patience };
    let mut left = Vec::new();
    for _ in 0..MOST_LOOKS {
        let (observed, plan) = tokio::select! {
            seen = installer.plan() => seen?,
            () = patience.interruption() => return Err(StepError::Interrupted),
        };
        report.environment(&observed);
        for note in &plan.notes {
            report.note(note);
        }
        report.planned(&plan.actions);
        if plan.actions.is_empty() || mode == Mode::DryRun {
            return Ok(plan.actions.len());
        }
        left = plan.actions.iter().map(|action| one_line(&action.to_string())).collect();
        installer.apply(&plan, report).await?;
    }
    Err(StepError::NotVerified { seconds: patience.elapsed().as_secs(), left: left.join("\n  ") })
}

struct Installer<'a> {
    qovery: Qovery,
    config: &'a InstallConfig,
    patience: &'a Patience,
}

impl Installer<'_> {
    async fn plan(&self) -> Result<(ObservedEnvironment, InstallPlan), StepError> {
        let observed = self.observe().await?;
        let at_hand = self.config.secrets.keys().cloned().gather();
        let plan = install(&self.config.job, &self.config.binds, &observed, &at_hand)?;
        Ok((observed, plan))
    }

    async fn call<T>(&self, doing: &str, call: &'static str, attempt: impl AsyncFnMut() -> Result<T, CallError>) -> Result<T, Failed> {
        self.patience.call(call, attempt).await.map_err(Failed::to(doing, call))
    }

    /// Reads only, side by side where nothing waits for another.
    async fn observe(&self) -> Result<ObservedEnvironment, Failed> {
        let (qovery, spec) = (&self.qovery, &self.config.job);
        let environment = qovery.environment();
        let (place, services, stages) = tokio::try_join!(
            self.call("read the environment", "qovery:GET /environment/{id}", async || qovery.place().await),
            self.call("list the services of the environment", "qovery:GET /environment/{id}/services", async || qovery.services().await),
            self.call("list the deployment stages of the environment", "qovery:GET /environment/{id}/deploymentStage", async || {
                qovery.stages().await
            }),
        )?;
        let is_job = |kind: &ServiceKind| matches!(kind, ServiceKind::Job);
        let named = services.iter().find(|service| is_job(&service.kind) && is_same_name(&service.name, spec.name.as_str()));
        let organization = &place.organization;
        let (job, variables, bound, registries, git_tokens) = tokio::try_join!(
            self.job(named),
            self.call("list the variables that the job sees", "qovery:GET /variable", async || {
                qovery.variables(named.map_or(VariablesOf::Environment, VariablesOf::Service)).await
            }),
            self.bound(&services, named),
            async {
                if !matches!(spec.source, JobSource::Image { .. }) {
                    return Ok(Vec::new());
                }
                let call = "qovery:GET /organization/{id}/containerRegistry";
                self.call("list the container registries", call, async || qovery.registries(organization).await).await
            },
            async {
                if !matches!(&spec.source, JobSource::Git { token: Some(_), .. }) {
                    return Ok(Vec::new());
                }
                let call = "qovery:GET /organization/{id}/gitToken";
                self.call("list the Git tokens", call, async || qovery.git_tokens(organization).await).await
            },
        )?;
        Ok(ObservedEnvironment {
            id: environment.clone(),
            name: place.name,
            organization: place.organization,
            project: place.project,
            services,
            job,
            stages,
            variables,
            bound,
            registries,
            git_tokens,
        })
    }

    async fn job(&self, named: Option<&Service>) -> Result<Option<ObservedJob>, Failed> {
        let Some(Service { id, .. }) = named else { return Ok(None) };
        let (job, settings) = tokio::try_join!(
            self.call("read the job", "qovery:GET /job/{id}", async || self.qovery.job(id).await),
            self.call("read the advanced settings of the job", "qovery:GET /job/{id}/advancedSettings", async || {
                self.qovery.job_settings(id).await
            }),
        )?;
        Ok(Some(ObservedJob { settings, ..job }))
    }

    /// The services that are to run with a role, but the job itself, with what they see. A name that means several means each.
    async fn bound(&self, services: &[Service], job: Option<&Service>) -> Result<Vec<BoundService>, Failed> {
        let is_meant = |service: &&Service| self.config.binds.iter().any(|bound| bound.means(service));
        let meant = services.iter().filter(is_meant).filter(|service| service.kind.can_be_bound() && Some(*service) != job);
        let read = meant.map(|service| async move {
            let doing = format!("list the variables that {service} sees");
            let seen = self.call(&doing, "qovery:GET /variable", async || self.qovery.variables(VariablesOf::Service(service)).await);
            Ok(BoundService { service: service.clone(), variables: seen.await? })
        });
        try_join_all(read).await
    }

    /// One call for each action, in order. What was created before is known by then.
    async fn apply(&self, plan: &InstallPlan, report: &mut Report<'_>) -> Result<(), StepError> {
        let mut created = Created::default();
        for action in &plan.actions {
            if self.patience.is_interrupted() {
                return Err(StepError::Interrupted);
            }
            let started = Instant::now();
            let done =
                self.patience.call(action.call(), async || created.carry_out(action, &self.qovery, &self.config.secrets).await).await;
            match done {
                Ok(()) => report.did(action, started.elapsed()),
                // A name that is taken by now is an answer too: look again.
                Err(error) if error.kind == ErrorKind::AlreadyExists => return Ok(()),
                Err(source) => return Err(Failed { doing: action.to_string(), call: action.call(), source }.into()),
            }
        }
        Ok(())
    }
}

/// What the plan has created so far.
#[derive(Default)]
struct Created {
    job: Option<QoveryId>,
    stage: Option<QoveryId>,
}

impl Created {
    async fn carry_out(&mut self, action: &JobAction, qovery: &Qovery, secrets: &BTreeMap<VariableName, Secret>) -> Result<(), CallError> {
        match action {
            JobAction::CreateJob { request, .. } => self.job = Some(qovery.create_job(request).await?),
            JobAction::EditJob { job, request, .. } => qovery.edit_job(job, request).await?,
            JobAction::CreateSecret { job, name } => {
                let value = secrets.get(name).ok_or_else(|| missing("the value of the secret"))?;
                qovery.create_secret(known(job.as_ref(), self.job.as_ref())?, name, value).await?;
            }
            JobAction::CreateVariable { job, name, value } => {
                qovery.create_variable(known(job.as_ref(), self.job.as_ref())?, name, value).await?;
            }
            JobAction::EditVariable { id, name, value } => qovery.edit_variable(id, name, value).await?,
            JobAction::PutSettings { job, settings } => {
                qovery.put_job_settings(known(job.as_ref(), self.job.as_ref())?, settings).await?;
            }
            JobAction::CreateStage { name } => self.stage = Some(qovery.create_stage(name).await?),
            JobAction::MoveStage { stage, before, .. } => qovery.move_stage(known(stage.as_ref(), self.stage.as_ref())?, before).await?,
            JobAction::AttachToStage { job, stage, .. } => {
                let stage = known(stage.as_ref(), self.stage.as_ref())?;
                qovery.attach_to_stage(stage, known(job.as_ref(), self.job.as_ref())?).await?;
            }
            JobAction::Unskip { job, stage, .. } => qovery.unskip(known(stage.as_ref(), self.stage.as_ref())?, job).await?,
        }
        Ok(())
    }
}

/// The id that was there, else the one that was just created.
fn known<'a>(there: Option<&'a QoveryId>, created: Option<&'a QoveryId>) -> Result<&'a QoveryId, CallError> {
    there.or(created).ok_or_else(|| missing("what should have been created before"))
}

fn missing(what: &str) -> CallError {
    CallError::not_sent(format!("{what} is not known"))
}
