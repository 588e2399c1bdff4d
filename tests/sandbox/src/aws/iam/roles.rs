//! Roles: made, read, changed, deleted, listed. Their policies and tags are in `attachments` and `tags`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use percent_encoding::utf8_percent_encode;

use super::{
    super::{
        Aws, Outcome,
        documents::{self, Surroundings},
        error::AwsError,
        query::Parameters,
        sigv4::UNRESERVED,
        state::Role,
        time, xml,
    },
    lists::Page,
    policies, replace, validate,
};

const NAME_LENGTH: usize = 64;
const DOCUMENT_LENGTH: usize = 131_072;
const SESSION: (u32, u32) = (3_600, 43_200);

pub(super) fn create(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", NAME_LENGTH)?.to_owned();
    let path = validate::path(parameters)?;
    let description = validate::description(parameters)?;
    let max_session_duration = parameters.number("MaxSessionDuration", SESSION.0, SESSION.1)?.unwrap_or(SESSION.0);
    let tags = validate::tags(parameters)?;
    let boundary = boundary_parameter(aws, parameters, false)?;
    let trust = parameters.required("AssumeRolePolicyDocument")?.to_owned();
    validate::length(&trust, "AssumeRolePolicyDocument", 1, DOCUMENT_LENGTH)?;
    if path.starts_with("/aws-service-role/") {
        return Err(AwsError::validation("The specified value for path is invalid. It must not begin with /aws-service-role/."));
    }
    if aws.roles.keys().any(|key| key.eq_ignore_ascii_case(&name)) {
        return Err(AwsError::already_exists(format!("Role with name {name} already exists.")));
    }
    check_trust(aws, &trust)?;
    if aws.roles.len() >= aws.quotas.roles {
        return Err(AwsError::limit_exceeded(format!("Cannot exceed quota for RolesPerAccount: {}", aws.quotas.roles)));
    }
    let role = Role {
        id: aws.unique_id("AROA"),
        name: name.clone(),
        path,
        created: now,
        trust,
        previous_trust: None,
        description,
        max_session_duration,
        tags,
        attached: BTreeSet::new(),
        inline: BTreeMap::new(),
        boundary,
        instance_profiles: BTreeSet::new(),
        last_used: None,
    };
    let shown = show(aws, &role, Detail::Created);
    aws.roles.insert(name, role);
    Ok(Outcome::written(xml::element("Role", &shown)))
}

pub(super) fn get(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let role = aws.role_named(validate::name(parameters, "RoleName", NAME_LENGTH)?)?;
    Ok(Outcome::read(xml::element("Role", &show(aws, role, Detail::Full))))
}

/// Leaves the description if none is given, but sets the session to an hour if none is given.
pub(super) fn update(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", NAME_LENGTH)?;
    let description = validate::description(parameters)?;
    let duration = parameters.number("MaxSessionDuration", SESSION.0, SESSION.1)?.unwrap_or(SESSION.0);
    let role = aws.modifiable_role(name)?;
    let mut changed = replace(&mut role.max_session_duration, duration);
    if parameters.has("Description") {
        changed |= replace(&mut role.description, description);
    }
    let outcome = Outcome::read(String::new());
    Ok(Outcome { changed, ..outcome })
}

pub(super) fn update_description(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", NAME_LENGTH)?;
    parameters.required("Description")?;
    let description = validate::description(parameters)?;
    let changed = replace(&mut aws.modifiable_role(name)?.description, description);
    let role = aws.role_named(name)?;
    let outcome = Outcome::read(xml::element("Role", &show(aws, role, Detail::Full)));
    Ok(Outcome { changed, ..outcome })
}

pub(super) fn update_trust(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", NAME_LENGTH)?;
    let trust = parameters.required("PolicyDocument")?.to_owned();
    validate::length(&trust, "PolicyDocument", 1, DOCUMENT_LENGTH)?;
    aws.modifiable_role(name)?;
    check_trust(aws, &trust)?;
    let role = aws.role_named_mut(name)?;
    let before = role.trust.clone();
    let changed = replace(&mut role.trust, trust);
    if changed {
        role.previous_trust = Some((before, now));
    }
    Ok(Outcome::done(changed))
}

pub(super) fn delete(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", NAME_LENGTH)?;
    let role = aws.modifiable_role(name)?;
    if !role.attached.is_empty() {
        return Err(AwsError::delete_conflict("Cannot delete entity, must detach all policies first."));
    }
    if !role.inline.is_empty() {
        return Err(AwsError::delete_conflict("Cannot delete entity, must delete policies first."));
    }
    if !role.instance_profiles.is_empty() {
        return Err(AwsError::delete_conflict("Cannot delete entity, must remove roles from instance profile first."));
    }
    let (key, id) = (role.name.clone(), role.id.clone());
    let arn = aws.role_arn(aws.role_named(name)?);
    aws.roles.remove(&key);
    for other in aws.roles.values_mut() {
        other.trust = documents::with_principal_replaced(&other.trust, &arn, &id);
    }
    Ok(Outcome::done(true))
}

pub(super) fn list(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let prefix = parameters.text("PathPrefix").unwrap_or("/");
    let graphic = prefix.chars().all(|character| character.is_ascii_graphic());
    if !prefix.starts_with('/') || !graphic || prefix.len() > 512 {
        return Err(AwsError::constraint(prefix, "pathPrefix", r"satisfy regular expression pattern: \u002F[\u0021-\u007F]*"));
    }
    let found =
        aws.roles.values().filter(|role| role.path.starts_with(prefix)).map(|role| (role.name.clone(), show(aws, role, Detail::Listed)));
    let page = Page::of(found, parameters)?;
    let end = page.end();
    Ok(Outcome::read(xml::list("Roles", page.items) + &end))
}

pub(super) fn list_instance_profiles(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let role = aws.role_named(validate::name(parameters, "RoleName", NAME_LENGTH)?)?;
    let member = xml::element("member", &show(aws, role, Detail::Listed));
    let found = role.instance_profiles.iter().map(|name| {
        let arn = aws.iam_arn(&format!("instance-profile/{name}"));
        let id = format!("AIPA{:0>17}", name.len());
        let shown = xml::text("Path", "/")
            + &xml::text("InstanceProfileName", name)
            + &xml::text("InstanceProfileId", &id)
            + &xml::text("Arn", &arn)
            + &xml::text("CreateDate", &time::iso8601(role.created))
            + &xml::element("Roles", &member);
        (name.clone(), shown)
    });
    let page = Page::of(found, parameters)?;
    let end = page.end();
    Ok(Outcome::read(xml::list("InstanceProfiles", page.items) + &end))
}

pub(super) fn put_boundary(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", NAME_LENGTH)?;
    aws.modifiable_role(name)?;
    let boundary = boundary_parameter(aws, parameters, true)?;
    let changed = replace(&mut aws.role_named_mut(name)?.boundary, boundary);
    Ok(Outcome::done(changed))
}

pub(super) fn delete_boundary(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", NAME_LENGTH)?;
    let role = aws.modifiable_role(name)?;
    Ok(Outcome::done(replace(&mut role.boundary, None)))
}

fn boundary_parameter(aws: &Aws, parameters: &Parameters, required: bool) -> Result<Option<String>, AwsError> {
    if !required && !parameters.has("PermissionsBoundary") {
        return Ok(None);
    }
    let arn = validate::arn(parameters, "PermissionsBoundary")?;
    if policies::kind(aws, &arn) == policies::Kind::Attachable {
        return Ok(Some(arn));
    }
    Err(AwsError::no_such_entity(format!("Scope ARN: {arn} does not exist or is not attachable.")))
}

fn check_trust(aws: &Aws, trust: &str) -> Result<(), AwsError> {
    let around = Surroundings { partition: &aws.partition, principal_exists: &|name| principal_exists(aws, name) };
    documents::check_trust(trust, &around)?;
    let quota = aws.quotas.trust_policy_size;
    if documents::size(trust) > quota {
        return Err(AwsError::limit_exceeded(format!("Cannot exceed quota for ACLSizePerRole: {quota}")));
    }
    Ok(())
}

/// Whether an AWS principal is there. Of other accounts nothing is known, so theirs are.
fn principal_exists(aws: &Aws, name: &str) -> bool {
    if documents::is_account(name) {
        return true;
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts[..] else {
        return false;
    };
    if partition != aws.partition || !documents::is_account(account) {
        return false;
    }
    let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
    match (service, kind) {
        ("iam", "root") => rest.is_empty(),
        ("iam", "role") if account == aws.account => aws.role_by_arn(name).is_some(),
        ("iam", "user") if account == aws.account => name == aws.admin_arn() || aws.users.contains_key(rest),
        ("sts", "assumed-role") if account == aws.account => {
            rest.split_once('/').is_some_and(|(role, session)| aws.roles.contains_key(role) && !session.is_empty())
        }
        ("iam", "role" | "user") | ("sts", "assumed-role") => !rest.is_empty(),
        _ => false,
    }
}

/// How much of a role an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Created,
    Full,
    /// Without boundary, tags and last use.
    Listed,
}

fn show(aws: &Aws, role: &Role, detail: Detail) -> String {
    let mut shown = xml::text("Path", &role.path)
        + &xml::text("RoleName", &role.name)
        + &xml::text("RoleId", &role.id)
        + &xml::text("Arn", &aws.role_arn(role))
        + &xml::text("CreateDate", &time::iso8601(role.created))
        + &xml::text("AssumeRolePolicyDocument", &encoded(aws, &role.trust))
        + &xml::optional("Description", role.description.as_deref())
        + &xml::text("MaxSessionDuration", &role.max_session_duration.to_string());
    if detail == Detail::Listed {
        return shown;
    }
    if let Some(boundary) = &role.boundary {
        let inner = xml::text("PermissionsBoundaryType", "Policy") + &xml::text("PermissionsBoundaryArn", boundary);
        shown += &xml::element("PermissionsBoundary", &inner);
    }
    if !role.tags.is_empty() {
        shown += &xml::tags(&role.tags);
    }
    if detail == Detail::Full {
        let used =
            role.last_used.as_ref().map(|(when, region)| xml::text("LastUsedDate", &time::iso8601(*when)) + &xml::text("Region", region));
        shown += &xml::element("RoleLastUsed", &used.unwrap_or_default());
    }
    shown
}

/// A document as IAM shows it: percent-encoded as RFC 3986 has it.
pub(super) fn encoded(aws: &Aws, document: &str) -> String {
    let document = if aws.equivalent_documents { documents::equivalent(document) } else { document.to_owned() };
    utf8_percent_encode(&document, UNRESERVED).to_string()
}
