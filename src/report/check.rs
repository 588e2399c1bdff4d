//! One link of the chain that `doctor` examines, as it is shown.

use serde::Serialize;

use crate::clients::call::CallError;

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Broken,
    /// Not seen, so not known to be as it should be.
    Unknown,
    /// Perhaps not as it should be: a person has to judge.
    Note,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub link: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    pub(crate) fn new(link: &str, state: State, evidence: impl Into<String>, remedy: Option<&str>) -> Self {
        Self { link: link.to_owned(), state, evidence: evidence.into(), remedy: remedy.map(str::to_owned) }
    }

    pub(crate) fn ok(link: &str, evidence: impl Into<String>) -> Self {
        Self::new(link, State::Ok, evidence, None)
    }

    pub(crate) fn broken(link: &str, evidence: impl Into<String>, remedy: &str) -> Self {
        Self::new(link, State::Broken, evidence, Some(remedy))
    }

    pub(crate) fn note(link: &str, evidence: impl Into<String>, remedy: &str) -> Self {
        Self::new(link, State::Note, evidence, Some(remedy))
    }

    /// What could not be seen, and the right that shows it.
    pub(crate) fn unknown(link: &str, call: &'static str, error: &CallError) -> Self {
        let remedy = error.kind.is_denied().then(|| match call.strip_prefix("kubernetes:") {
            Some(right) => format!("the job needs `{right}` in the namespace (docs/permissions/rbac.yaml)"),
            None => format!("the job needs `{call}` (docs/permissions.md)"),
        });
        Self::new(link, State::Unknown, error.to_string(), remedy.as_deref())
    }
}
