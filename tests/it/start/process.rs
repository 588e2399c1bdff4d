//! The process: exit codes, standard streams, output file, termination log, JSON.

use serde_json::json;

use crate::support::{
    environment::Environment,
    fixtures::{MANIFEST, NAMESPACE},
};

#[test]
fn stop_changes_nothing_says_so_and_needs_no_configuration() {
    let mut environment = Environment::new(MANIFEST);
    environment.variables.clear();
    environment.set("IRSA_TERMINATION_LOG", "/nowhere");
    let run = environment.run(&["stop"]).ended(0);
    assert!(run.out.starts_with("nothing to do: a stopped environment keeps its roles and ServiceAccounts, "), "{}", run.out);
    assert!(environment.sandbox.witness().calls().is_empty(), "no call may happen");
}

#[test]
fn every_problem_of_the_configuration_is_said_at_once_and_nothing_is_called() {
    let mut environment = Environment::new("identities:\n  - serviceAccount: Payments_API\n    role: {polices: []}\n");
    environment.unset("QOVERY_KUBERNETES_NAMESPACE_NAME");
    let log = environment.variables["IRSA_TERMINATION_LOG"].clone();
    std::fs::write(&log, "").unwrap();
    let run = environment.run(&["start"]).ended(2);
    let manifest = &environment.variables["IRSA_MANIFEST"];
    assert!(
        run.err.starts_with("error: 3 problems in the configuration\n  `QOVERY_KUBERNETES_NAMESPACE_NAME` is not set\n"),
        "{}",
        run.err
    );
    assert!(
        run.err.contains(&format!("  {manifest}:2: identities[0].serviceAccount: `Payments_API` is not a ServiceAccount name: ")),
        "{}",
        run.err
    );
    assert!(run.err.contains(&format!("  {manifest}:3: identities[0].role.polices: ")) && run.err.contains("`policies`"), "{}", run.err);
    assert!(run.err.ends_with("hint: nothing was read from or changed in AWS, Kubernetes or Qovery\n"), "{}", run.err);
    assert_eq!(std::fs::read_to_string(log).unwrap(), run.err, "the pod's termination message");
    assert!(environment.sandbox.witness().calls().is_empty());
}

#[test]
fn the_output_file_is_as_qovery_reads_it_and_only_written_on_success() {
    let environment = Environment::new(MANIFEST);
    environment.start();
    let role = format!("arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/{}", environment.role_name());
    assert_eq!(
        environment.outputs(),
        json!({
            "IDENTITY_APP_PROVEN":
                {"value": "true", "sensitive": false, "description": "whether AWS gave the last run a session for a token of ServiceAccount app"},
            "IDENTITY_APP_ROLE_ARN": {"value": role, "sensitive": false, "description": "role ARN of ServiceAccount app"},
            "IDENTITY_APP_SERVICE_ACCOUNT": {"value": "app", "sensitive": false, "description": "name of ServiceAccount app"},
        })
    );
    std::fs::remove_file(environment.output_file()).unwrap();
    environment.run(&["plan"]).ended(0);
    environment.delete();
    assert!(!environment.output_file().exists());
}

#[test]
fn without_the_directory_of_qovery_there_is_a_note_and_without_permission_an_error() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("IRSA_OUTPUT", "/nowhere/qovery-output.json");
    let run = environment.start();
    assert!(run.out.contains("note: no outputs were written"), "{}", run.out);
    environment.set("IRSA_OUTPUT", "/proc/qovery-output.json");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.starts_with("error: cannot write the outputs to `/proc/qovery-output.json`\n  caused by: "), "{}", run.err);
    assert!(run.err.contains("hint: AWS and Kubernetes are as they should be"), "{}", run.err);
}

#[test]
fn json_is_one_document_on_stdout_and_the_lines_are_on_stderr() {
    let environment = Environment::new(MANIFEST);
    let run = environment.run(&["--format", "json", "start"]).ended(0);
    let document = run.json();
    assert_eq!((&document["command"], &document["outcome"], &document["exit_code"]), (&json!("start"), &json!("done"), &json!(0)));
    assert_eq!(document["plan"].as_array().unwrap().len(), 5);
    assert_eq!(document["applied"].as_array().unwrap().len(), 5);
    assert_eq!(document["applied"][1]["call"], "iam:CreateRole");
    assert_eq!(document["outputs"], environment.outputs());
    assert_eq!(document["place"]["namespace"], NAMESPACE);
    assert!(run.err.contains("plan: 5 actions") && run.err.contains("done: create role `"), "{}", run.err);

    assert_eq!(environment.run(&["start", "--format=json"]).ended(0).json()["outcome"], "nothing to do");
    let planned = environment.run(&["plan", "delete", "--format=json"]).ended(10).json();
    assert_eq!((&planned["outcome"], &planned["exit_code"]), (&json!("to do"), &json!(10)));

    environment.write_manifest("identities: [{serviceAccount: app, role: {arn: \"arn:aws:iam::123456789012:role/none\"}}]");
    let refused = environment.run(&["--format", "json", "start"]).ended(3).json();
    assert_eq!((&refused["outcome"], &refused["exit_code"]), (&json!("refused"), &json!(3)));
    assert_eq!(refused["error"]["errors"][0]["message"], "refused: role `arn:aws:iam::123456789012:role/none` does not exist");
    environment.write_manifest("identities: []");
    assert_eq!(environment.run(&["--format", "json", "start"]).ended(2).json()["outcome"], "misconfigured");
}

#[test]
fn the_command_line_has_help_and_refuses_what_it_does_not_know() {
    let environment = Environment::new(MANIFEST);
    let help = environment.run(&["--help"]).ended(0).out;
    for word in ["start", "stop", "delete", "plan", "--manifest", "--format", "--timeout", "IRSA_MANIFEST", "Exit codes"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    assert!(environment.run(&["--version"]).ended(0).out.starts_with("qovery-irsa "));
    for (arguments, said) in [
        (&["begin"][..], "error: unrecognized subcommand 'begin'\n"),
        (&[], "Gives the services of a Qovery environment on EKS their AWS permissions\n\nUsage: qovery-irsa [OPTIONS] <COMMAND>\n"),
        (&["plan", "stop"], "error: invalid value 'stop' for '[start|delete]': `start` and `delete` have a plan\n"),
        (&["start", "--force"], "error: unexpected argument '--force' found\n"),
    ] {
        let run = environment.run(arguments).ended(2);
        assert!(run.err.starts_with(said), "{}", run.err);
    }
    assert!(environment.sandbox.witness().calls().is_empty());
}

#[test]
fn a_role_of_another_account_is_a_matter_of_configuration() {
    let environment = Environment::new("identities: [{serviceAccount: app, role: {arn: \"arn:aws:iam::999999999999:role/theirs\"}}]");
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("role `arn:aws:iam::999999999999:role/theirs` is in account `999999999999`, but the job's credentials are for account `123456789012`"), "{}", run.err);
    assert!(run.err.contains("hint: set `IRSA_ASSUME_ROLE_ARN`"), "{}", run.err);
    assert_eq!(run.writes, 0);
}

#[test]
fn a_service_that_refuses_a_policy_that_is_none_says_so() {
    let environment =
        Environment::new("identities: [{serviceAccount: app, role: {policies: [\"arn:aws:iam::123456789012:policy/none\"]}}]");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.starts_with("error: failed to attach policy `arn:aws:iam::123456789012:policy/none` to role `"), "{}", run.err);
    assert!(
        run.err.contains("caused by: NoSuchEntity: ") && run.err.contains("hint: check the ARN of that policy in the manifest"),
        "{}",
        run.err
    );
}

/// The harness looks at all that any run of the suite prints; here the keys themselves are what is wrong.
#[test]
fn a_wrong_key_is_reported_without_it() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("KUBECONFIG");
    environment.set("AWS_SECRET_ACCESS_KEY", "wrong-secret-key-that-must-not-show");
    for format in ["text", "json"] {
        let wrong = environment.run(&["start", "--format", format]).ended(1);
        assert!(
            wrong.err.starts_with("error: failed to describe EKS cluster `demo`\n  caused by: InvalidSignatureException: The request "),
            "{}",
            wrong.err
        );
    }
}
