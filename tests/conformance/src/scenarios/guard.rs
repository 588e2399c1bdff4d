//! What the published guard refuses to the group of the job, and that the job can do its work under it.

use serde_json::{Value, json};

use crate::{
    failure::{Failure, check, equal},
    kubernetes::{Kubernetes, Refused},
    world::{World, manifest},
};

const STS: &str = "sts.amazonaws.com";
const LABEL: &str = "app.kubernetes.io/managed-by";

pub(super) async fn life(world: &World) -> Result<(), Failure> {
    let environment = world.environment("guarded", &manifest("role: {}")).await?;
    environment.run(&["start"])?.ended(0)?;
    check(environment.service_account().await?.is_some(), || "there is no ServiceAccount".to_owned())?;
    environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    environment.run(&["delete"])?.ended(0)?;
    check(environment.service_account().await?.is_none(), || "the ServiceAccount is left".to_owned())?;
    environment.remove().await
}

/// That the guard refused it, in the words and with the code that the local API server is believed to have from a real one.
fn is_denied(answer: Option<Refused>, what: &str, said: &str) -> Result<(), Failure> {
    let refused = answer.ok_or_else(|| Failure::new(format!("{what}: not refused")))?;
    equal(&(refused.code, refused.reason.as_str()), &(422, "Invalid"), what)?;
    let denied = "is forbidden: ValidatingAdmissionPolicy 'qovery-irsa' with binding 'qovery-irsa' denied request: ";
    let as_wanted = refused.message.starts_with("serviceaccounts \"") && refused.message.contains(denied) && refused.message.contains(said);
    check(as_wanted, || format!("{what}: {}", refused.message))
}

fn is_allowed(answer: Option<&Refused>, what: &str) -> Result<(), Failure> {
    check(answer.is_none(), || format!("{what}: {answer:?}"))
}

fn account(name: &str, metadata: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    object["metadata"]["name"] = json!(name);
    object
}

async fn put(world: &World, namespace: &str, name: &str, metadata: &Value) -> Result<(), Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
    world.kubernetes.apply(&path, &account(name, metadata)).await.map(drop)
}

fn token_request(audiences: &[&str], seconds: u32) -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": audiences, "expirationSeconds": seconds}})
}

pub(super) async fn tokens(world: &World) -> Result<(), Failure> {
    let environment = world.environment("guard-tokens", &manifest("role: {}")).await?;
    let (namespace, job) = (environment.namespace.clone(), world.job_in_the_cluster().await?);
    put(world, &namespace, "app", &json!({})).await?;
    put(world, "kube-system", "conformance", &json!({})).await?;
    let path = |namespace: &str, name: &str| format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let api = "https://kubernetes.default.svc";
    let here = path(&namespace, "app");
    for (path, audiences, seconds, said) in [
        (here.clone(), &[][..], 600, "only for audiences"),
        (here.clone(), &[api][..], 600, "only for audiences"),
        (here.clone(), &[STS, api][..], 600, "only for audiences"),
        (here.clone(), &[STS][..], 86_400, "only for as long as"),
        (path("kube-system", "conformance"), &[][..], 600, "namespace `kube-system` matches no pattern"),
        (path("kube-system", "conformance"), &[STS][..], 600, "namespace `kube-system` matches no pattern"),
    ] {
        let answer = job.refused("POST", &path, &token_request(audiences, seconds)).await?;
        is_denied(answer, &format!("a token of {path} for {audiences:?}, {seconds} s"), said)?;
    }
    let token = job.token(&namespace, "app", Some(STS), 600).await?;
    let bearer = world.bearer_in_the_cluster(&token).await?;
    let answer = bearer.refused("GET", "/version", &Value::Null).await?;
    equal(&answer.map(|refused| refused.code), &Some(401), "a token for AWS, shown to the API server")?;
    // The administrator is not bounded: what is refused above is refused by the guard alone.
    let token = world.kubernetes.token(&namespace, "app", None, 600).await?;
    is_allowed(
        world.bearer_in_the_cluster(&token).await?.refused("GET", "/version", &Value::Null).await?.as_ref(),
        "a token for the API server",
    )?;
    world.kubernetes.delete("/api/v1/namespaces/kube-system/serviceaccounts/conformance").await?;
    environment.remove().await
}

pub(super) async fn service_accounts(world: &World) -> Result<(), Failure> {
    let environment = world.environment("guard-accounts", &manifest("role: {}")).await?;
    let (namespace, job) = (environment.namespace.clone(), world.job_in_the_cluster().await?);
    put(world, &namespace, "chart", &json!({"labels": {LABEL: "Helm"}})).await?;
    put(world, &namespace, "app", &json!({"labels": {LABEL: "qovery-irsa"}})).await?;
    put(world, "kube-system", "conformance", &json!({"labels": {LABEL: "qovery-irsa"}})).await?;
    let role = |name: &str| json!({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": format!("arn:aws:iam::{}:role/{name}", world.aws.account)}}});
    let at = |namespace: &str, rest: &str| format!("/api/v1/namespaces/{namespace}/serviceaccounts{rest}");
    let own = json!({"labels": {LABEL: "qovery-irsa"}});
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "00000000-0000-4000-8000-000000000000"}]);
    for (method, path, body, said) in [
        ("PATCH", at(&namespace, "/chart"), role("administrator"), "is in neither `rolePatterns` nor `furtherRoles`"),
        ("PATCH", at(&namespace, "/chart"), json!({"metadata": own}), "may not put its label"),
        ("PATCH", at(&namespace, "/chart"), json!({"metadata": {"ownerReferences": owners}}), "and nothing else"),
        ("PATCH", at(&namespace, "/chart"), json!({"metadata": {"finalizers": ["example.com/never"]}}), "and nothing else"),
        ("PATCH", at(&namespace, "/chart"), json!({"imagePullSecrets": [{"name": "theirs"}]}), "and nothing else"),
        ("DELETE", at(&namespace, "/chart"), Value::Null, "only ServiceAccounts that it has created"),
        ("POST", at("kube-system", ""), account("new", &own), "namespace `kube-system` matches no pattern"),
        ("PATCH", at("kube-system", "/conformance"), role("qovery/x"), "namespace `kube-system` matches no pattern"),
        ("DELETE", at("kube-system", "/conformance"), Value::Null, "namespace `kube-system` matches no pattern"),
    ] {
        is_denied(job.refused(method, &path, &body).await?, &format!("{method} {path} {body}"), said)?;
    }
    collection(world, &job, &at(&namespace, "")).await?;
    is_allowed(job.refused("PATCH", &at(&namespace, "/chart"), &role("qovery/x")).await?.as_ref(), "a role below the path")?;
    is_allowed(job.refused("DELETE", &at(&namespace, "/app"), &Value::Null).await?.as_ref(), "the deletion of its own")?;
    for path in [at(&namespace, "/chart"), at("kube-system", "/conformance")] {
        check(world.kubernetes.get(&path).await?.is_some(), || format!("{path} is gone"))?;
        world.kubernetes.delete(&path).await?;
    }
    environment.remove().await
}

/// RBAC does not let the group delete a collection; the guard would not either.
async fn collection(world: &World, job: &Kubernetes, path: &str) -> Result<(), Failure> {
    let name = "/apis/rbac.authorization.k8s.io/v1/clusterroles/qovery-irsa";
    let published = world.kubernetes.get(name).await?.unwrap_or_default();
    let mut wider = json!({"rules": published["rules"]});
    if let Some(rules) = wider["rules"].as_array_mut() {
        rules.push(json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["deletecollection"]}));
    }
    world.kubernetes.merge(name, &wider).await?;
    let answer = job.refused("DELETE", path, &Value::Null).await;
    world.kubernetes.merge(name, &json!({"rules": published["rules"]})).await?;
    is_denied(answer?, "the deletion of all", "only ServiceAccounts that it has created")
}
