//! Events: what Qovery does with an environment, as steps that a test carries out, and the variables that its services see.
//!
//! A deployment goes stage by stage. What is not known of it is a switch of the [`World`](super::World).
//! <https://www.qovery.com/docs/configuration/lifecycle-job>

use std::collections::BTreeMap;

use serde_json::Value;

use super::{DeleteEvent, Environment, Kind, LeftOut, Qovery, Refused, SettingsRead, Variable};

/// What happens to an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Deploy.
    Deploy,
    /// Deploy what is deployed already.
    Redeploy,
    /// Stop.
    Stop,
    /// Delete.
    Delete,
    /// One job, with the event that was forced.
    Force,
    /// Some services are deleted, and the environment stays.
    DeleteServices,
    /// The environment or one service is uninstalled: it stays in Qovery.
    Uninstall,
}

/// One run through an environment.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Of which environment.
    pub environment: String,
    /// Why.
    pub event: Event,
    /// Whether it is of the environment, and not of some of its services.
    pub whole: bool,
    /// In their order.
    pub steps: Vec<Step>,
}

/// One step of a deployment.
#[derive(Clone, Debug)]
pub enum Step {
    /// A job is run.
    Run {
        /// Its id.
        job: String,
        /// What it is called with. What it sees is in [`Qovery::variables_of_run`].
        arguments: Vec<String>,
    },
    /// A service starts, with this ServiceAccount, its namespace's default if empty; if none is said, with the one that is set by then.
    Start {
        /// Its id.
        service: String,
        /// Its ServiceAccount.
        service_account: Option<String>,
    },
    /// The pods of a service are asked to end.
    Ending {
        /// Its id.
        service: String,
    },
    /// The pods of a service have ended.
    End {
        /// Its id.
        service: String,
    },
}

impl Step {
    /// The service that it is about.
    #[must_use]
    pub fn service(&self) -> &str {
        let (Self::Run { job: service, .. } | Self::Start { service, .. } | Self::Ending { service } | Self::End { service }) = self;
        service
    }
}

impl Qovery {
    /// The oldest deployment that was asked for and not taken yet. It is under way from now on.
    pub fn take_deployment(&mut self) -> Option<Deployment> {
        let taken = (!self.deployments.is_empty()).then(|| self.deployments.remove(0))?;
        self.begin(&taken.environment);
        Some(taken)
    }

    /// The deployments that were asked for and not taken yet. Those that are taken are under way.
    pub fn take_deployments(&mut self) -> Vec<Deployment> {
        let taken = std::mem::take(&mut self.deployments);
        for deployment in &taken {
            self.begin(&deployment.environment);
        }
        taken
    }

    pub(super) fn event(&mut self, id: &str, event: Event) -> Result<(), Refused> {
        let environment = self.environment(id)?;
        // A job that is skipped does not run for it, even where what is skipped goes with the environment.
        let goes = matches!(event, Event::Delete | Event::Uninstall);
        // Where a job is left out its event does not run: nothing that a job does can tell of that.
        let is_ready =
            |service: &String| environment.services.get(service).is_some_and(|found| found.state == "READY" && found.kind != Kind::Job);
        let takes_part = |service: &&String| match (goes, self.world.left_out) {
            (true, LeftOut::Deleted) => true,
            (true, LeftOut::LeftOut) => !environment.skipped.contains(*service) && !is_ready(service),
            (false, _) => !environment.skipped.contains(*service),
        };
        let services: Vec<String> = environment.stages.iter().flat_map(|stage| &stage.services).filter(takes_part).cloned().collect();
        self.happens(id, event, &services, true)
    }

    /// Deletes these services, the jobs among them with their delete event.
    ///
    /// # Errors
    /// There is no such environment.
    pub fn delete_services(&mut self, environment: &str, services: &[String]) -> Result<(), String> {
        self.happens(environment, Event::DeleteServices, services, false).map_err(|refused| refused.message)
    }

    /// Uninstalls a service that is no job, as somebody in the console does: it stays in Qovery.
    ///
    /// # Errors
    /// There is no such service.
    pub fn uninstall(&mut self, service: &str) -> Result<(), String> {
        self.alone(service, Event::Uninstall).map_err(|refused| refused.message)
    }

    fn happens(&mut self, id: &str, event: Event, services: &[String], whole: bool) -> Result<(), Refused> {
        let environment = self.environment(id)?;
        let on = match event {
            Event::Deploy | Event::Redeploy | Event::Force => "on_start",
            Event::Stop => "on_stop",
            Event::Delete | Event::DeleteServices | Event::Uninstall => "on_delete",
        };
        let is_job = |service: &&String| environment.services.get(*service).is_some_and(|found| found.kind == Kind::Job);
        let (jobs, others): (Vec<&String>, Vec<&String>) = services.iter().partition(is_job);
        let steps: Vec<Step> = if on == "on_start" {
            services.iter().filter_map(|service| self.step(environment, service, on)).collect()
        } else {
            let runs = jobs.iter().filter(|job| !whole || !environment.skipped.contains(**job));
            let runs = runs.filter_map(|job| self.step(environment, job, on));
            let ending = others.iter().map(|service| Step::Ending { service: (*service).clone() });
            let end = others.iter().map(|service| Step::End { service: (*service).clone() });
            match self.world.delete_event {
                DeleteEvent::Before => runs.chain(ending).chain(end).collect(),
                DeleteEvent::Beside => ending.chain(runs).chain(end).collect(),
                DeleteEvent::After => ending.chain(end).chain(runs).collect(),
            }
        };
        self.deployments.push(Deployment { environment: id.to_owned(), event, whole, steps });
        self.queue(id, event, services, whole);
        Ok(())
    }

    /// Runs one job with the event that is chosen, whatever the environment does.
    pub(super) fn force(&mut self, job: &str, event: Option<&str>) -> Result<(), Refused> {
        let (id, environment) = self.environment_of(job).ok_or_else(|| Refused::new(404, format!("no job with id {job}")))?;
        let id = id.clone();
        let on = match event {
            None | Some("START") => "on_start",
            Some("STOP") => "on_stop",
            Some("DELETE") => "on_delete",
            Some(other) => return Err(Refused::new(400, format!("a lifecycle job has no event {other}"))),
        };
        let steps = self.step(environment, job, on).into_iter().collect();
        self.deployments.push(Deployment { environment: id.clone(), event: Event::Force, whole: false, steps });
        self.queue(&id, Event::Force, &[job.to_owned()], false);
        Ok(())
    }

    /// Something happens to one service alone.
    pub(super) fn alone(&mut self, service: &str, event: Event) -> Result<(), Refused> {
        let (id, _) = self.environment_of(service).ok_or_else(|| Refused::new(404, format!("no service with id {service}")))?;
        let id = id.clone();
        self.happens(&id, event, &[service.to_owned()], false)
    }

    /// The ServiceAccount that a service is set to by now.
    #[must_use]
    pub fn account_of(&self, service: &str) -> String {
        let settings = self.service(service).map(|found| &found.settings);
        settings.and_then(|settings| settings.get("security.service_account_name")?.as_str()).unwrap_or_default().to_owned()
    }

    fn step(&self, environment: &Environment, service: &str, on: &str) -> Option<Step> {
        let found = environment.services.get(service)?;
        if found.kind == Kind::Job {
            // A job that has no command for the event is not run; a cron job has none for any.
            let command = found.request.get("schedule")?.get(on)?;
            let arguments = command["arguments"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            return Some(Step::Run { job: service.to_owned(), arguments });
        }
        let at_start = self.world.settings == SettingsRead::AtStart;
        Some(Step::Start { service: service.to_owned(), service_account: at_start.then(|| self.account_of(service)) })
    }

    /// What a job sees when its run begins, and nothing else: the outputs of jobs that ran before it are among it.
    #[must_use]
    pub fn variables_of_run(&self, job: &str) -> BTreeMap<String, String> {
        let mut variables = self.variables_of(job);
        if let Some((id, environment)) = self.environment_of(job) {
            variables.extend(self.built_in(id, environment));
        }
        variables.insert("QOVERY_JOB_ID".to_owned(), job.to_owned());
        variables
    }

    pub(super) fn built_in(&self, id: &str, environment: &Environment) -> BTreeMap<String, String> {
        [
            ("QOVERY_KUBERNETES_NAMESPACE_NAME", environment.namespace.as_str()),
            ("QOVERY_KUBERNETES_CLUSTER_NAME", &self.cluster),
            ("QOVERY_CLOUD_PROVIDER_REGION", &self.region),
            ("QOVERY_PROJECT_ID", &self.project),
            ("QOVERY_ENVIRONMENT_ID", id),
            ("QOVERY_ENVIRONMENT_NAME", &environment.name),
            ("QOVERY_ENVIRONMENT_TYPE", "DEVELOPMENT"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The user's variables that a service sees: the narrower scope wins. Aliases have the value of what they name.
    #[must_use]
    pub fn variables_of(&self, service: &str) -> BTreeMap<String, String> {
        self.seen_by(service).into_iter().flatten().map(|variable| (variable.key.clone(), self.given(variable))).collect()
    }

    /// The files that are mounted into a service's container: their contents by path.
    #[must_use]
    pub fn files_of(&self, service: &str) -> BTreeMap<String, String> {
        let seen = self.seen_by(service).into_iter().flatten();
        seen.filter_map(|variable| Some((variable.mount_path.clone()?, self.value_of(variable)))).collect()
    }

    /// What stands in the container: of a file its path. <https://www.qovery.com/docs/configuration/environment-variables>
    fn given(&self, variable: &Variable) -> String {
        variable.mount_path.clone().unwrap_or_else(|| self.value_of(variable))
    }

    /// The variables that a project, an environment or a service sees, the widest scope first.
    pub(super) fn seen_by(&self, parent: &str) -> Option<Vec<&Variable>> {
        let of = |id: &str| self.variables.iter().filter(|variable| variable.parent == id).collect::<Vec<_>>();
        let mut seen = of(&self.project);
        if parent == self.project {
            return Some(seen);
        }
        let environment = if self.environments.contains_key(parent) { parent } else { self.environment_of(parent)?.0 };
        seen.extend(of(environment));
        if environment != parent {
            seen.extend(of(parent));
        }
        Some(seen)
    }

    /// The value of a variable; of an alias that of the variable it names, in its own environment.
    pub(super) fn value_of(&self, variable: &Variable) -> String {
        let Some(aliased) = variable.alias_of.as_ref().and_then(|id| self.variables.iter().find(|other| other.id == *id)) else {
            return variable.value.clone();
        };
        if aliased.output_of.is_none() || aliased.parent == variable.parent {
            return aliased.value.clone();
        }
        // In a clone the job has another id, and its output another name: the same output of the environment that the alias is in.
        let environment = self.environment_of(&variable.parent).map_or(variable.parent.as_str(), |(id, _)| id.as_str());
        let name = output_name(&aliased.key);
        let same = |other: &&Variable| other.parent == environment && other.output_of.is_some() && output_name(&other.key) == name;
        self.variables.iter().find(same).map_or_else(|| variable.value.clone(), |found| found.value.clone())
    }

    /// A job's run has ended: its output file is read as Qovery's engine reads it.
    ///
    /// Only after exit code 0; one bad name and the whole file is refused; what is no object is passed over; what does not say that it
    /// is not sensitive is taken as not sensitive; names are in upper case.
    /// <https://github.com/Qovery/engine>, `deploy_job/job_output.rs`
    ///
    /// Of each output Qovery also makes an alias of the output's own name, which every service of the environment sees, the job itself
    /// included. Seen in the fixtures of Qovery/console, `variable-list.spec.tsx`. Whether the alias of an output that is no longer
    /// there goes is not known: here it stays with its last value.
    pub fn job_ended(&mut self, job: &str, exit_code: i32, output: Option<&[u8]>) {
        let Some(environment) = self.environment_of(job).map(|(id, _)| id.clone()) else { return };
        self.run_ended(job, exit_code == 0);
        let file: Value = output.filter(|_| exit_code == 0).and_then(|output| serde_json::from_slice(output).ok()).unwrap_or_default();
        let Some(entries) = file.as_object() else { return };
        let legal = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !entries.keys().all(|name| legal(name)) {
            return;
        }
        let digits = job.get(..8).unwrap_or_default().to_uppercase();
        let entries = entries.iter().filter(|(_, entry)| entry.is_object());
        let outputs: BTreeMap<String, &Value> = entries.map(|(name, entry)| (name.to_uppercase(), entry)).collect();
        let key = |name: &str| format!("QOVERY_OUTPUT_JOB_Z{digits}_{name}");
        self.variables
            .retain(|variable| variable.output_of.as_deref() != Some(job) || outputs.keys().any(|name| variable.key == key(name)));
        for (name, entry) in outputs {
            let value = entry["value"].as_str().map_or_else(|| entry["value"].to_string(), str::to_owned);
            let is_secret = entry["sensitive"] == true;
            let set = Variable { is_secret, by_qovery: true, ..Variable::set(self.id(), "ENVIRONMENT", &environment, &key(&name), &value) };
            let output = Variable { output_of: Some(job.to_owned()), ..set.clone() };
            // One that is there keeps its id: aliases that people made of it go on.
            let there = self.variables.iter_mut().find(|variable| variable.output_of.as_deref() == Some(job) && variable.key == output.key);
            let id = if let Some(there) = there {
                *there = Variable { id: there.id.clone(), ..output };
                there.id.clone()
            } else {
                self.variables.push(output.clone());
                output.id
            };
            let alias = Variable { id: self.id(), key: name, alias_of: Some(id), ..set };
            self.alias_output(alias);
        }
    }

    /// Makes or renews the alias of an output, unless a person has a variable of that name there.
    fn alias_output(&mut self, alias: Variable) {
        let there = self.variables.iter_mut().find(|variable| variable.parent == alias.parent && variable.key == alias.key);
        match there {
            Some(there) if there.by_qovery => *there = Variable { id: there.id.clone(), ..alias },
            Some(_) => {}
            None => self.variables.push(alias),
        }
    }
}

/// The name that the job gave: what follows its eight digits.
fn output_name(key: &str) -> &str {
    key.strip_prefix("QOVERY_OUTPUT_JOB_Z").and_then(|rest| rest.get(9..)).unwrap_or(key)
}
