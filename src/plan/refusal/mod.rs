//! What the plan declines to touch, why, and the way out.

#[cfg(feature = "laptop")]
mod access;
#[cfg(feature = "laptop")]
mod bootstrap;
mod install;

use std::{collections::BTreeSet, fmt};

#[cfg(feature = "laptop")]
pub(super) use access::AccessRefusal;
#[cfg(feature = "laptop")]
pub(super) use bootstrap::{BootstrapRefusal, Counted};
pub(super) use install::{InstallRefusal, Lookup};
use thiserror::Error;

use crate::model::{
    arn::RoleArn,
    association::ObservedAssociation,
    line::one_line,
    names::{Namespace, RoleName, ServiceAccountName, Subject},
    observed::{Field, OWNER_TAG, Owner},
    oidc::IssuerUrl,
    service::{Service, ServiceRef},
};

/// One thing the plan declines to touch: a person must decide.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// A role of the wanted name exists and the tool did not make it.
    #[error("role `{observed}` exists and was not made by this tool")]
    ForeignRole {
        /// The role that is there; IAM ignores the case of names.
        observed: Box<RoleArn>,
    },
    /// An association for the ServiceAccount was not made by the tool for it.
    #[error("ServiceAccount `{}` has an association already, `{}` with role `{}`, {}", observed.subject, observed.id, observed.settings.role,
        observed.add_on.as_ref().map_or_else(|| "that this tool did not make".to_owned(), |add_on| format!("that add-on `{add_on}` owns")))]
    ForeignAssociation {
        /// The association.
        observed: Box<ObservedAssociation>,
    },
    /// Pods rely on an association that would have to go.
    #[error("ServiceAccount `{subject}` should get its role by IRSA, but pods rely on its association with EKS Pod Identity: {pods}")]
    AssociationInUse {
        /// The ServiceAccount.
        subject: Subject,
        /// The pods, in words.
        pods: String,
    },
    /// The trust of the target role asks for another external ID than EKS gave the association.
    #[error("the association of ServiceAccount `{subject}` assumes role `{target}` with external ID `{observed}`, not `{wanted}`")]
    OtherExternalId {
        /// The ServiceAccount.
        subject: Subject,
        /// The target role.
        target: Box<RoleArn>,
        /// What the manifest says.
        wanted: String,
        /// What EKS says.
        observed: String,
    },
    /// The cluster cannot give pods the credentials of associations.
    #[error("cluster `{0}` runs no EKS Pod Identity agent: pods would get no role by an association")]
    NoAgent(String),
    /// An identity's ServiceAccount is the one that the job runs as.
    #[error("ServiceAccount `{0}` is the one that the job itself runs as: with another role it would lose its own")]
    OwnServiceAccount(Subject),
    /// IAM says that the name is taken, and shows no role of that name.
    #[error("role `{0}` cannot be created: its name is taken, yet IAM shows no such role")]
    NameTaken(RoleName),
    /// A statement of somebody else's lets a subject in under conditions, and the tool's would let it in without.
    #[error(
        "role `{role}`: {statement} of its trust policy lets in `{whom}` only under {asks}; this tool's statement would let it in without"
    )]
    Perimeter {
        /// The role.
        role: RoleName,
        /// Who is to be let in: a subject, or a pattern of them.
        whom: String,
        /// The statement.
        statement: String,
        /// What it asks for, each in backticks.
        asks: String,
    },
    /// A tag of the tool's has a form that this version does not know.
    #[error("role `{role}`: tag `{key}` with value `{value}` is of a form that this version of the tool does not know")]
    NewerForm {
        /// The role.
        role: RoleName,
        /// The tag.
        key: String,
        /// Its value.
        value: String,
    },
    /// A role of the wanted name belongs to another identity.
    #[error("role `{role}` belongs to {owner}")]
    OwnedByOther {
        /// The role.
        role: RoleName,
        /// Whose it is.
        owner: Box<Owner>,
    },
    /// An owned role has another path; IAM cannot move it.
    #[error("role `{observed}` should be below `{}`", desired.path)]
    OtherPath {
        /// The role as it is.
        observed: Box<RoleArn>,
        /// The role as it should be.
        desired: Box<RoleArn>,
    },
    /// An issuer of which all is to be removed is in use.
    #[error("nothing is removed: {cluster} has the issuer `{issuer}`")]
    IssuerAlive {
        /// The issuer.
        issuer: IssuerUrl,
        /// Which cluster has it.
        cluster: String,
    },
    /// A role given by ARN is not there.
    #[error("role `{0}` does not exist")]
    NoSuchRole(Box<RoleArn>),
    /// The role of that name has another ARN than the one given.
    #[error("the manifest gives role `{given}`, but the role of that name is `{observed}`")]
    OtherArn {
        /// The role as given.
        given: Box<RoleArn>,
        /// The role as it is.
        observed: Box<RoleArn>,
    },
    /// A role was made for the same identity in a cluster of the same name with another issuer.
    #[error("role `{role}` was made by an earlier cluster, with issuer `{issuer}`; the issuer of this cluster is `{here}`")]
    EarlierCluster {
        /// The role.
        role: RoleName,
        /// The issuer of the cluster that it was made in.
        issuer: IssuerUrl,
        /// The issuer of this cluster.
        here: IssuerUrl,
    },
    /// Other field managers hold a field with another value.
    #[error("ServiceAccount `{subject}`: {field} is `{observed}`, held by {}; it should be `{desired}`", managers_in_words(managers))]
    HeldField {
        /// The ServiceAccount.
        subject: Subject,
        /// The field.
        field: Field,
        /// Who holds it.
        managers: BTreeSet<String>,
        /// Its value.
        observed: String,
        /// What it should be.
        desired: String,
    },
    /// A ServiceAccount is being deleted.
    #[error("ServiceAccount `{0}` is being deleted")]
    ServiceAccountEnds(Subject),
    /// The namespace is being deleted.
    #[error("namespace `{0}` is being deleted: no pod starts there any more")]
    NamespaceEnds(Namespace),
    /// A sweep does not know which namespaces exist.
    #[error("nothing is swept: the namespaces of the cluster cannot be listed")]
    NamespacesUnknown,
    /// A sweep sees namespaces that cannot be those of the job's cluster.
    #[error("nothing is swept: the cluster does not list the job's own namespace `{0}`")]
    NamespaceNotListed(Namespace),
    /// More tags than a role can carry.
    #[error("role `{role}` would carry {count} tags; IAM allows 50{}", gone_in_words(gone.as_ref()))]
    TooManyTags {
        /// The role.
        role: RoleName,
        /// How many.
        count: usize,
        /// Registered namespaces that no longer exist, if that was looked up.
        gone: Option<BTreeSet<String>>,
    },
    /// A trust policy larger than the account allows.
    #[error(
        "the trust policy of role `{role}` would have {length} characters for {subjects} subjects; the quota is {quota}, about {fits} of them{}",
        gone_in_words(gone.as_ref())
    )]
    TrustTooLarge {
        /// The role.
        role: RoleName,
        /// Its length without white space.
        length: usize,
        /// What the account allows.
        quota: usize,
        /// How many subjects it holds.
        subjects: usize,
        /// How many would fit.
        fits: usize,
        /// Registered namespaces that no longer exist, if that was looked up.
        gone: Option<BTreeSet<String>>,
    },
    /// No service of the environment is meant.
    #[error("the environment has no service `{service}`{}", known_in_words(known))]
    NoSuchService {
        /// The service as the manifest names it.
        service: ServiceRef,
        /// Those that could be bound.
        known: Vec<Service>,
    },
    /// Several services are meant.
    #[error("`{service}` can be any of {}", meant.iter().map(|service| format!("{service} (id `{}`)", service.id)).collect::<Vec<_>>().join(", "))]
    AmbiguousService {
        /// The service as the manifest names it.
        service: ServiceRef,
        /// Those that are called so.
        meant: Vec<Service>,
    },
    /// A service of a kind that cannot be bound.
    #[error("{service} cannot be bound: Qovery has no setting for its ServiceAccount")]
    UnboundKind {
        /// The service.
        service: Box<Service>,
    },
    /// Two identities want one service.
    #[error("{service} is bound twice, to ServiceAccounts `{one}` and `{other}`")]
    BoundTwice {
        /// The service.
        service: Box<Service>,
        /// The one.
        one: ServiceAccountName,
        /// And the other.
        other: ServiceAccountName,
    },
    /// A service asks for another ServiceAccount.
    #[error("{service} runs with ServiceAccount `{observed}`; it should be `{desired}`")]
    BoundElsewhere {
        /// The service.
        service: Box<Service>,
        /// The one it asks for.
        observed: String,
        /// The one it should ask for.
        desired: ServiceAccountName,
    },
    /// The job cannot be installed so.
    #[error(transparent)]
    Install(Box<InstallRefusal>),
    /// The trust zone of a cluster cannot be made or removed so.
    #[cfg(feature = "laptop")]
    #[error(transparent)]
    Bootstrap(Box<BootstrapRefusal>),
    /// Of cluster access.
    #[cfg(feature = "laptop")]
    #[error(transparent)]
    Access(Box<AccessRefusal>),
    /// A role would have more managed policies than the account allows.
    #[error("role `{role}` would have {count} managed policies; the quota is {quota}")]
    TooManyPolicies {
        /// The role.
        role: RoleName,
        /// How many.
        count: usize,
        /// How many the account allows.
        quota: usize,
    },
    /// A registry tag would be longer than IAM takes.
    #[error("role `{role}`: the names of `{subject}` are too long for the tag that registers it, 256 characters")]
    LongSubject {
        /// The role.
        role: RoleName,
        /// Whose names.
        subject: Subject,
    },
}

fn managers_in_words(managers: &BTreeSet<String>) -> String {
    let names: Vec<String> = managers.iter().map(|manager| format!("`{manager}`")).collect();
    format!("field manager{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

/// Where a field manager takes its values from.
fn where_set(manager: &str) -> String {
    let source = match manager {
        "helm" | "Helm" => " (the values of the Helm release)",
        _ if manager.starts_with("argocd") => " (the source of the Argo CD application)",
        "kubectl" | "kubectl-client-side-apply" | "kubectl-last-applied" => " (the file that is applied)",
        _ => "",
    };
    format!("where `{manager}` sets it{source}")
}

/// The command that gives a field this value: whoever held the other one holds it no more.
fn set_by_hand(Subject { namespace, service_account }: &Subject, field: &Field, value: &str) -> Option<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let of = |verb: &str, key: &str| {
        format!("kubectl -n {namespace} {verb} --overwrite serviceaccount {service_account} {}", quoted(&format!("{key}={value}")))
    };
    match field {
        Field::Annotation(key) => Some(of("annotate", key)),
        Field::Label(key) => Some(of("label", key)),
        Field::Automount => {
            let patch = quoted(&format!("{{\"automountServiceAccountToken\": {value}}}"));
            Some(format!("kubectl -n {namespace} patch serviceaccount {service_account} -p {patch}"))
        }
        Field::Other(_) => None,
    }
}

fn known_in_words(known: &[Service]) -> String {
    match known {
        [] => " that could be bound".to_owned(),
        known => format!("; there are {}", known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn gone_in_words(gone: Option<&BTreeSet<String>>) -> String {
    match gone {
        None => String::new(),
        Some(gone) if gone.is_empty() => "; every registered namespace exists".to_owned(),
        Some(gone) => {
            let names: Vec<String> = gone.iter().map(|namespace| format!("`{namespace}`")).collect();
            format!("; registered though their namespace no longer exists: {}", names.join(", "))
        }
    }
}

impl Refusal {
    /// Whether more must be looked up before this is certain: the account's real quota, or what could go.
    #[must_use]
    pub fn asks_for_limits(&self) -> bool {
        matches!(self, Self::TooManyTags { .. } | Self::TrustTooLarge { .. } | Self::TooManyPolicies { .. })
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::ForeignRole { observed } => format!(
                "to let this tool manage only its trust, give the identity `role: {{arn: \"{observed}\"}}`; to get a role of its own, give it another `name`; or delete that role"
            ),
            Self::ForeignAssociation { observed } if observed.add_on.is_some() => {
                "change it by the add-on, or use another ServiceAccount".to_owned()
            }
            Self::ForeignAssociation { observed } => format!(
                "use another ServiceAccount; or, if nobody else manages it any more, hand it over: `aws eks tag-resource --resource-arn {} --tags {OWNER_TAG}={}` (docs/moving-over.md)",
                observed.arn, observed.subject
            ),
            Self::AssociationInUse { .. } => {
                "to keep IRSA without a gap, give the identity another `serviceAccount` name, and restart the pods with that one; or stop these pods, deploy, and start them again; `delete` removes the association with the environment".to_owned()
            }
            Self::OtherExternalId { observed, .. } => {
                format!("let the trust policy of the target role ask for external ID `{observed}`, and set `targetRoleExternalId` to it")
            }
            Self::NoAgent(cluster) => format!(
                "switch it on, then deploy again: of a cluster that Qovery manages by its advanced setting `aws.eks.enable_pod_identity_addon`, of any other by the EKS add-on (`aws eks create-addon --cluster-name {cluster} --addon-name eks-pod-identity-agent`); or leave `podIdentity` out (docs/troubleshooting.md)"
            ),
            Self::OwnServiceAccount(_) => {
                "give the identity another `serviceAccount`, or let the job run as another by `job.serviceAccount`".to_owned()
            }
            Self::NamespacesUnknown => "allow the job to list namespaces in the whole cluster (docs/permissions/rbac.yaml)".to_owned(),
            Self::NamespaceNotListed(_) => {
                "`QOVERY_KUBERNETES_NAMESPACE_NAME` and the kubeconfig or the cluster's name must be of one cluster".to_owned()
            }
            Self::NameTaken(_) => {
                "names that differ only by case are one name for IAM: find that role in the console, then give the identity another `name`"
                    .to_owned()
            }
            Self::OwnedByOther { .. } => {
                "give each identity its own `name` or leave it out, add a subject to another environment's role there by `extraSubjects`; for a role of many environments give all of them the same `scope` and `name`".to_owned()
            }
            Self::Perimeter { .. } => {
                "give the identity `role: {conditions: …}` with what that statement asks for beside name and audience; or remove that statement from the trust policy; or take the identity out of the manifest".to_owned()
            }
            Self::NewerForm { .. } => "a newer version of this tool has made the role: use that version or a newer one".to_owned(),
            Self::OtherPath { .. } => {
                "IAM cannot move a role: set `path` and the cluster's name back, or run `delete` with the old ones and deploy again"
                    .to_owned()
            }
            Self::IssuerAlive { .. } => "name the issuer of a cluster that no longer exists".to_owned(),
            Self::NoSuchRole(_) => "create it, correct the ARN, or let this tool make one: `policies` instead of `arn`".to_owned(),
            Self::OtherArn { .. } => "correct the ARN, path included".to_owned(),
            Self::EarlierCluster { issuer, .. } => format!(
                "if that cluster no longer exists, run `sweep --issuer {issuer}` once: it removes what belongs to it, then deploy again; if it still exists, give the identity another `name`"
            ),
            Self::ServiceAccountEnds(subject) => format!(
                "deploy again when it is gone; what holds it are its finalizers: `kubectl get serviceaccount {} --namespace {} --output yaml`",
                subject.service_account, subject.namespace
            ),
            Self::NamespaceEnds(_) => "deploy again when it is gone and made anew".to_owned(),
            Self::HeldField { managers, subject, field, desired, .. } => {
                let set = managers.iter().map(|manager| where_set(manager)).collect::<Vec<_>>().join(" and ");
                let command = set_by_hand(subject, field, desired).map(|command| format!("; or set it by `{command}`")).unwrap_or_default();
                format!("remove it {set}{command}; then deploy again")
            }
            Self::TooManyTags { .. } => {
                "run `sweep` to remove what deleted environments have left, remove tags from the role or the manifest, or use `scope: environment`: a role for each environment".to_owned()
            }
            Self::TrustTooLarge { quota, .. } => format!(
                "run `sweep` to remove what deleted environments have left, raise the quota `Role trust policy length` (`aws service-quotas request-service-quota-increase --region us-east-1 --service-code iam --quota-code L-C07B4B0D --desired-value {}`), or use `scope: environment`: a role for each environment",
                quota * 2
            ),
            Self::TooManyPolicies { quota, .. } => format!(
                "put several into one policy, or raise the quota: `aws service-quotas request-service-quota-increase --region us-east-1 --service-code iam --quota-code L-0DA4ABF3 --desired-value {}`; IAM gives 25 at most",
                (quota * 2).min(25)
            ),
            Self::NoSuchService { .. } => "correct `bindServices`, or create the service before".to_owned(),
            Self::AmbiguousService { .. } => "write the id instead of the name into `bindServices`".to_owned(),
            Self::UnboundKind { .. } => {
                "take it out of `bindServices`, and name the ServiceAccount where the service is defined: in the chart's values".to_owned()
            }
            Self::BoundTwice { .. } => "take it out of one `bindServices`: a pod has one ServiceAccount".to_owned(),
            Self::BoundElsewhere { .. } => {
                "with `takeOver: true` beside `bindServices` it is taken from there; or clear `security.service_account_name` in its advanced settings".to_owned()
            }
            Self::Install(refusal) => refusal.hint(),
            #[cfg(feature = "laptop")]
            Self::Bootstrap(refusal) => refusal.hint(),
            #[cfg(feature = "laptop")]
            Self::Access(refusal) => refusal.hint(),
            Self::LongSubject { .. } => "use a shorter ServiceAccount name".to_owned(),
        }
    }
}

/// All refusals of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

impl std::error::Error for Refusals {}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "refused: {}", one_line(&only.to_string())),
            all => {
                write!(f, "refused for {} reasons", all.len())?;
                all.iter().try_for_each(|refusal| write!(f, "\n  {}", one_line(&refusal.to_string())))
            }
        }
    }
}

impl Refusals {
    /// The ways out, one line each, none twice.
    #[must_use]
    pub fn hint(&self) -> String {
        let mut hints: Vec<String> = Vec::new();
        for hint in self.0.iter().map(|refusal| one_line(&refusal.hint())) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        hints.join("\n  ")
    }
}
