//! The lifecycle job itself, as `install` makes it in an environment of Qovery: as it should be, and as it was seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value};

use super::{
    arn::RoleArn,
    names::{Namespace, ServiceAccountName},
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
    /// When it runs.
    pub runs: Runs,
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
    /// The manifest and the files that it names, each once.
    pub files: Vec<JobFile>,
    /// Variables whose values nobody can read once they are set.
    pub secrets: BTreeSet<VariableName>,
    /// Advanced settings; others stay as they are.
    pub advanced_settings: BTreeMap<String, Value>,
}

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// At the events of its environment: a lifecycle job.
    OnEvents,
    /// Once a day: the cron job that sweeps.
    Daily(Daily),
}

/// A cron job, which runs `sweep` once a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daily {
    /// The only namespace in which its ServiceAccount exists.
    pub namespace: Namespace,
}

impl Daily {
    /// When, in UTC.
    pub const AT: &str = "0 4 * * *";
    /// What it is called with.
    pub const ARGUMENTS: [&str; 1] = ["sweep"];
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
    /// The name of the Helm service.
    pub service: QoveryName,
    /// The deployment stage of the Helm service, before that of the job.
    pub stage: QoveryName,
}

/// Below this folder the job finds its files.
pub const FILES: &str = "/qovery-irsa/";
/// With this the variables of these files begin.
pub const FILE_PREFIX: &str = "JOB_FILE_";
/// The most bytes of all files of a job together. They are values of variables: Kubernetes keeps all variables of a service in one Secret,
/// which has at most 1 MiB. <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>
pub const LARGEST_FILES: usize = 256 << 10;

/// A file of the job: the value of a variable that Qovery mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFile {
    /// Its path below [`FILES`], without `.` and `..`.
    pub path: String,
    /// All of it.
    pub content: String,
}

impl JobFile {
    /// Where the job finds it.
    #[must_use]
    pub fn mount_path(&self) -> String {
        format!("{FILES}{}", self.path)
    }

    /// What its variable is called, if nothing else is called so.
    #[must_use]
    pub fn key(&self) -> String {
        // A name has at most 255 characters, and a number may follow.
        let known = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' };
        FILE_PREFIX.chars().chain(self.path.chars().take(200).map(known)).collect()
    }
}

/// Whether a variable of this name, mounted there, is a file that `install` gave the job.
#[must_use]
pub fn is_file_of_job(name: &str, mount_path: &str) -> bool {
    name.starts_with(FILE_PREFIX) && mount_path.starts_with(FILES)
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
        /// The container registry.
        registry: RegistryRef,
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

/// Which container registry of the organization is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryRef {
    /// That of this id or name in Qovery.
    Named(QoveryName),
    /// That on this host: the one of the released image.
    Host(String),
}

/// As messages name it.
impl fmt::Display for RegistryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Host(host) => f.write_str(host),
        }
    }
}

/// The image that was released with this program: `registry.example/name`, its tag is the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleasedImage<'a> {
    /// The host of its registry.
    pub host: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// Its tag.
    pub tag: &'a str,
}

impl<'a> ReleasedImage<'a> {
    /// Reads `registry.example/name`; nothing if it has no host or no name.
    #[must_use]
    pub fn of(image: &'a str, version: &'a str) -> Option<Self> {
        let (host, name) = image.split_once('/')?;
        (!host.is_empty() && !name.is_empty()).then_some(Self { host, name, tag: version })
    }
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
    /// The Helm service that makes the job's ServiceAccount, if there is one.
    pub account: Option<ObservedHelm>,
    /// Whether a service was ever deployed here; not asked for where nothing depends on it.
    pub deployed: Option<Deployed>,
    /// The Helm repositories of the organization, if one is to be found.
    pub helm_repositories: Vec<Named>,
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

/// When `install` binds services itself, and does not leave it to the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindWhen {
    /// Where no service of the environment was ever deployed: all of them start after the job's first run.
    #[default]
    NothingDeployed,
    /// There, and elsewhere once this run has deployed the job: then its ServiceAccounts are there.
    AfterJob,
    /// Wherever.
    Always,
}

/// Whether a service of an environment was ever deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// None was: everything starts with the next deployment.
    Never,
    /// One was.
    Before,
}

/// A Helm service as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedHelm {
    /// Its id.
    pub id: QoveryId,
    /// The request that would leave it as it is.
    pub request: Map<String, Value>,
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
    /// The ServiceAccount that it asks for, if it does.
    pub service_account: Option<String>,
}

/// A thing of the organization that can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: QoveryId,
    /// Its name.
    pub name: String,
    /// Its address, if it has one.
    pub url: Option<String>,
}

impl Named {
    /// Finds the one that is meant by id or name.
    #[must_use]
    pub fn find<'a>(all: &'a [Self], meant: &QoveryName) -> Option<&'a Self> {
        let by_id = all.iter().find(|named| named.id.as_str().eq_ignore_ascii_case(meant.as_str()));
        by_id.or_else(|| all.iter().find(|named| is_same_name(&named.name, meant.as_str())))
    }

    /// Finds the one on this host.
    #[must_use]
    pub fn on_host<'a>(all: &'a [Self], host: &str) -> Option<&'a Self> {
        let is_there = |named: &&Self| named.url.as_deref().is_some_and(|url| host_of(url).eq_ignore_ascii_case(host));
        all.iter().find(is_there)
    }
}

/// The host of a URL, with its port if it has one.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
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

    #[test]
    fn a_file_is_called_after_its_path_and_mounted_below_one_folder() {
        let file = |path: &str| JobFile { path: path.to_owned(), content: String::new() };
        for (path, key) in [("qovery.yml", "JOB_FILE_QOVERY_YML"), ("policies/own-Bücket.json", "JOB_FILE_POLICIES_OWN_B_CKET_JSON")] {
            assert_eq!((file(path).key().as_str(), file(path).mount_path()), (key, format!("/qovery-irsa/{path}")));
        }
        assert!(file(&"ü".repeat(300)).key().parse::<VariableName>().is_ok());
        assert!(is_file_of_job("JOB_FILE_X", "/qovery-irsa/x"));
        assert!(!is_file_of_job("JOB_FILE_X", "/etc/x") && !is_file_of_job("MY_FILE", "/qovery-irsa/x"));
    }

    #[test]
    fn a_registry_is_found_by_the_host_of_the_released_image() {
        let registry = |name: &str, url: Option<&str>| Named {
            id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            name: name.to_owned(),
            url: url.map(str::to_owned),
        };
        let all = [registry("a", None), registry("b", Some("https://public.ecr.aws")), registry("c", Some("GHCR.io/acme/"))];
        let found = |host: &str| Named::on_host(&all, host).map(|named| named.name.as_str());
        assert_eq!((found("ghcr.io"), found("public.ecr.aws"), found("ecr.aws")), (Some("c"), Some("b"), None));
        assert_eq!(
            ReleasedImage::of("ghcr.io/acme/qovery-irsa", "1.0"),
            Some(ReleasedImage { host: "ghcr.io", name: "acme/qovery-irsa", tag: "1.0" })
        );
        assert_eq!(
            (ReleasedImage::of("ghcr.io", "1.0"), ReleasedImage::of("/x", "1.0"), ReleasedImage::of("x/", "1.0")),
            (None, None, None)
        );
    }
}
