//! The way to the API server, with the administrator's own credentials.

use crate::{
    bootstrap::{BootstrapError, observe::Bench},
    clients::{
        call::Failed,
        kubernetes::{self, Kubernetes},
    },
    model::{api_server::Likeness, bootstrap::AuthenticationMode},
    plan::bootstrap::{Direction, access::may_have_entries},
    steps::{StepError, connect::ConnectError},
};

const DESCRIBE: &str = "eks:DescribeCluster";
const CALLER: &str = "sts:GetCallerIdentity";

/// By the kubeconfig that `KUBECONFIG` names, which must lead to the cluster; else by a token of the AWS credentials.
///
/// # Errors
/// The cluster cannot be described or reached or has no access entries, or the kubeconfig leads elsewhere.
pub(super) async fn reach(bench: &Bench<'_>) -> Result<(Kubernetes, AuthenticationMode), BootstrapError> {
    let name = &bench.spec.cluster;
    let doing = format!("describe EKS cluster `{name}`");
    let (cluster, mode) =
        bench.call(&doing, DESCRIBE, async || bench.aws.cluster_and_mode(name).await).await.map_err(ConnectError::from)?;
    if bench.direction == Direction::Make {
        may_have_entries(mode).map_err(StepError::from)?;
    }
    if std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty()) {
        let patience = bench.patience;
        let by_file = patience.within(Kubernetes::by_kubeconfig()).await.ok_or_else(|| ConnectError::Slow(patience.seconds()))?;
        let kubernetes = by_file.map_err(ConnectError::from)?;
        let described = kubernetes::described_server(&cluster.endpoint, &cluster.certificate_authority).map_err(ConnectError::from)?;
        if kubernetes.server().likeness(&described) != Likeness::Same {
            return Err(ConnectError::OtherCluster { cluster: name.clone(), endpoint: cluster.endpoint }.into());
        }
        return Ok((kubernetes, mode));
    }
    let doing = format!("make a token for cluster `{name}`");
    let bearer = bench.patience.call(CALLER, async || bench.aws.cluster_bearer(name).await).await.map_err(Failed::to(doing, CALLER))?;
    let kubernetes = Kubernetes::by_bearer_token(&cluster.endpoint, &cluster.certificate_authority, move || bearer.token());
    Ok((kubernetes.map_err(ConnectError::from)?, mode))
}
