//! What was seen in the account and the cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    arn::{Account, ClusterArn, PolicyArn, RoleArn},
    association::{KnownAgent, ObservedAssociation},
    date::Date,
    gather::Gather as _,
    marks::{JobMark, Jobs, Marks},
    names::{Namespace, PolicyName, RoleName, ServiceAccountName, Subject},
    oidc::IssuerUrl,
    pods::Use,
    record::{ASSOCIATED_ROLE, EARLIER_ROLES, EarlierRoles},
    registry::PodsEntry,
    role::{NewRole, RoleSettings},
    service::ObservedService,
    sessions::Sessions,
    trust::TrustPolicy,
};

pub use super::marks::OWNER_TAG;

/// The field manager of the tool's server-side applies, but for the marks of jobs: these have one each.
pub const FIELD_MANAGER: &str = "qovery-irsa";
/// The annotation that names the role, read by the pod identity webhook.
/// <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>
pub const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";
/// The label that marks a ServiceAccount the tool created, and its value.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "qovery-irsa");
/// The annotation that names the audience of the tokens that pods get.
/// <https://github.com/aws/amazon-eks-pod-identity-webhook>
pub const AUDIENCE_ANNOTATION: &str = "eks.amazonaws.com/audience";
/// The annotation that says how long these tokens live, in seconds.
pub const EXPIRATION_ANNOTATION: &str = "eks.amazonaws.com/token-expiration";
/// The tag that says which environment and job made an OIDC provider.
pub const MAKER_TAG: &str = "qovery-irsa/made-by";
/// The tag that says of which cluster one environment's role is: the issuer without `https://`.
pub const ISSUER_TAG: &str = "qovery-irsa/issuer";
/// The tag of a role that a removal could not take away, with the date: somebody else relies on the role.
pub const LEFT_TAG: &str = "qovery-irsa/left";
/// The tag of a shared role that stays when its last subject leaves, for a removal that has no manifest to ask.
pub const RETAIN_TAG: &str = "qovery-irsa/retain";

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// When it was seen.
    pub at: Date,
    /// The account of the credentials.
    pub account: Account,
    /// The OIDC provider of the cluster.
    pub provider: KnownProvider,
    /// The roles that are there, by the name they were looked for: those that identities name, and those of the ledger, which the
    /// environment's job has made or joined and no identity names.
    pub roles: BTreeMap<RoleName, ObservedRole>,
    /// The ServiceAccounts that are there: those that identities name, and those of the namespace that the tool holds a field of.
    pub service_accounts: BTreeMap<ServiceAccountName, ObservedServiceAccount>,
    /// The associations of EKS Pod Identity in the namespace, by ServiceAccount. None if nobody looked.
    pub associations: Option<BTreeMap<ServiceAccountName, ObservedAssociation>>,
    /// What the service said where there was reason to look for associations, and they may not be read.
    pub unread_associations: Option<String>,
    /// Whether the cluster can give pods the credentials of associations. Looked up only before one is made.
    pub agent: KnownAgent,
    /// The pods of the namespace that run or are about to. Looked up by a deploy where a pod's token is the proof; none if the job may not.
    pub pods: Option<Vec<Use>>,
    /// Who uses ServiceAccounts and roles of the namespace. Looked up only where what is used stays.
    pub uses: Option<Vec<Use>>,
    /// Jobs of which it is known that they no longer exist: their marks keep nothing.
    pub gone_jobs: BTreeSet<JobMark>,
    /// Whether the namespace is being deleted, as far as that was seen: no pod starts there any more.
    pub namespace_ends: bool,
    /// Whether it is known which jobs exist.
    pub knows_jobs: bool,
    /// What of the ledger could not be read, in words.
    pub unread: Vec<String>,
    /// The roles of the ledger that may not be read, and what the service said.
    pub unread_roles: BTreeMap<RoleArn, String>,
    /// The sessions that STS gave at once, if it was asked.
    pub sessions: Sessions,
    /// For a sweep: roles of single environments of this cluster whose namespace does not exist.
    pub left_behind: Vec<ObservedRole>,
    /// For a sweep: associations of this cluster that the tool made, in namespaces that do not exist.
    pub left_associations: Vec<ObservedAssociation>,
    /// For a sweep: whether associations give these roles to pods. Looked up only for what nothing else keeps.
    pub users: BTreeMap<RoleName, Users>,
    /// The services of the environment, if any is to be bound.
    pub services: Vec<ObservedService>,
    /// Whether the services could not be seen: then none is bound.
    pub services_unseen: bool,
    /// What is looked up only for a sweep, or when a role is about to outgrow the default quota.
    pub limits: Limits,
}

impl Observed {
    /// An account in which nothing was seen.
    #[must_use]
    pub fn nothing(account: Account) -> Self {
        Self {
            at: Date::default(),
            account,
            provider: KnownProvider::NotRead,
            roles: BTreeMap::new(),
            service_accounts: BTreeMap::new(),
            associations: None,
            unread_associations: None,
            agent: KnownAgent::NotRead,
            pods: None,
            uses: None,
            gone_jobs: BTreeSet::new(),
            namespace_ends: false,
            knows_jobs: false,
            unread: Vec::new(),
            unread_roles: BTreeMap::new(),
            sessions: Sessions::default(),
            left_behind: Vec::new(),
            left_associations: Vec::new(),
            users: BTreeMap::new(),
            services: Vec::new(),
            services_unseen: false,
            limits: Limits::default(),
        }
    }
}

impl Observed {
    /// The jobs that have left a mark on anything.
    #[must_use]
    pub fn marked_by(&self) -> BTreeSet<JobMark> {
        let marks = self.roles.values().map(ObservedRole::marks).chain(self.service_accounts.values().map(ObservedServiceAccount::marks));
        let marks = marks.chain(self.associations.iter().flatten().map(|(_, association)| association.marks()));
        marks.flat_map(|marks| marks.jobs().cloned().collect::<Vec<_>>()).gather()
    }

    /// Takes note of which marks count no longer.
    pub fn judge_marks(&mut self, jobs: &Jobs) {
        self.knows_jobs = *jobs != Jobs::Unknown;
        self.gone_jobs = match jobs {
            Jobs::Unknown => BTreeSet::new(),
            Jobs::Gone(gone) => gone.clone(),
            Jobs::Exist(exist) => self.marked_by().difference(exist).cloned().gather(),
        };
    }
}

/// Whether associations give a role to pods: of the clusters that the tool's statements in its trust policy name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// None does.
    Nobody,
    /// One does.
    Somebody,
    /// It cannot be known from here: why, in words.
    Unknown(String),
}

/// How much a role may hold here, and whose entries could go; each if it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Characters of a trust policy without white space: `AssumeRolePolicySizeQuota`.
    pub trust_policy: Option<usize>,
    /// Managed policies on one role: `AttachedPoliciesPerRoleQuota`.
    pub attached_policies: Option<usize>,
    /// The namespaces that exist.
    pub namespaces: Option<BTreeSet<Namespace>>,
}

/// What is known of the cluster's OIDC provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KnownProvider {
    /// Nothing: nobody looked.
    #[default]
    NotRead,
    /// It was read: what it is like; nothing if it does not exist.
    Read(Option<ObservedProvider>),
    /// It was not read, but STS gave a session for the token of every ServiceAccount, which it does only where the provider exists and accepts
    /// the audience of the token.
    ShownBySessions,
}

/// An OIDC provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedProvider {
    /// The audiences it knows: IAM's client ids.
    pub audiences: BTreeSet<String>,
    /// Whether the tool made it.
    pub is_own: bool,
}

/// A role.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRole {
    /// Its ARN, path and name in it.
    pub arn: RoleArn,
    /// Description and so on.
    pub settings: RoleSettings,
    /// The ARN of its permissions boundary.
    pub permissions_boundary: Option<PolicyArn>,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
    /// Its trust policy.
    pub trust: TrustPolicy,
    /// The managed policies attached to it.
    pub attached: BTreeSet<PolicyArn>,
    /// Its inline policies: all names, and the documents of those that were asked for.
    pub inline_policies: BTreeMap<PolicyName, Option<Value>>,
    /// The instance profiles it is in; looked up only before it is deleted.
    pub instance_profiles: BTreeSet<String>,
}

impl ObservedRole {
    /// A role just made: nothing is attached to it yet.
    #[must_use]
    pub fn fresh(new: &NewRole) -> Self {
        Self {
            arn: new.arn.clone(),
            settings: new.settings.clone(),
            permissions_boundary: new.permissions_boundary.clone(),
            tags: new.tags.clone(),
            trust: new.trust.clone(),
            attached: BTreeSet::new(),
            inline_policies: BTreeMap::new(),
            instance_profiles: BTreeSet::new(),
        }
    }

    /// The marks of the jobs that want it.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks::of_tags(&self.tags)
    }

    /// The clusters whose pods it is for by EKS Pod Identity, as the tool has written it; none of a statement that a person has taken the
    /// cluster out of.
    #[must_use]
    pub fn pods_of(&self) -> BTreeSet<Option<ClusterArn>> {
        let of_tags = PodsEntry::all(&self.tags).into_iter().map(|entry| Some(entry.cluster));
        self.trust.pod_identity_clusters().into_iter().chain(of_tags).gather()
    }
}

/// Whose role it is that the tool made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One identity's, in the cluster of this issuer.
    Identity(Subject, IssuerUrl),
    /// Many environments', in any cluster.
    Shared,
    /// Every environment's that matches a pattern, in any cluster.
    Cluster,
}

impl Owner {
    /// The tags that say so.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        let tag = |key: &str, value: String| (key.to_owned(), value);
        let tags = match self {
            Self::Identity(subject, issuer) => {
                vec![tag(OWNER_TAG, subject.to_string()), tag(ISSUER_TAG, issuer.host_and_path().to_owned())]
            }
            Self::Shared => vec![tag(OWNER_TAG, "shared".to_owned())],
            Self::Cluster => vec![tag(OWNER_TAG, "cluster".to_owned())],
        };
        tags.into_iter().gather()
    }

    /// Reads the tags of a role; none if the tool did not make it.
    #[must_use]
    pub fn from_tags(tags: &BTreeMap<String, String>) -> Option<Self> {
        match tags.get(OWNER_TAG)?.as_str() {
            "shared" => Some(Self::Shared),
            "cluster" => Some(Self::Cluster),
            subject => Some(Self::Identity(subject.parse().ok()?, format!("https://{}", tags.get(ISSUER_TAG)?).parse().ok()?)),
        }
    }
}

/// As a refusal says it.
impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity(subject, issuer) => write!(f, "ServiceAccount `{subject}` of the cluster with issuer `{issuer}`"),
            Self::Shared => f.write_str("many environments (scope `shared`)"),
            Self::Cluster => f.write_str("the namespaces of a pattern (scope `cluster`)"),
        }
    }
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedServiceAccount {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its unique id.
    pub uid: String,
    /// Its version: an apply that names another one is refused.
    pub version: String,
    /// Whether it is being deleted, and a finalizer still holds it: it gives no tokens that last, and never comes back as this object.
    pub ends: bool,
    /// What is set on it, by field.
    pub values: BTreeMap<Field, String>,
    /// Which field managers hold which field.
    pub managers: BTreeMap<Field, BTreeSet<String>>,
}

impl ObservedServiceAccount {
    /// Whether the tool's field manager holds this field.
    #[must_use]
    pub fn held_by_tool(&self, field: &Field) -> bool {
        self.managers.get(field).is_some_and(|managers| managers.contains(FIELD_MANAGER))
    }

    /// Whether a field manager of the tool holds any field, or the marks say that it did.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.managers.values().flatten().any(|manager| is_tools(manager)) || self.is_marked()
    }

    /// Whether the tool created it.
    #[must_use]
    pub fn is_made_by_tool(&self) -> bool {
        let mark = Field::Label(MANAGED_BY.0.to_owned());
        self.values.get(&mark).is_some_and(|value| value == MANAGED_BY.1) && self.is_left_to_tool(&mark)
    }

    /// The managers other than the tool's that hold a field.
    pub fn others(&self, field: &Field) -> impl Iterator<Item = &String> {
        self.managers.get(field).into_iter().flatten().filter(|manager| !is_tools(manager))
    }

    /// Whether nobody holds a field but the tool and those that only bring back what was there.
    #[must_use]
    pub fn is_left_to_tool(&self, field: &Field) -> bool {
        self.others(field).all(|manager| is_restorer(manager))
    }

    /// Whether the field manager of a job holds a field.
    #[must_use]
    pub fn is_held_by_job(&self, field: &Field) -> bool {
        self.managers.get(field).into_iter().flatten().any(|manager| JobMark::of_manager(manager).is_some())
    }

    /// Whether the field manager of this job holds the label that is its mark.
    #[must_use]
    pub fn is_marked_by(&self, job: &JobMark) -> bool {
        self.managers.get(&Field::Label(job.label())).is_some_and(|managers| managers.contains(&job.field_manager()))
    }

    fn is_marked(&self) -> bool {
        self.is_made_by_tool() || !self.marks().is_empty()
    }

    /// The marks of the jobs that want it.
    #[must_use]
    pub fn marks(&self) -> Marks {
        // Whoever else holds the same value takes nothing away from the tool.
        let counts = |field: &Field| self.is_left_to_tool(field) || self.is_held_by_job(field) || self.held_by_tool(field);
        let labels = self.values.iter().filter(|(field, _)| counts(field));
        Marks::of_labels(labels.filter_map(|(field, value)| match field {
            Field::Label(key) => Some((key, value)),
            _ => None,
        }))
    }

    /// The role that the tool has set on it for IRSA: pods get it by the annotation.
    #[must_use]
    pub fn role(&self) -> Option<RoleArn> {
        self.own_annotation(ROLE_ANNOTATION)?.parse().ok()
    }

    /// The role that the tool has recorded on it for EKS Pod Identity: then there is, was or will be an association of the tool's for it.
    #[must_use]
    pub fn associated_role(&self) -> Option<RoleArn> {
        self.own_annotation(ASSOCIATED_ROLE)?.parse().ok()
    }

    /// The roles that it has by either binding: while an identity moves from one to the other it has both, perhaps of different roles.
    #[must_use]
    pub fn roles(&self) -> BTreeMap<String, RoleArn> {
        self.role().into_iter().chain(self.associated_role()).map(|role| (role.to_string(), role)).gather()
    }

    /// The roles that it had before and that are not left yet.
    #[must_use]
    pub fn earlier_roles(&self) -> EarlierRoles {
        self.own_annotation(EARLIER_ROLES).map(EarlierRoles::read).unwrap_or_default()
    }

    /// Those of these annotations that the tool's field manager holds, with their values.
    #[must_use]
    pub fn held_annotations(&self, keys: &[&str]) -> BTreeMap<String, String> {
        let held = keys.iter().filter_map(|key| {
            let field = Field::Annotation((*key).to_owned());
            let value = self.values.get(&field).filter(|_| self.held_by_tool(&field))?;
            Some(((*key).to_owned(), value.clone()))
        });
        held.gather()
    }

    fn own_annotation(&self, key: &str) -> Option<&str> {
        let field = Field::Annotation(key.to_owned());
        let is_own = self.held_by_tool(&field) || (self.is_left_to_tool(&field) && self.is_marked());
        self.values.get(&field).filter(|_| is_own).map(String::as_str)
    }
}

/// A field that is not as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The field.
    pub field: String,
    /// What was applied.
    pub applied: String,
    /// What is there instead; nothing if it was dropped.
    pub found: Option<String>,
    /// Who holds it now besides the tool.
    pub manager: Option<String>,
}

/// Whether it is a field manager of the tool.
#[must_use]
pub fn is_tools(manager: &str) -> bool {
    manager == FIELD_MANAGER || JobMark::of_manager(manager).is_some()
}

/// Whether a field manager only brings back what was there: what the API server calls whoever wrote the fields of an object whose managed
/// fields were cleared, and Velero.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields>
#[must_use]
pub fn is_restorer(manager: &str) -> bool {
    matches!(manager, "before-first-apply" | "velero" | "velero-server")
}

/// A field that a field manager can hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `metadata.annotations.<key>`
    Annotation(String),
    /// `metadata.labels.<key>`
    Label(String),
    /// `automountServiceAccountToken`
    Automount,
    /// Any other, by its path.
    Other(String),
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Annotation(key) => write!(f, "annotation `{key}`"),
            Self::Label(key) => write!(f, "label `{key}`"),
            Self::Automount => f.write_str("`automountServiceAccountToken`"),
            Self::Other(path) => write!(f, "`{path}`"),
        }
    }
}
