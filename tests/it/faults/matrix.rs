//! Every call of `start` and `delete`, with every fault, once and for ever.
//!
//! Once: the run succeeds and ends where an undisturbed one does. For ever: it ends before its deadline, with the right exit code and
//! an error that says what failed; nobody else's things have changed, and a later run, undisturbed, ends where it should.
//! What this comes to stands in `docs/reliability.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::{
    aws::Aws,
    faults::{Fault, Point, When},
};
use serde_json::{Value, json};

use crate::support::{
    extent::extent,
    fixtures::{NAMESPACE, by_hand},
    pod_identity::{add_agent, add_pod},
    repository::read,
    shop::Shop,
};

/// Every kind of call that a run can make: a role with all that it can have, a role given by ARN, bound services, a role by EKS Pod Identity.
const MANIFEST: &str = r#"
identities:
  - serviceAccount: app
    bindServices: [api, worker]
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
      inlinePolicies:
        own-bucket: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "arn:aws:s3:::app/*"}]}
  - serviceAccount: legacy
    role: {arn: "arn:aws:iam::123456789012:role/by-hand"}
  - serviceAccount: pods
    podIdentity: true
    role: {}
"#;

/// How many runs are under way at once. Nearly all the time they wait.
const SIDE_BY_SIDE: usize = 24;
/// The deadline of a run that cannot succeed, the shortest there is.
const DEADLINE: Duration = Duration::from_secs(10);

/// Faults of one call, by the name in the table.
fn of_calls() -> Vec<(&'static str, Fault)> {
    vec![
        (THROTTLED, Fault::Throttle),
        ("error 500", Fault::error(500, "ServiceFailure")),
        ("error 503", Fault::error(503, "ServiceUnavailable")),
        ("`ConcurrentModification`", Fault::error(409, "ConcurrentModification")),
        ("reset before it is done", Fault::Reset(Point::Before)),
        ("done, and the answer lost", Fault::lost_answer()),
        ("closed without an answer", Fault::Close(Point::Before)),
        ("body truncated", Fault::TruncatedBody),
        ("body slow, 2 s", Fault::SlowBody(Duration::from_secs(2))),
        ("wrong content type", Fault::ContentType("text/html")),
        ("no answer for 30 s", Fault::Hang { point: Point::Before, duration: Duration::from_secs(30) }),
        (PAST, Fault::Stale { up_to: Duration::from_secs(3) }),
    ]
}

/// Faults of a server's connections.
fn of_connections() -> Vec<(&'static str, &'static str, Fault)> {
    vec![("connection refused", "connect", Fault::RefuseConnection), ("TLS handshake failed", "tls", Fault::BreakTls)]
}

/// The calls of the proof.
const PROOF: [&str; 3] = ["kubernetes:create serviceaccounts/token", "sts:AssumeRoleWithWebIdentity", "eks-auth:AssumeRoleForPodIdentity"];

/// A fault that slows down every call to the service.
const THROTTLED: &str = "throttled";

/// A fault that shows what was there before the last writes.
const PAST: &str = "read up to 3 s old";

fn arranged(command: &str) -> Shop {
    let Shop { environment, id } = Shop::new(MANIFEST);
    let mut shop = Shop { environment: environment.with_pod_identity(), id };
    // By way of EKS, so that its calls are among them.
    shop.environment.unset("KUBECONFIG");
    shop.environment.sandbox.aws(by_hand);
    shop.environment.sandbox.aws(foreign);
    add_agent(&shop.environment);
    add_pod(&shop.environment, NAMESPACE, "pods", "pods-1");
    if command == "delete" {
        shop.environment.start();
        // The environment is being deleted: its pods have gone, and Qovery's states say so.
        shop.environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", NAMESPACE, "pods-1").unwrap());
        shop.ask("DELETE", &format!("/environment/{}", shop.id), None);
    }
    shop.environment.sandbox.settle();
    shop
}

/// Things of others, which no run may touch.
fn foreign(aws: &mut Aws) {
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    aws.add_role("theirs", "/", &trust.to_string());
}

/// What an undisturbed run asks for, and where it ends.
fn undisturbed(command: &str) -> (BTreeSet<String>, Value) {
    let shop = arranged(command);
    let mark = shop.environment.sandbox.witness().mark();
    shop.environment.run(&[command]).ended(0);
    let operations = shop.environment.sandbox.witness().since(mark).into_iter().map(|call| call.operation).collect();
    (operations, shop.environment.sandbox.state())
}

/// The exit code of a run that meets this fault for ever; a fault that spoils nothing leaves it successful.
fn expected(command: &str, operation: &str, fault: &str) -> i32 {
    // Qovery is asked for the services and for their states, and done without. So is what `delete` waits for.
    let of_qovery = operation.starts_with("qovery:") && !operation.starts_with("qovery:edit");
    let advisory = of_qovery || (command, operation) == ("delete", "kubernetes:list pods");
    let proof = PROOF.contains(&operation);
    // It is done, whatever came of the answer, and the next attempt looks first.
    let seen_done = operation.starts_with("qovery:edit") && ["done, and the answer lost", "body truncated"].contains(&fault);
    // Nothing is missing from such an answer: it only comes late, is called something else, or is waited for until it shows the present.
    let whole = ["body slow, 2 s", "wrong content type", PAST].contains(&fault);
    if advisory || seen_done || whole {
        0
    } else if proof {
        4
    } else {
        1
    }
}

#[derive(Clone)]
struct Cell {
    command: &'static str,
    /// What the fault strikes: a call, or the connections of a server.
    target: String,
    name: &'static str,
    fault: Fault,
    for_ever: bool,
}

impl Cell {
    /// What the run is given; none where it has as long as it takes by default.
    fn deadline(&self) -> Option<Duration> {
        // A throttled service slows all calls to it down, and the proof comes last.
        let is_slow = self.name == THROTTLED && PROOF.contains(&self.target.as_str());
        (self.for_ever && self.name != PAST).then_some(if is_slow { 3 * DEADLINE } else { DEADLINE })
    }
}

/// How a cell went that did not fail.
enum Played {
    AsItShouldBe,
    /// The run outlived its deadline, or the machine stood still.
    Late,
}

/// Plays one cell; the way in which it is not as it should be.
fn play(cell: &Cell, end: &Value) -> Result<Played, String> {
    let mut shop = arranged(cell.command);
    let when = if cell.for_ever { When::Always } else { When::Nth(1) };
    shop.environment.sandbox.faults().add(&cell.target, when, cell.fault.clone());
    // The past must be shorter than the propagation delay that the run waits for.
    if cell.name == PAST {
        shop.environment.set("IRSA_SETTLE", "4");
    }
    let deadline = cell.deadline();
    if let Some(deadline) = deadline {
        shop.environment.set("IRSA_TIMEOUT", &format!("{}s", deadline.as_secs()));
    }
    let began = Instant::now();
    let run = shop.environment.run(&[cell.command]);
    let took = began.elapsed();
    if deadline.is_some_and(|deadline| took > deadline + Duration::from_secs(3)) {
        return Ok(Played::Late);
    }
    let told = format!("exit code {} after {took:?}\n{}{}", run.code, run.out, run.err);
    if !shop.environment.sandbox.faults().unmatched().is_empty() {
        return Err(format!("it never came up: {told}"));
    }
    let theirs = shop.environment.sandbox.aws(|aws| aws.roles()["theirs"].trust.contains("lambda"));
    if !theirs {
        return Err(format!("somebody else's role was changed: {told}"));
    }
    if cell.for_ever {
        let wanted = expected(cell.command, &cell.target, cell.name);
        if run.code != wanted {
            return Err(format!("{wanted} was wanted: {told}"));
        }
        if run.code != 0 && !(run.err.starts_with("error: ") && run.err.contains("caused by: ") && run.err.contains("\nhint: ")) {
            let in_vain = run.err.starts_with("error: applied, but this is still to do") || run.err.starts_with("error: not proven");
            if !in_vain {
                return Err(format!("the error says too little: {told}"));
            }
        }
        shop.environment.sandbox.faults().clear();
        shop.environment.set("IRSA_TIMEOUT", "60s");
        let later = shop.environment.run(&[cell.command]);
        if later.code != 0 {
            return Err(format!("a later run did not complete: {told}\n{}{}", later.out, later.err));
        }
    } else if run.code != 0 {
        return Err(told);
    }
    let state = shop.environment.sandbox.state();
    if state == *end { Ok(Played::AsItShouldBe) } else { Err(format!("it ended elsewhere: {told}\n{state:#}")) }
}

/// Whether a call can meet this fault: only writes of IAM are modified concurrently, and only reads show the past.
fn applies(fault: &str, operation: &str) -> bool {
    match fault {
        "`ConcurrentModification`" => operation.starts_with("iam:") && !operation.contains(":Get") && !operation.contains(":List"),
        PAST => {
            [":Get", ":List", ":Describe", ":AssumeRole", ":get ", ":list "].iter().any(|verb| operation.contains(verb))
                && !operation.starts_with("qovery:")
        }
        _ => true,
    }
}

fn cells(operations: &BTreeMap<&'static str, BTreeSet<String>>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (command, operations) in operations {
        for for_ever in [false, true] {
            for (name, fault) in of_calls() {
                let each = operations.iter().filter(|operation| applies(name, operation));
                cells.extend(each.map(|target| Cell { command, target: target.clone(), name, fault: fault.clone(), for_ever }));
            }
            for (name, of, fault) in of_connections() {
                for server in ["aws", "kubernetes", "qovery"].into_iter().filter(|server| *command == "start" || *server != "qovery") {
                    cells.push(Cell { command, target: format!("{server}:{of}"), name, fault: fault.clone(), for_ever });
                }
            }
        }
    }
    cells
}

/// The table of the page: how many cells of each fault were played, and that they were as they should be.
fn table(cells: &[Cell]) -> String {
    let mut rows: Vec<(&str, usize, usize)> = Vec::new();
    for cell in cells {
        let at = rows.iter().position(|(name, ..)| *name == cell.name).unwrap_or_else(|| {
            rows.push((cell.name, 0, 0));
            rows.len() - 1
        });
        if cell.for_ever { rows[at].2 += 1 } else { rows[at].1 += 1 }
    }
    let (once, ever) = rows.iter().fold((0, 0), |(once, ever), row| (once + row.1, ever + row.2));
    let rows = rows.iter().map(|(name, once, ever)| format!("| {name} | {once} | {ever} |\n"));
    format!("| fault | once | for ever |\n|---|---|---|\n{}| together | {once} | {ever} |\n", rows.collect::<String>())
}

/// What undisturbed runs of both commands come to: the cells that follow, which the page has in its table, and where each run ends.
fn all() -> (Vec<Cell>, BTreeMap<&'static str, Value>) {
    let undisturbed = ["start", "delete"].map(|command| (command, undisturbed(command)));
    let operations = undisturbed.iter().map(|(command, (operations, _))| (*command, operations.clone())).collect();
    let all = cells(&operations);
    let page = read("docs/reliability.md");
    assert!(page.contains(&table(&all)), "the page should say\n{}", table(&all));
    (all, undisturbed.into_iter().map(|(command, (_, end))| (command, end)).collect())
}

/// A few of the cells, in which each call of each command meets a fault, and each fault comes once and for ever.
fn sample(all: &[Cell]) -> Vec<Cell> {
    let kinds = |cell: &Cell| [format!("{} {}", cell.command, cell.target), format!("{} {}", cell.name, cell.for_ever)];
    let mut wanted: BTreeSet<String> = all.iter().flat_map(kinds).collect();
    let mut chosen = Vec::new();
    while !wanted.is_empty() {
        let new = |cell: &&Cell| kinds(cell).iter().filter(|kind| wanted.contains(*kind)).count();
        let best = all.iter().max_by_key(new).unwrap();
        for kind in kinds(best) {
            wanted.remove(&kind);
        }
        chosen.push(best.clone());
    }
    chosen
}

fn play_all(cells: &[Cell], ends: &BTreeMap<&str, Value>) {
    let queue = Mutex::new(cells.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some(cell) = queue.lock().unwrap().next() else { return };
                    let played = (0..3).map(|_| play(cell, &ends[cell.command])).find(|played| !matches!(played, Ok(Played::Late)));
                    if let Err(why) =
                        played.map_or_else(|| Err("three times it outlived its deadline".to_owned()), |played| played.map(drop))
                    {
                        let ever = if cell.for_ever { "for ever" } else { "once" };
                        failures.lock().unwrap().push(format!("{} with {} {ever} at {}: {why}", cell.command, cell.name, cell.target));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} cells:\n{}", failures.len(), cells.len(), failures.join("\n\n"));
}

#[test]
fn every_call_survives_every_fault_once_and_ends_in_time_if_it_stays() {
    let (all, ends) = all();
    play_all(&extent(sample(&all), all), &ends);
}

/// One run in which nothing goes well at first.
#[test]
fn a_run_whose_every_call_fails_once_ends_where_an_undisturbed_one_does() {
    for command in ["start", "delete"] {
        let (operations, end) = undisturbed(command);
        thread::scope(|scope| {
            for (name, fault) in of_calls() {
                // These take long or change nothing, and are no more when they come together.
                if ["body slow, 2 s", "wrong content type", "no answer for 30 s", PAST].contains(&name) {
                    continue;
                }
                let (operations, end) = (&operations, &end);
                scope.spawn(move || {
                    let shop = arranged(command);
                    for operation in operations.iter().filter(|operation| applies(name, operation)) {
                        shop.environment.sandbox.faults().add(operation, When::Nth(1), fault.clone());
                    }
                    let run = shop.environment.run(&[command]).ended(0);
                    assert_eq!(shop.environment.sandbox.faults().unmatched(), [] as [String; 0], "{command} with {name}: {}", run.out);
                    assert_eq!(shop.environment.sandbox.state(), *end, "{command} with {name}");
                });
            }
        });
    }
}

/// A resolver cannot be made to fail once; for ever it is a name that does not exist.
#[test]
fn names_that_do_not_resolve_end_in_time_with_their_name() {
    for (variable, name) in [("AWS_ENDPOINT_URL_IAM", "iam.nowhere.invalid"), ("IRSA_QOVERY_API_URL", "api.nowhere.invalid")] {
        let mut shop = arranged("start");
        shop.environment.set("IRSA_TIMEOUT", "10s");
        let before = shop.environment.variables[&"IRSA_QOVERY_API_URL".to_owned()].clone();
        shop.environment.set(variable, &format!("https://{name}"));
        let began = Instant::now();
        let run = shop.environment.run(&["start"]);
        assert!(began.elapsed() < DEADLINE + Duration::from_secs(3));
        // Qovery is asked for the services alone, and done without.
        let (told, code) = if name.starts_with("iam") { (&run.err, 1) } else { (&run.out, 0) };
        assert!(told.contains("NoConnection: ") && told.contains("dns error"), "{told}");
        assert_eq!((run.code, run.writes == 0), (code, code == 1), "{}", run.err);
        shop.environment.unset("AWS_ENDPOINT_URL_IAM");
        shop.environment.set("IRSA_QOVERY_API_URL", &before);
        shop.environment.start();
        assert!(shop.environment.sandbox.kubernetes(|kubernetes| kubernetes.object("serviceaccounts", NAMESPACE, "app").is_some()));
    }
}
