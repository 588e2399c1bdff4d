//! The job's outputs, as Qovery reads them: each service of the environment sees them as `QOVERY_OUTPUT_JOB_<JOB_ID>_<NAME>`.
//!
//! <https://www.qovery.com/docs/configuration/lifecycle-job>: names are letters, digits and `_`; one bad name and Qovery refuses the
//! whole file; what does not say that it is not sensitive is taken as not sensitive, so each says it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    association::ObservedAssociation,
    desired::DesiredServiceAccount,
    identity::{Binding, PodIdentity},
    names::ServiceAccountName,
    qovery::QoveryId,
};

/// One output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its value.
    pub value: String,
    /// Whether Qovery hides it.
    pub sensitive: bool,
    /// What it is.
    pub description: String,
}

/// All outputs by name.
pub type Outputs = BTreeMap<String, Output>;

/// Role ARN and ServiceAccount name of each identity and whether this run has proven it, by names that are its own: one that is added renames no other. With a target role also
/// the external ID that EKS made for the association: the target's trust policy asks for it, in another account perhaps.
///
/// Qovery gives each output to every service of the environment under its own name too, the job's next run included. So no output may be
/// called like a setting of anything: each begins with `IDENTITY_`.
#[must_use]
pub fn outputs(
    service_accounts: &[DesiredServiceAccount],
    associations: Option<&BTreeMap<ServiceAccountName, ObservedAssociation>>,
    proven: &BTreeSet<ServiceAccountName>,
) -> Outputs {
    let mut outputs = Outputs::new();
    for wanted in service_accounts {
        let account = wanted.subject.service_account.as_str();
        let output =
            |value: String, what: &str| Output { value, sensitive: false, description: format!("{what} of ServiceAccount {account}") };
        outputs.insert(format!("IDENTITY_{}_ROLE_ARN", name(account)), output(wanted.role.to_string(), "role ARN"));
        outputs.insert(format!("IDENTITY_{}_SERVICE_ACCOUNT", name(account)), output(account.to_owned(), "name"));
        let is_proven = proven.contains(&wanted.subject.service_account);
        outputs.insert(
            format!("IDENTITY_{}{PROVEN}", name(account)),
            output(is_proven.to_string(), "whether AWS gave the last run a session for a token"),
        );
        let has_target = matches!(&wanted.binding, Binding::PodIdentity(pods) if matches!(**pods, PodIdentity { target: Some(_), .. }));
        let association = associations.filter(|_| has_target).and_then(|found| found.get(&wanted.subject.service_account));
        if let Some(id) = association.and_then(|found| found.external_id.as_ref()) {
            outputs.insert(format!("IDENTITY_{}_EXTERNAL_ID", name(account)), output(id.to_string(), "external ID of the association"));
        }
    }
    outputs
}

/// How the name of the output ends that says whether an identity is proven.
const PROVEN: &str = "_PROVEN";

/// The part of an output's name that stands for the ServiceAccount, if it is the output that says whether the identity is proven; from the
/// whole name of the variable that Qovery makes of it for this job.
#[must_use]
pub fn proven_identity<'a>(variable: &'a str, job: &QoveryId) -> Option<&'a str> {
    let digits = job.as_str().get(..8)?.to_ascii_uppercase();
    let output = variable.strip_prefix("QOVERY_OUTPUT_JOB_Z")?.strip_prefix(digits.as_str())?.strip_prefix('_')?;
    output.strip_prefix("IDENTITY_")?.strip_suffix(PROVEN)
}

/// The name of a ServiceAccount as part of a variable's name, no two equal: in upper case, `_` for `-`. A name with dots has a `_` before it,
/// `_` for each dot and `__` for each `-`. In a name of Kubernetes a dot stands between letters or digits, so that these are told apart.
fn name(service_account: &str) -> String {
    let upper = service_account.to_ascii_uppercase();
    if upper.contains('.') { format!("_{}", upper.replace('-', "__").replace('.', "_")) } else { upper.replace('-', "_") }
}
