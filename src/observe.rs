//! The second step: see what is there. Reads only, in parallel, in two rounds.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use crate::{
    call::{CallError, Failed, Patience},
    connect::Connection,
    model::{
        arn::RoleArn,
        identity::{Identity, RoleOrigin, Scope},
        names::{Namespace, PolicyName, RoleName, ServiceAccountName, Subject},
        observed::{Limits, Observed, ObservedProvider, ObservedRole, ObservedServiceAccount},
        oidc::Provider,
        service::{ObservedService, Service},
    },
};

/// Sees the OIDC provider, and the role and the ServiceAccount of each identity.
///
/// # Errors
/// A service refuses or does not answer.
pub async fn observe(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let wanted = roles(identities, connection);
    let (roles, service_accounts) = tokio::try_join!(
        try_join_all(wanted.iter().map(|(name, wanted)| observer.role(name, *wanted))),
        try_join_all(identities.iter().map(|identity| observer.service_account(connection.place.subject(identity)))),
    )?;
    let roles: Vec<SeenRole<'_>> = roles.into_iter().flatten().collect();
    let account = match roles.first() {
        // The account of a role saves the call that asks for it.
        Some(seen) => seen.role.arn.account.clone(),
        None => observer.call("ask who the job is for AWS", "sts:GetCallerIdentity", async || connection.aws.account().await).await?,
    };
    let provider = Provider::of(&connection.place.issuer, &account);
    let (provider, roles) =
        tokio::try_join!(observer.provider(&provider), try_join_all(roles.into_iter().map(|seen| observer.documents(seen))))?;
    Ok(Observed {
        account,
        provider,
        roles: roles.into_iter().collect(),
        service_accounts: service_accounts.into_iter().flatten().collect(),
        left_behind: Vec::new(),
        services: Vec::new(),
        limits: Limits::default(),
    })
}

/// Sees the same, and the services of the environment if any is to be bound.
///
/// # Errors
/// A service refuses or does not answer.
pub async fn observe_with_services(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let of_qovery = Observer { connection, patience };
    let (observed, services) = tokio::try_join!(observe(identities, connection, patience), of_qovery.services(identities))?;
    Ok(Observed { services, ..observed })
}

/// Sees what a sweep may remove: first what is in AWS, then which namespaces exist, so that an environment that is just being made
/// is never taken for one that is gone.
///
/// # Errors
/// AWS refuses or does not answer. That the namespaces cannot be listed is no error here: then they are not known.
pub async fn observe_leftovers(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let place = &connection.place;
    let paths = identities.iter().filter_map(|identity| match (&identity.role.origin, &identity.role.scope) {
        (RoleOrigin::Made(role), Scope::Environment) => Some(place.cluster_path(&role.path)),
        _ => None,
    });
    let paths: BTreeSet<String> = paths.collect();
    let listed = paths.iter().map(async |path| {
        let doing = format!("list the roles below `{path}`");
        let roles = observer.call(doing, "iam:ListRoles", async || connection.aws.roles_below(path).await).await?;
        Ok::<_, Failed>(roles.into_iter().filter_map(|role| Some((namespace_of(&role, path)?, role.name))).collect::<Vec<_>>())
    });
    let (mut seen, listed) = tokio::try_join!(observe(identities, connection, patience), try_join_all(listed))?;
    let namespaces = patience.call(NAMESPACES, async || connection.kubernetes.namespaces().await).await.ok();
    let gone = listed.into_iter().flatten().filter(|(namespace, _)| namespaces.as_ref().is_some_and(|exist| !exist.contains(namespace)));
    let no_documents = BTreeMap::new();
    let roles = try_join_all(gone.map(async |(_, name)| observer.role(&name, Some(&no_documents)).await)).await?;
    seen.left_behind = roles.into_iter().flatten().map(|seen| seen.role).collect();
    seen.limits.namespaces = namespaces;
    Ok(seen)
}

/// The namespace in the path of a role below `<path>/<cluster>/`.
fn namespace_of(role: &RoleArn, below: &str) -> Option<Namespace> {
    role.path.as_str().strip_prefix(below)?.strip_suffix('/')?.parse().ok()
}

/// Looks up what a role that outgrows the default quota is judged by.
///
/// # Errors
/// IAM refuses or does not answer. That the namespaces may not be listed is no error.
pub async fn limits(connection: &Connection, patience: &Patience) -> Result<Limits, Failed> {
    let observer = Observer { connection, patience };
    let (trust_policy, namespaces) = tokio::join!(
        observer.call("read the account's quotas", "iam:GetAccountSummary", async || connection.aws.trust_policy_quota().await),
        patience.call(NAMESPACES, async || connection.kubernetes.namespaces().await),
    );
    Ok(Limits { trust_policy: Some(trust_policy?), namespaces: namespaces.ok() })
}

/// The roles to look for; for those that the tool makes also which inline policies are wanted.
type Wanted<'a> = Option<&'a BTreeMap<PolicyName, serde_json::Value>>;

fn roles<'a>(identities: &'a [Identity], connection: &Connection) -> BTreeMap<RoleName, Wanted<'a>> {
    let wanted = |identity: &'a Identity| match &identity.role.origin {
        RoleOrigin::Made(role) => Some(&role.inline_policies),
        RoleOrigin::Given(_) => None,
    };
    identities.iter().map(|identity| (connection.place.role_name(identity), wanted(identity))).collect()
}

/// A role before the documents of its inline policies were read.
struct SeenRole<'a> {
    /// The name it was looked for by: IAM ignores case.
    name: RoleName,
    role: ObservedRole,
    wanted: Wanted<'a>,
}

const NAMESPACES: &str = "kubernetes:list namespaces";

struct Observer<'a> {
    connection: &'a Connection,
    patience: &'a Patience,
}

impl Observer<'_> {
    async fn call<T>(
        &self,
        doing: impl Into<String>,
        call: &'static str,
        attempt: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, Failed> {
        self.patience.call(call, attempt).await.map_err(Failed::to(doing, call))
    }

    async fn role<'a>(&self, name: &RoleName, wanted: Wanted<'a>) -> Result<Option<SeenRole<'a>>, Failed> {
        let aws = &self.connection.aws;
        let found = self.call(format!("read role `{name}`"), "iam:GetRole", async || aws.role(name).await);
        if wanted.is_none() {
            // Of a role given by ARN the permission policies are nobody's business here.
            return Ok(found.await?.map(|role| SeenRole { name: name.clone(), role, wanted }));
        }
        let (found, attached, inline) = tokio::try_join!(
            found,
            self.call(format!("list the policies attached to role `{name}`"), "iam:ListAttachedRolePolicies", async || {
                aws.attached_policies(name).await
            }),
            self.call(format!("list the inline policies of role `{name}`"), "iam:ListRolePolicies", async || aws
                .inline_policies(name)
                .await),
        )?;
        let inline_policies = inline.into_iter().map(|policy| (policy, None)).collect();
        Ok(found.map(|role| SeenRole { name: name.clone(), role: ObservedRole { attached, inline_policies, ..role }, wanted }))
    }

    /// Reads the documents of the inline policies that are wanted.
    async fn documents(&self, mut seen: SeenRole<'_>) -> Result<(RoleName, ObservedRole), Failed> {
        let (aws, name) = (&self.connection.aws, &seen.name);
        let wanted =
            seen.role.inline_policies.iter_mut().filter(|(policy, _)| seen.wanted.is_some_and(|wanted| wanted.contains_key(*policy)));
        try_join_all(wanted.map(async |(policy, document)| {
            let doing = format!("read inline policy `{policy}` of role `{name}`");
            *document = self.call(doing, "iam:GetRolePolicy", async || aws.inline_policy(name, policy).await).await?;
            Ok(())
        }))
        .await?;
        Ok((seen.name, seen.role))
    }

    async fn provider(&self, provider: &Provider) -> Result<Option<ObservedProvider>, Failed> {
        let doing = format!("read OIDC provider `{}`", provider.issuer.host_and_path());
        self.call(doing, "iam:GetOpenIDConnectProvider", async || self.connection.aws.provider(&provider.arn).await).await
    }

    /// All services, and the ServiceAccounts of those that are to be bound.
    async fn services(&self, identities: &[Identity]) -> Result<Vec<ObservedService>, Failed> {
        let Some(qovery) = &self.connection.qovery else { return Ok(Vec::new()) };
        let doing = format!("list the services of environment `{}`", qovery.environment());
        let services = self.call(doing, "qovery:GET /environment/{id}/services", async || qovery.services().await).await?;
        let wanted = |service: &Service| {
            service.kind.can_be_bound()
                && identities.iter().any(|identity| identity.services.services.iter().any(|name| name.means(service)))
        };
        try_join_all(services.into_iter().map(async |service| {
            let service_account = if wanted(&service) {
                let doing = format!("read the advanced settings of {service}");
                let call = "qovery:GET /{service}/{id}/advancedSettings";
                self.call(doing, call, async || qovery.service_account_of(&service).await).await?
            } else {
                None
            };
            Ok(ObservedService { service, service_account })
        }))
        .await
    }

    async fn service_account(&self, subject: Subject) -> Result<Option<(ServiceAccountName, ObservedServiceAccount)>, Failed> {
        let doing = format!("read ServiceAccount `{subject}`");
        let found =
            self.call(doing, "kubernetes:get serviceaccounts", async || self.connection.kubernetes.service_account(&subject).await).await?;
        Ok(found.map(|found| (subject.service_account, found)))
    }
}
