//! EKS: clusters, add-ons, access entries, Pod Identity associations and their tags, REST and JSON.
//!
//! Here: which operation a request means and whether its caller may. What the operations do is in the files of their nouns; whom a
//! bearer token stands for in a cluster is in `users.rs`. The cluster's own API is not served here.

mod access_entries;
mod addons;
pub(super) mod associations;
mod clusters;
mod pages;
pub(super) mod state;
mod tags;
pub(super) mod users;

use std::{collections::BTreeMap, time::SystemTime};

use serde_json::{Map, Value, json};

use self::state::Cluster;
use super::{
    Aws, Outcome,
    authorize::{self, Matter},
    credentials::Caller,
    error::AwsError,
    target::Target,
    web_identity,
};
use crate::service::Request;

/// Tags of one resource.
const MOST_TAGS: usize = 50;

/// One request, with what its path names.
struct Call<'a> {
    caller: &'a Caller,
    request: &'a Request,
    segments: Vec<String>,
    now: SystemTime,
}

impl Call<'_> {
    /// The cluster that the path names.
    fn cluster(&self) -> &str {
        self.segments.get(1).map_or("", String::as_str)
    }

    /// What it names in the cluster.
    fn item(&self) -> &str {
        self.segments.get(3).map_or("", String::as_str)
    }

    fn body(&self) -> Result<Value, AwsError> {
        serde_json::from_slice(&self.request.body).ok().filter(Value::is_object).ok_or_else(|| unreadable("The body is not a JSON object"))
    }

    /// The body. EKS passes over members that it does not know: here they are not implemented.
    fn body_of(&self, known: &[&str]) -> Result<Value, AwsError> {
        let body = self.body()?;
        known_only(body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()), known)?;
        Ok(body)
    }

    fn has_no_query_but(&self, known: &[&str]) -> Result<(), AwsError> {
        known_only(self.request.query_pairs().iter().map(|(name, _)| name.as_str()), known)
    }
}

type Operation = fn(&mut Aws, &Call<'_>) -> Result<Outcome, AwsError>;

fn operation(action: &str) -> Option<Operation> {
    let operation: Operation = match action {
        "CreateCluster" => clusters::create,
        "ListClusters" => clusters::list,
        "DescribeCluster" => clusters::describe,
        "CreateAddon" => addons::create,
        "DescribeAddon" => addons::describe,
        "DeleteAddon" => addons::delete,
        "ListAddons" => addons::list,
        "CreateAccessEntry" => access_entries::create,
        "DescribeAccessEntry" => access_entries::describe,
        "UpdateAccessEntry" => access_entries::update,
        "DeleteAccessEntry" => access_entries::delete,
        "ListAccessEntries" => access_entries::list,
        "CreatePodIdentityAssociation" => associations::create,
        "DescribePodIdentityAssociation" => associations::describe,
        "UpdatePodIdentityAssociation" => associations::update,
        "DeletePodIdentityAssociation" => associations::delete,
        "ListPodIdentityAssociations" => associations::list,
        "TagResource" => tags::tag,
        "UntagResource" => tags::untag,
        "ListTagsForResource" => tags::list,
        _ => return None,
    };
    Some(operation)
}

pub(super) fn perform(aws: &mut Aws, caller: &Caller, target: &Target, request: &Request, now: SystemTime) -> Result<Outcome, AwsError> {
    let action = target.action.as_str();
    let operation = operation(action).ok_or_else(|| AwsError::not_implemented(&target.name()))?;
    let call = Call { caller, request, segments: request.segments(), now };
    let matter = matter(aws, &call, action);
    authorize::check(aws, caller, &format!("eks:{action}"), &matter)?;
    // Another region is another EKS, and nothing is there.
    let elsewhere = target.region.as_ref().is_some_and(|region| *region != aws.region);
    if elsewhere {
        return match action {
            "CreateCluster" => Err(AwsError::not_implemented("EKS in another region")),
            "ListClusters" => Ok(Outcome::json(json!({"clusters": [], "nextToken": null}), false)),
            _ => Err(no_cluster(call.cluster())),
        };
    }
    operation(aws, &call)
}

/// The resource of a call and its condition keys.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html>
fn matter(aws: &mut Aws, call: &Call<'_>, action: &str) -> Matter {
    let cluster = call.cluster();
    match action {
        // A list is of no resource.
        "ListClusters" => Matter::of("*"),
        "CreateCluster" => Matter::of(arn(aws, "cluster/*")),
        "DescribeAddon" | "DeleteAddon" => addons::matter(aws, call),
        "CreateAddon" => addons::creation_matter(aws, call),
        "DescribeAccessEntry" | "UpdateAccessEntry" | "DeleteAccessEntry" => access_entries::matter(aws, call),
        "CreateAccessEntry" => access_entries::creation_matter(aws, call),
        "DescribePodIdentityAssociation" | "UpdatePodIdentityAssociation" | "DeletePodIdentityAssociation" => {
            associations::matter(aws, call)
        }
        "CreatePodIdentityAssociation" => associations::creation_matter(aws, call),
        "TagResource" | "UntagResource" | "ListTagsForResource" => tags::matter(aws, call),
        _ => Matter::of(arn(aws, &format!("cluster/{cluster}"))),
    }
}

/// The parameters of a call for the witness: of path, query and body.
/// Of a token, its claims.
pub(super) fn described(target: &Target, request: &Request) -> Value {
    let segments = request.segments();
    let item = match segments.get(2).map(String::as_str) {
        Some("addons") => "addonName",
        Some("access-entries") => "principalArn",
        _ => "associationId",
    };
    let cluster = match target.action.as_str() {
        "DescribeCluster" | "DeleteCluster" => "name",
        "TagResource" | "UntagResource" | "ListTagsForResource" => "resourceArn",
        _ => "clusterName",
    };
    let mut parameters = Map::new();
    for (name, value) in ["", cluster, "", item].iter().zip(segments).filter(|(name, _)| !name.is_empty()) {
        parameters.insert((*name).to_owned(), Value::String(value));
    }
    for (name, value) in request.query_pairs() {
        parameters.insert(name, Value::String(value));
    }
    if let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) {
        parameters.extend(body);
    }
    if let Some(claims) = parameters.get("token").and_then(Value::as_str).and_then(web_identity::claims) {
        parameters.insert("token".to_owned(), claims);
    }
    Value::Object(parameters)
}

fn arn(aws: &Aws, resource: &str) -> String {
    format!("arn:{}:eks:{}:{}:{resource}", aws.partition, aws.region, aws.account)
}

fn named<'a>(aws: &'a Aws, name: &str) -> Result<&'a Cluster, AwsError> {
    aws.clusters.get(name).ok_or_else(|| no_cluster(name))
}

fn named_mut<'a>(aws: &'a mut Aws, name: &str) -> Result<&'a mut Cluster, AwsError> {
    aws.clusters.get_mut(name).ok_or_else(|| no_cluster(name))
}

fn no_cluster(name: &str) -> AwsError {
    not_found(format!("No cluster found for name: {name}."))
}

fn not_found(message: impl Into<String>) -> AwsError {
    AwsError::new(404, "ResourceNotFoundException", message)
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterException", message)
}

fn in_use(message: impl Into<String>) -> AwsError {
    AwsError::new(409, "ResourceInUseException", message)
}

fn unreadable(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "SerializationException", message)
}

pub(super) fn known_only<'n>(names: impl IntoIterator<Item = &'n str>, known: &[&str]) -> Result<(), AwsError> {
    match names.into_iter().find(|name| !known.contains(name)) {
        Some(name) => Err(AwsError::not_implemented(&format!("the member {name}"))),
        None => Ok(()),
    }
}

/// A text that may be there.
fn text<'v>(body: &'v Value, name: &str) -> Result<Option<&'v str>, AwsError> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(unreadable(format!("{name} is no string"))),
    }
}

/// A text that has to be there.
fn field<'v>(body: &'v Value, name: &str) -> Result<&'v str, AwsError> {
    text(body, name)?.filter(|text| !text.is_empty()).ok_or_else(|| invalid(format!("{name} can't be blank")))
}

/// Tags on creation take the permission to tag.
fn may_tag(aws: &Aws, call: &Call<'_>, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut tagging = Matter::of(arn(aws, resource));
    tagging.add_request_tags(tags.iter().map(|(key, value)| (key, value.as_str())));
    authorize::check(aws, call.caller, "eks:TagResource", &tagging)
}

/// The tags of a body, as EKS takes them.
fn tags(body: &Value) -> Result<BTreeMap<String, String>, AwsError> {
    let given = match &body["tags"] {
        Value::Null => None,
        Value::Object(given) => Some(given),
        _ => return Err(unreadable("tags is no object")),
    };
    let one = |key: &String| Ok((key.clone(), text(&body["tags"], key)?.unwrap_or_default().to_owned()));
    let tags: BTreeMap<String, String> = given.into_iter().flat_map(|given| given.keys()).map(one).collect::<Result<_, AwsError>>()?;
    if tags.len() > MOST_TAGS {
        return Err(invalid(format!("A resource can have at most {MOST_TAGS} tags")));
    }
    for (key, value) in &tags {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(invalid(format!("The tag {key} is too long")));
        }
        if key.to_lowercase().starts_with("aws:") {
            return Err(invalid("Tag keys cannot begin with aws:"));
        }
    }
    Ok(tags)
}
