//! Qovery: the calls to its API that the job makes. Its answers' forms and errors end here.

mod client;
mod environment;
mod error;
mod helms;
mod jobs;
#[cfg(feature = "laptop")]
mod projects;
mod services;
mod states;

pub use client::Qovery;
pub use environment::{EnvironmentPlace, VariablesOf};
#[cfg(feature = "laptop")]
pub use projects::Project;
