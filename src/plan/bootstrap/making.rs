//! What makes a trust zone as it should be. Guards come before grants.

use std::collections::BTreeMap;

use serde_json::Value;

use super::action::{BootstrapAction, BootstrapPlan};
use crate::{
    model::{
        agent::{AGENT, AddOn},
        bootstrap::{CLUSTER_TAG, DesiredBootstrap, DesiredPolicy, JOB_POLICY, ObservedBootstrap, ObservedPolicy, REGION_TAG},
        document,
        line::counted,
        observed::ObservedRole,
        role::RoleSettings,
        trust::{TrustPolicy, Trusted},
    },
    plan::refusal::{BootstrapRefusal, Refusal, Refusals},
};

/// The most versions that IAM keeps of a managed policy.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html>
const MOST_VERSIONS: usize = 5;

/// What makes the zone as it should be, in this order: whom the job's role no longer trusts; the provider; the boundary; the role and what it
/// may do; whom it trusts from now on; the agent.
///
/// | observed | actions |
/// |---|---|
/// | no provider | create it |
/// | a provider without the audience | add the audience; nothing else of a provider is ever changed |
/// | no boundary of the name, and the spec has its document | create it |
/// | ours, with another document | a new version that counts; before it the oldest other version goes where there are five |
/// | ours, without some of the tags | set them |
/// | not ours, or a named boundary that is missing | refusal |
/// | no role of the name | create it, then put its policy |
/// | ours, which trusts more | narrow its trust before all else |
/// | ours, with another policy, description or tags | change that |
/// | ours, which trusts less | widen its trust at last |
/// | statements, policies on the role that are not ours | they stay, and a note names them |
/// | not ours | refusal |
/// | the agent is to be there, and is not | create the add-on |
///
/// # Errors
/// All refusals.
pub(super) fn make(desired: &DesiredBootstrap, observed: &ObservedBootstrap) -> Result<BootstrapPlan, Refusals> {
    let mut plan = BootstrapPlan::default();
    let mut refusals = Vec::new();
    let mut last = None;
    match own(desired, observed.role.as_ref()) {
        Ok(Some(role)) => {
            let (first, then) = trust(desired, role);
            plan.actions.extend(first);
            last = then;
            plan.notes.extend(strangers(desired, role));
        }
        Ok(None) => {}
        Err(refusal) => refusals.push(refusal),
    }
    plan.actions.extend(provider(desired, observed));
    match boundary(desired, observed) {
        Ok(actions) => plan.actions.extend(actions),
        Err(refusal) => refusals.push(refusal),
    }
    plan.actions.extend(role(desired, observed.role.as_ref()));
    plan.actions.extend(last);
    if desired.agent && observed.agent.as_ref().is_some_and(|agent| agent.state == AddOn::Absent) {
        plan.actions.push(BootstrapAction::CreateAgent { cluster: desired.cluster.clone(), tags: desired.tags.clone() });
    }
    if let Some(AddOn::Failed(status)) = observed.agent.as_ref().filter(|_| desired.agent).map(|agent| &agent.state) {
        plan.notes.push(format!("add-on `{AGENT}` has status `{status}`: pods may get no role by EKS Pod Identity. See why in EKS"));
    }
    if desired.boundary.is_none() {
        plan.notes.push(format!(
            "the jobs may give roles any permission: nothing bounds those below `{}`. `--boundary` with a file or an ARN does",
            desired.path
        ));
    }
    if refusals.is_empty() {
        return Ok(plan);
    }
    Err(Refusals(refusals.into_iter().map(|refusal| Refusal::Bootstrap(Box::new(refusal))).collect()))
}

/// The cluster that tags name, as people read it.
fn zone_of(tags: &BTreeMap<String, String>) -> Option<String> {
    let cluster = tags.get(CLUSTER_TAG)?;
    Some(tags.get(REGION_TAG).map_or_else(|| format!("`{cluster}`"), |region| format!("`{cluster}` in region `{region}`")))
}

/// A role that is there, if it is ours.
fn own<'a>(desired: &DesiredBootstrap, role: Option<&'a ObservedRole>) -> Result<Option<&'a ObservedRole>, BootstrapRefusal> {
    match role {
        Some(role) if !desired.is_own(&role.tags) => {
            let found = zone_of(&role.tags);
            Err(BootstrapRefusal::ForeignRole { role: Box::new(role.arn.clone()), found })
        }
        role => Ok(role),
    }
}

/// What makes a role as it should be, in the order of [`make`], and what people should know of it.
pub(super) fn role_alone(
    desired: &DesiredBootstrap,
    observed: Option<&ObservedRole>,
) -> Result<(Vec<BootstrapAction>, Vec<String>), BootstrapRefusal> {
    let found = own(desired, observed)?;
    let (first, last) = found.map(|found| trust(desired, found)).unwrap_or_default();
    let notes = found.map(|found| strangers(desired, found)).unwrap_or_default();
    Ok((first.into_iter().chain(role(desired, found)).chain(last).collect(), notes))
}

/// A provider may be somebody else's, as on clusters that Qovery manages: its tags and thumbprints are left alone.
fn provider(desired: &DesiredBootstrap, observed: &ObservedBootstrap) -> Option<BootstrapAction> {
    let (provider, audience) = (desired.provider.clone(), desired.audience.clone());
    match &observed.provider {
        None => Some(BootstrapAction::CreateProvider { provider, audience, tags: desired.tags.clone() }),
        Some(found) if !found.audiences.contains(audience.as_str()) => Some(BootstrapAction::AddAudience { provider, audience }),
        Some(_) => None,
    }
}

fn boundary(desired: &DesiredBootstrap, observed: &ObservedBootstrap) -> Result<Vec<BootstrapAction>, BootstrapRefusal> {
    let Some(DesiredPolicy { arn, document }) = &desired.boundary else { return Ok(Vec::new()) };
    let Some(document) = document else {
        return match observed.named_boundary {
            Some(false) => Err(BootstrapRefusal::NoBoundary(Box::new(arn.clone()))),
            _ => Ok(Vec::new()),
        };
    };
    match &observed.own_boundary {
        None => {
            let (policy, document, tags) = (arn.clone(), document.clone(), desired.tags.clone());
            Ok(vec![BootstrapAction::CreatePolicy { policy, document, tags }])
        }
        Some(found) if desired.is_own(&found.tags) => Ok(versions(found, document, &desired.tags)),
        Some(found) => Err(BootstrapRefusal::ForeignPolicy { policy: Box::new(found.arn.clone()), found: zone_of(&found.tags) }),
    }
}

fn versions(found: &ObservedPolicy, document: &Value, tags: &BTreeMap<String, String>) -> Vec<BootstrapAction> {
    let mut actions = Vec::new();
    let policy = found.arn.clone();
    if !document::means_the_same(&found.document, document) {
        if found.versions.len() >= MOST_VERSIONS
            && let Some(oldest) = found.versions.iter().filter(|version| !version.is_default).min_by_key(|version| version.number())
        {
            actions.push(BootstrapAction::DeletePolicyVersion { policy: policy.clone(), version: oldest.id.clone() });
        }
        let before = found.document.clone();
        actions.push(BootstrapAction::CreatePolicyVersion { policy: policy.clone(), before, document: document.clone() });
    }
    let tags = missing(&found.tags, tags);
    if !tags.is_empty() {
        actions.push(BootstrapAction::TagPolicy { policy, tags });
    }
    actions
}

fn role(desired: &DesiredBootstrap, observed: Option<&ObservedRole>) -> Vec<BootstrapAction> {
    let role = desired.role.name.clone();
    let document = desired.permissions.clone();
    let Some(found) = observed else {
        let settings = RoleSettings { description: Some(desired.description.clone()), ..RoleSettings::default() };
        let trust = TrustPolicy::new(&desired.anchor(), &desired.trusted);
        let create = BootstrapAction::CreateRole { role: desired.role.clone(), trust, settings, tags: desired.tags.clone() };
        return vec![create, BootstrapAction::PutPermissions { role, before: None, document }];
    };
    let mut actions = Vec::new();
    if found.settings.description.as_deref() != Some(&desired.description) {
        let settings = RoleSettings { description: Some(desired.description.clone()), ..found.settings.clone() };
        actions.push(BootstrapAction::UpdateRole { role: role.clone(), settings });
    }
    let tags = missing(&found.tags, &desired.tags);
    if !tags.is_empty() {
        actions.push(BootstrapAction::TagRole { role: role.clone(), tags });
    }
    let before = found.inline_policies.iter().find(|(name, _)| name.as_str() == JOB_POLICY).and_then(|(_, document)| document.clone());
    if !before.as_ref().is_some_and(|before| document::means_the_same(before, &document)) {
        actions.push(BootstrapAction::PutPermissions { role, before, document });
    }
    actions
}

/// What makes the role trust nobody that it should not, and what then makes it trust all that it should.
fn trust(desired: &DesiredBootstrap, found: &ObservedRole) -> (Option<BootstrapAction>, Option<BootstrapAction>) {
    let anchor = desired.anchor();
    let role = &desired.role.name;
    let narrowed = found.trust.rendered(&anchor, &in_both(&found.trust.own_trusted(&anchor, desired.trusted.kind), &desired.trusted));
    let wanted = narrowed.rendered(&anchor, &desired.trusted);
    let change = |before: &TrustPolicy, trust: &TrustPolicy, narrows| {
        let (role, before, trust) = (role.clone(), before.clone(), trust.clone());
        (!before.means_the_same(&trust)).then_some(BootstrapAction::UpdateTrust { role, before, trust, narrows })
    };
    (change(&found.trust, &narrowed, true), change(&narrowed, &wanted, false))
}

/// Whom both let in: of each two patterns the narrower one.
fn in_both(one: &Trusted, other: &Trusted) -> Trusted {
    let mut both = Trusted::nobody(other.kind);
    for (grant, patterns) in &one.subjects {
        for pattern in patterns {
            for wanted in other.subjects.get(grant).into_iter().flatten() {
                let narrower = [(wanted, pattern), (pattern, wanted)].into_iter().find(|(wide, narrow)| wide.covers(narrow));
                if let Some((_, narrow)) = narrower {
                    both.add(grant, narrow.clone());
                }
            }
        }
    }
    both
}

/// What is on the job's role and `bootstrap` has not put there.
fn strangers(desired: &DesiredBootstrap, role: &ObservedRole) -> Vec<String> {
    let anchor = desired.anchor();
    let name = &desired.role.name;
    let others = role.trust.rendered(&anchor, &Trusted::nobody(desired.trusted.kind));
    let foreign = others.statements().iter().filter(|statement| statement["Effect"] != "Deny").count();
    let mut notes = Vec::new();
    if foreign > 0 {
        notes.push(format!(
            "{} of the trust policy of role `{name}` stays as it is, since `bootstrap` did not write it: whom it lets in can do what the jobs can",
            counted(foreign, "statement")
        ));
    }
    for policy in role.inline_policies.keys().filter(|policy| policy.as_str() != JOB_POLICY) {
        notes.push(format!("inline policy `{policy}` of role `{name}` stays as it is, since `bootstrap` did not write it"));
    }
    for policy in &role.attached {
        notes.push(format!("policy `{policy}` stays attached to role `{name}`, since `bootstrap` did not attach it"));
    }
    notes
}

/// The tags that are not there, or have another value. IAM ignores the case of a role's tag keys.
pub(super) fn missing(found: &BTreeMap<String, String>, desired: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let has = |key: &str, value: &str| found.iter().any(|(other, present)| other.eq_ignore_ascii_case(key) && present == value);
    desired.iter().filter(|(key, value)| !has(key, value)).map(|(key, value)| (key.clone(), value.clone())).collect()
}
