//! Lifecycle jobs: as they are, as a request that leaves them so, and what creates and edits them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Qovery, error, services::Settings};
use crate::{
    call::{CallError, Kind},
    model::{job::ObservedJob, names::NameProblem, service::QoveryId},
};

#[derive(Deserialize)]
struct Created {
    id: String,
}

impl Qovery {
    /// A job with its advanced settings.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn job(&self, id: &QoveryId) -> Result<ObservedJob, CallError> {
        let (job, settings) = (
            self.get::<Map<String, Value>>(&format!("/job/{id}")).await?,
            self.get::<Settings>(&format!("/job/{id}/advancedSettings")).await?,
        );
        let is_lifecycle = job.get("job_type").and_then(Value::as_str) == Some("LIFECYCLE");
        Ok(ObservedJob { id: id.clone(), is_lifecycle, request: as_request(&job), settings })
    }

    /// Creates a job in the environment, and answers its id.
    ///
    /// # Errors
    /// Qovery refuses or does not answer. [`Kind::AlreadyExists`] if the name is taken.
    pub async fn create_job(&self, request: &Map<String, Value>) -> Result<QoveryId, CallError> {
        self.create(&format!("/environment/{}/job", self.environment()), &Value::Object(request.clone())).await
    }

    /// Replaces a job whole.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn edit_job(&self, id: &QoveryId, request: &Map<String, Value>) -> Result<(), CallError> {
        self.put(&format!("/job/{id}"), &Value::Object(request.clone())).await
    }

    /// Changes some advanced settings of a job: all are read and written back, since the API takes and replaces them whole.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn put_job_settings<'a>(
        &self,
        id: &QoveryId,
        changed: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> Result<(), CallError> {
        let path = format!("/job/{id}/advancedSettings");
        let mut settings: Settings = self.get(&path).await?;
        settings.extend(changed.into_iter().map(|(key, value)| (key.clone(), value.clone())));
        self.put(&path, &Value::Object(settings)).await
    }

    /// Creates something, and answers its id.
    pub(super) async fn create(&self, path: &str, body: &Value) -> Result<QoveryId, CallError> {
        let taken = |error: CallError| if error.code == "Conflict" { CallError { kind: Kind::AlreadyExists, ..error } } else { error };
        let created: Created = self.post(path, body).await.map_err(taken)?;
        created.id.parse().map_err(|problem: NameProblem| error::unreadable(&serde::de::Error::custom(problem)))
    }
}

/// What of a job's answer is also in its request. Nothing is left out: what a request does not name, Qovery takes away.
fn as_request(job: &Map<String, Value>) -> Map<String, Value> {
    const SAME: [&str; 14] = [
        "name",
        "description",
        "cpu",
        "memory",
        "gpu",
        "ephemeral_storage_in_gib",
        "max_nb_restart",
        "max_duration_seconds",
        "auto_preview",
        "port",
        "healthchecks",
        "auto_deploy",
        "icon_uri",
        "schedule",
    ];
    let mut request: Map<String, Value> =
        SAME.iter().filter_map(|key| Some(((*key).to_owned(), job.get(*key).filter(|value| !value.is_null())?.clone()))).collect();
    for groups in ["annotations_groups", "labels_groups"] {
        if let Some(Value::Array(all)) = job.get(groups) {
            let ids = all.iter().filter_map(|group| Some(json!({ "id": group.get("id")? })));
            request.insert(groups.to_owned(), ids.collect());
        }
    }
    if let Some(Value::Object(schedule)) = request.get_mut("schedule") {
        for event in ["on_start", "on_stop", "on_delete"] {
            // An entrypoint that is empty is none.
            if let Some(Value::Object(command)) = schedule.get_mut(event) {
                command.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
            }
        }
        schedule.retain(|_, value| !value.is_null());
    }
    if let Some(source) = job.get("source") {
        request.insert("source".to_owned(), source_as_request(source));
    }
    request
}

fn source_as_request(source: &Value) -> Value {
    let picked = |from: &Value, keys: &[&str]| -> Map<String, Value> {
        keys.iter().filter_map(|key| Some(((*key).to_owned(), from.get(key).filter(|value| !value.is_null())?.clone()))).collect()
    };
    let mut request = Map::new();
    if let Some(image) = source.get("image").filter(|image| image.is_object()) {
        let mut pulled = picked(image, &["image_name", "tag", "registry_id"]);
        // The answer names the registry as an object, the request by its id.
        if let Some(id) = image.pointer("/registry/id").filter(|_| !pulled.contains_key("registry_id")) {
            pulled.insert("registry_id".to_owned(), id.clone());
        }
        request.insert("image".to_owned(), Value::Object(pulled));
    }
    if let Some(docker) = source.get("docker").filter(|docker| docker.is_object()) {
        let mut built = picked(docker, &["dockerfile_path", "dockerfile_raw", "docker_target_build_stage"]);
        if let Some(repository) = docker.get("git_repository") {
            let repository = picked(repository, &["url", "branch", "root_path", "git_token_id", "provider"]);
            built.insert("git_repository".to_owned(), Value::Object(repository));
        }
        request.insert("docker".to_owned(), Value::Object(built));
    }
    Value::Object(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_is_answered_as_an_object_is_asked_for_by_its_id() {
        let source =
            json!({"image": {"image_name": "acme/x", "tag": "1", "registry": {"id": "r", "name": "ghcr", "url": "https://ghcr.io"}}});
        assert_eq!(source_as_request(&source), json!({"image": {"image_name": "acme/x", "tag": "1", "registry_id": "r"}}));
    }

    #[test]
    fn what_people_set_in_the_console_is_in_the_request_that_leaves_the_job_as_it_is() {
        let job = json!({
            "id": "x", "created_at": "…", "environment": {"id": "y"}, "maximum_cpu": 10, "name": "aws-identity", "cpu": 100, "memory": 64, "gpu": 0,
            "auto_preview": true, "port": null, "healthchecks": {}, "icon_uri": "app://x", "service_type": "JOB", "job_type": "LIFECYCLE",
            "annotations_groups": [{"id": "g", "name": "n"}], "labels_groups": [],
            "schedule": {"lifecycle_type": "GENERIC", "on_start": {"arguments": ["start"], "entrypoint": ""}, "on_stop": null},
            "source": {"docker": {"git_repository": {"url": "https://github.com/a/b", "provider": "GITHUB", "owner": "a", "name": "b", "branch": "main",
                "root_path": "/", "git_token_id": null, "has_access": true}, "dockerfile_path": "Dockerfile", "dockerfile_raw": null}},
        });
        let Value::Object(job) = job else { panic!() };
        assert_eq!(
            Value::Object(as_request(&job)),
            json!({
                "name": "aws-identity", "cpu": 100, "memory": 64, "gpu": 0, "auto_preview": true, "healthchecks": {}, "icon_uri": "app://x",
                "annotations_groups": [{"id": "g"}], "labels_groups": [],
                "schedule": {"lifecycle_type": "GENERIC", "on_start": {"arguments": ["start"]}},
                "source": {"docker": {"git_repository": {"url": "https://github.com/a/b", "provider": "GITHUB", "branch": "main", "root_path": "/"},
                    "dockerfile_path": "Dockerfile"}},
            })
        );
    }
}
