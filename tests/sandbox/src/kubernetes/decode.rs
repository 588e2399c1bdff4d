//! Documents as clients send them: JSON to objects, with the complaints of the API about types and unknown fields.
//!
//! Form only; whether names and values are allowed is in `validate.rs`.

use serde_json::{Map, Value};

use super::{
    resources::Resource,
    schema::{self, Schema},
    status::Failure,
};

/// How strict a client wants its documents read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    Ignore,
    Warn,
    Strict,
}

/// A document that stands for an object of this kind, and warnings about it.
pub(super) fn object(body: &[u8], resource: &Resource, strictness: Strictness) -> Result<(Value, Vec<String>), Failure> {
    let kind = resource.kind;
    let unrecognized = |why: &str| {
        Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why}"
        ))
    };
    let mut value: Value = serde_json::from_slice(body).map_err(|error| unrecognized(&error.to_string()))?;
    if !value.is_object() {
        return Err(unrecognized("json: cannot unmarshal into Go value of type struct"));
    }
    for (member, default) in [("kind", kind), ("apiVersion", &resource.api_version())] {
        if value[member].as_str().unwrap_or_default().is_empty() {
            value[member] = default.into();
        }
    }
    let given = value["kind"].as_str().unwrap_or_default();
    let version = value["apiVersion"].as_str().unwrap_or_default();
    if given != kind || version != resource.api_version() {
        let short = |version: &str| version.rsplit('/').next().unwrap_or_default().to_owned();
        let internal = match resource.group {
            "" => "core",
            group => group.split('.').next().unwrap_or_default(),
        };
        let version = short(version);
        return Err(Failure::bad_request(format!(
            "{given} in version {version:?} cannot be handled as a {kind}: converting ({version}.{given}) to ({internal}.{kind}): unknown conversion"
        )));
    }
    let cannot = |why: &str| Failure::bad_request(format!("{kind} in version {:?} cannot be handled as a {kind}: {why}", resource.version));
    let mut warnings = Vec::new();
    match read(&mut value, resource) {
        Complaint::WrongType(why) => return Err(cannot(&why)),
        Complaint::Unknown(fields) if strictness == Strictness::Strict => {
            return Err(cannot(&strict_error(&fields)));
        }
        Complaint::Unknown(fields) if strictness == Strictness::Warn => {
            warnings = fields.into_iter().map(|field| format!("unknown field \"{field}\"")).collect();
        }
        _ => {}
    }
    if !value["metadata"].is_object() {
        value["metadata"] = Map::new().into();
    }
    Ok((value, warnings))
}

/// The sentence about unknown fields.
pub(super) fn strict_error(fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("unknown field \"{field}\"")).collect();
    format!("strict decoding error: {}", fields.join(", "))
}

/// What is wrong with the form of a document.
pub(super) enum Complaint {
    None,
    WrongType(String),
    Unknown(Vec<String>),
}

/// Takes the unknown fields out of a document and says what is wrong with it.
pub(super) fn read(value: &mut Value, resource: &Resource) -> Complaint {
    let mut unknown = Vec::new();
    match drop_unknown(value, schema::of(resource.kind), "", resource.kind, &mut unknown) {
        Err(why) => Complaint::WrongType(why),
        Ok(()) if unknown.is_empty() => Complaint::None,
        Ok(()) => Complaint::Unknown(unknown),
    }
}

fn drop_unknown(value: &mut Value, schema: &Schema, path: &str, kind: &str, unknown: &mut Vec<String>) -> Result<(), String> {
    if value.is_null() || matches!(schema, Schema::Unknown) {
        return Ok(());
    }
    let below = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    match (schema, &mut *value) {
        (Schema::Text, Value::String(_)) | (Schema::Boolean, Value::Bool(_)) | (Schema::Number, Value::Number(_)) => Ok(()),
        (Schema::Atomic(inner), _) => drop_unknown(value, inner, path, kind, unknown),
        (Schema::Struct(_) | Schema::MapOf(_), Value::Object(members)) => {
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                let Some(inner) = schema.member(&name) else {
                    members.remove(&name);
                    unknown.push(below(&name));
                    continue;
                };
                // A map is one field for the decoder: its keys are not part of the path.
                let deeper = if matches!(schema, Schema::MapOf(_)) { path.to_owned() } else { below(&name) };
                if let Some(member) = members.get_mut(&name) {
                    drop_unknown(member, inner, &deeper, kind, unknown)?;
                }
            }
            Ok(())
        }
        (Schema::SetOfText | Schema::ListBy(..) | Schema::AtomicListOf(_), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                let deeper = format!("{path}[{index}]");
                drop_unknown(item, schema.item(), &deeper, kind, unknown)?;
            }
            Ok(())
        }
        (_, wrong) => {
            let holder = if path.starts_with("metadata.") { "ObjectMeta" } else { kind };
            Err(format!("json: cannot unmarshal {} into Go struct field {holder}.{path} of type {}", json_type(wrong), go_type(schema)))
        }
    }
}

const fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

const fn go_type(schema: &Schema) -> &'static str {
    match schema {
        Schema::Text => "string",
        Schema::Boolean => "bool",
        Schema::Number => "int64",
        Schema::MapOf(_) => "map[string]string",
        Schema::SetOfText => "[]string",
        _ => "struct",
    }
}

/// What server-side apply says of an object that does not fit its type, or `None`.
pub(super) fn typed_errors(value: &Value, resource: &Resource) -> Option<String> {
    let mut errors = Vec::new();
    check(value, schema::of(resource.kind), "", &mut errors);
    match errors.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(format!("errors:\n  {}", several.join("\n  "))),
    }
}

fn check(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match (schema, value) {
        (Schema::Unknown, _)
        | (Schema::Text, Value::String(_))
        | (Schema::Boolean, Value::Bool(_))
        | (Schema::Number, Value::Number(_)) => {}
        (Schema::Atomic(inner), _) => check(value, inner, path, errors),
        (Schema::Struct(_) | Schema::MapOf(_), Value::Object(members)) => {
            for (name, member) in members {
                let deeper = format!("{path}.{name}");
                match schema.member(name) {
                    Some(inner) => check(member, inner, &deeper, errors),
                    None => errors.push(format!("{deeper}: field not declared in schema")),
                }
            }
        }
        (Schema::SetOfText | Schema::ListBy(..) | Schema::AtomicListOf(_), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let deeper = match schema {
                    Schema::ListBy(key, _) => {
                        format!("{path}[{key}={}]", item.get(*key).unwrap_or(&Value::Null))
                    }
                    _ => format!("{path}[{index}]"),
                };
                check(item, schema.item(), &deeper, errors);
            }
        }
        (_, wrong) => {
            let expected = match schema {
                Schema::Text => "string",
                Schema::Boolean => "boolean",
                Schema::Number => "numeric (int or float)",
                Schema::Struct(_) | Schema::MapOf(_) => "map",
                _ => "list",
            };
            errors.push(format!("{path}: expected {expected}, got &value.valueUnstructured{{Value:{}}}", go_value(wrong)));
        }
    }
}

fn go_value(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("{name:?}:{}", go_value(value))).collect();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_value).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::resources::by_plural;

    #[test]
    fn a_wrong_type_is_named_as_the_decoder_names_it() {
        let resource = by_plural("serviceaccounts").unwrap_or_else(|| unreachable!());
        let cases = [
            (
                json!({"metadata": {"annotations": {"n": 1}}}),
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.annotations of type string",
            ),
            (
                json!({"automountServiceAccountToken": "no"}),
                "json: cannot unmarshal string into Go struct field ServiceAccount.automountServiceAccountToken of type bool",
            ),
        ];
        for (mut document, complaint) in cases {
            let Complaint::WrongType(found) = read(&mut document, resource) else {
                panic!("{document} was accepted");
            };
            assert_eq!(found, complaint);
        }
    }

    #[test]
    fn an_unknown_field_is_dropped_with_a_warning_unless_strict() {
        let resource = by_plural("serviceaccounts").unwrap_or_else(|| unreachable!());
        let body = br#"{"metadata": {"name": "a", "odd": 1}}"#;
        let (object, warnings) = object(body, resource, Strictness::Warn).unwrap();
        assert_eq!(object["metadata"], json!({"name": "a"}));
        assert_eq!(warnings, ["unknown field \"metadata.odd\""]);
    }
}
