//! The cron job of `install --sweep`, made of the job of the manifest: the same image, another ServiceAccount, one command once a day.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    cluster::access_of,
    manifest,
    text::{
        problems::{At, ProblemLog},
        reader::Typed,
    },
};
use crate::model::{
    job::{Daily, JobSpec, Runs},
    names::{RolePath, Subject},
    qovery::QoveryName,
};

/// What its name ends with, after the job's.
const SUFFIX: &str = "-sweep";
/// The advanced setting that says what it runs as.
const SERVICE_ACCOUNT: &str = "security.service_account_name";

/// Whom `bootstrap --cluster-access` has given access, as the manifest says.
pub(super) fn subject(typed: Typed<manifest::Cluster>, log: &ProblemLog) -> Option<Subject> {
    let at = &At::root(log);
    let access = typed.value().unwrap_or_default().access;
    if access.is_absent() {
        at.report("`cluster.access.namespace` is missing: `--sweep` installs a cron job in the environment of that namespace, which `bootstrap --cluster-access` has given access to the cluster");
        return None;
    }
    access_of(access, &at.key("cluster"))
}

/// The cron job. It finds the cluster by Qovery's variables, and gets its AWS credentials as its ServiceAccount.
pub(super) fn sweeping(job: JobSpec, subject: Subject, path: Option<RolePath>, at: &At<'_>) -> Option<JobSpec> {
    let name = format!("{}{SUFFIX}", job.name);
    let Ok(name) = name.parse::<QoveryName>() else {
        at.key("job").key("name").report(format_args!("is too long: the cron job is called so with `{SUFFIX}` after it"));
        return None;
    };
    let mut variables = BTreeMap::from([("IRSA_KUBE_AUTH".parse().ok()?, "eks".to_owned())]);
    if let Some(path) = path {
        variables.insert("IRSA_PATH".parse().ok()?, path.to_string());
    }
    Some(JobSpec {
        name,
        account: None,
        runs: Runs::Daily(Daily { namespace: subject.namespace }),
        stage: None,
        variables,
        files: Vec::new(),
        secrets: std::collections::BTreeSet::new(),
        advanced_settings: BTreeMap::from([(SERVICE_ACCOUNT.to_owned(), json!(subject.service_account.as_str()))]),
        ..job
    })
}
