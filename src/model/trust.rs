//! Trust policies: whom the tool's statements let in, and how a document is rendered around the others.
//!
//! Which statements are the tool's, and how they read, is for the [anchor](Anchor) to know. Every other statement is foreign: kept as it is
//! and in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    anchor::{Anchor, Grant, StatementKind, cluster_of, cluster_of_pods, lets_pods_in},
    arn::ClusterArn,
    association::SessionTags,
    document::{self, DocumentProblem, Ordered, canonical_statement, texts},
    gather::Gather as _,
    names::Subject,
    oidc::Audience,
    subjects::SubjectPattern,
};

/// Whom the tool's statements of one kind let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// By name or by pattern.
    pub kind: StatementKind,
    /// The subjects or patterns, by what else is asked of them.
    pub subjects: BTreeMap<Grant, BTreeSet<SubjectPattern>>,
}

impl Trusted {
    /// Nobody.
    #[must_use]
    pub fn nobody(kind: StatementKind) -> Self {
        Self { kind, subjects: BTreeMap::new() }
    }

    /// These subjects by name, with tokens for one audience.
    #[must_use]
    pub fn named<'a>(audience: &Audience, subjects: impl IntoIterator<Item = &'a Subject>) -> Self {
        let mut trusted = Self::nobody(StatementKind::Subjects);
        subjects.into_iter().for_each(|subject| trusted.add(&audience.clone().into(), subject.into()));
        trusted
    }

    /// Lets in one more.
    pub fn add(&mut self, grant: &Grant, subject: SubjectPattern) {
        self.subjects.entry(grant.clone()).or_default().insert(subject);
    }

    /// All of them, whatever else is asked of them.
    pub fn all(&self) -> impl Iterator<Item = &SubjectPattern> {
        self.subjects.values().flatten()
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
    pub fn new(anchor: &Anchor, trusted: &Trusted) -> Self {
        let nothing = Self { members: Map::from_iter([("Version".to_owned(), json!("2012-10-17"))]), statements: Vec::new() };
        nothing.rendered(anchor, trusted)
    }

    /// This document with the tool's statements replaced by those that trust exactly `trusted`; foreign ones stay, in order.
    ///
    /// If nothing would be left, a statement that denies stands in: IAM wants one, and nothing may be wider than before.
    #[must_use]
    pub fn rendered(&self, anchor: &Anchor, trusted: &Trusted) -> Self {
        let own = trusted.subjects.iter().filter(|(_, subjects)| !subjects.is_empty());
        let mut own: Vec<Value> = own.flat_map(|(grant, subjects)| anchor.allowing(trusted.kind, grant, subjects)).collect();
        // A `Sid` that the tool is about to write is the tool's whatever else was made of its statement by hand: IAM takes it once.
        let sids: Vec<Value> = own.iter().map(|statement| statement["Sid"].clone()).collect();
        let is_own = |statement: &Value| {
            anchor.is_own_of(statement, trusted.kind)
                || sids.contains(&statement["Sid"])
                || anchor.is_stand_in(statement)
                || is_adopted(statement, anchor, trusted)
        };
        let at = self.statements.iter().position(is_own).unwrap_or(self.statements.len());
        let foreign = |range: &[Value]| range.iter().filter(|statement| !is_own(statement)).cloned().collect::<Vec<_>>();
        let (mut statements, after) = (foreign(&self.statements[..at]), foreign(&self.statements[at..]));
        if own.is_empty() && statements.is_empty() && after.is_empty() {
            own.push(anchor.denying());
        }
        statements.extend(own);
        statements.extend(after);
        Self { members: self.members.clone(), statements }
    }

    /// This document without the tool's statements of patterns, whichever project has declared them; the same stand-in as in
    /// [`rendered`](Self::rendered).
    #[must_use]
    pub fn without_patterns(&self, anchor: &Anchor) -> Self {
        let mut statements: Vec<Value> = self.statements.iter().filter(|statement| !is_of_patterns(statement, anchor)).cloned().collect();
        if statements.is_empty() {
            statements.push(anchor.denying());
        }
        Self { members: self.members.clone(), statements }
    }

    /// Whether both documents have the same statements, by their meaning.
    #[must_use]
    pub fn means_the_same(&self, other: &Self) -> bool {
        let statements = |policy: &Self| policy.statements.iter().map(canonical_statement).gather::<BTreeSet<Ordered>>();
        statements(self) == statements(other)
    }

    /// The subjects that the tool's statements of a kind allow, as they stand.
    #[must_use]
    pub fn own_subjects(&self, anchor: &Anchor, kind: StatementKind) -> BTreeSet<SubjectPattern> {
        self.own(anchor, kind).flat_map(|statement| anchor.subjects_of(statement)).collect()
    }

    /// The same by audience and conditions; without those of a statement that names no audience, or whose conditions are not understood.
    #[must_use]
    pub fn own_trusted(&self, anchor: &Anchor, kind: StatementKind) -> Trusted {
        let mut trusted = Trusted::nobody(kind);
        for statement in self.own(anchor, kind) {
            for grant in anchor.grants_of(statement) {
                anchor.subjects_of(statement).into_iter().for_each(|subject| trusted.add(&grant, subject));
            }
        }
        trusted
    }

    /// The patterns that the tool's statements allow, whichever project has declared them.
    #[must_use]
    pub fn patterns(&self, anchor: &Anchor) -> BTreeSet<SubjectPattern> {
        let of_patterns = self.statements.iter().filter(|statement| is_of_patterns(statement, anchor));
        of_patterns.flat_map(|statement| anchor.subjects_of(statement)).collect()
    }

    /// Whether a foreign statement already lets this subject in with a token for this audience.
    ///
    /// A statement with a condition or element that is not understood here counts as one that does not.
    #[must_use]
    pub fn foreign_trusts(&self, anchor: &Anchor, audience: &Audience, subject: &Subject) -> bool {
        self.foreign(anchor).any(|statement| anchor.allows(statement, audience, subject))
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
    pub fn has_foreign_allow(&self, anchor: &Anchor) -> bool {
        self.foreign(anchor).any(|statement| statement["Effect"] != "Deny")
    }

    /// How many statements are not the tool's, for this cluster or another.
    #[must_use]
    pub fn foreign_count(&self, anchor: &Anchor) -> usize {
        self.foreign(anchor).filter(|statement| cluster_of(statement).is_none()).count()
    }

    /// The other clusters for which the tool has written a statement: each by its issuer without `https://`, or by its ARN.
    #[must_use]
    pub fn other_clusters(&self, anchor: &Anchor) -> BTreeSet<&str> {
        self.foreign(anchor).filter_map(cluster_of).collect()
    }

    /// Whether a statement that is not the tool's for any cluster lets anybody in.
    #[must_use]
    pub fn lets_strangers_in(&self, anchor: &Anchor) -> bool {
        self.foreign(anchor).any(|statement| statement["Effect"] != "Deny" && cluster_of(statement).is_none())
    }

    /// The clusters for which a statement of the tool's lets EKS Pod Identity in; none of a statement that a person has taken the cluster out
    /// of.
    #[must_use]
    pub fn pod_identity_clusters(&self) -> BTreeSet<Option<ClusterArn>> {
        self.statements.iter().filter(|statement| lets_pods_in(statement)).map(cluster_of_pods).gather()
    }

    /// What the tool's statements for EKS Pod Identity rest on: one anchor for each cluster that they name.
    #[must_use]
    pub fn pod_identity_anchors(&self) -> Vec<Anchor> {
        let clusters = self.pod_identity_clusters().into_iter().flatten();
        clusters.map(|cluster| Anchor::PodIdentity(cluster, SessionTags::On)).collect()
    }

    /// The document without the tool's statements for any of these anchors: what is left is of others. It may have no statement.
    #[must_use]
    pub fn of_others(&self, anchors: &[Anchor]) -> Self {
        let is_own = |statement: &&Value| anchors.iter().any(|anchor| anchor.is_own(statement));
        let statements = self.statements.iter().filter(|statement| !is_own(statement)).cloned().collect();
        Self { members: self.members.clone(), statements }
    }

    fn own(&self, anchor: &Anchor, kind: StatementKind) -> impl Iterator<Item = &Value> {
        self.statements.iter().filter(move |statement| anchor.is_own_of(statement, kind))
    }

    fn foreign(&self, anchor: &Anchor) -> impl Iterator<Item = &Value> {
        self.statements.iter().filter(move |statement| !anchor.is_own(statement))
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

fn is_of_patterns(statement: &Value, anchor: &Anchor) -> bool {
    anchor.is_own(statement) && !anchor.is_own_of(statement, StatementKind::Subjects)
}

/// Whether a statement of patterns is of no project, and says nothing that this project does not say too: then it is this project's, from
/// before projects were told apart.
fn is_adopted(statement: &Value, anchor: &Anchor, trusted: &Trusted) -> bool {
    let is_of_no_project =
        matches!(trusted.kind, StatementKind::Patterns(Some(_))) && anchor.is_own_of(statement, StatementKind::Patterns(None));
    is_of_no_project && anchor.subjects_of(statement).iter().all(|subject| trusted.all().any(|declared| declared == subject))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{anchor::ProjectMark, conditions::Conditions, oidc::Provider};

    fn provider() -> Provider {
        Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A".to_owned(),
            issuer: "https://oidc.example.com/id/A".parse().unwrap(),
        }
    }

    fn anchor() -> Anchor {
        Anchor::Oidc(provider())
    }

    fn trusted(subjects: &[&str]) -> Trusted {
        let subjects: Vec<Subject> = subjects.iter().map(|subject| subject.parse().unwrap()).collect();
        Trusted::named(&Audience::default(), &subjects)
    }

    fn foreign() -> Value {
        json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    }

    fn document(statements: &[Value]) -> TrustPolicy {
        TrustPolicy::parse(&json!({"Version": "2012-10-17", "Id": "kept", "Statement": statements}).to_string()).unwrap()
    }

    #[test]
    fn a_new_trust_policy_checks_subject_and_audience() {
        insta::assert_snapshot!(TrustPolicy::new(&anchor(), &trusted(&["z1/app"])).minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com","oidc.example.com/id/A:sub":"system:serviceaccount:z1:app"}},"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsalnlnei66"}],"Version":"2012-10-17"}"#);
    }

    #[test]
    fn foreign_statements_stay_as_they_are_and_in_order() {
        let odd = json!({"NotPrincipal": {"AWS": "AIDAEXAMPLE"}, "Effect": "Deny", "Action": ["x:y"], "Condition": {"Odd": {"k": [1]}}});
        let before = document(&[foreign(), TrustPolicy::new(&anchor(), &trusted(&["z1/app"])).statements[0].clone(), odd.clone()]);
        let after = before.rendered(&anchor(), &trusted(&["z2/app"]));
        assert_eq!(after.statements.len(), 3);
        assert_eq!((&after.statements[0], &after.statements[2]), (&foreign(), &odd));
        assert_eq!(
            after.own_subjects(&anchor(), StatementKind::Subjects),
            BTreeSet::from([SubjectPattern::read("system:serviceaccount:z2:app")])
        );
        assert_eq!(after.to_value()["Id"], "kept");
    }

    #[test]
    fn the_last_subject_leaves_no_statement_of_ours_or_one_that_denies() {
        let none = Trusted::nobody(StatementKind::Subjects);
        let with_foreign = document(&[foreign()]).rendered(&anchor(), &trusted(&["z1/app"])).rendered(&anchor(), &none);
        assert_eq!(with_foreign.statements, [foreign()]);
        let alone = TrustPolicy::new(&anchor(), &trusted(&["z1/app"])).rendered(&anchor(), &none);
        insta::assert_snapshot!(alone.minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Effect":"Deny","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsadufmsczj"}],"Version":"2012-10-17"}"#);
        // And the placeholder gives way again.
        assert_eq!(alone.rendered(&anchor(), &trusted(&["z1/app"])), TrustPolicy::new(&anchor(), &trusted(&["z1/app"])));
    }

    #[test]
    fn a_statement_of_patterns_checks_the_audience_by_equality_and_stands_beside_one_of_subjects() {
        let mut patterns = Trusted::nobody(StatementKind::Patterns(None));
        patterns.add(&Audience::default().into(), SubjectPattern::read("system:serviceaccount:z*:app"));
        let both = TrustPolicy::new(&anchor(), &trusted(&["z1/app"])).rendered(&anchor(), &patterns);
        insta::assert_snapshot!(both.minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com","oidc.example.com/id/A:sub":"system:serviceaccount:z1:app"}},"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsalnlnei66"},{"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com"},"StringLike":{"oidc.example.com/id/A:sub":"system:serviceaccount:z*:app"}},"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsaClusterlnlnei66"}],"Version":"2012-10-17"}"#);
        assert_eq!(
            both.own_subjects(&anchor(), StatementKind::Patterns(None)),
            BTreeSet::from([SubjectPattern::read("system:serviceaccount:z*:app")])
        );
        assert_eq!(both.rendered(&anchor(), &Trusted::nobody(StatementKind::Subjects)), TrustPolicy::new(&anchor(), &patterns));
        assert_eq!(both.foreign_count(&anchor()), 0);
    }

    #[test]
    fn the_tools_own_sid_is_written_once_whatever_was_made_of_its_statement_by_hand() {
        let ours = TrustPolicy::new(&anchor(), &trusted(&["z1/app"]));
        let mut changed = ours.statements[0].clone();
        changed["Principal"] = json!({"AWS": "arn:aws:iam::123456789012:root"});
        let by_hand = document(&[foreign(), changed]);
        let repaired = by_hand.rendered(&anchor(), &trusted(&["z1/app"]));
        assert_eq!(repaired.statements, [foreign(), ours.statements[0].clone()]);
    }

    #[test]
    fn another_form_of_the_same_statement_is_no_drift() {
        let ours = TrustPolicy::new(&anchor(), &trusted(&["z1/app"]));
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
        let other = Anchor::Oidc(Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/B".to_owned(),
            issuer: "https://oidc.example.com/id/B".parse().unwrap(),
        });
        let both = TrustPolicy::new(&other, &trusted(&["z9/app"])).rendered(&anchor(), &trusted(&["z1/app"]));
        assert_eq!(both.statements.len(), 2);
        // It is not somebody else's: the tool has written it for another cluster.
        assert_eq!((both.foreign_count(&anchor()), both.foreign_count(&other)), (0, 0));
        assert_eq!(both.other_clusters(&anchor()), BTreeSet::from(["oidc.example.com/id/B"]));
        assert!(both.has_foreign_allow(&anchor()) && !both.lets_strangers_in(&anchor()));
        assert_eq!(both.rendered(&anchor(), &Trusted::nobody(StatementKind::Subjects)), TrustPolicy::new(&other, &trusted(&["z9/app"])));
    }

    fn patterns(project: &str, declared: &[&str]) -> Trusted {
        let mut patterns = Trusted::nobody(StatementKind::Patterns(ProjectMark::of_project(project)));
        for pattern in declared {
            patterns.add(&Audience::default().into(), SubjectPattern::read(pattern));
        }
        patterns
    }

    #[test]
    fn conditions_of_ones_own_have_a_statement_of_their_own_and_read_back_from_it() {
        let conditions =
            Conditions::read(&json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringEquals": {"aws:SourceVpc": "vpc-1"}})).unwrap();
        let grant = Grant { audience: Audience::default(), conditions };
        let mut both = trusted(&["z1/app"]);
        both.add(&grant, SubjectPattern::read("system:serviceaccount:z2:app"));
        let policy = TrustPolicy::new(&anchor(), &both);
        assert_eq!(policy.own_trusted(&anchor(), StatementKind::Subjects), both);
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
        assert!(!by_hand.means_the_same(&policy) && by_hand.rendered(&anchor(), &both).means_the_same(&policy));
    }

    #[test]
    fn each_project_replaces_its_own_patterns_and_no_others() {
        let (one, other) =
            (patterns("p1", &["system:serviceaccount:z1-*:metrics"]), patterns("p2", &["system:serviceaccount:z2-*:reports"]));
        let both = TrustPolicy::new(&anchor(), &one).rendered(&anchor(), &other);
        assert_eq!(both.patterns(&anchor()).len(), 2);
        assert!(both.rendered(&anchor(), &one).means_the_same(&both));
        let changed = both.rendered(&anchor(), &patterns("p1", &["system:serviceaccount:z3-*:metrics"]));
        assert_eq!(
            changed.patterns(&anchor()).iter().map(SubjectPattern::as_str).collect::<Vec<_>>(),
            ["system:serviceaccount:z2-*:reports", "system:serviceaccount:z3-*:metrics"]
        );
        assert_eq!(changed.foreign_count(&anchor()), 0);
        let sids: BTreeSet<&str> = changed.statements.iter().filter_map(|statement| statement["Sid"].as_str()).collect();
        assert!(sids.len() == 2 && sids.iter().all(|sid| sid.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{sids:?}");
    }

    #[test]
    fn a_statement_of_no_project_is_taken_over_by_a_project_that_says_the_same_and_more_and_by_no_other() {
        let before = TrustPolicy::new(&anchor(), &patterns("", &["system:serviceaccount:z1-*:app"]));
        let taken = before.rendered(&anchor(), &patterns("p1", &["system:serviceaccount:z1-*:app", "system:serviceaccount:z2-*:app"]));
        assert_eq!(taken.statements.len(), 1);
        let kept = before.rendered(&anchor(), &patterns("p1", &["system:serviceaccount:z2-*:app"]));
        assert_eq!(kept.statements.len(), 2);
    }

    #[test]
    fn the_stand_in_gives_way_to_patterns_too() {
        let nobody = TrustPolicy::new(&anchor(), &trusted(&["z1/app"])).rendered(&anchor(), &Trusted::nobody(StatementKind::Subjects));
        for project in ["", "p1"] {
            let wanted = patterns(project, &["system:serviceaccount:z*:app"]);
            assert!(nobody.rendered(&anchor(), &wanted).means_the_same(&TrustPolicy::new(&anchor(), &wanted)));
        }
        // It is no statement of somebody else's either.
        assert_eq!(nobody.foreign_count(&anchor()), 0);
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
            assert_eq!(policy.foreign_trusts(&anchor(), &Audience::default(), &"z1/app".parse().unwrap()), trusts, "{}", policy.minified());
        }
        let mut denied = statement(both);
        denied["Effect"] = json!("Deny");
        assert!(!document(&[denied]).foreign_trusts(&anchor(), &Audience::default(), &"z1/app".parse().unwrap()));
    }

    fn pods() -> Anchor {
        Anchor::PodIdentity("arn:aws:eks:eu-west-3:123456789012:cluster/demo".parse().unwrap(), SessionTags::On)
    }

    #[test]
    fn a_statement_for_pod_identity_asks_for_cluster_namespace_and_service_account() {
        let policy = TrustPolicy::new(&pods(), &trusted(&["z1/app"]));
        insta::assert_snapshot!(policy.minified(), @r#"{"Statement":[{"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"z1","aws:RequestTag/kubernetes-service-account":"app","aws:SourceAccount":"123456789012","aws:SourceArn":"arn:aws:eks:eu-west-3:123456789012:cluster/demo"}},"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Sid":"QoveryIrsaPodsozgj6uhb44v4l2th"}],"Version":"2012-10-17"}"#);
    }

    #[test]
    fn everybody_of_a_cluster_is_asked_for_no_tag() {
        let mut everybody = Trusted::nobody(StatementKind::Subjects);
        everybody.add(&Audience::of_pod_identity().into(), SubjectPattern::everybody());
        let policy = TrustPolicy::new(&pods(), &everybody);
        let condition = json!({"StringEquals": {
            "aws:SourceAccount": "123456789012", "aws:SourceArn": "arn:aws:eks:eu-west-3:123456789012:cluster/demo"
        }});
        assert_eq!(policy.statements[0]["Condition"], condition);
        assert_eq!(policy.own_trusted(&pods(), StatementKind::Subjects), everybody);
    }

    /// One statement asks for a namespace and for a ServiceAccount, each among several: it must let in no pair that nobody meant.
    #[test]
    fn the_statements_for_pod_identity_let_in_no_pair_that_was_not_meant() {
        let subjects = ["z1/app", "z1/worker", "z2/app", "z2/worker", "z3/app"];
        let policy = TrustPolicy::new(&pods(), &trusted(&subjects));
        assert_eq!(policy.statements.len(), 2);
        let wanted: BTreeSet<SubjectPattern> = subjects.iter().map(|subject| (&subject.parse::<Subject>().unwrap()).into()).collect();
        assert_eq!(policy.own_subjects(&pods(), StatementKind::Subjects), wanted);
        let sids: BTreeSet<&str> = policy.statements.iter().filter_map(|statement| statement["Sid"].as_str()).collect();
        assert!(sids.len() == 2 && sids.iter().all(|sid| sid.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{sids:?}");
    }

    #[test]
    fn patterns_and_conditions_of_ones_own_read_back_from_a_statement_for_pod_identity() {
        let conditions = Conditions::read(&json!({"Bool": {"aws:SecureTransport": "true"}})).unwrap();
        let grant = Grant { audience: Audience::of_pod_identity(), conditions };
        let mut wanted = Trusted::nobody(StatementKind::Patterns(ProjectMark::of_project("p1")));
        wanted.add(&grant, SubjectPattern::read("system:serviceaccount:z1-*:app"));
        wanted.add(&grant, SubjectPattern::read("system:serviceaccount:z2-*:app"));
        let policy = TrustPolicy::new(&pods(), &wanted);
        assert_eq!(policy.statements[0]["Condition"]["StringLike"], json!({"aws:RequestTag/kubernetes-namespace": ["z1-*", "z2-*"]}));
        assert_eq!(policy.own_trusted(&pods(), wanted.kind), wanted);
        assert_eq!(policy.patterns(&pods()).len(), 2);
        assert_eq!(policy.without_patterns(&pods()).statements.len(), 1);
        assert_eq!(policy.without_patterns(&pods()).statements[0]["Effect"], "Deny");
    }

    #[test]
    fn statements_of_two_anchors_and_of_two_clusters_stand_beside_each_other() {
        let elsewhere = Anchor::PodIdentity("arn:aws:eks:eu-west-3:123456789012:cluster/other".parse().unwrap(), SessionTags::On);
        let pods_trusted = {
            let mut trusted = Trusted::nobody(StatementKind::Subjects);
            trusted.add(&Audience::of_pod_identity().into(), SubjectPattern::read("system:serviceaccount:z1:app"));
            trusted
        };
        let all = TrustPolicy::new(&anchor(), &trusted(&["z1/app"])).rendered(&pods(), &pods_trusted).rendered(&elsewhere, &pods_trusted);
        assert_eq!(all.statements.len(), 3);
        for (own, others) in [(pods(), 2), (elsewhere.clone(), 2), (anchor(), 2)] {
            assert_eq!(all.other_clusters(&own).len(), others);
            assert_eq!((all.foreign_count(&own), all.lets_strangers_in(&own)), (0, false));
        }
        // A condition taken out by hand is drift, and the statement is still the tool's.
        let mut by_hand = all.to_value();
        by_hand["Statement"][1].as_object_mut().unwrap().remove("Condition");
        let by_hand = TrustPolicy::parse(&by_hand.to_string()).unwrap();
        assert_eq!(by_hand.own_subjects(&pods(), StatementKind::Subjects), [SubjectPattern::everybody()].into());
        assert!(by_hand.rendered(&pods(), &pods_trusted).means_the_same(&all));
        // The last one leaves a statement that keeps out nobody of another cluster.
        let nobody = Trusted::nobody(StatementKind::Subjects);
        let left = TrustPolicy::new(&pods(), &pods_trusted).rendered(&pods(), &nobody);
        assert_eq!(
            (&left.statements[0]["Effect"], &left.statements[0]["Condition"]["StringEquals"]["aws:SourceArn"]),
            (&json!("Deny"), &json!("arn:aws:eks:eu-west-3:123456789012:cluster/demo"))
        );
        assert_eq!(left.rendered(&pods(), &pods_trusted), TrustPolicy::new(&pods(), &pods_trusted));
        assert_eq!(all.rendered(&pods(), &nobody).statements.len(), 2);
    }

    #[test]
    fn the_clusters_of_statements_for_pod_identity_are_known_until_a_person_takes_one_out() {
        let elsewhere = Anchor::PodIdentity("arn:aws:eks:eu-west-3:123456789012:cluster/other".parse().unwrap(), SessionTags::Off);
        let mut everybody = Trusted::nobody(StatementKind::Subjects);
        everybody.add(&Audience::of_pod_identity().into(), SubjectPattern::everybody());
        let all = TrustPolicy::new(&anchor(), &trusted(&["z1/app"])).rendered(&pods(), &everybody).rendered(&elsewhere, &everybody);
        let clusters = |policy: &TrustPolicy| {
            let name = |cluster: Option<ClusterArn>| cluster.map(|cluster| cluster.name().unwrap().to_string());
            policy.pod_identity_clusters().into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(clusters(&all), [Some("demo".to_owned()), Some("other".to_owned())]);
        assert_eq!(all.of_others(&[anchor(), pods()]).statements, [all.statements[2].clone()]);
        assert_eq!(all.of_others(&[]), all);
        let mut by_hand = all.to_value();
        by_hand["Statement"][2]["Condition"] = json!({});
        by_hand["Statement"][1]["Condition"]["StringEquals"]["aws:SourceArn"] = json!("arn:aws:eks:eu-west-3:123456789012:cluster/third");
        assert_eq!(clusters(&TrustPolicy::parse(&by_hand.to_string()).unwrap()), [None]);
        // Who is kept out, a statement of somebody else's and one for tokens are none.
        let nobody = TrustPolicy::new(&pods(), &everybody).rendered(&pods(), &Trusted::nobody(StatementKind::Subjects));
        let mut foreign = all.statements[1].clone();
        foreign["Sid"] = json!("ByHand");
        for policy in [nobody, document(&[foreign]), TrustPolicy::new(&anchor(), &trusted(&["z1/app"]))] {
            assert_eq!(clusters(&policy), [], "{}", policy.minified());
        }
    }

    #[test]
    fn a_foreign_statement_lets_in_pods_only_where_cluster_and_tags_are_asked_for() {
        let own = TrustPolicy::new(&pods(), &trusted(&["z1/app"]));
        let mut foreign = own.statements[0].clone();
        foreign["Sid"] = json!("ByHand");
        let trusts = |statement: &Value| {
            let policy = document(std::slice::from_ref(statement));
            policy.foreign_trusts(&pods(), &Audience::of_pod_identity(), &"z1/app".parse().unwrap())
        };
        assert!(trusts(&foreign));
        for (pointer, value) in [
            ("/Condition/StringEquals/aws:RequestTag~1kubernetes-namespace", json!("z2")),
            ("/Action", json!("sts:AssumeRole")),
            ("/Condition", json!({"StringEquals": {"aws:SourceAccount": "123456789012"}})),
            ("/Principal", json!({"Service": "ec2.amazonaws.com"})),
        ] {
            let mut other = foreign.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(!trusts(&other), "{pointer}");
        }
    }
}
