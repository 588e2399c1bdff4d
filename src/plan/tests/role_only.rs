//! ServiceAccounts that somebody else makes and keeps: the tool makes the role, and never writes, dates or deletes them.

use super::{
    delete, start,
    world::{World, given, own_role, service_account_mut},
};
use crate::{
    model::{
        identity::{Binding, Keeper},
        names::ServiceAccountName,
        observed::{FIELD_MANAGER, Field, MANAGED_BY, ObservedServiceAccount, ROLE_ANNOTATION},
        record::EARLIER_ROLES,
        service::{ObservedService, Service, ServiceKind},
    },
    plan::{Action, Goal},
};

const ROLE: &str = "arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m";
const LATER: u64 = 61;

fn role_only(world: &mut World) {
    world.identities[0].service_account.keeper = Keeper::Other;
}

fn by_pods(world: &mut World) {
    world.identities[0].binding = Binding::PodIdentity(Box::default());
}

/// The ServiceAccount as a chart makes it, with this role.
fn of_chart(role: Option<&str>) -> ObservedServiceAccount {
    let annotation = role.map(|role| (Field::Annotation(ROLE_ANNOTATION.to_owned()), role.to_owned()));
    let values: std::collections::BTreeMap<_, _> =
        annotation.into_iter().chain([(Field::Label(MANAGED_BY.0.to_owned()), "Helm".to_owned())]).collect();
    ObservedServiceAccount {
        namespace: "z1".parse().unwrap(),
        uid: "chart".to_owned(),
        version: "7".to_owned(),
        ends: false,
        managers: values.keys().map(|field| (field.clone(), ["helm".to_owned()].into())).collect(),
        values,
    }
}

fn put(world: &mut World, found: ObservedServiceAccount) {
    world.observed.service_accounts.insert(app(), found);
}

fn app() -> ServiceAccountName {
    "app".parse().unwrap()
}

/// What of the ServiceAccount is the tool's.
fn ours(world: &World) -> Vec<String> {
    let found = &world.observed.service_accounts[&app()];
    let ours = |managers: &std::collections::BTreeSet<String>| managers.iter().any(|manager| manager.starts_with(FIELD_MANAGER));
    found.managers.iter().filter(|(_, managers)| ours(managers)).map(|(field, _)| field.to_string()).collect()
}

#[test]
fn the_role_is_made_and_the_service_account_is_not() {
    let mut world = World::empty(vec![own_role("app")]);
    role_only(&mut world);
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    create role `app-z1-a3udxbr63m` below `/qovery/demo/z1/`, trusting `system:serviceaccount:z1:app`
    attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `app-z1-a3udxbr63m`
    note: ServiceAccount `z1/app` does not exist; it needs annotation `eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`. With `roleOnly` the tool does not write it
    ");
    world.apply(Goal::Start);
    assert!(start(&world).starts_with("note: ServiceAccount `z1/app` does not exist"));
    // Its plan has no ServiceAccount that could be tried out.
    assert!(world.plan(Goal::Start).unwrap().rehearsals().is_empty());
}

#[test]
fn with_pod_identity_role_and_association_are_made() {
    let mut world = World::empty(vec![own_role("app")]);
    role_only(&mut world);
    by_pods(&mut world);
    insta::assert_snapshot!(start(&world), @"
    create role `app-z1-a3udxbr63m` below `/qovery/demo/z1/`, trusting `system:serviceaccount:z1:app`
    attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `app-z1-a3udxbr63m`
    associate ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    note: ServiceAccount `z1/app` does not exist. With `roleOnly` the tool does not write it
    ");
    world.apply(Goal::Start);
    put(&mut world, of_chart(None));
    assert_eq!(start(&world), "");
}

#[test]
fn a_charts_service_account_is_judged_by_its_annotation_and_never_touched() {
    let mut world = World::in_sync(vec![own_role("app")]);
    role_only(&mut world);
    put(&mut world, of_chart(Some(ROLE)));
    assert_eq!(start(&world), "");
    for role in [None, Some("arn:aws:iam::123456789012:role/other")] {
        put(&mut world, of_chart(role));
        let note = format!(
            "note: ServiceAccount `z1/app` has no annotation `eks.amazonaws.com/role-arn: {ROLE}`. With `roleOnly` the tool does not write it"
        );
        assert_eq!(start(&world), note);
    }
    // One that ends comes back as the chart's too.
    put(&mut world, ObservedServiceAccount { ends: true, ..of_chart(Some(ROLE)) });
    assert_eq!(start(&world), "");
    put(&mut world, of_chart(Some(ROLE)));
    world.later(10 * LATER);
    assert_eq!(super::lines(&world, Goal::Prune), "");
    let removal = delete(&world);
    assert!(removal.contains("delete role") && !removal.contains("ServiceAccount"), "{removal}");
    world.apply(Goal::Delete);
    assert_eq!(world.observed.service_accounts[&app()], of_chart(Some(ROLE)));
}

#[test]
fn services_are_bound_to_it_all_the_same() {
    let mut world = World::in_sync(vec![own_role("app")]);
    role_only(&mut world);
    put(&mut world, of_chart(Some(ROLE)));
    world.identities[0].services.services.insert("api".parse().unwrap());
    let id = "a1b20003-0000-4000-8000-000000000003".parse().unwrap();
    let service = Service { id, name: "api".to_owned(), kind: ServiceKind::Application };
    world.observed.services = vec![ObservedService { service, service_account: None, variables: None }];
    let plan = world.plan(Goal::Start).unwrap();
    assert!(matches!(plan.actions().collect::<Vec<_>>()[..], [Action::BindService { .. }]));
}

#[test]
fn one_that_the_tool_made_keeps_the_role_by_the_tools_word_until_its_new_keeper_says_so() {
    let mut world = World::in_sync(vec![own_role("app")]);
    role_only(&mut world);
    insta::assert_snapshot!(start(&world), @"
    remove the tool's fields from ServiceAccount `z1/app`, but for annotation `eks.amazonaws.com/role-arn`
    take the mark of job `aaaaaaaa` from ServiceAccount `z1/app`
    ");
    world.apply(Goal::Start);
    assert_eq!(ours(&world), [format!("annotation `{ROLE_ANNOTATION}`")]);
    assert_eq!(service_account_mut(&mut world).values.len(), 1);
    assert_eq!(start(&world), "");
    world.later(LATER);
    assert_eq!(super::lines(&world, Goal::Prune), "");
    // The chart says it now.
    let field = Field::Annotation(ROLE_ANNOTATION.to_owned());
    service_account_mut(&mut world).managers.entry(field.clone()).or_default().insert("helm".to_owned());
    assert_eq!(start(&world), "remove the tool's fields from ServiceAccount `z1/app`");
    world.apply(Goal::Start);
    assert_eq!(ours(&world), [] as [&str; 0]);
    assert_eq!(service_account_mut(&mut world).values[&field], ROLE);
    assert_eq!(start(&world), "");
}

#[test]
fn with_pod_identity_the_tool_lets_go_of_all_at_once() {
    let mut world = World::empty(vec![own_role("app")]);
    by_pods(&mut world);
    world.apply(Goal::Start);
    role_only(&mut world);
    insta::assert_snapshot!(start(&world), @"
    remove the tool's fields from ServiceAccount `z1/app`
    take the mark of job `aaaaaaaa` from ServiceAccount `z1/app`
    ");
    world.apply(Goal::Start);
    assert_eq!((ours(&world).len(), start(&world).as_str()), (0, ""));
}

/// A pod that starts before EKS shows the association has only the annotation.
#[test]
fn the_annotation_stays_while_an_identity_moves_to_pod_identity_and_to_role_only_at_once() {
    let mut world = World::in_sync(vec![own_role("app")]);
    by_pods(&mut world);
    role_only(&mut world);
    world.observed.pods = Some(Vec::new());
    world.associations();
    for _ in 0..2 {
        world.apply(Goal::Start);
        assert!(ours(&world).contains(&format!("annotation `{ROLE_ANNOTATION}`")), "{:?}", ours(&world));
    }
    world.later(6);
    world.apply(Goal::Start);
    assert_eq!((ours(&world).len(), start(&world).as_str()), (0, ""));
}

#[test]
fn a_role_that_it_had_before_is_recorded_until_it_is_left() {
    let mut world = World::in_sync(given());
    world.identities = vec![own_role("app")];
    role_only(&mut world);
    let plan = start(&world);
    assert!(
        plan.contains(
            "remove the tool's fields from ServiceAccount `z1/app`, but for annotation `eks.amazonaws.com/role-arn`, annotation `qovery-irsa/earlier-roles`"
        ),
        "{plan}"
    );
    world.apply(Goal::Start);
    assert_eq!(ours(&world), [format!("annotation `{ROLE_ANNOTATION}`"), format!("annotation `{EARLIER_ROLES}`")]);
    assert_eq!(service_account_mut(&mut world).values[&Field::Annotation(ROLE_ANNOTATION.to_owned())], ROLE);
    world.later(LATER);
    world.observed.uses = Some(Vec::new());
    world.apply(Goal::Prune);
    let left = world.observed.roles.values().find(|role| role.arn.name.as_str() == "shared").unwrap();
    assert!(!left.trust.minified().contains("z1:app"), "{}", left.trust.minified());
    assert_eq!(ours(&world), [format!("annotation `{ROLE_ANNOTATION}`")]);
    assert_eq!(start(&world), "");
}

#[test]
fn while_another_job_wants_it_only_the_own_mark_goes() {
    let mut world = World::in_sync(vec![own_role("app")]);
    let mut other = World { identities: world.identities.clone(), ..world.clone() };
    other.place.job = "bbbbbbbb".parse().ok();
    other.apply(Goal::Start);
    world.observed = other.observed;
    role_only(&mut world);
    assert_eq!(start(&world), "take the mark of job `aaaaaaaa` from ServiceAccount `z1/app`");
    world.apply(Goal::Start);
    assert_eq!(start(&world), "");
}

#[test]
fn a_delete_lets_go_and_never_deletes_it() {
    for apply_first in [false, true] {
        let mut world = World::in_sync(vec![own_role("app")]);
        role_only(&mut world);
        if apply_first {
            world.apply(Goal::Start);
        }
        let removal = delete(&world);
        assert!(
            removal.contains("remove the tool's fields from ServiceAccount `z1/app`") && !removal.contains("delete ServiceAccount"),
            "{removal}"
        );
        world.apply(Goal::Delete);
        assert_eq!((world.observed.roles.len(), ours(&world).len()), (0, 0));
    }
}

#[test]
fn a_role_of_many_environments_is_joined_and_left_without_a_record() {
    let shared = |world: &World| world.observed.roles.values().next().unwrap().trust.minified();
    for found in [None, Some(of_chart(Some("arn:aws:iam::123456789012:role/shared")))] {
        let mut world = World::empty(given());
        role_only(&mut world);
        world.observed.service_accounts.extend(found.clone().map(|found| (app(), found)));
        let before = shared(&world);
        world.apply(Goal::Start);
        assert!(shared(&world).contains("system:serviceaccount:z1:app"));
        world.apply(Goal::Delete);
        assert_eq!((shared(&world), world.observed.service_accounts.get(&app())), (before, found.as_ref()));
    }
}

#[test]
fn one_that_the_tool_is_to_keep_again_is_applied_again() {
    let mut world = World::in_sync(vec![own_role("app")]);
    role_only(&mut world);
    world.apply(Goal::Start);
    world.identities[0].service_account.keeper = Keeper::Tool;
    assert!(start(&world).starts_with("mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`"), "{}", start(&world));
    world.apply(Goal::Start);
    assert_eq!(start(&world), "");
}
