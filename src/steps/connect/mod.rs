//! The first step: reach AWS and Kubernetes, and know whose tokens the cluster issues.

mod connection;
mod error;
mod issuer;

pub use connection::Connection;
pub use error::ConnectError;

use self::issuer::{EKS, MOUNTED, STATED, agreed, described, discover};
use crate::{
    clients::{
        aws::{Aws, Cluster},
        call::{CallError, Failed, Patience},
        http,
        kubernetes::{AuthMethod, Kubernetes, MountedToken},
        qovery::Qovery,
    },
    config::{self, Config, KubeAuth},
    model::{anchor::ProjectMark, names::ClusterName, place::Place},
};

const LIST: &str = "kubernetes:list serviceaccounts";
const CALLER: &str = "sts:GetCallerIdentity";

/// Connects. Where AWS is follows from the region by the SDK's rules, with `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT`.
///
/// The issuer is that of `IRSA_OIDC_ISSUER`, the mounted token or the described cluster, whichever are at hand, and they must
/// agree; if none is, the cluster's discovery document is asked. A kubeconfig says nothing of `IRSA_OIDC_ISSUER`: before the first change
/// [`Connection::confirm_issuer`] asks the cluster.
///
/// # Errors
/// Something that a connection needs is missing, contradictory or does not answer.
pub async fn connect(config: &Config, patience: &Patience) -> Result<Connection, ConnectError> {
    let token = MountedToken::find(&config.access.kube_token_directory);
    let access = choose(config, token.as_ref())?;
    connect_by(access, token, config, patience).await
}

/// The same by an EKS token, after the API server has forbidden the mounted token to read ServiceAccounts; nothing if that was not the way or
/// somebody chose it. One call finds out whether the AWS credentials of the job may read them.
///
/// # Errors
/// Why this way does not work either, in words.
pub async fn connect_by_eks(refused: &Connection, config: &Config, patience: &Patience) -> Option<Result<Connection, String>> {
    let own = refused.own.clone().filter(|_| config.access.kube_auth == KubeAuth::Auto)?;
    config.environment.cluster.as_ref()?;
    let connected = async {
        let other = connect_by(AuthMethod::Eks, None, config, patience).await.map_err(|error| CallError::chain(&error))?;
        if other.place.issuer != refused.place.issuer {
            return Err(format!("EKS cluster `{}` is another one", config.environment.cluster.as_ref().map_or("", ClusterName::as_str)));
        }
        let namespace = &other.place.namespace;
        let readable = patience.call(LIST, async || other.kubernetes.service_accounts_in(namespace).await).await;
        readable.map_err(|error| error.to_string())?;
        Ok(Connection { own: Some(own), ..other })
    };
    Some(connected.await)
}

async fn connect_by(
    access: AuthMethod,
    token: Option<MountedToken>,
    config: &Config,
    patience: &Patience,
) -> Result<Connection, ConnectError> {
    http::install_crypto();
    let http = http::client()?;
    let qovery = config.qovery.as_ref().map(|access| Qovery::new(access, &http));
    let config::Access { assume_role, external_id, .. } = &config.access;
    let aws = Aws::new(config.environment.region.as_ref(), assume_role.as_ref(), external_id.as_ref(), &http).await?;
    let described = match access {
        AuthMethod::Eks => Some(describe(config, &aws, patience).await?),
        AuthMethod::Kubeconfig | AuthMethod::Token => None,
    };
    let kubernetes = match (access, &token, &described) {
        (AuthMethod::Token, Some(token), _) => Kubernetes::by_mounted_token(token)?,
        (AuthMethod::Eks, _, Some((name, cluster))) => {
            let doing = format!("make a token for cluster `{name}`");
            let bearer = patience.call(CALLER, async || aws.cluster_bearer(name).await).await.map_err(Failed::to(doing, CALLER))?;
            Kubernetes::by_bearer_token(&cluster.endpoint, &cluster.certificate_authority, move || bearer.token())?
        }
        // It may name a program that is to give the credentials.
        _ => patience.within(Kubernetes::by_kubeconfig()).await.ok_or_else(|| ConnectError::Slow(patience.seconds()))??,
    };
    // A token lies about for the kubeconfig of another cluster; only the one in use speaks for it.
    let token = token.filter(|_| access == AuthMethod::Token).map(|token| token.issuer_and_account()).transpose()?;
    if let Some((_, own)) = token.as_ref().filter(|(_, own)| own.namespace != config.environment.namespace) {
        return Err(ConnectError::OtherNamespace { own: own.namespace.clone(), named: config.environment.namespace.clone() });
    }
    let (token_issuer, own) = token.unzip();
    let (described_issuer, described_account) = described.map(|(_, cluster)| (cluster.issuer, cluster.account)).unwrap_or_default();
    // Known to be another's than IAM's, or known at all, only where it was told.
    let cluster_account = match (&described_account, assume_role) {
        (Some(account), _) => Some(account.clone()),
        (None, Some(_)) if config.identities.iter().any(|identity| identity.binding.audience().is_none()) => {
            let account = patience.call(CALLER, async || aws.own_account().await).await;
            Some(account.map_err(Failed::to("ask which account the cluster is in", CALLER))?)
        }
        (None, _) => None,
    };
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
        region: aws.region().parse().ok(),
        cluster_account,
        paths: config.paths.clone(),
        job: config.environment.job.clone(),
        project: config.environment.project_id.as_deref().and_then(ProjectMark::of_project),
    };
    let account = assume_role.as_ref().map(|role| role.account.clone()).or(described_account);
    Ok(Connection { aws, kubernetes, qovery, place, account, own, stated: stated.filter(|_| !confirmed) })
}

/// `KUBECONFIG` if set, else the mounted token, else EKS.
fn choose(config: &Config, token: Option<&MountedToken>) -> Result<AuthMethod, ConnectError> {
    match config.access.kube_auth {
        KubeAuth::Auto if std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty()) => Ok(AuthMethod::Kubeconfig),
        KubeAuth::Auto | KubeAuth::Token if token.is_some() => Ok(AuthMethod::Token),
        KubeAuth::Token => Err(ConnectError::NoToken(config.access.kube_token_directory.display().to_string())),
        KubeAuth::Kubeconfig => Ok(AuthMethod::Kubeconfig),
        KubeAuth::Auto | KubeAuth::Eks => Ok(AuthMethod::Eks),
    }
}

async fn describe(config: &Config, aws: &Aws, patience: &Patience) -> Result<(ClusterName, Cluster), ConnectError> {
    let name = config.environment.cluster.clone().ok_or(ConnectError::NoCluster)?;
    let cluster = described(&name, aws, patience).await?;
    Ok((name, cluster))
}
