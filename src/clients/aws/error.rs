//! Errors of the AWS SDK and of plain AWS answers, turned into [`CallError`].

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_iam::{
    error::{ErrorMetadata, ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use aws_sdk_sts::operation::{assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::DispatchFailure};

use super::words;
use crate::clients::{
    call::{CallError, CredentialFault, Denial, ErrorKind, Missing, PodFault, TokenFault},
    http::{foreign, is_plain, is_refused_by_tls, is_too_large, unread},
};

/// What an SDK call failed with: code, message and request id from the service, or the chain of what went wrong on the way.
pub(super) fn of_sdk<E>(error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    let failure = match error {
        SdkError::ServiceError(service) => Failure::Answered(service.raw(), service.err().meta(), service.err()),
        SdkError::ResponseError(response) => Failure::Unread(response.raw()),
        SdkError::TimeoutError(_) => Failure::Late,
        SdkError::DispatchFailure(dispatch) => Failure::Undelivered(dispatch),
        _ => Failure::Unsent,
    };
    CallError { request_id: error.request_id().map(str::to_owned), ..of_failure(&failure, error) }
}

/// How a call failed, without the type that each call has for its errors: what reads it is compiled once.
enum Failure<'a> {
    Answered(&'a HttpResponse, &'a ErrorMetadata, &'a (dyn std::error::Error + 'static)),
    Unread(&'a HttpResponse),
    Late,
    Undelivered(&'a DispatchFailure),
    Unsent,
}

fn of_failure(failure: &Failure<'_>, error: &(dyn std::error::Error + 'static)) -> CallError {
    match failure {
        Failure::Answered(answer, metadata, error) => {
            let status = answer.status().as_u16();
            match metadata.code() {
                Some(code) => {
                    let message = metadata.message().map_or_else(|| format!("HTTP status {status}"), str::to_owned);
                    CallError::new(kind(code, status, &message), code, message)
                }
                // A good answer is not shown: it may hold credentials.
                None if answer.status().is_success() => CallError::new(ErrorKind::Transient, "UnreadableAnswer", CallError::chain(*error)),
                None => foreign(status, answer.body().bytes().unwrap_or_default()),
            }
        }
        Failure::Unread(answer) => {
            let message = format!("HTTP status {}: {}", answer.status().as_u16(), CallError::chain(error));
            CallError::new(ErrorKind::Transient, "UnreadableAnswer", message)
        }
        Failure::Late => CallError::new(ErrorKind::Timeout, "Timeout", CallError::chain(error)),
        Failure::Undelivered(dispatch) => of_dispatch(dispatch, error),
        Failure::Unsent => CallError::not_sent(CallError::chain(error)),
    }
}

fn of_dispatch(dispatch: &DispatchFailure, error: &(dyn std::error::Error + 'static)) -> CallError {
    let chain = CallError::chain(error);
    let chain = chain.strip_prefix("dispatch failure: ").unwrap_or(&chain).to_owned();
    let connector = dispatch.as_connector_error();
    if connector.is_some_and(|connector| is_refused_by_tls(connector)) {
        CallError::new(ErrorKind::UntrustedCertificate, "UntrustedCertificate", chain)
    } else if connector.is_some_and(|connector| is_plain(connector)) {
        CallError::new(ErrorKind::NoTls, "NoTls", chain)
    } else if let Some(connector) = connector.filter(|connector| is_too_large(*connector)) {
        unread(connector)
    } else if dispatch.is_timeout() {
        CallError::new(ErrorKind::Timeout, "NoConnection", chain)
    } else if dispatch.is_io() {
        CallError::new(ErrorKind::NoConnection, "NoConnection", chain)
    } else {
        // Before anything is sent the SDK asks for credentials.
        no_credentials(error)
    }
}

/// Why the SDK has no credentials: in STS's own words if STS gave none, else in a line that says what was tried.
pub(super) fn no_credentials(error: &(dyn std::error::Error + 'static)) -> CallError {
    if is_plain(error) {
        return CallError::new(ErrorKind::NoTls, "NoTls", CallError::chain(error));
    }
    if let Some(Refused { code, message, by_web_identity }) = refused_by_sts(error) {
        let kind = match kind(&code, 400, &message) {
            // The keys of the issuer of the job's own token are fetched as late as those of any other.
            kind @ (ErrorKind::Token(TokenFault::Keys)
            | ErrorKind::Transient
            | ErrorKind::Throttled
            | ErrorKind::RegionDisabled
            | ErrorKind::Credentials(_)) => kind,
            ErrorKind::Denied(_) if by_web_identity => ErrorKind::Credentials(CredentialFault::OwnTrust),
            ErrorKind::Denied(_) => ErrorKind::Credentials(CredentialFault::AssumeRole),
            ErrorKind::Token(TokenFault::NoProvider | TokenFault::Audience) => ErrorKind::Credentials(CredentialFault::OwnProvider),
            _ => ErrorKind::Credentials(CredentialFault::Unsaid),
        };
        return CallError::new(kind, "NoCredentials", format!("{code}: {message}"));
    }
    if let Some(source) = left_out(&CallError::chain(error)) {
        let message = format!("the AWS profile takes its credentials from {source}, which this build does not support");
        return CallError::new(ErrorKind::Credentials(CredentialFault::Unsupported), "UnsupportedProfile", message);
    }
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => {
                let message = "no AWS credentials were found: not in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, in no profile, in no \
                               token file (`AWS_WEB_IDENTITY_TOKEN_FILE`), and no container or instance gave any";
                return CallError::new(ErrorKind::Credentials(CredentialFault::None), "NoCredentials", message);
            }
            Some(CredentialsError::ProviderTimedOut(_)) => {
                return CallError::new(ErrorKind::Timeout, "NoCredentials", CallError::chain(error));
            }
            Some(_) => break,
            None => next = error.source(),
        }
    }
    CallError::new(ErrorKind::Credentials(CredentialFault::Unsaid), "NoCredentials", CallError::chain(next.unwrap_or(error)))
}

/// The source of credentials that a profile names and that was left out of this build: the cargo feature `laptop` brings it.
///
/// The SDK has a type for it, but wraps only its text:
/// <https://docs.rs/aws-config/latest/aws_config/profile/credentials/enum.ProfileFileError.html>
fn left_out(chain: &str) -> Option<&'static str> {
    let (_, feature) = chain.split_once("requires following cargo feature(s) enabled: ")?;
    let known = [
        ("sso", "IAM Identity Center (SSO)"),
        ("credentials-process", "a program (`credential_process`)"),
        ("credentials-login", "`aws login` (`login_session`)"),
    ];
    Some(known.into_iter().find(|(name, _)| feature.starts_with(name)).map_or("something", |(_, source)| source))
}

/// In STS's own words, why it gave no credentials for a role that was to be assumed.
struct Refused {
    code: String,
    message: String,
    /// Whether the token of a ServiceAccount was shown, and no key.
    by_web_identity: bool,
}

fn refused_by_sts(error: &(dyn std::error::Error + 'static)) -> Option<Refused> {
    let mut next = Some(error);
    while let Some(error) = next {
        let of_role = error.downcast_ref::<AssumeRoleError>().map(ProvideErrorMetadata::meta);
        let metadata = of_role.or_else(|| error.downcast_ref::<AssumeRoleWithWebIdentityError>().map(ProvideErrorMetadata::meta));
        if let Some(metadata) = metadata {
            let (code, message) = (metadata.code()?.to_owned(), metadata.message()?.to_owned());
            return Some(Refused { code, message, by_web_identity: of_role.is_none() });
        }
        next = error.source();
    }
    None
}

/// What a code means; where it says nothing, the status does.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>
pub(crate) fn kind(code: &str, status: u16, message: &str) -> ErrorKind {
    match code {
        "NoSuchEntity" => ErrorKind::NotFound(words::missing(message)),
        // The second is that of tags in EKS.
        "ResourceNotFoundException" | "NotFoundException" => ErrorKind::NotFound(Missing::Thing),
        "EntityAlreadyExists" | "ResourceInUseException" => ErrorKind::AlreadyExists,
        "DeleteConflict" => ErrorKind::InUse,
        "LimitExceeded" | "LimitExceededException" | "ResourceLimitExceededException" => ErrorKind::Quota(words::quota(message)),
        "MalformedPolicyDocument" => ErrorKind::Document(words::document_fault(message)),
        "UnmodifiableEntity" | "PolicyNotAttachable" => ErrorKind::Protected,
        "InvalidParameterException" => words::role_fault(message).map_or(ErrorKind::Invalid, ErrorKind::Role),
        "InvalidRequestException" if words::is_of_add_on(message) => ErrorKind::Protected,
        "InvalidInput" | "ValidationError" | "InvalidRequestException" | "BadRequestException" => ErrorKind::Invalid,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "SlowDown" => ErrorKind::Throttled,
        // The first two are returned by calls that do not declare them; the next two of an issuer that is new.
        "ConcurrentModification"
        | "ConcurrentModificationException"
        | "OpenIdIdpCommunicationError"
        | "IDPCommunicationError"
        | "ServiceFailure"
        | "ServiceUnavailable"
        | "InternalFailure"
        | "InternalError"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServerException" => ErrorKind::Transient,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
            words::role_fault(message).map_or_else(|| ErrorKind::Denied(words::denial(message)), ErrorKind::Role)
        }
        "ExpiredToken" | "ExpiredTokenException" => ErrorKind::Credentials(CredentialFault::Expired),
        "InvalidClientTokenId" | "UnrecognizedClientException" => ErrorKind::Credentials(CredentialFault::Unknown),
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature" => ErrorKind::Credentials(CredentialFault::Signature),
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => ErrorKind::Credentials(CredentialFault::None),
        "OptInRequired" => ErrorKind::Credentials(CredentialFault::Inactive),
        "InvalidIdentityToken" | "InvalidIdentityTokenException" => ErrorKind::Token(words::token_fault(message)),
        "IDPRejectedClaim" => ErrorKind::Token(TokenFault::Claims),
        "RegionDisabledException" => ErrorKind::RegionDisabled,
        "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => ErrorKind::PackedPolicyTooLarge,
        _ if status == 429 => ErrorKind::Throttled,
        _ if status >= 500 => ErrorKind::Transient,
        _ => ErrorKind::Other,
    }
}

/// Why EKS gives no session for the token of a pod: its codes mean the token where they mean credentials elsewhere.
pub(super) fn of_pod_token(error: CallError) -> CallError {
    let fault = match (&error.kind, error.code.as_str()) {
        // The job may not ask; of a role that EKS may not assume the same code names no call.
        (ErrorKind::Denied(Denial { action: Some(_), .. }), _) => return error,
        (ErrorKind::Denied(_), _) => PodFault::Role,
        (ErrorKind::NotFound(_), _) => words::missing_for_pod(&error.message),
        (ErrorKind::Credentials(CredentialFault::Expired), _) if !words::is_of_caller(&error.message) => PodFault::Expired,
        (_, "InvalidTokenException") => words::pod_token_fault(&error.message),
        (ErrorKind::Invalid | ErrorKind::Protected, "InvalidRequestException") => PodFault::State,
        _ => return error,
    };
    CallError { kind: ErrorKind::PodSession(fault), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::call::RoleFault;

    #[test]
    fn what_a_build_leaves_out_is_named_in_words_of_its_users() {
        let chain = |feature: &str| {
            format!(
                "ProfileFile provider could not be built: This behavior requires following cargo feature(s) enabled: {feature}. In order to"
            )
        };
        for (feature, source) in [
            ("sso", "IAM Identity Center (SSO)"),
            ("credentials-process", "a program (`credential_process`)"),
            ("credentials-login", "`aws login` (`login_session`)"),
            ("quantum", "something"),
        ] {
            assert_eq!(left_out(&chain(feature)), Some(source));
        }
        assert_eq!(left_out("no credentials found in chain"), None);
    }

    #[test]
    fn codes_are_told_apart_and_unknown_ones_by_their_status() {
        for (code, status, expected) in [
            ("NoSuchEntity", 404, ErrorKind::NotFound(Missing::Thing)),
            ("EntityAlreadyExists", 409, ErrorKind::AlreadyExists),
            ("Throttling", 400, ErrorKind::Throttled),
            ("ConcurrentModification", 409, ErrorKind::Transient),
            ("AccessDenied", 403, ErrorKind::denied()),
            ("LimitExceeded", 409, ErrorKind::Quota(words::quota(""))),
            ("DeleteConflict", 409, ErrorKind::InUse),
            ("ResourceInUseException", 409, ErrorKind::AlreadyExists),
            ("ResourceNotFoundException", 404, ErrorKind::NotFound(Missing::Thing)),
            ("NotFoundException", 404, ErrorKind::NotFound(Missing::Thing)),
            ("ResourceLimitExceededException", 400, ErrorKind::Quota(words::quota(""))),
            ("InvalidParameterException", 400, ErrorKind::Invalid),
            ("InvalidRequestException", 400, ErrorKind::Invalid),
            ("BadRequestException", 400, ErrorKind::Invalid),
            ("ServerException", 500, ErrorKind::Transient),
            ("ThrottlingException", 429, ErrorKind::Throttled),
            ("ExpiredToken", 403, ErrorKind::Credentials(CredentialFault::Expired)),
            ("Unheard", 503, ErrorKind::Transient),
            ("Unheard", 429, ErrorKind::Throttled),
            ("Unheard", 400, ErrorKind::Other),
        ] {
            assert_eq!(kind(code, status, ""), expected, "{code} {status}");
        }
    }

    #[test]
    fn what_eks_says_of_a_role_counts_more_than_its_code() {
        for (code, message, expected) in [
            ("InvalidParameterException", "Role provided in the request does not exist.", ErrorKind::Role(RoleFault::Missing)),
            ("InvalidParameterException", "Trust policy of role is invalid. Verify …", ErrorKind::Role(RoleFault::Trust)),
            ("InvalidParameterException", "namespace is invalid", ErrorKind::Invalid),
            ("AccessDeniedException", "Cross-account pass role is not allowed.", ErrorKind::Role(RoleFault::OtherAccount)),
            ("InvalidRequestException", "The association is owned by the add-on arn:x", ErrorKind::Protected),
            ("InvalidRequestException", "Cluster is not ACTIVE", ErrorKind::Invalid),
        ] {
            assert_eq!(kind(code, 400, message), expected, "{message}");
        }
    }

    #[test]
    fn what_eks_says_to_the_token_of_a_pod_is_told_apart() {
        let fault = |code: &str, status: u16, message: &str| of_pod_token(CallError::new(kind(code, status, message), code, message)).kind;
        let denied = "User: arn:aws:iam::123456789012:user/job is not authorized to perform: eks-auth:AssumeRoleForPodIdentity on resource: x because no identity-based policy allows it";
        assert!(fault("AccessDeniedException", 400, denied).is_denied());
        for (code, status, message, expected) in [
            (
                "AccessDeniedException",
                400,
                "Unauthorized Exception! EKS does not have permissions to assume the associated role.",
                PodFault::Role,
            ),
            ("ResourceNotFoundException", 404, "No association found for service account z1/app in cluster demo", PodFault::Association),
            ("ResourceNotFoundException", 404, "No cluster found for name: demo.", PodFault::Cluster),
            (
                "ExpiredTokenException",
                400,
                "The token included in the request is expired: current date/time 2025-07-06T07:02:09Z must be before the expiration date/time 2025-07-06T04:16:18Z.",
                PodFault::Expired,
            ),
            ("InvalidTokenException", 400, "The token is not bound to a pod", PodFault::Unbound),
            ("InvalidTokenException", 400, "The audience of the token is wrong", PodFault::Audience),
            ("InvalidTokenException", 400, "Service account token cannot be parsed", PodFault::Token),
            ("InvalidRequestException", 400, "Cluster is not ACTIVE", PodFault::State),
        ] {
            assert_eq!(fault(code, status, message), ErrorKind::PodSession(expected), "{message}");
        }
        let own = fault("ExpiredTokenException", 400, "The security token included in the request is expired");
        assert_eq!(own, ErrorKind::Credentials(CredentialFault::Expired));
        assert_eq!(fault("ThrottlingException", 429, ""), ErrorKind::Throttled);
        assert_eq!(fault("InternalServerException", 500, ""), ErrorKind::Transient);
    }
}
