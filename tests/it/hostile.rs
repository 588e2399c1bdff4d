//! What comes in from outside: any bytes for each reader, bombs, bodies without an end, names that are more than names.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use proptest::prelude::*;

use crate::harness::{Environment, MANIFEST, in_time};

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

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Sid":"QoveryIrsaX","Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.com/id/A:aud":"sts.amazonaws.com","oidc.example.com/id/A:sub":["system:serviceaccount:z1:app"]}}}]}"#;
const ACCOUNT: &str = r#"0{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","namespace":"z1","uid":"u","annotations":{"a":"b"},"managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:a":{}}}}}]},"items":[],"issuer":"https://i","status":{"token":"t"}}"#;
const SERVICES: &str = r#"0{"results":[{"id":"s1","name":"api","service_type":"APPLICATION","serviceType":"APPLICATION"}],"security.service_account_name":"app","id":"e1","name":"n","project":{"id":"p"},"message":"m"}"#;
const CLAIMS: &str = r#"{"iss":"https://oidc.example.com/id/A","aud":["sts.amazonaws.com"],"sub":"system:serviceaccount:z1:app","exp":1}"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_manifest_is_read_or_refused_in_lines_for_people(data in nearly(&[MANIFEST])) {
        properties::manifest(&data);
    }

    #[test]
    fn any_value_of_a_variable_stays_one_text_or_one_name(data in nearly(&["app", "z1-shop", "a: b", "*", "x\", \"y", "a:b"])) {
        properties::interpolation(&data);
    }

    #[test]
    fn any_trust_policy_is_read_to_its_meaning_and_keeps_what_is_foreign(data in nearly(&[TRUST])) {
        properties::trust_policy(&data);
    }

    #[test]
    fn any_percent_encoded_text_comes_back(data in nearly(&["%7B%22a%22%3A1%7D", "%", "%zz", "%E4"])) {
        properties::percent_decoding(&data);
    }

    #[test]
    fn any_token_has_claims_or_none(data in nearly(&[CLAIMS, "e30.e30.c2ln"])) {
        properties::jwt_claims(&data);
    }

    #[test]
    fn any_names_give_outputs_that_qovery_takes(data in nearly(&["app\na-b\na.b\n9x\na--b"])) {
        properties::output_names(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_of_kubernetes_is_an_answer_or_an_error(data in nearly(&[ACCOUNT])) {
        properties::kubernetes_answers(&data);
    }

    #[test]
    fn any_answer_of_qovery_is_an_answer_or_an_error(data in nearly(&[SERVICES])) {
        properties::qovery_answers(&data);
    }
}

/// Each ends with exit code 2 in no time, says what is wrong, and asks nobody anything.
#[test]
fn bombs_of_a_manifest_are_refused_before_they_go_off() {
    let laughs: String =
        (1..12).map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "))).collect();
    let bombs = [
        format!("a0: &a0 [lol]\n{laughs}identities: *a11\n"),
        format!("identities: {}", "[".repeat(100_000)),
        format!("identities: {}", "{a: ".repeat(100_000)),
        format!("identities:\n{}", (0..50_000).map(|depth| format!("{}- \n", " ".repeat(depth % 3000))).collect::<String>()),
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
        "a\u{0}",
    ];
    for text in odd.into_iter().filter(|text| !text.contains('\0')) {
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

/// A server whose every answer has no end.
fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1073741824\r\n\r\n{\"a\": \"";
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() {
                    sent = stream.write_all(&[b'x'; 65536]);
                }
            });
        }
    });
    url
}

/// The most memory that a run took, in KiB.
fn most_memory(environment: &Environment) -> (u64, crate::harness::Run) {
    let mut running = environment.spawn_in(crate::harness::NAMESPACE, &["start"]);
    let status = format!("/proc/{}/status", running.child.id());
    let mut most = 0;
    while running.child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    (most, running.end())
}

#[test]
fn a_body_without_an_end_is_given_up_and_not_kept() {
    let bound = "identities: [{serviceAccount: app, bindServices: [api], role: {}}]";
    for variable in ["AWS_ENDPOINT_URL_IAM", "IRSA_QOVERY_API_URL", "KUBECONFIG"] {
        let mut environment = Environment::new(if variable == "IRSA_QOVERY_API_URL" { bound } else { MANIFEST });
        environment.set("IRSA_QOVERY_TOKEN", qovery_irsa_sandbox::qovery::TOKEN);
        environment.set("QOVERY_ENVIRONMENT_ID", "a1b20003-0000-4000-8000-000000000003");
        environment.set("IRSA_TIMEOUT", "10s");
        let url = endless();
        if variable == "KUBECONFIG" {
            let kubeconfig = environment.sandbox.files().join("endless");
            let text = format!(
                r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{{"name": "c", "context": {{"cluster": "c", "user": "u"}}}}],
                "clusters": [{{"name": "c", "cluster": {{"server": "{url}"}}}}], "users": [{{"name": "u", "user": {{"token": "t"}}}}]}}"#
            );
            std::fs::write(&kubeconfig, text).unwrap();
            environment.set(variable, &kubeconfig.display().to_string());
        } else {
            environment.set(variable, &url);
        }
        let (most, run) = most_memory(&environment);
        let run = run.ended(1);
        assert!(run.err.contains("the answer is larger than 8388608 bytes"), "{variable}: {}", run.err);
        assert!(most < 120 << 10, "{variable}: {most} KiB");
    }
}
