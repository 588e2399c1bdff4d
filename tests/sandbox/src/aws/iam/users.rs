//! Users, as far as a limited caller takes one: a user, its key, an inline policy, and what it may do.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    super::{
        Aws, Outcome,
        authorize::{self, Matter, Verdict},
        credentials::{ADMIN_NAME, user_secret},
        documents,
        error::AwsError,
        query::Parameters,
        state::User,
        time, xml,
    },
    validate,
};

pub(super) fn create(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "UserName", 64)?.to_owned();
    for parameter in ["Path", "PermissionsBoundary", "Tags"] {
        if parameters.has(parameter) {
            return Err(AwsError::not_implemented(&format!("{parameter} of CreateUser")));
        }
    }
    let taken = |other: &str| other.eq_ignore_ascii_case(&name);
    if aws.users.keys().any(|other| taken(other)) || taken(ADMIN_NAME) {
        return Err(AwsError::already_exists(format!("User with name {name} already exists.")));
    }
    let user = User { name: name.clone(), id: aws.unique_id("AIDA"), created: now, keys: BTreeMap::new(), inline: BTreeMap::new() };
    let shown = xml::text("Path", "/")
        + &xml::text("UserName", &name)
        + &xml::text("UserId", &user.id)
        + &xml::text("Arn", &aws.iam_arn(&format!("user/{name}")))
        + &xml::text("CreateDate", &time::iso8601(now));
    aws.users.insert(name, user);
    Ok(Outcome::written(xml::element("User", &shown)))
}

pub(super) fn create_access_key(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "UserName", 128)?;
    let id: String = aws.unique_id("AKIA").chars().take(20).collect();
    let secret = user_secret(&id);
    let user = named(aws, name)?;
    if user.keys.len() >= 2 {
        return Err(AwsError::limit_exceeded("Cannot exceed quota for AccessKeysPerUser: 2"));
    }
    let shown = xml::text("UserName", name)
        + &xml::text("AccessKeyId", &id)
        + &xml::text("Status", "Active")
        + &xml::text("SecretAccessKey", &secret)
        + &xml::text("CreateDate", &time::iso8601(now));
    user.keys.insert(id, secret);
    Ok(Outcome::written(xml::element("AccessKey", &shown)))
}

pub(super) fn put_policy(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let name = validate::name(parameters, "UserName", 128)?;
    let policy = validate::name(parameters, "PolicyName", 128)?.to_owned();
    let document = parameters.required("PolicyDocument")?.to_owned();
    documents::check_permissions(&document, &aws.partition)?;
    let before = named(aws, name)?.inline.insert(policy, document.clone());
    Ok(Outcome::done(before.as_ref() != Some(&document)))
}

/// Of users and roles, without further policies or context.
pub(super) fn simulate(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    for parameter in ["PolicyInputList", "PermissionsBoundaryPolicyInputList", "ContextEntries", "ResourcePolicy"] {
        if parameters.has(parameter) {
            return Err(AwsError::not_implemented(&format!("{parameter} of SimulatePrincipalPolicy")));
        }
    }
    let source = validate::arn(parameters, "PolicySourceArn")?;
    let user = source.strip_prefix(&aws.iam_arn("user/")).filter(|name| aws.users.contains_key(*name));
    let (documents, boundary) = match (user, aws.role_by_arn(&source)) {
        (Some(name), _) => (authorize::user_documents(aws, name), None),
        (None, Some(role)) => authorize::role_documents(aws, role),
        (None, None) => {
            return Err(AwsError::no_such_entity(format!("The principal {source} cannot be found.")));
        }
    };
    let mut resources = parameters.texts("ResourceArns");
    if resources.is_empty() {
        resources.push("*".to_owned());
    }
    let mut results = Vec::new();
    for action in parameters.texts("ActionNames") {
        for resource in &resources {
            let matter = Matter::of(resource.clone());
            let verdict = authorize::judge_documents(&documents, boundary.as_ref(), &action, &matter);
            let decision = match verdict {
                Verdict::Allowed => "allowed",
                Verdict::Denied => "explicitDeny",
                Verdict::NotAllowed | Verdict::BeyondSession | Verdict::BeyondBoundary => "implicitDeny",
            };
            results.push(
                xml::text("EvalActionName", &action)
                    + &xml::text("EvalResourceName", resource)
                    + &xml::text("EvalDecision", decision)
                    + &xml::list("MatchedStatements", [])
                    + &xml::list("MissingContextValues", []),
            );
        }
    }
    let truncated = xml::text("IsTruncated", "false");
    Ok(Outcome::read(xml::list("EvaluationResults", results) + &truncated))
}

fn named<'a>(aws: &'a mut Aws, name: &str) -> Result<&'a mut User, AwsError> {
    aws.users.get_mut(name).ok_or_else(|| AwsError::no_such_entity(format!("The user with name {name} cannot be found.")))
}
