//! PATCH: server-side apply and the other kinds of patch.

use serde_json::Value;

use super::{
    Call, Kubernetes,
    decode::{self, Complaint, Strictness},
    managed::Managers,
    metadata::{check_name, normalise, text, without_managers},
    patch,
    status::{Failure, FieldError, Outcome},
    validate::Options,
};

impl Kubernetes {
    /// PATCH of a named object.
    pub(super) fn patch(&mut self, call: &Call<'_>) -> Outcome {
        let header = call.request.header("content-type");
        let media = header.split(';').next().unwrap_or_default().trim();
        match media {
            "application/apply-patch+yaml" => self.apply(call),
            "application/merge-patch+json" => self.lay(call, |old, patch| Ok(patch::merge(old, patch))),
            "application/strategic-merge-patch+json" => self.lay(call, |old, patch| Ok(patch::strategic(old, patch))),
            "application/json-patch+json" => self.lay(call, patch::json),
            "application/apply-patch+cbor" => Err(Failure::not_implemented(media)),
            _ => Err(Failure::unsupported_media_type()),
        }
    }

    fn apply(&mut self, call: &Call<'_>) -> Outcome {
        let options = Options::of(call.request, "PatchOptions", true)?;
        let resource = call.resource;
        let configuration: Value =
            serde_json::from_slice(&call.request.body).map_err(|_| Failure::not_implemented("an apply patch in YAML that is not JSON"))?;
        let (api_version, kind) = (text(&configuration, "apiVersion"), text(&configuration, "kind"));
        if api_version != resource.api_version() || kind != resource.kind {
            let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
            return Err(Failure::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
        }
        let metadata = &configuration["metadata"];
        if metadata["managedFields"].as_array().is_some_and(|managers| !managers.is_empty()) {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        if let Some(errors) = decode::typed_errors(&configuration, resource) {
            let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
            let (group, version) = (resource.group, resource.version);
            return Err(Failure::internal(format!(
                "failed to create typed patch object ({namespace}/{name}; {group}/{version}, Kind={kind}): {errors}"
            )));
        }
        let old = self.current(call);
        let live = old.as_ref().map(without_managers);
        let (mut object, managers) = Managers::of(old.as_ref().unwrap_or(&Value::Null)).apply(
            resource,
            live.as_ref(),
            &configuration,
            (&options.manager, options.force),
            &call.timestamp(),
        )?;
        check_name(call, &object)?;
        normalise(&mut object);
        let Some(old) = old else {
            let uid = text(&object["metadata"], "uid");
            if !uid.is_empty() {
                let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Failure::conflict(resource, &call.attributes.name, &why));
            }
            if let Some(members) = object.as_object_mut() {
                for member in ["spec", "status"] {
                    if configuration[member].is_null() {
                        members.remove(member);
                    }
                }
            }
            return self.insert(call, object, &managers, &options, Vec::new());
        };
        self.store_change(call, &old, object, &managers, &options, Vec::new())
    }

    /// Lays a patch of one of the other kinds over the stored object.
    fn lay(&mut self, call: &Call<'_>, lay: fn(&Value, &Value) -> Result<Value, String>) -> Outcome {
        let options = Options::of(call.request, "PatchOptions", false)?;
        let resource = call.resource;
        let Some(old) = self.current(call) else {
            return Err(Failure::not_found(resource, &call.attributes.name));
        };
        let patch: Value =
            serde_json::from_slice(&call.request.body).map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
        let mut object = lay(&old, &patch).map_err(|_| Failure::unprocessable())?;
        let mut warnings = Vec::new();
        let refuse = |patched: &Value, why: &str| {
            let shown = format!("{:?}", patched.to_string());
            Err(Failure::invalid("", "", "", &[FieldError::invalid("patch", &shown, why)]))
        };
        let patched = object.clone();
        match decode::read(&mut object, resource) {
            Complaint::WrongType(why) => return refuse(&patched, &why),
            Complaint::Unknown(fields) if options.strictness == Strictness::Strict => {
                return refuse(&patched, &decode::strict_error(&fields));
            }
            Complaint::Unknown(fields) if options.strictness == Strictness::Warn => {
                warnings = fields.into_iter().map(|field| format!("unknown field \"{field}\"")).collect();
            }
            _ => {}
        }
        check_name(call, &object)?;
        let managers = Managers::in_request(&object, &old);
        self.replace(call, &old, object, managers, &options, warnings)
    }
}
