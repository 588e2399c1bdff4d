//! The first step: reach AWS and Kubernetes, and know whose tokens the cluster issues.

use thiserror::Error;

use crate::{
    aws::{Aws, AwsProblem, Cluster},
    call::{Failed, Patience},
    config::{self, Config, KubeAuth},
    http::{self, HttpProblem},
    issuer::{EKS, MOUNTED, STATED, agreed, described, discover},
    kubernetes::{Access, Kubernetes, KubernetesProblem, MountedToken},
    model::{
        arn::Account,
        desired::Place,
        names::{ClusterName, Namespace},
        oidc::IssuerUrl,
        trust::ProjectMark,
    },
    qovery::Qovery,
};

const CALLER: &str = "sts:GetCallerIdentity";

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
    /// The issuer that `IRSA_OIDC_ISSUER` states, where nothing that is of the cluster itself has said it yet.
    pub(crate) stated: Option<IssuerUrl>,
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

/// Connects. Where AWS is follows from the region by the SDK's rules, with `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT`.
///
/// The issuer is that of `IRSA_OIDC_ISSUER`, the mounted token or the described cluster, whichever are at hand, and they must
/// agree; if none is, the cluster's discovery document is asked. A kubeconfig says nothing of `IRSA_OIDC_ISSUER`: before the first change
/// [`Connection::confirm_issuer`] asks the cluster.
///
/// # Errors
/// Something that a connection needs is missing, contradictory or does not answer.
pub async fn connect(config: &Config, patience: &Patience) -> Result<Connection, ConnectError> {
    http::install_crypto();
    let http = http::client()?;
    let qovery = config.qovery.as_ref().map(|access| Qovery::new(access, &http));
    let config::Access { assume_role, external_id, .. } = &config.access;
    let aws = Aws::new(config.environment.region.as_ref(), assume_role.as_ref(), external_id.as_ref(), &http).await?;
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
    let token = token.filter(|_| access == Access::Token).map(|token| token.issuer_and_namespace()).transpose()?;
    if let Some((_, own)) = token.as_ref().filter(|(_, own)| *own != config.environment.namespace) {
        return Err(ConnectError::OtherNamespace { own: own.clone(), named: config.environment.namespace.clone() });
    }
    let token_issuer = token.map(|(issuer, _)| issuer);
    let (described_issuer, described_account) = described.map(|(_, cluster)| (cluster.issuer, cluster.account)).unwrap_or_default();
    let confirmed = token_issuer.is_some() || described_issuer.is_some();
    let stated = config.access.issuer.clone();
    let known = agreed([(STATED, stated.clone()), (MOUNTED, token_issuer), (EKS, described_issuer)])?;
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
        project: config.environment.project_id.as_deref().and_then(ProjectMark::of_project),
    };
    let account = assume_role.as_ref().map(|role| role.account.clone()).or(described_account);
    Ok(Connection { aws, kubernetes, qovery, place, account, stated: stated.filter(|_| !confirmed) })
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

async fn describe(config: &Config, aws: &Aws, patience: &Patience) -> Result<(ClusterName, Cluster), ConnectError> {
    let name = config.environment.cluster.clone().ok_or(ConnectError::NoCluster)?;
    let cluster = described(&name, aws, patience).await?;
    Ok((name, cluster))
}
