//! The metadata of objects: what is filled in, carried over, left out, and must agree with the path.

use serde_json::Value;

use super::{Call, resources::Resource, status::Failure};

/// Metadata that an empty value removes.
const OPTIONAL_METADATA: &[&str] =
    &["labels", "annotations", "ownerReferences", "finalizers", "generateName", "managedFields", "creationTimestamp", "selfLink"];

/// A member that is text, or the empty string.
pub(super) fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

/// The name of an object that is to be called by a prefix and what the API server thinks of: here the beginning of its uid.
pub(super) fn generated_name(prefix: &str, uid: &str) -> String {
    let suffix: String = uid.chars().take(5).collect();
    format!("{prefix}{suffix}")
}

/// Whether it has got its name so.
pub(super) fn has_generated_name(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let prefix = text(metadata, "generateName");
    !prefix.is_empty() && text(metadata, "name") == generated_name(&prefix, &text(metadata, "uid"))
}

/// The name in the document, and the namespace if it has one, are those of the path.
pub(super) fn check_name(call: &Call<'_>, object: &Value) -> Result<(), Failure> {
    let (asked, given) = (&call.attributes.name, text(&object["metadata"], "name"));
    if given.is_empty() {
        return Err(Failure::bad_request(format!(
            "the name of the object ({asked} based on URL) was undeterminable: name must be provided"
        )));
    }
    if given != *asked {
        return Err(Failure::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({asked})")));
    }
    let (asked, given) = (&call.attributes.namespace, text(&object["metadata"], "namespace"));
    if call.resource.namespaced && !given.is_empty() && given != *asked {
        return Err(Failure::bad_request(format!(
            "the namespace of the object ({given}) does not match the namespace on the request ({asked})"
        )));
    }
    Ok(())
}

/// What the API fills in before it looks at who set what.
pub(super) fn set_defaults(resource: &Resource, object: &mut Value) {
    if resource.plural == "namespaces" {
        let name = text(&object["metadata"], "name");
        if !name.is_empty() {
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
        }
    }
}

/// Takes out what is not written when it is empty.
pub(super) fn normalise(object: &mut Value) {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    if let Some(members) = object.as_object_mut() {
        members.retain(|name, value| {
            let optional = matches!(name.as_str(), "secrets" | "imagePullSecrets" | "automountServiceAccountToken" | "spec" | "status");
            !(optional && empty(value))
        });
    }
    if let Some(members) = object["metadata"].as_object_mut() {
        members.retain(|name, value| !(OPTIONAL_METADATA.contains(&name.as_str()) && empty(value)));
    }
}

/// An object without its `managedFields`.
pub(super) fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object["metadata"].as_object_mut() {
        members.remove("managedFields");
    }
    object
}

/// Carries over what clients cannot change.
pub(super) fn keep_metadata(object: &mut Value, old: &Value) {
    let (metadata, recorded) = (&mut object["metadata"], &old["metadata"]);
    if text(metadata, "uid").is_empty() {
        metadata["uid"] = recorded["uid"].clone();
    }
    for member in ["resourceVersion", "creationTimestamp", "generation", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if let Some(kept) = recorded.get(member) {
            metadata[member] = kept.clone();
        } else if let Some(members) = metadata.as_object_mut() {
            members.remove(member);
        }
    }
}
