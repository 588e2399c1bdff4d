//! Pods and what makes pods: with which ServiceAccount they run, and which role each was given when it was created.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Resource, api::ListParams};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{Kubernetes, pages};
use crate::{
    clients::call::CallError,
    model::{
        agent::{AGENT, DaemonSet},
        containers::{Container, Given, Mount, Node, ProjectedToken, Source, SourceKind, Volume},
        gather::Gather as _,
        names::{Namespace, Subject},
        pods::{Credentials, Phase, Pod, PodRef, Use},
        proof_pod,
    },
};

/// Of an object what is looked at: the whole type of a pod is two thousand fields, and code that reads each of them.
#[derive(Deserialize)]
struct Object<S, T> {
    metadata: ObjectMeta,
    spec: S,
    status: Option<T>,
}

type Seen = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    service_account_name: Option<String>,
    init_containers: Option<Vec<AContainer>>,
    containers: Option<Vec<AContainer>>,
    volumes: Option<Vec<Value>>,
    node_name: Option<String>,
    scheduler_name: Option<String>,
    node_selector: Option<BTreeMap<String, String>>,
    os: Option<Os>,
}

#[derive(Clone, Debug, Deserialize)]
struct Os {
    #[serde(default)]
    name: String,
}

/// Of a container what is looked at; its parts as they are, since a type for each would cost more code than it saves.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AContainer {
    #[serde(default)]
    name: String,
    env: Option<Vec<Value>>,
    env_from: Option<Vec<Value>>,
    volume_mounts: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    phase: Option<String>,
}

/// Of a workload what is looked at.
type Workload = Object<WorkloadSpec, WorkloadStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadSpec {
    template: Option<Template>,
    /// Of a cron job.
    job_template: Option<JobTemplate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JobTemplate {
    spec: Option<JobSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JobSpec {
    template: Option<Template>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Template {
    spec: Option<Spec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct WorkloadStatus {
    conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// What makes pods: group, plural and kind.
const WORKLOADS: [(&str, &str, &str); 5] = [
    ("apps", "deployments", "Deployment"),
    ("apps", "statefulsets", "StatefulSet"),
    ("apps", "daemonsets", "DaemonSet"),
    ("batch", "jobs", "Job"),
    ("batch", "cronjobs", "CronJob"),
];

impl Kubernetes {
    /// The pods of a ServiceAccount that run or are about to, and are not terminating; none that the tool made for a proof.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn pods_of(&self, subject: &Subject) -> Result<Vec<Pod>, CallError> {
        let path = v1::Pod::url_path(&(), Some(subject.namespace.as_str()));
        let parameters = real().fields(&format!("spec.serviceAccountName={}", subject.service_account));
        let running = |pod: Seen| Ok((!has_ended(&pod) && pod.metadata.deletion_timestamp.is_none()).then(|| observed(pod)));
        pages::all(self, &path, parameters, 100, running).await
    }

    /// The pods of a namespace that run, are about to, or are terminating, as users of ServiceAccounts and roles.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn pods_in(&self, namespace: &Namespace) -> Result<Vec<Use>, CallError> {
        let path = v1::Pod::url_path(&(), Some(namespace.as_str()));
        let user = |pod: Seen| {
            let ends = pod.metadata.deletion_timestamp.is_some();
            let found = found(&pod);
            Ok((!has_ended(&pod)).then(|| Use { pod: Some(found.clone()), ..used(format!("pod `{}`", found.name), &pod.spec, ends) }))
        };
        pages::all(self, &path, real(), 100, user).await
    }

    /// Whether a `DaemonSet` of the agent of EKS Pod Identity is where each way to install it puts one.
    /// <https://github.com/aws/eks-pod-identity-agent/tree/main/charts/eks-pod-identity-agent>
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn agent_daemon_set(&self) -> Result<DaemonSet, CallError> {
        let request = http::Request::get(format!("/apis/apps/v1/namespaces/kube-system/daemonsets/{AGENT}")).body(Vec::new());
        let request = request.map_err(|error| CallError::not_sent(error.to_string()))?;
        match self.client.request::<IgnoredAny>(request).await.map_err(|error| self.failed(&error)) {
            Ok(_) => Ok(DaemonSet::Present),
            Err(error) if error.kind.is_missing() => Ok(DaemonSet::Absent),
            Err(error) => Err(error),
        }
    }

    /// What makes pods in a namespace, as users of ServiceAccounts and roles; of jobs those that have not ended.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn workloads_in(&self, namespace: &Namespace) -> Result<Vec<Use>, CallError> {
        let of_kind = WORKLOADS.iter().map(async |(group, plural, kind)| {
            let path = format!("/apis/{group}/v1/namespaces/{namespace}/{plural}");
            let user = |found: Workload| {
                let template = found.spec.template.clone().or_else(|| found.spec.job_template.clone()?.spec?.template);
                let spec = template.and_then(|template| template.spec).filter(|_| !is_complete(&found)).unwrap_or_default();
                let name = found.metadata.name.clone().unwrap_or_default();
                Ok(spec.service_account_name.is_some().then(|| used(format!("{kind} `{name}`"), &spec, false)))
            };
            pages::all(self, &path, ListParams::default(), 100, user).await
        });
        Ok(try_join_all(of_kind).await?.concat())
    }
}

fn found(pod: &Seen) -> PodRef {
    let runs = pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
    PodRef {
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        phase: if runs { Phase::Running } else { Phase::Pending },
    }
}

/// All pods but those that are made for a proof and never run: nobody waits for them, and they use nothing.
fn real() -> ListParams {
    ListParams::default().labels(&format!("!{}", proof_pod::LABEL))
}

fn has_ended(pod: &Seen) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Whether a job has ended, well or not.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>
fn is_complete(job: &Workload) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| matches!(condition.kind.as_str(), "Complete" | "Failed") && condition.status == "True")
}

fn used(user: String, spec: &Spec, ends: bool) -> Use {
    let service_account = spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned());
    Use { user, service_account, roles: roles_of(spec), ends, pod: None, credentials: credentials_of(spec) }
}

/// What the containers are told. One of them is enough for the pod to need it, whatever the others have.
fn credentials_of(spec: &Spec) -> BTreeSet<Credentials> {
    let of_container = |container: &AContainer| {
        let variable = |name: &str| container.env.iter().flatten().find(|variable| variable["name"] == name);
        let role = || variable("AWS_ROLE_ARN").and_then(|role| role["value"].as_str()).map(str::to_owned);
        let by_token = variable("AWS_WEB_IDENTITY_TOKEN_FILE").map(|_| Credentials::WebIdentity(role()));
        let by_agent = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(|_| Credentials::PodIdentity);
        by_token.into_iter().chain(by_agent)
    };
    spec.init_containers.iter().chain(&spec.containers).flatten().flat_map(of_container).gather()
}

/// The roles in the environments of the containers.
fn roles_of(spec: &Spec) -> BTreeSet<String> {
    let containers = spec.init_containers.iter().chain(&spec.containers).flatten();
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    variables
        .filter(|variable| variable["name"] == "AWS_ROLE_ARN")
        .filter_map(|variable| Some(variable["value"].as_str()?.to_owned()))
        .gather()
}

/// Where EKS runs a pod. A label and a scheduler mark those of Fargate before they have a node.
/// <https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-configuration.html>
fn node(metadata: &ObjectMeta, spec: &Spec) -> Node {
    let labelled = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("eks.amazonaws.com/fargate-profile"));
    let on_fargate = spec.node_name.as_deref().is_some_and(|node| node.starts_with("fargate-"));
    let selects_windows = |label: &str| spec.node_selector.iter().any(|labels| labels.get(label).is_some_and(|os| os == "windows"));
    if labelled || on_fargate || spec.scheduler_name.as_deref() == Some("fargate-scheduler") {
        Node::Fargate
    } else if spec.os.as_ref().is_some_and(|os| os.name == "windows")
        || ["kubernetes.io/os", "beta.kubernetes.io/os"].into_iter().any(selects_windows)
    {
        Node::Windows
    } else {
        Node::Linux
    }
}

/// The pod annotation with the containers that the webhook of EKS passes over, with commas between.
/// <https://github.com/aws/amazon-eks-pod-identity-webhook>
const SKIPPED: &str = "eks.amazonaws.com/skip-containers";
/// The pod annotation that names the main container.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-default-container>
const MAIN: &str = "kubectl.kubernetes.io/default-container";

fn observed(pod: Seen) -> Pod {
    let (found, node) = (found(&pod), node(&pod.metadata, &pod.spec));
    let Object { metadata, spec, .. } = pod;
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let hash = metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    let owner = owner.map(|owner| match (owner.kind.as_str(), hash) {
        // A Deployment's ReplicaSet is named after it and the hash of its template.
        ("ReplicaSet", Some(hash)) => match owner.name.strip_suffix(&format!("-{hash}")) {
            Some(deployment) => ("Deployment".to_owned(), deployment.to_owned()),
            None => (owner.kind.clone(), owner.name.clone()),
        },
        _ => (owner.kind.clone(), owner.name.clone()),
    });
    let annotated = |key| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let skipped: BTreeSet<&str> = annotated(SKIPPED).into_iter().flat_map(|names| names.split(',')).map(str::trim).gather();
    let first = spec.containers.iter().flatten().next().map(|container| container.name.clone());
    let main = annotated(MAIN).cloned().or(first);
    let containers = spec.init_containers.into_iter().chain(spec.containers).flatten().map(|container| Container {
        is_main: main.as_ref() == Some(&container.name),
        is_skipped: skipped.contains(container.name.as_str()),
        ..judgeable(container)
    });
    let containers = containers.collect();
    let volumes = spec.volumes.iter().flatten().map(|volume| (text(&volume["name"]), tokens(&volume["projected"])));
    Pod { found, node, owner, containers, volumes: volumes.gather() }
}

fn judgeable(container: AContainer) -> Container {
    let given = |variable: &Value| {
        let from = &variable["valueFrom"];
        let given = if from.is_null() {
            Given::Text(text(&variable["value"]))
        } else if from["secretKeyRef"].is_object() {
            Given::From(format!("Secret `{}`", text(&from["secretKeyRef"]["name"])))
        } else if from["configMapKeyRef"].is_object() {
            Given::From(format!("ConfigMap `{}`", text(&from["configMapKeyRef"]["name"])))
        } else {
            Given::From("a field of the pod".to_owned())
        };
        (text(&variable["name"]), given)
    };
    let source = |from: &Value| {
        let (kind, found) = match (&from["secretRef"], &from["configMapRef"]) {
            (secret @ Value::Object(_), _) => (SourceKind::Secret, secret),
            (_, map @ Value::Object(_)) => (SourceKind::ConfigMap, map),
            _ => return None,
        };
        Some(Source { kind, name: text(&found["name"]), prefix: text(&from["prefix"]) })
    };
    let mount = |mount: &Value| {
        let sub_path = if mount["subPath"].is_null() { &mount["subPathExpr"] } else { &mount["subPath"] };
        Mount { volume: text(&mount["name"]), path: text(&mount["mountPath"]), sub_path: text(sub_path) }
    };
    Container {
        // Of two of one name the last counts, as for the container runtime.
        variables: container.env.iter().flatten().map(given).gather(),
        sources: container.env_from.iter().flatten().filter_map(source).collect(),
        mounts: container.volume_mounts.iter().flatten().map(mount).collect(),
        name: container.name,
        ..Container::default()
    }
}

fn tokens(projected: &Value) -> Volume {
    if !projected.is_object() {
        return Volume::Other;
    }
    let sources = projected["sources"].as_array().into_iter().flatten();
    let tokens = sources.map(|source| &source["serviceAccountToken"]).filter(|token| token.is_object());
    let token = |token: &Value| ProjectedToken { path: text(&token["path"]), audience: token["audience"].as_str().map(str::to_owned) };
    Volume::Projected(tokens.map(token).collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_container_counts_with_its_own_credentials() {
        let spec = |containers: Value| -> Spec { serde_json::from_value(json!({ "containers": containers })).unwrap() };
        let env = |variables: &[(&str, &str)]| {
            let variables: Vec<Value> = variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            json!({"name": "one", "env": variables})
        };
        let by_token = env(&[("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/theirs"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")]);
        let by_agent = env(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")]);
        let from_elsewhere = json!({"name": "two", "env": [
            {"name": "AWS_ROLE_ARN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/t"},
        ]});
        let theirs = Credentials::WebIdentity(Some("arn:aws:iam::123456789012:role/theirs".to_owned()));
        let found = |containers| credentials_of(&spec(containers));
        assert_eq!(found(json!([by_token, by_agent])), [theirs.clone(), Credentials::PodIdentity].into());
        assert_eq!(found(json!([by_token, from_elsewhere])), [theirs, Credentials::WebIdentity(None)].into());
        assert_eq!(found(json!([by_agent])), [Credentials::PodIdentity].into());
        let both = env(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x")]);
        assert_eq!(found(json!([both])), [Credentials::WebIdentity(None), Credentials::PodIdentity].into());
        assert_eq!(found(json!([env(&[("AWS_ROLE_ARN", "x")])])), BTreeSet::new());
    }
}
