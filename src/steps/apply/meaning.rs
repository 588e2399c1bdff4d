//! What the failure of an action means: decided from the action, its lane and the kind of the failure alone.

use crate::{
    clients::call::{DocumentFault, ErrorKind, Missing, RoleFault},
    model::names::RoleName,
    plan::{Action, Writers},
};

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What the action takes away is gone already.
    Done,
    /// IAM and EKS do not show everywhere yet what was just made: the same call may pass.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>
    Settling,
    /// Somebody else was faster: what there is must be observed again.
    Overtaken,
    /// The action failed.
    Failed,
}

/// | failure | action | meaning |
/// |---|---|---|
/// | the thing is missing | takes it away | done |
/// | the role is missing | the lane has just created it | settling |
/// | EKS does not see the role of an association, or not its trust | the lane has just created or changed it | settling |
/// | a principal is unknown | the trust policy names none that is deleted for certain | settling |
/// | the thing exists | any | overtaken |
/// | the association is missing | changes it | overtaken |
/// | the role is missing | changes a role with many writers | overtaken |
/// | the role is in use | deletes a role with many writers | overtaken |
/// | anything else | | failed |
///
/// That an association exists EKS also says for a while after it was deleted: the next look shows which it is.
/// <https://github.com/aws-controllers-k8s/community/issues/2684>
pub(super) fn meaning(action: &Action, lane: &[Action], writers: Writers, failure: &ErrorKind) -> Meaning {
    let is_new = |name: &str| {
        lane.iter().any(|other| matches!(other, Action::CreateRole(role) if other != action && role.arn.name.as_str() == name))
    };
    let is_changed = |name: &RoleName| lane.iter().any(|other| other != action && other.changes_chain_to(name));
    let of_many = writers == Writers::Many;
    match (failure, action) {
        (ErrorKind::NotFound(_), action) if action.takes_from_role() || action.takes_from_association() => Meaning::Done,
        (ErrorKind::NotFound(Missing::Role(name)), _) if is_new(name) => Meaning::Settling,
        // IAM does not say which principal it does not know: one that was made a moment ago may show.
        (ErrorKind::Document(DocumentFault::Principal), action) if !names_the_deleted(action) => Meaning::Settling,
        (ErrorKind::Role(RoleFault::Missing | RoleFault::Trust), action) if action.associated_role().is_some_and(is_changed) => {
            Meaning::Settling
        }
        (ErrorKind::AlreadyExists, _) | (ErrorKind::NotFound(_), Action::UpdateAssociation { .. } | Action::TagAssociation { .. }) => {
            Meaning::Overtaken
        }
        (ErrorKind::NotFound(_), Action::TagRole { .. } | Action::UpdateTrust { .. } | Action::UpdateRole { .. }) if of_many => {
            Meaning::Overtaken
        }
        (ErrorKind::InUse, Action::DeleteRole { .. }) if of_many => Meaning::Overtaken,
        _ => Meaning::Failed,
    }
}

/// Whether it writes back a principal that no longer exists.
fn names_the_deleted(action: &Action) -> bool {
    matches!(action, Action::UpdateTrust { trust, .. } if !trust.deleted_principals().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        association::{AssociationId, AssociationSettings, DesiredAssociation, SessionTags},
        trust::TrustPolicy,
    };

    #[test]
    fn a_failure_means_what_the_table_says() {
        let role = || "app".parse().unwrap();
        let tag = || Action::TagRole { role: role(), tags: [].into() };
        let delete = || Action::DeleteRole { role: role() };
        let trust = |text: &str| Action::UpdateTrust {
            role: role(),
            trust: TrustPolicy::parse(text).unwrap(),
            subjects: crate::plan::SubjectChange::default(),
        };
        let new = || {
            Action::CreateRole(Box::new(crate::model::role::NewRole {
                arn: "arn:aws:iam::123456789012:role/app".parse().unwrap(),
                trust: TrustPolicy::parse(r#"{"Statement":[]}"#).unwrap(),
                subjects: [].into(),
                settings: crate::model::role::RoleSettings::default(),
                permissions_boundary: None,
                tags: [].into(),
            }))
        };
        let subject = || "z1/app".parse().unwrap();
        let settings = || AssociationSettings {
            role: "arn:aws:iam::123456789012:role/app".parse().unwrap(),
            target: None,
            session_tags: SessionTags::On,
            session_policy: None,
        };
        let (cluster, id) = (|| "demo".parse().unwrap(), || AssociationId::read("a-1"));
        let associate = || {
            Action::CreateAssociation(Box::new(DesiredAssociation {
                cluster: cluster(),
                subject: subject(),
                settings: settings(),
                external_id: None,
                tags: [].into(),
                kept: [].into(),
                job: None,
            }))
        };
        let update = || Action::UpdateAssociation { cluster: cluster(), id: id(), subject: subject(), settings: settings() };
        let tag_association =
            || Action::TagAssociation { cluster: cluster(), id: id(), arn: "arn".to_owned(), subject: subject(), tags: [].into() };
        let disassociate = || Action::DeleteAssociation { cluster: cluster(), id: id(), subject: subject() };
        let unseen = ErrorKind::Role;
        let missing = || ErrorKind::NotFound(Missing::Role("app".to_owned()));
        let other = || ErrorKind::NotFound(Missing::Role("other".to_owned()));
        let live = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}]}"#;
        let deleted = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"AROAEXAMPLEEXAMPLE123"},"Action":"sts:AssumeRole"}]}"#;
        let principal = || ErrorKind::Document(DocumentFault::Principal);
        let gone = || ErrorKind::NotFound(Missing::Thing);
        let cases = [
            (disassociate(), vec![disassociate()], Writers::One, gone(), Meaning::Done),
            (disassociate(), vec![disassociate()], Writers::One, ErrorKind::denied(), Meaning::Failed),
            (delete(), vec![delete()], Writers::One, missing(), Meaning::Done),
            (delete(), vec![delete()], Writers::Many, missing(), Meaning::Done),
            (tag(), vec![new(), tag()], Writers::One, missing(), Meaning::Settling),
            (tag(), vec![new(), tag()], Writers::Many, missing(), Meaning::Settling),
            (tag(), vec![new(), tag()], Writers::One, other(), Meaning::Failed),
            (tag(), vec![tag()], Writers::One, missing(), Meaning::Failed),
            (tag(), vec![tag()], Writers::Many, missing(), Meaning::Overtaken),
            (trust(live), vec![trust(live)], Writers::One, principal(), Meaning::Settling),
            (trust(deleted), vec![trust(deleted)], Writers::One, principal(), Meaning::Failed),
            (new(), vec![new()], Writers::One, ErrorKind::AlreadyExists, Meaning::Overtaken),
            (delete(), vec![delete()], Writers::One, ErrorKind::InUse, Meaning::Failed),
            (delete(), vec![delete()], Writers::Many, ErrorKind::InUse, Meaning::Overtaken),
            (tag(), vec![tag()], Writers::Many, ErrorKind::denied(), Meaning::Failed),
            (associate(), vec![new(), associate()], Writers::One, unseen(RoleFault::Missing), Meaning::Settling),
            (associate(), vec![trust(live), associate()], Writers::Many, unseen(RoleFault::Trust), Meaning::Settling),
            (associate(), vec![tag(), associate()], Writers::One, unseen(RoleFault::Trust), Meaning::Failed),
            (associate(), vec![new(), associate()], Writers::One, unseen(RoleFault::OtherAccount), Meaning::Failed),
            (associate(), vec![disassociate(), associate()], Writers::One, ErrorKind::AlreadyExists, Meaning::Overtaken),
            (associate(), vec![associate()], Writers::One, ErrorKind::NotFound(Missing::Thing), Meaning::Failed),
            (update(), vec![trust(live), update()], Writers::One, unseen(RoleFault::Trust), Meaning::Settling),
            (update(), vec![update()], Writers::One, ErrorKind::NotFound(Missing::Thing), Meaning::Overtaken),
            (tag_association(), vec![tag_association()], Writers::One, ErrorKind::NotFound(Missing::Thing), Meaning::Overtaken),
            (disassociate(), vec![disassociate()], Writers::One, ErrorKind::NotFound(Missing::Thing), Meaning::Done),
            (update(), vec![update()], Writers::One, ErrorKind::Protected, Meaning::Failed),
        ];
        for (number, (action, lane, writers, failure, expected)) in (1..).zip(cases) {
            assert_eq!(meaning(&action, &lane, writers, &failure), expected, "{number}");
        }
    }
}
