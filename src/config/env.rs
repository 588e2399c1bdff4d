//! The environment variables as typed. The only file that knows envy.
//!
//! All are optional texts here, so envy cannot stop at a first problem; what they mean is in `settings.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::text::limits::LONGEST_GUESSED;

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
    pub(super) qovery_job_id: Option<String>,
    pub(super) service_account_name: Option<String>,
    pub(super) irsa_role_arn: Option<String>,
    pub(super) irsa_policy_arns: Option<String>,
    pub(super) aws_role_arn: Option<String>,
    pub(super) aws_web_identity_token_file: Option<String>,
    pub(super) aws_region: Option<String>,
    pub(super) aws_default_region: Option<String>,
    pub(super) irsa_binding: Option<String>,
    pub(super) irsa_manifest: Option<String>,
    pub(super) irsa_path: Option<String>,
    pub(super) irsa_on_delete: Option<String>,
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
    pub(super) irsa_assume_role_external_id: Option<String>,
    pub(super) irsa_timeout: Option<String>,
    pub(super) irsa_output: Option<String>,
    pub(super) irsa_termination_log: Option<String>,
    pub(super) irsa_format: Option<String>,
    pub(super) irsa_qovery_token: Option<String>,
    pub(super) irsa_qovery_api_url: Option<String>,
    pub(super) qovery_api_token: Option<String>,
    pub(super) qovery_cli_access_token: Option<String>,
}

/// What stands before the name of a secret in the variable that gives its value to `install`.
pub const SECRET_PREFIX: &str = "IRSA_SECRET_";
/// With what every setting of the tool begins that is not Qovery's or AWS's.
const OWN_PREFIX: &str = "IRSA_";

/// The tool's own settings: the fields of [`Variables`] that begin so.
pub(super) const OWN: [&str; 24] = [
    "IRSA_ASSUME_ROLE_ARN",
    "IRSA_ASSUME_ROLE_EXTERNAL_ID",
    "IRSA_BINDING",
    "IRSA_FORMAT",
    "IRSA_KUBE_AUTH",
    "IRSA_KUBE_TOKEN_DIR",
    "IRSA_MANIFEST",
    "IRSA_NAMESPACES",
    "IRSA_OIDC_ISSUER",
    "IRSA_ON_DELETE",
    "IRSA_OUTPUT",
    "IRSA_PATH",
    "IRSA_PERMISSIONS_BOUNDARY",
    "IRSA_POLICY_ARNS",
    "IRSA_PROOF",
    "IRSA_QOVERY_API_URL",
    "IRSA_QOVERY_TOKEN",
    "IRSA_ROLE_ARN",
    "IRSA_ROLE_NAME",
    "IRSA_SCOPE",
    "IRSA_SETTLE",
    "IRSA_TERMINATION_LOG",
    "IRSA_TIMEOUT",
    SECRET_PREFIX,
];

/// A variable that begins like a setting of the tool and is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown<'a> {
    pub(super) name: &'a str,
    /// The setting that was meant, if it is only two letters away.
    pub(super) meant: Option<&'static str>,
}

/// The variables that begin like settings of the tool and are none; not the outputs of this job, which Qovery gives it on its next run under
/// their own names.
pub(super) fn unknown(all: &BTreeMap<String, String>) -> Vec<Unknown<'_>> {
    let own = |name: &str| OWN.contains(&name) || name.starts_with(SECRET_PREFIX);
    let named = all.keys().filter(|name| name.to_ascii_uppercase().starts_with(OWN_PREFIX) && !own(name) && !is_output(name, all));
    named
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            let near = OWN.into_iter().filter(|_| name.len() <= LONGEST_GUESSED).map(|known| (strsim::osa_distance(&upper, known), known));
            Unknown { name, meant: near.min().filter(|(distance, _)| *distance <= 2).map(|(_, known)| known) }
        })
        .collect()
}

/// Whether a variable is an output of this job under its own name: then it is there under its long name too. Not those of the one identity
/// that needs no manifest: an earlier version called its outputs so, and they may be set on purpose.
fn is_output(name: &str, all: &BTreeMap<String, String>) -> bool {
    if !name.starts_with(OWN_PREFIX) || name == "IRSA_ROLE_ARN" {
        return false;
    }
    let digits = all.get("QOVERY_JOB_ID").and_then(|id| id.get(..8)).unwrap_or_default();
    all.contains_key(&format!("QOVERY_OUTPUT_JOB_Z{}_{name}", digits.to_ascii_uppercase()))
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
            all.iter()
                .filter(|(name, value)| exact(name) && !value.is_empty() && !is_output(name, all))
                .map(|(name, value)| (name.clone(), value.clone())),
        )
    }
}

/// Whether a variable of this name is read.
#[cfg(test)]
pub(super) fn is_read(name: &str) -> bool {
    let schema = serde_json::to_value(schemars::schema_for!(Variables)).unwrap_or_default();
    schema["properties"].get(name.to_lowercase()).is_some()
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
