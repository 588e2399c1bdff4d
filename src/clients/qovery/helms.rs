//! Helm services: as they are, as a request that leaves them so, and what creates and edits them.

use serde_json::{Map, Value};

use super::{
    Qovery,
    jobs::{ANSWERED_ONLY_OF_GIT, without},
};
use crate::{
    clients::call::CallError,
    model::{job::ObservedHelm, qovery::QoveryId},
};

impl Qovery {
    /// A Helm service.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn helm(&self, id: &QoveryId) -> Result<ObservedHelm, CallError> {
        let helm: Map<String, Value> = self.get(&format!("/helm/{id}")).await?;
        Ok(ObservedHelm { id: id.clone(), request: as_request(&helm) })
    }

    /// Creates a Helm service in the environment, and answers its id.
    ///
    /// # Errors
    /// Qovery refuses or does not answer. [`ErrorKind::AlreadyExists`](crate::clients::call::ErrorKind::AlreadyExists) if the name is taken.
    pub async fn create_helm(&self, request: &Map<String, Value>) -> Result<QoveryId, CallError> {
        self.create(&format!("/environment/{}/helm", self.environment()), &Value::Object(request.clone())).await
    }

    /// Replaces a Helm service whole.
    ///
    /// # Errors
    /// Qovery refuses or does not answer.
    pub async fn edit_helm(&self, id: &QoveryId, request: &Map<String, Value>) -> Result<(), CallError> {
        self.put(&format!("/helm/{id}"), &Value::Object(request.clone())).await
    }
}

/// What an answer holds and a request does not. As with jobs, everything else goes back as it was answered.
/// <https://api-doc.qovery.com/#tag/Helm-Main-Calls/operation/editHelm>
const ANSWERED_ONLY: [&str; 5] = ["id", "created_at", "updated_at", "environment", "service_type"];

/// The request that leaves a Helm service as it was answered. The two name their sources differently.
fn as_request(helm: &Map<String, Value>) -> Map<String, Value> {
    let mut request = without(helm, &ANSWERED_ONLY);
    if let Some(Value::Object(source)) = request.get_mut("source") {
        *source = source_as_request(source);
    }
    if let Some(Value::Object(values)) = request.get_mut("values_override") {
        *values = without(values, &[]);
        if let Some(Value::Object(file)) = values.get_mut("file") {
            *file = without(file, &[]);
            let repository = file.get_mut("git").and_then(|git| git.get_mut("git_repository"));
            if let Some(Value::Object(repository)) = repository {
                *repository = without(repository, &ANSWERED_ONLY_OF_GIT);
            }
        }
    }
    request
}

fn source_as_request(answered: &Map<String, Value>) -> Map<String, Value> {
    let mut request = without(answered, &["git", "repository"]);
    if let Some(Value::Object(repository)) = answered.get("git").and_then(|git| git.get("git_repository")) {
        let mut repository = without(repository, &ANSWERED_ONLY_OF_GIT);
        // Qovery tells it by the URL.
        repository.remove("provider");
        request.insert("git_repository".to_owned(), repository.into());
    }
    if let Some(Value::Object(chart)) = answered.get("repository") {
        let mut wanted = without(chart, &["repository"]);
        if let Some(id) = chart.get("repository").and_then(|repository| repository.get("id")) {
            wanted.insert("repository".to_owned(), id.clone());
        }
        request.insert("helm_repository".to_owned(), wanted.into());
    }
    request
}

#[cfg(test)]
mod tests {
    use qovery_irsa_sandbox::qovery::schema;
    use serde_json::json;

    use super::{
        super::jobs::tests::{agree, object, sample},
        *,
    };

    #[test]
    fn every_key_that_answer_and_request_share_is_asked_for_and_no_other() {
        let mut answer = sample(&schema("HelmResponse"));
        let mut may_hold = schema("HelmRequest");
        let request = as_request(answer.as_object().unwrap());
        let mut request = Value::Object(request);
        // Where the chart comes from is asked for in another form than it is answered in.
        for of in [&mut answer, &mut request, &mut may_hold["properties"]] {
            of.as_object_mut().unwrap().remove("source");
        }
        agree(&request, &answer, &may_hold, "helm");
    }

    #[test]
    fn the_source_is_asked_for_in_the_form_of_a_request() {
        let answer = |source: Value| Value::Object(as_request(&object(json!({ "name": "x", "source": source }))))["source"].clone();
        let repository = json!({ "has_access": true, "provider": "GITHUB", "owner": "a", "name": "b", "url": "https://github.com/a/b", "branch": "main",
            "root_path": "/c", "git_token_id": null, "tomorrow": 1 });
        assert_eq!(
            answer(json!({ "git": { "git_repository": repository } })),
            json!({ "git_repository": { "url": "https://github.com/a/b", "branch": "main", "root_path": "/c", "tomorrow": 1 } })
        );
        let chart = json!({ "chart_name": "c", "chart_version": "1", "repository": { "id": "r", "name": "n", "url": "u" } });
        assert_eq!(
            answer(json!({ "repository": chart })),
            json!({ "helm_repository": { "chart_name": "c", "chart_version": "1", "repository": "r" } })
        );
    }
}
