//! The lifecycle job itself, as `install` makes it in an environment of Qovery: as it should be, and as it was seen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    arn::RoleArn,
    names::ServiceAccountName,
    qovery::{QoveryId, QoveryName},
    service::{Service, is_same_name},
    variable::{ObservedVariable, VariableName},
};

/// The job as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Its name in the environment, by which it is found again.
    pub name: QoveryName,
    /// What people read about it; left as it is if not given.
    pub description: Option<String>,
    /// Where its image comes from.
    pub source: JobSource,
    /// How it does without a key; nothing if it gets its AWS credentials another way.
    pub account: Option<JobAccount>,
    /// What it is called with, by event.
    pub arguments: JobArguments,
    /// Thousandths of a processor.
    pub cpu: u32,
    /// Megabytes.
    pub memory: u32,
    /// Seconds that one run may take.
    pub max_duration: u32,
    /// How often a run that failed is started again.
    pub restarts: u32,
    /// Whether a new commit or tag deploys it; left as it is if not given.
    pub auto_deploy: Option<bool>,
    /// The deployment stage it is in; where Qovery or people put it if not given.
    pub stage: Option<QoveryName>,
    /// Variables that everybody may read.
    pub variables: BTreeMap<VariableName, String>,
    /// Variables whose values nobody can read once they are set.
    pub secrets: BTreeSet<VariableName>,
    /// Advanced settings; others stay as they are.
    pub advanced_settings: BTreeMap<String, Value>,
}

/// What the job is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobArguments {
    /// On deploy and redeploy.
    pub start: Vec<String>,
    /// On stop.
    pub stop: Vec<String>,
    /// On delete.
    pub delete: Vec<String>,
}

/// The ServiceAccount that the job runs as, with the role that `bootstrap` made. A Helm service of the environment makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobAccount {
    /// Its name.
    pub name: ServiceAccountName,
    /// The job's own role.
    pub role: RoleArn,
    /// Where the chart comes from.
    pub chart: ChartSource,
}

/// Where the chart of this project comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChartSource {
    /// A Git repository.
    Git {
        /// The repository.
        url: String,
        /// Whose it is.
        provider: GitProvider,
        /// The branch; Qovery's choice if not given.
        branch: Option<String>,
        /// The directory of the chart.
        root_path: String,
        /// Id or name of the Git token in Qovery, for a private repository.
        token: Option<QoveryName>,
    },
    /// A Helm repository that Qovery knows.
    Repository {
        /// Its id or name in Qovery.
        repository: QoveryName,
        /// The name of the chart there.
        name: String,
        /// Its version.
        version: String,
    },
}

/// Where the image of the job comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSource {
    /// It is pulled.
    Image {
        /// Id or name of the container registry in Qovery.
        registry: QoveryName,
        /// The image's name without registry and tag.
        name: String,
        /// Its tag.
        tag: String,
    },
    /// Qovery builds it.
    Git {
        /// The repository.
        url: String,
        /// Whose it is.
        provider: GitProvider,
        /// The branch; Qovery's choice if not given.
        branch: Option<String>,
        /// The directory in it.
        root_path: String,
        /// The Dockerfile below that.
        dockerfile: String,
        /// Id or name of the Git token in Qovery, for a private repository.
        token: Option<QoveryName>,
    },
}

/// Who hosts a Git repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitProvider {
    /// GitHub.
    GitHub,
    /// GitLab.
    GitLab,
    /// Bitbucket.
    Bitbucket,
}

impl GitProvider {
    /// Qovery's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "GITHUB",
            Self::GitLab => "GITLAB",
            Self::Bitbucket => "BITBUCKET",
        }
    }

    /// Whose a repository is, by the host of its URL.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next()?.to_lowercase();
        let named = |name| host.contains(name);
        if named("github") {
            Some(Self::GitHub)
        } else if named("gitlab") {
            Some(Self::GitLab)
        } else if named("bitbucket") {
            Some(Self::Bitbucket)
        } else {
            None
        }
    }
}

/// An environment as it was seen, as far as a job in it is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedEnvironment {
    /// Its id.
    pub id: QoveryId,
    /// Its name.
    pub name: String,
    /// The id of its organization.
    pub organization: QoveryId,
    /// The id of its project.
    pub project: QoveryId,
    /// All its services.
    pub services: Vec<Service>,
    /// The job of that name, if there is one.
    pub job: Option<ObservedJob>,
    /// Its deployment stages, in their order.
    pub stages: Vec<Stage>,
    /// The variables that the job sees, or would see.
    pub variables: Vec<ObservedVariable>,
    /// The services that are to run with a role, as far as they are there and can.
    pub bound: Vec<BoundService>,
    /// The container registries of the organization, if one is to be found.
    pub registries: Vec<Named>,
    /// The Git tokens of the organization, if one is to be found.
    pub git_tokens: Vec<Named>,
}

/// A job as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedJob {
    /// Its id.
    pub id: QoveryId,
    /// Whether environment events run it, and not a clock.
    pub is_lifecycle: bool,
    /// The request that would leave it as it is.
    pub request: Map<String, Value>,
    /// Its advanced settings.
    pub settings: Map<String, Value>,
}

/// A deployment stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its id.
    pub id: QoveryId,
    /// Its name.
    pub name: String,
    /// The ids of its services.
    pub services: BTreeSet<QoveryId>,
    /// Those of them that do not run with the environment.
    pub skipped: BTreeSet<QoveryId>,
}

/// A service that the manifest binds to a role, and the variables that it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundService {
    /// The service.
    pub service: Service,
    /// Its own variables, and those it inherits.
    pub variables: Vec<ObservedVariable>,
}

/// A thing of the organization that can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: QoveryId,
    /// Its name.
    pub name: String,
}

impl Named {
    /// Finds the one that is meant by id or name.
    #[must_use]
    pub fn find<'a>(all: &'a [Self], meant: &QoveryName) -> Option<&'a Self> {
        let by_id = all.iter().find(|named| named.id.as_str().eq_ignore_ascii_case(meant.as_str()));
        by_id.or_else(|| all.iter().find(|named| is_same_name(&named.name, meant.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repositorys_host_tells_whose_it_is() {
        assert_eq!(GitProvider::of_url("https://github.com/acme/identity.git"), Some(GitProvider::GitHub));
        assert_eq!(GitProvider::of_url("https://gitlab.acme.example/infra/identity"), Some(GitProvider::GitLab));
        assert_eq!(GitProvider::of_url("https://bitbucket.org/acme/identity"), Some(GitProvider::Bitbucket));
        assert_eq!(GitProvider::of_url("https://git.acme.example/github/identity"), None);
    }
}
