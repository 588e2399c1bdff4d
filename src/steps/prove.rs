//! The step that proves it: a token minted for the ServiceAccount gets the role from STS, as a pod's would.

use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    clients::{
        aws::ASSUME,
        call::{BackOff, CallError, Denial, DeniedBy, ErrorKind, Failed, Patience, TokenFault},
        kubernetes::TOKEN,
    },
    config::Proof,
    model::{
        arn::RoleArn,
        desired::{Desired, DesiredServiceAccount},
        diagnosis::{Diagnosis, Link, OTHER_CAUSES, diagnose, worth_waiting},
        identity::Identity,
        line::one_line,
        names::Subject,
        observed::KnownProvider,
        oidc::Audience,
        sessions::Sessions,
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
    seen: &Sessions,
    applied: &[Action],
    world: &impl World,
    patience: &Patience,
    proof: Proof,
    report: &mut Report<'_>,
) -> Result<(), Vec<NotProven>> {
    if proof == Proof::Off {
        return Ok(());
    }
    let prover = Prover { identities, desired, seen, applied, world, patience };
    let with_audience = desired.service_accounts.iter().filter_map(|account| Some((account, account.binding.audience()?)));
    let proofs = join_all(with_audience.map(async |(account, audience)| (account, prover.prove(account, audience).await))).await;
    let mut failed = Vec::new();
    for (account, proven) in proofs {
        match proven {
            Ok(()) => report.proven(&account.subject, &account.role, desired.max_session(&account.role)),
            Err(error) if proof == Proof::Auto && error.source.call == TOKEN => match &error.source.source.kind {
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
    seen: &'a Sessions,
    applied: &'a [Action],
    world: &'a C,
    patience: &'a Patience,
}

impl<C: World> Prover<'_, C> {
    async fn prove(&self, account: &DesiredServiceAccount, audience: &Audience) -> Result<(), NotProven> {
        let (subject, role) = (&account.subject, &account.role);
        if self.seen.show(&subject.service_account, role) {
            return Ok(());
        }
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
        let token = self.patience.call(TOKEN, async || self.world.token(subject, audience).await).await.map_err(Failed::to(doing, TOKEN));
        let token = token.map_err(|source| not_proven(source, None))?;
        let _waiting = self.patience.waiting(format!("STS to give role `{role}` for a token of ServiceAccount `{subject}`"));
        let (started, mut pauses) = (Instant::now(), BackOff::doubling(FIRST_PAUSE, LONGEST_PAUSE));
        loop {
            let doing = format!("assume role `{role}` with a token of ServiceAccount `{subject}`");
            let answer = self.patience.call(ASSUME, async || self.world.assume(role, &token).await).await;
            let source = match answer {
                Ok(session) if session.is_of(role) => return Ok(()),
                Ok(session) => CallError::new(ErrorKind::Other, "OtherRole", format!("STS gave `{session}`")),
                Err(error) => error,
            };
            let may_pass = is_of_the_trust(&source.kind);
            let source = Failed { doing, call: ASSUME, source };
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
