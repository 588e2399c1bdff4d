//! The single reads of a look, and the two rounds that they are made in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::{join_all, try_join_all};

use crate::{
    clients::{
        aws::{ASSUME, ASSUME_FOR_POD},
        call::{CallError, Failed, Patience},
        kubernetes::{DAEMON_SETS, NAMESPACES, TOKEN},
        qovery::VariablesOf,
    },
    model::{
        agent::{AGENT, AddOn, Sight, Signs},
        arn::{Account, RoleArn},
        association::{KnownAgent, ObservedAssociation},
        date::Date,
        gather::Gather as _,
        identity::{Identity, RoleOrigin},
        names::{ClusterName, PolicyName, RoleName, ServiceAccountName, Subject},
        observed::{KnownProvider, Observed, ObservedRole, ObservedServiceAccount, Owner},
        oidc::{Audience, IssuerUrl, Provider},
        pods::{Use, running_pods},
        service::{ObservedService, Service},
        sessions::Sessions,
        token::Claims,
    },
    steps::connect::Connection,
};

/// The roles to look for; for those that the tool makes also which inline policies are wanted.
pub(super) type Wanted<'a> = Option<&'a BTreeMap<PolicyName, serde_json::Value>>;

pub(super) fn roles<'a>(identities: &'a [Identity], connection: &Connection) -> BTreeMap<RoleName, Wanted<'a>> {
    let wanted = |identity: &'a Identity| match &identity.role.origin {
        RoleOrigin::Managed(role) => Some(&role.attributes.inline_policies),
        RoleOrigin::Given(_) => None,
    };
    identities.iter().map(|identity| (connection.place.role_name(identity), wanted(identity))).gather()
}

/// The account of a role that was seen, which saves asking for it.
pub(super) fn known_account(roles: &[SeenRole<'_>]) -> Option<Account> {
    roles.first().map(|seen| seen.role.arn.account.clone())
}

/// The ServiceAccounts that were seen.
pub(super) type ServiceAccounts = BTreeMap<ServiceAccountName, ObservedServiceAccount>;

/// What is there, before it is looked into.
pub(super) struct FirstRound<'a> {
    /// The roles of identities.
    pub(super) roles: Vec<SeenRole<'a>>,
    /// All roles below the environment's paths.
    listed: Vec<RoleArn>,
    pub(super) service_accounts: ServiceAccounts,
    /// What could not be read, in words.
    pub(super) unread: Vec<String>,
}

impl FirstRound<'_> {
    /// The roles of the ledger that no identity names: those below the paths, and those that ServiceAccounts record.
    pub(super) fn unnamed(&self, identities: &[Identity], connection: &Connection) -> BTreeMap<String, RoleArn> {
        let named = roles(identities, connection);
        let is_named = |role: &RoleArn| named.keys().any(|name| name.as_str().eq_ignore_ascii_case(role.name.as_str()));
        let recorded = self.service_accounts.values().flat_map(|account| {
            let earlier = account.earlier_roles();
            account
                .role()
                .into_iter()
                .chain(account.associated_role())
                .chain(earlier.iter().map(|(role, _)| role.clone()).collect::<Vec<_>>())
        });
        let all = self.listed.iter().cloned().chain(recorded);
        all.filter(|role| !is_named(role)).map(|role| (role.to_string(), role)).gather()
    }
}

/// A role before its permission policies were read.
pub(super) struct SeenRole<'a> {
    /// The name it was looked for by: IAM ignores case.
    name: RoleName,
    role: ObservedRole,
    wanted: Wanted<'a>,
}

/// The roles of the ledger that no identity names.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) roles: Vec<ObservedRole>,
    /// Those that may not be read, and what the service said.
    pub(super) unread: BTreeMap<RoleArn, String>,
}

impl Ledger {
    fn add(&mut self, arn: RoleArn, found: Result<Option<ObservedRole>, String>) {
        match found {
            Ok(found) => self.roles.extend(found),
            Err(why) => drop(self.unread.insert(arn, why)),
        }
    }
}

/// What was read, or why it may not be: of a role that no identity names a denial is no failure.
fn readable<T>(read: Result<T, Failed>) -> Result<Result<T, String>, Failed> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(failed) if failed.source.kind.is_denied() => Ok(Err(format!("{failed}: {}", failed.source.code))),
        Err(failed) => Err(failed),
    }
}

/// The same of a sign of the agent.
fn sight<T>(read: Result<T, Failed>) -> Result<Sight<T>, Failed> {
    Ok(readable(read)?.map_or_else(Sight::Hidden, Sight::Read))
}

/// What a pod shows STS: the token of its ServiceAccount, for the role of its annotation.
pub(super) struct Pod<'a> {
    service_account: &'a ServiceAccountName,
    token: &'a str,
    role: RoleArn,
}

/// What a look learns by asking for tokens.
pub(super) struct Tokens<'a> {
    /// The tokens, by ServiceAccount.
    pub(super) tokens: BTreeMap<&'a ServiceAccountName, String>,
    /// Whether one was refused because the namespace is being deleted.
    pub(super) namespace_ends: bool,
}

const SERVICE_ACCOUNTS: &str = "kubernetes:list serviceaccounts";
pub(super) const PODS: &str = "kubernetes:list pods";
const LIST_ROLES: &str = "iam:ListRoles";

/// A look does not wait longer for what a pod gets: what is not known by then is found out when all is in place.
const EARLY: Duration = Duration::from_secs(2);

/// Whether sessions are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    AtOnce,
}

/// What was seen of EKS Pod Identity.
#[derive(Default)]
pub(super) struct SeenOfPods {
    pub(super) associations: Option<BTreeMap<ServiceAccountName, ObservedAssociation>>,
    pub(super) pods: Option<Vec<Use>>,
    pub(super) sessions: Sessions,
    /// Whether the namespace is being deleted, where no token of an identity by web identity tells.
    pub(super) namespace_ends: bool,
}

pub(super) struct Observer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) patience: &'a Patience,
}

impl Observer<'_> {
    pub(super) async fn call<T>(
        &self,
        doing: impl Into<String>,
        call: &'static str,
        attempt: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, Failed> {
        self.patience.call(call, attempt).await.map_err(Failed::to(doing, call))
    }

    /// The account that the credentials act in, known already or asked for.
    pub(super) async fn account(&self, known: Option<Account>) -> Result<Account, Failed> {
        match known.or_else(|| self.connection.account.clone()) {
            Some(account) => Ok(account),
            None => self.call("ask who the job is for AWS", "sts:GetCallerIdentity", async || self.connection.aws.account().await).await,
        }
    }

    /// Whether the things are there, and the ledger.
    pub(super) async fn first_round<'a>(&self, identities: &'a [Identity], paths: BTreeSet<String>) -> Result<FirstRound<'a>, Failed> {
        let (roles, listed, accounts) = tokio::try_join!(self.roles(identities), self.listed(&paths), self.service_accounts(identities))?;
        let ((listed, of_roles), (service_accounts, of_accounts)) = (listed, accounts);
        Ok(FirstRound { roles, listed, service_accounts, unread: of_roles.into_iter().chain(of_accounts).collect() })
    }

    /// What is in the roles, the ledger's among them, and the provider.
    pub(super) async fn second_round(&self, first: FirstRound<'_>, identities: &[Identity]) -> Result<Observed, Failed> {
        let unnamed = first.unnamed(identities, self.connection);
        let FirstRound { roles, service_accounts, unread, .. } = first;
        let around = async {
            let account = self.account(known_account(&roles)).await?;
            let (provider, ledger) = tokio::try_join!(self.provider_of(identities, &account), self.ledger(&unnamed, &account))?;
            Ok((account, provider, ledger))
        };
        let (mut seen, (account, provider, ledger)) = tokio::try_join!(self.policies_of(&roles), around)?;
        let Ledger { roles: made, unread: unread_roles } = ledger;
        seen.extend(made.into_iter().map(|role| (role.arn.name.clone(), role)));
        Ok(Observed { provider, roles: seen, service_accounts, unread, unread_roles, ..nothing(account) })
    }

    /// What one environment has made, with all that is in the roles.
    pub(super) async fn made(&self, identities: &[Identity]) -> Result<Observed, Failed> {
        let first = self.first_round(identities, self.connection.place.all_environment_paths()).await?;
        let unnamed = first.unnamed(identities, self.connection);
        let FirstRound { roles, service_accounts, unread, .. } = first;
        let ledger = async {
            let account = self.account(known_account(&roles)).await?;
            let mut ledger = self.ledger(&unnamed, &account).await?;
            let filled = std::mem::take(&mut ledger.roles).into_iter().map(async |role| {
                let arn = role.arn.clone();
                Ok((arn, readable(self.filled(role).await)?))
            });
            for (arn, filled) in try_join_all(filled).await? {
                ledger.add(arn, filled.map(Some));
            }
            Ok((account, ledger))
        };
        let named = async {
            let seen = self.policies_of(&roles).await?;
            try_join_all(seen.into_iter().map(async |(name, role)| Ok((name, self.in_profiles(role).await?)))).await
        };
        let (named, (account, Ledger { roles: made, unread: unread_roles })) = tokio::try_join!(named, ledger)?;
        let made = made.into_iter().map(|role| (role.arn.name.clone(), role));
        Ok(Observed { roles: named.into_iter().chain(made).gather(), service_accounts, unread, unread_roles, ..nothing(account) })
    }

    /// The roles of identities, with all that is in them.
    pub(super) async fn named(&self, identities: &[Identity]) -> Result<Observed, Failed> {
        let roles = self.roles(identities).await?;
        let (account, seen) = tokio::try_join!(self.account(known_account(&roles)), self.policies_of(&roles))?;
        let seen = try_join_all(seen.into_iter().map(async |(name, role)| Ok((name, self.in_profiles(role).await?)))).await?;
        Ok(Observed { roles: seen.into_iter().gather(), ..nothing(account) })
    }

    /// The roles below these paths. That they may not be listed costs a note.
    pub(super) async fn listed(&self, paths: &BTreeSet<String>) -> Result<(Vec<RoleArn>, Option<String>), Failed> {
        let listed = try_join_all(paths.iter().map(async |path| self.roles_below(path).await)).await;
        match listed {
            Ok(listed) => Ok((listed.concat(), None)),
            Err(failed) if failed.source.kind.is_denied() => Ok((
                Vec::new(),
                Some(format!("roles that no identity names any more are not looked for: the job may not list roles (`{LIST_ROLES}`)")),
            )),
            Err(failed) => Err(failed),
        }
    }

    pub(super) async fn below_the_clusters_paths(&self) -> Result<Vec<RoleArn>, Failed> {
        let paths = self.connection.place.all_cluster_paths();
        Ok(try_join_all(paths.iter().map(async |path| self.roles_below(path).await)).await?.concat())
    }

    async fn roles_below(&self, path: &str) -> Result<Vec<RoleArn>, Failed> {
        self.call(format!("list the roles below `{path}`"), LIST_ROLES, async || self.connection.aws.roles_below(path).await).await
    }

    /// The roles of the ledger that are there, without what is in them.
    pub(super) async fn ledger(&self, unnamed: &BTreeMap<String, RoleArn>, account: &Account) -> Result<Ledger, Failed> {
        let here = unnamed.values().filter(|role| role.account == *account);
        let found = try_join_all(here.map(async |role| Ok((role, readable(self.role(&role.name).await)?)))).await?;
        let mut ledger = Ledger::default();
        for (role, found) in found {
            ledger.add(role.clone(), found.map(|found| found.filter(|found| found.arn == *role)));
        }
        Ok(ledger)
    }

    /// A role with all that is in it.
    pub(super) async fn whole_role(&self, name: &RoleName) -> Result<Option<ObservedRole>, Failed> {
        match self.role(name).await? {
            Some(role) => self.filled(role).await.map(Some),
            None => Ok(None),
        }
    }

    /// The role with its policies and instance profiles, if the tool made it.
    pub(super) async fn filled(&self, role: ObservedRole) -> Result<ObservedRole, Failed> {
        if Owner::from_tags(&role.tags).is_none() {
            return Ok(role);
        }
        let (name, no_documents) = (role.arn.name.clone(), BTreeMap::new());
        let seen = SeenRole { name, role, wanted: Some(&no_documents) };
        let (_, role) = self.policies(&seen).await?;
        self.in_profiles(role).await
    }

    /// The role with the instance profiles it is in, if the tool made it.
    async fn in_profiles(&self, role: ObservedRole) -> Result<ObservedRole, Failed> {
        if Owner::from_tags(&role.tags).is_none() {
            return Ok(role);
        }
        let name = &role.arn.name;
        let doing = format!("list the instance profiles of role `{name}`");
        let profiles =
            self.call(doing, "iam:ListInstanceProfilesForRole", async || self.connection.aws.instance_profiles(name).await).await;
        match profiles {
            Ok(instance_profiles) => Ok(ObservedRole { instance_profiles, ..role }),
            // If it is in one, IAM says so when it is to be deleted.
            Err(failed) if failed.source.kind.is_denied() => Ok(role),
            Err(failed) => Err(failed),
        }
    }

    /// Who uses ServiceAccounts and roles of the namespace.
    pub(super) async fn uses(&self) -> Result<Vec<Use>, Failed> {
        let (kubernetes, namespace) = (&self.connection.kubernetes, &self.connection.place.namespace);
        let (pods, workloads, services) = tokio::try_join!(
            self.call("list the pods of the namespace", PODS, async || kubernetes.pods_in(namespace).await),
            self.call(
                "list the workloads of the namespace",
                "kubernetes:list deployments, statefulsets, daemonsets, jobs, cronjobs",
                async || { kubernetes.workloads_in(namespace).await }
            ),
            self.services(&|service| service.kind.can_be_bound(), false),
        )?;
        let services = services.into_iter().filter_map(|found| {
            Some(Use {
                user: found.service.to_string(),
                service_account: found.service_account?,
                roles: BTreeSet::new(),
                ends: false,
                pod: None,
                credentials: BTreeSet::new(),
            })
        });
        Ok(pods.into_iter().chain(workloads).chain(services).collect())
    }

    pub(super) async fn roles<'a>(&self, identities: &'a [Identity]) -> Result<Vec<SeenRole<'a>>, Failed> {
        let found = roles(identities, self.connection).into_iter().map(async |(name, wanted)| {
            let role = self.role(&name).await?;
            Ok(role.map(|role| SeenRole { name, role, wanted }))
        });
        Ok(try_join_all(found).await?.into_iter().flatten().collect())
    }

    pub(super) async fn role(&self, name: &RoleName) -> Result<Option<ObservedRole>, Failed> {
        self.call(format!("read role `{name}`"), "iam:GetRole", async || self.connection.aws.role(name).await).await
    }

    pub(super) async fn policies_of(&self, roles: &[SeenRole<'_>]) -> Result<BTreeMap<RoleName, ObservedRole>, Failed> {
        Ok(try_join_all(roles.iter().map(|seen| self.policies(seen))).await?.into_iter().gather())
    }

    /// Reads the permission policies of a role that the tool makes, and the documents of those inline policies that are wanted. Of a role
    /// given by ARN they are nobody's business here.
    async fn policies(&self, seen: &SeenRole<'_>) -> Result<(RoleName, ObservedRole), Failed> {
        let SeenRole { name, role, wanted } = seen;
        let Some(wanted) = wanted else { return Ok((name.clone(), role.clone())) };
        let aws = &self.connection.aws;
        let documents = try_join_all(wanted.keys().map(async |policy| {
            let doing = format!("read inline policy `{policy}` of role `{name}`");
            let document = self.call(doing, "iam:GetRolePolicy", async || aws.inline_policy(name, policy).await).await?;
            Ok(document.map(|document| (policy.clone(), Some(document))))
        }));
        let (attached, inline, documents) = tokio::try_join!(
            self.call(format!("list the policies attached to role `{name}`"), "iam:ListAttachedRolePolicies", async || {
                aws.attached_policies(name).await
            }),
            self.call(format!("list the inline policies of role `{name}`"), "iam:ListRolePolicies", async || aws
                .inline_policies(name)
                .await),
            documents,
        )?;
        let inline_policies = inline.into_iter().map(|policy| (policy, None)).chain(documents.into_iter().flatten()).gather();
        Ok((name.clone(), ObservedRole { attached, inline_policies, ..role.clone() }))
    }

    /// Tokens as pods get them, by ServiceAccount; of those that are there and give one at once. One of another issuer says nothing of this
    /// cluster's provider, and is left to the proof.
    pub(super) async fn tokens<'a>(&self, identities: &'a [Identity]) -> Tokens<'a> {
        let patience = self.patience.at_most(EARLY);
        let with_audience = identities.iter().filter_map(|identity| Some((identity, identity.binding.audience()?)));
        let tokens = join_all(with_audience.map(async |(identity, audience)| {
            let subject = self.connection.place.subject(identity);
            let token = patience.call(TOKEN, async || self.connection.kubernetes.token(&subject, audience).await).await;
            let refused = token.as_ref().err().map(|error| (error.kind.is_of_ending_namespace(), error.kind.is_denied()));
            let claims = token.as_deref().ok().and_then(Claims::of);
            let here =
                claims.is_some_and(|claims| claims.issuer.parse().is_ok_and(|issuer: IssuerUrl| issuer == self.connection.place.issuer));
            (token.ok().filter(|_| here).map(|token| (&identity.service_account.name, token)), refused)
        }));
        let (tokens, refused): (Vec<_>, Vec<_>) = tokens.await.into_iter().unzip();
        let (mut namespace_ends, mut denied) = (false, false);
        for (ends, is_denied) in refused.into_iter().flatten() {
            (namespace_ends, denied) = (namespace_ends || ends, denied || is_denied);
        }
        // A job that may request no tokens is refused before anybody looks at the namespace.
        let namespace_ends = namespace_ends || (denied && self.namespace_ends().await);
        Tokens { tokens: tokens.into_iter().flatten().gather(), namespace_ends }
    }

    /// Whether the namespace is being deleted, if that can be seen at once.
    pub(super) async fn namespace_ends(&self) -> bool {
        let (patience, namespace) = (self.patience.at_most(EARLY), &self.connection.place.namespace);
        patience.call(NAMESPACES, async || self.connection.kubernetes.namespace_ends(namespace).await).await.unwrap_or(false)
    }

    /// What a pod of this identity shows STS, if there are a token and a role.
    pub(super) fn pod<'a>(
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

    /// The sessions that STS gives pods at once.
    pub(super) async fn sessions(&self, pods: Vec<Pod<'_>>) -> Sessions {
        let patience = self.patience.at_most(EARLY);
        let sessions = join_all(pods.into_iter().map(async |pod| {
            let session = patience.call(ASSUME, async || self.connection.aws.assume_with_token(&pod.role, pod.token).await).await;
            Some((pod.service_account.clone(), session.ok()?))
        }));
        sessions.await.into_iter().flatten().collect()
    }

    /// What EKS Pod Identity does in the namespace, if an identity gets its role so: the associations, the pods, and if asked for the
    /// sessions that running pods get at once.
    pub(super) async fn pod_identity(&self, identities: &[Identity], sessions: Asked) -> Result<SeenOfPods, Failed> {
        let wanted: Vec<&ServiceAccountName> = identities
            .iter()
            .filter(|identity| identity.binding.audience().is_none())
            .map(|identity| &identity.service_account.name)
            .collect();
        let Some(cluster) = self.connection.place.cluster.as_ref().filter(|_| !wanted.is_empty()) else {
            return Ok(SeenOfPods::default());
        };
        let of_pods = async {
            let pods = self.pods().await?;
            let (sessions, namespace_ends) = match sessions {
                Asked::No => (Sessions::default(), false),
                Asked::AtOnce => {
                    let sessions = self.sessions_of_pods(cluster, &wanted, pods.as_deref().unwrap_or_default()).await;
                    // A session is of a token, and there is none in a namespace that is being deleted.
                    let is_told = wanted.len() < identities.len() || wanted.iter().any(|name| sessions.has(name));
                    let ends = if is_told { false } else { self.namespace_ends().await };
                    (sessions, ends)
                }
            };
            Ok((pods, sessions, namespace_ends))
        };
        let (associations, (pods, sessions, namespace_ends)) = tokio::try_join!(self.associations(cluster), of_pods)?;
        Ok(SeenOfPods { associations: Some(associations), pods, sessions, namespace_ends })
    }

    /// The pods of the namespace. That they may not be listed is no failure: then it is not known who uses what, and nothing
    /// is proven by them.
    async fn pods(&self) -> Result<Option<Vec<Use>>, Failed> {
        let (kubernetes, namespace) = (&self.connection.kubernetes, &self.connection.place.namespace);
        Ok(readable(self.call("list the pods of the namespace", PODS, async || kubernetes.pods_in(namespace).await).await)?.ok())
    }

    /// The associations of the namespace.
    async fn associations(&self, cluster: &ClusterName) -> Result<BTreeMap<ServiceAccountName, ObservedAssociation>, Failed> {
        let namespace = &self.connection.place.namespace;
        let listed = self
            .call("list the associations of the namespace", "eks:ListPodIdentityAssociations", async || {
                self.connection.aws.associations(cluster, Some(namespace), None).await
            })
            .await?;
        let described = listed.iter().map(async |listed| {
            let doing = format!("read the association of ServiceAccount `{}`", listed.subject);
            let call = "eks:DescribePodIdentityAssociation";
            self.call(doing, call, async || self.connection.aws.association(cluster, &listed.id).await).await
        });
        let found = try_join_all(described).await?.into_iter().flatten();
        Ok(found.map(|found| (found.subject.service_account.clone(), found)).gather())
    }

    /// With the pods that may rely on associations which identities had before they were to have IRSA: where the record of a ServiceAccount
    /// or the trust of one environment's role says that there are any. Where nothing does, nothing is asked.
    pub(super) async fn with_pods_of_associations(&self, identities: &[Identity], seen: Observed) -> Result<Observed, Failed> {
        let to_irsa: Vec<&Identity> = identities.iter().filter(|identity| identity.binding.audience().is_some()).collect();
        let is_recorded = |identity: &&&Identity| {
            let account = seen.service_accounts.get(&identity.service_account.name);
            account.is_some_and(|account| account.associated_role().is_some())
        };
        let is_trusted = |identity: &&&Identity| {
            let role = seen.roles.get(&self.connection.place.role_name(identity));
            role.is_some_and(|role| {
                matches!(Owner::from_tags(&role.tags), Some(Owner::Identity(..))) && !role.trust.pod_identity_anchors().is_empty()
            })
        };
        let may_be = to_irsa.iter().any(|identity| is_recorded(&identity) || is_trusted(&identity));
        if seen.pods.is_some() || !may_be {
            return Ok(seen);
        }
        let pods = self.pods().await?;
        Ok(Observed { pods, ..seen })
    }

    async fn sessions_of_pods(&self, cluster: &ClusterName, wanted: &[&ServiceAccountName], pods: &[Use]) -> Sessions {
        let (patience, connection) = (self.patience.at_most(EARLY), self.connection);
        let sessions = join_all(wanted.iter().map(async |name| {
            let pod = running_pods(pods, name).next()?;
            let subject = Subject { namespace: connection.place.namespace.clone(), service_account: (*name).clone() };
            let audience = Audience::of_pod_identity();
            let token = patience.call(TOKEN, async || connection.kubernetes.token_of_pod(&subject, &audience, pod).await).await.ok()?;
            let session = patience.call(ASSUME_FOR_POD, async || connection.aws.assume_for_pod(cluster, &token).await).await;
            Some(((*name).clone(), session.ok()?))
        }));
        sessions.await.into_iter().flatten().collect()
    }

    /// Whether the cluster can give pods the credentials of associations: the signs of its agent, as far as the job may look.
    pub(super) async fn agent(&self) -> Result<KnownAgent, Failed> {
        let Some(cluster) = &self.connection.place.cluster else {
            return Ok(KnownAgent::Unknown("the name of the cluster is not known".to_owned()));
        };
        let (aws, kubernetes) = (&self.connection.aws, &self.connection.kubernetes);
        let doing = format!("read EKS add-on `{AGENT}` of cluster `{cluster}`");
        let add_on = sight(self.call(doing, "eks:DescribeAddon", async || aws.agent_add_on(cluster).await).await)?;
        if add_on == Sight::Read(AddOn::Installed) {
            return Ok(Signs { add_on, ..Signs::default() }.agent());
        }
        let doing = format!("read whether cluster `{cluster}` is of EKS Auto Mode");
        let auto_mode = async { sight(self.call(doing, "eks:DescribeCluster", async || aws.auto_mode(cluster).await).await) };
        let doing = "look for the EKS Pod Identity agent in `kube-system`";
        let daemon_set = async { sight(self.call(doing, DAEMON_SETS, async || kubernetes.agent_daemon_set().await).await) };
        let (auto_mode, daemon_set) = tokio::try_join!(auto_mode, daemon_set)?;
        Ok(Signs { add_on, auto_mode, daemon_set }.agent())
    }

    /// The provider, if a binding of these identities needs it.
    pub(super) async fn provider_of(&self, identities: &[Identity], account: &Account) -> Result<KnownProvider, Failed> {
        if identities.iter().all(|identity| identity.binding.audience().is_none()) {
            return Ok(KnownProvider::NotRead);
        }
        self.provider(account).await
    }

    pub(super) async fn provider(&self, account: &Account) -> Result<KnownProvider, Failed> {
        let provider = Provider::of(&self.connection.place.issuer, account);
        let doing = format!("read OIDC provider `{}`", provider.issuer.host_and_path());
        let call = "iam:GetOpenIDConnectProvider";
        self.call(doing, call, async || self.connection.aws.provider(&provider.arn).await).await.map(KnownProvider::Read)
    }

    /// All services, and the ServiceAccounts of those that are to be bound; none if there are such and Qovery is not asked.
    pub(super) async fn services_to_bind(&self, identities: &[Identity]) -> Result<Option<Vec<ObservedService>>, Failed> {
        if identities.iter().all(|identity| identity.services.services.is_empty()) {
            return Ok(Some(Vec::new()));
        }
        if self.connection.qovery.is_none() {
            return Ok(None);
        }
        let is_meant = |service: &Service| {
            let is_named = |identity: &Identity| identity.services.services.iter().any(|name| name.means(service));
            service.kind.can_be_bound() && identities.iter().any(is_named)
        };
        self.services(&is_meant, true).await.map(Some)
    }

    /// All services, and the ServiceAccounts of these, if asked for with the variables they see; none if Qovery is not asked.
    async fn services(&self, wanted: &dyn Fn(&Service) -> bool, with_variables: bool) -> Result<Vec<ObservedService>, Failed> {
        let Some(qovery) = &self.connection.qovery else { return Ok(Vec::new()) };
        let patience = self.patience.for_advice();
        let observer = Observer { connection: self.connection, patience: &patience };
        let doing = format!("list the services of environment `{}`", qovery.environment());
        let services = observer.call(doing, "qovery:GET /environment/{id}/services", async || qovery.services().await).await?;
        try_join_all(services.into_iter().map(async |service| {
            if !wanted(&service) {
                return Ok(ObservedService { service, service_account: None, variables: None });
            }
            let doing = format!("read the advanced settings of {service}");
            let call = "qovery:GET /{service}/{id}/advancedSettings";
            let service_account = observer.call(doing, call, async || qovery.service_account_of(&service).await);
            let variables = async {
                let seen = patience.call("qovery:GET /variable", async || qovery.variables(VariablesOf::Service(&service)).await);
                if with_variables { Some(seen.await.map_err(|error| error.to_string())) } else { None }
            };
            let (service_account, variables) = tokio::join!(service_account, variables);
            Ok(ObservedService { service_account: service_account?, variables, service })
        }))
        .await
    }

    /// The ServiceAccounts of the namespace that identities name or that the tool holds a field of. Where they may not be listed, those
    /// that identities name, with a note.
    pub(super) async fn service_accounts(&self, identities: &[Identity]) -> Result<(ServiceAccounts, Option<String>), Failed> {
        let (kubernetes, namespace) = (&self.connection.kubernetes, &self.connection.place.namespace);
        let listed = self
            .call("list the ServiceAccounts of the namespace", SERVICE_ACCOUNTS, async || kubernetes.service_accounts_in(namespace).await);
        match listed.await {
            Ok(mut found) => {
                let named = |name: &ServiceAccountName| identities.iter().any(|identity| identity.service_account.name == *name);
                found.retain(|name, found| found.is_touched() || named(name));
                Ok((found, None))
            }
            Err(failed) if failed.source.kind.is_denied() => {
                let note = "ServiceAccounts that no identity names any more are not looked for: the job may not list them (`list` on `serviceaccounts`, docs/permissions/rbac.yaml)";
                Ok((self.each_service_account(identities).await?, Some(note.to_owned())))
            }
            Err(failed) => Err(failed),
        }
    }

    async fn each_service_account(&self, identities: &[Identity]) -> Result<ServiceAccounts, Failed> {
        let found = identities.iter().map(async |identity| {
            let subject = self.connection.place.subject(identity);
            let doing = format!("read ServiceAccount `{subject}`");
            let call = "kubernetes:get serviceaccounts";
            let found = self.call(doing, call, async || self.connection.kubernetes.service_account(&subject).await).await?;
            Ok(found.map(|found| (subject.service_account, found)))
        });
        Ok(try_join_all(found).await?.into_iter().flatten().gather())
    }
}

pub(super) fn nothing(account: Account) -> Observed {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Observed { at: Date::since_1970(now), ..Observed::nothing(account) }
}
