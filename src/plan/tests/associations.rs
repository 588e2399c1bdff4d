//! Associations of EKS Pod Identity that leave, and the roles that they give to pods: what goes, in which order, and what stays.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    delete, lines, start,
    world::{JOB, World, made_role, own_role, role_mut, together},
};
use crate::{
    model::{
        anchor::{Anchor, StatementKind},
        association::{ObservedAssociation, SessionTags},
        identity::{Binding, Identity, Keeper, Prune, Scope},
        marks::Jobs,
        names::ServiceAccountName,
        observed::{FIELD_MANAGER, Field, ObservedRole, Users},
        oidc::Audience,
        pods::{Credentials, Phase, PodRef, Use},
        record::ASSOCIATED_ROLE,
        subjects::SubjectPattern,
        trust::{TrustPolicy, Trusted},
    },
    plan::{Freshness, Goal, Provision, is_due, plan},
};

fn prune(world: &World) -> String {
    lines(world, Goal::Prune)
}

fn sweep(world: &World) -> String {
    lines(world, Goal::Sweep)
}

fn by_association(mut identity: Identity) -> Identity {
    identity.binding = Binding::PodIdentity(Box::default());
    identity
}

/// One environment's role for the pods of this ServiceAccount, by an association.
fn associated(name: &str) -> Identity {
    by_association(own_role(name))
}

/// A role that many environments have together, by associations.
fn shared() -> Vec<Identity> {
    together(Scope::Shared { retain: false }).into_iter().map(by_association).collect()
}

/// Everything is there, and each ServiceAccount records the role that it is associated with.
fn in_sync(identities: Vec<Identity>) -> World {
    let mut world = World::in_sync(identities);
    for name in world.associations().keys().map(ToString::to_string).collect::<Vec<_>>() {
        record(&mut world, &name);
    }
    world
}

fn record(world: &mut World, account: &str) {
    let (name, field) = (name(account), Field::Annotation(ASSOCIATED_ROLE.to_owned()));
    let role = world.associations()[&name].settings.role.to_string();
    let account = world.observed.service_accounts.get_mut(&name).unwrap();
    account.values.insert(field.clone(), role);
    account.managers.entry(field).or_default().insert(FIELD_MANAGER.to_owned());
}

/// In sync with `app` and `old`, then with `app` alone in the manifest.
fn without_old() -> World {
    let mut world = World::in_sync(vec![associated("app"), associated("old")]);
    record(&mut world, "old");
    world.identities.truncate(1);
    world
}

fn name(name: &str) -> ServiceAccountName {
    name.parse().unwrap()
}

fn association_mut<'a>(world: &'a mut World, account: &str) -> &'a mut ObservedAssociation {
    world.associations().get_mut(&name(account)).unwrap()
}

fn user(words: &str, service_account: &str, credentials: Option<Credentials>) -> Use {
    let pod = PodRef { name: "x".to_owned(), uid: "x".to_owned(), phase: Phase::Running };
    let (user, service_account) = (words.to_owned(), service_account.to_owned());
    Use { user, service_account, roles: BTreeSet::new(), ends: false, pod: Some(pod), credentials: credentials.into_iter().collect() }
}

/// The statement that a deploy with the other binding has written, beside what there is.
fn with_tokens_too(world: &World, role: &mut ObservedRole) {
    let mut trusted = Trusted::nobody(StatementKind::Subjects);
    trusted.add(&Audience::default().into(), SubjectPattern::read("system:serviceaccount:z1:app"));
    role.trust = role.trust.rendered(&world.anchor(), &trusted);
}

fn is_gone(world: &World) -> bool {
    world.observed.roles.is_empty()
        && world.observed.service_accounts.is_empty()
        && world.observed.associations.iter().flatten().next().is_none()
}

#[test]
fn what_leaves_the_manifest_is_dated_first_and_an_hour_later_the_association_goes_before_its_role() {
    let mut world = without_old();
    insta::assert_snapshot!(start(&world), @"
    tag role `old-z1-esabsk5adn` with `qovery-irsa/job/aaaaaaaa`
    tag the association of ServiceAccount `z1/old` with `qovery-irsa/job/aaaaaaaa`
    mark ServiceAccount `z1/old` as no longer named
    note: role `old-z1-esabsk5adn`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    note: the association of ServiceAccount `z1/old`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    note: ServiceAccount `z1/old`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    ");
    world.apply(Goal::Start);
    assert!(start(&world).lines().all(|line| line.starts_with("note: ")), "dated once: {}", start(&world));
    world.later(59);
    assert!(!is_due(&world.desired(), &world.observed));
    world.later(1);
    assert!(is_due(&world.desired(), &world.observed));
    world.observed.uses = Some(vec![user("pod `app-1`", "app", Some(Credentials::PodIdentity))]);
    insta::assert_snapshot!(prune(&world), @"
    delete the association of ServiceAccount `z1/old`
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `old-z1-esabsk5adn`
    delete role `old-z1-esabsk5adn`
    delete ServiceAccount `z1/old`
    ");
    world.apply(Goal::Prune);
    assert_eq!((start(&world).as_str(), prune(&world).as_str()), ("", ""));
    assert_eq!(world.associations().keys().map(ToString::to_string).collect::<Vec<_>>(), ["app"]);
}

#[test]
fn an_association_that_somebody_relies_on_stays_with_its_role_and_its_service_account() {
    let mut world = without_old();
    world.apply(Goal::Start);
    world.later(61);
    for (words, credentials) in [("pod `old-1`", Some(Credentials::PodIdentity)), ("Deployment `old`", None)] {
        world.observed.uses = Some(vec![user(words, "old", credentials)]);
        let kept = prune(&world);
        assert!(kept.lines().count() == 3 && kept.lines().all(|line| line.ends_with(&format!("stays: {words} still uses it"))), "{kept}");
        assert!(kept.contains("note: the association of ServiceAccount `z1/old` stays"), "{kept}");
    }
    world.observed.uses = None;
    assert_eq!(prune(&world), "", "who uses it cannot be seen");
    world.observed.uses = Some(Vec::new());
    world.prune = Prune::Off;
    assert!(!is_due(&world.desired(), &world.observed) && prune(&world).is_empty());
    assert!(start(&world).contains("note: the association of ServiceAccount `z1/old`: no identity names it any more, kept (`prune: off`)"));
}

/// Its role is one of many environments, and its ServiceAccount a chart's: the mark on the association itself is all that there is.
/// The association of its ServiceAccount says another role by now.
#[test]
fn a_role_that_pods_may_have_sessions_of_stays_until_these_are_over() {
    let mut world = in_sync(vec![associated("app")]);
    world.identities = shared();
    world.identities[0].service_account.name = "app".parse().unwrap();
    for _ in 0..2 {
        world.apply(Goal::Start);
    }
    world.later(61);
    world.observed.uses = Some(vec![user("pod `app-1`", "app", Some(Credentials::PodIdentity))]);
    let plan = prune(&world);
    assert!(plan.contains("stays: pods may have sessions from EKS Pod Identity until ") && !plan.contains("delete role"), "{plan}");
    world.later(6 * 60);
    assert!(prune(&world).contains("delete role `app-"), "{}", prune(&world));
}

#[test]
fn an_association_alone_is_dated_and_removed_by_its_own_mark() {
    let mut world = World::in_sync([vec![associated("app")], shared().into_iter().map(renamed).collect()].concat());
    world.identities.truncate(1);
    world.observed.service_accounts.remove(&name("web"));
    insta::assert_snapshot!(start(&world), @"
    tag the association of ServiceAccount `z1/web` with `qovery-irsa/job/aaaaaaaa`
    note: the association of ServiceAccount `z1/web`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    ");
    world.apply(Goal::Start);
    world.later(61);
    world.observed.uses = Some(Vec::new());
    assert!(is_due(&world.desired(), &world.observed));
    let trust = world.observed.roles[&"together".parse().unwrap()].trust.clone();
    assert_eq!(prune(&world), "delete the association of ServiceAccount `z1/web`");
    world.apply(Goal::Prune);
    assert_eq!((prune(&world).as_str(), &world.observed.roles[&"together".parse().unwrap()].trust), ("", &trust));
}

fn renamed(mut identity: Identity) -> Identity {
    identity.service_account.name = name("web");
    identity.service_account.keeper = Keeper::Tool;
    identity
}

#[test]
fn marks_of_other_jobs_keep_an_association_until_these_are_known_to_be_gone() {
    let mut world = without_old();
    world.place.job = "bbbbbbbb".parse().ok();
    world.apply(Goal::Start);
    world.observed.uses = Some(Vec::new());
    assert!(plan_asks(&world) && !is_due(&world.desired(), &world.observed));
    let kept = super::super::kept_for_others(&world.desired(), &world.observed).join("\n");
    assert!(
        kept.contains("the association of ServiceAccount `z1/old`: no identity names it, and job `aaaaaaaa` marked it: kept"),
        "{kept}"
    );
    // `delete` of the second job leaves it too, and says so.
    let left = delete(&world);
    assert!(left.contains("left: the association of ServiceAccount `z1/old`: it has the mark of job `aaaaaaaa`"), "{left}");
    // Of what both jobs have marked only the own mark goes.
    let own_mark = "untag the association of ServiceAccount `z1/app`: `qovery-irsa/job/bbbbbbbb`";
    assert!(left.contains(own_mark) && !left.contains("delete the association"), "{left}");

    let exist = BTreeSet::from(["bbbbbbbb".parse().unwrap()]);
    let jobs = Jobs::listed(&exist, &world.observed.marked_by(), world.place.job.as_ref().unwrap());
    world.observed.judge_marks(&jobs);
    assert!(prune(&world).contains("tag the association of ServiceAccount `z1/old` with `qovery-irsa/job/bbbbbbbb`"), "{}", prune(&world));
    world.apply(Goal::Prune);
    assert!(prune(&world).is_empty(), "dated once");
    world.later(61);
    world.apply(Goal::Prune);
    assert_eq!(world.associations().len(), 1);
    world.apply(Goal::Delete);
    assert!(is_gone(&world), "{}", delete(&world));
}

fn plan_asks(world: &World) -> bool {
    super::super::asks_for_jobs(&world.desired(), &world.observed)
}

#[test]
fn a_delete_takes_the_association_before_the_role_whatever_the_manifest_says_by_then() {
    let world = in_sync(vec![associated("app")]);
    insta::assert_snapshot!(delete(&world), @"
    delete the association of ServiceAccount `z1/app`
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    delete role `app-z1-a3udxbr63m`
    delete ServiceAccount `z1/app`
    ");
    let mut unmarked = world.clone();
    association_mut(&mut unmarked, "app").tags.retain(|key, _| !key.contains("/job/"));
    let without = World { identities: Vec::new(), ..world.clone() };
    let by_token = World { identities: vec![own_role("app")], ..world.clone() };
    for mut changed in [world.clone(), unmarked, without, by_token] {
        assert_eq!(delete(&changed), delete(&world));
        changed.apply(Goal::Delete);
        assert!(is_gone(&changed));
        assert_eq!(delete(&changed), "");
    }
    // Of a run that ended between, the next one does the rest.
    let count = world.plan(Goal::Delete).unwrap().actions().count();
    for done in 0..count {
        let mut killed = World { identities: Vec::new(), ..world.clone() };
        killed.apply_first(Goal::Delete, done);
        killed.apply(Goal::Delete);
        assert!(is_gone(&killed), "after {done} actions");
    }
}

#[test]
fn a_delete_leaves_what_an_add_on_or_somebody_else_associates() {
    let add_on = "arn:aws:eks:eu-west-3:123456789012:addon/demo/vpc-cni/1";
    for (change, said) in [("add-on", format!("add-on `{add_on}` owns it")), ("tags", "this tool did not make it".to_owned())] {
        for identities in [vec![associated("app")], Vec::new()] {
            let mut world = World { identities, ..in_sync(vec![associated("app")]) };
            let found = association_mut(&mut world, "app");
            match change {
                "add-on" => found.add_on = Some(add_on.to_owned()),
                _ => found.tags.clear(),
            }
            let deleted = delete(&world);
            assert!(!deleted.contains("delete the association") && deleted.contains("delete role"), "{deleted}");
            let note = "note: left alone: the association of ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`: ";
            assert!(deleted.contains(&format!("{note}{said}")), "{deleted}");
        }
    }
}

#[test]
fn a_delete_that_keeps_what_is_used_keeps_the_association_of_a_running_pod() {
    let mut world = in_sync(vec![associated("app")]);
    world.observed.uses = Some(vec![user("pod `app-1`", "app", Some(Credentials::PodIdentity))]);
    for identities in [world.identities.clone(), Vec::new()] {
        let kept = delete(&World { identities, ..world.clone() });
        assert!(kept.lines().count() == 3 && kept.lines().all(|line| line.ends_with("stays: pod `app-1` still uses it")), "{kept}");
    }
    world.observed.uses.as_mut().unwrap()[0].ends = true;
    world.apply(Goal::Delete);
    assert!(is_gone(&world));
}

#[test]
fn associations_that_may_not_be_read_are_named_by_delete_and_keep_what_a_deploy_would_remove() {
    let mut world = without_old();
    world.apply(Goal::Start);
    world.later(61);
    world.observed.uses = Some(Vec::new());
    world.observed.associations = None;
    world.observed.unread_associations = Some("AccessDeniedException".to_owned());
    let kept = prune(&world);
    assert!(
        kept.lines().count() == 2
            && kept.lines().all(|line| line.ends_with("stays: its association could not be read: AccessDeniedException")),
        "{kept}"
    );
    world.identities.clear();
    let deleted = delete(&world);
    let left = "left: the association of ServiceAccount `z1/old` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/old-z1-esabsk5adn`: its association could not be read: AccessDeniedException";
    assert!(deleted.contains(left), "{deleted}");
    world.apply(Goal::Delete);
    assert!(world.observed.roles.is_empty() && world.observed.service_accounts.is_empty());
}

#[test]
fn an_environments_role_in_the_middle_of_a_move_goes_with_both_its_statements() {
    for identity in [associated("app"), own_role("app")] {
        let mut world = in_sync(vec![associated("app")]);
        let mut role = role_mut(&mut world).clone();
        with_tokens_too(&world, &mut role);
        assert_eq!(role.trust.statements().len(), 2);
        *role_mut(&mut world) = role;
        for identities in [vec![identity.clone()], Vec::new()] {
            let mut moving = World { identities, ..world.clone() };
            moving.place.cluster = if moving.identities.is_empty() { "demo".parse().ok() } else { moving.place.cluster };
            moving.apply(Goal::Delete);
            assert!(is_gone(&moving), "{}", delete(&moving));
        }
        // Where the role stays, neither statement does, and nobody else is kept out but those of this cluster.
        let mut kept = world.clone();
        role_mut(&mut kept).instance_profiles.insert("nodes".to_owned());
        assert!(
            delete(&kept).contains("left: role `app-z1-a3udxbr63m`: it is in instance profile `nodes`\n")
                || delete(&kept).ends_with("it is in instance profile `nodes`"),
            "{}",
            delete(&kept)
        );
        kept.apply(Goal::Delete);
        let trust = role_mut(&mut kept).trust.clone();
        assert!(trust.statements().len() == 1 && trust.statements()[0]["Effect"] == "Deny", "{}", trust.minified());
    }
}

#[test]
fn a_shared_role_stays_as_it_is_when_an_environment_leaves_and_people_are_told_how_it_goes() {
    let world = in_sync(shared());
    let role = world.observed.roles.clone();
    insta::assert_snapshot!(delete(&world), @"
    delete the association of ServiceAccount `z1/app`
    delete ServiceAccount `z1/app`
    note: role `together` stays: pods of other environments may have it by EKS Pod Identity. `sweep` removes it when no association uses it
    ");
    for identities in [world.identities.clone(), Vec::new()] {
        let mut leaving = World { identities, ..world.clone() };
        // It is not waited for either: nothing of this environment is on the role.
        let first = plan(Goal::Delete, &leaving.desired(), &leaving.observed, Freshness::Unsettled).unwrap();
        assert_eq!(first.actions().count(), 2, "{}", delete(&leaving));
        leaving.apply(Goal::Delete);
        assert_eq!(leaving.observed.roles, role);
        assert!(leaving.observed.service_accounts.is_empty() && leaving.associations().is_empty());
    }
    // Nobody is told of a role that is to stay.
    let mut retained = World::empty(together(Scope::Shared { retain: true }).into_iter().map(by_association).collect());
    retained.apply(Goal::Start);
    assert!(!delete(&retained).contains("note: "), "{}", delete(&retained));
}

#[test]
fn a_shared_role_in_the_middle_of_a_move_loses_the_entries_and_keeps_the_statement_for_pods() {
    let mut world = World::in_sync(together(Scope::Shared { retain: false }));
    let Anchor::Oidc(_) = world.anchor() else { unreachable!() };
    let cluster = world.place.cluster_arn(&world.observed.account).unwrap();
    let pods = Anchor::PodIdentity(cluster, SessionTags::On);
    let mut everybody = Trusted::nobody(StatementKind::Subjects);
    everybody.add(&Audience::of_pod_identity().into(), SubjectPattern::everybody());
    let only_pods = TrustPolicy::new(&pods, &everybody);
    role_mut(&mut world).trust = role_mut(&mut world).trust.rendered(&pods, &everybody);
    for identities in [shared(), together(Scope::Shared { retain: false }), Vec::new()] {
        let mut moving = World { identities, ..world.clone() };
        for _ in 0..3 {
            moving.apply(Goal::Delete);
        }
        let role = role_mut(&mut moving);
        assert!(role.trust.means_the_same(&only_pods), "{}", role.trust.minified());
        assert!(role.tags.keys().all(|key| !key.contains("/subject/") && !key.contains("/left")), "{:?}", role.tags);
        assert!(moving.observed.service_accounts.is_empty());
    }
}

/// As a sweep sees it whose own manifest names the shared role.
fn swept() -> World {
    let mut world = World::in_sync(shared());
    world.observed.limits.namespaces = Some(["z1".parse().unwrap()].into());
    world
}

#[test]
fn a_sweep_removes_a_shared_role_that_no_association_uses_and_says_where_it_cannot_know() {
    let mut world = swept();
    let role = role_mut(&mut world).arn.name.clone();
    assert_eq!(sweep(&world), "", "nobody looked");
    world.observed.users.insert(role.clone(), Users::Somebody);
    assert_eq!(sweep(&world), "");
    world
        .observed
        .users
        .insert(role.clone(), Users::Unknown("cluster `x` is in region eu-west-1, and this job works in region eu-west-3".to_owned()));
    insta::assert_snapshot!(sweep(&world), @"note: role `together` stays: it is not known whether an association uses it: cluster `x` is in region eu-west-1, and this job works in region eu-west-3");
    world.observed.users.insert(role, Users::Nobody);
    insta::assert_snapshot!(sweep(&world), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `together`
    delete inline policy `own` of role `together`
    delete role `together`
    ");
    // Whoever is just coming in may not be seen yet.
    let unsettled = plan(Goal::Sweep, &world.desired(), &world.observed, Freshness::Unsettled).unwrap();
    assert!(unsettled.is_empty() && unsettled.waits);
    // An identity of the manifest that gets it by a token changes nothing about that.
    world.identities = together(Scope::Shared { retain: false });
    assert!(sweep(&world).ends_with("delete role `together`"), "{}", sweep(&world));
}

#[test]
fn a_sweep_keeps_a_shared_role_that_is_retained_registered_or_trusted_otherwise() {
    let nobody = |mut world: World| {
        let role = role_mut(&mut world).arn.name.clone();
        world.observed.users.insert(role, Users::Nobody);
        world
    };
    let mut retained = swept();
    retained.identities = together(Scope::Shared { retain: true }).into_iter().map(by_association).collect();
    assert_eq!(sweep(&nobody(retained.clone())), "");
    // Whose manifest says so is another environment.
    let mut elsewhere = swept();
    role_mut(&mut elsewhere).tags.insert("qovery-irsa/retain".to_owned(), "true".to_owned());
    assert_eq!(sweep(&nobody(elsewhere)), "");
    let mut registered = swept();
    let entry = World::in_sync(together(Scope::Shared { retain: false })).observed.roles.into_values().next().unwrap();
    role_mut(&mut registered).tags.extend(entry.tags.into_iter().filter(|(key, _)| key.contains("/subject/")));
    assert!(!sweep(&nobody(registered)).contains("delete role"));
    let mut foreign = swept();
    let mut document = role_mut(&mut foreign).trust.to_value();
    document["Statement"]
        .as_array_mut()
        .unwrap()
        .push(json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}));
    role_mut(&mut foreign).trust = TrustPolicy::parse(&document.to_string()).unwrap();
    let left = sweep(&nobody(foreign));
    assert!(
        left.ends_with("left: role `together`: a statement of its trust policy lets somebody else in") && !left.contains("delete role"),
        "{left}"
    );
}

#[test]
fn a_retained_shared_role_says_so_and_no_longer_when_the_manifest_does_not() {
    let mut world = World::in_sync(together(Scope::Shared { retain: true }).into_iter().map(by_association).collect());
    assert_eq!(role_mut(&mut world).tags.get("qovery-irsa/retain").map(String::as_str), Some("true"));
    assert_eq!(start(&world), "note: role `together` may be assumed by every pod of the cluster that an association gives it to");
    world.identities = shared();
    assert!(start(&world).contains("untag role `together`: `qovery-irsa/retain`"), "{}", start(&world));
}

#[test]
fn a_sweep_removes_the_associations_and_roles_of_environments_that_are_gone() {
    let mut gone = in_sync(vec![associated("app")]);
    let mut role = role_mut(&mut gone).clone();
    with_tokens_too(&gone, &mut role);
    let mut world = swept();
    world.place.namespace = "z9".parse().unwrap();
    world.observed.limits.namespaces = Some(["z9".parse().unwrap()].into());
    world.observed.left_behind = vec![role.clone()];
    let mut alone = association_mut(&mut gone, "app").clone();
    alone.subject = "z2/app".parse().unwrap();
    alone.settings.role = role_mut(&mut world).arn.clone();
    world.observed.left_associations = vec![association_mut(&mut gone, "app").clone(), alone];
    insta::assert_snapshot!(sweep(&world), @"
    delete the association of ServiceAccount `z1/app`
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    delete role `app-z1-a3udxbr63m`
    delete the association of ServiceAccount `z2/app`
    ");
    // Where somebody relies on the role, neither statement of the tool's stays.
    role.instance_profiles.insert("nodes".to_owned());
    world.observed.left_behind = vec![role];
    let left = sweep(&world);
    assert!(
        left.contains("no longer trust `system:serviceaccount:z1:app`") && left.ends_with("it is in instance profile `nodes`"),
        "{left}"
    );
}

#[test]
fn a_statement_for_pods_outlives_the_issuer_of_its_cluster_as_long_as_the_role_is_used() {
    let mut world = swept();
    let trust = role_mut(&mut world).trust.clone();
    let role = role_mut(&mut world).arn.name.clone();
    world.place.issuer = "https://oidc.example.com/id/DEAD".parse().unwrap();
    world.observed.users.insert(role.clone(), Users::Somebody);
    insta::assert_snapshot!(lines(&world, Goal::Retire(Provision::Keep)), @"note: role `together`: its statement for EKS Pod Identity in cluster `arn:aws:eks:eu-west-3:123456789012:cluster/demo` stays: it holds for each cluster of that name. If there will be none, remove the role's tags `qovery-irsa/pods/…` first and then the statement, by hand");
    world.apply(Goal::Retire(Provision::Keep));
    assert_eq!(role_mut(&mut world).trust, trust);
    world.observed.users.insert(role, Users::Nobody);
    assert!(lines(&world, Goal::Retire(Provision::Keep)).ends_with("delete role `together`"));
    // Patterns for pods are of the cluster that lives.
    let scope = Scope::Cluster { namespaces: ["z1-*".parse().unwrap()].into() };
    let mut patterned = World::in_sync(together(scope).into_iter().map(by_association).collect());
    patterned.place.issuer = "https://oidc.example.com/id/DEAD".parse().unwrap();
    let trust = role_mut(&mut patterned).trust.clone();
    patterned.apply(Goal::Retire(Provision::Keep));
    assert_eq!(role_mut(&mut patterned).trust, trust);
}

/// `IRSA_ASSUME_ROLE_ARN`, or a name of the cluster that is no longer known: what was made by it is still known.
#[test]
fn a_role_goes_whatever_is_known_of_the_cluster_by_then() {
    let mut world = in_sync(vec![associated("app")]);
    made_role(&mut world.identities[0]).name = None;
    world.identities.clear();
    world.place.cluster = None;
    world.observed.associations = None;
    let deleted = delete(&world);
    assert!(deleted.contains("delete role `app-z1-a3udxbr63m`") && !deleted.contains("left: role"), "{deleted}");
    assert_eq!(world.place.job.as_ref().map(ToString::to_string).as_deref(), Some(JOB));
}
