//! The error bodies of the three protocols: how to write one, and how to read the code of one.
//!
//! Used for injected faults and by the witness. What error a request deserves is decided in the services.

use serde_json::{Value, json};

use bytes::Bytes;

use crate::{qovery, service::Response};

/// How a service words an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IAM: the Query protocol, XML.
    Iam,
    /// STS: the Query protocol, XML.
    Sts,
    /// EKS and EKS Auth: REST JSON, the code in a header.
    Eks,
    /// Kubernetes: a `Status` object.
    Kubernetes,
    /// Qovery: what its framework makes of an error.
    Qovery,
}

impl Protocol {
    /// The protocol of an operation, by the service before its colon; IAM's for a name of no known service.
    #[must_use]
    pub fn of(operation: &str) -> Self {
        match operation.split(':').next() {
            Some("sts") => Self::Sts,
            Some("eks" | "eks-auth") => Self::Eks,
            Some("kubernetes") => Self::Kubernetes,
            Some("qovery") => Self::Qovery,
            _ => Self::Iam,
        }
    }

    /// An error answer.
    #[must_use]
    pub fn error(self, status: u16, code: &str, message: &str) -> Response {
        match self {
            Self::Iam => xml("https://iam.amazonaws.com/doc/2010-05-08/", status, code, message),
            Self::Sts => xml("https://sts.amazonaws.com/doc/2011-06-15/", status, code, message),
            Self::Eks => {
                let mut response = Response::json(status, &json!({ "message": message }));
                response.headers.push(("x-amzn-errortype".into(), code.to_owned()));
                response.headers.push(("x-amzn-requestid".into(), REQUEST_ID.into()));
                response
            }
            // The code is the status in words.
            Self::Qovery => qovery::refusal(status, message, ""),
            Self::Kubernetes => Response::json(
                status,
                &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": code, "code": status }),
            ),
        }
    }

    /// The answer to a caller who asks too often.
    #[must_use]
    pub fn throttled(self) -> Response {
        match self {
            Self::Iam | Self::Sts => self.error(400, "Throttling", "Rate exceeded"),
            Self::Eks => self.error(429, "ThrottlingException", "Rate exceeded"),
            Self::Qovery => {
                let mut response = self.error(429, "", "too many requests");
                response.headers.push(("retry-after".into(), "1".into()));
                response
            }
            Self::Kubernetes => {
                let mut response = Response::json(
                    429,
                    &json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "Too many requests, please try again later.", "reason": "TooManyRequests",
                        "details": { "retryAfterSeconds": 1 }, "code": 429
                    }),
                );
                response.headers.push(("retry-after".into(), "1".into()));
                response
            }
        }
    }
}

/// The request id of every injected error.
pub const REQUEST_ID: &str = "00000000-0000-4000-8000-00000000fa17";

fn xml(namespace: &str, status: u16, code: &str, message: &str) -> Response {
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let body = format!(
        "<ErrorResponse xmlns=\"{namespace}\">\n  <Error>\n    <Type>{fault}</Type>\n    <Code>{}</Code>\n    <Message>{}</Message>\n  </Error>\n  <RequestId>{REQUEST_ID}</RequestId>\n</ErrorResponse>\n",
        escaped(code),
        escaped(message)
    );
    Response { status, content_type: "text/xml", headers: vec![("x-amzn-requestid".into(), REQUEST_ID.into())], body: Bytes::from(body) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The error code of an answer, whichever protocol it is in; nothing for an answer below 400.
#[must_use]
pub fn code(response: &Response) -> Option<String> {
    if response.status < 400 {
        return None;
    }
    let header = response
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-amzn-errortype"))
        .and_then(|(_, value)| value.split(':').next())
        .map(str::to_owned);
    header.or_else(|| {
        let text = std::str::from_utf8(&response.body).ok()?;
        if let Ok(body) = serde_json::from_str::<Value>(text) {
            let named = ["reason", "__type", "code", "error"].into_iter().find_map(|key| body.get(key))?;
            return named.as_str().map(str::to_owned);
        }
        let (_, rest) = text.split_once("<Code>")?;
        rest.split_once("</Code>").map(|(code, _)| code.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_worded_by_protocol_and_its_code_read_back() {
        for (operation, status, code_wanted, content_type) in [
            ("iam:CreateRole", 409, "ConcurrentModification", "text/xml"),
            ("sts:AssumeRole", 500, "ServiceFailure", "text/xml"),
            ("eks:DescribeCluster", 503, "ServiceUnavailableException", "application/json"),
            ("kubernetes:get pods", 500, "InternalError", "application/json"),
        ] {
            let response = Protocol::of(operation).error(status, code_wanted, "a < b & c");
            assert_eq!(code(&response).as_deref(), Some(code_wanted), "{operation}");
            assert_eq!((response.status, response.content_type), (status, content_type));
        }
    }

    #[test]
    fn throttling_is_worded_by_protocol() {
        for (operation, status, code_wanted) in [
            ("iam:CreateRole", 400, "Throttling"),
            ("sts:GetCallerIdentity", 400, "Throttling"),
            ("eks:DescribeCluster", 429, "ThrottlingException"),
            ("eks-auth:AssumeRoleForPodIdentity", 429, "ThrottlingException"),
            ("kubernetes:get pods", 429, "TooManyRequests"),
        ] {
            let response = Protocol::of(operation).throttled();
            assert_eq!((response.status, code(&response).as_deref()), (status, Some(code_wanted)));
        }
    }

    #[test]
    fn a_success_has_no_code() {
        assert_eq!(code(&Response::json(200, &json!({ "code": "x" }))), None);
    }
}
