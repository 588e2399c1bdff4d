//! The text of a JSON file to a value. Unlike `serde_json`'s own, a key that is there twice is a problem: IAM would take one of the two.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::problems::quoted;
use crate::model::line::one_line;

/// Reads one JSON value.
///
/// # Errors
/// The text is not JSON, is nested deeper than `serde_json` goes, or has a key twice in one mapping: in words, with line and column.
pub(in crate::config) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| one_line(&error.to_string()))
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Self)? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {} is there twice", quoted(&key))));
            }
            let value = entries.next_value_seed(Self)?;
            members.insert(key, value);
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_serde_json_reads_it() {
        let text = r#" {"a": [1, -2, 0.5, true, null, "\u00e9", {}], "b": {"a": [], "b": 18446744073709551615}} "#;
        assert_eq!(parse(text), Ok(serde_json::from_str(text).unwrap()));
    }

    #[test]
    fn what_is_no_json_says_where() {
        for (text, problem) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{\"a\": 1,\n \"b\": {\"x\": 1, \"x\": 2}}", "the key `x` is there twice at line 2 column 18"),
            ("{\"a\": 1, }", "trailing comma at line 1 column 10"),
            ("{} {}", "trailing characters at line 1 column 4"),
            ("Version: 2012-10-17", "expected value at line 1 column 1"),
            ("{\"\\n\": 1, \"\\n\": 2}", "the key `\\n` is there twice at line 1 column 14"),
        ] {
            assert_eq!(parse(text).unwrap_err(), problem, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep).unwrap_err().starts_with("recursion limit exceeded"));
    }
}
