//! Cluster access as resources: the guard before the rights, both before the access entry, and the ServiceAccount last, as `bootstrap` makes it.

use serde_json::json;

use super::resources::Resources;
use crate::{
    hcl::{Body, identifier, quoted},
    model::bootstrap::{ACCESS_GROUP, BOOTSTRAP_MANAGER, ClusterObject, DesiredAccess, ObservedAccess, STANDARD},
};

/// The resource for any object. <https://registry.terraform.io/providers/hashicorp/kubernetes/latest/docs/resources/manifest>
const OBJECT: &str = "kubernetes_manifest";
/// <https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/eks_access_entry>
const ENTRY: &str = "aws_eks_access_entry";

/// What Terraform cannot do.
pub(super) fn comments(desired: &DesiredAccess, observed: &ObservedAccess) -> Vec<String> {
    let (cluster, namespace) = (&desired.role.cluster, &desired.subject.namespace);
    let mut comments = vec![
        format!("Configure the providers aws and kubernetes for EKS cluster {cluster}."),
        "Terraform does not wait until the guard is in force, which takes some seconds, and does not prove that it holds.".to_owned(),
        format!("So run bootstrap --cluster-access {namespace} after each apply: it finds nothing to do, and proves it."),
    ];
    if is_of_gone_role(observed) {
        comments
            .push(format!("The access entry of role {} is of a role that is gone: delete it before you apply this.", desired.role.role));
    }
    comments
}

/// Role, objects, access entry and ServiceAccount.
pub(super) fn add(resources: &mut Resources, desired: &DesiredAccess, observed: &ObservedAccess) {
    resources.role("access", &desired.role, observed.role.as_ref());
    let mut before: Vec<String> = Vec::new();
    for object in &desired.guard {
        let address = add_object(resources, object, observed, before.last().cloned().as_slice());
        before.push(address);
    }
    let guard = before.clone();
    for object in &desired.rights {
        before.push(add_object(resources, object, observed, &guard));
    }
    before.push("aws_iam_role_policy.access".to_owned());
    let mut body = Body::default();
    body.text("cluster_name", desired.role.cluster.as_str());
    body.raw("principal_arn", "aws_iam_role.access.arn");
    body.raw("kubernetes_groups", &format!("[{}]", quoted(ACCESS_GROUP)));
    body.text("type", STANDARD);
    body.members("tags", &json!(desired.role.tags));
    depends_on(&mut body, &before);
    let existing = observed.entry.as_ref().filter(|_| !is_of_gone_role(observed));
    resources.add(ENTRY, "access", &body, existing.map(|_| format!("{}:{}", desired.role.cluster, desired.role.role)));
    if let Some(object) = &desired.service_account {
        add_object(resources, object, observed, &[format!("{ENTRY}.access")]);
    }
}

/// Adds an object, and answers its address. It is signed as `bootstrap` signs, so that each may change what the other has made.
fn add_object(resources: &mut Resources, object: &ClusterObject, observed: &ObservedAccess, after: &[String]) -> String {
    let at = &object.at;
    let name = identifier(&format!("{}_{}", at.kind.name(), at.name));
    let mut body = Body::default();
    body.members("manifest", &object.body);
    body.nested("field_manager", |body| body.text("name", BOOTSTRAP_MANAGER));
    depends_on(&mut body, after);
    resources.add(OBJECT, &name, &body, observed.objects.contains_key(at).then(|| import_id(object)));
    format!("{OBJECT}.{name}")
}

fn import_id(object: &ClusterObject) -> String {
    let at = &object.at;
    let namespace = at.namespace.as_ref().map(|namespace| format!("namespace={namespace},")).unwrap_or_default();
    format!("apiVersion={},kind={},{namespace}name={}", object.api_version(), at.kind.name(), at.name)
}

fn depends_on(body: &mut Body, after: &[String]) {
    if !after.is_empty() {
        body.list("depends_on", |body| after.iter().for_each(|address| body.line(&format!("{address},"))));
    }
}

/// An entry is of its principal's unique id: that of a role that is gone lets nobody in.
/// <https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html>
fn is_of_gone_role(observed: &ObservedAccess) -> bool {
    observed.entry.is_some() && observed.role.is_none()
}
