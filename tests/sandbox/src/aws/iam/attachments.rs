//! The permission policies of a role: managed ones attached, inline ones put.

use std::time::SystemTime;

use super::{
    super::{Aws, Outcome, documents, error::AwsError, query::Parameters, xml},
    lists::Page,
    policies::{self, Kind},
    roles, validate,
};

pub(super) fn attach(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", 64)?;
    let arn = validate::arn(parameters, "PolicyArn")?;
    let kind = policies::kind(aws, &arn);
    let quota = aws.quotas.attached_policies;
    let role = aws.modifiable_role(name)?;
    match kind {
        Kind::Attachable => {}
        Kind::Missing => {
            return Err(AwsError::no_such_entity(format!("Policy {arn} does not exist or is not attachable.")));
        }
        Kind::ServiceLinked => {
            return Err(AwsError::new(400, "PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role."));
        }
    }
    if role.attached.contains(&arn) {
        return Ok(Outcome::done(false));
    }
    if role.attached.len() >= quota {
        return Err(AwsError::limit_exceeded(format!("Cannot exceed quota for PoliciesPerRole: {quota}")));
    }
    role.attached.insert(arn);
    Ok(Outcome::done(true))
}

pub(super) fn detach(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", 64)?;
    let arn = validate::arn(parameters, "PolicyArn")?;
    if aws.modifiable_role(name)?.attached.remove(&arn) {
        return Ok(Outcome::done(true));
    }
    Err(AwsError::no_such_entity(format!("Policy {arn} was not found.")))
}

pub(super) fn list_attached(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let role = aws.role_named(validate::name(parameters, "RoleName", 64)?)?;
    let prefix = parameters.text("PathPrefix").unwrap_or("/");
    let found = role.attached.iter().filter_map(|arn| {
        // The part after `policy`: path and name.
        let (_, path_and_name) = arn.split_once(":policy")?;
        let name = path_and_name.rsplit('/').next()?;
        let item = xml::text("PolicyName", name) + &xml::text("PolicyArn", arn);
        path_and_name.starts_with(prefix).then(|| (arn.clone(), item))
    });
    let page = Page::of(found, parameters)?;
    let end = page.end();
    Ok(Outcome::read(xml::list("AttachedPolicies", page.items) + &end))
}

pub(super) fn put(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", 64)?;
    let policy = validate::name(parameters, "PolicyName", 128)?.to_owned();
    let document = parameters.required("PolicyDocument")?.to_owned();
    validate::length(&document, "PolicyDocument", 1, 131_072)?;
    let quota = aws.quotas.inline_policies_size;
    let partition = aws.partition.clone();
    let role = aws.modifiable_role(name)?;
    documents::check_permissions(&document, &partition)?;
    let others = role.inline.iter().filter(|(other, _)| **other != policy);
    let size: usize = others.map(|(_, text)| documents::size(text)).sum();
    if size + documents::size(&document) > quota {
        return Err(AwsError::limit_exceeded(format!("Maximum policy size of {quota} bytes exceeded for role {}", role.name)));
    }
    let before = role.inline.insert(policy, document.clone());
    Ok(Outcome::done(before.as_ref() != Some(&document)))
}

pub(super) fn get(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let role = aws.role_named(validate::name(parameters, "RoleName", 64)?)?;
    let policy = validate::name(parameters, "PolicyName", 128)?;
    let document = role.inline.get(policy).ok_or_else(|| no_inline(policy))?;
    Ok(Outcome::read(
        xml::text("RoleName", &role.name) + &xml::text("PolicyName", policy) + &xml::text("PolicyDocument", &roles::encoded(aws, document)),
    ))
}

pub(super) fn delete(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "RoleName", 64)?;
    let policy = validate::name(parameters, "PolicyName", 128)?;
    let removed = aws.modifiable_role(name)?.inline.remove(policy);
    removed.map(|_| Outcome::done(true)).ok_or_else(|| no_inline(policy))
}

pub(super) fn list(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let role = aws.role_named(validate::name(parameters, "RoleName", 64)?)?;
    let names = role.inline.keys().map(|name| (name.clone(), name.clone()));
    let page = Page::of(names, parameters)?;
    let names = page.items.iter().map(String::as_str);
    Ok(Outcome::read(xml::texts("PolicyNames", names) + &page.end()))
}

fn no_inline(policy: &str) -> AwsError {
    AwsError::no_such_entity(format!("The role policy with name {policy} cannot be found."))
}
