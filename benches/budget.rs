//! What a run costs, measured on the binary of the image against the local AWS and Kubernetes: `cargo bench --package qovery-irsa-benches`.
//!
//! It prints and judges nothing: calls and rounds are held by `tests/it/cost.rs`, sizes by `.ci/image`, and times depend on the machine.
//! `QOVERY_IRSA_BINARY` names another binary to measure. With `-- --build` it prints instead what building takes, from nothing and after a
//! change: some ten minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measurement that cannot go on stops")]

use std::{
    collections::BTreeMap,
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use qovery_irsa_sandbox::{
    Sandbox,
    faults::{Fault, When},
};

const NAMESPACE: &str = "z1a2b3c4-shop";
const CLONE: &str = "z5d6e7f8-shop";
/// What a call takes that goes through a network.
const FAR: Duration = Duration::from_millis(50);
const SCENARIOS: [&str; 5] = ["first deploy", "unchanged", "drift", "clone", "delete"];

fn main() {
    // Cargo asks for what is in a benchmark before it runs one.
    if env::args().any(|argument| argument == "--list") {
        return;
    }
    if env::args().any(|argument| argument == "--build") {
        return builds();
    }
    let binary = binary();
    sizes(&binary);
    let start = median((0..21).map(|_| first_connect(&binary)));
    println!("from the start of the process to its first connect: {:.1} ms (limit 5 ms)", millis(start));
    instructions(&binary);

    println!();
    println!(
        "| scenario | identities | calls to AWS | to Kubernetes | rounds | connections | wall, 0 ms a call | wall, 50 ms a call | CPU | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut walls = Vec::new();
    for identities in [1, 20] {
        let near: Vec<_> = (0..7).map(|_| life(&binary, identities, Duration::ZERO, false)).collect();
        let far: Vec<_> = (0..3).map(|_| life(&binary, identities, FAR, false)).collect();
        let watched = life(&binary, identities, FAR, true);
        for (at, scenario) in SCENARIOS.iter().enumerate() {
            let of = |lives: &[Vec<Cost>], what: fn(&Cost) -> Duration| median(lives.iter().map(|life| what(&life[at])));
            let Cost { aws, kubernetes, connections, .. } = watched[at];
            let rounds = far.iter().map(|life| life[at].rounds).min().unwrap();
            let (wall, far_wall) = (of(&near, |cost| cost.wall), of(&far, |cost| cost.wall));
            println!(
                "| {scenario} | {identities} | {aws} | {kubernetes} | {rounds} | {connections} | {:.0} ms | {:.0} ms | {:.0} ms | {:.1} MB |",
                millis(wall),
                millis(far_wall),
                millis(of(&near, |cost| cost.cpu)),
                megabytes(watched[at].memory),
            );
            walls.push(far_wall);
        }
    }
    let unchanged = walls[1 + SCENARIOS.len()].as_secs_f64() / walls[1].as_secs_f64();
    println!();
    println!("twenty unchanged identities take {unchanged:.2} times the wall time of one at 50 ms a call (limit 1.5)");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The binary of the image, built if it is not there as the sources are.
fn binary() -> PathBuf {
    if let Some(path) = env::var_os("QOVERY_IRSA_BINARY") {
        return path.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("image");
    build(image(), &target);
    target.join(format!("{}-unknown-linux-musl/release/qovery-irsa", env::consts::ARCH))
}

/// What builds the binary of the image.
fn image() -> Command {
    let mut command = Command::new(root().join(".ci/cargo-image"));
    let architecture = if env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    command.args([architecture, "build", "--release", "--locked", "--bin", "qovery-irsa"]);
    command
}

/// Builds into a folder: how long it took.
fn build(mut command: Command, target: &Path) -> Duration {
    // What cargo tells the benchmark of itself is no business of another cargo, and makes packages be built again that look at it.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    let began = Instant::now();
    assert!(command.env("CARGO_TARGET_DIR", target).current_dir(root()).status().unwrap().success(), "it cannot be built");
    began.elapsed()
}

/// What building takes, each from nothing but the downloaded packages, and the image's binary once more after a change of the sources.
fn builds() {
    let folder = env::temp_dir().join(format!("qovery-irsa-builds-{}", std::process::id()));
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).args(["--locked", "--timings"]);
        command
    };
    let mut timed = image();
    timed.arg("--timings");
    println!("| build | from nothing | of it, on one core each |");
    println!("|---|---|---|");
    for (name, command) in
        [("`cargo build`", cargo(&["build"])), ("`cargo test --no-run`", cargo(&["test", "--no-run"])), ("the binary of the image", timed)]
    {
        let target = folder.join("target");
        let took = build(command, &target);
        println!("| {name} | {:.0} s | {} |", took.as_secs_f64(), longest(&target));
        if name != "the binary of the image" {
            fs::remove_dir_all(&target).unwrap();
        }
    }
    let source = root().join("src/lib.rs");
    fs::File::options().append(true).open(source).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    println!(
        "| the binary of the image, after a change of the sources | {:.0} s | |",
        build(image(), &folder.join("target")).as_secs_f64()
    );
    fs::remove_dir_all(folder).unwrap();
}

/// The units that took longest to compile, as cargo reports them.
fn longest(target: &Path) -> String {
    let report = fs::read_to_string(target.join("cargo-timings/cargo-timing.html")).unwrap();
    let units = report.split("const UNIT_DATA = ").nth(1).unwrap().split("];").next().unwrap();
    let units: Vec<serde_json::Value> = serde_json::from_str(&format!("{units}]")).unwrap();
    let mut took: Vec<(f64, &str)> =
        units.iter().map(|unit| (unit["duration"].as_f64().unwrap(), unit["name"].as_str().unwrap())).collect();
    took.sort_by(|one, other| other.0.total_cmp(&one.0));
    took.iter().take(4).map(|(seconds, name)| format!("{name} {seconds:.0} s")).collect::<Vec<_>>().join(", ")
}

fn sizes(binary: &Path) {
    let binary = megabytes(fs::metadata(binary).unwrap().len());
    println!("binary, all that is in the image: {binary:.2} MB (limit 7.5 MB)");
}

/// From before the process is there to its first connection, which is to EKS.
fn first_connect(binary: &Path) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::new(1, Duration::ZERO);
    let mut variables = world.variables(NAMESPACE);
    variables.insert("AWS_ENDPOINT_URL".into(), format!("https://{}", listener.local_addr().unwrap()));
    let began = Instant::now();
    let mut child = world.command(binary, &variables, "start").spawn().unwrap();
    let _connection = listener.accept().unwrap();
    let took = began.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

/// What callgrind counts of an unchanged start of one identity.
fn instructions(binary: &Path) {
    let world = World::new(1, Duration::ZERO);
    let variables = world.variables(NAMESPACE);
    assert!(world.command(binary, &variables, "start").status().unwrap().success());
    let profile = world.sandbox.files().join("callgrind.out");
    let run = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(binary)
        .arg("start")
        .env_clear()
        .envs(&variables)
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .output();
    let Ok(run) = run else { return println!("instructions: valgrind is not installed") };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    let collected: f64 = told.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok()).unwrap();
    println!("instructions of an unchanged run of one identity: {:.1} M (limit 30 M)", collected / 1e6);
}

/// What one run costs.
struct Cost {
    wall: Duration,
    cpu: Duration,
    /// Bytes; 0 if nobody looked.
    memory: u64,
    aws: usize,
    kubernetes: usize,
    rounds: usize,
    connections: usize,
}

/// An account, a cluster in it, and a manifest of so many identities.
struct World {
    sandbox: Sandbox,
}

impl World {
    fn new(identities: usize, latency: Duration) -> Self {
        let sandbox = Sandbox::start();
        sandbox.kubernetes(|kubernetes| [NAMESPACE, CLONE].iter().for_each(|namespace| kubernetes.add_namespace(namespace)));
        let identity = |number| {
            format!("  - {{serviceAccount: app-{number}, role: {{policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}}}}\n")
        };
        let manifest: String = (1..=identities).map(identity).collect();
        fs::write(sandbox.files().join("manifest.yml"), format!("identities:\n{manifest}")).unwrap();
        fs::create_dir(sandbox.files().join("output")).unwrap();
        if !latency.is_zero() {
            sandbox.faults().add("*", When::Always, Fault::Latency(latency));
        }
        Self { sandbox }
    }

    /// As a job of Qovery has them: to Kubernetes by EKS.
    fn variables(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut variables = self.sandbox.environment_with_eks_token();
        let file = |name: &str| self.sandbox.files().join(name).display().to_string();
        variables.extend([
            ("QOVERY_KUBERNETES_NAMESPACE_NAME".to_owned(), namespace.to_owned()),
            ("QOVERY_ENVIRONMENT_ID".to_owned(), "e1".to_owned()),
            ("IRSA_MANIFEST".to_owned(), file("manifest.yml")),
            ("IRSA_OUTPUT".to_owned(), file("output/qovery-output.json")),
            ("IRSA_TERMINATION_LOG".to_owned(), file("termination-log")),
        ]);
        variables
    }

    fn command(&self, binary: &Path, variables: &BTreeMap<String, String>, argument: &str) -> Command {
        let mut command = Command::new(binary);
        command.arg(argument).env_clear().envs(variables).current_dir(self.sandbox.files());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, binary: &Path, namespace: &str, argument: &str, watched: bool) -> Cost {
        let witness = self.sandbox.witness();
        witness.clear();
        let mut command = self.command(binary, &self.variables(namespace), argument);
        let (before, began) = (cpu(), Instant::now());
        let mut child = command.spawn().unwrap();
        let memory = if watched { watch(&mut child) } else { 0 };
        let status = child.wait().unwrap();
        let (wall, cpu) = (began.elapsed(), cpu().saturating_sub(before));
        assert!(status.success(), "{argument}: {status}");
        let calls = witness.calls();
        let of = |server: &str| calls.iter().filter(|call| call.server == server).count();
        let connections: std::collections::BTreeSet<u64> = calls.iter().map(|call| call.connection).collect();
        let (aws, kubernetes) = (of("aws"), of("kubernetes"));
        Cost { wall, cpu, memory, aws, kubernetes, rounds: witness.rounds(), connections: connections.len() }
    }
}

/// One of each scenario, in their order, in a world of its own. The provider is there, as on clusters that Qovery manages.
fn life(binary: &Path, identities: usize, latency: Duration, watched: bool) -> Vec<Cost> {
    let world = World::new(identities, latency);
    let issuer = world.sandbox.cluster().issuer().to_owned();
    let provider = [("Url", issuer.as_str()), ("ClientIDList.member.1", "sts.amazonaws.com")];
    world.sandbox.aws(|aws| aws.call("CreateOpenIDConnectProvider", &provider)).unwrap();
    let first = world.run(binary, NAMESPACE, "start", watched);
    let unchanged = world.run(binary, NAMESPACE, "start", watched);
    world.sandbox.aws(|aws| {
        let roles: Vec<String> = aws.roles().keys().cloned().collect();
        for role in roles {
            aws.role_mut(&role).unwrap().attached.clear();
        }
    });
    let drift = world.run(binary, NAMESPACE, "start", watched);
    let clone = world.run(binary, CLONE, "start", watched);
    let delete = world.run(binary, NAMESPACE, "delete", watched);
    vec![first, unchanged, drift, clone, delete]
}

/// The most memory that a process has taken when it ends, in bytes.
fn watch(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(peak.unwrap_or(0));
        thread::sleep(Duration::from_micros(300));
    }
    most * 1024
}

/// What the children that were waited for have used, user and system.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    [usage.user_time(), usage.system_time()]
        .map(|time| Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(time.tv_usec().unsigned_abs()))
        .iter()
        .sum()
}

fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort();
    times[times.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "one digit is printed")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
