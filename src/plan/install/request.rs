//! The job as a request of Qovery's API: which keys the manifest decides, and what differs.
//!
//! <https://api-doc.qovery.com/#tag/Jobs>

use serde_json::{Map, Value, json};

use super::action::JobAction;
use crate::model::{
    job::{Daily, JobArguments, JobSource, JobSpec, Named, ObservedEnvironment, RegistryRef, Runs},
    qovery::{QoveryId, QoveryName},
};
use crate::plan::refusal::{InstallRefusal, Lookup};

/// Creates the job, or edits it where it differs.
pub(super) fn job(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    let fields = fields(spec, observed).map_err(|refusal| vec![refusal])?;
    let Some(found) = &observed.job else {
        let mut request = json!({ "name": spec.name.as_str(), "healthchecks": {}, "schedule": {} });
        if spec.runs == Runs::OnEvents {
            request["schedule"]["lifecycle_type"] = "GENERIC".into();
        }
        for field in fields {
            field.set(&mut request);
        }
        return Ok(vec![JobAction::CreateJob { name: spec.name.clone(), request: object(request) }]);
    };
    let mut request = Value::Object(found.request.clone());
    let other = if matches!(spec.source, JobSource::Image { .. }) { "docker" } else { "image" };
    let moved = request["source"].as_object_mut().is_some_and(|source| source.remove(other).is_some());
    let mut changed: Vec<&'static str> = fields.iter().filter(|field| !field.is_in(&request)).map(|field| field.key).collect();
    if moved {
        changed.push(if other == "docker" { "image" } else { "git" });
    }
    changed.dedup();
    // An entrypoint that the console sets is one of the image that was there.
    let of_another_image = ["image", "git", "image.name", "git.url", "git.rootPath", "git.dockerfile"];
    if changed.iter().any(|key| of_another_image.contains(key)) && clear_entrypoints(&mut request) {
        changed.push("entrypoint");
    }
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    for field in fields {
        field.set(&mut request);
    }
    Ok(vec![JobAction::EditJob { job: found.id.clone(), name: spec.name.clone(), request: object(request), changed }])
}

/// Whether any event had one.
fn clear_entrypoints(request: &mut Value) -> bool {
    let events = ["on_start", "on_stop", "on_delete"];
    let schedule = request["schedule"].as_object_mut().into_iter().flatten().filter(|(event, _)| events.contains(&event.as_str()));
    schedule.filter_map(|(_, command)| command.as_object_mut()?.remove("entrypoint")).count() > 0
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

/// One value that the manifest decides.
pub(super) struct Field {
    /// The key of the manifest.
    pub(super) key: &'static str,
    /// Where it is in the request.
    pub(super) path: &'static [&'static str],
    pub(super) value: Value,
}

impl Field {
    pub(super) fn is_in(&self, request: &Value) -> bool {
        let present = self.path.iter().try_fold(request, |at, key| at.get(key));
        match (present, &self.value) {
            // Qovery may show a repository with or without its ending.
            (Some(Value::String(present)), Value::String(wanted)) if self.path.ends_with(&["url"]) => {
                repository(present) == repository(wanted)
            }
            (present, wanted) => present == Some(wanted),
        }
    }

    pub(super) fn set(self, request: &mut Value) {
        let mut at = request;
        for key in self.path {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[*key];
        }
        *at = self.value;
    }
}

fn repository(url: &str) -> String {
    url.trim_end_matches('/').trim_end_matches(".git").to_lowercase()
}

fn fields(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<Vec<Field>, InstallRefusal> {
    let field = |key, path, value| Field { key, path, value };
    let mut fields = vec![
        field("cpu", &["cpu"], json!(spec.cpu)),
        field("memory", &["memory"], json!(spec.memory)),
        field("maxDuration", &["max_duration_seconds"], json!(spec.max_duration)),
        field("restarts", &["max_nb_restart"], json!(spec.restarts)),
    ];
    fields.extend(spec.description.as_ref().map(|text| field("description", &["description"], json!(text))));
    fields.extend(spec.auto_deploy.map(|auto| field("autoDeploy", &["auto_deploy"], json!(auto))));
    match &spec.runs {
        Runs::OnEvents => {
            let JobArguments { start, stop, delete } = &spec.arguments;
            fields.push(field("arguments.start", &["schedule", "on_start", "arguments"], json!(start)));
            fields.push(field("arguments.stop", &["schedule", "on_stop", "arguments"], json!(stop)));
            fields.push(field("arguments.delete", &["schedule", "on_delete", "arguments"], json!(delete)));
        }
        Runs::Daily(_) => {
            fields.push(field("arguments", &["schedule", "cronjob", "arguments"], json!(Daily::ARGUMENTS)));
            fields.push(field("schedule", &["schedule", "cronjob", "scheduled_at"], json!(Daily::AT)));
            fields.push(field("time zone", &["schedule", "cronjob", "timezone"], json!("Etc/UTC")));
        }
    }
    match &spec.source {
        JobSource::Image { registry, name, tag } => {
            let registry = registry_id(registry, observed)?;
            fields.push(field("image.registry", &["source", "image", "registry_id"], json!(registry.as_str())));
            fields.push(field("image.name", &["source", "image", "image_name"], json!(name)));
            fields.push(field("image.tag", &["source", "image", "tag"], json!(tag)));
        }
        JobSource::Git { url, provider, branch, root_path, dockerfile, token } => {
            fields.push(field("git.url", &["source", "docker", "git_repository", "url"], json!(url)));
            fields.push(field("git.provider", &["source", "docker", "git_repository", "provider"], json!(provider.as_str())));
            fields.extend(
                branch.as_ref().map(|branch| field("git.branch", &["source", "docker", "git_repository", "branch"], json!(branch))),
            );
            fields.push(field("git.rootPath", &["source", "docker", "git_repository", "root_path"], json!(root_path)));
            fields.push(field("git.dockerfile", &["source", "docker", "dockerfile_path"], json!(dockerfile)));
            if let Some(token) = token {
                let token = find(Lookup::GitToken, &observed.git_tokens, token)?;
                fields.push(field("git.token", &["source", "docker", "git_repository", "git_token_id"], json!(token.as_str())));
            }
        }
    }
    Ok(fields)
}

fn registry_id(registry: &RegistryRef, observed: &ObservedEnvironment) -> Result<QoveryId, InstallRefusal> {
    match registry {
        RegistryRef::Named(name) => find(Lookup::Registry, &observed.registries, name),
        RegistryRef::Host(host) => {
            let found = Named::on_host(&observed.registries, host).map(|named| named.id.clone());
            let known = observed.registries.clone();
            found.ok_or_else(|| InstallRefusal::NotFound { kind: Lookup::ReleaseRegistry, name: host.clone(), known })
        }
    }
}

pub(super) fn find(kind: Lookup, known: &[Named], name: &QoveryName) -> Result<QoveryId, InstallRefusal> {
    let found = Named::find(known, name).map(|named| named.id.clone());
    found.ok_or_else(|| InstallRefusal::NotFound { kind, name: name.as_str().to_owned(), known: known.to_vec() })
}
