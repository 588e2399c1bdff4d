//! The kinds of object this API knows, and which of them a request is about.

use http::Method;

use super::status::qualify;
use crate::service::Request;

/// One kind of object.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    pub(super) traits: Traits,
}

/// How the API treats a kind of object.
#[derive(Debug)]
pub(super) enum Traits {
    /// A stored object that may be created by PUT; a deletion answers with a `Status`.
    PutCreates,
    /// As `PutCreates`, but every PUT must say which version it replaces.
    PutNeedsVersion,
    /// A deletion answers with the object.
    DeleteReturns,
    /// It has a specification, with a generation, and a status.
    Workload,
    /// As `Workload`, and a deletion answers with the object.
    WorkloadDeleteReturns,
    /// Nothing is stored: the answer is made from the question.
    Review,
}

impl Resource {
    /// `leases.coordination.k8s.io`, `serviceaccounts`.
    pub(super) fn qualified(&self) -> String {
        qualify(self.plural, self.group)
    }

    /// `Lease.coordination.k8s.io`, `ServiceAccount`.
    pub(super) fn qualified_kind(&self) -> String {
        qualify(self.kind, self.group)
    }

    /// `coordination.k8s.io/v1`, `v1`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    pub(super) const fn stored(&self) -> bool {
        !matches!(self.traits, Traits::Review)
    }

    pub(super) const fn put_creates(&self) -> bool {
        matches!(self.traits, Traits::PutCreates | Traits::PutNeedsVersion)
    }

    pub(super) const fn put_needs_version(&self) -> bool {
        matches!(self.traits, Traits::PutNeedsVersion)
    }

    pub(super) const fn delete_returns(&self) -> bool {
        matches!(self.traits, Traits::DeleteReturns | Traits::WorkloadDeleteReturns)
    }

    pub(super) const fn workload(&self) -> bool {
        matches!(self.traits, Traits::Workload | Traits::WorkloadDeleteReturns)
    }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

macro_rules! resource {
    ($group:expr, $plural:literal, $kind:literal, $namespaced:literal, $traits:ident) => {
        Resource { group: $group, version: "v1", plural: $plural, kind: $kind, namespaced: $namespaced, traits: Traits::$traits }
    };
}

/// Every kind of object.
#[rustfmt::skip]
pub(super) static RESOURCES: &[Resource] = &[
    resource!("", "namespaces", "Namespace", false, DeleteReturns),
    resource!("", "pods", "Pod", true, WorkloadDeleteReturns),
    resource!("", "serviceaccounts", "ServiceAccount", true, DeleteReturns),
    resource!(ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false, Workload),
    resource!(ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false, Workload),
    resource!("apps", "daemonsets", "DaemonSet", true, Workload),
    resource!("apps", "deployments", "Deployment", true, Workload),
    resource!("apps", "replicasets", "ReplicaSet", true, Workload),
    resource!("apps", "statefulsets", "StatefulSet", true, Workload),
    resource!("batch", "cronjobs", "CronJob", true, Workload),
    resource!("batch", "jobs", "Job", true, Workload),
    resource!("coordination.k8s.io", "leases", "Lease", true, PutNeedsVersion),
    resource!(RBAC, "clusterrolebindings", "ClusterRoleBinding", false, PutCreates),
    resource!(RBAC, "clusterroles", "ClusterRole", false, PutCreates),
    resource!(RBAC, "rolebindings", "RoleBinding", true, PutCreates),
    resource!(RBAC, "roles", "Role", true, PutCreates),
    resource!("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", false, Review),
    resource!("authentication.k8s.io", "tokenreviews", "TokenReview", false, Review),
    resource!("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false, Review),
    resource!("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", false, Review),
];

/// A kind of object by its plural name; these are unique here.
pub(super) fn by_plural(plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.plural == plural)
}

/// A kind of object by what a document of it says of itself.
pub(super) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.kind == kind && resource.api_version() == api_version)
}

/// What a request asks for, in the words of authorization.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) version: String,
    /// Empty if the path is no resource.
    pub(super) plural: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) path: String,
}

impl Attributes {
    /// Reads them off a request.
    pub(super) fn of(request: &Request) -> Self {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut attributes = Self { path: request.path.clone(), ..Self::default() };
        let rest = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                (*version).clone_into(&mut attributes.version);
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                (attributes.group, attributes.version) = ((*group).to_owned(), (*version).to_owned());
                rest
            }
            _ => {
                attributes.verb = request.method.as_str().to_ascii_lowercase();
                return attributes;
            }
        };
        let (plural, name, subresource) = match rest {
            ["namespaces", namespace, inner @ ..] => {
                (*namespace).clone_into(&mut attributes.namespace);
                match inner {
                    [] => ("namespaces", *namespace, ""),
                    [part @ ("status" | "finalize")] => ("namespaces", *namespace, *part),
                    [plural] => (*plural, "", ""),
                    [plural, name] => (*plural, *name, ""),
                    [plural, name, subresource, ..] => (*plural, *name, *subresource),
                }
            }
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource, ..] => (*plural, *name, *subresource),
            [] => ("", "", ""),
        };
        plural.clone_into(&mut attributes.plural);
        name.clone_into(&mut attributes.name);
        subresource.clone_into(&mut attributes.subresource);
        attributes.verb = attributes.verb_of(request).to_owned();
        attributes
    }

    fn verb_of(&self, request: &Request) -> &'static str {
        let collection = self.name.is_empty();
        match request.method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if collection => "deletecollection",
            Method::DELETE => "delete",
            _ if watches(request) => "watch",
            _ if collection => "list",
            _ => "get",
        }
    }

    /// Whether this is about a resource at all.
    pub(super) fn is_resource(&self) -> bool {
        !self.plural.is_empty()
    }

    /// `serviceaccounts/token`, `serviceaccounts`.
    pub(super) fn resource_path(&self) -> String {
        if self.subresource.is_empty() { self.plural.clone() } else { format!("{}/{}", self.plural, self.subresource) }
    }

    /// The namespace the object is stored under: a namespace names itself in the path, but is in none.
    pub(super) fn namespace_of_object(&self, resource: &Resource) -> String {
        if resource.namespaced { self.namespace.clone() } else { String::new() }
    }

    /// The kind of object, if it is one of ours.
    pub(super) fn resource(&self) -> Option<&'static Resource> {
        by_plural(&self.plural).filter(|resource| resource.group == self.group && resource.version == self.version)
    }
}

fn watches(request: &Request) -> bool {
    matches!(request.query_value("watch").as_deref(), Some("true" | "1"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_request_is_named_by_verb_resource_and_subresource() {
        let cases = [
            (Method::GET, "/version", "get  "),
            (Method::GET, "/api/v1", "get  "),
            (Method::GET, "/api/v1/namespaces", "list namespaces "),
            (Method::GET, "/api/v1/namespaces/a", "get namespaces a"),
            (Method::GET, "/api/v1/serviceaccounts", "list serviceaccounts "),
            (Method::PATCH, "/api/v1/namespaces/a/serviceaccounts/b", "patch serviceaccounts a"),
            (Method::POST, "/api/v1/namespaces/a/serviceaccounts/b/token", "create serviceaccounts/token a"),
            (Method::DELETE, "/apis/coordination.k8s.io/v1/namespaces/a/leases", "deletecollection leases a"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update namespaces/finalize a"),
        ];
        for (method, path, named) in cases {
            let request = Request { method, path: path.to_owned(), query: String::new(), headers: HeaderMap::new(), body: Bytes::new() };
            let found = Attributes::of(&request);
            let text = format!("{} {} {}", found.verb, found.resource_path(), found.namespace);
            assert_eq!(text, named, "{path}");
        }
    }
}
