//! What comes in from outside: any bytes for each reader, bombs, bodies without an end, names that are more than names.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use serde_json::json;

use crate::support::{
    environment::{Environment, Run, in_time},
    fixtures::{MANIFEST, NAMESPACE},
};

#[path = "../hostile/properties.rs"]
#[allow(unreachable_pub, reason = "to the fuzz targets it is a library")]
mod properties;

/// Any text, and text that is nearly what a reader expects.
fn nearly(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let changed =
        (proptest::sample::select(seeds), any::<prop::sample::Index>(), 0..12_usize, proptest::collection::vec(any::<u8>(), 0..12));
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        ".{0,200}".prop_map(String::into_bytes),
        changed.prop_map(|(seed, at, removed, inserted)| {
            let mut bytes = seed.as_bytes().to_vec();
            let at = at.index(bytes.len());
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, inserted);
            bytes
        }),
    ]
}

/// The inputs that the fuzz targets begin with.
macro_rules! seeds {
    ($($file:literal),+) => {
        &[$(include_str!(concat!("../../fuzz/seeds/", $file))),+]
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_manifest_is_read_or_refused_in_lines_for_people(data in nearly(seeds!["manifest/identities.yml", "manifest/job.yml", "manifest/repeated.yml", "manifest/pod-identity.yml", "manifest/policy.json"])) {
        properties::manifest(&data);
    }

    #[test]
    fn any_value_of_a_variable_stays_one_text_or_one_name(data in nearly(seeds!["interpolation/name", "interpolation/patterns", "interpolation/yaml"])) {
        properties::interpolation(&data);
    }

    #[test]
    fn any_trust_policy_is_read_to_its_meaning_and_keeps_what_is_foreign(data in nearly(seeds!["trust_policy/both.json", "trust_policy/two-cases.json", "trust_policy/foreign.json", "trust_policy/perimeter.json", "trust_policy/pods.json"])) {
        properties::trust_policy(&data);
    }

    #[test]
    fn any_percent_encoded_text_comes_back(data in nearly(seeds!["percent_decoding/document", "percent_decoding/odd"])) {
        properties::percent_decoding(&data);
    }

    #[test]
    fn any_token_has_claims_or_none(data in nearly(seeds!["jwt_claims/claims.json"])) {
        properties::jwt_claims(&data);
    }

    #[test]
    fn any_names_give_outputs_that_qovery_takes(data in nearly(seeds!["output_names/names", "output_names/chosen"])) {
        properties::output_names(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_of_kubernetes_is_an_answer_or_an_error(data in nearly(seeds!["kubernetes_answers/service-account", "kubernetes_answers/list", "kubernetes_answers/status"])) {
        properties::kubernetes_answers(&data);
    }

    #[test]
    fn any_answer_of_qovery_is_an_answer_or_an_error(data in nearly(seeds!["qovery_answers/all", "qovery_answers/job", "qovery_answers/refusal"])) {
        properties::qovery_answers(&data);
    }
}

type Property = fn(&[u8]);

/// Each target of `fuzz/` begins with something, and that holds.
#[test]
fn what_the_fuzz_targets_begin_with_holds() {
    let targets: [(&str, Property); 8] = [
        ("manifest", properties::manifest),
        ("interpolation", properties::interpolation),
        ("trust_policy", properties::trust_policy),
        ("percent_decoding", properties::percent_decoding),
        ("jwt_claims", properties::jwt_claims),
        ("kubernetes_answers", properties::kubernetes_answers),
        ("qovery_answers", properties::qovery_answers),
        ("output_names", properties::output_names),
    ];
    let files = |folder: &str| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(files("fuzz/seeds").len(), targets.len());
    assert_eq!(files("fuzz/fuzz_targets").len(), targets.len());
    for (target, property) in targets {
        let seeds = files(&format!("fuzz/seeds/{target}"));
        assert!(!seeds.is_empty(), "{target}");
        for seed in seeds {
            property(&std::fs::read(seed).unwrap());
        }
    }
}

/// Each ends with exit code 2 in no time, says what is wrong, and asks nobody anything.
#[test]
fn bombs_of_a_manifest_are_refused_before_they_go_off() {
    let laughs = (1..12).map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
    let laughs = laughs.collect::<Vec<_>>().concat();
    let bombs = [
        format!("a0: &a0 [lol]\n{laughs}identities: *a11\n"),
        format!("identities: {}", "[".repeat(100_000)),
        format!("identities: {}", "{a: ".repeat(100_000)),
        format!("identities:\n{}", (0..50_000).map(|depth| " ".repeat(depth % 3000) + "- \n").collect::<String>()),
        format!("identities: [{{serviceAccount: app, role: {{description: \"{}\"}}}}]", "x".repeat(100 << 20)),
        format!("identities: [{{serviceAccount: app, role: {{description: \"{}\"}}}}]", "${QOVERY_ENVIRONMENT_ID}".repeat(40_000)),
        "? ".repeat(60_000),
        "- ".repeat(60_000),
    ];
    for bomb in bombs {
        let environment = Environment::new(&bomb);
        let run = in_time(Duration::from_secs(20), || environment.run(&["start"]));
        assert_eq!(run.code, 2, "{}…: {}", &bomb[..60.min(bomb.len())], run.err);
        assert!(run.err.starts_with("error: ") && run.err.len() < 64 * 1024, "{}", run.err.len());
        assert!(environment.sandbox.witness().calls().is_empty());
    }
}

/// Names from each place a name can come from: none of these is one, nothing is asked, and the text is shown.
#[test]
fn nothing_that_is_no_name_gets_further_than_the_configuration() {
    let odd = [
        "*",
        "a*",
        "z?",
        "a:b",
        "system:serviceaccount:z1:app",
        "a\"b",
        "a\nb",
        "a b",
        "a,b",
        "\u{430}pp",
        "a\u{ff1a}b",
        "a\u{ff0a}",
        "a\u{200b}b",
        "\u{212a}",
        "A",
        "a/b",
        "../a",
        "a%2Ab",
        "${HOME}",
        "-a",
        "a-",
        ".",
    ];
    for text in odd {
        let mut environment = Environment::new(MANIFEST);
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", text);
        let run = environment.run(&["start"]).ended(2);
        assert!(run.err.contains("`QOVERY_KUBERNETES_NAMESPACE_NAME`"), "{text:?}: {}", run.err);

        let mut environment = Environment::new(MANIFEST);
        environment
            .without_manifest(&[("SERVICE_ACCOUNT_NAME", text), ("IRSA_POLICY_ARNS", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")]);
        let by_variable = environment.run(&["start"]).ended(2);
        assert!(by_variable.err.contains("`SERVICE_ACCOUNT_NAME`"), "{text:?}: {}", by_variable.err);

        let mut environment = Environment::new("identities: [{serviceAccount: \"${NAME}\", role: {extraSubjects: [\"z2/${NAME}\"]}}]");
        environment.set("NAME", text);
        let by_manifest = environment.run(&["start"]).ended(2);
        assert!(by_manifest.err.contains("identities[0].serviceAccount"), "{text:?}: {}", by_manifest.err);
        assert!(environment.sandbox.witness().calls().is_empty(), "{text:?}");
    }
}

/// A server that answers every request so.
fn serving(answer: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                answer(&request(&stream), &mut stream);
            });
        }
    });
    url
}

/// Head and body. Whoever answers before all is read and then closes resets the connection.
fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") && reader.read_line(&mut text).is_ok_and(|length| length > 0) {}
    let length = text.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = reader.read_exact(&mut body);
    text + &String::from_utf8_lossy(&body)
}

fn head(status: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").into_bytes()
}

/// Answers with this body, as far as anybody listens.
fn say(stream: &mut TcpStream, status: &str, body: &str) {
    let _ = stream.write_all(&[&head(status, body.len()), body.as_bytes()].concat());
}

/// A server whose every answer has no end.
fn endless() -> String {
    serving(|_, stream| {
        let mut sent = stream.write_all(&head("200 OK", 1 << 30)).and_then(|()| stream.write_all(br#"{"a": ""#));
        while sent.is_ok() {
            sent = stream.write_all(&vec![b'x'; 65536]);
        }
    })
}

/// A server that gives every request this body.
fn saying(status: &str, body: &str) -> String {
    let (status, body) = (status.to_owned(), body.to_owned());
    serving(move |_, stream| say(stream, &status, &body))
}

/// An environment in which one of the three services is this server.
fn with_service(variable: &str, url: &str) -> Environment {
    let bound = "identities: [{serviceAccount: app, bindServices: [api], role: {}}]";
    let mut environment = Environment::new(if variable == "IRSA_QOVERY_API_URL" { bound } else { MANIFEST });
    environment.set("IRSA_QOVERY_TOKEN", qovery_irsa_sandbox::qovery::TOKEN);
    environment.set("QOVERY_ENVIRONMENT_ID", "a1b20003-0000-4000-8000-000000000003");
    environment.set("IRSA_TIMEOUT", "10s");
    if variable == "KUBECONFIG" {
        let kubeconfig = environment.sandbox.files().join("hostile");
        let text = format!(
            r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{{"name": "c", "context": {{"cluster": "c", "user": "u"}}}}],
            "clusters": [{{"name": "c", "cluster": {{"server": "{url}"}}}}], "users": [{{"name": "u", "user": {{"token": "t"}}}}]}}"#
        );
        std::fs::write(&kubeconfig, text).unwrap();
        environment.set(variable, &kubeconfig.display().to_string());
    } else {
        environment.set(variable, url);
    }
    environment
}

/// The most memory that a run took, in KiB.
fn most_memory(environment: &Environment) -> (u64, Run) {
    let mut running = environment.spawn_in(NAMESPACE, &["start"]);
    let status = format!("/proc/{}/status", running.child.id());
    let mut most = 0;
    while running.child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    // It was looked at while it ran.
    assert!(most > 1 << 10, "{most} KiB");
    (most, running.end())
}

/// How a run ends that a service answers badly: Qovery is asked for the services alone, and done without.
fn refused(variable: &str) -> i32 {
    i32::from(variable != "IRSA_QOVERY_API_URL")
}

/// What a run says of a service's bad answer.
fn told(variable: &str, run: &Run) -> String {
    if refused(variable) == 1 {
        return run.err.clone();
    }
    let note = run.out.lines().find(|line| line.contains("since Qovery cannot be asked"));
    note.unwrap_or_else(|| panic!("no note:\n{}{}", run.out, run.err)).to_owned()
}

const SERVICES: [&str; 3] = ["AWS_ENDPOINT_URL_IAM", "IRSA_QOVERY_API_URL", "KUBECONFIG"];

#[test]
fn a_body_without_an_end_is_given_up_and_not_kept() {
    for variable in SERVICES {
        let (most, run) = most_memory(&with_service(variable, &endless()));
        let run = run.ended(refused(variable));
        let told = told(variable, &run);
        assert!(told.contains("the answer is larger than 8388608 bytes"), "{variable}: {told}");
        assert!(most < 120 << 10, "{variable}: {most} KiB");
    }
}

/// Megabytes of a service's words, with line breaks and escape sequences in them: where it refuses, and where a word is what a list should be.
#[test]
fn what_a_service_says_is_told_in_one_line_of_bounded_length() {
    let words = r"no\n\u001b[31merror: \u202enothing".repeat(100_000);
    let of_xml = "no&#10;error: nothing".repeat(100_000);
    let answers = [
        (
            "AWS_ENDPOINT_URL_IAM",
            "403 x",
            format!(
                "<ErrorResponse><Error><Code>{of_xml}</Code><Message>{of_xml}</Message></Error><RequestId>{of_xml}</RequestId></ErrorResponse>"
            ),
        ),
        ("IRSA_QOVERY_API_URL", "403 x", format!(r#"{{"error": "{words}", "message": "{words}"}}"#)),
        ("IRSA_QOVERY_API_URL", "200 x", format!(r#"{{"results": "{words}"}}"#)),
        (
            "KUBECONFIG",
            "403 x",
            format!(
                r#"{{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "{words}", "message": "{words}"}}"#
            ),
        ),
        ("KUBECONFIG", "403 x", words.clone()),
        ("KUBECONFIG", "200 x", format!(r#"{{"issuer": ["{words}"]}}"#)),
        ("KUBECONFIG", "200 x", format!(r#"{{"issuer": "{words}"}}"#)),
    ];
    for (variable, status, body) in answers {
        let run = with_service(variable, &saying(status, &body)).run(&["start"]).ended(refused(variable));
        let (said, told) = (&body[..60], told(variable, &run));
        assert!(told.len() < 8 * 1024, "{variable}: {said}: {} bytes", told.len());
        assert!(!told.replace('\n', "").contains(char::is_control), "{variable}: {said}: {told:?}");
        assert!(run.out.len() < 16 * 1024, "{variable}: {said}: {} bytes", run.out.len());
        if refused(variable) == 0 {
            continue;
        }
        assert_eq!(run.err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{variable}: {said}: {}", run.err);
    }
}

/// A proxy on the way says something in a language of its own. It is quoted, and never taken for the service's word that something is
/// missing or not permitted.
#[test]
fn what_answers_in_a_services_place_is_quoted_and_not_believed() {
    let page = "<html>\n  <title>Blocked by policy</title>\n</html>";
    let answered = |variable: &str, status: u16| {
        let run = with_service(variable, &saying(&format!("{status} x"), page)).run(&["start"]).ended(refused(variable));
        assert_eq!(run.writes == 0, refused(variable) == 1, "{variable} {status}");
        let told = told(variable, &run);
        // A good answer may hold credentials and is not quoted; to kube a redirect is one.
        if status == 200 || (variable, status) == ("KUBECONFIG", 302) {
            assert!(told.contains(": UnreadableAnswer: ") && !told.contains("Blocked"), "{variable} {status}: {told}");
        } else {
            let said = format!(": ForeignAnswer: HTTP status {status}: <html> <title>Blocked by policy</title> </html>");
            assert!(told.contains(&said), "{variable} {status}: {told}");
            let hinted = told.contains("something else answers in the service's place");
            assert_eq!(hinted, refused(variable) == 1, "{variable} {status}: {told}");
        }
    };
    std::thread::scope(|scope| {
        for variable in ["AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "IRSA_QOVERY_API_URL", "KUBECONFIG"] {
            for status in [200, 302, 403, 404, 407, 502] {
                scope.spawn(move || answered(variable, status));
            }
        }
    });
    // Where nothing else tells who answers, too: the issuer is known from elsewhere.
    let mut known = with_service("KUBECONFIG", &saying("404 x", page));
    let issuer = known.sandbox.cluster().issuer().to_owned();
    known.set("IRSA_OIDC_ISSUER", &issuer);
    let run = known.run(&["start"]).ended(1);
    assert!(run.err.contains("failed to list the ServiceAccounts") && run.err.contains("ForeignAnswer: HTTP status 404"), "{}", run.err);
    assert_eq!(run.writes, 0);
    for variable in ["AWS_ENDPOINT_URL_IAM", "KUBECONFIG"] {
        let run = with_service(variable, &saying("404 x", page)).run(&["delete"]).ended(1);
        assert!(run.err.contains("ForeignAnswer: HTTP status 404"), "what a proxy does not find is not gone: {variable}: {}", run.err);
    }
}

#[test]
fn to_doctor_a_stranger_in_the_place_of_sts_is_a_link_that_is_not_known() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("KUBECONFIG");
    environment.start();
    let url = serving(|request, stream| {
        let (status, body) = if request.contains("Action=GetCallerIdentity") {
            let caller = "<Arn>arn:aws:iam::123456789012:user/job</Arn><Account>123456789012</Account><UserId>a</UserId>";
            let result = format!("<GetCallerIdentityResult>{caller}</GetCallerIdentityResult>");
            ("200 OK", format!("<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"))
        } else {
            ("403 x", "<html>Blocked</html>".to_owned())
        };
        say(stream, status, &body);
    });
    environment.set("AWS_ENDPOINT_URL_STS", &url);
    let run = environment.run(&["doctor"]).ended(1);
    let session = run.out.lines().find(|line| line.contains("session")).unwrap();
    assert!(session.contains("unknown") && session.contains("ForeignAnswer: HTTP status 403: <html>Blocked</html>"), "{}", run.out);
}

/// As deep as 8 MiB go: no reader follows.
#[test]
fn an_answer_of_any_depth_is_an_error_and_no_overflow() {
    let answers = [
        ("AWS_ENDPOINT_URL_IAM", "<a>".repeat(2 << 20)),
        ("AWS_ENDPOINT_URL_IAM", format!("<GetRoleResponse><GetRoleResult><Role>{}", "<Tags><member>".repeat(500_000))),
        ("IRSA_QOVERY_API_URL", format!(r#"{{"results": {}"#, "[".repeat(8_000_000))),
        ("IRSA_QOVERY_API_URL", r#"{"results":"#.repeat(700_000)),
        ("KUBECONFIG", "[".repeat(8_000_000)),
        ("KUBECONFIG", format!(r#"{{"issuer": {}"#, r#"{"a":"#.repeat(1_500_000))),
    ];
    for (variable, body) in answers {
        let (most, run) = most_memory(&with_service(variable, &saying("200 OK", &body)));
        let run = run.ended(refused(variable));
        let told = told(variable, &run);
        assert!((told.starts_with("error: ") || told.starts_with("note: ")) && told.len() < 8 * 1024, "{variable}: {told}");
        assert!(most < 120 << 10, "{variable}: {most} KiB");
    }
}

/// Each number of a list takes many times its two bytes where it is kept: 8 MiB of them are not.
#[test]
fn an_answer_of_many_parts_takes_no_multiple_of_its_size() {
    let many = "0,".repeat(4_000_000);
    let role = "<Path>/</Path><RoleName>a</RoleName><RoleId>a</RoleId><Arn>arn:aws:iam::123456789012:role/a</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>";
    let answers = [
        (
            "AWS_ENDPOINT_URL_IAM",
            format!(
                r#"<GetRoleResponse><GetRoleResult><Role>{role}<AssumeRolePolicyDocument>{{"Statement":[{many}0]}}</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>"#
            ),
        ),
        ("IRSA_QOVERY_API_URL", format!(r#"{{"results": [], "x": [{many}0]}}"#)),
        ("KUBECONFIG", format!(r#"{{"issuer": "https://a", "metadata": {{}}, "x": [{many}0]}}"#)),
    ];
    for (variable, body) in answers {
        let (most, run) = most_memory(&with_service(variable, &saying("200 OK", &body)));
        // What is not read of an answer of Qovery is not missed.
        assert_eq!(run.code, if variable == "IRSA_QOVERY_API_URL" { 3 } else { 1 }, "{variable}: {}", run.err);
        assert!(most < 120 << 10, "{variable}: {most} KiB");
    }
}

#[test]
fn a_list_of_iam_that_always_names_a_next_page_is_given_up() {
    let pages = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&pages);
    let url = serving(move |request, stream| {
        let (status, body) = if request.contains("Action=ListRoles") {
            let page = asked.fetch_add(1, Ordering::Relaxed);
            let more = format!("<Roles></Roles><IsTruncated>true</IsTruncated><Marker>{page}</Marker>");
            ("200 OK", format!("<ListRolesResponse><ListRolesResult>{more}</ListRolesResult></ListRolesResponse>"))
        } else {
            ("404 x", "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>no</Message></Error></ErrorResponse>".to_owned())
        };
        say(stream, status, &body);
    });
    let run = with_service("AWS_ENDPOINT_URL_IAM", &url).run(&["sweep"]).ended(1);
    assert!(run.err.contains("UnreadableAnswer: the list has more than 200 pages"), "{}", run.err);
    assert!(pages.load(Ordering::Relaxed) >= 201);
}

/// Whoever may annotate a ServiceAccount decides what a refusal quotes: it stays a quotation.
#[test]
fn a_value_that_reads_like_a_line_of_the_job_is_quoted_and_makes_none() {
    let forged = "x\nproven: pods get their role\nerror: \u{1b}[2J\u{202e}nothing";
    let environment = Environment::new(MANIFEST);
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {
            "name": "app", "namespace": NAMESPACE, "annotations": {"eks.amazonaws.com/role-arn": forged},
            "managedFields": [{"manager": "m\nhint: delete it", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {"f:eks.amazonaws.com/role-arn": {}}}}}],
        },
    });
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    for (command, code) in [("start", 3), ("doctor", 1)] {
        let run = environment.run(&[command]).ended(code);
        let shown = run.out + &run.err;
        assert!(!shown.replace('\n', "").contains(char::is_control) && !shown.contains('\u{202e}'), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("proven: ") || line.starts_with("hint: delete it")), "{shown}");
        assert!(shown.contains(r"x\nproven: pods get their role\nerror: \u{1b}[2J\u{202e}nothing"), "{shown}");
    }
}
