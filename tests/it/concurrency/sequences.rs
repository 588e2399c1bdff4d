//! Manifests that change, runs that crash, jobs that go and come back under another id: what is left is what the last manifests say.
//!
//! In virtual time, with reads that show the past. Each sequence follows from its seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use qovery_irsa::{
    model::{
        identity::{Identity, RoleOrigin, Scope},
        marks::{JobMark, Jobs, Marks},
        names::Subject,
        place::Place,
    },
    plan::{self, Goal},
};
use qovery_irsa_sandbox::aws::evaluate::who_may_assume;
use tokio::time::{sleep, timeout};

use crate::support::{
    extent::extent,
    virtual_world::{ISSUER, World, given, identity, place, run_all, run_knowing, shared},
};

const SETTLE: Duration = Duration::from_secs(8);
/// More than the time after which what is dated goes.
const OVER: Duration = Duration::from_mins(61);

/// A lifecycle job, as long as it is there.
struct Job {
    place: Place,
    /// The ServiceAccounts that its manifests may name: two jobs of one environment do not write one together.
    accounts: [&'static str; 2],
    manifest: Vec<Identity>,
    /// Whether its last run was a deploy.
    deployed: bool,
}

/// One environment's role, one that is called by a name, one that is shared, one that is given.
fn identities(world: &World, place: &Place, account: &str) -> Identity {
    let roles: [fn() -> Identity; 4] = [own, named, shared, given];
    let mut identity = roles[index(world, roles.len())]();
    if let RoleOrigin::Managed(made) = &mut identity.role.origin
        && identity.role.scope == Scope::Environment
        && made.name.is_some()
    {
        made.name = format!("named-{}-{account}", place.namespace).parse().ok();
    }
    identity.service_account.name = account.parse().unwrap();
    identity
}

fn own() -> Identity {
    let RoleOrigin::Managed(mut made) = shared().role.origin else { unreachable!("a role that is made") };
    made.name = None;
    identity(Scope::Environment, RoleOrigin::Managed(made))
}

fn named() -> Identity {
    identity(Scope::Environment, shared().role.origin)
}

fn index(world: &World, count: usize) -> usize {
    (0..count - 1).find(|_| world.happens(1.0 / f64::from(u32::try_from(count).unwrap()))).unwrap_or(count - 1)
}

impl Job {
    fn write_manifest(&mut self, world: &World) {
        let named = self.accounts.iter().filter(|_| world.happens(0.6));
        self.manifest = named.map(|account| identities(world, &self.place, account)).collect();
    }

    /// A deploy: the run, and what it removes after it.
    async fn start(&self, world: &Rc<World>, exist: Option<&BTreeSet<JobMark>>) {
        let started = run_all(world.clone(), &self.manifest, self.place.clone(), Goal::Start, SETTLE).await.unwrap();
        let (desired, mut observed) = (started.desired, started.observed);
        let jobs = match (exist, &self.place.job) {
            (Some(exist), Some(own)) if plan::asks_for_jobs(&desired, &observed) => Jobs::listed(exist, &observed.marked_by(), own),
            _ => Jobs::Unknown,
        };
        observed.judge_marks(&jobs);
        if plan::is_due(&desired, &observed) {
            run_knowing(world.clone(), &self.manifest, self.place.clone(), Goal::Prune, SETTLE, jobs).await.unwrap();
        }
    }

    async fn delete(&self, world: &Rc<World>, exist: Option<&BTreeSet<JobMark>>) {
        let jobs = exist.map_or(Jobs::Unknown, |exist| Jobs::Exist(exist.clone()));
        run_knowing(world.clone(), &self.manifest, self.place.clone(), Goal::Delete, SETTLE, jobs).await.unwrap();
    }

    /// The same, and the process may die on the way.
    async fn run(&self, world: &Rc<World>, goal: Goal, exist: Option<&BTreeSet<JobMark>>) {
        if world.happens(0.3) {
            let run = async {
                match goal {
                    Goal::Delete => self.delete(world, exist).await,
                    _ => self.start(world, exist).await,
                }
            };
            if timeout(world.up_to(Duration::from_secs(4)), run).await.is_ok() {
                return;
            }
            // Its last call may still be under way, and reads show the past.
            sleep(Duration::from_secs(30)).await;
        }
        match goal {
            Goal::Delete => self.delete(world, exist).await,
            _ => self.start(world, exist).await,
        }
    }
}

/// The jobs of the environment of one of them, if Qovery can be asked.
fn exist(jobs: &[Job], of: &Job, asks: bool) -> Option<BTreeSet<JobMark>> {
    let same = jobs.iter().filter(|job| job.place.namespace == of.place.namespace);
    asks.then(|| same.filter_map(|job| job.place.job.clone()).collect())
}

/// Which ServiceAccount may assume which role, by the trust policies as they are.
fn trusted(world: &World) -> BTreeSet<(String, String)> {
    let issuer = ISSUER.strip_prefix("https://").unwrap();
    let provider = format!("arn:aws:iam::123456789012:oidc-provider/{issuer}");
    let candidates: Vec<String> = [1, 2]
        .iter()
        .flat_map(|number| ["app", "worker", "other", "batch"].map(|account| format!("{}/{account}", place(*number).namespace)))
        .map(|subject| subject.parse::<Subject>().unwrap().claim())
        .collect();
    world.now(|aws| {
        let of_role = |(name, role): (&String, &qovery_irsa_sandbox::aws::Role)| {
            let trust = serde_json::from_str(&role.trust).unwrap();
            let let_in = who_may_assume(&trust, &provider, issuer, "sts.amazonaws.com", &candidates);
            let_in.into_iter().map(|subject| (name.clone(), subject)).collect::<Vec<_>>()
        };
        aws.roles().iter().flat_map(of_role).collect()
    })
}

/// The same, by the manifests of the jobs that are there.
fn wanted<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> BTreeSet<(String, String)> {
    let of_job = |job: &Job| {
        let of_identity = |identity: &Identity| (job.place.role_name(identity).to_string(), job.place.subject(identity).claim());
        job.manifest.iter().map(of_identity).collect::<Vec<_>>()
    };
    jobs.into_iter().flat_map(of_job).collect()
}

/// What only jobs want that went without a delete event: where Qovery cannot be asked, nobody who is there may remove it before the environment
/// goes.
fn of_the_dead(world: &World, jobs: &[Job]) -> BTreeSet<(String, String)> {
    let alive: BTreeSet<&JobMark> = jobs.iter().filter_map(|job| job.place.job.as_ref()).collect();
    let only_dead = |marks: &BTreeSet<JobMark>| !marks.is_empty() && marks.iter().all(|job| !alive.contains(job));
    let accounts = world.service_accounts.borrow();
    let dead =
        accounts.iter().filter(|(_, account)| only_dead(&account.marks.keys().cloned().collect())).map(|(subject, _)| subject.claim());
    let dead: BTreeSet<String> = dead.collect();
    let roles: BTreeMap<String, bool> = world.now(|aws| {
        aws.roles().iter().map(|(name, role)| (name.clone(), only_dead(&Marks::of_tags(&role.tags).jobs().cloned().collect()))).collect()
    });
    trusted(world).into_iter().filter(|(role, subject)| dead.contains(subject) || roles[role]).collect()
}

async fn sequence(seed: u64) {
    let world = Rc::new(World::new(seed, Duration::from_secs(4)));
    sleep(Duration::from_hours(1)).await;
    let before = world.now(|aws| aws.roles()["given"].clone());
    let mut ids = 100;
    let mut new_place = |number: usize| {
        ids += 1;
        Place { job: format!("{ids:0>8x}").parse().ok(), ..place(number) }
    };
    let mut jobs = vec![
        Job { place: new_place(1), accounts: ["app", "worker"], manifest: Vec::new(), deployed: false },
        Job { place: new_place(1), accounts: ["other", "batch"], manifest: Vec::new(), deployed: false },
        Job { place: new_place(2), accounts: ["app", "worker"], manifest: Vec::new(), deployed: false },
    ];
    let mut reborn = false;
    // Whether the jobs have an API token.
    let asks = world.happens(0.5);
    for _ in 0..8 {
        let at = index(&world, jobs.len());
        let known = exist(&jobs, &jobs[at], asks);
        let job = &mut jobs[at];
        match index(&world, 8) {
            0 => {
                job.run(&world, Goal::Delete, known.as_ref()).await;
                job.deployed = false;
            }
            // Reinstalled by hand: no delete event ran, and the environment is known to nobody by the old id.
            1 => {
                let number = if job.place.namespace == place(1).namespace { 1 } else { 2 };
                job.place = new_place(number);
                reborn = true;
                // Until it is deployed, what it had is that of a job which Qovery does not know.
                job.deployed &= !asks;
            }
            2 => sleep(world.up_to(OVER * 2)).await,
            _ => {
                job.write_manifest(&world);
                job.run(&world, Goal::Start, known.as_ref()).await;
                job.deployed = true;
            }
        }
        // Nobody has taken anything from another job, in its environment or elsewhere.
        let (alive, found) = (wanted(jobs.iter().filter(|job| job.deployed)), trusted(&world));
        assert!(alive.is_subset(&found), "seed {seed}: lost {:?}", alive.difference(&found));
        sleep(world.up_to(Duration::from_secs(20))).await;
    }
    // What one job has dated may wait for another's mark.
    for _ in 0..3 {
        for job in &jobs {
            job.start(&world, exist(&jobs, job, asks).as_ref()).await;
        }
        sleep(OVER).await;
    }
    for job in &jobs {
        job.start(&world, exist(&jobs, job, asks).as_ref()).await;
    }
    sleep(Duration::from_mins(1)).await;
    let (expected, dead) = (wanted(&jobs), of_the_dead(&world, &jobs));
    let found = trusted(&world);
    assert!(expected.is_subset(&found), "seed {seed}: missing {:?}", expected.difference(&found));
    let more: Vec<_> = found.difference(&expected).filter(|pair| !dead.contains(*pair)).collect();
    assert!(more.is_empty(), "seed {seed}: left {more:?}");
    assert!((reborn && !asks) || dead.is_empty(), "seed {seed}: {dead:?}");

    for job in &jobs {
        job.delete(&world, exist(&jobs, job, asks).as_ref()).await;
    }
    sleep(Duration::from_mins(1)).await;
    assert!(!asks || trusted(&world).is_empty(), "seed {seed}: after all deletes {:?}", trusted(&world));
    // Their namespaces are gone.
    let sweeping = place(9);
    let [mut one, other] = [shared(), given()];
    one.service_account.name = "sweeper".parse().unwrap();
    run_all(world.clone(), &[one, other], sweeping, Goal::Sweep, SETTLE).await.unwrap();
    let after = world.now(|aws| aws.roles().clone());
    assert_eq!(after.keys().collect::<Vec<_>>(), ["given"], "seed {seed}");
    let parsed = |trust: &str| serde_json::from_str::<serde_json::Value>(trust).unwrap();
    assert_eq!((&after["given"].tags, parsed(&after["given"].trust)), (&before.tags, parsed(&before.trust)), "seed {seed}");
}

#[test]
fn what_is_left_of_any_sequence_is_what_the_last_manifests_say_and_after_their_deletes_nothing() {
    for seed in 0..extent(60, 1000) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(sequence(seed));
    }
}

/// Neither sees the other's mark, and neither may take it away: when it makes the ServiceAccount, and when its role changes.
#[test]
fn two_jobs_of_one_environment_that_write_at_once_both_leave_their_mark() {
    async fn both(world: &Rc<World>, jobs: &[Job; 2]) {
        tokio::join!(jobs[0].start(world, None), jobs[1].start(world, None));
        let accounts = world.service_accounts.borrow();
        let marked: Vec<usize> = accounts.values().map(|account| account.marks.len()).collect();
        assert_eq!(marked, [2]);
    }
    for seed in 0..extent(20, 200) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = Rc::new(World::new(seed, Duration::from_secs(4)));
            sleep(Duration::from_hours(1)).await;
            let job = |id: &str, identity: Identity| {
                let place = Place { job: id.parse().ok(), ..place(1) };
                Job { place, accounts: ["app", "worker"], manifest: vec![identity], deployed: true }
            };
            let mut jobs = ["aaaaaaaa", "bbbbbbbb"].map(|id| job(id, if seed % 2 == 0 { own() } else { shared() }));
            both(&world, &jobs).await;
            for job in &mut jobs {
                job.manifest = vec![if seed % 2 == 0 { shared() } else { own() }];
            }
            both(&world, &jobs).await;
            // IAM may still show the role without the mark that was written last.
            sleep(Duration::from_mins(1)).await;
            jobs[1].delete(&world, None).await;
            assert!(wanted(&jobs[..1]).is_subset(&trusted(&world)), "seed {seed}: {:?}", trusted(&world));
            assert_eq!(world.service_accounts.borrow().len(), 1, "seed {seed}");
        });
    }
}
