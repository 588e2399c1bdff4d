//! The environment variables as typed. The only file that knows envy.
//!
//! All are optional texts here, so envy cannot stop at a first problem; what they mean is in `settings.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The variables that configure the job. Field names are the variables' in lower case, as envy reads them.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Variables {
    pub(super) qovery_kubernetes_namespace_name: Option<String>,
    pub(super) qovery_kubernetes_cluster_name: Option<String>,
    pub(super) qovery_cloud_provider_region: Option<String>,
    pub(super) qovery_environment_id: Option<String>,
    pub(super) qovery_environment_name: Option<String>,
    pub(super) qovery_project_id: Option<String>,
    pub(super) service_account_name: Option<String>,
    pub(super) irsa_role_arn: Option<String>,
    pub(super) irsa_policy_arns: Option<String>,
    pub(super) aws_role_arn: Option<String>,
    pub(super) aws_web_identity_token_file: Option<String>,
    pub(super) aws_region: Option<String>,
    pub(super) aws_default_region: Option<String>,
    pub(super) irsa_manifest: Option<String>,
    pub(super) irsa_scope: Option<String>,
    pub(super) irsa_role_name: Option<String>,
    pub(super) irsa_namespaces: Option<String>,
    pub(super) irsa_settle: Option<String>,
    pub(super) irsa_proof: Option<String>,
    pub(super) irsa_permissions_boundary: Option<String>,
    pub(super) irsa_oidc_issuer: Option<String>,
    pub(super) irsa_kube_auth: Option<String>,
    pub(super) irsa_kube_token_dir: Option<String>,
    pub(super) irsa_assume_role_arn: Option<String>,
    pub(super) irsa_timeout: Option<String>,
    pub(super) irsa_output: Option<String>,
    pub(super) irsa_termination_log: Option<String>,
    pub(super) irsa_format: Option<String>,
    pub(super) irsa_qovery_token: Option<String>,
    pub(super) irsa_qovery_api_url: Option<String>,
    pub(super) qovery_api_token: Option<String>,
    pub(super) qovery_cli_access_token: Option<String>,
}

impl Variables {
    /// The job's variables among all; one that is empty counts as not set.
    ///
    /// # Errors
    /// None that is known: every field is an optional text and no name comes twice.
    pub(super) fn from_all(all: &BTreeMap<String, String>) -> Result<Self, envy::Error> {
        // envy lower-cases names: `Aws_Region` beside `AWS_REGION` would be the same field twice.
        let exact = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        envy::from_iter(
            all.iter().filter(|(name, value)| exact(name) && !value.is_empty()).map(|(name, value)| (name.clone(), value.clone())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_with_a_value_count() {
        let all = [
            ("IRSA_MANIFEST", "a.yml"),
            ("irsa_manifest", "b.yml"),
            ("Irsa_Manifest", "c.yml"),
            ("IRSA_FORMAT", ""),
            ("AWS_REGİON", "x"),
            ("OTHER", "y"),
        ];
        let variables = Variables::from_all(&all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()).unwrap();
        assert_eq!(variables.irsa_manifest.as_deref(), Some("a.yml"));
        assert_eq!((variables.irsa_format, variables.aws_region), (None, None));
    }
}
