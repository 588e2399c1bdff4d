//! `doctor`: for each way the chain can be broken, exactly that link is named; and how `start` ends on it.

use qovery_irsa_sandbox::faults::{Fault, When};
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{MANIFEST, NAMESPACE, association, by_hand},
};

const SESSION: &str = "sts:AssumeRoleWithWebIdentity";

/// The links that are broken, with evidence and remedy, as the JSON report says them.
fn broken(environment: &Environment, arguments: &[&str]) -> Vec<(String, String, String)> {
    let arguments: Vec<&str> = ["doctor", "--format=json"].iter().chain(arguments).copied().collect();
    let run = environment.run(&arguments);
    let document = run.json();
    assert_eq!(run.writes, 0);
    let checks = document["examined"][0]["checks"].as_array().unwrap().clone();
    let broken: Vec<_> = checks
        .iter()
        .filter(|check| check["state"] == "broken")
        .map(|check| ["link", "evidence", "remedy"].map(|key| check[key].as_str().unwrap().to_owned()).into())
        .collect();
    assert_eq!(run.code, i32::from(!broken.is_empty()), "{}", run.out);
    broken
}

fn made() -> Environment {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment
}

fn change_trust(environment: &Environment, change: impl FnOnce(&mut Value)) {
    environment.change_role(|role| {
        let mut trust: Value = serde_json::from_str(&role.trust).unwrap();
        change(&mut trust);
        role.trust = trust.to_string();
    });
}

fn annotate(environment: &Environment, role: &str) {
    let mut account = environment.service_account().unwrap();
    account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] = json!(role);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
}

#[test]
fn a_chain_that_holds_is_ok_from_end_to_end() {
    let environment = made();
    let run = environment.run(&["doctor"]).ended(0);
    let links: Vec<&str> = run.out.lines().filter_map(|line| line.strip_prefix("  ok ")?.trim().split(':').next()).collect();
    assert_eq!(
        links,
        ["ServiceAccount", "annotation", "token", "issuer", "provider", "audience", "role", "trust", "session", "pod identity", "pods"]
    );
    assert!(run.out.contains("1 ServiceAccount: nothing is broken, "), "{}", run.out);
    assert!(!run.out.contains('\u{1b}'), "no colours where nobody looks");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_broken_link_is_named_alone_and_start_mends_what_it_may() {
    type Break = fn(&Environment);
    // What is broken; the link that is named; a piece of the evidence; how `start` ends.
    let cases: Vec<(&str, Break, &str, &str, i32)> = vec![
        (
            "no provider",
            |environment| {
                environment
                    .sandbox
                    .aws(|aws| {
                        aws.call(
                            "DeleteOpenIDConnectProvider",
                            &[("OpenIDConnectProviderArn", &format!("arn:aws:iam::123456789012:oidc-provider/{}", environment.issuer()))],
                        )
                    })
                    .unwrap();
            },
            "provider",
            "the account has no OIDC provider",
            0,
        ),
        (
            "audience of the provider",
            |environment| {
                environment.sandbox.aws(|aws| aws.provider_mut(&environment.issuer()).unwrap().client_ids = vec!["vault".to_owned()]);
            },
            "audience",
            "the token is for `sts.amazonaws.com`, the provider knows `vault`",
            0,
        ),
        (
            "subject",
            |environment| environment.change_role(|role| role.trust = role.trust.replace(NAMESPACE, "z9")),
            "trust",
            "it wants `sub` = `system:serviceaccount:z9:app`, the token has `system:serviceaccount:z1a2b3c4-shop:app`",
            0,
        ),
        (
            "audience of the trust policy",
            |environment| environment.change_role(|role| role.trust = role.trust.replace("\"sts.amazonaws.com\"", "\"vault\"")),
            "trust",
            "it wants `aud` = `vault`, the token has `sts.amazonaws.com`",
            0,
        ),
        (
            "Deny",
            |environment| {
                change_trust(environment, |trust| {
                    trust["Statement"].as_array_mut().unwrap().push(json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*"}));
                });
            },
            "trust",
            "statement 2 denies it",
            4,
        ),
        (
            "no role",
            |environment| {
                environment.change_role(|role| {
                    role.attached.clear();
                    role.inline.clear();
                    role.name = "gone".to_owned();
                    role.path = "/".to_owned();
                });
            },
            "role",
            "does not exist",
            3,
        ),
        (
            "annotation of another account",
            |environment| annotate(environment, "arn:aws:iam::999999999999:role/app"),
            "annotation",
            "`arn:aws:iam::999999999999:role/app`",
            0,
        ),
        (
            "annotation with a typo",
            |environment| annotate(environment, "arn:aws:iam::123456789012:rol/app"),
            "annotation",
            "`arn:aws:iam::123456789012:rol/app` is not the ARN of a role",
            0,
        ),
        (
            "no ServiceAccount",
            |environment| {
                environment.sandbox.kubernetes(|kubernetes| {
                    kubernetes.delete_namespace(NAMESPACE);
                    kubernetes.add_namespace(NAMESPACE);
                });
            },
            "ServiceAccount",
            "does not exist",
            0,
        ),
        (
            "expired token",
            |environment| {
                environment.sandbox.faults().add(SESSION, When::Always, Fault::error(400, "ExpiredTokenException"));
            },
            "session",
            "ExpiredTokenException",
            4,
        ),
        (
            "STS region",
            |environment| {
                environment.sandbox.faults().add(SESSION, When::Always, Fault::error(403, "RegionDisabledException"));
            },
            "session",
            "RegionDisabledException",
            4,
        ),
    ];
    for (name, break_it, link, evidence, code) in cases {
        let environment = made();
        break_it(&environment);
        let found = broken(&environment, &[]);
        assert_eq!(found.first().map(|(link, ..)| link.as_str()), Some(link), "{name}: {found:?}");
        assert!(found[0].1.contains(evidence) && !found[0].2.is_empty(), "{name}: {found:?}");
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        environment.run(&["start"]).ended(code);
    }
}

#[test]
fn the_issuer_of_another_cluster_is_named() {
    let mut environment = made();
    environment.set("IRSA_OIDC_ISSUER", "https://oidc.eks.eu-west-3.amazonaws.com/id/OTHER");
    let found = broken(&environment, &["--service-account", "app"]);
    assert_eq!(found.iter().map(|(link, ..)| link.as_str()).collect::<Vec<_>>(), ["issuer"], "{found:?}");
    assert_eq!(environment.run(&["start"]).ended(2).writes, 0);
}

#[test]
fn a_pod_identity_association_that_shadows_the_annotation_is_named_with_both_roles() {
    let environment = made();
    let role = "arn:aws:iam::123456789012:role/shadow".to_owned();
    environment.sandbox.aws(|aws| aws.cluster_mut("demo").unwrap().associations.insert("a-1".to_owned(), association(&role)));
    // A start that has nothing to do does not look; one that changed something does.
    assert!(!environment.start().out.contains("note: "));
    environment.change_role(|role| role.attached.clear());
    let run = environment.start();
    assert!(run.out.contains(&format!("note: ServiceAccount `{NAMESPACE}/app`: an association gives pods `{role}`")), "{}", run.out);
    let found = broken(&environment, &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].0 == "pod identity" && found[0].1.contains(&role) && found[0].1.contains(&environment.role_name()), "{found:?}");
}

#[test]
fn an_association_with_the_role_of_the_annotation_is_ok_if_the_role_trusts_pod_identity() {
    let environment = made();
    let role = format!("arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/{}", environment.role_name());
    environment.sandbox.aws(|aws| aws.cluster_mut("demo").unwrap().associations.insert("a-1".to_owned(), association(&role)));
    for (actions, missing) in [
        (json!([]), Some("its action is `sts:AssumeRoleWithWebIdentity`, not `sts:AssumeRole`")),
        (json!(["sts:AssumeRole"]), Some("statement 2 does not let it in: its action is `sts:AssumeRole`, not `sts:TagSession`")),
        (json!(["sts:AssumeRole", "sts:TagSession"]), None),
    ] {
        if actions != json!([]) {
            change_trust(&environment, |trust| {
                let statements = trust["Statement"].as_array_mut().unwrap();
                statements.truncate(1);
                statements.push(json!({"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": actions}));
            });
        }
        let found = broken(&environment, &[]);
        match missing {
            Some(evidence) => {
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].0 == "pod identity" && found[0].1.ends_with(evidence), "{found:?}");
                assert!(found[0].1.contains("its trust policy does not let in `pods.eks.amazonaws.com`: "), "{found:?}");
            }
            None => assert_eq!(found, []),
        }
    }
}

#[test]
fn more_pods_than_a_page_holds_are_all_looked_at() {
    let environment = made();
    environment.sandbox.kubernetes(|kubernetes| {
        for number in 0..250 {
            let name = format!("pod-{number:03}");
            let spec = json!({"serviceAccountName": "app", "containers": [{"name": "api", "image": "x"}]});
            kubernetes
                .put_object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}));
        }
    });
    environment.sandbox.witness().clear();
    let found = broken(&environment, &[]);
    assert!(found.iter().any(|(link, evidence, _)| link == "pods" && evidence.contains("Pod `pod-249`")), "{found:?}");
    assert_eq!(environment.sandbox.witness().count("kubernetes:list pods"), 3);
}

/// A pod of the Deployment `api`, with these containers.
fn pod(name: &str, containers: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"pod-template-hash": "5d4f"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-5d4f", "uid": "1", "controller": true}]},
        "spec": {"serviceAccountName": "app", "containers": containers}})
}

#[test]
fn pods_that_run_without_the_role_are_listed_by_owner_with_the_command_that_restarts_them() {
    let environment = made();
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.put_object(pod("old", &json!([{"name": "main", "image": "x"}])));
        kubernetes.put_admitted_pod(pod("new", &json!([{"name": "main", "image": "x"}])));
        let mut ending = pod("ending", &json!([{"name": "main", "image": "x"}]));
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        kubernetes.put_object(ending);
    });
    // A deploy that changes something says so too, and is green: the pods are for a person to restart.
    environment.change_role(|role| role.attached.clear());
    let run = environment.start();
    let evidence =
        "container `main` of Deployment `api` (1 pod) runs without the role: its pod is older than the annotation of the ServiceAccount";
    let restart = format!("kubectl -n {NAMESPACE} rollout restart deployment/api");
    assert!(run.out.contains(&format!("{evidence}: {restart}")), "{}", run.out);
    assert_eq!(broken(&environment, &[]), [("pods".to_owned(), evidence.to_owned(), restart)]);
    let run = environment.run(&["doctor"]).ended(1);
    assert!(run.out.contains("pods: 1 container of 1 pod with the role"), "{}", run.out);
}

#[test]
fn each_container_that_only_looks_as_if_it_had_the_role_is_named_with_the_reason() {
    let key = json!({"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "web", "key": "id"}}});
    let role = json!({"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::123456789012:role/app"});
    let with = |env: &Value| json!([{"name": "main", "image": "x", "env": [env]}, {"name": "proxy", "image": "x"}]);
    let skip = |names: &str, containers: &Value| {
        let mut pod = pod("a", containers);
        pod["metadata"]["annotations"] = json!({ "eks.amazonaws.com/skip-containers": names });
        pod
    };
    let plain = json!([{"name": "main", "image": "x"}, {"name": "proxy", "image": "x"}]);
    let sourced = json!([{"name": "main", "image": "x", "envFrom": [{"secretRef": {"name": "web"}}]}]);
    let first = json!([{"name": "main", "image": "x"}]);
    let mut starts = pod("a", &first);
    starts["spec"]["initContainers"] = json!([{"name": "migrate", "image": "x", "env": [key]}]);
    // The pod; how many containers have the role; what is said, and whether it is broken.
    for (pod, count, said, is_broken) in [
        (
            pod("a", &with(&key)),
            1,
            "container `main` of Deployment `api` (1 pod) has `AWS_ACCESS_KEY_ID` (from Secret `web`): AWS SDKs take keys before the role",
            true,
        ),
        (starts, 1, "container `migrate` of Deployment `api` (1 pod) has `AWS_ACCESS_KEY_ID` (from Secret `web`): AWS SDKs", true),
        (
            pod("a", &with(&role)),
            1,
            "container `main` of Deployment `api` (1 pod) has its own `AWS_ROLE_ARN` and no `AWS_WEB_IDENTITY_TOKEN_FILE`",
            true,
        ),
        (
            skip("main", &plain),
            1,
            "container `main` of Deployment `api` (1 pod) has no role: the pod annotation `eks.amazonaws.com/skip-containers` names it",
            true,
        ),
        (skip("proxy", &plain), 1, "container `proxy` of Deployment `api` (1 pod) has no role: the pod annotation", false),
        (
            pod("a", &sourced),
            0,
            "container `main` of Deployment `api` (1 pod) takes all keys of Secret `web` as variables: whether `AWS_ACCESS_KEY_ID`",
            false,
        ),
    ] {
        let environment = made();
        environment.sandbox.kubernetes(|kubernetes| kubernetes.put_admitted_pod(pod));
        let run = environment.run(&["doctor"]).ended(i32::from(is_broken));
        let mark = if is_broken { "BROKEN " } else { "note   " };
        assert!(run.out.contains(&format!("  {mark} pods: {said}")), "{said}: {}", run.out);
        let counted = format!("pods: {count} container of 1 pod with the role");
        assert_eq!(run.out.contains(&counted), count > 0, "{counted}: {}", run.out);
        // A deploy says it, and is done all the same.
        environment.change_role(|role| role.attached.clear());
        assert!(environment.start().out.contains(&format!("note: ServiceAccount `{NAMESPACE}/app`: {said}")));
    }
}

#[test]
fn it_works_without_a_manifest_on_a_cluster_that_the_tool_never_touched() {
    let mut environment = Environment::new("");
    environment.unset("IRSA_MANIFEST");
    environment.unset("QOVERY_KUBERNETES_NAMESPACE_NAME");
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.add_namespace("payments");
        kubernetes.put_object(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "api", "namespace": "payments",
            "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/by-hand"}}}));
    });
    environment.sandbox.aws(by_hand);
    let found = broken(&environment, &["--service-account", "api", "--namespace", "payments"]);
    assert_eq!(found[0].0, "provider", "{found:?}");
    let run = environment.run(&["doctor", "--service-account", "api"]).ended(2);
    assert!(run.err.contains("`QOVERY_KUBERNETES_NAMESPACE_NAME` is not set"), "{}", run.err);
}

#[test]
fn an_annotation_that_eks_does_not_read_is_named_beside_the_one_that_lacks() {
    let environment = made();
    let mut account = environment.service_account().unwrap();
    let annotations = account["metadata"]["annotations"].as_object_mut().unwrap();
    let role = annotations.remove("eks.amazonaws.com/role-arn").unwrap();
    annotations.insert("eks.amazonaws.com/role_arn".to_owned(), role);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    let run = environment.run(&["doctor"]).ended(1);
    assert!(run.out.contains("BROKEN  annotation: `eks.amazonaws.com/role-arn` is not set"), "{}", run.out);
    assert!(run.out.contains("note    annotation: EKS does not read `eks.amazonaws.com/role_arn` on a ServiceAccount"), "{}", run.out);
}

#[test]
fn without_any_right_nothing_is_healthy() {
    let mut environment = made();
    let nobody = environment.sandbox.aws(|aws| aws.add_user("nobody", None));
    let mut variables = environment.variables.clone();
    variables.insert("AWS_ACCESS_KEY_ID".to_owned(), nobody.access_key_id);
    variables.insert("AWS_SECRET_ACCESS_KEY".to_owned(), nobody.secret_access_key);
    variables.insert("IRSA_OIDC_ISSUER".to_owned(), environment.sandbox.cluster().issuer().to_owned());
    let run = environment.run_with(&["doctor"], &variables).ended(1);
    // Provider, role, associations. That STS gives the session needs no right.
    assert!(run.out.contains("1 ServiceAccount: 3 could not be seen, "), "{}", run.out);

    environment.sandbox.kubernetes(|kubernetes| {
        for (kind, namespace) in [("clusterrolebindings", ""), ("rolebindings", NAMESPACE)] {
            kubernetes.remove_object(kind, namespace, "qovery-irsa");
        }
    });
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    let run = environment.run(&["doctor"]).ended(1);
    assert!(run.out.contains("1 ServiceAccount: 1 could not be seen, "), "{}", run.out);
    assert!(run.out.contains("→ the job needs `get serviceaccounts` in the namespace"), "{}", run.out);
}

#[test]
fn what_may_not_be_seen_is_unknown_neither_broken_nor_healthy_and_the_right_that_lacks_is_named() {
    let environment = made();
    for (operation, right) in [
        ("kubernetes:get serviceaccounts", "`get serviceaccounts` in the namespace (docs/permissions/rbac.yaml)"),
        ("kubernetes:create serviceaccounts/token", "`create serviceaccounts/token` in the namespace"),
        ("kubernetes:list pods", "`list pods` in the namespace"),
        ("eks:ListPodIdentityAssociations", "`eks:ListPodIdentityAssociations` (docs/permissions.md)"),
        ("iam:GetRole", "`iam:GetRole` (docs/permissions.md)"),
        ("iam:GetOpenIDConnectProvider", "`iam:GetOpenIDConnectProvider`"),
    ] {
        let rule = environment.sandbox.faults().add(operation, When::Always, Fault::denied(operation));
        let run = environment.run(&["doctor"]).ended(1);
        assert!(run.out.contains("  unknown ") && !run.out.contains("BROKEN"), "{operation}: {}", run.out);
        assert!(run.out.contains(&format!("→ the job needs {right}")), "{operation}: {}", run.out);
        assert!(run.out.contains("1 ServiceAccount: 1 could not be seen, "), "{operation}: {}", run.out);
        let document = environment.run(&["doctor", "--format=json"]).ended(1).json();
        assert_eq!(document["outcome"], "unknown", "{operation}");
        environment.sandbox.faults().remove(rule);
    }
    assert_eq!(environment.run(&["doctor", "--format=json"]).ended(0).json()["outcome"], "healthy");
}
