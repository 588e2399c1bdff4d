//! The ledger: what the environment's job has made, known without the manifest. Which of it leaves, and when.
//!
//! | a thing that no identity names | `start` | a later `start` | `delete` |
//! |---|---|---|---|
//! | with this job's mark | dates the mark | removes it after an hour, unless somebody uses it | removes it |
//! | with another job's mark only | nothing; if that job is known to be gone, dates it | removes it as this job's | names it; removes it if that job is known to be gone |
//! | with no mark | names it | names it | removes it |

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Action, Lane, Plan, Writers, role, service_account};
use crate::model::{
    anchor::Anchor,
    arn::RoleArn,
    association::ObservedAssociation,
    date::Date,
    desired::{Desired, DesiredRole, DesiredTrust, OwnedRole},
    gather::Gather as _,
    identity::{Keeper, Prune},
    marks::{JobMark, Mark, Marks},
    names::{RoleName, ServiceAccountName, Subject},
    observed::{Observed, ObservedRole, ObservedServiceAccount, Owner, RETAIN_TAG},
    oidc::Audience,
    pods::Use,
    registry,
};

/// How long after it was dated a thing is removed: a deploy that was a mistake can be taken back.
const GRACE: Duration = Duration::from_hours(1);

/// How long a session that EKS has given to a pod lasts, and a little more: the agent shows it to the pod until then, whatever becomes of
/// the association.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
const SESSIONS: Duration = Duration::from_hours(7);

/// What leaves.
#[derive(Default)]
pub(super) struct Removal {
    /// The roles, or the parts of them that are this environment's.
    pub(super) roles: BTreeMap<RoleName, DesiredRole>,
    /// The associations, by ServiceAccount: before the roles that they give to pods.
    pub(super) associations: BTreeSet<ServiceAccountName>,
    /// The ServiceAccounts.
    pub(super) accounts: BTreeMap<ServiceAccountName, Fate>,
    pub(super) notes: Vec<String>,
    /// What stays, since a pod, a workload, a service or another job of the environment wants it.
    pub(super) kept: Vec<String>,
    /// What stays, and people must look at it.
    pub(super) left: Vec<String>,
    /// The same, of what is known only as long as the ServiceAccount is there that records it.
    pub(super) lost: Vec<String>,
}

/// What becomes of a ServiceAccount.
pub(super) enum Fate {
    /// It goes.
    Goes,
    /// The tool's fields go: somebody else keeps it.
    LetGo,
    /// It has left these roles.
    Leaves(BTreeSet<RoleArn>),
}

/// A role of the ledger that no identity names.
struct Unnamed<'a> {
    role: &'a ObservedRole,
    /// Whose it is, if it is one environment's.
    subject: Option<Subject>,
}

/// The roles that no identity names.
fn unnamed<'a>(desired: &'a Desired, observed: &'a Observed) -> impl Iterator<Item = Unnamed<'a>> {
    let unnamed = observed.roles.iter().filter(|(name, _)| !desired.names_role(name));
    unnamed.map(|(_, role)| Unnamed { role, subject: own_subject(role, desired) })
}

/// The ServiceAccount of this environment that a role was made for.
fn own_subject(role: &ObservedRole, desired: &Desired) -> Option<Subject> {
    match Owner::from_tags(&role.tags)? {
        Owner::Identity(subject, issuer) if issuer == desired.provider.issuer && subject.namespace == desired.place.namespace => {
            Some(subject)
        }
        _ => None,
    }
}

/// The ServiceAccounts that the tool holds a field of and that no identity names.
fn unnamed_accounts<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a ServiceAccountName, &'a ObservedServiceAccount)> {
    observed.service_accounts.iter().filter(|(name, found)| found.is_touched() && !desired.names_service_account(name))
}

/// The associations of the namespace that the tool made.
fn own_associations(observed: &Observed) -> impl Iterator<Item = (&ServiceAccountName, &ObservedAssociation)> {
    observed.associations.iter().flatten().filter(|(_, found)| found.is_own())
}

/// Those whose ServiceAccount no identity names. What becomes of one whose identity gets its role otherwise now is for `start` to say.
fn unnamed_associations<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a ServiceAccountName, &'a ObservedAssociation)> {
    own_associations(observed).filter(|(name, _)| !desired.names_service_account(name))
}

/// An association, as people are told of it.
fn of_service_account(association: &ObservedAssociation) -> String {
    format!("the association of ServiceAccount `{}`", association.subject)
}

fn subject(desired: &Desired, name: &ServiceAccountName) -> Subject {
    Subject { namespace: desired.place.namespace.clone(), service_account: name.clone() }
}

/// Until when pods of the ServiceAccount may have sessions of a role that associations gave to it, if that is not over.
fn end_of_sessions(role: &ObservedRole, owner: &Subject, desired: &Desired, observed: &Observed, uses: &[Use]) -> Option<Date> {
    let Some(Mark::LeftSince(since)) = role.marks().of(desired.place.job.as_ref()) else { return None };
    let has_pods = uses.iter().any(|used| used.pod.is_some() && used.service_account == owner.service_account.as_str());
    Some(since.after(SESSIONS)).filter(|end| has_pods && !role.pods_of().is_empty() && *end > observed.at)
}

/// What people should know of the roles of the ledger that may not be read.
fn unread_roles(observed: &Observed) -> impl Iterator<Item = String> + '_ {
    let unread = observed.unread_roles.iter();
    unread.map(|(role, why)| format!("role `{role}`: no identity names it, and it could not be read, so it stays as it is: {why}"))
}

/// Adds to the plan of `start` what dates the things that no identity names any more, and what people should know of them.
pub(super) fn date(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    plan.notes.extend(observed.unread.iter().cloned());
    plan.notes.extend(unread_roles(observed));
    let mut lane = |actions: Vec<Action>| plan.lanes.push(Lane { writers: Writers::One, actions });
    let job = desired.place.job.as_ref();
    for Unnamed { role, subject: owner } in unnamed(desired, observed) {
        if owner.is_none() {
            continue;
        }
        let (name, thing) = (&role.arn.name, format!("role `{}`", role.arn.name));
        match (role.marks().of(job), desired.prune) {
            (Some(Mark::Wanted), Prune::On) => {
                lane(vec![date_role(name, job, observed.at)]);
                plan.notes.push(leaves(&thing, observed.at, &role.marks().others(job, &observed.gone_jobs)));
            }
            _ => plan.notes.extend(note(&thing, &role.marks(), desired, observed)),
        }
    }
    for (_, found) in unnamed_associations(desired, observed) {
        let thing = of_service_account(found);
        match (found.marks().of(job), desired.prune) {
            (Some(Mark::Wanted), Prune::On) => {
                lane(date_association(found, job, desired, observed).into_iter().collect());
                plan.notes.push(leaves(&thing, observed.at, &found.marks().others(job, &observed.gone_jobs)));
            }
            _ => plan.notes.extend(note(&thing, &found.marks(), desired, observed)),
        }
    }
    for (name, found) in unnamed_accounts(desired, observed).filter(|(_, found)| !found.ends) {
        let subject = subject(desired, name);
        let thing = format!("ServiceAccount `{subject}`");
        match (found.marks().of(job), job, desired.prune) {
            (Some(Mark::Wanted), Some(job), Prune::On) => {
                lane(service_account::date(&subject, found, job, observed.at));
                plan.notes.push(leaves(&thing, observed.at, &found.marks().others(Some(job), &observed.gone_jobs)));
            }
            _ => plan.notes.extend(note(&thing, &found.marks(), desired, observed)),
        }
    }
    for (name, found) in &observed.service_accounts {
        let subject = subject(desired, name);
        for (role, since) in found.earlier_roles().iter().filter(|(role, _)| Some(*role) != found.role().as_ref()) {
            if observed.unread_roles.contains_key(role) {
                continue;
            }
            if let Some(why) = out_of_reach(role, observed) {
                plan.notes.push(format!("ServiceAccount `{subject}` had role `{role}` before, which stays as it is: {why}"));
                continue;
            }
            if is_over(since, observed.at) {
                continue;
            }
            plan.notes.push(format!("ServiceAccount `{subject}` had role `{role}` before: {}", end(since, &BTreeSet::new())));
        }
    }
}

/// Adds to the plan what dates the things that no identity names and that only jobs have marked which no longer exist: from now on they leave
/// as this job's do.
pub(super) fn inherit(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let (Some(job), Prune::On) = (&desired.place.job, desired.prune) else { return };
    let mut inherits = |thing: &str, actions: Vec<Action>| {
        plan.lanes.push(Lane { writers: Writers::One, actions });
        let end = end(observed.at, &BTreeSet::new());
        plan.notes.push(format!("{thing}: no identity names it, and the job that made it no longer exists; {end}"));
    };
    for Unnamed { role, .. } in unnamed(desired, observed).filter(|unnamed| unnamed.subject.is_some()) {
        if is_abandoned(&role.marks(), desired, observed) {
            inherits(&format!("role `{}`", role.arn.name), vec![date_role(&role.arn.name, Some(job), observed.at)]);
        }
    }
    for (_, found) in unnamed_associations(desired, observed).filter(|(_, found)| is_abandoned(&found.marks(), desired, observed)) {
        inherits(&of_service_account(found), date_association(found, Some(job), desired, observed).into_iter().collect());
    }
    for (name, found) in unnamed_accounts(desired, observed).filter(|(_, found)| is_abandoned(&found.marks(), desired, observed)) {
        let subject = subject(desired, name);
        inherits(&format!("ServiceAccount `{subject}`"), service_account::date(&subject, found, job, observed.at));
    }
}

/// Whether only jobs have marked it that no longer exist.
fn is_abandoned(marks: &Marks, desired: &Desired, observed: &Observed) -> bool {
    let job = desired.place.job.as_ref();
    !marks.is_empty() && marks.of(job).is_none() && marks.others(job, &observed.gone_jobs).is_empty()
}

fn date_role(role: &RoleName, job: Option<&JobMark>, at: Date) -> Action {
    let mark = job.map(|job| (job.tag(), Mark::LeftSince(at).value()));
    Action::TagRole { role: role.clone(), tags: mark.into_iter().gather() }
}

fn date_association(found: &ObservedAssociation, job: Option<&JobMark>, desired: &Desired, observed: &Observed) -> Option<Action> {
    let tags = job.map(|job| (job.tag(), Mark::LeftSince(observed.at).value())).into_iter().gather();
    let (id, arn, subject) = (found.id.clone(), found.arn.clone(), found.subject.clone());
    Some(Action::TagAssociation { cluster: desired.place.cluster.clone()?, id, arn, subject, tags })
}

/// The marks on what no identity names.
fn unnamed_marks<'a>(desired: &'a Desired, observed: &'a Observed) -> impl Iterator<Item = (String, Marks)> + 'a {
    let roles = unnamed(desired, observed).filter(|unnamed| unnamed.subject.is_some());
    let roles = roles.map(|unnamed| (format!("role `{}`", unnamed.role.arn.name), unnamed.role.marks()));
    let associations = unnamed_associations(desired, observed).map(|(_, found)| (of_service_account(found), found.marks()));
    roles.chain(associations).chain(
        unnamed_accounts(desired, observed).map(|(name, found)| (format!("ServiceAccount `{}`", subject(desired, name)), found.marks())),
    )
}

/// Whether a deploy must know which jobs exist: other jobs have marked what no identity of this one names.
#[must_use]
pub fn asks_for_jobs(desired: &Desired, observed: &Observed) -> bool {
    let job = desired.place.job.as_ref();
    let has_others = |marks: Marks| !marks.others(job, &observed.gone_jobs).is_empty();
    job.is_some() && desired.prune == Prune::On && unnamed_marks(desired, observed).any(|(_, marks)| has_others(marks))
}

/// What people should know of things that only other jobs have marked, where it is not known whether these jobs exist.
#[must_use]
pub fn kept_for_others(desired: &Desired, observed: &Observed) -> Vec<String> {
    let job = desired.place.job.as_ref();
    let others = unnamed_marks(desired, observed).filter(|(_, marks)| !observed.knows_jobs && !marks.is_empty() && marks.of(job).is_none());
    let note = others.map(|(thing, marks)| {
        let jobs = named(&marks.others(job, &observed.gone_jobs));
        format!("{thing}: no identity names it, and {jobs} marked it: kept, since it is not known whether that job exists. A deploy that can ask Qovery finds out")
    });
    note.collect()
}

fn leaves(thing: &str, since: Date, others: &BTreeSet<JobMark>) -> String {
    format!("{thing}: no identity names it any more; {}", end(since, others))
}

fn end(since: Date, others: &BTreeSet<JobMark>) -> String {
    let or = if others.is_empty() { String::new() } else { format!(" or {} still wants it", named(others)) };
    format!("a deploy after {} takes it away, unless somebody still uses it{or}", since.after(GRACE).readable())
}

/// What people should know of a thing that no identity names and that nothing is done about now.
fn note(thing: &str, marks: &Marks, desired: &Desired, observed: &Observed) -> Option<String> {
    let job = desired.place.job.as_ref();
    match (marks.of(job), desired.prune) {
        (Some(_), Prune::Off) => Some(format!("{thing}: no identity names it any more, kept (`prune: off`)")),
        (Some(Mark::LeftSince(since)), Prune::On) => Some(leaves(thing, since, &marks.others(job, &observed.gone_jobs))),
        (None, _) if marks.is_empty() => Some(format!(
            "{thing}: no identity names it and no job's mark is on it, kept: `delete` takes it away with the environment, or remove it by hand"
        )),
        _ => None,
    }
}

/// Why nothing is removed of a role that a ServiceAccount records, if it is not to be judged from here.
fn out_of_reach(role: &RoleArn, observed: &Observed) -> Option<String> {
    if role.account == observed.account {
        return observed.unread_roles.get(role).map(|why| format!("it could not be read: {why}"));
    }
    Some(format!("it is in AWS account {}, and this job works in account {}", role.account.id, observed.account.id))
}

fn is_over(since: Date, at: Date) -> bool {
    since.after(GRACE) <= at
}

fn is_mark_over(mark: Option<Mark>, at: Date) -> bool {
    matches!(mark, Some(Mark::LeftSince(since)) if is_over(since, at))
}

/// Whether anything is to be removed by now, unless somebody uses it, or to be dated in place of a job that no longer exists: then this must
/// be looked up.
#[must_use]
pub fn is_due(desired: &Desired, observed: &Observed) -> bool {
    let job = desired.place.job.as_ref();
    let leaves = |marks: &Marks| is_mark_over(marks.of(job), observed.at) || (job.is_some() && is_abandoned(marks, desired, observed));
    desired.prune == Prune::On
        && (unnamed_marks(desired, observed).any(|(_, marks)| leaves(&marks))
            || observed.service_accounts.values().any(|found| {
                found.earlier_roles().iter().any(|(role, since)| is_over(since, observed.at) && out_of_reach(role, observed).is_none())
            }))
}

/// What a deploy removes that no identity has named for an hour and that nobody uses.
pub(super) fn due(desired: &Desired, observed: &Observed) -> Removal {
    let mut removal = Removal::default();
    if desired.prune == Prune::Off {
        return removal;
    }
    removal.notes.extend(unread_roles(observed));
    let Some(uses) = &observed.uses else {
        removal.notes.extend(observed.unread.iter().cloned());
        return removal;
    };
    let job = desired.place.job.as_ref();
    for Unnamed { role, subject: owner } in unnamed(desired, observed) {
        let Some(owner) = owner.filter(|_| is_mark_over(role.marks().of(job), observed.at)) else { continue };
        let thing = format!("role `{}`", role.arn.name);
        if let Some(by) = user_of_role(role, &owner, desired, uses) {
            removal.kept.push(kept(&thing, by));
            continue;
        }
        if let Some(why) = unread_association(observed).filter(|_| !role.pods_of().is_empty()) {
            removal.notes.push(format!("{thing} stays: {why}"));
            continue;
        }
        if let Some(end) = end_of_sessions(role, &owner, desired, observed, uses) {
            removal.kept.push(format!("{thing} stays: pods may have sessions from EKS Pod Identity until {}", end.readable()));
            continue;
        }
        removal.kept.extend(kept_by_mark(&thing, &role.marks(), desired, observed));
        removal.roles.insert(role.arn.name.clone(), of_environment(role, desired));
    }
    for (name, found) in unnamed_associations(desired, observed) {
        if !is_mark_over(found.marks().of(job), observed.at) {
            continue;
        }
        if let Some(by) = user_of_account(name, uses) {
            removal.kept.push(kept(&of_service_account(found), by));
            continue;
        }
        removal.kept.extend(kept_by_mark(&of_service_account(found), &found.marks(), desired, observed));
        removal.associations.insert(name.clone());
    }
    for (name, found) in unnamed_accounts(desired, observed) {
        if !is_mark_over(found.marks().of(job), observed.at) {
            continue;
        }
        let subject = subject(desired, name);
        let thing = format!("ServiceAccount `{subject}`");
        if let Some(by) = user_of_account(name, uses) {
            removal.kept.push(kept(&thing, by));
            continue;
        }
        if let Some(why) = unread_association(observed).filter(|_| found.associated_role().is_some()) {
            removal.notes.push(format!("{thing} stays: {why}"));
            continue;
        }
        removal.kept.extend(kept_by_mark(&thing, &found.marks(), desired, observed));
        removal.goes(&subject, found, desired, observed);
    }
    for (name, found) in observed.service_accounts.iter().filter(|(name, _)| !removal.accounts.contains_key(*name)).collect::<Vec<_>>() {
        let mut left = BTreeSet::new();
        for (role, since) in found.earlier_roles().iter().filter(|(role, _)| out_of_reach(role, observed).is_none()) {
            let by = uses.iter().find(|used| used.roles.contains(&role.to_string()));
            match by.filter(|_| is_over(since, observed.at)) {
                Some(by) => removal.kept.push(kept(&format!("role `{role}`"), by)),
                None if is_over(since, observed.at) => {
                    removal.leaves(&subject(desired, name), role, desired, observed);
                    left.insert(role.clone());
                }
                None => {}
            }
        }
        // One environment's role goes by its own mark, and is recorded until then.
        left.retain(|role| is_left(role, desired, observed, &removal));
        if !left.is_empty() {
            removal.accounts.insert(name.clone(), Fate::Leaves(left));
        }
    }
    removal
}

/// Whether a ServiceAccount has left a role once this removal is done: it is no longer there, or not this environment's to remove.
fn is_left(role: &RoleArn, desired: &Desired, observed: &Observed, removal: &Removal) -> bool {
    match observed.roles.get(&role.name).filter(|found| found.arn == *role) {
        Some(found) if own_subject(found, desired).is_some() => removal.roles.contains_key(&role.name),
        _ => true,
    }
}

/// Why it is not known what associations there are, where there should be any.
fn unread_association(observed: &Observed) -> Option<String> {
    observed.unread_associations.as_ref().map(|why| format!("its association could not be read: {why}"))
}

/// That only this job's mark goes, while another job's is on the thing.
fn kept_by_mark(thing: &str, marks: &Marks, desired: &Desired, observed: &Observed) -> Option<String> {
    let others = marks.others(desired.place.job.as_ref(), &observed.gone_jobs);
    (!others.is_empty()).then(|| format!("{thing} stays: {} marked it too", named(&others)))
}

/// How what only a job that no longer exists has marked is removed.
const REMEDY: &str =
    "`delete` with `IRSA_ON_DELETE=remove`, where `QOVERY_JOB_ID` is not set, removes it with all that is left of the environment";

fn named(jobs: &BTreeSet<JobMark>) -> String {
    let jobs: Vec<String> = jobs.iter().map(|job| format!("job `{job}`")).collect();
    jobs.join(", ")
}

fn kept(thing: &str, user: &Use) -> String {
    format!("{thing} stays: {} still uses it", user.user)
}

fn user_of_account<'a>(name: &ServiceAccountName, uses: &'a [Use]) -> Option<&'a Use> {
    uses.iter().find(|used| used.service_account == name.as_str())
}

/// Who uses one environment's role: whose containers have its ARN, or who runs with a ServiceAccount that only this role was made for.
fn user_of_role<'a>(role: &ObservedRole, owner: &Subject, desired: &Desired, uses: &'a [Use]) -> Option<&'a Use> {
    let by_arn = uses.iter().find(|used| used.roles.contains(&role.arn.to_string()));
    let unnamed = !desired.names_service_account(&owner.service_account);
    by_arn.or_else(|| user_of_account(&owner.service_account, uses).filter(|_| unnamed))
}

/// What `delete` removes: what identities name, and of the ledger what bears this job's mark or none.
pub(super) fn all(desired: &Desired, observed: &Observed) -> Removal {
    let mut removal = Removal::default();
    removal.notes.extend(observed.unread.iter().cloned());
    removal.left.extend(observed.unread_roles.keys().filter_map(|role| Some(format!("role `{role}`: {}", out_of_reach(role, observed)?))));
    let running: Vec<Use> = observed.uses.iter().flatten().filter(|used| !used.ends).cloned().collect();
    for (name, found) in observed.associations.iter().flatten() {
        let thing = of_service_account(found);
        if !found.is_own() {
            removal.notes.push(format!("left alone: {thing} with role `{}`: {}", found.settings.role, whose(found)));
        } else if !removal.is_others(&thing, &found.marks(), desired, observed) {
            match user_of_account(name, &running) {
                Some(user) => removal.kept.push(kept(&thing, user)),
                None => drop(removal.associations.insert(name.clone())),
            }
        }
    }
    for wanted in &desired.service_accounts {
        let name = &wanted.subject.service_account;
        let found = observed.service_accounts.get(name);
        if found.is_some_and(|found| removal.is_others(&format!("ServiceAccount `{}`", wanted.subject), &found.marks(), desired, observed))
        {
            continue;
        }
        match (user_of_account(name, &running), found) {
            (Some(user), _) => removal.kept.push(kept(&format!("ServiceAccount `{}`", wanted.subject), user)),
            (None, Some(found)) => {
                removal.goes(&wanted.subject, found, desired, observed);
                if wanted.keeper == Keeper::Other {
                    removal.accounts.insert(name.clone(), Fate::LetGo);
                }
            }
            // Its entries may still be there.
            (None, None) => removal.leaves(&wanted.subject, &wanted.role, desired, observed),
        }
    }
    for (name, found) in unnamed_accounts(desired, observed) {
        let subject = subject(desired, name);
        if removal.is_others(&format!("ServiceAccount `{subject}`"), &found.marks(), desired, observed) {
            continue;
        }
        match user_of_account(name, &running) {
            Some(by) => removal.kept.push(kept(&format!("ServiceAccount `{subject}`"), by)),
            None => removal.goes(&subject, found, desired, observed),
        }
    }
    for (name, wanted) in &desired.roles {
        if !matches!(wanted.trust, DesiredTrust::Environment { .. }) {
            continue;
        }
        // A role that this environment may not remove is none of its marks' concern.
        let found = observed.roles.get(name).filter(|found| own_subject(found, desired).is_some());
        if found.is_some_and(|found| removal.is_others(&format!("role `{name}`"), &found.marks(), desired, observed)) {
            continue;
        }
        let mut accounts = desired.service_accounts.iter().filter(|account| account.role == wanted.arn);
        let used = accounts.find_map(|account| user_of_account(&account.subject.service_account, &running));
        let used = used.or_else(|| running.iter().find(|used| used.roles.contains(&wanted.arn.to_string())));
        match used {
            Some(by) => removal.kept.push(kept(&format!("role `{name}`"), by)),
            None => drop(removal.roles.insert(name.clone(), wanted.clone())),
        }
    }
    for Unnamed { role, subject: owner } in unnamed(desired, observed) {
        let name = &role.arn.name;
        let Some(owner) = owner else {
            removal.notes.extend(not_ours(role, desired));
            continue;
        };
        if removal.is_others(&format!("role `{name}`"), &role.marks(), desired, observed) {
            continue;
        }
        match user_of_role(role, &owner, desired, &running) {
            Some(user) => removal.kept.push(kept(&format!("role `{name}`"), user)),
            None => drop(removal.roles.insert(name.clone(), of_environment(role, desired))),
        }
    }
    removal
}

/// Why an association is not this tool's to remove.
fn whose(association: &ObservedAssociation) -> String {
    match &association.add_on {
        Some(owner) => format!("add-on `{owner}` owns it"),
        None => "this tool did not make it".to_owned(),
    }
}

/// Why a role below this environment's path stays.
fn not_ours(role: &ObservedRole, desired: &Desired) -> Option<String> {
    let below = format!("/{}/", desired.place.namespace);
    if !role.arn.path.as_str().ends_with(&below) {
        return None;
    }
    let name = &role.arn.name;
    Some(match Owner::from_tags(&role.tags) {
        Some(Owner::Identity(_, issuer)) if issuer != desired.provider.issuer => {
            format!("left alone: role `{name}` belongs to an earlier cluster, with issuer `{issuer}`: `sweep --issuer {issuer}` removes it")
        }
        Some(owner) => format!("left alone: role `{name}` belongs to {owner}"),
        None => format!("left alone: role `{name}` was not made by this tool"),
    })
}

/// One environment's role, as far as its removal is concerned.
fn of_environment(role: &ObservedRole, desired: &Desired) -> DesiredRole {
    let trust = DesiredTrust::Environment { subjects: BTreeSet::new(), grant: Audience::default().into() };
    let owned = Owner::from_tags(&role.tags).map(|owner| Box::new(OwnedRole::bare(owner)));
    DesiredRole { arn: role.arn.clone(), owned, anchor: Anchor::Oidc(desired.provider.clone()), trust }
}

impl Removal {
    /// Whether a thing is not this job's to remove. While another job's mark is on it, it stays, and this is said: the job may no longer exist.
    fn is_others(&mut self, thing: &str, marks: &Marks, desired: &Desired, observed: &Observed) -> bool {
        let job = desired.place.job.as_ref();
        let Some(stays) = kept_by_mark(thing, marks, desired, observed) else { return false };
        if observed.knows_jobs {
            self.kept.push(stays);
        } else {
            let jobs = named(&marks.others(job, &observed.gone_jobs));
            self.left.push(format!("{thing}: it has the mark of {jobs}. If that job no longer exists, {REMEDY}"));
        }
        marks.of(job).is_none()
    }

    /// A ServiceAccount goes, and leaves all its roles, unless another job wants it.
    fn goes(&mut self, subject: &Subject, found: &ObservedServiceAccount, desired: &Desired, observed: &Observed) {
        self.accounts.insert(subject.service_account.clone(), Fate::Goes);
        if !found.marks().others(desired.place.job.as_ref(), &observed.gone_jobs).is_empty() {
            return;
        }
        let named = desired.service_accounts.iter().filter(|account| account.subject == *subject).map(|account| account.role.clone());
        let recorded = found.earlier_roles().iter().map(|(role, _)| role.clone()).chain(found.role()).collect::<Vec<_>>();
        if let Some(role) = found.associated_role() {
            let unread = unread_association(observed);
            self.lost.extend(unread.map(|why| format!("the association of ServiceAccount `{subject}` with role `{role}`: {why}")));
        }
        let recorded = recorded.into_iter().chain(found.associated_role());
        for role in recorded.chain(named).gather::<BTreeSet<_>>() {
            if let Some(why) = out_of_reach(&role, observed) {
                self.lost.push(format!("role `{role}`: {why}"));
                continue;
            }
            self.leaves(subject, &role, desired, observed);
        }
    }

    /// Whether a ServiceAccount has a role of many environments by an association alone: then nothing on the role is its own, and it stays.
    fn is_only_associated(&mut self, subject: &Subject, found: &ObservedRole, desired: &Desired, observed: &Observed) -> bool {
        let role = &found.arn;
        let account = observed.service_accounts.get(&subject.service_account);
        let named = desired.service_accounts.iter().find(|account| account.subject == *subject && account.role == *role);
        let is_associated = named.is_some_and(|account| account.binding.audience().is_none())
            || account.is_some_and(|account| account.associated_role().as_ref() == Some(role));
        let by_token = named.is_some_and(|account| account.binding.audience().is_some())
            || account.is_some_and(|account| account.role().as_ref() == Some(role) || account.earlier_roles().contains(role));
        let entries = registry::entries(&found.tags, &desired.provider.issuer);
        let is_registered = entries.iter().any(|entry| entry.declared_by == *subject);
        let is_only_associated = is_associated && !by_token && !is_registered && !found.pods_of().is_empty();
        if is_only_associated {
            self.notes.extend(role::stays_for_pods(found));
        }
        is_only_associated
    }

    /// A ServiceAccount leaves a role that many environments have together; one environment's role goes by its own mark.
    fn leaves(&mut self, subject: &Subject, role: &RoleArn, desired: &Desired, observed: &Observed) {
        let Some(found) = observed.roles.get(&role.name).filter(|found| found.arn == *role) else { return };
        let owned = match Owner::from_tags(&found.tags) {
            Some(Owner::Identity(..) | Owner::Cluster) => return,
            owner => owner.map(|owner| Box::new(OwnedRole::bare(owner))),
        };
        if self.is_only_associated(subject, found, desired, observed) {
            return;
        }
        let wanted = self.roles.entry(role.name.clone()).or_insert_with(|| match desired.roles.get(&role.name) {
            Some(named) if matches!(named.trust, DesiredTrust::Registry { .. }) => without_declarers(named),
            _ => {
                let retain = found.tags.contains_key(RETAIN_TAG);
                let provider = desired.provider.clone();
                let (issuer, entries, declarers) = (provider.issuer.clone(), BTreeSet::new(), BTreeSet::new());
                let trust = DesiredTrust::Registry { issuer, entries, declarers, retain };
                DesiredRole { arn: role.clone(), owned, anchor: Anchor::Oidc(provider), trust }
            }
        });
        if let DesiredTrust::Registry { declarers, .. } = &mut wanted.trust {
            declarers.insert(subject.clone());
        }
    }
}

/// A role that identities name, of which only some leave.
fn without_declarers(named: &DesiredRole) -> DesiredRole {
    let mut role = named.clone();
    if let DesiredTrust::Registry { declarers, .. } = &mut role.trust {
        declarers.clear();
    }
    role
}
