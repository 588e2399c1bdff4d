//! The states of an environment and its services, as Qovery tells them.

/// What Qovery says of an environment while the delete event of one of its jobs runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States {
    /// The state of the environment.
    pub environment: String,
    /// Its services but the job.
    pub others: Vec<ServiceState>,
}

/// What Qovery says of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Whether it is part of the deployment that is under way.
    pub takes_part: bool,
    /// Whether it is skipped in its stage, as far as that was asked.
    pub is_skipped: bool,
}

impl States {
    /// Whether the verdict depends on which services are skipped.
    #[must_use]
    pub fn asks_for_skipped(&self) -> bool {
        self.goes() && self.others.iter().any(|service| is_going(&service.state)) && self.staying().any(|service| !service.takes_part)
    }

    /// Takes note of the services that are skipped, by their ids.
    pub fn skip(&mut self, is_skipped: impl Fn(&str) -> bool) {
        for service in &mut self.others {
            service.is_skipped = is_skipped(&service.id);
        }
    }

    /// Whether the environment is being deleted.
    #[must_use]
    pub fn goes(&self) -> bool {
        is_going(&self.environment)
    }

    /// The services that stay. Of an environment that is being deleted one that was never deployed is none: there is nothing to delete of it.
    pub fn staying(&self) -> impl Iterator<Item = &ServiceState> {
        let goes = self.goes();
        self.others.iter().filter(move |service| !(is_going(&service.state) || goes && service.state == "READY"))
    }
}

/// Whether a state is one of something that is deleted or about to be. <https://api-doc.qovery.com>, `StateEnum`
#[must_use]
pub fn is_going(state: &str) -> bool {
    matches!(state, "DELETED" | "DELETE_QUEUED" | "DELETING" | "DELETE_ERROR" | "WAITING_DELETING")
}
