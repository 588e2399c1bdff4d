//! Associations of EKS Pod Identity, where something is to be removed: those of the namespace, those that are left behind, and whether any
//! uses a role that many environments have together.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use super::observer::Observer;
use crate::{
    clients::{
        aws::Listed,
        call::{CallError, ErrorKind, Failed, Patience},
    },
    model::{
        arn::{Account, ClusterArn},
        association::ObservedAssociation,
        gather::Gather as _,
        identity::Identity,
        names::{ClusterName, Namespace, RoleName},
        observed::{Observed, ObservedRole, Owner, RETAIN_TAG, Users},
        registry,
    },
};

const LIST: &str = "eks:ListPodIdentityAssociations";
const DESCRIBE: &str = "eks:DescribePodIdentityAssociation";
const DESCRIBE_CLUSTER: &str = "eks:DescribeCluster";

/// How many associations are described at once.
const AT_ONCE: usize = 10;

/// Why associations are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grounds {
    /// An identity of the manifest has one: what the job cannot read of it is an error, as of a role.
    Named,
    /// Something that was made says that there are some: that they may not be read is worth a note.
    Traces,
    /// Nothing does, but all that could may be missing. That they cannot be read is no matter then.
    None,
}

/// What a look for associations has found.
pub(super) enum Found<T> {
    /// These.
    Read(T),
    /// Nothing, since they may not be read: what the service said.
    Denied(String),
    /// Nobody looked, or what could not be read is no matter.
    Nothing,
}

/// Whether an identity gets its role by an association.
fn is_wanted(identities: &[Identity]) -> bool {
    identities.iter().any(|identity| identity.binding.audience().is_none())
}

/// Whether one environment's role trusts EKS Pod Identity.
fn is_for_pods(role: &ObservedRole) -> bool {
    matches!(Owner::from_tags(&role.tags), Some(Owner::Identity(..))) && !role.pods_of().is_empty()
}

/// Whether what was seen of one environment says that it has associations: an identity, the record of a ServiceAccount, the trust of a role.
fn grounds(identities: &[Identity], seen: &Observed) -> Grounds {
    let is_recorded = seen.service_accounts.values().any(|account| account.associated_role().is_some());
    if is_wanted(identities) {
        Grounds::Named
    } else if is_recorded || seen.roles.values().any(is_for_pods) {
        Grounds::Traces
    } else {
        Grounds::None
    }
}

impl Observer<'_> {
    /// With the associations of the namespace, if what was seen says that there are any.
    pub(super) async fn with_associations(&self, identities: &[Identity], seen: Observed) -> Result<Observed, Failed> {
        match grounds(identities, &seen) {
            grounds @ (Grounds::Named | Grounds::Traces) if seen.associations.is_none() => {
                self.with_those_of_namespace(grounds, seen).await
            }
            _ => Ok(seen),
        }
    }

    /// The same for `delete`, which looks in any case: of a chart's ServiceAccount with a role that many environments have together, nothing
    /// else says that it had an association once the manifest names it no more.
    pub(super) async fn with_all_associations(&self, identities: &[Identity], seen: Observed) -> Result<Observed, Failed> {
        self.with_those_of_namespace(grounds(identities, &seen), seen).await
    }

    async fn with_those_of_namespace(&self, grounds: Grounds, seen: Observed) -> Result<Observed, Failed> {
        let Some(cluster) = &self.connection.place.cluster else {
            let unread = seen.unread.into_iter().chain(unnamed_cluster(grounds)).collect();
            return Ok(Observed { unread, ..seen });
        };
        let here = Some(&self.connection.place.namespace);
        let looking = async |observer: &Observer<'_>| {
            let listed = observer.listed_associations(cluster, here).await?;
            let described = try_join_all(listed.iter().map(|listed| observer.described(cluster, listed))).await?;
            Ok(described.into_iter().flatten().map(|found| (found.subject.service_account.clone(), found)).gather())
        };
        Ok(match self.readable(grounds, looking).await? {
            Found::Read(associations) => Observed { associations: Some(associations), ..seen },
            Found::Denied(why) => {
                let note = format!("associations of EKS Pod Identity are not looked for, so they stay: {why}");
                let unread = seen.unread.iter().cloned().chain([note]).collect();
                Observed { unread, unread_associations: Some(why), ..seen }
            }
            Found::Nothing => seen,
        })
    }

    /// What was read; where there are no grounds, only for as long as it takes to know what is good to know.
    async fn readable<T>(
        &self,
        grounds: Grounds,
        looking: impl AsyncFnOnce(&Observer<'_>) -> Result<T, Failed>,
    ) -> Result<Found<T>, Failed> {
        let hasty: Patience = self.patience.for_advice();
        let patience = if grounds == Grounds::None { &hasty } else { self.patience };
        match looking(&Observer { connection: self.connection, patience }).await {
            Ok(found) => Ok(Found::Read(found)),
            Err(_) if grounds == Grounds::None => Ok(Found::Nothing),
            Err(failed) if grounds == Grounds::Traces && is_unreadable(&failed.source) => {
                Ok(Found::Denied(format!("{failed}: {}", failed.source.code)))
            }
            Err(failed) => Err(failed),
        }
    }

    /// The associations of the cluster as a list shows them, before it is known which namespaces exist.
    pub(super) async fn all_associations(&self, identities: &[Identity]) -> Result<Found<Vec<Listed>>, Failed> {
        let Some(cluster) = &self.connection.place.cluster else { return Ok(Found::Nothing) };
        let grounds = if is_wanted(identities) { Grounds::Traces } else { Grounds::None };
        self.readable(grounds, async |observer: &Observer<'_>| observer.listed_associations(cluster, None).await).await
    }

    /// With the tool's among those whose namespace does not exist, if the cluster that is named is the one whose namespaces these are. That
    /// this may not be asked, or they may not be read, costs a note.
    pub(super) async fn with_left_associations(
        &self,
        listed: &[Listed],
        exist: Option<&BTreeSet<Namespace>>,
        seen: Observed,
    ) -> Result<Observed, Failed> {
        let (Some(cluster), Some(exist)) = (&self.connection.place.cluster, exist) else { return Ok(seen) };
        let gone: Vec<&Listed> = listed.iter().filter(|listed| !exist.contains(&listed.subject.namespace)).collect();
        if gone.is_empty() {
            return Ok(seen);
        }
        let left = async {
            match self.other_than_named(cluster).await? {
                Some(why) => Ok(Err(why)),
                None => self.left_associations(cluster, &gone).await.map(Ok),
            }
        };
        let why = match left.await {
            Ok(Ok(left_associations)) => return Ok(Observed { left_associations, ..seen }),
            Ok(Err(why)) => why,
            Err(failed) if failed.source.kind.is_denied() => format!("{failed}: {}", failed.source.code),
            Err(failed) => return Err(failed),
        };
        let note = format!("associations that environments have left stay: {why}");
        Ok(Observed { unread: seen.unread.iter().cloned().chain([note]).collect(), ..seen })
    }

    /// Why the cluster that is named, whose associations were listed, is not known to be the one whose namespaces were.
    async fn other_than_named(&self, cluster: &ClusterName) -> Result<Option<String>, Failed> {
        let own = &self.connection.place.issuer;
        let doing = format!("ask for the issuer of EKS cluster `{cluster}`");
        let named = self.call(doing, DESCRIBE_CLUSTER, async || self.connection.aws.issuer_of(cluster).await).await?;
        Ok(match named {
            Some(issuer) if issuer == *own => None,
            Some(issuer) => Some(format!(
                "the namespaces are of a cluster with issuer `{own}`, and cluster `{cluster}` (`QOVERY_KUBERNETES_CLUSTER_NAME`) has issuer `{issuer}`"
            )),
            None => Some(format!("EKS knows no issuer of cluster `{cluster}` (`QOVERY_KUBERNETES_CLUSTER_NAME`)")),
        })
    }

    async fn left_associations(&self, cluster: &ClusterName, gone: &[&Listed]) -> Result<Vec<ObservedAssociation>, Failed> {
        let mut left = Vec::new();
        for some in gone.chunks(AT_ONCE) {
            let described = try_join_all(some.iter().map(|listed| self.described(cluster, listed))).await?;
            left.extend(described.into_iter().flatten().filter(ObservedAssociation::is_own));
        }
        Ok(left)
    }

    /// For each role that many environments have together by EKS Pod Identity alone: whether an association of the clusters that it trusts
    /// still uses it. Nothing is asked where there is no such role.
    pub(super) async fn users(&self, roles: &BTreeMap<RoleName, ObservedRole>) -> Result<BTreeMap<RoleName, Users>, Failed> {
        let roles: Vec<&ObservedRole> = roles.values().filter(|role| is_unused_but_by_pods(role)).collect();
        let mut users: BTreeMap<RoleName, Users> = roles.iter().map(|role| (role.arn.name.clone(), Users::Nobody)).gather();
        if roles.is_empty() {
            return Ok(users);
        }
        // EKS is asked with the job's own credentials.
        let call = "sts:GetCallerIdentity";
        let own = self.call("ask which account EKS is asked in", call, async || self.connection.aws.own_account().await).await?;
        let clusters: BTreeSet<Option<ClusterArn>> = roles.iter().flat_map(|role| role.pods_of()).gather();
        for cluster in clusters {
            let trusting = roles.iter().filter(|role| role.pods_of().contains(&cluster)).copied();
            let unsure: Vec<&ObservedRole> = trusting.filter(|role| users.get(&role.arn.name) != Some(&Users::Somebody)).collect();
            let found = match self.out_of_reach(cluster.as_ref(), &own) {
                Some(why) => unsure.iter().map(|role| (role.arn.name.clone(), Users::Unknown(why.clone()))).collect(),
                None => self.users_in(cluster.as_ref(), &unsure).await?,
            };
            for (name, found) in found {
                // That one is known to use it outweighs what is not known.
                if found != Users::Nobody {
                    users.insert(name, found);
                }
            }
        }
        Ok(users)
    }

    /// Why the associations of a cluster cannot be read from here.
    fn out_of_reach(&self, cluster: Option<&ClusterArn>, own: &Account) -> Option<String> {
        let Some(cluster) = cluster else { return Some("a statement of its trust policy names no cluster".to_owned()) };
        let region = self.connection.aws.region();
        if cluster.account_id() != own.id.as_str() {
            return Some(format!(
                "cluster `{}` is in AWS account {}, and this job asks EKS in account {}",
                cluster.as_str(),
                cluster.account_id(),
                own.id
            ));
        }
        (cluster.region() != region)
            .then(|| format!("cluster `{}` is in region {}, and this job works in region {region}", cluster.as_str(), cluster.region()))
    }

    /// Which of these roles associations of a cluster use: described are as many as it takes to know.
    async fn users_in(&self, cluster: Option<&ClusterArn>, roles: &[&ObservedRole]) -> Result<Vec<(RoleName, Users)>, Failed> {
        let Some(name) = cluster.and_then(ClusterArn::name) else { return Ok(Vec::new()) };
        let unknown = |failed: &Failed| {
            let why = format!("{failed}: {}", failed.source.code);
            roles.iter().map(|role| (role.arn.name.clone(), Users::Unknown(why.clone()))).collect()
        };
        let listed = match self.listed_associations(&name, None).await {
            Ok(listed) => listed,
            // A cluster that does not exist has none.
            Err(failed) if failed.source.kind.is_missing() => return Ok(Vec::new()),
            Err(failed) if failed.source.kind.is_denied() => return Ok(unknown(&failed)),
            Err(failed) => return Err(failed),
        };
        let mut known: BTreeSet<&RoleName> = BTreeSet::new();
        for some in listed.chunks(AT_ONCE) {
            if known.len() == roles.len() {
                break;
            }
            let described = try_join_all(some.iter().map(|listed| self.described(&name, listed))).await;
            let described = match described {
                Ok(described) => described,
                Err(failed) if failed.source.kind.is_denied() => return Ok(unknown(&failed)),
                Err(failed) => return Err(failed),
            };
            for found in described.into_iter().flatten() {
                let uses = |role: &ObservedRole| found.settings.role == role.arn || found.settings.target.as_ref() == Some(&role.arn);
                known.extend(roles.iter().filter(|role| uses(role)).map(|role| &role.arn.name));
            }
        }
        Ok(known.into_iter().map(|name| (name.clone(), Users::Somebody)).collect())
    }

    async fn listed_associations(&self, cluster: &ClusterName, namespace: Option<&Namespace>) -> Result<Vec<Listed>, Failed> {
        let whose = namespace.map_or_else(|| format!("cluster `{cluster}`"), |_| "the namespace".to_owned());
        let doing = format!("list the associations of {whose}");
        self.call(doing, LIST, async || self.connection.aws.associations(cluster, namespace, None).await).await
    }

    async fn described(&self, cluster: &ClusterName, listed: &Listed) -> Result<Option<ObservedAssociation>, Failed> {
        let doing = format!("read the association of ServiceAccount `{}`", listed.subject);
        self.call(doing, DESCRIBE, async || self.connection.aws.association(cluster, &listed.id).await).await
    }
}

/// Whether a role of many environments has no user but those that associations give it to.
fn is_unused_but_by_pods(role: &ObservedRole) -> bool {
    Owner::from_tags(&role.tags) == Some(Owner::Shared)
        && !role.tags.contains_key(RETAIN_TAG)
        && registry::is_empty(&role.tags)
        && !role.pods_of().is_empty()
}

/// Whether the associations may not be read, or EKS knows no cluster of that name.
fn is_unreadable(error: &CallError) -> bool {
    error.kind.is_denied() || matches!(error.kind, ErrorKind::NotFound(_))
}

fn unnamed_cluster(grounds: Grounds) -> Option<String> {
    (grounds != Grounds::None).then(|| {
        "associations of EKS Pod Identity are not looked for: the name of the cluster is not known (`QOVERY_KUBERNETES_CLUSTER_NAME`)"
            .to_owned()
    })
}

/// That the associations of environments that no longer exist are not looked for, where some must have been.
pub(super) fn unlooked(found: &Found<Vec<Listed>>, left_behind: &[ObservedRole]) -> Option<String> {
    match found {
        Found::Read(_) => None,
        Found::Denied(why) => Some(format!("associations that environments have left are not looked for: {why}")),
        Found::Nothing => left_behind.iter().any(is_for_pods).then(|| {
            format!("associations that environments have left are not looked for: the job may not list them (`{LIST}`), or does not know the cluster")
        }),
    }
}
