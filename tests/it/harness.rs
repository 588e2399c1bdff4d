//! An environment in a sandbox, and the job run in it as Qovery runs it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use qovery_irsa_sandbox::{Sandbox, Setup};
use serde_json::Value;

pub(crate) const NAMESPACE: &str = "z1a2b3c4-shop";

/// One identity with everything that a role can have.
pub(crate) const MANIFEST: &str = r#"
defaults:
  tags: {team: platform}
identities:
  - serviceAccount: app
    labels: {tier: backend}
    automount: false
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
      inlinePolicies:
        own-bucket: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "arn:aws:s3:::app-${QOVERY_ENVIRONMENT_ID}/*"}]}
      permissionsBoundary: arn:aws:iam::aws:policy/PowerUserAccess
      maxSessionDuration: 2h
"#;

/// An identity whose role is given by ARN.
pub(crate) const GIVEN: &str = r#"
identities:
  - serviceAccount: app
    role: {arn: "arn:aws:iam::123456789012:role/by-hand"}
"#;

pub(crate) struct Environment {
    pub(crate) sandbox: Sandbox,
    pub(crate) variables: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    /// How often anything was changed by it.
    pub(crate) writes: usize,
}

impl Run {
    /// The run, if it ended so.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// The actions of the plan that was printed.
    pub(crate) fn planned(&self) -> Vec<&str> {
        self.out.lines().filter_map(|line| line.strip_prefix("  ")).collect()
    }

    /// The actions that were done, without their durations, in the order of the report.
    pub(crate) fn done(&self) -> Vec<&str> {
        self.out.lines().filter_map(|line| line.strip_prefix("done: ")?.rsplit_once(" (").map(|(action, _)| action)).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {}", self.out))
    }
}

impl Environment {
    /// An environment with this manifest.
    pub(crate) fn new(manifest: &str) -> Self {
        Self::in_sandbox(Sandbox::start(), manifest)
    }

    pub(crate) fn with(setup: Setup, manifest: &str) -> Self {
        Self::in_sandbox(setup.start().unwrap(), manifest)
    }

    fn in_sandbox(sandbox: Sandbox, manifest: &str) -> Self {
        sandbox.kubernetes(|kubernetes| kubernetes.add_namespace(NAMESPACE));
        let mut variables = sandbox.environment();
        let file = |name: &str| sandbox.files().join(name).display().to_string();
        std::fs::write(file("manifest.yml"), manifest).unwrap();
        std::fs::create_dir(file("output")).unwrap();
        for (name, value) in [
            ("QOVERY_KUBERNETES_NAMESPACE_NAME", NAMESPACE.to_owned()),
            ("QOVERY_ENVIRONMENT_ID", "e1".to_owned()),
            ("IRSA_MANIFEST", file("manifest.yml")),
            ("IRSA_OUTPUT", file("output/qovery-output.json")),
            ("IRSA_TERMINATION_LOG", file("termination-log")),
            // The sandbox shows no past unless it is told to.
            ("IRSA_SETTLE", "0".to_owned()),
        ] {
            variables.insert(name.to_owned(), value);
        }
        Self { sandbox, variables }
    }

    /// Replaces the manifest.
    pub(crate) fn write_manifest(&self, manifest: &str) {
        std::fs::write(&self.variables["IRSA_MANIFEST"], manifest).unwrap();
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// One identity by variables alone.
    pub(crate) fn without_manifest(&mut self, variables: &[(&str, &str)]) {
        self.unset("IRSA_MANIFEST");
        for (name, value) in variables {
            self.set(name, value);
        }
    }

    pub(crate) fn output_file(&self) -> PathBuf {
        PathBuf::from(&self.variables["IRSA_OUTPUT"])
    }

    pub(crate) fn outputs(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.output_file()).unwrap()).unwrap()
    }

    fn command(&self, arguments: &[&str], variables: &BTreeMap<String, String>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qovery-irsa"));
        command.args(arguments).env_clear().envs(variables).current_dir(self.sandbox.files()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, &self.variables)
    }

    /// The same with other variables.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &BTreeMap<String, String>) -> Run {
        let before = self.sandbox.witness().writes().len();
        let Output { status, stdout, stderr } = self.command(arguments, variables).output().unwrap();
        Run {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
            writes: self.sandbox.witness().writes().len() - before,
        }
    }

    /// Starts a run in another namespace of the cluster, and does not wait for it.
    pub(crate) fn spawn_in(&self, namespace: &str, arguments: &[&str]) -> Child {
        let mut variables = self.variables.clone();
        variables.insert("QOVERY_KUBERNETES_NAMESPACE_NAME".to_owned(), namespace.to_owned());
        self.command(arguments, &variables).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Run {
        self.run(&["start"]).ended(0)
    }

    #[track_caller]
    pub(crate) fn delete(&self) -> Run {
        self.run(&["delete"]).ended(0)
    }

    /// The name of the only role below the tool's path.
    pub(crate) fn role_name(&self) -> String {
        self.sandbox.aws(|aws| aws.roles().values().find(|role| role.path.starts_with("/qovery/")).map(|role| role.name.clone())).unwrap()
    }

    /// Changes the role past the API.
    pub(crate) fn change_role(&self, change: impl FnOnce(&mut qovery_irsa_sandbox::aws::Role)) {
        let name = self.role_name();
        self.sandbox.aws(|aws| change(aws.role_mut(&name).unwrap()));
    }

    pub(crate) fn service_account(&self) -> Option<Value> {
        self.sandbox.kubernetes(|kubernetes| kubernetes.object("serviceaccounts", NAMESPACE, "app").cloned())
    }

    pub(crate) fn roles(&self) -> usize {
        self.sandbox.aws(|aws| aws.roles().len())
    }
}
