//! The manifest as typed: its keys, and nothing about what they mean.
//!
//! The JSON Schema is made from these types and their comments. A new key is a field here, a field of what it means,
//! and its use in `identities.rs`. `#[serde(default)]` marks a key that may be left out, for the schema; whether
//! a missing key is a problem is decided where its meaning is.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::reader::{Document, DurationText, Typed};

/// What the environment's services may do in AWS: ServiceAccounts and the IAM roles they are bound to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Manifest {
    /// Merged into every role that is made; what a role says itself wins.
    #[serde(default)]
    pub(super) defaults: Typed<Defaults>,
    /// The identities, at least one.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub(super) identities: Typed<Vec<Typed<Identity>>>,
}

/// What holds for every role that does not say otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Defaults {
    /// The IAM path below which roles are made, `/qovery/` if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^/([!-~]*/)?$|\$\{")))]
    pub(super) path: Typed<String>,
    /// The ARN of the managed policy that bounds the permissions of every role.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/|\$\{")))]
    pub(super) permissions_boundary: Typed<String>,
    /// Tags of every role. A role's own tag of the same key wins.
    #[serde(default)]
    pub(super) tags: Typed<BTreeMap<String, Typed<String>>>,
    /// How long a session of a role may last: 1h to 12h, 1h if not given.
    #[serde(default)]
    pub(super) max_session_duration: Typed<DurationText>,
}

/// One ServiceAccount bound to one role.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Identity {
    /// The name of the ServiceAccount in the environment's namespace.
    #[cfg_attr(test, schemars(regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|\$\{")))]
    pub(super) service_account: Typed<String>,
    /// The audience of the tokens that pods get, `sts.amazonaws.com` if not given.
    #[serde(default)]
    pub(super) audience: Typed<String>,
    /// How long these tokens live: 10m to 24h; the cluster's default if not given.
    #[serde(default)]
    pub(super) token_expiration: Typed<DurationText>,
    /// Labels of the ServiceAccount.
    #[serde(default)]
    pub(super) labels: Typed<BTreeMap<String, Typed<String>>>,
    /// Annotations of the ServiceAccount. Those that bind it to the role are set by the tool.
    #[serde(default)]
    pub(super) annotations: Typed<BTreeMap<String, Typed<String>>>,
    /// Whether pods mount a token for the Kubernetes API; left as it is if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["boolean", "string"], "pattern" = r"^(true|false)$|\$\{")))]
    pub(super) automount: Typed<bool>,
    /// The role that pods with this ServiceAccount get.
    pub(super) role: Typed<Role>,
    /// Services of the environment that run with this ServiceAccount, by name or id: applications, containers, jobs.
    #[serde(default)]
    pub(super) bind_services: Typed<Vec<Typed<String>>>,
    /// Whether a service that asks for another ServiceAccount is taken from it; `false` if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["boolean", "string"], "pattern" = r"^(true|false)$|\$\{")))]
    pub(super) take_over: Typed<bool>,
}

/// A role that the tool makes, or an existing one given by `arn`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Role {
    /// Whose role it is: one `environment`'s (if not given), `shared` by many (if not given beside `arn`), or the `cluster`'s.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("anyOf" = [{"enum": ["environment", "shared", "cluster"]}, {"pattern": r"\$\{"}])))]
    pub(super) scope: Typed<String>,
    /// With scope `cluster`: patterns of the namespaces that may use the role, as `z*`. Each begins with a letter or digit.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(min = 1), inner(regex(pattern = r"^[a-z0-9][a-z0-9*?-]{0,62}$|\$\{"))))]
    pub(super) namespaces: Typed<Vec<Typed<String>>>,
    /// With scope `shared`: whether the role stays when its last environment is deleted; `false` if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["boolean", "string"], "pattern" = r"^(true|false)$|\$\{")))]
    pub(super) retain: Typed<bool>,
    /// The name of the role. It must be given for scopes `shared` and `cluster`; otherwise it is made from ServiceAccount and namespace.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^[A-Za-z0-9_+=,.@-]{1,64}$|\$\{")))]
    pub(super) name: Typed<String>,
    /// The IAM path below which the role is made.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^/([!-~]*/)?$|\$\{")))]
    pub(super) path: Typed<String>,
    /// The ARN of an existing role. Only its trust is managed: only `scope`, `namespaces` and `extraSubjects` may stand beside it.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/|\$\{")))]
    pub(super) arn: Typed<String>,
    /// The ARNs of managed policies to attach.
    #[serde(default)]
    #[cfg_attr(test, schemars(inner(regex(pattern = r"^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/|\$\{"))))]
    pub(super) policies: Typed<Vec<Typed<String>>>,
    /// Inline policies: a policy document by the policy's name.
    #[serde(default)]
    pub(super) inline_policies: Typed<BTreeMap<String, Typed<Document>>>,
    /// The ARN of the managed policy that bounds the role's permissions.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/|\$\{")))]
    pub(super) permissions_boundary: Typed<String>,
    /// How long a session of the role may last: 1h to 12h.
    #[serde(default)]
    pub(super) max_session_duration: Typed<DurationText>,
    /// The description of the role, 1,000 characters at most.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 1000)))]
    pub(super) description: Typed<String>,
    /// Tags of the role.
    #[serde(default)]
    pub(super) tags: Typed<BTreeMap<String, Typed<String>>>,
    /// Further ServiceAccounts that may assume the role, as `namespace/name`.
    #[serde(default)]
    #[cfg_attr(test, schemars(inner(regex(pattern = r"^[a-z0-9-]+/[a-z0-9.-]+$|\$\{"))))]
    pub(super) extra_subjects: Typed<Vec<Typed<String>>>,
}
