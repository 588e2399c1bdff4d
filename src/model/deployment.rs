//! Deployments in Qovery: what they are of, and what Qovery says of a service or an environment at one moment.

use std::{collections::BTreeMap, fmt};

use super::{qovery::QoveryId, service::Service};

/// What is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The Helm service that makes the job's ServiceAccount.
    Account(Service),
    /// The job alone.
    Job(Service),
    /// The whole environment.
    Environment(QoveryId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(service) => write!(f, "Helm service `{}`", service.name),
            Self::Job(service) => service.fmt(f),
            Self::Environment(_) => f.write_str("the environment"),
        }
    }
}

/// A state of `StateEnum`. <https://api-doc.qovery.com>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was never deployed.
    Never,
    /// It waits for its turn, or something is done to it just now.
    Passing,
    /// It is deployed, and nothing else is under way.
    Deployed,
    /// What was last done to it failed.
    Failed,
    /// What was last done to it was cancelled.
    Canceled,
    /// It is stopped or deleted.
    Gone,
    /// None of these, or a word that is not known here: it says nothing.
    Unknown,
}

impl State {
    /// Reads Qovery's word.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "READY" => Self::Never,
            "DEPLOYED" | "RESTARTED" => Self::Deployed,
            "CANCELED" => Self::Canceled,
            "STOPPED" | "DELETED" => Self::Gone,
            word if word.ends_with("_ERROR") => Self::Failed,
            word if word.ends_with("QUEUED") || word.ends_with("ING") => Self::Passing,
            _ => Self::Unknown,
        }
    }
}

/// What Qovery says of a service or an environment at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its state, in Qovery's word.
    pub state: String,
    /// Whether a deployment was asked for that has not begun. Its state is then still that of the one before.
    pub is_pending: bool,
    /// Which deployment the state is of: an id, or else a date. Nothing if Qovery gives neither.
    pub execution: Option<String>,
}

impl Status {
    /// Whether something is being done to it, or waits to be.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_pending || State::of(&self.state) == State::Passing
    }
}

/// What Qovery says of an environment and its services at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    /// The environment.
    pub environment: Status,
    /// Its services, by their ids.
    pub services: BTreeMap<String, Status>,
    /// Those of them that are part of its last deployment.
    pub taking_part: Vec<String>,
}

impl Statuses {
    /// What is said of this; nothing of a service that is not there.
    #[must_use]
    pub fn of(&self, target: &Target) -> Option<&Status> {
        match target {
            Target::Account(service) | Target::Job(service) => self.services.get(service.id.as_str()),
            Target::Environment(_) => Some(&self.environment),
        }
    }

    /// Whether the environment or one of its services is being deployed, stopped or deleted.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.environment.is_busy() || self.services.values().any(Status::is_busy)
    }

    /// The services that failed in the last deployment, by their ids.
    pub fn failed(&self) -> impl Iterator<Item = (&String, &Status)> {
        let took_part = |id: &&String| self.taking_part.contains(id);
        self.services.iter().filter(move |(id, status)| took_part(id) && State::of(&status.state) == State::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_the_description_is_read_and_one_of_tomorrow_says_nothing() {
        let words = |wanted: State| {
            let all = [
                "BUILDING",
                "BUILD_ERROR",
                "CANCELED",
                "CANCELING",
                "DELETED",
                "DELETE_ERROR",
                "DELETE_QUEUED",
                "DELETING",
                "DEPLOYED",
                "DEPLOYING",
                "DEPLOYMENT_ERROR",
                "DEPLOYMENT_QUEUED",
                "EXECUTING",
                "QUEUED",
                "READY",
                "RECAP",
                "RESTARTED",
                "RESTARTING",
                "RESTART_ERROR",
                "RESTART_QUEUED",
                "STOPPED",
                "STOPPING",
                "STOP_ERROR",
                "STOP_QUEUED",
                "UNAVAILABLE",
                "WAITING_DELETING",
                "WAITING_RESTARTING",
                "WAITING_RUNNING",
                "WAITING_STOPPING",
                "A_STATE_OF_TOMORROW",
            ];
            all.into_iter().filter(|word| State::of(word) == wanted).collect::<Vec<_>>()
        };
        assert_eq!(words(State::Never), ["READY"]);
        assert_eq!(words(State::Deployed), ["DEPLOYED", "RESTARTED"]);
        assert_eq!(words(State::Failed), ["BUILD_ERROR", "DELETE_ERROR", "DEPLOYMENT_ERROR", "RESTART_ERROR", "STOP_ERROR"]);
        assert_eq!(words(State::Canceled), ["CANCELED"]);
        assert_eq!(words(State::Gone), ["DELETED", "STOPPED"]);
        assert_eq!(words(State::Unknown), ["RECAP", "UNAVAILABLE", "A_STATE_OF_TOMORROW"]);
        assert_eq!(words(State::Passing).len(), 16);
    }
}
