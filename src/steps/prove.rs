//! The step that proves it: a token minted for the ServiceAccount gets the role from STS, as a pod's would.

use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    clients::{
        aws::{ASSUME, ASSUME_FOR_POD},
        call::{BackOff, CallError, Denial, DeniedBy, ErrorKind, Failed, Patience, TokenFault},
        kubernetes::TOKEN,
    },
    config::Proof,
    model::{
        arn::RoleArn,
        desired::{Desired, DesiredServiceAccount},
        diagnosis::{Diagnosis, Link, OTHER_CAUSES, diagnose, worth_waiting},
        identity::Identity,
        lack::Lack,
        line::one_line,
        names::{ClusterName, Subject},
        observed::{KnownProvider, Observed},
        oidc::Audience,
        pods::{PodRef, running_pod},
        token::Claims,
    },
    plan::Action,
    report::Report,
    steps::world::{Look, World},
};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An identity whose pods do not get their role.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not proven: {}{}", self.said(), told(diagnosis.as_ref()))]
pub struct NotProven {
    /// The ServiceAccount.
    pub subject: Subject,
    /// The role.
    pub role: RoleArn,
    /// The ARN of the OIDC provider.
    pub provider: String,
    /// What was seen of the chain, if it was looked at.
    pub diagnosis: Option<Diagnosis>,
    /// Whether this run has changed it.
    pub changed: bool,
    /// What was answered.
    #[source]
    pub source: Failed,
}

fn told(diagnosis: Option<&Diagnosis>) -> String {
    let (link, evidence) = match diagnosis {
        Some(Diagnosis::Broken(broken)) => (broken.link, broken.evidence.as_slice()),
        Some(Diagnosis::Unknown(statements)) => (Link::Trust, statements.as_slice()),
        Some(Diagnosis::Holds) | None => return String::new(),
    };
    evidence.iter().map(|evidence| format!("\n  {}: {}", link.name(), one_line(evidence))).collect::<Vec<_>>().concat()
}

impl NotProven {
    /// Without a token nobody was asked.
    fn said(&self) -> String {
        let Self { subject, role, source, .. } = self;
        if source.call == TOKEN {
            format!("it is not known whether pods of ServiceAccount `{subject}` get role `{role}`: there is no token to ask with")
        } else {
            format!("pods of ServiceAccount `{subject}` do not get role `{role}`")
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let of_trust = is_of_the_trust(&self.source.source.kind);
        match &self.diagnosis {
            Some(Diagnosis::Broken(broken)) => Some(broken.remedy.clone()),
            Some(Diagnosis::Unknown(_)) if of_trust => Some(format!(
                "compare what those statements ask for with what the pods' requests to STS have (their network, region, session name), and change the statements or ask for it there; {OTHER_CAUSES}"
            )),
            _ if of_trust && self.changed => Some(format!(
                "all that was seen is right: IAM may be slow to show it. Deploy again, or raise `IRSA_TIMEOUT`; {OTHER_CAUSES}"
            )),
            _ if of_trust => Some(format!("all that was seen is right, and this run changed none of it; {OTHER_CAUSES}")),
            _ => None,
        }
    }
}

/// Proves every identity whose pods show STS a token, side by side: by the sessions that its pods were seen to get, else by asking for one.
///
/// `applied` is what the run has carried out: for that to show is worth waiting for.
///
/// # Errors
/// Those whose pods do not get their role.
#[allow(clippy::too_many_arguments, reason = "each is another thing, and one caller has them all")]
pub async fn prove(
    identities: &[Identity],
    desired: &Desired,
    observed: &Observed,
    applied: &[Action],
    world: &impl World,
    patience: &Patience,
    proof: Proof,
    report: &mut Report<'_>,
) -> Result<(), Vec<NotProven>> {
    if proof == Proof::Off {
        return Ok(());
    }
    let prover = Prover { identities, desired, observed, applied, world, patience };
    let shown = |account: &DesiredServiceAccount| observed.sessions.show(&account.subject.service_account, prover.role_of_pods(account));
    let (mut to_ask, mut failed) = (Vec::new(), Vec::new());
    for account in &desired.service_accounts {
        if let Some(lack) = Lack::of(account, observed.service_accounts.get(&account.subject.service_account)) {
            match proof {
                Proof::Required => failed.push(prover.lacking(account, &lack)),
                _ => report.note(&format!("not proven yet: {lack}")),
            }
            continue;
        }
        match prover.way(account) {
            _ if shown(account) => report.proven(&account.subject, prover.role_of_pods(account), desired.max_session(&account.role)),
            Some(way) => to_ask.push((account, way)),
            None => report.note(&format!(
                "not proven by a session yet: no pod of ServiceAccount `{}` runs. Its association with role `{}` is in place; the next deploy proves it",
                account.subject, account.role
            )),
        }
    }
    let proofs = join_all(to_ask.into_iter().map(async |(account, way)| (account, prover.prove(account, &way).await))).await;
    for (account, proven) in proofs {
        match proven {
            Ok(()) => report.proven(&account.subject, prover.role_of_pods(account), desired.max_session(&account.role)),
            Err(error) if matches!(proof, Proof::Auto | Proof::Pod) && error.source.call == TOKEN => match &error.source.source.kind {
                ErrorKind::Denied(_) => report.note(&format!(
                    "not proven: the job may not request a token of ServiceAccount `{}` (`create` on `serviceaccounts/token`: docs/permissions/admission-guard.yaml, then docs/permissions/rbac.yaml)",
                    account.subject
                )),
                ErrorKind::Admission(_) => report.note(&format!(
                    "not proven: the cluster does not let the job request a token of ServiceAccount `{}`: {}",
                    account.subject, error.source.source
                )),
                _ => failed.push(error),
            },
            Err(error) => failed.push(error),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

struct Prover<'a, C> {
    identities: &'a [Identity],
    desired: &'a Desired,
    observed: &'a Observed,
    applied: &'a [Action],
    world: &'a C,
    patience: &'a Patience,
}

/// How a pod gets its role, and so does the proof.
enum Way<'a> {
    /// It shows STS a token of this audience.
    WebIdentity(&'a Audience),
    /// The agent of this cluster shows EKS the token of this pod.
    PodIdentity(&'a ClusterName, &'a PodRef),
}

impl<'a, C: World> Prover<'a, C> {
    /// How it can be asked; none if only a pod can, and none runs.
    fn way(&self, account: &'a DesiredServiceAccount) -> Option<Way<'a>> {
        if let Some(audience) = account.binding.audience() {
            return Some(Way::WebIdentity(audience));
        }
        let name = &account.subject.service_account;
        let association = self.desired.associations.get(name)?;
        Some(Way::PodIdentity(&association.cluster, running_pod(self.observed.pods.as_deref()?, name)?))
    }

    /// That nobody was asked, since the ServiceAccount is somebody else's and not yet as its pods need it.
    fn lacking(&self, account: &'a DesiredServiceAccount, lack: &Lack) -> NotProven {
        let call = if matches!(lack, Lack::Itself(..)) { TOKEN } else { ASSUME };
        let doing = format!("get role `{}` with a token of ServiceAccount `{}`", account.role, account.subject);
        NotProven {
            subject: account.subject.clone(),
            role: self.role_of_pods(account).clone(),
            provider: self.desired.provider.arn.clone(),
            diagnosis: None,
            changed: false,
            source: Failed { doing, call, source: CallError::not_sent(lack.to_string()) },
        }
    }

    /// The role that the pods get in the end.
    fn role_of_pods(&self, account: &'a DesiredServiceAccount) -> &'a RoleArn {
        let association = self.desired.associations.get(&account.subject.service_account);
        association.map_or(&account.role, |association| association.settings.of_pods())
    }

    async fn prove(&self, account: &'a DesiredServiceAccount, way: &Way<'_>) -> Result<(), NotProven> {
        let (subject, role) = (&account.subject, self.role_of_pods(account));
        let changed = self.applied.iter().any(|action| action.changes_chain_to(&role.name));
        let provider = &self.desired.provider.arn;
        let not_proven = |source, diagnosis| NotProven {
            subject: subject.clone(),
            role: role.clone(),
            provider: provider.clone(),
            diagnosis,
            changed,
            source,
        };
        let doing = format!("request a token of ServiceAccount `{subject}`");
        let token = self.patience.call(TOKEN, async || match way {
            Way::WebIdentity(audience) => self.world.token(subject, audience).await,
            Way::PodIdentity(_, pod) => self.world.token_of_pod(subject, pod).await,
        });
        let token = token.await.map_err(Failed::to(doing, TOKEN));
        let token = token.map_err(|source| not_proven(source, None))?;
        let _waiting = self.patience.waiting(format!("STS to give role `{role}` for a token of ServiceAccount `{subject}`"));
        let (started, mut pauses) = (Instant::now(), BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE));
        loop {
            let doing = format!("assume role `{role}` with a token of ServiceAccount `{subject}`");
            let answer = match way {
                Way::WebIdentity(_) => self.patience.call(ASSUME, async || self.world.assume(role, &token).await).await,
                Way::PodIdentity(cluster, _) => {
                    self.patience.call(ASSUME_FOR_POD, async || self.world.assume_for_pod(cluster, &token).await).await
                }
            };
            let source = match answer {
                Ok(session) if session.is_of(role) => return Ok(()),
                Ok(session) => CallError::new(ErrorKind::Other, "OtherRole", format!("STS gave `{session}`")),
                Err(error) => error,
            };
            let may_pass = is_of_the_trust(&source.kind);
            let call = if matches!(way, Way::WebIdentity(_)) { ASSUME } else { ASSUME_FOR_POD };
            let source = Failed { doing, call, source };
            let diagnosis = self.diagnosis(account, &token).await;
            let waits = may_pass && worth_waiting(diagnosis.as_ref(), changed).is_none_or(|limit| started.elapsed() < limit);
            if !waits || !self.patience.sleep(pauses.pause()).await {
                return Err(not_proven(source, diagnosis));
            }
        }
    }

    async fn diagnosis(&self, account: &DesiredServiceAccount, token: &str) -> Option<Diagnosis> {
        let claims = Claims::of(token)?;
        let observed = self.world.observe(Look::Wanted, self.identities, self.patience).await.ok()?;
        let KnownProvider::Read(provider) = &observed.provider else { return None };
        Some(diagnose(&claims, &self.desired.provider, provider.as_ref(), observed.roles.get(&account.role.name)))
    }
}

/// The answers that a change not yet shown everywhere explains: no provider, no such audience, no trust.
fn is_of_the_trust(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::Denied(Denial { action: Some(action), by: DeniedBy::Unsaid | DeniedBy::Resource, .. }) => action == ASSUME,
        ErrorKind::Token(fault) => matches!(fault, TokenFault::NoProvider | TokenFault::Audience),
        _ => false,
    }
}
