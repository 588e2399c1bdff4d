//! The states of an environment and its services.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Qovery;
use crate::{
    clients::call::CallError,
    model::{
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
    service_deployment_status: Option<String>,
    /// Of a service. One that does not say so may take part.
    is_part_last_deployment: Option<bool>,
}

impl Qovery {
    /// Whether a service of the environment was ever deployed. One that does not say so was.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn deployed(&self) -> Result<Deployed, CallError> {
        let found: Statuses = self.get(&format!("/environment/{}/statuses", self.environment())).await?;
        let never = |status: &Status| status.service_deployment_status.as_deref() == Some("NEVER_DEPLOYED");
        let all_never = found.services.into_values().flatten().flatten().all(|status| never(&status));
        Ok(if all_never { Deployed::Never } else { Deployed::Before })
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
