//! What a user may do, from the Role and binding objects of the cluster.
//!
//! The group `system:masters` may do everything. Escalation checks on writing roles stay out.

use serde_json::{Value, json};

use super::{
    authn::User,
    resources::{Attributes, by_plural},
    store::Store,
};

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// Whether something is allowed, and by what.
pub(super) struct Decision {
    pub(super) allowed: bool,
    pub(super) reason: String,
}

/// Decides a question.
pub(super) fn authorize(store: &Store, user: &User, question: &Attributes) -> Decision {
    if user.groups.iter().any(|group| group == MASTERS) {
        return Decision { allowed: true, reason: String::new() };
    }
    let bindings = |plural: &'static str, namespace: &str| -> Vec<Value> {
        by_plural(plural).map(|resource| store.list(resource, namespace).cloned().collect()).unwrap_or_default()
    };
    let mut all = bindings("clusterrolebindings", "");
    if !question.namespace.is_empty() {
        all.extend(bindings("rolebindings", &question.namespace));
    }
    for binding in all {
        let subjects = binding["subjects"].as_array().into_iter().flatten();
        let Some(subject) = subjects.into_iter().find(|subject| is_subject(subject, &binding, user)) else {
            continue;
        };
        let role = &binding["roleRef"];
        let namespace = text(&binding["metadata"]["namespace"]);
        let (plural, within) = if role["kind"] == "Role" { ("roles", namespace) } else { ("clusterroles", "") };
        let rules = by_plural(plural)
            .and_then(|resource| store.get(resource, within, text(&role["name"])))
            .and_then(|role| role["rules"].as_array());
        if rules.into_iter().flatten().any(|rule| allows(rule, question)) {
            return Decision { allowed: true, reason: reason(&binding, subject) };
        }
    }
    Decision { allowed: false, reason: String::new() }
}

/// The sentence with which a refusal names what was asked.
pub(super) fn refusal(user: &User, question: &Attributes) -> String {
    let (name, verb) = (&user.name, &question.verb);
    if !question.is_resource() {
        return format!("User {name:?} cannot {verb} path {:?}", question.path);
    }
    let scope = if question.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", question.namespace)
    };
    format!("User {name:?} cannot {verb} resource {:?} in API group {:?} {scope}", question.resource_path(), question.group)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_subject(subject: &Value, binding: &Value, user: &User) -> bool {
    let name = text(&subject["name"]);
    match text(&subject["kind"]) {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            // In a RoleBinding it need not say its namespace.
            let namespace = subject["namespace"].as_str().filter(|name| !name.is_empty());
            let namespace = namespace.unwrap_or_else(|| text(&binding["metadata"]["namespace"]));
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn reason(binding: &Value, subject: &Value) -> String {
    let qualified = |value: &Value| {
        let (name, namespace) = (text(&value["name"]), text(&value["namespace"]));
        if namespace.is_empty() { name.to_owned() } else { format!("{name}/{namespace}") }
    };
    let kind = if binding["metadata"]["namespace"].is_string() { "RoleBinding" } else { "ClusterRoleBinding" };
    format!(
        "RBAC: allowed by {kind} {:?} of {} {:?} to {} {:?}",
        qualified(&binding["metadata"]),
        text(&binding["roleRef"]["kind"]),
        text(&binding["roleRef"]["name"]),
        text(&subject["kind"]),
        qualified(subject)
    )
}

fn allows(rule: &Value, question: &Attributes) -> bool {
    let has = |list: &str, wanted: &str| rule[list].as_array().is_some_and(|items| items.iter().any(|item| item == wanted));
    if !has("verbs", "*") && !has("verbs", &question.verb) {
        return false;
    }
    if !question.is_resource() {
        let urls = rule["nonResourceURLs"].as_array();
        return urls.into_iter().flatten().any(|url| {
            let url = text(url);
            url == question.path || url.strip_suffix('*').is_some_and(|prefix| question.path.starts_with(prefix))
        });
    }
    let resource = has("resources", "*")
        || has("resources", &question.resource_path())
        || (!question.subresource.is_empty() && has("resources", &format!("*/{}", question.subresource)));
    let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
    resource
        && (has("apiGroups", "*") || has("apiGroups", &question.group))
        && names.is_none_or(|names| names.iter().any(|name| *name == question.name.as_str()))
}

/// The roles and bindings every cluster starts with, as far as they matter here. The discovery of the issuer is open to
/// ServiceAccounts alone.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
pub(super) fn defaults() -> Vec<Value> {
    let role = |name: &str, rule: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "rules": [rule],
        })
    };
    let binding = |name: &str, role: &str, groups: &[&str]| {
        let subjects: Vec<Value> =
            groups.iter().map(|group| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group})).collect();
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        })
    };
    let (everyone, nobody) = ("system:authenticated", "system:unauthenticated");
    let issuer = "system:service-account-issuer-discovery";
    vec![
        role("cluster-admin", json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})),
        role(
            "system:basic-user",
            json!({
                "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"],
                "resources": ["selfsubjectaccessreviews", "selfsubjectreviews"],
                "verbs": ["create"],
            }),
        ),
        role(
            "system:discovery",
            json!({
                "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"],
                "verbs": ["get"],
            }),
        ),
        role(
            "system:public-info-viewer",
            json!({
                "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"],
                "verbs": ["get"],
            }),
        ),
        role(
            issuer,
            json!({
                "nonResourceURLs": ["/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"],
                "verbs": ["get"],
            }),
        ),
        binding("cluster-admin", "cluster-admin", &[MASTERS]),
        binding("system:basic-user", "system:basic-user", &[everyone]),
        binding("system:discovery", "system:discovery", &[everyone]),
        binding("system:public-info-viewer", "system:public-info-viewer", &[everyone, nobody]),
        binding(issuer, issuer, &["system:serviceaccounts"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_names() {
        let question = Attributes {
            verb: "patch".to_owned(),
            plural: "serviceaccounts".to_owned(),
            namespace: "team".to_owned(),
            name: "app".to_owned(),
            ..Attributes::default()
        };
        let token = Attributes { verb: "create".to_owned(), subresource: "token".to_owned(), ..question.clone() };
        let rule = |resources: &str, verbs: &str, names: &[&str]| json!({"apiGroups": [""], "resources": [resources], "verbs": [verbs], "resourceNames": names});
        let cases = [
            (rule("serviceaccounts", "patch", &[]), &question, true),
            (rule("serviceaccounts", "patch", &["app"]), &question, true),
            (rule("serviceaccounts", "patch", &["other"]), &question, false),
            (rule("serviceaccounts", "get", &[]), &question, false),
            (rule("pods", "*", &[]), &question, false),
            (rule("serviceaccounts", "create", &[]), &token, false),
            (rule("serviceaccounts/token", "create", &[]), &token, true),
            (rule("*", "*", &[]), &token, true),
        ];
        for (rule, question, allowed) in cases {
            assert_eq!(allows(&rule, question), allowed, "{rule}");
        }
    }
}
