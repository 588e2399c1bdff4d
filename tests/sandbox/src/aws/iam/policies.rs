//! Managed policies: those of the account, and which of AWS's exist. Their versions are in `policy_versions`.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    super::{
        Aws, Outcome, documents,
        error::AwsError,
        managed,
        query::Parameters,
        state::{Policy, PolicyVersion},
        time, xml,
    },
    lists::Page,
    policy_versions, validate,
};

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
    let document = document(aws, parameters)?;
    if aws.policies.values().any(|other| other.name.eq_ignore_ascii_case(&name)) {
        return Err(AwsError::already_exists(format!("A policy called {name} already exists. Duplicate names are not allowed.")));
    }
    let quota = aws.quotas.policies;
    if aws.policies.len() >= quota {
        return Err(AwsError::limit_exceeded(format!("Cannot exceed quota for PoliciesPerAccount: {quota}")));
    }
    let arn = aws.iam_arn(&format!("policy{path}{name}"));
    let id = aws.unique_id("ANPA");
    let versions = BTreeMap::from([(1, PolicyVersion { document, created: now })]);
    let policy = Policy { name, path, id, description, tags, created: now, updated: now, versions, default_version: 1, next_version: 2 };
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
        description: None,
        tags: BTreeMap::new(),
        created: SystemTime::UNIX_EPOCH,
        updated: SystemTime::UNIX_EPOCH,
        versions: BTreeMap::new(),
        default_version: 1,
        next_version: 2,
    };
    let shown = show(aws, &arn, &policy);
    Ok(Outcome::read(xml::element("Policy", &shown)))
}

pub(super) fn delete(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    let versions = named_mut(aws, &arn)?.versions.len();
    if versions > 1 {
        return Err(AwsError::delete_conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
        ));
    }
    if attachments(aws, &arn) + boundaries(aws, &arn) > 0 {
        return Err(AwsError::delete_conflict("Cannot delete a policy attached to entities."));
    }
    aws.policies.remove(&arn);
    Ok(Outcome::done(true))
}

/// The roles that a policy is attached to or bounds. Users and groups have no managed policies here.
pub(super) fn list_entities(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    if kind(aws, &arn) == Kind::Missing {
        return Err(not_found(&arn));
    }
    if parameters.has("PathPrefix") {
        return Err(AwsError::not_implemented("PathPrefix of ListEntitiesForPolicy"));
    }
    let (attached, bounds) = match parameters.text("PolicyUsageFilter") {
        None => (true, true),
        Some("PermissionsPolicy") => (true, false),
        Some("PermissionsBoundary") => (false, true),
        Some(other) => {
            let set = "satisfy enum value set: [PermissionsPolicy, PermissionsBoundary]";
            return Err(AwsError::constraint(other, "policyUsageFilter", set));
        }
    };
    let of_roles = match parameters.text("EntityFilter") {
        None | Some("Role") => true,
        Some("User" | "Group" | "LocalManagedPolicy" | "AWSManagedPolicy") => false,
        Some(other) => {
            let set = "satisfy enum value set: [Role, AWSManagedPolicy, User, LocalManagedPolicy, Group]";
            return Err(AwsError::constraint(other, "entityFilter", set));
        }
    };
    let roles = aws.roles.values().filter(|role| {
        of_roles && (attached && role.attached.contains(&arn) || bounds && role.boundary.as_ref().is_some_and(|boundary| *boundary == arn))
    });
    let shown = roles.map(|role| (role.name.clone(), xml::text("RoleName", &role.name) + &xml::text("RoleId", &role.id)));
    let page = Page::of(shown, parameters)?;
    let end = page.end();
    Ok(Outcome::read(xml::list("PolicyGroups", []) + &xml::list("PolicyUsers", []) + &xml::list("PolicyRoles", page.items) + &end))
}

/// The document of a request, if a managed policy may have it.
pub(super) fn document(aws: &Aws, parameters: &Parameters) -> Result<String, AwsError> {
    let document = parameters.required("PolicyDocument")?.to_owned();
    validate::length(&document, "PolicyDocument", 1, 131_072)?;
    documents::check_permissions(&document, &aws.partition)?;
    let quota = aws.quotas.managed_policy_size;
    if documents::size(&document) > quota {
        return Err(AwsError::limit_exceeded(format!("Cannot exceed quota for PolicySize: {quota}")));
    }
    Ok(document)
}

/// A policy that may be changed: AWS's own may not.
pub(super) fn named_mut<'a>(aws: &'a mut Aws, arn: &str) -> Result<&'a mut Policy, AwsError> {
    if managed::path_and_name(arn, &aws.partition).is_some() {
        return Err(AwsError::access_denied(format!("The policy {arn} is not owned by the account and cannot be changed.")));
    }
    aws.policies.get_mut(arn).ok_or_else(|| not_found(arn))
}

pub(super) fn not_found(arn: &str) -> AwsError {
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
    let mut shown = xml::text("PolicyName", &policy.name)
        + &xml::text("PolicyId", &policy.id)
        + &xml::text("Arn", arn)
        + &xml::text("Path", &policy.path)
        + &xml::text("DefaultVersionId", &policy_versions::id(policy.default_version))
        + &xml::text("AttachmentCount", &attachments(aws, arn).to_string())
        + &xml::text("PermissionsBoundaryUsageCount", &boundaries(aws, arn).to_string())
        + &xml::text("IsAttachable", "true")
        + &xml::optional("Description", policy.description.as_deref())
        + &xml::text("CreateDate", &time::iso8601(policy.created))
        + &xml::text("UpdateDate", &time::iso8601(policy.updated));
    if !policy.tags.is_empty() {
        shown += &xml::tags(&policy.tags);
    }
    shown
}
