//! What leaves by EKS Pod Identity: identities, environments, roles that many of them have together; by the real binary.

use qovery_irsa::model::{
    anchor::{Anchor, StatementKind},
    association::SessionTags,
    oidc::Audience,
    subjects::SubjectPattern,
    trust::{TrustPolicy, Trusted},
};
use qovery_irsa_sandbox::{
    Setup,
    aws::PodIdentityAssociation,
    faults::{Fault, When},
};
use serde_json::json;

use crate::support::{
    environment::{Environment, Run, job_kubeconfig, open_discovery},
    fixtures::{MANIFEST, NAMESPACE, an_hour_passes, association, namespaces, service_accounts},
    pod_identity::{ASSOCIATED, add_agent, add_pod, associations},
};

const TOGETHER: &str = "
identities:
  - serviceAccount: app
    podIdentity: true
    role: {scope: shared, name: together, policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}
";

const JOB: &str = "1a2b3c4d-0000-4000-8000-000000000000";

fn environment(manifest: &str) -> Environment {
    let mut environment = Environment::of_pod_identity(manifest);
    add_agent(&environment);
    environment.set("QOVERY_JOB_ID", JOB);
    environment
}

/// One identity for each of these ServiceAccounts, with a role of its own.
fn manifest(accounts: &[&str]) -> String {
    let one = |account: &&str| format!("{{serviceAccount: {account}, podIdentity: true, role: {{}}}}");
    format!("identities: [{}]", accounts.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// What is there of an environment: roles, associations, ServiceAccounts.
fn there(environment: &Environment) -> (usize, usize, usize) {
    (environment.roles(), associations(environment).len(), service_accounts(environment).len())
}

#[track_caller]
fn says(run: &Run, words: &str) {
    assert!(run.out.contains(words), "{words}:\n{}{}", run.out, run.err);
}

/// The calls of EKS about associations that a run made.
fn asked(environment: &Environment, command: &str) -> Vec<String> {
    let mark = environment.sandbox.witness().mark();
    environment.run(&[command]).ended(0);
    let calls = environment.sandbox.witness().since(mark).into_iter().map(|call| call.operation);
    calls.filter(|operation| operation.contains("PodIdentity")).collect()
}

/// An association that was made past the tool.
fn put(environment: &Environment, id: &str, association: PodIdentityAssociation) {
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| drop(aws.cluster_mut(&name).unwrap().associations.insert(id.to_owned(), association)));
}

fn trust_of(environment: &Environment, role: &str) -> String {
    environment.sandbox.aws(|aws| aws.roles()[role].trust.clone())
}

#[test]
fn a_delete_takes_association_role_and_service_account_in_this_order() {
    let environment = environment(ASSOCIATED);
    let before = environment.sandbox.state();
    environment.start();
    assert_eq!(there(&environment), (1, 1, 1));
    let planned = environment.run(&["plan", "delete"]).ended(10);
    let deleted = environment.delete();
    assert_eq!(planned.planned(), deleted.done());
    let places = ["delete the association of ServiceAccount", "delete role", "delete ServiceAccount"]
        .map(|words| deleted.done().iter().position(|line| line.starts_with(words)));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {}", deleted.out);
    assert_eq!(environment.sandbox.state(), before);
    assert_eq!(environment.delete().writes, 0);
}

#[test]
fn a_delete_takes_all_whatever_became_of_the_manifest() {
    let by_token = "identities: [{serviceAccount: app, role: {}}]";
    for left in ["", "identities: [", by_token, "identities: [{serviceAccount: worker, role: {}}]"] {
        let environment = environment(&manifest(&["app", "old"]));
        let before = environment.sandbox.state();
        environment.start();
        environment.write_manifest(left);
        environment.delete();
        assert_eq!(environment.sandbox.state(), before, "{left}");
    }
    // Not even ServiceAccount and role are there any more.
    let environment = environment(ASSOCIATED);
    environment.start();
    let role = environment.role_name();
    environment.change_role(|role| role.attached.clear());
    environment.sandbox.aws(|aws| aws.call("DeleteRole", &[("RoleName", &role)])).unwrap();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("serviceaccounts", NAMESPACE, "app"));
    environment.write_manifest("");
    environment.delete();
    assert_eq!(there(&environment), (0, 0, 0));
}

/// Neither the ServiceAccount, which is a chart's, nor the role, which others have too, says that there was one.
#[test]
fn a_delete_takes_an_association_that_nothing_but_its_own_tag_speaks_of() {
    let environment = environment(&TOGETHER.replace("podIdentity: true", "podIdentity: true\n    roleOnly: true"));
    environment.start();
    assert_eq!(there(&environment), (1, 1, 0));
    environment.write_manifest("identities: [{serviceAccount: worker, role: {}}]");
    let planned = environment.run(&["plan", "delete"]).ended(10);
    let deleted = environment.delete();
    assert_eq!(planned.planned(), deleted.done());
    assert_eq!(there(&environment), (1, 0, 0), "{}", deleted.out);
    assert_eq!(environment.delete().writes, 0);
}

/// As EKS answers a job whose right to untag depends on a tag of what it untags.
#[test]
fn a_mark_on_an_association_that_has_just_gone_need_not_be_taken() {
    let environment = environment(ASSOCIATED);
    environment.start();
    let mut other = environment.variables.clone();
    other.insert("QOVERY_JOB_ID".to_owned(), "2b3c4d5e-0000-4000-8000-000000000000".to_owned());
    environment.run_with(&["start"], &other).ended(0);
    let faults = environment.sandbox.faults();
    faults.add("eks:UntagResource", When::Next(2), Fault::denied("eks:UntagResource"));
    faults.add("eks:DescribePodIdentityAssociation", When::Nth(2), Fault::error(404, "ResourceNotFoundException"));
    let deleted = environment.delete();
    assert!(deleted.done().iter().any(|line| line.starts_with("untag the association")), "{}", deleted.out);
}

#[test]
fn what_associates_otherwise_stays_with_a_note_and_what_is_gone_already_is_no_failure() {
    let environment = environment(ASSOCIATED);
    environment.start();
    let role = associations(&environment)[0].role_arn.clone();
    let mut of_add_on = association(&role);
    of_add_on.service_account = "ebs".to_owned();
    of_add_on.owner_arn = Some("arn:aws:eks:eu-west-3:123456789012:addon/demo/aws-ebs-csi-driver/1".to_owned());
    let mut foreign = association(&role);
    foreign.service_account = "by-hand".to_owned();
    put(&environment, "a-1", of_add_on);
    put(&environment, "a-2", foreign);
    let deleted = environment.delete();
    says(&deleted, &format!("left alone: the association of ServiceAccount `{NAMESPACE}/ebs` with role `{role}`: add-on `"));
    says(
        &deleted,
        &format!("left alone: the association of ServiceAccount `{NAMESPACE}/by-hand` with role `{role}`: this tool did not make it"),
    );
    assert_eq!(there(&environment), (0, 2, 0));
    // The same in a manifest that still names it: it is somebody else's now.
    let mut other = association(&role);
    other.tags.clear();
    put(&environment, "a-3", other);
    assert_eq!(environment.delete().writes, 0);
    assert_eq!(associations(&environment).len(), 3);
}

#[test]
fn a_job_that_may_not_ask_for_associations_says_so_only_where_there_are_any() {
    let deny = json!({"Effect": "Deny", "Action": ["eks:ListPodIdentityAssociations"], "Resource": "*"});
    let with = environment(ASSOCIATED);
    with.start();
    let with = with.with_permissions("docs/permissions/iam-policy.json", std::slice::from_ref(&deny));
    with.write_manifest("");
    let deleted = with.delete();
    says(&deleted, "note: associations of EKS Pod Identity are not looked for, so they stay: ");
    assert_eq!(there(&with), (0, 1, 0));
    let without = environment(MANIFEST).with_permissions("docs/permissions/iam-policy.json", &[deny]);
    for left in [MANIFEST, ""] {
        without.write_manifest(MANIFEST);
        without.start();
        without.write_manifest(left);
        let deleted = without.delete();
        assert!(!deleted.out.contains("ssociation"), "{}", deleted.out);
        assert_eq!(there(&without), (0, 0, 0));
    }
}

#[test]
fn an_environment_without_pod_identity_lists_associations_only_to_delete_and_after_a_change() {
    // After a change: what is said of the pods of the one identity.
    let of_glance = vec!["eks:ListPodIdentityAssociations".to_owned()];
    // Before and after what it did.
    let of_delete = [of_glance.clone(), of_glance.clone()].concat();
    let environment = environment(MANIFEST);
    for (command, calls) in [("start", &of_glance), ("start", &Vec::new()), ("delete", &of_delete)] {
        assert_eq!(asked(&environment, command), *calls, "{command}");
    }
    // A smaller manifest, and what is due an hour later.
    environment.start();
    environment.write_manifest("identities: [{serviceAccount: worker, role: {}}]");
    assert_eq!(asked(&environment, "start"), of_glance);
    an_hour_passes(&environment);
    assert_eq!(asked(&environment, "start"), [] as [String; 0]);
    assert_eq!(there(&environment), (1, 0, 1));
}

#[test]
fn an_identity_that_left_the_manifest_is_dated_and_an_hour_later_gone_unless_a_pod_relies_on_it() {
    for smaller in [manifest(&["app"]), "identities: [{serviceAccount: app, role: {}}]".to_owned()] {
        let environment = environment(&manifest(&["old"]));
        environment.start();
        environment.write_manifest(&smaller);
        let dated = environment.start();
        says(&dated, &format!("the association of ServiceAccount `{NAMESPACE}/old`: no identity names it any more; a deploy after "));
        assert_eq!((environment.start().writes, there(&environment).0), (0, 2));
        an_hour_passes(&environment);
        add_pod(&environment, NAMESPACE, "old", "late");
        let kept = environment.start();
        says(&kept, &format!("the association of ServiceAccount `{NAMESPACE}/old` stays: pod `late` still uses it"));
        assert_eq!(kept.writes, 0, "{}", kept.out);
        environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, "late"));
        let planned = environment.run(&["plan"]).ended(10);
        let removed = environment.start();
        assert_eq!(planned.planned(), removed.done());
        assert_eq!((environment.roles(), service_accounts(&environment)), (1, vec!["app".to_owned()]));
        assert!(associations(&environment).iter().all(|found| found.service_account == "app"));
        assert_eq!(environment.start().writes, 0);
    }
}

#[test]
fn a_delete_that_keeps_what_is_used_keeps_what_a_running_pod_gets_by_its_association() {
    let mut environment = environment(ASSOCIATED);
    environment.set("IRSA_ON_DELETE", "keep-if-used");
    environment.set("IRSA_TIMEOUT", "10s");
    environment.start();
    add_pod(&environment, NAMESPACE, "app", "app-1");
    let before = environment.sandbox.state();
    let kept = environment.delete();
    says(&kept, &format!("the association of ServiceAccount `{NAMESPACE}/app` stays: pod `app-1` still uses it"));
    assert_eq!(environment.sandbox.state(), before);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, "app-1"));
    environment.delete();
    assert_eq!(there(&environment), (0, 0, 0));
}

#[test]
fn a_sweep_removes_associations_and_roles_of_namespaces_that_are_gone_and_no_others() {
    let mut environment = environment(ASSOCIATED);
    let clones = namespaces(&environment, 2);
    for namespace in clones.iter().map(String::as_str).chain([NAMESPACE]) {
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", namespace);
        environment.start();
    }
    let mut foreign = PodIdentityAssociation { namespace: "z9-gone".to_owned(), ..association("arn:aws:iam::123456789012:role/other") };
    foreign.tags.insert("team".to_owned(), "platform".to_owned());
    put(&environment, "a-1", foreign);
    assert_eq!(environment.run(&["sweep"]).ended(0).writes, 0);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(&clones[0]));
    let dry = environment.run(&["sweep", "--dry-run"]).ended(10);
    assert_eq!(dry.writes, 0);
    let mark = environment.sandbox.witness().mark();
    let swept = environment.run(&["sweep"]).ended(0);
    assert_eq!(swept.done(), dry.planned());
    assert_eq!(swept.done().first().copied(), Some(format!("delete the association of ServiceAccount `{}/app`", clones[0]).as_str()));
    let calls = environment.sandbox.witness().since(mark);
    let first = |operation: &str| calls.iter().find(|call| call.operation == operation).unwrap();
    assert!(
        first("eks:ListPodIdentityAssociations").answered.unwrap() <= first("kubernetes:list namespaces").arrived,
        "an environment made after the listing must not look gone"
    );
    assert_eq!((environment.roles(), associations(&environment).len()), (2, 3));
    assert_eq!(environment.run(&["sweep"]).ended(0).writes, 0);

    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(&clones[1]));
    let deny = json!({"Effect": "Deny", "Action": "eks:DescribePodIdentityAssociation", "Resource": "*"});
    let environment = environment.with_permissions("docs/permissions/iam-policy.json", &[deny]);
    says(&environment.run(&["sweep"]).ended(0), "note: associations that environments have left stay: failed to read the association of ");
    assert_eq!((environment.roles(), associations(&environment).len()), (1, 3));
}

/// The namespaces of the one cluster are not those of the other: every other environment would look gone.
#[test]
fn a_sweep_takes_no_association_of_a_cluster_whose_namespaces_it_has_not_listed() {
    let issuer = "https://oidc.eks.eu-west-3.amazonaws.com/id/OTHER";
    let setup = Setup { second_cluster: Some(("other".to_owned(), issuer.to_owned())), ..Setup::default() };
    let mut environment = Environment::with(setup, ASSOCIATED).with_pod_identity();
    add_agent(&environment);
    let clones = namespaces(&environment, 1);
    environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", &clones[0]);
    environment.start();
    environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", NAMESPACE);
    let own = environment.variables.clone();
    let other = environment.sandbox.second_cluster().unwrap();
    other.kubernetes(|kubernetes| kubernetes.add_namespace(NAMESPACE));
    open_discovery(other);
    open_discovery(environment.sandbox.cluster());
    let kubeconfig = job_kubeconfig(other);
    environment.set("KUBECONFIG", &kubeconfig);
    let swept = environment.run(&["sweep"]).ended(0);
    let stay = "note: associations that environments have left stay: ";
    let first = environment.sandbox.cluster().issuer().to_owned();
    says(
        &swept,
        &format!(
            "{stay}the namespaces are of a cluster with issuer `{issuer}`, and cluster `demo` (`QOVERY_KUBERNETES_CLUSTER_NAME`) has issuer `{first}`"
        ),
    );
    assert_eq!((swept.writes, associations(&environment).len()), (0, 1), "{}", swept.out);

    environment.variables = own;
    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(&clones[0]));
    let describe = "eks:DescribeCluster";
    for (fault, why) in [
        (Fault::denied(describe), "failed to ask for the issuer of EKS cluster `demo`: "),
        (Fault::error(404, "ResourceNotFoundException"), "EKS knows no issuer of cluster `demo`"),
    ] {
        let rule = environment.sandbox.faults().add(describe, When::Always, fault);
        let swept = environment.run(&["sweep"]).ended(0);
        says(&swept, &format!("{stay}{why}"));
        assert_eq!(associations(&environment).len(), 1, "{}", swept.out);
        environment.sandbox.faults().remove(rule);
    }
    let mark = environment.sandbox.witness().mark();
    environment.run(&["sweep"]).ended(0);
    assert_eq!(associations(&environment).len(), 0);
    let asked = environment.sandbox.witness().since(mark).into_iter().filter(|call| call.operation == describe).count();
    assert!(asked > 0, "nobody asked");
}

#[test]
fn a_shared_role_is_never_touched_by_those_who_come_and_go_and_a_sweep_removes_it_with_its_last_association() {
    let mut environment = environment(TOGETHER);
    let clones = namespaces(&environment, 2);
    let mut trusts = Vec::new();
    for (command, namespace) in [("start", &clones[0]), ("start", &clones[1]), ("delete", &clones[0])] {
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", namespace);
        let run = environment.run(&[command]).ended(0);
        assert!(
            command == "start" || run.out.contains("note: role `together` stays: pods of other environments may have it"),
            "{}",
            run.out
        );
        trusts.push(trust_of(&environment, "together"));
    }
    trusts.dedup();
    assert_eq!(trusts.len(), 1);
    // Whoever sweeps has the manifest that names the role.
    environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", NAMESPACE);
    assert_eq!(environment.run(&["sweep"]).ended(0).writes, 0);
    // The last one goes without its delete event; somebody else's association uses the role too.
    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(&clones[1]));
    let arn = associations(&environment)[0].role_arn.clone();
    let mut target = PodIdentityAssociation { namespace: "kube-system".to_owned(), ..association("arn:aws:iam::123456789012:role/first") };
    target.target_role_arn = Some(arn);
    put(&environment, "a-1", target);
    environment.run(&["sweep"]).ended(0);
    assert_eq!((environment.roles(), associations(&environment).len()), (1, 1));
    let cluster = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| aws.cluster_mut(&cluster).unwrap().associations.clear());
    let dry = environment.run(&["sweep", "--dry-run"]).ended(10);
    let swept = environment.run(&["sweep"]).ended(0);
    assert_eq!((dry.writes, dry.planned()), (0, swept.done()));
    assert_eq!(environment.roles(), 0, "{}", swept.out);
    assert_eq!(environment.run(&["sweep"]).ended(0).writes, 0);
}

/// One more cluster in the statements of the shared role, as a deploy there writes it.
fn trust_too(environment: &Environment, cluster: &str) {
    let anchor = Anchor::PodIdentity(cluster.parse().unwrap(), SessionTags::On);
    let mut everybody = Trusted::nobody(StatementKind::Subjects);
    everybody.add(&Audience::of_pod_identity().into(), SubjectPattern::everybody());
    environment.sandbox.aws(|aws| {
        let role = aws.role_mut("together").unwrap();
        role.trust = TrustPolicy::parse(&role.trust).unwrap().rendered(&anchor, &everybody).minified();
    });
}

#[test]
fn a_shared_role_stays_where_another_cluster_may_use_it_and_the_line_says_why() {
    for (cluster, why) in [
        (
            "arn:aws:eks:eu-west-3:210987654321:cluster/other",
            "is in AWS account 210987654321, and this job asks EKS in account 123456789012",
        ),
        ("arn:aws:eks:eu-west-1:123456789012:cluster/other", "is in region eu-west-1, and this job works in region eu-west-3"),
    ] {
        let environment = environment(TOGETHER);
        environment.start();
        environment.delete();
        trust_too(&environment, cluster);
        let swept = environment.run(&["sweep"]).ended(0);
        let line = format!("note: role `together` stays: it is not known whether an association uses it: cluster `{cluster}` {why}");
        assert_eq!((swept.writes, swept.out.matches(&line).count()), (0, 1), "{}", swept.out);
    }
}

#[test]
fn a_sweep_asks_the_other_clusters_of_its_account_and_region_who_uses_a_shared_role() {
    let environment = environment(TOGETHER);
    environment.start();
    let arn = associations(&environment)[0].role_arn.clone();
    environment.delete();
    trust_too(&environment, "arn:aws:eks:eu-west-3:123456789012:cluster/other");
    environment.sandbox.aws(|aws| {
        aws.add_cluster("other", "https://127.0.0.1:1", "", "https://oidc.example.com/id/OTHER");
        let used = PodIdentityAssociation { namespace: "z5".to_owned(), ..association(&arn) };
        aws.cluster_mut("other").unwrap().associations.insert("a-1".to_owned(), used);
    });
    assert_eq!((environment.run(&["sweep"]).ended(0).writes, environment.roles()), (0, 1));
    let deny = json!({"Effect": "Deny", "Action": "eks:DescribePodIdentityAssociation", "Resource": "*"});
    let environment = environment.with_permissions("docs/permissions/iam-policy.json", &[deny]);
    let swept = environment.run(&["sweep"]).ended(0);
    says(
        &swept,
        "note: role `together` stays: it is not known whether an association uses it: failed to read the association of ServiceAccount `z5/app`",
    );
    environment.sandbox.aws(|aws| aws.cluster_mut("other").unwrap().associations.clear());
    environment.run(&["sweep"]).ended(0);
    assert_eq!(environment.roles(), 0);
}

#[test]
fn a_cluster_that_does_not_exist_keeps_no_shared_role() {
    let environment = environment(TOGETHER);
    environment.start();
    environment.delete();
    trust_too(&environment, "arn:aws:eks:eu-west-3:123456789012:cluster/gone");
    environment.run(&["sweep"]).ended(0);
    assert_eq!(environment.roles(), 0);
}

#[test]
fn an_environment_that_is_just_moving_leaves_nothing_behind() {
    let by_token = "identities: [{serviceAccount: app, role: {scope: shared, name: together}}]";
    let environment = environment(by_token);
    environment.start();
    let cluster = "arn:aws:eks:eu-west-3:123456789012:cluster/demo";
    trust_too(&environment, cluster);
    environment.delete();
    let (trust, tags) = environment.sandbox.aws(|aws| (aws.roles()["together"].trust.clone(), aws.roles()["together"].tags.clone()));
    assert!(trust.contains("pods.eks.amazonaws.com") && !trust.contains("system:serviceaccount") && !trust.contains("Deny"), "{trust}");
    assert!(tags.keys().all(|key| !key.contains("/subject/") && !key.contains("/left")), "{tags:?}");
    environment.run(&["sweep"]).ended(0);
    assert_eq!(environment.roles(), 0);
}
