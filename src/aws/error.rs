//! Errors of the AWS SDK and of plain AWS answers, turned into [`CallError`].

use aws_sdk_iam::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use aws_sdk_sts::operation::{assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::{
    call::{CallError, Kind},
    http::{foreign, is_refused_by_tls, is_too_large, unread},
};

/// What an SDK call failed with: code, message and request id from the service, or the chain of what went wrong on the way.
pub(super) fn of_sdk<E>(error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    let request_id = error.request_id().map(str::to_owned);
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let metadata = service.err().meta();
            match metadata.code() {
                Some(code) => {
                    let message = metadata.message().map_or_else(|| format!("HTTP status {status}"), str::to_owned);
                    CallError { request_id, ..CallError::new(kind(code, status), code, message) }
                }
                // A good answer is not shown: it may hold credentials.
                None if service.raw().status().is_success() => {
                    CallError { request_id, ..CallError::new(Kind::Transient, "UnreadableAnswer", CallError::chain(service.err())) }
                }
                None => CallError { request_id, ..foreign(status, service.raw().body().bytes().unwrap_or_default()) },
            }
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let message = format!("HTTP status {status}: {}", CallError::chain(error));
            CallError { request_id, ..CallError::new(Kind::Transient, "UnreadableAnswer", message) }
        }
        SdkError::TimeoutError(_) => CallError::new(Kind::Transient, "Timeout", CallError::chain(error)),
        SdkError::DispatchFailure(dispatch) => of_dispatch(dispatch, error),
        _ => CallError::new(Kind::Other, "NotSent", CallError::chain(error)),
    }
}

fn of_dispatch<E>(dispatch: &aws_smithy_runtime_api::client::result::DispatchFailure, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let chain = CallError::chain(error);
    let chain = chain.strip_prefix("dispatch failure: ").unwrap_or(&chain).to_owned();
    let connector = dispatch.as_connector_error();
    if connector.is_some_and(|connector| is_refused_by_tls(connector)) {
        CallError::new(Kind::Other, "UntrustedCertificate", chain)
    } else if let Some(connector) = connector.filter(|connector| is_too_large(*connector)) {
        unread(connector)
    } else if dispatch.is_io() || dispatch.is_timeout() {
        CallError::new(Kind::Transient, "NoConnection", chain)
    } else {
        // Before anything is sent the SDK asks for credentials.
        CallError::new(Kind::Unauthenticated, "NoCredentials", refused_by_sts(error).unwrap_or(chain))
    }
}

/// In STS's own words, why it gave no credentials for a role that was to be assumed.
fn refused_by_sts(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let of_role = error.downcast_ref::<AssumeRoleError>().map(ProvideErrorMetadata::meta);
        let metadata = of_role.or_else(|| error.downcast_ref::<AssumeRoleWithWebIdentityError>().map(ProvideErrorMetadata::meta));
        if let Some(metadata) = metadata {
            return Some(format!("{}: {}", metadata.code()?, metadata.message()?));
        }
        next = error.source();
    }
    None
}

/// What a code means; where it says nothing, the status does.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>
pub(super) fn kind(code: &str, status: u16) -> Kind {
    match code {
        "NoSuchEntity" | "ResourceNotFoundException" => Kind::NotFound,
        "EntityAlreadyExists" => Kind::AlreadyExists,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "SlowDown" => Kind::Throttled,
        // Once returned by calls that do not declare it.
        "ConcurrentModification"
        | "ConcurrentModificationException"
        | "ServiceFailure"
        | "ServiceUnavailable"
        | "InternalFailure"
        | "InternalError"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "IDPCommunicationError"
        | "ServerException" => Kind::Transient,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => Kind::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "OptInRequired" => Kind::Unauthenticated,
        _ if status == 429 => Kind::Throttled,
        _ if status >= 500 => Kind::Transient,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_and_unknown_ones_by_their_status() {
        for (code, status, expected) in [
            ("NoSuchEntity", 404, Kind::NotFound),
            ("EntityAlreadyExists", 409, Kind::AlreadyExists),
            ("Throttling", 400, Kind::Throttled),
            ("ConcurrentModification", 409, Kind::Transient),
            ("AccessDenied", 403, Kind::Denied),
            ("LimitExceeded", 409, Kind::Other),
            ("DeleteConflict", 409, Kind::Other),
            ("Unheard", 503, Kind::Transient),
            ("Unheard", 429, Kind::Throttled),
            ("Unheard", 400, Kind::Other),
        ] {
            assert_eq!(kind(code, status), expected, "{code} {status}");
        }
    }
}
