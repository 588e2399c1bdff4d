//! The step that changes things: the prelude, then all lanes at once, then the closing, one call for each action. Nothing is decided here.

use std::{cell::RefCell, time::Duration};

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    clients::call::{Admission, CallError, DocumentFault, ErrorKind, Failed, Missing, Patience},
    model::applied::AppliedServiceAccount,
    plan::{Action, Call as _, Plan, Writers},
    steps::world::World,
};

/// An action that was done, and how long it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The action.
    pub action: Action,
    /// How long it took, tries and pauses included.
    pub took: Duration,
}

/// How a plan that did not fail was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All of it.
    Done,
    /// This was to be created and is there already: what is there must be observed again.
    Taken(Action),
}

/// Why a plan was not carried out whole. Its other lanes were.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Actions failed, the first of each lane that stopped.
    #[error("{}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Failed(Vec<Failed>),
    /// A signal came.
    #[error("interrupted by a signal")]
    Interrupted,
}

/// Carries out a plan: first a dry run of what the API server could refuse, then the prelude, then all lanes at once, then the closing if
/// none has stopped. A lane stops at its first failure; the others go on.
/// IAM may show the past for as long as `settle` says.
///
/// `done` is told of each action as it is done.
///
/// # Errors
/// An action failed, or a signal came; a call in flight was finished.
pub async fn apply(
    plan: &Plan,
    cloud: &impl World,
    patience: &Patience,
    settle: Duration,
    done: impl FnMut(Applied),
) -> Result<Outcome, ApplyError> {
    let applier = Applier { cloud, patience, settle, done: RefCell::new(done) };
    let rehearsed = join_all(plan.rehearsals().into_iter().map(|applied| applier.rehearse(applied))).await;
    let refused: Vec<Failed> = rehearsed.into_iter().filter_map(Result::err).collect();
    if !refused.is_empty() {
        return Err(ApplyError::Failed(refused));
    }
    let mut stops = vec![applier.lane(&plan.prelude, Writers::One).await];
    if stops[0].is_ok() {
        stops = join_all(plan.lanes.iter().map(|lane| applier.lane(&lane.actions, lane.writers))).await;
    }
    if stops.iter().all(Result::is_ok) {
        stops.push(applier.lane(&plan.closing, Writers::One).await);
    }
    let mut failed = Vec::new();
    let mut outcome = Outcome::Done;
    for stop in stops {
        match stop {
            Ok(()) => {}
            Err(Stop::Taken(action)) => outcome = Outcome::Taken(action),
            Err(Stop::Interrupted) => return Err(ApplyError::Interrupted),
            Err(Stop::Failed(error)) => failed.push(error),
        }
    }
    if failed.is_empty() { Ok(outcome) } else { Err(ApplyError::Failed(failed)) }
}

/// Why a lane ended early.
enum Stop {
    Taken(Action),
    Interrupted,
    Failed(Failed),
}

struct Applier<'a, C, F> {
    cloud: &'a C,
    patience: &'a Patience,
    settle: Duration,
    done: RefCell<F>,
}

impl<C: World, F: FnMut(Applied)> Applier<'_, C, F> {
    async fn lane(&self, actions: &[Action], writers: Writers) -> Result<(), Stop> {
        for action in actions {
            if self.patience.is_interrupted() {
                return Err(Stop::Interrupted);
            }
            let started = Instant::now();
            let mut answer = self.carry_out(action, actions).await;
            // Where permissions depend on the path, IAM denies a call on a role that has gone; that it has may show a while later.
            let denied = answer.as_ref().is_err_and(|error| error.kind.is_denied());
            if denied && action.changes_role() && self.patience.sleep(self.settle).await {
                answer = self.carry_out(action, actions).await;
            }
            match answer {
                Ok(()) => (self.done.borrow_mut())(Applied { action: action.clone(), took: started.elapsed() }),
                Err(error) if is_overtaken(action, writers, &error) => return Err(Stop::Taken(action.clone())),
                Err(source) => {
                    let source = explained(action, source);
                    return Err(Stop::Failed(Failed { doing: action.to_string(), call: action.call(), source }));
                }
            }
        }
        Ok(())
    }

    async fn rehearse(&self, applied: &AppliedServiceAccount) -> Result<(), Failed> {
        let call = "kubernetes:patch serviceaccounts";
        let answer = self.patience.call(call, async || self.cloud.rehearse(applied).await).await;
        match answer {
            // It has changed since it was seen: what is done next shows it again.
            Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
            // Then it is asked when the ServiceAccount is applied.
            Err(error) if error.kind == ErrorKind::Admission(Admission::NoDryRun) => Ok(()),
            answer => answer.map_err(Failed::to(format!("try out ServiceAccount `{}` before anything is changed", applied.subject), call)),
        }
    }

    async fn carry_out(&self, action: &Action, lane: &[Action]) -> Result<(), CallError> {
        let attempt = async || self.cloud.carry_out(action).await.map_err(|error| settling(action, lane, error));
        self.patience.call(action.call(), attempt).await
    }
}

/// IAM does not say which statement of a trust policy it refuses.
fn explained(action: &Action, error: CallError) -> CallError {
    match action {
        Action::UpdateTrust { trust, .. } if matches!(error.kind, ErrorKind::Document(_)) => {
            let named = trust.deleted_principals();
            let named = named.iter().map(|(number, id)| format!("; statement {number} names the deleted principal `{id}`"));
            CallError { message: format!("{}{}", error.message, named.collect::<String>()), ..error }
        }
        _ => error,
    }
}

/// Whether somebody else was faster: what was to be created is there, or a role with many writers has gone or changed meanwhile.
fn is_overtaken(action: &Action, writers: Writers, error: &CallError) -> bool {
    let gone = matches!(action, Action::TagRole { .. } | Action::UpdateTrust { .. } | Action::UpdateRole { .. });
    let of_many = writers == Writers::Many;
    error.kind == ErrorKind::AlreadyExists
        || (of_many && gone && error.kind.is_missing())
        || (of_many && matches!(action, Action::DeleteRole { .. }) && error.kind == ErrorKind::InUse)
}

/// Whether it writes back a principal that no longer exists.
fn names_the_deleted(action: &Action) -> bool {
    matches!(action, Action::UpdateTrust { trust, .. } if !trust.deleted_principals().is_empty())
}

/// A role that was just created may be unknown to the next call for some seconds: IAM is eventually consistent.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>
fn settling(action: &Action, lane: &[Action], error: CallError) -> CallError {
    let new_role = lane.iter().find_map(|other| match other {
        Action::CreateRole(role) if other != action => Some(&role.arn.name),
        _ => None,
    });
    match (&error.kind, new_role) {
        (ErrorKind::NotFound(Missing::Role(missing)), Some(name)) if missing == name.as_str() => {
            CallError { kind: ErrorKind::Transient, ..error }
        }
        // IAM does not say which principal it does not know: one that was made a moment ago may show.
        (ErrorKind::Document(DocumentFault::Principal), _) if !names_the_deleted(action) => {
            CallError { kind: ErrorKind::Transient, ..error }
        }
        _ => error,
    }
}
