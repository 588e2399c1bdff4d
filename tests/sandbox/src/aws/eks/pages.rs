//! Pages: `maxResults`, `nextToken`.

use super::{super::error::AwsError, invalid};
use crate::service::Request;

const MOST: usize = 100;

/// One page of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// Of items that come with their keys in order. The token is the last key of the page before.
    pub(super) fn of(items: impl IntoIterator<Item = (String, T)>, request: &Request) -> Result<Self, AwsError> {
        let most = match request.query_value("maxResults") {
            None => MOST,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|most| (1..=MOST).contains(most))
                .ok_or_else(|| invalid("maxResults has to be between 1 and 100"))?,
        };
        let after = request.query_value("nextToken").unwrap_or_default();
        let mut rest = items.into_iter().filter(|(key, _)| *key > after).peekable();
        let mut page = Self { items: Vec::new(), next: None };
        for _ in 0..most {
            let Some((key, item)) = rest.next() else {
                break;
            };
            page.items.push(item);
            page.next = rest.peek().is_some().then_some(key);
        }
        Ok(page)
    }
}
