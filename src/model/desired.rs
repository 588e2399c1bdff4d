//! What should be: the identities of one environment, put into one account and one cluster.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{
    anchor::{Anchor, Grant, StatementKind},
    arn::{Account, ClusterArn, Partition, PolicyArn, RoleArn},
    association::{AssociationSettings, DesiredAssociation, SessionTags},
    gather::Gather as _,
    identity::{Binding, Identity, Keeper, Prune, RoleOrigin, RoleSpec, Scope, ServiceAccountSpec},
    marks::JobMark,
    names::{RoleName, RolePath, ServiceAccountName, Subject},
    observed::{AUDIENCE_ANNOTATION, EXPIRATION_ANNOTATION, OWNER_TAG, Owner, ROLE_ANNOTATION},
    oidc::{Audience, IssuerUrl, Provider},
    place::Place,
    record::ASSOCIATED_ROLE,
    registry::Entry,
    role::{RoleAttributes, RoleSettings},
    service::DesiredService,
    subjects::SubjectPattern,
    trust::Trusted,
};

/// What should be in the account and the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The OIDC provider of the cluster. Whether it is wanted is what [`audiences`](Self::audiences) tells.
    pub provider: Provider,
    /// The ARN of the cluster, if its name and region are known.
    pub cluster: Option<ClusterArn>,
    /// The roles by name.
    pub roles: BTreeMap<RoleName, DesiredRole>,
    /// Of roles that identities of both bindings name: what is wanted for the binding that `roles` does not speak of.
    pub besides: BTreeMap<RoleName, Side>,
    /// The ServiceAccounts, in the order of the manifest.
    pub service_accounts: Vec<DesiredServiceAccount>,
    /// The associations of EKS Pod Identity, by ServiceAccount.
    pub associations: BTreeMap<ServiceAccountName, DesiredAssociation>,
    /// The services that should run with them, in the same order.
    pub services: Vec<DesiredService>,
    /// Where all this is.
    pub place: Place,
    /// What becomes of things that no identity names any more.
    pub prune: Prune,
}

/// A role as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRole {
    /// Its ARN, path and name in it.
    pub arn: RoleArn,
    /// Whose it is and what it is like; nothing if it is given by ARN: then only its trust is managed.
    pub owned: Option<Box<OwnedRole>>,
    /// What its trust rests on.
    pub anchor: Anchor,
    /// Whom it trusts.
    pub trust: DesiredTrust,
}

/// Whom a role trusts by one binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What this trust rests on.
    pub anchor: Anchor,
    /// Whom it trusts.
    pub trust: DesiredTrust,
}

/// A role that carries the tool's tag of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRole {
    /// Whose it is.
    pub owner: Owner,
    /// The job whose mark it carries. A role of many environments has their entries instead.
    pub job: Option<JobMark>,
    /// What it is like.
    pub attributes: RoleAttributes,
    /// What becomes of it when nobody uses it any more.
    pub unused: Unused,
}

/// What becomes of a role of many environments that none uses any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unused {
    /// It goes.
    #[default]
    Goes,
    /// It stays: `retain`.
    Stays,
}

impl OwnedRole {
    /// One of which nothing more is wanted.
    #[must_use]
    pub fn bare(owner: Owner) -> Self {
        Self { owner, job: None, attributes: RoleAttributes::default(), unused: Unused::default() }
    }
}

/// Whom a role trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredTrust {
    /// The subjects of one environment: it has one writer.
    Environment {
        /// Who may assume it.
        subjects: BTreeSet<Subject>,
        /// What else is asked of them.
        grant: Grant,
    },
    /// Whoever is registered: it has many writers.
    Registry {
        /// The cluster whose subjects these are: entries of other clusters are theirs.
        issuer: IssuerUrl,
        /// What this environment registers.
        entries: BTreeSet<Entry>,
        /// The identities of this environment that use the role.
        declarers: BTreeSet<Subject>,
        /// Whether an owned role stays when its last subject leaves.
        retain: bool,
    },
    /// Whoever matches a pattern, or everybody of the cluster: each writer of a project writes the same.
    Patterns(Trusted),
}

/// A ServiceAccount as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredServiceAccount {
    /// Namespace and name.
    pub subject: Subject,
    /// The role its pods get.
    pub role: RoleArn,
    /// How they get it.
    pub binding: Binding,
    /// All annotations the tool applies.
    pub annotations: BTreeMap<String, String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// `automountServiceAccountToken`.
    pub automount: Option<bool>,
    /// The job whose mark it carries.
    pub job: Option<JobMark>,
    /// Whose it is to make.
    pub keeper: Keeper,
}

/// Identities that cannot be in this account.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DesiredProblem {
    /// A role given by ARN lives in another account than the job's credentials.
    #[error("role `{arn}` is in account `{}`, but the job's credentials are for account `{account}`", arn.account)]
    OtherAccount {
        /// The role.
        arn: Box<RoleArn>,
        /// The account of the credentials.
        account: Account,
    },
    /// A managed policy belongs to another partition than the account.
    #[error("policy `{policy}` belongs to partition `{}`, the account to `{partition}`", policy.partition())]
    OtherPartition {
        /// The policy.
        policy: PolicyArn,
        /// The partition of the account.
        partition: Partition,
    },
    /// Path, cluster and namespace together are longer than IAM takes.
    #[error("the role path `{0}` is longer than IAM's 512 characters")]
    PathTooLong(String),
    /// An association is in a cluster, and it is not known in which.
    #[error("ServiceAccount `{0}` gets its role by EKS Pod Identity, but the name of the cluster is not known")]
    NoCluster(Subject),
    /// The role of an association is in another account than the cluster.
    #[error("role `{role}` is in account `{}`, but EKS Pod Identity takes only roles of the cluster's account, `{cluster}`", role.account)]
    OtherClusterAccount {
        /// The role.
        role: Box<RoleArn>,
        /// The account of the cluster.
        cluster: Account,
    },
    /// Two identities ask for one role in ways that do not go together.
    #[error("role `{0}` is asked for by two identities in ways that do not go together")]
    RoleTwice(RoleName),
}

impl DesiredProblem {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherAccount { .. } => {
                "set `IRSA_ASSUME_ROLE_ARN` to a role of that account which may manage this one, or correct the ARN"
            }
            Self::OtherPartition { .. } => {
                "write the ARN as the account's partition has it: `arn:aws-cn:…` in China, `arn:aws-us-gov:…` in GovCloud"
            }
            Self::NoCluster(_) => {
                "set `QOVERY_KUBERNETES_CLUSTER_NAME` to the name that EKS knows the cluster by, and `AWS_REGION` to its region"
            }
            Self::OtherClusterAccount { .. } => {
                "give a role of the cluster's account, and the role of the other account as `podIdentity.targetRoleArn`"
            }
            Self::PathTooLong(_) => "shorten `path` in the manifest",
            Self::RoleTwice(_) => {
                "give each its own `name`, or both the same `role` with scope `shared`: then one may have it by IRSA and the other by EKS Pod Identity; names that differ only by case are one name for IAM"
            }
        }
    }
}

impl Desired {
    /// Puts identities into an account.
    ///
    /// # Errors
    /// An identity cannot be there.
    pub fn new(identities: &[Identity], place: &Place, account: &Account) -> Result<Self, DesiredProblem> {
        let mut desired = Self::nothing(place, account);
        identities.iter().try_for_each(|identity| desired.add(identity, account))?;
        Ok(desired)
    }

    /// Puts those identities into an account that can be there, for a removal. With what is wrong with the others.
    #[must_use]
    pub fn for_removal(identities: &[Identity], place: &Place, account: &Account) -> (Self, Vec<DesiredProblem>) {
        let mut desired = Self::nothing(place, account);
        let problems = identities.iter().filter_map(|identity| desired.add(identity, account).err()).collect();
        (desired, problems)
    }

    /// No identity.
    #[must_use]
    pub fn nothing(place: &Place, account: &Account) -> Self {
        Self {
            provider: Provider::of(&place.issuer, account),
            cluster: place.cluster_arn(account),
            roles: BTreeMap::new(),
            besides: BTreeMap::new(),
            service_accounts: Vec::new(),
            associations: BTreeMap::new(),
            services: Vec::new(),
            place: place.clone(),
            prune: Prune::default(),
        }
    }

    fn add(&mut self, identity: &Identity, account: &Account) -> Result<(), DesiredProblem> {
        let place = self.place.clone();
        let arn = role_arn(identity, &place, account)?;
        let association = association(identity, &place, &arn, account)?;
        let anchor = match &association {
            None => Anchor::Oidc(self.provider.clone()),
            Some((cluster, association)) => {
                // The trust of a shared role never asks for tags: then it is one for all identities, with or without.
                let is_shared = matches!(identity.role.scope, Scope::Shared { .. });
                let asks = if is_shared { SessionTags::Off } else { association.settings.session_tags };
                Anchor::PodIdentity(cluster.clone(), asks)
            }
        };
        self.add_role(identity, arn.clone(), anchor)?;
        self.associations.extend(association.map(|(_, association)| (association.subject.service_account.clone(), association)));
        self.service_accounts.push(service_account(identity, &place, arn));
        self.services.extend(identity.bindings());
        Ok(())
    }

    /// Adds the role of an identity, or this identity to a role that another has added.
    fn add_role(&mut self, identity: &Identity, arn: RoleArn, anchor: Anchor) -> Result<(), DesiredProblem> {
        let subject = self.place.subject(identity);
        let role =
            DesiredRole { owned: owned(&identity.role, &subject, &self.place), anchor, trust: trust(identity, &subject, &self.place), arn };
        let name = role.arn.name.clone();
        let taken = self.roles.keys().find(|other| other.as_str().eq_ignore_ascii_case(name.as_str())).cloned();
        let Some(other) = taken.and_then(|name| self.roles.get_mut(&name)) else {
            self.roles.insert(name, role);
            return Ok(());
        };
        if other.arn != role.arn || other.owned != role.owned || !other.trust.is_of_many() || !role.trust.is_of_many() {
            return Err(DesiredProblem::RoleTwice(name));
        }
        let DesiredRole { anchor, trust, .. } = role;
        let side = Side { anchor, trust };
        if other.anchor.is_like(&side.anchor) {
            return join((&other.anchor, &mut other.trust), side, name);
        }
        if let Some(other) = self.besides.get_mut(&other.arn.name) {
            return join((&other.anchor, &mut other.trust), side, name);
        }
        let name = other.arn.name.clone();
        // Who registers has more to say of the role itself: that it is retained, and who is last.
        let beside = if matches!(side.trust, DesiredTrust::Registry { .. }) { other.replace(side) } else { side };
        self.besides.insert(name, beside);
        Ok(())
    }

    /// The audiences that the provider must know: those of the ServiceAccounts whose tokens STS is shown. None if no binding needs the provider.
    #[must_use]
    pub fn audiences(&self) -> BTreeSet<Audience> {
        self.service_accounts.iter().filter_map(|account| account.binding.audience()).cloned().collect()
    }

    /// What is wanted of a role by each binding that identities have it by.
    pub fn sides<'a>(&'a self, role: &'a DesiredRole) -> impl Iterator<Item = DesiredRole> + 'a {
        let beside = self.besides.get(&role.arn.name).map(|side| role.only(side));
        std::iter::once(role.clone()).chain(beside)
    }

    /// What the tool's statements for this cluster rest on: its provider, and EKS Pod Identity if the cluster's name is known.
    #[must_use]
    pub fn anchors(&self) -> Vec<Anchor> {
        let pods = self.cluster.clone().map(|cluster| Anchor::PodIdentity(cluster, SessionTags::On));
        std::iter::once(Anchor::Oidc(self.provider.clone())).chain(pods).collect()
    }

    /// Whether an identity names this role; IAM ignores the case of names.
    #[must_use]
    pub fn names_role(&self, name: &RoleName) -> bool {
        self.roles.keys().any(|known| known.as_str().eq_ignore_ascii_case(name.as_str()))
    }

    /// Whether an identity names this ServiceAccount.
    #[must_use]
    pub fn names_service_account(&self, name: &ServiceAccountName) -> bool {
        self.service_accounts.iter().any(|known| known.subject.service_account == *name)
    }

    /// How long a session of a role may last, in seconds: IAM's own default for one that is given by ARN.
    #[must_use]
    pub fn max_session(&self, role: &RoleArn) -> u32 {
        let settings = self.roles.get(&role.name).and_then(|role| role.owned.as_ref()).map(|owned| owned.attributes.settings.clone());
        settings.unwrap_or_default().max_session_duration
    }
}

impl DesiredRole {
    /// Takes another side for its own. Answers the one before.
    fn replace(&mut self, Side { anchor, trust }: Side) -> Side {
        Side { anchor: std::mem::replace(&mut self.anchor, anchor), trust: std::mem::replace(&mut self.trust, trust) }
    }

    /// The same role, as far as another side is concerned.
    #[must_use]
    pub fn only(&self, Side { anchor, trust }: &Side) -> Self {
        Self { arn: self.arn.clone(), owned: None, anchor: anchor.clone(), trust: trust.clone() }
    }
}

impl DesiredTrust {
    /// Whether other environments write to it too.
    #[must_use]
    pub fn is_of_many(&self) -> bool {
        !matches!(self, Self::Environment { .. })
    }
}

/// Adds what one more identity asks of a role to what others ask of it by the same binding.
fn join((anchor, trust): (&Anchor, &mut DesiredTrust), more: Side, role: RoleName) -> Result<(), DesiredProblem> {
    match (trust, more.trust) {
        (
            DesiredTrust::Registry { entries, declarers, retain, issuer: _ },
            DesiredTrust::Registry { entries: more, declarers: others, retain: same, issuer: _ },
        ) if *retain == same => {
            entries.extend(more);
            declarers.extend(others);
            Ok(())
        }
        (DesiredTrust::Patterns(trusted), DesiredTrust::Patterns(others)) if *anchor == more.anchor && trusted.kind == others.kind => {
            for (grant, subjects) in others.subjects {
                trusted.subjects.entry(grant).or_default().extend(subjects);
            }
            Ok(())
        }
        _ => Err(DesiredProblem::RoleTwice(role)),
    }
}

fn role_arn(identity: &Identity, place: &Place, account: &Account) -> Result<RoleArn, DesiredProblem> {
    match &identity.role.origin {
        RoleOrigin::Given(arn) if arn.account == *account => Ok(arn.clone()),
        RoleOrigin::Given(arn) if identity.binding.audience().is_none() => {
            let cluster = place.cluster_account.clone().unwrap_or_else(|| account.clone());
            Err(DesiredProblem::OtherClusterAccount { role: Box::new(arn.clone()), cluster })
        }
        RoleOrigin::Given(arn) => Err(DesiredProblem::OtherAccount { arn: Box::new(arn.clone()), account: account.clone() }),
        RoleOrigin::Managed(role) => {
            let foreign = |policy: &&PolicyArn| policy.partition() != account.partition.as_str();
            if let Some(policy) = role.attributes.policies.iter().chain(&role.attributes.permissions_boundary).find(foreign) {
                return Err(DesiredProblem::OtherPartition { policy: policy.clone(), partition: account.partition.clone() });
            }
            let path = match identity.role.scope {
                Scope::Environment => format!("{}{}/", place.cluster_path(&role.path), place.namespace),
                Scope::Shared { .. } | Scope::Cluster { .. } => role.path.to_string(),
            };
            let path: RolePath = path.parse().map_err(|_| DesiredProblem::PathTooLong(path))?;
            Ok(account.role_arn(&path, &place.role_name(identity)))
        }
    }
}

fn owned(spec: &RoleSpec, subject: &Subject, place: &Place) -> Option<Box<OwnedRole>> {
    let RoleOrigin::Managed(role) = &spec.origin else { return None };
    let (owner, whom) = match &spec.scope {
        Scope::Environment => (Owner::Identity(subject.clone(), place.issuer.clone()), format!("ServiceAccount {subject}")),
        Scope::Shared { .. } => (Owner::Shared, "the ServiceAccounts that its tags name".to_owned()),
        Scope::Cluster { .. } => (Owner::Cluster, "the ServiceAccounts that its trust policy matches".to_owned()),
    };
    let job = place.job.clone().filter(|_| matches!(owner, Owner::Identity(..)));
    let settings = role.attributes.settings.clone();
    let description = settings.description.unwrap_or_else(|| format!("For the pods of {whom}"));
    // An empty one is none: so IAM shows it.
    let settings = RoleSettings { description: Some(description).filter(|text| !text.is_empty()), ..settings };
    let unused = if spec.scope == (Scope::Shared { retain: true }) { Unused::Stays } else { Unused::Goes };
    Some(Box::new(OwnedRole { owner, job, attributes: RoleAttributes { settings, ..role.attributes.clone() }, unused }))
}

fn trust(identity: &Identity, subject: &Subject, place: &Place) -> DesiredTrust {
    let spec = &identity.role;
    let subjects = std::iter::once(subject).chain(&spec.extra_subjects);
    let audience = identity.binding.audience().cloned().unwrap_or_else(Audience::of_pod_identity);
    let grant = Grant { audience, conditions: spec.conditions.clone() };
    match (&spec.scope, &identity.binding) {
        (Scope::Environment, _) => DesiredTrust::Environment { subjects: subjects.cloned().collect(), grant },
        (Scope::Shared { retain }, Binding::Irsa { audience }) => DesiredTrust::Registry {
            issuer: place.issuer.clone(),
            entries: subjects
                .map(|trusted| Entry {
                    subject: trusted.clone(),
                    audience: audience.clone(),
                    declared_by: subject.clone(),
                    conditions: spec.conditions.clone(),
                })
                .gather(),
            declarers: std::iter::once(subject.clone()).gather(),
            retain: *retain,
        },
        // Who gets the role is for the associations to say: the trust never grows.
        (Scope::Shared { .. }, Binding::PodIdentity(_)) => {
            let mut trusted = Trusted::nobody(StatementKind::Subjects);
            trusted.add(&grant, SubjectPattern::everybody());
            DesiredTrust::Patterns(trusted)
        }
        (Scope::Cluster { namespaces }, _) => {
            let mut trusted = Trusted::nobody(StatementKind::Patterns(place.project));
            for namespaces in namespaces {
                trusted.add(&grant, SubjectPattern::in_namespaces(namespaces, &subject.service_account));
            }
            spec.extra_subjects.iter().for_each(|extra| trusted.add(&grant, extra.into()));
            DesiredTrust::Patterns(trusted)
        }
    }
}

fn service_account(identity: &Identity, place: &Place, role: RoleArn) -> DesiredServiceAccount {
    let ServiceAccountSpec { name: _, token_expiration, labels, annotations, automount, keeper: _ } = &identity.service_account;
    let mut annotations: BTreeMap<String, String> =
        annotations.iter().map(|(key, value)| (key.as_str().to_owned(), value.clone())).collect();
    match &identity.binding {
        Binding::Irsa { audience } => {
            annotations.insert(ROLE_ANNOTATION.to_owned(), role.to_string());
            if *audience != Audience::default() {
                annotations.insert(AUDIENCE_ANNOTATION.to_owned(), audience.as_str().to_owned());
            }
        }
        // For a removal by the tool: whoever else keeps it has nothing to do with the record.
        Binding::PodIdentity(_) if identity.service_account.keeper == Keeper::Tool => {
            annotations.insert(ASSOCIATED_ROLE.to_owned(), role.to_string());
        }
        Binding::PodIdentity(_) => {}
    }
    if let Some(seconds) = token_expiration {
        annotations.insert(EXPIRATION_ANNOTATION.to_owned(), seconds.to_string());
    }
    DesiredServiceAccount {
        subject: place.subject(identity),
        role,
        binding: identity.binding.clone(),
        annotations,
        labels: labels.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned())).collect(),
        automount: *automount,
        job: place.job.clone(),
        keeper: identity.service_account.keeper,
    }
}

fn association(
    identity: &Identity,
    place: &Place,
    role: &RoleArn,
    account: &Account,
) -> Result<Option<(ClusterArn, DesiredAssociation)>, DesiredProblem> {
    let Binding::PodIdentity(wanted) = &identity.binding else { return Ok(None) };
    let subject = place.subject(identity);
    let no_cluster = || DesiredProblem::NoCluster(subject.clone());
    let (cluster, name) = (place.cluster_arn(account).ok_or_else(no_cluster)?, place.cluster.clone().ok_or_else(no_cluster)?);
    if let Some(cluster) = place.cluster_account.as_ref().filter(|cluster| **cluster != role.account) {
        return Err(DesiredProblem::OtherClusterAccount { role: Box::new(role.clone()), cluster: cluster.clone() });
    }
    let tags = wanted.tags.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()));
    let association = DesiredAssociation {
        cluster: name,
        settings: AssociationSettings {
            role: role.clone(),
            target: wanted.target.as_ref().map(|target| target.role.clone()),
            session_tags: wanted.session_tags,
            session_policy: wanted.session_policy.clone(),
        },
        external_id: wanted.target.as_ref().and_then(|target| target.external_id.clone()),
        tags: tags.chain([(OWNER_TAG.to_owned(), subject.to_string())]).collect(),
        kept: BTreeMap::new(),
        job: place.job.clone(),
        subject,
    };
    Ok(Some((cluster, association)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_pod_identity(scope: Scope) -> (Desired, DesiredRole) {
        let identity = Identity {
            service_account: ServiceAccountSpec {
                name: "app".parse().unwrap(),
                token_expiration: None,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                automount: None,
                keeper: Keeper::Tool,
            },
            role: RoleSpec {
                origin: RoleOrigin::Given("arn:aws:iam::123456789012:role/app".parse().unwrap()),
                scope,
                extra_subjects: BTreeSet::new(),
                conditions: crate::model::conditions::Conditions::default(),
            },
            binding: Binding::PodIdentity(Box::default()),
            services: crate::model::identity::BoundServices::default(),
        };
        let place = Place {
            namespace: "z1".parse().unwrap(),
            issuer: "https://oidc.example.com/id/A".parse().unwrap(),
            cluster: "demo".parse().ok(),
            region: "eu-west-3".parse().ok(),
            cluster_account: None,
            paths: BTreeSet::new(),
            job: None,
            project: None,
        };
        let account = Account::of_arn("arn:aws:iam::123456789012:root").unwrap();
        let desired = Desired::new(&[identity], &place, &account).unwrap();
        let role = desired.roles.values().next().unwrap().clone();
        (desired, role)
    }

    #[test]
    fn an_identity_of_pod_identity_wants_no_provider_and_no_annotation_and_a_shared_role_trusts_its_cluster() {
        let (desired, role) = of_pod_identity(Scope::Shared { retain: false });
        assert_eq!(desired.audiences(), BTreeSet::new());
        let annotations = &desired.service_accounts[0].annotations;
        assert!(!annotations.contains_key(ROLE_ANNOTATION) && annotations[ASSOCIATED_ROLE].ends_with(":role/app"), "{annotations:?}");
        assert!(matches!(role.anchor, Anchor::PodIdentity(..)));
        let DesiredTrust::Patterns(trusted) = role.trust else { panic!("{:?}", role.trust) };
        assert_eq!(trusted.all().collect::<Vec<_>>(), [&SubjectPattern::everybody()]);
        let (_, role) = of_pod_identity(Scope::Environment);
        assert!(matches!(role.trust, DesiredTrust::Environment { subjects, .. } if subjects == ["z1/app".parse().unwrap()].into()));
    }
}
