//! What IAM holds, and the state of the account as a whole: plain data that tests may arrange and read. EKS's is in `eks/state.rs`.
//!
//! Rules are elsewhere; nothing here refuses anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use serde_json::{Value, json};

use super::eks::state::Cluster;

/// An IAM role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The name as it was written on creation.
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// `AROA…`, never used twice.
    pub id: String,
    /// When it was made.
    pub created: SystemTime,
    /// The trust policy, as text.
    pub trust: String,
    /// The trust policy before it, and until when it was that.
    pub previous_trust: Option<(String, SystemTime)>,
    /// The description, if there is one.
    pub description: Option<String>,
    /// The longest session, in seconds.
    pub max_session_duration: u32,
    /// Tags; keys are unique ignoring case.
    pub tags: BTreeMap<String, String>,
    /// The ARNs of the attached managed policies.
    pub attached: BTreeSet<String>,
    /// The inline policies by name, as text.
    pub inline: BTreeMap<String, String>,
    /// The ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// The names of the instance profiles that it is in.
    pub instance_profiles: BTreeSet<String>,
    /// When and in which region it was last used; AWS fills this hours late, so calls never do.
    pub last_used: Option<(SystemTime, String)>,
}

/// An IAM OIDC provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProvider {
    /// The issuer without `https://`.
    pub url: String,
    /// The audiences.
    pub client_ids: Vec<String>,
    /// The thumbprints.
    pub thumbprints: Vec<String>,
    /// Tags; keys are unique ignoring case.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: SystemTime,
}

/// A managed policy of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name.
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// `ANPA…`.
    pub id: String,
    /// The description, if there is one.
    pub description: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: SystemTime,
    /// When its versions last changed.
    pub updated: SystemTime,
    /// The versions by number; a number is never used twice.
    pub versions: BTreeMap<u32, PolicyVersion>,
    /// The number of the version that counts.
    pub default_version: u32,
    /// The number of the next version.
    pub next_version: u32,
}

impl Policy {
    /// The document that counts, as text.
    #[must_use]
    pub fn document(&self) -> &str {
        self.versions.get(&self.default_version).map_or("", |version| &version.document)
    }
}

/// One version of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The document, as text.
    pub document: String,
    /// When it was made.
    pub created: SystemTime,
}

/// An IAM user: a caller whose permissions are limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// `AIDA…`.
    pub id: String,
    /// When it was made.
    pub created: SystemTime,
    /// Access key id to secret.
    pub keys: BTreeMap<String, String>,
    /// The inline policies by name, as text. Without one, nothing is allowed.
    pub inline: BTreeMap<String, String>,
}

/// The limits of the account, AWS's defaults at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Characters of a trust policy, white space not counted.
    pub trust_policy_size: usize,
    /// Characters of all inline policies of a role, white space not counted.
    pub inline_policies_size: usize,
    /// Characters of a managed policy, white space not counted.
    pub managed_policy_size: usize,
    /// Managed policies attached to a role.
    pub attached_policies: usize,
    /// Roles in the account.
    pub roles: usize,
    /// Managed policies in the account.
    pub policies: usize,
    /// Versions of a managed policy.
    pub policy_versions: usize,
    /// OIDC providers in the account.
    pub providers: usize,
    /// Client ids of an OIDC provider.
    pub client_ids: usize,
    /// Pod Identity associations of a cluster.
    pub associations: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            trust_policy_size: 2_048,
            inline_policies_size: 10_240,
            managed_policy_size: 6_144,
            attached_policies: 10,
            roles: 1_000,
            policies: 1_500,
            policy_versions: 5,
            providers: 100,
            client_ids: 100,
            associations: 5_000,
        }
    }
}

/// The tags and names of everything, without ids and dates, for comparing two end states.
pub(crate) fn dump(
    roles: &BTreeMap<String, Role>,
    providers: &BTreeMap<String, OidcProvider>,
    policies: &BTreeMap<String, Policy>,
    clusters: &BTreeMap<String, Cluster>,
) -> Value {
    let document = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let documents =
        |texts: &BTreeMap<String, String>| -> Value { texts.iter().map(|(name, text)| (name.clone(), document(text))).collect() };
    let role = |role: &Role| {
        json!({
            "path": role.path,
            "trust": document(&role.trust),
            "description": role.description,
            "maxSessionDuration": role.max_session_duration,
            "tags": role.tags,
            "attached": role.attached,
            "inline": documents(&role.inline),
            "boundary": role.boundary,
        })
    };
    let provider = |provider: &OidcProvider| {
        json!({
            "clientIds": provider.client_ids.iter().collect::<BTreeSet<_>>(),
            "thumbprints": provider.thumbprints,
            "tags": provider.tags,
        })
    };
    let associations: BTreeMap<String, Value> = clusters
        .values()
        .flat_map(|cluster| {
            cluster.associations.values().map(|association| {
                let key = format!("{}/{}/{}", cluster.name, association.namespace, association.service_account);
                let value = json!({
                    "roleArn": association.role_arn,
                    "targetRoleArn": association.target_role_arn,
                    "disableSessionTags": association.disable_session_tags,
                    "policy": association.policy.as_deref().map(document),
                    "tags": association.tags,
                });
                (key, value)
            })
        })
        .collect();
    let entries: BTreeMap<String, Value> = clusters
        .values()
        .flat_map(|cluster| {
            cluster.access_entries.iter().map(|(principal, entry)| {
                let value = json!({"username": entry.username, "groups": entry.groups, "tags": entry.tags});
                (format!("{}/{principal}", cluster.name), value)
            })
        })
        .collect();
    let roles: BTreeMap<&str, Value> = roles.values().map(|it| (it.name.as_str(), role(it))).collect();
    let providers: BTreeMap<&str, Value> = providers.values().map(|it| (it.url.as_str(), provider(it))).collect();
    let policy = |policy: &Policy| {
        json!({
            "document": document(policy.document()),
            "description": policy.description,
            "tags": policy.tags,
            "versions": policy.versions.values().map(|version| document(&version.document)).collect::<Vec<_>>(),
        })
    };
    let addons: BTreeMap<String, Value> = clusters
        .values()
        .flat_map(|cluster| cluster.addons.iter().map(|(name, addon)| (format!("{}/{name}", cluster.name), json!({"tags": addon.tags}))))
        .collect();
    let policies: BTreeMap<&str, Value> = policies.iter().map(|(arn, it)| (arn.as_str(), policy(it))).collect();
    json!({
        "roles": roles,
        "providers": providers,
        "policies": policies,
        "addons": addons,
        "accessEntries": entries,
        "podIdentityAssociations": associations,
    })
}
