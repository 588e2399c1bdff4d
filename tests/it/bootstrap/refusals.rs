//! What `bootstrap` declines to touch, and what it says where the configuration leaves something open. Nothing is changed.

use crate::support::{
    fixtures::EC2_TRUST,
    zone::{BOUNDARY, Laptop, ROLE, ZONE, allowing},
};

#[test]
fn a_role_or_policy_of_somebody_else_is_not_taken_over() {
    let laptop = Laptop::new(ZONE);
    laptop.environment.sandbox.aws(|aws| aws.add_role(ROLE, "/", EC2_TRUST));
    laptop.by_hand("CreatePolicy", &[("PolicyName", "qovery-irsa-demo-boundary"), ("PolicyDocument", &allowing("s3:*"))]);
    let state = laptop.environment.sandbox.state();
    let run = laptop.bootstrap(&[]).ended(3);
    assert!(run.err.contains("refused for 2 reasons"), "{}", run.err);
    assert!(
        run.err.contains("role `arn:aws:iam::123456789012:role/qovery-irsa-demo` exists, and `bootstrap` did not make it"),
        "{}",
        run.err
    );
    assert!(run.err.contains(&format!("policy `{BOUNDARY}` exists, and `bootstrap` did not make it")), "{}", run.err);
    assert!(run.err.contains("hint: give the job's role another name (`cluster.role`)"), "{}", run.err);
    assert_eq!((run.writes, laptop.environment.sandbox.state()), (0, state));
}

#[test]
fn the_role_of_another_cluster_or_region_is_not_taken_over() {
    for (tag, value) in [("qovery-irsa/cluster", "prod"), ("qovery-irsa/region", "us-east-1"), ("qovery-irsa/owner", "demo/app")] {
        let laptop = Laptop::bootstrapped(ZONE);
        laptop.environment.sandbox.aws(|aws| aws.role_mut(ROLE).unwrap().tags.insert(tag.to_owned(), value.to_owned()));
        let run = laptop.bootstrap(&[]).ended(3);
        assert!(run.err.contains("did not make it for this cluster: its tags name cluster `"), "{}", run.err);
        assert_eq!(run.writes, 0, "{tag}");
    }
}

#[test]
fn a_boundary_that_is_named_must_be_there() {
    let laptop = Laptop::new("cluster: {name: demo, namespaces: [z*]}");
    let run = laptop.bootstrap(&["--boundary", "arn:aws:iam::123456789012:policy/qovery-irsa-missing"]).ended(3);
    assert!(run.err.contains("policy `arn:aws:iam::123456789012:policy/qovery-irsa-missing` does not exist"), "{}", run.err);
    assert_eq!(run.writes, 0);
}

#[test]
fn what_is_of_another_account_cannot_be_in_the_zone() {
    for keys in [
        "permissionsBoundary: \"arn:aws:iam::210987654321:policy/b\"",
        "permissionsBoundary: none, roles: [\"arn:aws:iam::210987654321:role/app\"]",
        "permissionsBoundary: none, roles: [\"arn:aws-cn:iam::123456789012:role/app\"]",
        "permissionsBoundary: \"arn:aws-cn:iam::aws:policy/PowerUserAccess\"",
    ] {
        let laptop = Laptop::new(&format!("cluster: {{name: demo, namespaces: [z*], {keys}}}"));
        let run = laptop.bootstrap(&[]).ended(2);
        assert!(run.err.contains("is not of the cluster's account 123456789012"), "{}", run.err);
        assert!(run.err.contains("hint: use an AWS profile of the cluster's account"), "{}", run.err);
        assert_eq!(run.writes, 0);
    }
}

#[test]
fn a_policy_that_iam_would_not_take_is_said_before_anything_is_made() {
    let roles: Vec<String> =
        (0..180).map(|number| format!("\"arn:aws:iam::123456789012:role/made-by-hand-{number:03}-of-the-shop\"")).collect();
    let laptop =
        Laptop::new(&format!("cluster: {{name: demo, namespaces: [z*], permissionsBoundary: none, roles: [{}]}}", roles.join(", ")));
    let run = laptop.bootstrap(&[]).ended(2);
    assert!(run.err.contains("IAM takes 10240 of a role's inline policies together"), "{}", run.err);
    assert_eq!(run.writes, 0);
}

#[test]
fn a_cluster_that_does_not_exist_is_named() {
    let laptop = Laptop::new(ZONE);
    let run = laptop.bootstrap(&["--cluster", "nowhere"]).ended(1);
    assert!(run.err.contains("failed to describe EKS cluster `nowhere`"), "{}", run.err);
    assert_eq!(run.writes, 0);
}

#[test]
fn a_boundary_is_a_choice_that_must_be_made() {
    let laptop = Laptop::new("cluster: {name: demo}");
    let run = laptop.bootstrap(&[]).ended(2);
    assert!(run.err.contains("`--boundary` is not set, nor is `cluster.permissionsBoundary` in the manifest"), "{}", run.err);
    assert!(run.err.contains("`--namespaces` is not set, nor is `cluster.namespaces` in the manifest"), "{}", run.err);
    assert_eq!(laptop.environment.sandbox.witness().calls().len(), 0);
}
