//! Roles that many environments have together: the registry, patterns, size, the last one out.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{
    delete, role, start,
    world::{World, given, provider_mut, role_mut, together},
};
use crate::{
    model::{
        anchor::StatementKind,
        conditions::Conditions,
        identity::{Binding, Scope},
        observed::Limits,
        oidc::Audience,
        registry::{Entry, TAG_PREFIX},
        subjects::SubjectPattern,
        trust::TrustPolicy,
    },
    plan::{Action, Call as _, CarriedOut, Freshness, Goal, Next, Plan, Progress, plan},
};

fn shared() -> Vec<crate::model::identity::Identity> {
    together(Scope::Shared { retain: false })
}

/// The same world as another environment sees it.
fn elsewhere(world: &World, namespace: &str) -> World {
    let mut other = world.clone();
    other.place.namespace = namespace.parse().unwrap();
    other.observed.service_accounts.clear();
    other
}

fn subjects(world: &World) -> Vec<String> {
    role(world).trust.own_subjects(&world.anchor(), StatementKind::Subjects).iter().map(ToString::to_string).collect()
}

#[test]
fn a_shared_role_is_made_once_and_joined_by_the_next_environment() {
    let mut first = World::empty(shared());
    insta::assert_snapshot!(start(&first), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    create ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/together`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    create role `together` below `/qovery/`, trusting `system:serviceaccount:z1:app`
    attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `together`
    put inline policy `own` on role `together`
    ");
    first.apply(Goal::Start);
    assert_eq!(start(&first), "");
    let mut second = elsewhere(&first, "z2");
    insta::assert_snapshot!(start(&second), @"
    create ServiceAccount `z2/app` with role `arn:aws:iam::123456789012:role/qovery/together`
    mark ServiceAccount `z2/app` as wanted by job `aaaaaaaa`
    tag role `together` with `qovery-irsa/subject/fmgithyahsg47ppq`
    update the trust policy of role `together`: trust `system:serviceaccount:z2:app`
    ");
    second.apply(Goal::Start);
    assert_eq!(start(&second), "");
    assert_eq!(subjects(&second), ["system:serviceaccount:z1:app", "system:serviceaccount:z2:app"]);
}

#[test]
fn the_last_one_out_deletes_an_owned_role_and_only_on_a_settled_look() {
    let mut world = World::in_sync(shared());
    let mut second = elsewhere(&world, "z2");
    second.apply(Goal::Start);
    world.observed.roles = second.observed.roles.clone();
    insta::assert_snapshot!(delete(&world), @"
    untag role `together`: `qovery-irsa/subject/4batr6h4nflypzxg`
    update the trust policy of role `together`: no longer trust `system:serviceaccount:z1:app`
    delete ServiceAccount `z1/app`
    ");
    world.apply(Goal::Delete);
    assert_eq!(delete(&world), "", "the other environment is still in");
    second.observed.roles = world.observed.roles.clone();
    insta::assert_snapshot!(delete(&second), @"
    untag role `together`: `qovery-irsa/subject/fmgithyahsg47ppq`
    update the trust policy of role `together`: no longer trust `system:serviceaccount:z2:app`
    ");
    second.apply(Goal::Delete);
    insta::assert_snapshot!(delete(&second), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `together`
    delete inline policy `own` of role `together`
    delete role `together`
    delete ServiceAccount `z2/app`
    ");
    let unsettled = plan(Goal::Delete, &second.desired(), &second.observed, Freshness::Unsettled).unwrap();
    assert!(unsettled.is_empty() && unsettled.waits);
    second.apply(Goal::Delete);
    assert!(second.observed.roles.is_empty());
}

#[test]
fn a_retained_role_stays_without_subjects_and_trusts_nobody() {
    let mut world = World::in_sync(together(Scope::Shared { retain: true }));
    world.apply(Goal::Delete);
    world.apply(Goal::Delete);
    let left = role(&world).trust.to_value();
    assert_eq!((left["Statement"].as_array().unwrap().len(), &left["Statement"][0]["Effect"]), (1, &json!("Deny")));
}

#[test]
fn a_cluster_role_trusts_a_pattern_says_so_in_words_and_stays() {
    let namespaces = BTreeSet::from(["z*".parse().unwrap(), "team-?".parse().unwrap(), "prod".parse().unwrap()]);
    let mut world = World::empty(together(Scope::Cluster { namespaces }));
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    create role `together` below `/qovery/`, trusting `system:serviceaccount:prod:app`, `system:serviceaccount:team-?:app`, `system:serviceaccount:z*:app`
    attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `together`
    put inline policy `own` on role `together`
    create ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/together`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    note: role `together` may be assumed by the pods of every ServiceAccount `app` in namespace `prod`
    note: role `together` may be assumed by the pods of every ServiceAccount `app` in every namespace that matches `team-?`
    note: role `together` may be assumed by the pods of every ServiceAccount `app` in every namespace that begins with `z`
    ");
    world.apply(Goal::Start);
    assert_eq!(world.plan(Goal::Start).unwrap().actions().count(), 0);
    assert!(world.plan(Goal::Start).unwrap().notes.len() == 3, "who may assume it is said every time");
    insta::assert_snapshot!(role(&world).trust.minified(), @r#"{"Statement":[{"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com"},"StringLike":{"oidc.example.com/id/A:sub":["system:serviceaccount:prod:app","system:serviceaccount:team-?:app","system:serviceaccount:z*:app"]}},"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Sid":"QoveryIrsaClusterlnlnei66"}],"Version":"2012-10-17"}"#);
    insta::assert_snapshot!(delete(&world), @"delete ServiceAccount `z1/app`");
    world.apply(Goal::Delete);
    assert_eq!(world.observed.roles.len(), 1);
}

#[test]
fn extra_subjects_leave_with_the_environment_that_declares_them_unless_another_does_too() {
    let with_keda = |mut identities: Vec<crate::model::identity::Identity>| {
        identities[0].role.extra_subjects.insert("kube-system/keda-operator".parse().unwrap());
        identities
    };
    let keda = "system:serviceaccount:kube-system:keda-operator".to_owned();
    let mut first = World::in_sync(with_keda(shared()));
    let mut second = elsewhere(&first, "z2");
    second.apply(Goal::Start);
    first.observed.roles = second.observed.roles.clone();
    first.apply(Goal::Delete);
    assert!(subjects(&first).contains(&keda));
    second.observed.roles = first.observed.roles.clone();
    second.identities = shared();
    insta::assert_snapshot!(start(&second), @"
    untag role `together`: `qovery-irsa/subject/iix6awyfmq7hbu7h`
    update the trust policy of role `together`: no longer trust `system:serviceaccount:kube-system:keda-operator`
    ");
    second.apply(Goal::Start);
    assert_eq!(subjects(&second), ["system:serviceaccount:z2:app"]);
}

#[test]
fn two_clusters_and_two_audiences_have_a_statement_each() {
    let mut world = World::in_sync(given());
    let mut other = elsewhere(&world, "z1");
    other.place.issuer = "https://oidc.example.com/id/B".parse().unwrap();
    other.identities[0].binding = Binding::Irsa { audience: "vault".parse().unwrap() };
    other.apply(Goal::Start);
    world.observed.roles = other.observed.roles.clone();
    provider_mut(&mut world).audiences.insert("vault".to_owned());
    let mut third = elsewhere(&world, "z3");
    third.identities[0].binding = Binding::Irsa { audience: "vault".parse().unwrap() };
    third.apply(Goal::Start);
    let trust = role(&third).trust.to_value();
    assert_eq!(trust["Statement"].as_array().unwrap().len(), 4, "{trust}");
    world.observed.roles = third.observed.roles.clone();
    assert_eq!(start(&world), "", "each cluster sees its own");
    world.apply(Goal::Delete);
    third.observed.roles = world.observed.roles.clone();
    third.apply(Goal::Delete);
    other.observed.roles = third.observed.roles.clone();
    other.apply(Goal::Delete);
    let before = World::empty(given());
    assert_eq!(role(&other).trust, role(&before).trust);
    assert!(role(&other).tags.is_empty());
}

#[test]
fn a_tag_whose_subject_is_missing_is_put_back_and_a_tag_of_unknown_form_is_left_and_reported() {
    let mut world = World::in_sync(given());
    let mut other = elsewhere(&world, "z2");
    other.apply(Goal::Start);
    world.observed.roles = other.observed.roles.clone();
    let own_only = crate::model::registry::projection(&BTreeSet::from([Entry {
        subject: "z1/app".parse().unwrap(),
        audience: Audience::default(),
        declared_by: "z1/app".parse().unwrap(),
        conditions: Conditions::default(),
    }]));
    let anchor = world.anchor();
    role_mut(&mut world).trust = role(&other).trust.rendered(&anchor, &own_only);
    role_mut(&mut world).tags.insert(format!("{TAG_PREFIX}by-hand"), "whatever".to_owned());
    insta::assert_snapshot!(start(&world), @"
    update the trust policy of role `shared`: trust `system:serviceaccount:z2:app`
    note: role `shared`: tag `qovery-irsa/subject/by-hand` with value `whatever` is of unknown form, perhaps of a newer version of this tool: kept, with the subjects that no other tag explains
    ");
}

/// A given role with so many other environments registered.
fn crowded(count: usize) -> World {
    let mut world = World::in_sync(given());
    let (provider, anchor) = (world.provider(), world.anchor());
    let entries: BTreeSet<Entry> = (0..count)
        .map(|number| {
            let subject: crate::model::names::Subject = format!("z{number:0>6}-environment/app-name").parse().unwrap();
            Entry { declared_by: subject.clone(), subject, audience: Audience::default(), conditions: Conditions::default() }
        })
        .collect();
    let role = role_mut(&mut world);
    role.tags = entries.iter().flat_map(|entry| entry.tags(&provider.issuer)).collect();
    role.trust = role.trust.rendered(&anchor, &crate::model::registry::projection(&entries));
    world
}

#[test]
fn a_trust_policy_over_the_quota_is_refused_before_any_change_with_the_ways_out() {
    let mut world = crowded(35);
    assert!(start(&world).contains("the quota is 2048"), "{}", start(&world));
    let namespaces = (1..35).map(|number| format!("z{number:0>6}-environment").parse().unwrap()).collect();
    world.observed.limits = Limits { trust_policy: Some(2048), attached_policies: Some(10), namespaces: Some(namespaces) };
    insta::assert_snapshot!(start(&world), @"
    refused: the trust policy of role `shared` would have 2299 characters for 36 subjects; the quota is 2048, about 31 of them; registered though their namespace no longer exists: `z000000-environment`
    hint: run `sweep` to remove what deleted environments have left, raise the quota `Role trust policy length` (`aws service-quotas request-service-quota-increase --region us-east-1 --service-code iam --quota-code L-C07B4B0D --desired-value 4096`), or use `scope: environment`: a role for each environment
    ");
    world.observed.limits = Limits { trust_policy: Some(4096), attached_policies: Some(10), namespaces: None };
    assert!(start(&world).starts_with("tag role `shared`"), "{}", start(&world));
}

#[test]
fn a_registry_of_fifty_tags_is_full() {
    let mut world = crowded(50);
    world.observed.limits = Limits { trust_policy: Some(8192), attached_policies: Some(10), namespaces: Some(BTreeSet::new()) };
    let refused = start(&world);
    assert!(
        refused.contains("would carry 51 tags; IAM allows 50; registered though their namespace no longer exists: `z000000-environment`, "),
        "{refused}"
    );
    assert!(refused.contains("hint: run `sweep`"), "{refused}");
}

#[test]
fn the_trust_policy_never_names_everyone_or_an_audience_alone() {
    let mut world = World::in_sync(given());
    for goal in [Goal::Delete, Goal::Start, Goal::Delete] {
        world.apply(goal);
        let trust = role(&world).trust.to_value();
        for statement in trust["Statement"].as_array().unwrap() {
            assert!(statement["Effect"] == "Deny" || statement["Principal"] != "*", "{trust}");
            let federated = statement["Principal"].get("Federated").is_some() && statement["Effect"] == "Allow";
            assert!(!federated || statement["Condition"].to_string().contains(":sub"), "{trust}");
        }
    }
}

#[test]
fn a_role_of_one_environment_is_not_shared_by_a_change_of_the_manifest() {
    let mut own = together(Scope::Environment);
    let mut world = World::in_sync(own.clone());
    own[0].role.scope = Scope::Shared { retain: false };
    world.identities = own;
    insta::assert_snapshot!(start(&world), @"
    refused: role `together` belongs to ServiceAccount `z1/app` of the cluster with issuer `https://oidc.example.com/id/A`
    hint: give each identity its own `name` or leave it out, add a subject to another environment's role there by `extraSubjects`; for a role of many environments give all of them the same `scope` and `name`
    ");
}

fn progress(carried_out: Option<CarriedOut>, quiet: u64, wrote_to_many: bool) -> Progress {
    Progress { carried_out, since_first: Duration::ZERO, quiet: Duration::from_secs(quiet), wrote_to_many, settle: Duration::from_secs(8) }
}

#[test]
fn a_run_ends_only_on_an_empty_plan_a_settle_time_after_its_own_last_write() {
    let empty = Plan::default();
    let waits = Plan { waits: true, ..Plan::default() };
    let whole = Some(CarriedOut::Whole(Duration::ZERO));
    // An environment that was in sync, or a role of one environment, waits for nothing.
    assert_eq!(progress(None, 0, false).before_looking(), Duration::ZERO);
    assert_eq!(progress(whole, 0, false).before_looking(), Duration::ZERO);
    assert_eq!(progress(None, 0, false).next(&empty), Next::Done);
    // After a write to a role of many nothing that is seen before the settle time is over counts.
    assert_eq!(progress(whole, 3, true).before_looking(), Duration::from_secs(5));
    assert_eq!(progress(whole, 9, true).before_looking(), Duration::ZERO);
    assert_eq!(progress(whole, 9, true).next(&empty), Next::Done);
    assert_eq!(progress(None, 3, false).next(&waits), Next::Wait(Duration::from_secs(5)));
    assert_eq!((progress(None, 3, false).freshness(), progress(None, 9, false).freshness()), (Freshness::Unsettled, Freshness::Settled));
}

#[test]
fn what_was_carried_out_is_looked_for_and_only_roles_of_many_are_written_again() {
    let of_one = World::empty(World::identity()).plan(Goal::Start).unwrap();
    let of_many = World::empty(given()).plan(Goal::Start).unwrap();
    let ago = |seconds| Duration::from_secs(seconds);
    for (plan, carried_out, next) in [
        (&of_one, None, Next::CarryOut),
        (&of_one, Some(CarriedOut::Whole(ago(1))), Next::LookAgain),
        (&of_one, Some(CarriedOut::Whole(ago(9))), Next::CarryOut),
        (&of_one, Some(CarriedOut::Overtaken), Next::CarryOut),
        (&of_many, None, Next::CarryOut),
        (&of_many, Some(CarriedOut::Whole(ago(100))), Next::CarryOutMany),
    ] {
        assert_eq!(progress(carried_out, 10, false).next(plan), next, "{carried_out:?}");
        let late = Progress { since_first: ago(69), ..progress(carried_out, 10, false) };
        let given_up = carried_out.is_some() && next != Next::CarryOutMany;
        assert_eq!(late.next(plan), if given_up { Next::GiveUp } else { next }, "{carried_out:?} after a minute");
    }
    let again = of_many.of_many_writers();
    assert!(!again.actions().any(|action| matches!(action, Action::CreateProvider { .. })), "the provider is this environment's to see");
}

#[test]
fn what_cannot_be_read_is_written_back_unchanged() {
    let mut world = World::empty(given());
    let odd = json!([
        {"Effect": "Deny", "NotPrincipal": {"AWS": ["AIDAEXAMPLE", "arn:aws:iam::1:root"]}, "Action": "sts:*", "Condition": {"Odd:Operator": {"x": [1, null]}}},
        {"Sid": "two", "Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLE", "Service": ["a", "b"]}, "Action": ["sts:AssumeRole", "sts:TagSession"]},
    ]);
    let document = json!({"Version": "2008-10-17", "Id": "theirs", "Statement": odd});
    role_mut(&mut world).trust = TrustPolicy::parse(&document.to_string()).unwrap();
    world.apply(Goal::Start);
    let during = role(&world).trust.to_value();
    assert_eq!((&during["Version"], &during["Id"]), (&json!("2008-10-17"), &json!("theirs")));
    assert_eq!(during["Statement"].as_array().unwrap()[..2], *odd.as_array().unwrap());
    world.apply(Goal::Delete);
    assert_eq!(role(&world).trust.to_value(), document);
}

/// What is left of two environments, one of which is gone.
fn left() -> World {
    let mut world = World::in_sync(shared());
    let mut gone = elsewhere(&world, "z2");
    gone.apply(Goal::Start);
    world.observed.roles = gone.observed.roles.clone();
    let mut own = World::empty(World::identity());
    own.place.namespace = "z2".parse().unwrap();
    own.apply(Goal::Start);
    world.observed.left_behind = own.observed.roles.into_values().collect();
    world.observed.limits.namespaces = Some(["z1".parse().unwrap(), "default".parse().unwrap()].into());
    world
}

#[test]
fn a_sweep_removes_the_roles_and_the_subjects_of_environments_that_are_gone_and_no_others() {
    let world = left();
    insta::assert_snapshot!(super::lines(&world, Goal::Sweep), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z2-byv2drfz24`
    delete inline policy `own` of role `app-z2-byv2drfz24`
    delete role `app-z2-byv2drfz24`
    untag role `together`: `qovery-irsa/subject/fmgithyahsg47ppq`
    update the trust policy of role `together`: no longer trust `system:serviceaccount:z2:app`
    ");
    let mut all_there = left();
    all_there.observed.left_behind.clear();
    all_there.observed.limits.namespaces.as_mut().unwrap().insert("z2".parse().unwrap());
    assert_eq!(super::lines(&all_there, Goal::Sweep), "");
}

#[test]
fn a_sweep_without_a_list_of_namespaces_or_with_that_of_another_cluster_removes_nothing() {
    let mut world = left();
    for namespaces in [None, Some(BTreeSet::new()), Some(BTreeSet::from(["elsewhere".parse().unwrap()]))] {
        world.observed.limits.namespaces = namespaces;
        assert!(super::lines(&world, Goal::Sweep).starts_with("refused: nothing is swept: "), "{}", super::lines(&world, Goal::Sweep));
    }
}

#[test]
fn a_sweep_leaves_alone_what_the_tool_did_not_make_or_somebody_else_added_to() {
    let mut world = left();
    let mut by_hand = world.observed.left_behind[0].clone();
    by_hand.tags.clear();
    let mut of_another = world.observed.left_behind[0].clone();
    of_another.tags.insert("qovery-irsa/issuer".to_owned(), "other.example.com".to_owned());
    world.observed.left_behind[0].attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap());
    world.observed.left_behind.extend([by_hand, of_another]);
    world.observed.roles.clear();
    insta::assert_snapshot!(super::lines(&world, Goal::Sweep), @"
    update the trust policy of role `app-z2-byv2drfz24`: no longer trust `system:serviceaccount:z2:app`
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z2-byv2drfz24`
    delete inline policy `own` of role `app-z2-byv2drfz24`
    tag role `app-z2-byv2drfz24` with `qovery-irsa/left`
    untag role `app-z2-byv2drfz24`: `qovery-irsa/made`
    note: left alone: role `arn:aws:iam::123456789012:role/qovery/demo/z2/app-z2-byv2drfz24` exists and was not made by this tool
    note: left alone: role `app-z2-byv2drfz24` belongs to ServiceAccount `z2/app` of the cluster with issuer `https://other.example.com`
    left: role `app-z2-byv2drfz24`: policy `arn:aws:iam::aws:policy/ReadOnlyAccess` was attached by somebody else
    ");
}

#[test]
fn a_sweep_deletes_a_shared_role_whose_last_environment_is_gone() {
    let mut world = left();
    world.observed.left_behind.clear();
    let gone: Vec<String> = role(&world).tags.iter().filter(|(_, value)| *value == "z1/app").map(|(key, _)| key.clone()).collect();
    role_mut(&mut world).tags.retain(|key, _| !gone.contains(key));
    world.apply(Goal::Sweep);
    assert!(world.plan(Goal::Sweep).unwrap().actions().any(|action| action.call() == "iam:DeleteRole"));
}

/// The same role, seen by the job of another environment and project.
fn of_project(world: &World, namespace: &str, project: &str, account: &str, patterns: &[&str]) -> World {
    let mut other = elsewhere(world, namespace);
    other.place.project = crate::model::anchor::ProjectMark::of_project(project);
    other.identities[0].service_account.name = account.parse().unwrap();
    let namespaces = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    other.identities[0].role.scope = Scope::Cluster { namespaces };
    other
}

#[test]
fn two_projects_keep_the_patterns_of_each_other_on_a_cluster_role() {
    let nothing = World::empty(together(Scope::Cluster { namespaces: ["z1-*".parse().unwrap()].into() }));
    let mut one = of_project(&nothing, "z1-a", "p1", "metrics", &["z1-*"]);
    one.apply(Goal::Start);
    let mut other = of_project(&one, "z2-a", "p2", "reports", &["z2-*"]);
    other.apply(Goal::Start);
    let patterns =
        |world: &World| role(world).trust.patterns(&world.anchor()).iter().map(SubjectPattern::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(patterns(&other), "system:serviceaccount:z1-*:metrics system:serviceaccount:z2-*:reports");
    one.observed.roles = other.observed.roles.clone();
    insta::assert_snapshot!(start(&one), @"
    note: role `together` may be assumed by the pods of every ServiceAccount `metrics` in every namespace that begins with `z1-`
    note: role `together`: its trust policy also lets in `system:serviceaccount:z2-*:reports`, which the manifest of another project declares, kept
    ");
    // A change replaces the project's own, and a delete removes none.
    let mut changed = of_project(&one, "z1-a", "p1", "metrics", &["z3-*"]);
    changed.apply(Goal::Start);
    assert_eq!(patterns(&changed), "system:serviceaccount:z2-*:reports system:serviceaccount:z3-*:metrics");
    changed.apply(Goal::Delete);
    assert_eq!(patterns(&changed), "system:serviceaccount:z2-*:reports system:serviceaccount:z3-*:metrics");
}

#[test]
fn the_tools_own_denial_gives_way_to_patterns_on_a_role_that_was_shared() {
    let mut world = World::empty(given());
    role_mut(&mut world).trust = TrustPolicy::parse(r#"{"Version":"2012-10-17","Statement":[]}"#).unwrap();
    world.apply(Goal::Start);
    world.apply(Goal::Delete);
    assert_eq!(role(&world).trust.statements()[0]["Effect"], "Deny");
    world.identities[0].role.scope = Scope::Cluster { namespaces: ["z*".parse().unwrap()].into() };
    world.apply(Goal::Start);
    let statements = role(&world).trust.statements().to_vec();
    assert!(statements.len() == 1 && statements[0]["Effect"] == "Allow", "{statements:?}");
    assert_eq!(world.plan(Goal::Start).unwrap().actions().count(), 0);
}

#[test]
fn an_owned_role_stays_while_a_foreign_statement_lets_somebody_in() {
    for issuer in ["oidc.example.com/id/A", "oidc.example.com/id/ELSE"] {
        let mut world = World::in_sync(shared());
        let mut document = role(&world).trust.to_value();
        document["Statement"].as_array_mut().unwrap().push(json!({
            "Effect": "Allow", "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{issuer}")}, "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {format!("{issuer}:aud"): "sts.amazonaws.com"}, "StringLike": {format!("{issuer}:sub"): "system:serviceaccount:z*:app"}},
        }));
        role_mut(&mut world).trust = TrustPolicy::parse(&document.to_string()).unwrap();
        // Another environment deploys; it may be let in by that statement, and then needs no entry.
        let mut other = elsewhere(&world, "z2");
        other.apply(Goal::Start);
        world.observed.roles = other.observed.roles.clone();
        while world.plan(Goal::Delete).unwrap().actions().count() > 0 {
            world.apply(Goal::Delete);
        }
        other.observed.roles = world.observed.roles.clone();
        if issuer.ends_with('A') {
            assert_eq!(delete(&world), "left: role `together`: a statement of its trust policy lets somebody else in");
        }
        while other.plan(Goal::Delete).unwrap().actions().count() > 0 {
            other.apply(Goal::Delete);
        }
        assert_eq!(delete(&other), "left: role `together`: a statement of its trust policy lets somebody else in");
        assert_eq!(other.observed.roles.len(), 1);
    }
}

#[test]
fn the_tools_statement_for_another_cluster_is_not_called_somebody_elses() {
    let mut world = World::in_sync(shared());
    let mut other = elsewhere(&world, "z1");
    other.place.issuer = "https://oidc.example.com/id/B".parse().unwrap();
    other.apply(Goal::Start);
    world.observed.roles = other.observed.roles.clone();
    insta::assert_snapshot!(start(&world), @"note: role `together`: a statement of its trust policy is this tool's for another cluster, `oidc.example.com/id/B`, kept");
}

#[test]
fn what_a_newer_version_has_registered_keeps_its_subjects_and_the_role() {
    let mut world = World::in_sync(shared());
    let (provider, anchor) = (world.provider(), world.anchor());
    let mut trusted = crate::model::registry::projection(&crate::model::registry::entries(&role(&world).tags, &provider.issuer));
    trusted.add(&Audience::default().into(), SubjectPattern::read("system:serviceaccount:z5:app"));
    let newer = role(&world).trust.rendered(&anchor, &trusted);
    role_mut(&mut world).trust = newer;
    let fingerprint = "a".repeat(16);
    role_mut(&mut world).tags.insert(format!("{TAG_PREFIX}{fingerprint}"), "z5/app from 2030".to_owned());
    assert!(
        start(&world).starts_with("note: ") && start(&world).contains("is of unknown form, perhaps of a newer version"),
        "{}",
        start(&world)
    );
    while world.plan(Goal::Delete).unwrap().actions().count() > 0 {
        world.apply(Goal::Delete);
    }
    assert_eq!(subjects(&world), ["system:serviceaccount:z5:app"]);
    assert!(delete(&world).starts_with("left: role `together`: tag `qovery-irsa/subject/aaaaaaaaaaaaaaaa`"), "{}", delete(&world));
}

#[test]
fn a_role_whose_owner_is_of_a_newer_form_is_refused_and_left() {
    let mut world = World::in_sync(shared());
    role_mut(&mut world).tags.insert("qovery-irsa/owner".to_owned(), "fleet v2".to_owned());
    insta::assert_snapshot!(start(&world), @"
    refused: role `together`: tag `qovery-irsa/owner` with value `fleet v2` is of a form that this version of the tool does not know
    hint: a newer version of this tool has made the role: use that version or a newer one
    ");
    let plan = delete(&world);
    assert!(
        plan.contains("left: role `together`: tag `qovery-irsa/owner` with value `fleet v2`") && !plan.contains("delete role"),
        "{plan}"
    );
}

/// Lets the ServiceAccount in under more than its name and audience.
fn perimeter(more: &serde_json::Value) -> TrustPolicy {
    let host = "oidc.example.com/id/A";
    let mut condition =
        json!({"StringEquals": {format!("{host}:aud"): "sts.amazonaws.com", format!("{host}:sub"): "system:serviceaccount:z1:app"}});
    condition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let statement = json!({"Sid": "AppOfShop", "Effect": "Allow", "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{host}")},
        "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition});
    TrustPolicy::parse(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()).unwrap()
}

#[test]
fn a_perimeter_of_somebody_elses_is_not_undone_by_a_statement_beside_it() {
    for (more, asks) in [
        (json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}}), "`aws:SourceIp`"),
        (json!({"StringLike": {"sts:RoleSessionName": "app-*"}}), "`sts:RoleSessionName`"),
    ] {
        let mut world = World::empty(given());
        role_mut(&mut world).trust = perimeter(&more);
        let plan = start(&world);
        assert!(
            plan.starts_with(&format!(
                "refused: role `shared`: statement 1 `AppOfShop` of its trust policy lets in `z1/app` only under {asks}; this tool's statement would let it in without\nhint: "
            )),
            "{plan}"
        );
        // For somebody else's ServiceAccount it stands in nobody's way.
        world.place.namespace = "z2".parse().unwrap();
        assert!(start(&world).contains("trust `system:serviceaccount:z2:app`"), "{}", start(&world));
        // Where the tool's statement stands already, nothing new is let in.
        world.place.namespace = "z1".parse().unwrap();
        role_mut(&mut world).trust = TrustPolicy::parse(r#"{"Version":"2012-10-17","Statement":[]}"#).unwrap();
        world.apply(Goal::Start);
        let mut both = role(&world).trust.to_value();
        both["Statement"].as_array_mut().unwrap().extend(perimeter(&more).statements().iter().cloned());
        role_mut(&mut world).trust = TrustPolicy::parse(&both.to_string()).unwrap();
        let note = format!(
            "note: role `shared`: statement 2 `AppOfShop` of its trust policy lets in `z1/app` only under {asks}, the tool's own statement without"
        );
        assert_eq!(start(&world), note);
    }
}

#[test]
fn a_change_of_the_audience_is_said_with_the_pods_to_restart() {
    for identities in [World::identity(), given()] {
        let mut world = World::empty(identities);
        world.identities[0].binding = Binding::Irsa { audience: "other".parse().unwrap() };
        world.apply(Goal::Start);
        assert_eq!(start(&world).matches("audience").count(), 0, "{}", start(&world));
        world.identities[0].binding = Binding::default();
        let plan = start(&world);
        assert!(plan.contains(": same subjects, tokens now for `sts.amazonaws.com`, no longer tokens for `other`\n"), "{plan}");
        assert!(
            plan.contains("note: ServiceAccount `z1/app`: the audience of its tokens changes from `other` to `sts.amazonaws.com`. Pods that run keep tokens for `other`")
                && plan.contains("kubectl -n z1 get pods --field-selector spec.serviceAccountName=app"),
            "{plan}"
        );
        world.apply(Goal::Start);
        assert!(!start(&world).contains("audience"), "{}", start(&world));
    }
}

fn conditions(network: &str) -> Conditions {
    Conditions::read(&json!({"IpAddress": {"aws:SourceIp": network}})).unwrap()
}

fn networks(world: &World) -> Vec<(String, String)> {
    let trusted = role(world).trust.own_trusted(&world.anchor(), StatementKind::Subjects);
    let of_grant = |(grant, subjects): (&crate::model::anchor::Grant, &BTreeSet<SubjectPattern>)| {
        let network = grant.conditions.to_members().get("IpAddress").map(|keys| keys["aws:SourceIp"].as_str().unwrap().to_owned());
        (network.unwrap_or_default(), subjects.iter().map(SubjectPattern::as_str).collect::<Vec<_>>().join(" "))
    };
    let mut networks: Vec<_> = trusted.subjects.iter().map(of_grant).collect();
    networks.sort();
    networks
}

#[test]
fn conditions_of_ones_own_are_kept_for_each_environment_of_a_shared_role() {
    let pair = |network: &str, subjects: &str| (network.to_owned(), subjects.to_owned());
    let mut one = World::empty(shared());
    one.identities[0].role.conditions = conditions("10.0.0.0/8");
    one.apply(Goal::Start);
    let mut other = elsewhere(&one, "z2");
    other.identities[0].role.conditions = Conditions::default();
    other.apply(Goal::Start);
    let mut third = elsewhere(&other, "z3");
    third.identities[0].role.conditions = conditions("11.0.0.0/8");
    third.apply(Goal::Start);
    let all = [
        pair("", "system:serviceaccount:z2:app"),
        pair("10.0.0.0/8", "system:serviceaccount:z1:app"),
        pair("11.0.0.0/8", "system:serviceaccount:z3:app"),
    ];
    assert_eq!(networks(&third), all);
    // Whoever sees a statement missing renders it from the tags, conditions included.
    let anchor = third.anchor();
    role_mut(&mut third).trust = role(&third).trust.rendered(&anchor, &crate::model::trust::Trusted::named(&Audience::default(), []));
    assert_eq!(networks(&third), []);
    other.observed.roles = third.observed.roles.clone();
    other.apply(Goal::Start);
    assert_eq!(networks(&other), all);
    // Other conditions take the place of the ones before, and the tags of these go.
    one.observed.roles = other.observed.roles.clone();
    one.identities[0].role.conditions = conditions("12.0.0.0/8");
    assert!(start(&one).contains(": same subjects, under other conditions"), "{}", start(&one));
    one.apply(Goal::Start);
    assert_eq!(one.plan(Goal::Start).unwrap().actions().count(), 0);
    assert_eq!(networks(&one)[2], pair("12.0.0.0/8", "system:serviceaccount:z1:app"));
    assert_eq!(role(&one).tags.keys().filter(|key| key.starts_with(TAG_PREFIX)).count(), 5);
    let mut last = one.clone();
    while last.plan(Goal::Delete).unwrap().actions().count() > 0 {
        last.apply(Goal::Delete);
    }
    assert_eq!(networks(&last).len(), 2);
    assert_eq!(role(&last).tags.keys().filter(|key| key.starts_with(TAG_PREFIX)).count(), 3);
}

#[test]
fn conditions_of_ones_own_stand_in_the_statement_of_every_scope_and_their_loss_is_drift() {
    let patterns = together(Scope::Cluster { namespaces: ["z*".parse().unwrap()].into() });
    for identities in [World::identity(), given(), patterns] {
        let mut world = World::empty(identities);
        world.identities[0].role.conditions = conditions("10.0.0.0/8");
        world.apply(Goal::Start);
        assert_eq!(world.plan(Goal::Start).unwrap().actions().count(), 0);
        let mut trust = role(&world).trust.to_value();
        let statement = trust["Statement"].as_array_mut().unwrap().last_mut().unwrap();
        assert_eq!(statement["Condition"]["IpAddress"], json!({"aws:SourceIp": "10.0.0.0/8"}));
        statement["Condition"].as_object_mut().unwrap().remove("IpAddress");
        role_mut(&mut world).trust = TrustPolicy::parse(&trust.to_string()).unwrap();
        assert!(start(&world).starts_with("update the trust policy of role"), "{}", start(&world));
    }
}

#[test]
fn who_is_let_in_under_less_comes_in_when_everything_has_changed() {
    let mut world = World::empty(World::identity());
    world.identities[0].role.conditions = conditions("10.0.0.0/8");
    world.apply(Goal::Start);
    super::world::attributes(&mut world.identities[0]).policies.clear();
    let order = |world: &World| {
        let plan = start(world);
        plan.find("detach policy").unwrap() < plan.find("update the trust policy").unwrap()
    };
    world.identities[0].role.conditions = Conditions::default();
    assert!(order(&world), "fewer conditions");
    world.identities[0].role.conditions = conditions("0.0.0.0/0");
    assert!(order(&world), "others");
    let mut open = World::in_sync(World::identity());
    super::world::attributes(&mut open.identities[0]).policies.clear();
    open.identities[0].role.conditions = conditions("10.0.0.0/8");
    assert!(!order(&open), "more conditions narrow at once");
}

#[test]
fn conditions_of_ones_own_may_stand_beside_a_perimeter() {
    let mut world = World::empty(given());
    role_mut(&mut world).trust = perimeter(&json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}}));
    world.identities[0].role.conditions = conditions("10.0.0.0/8");
    assert!(start(&world).contains("trust `system:serviceaccount:z1:app`"), "{}", start(&world));
}

#[test]
fn a_perimeter_around_some_of_those_that_a_pattern_lets_in_is_not_undone_either() {
    let network = json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}});
    let mut world = World::empty(given());
    role_mut(&mut world).trust = perimeter(&network);
    for (pattern, refused) in [("z*", true), ("z1", true), ("y*", false)] {
        world.identities[0].role.scope = Scope::Cluster { namespaces: [pattern.parse().unwrap()].into() };
        let plan = start(&world);
        assert_eq!(plan.starts_with("refused: role `shared`: statement 1 `AppOfShop`"), refused, "{pattern}: {plan}");
    }
    // One that asks for name and audience alone is none.
    role_mut(&mut world).trust = perimeter(&json!({}));
    world.identities[0].role.scope = Scope::Cluster { namespaces: ["z*".parse().unwrap()].into() };
    assert!(start(&world).starts_with("create OIDC provider"), "{}", start(&world));
}
