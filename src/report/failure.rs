//! Why a run failed, as it is shown.

use std::error::Error;

use serde::Serialize;

use super::exit::Exit;

/// Why a run failed, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends, which the document names too.
    pub exit: Exit,
    /// The errors, at least one.
    pub errors: Vec<Described>,
}

/// An error, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Described {
    /// What failed.
    pub message: String,
    /// What it comes from, outermost first.
    pub causes: Vec<String>,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What an error comes from, outermost first, each once.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !causes.contains(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}
