//! Trust policies: which statements are the tool's, what they say, and how a document is rendered around the others.
//!
//! A statement is the tool's when its `Sid` begins with [`SID_PREFIX`] and its principal is the provider of this cluster.
//! Every other statement is foreign: kept as it is and in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    document::{self, DocumentProblem, Ordered, canonical_statement, pattern_matches, texts},
    fingerprint::fingerprint,
    names::Subject,
    oidc::{Audience, Provider},
};

/// With what the `Sid` of the tool's statements begins. IAM takes letters and digits there.
pub const SID_PREFIX: &str = "QoveryIrsa";

const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";

/// The subjects that may assume a role, for each audience.
pub type Trusted = BTreeMap<Audience, BTreeSet<Subject>>;

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
        let mut own: Vec<Value> = trusted
            .iter()
            .filter(|(_, subjects)| !subjects.is_empty())
            .map(|(audience, subjects)| allow(provider, audience, subjects))
            .collect();
        let at = self.statements.iter().position(|statement| is_own(statement, provider)).unwrap_or(self.statements.len());
        let foreign = |range: &[Value]| range.iter().filter(|statement| !is_own(statement, provider)).cloned().collect::<Vec<_>>();
        let (mut statements, after) = (foreign(&self.statements[..at]), foreign(&self.statements[at..]));
        if own.is_empty() && statements.is_empty() && after.is_empty() {
            own.push(deny(provider));
        }
        statements.extend(own);
        statements.extend(after);
        Self { members: self.members.clone(), statements }
    }

    /// Whether the tool's statements of both documents mean the same.
    #[must_use]
    pub fn own_means_the_same(&self, other: &Self, provider: &Provider) -> bool {
        let own = |policy: &Self| {
            policy.statements.iter().filter(|statement| is_own(statement, provider)).map(canonical_statement).collect::<BTreeSet<Ordered>>()
        };
        own(self) == own(other)
    }

    /// The subjects that the tool's statements allow: the `sub` values of each `Allow` under any operator, as they stand.
    #[must_use]
    pub fn own_subjects(&self, provider: &Provider) -> BTreeSet<String> {
        let key = provider.subject_key();
        self.statements
            .iter()
            .filter(|statement| is_own(statement, provider) && statement["Effect"] == "Allow")
            .filter_map(|statement| statement["Condition"].as_object())
            .flat_map(|operators| operators.values().flat_map(|keys| texts(&keys[key.as_str()])))
            .map(str::to_owned)
            .collect()
    }

    /// Whether a foreign statement already lets this subject in with a token for this audience.
    ///
    /// A statement with a condition or element that is not understood here counts as one that does not.
    #[must_use]
    pub fn foreign_trusts(&self, provider: &Provider, audience: &Audience, subject: &Subject) -> bool {
        self.statements
            .iter()
            .filter(|statement| !is_own(statement, provider))
            .any(|statement| allows(statement, provider, audience, subject))
    }

    /// How many statements are not the tool's.
    #[must_use]
    pub fn foreign_count(&self, provider: &Provider) -> usize {
        self.statements.iter().filter(|statement| !is_own(statement, provider)).count()
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

fn allow(provider: &Provider, audience: &Audience, subjects: &BTreeSet<Subject>) -> Value {
    let claims: Vec<String> = subjects.iter().map(Subject::claim).collect();
    // One subject as a string: six characters less of a quota of 2,048.
    let claims = if let [only] = claims.as_slice() { json!(only) } else { json!(claims) };
    json!({
        "Sid": format!("{SID_PREFIX}{}", fingerprint(&[provider.issuer.as_str(), audience.as_str()], 8)),
        "Effect": "Allow",
        "Principal": { "Federated": provider.arn },
        "Action": ASSUME,
        "Condition": { "StringEquals": { provider.audience_key(): audience.as_str(), provider.subject_key(): claims } },
    })
}

fn deny(provider: &Provider) -> Value {
    json!({
        "Sid": format!("{SID_PREFIX}{}", fingerprint(&[provider.issuer.as_str()], 8)),
        "Effect": "Deny",
        "Principal": { "Federated": provider.arn },
        "Action": ASSUME,
    })
}

fn is_own(statement: &Value, provider: &Provider) -> bool {
    statement["Sid"].as_str().is_some_and(|sid| sid.starts_with(SID_PREFIX))
        && texts(&statement["Principal"]["Federated"]) == [provider.arn.as_str()]
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
        Trusted::from([(Audience::default(), subjects.iter().map(|subject| subject.parse().unwrap()).collect())])
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
        let before =
            document(&[foreign(), allow(&provider(), &Audience::default(), &BTreeSet::from(["z1/app".parse().unwrap()])), odd.clone()]);
        let after = before.rendered(&provider(), &trusted(&["z2/app"]));
        assert_eq!(after.statements.len(), 3);
        assert_eq!((&after.statements[0], &after.statements[2]), (&foreign(), &odd));
        assert_eq!(after.own_subjects(&provider()), BTreeSet::from(["system:serviceaccount:z2:app".to_owned()]));
        assert_eq!(after.to_value()["Id"], "kept");
    }

    #[test]
    fn the_last_subject_leaves_no_statement_of_ours_or_one_that_denies() {
        let none = Trusted::new();
        let with_foreign = document(&[foreign()]).rendered(&provider(), &trusted(&["z1/app"])).rendered(&provider(), &none);
        assert_eq!(with_foreign.statements, [foreign()]);
        let alone = TrustPolicy::new(&provider(), &trusted(&["z1/app"])).rendered(&provider(), &none);
        insta::assert_snapshot!(alone.minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Effect":"Deny","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsa3d7sec2s"}],"Version":"2012-10-17"}"#);
        // And the placeholder gives way again.
        assert_eq!(alone.rendered(&provider(), &trusted(&["z1/app"])), TrustPolicy::new(&provider(), &trusted(&["z1/app"])));
    }

    #[test]
    fn another_form_of_the_same_statement_is_no_drift() {
        let ours = TrustPolicy::new(&provider(), &trusted(&["z1/app"]));
        let mut statement = ours.statements[0].clone();
        statement["Action"] = json!(["sts:assumerolewithwebidentity"]);
        statement["Condition"]["StringEquals"]["oidc.example.com/id/A:sub"] = json!(["system:serviceaccount:z1:app"]);
        assert!(ours.own_means_the_same(&document(&[foreign(), statement.clone()]), &provider()));
        statement["Condition"]["StringEquals"]["oidc.example.com/id/A:sub"] = json!("system:serviceaccount:*:app");
        assert!(!ours.own_means_the_same(&document(&[statement]), &provider()));
    }

    #[test]
    fn the_statement_of_another_cluster_is_foreign() {
        let other = Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/B".to_owned(),
            issuer: "https://oidc.example.com/id/B".parse().unwrap(),
        };
        let both = TrustPolicy::new(&other, &trusted(&["z9/app"])).rendered(&provider(), &trusted(&["z1/app"]));
        assert_eq!((both.foreign_count(&provider()), both.foreign_count(&other)), (1, 1));
        assert_eq!(both.rendered(&provider(), &Trusted::new()), TrustPolicy::new(&other, &trusted(&["z9/app"])));
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
