//! A role by EKS Pod Identity: what a deploy makes, what it finds unchanged, and what proves it.

use crate::support::{
    environment::Environment,
    fixtures::NAMESPACE,
    pod_identity::{ASSOCIATED, add_agent, add_pod, associations},
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
