//! What Helm does with a rendered chart, and what Qovery's engine refuses before Helm is asked.
//!
//! A release has no record of its own here: what belongs to it says so in Helm's label and annotations.
//! <https://github.com/helm/helm>, `pkg/action/validate.go`

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Map, Value, json};

use super::Engine;
use crate::{
    kubernetes::Kubernetes,
    qovery::{
        Chart,
        chart::{Release, documents, render_for},
    },
    sandbox::ADMIN_TOKEN,
    service::{Request, Service as _},
};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
const POLICY: &str = "helm.sh/resource-policy";

/// The kinds that the engine takes without a namespace of their own, as far as this cluster knows them; `Pod` and `Lease` too.
/// <https://github.com/Qovery/engine>, `deploy_helm_chart.rs`, `is_allowed_namespaced_resource`
const NAMESPACED: [&str; 11] =
    ["CronJob", "DaemonSet", "Deployment", "Job", "Lease", "Pod", "ReplicaSet", "Role", "RoleBinding", "ServiceAccount", "StatefulSet"];
/// The kinds of this cluster of which a release can be.
const PLURALS: [&str; 13] = [
    "clusterrolebindings",
    "clusterroles",
    "cronjobs",
    "daemonsets",
    "deployments",
    "jobs",
    "leases",
    "pods",
    "replicasets",
    "rolebindings",
    "roles",
    "serviceaccounts",
    "statefulsets",
];

impl Engine<'_> {
    /// The release of a Helm service. One that is made anew has another id, and so another release.
    fn release(service: &str, name: &str, namespace: &str) -> Release {
        let digits = service.get(..8).unwrap_or_default();
        Release { name: format!("qovery-z{digits}-helm-z{digits}-{name}"), namespace: namespace.to_owned() }
    }

    fn release_of(&self, service: &str, namespace: &str) -> Release {
        let name = super::name_of(self.sandbox, service).to_lowercase();
        Self::release(service, &name, namespace)
    }

    /// `helm upgrade --install`, after the engine's own look at what is rendered.
    ///
    /// # Errors
    /// What the engine, Helm or the API server says.
    pub(super) fn install(&self, service: &str, request: &Map<String, Value>, namespace: &str) -> Result<(), String> {
        let release = self.release_of(service, namespace);
        let folder = folder(&request["source"]).ok_or("the source of the chart is not known here")?;
        let rendered = render_for(&self.charts.join(folder), &values(request)?, &release)?;
        let wide = request.get("allow_cluster_wide_resources") == Some(&Value::Bool(true));
        let refuses_roles = self.sandbox.qovery(|qovery| qovery.world().chart) == Chart::RoleRefused;
        for object in &rendered {
            if !wide {
                check_boundary(object, namespace)?;
            }
            if refuses_roles && ["Role", "RoleBinding"].contains(&object["kind"].as_str().unwrap_or_default()) {
                return Err(format!("Cannot deploy {} {}: this kind is not allowed", text(&object["kind"]), text(&object["apiVersion"])));
            }
        }
        let now = self.sandbox.clock().now();
        self.sandbox.kubernetes(|kubernetes| {
            // All of them are looked at before the first is written.
            for object in &rendered {
                if let Some(there) = find(kubernetes, object, namespace)? {
                    check_ownership(&there, &release)?;
                }
            }
            for object in &rendered {
                let path = path_of(kubernetes, object, namespace)?;
                let object = owned(object, &release);
                let request = ask(Method::PATCH, &path, "fieldManager=helm&force=true", &object)?;
                let answer = kubernetes.answer(&request, now).response;
                if answer.status >= 300 {
                    return Err(format!("{} {}: {}", text(&object["kind"]), name(&object), String::from_utf8_lossy(&answer.body)));
                }
            }
            let is_rendered = |other: &Value| {
                rendered.iter().any(|object| object["kind"] == other["kind"] && object["metadata"]["name"] == other["metadata"]["name"])
            };
            remove(kubernetes, &release, |object| !is_rendered(object));
            Ok(())
        })
    }

    /// `helm uninstall`: what the chart wants to keep stays, with its marks.
    pub(super) fn uninstall(&self, service: &str, namespace: &str) {
        let release = self.release_of(service, namespace);
        self.sandbox.kubernetes(|kubernetes| remove(kubernetes, &release, |_| true));
    }
}

/// Takes away what belongs to the release and is not to be kept.
fn remove(kubernetes: &mut Kubernetes, release: &Release, goes: impl Fn(&Value) -> bool) {
    for plural in PLURALS {
        let of_release = |object: &&&Value| {
            let annotations = &object["metadata"]["annotations"];
            check_ownership(object, release).is_ok() && annotations[POLICY] != "keep" && goes(object)
        };
        let found: Vec<(String, String)> = kubernetes
            .objects(plural, "")
            .iter()
            .filter(of_release)
            .map(|object| (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"])))
            .collect();
        for (namespace, name) in found {
            kubernetes.remove_object(plural, &namespace, &name);
        }
    }
}

/// The folder of the chart among the charts.
fn folder(source: &Value) -> Option<String> {
    let root = source["git_repository"]["root_path"].as_str();
    let named =
        root.and_then(|path| path.trim_end_matches('/').rsplit('/').next()).or_else(|| source["helm_repository"]["chart_name"].as_str());
    named.filter(|name| !name.is_empty() && !name.starts_with('.')).map(str::to_owned)
}

/// The values that the service gives its chart.
fn values(request: &Map<String, Value>) -> Result<Value, String> {
    let given = &request["values_override"];
    for way in ["set", "set_string", "set_json"] {
        if given[way].as_array().is_some_and(|values| !values.is_empty()) {
            return Err(format!("values by `{way}` are not known here"));
        }
    }
    if given["file"]["git"].is_object() {
        return Err("values from Git are not known here".to_owned());
    }
    let mut values = Map::new();
    for file in given["file"]["raw"]["values"].as_array().into_iter().flatten() {
        let content = file["content"].as_str().unwrap_or_default();
        if content.contains("qovery.env.QOVERY_") {
            return Err(format!("You cannot use Qovery built-in variable in your helm values file. Faulty file: {}", text(&file["name"])));
        }
        if content.contains("qovery.") {
            return Err("`qovery.` in values is not known here".to_owned());
        }
        for document in documents(content)? {
            values.extend(document.as_object().cloned().unwrap_or_default());
        }
    }
    Ok(Value::Object(values))
}

fn check_boundary(object: &Value, namespace: &str) -> Result<(), String> {
    let kind = text(&object["kind"]);
    match object["metadata"]["namespace"].as_str() {
        Some(other) if other != namespace => Err(format!(
            "Cannot deploy {kind} {} as it does not target correct namespace. Found {other:?} expected {namespace}",
            name(object)
        )),
        Some(_) => Ok(()),
        None if NAMESPACED.contains(&kind.as_str()) => Ok(()),
        None => Err(format!("Cannot deploy {kind} {} as it is a cluster wide resource", text(&object["apiVersion"]))),
    }
}

/// Helm changes nothing that is not its release's own.
fn check_ownership(object: &Value, release: &Release) -> Result<(), String> {
    let metadata = &object["metadata"];
    let marks = [
        ("label", MANAGED_BY, &metadata["labels"][MANAGED_BY], "Helm"),
        ("annotation", RELEASE_NAME, &metadata["annotations"][RELEASE_NAME], release.name.as_str()),
        ("annotation", RELEASE_NAMESPACE, &metadata["annotations"][RELEASE_NAMESPACE], release.namespace.as_str()),
    ];
    let wrong: Vec<String> = marks
        .iter()
        .filter(|(_, _, found, wanted)| **found != **wanted)
        .map(|(what, key, found, wanted)| {
            let found = found.as_str().map_or_else(
                || format!("missing key {key:?}: must be set to {wanted:?}"),
                |found| format!("key {key:?} must equal {wanted:?}: current value is {found:?}"),
            );
            format!("{what} validation error: {found}")
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "Error: UPGRADE FAILED: Unable to continue with update: {} {:?} in namespace {:?} exists and cannot be imported into the current release: invalid ownership metadata; {}",
        text(&object["kind"]),
        name(object),
        text(&metadata["namespace"]),
        wrong.join("; ")
    ))
}

fn owned(object: &Value, release: &Release) -> Value {
    let mut object = object.clone();
    object["metadata"]["labels"][MANAGED_BY] = "Helm".into();
    object["metadata"]["annotations"][RELEASE_NAME] = release.name.as_str().into();
    object["metadata"]["annotations"][RELEASE_NAMESPACE] = release.namespace.as_str().into();
    object
}

fn path_of(kubernetes: &Kubernetes, object: &Value, namespace: &str) -> Result<String, String> {
    kubernetes.path_of(object, namespace).ok_or_else(|| format!("no matches for kind {}", object["kind"]))
}

fn find(kubernetes: &Kubernetes, object: &Value, namespace: &str) -> Result<Option<Value>, String> {
    let path = path_of(kubernetes, object, namespace)?;
    let mut segments = path.rsplit('/');
    let (name, plural) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let namespace = if path.contains("/namespaces/") { namespace } else { "" };
    Ok(kubernetes.object(plural, namespace, name).cloned())
}

/// As the engine, whose user may do everything.
fn ask(method: Method, path: &str, query: &str, body: &Value) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::from_str(&format!("Bearer {ADMIN_TOKEN}")).map_err(|error| error.to_string())?;
    headers.insert(header::AUTHORIZATION, bearer);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/apply-patch+yaml"));
    let body = Bytes::from(json!(body).to_string());
    Ok(Request { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn name(object: &Value) -> String {
    text(&object["metadata"]["name"])
}
