//! What has left the manifest, and a delete that has none: by the real binary.

use std::time::Duration;

use qovery_irsa_sandbox::faults::{Fault, When};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, Run},
    fixtures::{EC2_TRUST, MANIFEST, NAMESPACE, an_hour_passes, by_hand, service_accounts},
};

/// An environment as Qovery runs its job: with an id.
fn environment(manifest: &str) -> Environment {
    let mut environment = Environment::new(manifest);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    environment
}

fn one(service_account: &str, role: &str) -> String {
    format!("{{serviceAccount: {service_account}, role: {role}}}")
}

fn manifest(identities: &[String]) -> String {
    format!("identities: [{}]", identities.join(", "))
}

fn roles(environment: &Environment) -> Vec<String> {
    environment.sandbox.aws(|aws| aws.roles().keys().cloned().collect())
}

/// Lanes run side by side.
fn sorted(mut lines: Vec<&str>) -> Vec<&str> {
    lines.sort_unstable();
    lines
}

fn says(run: &Run, words: &str) {
    assert!(run.out.contains(words), "{words}:\n{}{}", run.out, run.err);
}

#[test]
fn an_identity_that_left_the_manifest_is_dated_named_and_an_hour_later_gone() {
    let admin = "{policies: [arn:aws:iam::aws:policy/AdministratorAccess]}";
    let environment = environment(&manifest(&[one("app", "{}"), one("old", admin)]));
    environment.start();
    assert_eq!((environment.roles(), service_accounts(&environment)), (2, vec!["app".to_owned(), "old".to_owned()]));
    environment.write_manifest(&manifest(&[one("app", "{}")]));
    let planned = environment.run(&["plan"]).ended(10);
    says(&planned, "no identity names it any more");
    let dated = environment.start();
    assert_eq!(sorted(planned.planned()), sorted(dated.done()));
    says(&dated, &format!("ServiceAccount `{NAMESPACE}/old`: no identity names it any more; a deploy after "));
    // Nothing more before the hour is over.
    assert_eq!((environment.start().writes, environment.roles()), (0, 2));
    an_hour_passes(&environment);

    // What a pod still uses stays, and the pod is named.
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.put_object(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "namespace": NAMESPACE},
            "spec": {"serviceAccountName": "old", "containers": [{"name": "main", "image": "x"}]}, "status": {"phase": "Running"},
        }))
    });
    let kept = environment.start();
    says(&kept, "stays: pod `late` still uses it");
    assert_eq!((kept.writes, environment.roles()), (0, 2));
    environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, "late"));
    let planned = environment.run(&["plan"]).ended(10);
    let removed = environment.start();
    assert_eq!(sorted(planned.planned()), sorted(removed.done()));
    assert_eq!((environment.roles(), service_accounts(&environment)), (1, vec!["app".to_owned()]));
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    assert_eq!(roles(&environment), [] as [String; 0]);
}

#[test]
fn an_identity_that_comes_back_in_time_goes_on_as_before() {
    let both = manifest(&[one("app", "{}"), one("old", "{}")]);
    let environment = environment(&both);
    environment.start();
    let before = environment.sandbox.state();
    environment.write_manifest(&manifest(&[one("app", "{}")]));
    environment.start();
    environment.write_manifest(&both);
    environment.start();
    assert_eq!(environment.sandbox.state(), before);
    an_hour_passes(&environment);
    assert_eq!((environment.start().writes, environment.roles()), (0, 2));
}

#[test]
fn the_old_side_of_what_was_renamed_or_pointed_elsewhere_goes() {
    let shared = "{scope: shared, name: together}";
    for (before, after) in [
        (one("old", "{}"), one("new", "{}")),
        (one("app", "{name: first}"), one("app", "{name: second}")),
        (one("app", "{arn: \"arn:aws:iam::123456789012:role/by-hand\"}"), one("app", "{}")),
        (
            one("app", "{arn: \"arn:aws:iam::123456789012:role/by-hand\"}"),
            one("app", "{arn: \"arn:aws:iam::123456789012:role/my-s3-role\"}"),
        ),
        (one("app", shared), one("app", "{}")),
        (one("app", "{}"), one("app", shared)),
    ] {
        let arrange = |environment: &Environment| {
            environment.sandbox.aws(by_hand);
            environment.sandbox.aws(|aws| aws.add_role("my-s3-role", "/", EC2_TRUST));
        };
        let moved = environment(&manifest(std::slice::from_ref(&before)));
        arrange(&moved);
        moved.start();
        moved.write_manifest(&manifest(std::slice::from_ref(&after)));
        moved.start();
        an_hour_passes(&moved);
        moved.start();
        let afresh = environment(&manifest(std::slice::from_ref(&after)));
        arrange(&afresh);
        afresh.start();
        let trusts = |environment: &Environment| -> Vec<(String, Value, Vec<String>)> {
            environment.sandbox.aws(|aws| {
                let of_role = |(name, role): (&String, &qovery_irsa_sandbox::aws::Role)| {
                    (name.clone(), serde_json::from_str(&role.trust).unwrap(), role.tags.keys().cloned().collect())
                };
                aws.roles().iter().map(of_role).collect()
            })
        };
        assert_eq!(trusts(&moved), trusts(&afresh), "{before} to {after}");
        assert_eq!(service_accounts(&moved), service_accounts(&afresh), "{before} to {after}");
        moved.delete();
        afresh.delete();
        assert_eq!(trusts(&moved), trusts(&afresh), "{before} to {after}, deleted");
    }
}

#[test]
fn a_delete_takes_all_whatever_became_of_the_manifest() {
    let two = manifest(&[one("app", "{}"), one("worker", "{scope: shared, name: together}")]);
    for broken in ["identities: [", "identities: 7", "keys: {of: a newer version}\nidentities: [{serviceAccount: app, rule: {}}]", ""] {
        let environment = environment(&two);
        environment.start();
        environment.write_manifest(broken);
        let deleted = environment.delete();
        says(&deleted, "does not matter here: ");
        assert_eq!((roles(&environment).len(), service_accounts(&environment).len()), (0, 0), "{broken}");
    }
    let mut without = environment(&two);
    without.start();
    std::fs::remove_file(&without.variables["IRSA_MANIFEST"]).unwrap();
    without.unset("IRSA_MANIFEST");
    without.delete();
    assert_eq!((roles(&without).len(), service_accounts(&without).len()), (0, 0));
}

#[test]
fn a_role_in_an_instance_profile_is_emptied_left_and_named_until_somebody_takes_it_away() {
    let environment = environment(&manifest(&[one("app", "{policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}")]));
    environment.start();
    environment.change_role(|role| {
        role.instance_profiles.insert("nodes".to_owned());
    });
    let planned = environment.run(&["plan", "delete"]).ended(10);
    assert!(!planned.planned().iter().any(|line| line.starts_with("delete role")), "{}", planned.out);
    let deleted = environment.delete();
    says(&deleted, "it is in instance profile `nodes`");
    assert!(deleted.out.lines().last().unwrap().contains("1 thing left"), "{}", deleted.out);
    environment.change_role(|role| {
        assert!(role.attached.is_empty() && !role.trust.contains("system:serviceaccount") && role.tags.contains_key("qovery-irsa/left"));
    });
    let sweeping = |environment: &Environment| environment.spawn_in("z2-other", &["sweep"]).end().ended(0);
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.add_namespace("z2-other");
        kubernetes.delete_namespace(NAMESPACE);
    });
    says(&sweeping(&environment), "left: role `app-");
    environment.change_role(|role| role.instance_profiles.clear());
    sweeping(&environment);
    assert_eq!(environment.roles(), 0);
}

#[test]
fn a_role_of_another_account_is_named_by_each_deploy_and_by_delete() {
    let environment = environment(&manifest(&[one("app", "{}")]));
    environment.start();
    let mut account = environment.service_account().unwrap();
    let elsewhere = "arn:aws:iam::210987654321:role/by-hand";
    account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] = json!(elsewhere);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    environment.start();
    an_hour_passes(&environment);
    let again = environment.start();
    says(&again, &format!("had role `{elsewhere}` before, which stays as it is: it is in AWS account 210987654321"));
    assert_eq!(again.writes, 0);
    let deleted = environment.delete();
    says(&deleted, &format!("left: role `{elsewhere}`"));
    assert!(deleted.out.lines().last().unwrap().contains("1 thing left"), "{}", deleted.out);
    assert_eq!((environment.roles(), environment.service_account()), (0, None));
}

/// The policy of the job is narrowed as the manifest is, or covers less than the path.
#[test]
fn a_role_that_no_identity_names_and_the_job_may_not_read_fails_neither_deploy_nor_delete() {
    let given = "{arn: \"arn:aws:iam::123456789012:role/by-hand\"}";
    let old = "arn:aws:iam::123456789012:role/qovery/demo/*/old-*";
    for denied in ["iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"] {
        let environment = environment(&manifest(&[one("app", given), one("old", "{}")]));
        environment.sandbox.aws(by_hand);
        environment.start();
        environment.write_manifest(&manifest(&[one("app", "{}")]));
        let deny = |action: &str, role: &str| json!({"Effect": "Deny", "Action": action, "Resource": role});
        let by_hand = "arn:aws:iam::123456789012:role/by-hand";
        let environment =
            environment.with_permissions("docs/permissions/iam-policy.json", &[deny(denied, old), deny("iam:GetRole", by_hand)]);
        environment.start();
        an_hour_passes(&environment);
        let started = environment.start();
        let unread =
            |role: &str| format!("role `{role}`: no identity names it, and it could not be read, so it stays as it is: failed to ");
        assert_eq!(started.out.matches(&unread(by_hand)).count(), 1, "{}", started.out);
        assert_eq!(started.out.matches("no identity names it, and it could not be read").count(), 2, "{}", started.out);
        assert_eq!(environment.roles(), 3);
        let deleted = environment.delete();
        says(&deleted, "left: role `arn:aws:iam::123456789012:role/by-hand`: it could not be read: ");
        says(&deleted, &format!("left: role `arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/old-"));
        assert!(deleted.out.lines().last().unwrap().contains("2 things left"), "{}", deleted.out);
        assert_eq!((environment.roles(), service_accounts(&environment).len()), (2, 0), "{denied}: {}", deleted.out);
    }
}

/// Both have looked before either writes.
#[test]
fn two_jobs_that_make_one_service_account_at_once_both_mark_it() {
    let mut environment = environment(&manifest(&[one("app", "{scope: shared, name: together}")]));
    environment.start();
    environment.delete();
    let rule = environment.sandbox.faults().add("kubernetes:patch serviceaccounts", When::Always, Fault::Latency(Duration::from_secs(2)));
    let one = environment.spawn_in(NAMESPACE, &["start"]);
    environment.set("QOVERY_JOB_ID", "bbbbbbbb-0000-4000-8000-000000000000");
    let other = environment.spawn_in(NAMESPACE, &["start"]);
    one.end().ended(0);
    other.end().ended(0);
    environment.sandbox.faults().remove(rule);
    let account = environment.service_account().unwrap();
    for job in ["1a2b3c4d", "bbbbbbbb"] {
        assert_eq!(account["metadata"]["labels"][format!("qovery-irsa/job-{job}")], "wanted", "{account}");
    }
    says(&environment.delete(), "it has the mark of job `1a2b3c4d`");
    assert_eq!(environment.roles(), 1);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    assert_eq!((environment.roles(), environment.service_account()), (0, None));
}

/// An earlier version wrote no marks, and no tag on the provider.
#[test]
fn an_environment_that_an_earlier_version_made_goes_on_and_goes() {
    let forget = |environment: &Environment| {
        environment.change_role(|role| role.tags.retain(|key, _| !key.starts_with("qovery-irsa/job/")));
        let mut account = environment.service_account().unwrap();
        account["metadata"]["labels"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("qovery-irsa/"));
        environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    };
    let environment = environment(MANIFEST);
    environment.start();
    let made = environment.sandbox.state();
    forget(&environment);
    let marked = environment.start();
    assert_eq!((marked.writes, environment.sandbox.state()), (2, made), "{}", marked.out);
    assert_eq!(environment.start().writes, 0);
    forget(&environment);
    environment.write_manifest("identities: [{serviceAccount: other, role: {}}]");
    says(&environment.start(), "no job's mark is on it, kept");
    environment.delete();
    assert_eq!((environment.roles(), environment.service_account()), (0, None));
}
