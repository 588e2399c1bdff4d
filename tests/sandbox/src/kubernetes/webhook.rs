//! The pod identity webhook of EKS, as far as it changes a pod: variables, a volume and its mounts.
//!
//! It is called by tests that arrange pods; pods created through the API are left as they are.
//! <https://github.com/aws/amazon-eks-pod-identity-webhook>, `pkg/handler/handler.go`

use serde_json::{Value, json};

use super::Kubernetes;

const VOLUME: &str = "aws-iam-token";
const DIRECTORY: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";
const ROLE: &str = "AWS_ROLE_ARN";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

impl Kubernetes {
    /// Stores a pod as EKS admits it: with a role if its `ServiceAccount` has one by now.
    ///
    /// A container with one of the two variables gets neither, one that the pod annotation `skip-containers` names gets nothing, and a
    /// volume of that name that is there already stays as it is.
    pub fn put_admitted_pod(&mut self, mut pod: Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, account) = (text(&pod["metadata"]["namespace"]), text(&pod["spec"]["serviceAccountName"]));
        let annotations = self.object("serviceaccounts", &namespace, &account).map(|found| found["metadata"]["annotations"].clone());
        let annotations = annotations.unwrap_or_default();
        if let Some(role) = annotations["eks.amazonaws.com/role-arn"].as_str() {
            let audience = annotations["eks.amazonaws.com/audience"].as_str().unwrap_or("sts.amazonaws.com");
            let expiration = annotations["eks.amazonaws.com/token-expiration"].as_str().and_then(|seconds| seconds.parse().ok());
            mutate(&mut pod, role, audience, expiration.unwrap_or(86_400));
        }
        self.put_object(pod);
    }
}

fn mutate(pod: &mut Value, role: &str, audience: &str, expiration: u64) {
    let skipped = pod["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"].as_str().unwrap_or_default().to_owned();
    let skipped: Vec<&str> = skipped.split(',').map(str::trim).collect();
    let mut changed = false;
    for kind in ["initContainers", "containers"] {
        for container in pod["spec"][kind].as_array_mut().into_iter().flatten() {
            if skipped.contains(&container["name"].as_str().unwrap_or_default()) {
                continue;
            }
            changed |= give(container, role);
        }
    }
    let there = pod["spec"]["volumes"].as_array().is_some_and(|volumes| volumes.iter().any(|volume| volume["name"] == VOLUME));
    if changed && !there {
        let token = json!({ "audience": audience, "expirationSeconds": expiration.max(3600), "path": "token" });
        let volume = json!({ "name": VOLUME, "projected": { "sources": [{ "serviceAccountToken": token }] } });
        push(&mut pod["spec"]["volumes"], volume);
    }
}

/// Whether it gave the container anything.
fn give(container: &mut Value, role: &str) -> bool {
    let has = |name: &str| container["env"].as_array().is_some_and(|variables| variables.iter().any(|variable| variable["name"] == name));
    if has(ROLE) || has(TOKEN_FILE) {
        return false;
    }
    push(&mut container["env"], json!({ "name": ROLE, "value": role }));
    push(&mut container["env"], json!({ "name": TOKEN_FILE, "value": format!("{DIRECTORY}/token") }));
    push(&mut container["volumeMounts"], json!({ "name": VOLUME, "mountPath": DIRECTORY, "readOnly": true }));
    true
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_gets_both_variables_or_none() {
        let env = |names: &[&str]| names.iter().map(|name| json!({ "name": name, "value": "x" })).collect::<Vec<_>>();
        let mut pod = json!({
            "metadata": { "annotations": { "eks.amazonaws.com/skip-containers": "proxy, other" } },
            "spec": {
                "initContainers": [{ "name": "migrate" }],
                "containers": [{ "name": "main", "env": env(&["A"]) }, { "name": "own", "env": env(&[ROLE]) }, { "name": "proxy" }],
            },
        });
        mutate(&mut pod, "arn", "sts.amazonaws.com", 60);
        let names = |pointer: &str| {
            let container = pod.pointer(pointer).unwrap();
            let variables = container["env"].as_array().into_iter().flatten().map(|variable| variable["name"].as_str().unwrap());
            (variables.collect::<Vec<_>>(), container["volumeMounts"].as_array().map_or(0, Vec::len))
        };
        assert_eq!(names("/spec/initContainers/0"), (vec![ROLE, TOKEN_FILE], 1));
        assert_eq!(names("/spec/containers/0"), (vec!["A", ROLE, TOKEN_FILE], 1));
        assert_eq!(names("/spec/containers/1"), (vec![ROLE], 0));
        assert_eq!(names("/spec/containers/2"), (vec![], 0));
        assert_eq!(pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3600);
    }
}
