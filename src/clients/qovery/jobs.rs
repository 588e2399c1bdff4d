//! Lifecycle jobs: as they are, as a request that leaves them so, and what creates and edits them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Qovery, error, services::Settings};
use crate::{
    clients::call::{CallError, ErrorKind},
    model::{job::ObservedJob, names::NameProblem, qovery::QoveryId},
};

#[derive(Deserialize)]
struct Created {
    id: String,
}

impl Qovery {
    /// A job, still without its advanced settings.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn job(&self, id: &QoveryId) -> Result<ObservedJob, CallError> {
        let job: Map<String, Value> = self.get(&format!("/job/{id}")).await?;
        let is_lifecycle = job.get("job_type").and_then(Value::as_str) == Some("LIFECYCLE");
        Ok(ObservedJob { id: id.clone(), is_lifecycle, request: as_request(&job), settings: Map::new() })
    }

    /// The advanced settings of a job.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn job_settings(&self, id: &QoveryId) -> Result<Map<String, Value>, CallError> {
        self.get(&format!("/job/{id}/advancedSettings")).await
    }

    /// Creates a job in the environment, and answers its id.
    ///
    /// # Errors
    /// Qovery refuses or does not answer. [`ErrorKind::AlreadyExists`] if the name is taken.
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
        let taken =
            |error: CallError| if error.kind == ErrorKind::Changed { CallError { kind: ErrorKind::AlreadyExists, ..error } } else { error };
        let created: Created = self.post(path, body).await.map_err(taken)?;
        created.id.parse().map_err(|problem: NameProblem| error::unreadable(&serde::de::Error::custom(problem)))
    }
}

/// What a job's answer shows and a request does not take: who and where it is, and what follows from the rest. All else is asked for as it
/// is answered, also a key that nobody here knows: what a request does not name, Qovery may take away.
/// <https://api-doc.qovery.com/#tag/Job-Main-Calls/operation/editJob>
const ANSWERED_ONLY: [&str; 9] =
    ["id", "created_at", "updated_at", "environment", "service_type", "job_type", "maximum_cpu", "maximum_memory", "maximum_gpu"];
/// The same of a Git repository: what Qovery has found out about it.
pub(super) const ANSWERED_ONLY_OF_GIT: [&str; 8] = [
    "has_access",
    "owner",
    "name",
    "deployed_commit_id",
    "deployed_commit_date",
    "deployed_commit_contributor",
    "deployed_commit_tag",
    "git_token_name",
];

/// The request that leaves a job as it was answered.
fn as_request(job: &Map<String, Value>) -> Map<String, Value> {
    let mut request = without(job, &ANSWERED_ONLY);
    for groups in ["annotations_groups", "labels_groups"] {
        if let Some(Value::Array(all)) = request.get_mut(groups) {
            // Answered whole, asked for by their ids.
            *all = all.iter().filter_map(|group| Some(json!({ "id": group.get("id")? }))).collect();
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
    if let Some(Value::Object(source)) = request.get_mut("source") {
        source.retain(|_, value| !value.is_null());
        if let Some(Value::Object(image)) = source.get_mut("image") {
            *image = image_as_request(image);
        }
        if let Some(Value::Object(docker)) = source.get_mut("docker") {
            *docker = without(docker, &[]);
            if let Some(Value::Object(repository)) = docker.get_mut("git_repository") {
                *repository = without(repository, &ANSWERED_ONLY_OF_GIT);
            }
        }
    }
    request
}

/// The answer names the registry as an object, the request by its id.
fn image_as_request(image: &Map<String, Value>) -> Map<String, Value> {
    let mut request = without(image, &["registry"]);
    if let Some(id) = image.get("registry").and_then(|registry| registry.get("id")) {
        request.entry("registry_id").or_insert_with(|| id.clone());
    }
    request
}

/// All keys but these, and but those without a value: to ask for nothing is to leave it out.
pub(super) fn without(answer: &Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    let asked = answer.iter().filter(|(key, value)| !value.is_null() && !keys.contains(&key.as_str()));
    asked.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use qovery_irsa_sandbox::qovery::schema;

    use super::*;

    pub(in crate::clients::qovery) fn object(value: Value) -> Map<String, Value> {
        if let Value::Object(map) = value { map } else { panic!("{value}") }
    }

    #[test]
    fn a_registry_that_is_answered_as_an_object_is_asked_for_by_its_id() {
        let image = object(json!({"image_name": "acme/x", "tag": "1", "registry": {"id": "r", "name": "ghcr", "url": "https://ghcr.io"}}));
        assert_eq!(image_as_request(&image), object(json!({"image_name": "acme/x", "tag": "1", "registry_id": "r"})));
    }

    /// An answer in which everything that Qovery's description knows is there, with the one source that is given.
    fn full_answer(source: &str) -> Value {
        let mut answer = sample(&schema("JobResponse"));
        answer["source"].as_object_mut().unwrap().retain(|key, _| key == source);
        answer
    }

    /// A value for a schema of the description, with all of its properties.
    pub(in crate::clients::qovery) fn sample(schema: &Value) -> Value {
        if let Some(all) = schema["oneOf"].as_array() {
            // One of each: the caller takes the one that is wanted.
            return all.iter().flat_map(|one| object(sample(one))).collect::<Map<_, _>>().into();
        }
        if let Some(first) = schema.pointer("/enum/0") {
            return first.clone();
        }
        match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("object"), _) => {
                let properties = schema["properties"].as_object().into_iter().flatten();
                properties.map(|(name, schema)| (name.clone(), sample(schema))).collect::<Map<_, _>>().into()
            }
            (Some("array"), _) => json!([sample(&schema["items"])]),
            (Some("integer"), _) => 7.into(),
            (Some("boolean"), _) => true.into(),
            (Some("string"), Some("uuid")) => "00000000-0000-4000-8000-000000000007".into(),
            (Some("string"), _) => "text".into(),
            other => panic!("no sample for {other:?} in {schema}"),
        }
    }

    /// Asserts that of what was answered exactly that is asked for which a request may hold, at every depth.
    pub(in crate::clients::qovery) fn agree(request: &Value, answer: &Value, may_hold: &Value, at: &str) {
        match (request, answer, may_hold["properties"].as_object()) {
            (Value::Object(request), Value::Object(answer), Some(properties)) => {
                for (key, answered) in answer {
                    let at = format!("{at}.{key}");
                    match (request.get(key), properties.get(key)) {
                        (Some(asked), Some(may_hold)) => agree(asked, answered, may_hold, &at),
                        (None, None) => {}
                        (None, Some(_)) => panic!("{at} would be lost"),
                        (Some(_), None) => panic!("{at} is no part of a request"),
                    }
                }
                assert!(request.keys().all(|key| properties.contains_key(key)), "{at}: {request:?}");
            }
            (Value::Array(request), Value::Array(answer), _) => {
                assert_eq!(request.len(), answer.len(), "{at}");
                request.iter().zip(answer).for_each(|(asked, answered)| agree(asked, answered, &may_hold["items"], at));
            }
            _ => assert_eq!(request, answer, "{at}"),
        }
    }

    #[test]
    fn every_key_that_answer_and_request_share_is_asked_for_and_no_other() {
        for source in ["image", "docker"] {
            let answer = full_answer(source);
            let request = Value::Object(as_request(answer.as_object().unwrap()));
            agree(&request, &answer, &schema("JobRequest"), "job");
            if source == "image" {
                assert_eq!(request["source"]["image"]["registry_id"], answer["source"]["image"]["registry"]["id"]);
            }
        }
    }

    #[test]
    fn a_key_of_tomorrow_is_asked_for_wherever_it_stands() {
        for source in ["image", "docker"] {
            let mut answer = full_answer(source);
            for place in ["", "/schedule", "/schedule/on_start", "/source", &format!("/source/{source}")] {
                answer.pointer_mut(place).unwrap()["tomorrow"] = json!({ "deep": [1, null] });
            }
            if source == "docker" {
                answer["source"]["docker"]["git_repository"]["tomorrow"] = json!(1);
            }
            let request = Value::Object(as_request(answer.as_object().unwrap()));
            let kept = |value: &Value| value.to_string().matches("\"tomorrow\"").count();
            assert_eq!(kept(&request), kept(&answer), "{request:#}");
        }
    }

    #[test]
    fn what_people_set_in_the_console_is_in_the_request_that_leaves_the_job_as_it_is() {
        let job = json!({
            "id": "x", "created_at": "…", "environment": {"id": "y"}, "maximum_cpu": 10, "name": "aws-identity", "cpu": 100, "memory": 64, "gpu": 0,
            "auto_preview": true, "port": null, "healthchecks": {}, "icon_uri": "app://x", "service_type": "JOB", "job_type": "LIFECYCLE",
            "cpu_architecture": "ARM64", "annotations_groups": [{"id": "g", "name": "n"}], "labels_groups": [],
            "schedule": {"lifecycle_type": "GENERIC", "on_start": {"arguments": ["start"], "entrypoint": ""}, "on_stop": null},
            "source": {"docker": {"git_repository": {"url": "https://github.com/a/b", "provider": "GITHUB", "owner": "a", "name": "b", "branch": "main",
                "root_path": "/", "git_token_id": null, "has_access": true}, "dockerfile_path": "Dockerfile", "dockerfile_raw": null}},
        });
        assert_eq!(
            Value::Object(as_request(&object(job))),
            json!({
                "name": "aws-identity", "cpu": 100, "memory": 64, "gpu": 0, "auto_preview": true, "healthchecks": {}, "icon_uri": "app://x",
                "cpu_architecture": "ARM64", "annotations_groups": [{"id": "g"}], "labels_groups": [],
                "schedule": {"lifecycle_type": "GENERIC", "on_start": {"arguments": ["start"]}},
                "source": {"docker": {"git_repository": {"url": "https://github.com/a/b", "provider": "GITHUB", "branch": "main", "root_path": "/"},
                    "dockerfile_path": "Dockerfile"}},
            })
        );
    }
}
