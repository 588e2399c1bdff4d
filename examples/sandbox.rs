//! The first run: the job against a local AWS and Kubernetes, no account needed.
//!
//! `cargo run --example sandbox` tells the story of an environment; `cargo run --example sandbox -- serve` keeps the local AWS and
//! Kubernetes running for the job, curl or any AWS client.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use clap::{Parser, Subcommand};
use qovery_irsa::{cli::Cli, run};
use qovery_irsa_sandbox::{JobEnd, JobRun, Sandbox, Serve, aws::Addon, qovery::chart::render, serve};
use serde_json::json;
use tokio::sync::watch;

#[derive(Parser)]
#[command(about = "The job against a local AWS and Kubernetes")]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Keep the local AWS and Kubernetes running, and print the environment that points at them
    Serve {
        /// A namespace to create; may be repeated
        #[arg(long = "namespace", default_values_t = [ENVIRONMENT.to_owned()])]
        namespaces: Vec<String>,
        /// Write a web identity token of this ServiceAccount, `namespace/name`
        #[arg(long)]
        web_identity: Option<String>,
    },
    /// Print the objects that the local Qovery makes of a chart, as `.ci/chart` compares them with Helm's own
    Chart {
        /// The folder of the chart
        folder: PathBuf,
        /// Its values, as JSON
        values: String,
    },
    /// The job itself, in a process of its own
    #[command(disable_help_flag = true)]
    Job {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

const ENVIRONMENT: &str = "z1a2b3c4-shop";
const CLONE: &str = "z5d6e7f8-shop-clone";

/// A role that environments share, by EKS Pod Identity.
const ASSOCIATED: &str = "identities: [{serviceAccount: queue, podIdentity: true, role: {scope: shared, name: shop-queue, policies: [arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess]}}]";

fn main() -> ExitCode {
    let done = match Arguments::parse().mode {
        None => story(),
        Some(Mode::Serve { namespaces, web_identity }) => {
            serve(Serve { namespaces, web_identity, ..Serve::default() }, performed, &mut std::io::stdout()).map_err(Into::into)
        }
        Some(Mode::Chart { folder, values }) => chart(&folder, &values),
        Some(Mode::Job { arguments }) => return job(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the job of an environment as a process of its own, with nothing in its environment but what its pod gets. What it prints goes to
/// the error stream: the lines for the shell are on the other.
fn performed(run: &JobRun) -> JobEnd {
    let process = || {
        let mut job = Command::new(std::env::current_exe()?);
        job.arg("job").args(&run.arguments).env_clear().envs(&run.variables).current_dir(&run.directory);
        // The local AWS shows no past.
        let ended = job.env("IRSA_SETTLE", "0").stdin(Stdio::null()).output()?;
        let mut log = std::io::stderr().lock();
        writeln!(log, "\n# Qovery runs the job in {}: {}", run.namespace, run.arguments.join(" "))?;
        log.write_all(&ended.stdout)?;
        log.write_all(&ended.stderr)?;
        Ok::<_, std::io::Error>(ended.status.code().unwrap_or(1))
    };
    let code = process().unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: the job does not start: {error}");
        1
    });
    JobEnd { code }
}

/// What `src/main.rs` does.
fn job(arguments: Vec<String>) -> ExitCode {
    let cli = Cli::parse_from(std::iter::once("qovery-irsa".to_owned()).chain(arguments));
    let (_interrupt, interrupted) = watch::channel(false);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return ExitCode::FAILURE };
    let exit = runtime.block_on(run(&cli, std::env::vars(), interrupted, &mut std::io::stdout(), &mut std::io::stderr()));
    ExitCode::from(exit.code())
}

fn chart(folder: &Path, values: &str) -> Result<(), Box<dyn Error>> {
    let objects = render(folder, &serde_json::from_str(values)?)?;
    writeln!(std::io::stdout(), "{}", serde_json::Value::from(objects))?;
    Ok(())
}

fn story() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start();
    sandbox.kubernetes(|kubernetes| {
        kubernetes.add_namespace(ENVIRONMENT);
        kubernetes.add_namespace(CLONE);
    });
    let mut scene = Scene { sandbox: &sandbox, manifest: None };

    tell("The first deploy of an environment: nothing is there yet.")?;
    scene.job(ENVIRONMENT, "start", None)?;

    tell("Deployed again: nothing to do, and nothing is written.")?;
    scene.job(ENVIRONMENT, "start", Some(0))?;

    tell("Somebody detaches the policy and widens the trust by hand. `plan` shows it, the next deploy repairs it.")?;
    scene.sabotage()?;
    scene.job(ENVIRONMENT, "plan", Some(0))?;
    scene.job(ENVIRONMENT, "start", Some(2))?;

    tell("The environment is cloned: the clone gets a role of its own.")?;
    scene.job(CLONE, "start", None)?;

    tell("The clone is deleted. Deleting it again finds nothing to do; the first environment keeps its role.")?;
    scene.job(CLONE, "delete", None)?;
    scene.job(CLONE, "delete", Some(0))?;
    scene.job(ENVIRONMENT, "start", Some(0))?;

    tell("Another manifest, with EKS Pod Identity: an association takes the place of the annotation. No pod runs yet to prove it with.")?;
    scene.use_pod_identity()?;
    scene.job(CLONE, "start", None)?;

    tell("A pod has started. The next deploy shows EKS a token of this pod, as its agent does.")?;
    scene.start_pod(CLONE);
    scene.job(CLONE, "start", Some(0))
}

fn tell(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "\n# {text}")
}

struct Scene<'a> {
    sandbox: &'a Sandbox,
    /// The manifest, where it is not that of the repository.
    manifest: Option<String>,
}

impl Scene<'_> {
    /// Runs the job as Qovery would: a process with an environment of its own. Fails if it fails, or writes other than so often.
    fn job(&self, namespace: &str, command: &str, writes: Option<usize>) -> Result<(), Box<dyn Error>> {
        writeln!(std::io::stdout(), "$ qovery-irsa {command}   # in {namespace}")?;
        let before = self.sandbox.witness().writes().len();
        let status = Command::new(std::env::current_exe()?)
            .args(["job", command])
            .env_clear()
            .envs(self.environment(namespace))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        let written = self.sandbox.witness().writes().len() - before;
        writeln!(std::io::stdout(), "  ({} with exit code {}, {written} writes)", command, status.code().unwrap_or(-1))?;
        let expected = if command == "plan" { 10 } else { 0 };
        if status.code() != Some(expected) {
            return Err(format!("`{command}` should end with exit code {expected}").into());
        }
        match writes {
            Some(writes) if writes != written => Err(format!("`{command}` should write {writes} times").into()),
            _ => Ok(()),
        }
    }

    fn environment(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut environment = self.sandbox.environment();
        environment.insert("QOVERY_KUBERNETES_NAMESPACE_NAME".to_owned(), namespace.to_owned());
        environment.insert("QOVERY_ENVIRONMENT_ID".to_owned(), format!("{namespace}-id"));
        environment.insert("QOVERY_ENVIRONMENT_NAME".to_owned(), "shop".to_owned());
        environment.insert("IRSA_OUTPUT".to_owned(), output(self.sandbox.files()));
        environment.extend(self.manifest.clone().map(|manifest| ("IRSA_MANIFEST".to_owned(), manifest)));
        environment
    }

    /// Another manifest, and the agent of EKS Pod Identity in the cluster.
    fn use_pod_identity(&mut self) -> Result<(), Box<dyn Error>> {
        let manifest = self.sandbox.files().join("associated.yml");
        fs::write(&manifest, ASSOCIATED)?;
        self.manifest = Some(manifest.display().to_string());
        let cluster = self.sandbox.cluster().name().to_owned();
        self.sandbox.aws(|aws| {
            let addon = Addon { version: "v1.3.8-eksbuild.2".to_owned(), status: "ACTIVE".to_owned(), ..Addon::default() };
            let cluster = aws.cluster_mut(&cluster).ok_or("no such cluster")?;
            cluster.addons.insert("eks-pod-identity-agent".to_owned(), addon);
            Ok(())
        })
    }

    /// A pod on a node, as EKS admits it.
    fn start_pod(&self, namespace: &str) {
        self.sandbox.kubernetes(|kubernetes| {
            kubernetes.put_admitted_pod(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": "queue-1"},
                "spec": {"serviceAccountName": "queue", "nodeName": "node-1", "containers": [{"name": "main", "image": "app"}]},
                "status": {"phase": "Running"},
            }));
        });
    }

    fn sabotage(&self) -> Result<(), Box<dyn Error>> {
        self.sandbox.aws(|aws| {
            let name = aws.roles().keys().find(|name| name.contains(ENVIRONMENT)).cloned().ok_or("no role was made")?;
            let role = aws.role_mut(&name).ok_or("no role was made")?;
            role.attached.clear();
            role.trust = role.trust.replace(ENVIRONMENT, "*").replace("StringEquals", "StringLike");
            Ok(())
        })
    }
}

fn output(directory: &Path) -> String {
    directory.join("qovery-output.json").display().to_string()
}
