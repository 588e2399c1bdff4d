//! Errors of `kube`, turned into [`CallError`].

use crate::{
    call::{CallError, Kind},
    http::{foreign, is_refused_by_tls, is_too_large, unread},
};

/// What a call failed with: reason and message of the API server, or the chain of what went wrong on the way.
pub(super) fn of_kube(error: &kube::Error) -> CallError {
    match error {
        // What kube says of an error that is no `Status`, and what it takes for one since no field of it is required.
        kube::Error::Api(status) if status.reason == "Failed to parse error data" => no_status(status.code, &status.message),
        kube::Error::Api(status) if !status.is_failure() => {
            CallError { kind: Kind::Transient, ..foreign(status.code, status.message.as_bytes()) }
        }
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

/// An error that is no `Status`. What the API server says when it is asked too much or fails in itself is plain text; a page is not its own.
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/server/filters/maxinflight.go>
fn no_status(code: u16, body: &str) -> CallError {
    let error = foreign(code, body.as_bytes());
    let plain = !body.trim_start().starts_with(['<', '{']) && matches!(error.kind, Kind::Throttled | Kind::Transient);
    if plain { CallError { code: format!("HTTP status {code}"), message: body.trim().to_owned(), ..error } } else { error }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str, code: u16) -> CallError {
        // As kube makes it.
        let status =
            serde_json::from_str(body).unwrap_or_else(|_| kube::core::Status::failure(body, "Failed to parse error data").with_code(code));
        of_kube(&kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn only_a_status_is_the_api_servers_word_and_plain_text_where_it_has_no_time_for_one() {
        let no =
            r#"{"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "serviceaccounts \"app\" not found"}"#;
        for (body, code, kind, said) in [
            (no, 404, Kind::NotFound, r#"NotFound: serviceaccounts "app" not found"#),
            (
                "Too many requests, please try again later.\n",
                429,
                Kind::Throttled,
                "HTTP status 429: Too many requests, please try again later.",
            ),
            ("404 page not found\n", 404, Kind::Other, "ForeignAnswer: HTTP status 404: 404 page not found"),
            ("<html>no</html>", 403, Kind::Other, "ForeignAnswer: HTTP status 403: <html>no</html>"),
            ("<html>no</html>", 503, Kind::Transient, "ForeignAnswer: HTTP status 503: <html>no</html>"),
            ("", 404, Kind::Other, "ForeignAnswer: HTTP status 404: no body"),
            (r#"{"code": 404, "message": "no route"}"#, 404, Kind::Transient, "ForeignAnswer: HTTP status 404: no route"),
        ] {
            let error = of(body, code);
            assert_eq!((error.kind, error.to_string().as_str()), (kind, said), "{body}");
        }
    }
}
