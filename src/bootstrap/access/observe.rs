//! What AWS and the cluster have of cluster access: reads only, side by side where nothing waits for another.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::Gate;
use crate::{
    clients::call::Failed,
    model::bootstrap::{
        AccessEntry, AuthenticationMode, ObjectKind, ObjectRef, ObservedAccess, ObservedNamespace, ObservedObject, all_rights,
    },
};

impl Gate<'_> {
    /// Everything that a plan asks for.
    pub(super) async fn observe(&self) -> Result<ObservedAccess, Failed> {
        let has_policies = self.has_policies().await?;
        let (role, entry, namespace, objects) =
            tokio::try_join!(self.bench.role(&self.desired.role), self.entry(), self.namespace(), self.objects(has_policies))?;
        let namespace = (self.desired.subject.namespace.clone(), namespace);
        Ok(ObservedAccess { role, mode: self.mode, entry, has_policies, namespace, objects })
    }

    async fn has_policies(&self) -> Result<bool, Failed> {
        let call = gets(ObjectKind::AdmissionPolicy);
        let doing = "learn whether the API server has admission policies";
        self.bench.call(doing, call, async || self.kubernetes.has_kind(ObjectKind::AdmissionPolicy).await).await
    }

    async fn entry(&self) -> Result<Option<AccessEntry>, Failed> {
        if self.mode == AuthenticationMode::ConfigMap {
            return Ok(None);
        }
        let (cluster, role) = (&self.desired.role.cluster, &self.desired.role.role);
        let doing = format!("read the access entry of role `{role}`");
        self.bench.call(&doing, "eks:DescribeAccessEntry", async || self.bench.aws.access_entry(cluster, role).await).await
    }

    async fn namespace(&self) -> Result<ObservedNamespace, Failed> {
        let namespace = &self.desired.subject.namespace;
        let doing = format!("read namespace `{namespace}`");
        self.bench.call(&doing, "kubernetes:get namespaces", async || self.kubernetes.namespace(namespace).await).await
    }

    /// Those that are to be there, and those that may have been before.
    async fn objects(&self, has_policies: bool) -> Result<BTreeMap<ObjectRef, ObservedObject>, Failed> {
        let rights = all_rights(&self.desired.zone);
        let is_known =
            |at: &&ObjectRef| has_policies || !matches!(at.kind, ObjectKind::AdmissionPolicy | ObjectKind::AdmissionPolicyBinding);
        let wanted = self.desired.objects().chain(&rights).map(|object| &object.at).filter(is_known);
        let wanted: std::collections::BTreeSet<&ObjectRef> = wanted.collect();
        let read = try_join_all(wanted.into_iter().map(async |at: &ObjectRef| {
            let found = self.bench.call(&format!("read {at}"), gets(at.kind), async || self.kubernetes.cluster_object(at).await).await?;
            Ok::<_, Failed>(found.map(|found| (at.clone(), found)))
        }));
        Ok(read.await?.into_iter().flatten().collect())
    }
}

fn gets(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::AdmissionPolicy => "kubernetes:get validatingadmissionpolicies",
        ObjectKind::AdmissionPolicyBinding => "kubernetes:get validatingadmissionpolicybindings",
        ObjectKind::ClusterRole => "kubernetes:get clusterroles",
        ObjectKind::ClusterRoleBinding => "kubernetes:get clusterrolebindings",
        ObjectKind::Role => "kubernetes:get roles",
        ObjectKind::RoleBinding => "kubernetes:get rolebindings",
        ObjectKind::ServiceAccount => "kubernetes:get serviceaccounts",
    }
}
