//! What the API says of itself: version, issuer, kinds of object.

use serde_json::{Map, Value, json};

use super::{
    Kubernetes,
    resources::{RESOURCES, Resource, group_version},
    status::{Failure, Outcome, Reply},
};
use crate::service::Request;

impl Kubernetes {
    /// GET of a path that is no resource.
    pub(super) fn describe(&self, request: &Request) -> Outcome {
        let host = request.header("host");
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let body = match parts.as_slice() {
            ["version"] => version(),
            [".well-known", "openid-configuration"] => json!({
                "issuer": self.issuer,
                "jwks_uri": format!("https://{host}/openid/v1/jwks"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }),
            ["openid", "v1", "jwks"] => self.key.jwks(),
            ["healthz" | "livez" | "readyz"] => "ok".into(),
            ["api"] => json!({
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
            }),
            ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()}),
            ["apis", group] => {
                let found = groups().into_iter().find(|found| found["name"] == *group);
                let mut found = found.ok_or_else(Failure::no_such_path)?;
                found["kind"] = "APIGroup".into();
                found["apiVersion"] = "v1".into();
                found
            }
            ["api", version] => kinds("", version)?,
            ["apis", group, version] => kinds(group, version)?,
            ["openapi", "v3"] => openapi_index(),
            ["openapi", "v3", "api", version] => openapi("", version)?,
            ["openapi", "v3", "apis", group, version] => openapi(group, version)?,
            _ => return Err(Failure::not_implemented(&request.path)),
        };
        Ok(Reply::read(body))
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.2",
        "gitCommit": "$Format:%H$",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.27.3",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// The named groups, each with its one version.
fn groups() -> Vec<Value> {
    let mut groups: Vec<Value> = Vec::new();
    for resource in RESOURCES.iter().filter(|resource| !resource.group.is_empty()) {
        if groups.iter().all(|group| group["name"] != resource.group) {
            let version = json!({"groupVersion": resource.api_version(), "version": resource.version});
            groups.push(json!({
                "name": resource.group,
                "versions": [version],
                "preferredVersion": version,
            }));
        }
    }
    groups
}

fn of_group(group: &str, version: &str) -> Result<Vec<&'static Resource>, Failure> {
    let found: Vec<_> = RESOURCES.iter().filter(|resource| resource.group == group && resource.version == version).collect();
    if found.is_empty() { Err(Failure::no_such_path()) } else { Ok(found) }
}

fn kinds(group: &str, version: &str) -> Result<Value, Failure> {
    let mut resources = Vec::new();
    for resource in of_group(group, version)? {
        let verbs: &[&str] = if resource.stored() { &["create", "delete", "get", "list", "patch", "update"] } else { &["create"] };
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.kind.to_lowercase(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs,
        });
        if !resource.short.is_empty() {
            entry["shortNames"] = json!(resource.short);
        }
        resources.push(entry);
        if resource.plural == "serviceaccounts" {
            resources.push(json!({
                "name": "serviceaccounts/token",
                "singularName": "",
                "namespaced": true,
                "group": "authentication.k8s.io",
                "version": "v1",
                "kind": "TokenRequest",
                "verbs": ["create"],
            }));
        }
    }
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": resources,
    }))
}

fn root(resource: &Resource) -> String {
    let kind = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{kind}/{}", resource.api_version())
}

fn openapi_index() -> Value {
    let paths: Map<String, Value> = RESOURCES
        .iter()
        .map(|resource| {
            let root = root(resource);
            let address = format!("/openapi/v3/{root}?hash=1");
            (root, json!({"serverRelativeURL": address}))
        })
        .collect();
    json!({"paths": paths})
}

/// As much of a description as tells a client that the server itself validates fields.
fn openapi(group: &str, version: &str) -> Result<Value, Failure> {
    let mut paths = Map::new();
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    for resource in of_group(group, version)?.into_iter().filter(|resource| resource.stored()) {
        let within = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("/{}/{within}{}/{{name}}", root(resource), resource.plural);
        let operation = json!({
            "parameters": [
                parameter("dryRun"),
                parameter("fieldManager"),
                parameter("fieldValidation"),
                parameter("force"),
            ],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": {
                "group": group,
                "version": version,
                "kind": resource.kind,
            },
        });
        paths.insert(path, json!({"patch": operation}));
    }
    Ok(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths,
        "components": {"schemas": {}},
    }))
}
