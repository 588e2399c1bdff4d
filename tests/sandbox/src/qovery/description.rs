//! Qovery's description of its API, and whether a request or an answer fits it.
//!
//! `openapi/qovery.json` holds the part that is spoken here. Beyond what `OpenAPI` asks, a request may name nothing that the description
//! does not: a client must not invent fields.

use std::collections::BTreeMap;

use http::Method;
use jsonschema::Validator;
use serde_json::{Map, Value};

use crate::service::Request;

const DESCRIPTION: &str = include_str!("../../openapi/qovery.json");

/// The description, with a validator for each body.
#[derive(Debug)]
pub(super) struct Description {
    operations: Vec<Operation>,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    id: String,
    method: String,
    /// The path, a parameter as nothing.
    path: Vec<Option<String>>,
    parameters: Vec<Parameter>,
    body: Option<Validator>,
    answers: BTreeMap<u16, Option<Validator>>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    in_query: bool,
    required: bool,
    schema: Validator,
}

impl Operation {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// # Errors
    /// What does not fit.
    pub(super) fn check_request(&self, request: &Request) -> Result<(), String> {
        let of_path = request.path.split('/').skip(1).zip(&self.path).filter(|(_, known)| known.is_none());
        let given: Vec<(String, String)> = request.query_pairs();
        let in_path = self.parameters.iter().filter(|parameter| !parameter.in_query);
        for ((segment, _), parameter) in of_path.zip(in_path) {
            check(&parameter.schema, &segment.into(), &format!("parameter {}", parameter.name))?;
        }
        for parameter in self.parameters.iter().filter(|parameter| parameter.in_query) {
            match given.iter().find(|(name, _)| *name == parameter.name) {
                Some((_, value)) => check(&parameter.schema, &value.as_str().into(), &format!("parameter {}", parameter.name))?,
                None if parameter.required => return Err(format!("{}: parameter {} is missing", self.id, parameter.name)),
                None => {}
            }
        }
        if let Some((name, _)) = given.iter().find(|(name, _)| !self.parameters.iter().any(|known| known.in_query && known.name == *name)) {
            return Err(format!("{}: unknown parameter {name}", self.id));
        }
        match (&self.body, request.body.is_empty()) {
            (_, true) => Ok(()),
            (None, false) => Err(format!("{} takes no body", self.id)),
            (Some(body), false) => {
                let sent: Value = serde_json::from_slice(&request.body).map_err(|error| format!("{}: {error}", self.id))?;
                if !request.header("content-type").starts_with("application/json") {
                    return Err(format!("{}: the content type is not JSON", self.id));
                }
                check(body, &sent, &format!("request of {}", self.id))
            }
        }
    }

    /// # Errors
    /// What does not fit.
    pub(super) fn check_answer(&self, status: u16, body: &Value) -> Result<(), String> {
        match self.answers.get(&status) {
            None => Err(format!("{} does not answer {status}", self.id)),
            Some(None) if body.is_null() => Ok(()),
            Some(None) => Err(format!("{} answers no body", self.id)),
            Some(Some(schema)) => check(schema, body, &format!("answer of {}", self.id)),
        }
    }
}

impl Description {
    #[allow(clippy::expect_used, reason = "the file is part of this crate, and every test needs it")]
    pub(super) fn vendored() -> Self {
        let document: Value = serde_json::from_str(DESCRIPTION).expect("the description is JSON");
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                operations.push(read(&document, path, method, operation));
            }
        }
        Self { operations }
    }

    /// The operations by name.
    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<&str> {
        self.operations.iter().map(Operation::id).collect()
    }

    pub(super) fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        self.operations.iter().find(|operation| {
            operation.method == method.as_str().to_lowercase()
                && operation.path.len() == segments.len()
                && operation.path.iter().zip(&segments).all(|(known, segment)| known.as_ref().is_none_or(|known| known == segment))
        })
    }
}

/// The operations of the description: method in upper case, and path with `{…}` for each parameter.
///
/// # Panics
/// When the description is not readable, which a test of this crate would show.
#[must_use]
#[allow(clippy::expect_used, reason = "the file is part of this crate, and every test needs it")]
pub fn operations() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(DESCRIPTION).expect("the description is JSON");
    let of_path = |(path, methods): (&String, &Value)| {
        let methods: Vec<String> = methods.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase()).collect();
        methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    document["paths"].as_object().into_iter().flatten().flat_map(of_path).collect()
}

/// A schema of the description by its name, with all that it refers to in its place.
///
/// # Panics
/// When the description is not readable, which a test of this crate would show.
#[must_use]
#[allow(clippy::expect_used, reason = "the file is part of this crate, and every test needs it")]
pub fn schema(name: &str) -> Value {
    let document: Value = serde_json::from_str(DESCRIPTION).expect("the description is JSON");
    resolved(&document, &document["components"]["schemas"][name])
}

fn resolved(document: &Value, schema: &Value) -> Value {
    match schema {
        Value::Object(keys) => match schema["$ref"].as_str().and_then(|reference| document.pointer(reference.trim_start_matches('#'))) {
            Some(target) => resolved(document, target),
            None => keys.iter().map(|(key, value)| (key.clone(), resolved(document, value))).collect(),
        },
        Value::Array(all) => all.iter().map(|value| resolved(document, value)).collect(),
        other => other.clone(),
    }
}

fn check(schema: &Validator, value: &Value, what: &str) -> Result<(), String> {
    let errors: Vec<String> = schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if errors.is_empty() { Ok(()) } else { Err(format!("{what}: {}", errors.join("; "))) }
}

#[allow(clippy::expect_used, reason = "the schemas are part of this crate, and every test needs them")]
fn validator(document: &Value, schema: &Value, closed: bool) -> Validator {
    let translated = translate(document, schema, closed);
    jsonschema::options().should_validate_formats(true).build(&translated).expect("the schemas are schemas")
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let schema_of = |content: &Value| content.pointer("/content/application~1json/schema").cloned();
    let answers =
        operation["responses"].as_object().into_iter().flatten().filter_map(|(status, answer)| {
            Some((status.parse().ok()?, schema_of(answer).map(|schema| validator(document, &schema, false))))
        });
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| Parameter {
        name: parameter["name"].as_str().unwrap_or_default().to_owned(),
        in_query: parameter["in"] == "query",
        required: parameter["required"] == true,
        schema: validator(document, &of_text(&parameter["schema"]), false),
    });
    Operation {
        id: operation["operationId"].as_str().unwrap_or_default().to_owned(),
        method: method.to_owned(),
        path: path.split('/').skip(1).map(|segment| (!segment.starts_with('{')).then(|| segment.to_owned())).collect(),
        parameters: parameters.collect(),
        body: schema_of(&operation["requestBody"]).map(|schema| validator(document, &schema, true)),
        answers: answers.collect(),
    }
}

/// A parameter is a text, whatever it means.
fn of_text(schema: &Value) -> Value {
    if schema["type"] == "boolean" { serde_json::json!({ "enum": ["true", "false"] }) } else { schema.clone() }
}

/// `OpenAPI` 3.0 to JSON Schema: references are put in their place, what may be null says so, and a closed object names all it may hold.
fn translate(document: &Value, schema: &Value, closed: bool) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
        return translate(document, target, closed);
    }
    if let (Some(name), Some(mapping)) = (schema.pointer("/discriminator/propertyName"), schema.pointer("/discriminator/mapping")) {
        // Its value tells which of the schemas is meant.
        let name = name.as_str().unwrap_or_default();
        let one = |(value, reference): (&String, &Value)| {
            let meant = translate(document, &serde_json::json!({ "$ref": reference }), closed);
            serde_json::json!({ "allOf": [meant, { "properties": { name: { "const": value } } }] })
        };
        return serde_json::json!({ "oneOf": mapping.as_object().into_iter().flatten().map(one).collect::<Vec<_>>() });
    }
    let mut translated: Map<String, Value> = match schema {
        Value::Object(keys) => keys.iter().map(|(key, value)| (key.clone(), translate_key(document, key, value, closed))).collect(),
        other => return other.clone(),
    };
    if closed && schema["type"] == "object" && schema.get("properties").is_some() && schema["x-open"] != true {
        translated.insert("additionalProperties".to_owned(), false.into());
    }
    if translated.remove("nullable").is_some() {
        return serde_json::json!({ "anyOf": [{ "type": "null" }, translated] });
    }
    Value::Object(translated)
}

fn translate_key(document: &Value, key: &str, value: &Value, closed: bool) -> Value {
    match (key, value) {
        ("properties", Value::Object(properties)) => {
            properties.iter().map(|(name, schema)| (name.clone(), translate(document, schema, closed))).collect()
        }
        ("items", schema) => translate(document, schema, closed),
        ("oneOf", Value::Array(schemas)) => schemas.iter().map(|schema| translate(document, schema, closed)).collect(),
        _ => value.clone(),
    }
}
