//! A trust zone as resources of Terraform's providers for AWS and Kubernetes, for those who make it with Terraform. Where `terraform apply` has made them,
//! `bootstrap` finds nothing to do, and the other way round: what `bootstrap` has made is imported.
//!
//! <https://registry.terraform.io/providers/hashicorp/aws/latest/docs>, <https://registry.terraform.io/providers/hashicorp/kubernetes/latest/docs>

mod access;
mod resources;

use std::collections::BTreeSet;

use serde_json::json;

use self::resources::Resources;
use crate::{
    hcl::{Body, block, quoted},
    model::{
        agent::{AGENT, AddOn},
        bootstrap::{BOUNDARY_DESCRIPTION, DesiredAccess, DesiredBootstrap, ObservedAccess, ObservedBootstrap},
    },
};

/// The oldest version of the provider that asks for no thumbprint of an OIDC provider.
/// <https://github.com/hashicorp/terraform-provider-aws/blob/main/CHANGELOG.md>
const PROVIDER: &str = ">= 5.81.0";

/// The oldest version of the provider for Kubernetes that keeps an imported object: before, it replaced it.
/// <https://github.com/hashicorp/terraform-provider-kubernetes/blob/main/CHANGELOG.md>
const KUBERNETES_PROVIDER: &str = ">= 2.12.1";

/// The resources, and what of them is there already. With cluster access, where it is given.
pub(super) fn render(
    desired: &DesiredBootstrap,
    observed: &ObservedBootstrap,
    reaching: Option<(&DesiredAccess, &ObservedAccess)>,
) -> String {
    let mut resources = Resources::default();
    let tags = json!(desired.tags);
    let mut comments = Vec::new();
    match &observed.provider {
        Some(found) if !desired.is_own(&found.tags) => comments.push(format!(
            "OIDC provider {} is there, and bootstrap did not make it: it stays whose it is.{}",
            desired.provider.issuer.host_and_path(),
            if found.audiences.contains(desired.audience.as_str()) {
                String::new()
            } else {
                format!(" Add audience {} to it.", desired.audience)
            }
        )),
        found => {
            let mut body = Body::default();
            body.text("url", desired.provider.issuer.as_str());
            // What others have added stays.
            let known = found.iter().flat_map(|found| &found.audiences).map(String::as_str);
            let audiences: BTreeSet<&str> = known.chain([desired.audience.as_str()]).collect();
            body.raw("client_id_list", &format!("[{}]", audiences.into_iter().map(quoted).collect::<Vec<_>>().join(", ")));
            body.members("tags", &tags);
            resources.add("aws_iam_openid_connect_provider", "cluster", &body, found.as_ref().map(|_| desired.provider.arn.clone()));
        }
    }
    if let Some((policy, document)) = desired.boundary.as_ref().and_then(|policy| Some((policy, policy.document.as_ref()?))) {
        let mut body = Body::default();
        body.text("name", policy.arn.policy_name());
        body.text("description", BOUNDARY_DESCRIPTION);
        body.document("policy", document);
        body.members("tags", &tags);
        resources.add("aws_iam_policy", "boundary", &body, observed.own_boundary.as_ref().map(|found| found.arn.to_string()));
    }
    resources.role("jobs", desired, observed.role.as_ref());
    let agent = observed.agent.as_ref().filter(|agent| agent.state != AddOn::Absent);
    if desired.agent && agent.is_none_or(|agent| desired.is_own(&agent.tags)) {
        let mut body = Body::default();
        body.text("cluster_name", desired.cluster.as_str());
        body.text("addon_name", AGENT);
        body.members("tags", &tags);
        resources.add("aws_eks_addon", "pod_identity_agent", &body, agent.map(|_| format!("{}:{AGENT}", desired.cluster)));
    }
    if let Some((desired, observed)) = reaching {
        comments.extend(access::comments(desired, observed));
        access::add(&mut resources, desired, observed);
    }
    let mut outputs = vec![output("role_arn", "aws_iam_role.jobs.arn", "For install: --role")];
    if let Some(policy) = &desired.boundary {
        let arn = if policy.document.is_some() { "aws_iam_policy.boundary.arn".to_owned() } else { quoted(policy.arn.as_str()) };
        outputs.push(output("boundary_arn", &arn, "For install: --boundary"));
    }
    let comments = comments.into_iter().map(|line| format!("# {line}\n"));
    let blocks = std::iter::once(required_providers(reaching.is_some())).chain(resources.blocks).chain(resources.imports).chain(outputs);
    comments.chain(blocks).collect::<Vec<_>>().join("\n")
}

fn required_providers(has_objects: bool) -> String {
    let mut body = Body::default();
    // `import` blocks: <https://developer.hashicorp.com/terraform/language/import>
    body.text("required_version", ">= 1.5.0");
    body.nested("required_providers", |body| {
        body.object("aws", |body| {
            body.text("source", "hashicorp/aws");
            body.text("version", PROVIDER);
        });
        if has_objects {
            body.object("kubernetes", |body| {
                body.text("source", "hashicorp/kubernetes");
                body.text("version", KUBERNETES_PROVIDER);
            });
        }
    });
    block("terraform", &body)
}

fn output(name: &str, value: &str, description: &str) -> String {
    let mut body = Body::default();
    body.raw("value", value);
    body.text("description", description);
    block(&format!("output {}", quoted(name)), &body)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn nothing_of_a_document_is_taken_for_a_template() {
        let mut body = Body::default();
        let document =
            json!({"Statement": [{"Resource": "arn:aws:s3:::${aws:username}/%{x}", "a:b": [], "Condition": {}, "n": [1, true, null]}]});
        body.document("policy", &document);
        let parsed: hcl::Body = hcl::parse(&block("x", &body)).unwrap();
        let expression = &parsed.blocks().next().unwrap().body().attributes().next().unwrap().expr;
        assert_eq!(evaluated(expression), document);
    }

    /// What Terraform makes of `jsonencode(…)`.
    fn evaluated(expression: &hcl::Expression) -> Value {
        use hcl::eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType};
        let encode = |arguments: FuncArgs| Ok(hcl::Value::from(serde_json::to_string(&arguments[0]).unwrap()));
        let mut context = Context::new();
        context.declare_func("jsonencode", FuncDef::builder().param(ParamType::Any).build(encode));
        let hcl::Value::String(text) = expression.evaluate(&context).unwrap() else { panic!("{expression:?}") };
        serde_json::from_str(&text).unwrap()
    }
}
