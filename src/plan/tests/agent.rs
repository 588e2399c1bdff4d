//! The agent of EKS Pod Identity: asked for only where an association is to be made, and refused before anything is written.

use super::world::World;
use crate::{
    model::{association::KnownAgent, identity::Binding},
    plan::{Goal, asks_for_agent},
};

fn world() -> World {
    let mut world = World::empty(World::identity());
    world.identities[0].binding = Binding::PodIdentity(Box::default());
    world
}

fn asks(world: &World, goal: Goal) -> bool {
    asks_for_agent(goal, &world.desired(), &world.observed)
}

#[test]
fn it_is_asked_for_only_where_an_association_is_to_be_made() {
    let mut world = world();
    assert!(asks(&world, Goal::Start) && !asks(&world, Goal::Delete));
    world.observed.agent = KnownAgent::Runs("add-on".to_owned());
    assert!(!asks(&world, Goal::Start));
    world.apply(Goal::Start);
    world.observed.agent = KnownAgent::NotRead;
    assert!(!asks(&world, Goal::Start), "the association is there");
    world.observed.associations = Some([].into());
    assert!(asks(&world, Goal::Start));
    assert!(!asks(&World::empty(World::identity()), Goal::Start), "IRSA needs no agent");
}

#[test]
fn a_cluster_without_one_is_refused_with_whatever_else_is_and_one_that_cannot_be_seen_is_noted() {
    let mut world = world();
    world.observed.agent = KnownAgent::Missing;
    let refusals = world.plan(Goal::Start).unwrap_err();
    assert_eq!(refusals.to_string(), "refused: cluster `demo` runs no EKS Pod Identity agent: pods would get no role by an association");
    assert!(refusals.hint().contains("`aws.eks.enable_pod_identity_addon`") && refusals.hint().contains("--cluster-name demo"));
    world.observed.namespace_ends = true;
    assert_eq!(world.plan(Goal::Start).unwrap_err().0.len(), 2);
    world.observed.namespace_ends = false;
    world.observed.agent = KnownAgent::Unknown("may not".to_owned());
    let said =
        |world: &World| world.plan(Goal::Start).unwrap().notes.iter().filter(|note| note.contains("agent")).cloned().collect::<Vec<_>>();
    assert_eq!(said(&world).len(), 1);
    assert!(said(&world)[0].ends_with("without which pods get no role by an association: may not"), "{:?}", said(&world));
    world.apply(Goal::Start);
    assert_eq!(said(&world), [] as [String; 0]);
    world.observed.agent = KnownAgent::Missing;
    assert!(world.plan(Goal::Start).unwrap().is_empty(), "what is there is left");
}
