//! What a trust policy says to a token, or to EKS Pod Identity: statement by statement, condition by condition, in words.
//!
//! A verdict has three values. `sub`, `aud` and `amr` of the token are known, and so are cluster and tags of a session of EKS Pod Identity.
//! The network, the region, the name of the session and all else that a condition may ask for are not known here: then only AWS can say.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    anchor::{ASSUME, Anchor, POD_IDENTITY, POD_IDENTITY_ACTIONS},
    arn::{ClusterArn, ExternalId, RoleArn},
    association::SessionTags,
    document::{pattern_matches, texts},
    gather::Gather as _,
    names::Subject,
    oidc::{Audience, Provider},
    subjects::SubjectPattern,
    token::Claims,
    trust::TrustPolicy,
};

/// What one statement says to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It lets the token in.
    Allows,
    /// It keeps the token out, whatever others say.
    Denies,
    /// It lets the token in, if what is named here holds. That cannot be judged from here.
    MayAllow(Vec<String>),
    /// It keeps the token out, if what is named here holds. That cannot be judged from here.
    MayDeny(Vec<String>),
    /// It is not about this token, for these reasons.
    Silent(Vec<String>),
}

/// What a whole trust policy says to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is let in.
    Allowed,
    /// The token is kept out.
    Refused,
    /// It depends on what cannot be seen from here.
    Unknown,
}

/// What each statement says, in order.
#[must_use]
pub fn explain(trust: &TrustPolicy, provider: &Provider, claims: &Claims) -> Vec<Said> {
    let request = Request::Token { provider, claims };
    trust.statements().iter().map(|statement| said(statement, &request)).collect()
}

/// The statements of somebody else's that let this anchor's requests in, and those of this subject only if more holds, which cannot be judged
/// from here: by number and `Sid`, with what they ask for. A statement of the tool's beside them would undo that.
#[must_use]
pub fn perimeters(trust: &TrustPolicy, anchor: &Anchor, audience: &Audience, subject: &Subject) -> Vec<(String, Vec<String>)> {
    match anchor {
        Anchor::Oidc(provider) => {
            let claims = Claims::of_subject(&provider.issuer, audience, subject);
            asking(trust, anchor, &Request::Token { provider, claims: &claims }, &[], |_| true)
        }
        Anchor::PodIdentity(..) => around_pods(trust, anchor),
    }
}

/// The same for whoever matches a pattern of subjects: statements that may be about some of them, and ask for more than their names.
#[must_use]
pub fn perimeters_of_pattern(
    trust: &TrustPolicy,
    anchor: &Anchor,
    audience: &Audience,
    pattern: &SubjectPattern,
) -> Vec<(String, Vec<String>)> {
    let Anchor::Oidc(provider) = anchor else { return around_pods(trust, anchor) };
    let (key, audiences) = (provider.subject_key(), [audience.to_string()]);
    let request = Request::Anybody { provider, audiences: &audiences };
    let is_about = |statement: &Value| {
        let operators = statement["Condition"].as_object().into_iter().flat_map(|operators| operators.values());
        let wanted: Vec<&str> = operators.flat_map(|keys| texts(&keys[key.as_str()])).collect();
        let pattern = pattern.as_str();
        wanted.is_empty() || wanted.iter().any(|wanted| pattern_matches(pattern, wanted) || pattern_matches(wanted, pattern))
    };
    asking(trust, anchor, &request, std::slice::from_ref(&key), is_about)
}

/// Whichever pods it is about, a statement for EKS Pod Identity may ask for what the tool's own asks for too.
fn around_pods(trust: &TrustPolicy, anchor: &Anchor) -> Vec<(String, Vec<String>)> {
    let request = Request::Service { name: POD_IDENTITY, action: POD_IDENTITY_ACTIONS[0] };
    asking(trust, anchor, &request, &anchor.keys(), |_| true)
}

/// The foreign statements that may let a request in, and ask for more than these keys.
fn asking(
    trust: &TrustPolicy,
    anchor: &Anchor,
    request: &Request<'_>,
    keys: &[String],
    is_about: impl Fn(&Value) -> bool,
) -> Vec<(String, Vec<String>)> {
    let foreign = (1..)
        .zip(trust.statements())
        .filter(|(_, statement)| !anchor.is_own(statement) && anchor.is_principal_of(statement) && is_about(statement));
    foreign
        .filter_map(|(number, statement)| match said(statement, request) {
            Said::MayAllow(mut unknown) => {
                unknown.retain(|what| !keys.iter().any(|key| what.eq_ignore_ascii_case(&format!("`{key}`"))));
                (!unknown.is_empty()).then(|| (named(number, statement), unknown))
            }
            _ => None,
        })
        .collect()
}

/// A statement as messages name it: by its number, from 1, and its `Sid`.
pub(super) fn named(number: usize, statement: &Value) -> String {
    let name = statement["Sid"].as_str().map(|sid| format!(" `{sid}`")).unwrap_or_default();
    format!("statement {number}{name}")
}

/// A session that EKS Pod Identity opens for a pod.
#[derive(Clone, Copy, Debug)]
pub struct PodSession<'a> {
    /// The cluster.
    pub cluster: &'a ClusterArn,
    /// Namespace and ServiceAccount.
    pub subject: &'a Subject,
    /// Whether the session says so by tags.
    pub tags: SessionTags,
}

impl PodSession<'_> {
    /// What must be allowed: with tags the second action too.
    #[must_use]
    pub fn actions(&self) -> &'static [&'static str] {
        match self.tags {
            SessionTags::On => &POD_IDENTITY_ACTIONS,
            SessionTags::Off => &POD_IDENTITY_ACTIONS[..1],
        }
    }

    /// What each statement says to EKS, which assumes the role of an association, in order.
    #[must_use]
    pub fn explain(&self, trust: &TrustPolicy, action: &str) -> Vec<Said> {
        let account = self.cluster.account_id().to_owned();
        let known = self.known([
            ("aws:SourceAccount", account),
            ("aws:SourceArn", self.cluster.as_str().to_owned()),
            ("aws:PrincipalServiceName", POD_IDENTITY.to_owned()),
        ]);
        let request = Request::Session { principal: ("Service", POD_IDENTITY), action, known: &known };
        trust.statements().iter().map(|statement| said(statement, &request)).collect()
    }

    /// What each statement of a target role says to the role of the association, which assumes it in turn, in order.
    #[must_use]
    pub fn explain_target(&self, trust: &TrustPolicy, role: &RoleArn, external_id: Option<&ExternalId>, action: &str) -> Vec<Said> {
        let arn = role.to_string();
        let mut known = self.known([("aws:PrincipalArn", arn.clone()), ("aws:PrincipalAccount", role.account.id.to_string())]);
        known.0.insert("sts:externalid".to_owned(), external_id.into_iter().map(ToString::to_string).collect());
        let request = Request::Session { principal: ("AWS", &arn), action, known: &known };
        trust.statements().iter().map(|statement| said(statement, &request)).collect()
    }

    /// The condition keys of these values, and of the tags.
    /// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
    fn known<const N: usize>(&self, values: [(&str, String); N]) -> KnownKeys {
        let cluster = self.cluster.as_str();
        let tags = [
            ("eks-cluster-arn", cluster),
            ("eks-cluster-name", cluster.rsplit('/').next().unwrap_or_default()),
            ("kubernetes-namespace", self.subject.namespace.as_str()),
            ("kubernetes-service-account", self.subject.service_account.as_str()),
        ];
        let tags = tags.into_iter().filter(|_| self.tags == SessionTags::On);
        let tags = tags.map(|(tag, value)| (format!("{TAG}{tag}"), vec![value.to_owned()]));
        let values = values.into_iter().map(|(key, value)| (key.to_lowercase(), vec![value]));
        KnownKeys(tags.chain(values).gather())
    }
}

/// With what the condition key of a session's tag begins, in lower case.
const TAG: &str = "aws:requesttag/";
/// The tags of a session whose values differ from pod to pod.
const TAGS_OF_PODS: [&str; 2] = ["kubernetes-pod-name", "kubernetes-pod-uid"];

/// What a session has for condition keys, by their names in lower case. What is named here without a value it does not have.
struct KnownKeys(BTreeMap<String, Vec<String>>);

impl KnownKeys {
    fn actual(&self, key: &str) -> Actual<'_> {
        let key = key.to_lowercase();
        let has_tags = self.0.keys().any(|known| known.starts_with(TAG));
        match (self.0.get(&key).map(Vec::as_slice), key.strip_prefix(TAG)) {
            (Some([]), _) => Actual::Absent,
            (Some(values), _) => Actual::Values(values),
            (None, Some(tag)) if has_tags && TAGS_OF_PODS.contains(&tag) => Actual::Unknown,
            // EKS sets no other tags.
            (None, Some(_)) => Actual::Absent,
            (None, None) => Actual::Unknown,
        }
    }
}

/// Who asks, and for what.
#[derive(Clone, Copy)]
enum Request<'a> {
    /// A pod shows its token.
    Token { provider: &'a Provider, claims: &'a Claims },
    /// Some pod of the cluster shows its token.
    Anybody { provider: &'a Provider, audiences: &'a [String] },
    /// A service of AWS assumes the role, for whom is not known.
    Service { name: &'a str, action: &'a str },
    /// A principal of this kind and name assumes the role for a pod of which much is known.
    Session { principal: (&'a str, &'a str), action: &'a str, known: &'a KnownKeys },
}

impl Request<'_> {
    fn action(&self) -> &str {
        match self {
            Self::Token { .. } | Self::Anybody { .. } => ASSUME,
            Self::Service { action, .. } | Self::Session { action, .. } => action,
        }
    }

    /// What has the values that conditions ask for.
    fn asker(&self) -> &'static str {
        match self {
            Self::Token { .. } | Self::Anybody { .. } => "token",
            Self::Service { .. } | Self::Session { .. } => "request",
        }
    }

    /// Whether a principal is the account of the role that asks: then the role's own policies decide.
    fn is_account(&self, name: &str) -> bool {
        let Self::Session { principal: ("AWS", role), .. } = self else { return false };
        let Some((of_account, _)) = role.split_once(":role/") else { return false };
        name == format!("{of_account}:root") || of_account.rsplit(':').next() == Some(name)
    }

    /// The kind of principal that it is, and its name.
    fn principal(&self) -> (&str, &str) {
        match self {
            Self::Token { provider, .. } | Self::Anybody { provider, .. } => ("Federated", &provider.arn),
            Self::Service { name, .. } => ("Service", name),
            Self::Session { principal, .. } => *principal,
        }
    }

    /// What is known of a condition key. Their names ignore case. A request has the claims of its own issuer, never those of another.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif>
    fn actual(&self, key: &str) -> Actual<'_> {
        let (provider, claims) = match self {
            Self::Token { provider, claims } => (provider, claims),
            Self::Anybody { provider, audiences } => {
                let is_audience = key.eq_ignore_ascii_case(&provider.audience_key());
                return if is_audience { Actual::Values(audiences) } else { Actual::Unknown };
            }
            Self::Service { .. } => return Actual::Unknown,
            Self::Session { known, .. } => return known.actual(key),
        };
        let key = key.to_lowercase();
        let Some((issuer, claim)) = key.rsplit_once(':') else { return Actual::Unknown };
        let own = issuer == provider.issuer.host_and_path().to_lowercase();
        match claim {
            "sub" if own => Actual::Values(std::slice::from_ref(&claims.subject)),
            "aud" if own && claims.audiences.is_empty() => Actual::Unknown,
            "aud" if own => Actual::Values(&claims.audiences),
            "amr" if own && claims.methods.is_empty() => Actual::Absent,
            "amr" if own => Actual::Values(&claims.methods),
            // `aws` and `sts` are no hosts.
            "sub" | "aud" | "amr" if issuer.contains('.') => Actual::Absent,
            _ => Actual::Unknown,
        }
    }
}

/// What the statements say together.
///
/// | denies | may deny | allows | may allow | verdict |
/// |---|---|---|---|---|
/// | yes | | | | refused |
/// | no | | no | no | refused |
/// | no | no | yes | | allowed |
/// | no | otherwise | | | unknown |
#[must_use]
pub fn verdict(said: &[Said]) -> Verdict {
    let any = |fits: fn(&Said) -> bool| said.iter().any(fits);
    let (allows, may_allow) = (any(|said| *said == Said::Allows), any(|said| matches!(said, Said::MayAllow(_))));
    if any(|said| *said == Said::Denies) || !(allows || may_allow) {
        Verdict::Refused
    } else if allows && !any(|said| matches!(said, Said::MayDeny(_))) {
        Verdict::Allowed
    } else {
        Verdict::Unknown
    }
}

/// What one statement says.
fn said(statement: &Value, request: &Request<'_>) -> Said {
    let (mut unmet, mut unknown) = (Vec::new(), Vec::new());
    let Some(members) = statement.as_object() else { return Said::Silent(vec!["it is no statement".to_owned()]) };
    for truth in truths(members, request) {
        match truth {
            Truth::Holds => {}
            Truth::Fails(why) => unmet.push(why),
            Truth::Unknown(what) => unknown.push(what),
        }
    }
    match (statement["Effect"].as_str(), unmet.is_empty(), unknown.is_empty()) {
        (_, false, _) => Said::Silent(unmet),
        (Some("Allow"), true, true) => Said::Allows,
        (Some("Allow"), true, false) => Said::MayAllow(unknown),
        (Some("Deny"), true, true) => Said::Denies,
        (Some("Deny"), true, false) => Said::MayDeny(unknown),
        (..) => Said::Silent(vec!["its `Effect` is neither `Allow` nor `Deny`".to_owned()]),
    }
}

/// Whether one part of a statement is about a token.
enum Truth {
    Holds,
    /// With the reason.
    Fails(String),
    /// With what it depends on.
    Unknown(String),
}

impl Truth {
    fn of(holds: bool, otherwise: impl FnOnce() -> String) -> Self {
        if holds { Self::Holds } else { Self::Fails(otherwise()) }
    }
}

fn truths(members: &Map<String, Value>, request: &Request<'_>) -> Vec<Truth> {
    let mut truths = vec![principal(members, request), action(members, request.action())];
    // IAM takes no other elements in a trust policy.
    let known = |key: &str| ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Condition"].contains(&key);
    truths.extend(members.keys().filter(|key| !known(key)).map(|key| Truth::Unknown(format!("its element `{key}`"))));
    match members.get("Condition") {
        None => {}
        Some(Value::Object(operators)) => truths.extend(conditions(operators, request)),
        Some(_) => truths.push(Truth::Unknown("its `Condition`".to_owned())),
    }
    truths
}

/// `"*"` and `{"AWS": "*"}` are everybody, also those who come with a token. Of a name only the whole counts, never a pattern.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-anonymous>
fn principal(members: &Map<String, Value>, request: &Request<'_>) -> Truth {
    let allows = members.get("Effect").is_some_and(|effect| effect == "Allow");
    match (members.get("Principal"), members.get("NotPrincipal")) {
        (Some(principal), None) => match names(principal, request) {
            Some(false) if texts(&principal["AWS"]).iter().any(|name| request.is_account(name)) => {
                if allows {
                    let (_, role) = request.principal();
                    Truth::Unknown(format!("whether the policies of role `{role}` allow it, as its account is trusted"))
                } else {
                    Truth::Holds
                }
            }
            Some(named) => Truth::of(named, || match (request, texts(&principal["Federated"]).as_slice()) {
                (Request::Service { name, .. } | Request::Session { principal: (_, name), .. }, _) => {
                    format!("its principal is not `{name}`")
                }
                (Request::Token { .. } | Request::Anybody { .. }, []) => "its principal is no OIDC provider".to_owned(),
                (Request::Token { provider, .. } | Request::Anybody { provider, .. }, others) => {
                    format!("its principal is `{}`, the token's provider is `{}`", others.join("`, `"), provider.arn)
                }
            }),
            None => Truth::Unknown("its `Principal`".to_owned()),
        },
        // All but those that are named. AWS advises against it, and an `Allow` with it is not supported.
        // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>
        (None, Some(excepted)) if members.get("Effect").is_some_and(|effect| effect == "Deny") => match names(excepted, request) {
            Some(false) => Truth::Holds,
            _ if everybody(excepted) => Truth::Fails("its `NotPrincipal` excepts everybody".to_owned()),
            _ => Truth::Unknown("its `NotPrincipal`".to_owned()),
        },
        _ => Truth::Unknown("its principal".to_owned()),
    }
}

fn everybody(principal: &Value) -> bool {
    principal == "*" || ["AWS", "Federated"].iter().any(|kind| texts(&principal[kind]).contains(&"*"))
}

/// Whether a principal is who asks, or everybody; none if that is not certain.
fn names(principal: &Value, request: &Request<'_>) -> Option<bool> {
    if everybody(principal) {
        return Some(true);
    }
    let (kind, name) = request.principal();
    let kinds = principal.as_object()?;
    let known = |(kind, who): (&String, &Value)| {
        let well_formed = who.is_string() || who.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        well_formed && ["AWS", "Federated", "Service", "CanonicalUser"].contains(&kind.as_str())
    };
    let named = texts(&principal[kind]);
    if named.contains(&name) {
        return Some(true);
    }
    let perhaps = |pattern: &&str| pattern.contains(['*', '?']) && pattern_matches(pattern, name);
    (kinds.iter().all(known) && !named.iter().any(perhaps)).then_some(false)
}

/// The names of actions ignore case and may be patterns.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html>
fn action(members: &Map<String, Value>, asked: &str) -> Truth {
    let (element, actions, wanted) = match (members.get("Action"), members.get("NotAction")) {
        (Some(actions), None) => ("Action", actions, true),
        (None, Some(actions)) => ("NotAction", actions, false),
        _ => return Truth::Unknown("its action".to_owned()),
    };
    let named = texts(actions);
    if named.is_empty() || actions.as_array().is_some_and(|list| list.len() != named.len()) {
        return Truth::Unknown(format!("its `{element}`"));
    }
    let fits = named.iter().any(|action| pattern_matches(&action.to_lowercase(), &asked.to_lowercase()));
    let shown = named.join("`, `");
    Truth::of(fits == wanted, || match element {
        "Action" => format!("its action is `{shown}`, not `{asked}`"),
        _ => format!("its `NotAction` is `{shown}`"),
    })
}

fn conditions(operators: &Map<String, Value>, request: &Request<'_>) -> Vec<Truth> {
    let of_operator = |(operator, keys): (&String, &Value)| match keys.as_object() {
        Some(keys) => {
            let of_key = |(key, values): (&String, &Value)| condition(operator, key, values, &request.actual(key), request.asker());
            keys.iter().map(of_key).collect::<Vec<_>>()
        }
        None => vec![Truth::Unknown(format!("its condition `{operator}`"))],
    };
    operators.iter().flat_map(of_operator).collect()
}

/// What a request has for a condition key.
enum Actual<'a> {
    /// These values, or one of them.
    Values(&'a [String]),
    /// Nothing.
    Absent,
    /// It is not known here.
    Unknown,
}

/// Whether a condition holds.
fn condition(operator: &str, key: &str, values: &Value, actual: &Actual<'_>, asker: &str) -> Truth {
    let name = key.rsplit(':').next().unwrap_or(key);
    let not_understood = || Truth::Unknown(format!("its condition `{operator}` on `{name}`"));
    let actual = match actual {
        Actual::Unknown => return Truth::Unknown(format!("`{key}`")),
        Actual::Absent => None,
        Actual::Values(values) => Some(*values),
    };
    let Some(wanted) = scalars(values) else { return not_understood() };
    let shown = || format!("`{}`", wanted.join("` or `"));
    if operator == "Null" {
        let [wants] = wanted.as_slice() else { return not_understood() };
        let Ok(wants_absent) = wants.parse::<bool>() else { return not_understood() };
        return Truth::of(wants_absent != actual.is_some(), || {
            format!("it wants `{name}` to be {}", if wants_absent { "absent" } else { "there" })
        });
    }
    let Some(operator) = Operator::of(operator) else { return not_understood() };
    let Some(actual) = actual else {
        return match operator.of_absent() {
            Some(holds) => Truth::of(holds, || format!("it wants `{key}` = {}, which the {asker} does not have", shown())),
            None => not_understood(),
        };
    };
    // Of several values each alone must come to the same: then it does not matter which of them IAM takes.
    let results: Option<Vec<bool>> = actual.iter().map(|text| operator.holds(&wanted, text)).collect();
    match results.as_deref() {
        Some(results) if results.iter().all(|holds| *holds) => Truth::Holds,
        Some(results) if results.iter().all(|holds| !holds) => {
            let has = actual.join("` and `");
            let not = if operator.negated { " not to be" } else { " =" };
            Truth::Fails(format!("it wants `{name}`{not} {}, the {asker} has `{has}`", shown()))
        }
        _ => not_understood(),
    }
}

/// The values of a condition as texts; none if one is no single value, or is computed from the request.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
fn scalars(values: &Value) -> Option<Vec<String>> {
    let list = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
    let scalar = |value: &Value| match value {
        Value::String(text) if text.contains("${") => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let wanted: Vec<String> = list.iter().map(scalar).collect::<Option<_>>()?;
    (!wanted.is_empty()).then_some(wanted)
}

/// How the values of a key are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    None,
    ForAny,
    ForAll,
}

#[derive(Clone, Copy)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    /// Part by part, each with wildcards.
    Arn,
}

/// An operator on texts, taken apart: `ForAnyValue:StringNotLikeIfExists`. The others compare what no claim is.
#[derive(Clone, Copy)]
struct Operator {
    quantifier: Quantifier,
    test: Test,
    negated: bool,
    if_exists: bool,
}

impl Operator {
    fn of(name: &str) -> Option<Self> {
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::None, name),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAny, rest),
            Some(("ForAllValues", rest)) => (Quantifier::ForAll, rest),
            Some(_) => return None,
        };
        let (base, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |base| (base, true));
        let (test, negated) = match base {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            // The two are one.
            // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            _ => return None,
        };
        Some(Self { quantifier, test, negated, if_exists })
    }

    /// Whether it holds where the key is not there; none where AWS does not say.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>
    fn of_absent(self) -> Option<bool> {
        match (self.quantifier, self.if_exists) {
            (Quantifier::ForAny, true) => None,
            (Quantifier::ForAny, false) => Some(false),
            (Quantifier::ForAll, _) | (Quantifier::None, true) => Some(true),
            (Quantifier::None, false) => Some(self.negated),
        }
    }

    /// Whether it holds for one value; none if that is not certain.
    fn holds(self, wanted: &[String], text: &str) -> Option<bool> {
        let fits = match self.test {
            Test::Equals => wanted.iter().any(|wanted| wanted == text),
            Test::Like => wanted.iter().any(|pattern| pattern_matches(pattern, text)),
            Test::Arn => {
                let parts = |arn: &str| arn.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
                let actual = parts(text);
                if actual.len() != 6 || wanted.iter().any(|wanted| parts(wanted).len() != 6) {
                    return None;
                }
                let fits = |wanted: &String| parts(wanted).iter().zip(&actual).all(|(pattern, part)| pattern_matches(pattern, part));
                wanted.iter().any(fits)
            }
            Test::EqualsIgnoreCase if wanted.iter().all(|wanted| wanted.is_ascii()) && text.is_ascii() => {
                wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(text))
            }
            Test::EqualsIgnoreCase => return None,
        };
        Some(fits != self.negated)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::association::SessionTags;

    fn provider() -> Provider {
        Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A".to_owned(),
            issuer: "https://oidc.example.com/id/A".parse().unwrap(),
        }
    }

    fn claims() -> Claims {
        Claims {
            issuer: "https://oidc.example.com/id/A".to_owned(),
            audiences: vec!["sts.amazonaws.com".to_owned()],
            subject: "system:serviceaccount:z1:app".to_owned(),
            methods: Vec::new(),
        }
    }

    fn said(statement: &Value) -> String {
        let trust = TrustPolicy::parse(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()).unwrap();
        in_words(explain(&trust, &provider(), &claims()).remove(0))
    }

    fn in_words(said: Said) -> String {
        match said {
            Said::Allows => "allows".to_owned(),
            Said::Denies => "denies".to_owned(),
            Said::MayAllow(unknown) => format!("may allow: {}", unknown.join(", ")),
            Said::MayDeny(unknown) => format!("may deny: {}", unknown.join(", ")),
            Said::Silent(reasons) => reasons.join("; "),
        }
    }

    #[test]
    fn each_condition_that_does_not_hold_is_named_with_what_it_wants_and_what_the_token_has() {
        let (sub, aud) = ("oidc.example.com/id/A:sub", "oidc.example.com/id/A:aud");
        let web = |condition: Value| json!({"Effect": "Allow", "Principal": {"Federated": provider().arn}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition});
        let good = json!({aud: "sts.amazonaws.com", sub: "system:serviceaccount:z1:app"});
        for (statement, text) in [
            (web(json!({"StringEquals": good})), "allows"),
            (
                web(
                    json!({"StringLike": {sub: "system:serviceaccount:z*:app"}, "ForAnyValue:StringEquals": {aud: ["x", "sts.amazonaws.com"]}}),
                ),
                "allows",
            ),
            (web(json!({"Null": {sub: "false"}, "StringNotEquals": {sub: "system:serviceaccount:z2:app"}})), "allows"),
            (
                web(json!({"StringEquals": {aud: "sts.amazonaws.com", sub: "system:serviceaccount:z2:app"}})),
                "it wants `sub` = `system:serviceaccount:z2:app`, the token has `system:serviceaccount:z1:app`",
            ),
            (
                web(json!({"StringLike": {sub: ["a*", "b*"]}})),
                "it wants `sub` = `a*` or `b*`, the token has `system:serviceaccount:z1:app`",
            ),
            (web(json!({"StringEquals": {aud: "vault"}})), "it wants `aud` = `vault`, the token has `sts.amazonaws.com`"),
            (
                web(json!({"StringNotEquals": {sub: "system:serviceaccount:z1:app"}})),
                "it wants `sub` not to be `system:serviceaccount:z1:app`, the token has `system:serviceaccount:z1:app`",
            ),
            (
                web(json!({"StringEquals": {"oidc.example.com/id/B:sub": "x"}})),
                "it wants `oidc.example.com/id/B:sub` = `x`, which the token does not have",
            ),
            (web(json!({"Null": {sub: "true"}})), "it wants `sub` to be absent"),
            (web(json!({"IpAddress": {sub: "1.2.3.4"}})), "may allow: its condition `IpAddress` on `sub`"),
            (
                json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}),
                "its principal is no OIDC provider; its action is `sts:AssumeRole`, not `sts:AssumeRoleWithWebIdentity`",
            ),
            (
                json!({"Effect": "Allow", "Principal": {"Federated": "arn:other"}, "Action": "sts:*"}),
                "its principal is `arn:other`, the token's provider is `arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A`",
            ),
            (json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*"}), "denies"),
            (json!({"Effect": "Deny", "NotPrincipal": {"AWS": "x"}, "Action": "sts:*"}), "denies"),
        ] {
            assert_eq!(said(&statement), text, "{statement}");
        }
    }

    #[test]
    fn what_a_token_does_not_hold_cannot_be_judged() {
        let (sub, other) = ("oidc.example.com/id/A:sub", "oidc.example.com/id/B:sub");
        let everybody =
            |effect: &str, condition: Value| json!({"Effect": effect, "Principal": "*", "Action": "sts:*", "Condition": condition});
        for (condition, unknown) in [
            (json!({"StringNotEquals": {"aws:RequestedRegion": ["eu-west-3"]}}), "`aws:RequestedRegion`"),
            (json!({"NotIpAddress": {"AWS:SOURCEIP": "10.0.0.0/8"}}), "`AWS:SOURCEIP`"),
            (json!({"StringNotEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}), "`aws:SourceVpc`"),
            (json!({"StringLike": {"sts:RoleSessionName": "app-*"}}), "`sts:RoleSessionName`"),
            (json!({"ForAllValues:StringEquals": {"aws:TagKeys": "x"}}), "`aws:TagKeys`"),
            (json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o/*"}}), "`aws:PrincipalOrgPaths`"),
            (json!({"Null": {"aws:SourceVpce": "true"}}), "`aws:SourceVpce`"),
            (json!({"StringEquals": {"oidc.example.com/id/A:email": "x"}}), "`oidc.example.com/id/A:email`"),
            (json!({"StringEquals": {sub: "${aws:username}"}}), "its condition `StringEquals` on `sub`"),
            (json!({"StringEquals": {sub: []}}), "its condition `StringEquals` on `sub`"),
            (json!({"StringEquals": {sub: [null]}}), "its condition `StringEquals` on `sub`"),
            (json!({"Null": {sub: "maybe"}}), "its condition `Null` on `sub`"),
            (json!({"NullIfExists": {sub: "true"}}), "its condition `NullIfExists` on `sub`"),
            (json!({"ForAnyValue:StringEqualsIfExists": {other: "x"}}), "its condition `ForAnyValue:StringEqualsIfExists` on `sub`"),
            (json!({"ForEach:StringEquals": {sub: "x"}}), "its condition `ForEach:StringEquals` on `sub`"),
            (json!({"StringEqualsIgnoreCase": {sub: "\u{212a}"}}), "its condition `StringEqualsIgnoreCase` on `sub`"),
            (json!({"StringEquals": "x"}), "its condition `StringEquals`"),
            (json!([]), "its `Condition`"),
        ] {
            assert_eq!(said(&everybody("Deny", condition.clone())), format!("may deny: {unknown}"), "{condition}");
            assert_eq!(said(&everybody("Allow", condition.clone())), format!("may allow: {unknown}"), "{condition}");
        }
        // What is known to fail makes the rest of the statement count for nothing.
        let both = json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringEquals": {sub: "x"}});
        assert_eq!(said(&everybody("Deny", both)), "it wants `sub` = `x`, the token has `system:serviceaccount:z1:app`");
    }

    #[test]
    fn every_form_of_everybody_and_every_form_of_the_action_is_read_as_iam_reads_it() {
        let arn = provider().arn;
        let deny = |more: Value| {
            let mut statement = json!({"Effect": "Deny"});
            statement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            said(&statement)
        };
        for principal in [
            json!({"Principal": "*"}),
            json!({"Principal": {"AWS": "*"}}),
            json!({"Principal": {"AWS": ["arn:aws:iam::123456789012:root", "*"]}}),
            json!({"Principal": {"Federated": "*"}}),
            json!({"Principal": {"Federated": ["x", arn]}}),
            json!({"Principal": {"Service": "ec2.amazonaws.com", "Federated": arn}}),
            json!({"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}}),
            json!({"NotPrincipal": {"Federated": ["arn:aws:iam::123456789012:oidc-provider/other"]}}),
        ] {
            for action in [
                json!({"Action": "*"}),
                json!({"Action": "sts:*"}),
                json!({"Action": ["sts:TagSession", "STS:assumerole*"]}),
                json!({"Action": "sts:AssumeRoleWith???Identity"}),
                json!({"NotAction": "sts:AssumeRole"}),
                json!({"NotAction": ["iam:*", "sts:TagSession"]}),
            ] {
                let mut more = principal.clone();
                more.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
                assert_eq!(deny(more.clone()), "denies", "{more}");
            }
        }
        for (more, text) in [
            (json!({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "*"}), "its principal is no OIDC provider"),
            (json!({"NotPrincipal": "*", "Action": "*"}), "its `NotPrincipal` excepts everybody"),
            (json!({"NotPrincipal": {"Federated": arn}, "Action": "*"}), "may deny: its `NotPrincipal`"),
            (json!({"Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/*"}, "Action": "*"}), "may deny: its `Principal`"),
            (json!({"Principal": {"Else": "x"}, "Action": "*"}), "may deny: its `Principal`"),
            (json!({"Principal": "*", "NotPrincipal": "*", "Action": "*"}), "may deny: its principal"),
            (json!({"Principal": "*", "Action": []}), "may deny: its `Action`"),
            (json!({"Principal": "*", "Action": "*", "NotAction": "x"}), "may deny: its action"),
            (json!({"Principal": "*", "NotAction": "sts:Assume*"}), "its `NotAction` is `sts:Assume*`"),
            (json!({"Principal": "*", "Action": "*", "Resource": "*"}), "may deny: its element `Resource`"),
        ] {
            assert_eq!(deny(more.clone()), text, "{more}");
        }
        assert_eq!(said(&json!({"Effect": "Allow", "NotPrincipal": {"AWS": "x"}, "Action": "*"})), "may allow: its principal");
        assert_eq!(said(&json!({"Effect": "allow", "Principal": "*", "Action": "*"})), "its `Effect` is neither `Allow` nor `Deny`");
    }

    #[test]
    fn statements_together_have_three_values() {
        use Verdict::{Allowed, Refused, Unknown};
        let (allows, denies, silent) = (Said::Allows, Said::Denies, Said::Silent(Vec::new()));
        let (may_allow, may_deny) = (Said::MayAllow(Vec::new()), Said::MayDeny(Vec::new()));
        for (said, together) in [
            (vec![], Refused),
            (vec![&silent], Refused),
            (vec![&silent, &allows], Allowed),
            (vec![&allows, &denies], Refused),
            (vec![&may_allow, &denies], Refused),
            (vec![&allows, &may_deny, &denies], Refused),
            (vec![&may_deny], Refused),
            (vec![&may_deny, &silent], Refused),
            (vec![&may_deny, &allows], Unknown),
            (vec![&may_allow], Unknown),
            (vec![&may_allow, &may_deny], Unknown),
            (vec![&may_allow, &allows], Allowed),
        ] {
            let said: Vec<Said> = said.into_iter().cloned().collect();
            assert_eq!(verdict(&said), together, "{said:?}");
        }
    }

    const DEMO: &str = "arn:aws:eks:eu-west-3:123456789012:cluster/demo";

    /// What a statement for EKS Pod Identity says, with tags of the session and without.
    fn said_to_pods(statement: &Value, tags: SessionTags) -> Vec<String> {
        let trust = TrustPolicy::parse(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()).unwrap();
        let (cluster, subject) = (DEMO.parse().unwrap(), "z1/app".parse().unwrap());
        let session = PodSession { cluster: &cluster, subject: &subject, tags };
        session.actions().iter().map(|action| in_words(session.explain(&trust, action).remove(0))).collect()
    }

    #[test]
    fn a_session_of_pod_identity_is_known_by_its_cluster_and_its_tags() {
        let statement = |condition: Value| json!({"Effect": "Allow", "Principal": {"Service": POD_IDENTITY}, "Action": POD_IDENTITY_ACTIONS, "Condition": condition});
        let (source, account) = ("aws:SourceArn", "aws:SourceAccount");
        let (namespace, name) = ("aws:RequestTag/kubernetes-namespace", "aws:requesttag/Kubernetes-Service-Account");
        for (condition, text) in [
            (json!({}), "allows"),
            (json!({"StringEquals": {source: DEMO, account: "123456789012", namespace: "z1", name: "app"}}), "allows"),
            (json!({"StringLike": {namespace: "z*"}, "ArnLike": {source: "arn:aws:eks:*:123456789012:cluster/*"}}), "allows"),
            (json!({"ArnEquals": {source: DEMO}, "ArnNotLike": {source: "arn:aws:eks:*:*:cluster/other"}}), "allows"),
            (json!({"StringEquals": {"aws:RequestTag/eks-cluster-name": "demo"}}), "allows"),
            (json!({"ArnLike": {source: "arn:aws:eks*"}}), "may allow: its condition `ArnLike` on `SourceArn`"),
            (
                json!({"StringEquals": {account: "210987654321"}}),
                "it wants `SourceAccount` = `210987654321`, the request has `123456789012`",
            ),
            (json!({"StringEquals": {namespace: "z2"}}), "it wants `RequestTag/kubernetes-namespace` = `z2`, the request has `z1`"),
            (
                json!({"StringEquals": {"aws:RequestTag/team": "x"}}),
                "it wants `aws:RequestTag/team` = `x`, which the request does not have",
            ),
            (json!({"StringLike": {"aws:RequestTag/kubernetes-pod-name": "api-*"}}), "may allow: `aws:RequestTag/kubernetes-pod-name`"),
            (json!({"StringEquals": {"aws:SourceOrgID": "o-1"}}), "may allow: `aws:SourceOrgID`"),
        ] {
            assert_eq!(said_to_pods(&statement(condition.clone()), SessionTags::On), [text, text], "{condition}");
        }
        // Without tags there is one action less to be allowed, and no tag to ask for.
        let tagged = statement(json!({"StringEquals": {namespace: "z1"}}));
        let lacks = "it wants `aws:RequestTag/kubernetes-namespace` = `z1`, which the request does not have";
        assert_eq!(said_to_pods(&tagged, SessionTags::Off), [lacks]);
        let name = json!({"StringLike": {"aws:RequestTag/kubernetes-pod-name": "api-*"}});
        assert!(said_to_pods(&statement(name), SessionTags::Off)[0].ends_with("which the request does not have"));
        let mut half = statement(json!({}));
        half["Action"] = json!("sts:AssumeRole");
        assert_eq!(said_to_pods(&half, SessionTags::On), ["allows", "its action is `sts:AssumeRole`, not `sts:TagSession`"]);
        assert_eq!(said_to_pods(&half, SessionTags::Off), ["allows"]);
        half["Principal"] = json!({"Service": "ec2.amazonaws.com"});
        assert_eq!(said_to_pods(&half, SessionTags::Off), ["its principal is not `pods.eks.amazonaws.com`"]);
    }

    #[test]
    fn a_target_role_may_trust_the_role_its_account_or_everybody_and_ask_for_the_external_id() {
        let (cluster, subject) = (DEMO.parse().unwrap(), "z1/app".parse().unwrap());
        let session = PodSession { cluster: &cluster, subject: &subject, tags: SessionTags::On };
        let role: RoleArn = "arn:aws:iam::123456789012:role/qovery/app".parse().unwrap();
        let id = "eu-west-3/123456789012/demo/z1/app".parse().unwrap();
        let said = |effect: &str, principal: &str, condition: Value, id: Option<&ExternalId>| {
            let statement =
                json!({"Effect": effect, "Principal": {"AWS": principal}, "Action": POD_IDENTITY_ACTIONS, "Condition": condition});
            let trust = TrustPolicy::parse(&json!({ "Statement": [statement] }).to_string()).unwrap();
            in_words(session.explain_target(&trust, &role, id, "sts:AssumeRole").remove(0))
        };
        let asks = json!({"StringEquals": {"sts:ExternalId": "eu-west-3/123456789012/demo/z1/app"}});
        let arn = role.to_string();
        assert_eq!(said("Allow", &arn, asks.clone(), Some(&id)), "allows");
        assert_eq!(said("Allow", "*", asks.clone(), Some(&id)), "allows");
        let of_account =
            "may allow: whether the policies of role `arn:aws:iam::123456789012:role/qovery/app` allow it, as its account is trusted";
        for account in ["123456789012", "arn:aws:iam::123456789012:root"] {
            assert_eq!(said("Allow", account, asks.clone(), Some(&id)), of_account);
            assert_eq!(said("Deny", account, json!({}), Some(&id)), "denies");
        }
        assert_eq!(said("Allow", "arn:aws:iam::210987654321:root", json!({}), Some(&id)), format!("its principal is not `{arn}`"));
        let other = "it wants `sts:ExternalId` = `eu-west-3/123456789012/demo/z1/app`, which the request does not have";
        assert_eq!(said("Allow", &arn, asks, None), other);
        let wrong = json!({"StringEquals": {"sts:ExternalId": "x"}});
        assert_eq!(
            said("Allow", &arn, wrong, Some(&id)),
            "it wants `ExternalId` = `x`, the request has `eu-west-3/123456789012/demo/z1/app`"
        );
    }

    #[test]
    fn a_perimeter_around_pods_is_what_a_foreign_statement_asks_for_beyond_cluster_and_tags() {
        let anchor = Anchor::PodIdentity("arn:aws:eks:eu-west-3:123456789012:cluster/demo".parse().unwrap(), SessionTags::On);
        let statement = |condition: Value| json!({"Effect": "Allow", "Principal": {"Service": POD_IDENTITY}, "Action": POD_IDENTITY_ACTIONS, "Condition": condition});
        let tags = json!({"StringEquals": {"aws:SourceAccount": "123456789012", "aws:RequestTag/kubernetes-namespace": "z1"}});
        let network = json!({"StringEquals": {"aws:RequestTag/kubernetes-namespace": "z1", "aws:PrincipalOrgID": "o-1"}});
        let document = json!({"Version": "2012-10-17", "Statement": [statement(tags), statement(network)]});
        let trust = TrustPolicy::parse(&document.to_string()).unwrap();
        let expected = vec![("statement 2".to_owned(), vec!["`aws:PrincipalOrgID`".to_owned()])];
        assert_eq!(perimeters(&trust, &anchor, &Audience::of_pod_identity(), &"z1/app".parse().unwrap()), expected);
        assert_eq!(perimeters_of_pattern(&trust, &anchor, &Audience::of_pod_identity(), &SubjectPattern::everybody()), expected);
    }
}
