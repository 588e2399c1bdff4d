//! `doctor` of an identity by EKS Pod Identity: its chain, each link of it broken, and each stage of a move from IRSA.

use qovery_irsa_sandbox::faults::{Fault, When};
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::NAMESPACE,
    pod_identity::{ASSOCIATED, add_agent},
};

const IRSA: &str = "identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}]";

/// The links as `doctor` prints them, without what differs from run to run.
fn links(environment: &Environment, arguments: &[&str], code: i32) -> String {
    let arguments: Vec<&str> = ["doctor"].iter().chain(arguments).copied().collect();
    let run = environment.run(&arguments).ended(code);
    assert_eq!(run.writes, 0);
    let role = environment.role_name();
    let lines = run.out.lines().filter(|line| line.starts_with("  "));
    let lines = lines.map(|line| {
        // The name of a session, and the id of an association.
        let line = match line.split_once(&format!("assumed-role/{role}/")) {
            Some((before, after)) => format!("{before}assumed-role/{role}/…{}", after.trim_start_matches(|c| c != '`')),
            None => line.to_owned(),
        };
        let line = match line.split_once(" association: `a-") {
            Some((before, after)) => format!("{before} association: `a-…{}", after.trim_start_matches(|c| c != '`')),
            None => line,
        };
        line.replace(&role, "ROLE").replace(&format!("role/qovery/demo/{NAMESPACE}/ROLE"), "role/…/ROLE").replace(NAMESPACE, "NS")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A pod of the Deployment `api`, as EKS admits it now, changed before that.
fn add_pod_with(environment: &Environment, name: &str, change: impl FnOnce(&mut Value)) {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"pod-template-hash": "5d4f"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-5d4f", "uid": "1", "controller": true}]},
        "spec": {"serviceAccountName": "app", "nodeName": "node-1", "containers": [{"name": "main", "image": "x"}]},
        "status": {"phase": "Running"}});
    change(&mut pod);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_admitted_pod(pod));
}

fn add_pod(environment: &Environment, name: &str) {
    add_pod_with(environment, name, |_| {});
}

fn remove_pod(environment: &Environment, name: &str) {
    environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, name).unwrap());
}

/// An identity by EKS Pod Identity in place, and no pod of it yet.
fn associated() -> Environment {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    environment.start();
    environment
}

/// Changes the only association past the API.
fn change_association(environment: &Environment, change: impl FnOnce(&mut qovery_irsa_sandbox::aws::PodIdentityAssociation)) {
    environment.sandbox.aws(|aws| change(aws.cluster_mut("demo").unwrap().associations.values_mut().next().unwrap()));
}

fn change_trust(environment: &Environment, change: impl FnOnce(&mut Value)) {
    environment.change_role(|role| {
        let mut trust: Value = serde_json::from_str(&role.trust).unwrap();
        change(&mut trust);
        role.trust = trust.to_string();
    });
}

fn trust(environment: &Environment) -> Vec<Value> {
    let name = environment.role_name();
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()[&name].trust).unwrap());
    trust["Statement"].as_array().unwrap().clone()
}

/// The role of an annotation, past the API.
fn annotate(environment: &Environment, role: Option<&str>) {
    let mut account = environment.service_account().unwrap();
    let annotations = account["metadata"]["annotations"].as_object_mut();
    match (role, annotations) {
        (Some(role), _) => account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] = json!(role),
        (None, Some(annotations)) => drop(annotations.remove("eks.amazonaws.com/role-arn")),
        (None, None) => {}
    }
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
}

/// In the middle of a move: both statements in the trust, the annotation, the association, and a pod from before it.
fn moving() -> Environment {
    let environment = Environment::of_pod_identity(IRSA);
    add_agent(&environment);
    environment.start();
    add_pod(&environment, "old");
    let (before, account) = (trust(&environment), environment.service_account().unwrap());
    let role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].as_str().unwrap().to_owned();
    environment.write_manifest(ASSOCIATED);
    environment.start();
    let after = trust(&environment);
    let both: Vec<Value> = before.iter().chain(after.iter().filter(|statement| !before.contains(statement))).cloned().collect();
    assert_eq!(both.len(), 2);
    change_trust(&environment, |trust| trust["Statement"] = json!(both));
    annotate(&environment, Some(&role));
    environment
}

#[test]
fn a_chain_that_holds_is_ok_from_end_to_end() {
    let environment = associated();
    add_pod(&environment, "api-1");
    insta::assert_snapshot!(links(&environment, &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: none, and none is needed
    ok      agent: add-on `eks-pod-identity-agent`
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      pods: 1 container of 1 pod with the role; an AWS SDK older than EKS Pod Identity cannot use it (docs/troubleshooting.md#sdks-that-know-eks-pod-identity)
    ");
    // By what is there, without a manifest, it is the same chain.
    let named = links(&environment, &["--service-account", "app"], 0);
    assert_eq!(named, links(&environment, &[], 0));
}

#[test]
fn before_the_first_pod_no_session_is_asked_for_and_nothing_is_broken() {
    insta::assert_snapshot!(links(&associated(), &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: none, and none is needed
    ok      agent: add-on `eks-pod-identity-agent`
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    note    session: not asked for: EKS wants the token of a pod, and none of the ServiceAccount runs
            → deploy a service with this ServiceAccount, then run `doctor` again
    ok      pods: none runs
    ");
}

/// A deploy that changes something names pods without the role, and no pod that has it by another way; it is green.
#[test]
fn a_deploy_says_which_pods_are_older_than_the_association() {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    add_pod(&environment, "old");
    let run = environment.start();
    let said = "container `main` of Deployment `api` (1 pod) runs without the role: its pod is older than the association";
    assert!(run.out.contains(&format!("note: ServiceAccount `{NAMESPACE}/app`: {said}")), "{}", run.out);
    let environment = moving();
    environment.change_role(|role| role.attached.clear());
    let run = environment.start();
    assert!(!run.out.contains("container `main`"), "{}", run.out);
}

/// A pod that the job made for a proof never runs: it is no service's.
#[test]
fn a_pod_of_the_proof_is_none_that_waits_for_its_role() {
    let environment = associated();
    add_pod_with(&environment, "proof", |pod| {
        pod["metadata"]["labels"]["qovery-irsa/proof"] = json!("app");
        pod["status"] = json!({"phase": "Pending"});
    });
    let found = links(&environment, &[], 0);
    assert!(found.contains("ok      pods: none runs"), "{found}");
}

#[test]
fn pods_that_are_older_than_the_association_are_to_be_restarted() {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    add_pod(&environment, "old");
    environment.start();
    insta::assert_snapshot!(links(&environment, &[], 1), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: none, and none is needed
    ok      agent: add-on `eks-pod-identity-agent`
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    BROKEN  pods: container `main` of Deployment `api` (1 pod) runs without the role: its pod is older than the association of the ServiceAccount
            → kubectl -n NS rollout restart deployment/api
    ");
}

#[test]
fn without_an_agent_nobody_listens_and_the_remedy_is_named() {
    let environment = associated();
    add_pod(&environment, "api-1");
    environment.sandbox.aws(|aws| aws.cluster_mut("demo").unwrap().addons.clear());
    insta::assert_snapshot!(links(&environment, &[], 1), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: none, and none is needed
    BROKEN  agent: the cluster runs no EKS Pod Identity agent: pods get no role by an association
            → install the EKS add-on `eks-pod-identity-agent`; on a cluster of Qovery, set its advanced setting `aws.eks.enable_pod_identity_addon` and update the cluster
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ");
}

#[test]
fn an_association_with_another_role_is_named_with_both() {
    let environment = associated();
    add_pod(&environment, "api-1");
    change_association(&environment, |association| association.role_arn = "arn:aws:iam::123456789012:role/other".to_owned());
    insta::assert_snapshot!(links(&environment, &[], 1), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: none, and none is needed
    ok      agent: add-on `eks-pod-identity-agent`
    BROKEN  association: `a-…` gives pods `arn:aws:iam::123456789012:role/other`; the manifest says `arn:aws:iam::123456789012:role/…/ROLE`
            → run `start`
    BROKEN  role: `arn:aws:iam::123456789012:role/other` does not exist
            → run `start`; or let the association name a role that exists
    ");
}

#[test]
fn an_association_of_an_add_on_or_of_somebody_else_is_said_to_be_theirs() {
    let environment = associated();
    add_pod(&environment, "api-1");
    change_association(&environment, |association| {
        association.owner_arn = Some("arn:aws:eks:eu-west-3:123456789012:addon/demo/ebs/1".to_owned());
    });
    insta::assert_snapshot!(links(&environment, &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: none, and none is needed
    ok      agent: add-on `eks-pod-identity-agent`
    note    association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`, owned by add-on `arn:aws:eks:eu-west-3:123456789012:addon/demo/ebs/1`: `start` refuses to touch it
            → change it by the add-on, or use another ServiceAccount
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      pods: 1 container of 1 pod with the role; an AWS SDK older than EKS Pod Identity cannot use it (docs/troubleshooting.md#sdks-that-know-eks-pod-identity)
    ");
    change_association(&environment, |association| {
        association.owner_arn = None;
        association.tags.clear();
    });
    let found = links(&environment, &[], 0);
    assert!(found.contains(", not made by this tool: `start` refuses to touch it"), "{found}");
    // Only named, it is nobody's wish.
    let named = links(&environment, &["--service-account", "app"], 0);
    assert!(named.contains("  ok      association: ") && named.contains(", not made by this tool"), "{named}");
}

#[test]
fn no_association_is_a_broken_link_and_of_a_named_service_account_the_other_chain() {
    let environment = associated();
    environment.sandbox.aws(|aws| aws.cluster_mut("demo").unwrap().associations.clear());
    let found = links(&environment, &[], 1);
    assert!(found.contains("BROKEN  association: ServiceAccount `NS/app` has none"), "{found}");
    let named = links(&environment, &["--service-account", "app"], 1);
    assert!(named.contains("BROKEN  annotation: `eks.amazonaws.com/role-arn` is not set"), "{named}");
}

#[test]
fn what_the_trust_policy_says_to_eks_has_three_values_and_a_session_is_believed() {
    let environment = associated();
    let condition = |environment: &Environment, operator: &str, key: &str, value: &str| {
        change_trust(environment, |trust| trust["Statement"][0]["Condition"][operator][key] = json!(value));
    };
    condition(&environment, "StringEquals", "aws:RequestTag/kubernetes-namespace", "z9");
    let found = links(&environment, &[], 1);
    assert!(
        found.contains("BROKEN  trust: statement 1 `QoveryIrsaPods")
            && found.contains("it wants `RequestTag/kubernetes-namespace` = `z9`, the request has `NS`")
            && found.contains("→ run `start`: it repairs the trust policy"),
        "{found}"
    );
    condition(&environment, "StringEquals", "aws:RequestTag/kubernetes-namespace", NAMESPACE);
    condition(&environment, "StringLike", "aws:RequestTag/kubernetes-pod-name", "api-*");
    let found = links(&environment, &[], 1);
    assert!(found.contains("unknown trust: statement 1") && found.contains("cannot be judged from here"), "{found}");
    add_pod(&environment, "api-1");
    let found = links(&environment, &[], 0);
    assert!(found.contains("ok      trust: statement 1") && found.contains("; EKS lets it in"), "{found}");
    change_trust(&environment, |trust| {
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*"});
        trust["Statement"].as_array_mut().unwrap().push(deny);
    });
    let found = links(&environment, &[], 1);
    assert!(found.contains("BROKEN  trust: statement 2 denies it, whatever the others allow"), "{found}");
    assert!(found.contains("→ remove or narrow that statement of the trust policy by hand") && !found.contains("session"), "{found}");
}

#[test]
fn a_target_role_is_read_where_it_can_be_and_else_a_session_decides() {
    let target = "arn:aws:iam::123456789012:role/data";
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    environment.start();
    change_association(&environment, |association| association.target_role_arn = Some(target.to_owned()));
    let found = links(&environment, &["--service-account", "app"], 1);
    assert!(found.contains("BROKEN  target role: `arn:aws:iam::123456789012:role/data` does not exist"), "{found}");
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": ["sts:AssumeRole", "sts:TagSession"]});
    let trust = json!({"Version": "2012-10-17", "Statement": [statement]});
    environment.sandbox.aws(|aws| aws.add_role("data", "/", &trust.to_string()));
    let found = links(&environment, &["--service-account", "app"], 1);
    assert!(found.contains("unknown target role: ") && found.contains("whether the policies of role"), "{found}");
    let mut wrong = trust.clone();
    wrong["Statement"][0]["Condition"] = json!({"StringEquals": {"sts:ExternalId": "of-somebody-else"}});
    environment.sandbox.aws(|aws| aws.role_mut("data").unwrap().trust = wrong.to_string());
    let found = links(&environment, &["--service-account", "app"], 1);
    assert!(found.contains("BROKEN  target role: ") && found.contains("it wants `ExternalId` = `of-somebody-else`"), "{found}");
    // Of another account nothing can be read.
    change_association(&environment, |association| association.target_role_arn = Some("arn:aws:iam::210987654321:role/data".to_owned()));
    let found = links(&environment, &["--service-account", "app"], 1);
    assert!(found.contains("unknown target role: `arn:aws:iam::210987654321:role/data` is in account 210987654321"), "{found}");
    assert!(found.contains("→ see in that account that its trust policy lets `arn:aws:iam::123456789012:role/"), "{found}");
}

#[test]
fn pods_on_fargate_and_windows_never_get_the_role() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 4] = [
        (|pod| pod["spec"]["nodeName"] = json!("fargate-ip-10-0-0-1.eu-west-3.compute.internal"), "Fargate"),
        (|pod| pod["spec"]["schedulerName"] = json!("fargate-scheduler"), "Fargate"),
        (|pod| pod["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"}), "Windows"),
        (|pod| pod["spec"]["os"] = json!({"name": "windows"}), "Windows"),
    ];
    for (change, place) in cases {
        let environment = associated();
        add_pod_with(&environment, "api-1", change);
        let found = links(&environment, &[], 1);
        let said = format!(
            "BROKEN  pods: container `main` of Deployment `api` (1 pod) runs on {place}, where EKS Pod Identity gives no role\n          → run it on a Linux node"
        );
        assert!(found.contains(&said) && found.matches("BROKEN").count() == 1, "{found}");
    }
}

#[test]
fn keys_win_over_an_association_too() {
    let environment = associated();
    add_pod_with(&environment, "api-1", |pod| {
        pod["spec"]["containers"][0]["env"] = json!([{"name": "AWS_ACCESS_KEY_ID", "value": "AKIAIOSFODNN7EXAMPLE"}]);
    });
    let found = links(&environment, &[], 1);
    assert!(
        found.contains("BROKEN  pods: container `main` of Deployment `api` (1 pod) has `AWS_ACCESS_KEY_ID`: AWS SDKs take keys"),
        "{found}"
    );
}

#[test]
fn what_may_not_be_seen_is_unknown_and_the_right_that_lacks_is_named() {
    let environment = associated();
    add_pod(&environment, "api-1");
    for (operation, link, right) in [
        ("kubernetes:get serviceaccounts", "ServiceAccount", "`get serviceaccounts` in the namespace"),
        ("kubernetes:create serviceaccounts/token", "session", "`create serviceaccounts/token` in the namespace"),
        ("kubernetes:list pods", "pods", "`list pods` in the namespace"),
        ("eks:ListPodIdentityAssociations", "association", "`eks:ListPodIdentityAssociations`"),
        ("eks:DescribeAddon", "agent", "`eks:DescribeAddon`"),
        ("eks-auth:AssumeRoleForPodIdentity", "session", "`eks-auth:AssumeRoleForPodIdentity`"),
    ] {
        let rule = environment.sandbox.faults().add(operation, When::Always, Fault::denied(operation));
        let found = links(&environment, &[], 1);
        assert!(found.contains(&format!("  unknown {link}: ")) && !found.contains("BROKEN"), "{operation}: {found}");
        assert!(found.contains(&format!("→ the job needs {right}")), "{operation}: {found}");
        environment.sandbox.faults().remove(rule);
    }
}

#[test]
fn stage_irsa_alone_is_the_chain_of_irsa() {
    let environment = Environment::of_pod_identity(IRSA);
    environment.start();
    add_pod(&environment, "old");
    insta::assert_snapshot!(links(&environment, &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: `arn:aws:iam::123456789012:role/…/ROLE`
    ok      token: the cluster gives one for `sts.amazonaws.com`
    ok      issuer: `https://oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE`
    ok      provider: `arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE`
    ok      audience: the provider knows `sts.amazonaws.com`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets the token in
    ok      session: STS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      pod identity: no association stands in the way
    ok      pods: 1 container of 1 pod with the role
    ");
}

#[test]
fn stage_wanted_and_not_deployed_yet_says_what_is_missing_and_that_pods_have_their_role() {
    let environment = Environment::of_pod_identity(IRSA);
    add_agent(&environment);
    environment.start();
    add_pod(&environment, "old");
    environment.write_manifest(ASSOCIATED);
    insta::assert_snapshot!(links(&environment, &[], 1), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: `arn:aws:iam::123456789012:role/…/ROLE`: pods get it as long as there is no association
    ok      agent: add-on `eks-pod-identity-agent`
    BROKEN  association: ServiceAccount `NS/app` has none: its new pods get no role by EKS Pod Identity
            → run `start`
    ok      web identity: pods that have one have the role: STS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ");
}

#[test]
fn stage_moving_with_old_pods_is_healthy_and_says_what_comes_next() {
    insta::assert_snapshot!(links(&moving(), &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: `arn:aws:iam::123456789012:role/…/ROLE`: it counts for pods from before the association alone
    ok      agent: add-on `eks-pod-identity-agent`
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      web identity: pods that have one have the role: STS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      pods: 1 container of 1 pod with the role
    note    move: from IRSA to EKS Pod Identity, under way: 1 pod of Deployment `api` still with a web identity; every new pod gets the role by the association
            → kubectl -n NS rollout restart deployment/api; then deploy again: that removes the annotation and what the web identity took
    ");
}

#[test]
fn stage_moving_with_old_and_new_pods_is_healthy_and_names_the_old() {
    let environment = moving();
    add_pod(&environment, "new");
    insta::assert_snapshot!(links(&environment, &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: `arn:aws:iam::123456789012:role/…/ROLE`: it counts for pods from before the association alone
    ok      agent: add-on `eks-pod-identity-agent`
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      web identity: pods that have one have the role: STS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      pods: 2 containers of 2 pods with the role; an AWS SDK older than EKS Pod Identity cannot use it (docs/troubleshooting.md#sdks-that-know-eks-pod-identity)
    note    move: from IRSA to EKS Pod Identity, under way: 1 pod of Deployment `api` still with a web identity; every new pod gets the role by the association
            → kubectl -n NS rollout restart deployment/api; then deploy again: that removes the annotation and what the web identity took
    ");
}

#[test]
fn stage_moving_with_new_pods_alone_waits_for_a_deploy() {
    let environment = moving();
    remove_pod(&environment, "old");
    add_pod(&environment, "new");
    insta::assert_snapshot!(links(&environment, &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: `arn:aws:iam::123456789012:role/…/ROLE`: it counts for pods from before the association alone
    ok      agent: add-on `eks-pod-identity-agent`
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      pods: 1 container of 1 pod with the role; an AWS SDK older than EKS Pod Identity cannot use it (docs/troubleshooting.md#sdks-that-know-eks-pod-identity)
    note    move: from IRSA to EKS Pod Identity, nearly done: no pod has a web identity, the annotation still names `arn:aws:iam::123456789012:role/…/ROLE`
            → deploy again: that removes the annotation and what the web identity took
    ");
}

#[test]
fn stage_moved_is_the_chain_of_pod_identity_alone() {
    let environment = moving();
    remove_pod(&environment, "old");
    add_pod(&environment, "new");
    annotate(&environment, None);
    change_trust(&environment, |trust| drop(trust["Statement"].as_array_mut().unwrap().remove(0)));
    insta::assert_snapshot!(links(&environment, &[], 0), @r"
    ok      ServiceAccount: `NS/app` is there
    ok      annotation: none, and none is needed
    ok      agent: add-on `eks-pod-identity-agent`
    ok      association: `a-…` gives pods `arn:aws:iam::123456789012:role/…/ROLE`
    ok      role: `arn:aws:iam::123456789012:role/…/ROLE` is there
    ok      trust: the trust policy lets `pods.eks.amazonaws.com` in for this ServiceAccount
    ok      session: EKS gives `arn:aws:sts::123456789012:assumed-role/ROLE/…`
    ok      pods: 1 container of 1 pod with the role; an AWS SDK older than EKS Pod Identity cannot use it (docs/troubleshooting.md#sdks-that-know-eks-pod-identity)
    ");
}

#[test]
fn old_pods_whose_web_identity_the_role_takes_no_more_are_broken_and_not_in_the_middle() {
    let environment = moving();
    change_trust(&environment, |trust| drop(trust["Statement"].as_array_mut().unwrap().remove(0)));
    let found = links(&environment, &[], 1);
    assert!(found.contains("has a web identity from before the association, and the role lets it in no more"), "{found}");
    assert!(found.contains("→ kubectl -n NS rollout restart deployment/api") && !found.contains("under way"), "{found}");
}
