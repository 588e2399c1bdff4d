//! Where the identities of one environment are, and what their roles are called there.

use std::collections::BTreeSet;

use super::{
    anchor::ProjectMark,
    arn::{Account, ClusterArn},
    fingerprint::fingerprint,
    gather::Gather as _,
    identity::{Identity, RoleOrigin},
    marks::JobMark,
    names::{ClusterName, Namespace, Region, RoleName, RolePath, Subject},
    oidc::IssuerUrl,
};

/// Where the identities are, and for whom: namespace, cluster, the paths of its roles, and the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The environment's namespace.
    pub namespace: Namespace,
    /// The cluster's issuer.
    pub issuer: IssuerUrl,
    /// The cluster's name, if known.
    pub cluster: Option<ClusterName>,
    /// The cluster's region, if known.
    pub region: Option<Region>,
    /// The cluster's account, where it is known not to be that of the credentials for IAM, or known at all.
    pub cluster_account: Option<Account>,
    /// The paths below which roles of the cluster's environments are looked for.
    pub paths: BTreeSet<RolePath>,
    /// The mark of the job that runs; nothing outside Qovery.
    pub job: Option<JobMark>,
    /// The mark of its project.
    pub project: Option<ProjectMark>,
}

impl Place {
    /// The subject of an identity here.
    #[must_use]
    pub fn subject(&self, identity: &Identity) -> Subject {
        Subject { namespace: self.namespace.clone(), service_account: identity.service_account.name.clone() }
    }

    /// The ARN of the cluster, if its name and region are known. Its account is that of the credentials if nothing else is known of it.
    #[must_use]
    pub fn cluster_arn(&self, account: &Account) -> Option<ClusterArn> {
        let account = self.cluster_account.as_ref().unwrap_or(account);
        Some(ClusterArn::of(account, self.region.as_ref()?, self.cluster.as_ref()?))
    }

    /// Who makes something for all environments of the cluster: `<namespace>`, and the job where one is known.
    #[must_use]
    pub fn maker(&self) -> String {
        self.job.as_ref().map_or_else(|| self.namespace.to_string(), |job| format!("{}/{}", self.namespace, job.as_str()))
    }

    /// The name of an identity's role: as given, else `<ServiceAccount>-<namespace>-<fingerprint>`.
    ///
    /// The fingerprint is of issuer, namespace and ServiceAccount, 50 bits; what stands before it is cut to fit 64 characters.
    #[must_use]
    pub fn role_name(&self, identity: &Identity) -> RoleName {
        match &identity.role.origin {
            RoleOrigin::Given(arn) => arn.name.clone(),
            RoleOrigin::Managed(role) => role.name.clone().unwrap_or_else(|| role_name(&self.issuer, &self.subject(identity))),
        }
    }

    /// Below what path the tool makes the roles of single environments of this cluster.
    #[must_use]
    pub fn cluster_path(&self, path: &RolePath) -> String {
        format!("{path}{}/", self.cluster.as_ref().map_or_else(|| self.issuer.id(), ClusterName::as_str))
    }

    /// Below what paths the roles of this environment are made.
    #[must_use]
    pub fn environment_paths(&self) -> BTreeSet<String> {
        self.paths.iter().map(|path| format!("{}{}/", self.cluster_path(path), self.namespace)).gather()
    }

    /// The same, and those where a run that did not know the cluster's name has made them.
    #[must_use]
    pub fn all_environment_paths(&self) -> BTreeSet<String> {
        self.all_cluster_paths().into_iter().map(|path| format!("{path}{}/", self.namespace)).gather()
    }

    /// Below what paths roles of this cluster's environments are made, by whatever the cluster is called in them.
    #[must_use]
    pub fn all_cluster_paths(&self) -> BTreeSet<String> {
        self.paths.iter().flat_map(|path| [self.cluster_path(path), format!("{path}{}/", self.issuer.id())]).gather()
    }
}

/// 64 characters less ten for the fingerprint and two for `-`.
const READABLE: usize = 52;

fn role_name(issuer: &IssuerUrl, subject: &Subject) -> RoleName {
    let (namespace, name) = (subject.namespace.as_str(), subject.service_account.as_str());
    let unique = fingerprint(&[issuer.as_str(), namespace, name], 10);
    // A long name leaves the other its half, a short one gives the rest away. Both are ASCII.
    let namespace_share = namespace.len().min((READABLE / 2).max(READABLE.saturating_sub(name.len())));
    let name_share = name.len().min(READABLE - namespace_share);
    RoleName::trusted(format!("{}-{}-{unique}", &name[..name_share], &namespace[..namespace_share]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(namespace: &str, service_account: &str) -> RoleName {
        name_in("https://oidc.example.com/id/A", namespace, service_account)
    }

    fn name_in(issuer: &str, namespace: &str, service_account: &str) -> RoleName {
        let issuer = issuer.parse().unwrap();
        role_name(&issuer, &Subject { namespace: namespace.parse().unwrap(), service_account: service_account.parse().unwrap() })
    }

    #[test]
    fn a_role_name_is_readable_and_never_changes() {
        insta::assert_snapshot!(name_of("z1a2b3c4-prod", "my-s3-role"), @"my-s3-role-z1a2b3c4-prod-cf7gmaiddr");
    }

    #[test]
    fn long_names_are_hashed_rather_than_cut() {
        let shared = "z".repeat(60);
        let (one, other) = (name_of(&format!("{shared}aaa"), "app"), name_of(&format!("{shared}bbb"), "app"));
        assert_ne!(one, other);
        let long = name_of(&"n".repeat(63), &"s".repeat(253));
        for name in [&one, &other, &long] {
            assert_eq!(name.as_str().len(), 64);
            assert_eq!(name.as_str().parse::<RoleName>().as_ref(), Ok(name));
        }
        insta::assert_snapshot!(long, @"ssssssssssssssssssssssssss-nnnnnnnnnnnnnnnnnnnnnnnnnn-7ju4jeqw6q");
    }

    #[test]
    fn names_that_read_alike_are_different_roles() {
        assert_ne!(name_of("b-c", "a"), name_of("c", "a-b"));
        assert_ne!(name_of("z1", "app"), name_in("https://oidc.example.com/id/B", "z1", "app"));
    }

    proptest::proptest! {
        #[test]
        fn every_identity_has_a_legal_role_name(namespace in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name in "[a-z0-9]([-a-z0-9]{0,80}[a-z0-9])?(\\.[a-z0-9]{1,80}){0,2}") {
            let role = name_of(&namespace, &name);
            proptest::prop_assert_eq!(role.as_str().parse::<RoleName>(), Ok(role));
        }
    }
}
