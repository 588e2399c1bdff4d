//! The states of environments and services, while something happens to them and after it.

use serde_json::{Value, json};

use super::{AService, Environment, Event, Kind, LoneDelete, Qovery, Refused, Step};

/// Qovery's words for one event: while something waits for its turn, while it is under way, once it went well, and once it failed.
///
/// They are those of `StateEnum` in Qovery's description. Which of them a forced run and an uninstall have is said nowhere.
struct Words {
    queued: &'static str,
    under_way: &'static str,
    done: &'static str,
    failed: &'static str,
}

impl Event {
    fn words(self) -> Words {
        let (queued, under_way, done, failed) = match self {
            Self::Deploy | Self::Redeploy => ("DEPLOYMENT_QUEUED", "DEPLOYING", "DEPLOYED", "DEPLOYMENT_ERROR"),
            Self::Force => ("DEPLOYMENT_QUEUED", "EXECUTING", "DEPLOYED", "DEPLOYMENT_ERROR"),
            Self::Stop => ("STOP_QUEUED", "STOPPING", "STOPPED", "STOP_ERROR"),
            Self::Delete | Self::DeleteServices => ("DELETE_QUEUED", "DELETING", "DELETED", "DELETE_ERROR"),
            Self::Uninstall => ("DELETE_QUEUED", "DELETING", "READY", "DELETE_ERROR"),
        };
        Words { queued, under_way, done, failed }
    }
}

impl Environment {
    /// Whether the state of the environment tells of this event, and not only those of the services that it is about.
    fn shows(&self, event: Event, lone: LoneDelete) -> bool {
        match event {
            _ if self.whole => true,
            Event::DeleteServices | Event::Uninstall => lone == LoneDelete::EnvironmentDeleting,
            _ => false,
        }
    }
}

impl Qovery {
    /// Says that something is about to happen to these services; with `whole` to the environment itself.
    pub(super) fn queue(&mut self, id: &str, event: Event, services: &[String], whole: bool) {
        let (lone, late) = (self.world.lone_delete, self.shows.late);
        let Some(environment) = self.environments.get_mut(id) else { return };
        (environment.event, environment.whole, environment.before) = (event, whole, environment.state);
        environment.deployments += 1;
        environment.hidden_for = late;
        let deployment = environment.deployments;
        if environment.shows(event, lone) {
            environment.state = event.words().queued;
        }
        for (service, found) in &mut environment.services {
            found.takes_part = services.contains(service);
            if found.takes_part {
                (found.before, found.state) = (found.state, event.words().queued);
                (found.deployment_before, found.deployment) = (found.deployment, deployment);
            }
        }
    }

    /// Says that what was queued is under way.
    pub(super) fn begin(&mut self, id: &str) {
        let lone = self.world.lone_delete;
        let Some(environment) = self.environments.get_mut(id) else { return };
        let words = environment.event.words();
        if environment.shows(environment.event, lone) && environment.state == words.queued {
            environment.state = words.under_way;
        }
    }

    /// A step of a deployment begins, and the service that it is about shows it.
    pub fn reached(&mut self, step: &Step) {
        self.show(step.service(), |words| words.under_way);
    }

    /// A step has ended, well or not. What is asked to end shows nothing else until it has ended.
    pub fn passed(&mut self, step: &Step, well: bool) {
        match step {
            Step::Ending { .. } if well => {}
            _ => self.run_ended(step.service(), well),
        }
    }

    /// What concerns a service has ended, well or not.
    pub(super) fn run_ended(&mut self, service: &str, well: bool) {
        self.show(service, |words| if well { words.done } else { words.failed });
    }

    fn show(&mut self, service: &str, word: impl Fn(Words) -> &'static str) {
        let found = self.environments.values_mut().find(|environment| environment.services.contains_key(service));
        let Some(environment) = found else { return };
        let words = environment.event.words();
        if let Some(found) = environment.services.get_mut(service) {
            found.state = word(words);
        }
    }

    /// A deployment has ended, well or not. One that failed leaves what it did not reach as it was, and deletes neither the environment
    /// nor a service: the engine returns before it deletes the namespace.
    /// <https://github.com/Qovery/engine>, `deploy_environment.rs`
    pub fn deployment_ended(&mut self, id: &str, event: Event, well: bool) {
        let lone = self.world.lone_delete;
        let Some(environment) = self.environments.get_mut(id) else { return };
        if event == Event::Delete && well {
            self.environments.remove(id);
            return;
        }
        let words = event.words();
        for service in environment.services.values_mut().filter(|service| service.takes_part) {
            service.state = match service.state {
                _ if well => words.done,
                queued if queued == words.queued => service.before,
                under_way if under_way == words.under_way => words.failed,
                ended => ended,
            };
        }
        environment.state = match well {
            true if environment.whole => words.done,
            false if environment.shows(event, lone) => words.failed,
            _ => environment.before,
        };
        if event == Event::DeleteServices && well {
            let gone = environment.services.iter().filter(|(_, service)| service.takes_part);
            let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
            environment.services.retain(|service, _| !gone.contains(service));
            environment.skipped.retain(|service| !gone.contains(service));
            environment.stages.iter_mut().for_each(|stage| stage.services.retain(|service| !gone.contains(service)));
            // The aliases that Qovery made of its outputs stay, with their last values: nothing says that they go.
            let of_gone = |id: &String| gone.contains(id);
            self.variables.retain(|variable| !of_gone(&variable.parent) && !variable.output_of.as_ref().is_some_and(of_gone));
        }
    }

    /// Somebody cancels what was asked for of an environment and not carried out yet.
    pub fn cancel(&mut self, id: &str) {
        self.deployments.retain(|deployment| deployment.environment != id);
        let Some(environment) = self.environments.get_mut(id) else { return };
        if environment.whole {
            environment.state = "CANCELED";
        }
        environment.services.values_mut().filter(|service| service.takes_part).for_each(|service| service.state = "CANCELED");
    }

    /// The state of an environment.
    #[must_use]
    pub fn state_of(&self, environment: &str) -> Option<&'static str> {
        self.environments.get(environment).map(|environment| environment.state)
    }

    /// The state of a service.
    #[must_use]
    pub fn state_of_service(&self, service: &str) -> Option<&'static str> {
        self.service(service).map(|service| service.state)
    }

    pub(super) fn status(&self, id: &str) -> Result<Value, Refused> {
        Ok(self.environment_status(id, self.environment(id)?))
    }

    /// Somebody has looked at the statuses.
    pub(super) fn looked(&mut self, id: &str) {
        if let Some(environment) = self.environments.get_mut(id) {
            environment.hidden_for = environment.hidden_for.saturating_sub(1);
        }
    }

    /// What a deployment is answered with: of an environment, in the form that a service has.
    pub(super) fn accepted(&self, id: &str) -> Result<Value, Refused> {
        let environment = self.environment(id)?;
        Ok(self.render_status(id, environment.state, environment.before, true, environment.deployments))
    }

    pub(super) fn statuses(&self, id: &str) -> Result<Value, Refused> {
        let environment = self.environment(id)?;
        let of = |kind: Kind| -> Vec<Value> {
            let services = environment.services.iter().filter(|(_, service)| service.kind == kind);
            services.map(|(id, service)| self.service_status(id, service, environment.hidden_for > 0)).collect()
        };
        Ok(json!({
            "environment": self.environment_status(id, environment), "applications": of(Kind::Application), "containers": of(Kind::Container),
            "jobs": of(Kind::Job), "databases": of(Kind::Database), "helms": of(Kind::Helm), "terraforms": of(Kind::Terraform),
            "agentic_workflows": of(Kind::AgenticWorkflow),
        }))
    }

    pub(super) fn status_of_service(&self, id: &str) -> Result<Value, Refused> {
        let found = self.service(id).ok_or_else(|| Refused::new(404, format!("no service with id {id}")))?;
        Ok(self.service_status(id, found, false))
    }

    fn environment_status(&self, id: &str, environment: &Environment) -> Value {
        let hidden = environment.hidden_for > 0;
        let state = if hidden { environment.before } else { environment.state };
        let ended = if is_passing(state) { environment.before } else { state };
        let number = environment.deployments - u32::from(hidden);
        let mut status = json!({ "id": id, "state": state, "last_deployment_state": ended, "deployment_status": deployment_status(ended) });
        if number > 0 && !self.shows.no_ids {
            status["last_deployment_id"] = format!("{id}-{number}").into();
        }
        status
    }

    fn service_status(&self, id: &str, service: &AService, hidden: bool) -> Value {
        if !(hidden && service.takes_part) {
            return self.render_status(id, service.state, service.before, service.takes_part, service.deployment);
        }
        let mut status = self.render_status(id, service.before, service.before, service.takes_part, service.deployment_before);
        status["deployment_requests_count"] = u32::from(self.shows.requests).into();
        status
    }

    fn render_status(&self, id: &str, state: &str, before: &str, takes_part: bool, deployment: u32) -> Value {
        let mut status = status(id, state, before, takes_part);
        if deployment > 0 && !self.shows.no_ids {
            status["execution_id"] = format!("{id}-{deployment}").into();
        }
        status
    }
}

fn status(id: &str, state: &str, before: &str, takes_part: bool) -> Value {
    let action = match state {
        _ if state.starts_with("DELET") => "DELETE",
        _ if state.starts_with("STOP") => "STOP",
        "READY" => "UNKNOWN",
        _ => "DEPLOY",
    };
    let result = match state {
        "READY" => "NEVER",
        "EXECUTING" => "EXECUTING",
        _ if state.ends_with("QUEUED") => "QUEUED",
        _ if state.ends_with("ERROR") => "ERROR",
        _ if is_passing(state) => "ONGOING",
        _ => "SUCCESS",
    };
    json!({
        "id": id, "state": state, "service_deployment_status": deployment_status(if is_passing(state) { before } else { state }),
        "is_part_last_deployment": takes_part, "deployment_requests_count": 0, "deployment_request_id": null,
        "status_details": { "action": action, "status": result, "sub_action": "NONE" },
    })
}

/// Whether a state is one of something that waits or is under way.
fn is_passing(state: &str) -> bool {
    state.ends_with("QUEUED") || state.ends_with("ING")
}

fn deployment_status(state: &str) -> &'static str {
    if state == "READY" { "NEVER_DEPLOYED" } else { "UP_TO_DATE" }
}
