//! How things look in answers.

use serde_json::{Value, json};

use super::{AService, AStage, Environment, Kind, Qovery, Variable};

const WHEN: &str = "2026-01-01T00:00:00Z";
/// The repository of a chart that names none.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

impl Kind {
    /// Qovery's `service_type`.
    pub(super) fn service_type(self) -> &'static str {
        match self {
            Self::Application => "APPLICATION",
            Self::Container => "CONTAINER",
            Self::Database => "DATABASE",
            Self::Job => "JOB",
            Self::Terraform => "TERRAFORM",
            Self::Helm => "HELM",
            Self::ArgoCd => "ARGOCD_APP",
            Self::AgenticWorkflow => "AGENTIC_WORKFLOW",
        }
    }
}

impl Qovery {
    pub(super) fn render_environment(&self, id: &str, environment: &Environment) -> Value {
        json!({
            "id": id, "created_at": WHEN, "name": environment.name, "organization": { "id": self.organization }, "project": { "id": self.project },
            "cloud_provider": { "provider": "AWS", "cluster": self.region }, "mode": "DEVELOPMENT", "cluster_id": self.organization,
            "cluster_name": self.cluster, "expires_at": null,
        })
    }

    pub(super) fn render_service(&self, environment: &str, id: &str, service: &AService) -> Value {
        let mut rendered = json!({
            "id": id, "created_at": WHEN, "environment": { "id": environment }, "name": service.name, "icon_uri": "app://qovery-console/service",
            "service_type": service.kind.service_type(),
        });
        let more = match service.kind {
            Kind::Application => json!({ "healthchecks": {} }),
            Kind::Database => json!({ "type": "POSTGRESQL", "version": "16", "mode": "CONTAINER" }),
            Kind::Container => json!({
                "image_name": "acme/app", "tag": "1", "registry": self.render_registry(None), "maximum_cpu": 1000, "maximum_memory": 1024,
                "maximum_gpu": 0, "cpu": 100, "memory": 128, "gpu": 0, "min_running_instances": 1, "max_running_instances": 1, "healthchecks": {},
                "auto_preview": false,
            }),
            Kind::Job => self.render_job(service),
            Kind::Terraform => json!({
                "timeout_sec": 600, "auto_deploy": false, "terraform_variables_source": {}, "engine": "TERRAFORM", "backend": {}, "provider_version": {},
                "job_resources": {}, "use_cluster_credentials": service.request.get("use_cluster_credentials").unwrap_or(&json!(true)),
                "action_extra_arguments": {},
            }),
            Kind::Helm => render_helm(service),
            Kind::ArgoCd => json!({ "namespace": "argo", "environment_id": environment, "cluster_id": self.organization }),
            Kind::AgenticWorkflow => json!({
                "slug": service.name, "description": "", "webhook_ip_allowlist": [], "docker_fragment": "", "enabled": true, "mcp": "",
                "mcp_server_ids": [], "outputs": [], "model": {}, "project_repositories": [], "agent_prompt": "", "governance": {}, "resources": {},
                "webhook": {},
            }),
        };
        for (key, value) in more.as_object().into_iter().flatten() {
            rendered[key] = value.clone();
        }
        rendered
    }

    /// What a job shows beside what every service does.
    fn render_job(&self, service: &AService) -> Value {
        let request = &service.request;
        let given = |key: &str, default: Value| request.get(key).filter(|value| !value.is_null()).cloned().unwrap_or(default);
        let mut schedule = given("schedule", json!({}));
        for event in ["on_start", "on_stop", "on_delete"] {
            if let Some(command) = schedule.get_mut(event).and_then(Value::as_object_mut) {
                // Shown empty where none was given.
                command.entry("entrypoint").or_insert_with(|| "".into());
                command.entry("arguments").or_insert_with(|| json!([]));
            }
        }
        let job_type = if schedule.get("cronjob").is_some() { "CRON" } else { "LIFECYCLE" };
        let mut rendered = json!({
            "maximum_cpu": 4000, "maximum_memory": 8192, "maximum_gpu": 0, "cpu": given("cpu", json!(500)), "memory": given("memory", json!(512)),
            "gpu": given("gpu", json!(0)), "max_nb_restart": given("max_nb_restart", json!(0)),
            "max_duration_seconds": given("max_duration_seconds", json!(300)), "auto_preview": given("auto_preview", json!(false)), "port": given("port", Value::Null),
            "source": self.render_source(&given("source", json!({}))), "healthchecks": given("healthchecks", json!({})),
            "auto_deploy": given("auto_deploy", json!(true)), "icon_uri": given("icon_uri", json!("app://qovery-console/lifecycle-job")),
            "job_type": job_type, "schedule": schedule,
        });
        for key in ["description", "ephemeral_storage_in_gib", "cpu_architecture"] {
            if let Some(value) = request.get(key) {
                rendered[key] = value.clone();
            }
        }
        for groups in ["annotations_groups", "labels_groups"] {
            let all = request.get(groups).and_then(Value::as_array).cloned().unwrap_or_default();
            rendered[groups] = all.iter().map(|group| json!({ "id": group["id"], "name": "group" })).collect();
        }
        rendered
    }

    fn render_source(&self, source: &Value) -> Value {
        if let Some(docker) = source.get("docker").filter(|docker| docker.is_object()) {
            let repository = &docker["git_repository"];
            let url = repository["url"].as_str().unwrap_or_default();
            let mut parts = url.trim_end_matches(".git").rsplit('/');
            let (name, owner) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            return json!({ "docker": {
                "git_repository": {
                    "has_access": true, "provider": repository["provider"], "owner": owner, "url": url, "name": name,
                    "branch": repository.get("branch").and_then(Value::as_str).unwrap_or("main"),
                    "root_path": repository.get("root_path").and_then(Value::as_str).unwrap_or("/"),
                    "git_token_id": repository.get("git_token_id").cloned().unwrap_or_default(),
                },
                "dockerfile_path": docker["dockerfile_path"], "dockerfile_raw": docker["dockerfile_raw"],
                "docker_target_build_stage": docker["docker_target_build_stage"],
            }});
        }
        let image = &source["image"];
        let text = |key: &str| image[key].as_str().unwrap_or_default();
        json!({ "image": {
            "image_name": text("image_name"), "tag": text("tag"), "registry": self.render_registry(image["registry_id"].as_str()),
        }})
    }

    fn render_registry(&self, id: Option<&str>) -> Value {
        let known = self.registries.iter().find(|(known, _)| Some(known.as_str()) == id);
        let (id, name) = known.map_or((self.organization.as_str(), "registry"), |(id, name)| (id.as_str(), name.as_str()));
        json!({ "id": id, "name": name, "url": "https://registry.example.com" })
    }

    pub(super) fn render_variable(&self, variable: &Variable) -> Value {
        let mut rendered = json!({
            "id": variable.id, "created_at": WHEN, "key": variable.key, "value": if variable.is_secret || variable.external || (self.hides_files && variable.mount_path.is_some()) { Value::Null } else { json!(self.value_of(variable)) },
            "scope": variable.shown_scope(),
            "variable_type": variable.variable_type(), "is_secret": variable.is_secret,
        });
        if variable.by_qovery {
            rendered["owned_by"] = "QOVERY".into();
        }
        if let Some(path) = &variable.mount_path {
            rendered["mount_path"] = path.as_str().into();
        }
        for (name, other) in [("aliased_variable", &variable.alias_of), ("overridden_variable", &variable.overrides)] {
            if let Some(other) = other.as_ref().and_then(|id| self.variables.iter().find(|known| known.id == *id)) {
                rendered[name] = json!({
                    "id": other.id, "key": other.key, "mount_path": other.mount_path.clone().unwrap_or_default(), "scope": other.shown_scope(),
                    "variable_type": other.variable_type(),
                });
            }
        }
        rendered
    }

    pub(super) fn render_registries(&self) -> Value {
        let registry = |(id, name): &(String, String)| json!({ "id": id, "created_at": WHEN, "name": name, "url": format!("https://{name}.example.com") });
        json!({ "results": self.registries.iter().map(registry).collect::<Vec<_>>() })
    }

    pub(super) fn render_helm_repositories(&self) -> Value {
        let repository = |(id, name): &(String, String)| json!({ "id": id, "created_at": WHEN, "name": name, "kind": "HTTPS", "url": format!("https://{name}.example.com") });
        json!({ "results": self.helm_repositories.iter().map(repository).collect::<Vec<_>>() })
    }

    /// What Qovery itself tells the services of an environment. Their ids are made up: nothing can be done with them.
    pub(super) fn render_built_in(&self, id: &str, environment: &Environment) -> Vec<Value> {
        let render = |(key, value): (String, String)| {
            let variable = Variable::set(id.to_owned(), "BUILT_IN", id, &key, &value);
            let mut rendered = self.render_variable(&variable);
            rendered["variable_type"] = json!("BUILT_IN");
            rendered
        };
        self.built_in(id, environment).into_iter().map(render).collect()
    }

    pub(super) fn render_git_tokens(&self) -> Value {
        let token = |(id, name): &(String, String)| json!({ "id": id, "created_at": WHEN, "name": name, "type": "GITHUB", "associated_services_count": 0, "git_api_url": "https://api.github.com" });
        json!({ "results": self.git_tokens.iter().map(token).collect::<Vec<_>>() })
    }
}

impl Variable {
    /// Qovery's `variable_type`.
    fn variable_type(&self) -> &'static str {
        match (&self.alias_of, &self.output_of, &self.overrides, &self.mount_path) {
            (Some(_), ..) => "ALIAS",
            (_, Some(_), ..) => "BUILT_IN",
            (_, _, Some(_), _) => "OVERRIDE",
            (.., Some(_)) if self.external => "FILE_EXTERNAL_SECRET",
            (.., Some(_)) => "FILE",
            _ if self.external => "EXTERNAL_SECRET",
            _ => "VALUE",
        }
    }

    fn shown_scope(&self) -> &'static str {
        if self.output_of.is_some() { "BUILT_IN" } else { self.scope }
    }
}

/// What a Helm service shows beside what every service does: what it was made with, or as good as that.
fn render_helm(service: &AService) -> Value {
    let given = |key: &str, default: Value| service.request.get(key).filter(|value| !value.is_null()).cloned().unwrap_or(default);
    let source = given("source", json!({}));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let source = if source["git_repository"].is_object() {
        let (repository, url) = (&source["git_repository"], text(&source["git_repository"]["url"]));
        let mut parts = url.trim_end_matches(".git").rsplit('/');
        let (name, owner) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        json!({ "git": { "git_repository": {
            "has_access": true, "provider": "GITHUB", "owner": owner, "url": url, "name": name, "branch": repository.get("branch").unwrap_or(&json!("main")),
            "root_path": repository.get("root_path").unwrap_or(&json!("/")), "git_token_id": repository["git_token_id"],
        }}})
    } else {
        let chart = &source["helm_repository"];
        let repository =
            json!({ "id": chart["repository"].as_str().unwrap_or(NOBODY), "name": "charts", "url": "https://charts.example.com" });
        json!({ "repository": { "chart_name": text(&chart["chart_name"]), "chart_version": text(&chart["chart_version"]), "repository": repository } })
    };
    let mut rendered = json!({
        "timeout_sec": given("timeout_sec", json!(600)), "auto_preview": given("auto_preview", json!(false)), "auto_deploy": given("auto_deploy", json!(false)),
        "source": source, "arguments": given("arguments", json!([])), "ports": given("ports", json!([])),
        "allow_cluster_wide_resources": given("allow_cluster_wide_resources", json!(false)), "values_override": given("values_override", json!({})),
    });
    for key in ["description", "icon_uri", "blueprint_id"] {
        if let Some(value) = service.request.get(key) {
            rendered[key] = value.clone();
        }
    }
    rendered
}

pub(super) fn render_stages(id: &str, environment: &Environment) -> Value {
    let stages = environment.stages.iter().enumerate();
    json!({ "results": stages.map(|(order, stage)| render_stage(id, environment, order, stage)).collect::<Vec<_>>() })
}

pub(super) fn render_stage(id: &str, environment: &Environment, order: usize, stage: &AStage) -> Value {
    let services = stage.services.iter().filter_map(|service| {
        let kind = environment.services.get(service)?.kind;
        Some(json!({ "id": service, "created_at": WHEN, "service_id": service, "service_type": kind.service_type(), "is_skipped": environment.skipped.contains(service) }))
    });
    json!({
        "id": stage.id, "created_at": WHEN, "environment": { "id": id }, "name": stage.name, "deployment_order": order,
        "services": services.collect::<Vec<_>>(),
    })
}
