//! What the cluster keeps for whoever reaches all of it: the guard, the rights and the ServiceAccount, from the published files.
//!
//! Only parsed documents are changed, never text: the variables of the guard that its file tells people to change.

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{
    BootstrapSpec,
    cluster_object::{ClusterObject, ObjectKind},
};
use crate::model::{
    arn::{Account, RoleArn},
    names::{NamespacePattern, RolePath, Subject},
};

/// The group of the access entry, which the published files name.
pub const ACCESS_GROUP: &str = "qovery-irsa";

const GUARD: &str = include_str!("../../../docs/permissions/admission-guard.yaml");
const RIGHTS: &str = include_str!("../../../docs/permissions/rbac.yaml");
/// Of the published rights, what only EKS Pod Identity needs.
const OF_POD_IDENTITY: &str = "qovery-irsa-agent";
/// The condition of the guard that says whom it is for.
const BY_THE_JOB: &str = "by-the-job";

/// The guard: what the group, and the jobs of the zone, may do whatever their rights are.
///
/// | published | rendered |
/// |---|---|
/// | the group, and every ServiceAccount `qovery-irsa` | the group, and the jobs' ServiceAccount in the zone's namespaces |
/// | namespaces that begin with `z` | those of the zone, and that of whoever reaches the cluster |
/// | audiences of STS and of EKS Pod Identity | that of STS; both with `podIdentity` |
/// | roles below `/qovery/` of any account | those below the path, of the zone's account |
/// | no further role | the listed roles |
#[must_use]
pub(super) fn guard(spec: &BootstrapSpec, access: &Subject, account: &Account, zone: &RoleArn) -> Vec<ClusterObject> {
    let patterns: Vec<String> = spec.namespaces.iter().map(expression).collect();
    let namespaces = patterns.iter().cloned().chain([access.namespace.to_string()]).map(|pattern| format!("^{pattern}$"));
    let mut audiences = vec!["sts.amazonaws.com".to_owned()];
    audiences.extend(spec.pod_identity.then(|| "pods.eks.amazonaws.com".to_owned()));
    let below = format!("^arn:{}:iam::{}:role{}[a-zA-Z0-9+=,.@_/-]+$", account.partition, account.id, escaped_path(&spec.path));
    let variables = [
        ("namespaces", list(namespaces)),
        ("audiences", list(audiences)),
        ("rolePatterns", list([below])),
        ("furtherRoles", list(spec.roles.iter().map(ToString::to_string))),
    ];
    let job = format!("^system:serviceaccount:({}):{}$", patterns.join("|"), escaped(spec.service_account.as_str()));
    let whom = format!(
        "(has(request.userInfo.groups) && {group} in request.userInfo.groups) || (has(request.userInfo.username) && request.userInfo.username.matches({job}))",
        group = quoted(ACCESS_GROUP),
        job = quoted(&job),
    );
    let rendered = documents(GUARD).into_iter().map(|mut body| {
        for (name, expression) in &variables {
            set(body.pointer_mut("/spec/variables"), name, expression);
        }
        set(body.pointer_mut("/spec/matchConditions"), BY_THE_JOB, &whom);
        body
    });
    rendered.filter_map(|body| ClusterObject::marked(body, &zone.to_string())).collect()
}

/// What the group may do.
#[must_use]
pub(super) fn rights(spec: &BootstrapSpec, zone: &RoleArn) -> Vec<ClusterObject> {
    let wanted = documents(RIGHTS).into_iter().filter(|body| spec.pod_identity || body["metadata"]["name"] != OF_POD_IDENTITY);
    wanted.filter_map(|body| ClusterObject::marked(body, &zone.to_string())).collect()
}

/// Every right that the published files have, for a removal.
#[must_use]
pub fn all_rights(zone: &RoleArn) -> Vec<ClusterObject> {
    documents(RIGHTS).into_iter().filter_map(|body| ClusterObject::marked(body, &zone.to_string())).collect()
}

/// The ServiceAccount that gets the role.
#[must_use]
pub(super) fn service_account(access: &Subject, role: &RoleArn, zone: &RoleArn) -> Option<ClusterObject> {
    let body = json!({
        "apiVersion": "v1",
        "kind": ObjectKind::ServiceAccount.name(),
        "metadata": {
            "name": access.service_account.as_str(),
            "namespace": access.namespace.as_str(),
            "annotations": {"eks.amazonaws.com/role-arn": role.to_string()},
        },
    });
    ClusterObject::marked(body, &zone.to_string())
}

/// The documents of a published file.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).filter_map(|document| Value::deserialize(document).ok()).filter(Value::is_object).collect()
}

/// Sets the expression of the item of that name, if there is one.
fn set(items: Option<&mut Value>, name: &str, expression: &str) {
    let item = items.and_then(Value::as_array_mut).into_iter().flatten().find(|item| item["name"] == name);
    if let Some(item) = item {
        item["expression"] = expression.into();
    }
}

/// A pattern of namespaces as a regular expression, RE2. A namespace has letters, digits and `-`, which mean themselves.
fn expression(pattern: &NamespacePattern) -> String {
    pattern.as_str().chars().fold(String::new(), |all, character| match character {
        '*' => all + "[a-z0-9-]*",
        '?' => all + "[a-z0-9-]",
        other => all + &other.to_string(),
    })
}

/// A role's path as a regular expression.
fn escaped_path(path: &RolePath) -> String {
    escaped(path.as_str())
}

/// A text that means itself in a regular expression.
fn escaped(text: &str) -> String {
    let one = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '-' | '_' | ':' | ',' | '@' | '=' => character.to_string(),
        // In a class of its own, but for what is special there too.
        '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | '{' | '}' | '$' => format!("[{character}]"),
        other => format!("\\x{{{:x}}}", u32::from(other)),
    };
    text.chars().map(one).collect()
}

/// A list of texts in CEL.
fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(&item)).collect();
    format!("[{}]", items.join(", "))
}

/// A text in CEL. <https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values>
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::model::bootstrap::{BoundaryChoice, ObjectKind};

    fn spec() -> BootstrapSpec {
        BootstrapSpec {
            cluster: "demo".parse().unwrap(),
            region: None,
            namespaces: BTreeSet::from(["z1a-*".parse().unwrap(), "p?".parse().unwrap()]),
            service_account: "irsa.job".parse().unwrap(),
            role: "qovery-irsa-demo".parse().unwrap(),
            path: "/a.b+c'd/".parse().unwrap(),
            boundary: BoundaryChoice::None,
            roles: BTreeSet::from(["arn:aws:iam::123456789012:role/made-by-hand".parse().unwrap()]),
            role_tags: BTreeSet::new(),
            pod_identity: true,
            access: None,
            tags: BTreeMap::new(),
        }
    }

    fn zone() -> RoleArn {
        "arn:aws:iam::123456789012:role/qovery-irsa-demo".parse().unwrap()
    }

    fn rendered(spec: &BootstrapSpec) -> Vec<ClusterObject> {
        guard(spec, &"ops/sweep".parse().unwrap(), &zone().account, &zone())
    }

    fn expression<'a>(body: &'a Value, list: &str, name: &str) -> &'a str {
        let items = body["spec"][list].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap()["expression"].as_str().unwrap()
    }

    #[test]
    fn what_is_special_in_a_pattern_or_in_cel_means_itself() {
        let objects = rendered(&spec());
        let body = &objects[0].body;
        assert_eq!(expression(body, "variables", "namespaces"), "['^p[a-z0-9-]$', '^z1a-[a-z0-9-]*$', '^ops$']");
        assert_eq!(
            expression(body, "variables", "rolePatterns"),
            r"['^arn:aws:iam::123456789012:role/a[.]b[+]c\\x{27}d/[a-zA-Z0-9+=,.@_/-]+$']"
        );
        assert_eq!(expression(body, "variables", "furtherRoles"), "['arn:aws:iam::123456789012:role/made-by-hand']");
        assert_eq!(expression(body, "variables", "audiences"), "['sts.amazonaws.com', 'pods.eks.amazonaws.com']");
        let whom = expression(body, "matchConditions", "by-the-job");
        assert!(whom.contains("'^system:serviceaccount:(p[a-z0-9-]|z1a-[a-z0-9-]*):irsa[.]job$'"), "{whom}");
    }

    #[test]
    fn nothing_of_the_published_guard_but_these_expressions_changes() {
        let published = documents(GUARD);
        let objects = rendered(&spec());
        assert_eq!(
            objects.iter().map(|object| object.at.kind).collect::<Vec<_>>(),
            [ObjectKind::AdmissionPolicy, ObjectKind::AdmissionPolicyBinding]
        );
        assert_eq!(objects[1].body["spec"], published[1]["spec"]);
        for member in ["failurePolicy", "matchConstraints", "validations"] {
            assert_eq!(objects[0].body["spec"][member], published[0]["spec"][member]);
        }
        let differ: Vec<&str> = published[0]["spec"]["variables"]
            .as_array()
            .unwrap()
            .iter()
            .zip(objects[0].body["spec"]["variables"].as_array().unwrap())
            .filter(|(published, rendered)| published != rendered)
            .filter_map(|(published, _)| published["name"].as_str())
            .collect();
        assert_eq!(differ, ["namespaces", "rolePatterns", "furtherRoles"]);
    }

    #[test]
    fn the_rights_on_the_agent_go_with_pod_identity() {
        let names = |spec: &BootstrapSpec| rights(spec, &zone()).into_iter().map(|object| object.at.to_string()).collect::<Vec<_>>();
        let of_all = ["ClusterRole `qovery-irsa`", "ClusterRoleBinding `qovery-irsa`"];
        let of_pods = ["Role `kube-system/qovery-irsa-agent`", "RoleBinding `kube-system/qovery-irsa-agent`"];
        assert_eq!(names(&spec()), [of_all, of_pods].concat());
        assert_eq!(names(&BootstrapSpec { pod_identity: false, ..spec() }), of_all);
        assert_eq!(all_rights(&zone()).len(), 4);
    }
}
