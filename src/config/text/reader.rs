//! Nodes to the manifest as typed: a serde deserializer that goes on after a problem.
//!
//! Serde stops at the first error. Here every field is a [`Typed`], which turns an error into [`Typed::Wrong`] after it
//! has been reported with its place, so the fields beside it are still read. Unknown keys are found by the list of
//! fields that serde tells. What a value means is not known here.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    limits::LONGEST_GUESSED,
    node::{Node, Number, Value},
    problems::{At, choices, quoted},
};

/// Reads a value of the manifest; its problems are in the log of `at` afterwards.
pub(in crate::config) fn read<'de, T: Deserialize<'de>>(node: &'de Node, at: &At<'_>) -> Typed<T> {
    Typed::deserialize(Reader { node, at }).unwrap_or(Typed::Wrong)
}

/// A value as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::config) enum Typed<T> {
    /// It is not there, or null.
    #[default]
    Absent,
    /// It is there and its problem is reported.
    Wrong,
    /// It is there.
    Value(T),
}

impl<T> Typed<T> {
    /// The value, if there is one.
    pub(in crate::config) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    pub(in crate::config) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = Typed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(Typed::Absent)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                Ok(T::deserialize(deserializer).map_or(Typed::Wrong, Typed::Value))
            }
        }

        // As an option: a key that is missing then needs no `#[serde(default)]`.
        deserializer.deserialize_option(Visit(std::marker::PhantomData))
    }
}

/// A number of seconds or a text such as `1h30m`, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct DurationText(pub(in crate::config) String);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl Visitor<'_> for Visit {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration")
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<DurationText, E> {
                Ok(DurationText(seconds.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<DurationText, E> {
                Ok(DurationText(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visit)
    }
}

/// A whole number, as text: an interpolated value is a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct CountText(pub(in crate::config) String);

impl<'de> Deserialize<'de> for CountText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl Visitor<'_> for Visit {
            type Value = CountText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E>(self, count: u64) -> Result<CountText, E> {
                Ok(CountText(count.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<CountText, E> {
                Ok(CountText(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visit)
    }
}

/// Any value at all: that of an advanced setting of Qovery.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Json(pub(in crate::config) serde_json::Value);

/// Any mapping: conditions of a trust policy.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Mapping(pub(in crate::config) serde_json::Value);

/// Any JSON: a policy document, or a mapping that names the file with it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Document(pub(in crate::config) serde_json::Value);

/// The field of a struct in whose place `true` or `false` may stand instead of the whole mapping. It is no key of that.
const SWITCH: &str = "$switch";

/// Why a value could not be read.
#[derive(Debug)]
enum Failure {
    /// It is in the log.
    Reported,
    /// Serde said this and nobody has reported it yet.
    Said(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported => f.write_str("reported"),
            Self::Said(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

impl Error for Failure {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Said(text.to_string())
    }
}

/// Reads one node.
#[derive(Clone, Copy)]
struct Reader<'de, 'a> {
    node: &'de Node,
    at: &'a At<'a>,
}

impl<'de> Reader<'de, '_> {
    fn report(self, text: impl fmt::Display) -> Failure {
        self.at.report(text);
        Failure::Reported
    }

    fn wrong_type(self, wanted: &str) -> Failure {
        match &self.node.value {
            Value::Wrong => Failure::Reported,
            Value::Null => self.report(format_args!("must be {wanted}")),
            Value::Bool(_) | Value::Number(_) if wanted == "a string" => {
                self.report(format_args!("must be a string, not {}: put it in quotes", self.node.value.described()))
            }
            value => self.report(format_args!("must be {wanted}, not {}", value.described())),
        }
    }

    fn sequence<V: Visitor<'de>>(self, nodes: &'de [Node], visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(Elements { nodes: nodes.iter().enumerate(), at: self.at })
    }

    fn mapping<V: Visitor<'de>>(self, entries: impl Iterator<Item = (&'de String, &'de Node)>, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Entries { left: entries, value: None, at: self.at })
    }
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let wanted = Wanted(&visitor).to_string();
        let result = match &self.node.value {
            Value::Wrong => Err(Failure::Reported),
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(Number::Unsigned(number)) => visitor.visit_u64(*number),
            Value::Number(Number::Signed(number)) => visitor.visit_i64(*number),
            Value::Number(Number::Float(number)) => visitor.visit_f64(*number),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(nodes) => self.sequence(nodes, visitor),
            Value::Mapping(entries) => self.mapping(entries.iter(), visitor),
        };
        result.map_err(|failure| match failure {
            Failure::Reported => failure,
            Failure::Said(_) => self.wrong_type(&wanted),
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if matches!(self.node.value, Value::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            // An interpolated value is a string.
            Value::String(text) if text == "true" => visitor.visit_bool(true),
            Value::String(text) if text == "false" => visitor.visit_bool(false),
            Value::String(text) => Err(self.report(format_args!("must be `true` or `false`, not {}", quoted(text)))),
            _ => Err(self.wrong_type("`true` or `false`")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Sequence(nodes) => self.sequence(nodes, visitor),
            _ => Err(self.wrong_type("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Mapping(entries) => self.mapping(entries.iter(), visitor),
            _ => Err(self.wrong_type("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let entries = match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Bool(_) | Value::String(_) if fields.contains(&SWITCH) => return visitor.visit_map(Switched(Some(self))),
            _ if fields.contains(&SWITCH) => return Err(self.wrong_type("`true`, `false` or a mapping")),
            _ => return Err(self.wrong_type("a mapping")),
        };
        let known = |key: &str| fields.contains(&key) && key != SWITCH;
        for key in entries.keys().filter(|key| !known(key)) {
            self.at.key(key).report(unknown_key(key, fields));
        }
        self.mapping(entries.iter().filter(|(key, _)| known(key)), visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// What a visitor expects, as text.
struct Wanted<'v, V>(&'v V);

impl<'de, V: Visitor<'de>> fmt::Display for Wanted<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

/// An unknown key with the nearest known one.
fn unknown_key(key: &str, known: &[&str]) -> String {
    let known: Vec<&str> = known.iter().copied().filter(|name| *name != SWITCH).collect();
    // Two slips in a short word, three in a long one; long texts are no slips.
    let slips = if key.len() > 6 { 3 } else { 2 };
    let nearest = known
        .iter()
        .filter(|_| key.len() <= LONGEST_GUESSED)
        .map(|name| (strsim::osa_distance(&key.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= slips && *distance < name.len())
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, name)) => format!("unknown key, did you mean `{name}`?"),
        None => format!("unknown key, use {}", choices(known)),
    }
}

struct Elements<'de, 'a> {
    nodes: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
    at: &'a At<'a>,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        self.nodes.next().map(|(index, node)| seed.deserialize(Reader { node, at: &self.at.index(index) })).transpose()
    }
}

struct Entries<'de, 'a, I> {
    left: I,
    value: Option<(&'de String, &'de Node)>,
    at: &'a At<'a>,
}

impl<'de, I: Iterator<Item = (&'de String, &'de Node)>> MapAccess<'de> for Entries<'de, '_, I> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        self.value = self.left.next();
        self.value.map(|(key, _)| seed.deserialize(BorrowedStrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.value.take() {
            Some((key, node)) => seed.deserialize(Reader { node, at: &self.at.key(key) }),
            None => seed.deserialize(().into_deserializer()),
        }
    }
}

/// `true` or `false` in place of a mapping, as a mapping with [`SWITCH`] alone.
struct Switched<'de, 'a>(Option<Reader<'de, 'a>>);

impl<'de> MapAccess<'de> for Switched<'de, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        self.0.map(|_| seed.deserialize(BorrowedStrDeserializer::new(SWITCH))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.0.take() {
            Some(reader) => seed.deserialize(reader),
            None => seed.deserialize(().into_deserializer()),
        }
    }
}

/// In the schema a value as typed is the value itself, and one that may be left out.
#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Typed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "integer"], "minimum": 0, "pattern": r"^[0-9]+$|^([0-9]+[hms])+$|\$\{"})
    }
}

#[cfg(test)]
impl schemars::JsonSchema for CountText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["integer", "string"], "minimum": 0, "pattern": r"^[0-9]+$|\$\{"})
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AdvancedSetting".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number", "boolean", "object", "array"]})
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Document {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PolicyDocument".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A policy document of IAM, or the file with it: a path relative to the manifest's folder.",
            "type": "object",
            "anyOf": [
                {
                    "required": ["Statement"],
                    "properties": {"Version": {"enum": ["2012-10-17", "2008-10-17"]}, "Id": {"type": "string"}, "Statement": {"type": ["object", "array"]}}
                },
                {"required": ["file"], "properties": {"file": {"type": "string", "minLength": 1}}, "additionalProperties": false}
            ]
        })
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Mapping {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mapping".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object"})
    }
}

#[cfg(test)]
mod tests {
    use super::super::{problems::ProblemLog, yaml};
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        name: Typed<String>,
        enabled: Typed<bool>,
        wait: Typed<DurationText>,
        parts: Typed<Vec<Typed<String>>>,
        #[serde(default)]
        labels: Typed<BTreeMap<String, Typed<String>>>,
        document: Typed<Document>,
        max_size: Typed<DurationText>,
    }

    fn read_text(text: &str) -> (Typed<Sample>, String) {
        let log = ProblemLog::default();
        let node = yaml::parse(text).unwrap();
        let sample = read(&node, &At::root(&log));
        (sample, log.into_problems("m.yml", |path| Some(node.line_of(path))).to_string())
    }

    #[test]
    fn what_is_missing_or_null_is_absent() {
        let (sample, problems) = read_text("{name: ~, parts: []}");
        let sample = sample.value().unwrap();
        assert!(sample.name.is_absent() && sample.labels.is_absent() && sample.wait.is_absent() && sample.document.is_absent());
        assert_eq!(sample.parts, Typed::Value(vec![]));
        assert!(problems.starts_with("0 "), "{problems}");
    }

    #[test]
    fn strings_stand_for_booleans_and_numbers() {
        let (sample, problems) = read_text("{enabled: 'true', wait: 600, maxSize: '1h', document: {a: [1, -2, 0.5, null, true]}}");
        let sample = sample.value().unwrap();
        assert_eq!(sample.enabled, Typed::Value(true));
        assert_eq!(sample.wait, Typed::Value(DurationText("600".to_owned())));
        assert_eq!(sample.max_size, Typed::Value(DurationText("1h".to_owned())));
        assert_eq!(sample.document, Typed::Value(Document(serde_json::json!({"a": [1, -2, 0.5, null, true]}))));
        assert!(problems.starts_with("0 "), "{problems}");
    }

    #[test]
    fn every_wrong_value_is_reported_with_its_line_and_the_others_are_read() {
        let text = "name: [x]\nenabled: yes\nwait: -1\nparts: {}\nlabels:\n  a: 1\n  b: two\n  c: true\ndocument: x\nmaxSize: {}\nnmae: x\nzzz: 1\nNAME: x\n";
        let (sample, problems) = read_text(text);
        let sample = sample.value().unwrap();
        assert_eq!((&sample.name, &sample.enabled), (&Typed::Wrong, &Typed::Wrong));
        assert_eq!(sample.labels.value().unwrap()["b"], Typed::Value("two".to_owned()));
        insta::assert_snapshot!(problems, @r"
        10 problems in the configuration
          m.yml:1: name: must be a string, not a list
          m.yml:2: enabled: must be `true` or `false`, not `yes`
          m.yml:3: wait: must be a duration, not the number `-1`
          m.yml:4: parts: must be a list, not a mapping
          m.yml:6: labels.a: must be a string, not the number `1`: put it in quotes
          m.yml:8: labels.c: must be a string, not `true`: put it in quotes
          m.yml:10: maxSize: must be a duration, not a mapping
          m.yml:11: nmae: unknown key, did you mean `name`?
          m.yml:12: zzz: unknown key, use `name`, `enabled`, `wait`, `parts`, `labels`, `document` or `maxSize`
          m.yml:13: NAME: unknown key, did you mean `name`?
        ");
    }

    #[test]
    fn a_manifest_that_is_no_mapping_is_wrong() {
        let (sample, problems) = read_text("- a");
        assert!(matches!(sample, Typed::Wrong));
        assert!(problems.ends_with("m.yml:1: must be a mapping, not a list"), "{problems}");
    }
}
