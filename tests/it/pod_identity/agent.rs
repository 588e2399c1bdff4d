//! Whether the cluster runs the agent is known before the first write: the places where it can be, and what the job may not see.

use qovery_irsa_sandbox::{
    aws::Addon,
    faults::{Fault, When},
};
use serde_json::json;

use crate::support::{
    environment::Environment,
    pod_identity::{ASSOCIATED, add_agent, add_pod, associations},
};

fn add_on(environment: &Environment, status: &str) {
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| {
        let addon = Addon { version: "v1.3.8-eksbuild.2".to_owned(), status: status.to_owned(), ..Addon::default() };
        aws.cluster_mut(&name).unwrap().addons.insert("eks-pod-identity-agent".to_owned(), addon);
    });
}

fn auto_mode(environment: &Environment) {
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| aws.cluster_mut(&name).unwrap().auto_mode = true);
}

fn by_hand(environment: &Environment) {
    let found =
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"namespace": "kube-system", "name": "eks-pod-identity-agent"}});
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(found.clone()));
}

#[test]
fn without_an_agent_nothing_is_written_and_the_refusal_says_how_to_switch_it_on() {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    for command in ["start", "plan"] {
        let run = environment.run(&[command]).ended(3);
        assert_eq!((run.writes, environment.roles()), (0, 0), "{}", run.out);
        assert!(run.err.contains("cluster `demo` runs no EKS Pod Identity agent"), "{}", run.err);
        for remedy in
            ["`aws.eks.enable_pod_identity_addon`", "aws eks create-addon --cluster-name demo --addon-name eks-pod-identity-agent"]
        {
            assert!(run.err.contains(remedy), "{}", run.err);
        }
    }
    add_on(&environment, "CREATE_FAILED");
    environment.run(&["start"]).ended(3);
    auto_mode(&environment);
    environment.start();
    assert_eq!(associations(&environment).len(), 1);
}

#[test]
fn each_place_where_the_agent_can_be_is_enough_and_what_cannot_be_seen_costs_a_note() {
    type Arrange = fn(&Environment);
    let hidden: Arrange = |environment| {
        environment.sandbox.faults().add("eks:DescribeAddon", When::Always, Fault::denied("eks:DescribeAddon"));
    };
    let not_in_kube_system: Arrange = |environment| {
        environment.sandbox.faults().add("kubernetes:get daemonsets", When::Always, Fault::denied("kubernetes:get daemonsets"));
    };
    let cases: [(&str, Arrange, Option<&str>); 7] = [
        ("add-on", add_agent, None),
        ("degraded add-on", |environment| add_on(environment, "DEGRADED"), None),
        ("Auto Mode", auto_mode, None),
        ("by hand", by_hand, None),
        ("coming", |environment| add_on(environment, "CREATING"), Some("add-on `eks-pod-identity-agent` is being installed")),
        ("nowhere to be seen", not_in_kube_system, Some("failed to look for the EKS Pod Identity agent in `kube-system`: Forbidden")),
        ("hidden", hidden, Some("failed to read EKS add-on `eks-pod-identity-agent` of cluster `demo`: AccessDenied")),
    ];
    for (name, arrange, note) in cases {
        let environment = Environment::of_pod_identity(ASSOCIATED);
        arrange(&environment);
        let run = environment.start();
        assert_eq!(associations(&environment).len(), 1, "{name}");
        let notes: Vec<&str> = run.out.lines().filter(|line| line.contains("EKS Pod Identity agent")).collect();
        match note {
            None => assert!(notes.is_empty(), "{name}: {notes:?}"),
            Some(why) => assert!(
                notes.len() == 1 && notes[0].contains("it is not known whether cluster `demo`") && notes[0].contains(why),
                "{name}: {notes:?}"
            ),
        }
    }
}

#[test]
fn where_nothing_is_to_be_associated_nobody_looks_for_the_agent() {
    let environment = Environment::of_pod_identity(ASSOCIATED);
    add_agent(&environment);
    environment.start();
    add_pod(&environment, crate::support::fixtures::NAMESPACE, "app", "app-1");
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| aws.cluster_mut(&name).unwrap().addons.clear());
    environment.sandbox.witness().clear();
    environment.start();
    assert_eq!(environment.sandbox.witness().count("eks:DescribeAddon"), 0);
}
