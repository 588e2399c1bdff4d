//! Whether an environment goes, or only the job of it: decided from what Qovery says of the states of its services.
//!
//! What the state of the environment reads like while a single service of it is deleted is not documented. So it decides nothing by itself.

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
}

/// What a delete event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The environment goes, or all other services.
    Goes,
    /// Services stay: only the job is deleted.
    Stays,
    /// The environment goes by its own state, and services stay by theirs.
    Unclear,
}

/// | services | environment | verdict |
/// |---|---|---|
/// | there is no other, or all are being deleted | | goes |
/// | one stays | is not being deleted | stays |
/// | one stays that takes no part in the deployment under way | is being deleted | stays |
/// | those that stay all take part | is being deleted | unclear |
#[must_use]
pub fn verdict(states: &States) -> Verdict {
    let staying: Vec<&ServiceState> = states.others.iter().filter(|service| !is_going(&service.state)).collect();
    match (staying.as_slice(), is_going(&states.environment)) {
        ([], _) => Verdict::Goes,
        (_, false) => Verdict::Stays,
        (staying, true) if staying.iter().any(|service| !service.takes_part) => Verdict::Stays,
        (_, true) => Verdict::Unclear,
    }
}

/// Whether a state is one of something that is deleted or about to be. <https://api-doc.qovery.com>, `StateEnum`
fn is_going(state: &str) -> bool {
    matches!(state, "DELETED" | "DELETE_QUEUED" | "DELETING" | "DELETE_ERROR" | "WAITING_DELETING")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_by_the_services_and_the_environment_only_where_these_are_unclear() {
        let service = |state: &str, takes_part| ServiceState { id: String::new(), state: state.to_owned(), takes_part };
        let cases: [(&str, Vec<ServiceState>, Verdict); 9] = [
            ("DELETING", vec![], Verdict::Goes),
            ("DEPLOYED", vec![], Verdict::Goes),
            ("DELETING", vec![service("DELETE_QUEUED", true), service("DELETED", true)], Verdict::Goes),
            ("DEPLOYED", vec![service("DELETING", true)], Verdict::Goes),
            ("DEPLOYED", vec![service("DEPLOYED", false), service("DELETING", true)], Verdict::Stays),
            ("STOPPED", vec![service("STOPPED", true)], Verdict::Stays),
            ("DELETING", vec![service("DEPLOYED", false)], Verdict::Stays),
            ("DELETING", vec![service("DEPLOYED", true)], Verdict::Unclear),
            ("A_STATE_OF_TOMORROW", vec![service("ANOTHER", true)], Verdict::Stays),
        ];
        for (environment, others, wanted) in cases {
            let states = States { environment: environment.to_owned(), others };
            assert_eq!(verdict(&states), wanted, "{states:?}");
        }
    }
}
