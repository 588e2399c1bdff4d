//! Moving an identity from one binding to the other: what of the binding before stays for now, what goes, and what stands in the way.
//!
//! A pod keeps for life what the webhook gave it when it was created. So the old side goes only when no pod can need it any more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Refusal, role};
use crate::model::{
    anchor::{Anchor, StatementKind},
    association::{DesiredAssociation, ObservedAssociation, SessionTags},
    desired::{Desired, DesiredRole, DesiredServiceAccount, DesiredTrust},
    identity::{Binding, Keeper},
    names::{ServiceAccountName, Subject},
    observed::{AUDIENCE_ANNOTATION, EXPIRATION_ANNOTATION, Field, Observed, ObservedRole, ObservedServiceAccount, ROLE_ANNOTATION},
    pods::Use,
    record::ASSOCIATED_ROLE,
    registry,
    subjects::SubjectPattern,
};

/// What a pod that is created may get from the annotation, until the association is known.
const OF_IRSA: [&str; 3] = [ROLE_ANNOTATION, AUDIENCE_ANNOTATION, EXPIRATION_ANNOTATION];

/// How many pods a message names.
const NAMED: usize = 5;

/// What becomes of the binding that an identity had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before<'a> {
    /// It had no other.
    Nothing,
    /// IRSA stays beside the association.
    IrsaStays,
    /// IRSA goes.
    IrsaGoes,
    /// The association stays beside IRSA.
    AssociationStays,
    /// The association goes, if it has not gone already.
    AssociationGoes(Option<&'a ObservedAssociation>),
}

/// The decision, and what people should know of it.
pub(super) struct Move<'a> {
    pub(super) before: Before<'a>,
    pub(super) notes: Vec<String>,
}

impl Move<'_> {
    const NONE: Self = Self { before: Before::Nothing, notes: Vec::new() };

    /// The annotations that stay on the ServiceAccount beside the desired ones.
    pub(super) fn kept(&self, observed: Option<&ObservedServiceAccount>) -> BTreeMap<String, String> {
        let keys: &[&str] = match self.before {
            Before::IrsaStays => &OF_IRSA,
            // The record goes after what it records.
            Before::AssociationStays | Before::AssociationGoes(Some(_)) => &[ASSOCIATED_ROLE],
            Before::Nothing | Before::IrsaGoes | Before::AssociationGoes(None) => &[],
        };
        observed.map(|observed| observed.held_annotations(keys)).unwrap_or_default()
    }
}

/// What becomes of the binding before.
///
/// # Errors
/// Pods rely on what would have to go.
pub(super) fn decide<'a>(wanted: &DesiredServiceAccount, desired: &Desired, observed: &'a Observed) -> Result<Move<'a>, Refusal> {
    match (&wanted.binding, desired.associations.get(&wanted.subject.service_account)) {
        (Binding::PodIdentity(_), Some(association)) => Ok(to_pod_identity(wanted, association, desired, observed)),
        (Binding::PodIdentity(_), None) => Ok(Move::NONE),
        (Binding::Irsa { .. }, _) => to_irsa(wanted, desired, observed),
    }
}

/// | association | pods that have not ended | IRSA |
/// |---|---|---|
/// | not as desired, or made or changed less than five minutes ago | | stays |
/// | as desired for longer | not known | stays |
/// | as desired for longer | one of the ServiceAccount may have the role by a web identity | stays |
/// | as desired for longer | one of another ServiceAccount that comes in by what would go has it so | stays |
/// | as desired for longer | none has | goes |
fn to_pod_identity<'a>(
    wanted: &DesiredServiceAccount,
    association: &DesiredAssociation,
    desired: &Desired,
    observed: &Observed,
) -> Move<'a> {
    let subject = &wanted.subject;
    if !has_irsa(wanted, desired, observed) {
        return Move::NONE;
    }
    let found = associated(observed, &subject.service_account);
    let is_in_place =
        |found: &&ObservedAssociation| found.is_own() && found.settings == association.settings && found.is_known_everywhere(observed.at);
    let shut = shut_out(wanted, desired, observed);
    let waits = match (found.filter(is_in_place), &observed.pods) {
        (None, _) => "deploy again five minutes after the association was made or changed, when no pod uses IRSA any more".to_owned(),
        (Some(_), None) => "it waits, since it could not be seen which pods use IRSA".to_owned(),
        (Some(_), Some(pods)) => match still_by_irsa(wanted, &shut, pods, observed) {
            None => {
                let note = format!(
                    "ServiceAccount `{subject}` moves from IRSA to EKS Pod Identity, step 2 of 2: no pod uses IRSA any more, so what was made for it goes. The way back is another ServiceAccount name"
                );
                return Move { before: Before::IrsaGoes, notes: vec![note] };
            }
            Some(why) => why,
        },
    };
    let note = format!(
        "ServiceAccount `{subject}` moves from IRSA to EKS Pod Identity, step 1 of 2: both give the role. New pods get it by the association, pods that run keep IRSA. Step 2 takes IRSA away: {waits}{}",
        besides(&shut, subject)
    );
    Move { before: Before::IrsaStays, notes: vec![note] }
}

/// | association | pods that have not ended | outcome |
/// |---|---|---|
/// | somebody else's | | note: it wins over the annotation |
/// | the tool's | one relies on it | refusal |
/// | the tool's | not known | stays |
/// | the tool's | none relies on it | goes |
/// | gone, and its record or the trust of one environment's role is still there | | these go |
fn to_irsa<'a>(wanted: &DesiredServiceAccount, desired: &Desired, observed: &'a Observed) -> Result<Move<'a>, Refusal> {
    let subject = &wanted.subject;
    let found = associated(observed, &subject.service_account);
    if let Some(found) = found.filter(|found| !found.is_own()) {
        let note = format!(
            "ServiceAccount `{subject}` has association `{}` with role `{}`, which this tool did not make: new pods get that role, whatever the annotation says",
            found.id, found.settings.role
        );
        return Ok(Move { before: Before::Nothing, notes: vec![note] });
    }
    let stays = |why: &str| {
        let note = format!("ServiceAccount `{subject}` should get its role by IRSA, but its association stays: {why}");
        Ok(Move { before: Before::AssociationStays, notes: vec![note] })
    };
    match (found, &observed.pods, &observed.associations) {
        (Some(_), None, _) => stays("it could not be seen whether pods rely on it"),
        (Some(found), Some(pods), _) => {
            let relies = |used: &&Use| used.service_account == subject.service_account.as_str() && used.relies_on_association();
            if let Some(pods) = named(pods.iter().filter(relies).map(|used| used.user.clone())) {
                return Err(Refusal::AssociationInUse { subject: subject.clone(), pods });
            }
            let note = format!(
                "ServiceAccount `{subject}` moves from EKS Pod Identity to IRSA: no pod relies on its association, which goes. Start pods a minute later: until then one may still be told of it, and must be restarted"
            );
            Ok(Move { before: Before::AssociationGoes(Some(found)), notes: vec![note] })
        }
        (None, _, None) if may_have_association(wanted, desired, observed) => stays("it could not be looked for"),
        (None, _, Some(_)) if may_have_association(wanted, desired, observed) => {
            Ok(Move { before: Before::AssociationGoes(None), notes: Vec::new() })
        }
        (None, ..) => Ok(Move::NONE),
    }
}

fn associated<'a>(observed: &'a Observed, service_account: &ServiceAccountName) -> Option<&'a ObservedAssociation> {
    observed.associations.as_ref().and_then(|found| found.get(service_account))
}

/// The first of them, and how many more there are.
fn named(all: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(NAMED);
    let first = all.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(first),
        (false, more) => Some(format!("{first} and {more} more")),
    }
}

/// What must happen before IRSA goes, with the pods that would lose the role; those that are terminating still need it.
fn still_by_irsa(wanted: &DesiredServiceAccount, shut: &BTreeSet<SubjectPattern>, pods: &[Use], observed: &Observed) -> Option<String> {
    let (own, others): (Vec<&Use>, Vec<&Use>) =
        pods.iter().partition(|used| used.service_account == wanted.subject.service_account.as_str());
    let roles = roles_before(wanted, observed);
    let own = named(own.iter().filter(|used| used.may_have_by_web_identity(&roles)).map(|used| used.user.clone()));
    let role = wanted.role.to_string();
    let comes_in = |used: &&Use| {
        let subject = |service_account| Subject { namespace: wanted.subject.namespace.clone(), service_account };
        let subject = used.service_account.parse().ok().map(|name| SubjectPattern::from(&subject(name)));
        subject.is_some_and(|subject| covered(&subject, shut)) && used.roles.contains(&role) && used.has_web_identity()
    };
    let others: Vec<&Use> = others.into_iter().filter(comes_in).collect();
    let accounts: BTreeSet<String> = others.iter().map(|used| format!("`{}`", used.service_account)).collect();
    let others = named(accounts.into_iter()).zip(named(others.iter().map(|used| used.user.clone())));
    let own = own.map(|pods| format!("restart the pods that still use IRSA, then deploy again: {pods}"));
    let others = others.map(|(accounts, pods)| {
        format!("pods of other ServiceAccounts have the role by what would go: {accounts}. Give each an identity of its own where it has none, restart its pods, then deploy again: {pods}")
    });
    let all: Vec<String> = own.into_iter().chain(others).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn covered(subject: &SubjectPattern, by: &BTreeSet<SubjectPattern>) -> bool {
    by.iter().any(|pattern| pattern.covers(subject))
}

/// Who comes in by IRSA beside the identity, and no longer does once it has left: `extraSubjects` of before.
fn shut_out(wanted: &DesiredServiceAccount, desired: &Desired, observed: &Observed) -> BTreeSet<SubjectPattern> {
    let Some((role, found)) = desired.roles.get(&wanted.role.name).zip(observed.roles.get(&wanted.role.name)) else {
        return BTreeSet::new();
    };
    let sides = desired.sides(role).filter(|side| matches!(side.anchor, Anchor::PodIdentity(..)));
    let left = BTreeSet::from([wanted.subject.clone()]);
    let shut = sides.flat_map(|side| role::shut_out(&side, found, &desired.provider, &left));
    let stays = desired.service_accounts.iter().filter(|account| account.role == wanted.role && account.binding.audience().is_some());
    let stays: BTreeSet<SubjectPattern> =
        stays.map(|account| &account.subject).chain([&wanted.subject]).map(SubjectPattern::from).collect();
    shut.filter(|subject| !stays.contains(subject)).collect()
}

/// The same in words, before it is done: pods that do not run at the moment, and those of other namespaces, are not seen.
fn besides(shut: &BTreeSet<SubjectPattern>, subject: &Subject) -> String {
    let word = |pattern: &SubjectPattern| match pattern.parts() {
        Some((namespace, account)) => format!("`{namespace}/{account}`"),
        None => format!("`{pattern}`"),
    };
    if shut.is_empty() {
        return String::new();
    }
    let is_elsewhere = |pattern: &SubjectPattern| pattern.parts().is_none_or(|(namespace, _)| namespace != subject.namespace.as_str());
    let unseen = if shut.iter().any(is_elsewhere) { ". Pods of other namespaces cannot be seen from here" } else { "" };
    let all = shut.iter().map(word).collect::<Vec<_>>().join(", ");
    format!(". Step 2 also takes it from {all}, which need an identity of their own first{unseen}")
}

/// The roles that pods of the ServiceAccount may have by its annotation, of now or of before.
fn roles_before(wanted: &DesiredServiceAccount, observed: &Observed) -> BTreeSet<String> {
    let account = observed.service_accounts.get(&wanted.subject.service_account);
    let annotated = account.and_then(|account| account.values.get(&Field::Annotation(ROLE_ANNOTATION.to_owned()))).cloned();
    let earlier = account.map(ObservedServiceAccount::earlier_roles).unwrap_or_default();
    let earlier = earlier.iter().map(|(role, _)| role.to_string());
    earlier.chain(annotated).chain([wanted.role.to_string()]).collect()
}

/// The roles that pods of an identity by EKS Pod Identity still have by IRSA, as long as it moves from there; else none.
#[must_use]
pub fn roles_by_irsa(wanted: &DesiredServiceAccount, desired: &Desired, observed: &Observed) -> BTreeSet<String> {
    if has_irsa(wanted, desired, observed) { roles_before(wanted, observed) } else { BTreeSet::new() }
}

/// Whether the identity has IRSA by anything that the tool has made: the annotation, or the trust of its role.
fn has_irsa(wanted: &DesiredServiceAccount, desired: &Desired, observed: &Observed) -> bool {
    let account = observed.service_accounts.get(&wanted.subject.service_account).filter(|_| wanted.keeper == Keeper::Tool);
    let is_annotated = account.is_some_and(|account| !account.held_annotations(&[ROLE_ANNOTATION]).is_empty());
    let (role, found) = (desired.roles.get(&wanted.role.name), observed.roles.get(&wanted.role.name));
    is_annotated || role.zip(found).is_some_and(|(role, found)| lets_in_by_irsa(role, found, desired, &wanted.subject))
}

fn lets_in_by_irsa(role: &DesiredRole, found: &ObservedRole, desired: &Desired, subject: &Subject) -> bool {
    let anchor = Anchor::Oidc(desired.provider.clone());
    match &role.trust {
        DesiredTrust::Environment { .. } => !found.trust.own_subjects(&anchor, StatementKind::Subjects).is_empty(),
        DesiredTrust::Registry { .. } | DesiredTrust::Patterns(_) => {
            registry::entries(&found.tags, &desired.provider.issuer).iter().any(|entry| entry.declared_by == *subject)
        }
    }
}

/// Whether there was an association, as far as this shows without a look at it: by its record, or by the trust of one environment's role.
fn may_have_association(wanted: &DesiredServiceAccount, desired: &Desired, observed: &Observed) -> bool {
    let account = observed.service_accounts.get(&wanted.subject.service_account);
    let is_recorded = account.is_some_and(|account| !account.held_annotations(&[ASSOCIATED_ROLE]).is_empty());
    let (role, found) = (desired.roles.get(&wanted.role.name), observed.roles.get(&wanted.role.name));
    let admits = |(role, found): (&DesiredRole, &ObservedRole)| !role.trust.is_of_many() && !found.trust.pod_identity_anchors().is_empty();
    is_recorded || role.zip(found).is_some_and(admits)
}

/// What the trust of a role asks of the sessions of pods, while an association changes: nothing that a session of now does not have.
///
/// EKS knows a changed association only some time later. So a trust that asks for no session tags stays so until every association has been
/// known for long enough to give them; the trust of many environments, until somebody takes the statement away.
pub(super) fn widest(wanted: &DesiredRole, desired: &Desired, observed: &Observed) -> (Anchor, Option<String>) {
    let Anchor::PodIdentity(cluster, SessionTags::On) = &wanted.anchor else { return (wanted.anchor.clone(), None) };
    let role = &wanted.arn.name;
    let kind = match &wanted.trust {
        DesiredTrust::Patterns(trusted) => trusted.kind,
        DesiredTrust::Environment { .. } | DesiredTrust::Registry { .. } => StatementKind::Subjects,
    };
    let found = observed.roles.get(role).map(|found| found.trust.own_subjects(&wanted.anchor, kind)).unwrap_or_default();
    if !found.contains(&SubjectPattern::everybody()) {
        return (wanted.anchor.clone(), None);
    }
    let of_role = desired.associations.values().filter(|association| association.settings.role.name == *role);
    let gives_tags = |association: &DesiredAssociation| {
        let found = associated(observed, &association.subject.service_account);
        found.is_none_or(|found| found.settings.session_tags == SessionTags::On && found.is_known_everywhere(observed.at))
    };
    let why = if wanted.trust.is_of_many() {
        "associations of other environments may give none yet. Once none does, remove its statement for EKS Pod Identity by hand, and deploy"
    } else if of_role.into_iter().all(gives_tags) {
        return (wanted.anchor.clone(), None);
    } else {
        "EKS has to know first that the association gives them. A deploy five minutes later does so"
    };
    let note = format!("role `{role}`: its trust policy does not ask for session tags yet: {why}");
    (Anchor::PodIdentity(cluster.clone(), SessionTags::Off), Some(note))
}

/// What is done to an association in the same plan that makes or changes the trust of its role: what no pod relies on yet.
///
/// IAM may show the trust of before for a while. Where pods have their role already, the association follows when the trust shows.
pub(super) fn in_time(
    actions: Vec<Action>,
    role: &[Action],
    before: Before<'_>,
    found: Option<&ObservedAssociation>,
) -> (Vec<Action>, Option<String>) {
    let widens = role.iter().any(|action| matches!(action, Action::CreateRole(_) | Action::UpdateTrust { .. }));
    let is_used = found.is_some() || before == Before::IrsaStays;
    let relies = |action: &Action| {
        matches!(action, Action::CreateAssociation(_) | Action::UpdateAssociation { .. } | Action::DeleteAssociation { .. })
    };
    if !(widens && is_used && actions.iter().any(relies)) {
        return (actions, None);
    }
    let left = actions.iter().filter(|action| relies(action)).map(ToString::to_string).collect::<Vec<_>>().join(", then ");
    (actions.into_iter().filter(|action| !relies(action)).collect(), Some(format!("once the trust of its role shows: {left}")))
}

/// The identities of a role that leave IRSA now.
pub(super) fn leaving<'a>(moves: impl Iterator<Item = (&'a DesiredServiceAccount, Before<'a>)>) -> BTreeSet<Subject> {
    moves.filter(|(_, before)| *before == Before::IrsaGoes).map(|(wanted, _)| wanted.subject.clone()).collect()
}
