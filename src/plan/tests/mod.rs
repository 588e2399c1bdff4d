//! A world in sync, one change, the plan as the operator reads it.

mod agent;
mod associations;
#[cfg(feature = "laptop")]
mod bootstrap;
#[cfg(feature = "laptop")]
mod bootstrap_access;
mod install;
mod install_keyless;
mod ledger;
mod pod_identity;
mod role_only;
mod services;
mod together;
mod world;

use serde_json::json;

use self::world::{World, given, role_mut, service_account_mut};
use super::{Call as _, Goal, Refusals};
use crate::model::{
    anchor::StatementKind,
    conditions::Conditions,
    identity::{Binding, RoleOrigin},
    observed::{Field, KnownProvider, OWNER_TAG},
    ownership::{Ownership, Part},
    role::RoleAttributes,
    subjects::SubjectPattern,
    trust::TrustPolicy,
};

fn lines(world: &World, goal: Goal) -> String {
    match world.plan(goal) {
        Ok(plan) => {
            let notes = plan.notes.iter().chain(&plan.kept).map(|note| format!("note: {note}"));
            let left = plan.left.iter().chain(&plan.lost).map(|left| format!("left: {left}"));
            plan.actions().map(ToString::to_string).chain(notes).chain(left).collect::<Vec<_>>().join("\n")
        }
        Err(refusals) => format!("{refusals}\nhint: {}", refusals.hint()),
    }
}

fn start(world: &World) -> String {
    lines(world, Goal::Start)
}

fn delete(world: &World) -> String {
    lines(world, Goal::Delete)
}

#[test]
fn an_empty_account_gets_provider_role_and_service_account_in_this_order() {
    insta::assert_snapshot!(start(&World::empty(World::identity())), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    create role `app-z1-a3udxbr63m` below `/qovery/demo/z1/`, trusting `system:serviceaccount:z1:app`
    attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `app-z1-a3udxbr63m`
    put inline policy `own` on role `app-z1-a3udxbr63m`
    create ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    ");
}

#[test]
fn a_world_in_sync_has_nothing_to_do() {
    assert_eq!(start(&World::in_sync(World::identity())), "");
    assert_eq!(start(&World::in_sync(given())), "");
}

#[test]
fn what_is_being_deleted_is_refused_and_removed_no_second_time() {
    let mut world = World::in_sync(World::identity());
    service_account_mut(&mut world).ends = true;
    assert!(start(&world).starts_with("refused: ServiceAccount `z1/app` is being deleted\nhint: deploy again when it is gone"));
    let removal = delete(&world);
    assert!(removal.contains("delete role `app-z1-a3udxbr63m`"), "{removal}");
    assert!(removal.ends_with("note: ServiceAccount `z1/app` is being deleted already: what holds it are its finalizers"), "{removal}");
    for mut world in [World::in_sync(World::identity()), World::empty(World::identity())] {
        world.observed.namespace_ends = true;
        assert!(start(&world).starts_with("refused: namespace `z1` is being deleted: no pod starts there any more\nhint: "));
    }
}

type Change = fn(&mut World);

/// A provider that nobody has read is not known to be missing, nor to lack an audience.
#[test]
fn a_provider_that_was_not_read_is_neither_created_nor_changed_nor_removed() {
    let mut world = World::in_sync(World::identity());
    for known in [KnownProvider::ShownBySessions, KnownProvider::NotRead] {
        world.observed.provider = known;
        assert_eq!(start(&world), "");
        let retired = lines(&world, Goal::Retire(super::Provision::Remove));
        assert!(!retired.contains("delete OIDC provider"), "{retired}");
    }
}

#[test]
fn a_provider_is_wanted_only_where_a_binding_needs_it() {
    let mut world = World::empty(World::identity());
    world.identities[0].binding = Binding::PodIdentity(Box::default());
    let plan = start(&world);
    assert!(plan.contains("trusting `system:serviceaccount:z1:app`") && !plan.contains("OIDC provider"), "{plan}");
    world.apply(Goal::Start);
    assert_eq!(start(&world), "");
    assert!(role(&world).trust.minified().contains(r#""Principal":{"Service":"pods.eks.amazonaws.com"}"#));
    // A condition taken out by hand is drift.
    let mut by_hand = role(&world).trust.to_value();
    by_hand["Statement"][0]["Condition"]["StringEquals"].as_object_mut().unwrap().remove("aws:RequestTag/kubernetes-namespace");
    role_mut(&mut world).trust = TrustPolicy::parse(&by_hand.to_string()).unwrap();
    assert!(start(&world).starts_with("update the trust policy of role"), "{}", start(&world));
    world.apply(Goal::Delete);
    assert!(world.observed.roles.is_empty());
}

#[test]
fn a_shared_role_of_pod_identity_trusts_its_cluster_and_stays() {
    let mut world = World::empty(given());
    world.identities[0].binding = Binding::PodIdentity(Box::default());
    insta::assert_snapshot!(start(&world), @"
    tag role `shared` with `qovery-irsa/pods/ozgj6uhbci563xzl`
    update the trust policy of role `shared`: trust every pod that an association gives it to
    associate ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/shared`
    create ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/shared`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    note: role `shared` may be assumed by every pod of the cluster that an association gives it to
    ");
    world.apply(Goal::Start);
    let trust = role(&world).trust.clone();
    world.place.namespace = "z2".parse().unwrap();
    world.observed.service_accounts.clear();
    world.apply(Goal::Start);
    world.apply(Goal::Delete);
    assert_eq!(role(&world).trust, trust);
}

#[test]
fn drift_of_each_field_is_one_action() {
    let cases: Vec<(&str, Change)> = vec![
        ("provider", |world| world.observed.provider = KnownProvider::Read(None)),
        ("audience", |world| world::provider_mut(world).audiences.clear()),
        ("description", |world| role_mut(world).settings.description = Some("by hand".to_owned())),
        ("session", |world| role_mut(world).settings.max_session_duration = 43200),
        ("boundary", |world| role_mut(world).permissions_boundary = None),
        ("other boundary", |world| role_mut(world).permissions_boundary = "arn:aws:iam::aws:policy/AdministratorAccess".parse().ok()),
        ("tag", |world| drop(role_mut(world).tags.insert("team".to_owned(), "other".to_owned()))),
        ("tag gone", |world| drop(role_mut(world).tags.remove("team"))),
        ("attached", |world| role_mut(world).attached.clear()),
        ("inline", |world| drop(role_mut(world).inline_policies.insert("own".parse().unwrap(), Some(json!({"Statement": []}))))),
        ("inline gone", |world| role_mut(world).inline_policies.clear()),
        ("trust", |world| {
            let trust =
                json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
            role_mut(world).trust = TrustPolicy::parse(&trust.to_string()).unwrap();
        }),
        ("annotation", |world| {
            let field = Field::Annotation("eks.amazonaws.com/role-arn".to_owned());
            service_account_mut(world).values.remove(&field);
            service_account_mut(world).managers.remove(&field);
        }),
        ("mark", |world| {
            let field = Field::Label("qovery-irsa/job-aaaaaaaa".to_owned());
            service_account_mut(world).values.remove(&field);
            service_account_mut(world).managers.remove(&field);
        }),
    ];
    let mut shown = Vec::new();
    for (name, change) in cases {
        let mut world = World::in_sync(World::identity());
        change(&mut world);
        let plan = world.plan(Goal::Start).unwrap();
        assert_eq!(plan.actions().count(), 1, "{name}: {}", start(&world));
        shown.push(format!("{name}: {}", plan.actions().next().unwrap()));
        world.apply(Goal::Start);
        assert_eq!(world.plan(Goal::Start).unwrap().actions().count(), 0, "{name}: {}", start(&world));
    }
    insta::assert_snapshot!(shown.join("\n"), @"
    provider: create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    audience: add audience `sts.amazonaws.com` to OIDC provider `oidc.example.com/id/A`
    description: update role `app-z1-a3udxbr63m`: description, sessions of 3600 s
    session: update role `app-z1-a3udxbr63m`: description, sessions of 3600 s
    boundary: put permissions boundary `arn:aws:iam::123456789012:policy/bounds` on role `app-z1-a3udxbr63m`
    other boundary: put permissions boundary `arn:aws:iam::123456789012:policy/bounds` on role `app-z1-a3udxbr63m`
    tag: tag role `app-z1-a3udxbr63m` with `team`
    tag gone: tag role `app-z1-a3udxbr63m` with `team`
    attached: attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `app-z1-a3udxbr63m`
    inline: put inline policy `own` on role `app-z1-a3udxbr63m`
    inline gone: put inline policy `own` on role `app-z1-a3udxbr63m`
    trust: update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:z1:app`
    annotation: apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    mark: mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    ");
}

#[test]
fn what_the_tool_put_there_and_nobody_wants_any_more_goes_and_its_record_after_it() {
    let mut world = World::in_sync(World::identity());
    let role = world::attributes(&mut world.identities[0]);
    role.policies.clear();
    role.inline_policies.clear();
    role.tags.clear();
    role.permissions_boundary = None;
    insta::assert_snapshot!(start(&world), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    delete inline policy `own` of role `app-z1-a3udxbr63m`
    delete the permissions boundary of role `app-z1-a3udxbr63m`
    untag role `app-z1-a3udxbr63m`: `qovery-irsa/made`, `team`
    ");
    world.apply(Goal::Start);
    assert_eq!(start(&world), "");
}

#[test]
fn what_somebody_else_put_there_stays_and_is_reported() {
    let mut world = World::in_sync(World::identity());
    let role = role_mut(&mut world);
    role.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap());
    role.inline_policies.insert("theirs".parse().unwrap(), None);
    role.tags.insert("theirs".to_owned(), "kept".to_owned());
    insta::assert_snapshot!(start(&world), @"
    note: role `app-z1-a3udxbr63m`: policy `arn:aws:iam::aws:policy/ReadOnlyAccess` was attached by somebody else, kept
    note: role `app-z1-a3udxbr63m`: inline policy `theirs` was put there by somebody else, kept
    ");
}

#[test]
fn a_policy_that_was_attached_before_is_not_claimed_and_stays_when_the_manifest_drops_it() {
    let mut world = World::in_sync(World::identity());
    let read_only = "arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap();
    role_mut(&mut world).attached.insert(read_only);
    let read_only = "arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap();
    world::attributes(&mut world.identities[0]).policies.insert(read_only);
    assert_eq!(start(&world), "");
    let read_only = "arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap();
    world::attributes(&mut world.identities[0]).policies.remove(&read_only);
    assert_eq!(world.plan(Goal::Start).unwrap().actions().count(), 0);
}

#[test]
fn a_role_of_that_name_made_by_somebody_else_is_refused_whatever_the_case() {
    let mut world = World::in_sync(World::identity());
    role_mut(&mut world).tags.clear();
    let name = role_mut(&mut world).arn.name.to_string();
    role_mut(&mut world).arn.name = name.to_uppercase().parse().unwrap();
    insta::assert_snapshot!(start(&world), @r#"
    refused: role `arn:aws:iam::123456789012:role/qovery/demo/z1/APP-Z1-A3UDXBR63M` exists and was not made by this tool
    hint: to let this tool manage only its trust, give the identity `role: {arn: "arn:aws:iam::123456789012:role/qovery/demo/z1/APP-Z1-A3UDXBR63M"}`; to get a role of its own, give it another `name`; or delete that role
    "#);
    insta::assert_snapshot!(delete(&world), @"
    delete ServiceAccount `z1/app`
    note: left alone: role `arn:aws:iam::123456789012:role/qovery/demo/z1/APP-Z1-A3UDXBR63M` exists and was not made by this tool
    ");
}

#[test]
fn a_role_of_another_identity_is_refused() {
    let mut world = World::in_sync(World::identity());
    role_mut(&mut world).tags.insert(OWNER_TAG.to_owned(), "z9/other".to_owned());
    insta::assert_snapshot!(start(&world), @"
    refused: role `app-z1-a3udxbr63m` belongs to ServiceAccount `z9/other` of the cluster with issuer `https://oidc.example.com/id/A`
    hint: give each identity its own `name` or leave it out, add a subject to another environment's role there by `extraSubjects`; for a role of many environments give all of them the same `scope` and `name`
    ");
}

#[test]
fn a_role_below_another_path_is_refused() {
    let mut world = World::in_sync(World::identity());
    role_mut(&mut world).arn.path = "/".parse().unwrap();
    insta::assert_snapshot!(start(&world), @"
    refused: role `arn:aws:iam::123456789012:role/app-z1-a3udxbr63m` should be below `/qovery/demo/z1/`
    hint: IAM cannot move a role: set `path` and the cluster's name back, or run `delete` with the old ones and deploy again
    ");
}

#[test]
fn a_changed_inline_policy_is_put_before_a_new_subject_comes_in_and_after_one_has_left() {
    let position = |world: &World, text: &str| start(world).lines().position(|line| line.starts_with(text)).unwrap();
    let mut world = World::in_sync(World::identity());
    role_mut(&mut world).inline_policies.insert("own".parse().unwrap(), Some(json!({"Statement": []})));
    let mut wider = world.clone();
    wider.identities[0].role.extra_subjects.insert("kube-system/keda-operator".parse().unwrap());
    assert!(position(&wider, "put inline") < position(&wider, "update the trust"));
    let mut narrower = world.clone();
    narrower.identities = wider.identities.clone();
    narrower.apply(Goal::Start);
    role_mut(&mut narrower).inline_policies.insert("own".parse().unwrap(), Some(json!({"Statement": []})));
    narrower.identities = world.identities.clone();
    assert!(position(&narrower, "update the trust") < position(&narrower, "put inline"));
}

#[test]
fn policies_are_taken_away_before_trust_is_added_and_given_after() {
    let mut world = World::in_sync(World::identity());
    let role = world::attributes(&mut world.identities[0]);
    role.policies = ["arn:aws:iam::aws:policy/AmazonSQSFullAccess".parse().unwrap()].into();
    world.identities[0].role.extra_subjects.insert("kube-system/keda-operator".parse().unwrap());
    insta::assert_snapshot!(start(&world), @"
    tag role `app-z1-a3udxbr63m` with `qovery-irsa/made`
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:kube-system:keda-operator`
    attach policy `arn:aws:iam::aws:policy/AmazonSQSFullAccess` to role `app-z1-a3udxbr63m`
    tag role `app-z1-a3udxbr63m` with `qovery-irsa/made`
    ");
}

#[test]
fn a_field_that_another_manager_holds_with_another_value_is_refused_and_named() {
    let mut world = World::in_sync(World::identity());
    let field = Field::Annotation("eks.amazonaws.com/role-arn".to_owned());
    let observed = service_account_mut(&mut world);
    observed.values.insert(field.clone(), "arn:aws:iam::123456789012:role/other".to_owned());
    observed.managers.insert(field, ["helm".to_owned()].into());
    insta::assert_snapshot!(start(&world), @"
    refused: ServiceAccount `z1/app`: annotation `eks.amazonaws.com/role-arn` is `arn:aws:iam::123456789012:role/other`, held by field manager `helm`; it should be `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    hint: remove it where `helm` sets it (the values of the Helm release); or set it by `kubectl -n z1 annotate --overwrite serviceaccount app 'eks.amazonaws.com/role-arn=arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m'`; then deploy again
    ");
}

#[test]
fn a_field_that_another_manager_holds_with_the_same_value_is_shared() {
    let mut world = World::in_sync(World::identity());
    let observed = service_account_mut(&mut world);
    observed.values.remove(&Field::Label("app.kubernetes.io/managed-by".to_owned()));
    observed.managers.clear();
    observed.managers.insert(Field::Annotation("eks.amazonaws.com/role-arn".to_owned()), ["helm".to_owned()].into());
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    ");
    world.apply(Goal::Start);
    assert_eq!(start(&world), "");
    // What Helm made stays when the environment's part goes.
    insta::assert_snapshot!(delete(&world), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    delete inline policy `own` of role `app-z1-a3udxbr63m`
    delete role `app-z1-a3udxbr63m`
    remove the tool's fields from ServiceAccount `z1/app`
    take the mark of job `aaaaaaaa` from ServiceAccount `z1/app`
    ");
}

#[test]
fn delete_takes_the_role_first_and_the_service_account_that_records_it_last() {
    let mut world = World::in_sync(World::identity());
    insta::assert_snapshot!(delete(&world), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    delete inline policy `own` of role `app-z1-a3udxbr63m`
    delete role `app-z1-a3udxbr63m`
    delete ServiceAccount `z1/app`
    ");
    world.apply(Goal::Delete);
    assert_eq!(delete(&world), "");
    assert!(matches!(world.observed.provider, KnownProvider::Read(Some(_))));
}

#[test]
fn a_role_whose_record_of_ownership_was_removed_by_hand_is_still_deleted() {
    let mut world = World::in_sync(World::identity());
    role_mut(&mut world).tags.remove("qovery-irsa/made");
    assert!(world.plan(Goal::Delete).unwrap().actions().any(|action| action.call() == "iam:DeleteRole"));
}

#[test]
fn a_half_made_environment_is_completed_or_deleted() {
    let done = World::in_sync(World::identity());
    let steps = World::empty(World::identity()).plan(Goal::Start).unwrap().actions().count();
    for goal in [Goal::Start, Goal::Delete] {
        for made in 0..=steps {
            let mut world = World::empty(World::identity());
            world.apply_first(Goal::Start, made);
            world.apply(goal);
            assert_eq!(world.plan(goal).unwrap().actions().count(), 0, "{made} steps made, {goal:?}");
            if goal == Goal::Start {
                assert_eq!(world.observed, done.observed, "{made} steps made");
            } else {
                assert!(world.observed.roles.is_empty() && world.observed.service_accounts.is_empty());
            }
        }
    }
}

#[test]
fn a_half_deleted_environment_is_deleted() {
    let steps = World::in_sync(World::identity()).plan(Goal::Delete).unwrap().actions().count();
    for gone in 0..=steps {
        let mut world = World::in_sync(World::identity());
        world.apply_first(Goal::Delete, gone);
        world.apply(Goal::Delete);
        assert!(world.observed.roles.is_empty() && world.observed.service_accounts.is_empty(), "{gone} steps gone");
    }
}

#[test]
fn a_given_role_gets_a_registry_tag_and_a_statement_and_nothing_else() {
    insta::assert_snapshot!(start(&World::empty(given())), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    create ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/shared`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    tag role `shared` with `qovery-irsa/subject/4batr6h4nflypzxg`
    update the trust policy of role `shared`: trust `system:serviceaccount:z1:app`
    ");
    insta::assert_snapshot!(delete(&World::in_sync(given())), @"
    untag role `shared`: `qovery-irsa/subject/4batr6h4nflypzxg`
    update the trust policy of role `shared`: no longer trust `system:serviceaccount:z1:app`
    delete ServiceAccount `z1/app`
    ");
}

#[test]
fn a_given_role_keeps_the_subjects_of_other_environments() {
    let mut world = World::in_sync(given());
    world.place.namespace = "z2".parse().unwrap();
    world.apply(Goal::Start);
    let subjects = |world: &World| {
        role(world)
            .trust
            .own_subjects(&world.anchor(), StatementKind::Subjects)
            .iter()
            .map(SubjectPattern::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(subjects(&world), "system:serviceaccount:z1:app system:serviceaccount:z2:app");
    world.apply(Goal::Delete);
    assert_eq!(subjects(&world), "system:serviceaccount:z1:app");
}

fn role(world: &World) -> &crate::model::observed::ObservedRole {
    world.observed.roles.values().next().unwrap()
}

#[test]
fn a_subject_by_hand_in_the_tools_statement_goes_and_is_reported() {
    let mut world = World::in_sync(given());
    let anchor = world.anchor();
    let by_hand = crate::model::registry::projection(
        &[crate::model::registry::Entry {
            subject: "z9/by-hand".parse().unwrap(),
            audience: crate::model::oidc::Audience::default(),
            declared_by: "z9/by-hand".parse().unwrap(),
            conditions: Conditions::default(),
        }]
        .into(),
    );
    role_mut(&mut world).trust = role(&world).trust.rendered(&anchor, &by_hand);
    insta::assert_snapshot!(start(&world), @"
    update the trust policy of role `shared`: trust `system:serviceaccount:z1:app`, no longer `system:serviceaccount:z9:by-hand`
    note: role `shared`: `system:serviceaccount:z9:by-hand` stands in the tool's statement but in no tag, removed
    ");
}

#[test]
fn a_given_role_that_is_missing_or_another_is_refused() {
    let mut world = World::empty(given());
    world.observed.roles.clear();
    insta::assert_snapshot!(start(&world), @"
    refused: role `arn:aws:iam::123456789012:role/shared` does not exist
    hint: create it, correct the ARN, or let this tool make one: `policies` instead of `arn`
    ");
    let mut world = World::empty(given());
    role_mut(&mut world).arn.path = "/elsewhere/".parse().unwrap();
    insta::assert_snapshot!(start(&world), @"
    refused: the manifest gives role `arn:aws:iam::123456789012:role/shared`, but the role of that name is `arn:aws:iam::123456789012:role/elsewhere/shared`
    hint: correct the ARN, path included
    ");
}

#[test]
fn a_foreign_statement_that_trusts_the_subject_already_is_enough() {
    let mut world = World::empty(given());
    let (issuer, arn) = (world.place.issuer.host_and_path().to_owned(), world.provider().arn);
    let by_hand = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{issuer}:aud"): "sts.amazonaws.com", format!("{issuer}:sub"): "system:serviceaccount:z1:app"}}}]});
    role_mut(&mut world).trust = TrustPolicy::parse(&by_hand.to_string()).unwrap();
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    create ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/shared`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    ");
}

#[test]
fn more_tags_than_a_role_can_carry_are_refused() {
    let mut world = World::in_sync(World::identity());
    for number in 0..50 {
        role_mut(&mut world).tags.insert(format!("theirs-{number}"), String::new());
    }
    world::attributes(&mut world.identities[0]).tags.insert("new".parse().unwrap(), "x".parse().unwrap());
    assert!(start(&world).contains("IAM allows 50"), "{}", start(&world));
}

#[test]
fn the_same_inputs_in_another_order_give_the_same_text() {
    let mut identities = vec![World::identity().remove(0), given().remove(0)];
    identities[1].service_account.name = "other".parse().unwrap();
    let one = start(&World::empty(identities.clone()));
    identities.reverse();
    let other = start(&World::empty(identities));
    let sorted = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(&one), sorted(&other));
    assert_eq!(one, other);
}

#[test]
fn several_refusals_are_all_said() {
    let mut identities = vec![given().remove(0), given().remove(0)];
    identities[1].service_account.name = "other".parse().unwrap();
    identities[1].role.origin = RoleOrigin::Given("arn:aws:iam::123456789012:role/second".parse().unwrap());
    let mut world = World::empty(identities);
    world.observed.roles.clear();
    let Err(Refusals(refusals)) = world.plan(Goal::Start) else { panic!("not refused") };
    assert_eq!(refusals.len(), 2);
}

#[test]
fn the_record_of_ownership_names_what_was_put_there() {
    let world = World::in_sync(World::identity());
    let ownership = Ownership::from_tags(&role(&world).tags);
    assert!(ownership.has(Part::Tag("team")));
    assert!(ownership.has(Part::Inline(&"own".parse().unwrap())));
    assert!(ownership.has(Part::Attached(&"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".parse().unwrap())));
    assert!(ownership.has(Part::Boundary(&"arn:aws:iam::123456789012:policy/bounds".parse().unwrap())));
}

#[test]
fn this_room_and_the_model_know_no_time_no_files_no_environment_and_no_sdk() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![source.join("plan"), source.join("model")];
    let mut read = 0;
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("tests")));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for word in [
            "async ",
            ".await",
            "std::env",
            "std::fs",
            "SystemTime",
            "Instant",
            "tokio",
            "aws_",
            "kube::",
            "k8s_openapi",
            "reqwest",
            "tracing",
            "println",
            "crate::clients::aws",
            "crate::clients::kubernetes",
            "crate::config",
            "crate::clients::call",
        ] {
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                assert!(!line.contains(word), "{}: {word} in {line}", path.display());
            }
        }
        let is_model = path.starts_with(source.join("model"));
        assert!(!is_model || !code.contains("crate::plan"), "{} uses plan", path.display());
        read += 1;
    }
    assert!(read > 15, "{read}");
}

#[test]
fn a_plan_is_a_function_of_its_inputs() {
    let world = World::empty(World::identity());
    assert_eq!(world.plan(Goal::Start), world.plan(Goal::Start));
}

#[test]
fn a_service_account_whose_names_do_not_fit_a_tag_is_refused_before_any_change() {
    let mut identities = World::identity();
    identities[0].service_account.name = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(60)].join(".").parse().unwrap();
    let mut world = World::empty(identities);
    world.place.namespace = "n".repeat(60).parse().unwrap();
    assert!(start(&world).contains("are too long for the tag that registers it"), "{}", start(&world));
}

fn order(world: &World, pieces: &[&str]) {
    let plan = start(world);
    let at = |piece: &str| plan.lines().position(|line| line.starts_with(piece)).unwrap_or_else(|| panic!("{piece} in\n{plan}"));
    assert!(pieces.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{pieces:?} in\n{plan}");
}

#[test]
fn a_boundary_is_claimed_before_it_is_put() {
    let mut identities = World::identity();
    world::attributes(&mut identities[0]).permissions_boundary = None;
    let mut world = World::in_sync(identities);
    world.identities = World::identity();
    order(&world, &["tag role", "put permissions boundary"]);
    world.apply_first(Goal::Start, 2);
    world::attributes(&mut world.identities[0]).permissions_boundary = None;
    world.apply(Goal::Start);
    assert_eq!(role(&world).permissions_boundary, None, "a run killed right after it was put still owns it");
}

#[test]
fn a_boundary_that_replaces_another_comes_after_what_is_taken_away_and_one_where_there_was_none_before() {
    let mut world = World::in_sync(World::identity());
    let made = world::attributes(&mut world.identities[0]);
    made.policies = ["arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap()].into();
    made.permissions_boundary = "arn:aws:iam::123456789012:policy/wider".parse().ok();
    order(&world, &["tag role", "detach policy", "put permissions boundary", "attach policy"]);
    role_mut(&mut world).permissions_boundary = None;
    order(&world, &["put permissions boundary", "detach policy", "attach policy"]);
}

#[test]
fn a_guard_is_changed_or_dropped_before_anything_is_given() {
    let mut world = World::in_sync(World::identity());
    let made = world::attributes(&mut world.identities[0]);
    made.policies.insert("arn:aws:iam::aws:policy/AdministratorAccess".parse().unwrap());
    made.inline_policies.insert("own".parse().unwrap(), json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}));
    made.inline_policies.insert("new".parse().unwrap(), json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}));
    let without = made.clone();
    made.permissions_boundary = "arn:aws:iam::123456789012:policy/narrower".parse().ok();
    order(&world, &["put permissions boundary", "put inline policy `own`", "attach policy", "put inline policy `new`"]);
    *world::attributes(&mut world.identities[0]) = RoleAttributes { permissions_boundary: None, ..without };
    order(&world, &["delete the permissions boundary", "put inline policy `own`", "attach policy", "put inline policy `new`"]);
}

#[test]
fn a_subject_that_leaves_never_sees_a_changed_document_and_one_that_comes_never_sees_the_old() {
    let mut world = World::in_sync(World::identity());
    world.identities[0].role.extra_subjects.insert("kube-system/old".parse().unwrap());
    world.apply(Goal::Start);
    world.identities = World::identity();
    world.identities[0].role.extra_subjects.insert("kube-system/new".parse().unwrap());
    role_mut(&mut world).inline_policies.insert("own".parse().unwrap(), Some(json!({"Statement": []})));
    let name = role(&world).arn.name.to_string();
    let (leaves, comes) = ("no longer trust `system:serviceaccount:kube-system:old`", "trust `system:serviceaccount:kube-system:new`");
    let trust = |what: &str| format!("update the trust policy of role `{name}`: {what}");
    order(&world, &[&trust(leaves), "put inline policy", &trust(comes)]);
    world.apply(Goal::Start);
    assert_eq!(start(&world), "");
}

#[test]
fn a_trust_widened_by_hand_is_narrowed_before_a_document_changes() {
    let mut world = World::in_sync(World::identity());
    let wide = role(&world).trust.to_value().to_string().replace("StringEquals", "StringLike").replace(":z1:app", ":*");
    role_mut(&mut world).trust = TrustPolicy::parse(&wide).unwrap();
    role_mut(&mut world).inline_policies.insert("own".parse().unwrap(), Some(json!({"Statement": []})));
    order(&world, &["update the trust policy", "put inline policy"]);
}

#[test]
fn the_record_that_stays_is_written_before_a_tag_of_it_goes() {
    let many = |count: usize| {
        let mut identities = World::identity();
        world::attributes(&mut identities[0]).tags =
            (0..count).map(|number| (format!("key-{number}").parse().unwrap(), "x".parse().unwrap())).collect();
        identities
    };
    let mut world = World::in_sync(many(30));
    world.identities = many(3);
    let done = world.plan(Goal::Start).unwrap().actions().count();
    for killed_after in 0..done {
        let mut world = world.clone();
        world.apply_first(Goal::Start, killed_after);
        world.identities = many(0);
        world.apply(Goal::Start);
        let left: Vec<_> = role(&world).tags.keys().filter(|key| key.starts_with("key-")).collect();
        assert!(left.is_empty(), "killed after {killed_after}: {left:?}");
    }
}

#[test]
fn a_role_that_another_environment_owns_is_not_shared_by_giving_its_arn() {
    let mut world = World::in_sync(World::identity());
    let arn = role(&world).arn.clone();
    world.place.namespace = "z2".parse().unwrap();
    world.identities = given();
    world.identities[0].role.origin = RoleOrigin::Given(arn);
    assert!(start(&world).starts_with("refused: role `app-z1-a3udxbr63m` belongs to ServiceAccount `z1/app`"), "{}", start(&world));
    assert_eq!(world.plan(Goal::Delete).unwrap().actions().filter(|action| action.call().starts_with("iam:")).count(), 0);
}

#[test]
fn delete_leaves_a_role_of_another_service_account_and_one_of_another_cluster() {
    for (tag, value) in [(OWNER_TAG, "z9/other"), ("qovery-irsa/issuer", "oidc.example.com/id/B")] {
        let mut world = World::in_sync(World::identity());
        role_mut(&mut world).tags.insert(tag.to_owned(), value.to_owned());
        let plan = world.plan(Goal::Delete).unwrap();
        assert_eq!(plan.actions().filter(|action| action.call().starts_with("iam:")).count(), 0, "{tag}");
        assert!(plan.notes[0].starts_with("left alone: role `"), "{:?}", plan.notes);
    }
}

#[test]
fn a_boundary_that_somebody_else_set_stays_and_is_noted() {
    let mut identities = World::identity();
    world::attributes(&mut identities[0]).permissions_boundary = None;
    let mut world = World::in_sync(identities);
    role_mut(&mut world).permissions_boundary = "arn:aws:iam::123456789012:policy/theirs".parse().ok();
    let plan = start(&world);
    assert!(plan.starts_with("note: ") && plan.contains("was set by somebody else, kept"), "{plan}");
}

#[test]
fn a_service_account_of_which_another_manager_holds_a_field_is_released_and_not_deleted() {
    let mut world = World::in_sync(World::identity());
    let theirs = Field::Other("imagePullSecrets".to_owned());
    service_account_mut(&mut world).managers.insert(theirs, ["kubectl-patch".to_owned()].into());
    insta::assert_snapshot!(delete(&world).lines().rev().take(3).collect::<Vec<_>>().join("\n"), @"
    note: ServiceAccount `z1/app` stays: `kubectl-patch` holds fields of it; if nobody needs it, `kubectl -n z1 delete serviceaccount app` removes it
    take the mark of job `aaaaaaaa` from ServiceAccount `z1/app`
    remove the tool's fields from ServiceAccount `z1/app`
    ");
    world.apply(Goal::Delete);
    assert!(!service_account_mut(&mut world).is_touched() && delete(&world).is_empty(), "{}", delete(&world));
}

/// What somebody does to a field: they hold it now, and nobody else.
fn edit(world: &mut World, field: &Field, value: &str, managers: &[&str]) {
    let observed = service_account_mut(world);
    observed.values.insert(field.clone(), value.to_owned());
    observed.managers.insert(field.clone(), managers.iter().map(|manager| (*manager).to_owned()).collect());
}

fn annotation() -> Field {
    Field::Annotation("eks.amazonaws.com/role-arn".to_owned())
}

#[test]
fn what_a_person_changes_by_hand_is_set_back() {
    let mut identities = World::identity();
    let account = &mut identities[0].service_account;
    account.labels = [("tier".parse().unwrap(), "backend".parse().unwrap())].into();
    account.automount = Some(false);
    let in_sync = World::in_sync(identities);
    for (field, value) in [
        (annotation(), "arn:aws:iam::123456789012:role/other"),
        (Field::Label("tier".to_owned()), "frontend"),
        (Field::Label("qovery-irsa/job-aaaaaaaa".to_owned()), "mine"),
        (Field::Automount, "true"),
    ] {
        for managers in
            [&["kubectl-annotate"][..], &["kubectl-label"], &["kubectl-edit"], &["kubectl-patch", "kubectl-edit"], &["velero-server"]]
        {
            let mut world = in_sync.clone();
            edit(&mut world, &field, value, managers);
            let plan = start(&world);
            // A job's mark is set by the job's own field manager.
            let back = format!("set {field} of ServiceAccount `z1/app` back\nnote: ");
            let marked = field == Field::Label("qovery-irsa/job-aaaaaaaa".to_owned()) && plan.starts_with("mark ServiceAccount `z1/app`");
            assert!(plan.starts_with(&back) || marked, "{plan}");
            assert!(plan.contains(&format!("{field} was changed to `{value}` by `{}", managers.iter().min().unwrap())), "{plan}");
            world.apply(Goal::Start);
            // A role that a backup brought back is one that the ServiceAccount had.
            let again = start(&world);
            assert!(again.lines().all(|line| line.starts_with("note: ") && line.contains("had role")), "{field} {managers:?}: {again}");
            assert!(again.is_empty() || managers == ["velero-server"], "{field} {managers:?}: {again}");
        }
        for (managers, named) in [
            (&["helm"][..], "held by field manager `helm`;"),
            (&["argocd-controller", "kubectl-edit"], "held by field managers `argocd-controller`, `kubectl-edit`;"),
            (&["kubectl-client-side-apply"], "held by field manager `kubectl-client-side-apply`;"),
            (&["kustomize-controller"], "held by field manager `kustomize-controller`;"),
        ] {
            let mut world = in_sync.clone();
            edit(&mut world, &field, value, managers);
            let plan = start(&world);
            assert!(plan.starts_with("refused: ") && plan.contains(named), "{plan}");
            assert!(plan.contains("; or set it by `kubectl -n z1 "), "{plan}");
        }
    }
}

#[test]
fn a_hand_that_was_there_before_the_tool_is_not_overruled() {
    let mut world = World::in_sync(World::identity());
    let observed = service_account_mut(&mut world);
    observed.values.clear();
    observed.managers.clear();
    edit(&mut world, &annotation(), "arn:aws:iam::123456789012:role/other", &["kubectl-annotate"]);
    assert!(start(&world).starts_with("refused: "), "{}", start(&world));
}

#[test]
fn a_hands_edit_is_set_back_before_the_role_changes() {
    let mut identities = World::identity();
    identities[0].service_account.labels = [("tier".parse().unwrap(), "backend".parse().unwrap())].into();
    let mut world = World::in_sync(identities);
    edit(&mut world, &Field::Label("tier".to_owned()), "frontend", &["kubectl-label"]);
    world::made_role(&mut world.identities[0]).name = "another".parse().ok();
    let plan = start(&world);
    assert!(plan.contains("set label `tier` of ServiceAccount `z1/app` back") && !plan.contains("record the next role"), "{plan}");
    world.apply(Goal::Start);
    let plan = start(&world);
    assert!(plan.contains("apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/another`"), "{plan}");
    world.apply(Goal::Start);
    assert!(start(&world).lines().all(|line| line.starts_with("note: ")), "{}", start(&world));
}

#[test]
fn what_was_cleared_or_brought_back_is_the_tools_all_the_same() {
    let in_sync = World::in_sync(World::identity());
    for restorer in [None, Some("before-first-apply"), Some("velero-server")] {
        let mut world = in_sync.clone();
        let observed = service_account_mut(&mut world);
        let held = |_: &Field| restorer.into_iter().map(str::to_owned).collect();
        observed.managers = observed.values.keys().map(|field| (field.clone(), held(field))).collect();
        if restorer.is_none() {
            observed.managers.clear();
        }
        let mut restored = world.clone();
        // The next deploy takes hold again, of the mark too.
        let plan = start(&restored);
        assert!(plan.starts_with("apply ServiceAccount `z1/app`") && plan.lines().count() == 2, "{plan}");
        restored.apply(Goal::Start);
        assert_eq!(start(&restored), "");
        for mut world in [world, restored] {
            let plan = delete(&world);
            assert!(plan.ends_with("delete ServiceAccount `z1/app`"), "{restorer:?}: {plan}");
            world.apply(Goal::Delete);
            assert!(world.observed.service_accounts.is_empty());
        }
    }
}

#[test]
fn a_role_that_changes_where_a_hand_or_a_backup_holds_the_annotation_too_is_recorded_as_ever() {
    for (other, held_too) in [("kubectl-annotate", true), ("velero-server", true), ("velero-server", false)] {
        let mut world = World::in_sync(World::identity());
        let before = service_account_mut(&mut world).role().unwrap();
        let managers = service_account_mut(&mut world).managers.get_mut(&annotation()).unwrap();
        managers.insert(other.to_owned());
        if !held_too {
            managers.remove("qovery-irsa");
        }
        world::made_role(&mut world.identities[0]).name = "another".parse().ok();
        let plan = start(&world);
        let expected = if held_too { "apply ServiceAccount `z1/app` with role" } else { "set annotation `eks.amazonaws.com/role-arn` of" };
        assert!(plan.contains(expected), "{other}: {plan}");
        assert_eq!(plan.contains("was changed to"), !held_too, "{other}: {plan}");
        world.apply(Goal::Start);
        let account = service_account_mut(&mut world);
        assert!(account.earlier_roles().contains(&before), "{other}: the role before is recorded until it is left");
        assert!(account.role().unwrap().to_string().ends_with("/another"), "{other}");
    }
}

#[test]
fn a_service_account_that_no_longer_says_whose_it_is_is_left_with_a_word() {
    let mut world = World::in_sync(World::identity());
    let label = Field::Label("app.kubernetes.io/managed-by".to_owned());
    let observed = service_account_mut(&mut world);
    observed.values.remove(&label);
    observed.managers.remove(&label);
    assert_eq!(start(&world), "");
    insta::assert_snapshot!(delete(&world).lines().rev().take(3).collect::<Vec<_>>().join("\n"), @"
    note: ServiceAccount `z1/app` stays: its label `app.kubernetes.io/managed-by` does not say that this tool created it; if nobody needs it, `kubectl -n z1 delete serviceaccount app` removes it
    take the mark of job `aaaaaaaa` from ServiceAccount `z1/app`
    remove the tool's fields from ServiceAccount `z1/app`
    ");
    // Somebody else's, by contrast, is left without: it is theirs.
    service_account_mut(&mut world).managers.insert(Field::Label("app".to_owned()), ["helm".to_owned()].into());
    let ends = "remove the tool's fields from ServiceAccount `z1/app`\ntake the mark of job `aaaaaaaa` from ServiceAccount `z1/app`";
    assert!(delete(&world).ends_with(ends), "{}", delete(&world));
}

#[test]
fn what_was_brought_back_on_somebody_elses_service_account_goes_all_the_same() {
    let mut world = World::in_sync(World::identity());
    let label = Field::Label("app.kubernetes.io/managed-by".to_owned());
    edit(&mut world, &label, "Helm", &["velero-server"]);
    let observed = service_account_mut(&mut world);
    observed.managers = observed.values.keys().map(|field| (field.clone(), ["velero-server".to_owned()].into())).collect();
    assert!(delete(&world).contains("take hold of the tool's fields on ServiceAccount `z1/app`"), "{}", delete(&world));
    world.apply(Goal::Delete);
    assert!(delete(&world).contains("remove the tool's fields from ServiceAccount `z1/app`"), "{}", delete(&world));
    world.apply(Goal::Delete);
    let observed = service_account_mut(&mut world);
    assert_eq!(observed.values.keys().collect::<Vec<_>>(), [&label], "what is theirs stays");
}

/// As when it was made again from a file: somebody holds all of it too, with the same values.
#[test]
fn whoever_holds_the_same_values_as_well_takes_no_mark_away() {
    for manager in ["kubectl-create", "kubectl-client-side-apply", "helm"] {
        let mut world = World::in_sync(World::identity());
        for holders in service_account_mut(&mut world).managers.values_mut() {
            holders.insert(manager.to_owned());
        }
        // That the tool created it is no longer its word alone; then there is nothing to do.
        assert!(!start(&world).contains("mark ServiceAccount"), "{manager}: {}", start(&world));
        world.apply(Goal::Start);
        assert_eq!(start(&world), "", "{manager}");
        let removal = delete(&world);
        assert!(removal.contains("take the mark of job `aaaaaaaa` from ServiceAccount `z1/app`"), "{manager}: {removal}");
        world.apply(Goal::Delete);
        assert!(delete(&world).lines().all(|line| line.starts_with("note: ")), "{manager}: {}", delete(&world));
    }
}
