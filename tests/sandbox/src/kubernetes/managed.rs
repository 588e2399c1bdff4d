//! Field managers: who owns which field after an update or an apply, and when an apply conflicts.
//!
//! The rules of server-side apply only; reading requests, validation and storage are in `write.rs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    fields::Fields,
    resources::Resource,
    schema::{self, Comparison},
    status::Failure,
};

/// Metadata that belongs to nobody.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];

/// Fields that only the status subresource sets.
const STATUS: &[&str] = &["f:status"];

/// Who: an update is told apart by the version it was made in too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Manager {
    operation: String,
    name: String,
    api_version: String,
    subresource: String,
}

impl Manager {
    /// As conflicts name it.
    fn readable(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        if self.operation == "Update" {
            text = format!("{text} using {}", self.api_version);
        }
        text
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    fields: Fields,
    time: String,
}

/// The managers of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Managers(BTreeMap<Manager, Owned>);

impl Managers {
    /// Reads the `managedFields` of an object.
    pub(super) fn of(object: &Value) -> Self {
        let text = |entry: &Value, member: &str| entry[member].as_str().unwrap_or_default().to_owned();
        let entries = object["metadata"]["managedFields"].as_array();
        let owned = entries.into_iter().flatten().filter(|entry| entry["operation"].is_string());
        Self(
            owned
                .map(|entry| {
                    let manager = Manager {
                        operation: text(entry, "operation"),
                        name: text(entry, "manager"),
                        api_version: text(entry, "apiVersion"),
                        subresource: text(entry, "subresource"),
                    };
                    let fields = Fields::from_value(&entry["fieldsV1"]);
                    (manager, Owned { fields, time: text(entry, "time") })
                })
                .collect(),
        )
    }

    /// The managers an update starts from: those in the request if it has some, else those of the stored object.
    /// One empty entry, or an empty list, resets them.
    pub(super) fn in_request(object: &Value, old: &Value) -> Self {
        let given = object["metadata"]["managedFields"].as_array().map(Vec::as_slice);
        let reset = match given {
            Some([]) => true,
            Some([only]) => only.as_object().is_some_and(serde_json::Map::is_empty),
            _ => false,
        };
        let managers = Self::of(object);
        if reset || !managers.0.is_empty() { managers } else { Self::of(old) }
    }

    /// Writes the `managedFields` of an object.
    pub(super) fn write(&self, object: &mut Value) {
        let mut entries: Vec<(&Manager, &Owned)> = self.0.iter().collect();
        entries.sort_by_key(|(manager, owned)| (&manager.operation, &owned.time, *manager));
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|(manager, owned)| {
                let mut entry = json!({
                    "manager": manager.name,
                    "operation": manager.operation,
                    "apiVersion": manager.api_version,
                    "time": owned.time,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": owned.fields.to_value(),
                });
                if !manager.subresource.is_empty() {
                    entry["subresource"] = manager.subresource.as_str().into();
                }
                entry
            })
            .collect();
        if entries.is_empty() {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
        } else {
            object["metadata"]["managedFields"] = entries.into();
        }
    }

    /// Whether the managers own the same, whenever they took it.
    pub(super) fn same_fields(&self, other: &Self) -> bool {
        let owned = |managers: &Self| -> Vec<(Manager, Fields)> {
            managers.0.iter().map(|(manager, owned)| (manager.clone(), owned.fields.clone())).collect()
        };
        owned(self) == owned(other)
    }

    /// After a create, update or patch: the writer takes every field it set.
    pub(super) fn update(mut self, resource: &Resource, old: Option<&Value>, new: &Value, writer: &str, time: &str) -> Self {
        // An object that nobody applied or created with managers is not tracked until someone applies it.
        if self.0.is_empty() && old.is_some() {
            return self;
        }
        let empty = schema::empty(resource);
        let found = Comparison::of(schema::of(resource.kind), old.unwrap_or(&empty), new);
        let set = found.set();
        for owned in self.0.values_mut() {
            owned.fields = owned.fields.difference(&set).difference(&found.removed);
        }
        let taken = strip(set, resource);
        if !taken.is_empty() {
            let writer = Manager {
                operation: "Update".to_owned(),
                name: writer.to_owned(),
                api_version: resource.api_version(),
                subresource: String::new(),
            };
            let owned = self.0.entry(writer).or_insert_with(|| Owned { fields: Fields::default(), time: String::new() });
            owned.fields = owned.fields.union(&taken);
            time.clone_into(&mut owned.time);
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
        self
    }

    /// Lays the configuration over the live object for its manager: the new object and who owns what in it.
    pub(super) fn apply(
        mut self,
        resource: &Resource,
        live: Option<&Value>,
        configuration: &Value,
        applier: (&str, bool),
        time: &str,
    ) -> Result<(Value, Self), Failure> {
        let (name, force) = applier;
        let kind = schema::of(resource.kind);
        let empty = schema::empty(resource);
        if let Some(live) = live
            && self.0.is_empty()
        {
            self = self.update(resource, None, live, "before-first-apply", time);
        }
        let live = live.unwrap_or(&empty);
        let manager = self
            .0
            .keys()
            .find(|known| known.operation == "Apply" && known.name == name && known.subresource.is_empty())
            .cloned()
            .unwrap_or_else(|| Manager {
                operation: "Apply".to_owned(),
                name: name.to_owned(),
                api_version: resource.api_version(),
                subresource: String::new(),
            });
        let before = self.0.remove(&manager);
        let fields = strip(kind.fields(configuration), resource);

        let mut new = kind.merge(live, configuration);
        if let Some(before) = &before {
            let still = self.0.values().fold(fields.clone(), |all, owned| all.union(&owned.fields));
            new = kind.without(&new, &before.fields.outside(&still));
        }

        let found = Comparison::of(kind, live, &new);
        let set = found.set();
        let mut conflicts = Vec::new();
        for (other, owned) in &mut self.0 {
            let conflict = owned.fields.intersection(&set);
            conflicts.extend(conflict.paths().into_iter().map(|path| (other.readable(), path)));
            owned.fields = owned.fields.difference(&conflict).difference(&found.removed);
        }
        if !force && !conflicts.is_empty() {
            return Err(Failure::apply_conflict(&conflicts));
        }
        let unchanged = before.filter(|before| before.fields == fields && *live == new);
        let time = unchanged.map_or_else(|| time.to_owned(), |before| before.time);
        self.0.insert(manager, Owned { fields, time });
        self.0.retain(|_, owned| !owned.fields.is_empty());
        Ok((new, self))
    }

    /// Who owns what, without times, for a comparison of states.
    pub(super) fn summary(&self) -> Value {
        let entries = self.0.iter().map(|(manager, owned)| {
            json!({
                "manager": manager.name,
                "operation": manager.operation,
                "fields": owned.fields.paths(),
            })
        });
        entries.collect()
    }
}

fn strip(mut fields: Fields, resource: &Resource) -> Fields {
    for path in UNOWNED {
        fields.remove(path);
    }
    if resource.workload() {
        fields.remove(STATUS);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::resources::by_plural;

    fn account(annotations: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "annotations": annotations}})
    }

    fn service_accounts() -> &'static Resource {
        by_plural("serviceaccounts").unwrap_or_else(|| unreachable!())
    }

    #[test]
    fn an_equal_value_is_owned_by_both_and_stays_when_one_lets_go() {
        let resource = service_accounts();
        let object = account(&json!({"r": "v"}));
        let managers = Managers::default().update(resource, None, &object, "kubectl-create", "1");
        let (object, managers) = managers.apply(resource, Some(&object), &object.clone(), ("irsa", false), "2").unwrap();
        let (object, managers) = managers.apply(resource, Some(&object), &account(&json!({})), ("irsa", false), "3").unwrap();
        assert_eq!(object["metadata"]["annotations"], json!({"r": "v"}));
        let owners: Vec<&str> = managers.0.keys().map(|manager| manager.name.as_str()).collect();
        assert_eq!(owners, ["irsa", "kubectl-create"]);
    }

    #[test]
    fn several_conflicts_are_listed_by_owner() {
        let resource = service_accounts();
        let object = account(&json!({"a": "1", "b": "1"}));
        let managers = Managers::default().update(resource, None, &object, "kubectl", "1");
        let failure = managers.apply(resource, Some(&object), &account(&json!({"a": "2", "b": "2"})), ("irsa", false), "2").unwrap_err();
        assert_eq!(
            failure.document()["message"],
            "Apply failed with 2 conflicts: conflicts with \"kubectl\" using v1:\n- .metadata.annotations.a\n- .metadata.annotations.b"
        );
    }

    #[test]
    fn an_object_without_managers_is_tracked_from_the_first_apply_on() {
        let resource = service_accounts();
        let old = account(&json!({"a": "1"}));
        let managers = Managers::default().update(resource, Some(&old), &account(&json!({})), "x", "1");
        assert_eq!(managers, Managers::default());
        let failure = managers.apply(resource, Some(&old), &account(&json!({"a": "2"})), ("irsa", false), "2").unwrap_err();
        assert_eq!(failure.document()["details"]["causes"][0]["message"], "conflict with \"before-first-apply\" using v1");
    }
}
