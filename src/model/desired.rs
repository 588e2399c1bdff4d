//! What should be: the identities of one environment, put into one account and one cluster.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{
    arn::{Account, Partition, PolicyArn, RoleArn},
    conditions::Conditions,
    fingerprint::fingerprint,
    identity::{Identity, Prune, RoleOrigin, RoleSpec, Scope, ServiceAccountSpec},
    marks::JobMark,
    names::{ClusterName, Namespace, RoleName, RolePath, ServiceAccountName, Subject},
    observed::{AUDIENCE_ANNOTATION, Owner, ROLE_ANNOTATION},
    oidc::{Audience, IssuerUrl, Provider},
    registry::Entry,
    role::{RoleAttributes, RoleSettings},
    service::DesiredBinding,
    trust::{Grant, Kind, ProjectMark, Trusted},
};

/// Where the identities are, and for whom: namespace, cluster, the paths of its roles, and the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The environment's namespace.
    pub namespace: Namespace,
    /// The cluster's issuer.
    pub issuer: IssuerUrl,
    /// The cluster's name, if known.
    pub cluster: Option<ClusterName>,
    /// The paths below which roles of the cluster's environments are looked for.
    pub paths: BTreeSet<RolePath>,
    /// The mark of the job that runs; nothing outside Qovery.
    pub job: Option<JobMark>,
    /// The mark of its project.
    pub project: Option<ProjectMark>,
}

impl Place {
    /// The subject of an identity here.
    #[must_use]
    pub fn subject(&self, identity: &Identity) -> Subject {
        Subject { namespace: self.namespace.clone(), service_account: identity.service_account.name.clone() }
    }

    /// Who makes something for all environments of the cluster: `<namespace>`, and the job where one is known.
    #[must_use]
    pub fn maker(&self) -> String {
        self.job.as_ref().map_or_else(|| self.namespace.to_string(), |job| format!("{}/{}", self.namespace, job.as_str()))
    }

    /// The name of an identity's role: as given, else `<ServiceAccount>-<namespace>-<fingerprint>`.
    ///
    /// The fingerprint is of issuer, namespace and ServiceAccount, 50 bits; what stands before it is cut to fit 64 characters.
    #[must_use]
    pub fn role_name(&self, identity: &Identity) -> RoleName {
        match &identity.role.origin {
            RoleOrigin::Given(arn) => arn.name.clone(),
            RoleOrigin::Managed(role) => role.name.clone().unwrap_or_else(|| role_name(&self.issuer, &self.subject(identity))),
        }
    }

    /// Below what path the tool makes the roles of single environments of this cluster.
    #[must_use]
    pub fn cluster_path(&self, path: &RolePath) -> String {
        format!("{path}{}/", self.cluster.as_ref().map_or_else(|| self.issuer.id(), ClusterName::as_str))
    }

    /// Below what paths the roles of this environment are made.
    #[must_use]
    pub fn environment_paths(&self) -> BTreeSet<String> {
        self.paths.iter().map(|path| format!("{}{}/", self.cluster_path(path), self.namespace)).collect()
    }

    /// The same, and those where a run that did not know the cluster's name has made them.
    #[must_use]
    pub fn all_environment_paths(&self) -> BTreeSet<String> {
        self.all_cluster_paths().into_iter().map(|path| format!("{path}{}/", self.namespace)).collect()
    }

    /// Below what paths roles of this cluster's environments are made, by whatever the cluster is called in them.
    #[must_use]
    pub fn all_cluster_paths(&self) -> BTreeSet<String> {
        self.paths.iter().flat_map(|path| [self.cluster_path(path), format!("{path}{}/", self.issuer.id())]).collect()
    }
}

/// 64 characters less ten for the fingerprint and two for `-`.
const READABLE: usize = 52;

fn role_name(issuer: &IssuerUrl, subject: &Subject) -> RoleName {
    let (namespace, name) = (subject.namespace.as_str(), subject.service_account.as_str());
    let unique = fingerprint(&[issuer.as_str(), namespace, name], 10);
    // A long name leaves the other its half, a short one gives the rest away. Both are ASCII.
    let namespace_share = namespace.len().min((READABLE / 2).max(READABLE.saturating_sub(name.len())));
    let name_share = name.len().min(READABLE - namespace_share);
    RoleName::trusted(format!("{}-{}-{unique}", &name[..name_share], &namespace[..namespace_share]))
}

/// What should be in the account and the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The OIDC provider of the cluster.
    pub provider: Provider,
    /// The audiences it must know.
    pub audiences: BTreeSet<Audience>,
    /// The roles by name.
    pub roles: BTreeMap<RoleName, DesiredRole>,
    /// The ServiceAccounts, in the order of the manifest.
    pub service_accounts: Vec<DesiredServiceAccount>,
    /// The services that should run with them, in the same order.
    pub bindings: Vec<DesiredBinding>,
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
}

impl OwnedRole {
    /// One of which nothing more is wanted.
    #[must_use]
    pub fn bare(owner: Owner) -> Self {
        Self { owner, job: None, attributes: RoleAttributes::default() }
    }
}

/// Whom a role trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredTrust {
    /// The subjects of one environment: it has one writer.
    Environment {
        /// The audience of the tokens.
        audience: Audience,
        /// Who may assume it.
        subjects: BTreeSet<Subject>,
        /// What else is asked of them.
        conditions: Conditions,
    },
    /// Whoever is registered: it has many writers.
    Registry {
        /// What this environment registers.
        entries: BTreeSet<Entry>,
        /// The identities of this environment that use the role.
        declarers: BTreeSet<Subject>,
        /// Whether an owned role stays when its last subject leaves.
        retain: bool,
    },
    /// Whoever matches a pattern: each writer of a project writes the same.
    Patterns(Trusted),
}

/// A ServiceAccount as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredServiceAccount {
    /// Namespace and name.
    pub subject: Subject,
    /// The role its pods get.
    pub role: RoleArn,
    /// All annotations the tool applies.
    pub annotations: BTreeMap<String, String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// `automountServiceAccountToken`.
    pub automount: Option<bool>,
    /// The job whose mark it carries.
    pub job: Option<JobMark>,
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
            Self::PathTooLong(_) => "shorten `path` in the manifest",
            Self::RoleTwice(_) => {
                "give each its own `name`, or both the same `role` with scope `shared`; names that differ only by case are one name for IAM"
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
            audiences: BTreeSet::new(),
            roles: BTreeMap::new(),
            service_accounts: Vec::new(),
            bindings: Vec::new(),
            place: place.clone(),
            prune: Prune::default(),
        }
    }

    fn add(&mut self, identity: &Identity, account: &Account) -> Result<(), DesiredProblem> {
        let place = self.place.clone();
        let arn = role_arn(identity, &place, account)?;
        add_role(&mut self.roles, identity, &place.subject(identity), arn.clone(), &place)?;
        self.service_accounts.push(service_account(&identity.service_account, &place, place.subject(identity), arn));
        self.bindings.extend(identity.services.services.iter().map(|service| DesiredBinding {
            service: service.clone(),
            service_account: identity.service_account.name.clone(),
            take_over: identity.services.take_over,
        }));
        self.audiences.insert(identity.service_account.audience.clone());
        Ok(())
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

fn role_arn(identity: &Identity, place: &Place, account: &Account) -> Result<RoleArn, DesiredProblem> {
    match &identity.role.origin {
        RoleOrigin::Given(arn) if arn.account == *account => Ok(arn.clone()),
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

/// Adds the role of an identity, or this identity to a role that another has added.
fn add_role(
    roles: &mut BTreeMap<RoleName, DesiredRole>,
    identity: &Identity,
    subject: &Subject,
    arn: RoleArn,
    place: &Place,
) -> Result<(), DesiredProblem> {
    let role = DesiredRole {
        owned: owned(&identity.role, subject, place),
        trust: trust(&identity.role, subject, &identity.service_account.audience, place.project),
        arn,
    };
    let name = role.arn.name.clone();
    let taken = roles.keys().find(|other| other.as_str().eq_ignore_ascii_case(name.as_str())).cloned();
    let Some(other) = taken.and_then(|name| roles.get_mut(&name)) else {
        roles.insert(name, role);
        return Ok(());
    };
    let alike = other.arn == role.arn && other.owned == role.owned;
    match (&mut other.trust, role.trust) {
        (
            DesiredTrust::Registry { entries, declarers, retain },
            DesiredTrust::Registry { entries: more, declarers: others, retain: same },
        ) if alike && *retain == same => {
            entries.extend(more);
            declarers.extend(others);
            Ok(())
        }
        (DesiredTrust::Patterns(trusted), DesiredTrust::Patterns(more)) if alike => {
            for (grant, claims) in more.claims {
                trusted.claims.entry(grant).or_default().extend(claims);
            }
            Ok(())
        }
        _ => Err(DesiredProblem::RoleTwice(name)),
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
    Some(Box::new(OwnedRole { owner, job, attributes: RoleAttributes { settings, ..role.attributes.clone() } }))
}

fn trust(spec: &RoleSpec, subject: &Subject, audience: &Audience, project: Option<ProjectMark>) -> DesiredTrust {
    let subjects = std::iter::once(subject).chain(&spec.extra_subjects);
    match &spec.scope {
        Scope::Environment => DesiredTrust::Environment {
            audience: audience.clone(),
            subjects: subjects.cloned().collect(),
            conditions: spec.conditions.clone(),
        },
        Scope::Shared { retain } => DesiredTrust::Registry {
            entries: subjects
                .map(|trusted| Entry {
                    subject: trusted.clone(),
                    audience: audience.clone(),
                    declared_by: subject.clone(),
                    conditions: spec.conditions.clone(),
                })
                .collect(),
            declarers: BTreeSet::from([subject.clone()]),
            retain: *retain,
        },
        Scope::Cluster { namespaces } => {
            let grant = Grant { audience: audience.clone(), conditions: spec.conditions.clone() };
            let mut trusted = Trusted::nobody(Kind::Patterns(project));
            for namespace in namespaces {
                trusted.add_under(&grant, format!("system:serviceaccount:{namespace}:{}", subject.service_account));
            }
            spec.extra_subjects.iter().for_each(|extra| trusted.add_under(&grant, extra.claim()));
            DesiredTrust::Patterns(trusted)
        }
    }
}

fn service_account(spec: &ServiceAccountSpec, place: &Place, subject: Subject, role: RoleArn) -> DesiredServiceAccount {
    let mut annotations: BTreeMap<String, String> =
        spec.annotations.iter().map(|(key, value)| (key.as_str().to_owned(), value.clone())).collect();
    annotations.insert(ROLE_ANNOTATION.to_owned(), role.to_string());
    if spec.audience != Audience::default() {
        annotations.insert(AUDIENCE_ANNOTATION.to_owned(), spec.audience.as_str().to_owned());
    }
    if let Some(seconds) = spec.token_expiration {
        annotations.insert("eks.amazonaws.com/token-expiration".to_owned(), seconds.to_string());
    }
    let labels = spec.labels.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned())).collect();
    DesiredServiceAccount { subject, role, annotations, labels, automount: spec.automount, job: place.job.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(namespace: &str, service_account: &str) -> RoleName {
        name_in("https://oidc.example.com/id/A", namespace, service_account)
    }

    fn name_in(issuer: &str, namespace: &str, service_account: &str) -> RoleName {
        let issuer = issuer.parse().unwrap();
        role_name(&issuer, &Subject { namespace: namespace.parse().unwrap(), service_account: service_account.parse().unwrap() })
    }

    #[test]
    fn a_role_name_is_readable_and_never_changes() {
        insta::assert_snapshot!(name_of("z1a2b3c4-prod", "my-s3-role"), @"my-s3-role-z1a2b3c4-prod-cf7gmaiddr");
    }

    #[test]
    fn long_names_are_hashed_rather_than_cut() {
        let shared = "z".repeat(60);
        let (one, other) = (name_of(&format!("{shared}aaa"), "app"), name_of(&format!("{shared}bbb"), "app"));
        assert_ne!(one, other);
        let long = name_of(&"n".repeat(63), &"s".repeat(253));
        for name in [&one, &other, &long] {
            assert_eq!(name.as_str().len(), 64);
            assert_eq!(name.as_str().parse::<RoleName>().as_ref(), Ok(name));
        }
        insta::assert_snapshot!(long, @"ssssssssssssssssssssssssss-nnnnnnnnnnnnnnnnnnnnnnnnnn-7ju4jeqw6q");
    }

    #[test]
    fn names_that_read_alike_are_different_roles() {
        assert_ne!(name_of("b-c", "a"), name_of("c", "a-b"));
        assert_ne!(name_of("z1", "app"), name_in("https://oidc.example.com/id/B", "z1", "app"));
    }

    proptest::proptest! {
        #[test]
        fn every_identity_has_a_legal_role_name(namespace in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name in "[a-z0-9]([-a-z0-9]{0,80}[a-z0-9])?(\\.[a-z0-9]{1,80}){0,2}") {
            let role = name_of(&namespace, &name);
            proptest::prop_assert_eq!(role.as_str().parse::<RoleName>(), Ok(role));
        }
    }
}
