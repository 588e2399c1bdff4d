//! Who is calling: static tokens, tokens of a `ServiceAccount`, EKS tokens, nobody.

use std::{collections::BTreeMap, time::SystemTime};

use serde_json::{Value, json};

use super::{API_AUDIENCE, Kubernetes, resources::by_plural, status::Failure, store::unix_seconds};
use crate::service::Request;

/// What tokens of EKS begin with.
const EKS_PREFIX: &str = "k8s-aws-v1.";

const AUTHENTICATED: &str = "system:authenticated";

/// A caller.
#[derive(Clone, Debug, Default)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub(super) fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()], ..Self::default() }
    }

    /// As reviews show it.
    pub(super) fn document(&self) -> Value {
        let mut document = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            document["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            document["extra"] = json!(self.extra);
        }
        document
    }
}

impl Kubernetes {
    /// The caller of a request, or 401.
    pub(super) fn authenticate(&self, request: &Request, now: SystemTime) -> Result<User, Failure> {
        let header = request.header("authorization").trim();
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        };
        if token.is_empty() {
            return Ok(User::anonymous());
        }
        match self.identify(token, &[API_AUDIENCE.to_owned()], now) {
            Ok((user, _)) => Ok(user),
            Err(_) => Err(Failure::unauthorized()),
        }
    }

    /// The owner of a token and those of the audiences it is for, or why it is refused.
    pub(super) fn identify(&self, token: &str, audiences: &[String], now: SystemTime) -> Result<(User, Vec<String>), String> {
        if let Some(claims) = self.key.verify(token) {
            return self.service_account(&claims, audiences, now).map_err(|why| format!("[invalid bearer token, {why}]"));
        }
        let user = self.tokens.get(token).cloned().or_else(|| self.eks_user(token, now));
        match user {
            Some(mut user) if audiences.iter().any(|audience| audience == API_AUDIENCE) => {
                user.groups.push(AUTHENTICATED.to_owned());
                Ok((user, vec![API_AUDIENCE.to_owned()]))
            }
            _ => Err("invalid bearer token".to_owned()),
        }
    }

    fn service_account(&self, claims: &Value, audiences: &[String], now: SystemTime) -> Result<(User, Vec<String>), String> {
        let own: Vec<&str> = claims["aud"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if claims["iss"] != self.issuer.as_str() {
            return Err(format!("token issuer {} is invalid", claims["iss"]));
        }
        let accepted: Vec<String> = audiences.iter().filter(|audience| own.contains(&audience.as_str())).cloned().collect();
        if accepted.is_empty() {
            let quoted = |audiences: &[String]| {
                let quoted: Vec<String> = audiences.iter().map(|audience| format!("{audience:?}")).collect();
                format!("[{}]", quoted.join(" "))
            };
            let own: Vec<String> = own.into_iter().map(str::to_owned).collect();
            return Err(format!("token audiences {} is invalid for the target audiences {}", quoted(&own), quoted(audiences)));
        }
        let now = unix_seconds(now);
        if claims["exp"].as_u64().is_none_or(|end| now > end) {
            return Err("service account token has expired".to_owned());
        }
        if claims["nbf"].as_u64().is_some_and(|start| now < start) {
            return Err("service account token is not valid yet".to_owned());
        }
        let bound = &claims["kubernetes.io"];
        let namespace = bound["namespace"].as_str().unwrap_or_default();
        let account = &bound["serviceaccount"];
        let name = account["name"].as_str().unwrap_or_default();
        self.still_exists("serviceaccounts", namespace, account)?;
        let mut extra = BTreeMap::new();
        if let Some(id) = claims["jti"].as_str() {
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            extra.insert(key, vec![format!("JTI={id}")]);
        }
        if bound["pod"].is_object() {
            self.still_exists("pods", namespace, &bound["pod"])?;
            for member in ["name", "uid"] {
                let value = bound["pod"][member].as_str().unwrap_or_default().to_owned();
                extra.insert(format!("authentication.kubernetes.io/pod-{member}"), vec![value]);
            }
        }
        let user = User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            uid: account["uid"].as_str().unwrap_or_default().to_owned(),
            groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}"), AUTHENTICATED.to_owned()],
            extra,
        };
        Ok((user, accepted))
    }

    fn still_exists(&self, plural: &str, namespace: &str, claim: &Value) -> Result<(), String> {
        let name = claim["name"].as_str().unwrap_or_default();
        let object = by_plural(plural).and_then(|kind| self.store.get(kind, namespace, name));
        match object {
            None => Err(format!("{plural} {name:?} not found")),
            Some(object) if object["metadata"]["uid"] != claim["uid"] => Err("service account token has been invalidated".to_owned()),
            Some(_) => Ok(()),
        }
    }

    fn eks_user(&self, token: &str, now: SystemTime) -> Option<User> {
        if !token.starts_with(EKS_PREFIX) {
            return None;
        }
        let arn = (self.eks_authenticator.as_ref()?.0)(token, now)?;
        let caller = Principal::of(&arn);
        let (_, (name, groups)) =
            self.access_entries.iter().find(|(entry, _)| **entry == arn || Principal::of(entry).role == caller.role)?;
        let name = name.replace("{{AccountID}}", &caller.account).replace("{{SessionName}}", &caller.session);
        let extra = [("arn", &arn), ("canonicalArn", &caller.role), ("sessionName", &caller.session)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), vec![value.clone()]))
            .collect();
        let uid = format!("aws-iam-authenticator:{}:{}", caller.account, caller.role);
        Some(User { name, uid, groups: groups.clone(), extra })
    }
}

/// An IAM principal as access entries know it: a session stands for its role, and a role is told apart without its path.
struct Principal {
    role: String,
    account: String,
    session: String,
}

impl Principal {
    fn of(arn: &str) -> Self {
        let mut session = String::new();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [prefix, partition, _, _, account, name] = parts.as_slice() else {
            return Self { role: arn.to_owned(), account: String::new(), session };
        };
        let segments: Vec<&str> = name.split('/').collect();
        let role = match segments.as_slice() {
            ["assumed-role", role, name] => {
                (*name).clone_into(&mut session);
                format!("{prefix}:{partition}:iam::{account}:role/{role}")
            }
            [kind, .., last] => format!("{prefix}:{partition}:iam::{account}:{kind}/{last}"),
            _ => arn.to_owned(),
        };
        Self { role, account: (*account).to_owned(), session }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stands_for_its_role() {
        let session = Principal::of("arn:aws-cn:sts::111122223333:assumed-role/deployer/job-1");
        assert_eq!(session.role, "arn:aws-cn:iam::111122223333:role/deployer");
        assert_eq!(session.session, "job-1");
        let entry = Principal::of("arn:aws-cn:iam::111122223333:role/qovery/deployer");
        assert_eq!(entry.role, session.role);
        let user = Principal::of("arn:aws:iam::111122223333:user/ann");
        assert_eq!(user.role, "arn:aws:iam::111122223333:user/ann");
        let root = Principal::of("arn:aws:iam::111122223333:root");
        assert_eq!(root.role, "arn:aws:iam::111122223333:root");
    }
}
