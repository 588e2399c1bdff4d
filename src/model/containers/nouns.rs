//! A container as a pod's spec shows it, and what is found about it. Who judges is elsewhere.

use std::{collections::BTreeMap, fmt};

use crate::model::{arn::RoleArn, names::Namespace, oidc::Audience};

/// A container, as far as AWS credentials are concerned. Ephemeral containers are none: they come after admission and serve debugging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Whether it is the pod's main container: the first, or the one of `kubectl.kubernetes.io/default-container`.
    pub is_main: bool,
    /// Whether the pod annotation `eks.amazonaws.com/skip-containers` names it.
    pub is_skipped: bool,
    /// The variables of its `env`, by name.
    pub variables: BTreeMap<String, Given>,
    /// The sources of its `envFrom`.
    pub sources: Vec<Source>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
}

/// How a variable is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// As text.
    Text(String),
    /// From another object, which is not read; in words: ``Secret `x` ``.
    From(String),
}

/// An object all of whose keys become variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `secret` or `configmap`.
    pub kind: SourceKind,
    /// Its name.
    pub name: String,
    /// What stands before each key.
    pub prefix: String,
}

/// What kind of object a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A Secret.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            SourceKind::Secret => "Secret",
            SourceKind::ConfigMap => "ConfigMap",
        };
        write!(f, "{kind} `{}`", self.name)
    }
}

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// Where it is.
    pub path: String,
    /// Which part of the volume is there.
    pub sub_path: String,
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// Projected, with these tokens of the ServiceAccount in it.
    Projected(Vec<ProjectedToken>),
    /// Another, whose files are not known from here.
    Other,
}

/// A token of the ServiceAccount, as the kubelet writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectedToken {
    /// Its file in the volume.
    pub path: String,
    /// Its audience; the API server's own if nothing is said.
    pub audience: Option<String>,
}

/// Where a pod runs, as far as EKS Pod Identity is concerned.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Node {
    /// On a Linux node of EC2, as far as can be seen.
    #[default]
    Linux,
    /// On Fargate: there is no agent.
    Fargate,
    /// On a Windows node: there is no agent.
    Windows,
}

/// What a container should have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The role that it is to have.
    pub role: &'a RoleArn,
    /// The namespace.
    pub namespace: &'a Namespace,
    /// How it gets it.
    pub way: Way<'a>,
}

/// How containers get a role.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// By the annotation of the ServiceAccount: they show STS a token.
    WebIdentity {
        /// The audience of the token.
        audience: &'a Audience,
        /// Whether the ServiceAccount has an association of EKS Pod Identity, if that is known.
        associated: Option<bool>,
    },
    /// By an association of EKS Pod Identity: they ask the agent.
    PodIdentity(Earlier<'a>),
}

/// What becomes of a web identity that a container got before there was an association.
#[derive(Clone, Copy, Debug)]
pub enum Earlier<'a> {
    /// STS takes it.
    Works {
        /// For this role.
        role: &'a RoleArn,
        /// With a token for this audience.
        audience: &'a Audience,
    },
    /// The role does not let it in.
    Refused,
    /// That cannot be known.
    Unknown,
}

/// What else of its pod matters to a container.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The volumes by name.
    pub volumes: &'a BTreeMap<String, Volume>,
    /// Whether another container of the pod has what EKS gives.
    pub others: Others,
    /// Where the pod runs.
    pub node: Node,
}

/// Whether another container of a pod has what EKS gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// One has.
    Injected,
    /// None has.
    Without,
}

/// Whether a finding is certain to keep the container from its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// It does not use the role.
    Certain,
    /// It may not: that cannot be known from here, or depends on the SDK, or is likely meant so.
    Possible,
}

/// Why a container does not use its role, or may not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How certain it is.
    pub certainty: Certainty,
    /// What it has or lacks, as it goes on after the container's name.
    pub reason: String,
    /// What to do.
    pub remedy: Remedy,
}

/// What to do about a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// Make its pod anew.
    Restart,
    /// Something else.
    Words(String),
}

impl Container {
    /// Whether it has both variables.
    #[must_use]
    pub fn has(&self, pair: (&str, &str)) -> bool {
        self.variables.contains_key(pair.0) && self.variables.contains_key(pair.1)
    }

    /// A variable that is set. SDKs take an empty one as none.
    pub(super) fn set(&self, name: &str) -> Option<&Given> {
        self.variables.get(name).filter(|given| !matches!(given, Given::Text(text) if text.is_empty()))
    }

    /// The variables of these that are set, in words.
    pub(super) fn named(&self, names: &[&str]) -> Option<String> {
        let all = names.iter().filter_map(|name| Some(format!("`{name}`{}", origin(self.set(name)?))));
        Some(all.collect::<Vec<_>>().join(" and ")).filter(|all| !all.is_empty())
    }
}

/// ` (from Secret `x`)`
pub(super) fn origin(given: &Given) -> String {
    match given {
        Given::Text(_) => String::new(),
        Given::From(object) => format!(" (from {object})"),
    }
}

pub(super) fn finding(certainty: Certainty, reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { certainty, reason: reason.into(), remedy: Remedy::Words(remedy.into()) }
}

/// What is certain, and over when the pod is made anew.
pub(super) fn older(reason: impl Into<String>) -> Finding {
    Finding { certainty: Certainty::Certain, reason: reason.into(), remedy: Remedy::Restart }
}

/// Certain for the main container; another may be meant so.
pub(super) fn unless_main(container: &Container) -> Certainty {
    if container.is_main { Certainty::Certain } else { Certainty::Possible }
}
