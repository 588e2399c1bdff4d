//! Direct access to the state, for tests that arrange a cluster and look at what became of it.

use serde_json::{Map, Value, json};

use super::{
    Kubernetes,
    authn::User,
    managed::Managers,
    metadata::text,
    resources::{by_kind, by_plural},
};

/// When everything that a test arranged directly was created.
const ARRANGED: &str = "2026-01-01T00:00:00Z";

impl Kubernetes {
    /// Adds a namespace, with its `default` `ServiceAccount` if `default_service_accounts` says so.
    pub fn add_namespace(&mut self, name: &str) {
        self.put_object(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }));
        if self.default_service_accounts {
            self.put_default_service_account(name, ARRANGED);
        }
    }

    /// Removes a namespace and all it holds, at once.
    pub fn delete_namespace(&mut self, name: &str) {
        self.store.clear(name);
        if let Some(namespaces) = by_plural("namespaces") {
            self.store.take(namespaces, "", name);
        }
    }

    /// Adds a bearer token of a user; the user's uid is `USER-uid`.
    pub fn add_token(&mut self, token: &str, user: &str, groups: &[&str]) {
        let user = User {
            name: user.to_owned(),
            uid: format!("{user}-uid"),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        };
        self.tokens.insert(token.to_owned(), user);
    }

    /// Stores an object as it is, over one of the same name, without any check. Uid and creation time are filled in.
    /// `None` if its kind is not known here.
    pub fn put_object(&mut self, mut object: Value) -> Option<Value> {
        let text = |member: &str| object[member].as_str().unwrap_or_default().to_owned();
        let resource = by_kind(&text("apiVersion"), &text("kind")).filter(|kind| kind.stored())?;
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = self.store.new_id().into();
        }
        if object["metadata"]["creationTimestamp"].is_null() {
            object["metadata"]["creationTimestamp"] = ARRANGED.into();
        }
        Some(self.store.put(resource, object))
    }

    /// The path of an object that a document in this namespace describes; none if its kind is not known here.
    #[must_use]
    pub fn path_of(&self, object: &Value, namespace: &str) -> Option<String> {
        let resource = by_kind(object["apiVersion"].as_str()?, object["kind"].as_str()?).filter(|kind| kind.stored())?;
        let group = if resource.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", resource.api_version()) };
        let within = if resource.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        Some(format!("{group}{within}/{}/{}", resource.plural, object["metadata"]["name"].as_str()?))
    }

    /// Removes an object by plural resource name, namespace and name, as somebody else does; none if it is not there.
    pub fn remove_object(&mut self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.store.take(by_plural(resource)?, namespace, name)
    }

    /// An object by plural resource name, namespace (empty if it is in none) and name.
    #[must_use]
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.store.get(by_plural(resource)?, namespace, name)
    }

    /// All objects of a kind in a namespace.
    #[must_use]
    pub fn objects<'a>(&'a self, resource: &str, namespace: &'a str) -> Vec<&'a Value> {
        by_plural(resource).map(|kind| self.store.list(kind, namespace).collect()).unwrap_or_default()
    }

    /// Every `Namespace` and `ServiceAccount` with what a person would set in them and who owns it, without ids, times and versions.
    #[must_use]
    pub fn state(&self) -> Value {
        let mut namespaces = Map::new();
        let list = |plural: &str| -> Vec<&Value> { by_plural(plural).map(|kind| self.store.list(kind, "").collect()).unwrap_or_default() };
        for namespace in list("namespaces") {
            let name = text(&namespace["metadata"], "name");
            let entry = json!({
                "phase": namespace["status"]["phase"],
                "labels": namespace["metadata"]["labels"],
                "annotations": namespace["metadata"]["annotations"],
                "serviceAccounts": {},
            });
            namespaces.insert(name, entry);
        }
        for account in list("serviceaccounts") {
            let metadata = &account["metadata"];
            let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
            if let Some(entry) = namespaces.get_mut(&namespace) {
                entry["serviceAccounts"][name] = json!({
                    "labels": metadata["labels"],
                    "annotations": metadata["annotations"],
                    "automountServiceAccountToken": account["automountServiceAccountToken"],
                    "managers": Managers::of(account).summary(),
                });
            }
        }
        json!({"namespaces": namespaces})
    }

    pub(super) fn put_default_service_account(&mut self, namespace: &str, time: &str) {
        self.put_object(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace, "creationTimestamp": time},
        }));
    }
}
