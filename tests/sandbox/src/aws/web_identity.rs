//! `AssumeRoleWithWebIdentity`: a token of a trusted issuer for the session of a role that trusts it.
//!
//! Checked in this order, each with AWS's error: the shape of the token, its expiry, the provider, the audience,
//! the role and its trust policy, and last, because it takes a fetch of the issuer's keys, the signature.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::Value;

use super::{
    Aws, Outcome,
    error::AwsError,
    evaluate::{Asker, Decision, Question, decide, web_identity_context},
    query::Parameters,
    sts::SessionRequest,
    time, xml,
};

const DENIED: &str = "Not authorized to perform sts:AssumeRoleWithWebIdentity";

/// The claims of a token, whoever signed it.
pub(super) fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = BASE64URL.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok().filter(Value::is_object)
}

pub(super) fn assume(aws: &mut Aws, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let asked = SessionRequest::of(parameters)?;
    if parameters.has("ProviderId") {
        return Err(AwsError::not_implemented("ProviderId of AssumeRoleWithWebIdentity"));
    }
    let text = parameters.required("WebIdentityToken")?;
    if text.len() < 4 {
        return Err(AwsError::constraint("***", "webIdentityToken", "have length greater than or equal to 4"));
    }
    let token = Token::read(text)?;
    token.check_expiry(now)?;
    let host = token.issuer.trim_start_matches("https://");
    let provider = aws
        .providers
        .get(host)
        .filter(|_| account_of(&asked.role_arn) == Some(aws.account.as_str()))
        .ok_or_else(|| invalid(format!("No OpenIDConnect provider found in your account for {}", token.issuer)))?;
    let audience = token
        .audiences
        .iter()
        .find(|audience| provider.client_ids.contains(audience))
        .ok_or_else(|| invalid("Incorrect token audience"))?;
    let denied = || AwsError::access_denied(DENIED);
    let role = aws.role_by_arn(&asked.role_arn).ok_or_else(denied)?;
    let trust: Value = serde_json::from_str(&role.trust).map_err(|_| denied())?;
    let provider_arn = aws.iam_arn(&format!("oidc-provider/{host}"));
    let mut context = web_identity_context(host, &token.subject, audience);
    context.insert("sts:rolesessionname".to_owned(), vec![asked.session_name.clone()]);
    context.insert("aws:requestedregion".to_owned(), vec![aws.region.clone()]);
    for (key, values) in &aws.request_keys {
        if values.is_empty() {
            context.remove(key);
        } else {
            context.insert(key.clone(), values.clone());
        }
    }
    let question =
        Question { asker: Asker::Federated(&provider_arn), action: "sts:AssumeRoleWithWebIdentity", resource: None, context: &context };
    if aws.denies_web_identity || decide([&trust], &question) != Decision::Allowed {
        return Err(denied());
    }
    token.check_signature(aws, text)?;
    let session = asked.open(aws, role, now)?;
    Ok(Outcome::read(
        session
            + &xml::text("SubjectFromWebIdentityToken", &token.subject)
            + &xml::text("Audience", audience)
            + &xml::text("Provider", &provider_arn),
    ))
}

struct Token {
    issuer: String,
    subject: String,
    /// `azp` alone where there is one, as AWS reads it.
    audiences: Vec<String>,
    expires: u64,
}

impl Token {
    fn read(text: &str) -> Result<Self, AwsError> {
        let claims = claims(text)
            .ok_or_else(|| invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"))?;
        let claim = |name: &str| {
            let value = claims.get(name).and_then(Value::as_str).map(str::to_owned);
            value.ok_or_else(|| invalid(format!("Missing a required claim: {name}")))
        };
        let audiences = match claims.get("azp").or_else(|| claims.get("aud")) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
            _ => return Err(invalid("Missing a required claim: aud")),
        };
        let expires = claims.get("exp").and_then(Value::as_u64).ok_or_else(|| invalid("Missing a required claim: exp"))?;
        Ok(Self { issuer: claim("iss")?, subject: claim("sub")?, audiences, expires })
    }

    fn check_expiry(&self, now: SystemTime) -> Result<(), AwsError> {
        let current = time::unix_seconds(now);
        if self.expires > current {
            return Ok(());
        }
        Err(AwsError::new(
            400,
            "ExpiredTokenException",
            format!("Token expired: current date/time {current} must be before the expiration date/time {}", self.expires),
        ))
    }

    fn check_signature(&self, aws: &Aws, text: &str) -> Result<(), AwsError> {
        let keys = aws.issuers.get(&self.issuer).ok_or_else(|| {
            invalid("Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
        })?;
        if keys.iter().any(|key| key.verify(text).is_some()) {
            return Ok(());
        }
        Err(invalid("The ID Token provided has an invalid signature"))
    }
}

fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidIdentityToken", message)
}
