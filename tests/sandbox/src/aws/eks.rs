//! EKS: clusters, add-ons and Pod Identity associations, REST and JSON.
//!
//! Clusters are there at once; the cluster's own API is not served here.

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Map, Value, json};

use super::{
    Aws, Outcome,
    authorize::{self, Matter},
    credentials::{self, Caller},
    error::AwsError,
    evaluate::{Asker, Context, Decision, Question, decide},
    state::{Cluster, PodIdentityAssociation},
    target::Target,
    time,
};
use crate::service::Request;

const POD_IDENTITY: &str = "pods.eks.amazonaws.com";

pub(super) fn perform(aws: &mut Aws, caller: &Caller, target: &Target, request: &Request, now: SystemTime) -> Result<Outcome, AwsError> {
    let segments = request.segments();
    let part = |index: usize| segments.get(index).map_or("", String::as_str);
    let action = target.action.as_str();
    let (cluster, third) = (part(1), part(3));
    let resource = match action {
        "DescribeCluster" | "CreatePodIdentityAssociation" | "ListPodIdentityAssociations" => {
            format!("cluster/{cluster}")
        }
        "DescribePodIdentityAssociation" | "DeletePodIdentityAssociation" => {
            format!("podidentityassociation/{cluster}/{third}")
        }
        "DescribeAddon" => format!("addon/{cluster}/{third}/*"),
        "CreateCluster" => "cluster/*".to_owned(),
        "ListClusters" => String::new(),
        _ => return Err(AwsError::not_implemented(&target.name())),
    };
    // A list is of no resource. <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html>
    let matter = Matter::of(if resource.is_empty() { "*".to_owned() } else { arn(aws, &resource) });
    authorize::check(aws, caller, &format!("eks:{action}"), &matter)?;
    // Another region is another EKS, and nothing is there.
    let elsewhere = target.region.as_ref().is_some_and(|region| *region != aws.region);
    if elsewhere {
        return match action {
            "CreateCluster" => Err(AwsError::not_implemented("EKS in another region")),
            "ListClusters" => Ok(Outcome::json(json!({"clusters": [], "nextToken": null}), false)),
            _ => Err(no_cluster(cluster)),
        };
    }
    match action {
        "CreateCluster" => create_cluster(aws, &body(request)?, now),
        "ListClusters" => list_clusters(aws, request),
        "DescribeCluster" => {
            let cluster = named(aws, cluster)?;
            let shown = show_cluster(aws, cluster, &cluster.status);
            Ok(Outcome::json(json!({"cluster": shown}), false))
        }
        "DescribeAddon" => describe_addon(aws, named(aws, cluster)?, third),
        "CreatePodIdentityAssociation" => create_association(aws, caller, cluster, &body(request)?, now),
        "ListPodIdentityAssociations" => list_associations(aws, named(aws, cluster)?, request),
        "DescribePodIdentityAssociation" => {
            let cluster = named(aws, cluster)?;
            let association = cluster.associations.get(third);
            let association = association.ok_or_else(|| no_association(third))?;
            let shown = show_association(aws, cluster, third, association);
            Ok(Outcome::json(json!({"association": shown}), false))
        }
        _ => {
            named(aws, cluster)?;
            let found = aws.clusters.get_mut(cluster);
            let removed = found.and_then(|cluster| cluster.associations.remove_entry(third));
            let (id, association) = removed.ok_or_else(|| no_association(third))?;
            let shown = show_association(aws, named(aws, cluster)?, &id, &association);
            Ok(Outcome::json(json!({"association": shown}), true))
        }
    }
}

/// The parameters of a call for the witness: of path, query and body.
pub(super) fn described(target: &Target, request: &Request) -> Value {
    let segments = request.segments();
    let names: &[&str] = match target.action.as_str() {
        "DescribeCluster" | "DeleteCluster" => &["", "name"],
        "DescribeAddon" => &["", "clusterName", "", "addonName"],
        _ => &["", "clusterName", "", "associationId"],
    };
    let mut parameters = Map::new();
    for (name, value) in names.iter().zip(segments).filter(|(name, _)| !name.is_empty()) {
        parameters.insert((*name).to_owned(), Value::String(value));
    }
    for (name, value) in request.query_pairs() {
        parameters.insert(name, Value::String(value));
    }
    if let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) {
        parameters.extend(body);
    }
    Value::Object(parameters)
}

fn body(request: &Request) -> Result<Value, AwsError> {
    serde_json::from_slice(&request.body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| AwsError::new(400, "SerializationException", "The body is not a JSON object"))
}

fn arn(aws: &Aws, resource: &str) -> String {
    format!("arn:{}:eks:{}:{}:{resource}", aws.partition, aws.region, aws.account)
}

fn named<'a>(aws: &'a Aws, name: &str) -> Result<&'a Cluster, AwsError> {
    aws.clusters.get(name).ok_or_else(|| no_cluster(name))
}

fn no_cluster(name: &str) -> AwsError {
    not_found(format!("No cluster found for name: {name}."))
}

fn no_association(id: &str) -> AwsError {
    not_found(format!("No association found with associationId: {id}"))
}

fn not_found(message: String) -> AwsError {
    AwsError::new(404, "ResourceNotFoundException", message)
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterException", message)
}

fn field<'v>(body: &'v Value, name: &str) -> Result<&'v str, AwsError> {
    let value = body.get(name).and_then(Value::as_str);
    value.filter(|text| !text.is_empty()).ok_or_else(|| invalid(format!("{name} can't be blank")))
}

fn create_cluster(aws: &mut Aws, body: &Value, now: SystemTime) -> Result<Outcome, AwsError> {
    let name = field(body, "name")?;
    let role_arn = field(body, "roleArn")?;
    let subnets = body.pointer("/resourcesVpcConfig/subnetIds").and_then(Value::as_array);
    let name_is_good = name.len() <= 100
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "-_".contains(character));
    if !name_is_good {
        return Err(invalid(
            "The cluster name must begin with an alphanumeric character and can only contain alphanumeric characters, dashes and underscores.",
        ));
    }
    if subnets.is_none_or(|subnets| subnets.len() < 2) {
        return Err(invalid("Subnets specified must be in at least two different AZs"));
    }
    if aws.clusters.contains_key(name) {
        return Err(AwsError::new(409, "ResourceInUseException", format!("Cluster already exists with name: {name}")));
    }
    let digest = credentials::hmac(aws.account.as_bytes(), name.as_bytes());
    let id = credentials::hex(&digest[..16]).to_uppercase();
    let suffix = if aws.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let issuer = format!("https://oidc.eks.{}.{suffix}/id/{id}", aws.region);
    let endpoint = format!("https://{id}.gr7.{}.eks.{suffix}", aws.region);
    aws.add_cluster(name, &endpoint, "", &issuer);
    if let Some(cluster) = aws.clusters.get_mut(name) {
        role_arn.clone_into(&mut cluster.role_arn);
        cluster.created = now;
        if let Some(version) = body.get("version").and_then(Value::as_str) {
            version.clone_into(&mut cluster.version);
        }
    }
    let shown = show_cluster(aws, named(aws, name)?, "CREATING");
    Ok(Outcome::json(json!({"cluster": shown}), true))
}

fn show_cluster(aws: &Aws, cluster: &Cluster, status: &str) -> Value {
    let mut shown = json!({
        "name": cluster.name,
        "arn": arn(aws, &format!("cluster/{}", cluster.name)),
        "createdAt": time::unix_seconds(cluster.created),
        "version": cluster.version,
        "roleArn": cluster.role_arn,
        "status": status,
        "platformVersion": "eks.1",
        "tags": {},
    });
    // A cluster in the making has no address yet.
    if status != "CREATING" {
        shown["endpoint"] = json!(cluster.endpoint);
        shown["identity"] = json!({"oidc": {"issuer": cluster.issuer}});
        let authority = BASE64.encode(&cluster.certificate_authority_pem);
        shown["certificateAuthority"] = json!({"data": authority});
    }
    shown
}

fn describe_addon(aws: &Aws, cluster: &Cluster, name: &str) -> Result<Outcome, AwsError> {
    let addon = cluster.addons.get(name).ok_or_else(|| not_found(format!("No addon: {name} found in cluster: {}", cluster.name)))?;
    let shown = json!({"addon": {
        "addonName": name,
        "clusterName": cluster.name,
        "status": addon.status,
        "addonVersion": addon.version,
        "addonArn": arn(aws, &format!("addon/{}/{name}/1", cluster.name)),
        "health": {"issues": []},
        "tags": {},
    }});
    Ok(Outcome::json(shown, false))
}

fn create_association(aws: &mut Aws, caller: &Caller, cluster: &str, body: &Value, now: SystemTime) -> Result<Outcome, AwsError> {
    named(aws, cluster)?;
    let namespace = field(body, "namespace")?;
    let service_account = field(body, "serviceAccount")?;
    let role_arn = field(body, "roleArn")?;
    for unsupported in ["targetRoleArn", "disableSessionTags", "policy"] {
        if body.get(unsupported).is_some_and(|value| !value.is_null()) {
            return Err(AwsError::not_implemented(&format!("{unsupported} of CreatePodIdentityAssociation")));
        }
    }
    let mut passing = Matter::of(role_arn);
    let service = ("iam:passedtoservice".to_owned(), vec![POD_IDENTITY.to_owned()]);
    passing.context = Context::from([service]);
    authorize::check(aws, caller, "iam:PassRole", &passing)?;
    check_role(aws, role_arn)?;
    let same = |association: &PodIdentityAssociation| association.namespace == namespace && association.service_account == service_account;
    let mut existing = named(aws, cluster)?.associations.iter();
    if let Some((id, _)) = existing.find(|(_, association)| same(association)) {
        return Err(AwsError::new(409, "ResourceInUseException", format!("Association already exists: {id}")));
    }
    let tags = body.get("tags").and_then(Value::as_object);
    let tags: BTreeMap<String, String> =
        tags.into_iter().flatten().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    let association = PodIdentityAssociation {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        role_arn: role_arn.to_owned(),
        tags,
        created: now,
    };
    let id = format!("a-{}", aws.unique_id("").to_lowercase());
    let shown = show_association(aws, named(aws, cluster)?, &id, &association);
    if let Some(cluster) = aws.clusters.get_mut(cluster) {
        cluster.associations.insert(id, association);
    }
    Ok(Outcome::json(json!({"association": shown}), true))
}

/// The role has to be there and to trust EKS Pod Identity.
fn check_role(aws: &Aws, role_arn: &str) -> Result<(), AwsError> {
    let role = aws.role_by_arn(role_arn).ok_or_else(|| invalid("Role provided in the request does not exist."))?;
    let trust: Value = serde_json::from_str(&role.trust).unwrap_or_default();
    let trusts = |action: &str| {
        let question = Question { asker: Asker::Service(POD_IDENTITY), action, resource: None, context: &Context::new() };
        decide([&trust], &question) == Decision::Allowed
    };
    if trusts("sts:AssumeRole") && trusts("sts:TagSession") {
        return Ok(());
    }
    Err(invalid(
        "Trust policy of role is invalid. Verify that the role trusts pods.eks.amazonaws.com for sts:AssumeRole and sts:TagSession.",
    ))
}

/// The names of the clusters, page by page. <https://docs.aws.amazon.com/eks/latest/APIReference/API_ListClusters.html>
fn list_clusters(aws: &Aws, request: &Request) -> Result<Outcome, AwsError> {
    let (most, after) = page_of(request)?;
    let mut found = aws.clusters.keys().filter(|name| **name > after);
    let page: Vec<&String> = found.by_ref().take(most).collect();
    let next = found.next().and_then(|_| page.last());
    Ok(Outcome::json(json!({"clusters": page, "nextToken": next}), false))
}

/// How many items a page has at the most, and after which it begins.
fn page_of(request: &Request) -> Result<(usize, String), AwsError> {
    let most = match request.query_value("maxResults") {
        None => 100,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|most| (1..=100).contains(most))
            .ok_or_else(|| invalid("maxResults has to be between 1 and 100"))?,
    };
    Ok((most, request.query_value("nextToken").unwrap_or_default()))
}

fn list_associations(aws: &Aws, cluster: &Cluster, request: &Request) -> Result<Outcome, AwsError> {
    let fits = |name: &str, value: &str| request.query_value(name).is_none_or(|wanted| wanted == value);
    let (most, after) = page_of(request)?;
    let mut found = cluster.associations.iter().filter(|(id, association)| {
        fits("namespace", &association.namespace) && fits("serviceAccount", &association.service_account) && **id > after
    });
    let page: Vec<_> = found.by_ref().take(most).collect();
    let next = found.next().and_then(|_| page.last()).map(|(id, _)| (*id).clone());
    let page: Vec<Value> = page
        .iter()
        .map(|(id, association)| {
            let mut shown = show_association(aws, cluster, id, association);
            if let Some(summary) = shown.as_object_mut() {
                summary.retain(|key, _| SUMMARY.contains(&key.as_str()));
            }
            shown
        })
        .collect();
    Ok(Outcome::json(json!({"associations": page, "nextToken": next}), false))
}

/// What a list shows of an association.
const SUMMARY: [&str; 5] = ["clusterName", "namespace", "serviceAccount", "associationArn", "associationId"];

fn show_association(aws: &Aws, cluster: &Cluster, id: &str, association: &PodIdentityAssociation) -> Value {
    let resource = format!("podidentityassociation/{}/{id}", cluster.name);
    json!({
        "clusterName": cluster.name,
        "namespace": association.namespace,
        "serviceAccount": association.service_account,
        "roleArn": association.role_arn,
        "associationArn": arn(aws, &resource),
        "associationId": id,
        "tags": association.tags,
        "createdAt": time::unix_seconds(association.created),
        "modifiedAt": time::unix_seconds(association.created),
    })
}
