//! Deletes stored objects, one or a whole collection; a namespace only begins to terminate.

use serde_json::{Value, json};

use super::{
    Call, Kubernetes,
    admission::Operation,
    metadata::text,
    resources::Resource,
    select::Selection,
    status::{Failure, Outcome, Reply},
    validate::Options,
};

/// Namespaces that stay.
const PERMANENT: &[&str] = &["default", "kube-system", "kube-public"];

impl Kubernetes {
    /// DELETE of a named object.
    pub(super) fn delete(&mut self, call: &Call<'_>) -> Outcome {
        let (body, dry_run) = options(call)?;
        let (resource, name) = (call.resource, call.attributes.name.as_str());
        let Some(mut object) = self.current(call) else {
            return Err(Failure::not_found(resource, name));
        };
        check_preconditions(resource, name, &body["preconditions"], &object["metadata"])?;
        self.validate_admission(call, Operation::Delete(&object), dry_run)?;
        if resource.plural == "namespaces" {
            if PERMANENT.contains(&name) {
                return Err(Failure::forbidden("", "namespaces", name, "this namespace may not be deleted"));
            }
            if object["metadata"]["deletionTimestamp"].is_string() {
                return Ok(reply(object, false));
            }
            object["metadata"]["deletionTimestamp"] = call.timestamp().into();
            object["status"]["phase"] = "Terminating".into();
            if dry_run {
                return Ok(reply(object, false));
            }
            let body = self.store.put(resource, object);
            if self.finalize_namespaces {
                self.delete_namespace(name);
            }
            return Ok(reply(body, true));
        }
        Ok(self.remove(call, object, dry_run))
    }

    /// DELETE of a collection: every object by itself, until one may not go.
    pub(super) fn delete_collection(&mut self, call: &Call<'_>) -> Outcome {
        let (body, dry_run) = options(call)?;
        let resource = call.resource;
        let selection = Selection::of(call.request, resource)?;
        let namespace = call.attributes.namespace_of_object(resource);
        let version = self.store.version();
        let items = selection.page(self.store.list(resource, &namespace), &version).items;
        let mut changed = false;
        for object in &items {
            check_preconditions(resource, &text(&object["metadata"], "name"), &body["preconditions"], &object["metadata"])?;
            self.validate_admission(call, Operation::Delete(object), dry_run)?;
            changed |= self.remove(call, object.clone(), dry_run).changed;
        }
        let list = json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": version},
            "items": items,
        });
        Ok(reply(list, changed))
    }

    /// Takes out an object that may go, or marks it if finalizers hold it.
    fn remove(&mut self, call: &Call<'_>, mut object: Value, dry_run: bool) -> Reply {
        let (resource, namespace, name) =
            (call.resource, call.attributes.namespace_of_object(call.resource), text(&object["metadata"], "name"));
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|held| !held.is_empty());
        if held {
            if object["metadata"]["deletionTimestamp"].is_string() || dry_run {
                return reply(object, false);
            }
            object["metadata"]["deletionTimestamp"] = call.timestamp().into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            return reply(self.store.put(resource, object), true);
        }
        if !dry_run {
            object = self.store.take(resource, &namespace, &name).unwrap_or(object);
        }
        if resource.delete_returns() {
            return reply(object, !dry_run);
        }
        let mut details = json!({"name": name, "kind": resource.plural, "uid": object["metadata"]["uid"]});
        if !resource.group.is_empty() {
            details["group"] = resource.group.into();
        }
        let success = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        });
        reply(success, !dry_run)
    }
}

/// The options of a deletion, and whether it is a dry run: both stand in the body or in the query.
fn options(call: &Call<'_>) -> Result<(Value, bool), Failure> {
    let in_query = Options::of(call.request, "DeleteOptions", false)?;
    let body: Value = if call.request.body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&call.request.body).map_err(|error| Failure::bad_request(format!("error decoding options: {error}")))?
    };
    let dry_run = in_query.dry_run || body["dryRun"].as_array().is_some_and(|dry_run| dry_run.iter().any(|run| run == "All"));
    Ok((body, dry_run))
}

fn reply(body: Value, changed: bool) -> Reply {
    Reply { code: 200, body, changed, warnings: Vec::new() }
}

fn check_preconditions(resource: &Resource, name: &str, preconditions: &Value, metadata: &Value) -> Result<(), Failure> {
    let cases = [("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified")];
    for (member, what, advice) in cases {
        let (given, recorded) = (text(preconditions, member), text(metadata, member));
        if !given.is_empty() && given != recorded {
            return Err(Failure::precondition(resource, name, (what, &given, &recorded), advice));
        }
    }
    Ok(())
}
