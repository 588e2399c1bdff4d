//! The HTTP client of the API server: kube's own layers, over one kind of connection.
//!
//! kube's own builder has a client for each kind of proxy, and the compiler writes all of hyper anew for each.

use http::Uri;
use http_body_util::Limited;
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        self,
        connect::{HttpConnector, proxy::Tunnel},
    },
    rt::{TokioExecutor, TokioIo},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
};
use tokio::net::TcpStream;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, util::BoxCloneSyncService};

use super::proxy;
use crate::clients::http::LARGEST_ANSWER;

/// A way to the server: direct, or through a tunnel of the proxy.
type Route = BoxCloneSyncService<Uri, TokioIo<TcpStream>, BoxError>;

/// The client that this configuration describes; each request goes through `signed`, and of an answer no more is read than answers have.
///
/// # Errors
/// What is in it to sign or to trust cannot be used.
pub(super) fn build(
    config: &Config,
    signed: impl Fn(http::Request<Body>) -> http::Request<Body> + Clone + Send + Sync + 'static,
) -> Result<Client, kube::Error> {
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(route(config.proxy_url.as_ref()))?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let layers = ServiceBuilder::new()
        .map_request(signed)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_response(limited)
        .map_err(BoxError::from);
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    Ok(Client::new(layers.service(http), config.default_namespace.clone()))
}

/// An answer that is read only as far as answers go.
fn limited<B>(answer: http::Response<B>) -> http::Response<Limited<B>> {
    answer.map(|body| Limited::new(body, LARGEST_ANSWER))
}

fn route(proxy: Option<&Uri>) -> Route {
    let mut direct = HttpConnector::new();
    // TLS comes on top of it.
    direct.enforce_http(false);
    let Some(proxy) = proxy else { return Route::new(direct.map_err(BoxError::from)) };
    let tunnel = Tunnel::new(proxy.clone(), direct);
    let tunnel = match proxy::authorization(proxy) {
        Some(authorization) => tunnel.with_auth(authorization),
        None => tunnel,
    };
    Route::new(tunnel.map_err(BoxError::from))
}
