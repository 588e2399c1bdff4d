//! A role by EKS Pod Identity: what a deploy makes, what it finds unchanged, and what proves it.

use std::time::Duration;

use crate::support::{
    environment::Environment,
    fixtures::NAMESPACE,
    pod_identity::{ASSOCIATED, add_agent, add_pod, admit_pod, associations, role_of_pod},
};

#[test]
fn a_deploy_makes_role_association_and_service_account_and_the_next_finds_nothing_to_do() {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    let run = environment.start();
    assert!(run.out.contains("associate ServiceAccount `z1a2b3c4-shop/app` with role"), "{}", run.out);
    assert!(run.out.contains("not proven by a session yet: no pod of ServiceAccount `z1a2b3c4-shop/app` runs"), "{}", run.out);
    let found = associations(&environment);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].namespace.as_str(), found[0].service_account.as_str()), (NAMESPACE, "app"));
    let account = environment.service_account().unwrap();
    assert!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].is_null(), "{account}");
    add_pod(&environment, NAMESPACE, "app", "app-1");
    let run = environment.start();
    assert_eq!(run.writes, 0, "{}", run.out);
    assert!(run.out.contains("proven: "), "{}", run.out);
}

#[test]
fn a_pod_that_starts_right_after_the_deploy_gets_the_role_however_late_eks_shows_the_association() {
    let mut environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    environment.set("IRSA_SETTLE", "3");
    environment.sandbox.aws(|aws| aws.delay_eks(Duration::from_secs(2)));
    environment.start();
    admit_pod(&environment, "app-1");
    let role = environment.role_name();
    let (way, given) = role_of_pod(&environment, "app-1").unwrap();
    assert!(given.ends_with(&format!("/{role}")), "{way}: {given}");
}
