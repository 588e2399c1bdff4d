//! From IRSA to EKS Pod Identity and back: each pod that lives has its role at every moment, also where a run is killed in between.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::{
    aws::PodIdentityAssociation,
    faults::{Fault, Point, When},
};

use serde_json::json;

use crate::support::{
    environment::{Environment, Run},
    fixtures::NAMESPACE,
    pod_identity::{add_agent, admit_pod, associations, associations_are_old, role_of_pod},
    repository::read,
};

const OWN: &str = "role: {policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}";
const SHARED: &str = "role: {scope: shared, name: together, policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}";
const CLUSTER: &str =
    "role: {scope: cluster, name: together, namespaces: [z*], policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}";

fn manifest(role: &str, pod_identity: bool) -> String {
    let binding = if pod_identity { "podIdentity: true" } else { "labels: {}" };
    format!("identities:\n  - serviceAccount: app\n    {binding}\n    {role}\n")
}

/// An environment with IRSA, and a pod that has it.
fn with_irsa(role: &str) -> Environment {
    let environment = Environment::of_pod_identity(&manifest(role, false));
    add_agent(&environment);
    environment.start();
    admit_pod(&environment, "old");
    assert_eq!(way(&environment, "old"), "IRSA");
    environment
}

/// How a pod gets its role; that it gets one.
#[track_caller]
fn way(environment: &Environment, pod: &str) -> &'static str {
    role_of_pod(environment, pod).unwrap_or_else(|why| panic!("pod `{pod}` has no role: {why}")).0
}

fn ends(environment: &Environment, pod: &str) {
    environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, pod));
}

fn annotation(environment: &Environment) -> Option<String> {
    environment.service_account().unwrap()["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].as_str().map(str::to_owned)
}

#[test]
fn an_identity_moves_pod_by_pod_whatever_its_role() {
    for role in [OWN, SHARED, CLUSTER] {
        let environment = with_irsa(role);
        environment.write_manifest(&manifest(role, true));
        let run = environment.start();
        assert!(run.out.contains("step 1 of 2"), "{}", run.out);
        admit_pod(&environment, "new");
        assert_eq!((way(&environment, "old"), way(&environment, "new")), ("IRSA", "association"), "{role}");

        // Too young, then a pod that uses it.
        assert_eq!(environment.start().writes, 0);
        associations_are_old(&environment);
        let run = environment.start();
        assert_eq!(run.writes, 0, "{}", run.out);
        assert!(run.out.contains("restart the pods that still use IRSA, then deploy again: pod `old`"), "{}", run.out);
        assert!(run.out.contains("proven: ") && !run.out.contains("without the role"), "{}", run.out);
        assert_eq!((way(&environment, "old"), way(&environment, "new")), ("IRSA", "association"), "{role}");

        ends(&environment, "old");
        let planned = environment.run(&["plan"]);
        assert!(planned.out.contains("step 2 of 2"), "{}", planned.out);
        environment.start();
        assert_eq!(annotation(&environment), None);
        admit_pod(&environment, "newer");
        assert_eq!((way(&environment, "new"), way(&environment, "newer")), ("association", "association"), "{role}");
        let trust = environment.sandbox.aws(|aws| aws.roles().values().map(|role| role.trust.clone()).collect::<String>());
        assert_eq!(trust.contains("oidc-provider"), role == CLUSTER, "{trust}");
        let run = environment.start();
        assert_eq!(run.writes, 0, "{}", run.out);
        assert!(!run.out.contains("step "), "{}", run.out);
    }
}

/// A pod of a ServiceAccount that came in by `extraSubjects`, with what a sidecar by hand may have beside.
fn put_pod(environment: &Environment, service_account: &str, name: &str, role: &str) {
    let by_hand = json!([{"name": "AWS_ROLE_ARN", "value": role}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/t/token"}]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {"serviceAccountName": service_account, "nodeName": "node-1", "containers": [
            {"name": "main", "image": "app"}, {"name": "sidecar", "image": "sidecar", "env": by_hand},
        ]},
        "status": {"phase": "Running"},
    });
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_admitted_pod(pod.clone()));
}

#[test]
fn a_sidecar_with_a_web_identity_by_hand_neither_holds_a_move_nor_hides_that_its_pod_relies_on_the_association() {
    let environment = with_irsa(OWN);
    environment.write_manifest(&manifest(OWN, true));
    environment.start();
    ends(&environment, "old");
    put_pod(&environment, "app", "mixed", "arn:aws:iam::123456789012:role/theirs");
    associations_are_old(&environment);
    let run = environment.start();
    assert!(run.out.contains("step 2 of 2") && !run.out.contains("without the role"), "{}", run.out);
    environment.write_manifest(&manifest(OWN, false));
    let run = environment.run(&["start"]).ended(3);
    assert!(run.err.contains("pods rely on its association with EKS Pod Identity: pod `mixed`"), "{}", run.err);
    assert_eq!(way(&environment, "mixed"), "association");
}

#[test]
fn pods_of_extra_subjects_of_before_keep_the_role_until_they_have_another() {
    let with_worker = OWN.replace("role: {", "role: {extraSubjects: [z1a2b3c4-shop/worker, z9-shop/api], ");
    let environment = with_irsa(&with_worker);
    let role = annotation(&environment).unwrap();
    put_pod(&environment, "worker", "worker-1", &role);
    environment.write_manifest(&manifest(OWN, true));
    let run = environment.start();
    assert!(run.out.contains("Step 2 also takes it from `z1a2b3c4-shop/worker`, `z9-shop/api`"), "{}", run.out);
    ends(&environment, "old");
    associations_are_old(&environment);
    let run = environment.start();
    assert_eq!(run.writes, 0, "{}", run.out);
    assert!(run.out.contains("`worker`. Give each an identity of its own"), "{}", run.out);
    assert!(annotation(&environment).is_some());
    ends(&environment, "worker-1");
    assert!(environment.start().out.contains("step 2 of 2"));
    assert_eq!(annotation(&environment), None);
}

/// What `docs/moving-over.md` shows under this name.
fn shown(name: &str) -> String {
    let page = read("docs/moving-over.md");
    let (_, rest) = page.split_once(&format!("<!-- {name} -->\n")).unwrap_or_else(|| panic!("{name} is not on the page"));
    rest.split("```").nth(1).unwrap().split_once('\n').unwrap().1.to_owned()
}

#[test]
fn the_page_shows_the_plans_of_each_step() {
    let (page, plan) =
        (shown("manifest: pod-identity"), |environment: &Environment| environment.run(&["plan"]).planned().join("\n") + "\n");
    let environment = Environment::of_pod_identity(&page.replace("    podIdentity: true\n", ""));
    add_agent(&environment);
    environment.start();
    environment.write_manifest(&page);
    assert_eq!(plan(&environment), shown("plan: pod-identity-1"));
    environment.start();
    associations_are_old(&environment);
    assert_eq!(plan(&environment), shown("plan: pod-identity-2"));

    let environment = Environment::of_pod_identity(&page);
    add_agent(&environment);
    put_association(&environment, "shop-s3", &[("qovery-irsa/owner", "z1a2b3c4-shop/shop-s3")]);
    assert_eq!(plan(&environment), shown("plan: association"));
}

#[test]
fn another_role_at_the_same_time_takes_nothing_from_pods_that_run() {
    let environment = with_irsa(OWN);
    environment.write_manifest(&manifest(SHARED, true));
    environment.start();
    admit_pod(&environment, "new");
    let roles = ["old", "new"].map(|pod| role_of_pod(&environment, pod).unwrap().1);
    assert!(roles[0].contains("/app-") && roles[1].ends_with("/together"), "{roles:?}");
    ends(&environment, "old");
    associations_are_old(&environment);
    environment.start();
    assert_eq!(annotation(&environment), None);
    assert_eq!(way(&environment, "new"), "association");
    assert_eq!(environment.start().writes, 0);
}

/// The writes of a run: which operation, and the how many-th call of it that is.
fn writes_of(environment: &Environment) -> Vec<(String, u64)> {
    let before = environment.sandbox.witness().mark();
    environment.start();
    let mut calls: BTreeMap<String, u64> = BTreeMap::new();
    let numbered = environment.sandbox.witness().since(before).into_iter().map(|call| {
        let which = calls.entry(call.operation.clone()).or_default();
        *which += 1;
        (call.changed, (call.operation, *which))
    });
    numbered.filter(|(changed, _)| *changed).map(|(_, write)| write).collect()
}

/// Kills a run when this write was done and before it was answered, and looks at the world between.
fn killed_after(environment: &Environment, (operation, which): &(String, u64), between: impl FnOnce()) {
    let hang = Fault::Hang { point: Point::After, duration: Duration::from_mins(1) };
    let rule = environment.sandbox.faults().add(operation, When::Nth(*which), hang);
    let before = environment.sandbox.witness().mark();
    let mut running = environment.spawn_in(NAMESPACE, &["start"]);
    let deadline = Instant::now() + Duration::from_mins(1);
    let done = || environment.sandbox.witness().since(before).iter().any(|call| call.faults.contains(&"hang") && call.changed);
    while !done() {
        assert!(Instant::now() < deadline, "{operation} never came");
        sleep(Duration::from_millis(2));
    }
    between();
    running.child.kill().unwrap();
    assert_eq!(running.end().code, -1);
    environment.sandbox.faults().remove(rule);
}

/// In the middle of a run, and then in the middle of each that follows one that was killed, every pod has its role: the old, the new, and one
/// that is admitted at that moment.
#[test]
fn each_pod_has_its_role_after_every_single_write() {
    type Arrange = fn(&str) -> Environment;
    let first: Arrange = |role| {
        let environment = with_irsa(role);
        environment.write_manifest(&manifest(role, true));
        environment
    };
    let second: Arrange = |role| {
        let environment = with_irsa(role);
        environment.write_manifest(&manifest(role, true));
        environment.start();
        ends(&environment, "old");
        associations_are_old(&environment);
        admit_pod(&environment, "old");
        environment
    };
    for role in [OWN, SHARED] {
        for (arrange, least) in [(first, 3), (second, 2)] {
            let undisturbed = arrange(role);
            let writes = writes_of(&undisturbed);
            assert!(writes.len() >= least, "{writes:?}");
            for write in &writes {
                let environment = arrange(role);
                killed_after(&environment, write, || {
                    admit_pod(&environment, "between");
                    way(&environment, "old");
                    way(&environment, "between");
                });
                way(&environment, "old");
                environment.start();
                admit_pod(&environment, "new");
                for pod in ["old", "between", "new"] {
                    way(&environment, pod);
                }
                associations_are_old(&environment);
                ["old", "between", "new"]
                    .into_iter()
                    .filter(|pod| way(&environment, pod) == "IRSA")
                    .for_each(|pod| ends(&environment, pod));
                environment.start();
                assert_eq!(annotation(&environment), None, "{write:?}");
                assert_eq!(way(&environment, "new"), "association", "{write:?}");
                let run = environment.start();
                assert_eq!(run.writes, 0, "{write:?}: {}", run.out);
            }
        }
    }
}

/// While EKS does not know the association yet, a new pod gets what the annotation says, and that holds.
#[test]
fn a_pod_that_starts_before_eks_knows_the_association_keeps_irsa_until_it_is_restarted() {
    let environment = with_irsa(OWN);
    environment.write_manifest(&manifest(OWN, true));
    environment.start();
    environment.sandbox.aws(|aws| aws.delay_eks(Duration::from_hours(1)));
    admit_pod(&environment, "early");
    environment.sandbox.aws(|aws| aws.delay_eks(Duration::ZERO));
    associations_are_old(&environment);
    let run = environment.start();
    assert!(run.out.contains("pod `early`, pod `old`"), "{}", run.out);
    assert_eq!((way(&environment, "early"), way(&environment, "old")), ("IRSA", "IRSA"));
}

/// EKS sees roles late, and associations too. Pods start all the time, and each asks for its role again and again.
#[test]
fn while_a_run_goes_on_every_pod_that_starts_has_a_role_and_keeps_it() {
    let mut environment = with_irsa(OWN);
    environment.set("IRSA_SETTLE", "2");
    environment.sandbox.aws(|aws| aws.delay_eks(Duration::from_secs(1)));
    environment.write_manifest(&manifest(OWN, true));
    let mut pods = vec!["old".to_owned()];
    let mut running = environment.spawn_in(NAMESPACE, &["start"]);
    let mut ended = None;
    while ended.is_none_or(|ended: Instant| ended.elapsed() < Duration::from_secs(2)) {
        pods.push(format!("pod-{}", pods.len()));
        admit_pod(&environment, &pods[pods.len() - 1]);
        for pod in &pods {
            way(&environment, pod);
        }
        if running.child.try_wait().unwrap().is_some() {
            ended.get_or_insert_with(Instant::now);
        }
        sleep(Duration::from_millis(50));
    }
    running.end().ended(0);
    let ways: Vec<&str> = pods.iter().map(|pod| way(&environment, pod)).collect();
    assert_eq!((ways.first(), ways.last()), (Some(&"IRSA"), Some(&"association")));
    assert!(ways.is_sorted_by_key(|way| *way == "association"), "{ways:?}");
}

fn associated(role: &str) -> Environment {
    let environment = Environment::of_pod_identity(&manifest(role, true));
    add_agent(&environment);
    environment.start();
    admit_pod(&environment, "new");
    assert_eq!(way(&environment, "new"), "association");
    associations_are_old(&environment);
    environment
}

#[test]
fn the_way_back_is_refused_while_a_pod_relies_on_the_association_and_open_when_none_does() {
    for role in [OWN, SHARED] {
        let environment = associated(role);
        environment.write_manifest(&manifest(role, false));
        let Run { err, writes, .. } = environment.run(&["start"]).ended(3);
        assert!(err.contains("but pods rely on its association with EKS Pod Identity: pod `new`"), "{err}");
        assert_eq!(writes, 0);
        assert_eq!(way(&environment, "new"), "association");
        ends(&environment, "new");
        let run = environment.start();
        assert!(run.out.contains("delete the association of ServiceAccount"), "{}", run.out);
        assert_eq!(associations(&environment).len(), 0);
        admit_pod(&environment, "back");
        assert_eq!(way(&environment, "back"), "IRSA");
        let trust = environment.sandbox.aws(|aws| aws.roles().values().map(|role| role.trust.clone()).collect::<String>());
        assert_eq!(trust.contains("pods.eks.amazonaws.com"), role == SHARED, "{trust}");
        let run = environment.start();
        assert_eq!(run.writes, 0, "{}", run.out);
        assert!(environment.service_account().unwrap()["metadata"]["annotations"]["qovery-irsa/associated-role"].is_null());
    }
}

#[test]
fn without_a_trace_of_an_association_nobody_looks_for_one() {
    let environment = with_irsa(OWN);
    let before = environment.sandbox.witness().mark();
    environment.start();
    let calls = environment.sandbox.witness().since(before);
    assert!(calls.iter().all(|call| !call.operation.starts_with("eks:List") && call.operation != "kubernetes:list pods"), "{calls:?}");
}

/// An association that somebody else made, with a role of theirs, and the ServiceAccount.
fn put_association(environment: &Environment, service_account: &str, tags: &[(&str, &str)]) {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}"#;
    let (cluster, now) = (environment.sandbox.cluster().name().to_owned(), environment.sandbox.clock().now());
    environment.sandbox.aws(|aws| {
        aws.add_role("theirs", "/", trust);
        let mut association = PodIdentityAssociation::new(NAMESPACE, service_account, "arn:aws:iam::123456789012:role/theirs", now);
        association.tags.extend(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        aws.cluster_mut(&cluster).unwrap().associations.insert("a-theirs".to_owned(), association);
    });
    environment.sandbox.kubernetes(|kubernetes| {
        let metadata = json!({"namespace": NAMESPACE, "name": service_account});
        kubernetes.put_object(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
    });
}

#[test]
fn an_association_of_terraform_is_handed_over_by_its_tag_without_a_gap() {
    let environment = Environment::of_pod_identity(&manifest(OWN, true));
    add_agent(&environment);
    put_association(&environment, "app", &[("managed-by", "terraform")]);
    admit_pod(&environment, "old");
    let role = |pod: &str| role_of_pod(&environment, pod).unwrap().1;
    assert!(role("old").ends_with("/theirs"));
    let Run { err, writes, .. } = environment.run(&["start"]).ended(3);
    assert!(err.contains("--tags qovery-irsa/owner=z1a2b3c4-shop/app"), "{err}");
    assert_eq!((writes, role("old").ends_with("/theirs")), (0, true));

    let cluster = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| {
        let association = aws.cluster_mut(&cluster).unwrap().associations.get_mut("a-theirs").unwrap();
        association.tags.insert("qovery-irsa/owner".to_owned(), format!("{NAMESPACE}/app"));
    });
    let before = environment.sandbox.witness().mark();
    environment.start();
    let operations: Vec<String> = environment.sandbox.witness().since(before).into_iter().map(|call| call.operation).collect();
    assert!(!operations.iter().any(|operation| operation == "eks:DeletePodIdentityAssociation"), "{operations:?}");
    assert!(role("old").contains("/app-"), "{}", role("old"));
    assert_eq!(associations(&environment)[0].tags["managed-by"], "terraform");
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    assert!(environment.sandbox.aws(|aws| aws.roles().contains_key("theirs")), "the role was never the tool's");
}
