//! Which API and which operation a request means, without doing anything.

use http::Method;

use super::query;
use crate::service::Request;

const STS_ACTIONS: [&str; 3] = ["AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"];
const STS_VERSION: &str = "2011-06-15";

/// An API of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Iam,
    Sts,
    Eks,
    /// What the agents of EKS Pod Identity ask.
    EksAuth,
    /// Signed for something that is not here.
    Other,
}

/// An API and an operation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) api: Api,
    /// As in the API's own documents. For a request that fits none, method and path.
    pub(crate) action: String,
    /// The region signed for, if any.
    pub(crate) region: Option<String>,
    service: String,
}

impl Target {
    /// By the scope of the signature; unsigned, by `Action` or by the path.
    pub(crate) fn of(request: &Request) -> Self {
        let scope = scope(request);
        let (region, signed_for) = match scope {
            Some((region, service)) => (Some(region), Some(service)),
            None => (None, None),
        };
        let action = query::action(request);
        let api = match (signed_for.as_deref(), &action) {
            (Some("iam"), _) => Api::Iam,
            (Some("sts"), _) => Api::Sts,
            (Some("eks-auth"), _) => Api::EksAuth,
            (Some("eks"), _) | (None, None) => Api::Eks,
            (Some(_), _) => Api::Other,
            (None, Some(action)) => {
                let sts = query::version(request).as_deref() == Some(STS_VERSION) || STS_ACTIONS.contains(&action.as_str());
                if sts { Api::Sts } else { Api::Iam }
            }
        };
        let request_line = || format!("{} {}", request.method, request.path);
        let action = match api {
            Api::Eks | Api::EksAuth => route(request).map(str::to_owned),
            _ => action,
        };
        Self { api, action: action.unwrap_or_else(request_line), region, service: signed_for.unwrap_or_default() }
    }

    /// `iam:CreateRole`.
    pub(crate) fn name(&self) -> String {
        let service = match self.api {
            Api::Iam => "iam",
            Api::Sts => "sts",
            Api::Eks => "eks",
            Api::EksAuth => "eks-auth",
            Api::Other => &self.service,
        };
        format!("{service}:{}", self.action)
    }
}

/// Region and service of the credential scope.
fn scope(request: &Request) -> Option<(String, String)> {
    let authorization = request.header("authorization");
    let credential = match authorization.split_once("Credential=") {
        Some((_, rest)) => rest.split(',').next().unwrap_or_default().to_owned(),
        None => request.query_value("X-Amz-Credential")?,
    };
    let mut parts = credential.split('/').skip(2);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

fn route(request: &Request) -> Option<&'static str> {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let action = match (&request.method, &segments[..]) {
        (&Method::POST, ["clusters"]) => "CreateCluster",
        (&Method::GET, ["clusters"]) => "ListClusters",
        (&Method::GET, ["clusters", _]) => "DescribeCluster",
        (&Method::DELETE, ["clusters", _]) => "DeleteCluster",
        (&Method::GET, ["clusters", _, "addons"]) => "ListAddons",
        (&Method::POST, ["clusters", _, "addons"]) => "CreateAddon",
        (&Method::GET, ["clusters", _, "addons", _]) => "DescribeAddon",
        (&Method::DELETE, ["clusters", _, "addons", _]) => "DeleteAddon",
        (&Method::GET, ["clusters", _, "access-entries"]) => "ListAccessEntries",
        (&Method::POST, ["clusters", _, "access-entries"]) => "CreateAccessEntry",
        (&Method::GET, ["clusters", _, "access-entries", _]) => "DescribeAccessEntry",
        (&Method::POST, ["clusters", _, "access-entries", _]) => "UpdateAccessEntry",
        (&Method::DELETE, ["clusters", _, "access-entries", _]) => "DeleteAccessEntry",
        (&Method::POST, ["clusters", _, "access-entries", _, "access-policies"]) => "AssociateAccessPolicy",
        (&Method::GET, ["clusters", _, "pod-identity-associations"]) => "ListPodIdentityAssociations",
        (&Method::POST, ["clusters", _, "pod-identity-associations"]) => "CreatePodIdentityAssociation",
        (&Method::GET, ["clusters", _, "pod-identity-associations", _]) => "DescribePodIdentityAssociation",
        (&Method::POST, ["clusters", _, "pod-identity-associations", _]) => "UpdatePodIdentityAssociation",
        (&Method::DELETE, ["clusters", _, "pod-identity-associations", _]) => "DeletePodIdentityAssociation",
        (&Method::POST, ["clusters", _, "assume-role-for-pod-identity"]) => "AssumeRoleForPodIdentity",
        (&Method::GET, ["tags", _]) => "ListTagsForResource",
        (&Method::POST, ["tags", _]) => "TagResource",
        (&Method::DELETE, ["tags", _]) => "UntagResource",
        _ => return None,
    };
    Some(action)
}
