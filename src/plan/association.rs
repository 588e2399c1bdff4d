//! The association of an identity with EKS Pod Identity: what makes it as it should be.

use super::{Action, Refusal};
use crate::model::{
    association::{DesiredAssociation, ObservedAssociation},
    gather::Gather as _,
};

/// | observed | outcome |
/// |---|---|
/// | absent | create it |
/// | the tool's | what differs; what no update can take away is made anew |
/// | an add-on's, or somebody else's | refusal |
pub(super) fn start(desired: &DesiredAssociation, observed: Option<&ObservedAssociation>) -> Result<Vec<Action>, Refusal> {
    let Some(observed) = observed else {
        return Ok(vec![Action::CreateAssociation(Box::new(desired.clone()))]);
    };
    if !observed.is_own() {
        return Err(Refusal::ForeignAssociation { observed: Box::new(observed.clone()) });
    }
    let (cluster, id, subject) = (desired.cluster.clone(), observed.id.clone(), desired.subject.clone());
    let (wanted, present) = (&desired.settings, &observed.settings);
    // An update that does not name them leaves them as they are.
    let takes_away =
        (present.target.is_some() && wanted.target.is_none()) || (present.session_policy.is_some() && wanted.session_policy.is_none());
    if takes_away {
        return Ok(vec![Action::DeleteAssociation { cluster, id, subject }, Action::CreateAssociation(Box::new(desired.clone()))]);
    }
    if let (Some(wanted), Some(present)) = (&desired.external_id, &observed.external_id)
        && wanted != present
    {
        return Err(Refusal::OtherExternalId {
            subject,
            target: Box::new(observed.settings.of_pods().clone()),
            wanted: wanted.to_string(),
            observed: present.to_string(),
        });
    }
    let mut actions = Vec::new();
    if wanted != present {
        actions.push(Action::UpdateAssociation { cluster, id, subject: subject.clone(), settings: wanted.clone() });
    }
    let tags: std::collections::BTreeMap<_, _> =
        desired.all_tags().into_iter().filter(|(key, value)| observed.tags.get(key) != Some(value)).gather();
    if !tags.is_empty() {
        actions.push(Action::TagAssociation { arn: observed.arn.clone(), subject, tags });
    }
    Ok(actions)
}
