//! The chain of IRSA: from the annotation of a ServiceAccount by issuer, provider, audience and trust to the role.

use super::reading::{ASSOCIATIONS, Doctor, PODS, PROVIDER, ROLE, SERVICE_ACCOUNT, audience, pods_checks, unread};
use crate::{
    clients::{
        aws::ASSUME,
        call::{CallError, Denial, DeniedBy, ErrorKind, Failed},
        kubernetes::TOKEN,
    },
    hint::{self, Known},
    model::{
        anchor::POD_IDENTITY as EKS_PODS,
        arn::{Account, RoleArn},
        association::{ObservedAssociation, SessionTags},
        containers::{Wanted, Way},
        diagnosis::{Diagnosis, Link, OTHER_CAUSES, diagnose, diagnose_session},
        explain::PodSession,
        identity::Keeper,
        names::Subject,
        observed::{Field, ObservedProvider, ObservedRole, ObservedServiceAccount, ROLE_ANNOTATION},
        oidc::Audience,
        pods::Pod,
        sessions::AssumedRole,
        token::Claims,
    },
    report::check::{Check, State},
};

const POD_IDENTITY: &str = "pod identity";

/// What is examined.
pub(super) struct Examined<'a> {
    pub(super) subject: &'a Subject,
    /// The role that it should have, if a manifest says so.
    pub(super) role: Option<&'a RoleArn>,
    pub(super) keeper: Keeper,
    pub(super) account: &'a Account,
}

/// Examines one ServiceAccount.
pub(super) async fn examine(
    examined: &Examined<'_>,
    observed: Result<Option<ObservedServiceAccount>, CallError>,
    doctor: &Doctor<'_>,
) -> Vec<Check> {
    let (subject, mut checks) = (examined.subject, Vec::new());
    let Some((role, audience)) = service_account(examined, observed, &mut checks) else { return checks };
    let token = token(doctor, subject, &audience, &mut checks).await;
    let session = match &token {
        Some(token) => Some(doctor.session(&role, token).await),
        None => None,
    };
    chain(doctor, subject, &role, &audience, token.as_deref(), session, &mut checks).await;
    let associated = pod_identity(doctor, subject, &role, examined.account, &mut checks).await;
    if doctor.connection.place.cluster.is_none() {
        let evidence = "associations are not looked for: the name of the cluster is not known";
        checks.push(Check::note(POD_IDENTITY, evidence, "set `QOVERY_KUBERNETES_CLUSTER_NAME`, if the cluster is of EKS"));
    }
    checks.extend(pods(doctor.pods(subject).await, subject, &role, &audience, associated));
    checks
}

/// What a deploy that has changed something should know beside.
pub(super) async fn glance(doctor: &Doctor<'_>, subject: &Subject, role: &RoleArn, audience: &Audience) -> Vec<Check> {
    let mut checks = Vec::new();
    let account = &role.account;
    let (associated, found) = tokio::join!(pod_identity(doctor, subject, role, account, &mut checks), doctor.pods(subject));
    checks.extend(pods(found, subject, role, audience, associated));
    checks
}

/// ServiceAccount and annotation: the role that its pods ask for, and the audience of their tokens.
fn service_account(
    examined: &Examined<'_>,
    observed: Result<Option<ObservedServiceAccount>, CallError>,
    checks: &mut Vec<Check>,
) -> Option<(RoleArn, Audience)> {
    let subject = examined.subject;
    let observed = match observed {
        Ok(Some(observed)) => observed,
        Ok(None) if examined.keeper == Keeper::Other => {
            let remedy = "deploy the chart that makes it, with the annotation `eks.amazonaws.com/role-arn`";
            checks.push(Check::note("ServiceAccount", format!("`{subject}` is not there yet: it is not this tool's to make"), remedy));
            return None;
        }
        Ok(None) => {
            checks.push(Check::broken("ServiceAccount", format!("`{subject}` does not exist"), "run `start`, or create it"));
            return None;
        }
        Err(error) => {
            checks.push(Check::unknown("ServiceAccount", SERVICE_ACCOUNT, &error));
            return None;
        }
    };
    if observed.ends {
        let remedy = "wait until it is gone, or see which of its finalizers holds it, then run `start`";
        checks.push(Check::broken("ServiceAccount", format!("`{subject}` is being deleted"), remedy));
        return None;
    }
    checks.push(Check::ok("ServiceAccount", format!("`{subject}` is there")));
    let (check, role) = annotation(&observed, examined.role, examined.account);
    checks.push(check);
    checks.extend(unread(&observed));
    Some((role?, audience(&observed)))
}

async fn token(doctor: &Doctor<'_>, subject: &Subject, audience: &Audience, checks: &mut Vec<Check>) -> Option<String> {
    match doctor.token(subject, audience).await {
        Ok(token) => {
            checks.push(Check::ok("token", format!("the cluster gives one for `{audience}`")));
            Some(token)
        }
        Err(error) if error.kind.is_of_ending_namespace() || (error.kind.is_denied() && doctor.namespace_ends(subject).await) => {
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

/// Issuer, provider, audience, role, trust and session: what is read, and what STS says, which is believed.
async fn chain(
    doctor: &Doctor<'_>,
    subject: &Subject,
    role: &RoleArn,
    audience: &Audience,
    token: Option<&str>,
    session: Option<Result<AssumedRole, CallError>>,
    checks: &mut Vec<Check>,
) {
    // Without a token its claims are still known: the cluster writes them so.
    let issuer = &doctor.connection.place.issuer;
    let claims = token.and_then(Claims::of).unwrap_or_else(|| Claims::of_subject(issuer, audience, subject));
    let (provider, observed) = tokio::join!(doctor.known_provider(), doctor.role(role));
    let unknown = [(Link::Provider, PROVIDER, provider.as_ref().err()), (Link::Role, ROLE, observed.as_ref().err())];
    let unknown: Vec<Check> =
        unknown.into_iter().filter_map(|(link, call, error)| Some(Check::unknown(link.name(), call, error?))).collect();
    if !unknown.is_empty() {
        checks.extend(unknown);
        checks.extend(session.map(|session| of_session(session, &Diagnosis::Holds)));
        return;
    }
    let (provider, observed): (Option<ObservedProvider>, Option<ObservedRole>) = (provider.ok().flatten(), observed.ok().flatten());
    let found = diagnose(&claims, &doctor.provider, provider.as_ref(), observed.as_ref());
    let links = [
        (Link::Issuer, format!("`{}`", doctor.provider.issuer)),
        (Link::Provider, format!("`{}`", doctor.provider.arn)),
        (Link::Audience, format!("the provider knows `{audience}`")),
        (Link::Role, format!("`{role}` is there")),
        (Link::Trust, "the trust policy lets the token in".to_owned()),
    ];
    checks.extend(judged(links, &found, session));
}

/// Whether an association gives pods a role, if that can be seen.
async fn pod_identity(doctor: &Doctor<'_>, subject: &Subject, role: &RoleArn, account: &Account, checks: &mut Vec<Check>) -> Option<bool> {
    let cluster = doctor.connection.place.cluster.as_ref()?;
    let (check, associated) = match doctor.associations(cluster, subject).await {
        Ok(found) if found.is_empty() => (Check::ok(POD_IDENTITY, "no association stands in the way"), Some(false)),
        Ok(found) => match found.iter().find(|found| found.settings.of_pods() != role) {
            None => (own_association(doctor, subject, role, account, found.first()).await, Some(true)),
            Some(other) => {
                let evidence = format!("an association gives pods `{}`, before the annotation's `{role}`", other.settings.of_pods());
                let remedy = "delete the Pod Identity association, or remove the annotation";
                (Check::broken(POD_IDENTITY, evidence, remedy), Some(true))
            }
        },
        Err(error) => (Check::unknown(POD_IDENTITY, ASSOCIATIONS, &error), None),
    };
    checks.push(check);
    associated
}

/// An association with the role of the annotation: pods get the role by it, if the role trusts EKS Pod Identity.
async fn own_association(
    doctor: &Doctor<'_>,
    subject: &Subject,
    role: &RoleArn,
    account: &Account,
    association: Option<&ObservedAssociation>,
) -> Check {
    let observed = match doctor.role(role).await {
        Ok(observed) => observed,
        Err(error) => return Check::unknown(POD_IDENTITY, ROLE, &error),
    };
    let tags = association.map_or(SessionTags::On, |association| association.settings.session_tags);
    let cluster = doctor.connection.place.cluster_arn(account);
    let found = match (&observed, &cluster) {
        (Some(observed), Some(cluster)) => diagnose_session(&observed.trust, &PodSession { cluster, subject, tags }),
        (Some(_), None) => Diagnosis::Unknown(Vec::new()),
        // The link `role` says so.
        (None, _) => return Check::ok(POD_IDENTITY, "an association names the same role"),
    };
    match found {
        Diagnosis::Broken(broken) => Check::broken(
            POD_IDENTITY,
            format!(
                "an association gives pods `{role}` too, before the annotation, and its trust policy does not let in `{EKS_PODS}`: {}",
                broken.evidence.join("; ")
            ),
            "delete the Pod Identity association, or allow it in the trust policy of the role",
        ),
        Diagnosis::Unknown(_) => Check::ok(
            POD_IDENTITY,
            format!("an association gives pods the same role, which trusts `{EKS_PODS}`; its conditions cannot be judged from here"),
        ),
        Diagnosis::Holds => Check::ok(POD_IDENTITY, format!("an association gives pods the same role, which trusts `{EKS_PODS}`")),
    }
}

/// What there is to say of the pods.
fn pods(pods: Result<Vec<Pod>, CallError>, subject: &Subject, role: &RoleArn, audience: &Audience, associated: Option<bool>) -> Vec<Check> {
    let way = Way::WebIdentity { audience, associated };
    match pods {
        Ok(pods) => pods_checks(&pods, &Wanted { role, namespace: &subject.namespace, way }, "the role").0,
        Err(error) => vec![Check::unknown("pods", PODS, &error)],
    }
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
