//! The language of Terraform as text, in the form of `terraform fmt`: blocks, attributes, templates.
//!
//! What is written in it is not known here.

use std::fmt::Write as _;

#[cfg(feature = "laptop")]
use serde_json::Value;

pub(crate) fn block(header: &str, body: &Body) -> String {
    format!("{header} {{\n{}}}\n", body.render())
}

/// A line of a block.
struct Line {
    depth: usize,
    /// The name, where the whole value stands on this line.
    name: Option<String>,
    /// The value, or all that is on the line.
    text: String,
}

impl Line {
    /// One that is no whole attribute: where one begins or ends, or a comment.
    fn open(depth: usize, text: &str) -> Self {
        Self { depth, name: None, text: text.to_owned() }
    }
}

/// The lines of a block.
#[derive(Default)]
pub(crate) struct Body {
    lines: Vec<Line>,
    depth: usize,
}

impl Body {
    pub(crate) fn line(&mut self, line: &str) {
        self.lines.push(Line::open(self.depth, line));
    }

    pub(crate) fn raw(&mut self, name: &str, value: &str) {
        self.lines.push(Line { depth: self.depth, name: Some(name.to_owned()), text: value.to_owned() });
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    pub(crate) fn comment(&mut self, text: &str) {
        text.lines().for_each(|line| self.line(format!("# {line}").trim_end()));
    }

    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.line(&format!("{name} = {{"));
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.line("}");
    }

    pub(crate) fn list(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.line(&format!("{name} = ["));
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.line("]");
    }

    /// A block in the block: without an equals sign.
    pub(crate) fn nested(&mut self, header: &str, fill: impl FnOnce(&mut Self)) {
        self.line(&format!("{header} {{"));
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.line("}");
    }

    /// A JSON document as an expression of the language, which `jsonencode` makes a text of again.
    #[cfg(feature = "laptop")]
    pub(crate) fn document(&mut self, name: &str, value: &Value) {
        self.value(&format!("{name} = jsonencode("), value, ")");
    }

    /// A mapping, as of tags.
    #[cfg(feature = "laptop")]
    pub(crate) fn members(&mut self, name: &str, value: &Value) {
        self.value(&format!("{name} = "), value, "");
    }

    #[cfg(feature = "laptop")]
    fn value(&mut self, before: &str, value: &Value, after: &str) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                self.line(&format!("{before}{{"));
                self.depth += 1;
                for (key, member) in members {
                    match scalar(member) {
                        Some(text) => self.raw(&key_of(key), &text),
                        None => self.value(&format!("{} = ", key_of(key)), member, ""),
                    }
                }
                self.depth -= 1;
                self.line(&format!("}}{after}"));
            }
            Value::Array(items) if !items.is_empty() => {
                self.line(&format!("{before}["));
                self.depth += 1;
                for item in items {
                    self.value("", item, ",");
                }
                self.depth -= 1;
                self.line(&format!("]{after}"));
            }
            other => self.line(&format!("{before}{}{after}", scalar(other).unwrap_or_default())),
        }
    }

    pub(crate) fn pairs<'a>(&mut self, name: &str, pairs: impl Iterator<Item = (&'a str, String)>) {
        let mut pairs = pairs.peekable();
        if pairs.peek().is_none() {
            return;
        }
        self.list(name, |body| {
            for (key, value) in pairs {
                body.line(&format!("{{ key = {}, value = {value} }},", quoted(key)));
            }
        });
    }

    /// As `terraform fmt` writes it: two spaces for each depth, and the equals signs of attributes below one another where nothing else
    /// stands between them. <https://developer.hashicorp.com/terraform/language/style>
    fn render(&self) -> String {
        let mut text = String::new();
        for run in self.lines.chunk_by(|one, next| one.name.is_some() && next.name.is_some()) {
            let widest = run.iter().filter_map(|line| line.name.as_ref()).map(String::len).max().unwrap_or_default();
            for Line { depth, name, text: value } in run {
                text.push_str(&"  ".repeat(depth + 1));
                if let Some(name) = name {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{name:widest$} = ");
                }
                text.push_str(value);
                text.push('\n');
            }
        }
        text
    }
}

/// A quoted template of HCL: `${` and `%{` would begin an expression.
/// <https://developer.hashicorp.com/terraform/language/expressions/strings>
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if characters.peek() == Some(&'{') => quoted.extend([character, character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// What stands on one line; nothing of what has members.
#[cfg(feature = "laptop")]
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(quoted(text)),
        Value::Array(items) if items.is_empty() => Some("[]".to_owned()),
        Value::Object(members) if members.is_empty() => Some("{}".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

/// A key of an object: in quotes where it is no name.
#[cfg(feature = "laptop")]
fn key_of(key: &str) -> String {
    let is_name =
        key.starts_with(|first: char| first.is_ascii_alphabetic()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { key.to_owned() } else { quoted(key) }
}

/// The name of a resource: letters, digits and `_`, not beginning with a digit.
pub(crate) fn identifier(name: &str) -> String {
    let name: String =
        name.chars().map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' }).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of these lines: `name = value`, or anything else as it is.
    fn rendered(lines: &[(&str, &str)]) -> String {
        let mut body = Body::default();
        for (name, value) in lines {
            if name.is_empty() { body.line(value) } else { body.raw(name, value) }
        }
        body.render()
    }

    #[test]
    fn equals_signs_stand_below_one_another_until_something_else_stands_between() {
        for (lines, expected) in [
            (vec![("a", "1")], "  a = 1\n"),
            (vec![("a", "1"), ("long", "2"), ("bb", "3")], "  a    = 1\n  long = 2\n  bb   = 3\n"),
            (vec![("a", "1"), ("", "# why"), ("long", "2")], "  a = 1\n  # why\n  long = 2\n"),
            (vec![("", "list = ["), ("", "]"), ("a", "1"), ("long", "2")], "  list = [\n  ]\n  a    = 1\n  long = 2\n"),
            (vec![], ""),
        ] {
            assert_eq!(rendered(&lines), expected, "{lines:?}");
        }
        let mut body = Body::default();
        body.raw("outer", "1");
        body.object("o", |body| {
            body.raw("a", "1");
            body.object("deep", |body| body.raw("longest_of_all", "{ b = 1 }"));
            body.raw("bb", "2");
            body.raw("c", "{}");
        });
        body.raw("z", "3");
        assert_eq!(
            body.render(),
            "  outer = 1\n  o = {\n    a = 1\n    deep = {\n      longest_of_all = { b = 1 }\n    }\n    bb = 2\n    c  = {}\n  }\n  z = 3\n"
        );
    }
}
