//! A Kubernetes API: `ServiceAccount` objects, namespaces and what surrounds them, as kube-apiserver 1.36 answers.
//!
//! `write.rs`, `change.rs` and `delete.rs` change objects (`decode.rs`, `validate.rs`, `managed.rs` say how), `authn.rs`, `impersonation.rs` and `rbac.rs` decide who may,
//! `pods.rs` and `webhook.rs` fill in pods, `admission.rs` asks the stored policies, `token.rs` signs, `review.rs` and `discovery.rs` answer questions, `status.rs` and `encode.rs` word the answers.
//! Watches, bodies in YAML or protobuf, the lists of kinds and status subresources stay out and answer 501; there are no controllers.

mod admission;
mod arrange;
mod authn;
mod change;
mod decode;
mod delete;
mod discovery;
mod encode;
mod fields;
mod impersonation;
mod managed;
mod metadata;
mod patch;
mod pods;
mod rbac;
mod resources;
mod review;
mod schema;
mod select;
mod status;
mod store;
mod token;
mod validate;
mod webhook;
mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};

pub use self::authn::User;
use self::{
    resources::{Attributes, Resource},
    select::Selection,
    status::{Failure, Outcome, Reply},
    store::Store,
};
use crate::{
    keys::ClusterKey,
    service::{Answer, Request, Response, Service},
};

/// The audience of tokens for the API itself.
pub const API_AUDIENCE: &str = "https://kubernetes.default.svc";

/// What EKS adds to an API server.
pub trait ControlPlane: Send + Sync {
    /// For whom a bearer token of IAM stands; nobody if it is bad or its principal has no access entry.
    fn authenticate(&self, token: &str, now: SystemTime) -> Option<User>;

    /// Whether the webhook gives the pods of this `ServiceAccount` what EKS Pod Identity takes.
    fn is_associated(&self, namespace: &str, service_account: &str) -> bool;
}

#[derive(Clone)]
struct Plane(Arc<dyn ControlPlane>);

impl fmt::Debug for Plane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Plane")
    }
}

/// The API of one cluster. A clone is a copy of its state.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    issuer: String,
    key: ClusterKey,
    store: Store,
    tokens: BTreeMap<String, User>,
    control_plane: Option<Plane>,
    /// Whether a new namespace gets the `default` `ServiceAccount`, as with a controller manager.
    pub default_service_accounts: bool,
    /// Whether a deleted namespace goes away at once with all it holds, as with a fast controller manager; else it terminates forever.
    pub finalize_namespaces: bool,
    /// What a mutating policy sets on every `ServiceAccount` that is written: JSON pointers and values.
    pub mutations: Vec<(String, Value)>,
    /// How long after it was made the binding of an admission policy counts: a real API server takes some seconds.
    pub policies_count_after: Duration,
}

/// One authenticated and authorized request for a resource.
struct Call<'a> {
    request: &'a Request,
    attributes: &'a Attributes,
    resource: &'static Resource,
    user: &'a User,
    now: SystemTime,
}

impl Kubernetes {
    /// A fresh cluster: the default namespaces, roles and bindings, no `ServiceAccount`, no token.
    #[must_use]
    pub fn new(issuer: &str, key: ClusterKey) -> Self {
        let mut cluster = Self {
            issuer: issuer.to_owned(),
            key,
            store: Store::new(issuer),
            tokens: BTreeMap::new(),
            control_plane: None,
            default_service_accounts: false,
            finalize_namespaces: false,
            mutations: Vec::new(),
            policies_count_after: Duration::ZERO,
        };
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            cluster.add_namespace(namespace);
        }
        for object in rbac::defaults() {
            cluster.put_object(object);
        }
        cluster
    }

    /// Makes it the API server of an EKS cluster.
    #[must_use]
    pub fn with_control_plane(mut self, plane: Arc<dyn ControlPlane>) -> Self {
        self.control_plane = Some(Plane(plane));
        self
    }

    /// The issuer of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key its tokens are signed with.
    #[must_use]
    pub const fn key(&self) -> &ClusterKey {
        &self.key
    }

    fn respond(&mut self, request: &Request, attributes: &Attributes, now: SystemTime) -> Outcome {
        let user = self.acting(request, self.authenticate(request, now)?)?;
        if !rbac::authorize(&self.store, &user, attributes).allowed {
            let why = rbac::refusal(&user, attributes);
            return Err(if attributes.is_resource() {
                Failure::forbidden(&attributes.group, &attributes.plural, &attributes.name, &why)
            } else {
                Failure::forbidden_path(&why)
            });
        }
        if !attributes.is_resource() {
            return match request.method {
                Method::GET | Method::HEAD => self.describe(request),
                _ => Err(Failure::method_not_allowed()),
            };
        }
        let Some(resource) = attributes.resource() else {
            return Err(Failure::not_implemented(&request.path));
        };
        let call = Call { request, attributes, resource, user: &user, now };
        match (attributes.verb.as_str(), attributes.subresource.as_str()) {
            ("create", "token") if resource.plural == "serviceaccounts" => self.request_token(&call),
            (_, subresource) if !subresource.is_empty() => Err(Failure::not_implemented(&attributes.resource_path())),
            ("create", _) if !attributes.name.is_empty() => Err(Failure::method_not_allowed()),
            ("create", _) if !resource.stored() => self.review(&call),
            _ if !resource.stored() => Err(Failure::method_not_allowed()),
            ("create", _) if resource.namespaced && attributes.namespace.is_empty() => Err(Failure::method_not_allowed()),
            ("create", _) => self.create(&call),
            ("get", _) => self.get(&call),
            ("list", _) => self.list(&call),
            ("update" | "patch", _) if attributes.name.is_empty() => Err(Failure::method_not_allowed()),
            ("update", _) => self.update(&call),
            ("patch", _) => self.patch(&call),
            ("delete", _) => self.delete(&call),
            ("deletecollection", _) if resource.plural != "namespaces" => self.delete_collection(&call),
            (verb, _) => Err(Failure::not_implemented(&format!("{verb} {}", resource.plural))),
        }
    }

    fn get(&self, call: &Call<'_>) -> Outcome {
        let missing = || Failure::not_found(call.resource, &call.attributes.name);
        self.current(call).map(Reply::read).ok_or_else(missing)
    }

    fn list(&self, call: &Call<'_>) -> Outcome {
        let resource = call.resource;
        let selection = Selection::of(call.request, resource)?;
        let namespace = call.attributes.namespace_of_object(resource);
        let version = self.store.version();
        let mut page = selection.page(self.store.list(resource, &namespace), &version);
        for item in &mut page.items {
            if let Some(members) = item.as_object_mut() {
                members.remove("kind");
                members.remove("apiVersion");
            }
        }
        let mut metadata = json!({"resourceVersion": version});
        if let Some((token, left)) = page.next {
            metadata["continue"] = token.into();
            metadata["remainingItemCount"] = left.into();
        }
        Ok(Reply::read(json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": resource.api_version(),
            "metadata": metadata,
            "items": page.items,
        })))
    }
}

impl Service for Kubernetes {
    fn operation(&self, request: &Request) -> String {
        let attributes = Attributes::of(request);
        if attributes.is_resource() {
            format!("kubernetes:{} {}", attributes.verb, attributes.resource_path())
        } else {
            format!("kubernetes:{} {}", attributes.verb, attributes.path)
        }
    }

    fn answer(&mut self, request: &Request, now: SystemTime) -> Answer {
        let attributes = Attributes::of(request);
        let outcome = self.respond(request, &attributes, now);
        let (code, body, changed, warnings) = match outcome {
            Ok(reply) => (reply.code, reply.body, reply.changed, reply.warnings),
            Err(failure) => (failure.code(), failure.document(), false, Vec::new()),
        };
        let (content_type, text) = rendered(request, code, &body);
        let headers = warnings.iter().map(|warning| ("warning".to_owned(), format!("299 - {warning:?}"))).collect();
        Answer {
            response: Response { status: code, content_type, headers, body: Bytes::from(text) },
            changed,
            parameters: parameters(request, &attributes),
        }
    }

    fn snapshot(&self) -> Box<dyn Service> {
        Box::new(self.clone())
    }
}

/// The text of an answer. Clients for people get it indented, and the discovery of the issuer is on one line always.
fn rendered(request: &Request, code: u16, body: &Value) -> (&'static str, String) {
    if let (200, Value::String(text)) = (code, body) {
        return ("text/plain; charset=utf-8", text.clone());
    }
    if code == 200 && request.path.starts_with("/openid/") {
        return ("application/jwk-set+json", encode::encode_raw(body));
    }
    if code == 200 && request.path.starts_with("/.well-known/") {
        return ("application/json", encode::encode_raw(body));
    }
    let agent = request.header("user-agent");
    let pretty = match request.query_value("pretty").as_deref() {
        Some(value) => matches!(value, "true" | "1"),
        None => ["curl", "Wget", "Mozilla/5.0"].iter().any(|client| agent.starts_with(client)),
    };
    ("application/json", encode::encode(body, pretty || request.path == "/version"))
}

fn parameters(request: &Request, attributes: &Attributes) -> Value {
    let query: Map<String, Value> = request.query_pairs().into_iter().map(|(name, value)| (name, value.into())).collect();
    let mut parameters = Map::new();
    for (name, value) in [("namespace", &attributes.namespace), ("name", &attributes.name)] {
        if !value.is_empty() {
            parameters.insert(name.to_owned(), value.as_str().into());
        }
    }
    if !query.is_empty() {
        parameters.insert("query".to_owned(), query.into());
    }
    if !request.body.is_empty() {
        let body = serde_json::from_slice(&request.body).unwrap_or_else(|_| String::from_utf8_lossy(&request.body).into_owned().into());
        parameters.insert("body".to_owned(), body);
    }
    parameters.into()
}
