//! What `bootstrap` asks of AWS beside what a job asks: the cluster and its add-on, managed policies, roles with their trust, and tags.

use std::collections::BTreeMap;

use aws_sdk_eks::types as eks;

use super::{
    Aws,
    associations::add_on,
    eks::issuer,
    error,
    iam::{all, decoded, done, found, odd, sdk_tags},
};
use crate::{
    clients::call::CallError,
    model::{
        agent::{AGENT, AddOn, AutoMode},
        arn::{Account, PolicyArn},
        bootstrap::{BOUNDARY_DESCRIPTION, ListedRole, ObservedAddOn, ObservedPolicy, ObservedZoneProvider, PolicyVersion, Zone},
        gather::Gather as _,
        names::{ClusterName, RoleName},
        oidc::{Audience, Provider},
        role::RoleSettings,
        trust::TrustPolicy,
    },
};

type Tags = BTreeMap<String, String>;

impl Aws {
    /// `DescribeCluster`: where the trust zone of a cluster is.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers without account or issuer.
    pub async fn zone(&self, name: &ClusterName) -> Result<Zone, CallError> {
        let answer = self.eks.describe_cluster().name(name.as_str()).send().await.map_err(|error| error::of_sdk(&error))?;
        let cluster = answer.cluster.ok_or_else(|| odd("the answer has no cluster"))?;
        let status = cluster.status.as_ref().map_or("unknown", eks::ClusterStatus::as_str).to_owned();
        let lacks = |what: &str| odd(format!("the cluster has no {what} (status {status})"));
        let is_auto = cluster.compute_config.as_ref().and_then(eks::ComputeConfigResponse::enabled) == Some(true);
        Ok(Zone {
            account: Account::of_arn(cluster.arn.as_deref().ok_or_else(|| lacks("ARN"))?).map_err(odd)?,
            region: self.region.parse().map_err(odd)?,
            issuer: issuer(cluster.identity).map_err(odd)?.ok_or_else(|| lacks("OIDC issuer"))?,
            auto_mode: if is_auto { AutoMode::On } else { AutoMode::Off },
        })
    }

    /// `DescribeAddon` for the agent of EKS Pod Identity.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeAddon.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn zone_add_on(&self, cluster: &ClusterName) -> Result<ObservedAddOn, CallError> {
        let describe = self.eks.describe_addon().cluster_name(cluster.as_str()).addon_name(AGENT);
        match describe.send().await.map_err(|error| error::of_sdk(&error)) {
            Ok(answer) => {
                let found = answer.addon;
                let tags = found.as_ref().and_then(|found| found.tags.clone()).into_iter().flatten().gather();
                Ok(ObservedAddOn { state: add_on(found.and_then(|found| found.status)), tags })
            }
            Err(error) if error.kind.is_missing() => Ok(ObservedAddOn { state: AddOn::Absent, tags: Tags::new() }),
            Err(error) => Err(error),
        }
    }

    /// `CreateAddon` for the agent of EKS Pod Identity, in the version that EKS takes for the cluster.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAddon.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn create_agent(&self, cluster: &ClusterName, tags: &Tags) -> Result<(), CallError> {
        let tags = tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let create = self.eks.create_addon().cluster_name(cluster.as_str()).addon_name(AGENT).set_tags(Some(tags));
        create.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `DeleteAddon` for the agent of EKS Pod Identity.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DeleteAddon.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn delete_agent(&self, cluster: &ClusterName) -> Result<(), CallError> {
        let delete = self.eks.delete_addon().cluster_name(cluster.as_str()).addon_name(AGENT);
        delete.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `GetOpenIDConnectProvider`, tags included.
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn zone_provider(&self, provider: &Provider) -> Result<Option<ObservedZoneProvider>, CallError> {
        let found = found(self.iam.get_open_id_connect_provider().open_id_connect_provider_arn(&provider.arn).send().await)?;
        Ok(found.map(|provider| ObservedZoneProvider {
            audiences: provider.client_id_list().iter().cloned().gather(),
            tags: read_tags(provider.tags()),
        }))
    }

    /// `CreateOpenIDConnectProvider`, without a thumbprint: IAM finds it.
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html>
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn create_zone_provider(&self, provider: &Provider, audience: &Audience, tags: &Tags) -> Result<(), CallError> {
        let call = self.iam.create_open_id_connect_provider().url(provider.issuer.as_str()).client_id_list(audience.as_str());
        done(call.set_tags(Some(sdk_tags(tags)?)).send().await)
    }

    /// `GetPolicy`, then `GetPolicyVersion` and `ListPolicyVersions` (all pages); none if the policy is missing.
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicy.html>
    ///
    /// # Errors
    /// IAM refuses, does not answer, or answers in an unknown form.
    pub async fn managed_policy(&self, arn: &PolicyArn) -> Result<Option<ObservedPolicy>, CallError> {
        let Some(policy) = found(self.iam.get_policy().policy_arn(arn.as_str()).send().await)?.and_then(|answer| answer.policy) else {
            return Ok(None);
        };
        let mut pages = self.iam.list_policy_versions().policy_arn(arn.as_str()).into_paginator().send();
        let versions: Vec<PolicyVersion> = all(
            async || pages.next().await,
            |page| {
                let version = |version: &aws_sdk_iam::types::PolicyVersion| PolicyVersion {
                    id: version.version_id().unwrap_or_default().to_owned(),
                    is_default: version.is_default_version(),
                };
                Ok(page.versions().iter().map(version).collect())
            },
        )
        .await?;
        let default = policy.default_version_id().unwrap_or_default();
        let version = found(self.iam.get_policy_version().policy_arn(arn.as_str()).version_id(default).send().await)?;
        // It went while it was looked at.
        let Some(version) = version.and_then(|answer| answer.policy_version) else { return Ok(None) };
        let document = decoded(version.document().unwrap_or_default())?;
        let uses = [policy.attachment_count(), policy.permissions_boundary_usage_count()];
        Ok(Some(ObservedPolicy {
            arn: arn.clone(),
            tags: read_tags(policy.tags()),
            document: serde_json::from_str(&document).map_err(odd)?,
            versions,
            uses: uses.into_iter().flatten().filter_map(|count| usize::try_from(count).ok()).sum(),
        }))
    }

    /// `GetPolicy`, for whether it is there alone.
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn policy_exists(&self, arn: &PolicyArn) -> Result<bool, CallError> {
        Ok(found(self.iam.get_policy().policy_arn(arn.as_str()).send().await)?.is_some())
    }

    /// `CreatePolicy`
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html>
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn create_policy(&self, arn: &PolicyArn, document: &serde_json::Value, tags: &Tags) -> Result<(), CallError> {
        let call = self.iam.create_policy().policy_name(arn.policy_name()).policy_document(document.to_string());
        let call = call.description(BOUNDARY_DESCRIPTION);
        done(call.set_tags(Some(sdk_tags(tags)?)).send().await)
    }

    /// `CreatePolicyVersion`, as the version that counts.
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicyVersion.html>
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn create_policy_version(&self, arn: &PolicyArn, document: &serde_json::Value) -> Result<(), CallError> {
        let call = self.iam.create_policy_version().policy_arn(arn.as_str()).policy_document(document.to_string());
        done(call.set_as_default(true).send().await)
    }

    /// `DeletePolicyVersion`
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicyVersion.html>
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn delete_policy_version(&self, arn: &PolicyArn, version: &str) -> Result<(), CallError> {
        done(self.iam.delete_policy_version().policy_arn(arn.as_str()).version_id(version).send().await)
    }

    /// `TagPolicy`
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagPolicy.html>
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn tag_policy(&self, arn: &PolicyArn, tags: &Tags) -> Result<(), CallError> {
        done(self.iam.tag_policy().policy_arn(arn.as_str()).set_tags(Some(sdk_tags(tags)?)).send().await)
    }

    /// `DeletePolicy`
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html>
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn delete_policy(&self, arn: &PolicyArn) -> Result<(), CallError> {
        done(self.iam.delete_policy().policy_arn(arn.as_str()).send().await)
    }

    /// `ListRoles`: the roles of the account with whom they trust, all pages.
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html>
    ///
    /// # Errors
    /// IAM refuses, does not answer, or answers in an unknown form.
    pub async fn roles_with_trust(&self) -> Result<Vec<ListedRole>, CallError> {
        let mut pages = self.iam.list_roles().max_items(1000).into_paginator().send();
        let role = |role: &aws_sdk_iam::types::Role| {
            let trust = decoded(role.assume_role_policy_document().unwrap_or_default())?;
            Ok(ListedRole { arn: role.arn().parse().map_err(odd)?, trust: TrustPolicy::parse(&trust).ok() })
        };
        all(async || pages.next().await, |page| page.roles.iter().map(role).collect()).await
    }

    /// `CreateRole` at the top.
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn create_zone_role(
        &self,
        name: &RoleName,
        trust: &TrustPolicy,
        settings: &RoleSettings,
        tags: &Tags,
    ) -> Result<(), CallError> {
        let call = self.iam.create_role().role_name(name.as_str()).assume_role_policy_document(trust.minified());
        done(call.set_description(settings.description.clone()).set_tags(Some(sdk_tags(tags)?)).send().await)
    }
}

fn read_tags(tags: &[aws_sdk_iam::types::Tag]) -> Tags {
    tags.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).gather()
}
