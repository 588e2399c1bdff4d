//! What leaves the manifest, and a removal that knows without the manifest what to remove.

use std::collections::BTreeSet;

use super::{
    delete, lines, start,
    world::{JOB, World, given, made_role, own_role, provider_mut, role_mut, together},
};
use crate::{
    model::{
        anchor::StatementKind,
        identity::{Identity, Prune, RoleOrigin, Scope},
        marks::Jobs,
        names::RoleName,
        observed::{FIELD_MANAGER, Field, KnownProvider},
        pods::Use,
        subjects::SubjectPattern,
    },
    plan::{Freshness, Goal, is_due, plan},
};

fn prune(world: &World) -> String {
    lines(world, Goal::Prune)
}

fn uses(user: &str, service_account: &str, roles: &[&str]) -> Use {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Use { user: user.to_owned(), service_account: service_account.to_owned(), roles, ends: false, pod: None, credentials: BTreeSet::new() }
}

/// In sync with `app` and `old`, then with `app` alone in the manifest.
fn without_old() -> World {
    let mut world = World::in_sync(vec![own_role("app"), own_role("old")]);
    world.identities.truncate(1);
    world
}

fn is_due_in(world: &World) -> bool {
    is_due(&world.desired(), &world.observed)
}

#[test]
fn what_leaves_the_manifest_is_dated_first_and_removed_an_hour_later() {
    let mut world = without_old();
    insta::assert_snapshot!(start(&world), @"
    tag role `old-z1-esabsk5adn` with `qovery-irsa/job/aaaaaaaa`
    mark ServiceAccount `z1/old` as no longer named
    note: role `old-z1-esabsk5adn`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    note: ServiceAccount `z1/old`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    ");
    world.apply(Goal::Start);
    let waiting = start(&world);
    assert_eq!(waiting.lines().filter(|line| line.starts_with("note: ")).count(), 2, "said, and not dated again: {waiting}");
    assert_eq!(waiting.lines().count(), 2);
    world.later(59);
    assert!(!is_due_in(&world));
    world.later(1);
    assert!(is_due_in(&world));
    world.observed.uses = Some(Vec::new());
    insta::assert_snapshot!(prune(&world), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `old-z1-esabsk5adn`
    delete role `old-z1-esabsk5adn`
    delete ServiceAccount `z1/old`
    ");
    world.apply(Goal::Prune);
    assert_eq!((start(&world).as_str(), prune(&world).as_str()), ("", ""));
    assert_eq!((world.observed.roles.len(), world.observed.service_accounts.len()), (1, 1));
}

#[test]
fn what_comes_back_into_the_manifest_in_time_stays() {
    let mut world = without_old();
    world.apply(Goal::Start);
    world.later(30);
    world.identities.push(own_role("old"));
    insta::assert_snapshot!(start(&world), @"
    tag role `old-z1-esabsk5adn` with `qovery-irsa/job/aaaaaaaa`
    mark ServiceAccount `z1/old` as wanted by job `aaaaaaaa`
    ");
    world.apply(Goal::Start);
    world.later(120);
    assert_eq!(start(&world), "");
    assert!(!is_due_in(&world));
}

#[test]
fn what_somebody_uses_stays_and_is_named_and_where_that_cannot_be_seen_everything_stays() {
    let mut world = without_old();
    world.apply(Goal::Start);
    world.later(61);
    for user in ["pod `old-5d8f`", "Deployment `old`", "CronJob `nightly`", "application `api`"] {
        world.observed.uses = Some(vec![uses(user, "old", &[])]);
        let kept = prune(&world);
        assert!(kept.contains(&format!("note: role `old-z1-esabsk5adn` stays: {user} still uses it")), "{kept}");
        assert_eq!(kept.lines().count(), 2, "{kept}");
    }
    let arn = world.observed.roles[&"old-z1-esabsk5adn".parse::<RoleName>().unwrap()].arn.to_string();
    world.observed.uses = Some(vec![uses("pod `job-x`", "default", &[&arn])]);
    assert_eq!(prune(&world), "delete ServiceAccount `z1/old`\nnote: role `old-z1-esabsk5adn` stays: pod `job-x` still uses it");
    world.observed.uses = None;
    world.observed.unread = vec!["it cannot be seen who uses it".to_owned()];
    assert_eq!(prune(&world), "note: it cannot be seen who uses it");
    world.observed.uses = Some(vec![uses("pod `app-1`", "app", &[])]);
    assert_eq!(prune(&world).lines().filter(|line| !line.starts_with("note")).count(), 3, "who uses something else keeps nothing");
}

#[test]
fn with_prune_off_what_leaves_is_named_and_stays() {
    let mut world = without_old();
    world.prune = Prune::Off;
    insta::assert_snapshot!(start(&world), @"
    note: role `old-z1-esabsk5adn`: no identity names it any more, kept (`prune: off`)
    note: ServiceAccount `z1/old`: no identity names it any more, kept (`prune: off`)
    ");
    world.prune = Prune::On;
    world.apply(Goal::Start);
    world.later(61);
    world.prune = Prune::Off;
    world.observed.uses = Some(Vec::new());
    assert!(!is_due_in(&world));
    assert_eq!(prune(&world), "");
}

#[test]
fn what_an_earlier_version_made_is_named_until_delete_takes_it() {
    let mut world = World::in_sync(vec![own_role("app"), own_role("old")]);
    for role in world.observed.roles.values_mut() {
        role.tags.retain(|key, _| !key.contains("/job/"));
    }
    for account in world.observed.service_accounts.values_mut() {
        let is_mark =
            |field: &crate::model::observed::Field| matches!(field, crate::model::observed::Field::Label(key) if key.contains("/job-"));
        account.values.retain(|field, _| !is_mark(field));
        account.managers.retain(|field, _| !is_mark(field));
    }
    world.identities.truncate(1);
    insta::assert_snapshot!(start(&world), @"
    tag role `app-z1-a3udxbr63m` with `qovery-irsa/job/aaaaaaaa`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    note: role `old-z1-esabsk5adn`: no identity names it and no job's mark is on it, kept: `delete` takes it away with the environment, or remove it by hand
    note: ServiceAccount `z1/old`: no identity names it and no job's mark is on it, kept: `delete` takes it away with the environment, or remove it by hand
    ");
    world.apply(Goal::Start);
    world.later(61);
    assert!(!is_due_in(&world));
    world.identities.clear();
    world.apply(Goal::Delete);
    assert!(world.observed.roles.is_empty() && world.observed.service_accounts.is_empty());
}

#[test]
fn a_renamed_service_account_and_a_role_of_another_name_leave_their_old_sides() {
    let mut renamed = World::in_sync(vec![own_role("app")]);
    renamed.identities = vec![own_role("web")];
    renamed.apply(Goal::Start);
    renamed.later(61);
    renamed.observed.uses = Some(Vec::new());
    renamed.apply(Goal::Prune);
    assert_eq!(start(&renamed), "");
    assert_eq!((renamed.observed.roles.len(), renamed.observed.service_accounts.len()), (1, 1));

    let mut another = World::in_sync(vec![own_role("app")]);
    made_role(&mut another.identities[0]).name = "mine".parse().ok();
    insta::assert_snapshot!(start(&another), @"
    record the next role on ServiceAccount `z1/app`
    create role `mine` below `/qovery/demo/z1/`, trusting `system:serviceaccount:z1:app`
    attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `mine`
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/mine`
    tag role `app-z1-a3udxbr63m` with `qovery-irsa/job/aaaaaaaa`
    note: role `app-z1-a3udxbr63m`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    ");
    another.apply(Goal::Start);
    another.later(61);
    // A pod that runs since before keeps the role it was created with.
    let old = "arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m";
    another.observed.uses = Some(vec![uses("pod `app-1`", "app", &[old])]);
    assert!(prune(&another).starts_with("note: role `app-z1-a3udxbr63m` stays: pod `app-1` still uses it"), "{}", prune(&another));
    another.observed.uses = Some(vec![uses("pod `app-2`", "app", &["arn:aws:iam::123456789012:role/qovery/demo/z1/mine"])]);
    another.apply(Goal::Prune);
    assert_eq!((start(&another).as_str(), another.observed.roles.len()), ("", 1));
}

#[test]
fn a_service_account_that_gets_another_shared_role_leaves_the_one_it_had() {
    let shared = |name: &str| {
        let mut identities = together(Scope::Shared { retain: false });
        made_role(&mut identities[0]).name = name.parse().ok();
        identities
    };
    let mut world = World::in_sync(shared("one"));
    world.identities = shared("two");
    world.apply(Goal::Start);
    assert_eq!(world.observed.roles.len(), 2, "the old one stays for pods that run");
    assert!(
        start(&world)
            .starts_with("note: ServiceAccount `z1/app` had role `arn:aws:iam::123456789012:role/qovery/one` before: a deploy after"),
        "{}",
        start(&world)
    );
    world.later(61);
    world.observed.uses = Some(Vec::new());
    while !world.plan(Goal::Prune).unwrap().is_empty() {
        world.apply(Goal::Prune);
    }
    assert_eq!(world.observed.roles.keys().map(RoleName::as_str).collect::<Vec<_>>(), ["two"]);
    assert_eq!(start(&world), "");
}

/// The record is on the ServiceAccount before the role knows it, and is dropped after the role has forgotten it.
#[test]
fn a_run_that_ends_between_two_roles_and_a_manifest_that_changes_lose_none() {
    let shared = |name: &str| {
        let mut identities = together(Scope::Shared { retain: false });
        made_role(&mut identities[0]).name = name.parse().ok();
        identities
    };
    for begun in 0..=6 {
        let mut world = World::in_sync(shared("one"));
        world.identities = shared("two");
        world.apply_first(Goal::Start, begun);
        world.identities = shared("three");
        world.apply(Goal::Start);
        world.identities.clear();
        for _ in 0..4 {
            world.apply(Goal::Delete);
        }
        assert!(
            world.observed.roles.is_empty() && world.observed.service_accounts.is_empty(),
            "after {begun} actions: {:?}",
            world.observed.roles.keys()
        );
    }
}

#[test]
fn a_role_given_by_arn_is_left_without_the_manifest_and_stays() {
    let mut world = World::in_sync(given());
    world.identities.clear();
    insta::assert_snapshot!(delete(&world), @"
    untag role `shared`: `qovery-irsa/subject/4batr6h4nflypzxg`
    update the trust policy of role `shared`: no longer trust `system:serviceaccount:z1:app`
    delete ServiceAccount `z1/app`
    ");
    world.apply(Goal::Delete);
    assert_eq!((delete(&world).as_str(), world.observed.roles.len()), ("", 1));
}

#[test]
fn a_retained_shared_role_is_known_without_the_manifest() {
    let mut world = World::in_sync(together(Scope::Shared { retain: true }));
    world.identities.clear();
    for _ in 0..3 {
        world.apply(Goal::Delete);
    }
    assert_eq!((delete(&world).as_str(), world.observed.roles.len(), world.observed.service_accounts.len()), ("", 1, 0));
    world.identities = together(Scope::Shared { retain: false });
    assert!(start(&world).contains("`qovery-irsa/retain`"), "{}", start(&world));
}

/// `role.arn` from one account to another, and the credentials with it.
#[test]
fn a_role_in_another_account_is_never_forgotten_silently() {
    let mut world = World::in_sync(given());
    let there = world.observed.roles.clone();
    world.observed.account.id = "210987654321".parse().unwrap();
    world.observed.roles.values_mut().for_each(|role| role.arn.account = world.observed.account.clone());
    world.observed.roles.values_mut().for_each(|role| role.tags.clear());
    world.identities[0].role.origin = RoleOrigin::Given("arn:aws:iam::210987654321:role/shared".parse().unwrap());
    world.apply(Goal::Start);
    let said = "ServiceAccount `z1/app` had role `arn:aws:iam::123456789012:role/shared` before, which stays as it is: it is in AWS account 123456789012, and this job works in account 210987654321";
    for minutes in [0, 61] {
        world.later(minutes);
        assert_eq!(start(&world), format!("note: {said}"));
        assert!(!is_due_in(&world));
        world.observed.uses = Some(Vec::new());
        assert_eq!(prune(&world), "", "it stays recorded");
    }
    for identities in [world.identities.clone(), Vec::new()] {
        let mut world = World { identities, ..world.clone() };
        let left = "left: role `arn:aws:iam::123456789012:role/shared`: it is in AWS account 123456789012, and this job works in account 210987654321";
        assert!(delete(&world).ends_with(left), "{}", delete(&world));
        world.apply(Goal::Delete);
        assert!(world.observed.service_accounts.is_empty());
    }
    // Back in its account, it is left as any other.
    world.observed.account.id = "123456789012".parse().unwrap();
    world.identities = vec![own_role("app")];
    world.observed.roles = there;
    assert!(is_due_in(&world));
    assert!(
        prune(&world).contains("update the trust policy of role `shared`: no longer trust `system:serviceaccount:z1:app`"),
        "{}",
        prune(&world)
    );
}

/// As IAM denies a read of a role that the job's policy no longer covers, or that has just gone.
#[test]
fn a_role_of_the_ledger_that_may_not_be_read_stays_recorded_and_named() {
    let mut world = World::in_sync(given());
    let there = world.observed.roles.clone();
    let arn = there.values().next().unwrap().arn.clone();
    world.identities = vec![own_role("app")];
    world.observed.roles.clear();
    world.observed.unread_roles.insert(arn, "AccessDenied: not authorized to perform iam:GetRole".to_owned());
    world.apply(Goal::Start);
    world.later(61);
    world.observed.uses = Some(Vec::new());
    let said = "note: role `arn:aws:iam::123456789012:role/shared`: no identity names it, and it could not be read, so it stays as it is: AccessDenied: not authorized to perform iam:GetRole";
    assert_eq!((start(&world).as_str(), is_due_in(&world), prune(&world).as_str()), (said, false, said));
    let mut deleted = world.clone();
    assert!(
        delete(&deleted).contains("left: role `arn:aws:iam::123456789012:role/shared`: it could not be read: AccessDenied"),
        "{}",
        delete(&deleted)
    );
    deleted.apply(Goal::Delete);
    assert!(deleted.observed.roles.is_empty() && deleted.observed.service_accounts.is_empty());
    // It may be read again.
    world.observed.unread_roles.clear();
    world.observed.roles.extend(there);
    assert!(is_due_in(&world) && prune(&world).contains("no longer trust `system:serviceaccount:z1:app`"), "{}", prune(&world));
}

fn as_job(world: &World, job: &str, identities: Vec<Identity>) -> World {
    let mut other = world.clone();
    other.place.job = job.parse().ok();
    other.identities = identities;
    other
}

#[test]
fn two_jobs_with_one_manifest_do_not_take_each_others_things() {
    for identities in [vec![own_role("app")], given(), together(Scope::Shared { retain: false })] {
        let one = World::in_sync(identities.clone());
        let mut both = as_job(&one, "bbbbbbbb", identities.clone());
        both.apply(Goal::Start);
        assert_eq!(start(&as_job(&both, JOB, identities.clone())), "", "the mark of the other changes nothing");
        let mut one_left = as_job(&both, JOB, identities.clone());
        one_left.apply(Goal::Delete);
        let again = delete(&one_left);
        assert!(again.lines().all(|line| line.starts_with("left: ") && line.contains("the mark of job `bbbbbbbb`")), "{again}");
        assert!(again.contains("left: ServiceAccount `z1/app`"), "{again}");
        let mut asked = one_left.clone();
        asked.observed.judge_marks(&Jobs::Exist([JOB.parse().unwrap(), "bbbbbbbb".parse().unwrap()].into()));
        assert!(delete(&asked).contains("note: ServiceAccount `z1/app` stays: job `bbbbbbbb` marked it too"), "{}", delete(&asked));
        let mut other = as_job(&one_left, "bbbbbbbb", identities.clone());
        assert_eq!(start(&other), "", "the other still has everything");
        while !other.plan(Goal::Delete).unwrap().is_empty() {
            other.apply(Goal::Delete);
        }
        assert!(other.observed.service_accounts.is_empty());
        assert!(
            other
                .observed
                .roles
                .values()
                .all(|role| role.attached.is_empty() && !role.tags.keys().any(|key| key.starts_with("qovery-irsa/")))
        );
    }
}

/// Before each job wrote its mark by a field manager of its own, one field manager wrote all.
#[test]
fn marks_that_one_field_manager_wrote_are_understood_and_written_anew() {
    let earlier = || {
        let mut world = World::in_sync(vec![own_role("app"), own_role("old")]);
        for account in world.observed.service_accounts.values_mut() {
            for job in [JOB, "bbbbbbbb"] {
                let field = Field::Label(format!("qovery-irsa/job-{job}"));
                account.values.insert(field.clone(), "wanted".to_owned());
                account.managers.insert(field, [FIELD_MANAGER.to_owned()].into());
            }
        }
        world
    };
    let mut world = earlier();
    world.identities.truncate(1);
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    mark ServiceAccount `z1/app` as wanted by job `aaaaaaaa`
    tag role `old-z1-esabsk5adn` with `qovery-irsa/job/aaaaaaaa`
    take a mark of an earlier version from ServiceAccount `z1/old`
    mark ServiceAccount `z1/old` as no longer named
    note: role `old-z1-esabsk5adn`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    note: ServiceAccount `z1/old`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it or job `bbbbbbbb` still wants it
    ");
    world.apply(Goal::Start);
    assert!(start(&world).lines().all(|line| line.starts_with("note: ")), "{}", start(&world));
    for name in ["app", "old"] {
        let account = &world.observed.service_accounts[&name.parse::<crate::model::names::ServiceAccountName>().unwrap()];
        assert!(account.is_marked_by(&JOB.parse().unwrap()) && account.marks().jobs().count() == 2, "{account:?}");
    }
    // The other job's stays where it is until that job runs, and each takes its own away.
    for job in [JOB, "bbbbbbbb"] {
        let mut leaving = as_job(&world, job, Vec::new());
        leaving.apply(Goal::Delete);
        world = leaving;
    }
    assert!(world.observed.service_accounts.is_empty(), "{:?}", world.observed.service_accounts);
}

#[test]
fn a_job_under_a_new_id_goes_on_and_a_mark_of_a_job_that_is_gone_keeps_nothing() {
    let old = World::in_sync(vec![own_role("app")]);
    let mut new = as_job(&old, "bbbbbbbb", vec![own_role("app")]);
    new.apply(Goal::Start);
    assert_eq!(start(&new), "");
    let mut known = new.clone();
    known.observed.judge_marks(&Jobs::Exist(BTreeSet::from(["bbbbbbbb".parse().unwrap()])));
    known.apply(Goal::Delete);
    assert!(known.observed.roles.is_empty() && known.observed.service_accounts.is_empty());
    // Where Qovery is not asked the mark is respected, and named; a sweep removes the role once the namespace is gone.
    new.apply(Goal::Delete);
    assert_eq!(new.observed.roles.len(), 1);
    insta::assert_snapshot!(delete(&new), @"
    left: ServiceAccount `z1/app`: it has the mark of job `aaaaaaaa`. If that job no longer exists, `delete` with `IRSA_ON_DELETE=remove`, where `QOVERY_JOB_ID` is not set, removes it with all that is left of the environment
    left: role `app-z1-a3udxbr63m`: it has the mark of job `aaaaaaaa`. If that job no longer exists, `delete` with `IRSA_ON_DELETE=remove`, where `QOVERY_JOB_ID` is not set, removes it with all that is left of the environment
    ");
    // A person who is no job may say that no mark counts.
    let mut person = as_job(&new, "none", Vec::new());
    person.place.job = None;
    assert_eq!(delete(&person).lines().count(), 2, "not unless it is said: {}", delete(&person));
    person.observed.judge_marks(&Jobs::Exist(BTreeSet::new()));
    person.apply(Goal::Delete);
    assert!(person.observed.roles.is_empty() && person.observed.service_accounts.is_empty());
    new.observed.left_behind = new.observed.roles.values().cloned().collect();
    new.observed.limits.namespaces = Some(["z9".parse().unwrap()].into());
    new.place.namespace = "z9".parse().unwrap();
    assert!(lines(&new, Goal::Sweep).contains("delete role `app-z1-a3udxbr63m`"), "{}", lines(&new, Goal::Sweep));
}

fn knowing(world: &World, jobs: &[&str]) -> World {
    let mut known = world.clone();
    let exist = jobs.iter().map(|job| job.parse().unwrap()).collect();
    known.observed.judge_marks(&Jobs::listed(&exist, &world.observed.marked_by(), known.place.job.as_ref().unwrap()));
    known
}

#[test]
fn what_only_a_job_that_is_gone_wanted_is_dated_by_the_next_job_and_removed_an_hour_later() {
    let mut world = as_job(&without_old(), "bbbbbbbb", vec![own_role("app")]);
    world.apply(Goal::Start);
    world.observed.uses = Some(Vec::new());
    assert!(super::super::asks_for_jobs(&world.desired(), &world.observed));
    // Nobody could be asked, or the answer is not that of this environment.
    for unknown in [world.clone(), knowing(&world, &["cccccccc"])] {
        assert!(!is_due_in(&unknown) && prune(&unknown).is_empty(), "{}", prune(&unknown));
        insta::allow_duplicates! {
            insta::assert_snapshot!(super::super::kept_for_others(&unknown.desired(), &unknown.observed).join("\n"), @"
            role `old-z1-esabsk5adn`: no identity names it, and job `aaaaaaaa` marked it: kept, since it is not known whether that job exists. A deploy that can ask Qovery finds out
            ServiceAccount `z1/old`: no identity names it, and job `aaaaaaaa` marked it: kept, since it is not known whether that job exists. A deploy that can ask Qovery finds out
            ");
        }
    }
    let alive = knowing(&world, &["aaaaaaaa", "bbbbbbbb"]);
    assert!(!is_due_in(&alive) && prune(&alive).is_empty());
    assert!(super::super::kept_for_others(&alive.desired(), &alive.observed).is_empty(), "another job's own affair");

    let mut gone = knowing(&world, &["bbbbbbbb"]);
    assert!(is_due_in(&gone));
    insta::assert_snapshot!(prune(&gone), @"
    tag role `old-z1-esabsk5adn` with `qovery-irsa/job/bbbbbbbb`
    mark ServiceAccount `z1/old` as no longer named
    note: role `old-z1-esabsk5adn`: no identity names it, and the job that made it no longer exists; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    note: ServiceAccount `z1/old`: no identity names it, and the job that made it no longer exists; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    ");
    gone.apply(Goal::Prune);
    assert!(!is_due_in(&gone) && prune(&gone).is_empty(), "dated once");
    assert!(start(&gone).contains("a deploy after"), "{}", start(&gone));
    gone.later(61);
    let mut unknown = gone.clone();
    unknown.observed.judge_marks(&Jobs::Unknown);
    assert!(prune(&unknown).contains("note: role `old-z1-esabsk5adn` stays: job `aaaaaaaa` marked it too"), "{}", prune(&unknown));
    assert!(start(&unknown).contains("unless somebody still uses it or job `aaaaaaaa` still wants it"), "{}", start(&unknown));
    gone.apply(Goal::Prune);
    assert_eq!((gone.observed.roles.len(), gone.observed.service_accounts.len()), (1, 1));
    // With `prune: off`, and for who is no job, nothing is dated.
    let mut off = knowing(&world, &["bbbbbbbb"]);
    off.prune = Prune::Off;
    assert!(!is_due_in(&off) && prune(&off).is_empty());
}

#[test]
fn a_job_that_was_made_after_its_mark_could_be_seen_is_not_believed_to_be_gone() {
    let world = as_job(&without_old(), "bbbbbbbb", vec![own_role("app")]);
    let mut late = world.clone();
    let exist: BTreeSet<_> = ["bbbbbbbb".parse().unwrap()].into();
    let jobs = Jobs::listed(&exist, &["dddddddd".parse().unwrap()].into(), &"bbbbbbbb".parse().unwrap());
    late.observed.judge_marks(&jobs);
    assert!(!is_due_in(&late));
}

#[test]
fn a_removal_without_manifest_leaves_other_jobs_other_clusters_and_strangers_alone() {
    let mut world = World::in_sync(vec![own_role("app"), own_role("theirs"), own_role("older"), own_role("strange")]);
    let mut role = |name: &str| {
        let key = world.observed.roles.keys().find(|key| key.as_str().starts_with(name)).cloned().unwrap();
        world.observed.roles.get_mut(&key).unwrap().tags.clone()
    };
    let (mut theirs, mut older) = (role("theirs"), role("older"));
    theirs.retain(|key, _| !key.contains("/job/"));
    theirs.insert("qovery-irsa/job/bbbbbbbb".to_owned(), "wanted".to_owned());
    older.insert("qovery-irsa/issuer".to_owned(), "oidc.example.com/id/OLD".to_owned());
    for (key, found) in &mut world.observed.roles {
        match key.as_str() {
            name if name.starts_with("theirs") => found.tags = theirs.clone(),
            name if name.starts_with("older") => found.tags = older.clone(),
            name if name.starts_with("strange") => found.tags.clear(),
            _ => {}
        }
    }
    world.observed.service_accounts.clear();
    world.identities.clear();
    insta::assert_snapshot!(delete(&world), @"
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    delete role `app-z1-a3udxbr63m`
    note: left alone: role `older-z1-xxwmqvcbrh` belongs to an earlier cluster, with issuer `https://oidc.example.com/id/OLD`: `sweep --issuer https://oidc.example.com/id/OLD` removes it
    note: left alone: role `strange-z1-la5f7xai4i` was not made by this tool
    left: role `theirs-z1-35xxozi7rt`: it has the mark of job `bbbbbbbb`. If that job no longer exists, `delete` with `IRSA_ON_DELETE=remove`, where `QOVERY_JOB_ID` is not set, removes it with all that is left of the environment
    ");
}

#[test]
fn a_role_that_somebody_relies_on_stays_and_delete_still_ends() {
    type Relies = fn(&mut crate::model::observed::ObservedRole);
    let in_a_profile: Relies = |role| {
        role.instance_profiles.insert("nodes".to_owned());
    };
    let cases: [(&str, Relies, usize, usize); 5] = [
        (
            "policy `arn:aws:iam::aws:policy/ReadOnlyAccess` was attached by somebody else",
            |role| {
                role.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap());
            },
            1,
            0,
        ),
        (
            "inline policy `theirs` was put there by somebody else",
            |role| drop(role.inline_policies.insert("theirs".parse().unwrap(), None)),
            0,
            1,
        ),
        ("it is in instance profile `nodes`", in_a_profile, 0, 0),
        ("a statement of its trust policy lets somebody else in", let_in, 1, 1),
        (
            "policy `arn:aws:iam::aws:policy/ReadOnlyAccess` was attached by somebody else, a statement of its trust policy lets somebody else in",
            |role| {
                role.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap());
                let_in(role);
            },
            2,
            1,
        ),
    ];
    for (why, relies, attached, inline) in cases {
        let mut world = World::in_sync(World::identity());
        relies(role_mut(&mut world));
        world.apply(Goal::Delete);
        let role = world.observed.roles.values().next().unwrap();
        assert_eq!((role.attached.len(), role.inline_policies.len()), (attached, inline), "{why}");
        assert!(role.trust.own_subjects(&world.anchor(), StatementKind::Subjects).is_empty(), "{why}");
        assert!(role.tags.contains_key("qovery-irsa/left") && !role.tags.keys().any(|key| key.contains("/job/")), "{why}");
        assert!(world.observed.service_accounts.is_empty(), "{why}");
        assert_eq!(delete(&world), format!("left: role `app-z1-a3udxbr63m`: {why}"), "named again, and nothing more to do");
        world.observed.left_behind = world.observed.roles.values().cloned().collect();
        world.observed.limits.namespaces = Some(["z9".parse().unwrap()].into());
        world.place.namespace = "z9".parse().unwrap();
        assert_eq!(lines(&world, Goal::Sweep), format!("left: role `app-z1-a3udxbr63m`: {why}"));
        world.place.namespace = "z1".parse().unwrap();
        world.apply(Goal::Start);
        assert!(!world.observed.roles.values().next().unwrap().tags.contains_key("qovery-irsa/left"), "a deploy takes it up again");
    }
}

fn let_in(role: &mut crate::model::observed::ObservedRole) {
    let mut document = role.trust.to_value();
    let statement = serde_json::json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"});
    document["Statement"].as_array_mut().unwrap().push(statement);
    role.trust = crate::model::trust::TrustPolicy::parse(&document.to_string()).unwrap();
}

#[test]
fn what_is_not_there_is_believed_to_be_gone_only_after_the_settle_time() {
    let world = World::empty(World::identity());
    let unsettled = plan(Goal::Delete, &world.desired(), &world.observed, Freshness::Unsettled).unwrap();
    assert!(unsettled.is_empty() && unsettled.waits);
    let settled = plan(Goal::Delete, &world.desired(), &world.observed, Freshness::Settled).unwrap();
    assert!(settled.is_empty() && !settled.waits);
}

#[test]
fn a_delete_that_keeps_what_is_used_leaves_role_and_service_account_of_pods_that_run() {
    let mut world = World::in_sync(vec![own_role("app"), own_role("old")]);
    let ends = Use { ends: true, ..uses("pod `app-1`", "app", &[]) };
    world.observed.uses = Some(vec![uses("pod `old-1`", "old", &[]), ends]);
    for identities in [world.identities.clone(), Vec::new()] {
        let world = World { identities, ..world.clone() };
        insta::allow_duplicates! {
            insta::assert_snapshot!(delete(&world), @"
            detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
            delete role `app-z1-a3udxbr63m`
            delete ServiceAccount `z1/app`
            note: ServiceAccount `z1/old` stays: pod `old-1` still uses it
            note: role `old-z1-esabsk5adn` stays: pod `old-1` still uses it
            ");
        }
    }
}

#[test]
fn a_cluster_that_was_made_again_is_said_to_be_so_and_its_issuer_can_be_retired() {
    let mut world = World::in_sync(vec![own_role("app")]);
    let shared = World::in_sync(together(Scope::Shared { retain: false }));
    made_role(&mut world.identities[0]).name = "app-z1-a3udxbr63m".parse().ok();
    let old = world.place.issuer.clone();
    world.place.issuer = "https://oidc.example.com/id/NEW".parse().unwrap();
    insta::assert_snapshot!(start(&world), @"
    refused: role `app-z1-a3udxbr63m` was made by an earlier cluster, with issuer `https://oidc.example.com/id/A`; the issuer of this cluster is `https://oidc.example.com/id/NEW`
    hint: if that cluster no longer exists, run `sweep --issuer https://oidc.example.com/id/A` once: it removes what belongs to it, then deploy again; if it still exists, give the identity another `name`
    ");
    let mut retired = world.clone();
    retired.place.issuer = old;
    retired.identities = together(Scope::Shared { retain: false });
    retired.observed.left_behind = world.observed.roles.values().cloned().collect();
    retired.observed.roles = shared.observed.roles.clone();
    retired.observed.service_accounts.clear();
    insta::assert_snapshot!(lines(&retired, Goal::Retire(crate::plan::Provision::Remove)), @"
    delete OIDC provider `oidc.example.com/id/A`
    detach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` from role `app-z1-a3udxbr63m`
    delete role `app-z1-a3udxbr63m`
    untag role `together`: `qovery-irsa/subject/4batr6h4nflypzxg`
    update the trust policy of role `together`: no longer trust `system:serviceaccount:z1:app`
    ");
    let kept = lines(&retired, Goal::Retire(crate::plan::Provision::Keep));
    assert!(kept.contains("note: OIDC provider `oidc.example.com/id/A` stays: `--provider` removes it"), "{kept}");
    provider_mut(&mut retired).is_own = false;
    let left = lines(&retired, Goal::Retire(crate::plan::Provision::Remove));
    assert!(
        left.ends_with("left: OIDC provider `oidc.example.com/id/A`: this tool did not make it") && !left.contains("delete OIDC"),
        "{left}"
    );
}

/// Of scope `cluster`, and of many environments whose role once had it.
#[test]
fn patterns_of_an_issuer_that_is_gone_are_retired() {
    let retire = Goal::Retire(crate::plan::Provision::Keep);
    let mut world = World::in_sync(together(Scope::Cluster { namespaces: ["z*".parse().unwrap()].into() }));
    world.observed.provider = KnownProvider::Read(None);
    insta::assert_snapshot!(lines(&world, retire), @"update the trust policy of role `together`: no longer trust `system:serviceaccount:z*:app`");
    world.apply(retire);
    assert_eq!((lines(&world, retire).as_str(), world.observed.roles.len()), ("", 1), "what a role of scope `cluster` is for stays");
    assert!(!role_mut(&mut world).trust.minified().contains("Allow"));

    let mut both = World::in_sync(together(Scope::Shared { retain: true }));
    both.observed.provider = KnownProvider::Read(None);
    let anchor = both.anchor();
    let mut patterns = crate::model::trust::Trusted::nobody(StatementKind::Patterns(None));
    patterns.add(&crate::model::oidc::Audience::default().into(), SubjectPattern::read("system:serviceaccount:z*:app"));
    let role = role_mut(&mut both);
    role.trust = role.trust.rendered(&anchor, &patterns);
    assert_eq!(lines(&both, retire).lines().count(), 3, "{}", lines(&both, retire));
    both.apply(retire);
    assert_eq!(lines(&both, retire), "");
    assert!(!role_mut(&mut both).trust.minified().contains("Allow"));
}

#[test]
fn a_role_of_another_origin_that_a_service_account_records_is_no_concern_of_a_removal() {
    let mut world = World::in_sync(vec![own_role("app")]);
    world.identities[0].role.origin = RoleOrigin::Given("arn:aws:iam::123456789012:role/gone".parse().unwrap());
    world.identities[0].role.scope = Scope::Shared { retain: false };
    assert!(start(&world).starts_with("refused: role `arn:aws:iam::123456789012:role/gone` does not exist"), "{}", start(&world));
}
