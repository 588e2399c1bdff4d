//! A crowd on one role by EKS Pod Identity: each environment has an association of its own, and the role never changes.
//!
//! First in virtual time, with the real loop and the real plan: calls are throttled, answers are lost, reads show the past, jobs crash and
//! are run again. Then with the real binary, over HTTP.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use futures_util::future::join_all;
use qovery_irsa::{model::names::Namespace, plan::Goal};
use qovery_irsa_sandbox::{
    aws::{Aws, Role},
    faults::{Fault, RuleId, When},
};
use tokio::time::{sleep, timeout};

use crate::support::{
    environment::Environment,
    extent::extent,
    fixtures::{all_at_once, namespaces},
    pod_identity::{add_agent, associations},
    virtual_world::{CLUSTER, World, associated, place, run, run_all, run_and_prove},
};

/// The settle time that the job has if nothing is said.
const SETTLE: Duration = Duration::from_secs(8);
/// How long EKS takes to notice, from when the role is there.
const NOTICES: Duration = Duration::from_secs(3);
/// The environments that make the role, all at once.
const FIRST: usize = 5;

const ROLE: &str = "together";
const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/qovery/together";

fn namespace(number: usize) -> Namespace {
    place(number).namespace
}

/// The role whose trust is to stay as it was made, at every state of the account.
fn watch(world: &World) -> Rc<RefCell<Option<String>>> {
    let made: Rc<RefCell<Option<String>>> = Rc::default();
    let first = made.clone();
    world.watch(move |aws| {
        let trust = aws.roles().get(ROLE).map(|role| role.trust.clone());
        let mut first = first.borrow_mut();
        if first.is_none() {
            first.clone_from(&trust);
        }
        assert_eq!(trust, *first, "the trust of the role has changed");
    });
    made
}

/// Whether an environment has exactly its association, with the tag that says whose it is.
fn is_in(world: &World, number: usize) {
    let (namespace, found) = (namespace(number), world.associations(&namespace(number)));
    let [found] = &found[..] else { panic!("environment {number} has {} associations", found.len()) };
    assert_eq!((found.service_account.as_str(), found.role_arn.as_str()), ("app", ROLE_ARN));
    assert_eq!(found.tags.get("qovery-irsa/owner").map(String::as_str), Some(format!("{namespace}/app").as_str()));
}

fn has_left(world: &World, number: usize) {
    assert_eq!(world.associations(&namespace(number)), [], "environment {number}");
    assert!(!world.service_accounts.borrow().contains_key(&place(number).subject(&associated())), "environment {number}");
}

/// A run of the job that may crash before it; then it is run again.
async fn runs(world: &Rc<World>, number: usize, goal: Goal) {
    if world.happens(0.2) {
        let crash = world.up_to(Duration::from_secs(3));
        if timeout(crash, run(world.clone(), associated(), place(number), goal, SETTLE)).await.is_err() {
            sleep(world.up_to(Duration::from_secs(20))).await;
        }
    }
    if let Err(error) = run(world.clone(), associated(), place(number), goal, SETTLE).await {
        panic!("environment {number}: {error}");
    }
}

/// Joins, perhaps proves that a pod gets the role, perhaps leaves, perhaps joins again. Whether it is in at the end.
async fn live(world: Rc<World>, number: usize, over: Duration) -> bool {
    sleep(world.up_to(over)).await;
    runs(&world, number, Goal::Start).await;
    is_in(&world, number);
    if world.happens(0.2) {
        // Before that the webhook would give a pod nothing.
        sleep(NOTICES).await;
        world.run_pod(&place(number).subject(&associated()), "app-1");
        run_and_prove(world.clone(), associated(), place(number), Duration::from_mins(2)).await.unwrap();
        world.end_pods(&namespace(number));
    }
    if world.happens(0.4) {
        return true;
    }
    sleep(world.up_to(over)).await;
    runs(&world, number, Goal::Delete).await;
    has_left(&world, number);
    // EKS may not have noticed yet that it has left.
    let joins_again = world.happens(0.3);
    if joins_again {
        runs(&world, number, Goal::Start).await;
        is_in(&world, number);
    }
    joins_again
}

/// What the job calls where nothing goes wrong.
async fn calls(world: &Rc<World>, number: usize, goal: Goal) -> BTreeMap<&'static str, usize> {
    world.calm.set(true);
    world.take_calls(&namespace(number));
    let done = run_all(world.clone(), &[associated()], place(number), goal, SETTLE).await;
    world.calm.set(false);
    done.unwrap();
    world.take_calls(&namespace(number))
}

/// What it calls to join and to leave.
async fn come_and_go(world: &Rc<World>, number: usize) -> [BTreeMap<&'static str, usize>; 2] {
    let joining = calls(world, number, Goal::Start).await;
    is_in(world, number);
    let leaving = calls(world, number, Goal::Delete).await;
    has_left(world, number);
    [joining, leaving]
}

fn role(world: &World) -> Role {
    world.now(|aws| aws.roles()[ROLE].clone())
}

/// Who gets the role, by an evaluator that is not the job's.
fn with_role(world: &World, environments: usize) -> BTreeSet<usize> {
    let may =
        |aws: &Aws, number: usize| aws.session_of_pod(world.time(), CLUSTER, namespace(number).as_str(), "app", ("app-1", "uid")).is_ok();
    world.now(|aws| (0..environments).filter(|number| may(aws, *number)).collect())
}

/// The crowd of a seed, in a time of its own.
fn crowd(seed: u64, environments: usize, lag: Duration) {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = Rc::new(World::new(seed, lag));
        world.remembers.set(Some(lag));
        let trust = watch(&world);
        sleep(Duration::from_mins(1)).await;
        // The role is made by whoever comes first, and several do.
        let mut alive: Vec<bool> = join_all((0..FIRST).map(|number| live(world.clone(), number, Duration::ZERO))).await;
        sleep(Duration::from_mins(1)).await;
        world.change_now(|aws| aws.delay_eks(NOTICES));
        let made = role(&world);
        let first = come_and_go(&world, FIRST).await;

        let crowd = FIRST + 1..environments - 1;
        let over = Duration::from_millis(100) * u32::try_from(environments).unwrap();
        let in_at_the_end = join_all(crowd.map(|number| live(world.clone(), number, over))).await;
        sleep(Duration::from_mins(1)).await;
        alive.push(false);
        alive.extend(in_at_the_end);

        let last = come_and_go(&world, environments - 1).await;
        assert_eq!(last, first, "the last one makes other calls than the first");
        alive.push(false);
        sleep(Duration::from_mins(1)).await;
        let alive: BTreeSet<usize> = (0..environments).filter(|number| alive[*number]).collect();
        assert_eq!(with_role(&world, environments), alive);
        assert_eq!(role(&world), made, "nothing on the role has grown");
        assert_eq!(trust.borrow().as_ref(), Some(&made.trust));
    });
}

#[test]
fn a_thousand_environments_join_and_leave_one_role_by_pod_identity_and_it_never_changes() {
    for (seed, lag) in [(1, 0), (2, 1), (3, 3)] {
        crowd(seed, 60, Duration::from_secs(lag));
    }
    for (seed, lag) in extent(&[][..], &[(4, 0), (5, 1), (6, 3)]) {
        crowd(*seed, 1_000, Duration::from_secs(*lag));
    }
}

/// What shows that the test above can fail: this role has one writer for each environment, and grows with them.
#[test]
fn the_trust_of_a_role_by_irsa_changes_with_each_environment() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = Rc::new(World::new(1, Duration::ZERO));
        let changes = Rc::new(Cell::new(BTreeSet::new()));
        let seen = changes.clone();
        world.watch(move |aws| {
            let mut all = seen.take();
            all.extend(aws.roles().get(ROLE).map(|role| role.trust.clone()));
            seen.set(all);
        });
        for number in 0..3 {
            let identity = crate::support::virtual_world::shared();
            run(world.clone(), identity, place(number), Goal::Start, SETTLE).await.unwrap();
        }
        assert_eq!(changes.take().len(), 3);
    });
}

const SHARED: &str = "identities: [{serviceAccount: app, podIdentity: true, role: {scope: shared, name: together, policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}]";

/// A cluster with the agent, whose issuer every job is told.
fn cluster() -> Environment {
    let mut environment = Environment::of_pod_identity(SHARED);
    add_agent(&environment);
    environment.set("IRSA_SETTLE", "2");
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    environment
}

/// From now on reads show the past, calls are throttled, and an answer is lost.
fn spoil(environment: &Environment) -> [RuleId; 3] {
    let faults = environment.sandbox.faults();
    [
        faults.add("iam:GetRole|eks:List*|eks:Describe*", When::Always, Fault::Stale { up_to: Duration::from_secs(1) }),
        faults.add("iam:*|eks:*", When::Probability(0.05), Fault::Throttle),
        faults.add("eks:CreatePodIdentityAssociation|eks:DeletePodIdentityAssociation", When::Nth(3), Fault::lost_answer()),
    ]
}

/// What one process calls, by operation.
fn calls_of(environment: &Environment, namespace: &str, command: &str) -> BTreeMap<String, usize> {
    let mark = environment.sandbox.witness().mark();
    environment.spawn_in(namespace, &[command]).end().ended(0);
    let mut calls = BTreeMap::new();
    for call in environment.sandbox.witness().since(mark) {
        *calls.entry(call.operation).or_default() += 1;
    }
    calls
}

/// The namespaces with an association, each with its role.
fn associated_namespaces(environment: &Environment) -> BTreeMap<String, String> {
    let found = associations(environment);
    let owner = |namespace: &str| format!("{namespace}/app");
    assert!(found.iter().all(|found| found.tags["qovery-irsa/owner"] == owner(&found.namespace)), "{found:?}");
    let by_namespace: BTreeMap<_, _> = found.iter().map(|found| (found.namespace.clone(), found.role_arn.clone())).collect();
    assert_eq!(by_namespace.len(), found.len());
    by_namespace
}

#[test]
fn twenty_processes_at_once_get_an_association_each_give_it_back_and_the_role_stays_as_it_was_made() {
    let environment = cluster();
    let clones = namespaces(&environment, 21);
    let (crowd, after_twenty) = clones.split_at(20);
    let in_role = |namespaces: &[String]| -> BTreeMap<String, String> {
        namespaces.iter().map(|namespace| (namespace.clone(), ROLE_ARN.to_owned())).collect()
    };
    let rules = spoil(&environment);
    all_at_once(&environment, crowd, "start");
    assert_eq!(associated_namespaces(&environment), in_role(crowd));
    for rule in rules {
        environment.sandbox.faults().remove(rule);
    }
    environment.sandbox.settle();
    let made = environment.sandbox.aws(|aws| aws.roles()[ROLE].clone());
    // With twenty there it is as with one there.
    let fresh = cluster();
    let [one, after_one] = &namespaces(&fresh, 2)[..] else { unreachable!() };
    fresh.spawn_in(one, &["start"]).end().ended(0);
    assert_eq!(calls_of(&environment, &after_twenty[0], "start"), calls_of(&fresh, after_one, "start"));
    assert_eq!(associated_namespaces(&environment), in_role(&clones));
    assert_eq!(calls_of(&environment, &after_twenty[0], "delete"), calls_of(&fresh, after_one, "delete"));
    assert_eq!(associated_namespaces(&environment), in_role(crowd));
    let rules = spoil(&environment);
    let (leaving, staying) = crowd.split_at(12);
    all_at_once(&environment, leaving, "delete");
    assert_eq!(associated_namespaces(&environment), in_role(staying));
    all_at_once(&environment, leaving, "start");
    assert_eq!(associated_namespaces(&environment), in_role(crowd));
    all_at_once(&environment, crowd, "delete");
    assert_eq!(associated_namespaces(&environment), BTreeMap::new());
    for rule in rules {
        environment.sandbox.faults().remove(rule);
    }
    assert_eq!(environment.sandbox.aws(|aws| aws.roles()[ROLE].clone()), made);
    let witness = environment.sandbox.witness();
    assert_eq!(witness.count("iam:UpdateAssumeRolePolicy"), 0);
    assert_eq!(witness.of("iam:CreateRole").iter().filter(|call| call.changed).count(), 1);
}
