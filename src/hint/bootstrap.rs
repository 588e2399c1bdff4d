//! What an administrator can do about a failure of `bootstrap`. Nobody deploys anything then: it is run again.

use super::{AGAIN_BOOTSTRAP, docs, of_call};
use crate::{
    clients::call::{CredentialFault, DeniedBy, ErrorKind, Failed},
    hint::Known,
};

/// What to do about a call that failed; what is no other for an administrator is as for a job.
#[must_use]
pub fn of_bootstrap(failed: &Failed, known: &Known) -> Option<String> {
    if failed.source.is_foreign || matches!(failed.service(), "qovery" | "kubernetes") {
        return of_call(failed, known);
    }
    let hint = match &failed.source.kind {
        ErrorKind::Denied(denial) if !denial.is_explicit && matches!(denial.by, DeniedBy::Identity | DeniedBy::Unsaid) => {
            let action = denial.action.as_deref().unwrap_or(failed.call);
            return Some(format!(
                "allow `{action}` for whoever runs `bootstrap` ({}), {AGAIN_BOOTSTRAP}",
                docs("permissions/bootstrap-policy.json")
            ));
        }
        ErrorKind::Denied(denial) => {
            let whose = match denial.by {
                DeniedBy::ServiceControl | DeniedBy::ResourceControl => "a policy of the organization",
                DeniedBy::Boundary => "the permissions boundary of your own role or user",
                DeniedBy::Session => "the policy of your session",
                DeniedBy::Endpoint => "the policy of a VPC endpoint",
                _ => "a policy that denies it",
            };
            return Some(format!("{whose} says no, so no further permission of yours helps: ask whoever manages it"));
        }
        ErrorKind::Credentials(CredentialFault::Expired | CredentialFault::None) => {
            "log in to AWS (`aws sso login`, `aws login`), or name a profile by `AWS_PROFILE`"
        }
        ErrorKind::NotFound(_) if failed.call == "eks:DescribeCluster" => {
            "check the cluster's name, its region (`--region`) and the account of the AWS profile (`AWS_PROFILE`). Of a cluster that is deleted, take away by hand what has the tags `qovery-irsa/owner` = `bootstrap` and `qovery-irsa/cluster`"
        }
        ErrorKind::Throttled | ErrorKind::Transient | ErrorKind::Timeout => "run `bootstrap` again: it continues where it stopped",
        ErrorKind::NoConnection => {
            "this machine needs a way to EKS in the region and to IAM: check the network and `HTTPS_PROXY`, then run `bootstrap` again"
        }
        ErrorKind::Quota(_) if failed.call == "iam:CreateRole" || failed.call == "iam:CreatePolicy" => {
            "the account has no room for it: delete what nobody needs, or raise the quota, then run `bootstrap` again"
        }
        ErrorKind::InUse => "something else holds on to it: take it away there, then run `bootstrap --delete` again",
        _ => return of_call(failed, known),
    };
    Some(hint.to_owned())
}
