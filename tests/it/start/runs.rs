//! From empty to made, again, drift of each field, delete, delete again.

use qovery_irsa_sandbox::{
    aws::Role,
    faults::{Fault, When},
};
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{GIVEN, MANIFEST, NAMESPACE, by_hand},
};

#[test]
fn an_empty_account_gets_everything_and_a_second_start_writes_nothing() {
    let environment = Environment::new(MANIFEST);
    let first = environment.start();
    assert_eq!((first.done().len(), first.writes), (5, 5));
    let made = environment.sandbox.state();
    let second = environment.start();
    assert_eq!(second.writes, 0);
    assert!(second.out.lines().last().unwrap().starts_with("nothing to do: 1 identity in place"), "{}", second.out);
    assert_eq!(environment.sandbox.state(), made);

    let role = environment.sandbox.aws(|aws| aws.roles()[&first_role(aws)].clone());
    assert_eq!((role.path.as_str(), role.max_session_duration), (format!("/qovery/demo/{NAMESPACE}/").as_str(), 7200));
    assert_eq!(role.boundary.as_deref(), Some("arn:aws:iam::aws:policy/PowerUserAccess"));
    assert_eq!(role.tags["team"], "platform");
    assert_eq!(role.tags["qovery-irsa/owner"], format!("{NAMESPACE}/app"));
    assert!(role.inline["own-bucket"].contains("app-e1/*"));
    let account = environment.service_account().unwrap();
    assert_eq!(
        account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"],
        json!(format!("arn:aws:iam::123456789012:role{}{}", role.path, role.name))
    );
    assert_eq!((&account["metadata"]["labels"]["tier"], &account["automountServiceAccountToken"]), (&json!("backend"), &json!(false)));
}

fn first_role(aws: &qovery_irsa_sandbox::aws::Aws) -> String {
    aws.roles().keys().next().unwrap().clone()
}

#[test]
fn a_pod_of_the_service_account_gets_the_role_and_another_does_not() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let subjects = ["app", "other"].map(|name| format!("system:serviceaccount:{NAMESPACE}:{name}"));
    let issuer = environment.issuer();
    let trust = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().trust.clone());
    let provider = format!("arn:aws:iam::123456789012:oidc-provider/{issuer}");
    let document: Value = serde_json::from_str(&trust).unwrap();
    let assume = |audience| qovery_irsa_sandbox::aws::evaluate::who_may_assume(&document, &provider, &issuer, audience, &subjects);
    assert_eq!(assume("sts.amazonaws.com"), [subjects[0].clone()]);
    assert_eq!(assume("somebody-else"), [] as [String; 0]);
}

type Change = fn(&mut Role);

#[test]
fn drift_of_each_field_is_repaired_by_one_write() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let made = environment.sandbox.state();
    let role_changes: Vec<(&str, Change)> = vec![
        ("description", |role| role.description = Some("by hand".to_owned())),
        ("session", |role| role.max_session_duration = 3600),
        ("boundary", |role| role.boundary = None),
        ("tag", |role| drop(role.tags.insert("team".to_owned(), "other".to_owned()))),
        ("attached", |role| role.attached.clear()),
        ("inline", |role| {
            drop(role.inline.insert(
                "own-bucket".to_owned(),
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#.to_owned(),
            ));
        }),
        ("inline gone", |role| role.inline.clear()),
        ("trust widened", |role| role.trust = role.trust.replace("StringEquals", "StringLike").replace(NAMESPACE, "*")),
        ("principal of the own statement", |role| {
            let mut trust: Value = serde_json::from_str(&role.trust).unwrap();
            trust["Statement"][0]["Principal"] = json!({"AWS": "arn:aws:iam::123456789012:root"});
            role.trust = trust.to_string();
        }),
        ("trust without audience", |role| {
            let mut trust: Value = serde_json::from_str(&role.trust).unwrap();
            let condition = trust["Statement"][0]["Condition"]["StringEquals"].as_object_mut().unwrap();
            condition.retain(|key, _| !key.ends_with(":aud"));
            role.trust = trust.to_string();
        }),
    ];
    for (name, change) in role_changes {
        environment.change_role(change);
        assert_ne!(environment.sandbox.state(), made, "{name}");
        let run = environment.start();
        assert_eq!((run.writes, run.done().len()), (1, 1), "{name}: {}", run.out);
        assert_eq!(environment.sandbox.state(), made, "{name}");
    }
}

#[test]
fn drift_of_provider_and_service_account_is_repaired() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let made = environment.sandbox.state();
    let issuer = environment.issuer();
    environment.sandbox.aws(|aws| aws.provider_mut(&issuer).unwrap().client_ids = vec!["other".to_owned()]);
    assert_eq!(environment.start().done(), [format!("add audience `sts.amazonaws.com` to OIDC provider `{issuer}`")]);
    environment.sandbox.aws(|aws| aws.provider_mut(&issuer).unwrap().client_ids.retain(|id| id != "other"));
    assert_eq!(environment.sandbox.state(), made);

    let mut account = environment.service_account().unwrap();
    account["metadata"]["annotations"].as_object_mut().unwrap().remove("eks.amazonaws.com/role-arn");
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    assert_eq!(environment.start().writes, 1);
    assert_eq!(environment.sandbox.state(), made);
}

#[test]
fn an_equivalent_form_of_what_was_written_is_no_drift() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.sandbox.aws(|aws| aws.show_equivalent_documents(true));
    assert_eq!(environment.start().writes, 0);
}

#[test]
fn what_others_put_on_the_role_stays_through_starts_and_keeps_the_role_at_the_delete() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.change_role(|role| {
        role.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned());
        role.tags.insert("theirs".to_owned(), "kept".to_owned());
    });
    let run = environment.start();
    assert_eq!(run.writes, 0);
    assert!(
        run.out.contains("note: role `app-z1a2b3c4-shop-")
            && run.out.contains("`arn:aws:iam::aws:policy/ReadOnlyAccess` was attached by somebody else, kept"),
        "{}",
        run.out
    );
    let deleted = environment.delete();
    let left = deleted.out.lines().find(|line| line.starts_with("left: role `")).unwrap_or_else(|| panic!("{}", deleted.out));
    assert!(left.contains("`arn:aws:iam::aws:policy/ReadOnlyAccess` was attached by somebody else"), "{left}");
    let role = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().clone());
    assert_eq!(role.attached.iter().collect::<Vec<_>>(), ["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
    assert!(!role.trust.contains("system:serviceaccount") && role.tags.contains_key("qovery-irsa/left"), "{role:?}");
    assert_eq!((role.tags["theirs"].as_str(), environment.service_account()), ("kept", None));
    assert_eq!(environment.delete().writes, 0, "it is nobody's to remove");
}

#[test]
fn a_manifest_that_asks_for_less_takes_away_what_the_tool_put_there_and_nothing_else() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.change_role(|role| drop(role.tags.insert("theirs".to_owned(), "kept".to_owned())));
    environment.write_manifest("identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/AmazonSQSFullAccess]}}]");
    environment.start();
    let role = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().clone());
    assert_eq!(role.attached.iter().collect::<Vec<_>>(), ["arn:aws:iam::aws:policy/AmazonSQSFullAccess"]);
    assert!(role.inline.is_empty() && role.boundary.is_none() && !role.tags.contains_key("team"));
    assert_eq!(role.tags["theirs"], "kept");
    assert_eq!(environment.start().writes, 0);
    let account = environment.service_account().unwrap();
    assert!(account["metadata"]["labels"].get("tier").is_none() && account.get("automountServiceAccountToken").is_none_or(Value::is_null));
}

#[test]
fn delete_takes_away_what_start_added_and_again_finds_nothing() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.delete();
    assert_eq!((environment.roles(), environment.service_account()), (0, None));
    assert_eq!(environment.sandbox.aws(|aws| aws.providers().len()), 1, "the provider stays");
    let again = environment.delete();
    assert_eq!(again.writes, 0);
    assert!(again.out.lines().last().unwrap().starts_with("nothing to do: nothing of this environment is there"), "{}", again.out);
}

#[test]
fn delete_of_an_environment_that_never_was_or_whose_namespace_is_gone_succeeds() {
    let environment = Environment::new(MANIFEST);
    assert_eq!(environment.delete().writes, 0);
    environment.start();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(NAMESPACE));
    environment.delete();
    assert_eq!(environment.roles(), 0);
}

#[test]
fn the_plan_is_what_start_then_does_action_by_action() {
    for manifest in [MANIFEST, GIVEN] {
        let environment = Environment::new(manifest);
        environment.sandbox.aws(by_hand);
        let planned = environment.run(&["plan"]).ended(10);
        assert_eq!(planned.writes, 0);
        let started = environment.start();
        assert_eq!(planned.planned(), started.done());
        assert_eq!(started.planned(), started.done());
        assert_eq!(environment.run(&["plan"]).ended(0).writes, 0);
        let planned = environment.run(&["plan", "delete"]).ended(10);
        assert_eq!(planned.planned(), environment.delete().done());
        assert_eq!(environment.run(&["plan", "delete"]).ended(0).writes, 0);
    }
}

#[test]
fn a_given_role_keeps_all_but_the_environments_own_subject() {
    let environment = Environment::new(GIVEN);
    environment.sandbox.aws(by_hand);
    let before = environment.sandbox.aws(|aws| aws.roles()["by-hand"].clone());
    environment.start();
    assert_eq!(environment.start().writes, 0);
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()["by-hand"].trust).unwrap());
    assert_eq!(trust["Statement"].as_array().unwrap().len(), 2);
    environment.delete();
    let after = environment.sandbox.aws(|aws| aws.roles()["by-hand"].clone());
    assert_eq!((after.tags, after.attached), (before.tags, before.attached));
    assert_eq!(serde_json::from_str::<Value>(&after.trust).unwrap(), serde_json::from_str::<Value>(&before.trust).unwrap());
}

#[test]
fn several_identities_are_made_side_by_side() {
    let identities: Vec<String> = (0..5)
        .map(|number| format!("  - {{serviceAccount: app-{number}, role: {{policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}}}"))
        .collect();
    let environment = Environment::new(&format!("identities:\n{}\n", identities.join("\n")));
    let run = environment.start();
    assert_eq!(run.done().len(), 1 + 5 * 3);
    assert_eq!(environment.start().writes, 0);
    assert_eq!(environment.outputs().as_object().unwrap().len(), 15);
    environment.delete();
    assert_eq!(environment.roles(), 0);
}

#[test]
fn one_identity_needs_no_manifest() {
    let mut environment = Environment::new("");
    environment
        .without_manifest(&[("SERVICE_ACCOUNT_NAME", "app"), ("IRSA_POLICY_ARNS", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")]);
    assert_eq!(environment.start().done().len(), 4);
    environment.delete();
    // As for the first script for this: an existing role, in `AWS_ROLE_ARN`.
    environment.sandbox.aws(by_hand);
    environment.unset("IRSA_POLICY_ARNS");
    environment.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/by-hand");
    environment.start();
    let account = environment.service_account().unwrap();
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], "arn:aws:iam::123456789012:role/by-hand");
}

#[test]
fn clones_that_start_and_delete_at_the_same_time_do_not_touch_each_other() {
    let environment = Environment::new(MANIFEST);
    let clones: Vec<String> = (0..6).map(|number| format!("z{number}-clone")).collect();
    environment.sandbox.kubernetes(|kubernetes| clones.iter().for_each(|clone| kubernetes.add_namespace(clone)));
    for command in ["start", "delete"] {
        let running: Vec<_> = clones.iter().map(|clone| environment.spawn_in(clone, &[command])).collect();
        for run in running {
            run.end().ended(0);
        }
        assert_eq!(environment.roles(), if command == "start" { clones.len() } else { 0 });
    }
}

#[test]
fn a_missing_policy_that_is_named_like_the_role_is_not_waited_for() {
    let environment =
        Environment::new("identities: [{serviceAccount: app, role: {name: app, policies: [\"arn:aws:iam::123456789012:policy/app\"]}}]");
    let started = std::time::Instant::now();
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("caused by: NoSuchEntity: "), "{}", run.err);
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_service_account_that_goes_while_the_tool_lets_go_of_it_is_not_made_again() {
    let environment = Environment::new(MANIFEST);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": NAMESPACE}});
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    environment.start();
    let slow = Fault::Latency(std::time::Duration::from_millis(800));
    environment.sandbox.faults().add("kubernetes:patch serviceaccounts", When::Always, slow);
    let mark = environment.sandbox.witness().mark();
    let child = environment.spawn_in(NAMESPACE, &["delete"]);
    while !environment.sandbox.witness().since(mark).iter().any(|call| call.operation == "kubernetes:patch serviceaccounts") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.delete_namespace(NAMESPACE);
        kubernetes.add_namespace(NAMESPACE);
    });
    child.end().ended(0);
    assert_eq!(environment.service_account(), None);
}

/// As ROSA and ccoctl do not.
#[test]
fn the_trust_policy_of_a_role_that_exists_is_updated() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.write_manifest(
        &MANIFEST.replace("maxSessionDuration: 2h", "maxSessionDuration: 2h\n      extraSubjects: [kube-system/keda-operator]"),
    );
    let run = environment.start();
    assert_eq!(
        run.done(),
        [format!("update the trust policy of role `{}`: trust `system:serviceaccount:kube-system:keda-operator`", environment.role_name())]
    );
    let trust = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().trust.clone());
    assert!(trust.contains("system:serviceaccount:kube-system:keda-operator"), "{trust}");
}

/// As eksctl does not.
#[test]
fn a_service_account_that_went_with_its_namespace_is_made_again() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let made = environment.sandbox.state();
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.delete_namespace(NAMESPACE);
        kubernetes.add_namespace(NAMESPACE);
    });
    environment.start();
    assert_eq!(environment.sandbox.state(), made);
}

/// As ccoctl and ROSA do not: they cut names at 64 characters.
#[test]
fn two_long_namespaces_that_share_sixty_characters_get_different_roles() {
    let mut environment = Environment::new(MANIFEST);
    let shared = "z".repeat(60);
    for namespace in [format!("{shared}aaa"), format!("{shared}bbb")] {
        environment.sandbox.kubernetes(|kubernetes| kubernetes.add_namespace(&namespace));
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", &namespace);
        environment.start();
        assert_eq!(environment.start().writes, 0);
    }
    assert_eq!(environment.roles(), 2);
    assert!(environment.sandbox.aws(|aws| aws.roles().keys().all(|name| name.len() <= 64)));
}

/// As kops does not: it untags all and tags again.
#[test]
fn a_change_of_tags_never_loses_tags_of_others() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    environment.change_role(|role| drop(role.tags.insert("theirs".to_owned(), "kept".to_owned())));
    environment.write_manifest(&MANIFEST.replace("{team: platform}", "{cost: low}"));
    let mark = environment.sandbox.witness().mark();
    environment.start();
    let untagged: Vec<Value> = environment
        .sandbox
        .witness()
        .since(mark)
        .into_iter()
        .filter(|call| call.operation == "iam:UntagRole")
        .map(|call| call.parameters)
        .collect();
    assert_eq!(untagged.len(), 1);
    assert!(!untagged[0].to_string().contains("theirs"), "{untagged:?}");
    let tags = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().tags.clone());
    assert_eq!((tags["theirs"].as_str(), tags["cost"].as_str(), tags.contains_key("team")), ("kept", "low", false));
}

/// As iam-manager, irsa-manager, Voodoo, ccoctl, ROSA and kops do not.
#[test]
fn the_audience_is_always_checked() {
    let environment =
        Environment::new(&MANIFEST.replace("- serviceAccount: app\n", "- serviceAccount: app\n    audience: vault.example.com\n"));
    environment.guard("audiences", "['vault.example.com']");
    environment.start();
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles().values().next().unwrap().trust).unwrap());
    let issuer = environment.issuer();
    assert_eq!(trust["Statement"][0]["Condition"]["StringEquals"][format!("{issuer}:aud")], "vault.example.com");
    let account = environment.service_account().unwrap();
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/audience"], "vault.example.com");
    assert_eq!(environment.sandbox.aws(|aws| aws.providers()[&issuer].client_ids.clone()), ["vault.example.com"]);
}
