//! Errors of `kube`, turned into [`CallError`].

use crate::{
    call::{CallError, Kind},
    http::{foreign, is_refused_by_tls, is_too_large, unread},
};

/// What a call failed with: reason and message of the API server, or the chain of what went wrong on the way.
pub(super) fn of_kube(error: &kube::Error) -> CallError {
    match error {
        // What kube says of an error that is no `Status`.
        kube::Error::Api(status) if status.reason == "Failed to parse error data" => foreign(status.code, status.message.as_bytes()),
        kube::Error::Api(status) => {
            let reason = if status.reason.is_empty() { format!("HTTP status {}", status.code) } else { status.reason.clone() };
            let retry_after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
            CallError {
                retry_after: retry_after.map(|seconds| std::time::Duration::from_secs(seconds.into())),
                ..CallError::new(kind(&reason, status.code, is_held(status)), &reason, status.message.clone())
            }
        }
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
            CallError::new(Kind::Transient, "UnreadableAnswer", CallError::chain(error))
        }
        kube::Error::Auth(_) => CallError::new(Kind::Unauthenticated, "NoCredentials", CallError::chain(error)),
        _ if is_too_large(error) => unread(error),
        _ if is_refused_by_tls(error) => CallError::new(Kind::Other, "UntrustedCertificate", CallError::chain(error)),
        kube::Error::HyperError(_) | kube::Error::Service(_) => CallError::new(Kind::Transient, "NoConnection", CallError::chain(error)),
        _ => CallError::new(Kind::Other, "NotSent", CallError::chain(error)),
    }
}

/// Whether another field manager holds what an apply would change.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>
fn is_held(status: &kube::core::Status) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "FieldManagerConflict")
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/>
fn kind(reason: &str, code: u16, held: bool) -> Kind {
    match (reason, code) {
        (_, 404) => Kind::NotFound,
        ("AlreadyExists", _) => Kind::AlreadyExists,
        (_, 409) if held => Kind::Held,
        (_, 403) => Kind::Denied,
        (_, 401) => Kind::Unauthenticated,
        (_, 429) => Kind::Throttled,
        // 409: the object was changed at the same moment.
        (_, 409 | 500..) => Kind::Transient,
        _ => Kind::Other,
    }
}
