//! Add-ons: described and listed. Tests install them.

use serde_json::json;

use super::{
    super::{Aws, Outcome, error::AwsError},
    Call, arn, named, not_found,
    pages::Page,
};

pub(super) fn describe(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let (cluster, name) = (named(aws, call.cluster())?, call.item());
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

/// Their names.
pub(super) fn list(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let names = named(aws, call.cluster())?.addons.keys().map(|name| (name.clone(), name));
    let page = Page::of(names, call.request)?;
    Ok(Outcome::json(json!({"addons": page.items, "nextToken": page.next}), false))
}
