//! The files in `docs/permissions` are enough for the job, nothing in them is unused, and the boundary that they force holds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{GIVEN, MANIFEST, association, by_hand},
    pod_identity::{ASSOCIATED, add_agent, add_pod, associations},
    repository::{actions, given_roles_statement, objects, read},
};

/// An environment whose job may do exactly what the files in `docs/permissions` say, and reaches Kubernetes by way of EKS.
fn least_privilege(manifest: &str, policy: &str, statements: &[Value]) -> Environment {
    let mut environment = Environment::new(manifest).with_permissions(policy, statements);
    environment.sandbox.aws(by_hand);
    environment.unset("KUBECONFIG");
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    environment
}

fn addition() -> Value {
    let mut addition = given_roles_statement();
    addition["Resource"] = json!(["arn:aws:iam::123456789012:role/by-hand"]);
    addition
}

/// What `start`, drift of everything, an association in the way, another audience, a trust policy beyond the default quota, a smaller
/// manifest, `sweep` and `delete` ask for.
fn whole_life(environment: &Environment) {
    environment.guard("audiences", "['sts.amazonaws.com', 'another']");
    environment.start();
    environment.sandbox.aws(|aws| {
        aws.quotas_mut().trust_policy_size = 8192;
        let associations = &mut aws.cluster_mut("demo").unwrap().associations;
        associations.insert("a-1".to_owned(), association("arn:aws:iam::123456789012:role/shadow"));
    });
    environment.change_role(|role| {
        role.attached.clear();
        role.description = None;
        role.trust = role.trust.replace("StringEquals", "StringLike");
        role.boundary = None;
        role.tags.remove("team");
    });
    environment.start();
    let subjects: Vec<String> = (0..40).map(|number| format!("z{number:02}-of-somebody-else/app")).collect();
    environment.write_manifest(&format!(
        "identities: [{{serviceAccount: app, audience: another, role: {{extraSubjects: [{}]}}}}]",
        subjects.join(", ")
    ));
    environment.start();
    environment.write_manifest("identities: [{serviceAccount: app, role: {}}]");
    environment.start();
    // It finds the association that the first deploy was told of.
    environment.run(&["doctor"]).ended(1);
    environment.run(&["sweep"]).ended(0);
    // An identity leaves the manifest, and an hour passes: who still uses it is looked for.
    environment.write_manifest("identities: [{serviceAccount: other, role: {}}]");
    environment.start();
    let mark = "qovery-irsa/job/1a2b3c4d";
    environment.sandbox.aws(|aws| {
        let name = aws.roles().values().find(|role| role.tags.get(mark).is_some_and(|value| value != "wanted")).unwrap().name.clone();
        aws.role_mut(&name).unwrap().tags.insert(mark.to_owned(), "2026-01-01T00.00.00Z".to_owned());
    });
    let mut account = environment.service_account().unwrap();
    account["metadata"]["labels"]["qovery-irsa/job-1a2b3c4d"] = "2026-01-01T00.00.00Z".into();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    environment.start();
    assert_eq!(environment.service_account(), None);
    environment.delete();
}

#[test]
fn the_published_policy_and_roles_are_enough_and_no_permission_is_unused() {
    let environment = least_privilege(MANIFEST, "docs/permissions/iam-policy.json", &[]);
    whole_life(&environment);
    let used: BTreeSet<String> =
        environment.sandbox.witness().operations().into_iter().filter(|operation| !operation.starts_with("kubernetes:")).collect();
    let policy: Value = serde_json::from_str(&read("docs/permissions/iam-policy.json")).unwrap();
    // The provider is made with its tag, which IAM permits by an action of its own.
    let unused: Vec<String> =
        actions(&policy).difference(&used).filter(|action| *action != "iam:TagOpenIDConnectProvider").cloned().collect();
    assert_eq!(unused, [] as [String; 0]);

    let rules = &objects("docs/permissions/rbac.yaml")[0]["rules"];
    let allowed: BTreeSet<String> = rules
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| {
            let texts = |key: &str| rule[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>();
            let (verbs, resources) = (texts("verbs"), texts("resources"));
            resources
                .into_iter()
                .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| format!("kubernetes:{verb} {resource}")))
        })
        .collect();
    let used: BTreeSet<String> =
        environment.sandbox.witness().operations().into_iter().filter(|operation| operation.starts_with("kubernetes:")).collect();
    // A server-side apply that creates is a patch to look at and a create to the authorizer.
    let unused: Vec<&String> = allowed.difference(&used).filter(|rule| *rule != "kubernetes:create serviceaccounts").collect();
    assert_eq!(unused, [] as [&String; 0]);
}

#[test]
fn the_policy_that_forces_a_boundary_lets_the_job_work_within_it_and_not_without() {
    let policy = "docs/permissions/iam-policy-with-boundary.json";
    let text = read(policy);
    let boundary = text.split('"').find(|text| text.contains(":policy/")).unwrap().replace("iam::*:", "iam::123456789012:");
    let environment = least_privilege(&MANIFEST.replace("arn:aws:iam::aws:policy/PowerUserAccess", &boundary), policy, &[]);
    let name = boundary.rsplit('/').next().unwrap().to_owned();
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}).to_string();
    environment.sandbox.aws(|aws| aws.call("CreatePolicy", &[("PolicyName", &name), ("PolicyDocument", &document)])).unwrap();
    environment.start();
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    environment.write_manifest("identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/AdministratorAccess]}}]");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("AccessDenied") && run.err.contains("hint: allow `iam:CreateRole`"), "{}", run.err);
    assert!(!environment.sandbox.aws(|aws| aws.roles().values().any(|role| role.path.starts_with("/qovery/"))));
}

/// Whoever may change the manifest and nothing else: none of these manifests gets a role more than the boundary allows.
#[test]
fn no_manifest_gets_a_role_out_of_the_boundary_that_the_platform_team_requires() {
    let policy = "docs/permissions/iam-policy-with-boundary.json";
    let boundary = "arn:aws:iam::123456789012:policy/qovery-irsa-boundary";
    let bounded = "identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess], permissionsBoundary: \"arn:aws:iam::123456789012:policy/qovery-irsa-boundary\"}}]";
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}).to_string();
    let administrator = "arn:aws:iam::aws:policy/AdministratorAccess";
    let inline = r#"{inlinePolicies: {all: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}}}"#;
    for (evasion, denied) in [
        (format!("{{policies: [{administrator}]}}"), "iam:DeleteRolePermissionsBoundary"),
        (inline.to_owned(), "iam:DeleteRolePermissionsBoundary"),
        ("{}".to_owned(), "iam:DeleteRolePermissionsBoundary"),
        (format!("{{policies: [{administrator}], permissionsBoundary: {administrator}}}"), "iam:PutRolePermissionsBoundary"),
        (format!("{{name: second, policies: [{administrator}]}}"), "iam:CreateRole"),
        (format!("{{name: third, path: /, permissionsBoundary: \"{boundary}\"}}"), "iam:CreateRole"),
    ] {
        let environment = least_privilege(bounded, policy, &[]);
        environment
            .sandbox
            .aws(|aws| aws.call("CreatePolicy", &[("PolicyName", "qovery-irsa-boundary"), ("PolicyDocument", &document)]))
            .unwrap();
        environment.start();
        environment.write_manifest(&format!("identities: [{{serviceAccount: app, role: {evasion}}}]"));
        let run = environment.run(&["start"]).ended(1);
        // A path outside the job's is refused by the cluster's guard before IAM is asked.
        let guarded = run.err.contains("hint: the guard of the cluster refuses it");
        let denied = run.err.contains("AccessDenied: ") && run.err.contains(&format!("perform: {denied} on"));
        assert!(guarded || denied, "{evasion}: {}", run.err);
        let hint = run.err.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(
            (guarded || hint.contains("`permissionsBoundary`")) && !hint.contains("iam-policy.json"),
            "a hint never leads to the wider policy: {hint}"
        );
        let (roles, made) = environment.sandbox.aws(|aws| (aws.roles().clone(), aws.roles().contains_key("third")));
        assert!(!made, "{evasion}");
        for role in roles.values().filter(|role| role.path.starts_with("/qovery/")) {
            assert_eq!(role.boundary.as_deref(), Some(boundary), "{evasion}");
        }
    }
}

#[test]
fn a_role_given_by_arn_needs_the_documented_addition_and_no_more() {
    let addition = addition();
    let environment = least_privilege(GIVEN, "docs/permissions/iam-policy.json", std::slice::from_ref(&addition));
    environment.start();
    environment.delete();
    for action in actions(&json!({ "Statement": [addition.clone()] })) {
        let mut less = addition.clone();
        less["Action"].as_array_mut().unwrap().retain(|other| other.as_str() != Some(&action));
        let environment = least_privilege(GIVEN, "docs/permissions/iam-policy.json", &[less]);
        let command = if action == "iam:UntagRole" { "delete" } else { "start" };
        if command == "delete" {
            environment.start();
        }
        let run = environment.run(&[command]).ended(1);
        assert!(run.err.contains(&format!("hint: allow `{action}`")), "{action}: {}", run.err);
    }
}

/// The addition for EKS Pod Identity, without one of its actions.
fn pod_identity_without(action: &str) -> Environment {
    let addition: Value = serde_json::from_str(&read("docs/permissions/pod-identity-policy.json")).unwrap();
    let mut statements = addition["Statement"].as_array().cloned().unwrap();
    for statement in &mut statements {
        match &mut statement["Action"] {
            Value::Array(actions) => actions.retain(|other| other != action),
            one if one == action => *one = json!("sts:GetCallerIdentity"),
            _ => {}
        }
    }
    let mut environment = Environment::new(ASSOCIATED).with_permissions("docs/permissions/iam-policy.json", &statements);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    add_agent(&environment);
    environment
}

/// What each action of the addition is for: without it exactly that fails, by name.
#[test]
fn each_action_for_pod_identity_is_needed() {
    let policy: Value = serde_json::from_str(&read("docs/permissions/pod-identity-policy.json")).unwrap();
    let mut tried: BTreeSet<String> = BTreeSet::new();
    for action in ["eks:CreatePodIdentityAssociation", "eks:TagResource", "iam:PassRole"] {
        let environment = pod_identity_without(action);
        let run = environment.run(&["start"]).ended(1);
        assert!(run.err.contains(&format!("hint: allow `{action}`")), "{action}: {}", run.err);
        assert_eq!(associations(&environment).len(), 0, "{action}");
        tried.insert(action.to_owned());
    }
    let environment = pod_identity_without("eks:UpdatePodIdentityAssociation");
    environment.start();
    environment.write_manifest("identities: [{serviceAccount: app, podIdentity: true, role: {name: other}}]");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("hint: allow `eks:UpdatePodIdentityAssociation`"), "{}", run.err);
    tried.insert("eks:UpdatePodIdentityAssociation".to_owned());
    // What only looks: without it less is known, and said.
    for (action, link) in [("eks:DescribeAddon", "agent"), ("eks-auth:AssumeRoleForPodIdentity", "session")] {
        let environment = pod_identity_without(action);
        environment.start();
        add_pod(&environment, "z1a2b3c4-shop", "app", "app-1");
        let run = environment.run(&["doctor"]).ended(1);
        assert!(run.out.contains(&format!("  unknown {link}:")), "{action}: {}", run.out);
        assert!(run.out.contains(&format!("→ the job needs `{action}`")), "{action}: {}", run.out);
        tried.insert(action.to_owned());
    }
    let of_delete = ["eks:DeletePodIdentityAssociation", "eks:UntagResource"].map(str::to_owned);
    assert_eq!(tried.into_iter().chain(of_delete).collect::<BTreeSet<_>>(), actions(&policy));
}

/// The last job that wants an association deletes it; one of two takes its mark and leaves the rest.
#[test]
fn each_action_for_pod_identity_that_a_delete_takes_is_needed() {
    let environment = pod_identity_without("eks:DeletePodIdentityAssociation");
    environment.start();
    let run = environment.run(&["delete"]).ended(1);
    assert!(run.err.contains("hint: allow `eks:DeletePodIdentityAssociation`"), "{}", run.err);
    let environment = pod_identity_without("eks:UntagResource");
    environment.start();
    let mut other = environment.variables.clone();
    other.insert("QOVERY_JOB_ID".to_owned(), "2b3c4d5e-0000-4000-8000-000000000000".to_owned());
    environment.run_with(&["start"], &other).ended(0);
    let run = environment.run(&["delete"]).ended(1);
    assert!(run.err.contains("hint: allow `eks:UntagResource`"), "{}", run.err);
}
