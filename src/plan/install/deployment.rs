//! Whether a deployment that was asked for is over, from what Qovery says of its target at each look.
//!
//! Right after the request Qovery may still show the state of the deployment before: `DEPLOYED` of yesterday must not be taken for that of
//! today. Qovery's own CLI goes by `deployment_requests_count` and `deployment_request_id`, which show a request that has not begun
//! (Qovery/qovery-cli, `utils/environment_status_watch.go`). That they show it from the first moment on is *unconfirmed*. So an end counts
//! only with a sign that it is the new one.

use crate::{
    model::deployment::{State, Status, Target},
    plan::Call,
};

/// How far a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not begun, as far as can be seen, or goes on.
    GoesOn,
    /// It is over, and went well.
    Done,
    /// It is over, and failed.
    Failed,
    /// Somebody cancelled it.
    Canceled,
    /// Somebody stopped or deleted its target meanwhile.
    Gone,
}

/// A deployment that was asked for.
#[derive(Clone, Debug)]
pub struct Followed {
    before: Status,
    has_begun: bool,
    was_pending: bool,
}

impl Followed {
    /// One whose target was so right before it was asked for.
    #[must_use]
    pub fn new(before: Status) -> Self {
        Self { before, has_begun: false, was_pending: false }
    }

    /// What a look at its target tells.
    ///
    /// | Qovery shows | so far seen | it |
    /// |---|---|---|
    /// | a request that has not begun, or a passing state, or an unknown one | | goes on |
    /// | an end, of another deployment than before the request, or of another state | | has ended so |
    /// | an end | a passing state | has ended so |
    /// | an end, and not of which deployment | a request that had not begun | has ended so |
    /// | an end, of the same deployment as before the request | none of these | goes on: it is the old one's |
    pub fn next(&mut self, seen: &Status) -> Progress {
        let state = State::of(&seen.state);
        self.has_begun |= state == State::Passing;
        self.was_pending |= seen.is_pending;
        if seen.is_pending || matches!(state, State::Passing | State::Unknown | State::Never) {
            return Progress::GoesOn;
        }
        let is_other = match (&self.before.execution, &seen.execution) {
            (Some(before), Some(now)) => before != now,
            (None, Some(_)) => true,
            (_, None) => self.was_pending,
        };
        if !(self.has_begun || is_other || seen.state != self.before.state) {
            return Progress::GoesOn;
        }
        match state {
            State::Deployed => Progress::Done,
            State::Failed => Progress::Failed,
            State::Canceled => Progress::Canceled,
            State::Gone | State::Never | State::Passing | State::Unknown => Progress::Gone,
        }
    }
}

/// As it is planned and reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy(pub Target);

impl Call for Deploy {
    fn call(&self) -> &'static str {
        match self.0 {
            Target::Account(_) => "qovery:POST /helm/{id}/deploy",
            Target::Job(_) => "qovery:POST /job/{id}/deploy",
            Target::Environment(_) => "qovery:POST /environment/{id}/deploy",
        }
    }
}

impl std::fmt::Display for Deploy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "deploy {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, execution: Option<&str>) -> Status {
        Status { state: state.to_owned(), is_pending: false, execution: execution.map(str::to_owned) }
    }

    fn pending(state: &str, execution: Option<&str>) -> Status {
        Status { is_pending: true, ..status(state, execution) }
    }

    /// What each look tells, one after the other.
    fn followed(before: &Status, looks: &[Status]) -> Vec<Progress> {
        let mut followed = Followed::new(before.clone());
        looks.iter().map(|seen| followed.next(seen)).collect()
    }

    use Progress::{Canceled, Done, Failed, GoesOn, Gone};

    #[test]
    fn the_state_of_the_deployment_before_is_never_taken_for_the_new_one() {
        for state in ["DEPLOYED", "DEPLOYMENT_ERROR", "CANCELED", "STOPPED"] {
            for execution in [None, Some("1")] {
                let before = status(state, execution);
                assert_eq!(followed(&before, &[before.clone(), before.clone()]), [GoesOn; 2], "{state} {execution:?}");
                assert_eq!(followed(&before, &[pending(state, execution)]), [GoesOn]);
            }
        }
        // Between the request and its beginning nothing may be shown for a moment.
        let before = status("DEPLOYED", Some("1"));
        assert_eq!(
            followed(
                &before,
                &[pending("DEPLOYED", Some("1")), before.clone(), status("DEPLOYING", Some("2")), status("DEPLOYED", Some("2"))]
            ),
            [GoesOn, GoesOn, GoesOn, Done]
        );
    }

    #[test]
    fn an_end_counts_with_any_sign_that_it_is_the_new_one() {
        let before = status("DEPLOYED", Some("1"));
        assert_eq!(followed(&before, &[status("DEPLOYED", Some("2"))]), [Done], "too fast to be seen under way");
        assert_eq!(followed(&before, &[status("DEPLOYING", None), status("DEPLOYED", Some("1"))]), [GoesOn, Done], "an id that stays");
        assert_eq!(followed(&before, &[status("DEPLOYMENT_ERROR", Some("1"))]), [Failed]);
        let before = status("DEPLOYED", None);
        assert_eq!(followed(&before, &[pending("DEPLOYED", None), before.clone()]), [GoesOn, Done], "nothing else is shown");
        assert_eq!(followed(&status("READY", None), &[status("READY", None), status("DEPLOYED", None)]), [GoesOn, Done]);
    }

    #[test]
    fn each_end_is_told_apart_and_what_is_not_known_is_waited_for() {
        let before = status("READY", None);
        for (state, expected) in [
            ("DEPLOYED", Done),
            ("RESTARTED", Done),
            ("DEPLOYMENT_ERROR", Failed),
            ("BUILD_ERROR", Failed),
            ("CANCELED", Canceled),
            ("STOPPED", Gone),
            ("DELETED", Gone),
            ("CANCELING", GoesOn),
            ("QUEUED", GoesOn),
            ("WAITING_RUNNING", GoesOn),
            ("UNAVAILABLE", GoesOn),
            ("A_STATE_OF_TOMORROW", GoesOn),
        ] {
            assert_eq!(followed(&before, &[status("DEPLOYING", None), status(state, None)]), [GoesOn, expected], "{state}");
        }
    }
}
