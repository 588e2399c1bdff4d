//! Why it is not proven that pods get their role, and what to do about it.

use thiserror::Error;

use crate::{
    clients::{
        aws::ASSUME,
        call::{Denial, DeniedBy, ErrorKind, Failed, TokenFault},
        kubernetes::TOKEN,
    },
    model::{
        arn::{ExternalId, RoleArn},
        diagnosis::{Diagnosis, Link, OTHER_CAUSES},
        lack::Lack,
        line::one_line,
        names::Subject,
    },
};

/// An identity whose pods do not get their role.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not proven: {}{}", self.said(), told(diagnosis.as_ref()))]
pub struct NotProven {
    /// The ServiceAccount.
    pub subject: Subject,
    /// The role that the pods are to get in the end.
    pub role: RoleArn,
    /// How they get it.
    pub way: Way,
    /// What was seen of the chain, if it was looked at.
    pub diagnosis: Option<Diagnosis>,
    /// Whether this run has changed it.
    pub changed: bool,
    /// What there is instead of a session.
    pub source: Unproven,
}

/// How pods get a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// They show STS a token, whose issuer has this OIDC provider: its ARN.
    WebIdentity(String),
    /// The agent shows EKS their token.
    PodIdentity,
    /// The same, and the role of the association assumes another in turn.
    Target {
        /// The role of the association.
        role: RoleArn,
        /// The external ID with which it does, if it was seen.
        external_id: Option<ExternalId>,
    },
}

/// What there is instead of a session.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unproven {
    /// A call that failed.
    #[error(transparent)]
    Call(Failed),
    /// Nobody could be asked: why, in words.
    #[error("{0}")]
    NobodyAsked(String),
    /// Nobody was asked, since the ServiceAccount is somebody else's and not yet as its pods need it.
    #[error("{0}")]
    Lacking(Lack),
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
        let Self { subject, role, source, diagnosis, .. } = self;
        match (source, diagnosis) {
            (Unproven::Call(failed), _) if failed.call == TOKEN => {
                format!("it is not known whether pods of ServiceAccount `{subject}` get role `{role}`: there is no token to ask with")
            }
            (Unproven::Lacking(Lack::Itself(..)), _) => {
                format!("it is not known whether pods of ServiceAccount `{subject}` get role `{role}`: there is no ServiceAccount yet")
            }
            (Unproven::NobodyAsked(_), None | Some(Diagnosis::Holds | Diagnosis::Unknown(_))) => {
                format!("it is not known whether pods of ServiceAccount `{subject}` get role `{role}`: nobody could be asked")
            }
            _ => format!("pods of ServiceAccount `{subject}` do not get role `{role}`"),
        }
    }

    /// The call that failed, if one did.
    #[must_use]
    pub fn failed(&self) -> Option<&Failed> {
        match &self.source {
            Unproven::Call(failed) => Some(failed),
            Unproven::NobodyAsked(_) | Unproven::Lacking(_) => None,
        }
    }

    /// The ARN of the OIDC provider, if pods get the role by it.
    #[must_use]
    pub fn provider(&self) -> Option<&String> {
        match &self.way {
            Way::WebIdentity(provider) => Some(provider),
            Way::PodIdentity | Way::Target { .. } => None,
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Some(Diagnosis::Broken(broken)) = &self.diagnosis {
            return Some(broken.remedy.clone());
        }
        let failed = match &self.source {
            Unproven::Call(failed) => failed,
            Unproven::Lacking(_) => {
                return Some("let whoever keeps the ServiceAccount, a chart perhaps, make it so, then deploy again; or set `IRSA_PROOF=auto`".to_owned());
            }
            Unproven::NobodyAsked(_) => return Some("deploy again once a pod of the ServiceAccount runs; or set `IRSA_PROOF=auto`, which leaves the proof to that deploy, or `IRSA_PROOF=pod`, which makes a pod for it that never starts".to_owned()),
        };
        if !may_show(&failed.source.kind) {
            return None;
        }
        if let Way::Target { role, external_id } = &self.way {
            let asked = external_id.as_ref().map(|id| format!(", with external ID `{id}`")).unwrap_or_default();
            return Some(format!(
                "let the trust policy of target role `{}` allow role `{role}` `sts:AssumeRole` and `sts:TagSession`{asked}, and a policy of role `{role}` the same for the target role; {OTHER_CAUSES}",
                self.role
            ));
        }
        Some(match &self.diagnosis {
            Some(Diagnosis::Unknown(_)) => format!(
                "compare what those statements ask for with what the pods' requests {} have (their network, region, session name), and change the statements or ask for it there; {OTHER_CAUSES}",
                if self.way == Way::PodIdentity { "through EKS" } else { "to STS" }
            ),
            _ if self.changed => format!(
                "all that was seen is right: {} may be slow to show it. Deploy again, or raise `IRSA_TIMEOUT`; {OTHER_CAUSES}",
                if self.way == Way::PodIdentity { "IAM or EKS" } else { "IAM" }
            ),
            _ => format!("all that was seen is right, and this run changed none of it; {OTHER_CAUSES}"),
        })
    }
}

/// Whether an answer is one that a change explains which does not show everywhere yet.
pub(super) fn may_show(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::PodSession(fault) => fault.may_show(),
        kind => is_of_the_trust(kind),
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
