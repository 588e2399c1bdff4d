//! Pages: `MaxItems`, `Marker`, `IsTruncated`.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::super::{error::AwsError, query::Parameters, xml};

/// One page of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    marker: Option<String>,
}

impl<T> Page<T> {
    /// Of items that come with their keys in order. The marker is the last key of the page before.
    pub(super) fn of(items: impl IntoIterator<Item = (String, T)>, parameters: &Parameters) -> Result<Self, AwsError> {
        let most = parameters.number("MaxItems", 1, 1_000)?.unwrap_or(100);
        let after = parameters.text("Marker").map(read_marker).transpose()?;
        let mut rest = items.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).peekable();
        let mut page = Self { items: Vec::new(), marker: None };
        for _ in 0..most {
            let Some((key, item)) = rest.next() else {
                break;
            };
            page.items.push(item);
            page.marker = rest.peek().is_some().then(|| BASE64URL.encode(key));
        }
        Ok(page)
    }

    /// `IsTruncated` and `Marker`.
    pub(super) fn end(&self) -> String {
        let truncated = xml::text("IsTruncated", &self.marker.is_some().to_string());
        truncated + &xml::optional("Marker", self.marker.as_deref())
    }
}

fn read_marker(marker: &str) -> Result<String, AwsError> {
    BASE64URL.decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| AwsError::validation("Invalid Marker."))
}
