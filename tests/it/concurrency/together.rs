//! Roles that many environments have together, through the real binary: processes at once, the last one out, size, sweep.

use std::{collections::BTreeSet, time::Duration};

use qovery_irsa_sandbox::{
    Setup,
    faults::{Fault, Point, When},
};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, job_kubeconfig, open_discovery},
    fixtures::{GIVEN, NAMESPACE, all_at_once, by_hand, may_assume, namespaces, subject},
    repository::{given_roles_statement, read},
};

const SHARED: &str = "identities: [{serviceAccount: app, role: {scope: shared, name: together, policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}]";

#[test]
fn twenty_environments_that_start_at_once_on_one_role_are_all_in_although_reads_show_the_past() {
    for (manifest, role) in [(GIVEN, "by-hand"), (SHARED, "together")] {
        let mut environment = Environment::new(manifest);
        environment.sandbox.aws(by_hand);
        environment.set("IRSA_SETTLE", "2");
        environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
        let clones = namespaces(&environment, 20);
        environment.sandbox.faults().add("iam:GetRole", When::Always, Fault::Stale { up_to: Duration::from_secs(1) });
        environment.sandbox.faults().add("iam:*", When::Probability(0.05), Fault::Throttle);
        all_at_once(&environment, &clones, "start");
        assert_eq!(may_assume(&environment, role, &clones), clones.iter().map(|namespace| subject(namespace)).collect());
        let (leaving, staying) = clones.split_at(12);
        all_at_once(&environment, leaving, "delete");
        assert_eq!(may_assume(&environment, role, &clones), staying.iter().map(|namespace| subject(namespace)).collect());
        let tags = environment.sandbox.aws(|aws| aws.roles()[role].tags.clone());
        assert_eq!(tags.keys().filter(|key| key.starts_with("qovery-irsa/subject/")).count(), staying.len());
        all_at_once(&environment, staying, "delete");
        assert_eq!(environment.sandbox.aws(|aws| aws.roles().contains_key(role)), role == "by-hand");
    }
}

/// IAM denies a call on a role that has gone, and the look that tells the one from the other may be throttled.
#[test]
fn a_role_that_goes_during_a_call_is_not_taken_for_a_missing_permission_even_in_a_storm() {
    let environment = Environment::new(SHARED);
    environment.start();
    environment.sandbox.aws(|aws| {
        let role = aws.role_mut("together").unwrap();
        role.trust = role.trust.replace(NAMESPACE, "z9");
    });
    let hang = Fault::Hang { point: Point::Before, duration: Duration::from_secs(1) };
    environment.sandbox.faults().add("iam:UpdateAssumeRolePolicy", When::Nth(1), hang);
    let mark = environment.sandbox.witness().mark();
    let running = environment.spawn_in(NAMESPACE, &["start"]);
    while !environment.sandbox.witness().since(mark).iter().any(|call| call.operation == "iam:UpdateAssumeRolePolicy") {
        std::thread::sleep(Duration::from_millis(5));
    }
    environment.sandbox.faults().add("iam:GetRole", When::Next(2), Fault::Throttle);
    environment.sandbox.aws(|aws| {
        aws.call("DetachRolePolicy", &[("RoleName", "together"), ("PolicyArn", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")]).unwrap();
        aws.call("DeleteRole", &[("RoleName", "together")]).unwrap();
    });
    running.end().ended(0);
    let clones = [NAMESPACE.to_owned()];
    assert_eq!(may_assume(&environment, "together", &clones), BTreeSet::from([subject(NAMESPACE)]));
}

/// As Kubeflow's profile controller does not: it leaves a trust policy that checks only the audience.
#[test]
fn the_last_subject_out_of_a_role_never_leaves_it_open_to_every_service_account() {
    let environment = Environment::new(GIVEN);
    environment.sandbox.aws(by_hand);
    let issuer = environment.issuer();
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Sid": "QoveryIrsaxxxxxxxx", "Effect": "Allow",
        "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{issuer}")}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{issuer}:aud"): "sts.amazonaws.com", format!("{issuer}:sub"): subject(NAMESPACE)}}}]});
    environment.sandbox.aws(|aws| aws.role_mut("by-hand").unwrap().trust = trust.to_string());
    environment.start();
    environment.delete();
    let everyone = [NAMESPACE, "default", "kube-system", "z9"].map(str::to_owned);
    assert_eq!(may_assume(&environment, "by-hand", &everyone), BTreeSet::new());
    let left: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()["by-hand"].trust).unwrap());
    assert_eq!((left["Statement"].as_array().unwrap().len(), &left["Statement"][0]["Effect"]), (1, &json!("Deny")));
    environment.start();
    assert_eq!(may_assume(&environment, "by-hand", &everyone).len(), 1);
}

/// As Kubeflow's profile controller does not: it rewrites the trust policy to one statement and dies at about thirty namespaces.
#[test]
fn other_principals_are_kept_and_a_full_trust_policy_is_refused_before_any_change() {
    let mut environment = Environment::new(GIVEN);
    environment.sandbox.aws(by_hand);
    let clones = namespaces(&environment, 45);
    let mut refused = None;
    for namespace in &clones {
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", namespace);
        let run = environment.run(&["start"]);
        if run.code != 0 {
            refused = Some(run.ended(3));
            break;
        }
    }
    let refused = refused.expect("2,048 characters do not hold 45 subjects");
    assert_eq!(refused.writes, 0);
    assert!(
        refused.err.contains("the quota is 2048, about ") && refused.err.contains("every registered namespace exists"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("hint: run `sweep`") && refused.err.contains("raise the quota"), "{}", refused.err);
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()["by-hand"].trust).unwrap());
    assert_eq!(trust["Statement"][0]["Principal"], json!({"Service": "ec2.amazonaws.com"}));

    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(&clones[0]));
    let refused = environment.run(&["start"]).ended(3);
    assert!(refused.err.contains(&format!("registered though their namespace no longer exists: `{}`", clones[0])), "{}", refused.err);
    environment.run(&["sweep"]).ended(0);
    environment.start();
    environment.sandbox.aws(|aws| aws.quotas_mut().trust_policy_size = 4096);
    for namespace in clones.iter().skip(1) {
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", namespace);
        environment.start();
    }
}

#[test]
fn a_cluster_role_lets_in_every_namespace_of_the_pattern_says_so_and_outlives_the_environment() {
    let environment = Environment::new(
        "identities: [{serviceAccount: app, role: {scope: cluster, name: everywhere, namespaces: [\"z*\"], policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}]",
    );
    let run = environment.start();
    assert!(
        run.out.contains(
            "note: role `everywhere` may be assumed by the pods of every ServiceAccount `app` in every namespace that begins with `z`"
        ),
        "{}",
        run.out
    );
    assert_eq!(environment.start().writes, 0);
    let all = ["z1", "z-any", "default", "az"].map(str::to_owned);
    assert_eq!(may_assume(&environment, "everywhere", &all), [subject("z1"), subject("z-any")].into());
    environment.delete();
    assert_eq!(environment.roles(), 1);
    environment.write_manifest("identities: [{serviceAccount: app, role: {scope: cluster, name: everywhere, namespaces: [\"*\"]}}]");
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("`*` is not a pattern of namespaces"), "{}", run.err);
}

#[test]
fn sweep_removes_what_deleted_environments_have_left_and_looks_at_namespaces_last() {
    let mut environment = Environment::new(
        "identities:\n  - serviceAccount: app\n    role: {policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}\n  - serviceAccount: worker\n    role: {arn: \"arn:aws:iam::123456789012:role/by-hand\"}\n",
    );
    environment.sandbox.aws(by_hand);
    let clones = namespaces(&environment, 3);
    for namespace in clones.iter().map(String::as_str).chain([NAMESPACE]) {
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", namespace);
        environment.start();
    }
    assert_eq!(environment.run(&["sweep"]).ended(0).writes, 0);
    // Two environments go without their delete event.
    environment.sandbox.kubernetes(|kubernetes| clones[..2].iter().for_each(|namespace| kubernetes.delete_namespace(namespace)));
    let dry = environment.run(&["sweep", "--dry-run"]).ended(10);
    assert_eq!((dry.writes, dry.planned().len()), (0, 2 * 2 + 2), "{}", dry.out);
    let mark = environment.sandbox.witness().mark();
    let swept = environment.run(&["sweep"]).ended(0);
    let sorted = |mut lines: Vec<&str>| {
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(swept.done()), sorted(dry.planned()), "lanes run side by side");
    let calls = environment.sandbox.witness().since(mark);
    let answered =
        |operation: &str| calls.iter().filter(|call| call.operation == operation).filter_map(|call| call.answered).min().unwrap();
    let namespaces_asked = calls.iter().find(|call| call.operation == "kubernetes:list namespaces").unwrap().arrived;
    assert!(answered("iam:ListRoles") <= namespaces_asked, "an environment made after the listing must not look gone");
    assert_eq!(environment.roles(), 3);
    let trusted = environment.sandbox.aws(|aws| aws.roles()["by-hand"].trust.clone());
    assert!(!trusted.contains("z0-clone") && !trusted.contains("z1-clone") && trusted.contains("z2-clone") && trusted.contains(NAMESPACE));
    assert_eq!(environment.run(&["sweep"]).ended(0).writes, 0);
    assert_eq!(environment.start().writes, 0);
}

/// A cluster that was deleted and made again has a new issuer; roles, entries and provider of the old one are still there.
#[test]
fn what_a_cluster_that_was_made_again_has_left_is_named_and_retired() {
    const OLD: &str = "https://oidc.example.com/id/OLD";
    let setup = Setup { second_cluster: Some(("old".to_owned(), OLD.to_owned())), ..Setup::default() };
    let mut environment = Environment::with(
        setup,
        "identities:\n  - serviceAccount: plain\n    role: {}\n  - serviceAccount: named\n    role: {name: shop-reports}\n  - serviceAccount: app\n    role: {scope: shared, name: together}\n  - serviceAccount: worker\n    role: {arn: \"arn:aws:iam::123456789012:role/by-hand\"}\n  - serviceAccount: metrics\n    role: {scope: cluster, name: patterned, namespaces: [\"z*\"]}\n",
    );
    environment.sandbox.aws(by_hand);
    let by_hand = environment.sandbox.aws(|aws| aws.roles()["by-hand"].trust.clone());
    let mut by_arn = given_roles_statement();
    by_arn["Resource"] = json!(["arn:aws:iam::123456789012:role/by-hand"]);
    let own = environment.variables.clone();
    let old = environment.sandbox.second_cluster().unwrap();
    old.kubernetes(|kubernetes| kubernetes.add_namespace(NAMESPACE));
    // It has the name that the next one has by now: its own document says whose it is.
    open_discovery(old);
    let kubeconfig = job_kubeconfig(old);
    environment.set("KUBECONFIG", &kubeconfig);
    environment.start();
    let of_old = environment.roles();
    environment.variables = own;
    // Another cluster has its name by now.
    environment.sandbox.aws(|aws| aws.cluster_mut("old").unwrap().issuer = "https://oidc.example.com/id/NEXT".to_owned());

    let refused = environment.run(&["start"]).ended(3);
    assert_eq!(refused.writes, 0);
    assert!(
        refused.err.contains("role `shop-reports` was made by an earlier cluster")
            && refused.err.contains(&format!("`sweep --issuer {OLD}`")),
        "{}",
        refused.err
    );

    // The job may not do it, and is told where it says so.
    let denied = environment.run(&["sweep", "--issuer", OLD]).ended(1);
    assert!(denied.writes == 0 && denied.err.contains("docs/permissions/retire-policy.json"), "{}", denied.err);
    let retire: Value = serde_json::from_str(&read("docs/permissions/retire-policy.json")).unwrap();
    environment = environment
        .with_permissions("docs/permissions/iam-policy.json", &[&[by_arn][..], retire["Statement"].as_array().unwrap()].concat());

    // One that is alive is nobody's to declare dead: that of this cluster, and that of another in the region.
    let alive = environment.sandbox.cluster().issuer().to_owned();
    environment.sandbox.aws(|aws| aws.add_cluster("other", "https://127.0.0.1:1", "", "https://oidc.example.com/id/OTHER"));
    for issuer in [alive.as_str(), "https://oidc.example.com/id/OTHER"] {
        let run = environment.run(&["sweep", "--issuer", issuer, "--provider"]).ended(3);
        assert_eq!(run.writes, 0, "{}", run.err);
        assert!(run.err.contains(issuer), "{}", run.err);
    }
    // Nor where EKS does not say.
    let denied = environment.sandbox.faults().add("eks:ListClusters", When::Always, Fault::error(403, "AccessDenied"));
    assert_eq!(environment.run(&["sweep", "--issuer", OLD]).ended(1).writes, 0);
    environment.sandbox.faults().remove(denied);

    let dry = environment.run(&["sweep", "--issuer", OLD, "--provider", "--dry-run"]).ended(10);
    assert!(dry.writes == 0 && dry.planned().contains(&"delete role `shop-reports`"), "{}", dry.out);
    let kept = environment.run(&["sweep", "--issuer", OLD]).ended(0);
    assert!(kept.out.contains("stays: `--provider` removes it"), "{}", kept.out);
    assert!(environment.sandbox.aws(|aws| aws.providers().len()) == 1 && environment.roles() < of_old);
    environment.run(&["sweep", "--issuer", OLD, "--provider"]).ended(0);
    let (roles, trust, providers) =
        environment.sandbox.aws(|aws| (aws.roles().len(), aws.roles()["by-hand"].trust.clone(), aws.providers().len()));
    assert_eq!((roles, trust, providers), (2, by_hand, 0), "only the role that was made by hand, and that of scope `cluster`");
    let patterned = environment.sandbox.aws(|aws| aws.roles()["patterned"].trust.clone());
    assert!(!patterned.contains("Allow") && !patterned.contains("StringLike"), "{patterned}");
    assert_eq!(environment.run(&["sweep", "--issuer", OLD, "--provider"]).ended(0).writes, 0);
    environment.start();
    assert_eq!(environment.start().writes, 0);
}

#[test]
fn sweep_removes_nothing_where_namespaces_cannot_be_listed() {
    let environment = Environment::new(GIVEN);
    environment.sandbox.aws(by_hand);
    environment.start();
    let clones = namespaces(&environment, 1);
    environment.spawn_in(&clones[0], &["start"]).end().ended(0);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(&clones[0]));
    let denied = environment.sandbox.faults().add("kubernetes:list namespaces", When::Always, Fault::error(403, "Forbidden"));
    let run = environment.run(&["sweep"]).ended(3);
    assert_eq!(run.writes, 0);
    assert!(run.err.contains("nothing is swept: the namespaces of the cluster cannot be listed"), "{}", run.err);
    environment.sandbox.faults().remove(denied);
    assert_eq!(environment.run(&["sweep"]).ended(0).writes, 2);
}

#[test]
fn two_clusters_share_a_role_with_a_statement_each() {
    let setup = Setup {
        second_cluster: Some(("other".to_owned(), "https://oidc.eks.eu-west-3.amazonaws.com/id/OTHER".to_owned())),
        ..Setup::default()
    };
    let mut environment = Environment::with(setup, GIVEN);
    environment.sandbox.aws(by_hand);
    let other_name = environment.sandbox.second_cluster().unwrap().name().to_owned();
    environment.sandbox.second_cluster().unwrap().kubernetes(|kubernetes| kubernetes.add_namespace(NAMESPACE));
    environment.start();
    let own = environment.variables.clone();
    environment.set("QOVERY_KUBERNETES_CLUSTER_NAME", &other_name);
    let kubeconfig = job_kubeconfig(environment.sandbox.second_cluster().unwrap());
    environment.set("KUBECONFIG", &kubeconfig);
    environment.start();
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()["by-hand"].trust).unwrap());
    assert_eq!(trust["Statement"].as_array().unwrap().len(), 3);
    environment.variables = own;
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()["by-hand"].trust).unwrap());
    assert_eq!(trust["Statement"].as_array().unwrap().len(), 2);
    assert!(trust.to_string().contains("/id/OTHER"));
}

#[test]
fn a_document_that_aws_does_not_take_back_is_reported_in_its_words() {
    let environment = Environment::new(GIVEN);
    environment.sandbox.aws(by_hand);
    // The principal of a statement was deleted: IAM shows its id, and does not take it back.
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"}, "Action": "sts:AssumeRole"}]});
    environment.sandbox.aws(|aws| aws.role_mut("by-hand").unwrap().trust = trust.to_string());
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("caused by: MalformedPolicyDocument: "), "{}", run.err);
    assert!(run.err.contains("statement 1 names the deleted principal `AROAEXAMPLEEXAMPLE123`"), "{}", run.err);
    assert!(run.err.contains("hint: remove the statement that names it"), "{}", run.err);
}
