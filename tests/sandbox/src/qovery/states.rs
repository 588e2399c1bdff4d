//! The states of environments and services, while something happens to them and after it.

use serde_json::{Value, json};

use super::{AService, Environment, Event, Kind, LoneDelete, Qovery, Refused};

impl Qovery {
    /// Says that something happens to these services: to all of the environment, if all take part that are not skipped.
    pub(super) fn begin(&mut self, id: &str, event: Event, services: &[String]) {
        let lone = self.world.lone_delete;
        let Some(environment) = self.environments.get_mut(id) else { return };
        let state = match event {
            Event::Deploy | Event::Redeploy => "DEPLOYING",
            Event::Force => "EXECUTING",
            Event::Stop => "STOPPING",
            Event::Delete | Event::DeleteServices | Event::Uninstall => "DELETING",
        };
        environment.state = match event {
            Event::Force => environment.state,
            Event::DeleteServices | Event::Uninstall if lone == LoneDelete::EnvironmentUnchanged => environment.state,
            _ => state,
        };
        for (service, found) in &mut environment.services {
            found.takes_part = services.contains(service);
            if found.takes_part {
                found.state = if event == Event::Delete && found.kind != Kind::Job { "DELETE_QUEUED" } else { state };
            }
        }
    }

    /// A deployment has ended, well or not: one that failed to delete leaves what it was to delete.
    pub fn deployment_ended(&mut self, id: &str, event: Event, well: bool) {
        if event == Event::Delete && well {
            self.environments.remove(id);
            return;
        }
        let Some(environment) = self.environments.get_mut(id) else { return };
        let after = match (event, well) {
            (Event::Deploy | Event::Redeploy | Event::Force, true) => "DEPLOYED",
            (Event::Deploy | Event::Redeploy | Event::Force, false) => "DEPLOYMENT_ERROR",
            (Event::Stop, true) => "STOPPED",
            (Event::Stop, false) => "STOP_ERROR",
            (Event::Uninstall, true) => "READY",
            (Event::Delete | Event::DeleteServices, true) => "DELETED",
            (Event::Delete | Event::DeleteServices | Event::Uninstall, false) => "DELETE_ERROR",
        };
        let parts = environment.services.values_mut().filter(|service| service.takes_part);
        parts.for_each(|service| service.state = after);
        if event == Event::DeleteServices && well {
            environment.services.retain(|_, service| !service.takes_part);
            let left: Vec<String> = environment.services.keys().cloned().collect();
            environment.stages.iter_mut().for_each(|stage| stage.services.retain(|service| left.contains(service)));
        }
        environment.state = match event {
            Event::DeleteServices | Event::Uninstall | Event::Force => "DEPLOYED",
            _ => after,
        };
    }

    /// The state of an environment.
    #[must_use]
    pub fn state_of(&self, environment: &str) -> Option<&'static str> {
        self.environments.get(environment).map(|environment| environment.state)
    }

    pub(super) fn status(&self, id: &str) -> Result<Value, Refused> {
        Ok(environment_status(id, self.environment(id)?))
    }

    /// What a deployment is answered with: of an environment, in the form that a service has.
    pub(super) fn accepted(&self, id: &str) -> Result<Value, Refused> {
        Ok(status(id, self.environment(id)?.state, true))
    }

    pub(super) fn statuses(&self, id: &str) -> Result<Value, Refused> {
        let environment = self.environment(id)?;
        let of = |kinds: &[Kind]| -> Vec<Value> {
            let services = environment.services.iter().filter(|(_, service)| kinds.contains(&service.kind));
            services.map(|(id, service)| service_status(id, service)).collect()
        };
        Ok(json!({
            "environment": environment_status(id, environment), "applications": of(&[Kind::Application]), "containers": of(&[Kind::Container]),
            "jobs": of(&[Kind::Job]), "databases": of(&[Kind::Database]), "helms": of(&[Kind::Helm]), "terraforms": of(&[Kind::Terraform]),
        }))
    }

    pub(super) fn status_of_service(&self, id: &str) -> Result<Value, Refused> {
        let found = self.service(id).ok_or_else(|| Refused::new(404, format!("no service with id {id}")))?;
        Ok(service_status(id, found))
    }
}

fn environment_status(id: &str, environment: &Environment) -> Value {
    json!({ "id": id, "state": environment.state, "last_deployment_state": environment.state, "deployment_status": "UP_TO_DATE" })
}

fn service_status(id: &str, service: &AService) -> Value {
    status(id, service.state, service.takes_part)
}

fn status(id: &str, state: &str, takes_part: bool) -> Value {
    let action = if state.starts_with("DELET") { "DELETE" } else { "DEPLOY" };
    json!({
        "id": id, "state": state, "service_deployment_status": "UP_TO_DATE", "is_part_last_deployment": takes_part,
        "deployment_requests_count": 0, "deployment_request_id": null,
        "status_details": { "action": action, "status": "SUCCESS", "sub_action": "NONE" },
    })
}
