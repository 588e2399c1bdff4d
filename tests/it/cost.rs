//! What a run costs in calls and rounds of the network, exactly: one more is a regression.

use std::time::Duration;

use qovery_irsa_sandbox::{
    faults::{Fault, When},
    qovery::chart::{Release, render_for},
};
use serde_json::json;

use crate::support::{
    environment::Environment,
    fixtures::{GIVEN, NAMESPACE, by_hand, namespaces},
    pod_identity::{ASSOCIATED, add_agent, add_pod},
    repository::root,
};

/// What a deploy of most environments has: a role with one managed policy.
const ONE: &str = "identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}]";

/// An environment that reaches Kubernetes as Qovery's jobs do, by an EKS token.
fn by_eks(manifest: &str) -> Environment {
    let mut environment = Environment::new(manifest);
    environment.unset("KUBECONFIG");
    environment
}

fn many(count: usize) -> String {
    let identity =
        |number| format!("{{serviceAccount: app-{number}, role: {{policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}}}");
    format!("identities: [{}]", (0..count).map(identity).collect::<Vec<_>>().join(", "))
}

/// Runs to exit code 0: calls to AWS and to Kubernetes.
#[track_caller]
fn calls(environment: &Environment, command: &str) -> (usize, usize) {
    environment.sandbox.witness().clear();
    environment.run(&[command]).ended(0);
    let calls = environment.sandbox.witness().calls();
    let of = |server: &str| calls.iter().filter(|call| call.server == server).count();
    (of("aws"), of("kubernetes"))
}

/// The first start of an environment: calls and rounds.
#[track_caller]
fn measured(environment: &Environment, wanted: (usize, usize, usize)) {
    environment.sandbox.faults().add("*", When::Always, Fault::Latency(Duration::from_millis(200)));
    let (aws, kubernetes) = calls(environment, "start");
    let witness = environment.sandbox.witness();
    assert_eq!((aws, kubernetes, witness.rounds()), wanted, "{:?}", witness.operations());
    environment.sandbox.faults().clear();
}

/// Starts an environment again in which nothing has changed: the same, and the rounds one after the other.
///
/// Calls take so long that those which are sent together are in flight together; on a machine that stands still for that long they take
/// longer at the next try. What is really sent one after the other stays so however long it takes.
#[track_caller]
fn unchanged(environment: &Environment, wanted: (usize, usize, usize)) {
    let costs = [200, 200, 500, 1000, 1500].map(Duration::from_millis).into_iter().map(|latency| {
        environment.sandbox.faults().clear();
        environment.sandbox.faults().add("*", When::Always, Fault::Latency(latency));
        let (aws, kubernetes) = calls(environment, "start");
        let witness = environment.sandbox.witness();
        ((aws, kubernetes, witness.rounds()), witness.operations())
    });
    let others: Vec<_> = costs.take_while(|(cost, _)| *cost != wanted).collect();
    assert!(others.len() < 5, "{others:?}");
    environment.sandbox.faults().clear();
}

#[test]
fn each_event_of_an_environment_costs_so_many_calls() {
    let environment = by_eks(ONE);
    // With a dry run of the ServiceAccount before the first write, and a look for Pod Identity associations and stale pods, since something has changed.
    assert_eq!(calls(&environment, "start"), (13, 7), "the first environment of a cluster whose provider is not there yet");
    unchanged(&environment, (6, 2, 3));
    environment.change_role(|role| role.attached.clear());
    assert_eq!(calls(&environment, "start"), (13, 5));
    // Each look lists the associations of the namespace.
    assert_eq!(calls(&environment, "delete"), (14, 4));
    assert_eq!(calls(&environment, "delete"), (5, 2));
    assert_eq!(calls(&environment, "start"), (12, 7), "the first deploy of any other environment");
}

/// As Qovery runs it, with an id: its mark is one call more on a ServiceAccount that is new to the job, and none after that.
#[test]
fn a_jobs_mark_costs_one_call_once() {
    let mut environment = by_eks(ONE);
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    assert_eq!(calls(&environment, "start"), (13, 8));
    unchanged(&environment, (6, 2, 3));
}

#[test]
fn the_provider_is_read_where_no_session_speaks_for_it() {
    let environment = by_eks(ONE);
    environment.start();
    environment.sandbox.witness().clear();
    environment.run(&["plan"]).ended(0);
    let operations = environment.sandbox.witness().operations();
    assert!(operations.iter().any(|operation| operation == "iam:GetOpenIDConnectProvider"), "{operations:?}");
    assert!(!operations.iter().any(|operation| operation.contains("token") || operation.starts_with("sts:")), "{operations:?}");
    let issuer = environment.issuer();
    environment.sandbox.aws(|aws| aws.provider_mut(&issuer).unwrap().client_ids = vec!["other".to_owned()]);
    assert_eq!(environment.start().done(), [format!("add audience `sts.amazonaws.com` to OIDC provider `{issuer}`")]);
}

#[test]
fn a_session_for_one_audience_does_not_speak_for_another() {
    let environment = by_eks("identities: [{serviceAccount: app, role: {}}, {serviceAccount: other, audience: vault, role: {}}]");
    environment.guard("audiences", "['sts.amazonaws.com', 'vault']");
    environment.start();
    unchanged(&environment, (10, 3, 3));
    let issuer = environment.issuer();
    environment.sandbox.aws(|aws| aws.provider_mut(&issuer).unwrap().client_ids.retain(|audience| audience != "vault"));
    assert_eq!(environment.start().done(), [format!("add audience `vault` to OIDC provider `{issuer}`")]);
}

#[test]
fn an_unchanged_environment_costs_three_rounds_whatever_its_role_and_two_if_nobody_is_asked_for_the_cluster() {
    let document = r#"{Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}"#;
    let inline = ONE.replace("role: {", &format!("role: {{inlinePolicies: {{a: {document}}}, "));
    for (manifest, wanted) in [(inline.as_str(), (7, 2, 3)), (GIVEN, (4, 2, 3))] {
        let environment = by_eks(manifest);
        environment.sandbox.aws(by_hand);
        environment.start();
        unchanged(&environment, wanted);
    }
    let mut environment = Environment::new(ONE);
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    environment.start();
    unchanged(&environment, (5, 2, 2));
    // Where no token is asked for, the namespace is: whether it is being deleted.
    environment.set("IRSA_PROOF", "off");
    unchanged(&environment, (5, 2, 2));
}

#[test]
fn twenty_identities_cost_no_more_rounds_than_one() {
    let environment = by_eks(&many(20));
    environment.start();
    unchanged(&environment, (82, 21, 3));
}

/// As `install` sets a job up: without a key, by the token of its own ServiceAccount, which both AWS and Kubernetes take.
fn keyless(mut environment: Environment) -> Environment {
    let (issuer, account) = (environment.sandbox.cluster().issuer().to_owned(), "qovery-irsa");
    let host = environment.issuer();
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{host}")},
        "Condition": {"StringEquals": {
            format!("{host}:aud"): "sts.amazonaws.com", format!("{host}:sub"): format!("system:serviceaccount:{NAMESPACE}:{account}"),
        }},
    }]});
    environment.sandbox.aws(|aws| {
        aws.call("CreateOpenIDConnectProvider", &[("Url", &issuer), ("ClientIDList.member.1", "sts.amazonaws.com")]).unwrap();
        let allowed = aws.users()["job"].inline["given"].clone();
        aws.add_role("job", "/", &trust.to_string());
        aws.role_mut("job").unwrap().inline.insert("job".to_owned(), allowed);
    });
    // What the chart makes, and no right more.
    let values = json!({"serviceAccount": account, "roleArn": "arn:aws:iam::123456789012:role/job"});
    let release = Release { name: "account".to_owned(), namespace: NAMESPACE.to_owned() };
    for mut object in render_for(&root().join("charts/qovery-irsa"), &values, &release).unwrap() {
        object["metadata"]["namespace"] = NAMESPACE.into();
        environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(object.clone()).unwrap());
    }
    let token = environment.sandbox.files().join("own-token");
    std::fs::write(&token, environment.sandbox.cluster().token(NAMESPACE, account, "sts.amazonaws.com")).unwrap();
    let mounted = environment.sandbox.cluster().mount_token(NAMESPACE, account).unwrap();
    let address = environment.sandbox.kubernetes_url();
    let (server, port) = address.trim_start_matches("https://").split_once(':').unwrap();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG"] {
        environment.unset(name);
    }
    for (name, value) in [
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/job"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string()),
        ("IRSA_KUBE_TOKEN_DIR", &mounted.display().to_string()),
        ("KUBERNETES_SERVICE_HOST", server),
        ("KUBERNETES_SERVICE_PORT", port),
    ] {
        environment.set(name, value);
    }
    environment
}

/// The budget of docs/design.md: 6, 3, 3 by web identity, 8, 4, 4 by EKS Pod Identity; the job's own web identity is one call and one round.
/// A first deploy takes the 12 and 8 calls of the budget in 11 rounds, two more than it allows: docs/performance.md says why.
#[test]
fn without_keys_an_unchanged_environment_stays_within_the_budget_of_each_binding() {
    let mut environment = keyless(Environment::new(ONE));
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    measured(&environment, (12, 8, 11));
    unchanged(&environment, (6, 2, 3));
    let environment = keyless(Environment::of_pod_identity(ASSOCIATED));
    add_agent(&environment);
    // Beside what web identity takes: whether the agent runs, and the association, which is looked for, made and seen.
    assert_eq!(calls(&environment, "start"), (14, 9), "the first deploy");
    // Before the first pod nobody can be asked, but the namespace must be.
    unchanged(&environment, (7, 3, 3));
    add_pod(&environment, NAMESPACE, "app", "app-1");
    // Kubernetes needs no credentials of AWS: the pods are listed while the job's own web identity is asked for.
    unchanged(&environment, (8, 3, 3));
}

/// What nothing grows for costs nothing more: the calls of each further environment are those of the first that found the role.
#[test]
fn each_environment_on_a_shared_role_of_pod_identity_costs_as_much_as_the_first() {
    let shared = "identities: [{serviceAccount: app, podIdentity: true, role: {scope: shared, name: together}}]";
    let environment = Environment::of_pod_identity(shared);
    add_agent(&environment);
    let clones = namespaces(&environment, 24);
    let start = |namespace: &String| {
        environment.sandbox.witness().clear();
        let run = environment.spawn_in(namespace, &["start"]).end().ended(0);
        (environment.sandbox.witness().operations(), run.writes)
    };
    start(&clones[0]);
    let trust = environment.sandbox.aws(|aws| aws.roles()["together"].trust.clone());
    let sorted = |namespace: &String| {
        let (mut operations, writes) = start(namespace);
        operations.sort();
        (operations, writes)
    };
    let first = sorted(&clones[1]);
    assert_eq!(first.1, 2, "an association and a ServiceAccount: {first:?}");
    clones[2..23].iter().for_each(|clone| drop(start(clone)));
    assert_eq!(sorted(&clones[23]), first);
    let unchanged = sorted(&clones[1]);
    assert_eq!((sorted(&clones[23]), unchanged.1), (unchanged.clone(), 0));
    assert_eq!(environment.sandbox.aws(|aws| aws.roles()["together"].trust.clone()), trust);
}
