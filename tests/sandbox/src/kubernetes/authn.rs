//! Who is calling: static tokens, tokens of a `ServiceAccount`, tokens of IAM that the control plane knows, nobody.

use std::{collections::BTreeMap, time::SystemTime};

use serde_json::{Value, json};

use super::{API_AUDIENCE, Kubernetes, resources::by_plural, status::Failure, store::unix_seconds};
use crate::service::Request;

/// The group of all whom the API knows.
pub(super) const AUTHENTICATED: &str = "system:authenticated";
/// The group of all others.
pub(super) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// A caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name that bindings know.
    pub name: String,
    /// Who it is behind the name; may be empty.
    pub uid: String,
    /// The groups, without those that the API adds.
    pub groups: Vec<String>,
    /// What else the authenticator tells.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub(super) fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// As reviews show it.
    pub(super) fn document(&self) -> Value {
        let mut document = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            document["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            document["extra"] = json!(self.extra);
        }
        document
    }
}

impl Kubernetes {
    /// The caller of a request, or 401.
    pub(super) fn authenticate(&self, request: &Request, now: SystemTime) -> Result<User, Failure> {
        let header = request.header("authorization").trim();
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        };
        if token.is_empty() {
            return Ok(User::anonymous());
        }
        match self.identify(token, &[API_AUDIENCE.to_owned()], now) {
            Ok((user, _)) => Ok(user),
            Err(_) => Err(Failure::unauthorized()),
        }
    }

    /// The owner of a token and those of the audiences it is for, or why it is refused.
    pub(super) fn identify(&self, token: &str, audiences: &[String], now: SystemTime) -> Result<(User, Vec<String>), String> {
        if let Some(claims) = self.key.verify(token) {
            return self.service_account(&claims, audiences, now).map_err(|why| format!("[invalid bearer token, {why}]"));
        }
        let user = self.tokens.get(token).cloned().or_else(|| self.control_plane.as_ref()?.0.authenticate(token, now));
        match user {
            Some(mut user) if audiences.iter().any(|audience| audience == API_AUDIENCE) => {
                user.groups.push(AUTHENTICATED.to_owned());
                Ok((user, vec![API_AUDIENCE.to_owned()]))
            }
            _ => Err("invalid bearer token".to_owned()),
        }
    }

    fn service_account(&self, claims: &Value, audiences: &[String], now: SystemTime) -> Result<(User, Vec<String>), String> {
        let own: Vec<&str> = claims["aud"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if claims["iss"] != self.issuer.as_str() {
            return Err(format!("token issuer {} is invalid", claims["iss"]));
        }
        let accepted: Vec<String> = audiences.iter().filter(|audience| own.contains(&audience.as_str())).cloned().collect();
        if accepted.is_empty() {
            let quoted = |audiences: &[String]| {
                let quoted: Vec<String> = audiences.iter().map(|audience| format!("{audience:?}")).collect();
                format!("[{}]", quoted.join(" "))
            };
            let own: Vec<String> = own.into_iter().map(str::to_owned).collect();
            return Err(format!("token audiences {} is invalid for the target audiences {}", quoted(&own), quoted(audiences)));
        }
        let now = unix_seconds(now);
        if claims["exp"].as_u64().is_none_or(|end| now > end) {
            return Err("service account token has expired".to_owned());
        }
        if claims["nbf"].as_u64().is_some_and(|start| now < start) {
            return Err("service account token is not valid yet".to_owned());
        }
        let bound = &claims["kubernetes.io"];
        let namespace = bound["namespace"].as_str().unwrap_or_default();
        let account = &bound["serviceaccount"];
        let name = account["name"].as_str().unwrap_or_default();
        self.still_exists("serviceaccounts", namespace, account)?;
        let mut extra = BTreeMap::new();
        if let Some(id) = claims["jti"].as_str() {
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            extra.insert(key, vec![format!("JTI={id}")]);
        }
        if bound["pod"].is_object() {
            self.still_exists("pods", namespace, &bound["pod"])?;
            for member in ["name", "uid"] {
                let value = bound["pod"][member].as_str().unwrap_or_default().to_owned();
                extra.insert(format!("authentication.kubernetes.io/pod-{member}"), vec![value]);
            }
        }
        let user = User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            uid: account["uid"].as_str().unwrap_or_default().to_owned(),
            groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}"), AUTHENTICATED.to_owned()],
            extra,
        };
        Ok((user, accepted))
    }

    fn still_exists(&self, plural: &str, namespace: &str, claim: &Value) -> Result<(), String> {
        let name = claim["name"].as_str().unwrap_or_default();
        let object = by_plural(plural).and_then(|kind| self.store.get(kind, namespace, name));
        match object {
            None => Err(format!("{plural} {name:?} not found")),
            Some(object) if object["metadata"]["uid"] != claim["uid"] => Err("service account token has been invalidated".to_owned()),
            Some(_) => Ok(()),
        }
    }
}
