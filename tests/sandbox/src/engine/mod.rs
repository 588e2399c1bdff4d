//! Carries out what the local Qovery is asked for, as Qovery's engine does: step by step, jobs as processes of whoever uses it, services as
//! pods that are only objects, Helm services by what their charts render to.
//!
//! Here: deployments and their steps. What a job's pod gets is in `pod.rs`, what Helm does in `helm.rs`.
//! <https://github.com/Qovery/engine>, `lib-engine/src/environment/action`

mod helm;
mod pod;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    Sandbox,
    qovery::{Deployment, Event, Qovery, Step},
};

/// How often is looked for a deployment that was asked for.
const LOOK: Duration = Duration::from_millis(10);
/// How long the pods of services that end beside a job's delete event go on.
const TERMINATION: Duration = Duration::from_secs(1);

/// One run of a job: what its process is started with. Nothing else of the machine belongs into its environment.
#[derive(Clone, Debug)]
pub struct JobRun {
    /// The environment's id.
    pub environment: String,
    /// The job's id.
    pub job: String,
    /// The namespace of the environment.
    pub namespace: String,
    /// The `ServiceAccount` of its pod, if the job asks for one: then its token is mounted, and what EKS gives such a pod is among the variables.
    pub account: Option<String>,
    /// What the image is called with.
    pub arguments: Vec<String>,
    /// The environment of the process: what Qovery gives the job, what EKS gives its pod, and where the sandbox is. No AWS key and no
    /// kubeconfig but what Qovery's variables hold.
    pub variables: BTreeMap<String, String>,
    /// A directory of this run, with the files that its container would have.
    pub directory: PathBuf,
}

/// How a run of a job ended.
#[derive(Clone, Copy, Debug)]
pub struct JobEnd {
    /// The exit code; any other than 0 if it was killed.
    pub code: i32,
}

/// How a deployment went.
#[derive(Clone, Debug)]
pub struct Performed {
    /// Of which environment.
    pub environment: String,
    /// Why.
    pub event: Event,
    /// Whether all of it went well.
    pub well: bool,
    /// The runs of jobs, in their order: the job's name and its exit code.
    pub runs: Vec<(String, i32)>,
    /// With which `ServiceAccount` each service started, by the service's name.
    pub started: BTreeMap<String, String>,
    /// What was deployed or could not even begin, as Qovery's log says it: the service's name and why.
    pub failures: Vec<(String, String)>,
}

/// Qovery's engine for one sandbox.
pub struct Engine<'a> {
    sandbox: &'a Sandbox,
    run: Box<dyn Fn(&JobRun) -> JobEnd + Send + Sync + 'a>,
    charts: PathBuf,
    pause: Duration,
    runs: AtomicUsize,
}

impl fmt::Debug for Engine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("charts", &self.charts).finish_non_exhaustive()
    }
}

impl<'a> Engine<'a> {
    /// One that runs jobs so. The charts of the working tree stand for every Git repository and every Helm repository.
    pub fn new(sandbox: &'a Sandbox, run: impl Fn(&JobRun) -> JobEnd + Send + Sync + 'a) -> Self {
        let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts");
        Self { sandbox, run: Box::new(run), charts, pause: Duration::ZERO, runs: AtomicUsize::new(0) }
    }

    /// The same with charts from this folder.
    #[must_use]
    pub fn with_charts(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.charts);
        self
    }

    /// The same, with a pause before and in each step: whoever follows a deployment sees its states.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Carries out the oldest deployment that was asked for; nothing if there is none.
    pub fn perform(&self) -> Option<Performed> {
        self.sandbox.qovery(Qovery::take_deployment).map(|deployment| self.carry_out(&deployment))
    }

    /// Runs a job of an environment with these arguments, whatever its deployments do, as a command in its pod would be run. Its output is read
    /// as after any run.
    ///
    /// # Errors
    /// Its pod cannot start.
    pub fn run(&self, environment: &str, job: &str, arguments: &[&str]) -> Result<i32, String> {
        let namespace = self.sandbox.qovery(|qovery| qovery.namespace_of(environment)).ok_or("no such environment")?;
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let run = self.prepare(environment, job, &namespace, &arguments)?;
        let JobEnd { code } = (self.run)(&run);
        self.pod_ended(&run, code == 0, false);
        let output = std::fs::read(run.directory.join(pod::OUTPUT)).ok();
        self.sandbox.qovery(|qovery| qovery.job_ended(job, code, output.as_deref()));
        Ok(code)
    }

    /// Carries out whatever is asked for, in a thread, one after the other, until this is over. Also answers what was carried out.
    ///
    /// # Panics
    /// When a run panics.
    #[allow(clippy::panic, reason = "a test whose engine is broken has to stop")]
    pub fn in_background<T>(&self, body: impl FnOnce() -> T) -> (T, Vec<Performed>) {
        /// Ends the thread even if the body panics: a scope waits for its threads.
        struct Over<'b>(&'b AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let performing = scope.spawn(|| {
                let mut performed = Vec::new();
                loop {
                    let last = over.load(Ordering::Acquire);
                    match self.perform() {
                        Some(done) => performed.push(done),
                        None if last => return performed,
                        None => thread::sleep(LOOK),
                    }
                }
            });
            let result = {
                let _over = Over(&over);
                body()
            };
            let performed = performing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (result, performed)
        })
    }

    fn carry_out(&self, deployment: &Deployment) -> Performed {
        let Deployment { environment, event, whole, steps } = deployment;
        let namespace = self.sandbox.qovery(|qovery| qovery.namespace_of(environment)).unwrap_or_default();
        // Even for a deletion the engine makes the namespace if it is not there.
        self.sandbox.kubernetes(|kubernetes| {
            if kubernetes.object("namespaces", "", &namespace).is_none() {
                kubernetes.add_namespace(&namespace);
            }
        });
        let performed = Performed {
            environment: environment.clone(),
            event: *event,
            well: true,
            runs: Vec::new(),
            started: BTreeMap::new(),
            failures: Vec::new(),
        };
        let mut course = Course { engine: self, namespace: &namespace, event: *event, ending: Vec::new(), performed };
        thread::sleep(self.pause);
        for step in steps {
            self.sandbox.qovery(|qovery| qovery.reached(step));
            thread::sleep(self.pause);
            let well = course.step(step);
            self.sandbox.qovery(|qovery| qovery.passed(step, well));
            if !well {
                // What fails ends the deployment.
                course.performed.well = false;
                break;
            }
        }
        let performed = course.performed;
        if goes(*event) && *whole && performed.well {
            self.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace(&namespace));
        }
        self.sandbox.qovery(|qovery| qovery.deployment_ended(environment, *event, performed.well));
        performed
    }
}

/// Whether what takes part in it is taken from the cluster.
fn goes(event: Event) -> bool {
    matches!(event, Event::Delete | Event::DeleteServices | Event::Uninstall)
}

/// A deployment that is under way.
struct Course<'c> {
    engine: &'c Engine<'c>,
    namespace: &'c str,
    event: Event,
    /// The services whose pods are terminating.
    ending: Vec<String>,
    performed: Performed,
}

impl Course<'_> {
    /// Whether it went well.
    fn step(&mut self, step: &Step) -> bool {
        let sandbox = self.engine.sandbox;
        match step {
            Step::Run { job, arguments } => self.run(job, arguments),
            Step::Start { service, service_account } => {
                let name = name_of(sandbox, service);
                if let Some(request) = sandbox.qovery(|qovery| qovery.chart_of(service)) {
                    let installed = self.engine.install(service, &request, self.namespace);
                    return self.remember(&name, installed);
                }
                let account = service_account.clone().unwrap_or_else(|| sandbox.qovery(|qovery| qovery.account_of(service)));
                start_pod(sandbox, self.namespace, service, &account);
                self.performed.started.insert(name, account);
                true
            }
            Step::Ending { service } if sandbox.qovery(|qovery| qovery.chart_of(service)).is_some() => {
                // A chart that is paused has no workload to be scaled down here.
                if goes(self.event) {
                    self.engine.uninstall(service, self.namespace);
                }
                true
            }
            Step::Ending { service } => {
                terminate_pod(sandbox, self.namespace, service);
                self.ending.push(service.clone());
                true
            }
            Step::End { service } => {
                end_pod(sandbox, self.namespace, service);
                true
            }
        }
    }

    fn run(&mut self, job: &str, arguments: &[String]) -> bool {
        let sandbox = self.engine.sandbox;
        let name = name_of(sandbox, job);
        let run = match self.engine.prepare(&self.performed.environment, job, self.namespace, arguments) {
            Ok(run) => run,
            Err(reason) => {
                sandbox.qovery(|qovery| qovery.job_ended(job, 1, None));
                return self.remember(&name, Err(reason));
            }
        };
        let (ending, namespace) = (&self.ending, self.namespace);
        let end = thread::scope(|scope| {
            // Beside the services' deletion: their pods end while it runs.
            if !ending.is_empty() {
                scope.spawn(|| {
                    thread::sleep(TERMINATION);
                    for service in ending {
                        end_pod(sandbox, namespace, service);
                    }
                });
            }
            (self.engine.run)(&run)
        });
        let output = std::fs::read(run.directory.join(pod::OUTPUT)).ok();
        self.engine.pod_ended(&run, end.code == 0, goes(self.event));
        sandbox.qovery(|qovery| qovery.job_ended(job, end.code, output.as_deref()));
        self.performed.runs.push((name, end.code));
        end.code == 0
    }

    fn remember(&mut self, name: &str, done: Result<(), String>) -> bool {
        let well = done.is_ok();
        self.performed.failures.extend(done.err().map(|reason| (name.to_owned(), reason)));
        well
    }
}

fn name_of(sandbox: &Sandbox, service: &str) -> String {
    sandbox.qovery(|qovery| qovery.name_of(service)).unwrap_or_default()
}

/// The pod of a service, with the names of the variables that Qovery gives it, and as EKS admits it.
fn start_pod(sandbox: &Sandbox, namespace: &str, service: &str, account: &str) {
    let account = if account.is_empty() { "default" } else { account };
    let variables = sandbox.qovery(|qovery| qovery.variables_of(service));
    let containers = json!([{ "name": "main", "image": "app", "env": pod::entries(service, variables.keys()) }]);
    sandbox.kubernetes(|kubernetes| {
        kubernetes.put_admitted_pod(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": service, "namespace": namespace },
            "spec": { "serviceAccountName": account, "containers": containers }, "status": { "phase": "Running" },
        }));
    });
}

fn terminate_pod(sandbox: &Sandbox, namespace: &str, service: &str) {
    sandbox.kubernetes(|kubernetes| {
        if let Some(mut pod) = kubernetes.object("pods", namespace, service).cloned() {
            pod["metadata"]["deletionTimestamp"] = Value::from("2026-01-01T00:00:00Z");
            kubernetes.put_object(pod);
        }
    });
}

fn end_pod(sandbox: &Sandbox, namespace: &str, service: &str) {
    sandbox.kubernetes(|kubernetes| kubernetes.remove_object("pods", namespace, service));
}
