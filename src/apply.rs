//! The step that changes things: one match, one call per action. Nothing is decided here.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use thiserror::Error;

use crate::{
    call::{CallError, Failed, Kind, Patience},
    connect::Connection,
    plan::{Action, Plan},
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

/// Carries out a plan: the prelude, then all lanes at once. A lane stops at its first failure; the others go on.
///
/// `done` is told of each action as it is done.
///
/// # Errors
/// An action failed, or a signal came; a call in flight was finished.
pub async fn apply(plan: &Plan, connection: &Connection, patience: &Patience, done: impl FnMut(Applied)) -> Result<Outcome, ApplyError> {
    let applier = Applier { connection, patience, done: RefCell::new(done) };
    let mut stops = vec![applier.lane(&plan.prelude).await];
    if stops[0].is_ok() {
        stops = join_all(plan.lanes.iter().map(|lane| applier.lane(lane))).await;
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

struct Applier<'a, F> {
    connection: &'a Connection,
    patience: &'a Patience,
    done: RefCell<F>,
}

impl<F: FnMut(Applied)> Applier<'_, F> {
    async fn lane(&self, actions: &[Action]) -> Result<(), Stop> {
        for action in actions {
            if self.patience.is_interrupted() {
                return Err(Stop::Interrupted);
            }
            let started = Instant::now();
            let answer = self.patience.call(async || self.carry_out(action).await.map_err(|error| settling(action, actions, error))).await;
            match answer {
                Ok(()) => (self.done.borrow_mut())(Applied { action: action.clone(), took: started.elapsed() }),
                Err(error) if error.kind == Kind::AlreadyExists => return Err(Stop::Taken(action.clone())),
                Err(source) => return Err(Stop::Failed(Failed { doing: action.to_string(), call: action.call(), source })),
            }
        }
        Ok(())
    }

    async fn carry_out(&self, action: &Action) -> Result<(), CallError> {
        let Connection { aws, kubernetes, .. } = self.connection;
        match action {
            Action::CreateProvider { provider, audiences } => aws.create_provider(provider, audiences).await,
            Action::AddAudience { provider, audience } => aws.add_audience(provider, audience).await,
            Action::CreateRole(role) => aws.create_role(role).await,
            Action::UpdateRole { role, description, max_session_duration } => {
                aws.update_role(role, description, *max_session_duration).await
            }
            Action::PutBoundary { role, boundary } => aws.put_boundary(role, boundary).await,
            Action::DeleteBoundary { role } => aws.delete_boundary(role).await,
            Action::TagRole { role, tags } => aws.tag_role(role, tags).await,
            Action::UntagRole { role, keys } => aws.untag_role(role, keys).await,
            Action::UpdateTrust { role, trust, .. } => aws.update_trust(role, trust).await,
            Action::AttachPolicy { role, policy } => aws.attach_policy(role, policy).await,
            Action::DetachPolicy { role, policy } => aws.detach_policy(role, policy).await,
            Action::PutInlinePolicy { role, policy, document } => aws.put_inline_policy(role, policy, document).await,
            Action::DeleteInlinePolicy { role, policy } => aws.delete_inline_policy(role, policy).await,
            Action::DeleteRole { role } => aws.delete_role(role).await,
            Action::ApplyServiceAccount(applied) => kubernetes.apply_service_account(applied).await,
            Action::ReleaseServiceAccount { subject } => kubernetes.release_service_account(subject).await,
            Action::DeleteServiceAccount { subject, uid } => kubernetes.delete_service_account(subject, uid).await,
        }
    }
}

/// A role that was just created may be unknown to the next call for some seconds: IAM is eventually consistent.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>
fn settling(action: &Action, lane: &[Action], error: CallError) -> CallError {
    let new_role = lane.iter().find_map(|other| match other {
        Action::CreateRole(role) if other != action => Some(&role.arn.name),
        _ => None,
    });
    match new_role {
        Some(name) if error.kind == Kind::NotFound && error.message.contains(name.as_str()) => CallError { kind: Kind::Transient, ..error },
        _ => error,
    }
}
