//! What is known of the structure of objects, and what follows from it: type errors, field sets, comparison, merge.
//!
//! `ServiceAccount`, `Namespace`, `Lease` and the roles are described field by field; of the other kinds only the metadata is, and below it
//! every object is merged by member and every list is replaced as a whole.

use serde_json::{Map, Value, json};

use super::{fields::Fields, resources::Resource};

/// The type of a value.
#[derive(Debug)]
pub(super) enum Schema {
    Text,
    Boolean,
    Number,
    /// Members of these names.
    Struct(&'static [(&'static str, Schema)]),
    /// Members of any name.
    MapOf(&'static Schema),
    /// A list without order or repetition.
    SetOfText,
    /// A list whose items are told apart by this member.
    ListBy(&'static str, &'static Schema),
    /// Owned as one.
    Atomic(&'static Schema),
    /// A list that is owned as one.
    AtomicListOf(&'static Schema),
    /// Not described.
    Unknown,
}

/// How a value is taken apart.
enum Parts {
    Leaf,
    Members,
    ItemsBy(&'static str),
    Items,
}

use Schema::{Atomic, AtomicListOf, Boolean, ListBy, MapOf, Number, SetOfText, Struct, Text, Unknown};

static OWNER_REFERENCE: Schema = Atomic(&Struct(&[
    ("apiVersion", Text),
    ("blockOwnerDeletion", Boolean),
    ("controller", Boolean),
    ("kind", Text),
    ("name", Text),
    ("uid", Text),
]));

const METADATA: Schema = Struct(&[
    ("annotations", MapOf(&Text)),
    ("creationTimestamp", Text),
    ("deletionGracePeriodSeconds", Number),
    ("deletionTimestamp", Text),
    ("finalizers", SetOfText),
    ("generateName", Text),
    ("generation", Number),
    ("labels", MapOf(&Text)),
    ("managedFields", AtomicListOf(&Unknown)),
    ("name", Text),
    ("namespace", Text),
    ("ownerReferences", ListBy("uid", &OWNER_REFERENCE)),
    ("resourceVersion", Text),
    ("selfLink", Text),
    ("uid", Text),
]);

static OBJECT_REFERENCE: Schema = Atomic(&Struct(&[
    ("apiVersion", Text),
    ("fieldPath", Text),
    ("kind", Text),
    ("name", Text),
    ("namespace", Text),
    ("resourceVersion", Text),
    ("uid", Text),
]));

static LOCAL_OBJECT_REFERENCE: Schema = Atomic(&Struct(&[("name", Text)]));

static SERVICE_ACCOUNT: Schema = Struct(&[
    ("apiVersion", Text),
    ("automountServiceAccountToken", Boolean),
    ("imagePullSecrets", AtomicListOf(&LOCAL_OBJECT_REFERENCE)),
    ("kind", Text),
    ("metadata", METADATA),
    ("secrets", ListBy("name", &OBJECT_REFERENCE)),
]);

static NAMESPACE: Schema = Struct(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", METADATA),
    ("spec", Struct(&[("finalizers", AtomicListOf(&Text))])),
    ("status", Struct(&[("conditions", ListBy("type", &Unknown)), ("phase", Text)])),
]);

static LEASE: Schema = Struct(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", METADATA),
    (
        "spec",
        Struct(&[
            ("acquireTime", Text),
            ("holderIdentity", Text),
            ("leaseDurationSeconds", Number),
            ("leaseTransitions", Number),
            ("preferredHolder", Text),
            ("renewTime", Text),
            ("strategy", Text),
        ]),
    ),
]);

static TOKEN_REQUEST: Schema = Struct(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", METADATA),
    (
        "spec",
        Struct(&[
            ("audiences", AtomicListOf(&Text)),
            ("boundObjectRef", Struct(&[("apiVersion", Text), ("kind", Text), ("name", Text), ("uid", Text)])),
            ("expirationSeconds", Number),
        ]),
    ),
    ("status", Unknown),
]);

static ROLE: Schema = Struct(&[
    ("aggregationRule", Unknown),
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", METADATA),
    ("rules", AtomicListOf(&Unknown)),
]);

static BINDING: Schema = Struct(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", METADATA),
    ("roleRef", Atomic(&Struct(&[("apiGroup", Text), ("kind", Text), ("name", Text)]))),
    ("subjects", AtomicListOf(&Unknown)),
]);

static UNDESCRIBED: Schema = Struct(&[("metadata", METADATA)]);

/// What is known of a kind.
pub(super) fn of(kind: &str) -> &'static Schema {
    match kind {
        "ServiceAccount" => &SERVICE_ACCOUNT,
        "Namespace" => &NAMESPACE,
        "Lease" => &LEASE,
        "TokenRequest" => &TOKEN_REQUEST,
        "Role" | "ClusterRole" => &ROLE,
        "RoleBinding" | "ClusterRoleBinding" => &BINDING,
        _ => &UNDESCRIBED,
    }
}

/// An object of the kind in which nothing is set, as far as a comparison sees it.
pub(super) fn empty(resource: &Resource) -> Value {
    if matches!(of(resource.kind), Struct(fields) if fields.iter().any(|(name, _)| *name == "secrets")) {
        json!({"metadata": {}})
    } else {
        json!({"metadata": {}, "spec": {}, "status": {}})
    }
}

impl Schema {
    /// The type of a member, or `None` if there is no such member.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Struct(fields) => {
                let known = fields.iter().find(|(field, _)| *field == name);
                // Kinds that are not described have more members than their metadata.
                known.map(|(_, schema)| schema).or_else(|| std::ptr::eq(self, &raw const UNDESCRIBED).then_some(&Unknown))
            }
            MapOf(inner) => Some(inner),
            Atomic(inner) => inner.member(name),
            Unknown => Some(&Unknown),
            _ => None,
        }
    }

    /// The type of the items of a list.
    pub(super) fn item(&self) -> &Self {
        match self {
            ListBy(_, item) | AtomicListOf(item) => item,
            SetOfText => &Text,
            _ => &Unknown,
        }
    }

    fn is_declared(&self, name: &str) -> bool {
        matches!(self, Struct(fields) if fields.iter().any(|(field, _)| *field == name))
    }

    fn parts(&self, value: &Value) -> Parts {
        match self {
            Struct(_) | MapOf(_) | Unknown if value.is_object() => Parts::Members,
            SetOfText if value.is_array() => Parts::Items,
            ListBy(key, _) if value.is_array() => Parts::ItemsBy(key),
            _ => Parts::Leaf,
        }
    }

    /// The parts of a value with their path elements and types.
    fn split<'v>(&self, value: &'v Value) -> Option<Vec<(String, &Self, &'v Value)>> {
        let parts = match self.parts(value) {
            Parts::Leaf => return None,
            Parts::Members => {
                let members = value.as_object()?.iter();
                members
                    .filter(|(_, below)| !below.is_null())
                    .map(|(name, below)| (format!("f:{name}"), self.member(name).unwrap_or(&Unknown), below))
                    .collect()
            }
            Parts::ItemsBy(key) => {
                let items = value.as_array()?.iter();
                items.map(|item| (item_element(key, item), self.item(), item)).collect()
            }
            Parts::Items => {
                let items = value.as_array()?.iter();
                items.map(|item| (format!("v:{item}"), self.item(), item)).collect()
            }
        };
        Some(parts)
    }

    /// The fields that a document applied by its owner sets.
    pub(super) fn fields(&self, value: &Value) -> Fields {
        let mut fields = Fields::default();
        self.add_fields(value, &mut Vec::new(), &mut fields);
        fields
    }

    fn add_fields(&self, value: &Value, path: &mut Vec<String>, fields: &mut Fields) {
        let Some(parts) = self.split(value) else {
            fields.insert(path);
            return;
        };
        for (element, schema, below) in parts {
            let declared = element.strip_prefix("f:").is_none_or(|name| self.is_declared(name));
            let item = !element.starts_with("f:");
            let empty = below.as_object().is_some_and(Map::is_empty);
            path.push(element);
            schema.add_fields(below, path, fields);
            if item || empty || !declared {
                fields.insert(path);
            }
            path.pop();
        }
    }

    /// The value with another laid over it.
    pub(super) fn merge(&self, live: &Value, over: &Value) -> Value {
        match (self.parts(live), self.parts(over)) {
            (Parts::Members, Parts::Members) => {
                let mut merged = live.as_object().cloned().unwrap_or_default();
                for (name, above) in over.as_object().into_iter().flatten() {
                    let schema = self.member(name).unwrap_or(&Unknown);
                    let value =
                        merged.get(name).filter(|below| !below.is_null()).map_or_else(|| above.clone(), |below| schema.merge(below, above));
                    merged.insert(name.clone(), value);
                }
                merged.into()
            }
            (Parts::ItemsBy(_) | Parts::Items, Parts::ItemsBy(_) | Parts::Items) => {
                let mut merged: Vec<(String, Value)> =
                    self.split(live).unwrap_or_default().into_iter().map(|(element, _, item)| (element, item.clone())).collect();
                for (element, schema, item) in self.split(over).unwrap_or_default() {
                    match merged.iter_mut().find(|(known, _)| *known == element) {
                        Some((_, below)) => *below = schema.merge(below, item),
                        None => merged.push((element, item.clone())),
                    }
                }
                merged.into_iter().map(|(_, item)| item).collect()
            }
            _ => over.clone(),
        }
    }

    /// The value without the fields of a set; what contained them stays, empty if need be.
    pub(super) fn without(&self, value: &Value, fields: &Fields) -> Value {
        let Some(parts) = self.split(value) else {
            return value.clone();
        };
        let kept = parts.into_iter().filter_map(|(element, schema, below)| match fields.child(&element) {
            None => Some((element, below.clone())),
            Some(inner) if inner.is_member() => None,
            Some(inner) => Some((element, schema.without(below, inner))),
        });
        if value.is_array() {
            return kept.map(|(_, item)| item).collect();
        }
        let members: Map<String, Value> =
            kept.map(|(element, below)| (element.strip_prefix("f:").unwrap_or_default().to_owned(), below)).collect();
        members.into()
    }
}

fn item_element(key: &str, item: &Value) -> String {
    format!("k:{{\"{key}\":{}}}", item.get(key).unwrap_or(&Value::Null))
}

/// What differs between two states of an object.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Fields,
    pub(super) modified: Fields,
    pub(super) removed: Fields,
}

impl Comparison {
    pub(super) fn of(schema: &Schema, old: &Value, new: &Value) -> Self {
        let mut found = Self::default();
        found.walk(schema, Some(old), Some(new), &mut Vec::new());
        found
    }

    /// Fields that have another value now, or a value for the first time.
    pub(super) fn set(&self) -> Fields {
        self.added.union(&self.modified)
    }

    fn walk(&mut self, schema: &Schema, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<String>) {
        match (old, new) {
            (None, Some(_)) => self.added.insert(path),
            (Some(_), None) => self.removed.insert(path),
            _ => {}
        }
        let before = old.and_then(|old| schema.split(old));
        let after = new.and_then(|new| schema.split(new));
        match (before, after) {
            (None, None) => {
                if old.is_some() && new.is_some() && old != new {
                    self.modified.insert(path);
                }
            }
            (Some(_), None) | (None, Some(_)) if old.is_some() && new.is_some() => {
                self.modified.insert(path);
            }
            (before, after) => {
                let before = before.unwrap_or_default();
                let mut after = after.unwrap_or_default();
                for (element, inner, below) in before {
                    let at = after.iter().position(|(other, ..)| *other == element);
                    let now = at.map(|at| after.remove(at).2);
                    path.push(element);
                    self.walk(inner, Some(below), now, path);
                    path.pop();
                }
                for (element, inner, below) in after {
                    path.push(element);
                    self.walk(inner, None, Some(below), path);
                    path.pop();
                }
            }
        }
    }
}
