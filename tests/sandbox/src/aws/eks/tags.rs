//! The tags of access entries and Pod Identity associations, by the ARN of what carries them.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    super::{Aws, Outcome, authorize::Matter, error::AwsError},
    Call, access_entries, addons, arn, not_found,
};

type Tags = BTreeMap<String, String>;

/// Merged into those that are there.
pub(super) fn tag(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let new = super::tags(&call.body_of(&["tags"])?).map_err(|error| match error.code {
        "InvalidParameterException" => bad(error.message),
        _ => error,
    })?;
    if new.is_empty() {
        return Err(bad("tags can't be blank"));
    }
    let tags = tags_mut(aws, resource(call))?;
    let mut all = tags.clone();
    all.extend(new);
    if all.len() > super::MOST_TAGS {
        return Err(bad(format!("A resource can have at most {} tags", super::MOST_TAGS)));
    }
    let changed = *tags != all;
    *tags = all;
    Ok(Outcome::json(json!({}), changed))
}

pub(super) fn untag(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    call.has_no_query_but(&["tagKeys"])?;
    let keys = keys(call);
    if !(1..=super::MOST_TAGS).contains(&keys.len()) {
        return Err(bad(format!("tagKeys has to name between 1 and {} tags", super::MOST_TAGS)));
    }
    let tags = tags_mut(aws, resource(call))?;
    let before = tags.len();
    tags.retain(|key, _| !keys.contains(key));
    Ok(Outcome::json(json!({}), tags.len() != before))
}

pub(super) fn list(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    Ok(Outcome::json(json!({"tags": tags_mut(aws, resource(call))?}), false))
}

/// What is tagged, with the tags that it has and those that the request brings.
pub(super) fn matter(aws: &mut Aws, call: &Call<'_>) -> Matter {
    let mut matter = Matter::of(resource(call));
    if let Ok(tags) = tags_mut(aws, resource(call)) {
        matter.add_resource_tags(tags.iter());
    }
    let body = call.body().unwrap_or_default();
    matter.add_request_tags(body["tags"].as_object().into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?))));
    let keys = keys(call);
    if !keys.is_empty() {
        matter.context.insert("aws:tagkeys".to_owned(), keys);
    }
    matter
}

/// Calls about tags know this refusal and that of a resource that is not there.
fn bad(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "BadRequestException", message)
}

/// The ARN in the path `/tags/ARN`.
fn resource<'c>(call: &'c Call<'_>) -> &'c str {
    call.cluster()
}

fn keys(call: &Call<'_>) -> Vec<String> {
    call.request.query_pairs().into_iter().filter(|(name, _)| name == "tagKeys").map(|(_, key)| key).collect()
}

fn tags_mut<'a>(aws: &'a mut Aws, resource: &str) -> Result<&'a mut Tags, AwsError> {
    let missing = || AwsError { code: "NotFoundException", ..not_found(format!("The resource {resource} does not exist")) };
    if resource.splitn(6, ':').count() < 6 || !resource.starts_with("arn:") {
        return Err(bad(format!("Invalid resource ARN: {resource}")));
    }
    let prefix = arn(aws, "");
    let parts: Vec<&str> = resource.strip_prefix(&prefix).ok_or_else(missing)?.split('/').collect();
    match parts[..] {
        ["podidentityassociation", cluster, id] => {
            let cluster = aws.clusters.get_mut(cluster).ok_or_else(missing)?;
            cluster.associations.get_mut(id).map(|association| &mut association.tags).ok_or_else(missing)
        }
        ["access-entry", cluster, ..] => {
            let entries = aws.clusters.get(cluster).ok_or_else(missing)?.access_entries.keys();
            let principal = entries.into_iter().find(|principal| access_entries::entry_arn(aws, cluster, principal) == resource);
            let principal = principal.ok_or_else(missing)?.clone();
            let cluster = aws.clusters.get_mut(cluster).ok_or_else(missing)?;
            cluster.access_entries.get_mut(&principal).map(|entry| &mut entry.tags).ok_or_else(missing)
        }
        ["addon", cluster, name, _] if resource == addons::addon_arn(aws, cluster, name) => {
            let cluster = aws.clusters.get_mut(cluster).ok_or_else(missing)?;
            cluster.addons.get_mut(name).map(|addon| &mut addon.tags).ok_or_else(missing)
        }
        ["addon", ..] => Err(missing()),
        _ => Err(AwsError::not_implemented("tags of other resources than add-ons, access entries and Pod Identity associations")),
    }
}
