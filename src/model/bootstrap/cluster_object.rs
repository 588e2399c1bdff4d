//! Objects that `bootstrap` keeps in the cluster: what they should hold, and whether what was seen is that.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::model::names::Namespace;

/// As `bootstrap` signs what it applies.
pub const BOOTSTRAP_MANAGER: &str = "qovery-irsa-bootstrap";
/// The label whose value says who made an object.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The annotation that says for which trust zone: the ARN of the job's role.
pub(super) const ZONE_ANNOTATION: &str = "qovery-irsa/zone";
/// The annotation that gives a ServiceAccount its role.
const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

/// The members that say what an object does, beside its metadata.
const CONTENT: [&str; 5] = ["spec", "rules", "aggregationRule", "roleRef", "subjects"];

/// What the API server fills in, so that it is no difference.
/// <https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/validating-admission-policy-v1/>
const DEFAULTS: [(&str, &str); 2] = [("matchPolicy", "Equivalent"), ("scope", "*")];

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `ValidatingAdmissionPolicy`
    AdmissionPolicy,
    /// `ValidatingAdmissionPolicyBinding`
    AdmissionPolicyBinding,
    /// `ClusterRole`
    ClusterRole,
    /// `ClusterRoleBinding`
    ClusterRoleBinding,
    /// `Role`
    Role,
    /// `RoleBinding`
    RoleBinding,
    /// `ServiceAccount`
    ServiceAccount,
}

impl ObjectKind {
    const ALL: [Self; 7] = [
        Self::AdmissionPolicy,
        Self::AdmissionPolicyBinding,
        Self::ClusterRole,
        Self::ClusterRoleBinding,
        Self::Role,
        Self::RoleBinding,
        Self::ServiceAccount,
    ];

    /// As documents name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AdmissionPolicy => "ValidatingAdmissionPolicy",
            Self::AdmissionPolicyBinding => "ValidatingAdmissionPolicyBinding",
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::ServiceAccount => "ServiceAccount",
        }
    }

    /// Where its API is.
    fn api(self) -> &'static str {
        match self {
            Self::AdmissionPolicy | Self::AdmissionPolicyBinding => "/apis/admissionregistration.k8s.io/v1",
            Self::ClusterRole | Self::ClusterRoleBinding | Self::Role | Self::RoleBinding => "/apis/rbac.authorization.k8s.io/v1",
            Self::ServiceAccount => "/api/v1",
        }
    }

    /// As permissions name it.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::AdmissionPolicy => "validatingadmissionpolicies",
            Self::AdmissionPolicyBinding => "validatingadmissionpolicybindings",
            Self::ClusterRole => "clusterroles",
            Self::ClusterRoleBinding => "clusterrolebindings",
            Self::Role => "roles",
            Self::RoleBinding => "rolebindings",
            Self::ServiceAccount => "serviceaccounts",
        }
    }

    /// The path of all that are in no namespace.
    #[must_use]
    pub fn collection(self) -> String {
        format!("{}/{}", self.api(), self.plural())
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace, if its kind has one.
    pub namespace: Option<Namespace>,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// Its path at the API server.
    #[must_use]
    pub fn path(&self) -> String {
        let (api, plural, name) = (self.kind.api(), self.kind.plural(), &self.name);
        match &self.namespace {
            Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}/{name}"),
            None => format!("{api}/{plural}/{name}"),
        }
    }
}

/// As people name it: ``ClusterRole `qovery-irsa` ``.
impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `", self.kind.name())?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}`", self.name)
    }
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterObject {
    /// Which one.
    pub at: ObjectRef,
    /// All of it, as it is applied.
    pub body: Value,
}

impl ClusterObject {
    /// An object of a document, marked as `bootstrap`'s for that zone. Nothing if its kind is not one of these.
    pub(super) fn marked(mut body: Value, zone: &str) -> Option<Self> {
        let named = body["kind"].as_str().unwrap_or_default();
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.name() == named)?;
        let metadata = body.get_mut("metadata")?.as_object_mut()?;
        let name = metadata.get("name")?.as_str()?.to_owned();
        let namespace = metadata.get("namespace").and_then(Value::as_str).map(str::parse).transpose().ok()?;
        for (member, key, value) in [("labels", MANAGED_BY, BOOTSTRAP_MANAGER), ("annotations", ZONE_ANNOTATION, zone)] {
            let members = metadata.entry(member).or_insert_with(|| json!({}));
            members[key] = value.into();
        }
        Some(Self { at: ObjectRef { kind, namespace, name }, body })
    }

    /// The version of its API, as its document names it.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.body["apiVersion"].as_str().unwrap_or_default()
    }

    /// What differs between it and what was seen, one value a line: first what goes, then what comes.
    #[must_use]
    pub fn difference(&self, seen: &ObservedObject) -> Vec<String> {
        let before = flat(&self.meaning(&seen.body));
        let after = flat(&self.meaning(&self.body));
        let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, mark: &str| -> Vec<String> {
            one.iter()
                .filter(|(path, value)| other.get(*path) != Some(*value))
                .map(|(path, value)| format!("{mark} {path}: {value}"))
                .collect()
        };
        [only(&before, &after, "-"), only(&after, &before, "+")].concat()
    }

    /// Whether what was seen does what it should.
    #[must_use]
    pub fn is_as_seen(&self, seen: &ObservedObject) -> bool {
        self.meaning(&self.body) == self.meaning(&seen.body)
    }

    /// What a body of this object means: what it does, and whose it is. What the API server or others add elsewhere is left out.
    fn meaning(&self, body: &Value) -> Value {
        let mut meaning: Map<String, Value> =
            CONTENT.iter().filter_map(|member| Some(((*member).to_owned(), plain(body.get(*member)?)))).collect();
        let own = &self.body["metadata"];
        for part in ["labels", "annotations"] {
            let keys = own[part].as_object().into_iter().flatten().map(|(key, _)| key);
            let found = keys.filter_map(|key| Some((key.clone(), body["metadata"][part].get(key)?.clone())));
            meaning.insert(part.to_owned(), Value::Object(found.collect()));
        }
        Value::Object(meaning)
    }
}

/// An object as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedObject {
    /// All of it.
    pub body: Value,
}

impl ObservedObject {
    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.body["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// The trust zone that `bootstrap` made it for: nothing if it did not make it.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        let metadata = &self.body["metadata"];
        let is_own = metadata["labels"][MANAGED_BY] == BOOTSTRAP_MANAGER;
        metadata["annotations"][ZONE_ANNOTATION].as_str().filter(|_| is_own)
    }

    /// Who else holds something of what it does: an apply of `bootstrap` would not take it away.
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
    #[must_use]
    pub fn other_managers(&self) -> BTreeSet<String> {
        let entries = self.body["metadata"]["managedFields"].as_array().into_iter().flatten();
        let others =
            entries.filter(|entry| entry["manager"] != BOOTSTRAP_MANAGER && entry["subresource"].as_str().unwrap_or_default().is_empty());
        let holds = |fields: &Value| {
            CONTENT.iter().any(|member| fields.get(format!("f:{member}")).is_some())
                || fields["f:metadata"]["f:annotations"].get(format!("f:{ROLE_ANNOTATION}")).is_some()
        };
        others.filter(|entry| holds(&entry["fieldsV1"])).filter_map(|entry| entry["manager"].as_str().map(str::to_owned)).collect()
    }
}

/// Without what the API server fills in.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let is_default = |key: &str, value: &Value| {
                DEFAULTS.iter().any(|(name, default)| key == *name && value == default)
                    || (["namespaceSelector", "objectSelector"].contains(&key) && value == &json!({}))
            };
            let kept = members.iter().filter(|(key, value)| !is_default(key, value));
            Value::Object(kept.map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// Every value by its path; an item of a list goes by its name, if it has one.
fn flat(value: &Value) -> BTreeMap<String, String> {
    fn walk(value: &Value, path: &str, into: &mut BTreeMap<String, String>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| walk(value, &below(name), into)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (number, item) in items.iter().enumerate() {
                    let name = item["name"].as_str().map_or_else(|| number.to_string(), str::to_owned);
                    walk(item, &format!("{path}[{name}]"), into);
                }
            }
            other => drop(into.insert(path.to_owned(), other.to_string())),
        }
    }
    let mut all = BTreeMap::new();
    walk(value, "", &mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(subjects: &Value) -> Value {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "a"}, "subjects": subjects})
    }

    fn wanted() -> ClusterObject {
        ClusterObject::marked(binding(&json!([{"kind": "Group", "name": "g"}])), "arn").unwrap()
    }

    #[test]
    fn an_object_of_another_zone_or_of_somebody_else_is_not_its_own() {
        let seen = ObservedObject { body: wanted().body };
        assert_eq!(seen.zone(), Some("arn"));
        let mut by_hand = seen.clone();
        by_hand.body["metadata"]["labels"][MANAGED_BY] = "Helm".into();
        assert_eq!(by_hand.zone(), None);
        assert_eq!(ObservedObject { body: binding(&json!([])) }.zone(), None);
    }

    #[test]
    fn what_the_api_server_adds_is_no_difference_and_anything_that_counts_is() {
        let wanted = wanted();
        let mut seen = ObservedObject { body: wanted.body.clone() };
        seen.body["metadata"]["uid"] = "1".into();
        seen.body["metadata"]["labels"]["team"] = "platform".into();
        seen.body["status"] = json!({"a": 1});
        assert!(wanted.is_as_seen(&seen));
        assert_eq!(wanted.difference(&seen), [] as [String; 0]);
        seen.body["subjects"] = json!([{"kind": "Group", "name": "g"}, {"kind": "Group", "name": "h"}]);
        assert!(!wanted.is_as_seen(&seen));
        assert_eq!(wanted.difference(&seen), ["- subjects[h].kind: \"Group\"", "- subjects[h].name: \"h\""]);
    }

    #[test]
    fn a_default_that_is_filled_in_is_no_difference_and_another_value_is() {
        let body = |constraints: Value| json!({"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": {"matchConstraints": constraints}});
        let wanted = ClusterObject::marked(body(json!({"resourceRules": [{"resources": ["pods"]}]})), "arn").unwrap();
        let seen = |constraints: Value| {
            let mut seen = ObservedObject { body: wanted.body.clone() };
            seen.body["spec"] = json!({"matchConstraints": constraints});
            seen
        };
        let rules = json!([{"resources": ["pods"], "scope": "*"}]);
        let filled = json!({"resourceRules": rules, "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}});
        assert!(wanted.is_as_seen(&seen(filled.clone())));
        for (member, value) in [
            ("matchPolicy", json!("Exact")),
            ("namespaceSelector", json!({"matchLabels": {"a": "b"}})),
            ("excludeResourceRules", json!([{}])),
        ] {
            let mut hollow = filled.clone();
            hollow[member] = value;
            assert!(!wanted.is_as_seen(&seen(hollow)), "{member}");
        }
    }

    #[test]
    fn only_who_holds_what_an_object_does_is_another_manager() {
        let mut body = wanted().body;
        body["metadata"]["managedFields"] = json!([
            {"manager": BOOTSTRAP_MANAGER, "fieldsV1": {"f:subjects": {}}},
            {"manager": "labeller", "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}},
            {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}},
            {"manager": "kubectl-edit", "fieldsV1": {"f:subjects": {}}},
        ]);
        assert_eq!(ObservedObject { body }.other_managers(), BTreeSet::from(["kubectl-edit".to_owned()]));
    }
}
