//! The step that changes things: one call for each action, in order.

use tokio::time::Instant;

use super::{error::BootstrapError, observe::Bench};
use crate::{
    clients::call::{CallError, ErrorKind, Failed},
    model::bootstrap::JOB_POLICY,
    model::names::{NameProblem, PolicyName},
    plan::{
        Call as _,
        bootstrap::{BootstrapAction, BootstrapPlan},
    },
    report::Report,
    steps::StepError,
};

impl Bench<'_> {
    /// Carries out a plan.
    pub(super) async fn apply(&self, plan: &BootstrapPlan, report: &mut Report<'_>) -> Result<(), BootstrapError> {
        for action in &plan.actions {
            if self.patience.is_interrupted() {
                return Err(StepError::Interrupted.into());
            }
            let started = Instant::now();
            match self.patience.call(action.call(), async || self.carry_out(action).await).await {
                Ok(()) => report.did(action, started.elapsed()),
                Err(error) if is_overtaken(action, &error.kind) => return Ok(()),
                Err(source) => return Err(Failed { doing: action.to_string(), call: action.call(), source }.into()),
            }
        }
        Ok(())
    }

    /// One match, one call per action.
    pub(super) async fn carry_out(&self, action: &BootstrapAction) -> Result<(), CallError> {
        let aws = &self.aws;
        match action {
            BootstrapAction::CreateProvider { provider, audience, tags } => aws.create_zone_provider(provider, audience, tags).await,
            BootstrapAction::AddAudience { provider, audience } => aws.add_audience(provider, audience).await,
            BootstrapAction::DeleteProvider { provider } => aws.delete_provider(provider).await,
            BootstrapAction::CreatePolicy { policy, document, tags } => aws.create_policy(policy, document, tags).await,
            BootstrapAction::CreatePolicyVersion { policy, document, .. } => aws.create_policy_version(policy, document).await,
            BootstrapAction::DeletePolicyVersion { policy, version } => aws.delete_policy_version(policy, version).await,
            BootstrapAction::TagPolicy { policy, tags } => aws.tag_policy(policy, tags).await,
            BootstrapAction::DeletePolicy { policy } => aws.delete_policy(policy).await,
            BootstrapAction::CreateRole { role, trust, settings, tags } => aws.create_zone_role(&role.name, trust, settings, tags).await,
            BootstrapAction::UpdateRole { role, settings } => aws.update_role(role, settings).await,
            BootstrapAction::TagRole { role, tags } => aws.tag_role(role, tags).await,
            BootstrapAction::PutPermissions { role, document, .. } => aws.put_inline_policy(role, &job_policy()?, document).await,
            BootstrapAction::DeletePermissions { role } => aws.delete_inline_policy(role, &job_policy()?).await,
            BootstrapAction::UpdateTrust { role, trust, .. } => aws.update_trust(role, trust).await,
            BootstrapAction::DeleteRole { role } => aws.delete_role(role).await,
            BootstrapAction::CreateAgent { cluster, tags } => aws.create_agent(cluster, tags).await,
            BootstrapAction::DeleteAgent { cluster } => aws.delete_agent(cluster).await,
        }
    }
}

fn job_policy() -> Result<PolicyName, CallError> {
    JOB_POLICY.parse().map_err(|problem: NameProblem| CallError::not_sent(problem.to_string()))
}

/// Whether an answer says that what the plan saw is no longer so.
pub(super) fn is_overtaken(action: &BootstrapAction, kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::AlreadyExists | ErrorKind::Changed => true,
        ErrorKind::NotFound(_) => matches!(
            action,
            BootstrapAction::DeletePolicyVersion { .. }
                | BootstrapAction::DeletePolicy { .. }
                | BootstrapAction::DeletePermissions { .. }
                | BootstrapAction::DeleteRole { .. }
                | BootstrapAction::DeleteAgent { .. }
        ),
        // The version of a call whose answer was lost counts too.
        ErrorKind::Quota(_) => matches!(action, BootstrapAction::CreatePolicyVersion { .. }),
        _ => false,
    }
}
