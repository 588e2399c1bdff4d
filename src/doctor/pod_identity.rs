//! The chain of EKS Pod Identity: agent, association, role, trust, target role, session, pods; and the middle of a move from IRSA.

use super::reading::{ASSOCIATIONS, Doctor, PODS, ROLE, SERVICE_ACCOUNT, audience, pods_checks, unread};
use crate::{
    clients::{
        aws::ASSUME_FOR_POD,
        call::{CallError, Denial, ErrorKind, Failed, PodFault},
        kubernetes::TOKEN,
    },
    hint::{self, Known as KnownOfRun},
    model::{
        anchor::POD_IDENTITY as EKS_PODS,
        arn::{Account, RoleArn},
        association::{DesiredAssociation, KnownAgent, ObservedAssociation},
        containers::{Earlier, POD_IDENTITY, WEB_IDENTITY, Wanted, Way},
        diagnosis::{Diagnosis, diagnose, diagnose_session, diagnose_target},
        explain::PodSession,
        identity::Keeper,
        line::counted,
        names::Subject,
        observed::{Field, ObservedRole, ObservedServiceAccount, ROLE_ANNOTATION},
        oidc::Audience,
        pods::{Judged, Phase, Pod, PodRef},
        sessions::AssumedRole,
        token::Claims,
    },
    report::check::{Check, State},
    steps::world::World as _,
};

/// What is examined, and what is known of it beforehand.
pub(super) struct Known<'a> {
    pub(super) subject: &'a Subject,
    /// The association that a manifest asks for.
    pub(super) desired: Option<&'a DesiredAssociation>,
    pub(super) keeper: Keeper,
    pub(super) account: &'a Account,
}

const AGENT: &str = "agent";
const ASSOCIATION: &str = "association";
const SESSION: &str = "session";
const TARGET: &str = "target role";
const TRUST: &str = "trust";
const MOVE: &str = "move";

/// Where the versions of the SDKs stand.
const VERSIONS: &str = "docs/troubleshooting.md#sdks-that-know-eks-pod-identity";

/// Examines one ServiceAccount.
pub(super) async fn examine(
    known: &Known<'_>,
    association: Result<Option<ObservedAssociation>, CallError>,
    doctor: &Doctor<'_>,
) -> Vec<Check> {
    let subject = known.subject;
    let (observed, agent, pods) = tokio::join!(doctor.account(subject), agent(doctor), doctor.pods(subject));
    let mut checks = vec![account(known, &observed)];
    let observed = observed.ok().flatten();
    let found = association.as_ref().ok().and_then(Option::as_ref);
    checks.extend(observed.iter().flat_map(|observed| annotation(observed, found)));
    checks.push(agent);
    checks.push(of_association(known, &association));
    if let Some(found) = found {
        let pod = pods.as_ref().ok().and_then(|pods| running(pods));
        let session = session(known, found, pod, doctor).await;
        checks.extend(chain(known, found, session, doctor).await);
    }
    let pods = match pods {
        Ok(pods) => pods,
        Err(error) => {
            checks.push(Check::unknown("pods", PODS, &error));
            return checks;
        }
    };
    let Some(role) = found.map(|found| &found.settings.role).or(known.desired.map(|desired| &desired.settings.role)) else { return checks };
    let audience = observed.as_ref().map(audience).unwrap_or_default();
    let before = before(doctor, subject, role, &audience, &pods).await;
    checks.extend(before.check());
    // Without an association nothing is said of pods that wait for one.
    let Some(found) = found else { return checks };
    let holds = checks.iter().all(|check| check.state != State::Broken);
    let way = Way::PodIdentity(before.earlier(role, &audience));
    let with_it = format!("the role; an AWS SDK older than EKS Pod Identity cannot use it ({VERSIONS})");
    let with_it = if pods.iter().any(has_variables) { with_it.as_str() } else { "the role" };
    let (of_pods, judged) = pods_checks(&pods, &Wanted { role, namespace: &subject.namespace, way }, with_it);
    // Where a link is broken, having the variables is not having the role.
    checks.extend(of_pods.into_iter().filter(|check| holds || check.state != State::Ok));
    checks.extend(moving(found, observed.as_ref(), &judged));
    checks
}

/// What a deploy that has changed something should know beside.
pub(super) async fn glance(doctor: &Doctor<'_>, subject: &Subject, role: &RoleArn) -> Vec<Check> {
    let Ok(pods) = doctor.pods(subject).await else { return Vec::new() };
    let observed = if pods.iter().any(has_web_identity) { doctor.account(subject).await.ok().flatten() } else { None };
    let audience = observed.as_ref().map(audience).unwrap_or_default();
    let before = before(doctor, subject, role, &audience, &pods).await;
    let way = Way::PodIdentity(before.earlier(role, &audience));
    pods_checks(&pods, &Wanted { role, namespace: &subject.namespace, way }, "the role").0
}

fn has_variables(pod: &Pod) -> bool {
    pod.containers.iter().any(|container| container.has(POD_IDENTITY))
}

fn has_web_identity(pod: &Pod) -> bool {
    pod.containers.iter().any(|container| container.has(WEB_IDENTITY))
}

fn running(pods: &[Pod]) -> Option<&PodRef> {
    pods.iter().map(|pod| &pod.found).find(|found| found.phase == Phase::Running)
}

/// The ServiceAccount: an association needs none, its pods do.
fn account(known: &Known<'_>, observed: &Result<Option<ObservedServiceAccount>, CallError>) -> Check {
    let (link, subject) = ("ServiceAccount", known.subject);
    match observed {
        Ok(Some(observed)) if observed.ends => {
            let remedy = "wait until it is gone, or see which of its finalizers holds it, then run `start`";
            Check::broken(link, format!("`{subject}` is being deleted"), remedy)
        }
        Ok(Some(_)) => Check::ok(link, format!("`{subject}` is there")),
        Ok(None) if known.keeper == Keeper::Other => {
            Check::note(link, format!("`{subject}` is not there yet: it is not this tool's to make"), "deploy the chart that makes it")
        }
        Ok(None) => Check::broken(link, format!("`{subject}` does not exist"), "run `start`, or create it"),
        Err(error) => Check::unknown(link, SERVICE_ACCOUNT, error),
    }
}

/// The annotation of IRSA: it counts for no pod that comes after the association.
fn annotation(observed: &ObservedServiceAccount, association: Option<&ObservedAssociation>) -> Vec<Check> {
    let link = "annotation";
    let value = observed.values.get(&Field::Annotation(ROLE_ANNOTATION.to_owned()));
    let check = match (value, association) {
        (None, _) => Check::ok(link, "none, and none is needed"),
        (Some(role), None) => Check::ok(link, format!("`{role}`: pods get it as long as there is no association")),
        (Some(role), Some(found)) if *role == found.settings.role.to_string() => {
            Check::ok(link, format!("`{role}`: it counts for pods from before the association alone"))
        }
        (Some(role), Some(found)) => Check::note(
            link,
            format!("it names `{role}`; new pods get `{}`, since the association comes first", found.settings.of_pods()),
            "remove the annotation when no pod has its role any more",
        ),
    };
    std::iter::once(check).chain(unread(observed)).collect()
}

async fn agent(doctor: &Doctor<'_>) -> Check {
    match doctor.connection.agent(doctor.patience).await {
        Ok(KnownAgent::Runs(how)) => Check::ok(AGENT, how),
        Ok(KnownAgent::Missing) => Check::broken(
            AGENT,
            "the cluster runs no EKS Pod Identity agent: pods get no role by an association",
            "install the EKS add-on `eks-pod-identity-agent`; on a cluster of Qovery, set its advanced setting `aws.eks.enable_pod_identity_addon` and update the cluster",
        ),
        Ok(KnownAgent::Unknown(why)) => {
            Check::new(AGENT, State::Unknown, why, Some("the job needs `eks:DescribeAddon` (docs/permissions.md)"))
        }
        Ok(KnownAgent::NotRead) => Check::new(AGENT, State::Unknown, "nobody has looked for it", None),
        Err(failed) => Check::unknown(AGENT, "eks:DescribeAddon", &failed.source),
    }
}

/// The association: whether there is one, whose, and whether it is as the manifest says.
fn of_association(known: &Known<'_>, association: &Result<Option<ObservedAssociation>, CallError>) -> Check {
    let found = match association {
        Ok(Some(found)) => found,
        Ok(None) => {
            let evidence = format!("ServiceAccount `{}` has none: its new pods get no role by EKS Pod Identity", known.subject);
            return Check::broken(ASSOCIATION, evidence, "run `start`");
        }
        Err(error) => return Check::unknown(ASSOCIATION, ASSOCIATIONS, error),
    };
    let (id, gives) = (&found.id, found.settings.of_pods());
    let whose = match &found.add_on {
        Some(add_on) => format!(", owned by add-on `{add_on}`"),
        None if found.is_own() => String::new(),
        None => ", not made by this tool".to_owned(),
    };
    let foreign = match &found.add_on {
        _ if found.is_own() => "run `start`",
        Some(_) => "change it by the add-on, or use another ServiceAccount",
        None => "use another ServiceAccount, or hand it over without a gap (docs/moving-over.md)",
    };
    let evidence = format!("`{id}` gives pods `{gives}`{whose}");
    let Some(desired) = known.desired else { return Check::ok(ASSOCIATION, evidence) };
    if desired.settings.role != found.settings.role || desired.settings.of_pods() != gives {
        let says = desired.settings.of_pods();
        let way = if says == gives { format!(" by way of `{}`", desired.settings.role) } else { String::new() };
        return Check::broken(ASSOCIATION, format!("{evidence}; the manifest says `{says}`{way}"), foreign);
    }
    let differs: Vec<&str> = [
        (desired.settings.session_tags != found.settings.session_tags, "session tags"),
        (desired.settings.session_policy != found.settings.session_policy, "session policy"),
        (desired.external_id.is_some() && desired.external_id != found.external_id, "external ID"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
    .collect();
    if !differs.is_empty() {
        return Check::note(ASSOCIATION, format!("{evidence}; the manifest says otherwise of its {}", differs.join(" and ")), foreign);
    }
    if found.is_own() {
        Check::ok(ASSOCIATION, evidence)
    } else {
        Check::note(ASSOCIATION, format!("{evidence}: `start` refuses to touch it"), foreign)
    }
}

/// What EKS says to the token of a pod that runs.
enum Asked {
    /// No pod runs.
    NoPod,
    /// The cluster gives no token, or the job may not ask.
    Unseen(&'static str, CallError),
    /// EKS has answered.
    Answered(Result<AssumedRole, CallError>),
}

async fn session(known: &Known<'_>, association: &ObservedAssociation, pod: Option<&PodRef>, doctor: &Doctor<'_>) -> Asked {
    let (Some(pod), Some(cluster)) = (pod, &doctor.connection.place.cluster) else { return Asked::NoPod };
    let token = match doctor.token_of_pod(known.subject, pod).await {
        Ok(token) => token,
        Err(error) => return Asked::Unseen(TOKEN, error),
    };
    match doctor.session_of_pod(cluster, &token).await {
        Ok(session) if session.is_of(association.settings.of_pods()) => Asked::Answered(Ok(session)),
        Ok(session) => {
            let message = format!("EKS gives `{session}`, which is no session of `{}`", association.settings.of_pods());
            Asked::Answered(Err(CallError::new(ErrorKind::Other, "OtherRole", message)))
        }
        Err(error) if is_own_denial(&error) => Asked::Unseen(ASSUME_FOR_POD, error),
        Err(error) if error.kind.passes() || error.kind == ErrorKind::Throttled || error.is_foreign => Asked::Unseen(ASSUME_FOR_POD, error),
        Err(error) => Asked::Answered(Err(error)),
    }
}

/// Whether the job itself may not ask: the refusal names the action. Of the role's trust EKS speaks in other words.
fn is_own_denial(error: &CallError) -> bool {
    let ErrorKind::Denied(Denial { action: Some(action), .. }) = &error.kind else { return false };
    action == ASSUME_FOR_POD
}

/// Role, trust, target role and session: what is read, and what EKS says, which is believed.
async fn chain(known: &Known<'_>, association: &ObservedAssociation, asked: Asked, doctor: &Doctor<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let given = matches!(asked, Asked::Answered(Ok(_)));
    let role = &association.settings.role;
    for link in links(known, association, doctor).await {
        let state = link.state;
        match state {
            State::Broken if given => {
                checks.push(Check::ok(&link.link, format!("EKS gives a session, though this is read: {}", link.evidence)));
            }
            State::Unknown if given => checks.push(Check::ok(&link.link, format!("{}; EKS lets it in", link.evidence))),
            _ => checks.push(link),
        }
        // What depends on a broken link would only say the same again.
        if state == State::Broken && !given {
            return checks;
        }
    }
    checks.push(of_session(asked, role, association));
    checks
}

/// Role, trust and target role, as they are read.
async fn links(known: &Known<'_>, association: &ObservedAssociation, doctor: &Doctor<'_>) -> Vec<Check> {
    let (role, target) = (&association.settings.role, association.settings.target.as_ref());
    let Some(cluster) = doctor.connection.place.cluster_arn(known.account) else { return Vec::new() };
    let pod = PodSession { cluster: &cluster, subject: &association.subject, tags: association.settings.session_tags };
    let mut checks = Vec::new();
    match read(role, known.account, doctor).await {
        Read::Elsewhere(why) => checks.push(Check::new("role", State::Unknown, why, None)),
        Read::Failed(error) => checks.push(Check::unknown("role", ROLE, &error)),
        Read::Missing => {
            let remedy = "run `start`; or let the association name a role that exists";
            checks.push(Check::broken("role", format!("`{role}` does not exist"), remedy));
        }
        Read::Found(observed) => {
            checks.push(Check::ok("role", format!("`{role}` is there")));
            checks.push(of_trust(&diagnose_session(&observed.trust, &pod)));
        }
    }
    if let Some(target) = target {
        checks.push(of_target(read(target, known.account, doctor).await, target, role, association, &pod));
    }
    checks
}

enum Read {
    Found(Box<ObservedRole>),
    Missing,
    Failed(CallError),
    /// It is in an account that the job does not see: why, in words.
    Elsewhere(String),
}

async fn read(role: &RoleArn, account: &Account, doctor: &Doctor<'_>) -> Read {
    if role.account != *account {
        return Read::Elsewhere(format!(
            "`{role}` is in account {}, the credentials are for {account}: it cannot be known from here",
            role.account
        ));
    }
    match doctor.role(role).await {
        Ok(Some(observed)) => Read::Found(Box::new(observed)),
        Ok(None) => Read::Missing,
        Err(error) => Read::Failed(error),
    }
}

fn of_trust(found: &Diagnosis) -> Check {
    match found {
        Diagnosis::Holds => Check::ok(TRUST, format!("the trust policy lets `{EKS_PODS}` in for this ServiceAccount")),
        Diagnosis::Unknown(statements) => Check::new(TRUST, State::Unknown, statements.join("; "), None),
        Diagnosis::Broken(broken) => Check::broken(TRUST, broken.evidence.join("; "), &broken.remedy),
    }
}

/// The target role: its trust is not this tool's, and it is mostly in another account.
fn of_target(read: Read, target: &RoleArn, role: &RoleArn, association: &ObservedAssociation, pod: &PodSession<'_>) -> Check {
    let id = association.external_id.as_ref();
    let asks = id.map(|id| format!(" with external ID `{id}`")).unwrap_or_default();
    let found = match read {
        Read::Elsewhere(why) => {
            return Check::new(
                TARGET,
                State::Unknown,
                why,
                Some(&format!(
                    "see in that account that its trust policy lets `{role}` in{asks}, with `{}`",
                    pod.actions().join("` and `")
                )),
            );
        }
        Read::Failed(error) => return Check::unknown(TARGET, ROLE, &error),
        Read::Missing => {
            return Check::broken(TARGET, format!("`{target}` does not exist"), "create it, or correct `podIdentity.targetRoleArn`");
        }
        Read::Found(observed) => diagnose_target(&observed.trust, role, id, pod),
    };
    match found {
        Diagnosis::Holds => Check::ok(TARGET, format!("`{target}` lets the role in{asks}")),
        Diagnosis::Unknown(statements) => Check::new(TARGET, State::Unknown, format!("`{target}`: {}", statements.join("; ")), None),
        Diagnosis::Broken(broken) => Check::broken(
            TARGET,
            format!("`{target}` does not let the role in: {}", broken.evidence.join("; ")),
            &format!("let its trust policy allow `{role}` `{}`{asks}", pod.actions().join("` and `")),
        ),
    }
}

fn of_session(asked: Asked, role: &RoleArn, association: &ObservedAssociation) -> Check {
    let error = match asked {
        Asked::Answered(Ok(session)) => return Check::ok(SESSION, format!("EKS gives `{session}`")),
        Asked::NoPod => {
            let evidence = "not asked for: EKS wants the token of a pod, and none of the ServiceAccount runs";
            return Check::note(SESSION, evidence, "deploy a service with this ServiceAccount, then run `doctor` again");
        }
        Asked::Unseen(call, error) => return Check::unknown(SESSION, call, &error),
        Asked::Answered(Err(error)) => error,
    };
    let remedy = match (&error.kind, &association.settings.target) {
        (ErrorKind::Denied(_) | ErrorKind::PodSession(PodFault::Role), Some(target)) => format!(
            "see that the policies of `{role}` allow `sts:AssumeRole` and `sts:TagSession` on `{target}`, and that the trust policy of `{target}` lets it in with external ID `{}`",
            association.external_id.as_ref().map(ToString::to_string).unwrap_or_default()
        ),
        (ErrorKind::Denied(_) | ErrorKind::PodSession(PodFault::Role), None) => {
            "all that is read is ok: IAM may be slow to show it, try again in a minute; if it stays, look for a deny outside the role: a service control policy (SCP) or resource control policy (RCP) of the organization".to_owned()
        }
        (ErrorKind::NotFound(_) | ErrorKind::PodSession(PodFault::Association) | ErrorKind::Other, _) => "EKS may be slow to show the association: try again in a minute".to_owned(),
        _ => hint::of_call(&Failed::to("assume the role", ASSUME_FOR_POD)(error.clone()), &KnownOfRun::default())
            .unwrap_or_else(|| "try again in a minute".to_owned()),
    };
    Check::broken(SESSION, error.to_string(), &remedy)
}

/// What becomes of web identities from before the association.
enum Before {
    /// No pod has one.
    None,
    /// STS takes them: in words.
    Works(String),
    /// STS does not.
    Refused,
    /// That could not be seen.
    Unknown(CallError),
}

impl Before {
    fn earlier<'a>(&self, role: &'a RoleArn, audience: &'a Audience) -> Earlier<'a> {
        match self {
            Self::None | Self::Refused => Earlier::Refused,
            Self::Works(_) => Earlier::Works { role, audience },
            Self::Unknown(_) => Earlier::Unknown,
        }
    }

    fn check(&self) -> Option<Check> {
        match self {
            // Of pods that STS turns away each is named.
            Self::None | Self::Refused => None,
            Self::Works(how) => Some(Check::ok("web identity", format!("pods that have one have the role: {how}"))),
            Self::Unknown(error) => Some(Check::unknown("web identity", ROLE, error)),
        }
    }
}

/// Asks STS as those pods do; where that may not be asked, what can be read decides.
async fn before(doctor: &Doctor<'_>, subject: &Subject, role: &RoleArn, audience: &Audience, pods: &[Pod]) -> Before {
    if !pods.iter().any(has_web_identity) {
        return Before::None;
    }
    if let Ok(token) = doctor.token(subject, audience).await {
        match doctor.session(role, &token).await {
            Ok(session) => return Before::Works(format!("STS gives `{session}`")),
            Err(error) if matches!(error.kind, ErrorKind::Denied(_) | ErrorKind::Token(_)) => return Before::Refused,
            Err(_) => {}
        }
    }
    let claims = Claims::of_subject(&doctor.connection.place.issuer, audience, subject);
    let (provider, observed) = tokio::join!(doctor.known_provider(), doctor.role(role));
    match (provider, observed) {
        (Ok(provider), Ok(observed)) => match diagnose(&claims, &doctor.provider, provider.as_ref(), observed.as_ref()) {
            Diagnosis::Holds => Before::Works("provider and trust policy let their token in".to_owned()),
            Diagnosis::Broken(_) => Before::Refused,
            Diagnosis::Unknown(statements) => Before::Unknown(CallError::new(ErrorKind::Other, "Unknown", statements.join("; "))),
        },
        (Err(error), _) | (_, Err(error)) => Before::Unknown(error),
    }
}

/// The middle of a move from IRSA: how far it is, and what comes next.
fn moving(association: &ObservedAssociation, observed: Option<&ObservedServiceAccount>, judged: &Judged) -> Option<Check> {
    let value = observed.and_then(|observed| observed.values.get(&Field::Annotation(ROLE_ANNOTATION.to_owned())));
    if judged.earlier_pods > 0 {
        let owners = judged.earlier.keys().cloned().collect::<Vec<_>>().join(", ");
        let evidence = format!(
            "from IRSA to EKS Pod Identity, under way: {} of {owners} still with a web identity; every new pod gets the role by the association",
            counted(judged.earlier_pods, "pod")
        );
        let commands = judged.earlier.values().cloned().collect::<Vec<_>>().join("; ");
        return Some(Check::note(
            MOVE,
            evidence,
            &format!("{commands}; then deploy again: that removes the annotation and what the web identity took"),
        ));
    }
    value.filter(|value| **value == association.settings.role.to_string()).map(|value| {
        let evidence =
            format!("from IRSA to EKS Pod Identity, nearly done: no pod has a web identity, the annotation still names `{value}`");
        Check::note(MOVE, evidence, "deploy again: that removes the annotation and what the web identity took")
    })
}
