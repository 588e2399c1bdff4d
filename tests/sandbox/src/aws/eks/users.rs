//! Who comes into a cluster with a bearer token of IAM: what the authenticator of EKS tells the API server.
//!
//! Whether the token is good is in `eks_token.rs`, what the user may do in the cluster's RBAC.
//! <https://github.com/kubernetes-sigs/aws-iam-authenticator>, `pkg/server/server.go`

use std::{collections::BTreeMap, time::SystemTime};

use super::super::{
    Aws,
    credentials::{Caller, CallerKind},
    eks_token,
};

/// A user of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterUser {
    /// The name of its access entry, filled in.
    pub username: String,
    /// Account and unique id of the principal.
    pub uid: String,
    /// The groups of its access entry.
    pub groups: Vec<String>,
    /// `arn`, `canonicalArn` and, of a session, `sessionName`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Aws {
    /// Whom a bearer token `k8s-aws-v1.…` stands for in a cluster: its signature is good, it is for this cluster and not too old, and the
    /// principal has an access entry there. A session comes in as its role.
    #[must_use]
    pub fn user_of_cluster(&self, cluster: &str, token: &str, now: SystemTime) -> Option<ClusterUser> {
        let caller = eks_token::verify(self, cluster, token, now)?;
        let (principal, session) = principal(&caller);
        let cluster = self.clusters.get(cluster).filter(|cluster| cluster.has_access_entries())?;
        let id = caller.user_id.split(':').next().unwrap_or_default();
        // A role that was made again is another one: its entry is dead.
        let entry = cluster.access_entries.get(principal).filter(|entry| entry.principal_id.as_deref().is_none_or(|known| known == id))?;
        let account = principal.split(':').nth(4).unwrap_or_default();
        let username = entry
            .username
            .replace("{{AccountID}}", account)
            .replace("{{SessionNameRaw}}", session)
            .replace("{{SessionName}}", &session.replace('@', "-"));
        let extra = [("arn", caller.arn.as_str()), ("canonicalArn", principal), ("sessionName", session)];
        let extra = extra.into_iter().filter(|(_, value)| !value.is_empty());
        Some(ClusterUser {
            username,
            uid: format!("aws-iam-authenticator:{account}:{id}"),
            groups: entry.groups.clone(),
            extra: extra.map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).collect(),
        })
    }
}

/// The ARN that an access entry names, and the name of a session.
fn principal(caller: &Caller) -> (&str, &str) {
    match &caller.kind {
        CallerKind::Session { role_arn, .. } => (role_arn, caller.arn.rsplit('/').next().unwrap_or_default()),
        CallerKind::Admin | CallerKind::User(_) => (&caller.arn, ""),
    }
}
