//! The step that changes things: the prelude, then all lanes at once, then the closing, one call for each action. What a failure means is decided in
//! `meaning`.

mod meaning;

use std::{cell::RefCell, time::Duration};

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;

use self::meaning::{Meaning, meaning};
use crate::{
    clients::call::{Admission, CallError, ErrorKind, Failed, Patience, RoleFault},
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
pub enum Completion {
    /// All of it.
    Whole,
    /// This was to be created and is there already: what is there must be observed again.
    Overtaken(Box<Action>),
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
    world: &impl World,
    patience: &Patience,
    settle: Duration,
    done: impl FnMut(Applied),
) -> Result<Completion, ApplyError> {
    let applier = Applier { world, patience, settle, done: RefCell::new(done) };
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
    let mut completion = Completion::Whole;
    for stop in stops {
        match stop {
            Ok(()) => {}
            Err(Stop::Overtaken(action)) => completion = Completion::Overtaken(Box::new(action)),
            Err(Stop::Interrupted) => return Err(ApplyError::Interrupted),
            Err(Stop::Failed(error)) => failed.push(error),
        }
    }
    if failed.is_empty() { Ok(completion) } else { Err(ApplyError::Failed(failed)) }
}

/// Why a lane ended early.
enum Stop {
    Overtaken(Action),
    Interrupted,
    Failed(Failed),
}

struct Applier<'a, C, F> {
    world: &'a C,
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
            let mut answer = self.carry_out(action, actions, writers).await;
            if answer.as_ref().is_err_and(|error| may_be_of_the_past(action, &error.kind)) && self.patience.sleep(self.settle).await {
                answer = self.carry_out(action, actions, writers).await;
            }
            match answer {
                Ok(()) => (self.done.borrow_mut())(Applied { action: action.clone(), took: started.elapsed() }),
                Err(error) if meaning(action, actions, writers, &error.kind) == Meaning::Overtaken => {
                    return Err(Stop::Overtaken(action.clone()));
                }
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
        let answer = self.patience.call(call, async || self.world.rehearse(applied).await).await;
        match answer {
            // It has changed since it was seen: what is done next shows it again.
            Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
            // Then it is asked when the ServiceAccount is applied.
            Err(error) if error.kind == ErrorKind::Admission(Admission::NoDryRun) => Ok(()),
            answer => answer.map_err(Failed::to(format!("try out ServiceAccount `{}` before anything is changed", applied.subject), call)),
        }
    }

    async fn carry_out(&self, action: &Action, lane: &[Action], writers: Writers) -> Result<(), CallError> {
        let attempt = async || {
            let Err(error) = self.world.carry_out(action).await else { return Ok(()) };
            let error = self.missing(action, error).await;
            match meaning(action, lane, writers, &error.kind) {
                Meaning::Done => Ok(()),
                Meaning::Settling => Err(CallError { kind: ErrorKind::Transient, ..error }),
                Meaning::Overtaken | Meaning::Failed => Err(error),
            }
        };
        self.patience.call(action.call(), attempt).await
    }

    /// That the role or association is missing, where that is why its change is denied. A call names a role without its path, and of a role
    /// that does not exist IAM knows none: to a job that may change only the roles below a path it then says that the call is not allowed.
    /// So it is with the tags of an association.
    async fn missing(&self, action: &Action, error: CallError) -> CallError {
        if !error.kind.is_denied() {
            return error;
        }
        let seen = match (action.changed_role(), action.changed_association()) {
            (Some(role), _) => self.patience.call("iam:GetRole", async || self.world.role_exists(role).await).await,
            (None, Some((cluster, id))) => {
                let call = "eks:DescribePodIdentityAssociation";
                self.patience.call(call, async || self.world.association_exists(cluster, id).await).await
            }
            (None, None) => return error,
        };
        match seen {
            Err(missing) if missing.kind.is_missing() => missing,
            _ => error,
        }
    }
}

/// Whether a failure may say what was so a while ago.
fn may_be_of_the_past(action: &Action, failure: &ErrorKind) -> bool {
    match failure {
        // Where permissions depend on a path or a tag, a call on what has gone is denied; that it has may show a while later.
        ErrorKind::Denied(_) => action.changed_role().is_some() || action.changed_association().is_some(),
        // A run that was killed has made or changed the role.
        ErrorKind::Role(RoleFault::Missing | RoleFault::Trust) => true,
        _ => false,
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
