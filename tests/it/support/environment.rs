//! An environment in a sandbox, and the job run in it as Qovery runs it: with what the files in `docs/permissions` allow it and no more,
//! and with an eye on what it prints. So every test of the suite is one of these two as well.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use qovery_irsa_sandbox::{
    Sandbox, Setup,
    aws::Credentials,
    cluster::Cluster,
    qovery,
    witness::{Mark, Witness},
};
use serde_json::{Value, json};

use crate::support::{
    fixtures::NAMESPACE,
    repository::{given_roles_statement, objects, read},
};

/// The policy in the cluster that bounds the job, as it is published.
const GUARD: &str = "docs/permissions/admission-guard.yaml";

pub(crate) struct Environment {
    pub(crate) sandbox: Sandbox,
    pub(crate) variables: BTreeMap<String, String>,
}

/// Roles made by hand, which tests give by ARN: the documented addition to the policy names them.
const GIVEN_ROLES: [&str; 2] = ["by-hand", "my-s3-role"];

/// The documented addition to the policy that names them.
pub(crate) fn of_given_roles() -> Value {
    let roles: Vec<String> = GIVEN_ROLES.iter().map(|name| format!("arn:aws:iam::123456789012:role/{name}")).collect();
    let mut addition = given_roles_statement();
    addition["Resource"] = json!(roles);
    addition
}

/// The bearer token of the job in kubeconfigs.
const TOKEN: &str = "a-token-that-must-not-show";

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    /// How often anything was changed by it.
    pub(crate) writes: usize,
}

/// What this comes to, if it takes no longer. A machine may stand still for a while: what is late is done again, twice at most.
#[track_caller]
pub(crate) fn in_time<T>(limit: Duration, mut attempt: impl FnMut() -> T) -> T {
    for _ in 0..3 {
        let began = Instant::now();
        let result = attempt();
        if began.elapsed() < limit {
            return result;
        }
    }
    panic!("three times it took longer than {limit:?}");
}

/// A run that is under way.
pub(crate) struct Running {
    pub(crate) child: Child,
    witness: Witness,
    began: Mark,
    variables: BTreeMap<String, String>,
}

impl Running {
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end. Nothing that it printed or wrote shows a secret.
    pub(crate) fn end(self) -> Run {
        let Output { status, stdout, stderr } = self.child.wait_with_output().unwrap();
        let writes = self.witness.since(self.began).iter().filter(|call| call.changed).count();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let run = Run { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr), writes };
        let files = ["IRSA_OUTPUT", "IRSA_TERMINATION_LOG"]
            .map(|name| self.variables.get(name).and_then(|path| std::fs::read_to_string(path).ok()));
        for text in [&run.out, &run.err].into_iter().chain(files.iter().flatten()) {
            assert_eq!(shown_secrets(text, &self.variables), [] as [String; 0], "in\n{text}");
        }
        run
    }
}

/// What must not be in what a job prints: the values of secret variables, the tokens that the sandbox gives out, and what tokens, keys and
/// pre-signed URLs look like.
fn shown_secrets(text: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let secret = |name: &str| name.contains("SECRET") || name.ends_with("_TOKEN");
    let values = variables.iter().filter(|(name, value)| secret(name) && !value.is_empty()).map(|(_, value)| value.as_str());
    let known =
        [TOKEN, qovery::TOKEN, qovery::READER_TOKEN, "eyJ", "k8s-aws-v1.", "X-Amz-Signature", "X-Amz-Security-Token", "PRIVATE KEY"];
    values.chain(known).filter(|secret| text.contains(secret)).map(str::to_owned).collect()
}

#[test]
fn a_secret_that_is_printed_is_seen() {
    let variables = BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), "s3cret".to_owned()), ("AWS_REGION".to_owned(), "eu".to_owned())]);
    assert_eq!(shown_secrets("error in eu: s3cret, Bearer eyJhbGciOi", &variables), ["s3cret", "eyJ"]);
    assert_eq!(shown_secrets("error in eu", &variables), [] as [String; 0]);
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

/// The cluster's kubeconfig with the job's token for the administrator's.
pub(crate) fn job_kubeconfig(cluster: &Cluster) -> String {
    let mut document: Value = serde_json::from_slice(&std::fs::read(cluster.kubeconfig()).unwrap()).unwrap();
    document["users"][0]["user"] = json!({ "token": TOKEN });
    let path = cluster.kubeconfig().with_file_name("job-kubeconfig");
    std::fs::write(&path, document.to_string()).unwrap();
    path.display().to_string()
}

/// Lets everybody who is known read the discovery document of the issuer, as some administrators do.
pub(crate) fn open_discovery(cluster: &Cluster) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "open-discovery"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}],
    });
    cluster.kubernetes(|kubernetes| kubernetes.put_object(binding.clone()));
}

impl Environment {
    /// The issuer of the cluster, as IAM has it: without `https://`.
    pub(crate) fn issuer(&self) -> String {
        self.sandbox.cluster().issuer().strip_prefix("https://").unwrap().to_owned()
    }

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
        let environment = Self { sandbox, variables };
        environment.with_permissions("docs/permissions/iam-policy.json", &[of_given_roles()])
    }

    /// The job may do what this policy and these further statements say, and in Kubernetes what `rbac.yaml` says and the guard leaves of it.
    pub(crate) fn with_permissions(mut self, policy: &str, statements: &[Value]) -> Self {
        let partition = format!("arn:{}:", self.sandbox.setup().partition);
        let mut document: Value = serde_json::from_str(&read(policy).replace("arn:aws:", &partition)).unwrap();
        document["Statement"].as_array_mut().unwrap().extend(statements.iter().cloned());
        let Credentials { access_key_id, secret_access_key, .. } = self.sandbox.aws(|aws| aws.add_user("job", Some(document)));
        self.set("AWS_ACCESS_KEY_ID", &access_key_id);
        self.set("AWS_SECRET_ACCESS_KEY", &secret_access_key);
        let kubeconfig = job_kubeconfig(self.sandbox.cluster());
        self.set("KUBECONFIG", &kubeconfig);
        let arn = format!("{partition}iam::123456789012:user/job");
        let groups = ["qovery-irsa"];
        for cluster in [Some(self.sandbox.cluster()), self.sandbox.second_cluster()].into_iter().flatten() {
            cluster.kubernetes(|kubernetes| {
                for object in objects("docs/permissions/rbac.yaml").into_iter().chain(objects(GUARD)) {
                    kubernetes.put_object(object).unwrap();
                }
                kubernetes.add_token(TOKEN, "job", &groups);
            });
            self.sandbox.aws(|aws| aws.add_access_entry(cluster.name(), &arn, "job", &groups));
        }
        let roles: Vec<String> = GIVEN_ROLES.iter().map(|name| format!("'{partition}iam::123456789012:role/{name}'")).collect();
        self.guard("furtherRoles", &format!("[{}]", roles.join(", ")));
        self
    }

    /// Changes a variable of the guard, as its comments say how.
    pub(crate) fn guard(&self, variable: &str, expression: &str) {
        for cluster in [Some(self.sandbox.cluster()), self.sandbox.second_cluster()].into_iter().flatten() {
            cluster.kubernetes(|kubernetes| {
                let mut policy = kubernetes.object("validatingadmissionpolicies", "", "qovery-irsa").cloned().unwrap();
                let variables = policy["spec"]["variables"].as_array_mut().unwrap();
                variables.iter_mut().find(|found| found["name"] == variable).unwrap()["expression"] = expression.into();
                kubernetes.put_object(policy);
            });
        }
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
        self.spawn_with(arguments, variables).end()
    }

    /// Starts a run in another namespace of the cluster, and does not wait for it.
    pub(crate) fn spawn_in(&self, namespace: &str, arguments: &[&str]) -> Running {
        let mut variables = self.variables.clone();
        variables.insert("QOVERY_KUBERNETES_NAMESPACE_NAME".to_owned(), namespace.to_owned());
        self.spawn_with(arguments, &variables)
    }

    /// Starts a run with these variables, and does not wait for it.
    pub(crate) fn spawn(&self, arguments: &[&str], variables: &BTreeMap<String, String>) -> Running {
        self.spawn_with(arguments, variables)
    }

    fn spawn_with(&self, arguments: &[&str], variables: &BTreeMap<String, String>) -> Running {
        let (witness, began) = (self.sandbox.witness().clone(), self.sandbox.witness().mark());
        let child = self.command(arguments, variables).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { child, witness, began, variables: variables.clone() }
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
