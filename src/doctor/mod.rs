//! The chain from a ServiceAccount to its role, link by link: each ok, broken, unknown or worth a note, with evidence and remedy. Reads only.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;

use crate::{
    clients::{
        aws::ASSUME,
        call::{CallError, Denial, DeniedBy, ErrorKind, Failed, Patience},
        kubernetes::{NAMESPACES, TOKEN},
    },
    hint::{self, Known},
    model::{
        advice::{EKS_PREFIX, READ_BY_EKS},
        anchor::{POD_IDENTITY as EKS_PODS, POD_IDENTITY_ACTIONS},
        arn::{Account, RoleArn},
        containers::Wanted,
        desired::Desired,
        diagnosis::{Diagnosis, Link, OTHER_CAUSES, diagnose},
        explain::{Verdict, lets_pod_identity},
        line::counted,
        names::{ClusterName, Subject},
        observed::{Field, ObservedProvider, ObservedRole, ObservedServiceAccount, ROLE_ANNOTATION},
        oidc::{Audience, Provider},
        pods::{Pod, judge_all},
        sessions::AssumedRole,
        token::Claims,
    },
    report::check::{Check, State},
    steps::connect::Connection,
};

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
    let session = doctor.session(&role, token.as_deref()).await;
    doctor.chain(&patient.subject, &role, &audience, token.as_deref(), session, &mut checks).await;
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

    /// Issuer, provider, audience, role, trust and session: what is read, and what STS says, which is believed.
    async fn chain(
        &self,
        subject: &Subject,
        role: &RoleArn,
        audience: &Audience,
        token: Option<&str>,
        session: Option<Result<AssumedRole, CallError>>,
        checks: &mut Vec<Check>,
    ) {
        // Without a token its claims are still known: the cluster writes them so.
        let issuer = &self.connection.place.issuer;
        let claims = token.and_then(Claims::of).unwrap_or_else(|| Claims::of_subject(issuer, audience, subject));
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
            checks.extend(session.map(|session| of_session(session, &Diagnosis::Holds)));
            return;
        }
        let (provider, observed): (Option<ObservedProvider>, Option<ObservedRole>) = (provider.ok().flatten(), observed.ok().flatten());
        let observed = observed.filter(|observed| observed.arn == *role);
        let found = diagnose(&claims, &self.provider, provider.as_ref(), observed.as_ref());
        let links = [
            (Link::Issuer, format!("`{}`", self.provider.issuer)),
            (Link::Provider, format!("`{}`", self.provider.arn)),
            (Link::Audience, format!("the provider knows `{audience}`")),
            (Link::Role, format!("`{role}` is there")),
            (Link::Trust, "the trust policy lets the token in".to_owned()),
        ];
        checks.extend(judged(links, &found, session));
    }

    /// What STS says to the token; nothing where there is none.
    async fn session(&self, role: &RoleArn, token: Option<&str>) -> Option<Result<AssumedRole, CallError>> {
        let token = token?;
        Some(self.patience.call(ASSUME, async || self.connection.aws.assume_with_token(role, token).await).await)
    }

    /// Whether an association gives pods a role, if that can be seen.
    async fn pod_identity(&self, subject: &Subject, role: &RoleArn, checks: &mut Vec<Check>) -> Option<bool> {
        let cluster = self.connection.place.cluster.as_ref()?;
        let seen = self.associated_roles(cluster, subject).await;
        let (check, associated) = match seen {
            Ok(roles) if roles.is_empty() => (Check::ok(POD_IDENTITY, "no association stands in the way"), Some(false)),
            Ok(roles) if roles.iter().all(|other| *other == role.to_string()) => (self.own_association(role).await, Some(true)),
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

    async fn associated_roles(&self, cluster: &ClusterName, subject: &Subject) -> Result<Vec<String>, CallError> {
        let (aws, namespace, account) = (&self.connection.aws, &subject.namespace, &subject.service_account);
        let listed = self.patience.call(ASSOCIATIONS, async || aws.associations(cluster, Some(namespace), Some(account)).await).await?;
        let mut roles = Vec::new();
        for listed in listed {
            let found = self.patience.call(ASSOCIATIONS, async || aws.association(cluster, &listed.id).await).await?;
            roles.extend(found.map(|found| found.settings.role.to_string()));
        }
        Ok(roles)
    }

    /// An association with the role of the annotation: pods get the role by it, if the role trusts EKS Pod Identity.
    async fn own_association(&self, role: &RoleArn) -> Check {
        let observed = match self.patience.call(ROLE, async || self.connection.aws.role(&role.name).await).await {
            Ok(observed) => observed.filter(|observed| observed.arn == *role),
            Err(error) => return Check::unknown(POD_IDENTITY, ROLE, &error),
        };
        let said = |verdict| {
            let lets =
                |action: &&&str| observed.as_ref().map_or(Verdict::Refused, |role| lets_pod_identity(&role.trust, action)) == verdict;
            POD_IDENTITY_ACTIONS.iter().filter(lets).copied().collect::<Vec<_>>().join("` and `")
        };
        let (refused, unknown) = (said(Verdict::Refused), said(Verdict::Unknown));
        if !refused.is_empty() {
            let evidence = format!(
                "an association gives pods `{role}` too, before the annotation, and its trust policy does not allow `{EKS_PODS}` `{refused}`"
            );
            return Check::broken(
                POD_IDENTITY,
                evidence,
                "delete the Pod Identity association, or allow it in the trust policy of the role",
            );
        }
        let unknown = if unknown.is_empty() { String::new() } else { "; its conditions cannot be judged from here".to_owned() };
        Check::ok(POD_IDENTITY, format!("an association gives pods the same role, which trusts `{EKS_PODS}`{unknown}"))
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

/// The links as they were read, with what STS says to the token: it is believed more than what is read.
fn judged(links: [(Link, String); 5], found: &Diagnosis, session: Option<Result<AssumedRole, CallError>>) -> Vec<Check> {
    let mut checks = Vec::new();
    let given = matches!(session, Some(Ok(_)));
    for (link, evidence) in links {
        match found {
            // STS knows nothing of the setting that names another issuer than the token's.
            Diagnosis::Broken(found) if found.link == link && (!given || link == Link::Issuer) => {
                // What depends on a broken link would only say the same again.
                checks.push(Check::broken(link.name(), found.evidence.join("; "), &found.remedy));
                return checks;
            }
            Diagnosis::Broken(found) if found.link == link => {
                checks.push(Check::ok(link.name(), format!("STS gives a session, though this is read: {}", found.evidence.join("; "))));
                break;
            }
            Diagnosis::Unknown(statements) if link == Link::Trust => {
                let (state, then) = if given { (State::Ok, "; STS lets the token in") } else { (State::Unknown, "") };
                checks.push(Check::new(link.name(), state, format!("{}{then}", statements.join("; ")), None));
            }
            _ => checks.push(Check::ok(link.name(), evidence)),
        }
    }
    checks.extend(session.map(|session| of_session(session, found)));
    checks
}

/// What STS said, after what was read.
fn of_session(session: Result<AssumedRole, CallError>, found: &Diagnosis) -> Check {
    match session {
        Ok(session) => Check::ok("session", format!("STS gives `{session}`")),
        Err(error) if error.kind.passes() || error.kind == ErrorKind::Throttled || error.is_foreign => {
            Check::unknown("session", ASSUME, &error)
        }
        Err(error) => {
            // That nobody is named whose policy it is: then the role's own may be it.
            let of_the_trust = matches!(error.kind, ErrorKind::Denied(Denial { by: DeniedBy::Unsaid, .. }));
            let remedy = match found {
                Diagnosis::Unknown(_) if of_the_trust => format!(
                    "see whether the requests of the pods meet what the trust policy asks for and cannot be judged from here; {OTHER_CAUSES}"
                ),
                _ if of_the_trust => format!("all else is ok: IAM may be slow to show it, try again in a minute; {OTHER_CAUSES}"),
                _ => hint::of_call(&Failed::to("assume the role", ASSUME)(error.clone()), &Known::default()).unwrap_or_else(|| {
                    "mend what is broken above; if all is ok, IAM may be slow to show it: try again in a minute".to_owned()
                }),
            };
            Check::broken("session", error.to_string(), &remedy)
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::diagnosis::Broken;

    fn states(found: &Diagnosis, session: Option<Result<AssumedRole, CallError>>) -> Vec<(String, State)> {
        let links = [Link::Issuer, Link::Provider, Link::Audience, Link::Role, Link::Trust].map(|link| (link, String::new()));
        judged(links, found, session).into_iter().map(|check| (check.link, check.state)).collect()
    }

    fn broken(link: Link) -> Diagnosis {
        Diagnosis::Broken(Broken { link, evidence: vec!["read".to_owned()], remedy: "mend it".to_owned(), is_foreign: false })
    }

    fn last(found: &Diagnosis, session: Option<Result<AssumedRole, CallError>>) -> (String, State) {
        states(found, session).pop().unwrap()
    }

    #[test]
    fn no_link_is_broken_by_the_reading_alone_where_sts_gives_a_session() {
        for link in [Link::Provider, Link::Audience, Link::Role, Link::Trust] {
            let given = states(&broken(link), Some(Ok(AssumedRole::read("session"))));
            assert!(given.iter().all(|(_, state)| *state == State::Ok), "{given:?}");
            assert_eq!(given.last(), Some(&("session".to_owned(), State::Ok)));
            for session in [None, Some(Err(CallError::new(ErrorKind::denied(), "AccessDenied", "no")))] {
                assert_eq!(last(&broken(link), session), (link.name().to_owned(), State::Broken));
            }
        }
        assert_eq!(last(&broken(Link::Issuer), Some(Ok(AssumedRole::read("session")))), ("issuer".to_owned(), State::Broken));
    }

    #[test]
    fn a_trust_policy_that_cannot_be_judged_is_what_sts_says_it_is() {
        let unknown = Diagnosis::Unknown(vec!["statement 2".to_owned()]);
        let trust = |session| states(&unknown, session).into_iter().find(|(link, _)| link == "trust").unwrap().1;
        assert_eq!(trust(Some(Ok(AssumedRole::read("session")))), State::Ok);
        assert_eq!(trust(None), State::Unknown);
        assert_eq!(trust(Some(Err(CallError::new(ErrorKind::Transient, "NoConnection", "no")))), State::Unknown);
    }
}
