//! The first run: the way in and the life of an environment against a local AWS, Kubernetes and Qovery, no account needed.
//!
//! `cargo run --example sandbox` tells the story; `cargo run --example sandbox -- serve` keeps the local services running for a person who
//! walks the way of the README, for curl or any AWS client.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::SystemTime,
};

use clap::{Parser, Subcommand};
use qovery_irsa::{cli::Cli, run};
use qovery_irsa_sandbox::{
    Engine, JobEnd, JobRun, Sandbox, Serve,
    qovery::{Kind, TOKEN, chart::render},
    serve,
    service::{Request, Service as _},
};
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Parser)]
#[command(about = "The job against a local AWS, Kubernetes and Qovery")]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Keep the local AWS, Kubernetes and Qovery running, and print the environment that points at them
    Serve {
        /// A namespace to create; may be repeated. Qovery has an environment in the first
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
    /// The tool itself, in a process of its own
    #[command(disable_help_flag = true)]
    Job {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

const ENVIRONMENT: &str = "z1a2b3c4-shop";
/// The job as `qovery.yml` names it.
const JOB: &str = "aws-identity";

/// A role by EKS Pod Identity.
const ASSOCIATED: &str =
    "identities: [{serviceAccount: queue, podIdentity: true, role: {policies: [arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess]}}]";

fn main() -> ExitCode {
    let done = match Arguments::parse().mode {
        None => story(),
        Some(Mode::Serve { namespaces, web_identity }) => {
            serve(Serve { namespaces, web_identity, ..Serve::default() }, served, &mut std::io::stdout()).map_err(Into::into)
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
    writeln!(std::io::stdout(), "{}", Value::from(objects))?;
    Ok(())
}

/// A process of the tool, with nothing in its environment but this.
fn tool(variables: &BTreeMap<String, String>) -> std::io::Result<Command> {
    let mut tool = Command::new(std::env::current_exe()?);
    // The local AWS shows no past.
    tool.arg("job").env_clear().envs(variables).env("IRSA_SETTLE", "0").stdin(Stdio::null());
    Ok(tool)
}

/// Runs the job of an environment as Qovery does. What it prints goes to the error stream: the lines for the shell are on the other.
fn served(run: &JobRun) -> JobEnd {
    let process = || {
        let ended = tool(&run.variables)?.args(&run.arguments).current_dir(&run.directory).output()?;
        let mut log = std::io::stderr().lock();
        writeln!(log, "\n# Qovery runs the job in {}: {}", run.namespace, run.arguments.join(" "))?;
        log.write_all(&ended.stdout)?;
        log.write_all(&ended.stderr)?;
        Ok::<_, std::io::Error>(ended.status.code().unwrap_or(1))
    };
    ended(process())
}

/// The same in the story, where everything goes the same way.
fn told(run: &JobRun) -> JobEnd {
    let process = || {
        writeln!(std::io::stdout(), "$ qovery-irsa {}   # the job in {}", run.arguments.join(" "), run.namespace)?;
        Ok(tool(&run.variables)?.args(&run.arguments).current_dir(&run.directory).status()?.code().unwrap_or(1))
    };
    ended(process())
}

fn ended(code: std::io::Result<i32>) -> JobEnd {
    let code = code.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: the job does not start: {error}");
        1
    });
    JobEnd { code }
}

fn story() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start();
    sandbox.kubernetes(|kubernetes| kubernetes.add_namespace(ENVIRONMENT));
    let environment = sandbox.qovery(|qovery| {
        let environment = qovery.add_environment("shop", ENVIRONMENT);
        qovery.add_service(&environment, Kind::Application, "api");
        qovery.add_registry("my-registry");
        environment
    });
    let scene = Scene { sandbox: &sandbox, engine: Engine::new(&sandbox, told) };

    tell("Once for the cluster: an administrator gives the jobs of all environments a role of their own.")?;
    scene.administrator("bootstrap --cluster demo --namespaces z* --boundary docs/permissions/boundary.json --pod-identity")?;

    tell("Once for the environment: the job is installed and deployed, without any key. Qovery runs it.")?;
    let arn = |kind: &str| format!("arn:aws:iam::123456789012:{kind}");
    let (role, boundary) = (arn("role/qovery-irsa-demo"), arn("policy/qovery-irsa-demo-boundary"));
    scene.administrator(&format!("install --environment {environment} --role {role} --boundary {boundary} --deploy"))?;

    tell("Deployed again: nothing to do, and nothing is written.")?;
    scene.deploy(&environment, Some(0))?;

    tell("Somebody detaches the policy and widens the trust by hand. `plan` shows it, the next deploy repairs it.")?;
    scene.sabotage()?;
    scene.job(&environment, "plan", 10, 0)?;
    scene.deploy(&environment, Some(2))?;

    tell("The environment is cloned: the clone gets a role of its own.")?;
    let clone = scene.ask("POST", &format!("/environment/{environment}/clone"), &json!({ "name": "shop-clone" }))?;
    let clone = clone["id"].as_str().ok_or("no clone")?.to_owned();
    scene.deploy(&clone, None)?;

    tell(
        "Another manifest in the clone, with EKS Pod Identity: an association takes the place of the annotation. No pod runs yet to prove it with.",
    )?;
    scene.use_pod_identity(&clone)?;
    scene.deploy(&clone, None)?;

    tell("A pod has started. The next deploy shows EKS a token of this pod, as its agent does.")?;
    scene.start_pod(&clone)?;
    scene.deploy(&clone, Some(0))?;

    tell("Both environments are deleted. Nothing is left but what `bootstrap` made, and that goes when an administrator says so.")?;
    for environment in [&clone, &environment] {
        scene.ask("DELETE", &format!("/environment/{environment}"), &Value::Null)?;
        scene.perform(None)?;
    }
    scene.administrator("bootstrap --delete --cluster demo")?;
    let left = sandbox.aws(|aws| (aws.roles().len(), aws.policies().len(), aws.providers().len()));
    if left == (0, 0, 0) { Ok(()) } else { Err(format!("roles, policies and providers are left: {left:?}").into()) }
}

fn tell(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "\n# {text}")
}

struct Scene<'a> {
    sandbox: &'a Sandbox,
    engine: Engine<'a>,
}

impl Scene<'_> {
    /// What an administrator types at a laptop, while Qovery does what it is asked for. Fails if it fails.
    fn administrator(&self, line: &str) -> Result<(), Box<dyn Error>> {
        writeln!(std::io::stdout(), "$ qovery-irsa {line}")?;
        let mut variables = self.sandbox.environment();
        variables.insert("QOVERY_API_TOKEN".to_owned(), TOKEN.to_owned());
        let mut command = tool(&variables)?;
        command.args(line.split(' ')).current_dir(env!("CARGO_MANIFEST_DIR"));
        let (status, _) = self.engine.in_background(|| command.status());
        match status?.code() {
            Some(0) => Ok(()),
            other => Err(format!("`{line}` should end with exit code 0, not {other:?}").into()),
        }
    }

    fn deploy(&self, environment: &str, writes: Option<usize>) -> Result<(), Box<dyn Error>> {
        self.ask("POST", &format!("/environment/{environment}/deploy"), &Value::Null)?;
        self.perform(writes)
    }

    /// Lets Qovery carry out what it was asked for. Fails if it fails, or if the job writes other than so often.
    fn perform(&self, writes: Option<usize>) -> Result<(), Box<dyn Error>> {
        let before = self.writes();
        let performed = self.engine.perform().ok_or("no deployment")?;
        if !performed.well || performed.runs.len() != 1 {
            return Err(format!("the deployment should go well: {performed:?}").into());
        }
        self.wrote(before, writes)
    }

    /// Runs the job of an environment by hand.
    fn job(&self, environment: &str, command: &str, code: i32, writes: usize) -> Result<(), Box<dyn Error>> {
        let before = self.writes();
        let job = self.service(environment)?;
        match self.engine.run(environment, &job, &[command])? {
            ended if ended == code => self.wrote(before, Some(writes)),
            ended => Err(format!("`{command}` should end with exit code {code}, not {ended}").into()),
        }
    }

    fn writes(&self) -> usize {
        // What is asked of Qovery here is asked past its port.
        self.sandbox.witness().writes().len()
    }

    fn wrote(&self, before: usize, wanted: Option<usize>) -> Result<(), Box<dyn Error>> {
        let written = self.writes() - before;
        writeln!(std::io::stdout(), "  ({written} writes)")?;
        match wanted {
            Some(wanted) if wanted != written => Err(format!("it should write {wanted} times").into()),
            _ => Ok(()),
        }
    }

    fn service(&self, environment: &str) -> Result<String, Box<dyn Error>> {
        Ok(self.sandbox.qovery(|qovery| qovery.service_named(environment, JOB)).ok_or("no job")?)
    }

    /// Asks Qovery's API for something, as its console does.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Box<dyn Error>> {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Token {TOKEN}").parse()?);
        headers.insert("content-type", "application/json".parse()?);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request { method: method.parse()?, path: path.to_owned(), query: String::new(), headers, body: body.into() };
        let response = self.sandbox.qovery(|qovery| qovery.answer(&request, SystemTime::now())).response;
        if response.status >= 300 {
            return Err(format!("{method} {path}: {}", String::from_utf8_lossy(&response.body)).into());
        }
        Ok(serde_json::from_slice(&response.body).unwrap_or_default())
    }

    /// Another manifest for the job of an environment.
    fn use_pod_identity(&self, environment: &str) -> Result<(), Box<dyn Error>> {
        let manifest = self.sandbox.files().join("associated.yml");
        fs::write(&manifest, ASSOCIATED)?;
        let job = self.service(environment)?;
        self.sandbox.qovery(|qovery| qovery.set_variable(&job, "JOB", "IRSA_MANIFEST", &manifest.display().to_string(), false));
        Ok(())
    }

    /// A pod on a node, as EKS admits it.
    fn start_pod(&self, environment: &str) -> Result<(), Box<dyn Error>> {
        let namespace = self.sandbox.qovery(|qovery| qovery.namespace_of(environment)).ok_or("no such environment")?;
        self.sandbox.kubernetes(|kubernetes| {
            kubernetes.put_admitted_pod(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": "queue-1"},
                "spec": {"serviceAccountName": "queue", "nodeName": "node-1", "containers": [{"name": "main", "image": "app"}]},
                "status": {"phase": "Running"},
            }));
        });
        Ok(())
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
