//! What the API accepts: names, labels, annotations, options of a request.
//!
//! Rules of values only; the form of documents is in `decode.rs`.

use serde_json::Value;

use super::{
    decode::Strictness,
    pods,
    resources::Resource,
    status::{Failure, FieldError},
};
use crate::service::Request;

const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_FORM: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// The total size of annotations, keys and values.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn subdomain_errors(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if !text.split('.').all(is_label) {
        errors.push(SUBDOMAIN.to_owned());
    }
    errors
}

fn label_errors(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !is_label(text) {
        errors.push(LABEL.to_owned());
    }
    errors
}

/// A name that only has to fit into a path.
fn segment_errors(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].into_iter().filter(|part| text.contains(part)).map(|part| format!("may not contain '{part}'")).collect()
}

fn qualified_errors(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                let found = subdomain_errors(prefix).into_iter();
                errors.extend(found.map(|error| format!("prefix part {error}")));
            }
            *name
        }
        _ => return vec![QUALIFIED_FORM.to_owned()],
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", too_long(63)));
    }
    if !is_qualified(name) {
        errors.push(QUALIFIED_NAME.to_owned());
    }
    errors
}

fn name_errors(resource: &Resource, name: &str) -> Vec<FieldError> {
    if name.is_empty() {
        return vec![FieldError::required("metadata.name", "name or generateName is required")];
    }
    let errors = match resource.plural {
        "namespaces" => label_errors(name),
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => segment_errors(name),
        _ => subdomain_errors(name),
    };
    errors.iter().map(|error| FieldError::invalid("metadata.name", &format!("{name:?}"), error)).collect()
}

fn label_and_annotation_errors(object: &Value) -> Vec<FieldError> {
    let metadata = &object["metadata"];
    let mut errors = Vec::new();
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        for error in qualified_errors(key) {
            errors.push(FieldError::invalid("metadata.labels", &format!("{key:?}"), &error));
        }
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 {
            errors.push(FieldError::invalid("metadata.labels", &format!("{value:?}"), &too_long(63)));
        }
        if !value.is_empty() && !is_qualified(value) {
            errors.push(FieldError::invalid("metadata.labels", &format!("{value:?}"), LABEL_VALUE));
        }
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        size += key.len() + value.as_str().unwrap_or_default().len();
        for error in qualified_errors(&key.to_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &format!("{key:?}"), &error));
        }
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
    errors
}

fn change_errors(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (uid, recorded) = (&object["metadata"]["uid"], &old["metadata"]["uid"]);
    if uid != recorded {
        errors.push(FieldError::invalid("metadata.uid", &uid.to_string(), "field is immutable"));
    }
    errors.extend(label_and_annotation_errors(object));
    errors
}

/// Whether a new object may be stored.
pub(super) fn new_object(resource: &Resource, object: &Value) -> Result<(), Failure> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut errors = name_errors(resource, name);
    errors.extend(label_and_annotation_errors(object));
    if resource.plural == "pods" {
        errors.extend(pods::errors(object));
    }
    refuse(resource, name, &errors)
}

/// Whether an object may take the place of another. The API looks at the metadata several times, and says so as often.
pub(super) fn changed_object(resource: &Resource, object: &Value, old: &Value) -> Result<(), Failure> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut errors = label_and_annotation_errors(object);
    errors.extend(change_errors(object, old));
    errors.extend(change_errors(object, old));
    if resource.plural == "serviceaccounts" {
        errors.extend(label_and_annotation_errors(object));
    }
    refuse(resource, name, &errors)
}

fn refuse(resource: &Resource, name: &str, errors: &[FieldError]) -> Result<(), Failure> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(resource.group, resource.kind, name, errors))
}

/// The options in the query of a write.
#[derive(Debug)]
pub(super) struct Options {
    /// Who writes; for all but an apply the name of the program if not given.
    pub(super) manager: String,
    pub(super) dry_run: bool,
    pub(super) force: bool,
    pub(super) strictness: Strictness,
}

impl Options {
    /// Reads them. `kind` is `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions`.
    pub(super) fn of(request: &Request, kind: &str, apply: bool) -> Result<Self, Failure> {
        let pairs = request.query_pairs();
        let values = |name: &str| -> Vec<&str> { pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect() };
        let value = |name: &str| values(name).first().copied().unwrap_or_default();
        let mut errors = Vec::new();
        let manager = value("fieldManager");
        if apply && manager.is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if kind == "PatchOptions" && !apply && !value("force").is_empty() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if manager.len() > 128 {
            errors.push(FieldError::too_long("fieldManager", 128));
        } else if manager.chars().any(char::is_control) {
            let detail = "should only contain printable characters";
            errors.push(FieldError::invalid("fieldManager", &format!("{manager:?}"), detail));
        }
        let dry_run: Vec<&str> = values("dryRun").into_iter().filter(|run| !run.is_empty()).collect();
        if dry_run.iter().any(|run| *run != "All") {
            errors.push(FieldError::unsupported("dryRun", &format!("{dry_run:?}"), "\"All\""));
        }
        let strictness = match value("fieldValidation") {
            "Ignore" => Strictness::Ignore,
            "" | "Warn" => Strictness::Warn,
            "Strict" => Strictness::Strict,
            other => {
                let supported = "\"\", \"Ignore\", \"Strict\", \"Warn\"";
                let error = FieldError::unsupported("fieldValidation", &format!("{other:?}"), supported);
                errors.push(error);
                Strictness::Warn
            }
        };
        if !errors.is_empty() {
            return Err(Failure::invalid("meta.k8s.io", kind, "", &errors));
        }
        let program = request.header("user-agent").split('/').next().unwrap_or_default();
        let manager = match (manager, program) {
            ("", "") => "unknown",
            ("", program) => program,
            (manager, _) => manager,
        };
        Ok(Self {
            manager: manager.chars().take(128).collect(),
            dry_run: !dry_run.is_empty(),
            force: matches!(value("force"), "true" | "1"),
            strictness,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::resources::by_plural;

    #[test]
    fn names_follow_the_rule_of_their_kind() {
        let cases = [
            ("serviceaccounts", "app.v1", true),
            ("serviceaccounts", "App", false),
            ("serviceaccounts", "", false),
            ("namespaces", "a-b", true),
            ("namespaces", "a.b", false),
            ("roles", "system:node", true),
            ("roles", "a/b", false),
        ];
        for (plural, name, good) in cases {
            let resource = by_plural(plural).unwrap_or_else(|| unreachable!());
            let object = json!({"metadata": {"name": name}});
            assert_eq!(new_object(resource, &object).is_ok(), good, "{plural} {name}");
        }
    }

    #[test]
    fn keys_are_qualified_names() {
        let cases = [("eks.amazonaws.com/role-arn", 0), ("Plain_Key.1", 0), ("bad key!", 1), ("/x", 1), ("a/b/c", 1), ("UPPER.com/x", 1)];
        for (key, errors) in cases {
            assert_eq!(qualified_errors(key).len(), errors, "{key}");
        }
    }
}
