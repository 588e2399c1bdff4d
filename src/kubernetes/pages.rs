//! Lists, page by page: each page is an answer that is read whole, so that none may be long, and there is an end to their number.

use kube::{api::ListParams, core::ObjectList};

use super::error;
use crate::call::{CallError, Kind};

/// No cluster has so many of anything that is listed here: a list with more never ends.
const MOST: usize = 200;

/// What is kept of the items of a list, in pages of so many.
///
/// # Errors
/// The API server refuses, does not answer, or names a next page for ever; or `keep` does.
pub(super) async fn all<T: Clone, K>(
    parameters: ListParams,
    of: u32,
    page: impl AsyncFn(&ListParams) -> kube::Result<ObjectList<T>>,
    mut keep: impl FnMut(T) -> Result<Option<K>, CallError>,
) -> Result<Vec<K>, CallError> {
    let mut parameters = parameters.limit(of);
    let mut kept = Vec::new();
    for _ in 0..MOST {
        let listed = page(&parameters).await.map_err(|error| error::of_kube(&error))?;
        for item in listed.items {
            kept.extend(keep(item)?);
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(kept),
        }
    }
    Err(CallError::new(Kind::Other, "UnreadableAnswer", format!("the list has more than {MOST} pages")))
}
