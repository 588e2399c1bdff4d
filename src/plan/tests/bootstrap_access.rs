//! Cluster access in sync, one change, and the plan as the administrator reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::bootstrap::{spec, zone};
use crate::{
    model::{
        bootstrap::{
            ACCESS_GROUP, AccessEntry, AuthenticationMode, BOOTSTRAP_MANAGER, BootstrapSpec, DesiredAccess, DesiredBootstrap, JOB_POLICY,
            ObjectKind, ObjectRef, ObservedAccess, ObservedNamespace, ObservedObject, REGION_TAG, STANDARD,
        },
        names::{TagKey, TagValue},
        observed::ObservedRole,
        role::RoleSettings,
        trust::TrustPolicy,
    },
    plan::{
        Call as _,
        bootstrap::access::{AccessAction, AccessPlan, make, may_have_entries, remove},
    },
};

const ROLE: &str = "arn:aws:iam::123456789012:role/qovery-irsa-demo-access";

fn access_spec() -> BootstrapSpec {
    BootstrapSpec { access: Some("ops/qovery-irsa-sweep".parse().unwrap()), ..spec(&["z*"]) }
}

fn desired(spec: &BootstrapSpec) -> DesiredAccess {
    DesiredAccess::new(spec, &DesiredBootstrap::new(spec, &zone()).unwrap()).unwrap()
}

/// A cluster in which nothing was made.
fn bare() -> ObservedAccess {
    ObservedAccess {
        role: None,
        mode: AuthenticationMode::AccessEntries,
        entry: None,
        has_policies: true,
        namespace: ("ops".parse().unwrap(), ObservedNamespace::There),
        objects: BTreeMap::new(),
    }
}

/// AWS and the cluster as they are after cluster access was made.
fn in_sync(spec: &BootstrapSpec) -> ObservedAccess {
    let desired = desired(spec);
    let role = &desired.role;
    let objects = desired.objects().map(|object| {
        let mut body = object.body.clone();
        body["metadata"]["uid"] = format!("uid of {}", object.at).into();
        body["metadata"]["managedFields"] = json!([{"manager": BOOTSTRAP_MANAGER, "fieldsV1": {"f:spec": {}, "f:rules": {}}}]);
        (object.at.clone(), ObservedObject { body })
    });
    ObservedAccess {
        role: Some(ObservedRole {
            arn: role.role.clone(),
            settings: RoleSettings { description: Some(role.description.clone()), ..RoleSettings::default() },
            permissions_boundary: None,
            tags: role.tags.clone(),
            trust: TrustPolicy::new(&role.anchor(), &role.trusted),
            attached: BTreeSet::new(),
            inline_policies: [(JOB_POLICY.parse().unwrap(), Some(role.permissions.clone()))].into(),
            instance_profiles: BTreeSet::new(),
        }),
        entry: Some(AccessEntry {
            groups: [ACCESS_GROUP.to_owned()].into(),
            kind: STANDARD.to_owned(),
            arn: "arn:aws:eks:eu-west-3:123456789012:access-entry/demo/role/123456789012/qovery-irsa-demo-access/1".to_owned(),
            tags: role.tags.clone(),
        }),
        objects: objects.collect(),
        ..bare()
    }
}

fn at(kind: ObjectKind, namespace: Option<&str>, name: &str) -> ObjectRef {
    ObjectRef { kind, namespace: namespace.map(|namespace| namespace.parse().unwrap()), name: name.to_owned() }
}

fn guard() -> ObjectRef {
    at(ObjectKind::AdmissionPolicy, None, "qovery-irsa")
}

fn lines(plan: &AccessPlan) -> Vec<String> {
    plan.actions.iter().map(ToString::to_string).collect()
}

fn made(observed: &ObservedAccess) -> AccessPlan {
    make(&desired(&access_spec()), observed).unwrap_or_else(|refusals| panic!("{refusals}"))
}

/// The refusals of a plan, one line each.
fn refused(observed: &ObservedAccess) -> Vec<String> {
    make(&desired(&access_spec()), observed).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_in_sync_needs_nothing() {
    assert_eq!(made(&in_sync(&access_spec())), AccessPlan::default());
}

#[test]
fn the_guard_comes_before_the_rights_and_both_before_anybody_is_let_in() {
    let plan = made(&bare());
    let expected = [
        &format!("create role `{ROLE}`"),
        "put policy `qovery-irsa` on role `qovery-irsa-demo-access`",
        "create ValidatingAdmissionPolicy `qovery-irsa`",
        "create ValidatingAdmissionPolicyBinding `qovery-irsa`",
        "create ClusterRole `qovery-irsa`",
        "create ClusterRoleBinding `qovery-irsa`",
        "create Role `kube-system/qovery-irsa-agent`",
        "create RoleBinding `kube-system/qovery-irsa-agent`",
        &format!("create the access entry of role `{ROLE}` in EKS cluster `demo` with groups `qovery-irsa`"),
        "create ServiceAccount `ops/qovery-irsa-sweep`",
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(plan.actions.iter().filter(|action| action.lets_in()).map(ToString::to_string).collect::<Vec<_>>(), [expected[8]]);
    let spec = BootstrapSpec { pod_identity: false, ..access_spec() };
    let without = make(&desired(&spec), &bare()).unwrap();
    assert_eq!(lines(&without), [&expected[..6], &expected[8..]].concat());
}

#[test]
fn each_difference_of_an_object_is_one_apply_of_the_one_that_was_seen() {
    let spec = access_spec();
    for object in desired(&spec).objects() {
        let mut observed = in_sync(&spec);
        observed.objects.remove(&object.at);
        assert_eq!(lines(&made(&observed)), [format!("create {}", object.at)]);

        let mut observed = in_sync(&spec);
        let seen = observed.objects.get_mut(&object.at).unwrap();
        match object.at.kind {
            ObjectKind::AdmissionPolicy => seen.body["spec"]["failurePolicy"] = "Ignore".into(),
            ObjectKind::AdmissionPolicyBinding => seen.body["spec"]["validationActions"] = json!(["Warn"]),
            ObjectKind::ClusterRole | ObjectKind::Role => seen.body["rules"][0]["verbs"] = json!(["*"]),
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => seen.body["subjects"][0]["name"] = "everybody".into(),
            ObjectKind::ServiceAccount => seen.body["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] = "other".into(),
        }
        let plan = made(&observed);
        assert_eq!(lines(&plan), [format!("change {}", object.at)]);
        let details = plan.actions[0].details();
        assert!(["- ", "+ "].iter().all(|mark| details.iter().any(|line| line.starts_with(mark))), "{}: {details:?}", object.at);
        let AccessAction::Apply { seen, .. } = &plan.actions[0] else { panic!("{plan:?}") };
        assert_eq!(seen.as_deref(), Some(format!("uid of {}", object.at).as_str()));
    }
}

#[test]
fn each_difference_of_the_entry_is_one_change() {
    let change = |change: fn(&mut AccessEntry)| {
        let mut observed = in_sync(&BootstrapSpec { tags: team(), ..access_spec() });
        change(observed.entry.as_mut().unwrap());
        let plan = make(&desired(&BootstrapSpec { tags: team(), ..access_spec() }), &observed).unwrap();
        (lines(&plan), plan.actions.first().map(|action| (action.lets_in(), action.details())).unwrap_or_default())
    };
    assert_eq!(change(|_| {}), Default::default());
    let (actions, (lets_in, details)) = change(|entry| entry.groups.extend(["others".to_owned()]));
    assert_eq!(actions, [format!("change the groups of the access entry of role `{ROLE}` in EKS cluster `demo`")]);
    assert_eq!((lets_in, details), (true, vec!["- groups: `others`, `qovery-irsa`".to_owned(), "+ groups: `qovery-irsa`".to_owned()]));
    let (actions, (lets_in, _)) = change(|entry| drop(entry.tags.remove("team")));
    assert_eq!((actions, lets_in), (vec![format!("tag the access entry of role `{ROLE}`: `team` = `platform`")], false));
    // What somebody else tagged stays.
    assert_eq!(change(|entry| drop(entry.tags.insert("cost".to_owned(), "1".to_owned()))), Default::default());
}

fn team() -> BTreeMap<TagKey, TagValue> {
    [("team".parse().unwrap(), "platform".parse().unwrap())].into()
}

#[test]
fn the_entry_of_a_role_that_is_gone_is_made_anew() {
    let mut observed = in_sync(&access_spec());
    observed.role = None;
    let entry = format!("the access entry of role `{ROLE}` in EKS cluster `demo`");
    assert_eq!(
        lines(&made(&observed)),
        [
            format!("create role `{ROLE}`"),
            "put policy `qovery-irsa` on role `qovery-irsa-demo-access`".to_owned(),
            format!("delete {entry}"),
            format!("create {entry} with groups `qovery-irsa`"),
        ]
    );
}

#[test]
fn a_cluster_that_cannot_have_it_is_refused() {
    assert!(may_have_entries(AuthenticationMode::AccessEntries).is_ok());
    assert_eq!(may_have_entries(AuthenticationMode::ConfigMap).unwrap_err().0.len(), 1);
    for (observed, said) in [
        (ObservedAccess { has_policies: false, ..bare() }, "older than Kubernetes 1.30"),
        (ObservedAccess { namespace: ("ops".parse().unwrap(), ObservedNamespace::Missing), ..bare() }, "namespace `ops` does not exist"),
        (ObservedAccess { namespace: ("ops".parse().unwrap(), ObservedNamespace::Ends), ..bare() }, "namespace `ops` is being deleted"),
    ] {
        let refusals = refused(&observed);
        assert!(refusals.len() == 1 && refusals[0].contains(said), "{said}: {refusals:?}");
    }
}

#[test]
fn what_is_of_others_is_refused_even_where_it_is_as_it_should_be() {
    let spec = access_spec();
    for object in desired(&spec).objects() {
        let mut observed = in_sync(&spec);
        observed.objects.get_mut(&object.at).unwrap().body["metadata"]["labels"] = json!({});
        assert_eq!(refused(&observed), [format!("{} exists, and `bootstrap` did not make it", object.at)]);

        let mut observed = in_sync(&spec);
        observed.objects.get_mut(&object.at).unwrap().body["metadata"]["annotations"]["qovery-irsa/zone"] = "other".into();
        assert_eq!(refused(&observed), [format!("{} is of the cluster access that `bootstrap` made for role `other`", object.at)]);
    }
    let changes: [fn(&mut ObservedAccess); 3] = [
        |observed| drop(observed.entry.as_mut().unwrap().tags.remove(REGION_TAG)),
        |observed| observed.entry.as_mut().unwrap().kind = "EC2_LINUX".to_owned(),
        |observed| drop(observed.role.as_mut().unwrap().tags.remove(REGION_TAG)),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut observed = in_sync(&spec);
        change(&mut observed);
        assert_eq!(refused(&observed).len(), 1, "{number}");
    }
    let mut observed = in_sync(&spec);
    for change in changes {
        change(&mut observed);
    }
    observed.objects.get_mut(&guard()).unwrap().body["metadata"]["labels"] = json!({});
    observed.has_policies = false;
    assert_eq!(refused(&observed).len(), 4, "all are named, not the first alone");
}

#[test]
fn another_field_manager_is_refused_only_where_the_object_differs() {
    let mut observed = in_sync(&access_spec());
    let body = &mut observed.objects.get_mut(&guard()).unwrap().body;
    body["metadata"]["managedFields"] = json!([{"manager": "Terraform", "fieldsV1": {"f:spec": {}}}]);
    assert_eq!(made(&observed), AccessPlan::default());
    observed.objects.get_mut(&guard()).unwrap().body["spec"]["failurePolicy"] = "Ignore".into();
    assert_eq!(refused(&observed), ["ValidatingAdmissionPolicy `qovery-irsa` differs, and a part of it belongs to `Terraform`"]);
}

#[test]
fn nobody_is_in_the_group_before_the_guard_goes() {
    let spec = access_spec();
    let expected = [
        &format!("delete the access entry of role `{ROLE}` in EKS cluster `demo`"),
        "delete RoleBinding `kube-system/qovery-irsa-agent`",
        "delete Role `kube-system/qovery-irsa-agent`",
        "delete ClusterRoleBinding `qovery-irsa`",
        "delete ClusterRole `qovery-irsa`",
        "delete ValidatingAdmissionPolicyBinding `qovery-irsa`",
        "delete ValidatingAdmissionPolicy `qovery-irsa`",
        "delete ServiceAccount `ops/qovery-irsa-sweep`",
        "delete policy `qovery-irsa` of role `qovery-irsa-demo-access`",
        "delete role `qovery-irsa-demo-access`",
    ];
    assert_eq!(lines(&remove(&desired(&spec), &in_sync(&spec)).unwrap()), expected);
    // What was made while the spec still had EKS Pod Identity goes too.
    let without = desired(&BootstrapSpec { pod_identity: false, ..access_spec() });
    assert_eq!(lines(&remove(&without, &in_sync(&spec)).unwrap()), expected);
    assert_eq!(remove(&desired(&spec), &bare()).unwrap(), AccessPlan::default());
    // A cluster that could not have it any more can lose it.
    let observed = ObservedAccess { namespace: ("ops".parse().unwrap(), ObservedNamespace::Ends), ..in_sync(&spec) };
    assert_eq!(lines(&remove(&desired(&spec), &observed).unwrap()), expected);
}

#[test]
fn a_removal_leaves_what_is_of_others_and_names_it() {
    let spec = access_spec();
    let mut observed = in_sync(&spec);
    observed.role.as_mut().unwrap().tags.remove(REGION_TAG);
    observed.entry.as_mut().unwrap().tags.remove(REGION_TAG);
    let mut objects = observed.objects.values_mut();
    objects.next().unwrap().body["metadata"]["annotations"]["qovery-irsa/zone"] = "other".into();
    objects.for_each(|object| object.body["metadata"]["labels"] = json!({}));
    let plan = remove(&desired(&spec), &observed).unwrap();
    assert_eq!((lines(&plan), plan.left.len()), (Vec::new(), 9));
    assert!(plan.left.contains(&"ValidatingAdmissionPolicy `qovery-irsa`: `bootstrap` made it for `other`".to_owned()), "{:?}", plan.left);

    let mut observed = in_sync(&spec);
    observed.role.as_mut().unwrap().inline_policies.insert("by-hand".parse().unwrap(), None);
    assert_eq!(remove(&desired(&spec), &observed).unwrap_err().0.len(), 1);
}
