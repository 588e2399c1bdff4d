//! `install`: sees the environment, plans, carries out, and sees that it is so. What differs is decided in `plan/install`.

pub mod deploy;
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
        job::{BindWhen, BoundService, ChartSource, Deployed, JobSource, ObservedEnvironment, ObservedHelm, ObservedJob},
        line::one_line,
        qovery::QoveryId,
        secret::Secret,
        service::{Service, ServiceKind, is_same_name},
        variable::VariableName,
    },
    plan::{
        Call as _, Mode,
        install::{InstallPlan, JobAction, Staged, Wanted, install},
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
    run_binding(config, config.bind, mode, http, patience, report).await
}

/// Binds the services that are not bound yet, once the job has been deployed.
///
/// # Errors
/// As [`run`].
pub async fn bind(
    config: &InstallConfig,
    http: &reqwest::Client,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<usize, StepError> {
    run_binding(config, BindWhen::Always, Mode::Apply, http, patience, report).await
}

async fn run_binding(
    config: &InstallConfig,
    bind: BindWhen,
    mode: Mode,
    http: &reqwest::Client,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<usize, StepError> {
    let Some(access) = &config.qovery else { return Ok(0) };
    let mut installer = Installer { qovery: Qovery::new(access, http), config, bind, patience, uploaded: BTreeMap::new() };
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
    bind: BindWhen,
    patience: &'a Patience,
    /// What this run has uploaded, by where it is mounted. Whether Qovery shows it is not confirmed: then this is what is there.
    uploaded: BTreeMap<String, String>,
}

impl Installer<'_> {
    async fn plan(&self) -> Result<(ObservedEnvironment, InstallPlan), StepError> {
        let observed = self.observe().await?;
        let at_hand = self.config.secrets.keys().cloned().gather();
        let InstallConfig { job, binds, bindings, .. } = self.config;
        let plan = install(&Wanted { job, binds, bindings, bind: self.bind, at_hand: &at_hand }, &observed)?;
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
        let is_helm = |kind: &ServiceKind| *kind == ServiceKind::of("HELM");
        let account = spec.account.as_ref();
        let of_account = account.and_then(|account| {
            services.iter().find(|service| is_helm(&service.kind) && is_same_name(&service.name, account.service.as_str()))
        });
        let organization = &place.organization;
        let chart = account.map(|account| &account.chart);
        let (job, mut variables, bound, registries, git_tokens, helm_repositories, account, deployed) = tokio::try_join!(
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
                let of_chart = matches!(chart, Some(ChartSource::Git { token: Some(_), .. }));
                if !of_chart && !matches!(&spec.source, JobSource::Git { token: Some(_), .. }) {
                    return Ok(Vec::new());
                }
                let call = "qovery:GET /organization/{id}/gitToken";
                self.call("list the Git tokens", call, async || qovery.git_tokens(organization).await).await
            },
            async {
                if !matches!(chart, Some(ChartSource::Repository { .. })) {
                    return Ok(Vec::new());
                }
                let call = "qovery:GET /organization/{id}/helmRepository";
                self.call("list the Helm repositories", call, async || qovery.helm_repositories(organization).await).await
            },
            self.helm(of_account),
            self.deployed(),
        )?;
        for variable in &mut variables {
            let uploaded = variable.mount_path.as_ref().and_then(|path| self.uploaded.get(path));
            variable.value = variable.value.take().or_else(|| uploaded.cloned());
        }
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
            account,
            deployed,
            helm_repositories,
        })
    }

    async fn helm(&self, named: Option<&Service>) -> Result<Option<ObservedHelm>, Failed> {
        let Some(Service { id, .. }) = named else { return Ok(None) };
        self.call("read the Helm service", "qovery:GET /helm/{id}", async || self.qovery.helm(id).await).await.map(Some)
    }

    /// Asked for only where it decides whether services are bound.
    async fn deployed(&self) -> Result<Option<Deployed>, Failed> {
        if self.config.bindings.is_empty() || self.bind == BindWhen::Always {
            return Ok(None);
        }
        let call = "qovery:GET /environment/{id}/statuses";
        self.call("read the states of the services", call, async || self.qovery.deployed().await).await.map(Some)
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
            let doing = (format!("list the variables that {service} sees"), format!("read the advanced settings of {service}"));
            let (variables, service_account) = tokio::try_join!(
                self.call(&doing.0, "qovery:GET /variable", async || self.qovery.variables(VariablesOf::Service(service)).await),
                self.call(&doing.1, "qovery:GET /{service}/{id}/advancedSettings", async || {
                    self.qovery.service_account_of(service).await
                }),
            )?;
            Ok(BoundService { service: service.clone(), variables, service_account })
        });
        try_join_all(read).await
    }

    /// One call for each action, in order. What was created before is known by then.
    async fn apply(&mut self, plan: &InstallPlan, report: &mut Report<'_>) -> Result<(), StepError> {
        let mut created = Created::default();
        for action in &plan.actions {
            if self.patience.is_interrupted() {
                return Err(StepError::Interrupted);
            }
            let started = Instant::now();
            let done =
                self.patience.call(action.call(), async || created.carry_out(action, &self.qovery, &self.config.secrets).await).await;
            match done {
                Ok(()) => {
                    if let JobAction::CreateFile { file, .. } | JobAction::EditFile { file, .. } = action {
                        self.uploaded.insert(file.mount_path(), file.content.clone());
                    }
                    report.did(action, started.elapsed());
                }
                // A name that is taken by now is an answer too: look again.
                Err(error) if error.kind == ErrorKind::AlreadyExists => return Ok(()),
                // So is that it is gone: somebody was faster, or an answer was lost.
                Err(error) if error.kind.is_missing() && action.deletes() => return Ok(()),
                Err(source) => return Err(Failed { doing: action.to_string(), call: action.call(), source }.into()),
            }
        }
        Ok(())
    }
}

/// What the plan has created so far: of stages the last one.
#[derive(Default)]
struct Created {
    job: Option<QoveryId>,
    helm: Option<QoveryId>,
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
            JobAction::AttachToStage { what, id, stage, .. } => {
                let stage = known(stage.as_ref(), self.stage.as_ref())?;
                let created = match what {
                    Staged::Job => self.job.as_ref(),
                    Staged::Account => self.helm.as_ref(),
                };
                qovery.attach_to_stage(stage, known(id.as_ref(), created)?).await?;
            }
            JobAction::Unskip { id, stage, .. } => qovery.unskip(known(stage.as_ref(), self.stage.as_ref())?, id).await?,
            JobAction::CreateFile { job, key, file } => {
                qovery.create_file(known(job.as_ref(), self.job.as_ref())?, key, file).await?;
            }
            JobAction::EditFile { id, key, file } => qovery.edit_file(id, key, file).await?,
            JobAction::DeleteVariable { id, .. } | JobAction::DeleteFile { id, .. } => qovery.delete_variable(id).await?,
            JobAction::CreateHelm { request, .. } => self.helm = Some(qovery.create_helm(request).await?),
            JobAction::EditHelm { helm, request, .. } => qovery.edit_helm(helm, request).await?,
            JobAction::BindService { service, service_account, before } => {
                qovery.bind(service, service_account, before.as_deref()).await?;
            }
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
