//! What `bootstrap` makes once for a cluster, so that the jobs of its environments run without a key: as it should be.

mod access;
mod cluster_object;
mod cluster_rights;
mod desired;
mod observed;
mod permissions;
mod project;
mod spec;
#[cfg(test)]
mod tests;

pub use self::{
    access::{AccessEntry, AuthenticationMode, DesiredAccess, ObservedAccess, ObservedNamespace, STANDARD, access_role},
    cluster_object::{BOOTSTRAP_MANAGER, ClusterObject, ObjectKind, ObjectRef, ObservedObject},
    cluster_rights::{ACCESS_GROUP, all_rights},
    desired::{BootstrapProblem, DesiredBootstrap, DesiredPolicy},
    observed::{ListedRole, ObservedAddOn, ObservedBootstrap, ObservedPolicy, ObservedZoneProvider, PolicyVersion},
    permissions::{LARGEST_INLINE_POLICIES, difference, permissions},
    project::{NamespaceAdvice, ProjectNamespaces, common_pattern, namespace_advice},
    spec::{BOOTSTRAP, BOUNDARY_DESCRIPTION, BootstrapSpec, BoundaryChoice, CLUSTER_TAG, JOB_POLICY, REGION_TAG, Zone},
};
