//! The ServiceAccount: which fields the tool applies, when another manager's value stands in the way, and what a removal leaves.
//!
//! It is also the environment's record: it carries the marks of the jobs that want it, and each role that it had until that is left.
//! Each job writes its mark by a field manager of its own: an apply takes away what its field manager held before and does not name now,
//! and two jobs that write at the same moment do not see each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Refusal};
use crate::model::{
    applied::{AppliedServiceAccount, Applying, Seen},
    arn::RoleArn,
    date::Date,
    desired::DesiredServiceAccount,
    gather::Gather as _,
    identity::Binding,
    lack::binding_annotations,
    marks::{self, JobMark, Mark},
    names::Subject,
    observed::{AUDIENCE_ANNOTATION, Field, MANAGED_BY, ObservedServiceAccount, ROLE_ANNOTATION, is_restorer, is_tools},
    oidc::Audience,
    record::{ASSOCIATED_ROLE, EARLIER_ROLES},
};

/// What a mark says until it is removed.
const LEAVING: &str = "leaving";

/// What makes a ServiceAccount as desired.
#[derive(Default)]
pub(super) struct Applies {
    /// Before anything is done to the role that it is about to have: the role is recorded.
    pub(super) first: Option<Action>,
    /// When the role is ready.
    pub(super) last: Vec<Action>,
    /// What people should know.
    pub(super) notes: Vec<String>,
}

/// | observed | action |
/// |---|---|
/// | absent | create it, marked as the tool's |
/// | each field as desired and held by the tool, none other held | none |
/// | being deleted | refusal: the object will not come back |
/// | a field of one that the tool has touched differs, and a person has changed it by hand | set it back |
/// | a field differs and another manager holds it | refusal |
/// | another role, set by the tool | record the new role, and in the end apply it and record the old one |
/// | no record of an association that is to be made | record its role |
/// | otherwise | apply: takes shared hold of equal fields, lets go of those no longer desired |
///
/// `kept`: annotations of the other binding that stay beside the desired ones.
pub(super) fn start(
    desired: &DesiredServiceAccount,
    observed: Option<&ObservedServiceAccount>,
    kept: &BTreeMap<String, String>,
    at: Date,
) -> Result<Applies, Vec<Refusal>> {
    if observed.is_some_and(|observed| observed.ends) {
        return Err(vec![Refusal::ServiceAccountEnds(desired.subject.clone())]);
    }
    let mut applied = AppliedServiceAccount {
        subject: desired.subject.clone(),
        role: Some(desired.role.clone()),
        how: if observed.is_none() { Applying::Create } else { Applying::Apply },
        seen: None,
        annotations: kept.clone().into_iter().chain(desired.annotations.clone()).collect(),
        labels: desired.labels.clone(),
        automount: desired.automount,
        taken: BTreeSet::new(),
    };
    if observed.is_none_or(ObservedServiceAccount::is_made_by_tool) {
        applied.labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    }
    let others = observed.iter().flat_map(|observed| earlier_marks(observed));
    applied.labels.extend(others.filter(|(key, _)| desired.job.as_ref().is_none_or(|job| *key != job.label())));
    let mark = desired.job.as_ref().and_then(|job| wanted(&desired.subject, observed, job));
    let Some(observed) = observed else {
        return Ok(Applies { last: [apply(applied)].into_iter().chain(mark).collect(), ..Applies::default() });
    };
    let stays: BTreeSet<&String> = [ROLE_ANNOTATION, ASSOCIATED_ROLE].iter().filter_map(|key| applied.annotations.get(*key)).collect();
    let (staying, leaving): (Vec<_>, Vec<_>) = observed.roles().into_iter().partition(|(arn, _)| stays.contains(arn));
    let mut earlier = observed.earlier_roles();
    for (_, role) in &leaving {
        earlier.add(role, at);
    }
    for (_, role) in &staying {
        earlier.remove(role);
    }
    earlier.remove(&desired.role);
    // A role that it has already, by whichever binding, is no other.
    let changes = !leaving.is_empty() && staying.iter().all(|(_, role)| *role != desired.role);
    applied.annotations.extend(earlier.render().map(|text| (EARLIER_ROLES.to_owned(), text)));
    let fields = applied.fields();
    let mut refusals: Vec<Refusal> = Vec::new();
    let mut notes = Vec::new();
    let own_mark = desired.job.iter().map(|job| (Field::Label(job.label()), Mark::Wanted.value()));
    let own_mark: BTreeMap<Field, String> = own_mark.filter(|_| mark.is_some()).gather();
    for (field, value) in fields.iter().chain(&own_mark) {
        match conflict(&applied.subject, field, value, observed) {
            None => {}
            Some(Conflict::Taken(note)) => {
                if fields.contains_key(field) {
                    applied.taken.insert(field.clone());
                    if note.is_some() {
                        applied.how = Applying::SetBack;
                    }
                }
                notes.extend(note);
            }
            Some(Conflict::Refused(refusal)) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let takes_role = applied.taken.contains(&Field::Annotation(ROLE_ANNOTATION.to_owned()));
    if !applied.taken.is_empty() && changes && !takes_role {
        // First what was there before, so that what is forced is what was seen; the other role follows.
        return Ok(Applies { first: None, last: vec![apply(set_back(&applied, observed))], notes });
    }
    let in_place = fields.iter().all(|(field, value)| observed.values.get(field) == Some(value) && observed.held_by_tool(field));
    let nothing_else = observed.managers.keys().all(|field| fields.contains_key(field) || !observed.held_by_tool(field));
    if in_place && nothing_else {
        return Ok(Applies { first: None, last: mark.into_iter().collect(), notes });
    }
    let mut record = observed.earlier_roles();
    let associates = matches!(desired.binding, Binding::PodIdentity(_)) && observed.associated_role().is_none();
    let before = (associates || (changes && !record.contains(&desired.role) && !takes_role)).then(|| {
        let mut before = held(&applied.subject, observed, Applying::Record);
        if associates {
            before.annotations.insert(ASSOCIATED_ROLE.to_owned(), desired.role.to_string());
        } else {
            record.add(&desired.role, at);
            before = with_record(before, record.render());
        }
        before
    });
    if before.as_ref().is_some_and(|before| before.fields() == applied.fields()) {
        // The record is all there is to do.
        applied.seen = Some(seen(observed));
        return Ok(Applies { first: Some(apply(applied)), last: mark.into_iter().collect(), notes });
    }
    let first = before.map(|before| apply_held(before, observed));
    // What was recorded before has given it another version.
    applied.seen = first.is_none().then(|| seen(observed));
    Ok(Applies { first, last: [apply(applied)].into_iter().chain(mark).collect(), notes })
}

/// What takes the record of an association from it, once it is as desired and the association is gone.
pub(super) fn without_record(desired: &DesiredServiceAccount, observed: &ObservedServiceAccount, at: Date) -> Option<Action> {
    let applies = start(desired, Some(observed), &BTreeMap::new(), at).ok()?;
    let whole = applies.first.into_iter().chain(applies.last).find_map(|action| match action {
        Action::ApplyServiceAccount(whole) if whole.how != Applying::Record => Some(*whole),
        _ => None,
    });
    whole.map(|applied| apply(AppliedServiceAccount { how: Applying::Forget, seen: None, taken: BTreeSet::new(), ..applied }))
}

/// The mark of a job that wants it, if that is not on it.
fn wanted(subject: &Subject, observed: Option<&ObservedServiceAccount>, job: &JobMark) -> Option<Action> {
    if observed.is_some_and(|observed| observed.is_marked_by(job) && observed.marks().of(Some(job)) == Some(Mark::Wanted)) {
        return None;
    }
    let uid = observed.map(|observed| observed.uid.clone());
    // Whose value may not be taken is refused before.
    let force = observed.is_some_and(|observed| observed.others(&Field::Label(job.label())).next().is_some());
    Some(Action::MarkServiceAccount { subject: subject.clone(), job: job.clone(), mark: Some(Mark::Wanted), uid, force })
}

/// That pods must be restarted because the audience of their tokens changes: a pod that runs keeps asking for tokens of the old one, which
/// the role takes no longer.
pub(super) fn audience_note(desired: &DesiredServiceAccount, observed: Option<&ObservedServiceAccount>) -> Option<String> {
    desired.binding.audience()?;
    let default = Audience::default().to_string();
    // A ServiceAccount that was not bound has no pods with such tokens.
    let observed = observed.filter(|observed| observed.values.contains_key(&Field::Annotation(ROLE_ANNOTATION.to_owned())))?;
    let before = observed.values.get(&Field::Annotation(AUDIENCE_ANNOTATION.to_owned())).unwrap_or(&default);
    let after = desired.annotations.get(AUDIENCE_ANNOTATION).unwrap_or(&default);
    let Subject { namespace, service_account } = &desired.subject;
    (before != after).then(|| {
        format!(
            "ServiceAccount `{}`: the audience of its tokens changes from `{before}` to `{after}`. Pods that run keep tokens for `{before}`, which the role no longer takes: restart those that `kubectl -n {namespace} get pods --field-selector spec.serviceAccountName={service_account}` lists",
            desired.subject
        )
    })
}

/// Dates the mark of a job whose manifest no longer names the ServiceAccount.
pub(super) fn date(subject: &Subject, observed: &ObservedServiceAccount, job: &JobMark, at: Date) -> Vec<Action> {
    mark(subject, observed, job, Some(Mark::LeftSince(at)))
}

/// Sets the mark of a job, or takes it away.
fn mark(subject: &Subject, observed: &ObservedServiceAccount, job: &JobMark, mark: Option<Mark>) -> Vec<Action> {
    let (mut actions, label) = (Vec::new(), Field::Label(job.label()));
    let is_brought_back = observed.others(&label).next().is_some();
    if mark.is_none() && is_brought_back && observed.is_left_to_tool(&label) {
        // What somebody else holds too stays when the tool lets go of it. Whose value is overwritten holds it no more.
        let mut applied = held(subject, observed, Applying::Unmark);
        applied.labels.insert(job.label(), LEAVING.to_owned());
        return vec![apply_held(applied, observed)];
    }
    if observed.held_by_tool(&label) {
        let mut applied = held(subject, observed, Applying::Unmark);
        applied.labels.remove(&job.label());
        actions.push(apply_held(applied, observed));
    }
    if mark.is_some() || observed.is_marked_by(job) {
        let uid = Some(observed.uid.clone());
        actions.push(Action::MarkServiceAccount { subject: subject.clone(), job: job.clone(), mark, uid, force: is_brought_back });
    }
    actions
}

/// Drops roles from its record that it has left; nothing if they are not recorded.
pub(super) fn forget(subject: &Subject, observed: &ObservedServiceAccount, left: &BTreeSet<RoleArn>) -> Option<Action> {
    let mut record = observed.earlier_roles();
    if !left.iter().any(|role| record.contains(role)) {
        return None;
    }
    for role in left {
        record.remove(role);
    }
    Some(apply_held(with_record(held(subject, observed, Applying::Forget), record.render()), observed))
}

/// Takes it from a job. While another job wants it, only the job's mark goes. Else one that the tool created and nobody else holds a field
/// of is deleted; of any other only the tool's fields go.
pub(super) fn remove(subject: &Subject, observed: &ObservedServiceAccount, job: Option<&JobMark>, gone: &BTreeSet<JobMark>) -> Vec<Action> {
    if !observed.marks().others(job, gone).is_empty() {
        return job.map(|job| mark(subject, observed, job, None)).unwrap_or_default();
    }
    if is_deletable(observed) {
        return vec![Action::DeleteServiceAccount { subject: subject.clone(), seen: seen(observed) }];
    }
    release(subject, observed)
}

/// The same, of one that somebody else keeps now: it is never deleted.
pub(super) fn leave(subject: &Subject, observed: &ObservedServiceAccount, job: Option<&JobMark>, gone: &BTreeSet<JobMark>) -> Vec<Action> {
    if !observed.marks().others(job, gone).is_empty() {
        return job.map(|job| mark(subject, observed, job, None)).unwrap_or_default();
    }
    release(subject, observed)
}

/// Lets go of one that somebody else keeps now (`roleOnly`).
///
/// | observed | action |
/// |---|---|
/// | absent, being deleted, or nothing of it is the tool's | none |
/// | another job wants it | only this job's mark goes |
/// | the tool alone says which role its pods get, they still need the binding before (`kept`), or it records roles that are not left yet | all but this goes |
/// | otherwise | all that is the tool's goes |
pub(super) fn let_go(
    desired: &DesiredServiceAccount,
    observed: Option<&ObservedServiceAccount>,
    kept: &BTreeMap<String, String>,
    gone: &BTreeSet<JobMark>,
    at: Date,
) -> Vec<Action> {
    let Some(observed) = observed.filter(|observed| observed.is_touched() && !observed.ends) else { return Vec::new() };
    let (subject, job) = (&desired.subject, desired.job.as_ref());
    let is_wanted_by_others = !observed.marks().others(job, gone).is_empty();
    let kept = needed(desired, observed, kept, at);
    if is_wanted_by_others || kept.annotations.is_empty() {
        return leave(subject, observed, job, gone);
    }
    let fields = kept.fields();
    let in_place = fields.iter().all(|(field, value)| observed.values.get(field) == Some(value) && observed.held_by_tool(field));
    let nothing_else = observed.managers.keys().all(|field| fields.contains_key(field) || !observed.held_by_tool(field));
    let apply = (!in_place || !nothing_else).then(|| apply_held(kept, observed));
    let uid = Some(observed.uid.clone());
    let marked = job.filter(|job| observed.is_marked_by(job)).cloned();
    let unmark = marked.map(|job| Action::MarkServiceAccount { subject: subject.clone(), job, mark: None, uid, force: false });
    apply.into_iter().chain(unmark).collect()
}

/// What the tool holds on to of a ServiceAccount that somebody else keeps now: until that one says itself which role the pods get, they have
/// it by the tool's word.
fn needed(
    desired: &DesiredServiceAccount,
    observed: &ObservedServiceAccount,
    kept: &BTreeMap<String, String>,
    at: Date,
) -> AppliedServiceAccount {
    let mut earlier = observed.earlier_roles();
    if let Some(present) = observed.role().filter(|present| *present != desired.role) {
        earlier.add(&present, at);
    }
    earlier.remove(&desired.role);
    let is_ours_alone = |key: &str| {
        let field = Field::Annotation(key.to_owned());
        observed.values.contains_key(&field) && observed.is_left_to_tool(&field)
    };
    let binding = binding_annotations(desired).filter(|(key, _)| observed.role().is_some() && is_ours_alone(key));
    let record = earlier.render().map(|text| (EARLIER_ROLES.to_owned(), text));
    AppliedServiceAccount {
        subject: desired.subject.clone(),
        role: Some(desired.role.clone()),
        how: Applying::LetGo,
        seen: Some(seen(observed)),
        annotations: binding.map(|(key, value)| (key.to_owned(), value.clone())).chain(kept.clone()).chain(record).collect(),
        labels: BTreeMap::new(),
        automount: None,
        taken: BTreeSet::new(),
    }
}

/// All that is the tool's goes: its fields, and the marks of jobs.
fn release(subject: &Subject, observed: &ObservedServiceAccount) -> Vec<Action> {
    if observed.values.keys().any(|field| is_ours(field, observed) && observed.others(field).next().is_some()) {
        return vec![apply_held(reclaimed(subject, observed), observed)];
    }
    let marks = observed.marks();
    let is_held = observed.managers.keys().any(|field| observed.held_by_tool(field));
    let release = is_held.then(|| Action::ReleaseServiceAccount { subject: subject.clone(), uid: observed.uid.clone() });
    let marked = marks.jobs().filter(|job| observed.is_marked_by(job));
    let uid = Some(observed.uid.clone());
    let unmark = marked.map(|job| {
        let (subject, job, uid) = (subject.clone(), job.clone(), uid.clone());
        Action::MarkServiceAccount { subject, job, mark: None, uid, force: false }
    });
    release.into_iter().chain(unmark).collect()
}

/// Why a ServiceAccount of which the tool's fields are removed stays itself, unless it is plainly somebody else's.
pub(super) fn stays(subject: &Subject, observed: &ObservedServiceAccount) -> Option<String> {
    let others: BTreeSet<String> = other_managers(observed).map(|manager| format!("`{manager}`")).gather();
    let way =
        format!("if nobody needs it, `kubectl -n {} delete serviceaccount {}` removes it", subject.namespace, subject.service_account);
    match (observed.is_made_by_tool(), others.is_empty()) {
        (true, false) => {
            let others = others.into_iter().collect::<Vec<_>>().join(", ");
            Some(format!("ServiceAccount `{subject}` stays: {others} holds fields of it; {way}"))
        }
        (false, true) => {
            Some(format!("ServiceAccount `{subject}` stays: its label `{}` does not say that this tool created it; {way}", MANAGED_BY.0))
        }
        (true, true) | (false, false) => None,
    }
}

/// Whether the tool created it and nobody else relies on it.
fn is_deletable(observed: &ObservedServiceAccount) -> bool {
    observed.is_made_by_tool() && other_managers(observed).next().is_none()
}

/// The managers that hold a field, but the tool's and those that only bring back what was there.
fn other_managers(observed: &ObservedServiceAccount) -> impl Iterator<Item = &String> {
    observed.managers.values().flatten().filter(|manager| !is_tools(manager) && !is_restorer(manager))
}

/// Whether a field is one that only the tool sets, and nobody else claims.
fn is_ours(field: &Field, observed: &ObservedServiceAccount) -> bool {
    let is_known = match field {
        Field::Annotation(key) => [ROLE_ANNOTATION, ASSOCIATED_ROLE, EARLIER_ROLES].contains(&key.as_str()),
        Field::Label(key) => marks::is_label(key) || (key == MANAGED_BY.0 && observed.is_made_by_tool()),
        Field::Automount | Field::Other(_) => false,
    };
    is_known && observed.is_left_to_tool(field) && observed.is_touched()
}

/// Its own fields with other values: whoever else holds them holds them no more.
fn reclaimed(subject: &Subject, observed: &ObservedServiceAccount) -> AppliedServiceAccount {
    let mut applied = held(subject, observed, Applying::Reclaim);
    for field in observed.values.keys().filter(|field| is_ours(field, observed) && observed.others(field).next().is_some()) {
        match field {
            Field::Annotation(key) => drop(applied.annotations.insert(key.clone(), String::new())),
            Field::Label(key) => drop(applied.labels.insert(key.clone(), LEAVING.to_owned())),
            Field::Automount | Field::Other(_) => {}
        }
    }
    applied
}

/// What was there, with the desired values of what is taken.
fn set_back(wanted: &AppliedServiceAccount, observed: &ObservedServiceAccount) -> AppliedServiceAccount {
    let mut applied = held(&wanted.subject, observed, wanted.how);
    let copied = |from: &BTreeMap<String, String>, key: &String| from.get(key).map(|value| (key.clone(), value.clone()));
    for field in &wanted.taken {
        match field {
            Field::Annotation(key) => applied.annotations.extend(copied(&wanted.annotations, key)),
            Field::Label(key) => applied.labels.extend(copied(&wanted.labels, key)),
            Field::Automount => applied.automount = wanted.automount,
            Field::Other(_) => {}
        }
    }
    AppliedServiceAccount { taken: wanted.taken.clone(), ..applied }
}

/// What changes fields that somebody has only brought back: these are taken.
fn apply_held(mut applied: AppliedServiceAccount, observed: &ObservedServiceAccount) -> Action {
    let differs = |(field, value): &(Field, String)| observed.values.get(field).is_some_and(|present| present != value);
    let changed = applied.fields().into_iter().filter(differs).map(|(field, _)| field);
    applied.taken = changed.filter(|field| observed.others(field).next().is_some() && observed.is_left_to_tool(field)).gather();
    apply(applied)
}

fn apply(applied: AppliedServiceAccount) -> Action {
    Action::ApplyServiceAccount(Box::new(applied))
}

fn seen(observed: &ObservedServiceAccount) -> Seen {
    Seen { uid: observed.uid.clone(), version: observed.version.clone() }
}

/// The ServiceAccount with just what the tool holds of it.
fn held(subject: &Subject, observed: &ObservedServiceAccount, how: Applying) -> AppliedServiceAccount {
    let mut applied = AppliedServiceAccount {
        subject: subject.clone(),
        role: observed.role(),
        how,
        seen: Some(seen(observed)),
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
        automount: None,
        taken: BTreeSet::new(),
    };
    // What a job's field manager holds, its mark, is no other manager's.
    let is_held = |field: &Field| observed.held_by_tool(field) || (is_ours(field, observed) && !observed.is_held_by_job(field));
    for (field, value) in observed.values.iter().filter(|(field, _)| is_held(field)) {
        match field {
            Field::Annotation(key) => drop(applied.annotations.insert(key.clone(), value.clone())),
            Field::Label(key) => drop(applied.labels.insert(key.clone(), value.clone())),
            Field::Automount => applied.automount = value.parse().ok(),
            Field::Other(_) => {}
        }
    }
    applied
}

fn with_record(mut applied: AppliedServiceAccount, record: Option<String>) -> AppliedServiceAccount {
    match record {
        Some(text) => drop(applied.annotations.insert(EARLIER_ROLES.to_owned(), text)),
        None => drop(applied.annotations.remove(EARLIER_ROLES)),
    }
    applied
}

/// The marks on it that the jobs of an earlier version wrote, all by one field manager.
fn earlier_marks(observed: &ObservedServiceAccount) -> impl Iterator<Item = (String, String)> {
    observed.values.iter().filter_map(|(field, value)| match field {
        Field::Label(key) if marks::is_label(key) && observed.held_by_tool(field) => Some((key.clone(), value.clone())),
        _ => None,
    })
}

/// What stands in the way of a value.
enum Conflict {
    /// It is taken from a person's hand or from who brought it back: with these words, unless the tool holds it too.
    Taken(Option<String>),
    /// Somebody else sets it.
    Refused(Refusal),
}

fn conflict(subject: &Subject, field: &Field, desired: &str, observed: &ObservedServiceAccount) -> Option<Conflict> {
    let value = observed.values.get(field).filter(|value| *value != desired)?;
    let managers: BTreeSet<String> = observed.others(field).cloned().gather();
    if managers.is_empty() {
        return None;
    }
    let by_hand = managers.iter().all(|manager| is_by_hand(manager) || is_restorer(manager));
    if by_hand && observed.is_touched() {
        if observed.held_by_tool(field) {
            return Some(Conflict::Taken(None));
        }
        let by = managers.iter().map(|manager| format!("`{manager}`")).collect::<Vec<_>>().join(", ");
        let note = format!("ServiceAccount `{subject}`: {field} was changed to `{value}` by {by}, and is set back");
        return Some(Conflict::Taken(Some(note)));
    }
    Some(Conflict::Refused(Refusal::HeldField {
        subject: subject.clone(),
        field: field.clone(),
        managers,
        observed: value.clone(),
        desired: desired.to_owned(),
    }))
}

/// Whether a field manager is a person's single edit: `kubectl annotate`, `label`, `edit`, `patch` and so on. `kubectl apply` is none: it
/// says again what stands in a file, as Helm and Argo CD do.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>
fn is_by_hand(manager: &str) -> bool {
    manager.starts_with("kubectl-") && !matches!(manager, "kubectl-client-side-apply" | "kubectl-last-applied")
}
