//! One clock for the whole run: nothing outlives it, and the report says where the time went.

use std::time::Duration;

use qovery_irsa_sandbox::faults::{Fault, Point, When};

use crate::support::{
    environment::{Environment, Run, in_time},
    fixtures::MANIFEST,
};

/// Runs with the shortest deadline there is.
fn run(environment: &mut Environment, arguments: &[&str]) -> Run {
    environment.set("IRSA_TIMEOUT", "10s");
    in_time(Duration::from_secs(13), || environment.run(arguments))
}

#[test]
fn a_run_that_reaches_its_deadline_says_which_calls_took_the_time() {
    let mut environment = Environment::new(MANIFEST);
    environment.sandbox.faults().add("iam:CreateRole", When::Always, Fault::error(503, "ServiceUnavailable"));
    let failed = run(&mut environment, &["start"]).ended(1);
    let time = failed.err.lines().find(|line| line.starts_with("time: ")).unwrap_or_else(|| panic!("{}", failed.err));
    assert!(time.contains("of it iam:CreateRole ") && time.contains(" attempts and ") && time.ends_with(" between them"), "{time}");

    let failed = run(&mut environment, &["start", "--format", "json"]).ended(1).json();
    let create = &failed["time"]["calls"]["iam:CreateRole"];
    assert!(create["attempts"].as_u64() > Some(2), "{failed:#}");
    assert!(create["pausing_seconds"].as_f64() > Some(3.0), "{failed:#}");
    assert!(failed["time"]["calls"]["iam:GetRole"]["attempts"] == 1, "{failed:#}");
}

#[test]
fn a_run_that_is_done_soon_says_nothing_of_time_and_one_that_waited_says_for_what() {
    let mut environment = Environment::new(MANIFEST);
    let quick = environment.start();
    assert!(!quick.out.contains("time: "), "{}", quick.out);
    let hang = Fault::Hang { point: Point::Before, duration: Duration::from_secs(6) };
    environment.sandbox.faults().add("iam:GetRole", When::Nth(1), hang);
    let slow = run(&mut environment, &["start"]).ended(0);
    assert!(slow.out.contains("time: 6.") && slow.out.contains(", of it iam:GetRole 6."), "{}", slow.out);
}

/// A program that the kubeconfig names for credentials is no call, and yet may not outlive the run.
#[test]
fn a_program_for_credentials_that_never_ends_does_not_outlive_the_run() {
    let mut environment = Environment::new(MANIFEST);
    let kubeconfig = environment.sandbox.files().join("slow-kubeconfig");
    std::fs::write(
        &kubeconfig,
        r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["120"], "interactiveMode": "Never"}}}]}"#,
    )
    .unwrap();
    environment.set("KUBECONFIG", &kubeconfig.display().to_string());
    environment.set("PATH", "/usr/bin:/bin");
    let failed = run(&mut environment, &["start"]).ended(1);
    assert!(
        failed.err.starts_with("error: the kubeconfig's program for credentials did not end within the 10 s of the whole run"),
        "{}",
        failed.err
    );
    assert!(failed.err.contains("hint: run that program by hand"), "{}", failed.err);
    assert_eq!(failed.writes, 0);
}
