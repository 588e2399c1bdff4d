//! Before all of an issuer is removed: whether a cluster still has it. What cannot be found out is refused.

use futures_util::future::try_join_all;

use crate::{
    clients::call::{Failed, Patience},
    model::oidc::IssuerUrl,
    plan::{Refusal, Refusals},
    steps::{StepError, connect::Connection},
};

/// Refuses an issuer that a cluster has which can be reached: the job's own, or one that EKS lists in the region.
///
/// # Errors
/// A cluster has it, or EKS refuses to say or does not answer.
pub(crate) async fn refuse_alive(issuer: &IssuerUrl, connection: &Connection, patience: &Patience) -> Result<(), StepError> {
    let alive = |cluster: String| Refusals(vec![Refusal::IssuerAlive { issuer: issuer.clone(), cluster }]);
    if connection.place.issuer == *issuer {
        return Err(alive("the cluster that is reached".to_owned()).into());
    }
    let aws = &connection.aws;
    let list = "eks:ListClusters";
    let names = patience.call(list, async || aws.clusters().await).await.map_err(Failed::to("list the clusters of the region", list))?;
    let describe = "eks:DescribeCluster";
    let issuers = names.into_iter().map(async |name| {
        let described = patience.call(describe, async || aws.issuer_of(&name).await).await;
        Ok::<_, Failed>((name.clone(), described.map_err(Failed::to(format!("describe EKS cluster `{name}`"), describe))?))
    });
    match try_join_all(issuers).await?.into_iter().find(|(_, found)| found.as_ref() == Some(issuer)) {
        Some((name, _)) => Err(alive(format!("EKS cluster `{name}`")).into()),
        None => Ok(()),
    }
}
