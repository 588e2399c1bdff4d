//! What takes a trust zone away: only what `bootstrap` has made for this cluster.

use super::action::{BootstrapAction, BootstrapPlan};
use crate::{
    model::{
        agent::{AGENT, AddOn},
        bootstrap::{DesiredBootstrap, JOB_POLICY, ListedRole, ObservedBootstrap, ObservedPolicy},
        line::counted,
        observed::ObservedRole,
    },
    plan::refusal::{BootstrapRefusal, Counted, Refusal, Refusals},
};

/// How many roles a refusal names.
const MOST_NAMED: usize = 10;

/// What takes the zone away: the role, the boundary, the provider, the add-on, as far as `bootstrap` has made them for this cluster.
///
/// | observed | outcome |
/// |---|---|
/// | a role below `<path><cluster>/`, or one below the path that trusts this cluster | refusal: its pods would lose it |
/// | a role elsewhere that trusts this cluster, as that of another zone | provider and add-on are left, and it is named |
/// | the job's role, ours, with a policy or instance profile of somebody else's | refusal |
/// | the boundary, ours, in use | refusal |
/// | ours | delete it |
/// | not ours | it is left, and named |
///
/// # Errors
/// All refusals.
pub(super) fn remove(desired: &DesiredBootstrap, observed: &ObservedBootstrap) -> Result<BootstrapPlan, Refusals> {
    let mut plan = BootstrapPlan::default();
    let mut refusals = Vec::new();
    let relying = observed.roles.iter().flatten().filter(|role| relies(desired, role));
    let (below, elsewhere): (Vec<_>, Vec<_>) = relying.partition(|role| role.arn.path.as_str().starts_with(desired.path.as_str()));
    if !below.is_empty() {
        let roles = below.iter().take(MOST_NAMED).map(|role| role.arn.to_string()).collect();
        refusals.push(BootstrapRefusal::RolesBelow { count: Counted(below.len()), roles });
    }
    // What they need is the cluster's, and not this zone's alone.
    let needed = needed(&elsewhere);
    if let Some(role) = &observed.role {
        if desired.is_own(&role.tags) {
            match delete_role(role) {
                Ok(actions) => plan.actions.extend(actions),
                Err(refusal) => refusals.push(refusal),
            }
        } else {
            plan.left.push(format!("role `{}`: `bootstrap` did not make it for this cluster", role.arn));
        }
    }
    if let Some(policy) = &observed.own_boundary {
        if desired.is_own(&policy.tags) {
            match delete_policy(policy) {
                Ok(actions) => plan.actions.extend(actions),
                Err(refusal) => refusals.push(refusal),
            }
        } else {
            plan.left.push(format!("policy `{}`: `bootstrap` did not make it for this cluster", policy.arn));
        }
    }
    if let Some(provider) = &observed.provider {
        let issuer = desired.provider.issuer.host_and_path();
        match &needed {
            _ if !desired.is_own(&provider.tags) => {
                plan.left.push(format!("OIDC provider `{issuer}`: `bootstrap` did not make it for this cluster"));
            }
            Some(needed) => plan.left.push(format!("OIDC provider `{issuer}`: {needed}")),
            None => plan.actions.push(BootstrapAction::DeleteProvider { provider: desired.provider.clone() }),
        }
    }
    if let Some(agent) = &observed.agent
        && agent.state != AddOn::Absent
        && desired.is_own(&agent.tags)
        && agent.state != AddOn::Failed("DELETING".to_owned())
    {
        match &needed {
            Some(needed) => plan.left.push(format!("add-on `{AGENT}` of EKS cluster `{}`: {needed}", desired.cluster)),
            None => plan.actions.push(BootstrapAction::DeleteAgent { cluster: desired.cluster.clone() }),
        }
    }
    if refusals.is_empty() {
        return Ok(plan);
    }
    Err(Refusals(refusals.into_iter().map(|refusal| Refusal::Bootstrap(Box::new(refusal))).collect()))
}

/// What these roles need, in words; nothing if there are none.
fn needed(roles: &[&ListedRole]) -> Option<String> {
    let named = roles.iter().take(MOST_NAMED).map(|role| format!("`{}`", role.arn)).collect::<Vec<_>>().join(", ");
    let more = roles.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!roles.is_empty()).then(|| format!("{} elsewhere may need it: {named}{more}", counted(roles.len(), "role")))
}

/// Whether a role is one of this cluster's environments, or lets its pods in. The job's own role does too, and goes with the zone.
fn relies(desired: &DesiredBootstrap, role: &ListedRole) -> bool {
    if role.arn == desired.role {
        return false;
    }
    let of_cluster = format!("{}{}/", desired.path, desired.cluster);
    let names = [desired.provider.arn.as_str(), desired.cluster_arn.as_str()];
    role.arn.path.as_str().starts_with(&of_cluster)
        || role.trust.as_ref().is_some_and(|trust| {
            let lets_in = trust.statements().iter().filter(|statement| statement["Effect"] != "Deny");
            lets_in.map(ToString::to_string).any(|statement| names.iter().any(|name| statement.contains(&format!("\"{name}\""))))
        })
}

pub(super) fn delete_role(role: &ObservedRole) -> Result<Vec<BootstrapAction>, BootstrapRefusal> {
    let name = &role.arn.name;
    let inline =
        role.inline_policies.keys().filter(|policy| policy.as_str() != JOB_POLICY).map(|policy| format!("inline policy `{policy}`"));
    let attached = role.attached.iter().map(|policy| format!("policy `{policy}`"));
    let profiles = role.instance_profiles.iter().map(|profile| format!("instance profile `{profile}`"));
    let foreign: Vec<String> = inline.chain(attached).chain(profiles).collect();
    if !foreign.is_empty() {
        return Err(BootstrapRefusal::RoleInUse { role: name.clone(), what: foreign.join(", ") });
    }
    let own = role.inline_policies.keys().any(|policy| policy.as_str() == JOB_POLICY);
    let permissions = own.then(|| BootstrapAction::DeletePermissions { role: name.clone() });
    Ok(permissions.into_iter().chain([BootstrapAction::DeleteRole { role: name.clone() }]).collect())
}

/// IAM wants the versions that do not count gone before the policy.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html>
fn delete_policy(policy: &ObservedPolicy) -> Result<Vec<BootstrapAction>, BootstrapRefusal> {
    if policy.uses > 0 {
        let uses = counted(policy.uses, "IAM identity");
        return Err(BootstrapRefusal::PolicyInUse { policy: Box::new(policy.arn.clone()), uses });
    }
    let versions = policy.versions.iter().filter(|version| !version.is_default);
    let versions = versions.map(|version| BootstrapAction::DeletePolicyVersion { policy: policy.arn.clone(), version: version.id.clone() });
    Ok(versions.chain([BootstrapAction::DeletePolicy { policy: policy.arn.clone() }]).collect())
}
