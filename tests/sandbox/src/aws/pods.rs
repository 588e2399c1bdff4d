//! The role that a pod gets at this moment, as its SDK or the agent on its node would ask for it: past sockets and signatures, for tests that
//! look at what pods have while somebody else changes roles.

use std::time::SystemTime;

use super::{Aws, eks_auth, query::Parameters, web_identity};

impl Aws {
    /// Whether STS gives a session of the role for a token of a `ServiceAccount`.
    ///
    /// # Errors
    /// What STS says otherwise.
    pub fn web_identity(&mut self, role_arn: &str, token: &str, now: SystemTime) -> Result<(), String> {
        let parameters = [("RoleArn", role_arn), ("RoleSessionName", "pod"), ("WebIdentityToken", token)];
        web_identity::assume(self, &Parameters::of_pairs(&parameters), now).map(drop).map_err(|error| error.message)
    }

    /// The ARN of the role that EKS gives a pod of the cluster for its token.
    ///
    /// # Errors
    /// What EKS says otherwise.
    pub fn pod_identity(&self, cluster: &str, token: &str, now: SystemTime) -> Result<String, String> {
        eks_auth::role_of(self, cluster, token, now).map_err(|error| error.message)
    }
}
