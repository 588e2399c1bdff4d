//! What EKS answers to writes of associations: what passes is waited for, what does not has its hint.

use std::time::Duration;

use qovery_irsa_sandbox::faults::{Fault, When};
use serde_json::Value;

use crate::support::{
    environment::Environment,
    fixtures::NAMESPACE,
    pod_identity::{ASSOCIATED, add_agent, associations},
    repository::read,
};

fn environment() -> Environment {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    environment
}

/// As AWS says it.
fn says(status: u16, code: &str, message: &str) -> Fault {
    Fault::Error { status, code: code.to_owned(), message: message.to_owned() }
}

#[test]
fn a_role_that_eks_does_not_see_yet_is_waited_for() {
    let environment = environment();
    environment.sandbox.aws(|aws| aws.delay_eks(Duration::from_secs(2)));
    let run = environment.start();
    assert_eq!(run.done().iter().filter(|action| action.starts_with("associate ")).count(), 1, "{}", run.out);
    assert!(environment.sandbox.witness().count("eks:CreatePodIdentityAssociation") > 1);
}

/// The run that made the role was killed; the next sees it, and EKS does not yet.
#[test]
fn a_role_of_an_earlier_run_that_eks_does_not_see_is_given_the_settle_time() {
    for (message, hint) in [
        ("Role provided in the request does not exist.", "EKS does not see the role: check its ARN in the manifest"),
        ("Trust policy of role is invalid.", "EKS does not see that the role trusts `pods.eks.amazonaws.com`"),
    ] {
        let environment = environment();
        let create = "eks:CreatePodIdentityAssociation";
        let denied = environment.sandbox.faults().add(create, When::Always, Fault::denied(create));
        environment.run(&["start"]).ended(1);
        environment.sandbox.faults().remove(denied);
        let once = environment.sandbox.faults().add(create, When::Nth(1), says(400, "InvalidParameterException", message));
        environment.start();
        assert_eq!(associations(&environment).len(), 1);
        environment.sandbox.faults().remove(once);
        let name = environment.sandbox.cluster().name().to_owned();
        environment.sandbox.aws(|aws| aws.cluster_mut(&name).unwrap().associations.clear());
        environment.sandbox.faults().add(create, When::Always, says(400, "InvalidParameterException", message));
        let run = environment.run(&["start"]).ended(1);
        assert!(run.err.contains(&format!("hint: {hint}")), "{}", run.err);
    }
}

#[test]
fn what_does_not_pass_is_named_with_what_helps() {
    for (fault, hint) in [
        (
            says(400, "ResourceLimitExceededException", "Cannot exceed quota for pod identity associations per cluster: 5000"),
            "an EKS cluster takes 5,000 associations, and AWS does not raise this",
        ),
        (Fault::denied("iam:PassRole"), "allow `iam:PassRole` for the job (docs/permissions/pod-identity-policy.json"),
        (
            says(403, "AccessDeniedException", "Cross-account pass role is not allowed."),
            "EKS Pod Identity takes only roles of the cluster's account",
        ),
        (says(404, "ResourceNotFoundException", "No cluster found for name: demo."), "check `QOVERY_KUBERNETES_CLUSTER_NAME`"),
    ] {
        let environment = environment();
        let rule = environment.sandbox.faults().add("eks:CreatePodIdentityAssociation", When::Always, fault);
        let run = environment.run(&["start"]).ended(1);
        assert!(run.err.contains(&format!("hint: {hint}")), "{}", run.err);
        assert!(run.err.starts_with("error: failed to associate ServiceAccount `z1a2b3c4-shop/app` with role"), "{}", run.err);
        environment.sandbox.faults().remove(rule);
        environment.start();
    }
}

#[test]
fn the_right_to_pass_the_role_is_that_of_the_published_file() {
    let mut addition: Value = serde_json::from_str(&read("docs/permissions/pod-identity-policy.json")).unwrap();
    let statements = addition["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| !statement["Action"].to_string().contains("iam:PassRole"));
    let environment = Environment::new(ASSOCIATED).with_permissions("docs/permissions/iam-policy.json", statements);
    add_agent(&environment);
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("not authorized to perform: iam:PassRole"), "{}", run.err);
    assert!(run.err.contains("hint: allow `iam:PassRole` for the job (docs/permissions/pod-identity-policy.json"), "{}", run.err);
}

/// After a deletion EKS says for a while that the association exists, and shows none.
#[test]
fn an_association_that_was_just_deleted_stands_in_the_way_for_a_while() {
    let environment = environment();
    environment.start();
    let exists = says(409, "ResourceInUseException", "Association already exists: a-1");
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| aws.cluster_mut(&name).unwrap().associations.clear());
    environment.sandbox.faults().add("eks:CreatePodIdentityAssociation", When::Next(3), exists);
    environment.start();
    let found = associations(&environment);
    assert_eq!((found.len(), found[0].namespace.as_str()), (1, NAMESPACE));
}
