//! What the files in `docs/permissions` refuse: calls beyond the boundary, and every change with those that only read.

use std::collections::BTreeSet;

use qovery_irsa_sandbox::aws::Credentials;
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{EC2_TRUST, MANIFEST, NAMESPACE, association},
    pod_identity::{ASSOCIATED, add_agent, add_pod},
    repository::{actions, objects, read},
};

const BOUNDED: &str = "docs/permissions/iam-policy-with-boundary.json";
const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/qovery-irsa-boundary";
const OWN: &str = "oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE";

/// An environment in place under the policy with a boundary, beside a role from before and a provider of somebody else.
fn bounded() -> Environment {
    let environment =
        Environment::new(&MANIFEST.replace("arn:aws:iam::aws:policy/PowerUserAccess", BOUNDARY)).with_permissions(BOUNDED, &[]);
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}).to_string();
    environment.sandbox.aws(|aws| {
        aws.call("CreatePolicy", &[("PolicyName", "qovery-irsa-boundary"), ("PolicyDocument", &document)]).unwrap();
        aws.add_role("before", "/qovery/demo/z0/", EC2_TRUST);
        aws.call(
            "CreateOpenIDConnectProvider",
            &[("Url", "https://token.actions.githubusercontent.com"), ("ClientIDList.member.1", "sts")],
        )
        .unwrap();
    });
    environment
}

/// What the job's own policy says to a call of IAM.
fn denied(environment: &Environment, operation: &str, parameters: &[(&str, &str)]) -> bool {
    match environment.sandbox.aws(|aws| aws.call_as("job", operation, parameters)) {
        Err((403, code, _)) if code == "AccessDenied" => true,
        Ok(()) => false,
        Err(other) => panic!("{operation}: {other:?}"),
    }
}

fn provider(host_and_path: &str) -> String {
    format!("arn:aws:iam::123456789012:oidc-provider/{host_and_path}")
}

#[test]
fn beyond_the_boundary_there_is_no_provider_of_another_issuer() {
    let environment = bounded();
    for issuer in [
        "https://oidc.evil.example.com/id/X",
        "https://oidc.eks.eu-west-3.amazonaws.com/id/SOMEBODYELSES",
        &format!("https://{OWN}X"),
        &format!("https://oidc.evil.example.com/{OWN}"),
    ] {
        let audience = ("ClientIDList.member.1", "sts.amazonaws.com");
        assert!(denied(&environment, "CreateOpenIDConnectProvider", &[("Url", issuer), audience]), "{issuer}");
    }
    let foreign = provider("token.actions.githubusercontent.com");
    let audience = [("OpenIDConnectProviderArn", foreign.as_str()), ("ClientID", "sts.amazonaws.com")];
    assert!(denied(&environment, "AddClientIDToOpenIDConnectProvider", &audience));
    let tag =
        [("OpenIDConnectProviderArn", foreign.as_str()), ("Tags.member.1.Key", "qovery-irsa/owner"), ("Tags.member.1.Value", "provider")];
    assert!(denied(&environment, "TagOpenIDConnectProvider", &tag));
    environment.start();
    assert!(environment.sandbox.aws(|aws| aws.providers().contains_key(OWN)));
}

#[test]
fn beyond_the_boundary_there_is_no_tag_that_is_not_listed() {
    let environment = bounded();
    let url = format!("https://{OWN}");
    for (key, refused) in [("access", true), ("team", true), ("qovery-irsa/owner", false)] {
        let audience = ("ClientIDList.member.1", "sts.amazonaws.com");
        let with = [("Url", url.as_str()), audience, ("Tags.member.1.Key", key), ("Tags.member.1.Value", "x")];
        assert_eq!(denied(&environment, "CreateOpenIDConnectProvider", &with), refused, "{key}");
    }
    environment.start();
    let own = environment.role_name();
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}]})
        .to_string();
    for (key, refused) in [("access-level", true), ("TEAM2", true), ("Team", true), ("team", false), ("qovery-irsa/any", false)] {
        let tag = [("RoleName", own.as_str()), ("Tags.member.1.Key", key), ("Tags.member.1.Value", "admin")];
        assert_eq!(denied(&environment, "TagRole", &tag), refused, "{key}");
        assert_eq!(denied(&environment, "UntagRole", &[("RoleName", &own), ("TagKeys.member.1", key)]), refused, "{key}");
        let role = format!("new-{}", key.replace('/', "-"));
        let create = [
            ("RoleName", role.as_str()),
            ("Path", "/qovery/demo/z9/"),
            ("AssumeRolePolicyDocument", &trust),
            ("PermissionsBoundary", BOUNDARY),
            ("Tags.member.1.Key", "team"),
            ("Tags.member.1.Value", "x"),
            ("Tags.member.2.Key", if key == "team" { "cost-center" } else { key }),
            ("Tags.member.2.Value", "admin"),
        ];
        assert_eq!(denied(&environment, "CreateRole", &create), refused, "{key}");
    }
    // Nor by the manifest.
    environment.write_manifest(&format!(
        "identities: [{{serviceAccount: app, role: {{permissionsBoundary: \"{BOUNDARY}\", tags: {{access-level: admin}}}}}}]"
    ));
    let run = environment.run(&["start"]).ended(1);
    let role = environment.role_name();
    assert!(run.err.starts_with(&format!("error: failed to tag role `{role}` with `access-level`, `qovery-irsa/made`\n")), "{}", run.err);
    assert!(run.err.contains("\n  caused by: AccessDenied: "), "{}", run.err);
    assert!(run.err.contains("\nhint: allow `iam:TagRole` for the job (docs/permissions.md), then deploy again"), "{}", run.err);
    let tags = environment.sandbox.aws(|aws| aws.roles().values().flat_map(|role| role.tags.clone()).collect::<Vec<_>>());
    assert!(!tags.iter().any(|(key, _)| key == "access-level"), "{tags:?}");
}

/// What `docs/security.md` says of roles that are older than the boundary, both sides of it.
#[test]
fn beyond_the_boundary_a_role_from_before_gets_no_policy_and_may_still_get_another_trust() {
    let environment = bounded();
    let role = ("RoleName", "before");
    let administrator = ("PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess");
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    assert!(denied(&environment, "AttachRolePolicy", &[role, administrator]));
    assert!(denied(&environment, "PutRolePolicy", &[role, ("PolicyName", "all"), ("PolicyDocument", document)]));
    assert!(denied(&environment, "PutRolePermissionsBoundary", &[role, ("PermissionsBoundary", administrator.1)]));
    assert!(denied(&environment, "DeleteRolePermissionsBoundary", &[role]));
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;
    assert!(
        !denied(&environment, "UpdateAssumeRolePolicy", &[role, ("PolicyDocument", trust)]),
        "docs/security.md says that IAM cannot keep this"
    );
    assert!(!denied(&environment, "PutRolePermissionsBoundary", &[role, ("PermissionsBoundary", BOUNDARY)]));
    assert!(!denied(&environment, "AttachRolePolicy", &[role, administrator]), "within the boundary");
    assert!(denied(&environment, "DeleteRolePermissionsBoundary", &[role]));
}

/// The statement for roles given by ARN lets the job set its own tags there and no other.
#[test]
fn a_role_given_by_arn_gets_no_tag_but_the_tools() {
    let environment = Environment::new(MANIFEST);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}]});
    environment.sandbox.aws(|aws| aws.add_role("by-hand", "/", &trust.to_string()));
    for (key, refused) in [("access-level", true), ("team", true), ("qovery-irsa/subject/x", false)] {
        let tag = [("RoleName", "by-hand"), ("Tags.member.1.Key", key), ("Tags.member.1.Value", "admin")];
        assert_eq!(denied(&environment, "TagRole", &tag), refused, "{key}");
        assert_eq!(denied(&environment, "UntagRole", &[("RoleName", "by-hand"), ("TagKeys.member.1", key)]), refused, "{key}");
    }
}

#[test]
fn a_provider_says_who_made_it_and_one_that_is_there_is_left_as_it_is() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    environment.start();
    let tags = |environment: &Environment| environment.sandbox.aws(|aws| aws.providers()[OWN].tags.clone());
    let made =
        [("qovery-irsa/made-by".to_owned(), format!("{NAMESPACE}/1a2b3c4d")), ("qovery-irsa/owner".to_owned(), "provider".to_owned())];
    assert_eq!(tags(&environment), made.into());
    // By somebody else: Qovery's own Terraform has it.
    environment.sandbox.aws(|aws| aws.provider_mut(OWN).unwrap().tags = [("creator".to_owned(), "terraform".to_owned())].into());
    environment.delete();
    environment.start();
    assert_eq!(tags(&environment), [("creator".to_owned(), "terraform".to_owned())].into());
}

/// What the addition for EKS Pod Identity allows and what it refuses, call by call.
#[test]
fn the_pod_identity_policy_reaches_no_role_outside_the_path_and_no_association_of_somebody_else() {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    let allows =
        |action: &str, resource: &str, keys: &[(&str, &str)]| environment.sandbox.aws(|aws| aws.allows("job", action, resource, keys));
    let (cluster, association) =
        ("arn:aws:eks:eu-west-3:123456789012:cluster/demo", "arn:aws:eks:eu-west-3:123456789012:podidentityassociation/demo/a-1");
    let (own, other) = ("arn:aws:iam::123456789012:role/qovery/demo/z1/app", "arn:aws:iam::123456789012:role/administrator");
    let to = |service: &'static str| [("iam:PassedToService", service)];
    assert!(allows("iam:PassRole", own, &to("pods.eks.amazonaws.com")));
    for (role, keys) in [
        (other, to("pods.eks.amazonaws.com").as_slice()),
        ("arn:aws:iam::123456789012:role/qoveryx/app", &to("pods.eks.amazonaws.com")),
        (own, &to("ec2.amazonaws.com")),
        (own, &to("eks.amazonaws.com")),
        (own, &[]),
    ] {
        assert!(!allows("iam:PassRole", role, keys), "{role} {keys:?}");
    }
    let owner = "aws:RequestTag/qovery-irsa/owner";
    assert!(allows("eks:CreatePodIdentityAssociation", cluster, &[(owner, "z1/app")]));
    for tags in [&[][..], &[("aws:RequestTag/team", "x")], &[(owner, "")], &[(owner, "app")]] {
        assert!(!allows("eks:CreatePodIdentityAssociation", cluster, tags), "{tags:?}");
    }
    for action in ["eks:DeletePodIdentityAssociation", "eks:UpdatePodIdentityAssociation", "eks:UntagResource"] {
        assert!(allows(action, association, &[("aws:ResourceTag/qovery-irsa/owner", "z1/app")]), "{action}");
        for tags in [&[][..], &[("aws:ResourceTag/owner", "z1/app")], &[(owner, "z1/app")]] {
            assert!(!allows(action, association, tags), "{action} {tags:?}");
        }
    }
    for (action, resource) in [
        ("eks:TagResource", cluster),
        ("eks:TagResource", "arn:aws:eks:eu-west-3:123456789012:access-entry/demo/role/123456789012/admin/1"),
        ("eks:UntagResource", cluster),
        ("eks:CreateAccessEntry", cluster),
        ("eks:CreateAddon", cluster),
        ("eks:DescribeAddon", "arn:aws:eks:eu-west-3:123456789012:addon/demo/vpc-cni/1"),
        ("iam:PassRole", other),
    ] {
        assert!(!allows(action, resource, &[("aws:ResourceTag/qovery-irsa/owner", "z1/app")]), "{action} {resource}");
    }
}

/// From now on with the permissions of a pipeline that shows what a pull request would change.
fn reading_only(environment: &mut Environment) {
    let policy: Value = serde_json::from_str(&read("docs/permissions/read-only-policy.json")).unwrap();
    let Credentials { access_key_id, secret_access_key, .. } = environment.sandbox.aws(|aws| aws.add_user("pipeline", Some(policy)));
    environment.set("AWS_ACCESS_KEY_ID", &access_key_id);
    environment.set("AWS_SECRET_ACCESS_KEY", &secret_access_key);
    environment.unset("KUBECONFIG");
    environment.sandbox.kubernetes(|kubernetes| {
        for object in objects("docs/permissions/rbac-read-only.yaml") {
            kubernetes.put_object(object);
        }
    });
    let arn = "arn:aws:iam::123456789012:user/pipeline";
    environment.sandbox.aws(|aws| aws.add_access_entry("demo", arn, "pipeline", &["qovery-irsa-read-only"]));
}

#[test]
fn with_permissions_to_read_a_pull_request_sees_what_it_would_change_and_changes_nothing() {
    let mut environment = Environment::new(MANIFEST);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.add_namespace("z2-gone"));
    environment.spawn_in("z2-gone", &["start"]).end().ended(0);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace("z2-gone"));
    // Nothing is there yet.
    let own = environment.variables.clone();
    reading_only(&mut environment);
    let first = environment.run(&["plan"]).ended(10);
    assert_eq!(first.writes, 0);
    let refused = environment.run(&["start"]).ended(1);
    assert!(refused.writes == 0 && refused.err.contains("User \"pipeline\" cannot patch resource \"serviceaccounts\""), "{}", refused.err);
    let reader = std::mem::replace(&mut environment.variables, own);
    assert_eq!(environment.start().done(), first.planned());
    let own = std::mem::replace(&mut environment.variables, reader);

    environment.sandbox.witness().clear();
    assert_eq!(environment.run(&["plan"]).ended(0).writes, 0);
    // In Kubernetes as in AWS.
    let account = environment.service_account().unwrap();
    environment.sandbox.kubernetes(|kubernetes| {
        let mut bare = account.clone();
        bare["metadata"]["annotations"] = json!({});
        kubernetes.put_object(bare);
    });
    let refused = environment.run(&["start"]).ended(1);
    assert!(refused.writes == 0 && refused.err.contains("User \"pipeline\" cannot patch resource \"serviceaccounts\""), "{}", refused.err);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    // All but the token, which nobody who only reads may request.
    let doctor = environment.run(&["doctor", "--format=json"]).ended(1);
    let checks = doctor.json()["examined"][0]["checks"].as_array().unwrap().clone();
    let not_ok: Vec<_> = checks.iter().filter(|check| check["state"] != "ok").map(|check| (&check["link"], &check["state"])).collect();
    assert_eq!((doctor.writes, checks.len(), not_ok), (0, 10, vec![(&json!("token"), &json!("unknown"))]), "{}", doctor.out);
    environment.change_role(|role| {
        role.attached.clear();
        role.tags.remove("team");
        role.trust = role.trust.replace("StringEquals", "StringLike");
    });
    let drift = environment.run(&["plan"]).ended(10);
    assert_eq!((drift.writes, drift.planned().len()), (0, 3), "{}", drift.out);
    let removal = environment.run(&["plan", "delete"]).ended(10);
    let role = environment.role_name();
    assert_eq!(
        (removal.writes, removal.planned()),
        (
            0,
            vec![
                format!("delete inline policy `own-bucket` of role `{role}`").as_str(),
                &format!("delete role `{role}`"),
                &format!("delete ServiceAccount `{NAMESPACE}/app`"),
            ]
        )
    );
    let sweep = environment.run(&["sweep", "--dry-run"]).ended(10);
    let gone: Vec<String> =
        environment.sandbox.aws(|aws| aws.roles().keys().filter(|name| name.starts_with("app-z2-gone-")).cloned().collect());
    assert_eq!(
        (sweep.writes, sweep.planned()),
        (
            0,
            vec![
                format!("detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `{}`", gone[0]).as_str(),
                &format!("delete inline policy `own-bucket` of role `{}`", gone[0]),
                &format!("delete role `{}`", gone[0]),
            ]
        )
    );
    for (command, action) in [("start", "iam:TagRole"), ("delete", "iam:DeleteRolePolicy"), ("sweep", "iam:DetachRolePolicy")] {
        let run = environment.run(&[command]).ended(1);
        assert_eq!(run.writes, 0, "{command}");
        assert!(run.err.contains("\n  caused by: AccessDenied: User: arn:aws:iam::123456789012:user/pipeline "), "{command}: {}", run.err);
        assert!(run.err.contains(&format!("\nhint: allow `{action}` for the job (docs/permissions.md), ")), "{command}: {}", run.err);
    }
    assert_eq!(environment.run_with(&["start"], &own).ended(0).done(), drift.planned());
}

/// No permission to read is there that `plan`, `doctor` and `sweep --dry-run` never use.
#[test]
fn the_permissions_to_read_are_all_used() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    environment.start();
    // An identity that left the manifest two hours ago, an association, and a trust policy beyond the default quota.
    let long_ago = "2026-01-01T00.00.00Z".to_owned();
    environment.change_role(|role| drop(role.tags.insert("qovery-irsa/job/1a2b3c4d".to_owned(), long_ago.clone())));
    let mut account = environment.service_account().unwrap();
    account["metadata"]["labels"]["qovery-irsa/job-1a2b3c4d"] = long_ago.into();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    environment.sandbox.aws(|aws| {
        aws.quotas_mut().trust_policy_size = 8192;
        let associations = &mut aws.cluster_mut("demo").unwrap().associations;
        associations.insert("a-1".to_owned(), association("arn:aws:iam::123456789012:role/shadow"));
    });
    let subjects: Vec<String> = (0..40).map(|number| format!("z{number:02}-of-somebody-else/app")).collect();
    let large = format!("identities: [{{serviceAccount: app, role: {{extraSubjects: [{}]}}}}]", subjects.join(", "));
    let manifests = [MANIFEST, &large, "identities: [{serviceAccount: other, role: {}}]"];
    reading_only(&mut environment);
    environment.sandbox.witness().clear();
    for manifest in manifests {
        environment.write_manifest(manifest);
        for (arguments, code) in
            [(&["plan"] as &[_], 10), (&["plan", "delete"], 10), (&["doctor", "--service-account", "app"], 1), (&["sweep", "--dry-run"], 0)]
        {
            assert_eq!(environment.run(arguments).ended(code).writes, 0, "{arguments:?}");
        }
    }
    let used = environment.sandbox.witness().operations();
    let policy: Value = serde_json::from_str(&read("docs/permissions/read-only-policy.json")).unwrap();
    // AWS allows `sts:GetCallerIdentity` to everyone.
    let unused: Vec<String> = actions(&policy).into_iter().filter(|action| !used.contains(action) && !action.starts_with("sts:")).collect();
    assert_eq!(unused, [] as [String; 0]);
    let rules = objects("docs/permissions/rbac-read-only.yaml")[0]["rules"].clone();
    for rule in rules.as_array().unwrap().iter().filter(|rule| rule["resources"].is_array()) {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                let call = format!("kubernetes:{} {}", verb.as_str().unwrap(), resource.as_str().unwrap());
                assert!(used.contains(&call), "{call} is never asked");
            }
        }
    }
    // The issuer is asked for with a kubeconfig only.
    assert!(!used.iter().any(|call| call.contains(".well-known")));
}

/// The same of an identity by EKS Pod Identity, whose agent is looked for.
#[test]
fn with_permissions_to_read_plan_and_doctor_see_an_identity_of_pod_identity() {
    let mut environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    let own = environment.variables.clone();
    reading_only(&mut environment);
    let first = environment.run(&["plan"]).ended(10);
    let reader = std::mem::replace(&mut environment.variables, own);
    assert_eq!(environment.start().done(), first.planned());
    add_pod(&environment, NAMESPACE, "app", "app-1");
    environment.variables = reader;
    environment.sandbox.witness().clear();
    assert_eq!(environment.run(&["plan"]).ended(0).writes, 0);
    let doctor = environment.run(&["doctor", "--format=json"]).ended(1);
    let checks = doctor.json()["examined"][0]["checks"].as_array().unwrap().clone();
    let unknown: Vec<_> = checks.iter().filter(|check| check["state"] == "unknown").map(|check| &check["link"]).collect();
    // Nobody who only reads may request a token.
    assert_eq!((doctor.writes, unknown), (0, vec![&json!("session")]), "{}", doctor.out);
    assert!(environment.sandbox.witness().operations().iter().any(|call| call == "eks:DescribeAddon"));
}

/// Nothing in the files changes anything, and in neither world can a caller with them.
#[test]
fn the_permissions_to_read_hold_no_verb_that_writes() {
    let policy: Value = serde_json::from_str(&read("docs/permissions/read-only-policy.json")).unwrap();
    let actions = policy["Statement"].as_array().unwrap().iter().flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        action => vec![action.clone()],
    });
    let verbs: BTreeSet<String> = actions.map(|action| action.as_str().unwrap().split_once(':').unwrap().1.to_owned()).collect();
    assert!(verbs.iter().all(|verb| ["Get", "List", "Describe"].iter().any(|reads| verb.starts_with(reads))), "{verbs:?}");
    let rules = objects("docs/permissions/rbac-read-only.yaml")[0]["rules"].clone();
    for rule in rules.as_array().unwrap() {
        assert!(rule["verbs"].as_array().unwrap().iter().all(|verb| ["get", "list"].contains(&verb.as_str().unwrap())), "{rule}");
        assert!(!rule.to_string().contains("secret") && !rule.to_string().contains("serviceaccounts/token"), "{rule}");
    }
}
