//! The manifest as typed: its keys, and nothing about what they mean.
//!
//! The JSON Schema is made from these types and their comments. A new key is a field here, a field of what it means,
//! and its use in `identities.rs`. `#[serde(default)]` marks a key that may be left out, for the schema; whether
//! a missing key is a problem is decided where its meaning is.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::text::reader::{CountText, Document, DurationText, Json, Mapping, Typed};

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
    /// What a deploy does with things that no identity names any more: `on` (if not given) removes them, `off` only names them.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("anyOf" = [{"enum": ["on", "off"]}, {"pattern": r"\$\{"}])))]
    pub(super) prune: Typed<String>,
    /// The lifecycle job that `install` creates or updates. No other command looks at it.
    #[serde(default)]
    pub(super) job: Typed<Job>,
    /// What `bootstrap` makes once for a cluster. No other command looks at it.
    #[serde(default)]
    #[cfg_attr(not(feature = "laptop"), allow(dead_code, reason = "only `bootstrap` reads it, which the image does not have"))]
    pub(super) cluster: Typed<Cluster>,
}

/// The cluster, and what its jobs get from `bootstrap` to run without a key. A flag of `bootstrap` wins over its key here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(not(feature = "laptop"), allow(dead_code, reason = "only `bootstrap` reads it, which the image does not have"))]
pub(super) struct Cluster {
    /// The name of the EKS cluster.
    #[serde(default)]
    pub(super) name: Typed<String>,
    /// The AWS region of the cluster; that of the AWS profile if not given.
    #[serde(default)]
    pub(super) region: Typed<String>,
    /// The namespaces whose jobs may use the job's role, as patterns: `z*` means every namespace of Qovery.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(min = 1), inner(regex(pattern = r"^[a-z0-9][a-z0-9*?-]*$|\$\{"))))]
    pub(super) namespaces: Typed<Vec<Typed<String>>>,
    /// The name of the job's role, `qovery-irsa-<cluster>` if not given.
    #[serde(default)]
    pub(super) role: Typed<String>,
    /// What roles can have at most: the ARN of a managed policy, `{file: …}` with the policy that `bootstrap` makes, or `none`.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["string", "object"])))]
    pub(super) permissions_boundary: Typed<Json>,
    /// Shared and existing roles that the jobs may change as well, by ARN.
    #[serde(default)]
    #[cfg_attr(test, schemars(inner(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/|\$\{"))))]
    pub(super) roles: Typed<Vec<Typed<String>>>,
    /// Whether identities may use EKS Pod Identity: its agent is installed, and the job gets the permissions.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["boolean", "string"], "pattern" = r"^(true|false)$|\$\{")))]
    pub(super) pod_identity: Typed<bool>,
    /// A second role, which one namespace may use to reach the whole cluster: for `sweep`.
    #[serde(default)]
    pub(super) access: Typed<ClusterAccess>,
    /// Tags of what `bootstrap` makes in AWS.
    #[serde(default)]
    pub(super) tags: Typed<BTreeMap<String, Typed<String>>>,
}

/// Who may reach the whole cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(not(feature = "laptop"), allow(dead_code, reason = "only `bootstrap` reads it, which the image does not have"))]
pub(super) struct ClusterAccess {
    /// The namespace whose ServiceAccount may assume the role.
    pub(super) namespace: Typed<String>,
    /// That ServiceAccount, `qovery-irsa-sweep` if not given.
    #[serde(default)]
    pub(super) service_account: Typed<String>,
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
    /// Whether pods get their roles by EKS Pod Identity. An identity's own `podIdentity` replaces it.
    #[serde(default)]
    pub(super) pod_identity: Typed<PodIdentity>,
}

/// EKS Pod Identity instead of a web identity: `true`, `false`, or a mapping that says how.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("type" = ["boolean", "string", "object"], "pattern" = r"^(true|false)$|\$\{")))]
pub(super) struct PodIdentity {
    /// What stands in place of the mapping.
    #[serde(default, rename = "$switch")]
    #[cfg_attr(test, schemars(skip))]
    pub(super) switch: Typed<bool>,
    /// The ARN of a role, perhaps of another account, that the identity's role assumes for the pods: then they get this one.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/|\$\{")))]
    pub(super) target_role_arn: Typed<String>,
    /// The external ID that the trust policy of `targetRoleArn` asks for. EKS makes one for each association: it must be that.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^[A-Za-z0-9_+=,.@:/-]{2,1224}$|\$\{")))]
    pub(super) target_role_external_id: Typed<String>,
    /// Whether sessions have no tags of cluster, namespace and ServiceAccount; `false` if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["boolean", "string"], "pattern" = r"^(true|false)$|\$\{")))]
    pub(super) disable_session_tags: Typed<bool>,
    /// With `disableSessionTags: true`: a policy document that limits the sessions, 2,048 characters at most.
    #[serde(default)]
    pub(super) session_policy: Typed<Document>,
    /// Tags of the association.
    #[serde(default)]
    pub(super) tags: Typed<BTreeMap<String, Typed<String>>>,
}

/// One ServiceAccount bound to one role.
#[allow(clippy::struct_field_names, reason = "the fields are called as the keys are")]
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
    /// How long these tokens live: 10m to 24h; EKS raises less than an hour to an hour, and takes 24h if it is not given.
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
    /// Whether pods get the role by EKS Pod Identity instead of a web identity; `defaults.podIdentity` if not given.
    #[serde(default)]
    pub(super) pod_identity: Typed<PodIdentity>,
    /// Whether the ServiceAccount is somebody else's to make and to keep, as a chart's; `false` if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["boolean", "string"], "pattern" = r"^(true|false)$|\$\{")))]
    pub(super) role_only: Typed<bool>,
    /// The role that pods with this ServiceAccount get.
    pub(super) role: Typed<Role>,
    /// Services of the environment that run with this ServiceAccount, by name or id: applications, containers, jobs, Terraform services.
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
    /// The ARN of an existing role. Only its trust is managed: only `scope`, `namespaces`, `conditions` and `extraSubjects` may stand beside it.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/|\$\{")))]
    pub(super) arn: Typed<String>,
    /// The ARNs of managed policies to attach.
    #[serde(default)]
    #[cfg_attr(test, schemars(inner(regex(pattern = r"^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/|\$\{"))))]
    pub(super) policies: Typed<Vec<Typed<String>>>,
    /// Inline policies: a policy document, or `file` with the path of one, by the policy's name.
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
    /// Conditions of the tool's statement in the trust policy, beside name and audience: operator, key, values, as IAM writes them.
    #[serde(default)]
    pub(super) conditions: Typed<Mapping>,
    /// Further ServiceAccounts that may assume the role, as `namespace/name`.
    #[serde(default)]
    #[cfg_attr(test, schemars(inner(regex(pattern = r"^[a-z0-9-]+/[a-z0-9.-]+$|\$\{"))))]
    pub(super) extra_subjects: Typed<Vec<Typed<String>>>,
}

/// The lifecycle job that runs this tool, as `install` makes it. At most one of `image` and `git` may be given.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Job {
    /// The name of the job in the environment, by which it is found again.
    pub(super) name: Typed<String>,
    /// What people read about it; left as it is if not given.
    #[serde(default)]
    pub(super) description: Typed<String>,
    /// The image it runs; the released one if neither this nor `git` is given.
    #[serde(default)]
    pub(super) image: Typed<Image>,
    /// The repository that Qovery builds its image from.
    #[serde(default)]
    pub(super) git: Typed<Git>,
    /// The role that the job itself runs with, as `bootstrap` made it: then the job needs no AWS key.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/|\$\{")))]
    pub(super) role: Typed<String>,
    /// The ServiceAccount that the job runs as if it has a `role`, `qovery-irsa` if not given.
    #[serde(default)]
    pub(super) service_account: Typed<String>,
    /// Where the chart of this project comes from, which makes that ServiceAccount.
    #[serde(default)]
    pub(super) chart: Typed<Chart>,
    /// What it is called with, by event.
    #[serde(default)]
    pub(super) arguments: Typed<Arguments>,
    /// Thousandths of a processor: 10 to 64000, 100 if not given.
    #[serde(default)]
    pub(super) cpu: Typed<CountText>,
    /// Megabytes: 32 to 65536, 64 if not given.
    #[serde(default)]
    pub(super) memory: Typed<CountText>,
    /// How long one run may take: 1m to 24h, 15m if not given.
    #[serde(default)]
    pub(super) max_duration: Typed<DurationText>,
    /// How often a run that failed is started again: 0 to 10, 1 if not given.
    #[serde(default)]
    pub(super) restarts: Typed<CountText>,
    /// Whether a new commit or tag deploys it; left as it is if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("type" = ["boolean", "string"], "pattern" = r"^(true|false)$|\$\{")))]
    pub(super) auto_deploy: Typed<bool>,
    /// The deployment stage it is in. It is created before all others if there is none of that name; if not given, the job stays where it is.
    #[serde(default)]
    pub(super) stage: Typed<String>,
    /// Variables of the job that everybody may read.
    #[serde(default)]
    pub(super) variables: Typed<BTreeMap<String, Typed<String>>>,
    /// Secrets that the job must see, by name. One that is missing becomes a secret of the job itself, with the value of `IRSA_SECRET_<name>` of `install`.
    #[serde(default)]
    pub(super) secrets: Typed<Vec<Typed<String>>>,
    /// Advanced settings of the job; those that are not named here stay as they are.
    #[serde(default)]
    pub(super) advanced_settings: Typed<BTreeMap<String, Typed<Json>>>,
}

/// An image in a container registry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Image {
    /// Name or id of the container registry in Qovery.
    pub(super) registry: Typed<String>,
    /// The name of the image, without registry and tag; that of the released image if not given.
    #[serde(default)]
    pub(super) name: Typed<String>,
    /// Its tag; that of the released image if `name` is not given either.
    #[serde(default)]
    pub(super) tag: Typed<String>,
}

/// The Helm chart `charts/qovery-irsa` of this project. Exactly one of `git` and `repository` must be given.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Chart {
    /// The Git repository that holds it.
    #[serde(default)]
    pub(super) git: Typed<ChartGit>,
    /// Name or id of the Helm repository in Qovery that holds it.
    #[serde(default)]
    pub(super) repository: Typed<String>,
    /// Its name there, `qovery-irsa` if not given. Only with `repository`.
    #[serde(default)]
    pub(super) name: Typed<String>,
    /// Its version. Only with `repository`.
    #[serde(default)]
    pub(super) version: Typed<String>,
}

/// The Git repository that holds the chart: this one, or a fork of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ChartGit {
    /// Its URL: `https://`, without credentials.
    #[cfg_attr(test, schemars(regex(pattern = r"^https://|\$\{")))]
    pub(super) url: Typed<String>,
    /// The branch; Qovery's choice if not given.
    #[serde(default)]
    pub(super) branch: Typed<String>,
    /// The directory of the chart, `/charts/qovery-irsa` if not given.
    #[serde(default)]
    pub(super) root_path: Typed<String>,
    /// Who hosts it; told by the URL's host if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("anyOf" = [{"enum": ["github", "gitlab", "bitbucket"]}, {"pattern": r"\$\{"}])))]
    pub(super) provider: Typed<String>,
    /// Name or id of the Git token in Qovery, for a private repository.
    #[serde(default)]
    pub(super) token: Typed<String>,
}

/// A Git repository with a Dockerfile.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Git {
    /// Its URL: `https://`, without credentials.
    #[cfg_attr(test, schemars(regex(pattern = r"^https://|\$\{")))]
    pub(super) url: Typed<String>,
    /// The branch; Qovery's choice if not given.
    #[serde(default)]
    pub(super) branch: Typed<String>,
    /// The directory to build in, `/` if not given.
    #[serde(default)]
    pub(super) root_path: Typed<String>,
    /// The Dockerfile, `Dockerfile` if not given.
    #[serde(default)]
    pub(super) dockerfile: Typed<String>,
    /// Who hosts it; told by the URL's host if not given.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("anyOf" = [{"enum": ["github", "gitlab", "bitbucket"]}, {"pattern": r"\$\{"}])))]
    pub(super) provider: Typed<String>,
    /// Name or id of the Git token in Qovery, for a private repository.
    #[serde(default)]
    pub(super) token: Typed<String>,
}

/// What the job is called with: its own commands, by the event.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Arguments {
    /// On deploy and redeploy, `[start]` if not given.
    #[serde(default)]
    pub(super) start: Typed<Vec<Typed<String>>>,
    /// On stop, `[stop]` if not given.
    #[serde(default)]
    pub(super) stop: Typed<Vec<Typed<String>>>,
    /// On delete, `[delete]` if not given.
    #[serde(default)]
    pub(super) delete: Typed<Vec<Typed<String>>>,
}
