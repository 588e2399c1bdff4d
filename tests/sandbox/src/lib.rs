//! A local AWS (IAM, STS, EKS), Kubernetes API and Qovery API on loopback, exact enough to judge `qovery-irsa` by.
//!
//! `service.rs` is what a service is; `aws`, `kubernetes` and `qovery` are those there are; `server.rs` puts them on a port,
//! `faults.rs` makes them hostile, `witness.rs` remembers; `sandbox.rs` puts it all together.
//!
//! `engine` carries out what Qovery is asked for, as a user of the sandbox.
//!
//! Arrows: `engine → sandbox → server → service ← {aws, kubernetes, qovery}`. A service knows no socket, no fault and no witness.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops"))]

pub mod aws;
pub mod clock;
pub mod cluster;
pub mod engine;
pub mod errors;
mod exchange;
pub mod faults;
mod files;
mod history;
pub mod keys;
pub mod kubernetes;
pub mod qovery;
pub mod sandbox;
mod serve;
pub mod server;
pub mod service;
pub mod tls;
mod wire;
pub mod witness;

pub use engine::{Engine, JobEnd, JobRun, Performed};
pub use sandbox::{Sandbox, Setup};
pub use serve::{Serve, serve};
