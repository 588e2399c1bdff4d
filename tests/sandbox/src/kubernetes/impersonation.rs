//! Acting as somebody else: the headers `Impersonate-User`, `-Group`, `-Uid` and `-Extra-…`, with the checks of kube-apiserver.
//!
//! Each thing claimed takes the verb `impersonate` on it, and claims without a user are a bad request. The finer verbs of constrained
//! impersonation (KEP-5284) stay out.
//! <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation/impersonation.go>

use std::{collections::BTreeMap, fmt};

use percent_encoding::percent_decode_str;

use super::{
    Kubernetes,
    authn::{AUTHENTICATED, UNAUTHENTICATED, User},
    rbac,
    resources::Attributes,
    status::Failure,
};
use crate::service::Request;

const GROUP: &str = "authentication.k8s.io";
const EXTRA: &str = "impersonate-extra-";

/// One thing that a caller claims to be.
enum Claim {
    User(String),
    ServiceAccount { namespace: String, name: String },
    Group(String),
    Extra { key: String, value: String },
    Uid(String),
}

impl Claim {
    /// What the caller has to be allowed.
    fn question(&self) -> Attributes {
        let attributes = |group: &str, plural: &str, name: &str| Attributes {
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        match self {
            Self::User(name) => attributes("", "users", name),
            Self::ServiceAccount { namespace, name } => {
                Attributes { namespace: namespace.clone(), ..attributes("", "serviceaccounts", name) }
            }
            Self::Group(name) => attributes("", "groups", name),
            Self::Extra { key, value } => Attributes { subresource: key.clone(), ..attributes(GROUP, "userextras", value) },
            Self::Uid(uid) => attributes(GROUP, "uids", uid),
        }
    }
}

/// As Go prints an object reference.
impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, namespace, name, version, path) = match self {
            Self::User(name) => ("User", "", name, "", ""),
            Self::ServiceAccount { namespace, name } => ("ServiceAccount", namespace.as_str(), name, "", ""),
            Self::Group(name) => ("Group", "", name, "", ""),
            Self::Extra { key, value } => ("UserExtra", "", value, "authentication.k8s.io/v1", key.as_str()),
            Self::Uid(uid) => ("UID", "", uid, "authentication.k8s.io/v1", ""),
        };
        write!(formatter, "{{{kind} {namespace} {name}  {version}  {path}}}")
    }
}

impl Kubernetes {
    /// Whom a request counts as: the caller, or whom the caller may act as.
    pub(super) fn acting(&self, request: &Request, caller: User) -> Result<User, Failure> {
        let claims = claims(request);
        if claims.is_empty() {
            return Ok(caller);
        }
        if request.header("impersonate-user").is_empty() {
            let claims: Vec<String> = claims.iter().map(ToString::to_string).collect();
            return Err(Failure::bad_request(format!("requested [{}] without impersonating a user", claims.join(" "))));
        }
        for claim in &claims {
            let question = claim.question();
            if !rbac::authorize(&self.store, &caller, &question).allowed {
                let why = rbac::refusal(&caller, &question);
                return Err(Failure::forbidden(&question.group, &question.plural, &question.name, &why));
            }
        }
        Ok(claimed(claims))
    }
}

fn claims(request: &Request) -> Vec<Claim> {
    let mut claims = Vec::new();
    let user = request.header("impersonate-user");
    match service_account(user) {
        _ if user.is_empty() => {}
        Some((namespace, name)) => claims.push(Claim::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }),
        None => claims.push(Claim::User(user.to_owned())),
    }
    for (header, value) in &request.headers {
        let value = value.to_str().unwrap_or_default().to_owned();
        match header.as_str() {
            "impersonate-group" => claims.push(Claim::Group(value)),
            "impersonate-uid" if !value.is_empty() => claims.push(Claim::Uid(value)),
            name => {
                if let Some(key) = name.strip_prefix(EXTRA) {
                    claims.push(Claim::Extra { key: percent_decode_str(key).decode_utf8_lossy().into_owned(), value });
                }
            }
        }
    }
    claims
}

/// The user that the claims come to. Groups that are named are all there are, but that everybody is known or unknown.
fn claimed(claims: Vec<Claim>) -> User {
    let (mut name, mut uid, mut groups, mut of_account) = (String::new(), String::new(), Vec::new(), Vec::new());
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for claim in claims {
        match claim {
            Claim::User(user) => name = user,
            Claim::ServiceAccount { namespace, name: account } => {
                name = format!("system:serviceaccount:{namespace}:{account}");
                of_account = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
            }
            Claim::Group(group) => groups.push(group),
            Claim::Extra { key, value } => extra.entry(key).or_default().push(value),
            Claim::Uid(id) => uid = id,
        }
    }
    if groups.is_empty() {
        groups = of_account;
    }
    let known = [AUTHENTICATED, UNAUTHENTICATED];
    if name == "system:anonymous" {
        if !groups.iter().any(|group| group == UNAUTHENTICATED) {
            groups.push(UNAUTHENTICATED.to_owned());
        }
    } else if !groups.iter().any(|group| known.contains(&group.as_str())) {
        groups.push(AUTHENTICATED.to_owned());
    }
    User { name, uid, groups, extra }
}

/// Namespace and name of `system:serviceaccount:NAMESPACE:NAME`.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}
