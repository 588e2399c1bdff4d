//! Whose tokens the cluster issues, and whether that is the cluster that is meant: what is of one cluster must not be judged by another.

use super::{connection::Connection, error::ConnectError};
use crate::{
    clients::{
        aws::{Aws, Cluster},
        call::{ErrorKind, Failed, Patience},
        kubernetes::{self, Kubernetes},
    },
    config::Config,
    model::{
        api_server::Likeness,
        names::{ClusterName, Namespace},
        oidc::IssuerUrl,
        place::Place,
    },
};

const DESCRIBE: &str = "eks:DescribeCluster";
const DISCOVER: &str = "kubernetes:get /.well-known/openid-configuration";
/// Sources of an issuer, as people know them.
pub(crate) const STATED: &str = "`IRSA_OIDC_ISSUER`";
pub(crate) const MOUNTED: &str = "the mounted token";
pub(crate) const EKS: &str = "EKS";
const DISCOVERY: &str = "the cluster's discovery document";
const TOKEN: &str = "a token of the cluster";

impl Connection {
    /// Compares the issuer that `IRSA_OIDC_ISSUER` states with the cluster's own, where that was not done when connecting. Only before
    /// something is changed: what changes nothing does without these calls. Answers why it could not be compared.
    ///
    /// # Errors
    /// The cluster has another issuer, or does not answer.
    pub async fn confirm_issuer(&self, patience: &Patience) -> Result<Option<String>, ConnectError> {
        let Some(stated) = &self.stated else { return Ok(None) };
        let discovered = discovered(&self.kubernetes, patience).await;
        let (source, own) = match discovered {
            Ok(issuer) => (DISCOVERY, issuer),
            Err(Undiscovered { failed, closed, strange }) if closed || strange => {
                match own_issuer(&self.aws, &self.kubernetes, &self.place, patience).await? {
                    Some(own) => own,
                    None => {
                        return Ok(Some(format!(
                            "{STATED} is taken as it is, since the cluster does not say its issuer: {}",
                            failed.source
                        )));
                    }
                }
            }
            Err(Undiscovered { failed, .. }) => return Err(failed.into()),
        };
        agreed([(STATED, Some(stated.clone())), (source, Some(own))]).map(|_| None)
    }
}

/// The issuer of a cluster that shows no discovery document: of a token that it gives, else of the EKS cluster that it is for certain.
async fn own_issuer(
    aws: &Aws,
    kubernetes: &Kubernetes,
    place: &Place,
    patience: &Patience,
) -> Result<Option<(&'static str, IssuerUrl)>, ConnectError> {
    if let Some(issuer) = issuer_by_token(kubernetes, &place.namespace, patience).await? {
        return Ok(Some((TOKEN, issuer)));
    }
    let Some(name) = &place.cluster else { return Ok(None) };
    // Whether the job may describe it does not matter: then nobody says more than what is stated.
    let Ok(cluster) = described(name, aws, patience).await else { return Ok(None) };
    match likeness(kubernetes, &cluster)? {
        Likeness::Same => Ok(cluster.issuer.map(|issuer| (EKS, issuer))),
        Likeness::Other | Likeness::Unknown => Err(ConnectError::OtherCluster { cluster: name.clone(), endpoint: cluster.endpoint }),
    }
}

/// None if the cluster gives the job no token.
async fn issuer_by_token(kubernetes: &Kubernetes, namespace: &Namespace, patience: &Patience) -> Result<Option<IssuerUrl>, Failed> {
    match patience.call(kubernetes::TOKEN, async || kubernetes.issuer_by_token(namespace).await).await {
        Ok(issuer) => Ok(Some(issuer)),
        Err(error) if error.kind.passes() || error.kind == ErrorKind::Throttled => {
            Err(Failed::to("learn the cluster's OIDC issuer from a token", kubernetes::TOKEN)(error))
        }
        Err(_) => Ok(None),
    }
}

fn likeness(kubernetes: &Kubernetes, described: &Cluster) -> Result<Likeness, ConnectError> {
    let described = kubernetes::described_server(&described.endpoint, &described.certificate_authority)?;
    Ok(kubernetes.server().likeness(&described))
}

/// Why there is no discovery document.
struct Undiscovered {
    failed: Failed,
    /// The job may not read it, or there is none.
    closed: bool,
    /// An API server without the document answers in plain text, and so may something else in its place.
    strange: bool,
}

async fn discovered(kubernetes: &Kubernetes, patience: &Patience) -> Result<IssuerUrl, Undiscovered> {
    let discovered = patience.call(DISCOVER, async || kubernetes.issuer().await).await;
    discovered.map_err(|error| {
        let closed = error.kind.is_denied() || error.kind.is_missing() || matches!(error.kind, ErrorKind::Admission(_));
        let strange = error.is_foreign && error.kind == ErrorKind::Other;
        Undiscovered { failed: Failed::to("read the cluster's OIDC issuer", DISCOVER)(error), closed, strange }
    })
}

/// The cluster's discovery document; where it may not be read or there is none, EKS.
pub(crate) async fn discover(config: &Config, aws: &Aws, kubernetes: &Kubernetes, patience: &Patience) -> Result<IssuerUrl, ConnectError> {
    let Undiscovered { failed, closed, strange } = match discovered(kubernetes, patience).await {
        Ok(issuer) => return Ok(issuer),
        Err(undiscovered) => undiscovered,
    };
    if let Some(name) = config.environment.cluster.as_ref().filter(|_| closed || strange) {
        match described(name, aws, patience).await {
            Ok(cluster) if cluster.issuer.is_some() => {
                return match of_described(name, cluster, &config.environment.namespace, kubernetes, patience).await {
                    // What does not speak as an API server does is no cluster at all.
                    Err(ConnectError::OtherCluster { .. }) if !speaks_kubernetes(&failed) => Err(failed.into()),
                    issuer => issuer?.ok_or_else(|| failed.into()),
                };
            }
            Err(error) if closed => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
    Err(failed.into())
}

/// Whether a refusal is in the words of an API server.
fn speaks_kubernetes(refused: &Failed) -> bool {
    refused.source.kind.is_denied() || refused.source.kind.is_missing()
}

/// The issuer of the EKS cluster that is named, if it is the one that the kubeconfig leads to. Otherwise what is of one cluster would be
/// judged by the other.
async fn of_described(
    name: &ClusterName,
    cluster: Cluster,
    namespace: &Namespace,
    kubernetes: &Kubernetes,
    patience: &Patience,
) -> Result<Option<IssuerUrl>, ConnectError> {
    let own = match likeness(kubernetes, &cluster)? {
        Likeness::Same => None,
        Likeness::Unknown => Some(issuer_by_token(kubernetes, namespace, patience).await?),
        Likeness::Other => Some(None),
    };
    match own {
        Some(None) => Err(ConnectError::OtherCluster { cluster: name.clone(), endpoint: cluster.endpoint }),
        own => agreed([(EKS, cluster.issuer), (TOKEN, own.flatten())]),
    }
}

pub(crate) async fn described(name: &ClusterName, aws: &Aws, patience: &Patience) -> Result<Cluster, Failed> {
    let doing = format!("describe EKS cluster `{name}`");
    patience.call(DESCRIBE, async || aws.cluster(name).await).await.map_err(Failed::to(doing, DESCRIBE))
}

/// What sources say that know it, which must be the same.
pub(crate) fn agreed(sources: impl IntoIterator<Item = (&'static str, Option<IssuerUrl>)>) -> Result<Option<IssuerUrl>, ConnectError> {
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
