//! Managed policies: those of the account, and which of AWS's exist.

use std::time::SystemTime;

use super::{
    super::{Aws, Outcome, documents, error::AwsError, managed, query::Parameters, state::Policy, time, xml},
    roles, validate,
};

const FIRST_VERSION: &str = "v1";

/// What an ARN of a policy leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Missing,
    Attachable,
    /// There, but only for AWS's own roles.
    ServiceLinked,
}

pub(super) fn kind(aws: &Aws, arn: &str) -> Kind {
    if aws.policies.contains_key(arn) {
        return Kind::Attachable;
    }
    match managed::path_and_name(arn, &aws.partition) {
        None => Kind::Missing,
        Some(name) if managed::is_for_service_linked_roles(name) => Kind::ServiceLinked,
        Some(_) => Kind::Attachable,
    }
}

pub(super) fn create(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "PolicyName", 128)?.to_owned();
    let path = validate::path(parameters)?;
    let description = validate::description(parameters)?;
    let tags = validate::tags(parameters)?;
    let document = parameters.required("PolicyDocument")?.to_owned();
    validate::length(&document, "PolicyDocument", 1, 131_072)?;
    documents::check_permissions(&document, &aws.partition)?;
    let quota = aws.quotas.managed_policy_size;
    if documents::size(&document) > quota {
        return Err(AwsError::limit_exceeded(format!("Cannot exceed quota for PolicySize: {quota}")));
    }
    if aws.policies.values().any(|other| other.name.eq_ignore_ascii_case(&name)) {
        return Err(AwsError::already_exists(format!("A policy called {name} already exists. Duplicate names are not allowed.")));
    }
    let quota = aws.quotas.policies;
    if aws.policies.len() >= quota {
        return Err(AwsError::limit_exceeded(format!("Cannot exceed quota for PoliciesPerAccount: {quota}")));
    }
    let arn = aws.iam_arn(&format!("policy{path}{name}"));
    let id = aws.unique_id("ANPA");
    let policy = Policy { name, path, id, document, description, tags, created: now };
    let shown = show(aws, &arn, &policy);
    aws.policies.insert(arn, policy);
    Ok(Outcome::written(xml::element("Policy", &shown)))
}

pub(super) fn get(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    if let Some(policy) = aws.policies.get(&arn) {
        let shown = show(aws, &arn, policy);
        return Ok(Outcome::read(xml::element("Policy", &shown)));
    }
    let path_and_name = managed::path_and_name(&arn, &aws.partition).ok_or_else(|| not_found(&arn))?;
    let (path, name) = path_and_name.rsplit_once('/').unwrap_or_default();
    let policy = Policy {
        name: name.to_owned(),
        path: format!("{path}/"),
        id: format!("ANPA{}", super::super::credentials::identifier(name.as_bytes(), 17)),
        document: String::new(),
        description: None,
        tags: std::collections::BTreeMap::new(),
        created: SystemTime::UNIX_EPOCH,
    };
    let shown = show(aws, &arn, &policy);
    Ok(Outcome::read(xml::element("Policy", &shown)))
}

/// A policy has one version here, the first.
pub(super) fn get_version(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    let version = parameters.required("VersionId")?;
    let numbered = version.strip_prefix('v').is_some_and(|rest| rest.split('.').next().is_some_and(|number| number.parse::<u32>().is_ok()));
    if !numbered {
        return Err(AwsError::constraint(version, "versionId", r"satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?"));
    }
    let (document, created) = match aws.policies.get(&arn) {
        Some(policy) => (Some(policy.document.clone()), policy.created),
        None => (
            managed::path_and_name(&arn, &aws.partition).and_then(managed::document).map(|document| document.to_string()),
            SystemTime::UNIX_EPOCH,
        ),
    };
    let document = document.ok_or_else(|| not_found(&arn))?;
    if version != FIRST_VERSION {
        return Err(AwsError::no_such_entity(format!("Policy {arn} version {version} does not exist or is not attachable.")));
    }
    let shown = xml::text("Document", &roles::encoded(aws, &document))
        + &xml::text("VersionId", version)
        + &xml::text("IsDefaultVersion", "true")
        + &xml::text("CreateDate", &time::iso8601(created));
    Ok(Outcome::read(xml::element("PolicyVersion", &shown)))
}

pub(super) fn delete(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    if managed::path_and_name(&arn, &aws.partition).is_some() {
        return Err(AwsError::access_denied(format!("The policy {arn} is not owned by the account and cannot be deleted.")));
    }
    if !aws.policies.contains_key(&arn) {
        return Err(not_found(&arn));
    }
    if attachments(aws, &arn) + boundaries(aws, &arn) > 0 {
        return Err(AwsError::delete_conflict("Cannot delete a policy attached to entities."));
    }
    aws.policies.remove(&arn);
    Ok(Outcome::done(true))
}

fn not_found(arn: &str) -> AwsError {
    AwsError::no_such_entity(format!("Policy {arn} was not found."))
}

fn attachments(aws: &Aws, arn: &str) -> usize {
    let roles = aws.roles.values();
    roles.filter(|role| role.attached.contains(arn)).count()
}

fn boundaries(aws: &Aws, arn: &str) -> usize {
    let roles = aws.roles.values();
    roles.filter(|role| role.boundary.as_deref() == Some(arn)).count()
}

fn show(aws: &Aws, arn: &str, policy: &Policy) -> String {
    let date = time::iso8601(policy.created);
    let mut shown = xml::text("PolicyName", &policy.name)
        + &xml::text("PolicyId", &policy.id)
        + &xml::text("Arn", arn)
        + &xml::text("Path", &policy.path)
        + &xml::text("DefaultVersionId", FIRST_VERSION)
        + &xml::text("AttachmentCount", &attachments(aws, arn).to_string())
        + &xml::text("PermissionsBoundaryUsageCount", &boundaries(aws, arn).to_string())
        + &xml::text("IsAttachable", "true")
        + &xml::optional("Description", policy.description.as_deref())
        + &xml::text("CreateDate", &date)
        + &xml::text("UpdateDate", &date);
    if !policy.tags.is_empty() {
        shown += &xml::tags(&policy.tags);
    }
    shown
}
