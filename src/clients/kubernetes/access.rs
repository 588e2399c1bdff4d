//! The ways to the API server: a kubeconfig, the token mounted into the pod, or an EKS token.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderValue, header::AUTHORIZATION};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, KubeconfigError},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;
use thiserror::Error;

use super::{client, error, file::read, kubeconfig, proxy};
use crate::{
    clients::call::{CallError, ErrorKind},
    model::{
        address::may_get_a_token,
        api_server::ApiServer,
        names::{NameProblem, Namespace, Subject},
        oidc::{Audience, IssuerUrl},
        token::Claims,
    },
};

/// Why there is no way to the API server.
#[derive(Debug, Error)]
pub enum KubernetesProblem {
    /// The kubeconfig is not usable.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// A file beside the mounted token cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The pod does not know where the API server is.
    #[error("`KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` do not name the API server")]
    NoServer,
    /// The address of the API server is no URL.
    #[error("`{0}` is not the URL of an API server")]
    Address(String),
    /// The certificate authority is not PEM.
    #[error("the cluster's certificate authority is not PEM")]
    Authority(#[source] rustls::pki_types::pem::Error),
    /// The mounted token is none.
    #[error("`{}` holds no ServiceAccount token", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The issuer of the mounted token is none.
    #[error("the mounted token names an issuer in an unknown form")]
    Issuer(#[source] NameProblem),
    /// The proxy is not one of HTTP; or it is spoken to by TLS, to which kube would trust the cluster's authority only, and show the
    /// kubeconfig's client certificate. Its URL may hold a password and is not shown.
    #[error("the URL of the proxy for the API server does not begin with `http://`")]
    Proxy,
    /// Whoever stands between would read the job's token and every token that it requests. Credentials in the URL are not shown.
    #[error(
        "the API server `{0}` is not reached by TLS: nothing was sent, since tokens go over `https://` only, or to a loopback address without a proxy"
    )]
    Plain(String),
    /// The client cannot be set up.
    #[error("cannot set up the Kubernetes client")]
    Client(#[source] kube::Error),
}

/// Which way was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The file that `KUBECONFIG` names, or the user's.
    Kubeconfig,
    /// The token mounted into the pod.
    Token,
    /// A token made from AWS credentials.
    Eks,
}

/// The API server.
#[derive(Clone)]
pub struct Kubernetes {
    pub(super) client: Client,
    /// Where it is.
    server: ApiServer,
    /// Host and port, and who named them: for people.
    shown: String,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kubernetes")
    }
}

impl Kubernetes {
    /// By the kubeconfig that `KUBECONFIG` names, or `~/.kube/config`. A program that it names for credentials is run beside the
    /// rest of the process.
    ///
    /// # Errors
    /// It cannot be used.
    pub async fn by_kubeconfig() -> Result<Self, KubernetesProblem> {
        let problem = |error| KubernetesProblem::Kubeconfig(without_content(&error));
        let kubeconfig = kubeconfig::read().map_err(KubernetesProblem::Kubeconfig)?;
        let stated = proxy::stated(&kubeconfig);
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(problem)?;
        config.proxy_url = match stated {
            Some(url) => Some(url.parse().map_err(|error| problem(KubeconfigError::ParseProxyUrl(error)))?),
            None => proxy::of_environment(&config.cluster_url),
        };
        let client = tokio::task::spawn_blocking(|| Self::of(config, "the kubeconfig")).await;
        client.unwrap_or_else(|error| Err(KubernetesProblem::Kubeconfig(error.to_string())))
    }

    /// By the token mounted into the pod; without a proxy, since the API server's address is one of the cluster's own.
    ///
    /// # Errors
    /// The pod does not know its API server, or its certificate authority cannot be read.
    pub fn by_mounted_token(token: &MountedToken) -> Result<Self, KubernetesProblem> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(KubernetesProblem::NoServer);
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let authority_file = token.directory.join("ca.crt");
        let authority = read(&authority_file).map_err(|source| KubernetesProblem::File { path: authority_file, source })?;
        let mut config = config(&format!("https://{host}:{port}"), &authority)?;
        config.auth_info.token_file = Some(token.file().display().to_string());
        Self::of(config, "`KUBERNETES_SERVICE_HOST`")
    }

    /// By address, certificate authority and the bearer token that is asked for before each request.
    ///
    /// # Errors
    /// The address is no URL or the authority no PEM.
    pub fn by_bearer_token(
        endpoint: &str,
        authority: &[u8],
        token: impl Fn() -> String + Clone + Send + Sync + 'static,
    ) -> Result<Self, KubernetesProblem> {
        let mut config = config(endpoint, authority)?;
        config.proxy_url = proxy::of_environment(&config.cluster_url);
        Self::signing(config, "EKS", move |mut request| {
            if let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", token())) {
                bearer.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, bearer);
            }
            request
        })
    }

    /// By what the configuration itself holds to sign with.
    fn of(config: Config, named_by: &str) -> Result<Self, KubernetesProblem> {
        Self::signing(config, named_by, |request| request)
    }

    fn signing(
        mut config: Config,
        named_by: &str,
        signed: impl Fn(http::Request<Body>) -> http::Request<Body> + Clone + Send + Sync + 'static,
    ) -> Result<Self, KubernetesProblem> {
        // One rule for trying again, `Patience::call`, for all services.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(Duration::from_secs(15));
        config.write_timeout = Some(Duration::from_secs(15));
        // Before a program that a kubeconfig names is asked for a token.
        let url = &config.cluster_url;
        let is_plain = url.scheme_str() != Some("https");
        // Without what may stand before an `@`.
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let host = format!("{}{port}", url.host().unwrap_or_default());
        if !may_get_a_token(url.scheme_str(), url.host()) || (is_plain && config.proxy_url.is_some()) {
            return Err(KubernetesProblem::Plain(format!("{}://{host}", url.scheme_str().unwrap_or_default())));
        }
        if config.proxy_url.as_ref().is_some_and(|proxy| proxy.scheme_str() != Some("http")) {
            return Err(KubernetesProblem::Proxy);
        }
        let shown = format!("API server `{host}`, as {named_by} names it");
        let server = server(&config);
        let client = client::build(&config, signed).map_err(KubernetesProblem::Client)?;
        Ok(Self { client, server, shown })
    }

    /// Where it is and who vouches for it.
    #[must_use]
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// What a call failed with; where there was no way to the API server, with its host.
    pub(super) fn failed(&self, error: &kube::Error) -> CallError {
        let failed = error::of_kube(error);
        match failed.kind {
            ErrorKind::NoConnection | ErrorKind::UntrustedCertificate => {
                CallError { message: format!("{} ({})", failed.message, self.shown), ..failed }
            }
            _ => failed,
        }
    }

    /// The issuer of the cluster's tokens, from one that it gives for the namespace's ServiceAccount `default`. The token is thrown away.
    ///
    /// # Errors
    /// The API server refuses, does not answer, or gives a token in an unknown form.
    pub async fn issuer_by_token(&self, namespace: &Namespace) -> Result<IssuerUrl, CallError> {
        let unreadable = |problem: &NameProblem| CallError::unreadable(problem.to_string());
        let service_account = "default".parse().map_err(|problem| unreadable(&problem))?;
        let token = self.token(&Subject { namespace: namespace.clone(), service_account }, &Audience::default()).await?;
        let claims = Claims::of(&token).ok_or_else(|| CallError::unreadable("the token has no issuer"))?;
        claims.issuer.parse().map_err(|problem| unreadable(&problem))
    }

    /// The issuer of the cluster's tokens, from its discovery document.
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
    ///
    /// # Errors
    /// The API server refuses, does not answer, or names an issuer that can be none.
    pub async fn issuer(&self) -> Result<IssuerUrl, CallError> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
        }
        let request = http::Request::get("/.well-known/openid-configuration").body(Vec::new());
        let request = request.map_err(|error| CallError::not_sent(error.to_string()))?;
        let discovery: Discovery = self.client.request(request).await.map_err(|error| self.failed(&error))?;
        discovery.issuer.parse().map_err(|problem: NameProblem| CallError::unreadable(problem.to_string()))
    }
}

/// What is wrong with a kubeconfig, and nothing of what stands in it: it holds keys and tokens.
fn without_content(error: &KubeconfigError) -> String {
    use KubeconfigError as Error;
    match error {
        Error::CurrentContextNotSet => "it names no current context".to_owned(),
        Error::LoadContext(_) => "it does not have the context that it names".to_owned(),
        Error::LoadClusterOfContext(_) => "it does not have the cluster of its context".to_owned(),
        Error::MissingClusterUrl | Error::ParseClusterUrl(_) => "its cluster has no URL that can be used".to_owned(),
        Error::LoadCertificateAuthority(_) | Error::ParseCertificates(_) => "its certificate authority cannot be read".to_owned(),
        Error::LoadClientCertificate(_) | Error::LoadClientKey(_) => "its client certificate or key cannot be read".to_owned(),
        Error::ParseProxyUrl(_) => "its `proxy-url`, or `HTTPS_PROXY`, is no URL".to_owned(),
        Error::ParseNoProxy(_) => "an entry of `NO_PROXY` is empty or none".to_owned(),
        _ => "it is not one that can be used here".to_owned(),
    }
}

/// The server of a configuration.
fn server(config: &Config) -> ApiServer {
    let url = &config.cluster_url;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    // A name that nobody checks says nothing.
    let certified = config.tls_server_name.as_deref().filter(|_| !config.accept_invalid_certs);
    ApiServer::new(url.host().unwrap_or_default(), port, certified, config.root_cert.iter().flatten().cloned())
}

/// The server that EKS describes.
///
/// # Errors
/// The address is no URL or the authority no PEM.
pub fn described_server(endpoint: &str, authority: &[u8]) -> Result<ApiServer, KubernetesProblem> {
    config(endpoint, authority).map(|config| server(&config))
}

fn config(endpoint: &str, authority: &[u8]) -> Result<Config, KubernetesProblem> {
    let url = endpoint.parse().map_err(|_| KubernetesProblem::Address(endpoint.to_owned()))?;
    let mut config = Config::new(url);
    let certificates = CertificateDer::pem_slice_iter(authority).map(|certificate| certificate.map(|certificate| certificate.to_vec()));
    config.root_cert = Some(certificates.collect::<Result<_, _>>().map_err(KubernetesProblem::Authority)?);
    Ok(config)
}

/// The ServiceAccount token that Kubernetes mounts into a pod.
#[derive(Clone, Debug)]
pub struct MountedToken {
    directory: PathBuf,
}

impl MountedToken {
    /// The token in this directory, if there is one.
    #[must_use]
    pub fn find(directory: &Path) -> Option<Self> {
        let token = Self { directory: directory.to_owned() };
        token.file().is_file().then_some(token)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// The issuer, and its ServiceAccount: the claims `iss` and `sub`. Nobody needs to verify them: it is the API server that
    /// the token is for.
    ///
    /// # Errors
    /// The file cannot be read or holds no such token.
    pub fn issuer_and_account(&self) -> Result<(IssuerUrl, Subject), KubernetesProblem> {
        let path = self.file();
        let token = read(&path).map_err(|source| KubernetesProblem::File { path: path.clone(), source })?;
        let none = || KubernetesProblem::Token { path: path.clone() };
        let claims = Claims::of(&String::from_utf8_lossy(&token)).ok_or_else(none)?;
        let account = claims.subject.strip_prefix("system:serviceaccount:").and_then(|subject| {
            let (namespace, name) = subject.split_once(':')?;
            Some(Subject { namespace: namespace.parse().ok()?, service_account: name.parse().ok()? })
        });
        Ok((claims.issuer.parse().map_err(KubernetesProblem::Issuer)?, account.ok_or_else(none)?))
    }
}
