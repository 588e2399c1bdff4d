//! Errors of `kube`, turned into [`CallError`].

use kube::core::Status;

use super::words;
use crate::clients::{
    call::{CallError, CredentialFault, ErrorKind, HeldField, Missing},
    http::{foreign, is_refused_by_tls, is_too_large, unread},
};

/// What a call failed with: reason and message of the API server, or the chain of what went wrong on the way.
pub(super) fn of_kube(error: &kube::Error) -> CallError {
    match error {
        // What kube says of an error that is no `Status`, and what it takes for one since no field of it is required.
        kube::Error::Api(status) if status.reason == "Failed to parse error data" => no_status(status.code, &status.message),
        kube::Error::Api(status) if !status.is_failure() => {
            CallError { kind: ErrorKind::Transient, ..foreign(status.code, status.message.as_bytes()) }
        }
        kube::Error::Api(status) => {
            let reason = if status.reason.is_empty() { format!("HTTP status {}", status.code) } else { status.reason.clone() };
            let retry_after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
            CallError {
                retry_after: retry_after.map(|seconds| std::time::Duration::from_secs(seconds.into())),
                ..CallError::new(kind(status), &reason, status.message.clone())
            }
        }
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
            CallError::new(ErrorKind::Transient, "UnreadableAnswer", CallError::chain(error))
        }
        kube::Error::Auth(_) => CallError::new(ErrorKind::Credentials(CredentialFault::None), "NoCredentials", CallError::chain(error)),
        _ if is_too_large(error) => unread(error),
        _ if is_refused_by_tls(error) => CallError::new(ErrorKind::UntrustedCertificate, "UntrustedCertificate", CallError::chain(error)),
        kube::Error::HyperError(_) | kube::Error::Service(_) => {
            CallError::new(ErrorKind::NoConnection, "NoConnection", CallError::chain(error))
        }
        _ => CallError::not_sent(CallError::chain(error)),
    }
}

/// An error that is no `Status`. What the API server says when it is asked too much or fails in itself is plain text; a page is not its own.
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/server/filters/maxinflight.go>
fn no_status(code: u16, body: &str) -> CallError {
    let error = foreign(code, body.as_bytes());
    let plain = !body.trim_start().starts_with(['<', '{']) && matches!(error.kind, ErrorKind::Throttled | ErrorKind::Transient);
    if plain {
        CallError { code: format!("HTTP status {code}"), message: body.trim().to_owned(), is_foreign: false, ..error }
    } else {
        error
    }
}

/// The fields that other managers hold and the apply would change.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>
fn held(status: &Status) -> Vec<HeldField> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let held = causes.filter(|cause| cause.reason == "FieldManagerConflict");
    held.map(|cause| HeldField { manager: words::manager(&cause.message), field: cause.field.clone() }).collect()
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/>
fn kind(status: &Status) -> ErrorKind {
    let held = held(status);
    match (status.reason.as_str(), status.code) {
        (_, 404) => ErrorKind::NotFound(match status.details.as_ref().map(|details| details.kind.as_str()) {
            Some("namespaces") => Missing::Namespace,
            _ => Missing::Thing,
        }),
        ("AlreadyExists", _) => ErrorKind::AlreadyExists,
        (_, 409) if !held.is_empty() => ErrorKind::Held(held),
        // With the uid of another object, or of one that is gone.
        (_, 409) if words::is_of_uid(&status.message) => ErrorKind::Changed,
        (_, 401) => ErrorKind::Credentials(CredentialFault::Unsaid),
        (_, 429) => ErrorKind::Throttled,
        (_, 403) if is_terminating(status) => ErrorKind::Admission(crate::clients::call::Admission::Terminating),
        (_, 403) => {
            words::denial(&status.message).map_or_else(|| ErrorKind::Admission(words::admission(&status.message)), ErrorKind::Denied)
        }
        // A webhook or a policy refuses with the code that it likes.
        (_, 400 | 422) => words::refusal(&status.message).map_or(ErrorKind::Invalid, ErrorKind::Admission),
        // What is asked by the API server itself does not answer, or fails.
        (_, 500..) if words::refusal(&status.message).is_some_and(|refusal| refusal.is_broken()) => {
            words::refusal(&status.message).map_or(ErrorKind::Transient, ErrorKind::Admission)
        }
        // 409: the object was changed at the same moment.
        (_, 409 | 500..) => ErrorKind::Transient,
        _ => ErrorKind::Other,
    }
}

/// Whether the namespace is being deleted. It shows in a cause, as well as in the message.
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go>
fn is_terminating(status: &Status) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_authorizers_refusal_of_a_resource_may_be_that_of_a_server_that_starts() {
        for (message, early) in [
            (
                r#"serviceaccounts \"x\" is forbidden: User \"job\" cannot get resource \"serviceaccounts\" in API group \"\" in the namespace \"z\""#,
                true,
            ),
            (r#"forbidden: User \"job\" cannot get path \"/.well-known/openid-configuration\""#, false),
            (r#"serviceaccounts \"x\" is forbidden: "#, false),
            (r#"serviceaccounts \"x\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'a' denied request: no"#, false),
            (r#"pods \"x\" is forbidden: exceeded quota: q"#, false),
        ] {
            let body = format!(r#"{{"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "{message}"}}"#);
            assert_eq!(of(&body, 403).kind.may_be_early(), early, "{message}");
        }
    }

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
            (no, 404, ErrorKind::NotFound(Missing::Thing), r#"NotFound: serviceaccounts "app" not found"#),
            (
                "Too many requests, please try again later.\n",
                429,
                ErrorKind::Throttled,
                "HTTP status 429: Too many requests, please try again later.",
            ),
            ("404 page not found\n", 404, ErrorKind::Other, "ForeignAnswer: HTTP status 404: 404 page not found"),
            ("<html>no</html>", 403, ErrorKind::Other, "ForeignAnswer: HTTP status 403: <html>no</html>"),
            ("<html>no</html>", 503, ErrorKind::Transient, "ForeignAnswer: HTTP status 503: <html>no</html>"),
            ("", 404, ErrorKind::Other, "ForeignAnswer: HTTP status 404: no body"),
            (r#"{"code": 404, "message": "no route"}"#, 404, ErrorKind::Transient, "ForeignAnswer: HTTP status 404: no route"),
        ] {
            let error = of(body, code);
            assert_eq!((error.kind.clone(), error.to_string().as_str()), (kind, said), "{body}");
        }
    }
}
