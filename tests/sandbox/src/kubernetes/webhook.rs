//! The pod identity webhook of EKS, as far as it changes a pod: variables, a volume and its mounts, for a Pod Identity association or for
//! the annotation of the `ServiceAccount`. The association wins.
//!
//! It sees pods that are created through the API, dry runs too, and those that tests arrange by `put_admitted_pod`. Changed ones it does not see.
//! <https://github.com/aws/amazon-eks-pod-identity-webhook>, `pkg/handler/handler.go`

use serde_json::{Value, json};

use super::Kubernetes;

const ROLE: &str = "AWS_ROLE_ARN";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const AUTHORIZATION_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Where the agent of EKS Pod Identity listens on each node.
const AGENT: &str = "http://169.254.170.23/v1/credentials";
/// How long a token lives where nobody says, in seconds, and at the least.
const EXPIRATION: (u64, u64) = (86_400, 3_600);

/// What a pod gets.
struct Patch {
    volume: &'static str,
    directory: &'static str,
    /// The file of the token in the directory.
    file: &'static str,
    audience: String,
    expiration: u64,
    variables: [(&'static str, String); 2],
}

impl Patch {
    fn of_annotation(role: &str, audience: &str, expiration: u64) -> Self {
        let directory = "/var/run/secrets/eks.amazonaws.com/serviceaccount";
        Self {
            volume: "aws-iam-token",
            directory,
            file: "token",
            audience: audience.to_owned(),
            expiration,
            variables: [(ROLE, role.to_owned()), (TOKEN_FILE, format!("{directory}/token"))],
        }
    }

    fn of_association(expiration: u64) -> Self {
        let (directory, file) = ("/var/run/secrets/pods.eks.amazonaws.com/serviceaccount", "eks-pod-identity-token");
        Self {
            volume: file,
            directory,
            file,
            audience: "pods.eks.amazonaws.com".to_owned(),
            expiration,
            variables: [(FULL_URI, AGENT.to_owned()), (AUTHORIZATION_FILE, format!("{directory}/{file}"))],
        }
    }

    fn mutate(&self, pod: &mut Value) {
        let skipped = pod["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"].as_str().unwrap_or_default().to_owned();
        let skipped: Vec<&str> = skipped.split(',').map(str::trim).collect();
        let mut changed = false;
        for kind in ["initContainers", "containers"] {
            for container in pod["spec"][kind].as_array_mut().into_iter().flatten() {
                if skipped.contains(&container["name"].as_str().unwrap_or_default()) {
                    continue;
                }
                changed |= self.give(container);
            }
        }
        let there = pod["spec"]["volumes"].as_array().is_some_and(|volumes| volumes.iter().any(|volume| volume["name"] == self.volume));
        if changed && !there {
            let token = json!({ "audience": self.audience, "expirationSeconds": self.expiration.max(EXPIRATION.1), "path": self.file });
            let volume = json!({ "name": self.volume, "projected": { "sources": [{ "serviceAccountToken": token }] } });
            push(&mut pod["spec"]["volumes"], volume);
        }
    }

    /// Whether it gave the container anything.
    fn give(&self, container: &mut Value) -> bool {
        let has =
            |name: &str| container["env"].as_array().is_some_and(|variables| variables.iter().any(|variable| variable["name"] == name));
        if self.variables.iter().any(|(name, _)| has(name)) {
            return false;
        }
        for (name, value) in &self.variables {
            push(&mut container["env"], json!({ "name": name, "value": value }));
        }
        push(&mut container["volumeMounts"], json!({ "name": self.volume, "mountPath": self.directory, "readOnly": true }));
        true
    }
}

impl Kubernetes {
    /// Stores a pod as EKS admits it: with a role if its `ServiceAccount` has one by now.
    ///
    /// A container with one of the two variables gets neither, one that the pod annotation `skip-containers` names gets nothing, and a
    /// volume of that name that is there already stays as it is.
    pub fn put_admitted_pod(&mut self, mut pod: Value) {
        self.give_role(&mut pod);
        self.put_object(pod);
    }

    /// What the webhook makes of a new pod.
    pub(super) fn give_role(&self, pod: &mut Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, account) = (text(&pod["metadata"]["namespace"]), text(&pod["spec"]["serviceAccountName"]));
        if let Some(patch) = self.patch_of(&namespace, &account) {
            patch.mutate(pod);
        }
    }

    fn patch_of(&self, namespace: &str, account: &str) -> Option<Patch> {
        let annotations = self.object("serviceaccounts", namespace, account).map(|found| found["metadata"]["annotations"].clone());
        let annotations = annotations.unwrap_or_default();
        let given = |key: &str| annotations[format!("eks.amazonaws.com/{key}")].as_str();
        let expiration = given("token-expiration").and_then(|seconds| seconds.parse().ok()).unwrap_or(EXPIRATION.0);
        if self.control_plane.as_ref().is_some_and(|plane| plane.0.is_associated(namespace, account)) {
            return Some(Patch::of_association(expiration));
        }
        let role = given("role-arn")?;
        Some(Patch::of_annotation(role, given("audience").unwrap_or("sts.amazonaws.com"), expiration))
    }
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
        let annotated = Patch::of_annotation("arn", "sts.amazonaws.com", 60);
        let associated = Patch::of_association(60);
        for (patch, [first, second], audience) in
            [(annotated, [ROLE, TOKEN_FILE], "sts.amazonaws.com"), (associated, [FULL_URI, AUTHORIZATION_FILE], "pods.eks.amazonaws.com")]
        {
            let mut pod = json!({
                "metadata": { "annotations": { "eks.amazonaws.com/skip-containers": "proxy, other" } },
                "spec": {
                    "initContainers": [{ "name": "migrate" }],
                    "containers": [{ "name": "main", "env": env(&["A"]) }, { "name": "own", "env": env(&[first]) }, { "name": "proxy" }],
                },
            });
            patch.mutate(&mut pod);
            let names = |pointer: &str| {
                let container = pod.pointer(pointer).unwrap();
                let variables = container["env"].as_array().into_iter().flatten().map(|variable| variable["name"].as_str().unwrap());
                (variables.collect::<Vec<_>>(), container["volumeMounts"].as_array().map_or(0, Vec::len))
            };
            assert_eq!(names("/spec/initContainers/0"), (vec![first, second], 1));
            assert_eq!(names("/spec/containers/0"), (vec!["A", first, second], 1));
            assert_eq!(names("/spec/containers/1"), (vec![first], 0));
            assert_eq!(names("/spec/containers/2"), (vec![], 0));
            let token = &pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
            assert_eq!((&token["expirationSeconds"], &token["audience"]), (&json!(3600), &json!(audience)));
            let path = format!("{}/{}", patch.directory, token["path"].as_str().unwrap());
            assert_eq!(
                pod["spec"]["initContainers"][0]["env"].as_array().unwrap().iter().filter(|it| it["value"] == path.as_str()).count(),
                1
            );
        }
    }
}
