//! The agent of EKS Pod Identity: without it an association gives pods nothing. Asked for only where one is to be made.

use super::{Action, Goal, Refusal, association};
use crate::model::{association::KnownAgent, desired::Desired, observed::Observed};

/// Whether the plan depends on the agent, and nobody has looked for it.
#[must_use]
pub fn asks_for_agent(goal: Goal, desired: &Desired, observed: &Observed) -> bool {
    goal == Goal::Start && observed.agent == KnownAgent::NotRead && associates(desired, observed)
}

/// Whether an association is to be made.
fn associates(desired: &Desired, observed: &Observed) -> bool {
    desired.associations.iter().any(|(name, wanted)| {
        let found = observed.associations.as_ref().and_then(|found| found.get(name));
        association::start(wanted, found).is_ok_and(|actions| actions.iter().any(|action| matches!(action, Action::CreateAssociation(_))))
    })
}

/// | an association is to be made, and the agent | outcome |
/// |---|---|
/// | runs, or nobody looked | nothing said |
/// | could not be seen | a note, and the deploy goes on |
/// | is missing | refusal, before anything is changed |
pub(super) fn start(desired: &Desired, observed: &Observed) -> Result<Option<String>, Refusal> {
    let cluster = || desired.place.cluster.as_ref().map(ToString::to_string).unwrap_or_default();
    match &observed.agent {
        KnownAgent::Missing if associates(desired, observed) => Err(Refusal::NoAgent(cluster())),
        KnownAgent::Unknown(why) if associates(desired, observed) => Ok(Some(format!(
            "it is not known whether cluster `{}` runs the EKS Pod Identity agent, without which pods get no role by an association: {why}",
            cluster()
        ))),
        KnownAgent::NotRead | KnownAgent::Runs(_) | KnownAgent::Missing | KnownAgent::Unknown(_) => Ok(None),
    }
}
