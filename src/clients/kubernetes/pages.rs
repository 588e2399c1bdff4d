//! Lists, page by page: each page is an answer that is read whole, so that none may be long, and there is an end to their number.

use kube::{api::ListParams, core::Request};
use serde::{Deserialize, de::DeserializeOwned};

use super::Kubernetes;
use crate::clients::call::CallError;

/// No cluster has so many of anything that is listed here: a list with more never ends.
const MOST: usize = 200;

/// Of a page what is looked at. A list of kube keeps the whole answer for a while, several times its size where it has many small parts.
#[derive(Deserialize)]
struct Page<T> {
    metadata: Option<PageMetadata>,
    items: Vec<T>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// What is kept of the items of the list at a path, in pages of so many.
///
/// # Errors
/// The API server refuses, does not answer, or names a next page for ever; or `keep` does.
pub(super) async fn all<T: DeserializeOwned, K>(
    kubernetes: &Kubernetes,
    path: &str,
    parameters: ListParams,
    of: u32,
    mut keep: impl FnMut(T) -> Result<Option<K>, CallError>,
) -> Result<Vec<K>, CallError> {
    let mut parameters = parameters.limit(of);
    let request = Request::new(path);
    let mut kept = Vec::new();
    for _ in 0..MOST {
        let asked = request.list(&parameters).map_err(|error| kubernetes.failed(&kube::Error::BuildRequest(error)))?;
        let page: Page<T> = kubernetes.client.request(asked).await.map_err(|error| kubernetes.failed(&error))?;
        for item in page.items {
            kept.extend(keep(item)?);
        }
        match page.metadata.and_then(|metadata| metadata.next).filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(kept),
        }
    }
    Err(CallError::unreadable(format!("the list has more than {MOST} pages")))
}
