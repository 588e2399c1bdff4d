//! What should be: the identities of one environment, put into one account and one cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use thiserror::Error;

use super::{
    arn::{Account, PolicyArn, RoleArn},
    fingerprint::fingerprint,
    identity::{EnvironmentRole, Identity, RoleSpec, ServiceAccountSpec},
    names::{ClusterName, Namespace, PolicyName, RoleName, RolePath, Subject, TagKey, TagValue},
    oidc::{Audience, IssuerUrl, Provider},
    registry::Entry,
};

/// Where the identities are: the namespace, the cluster's issuer and, for paths, its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The environment's namespace.
    pub namespace: Namespace,
    /// The cluster's issuer.
    pub issuer: IssuerUrl,
    /// The cluster's name, if known.
    pub cluster: Option<ClusterName>,
}

impl Place {
    /// The subject of an identity here.
    #[must_use]
    pub fn subject(&self, identity: &Identity) -> Subject {
        Subject { namespace: self.namespace.clone(), service_account: identity.service_account.name.clone() }
    }

    /// The name of an identity's role: as given, else `<ServiceAccount>-<namespace>-<fingerprint>`.
    ///
    /// The fingerprint is of issuer, namespace and ServiceAccount, 50 bits; what stands before it is cut to fit 64 characters.
    #[must_use]
    pub fn role_name(&self, identity: &Identity) -> RoleName {
        match &identity.role {
            RoleSpec::Given(given) => given.arn.name.clone(),
            RoleSpec::Environment(role) => role.name.clone().unwrap_or_else(|| role_name(&self.issuer, &self.subject(identity))),
        }
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
}

/// A role as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredRole {
    /// Made for this environment.
    Environment(Box<DesiredEnvironmentRole>),
    /// Given by ARN.
    Given(DesiredGivenRole),
}

/// A role that the tool makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEnvironmentRole {
    /// Its ARN, path and name in it.
    pub arn: RoleArn,
    /// The identity it is for.
    pub owner: Subject,
    /// The audience of the tokens.
    pub audience: Audience,
    /// Who may assume it.
    pub subjects: BTreeSet<Subject>,
    /// Its description.
    pub description: String,
    /// Seconds a session may last.
    pub max_session_duration: u32,
    /// Its permissions boundary.
    pub permissions_boundary: Option<PolicyArn>,
    /// The managed policies attached to it.
    pub policies: BTreeSet<PolicyArn>,
    /// Its inline policies.
    pub inline_policies: BTreeMap<PolicyName, Value>,
    /// The user's tags.
    pub tags: BTreeMap<TagKey, TagValue>,
}

/// A role given by ARN: the tool manages registry tags and its own statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredGivenRole {
    /// Its ARN.
    pub arn: RoleArn,
    /// What this environment registers.
    pub entries: BTreeSet<Entry>,
    /// The identities of this environment that use the role.
    pub declarers: BTreeSet<Subject>,
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
    /// Path, cluster and namespace together are longer than IAM takes.
    #[error("the role path `{0}` is longer than IAM's 512 characters")]
    PathTooLong(String),
    /// Two identities ask for one role in ways that do not go together.
    #[error("role `{0}` is asked for by two identities: give each its own name")]
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
            Self::PathTooLong(_) => "shorten `path` in the manifest",
            Self::RoleTwice(_) => "names that differ only by case are one name for IAM",
        }
    }
}

impl Desired {
    /// Puts identities into an account.
    ///
    /// # Errors
    /// An identity cannot be there.
    pub fn new(identities: &[Identity], place: &Place, account: &Account) -> Result<Self, DesiredProblem> {
        let mut roles = BTreeMap::new();
        let mut service_accounts = Vec::new();
        for identity in identities {
            let arn = role_arn(identity, place, account)?;
            service_accounts.push(service_account(&identity.service_account, place.subject(identity), arn.clone()));
            add_role(&mut roles, identity, place.subject(identity), arn)?;
        }
        Ok(Self {
            provider: Provider::of(&place.issuer, account),
            audiences: identities.iter().map(|identity| identity.service_account.audience.clone()).collect(),
            roles,
            service_accounts,
        })
    }
}

fn role_arn(identity: &Identity, place: &Place, account: &Account) -> Result<RoleArn, DesiredProblem> {
    match &identity.role {
        RoleSpec::Given(given) if given.arn.account == *account => Ok(given.arn.clone()),
        RoleSpec::Given(given) => Err(DesiredProblem::OtherAccount { arn: Box::new(given.arn.clone()), account: account.clone() }),
        RoleSpec::Environment(role) => {
            let cluster = place.cluster.as_ref().map_or_else(|| place.issuer.id(), ClusterName::as_str);
            let path = format!("{}{cluster}/{}/", role.path, place.namespace);
            let path: RolePath = path.parse().map_err(|_| DesiredProblem::PathTooLong(path))?;
            Ok(account.role_arn(&path, &place.role_name(identity)))
        }
    }
}

fn add_role(
    roles: &mut BTreeMap<RoleName, DesiredRole>,
    identity: &Identity,
    subject: Subject,
    arn: RoleArn,
) -> Result<(), DesiredProblem> {
    let audience = identity.service_account.audience.clone();
    let taken = roles.keys().find(|name| name.as_str().eq_ignore_ascii_case(arn.name.as_str())).cloned();
    match &identity.role {
        RoleSpec::Environment(spec) => {
            if let Some(name) = taken {
                return Err(DesiredProblem::RoleTwice(name));
            }
            roles.insert(arn.name.clone(), DesiredRole::Environment(Box::new(environment_role(spec, subject, audience, arn))));
        }
        RoleSpec::Given(spec) => {
            let entries = std::iter::once(&subject).chain(&spec.extra_subjects).map(|trusted| Entry {
                subject: trusted.clone(),
                audience: audience.clone(),
                declared_by: subject.clone(),
            });
            match taken.and_then(|name| roles.get_mut(&name)) {
                Some(DesiredRole::Given(role)) if role.arn == arn => {
                    role.entries.extend(entries);
                    role.declarers.insert(subject.clone());
                }
                Some(_) => return Err(DesiredProblem::RoleTwice(arn.name)),
                None => {
                    let entries = entries.collect();
                    let role = DesiredGivenRole { arn: arn.clone(), entries, declarers: BTreeSet::from([subject]) };
                    roles.insert(arn.name, DesiredRole::Given(role));
                }
            }
        }
    }
    Ok(())
}

fn environment_role(spec: &EnvironmentRole, owner: Subject, audience: Audience, arn: RoleArn) -> DesiredEnvironmentRole {
    DesiredEnvironmentRole {
        arn,
        audience,
        subjects: std::iter::once(owner.clone()).chain(spec.extra_subjects.iter().cloned()).collect(),
        description: spec.description.clone().unwrap_or_else(|| format!("For the pods of ServiceAccount {owner}")),
        max_session_duration: spec.max_session_duration,
        permissions_boundary: spec.permissions_boundary.clone(),
        policies: spec.policies.clone(),
        inline_policies: spec.inline_policies.clone(),
        tags: spec.tags.clone(),
        owner,
    }
}

/// The annotation that names the role, read by the pod identity webhook.
/// <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>
pub const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

fn service_account(spec: &ServiceAccountSpec, subject: Subject, role: RoleArn) -> DesiredServiceAccount {
    let mut annotations: BTreeMap<String, String> =
        spec.annotations.iter().map(|(key, value)| (key.as_str().to_owned(), value.clone())).collect();
    annotations.insert(ROLE_ANNOTATION.to_owned(), role.to_string());
    if spec.audience != Audience::default() {
        annotations.insert("eks.amazonaws.com/audience".to_owned(), spec.audience.as_str().to_owned());
    }
    if let Some(seconds) = spec.token_expiration {
        annotations.insert("eks.amazonaws.com/token-expiration".to_owned(), seconds.to_string());
    }
    let labels = spec.labels.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned())).collect();
    DesiredServiceAccount { subject, role, annotations, labels, automount: spec.automount }
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
