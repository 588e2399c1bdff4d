//! The second step: see what is there. Nothing is changed. In parallel, in two rounds: whether things are there, then what is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};

use crate::{
    aws::ASSUME,
    call::{CallError, Failed, Patience},
    connect::Connection,
    kubernetes::TOKEN,
    model::{
        arn::{Account, RoleArn},
        identity::{Identity, RoleOrigin, Scope},
        names::{Namespace, PolicyName, RoleName, ServiceAccountName},
        observed::{Limits, Observed, ObservedProvider, ObservedRole, ObservedServiceAccount},
        oidc::{IssuerUrl, Provider},
        service::{ObservedService, Service},
        token::Claims,
    },
};

/// Sees role and ServiceAccount of each identity, the OIDC provider, and the services of the environment if any is to be bound.
///
/// # Errors
/// A service refuses or does not answer.
pub async fn wanted(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let of_identities = async {
        let (roles, service_accounts) = observer.first_round(identities).await?;
        observer.second_round(roles, service_accounts).await
    };
    let (seen, services) = tokio::try_join!(of_identities, observer.services(identities))?;
    Ok(Observed { services, ..seen })
}

/// Sees the same, and which sessions pods get.
///
/// If each identity's pods get one, the provider is not read: STS gives a session only if the provider is there and knows the audience.
///
/// # Errors
/// A service refuses or does not answer. That a pod gets no session is no error here.
pub async fn wanted_and_sessions(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let of_identities = async {
        let tokens = async { Ok(observer.tokens(identities).await) };
        let ((roles, service_accounts), tokens) = tokio::try_join!(observer.first_round(identities), tokens)?;
        let pods: Vec<Pod<'_>> = identities.iter().filter_map(|identity| observer.pod(identity, &roles, &tokens)).collect();
        if pods.len() < identities.len() {
            let (seen, sessions) =
                tokio::try_join!(observer.second_round(roles, service_accounts), async { Ok(observer.sessions(pods).await) })?;
            return Ok(Observed { sessions, ..seen });
        }
        let known = known_account(&roles);
        let (roles, sessions) = tokio::try_join!(observer.policies_of(roles), async { Ok(observer.sessions(pods).await) })?;
        let account = observer.account(known).await?;
        let provider = if sessions.len() == identities.len() {
            let audiences = identities.iter().map(|identity| identity.service_account.audience.as_str().to_owned()).collect();
            Some(ObservedProvider { audiences })
        } else {
            observer.provider(&account).await?
        };
        Ok(Observed { provider, roles, service_accounts, sessions, ..Observed::nothing(account) })
    };
    let (seen, services) = tokio::try_join!(of_identities, observer.services(identities))?;
    Ok(Observed { services, ..seen })
}

/// Sees the role and the ServiceAccount of each identity.
///
/// # Errors
/// A service refuses or does not answer.
pub async fn made(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let (roles, service_accounts) = observer.first_round(identities).await?;
    let (account, roles) = tokio::try_join!(observer.account(known_account(&roles)), observer.policies_of(roles))?;
    Ok(Observed { roles, service_accounts, ..Observed::nothing(account) })
}

/// Sees what a sweep may remove: first what is in AWS, then which namespaces exist, so that an environment that is just being made
/// is never taken for one that is gone.
///
/// # Errors
/// AWS refuses or does not answer. That the namespaces cannot be listed is no error here: then they are not known.
pub async fn left(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
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
    let (mut seen, listed) = tokio::try_join!(made(identities, connection, patience), try_join_all(listed))?;
    let namespaces = patience.call(NAMESPACES, async || connection.kubernetes.namespaces().await).await.ok();
    let gone = listed.into_iter().flatten().filter(|(namespace, _)| namespaces.as_ref().is_some_and(|exist| !exist.contains(namespace)));
    let no_documents = BTreeMap::new();
    let roles = try_join_all(gone.map(async |(_, name)| {
        let Some(role) = observer.role(&name).await? else { return Ok::<_, Failed>(None) };
        observer.policies(SeenRole { name, role, wanted: Some(&no_documents) }).await.map(Some)
    }));
    seen.left_behind = roles.await?.into_iter().flatten().map(|(_, role)| role).collect();
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

/// The account of a role that was seen, which saves asking for it.
fn known_account(roles: &[SeenRole<'_>]) -> Option<Account> {
    roles.first().map(|seen| seen.role.arn.account.clone())
}

/// The ServiceAccounts that were seen.
type ServiceAccounts = BTreeMap<ServiceAccountName, ObservedServiceAccount>;

/// A role before its permission policies were read.
struct SeenRole<'a> {
    /// The name it was looked for by: IAM ignores case.
    name: RoleName,
    role: ObservedRole,
    wanted: Wanted<'a>,
}

/// What a pod shows STS: the token of its ServiceAccount, for the role of its annotation.
struct Pod<'a> {
    service_account: &'a ServiceAccountName,
    token: &'a str,
    role: RoleArn,
}

const NAMESPACES: &str = "kubernetes:list namespaces";

/// A look does not wait longer for what a pod gets: what is not known by then is found out when all is in place.
const EARLY: Duration = Duration::from_secs(2);

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

    /// The account that the credentials act in, known already or asked for.
    async fn account(&self, known: Option<Account>) -> Result<Account, Failed> {
        match known.or_else(|| self.connection.account.clone()) {
            Some(account) => Ok(account),
            None => self.call("ask who the job is for AWS", "sts:GetCallerIdentity", async || self.connection.aws.account().await).await,
        }
    }

    /// Whether the things are there.
    async fn first_round<'a>(&self, identities: &'a [Identity]) -> Result<(Vec<SeenRole<'a>>, ServiceAccounts), Failed> {
        tokio::try_join!(self.roles(identities), self.service_accounts(identities))
    }

    /// What is in the roles, and the provider.
    async fn second_round(&self, roles: Vec<SeenRole<'_>>, service_accounts: ServiceAccounts) -> Result<Observed, Failed> {
        let known = known_account(&roles);
        let account_and_provider = async {
            let account = self.account(known).await?;
            let provider = self.provider(&account).await?;
            Ok((account, provider))
        };
        let (roles, (account, provider)) = tokio::try_join!(self.policies_of(roles), account_and_provider)?;
        Ok(Observed { provider, roles, service_accounts, ..Observed::nothing(account) })
    }

    async fn roles<'a>(&self, identities: &'a [Identity]) -> Result<Vec<SeenRole<'a>>, Failed> {
        let found = roles(identities, self.connection).into_iter().map(async |(name, wanted)| {
            let role = self.role(&name).await?;
            Ok(role.map(|role| SeenRole { name, role, wanted }))
        });
        Ok(try_join_all(found).await?.into_iter().flatten().collect())
    }

    async fn role(&self, name: &RoleName) -> Result<Option<ObservedRole>, Failed> {
        self.call(format!("read role `{name}`"), "iam:GetRole", async || self.connection.aws.role(name).await).await
    }

    async fn policies_of(&self, roles: Vec<SeenRole<'_>>) -> Result<BTreeMap<RoleName, ObservedRole>, Failed> {
        Ok(try_join_all(roles.into_iter().map(|seen| self.policies(seen))).await?.into_iter().collect())
    }

    /// Reads the permission policies of a role that the tool makes, and the documents of those inline policies that are wanted. Of a role
    /// given by ARN they are nobody's business here.
    async fn policies(&self, seen: SeenRole<'_>) -> Result<(RoleName, ObservedRole), Failed> {
        let SeenRole { name, role, wanted } = seen;
        let Some(wanted) = wanted else { return Ok((name, role)) };
        let aws = &self.connection.aws;
        let documents = try_join_all(wanted.keys().map(async |policy| {
            let doing = format!("read inline policy `{policy}` of role `{name}`");
            let document = self.call(doing, "iam:GetRolePolicy", async || aws.inline_policy(&name, policy).await).await?;
            Ok(document.map(|document| (policy.clone(), Some(document))))
        }));
        let (attached, inline, documents) = tokio::try_join!(
            self.call(format!("list the policies attached to role `{name}`"), "iam:ListAttachedRolePolicies", async || {
                aws.attached_policies(&name).await
            }),
            self.call(format!("list the inline policies of role `{name}`"), "iam:ListRolePolicies", async || aws
                .inline_policies(&name)
                .await),
            documents,
        )?;
        let inline_policies = inline.into_iter().map(|policy| (policy, None)).chain(documents.into_iter().flatten()).collect();
        Ok((name, ObservedRole { attached, inline_policies, ..role }))
    }

    /// Tokens as pods get them, by ServiceAccount; of those that are there and give one at once. One of another issuer says nothing of this
    /// cluster's provider, and is left to the proof.
    async fn tokens<'a>(&self, identities: &'a [Identity]) -> BTreeMap<&'a ServiceAccountName, String> {
        let patience = self.patience.at_most(EARLY);
        let tokens = join_all(identities.iter().map(async |identity| {
            let (subject, audience) = (self.connection.place.subject(identity), &identity.service_account.audience);
            let token = patience.call(TOKEN, async || self.connection.kubernetes.token(&subject, audience).await).await;
            let claims = token.as_deref().ok().and_then(Claims::of)?;
            let here = claims.issuer.parse().is_ok_and(|issuer: IssuerUrl| issuer == self.connection.place.issuer);
            Some((&identity.service_account.name, token.ok().filter(|_| here)?))
        }));
        tokens.await.into_iter().flatten().collect()
    }

    /// What a pod of this identity shows STS, if there are a token and a role.
    fn pod<'a>(
        &self,
        identity: &'a Identity,
        roles: &[SeenRole<'_>],
        tokens: &'a BTreeMap<&ServiceAccountName, String>,
    ) -> Option<Pod<'a>> {
        let service_account = &identity.service_account.name;
        let name = self.connection.place.role_name(identity);
        let seen = roles.iter().find(|seen| seen.name == name)?;
        Some(Pod { service_account, token: tokens.get(service_account)?, role: seen.role.arn.clone() })
    }

    /// The sessions that STS gives pods at once, by ServiceAccount: the ARN of role and session.
    async fn sessions(&self, pods: Vec<Pod<'_>>) -> BTreeMap<ServiceAccountName, String> {
        let patience = self.patience.at_most(EARLY);
        let sessions = join_all(pods.into_iter().map(async |pod| {
            let session = patience.call(ASSUME, async || self.connection.aws.assume_with_token(&pod.role, pod.token).await).await;
            Some((pod.service_account.clone(), session.ok()?))
        }));
        sessions.await.into_iter().flatten().collect()
    }

    async fn provider(&self, account: &Account) -> Result<Option<ObservedProvider>, Failed> {
        let provider = Provider::of(&self.connection.place.issuer, account);
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

    async fn service_accounts(&self, identities: &[Identity]) -> Result<BTreeMap<ServiceAccountName, ObservedServiceAccount>, Failed> {
        let found = identities.iter().map(async |identity| {
            let subject = self.connection.place.subject(identity);
            let doing = format!("read ServiceAccount `{subject}`");
            let call = "kubernetes:get serviceaccounts";
            let found = self.call(doing, call, async || self.connection.kubernetes.service_account(&subject).await).await?;
            Ok(found.map(|found| (subject.service_account, found)))
        });
        Ok(try_join_all(found).await?.into_iter().flatten().collect())
    }
}
