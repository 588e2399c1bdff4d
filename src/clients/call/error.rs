//! How a call fails: what it means, as a value, and the service's own words for people.

use std::{fmt, time::Duration};

use crate::model::{line::bounded, observed::Overridden};

/// A call that failed, in the service's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// What the failure means for the caller.
    pub kind: ErrorKind,
    /// The service's code, as `AccessDenied`: for people, nobody decides by it.
    pub code: String,
    /// The service's message: for people, nobody decides by it.
    pub message: String,
    /// The id under which the service knows the request.
    pub request_id: Option<String>,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether something else answered in the service's place, as a proxy does.
    pub is_foreign: bool,
}

/// What a failure means for the caller. All that a service says and that somebody decides by, or that a hint needs, stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The thing is not there.
    NotFound(Missing),
    /// The thing is there already.
    AlreadyExists,
    /// Somebody has changed it since it was read, or changes it just now.
    Changed,
    /// It cannot go while something else holds on to it, as an instance profile to a role.
    InUse,
    /// Other field managers hold what the apply would change.
    Held(Vec<HeldField>),
    /// The API server took the apply, and gave back another value than it was given.
    Overridden(Vec<Overridden>),
    /// Not permitted.
    Denied(Denial),
    /// The caller may do this, and the cluster does not want the object.
    Admission(Admission),
    /// The credentials of the caller are not taken, or there are none.
    Credentials(CredentialFault),
    /// STS does not take the token of a ServiceAccount.
    Token(TokenFault),
    /// EKS gives no session for the token of a pod.
    PodSession(PodFault),
    /// EKS does not take the role of an association.
    Role(RoleFault),
    /// STS is switched off in the region.
    RegionDisabled,
    /// The session policies and tags are too large.
    PackedPolicyTooLarge,
    /// A quota of the account is reached.
    Quota(Quota),
    /// A policy document that IAM does not take.
    Document(DocumentFault),
    /// The service cannot use the request.
    Invalid,
    /// A role of AWS itself, or a policy that cannot be attached to this one.
    Protected,
    /// Too many calls: later.
    Throttled,
    /// A fault of the service that passes.
    Transient,
    /// There is no way to the server.
    NoConnection,
    /// No answer in time.
    Timeout,
    /// The certificate of the server is of no authority that is trusted.
    UntrustedCertificate,
    /// A token was to go over a connection without TLS: nothing was sent.
    NoTls,
    /// Any other: trying again does not help.
    Other,
}

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A role of this name, as IAM spells it.
    Role(String),
    /// A managed policy.
    Policy,
    /// The namespace.
    Namespace,
    /// The thing that the call is about.
    Thing,
}

/// A field that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldField {
    /// The field manager.
    pub manager: String,
    /// The field, as the API server spells its path.
    pub field: String,
}

/// A call that is not permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What would have to be allowed, as the service names it: `iam:TagRole`, `create serviceaccounts/token`. It may be more than the call
    /// that was made.
    pub action: Option<String>,
    /// Whose policy says no.
    pub by: DeniedBy,
    /// Whether a statement denies it, so that no further permission helps.
    pub is_explicit: bool,
    /// The caller, as the service names it.
    pub caller: Option<String>,
}

/// Whose policy says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedBy {
    /// The caller's own.
    Identity,
    /// The caller's permissions boundary.
    Boundary,
    /// The policy of the caller's session.
    Session,
    /// A service control policy of the organization.
    ServiceControl,
    /// A resource control policy of the organization.
    ResourceControl,
    /// The policy of a VPC endpoint on the way.
    Endpoint,
    /// The policy of the resource; of a role that is to be assumed its trust policy.
    Resource,
    /// The rules of RBAC, or their absence.
    Rbac,
    /// The service does not say.
    Unsaid,
}

/// Why the cluster does not want an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A webhook of this name.
    Webhook(String),
    /// A webhook of this name, which did not answer.
    BrokenWebhook(String),
    /// An admission policy of this name.
    Policy(String),
    /// A mutating policy of this name which fails.
    BrokenPolicy(String),
    /// A webhook that cannot be asked by a dry run: the object itself it may take.
    NoDryRun,
    /// A resource quota of the namespace.
    Quota(String),
    /// The namespace is being deleted.
    Terminating,
    /// Something else, in the words of the message.
    Other,
}

impl Admission {
    /// Whether nothing was refused: what should have judged the object does not work.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::BrokenWebhook(_) | Self::BrokenPolicy(_))
    }
}

/// Why credentials are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// There are none.
    None,
    /// They have expired.
    Expired,
    /// Nobody knows them.
    Unknown,
    /// The signature does not fit: the secret is another, or a clock is wrong.
    Signature,
    /// The account is not active.
    Inactive,
    /// The role that is to be assumed does not let the caller in, or the caller may not ask.
    AssumeRole,
    /// The role of the job's own web identity does not let its ServiceAccount in.
    OwnTrust,
    /// The account has no OIDC provider for the job's own web identity, or not for its audience.
    OwnProvider,
    /// The build cannot use the profile.
    Unsupported,
    /// The service does not say.
    Unsaid,
}

/// Why STS does not take the token of a ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The account has no OIDC provider for its issuer.
    NoProvider,
    /// The provider does not know its audience.
    Audience,
    /// STS could not fetch the issuer's keys, or not in time: it passes, mostly.
    Keys,
    /// The issuer's certificate is not the one whose thumbprint the provider has.
    Thumbprint,
    /// It has expired for AWS.
    Expired,
    /// The issuer or STS rejects what it claims.
    Claims,
    /// Anything else.
    Other,
}

/// Why EKS gives no session for the token of a pod.
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_auth_AssumeRoleForPodIdentity.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodFault {
    /// It knows no association of the pod's ServiceAccount.
    Association,
    /// It knows no cluster of this name.
    Cluster,
    /// It may not assume the role of the association, or that role not the target role.
    Role,
    /// It gave a session of another role.
    OtherRole,
    /// The token is bound to no pod, or to none that EKS takes.
    Unbound,
    /// The token is for another audience.
    Audience,
    /// The token has expired for EKS.
    Expired,
    /// EKS does not take the token for another reason.
    Token,
    /// The cluster is in no state for it.
    State,
}

impl PodFault {
    /// Whether a change explains it that EKS does not see yet.
    #[must_use]
    pub fn may_show(self) -> bool {
        matches!(self, Self::Association | Self::Role | Self::OtherRole)
    }

    /// Whether it is about the token alone: EKS has not looked at association and role.
    #[must_use]
    pub fn is_of_token(self) -> bool {
        matches!(self, Self::Unbound | Self::Audience | Self::Expired | Self::Token)
    }
}

/// Why EKS does not take the role of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleFault {
    /// It sees no such role.
    Missing,
    /// The role does not trust EKS Pod Identity, as far as EKS sees.
    Trust,
    /// The role is in another account than the cluster.
    OtherAccount,
}

/// A quota that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Its name, as the service spells it: `ACLSizePerRole`.
    pub name: Option<String>,
    /// What it allows.
    pub limit: Option<u64>,
}

/// Why IAM does not take a policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentFault {
    /// It names a principal that IAM does not know, or not yet.
    Principal,
    /// Its form.
    Form,
}

impl ErrorKind {
    /// A denial of which the service says no more than that it is one.
    #[must_use]
    pub fn denied() -> Self {
        Self::Denied(Denial { action: None, by: DeniedBy::Unsaid, is_explicit: false, caller: None })
    }

    /// Whether the call is not permitted.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied(_))
    }

    /// Whether it is refused because the namespace is being deleted.
    #[must_use]
    pub fn is_of_ending_namespace(&self) -> bool {
        matches!(self, Self::Admission(Admission::Terminating))
    }

    /// Whether a thing is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether an API server that starts says so as well, before it knows its rules: the authorizer refuses a resource.
    #[must_use]
    pub fn may_be_early(&self) -> bool {
        matches!(self, Self::Denied(Denial { by: DeniedBy::Rbac, action: Some(action), caller: Some(_), .. }) if !action.contains(" /"))
    }

    /// Whether the service has let the caller in and looked at what is asked.
    #[must_use]
    pub fn is_of_served(&self) -> bool {
        !(self.is_denied() || self.passes() || matches!(self, Self::Throttled | Self::Credentials(_)))
    }

    /// Whether the same call may succeed a moment later, with nothing changed.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Transient
                | Self::NoConnection
                | Self::Timeout
                | Self::Token(TokenFault::Keys)
                // A webhook that starts again.
                | Self::Admission(Admission::BrokenWebhook(_))
        )
    }
}

impl CallError {
    /// A failure without a request id.
    #[must_use]
    pub fn new(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into(), request_id: None, retry_after: None, is_foreign: false }
    }

    /// The call was not sent.
    #[must_use]
    pub fn not_sent(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, "NotSent", message)
    }

    /// An answer in an unknown form: the same call gets the same one.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, "UnreadableAnswer", message)
    }

    /// The messages of an error and its sources, outermost first, each once.
    #[must_use]
    pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
        let mut messages: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let message = error.to_string();
            // Some errors repeat their source's text in their own.
            if !messages.iter().any(|shown| shown.contains(&message)) {
                messages.push(message);
            }
            next = error.source();
        }
        messages.join(": ")
    }
}

/// The most characters that are shown of a message: IAM's longest, which name a user, a role and its path, have some hundreds.
const LONGEST_MESSAGE: usize = 2000;
/// The same of a code and of a request's id.
const LONGEST_CODE: usize = 128;

/// One line, however much the service said.
impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", bounded(&self.code, LONGEST_CODE), bounded(&self.message, LONGEST_MESSAGE))?;
        self.request_id.as_ref().map_or(Ok(()), |id| write!(f, " (request id {})", bounded(id, LONGEST_CODE)))
    }
}

impl std::error::Error for CallError {}

/// A call that failed, and what it was to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to {doing}")]
pub struct Failed {
    /// What was being done to which thing.
    pub doing: String,
    /// The call as permissions name it: `iam:GetRole`, `kubernetes:get serviceaccounts`.
    pub call: &'static str,
    /// Why.
    #[source]
    pub source: CallError,
}

impl Failed {
    /// For `map_err`: the failure of `call`, which was to do this.
    pub fn to(doing: impl Into<String>, call: &'static str) -> impl FnOnce(CallError) -> Self {
        let doing = doing.into();
        move |source| Self { doing, call, source }
    }

    /// The service that was called.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.call.split_once(':').map_or(self.call, |(service, _)| service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_says_megabytes_is_quoted_in_one_line() {
        let said = "no\n\u{1b}[31merror: nothing".repeat(100_000);
        let error = CallError { request_id: Some(said.clone()), ..CallError::new(ErrorKind::denied(), &said, said.clone()) };
        let text = error.to_string();
        assert!(text.chars().count() < 2300 && !text.contains(char::is_control), "{text:?}");
        assert!(text.starts_with("no\\n\\u{1b}[31merror: nothing"), "{text}");
    }
}
