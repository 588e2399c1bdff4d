//! Kubernetes: how the job reaches the API server, and the calls it makes there. Errors of `kube` end here.

mod access;
mod client;
#[cfg(feature = "laptop")]
mod cluster_objects;
mod error;
mod file;
mod kubeconfig;
mod namespaces;
mod pages;
mod pods;
mod proof_pods;
mod proxy;
mod service_accounts;
mod words;

pub use access::{AuthMethod, Kubernetes, KubernetesProblem, MountedToken, described_server};
#[cfg(feature = "laptop")]
pub use cluster_objects::Impersonated;
pub use proof_pods::{CREATE_PODS, DELETE_PODS};

/// The call for namespaces, as permissions name it.
pub const NAMESPACES: &str = "kubernetes:list namespaces";

/// The call for what runs on every node, as permissions name it.
pub const DAEMON_SETS: &str = "kubernetes:get daemonsets";

/// The call for a ServiceAccount's token, as permissions name it.
pub const TOKEN: &str = "kubernetes:create serviceaccounts/token";
