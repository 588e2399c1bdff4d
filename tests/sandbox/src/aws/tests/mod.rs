//! The account as its clients see it: signed requests in, answers out. This file only signs and reads.

mod access;
mod associations;
mod callers;
mod eks;
mod iam;
mod managed_policies;
mod pod_identity;
mod quotas;
mod sessions;
mod sts;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::{Aws, Credentials, sigv4, time};
use crate::{
    keys::ClusterKey,
    service::{Answer, Request, Service},
};

pub(super) const ISSUER: &str = "https://oidc.eks.eu-west-3.amazonaws.com/id/A1B2";
pub(super) const HOST: &str = "oidc.eks.eu-west-3.amazonaws.com/id/A1B2";
pub(super) const PROVIDER: &str = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-3.amazonaws.com/id/A1B2";

/// Parameters of a call.
pub(super) type Pairs<'a> = &'a [(&'a str, &'a str)];

/// An account with the time and the keys its clients use.
pub(super) struct Bed {
    pub(super) aws: Aws,
    pub(super) now: SystemTime,
    pub(super) credentials: Credentials,
}

/// What came back, taken apart.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) changed: bool,
    pub(super) parameters: Value,
    pub(super) error_type: Option<String>,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self { aws: Aws::new("111122223333", "eu-west-3"), now: time::from_unix_seconds(1_795_500_000), credentials: Aws::admin() }
    }

    /// With the OIDC provider of the issuer and role `app` that trusts `team:app`.
    pub(super) fn with_role() -> Self {
        let mut bed = Self::new();
        bed.aws.trust_issuer(ISSUER, ClusterKey::first());
        bed.ok("CreateOpenIDConnectProvider", &[("Url", ISSUER), ("ClientIDList.member.1", "sts.amazonaws.com")]);
        bed.ok("CreateRole", &[("RoleName", "app"), ("Path", "/qovery/"), ("AssumeRolePolicyDocument", &trust("team:app").to_string())]);
        bed
    }

    /// A signed call of IAM, or of STS for STS's actions.
    pub(super) fn call(&mut self, action: &str, parameters: &[(&str, &str)]) -> Reply {
        let service = match action {
            "GetCallerIdentity" | "AssumeRole" => "sts",
            _ => "iam",
        };
        let mut request = query_request(action, parameters);
        sigv4::tests::sign(&mut request, &self.credentials, service, "eu-west-3", self.now);
        self.send(&request)
    }

    /// The call has to succeed; says whether it changed anything.
    pub(super) fn ok(&mut self, action: &str, parameters: &[(&str, &str)]) -> bool {
        let reply = self.call(action, parameters);
        assert_eq!(reply.status, 200, "{action}: {}", reply.text);
        reply.changed
    }

    /// The call has to fail, changing nothing; its status, code and message.
    pub(super) fn refused(&mut self, action: &str, parameters: &[(&str, &str)]) -> (u16, String, String) {
        let before = self.aws.state();
        let reply = self.call(action, parameters);
        assert!(!reply.changed && reply.status >= 400, "{action}: {}", reply.text);
        assert_eq!(self.aws.state(), before);
        (reply.status, reply.tag("Code"), reply.tag("Message"))
    }

    /// An unsigned `AssumeRoleWithWebIdentity`.
    pub(super) fn web_identity(&mut self, token: &str, more: &[(&str, &str)]) -> Reply {
        let mut parameters =
            vec![("RoleArn", "arn:aws:iam::111122223333:role/qovery/app"), ("RoleSessionName", "proof"), ("WebIdentityToken", token)];
        parameters.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        parameters.extend(more);
        self.send(&query_request("AssumeRoleWithWebIdentity", &parameters))
    }

    /// A signed call of EKS.
    pub(super) fn eks(&mut self, method: Method, path: &str, body: &Value) -> Reply {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            body: if body.is_null() { String::new() } else { body.to_string() }.into(),
        };
        sigv4::tests::sign(&mut request, &self.credentials, "eks", "eu-west-3", self.now);
        self.send(&request)
    }

    pub(super) fn send(&mut self, request: &Request) -> Reply {
        let Answer { response, changed, parameters } = self.aws.answer(request, self.now);
        let error_type = response.headers.iter().find_map(|(name, value)| (name == "x-amzn-errortype").then(|| value.clone()));
        Reply { status: response.status, text: String::from_utf8(response.body.to_vec()).unwrap(), changed, parameters, error_type }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

impl Reply {
    /// The first element of that name, its inside as sent.
    pub(super) fn tag(&self, name: &str) -> String {
        let (_, rest) = self.text.split_once(&format!("<{name}>")).unwrap_or_default();
        let (inside, _) = rest.split_once(&format!("</{name}>")).unwrap_or_default();
        inside.replace("&quot;", "\"")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The credentials of a new session.
    pub(super) fn session(&self) -> Credentials {
        assert_eq!(self.status, 200, "{}", self.text);
        Credentials {
            access_key_id: self.tag("AccessKeyId"),
            secret_access_key: self.tag("SecretAccessKey"),
            session_token: Some(self.tag("SessionToken")),
        }
    }
}

/// A trust policy for one subject, `namespace:name`.
pub(super) fn trust(subject: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {
            format!("{HOST}:aud"): "sts.amazonaws.com",
            format!("{HOST}:sub"): format!("system:serviceaccount:{subject}"),
        }},
    }]})
}

/// A token of the issuer, an hour long, with some claims changed.
pub(super) fn token(key: &ClusterKey, now: SystemTime, changes: &Value) -> String {
    let now = time::unix_seconds(now);
    let mut claims = json!({
        "iss": ISSUER,
        "aud": ["sts.amazonaws.com"],
        "sub": "system:serviceaccount:team:app",
        "iat": now,
        "exp": now + 3600,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    key.sign(&claims)
}

pub(super) fn query_request(action: &str, parameters: &[(&str, &str)]) -> Request {
    let version = match action {
        "GetCallerIdentity" | "AssumeRole" | "AssumeRoleWithWebIdentity" => "2011-06-15",
        _ => "2010-05-08",
    };
    let mut body = format!("Action={action}&Version={version}");
    for (name, value) in parameters {
        let value = utf8_percent_encode(value, sigv4::UNRESERVED);
        body = format!("{body}&{name}={value}");
    }
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    Request { method: Method::POST, path: "/".to_owned(), query: String::new(), headers, body: body.into() }
}
