//! Many environments, one role, in virtual time: the real loop and the real plan against the local AWS, whose reads show the past.
//!
//! Each schedule follows from its seed: who starts when, who is deleted again, who crashes where and is run again, how long each
//! call takes, which are throttled, whose answer is lost, and how old each read is.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use futures_util::future::join_all;
use qovery_irsa::{
    clients::call::Patience,
    model::{
        anchor::{Anchor, StatementKind},
        identity::Identity,
        names::Subject,
        oidc::{Audience, Provider},
        place::Place,
        registry::{entries, projection},
        subjects::SubjectPattern,
        trust::Trusted,
    },
    plan::{Action, Call as _, Goal, SubjectChange},
    steps::world::World as _,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::support::{
    extent::extent,
    virtual_world::{ISSUER, Reached, World, account, given, observed_role, place, run, shared},
};

const ENVIRONMENTS: usize = 20;

/// How a job goes about it.
type Way = fn(Rc<World>, Identity, Place, Goal, Duration) -> Running;

type Running = std::pin::Pin<Box<dyn Future<Output = Result<(), String>>>>;

fn registry(world: Rc<World>, identity: Identity, place: Place, goal: Goal, settle: Duration) -> Running {
    Box::pin(run(world, identity, place, goal, settle))
}

/// What the others do: read the trust policy, add or remove the own subject, write it.
fn read_add_write(world: Rc<World>, identity: Identity, place: Place, goal: Goal, _: Duration) -> Running {
    Box::pin(async move {
        let role = place.role_name(&identity);
        let subject = place.subject(&identity);
        let anchor = Anchor::Oidc(Provider::of(&place.issuer, &account()));
        let cloud = Reached { world: world.clone(), place };
        sleep(world.latency()).await;
        let Some(observed) = world.shown(|aws| observed_role(aws, &role)) else { return Err("no role".to_owned()) };
        let mut subjects = observed.trust.own_subjects(&anchor, StatementKind::Subjects);
        if goal == Goal::Start {
            subjects.insert((&subject).into())
        } else {
            subjects.remove(&(&subject).into())
        };
        let trusted = Trusted { kind: StatementKind::Subjects, subjects: [(Audience::default().into(), subjects)].into() };
        let action = Action::UpdateTrust { role, trust: observed.trust.rendered(&anchor, &trusted), subjects: SubjectChange::default() };
        let (_interrupt, interrupted) = watch::channel(false);
        Patience::new(Duration::from_mins(5), interrupted)
            .call(action.call(), async || cloud.carry_out(&action).await)
            .await
            .map_err(|error| error.to_string())
    })
}

/// What a schedule ended with: subjects that should be there and are not, the other way round, and calls made.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    lost: usize,
    left: usize,
    registry_differs: bool,
    calls: usize,
}

/// One environment: started, perhaps deleted again, perhaps crashing on the way and run again.
async fn live(world: Rc<World>, way: Way, identity: Identity, number: usize, settle: Duration) -> bool {
    sleep(world.up_to(Duration::from_secs(2))).await;
    let deleted = world.happens(0.3);
    for goal in if deleted { vec![Goal::Start, Goal::Delete] } else { vec![Goal::Start] } {
        if world.happens(0.2) {
            let crash = world.up_to(Duration::from_secs(5));
            let run = way(world.clone(), identity.clone(), place(number), goal, settle);
            if timeout(crash, run).await.is_err() {
                sleep(world.up_to(Duration::from_secs(30))).await;
            }
        }
        if let Err(error) = way(world.clone(), identity.clone(), place(number), goal, settle).await {
            panic!("environment {number}: {error}");
        }
        sleep(world.up_to(Duration::from_secs(2))).await;
    }
    !deleted
}

/// Runs the schedule of a seed, in a time of its own.
fn schedule(seed: u64, way: Way, identity: &Identity, lag: Duration, settle: Duration) -> End {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = Rc::new(World::new(seed, lag));
        // The past is older than any read.
        sleep(Duration::from_mins(1)).await;
        let lives = (0..ENVIRONMENTS).map(|number| live(world.clone(), way, identity.clone(), number, settle));
        let alive: BTreeSet<Subject> = join_all(lives)
            .await
            .into_iter()
            .enumerate()
            .filter(|(_, alive)| *alive)
            .map(|(number, _)| place(number).subject(identity))
            .collect();
        let alive: BTreeSet<SubjectPattern> = alive.iter().map(SubjectPattern::from).collect();
        let provider = Provider::of(&ISSUER.parse().unwrap(), &account());
        let role = world.now(|aws| observed_role(aws, &place(0).role_name(identity)));
        let anchor = Anchor::Oidc(provider.clone());
        let trusted = role.as_ref().map(|role| role.trust.own_subjects(&anchor, StatementKind::Subjects)).unwrap_or_default();
        let registered =
            role.map_or_else(|| Trusted::nobody(StatementKind::Subjects), |role| projection(&entries(&role.tags, &provider.issuer)));
        let registered: BTreeSet<SubjectPattern> = registered.subjects.into_values().flatten().collect();
        End {
            lost: alive.difference(&trusted).count(),
            left: trusted.difference(&alive).count(),
            registry_differs: registered != alive,
            calls: world.calls.get() / ENVIRONMENTS,
        }
    })
}

fn lag_of(seed: u64) -> Duration {
    Duration::from_secs([0, 1, 3][usize::try_from(seed % 3).unwrap()])
}

/// How many schedules to run: as many as `SCHEDULES` says, to look further than any test run does.
fn count(short: u64, long: u64) -> u64 {
    std::env::var("SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or_else(|| extent(short, long))
}

/// The settle time that the job has if nothing is said.
const SETTLE: Duration = Duration::from_secs(8);

#[test]
fn nothing_is_lost_and_nothing_is_left_behind_in_any_schedule_of_twenty_environments_on_a_given_role() {
    for seed in 0..count(60, 1000) {
        let end = schedule(seed, registry, &given(), lag_of(seed), SETTLE);
        assert!(end.lost == 0 && end.left == 0 && !end.registry_differs, "seed {seed}: {end:?}");
    }
}

#[test]
fn nothing_is_lost_where_the_last_one_out_deletes_the_role_and_the_next_one_makes_it_again() {
    for seed in 0..count(30, 500) {
        let end = schedule(seed, registry, &shared(), lag_of(seed), SETTLE);
        assert!(end.lost == 0 && end.left == 0 && !end.registry_differs, "seed {seed}: {end:?}");
    }
}

/// What shows that the two tests above can fail, and why the registry is there.
#[test]
fn reading_adding_and_writing_loses_environments() {
    let seeds = extent(5, 20);
    for lag in [0, 1, 3] {
        let ends: Vec<End> = (0..seeds).map(|seed| schedule(seed, read_add_write, &given(), Duration::from_secs(lag), SETTLE)).collect();
        let wrong: usize = ends.iter().map(|end| end.lost + end.left).sum();
        let of = usize::try_from(seeds).unwrap() * ENVIRONMENTS;
        assert!(wrong > of / 10, "{wrong} of {of} subjects wrong with reads up to {lag} s old");
    }
}
