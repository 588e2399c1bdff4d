//! Creates and replaces stored objects.
//!
//! The order of the checks is that of the API server, since it decides which failure a client sees. What is checked is in
//! `decode.rs` and `validate.rs`, who owns a field in `managed.rs`.

use serde_json::{Value, json};

use super::{
    Call, Kubernetes,
    admission::Operation,
    decode,
    managed::Managers,
    metadata::{check_name, generated_name, keep_metadata, normalise, set_defaults, text, without_managers},
    rbac,
    resources::{Resource, by_plural},
    status::{Failure, FieldError, Outcome, Reply},
    store::{timestamp, unix_seconds},
    validate::{self, Options},
};

impl Kubernetes {
    /// POST to a collection.
    pub(super) fn create(&mut self, call: &Call<'_>) -> Outcome {
        let options = Options::of(call.request, "CreateOptions", false)?;
        let (mut object, warnings) = decode::object(call.json()?, call.resource, options.strictness)?;
        let asked = &call.attributes.namespace;
        let given = text(&object["metadata"], "namespace");
        if call.resource.namespaced && !given.is_empty() && given != *asked {
            return Err(Failure::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
        }
        if !text(&object["metadata"], "resourceVersion").is_empty() {
            return Err(Failure::internal("resourceVersion should not be set on objects to be created"));
        }
        set_defaults(call.resource, &mut object);
        normalise(&mut object);
        let managers = Managers::of(&object).update(call.resource, None, &object, &options.manager, &call.timestamp());
        self.insert(call, object, &managers, &options, warnings)
    }

    /// Stores a new object.
    pub(super) fn insert(
        &mut self,
        call: &Call<'_>,
        mut object: Value,
        managers: &Managers,
        options: &Options,
        warnings: Vec<String>,
    ) -> Outcome {
        let resource = call.resource;
        let metadata = &mut object["metadata"];
        let prefix = text(metadata, "generateName");
        let uid = self.store.new_id();
        if text(metadata, "name").is_empty() && !prefix.is_empty() {
            metadata["name"] = generated_name(&prefix, &uid).into();
        }
        let name = text(metadata, "name");
        if let Some(members) = metadata.as_object_mut() {
            for member in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "namespace"] {
                members.remove(member);
            }
        }
        metadata["uid"] = uid.into();
        metadata["creationTimestamp"] = call.timestamp().into();
        if resource.namespaced {
            metadata["namespace"] = call.attributes.namespace.as_str().into();
            self.admit(resource, &call.attributes.namespace, &name)?;
        }
        if resource.workload() {
            metadata["generation"] = 1.into();
        }
        set_defaults(resource, &mut object);
        if resource.plural == "namespaces" {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        self.mutate(resource, &mut object);
        if resource.plural == "pods" {
            self.prepare_pod(&mut object)?;
        }
        validate::new_object(resource, &object)?;
        if call.attributes.verb != "create" {
            self.may_create(call)?;
        }
        self.validate_admission(call, Operation::Create(&object), options.dry_run)?;
        if self.store.get(resource, &call.attributes.namespace_of_object(resource), &name).is_some() {
            return Err(Failure::already_exists(resource, &name));
        }
        managers.write(&mut object);
        if options.dry_run {
            return Ok(Reply { code: 201, body: object, changed: false, warnings });
        }
        let body = self.store.put(resource, object);
        if resource.plural == "namespaces" && self.default_service_accounts {
            self.put_default_service_account(&name, &call.timestamp());
        }
        Ok(Reply { code: 201, body, changed: true, warnings })
    }

    /// A patch that creates needs the right to create as well.
    fn may_create(&self, call: &Call<'_>) -> Result<(), Failure> {
        let mut question = call.attributes.clone();
        "create".clone_into(&mut question.verb);
        if rbac::authorize(&self.store, call.user, &question).allowed {
            return Ok(());
        }
        // The API hands on the authorizer's reason here, and role-based access control gives none.
        let (group, plural, name) = (&question.group, &question.plural, &question.name);
        Err(Failure::forbidden(group, plural, name, ""))
    }

    /// Whether a namespace takes new content.
    pub(super) fn admit(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), Failure> {
        let Some(namespaces) = by_plural("namespaces") else {
            return Ok(());
        };
        match self.store.get(namespaces, "", namespace) {
            None => Err(Failure::not_found(namespaces, namespace)),
            Some(found) if found["metadata"]["deletionTimestamp"].is_string() => Err(Failure::terminating(resource, namespace, name)),
            Some(_) => Ok(()),
        }
    }

    /// What the cluster's mutating policy makes of an object.
    fn mutate(&self, resource: &Resource, object: &mut Value) {
        if resource.plural != "serviceaccounts" {
            return;
        }
        for (pointer, value) in &self.mutations {
            if let Some(field) = object.pointer_mut(pointer) {
                *field = value.clone();
            }
        }
    }

    /// PUT of a named object.
    pub(super) fn update(&mut self, call: &Call<'_>) -> Outcome {
        let options = Options::of(call.request, "UpdateOptions", false)?;
        let resource = call.resource;
        let (mut object, warnings) = decode::object(call.json()?, resource, options.strictness)?;
        check_name(call, &object)?;
        let name = &call.attributes.name;
        set_defaults(resource, &mut object);
        let Some(old) = self.current(call) else {
            if !resource.put_creates() {
                return Err(Failure::not_found(resource, name));
            }
            normalise(&mut object);
            let time = call.timestamp();
            let managers = Managers::of(&object).update(resource, None, &object, &options.manager, &time);
            return self.insert(call, object, &managers, &options, warnings);
        };
        let (uid, recorded) = (text(&object["metadata"], "uid"), text(&old["metadata"], "uid"));
        if !uid.is_empty() && uid != recorded {
            let key = format!("/registry/{}/{}/{name}", resource.plural, call.attributes.namespace);
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {recorded}"
            );
            return Err(Failure::conflict(resource, name, &why));
        }
        if resource.put_needs_version() && text(&object["metadata"], "resourceVersion").is_empty() {
            let error = FieldError::invalid("metadata.resourceVersion", "0", "must be specified for an update");
            return Err(Failure::invalid(resource.group, resource.plural, name, &[error]));
        }
        let managers = Managers::in_request(&object, &old);
        self.replace(call, &old, object, managers, &options, warnings)
    }

    /// Puts an object of a client in the place of another.
    pub(super) fn replace(
        &mut self,
        call: &Call<'_>,
        old: &Value,
        mut object: Value,
        managers: Managers,
        options: &Options,
        warnings: Vec<String>,
    ) -> Outcome {
        let keeps_status = call.resource.workload() || call.resource.plural == "namespaces";
        if keeps_status {
            object["status"] = old["status"].clone();
        }
        normalise(&mut object);
        let (before, after) = (without_managers(old), without_managers(&object));
        let time = call.timestamp();
        let managers = managers.update(call.resource, Some(&before), &after, &options.manager, &time);
        self.store_change(call, old, object, &managers, options, warnings)
    }

    /// Stores what takes the place of another object, unless nothing changed.
    pub(super) fn store_change(
        &mut self,
        call: &Call<'_>,
        old: &Value,
        mut object: Value,
        managers: &Managers,
        options: &Options,
        warnings: Vec<String>,
    ) -> Outcome {
        let resource = call.resource;
        let version = text(&object["metadata"], "resourceVersion");
        if !version.is_empty() && old["metadata"]["resourceVersion"] != version.as_str() {
            return Err(Failure::stale(resource, &call.attributes.name));
        }
        keep_metadata(&mut object, old);
        self.mutate(resource, &mut object);
        if resource.workload() && object["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = generation.into();
        }
        validate::changed_object(resource, &object, old)?;
        self.validate_admission(call, Operation::Update(old, &object), options.dry_run)?;
        let unchanged = without_managers(&object) == without_managers(old) && managers.same_fields(&Managers::of(old));
        if unchanged {
            return Ok(Reply { code: 200, body: old.clone(), changed: false, warnings });
        }
        managers.write(&mut object);
        if options.dry_run {
            return Ok(Reply { code: 200, body: object, changed: false, warnings });
        }
        let finished = object["metadata"]["deletionTimestamp"].is_string()
            && object["metadata"]["finalizers"].is_null()
            && resource.plural != "namespaces";
        let body = self.store.put(resource, object);
        if finished {
            self.store.take(resource, &call.attributes.namespace_of_object(resource), &call.attributes.name);
        }
        Ok(Reply { code: 200, body, changed: true, warnings })
    }

    /// The object that a call names, with what it is.
    pub(super) fn current(&self, call: &Call<'_>) -> Option<Value> {
        let namespace = call.attributes.namespace_of_object(call.resource);
        self.store.get(call.resource, &namespace, &call.attributes.name).cloned()
    }
}

impl Call<'_> {
    /// The body, if it is JSON.
    pub(super) fn json(&self) -> Result<&[u8], Failure> {
        let header = self.request.header("content-type");
        match header.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" | "*/*" => Ok(&self.request.body),
            media @ ("application/yaml" | "application/cbor" | "application/vnd.kubernetes.protobuf") => {
                Err(Failure::not_implemented(media))
            }
            _ => Err(Failure::unknown_format()),
        }
    }

    /// The time of the call as the API writes it.
    pub(super) fn timestamp(&self) -> String {
        timestamp(unix_seconds(self.now))
    }
}
