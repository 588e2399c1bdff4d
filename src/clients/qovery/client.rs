//! The client: one request and its answer, with the token of the job.

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error;
use crate::{
    clients::{
        call::CallError,
        http::{read_body, unread},
    },
    model::qovery::{QoveryAccess, QoveryId},
};

/// Qovery's API, as one environment's job or its installer speaks to it.
#[derive(Clone, Debug)]
pub struct Qovery {
    http: reqwest::Client,
    access: QoveryAccess,
}

impl Qovery {
    /// Sets up the client; nothing is sent.
    #[must_use]
    pub fn new(access: &QoveryAccess, http: &reqwest::Client) -> Self {
        Self { http: http.clone(), access: access.clone() }
    }

    /// The environment that it is about.
    #[must_use]
    pub fn environment(&self) -> &QoveryId {
        &self.access.environment
    }

    /// Reads what is at a path.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let body = self.send(Method::GET, path, None).await?;
        serde_json::from_slice(&body).map_err(|error| error::unreadable(&error))
    }

    /// Sends a body, and reads what is answered.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, CallError> {
        let body = self.send(Method::POST, path, Some(body)).await?;
        serde_json::from_slice(&body).map_err(|error| error::unreadable(&error))
    }

    /// Asks for something to be done, with a body, none if it is null, and does not look at what is answered but for whether it is good.
    pub(super) async fn order(&self, path: &str, body: &Value) -> Result<(), CallError> {
        self.send(Method::POST, path, Some(body).filter(|body| !body.is_null())).await.map(drop)
    }

    /// Sends a body, none if it is null, and does not look at what is answered but for whether it is good.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<(), CallError> {
        self.send(Method::PUT, path, Some(body).filter(|body| !body.is_null())).await.map(drop)
    }

    /// Deletes what is at a path.
    pub(super) async fn delete(&self, path: &str) -> Result<(), CallError> {
        self.send(Method::DELETE, path, None).await.map(drop)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, CallError> {
        let url = format!("{}{path}", self.access.url.as_str().trim_end_matches('/'));
        let mut authorization = http::HeaderValue::try_from(authorization(self.access.token.reveal()))
            // Without the error: it could show the token.
            .map_err(|_| CallError::not_sent("the token cannot stand in a header"))?;
        authorization.set_sensitive(true);
        let mut request = self.http.request(method, url).header(http::header::AUTHORIZATION, authorization);
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| error::of_connection(&error))?;
        let status = response.status();
        let retry_after = response.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = read_body(&mut response).await.map_err(|error| unread(&*error))?;
        if status.is_success() { Ok(body) } else { Err(error::refused(status.as_u16(), retry_after.as_deref(), &body)) }
    }
}

/// An API token is a `Token`; what `qovery auth` gets, a JWT, is a `Bearer`.
/// <https://api-doc.qovery.com/#section/Authentication>
fn authorization(token: &str) -> String {
    let is_jwt = token.starts_with("eyJ") && token.bytes().filter(|byte| *byte == b'.').count() == 2;
    format!("{} {token}", if is_jwt { "Bearer" } else { "Token" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_token_and_a_login_are_shown_differently() {
        assert_eq!(authorization("qov_2aB_3"), "Token qov_2aB_3");
        assert_eq!(authorization("eyJhbGciOi.eyJzdWIi.c2ln"), "Bearer eyJhbGciOi.eyJzdWIi.c2ln");
    }
}
