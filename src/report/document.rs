//! The JSON document of a run.

use serde::Serialize;

use super::{check::Check, failure::Described, time::Times};
use crate::{model::output::Outputs, plan::Call};

/// The JSON document.
#[derive(Debug, Default, Serialize)]
pub(super) struct RunDocument {
    pub(super) command: String,
    pub(super) outcome: &'static str,
    pub(super) exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Where>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) console: Option<String>,
    pub(super) plan: Vec<PlannedAction>,
    pub(super) applied: Vec<Done>,
    pub(super) proven: Vec<Proven>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) examined: Vec<Examined>,
    pub(super) notes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) left: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outputs: Option<Outputs>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) guarded: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Errors>,
    pub(super) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<Times>,
}

/// An action: the call, and the line that people read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PlannedAction {
    pub(super) call: &'static str,
    pub(super) action: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) details: Vec<String>,
}

impl PlannedAction {
    pub(super) fn of(action: &impl Call) -> Self {
        Self { call: action.call(), action: action.to_string(), details: action.details() }
    }
}

/// An action that was done.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    #[serde(flatten)]
    pub(super) step: PlannedAction,
    pub(super) seconds: f64,
}

/// Where the run takes place.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Where {
    pub(super) namespace: String,
    pub(super) issuer: String,
    pub(super) account: String,
}

/// A ServiceAccount whose pods get their role.
#[derive(Debug, Serialize)]
pub(super) struct Proven {
    pub(super) service_account: String,
    pub(super) role: String,
    pub(super) max_session_seconds: u32,
}

/// A ServiceAccount that `doctor` has examined.
#[derive(Debug, Serialize)]
pub(super) struct Examined {
    pub(super) service_account: String,
    pub(super) checks: Vec<Check>,
}

/// Why the run failed.
#[derive(Debug, Serialize)]
pub(super) struct Errors {
    pub(super) errors: Vec<Described>,
}
