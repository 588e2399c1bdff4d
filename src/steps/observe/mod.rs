//! The second step: see what is there. Nothing is changed. In parallel, in two rounds: whether things are there, then what is in them.
//!
//! With the things that identities name comes the ledger: what the environment's job has made, known without the manifest.

mod associations;
mod observer;

use futures_util::future::try_join_all;

use self::{
    associations::{Found, unlooked},
    observer::{Asked, FirstRound, Ledger, Observer, PODS, Pod, SeenOfPods, Tokens, known_account, nothing, roles},
};
use crate::{
    clients::{
        call::{Failed, Patience},
        kubernetes::NAMESPACES,
    },
    model::{
        arn::RoleArn,
        association::KnownAgent,
        identity::Identity,
        names::Namespace,
        observed::{KnownProvider, Limits, Observed, ObservedRole, Owner},
        service::ObservedService,
    },
    steps::connect::Connection,
};

/// Sees role and ServiceAccount of each identity, the ledger, the OIDC provider, and the services of the environment if any is to be bound.
///
/// # Errors
/// AWS or Kubernetes refuses or does not answer.
pub async fn wanted(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let of_identities = async {
        let first = observer.first_round(identities, connection.place.environment_paths()).await?;
        observer.second_round(first, identities).await
    };
    let (seen, pods, services) =
        tokio::join!(of_identities, observer.pod_identity(identities, Asked::No), observer.services_to_bind(identities));
    let seen = observer.with_associations(identities, with_pods(seen?, pods?)).await?;
    let seen = observer.with_pods_of_associations(identities, seen).await?;
    Ok(with_services(seen, services, identities))
}

/// Sees the same, and whether the namespace is being deleted. That this cannot be seen is no error: then it is not known to be.
///
/// # Errors
/// AWS or Kubernetes refuses or does not answer.
pub async fn wanted_and_namespace(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let (seen, namespace_ends) = tokio::join!(wanted(identities, connection, patience), observer.namespace_ends());
    Ok(Observed { namespace_ends, ..seen? })
}

/// Sees the same, and which sessions pods get.
///
/// If each identity's pods get one, the provider is not read: STS gives a session only if the provider is there and knows the audience.
///
/// # Errors
/// AWS or Kubernetes refuses or does not answer. That a pod gets no session is no error here.
pub async fn wanted_and_sessions(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let web_identities = identities.iter().filter(|identity| identity.binding.audience().is_some());
    let of_identities = async {
        let tokens = async { Ok(observer.tokens(identities).await) };
        let (first, Tokens { tokens, namespace_ends }) =
            tokio::try_join!(observer.first_round(identities, connection.place.environment_paths()), tokens)?;
        let pods: Vec<Pod<'_>> = identities.iter().filter_map(|identity| observer.pod(identity, &first.roles, &tokens)).collect();
        let sessions = async { Ok(observer.sessions(pods).await) };
        if first.roles.len() < roles(identities, connection).len() || tokens.len() < web_identities.clone().count() {
            let (seen, sessions) = tokio::try_join!(observer.second_round(first, identities), sessions)?;
            return Ok(Observed { namespace_ends, sessions, ..seen });
        }
        let unnamed = first.unnamed(identities, connection);
        let FirstRound { roles, service_accounts, unread, .. } = first;
        let ledger = async {
            let account = observer.account(known_account(&roles)).await?;
            let ledger = observer.ledger(&unnamed, &account).await?;
            Ok((account, ledger))
        };
        let (mut seen, sessions, (account, ledger)) = tokio::try_join!(observer.policies_of(&roles), sessions, ledger)?;
        let mut shown = web_identities.clone().map(|identity| sessions.has(&identity.service_account.name)).peekable();
        let provider = if shown.peek().is_some() && shown.all(|shown| shown) {
            KnownProvider::ShownBySessions
        } else {
            observer.provider_of(identities, &account).await?
        };
        let Ledger { roles: made, unread: unread_roles } = ledger;
        seen.extend(made.into_iter().map(|role| (role.arn.name.clone(), role)));
        Ok(Observed { provider, roles: seen, service_accounts, namespace_ends, unread, unread_roles, sessions, ..nothing(account) })
    };
    let (seen, pods, services) =
        tokio::join!(of_identities, observer.pod_identity(identities, Asked::AtOnce), observer.services_to_bind(identities));
    let seen = observer.with_associations(identities, with_pods(seen?, pods?)).await?;
    let seen = observer.with_pods_of_associations(identities, seen).await?;
    Ok(with_services(seen, services, identities))
}

/// Sees what one environment has made: the roles and ServiceAccounts of each identity, and the ledger, with all that is in the roles.
///
/// # Errors
/// AWS or Kubernetes refuses or does not answer.
pub async fn made(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let seen = observer.made(identities).await?;
    observer.with_all_associations(identities, seen).await
}

/// Sees the same, and the pods of the namespace.
///
/// # Errors
/// AWS or Kubernetes refuses or does not answer.
pub async fn made_and_pods(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let pods =
        observer.call("list the pods of the namespace", PODS, async || connection.kubernetes.pods_in(&connection.place.namespace).await);
    let (seen, pods) = tokio::try_join!(made(identities, connection, patience), pods)?;
    Ok(Observed { uses: Some(pods), ..seen })
}

/// Sees the same, and who uses it: pods, what makes pods, and services of Qovery if it is asked. Where any of these cannot be seen, nobody is
/// known to use nothing.
///
/// # Errors
/// AWS or Kubernetes refuses or does not answer.
pub async fn leaving(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let of_environment = async {
        let seen = observer.made(identities).await?;
        observer.with_associations(identities, seen).await
    };
    let (seen, uses) = tokio::join!(of_environment, observer.uses());
    let mut seen = seen?;
    match uses {
        Ok(uses) => seen.uses = Some(uses),
        Err(failed) => {
            seen.unread.push(format!("what has left the manifest stays: it cannot be seen who uses it: {failed}: {}", failed.source));
        }
    }
    Ok(seen)
}

/// Sees what a sweep may remove: first what is in AWS, then which namespaces exist, so that an environment that is just being made
/// is never taken for one that is gone.
///
/// # Errors
/// AWS refuses or does not answer. That the namespaces cannot be listed is no error here: then they are not known.
pub async fn left(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let (mut seen, listed, associations) =
        tokio::try_join!(observer.named(identities), observer.below_the_clusters_paths(), observer.all_associations(identities))?;
    let namespaces = patience.call(NAMESPACES, async || connection.kubernetes.namespaces().await).await.ok();
    let gone = listed
        .iter()
        .filter(|role| namespace_of(role).is_some_and(|namespace| namespaces.as_ref().is_some_and(|exist| !exist.contains(&namespace))));
    let roles = try_join_all(gone.map(async |role| observer.whole_role(&role.name).await));
    seen.left_behind = roles.await?.into_iter().flatten().collect();
    seen.unread.extend(unlooked(&associations, &seen.left_behind));
    if let Found::Read(listed) = &associations {
        seen = observer.with_left_associations(listed, namespaces.as_ref(), seen).await?;
    }
    seen.users = observer.users(&seen.roles).await?;
    seen.limits.namespaces = namespaces;
    Ok(seen)
}

/// Sees what belongs to the issuer of the place, which no longer exists: roles of environments, the roles of identities, the provider.
///
/// # Errors
/// AWS refuses or does not answer.
pub async fn retired(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let (seen, listed) = tokio::try_join!(observer.named(identities), observer.below_the_clusters_paths())?;
    let roles = try_join_all(listed.iter().map(async |listed| observer.role(&listed.name).await)).await?;
    let of_issuer =
        |role: &ObservedRole| matches!(Owner::from_tags(&role.tags), Some(Owner::Identity(_, issuer)) if issuer == connection.place.issuer);
    let gone: Vec<ObservedRole> = roles.into_iter().flatten().filter(of_issuer).collect();
    let whole = try_join_all(gone.into_iter().map(async |role| observer.filled(role).await));
    let (left_behind, provider, users) = tokio::try_join!(whole, observer.provider(&seen.account), observer.users(&seen.roles))?;
    Ok(Observed { provider, left_behind, users, ..seen })
}

/// The namespace at the end of the path of one environment's role.
fn namespace_of(role: &RoleArn) -> Option<Namespace> {
    role.path.as_str().strip_suffix('/')?.rsplit('/').next()?.parse().ok()
}

fn with_pods(seen: Observed, SeenOfPods { associations, pods, sessions, namespace_ends }: SeenOfPods) -> Observed {
    let namespace_ends = seen.namespace_ends || namespace_ends;
    Observed { associations, pods, sessions: seen.sessions.clone().and(sessions), namespace_ends, ..seen }
}

/// With the services; that they cannot be seen costs a note, never a deploy. Where there is no token the configuration has said so.
fn with_services(seen: Observed, services: Result<Option<Vec<ObservedService>>, Failed>, identities: &[Identity]) -> Observed {
    match services {
        Ok(Some(services)) => Observed { services, ..seen },
        Ok(None) => Observed { services_unseen: true, ..seen },
        Err(failed) => {
            let by_hand = identities.iter().flat_map(Identity::bindings);
            let by_hand = by_hand.map(|wanted| format!("`{}` to `{}`", wanted.service, wanted.service_account)).collect::<Vec<_>>();
            let note = format!(
                "the services are not bound, since Qovery cannot be asked: {failed}: {}. Left to do, where it is not so: mend that and deploy again; or set `security.service_account_name` in the console, of {}, and deploy them",
                failed.source,
                by_hand.join(", ")
            );
            Observed { services_unseen: true, unread: seen.unread.into_iter().chain([note]).collect(), ..seen }
        }
    }
}

/// Looks up whether the cluster can give pods the credentials of associations.
///
/// # Errors
/// EKS does not answer. That it may not be asked is an answer.
pub async fn agent(connection: &Connection, patience: &Patience) -> Result<KnownAgent, Failed> {
    Observer { connection, patience }.agent().await
}

/// Looks up what a role that outgrows the default quota is judged by.
///
/// # Errors
/// IAM refuses or does not answer. That the namespaces may not be listed is no error.
pub async fn limits(connection: &Connection, patience: &Patience) -> Result<Limits, Failed> {
    let observer = Observer { connection, patience };
    let (quotas, namespaces) = tokio::join!(
        observer.call("read the account's quotas", "iam:GetAccountSummary", async || connection.aws.role_quotas().await),
        patience.call(NAMESPACES, async || connection.kubernetes.namespaces().await),
    );
    let (trust_policy, attached_policies) = quotas?;
    Ok(Limits { trust_policy: Some(trust_policy), attached_policies: Some(attached_policies), namespaces: namespaces.ok() })
}
