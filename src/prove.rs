//! The step that proves it: a token minted for the ServiceAccount gets the role from STS, as a pod's would.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    aws::ASSUME,
    call::{CallError, Denial, DeniedBy, ErrorKind, Failed, Patience, TokenFault},
    cloud::{Cloud, Look},
    config::Proof,
    kubernetes::TOKEN,
    model::{
        arn::RoleArn,
        desired::{Desired, DesiredServiceAccount},
        diagnosis::{Broken, broken},
        identity::Identity,
        line::one_line,
        names::{ServiceAccountName, Subject},
        oidc::Audience,
        token::Claims,
    },
    report::Report,
};

/// How long a read that shows a broken link may be of the past.
const SHOWS_THE_PAST: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An identity whose pods do not get their role.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not proven: {}{}", self.said(), told(broken.as_ref()))]
pub struct NotProven {
    /// The ServiceAccount.
    pub subject: Subject,
    /// The role.
    pub role: RoleArn,
    /// The ARN of the OIDC provider.
    pub provider: String,
    /// The broken link, if one was found.
    pub broken: Option<Broken>,
    /// What was answered.
    #[source]
    pub source: Failed,
}

fn told(broken: Option<&Broken>) -> String {
    let lines = broken
        .into_iter()
        .flat_map(|broken| broken.evidence.iter().map(|evidence| format!("\n  {}: {}", broken.link.name(), one_line(evidence))));
    lines.collect::<Vec<_>>().concat()
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
        match (&self.broken, &self.source.source.kind) {
            (Some(broken), _) => Some(broken.remedy.clone()),
            (None, kind) if is_of_the_trust(kind) => {
                Some("all that was seen is right: IAM may be slow to show it. Deploy again, or raise `IRSA_TIMEOUT`".to_owned())
            }
            _ => None,
        }
    }
}

/// Proves every identity, side by side: by the sessions that its pods were seen to get, else by asking for one.
///
/// # Errors
/// Those whose pods do not get their role.
pub async fn prove(
    identities: &[Identity],
    desired: &Desired,
    seen: &BTreeMap<ServiceAccountName, String>,
    cloud: &impl Cloud,
    patience: &Patience,
    proof: Proof,
    report: &mut Report<'_>,
) -> Result<(), Vec<NotProven>> {
    if proof == Proof::Off {
        return Ok(());
    }
    let prover = Prover { identities, desired, seen, cloud, patience };
    let audiences = identities.iter().map(|identity| &identity.service_account.audience);
    let proofs = join_all(desired.service_accounts.iter().zip(audiences).map(|(account, audience)| prover.prove(account, audience))).await;
    let mut failed = Vec::new();
    for (account, proven) in desired.service_accounts.iter().zip(proofs) {
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
    seen: &'a BTreeMap<ServiceAccountName, String>,
    cloud: &'a C,
    patience: &'a Patience,
}

impl<C: Cloud> Prover<'_, C> {
    async fn prove(&self, account: &DesiredServiceAccount, audience: &Audience) -> Result<(), NotProven> {
        let (subject, role) = (&account.subject, &account.role);
        if self.seen.get(&subject.service_account).is_some_and(|session| is_of_role(session, role)) {
            return Ok(());
        }
        let not_proven = |source, broken| NotProven {
            subject: subject.clone(),
            role: role.clone(),
            provider: self.desired.provider.arn.clone(),
            broken,
            source,
        };
        let doing = format!("request a token of ServiceAccount `{subject}`");
        let token = self.patience.call(TOKEN, async || self.cloud.token(subject, audience).await).await.map_err(Failed::to(doing, TOKEN));
        let token = token.map_err(|source| not_proven(source, None))?;
        let _waiting = self.patience.waiting(format!("STS to give role `{role}` for a token of ServiceAccount `{subject}`"));
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let doing = format!("assume role `{role}` with a token of ServiceAccount `{subject}`");
            let answer = self.patience.call(ASSUME, async || self.cloud.assume(role, &token).await).await;
            let source = match answer {
                Ok(session) if is_of_role(&session, role) => return Ok(()),
                Ok(session) => CallError::new(ErrorKind::Other, "OtherRole", format!("STS gave `{session}`")),
                Err(error) => error,
            };
            let may_pass = is_of_the_trust(&source.kind);
            let source = Failed { doing, call: ASSUME, source };
            let broken = self.broken(account, &token).await;
            // What is seen to be right must only show; what is seen to be broken may be the past, for a while.
            let passes = may_pass && (broken.is_none() || started.elapsed() < SHOWS_THE_PAST);
            if !passes || !self.patience.sleep(pause).await {
                return Err(not_proven(source, broken));
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn broken(&self, account: &DesiredServiceAccount, token: &str) -> Option<Broken> {
        let claims = Claims::of(token)?;
        let observed = self.cloud.observe(Look::Wanted, self.identities, self.patience).await.ok()?;
        broken(&claims, &self.desired.provider, observed.provider.as_ref(), observed.roles.get(&account.role.name))
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

/// `arn:aws:sts::123456789012:assumed-role/<name>/<session>`, without the role's path.
fn is_of_role(session: &str, role: &RoleArn) -> bool {
    let mut parts = session.rsplitn(3, '/').skip(1);
    let (name, before) = (parts.next(), parts.next());
    name == Some(role.name.as_str()) && before.is_some_and(|before| before.contains(&format!(":{}:", role.account.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_of_a_role_if_account_and_name_are_its() {
        let role: RoleArn = "arn:aws:iam::123456789012:role/qovery/demo/app".parse().unwrap();
        for (session, is) in [
            ("arn:aws:sts::123456789012:assumed-role/app/session", true),
            ("arn:aws:sts::123456789012:assumed-role/other/session", false),
            ("arn:aws:sts::210987654321:assumed-role/app/session", false),
            ("arn:aws:sts::123456789012:assumed-role/app", false),
            ("", false),
        ] {
            assert_eq!(is_of_role(session, &role), is, "{session}");
        }
    }
}
