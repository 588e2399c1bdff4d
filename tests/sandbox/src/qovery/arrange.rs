//! What tests arrange and look at.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Map, Value, json};

use super::{AService, AStage, Environment, Event, Kind, Qovery, STAGES, Shows, Variable, World, policy_token::PolicyToken};

impl Qovery {
    /// Makes an environment in this namespace, and answers its id.
    pub fn add_environment(&mut self, name: &str, namespace: &str) -> String {
        let id = self.id();
        let stages = STAGES.map(|stage| AStage { id: self.id(), name: stage.to_owned(), services: Vec::new() });
        let environment = Environment {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            services: BTreeMap::new(),
            stages: stages.into(),
            skipped: BTreeSet::new(),
            state: "READY",
            before: "READY",
            event: Event::Deploy,
            whole: false,
            deployments: 0,
            hidden_for: 0,
        };
        self.environments.insert(id.clone(), environment);
        id
    }

    /// Makes a service, in the stage where Qovery puts one of its kind, and answers its id. A job made here is a cron job.
    ///
    /// # Panics
    /// When there is no such environment.
    #[allow(clippy::expect_used, reason = "a test that arranges what cannot be has to stop")]
    pub fn add_service(&mut self, environment: &str, kind: Kind, name: &str) -> String {
        let request = if kind == Kind::Job {
            object(&json!({ "schedule": { "cronjob": { "timezone": "Etc/UTC", "scheduled_at": "0 0 * * *" } } }))
        } else {
            Map::new()
        };
        self.insert_service(environment, kind, name, request).expect("the environment is there")
    }

    pub(super) fn insert_service(&mut self, environment: &str, kind: Kind, name: &str, request: Map<String, Value>) -> Option<String> {
        let id = self.id();
        let environment = self.environments.get_mut(environment)?;
        let settings = object(&json!({
            "security.service_account_name": "", "security.automount_service_account_token": false,
            "security.read_only_root_filesystem": false, "deployment.termination_grace_period_seconds": 60,
        }));
        let service = AService {
            kind,
            name: name.to_owned(),
            settings,
            request,
            state: "READY",
            before: "READY",
            takes_part: false,
            deployment: 0,
            deployment_before: 0,
        };
        environment.services.insert(id.clone(), service);
        let named = kind.stage();
        environment.stages.iter_mut().find(|stage| stage.name == named)?.services.push(id.clone());
        Some(id)
    }

    /// A container registry of the organization; answers its id.
    pub fn add_registry(&mut self, name: &str) -> String {
        let id = self.id();
        self.registries.push((id.clone(), name.to_owned()));
        id
    }

    /// A Git token of the organization; answers its id.
    pub fn add_git_token(&mut self, name: &str) -> String {
        let id = self.id();
        self.git_tokens.push((id.clone(), name.to_owned()));
        id
    }

    /// A Helm repository of the organization; answers its id.
    pub fn add_helm_repository(&mut self, name: &str) -> String {
        let id = self.id();
        self.helm_repositories.push((id.clone(), name.to_owned()));
        id
    }

    /// Shows the contents of files to nobody from now on. Whether Qovery does is not known.
    pub fn hide_files(&mut self) {
        self.hides_files = true;
    }

    /// A service was deployed before.
    pub fn set_deployed(&mut self, service: &str) {
        if let Some(service) = self.service_mut(service) {
            (service.state, service.before) = ("DEPLOYED", "DEPLOYED");
        }
    }

    /// The request that a Helm service is as it is by.
    #[must_use]
    pub fn helm(&self, service: &str) -> Option<Map<String, Value>> {
        self.service(service).filter(|service| service.kind == super::Kind::Helm).map(|service| service.request.clone())
    }

    /// The id of the project.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Sets a variable or secret of the project, which every environment inherits.
    pub fn set_project_variable(&mut self, key: &str, value: &str, is_secret: bool) {
        let project = self.project.clone();
        self.set_variable(&project, "PROJECT", key, value, is_secret);
    }

    /// Takes a variable or secret from the project.
    pub fn remove_project_variable(&mut self, key: &str) {
        let Self { project, variables, .. } = self;
        variables.retain(|variable| variable.parent != *project || variable.key != key);
    }

    /// Sets a variable of the project whose value is kept in AWS.
    pub fn set_external_secret(&mut self, key: &str, value: &str) {
        self.set_project_variable(key, value, false);
        let project = self.project.clone();
        let set = self.variables.iter_mut().find(|variable| variable.parent == project && variable.key == key);
        if let Some(variable) = set {
            variable.external = true;
        }
    }

    /// Sets a variable or secret of a service or of an environment, as somebody in the console does; over one of a wider scope it is an override.
    pub fn set_variable(&mut self, parent: &str, scope: &'static str, key: &str, value: &str, is_secret: bool) {
        let id = self.id();
        self.variables.retain(|variable| variable.parent != parent || variable.key != key);
        let overrides = self.seen_by(parent).and_then(|seen| seen.iter().rfind(|wider| wider.key == key).map(|wider| wider.id.clone()));
        self.variables.push(Variable { is_secret, overrides, ..Variable::set(id, scope, parent, key, value) });
    }

    /// Qovery is from now on as this world has it.
    pub fn set_world(&mut self, world: World) {
        self.world = world;
    }

    /// Statuses show deployments so from now on.
    pub fn set_shows(&mut self, shows: Shows) {
        self.shows = shows;
    }

    /// As which world it is.
    #[must_use]
    pub fn world(&self) -> World {
        self.world
    }

    /// Lets a service run with its environment, or not.
    pub fn skip(&mut self, service: &str, skipped: bool) {
        for environment in self.environments.values_mut().filter(|environment| environment.services.contains_key(service)) {
            if skipped {
                environment.skipped.insert(service.to_owned());
            } else {
                environment.skipped.remove(service);
            }
        }
    }

    /// A token that may do everything but these calls: method and beginning of the path.
    pub fn add_policy_token(&mut self, token: &str, denied: &[(Method, &str)]) {
        let denied = denied.iter().map(|(method, path)| (method.clone(), (*path).to_owned())).collect();
        self.policy_tokens.insert(token.to_owned(), PolicyToken::AllBut(denied));
    }

    /// The id of a service by its name.
    #[must_use]
    pub fn service_named(&self, environment: &str, name: &str) -> Option<String> {
        let services = &self.environments.get(environment)?.services;
        services.iter().find(|(_, service)| service.name == name).map(|(id, _)| id.clone())
    }

    /// The name of a service by its id.
    #[must_use]
    pub fn name_of(&self, service: &str) -> Option<String> {
        self.service(service).map(|service| service.name.clone())
    }

    /// The request that would make a Helm service as it is, if it names a chart.
    #[must_use]
    pub fn chart_of(&self, service: &str) -> Option<Map<String, Value>> {
        let found = self.service(service).filter(|service| service.kind == Kind::Helm)?;
        found.request.get("source").filter(|source| source.is_object())?;
        Some(found.request.clone())
    }

    /// The advanced settings of a service.
    #[must_use]
    pub fn settings(&self, service: &str) -> Option<Map<String, Value>> {
        self.service(service).map(|service| service.settings.clone())
    }

    /// Changes the advanced settings of a service, as somebody in the console does.
    pub fn set_setting(&mut self, service: &str, key: &str, value: Value) {
        if let Some(service) = self.service_mut(service) {
            service.settings.insert(key.to_owned(), value);
        }
    }

    /// Changes a service that is no job, as somebody in the console does: `use_cluster_credentials` of a Terraform service, say.
    pub fn set_service(&mut self, id: &str, key: &str, value: Value) {
        if let Some(service) = self.service_mut(id) {
            service.request.insert(key.to_owned(), value);
        }
    }

    /// The request that would make a job as it is.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<Map<String, Value>> {
        self.service(id).filter(|service| service.kind == Kind::Job).map(|service| service.request.clone())
    }

    /// Changes a job, as somebody in the console does.
    pub fn set_job(&mut self, id: &str, key: &str, value: Value) {
        if let Some(service) = self.service_mut(id) {
            service.request.insert(key.to_owned(), value);
        }
    }

    /// The namespace of an environment.
    #[must_use]
    pub fn namespace_of(&self, environment: &str) -> Option<String> {
        self.environments.get(environment).map(|environment| environment.namespace.clone())
    }

    /// Whether there is such an environment.
    #[must_use]
    pub fn has_environment(&self, environment: &str) -> bool {
        self.environments.contains_key(environment)
    }

    /// The names of the deployment stages in their order, each with those of its services.
    #[must_use]
    pub fn stages(&self, environment: &str) -> Vec<(String, Vec<String>)> {
        let Some(environment) = self.environments.get(environment) else { return Vec::new() };
        let name = |id: &String| environment.services.get(id).map(|service| service.name.clone());
        environment.stages.iter().map(|stage| (stage.name.clone(), stage.services.iter().filter_map(name).collect())).collect()
    }

    /// Everything but ids of variables, to be compared as a whole.
    #[must_use]
    pub fn state(&self) -> Value {
        let environments = self.environments.iter().map(|(id, environment)| {
            let services = environment.services.iter().map(|(id, service)| {
                (id.clone(), json!({ "name": service.name, "settings": service.settings, "request": service.request }))
            });
            let stages: Vec<Value> = environment.stages.iter().map(|stage| json!([stage.name, stage.services])).collect();
            (id.clone(), json!({ "name": environment.name, "services": services.collect::<Map<_, _>>(), "stages": stages }))
        });
        let variables: Vec<Value> =
            self.variables.iter().map(|variable| json!([variable.parent, variable.key, variable.value, variable.is_secret])).collect();
        json!({ "environments": environments.collect::<Map<_, _>>(), "variables": variables })
    }

    pub(super) fn service(&self, id: &str) -> Option<&AService> {
        self.environments.values().find_map(|environment| environment.services.get(id))
    }

    pub(super) fn service_mut(&mut self, id: &str) -> Option<&mut AService> {
        self.environments.values_mut().find_map(|environment| environment.services.get_mut(id))
    }

    /// The environment of a service.
    pub(super) fn environment_of(&self, service: &str) -> Option<(&String, &Environment)> {
        self.environments.iter().find(|(_, environment)| environment.services.contains_key(service))
    }
}

pub(super) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
