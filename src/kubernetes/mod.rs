//! Kubernetes: how the job reaches the API server, and the calls it makes there. Errors of `kube` end here.

mod access;
mod error;
mod namespaces;
mod pages;
mod pods;
mod service_accounts;

pub use access::{Access, Kubernetes, KubernetesProblem, MountedToken};
