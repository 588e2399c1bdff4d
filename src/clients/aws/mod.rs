//! AWS: credentials, and the calls to IAM, STS and EKS that the job makes. Errors of the SDK end here.

mod access;
#[cfg(feature = "laptop")]
mod access_entries;
mod associations;
mod eks;
mod error;
mod iam;
mod words;
#[cfg(feature = "laptop")]
mod zone;

pub use access::{Aws, AwsProblem};
pub use associations::Listed;
pub use eks::{Cluster, ClusterBearer};
#[cfg(test)]
pub(crate) use error::kind as kind_of;

/// The call that shows a token to STS, as permissions name it.
pub const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";

/// The call that shows the token of a pod to EKS, as permissions name it.
pub const ASSUME_FOR_POD: &str = "eks-auth:AssumeRoleForPodIdentity";
