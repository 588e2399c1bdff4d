//! Add-ons: made, described, listed, deleted. Tests may also install them.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{
    super::{Aws, Outcome, authorize::Matter, credentials, error::AwsError, time},
    Call, arn, field, in_use, invalid, named, named_mut, not_found,
    pages::Page,
    state::{Addon, Cluster},
    text,
};

/// Those that can be made, with their default versions. <https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html>
const KNOWN: [(&str, &str); 5] = [
    ("aws-ebs-csi-driver", "v1.48.0-eksbuild.1"),
    ("coredns", "v1.12.1-eksbuild.2"),
    ("eks-pod-identity-agent", "v1.3.8-eksbuild.2"),
    ("kube-proxy", "v1.33.0-eksbuild.2"),
    ("vpc-cni", "v1.19.5-eksbuild.1"),
];
/// How long one is being made.
const UNTIL_ACTIVE: Duration = Duration::from_secs(20);

pub(super) fn create(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let body = call.body_of(&["addonName", "addonVersion", "resolveConflicts", "clientRequestToken", "tags"])?;
    let cluster = named(aws, call.cluster())?;
    let name = field(&body, "addonName")?;
    let Some((name, version)) = KNOWN.iter().find(|(known, _)| *known == name) else {
        let message = format!("Addon {name} specified is not supported in {} kubernetes version", cluster.version);
        return Err(invalid(message));
    };
    if text(&body, "resolveConflicts")?.is_some_and(|way| !["NONE", "OVERWRITE", "PRESERVE"].contains(&way)) {
        return Err(invalid("resolveConflicts must be one of NONE, OVERWRITE, PRESERVE"));
    }
    let addon = Addon {
        version: text(&body, "addonVersion")?.unwrap_or(version).to_owned(),
        status: "CREATING".to_owned(),
        tags: super::tags(&body)?,
        active_from: Some(call.now + UNTIL_ACTIVE),
    };
    super::may_tag(aws, call, &format!("addon/{}/{name}/*", cluster.name), &addon.tags)?;
    if cluster.addons.contains_key(*name) {
        return Err(in_use("Addon already exists."));
    }
    let shown = show(aws, cluster, name, &addon, call.now);
    named_mut(aws, call.cluster())?.addons.insert((*name).to_owned(), addon);
    Ok(Outcome::json(json!({"addon": shown}), true))
}

pub(super) fn describe(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named(aws, call.cluster())?;
    let addon = cluster.addons.get(call.item()).ok_or_else(|| missing(cluster, call.item()))?;
    Ok(Outcome::json(json!({"addon": show(aws, cluster, call.item(), addon, call.now)}), false))
}

/// Gone at once.
pub(super) fn delete(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    if call.request.query_value("preserve").is_some_and(|preserve| preserve != "false") {
        return Err(AwsError::not_implemented("preserve of DeleteAddon"));
    }
    let cluster = named(aws, call.cluster())?;
    let addon = cluster.addons.get(call.item()).ok_or_else(|| missing(cluster, call.item()))?;
    let addon = Addon { status: "DELETING".to_owned(), active_from: None, ..addon.clone() };
    let shown = show(aws, cluster, call.item(), &addon, call.now);
    named_mut(aws, call.cluster())?.addons.remove(call.item());
    Ok(Outcome::json(json!({"addon": shown}), true))
}

/// Their names.
pub(super) fn list(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let names = named(aws, call.cluster())?.addons.keys().map(|name| (name.clone(), name));
    let page = Page::of(names, call.request)?;
    Ok(Outcome::json(json!({"addons": page.items, "nextToken": page.next}), false))
}

/// The add-on that a path names, as policies see it.
pub(super) fn matter(aws: &Aws, call: &Call<'_>) -> Matter {
    let mut matter = Matter::of(addon_arn(aws, call.cluster(), call.item()));
    let addon = aws.clusters.get(call.cluster()).and_then(|cluster| cluster.addons.get(call.item()));
    matter.add_resource_tags(addon.iter().flat_map(|addon| &addon.tags));
    matter
}

/// The cluster that is to have one, with the tags that it would have.
pub(super) fn creation_matter(aws: &Aws, call: &Call<'_>) -> Matter {
    let mut matter = Matter::of(arn(aws, &format!("cluster/{}", call.cluster())));
    let body = call.body().unwrap_or_default();
    matter.add_request_tags(body["tags"].as_object().into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?))));
    matter
}

/// `addon/CLUSTER/NAME/UUID`
pub(super) fn addon_arn(aws: &Aws, cluster: &str, name: &str) -> String {
    let id = credentials::uuid(format!("{cluster} addon {name}").as_bytes());
    arn(aws, &format!("addon/{cluster}/{name}/{id}"))
}

fn missing(cluster: &Cluster, name: &str) -> AwsError {
    not_found(format!("No addon: {name} found in cluster: {}", cluster.name))
}

fn show(aws: &Aws, cluster: &Cluster, name: &str, addon: &Addon, now: SystemTime) -> Value {
    let active = addon.active_from.is_some_and(|from| from <= now);
    json!({
        "addonName": name,
        "clusterName": cluster.name,
        "status": if active { "ACTIVE" } else { &addon.status },
        "addonVersion": addon.version,
        "addonArn": addon_arn(aws, &cluster.name, name),
        "createdAt": time::unix_seconds(addon.active_from.map_or(SystemTime::UNIX_EPOCH, |from| from - UNTIL_ACTIVE)),
        "modifiedAt": time::unix_seconds(addon.active_from.map_or(SystemTime::UNIX_EPOCH, |from| from - UNTIL_ACTIVE)),
        "health": {"issues": []},
        "tags": addon.tags,
    })
}
