//! JSON text as an API server writes it: members in the order of the API's types, indented for people.
//!
//! Order and white space only; what is in a document is decided elsewhere.

use serde_json::Value;

/// The members of a document itself, of whatever kind.
const ROOT: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "spec",
    "status",
    "message",
    "reason",
    "details",
    "code",
    "secrets",
    "imagePullSecrets",
    "automountServiceAccountToken",
    "rules",
    "subjects",
    "roleRef",
    "items",
    "major",
    "minor",
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
    "issuer",
    "jwks_uri",
    "response_types_supported",
    "subject_types_supported",
    "id_token_signing_alg_values_supported",
];

/// Where in a document a value stands, as far as the order of members depends on it.
#[derive(Clone, Copy)]
enum Place {
    Root,
    Metadata,
    ManagedFields,
    Details,
    Cause,
    User,
    Status,
    Spec,
    WebKey,
    Rule,
    Subject,
    ResourceAttributes,
    Sorted,
}

impl Place {
    /// The members that come first, in this order; the others follow by name.
    const fn order(self) -> &'static [&'static str] {
        match self {
            Self::Root => ROOT,
            Self::Metadata => &[
                "name",
                "generateName",
                "namespace",
                "selfLink",
                "uid",
                "resourceVersion",
                "continue",
                "remainingItemCount",
                "generation",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "labels",
                "annotations",
                "ownerReferences",
                "finalizers",
                "managedFields",
            ],
            Self::ManagedFields => &["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"],
            Self::Details => &["name", "group", "kind", "uid", "causes", "retryAfterSeconds"],
            Self::Cause => &["reason", "message", "field"],
            Self::User => &["username", "uid", "groups", "extra"],
            Self::Status => &[
                "allowed",
                "denied",
                "reason",
                "evaluationError",
                "authenticated",
                "user",
                "audiences",
                "error",
                "token",
                "expirationTimestamp",
            ],
            Self::Spec => &["audiences", "expirationSeconds", "boundObjectRef"],
            Self::WebKey => &["use", "kty", "kid", "alg", "n", "e"],
            Self::Rule => &["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"],
            Self::Subject => &["kind", "apiGroup", "name", "namespace"],
            Self::ResourceAttributes => &["namespace", "verb", "group", "version", "resource", "subresource", "name"],
            Self::Sorted => &[],
        }
    }

    fn member(self, name: &str) -> Self {
        match (self, name) {
            (Self::Root, "metadata") => Self::Metadata,
            (Self::Root, "details") => Self::Details,
            (Self::Root, "status") => Self::Status,
            (Self::Root, "spec") => Self::Spec,
            (Self::Root, "keys") => Self::WebKey,
            (Self::Root, "items") => Self::Root,
            (Self::Root, "rules") => Self::Rule,
            (Self::Root, "subjects") => Self::Subject,
            (Self::Spec, "resourceAttributes") => Self::ResourceAttributes,
            (Self::Metadata, "managedFields") => Self::ManagedFields,
            (Self::Details, "causes") => Self::Cause,
            (Self::Status, "user" | "userInfo") => Self::User,
            _ => Self::Sorted,
        }
    }
}

/// The text of a document; with `pretty` over several lines, as clients for people get it.
pub(super) fn encode(document: &Value, pretty: bool) -> String {
    let mut text = String::new();
    write(&mut text, document, Place::Root, pretty.then_some(0));
    if !pretty {
        text.push('\n');
    }
    text
}

/// The text of a document on one line without a line break, as the discovery of an issuer has it.
pub(super) fn encode_raw(document: &Value) -> String {
    let mut text = String::new();
    write(&mut text, document, Place::Root, None);
    text
}

fn write(text: &mut String, value: &Value, place: Place, depth: Option<usize>) {
    let inner = depth.map(|depth| depth + 1);
    match value {
        Value::Object(members) if !members.is_empty() => {
            let order = place.order();
            let rank = |name: &str| order.iter().position(|known| *known == name);
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_by_key(|name| (rank(name).unwrap_or(order.len()), *name));
            text.push('{');
            for (index, name) in names.into_iter().enumerate() {
                separate(text, index, inner);
                text.push_str(&string(name));
                text.push_str(if depth.is_some() { ": " } else { ":" });
                write(text, &members[name], place.member(name), inner);
            }
            break_line(text, depth);
            text.push('}');
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(text, index, inner);
                write(text, item, place, inner);
            }
            break_line(text, depth);
            text.push(']');
        }
        Value::String(content) => text.push_str(&string(content)),
        other => text.push_str(&other.to_string()),
    }
}

fn separate(text: &mut String, index: usize, depth: Option<usize>) {
    if index > 0 {
        text.push(',');
    }
    break_line(text, depth);
}

fn break_line(text: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    }
}

/// A JSON string with the characters escaped that are special in HTML.
fn string(content: &str) -> String {
    Value::from(content).to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_stand_in_the_order_of_the_api_types() {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"annotations": {"b": "<", "a": "1"}, "name": "app", "labels": {}},
        });
        assert_eq!(
            encode_raw(&object),
            r#"{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"app","labels":{},"annotations":{"a":"1","b":"\u003c"}}}"#
        );
    }

    #[test]
    fn text_for_people_is_indented_by_two_and_ends_without_a_line_break() {
        assert_eq!(encode(&json!({"metadata": {}, "items": [1]}), true), "{\n  \"metadata\": {},\n  \"items\": [\n    1\n  ]\n}");
    }
}
