//! EKS access entries: which principals of IAM come into a cluster, and in which groups.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_eks::types::AuthenticationMode as Mode;

use super::{Aws, Cluster, eks::read_cluster, error};
use crate::{
    clients::call::{CallError, ErrorKind},
    model::{
        arn::RoleArn,
        bootstrap::{AccessEntry, AuthenticationMode},
        gather::Gather as _,
        names::ClusterName,
    },
};

/// The type of an entry for what is no node.
const STANDARD: &str = "STANDARD";

impl Aws {
    /// `DescribeCluster`: where the cluster is, and how it knows principals.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn cluster_and_mode(&self, name: &ClusterName) -> Result<(Cluster, AuthenticationMode), CallError> {
        let answer = self.eks.describe_cluster().name(name.as_str()).send().await.map_err(|error| error::of_sdk(&error))?;
        let access = answer.cluster.as_ref().and_then(|cluster| cluster.access_config.as_ref());
        let mode = match access.and_then(|access| access.authentication_mode.as_ref()) {
            Some(Mode::ConfigMap) => AuthenticationMode::ConfigMap,
            _ => AuthenticationMode::AccessEntries,
        };
        Ok((read_cluster(answer.cluster).map_err(CallError::unreadable)?, mode))
    }

    /// `DescribeAccessEntry`; none if the role has none.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeAccessEntry.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn access_entry(&self, cluster: &ClusterName, role: &RoleArn) -> Result<Option<AccessEntry>, CallError> {
        let describe = self.eks.describe_access_entry().cluster_name(cluster.as_str()).principal_arn(role.to_string());
        let answer = match describe.send().await.map_err(|error| error::of_sdk(&error)) {
            Ok(answer) => answer,
            Err(error) if error.kind.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        let entry = answer.access_entry.ok_or_else(|| CallError::unreadable("the answer has no access entry"))?;
        Ok(Some(AccessEntry {
            groups: entry.kubernetes_groups.unwrap_or_default().into_iter().gather(),
            kind: entry.r#type.unwrap_or_default(),
            arn: entry.access_entry_arn.unwrap_or_default(),
            tags: entry.tags.unwrap_or_default().into_iter().gather(),
        }))
    }

    /// `CreateAccessEntry` of type `STANDARD`.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessEntry.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer. A role that was made a moment ago may be unknown to EKS: that passes.
    pub async fn create_access_entry(
        &self,
        cluster: &ClusterName,
        role: &RoleArn,
        groups: &BTreeSet<String>,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let create = self.eks.create_access_entry().cluster_name(cluster.as_str()).principal_arn(role.to_string()).r#type(STANDARD);
        let create = create.set_kubernetes_groups(Some(groups.iter().cloned().collect()));
        let create = create.set_tags(Some(tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect()));
        create.send().await.map(drop).map_err(|error| of_principal(error::of_sdk(&error)))
    }

    /// `UpdateAccessEntry`: the groups, all of them.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateAccessEntry.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn update_access_entry(&self, cluster: &ClusterName, role: &RoleArn, groups: &BTreeSet<String>) -> Result<(), CallError> {
        let update = self.eks.update_access_entry().cluster_name(cluster.as_str()).principal_arn(role.to_string());
        let update = update.set_kubernetes_groups(Some(groups.iter().cloned().collect()));
        update.send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `TagResource` of an access entry.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_TagResource.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn tag_access_entry(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<(), CallError> {
        let tags = tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        self.eks.tag_resource().resource_arn(arn).set_tags(Some(tags)).send().await.map(drop).map_err(|error| error::of_sdk(&error))
    }

    /// `DeleteAccessEntry`; one that is gone is as good.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DeleteAccessEntry.html>
    ///
    /// # Errors
    /// EKS refuses or does not answer.
    pub async fn delete_access_entry(&self, cluster: &ClusterName, role: &RoleArn) -> Result<(), CallError> {
        let delete = self.eks.delete_access_entry().cluster_name(cluster.as_str()).principal_arn(role.to_string());
        match delete.send().await.map(drop).map_err(|error| error::of_sdk(&error)) {
            Err(error) if error.kind.is_missing() => Ok(()),
            answer => answer,
        }
    }
}

/// EKS sees a role some seconds after IAM has it, and until then says that it is no principal.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>
fn of_principal(error: CallError) -> CallError {
    let is_unknown = error.code == "InvalidParameterException" && error.message.contains("invalid principal");
    if is_unknown { CallError { kind: ErrorKind::Transient, ..error } } else { error }
}
