//! Tags of roles, managed policies and OIDC providers: merged by key, keys the same ignoring case.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    super::{Aws, Outcome, error::AwsError, query::Parameters, xml},
    lists::Page,
    policies, providers, validate,
};

type Tags = BTreeMap<String, String>;

pub(super) fn tag_role(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    tag(role_tags(aws, parameters)?, parameters)
}

pub(super) fn untag_role(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    untag(role_tags(aws, parameters)?, parameters)
}

pub(super) fn list_role(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let role = aws.role_named(validate::name(parameters, "RoleName", 64)?)?;
    list(&role.tags, parameters)
}

pub(super) fn tag_provider(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    tag(&mut providers::named_mut(aws, parameters)?.tags, parameters)
}

pub(super) fn untag_provider(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    untag(&mut providers::named_mut(aws, parameters)?.tags, parameters)
}

pub(super) fn list_provider(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    list(&providers::named_mut(aws, parameters)?.tags, parameters)
}

pub(super) fn tag_policy(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    tag(policy_tags(aws, parameters)?, parameters)
}

pub(super) fn untag_policy(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    untag(policy_tags(aws, parameters)?, parameters)
}

pub(super) fn list_policy(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    list(policy_tags(aws, parameters)?, parameters)
}

fn policy_tags<'a>(aws: &'a mut Aws, parameters: &Parameters) -> Result<&'a mut Tags, AwsError> {
    let arn = validate::arn(parameters, "PolicyArn")?;
    Ok(&mut policies::named_mut(aws, &arn)?.tags)
}

fn role_tags<'a>(aws: &'a mut Aws, parameters: &Parameters) -> Result<&'a mut Tags, AwsError> {
    let name = validate::name(parameters, "RoleName", 64)?;
    Ok(&mut aws.modifiable_role(name)?.tags)
}

fn tag(tags: &mut Tags, parameters: &Parameters) -> Result<Outcome, AwsError> {
    if !parameters.has("Tags") {
        return Err(AwsError::missing("tags"));
    }
    let new = validate::tags(parameters)?;
    Ok(Outcome::done(validate::merge_tags(tags, new)?))
}

fn untag(tags: &mut Tags, parameters: &Parameters) -> Result<Outcome, AwsError> {
    if !parameters.has("TagKeys") {
        return Err(AwsError::missing("tagKeys"));
    }
    let keys = parameters.texts("TagKeys");
    if keys.len() > 50 {
        return Err(AwsError::constraint(&format!("{} keys", keys.len()), "tagKeys", "have length less than or equal to 50"));
    }
    for key in &keys {
        validate::tag_key(key, "tagKeys")?;
    }
    let before = tags.len();
    tags.retain(|key, _| !keys.iter().any(|other| validate::same_key(key, other)));
    Ok(Outcome::done(tags.len() != before))
}

fn list(tags: &Tags, parameters: &Parameters) -> Result<Outcome, AwsError> {
    let pairs = tags.iter().map(|pair| (pair.0.clone(), pair));
    let page = Page::of(pairs, parameters)?;
    let end = page.end();
    Ok(Outcome::read(xml::tags(page.items) + &end))
}
