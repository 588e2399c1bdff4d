//! EKS Pod Identity: associations, and the way from one binding to the other, stage by stage.

use std::collections::BTreeSet;

use super::{
    role, start,
    world::{World, given, own_role, role_mut, service_account_mut, together},
};
use crate::{
    model::{
        anchor::{Anchor, StatementKind},
        association::{ObservedAssociation, SessionTags},
        identity::{Binding, Identity, PodIdentity, Scope, Target},
        observed::{AUDIENCE_ANNOTATION, FIELD_MANAGER, Field, OWNER_TAG, ROLE_ANNOTATION},
        oidc::Audience,
        pods::{Credentials, Phase, PodRef, Use},
        record::{ASSOCIATED_ROLE, EARLIER_ROLES},
        trust::TrustPolicy,
    },
    plan::{Goal, Writers},
};

fn associated(mut identities: Vec<Identity>) -> Vec<Identity> {
    for identity in &mut identities {
        identity.binding = pod_identity();
    }
    identities
}

fn settings(world: &mut World) -> &mut PodIdentity {
    match &mut world.identities[0].binding {
        Binding::PodIdentity(settings) => settings,
        Binding::Irsa { .. } => panic!("not by EKS Pod Identity"),
    }
}

/// The world of a deploy that finds no pod.
fn looked(mut world: World) -> World {
    world.observed.pods = Some(Vec::new());
    world.associations();
    world
}

fn in_sync() -> World {
    let mut world = looked(World::in_sync(associated(vec![own_role("app")])));
    world.later(10);
    world
}

fn association(world: &mut World) -> &mut ObservedAssociation {
    world.associations().values_mut().next().unwrap()
}

/// A web identity of a role that does not stand there in plain text.
const BY_TOKEN: Option<Credentials> = Some(Credentials::WebIdentity(None));
const BY_AGENT: Option<Credentials> = Some(Credentials::PodIdentity);

fn pod(name: &str, credentials: Option<Credentials>) -> Use {
    Use {
        user: format!("pod `{name}`"),
        service_account: "app".to_owned(),
        roles: BTreeSet::new(),
        ends: false,
        pod: Some(PodRef { name: name.to_owned(), uid: format!("uid of {name}"), phase: Phase::Running }),
        credentials: credentials.into_iter().collect(),
    }
}

/// The same world once its identity is bound so.
fn bound(world: &World, binding: Binding) -> World {
    let mut world = looked(world.clone());
    world.identities[0].binding = binding;
    world
}

fn pod_identity() -> Binding {
    Binding::PodIdentity(Box::default())
}

/// Applies until nothing is left to do.
fn settle(world: &mut World) {
    for _ in 0..3 {
        world.apply(Goal::Start);
    }
    assert!(world.plan(Goal::Start).unwrap().is_empty(), "{}", start(world));
}

fn annotation(world: &mut World, key: &str) -> Option<String> {
    service_account_mut(world).values.get(&Field::Annotation(key.to_owned())).cloned()
}

/// Who gets the role by which binding.
fn trusted(world: &World) -> String {
    let trust = &role(world).trust;
    let mut of_pods: Vec<String> = Vec::new();
    for anchor in trust.pod_identity_anchors() {
        of_pods.extend(trust.own_subjects(&anchor, StatementKind::Subjects).iter().map(ToString::to_string));
    }
    let irsa = trust.own_subjects(&world.anchor(), StatementKind::Subjects).iter().map(ToString::to_string).collect::<Vec<_>>();
    format!("IRSA: {}; pods: {}", irsa.join(" "), of_pods.join(" "))
}

#[test]
fn a_world_in_sync_has_nothing_to_do() {
    for identities in [associated(World::identity()), associated(given()), associated(together(Scope::Shared { retain: false }))] {
        let world = looked(World::in_sync(identities));
        assert!(world.plan(Goal::Start).unwrap().is_empty(), "{}", start(&world));
    }
}

#[test]
fn an_association_is_updated_in_place_and_made_anew_where_no_update_can() {
    let target: Target = Target { role: "arn:aws:iam::210987654321:role/data".parse().unwrap(), external_id: None };
    let mut world = in_sync();
    settings(&mut world).target = Some(target);
    insta::assert_snapshot!(start(&world), @"update the association of ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`");
    world.apply(Goal::Start);
    assert!(world.plan(Goal::Start).unwrap().is_empty());
    settings(&mut world).target = None;
    insta::assert_snapshot!(start(&world), @"update the association of ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`");
    world.apply(Goal::Start);
    assert!(world.plan(Goal::Start).unwrap().is_empty());
    association(&mut world)
        .tags
        .extend([("qovery-irsa/job/bbbbbbbb".to_owned(), "wanted".to_owned()), ("cost".to_owned(), "1".to_owned())]);
    association(&mut world).settings.session_policy = Some(serde_json::json!({"Version": "2012-10-17", "Statement": []}));
    insta::assert_snapshot!(start(&world), @"
    delete the association of ServiceAccount `z1/app`
    associate ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    note: the association of ServiceAccount `z1/app` is deleted and made again, since no update takes a session policy away: pods that start in between, or refresh their credentials then, get none. Restart a pod that runs without
    ");
    world.apply(Goal::Start);
    assert!(world.plan(Goal::Start).unwrap().is_empty(), "{}", start(&world));
    let tags = &association(&mut world).tags;
    assert!(tags.contains_key("qovery-irsa/job/bbbbbbbb") && tags["cost"] == "1", "{tags:?}");
}

#[test]
fn user_tags_go_only_if_the_tool_has_set_them_and_marks_of_jobs_stay() {
    let mut world = in_sync();
    let tag = |key: &str, value: &str| (key.parse().unwrap(), value.parse().unwrap());
    association(&mut world).tags.extend([("theirs".to_owned(), "1".to_owned()), ("same".to_owned(), "1".to_owned())]);
    settings(&mut world).tags = [tag("team", "a"), tag("same", "1"), tag("tier", "b")].into();
    insta::assert_snapshot!(start(&world), @"tag the association of ServiceAccount `z1/app` with `qovery-irsa/made`, `team`, `tier`");
    world.apply(Goal::Start);
    association(&mut world).tags.insert("qovery-irsa/job/bbbbbbbb".to_owned(), "wanted".to_owned());
    association(&mut world).tags.insert("qovery-irsa/job/aaaaaaaa".to_owned(), "2026-11-26T08.30.00Z".to_owned());
    settings(&mut world).tags = [tag("tier", "c")].into();
    insta::assert_snapshot!(start(&world), @"
    tag the association of ServiceAccount `z1/app` with `qovery-irsa/job/aaaaaaaa`, `tier`
    untag the association of ServiceAccount `z1/app`: `team`
    tag the association of ServiceAccount `z1/app` with `qovery-irsa/made`
    ");
    world.apply(Goal::Start);
    assert!(world.plan(Goal::Start).unwrap().is_empty(), "{}", start(&world));
    settings(&mut world).tags.clear();
    insta::assert_snapshot!(start(&world), @"untag the association of ServiceAccount `z1/app`: `qovery-irsa/made`, `tier`");
    world.apply(Goal::Start);
    let keys: Vec<&str> = association(&mut world).tags.keys().map(String::as_str).collect();
    assert_eq!(keys, ["qovery-irsa/job/aaaaaaaa", "qovery-irsa/job/bbbbbbbb", "qovery-irsa/owner", "same", "theirs"]);
}

#[test]
fn an_association_that_is_handed_over_by_its_tag_is_changed_in_place() {
    let mut world = in_sync();
    association(&mut world).tags = [("made-by".to_owned(), "terraform".to_owned())].into();
    association(&mut world).settings.role = "arn:aws:iam::123456789012:role/theirs".parse().unwrap();
    insta::assert_snapshot!(start(&world), @"
    refused: ServiceAccount `z1/app` has an association already, `a-app` with role `arn:aws:iam::123456789012:role/theirs`, that this tool did not make
    hint: use another ServiceAccount; or, if nobody else manages it any more, hand it over: `aws eks tag-resource --resource-arn arn:aws:eks:eu-west-3:123456789012:podidentityassociation/demo/a-app --tags qovery-irsa/owner=z1/app` (docs/moving-over.md)
    ");
    association(&mut world).tags.insert(OWNER_TAG.to_owned(), "z1/other".to_owned());
    assert!(world.plan(Goal::Start).is_err(), "the tag of another ServiceAccount says nothing of this one");
    association(&mut world).tags.insert(OWNER_TAG.to_owned(), "z1/app".to_owned());
    insta::assert_snapshot!(start(&world), @"
    update the association of ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    tag the association of ServiceAccount `z1/app` with `qovery-irsa/job/aaaaaaaa`
    ");
    association(&mut world).add_on = Some("arn:aws:eks:eu-west-3:123456789012:addon/demo/ack/1".to_owned());
    insta::assert_snapshot!(start(&world), @"
    refused: ServiceAccount `z1/app` has an association already, `a-app` with role `arn:aws:iam::123456789012:role/theirs`, that add-on `arn:aws:eks:eu-west-3:123456789012:addon/demo/ack/1` owns
    hint: change it by the add-on, or use another ServiceAccount
    ");
}

#[test]
fn an_identity_moves_from_irsa_in_two_steps_and_pods_that_run_decide_when() {
    let mut world = bound(&World::in_sync(vec![own_role("app")]), pod_identity());
    world.observed.pods = Some(vec![pod("old", BY_TOKEN)]);
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:z1:app`, by EKS Pod Identity
    note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 1 of 2: both give the role. New pods get it by the association, pods that run keep IRSA. Step 2 takes IRSA away: deploy again five minutes after the association was made or changed, when no pod uses IRSA any more
    note: once the trust of its role shows: associate ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    ");
    world.apply(Goal::Start);
    // The trust shows: now the association follows.
    insta::assert_snapshot!(start(&world), @"
    associate ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 1 of 2: both give the role. New pods get it by the association, pods that run keep IRSA. Step 2 takes IRSA away: deploy again five minutes after the association was made or changed, when no pod uses IRSA any more
    ");
    settle(&mut world);
    assert!(annotation(&mut world, ROLE_ANNOTATION).is_some() && annotation(&mut world, ASSOCIATED_ROLE).is_some());
    assert_eq!(trusted(&world), "IRSA: system:serviceaccount:z1:app; pods: system:serviceaccount:z1:app");

    // Young, then old but with a pod, then not known: nothing goes.
    world.observed.pods = Some(Vec::new());
    insta::assert_snapshot!(start(&world), @"note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 1 of 2: both give the role. New pods get it by the association, pods that run keep IRSA. Step 2 takes IRSA away: deploy again five minutes after the association was made or changed, when no pod uses IRSA any more");
    world.later(6);
    let mut terminating = pod("old", BY_TOKEN);
    terminating.ends = true;
    world.observed.pods = Some(vec![terminating, pod("new", BY_AGENT)]);
    insta::assert_snapshot!(start(&world), @"note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 1 of 2: both give the role. New pods get it by the association, pods that run keep IRSA. Step 2 takes IRSA away: restart the pods that still use IRSA, then deploy again: pod `old`");
    world.observed.pods = None;
    insta::assert_snapshot!(start(&world), @"note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 1 of 2: both give the role. New pods get it by the association, pods that run keep IRSA. Step 2 takes IRSA away: it waits, since it could not be seen which pods use IRSA");

    world.observed.pods = Some(vec![pod("new", BY_AGENT), pod("none", None)]);
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    update the trust policy of role `app-z1-a3udxbr63m`: no longer trust `system:serviceaccount:z1:app`, by IRSA
    note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 2 of 2: no pod uses IRSA any more, so what was made for it goes. The way back is another ServiceAccount name
    ");
    settle(&mut world);
    assert_eq!(start(&world), "");
    assert!(annotation(&mut world, ROLE_ANNOTATION).is_none() && annotation(&mut world, ASSOCIATED_ROLE).is_some());
    assert_eq!(trusted(&world), "IRSA: ; pods: system:serviceaccount:z1:app");
}

/// However often a run ends after any of its actions: old pods have IRSA until they are gone, new ones a role by what the webhook gives them.
#[test]
fn whenever_a_run_ends_between_two_actions_both_sides_hold_until_the_second_step() {
    for identities in [vec![own_role("app")], together(Scope::Shared { retain: false }), given()] {
        let mut world = bound(&World::in_sync(identities), pod_identity());
        world.observed.pods = Some(vec![pod("old", BY_TOKEN)]);
        let mut steps = 0;
        while !world.plan(Goal::Start).unwrap().is_empty() {
            world.apply_first(Goal::Start, 1);
            steps += 1;
            assert!(steps < 20, "{}", start(&world));
            assert!(trusted(&world).starts_with("IRSA: system:serviceaccount:z1:app"), "{}", trusted(&world));
            assert!(annotation(&mut world, ROLE_ANNOTATION).is_some());
            let associated = !world.associations().is_empty();
            assert!(!associated || !trusted(&world).ends_with("pods: "), "{}", trusted(&world));
            assert!(!associated || annotation(&mut world, ASSOCIATED_ROLE).is_some(), "a removal would not look for the association");
        }
        world.later(10);
        world.observed.pods = Some(vec![pod("new", BY_AGENT)]);
        while !world.plan(Goal::Start).unwrap().is_empty() {
            // The annotation first: nobody is given what has gone.
            assert!(annotation(&mut world, ROLE_ANNOTATION).is_none() || trusted(&world).starts_with("IRSA: s"), "{}", trusted(&world));
            world.apply_first(Goal::Start, 1);
            steps += 1;
            assert!(steps < 30, "{}", start(&world));
        }
        assert!(trusted(&world).starts_with("IRSA: ; pods: s"), "{}", trusted(&world));
        assert!(annotation(&mut world, ROLE_ANNOTATION).is_none());
    }
}

#[test]
fn an_environment_that_moves_leaves_the_entries_of_others_in_a_shared_role() {
    let mut first = World::in_sync(together(Scope::Shared { retain: false }));
    let mut second = first.clone();
    second.place.namespace = "z2".parse().unwrap();
    second.observed.service_accounts.clear();
    second.apply(Goal::Start);
    first.observed.roles = second.observed.roles.clone();
    let mut world = bound(&first, pod_identity());
    settle(&mut world);
    world.later(10);
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/together`
    untag role `together`: `qovery-irsa/subject/4batr6h4nflypzxg`
    update the trust policy of role `together`: no longer trust `system:serviceaccount:z1:app`, by IRSA
    note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 2 of 2: no pod uses IRSA any more, so what was made for it goes. The way back is another ServiceAccount name
    note: role `together` may be assumed by every pod of the cluster that an association gives it to
    ");
    settle(&mut world);
    assert_eq!(trusted(&world), "IRSA: system:serviceaccount:z2:app; pods: system:serviceaccount:*:*");
    second.observed.roles = world.observed.roles.clone();
    assert!(second.plan(Goal::Start).unwrap().is_empty(), "{}", start(&second));
    // A writer that saw the past has dropped the other environment: whoever has an association too renders all entries.
    let lost = TrustPolicy::new(&role(&world).trust.pod_identity_anchors()[0], &world_trust(&world));
    role_mut(&mut world).trust = lost;
    insta::assert_snapshot!(start(&world), @"
    update the trust policy of role `together`: trust `system:serviceaccount:z2:app`, by IRSA
    note: role `together` may be assumed by every pod of the cluster that an association gives it to
    ");
}

/// IAM may show an environment of IRSA a document without the statement, and it writes that back.
#[test]
fn a_statement_for_pods_that_a_writer_for_irsa_has_lost_is_put_back_by_the_next_of_any() {
    for identities in [together(Scope::Shared { retain: false }), given()] {
        let irsa = World::in_sync(identities);
        let mut world = bound(&irsa, pod_identity());
        settle(&mut world);
        let whole = role(&world).trust.clone();
        role_mut(&mut world).trust = role(&irsa).trust.clone();
        let mut other = irsa.clone();
        other.place.namespace = "z2".parse().unwrap();
        other.observed.roles = world.observed.roles.clone();
        other.observed.service_accounts.clear();
        other.apply(Goal::Start);
        assert_eq!(trusted(&other), "IRSA: system:serviceaccount:z1:app system:serviceaccount:z2:app; pods: system:serviceaccount:*:*");
        // One that is in already finds it too.
        let mut same = irsa.clone();
        same.observed.roles = world.observed.roles.clone();
        let plan = start(&same);
        assert!(plan.contains("which a tag asks for: put back"), "{plan}");
        same.apply(Goal::Start);
        assert!(role(&same).trust.means_the_same(&whole) && start(&same).is_empty(), "{}", start(&same));
    }
}

/// Everybody, as the trust of a shared role has it.
fn world_trust(world: &World) -> crate::model::trust::Trusted {
    match world.desired().roles.into_values().next().unwrap().trust {
        crate::model::desired::DesiredTrust::Patterns(trusted) => trusted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_pattern_of_a_cluster_role_stays_for_others_of_the_project() {
    let namespaces = BTreeSet::from(["z*".parse().unwrap()]);
    let mut world = bound(&World::in_sync(together(Scope::Cluster { namespaces })), pod_identity());
    settle(&mut world);
    world.later(10);
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/together`
    note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 2 of 2: no pod uses IRSA any more, so what was made for it goes. The way back is another ServiceAccount name
    note: role `together` may be assumed by the pods of every ServiceAccount `app` in every namespace that begins with `z`
    note: role `together`: its trust policy still lets in `system:serviceaccount:z*:app` by IRSA, kept: remove it by hand if no environment uses it
    ");
    settle(&mut world);
    assert_eq!(role(&world).trust.patterns(&world.anchor()).len(), 1);
}

#[test]
fn with_another_role_the_one_before_stays_until_the_second_step() {
    let mut before = own_role("app");
    before.binding = Binding::Irsa { audience: "mine".parse().unwrap() };
    let mut world = bound(&World::in_sync(vec![before]), pod_identity());
    super::world::made_role(&mut world.identities[0]).name = "other".parse().ok();
    world.observed.pods = Some(vec![pod("old", BY_TOKEN)]);
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/other`
    create role `other` below `/qovery/demo/z1/`, trusting `system:serviceaccount:z1:app`
    attach policy `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess` to role `other`
    tag role `app-z1-a3udxbr63m` with `qovery-irsa/job/aaaaaaaa`
    note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 1 of 2: both give the role. New pods get it by the association, pods that run keep IRSA. Step 2 takes IRSA away: deploy again five minutes after the association was made or changed, when no pod uses IRSA any more
    note: once the trust of its role shows: associate ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/other`
    note: role `app-z1-a3udxbr63m`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    ");
    settle(&mut world);
    let old = annotation(&mut world, ROLE_ANNOTATION).unwrap();
    assert!(old.ends_with("/app-z1-a3udxbr63m") && annotation(&mut world, AUDIENCE_ANNOTATION).as_deref() == Some("mine"), "{old}");
    assert!(annotation(&mut world, ASSOCIATED_ROLE).unwrap().ends_with("/other"));
    world.later(10);
    world.observed.pods = Some(Vec::new());
    insta::assert_snapshot!(start(&world), @"
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/other`
    note: ServiceAccount `z1/app` moves from IRSA to EKS Pod Identity, step 2 of 2: no pod uses IRSA any more, so what was made for it goes. The way back is another ServiceAccount name
    note: role `app-z1-a3udxbr63m`: no identity names it any more; a deploy after 1970-01-01T01:00:00Z takes it away, unless somebody still uses it
    ");
    settle(&mut world);
    let earlier = service_account_mut(&mut world).earlier_roles();
    assert_eq!(earlier.iter().map(|(role, _)| role.to_string()).collect::<Vec<_>>(), [old]);
}

#[test]
fn the_way_back_is_refused_while_pods_rely_on_the_association() {
    let mut world = bound(&in_sync(), Binding::default());
    world.observed.pods = Some((0..8).map(|number| pod(&format!("new-{number}"), BY_AGENT)).collect());
    insta::assert_snapshot!(start(&world), @"
    refused: ServiceAccount `z1/app` should get its role by IRSA, but pods rely on its association with EKS Pod Identity: pod `new-0`, pod `new-1`, pod `new-2`, pod `new-3`, pod `new-4` and 3 more
    hint: to keep IRSA without a gap, give the identity another `serviceAccount` name, and restart the pods with that one; or stop these pods, deploy, and start them again; `delete` removes the association with the environment
    ");
    world.observed.pods = None;
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:z1:app`, by IRSA
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    note: ServiceAccount `z1/app` should get its role by IRSA, but its association stays: it could not be seen whether pods rely on it
    ");
    world.observed.pods = Some(vec![pod("old", BY_TOKEN)]);
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:z1:app`, by IRSA
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    delete the association of ServiceAccount `z1/app`
    update the trust policy of role `app-z1-a3udxbr63m`: no longer trust `system:serviceaccount:z1:app`, by EKS Pod Identity
    drop roles that it has left from the record of ServiceAccount `z1/app`
    note: ServiceAccount `z1/app` moves from EKS Pod Identity to IRSA: no pod relies on its association, which goes. Start pods a minute later: until then one may still be told of it, and must be restarted
    ");
    let mut whole = world.clone();
    whole.apply(Goal::Start);
    assert_eq!(start(&whole), "");
    assert_eq!(trusted(&whole), "IRSA: system:serviceaccount:z1:app; pods: ");
    assert!(whole.associations().is_empty() && annotation(&mut whole, ASSOCIATED_ROLE).is_none());
    for count in 1..world.plan(Goal::Start).unwrap().actions().count() {
        let mut ended = world.clone();
        ended.apply_first(Goal::Start, count);
        assert!(ended.associations().is_empty() || annotation(&mut ended, ASSOCIATED_ROLE).is_some(), "{count}");
        settle(&mut ended);
        assert_eq!(trusted(&ended), trusted(&whole), "{count}");
        assert_eq!(annotation(&mut ended, ASSOCIATED_ROLE), None, "{count}");
    }
}

#[test]
fn a_shared_role_keeps_its_trust_in_eks_pod_identity_when_one_goes_back() {
    let mut world = looked(World::in_sync(associated(together(Scope::Shared { retain: false }))));
    world.later(10);
    let mut world = bound(&world, Binding::default());
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    tag role `together` with `qovery-irsa/subject/4batr6h4nflypzxg`
    update the trust policy of role `together`: trust `system:serviceaccount:z1:app`, by IRSA
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/together`
    delete the association of ServiceAccount `z1/app`
    drop roles that it has left from the record of ServiceAccount `z1/app`
    note: ServiceAccount `z1/app` moves from EKS Pod Identity to IRSA: no pod relies on its association, which goes. Start pods a minute later: until then one may still be told of it, and must be restarted
    ");
    settle(&mut world);
    assert_eq!(trusted(&world), "IRSA: system:serviceaccount:z1:app; pods: system:serviceaccount:*:*");
}

#[test]
fn an_association_that_was_not_looked_for_or_is_somebody_elses_is_named() {
    let mut world = bound(&in_sync(), Binding::default());
    association(&mut world).tags.clear();
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:z1:app`, by IRSA
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    note: ServiceAccount `z1/app` has association `a-app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`, which this tool did not make: new pods get that role, whatever the annotation says
    ");
    world.observed.associations = None;
    insta::assert_snapshot!(start(&world), @"
    create OIDC provider `oidc.example.com/id/A` with audience `sts.amazonaws.com`
    update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:z1:app`, by IRSA
    apply ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    note: ServiceAccount `z1/app` should get its role by IRSA, but its association stays: it could not be looked for
    ");
}

#[test]
fn one_shared_role_serves_an_identity_of_either_binding() {
    let mut identities = together(Scope::Shared { retain: true });
    identities.push(identities[0].clone());
    identities[0].binding = pod_identity();
    identities[1].service_account.name = "web".parse().unwrap();
    for order in [[0, 1], [1, 0]] {
        let identities = order.map(|at| identities[at].clone()).to_vec();
        let mut world = looked(World::empty(identities));
        let first = start(&world);
        settle(&mut world);
        assert_eq!(trusted(&world), "IRSA: system:serviceaccount:z1:web; pods: system:serviceaccount:*:*", "{first}");
        let plan = world.plan(Goal::Start).unwrap();
        assert!(plan.lanes.iter().all(|lane| lane.writers == Writers::Many));
        // Each by itself finds it as it should be.
        for at in [0, 1] {
            let mut alone = world.clone();
            alone.identities = vec![world.identities[at].clone()];
            alone.observed.service_accounts.retain(|name, _| *name == world.identities[at].service_account.name);
            alone.associations().retain(|name, _| *name == world.identities[at].service_account.name);
            let plan = alone.plan(Goal::Start).unwrap();
            assert!(plan.is_empty(), "{}", start(&alone));
        }
    }
}

#[test]
fn session_tags_are_switched_off_after_the_trust_is_wide_and_on_before_it_is_narrow() {
    let mut world = in_sync();
    settings(&mut world).session_tags = SessionTags::Off;
    insta::assert_snapshot!(start(&world), @"
    update the trust policy of role `app-z1-a3udxbr63m`: trust every pod that an association gives it to, no longer `system:serviceaccount:z1:app`
    note: once the trust of its role shows: update the association of ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    ");
    world.apply(Goal::Start);
    insta::assert_snapshot!(start(&world), @"update the association of ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`");
    settle(&mut world);
    settings(&mut world).session_tags = SessionTags::On;
    insta::assert_snapshot!(start(&world), @"
    update the association of ServiceAccount `z1/app` with role `arn:aws:iam::123456789012:role/qovery/demo/z1/app-z1-a3udxbr63m`
    note: role `app-z1-a3udxbr63m`: its trust policy does not ask for session tags yet: EKS has to know first that the association gives them. A deploy five minutes later does so
    ");
    settle(&mut world);
    insta::assert_snapshot!(start(&world), @"note: role `app-z1-a3udxbr63m`: its trust policy does not ask for session tags yet: EKS has to know first that the association gives them. A deploy five minutes later does so");
    world.later(6);
    insta::assert_snapshot!(start(&world), @"update the trust policy of role `app-z1-a3udxbr63m`: trust `system:serviceaccount:z1:app`, no longer every pod that an association gives it to");
    settle(&mut world);
    assert_eq!(start(&world), "");
}

#[test]
fn the_audience_of_another_binding_is_no_news() {
    let mut before = own_role("app");
    before.binding = Binding::Irsa { audience: "mine".parse().unwrap() };
    let world = bound(&World::in_sync(vec![before]), pod_identity());
    assert!(!start(&world).contains("audience"), "{}", start(&world));
    assert_ne!(Audience::default(), Audience::of_pod_identity());
}

#[test]
fn an_annotation_that_somebody_else_set_is_not_the_tools_to_move() {
    let mut world = bound(&World::in_sync(vec![own_role("app")]), pod_identity());
    let account = service_account_mut(&mut world);
    let annotation = Field::Annotation(ROLE_ANNOTATION.to_owned());
    account.managers.insert(annotation, ["helm".to_owned()].into());
    assert!(account.managers.values().any(|managers| managers.contains(FIELD_MANAGER)));
    let anchor = Anchor::Oidc(world.provider());
    settle(&mut world);
    world.later(10);
    settle(&mut world);
    assert!(role(&world).trust.own_subjects(&anchor, StatementKind::Subjects).is_empty());
    assert!(service_account_mut(&mut world).values.contains_key(&Field::Annotation(ROLE_ANNOTATION.to_owned())));
}

/// A world whose association has been known for long, before the step that takes IRSA away.
fn before_step_2(identity: Identity) -> World {
    let mut world = bound(&World::in_sync(vec![identity]), pod_identity());
    world.identities[0].role.extra_subjects.clear();
    settle(&mut world);
    world.later(10);
    world
}

fn of_role(name: &str, role: &str) -> Use {
    Use { roles: [role.to_owned()].into(), ..pod(name, Some(Credentials::WebIdentity(Some(role.to_owned())))) }
}

fn step_of(world: &World) -> char {
    let plan = start(world);
    let (_, rest) = plan.split_once(", step ").unwrap_or_else(|| panic!("{plan}"));
    rest.chars().next().unwrap()
}

#[test]
fn a_pod_with_containers_of_both_bindings_counts_for_both() {
    let both = || Use { credentials: [BY_TOKEN, BY_AGENT].into_iter().flatten().collect(), ..pod("both", None) };
    let mut world = before_step_2(own_role("app"));
    world.observed.pods = Some(vec![both()]);
    assert!(start(&world).contains("restart the pods that still use IRSA, then deploy again: pod `both`"), "{}", start(&world));
    let mut world = bound(&in_sync(), Binding::default());
    world.observed.pods = Some(vec![both()]);
    assert!(start(&world).contains("pods rely on its association with EKS Pod Identity: pod `both`"), "{}", start(&world));
}

#[test]
fn a_web_identity_of_another_role_keeps_nothing_and_one_of_the_role_or_of_an_earlier_one_does() {
    let mut world = before_step_2(own_role("app"));
    let own = annotation(&mut world, ROLE_ANNOTATION).unwrap();
    let earlier = "arn:aws:iam::123456789012:role/earlier";
    let record = Field::Annotation(EARLIER_ROLES.to_owned());
    service_account_mut(&mut world).values.insert(record.clone(), format!("{earlier} 2026-11-26T08.30.00Z"));
    service_account_mut(&mut world).managers.insert(record, [FIELD_MANAGER.to_owned()].into());
    for (role, step) in [(own.as_str(), '1'), (earlier, '1'), ("arn:aws:iam::123456789012:role/theirs", '2')] {
        let sidecar = Use { credentials: of_role("app", role).credentials.into_iter().chain(BY_AGENT).collect(), ..of_role("app", role) };
        world.observed.pods = Some(vec![sidecar]);
        assert_eq!(step_of(&world), step, "{role}");
    }
}

#[test]
fn pods_that_come_in_by_extra_subjects_of_before_hold_the_second_step() {
    for scope in [Scope::Environment, Scope::Shared { retain: false }] {
        let mut identity = together(scope).remove(0);
        identity.role.extra_subjects = ["z1/worker", "z2/api"].iter().map(|subject| subject.parse().unwrap()).collect();
        let mut world = before_step_2(identity);
        let role = role(&world).arn.to_string();
        let of = |service_account: &str, name: &str, role: &str| Use { service_account: service_account.to_owned(), ..of_role(name, role) };
        let before = start(&world);
        assert!(before.contains("step 2 of 2"), "no pod comes in by them: {before}");
        world.observed.pods =
            Some(vec![of("worker", "w-1", &role), of("worker", "w-2", "arn:aws:iam::123456789012:role/theirs"), of("web", "x", &role)]);
        let note = start(&world);
        let expected = "Step 2 takes IRSA away: pods of other ServiceAccounts have the role by what would go: `worker`. Give each an identity of its own where it has none, restart its pods, then deploy again: pod `w-1`. Step 2 also takes it from `z1/worker`, `z2/api`, which need an identity of their own first. Pods of other namespaces cannot be seen from here";
        assert!(note.contains(expected) && step_of(&world) == '1', "{note}");
        world.observed.pods = Some(vec![of("worker", "w-2", "arn:aws:iam::123456789012:role/theirs"), of("web", "x", &role)]);
        assert_eq!(step_of(&world), '2');
    }
}

#[test]
fn pods_that_share_the_role_by_an_identity_of_irsa_hold_nothing() {
    let mut app = together(Scope::Shared { retain: false }).remove(0);
    app.role.extra_subjects = ["z1/worker".parse().unwrap()].into();
    let mut worker = app.clone();
    worker.role.extra_subjects.clear();
    worker.service_account.name = "worker".parse().unwrap();
    // It has had the role for long, or gets it now.
    for at_once in [vec![app.clone(), worker.clone()], vec![app]] {
        let mut world = bound(&World::in_sync(at_once), pod_identity());
        world.identities[0].role.extra_subjects.clear();
        settle(&mut world);
        world.later(10);
        let arn = role(&world).arn.to_string();
        let pods = Some(vec![Use { service_account: "worker".to_owned(), ..of_role("w-1", &arn) }]);
        world.observed.pods = pods;
        world.identities.truncate(1);
        world.identities.push(worker.clone());
        assert_eq!(step_of(&world), '2');
        while !world.plan(Goal::Start).unwrap().is_empty() {
            world.apply_first(Goal::Start, 1);
            assert!(trusted(&world).contains("system:serviceaccount:z1:worker"), "{}", trusted(&world));
        }
        assert!(trusted(&world).starts_with("IRSA: system:serviceaccount:z1:worker;"), "{}", trusted(&world));
    }
}
