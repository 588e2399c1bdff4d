//! The rendered policy of the job's role: everything that is published, narrowed to the zone, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::model::{
    agent::AutoMode,
    arn::{PolicyArn, RoleArn},
    document::pattern_matches,
    names::NamespacePattern,
};

fn spec() -> BootstrapSpec {
    BootstrapSpec {
        cluster: "prod".parse().unwrap(),
        region: None,
        namespaces: BTreeSet::from(["z*".parse().unwrap()]),
        service_account: "qovery-irsa".parse().unwrap(),
        role: "qovery-irsa-prod".parse().unwrap(),
        path: "/shop/".parse().unwrap(),
        boundary: BoundaryChoice::None,
        roles: BTreeSet::new(),
        role_tags: BTreeSet::from(["cost".parse().unwrap()]),
        pod_identity: true,
        access: None,
        tags: std::collections::BTreeMap::new(),
    }
}

fn zone() -> Zone {
    Zone {
        account: crate::model::arn::Account { partition: "aws-cn".parse().unwrap(), id: "123456789012".parse().unwrap() },
        region: "cn-north-1".parse().unwrap(),
        issuer: "https://oidc.eks.cn-north-1.amazonaws.com.cn/id/A".parse().unwrap(),
        auto_mode: AutoMode::Off,
    }
}

fn boundary() -> PolicyArn {
    "arn:aws-cn:iam::123456789012:policy/limit".parse().unwrap()
}

fn of_role(roles: &[&str]) -> BTreeSet<RoleArn> {
    roles.iter().map(|role| format!("arn:aws-cn:iam::123456789012:role{role}").parse().unwrap()).collect()
}

fn statements(policy: &Value) -> Vec<Value> {
    policy["Statement"].as_array().unwrap().clone()
}

fn file(name: &str) -> Vec<Value> {
    let text = match name {
        "iam-policy.json" => include_str!("../../../docs/permissions/iam-policy.json"),
        "iam-policy-with-boundary.json" => include_str!("../../../docs/permissions/iam-policy-with-boundary.json"),
        _ => include_str!("../../../docs/permissions/pod-identity-policy.json"),
    };
    statements(&serde_json::from_str(text).unwrap())
}

fn texts(value: &Value) -> Vec<String> {
    crate::model::document::texts(value).into_iter().map(str::to_owned).collect()
}

#[test]
fn every_published_statement_is_there_and_narrower_or_equal() {
    for (bounded, name) in [(None, "iam-policy.json"), (Some(boundary()), "iam-policy-with-boundary.json")] {
        let rendered = statements(&permissions(&spec(), &zone(), bounded.as_ref()));
        let published = [file(name), file("pod-identity-policy.json")].concat();
        let sids = |statements: &[Value]| statements.iter().map(|statement| statement["Sid"].clone()).collect::<Vec<_>>();
        assert_eq!(sids(&rendered), sids(&published), "{name}");
        for (narrow, wide) in rendered.iter().zip(&published) {
            for key in ["Effect", "Action"] {
                assert_eq!(narrow[key], wide[key], "{name}: {narrow}");
            }
            // The same with what another account, path and boundary are called.
            let named = |text: &str| {
                text.replace("arn:aws:", "arn:aws-cn:")
                    .replace("role/qovery/", "role/shop/")
                    .replace("qovery-irsa-boundary", "limit")
                    .replace(
                        "oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE",
                        "oidc.eks.cn-north-1.amazonaws.com.cn/id/A",
                    )
            };
            let wide_resources: Vec<String> = texts(&wide["Resource"]).iter().map(|resource| named(resource)).collect();
            for resource in texts(&narrow["Resource"]) {
                assert!(wide_resources.iter().any(|wide| pattern_matches(wide, &resource)), "{resource} in {wide_resources:?}");
            }
            assert_eq!(texts(&narrow["Resource"]).len(), wide_resources.len(), "none is left out: {narrow}");
            let condition = |statement: &Value| statement["Condition"].to_string();
            let tags = condition(wide).replace(r#""team","cost-center""#, r#""cost""#);
            let tags = tags.replace("arn:aws:iam::*:policy/qovery-irsa-boundary", "arn:aws-cn:iam::123456789012:policy/limit");
            assert_eq!(condition(narrow), tags, "{name}");
        }
    }
}

#[test]
fn no_account_region_cluster_or_provider_is_left_open() {
    for bounded in [None, Some(boundary())] {
        let mut spec = spec();
        spec.roles = of_role(&["/shop/shared", "/by-hand"]);
        for statement in statements(&permissions(&spec, &zone(), bounded.as_ref())) {
            for resource in texts(&statement["Resource"]) {
                if resource == "*" {
                    let listing = json!(["iam:GetAccountSummary", "iam:ListRoles"]);
                    assert!(statement["Action"] == "sts:GetCallerIdentity" || statement["Action"] == listing, "{statement}");
                    continue;
                }
                let parts: Vec<&str> = resource.splitn(6, ':').collect();
                let region = if parts[2] == "eks" { "cn-north-1" } else { "" };
                assert_eq!(&parts[..5], ["arn", "aws-cn", parts[2], region, "123456789012"], "{resource}");
                let open = ["cluster/*", "oidc-provider/*", "policy/*"];
                assert!(!open.iter().any(|open| parts[5].contains(open)) && !parts[5].contains("*/"), "{resource}");
                if parts[5] == "role/*" {
                    assert!(statement["Sid"] == "LookForRoles" || statement["Effect"] == "Deny", "{statement}");
                }
            }
        }
    }
}

#[test]
fn shared_roles_of_the_path_are_changed_and_other_roles_trusted_only() {
    let mut spec = spec();
    spec.roles = of_role(&["/shop/shared", "/shop/prod/z1/own", "/by-hand"]);
    let policy = permissions(&spec, &zone(), Some(&boundary()));
    let resource = |sid: &str| {
        let of_sid = statements(&policy).into_iter().find(|statement| statement["Sid"] == sid);
        of_sid
            .map(|statement| texts(&statement["Resource"]).iter().map(|arn| arn.rsplit(':').next().unwrap().to_owned()).collect::<Vec<_>>())
    };
    // What stands below the cluster's own part of the path needs no name.
    let below = Some(vec!["role/shop/prod/*".to_owned(), "role/shop/shared".to_owned()]);
    for sid in ["GiveOnlyWithinTheBoundary", "RolesOfEnvironments", "TagsOfRoles", "RolesForPods"] {
        assert_eq!(resource(sid), below, "{sid}");
    }
    for sid in ["TrustOfRolesGivenByArn", "RolesGivenByArnForPods"] {
        assert_eq!(resource(sid), Some(vec!["role/by-hand".to_owned()]), "{sid}");
    }
    spec.pod_identity = false;
    let policy = permissions(&spec, &zone(), None).to_string();
    assert!(!policy.contains("PassRole") && !policy.contains("eks-auth") && policy.contains("TrustOfRolesGivenByArn"), "{policy}");
}

#[test]
fn the_statements_of_given_roles_are_those_of_the_documentation() {
    let mut spec = spec();
    spec.roles = of_role(&["/made-by-hand"]);
    let rendered = statements(&permissions(&spec, &zone(), None));
    let text = include_str!("../../../docs/permissions.md");
    let mut found = 0;
    for block in text.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap()) {
        let documented: Value = serde_json::from_str(&block.replace("arn:aws:", "arn:aws-cn:")).unwrap();
        if ["TrustOfRolesGivenByArn", "RolesGivenByArnForPods"].iter().any(|sid| documented["Sid"] == *sid) {
            assert!(rendered.contains(&documented), "{documented}");
            found += 1;
        }
    }
    assert_eq!(found, 2);
}

#[test]
fn a_zone_of_the_usual_size_is_far_below_the_quota() {
    let mut spec = spec();
    spec.boundary = BoundaryChoice::Policy(boundary());
    spec.roles = (0..20).map(|number| format!("arn:aws-cn:iam::123456789012:role/shop/shared-{number:02}").parse().unwrap()).collect();
    let size = DesiredBootstrap::new(&spec, &zone()).map(|desired| desired.permissions.to_string().len());
    assert!(size.is_ok(), "{size:?}");
    spec.roles = (0..400).map(|number| format!("arn:aws-cn:iam::123456789012:role/shop/shared-{number:03}").parse().unwrap()).collect();
    let problem = DesiredBootstrap::new(&spec, &zone()).unwrap_err();
    assert!(matches!(&problem, BootstrapProblem::PolicyTooLarge { size, .. } if *size > LARGEST_INLINE_POLICIES), "{problem}");
    spec.roles.clear();
    spec.namespaces = (0..60).map(|number| format!("z1a2b3c4-environment-{number:02}-*").parse().unwrap()).collect();
    assert!(matches!(DesiredBootstrap::new(&spec, &zone()), Err(BootstrapProblem::TrustTooLarge { .. })));
}

#[test]
fn a_difference_shows_the_statements_that_go_and_come_and_no_other_form_of_one() {
    let statement = |action: &str| json!({"Effect": "Allow", "Action": action, "Resource": "*"});
    let document = |statements: &[Value]| json!({"Statement": statements});
    let before = document(&[statement("a:x"), statement("b:x"), statement("c:x")]);
    let mut same = statement("B:x");
    same["Resource"] = json!(["*"]);
    let after = document(&[same, statement("d:x"), statement("c:x")]);
    let line = |mark: &str, action: &str| format!("{mark} {}", statement(action));
    assert_eq!(difference(&before, &after), [line("-", "a:x"), line("+", "d:x")]);
    assert_eq!(difference(&before, &before), [] as [String; 0]);
    assert_eq!(difference(&Value::Null, &document(&[statement("a:x")])), [line("+", "a:x")]);
}

#[test]
fn what_a_project_shows_is_proposed_where_it_is_narrower() {
    let found = |namespaces: &[&str]| ProjectNamespaces {
        project: "p".to_owned(),
        namespaces: namespaces.iter().map(|namespace| namespace.parse().unwrap()).collect(),
    };
    let given = |patterns: &[&str]| patterns.iter().map(|pattern| pattern.parse().unwrap()).collect::<BTreeSet<NamespacePattern>>();
    let two = found(&["z1-shop", "z1-staging"]);
    let advice = |found: &ProjectNamespaces, patterns: &[&str]| namespace_advice(found, &given(patterns));
    assert!(matches!(advice(&two, &["z*"]), NamespaceAdvice::Note(note) if note.contains("`namespaces: [z1-*]` keeps out what does not")));
    assert_eq!(advice(&two, &["z1-*"]), NamespaceAdvice::None);
    assert_eq!(advice(&two, &["z1-shop", "z1-staging"]), NamespaceAdvice::None, "what is given is narrower");
    assert!(
        matches!(advice(&two, &["z2-*"]), NamespaceAdvice::Note(note) if note.contains("namespace `z1-shop` of project `p` matches no pattern"))
    );
    assert!(
        matches!(advice(&two, &[]), NamespaceAdvice::Missing(said) if said.contains("write `namespaces: [z1-*]`") && said.contains("`--namespaces 'z1-*'`"))
    );
    assert!(
        matches!(advice(&found(&["z1-shop"]), &[]), NamespaceAdvice::Missing(said) if said.contains("do not show one pattern for all of them (`z1-shop`)"))
    );
    assert!(matches!(advice(&found(&[]), &[]), NamespaceAdvice::Missing(said) if said.contains("none has a namespace yet")));
    assert_eq!(advice(&found(&[]), &["z*"]), NamespaceAdvice::None);
}
