//! Whether an environment goes, or only the job of it: decided from what Qovery says of the states of its services.
//!
//! What the state of the environment reads like while a single service of it is deleted is not documented. So it decides nothing by itself.

use crate::model::states::{ServiceState, States, is_going};

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

/// | services that stay | environment | verdict |
/// |---|---|---|
/// | none | | goes |
/// | one | is not being deleted | stays |
/// | one that takes no part in the deployment under way | is being deleted | stays |
/// | only such as are skipped, while others are being deleted | is being deleted | goes |
/// | only such as are skipped or take part | is being deleted | unclear |
#[must_use]
pub fn verdict(states: &States) -> Verdict {
    let staying: Vec<&ServiceState> = states.staying().collect();
    let others_go = states.others.iter().any(|service| is_going(&service.state));
    let is_left_out = |service: &&ServiceState| states.goes() && others_go && !service.takes_part && service.is_skipped;
    if staying.iter().all(is_left_out) {
        return Verdict::Goes;
    }
    if !states.goes() || staying.iter().any(|service| !service.takes_part && !is_left_out(service)) {
        return Verdict::Stays;
    }
    Verdict::Unclear
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_by_the_services_and_the_environment_only_where_these_are_unclear() {
        let service = |state: &str, takes_part| ServiceState { id: String::new(), state: state.to_owned(), takes_part, is_skipped: false };
        let skipped = |state: &str, takes_part| ServiceState { is_skipped: true, ..service(state, takes_part) };
        let cases: [(&str, Vec<ServiceState>, Verdict); 19] = [
            ("DELETING", vec![], Verdict::Goes),
            ("DEPLOYED", vec![], Verdict::Goes),
            ("DELETING", vec![service("DELETE_QUEUED", true), service("DELETED", true)], Verdict::Goes),
            ("DEPLOYED", vec![service("DELETING", true)], Verdict::Goes),
            ("DEPLOYED", vec![service("DEPLOYED", false), service("DELETING", true)], Verdict::Stays),
            ("STOPPED", vec![service("STOPPED", true)], Verdict::Stays),
            ("DELETING", vec![service("DEPLOYED", false)], Verdict::Stays),
            ("DELETING", vec![service("DEPLOYED", true)], Verdict::Unclear),
            ("A_STATE_OF_TOMORROW", vec![service("ANOTHER", true)], Verdict::Stays),
            // One that was never deployed.
            ("DELETING", vec![service("READY", false)], Verdict::Goes),
            ("DELETING", vec![service("READY", false), service("DELETE_QUEUED", true)], Verdict::Goes),
            ("DELETING", vec![service("READY", false), service("DEPLOYED", false)], Verdict::Stays),
            ("DEPLOYED", vec![service("READY", false)], Verdict::Stays),
            // One that is skipped.
            ("DELETING", vec![skipped("DEPLOYED", false), service("DELETING", true)], Verdict::Goes),
            ("DELETING", vec![skipped("DEPLOYED", false)], Verdict::Stays),
            ("DELETING", vec![skipped("DEPLOYED", false), service("STOPPED", false), service("DELETING", true)], Verdict::Stays),
            ("DELETING", vec![skipped("DEPLOYED", false), service("DEPLOYED", true), service("DELETING", true)], Verdict::Unclear),
            ("DEPLOYED", vec![skipped("DEPLOYED", false), service("DELETING", true)], Verdict::Stays),
            ("DELETING", vec![skipped("DEPLOYED", true), service("DELETING", true)], Verdict::Unclear),
        ];
        for (environment, others, wanted) in cases {
            let states = States { environment: environment.to_owned(), others };
            assert_eq!(verdict(&states), wanted, "{states:?}");
        }
    }
}
