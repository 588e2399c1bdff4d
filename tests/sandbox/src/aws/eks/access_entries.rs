//! Access entries: which principals of IAM come into a cluster, as whom and in which groups.
//!
//! Only entries of type `STANDARD`, and no access policies. What an entry makes of a caller is in `users.rs`.
//! <https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html>

use serde_json::{Value, json};

use super::{
    super::{Aws, Outcome, authorize::Matter, credentials, documents, error::AwsError, time},
    Call, arn, field, in_use, invalid, named, named_mut, not_found,
    pages::Page,
    state::{AccessEntry, Cluster},
};

const STANDARD: &str = "STANDARD";
/// What neither a name nor a group may begin with.
const RESERVED_NAMES: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];
const RESERVED_GROUPS: &str = "system:";

pub(super) fn create(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let body = call.body_of(&["principalArn", "kubernetesGroups", "tags", "clientRequestToken", "username", "type"])?;
    open(named(aws, call.cluster())?)?;
    let principal = field(&body, "principalArn")?;
    if body.get("type").and_then(Value::as_str).is_some_and(|kind| kind != STANDARD) {
        return Err(AwsError::not_implemented("access entries of other types than STANDARD"));
    }
    let found = Principal::of(aws, principal).ok_or_else(|| invalid("The specified principalArn is invalid: invalid principal."))?;
    let username = username(&body)?.unwrap_or_else(|| found.username());
    let entry = AccessEntry {
        username,
        groups: groups(&body)?.unwrap_or_default(),
        principal_id: found.id,
        tags: super::tags(&body)?,
        created: call.now,
        modified: call.now,
    };
    super::may_tag(aws, call, &format!("access-entry/{}/*", call.cluster()), &entry.tags)?;
    if named(aws, call.cluster())?.access_entries.contains_key(principal) {
        return Err(in_use("The specified access entry resource is already in use on this cluster."));
    }
    let shown = show(aws, call.cluster(), principal, &entry);
    named_mut(aws, call.cluster())?.access_entries.insert(principal.to_owned(), entry);
    Ok(Outcome::json(json!({"accessEntry": shown}), true))
}

pub(super) fn describe(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named(aws, call.cluster())?;
    open(cluster)?;
    let entry = cluster.access_entries.get(call.item()).ok_or_else(missing)?;
    Ok(Outcome::json(json!({"accessEntry": show(aws, &cluster.name, call.item(), entry)}), false))
}

/// What is not given stays.
pub(super) fn update(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let body = call.body_of(&["kubernetesGroups", "clientRequestToken", "username"])?;
    let (username, groups) = (username(&body)?, groups(&body)?);
    let cluster = named_mut(aws, call.cluster())?;
    open(cluster)?;
    let entry = cluster.access_entries.get_mut(call.item()).ok_or_else(missing)?;
    let before = entry.clone();
    entry.username = username.unwrap_or_else(|| before.username.clone());
    entry.groups = groups.unwrap_or_else(|| before.groups.clone());
    let changed = *entry != before;
    if changed {
        entry.modified = call.now;
    }
    let entry = entry.clone();
    Ok(Outcome::json(json!({"accessEntry": show(aws, call.cluster(), call.item(), &entry)}), changed))
}

pub(super) fn delete(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named_mut(aws, call.cluster())?;
    open(cluster)?;
    cluster.access_entries.remove(call.item()).ok_or_else(missing)?;
    Ok(Outcome::json(json!({}), true))
}

/// The principals.
pub(super) fn list(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    if call.request.query_value("associatedPolicyArn").is_some() {
        return Err(AwsError::not_implemented("associatedPolicyArn of ListAccessEntries"));
    }
    let cluster = named(aws, call.cluster())?;
    open(cluster)?;
    let page = Page::of(cluster.access_entries.keys().map(|principal| (principal.clone(), principal)), call.request)?;
    Ok(Outcome::json(json!({"accessEntries": page.items, "nextToken": page.next}), false))
}

/// The entry that a path names, as policies see it.
pub(super) fn matter(aws: &Aws, call: &Call<'_>) -> Matter {
    let (cluster, principal) = (call.cluster(), call.item());
    let mut matter = Matter::of(entry_arn(aws, cluster, principal));
    let entry = aws.clusters.get(cluster).and_then(|cluster| cluster.access_entries.get(principal));
    matter.add_resource_tags(entry.iter().flat_map(|entry| &entry.tags));
    matter
}

/// The cluster that is to have one, with what the entry would be.
pub(super) fn creation_matter(aws: &Aws, call: &Call<'_>) -> Matter {
    let mut matter = Matter::of(arn(aws, &format!("cluster/{}", call.cluster())));
    let body = call.body().unwrap_or_default();
    let text = |member: &str| body.get(member).and_then(Value::as_str).map(str::to_owned);
    let groups = body["kubernetesGroups"].as_array().into_iter().flatten().filter_map(|group| group.as_str().map(str::to_owned));
    let kind = text("type").or_else(|| Some(STANDARD.to_owned()));
    for (key, values) in [
        ("eks:principalarn", text("principalArn").into_iter().collect::<Vec<_>>()),
        ("eks:username", text("username").into_iter().collect()),
        ("eks:kubernetesgroups", groups.collect()),
        ("eks:accessentrytype", kind.into_iter().collect()),
    ] {
        if !values.is_empty() {
            matter.context.insert(key.to_owned(), values);
        }
    }
    matter.add_request_tags(body["tags"].as_object().into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?))));
    matter
}

/// The calls want a cluster that looks at access entries at all.
fn open(cluster: &Cluster) -> Result<(), AwsError> {
    if cluster.has_access_entries() {
        return Ok(());
    }
    let message = "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.";
    Err(AwsError::new(400, "InvalidRequestException", message))
}

fn missing() -> AwsError {
    not_found("The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.")
}

fn username(body: &Value) -> Result<Option<String>, AwsError> {
    let Some(name) = body.get("username").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if let Some(prefix) = RESERVED_NAMES.iter().find(|prefix| name.starts_with(*prefix)) {
        return Err(invalid(format!("The username {name} is invalid, it cannot start with {prefix}")));
    }
    // The name of a session is its holder's choice, so it may not stand for the whole.
    let colon = name.find(':').unwrap_or(name.len());
    if name.find("{{SessionName").is_some_and(|at| at < colon) {
        return Err(invalid(format!("The username {name} is invalid, it must have a colon before the session name")));
    }
    Ok(Some(name.to_owned()))
}

fn groups(body: &Value) -> Result<Option<Vec<String>>, AwsError> {
    let Some(groups) = body.get("kubernetesGroups").and_then(Value::as_array) else {
        return Ok(None);
    };
    let groups: Vec<String> = groups.iter().filter_map(|group| group.as_str().map(str::to_owned)).collect();
    if let Some(group) = groups.iter().find(|group| group.starts_with(RESERVED_GROUPS)) {
        return Err(invalid(format!("The kubernetes group name {group} is invalid, it cannot start with {RESERVED_GROUPS}")));
    }
    Ok(Some(groups))
}

/// Somebody who may have an entry.
struct Principal {
    arn: String,
    /// Of those in this account.
    id: Option<String>,
}

impl Principal {
    /// A user, role or account that is there. Of other accounts nothing is known, so theirs are.
    fn of(aws: &Aws, arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts[..] else {
            return None;
        };
        if partition != aws.partition || !documents::is_account(account) {
            return None;
        }
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        let id = match kind {
            "root" if name.is_empty() => None,
            "role" if account == aws.account => Some(aws.role_by_arn(arn)?.id.clone()),
            "user" if arn == aws.admin_arn() => None,
            "user" if account == aws.account => Some(aws.users.get(name)?.id.clone()),
            "role" | "user" if !name.is_empty() => None,
            _ => return None,
        };
        Some(Self { arn: arn.to_owned(), id })
    }

    /// The name that EKS gives it: of a role, that of its sessions, without the path.
    fn username(&self) -> String {
        let (before, name) = self.arn.rsplit_once('/').unwrap_or((&self.arn, ""));
        match before.split_once(":iam:").filter(|(_, rest)| rest.contains(":role")) {
            Some((partition, rest)) => {
                let account = rest.trim_start_matches(':').split(':').next().unwrap_or_default();
                format!("{partition}:sts::{account}:assumed-role/{name}/{{{{SessionName}}}}")
            }
            None => self.arn.clone(),
        }
    }
}

fn show(aws: &Aws, cluster: &str, principal: &str, entry: &AccessEntry) -> Value {
    json!({
        "clusterName": cluster,
        "principalArn": principal,
        "kubernetesGroups": entry.groups,
        "accessEntryArn": entry_arn(aws, cluster, principal),
        "createdAt": time::unix_seconds(entry.created),
        "modifiedAt": time::unix_seconds(entry.modified),
        "tags": entry.tags,
        "username": entry.username,
        "type": STANDARD,
    })
}

/// `access-entry/CLUSTER/role/ACCOUNT/NAME/UUID`
pub(super) fn entry_arn(aws: &Aws, cluster: &str, principal: &str) -> String {
    let mut parts = principal.splitn(6, ':').skip(4);
    let (account, resource) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
    let name = name.rsplit('/').next().unwrap_or_default();
    let id = credentials::uuid(format!("{cluster} {principal}").as_bytes());
    arn(aws, &format!("access-entry/{cluster}/{kind}/{account}/{name}/{id}"))
}

impl Aws {
    /// Lets a principal into a cluster under that name and in these groups, past the rules of the API: `system:masters` too.
    pub fn add_access_entry(&mut self, cluster: &str, principal: &str, username: &str, groups: &[&str]) {
        let principal_id = Principal::of(self, principal).and_then(|found| found.id);
        let entry = AccessEntry {
            username: username.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            principal_id,
            tags: std::collections::BTreeMap::new(),
            created: std::time::SystemTime::UNIX_EPOCH,
            modified: std::time::SystemTime::UNIX_EPOCH,
        };
        if let Some(cluster) = self.clusters.get_mut(cluster) {
            cluster.access_entries.insert(principal.to_owned(), entry);
        }
    }
}
