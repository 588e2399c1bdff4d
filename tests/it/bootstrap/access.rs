//! `bootstrap --cluster-access`: made in an order that lets nobody in before the guard, proven, changed back, refused, taken away.

use std::collections::BTreeSet;

use qovery_irsa_sandbox::{
    Setup,
    aws::AccessEntry,
    faults::{Fault, When},
};
use serde_json::{Value, json};

use super::reaching::{ACCESS, ENTRY_GROUP, OPS, ROLE_ARN, Reaching};
use crate::support::{
    environment::Run,
    zone::{ZONE, allowing},
};

const MADE: [&str; 9] = [
    "create role `arn:aws:iam::123456789012:role/qovery-irsa-demo-access`",
    "put policy `qovery-irsa` on role `qovery-irsa-demo-access`",
    "create ValidatingAdmissionPolicy `qovery-irsa`",
    "create ValidatingAdmissionPolicyBinding `qovery-irsa`",
    "create ClusterRole `qovery-irsa`",
    "create ClusterRoleBinding `qovery-irsa`",
    "create the access entry of role `arn:aws:iam::123456789012:role/qovery-irsa-demo-access` in EKS cluster `demo` with groups `qovery-irsa`",
    "create ServiceAccount `ops/qovery-irsa-sweep`",
    "",
];

fn made() -> Vec<&'static str> {
    MADE.into_iter().filter(|line| !line.is_empty()).collect()
}

fn proven(run: &Run) -> Vec<&str> {
    run.out.lines().filter_map(|line| line.strip_prefix("proven: ")).collect()
}

#[test]
fn it_is_made_guard_first_and_entry_last_and_again_nothing_is_written() {
    let reaching = Reaching::new();
    let dry = reaching.bootstrap(&["--dry-run"]).ended(10);
    assert_eq!(dry.writes, 0);
    assert_eq!(dry.planned().into_iter().filter(|line| !line.starts_with(' ')).collect::<Vec<_>>(), made());
    let first = reaching.bootstrap(&[]).ended(0);
    assert_eq!(first.done(), made());
    assert_eq!(
        proven(&first),
        [
            "group `qovery-irsa` is refused a token of ServiceAccount `ops/qovery-irsa-sweep` for audience `https://kubernetes.default.svc`, by ValidatingAdmissionPolicy `qovery-irsa`",
            "group `qovery-irsa` is refused a ServiceAccount with role `arn:aws:iam::123456789012:role/qovery-irsa-proof`, outside `/qovery/`, by ValidatingAdmissionPolicy `qovery-irsa`",
            "group `qovery-irsa` is refused a ServiceAccount in namespace `kube-system`, by ValidatingAdmissionPolicy `qovery-irsa`",
            "group `qovery-irsa` is allowed a ServiceAccount in namespace `ops` with a role below `/qovery/`",
        ]
    );
    let entry = reaching.entry().unwrap();
    assert_eq!((entry.groups.as_slice(), entry.tags["qovery-irsa/owner"].as_str()), (&[ENTRY_GROUP.to_owned()][..], "bootstrap"));
    assert_eq!(
        reaching.object("serviceaccounts", OPS, "qovery-irsa-sweep").unwrap()["metadata"]["annotations"]["eks.amazonaws.com/role-arn"],
        ROLE_ARN
    );
    let again = reaching.bootstrap(&[]).ended(0);
    assert_eq!((again.writes, proven(&again)), (0, proven(&first)));
    assert_eq!(reaching.bootstrap(&["--dry-run"]).ended(0).writes, 0);
}

#[test]
fn the_role_trusts_one_service_account_and_may_do_what_the_job_may() {
    let reaching = Reaching::made();
    let (trust, job, access) = reaching.laptop.environment.sandbox.aws(|aws| {
        let role = |name: &str| aws.roles()[name].clone();
        let document = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let access = role(ACCESS);
        (document(&access.trust), document(&role("qovery-irsa-demo").inline["qovery-irsa"]), document(&access.inline["qovery-irsa"]))
    });
    let issuer = reaching.laptop.environment.issuer();
    let statements = trust["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 1);
    let condition = &statements[0]["Condition"]["StringLike"];
    assert_eq!(condition[format!("{issuer}:sub")], "system:serviceaccount:ops:qovery-irsa-sweep");
    assert_eq!(access, job);
}

#[test]
fn the_guard_names_the_zone_and_nothing_of_the_published_file_is_left_wide() {
    let reaching = Reaching::made();
    let guard = reaching.object("validatingadmissionpolicies", "", "qovery-irsa").unwrap();
    let expression = |list: &str, name: &str| {
        let items = guard["spec"][list].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap()["expression"].as_str().unwrap().to_owned()
    };
    assert_eq!(expression("variables", "namespaces"), "['^z[a-z0-9-]*$', '^ops$']");
    assert_eq!(expression("variables", "audiences"), "['sts.amazonaws.com']");
    assert_eq!(expression("variables", "rolePatterns"), "['^arn:aws:iam::123456789012:role/qovery/[a-zA-Z0-9+=,.@_/-]+$']");
    assert_eq!(expression("variables", "furtherRoles"), "[]");
    let whom = expression("matchConditions", "by-the-job");
    assert!(
        whom.contains("'^system:serviceaccount:(z[a-z0-9-]*):qovery-irsa$'") && whom.contains("'qovery-irsa' in request.userInfo.groups"),
        "{whom}"
    );
}

/// What a person has changed, and the one action that changes it back.
#[test]
fn each_difference_is_one_action() {
    let reaching = Reaching::made();
    let environment = &reaching.laptop.environment;
    let entry = |change: &dyn Fn(&mut AccessEntry)| {
        environment.sandbox.aws(|aws| change(aws.cluster_mut("demo").unwrap().access_entries.get_mut(ROLE_ARN).unwrap()));
    };
    let object = |kind: &'static str, namespace: &'static str, name: &'static str, pointer: &'static str, value: Value| {
        Box::new(move || {
            environment.sandbox.kubernetes(|kubernetes| {
                let mut object = kubernetes.object(kind, namespace, name).cloned().unwrap();
                *object.pointer_mut(pointer).unwrap() = value.clone();
                kubernetes.put_object(object);
            });
        }) as Box<dyn Fn()>
    };
    let role_annotation = "/metadata/annotations/eks.amazonaws.com~1role-arn";
    let other_role = json!("arn:aws:iam::123456789012:role/x");
    let of_entry = "the access entry of role `arn:aws:iam::123456789012:role/qovery-irsa-demo-access`";
    let changes: Vec<(String, Box<dyn Fn()>)> = vec![
        ("change ValidatingAdmissionPolicy `qovery-irsa`".to_owned(), Box::new(|| environment.guard("namespaces", "['^']"))),
        (
            "change ValidatingAdmissionPolicyBinding `qovery-irsa`".to_owned(),
            object("validatingadmissionpolicybindings", "", "qovery-irsa", "/spec/policyName", json!("other")),
        ),
        ("change ClusterRole `qovery-irsa`".to_owned(), object("clusterroles", "", "qovery-irsa", "/rules/0/verbs", json!(["*"]))),
        (
            "change ClusterRoleBinding `qovery-irsa`".to_owned(),
            object("clusterrolebindings", "", "qovery-irsa", "/subjects/0/name", json!("others")),
        ),
        (
            "change ServiceAccount `ops/qovery-irsa-sweep`".to_owned(),
            object("serviceaccounts", OPS, "qovery-irsa-sweep", role_annotation, other_role),
        ),
        (
            format!("change the groups of {of_entry} in EKS cluster `demo`"),
            Box::new(|| entry(&|entry| entry.groups.push("others".to_owned()))),
        ),
        (format!("tag {of_entry}: `team` = `platform`"), Box::new(|| entry(&|entry| drop(entry.tags.remove("team"))))),
        (
            "change policy `qovery-irsa` of role `qovery-irsa-demo-access`".to_owned(),
            Box::new(|| {
                let document = allowing("*");
                let parameters = [("RoleName", ACCESS), ("PolicyName", "qovery-irsa"), ("PolicyDocument", document.as_str())];
                reaching.laptop.by_hand("PutRolePolicy", &parameters);
            }),
        ),
    ];
    for (action, change) in changes {
        change();
        let dry = reaching.bootstrap(&["--dry-run"]).ended(10);
        assert!(dry.out.lines().any(|line| line.starts_with("    - ") || action.starts_with("tag ")), "{}", dry.out);
        assert_eq!(reaching.bootstrap(&[]).ended(0).done(), [action]);
    }
    assert_eq!(reaching.bootstrap(&[]).ended(0).writes, 0);
}

#[test]
fn a_cluster_that_cannot_have_it_is_refused_before_anything_is_made() {
    let reaching = Reaching::new_unmade();
    let environment = &reaching.laptop.environment;
    environment.sandbox.aws(|aws| aws.cluster_mut("demo").unwrap().authentication_mode = "CONFIG_MAP".to_owned());
    let refused = reaching.bootstrap(&[]).ended(3);
    assert!(refused.err.contains("`CONFIG_MAP`") && refused.err.contains("there is no way back"), "{}", refused.err);
    assert_eq!(refused.writes, 0);
    environment.sandbox.aws(|aws| aws.cluster_mut("demo").unwrap().authentication_mode = "API".to_owned());

    let missing =
        Fault::Error { status: 404, code: "NotFound".to_owned(), message: "the server could not find the requested resource".to_owned() };
    let rule = environment.sandbox.faults().add("kubernetes:list validatingadmissionpolicies", When::Always, missing);
    let refused = reaching.bootstrap(&[]).ended(3);
    assert!(refused.err.contains("older than Kubernetes 1.30"), "{}", refused.err);
    assert_eq!(refused.writes, 0);
    environment.sandbox.faults().remove(rule);

    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(OPS));
    let refused = reaching.bootstrap(&[]).ended(3);
    assert!(refused.err.contains("namespace `ops` does not exist"), "{}", refused.err);
    assert_eq!(refused.writes, 0);
}

#[test]
fn a_zone_that_changes_without_its_cluster_access_says_so() {
    let reaching = Reaching::made();
    let run = reaching.laptop.bootstrap(&[]).ended(0);
    assert!(run.out.contains("note: cluster access (role `qovery-irsa-demo-access`, the guard) was not looked at"), "{}", run.out);
    assert_eq!(run.writes, 0);
}

#[test]
fn what_somebody_else_made_or_holds_is_refused_and_named() {
    let reaching = Reaching::new();
    let environment = &reaching.laptop.environment;
    environment.sandbox.aws(|aws| {
        aws.add_role(ACCESS, "/", crate::support::fixtures::EC2_TRUST);
        aws.add_access_entry("demo", ROLE_ARN, "x", &["others"]);
    });
    environment.sandbox.kubernetes(|kubernetes| {
        for (api, kind) in
            [("rbac.authorization.k8s.io/v1", "ClusterRole"), ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")]
        {
            kubernetes.put_object(json!({"apiVersion": api, "kind": kind, "metadata": {"name": "qovery-irsa"}, "rules": []})).unwrap();
        }
    });
    let refused = reaching.bootstrap(&[]).ended(3);
    for said in [
        "role `arn:aws:iam::123456789012:role/qovery-irsa-demo-access` exists",
        "ClusterRole `qovery-irsa` exists, and `bootstrap` did not make it",
        "ValidatingAdmissionPolicy `qovery-irsa` exists, and `bootstrap` did not make it",
        "has an access entry of type `STANDARD` that `bootstrap` did not make",
    ] {
        assert!(refused.err.contains(said), "{said} in {}", refused.err);
    }
    assert_eq!(refused.writes, 0);

    // A part of what was applied belongs to somebody else now.
    let reaching = Reaching::made();
    let environment = &reaching.laptop.environment;
    environment.sandbox.kubernetes(|kubernetes| {
        let mut binding = kubernetes.object("clusterrolebindings", "", "qovery-irsa").cloned().unwrap();
        binding["subjects"] = json!([{"kind": "Group", "name": "everybody", "apiGroup": "rbac.authorization.k8s.io"}]);
        let entry = json!({"manager": "kubectl-edit", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:subjects": {}}});
        binding["metadata"]["managedFields"].as_array_mut().unwrap().push(entry);
        kubernetes.put_object(binding);
    });
    let refused = reaching.bootstrap(&[]).ended(3);
    assert!(
        refused.err.contains("ClusterRoleBinding `qovery-irsa` differs, and a part of it belongs to `kubectl-edit`"),
        "{}",
        refused.err
    );
    assert_eq!(refused.writes, 0);
}

#[test]
fn another_zone_of_the_cluster_keeps_its_guard() {
    let reaching = Reaching::made();
    let other = ZONE.replace("  name: demo", "  name: demo\n  role: qovery-irsa-production").replace("z*", "p*");
    reaching.laptop.environment.write_manifest(&other);
    let refused = reaching.bootstrap(&[]);
    assert_eq!(refused.code, 3, "{}{}", refused.out, refused.err);
    assert!(
        refused.err.contains("is of the cluster access that `bootstrap` made for role `arn:aws:iam::123456789012:role/qovery-irsa-demo`"),
        "{}",
        refused.err
    );
    assert_eq!(refused.writes, 0);
}

#[test]
fn nobody_is_let_in_while_the_guard_does_not_count() {
    let reaching = Reaching::new();
    let environment = &reaching.laptop.environment;
    environment.sandbox.kubernetes(|kubernetes| kubernetes.policies_count_after = std::time::Duration::from_hours(1));
    let failed = reaching.with("IRSA_TIMEOUT", "10s").bootstrap(&[]).ended(4);
    assert!(
        failed.err.contains("the guard is not in force after") && failed.err.contains("nobody was put in group `qovery-irsa`"),
        "{}",
        failed.err
    );
    assert!(reaching.entry().is_none());
    environment.sandbox.kubernetes(|kubernetes| kubernetes.policies_count_after = std::time::Duration::from_secs(2));
    let done = reaching.bootstrap(&[]).ended(0);
    assert!(done.done()[0].starts_with("create the access entry"), "{:?}", done.done());
}

#[test]
fn a_signal_while_the_guard_is_waited_for_is_no_guard_that_fails() {
    let reaching = Reaching::new();
    let environment = &reaching.laptop.environment;
    environment.sandbox.kubernetes(|kubernetes| kubernetes.policies_count_after = std::time::Duration::from_hours(1));
    let running = environment.spawn(&["bootstrap", "--cluster-access", OPS], &reaching.laptop.variables);
    // What is applied last before the guard is waited for.
    while reaching.object("clusterrolebindings", "", "qovery-irsa").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running.signal("INT");
    let failed = running.end().ended(1);
    assert!(failed.err.contains("run `bootstrap` again: it continues where it stopped"), "{}", failed.err);
    assert!(reaching.entry().is_none());
}

#[test]
fn a_guard_that_lets_through_is_a_failed_proof() {
    let reaching = Reaching::made();
    reaching.laptop.environment.sandbox.kubernetes(|kubernetes| kubernetes.policies_count_after = std::time::Duration::from_hours(1));
    let failed = reaching.bootstrap(&[]).ended(4);
    assert_eq!(failed.writes, 0);
    assert!(failed.err.contains("is allowed a ServiceAccount in namespace `kube-system`: the guard must refuse it"), "{}", failed.err);
    assert!(failed.err.contains("for audience `https://kubernetes.default.svc`: the guard must refuse it"), "{}", failed.err);
    assert!(failed.err.contains("bootstrap --delete"), "{}", failed.err);
}

#[test]
fn who_may_not_ask_as_the_group_is_told_that_nothing_is_proven() {
    let reaching = Reaching::new();
    reaching.laptop.environment.sandbox.kubernetes(|kubernetes| {
        let rule = json!({"apiGroups": ["", "rbac.authorization.k8s.io", "admissionregistration.k8s.io"], "resources": ["*"],
            "verbs": ["get", "list", "create", "patch", "delete", "bind", "escalate"]});
        let (api, group) = ("rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io");
        for object in [
            json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": "keepers"}, "rules": [rule]}),
            json!({"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": "keepers"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "keepers"},
                "subjects": [{"apiGroup": group, "kind": "Group", "name": "keepers"}]}),
        ] {
            kubernetes.put_object(object).unwrap();
        }
    });
    reaching.administrator_in(&["keepers"]);
    let run = reaching.bootstrap(&[]).ended(0);
    assert_eq!((run.done(), proven(&run)), (made(), Vec::new()));
    assert!(
        run.out.contains("note: not proven: that the guard is in force, since these credentials may not ask as the group"),
        "{}",
        run.out
    );
    assert!(run.out.contains("note: not proven: that the guard holds, since these credentials may not ask as the group"), "{}", run.out);
}

#[test]
fn who_is_no_administrator_of_the_cluster_is_told_so() {
    let reaching = Reaching::new();
    reaching.administrator_in(&["nobodies"]);
    let failed = reaching.bootstrap(&[]).ended(1);
    assert!(failed.err.contains("Forbidden") && failed.err.contains("`AmazonEKSClusterAdminPolicy`"), "{}", failed.err);
    assert_eq!(failed.writes, 0);
}

#[test]
fn a_kubeconfig_must_lead_to_the_cluster() {
    let setup = Setup {
        second_cluster: Some(("other".to_owned(), "https://oidc.eks.eu-west-3.amazonaws.com/id/OTHER".to_owned())),
        ..Setup::default()
    };
    let reaching = Reaching::unmade_in(setup);
    let sandbox = &reaching.laptop.environment.sandbox;
    let file = |cluster: &qovery_irsa_sandbox::cluster::Cluster| cluster.kubeconfig().display().to_string();
    let elsewhere = file(sandbox.second_cluster().unwrap());
    let failed = reaching.with("KUBECONFIG", &elsewhere).bootstrap(&[]).ended(2);
    assert!(failed.err.contains("the kubeconfig does not lead to EKS cluster `demo`"), "{}", failed.err);
    assert_eq!(failed.writes, 0);
    let done = reaching.with("KUBECONFIG", &file(sandbox.cluster())).bootstrap(&[]).ended(0);
    assert_eq!(proven(&done).len(), 4);
}

#[test]
fn it_is_taken_away_access_first_and_only_what_is_its_own() {
    let reaching = Reaching::made();
    let left = reaching.laptop.bootstrap(&["--delete"]).ended(0);
    assert!(left.out.contains("left: role `qovery-irsa-demo-access`"), "{}", left.out);
    let reaching = Reaching::made();
    let gone = reaching.bootstrap(&["--delete"]).ended(0);
    assert_eq!(
        gone.done()[..8],
        [
            "delete the access entry of role `arn:aws:iam::123456789012:role/qovery-irsa-demo-access` in EKS cluster `demo`",
            "delete ClusterRoleBinding `qovery-irsa`",
            "delete ClusterRole `qovery-irsa`",
            "delete ValidatingAdmissionPolicyBinding `qovery-irsa`",
            "delete ValidatingAdmissionPolicy `qovery-irsa`",
            "delete ServiceAccount `ops/qovery-irsa-sweep`",
            "delete policy `qovery-irsa` of role `qovery-irsa-demo-access`",
            "delete role `qovery-irsa-demo-access`",
        ]
    );
    assert!(reaching.entry().is_none() && reaching.laptop.role().is_none());
    assert_eq!(reaching.bootstrap(&["--delete"]).ended(0).writes, 0);

    let reaching = Reaching::made();
    reaching.laptop.environment.sandbox.kubernetes(|kubernetes| {
        let mut role = kubernetes.object("clusterroles", "", "qovery-irsa").cloned().unwrap();
        role["metadata"]["labels"] = json!({});
        kubernetes.put_object(role);
    });
    let gone = reaching.bootstrap(&["--delete"]).ended(0);
    assert!(gone.out.contains("left: ClusterRole `qovery-irsa`: `bootstrap` did not make it"), "{}", gone.out);
    assert!(reaching.object("clusterroles", "", "qovery-irsa").is_some());
}

#[test]
fn the_guard_outlives_it_where_somebody_else_gives_the_group_rights() {
    let reaching = Reaching::made();
    reaching.laptop.environment.sandbox.kubernetes(|kubernetes| {
        let mut binding = kubernetes.object("clusterrolebindings", "", "qovery-irsa").cloned().unwrap();
        binding["metadata"]["labels"] = json!({});
        kubernetes.put_object(binding);
    });
    let gone = reaching.bootstrap(&["--delete"]).ended(0);
    assert!(gone.out.contains("left: ClusterRoleBinding `qovery-irsa`: `bootstrap` did not make it"), "{}", gone.out);
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let left = format!("left: {kind} `qovery-irsa`: it bounds what somebody else gives group `qovery-irsa`");
        assert!(gone.out.contains(&left), "{}", gone.out);
    }
    assert!(reaching.object("validatingadmissionpolicies", "", "qovery-irsa").is_some());
    assert!(reaching.entry().is_none());
}

/// Every changing call fails once, and every answer is lost once: the next run completes, and never is anybody in the group without the guard.
#[test]
fn a_run_that_ends_anywhere_is_completed_by_the_next() {
    let reference = Reaching::made();
    let wanted = reference.laptop.environment.sandbox.state();
    let calls = [
        "iam:CreateRole",
        "iam:PutRolePolicy",
        "kubernetes:patch validatingadmissionpolicies",
        "kubernetes:patch validatingadmissionpolicybindings",
        "kubernetes:patch clusterroles",
        "kubernetes:patch clusterrolebindings",
        "eks:CreateAccessEntry",
        "kubernetes:patch serviceaccounts",
    ];
    let reaching = Reaching::new();
    for call in calls {
        for fault in [Fault::Error { status: 400, code: "Broken".to_owned(), message: "no".to_owned() }, Fault::lost_answer()] {
            let is_error = matches!(fault, Fault::Error { .. });
            reaching.reset();
            let rule = reaching.laptop.environment.sandbox.faults().add(call, When::Nth(1), fault);
            let run = reaching.bootstrap(&[]).ended(i32::from(is_error));
            reaching.laptop.environment.sandbox.faults().remove(rule);
            let has_guard = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"]
                .iter()
                .all(|kind| reaching.object(kind, "", "qovery-irsa").is_some());
            assert!(has_guard || reaching.entry().is_none(), "{call}: {}{}", run.out, run.err);
            reaching.bootstrap(&[]).ended(0);
            let state = reaching.laptop.environment.sandbox.state();
            let differ: BTreeSet<&str> =
                ["aws", "kubernetes"].into_iter().filter(|part| strip(&state[part]) != strip(&wanted[part])).collect();
            assert!(differ.is_empty(), "{call}: {differ:?}\n{}\n{}", strip(&state), strip(&wanted));
        }
    }
}

/// Each sandbox has an issuer and names of its own.
fn strip(state: &Value) -> String {
    let text = state.to_string();
    text.split("oidc-provider/").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest)).collect()
}
