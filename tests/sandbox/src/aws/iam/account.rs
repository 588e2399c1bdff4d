//! `GetAccountSummary`: how much there is and may be.

use std::time::SystemTime;

use super::super::{Aws, Outcome, error::AwsError, query::Parameters, xml};

#[allow(clippy::unnecessary_wraps, reason = "the signature that every operation has")]
pub(super) fn summary(aws: &mut Aws, _: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let quotas = &aws.quotas;
    let entries = [
        ("AssumeRolePolicySizeQuota", quotas.trust_policy_size),
        ("AttachedPoliciesPerRoleQuota", quotas.attached_policies),
        ("Policies", aws.policies.len()),
        ("PoliciesQuota", quotas.policies),
        ("PolicySizeQuota", quotas.managed_policy_size),
        ("Providers", aws.providers.len()),
        ("RolePolicySizeQuota", quotas.inline_policies_size),
        ("Roles", aws.roles.len()),
        ("RolesQuota", quotas.roles),
        ("Users", aws.users.len()),
    ];
    let entries: String = entries
        .iter()
        .map(|(key, value)| {
            let pair = xml::text("key", key) + &xml::text("value", &value.to_string());
            xml::element("entry", &pair)
        })
        .collect();
    Ok(Outcome::read(xml::element("SummaryMap", &entries)))
}
