//! Qovery: the calls to its API that the job makes. Its answers' forms and errors end here.

mod client;
mod error;
mod services;

pub use client::Qovery;
