//! OIDC providers.

use std::time::SystemTime;

use super::{
    super::{Aws, Outcome, credentials, error::AwsError, query::Parameters, state::OidcProvider, time, xml},
    replace, validate,
};

const THUMBPRINTS: usize = 5;

pub(super) fn create(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let given = parameters.required("Url")?;
    validate::length(given, "Url", 1, 255)?;
    let url = given
        .strip_prefix("https://")
        .filter(|rest| is_issuer(rest))
        .ok_or_else(|| AwsError::validation("Invalid Open ID Connect Provider URL"))?
        .to_owned();
    let mut client_ids: Vec<String> = Vec::new();
    for client_id in parameters.texts("ClientIDList") {
        validate::length(&client_id, "ClientIDList", 1, 255)?;
        if !client_ids.contains(&client_id) {
            client_ids.push(client_id);
        }
    }
    let mut thumbprints = thumbprints(parameters)?;
    if thumbprints.is_empty() {
        // IAM fetches it from the issuer; here it follows from the name.
        let digest = credentials::hmac(b"thumbprint", url.as_bytes());
        thumbprints.push(credentials::hex(&digest[..20]));
    }
    let tags = validate::tags(parameters)?;
    if aws.providers.contains_key(&url) {
        return Err(AwsError::already_exists(format!("Provider with url {given} already exists.")));
    }
    check_client_ids(aws, client_ids.len())?;
    if aws.providers.len() >= aws.quotas.providers {
        return Err(AwsError::limit_exceeded(format!(
            "Cannot exceed quota for OpenIdConnectProvidersPerAccount: {}",
            aws.quotas.providers
        )));
    }
    let mut shown = xml::text("OpenIDConnectProviderArn", &arn(aws, &url));
    if !tags.is_empty() {
        shown += &xml::tags(&tags);
    }
    let provider = OidcProvider { url: url.clone(), client_ids, thumbprints, tags, created: now };
    aws.providers.insert(url, provider);
    Ok(Outcome::written(shown))
}

pub(super) fn get(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let provider = named_mut(aws, parameters)?;
    let texts = |name: &str, items: &[String]| xml::texts(name, items.iter().map(String::as_str));
    let mut shown = xml::text("Url", &provider.url)
        + &texts("ClientIDList", &provider.client_ids)
        + &texts("ThumbprintList", &provider.thumbprints)
        + &xml::text("CreateDate", &time::iso8601(provider.created));
    if !provider.tags.is_empty() {
        shown += &xml::tags(&provider.tags);
    }
    Ok(Outcome::read(shown))
}

/// Deleting what is not there is no error.
pub(super) fn delete(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arn = validate::arn(parameters, "OpenIDConnectProviderArn")?;
    let url = url_of(aws, &arn).map(str::to_owned);
    let removed = url.and_then(|url| aws.providers.remove(&url));
    Ok(Outcome::done(removed.is_some()))
}

#[allow(clippy::unnecessary_wraps, reason = "the signature that every operation has")]
pub(super) fn list(aws: &mut Aws, _: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let arns = aws.providers.keys().map(|url| xml::text("Arn", &arn(aws, url)));
    Ok(Outcome::read(xml::list("OpenIDConnectProviderList", arns)))
}

pub(super) fn add_client_id(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let client_id = client_id(parameters)?;
    let provider = named_mut(aws, parameters)?;
    if provider.client_ids.contains(&client_id) {
        return Ok(Outcome::done(false));
    }
    let count = provider.client_ids.len() + 1;
    check_client_ids(aws, count)?;
    named_mut(aws, parameters)?.client_ids.push(client_id);
    Ok(Outcome::done(true))
}

/// Removing what is not there is no error.
pub(super) fn remove_client_id(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let client_id = client_id(parameters)?;
    let provider = named_mut(aws, parameters)?;
    let before = provider.client_ids.len();
    provider.client_ids.retain(|other| *other != client_id);
    Ok(Outcome::done(provider.client_ids.len() != before))
}

pub(super) fn update_thumbprint(aws: &mut Aws, parameters: &Parameters, _: SystemTime) -> Result<Outcome, AwsError> {
    let thumbprints = thumbprints(parameters)?;
    if thumbprints.is_empty() {
        return Err(AwsError::validation("Thumbprint list must contain at least one entry."));
    }
    let provider = named_mut(aws, parameters)?;
    Ok(Outcome::done(replace(&mut provider.thumbprints, thumbprints)))
}

/// The provider that the parameter names.
pub(super) fn named_mut<'a>(aws: &'a mut Aws, parameters: &Parameters) -> Result<&'a mut OidcProvider, AwsError> {
    let arn = validate::arn(parameters, "OpenIDConnectProviderArn")?;
    let url = url_of(aws, &arn).map(str::to_owned);
    url.and_then(|url| aws.providers.get_mut(&url))
        .ok_or_else(|| AwsError::no_such_entity(format!("OpenIDConnect Provider not found for arn {arn}")))
}

fn arn(aws: &Aws, url: &str) -> String {
    aws.iam_arn(&format!("oidc-provider/{url}"))
}

fn url_of<'a>(aws: &Aws, arn: &'a str) -> Option<&'a str> {
    arn.strip_prefix(&aws.iam_arn("oidc-provider/"))
}

fn client_id(parameters: &Parameters) -> Result<String, AwsError> {
    let client_id = parameters.required("ClientID")?;
    validate::length(client_id, "ClientID", 1, 255)?;
    Ok(client_id.to_owned())
}

fn check_client_ids(aws: &Aws, count: usize) -> Result<(), AwsError> {
    let quota = aws.quotas.client_ids;
    if count <= quota {
        return Ok(());
    }
    Err(AwsError::limit_exceeded(format!("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {quota}")))
}

fn thumbprints(parameters: &Parameters) -> Result<Vec<String>, AwsError> {
    let thumbprints = parameters.texts("ThumbprintList");
    if thumbprints.len() > THUMBPRINTS {
        return Err(AwsError::invalid_input("Thumbprint list must contain fewer than 5 entries."));
    }
    for thumbprint in &thumbprints {
        validate::length(thumbprint, "ThumbprintList", 40, 40)?;
        if !thumbprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(AwsError::invalid_input(format!("Thumbprint {thumbprint} is not hexadecimal.")));
        }
    }
    Ok(thumbprints)
}

/// Host and path, no port, query or user.
fn is_issuer(rest: &str) -> bool {
    let host = rest.split('/').next().unwrap_or_default();
    let host_characters = |character: char| character.is_ascii_alphanumeric() || "-.".contains(character);
    !host.is_empty()
        && host.chars().all(host_characters)
        && rest.chars().all(|character| character.is_ascii_graphic() && !"?#:".contains(character))
}
