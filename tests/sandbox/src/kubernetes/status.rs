//! The failures of the API as `Status` documents, and what an operation hands back when it succeeds.

use serde_json::{Map, Value, json};

use super::resources::Resource;

/// The result of every operation.
pub(super) type Outcome = Result<Reply, Failure>;

/// A success.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) body: Value,
    pub(super) changed: bool,
    pub(super) warnings: Vec<String>,
}

impl Reply {
    /// An answer that changed nothing.
    pub(super) fn read(body: Value) -> Self {
        Self { code: 200, body, changed: false, warnings: Vec::new() }
    }
}

/// One cause of a refusal of a document or of options.
#[derive(Clone, Debug)]
pub(super) struct FieldError {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) field: &'static str,
}

impl FieldError {
    /// The value as it should appear, already quoted if it is a string.
    pub(super) fn invalid(field: &'static str, value: &str, detail: &str) -> Self {
        let message = format!("Invalid value: {value}: {detail}");
        Self { reason: "FieldValueInvalid", message, field }
    }

    pub(super) fn required(field: &'static str, detail: &str) -> Self {
        let message = format!("Required value: {detail}");
        Self { reason: "FieldValueRequired", message, field }
    }

    pub(super) fn too_long(field: &'static str, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self { reason: "FieldValueTooLong", message, field }
    }

    pub(super) fn unsupported(field: &'static str, value: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: {value}: supported values: {supported}");
        Self { reason: "FieldValueNotSupported", message, field }
    }

    pub(super) fn forbidden(field: &'static str, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {detail}"), field }
    }
}

/// A failure: what becomes a `Status`.
#[derive(Debug)]
pub(super) struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// The HTTP status.
    pub(super) const fn code(&self) -> u16 {
        self.code
    }

    /// The document.
    pub(super) fn document(&self) -> Value {
        let mut document = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            document["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            document["details"] = details.clone();
        }
        document
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// A failure of the server itself: a 500 without a reason.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// What this local API does not do.
    pub(super) fn not_implemented(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("not implemented by the local API: {what}"))
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with_details(json!({}))
    }

    /// A JSON patch that does not apply.
    pub(super) fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message).with_details(json!({}))
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_details(json!({}))
    }

    /// The body of a POST or PUT in no form the API reads.
    pub(super) fn unknown_format() -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).with_details(resource_details(resource, name))
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).with_details(resource_details(resource, name))
    }

    /// A conflict with the stored object, for the reason given.
    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).with_details(resource_details(resource, name))
    }

    /// The stored object has another version than the one given.
    pub(super) fn stale(resource: &Resource, name: &str) -> Self {
        Self::conflict(resource, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    /// As `conflict`, where the API names the kind instead of the resource.
    pub(super) fn kind_conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let kind = resource.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
        Self::new(409, "Conflict", message).with_details(details(name, resource.group, resource.kind))
    }

    /// A precondition of a deletion that does not hold.
    pub(super) fn precondition(resource: &Resource, name: &str, (what, given, recorded): (&str, &str, &str), advice: &str) -> Self {
        let why = format!(
            "the {what} in the precondition ({given}) does not match the {what} in record ({recorded}). The object might have been {advice}"
        );
        Self::kind_conflict(resource, name, &why)
    }

    /// The caller may not do this. `what` says it in the words of the authorizer.
    pub(super) fn forbidden(group: &str, plural: &str, name: &str, what: &str) -> Self {
        let mut qualified = qualify(plural, group);
        if !name.is_empty() {
            qualified = format!("{qualified} \"{name}\"");
        }
        Self::new(403, "Forbidden", format!("{qualified} is forbidden: {what}")).with_details(details(name, group, plural))
    }

    /// A validating admission policy denies it; without a reason of its own the request counts as invalid.
    /// <https://github.com/kubernetes/kubernetes/blob/v1.36.2/staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go>
    pub(super) fn denied_by_admission(resource: &Resource, name: &str, why: &str, reason: Option<&str>) -> Self {
        let mut failure = Self::forbidden(resource.group, resource.plural, name, why);
        (failure.code, failure.reason) = match reason {
            Some("Unauthorized") => (401, "Unauthorized"),
            Some("Forbidden") => (403, "Forbidden"),
            Some("RequestEntityTooLarge") => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        if let Some(details) = &mut failure.details {
            details["causes"] = json!([{"message": why}]);
        }
        failure
    }

    /// The caller may not ask for a path that is no resource.
    pub(super) fn forbidden_path(what: &str) -> Self {
        Self::new(403, "Forbidden", format!("forbidden: {what}")).with_details(json!({}))
    }

    /// Nothing is created in a namespace that is going away.
    pub(super) fn terminating(resource: &Resource, namespace: &str, name: &str) -> Self {
        let what = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut failure = Self::forbidden(resource.group, resource.plural, name, &what);
        if let Some(details) = &mut failure.details {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
        }
        failure
    }

    /// A document or options with wrong fields.
    pub(super) fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = format!("{}: {}", error.field, error.message);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let text = match texts.as_slice() {
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let causes: Vec<Value> =
            errors.iter().map(|error| json!({"reason": error.reason, "message": error.message, "field": error.field})).collect();
        let mut details = details(name, group, kind);
        details["causes"] = causes.into();
        Self::new(422, "Invalid", format!("{} \"{name}\" is invalid: {text}", qualify(kind, group))).with_details(details)
    }

    /// Fields that other managers own, as (owner, field).
    pub(super) fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let message = match conflicts {
            [(owner, field)] => {
                format!("Apply failed with 1 conflict: conflict with {owner}: {field}")
            }
            several => {
                let mut lines = Vec::new();
                let mut last = None;
                for (owner, field) in several {
                    if last != Some(owner) {
                        lines.push(format!("conflicts with {owner}:"));
                        last = Some(owner);
                    }
                    lines.push(format!("- {field}"));
                }
                format!("Apply failed with {} conflicts: {}", several.len(), lines.join("\n"))
            }
        };
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(owner, field)| {
                let message = format!("conflict with {owner}");
                json!({"reason": "FieldManagerConflict", "message": message, "field": field})
            })
            .collect();
        Self::new(409, "Conflict", message).with_details(json!({"causes": causes}))
    }
}

/// `plural.group`, or only the first for the core group.
pub(super) fn qualify(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

fn resource_details(resource: &Resource, name: &str) -> Value {
    details(name, resource.group, resource.plural)
}

fn details(name: &str, group: &str, kind: &str) -> Value {
    let present = [("name", name), ("group", group), ("kind", kind)];
    let members: Map<String, Value> =
        present.into_iter().filter(|(_, value)| !value.is_empty()).map(|(member, value)| (member.to_owned(), value.into())).collect();
    members.into()
}
