//! Trust policies: which statements are the tool's, what they say, and how a document is rendered around the others.
//!
//! A statement is the tool's when its `Sid` begins with [`SID_PREFIX`] and its principal is the provider of this cluster.
//! Every other statement is foreign: kept as it is and in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    conditions::Conditions,
    document::{self, DocumentProblem, Ordered, canonical_statement, pattern_matches, texts},
    fingerprint::fingerprint,
    names::Subject,
    oidc::{Audience, Provider},
};

/// With what the `Sid` of the tool's statements begins. IAM takes letters and digits there.
pub const SID_PREFIX: &str = "QoveryIrsa";

/// What follows it in a statement of patterns. Fingerprints have no upper-case letters.
const PATTERNS: &str = "Cluster";

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
pub enum Kind {
    /// `StringEquals`: each subject by name.
    Subjects,
    /// `StringLike`: patterns of subjects, declared by this project; outside Qovery by none.
    Patterns(Option<ProjectMark>),
}

pub(super) const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";

/// Whom the tool's statements of one kind let in: `sub` claims, or patterns of them, for each audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// By name or by pattern.
    pub kind: Kind,
    /// The claims or patterns, by what else is asked of them.
    pub claims: BTreeMap<Grant, BTreeSet<String>>,
}

/// What a statement asks for beside a name: the audience of the token, and conditions of one's own.
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

impl Trusted {
    /// Nobody.
    #[must_use]
    pub fn nobody(kind: Kind) -> Self {
        Self { kind, claims: BTreeMap::new() }
    }

    /// These subjects, with tokens for one audience.
    #[must_use]
    pub fn subjects<'a>(audience: &Audience, subjects: impl IntoIterator<Item = &'a Subject>) -> Self {
        let mut trusted = Self::nobody(Kind::Subjects);
        for subject in subjects {
            trusted.add(audience, subject.claim());
        }
        trusted
    }

    /// Lets in one more.
    pub fn add(&mut self, audience: &Audience, claim: String) {
        self.add_under(&audience.clone().into(), claim);
    }

    /// Lets in one more, under conditions of one's own.
    pub fn add_under(&mut self, grant: &Grant, claim: String) {
        self.claims.entry(grant.clone()).or_default().insert(claim);
    }
}

/// A trust policy.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustPolicy {
    members: Map<String, Value>,
    statements: Vec<Value>,
}

impl TrustPolicy {
    /// Reads a document as AWS returns it, percent-decoded.
    ///
    /// # Errors
    /// The text is no policy document.
    pub fn parse(text: &str) -> Result<Self, DocumentProblem> {
        let (members, statements) = document::parse(text)?;
        Ok(Self { members, statements })
    }

    /// The trust policy of a new role.
    #[must_use]
    pub fn new(provider: &Provider, trusted: &Trusted) -> Self {
        let nothing = Self { members: Map::from_iter([("Version".to_owned(), json!("2012-10-17"))]), statements: Vec::new() };
        nothing.rendered(provider, trusted)
    }

    /// This document with the tool's statements replaced by those that trust exactly `trusted`; foreign ones stay, in order.
    ///
    /// If nothing would be left, a statement that denies stands in: IAM wants one, and nothing may be wider than before.
    #[must_use]
    pub fn rendered(&self, provider: &Provider, trusted: &Trusted) -> Self {
        let own = trusted.claims.iter().filter(|(_, claims)| !claims.is_empty());
        let mut own: Vec<Value> = own.map(|(grant, claims)| allow(provider, trusted.kind, grant, claims)).collect();
        // A `Sid` that the tool is about to write is the tool's whatever else was made of its statement by hand: IAM takes it once.
        let sids: Vec<Value> = own.iter().map(|statement| statement["Sid"].clone()).collect();
        let is_own = |statement: &Value| {
            is_own_of(statement, provider, trusted.kind)
                || sids.contains(&statement["Sid"])
                || is_stand_in(statement, provider)
                || is_adopted(statement, provider, trusted)
        };
        let at = self.statements.iter().position(is_own).unwrap_or(self.statements.len());
        let foreign = |range: &[Value]| range.iter().filter(|statement| !is_own(statement)).cloned().collect::<Vec<_>>();
        let (mut statements, after) = (foreign(&self.statements[..at]), foreign(&self.statements[at..]));
        if own.is_empty() && statements.is_empty() && after.is_empty() {
            own.push(deny(provider));
        }
        statements.extend(own);
        statements.extend(after);
        Self { members: self.members.clone(), statements }
    }

    /// This document without the tool's statements of patterns, whichever project has declared them; the same stand-in as in
    /// [`rendered`](Self::rendered).
    #[must_use]
    pub fn without_patterns(&self, provider: &Provider) -> Self {
        let is_of_patterns = |statement: &&Value| is_own(statement, provider) && !is_own_of(statement, provider, Kind::Subjects);
        let mut statements: Vec<Value> = self.statements.iter().filter(|statement| !is_of_patterns(statement)).cloned().collect();
        if statements.is_empty() {
            statements.push(deny(provider));
        }
        Self { members: self.members.clone(), statements }
    }

    /// Whether both documents have the same statements, by their meaning.
    #[must_use]
    pub fn means_the_same(&self, other: &Self) -> bool {
        let statements = |policy: &Self| policy.statements.iter().map(canonical_statement).collect::<BTreeSet<Ordered>>();
        statements(self) == statements(other)
    }

    /// The claims that the tool's statements of a kind allow: the `sub` values of each `Allow` under any operator, as they stand.
    #[must_use]
    pub fn own_claims(&self, provider: &Provider, kind: Kind) -> BTreeSet<String> {
        self.own(provider, kind).flat_map(|statement| claims_of(statement, provider)).collect()
    }

    /// The same by audience and conditions; without those of a statement that names no audience, or whose conditions are not understood.
    #[must_use]
    pub fn own_trusted(&self, provider: &Provider, kind: Kind) -> Trusted {
        let mut trusted = Trusted::nobody(kind);
        for statement in self.own(provider, kind) {
            for audience in texts(&statement["Condition"]["StringEquals"][provider.audience_key()]) {
                let (Ok(audience), Some(conditions)) = (audience.parse(), own_conditions(statement, provider)) else { continue };
                let grant = Grant { audience, conditions };
                for claim in claims_of(statement, provider) {
                    trusted.add_under(&grant, claim);
                }
            }
        }
        trusted
    }

    /// The patterns that the tool's statements allow, whichever project has declared them.
    #[must_use]
    pub fn patterns(&self, provider: &Provider) -> BTreeSet<String> {
        let of_patterns =
            self.statements.iter().filter(|statement| is_own(statement, provider) && !is_own_of(statement, provider, Kind::Subjects));
        of_patterns.flat_map(|statement| claims_of(statement, provider)).collect()
    }

    /// Whether a foreign statement already lets this subject in with a token for this audience.
    ///
    /// A statement with a condition or element that is not understood here counts as one that does not.
    #[must_use]
    pub fn foreign_trusts(&self, provider: &Provider, audience: &Audience, subject: &Subject) -> bool {
        self.foreign(provider).any(|statement| allows(statement, provider, audience, subject))
    }

    /// Principals that no longer exist, with the number of their statement, from 1: IAM shows their unique id and refuses a document
    /// that names it. <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>
    #[must_use]
    pub fn deleted_principals(&self) -> Vec<(usize, String)> {
        let is_unique_id = |text: &&str| {
            ["AIDA", "AROA"].iter().any(|prefix| text.starts_with(prefix))
                && text.len() >= 16
                && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        };
        let of_statement = |statement: &Value| {
            let principals = ["Principal", "NotPrincipal"].into_iter().flat_map(|key| texts(&statement[key]["AWS"]));
            principals.filter(is_unique_id).map(str::to_owned).collect::<Vec<_>>()
        };
        (1..)
            .zip(&self.statements)
            .flat_map(|(number, statement)| of_statement(statement).into_iter().map(move |id| (number, id)))
            .collect()
    }

    /// Whether a statement that is not the tool's for this cluster lets anybody in.
    #[must_use]
    pub fn has_foreign_allow(&self, provider: &Provider) -> bool {
        self.foreign(provider).any(|statement| statement["Effect"] != "Deny")
    }

    /// How many statements are not the tool's, for this cluster or another.
    #[must_use]
    pub fn foreign_count(&self, provider: &Provider) -> usize {
        self.foreign(provider).filter(|statement| other_cluster(statement).is_none()).count()
    }

    /// The issuers of other clusters for which the tool has written a statement, without `https://`.
    #[must_use]
    pub fn other_clusters(&self, provider: &Provider) -> BTreeSet<&str> {
        self.foreign(provider).filter_map(other_cluster).collect()
    }

    /// Whether a statement that is not the tool's for any cluster lets anybody in.
    #[must_use]
    pub fn lets_strangers_in(&self, provider: &Provider) -> bool {
        self.foreign(provider).any(|statement| statement["Effect"] != "Deny" && other_cluster(statement).is_none())
    }

    fn own(&self, provider: &Provider, kind: Kind) -> impl Iterator<Item = &Value> {
        self.statements.iter().filter(move |statement| is_own_of(statement, provider, kind))
    }

    fn foreign(&self, provider: &Provider) -> impl Iterator<Item = &Value> {
        self.statements.iter().filter(move |statement| !is_own(statement, provider))
    }

    /// The statements, in order.
    #[must_use]
    pub fn statements(&self) -> &[Value] {
        &self.statements
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut members = self.members.clone();
        members.insert("Statement".to_owned(), Value::Array(self.statements.clone()));
        Value::Object(members)
    }

    /// The document without white space, as it is sent and as IAM counts it.
    #[must_use]
    pub fn minified(&self) -> String {
        self.to_value().to_string()
    }
}

fn allow(provider: &Provider, kind: Kind, grant: &Grant, claims: &BTreeSet<String>) -> Value {
    let claims: Vec<&String> = claims.iter().collect();
    // One subject as a string: two characters less of a quota of 2,048.
    let claims = if let [only] = claims.as_slice() { json!(only) } else { json!(claims) };
    let (audience_key, subject_key) = (provider.audience_key(), provider.subject_key());
    let operator = match kind {
        Kind::Subjects => "StringEquals",
        Kind::Patterns(_) => "StringLike",
    };
    // Conditions of one's own never have these keys.
    let mut condition = Value::Object(grant.conditions.to_members());
    condition["StringEquals"][audience_key] = json!(grant.audience.as_str());
    condition[operator][subject_key] = claims;
    json!({
        "Sid": sid(provider, kind, grant),
        "Effect": "Allow",
        "Principal": { "Federated": provider.arn },
        "Action": ASSUME,
        "Condition": condition,
    })
}

fn sid(provider: &Provider, kind: Kind, grant: &Grant) -> String {
    let conditions = grant.conditions.fingerprint();
    let asked: &[&str] = if grant.conditions.is_empty() { &[] } else { &[&conditions] };
    sid_of(provider, kind, grant.audience.as_str(), asked)
}

fn sid_of(provider: &Provider, kind: Kind, audience: &str, asked: &[&str]) -> String {
    let kind = match kind {
        Kind::Subjects => String::new(),
        Kind::Patterns(None) => PATTERNS.to_owned(),
        Kind::Patterns(Some(project)) => format!("{PATTERNS}{project}"),
    };
    format!("{SID_PREFIX}{kind}{}", fingerprint(&[&[provider.issuer.as_str(), audience], asked].concat(), FINGERPRINT))
}

/// The length of the fingerprint of issuer, audience and conditions.
const FINGERPRINT: usize = 8;

fn deny(provider: &Provider) -> Value {
    json!({
        "Sid": sid_of(provider, Kind::Subjects, "", &[]),
        "Effect": "Deny",
        "Principal": { "Federated": provider.arn },
        "Action": ASSUME,
    })
}

/// Whether a statement is the one that denies where nothing else would be left. Whatever comes, it gives way.
fn is_stand_in(statement: &Value, provider: &Provider) -> bool {
    is_own_of(statement, provider, Kind::Subjects) && statement["Effect"] == "Deny"
}

/// Whether a statement is the tool's for this cluster.
pub(super) fn is_own(statement: &Value, provider: &Provider) -> bool {
    own_sid(statement).is_some() && texts(&statement["Principal"]["Federated"]) == [provider.arn.as_str()]
}

/// What follows the mark of the tool in a statement's `Sid`.
fn own_sid(statement: &Value) -> Option<&str> {
    statement["Sid"].as_str()?.strip_prefix(SID_PREFIX)
}

fn is_own_of(statement: &Value, provider: &Provider, kind: Kind) -> bool {
    let of_kind = own_sid(statement).is_some_and(|rest| match (kind, rest.strip_prefix(PATTERNS)) {
        (Kind::Subjects, patterns) => patterns.is_none(),
        (Kind::Patterns(_), None) => false,
        // What has another length is of no project.
        (Kind::Patterns(None), Some(rest)) => rest.len() != PROJECT + FINGERPRINT,
        (Kind::Patterns(Some(project)), Some(rest)) => rest.len() == PROJECT + FINGERPRINT && rest.starts_with(&project.to_string()),
    });
    of_kind && is_own(statement, provider)
}

/// Whether a statement of patterns is of no project, and says nothing that this project does not say too: then it is this project's, from
/// before projects were told apart.
fn is_adopted(statement: &Value, provider: &Provider, trusted: &Trusted) -> bool {
    matches!(trusted.kind, Kind::Patterns(Some(_))) && is_own_of(statement, provider, Kind::Patterns(None)) && {
        let declared: BTreeSet<&String> = trusted.claims.values().flatten().collect();
        claims_of(statement, provider).iter().all(|claim| declared.contains(claim))
    }
}

/// The claims that a statement allows.
fn claims_of(statement: &Value, provider: &Provider) -> Vec<String> {
    let key = provider.subject_key();
    let operators = statement["Condition"].as_object().filter(|_| statement["Effect"] == "Allow").into_iter();
    operators.flat_map(|operators| operators.values().flat_map(|keys| texts(&keys[key.as_str()]))).map(str::to_owned).collect()
}

/// The conditions of one's own in a statement of the tool's; none if they are not understood.
fn own_conditions(statement: &Value, provider: &Provider) -> Option<Conditions> {
    let mut condition = statement["Condition"].as_object()?.clone();
    let own = [provider.subject_key(), provider.audience_key()];
    for keys in condition.values_mut().filter_map(Value::as_object_mut) {
        keys.retain(|key, _| !own.contains(key));
    }
    condition.retain(|_, keys| keys.as_object().is_none_or(|keys| !keys.is_empty()));
    Conditions::read(&Value::Object(condition)).ok()
}

/// The issuer, without `https://`, for which this is the tool's statement. Whether it is another cluster's is for the caller to know.
fn other_cluster(statement: &Value) -> Option<&str> {
    let [provider] = texts(&statement["Principal"]["Federated"])[..] else { return None };
    let issuer = provider.split_once(":oidc-provider/").map(|(_, issuer)| issuer)?;
    own_sid(statement).filter(|_| statement["Action"] == ASSUME).map(|_| issuer)
}

fn allows(statement: &Value, provider: &Provider, audience: &Audience, subject: &Subject) -> bool {
    let understood = statement
        .as_object()
        .is_some_and(|members| members.keys().all(|key| matches!(key.as_str(), "Sid" | "Effect" | "Principal" | "Action" | "Condition")));
    understood
        && statement["Effect"] == "Allow"
        && texts(&statement["Principal"]["Federated"]).contains(&provider.arn.as_str())
        && texts(&statement["Action"]).iter().any(|action| pattern_matches(&action.to_lowercase(), &ASSUME.to_lowercase()))
        && conditions_hold(
            &statement["Condition"],
            &[(provider.audience_key(), audience.as_str()), (provider.subject_key(), &subject.claim())],
        )
}

/// Whether every condition is understood and holds, and each of the claims is asked for by one.
fn conditions_hold(condition: &Value, claims: &[(String, &str)]) -> bool {
    let Some(operators) = condition.as_object() else { return false };
    let mut asked = BTreeSet::new();
    for (operator, keys) in operators {
        let Some(keys) = keys.as_object() else { return false };
        for (key, values) in keys {
            let Some((name, claim)) = claims.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) else { return false };
            let holds = match operator.as_str() {
                "StringEquals" | "ForAnyValue:StringEquals" => texts(values).contains(claim),
                "StringLike" | "ForAnyValue:StringLike" => texts(values).iter().any(|pattern| pattern_matches(pattern, claim)),
                _ => false,
            };
            if !holds {
                return false;
            }
            asked.insert(name);
        }
    }
    asked.len() == claims.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Provider {
        Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A".to_owned(),
            issuer: "https://oidc.example.com/id/A".parse().unwrap(),
        }
    }

    fn trusted(subjects: &[&str]) -> Trusted {
        let subjects: Vec<Subject> = subjects.iter().map(|subject| subject.parse().unwrap()).collect();
        Trusted::subjects(&Audience::default(), &subjects)
    }

    fn foreign() -> Value {
        json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    }

    fn document(statements: &[Value]) -> TrustPolicy {
        TrustPolicy::parse(&json!({"Version": "2012-10-17", "Id": "kept", "Statement": statements}).to_string()).unwrap()
    }

    #[test]
    fn a_new_trust_policy_checks_subject_and_audience() {
        insta::assert_snapshot!(TrustPolicy::new(&provider(), &trusted(&["z1/app"])).minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com","oidc.example.com/id/A:sub":"system:serviceaccount:z1:app"}},"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsalnlnei66"}],"Version":"2012-10-17"}"#);
    }

    #[test]
    fn foreign_statements_stay_as_they_are_and_in_order() {
        let odd = json!({"NotPrincipal": {"AWS": "AIDAEXAMPLE"}, "Effect": "Deny", "Action": ["x:y"], "Condition": {"Odd": {"k": [1]}}});
        let before = document(&[foreign(), TrustPolicy::new(&provider(), &trusted(&["z1/app"])).statements[0].clone(), odd.clone()]);
        let after = before.rendered(&provider(), &trusted(&["z2/app"]));
        assert_eq!(after.statements.len(), 3);
        assert_eq!((&after.statements[0], &after.statements[2]), (&foreign(), &odd));
        assert_eq!(after.own_claims(&provider(), Kind::Subjects), BTreeSet::from(["system:serviceaccount:z2:app".to_owned()]));
        assert_eq!(after.to_value()["Id"], "kept");
    }

    #[test]
    fn the_last_subject_leaves_no_statement_of_ours_or_one_that_denies() {
        let none = Trusted::nobody(Kind::Subjects);
        let with_foreign = document(&[foreign()]).rendered(&provider(), &trusted(&["z1/app"])).rendered(&provider(), &none);
        assert_eq!(with_foreign.statements, [foreign()]);
        let alone = TrustPolicy::new(&provider(), &trusted(&["z1/app"])).rendered(&provider(), &none);
        insta::assert_snapshot!(alone.minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Effect":"Deny","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsadufmsczj"}],"Version":"2012-10-17"}"#);
        // And the placeholder gives way again.
        assert_eq!(alone.rendered(&provider(), &trusted(&["z1/app"])), TrustPolicy::new(&provider(), &trusted(&["z1/app"])));
    }

    #[test]
    fn a_statement_of_patterns_checks_the_audience_by_equality_and_stands_beside_one_of_subjects() {
        let mut patterns = Trusted::nobody(Kind::Patterns(None));
        patterns.add(&Audience::default(), "system:serviceaccount:z*:app".to_owned());
        let both = TrustPolicy::new(&provider(), &trusted(&["z1/app"])).rendered(&provider(), &patterns);
        insta::assert_snapshot!(both.minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com","oidc.example.com/id/A:sub":"system:serviceaccount:z1:app"}},"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsalnlnei66"},{"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com"},"StringLike":{"oidc.example.com/id/A:sub":"system:serviceaccount:z*:app"}},"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsaClusterlnlnei66"}],"Version":"2012-10-17"}"#);
        assert_eq!(both.own_claims(&provider(), Kind::Patterns(None)), BTreeSet::from(["system:serviceaccount:z*:app".to_owned()]));
        assert_eq!(both.rendered(&provider(), &Trusted::nobody(Kind::Subjects)), TrustPolicy::new(&provider(), &patterns));
        assert_eq!(both.foreign_count(&provider()), 0);
    }

    #[test]
    fn the_tools_own_sid_is_written_once_whatever_was_made_of_its_statement_by_hand() {
        let ours = TrustPolicy::new(&provider(), &trusted(&["z1/app"]));
        let mut changed = ours.statements[0].clone();
        changed["Principal"] = json!({"AWS": "arn:aws:iam::123456789012:root"});
        let by_hand = document(&[foreign(), changed]);
        let repaired = by_hand.rendered(&provider(), &trusted(&["z1/app"]));
        assert_eq!(repaired.statements, [foreign(), ours.statements[0].clone()]);
    }

    #[test]
    fn another_form_of_the_same_statement_is_no_drift() {
        let ours = TrustPolicy::new(&provider(), &trusted(&["z1/app"]));
        let mut statement = ours.statements[0].clone();
        statement["Action"] = json!(["sts:assumerolewithwebidentity"]);
        statement["Condition"]["StringEquals"]["oidc.example.com/id/A:sub"] = json!(["system:serviceaccount:z1:app"]);
        assert!(ours.means_the_same(&document(&[statement.clone()])));
        assert!(!ours.means_the_same(&document(&[foreign(), statement.clone()])));
        statement["Condition"]["StringEquals"]["oidc.example.com/id/A:sub"] = json!("system:serviceaccount:*:app");
        assert!(!ours.means_the_same(&document(&[statement])));
    }

    #[test]
    fn the_statement_of_another_cluster_stays_and_is_known_as_that() {
        let other = Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/B".to_owned(),
            issuer: "https://oidc.example.com/id/B".parse().unwrap(),
        };
        let both = TrustPolicy::new(&other, &trusted(&["z9/app"])).rendered(&provider(), &trusted(&["z1/app"]));
        assert_eq!(both.statements.len(), 2);
        // It is not somebody else's: the tool has written it for another cluster.
        assert_eq!((both.foreign_count(&provider()), both.foreign_count(&other)), (0, 0));
        assert_eq!(both.other_clusters(&provider()), BTreeSet::from(["oidc.example.com/id/B"]));
        assert!(both.has_foreign_allow(&provider()) && !both.lets_strangers_in(&provider()));
        assert_eq!(both.rendered(&provider(), &Trusted::nobody(Kind::Subjects)), TrustPolicy::new(&other, &trusted(&["z9/app"])));
    }

    fn patterns(project: &str, claims: &[&str]) -> Trusted {
        let mut patterns = Trusted::nobody(Kind::Patterns(ProjectMark::of_project(project)));
        for claim in claims {
            patterns.add(&Audience::default(), (*claim).to_owned());
        }
        patterns
    }

    #[test]
    fn conditions_of_ones_own_have_a_statement_of_their_own_and_read_back_from_it() {
        let conditions =
            Conditions::read(&json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringEquals": {"aws:SourceVpc": "vpc-1"}})).unwrap();
        let grant = Grant { audience: Audience::default(), conditions };
        let mut both = trusted(&["z1/app"]);
        both.add_under(&grant, "system:serviceaccount:z2:app".to_owned());
        let policy = TrustPolicy::new(&provider(), &both);
        assert_eq!(policy.own_trusted(&provider(), Kind::Subjects), both);
        let statement = policy.statements.iter().find(|statement| statement["Condition"]["IpAddress"].is_object()).unwrap();
        assert_eq!(
            statement["Condition"],
            json!({
                "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                "StringEquals": {"aws:SourceVpc": "vpc-1", "oidc.example.com/id/A:aud": "sts.amazonaws.com", "oidc.example.com/id/A:sub": "system:serviceaccount:z2:app"}
            })
        );
        let sids: BTreeSet<&str> = policy.statements.iter().filter_map(|statement| statement["Sid"].as_str()).collect();
        assert_eq!(sids.len(), 2);
        // A condition taken out by hand is drift.
        let mut by_hand = policy.to_value();
        for statement in by_hand["Statement"].as_array_mut().unwrap() {
            statement["Condition"].as_object_mut().unwrap().remove("IpAddress");
        }
        let by_hand = TrustPolicy::parse(&by_hand.to_string()).unwrap();
        assert!(!by_hand.means_the_same(&policy) && by_hand.rendered(&provider(), &both).means_the_same(&policy));
    }

    #[test]
    fn each_project_replaces_its_own_patterns_and_no_others() {
        let (one, other) =
            (patterns("p1", &["system:serviceaccount:z1-*:metrics"]), patterns("p2", &["system:serviceaccount:z2-*:reports"]));
        let both = TrustPolicy::new(&provider(), &one).rendered(&provider(), &other);
        assert_eq!(both.patterns(&provider()).len(), 2);
        assert!(both.rendered(&provider(), &one).means_the_same(&both));
        let changed = both.rendered(&provider(), &patterns("p1", &["system:serviceaccount:z3-*:metrics"]));
        assert_eq!(
            changed.patterns(&provider()).into_iter().collect::<Vec<_>>(),
            ["system:serviceaccount:z2-*:reports", "system:serviceaccount:z3-*:metrics"]
        );
        assert_eq!(changed.foreign_count(&provider()), 0);
        let sids: BTreeSet<&str> = changed.statements.iter().filter_map(|statement| statement["Sid"].as_str()).collect();
        assert!(sids.len() == 2 && sids.iter().all(|sid| sid.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{sids:?}");
    }

    #[test]
    fn a_statement_of_no_project_is_taken_over_by_a_project_that_says_the_same_and_more_and_by_no_other() {
        let before = TrustPolicy::new(&provider(), &patterns("", &["system:serviceaccount:z1-*:app"]));
        let taken = before.rendered(&provider(), &patterns("p1", &["system:serviceaccount:z1-*:app", "system:serviceaccount:z2-*:app"]));
        assert_eq!(taken.statements.len(), 1);
        let kept = before.rendered(&provider(), &patterns("p1", &["system:serviceaccount:z2-*:app"]));
        assert_eq!(kept.statements.len(), 2);
    }

    #[test]
    fn the_stand_in_gives_way_to_patterns_too() {
        let nobody = TrustPolicy::new(&provider(), &trusted(&["z1/app"])).rendered(&provider(), &Trusted::nobody(Kind::Subjects));
        for project in ["", "p1"] {
            let wanted = patterns(project, &["system:serviceaccount:z*:app"]);
            assert!(nobody.rendered(&provider(), &wanted).means_the_same(&TrustPolicy::new(&provider(), &wanted)));
        }
        // It is no statement of somebody else's either.
        assert_eq!(nobody.foreign_count(&provider()), 0);
    }

    #[test]
    fn a_foreign_statement_trusts_a_subject_only_with_subject_and_audience_checked() {
        let statement = |condition: Value| json!({"Effect": "Allow", "Principal": {"Federated": [provider().arn]}, "Action": ["sts:AssumeRoleWithWebIdentity"], "Condition": condition});
        let (sub, aud) = ("oidc.example.com/id/A:sub", "oidc.example.com/id/A:aud");
        let both = json!({"StringEquals": {aud: "sts.amazonaws.com", sub: "system:serviceaccount:z1:app"}});
        let cases = [
            (statement(both.clone()), true),
            (statement(json!({"StringEquals": {aud: "sts.amazonaws.com"}, "StringLike": {sub: "system:serviceaccount:z*:app"}})), true),
            (statement(json!({"StringEquals": {aud: ["x", "sts.amazonaws.com"], sub: ["system:serviceaccount:z1:app", "y"]}})), true),
            (statement(json!({"StringEquals": {sub: "system:serviceaccount:z1:app"}})), false),
            (statement(json!({"StringEquals": {aud: "sts.amazonaws.com"}})), false),
            (statement(json!({"StringEquals": {aud: "sts.amazonaws.com", sub: "system:serviceaccount:z2:app"}})), false),
            (statement(json!({"StringEquals": {aud: "sts.amazonaws.com", sub: "system:serviceaccount:*:app"}})), false),
            (
                statement(
                    json!({"StringEquals": {aud: "sts.amazonaws.com", sub: "system:serviceaccount:z1:app", "aws:SourceIp": "1.2.3.4"}}),
                ),
                false,
            ),
            (statement(json!({"StringNotEquals": {aud: "x", sub: "y"}})), false),
            (statement(Value::Null), false),
        ];
        for (statement, trusts) in cases {
            let policy = document(&[statement]);
            assert_eq!(
                policy.foreign_trusts(&provider(), &Audience::default(), &"z1/app".parse().unwrap()),
                trusts,
                "{}",
                policy.minified()
            );
        }
        let mut denied = statement(both);
        denied["Effect"] = json!("Deny");
        assert!(!document(&[denied]).foreign_trusts(&provider(), &Audience::default(), &"z1/app".parse().unwrap()));
    }
}
