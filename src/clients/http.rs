//! One HTTP client with one TLS configuration for AWS, EKS and Qovery, and its place in the AWS SDK.
//!
//! Kubernetes has a client of its own in `kube`, which trusts the cluster's certificates only.

use std::{path::PathBuf, sync::Arc, time::Duration};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::{Headers, StatusCode},
};
use aws_smithy_types::body::SdkBody;
use http_body_util::LengthLimitError;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use thiserror::Error;

use crate::{
    clients::call::{CallError, CredentialFault, ErrorKind},
    model::{address::may_get_a_token, line::bounded},
};

/// Answers are some kilobytes; one that is larger than this is refused.
pub const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// Why there is no HTTP client.
#[derive(Debug, Error)]
pub enum HttpProblem {
    /// The file of further root certificates cannot be read.
    #[error("`{variable}`: cannot read certificates from `{}`", path.display())]
    Certificates {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// TLS or the client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Makes the process use one implementation of cryptography, whoever asks.
pub fn install_crypto() {
    // Already installed is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The client: the compiled-in roots, and those of the PEM files that `SSL_CERT_FILE` and `AWS_CA_BUNDLE` name; no redirects,
/// since a signed request must not go elsewhere.
///
/// # Errors
/// A named file cannot be read, or TLS cannot be set up.
pub fn client() -> Result<reqwest::Client, HttpProblem> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for variable in ["SSL_CERT_FILE", "AWS_CA_BUNDLE"] {
        let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from) else { continue };
        let problem = |source| HttpProblem::Certificates { variable, path: path.clone(), source };
        let certificates = CertificateDer::pem_file_iter(&path).map_err(problem)?;
        // One odd certificate in a bundle is no reason to trust none.
        roots.add_parsable_certificates(certificates.collect::<Result<Vec<_>, _>>().map_err(problem)?);
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpProblem::Client(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(15))
        .user_agent(concat!("qovery-irsa/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| HttpProblem::Client(error.into()))
}

/// Reads an answer to its end.
///
/// # Errors
/// The connection fails, or the answer is larger than 8 MiB.
pub async fn read_body(response: &mut reqwest::Response) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(TooLarge.into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An answer that is larger than [`LARGEST_ANSWER`].
#[derive(Clone, Copy, Debug, Error)]
#[error("the answer is larger than {LARGEST_ANSWER} bytes")]
pub struct TooLarge;

/// A web identity token that was about to go to an address without TLS.
#[derive(Debug, Error)]
#[error("nothing was sent to `{0}`: a web identity token goes over `https://` only, or to a loopback address")]
pub struct Plain(String);

/// Whether a token was about to be sent without TLS.
#[must_use]
pub fn is_plain(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(<dyn std::error::Error>::is::<Plain>)
}

/// What a call failed with whose answer could not be read to its end. One that is too large is so the next time too.
#[must_use]
pub fn unread(error: &(dyn std::error::Error + 'static)) -> CallError {
    if is_too_large(error) {
        CallError::unreadable(TooLarge.to_string())
    } else {
        CallError::new(ErrorKind::NoConnection, "NoConnection", CallError::chain(error))
    }
}

/// What a call failed with that something else than the service answered, as a proxy does: no success, and a body in a language of its
/// own. What the status would say in the service's mouth, that a thing is missing or not permitted, it does not say here.
#[must_use]
pub fn foreign(status: u16, body: &[u8]) -> CallError {
    const LONGEST: usize = 200;
    let kind = match status {
        401 => ErrorKind::Credentials(CredentialFault::Unsaid),
        429 => ErrorKind::Throttled,
        408 | 500.. => ErrorKind::Transient,
        _ => ErrorKind::Other,
    };
    let said = String::from_utf8_lossy(&body[..body.len().min(16 * LONGEST)]);
    let said = bounded(&said.split_whitespace().collect::<Vec<_>>().join(" "), LONGEST);
    let message = format!("HTTP status {status}: {}", if said.is_empty() { "no body" } else { &said });
    CallError { is_foreign: true, ..CallError::new(kind, "ForeignAnswer", message) }
}

/// Whether an answer was read only as far as answers go.
#[must_use]
pub fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<TooLarge>() || error.is::<LengthLimitError>())
}

/// Whether TLS itself refused the peer: waiting does not help.
#[must_use]
pub fn is_refused_by_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        // What stands inside an I/O error is not its source, but the source's source.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inside.map(|inside| inside as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

/// The shared client, as the AWS SDK calls it.
#[derive(Clone, Debug)]
pub struct SdkHttpClient(pub reqwest::Client);

impl HttpClient for SdkHttpClient {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SdkHttpClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move { send(&client, request).await })
    }
}

/// The parameter of STS's query with the token.
const WEB_IDENTITY: &[u8] = b"WebIdentityToken=";

async fn send(client: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let user = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::user(error);
    let request = request.try_into_http1x().map_err(|error| user(error.into()))?;
    let (parts, body) = request.into_parts();
    let body = body.bytes().ok_or_else(|| user("a body that is not in memory".into()))?.to_vec();
    // Whoever has it has the role. Of what else is sent to AWS, a signature is all that can be read on the way.
    // https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    let has_token = body.windows(WEB_IDENTITY.len()).any(|part| part == WEB_IDENTITY);
    if has_token && !may_get_a_token(parts.uri.scheme_str(), parts.uri.host()) {
        let (scheme, host) = (parts.uri.scheme_str().unwrap_or_default(), parts.uri.host().unwrap_or_default());
        return Err(user(Plain(format!("{scheme}://{host}")).into()));
    }
    let request = reqwest::Request::try_from(http::Request::from_parts(parts, body)).map_err(|error| user(error.into()))?;
    let mut response = client.execute(request).await.map_err(connector_error)?;
    let status = StatusCode::try_from(response.status().as_u16()).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut headers = Headers::new();
    for (name, value) in response.headers() {
        if let Ok(value) = value.to_str() {
            headers.append(name.as_str().to_owned(), value.to_owned());
        }
    }
    let body = read_body(&mut response).await.map_err(ConnectorError::io)?;
    let mut answer = HttpResponse::new(status, SdkBody::from(body));
    *answer.headers_mut() = headers;
    Ok(answer)
}

fn connector_error(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if is_refused_by_tls(&error) {
        ConnectorError::other(error.into(), None)
    } else {
        ConnectorError::io(error.into())
    }
}
