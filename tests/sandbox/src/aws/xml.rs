//! The little XML that the Query protocol answers with.

use std::fmt::Write;

/// `<name>value</name>`, the value escaped.
pub(crate) fn text(name: &str, value: &str) -> String {
    element(name, &escape(value))
}

/// `<name>inner</name>`, where `inner` is XML already.
pub(crate) fn element(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// `<name>` with a `<member>` for each item, which are XML already.
pub(crate) fn list(name: &str, items: impl IntoIterator<Item = String>) -> String {
    let members: String = items.into_iter().map(|item| element("member", &item)).collect();
    element(name, &members)
}

/// As `list`, of plain texts.
pub(crate) fn texts<'a>(name: &str, items: impl IntoIterator<Item = &'a str>) -> String {
    list(name, items.into_iter().map(escape))
}

/// An element where there is a value, nothing where there is none.
pub(crate) fn optional(name: &str, value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| text(name, value))
}

/// The list of `Key` and `Value` pairs that IAM shows as tags.
pub(crate) fn tags<'a>(tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    list("Tags", tags.into_iter().map(|(key, value)| text("Key", key) + &text("Value", value)))
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' | '\n' | '\t' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_value_is_escaped() {
        assert_eq!(text("V", "a<b>&\"c\"\n"), "<V>a&lt;b&gt;&amp;&quot;c&quot;&#10;</V>");
    }

    #[test]
    fn a_list_wraps_each_item_in_member() {
        assert_eq!(texts("L", ["a", "b"]), "<L><member>a</member><member>b</member></L>");
    }
}
