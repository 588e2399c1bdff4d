//! What AWS has of a trust zone: reads only, side by side where nothing waits for another.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clients::{
        aws::Aws,
        call::{CallError, Failed, Patience},
    },
    model::{
        arn::RoleArn,
        bootstrap::{BootstrapSpec, DesiredBootstrap, JOB_POLICY, ObservedAddOn, ObservedBootstrap, Zone, access_role},
        names::{PolicyName, RolePath},
        observed::ObservedRole,
    },
    plan::bootstrap::Direction,
};

/// What a run works with.
pub(super) struct Bench<'a> {
    pub(super) aws: Aws,
    pub(super) spec: &'a BootstrapSpec,
    pub(super) direction: Direction,
    pub(super) patience: &'a Patience,
}

impl Bench<'_> {
    pub(super) async fn call<T>(
        &self,
        doing: &str,
        call: &'static str,
        attempt: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, Failed> {
        self.patience.call(call, attempt).await.map_err(Failed::to(doing, call))
    }

    /// The cluster that is named.
    pub(super) async fn zone(&self) -> Result<Zone, Failed> {
        let cluster = &self.spec.cluster;
        self.call(&format!("describe EKS cluster `{cluster}`"), "eks:DescribeCluster", async || self.aws.zone(cluster).await).await
    }

    /// Everything that a plan asks for.
    pub(super) async fn observe(&self, desired: &DesiredBootstrap) -> Result<ObservedBootstrap, Failed> {
        let aws = &self.aws;
        let own = desired.own_boundary();
        let named = desired.boundary.as_ref().filter(|policy| policy.document.is_none() && self.direction == Direction::Make);
        let is_removed = self.direction == Direction::Remove;
        let looks_at_own = is_removed || desired.boundary.as_ref().is_some_and(|policy| policy.document.is_some());
        let (provider, own_boundary, named_boundary, role, agent, roles) = tokio::try_join!(
            self.call("read the OIDC provider", "iam:GetOpenIDConnectProvider", async || aws.zone_provider(&desired.provider).await),
            async {
                if !looks_at_own {
                    return Ok(None);
                }
                self.call(&format!("read policy `{own}`"), "iam:GetPolicy", async || aws.managed_policy(&own).await).await
            },
            async {
                let Some(policy) = named else { return Ok(None) };
                let doing = format!("read policy `{}`", policy.arn);
                self.call(&doing, "iam:GetPolicy", async || aws.policy_exists(&policy.arn).await).await.map(Some)
            },
            self.role(desired),
            self.agent(desired),
            async {
                if !is_removed {
                    return Ok(None);
                }
                let doing = "list the roles, to see which rely on the cluster";
                let roles = self.call(doing, "iam:ListRoles", async || aws.roles_with_trust().await).await?;
                Ok(Some(roles.into_iter().filter(|role| !self.goes_too(&role.arn)).collect()))
            },
        )?;
        Ok(ObservedBootstrap { provider, own_boundary, named_boundary, role, agent, roles })
    }

    /// Whether a role is that of the cluster access which is taken away before the zone. A list may show it for a while.
    fn goes_too(&self, role: &RoleArn) -> bool {
        self.spec.access.is_some() && access_role(&self.spec.role).is_some_and(|name| name == role.name && role.path == RolePath::top())
    }

    /// The job's role with all that is on it; none if there is none.
    pub(super) async fn role(&self, desired: &DesiredBootstrap) -> Result<Option<ObservedRole>, Failed> {
        let (aws, name) = (&self.aws, &desired.role.name);
        let read = format!("read role `{name}`");
        let Some(role) = self.call(&read, "iam:GetRole", async || aws.role(name).await).await? else { return Ok(None) };
        if !desired.is_own(&role.tags) {
            return Ok(Some(role));
        }
        let (inline, attached, instance_profiles) = tokio::try_join!(
            self.call(&read, "iam:ListRolePolicies", async || aws.inline_policies(name).await),
            self.call(&read, "iam:ListAttachedRolePolicies", async || aws.attached_policies(name).await),
            async {
                if self.direction == Direction::Make {
                    return Ok(BTreeSet::new());
                }
                self.call(&read, "iam:ListInstanceProfilesForRole", async || aws.instance_profiles(name).await).await
            },
        )?;
        let mut inline_policies: BTreeMap<PolicyName, _> = inline.into_iter().map(|policy| (policy, None)).collect();
        if self.direction == Direction::Make
            && let Some((policy, document)) = inline_policies.iter_mut().find(|(policy, _)| policy.as_str() == JOB_POLICY)
        {
            *document = self.call(&read, "iam:GetRolePolicy", async || aws.inline_policy(name, policy).await).await?;
        }
        Ok(Some(ObservedRole { attached, inline_policies, instance_profiles, ..role }))
    }

    /// The add-on, where it is to be there or may have to go.
    async fn agent(&self, desired: &DesiredBootstrap) -> Result<Option<ObservedAddOn>, Failed> {
        if !desired.agent && self.direction == Direction::Make {
            return Ok(None);
        }
        let read = "read the add-on of EKS Pod Identity";
        self.call(read, "eks:DescribeAddon", async || self.aws.zone_add_on(&desired.cluster).await).await.map(Some)
    }
}
