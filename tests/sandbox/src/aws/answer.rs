//! How an answer looks on the wire: XML of the Query protocol, JSON of the REST one, each with its form of errors.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    error::AwsError,
    target::{Api, Target},
    xml,
};
use crate::service::Response;

/// What an operation came to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) body: Body,
    pub(super) changed: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// The inside of the `…Result` element; `None` for operations that have none.
    Xml(Option<String>),
    Json(Value),
}

impl Outcome {
    pub(super) fn read(result: String) -> Self {
        Self { body: Body::Xml(Some(result)), changed: false }
    }

    pub(super) fn written(result: String) -> Self {
        Self { body: Body::Xml(Some(result)), changed: true }
    }

    pub(super) fn done(changed: bool) -> Self {
        Self { body: Body::Xml(None), changed }
    }

    pub(super) fn json(body: Value, changed: bool) -> Self {
        Self { body: Body::Json(body), changed }
    }
}

pub(super) fn xml_response(target: &Target, outcome: Result<Outcome, AwsError>, id: &str) -> Response {
    let namespace = match target.api {
        Api::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        _ => "https://iam.amazonaws.com/doc/2010-05-08/",
    };
    let action = &target.action;
    let request_id = xml::text("RequestId", id);
    let (status, body) = match outcome {
        Ok(outcome) => {
            let result = match outcome.body {
                Body::Xml(result) => result.map(|it| xml::element(&format!("{action}Result"), &it)),
                Body::Json(value) => Some(value.to_string()),
            };
            let metadata = xml::element("ResponseMetadata", &request_id);
            let inner = result.unwrap_or_default() + &metadata;
            (200, format!("<{action}Response xmlns=\"{namespace}\">{inner}</{action}Response>\n"))
        }
        Err(error) => {
            let kind = if error.status < 500 { "Sender" } else { "Receiver" };
            let inner = xml::text("Type", kind) + &xml::text("Code", error.code) + &xml::text("Message", &error.message);
            let inner = xml::element("Error", &inner) + &request_id;
            (error.status, format!("<ErrorResponse xmlns=\"{namespace}\">{inner}</ErrorResponse>\n"))
        }
    };
    Response { status, content_type: "text/xml", headers: vec![("x-amzn-RequestId".to_owned(), id.to_owned())], body: Bytes::from(body) }
}

pub(super) fn json_response(outcome: Result<Outcome, AwsError>, id: &str) -> Response {
    let mut response = match outcome {
        Ok(Outcome { body: Body::Json(value), .. }) => Response::json(200, &value),
        Ok(Outcome { body: Body::Xml(_), .. }) => Response::json(200, &json!({})),
        Err(error) => {
            let mut response = Response::json(error.status, &json!({"message": error.message}));
            response.headers.push(("x-amzn-errortype".to_owned(), rest_code(error.code).to_owned()));
            response
        }
    };
    response.headers.push(("x-amzn-RequestId".to_owned(), id.to_owned()));
    response
}

/// The REST protocols name the same errors otherwise.
fn rest_code(code: &'static str) -> &'static str {
    match code {
        "AccessDenied" => "AccessDeniedException",
        "ExpiredToken" => "ExpiredTokenException",
        "IncompleteSignature" => "IncompleteSignatureException",
        "InvalidClientTokenId" => "UnrecognizedClientException",
        "MissingAuthenticationToken" => "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch" => "InvalidSignatureException",
        "ValidationError" => "InvalidParameterException",
        other => other,
    }
}
