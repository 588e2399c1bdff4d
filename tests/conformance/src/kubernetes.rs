//! The cluster as its administrator sees it: paths and JSON, no types of ours.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::failure::{Doing as _, Failure};

/// Writes fields under a name of its own, as a person or another tool would.
const FIELD_MANAGER: &str = "conformance";

pub(crate) struct Kubernetes {
    client: Client,
    /// The cluster of a kubeconfig: its address and whom to trust.
    cluster: Value,
}

/// A refusal, in the API server's words.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// The cluster of a kubeconfig.
pub(crate) fn cluster(url: &str, authority: &str) -> Value {
    json!({"server": url, "certificate-authority-data": STANDARD.encode(authority)})
}

/// Writes a kubeconfig with a bearer token.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_kubeconfig(path: &Path, cluster: &Value, token: &str) -> Result<(), Failure> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "conformance", "cluster": cluster}],
        "users": [{"name": "conformance", "user": {"token": token}}],
        "contexts": [{"name": "conformance", "context": {"cluster": "conformance", "user": "conformance"}}],
        "current-context": "conformance",
    });
    std::fs::write(path, config.to_string()).doing(|| format!("cannot write `{}`", path.display()))
}

impl Kubernetes {
    /// By a kubeconfig's current context.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) async fn new(kubeconfig: Kubeconfig) -> Result<Self, Failure> {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let config = config.doing(|| "the kubeconfig cannot be used".to_owned())?;
        let mut cluster = json!({"server": config.cluster_url.to_string()});
        if let Some(certificates) = &config.root_cert {
            let pem: String = certificates.iter().map(|certificate| pem(certificate)).collect();
            cluster["certificate-authority-data"] = json!(STANDARD.encode(pem));
        }
        if config.accept_invalid_certs {
            cluster["insecure-skip-tls-verify"] = json!(true);
        }
        if let Some(name) = &config.tls_server_name {
            cluster["tls-server-name"] = json!(name);
        }
        let client = Client::try_from(config).doing(|| "cannot set up the Kubernetes client".to_owned())?;
        Ok(Self { client, cluster })
    }

    /// For a kubeconfig of somebody else.
    pub(crate) fn cluster(&self) -> &Value {
        &self.cluster
    }

    async fn send(&self, method: Method, path: &str, content_type: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.client.request(request.body(body).map_err(kube::Error::HttpError)?).await
    }

    /// # Errors
    /// The API server refuses or does not answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.send(Method::GET, path, "application/json", None).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).doing(|| format!("GET {path}")),
        }
    }

    /// # Errors
    /// The API server refuses or does not answer.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, "application/json", Some(object)).await.doing(|| format!("POST {path}"))
    }

    /// Server-side apply.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(crate) async fn apply(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        let path = format!("{path}?fieldManager={FIELD_MANAGER}&force=true");
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", Some(object)).await.doing(|| format!("PATCH {path}"))
    }

    /// JSON merge patch: `null` takes away.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(crate) async fn merge(&self, path: &str, change: &Value) -> Result<Value, Failure> {
        let path = format!("{path}?fieldManager={FIELD_MANAGER}");
        self.send(Method::PATCH, &path, "application/merge-patch+json", Some(change)).await.doing(|| format!("PATCH {path}"))
    }

    /// # Errors
    /// The API server refuses or does not answer.
    pub(crate) async fn put(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        self.send(Method::PUT, path, "application/json", Some(object)).await.doing(|| format!("PUT {path}"))
    }

    /// What is not there is as good as deleted.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        match self.send(Method::DELETE, path, "application/json", None).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).doing(|| format!("DELETE {path}")),
        }
    }

    /// What the API server says if it refuses; nothing if it does as it is told.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: &Value) -> Result<Option<Refused>, Failure> {
        let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let verb = method.parse::<Method>().doing(|| format!("`{method}` is no method"))?;
        match self.send(verb, path, content_type, (!body.is_null()).then_some(body)).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => {
                Ok(Some(Refused { code: status.code, reason: status.reason.clone(), message: status.message.clone() }))
            }
            Err(error) => Err(error).doing(|| format!("{method} {path}")),
        }
    }

    /// A token as a pod of the ServiceAccount gets one.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(crate) async fn token(&self, namespace: &str, name: &str, audience: Option<&str>, seconds: u32) -> Result<String, Failure> {
        let audiences: Vec<&str> = audience.into_iter().collect();
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": audiences, "expirationSeconds": seconds}});
        let answer = self.create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"), &request).await?;
        answer["status"]["token"].as_str().map(str::to_owned).ok_or_else(|| Failure::new("the API server gave no token"))
    }

    /// Whose tokens they are.
    ///
    /// # Errors
    /// The API server does not say.
    pub(crate) async fn issuer(&self) -> Result<String, Failure> {
        let discovery = self.get("/.well-known/openid-configuration").await?;
        let issuer = discovery.as_ref().and_then(|discovery| discovery["issuer"].as_str());
        issuer.map(str::to_owned).ok_or_else(|| Failure::new("the cluster does not say who issues its tokens"))
    }
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<String> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
