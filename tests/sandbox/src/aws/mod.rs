//! A local AWS account: IAM, STS and EKS behind one signed endpoint, in one value that can be copied.
//!
//! Here: who makes a request, and to which room it goes. What it means is in `target.rs`, what the operations do in `iam/`,
//! `sts.rs`, `web_identity.rs`, `eks/` and `eks_auth.rs`, how an answer looks in `answer.rs`, and what tests may arrange in `arrange.rs`.
//! Sockets and faults are not its concern.

mod answer;
mod arrange;
mod authorize;
mod credentials;
mod documents;
mod eks;
mod eks_auth;
mod eks_token;
mod error;
pub mod evaluate;
mod iam;
mod managed;
mod pods;
mod query;
mod sigv4;
mod state;
mod strict_json;
mod sts;
mod target;
#[cfg(test)]
mod tests;
mod time;
mod web_identity;
mod xml;

use std::{collections::BTreeMap, time::SystemTime};

pub use credentials::Credentials;
pub use eks::{
    state::{AccessEntry, Addon, Cluster, DeletedAssociation, PodIdentityAssociation},
    users::ClusterUser,
};
pub use state::{OidcProvider, Policy, PolicyVersion, Quotas, Role, User};

use self::{
    answer::{Outcome, json_response, xml_response},
    credentials::{ADMIN_KEY, Caller, CallerKind, Session},
    eks::state::EksWorld,
    error::AwsError,
    query::Parameters,
    sigv4::Signature,
    target::{Api, Target},
};
use crate::{
    keys::ClusterKey,
    service::{Answer, Request, Service},
};

/// The account: everything that IAM, STS and EKS know.
#[derive(Clone, Debug)]
pub struct Aws {
    account: String,
    region: String,
    partition: String,
    roles: BTreeMap<String, Role>,
    /// Of other accounts, by ARN.
    roles_elsewhere: BTreeMap<String, Role>,
    providers: BTreeMap<String, OidcProvider>,
    policies: BTreeMap<String, Policy>,
    users: BTreeMap<String, User>,
    clusters: BTreeMap<String, Cluster>,
    issuers: BTreeMap<String, Vec<ClusterKey>>,
    /// Condition keys of requests for a session, beside those of the token.
    request_keys: evaluate::Context,
    /// Whether a policy outside the account denies every session by a token.
    denies_web_identity: bool,
    eks_world: EksWorld,
    quotas: Quotas,
    equivalent_documents: bool,
    exact_case: bool,
    /// Counts what was made, for ids that are never used twice.
    serial: u64,
    /// Counts requests, for their ids.
    requests: u64,
}

/// An operation of a Query API.
type Operation = fn(&mut Aws, &Parameters, SystemTime) -> Result<Outcome, AwsError>;

impl Aws {
    fn iam_arn(&self, resource: &str) -> String {
        format!("arn:{}:iam::{}:{resource}", self.partition, self.account)
    }

    fn role_arn(&self, role: &Role) -> String {
        self.iam_arn(&format!("role{}{}", role.path, role.name))
    }

    /// The key of a role in `roles`.
    fn role_key(&self, name: &str) -> Option<String> {
        if self.roles.contains_key(name) {
            return Some(name.to_owned());
        }
        self.roles.keys().find(|key| !self.exact_case && key.eq_ignore_ascii_case(name)).cloned()
    }

    fn role_by_arn(&self, arn: &str) -> Option<&Role> {
        let name = arn.rsplit('/').next()?;
        self.roles.get(name).filter(|role| self.role_arn(role) == arn).or_else(|| self.roles_elsewhere.get(arn))
    }

    /// A unique id with its prefix, 21 characters.
    fn unique_id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        let seed = format!("{prefix} {} {}", self.account, self.serial);
        format!("{prefix}{}", credentials::identifier(seed.as_bytes(), 17))
    }

    /// Who signed a request. `None` if nobody did.
    fn caller(&self, request: &Request, now: SystemTime) -> Result<Option<Caller>, AwsError> {
        let Some(signature) = Signature::of(request)? else {
            return Ok(None);
        };
        let (caller, secret) = self.holder(&signature, now)?;
        signature.check_time(now)?;
        signature.check_secret(request, &secret)?;
        Ok(Some(caller))
    }

    /// The owner of an access key and its secret.
    fn holder(&self, signature: &Signature, now: SystemTime) -> Result<(Caller, String), AwsError> {
        let key = signature.access_key_id.as_str();
        let invalid = "The security token included in the request is invalid";
        if key.starts_with("ASIA") {
            let token = signature.token.as_deref().ok_or_else(|| credentials::invalid_token(invalid))?;
            let session = Session::open(key, token, now)?;
            let Session { arn, user_id, role_arn, policy, tags, .. } = session;
            let caller = Caller { arn, user_id, kind: CallerKind::Session { role_arn, policy, tags } };
            return Ok((caller, credentials::session_secret(key)));
        }
        if signature.token.is_some() {
            return Err(credentials::invalid_token(invalid));
        }
        if key == ADMIN_KEY {
            let caller = Caller { arn: self.admin_arn(), user_id: "AIDASANDBOXADMIN00000".to_owned(), kind: CallerKind::Admin };
            return Ok((caller, Credentials::admin().secret_access_key));
        }
        self.users
            .values()
            .find_map(|user| {
                let secret = user.keys.get(key)?;
                let caller = Caller {
                    arn: self.iam_arn(&format!("user/{}", user.name)),
                    user_id: user.id.clone(),
                    kind: CallerKind::User(user.name.clone()),
                };
                Some((caller, secret.clone()))
            })
            .ok_or_else(|| credentials::invalid_token(&format!("{invalid}.")))
    }

    fn perform(&mut self, target: &Target, request: &Request, parameters: &Parameters, now: SystemTime) -> Result<Outcome, AwsError> {
        let caller = self.caller(request, now)?;
        if let (Api::Sts, "AssumeRoleWithWebIdentity") = (target.api, target.action.as_str()) {
            return web_identity::assume(self, parameters, now);
        }
        let caller = caller.ok_or_else(|| AwsError::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token"))?;
        match target.api {
            Api::Iam => {
                let operation = iam::operation(&target.action).ok_or_else(|| AwsError::not_implemented(&target.name()))?;
                authorize::iam(self, &caller, &target.action, parameters)?;
                operation(self, parameters, now)
            }
            Api::Sts => sts::perform(self, &caller, &target.action, parameters, now),
            Api::Eks => eks::perform(self, &caller, target, request, now),
            Api::EksAuth => eks_auth::perform(self, &caller, target, request, now),
            Api::Other => Err(AwsError::not_implemented(&target.name())),
        }
    }

    fn request_id(&mut self, now: SystemTime) -> String {
        self.requests += 1;
        let seed = format!("{} {:?}", self.requests, now);
        credentials::uuid(seed.as_bytes())
    }
}

impl Service for Aws {
    fn operation(&self, request: &Request) -> String {
        Target::of(request).name()
    }

    fn answer(&mut self, request: &Request, now: SystemTime) -> Answer {
        let target = Target::of(request);
        let parameters = Parameters::of(request);
        let request_id = self.request_id(now);
        let outcome = self.perform(&target, request, &parameters, now);
        let changed = outcome.as_ref().is_ok_and(|outcome| outcome.changed);
        let response = match target.api {
            Api::Eks | Api::EksAuth => json_response(outcome, &request_id),
            _ => xml_response(&target, outcome, &request_id),
        };
        let parameters = match target.api {
            Api::Eks | Api::EksAuth => eks::described(&target, request),
            _ => parameters.described(),
        };
        Answer { response, changed, parameters }
    }

    fn snapshot(&self) -> Box<dyn Service> {
        Box::new(self.clone())
    }
}
