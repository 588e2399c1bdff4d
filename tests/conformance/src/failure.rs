//! What went wrong, in one sentence with its causes.

use std::{error::Error, fmt};

/// A check that does not hold, or something that it needs and that cannot be had.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl Failure {
    /// With its causes, a line each.
    pub(crate) fn told(&self) -> String {
        let causes = std::iter::successors(self.source(), |&error| error.source()).map(|error| format!("caused by: {error}"));
        std::iter::once(self.what.clone()).chain(causes).collect::<Vec<_>>().join("\n  ")
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// # Errors
    /// The failure, with what was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure { what: what(), source: Some(error.into()) })
    }
}

/// That something holds; otherwise the failure says what does not.
///
/// # Errors
/// It does not hold.
pub(crate) fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(what())) }
}

/// That two values are equal; otherwise both are shown.
///
/// # Errors
/// They differ.
pub(crate) fn equal<T: PartialEq + fmt::Debug>(observed: &T, wanted: &T, what: &str) -> Result<(), Failure> {
    check(observed == wanted, || format!("{what}:\n  observed {observed:#?}\n  wanted   {wanted:#?}"))
}
