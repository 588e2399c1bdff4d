//! Objects that an administrator keeps in the cluster: read, applied, deleted; and what somebody else would be answered.

use http::header::CONTENT_TYPE;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Kubernetes;
use crate::{
    clients::call::{CallError, ErrorKind},
    model::{
        bootstrap::{BOOTSTRAP_MANAGER, ClusterObject, ObjectKind, ObjectRef, ObservedNamespace, ObservedObject},
        names::Namespace,
    },
};

/// Somebody as whom an administrator asks.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>
#[derive(Clone, Copy, Debug)]
pub struct Impersonated<'a> {
    /// The user.
    pub user: &'a str,
    /// The only group, beside that of everybody who is known.
    pub group: &'a str,
}

impl Kubernetes {
    /// An object of the cluster, if it is there.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn cluster_object(&self, at: &ObjectRef) -> Result<Option<ObservedObject>, CallError> {
        match self.ask("GET", &at.path(), None, None).await {
            Ok(body) => Ok(Some(ObservedObject { body })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the API server has objects of this kind at all: an older one does not know its version.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn has_kind(&self, kind: ObjectKind) -> Result<bool, CallError> {
        match self.ask("GET", &format!("{}?limit=1", kind.collection()), None, None).await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A namespace.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn namespace(&self, name: &Namespace) -> Result<ObservedNamespace, CallError> {
        match self.ask("GET", &format!("/api/v1/namespaces/{name}"), None, None).await {
            Ok(found) if found["metadata"]["deletionTimestamp"].is_string() => Ok(ObservedNamespace::Ends),
            Ok(_) => Ok(ObservedNamespace::There),
            Err(error) if is_absent(&error) => Ok(ObservedNamespace::Missing),
            Err(error) => Err(error),
        }
    }

    /// Applies an object, and forces nothing; only the one of the uid that was seen, if there was one.
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
    ///
    /// # Errors
    /// Another field manager holds a field with another value, the API server refuses, or does not answer.
    pub async fn apply_cluster_object(&self, object: &ClusterObject, seen: Option<&str>) -> Result<(), CallError> {
        let mut body = object.body.clone();
        if let Some(uid) = seen {
            body["metadata"]["uid"] = uid.into();
        }
        let path = format!("{}?fieldManager={BOOTSTRAP_MANAGER}", object.at.path());
        self.ask("PATCH", &path, Some(&body), None).await.map(drop)
    }

    /// Deletes the object of this uid; one that is gone, or another of its name, is as good.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete_cluster_object(&self, at: &ObjectRef, uid: &str) -> Result<(), CallError> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        match self.ask("DELETE", &at.path(), Some(&options), None).await {
            Err(error) if is_absent(&error) || error.kind == ErrorKind::Changed => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// What somebody is answered who applies a ServiceAccount with a role: nothing is stored.
    ///
    /// # Errors
    /// As that somebody.
    pub async fn rehearse_as(&self, who: Impersonated<'_>, at: &ObjectRef, role: &str) -> Result<(), CallError> {
        let body = json!({
            "apiVersion": "v1", "kind": at.kind.name(),
            "metadata": {"name": at.name, "annotations": {"eks.amazonaws.com/role-arn": role}},
        });
        let path = format!("{}?fieldManager={BOOTSTRAP_MANAGER}-proof&dryRun=All", at.path());
        self.ask("PATCH", &path, Some(&body), Some(who)).await.map(drop)
    }

    /// What somebody is answered who asks for a token of a ServiceAccount, for ten minutes. A token is thrown away.
    ///
    /// # Errors
    /// As that somebody.
    pub async fn token_as(&self, who: Impersonated<'_>, at: &ObjectRef, audience: &str) -> Result<(), CallError> {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 600},
        });
        self.ask("POST", &format!("{}/token?dryRun=All", at.path()), Some(&body), Some(who)).await.map(drop)
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>, who: Option<Impersonated<'_>>) -> Result<Value, CallError> {
        let media = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
        let mut request = http::Request::builder().method(method).uri(path).header(CONTENT_TYPE, media);
        if let Some(Impersonated { user, group }) = who {
            request = request.header("Impersonate-User", user).header("Impersonate-Group", group);
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(body).map_err(|error| CallError::not_sent(error.to_string()))?;
        if who.is_some() {
            // What may come back is a token.
            return self.client.request::<IgnoredAny>(request).await.map(|_| Value::Null).map_err(|error| self.failed(&error));
        }
        self.client.request(request).await.map_err(|error| self.failed(&error))
    }
}

/// An API server says so of a thing in its own words, and of a kind that it does not know in plain text, or in a `Status` without a name.
fn is_absent(error: &CallError) -> bool {
    error.kind.is_missing() || (error.is_foreign && error.message.contains("404 page not found"))
}
