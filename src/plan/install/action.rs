//! One changing call of `install`: what its plan is made of, what is printed and what is carried out.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use crate::{
    model::{
        job::JobFile,
        names::ServiceAccountName,
        qovery::{QoveryId, QoveryName},
        service::Service,
        variable::VariableName,
    },
    plan::{Call, action::settings_call},
};

/// One change in Qovery. Where a job or stage has no id, the one is meant that the same plan has created before.
#[derive(Clone, Debug, PartialEq)]
pub enum JobAction {
    /// `POST /environment/{id}/job`
    CreateJob {
        /// Its name.
        name: QoveryName,
        /// The whole request.
        request: Map<String, Value>,
    },
    /// `PUT /job/{id}`
    EditJob {
        /// The job.
        job: QoveryId,
        /// Its name.
        name: QoveryName,
        /// The whole request: what is not in it, Qovery takes away.
        request: Map<String, Value>,
        /// The keys of the manifest that change.
        changed: Vec<&'static str>,
    },
    /// `POST /variable` for a secret. Its value is not here: whoever carries this out has it.
    CreateSecret {
        /// The job.
        job: Option<QoveryId>,
        /// The secret's name.
        name: VariableName,
    },
    /// `POST /variable`
    CreateVariable {
        /// The job.
        job: Option<QoveryId>,
        /// The variable's name.
        name: VariableName,
        /// Its value.
        value: String,
    },
    /// `DELETE /variable/{id}`
    DeleteVariable {
        /// The variable.
        id: QoveryId,
        /// Its name.
        name: String,
    },
    /// `POST /variable` for a file.
    CreateFile {
        /// The job.
        job: Option<QoveryId>,
        /// What its variable is called.
        key: String,
        /// The file.
        file: JobFile,
    },
    /// `PUT /variable/{id}` for a file.
    EditFile {
        /// The variable.
        id: QoveryId,
        /// What it is called.
        key: String,
        /// The file.
        file: JobFile,
    },
    /// `DELETE /variable/{id}` for a file.
    DeleteFile {
        /// The variable.
        id: QoveryId,
        /// Where the file is.
        mount_path: String,
    },
    /// `POST /environment/{id}/helm`
    CreateHelm {
        /// Its name.
        name: QoveryName,
        /// The whole request.
        request: Map<String, Value>,
    },
    /// `PUT /helm/{id}`
    EditHelm {
        /// The Helm service.
        helm: QoveryId,
        /// Its name.
        name: QoveryName,
        /// The whole request: what is not in it, Qovery takes away.
        request: Map<String, Value>,
        /// The keys of the manifest that change.
        changed: Vec<&'static str>,
    },
    /// The advanced setting of a service: read, one key changed, all written back.
    BindService {
        /// The service.
        service: Service,
        /// The ServiceAccount that it is to ask for.
        service_account: ServiceAccountName,
        /// The one that it asks for now.
        before: Option<String>,
    },
    /// `PUT /variable/{id}`
    EditVariable {
        /// The variable.
        id: QoveryId,
        /// Its name.
        name: VariableName,
        /// Its new value.
        value: String,
    },
    /// The job's advanced settings: read, these changed, all written back.
    PutSettings {
        /// The job.
        job: Option<QoveryId>,
        /// Those that change.
        settings: BTreeMap<String, Value>,
    },
    /// `POST /environment/{id}/deploymentStage`
    CreateStage {
        /// Its name.
        name: QoveryName,
    },
    /// `PUT /deploymentStage/{id}/moveBefore/{id}`
    MoveStage {
        /// The stage.
        stage: Option<QoveryId>,
        /// Its name.
        name: QoveryName,
        /// The stage that is to come after it.
        before: QoveryId,
        /// The name of that.
        before_name: String,
    },
    /// `PUT /deploymentStage/{id}/service/{id}`
    AttachToStage {
        /// What is put there.
        what: Staged,
        /// Its id.
        id: Option<QoveryId>,
        /// The stage.
        stage: Option<QoveryId>,
        /// Its name.
        name: QoveryName,
    },
    /// `PUT /deploymentStage/{id}/service/{id}` for something that does not run with the environment.
    Unskip {
        /// What is to run.
        what: Staged,
        /// Its id.
        id: QoveryId,
        /// The stage; of one that is created before, nothing.
        stage: Option<QoveryId>,
        /// Its name.
        name: String,
    },
}

/// What has a deployment stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// The job.
    Job,
    /// The Helm service that makes its ServiceAccount.
    Account,
}

impl fmt::Display for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "the job",
            Self::Account => "the Helm service",
        })
    }
}

impl JobAction {
    /// Whether it takes something away.
    #[must_use]
    pub fn deletes(&self) -> bool {
        matches!(self, Self::DeleteVariable { .. } | Self::DeleteFile { .. })
    }
}

impl Call for JobAction {
    fn call(&self) -> &'static str {
        match self {
            Self::CreateJob { .. } => "qovery:POST /environment/{id}/job",
            Self::EditJob { .. } => "qovery:PUT /job/{id}",
            Self::CreateSecret { .. } | Self::CreateVariable { .. } | Self::CreateFile { .. } => "qovery:POST /variable",
            Self::EditVariable { .. } | Self::EditFile { .. } => "qovery:PUT /variable/{id}",
            Self::DeleteVariable { .. } | Self::DeleteFile { .. } => "qovery:DELETE /variable/{id}",
            Self::CreateHelm { .. } => "qovery:POST /environment/{id}/helm",
            Self::EditHelm { .. } => "qovery:PUT /helm/{id}",
            Self::BindService { service, .. } => settings_call(&service.kind),
            Self::PutSettings { .. } => "qovery:PUT /job/{id}/advancedSettings",
            Self::CreateStage { .. } => "qovery:POST /environment/{id}/deploymentStage",
            Self::MoveStage { .. } => "qovery:PUT /deploymentStage/{id}/moveBefore/{id}",
            Self::AttachToStage { .. } | Self::Unskip { .. } => "qovery:PUT /deploymentStage/{id}/service/{id}",
        }
    }
}

/// One line, as the plan and the report show it. Values of variables are not shown: they may be nobody's business.
impl fmt::Display for JobAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateJob { name, request } => write!(f, "create {} `{name}`", kind(request)),
            Self::EditJob { name, request, changed, .. } => write!(f, "edit {} `{name}`: {}", kind(request), listed(changed)),
            Self::CreateHelm { name, .. } => write!(f, "create Helm service `{name}`, which makes the job's ServiceAccount"),
            Self::EditHelm { name, changed, .. } => write!(f, "edit Helm service `{name}`: {}", listed(changed)),
            Self::CreateSecret { name, .. } => write!(f, "create secret `{name}` of the job"),
            Self::CreateVariable { name, .. } => write!(f, "create variable `{name}` of the job"),
            Self::EditVariable { name, .. } => write!(f, "edit variable `{name}` of the job"),
            Self::DeleteVariable { name, .. } => write!(f, "delete variable `{name}` of the job"),
            Self::CreateFile { file, .. } => write!(f, "upload `{}` to `{}` of the job", file.path, file.mount_path()),
            Self::EditFile { file, .. } => write!(f, "upload `{}` again to `{}` of the job", file.path, file.mount_path()),
            Self::DeleteFile { mount_path, .. } => write!(f, "delete file `{mount_path}` of the job"),
            Self::BindService { service, service_account, before } => {
                write!(f, "bind {service} to ServiceAccount `{service_account}`")?;
                before.iter().try_for_each(|before| write!(f, ", no longer to `{before}`"))
            }
            Self::PutSettings { settings, .. } => {
                let settings: Vec<String> = settings.iter().map(|(key, value)| format!("`{key}` to `{value}`")).collect();
                write!(f, "set advanced settings of the job: {}", settings.join(", "))
            }
            Self::CreateStage { name } => write!(f, "create deployment stage `{name}`"),
            Self::MoveStage { name, before_name, .. } => write!(f, "move deployment stage `{name}` before `{before_name}`"),
            Self::AttachToStage { what, name, .. } => write!(f, "put {what} into deployment stage `{name}`"),
            Self::Unskip { what, name, .. } => write!(f, "let {what} run in deployment stage `{name}`: it is skipped there"),
        }
    }
}

fn listed(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// What Qovery calls a job of this request.
fn kind(request: &Map<String, Value>) -> &'static str {
    if request.get("schedule").is_some_and(|schedule| schedule.get("cronjob").is_some()) { "cron job" } else { "lifecycle job" }
}
