//! The `job:` section as meant: the lifecycle job that `install` makes.
//!
//! Every problem is reported at its node and the rest is still looked at. What the environment has already is not known here.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use super::{
    manifest,
    text::{
        pieces::{elements, entries, name as parsed, required, seconds, text},
        problems::{At, quoted},
        reader::{CountText, Json, Typed},
    },
};
use crate::model::{
    arn::RoleArn,
    job::{ChartSource, GitProvider, JobAccount, JobArguments, JobSource, JobSpec, RegistryRef, ReleasedImage, Runs},
    names::ServiceAccountName,
    qovery::QoveryName,
    variable::{AWS_KEYS, SET_BY_EKS, VariableName},
};

/// Thousandths of a processor. The least is what Qovery takes.
/// <https://registry.terraform.io/providers/Qovery/qovery/latest/docs/resources/job>
const CPU: RangeInclusive<u32> = 10..=64_000;
const DEFAULT_CPU: u32 = 100;
/// Megabytes. A run takes some ten, and Kubernetes some for itself.
const MEMORY: RangeInclusive<u32> = 32..=65_536;
const DEFAULT_MEMORY: u32 = 64;
const DURATION: RangeInclusive<u32> = 60..=86_400;
/// More than `IRSA_TIMEOUT` for each try.
const DEFAULT_DURATION: u32 = 900;
const RESTARTS: RangeInclusive<u32> = 0..=10;
/// A second process continues where the first one stopped.
const DEFAULT_RESTARTS: u32 = 1;

/// The ServiceAccount that the job runs as. `bootstrap` trusts it, and the guard knows it by this name.
pub(super) const JOB_SERVICE_ACCOUNT: &str = "qovery-irsa";

/// The stage of a keyless job if the manifest names none: its ServiceAccount has to be there before.
const JOB_STAGE: &str = "identities";
/// What the Helm service and its stage are called besides the job and its stage.
const OF_ACCOUNT: &str = "-account";
/// The advanced settings that a keyless job needs.
const SERVICE_ACCOUNT: &str = "security.service_account_name";
const AUTOMOUNT: &str = "security.automount_service_account_token";

/// What is known of the job beside the manifest.
pub(super) struct Beside<'a> {
    /// `--role`, which wins over `role`.
    pub(super) role: Typed<RoleArn>,
    /// The image that was released with this program, if one was.
    pub(super) image: Option<ReleasedImage<'a>>,
}

/// The job of a manifest; nothing if the log got a problem that leaves none. Its files are not known here.
pub(super) fn job(typed: Typed<manifest::Job>, beside: &Beside<'_>, at: &At<'_>) -> Option<JobSpec> {
    if typed.is_absent() {
        at.report("`job` is missing: it says what `install` makes");
    }
    let at = &at.key("job");
    let manifest::Job {
        name,
        description,
        image,
        git,
        role,
        service_account,
        chart,
        arguments,
        cpu,
        memory,
        max_duration,
        restarts,
        auto_deploy,
        stage,
        variables: typed_variables,
        secrets: typed_secrets,
        advanced_settings,
    } = typed.value()?;
    required(&name, "name", at);
    // All parts before the first `?`: each reports its own problems.
    let is_keyless = !beside.role.is_absent() || !role.is_absent();
    let job_name: Option<QoveryName> = parsed(name, &at.key("name"));
    let stage_name: Option<QoveryName> =
        if stage.is_absent() && is_keyless { JOB_STAGE.parse().ok() } else { parsed(stage, &at.key("stage")) };
    let source = source(image, git, beside.image, at);
    let account = if is_keyless {
        account(beside, role, service_account, chart, (job_name.as_ref(), stage_name.as_ref()), at).map(Some)
    } else {
        no_account(service_account, chart, at).then_some(None)
    };
    let variables = variables(typed_variables, &at.key("variables"));
    let secrets = secrets(typed_secrets, &variables, &at.key("secrets"));
    if is_keyless {
        keys_beside_role(&variables, &secrets, at);
    }
    let mut advanced_settings = settings(advanced_settings, &at.key("advancedSettings"));
    if let Some(Some(account)) = &account {
        run_as(&account.name, &mut advanced_settings, &at.key("advancedSettings"));
    }
    let spec = JobSpec {
        runs: Runs::OnEvents,
        description: description.value(),
        arguments: arguments_of(arguments.value().unwrap_or_default(), &at.key("arguments")),
        cpu: count(cpu, &CPU, &at.key("cpu")).unwrap_or(DEFAULT_CPU),
        memory: count(memory, &MEMORY, &at.key("memory")).unwrap_or(DEFAULT_MEMORY),
        max_duration: seconds(max_duration, &DURATION, &at.key("maxDuration")).unwrap_or(DEFAULT_DURATION),
        restarts: count(restarts, &RESTARTS, &at.key("restarts")).unwrap_or(DEFAULT_RESTARTS),
        auto_deploy: auto_deploy.value(),
        stage: stage_name,
        variables,
        files: Vec::new(),
        secrets,
        advanced_settings,
        name: job_name?,
        source: source?,
        account: account?,
    };
    Some(spec)
}

fn source(image: Typed<manifest::Image>, git: Typed<manifest::Git>, released: Option<ReleasedImage<'_>>, at: &At<'_>) -> Option<JobSource> {
    match (&image, &git, released) {
        (Typed::Absent, Typed::Absent, Some(ReleasedImage { host, name, tag })) => {
            return Some(JobSource::Image { registry: RegistryRef::Host(host.to_owned()), name: name.to_owned(), tag: tag.to_owned() });
        }
        (Typed::Absent, Typed::Absent, None) => at.report(
            "neither `image` nor `git` is given, and this program was built without the name of a released image: say with `image` where it is, or with `git` what Qovery builds it from",
        ),
        (Typed::Absent, ..) | (_, Typed::Absent, _) => {}
        _ => at.report("`image` and `git` are both given: its image is pulled or built"),
    }
    let image = image.value().map(|typed| image_source(typed, released, &at.key("image")));
    let git = git.value().map(|typed| git_source(typed, &at.key("git")));
    image.or(git)?
}

/// How the job does without a key; nothing after the log got a problem.
fn account(
    beside: &Beside<'_>,
    role: Typed<String>,
    service_account: Typed<String>,
    chart: Typed<manifest::Chart>,
    (job, stage): (Option<&QoveryName>, Option<&QoveryName>),
    at: &At<'_>,
) -> Option<JobAccount> {
    // A flag wins over its key, and a key with a problem still has it.
    let role_of_key = parsed::<RoleArn>(role, &at.key("role"));
    let role = match &beside.role {
        Typed::Absent => role_of_key,
        Typed::Wrong => None,
        Typed::Value(role) => Some(role.clone()),
    };
    let name = service_account_name(service_account, at);
    if chart.is_absent() {
        at.report("`chart` is missing: with a role the job runs as a ServiceAccount, which the chart makes");
    }
    let chart = chart.value().and_then(|typed| chart_source(typed, &at.key("chart")));
    let service = of_account(job, &at.key("name"));
    let stage = of_account(stage, &at.key("stage"));
    Some(JobAccount { name: name?, role: role?, chart: chart?, service: service?, stage: stage? })
}

/// Whether the log got no problem of what stands without effect where no role is given: `install --role` may give it another time.
fn no_account(service_account: Typed<String>, chart: Typed<manifest::Chart>, at: &At<'_>) -> bool {
    let name = service_account_name(service_account, at);
    let chart = chart.is_absent() || chart.value().and_then(|typed| chart_source(typed, &at.key("chart"))).is_some();
    name.is_some() && chart
}

fn service_account_name(typed: Typed<String>, at: &At<'_>) -> Option<ServiceAccountName> {
    if typed.is_absent() { JOB_SERVICE_ACCOUNT.parse().ok() } else { parsed(typed, &at.key("serviceAccount")) }
}

/// What the Helm service or its stage is called.
fn of_account(name: Option<&QoveryName>, at: &At<'_>) -> Option<QoveryName> {
    let name = name?;
    let of_account = format!("{name}{OF_ACCOUNT}").parse();
    of_account.map_err(|_| at.report(format_args!("{} is too long: `{OF_ACCOUNT}` must fit behind it", quoted(name.as_str())))).ok()
}

/// Keys that the job would be given although it has a role. A SDK takes them before the role; of the names that EKS sets, it sets none then.
fn keys_beside_role(variables: &BTreeMap<VariableName, String>, secrets: &BTreeSet<VariableName>, at: &At<'_>) {
    let wins = |name: &&VariableName| AWS_KEYS.contains(&name.as_str()) || SET_BY_EKS.contains(&name.as_str());
    for (section, names) in
        [("variables", variables.keys().filter(wins).collect::<Vec<_>>()), ("secrets", secrets.iter().filter(wins).collect())]
    {
        for name in names {
            at.key(section)
                .report(format_args!("{} keeps the job from its role: leave it out, the job needs no key", quoted(name.as_str())));
        }
    }
}

/// Lets the job run as its ServiceAccount, with the token.
fn run_as(account: &ServiceAccountName, settings: &mut BTreeMap<String, serde_json::Value>, at: &At<'_>) {
    for (setting, value) in [(SERVICE_ACCOUNT, account.as_str().into()), (AUTOMOUNT, serde_json::Value::Bool(true))] {
        let given = settings.insert(setting.to_owned(), value);
        if given.as_ref().is_some_and(|given| *given != settings[setting]) {
            at.key(setting).report(format_args!("must be `{}`, or left out: the job runs with its role", settings[setting]));
        }
    }
}

fn chart_source(typed: manifest::Chart, at: &At<'_>) -> Option<ChartSource> {
    let manifest::Chart { git, repository, name, version } = typed;
    match (git.is_absent(), repository.is_absent()) {
        (true, true) => at.report("neither `git` nor `repository` is given: where does the chart come from?"),
        (false, false) => at.report("`git` and `repository` are both given: the chart comes from one of them"),
        _ => {}
    }
    if repository.is_absent() {
        let typed = git.value()?;
        let at = &at.key("git");
        let manifest::ChartGit { url, branch, root_path, provider: typed_provider, token } = typed;
        let url = https(url, at);
        let provider = provider(typed_provider, url.as_deref(), at);
        let root_path = if root_path.is_absent() { Some("/charts/qovery-irsa".to_owned()) } else { word(root_path, &at.key("rootPath")) };
        let branch = if branch.is_absent() { None } else { Some(word(branch, &at.key("branch"))?) };
        return Some(ChartSource::Git {
            url: url?,
            provider: provider?,
            branch,
            root_path: root_path?,
            token: parsed(token, &at.key("token")),
        });
    }
    required(&version, "version", at);
    let name = if name.is_absent() { Some("qovery-irsa".to_owned()) } else { word(name, &at.key("name")) };
    let repository = parsed(repository, &at.key("repository"));
    let version = word(version, &at.key("version"));
    Some(ChartSource::Repository { repository: repository?, name: name?, version: version? })
}

/// The URL of a Git repository.
fn https(url: Typed<String>, at: &At<'_>) -> Option<String> {
    required(&url, "url", at);
    word(url, &at.key("url")).filter(|url| {
        let https = url.starts_with("https://") && !url.contains('@');
        if !https {
            at.key("url").report(format_args!("{} is not the URL of a repository: use `https://`, without credentials", quoted(url)));
        }
        https
    })
}

/// What is left out is as it was released; a tag only together with the name.
fn image_source(typed: manifest::Image, released: Option<ReleasedImage<'_>>, at: &At<'_>) -> Option<JobSource> {
    let manifest::Image { registry, name, tag } = typed;
    required(&registry, "registry", at);
    let registry = parsed(registry, &at.key("registry"));
    let known = released.filter(|_| name.is_absent());
    let name = if let Some(known) = known {
        Some(known.name.to_owned())
    } else {
        required(&name, "name", at);
        word(name, &at.key("name"))
    };
    if let Some(name) = name.as_ref().filter(|name| name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))) {
        at.key("name").report(format_args!("{} holds a tag: give it as `tag`", quoted(name)));
        return None;
    }
    let tag = if let Some(known) = known.filter(|_| tag.is_absent()) {
        Some(known.tag.to_owned())
    } else {
        required(&tag, "tag", at);
        word(tag, &at.key("tag"))
    };
    Some(JobSource::Image { registry: RegistryRef::Named(registry?), name: name?, tag: tag? })
}

fn git_source(typed: manifest::Git, at: &At<'_>) -> Option<JobSource> {
    let manifest::Git { url, branch, root_path, dockerfile, provider: typed_provider, token } = typed;
    let url = https(url, at);
    let provider = provider(typed_provider, url.as_deref(), at);
    let path = |typed: Typed<String>, key: &'static str, default: &str| match typed {
        Typed::Absent => Some(default.to_owned()),
        typed => word(typed, &at.key(key)),
    };
    let root_path = path(root_path, "rootPath", "/");
    let dockerfile = path(dockerfile, "dockerfile", "Dockerfile");
    let branch = if branch.is_absent() { None } else { Some(word(branch, &at.key("branch"))?) };
    Some(JobSource::Git {
        url: url?,
        provider: provider?,
        branch,
        root_path: root_path?,
        dockerfile: dockerfile?,
        token: parsed(token, &at.key("token")),
    })
}

fn provider(typed: Typed<String>, url: Option<&str>, at: &At<'_>) -> Option<GitProvider> {
    const KNOWN: [(&str, GitProvider); 3] =
        [("github", GitProvider::GitHub), ("gitlab", GitProvider::GitLab), ("bitbucket", GitProvider::Bitbucket)];
    match typed {
        Typed::Absent => {
            let provider = GitProvider::of_url(url?);
            if provider.is_none() {
                at.report("`provider` is missing, and the host of `url` does not tell it: use `github`, `gitlab` or `bitbucket`");
            }
            provider
        }
        Typed::Wrong => None,
        Typed::Value(word) => {
            let known = KNOWN.iter().find(|(name, _)| *name == word);
            if known.is_none() {
                at.key("provider").report(format_args!("{} is not known: use `github`, `gitlab` or `bitbucket`", quoted(&word)));
            }
            known.map(|(_, provider)| *provider)
        }
    }
}

fn arguments_of(typed: manifest::Arguments, at: &At<'_>) -> JobArguments {
    let manifest::Arguments { start, stop, delete } = typed;
    let of_event = |typed: Typed<Vec<Typed<String>>>, event: &'static str| match typed {
        Typed::Absent => vec![event.to_owned()],
        typed => {
            let at = at.key(event);
            let all: Vec<String> = elements(typed, &at).map(|(_, argument)| argument).collect();
            if all.is_empty() {
                at.report(format_args!("is empty: the job would not know what to do, use `[{event}]`"));
            }
            all
        }
    };
    JobArguments { start: of_event(start, "start"), stop: of_event(stop, "stop"), delete: of_event(delete, "delete") }
}

fn variables(typed: Typed<BTreeMap<String, Typed<String>>>, at: &At<'_>) -> BTreeMap<VariableName, String> {
    entries(typed, at, |key, value, at| Some((text(key, at)?, value.value()?)))
}

fn secrets(typed: Typed<Vec<Typed<String>>>, variables: &BTreeMap<VariableName, String>, at: &At<'_>) -> BTreeSet<VariableName> {
    let mut secrets = BTreeSet::new();
    for (index, name) in elements(typed, at) {
        let at = at.index(index);
        let Some(name) = text::<VariableName>(&name, &at) else { continue };
        if variables.contains_key(&name) {
            at.report(format_args!("{} stands in `variables` too: it is readable there", quoted(name.as_str())));
        }
        secrets.insert(name);
    }
    secrets
}

fn settings(typed: Typed<BTreeMap<String, Typed<Json>>>, at: &At<'_>) -> BTreeMap<String, serde_json::Value> {
    entries(typed, at, |key, value, _| Some((key.to_owned(), value.value()?.0)))
}

/// One word without white space or control characters.
fn word(typed: Typed<String>, at: &At<'_>) -> Option<String> {
    let text = typed.value()?;
    if text.is_empty() || text.chars().any(|character| character.is_whitespace() || character.is_control()) {
        at.report(format_args!("{} is not usable here: use one word", quoted(&text)));
        return None;
    }
    Some(text)
}

fn count(typed: Typed<CountText>, bounds: &RangeInclusive<u32>, at: &At<'_>) -> Option<u32> {
    let CountText(text) = typed.value()?;
    let count = text.trim().parse().ok().filter(|count| bounds.contains(count));
    if count.is_none() {
        at.report(format_args!("{} is not usable here: use a whole number from {} to {}", quoted(&text), bounds.start(), bounds.end()));
    }
    count
}
