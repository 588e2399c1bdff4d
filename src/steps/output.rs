//! The job's outputs, as Qovery reads them: each service of the environment sees them as `QOVERY_OUTPUT_JOB_<JOB_ID>_<NAME>`.
//!
//! <https://www.qovery.com/docs/configuration/lifecycle-job>: names are letters, digits and `_`; one bad name and Qovery refuses the
//! whole file; what does not say that it is not sensitive is taken as not sensitive, so each says it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::model::output::Outputs;

/// Why the outputs were not written.
#[derive(Debug, Error)]
#[error("cannot write the outputs to `{}`", path.display())]
pub struct OutputError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Writes the outputs: to a temporary name beside the file, then renamed, so that nobody reads half of them.
///
/// False if there is no such directory: the job does not run in Qovery.
///
/// # Errors
/// The file cannot be written.
pub fn write(outputs: &Outputs, path: &Path) -> Result<bool, OutputError> {
    let problem = |source| OutputError { path: path.to_owned(), source };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Ok(false);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = serde_json::to_vec_pretty(outputs).map_err(std::io::Error::from).and_then(|text| {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    written.map(|()| true).map_err(problem)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::model::{
        association::{AssociationId, AssociationSettings, ObservedAssociation, SessionTags},
        date::Date,
        desired::DesiredServiceAccount,
        identity::{Binding, Keeper, PodIdentity, Target},
        output::{outputs, proven_identity},
    };

    const TARGET: &str = "arn:aws:iam::210987654321:role/data";

    fn names(outputs: &Outputs) -> BTreeSet<&str> {
        outputs.keys().map(String::as_str).collect()
    }

    fn wanted(name: &str) -> DesiredServiceAccount {
        DesiredServiceAccount {
            subject: format!("z1/{name}").parse().unwrap(),
            role: "arn:aws:iam::123456789012:role/app".parse().unwrap(),
            binding: Binding::default(),
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            automount: None,
            job: None,
            keeper: Keeper::Tool,
        }
    }

    /// The outputs of identities that have all there are: by EKS Pod Identity, with a target role.
    fn with_targets(accounts: &[&str]) -> Outputs {
        let of_pods = |account: &&str| {
            let target = Some(Target { role: TARGET.parse().unwrap(), external_id: None });
            DesiredServiceAccount {
                binding: Binding::PodIdentity(Box::new(PodIdentity { target, ..PodIdentity::default() })),
                ..wanted(account)
            }
        };
        let wanted: Vec<DesiredServiceAccount> = accounts.iter().map(of_pods).collect();
        let observed = wanted.iter().map(|wanted| (wanted.subject.service_account.clone(), association(wanted))).collect();
        outputs(&wanted, Some(&observed), &BTreeSet::new())
    }

    fn association(wanted: &DesiredServiceAccount) -> ObservedAssociation {
        ObservedAssociation {
            id: AssociationId::read("a-1"),
            arn: "arn:aws:eks:eu-west-3:123456789012:podidentityassociation/demo/a-1".to_owned(),
            subject: wanted.subject.clone(),
            settings: AssociationSettings {
                role: wanted.role.clone(),
                target: TARGET.parse().ok(),
                session_tags: SessionTags::On,
                session_policy: None,
            },
            external_id: "eu-west-3/123456789012/made-by-eks".parse().ok(),
            tags: BTreeMap::new(),
            add_on: None,
            created: Date::since_1970(std::time::Duration::ZERO),
            changed: Date::since_1970(std::time::Duration::ZERO),
        }
    }

    #[test]
    fn an_external_id_is_told_of_a_target_role_alone_and_only_once_eks_has_made_it() {
        let all = with_targets(&["app"]);
        assert_eq!(
            names(&all),
            BTreeSet::from(["IDENTITY_APP_EXTERNAL_ID", "IDENTITY_APP_PROVEN", "IDENTITY_APP_ROLE_ARN", "IDENTITY_APP_SERVICE_ACCOUNT"])
        );
        assert_eq!(all["IDENTITY_APP_EXTERNAL_ID"].value, "eu-west-3/123456789012/made-by-eks");
        let plain = DesiredServiceAccount { binding: Binding::PodIdentity(Box::default()), ..wanted("app") };
        let found = BTreeMap::from([("app".parse().unwrap(), association(&plain))]);
        for (wanted, found) in [(plain, Some(&found)), (wanted("app"), Some(&found)), (wanted("app"), None)] {
            assert_eq!(outputs(&[wanted], found, &BTreeSet::new()).len(), 3);
        }
    }

    #[test]
    fn whether_an_identity_is_proven_is_told_of_each_and_found_again_of_one_job() {
        let all = outputs(&[wanted("my-app"), wanted("other")], None, &BTreeSet::from(["my-app".parse().unwrap()]));
        assert_eq!((all["IDENTITY_MY_APP_PROVEN"].value.as_str(), all["IDENTITY_OTHER_PROVEN"].value.as_str()), ("true", "false"));
        let job = "a1b2c3d4-0000-4000-8000-000000000001".parse().unwrap();
        assert_eq!(proven_identity("QOVERY_OUTPUT_JOB_ZA1B2C3D4_IDENTITY_MY_APP_PROVEN", &job), Some("MY_APP"));
        for other in [
            "QOVERY_OUTPUT_JOB_ZA1B2C3D4_IDENTITY_MY_APP_ROLE_ARN",
            "QOVERY_OUTPUT_JOB_ZFFFFFFFF_IDENTITY_MY_APP_PROVEN",
            "IDENTITY_MY_APP_PROVEN",
        ] {
            assert_eq!(proven_identity(other, &job), None, "{other}");
        }
    }

    #[test]
    fn each_identity_has_names_of_its_own_that_qovery_takes_and_another_renames_none() {
        let one = outputs(&[wanted("my-s3-role")], None, &BTreeSet::new());
        assert_eq!(
            names(&one),
            BTreeSet::from(["IDENTITY_MY_S3_ROLE_PROVEN", "IDENTITY_MY_S3_ROLE_ROLE_ARN", "IDENTITY_MY_S3_ROLE_SERVICE_ACCOUNT"])
        );
        let all = outputs(
            &[wanted("my-s3.role"), wanted("my.s3-role"), wanted("my-s3-role"), wanted("9lives"), wanted("worker")],
            None,
            &BTreeSet::new(),
        );
        assert_eq!(all.len(), 15);
        assert!(names(&one).is_subset(&names(&all)));
        for name in names(&all) {
            assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
            assert!(name.starts_with("IDENTITY_"), "{name}");
        }
    }

    /// All names of Kubernetes of few characters, so that none can be chosen to equal another.
    #[test]
    fn no_two_service_accounts_have_outputs_of_one_name() {
        let mut accounts = vec![String::new()];
        for _ in 0..6 {
            let longer = accounts.iter().flat_map(|name| ["a", "b", "-", "."].map(|next| format!("{name}{next}"))).collect::<Vec<_>>();
            accounts.extend(longer);
            accounts.sort();
            accounts.dedup();
        }
        accounts.retain(|name| name.parse::<crate::model::names::ServiceAccountName>().is_ok());
        // And names that look like the end of an output's.
        accounts.extend(
            [
                "a-role-arn",
                "a-service-account",
                "role-arn",
                "service-account",
                "a.role-arn",
                "a-external-id",
                "external-id",
                "a-proven",
                "proven",
                "a.proven",
            ]
            .map(str::to_owned),
        );
        assert!(accounts.len() > 500);
        let all = with_targets(&accounts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(all.len(), 4 * accounts.len());
    }

    /// Settings of this tool, of AWS SDKs and the AWS CLI, Kubernetes, proxies, TLS, the shell and Qovery. Qovery gives each output to every
    /// service under its own name.
    #[test]
    fn no_output_can_be_a_setting_of_anything() {
        // What begins so is a setting of AWS, Kubernetes, TLS, a proxy, a runtime or Qovery; and so are these names alone.
        let prefixes = [
            "AWS_",
            "IRSA_",
            "KUBERNETES_",
            "KUBE",
            "HELM_",
            "TF_",
            "TERRAFORM_",
            "QOVERY_",
            "SSL_",
            "CURL_",
            "REQUESTS_",
            "NODE_",
            "NPM_",
            "PYTHON",
            "JAVA_",
            "RUST_",
            "CARGO_",
            "GIT_",
            "DOCKER_",
            "GOOGLE_",
            "AZURE_",
            "MSI_",
            "LD_",
            "DYLD_",
            "LC_",
            "XDG_",
            "DATABASE_",
            "S3_",
            "EKS_",
            "ECS_",
            "OTEL_",
            "HTTP",
            "GRPC_",
        ];
        let alone = [
            "SERVICE_ACCOUNT_NAME",
            "ROLE_ARN",
            "AWS_ROLE_ARN",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "FTP_PROXY",
            "PATH",
            "HOME",
            "USER",
            "SHELL",
            "LANG",
            "TZ",
            "HOSTNAME",
            "PORT",
            "NO_COLOR",
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "IDENTITY_SERVER_THUMBPRINT",
            "IDENTITY_API_VERSION",
        ];
        // Names that are chosen to be a setting with what follows or stands before.
        let chosen = [
            "aws",
            "irsa",
            "aws-web-identity-token-file",
            "irsa-assume",
            "kubernetes",
            "https-proxy",
            "ssl-cert-file",
            "endpoint",
            "header",
        ];
        let parts = prefixes.iter().map(|prefix| prefix.trim_end_matches('_').to_lowercase().replace('_', "-"));
        let accounts = parts.chain(chosen.map(str::to_owned)).chain(alone.map(|name| name.to_lowercase().replace('_', "-")));
        for account in accounts {
            for name in names(&with_targets(&[&account])) {
                assert!(!alone.contains(&name) && !prefixes.iter().any(|prefix| name.starts_with(prefix)), "{account}: {name}");
                assert!(!crate::config::is_setting(name), "{account}: {name}");
            }
        }
    }

    #[test]
    fn no_directory_is_no_error_and_a_written_file_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let all = outputs(&[wanted("app")], None, &BTreeSet::from(["app".parse().unwrap()]));
        assert!(!write(&all, &directory.path().join("none/qovery-output.json")).unwrap());
        let path = directory.path().join("qovery-output.json");
        assert!(write(&all, &path).unwrap());
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @r#"
        {
          "IDENTITY_APP_PROVEN": {
            "value": "true",
            "sensitive": false,
            "description": "whether AWS gave the last run a session for a token of ServiceAccount app"
          },
          "IDENTITY_APP_ROLE_ARN": {
            "value": "arn:aws:iam::123456789012:role/app",
            "sensitive": false,
            "description": "role ARN of ServiceAccount app"
          },
          "IDENTITY_APP_SERVICE_ACCOUNT": {
            "value": "app",
            "sensitive": false,
            "description": "name of ServiceAccount app"
          }
        }
        "#);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
