//! What the jobs of a trust zone may do: the published policies of `docs/permissions`, narrowed to the zone.
//!
//! Only parsed documents are narrowed, never text. A resource of a form that is not known here is left out: what is rendered is never wider than
//! what is published.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::spec::{BootstrapSpec, Zone};
use crate::model::{
    arn::{PolicyArn, RoleArn},
    document::{self, texts},
    names::TagKey,
    oidc::Provider,
};

/// What all inline policies of a role may hold together, in characters without white space.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
pub const LARGEST_INLINE_POLICIES: usize = 10_240;

const PLAIN: &str = include_str!("../../../docs/permissions/iam-policy.json");
const WITH_BOUNDARY: &str = include_str!("../../../docs/permissions/iam-policy-with-boundary.json");
const POD_IDENTITY: &str = include_str!("../../../docs/permissions/pod-identity-policy.json");

/// The path of the published files.
const PUBLISHED_PATH: &str = "role/qovery/*";
/// The boundary of the published files.
const PUBLISHED_BOUNDARY: &str = "policy/qovery-irsa-boundary";
/// The tool's own tags.
const OWN_TAGS: &str = "qovery-irsa/*";

/// The policy of the job's role.
///
/// | published | rendered |
/// |---|---|
/// | any partition, account and region | those of the zone |
/// | every cluster, its associations and its add-on | those of the zone's cluster |
/// | every OIDC provider | that of the zone's issuer |
/// | roles below `/qovery/` | those below `<path><cluster>/`, and the listed roles that stand below the path |
/// | `qovery-irsa-boundary` | the zone's boundary |
/// | the tag keys `team` and `cost-center` | those of the manifest |
/// | | the trust of each other listed role, as `docs/permissions.md` has it |
#[must_use]
pub fn permissions(spec: &BootstrapSpec, zone: &Zone, boundary: Option<&PolicyArn>) -> Value {
    let narrower = Narrower::new(spec, zone, boundary);
    let mut statements = published(if boundary.is_some() { WITH_BOUNDARY } else { PLAIN });
    if spec.pod_identity {
        statements.extend(published(POD_IDENTITY));
    }
    let mut rendered: Vec<Value> = statements.into_iter().filter_map(|statement| narrower.statement(statement)).collect();
    let others: Vec<String> = narrower.others.iter().map(ToString::to_string).collect();
    if !others.is_empty() {
        rendered.push(json!({
            "Sid": "TrustOfRolesGivenByArn",
            "Effect": "Allow",
            "Action": ["iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy"],
            "Resource": others,
            "Condition": {"ForAllValues:StringLike": {"aws:TagKeys": [OWN_TAGS]}},
        }));
        if spec.pod_identity {
            rendered.push(json!({
                "Sid": "RolesGivenByArnForPods",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": others,
                "Condition": {"StringEquals": {"iam:PassedToService": "pods.eks.amazonaws.com"}},
            }));
        }
    }
    json!({"Version": "2012-10-17", "Statement": rendered})
}

/// The statements of a published file.
fn published(text: &str) -> Vec<Value> {
    document::parse(text).map(|(_, statements)| statements).unwrap_or_default()
}

/// What the resources and conditions of a zone are.
struct Narrower<'a> {
    partition: &'a str,
    account: &'a str,
    region: &'a str,
    cluster: &'a str,
    /// `oidc-provider/…`
    provider: String,
    /// `role/<path>/<cluster>/*`, then the listed roles that stand below the path.
    below: Vec<String>,
    /// The listed roles that do not.
    others: BTreeSet<&'a RoleArn>,
    boundary: Option<&'a PolicyArn>,
    tags: &'a BTreeSet<TagKey>,
}

impl<'a> Narrower<'a> {
    fn new(spec: &'a BootstrapSpec, zone: &'a Zone, boundary: Option<&'a PolicyArn>) -> Self {
        let (within, others): (BTreeSet<_>, BTreeSet<_>) =
            spec.roles.iter().partition(|role| role.path.as_str().starts_with(spec.path.as_str()));
        let of_cluster = format!("role{}{}/*", spec.path, spec.cluster);
        let is_of_cluster = |role: &&&RoleArn| role.path.as_str().starts_with(&format!("{}{}/", spec.path, spec.cluster));
        let listed = within.iter().filter(|role| !is_of_cluster(role)).map(|role| format!("role{}{}", role.path, role.name));
        let arn = Provider::of(&zone.issuer, &zone.account).arn;
        Self {
            partition: zone.account.partition.as_str(),
            account: zone.account.id.as_str(),
            region: zone.region.as_str(),
            cluster: spec.cluster.as_str(),
            provider: arn.splitn(6, ':').nth(5).unwrap_or_default().to_owned(),
            below: std::iter::once(of_cluster).chain(listed).collect(),
            others,
            boundary,
            tags: &spec.role_tags,
        }
    }

    /// Nothing if no resource is left.
    fn statement(&self, statement: Value) -> Option<Value> {
        let Value::Object(mut members) = statement else { return None };
        let resources: Vec<String> = texts(members.get("Resource")?).into_iter().flat_map(|arn| self.resource(arn)).collect();
        let resource = match resources.as_slice() {
            [] => return None,
            [only] => json!(only),
            all => json!(all),
        };
        members.insert("Resource".to_owned(), resource);
        if let Some(Value::Object(condition)) = members.get_mut("Condition") {
            condition.values_mut().filter_map(Value::as_object_mut).for_each(|keys| self.keys(keys));
        }
        Some(Value::Object(members))
    }

    fn resource(&self, arn: &str) -> Vec<String> {
        if arn == "*" {
            return vec![arn.to_owned()];
        }
        let mut parts = arn.splitn(6, ':').skip(2);
        let (service, resource) = (parts.next(), parts.nth(2));
        let eks = |resource: String| vec![format!("arn:{}:eks:{}:{}:{resource}", self.partition, self.region, self.account)];
        let iam = |resource: &str| format!("arn:{}:iam::{}:{resource}", self.partition, self.account);
        match (service, resource) {
            (Some("eks"), Some("cluster/*")) => eks(format!("cluster/{}", self.cluster)),
            (Some("eks"), Some("podidentityassociation/*/*")) => eks(format!("podidentityassociation/{}/*", self.cluster)),
            (Some("eks"), Some("addon/*/eks-pod-identity-agent/*")) => eks(format!("addon/{}/eks-pod-identity-agent/*", self.cluster)),
            (Some("iam"), Some("role/*")) => vec![iam("role/*")],
            (Some("iam"), Some(PUBLISHED_PATH)) => self.below.iter().map(|resource| iam(resource)).collect(),
            (Some("iam"), Some(provider)) if provider.starts_with("oidc-provider/") => vec![iam(&self.provider)],
            (Some("iam"), Some(PUBLISHED_BOUNDARY)) => self.boundary.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    /// The values of condition keys.
    fn keys(&self, keys: &mut Map<String, Value>) {
        for (key, values) in keys {
            match key.as_str() {
                "iam:PermissionsBoundary" => *values = json!(self.boundary.map(ToString::to_string).unwrap_or_default()),
                // Where the published file lets the jobs set tags beside the tool's own.
                "aws:TagKeys" if texts(values).iter().any(|tag| *tag != OWN_TAGS) => {
                    *values = std::iter::once(OWN_TAGS).chain(self.tags.iter().map(TagKey::as_str)).collect();
                }
                _ => {}
            }
        }
    }
}

/// What one document says and another does not, statement by statement: first what goes, then what
/// comes, each in a stable order. Equal meanings are no difference.
#[must_use]
pub fn difference(before: &Value, after: &Value) -> Vec<String> {
    let of = |document: &Value| -> BTreeMap<String, String> {
        let statements = match &document["Statement"] {
            Value::Array(statements) => statements.clone(),
            Value::Null => Vec::new(),
            only => vec![only.clone()],
        };
        statements.iter().map(|statement| (document::canonical_statement(statement).0.to_string(), statement.to_string())).collect()
    };
    let (before, after) = (of(before), of(after));
    let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, mark: &str| -> Vec<String> {
        one.iter().filter(|(meaning, _)| !other.contains_key(*meaning)).map(|(_, text)| format!("{mark} {text}")).collect()
    };
    [only(&before, &after, "-"), only(&after, &before, "+")].concat()
}
