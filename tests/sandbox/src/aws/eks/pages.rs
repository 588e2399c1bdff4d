//! Pages: `maxResults`, `nextToken`.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::{super::error::AwsError, invalid};
use crate::service::Request;

const MOST: usize = 100;

/// One page of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// Of items that come with their keys in order. The token stands for the last key of the page before.
    pub(super) fn of(items: impl IntoIterator<Item = (String, T)>, request: &Request) -> Result<Self, AwsError> {
        let most = match request.query_value("maxResults") {
            None => MOST,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|most| (1..=MOST).contains(most))
                .ok_or_else(|| invalid("maxResults has to be between 1 and 100"))?,
        };
        let after = match request.query_value("nextToken") {
            None => String::new(),
            Some(token) => {
                let key = BASE64URL.decode(&token).ok().and_then(|key| String::from_utf8(key).ok());
                key.ok_or_else(|| invalid(format!("Invalid nextToken: {token}")))?
            }
        };
        let mut rest = items.into_iter().filter(|(key, _)| *key > after).peekable();
        let mut page = Self { items: Vec::new(), next: None };
        for _ in 0..most {
            let Some((key, item)) = rest.next() else {
                break;
            };
            page.items.push(item);
            page.next = rest.peek().is_some().then(|| BASE64URL.encode(key));
        }
        Ok(page)
    }
}
