//! What a role's trust rests on: the OIDC provider of a cluster, or EKS Pod Identity for a cluster. How the tool's statements for it read,
//! with principal, actions, `Sid` and conditions, and which statements of a document are the tool's.
//!
//! What becomes of a whole document is in `trust.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    arn::ClusterArn,
    association::SessionTags,
    conditions::Conditions,
    document::{pattern_matches, texts},
    fingerprint::fingerprint,
    names::Subject,
    oidc::{Audience, Provider},
    subjects::SubjectPattern,
};

/// With what the `Sid` of the tool's statements begins. IAM takes letters and digits there.
pub const SID_PREFIX: &str = "QoveryIrsa";

/// What follows it in a statement for EKS Pod Identity. Fingerprints have no upper-case letters.
const PODS: &str = "Pods";

/// What follows in a statement of patterns.
const PATTERNS: &str = "Cluster";

/// What a token lets its bearer do.
pub const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";

/// The service that assumes a role for pods with an association.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html>
pub const POD_IDENTITY: &str = "pods.eks.amazonaws.com";

/// What it must be allowed: the second for the tags that it gives every session.
pub const POD_IDENTITY_ACTIONS: [&str; 2] = ["sts:AssumeRole", "sts:TagSession"];

/// Condition keys that EKS Pod Identity sets: for which cluster it assumes the role, and for which pod.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
const SOURCE_ACCOUNT: &str = "aws:SourceAccount";
const SOURCE_ARN: &str = "aws:SourceArn";
const NAMESPACE_TAG: &str = "aws:RequestTag/kubernetes-namespace";
const SERVICE_ACCOUNT_TAG: &str = "aws:RequestTag/kubernetes-service-account";

/// The condition keys that the tool's statements for EKS Pod Identity use themselves.
pub const POD_IDENTITY_KEYS: [&str; 4] = [SOURCE_ACCOUNT, SOURCE_ARN, NAMESPACE_TAG, SERVICE_ACCOUNT_TAG];

/// The length of a fingerprint in a `Sid`.
const FINGERPRINT: usize = 8;

/// A Qovery project, as the `Sid` of a statement of patterns names it: each project's manifest declares patterns of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectMark([u8; PROJECT]);

const PROJECT: usize = 8;

impl ProjectMark {
    /// The mark of the project with this id.
    #[must_use]
    pub fn of_project(id: &str) -> Option<Self> {
        fingerprint(&["project", &id.to_ascii_lowercase()], PROJECT).into_bytes().try_into().ok().map(Self).filter(|_| !id.is_empty())
    }
}

impl std::fmt::Display for ProjectMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// The kinds of statements the tool writes; a document may hold several, and each kind knows only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// Each subject by name.
    Subjects,
    /// Patterns of subjects, declared by this project; outside Qovery by none.
    Patterns(Option<ProjectMark>),
}

impl StatementKind {
    /// As a `Sid` has it.
    fn mark(self) -> String {
        match self {
            Self::Subjects => String::new(),
            Self::Patterns(None) => PATTERNS.to_owned(),
            Self::Patterns(Some(project)) => format!("{PATTERNS}{project}"),
        }
    }
}

/// What a statement asks for beside a name: the audience of the token, and conditions of one's own.
///
/// For OIDC the statement itself asks for the audience. For EKS Pod Identity EKS does, and it is always the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The audience.
    pub audience: Audience,
    /// The conditions.
    pub conditions: Conditions,
}

impl From<Audience> for Grant {
    fn from(audience: Audience) -> Self {
        Self { audience, conditions: Conditions::default() }
    }
}

/// What a role's trust rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// IRSA: a pod shows STS a token of its cluster, and the cluster's issuer has this provider.
    Oidc(Provider),
    /// EKS Pod Identity: EKS assumes the role for the pods of this cluster. Without session tags the trust cannot ask which pods.
    PodIdentity(ClusterArn, SessionTags),
}

impl Anchor {
    /// Whether both are of one binding and cluster, whatever their statements ask for.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Oidc(one), Self::Oidc(other)) => one == other,
            (Self::PodIdentity(one, _), Self::PodIdentity(other, _)) => one == other,
            _ => false,
        }
    }

    /// The kind of principal that the statements name, and its name.
    fn principal(&self) -> (&'static str, &str) {
        match self {
            Self::Oidc(provider) => ("Federated", &provider.arn),
            Self::PodIdentity(..) => ("Service", POD_IDENTITY),
        }
    }

    fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::Oidc(_) => &[ASSUME],
            Self::PodIdentity(..) => &POD_IDENTITY_ACTIONS,
        }
    }

    /// The condition keys that the statements use themselves; all others are conditions of one's own.
    pub(super) fn keys(&self) -> Vec<String> {
        match self {
            Self::Oidc(provider) => vec![provider.subject_key(), provider.audience_key()],
            Self::PodIdentity(..) => POD_IDENTITY_KEYS.map(str::to_owned).into(),
        }
    }

    /// The statements that let in exactly these subjects.
    pub(super) fn allowing(&self, kind: StatementKind, grant: &Grant, subjects: &BTreeSet<SubjectPattern>) -> Vec<Value> {
        match self {
            Self::Oidc(provider) => {
                let operator = match kind {
                    StatementKind::Subjects => "StringEquals",
                    StatementKind::Patterns(_) => "StringLike",
                };
                // Conditions of one's own never have these keys.
                let mut condition = Value::Object(grant.conditions.to_members());
                condition["StringEquals"][provider.audience_key()] = json!(grant.audience.as_str());
                condition[operator][provider.subject_key()] = one_or_all(subjects.iter().map(SubjectPattern::as_str));
                let asked = [vec![grant.audience.as_str().to_owned()], of_conditions(grant)].concat();
                vec![self.statement("Allow", kind, &asked, &condition)]
            }
            Self::PodIdentity(_, session_tags) => {
                let of_product = |(accounts, namespaces): (BTreeSet<&str>, BTreeSet<&str>)| {
                    let mut condition = Value::Object(grant.conditions.to_members());
                    for (key, value) in self.source() {
                        condition["StringEquals"][key] = value.into();
                    }
                    ask_for_tag(&mut condition, NAMESPACE_TAG, &namespaces);
                    ask_for_tag(&mut condition, SERVICE_ACCOUNT_TAG, &accounts);
                    let asked = accounts.iter().map(|account| (*account).to_owned()).chain(of_conditions(grant)).collect::<Vec<_>>();
                    self.statement("Allow", kind, &asked, &condition)
                };
                let products = match session_tags {
                    SessionTags::On => products(subjects),
                    SessionTags::Off if subjects.is_empty() => BTreeMap::new(),
                    SessionTags::Off => [(["*"].into(), ["*"].into())].into(),
                };
                products.into_iter().map(of_product).collect()
            }
        }
    }

    /// The statement that stands in where nothing else would be left: it lets in nobody, and keeps out nobody of another cluster.
    pub(super) fn denying(&self) -> Value {
        match self {
            Self::Oidc(_) => self.statement("Deny", StatementKind::Subjects, &[String::new()], &Value::Null),
            Self::PodIdentity(cluster, _) => {
                let condition = json!({ "StringEquals": { SOURCE_ARN: cluster.as_str() } });
                self.statement("Deny", StatementKind::Subjects, &[], &condition)
            }
        }
    }

    /// `asked`: what tells the statements of one anchor and kind apart.
    fn statement(&self, effect: &str, kind: StatementKind, asked: &[String], condition: &Value) -> Value {
        let (principal, name) = self.principal();
        let mut statement = json!({
            "Sid": self.sid(kind, asked),
            "Effect": effect,
            "Principal": { principal: name },
            "Action": one_or_all(self.actions().iter().copied()),
        });
        if !condition.is_null() {
            statement["Condition"] = condition.clone();
        }
        statement
    }

    fn sid(&self, kind: StatementKind, asked: &[String]) -> String {
        let kind = kind.mark();
        let asked = asked.iter().map(String::as_str);
        match self {
            Self::Oidc(provider) => {
                let parts: Vec<&str> = std::iter::once(provider.issuer.as_str()).chain(asked).collect();
                format!("{SID_PREFIX}{kind}{}", fingerprint(&parts, FINGERPRINT))
            }
            Self::PodIdentity(cluster, _) => {
                let parts: Vec<&str> = std::iter::once(cluster.as_str()).chain(asked).collect();
                format!("{SID_PREFIX}{PODS}{}{kind}{}", mark(cluster), fingerprint(&parts, FINGERPRINT))
            }
        }
    }

    /// For which cluster EKS must assume the role.
    fn source(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Oidc(_) => Vec::new(),
            Self::PodIdentity(cluster, _) => vec![(SOURCE_ACCOUNT, cluster.account_id()), (SOURCE_ARN, cluster.as_str())],
        }
    }

    /// Whether a statement names the principal, among others perhaps.
    pub(super) fn is_principal_of(&self, statement: &Value) -> bool {
        let (kind, name) = self.principal();
        texts(&statement["Principal"][kind]).contains(&name)
    }

    /// Whether a statement is the tool's for this cluster, whatever else was made of it by hand.
    pub(super) fn is_own(&self, statement: &Value) -> bool {
        let (kind, name) = self.principal();
        self.own_sid(statement).is_some() && texts(&statement["Principal"][kind]) == [name]
    }

    /// Whether it is, and of this kind.
    pub(super) fn is_own_of(&self, statement: &Value, kind: StatementKind) -> bool {
        let of_kind = self.own_sid(statement).is_some_and(|rest| match (kind, rest.strip_prefix(PATTERNS)) {
            (StatementKind::Subjects, patterns) => patterns.is_none(),
            (StatementKind::Patterns(_), None) => false,
            // What has another length is of no project.
            (StatementKind::Patterns(None), Some(rest)) => rest.len() != PROJECT + FINGERPRINT,
            (StatementKind::Patterns(Some(project)), Some(rest)) => {
                rest.len() == PROJECT + FINGERPRINT && rest.starts_with(&project.to_string())
            }
        });
        of_kind && self.is_own(statement)
    }

    /// Whether a statement is the one that denies where nothing else would be left. Whatever comes, it gives way.
    pub(super) fn is_stand_in(&self, statement: &Value) -> bool {
        self.is_own_of(statement, StatementKind::Subjects) && statement["Effect"] == "Deny"
    }

    /// What follows the marks of the tool and of this anchor in a statement's `Sid`.
    fn own_sid<'a>(&self, statement: &'a Value) -> Option<&'a str> {
        let rest = statement["Sid"].as_str()?.strip_prefix(SID_PREFIX)?;
        match self {
            Self::Oidc(_) => Some(rest),
            Self::PodIdentity(cluster, _) => rest.strip_prefix(PODS)?.strip_prefix(mark(cluster).as_str()),
        }
    }

    /// The subjects that a statement of the tool's allows, under any operator, as they stand.
    pub(super) fn subjects_of(&self, statement: &Value) -> Vec<SubjectPattern> {
        if statement["Effect"] != "Allow" {
            return Vec::new();
        }
        match self {
            Self::Oidc(provider) => values_of(statement, &provider.subject_key()).into_iter().map(SubjectPattern::read).collect(),
            Self::PodIdentity(..) => {
                // Who is not asked for a tag is let in with any, and without one.
                let values = |key: &str| Some(values_of(statement, key)).filter(|values| !values.is_empty()).unwrap_or_else(|| vec!["*"]);
                let (namespaces, accounts) = (values(NAMESPACE_TAG), values(SERVICE_ACCOUNT_TAG));
                let pairs = namespaces.iter().flat_map(|namespace| accounts.iter().map(move |account| (namespace, account)));
                pairs.map(|(namespace, account)| SubjectPattern::of_parts(namespace, account)).collect()
            }
        }
    }

    /// What a statement of the tool's asks for beside a name. None if it names no audience, or its conditions are not understood.
    pub(super) fn grants_of(&self, statement: &Value) -> Vec<Grant> {
        let audiences: Vec<Audience> = match self {
            Self::Oidc(provider) => {
                let audiences = texts(&statement["Condition"]["StringEquals"][provider.audience_key()]);
                audiences.into_iter().filter_map(|audience| audience.parse().ok()).collect()
            }
            Self::PodIdentity(..) => vec![Audience::of_pod_identity()],
        };
        let Some(conditions) = self.own_conditions(statement) else { return Vec::new() };
        audiences.into_iter().map(|audience| Grant { audience, conditions: conditions.clone() }).collect()
    }

    /// The conditions of one's own in a statement of the tool's; none if they are not understood.
    fn own_conditions(&self, statement: &Value) -> Option<Conditions> {
        let mut condition = statement["Condition"].as_object()?.clone();
        let keys = self.keys();
        for wanted in condition.values_mut().filter_map(Value::as_object_mut) {
            wanted.retain(|key, _| !keys.contains(key));
        }
        condition.retain(|_, wanted| wanted.as_object().is_none_or(|wanted| !wanted.is_empty()));
        Conditions::read(&Value::Object(condition)).ok()
    }

    /// Whether a statement lets this subject in, and asks for all that the tool's own statement would ask for.
    ///
    /// One with a condition or element that is not understood here counts as one that does not.
    pub(super) fn allows(&self, statement: &Value, audience: &Audience, subject: &Subject) -> bool {
        let understood = statement.as_object().is_some_and(|members| {
            members.keys().all(|key| matches!(key.as_str(), "Sid" | "Effect" | "Principal" | "Action" | "Condition"))
        });
        let allowed = |action: &str| {
            texts(&statement["Action"]).iter().any(|pattern| pattern_matches(&pattern.to_lowercase(), &action.to_lowercase()))
        };
        understood
            && statement["Effect"] == "Allow"
            && self.is_principal_of(statement)
            && self.actions().iter().all(|action| allowed(action))
            && conditions_hold(&statement["Condition"], &self.request(audience, subject))
    }

    /// What a request of this subject's pods has for the keys of the statements.
    fn request(&self, audience: &Audience, subject: &Subject) -> Vec<(String, String)> {
        match self {
            Self::Oidc(provider) => {
                vec![(provider.audience_key(), audience.as_str().to_owned()), (provider.subject_key(), subject.claim())]
            }
            Self::PodIdentity(_, session_tags) => {
                let tags = [(NAMESPACE_TAG, subject.namespace.as_str()), (SERVICE_ACCOUNT_TAG, subject.service_account.as_str())];
                let tags = tags.into_iter().filter(|_| *session_tags == SessionTags::On);
                let known = self.source().into_iter().chain(tags);
                known.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
            }
        }
    }
}

/// The cluster of a statement that is the tool's: its issuer without `https://`, or its ARN. Whether it is another cluster's is for the caller
/// to know.
pub(super) fn cluster_of(statement: &Value) -> Option<&str> {
    let sid = statement["Sid"].as_str()?.strip_prefix(SID_PREFIX)?;
    if sid.starts_with(PODS) && texts(&statement["Principal"]["Service"]) == [POD_IDENTITY] {
        let [cluster] = texts(&statement["Condition"]["StringEquals"][SOURCE_ARN])[..] else { return None };
        return Some(cluster);
    }
    let [provider] = texts(&statement["Principal"]["Federated"])[..] else { return None };
    let issuer = provider.split_once(":oidc-provider/").map(|(_, issuer)| issuer)?;
    (statement["Action"] == ASSUME).then_some(issuer)
}

/// Whether a statement is the tool's for EKS Pod Identity in any cluster, and lets it in, whatever else was made of it by hand.
pub(super) fn lets_pods_in(statement: &Value) -> bool {
    let sid = statement["Sid"].as_str().and_then(|sid| sid.strip_prefix(SID_PREFIX));
    let is_for_pods = texts(&statement["Principal"]["Service"]) == [POD_IDENTITY];
    sid.is_some_and(|sid| sid.starts_with(PODS)) && statement["Effect"] != "Deny" && is_for_pods
}

/// The cluster of such a statement; none if a person has taken it out.
pub(super) fn cluster_of_pods(statement: &Value) -> Option<ClusterArn> {
    let cluster: ClusterArn = cluster_of(statement)?.parse().ok()?;
    Anchor::PodIdentity(cluster.clone(), SessionTags::default()).is_own(statement).then_some(cluster)
}

fn mark(cluster: &ClusterArn) -> String {
    fingerprint(&[cluster.as_str()], FINGERPRINT)
}

fn of_conditions(grant: &Grant) -> Vec<String> {
    if grant.conditions.is_empty() { Vec::new() } else { vec![grant.conditions.fingerprint()] }
}

/// One value as a string: two characters less of a quota of 2,048.
fn one_or_all<'a>(values: impl Iterator<Item = &'a str>) -> Value {
    let values: Vec<&str> = values.collect();
    if let [only] = values.as_slice() { json!(only) } else { json!(values) }
}

/// The subjects as sets of ServiceAccounts, each with the namespaces in which all of them are meant: so that a statement which asks for both
/// lets in nobody else. A text that is no subject lets in nobody.
fn products(subjects: &BTreeSet<SubjectPattern>) -> BTreeMap<BTreeSet<&str>, BTreeSet<&str>> {
    let mut by_namespace: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (namespace, account) in subjects.iter().filter_map(SubjectPattern::parts) {
        by_namespace.entry(namespace).or_default().insert(account);
    }
    let mut products: BTreeMap<BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
    for (namespace, accounts) in by_namespace {
        products.entry(accounts).or_default().insert(namespace);
    }
    products
}

/// Asks for one of these values or patterns of a tag. `*` asks for nothing: a session without tags has no key to compare.
fn ask_for_tag(condition: &mut Value, key: &str, values: &BTreeSet<&str>) {
    if values.contains("*") {
        return;
    }
    let operator = if values.iter().any(|value| value.contains(['*', '?'])) { "StringLike" } else { "StringEquals" };
    condition[operator][key] = one_or_all(values.iter().copied());
}

/// The values of a condition key, under any operator.
fn values_of<'a>(statement: &'a Value, key: &str) -> Vec<&'a str> {
    let operators = statement["Condition"].as_object().into_iter();
    operators.flat_map(|operators| operators.values().flat_map(|keys| texts(&keys[key]))).collect()
}

/// Whether every condition is understood and holds, and each of these keys is asked for by one.
fn conditions_hold(condition: &Value, request: &[(String, String)]) -> bool {
    let Some(operators) = condition.as_object() else { return false };
    let mut asked = BTreeSet::new();
    for (operator, keys) in operators {
        let Some(keys) = keys.as_object() else { return false };
        for (key, values) in keys {
            let Some((name, value)) = request.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) else { return false };
            let holds = match operator.as_str() {
                "StringEquals" | "ForAnyValue:StringEquals" => texts(values).contains(&value.as_str()),
                "StringLike" | "ForAnyValue:StringLike" => texts(values).iter().any(|pattern| pattern_matches(pattern, value)),
                _ => false,
            };
            if !holds {
                return false;
            }
            asked.insert(name);
        }
    }
    asked.len() == request.len()
}
