//! STS for signed callers: `GetCallerIdentity` and `AssumeRole`, and what both ways to a session share.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{
    Aws, Outcome,
    authorize::{self, Matter, Verdict},
    credentials::{Caller, CallerKind, Session},
    error::AwsError,
    evaluate::{Asker, Context, Decision, Question, decide},
    query::Parameters,
    state::Role,
    time, xml,
};

const SESSION_NAME_LENGTH: (usize, usize) = (2, 64);
const DURATION: (u32, u32) = (900, 43_200);
const DEFAULT_DURATION: u32 = 3_600;
/// A session of a session lives an hour at the most.
const CHAINED_DURATION: u32 = 3_600;

/// What `AssumeRole` understands elsewhere, but not here.
const UNSUPPORTED: [&str; 8] =
    ["Policy", "PolicyArns", "ProvidedContexts", "SerialNumber", "SourceIdentity", "Tags", "TokenCode", "TransitiveTagKeys"];

pub(super) fn perform(aws: &mut Aws, caller: &Caller, action: &str, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    match action {
        "GetCallerIdentity" => {
            Ok(Outcome::read(xml::text("Arn", &caller.arn) + &xml::text("UserId", &caller.user_id) + &xml::text("Account", &aws.account)))
        }
        "AssumeRole" => assume_role(aws, caller, parameters, now),
        _ => Err(AwsError::not_implemented(&format!("sts:{action}"))),
    }
}

fn assume_role(aws: &Aws, caller: &Caller, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
    let asked = SessionRequest::of(parameters)?;
    let denied = || {
        AwsError::access_denied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            caller.arn, asked.role_arn
        ))
    };
    let role = aws.role_by_arn(&asked.role_arn).ok_or_else(denied)?;
    let mut context = Context::from([("sts:rolesessionname".to_owned(), vec![asked.session_name.clone()])]);
    if let Some(id) = parameters.text("ExternalId") {
        context.insert("sts:externalid".to_owned(), vec![id.to_owned()]);
    }
    if !may_assume(aws, caller, (&asked.role_arn, role), "sts:AssumeRole", &context) {
        return Err(denied());
    }
    let chained = matches!(caller.kind, CallerKind::Session { .. });
    if chained && asked.duration > CHAINED_DURATION {
        return Err(AwsError::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    let session = asked.open(aws, role, now)?;
    Ok(Outcome::read(session))
}

/// A trust policy that names the caller is enough, in the caller's own account; one that names the account leaves it to the caller's own
/// policies. The action is `sts:AssumeRole`, or `sts:TagSession` for its tags.
pub(super) fn may_assume(aws: &Aws, caller: &Caller, (role_arn, role): (&str, &Role), action: &str, request: &Context) -> bool {
    let Ok(trust) = serde_json::from_str(&role.trust) else {
        return false;
    };
    let mut context = request.clone();
    context.insert("aws:principalarn".to_owned(), vec![caller.arn.clone()]);
    context.insert("aws:principalaccount".to_owned(), vec![aws.account.clone()]);
    let mut own = vec![caller.arn.clone()];
    if let CallerKind::Session { role_arn, tags, .. } = &caller.kind {
        own.push(role_arn.clone());
        context.insert("aws:principalarn".to_owned(), vec![role_arn.clone()]);
        context.extend(tags.iter().map(|(key, value)| (format!("aws:principaltag/{}", key.to_lowercase()), vec![value.clone()])));
    }
    let mut all = own.clone();
    all.extend([aws.iam_arn("root"), aws.account.clone()]);
    let ask = |identities: &[String]| {
        let question = Question { asker: Asker::Aws(identities), action, resource: None, context: &context };
        decide([&trust], &question)
    };
    let mut matter = Matter::of(role_arn);
    matter.context = context.clone();
    let verdict = authorize::judge(aws, caller, action, &matter);
    let at_home = role_arn.split(':').nth(4) == Some(aws.account.as_str());
    match (ask(&all), ask(&own), verdict) {
        (Decision::Denied | Decision::Silent, ..) | (.., Verdict::Denied) => false,
        (.., Verdict::Allowed) => true,
        (_, Decision::Allowed, _) => at_home,
        _ => false,
    }
}

/// A session that nothing stands in the way of.
pub(super) struct Opening<'a> {
    pub(super) role_arn: &'a str,
    pub(super) name: &'a str,
    /// In seconds.
    pub(super) duration: u32,
    pub(super) policy: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Opening<'_> {
    pub(super) fn open(self, aws: &Aws, role: &Role, now: SystemTime) -> Session {
        let account = self.role_arn.split(':').nth(4).unwrap_or_default();
        Session {
            arn: format!("arn:{}:sts::{account}:assumed-role/{}/{}", aws.partition, role.name, self.name),
            user_id: format!("{}:{}", role.id, self.name),
            role_arn: self.role_arn.to_owned(),
            expires: time::unix_seconds(now + Duration::from_secs(u64::from(self.duration))),
            policy: self.policy,
            tags: self.tags,
            nonce: format!("{} {now:?}", aws.requests),
        }
    }
}

/// The parameters that both ways to a session take.
#[derive(Clone, Debug)]
pub(super) struct SessionRequest {
    pub(super) role_arn: String,
    pub(super) session_name: String,
    duration: u32,
}

impl SessionRequest {
    pub(super) fn of(parameters: &Parameters) -> Result<Self, AwsError> {
        if let Some(name) = UNSUPPORTED.iter().find(|name| parameters.has(name)) {
            return Err(AwsError::not_implemented(&format!("{name} of AssumeRole*")));
        }
        let role_arn = parameters.required("RoleArn")?;
        if role_arn.len() < 20 {
            return Err(AwsError::constraint(role_arn, "roleArn", "have length greater than or equal to 20"));
        }
        let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
        let shaped = matches!(parts[..], ["arn", _, "iam", "", account, resource]
            if super::documents::is_account(account) && resource.starts_with("role/"));
        if !shaped {
            return Err(AwsError::validation(format!("{role_arn} is invalid")));
        }
        let session_name = parameters.required("RoleSessionName")?;
        let count = session_name.chars().count();
        let (least, most) = SESSION_NAME_LENGTH;
        let broken = |constraint: &str| Err(AwsError::constraint(session_name, "roleSessionName", constraint));
        if count < least {
            return broken("have length greater than or equal to 2");
        }
        if count > most {
            return broken("have length less than or equal to 64");
        }
        let known = |character: char| character.is_ascii_alphanumeric() || "_=,.@-+".contains(character);
        if !session_name.chars().all(known) {
            return broken(r"satisfy regular expression pattern: [\w+=,.@-]*");
        }
        let duration = parameters.number("DurationSeconds", DURATION.0, DURATION.1)?.unwrap_or(DEFAULT_DURATION);
        Ok(Self { role_arn: role_arn.to_owned(), session_name: session_name.to_owned(), duration })
    }

    /// `Credentials` and `AssumedRoleUser` of the answer.
    pub(super) fn open(&self, aws: &Aws, role: &Role, now: SystemTime) -> Result<String, AwsError> {
        if self.duration > role.max_session_duration {
            return Err(AwsError::validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role."));
        }
        let opening =
            Opening { role_arn: &self.role_arn, name: &self.session_name, duration: self.duration, policy: None, tags: BTreeMap::new() };
        let session = opening.open(aws, role, now);
        let expires = time::from_unix_seconds(session.expires);
        let credentials = session.credentials();
        let token = credentials.session_token.unwrap_or_default();
        let shown = xml::text("AccessKeyId", &credentials.access_key_id)
            + &xml::text("SecretAccessKey", &credentials.secret_access_key)
            + &xml::text("SessionToken", &token)
            + &xml::text("Expiration", &time::iso8601(expires));
        let user = xml::text("AssumedRoleId", &session.user_id) + &xml::text("Arn", &session.arn);
        Ok(xml::element("Credentials", &shown) + &xml::element("AssumedRoleUser", &user))
    }
}
