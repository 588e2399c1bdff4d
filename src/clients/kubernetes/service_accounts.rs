//! ServiceAccounts: get, list, server-side apply, delete.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Kubernetes, pages};
use crate::{
    clients::call::{CallError, ErrorKind},
    model::{
        applied::{AppliedServiceAccount, Seen},
        gather::Gather as _,
        marks::{JobMark, Mark},
        names::{NameProblem, Namespace, ServiceAccountName, Subject},
        observed::{FIELD_MANAGER, Field, ObservedServiceAccount},
        oidc::Audience,
        pods::PodRef,
    },
};

/// The reason of an API server for a conflict of any kind.
const CONFLICT: &str = "Conflict";

/// Of a `TokenRequest` what is looked at: an answer of many small parts is read past, not kept.
#[derive(Deserialize)]
struct Answered {
    status: Option<AnsweredStatus>,
}

#[derive(Deserialize)]
struct AnsweredStatus {
    token: Option<String>,
}

impl Kubernetes {
    /// Reads a ServiceAccount.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn service_account(&self, subject: &Subject) -> Result<Option<ObservedServiceAccount>, CallError> {
        match self.service_accounts(subject).get(subject.service_account.as_str()).await.map_err(|error| self.failed(&error)) {
            Ok(found) => Ok(Some(observed(subject, found))),
            Err(error) if error.kind.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The ServiceAccounts of a namespace by name, all pages.
    ///
    /// # Errors
    /// The API server refuses, does not answer, or names one that can be none.
    pub async fn service_accounts_in(
        &self,
        namespace: &Namespace,
    ) -> Result<BTreeMap<ServiceAccountName, ObservedServiceAccount>, CallError> {
        let path = ServiceAccount::url_path(&(), Some(namespace.as_str()));
        let found = |found: ServiceAccount| {
            let name = found.metadata.name.clone().unwrap_or_default().parse::<ServiceAccountName>();
            let name = name.map_err(|problem: NameProblem| CallError::unreadable(problem.to_string()))?;
            let subject = Subject { namespace: namespace.clone(), service_account: name.clone() };
            Ok(Some((name, observed(&subject, found))))
        };
        let found = pages::all(self, &path, ListParams::default(), 100, found).await?;
        Ok(found.into_iter().gather())
    }

    /// Applies the tool's fields, all of them and no others, and only to the object and version that were seen, if they are named. It is forced
    /// only for fields that are to be taken, and then never without the version: nobody else's value can have come in between.
    ///
    /// # Errors
    /// Another field manager holds a field with another value, the API server refuses, or does not answer. [`ErrorKind::AlreadyExists`] if
    /// somebody has changed or deleted it since it was seen; [`ErrorKind::Overridden`] if the API server gives back other values.
    pub async fn apply_service_account(&self, applied: &AppliedServiceAccount) -> Result<(), CallError> {
        self.apply_with(applied, PatchParams::apply(FIELD_MANAGER)).await
    }

    /// The same as a dry run: all that can refuse it is asked, and nothing is stored.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>
    ///
    /// # Errors
    /// As if it were applied.
    pub async fn rehearse_service_account(&self, applied: &AppliedServiceAccount) -> Result<(), CallError> {
        self.apply_with(applied, PatchParams::apply(FIELD_MANAGER).dry_run()).await
    }

    async fn apply_with(&self, applied: &AppliedServiceAccount, parameters: PatchParams) -> Result<(), CallError> {
        let mut object = identity(&applied.subject);
        object["metadata"]["annotations"] = json!(applied.annotations);
        if !applied.labels.is_empty() {
            object["metadata"]["labels"] = json!(applied.labels);
        }
        if let Some(automount) = applied.automount {
            object["automountServiceAccountToken"] = json!(automount);
        }
        let seen = applied.seen.as_ref().filter(|seen| !seen.version.is_empty());
        if let Some(seen) = seen {
            object["metadata"]["uid"] = json!(seen.uid);
            object["metadata"]["resourceVersion"] = json!(seen.version);
        }
        let force = seen.is_some() && !applied.taken.is_empty();
        let parameters = PatchParams { force, ..parameters };
        let after = self.apply(&applied.subject, &object, &parameters).await.map_err(|error| match error.kind {
            // It was seen: then somebody has changed it since.
            ErrorKind::Changed | ErrorKind::Transient if seen.is_some() && error.code == CONFLICT => {
                CallError { kind: ErrorKind::AlreadyExists, ..error }
            }
            _ => error,
        })?;
        let overridden = applied.overridden(&observed(&applied.subject, after));
        let Some(first) = overridden.first() else { return Ok(()) };
        let message =
            format!("the API server took `{}` for {} and has `{}`", first.applied, first.field, first.found.as_deref().unwrap_or(""));
        Err(CallError::new(ErrorKind::Overridden(overridden), "Overridden", message))
    }

    /// Applies nothing to the ServiceAccount of this uid: fields that only the tool held go, others stay. One that is gone, or
    /// another of its name, is as good.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn release_service_account(&self, subject: &Subject, uid: &str) -> Result<(), CallError> {
        let mut object = identity(subject);
        // With a uid an apply never creates: the API server answers with a conflict.
        object["metadata"]["uid"] = json!(uid);
        match self.apply(subject, &object, &PatchParams::apply(FIELD_MANAGER)).await {
            Err(error) if error.kind.is_missing() || error.kind == ErrorKind::Changed => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Sets the mark of a job, or takes it away, and touches nothing else: by the job's own field manager, forced where a person's hand or
    /// a restore has another value there. Taken from one that is gone, or from another of its name, it is as good.
    ///
    /// # Errors
    /// The API server refuses or does not answer. [`ErrorKind::AlreadyExists`] if the one to be marked has gone since it was seen.
    pub async fn mark_service_account(
        &self,
        subject: &Subject,
        job: &JobMark,
        mark: Option<Mark>,
        uid: Option<&str>,
        force: bool,
    ) -> Result<(), CallError> {
        let mut object = identity(subject);
        if let Some(mark) = mark {
            object["metadata"]["labels"] = json!({ job.label(): mark.value() });
        }
        if let Some(uid) = uid {
            object["metadata"]["uid"] = json!(uid);
        }
        match self.apply(subject, &object, &PatchParams { force, ..PatchParams::apply(&job.field_manager()) }).await {
            Err(error) if error.kind.is_missing() || error.kind == ErrorKind::Changed => match mark {
                Some(_) => Err(CallError { kind: ErrorKind::AlreadyExists, ..error }),
                None => Ok(()),
            },
            answer => answer.map(drop),
        }
    }

    /// Deletes the ServiceAccount that was seen; one that is gone, or another of its name, is as good.
    ///
    /// # Errors
    /// The API server refuses or does not answer. [`ErrorKind::AlreadyExists`] if somebody has changed it since it was seen: another job may have
    /// marked it.
    pub async fn delete_service_account(&self, subject: &Subject, seen: &Seen) -> Result<(), CallError> {
        let resource_version = Some(seen.version.clone()).filter(|version| !version.is_empty());
        let preconditions = Preconditions { uid: Some(seen.uid.clone()), resource_version };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let answer = self.service_accounts(subject).delete(subject.service_account.as_str(), &parameters).await;
        match answer.map_err(|error| self.failed(&error)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind.is_missing() || error.kind == ErrorKind::Changed => Ok(()),
            Err(error) if error.code == CONFLICT => Err(CallError { kind: ErrorKind::AlreadyExists, ..error }),
            Err(error) => Err(error),
        }
    }

    /// `TokenRequest`: a token as a pod of the ServiceAccount gets one, for ten minutes.
    /// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>
    ///
    /// # Errors
    /// The API server refuses, does not answer, or answers without a token.
    pub async fn token(&self, subject: &Subject, audience: &Audience) -> Result<String, CallError> {
        self.token_request(subject, audience, None).await
    }

    /// The same, bound to a pod of the ServiceAccount: it is good as long as the pod is there.
    /// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/#TokenRequestSpec>
    ///
    /// # Errors
    /// The API server refuses, as it does if the pod runs with another ServiceAccount; does not answer; or answers without a token.
    pub async fn token_of_pod(&self, subject: &Subject, audience: &Audience, pod: &PodRef) -> Result<String, CallError> {
        self.token_request(subject, audience, Some(pod)).await
    }

    async fn token_request(&self, subject: &Subject, audience: &Audience, pod: Option<&PodRef>) -> Result<String, CallError> {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", subject.namespace, subject.service_account);
        let mut asked = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "audiences": [audience.as_str()], "expirationSeconds": 600 },
        });
        if let Some(pod) = pod {
            asked["spec"]["boundObjectRef"] = json!({ "apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid });
        }
        let request = http::Request::post(path).header(http::header::CONTENT_TYPE, "application/json").body(asked.to_string().into_bytes());
        let request = request.map_err(|error| CallError::not_sent(error.to_string()))?;
        let answer: Answered = self.client.request(request).await.map_err(|error| self.failed(&error))?;
        let token = answer.status.and_then(|status| status.token).filter(|token| !token.is_empty());
        token.ok_or_else(|| CallError::unreadable("no token in the answer"))
    }

    async fn apply(&self, subject: &Subject, object: &Value, parameters: &PatchParams) -> Result<ServiceAccount, CallError> {
        let answer = self.service_accounts(subject).patch(subject.service_account.as_str(), parameters, &Patch::Apply(object)).await;
        answer.map_err(|error| self.failed(&error))
    }

    fn service_accounts(&self, subject: &Subject) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), subject.namespace.as_str())
    }
}

fn identity(subject: &Subject) -> Value {
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": subject.service_account.as_str() } })
}

fn observed(subject: &Subject, found: ServiceAccount) -> ObservedServiceAccount {
    let annotations = found.metadata.annotations.unwrap_or_default().into_iter().map(|(key, value)| (Field::Annotation(key), value));
    let labels = found.metadata.labels.unwrap_or_default().into_iter().map(|(key, value)| (Field::Label(key), value));
    let automount = found.automount_service_account_token.map(|automount| (Field::Automount, automount.to_string()));
    let mut managers: BTreeMap<Field, BTreeSet<String>> = BTreeMap::new();
    for entry in found.metadata.managed_fields.unwrap_or_default() {
        let (Some(manager), Some(fields)) = (entry.manager, entry.fields_v1) else { continue };
        let mut held = BTreeSet::new();
        leaves(&fields.0, &mut Vec::new(), &mut held);
        for field in held {
            managers.entry(field).or_default().insert(manager.clone());
        }
    }
    ObservedServiceAccount {
        namespace: subject.namespace.clone(),
        uid: found.metadata.uid.unwrap_or_default(),
        version: found.metadata.resource_version.unwrap_or_default(),
        ends: found.metadata.deletion_timestamp.is_some(),
        values: annotations.chain(labels).chain(automount).gather(),
        managers,
    }
}

/// The leaves of a set of managed fields: `{"f:metadata": {"f:annotations": {"f:key": {}}}}`.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
fn leaves(fields: &Value, path: &mut Vec<String>, held: &mut BTreeSet<Field>) {
    let children: Vec<(&String, &Value)> = fields.as_object().into_iter().flatten().filter(|(key, _)| *key != ".").collect();
    if children.is_empty() {
        match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            // A map that a manager once created holds nothing by itself.
            [] | ["metadata"] | ["metadata", "annotations" | "labels"] => {}
            ["metadata", "annotations", key] => drop(held.insert(Field::Annotation((*key).to_owned()))),
            ["metadata", "labels", key] => drop(held.insert(Field::Label((*key).to_owned()))),
            ["automountServiceAccountToken"] => drop(held.insert(Field::Automount)),
            other => drop(held.insert(Field::Other(other.join(".")))),
        }
    }
    for (key, value) in children {
        path.push(key.strip_prefix("f:").unwrap_or(key).to_owned());
        leaves(value, path, held);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_read_leaf_by_leaf() {
        let found: ServiceAccount = serde_json::from_value(json!({
            "metadata": {
                "name": "app", "uid": "1", "annotations": {"a.b/c": "v", "x": "y"}, "labels": {"l": "m"},
                "managedFields": [
                    {"manager": "helm", "operation": "Update", "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:a.b/c": {}}, "f:labels": {".": {}, "f:l": {}}}}},
                    {"manager": "qovery-irsa", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {"f:a.b/c": {}}}, "f:automountServiceAccountToken": {}}},
                    {"manager": "kubectl-create", "operation": "Update", "fieldsV1": {"f:metadata": {"f:annotations": {}}}},
                    {"manager": "other", "operation": "Update", "fieldsV1": {"f:imagePullSecrets": {".": {}, "k:{\"name\":\"r\"}": {}}}},
                ],
            },
            "automountServiceAccountToken": false,
        }))
        .unwrap();
        let observed = observed(&"z1/app".parse().unwrap(), found);
        let managers = |field: Field| observed.managers.get(&field).map(|managers| managers.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(managers(Field::Annotation("a.b/c".into())), Some(vec!["helm", "qovery-irsa"]));
        assert_eq!(managers(Field::Label("l".into())), Some(vec!["helm"]));
        assert_eq!(managers(Field::Automount), Some(vec!["qovery-irsa"]));
        assert_eq!(managers(Field::Other("imagePullSecrets.k:{\"name\":\"r\"}".into())), Some(vec!["other"]));
        assert_eq!(observed.managers.len(), 4);
        assert_eq!(observed.values[&Field::Automount], "false");
    }
}
