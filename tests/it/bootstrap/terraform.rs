//! `bootstrap --print terraform`: what it prints is what `bootstrap` makes.

use hcl::{
    Expression,
    eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType},
};
use serde_json::{Value, json};

use super::reaching::{ACCESS, OPS, ROLE_ARN, Reaching};
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
        Expression::Array(items) if items.iter().all(|item| matches!(item, Expression::Traversal(_))) => {
            json!(items.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
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

/// The objects of what is printed, by the name of their resource.
fn objects(blocks: &[(Vec<String>, Value)]) -> Vec<(&str, &Value)> {
    let objects = blocks.iter().filter(|(labels, _)| labels.len() == 3 && labels[1] == "kubernetes_manifest");
    objects.map(|(labels, body)| (labels[2].as_str(), body)).collect()
}

fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    if kind.ends_with('y') { format!("{}ies", kind.trim_end_matches('y')) } else { format!("{kind}s") }
}

/// Without what the API server adds.
fn own(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|member, _| ["name", "namespace", "labels", "annotations"].contains(&member.as_str()));
    object.as_object_mut().unwrap().remove("status");
    object
}

fn with_pods_reaching() -> Reaching {
    let reaching = Reaching::new_unmade();
    reaching.laptop.environment.write_manifest(&with_pods());
    reaching
}

#[test]
fn the_cluster_access_that_is_printed_is_what_bootstrap_makes() {
    let reaching = with_pods_reaching();
    let sandbox = &reaching.laptop.environment.sandbox;
    let state = sandbox.state();
    let printed = reaching.bootstrap(&["--print", "terraform"]).ended(0);
    assert_eq!((printed.writes, sandbox.state(), printed.err.as_str()), (0, state, ""));
    let blocks = blocks(&printed.out);
    assert!(!blocks.iter().any(|(labels, _)| labels[0] == "import"), "nothing is there yet");
    assert!(printed.out.contains(&format!("# So run bootstrap --cluster-access {OPS} after each apply")), "{}", printed.out);
    assert!(printed.out.contains("\"hashicorp/kubernetes\""), "{}", printed.out);
    reaching.bootstrap(&[]).ended(0);

    let (made, permissions) = sandbox.aws(|aws| {
        let made = aws.roles()[ACCESS].clone();
        let permissions: Value = serde_json::from_str(&made.inline["qovery-irsa"]).unwrap();
        (made, permissions)
    });
    let role = resource(&blocks, "aws_iam_role", "access");
    assert_eq!((&role["name"], &role["description"], &role["tags"]), (&json!(ACCESS), &json!(made.description), &json!(made.tags)));
    assert_eq!(document(&role["assume_role_policy"]), serde_json::from_str::<Value>(&made.trust).unwrap());
    let policy = resource(&blocks, "aws_iam_role_policy", "access");
    assert_eq!((&policy["role"], document(&policy["policy"])), (&json!("aws_iam_role.access.name"), permissions));
    let mut entry = resource(&blocks, "aws_eks_access_entry", "access");
    let after = entry.as_object_mut().unwrap().remove("depends_on").unwrap();
    let found = reaching.entry().unwrap();
    let expected = json!({"cluster_name": "demo", "principal_arn": "aws_iam_role.access.arn", "kubernetes_groups": found.groups,
        "type": "STANDARD", "tags": found.tags});
    assert_eq!(entry, expected);

    let objects = objects(&blocks);
    for (name, body) in &objects {
        let manifest = &body["manifest"];
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let seen = reaching.object(&plural(text("/kind")), text("/metadata/namespace"), text("/metadata/name"));
        assert_eq!(own(&seen.unwrap_or_else(|| panic!("{name}"))), *manifest, "{name}");
    }
    let at = |name: &str| format!("kubernetes_manifest.{name}");
    let (policy, binding) = ("validatingadmissionpolicy_qovery_irsa", "validatingadmissionpolicybinding_qovery_irsa");
    let rights = ["clusterrole_qovery_irsa", "clusterrolebinding_qovery_irsa", "role_qovery_irsa_agent", "rolebinding_qovery_irsa_agent"];
    let guard = json!([at(policy), at(binding)]);
    let mut order = vec![(policy, Value::Null), (binding, json!([at(policy)]))];
    order.extend(rights.iter().map(|right| (*right, guard.clone())));
    order.push(("serviceaccount_qovery_irsa_sweep", json!(["aws_eks_access_entry.access"])));
    assert_eq!(objects.iter().map(|(name, body)| (*name, body["depends_on"].clone())).collect::<Vec<_>>(), order);
    let mut all = vec![at(policy), at(binding)];
    all.extend(rights.iter().map(|right| at(right)));
    all.push("aws_iam_role_policy.access".to_owned());
    assert_eq!(after, json!(all));
}

#[test]
fn cluster_access_that_is_there_is_imported_and_that_of_others_is_refused() {
    let reaching = with_pods_reaching();
    reaching.bootstrap(&[]).ended(0);
    let printed = reaching.bootstrap(&["--print", "terraform"]).ended(0);
    let imports: Vec<(String, String)> = blocks(&printed.out)
        .iter()
        .filter(|(labels, _)| labels[0] == "import")
        .map(|(_, body)| (body["to"].as_str().unwrap().to_owned(), body["id"].as_str().unwrap().to_owned()))
        .skip_while(|(to, _)| to != "aws_iam_role.access")
        .collect();
    let (rbac, admission) = ("apiVersion=rbac.authorization.k8s.io/v1", "apiVersion=admissionregistration.k8s.io/v1");
    let agent = "namespace=kube-system,name=qovery-irsa-agent";
    let object = |name: &str, id: String| (format!("kubernetes_manifest.{name}"), id);
    let expected = [
        ("aws_iam_role.access".to_owned(), ACCESS.to_owned()),
        ("aws_iam_role_policy.access".to_owned(), format!("{ACCESS}:qovery-irsa")),
        object("validatingadmissionpolicy_qovery_irsa", format!("{admission},kind=ValidatingAdmissionPolicy,name=qovery-irsa")),
        object(
            "validatingadmissionpolicybinding_qovery_irsa",
            format!("{admission},kind=ValidatingAdmissionPolicyBinding,name=qovery-irsa"),
        ),
        object("clusterrole_qovery_irsa", format!("{rbac},kind=ClusterRole,name=qovery-irsa")),
        object("clusterrolebinding_qovery_irsa", format!("{rbac},kind=ClusterRoleBinding,name=qovery-irsa")),
        object("role_qovery_irsa_agent", format!("{rbac},kind=Role,{agent}")),
        object("rolebinding_qovery_irsa_agent", format!("{rbac},kind=RoleBinding,{agent}")),
        ("aws_eks_access_entry.access".to_owned(), format!("demo:{ROLE_ARN}")),
        object("serviceaccount_qovery_irsa_sweep", format!("apiVersion=v1,kind=ServiceAccount,namespace={OPS},name=qovery-irsa-sweep")),
    ];
    assert_eq!(imports, expected);

    // EKS keeps the entry of a role that is gone, and it lets nobody in.
    reaching.laptop.environment.sandbox.aws(|aws| {
        let role = aws.role_mut(ACCESS).unwrap();
        role.inline.clear();
    });
    reaching.laptop.by_hand("DeleteRole", &[("RoleName", ACCESS)]);
    let printed = reaching.bootstrap(&["--print", "terraform"]).ended(0);
    assert!(
        printed.out.contains(&format!("# The access entry of role {ROLE_ARN} is of a role that is gone: delete it")),
        "{}",
        printed.out
    );
    assert!(!printed.out.contains("to = aws_eks_access_entry.access"), "{}", printed.out);

    reaching.laptop.environment.sandbox.kubernetes(|kubernetes| {
        let mut role = kubernetes.object("clusterroles", "", "qovery-irsa").cloned().unwrap();
        role["metadata"]["labels"] = json!({});
        kubernetes.put_object(role);
    });
    let refused = reaching.bootstrap(&["--print", "terraform"]).ended(3);
    assert_eq!(refused.out, "", "{}", refused.err);
}

/// Terraform's provider applies with a field manager that its resource names.
#[test]
fn after_terraform_there_is_nothing_to_do_and_the_guard_is_proven() {
    let reaching = with_pods_reaching();
    reaching.bootstrap(&[]).ended(0);
    let printed = blocks(&reaching.bootstrap(&["--print", "terraform"]).ended(0).out);
    let objects = objects(&printed);
    let apply = |manager: &str, change: &dyn Fn(&mut Value)| {
        reaching.laptop.environment.sandbox.kubernetes(|kubernetes| {
            for (_, body) in &objects {
                let mut object = body["manifest"].clone();
                change(&mut object);
                let content = ["spec", "rules", "subjects", "roleRef"].into_iter().filter(|member| object.get(member).is_some());
                let fields: serde_json::Map<String, Value> = content.map(|member| (format!("f:{member}"), json!({}))).collect();
                object["metadata"]["managedFields"] =
                    json!([{"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
                let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                kubernetes.remove_object(&plural(&text("/kind")), &text("/metadata/namespace"), &text("/metadata/name"));
                kubernetes.put_object(object).unwrap();
            }
        });
    };
    let narrower = |object: &mut Value| {
        if object["kind"] == "ClusterRole" {
            object["rules"] = json!([]);
        }
    };
    let signed: &str = "qovery-irsa-bootstrap";
    for manager in [signed, "Terraform"] {
        apply(manager, &|_| {});
        let run = reaching.bootstrap(&[]).ended(0);
        assert_eq!((run.writes, run.out.lines().filter(|line| line.starts_with("proven: ")).count()), (0, 4), "{manager}: {}", run.out);
    }
    let refused = {
        apply("Terraform", &narrower);
        reaching.bootstrap(&[]).ended(3)
    };
    assert!(refused.err.contains("belongs to `Terraform`"), "{}", refused.err);
    apply(signed, &narrower);
    assert_eq!(reaching.bootstrap(&[]).ended(0).done(), ["change ClusterRole `qovery-irsa`"]);
}

#[test]
fn what_is_printed_is_signed_as_bootstrap_signs() {
    let reaching = with_pods_reaching();
    let printed = reaching.bootstrap(&["--print", "terraform"]).ended(0);
    let body: hcl::Body = hcl::parse(&printed.out).unwrap();
    let manifests: Vec<_> =
        body.blocks().filter(|block| block.labels.first().is_some_and(|label| label.as_str() == "kubernetes_manifest")).collect();
    assert_eq!(manifests.len(), 7);
    for manifest in manifests {
        let manager = manifest.body.blocks().find(|block| block.identifier() == "field_manager").unwrap();
        let name = manager.body.attributes().next().unwrap();
        assert_eq!((name.key(), name.expr()), ("name", &Expression::String("qovery-irsa-bootstrap".to_owned())));
    }
}
