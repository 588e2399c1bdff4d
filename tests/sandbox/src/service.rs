//! What a local service is: a state machine that answers one parsed request at a time.
//!
//! Sockets, TLS, faults, latency and the record of calls are in `server.rs`, `faults.rs` and `witness.rs`; a service knows none of them.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// One HTTP request, read to its end.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as sent, still percent-encoded, without the query.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: String,
    /// The headers, `host` among them.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Request {
    /// The value of a header, or the empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The query as decoded pairs, in order.
    #[must_use]
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        form_pairs(&self.query)
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_pairs().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The segments of the path, each decoded on its own.
    #[must_use]
    pub fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|part| !part.is_empty()).map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
    }
}

/// Decodes `a=b&c=d` (`application/x-www-form-urlencoded`).
#[must_use]
pub fn form_pairs(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').map_or_else(|| (decode(pair), String::new()), |(key, value)| (decode(key), decode(value))))
        .collect()
}

/// One HTTP answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The `content-type`.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// An answer of JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", headers: Vec::new(), body: Bytes::from(body.to_string()) }
    }
}

/// What a service made of a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What goes back to the client.
    pub response: Response,
    /// Whether the state changed. A repeated attach, an apply that changes nothing and a dry run are `false`.
    pub changed: bool,
    /// The parameters as understood, for the witness.
    pub parameters: Value,
}

/// A local service: state and the rules of one API.
pub trait Service: Send {
    /// The name of the operation without doing it, as the API's own documents call it:
    /// `iam:CreateRole`, `sts:AssumeRoleWithWebIdentity`, `eks:DescribeCluster`;
    /// for Kubernetes verb, resource and subresource as in RBAC: `kubernetes:patch serviceaccounts`,
    /// `kubernetes:create serviceaccounts/token`, `kubernetes:get /version`.
    fn operation(&self, request: &Request) -> String;

    /// Does it. What is not implemented answers 501.
    fn answer(&mut self, request: &Request, now: SystemTime) -> Answer;

    /// A copy of the state as it is now, from which a stale read is answered later.
    fn snapshot(&self) -> Box<dyn Service>;
}
