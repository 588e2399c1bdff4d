//! One changing call of `install`: what its plan is made of, what is printed and what is carried out.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use crate::{
    model::{
        qovery::{QoveryId, QoveryName},
        variable::VariableName,
    },
    plan::Call,
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
        /// The job.
        job: Option<QoveryId>,
        /// The stage.
        stage: Option<QoveryId>,
        /// Its name.
        name: QoveryName,
    },
    /// `PUT /deploymentStage/{id}/service/{id}` for a job that does not run with the environment.
    Unskip {
        /// The job.
        job: QoveryId,
        /// The stage; of one that is created before, nothing.
        stage: Option<QoveryId>,
        /// Its name.
        name: String,
    },
}

impl Call for JobAction {
    fn call(&self) -> &'static str {
        match self {
            Self::CreateJob { .. } => "qovery:POST /environment/{id}/job",
            Self::EditJob { .. } => "qovery:PUT /job/{id}",
            Self::CreateSecret { .. } | Self::CreateVariable { .. } => "qovery:POST /variable",
            Self::EditVariable { .. } => "qovery:PUT /variable/{id}",
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
            Self::CreateJob { name, .. } => write!(f, "create lifecycle job `{name}`"),
            Self::EditJob { name, changed, .. } => {
                let changed: Vec<String> = changed.iter().map(|key| format!("`{key}`")).collect();
                write!(f, "edit lifecycle job `{name}`: {}", changed.join(", "))
            }
            Self::CreateSecret { name, .. } => write!(f, "create secret `{name}` of the job"),
            Self::CreateVariable { name, .. } => write!(f, "create variable `{name}` of the job"),
            Self::EditVariable { name, .. } => write!(f, "edit variable `{name}` of the job"),
            Self::PutSettings { settings, .. } => {
                let settings: Vec<String> = settings.iter().map(|(key, value)| format!("`{key}` to `{value}`")).collect();
                write!(f, "set advanced settings of the job: {}", settings.join(", "))
            }
            Self::CreateStage { name } => write!(f, "create deployment stage `{name}`"),
            Self::MoveStage { name, before_name, .. } => write!(f, "move deployment stage `{name}` before `{before_name}`"),
            Self::AttachToStage { name, .. } => write!(f, "put the job into deployment stage `{name}`"),
            Self::Unskip { name, .. } => write!(f, "let the job run in deployment stage `{name}`: it is skipped there"),
        }
    }
}
