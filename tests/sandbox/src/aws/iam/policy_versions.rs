//! The versions of a managed policy: at most five, one of which counts.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html>

use std::time::SystemTime;

use super::{
    super::{Aws, Outcome, error::AwsError, managed, query::Parameters, state::PolicyVersion, time, xml},
    lists::Page,
    policies, replace, roles, validate,
};

/// `v3`.
pub(super) fn id(number: u32) -> String {
    format!("v{number}")
}

/// A version that was last in its place counts only if it is asked for.
pub(super) fn create(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    let document = policies::document(aws, parameters)?;
    let as_default = match parameters.text("SetAsDefault") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(AwsError::new(400, "MalformedInput", format!("Value '{other}' at 'setAsDefault' is not a boolean"))),
    };
    let quota = aws.quotas.policy_versions;
    let policy = policies::named_mut(aws, &arn)?;
    if policy.versions.len() >= quota {
        return Err(AwsError::limit_exceeded(format!(
            "A managed policy can have up to {quota} versions. Before you create a new version, you must delete an existing version."
        )));
    }
    let number = policy.next_version;
    policy.next_version += 1;
    policy.updated = now;
    policy.versions.insert(number, PolicyVersion { document, created: now });
    if as_default {
        policy.default_version = number;
    }
    Ok(Outcome::written(xml::element("PolicyVersion", &show(number, as_default, now))))
}

pub(super) fn get(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    let number = number(parameters)?;
    let (version, is_default) = match aws.policies.get(&arn) {
        Some(policy) => (policy.versions.get(&number).cloned(), policy.default_version == number),
        None => (of_aws(aws, &arn)?.filter(|_| number == 1), true),
    };
    let version = version.ok_or_else(|| no_version(&arn, number))?;
    let shown = xml::text("Document", &roles::encoded(aws, &version.document)) + &show(number, is_default, version.created);
    Ok(Outcome::read(xml::element("PolicyVersion", &shown)))
}

/// The newest first, without documents.
pub(super) fn list(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    let mut shown: Vec<(String, String)> = match aws.policies.get(&arn) {
        Some(policy) => {
            let versions = policy.versions.iter();
            let one = |(number, version): (&u32, &PolicyVersion)| {
                (format!("{:010}", u32::MAX - number), show(*number, policy.default_version == *number, version.created))
            };
            versions.map(one).collect()
        }
        None => of_aws(aws, &arn)?.into_iter().map(|version| (String::new(), show(1, true, version.created))).collect(),
    };
    shown.sort();
    let page = Page::of(shown, parameters)?;
    let end = page.end();
    Ok(Outcome::read(xml::list("Versions", page.items) + &end))
}

pub(super) fn set_default(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    let number = number(parameters)?;
    let policy = policies::named_mut(aws, &arn)?;
    if !policy.versions.contains_key(&number) {
        return Err(no_version(&arn, number));
    }
    let changed = replace(&mut policy.default_version, number);
    if changed {
        policy.updated = now;
    }
    Ok(Outcome::done(changed))
}

pub(super) fn delete(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    let number = number(parameters)?;
    let policy = policies::named_mut(aws, &arn)?;
    if policy.default_version == number {
        return Err(AwsError::delete_conflict("Cannot delete the default version of a policy."));
    }
    policy.versions.remove(&number).ok_or_else(|| no_version(&arn, number))?;
    policy.updated = now;
    Ok(Outcome::done(true))
}

fn number(parameters: &Parameters) -> Result<u32, AwsError> {
    let version = parameters.required("VersionId")?;
    let number = version.strip_prefix('v').and_then(|rest| rest.split('.').next()).and_then(|number| number.parse().ok());
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| AwsError::constraint(version, "versionId", r"satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?"))
}

/// The version of a policy of AWS: here each has one.
fn of_aws(aws: &Aws, arn: &str) -> Result<Option<PolicyVersion>, AwsError> {
    let document = managed::path_and_name(arn, &aws.partition).ok_or_else(|| policies::not_found(arn)).map(managed::document)?;
    Ok(document.map(|document| PolicyVersion { document: document.to_string(), created: SystemTime::UNIX_EPOCH }))
}

fn no_version(arn: &str, number: u32) -> AwsError {
    AwsError::no_such_entity(format!("Policy {arn} version {} does not exist or is not attachable.", id(number)))
}

fn show(number: u32, is_default: bool, created: SystemTime) -> String {
    xml::text("VersionId", &id(number))
        + &xml::text("IsDefaultVersion", &is_default.to_string())
        + &xml::text("CreateDate", &time::iso8601(created))
}
