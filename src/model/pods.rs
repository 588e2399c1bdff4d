//! Pods and what makes pods, as far as ServiceAccount and role are concerned.

use std::collections::{BTreeMap, BTreeSet};

use super::{arn::RoleArn, names::Namespace};

/// A pod that runs or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Kind and name of what made it.
    pub owner: Option<(String, String)>,
    /// The roles in the environments of its containers, `AWS_ROLE_ARN`: put there by the webhook when the pod was created.
    pub roles: BTreeSet<String>,
}

/// Who uses a ServiceAccount or a role of the namespace: a pod, a workload that makes pods, or a service of Qovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Who, as messages name it: ``pod `api-5d8f` ``.
    pub user: String,
    /// The ServiceAccount it runs with or asks for.
    pub service_account: String,
    /// The roles in the environments of its containers.
    pub roles: BTreeSet<String>,
    /// Whether it is terminating.
    pub ends: bool,
}

/// The pods without this role, by what made them: how many, and the command that makes new ones.
#[must_use]
pub fn stale(pods: &[Pod], role: &RoleArn, namespace: &Namespace) -> Vec<String> {
    let mut by_owner: BTreeMap<(String, String), usize> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.roles.contains(&role.to_string())) {
        let owner = pod.owner.clone().unwrap_or_else(|| ("Pod".to_owned(), pod.name.clone()));
        *by_owner.entry(owner).or_default() += 1;
    }
    by_owner
        .into_iter()
        .map(|((kind, name), count)| {
            let command = match kind.as_str() {
                "Deployment" | "StatefulSet" | "DaemonSet" => {
                    format!("kubectl -n {namespace} rollout restart {}/{name}", kind.to_lowercase())
                }
                "Job" => format!("run {kind} `{name}` again"),
                _ => format!("kubectl -n {namespace} delete {}/{name}", kind.to_lowercase()),
            };
            let pods = if count == 1 { "1 pod runs".to_owned() } else { format!("{count} pods run") };
            format!("{pods} without the role, made by {kind} `{name}`: {command}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_without_the_role_are_counted_by_what_made_them_with_the_command_that_restarts_it() {
        let role: RoleArn = "arn:aws:iam::123456789012:role/app".parse().unwrap();
        let pod = |name: &str, owner: Option<(&str, &str)>, roles: &[&str]| Pod {
            name: name.to_owned(),
            owner: owner.map(|(kind, name)| (kind.to_owned(), name.to_owned())),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        let pods = [
            pod("a", Some(("Deployment", "api")), &[]),
            pod("b", Some(("Deployment", "api")), &["arn:aws:iam::123456789012:role/old"]),
            pod("c", Some(("Deployment", "web")), &["arn:aws:iam::123456789012:role/app"]),
            pod("d", Some(("Job", "nightly")), &[]),
            pod("e", None, &[]),
        ];
        assert_eq!(
            stale(&pods, &role, &"z1".parse().unwrap()),
            [
                "2 pods run without the role, made by Deployment `api`: kubectl -n z1 rollout restart deployment/api",
                "1 pod runs without the role, made by Job `nightly`: run Job `nightly` again",
                "1 pod runs without the role, made by Pod `e`: kubectl -n z1 delete pod/e",
            ]
        );
    }
}
