//! The states of an environment and its services.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Qovery;
use crate::{
    clients::call::CallError,
    model::{
        deployment::{self, Target},
        gather::Gather as _,
        job::Deployed,
        marks::JobMark,
        states::{ServiceState, States},
    },
};

#[derive(Deserialize)]
struct Statuses {
    environment: Status,
    /// One list for each kind of service, those of tomorrow too.
    #[serde(flatten)]
    services: BTreeMap<String, Option<Vec<Status>>>,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    state: String,
    /// Of a service: whether it was ever deployed.
    #[serde(rename = "service_deployment_status")]
    deployment: Option<String>,
    /// Of a service.
    execution_id: Option<String>,
    /// Of the environment.
    last_deployment_id: Option<String>,
    last_deployment_date: Option<String>,
    /// Of a service: Qovery's own CLI goes by it. Whether that of an environment goes when its deployment has begun is said nowhere.
    deployment_request_id: Option<String>,
    /// Of a service.
    #[serde(default)]
    deployment_requests_count: u32,
    /// Of a service. One that does not say so may take part.
    is_part_last_deployment: Option<bool>,
}

impl Status {
    fn into_status(self) -> deployment::Status {
        deployment::Status {
            is_pending: self.deployment_requests_count > 0 || self.deployment_request_id.is_some(),
            // A date may be written when something else of the deployment is done.
            execution: self.execution_id.or(self.last_deployment_id).or(self.last_deployment_date),
            state: self.state,
        }
    }
}

impl Qovery {
    /// Whether a service of the environment was ever deployed. One that does not say so was.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn deployed(&self) -> Result<Deployed, CallError> {
        let found: Statuses = self.get(&format!("/environment/{}/statuses", self.environment())).await?;
        let never = |status: &Status| status.deployment.as_deref() == Some("NEVER_DEPLOYED");
        let all_never = found.services.into_values().flatten().flatten().all(|status| never(&status));
        Ok(if all_never { Deployed::Never } else { Deployed::Before })
    }

    /// What is said of the environment and its services, to follow a deployment.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn statuses(&self) -> Result<deployment::Statuses, CallError> {
        let found: Statuses = self.get(&format!("/environment/{}/statuses", self.environment())).await?;
        let mut statuses = deployment::Statuses { environment: found.environment.into_status(), ..deployment::Statuses::default() };
        statuses.environment.is_pending = false;
        for status in found.services.into_values().flatten().flatten() {
            let id = status.id.clone();
            if status.is_part_last_deployment.unwrap_or(true) {
                statuses.taking_part.push(id.clone());
            }
            let status = status.into_status();
            statuses.environment.is_pending |= status.is_pending;
            statuses.services.insert(id, status);
        }
        Ok(statuses)
    }

    /// Asks for a deployment, as it is configured by now; it goes on when this has returned.
    ///
    /// # Errors
    /// Qovery refuses or does not answer. [`ErrorKind::Changed`](crate::clients::call::ErrorKind::Changed) while another one is under way.
    pub async fn deploy(&self, target: &Target) -> Result<(), CallError> {
        let (path, body) = match target {
            Target::Account(service) => (format!("/helm/{}/deploy", service.id), json!({})),
            Target::Job(service) => (format!("/job/{}/deploy", service.id), json!({})),
            Target::Environment(id) => (format!("/environment/{id}/deploy"), Value::Null),
        };
        self.order(&path, &body).await
    }

    /// The states of the environment and of its services but those of this job, and the marks of all its jobs.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn states(&self, job: Option<&JobMark>) -> Result<(States, BTreeSet<JobMark>), CallError> {
        let found: Statuses = self.get(&format!("/environment/{}/statuses", self.environment())).await?;
        let jobs = found.services.get("jobs").into_iter().flatten().flatten();
        let jobs = jobs.filter_map(|job| JobMark::of_job(&job.id)).gather();
        let own = |status: &Status| job.is_some() && JobMark::of_job(&status.id).as_ref() == job;
        let others = found.services.into_values().flatten().flatten().filter(|status| !own(status)).map(|status| ServiceState {
            id: status.id,
            state: status.state,
            takes_part: status.is_part_last_deployment.unwrap_or(true),
            is_skipped: false,
        });
        Ok((States { environment: found.environment.state, others: others.collect() }, jobs))
    }
}
