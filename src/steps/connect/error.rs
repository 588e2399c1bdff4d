//! Why there is no connection.

use thiserror::Error;

use crate::{
    clients::{aws::AwsProblem, call::Failed, http::HttpProblem, kubernetes::KubernetesProblem},
    model::{
        names::{ClusterName, Namespace},
        oidc::IssuerUrl,
    },
};

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No HTTP client.
    #[error(transparent)]
    Http(#[from] HttpProblem),
    /// No AWS.
    #[error(transparent)]
    Aws(#[from] AwsProblem),
    /// No Kubernetes.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesProblem),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Failed),
    /// The way that was asked for is not there.
    #[error("`IRSA_KUBE_AUTH` is `token`, but no token is mounted at `{0}`")]
    NoToken(String),
    /// An EKS token needs the cluster's name.
    #[error("`QOVERY_KUBERNETES_CLUSTER_NAME` is not set, and there is no other way to Kubernetes")]
    NoCluster,
    /// The program that a kubeconfig names for credentials does not end.
    #[error("the kubeconfig's program for credentials did not end within the {0} s of the whole run")]
    Slow(u64),
    /// The namespace that is named is not the one that the job runs in.
    #[error("the job runs in namespace `{own}`, as its mounted token says, and not in `{named}`")]
    OtherNamespace {
        /// The namespace of the token.
        own: Namespace,
        /// The one that is named.
        named: Namespace,
    },
    /// The cluster that is named is not the one that the kubeconfig leads to.
    #[error("the kubeconfig does not lead to EKS cluster `{cluster}`, which is at `{endpoint}`")]
    OtherCluster {
        /// The cluster that is named.
        cluster: ClusterName,
        /// Where it is.
        endpoint: String,
    },
    /// Two sources name different issuers.
    #[error("the cluster's OIDC issuer is contradictory: {first_source} says `{first}`, {second_source} says `{second}`")]
    Contradiction {
        /// Where the first comes from.
        first_source: &'static str,
        /// The first.
        first: IssuerUrl,
        /// Where the second comes from.
        second_source: &'static str,
        /// The second.
        second: IssuerUrl,
    },
}
