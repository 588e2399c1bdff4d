//! The first step: reach AWS and Kubernetes, and know whose tokens the cluster issues.

use thiserror::Error;

use crate::{
    aws::{Aws, AwsProblem, Cluster},
    call::{ErrorKind, Failed, Patience},
    config::{Config, KubeAuth},
    http::{self, HttpProblem},
    kubernetes::{Access, Kubernetes, KubernetesProblem, MountedToken},
    model::{arn::Account, desired::Place, names::ClusterName, oidc::IssuerUrl},
    qovery::Qovery,
};

const CALLER: &str = "sts:GetCallerIdentity";
const DESCRIBE: &str = "eks:DescribeCluster";

/// AWS, Kubernetes, Qovery, and the place in them.
#[derive(Debug)]
pub struct Connection {
    /// AWS.
    pub aws: Aws,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// Qovery, if services are to be bound.
    pub qovery: Option<Qovery>,
    /// Namespace, issuer and cluster.
    pub place: Place,
    /// The account that the credentials act in, where that is known without asking: from the role they assume, else from the cluster, which
    /// EKS describes to its own account only.
    pub account: Option<Account>,
}

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

/// Connects.
///
/// The issuer is that of `IRSA_OIDC_ISSUER`, the mounted token or the described cluster, whichever are at hand, and they must
/// agree; if none is, the cluster's discovery document is asked.
///
/// # Errors
/// Something that a connection needs is missing, contradictory or does not answer.
pub async fn connect(config: &Config, patience: &Patience) -> Result<Connection, ConnectError> {
    http::install_crypto();
    let http = http::client()?;
    let qovery = config.qovery.as_ref().map(|access| Qovery::new(access, &http));
    let aws = Aws::new(config.environment.region.as_ref(), config.access.assume_role.as_ref(), &http).await?;
    let token = MountedToken::find(&config.access.kube_token_directory);
    let access = choose(config, token.as_ref())?;
    let described = match access {
        Access::Eks => Some(describe(config, &aws, patience).await?),
        Access::Kubeconfig | Access::Token => None,
    };
    let kubernetes = match (access, &token, &described) {
        (Access::Token, Some(token), _) => Kubernetes::by_mounted_token(token)?,
        (Access::Eks, _, Some((name, cluster))) => {
            let doing = format!("make a token for cluster `{name}`");
            let bearer = patience.call(CALLER, async || aws.cluster_bearer(name).await).await.map_err(Failed::to(doing, CALLER))?;
            Kubernetes::by_bearer_token(&cluster.endpoint, &cluster.certificate_authority, move || bearer.token())?
        }
        // It may name a program that is to give the credentials.
        _ => patience.within(Kubernetes::by_kubeconfig()).await.ok_or_else(|| ConnectError::Slow(patience.seconds()))??,
    };
    // A token lies about for the kubeconfig of another cluster; only the one in use speaks for it.
    let token_issuer = token.filter(|_| access == Access::Token).map(|token| token.issuer()).transpose()?;
    let (described_issuer, described_account) = described.map(|(_, cluster)| (cluster.issuer, cluster.account)).unwrap_or_default();
    let known =
        agreed([("`IRSA_OIDC_ISSUER`", config.access.issuer.clone()), ("the mounted token", token_issuer), ("EKS", described_issuer)])?;
    let issuer = match known {
        Some(issuer) => issuer,
        None => discover(config, &aws, &kubernetes, patience).await?,
    };
    let place = Place {
        namespace: config.environment.namespace.clone(),
        issuer,
        cluster: config.environment.cluster.clone(),
        paths: config.paths.clone(),
        job: config.environment.job.clone(),
    };
    let account = config.access.assume_role.as_ref().map(|role| role.account.clone()).or(described_account);
    Ok(Connection { aws, kubernetes, qovery, place, account })
}

/// `KUBECONFIG` if set, else the mounted token, else EKS.
fn choose(config: &Config, token: Option<&MountedToken>) -> Result<Access, ConnectError> {
    match config.access.kube_auth {
        KubeAuth::Auto if std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty()) => Ok(Access::Kubeconfig),
        KubeAuth::Auto | KubeAuth::Token if token.is_some() => Ok(Access::Token),
        KubeAuth::Token => Err(ConnectError::NoToken(config.access.kube_token_directory.display().to_string())),
        KubeAuth::Kubeconfig => Ok(Access::Kubeconfig),
        KubeAuth::Auto | KubeAuth::Eks => Ok(Access::Eks),
    }
}

/// The cluster's discovery document; where it may not be read or there is none, EKS.
async fn discover(config: &Config, aws: &Aws, kubernetes: &Kubernetes, patience: &Patience) -> Result<IssuerUrl, ConnectError> {
    let call = "kubernetes:get /.well-known/openid-configuration";
    let discovered = patience.call(call, async || kubernetes.issuer().await).await;
    let closed = matches!(&discovered, Err(error) if error.kind.is_denied() || error.kind.is_missing() || matches!(error.kind, ErrorKind::Admission(_)));
    // An API server without the document answers in plain text, and so may something else in its place.
    let strange = matches!(&discovered, Err(error) if error.is_foreign && error.kind == ErrorKind::Other);
    if (closed || strange) && config.environment.cluster.is_some() {
        match describe(config, aws, patience).await {
            Ok((_, Cluster { issuer: Some(issuer), .. })) => return Ok(issuer),
            Err(error) if closed => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(discovered.map_err(Failed::to("read the cluster's OIDC issuer", call))?)
}

async fn describe(config: &Config, aws: &Aws, patience: &Patience) -> Result<(ClusterName, Cluster), ConnectError> {
    let name = config.environment.cluster.clone().ok_or(ConnectError::NoCluster)?;
    let doing = format!("describe EKS cluster `{name}`");
    let cluster = patience.call(DESCRIBE, async || aws.cluster(&name).await).await.map_err(Failed::to(doing, DESCRIBE))?;
    Ok((name, cluster))
}

fn agreed(sources: [(&'static str, Option<IssuerUrl>); 3]) -> Result<Option<IssuerUrl>, ConnectError> {
    let mut known: Option<(&'static str, IssuerUrl)> = None;
    for (second_source, second) in sources {
        let Some(second) = second else { continue };
        match known {
            Some((first_source, first)) if first != second => {
                return Err(ConnectError::Contradiction { first_source, first, second_source, second });
            }
            _ => known = known.or(Some((second_source, second))),
        }
    }
    Ok(known.map(|(_, issuer)| issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_contradict_each_other_are_both_shown() {
        let issuer = |text: &str| Some(text.parse().unwrap());
        assert_eq!(agreed([("a", None), ("b", issuer("https://x")), ("c", issuer("https://x"))]).unwrap(), issuer("https://x"));
        assert_eq!(agreed([("a", None), ("b", None), ("c", None)]).unwrap(), None);
        let error = agreed([("a", issuer("https://x")), ("b", None), ("c", issuer("https://y"))]).unwrap_err();
        assert_eq!(error.to_string(), "the cluster's OIDC issuer is contradictory: a says `https://x`, c says `https://y`");
    }
}
