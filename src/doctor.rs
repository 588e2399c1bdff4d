//! The chain from a ServiceAccount to its role, link by link: each ok, broken, unknown or worth a note, with evidence and remedy. Reads only.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;

use crate::{
    aws::ASSUME,
    call::{CallError, Denial, DeniedBy, ErrorKind, Failed, Patience},
    connect::Connection,
    hint::{self, Known},
    kubernetes::{NAMESPACES, TOKEN},
    model::{
        advice::{EKS_PREFIX, READ_BY_EKS},
        arn::{Account, RoleArn},
        containers::Wanted,
        desired::Desired,
        diagnosis::{Link, broken},
        names::Subject,
        observed::{Field, ObservedProvider, ObservedRole, ObservedServiceAccount, ROLE_ANNOTATION},
        oidc::{Audience, Provider},
        pods::{Pod, judge_all},
        token::Claims,
    },
    report::counted,
};

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Broken,
    /// Not seen, so not known to be as it should be.
    Unknown,
    /// Perhaps not as it should be: a person has to judge.
    Note,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub link: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn new(link: &str, state: State, evidence: impl Into<String>, remedy: Option<&str>) -> Self {
        Self { link: link.to_owned(), state, evidence: evidence.into(), remedy: remedy.map(str::to_owned) }
    }

    fn ok(link: &str, evidence: impl Into<String>) -> Self {
        Self::new(link, State::Ok, evidence, None)
    }

    fn broken(link: &str, evidence: impl Into<String>, remedy: &str) -> Self {
        Self::new(link, State::Broken, evidence, Some(remedy))
    }

    fn note(link: &str, evidence: impl Into<String>, remedy: &str) -> Self {
        Self::new(link, State::Note, evidence, Some(remedy))
    }

    /// What could not be seen, and the right that shows it.
    fn unknown(link: &str, call: &'static str, error: &CallError) -> Self {
        let remedy = error.kind.is_denied().then(|| match call.strip_prefix("kubernetes:") {
            Some(right) => format!("the job needs `{right}` in the namespace (docs/permissions/rbac.yaml)"),
            None => format!("the job needs `{call}` (docs/permissions.md)"),
        });
        Self::new(link, State::Unknown, error.to_string(), remedy.as_deref())
    }
}

/// What is examined: a ServiceAccount, and the role it should have, if a manifest says so.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The ServiceAccount.
    pub subject: Subject,
    /// The role of the manifest.
    pub role: Option<RoleArn>,
}

/// Examines one ServiceAccount. What cannot be seen is unknown; nothing is an error.
pub async fn examine(patient: &Patient, connection: &Connection, account: &Account, patience: &Patience) -> Vec<Check> {
    let doctor = Doctor { connection, patience, provider: Provider::of(&connection.place.issuer, account) };
    let mut checks = Vec::new();
    let Some((role, audience)) = doctor.service_account(patient, account, &mut checks).await else { return checks };
    let token = doctor.token(&patient.subject, &audience, &mut checks).await;
    // What depends on a broken link would only say the same again.
    if doctor.chain(&patient.subject, &role, &audience, token.as_deref(), &mut checks).await {
        doctor.session(&role, token.as_deref(), &mut checks).await;
    }
    let associated = doctor.pod_identity(&patient.subject, &role, &mut checks).await;
    if connection.place.cluster.is_none() {
        let evidence = "associations are not looked for: the name of the cluster is not known";
        checks.push(Check::note(POD_IDENTITY, evidence, "set `QOVERY_KUBERNETES_CLUSTER_NAME`, if the cluster is of EKS"));
    }
    let pods = doctor.pods(&patient.subject).await;
    checks.extend(pods_checks(pods, &patient.subject, &role, &audience, associated));
    checks
}

/// What a deploy that has changed something should know beside: an association that gives pods another role, and containers that run
/// without theirs, or may. What may not be seen is left out.
pub async fn glance(desired: &Desired, connection: &Connection, patience: &Patience) -> Vec<String> {
    let patience = patience.at_most(GLANCE);
    let doctor = Doctor { connection, patience: &patience, provider: desired.provider.clone() };
    let notes = desired.service_accounts.iter().map(async |wanted| {
        let mut checks = Vec::new();
        let (associated, pods) =
            tokio::join!(doctor.pod_identity(&wanted.subject, &wanted.role, &mut checks), doctor.pods(&wanted.subject));
        let audience = audience(&wanted.annotations);
        checks.extend(pods_checks(pods, &wanted.subject, &wanted.role, &audience, associated));
        let noted = checks.into_iter().filter(|check| matches!(check.state, State::Broken | State::Note));
        noted
            .map(|check| format!("ServiceAccount `{}`: {}: {}", wanted.subject, check.evidence, check.remedy.unwrap_or_default()))
            .collect::<Vec<_>>()
    });
    join_all(notes).await.concat()
}

/// A deploy does not wait longer for what is only worth knowing.
const GLANCE: Duration = Duration::from_secs(10);

const AUDIENCE: &str = "eks.amazonaws.com/audience";
const POD_IDENTITY: &str = "pod identity";
const PROVIDER: &str = "iam:GetOpenIDConnectProvider";
const ROLE: &str = "iam:GetRole";
const ASSOCIATIONS: &str = "eks:ListPodIdentityAssociations";
const PODS: &str = "kubernetes:list pods";

struct Doctor<'a> {
    connection: &'a Connection,
    patience: &'a Patience,
    provider: Provider,
}

impl Doctor<'_> {
    /// ServiceAccount and annotation: the role that its pods ask for, and the audience of their tokens.
    async fn service_account(&self, patient: &Patient, account: &Account, checks: &mut Vec<Check>) -> Option<(RoleArn, Audience)> {
        let subject = &patient.subject;
        let call = "kubernetes:get serviceaccounts";
        let observed = match self.patience.call(call, async || self.connection.kubernetes.service_account(subject).await).await {
            Ok(Some(observed)) => observed,
            Ok(None) => {
                checks.push(Check::broken("ServiceAccount", format!("`{subject}` does not exist"), "run `start`, or create it"));
                return None;
            }
            Err(error) => {
                checks.push(Check::unknown("ServiceAccount", call, &error));
                return None;
            }
        };
        if observed.ends {
            let remedy = "wait until it is gone, or see which of its finalizers holds it, then run `start`";
            checks.push(Check::broken("ServiceAccount", format!("`{subject}` is being deleted"), remedy));
            return None;
        }
        checks.push(Check::ok("ServiceAccount", format!("`{subject}` is there")));
        let (check, role) = annotation(&observed, patient.role.as_ref(), account);
        checks.push(check);
        checks.extend(unread(&observed));
        let audience = observed.values.get(&Field::Annotation(AUDIENCE.to_owned()));
        Some((role?, audience.and_then(|audience| audience.parse().ok()).unwrap_or_default()))
    }

    async fn token(&self, subject: &Subject, audience: &Audience, checks: &mut Vec<Check>) -> Option<String> {
        match self.patience.call(TOKEN, async || self.connection.kubernetes.token(subject, audience).await).await {
            Ok(token) => {
                checks.push(Check::ok("token", format!("the cluster gives one for `{audience}`")));
                Some(token)
            }
            Err(error) if error.kind.is_of_ending_namespace() || (error.kind.is_denied() && self.namespace_ends(subject).await) => {
                let evidence = format!("none is given: namespace `{}` is being deleted", subject.namespace);
                checks.push(Check::broken("token", evidence, "deploy again when it is gone and made anew"));
                None
            }
            Err(error) => {
                checks.push(Check::unknown("token", TOKEN, &error));
                None
            }
        }
    }

    /// Whether the namespace is being deleted, as far as that can be seen.
    async fn namespace_ends(&self, subject: &Subject) -> bool {
        let ends = self.patience.call(NAMESPACES, async || self.connection.kubernetes.namespace_ends(&subject.namespace).await).await;
        ends.unwrap_or(false)
    }

    /// Issuer, provider, audience, role and trust, up to the first that is broken; whether none was seen to be.
    async fn chain(&self, subject: &Subject, role: &RoleArn, audience: &Audience, token: Option<&str>, checks: &mut Vec<Check>) -> bool {
        // Without a token its claims are still known: the cluster writes them so.
        let claims = token.and_then(Claims::of).unwrap_or_else(|| Claims {
            issuer: self.connection.place.issuer.to_string(),
            audiences: vec![audience.as_str().to_owned()],
            subject: subject.claim(),
        });
        let aws = &self.connection.aws;
        let (provider, observed) = tokio::join!(
            self.patience.call(PROVIDER, async || aws.provider(&self.provider.arn).await),
            self.patience.call(ROLE, async || aws.role(&role.name).await)
        );
        let unknown = [(Link::Provider, PROVIDER, provider.as_ref().err()), (Link::Role, ROLE, observed.as_ref().err())];
        let unknown: Vec<Check> =
            unknown.into_iter().filter_map(|(link, call, error)| Some(Check::unknown(link.name(), call, error?))).collect();
        if !unknown.is_empty() {
            checks.extend(unknown);
            return true;
        }
        let (provider, observed): (Option<ObservedProvider>, Option<ObservedRole>) = (provider.ok().flatten(), observed.ok().flatten());
        let observed = observed.filter(|observed| observed.arn == *role);
        let found = broken(&claims, &self.provider, provider.as_ref(), observed.as_ref());
        let links = [
            (Link::Issuer, format!("`{}`", self.provider.issuer)),
            (Link::Provider, format!("`{}`", self.provider.arn)),
            (Link::Audience, format!("the provider knows `{audience}`")),
            (Link::Role, format!("`{role}` is there")),
            (Link::Trust, "the trust policy lets the token in".to_owned()),
        ];
        for (link, evidence) in links {
            match &found {
                Some(found) if found.link == link => {
                    checks.push(Check::broken(link.name(), found.evidence.join("; "), &found.remedy));
                    return false;
                }
                _ => checks.push(Check::ok(link.name(), evidence)),
            }
        }
        true
    }

    async fn session(&self, role: &RoleArn, token: Option<&str>, checks: &mut Vec<Check>) {
        let Some(token) = token else { return };
        match self.patience.call(ASSUME, async || self.connection.aws.assume_with_token(role, token).await).await {
            Ok(session) => checks.push(Check::ok("session", format!("STS gives `{session}`"))),
            Err(error) if error.kind.passes() || error.kind == ErrorKind::Throttled || error.is_foreign => {
                checks.push(Check::unknown("session", ASSUME, &error));
            }
            Err(error) => {
                let failed = Failed::to("assume the role", ASSUME)(error);
                // That the trust does not let it in yet is said of each link above.
                let of_the_trust = matches!(failed.source.kind, ErrorKind::Denied(Denial { by: DeniedBy::Unsaid, .. }));
                let remedy = hint::of_call(&failed, &Known::default()).filter(|_| !of_the_trust);
                let remedy = remedy.unwrap_or_else(|| {
                    "mend what is broken above; if all is ok, IAM may be slow to show it: try again in a minute".to_owned()
                });
                checks.push(Check::broken("session", failed.source.to_string(), &remedy));
            }
        }
    }

    /// Whether an association gives pods a role, if that can be seen.
    async fn pod_identity(&self, subject: &Subject, role: &RoleArn, checks: &mut Vec<Check>) -> Option<bool> {
        let cluster = self.connection.place.cluster.as_ref()?;
        let seen = self.patience.call(ASSOCIATIONS, async || self.connection.aws.pod_identity_roles(cluster, subject).await).await;
        let (check, associated) = match seen {
            Ok(roles) if roles.is_empty() => (Check::ok(POD_IDENTITY, "no association stands in the way"), Some(false)),
            Ok(roles) => {
                let evidence = format!("an association gives pods `{}`, before the annotation's `{role}`", roles.join("`, `"));
                let remedy = "delete the Pod Identity association, or remove the annotation";
                (Check::broken(POD_IDENTITY, evidence, remedy), Some(true))
            }
            Err(error) => (Check::unknown(POD_IDENTITY, ASSOCIATIONS, &error), None),
        };
        checks.push(check);
        associated
    }

    async fn pods(&self, subject: &Subject) -> Result<Vec<Pod>, CallError> {
        self.patience.call(PODS, async || self.connection.kubernetes.pods_of(subject).await).await
    }
}

/// What there is to say of the pods: how many containers have the role, and each that does not or may not.
fn pods_checks(
    pods: Result<Vec<Pod>, CallError>,
    subject: &Subject,
    role: &RoleArn,
    audience: &Audience,
    associated: Option<bool>,
) -> Vec<Check> {
    let pods = match pods {
        Ok(pods) => pods,
        Err(error) => return vec![Check::unknown("pods", PODS, &error)],
    };
    let judged = judge_all(&pods, &Wanted { role, audience, namespace: &subject.namespace, associated });
    let with = match (judged.with_role, judged.findings.as_slice()) {
        (0, []) => Some("none runs".to_owned()),
        (0, _) => None,
        (containers, _) => Some(format!("{} of {} with the role", counted(containers, "container"), counted(judged.pods, "pod"))),
    };
    let told = judged.findings.iter().map(|told| {
        let check = if told.is_certain { Check::broken } else { Check::note };
        check("pods", told.evidence.clone(), &told.remedy)
    });
    with.map(|with| Check::ok("pods", with)).into_iter().chain(told).collect()
}

/// The audience that these annotations ask for.
fn audience(annotations: &BTreeMap<String, String>) -> Audience {
    annotations.get(AUDIENCE).and_then(|audience| audience.parse().ok()).unwrap_or_default()
}

/// Annotations that are spelt like those of EKS and that it does not read.
fn unread(observed: &ObservedServiceAccount) -> Option<Check> {
    let keys = observed.values.keys().filter_map(|field| match field {
        Field::Annotation(key) if key.starts_with(EKS_PREFIX) && !READ_BY_EKS.contains(&key.as_str()) => Some(format!("`{key}`")),
        _ => None,
    });
    let keys = keys.collect::<Vec<_>>().join(", ");
    let evidence = format!("EKS does not read {keys} on a ServiceAccount");
    (!keys.is_empty())
        .then(|| Check::note("annotation", evidence, &format!("remove it, or correct it: EKS reads `{}`", READ_BY_EKS.join("`, `"))))
}

fn annotation(observed: &ObservedServiceAccount, desired: Option<&RoleArn>, account: &Account) -> (Check, Option<RoleArn>) {
    let link = "annotation";
    let Some(value) = observed.values.get(&Field::Annotation(ROLE_ANNOTATION.to_owned())) else {
        return (Check::broken(link, format!("`{ROLE_ANNOTATION}` is not set"), "run `start`, or annotate it"), None);
    };
    let Ok(role) = value.parse::<RoleArn>() else {
        return (Check::broken(link, format!("`{value}` is not the ARN of a role"), "correct the annotation"), None);
    };
    let check = match desired {
        Some(desired) if *desired != role => {
            Check::broken(link, format!("it names `{role}`, the manifest says `{desired}`"), "run `start`")
        }
        _ if role.account != *account => Check::broken(
            link,
            format!("it names a role of account {}, the credentials are for {account}", role.account),
            "correct the annotation, or set `IRSA_ASSUME_ROLE_ARN` to look there",
        ),
        _ => Check::ok(link, format!("`{role}`")),
    };
    let role = (check.state == State::Ok).then_some(role);
    (check, role)
}
