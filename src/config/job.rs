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
    job::{ChartSource, GitProvider, JobAccount, JobArguments, JobSource, JobSpec},
    variable::VariableName,
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

/// The job of a manifest; nothing if the log got a problem that leaves none.
pub(super) fn job(typed: Typed<manifest::Job>, at: &At<'_>) -> Option<JobSpec> {
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
    let job_name = parsed(name, &at.key("name"));
    let stage_name = parsed(stage, &at.key("stage"));
    let source = source(image, git, at);
    let account = account(role, service_account, chart, at);
    let variables = variables(typed_variables, &at.key("variables"));
    let secrets = secrets(typed_secrets, &variables, &at.key("secrets"));
    let spec = JobSpec {
        description: description.value(),
        arguments: arguments_of(arguments.value().unwrap_or_default(), &at.key("arguments")),
        cpu: count(cpu, &CPU, &at.key("cpu")).unwrap_or(DEFAULT_CPU),
        memory: count(memory, &MEMORY, &at.key("memory")).unwrap_or(DEFAULT_MEMORY),
        max_duration: seconds(max_duration, &DURATION, &at.key("maxDuration")).unwrap_or(DEFAULT_DURATION),
        restarts: count(restarts, &RESTARTS, &at.key("restarts")).unwrap_or(DEFAULT_RESTARTS),
        auto_deploy: auto_deploy.value(),
        stage: stage_name,
        variables,
        secrets,
        advanced_settings: settings(advanced_settings, &at.key("advancedSettings")),
        name: job_name?,
        source: source?,
        account: account?,
    };
    Some(spec)
}

fn source(image: Typed<manifest::Image>, git: Typed<manifest::Git>, at: &At<'_>) -> Option<JobSource> {
    match (&image, &git) {
        (Typed::Absent, Typed::Absent) => at.report("neither `image` nor `git` is given: where does its image come from?"),
        (Typed::Absent, _) | (_, Typed::Absent) => {}
        _ => at.report("`image` and `git` are both given: its image is pulled or built"),
    }
    let image = image.value().map(|typed| image_source(typed, &at.key("image")));
    let git = git.value().map(|typed| git_source(typed, &at.key("git")));
    image.or(git)?
}

/// How the job does without a key; the outer nothing after the log got a problem.
#[allow(clippy::option_option, reason = "a problem is not the same as nothing to make")]
fn account(role: Typed<String>, service_account: Typed<String>, chart: Typed<manifest::Chart>, at: &At<'_>) -> Option<Option<JobAccount>> {
    let (has_role, has_chart) = (!role.is_absent(), !chart.is_absent());
    let role = parsed::<RoleArn>(role, &at.key("role"));
    let name =
        if service_account.is_absent() { JOB_SERVICE_ACCOUNT.parse().ok() } else { parsed(service_account, &at.key("serviceAccount")) };
    let chart = chart.value().map(|typed| chart_source(typed, &at.key("chart")));
    match (has_role, has_chart) {
        (false, false) => Some(None),
        (true, false) => {
            at.report("`chart` is missing: with `role` the job runs as a ServiceAccount, which the chart makes");
            None
        }
        // `install --role` may give it.
        (false, true) => chart?.map(|_| None),
        (true, true) => Some(Some(JobAccount { name: name?, role: role?, chart: chart?? })),
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

fn image_source(typed: manifest::Image, at: &At<'_>) -> Option<JobSource> {
    let manifest::Image { registry, name, tag } = typed;
    required(&registry, "registry", at);
    required(&name, "name", at);
    required(&tag, "tag", at);
    let registry = parsed(registry, &at.key("registry"));
    let name = word(name, &at.key("name"));
    if let Some(name) = name.as_ref().filter(|name| name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))) {
        at.key("name").report(format_args!("{} holds a tag: give it as `tag`", quoted(name)));
        return None;
    }
    let tag = word(tag, &at.key("tag"));
    Some(JobSource::Image { registry: registry?, name: name?, tag: tag? })
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
