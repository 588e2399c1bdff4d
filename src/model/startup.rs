//! Whether a service that refuses may only just have started. An API server serves before it has made the roles that every cluster has:
//! for about a second it knows nobody's permissions and answers 403 to all.
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/registry/rbac/rest/storage_rbac.go>

use std::time::Duration;

/// For how long a refusal may be one of a server that has just started. Whoever really lacks the right waits as long, once in a run.
const LONGEST: Duration = Duration::from_secs(3);

/// What is known of a service. Times are those of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    refused: Option<Duration>,
    served: bool,
}

impl Startup {
    /// It has answered something else than a refusal: it knows permissions.
    pub fn served(&mut self) {
        self.served = true;
    }

    /// Whether a refusal at this time may pass: it has refused everything so far, and not for long.
    pub fn refused(&mut self, at: Duration) -> bool {
        let since = *self.refused.get_or_insert(at);
        !self.served && at.saturating_sub(since) < LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_may_pass_until_something_was_served_and_for_some_seconds() {
        let at = Duration::from_millis;
        let mut startup = Startup::default();
        assert!(startup.refused(at(10_000)) && startup.refused(at(12_999)));
        assert!(!startup.refused(at(13_000)));
        let mut startup = Startup::default();
        assert!(startup.refused(at(0)));
        startup.served();
        assert!(!startup.refused(at(1)));
    }
}
