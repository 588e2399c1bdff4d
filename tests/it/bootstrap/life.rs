//! `bootstrap` from an empty account to a trust zone, again, and each difference.

use std::collections::BTreeSet;

use qovery_irsa_sandbox::Setup;
use serde_json::{Value, json};

use crate::support::{
    repository::{actions, read},
    zone::{BOUNDARY, Laptop, ROLE, ZONE, allowing},
};

fn with_pods(manifest: &str) -> String {
    manifest.replace("  name: demo", "  name: demo\n  podIdentity: true")
}

#[test]
fn an_empty_account_becomes_a_trust_zone_and_again_changes_nothing() {
    let laptop = Laptop::new(&with_pods(ZONE));
    let dry = laptop.bootstrap(&["--dry-run"]).ended(10);
    assert_eq!(dry.writes, 0);
    let first = laptop.bootstrap(&[]).ended(0);
    let issuer = laptop.environment.issuer();
    assert_eq!(
        first.done(),
        [
            format!("create OIDC provider `{issuer}` with audience `sts.amazonaws.com`"),
            format!("create policy `{BOUNDARY}`, the permissions boundary"),
            "create role `arn:aws:iam::123456789012:role/qovery-irsa-demo`".to_owned(),
            "put policy `qovery-irsa` on role `qovery-irsa-demo`".to_owned(),
            "create add-on `eks-pod-identity-agent` of EKS cluster `demo`".to_owned(),
        ]
    );
    let planned: Vec<&str> = dry.planned().into_iter().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(first.done(), planned);
    let next = format!(
        "next: qovery-irsa install --environment ENVIRONMENT_ID --role arn:aws:iam::123456789012:role/{ROLE} --boundary {BOUNDARY} --deploy\n"
    );
    assert!(first.out.contains(&next), "{}", first.out);
    assert_eq!(laptop.subjects(), "system:serviceaccount:z*:qovery-irsa");
    let role = laptop.role().unwrap();
    let expected =
        [("qovery-irsa/cluster", "demo"), ("qovery-irsa/owner", "bootstrap"), ("qovery-irsa/region", "eu-west-3"), ("team", "platform")];
    assert_eq!(role.tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert!(laptop.environment.sandbox.aws(|aws| aws.providers().values().all(|provider| provider.tags == role.tags)));

    let state = laptop.environment.sandbox.state();
    let again = laptop.bootstrap(&[]).ended(0);
    assert_eq!(again.writes, 0);
    assert!(again.out.contains("nothing to do: what `bootstrap` makes for cluster `demo` is in place") && again.out.contains(&next));
    assert_eq!(laptop.bootstrap(&["--dry-run"]).ended(0).writes, 0);
    assert_eq!(laptop.environment.sandbox.state(), state);
}

#[test]
fn a_document_says_plan_differences_and_next_step() {
    let laptop = Laptop::new(ZONE);
    let document = laptop.bootstrap(&["--dry-run", "--format", "json"]).ended(10).json();
    assert_eq!((&document["command"], &document["outcome"], &document["exit_code"]), (&json!("bootstrap"), &json!("to do"), &json!(10)));
    let policy = &document["plan"][1];
    assert_eq!(policy["call"], "iam:CreatePolicy");
    assert_eq!(policy["details"], json!([r#"+ {"Action":["s3:*","sqs:*"],"Effect":"Allow","Resource":"*"}"#]));
    assert_eq!(document["next"], Value::Null, "a dry run has made nothing that could be used");
    let document = laptop.bootstrap(&["--format", "json"]).ended(0).json();
    assert!(document["next"].as_str().unwrap().starts_with("qovery-irsa install "));
}

#[test]
fn flags_alone_say_it_without_a_manifest() {
    let laptop = Laptop::new("");
    std::fs::remove_file(&laptop.variables["IRSA_MANIFEST"]).unwrap();
    let mut variables = laptop.variables.clone();
    variables.remove("IRSA_MANIFEST");
    std::fs::write(laptop.environment.sandbox.files().join("boundary.json"), allowing("s3:*")).unwrap();
    let flags = ["bootstrap", "--cluster", "demo", "--namespaces", "z1-*,z2-*", "--boundary", "boundary.json"];
    laptop.environment.run_with(&flags, &variables).ended(0);
    assert_eq!(laptop.subjects(), json!(["system:serviceaccount:z1-*:qovery-irsa", "system:serviceaccount:z2-*:qovery-irsa"]));
    assert_eq!(laptop.boundary().unwrap()["Statement"][0]["Action"], "s3:*");
}

#[test]
fn each_difference_is_one_action_and_then_there_is_none() {
    let laptop = Laptop::bootstrapped(ZONE);
    let role = ROLE;
    let change = |change: &dyn Fn()| {
        change();
        let run = laptop.bootstrap(&[]).ended(0);
        assert_eq!(laptop.bootstrap(&[]).ended(0).writes, 0);
        run.done().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let of_role = |change: &dyn Fn(&mut qovery_irsa_sandbox::aws::Role)| {
        laptop.environment.sandbox.aws(|aws| change(aws.role_mut(role).unwrap()));
    };
    assert_eq!(
        change(&|| of_role(&|role| role.description = Some("by hand".to_owned()))),
        ["change the description of role `qovery-irsa-demo`"]
    );
    assert_eq!(change(&|| of_role(&|role| drop(role.tags.remove("team")))), ["tag role `qovery-irsa-demo`: `team` = `platform`"]);
    let wider = allowing("iam:*");
    assert_eq!(
        change(&|| of_role(&|role| drop(role.inline.insert("qovery-irsa".to_owned(), wider.clone())))),
        ["change policy `qovery-irsa` of role `qovery-irsa-demo`"]
    );
    assert_eq!(change(&|| of_role(&|role| role.inline.clear())), ["put policy `qovery-irsa` on role `qovery-irsa-demo`"]);
    assert_eq!(
        change(&|| of_role(&|role| role.trust = role.trust.replace(":z*:", ":*:"))),
        ["narrow the trust policy of role `qovery-irsa-demo`"]
    );
    assert_eq!(
        change(&|| of_role(&|role| role.trust = role.trust.replace(":z*:", ":z1:"))),
        ["change the trust policy of role `qovery-irsa-demo`"]
    );
    let clients = |laptop: &Laptop| {
        laptop.environment.sandbox.aws(|aws| {
            let url = aws.providers().values().next().unwrap().url.clone();
            aws.provider_mut(&url).unwrap().client_ids.retain(|id| id == "another");
            aws.provider_mut(&url).unwrap().client_ids.push("another".to_owned());
        });
    };
    let issuer = laptop.environment.issuer();
    assert_eq!(change(&|| clients(&laptop)), [format!("add audience `sts.amazonaws.com` to OIDC provider `{issuer}`")]);
    assert_eq!(
        change(&|| laptop.environment.write_manifest(&ZONE.replace("'sqs:*'", "'sns:*'"))),
        [format!("change policy `{BOUNDARY}`, the permissions boundary, by a new version")]
    );
    assert_eq!(laptop.boundary().unwrap()["Statement"][0]["Action"], json!(["s3:*", "sns:*"]));
    laptop.by_hand("UntagPolicy", &[("PolicyArn", BOUNDARY), ("TagKeys.member.1", "team")]);
    assert_eq!(change(&|| {}), [format!("tag policy `{BOUNDARY}`: `team` = `platform`")]);
}

#[test]
fn a_changed_document_shows_what_goes_and_what_comes() {
    let laptop = Laptop::bootstrapped(ZONE);
    laptop.environment.write_manifest(&ZONE.replace("'sqs:*'", "'sns:*'").replace("[z*]", "[z1-*, y*]"));
    let run = laptop.bootstrap(&["--dry-run"]).ended(10);
    let document = |actions: &str| format!(r#"{{"Action":["s3:*","{actions}"],"Effect":"Allow","Resource":"*"}}"#);
    assert!(run.out.contains(&format!("    - {}\n    + {}\n", document("sqs:*"), document("sns:*"))), "{}", run.out);
    let trust: Vec<&str> = run.planned().into_iter().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        trust,
        [
            "narrow the trust policy of role `qovery-irsa-demo`",
            &format!("change policy `{BOUNDARY}`, the permissions boundary, by a new version"),
            "change the trust policy of role `qovery-irsa-demo`",
        ]
    );
    let narrow = run.out.split("narrow the trust").nth(1).unwrap();
    assert!(narrow.lines().nth(2).unwrap().contains(":z1-*:qovery-irsa\""), "{narrow}");
    laptop.bootstrap(&[]).ended(0);
    assert_eq!(laptop.subjects(), json!(["system:serviceaccount:y*:qovery-irsa", "system:serviceaccount:z1-*:qovery-irsa"]));
}

#[test]
fn the_oldest_version_of_the_boundary_makes_room_for_the_sixth() {
    let laptop = Laptop::bootstrapped(ZONE);
    for number in 2..=8 {
        laptop.environment.write_manifest(&ZONE.replace("'sqs:*'", &format!("'sns:{number}'")));
        let run = laptop.bootstrap(&[]).ended(0);
        let pruned: Vec<&str> = run.done().into_iter().filter(|action| action.starts_with("delete version")).collect();
        let expected: Vec<String> =
            (number > 5).then(|| format!("delete version v{} of policy `{BOUNDARY}`", number - 5)).into_iter().collect();
        assert_eq!(pruned, expected, "{number}");
        assert_eq!(laptop.boundary().unwrap()["Statement"][0]["Action"], json!(["s3:*", format!("sns:{number}")]));
    }
}

#[test]
fn foreign_statements_and_policies_of_the_role_stay_and_are_named() {
    let laptop = Laptop::bootstrapped(ZONE);
    laptop.environment.sandbox.aws(|aws| {
        let role = aws.role_mut(ROLE).unwrap();
        let mut trust: Value = serde_json::from_str(&role.trust).unwrap();
        let ec2 = json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"});
        trust["Statement"].as_array_mut().unwrap().push(ec2);
        role.trust = trust.to_string();
        role.inline.insert("by-hand".to_owned(), allowing("s3:*"));
        role.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned());
    });
    let state = laptop.environment.sandbox.state();
    let run = laptop.bootstrap(&[]).ended(0);
    for note in [
        "note: 1 statement of the trust policy of role `qovery-irsa-demo` stays as it is",
        "note: inline policy `by-hand` of role `qovery-irsa-demo` stays as it is",
        "note: policy `arn:aws:iam::aws:policy/ReadOnlyAccess` stays attached to role `qovery-irsa-demo`",
    ] {
        assert!(run.out.contains(note), "{note} in {}", run.out);
    }
    assert_eq!((run.writes, laptop.environment.sandbox.state()), (0, state));
    // They stay where the trust changes, too.
    laptop.environment.write_manifest(&ZONE.replace("[z*]", "[z1-*]"));
    laptop.bootstrap(&[]).ended(0);
    assert!(laptop.role().unwrap().trust.contains("ec2.amazonaws.com"));
}

#[test]
fn a_provider_of_somebody_else_is_used_as_it_is() {
    let laptop = Laptop::new(ZONE);
    let url = laptop.environment.sandbox.cluster().issuer().to_owned();
    laptop.by_hand("CreateOpenIDConnectProvider", &[("Url", &url), ("ClientIDList.member.1", "sts.amazonaws.com")]);
    let provider = laptop.environment.sandbox.aws(|aws| aws.providers().values().next().cloned().unwrap());
    let run = laptop.bootstrap(&[]).ended(0);
    assert!(!run.done().iter().any(|action| action.contains("OIDC provider")), "{:?}", run.done());
    let now = laptop.environment.sandbox.aws(|aws| aws.providers().values().next().cloned().unwrap());
    assert_eq!((now.tags, now.thumbprints, now.client_ids), (provider.tags, provider.thumbprints, provider.client_ids));
}

#[test]
fn without_a_boundary_a_note_says_what_that_means() {
    let manifest = "cluster: {name: demo, namespaces: [z*], permissionsBoundary: none}";
    let laptop = Laptop::new(manifest);
    let run = laptop.bootstrap(&[]).ended(0);
    assert!(run.out.contains("note: the jobs may give roles any permission"), "{}", run.out);
    assert!(run.out.contains(&format!("--role arn:aws:iam::123456789012:role/{ROLE} --deploy\n")), "{}", run.out);
    assert!(!laptop.permissions().to_string().contains("iam:PermissionsBoundary"));
}

#[test]
fn other_partitions_are_their_own() {
    let setup = Setup { partition: "aws-us-gov".to_owned(), ..Setup::default() };
    let laptop = Laptop::with(setup, ZONE);
    laptop.bootstrap(&[]).ended(0);
    assert!(!laptop.permissions().to_string().contains("arn:aws:"), "{}", laptop.permissions());
    assert!(laptop.permissions().to_string().contains("arn:aws-us-gov:eks:eu-west-3:123456789012:cluster/demo"));
}

#[test]
fn the_published_policy_of_the_administrator_is_enough_and_nothing_in_it_is_idle() {
    let laptop = Laptop::bootstrapped(&with_pods(ZONE));
    laptop.environment.sandbox.aws(|aws| {
        let url = aws.providers().values().next().unwrap().url.clone();
        aws.provider_mut(&url).unwrap().client_ids = vec!["another".to_owned()];
        let role = aws.role_mut(ROLE).unwrap();
        role.description = None;
        role.tags.remove("team");
        role.trust = role.trust.replace(":z*:", ":z1:");
    });
    laptop.by_hand("UntagPolicy", &[("PolicyArn", BOUNDARY), ("TagKeys.member.1", "team")]);
    for number in 0..5 {
        laptop.environment.write_manifest(&with_pods(&ZONE.replace("'sqs:*'", &format!("'sns:{number}'"))));
        laptop.bootstrap(&[]).ended(0);
    }
    laptop.bootstrap(&["--delete"]).ended(0);
    let used: BTreeSet<String> = laptop.environment.sandbox.witness().operations().into_iter().collect();
    let policy: Value = serde_json::from_str(&read("docs/permissions/bootstrap-policy.json")).unwrap();
    // What is made is tagged in the call that makes it, which AWS permits by an action of its own.
    let beside = ["iam:TagOpenIDConnectProvider", "eks:TagResource"];
    let idle: Vec<String> = actions(&policy).difference(&used).filter(|action| !beside.contains(&action.as_str())).cloned().collect();
    assert_eq!(idle, [] as [String; 0]);
}

#[test]
fn a_project_shows_a_narrower_pattern_or_names_it_where_none_is_given() {
    let mut laptop = Laptop::new(ZONE);
    let (first, project) = laptop.environment.sandbox.qovery(|qovery| {
        let first = qovery.add_environment("shop", "z1a2b3c4-shop");
        qovery.add_environment("staging", "z1a2b3c4-staging");
        (first, qovery.project().to_owned())
    });
    laptop.variables.insert("QOVERY_API_TOKEN".to_owned(), qovery_irsa_sandbox::qovery::TOKEN.to_owned());
    let asking = ["--project", project.as_str()];
    let run = laptop.bootstrap(&[&asking[..], &["--dry-run"]].concat()).ended(10);
    assert!(
        run.out.starts_with(&format!("note: all 2 namespaces of project `{project}` begin alike: `namespaces: [z1a2b3c4-*]`")),
        "{}",
        run.out
    );

    laptop.environment.write_manifest(&ZONE.replace("  namespaces: [z*]\n", ""));
    let run = laptop.bootstrap(&asking).ended(2);
    assert!(run.err.contains("no namespaces are given: write `namespaces: [z1a2b3c4-*]` below `cluster:`"), "{}", run.err);
    assert_eq!(run.writes, 0);
    laptop.bootstrap(&[&asking[..], &["--namespaces", "z1a2b3c4-*"]].concat()).ended(0);
    assert_eq!(laptop.subjects(), "system:serviceaccount:z1a2b3c4-*:qovery-irsa");
    // What is no project is said as Qovery says it.
    let run = laptop.bootstrap(&["--project", &first, "--namespaces", "z*"]).ended(1);
    assert!(run.err.contains("failed to list the environments of the project"), "{}", run.err);
}
