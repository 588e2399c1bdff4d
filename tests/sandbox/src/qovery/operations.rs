//! What each operation does.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    AService, AStage, Aliases, Environment, Event, Kind, Outcome, Put, Qovery, Refused, Variable,
    arrange::object,
    render::{render_stage, render_stages},
};
use crate::service::Request;

impl Qovery {
    pub(super) fn carry_out(&mut self, request: &Request) -> Outcome {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (get, delete) = (request.method == Method::GET, request.method == Method::DELETE);
        match segments.as_slice() {
            ["environment", id] if get => {
                let environment = self.environment(id)?;
                Ok((200, self.render_environment(id, environment), false))
            }
            ["environment", id] => self.event(id, Event::Delete).map(|()| (204, Value::Null, true)),
            ["environment", id, "status"] => Ok((200, self.status(id)?, false)),
            ["environment", id, "statuses"] => {
                let statuses = self.statuses(id)?;
                self.looked(id);
                Ok((200, statuses, false))
            }
            ["environment", id, "uninstall"] => self.event(id, Event::Uninstall).map(|()| (202, json!({}), true)),
            ["environment", id, "helm"] if get => Ok((200, self.services(id, Some(Kind::Helm))?, false)),
            ["environment", id, "helm"] => self.create_helm(id, &body),
            ["helm", id, "deploy"] => {
                self.shown(id, Kind::Helm)?;
                self.alone(id, Event::Deploy).and_then(|()| Ok((202, self.status_of_service(id)?, true)))
            }
            ["helm", id] if get => Ok((200, self.shown(id, Kind::Helm)?, false)),
            ["helm", id] if delete => self.alone(id, Event::DeleteServices).map(|()| (204, Value::Null, true)),
            ["helm", id] => self.edit(id, Kind::Helm, &body),
            ["environment", id, "services"] => Ok((200, self.services(id, None)?, false)),
            ["environment", id, "job"] if get => Ok((200, self.services(id, Some(Kind::Job))?, false)),
            ["environment", id, "job"] => self.create_job(id, &body),
            ["environment", id, "deploymentStage"] if get => {
                let environment = self.environment(id)?;
                Ok((200, render_stages(id, environment), false))
            }
            ["environment", id, "deploymentStage"] => self.create_stage(id, &body),
            ["environment", id, "deploy"] => self.event(id, Event::Deploy).and_then(|()| Ok((202, self.accepted(id)?, true))),
            ["environment", id, "redeploy"] => self.event(id, Event::Redeploy).and_then(|()| Ok((202, self.status(id)?, true))),
            ["environment", id, "stop"] => self.event(id, Event::Stop).and_then(|()| Ok((202, self.status(id)?, true))),
            ["environment", id, "clone"] => {
                let clone = self.clone_environment(id, body["name"].as_str().unwrap_or_default())?;
                let environment = self.environment(&clone)?;
                Ok((202, self.render_environment(&clone, environment), true))
            }
            ["deploymentStage", stage, "service", service] => self.attach(stage, service, body["is_skipped"].as_bool()),
            ["deploymentStage", stage, "moveBefore", other] => self.move_stage(stage, other),
            ["application", id, "advancedSettings"] => self.settings_of(id, Kind::Application, get, &body),
            ["container", id, "advancedSettings"] => self.settings_of(id, Kind::Container, get, &body),
            ["job", id, "advancedSettings"] => self.settings_of(id, Kind::Job, get, &body),
            ["helm", id, "advancedSettings"] => self.settings_of(id, Kind::Helm, get, &body),
            ["terraform", id, "advancedSettings"] => self.settings_of(id, Kind::Terraform, get, &body),
            ["job", id, "deploy"] => {
                self.force(id, request.query_value("forceEvent").as_deref())?;
                Ok((202, self.status_of_service(id)?, true))
            }
            ["job", id, "uninstall"] => self.alone(id, Event::Uninstall).and_then(|()| Ok((202, self.status_of_service(id)?, true))),
            ["job", id, "status"] => Ok((200, self.status_of_service(id)?, false)),
            ["job", id] if get => Ok((200, self.shown(id, Kind::Job)?, false)),
            ["job", id] if delete => self.alone(id, Event::DeleteServices).map(|()| (204, Value::Null, true)),
            ["job", id] => {
                self.check_source(&body["source"])?;
                self.edit(id, Kind::Job, &body)
            }
            ["variable"] if get => self.list_variables(request),
            ["variable"] => self.create_variable(&body),
            ["variable", id] if delete => self.delete_variable(id),
            ["variable", id] => self.edit_variable(id, &body),
            ["variable", id, "alias"] => self.create_alias(id, &body),
            ["project", id, "environment"] => self.environments_of(id),
            ["organization", _, "containerRegistry"] => Ok((200, self.render_registries(), false)),
            ["organization", _, "helmRepository"] => Ok((200, self.render_helm_repositories(), false)),
            ["organization", _, "gitToken"] => Ok((200, self.render_git_tokens(), false)),
            _ => Err(Refused::new(501, "not implemented")),
        }
    }

    fn environments_of(&self, project: &str) -> Outcome {
        if project != self.project() {
            return Err(Refused::new(404, format!("no project with id {project}")));
        }
        let results: Vec<Value> = self.environments.iter().map(|(id, environment)| self.render_environment(id, environment)).collect();
        Ok((200, json!({ "results": results }), false))
    }

    pub(super) fn environment(&self, id: &str) -> Result<&Environment, Refused> {
        self.environments.get(id).ok_or_else(|| Refused::new(404, format!("no environment with id {id}")))
    }

    fn services(&self, id: &str, only: Option<Kind>) -> Result<Value, Refused> {
        let environment = self.environment(id)?;
        let services = environment.services.iter().filter(|(_, service)| only.is_none_or(|kind| service.kind == kind));
        let results: Vec<Value> = services.map(|(service, found)| self.render_service(id, service, found)).collect();
        Ok(json!({ "results": results }))
    }

    fn create_job(&mut self, environment: &str, body: &Value) -> Outcome {
        let name = body["name"].as_str().unwrap_or_default();
        let taken = |environment: &Environment| environment.services.values().any(|service| same(&service.name, name));
        if taken(self.environment(environment)?) {
            return Err(Refused::new(409, format!("job name {name} within the environment is already taken")));
        }
        self.check_source(&body["source"])?;
        let id = self.insert_service(environment, Kind::Job, name, object(body)).ok_or_else(|| Refused::new(404, "no such environment"))?;
        Ok((201, self.shown(&id, Kind::Job)?, true))
    }

    fn check_source(&self, source: &Value) -> Result<(), Refused> {
        let (image, docker) = (source["image"].is_object(), source["docker"].is_object());
        if image == docker {
            return Err(Refused::new(400, "exactly one of source.image and source.docker is needed"));
        }
        if image && !self.registries.iter().any(|(id, _)| source["image"]["registry_id"] == **id) {
            return Err(Refused::new(404, "no container registry with this id"));
        }
        Ok(())
    }

    fn create_helm(&mut self, environment: &str, body: &Value) -> Outcome {
        let name = body["name"].as_str().unwrap_or_default();
        if self.environment(environment)?.services.values().any(|service| same(&service.name, name)) {
            return Err(Refused::new(409, format!("helm name {name} within the environment is already taken")));
        }
        let id =
            self.insert_service(environment, Kind::Helm, name, object(body)).ok_or_else(|| Refused::new(404, "no such environment"))?;
        Ok((201, self.shown(&id, Kind::Helm)?, true))
    }

    fn shown(&self, id: &str, kind: Kind) -> Result<Value, Refused> {
        let missing = || Refused::new(404, format!("no service of this kind with id {id}"));
        let (environment, found) = self.environment_of(id).ok_or_else(missing)?;
        let service = found.services.get(id).filter(|service| service.kind == kind).ok_or_else(missing)?;
        Ok(self.render_service(environment, id, service))
    }

    /// What a request does not name is gone afterwards, or stays, as the world has it.
    fn edit(&mut self, id: &str, kind: Kind, body: &Value) -> Outcome {
        self.shown(id, kind)?;
        let keeps = self.world.put == Put::Keeps;
        let Some(service) = self.service_mut(id) else { return Err(Refused::new(404, "no such service")) };
        let mut request = if keeps { service.request.clone() } else { Map::new() };
        request.extend(object(body));
        let changed = service.request != request;
        body["name"].as_str().unwrap_or_default().clone_into(&mut service.name);
        service.request = request;
        Ok((200, self.shown(id, kind)?, changed))
    }

    fn settings_of(&mut self, id: &str, kind: Kind, get: bool, body: &Value) -> Outcome {
        let service = self.service_mut(id).filter(|service| service.kind == kind);
        let service = service.ok_or_else(|| Refused::new(404, format!("no service of this kind with id {id}")))?;
        if get {
            return Ok((200, Value::Object(service.settings.clone()), false));
        }
        let settings = object(body);
        let changed = service.settings != settings;
        service.settings = settings;
        Ok((201, Value::Object(service.settings.clone()), changed))
    }

    fn create_stage(&mut self, environment: &str, body: &Value) -> Outcome {
        let name = body["name"].as_str().unwrap_or_default();
        if self.environment(environment)?.stages.iter().any(|stage| same(&stage.name, name)) {
            return Err(Refused::new(409, format!("deployment stage {name} is already there")));
        }
        let stage = AStage { id: self.id(), name: name.to_owned(), services: Vec::new() };
        let Some(found) = self.environments.get_mut(environment) else { return Err(Refused::new(404, "no such environment")) };
        found.stages.push(stage.clone());
        let order = found.stages.len() - 1;
        Ok((200, render_stage(environment, found, order, &stage), true))
    }

    fn environment_of_stage(&mut self, stage: &str) -> Result<(String, &mut Environment), Refused> {
        let found = self.environments.iter_mut().find(|(_, environment)| environment.stages.iter().any(|known| known.id == stage));
        found
            .map(|(id, environment)| (id.clone(), environment))
            .ok_or_else(|| Refused::new(404, format!("no deployment stage with id {stage}")))
    }

    fn attach(&mut self, stage: &str, service: &str, skipped: Option<bool>) -> Outcome {
        let keeps = self.world.put == Put::Keeps;
        let (id, environment) = self.environment_of_stage(stage)?;
        if !environment.services.contains_key(service) {
            return Err(Refused::new(404, format!("no service with id {service}")));
        }
        for known in &mut environment.stages {
            known.services.retain(|other| other != service);
            if known.id == stage {
                known.services.push(service.to_owned());
            }
        }
        if let Some(skipped) = skipped.or((!keeps).then_some(false)) {
            self.skip(service, skipped);
        }
        let environment = self.environment(&id)?;
        Ok((200, render_stages(&id, environment), true))
    }

    fn move_stage(&mut self, stage: &str, other: &str) -> Outcome {
        let (id, environment) = self.environment_of_stage(stage)?;
        let at = |environment: &Environment, id: &str| environment.stages.iter().position(|known| known.id == id);
        let Some(from) = at(environment, stage).filter(|_| at(environment, other).is_some()) else {
            return Err(Refused::new(404, format!("no deployment stage with id {other}")));
        };
        let moved = environment.stages.remove(from);
        let to = at(environment, other).unwrap_or_default();
        environment.stages.insert(to, moved);
        let environment = self.environment(&id)?;
        Ok((200, render_stages(&id, environment), true))
    }

    fn list_variables(&self, request: &Request) -> Outcome {
        let parent = request.query_value("parent_id").unwrap_or_default();
        let only = request.query_value("is_secret").map(|value| value == "true");
        let seen = self.seen_by(&parent).ok_or_else(|| Refused::new(404, "no such parent"))?;
        let seen = seen.into_iter().filter(|variable| only.is_none_or(|secret| variable.is_secret == secret));
        let mut results: Vec<Value> = seen.map(|variable| self.render_variable(variable)).collect();
        if let Some(environment) = self.environments.get(&parent).filter(|_| only != Some(true)) {
            results.extend(self.render_built_in(&parent, environment));
        }
        Ok((200, json!({ "results": results }), false))
    }

    fn create_variable(&mut self, body: &Value) -> Outcome {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let (key, parent) = (text("key"), text("variable_parent_id"));
        if key.starts_with("QOVERY_") {
            return Err(Refused::new(400, "a variable cannot begin with QOVERY_"));
        }
        let seen = self.seen_by(&parent).ok_or_else(|| Refused::new(404, "no such parent"))?;
        if seen.iter().any(|variable| variable.key == key) {
            return Err(Refused::new(409, format!("variable {key} is already there")));
        }
        let set = Variable::set(self.id(), scope(&text("variable_scope")), &parent, &key, &text("value"));
        let external = body["secret_manager_access_id"].is_string();
        let is_secret = body["is_secret"] == true && !external;
        let variable = Variable { is_secret, external, mount_path: body["mount_path"].as_str().map(str::to_owned), ..set };
        let rendered = self.render_variable(&variable);
        self.variables.push(variable);
        Ok((201, rendered, true))
    }

    fn edit_variable(&mut self, id: &str, body: &Value) -> Outcome {
        let found = self.variables.iter_mut().find(|variable| variable.id == id && variable.output_of.is_none());
        let found = found.ok_or_else(|| Refused::new(404, format!("no variable with id {id}")))?;
        body["key"].as_str().unwrap_or_default().clone_into(&mut found.key);
        if let Some(value) = body["value"].as_str() {
            value.clone_into(&mut found.value);
        }
        let found = found.clone();
        Ok((200, self.render_variable(&found), true))
    }

    fn delete_variable(&mut self, id: &str) -> Outcome {
        let before = self.variables.len();
        self.variables.retain(|variable| variable.id != id);
        if self.variables.len() == before {
            Err(Refused::new(404, format!("no variable with id {id}")))
        } else {
            Ok((204, Value::Null, true))
        }
    }

    fn create_alias(&mut self, id: &str, body: &Value) -> Outcome {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let Some(aliased) = self.variables.iter().find(|variable| variable.id == id).cloned() else {
            return Err(Refused::new(404, format!("no variable with id {id}")));
        };
        let set = Variable::set(self.id(), scope(&text("alias_scope")), &text("alias_parent_id"), &text("key"), "");
        let Variable { id, is_secret, external, mount_path, .. } = aliased;
        let variable = Variable { alias_of: Some(id), is_secret, external, mount_path, ..set };
        let rendered = self.render_variable(&variable);
        self.variables.push(variable);
        Ok((201, rendered, true))
    }

    /// Copies services, settings, stages and variables into a new environment with a namespace of its own.
    fn clone_environment(&mut self, id: &str, name: &str) -> Result<String, Refused> {
        let original = self.environment(id)?.clone();
        let clone = self.id();
        let namespace = format!("z{}-{}", clone.get(..8).unwrap_or_default(), name.to_lowercase().replace(' ', "-"));
        let mut ids: Map<String, Value> = Map::new();
        let mut copy = Environment {
            name: name.to_owned(),
            namespace,
            services: std::collections::BTreeMap::new(),
            stages: Vec::new(),
            skipped: BTreeSet::new(),
            state: "READY",
            before: "READY",
            event: Event::Deploy,
            whole: false,
            deployments: 0,
            hidden_for: 0,
        };
        for (service, found) in &original.services {
            let id = self.id();
            ids.insert(service.clone(), id.clone().into());
            if original.skipped.contains(service) {
                copy.skipped.insert(id.clone());
            }
            copy.services.insert(
                id,
                AService { state: "READY", before: "READY", takes_part: false, deployment: 0, deployment_before: 0, ..found.clone() },
            );
        }
        let renamed = |id: &String| ids.get(id).and_then(Value::as_str).map(str::to_owned);
        for stage in &original.stages {
            let services = stage.services.iter().filter_map(renamed).collect();
            copy.stages.push(AStage { id: self.id(), name: stage.name.clone(), services });
        }
        for variable in self.variables.clone() {
            let parent = if variable.parent == id { Some(clone.clone()) } else { renamed(&variable.parent) };
            let copied = variable.output_of.is_none() && (!variable.by_qovery || self.world.aliases == Aliases::Cloned);
            if let Some(parent) = parent.filter(|_| copied) {
                // An alias of an output is one of the copied job's output once that is there: it is found by the output's own name.
                let copied = Variable { id: self.id(), parent, ..variable };
                self.variables.push(copied);
            }
        }
        self.environments.insert(clone.clone(), copy);
        Ok(clone)
    }
}

fn scope(text: &str) -> &'static str {
    ["APPLICATION", "CONTAINER", "ENVIRONMENT", "HELM", "JOB", "PROJECT", "TERRAFORM"]
        .into_iter()
        .find(|known| *known == text)
        .unwrap_or("ENVIRONMENT")
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}
