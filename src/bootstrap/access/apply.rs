//! The step that changes things: one call for each action, in order. Nobody gets into the group before the guard is in force.

use std::time::Duration;

use tokio::time::Instant;

use super::{BootstrapError, Gate};
use crate::{
    clients::call::{CallError, ErrorKind, Failed},
    plan::{
        Call as _,
        bootstrap::access::{AccessAction, AccessPlan},
    },
    report::Report,
    steps::StepError,
};

impl Gate<'_> {
    /// Carries out a plan. Before somebody gets into the group, the guard is waited for.
    pub(super) async fn carry_out_all(&self, plan: &AccessPlan, settle: Duration, report: &mut Report<'_>) -> Result<(), BootstrapError> {
        let mut is_in_force = false;
        for action in &plan.actions {
            if self.bench.patience.is_interrupted() {
                return Err(StepError::Interrupted.into());
            }
            if action.lets_in() && !is_in_force {
                self.wait_for_the_guard(settle, report).await?;
                is_in_force = true;
            }
            let started = Instant::now();
            match self.bench.patience.call(action.call(), async || self.carry_out(action).await).await {
                Ok(()) => report.did(action, started.elapsed()),
                Err(error) if is_overtaken(action, &error.kind) => return Ok(()),
                Err(source) => return Err(Failed { doing: action.to_string(), call: action.call(), source }.into()),
            }
        }
        Ok(())
    }

    /// One match, one call per action.
    async fn carry_out(&self, action: &AccessAction) -> Result<(), CallError> {
        let aws = &self.bench.aws;
        match action {
            AccessAction::Role(action) => self.bench.carry_out(action).await,
            AccessAction::Apply { object, seen, .. } => self.kubernetes.apply_cluster_object(object, seen.as_deref()).await,
            AccessAction::CreateEntry { cluster, role, groups, tags } => aws.create_access_entry(cluster, role, groups, tags).await,
            AccessAction::UpdateEntry { cluster, role, groups, .. } => aws.update_access_entry(cluster, role, groups).await,
            AccessAction::TagEntry { arn, tags, .. } => aws.tag_access_entry(arn, tags).await,
            AccessAction::DeleteEntry { cluster, role } => aws.delete_access_entry(cluster, role).await,
            AccessAction::Delete { at, uid } => self.kubernetes.delete_cluster_object(at, uid).await,
        }
    }
}

/// Whether an answer says that what the plan saw is no longer so.
fn is_overtaken(action: &AccessAction, kind: &ErrorKind) -> bool {
    match (action, kind) {
        (AccessAction::Role(action), kind) => super::super::apply::is_overtaken(action, kind),
        (_, ErrorKind::AlreadyExists | ErrorKind::Changed) => true,
        (AccessAction::UpdateEntry { .. } | AccessAction::TagEntry { .. }, kind) => kind.is_missing(),
        _ => false,
    }
}
