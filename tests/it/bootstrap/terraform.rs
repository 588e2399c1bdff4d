//! `bootstrap --print terraform`: what it prints is what `bootstrap` makes.

use hcl::{
    Expression,
    eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType},
};
use serde_json::{Value, json};

use crate::support::zone::{BOUNDARY, Laptop, ROLE, ZONE};

fn with_pods() -> String {
    ZONE.replace("  name: demo", "  name: demo\n  podIdentity: true")
}

/// A file of Terraform, as its blocks: the labels, and the attributes as Terraform evaluates them.
fn blocks(text: &str) -> Vec<(Vec<String>, Value)> {
    let body: hcl::Body = hcl::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let encode = |arguments: FuncArgs| Ok(hcl::Value::from(serde_json::to_string(&arguments[0]).unwrap()));
    let mut context = Context::new();
    context.declare_func("jsonencode", FuncDef::builder().param(ParamType::Any).build(encode));
    let value = |expression: &Expression| match expression {
        Expression::Traversal(_) => json!(expression.to_string()),
        other => serde_json::to_value(other.evaluate(&context).unwrap()).unwrap(),
    };
    let block = |block: &hcl::Block| {
        let labels = std::iter::once(block.identifier.to_string()).chain(block.labels.iter().map(|label| label.as_str().to_owned()));
        let attributes = block.body.attributes().map(|attribute| (attribute.key.to_string(), value(&attribute.expr)));
        (labels.collect(), Value::Object(attributes.collect()))
    };
    body.blocks().map(block).collect()
}

fn resource(blocks: &[(Vec<String>, Value)], kind: &str, name: &str) -> Value {
    let labels = ["resource".to_owned(), kind.to_owned(), name.to_owned()];
    blocks.iter().find(|(found, _)| *found == labels).map(|(_, body)| body.clone()).unwrap_or_default()
}

fn document(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

#[test]
fn what_is_printed_is_what_bootstrap_makes() {
    let laptop = Laptop::new(&with_pods());
    let state = laptop.environment.sandbox.state();
    let printed = laptop.bootstrap(&["--print", "terraform"]).ended(0);
    assert_eq!((printed.writes, laptop.environment.sandbox.state(), printed.err.as_str()), (0, state, ""));
    let blocks = blocks(&printed.out);
    assert!(!blocks.iter().any(|(labels, _)| labels[0] == "import"), "nothing is there yet");
    laptop.bootstrap(&[]).ended(0);

    let role = resource(&blocks, "aws_iam_role", "jobs");
    let made = laptop.role().unwrap();
    assert_eq!((&role["name"], &role["description"]), (&json!(ROLE), &json!(made.description)));
    assert_eq!(document(&role["assume_role_policy"]), serde_json::from_str::<Value>(&made.trust).unwrap());
    assert_eq!(role["tags"], json!(made.tags));
    let policy = resource(&blocks, "aws_iam_role_policy", "jobs");
    assert_eq!((&policy["name"], &policy["role"]), (&json!("qovery-irsa"), &json!("aws_iam_role.jobs.name")));
    assert_eq!(document(&policy["policy"]), laptop.permissions());
    let boundary = resource(&blocks, "aws_iam_policy", "boundary");
    assert_eq!((&boundary["name"], document(&boundary["policy"])), (&json!("qovery-irsa-demo-boundary"), laptop.boundary().unwrap()));
    let description = laptop.environment.sandbox.aws(|aws| aws.policies()[BOUNDARY].description.clone());
    assert_eq!(boundary["description"], json!(description));
    let provider = resource(&blocks, "aws_iam_openid_connect_provider", "cluster");
    let expected =
        json!({"url": laptop.environment.sandbox.cluster().issuer(), "client_id_list": ["sts.amazonaws.com"], "tags": made.tags});
    assert_eq!(provider, expected);
    let agent = json!({"cluster_name": "demo", "addon_name": "eks-pod-identity-agent", "tags": made.tags});
    assert_eq!(resource(&blocks, "aws_eks_addon", "pod_identity_agent"), agent);
}

#[test]
fn what_bootstrap_has_made_is_imported_and_what_is_of_others_is_left_out() {
    let laptop = Laptop::bootstrapped(&with_pods());
    let all = blocks(&laptop.bootstrap(&["--print", "terraform"]).ended(0).out);
    let imports: Vec<(String, String)> = all
        .iter()
        .filter(|(labels, _)| labels[0] == "import")
        .map(|(_, body)| (body["to"].as_str().unwrap().to_owned(), body["id"].as_str().unwrap().to_owned()))
        .collect();
    let issuer = laptop.environment.issuer();
    let expected = [
        ("aws_iam_openid_connect_provider.cluster", format!("arn:aws:iam::123456789012:oidc-provider/{issuer}")),
        ("aws_iam_policy.boundary", BOUNDARY.to_owned()),
        ("aws_iam_role.jobs", ROLE.to_owned()),
        ("aws_iam_role_policy.jobs", format!("{ROLE}:qovery-irsa")),
        ("aws_eks_addon.pod_identity_agent", "demo:eks-pod-identity-agent".to_owned()),
    ];
    assert_eq!(imports, expected.map(|(to, id)| (to.to_owned(), id)));

    // An audience that somebody has added is not taken away.
    laptop.environment.sandbox.aws(|aws| {
        let url = aws.providers().values().next().unwrap().url.clone();
        aws.provider_mut(&url).unwrap().client_ids.push("by-hand".to_owned());
    });
    let all = blocks(&laptop.bootstrap(&["--print", "terraform"]).ended(0).out);
    let provider = resource(&all, "aws_iam_openid_connect_provider", "cluster");
    assert_eq!(provider["client_id_list"], json!(["by-hand", "sts.amazonaws.com"]));

    laptop.environment.sandbox.aws(|aws| {
        let url = aws.providers().values().next().unwrap().url.clone();
        aws.provider_mut(&url).unwrap().tags.clear();
    });
    let printed = laptop.bootstrap(&["--print", "terraform"]).ended(0);
    assert!(printed.out.starts_with(&format!("# OIDC provider {issuer} is there, and bootstrap did not make it")), "{}", printed.out);
    assert_eq!(resource(&blocks(&printed.out), "aws_iam_openid_connect_provider", "cluster"), Value::Null);

    laptop.environment.sandbox.aws(|aws| aws.role_mut(ROLE).unwrap().tags.clear());
    let refused = laptop.bootstrap(&["--print", "terraform"]).ended(3);
    assert_eq!(refused.out, "", "{}", refused.err);
}
