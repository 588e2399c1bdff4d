//! `bootstrap --delete`: takes away what it made, and refuses while anything relies on it.

use crate::support::zone::{BOUNDARY, Laptop, ROLE, ZONE, allowing};

fn with_pods() -> String {
    ZONE.replace("  name: demo", "  name: demo\n  podIdentity: true")
}

#[test]
fn what_was_made_is_taken_away_and_again_there_is_nothing_to_do() {
    let laptop = Laptop::new(&with_pods());
    let before = laptop.environment.sandbox.state();
    laptop.bootstrap(&[]).ended(0);
    laptop.environment.write_manifest(&with_pods().replace("'sqs:*'", "'sns:*'"));
    laptop.bootstrap(&[]).ended(0);
    let dry = laptop.bootstrap(&["--delete", "--dry-run"]).ended(10);
    assert_eq!(dry.writes, 0);
    let run = laptop.bootstrap(&["--delete"]).ended(0);
    let issuer = laptop.environment.issuer();
    assert_eq!(
        run.done(),
        [
            "delete policy `qovery-irsa` of role `qovery-irsa-demo`".to_owned(),
            "delete role `qovery-irsa-demo`".to_owned(),
            format!("delete version v1 of policy `{BOUNDARY}`"),
            format!("delete policy `{BOUNDARY}`"),
            format!("delete OIDC provider `{issuer}`"),
            "delete add-on `eks-pod-identity-agent` of EKS cluster `demo`".to_owned(),
        ]
    );
    assert_eq!(run.done(), dry.planned());
    assert_eq!(laptop.environment.sandbox.state(), before);
    let again = laptop.bootstrap(&["--delete"]).ended(0);
    assert_eq!(again.writes, 0);
    assert!(again.out.contains("nothing to do: what `bootstrap` makes for cluster `demo` is gone"), "{}", again.out);
}

#[test]
fn it_needs_neither_namespaces_nor_a_boundary() {
    let laptop = Laptop::bootstrapped(ZONE);
    laptop.environment.write_manifest("cluster: {name: demo}");
    laptop.bootstrap(&["--delete"]).ended(0);
    assert!(laptop.role().is_none() && laptop.boundary().is_none());
}

#[test]
fn roles_of_the_jobs_keep_it_from_being_deleted() {
    let laptop = Laptop::bootstrapped(ZONE);
    let issuer = laptop.environment.issuer();
    let trust = laptop.role().unwrap().trust;
    laptop.environment.sandbox.aws(|aws| {
        for number in 0..11 {
            aws.add_role(&format!("app-{number:02}"), "/qovery/demo/z1/", r#"{"Statement": []}"#);
        }
        // One that many clusters have together, and one of another cluster.
        aws.add_role("shared", "/qovery/", &trust);
        aws.add_role("other", "/qovery/other/z1/", &trust.replace(&issuer, "oidc.example.com/id/OTHER"));
    });
    let state = laptop.environment.sandbox.state();
    let run = laptop.bootstrap(&["--delete"]).ended(3);
    assert!(
        run.err.contains("12 roles still rely on this cluster: `arn:aws:iam::123456789012:role/qovery/demo/z1/app-00`, "),
        "{}",
        run.err
    );
    assert!(run.err.contains(" and 2 more"), "{}", run.err);
    assert!(!run.err.contains("role/qovery/other/"), "{}", run.err);
    assert!(run.err.contains("hint: delete the environments that use them, then run `sweep`"), "{}", run.err);
    assert_eq!((run.writes, laptop.environment.sandbox.state()), (0, state));
}

#[test]
fn the_zones_of_one_cluster_are_taken_away_one_after_the_other() {
    let other = with_pods().replace("  name: demo", "  name: demo\n  role: qovery-irsa-demo-prod") + "defaults: {path: /prod/}\n";
    let laptop = Laptop::bootstrapped(&with_pods());
    let issuer = laptop.environment.issuer();
    laptop.environment.write_manifest(&other);
    laptop.bootstrap(&[]).ended(0);
    laptop.environment.write_manifest(&with_pods());
    let run = laptop.bootstrap(&["--delete"]).ended(0);
    assert!(!run.done().iter().any(|line| line.contains("OIDC provider") || line.contains("add-on")), "{:?}", run.done());
    let left =
        format!("left: OIDC provider `{issuer}`: 1 role elsewhere may need it: `arn:aws:iam::123456789012:role/qovery-irsa-demo-prod`");
    assert!(run.out.contains(&left), "{}", run.out);
    laptop.environment.write_manifest(&other);
    let last = laptop.bootstrap(&["--delete"]).ended(0);
    assert!(last.done().contains(&format!("delete OIDC provider `{issuer}`").as_str()), "{:?}", last.done());
    assert!(last.done().contains(&"delete add-on `eks-pod-identity-agent` of EKS cluster `demo`"), "{:?}", last.done());
}

#[test]
fn what_others_put_on_the_role_keeps_it_from_being_deleted() {
    let laptop = Laptop::bootstrapped(ZONE);
    laptop.environment.sandbox.aws(|aws| {
        let role = aws.role_mut(ROLE).unwrap();
        role.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned());
        role.inline.insert("by-hand".to_owned(), allowing("s3:*"));
        role.instance_profiles.insert("nodes".to_owned());
    });
    let run = laptop.bootstrap(&["--delete"]).ended(3);
    let what = "it has inline policy `by-hand`, policy `arn:aws:iam::aws:policy/ReadOnlyAccess`, instance profile `nodes`";
    assert!(run.err.contains(what), "{}", run.err);
    assert_eq!(run.writes, 0);
}

#[test]
fn a_boundary_in_use_stays() {
    let laptop = Laptop::bootstrapped(ZONE);
    laptop.environment.sandbox.aws(|aws| {
        aws.add_role("by-hand", "/", crate::support::fixtures::EC2_TRUST);
        aws.role_mut("by-hand").unwrap().boundary = Some(BOUNDARY.to_owned());
    });
    let run = laptop.bootstrap(&["--delete"]).ended(3);
    assert!(run.err.contains(&format!("policy `{BOUNDARY}` cannot be deleted")), "{}", run.err);
    assert_eq!(run.writes, 0);
}

#[test]
fn what_bootstrap_did_not_make_is_left_and_named() {
    let laptop = Laptop::bootstrapped(ZONE);
    laptop.environment.sandbox.aws(|aws| {
        aws.role_mut(ROLE).unwrap().tags.insert("qovery-irsa/cluster".to_owned(), "prod".to_owned());
        let url = aws.providers().values().next().unwrap().url.clone();
        aws.provider_mut(&url).unwrap().tags.clear();
    });
    let run = laptop.bootstrap(&["--delete"]).ended(0);
    assert_eq!(run.done(), [format!("delete policy `{BOUNDARY}`")]);
    assert!(run.out.contains("left: role `arn:aws:iam::123456789012:role/qovery-irsa-demo`: `bootstrap` did not make it"), "{}", run.out);
    assert!(run.out.contains("left: OIDC provider `"), "{}", run.out);
}
