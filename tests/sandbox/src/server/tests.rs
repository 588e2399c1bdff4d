//! Every fault and every question to the witness, over real sockets, against a service that counts.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant, SystemTime},
};

use http::Method;
use serde_json::json;

use super::*;
use crate::{
    faults::{Fault, Point, When},
    service::{Answer, Request, Response},
};

/// `GET /` reads the counter, `POST /` adds one, `GET /later` has not been built; operations are IAM's, or those of the service in the path.
#[derive(Clone, Default)]
struct Counter {
    value: u64,
}

impl Service for Counter {
    fn operation(&self, request: &Request) -> String {
        let segments = request.segments();
        let service = segments.first().map_or("iam", String::as_str);
        match (service, &request.method) {
            ("later", _) => "iam:Later".into(),
            ("slip", _) => "iam:Slip".into(),
            ("kubernetes", &Method::GET) => "kubernetes:get counters".into(),
            (service, &Method::GET) => format!("{service}:GetCounter"),
            (service, _) => format!("{service}:AddOne"),
        }
    }

    fn answer(&mut self, request: &Request, _: SystemTime) -> Answer {
        let changed = request.method == Method::POST;
        if changed {
            self.value += 1;
        }
        assert!(request.path != "/slip", "a slip in the service");
        let status = if request.path == "/later" { 501 } else { 200 };
        Answer {
            response: Response::json(status, &json!({ "value": self.value })),
            changed,
            parameters: json!({ "body": String::from_utf8_lossy(&request.body) }),
        }
    }

    fn snapshot(&self) -> Box<dyn Service> {
        Box::new(self.clone())
    }
}

struct World {
    server: Server,
    faults: Faults,
    witness: Witness,
    clock: Clock,
    counter: Arc<Mutex<Counter>>,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        Self::at(Clock::real())
    }

    fn at(clock: Clock) -> Self {
        let mut surroundings = Surroundings::new(42).unwrap();
        surroundings.clock = clock;
        let counter = Arc::new(Mutex::new(Counter::default()));
        let server = Server::start("aws", counter.clone(), surroundings.clone()).unwrap();
        Self {
            server,
            faults: surroundings.faults,
            witness: surroundings.witness,
            clock: surroundings.clock,
            counter,
            authority: surroundings.authority,
        }
    }

    fn with(pattern: &str, when: When, fault: Fault) -> Self {
        let world = Self::new();
        world.faults.add(pattern, when, fault);
        world
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// One request on a connection of its own, everything that comes back until the connection ends.
    fn raw_with_end(&self, method: &str, path: &str) -> (String, std::io::Result<usize>) {
        let mut stream = self.connect();
        send(&mut stream, method, path, "close");
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        (String::from_utf8_lossy(&bytes).into_owned(), end)
    }

    fn raw(&self, method: &str, path: &str) -> String {
        self.raw_with_end(method, path).0
    }

    fn value(&self) -> u64 {
        lock(&self.counter).value
    }

    /// What a `GET` on the wire says.
    fn read(&self) -> u64 {
        let text = self.raw("GET", "/");
        let body: serde_json::Value = serde_json::from_str(body(&text)).unwrap();
        body["value"].as_u64().unwrap()
    }
}

fn send(stream: &mut impl std::io::Write, method: &str, path: &str, connection: &str) {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: sandbox\r\nconnection: {connection}\r\ncontent-length: 2\r\n\r\nhi");
    // The server may have reset the connection already; what comes back is what counts.
    let _ = stream.write_all(head.as_bytes());
}

/// Waits for something that must come.
fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn status(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

/// Reads one answer with a content length from a connection that stays open.
fn answer(stream: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0_u8];
    loop {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = header(&text, "content-length").parse::<usize>();
        if text.contains("\r\n\r\n") && Ok(body(&text).len()) == length {
            return text;
        }
    }
}

#[test]
fn a_request_is_answered_and_witnessed() {
    let world = World::new();
    let text = world.raw("POST", "/");
    assert_eq!((status(&text), body(&text)), (200, "{\"value\":1}"));
    world.raw("GET", "/");
    let calls = world.witness.calls();
    assert_eq!(world.witness.operations(), ["iam:AddOne", "iam:GetCounter"]);
    assert_eq!(calls[0].parameters, json!({ "body": "hi" }));
    assert_eq!((calls[0].status, calls[0].changed), (Some(200), true));
    assert_eq!((calls[1].sequence, calls[1].changed), (2, false));
    assert_ne!(calls[0].connection, calls[1].connection);
    assert_eq!(world.witness.writes().len(), 1);
    assert_eq!(world.witness.rounds(), 2);
}

#[test]
fn a_connection_is_kept_for_further_requests() {
    let world = World::new();
    let mut stream = world.connect();
    for wanted in 1..4 {
        send(&mut stream, "POST", "/", "keep-alive");
        assert_eq!(body(&answer(&mut stream)), format!("{{\"value\":{wanted}}}"));
    }
    let connections: Vec<u64> = world.witness.calls().iter().map(|call| call.connection).collect();
    assert_eq!(connections, [1, 1, 1]);
}

#[test]
fn https_is_spoken_on_the_same_port() {
    let world = World::new();
    let mut roots = rustls::RootCertStore::empty();
    let pem = world.authority.pem().as_bytes();
    let certificate = rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    for name in ["127.0.0.1", "localhost"] {
        let name = name.try_into().unwrap();
        let session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut stream = rustls::StreamOwned::new(session, world.connect());
        send(&mut stream, "GET", "/", "keep-alive");
        assert_eq!(status(&answer(&mut stream)), 200);
    }
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let world = World::new();
    let mut stream = world.connect();
    let length = 1024 * 1024 + 1;
    write!(stream, "POST / HTTP/1.1\r\nhost: s\r\ncontent-length: {length}\r\n\r\n").unwrap();
    stream.write_all(&vec![b'x'; length]).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert_eq!(status(&text), 413);
    assert_eq!(world.value(), 0);
}

#[test]
fn dropping_the_server_closes_its_port() {
    let world = World::new();
    let address = world.server.address();
    let mut open = world.connect();
    send(&mut open, "GET", "/", "keep-alive");
    answer(&mut open);
    drop(world.server);
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(open.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn what_is_not_implemented_is_remembered() {
    let world = World::new();
    world.faults.add("iam:GetCounter", When::Always, Fault::error(501, "Injected"));
    world.raw("GET", "/later");
    world.raw("GET", "/later");
    world.raw("GET", "/");
    world.witness.clear();
    assert_eq!(world.witness.unimplemented(), ["iam:Later"]);
}

#[test]
fn a_panic_in_the_service_is_remembered_and_survived() {
    let world = World::new();
    assert_eq!(world.raw("GET", "/slip"), "");
    assert_eq!(status(&world.raw("POST", "/")), 200);
    assert!(world.witness.unimplemented()[0].contains("panicked"));
}

#[test]
fn throttling_does_nothing_and_speaks_the_protocol() {
    for (path, status_wanted, code) in [
        ("/iam", 400, "Throttling"),
        ("/sts", 400, "Throttling"),
        ("/eks", 429, "ThrottlingException"),
        ("/kubernetes", 429, "TooManyRequests"),
    ] {
        let world = World::with("*", When::Next(1), Fault::Throttle);
        let text = world.raw("POST", path);
        assert_eq!(status(&text), status_wanted, "{path}");
        assert!(text.contains(code), "{text}");
        assert_eq!(world.value(), 0);
        let call = &world.witness.calls()[0];
        assert_eq!(call.error.as_deref(), Some(code));
        assert_eq!((call.changed, &call.faults[..]), (false, &["throttle"][..]));
        let text = world.raw("POST", path);
        assert_eq!((status(&text), world.value()), (200, 1));
    }
}

#[test]
fn an_error_strikes_the_nth_call() {
    let fault = Fault::error(409, "ConcurrentModification");
    let world = World::with("iam:AddOne", When::Nth(2), fault);
    let answers: Vec<u16> = (0..3).map(|_| status(&world.raw("POST", "/"))).collect();
    assert_eq!(answers, [200, 409, 200]);
    assert_eq!(world.value(), 2);
    assert_eq!(world.witness.calls()[1].error.as_deref(), Some("ConcurrentModification"));
}

#[test]
fn a_lost_answer_has_changed_the_state() {
    let world = World::with("iam:AddOne", When::Nth(1), Fault::lost_answer());
    let (text, end) = world.raw_with_end("POST", "/");
    assert_eq!(text, "");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(world.value(), 1);
    let call = &world.witness.writes()[0];
    assert_eq!((call.status, &call.faults[..]), (None, &["lost answer"][..]));
    assert!(call.answered.is_some());
}

#[test]
fn connections_break_before_or_after_the_change() {
    for (fault, value, reset) in [
        (Fault::Reset(Point::Before), 0, true),
        (Fault::Reset(Point::After), 1, true),
        (Fault::Close(Point::Before), 0, false),
        (Fault::Close(Point::After), 1, false),
    ] {
        let world = World::with("*", When::Always, fault.clone());
        let (text, end) = world.raw_with_end("POST", "/");
        assert_eq!((text.as_str(), world.value()), ("", value), "{fault:?}");
        assert_eq!(end.is_err(), reset, "{fault:?}");
    }
}

#[test]
fn a_refused_connection_is_not_read() {
    let world = World::with("aws:connect", When::Next(1), Fault::RefuseConnection);
    let text = world.raw("POST", "/");
    assert_eq!((text.as_str(), world.value()), ("", 0));
    assert!(world.witness.calls().is_empty());
    assert_eq!(status(&world.raw("POST", "/")), 200);
}

#[test]
fn a_truncated_body_ends_halfway() {
    let world = World::with("*", When::Always, Fault::TruncatedBody);
    let text = world.raw("POST", "/");
    assert_eq!(header(&text, "content-length"), "11");
    assert_eq!((body(&text), world.value()), ("{\"val", 1));
}

#[test]
fn a_slow_body_arrives_whole_and_late() {
    let slow = Duration::from_millis(160);
    let world = World::with("*", When::Always, Fault::SlowBody(slow));
    let begun = Instant::now();
    let text = world.raw("POST", "/");
    assert_eq!(body(&text), "{\"value\":1}");
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
}

#[test]
fn a_content_type_can_be_wrong() {
    let world = World::with("*", When::Always, Fault::ContentType("text/html"));
    let text = world.raw("POST", "/");
    assert_eq!(header(&text, "content-type"), "text/html");
    assert_eq!(world.value(), 1);
}

#[test]
fn latency_makes_overlapping_calls_share_a_round() {
    let world = World::with("*", When::Always, Fault::Latency(Duration::from_millis(300)));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| world.raw("GET", "/"));
        }
    });
    assert_eq!(world.witness.rounds(), 1);
    world.raw("GET", "/");
    assert_eq!((world.witness.rounds(), world.witness.count("iam:*")), (2, 4));
}

#[test]
fn a_hanging_call_is_carried_out_though_nobody_waits() {
    let duration = Duration::from_millis(200);
    for point in [Point::Before, Point::After] {
        let fault = Fault::Hang { point, duration };
        let world = World::with("iam:AddOne", When::Always, fault);
        let mut stream = world.connect();
        send(&mut stream, "POST", "/", "close");
        let in_flight = || world.witness.calls().first().cloned();
        until(|| in_flight().is_some_and(|call| call.changed == (point == Point::After)));
        drop(stream);
        until(|| in_flight().is_some_and(|call| call.status == Some(200)));
        assert_eq!(world.value(), 1);
    }
}

#[test]
fn stale_reads_come_from_a_random_past_and_writes_from_the_present() {
    let clock = Clock::stepped(SystemTime::now());
    let world = World::at(clock);
    let up_to = Duration::from_secs(10);
    world.faults.add("*", When::Always, Fault::Stale { up_to });
    for second in 1..=20 {
        world.clock.advance(Duration::from_secs(1));
        let text = world.raw("POST", "/");
        assert_eq!(body(&text), format!("{{\"value\":{second}}}"));
    }
    let seen: std::collections::BTreeSet<u64> = (0..60).map(|_| world.read()).collect();
    assert!(seen.len() > 5, "{seen:?}");
    assert!(seen.iter().all(|value| (10..=20).contains(value)), "{seen:?}");
    world.server.settle();
    assert!((0..20).all(|_| world.read() == 20));
}

#[test]
fn what_was_arranged_before_the_first_request_is_never_stale() {
    let world = World::new();
    let up_to = Duration::from_mins(1);
    world.faults.add("*", When::Always, Fault::Stale { up_to });
    lock(&world.counter).value = 7;
    world.server.arranged();
    assert!((0..10).all(|_| world.read() == 7));
    lock(&world.counter).value = 8;
    world.server.arranged();
    assert!((0..10).any(|_| world.read() == 7));
}
