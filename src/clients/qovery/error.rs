//! Answers of Qovery that are none, turned into [`CallError`].

use std::time::Duration;

use serde::Deserialize;

use crate::{
    clients::{
        call::{CallError, CredentialFault, ErrorKind, Missing},
        http::{foreign, is_refused_by_tls},
    },
    model::line::bounded,
};

/// The body of a refusal: `error` is the status in words, `message` or `detail` the reason.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Option<String>,
    message: Option<String>,
    detail: Option<String>,
}

/// What the API said no with.
pub(super) fn refused(status: u16, retry_after: Option<&str>, body: &[u8]) -> CallError {
    let retry_after = retry_after.and_then(seconds);
    let said = match serde_json::from_slice::<Refusal>(body) {
        Ok(said) => said,
        Err(_) if body.is_empty() => Refusal::default(),
        Err(_) => return CallError { retry_after, ..foreign(status, body) },
    };
    let words = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("UnknownError");
    let code = said.error.unwrap_or_else(|| words.to_owned());
    let message = [said.message, said.detail].into_iter().flatten().find(|message| !message.trim().is_empty());
    let message = message.map_or_else(|| format!("HTTP status {status}"), |message| compact(&message));
    CallError { retry_after, ..CallError::new(kind(status), &compact(&code), message) }
}

fn kind(status: u16) -> ErrorKind {
    match status {
        400 | 422 => ErrorKind::Invalid,
        401 => ErrorKind::Credentials(CredentialFault::Unsaid),
        403 => ErrorKind::denied(),
        404 => ErrorKind::NotFound(Missing::Thing),
        409 => ErrorKind::Changed,
        429 => ErrorKind::Throttled,
        408 | 500.. => ErrorKind::Transient,
        _ => ErrorKind::Other,
    }
}

/// `Retry-After` in seconds. A date is not read: then the own pause has to do.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// A message may be a whole page.
fn compact(text: &str) -> String {
    const LONGEST: usize = 500;
    bounded(&text.split_whitespace().collect::<Vec<_>>().join(" "), LONGEST)
}

/// A good status with a body that is not what it should be.
pub(super) fn unreadable(error: &serde_json::Error) -> CallError {
    CallError::new(ErrorKind::Transient, "UnreadableAnswer", error.to_string())
}

/// There was no answer.
pub(super) fn of_connection(error: &reqwest::Error) -> CallError {
    let (kind, code) = if is_refused_by_tls(error) {
        (ErrorKind::UntrustedCertificate, "UntrustedCertificate")
    } else if error.is_builder() {
        (ErrorKind::Other, "NotSent")
    } else {
        (ErrorKind::NoConnection, "NoConnection")
    };
    CallError::new(kind, code, CallError::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_in_qoverys_words() {
        let body = br#"{"timestamp":"2026-01-01T00:00:00Z","status":403,"error":"Forbidden","message":"not your environment","path":"/x"}"#;
        let error = refused(403, None, body);
        assert_eq!((error.kind.clone(), error.to_string().as_str()), (ErrorKind::denied(), "Forbidden: not your environment"));
        assert_eq!(refused(502, None, b"<html>").to_string(), "ForeignAnswer: HTTP status 502: <html>");
        assert_eq!(refused(404, None, br#"{"message":"  ","detail":"no such job"}"#).to_string(), "Not Found: no such job");
        assert_eq!(refused(400, None, format!(r#"{{"message":"{}"}}"#, "x ".repeat(2000)).as_bytes()).message.chars().count(), 501);
    }

    #[test]
    fn how_long_to_wait_is_read_where_it_is_said_in_seconds() {
        assert_eq!(refused(429, Some("3"), b"").retry_after, Some(Duration::from_secs(3)));
        assert_eq!(refused(429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), b"").retry_after, None);
        assert_eq!(refused(429, None, b"").kind, ErrorKind::Throttled);
    }

    #[test]
    fn each_status_means_something() {
        for (status, expected) in [
            (400, ErrorKind::Invalid),
            (401, ErrorKind::Credentials(CredentialFault::Unsaid)),
            (403, ErrorKind::denied()),
            (404, ErrorKind::NotFound(Missing::Thing)),
            (409, ErrorKind::Changed),
            (429, ErrorKind::Throttled),
            (500, ErrorKind::Transient),
            (503, ErrorKind::Transient),
        ] {
            assert_eq!(kind(status), expected, "{status}");
        }
    }
}
