//! A trust zone as it should be in one account: names, documents and tags, with nothing left to decide.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use super::{
    permissions::{LARGEST_INLINE_POLICIES, permissions},
    spec::{BOOTSTRAP, BootstrapSpec, BoundaryChoice, CLUSTER_TAG, REGION_TAG, Zone},
};
use crate::model::{
    agent::AutoMode,
    anchor::{Anchor, StatementKind},
    arn::{Account, ClusterArn, PolicyArn, RoleArn},
    names::{ClusterName, RoleName, RolePath},
    observed::OWNER_TAG,
    oidc::{Audience, Provider},
    subjects::SubjectPattern,
    trust::{TrustPolicy, Trusted},
};

/// A trust zone that cannot be, and why. Nothing was changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BootstrapProblem {
    /// Something belongs to another account.
    #[error("`{arn}` is not of the cluster's account {account}")]
    OtherAccount {
        /// The thing.
        arn: String,
        /// The account of the cluster.
        account: Account,
    },
    /// The job's policy is larger than IAM takes.
    #[error(
        "the policy of role `{role}` has {size} characters, and IAM takes {LARGEST_INLINE_POLICIES} of a role's inline policies together"
    )]
    PolicyTooLarge {
        /// The job's role.
        role: RoleName,
        /// Its size without white space.
        size: usize,
    },
    /// The job's trust policy is larger than IAM takes.
    #[error("the trust policy of role `{role}` has {size} characters, and IAM takes {LARGEST_TRUST} unless the account's quota was raised")]
    TrustTooLarge {
        /// The job's role.
        role: RoleName,
        /// Its size without white space.
        size: usize,
    },
}

/// The default quota `Role trust policy length`, in characters without white space.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const LARGEST_TRUST: usize = 2048;

impl BootstrapProblem {
    /// The way out.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherAccount { .. } => {
                "use an AWS profile of the cluster's account; roles and policies of `cluster:` must be of that account"
            }
            Self::PolicyTooLarge { .. } => {
                "list fewer roles in `cluster.roles`: put shared roles below a `path` of their own that ends with the cluster's name (`/qovery/CLUSTER/`), which the policy covers already"
            }
            Self::TrustTooLarge { .. } => "list fewer patterns in `namespaces`: one pattern can match many namespaces",
        }
    }
}

/// What should be in AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredBootstrap {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its ARN.
    pub cluster_arn: ClusterArn,
    /// The path below which the jobs make roles.
    pub path: RolePath,
    /// The OIDC provider of the cluster.
    pub provider: Provider,
    /// The audience of the jobs' tokens.
    pub audience: Audience,
    /// What bounds the roles that the jobs make; nothing where nothing does.
    pub boundary: Option<DesiredPolicy>,
    /// The job's role.
    pub role: RoleArn,
    /// What people read about it.
    pub description: String,
    /// Whom it trusts.
    pub trusted: Trusted,
    /// What it may do.
    pub permissions: Value,
    /// Whether the agent of EKS Pod Identity is to be there.
    pub agent: bool,
    /// Tags of all that is made.
    pub tags: BTreeMap<String, String>,
}

/// A managed policy that is there, or that `bootstrap` makes.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredPolicy {
    /// Its ARN.
    pub arn: PolicyArn,
    /// Its document, if `bootstrap` makes it.
    pub document: Option<Value>,
}

impl DesiredBootstrap {
    /// The zone of a spec.
    ///
    /// # Errors
    /// It cannot be in this account.
    pub fn new(spec: &BootstrapSpec, zone: &Zone) -> Result<Self, BootstrapProblem> {
        let account = &zone.account;
        let role = account.role_arn(&RolePath::top(), &spec.role);
        let boundary = boundary(spec, account);
        let of_others = spec.roles.iter().filter(|role| role.account != *account).map(ToString::to_string);
        let bounded = boundary.iter().map(|policy| &policy.arn).filter(|arn| !is_of(arn, account)).map(ToString::to_string);
        if let Some(arn) = of_others.chain(bounded).next() {
            return Err(BootstrapProblem::OtherAccount { arn, account: account.clone() });
        }
        let mut trusted = Trusted::nobody(StatementKind::Patterns(None));
        let audience = Audience::default();
        for namespaces in &spec.namespaces {
            trusted.add(&audience.clone().into(), SubjectPattern::in_namespaces(namespaces, &spec.service_account));
        }
        let provider = Provider::of(&zone.issuer, account);
        let permissions = permissions(spec, zone, boundary.as_ref().map(|policy| &policy.arn));
        let size = permissions.to_string().chars().count();
        if size > LARGEST_INLINE_POLICIES {
            return Err(BootstrapProblem::PolicyTooLarge { role: spec.role.clone(), size });
        }
        let size = TrustPolicy::new(&Anchor::Oidc(provider.clone()), &trusted).minified().chars().count();
        if size > LARGEST_TRUST {
            return Err(BootstrapProblem::TrustTooLarge { role: spec.role.clone(), size });
        }
        Ok(Self {
            cluster: spec.cluster.clone(),
            cluster_arn: ClusterArn::of(account, &zone.region, &spec.cluster),
            path: spec.path.clone(),
            provider,
            audience,
            boundary,
            role,
            description: format!("What the qovery-irsa jobs of EKS cluster {} may do", spec.cluster),
            trusted,
            permissions,
            agent: spec.pod_identity && zone.auto_mode == AutoMode::Off,
            tags: tags(spec, zone),
        })
    }

    /// What the trust rests on.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        Anchor::Oidc(self.provider.clone())
    }

    /// The ARN of the policy that `bootstrap` makes where the spec has a document, whether or not it has one.
    #[must_use]
    pub fn own_boundary(&self) -> PolicyArn {
        boundary_arn(&self.role.account, &self.role.name)
    }

    /// Whether tags say that `bootstrap` made it for this cluster.
    #[must_use]
    pub fn is_own(&self, tags: &BTreeMap<String, String>) -> bool {
        [OWNER_TAG, CLUSTER_TAG, REGION_TAG].iter().all(|key| tags.get(*key).is_some() && tags.get(*key) == self.tags.get(*key))
    }
}

fn boundary(spec: &BootstrapSpec, account: &Account) -> Option<DesiredPolicy> {
    match &spec.boundary {
        BoundaryChoice::None => None,
        BoundaryChoice::Policy(arn) => Some(DesiredPolicy { arn: arn.clone(), document: None }),
        BoundaryChoice::Document(document) => {
            Some(DesiredPolicy { arn: boundary_arn(account, &spec.role), document: Some(document.clone()) })
        }
    }
}

fn boundary_arn(account: &Account, role: &RoleName) -> PolicyArn {
    PolicyArn::of(account, &format!("{role}-boundary"))
}

/// AWS's own policies are everybody's.
fn is_of(policy: &PolicyArn, account: &Account) -> bool {
    let of_partition = policy.partition() == account.partition.as_str();
    of_partition && [account.id.as_str(), "aws"].contains(&policy.account_id())
}

/// The tool's own keys win: a spec cannot have them.
fn tags(spec: &BootstrapSpec, zone: &Zone) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = spec.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    for (key, value) in [(OWNER_TAG, BOOTSTRAP), (CLUSTER_TAG, spec.cluster.as_str()), (REGION_TAG, zone.region.as_str())] {
        tags.insert(key.to_owned(), value.to_owned());
    }
    tags
}
