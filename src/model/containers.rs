//! A container of a pod, and the AWS credentials its SDK takes: the role of the annotation, or something else that wins over it.
//!
//! Only what a pod's spec shows is judged. The values of Secrets and `ConfigMaps` are never read; a variable counts by its name.
//!
//! The order in which SDKs search: <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>. What EKS adds to a
//! container, and when it does not: <https://github.com/aws/amazon-eks-pod-identity-webhook>.

use std::{collections::BTreeMap, fmt};

use super::{arn::RoleArn, names::Namespace, oidc::Audience};

const ROLE: &str = "AWS_ROLE_ARN";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
/// The pair that every SDK takes before a role.
const KEY: (&str, &str) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
/// Older names of the pair, which the SDKs for Go and for Java 1.x still read.
/// <https://pkg.go.dev/github.com/aws/aws-sdk-go-v2/config#EnvConfig>
const OLD_KEY: (&str, &str) = ("AWS_ACCESS_KEY", "AWS_SECRET_KEY");
/// What points an SDK to a profile or to the files that hold profiles.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html>
pub const PROFILES: [&str; 4] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"];
/// What EKS Pod Identity and ECS set.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
const CONTAINER_CREDENTIALS: [&str; 2] = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];

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

/// What a container should have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The audience of its token.
    pub audience: &'a Audience,
    /// The namespace.
    pub namespace: &'a Namespace,
    /// Whether the ServiceAccount has a Pod Identity association, if that is known.
    pub associated: Option<bool>,
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

/// What keeps a container from its role; nothing if it has it. `others` says whether another container of the pod has EKS's variables.
///
/// | the container has | finding |
/// |---|---|
/// | a static key | certain: keys win |
/// | a profile, or older names of a key | possible: some SDKs take these first |
/// | no variable of EKS, and the pod names it as skipped | certain for the main container, else possible |
/// | none, but those of Pod Identity | possible; certain if there is no association |
/// | none, and another container of the pod has them | certain for the main container, else possible: it was added later |
/// | none | certain: the pod is older than the annotation |
/// | one of the two | certain: the webhook adds neither beside it |
/// | another role | certain |
/// | a role or file that is not given as text | possible |
/// | a token file that no volume holds, or for another audience | certain |
/// | `envFrom` that may hold a key | possible |
#[must_use]
pub fn judge(container: &Container, volumes: &BTreeMap<String, Volume>, others: bool, wanted: &Wanted<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = keys(container).into_iter().chain(profiles(container)).collect();
    match (container.variables.get(ROLE), container.variables.get(TOKEN_FILE)) {
        (None, None) => findings.push(without(container, others, wanted)),
        (Some(role), None) => findings.push(half(ROLE, role, TOKEN_FILE)),
        (None, Some(file)) => findings.push(half(TOKEN_FILE, file, ROLE)),
        (Some(role), Some(file)) => {
            findings.extend(other_role(role, wanted));
            findings.extend(no_token(container, file, volumes, wanted));
        }
    }
    // What is certain already needs no guess.
    if findings.iter().all(|finding| finding.certainty == Certainty::Possible) {
        findings.extend(hidden(container, wanted));
    }
    findings
}

impl Container {
    /// Whether it has a variable of EKS for a web identity.
    #[must_use]
    pub fn is_injected(&self) -> bool {
        self.variables.contains_key(ROLE) && self.variables.contains_key(TOKEN_FILE)
    }

    /// A variable that is set. SDKs take an empty one as none.
    fn set(&self, name: &str) -> Option<&Given> {
        self.variables.get(name).filter(|given| !matches!(given, Given::Text(text) if text.is_empty()))
    }

    /// The variables of these that are set, in words.
    fn named(&self, names: &[&str]) -> Option<String> {
        let all = names.iter().filter_map(|name| Some(format!("`{name}`{}", origin(self.set(name)?))));
        Some(all.collect::<Vec<_>>().join(" and ")).filter(|all| !all.is_empty())
    }
}

/// ` (from Secret `x`)`
fn origin(given: &Given) -> String {
    match given {
        Given::Text(_) => String::new(),
        Given::From(object) => format!(" (from {object})"),
    }
}

fn finding(certainty: Certainty, reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { certainty, reason: reason.into(), remedy: Remedy::Words(remedy.into()) }
}

fn keys(container: &Container) -> Vec<Finding> {
    let delete = "delete these variables where they are set: on the service, its environment or its project, or in its chart; then deploy the service. Keys that the job needs are secrets of the job itself";
    let named = |(id, secret): (&str, &str)| container.named(&[id, secret]);
    if container.set(KEY.0).is_some() {
        let has = named(KEY).unwrap_or_default();
        return vec![finding(Certainty::Certain, format!("has {has}: AWS SDKs take keys before the role"), delete)];
    }
    let half = container.named(&[KEY.1]).map(|has| format!("has {has} without `{}`: half of a key", KEY.0));
    let old = container.set(OLD_KEY.0).and(container.set(OLD_KEY.1)).and(named(OLD_KEY));
    let old = old.map(|has| format!("has {has}: the AWS SDKs for Go and Java 1.x take these before the role"));
    half.into_iter().chain(old).map(|reason| finding(Certainty::Possible, reason, delete)).collect()
}

/// The SDKs for Go, JavaScript and Rust, for instance, take a named profile before a web identity; botocore one that assumes a role.
fn profiles(container: &Container) -> Option<Finding> {
    let has = container.named(&PROFILES)?;
    Some(finding(
        Certainty::Possible,
        format!("has {has}: some AWS SDKs take what a profile says before the role"),
        "remove it, unless its profile is meant to be used",
    ))
}

fn without(container: &Container, others: bool, wanted: &Wanted<'_>) -> Finding {
    let unless_main = if container.is_main { Certainty::Certain } else { Certainty::Possible };
    if container.is_skipped {
        return finding(
            unless_main,
            "has no role: the pod annotation `eks.amazonaws.com/skip-containers` names it",
            "if it needs the role, take it out of that annotation of the pod template, and deploy it",
        );
    }
    if container.named(&CONTAINER_CREDENTIALS).is_some() {
        return if wanted.associated == Some(false) {
            let reason = "has the variables of EKS Pod Identity, and no association is there any more";
            Finding { certainty: Certainty::Certain, reason: reason.to_owned(), remedy: Remedy::Restart }
        } else {
            finding(
                Certainty::Possible,
                "has the variables of EKS Pod Identity: its role is that of an association, not the annotation's",
                "keep one of the two: delete the association, or remove the annotation; then restart the pod",
            )
        };
    }
    if others {
        return finding(
            unless_main,
            "has no role though another container of its pod has one: it was added to the pod after the webhook of EKS had seen it",
            "if it needs the role, name it in the pod template itself",
        );
    }
    let reason = "runs without the role: its pod is older than the annotation of the ServiceAccount";
    Finding { certainty: Certainty::Certain, reason: reason.to_owned(), remedy: Remedy::Restart }
}

/// The webhook sets neither variable in a container that has one of them.
fn half(has: &str, given: &Given, lacks: &str) -> Finding {
    finding(
        Certainty::Certain,
        format!("has its own `{has}`{} and no `{lacks}`: EKS sets neither beside it, and AWS SDKs need both", origin(given)),
        format!(
            "delete `{has}` where it is set: on the service, its environment or its project, or in its chart; then deploy the service: EKS sets both"
        ),
    )
}

fn other_role(role: &Given, wanted: &Wanted<'_>) -> Option<Finding> {
    match role {
        Given::Text(role) if *role == wanted.role.to_string() => None,
        Given::Text(role) => Some(Finding {
            certainty: Certainty::Certain,
            reason: format!("asks for role `{role}`: the annotation named it when the pod was made, or `{ROLE}` is set by hand"),
            remedy: Remedy::Restart,
        }),
        Given::From(object) => Some(finding(
            Certainty::Possible,
            format!("has its own `{ROLE}` from {object}, whose value is not visible from here"),
            format!("delete `{ROLE}` and `{TOKEN_FILE}` where they are set, and deploy the service: EKS sets both"),
        )),
    }
}

/// Whether the token file is one that the kubelet writes, for the audience that is wanted.
fn no_token(container: &Container, file: &Given, volumes: &BTreeMap<String, Volume>, wanted: &Wanted<'_>) -> Option<Finding> {
    let own = format!("delete `{ROLE}` and `{TOKEN_FILE}` where they are set, and deploy the service: EKS sets both, and mounts the token");
    let file = match file {
        Given::Text(file) => file,
        Given::From(object) => {
            let reason = format!("has its own `{TOKEN_FILE}` from {object}, whose value is not visible from here");
            return Some(finding(Certainty::Possible, reason, own));
        }
    };
    // The innermost mount has the file.
    let plain = unix(file);
    let inside = |mount: &Mount| {
        let rest = below(&plain, &unix(&mount.path))?.to_owned();
        Some((mount.path.len(), mount.volume.clone(), joined(&mount.sub_path, &rest)))
    };
    let Some((_, volume, path)) = container.mounts.iter().filter_map(inside).max() else {
        return Some(finding(Certainty::Certain, format!("has no volume at its `{TOKEN_FILE}`, `{file}`"), own));
    };
    let tokens = match volumes.get(&volume) {
        Some(Volume::Projected(tokens)) => tokens,
        Some(Volume::Other) => {
            let reason = format!("takes its token from volume `{volume}`, whose files are not visible from here");
            return Some(finding(Certainty::Possible, reason, own));
        }
        None => {
            return Some(finding(Certainty::Certain, format!("mounts volume `{volume}` at `{file}`, which its pod does not have"), own));
        }
    };
    let Some(token) = tokens.iter().find(|token| token.path.trim_matches('/') == path) else {
        let reason = format!("has no token at `{file}`: volume `{volume}` projects none there");
        return Some(finding(Certainty::Certain, reason, own));
    };
    (token.audience.as_deref() != Some(wanted.audience.as_str())).then(|| Finding {
        certainty: Certainty::Certain,
        reason: format!(
            "has a token for {}, and the ServiceAccount's audience is `{}`: a pod keeps what it was made with",
            token.audience.as_ref().map_or_else(|| "the API server".to_owned(), |audience| format!("`{audience}`")),
            wanted.audience
        ),
        remedy: Remedy::Restart,
    })
}

/// A path without what Windows has of its own: `C:\var\run` is `/var/run`.
fn unix(path: &str) -> String {
    let path = path.replace('\\', "/");
    match path.as_bytes() {
        [drive, b':', b'/', ..] if drive.is_ascii_alphabetic() => path.get(2..).unwrap_or_default().to_owned(),
        _ => path,
    }
}

/// What of a path is below another; nothing if it is elsewhere.
fn below<'a>(file: &'a str, directory: &str) -> Option<&'a str> {
    let rest = file.strip_prefix(directory.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/'))
}

fn joined(sub_path: &str, rest: &str) -> String {
    [sub_path.trim_matches('/'), rest].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// Sources whose keys may become a static key. A variable of `env` outweighs one of the same name from `envFrom`.
/// <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>
fn hidden(container: &Container, wanted: &Wanted<'_>) -> Vec<Finding> {
    let may_set = |source: &&Source| KEY.0.starts_with(&source.prefix) && !container.variables.contains_key(KEY.0);
    let found = container.sources.iter().filter(may_set).map(|source| {
        let kind = match source.kind {
            SourceKind::Secret => "secret",
            SourceKind::ConfigMap => "configmap",
        };
        let key = KEY.0.strip_prefix(&source.prefix).unwrap_or(KEY.0);
        finding(
            Certainty::Possible,
            format!("takes all keys of {source} as variables: whether `{key}` is one of them is not visible from here"),
            format!(
                "see its keys by `kubectl -n {} describe {kind} {}`: with that key the role is not used",
                wanted.namespace, source.name
            ),
        )
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";

    fn text(value: &str) -> Given {
        Given::Text(value.to_owned())
    }

    fn from(name: &str) -> Given {
        Given::From(format!("Secret `{name}`"))
    }

    /// A container as the webhook of EKS leaves it.
    fn injected() -> Container {
        Container {
            name: "api".to_owned(),
            is_main: true,
            variables: [(ROLE.to_owned(), text("arn:aws:iam::123456789012:role/app")), (TOKEN_FILE.to_owned(), text(FILE))].into(),
            mounts: vec![mount("aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount")],
            ..Container::default()
        }
    }

    fn mount(volume: &str, path: &str) -> Mount {
        Mount { volume: volume.to_owned(), path: path.to_owned(), sub_path: String::new() }
    }

    fn with(variables: &[(&str, Given)]) -> Container {
        let mut container = injected();
        container.variables.extend(variables.iter().map(|(name, given)| ((*name).to_owned(), given.clone())));
        container
    }

    fn only(variables: &[(&str, Given)]) -> Container {
        Container { variables: variables.iter().map(|(name, given)| ((*name).to_owned(), given.clone())).collect(), ..injected() }
    }

    fn token(audience: Option<&str>) -> BTreeMap<String, Volume> {
        let token = ProjectedToken { path: "token".to_owned(), audience: audience.map(str::to_owned) };
        [("aws-iam-token".to_owned(), Volume::Projected(vec![token])), ("files".to_owned(), Volume::Other)].into()
    }

    fn judged(container: &Container, volumes: &BTreeMap<String, Volume>, others: bool, associated: Option<bool>) -> String {
        let (role, audience) = ("arn:aws:iam::123456789012:role/app".parse().unwrap(), Audience::default());
        let namespace = "z1".parse().unwrap();
        let wanted = Wanted { role: &role, audience: &audience, namespace: &namespace, associated };
        let findings = judge(container, volumes, others, &wanted);
        let line = |finding: &Finding| {
            assert!(!matches!(&finding.remedy, Remedy::Words(words) if words.is_empty()));
            format!("{:?}: {}", finding.certainty, finding.reason)
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn said(container: &Container) -> String {
        judged(container, &token(Some("sts.amazonaws.com")), false, None)
    }

    #[test]
    fn a_container_as_eks_leaves_it_has_the_role() {
        assert_eq!(said(&injected()), "");
        assert_eq!(said(&with(&[("AWS_REGION", text("eu-west-3")), ("AWS_STS_REGIONAL_ENDPOINTS", text("regional"))])), "");
        // With both, SDKs take the web identity first.
        assert_eq!(said(&with(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", text("http://169.254.170.23/v1/credentials"))])), "");
    }

    #[test]
    fn keys_win_however_they_are_given_and_an_empty_one_is_none() {
        let keys = |id: Given, secret: Given| with(&[(KEY.0, id), (KEY.1, secret)]);
        let win = "AWS SDKs take keys before the role";
        assert_eq!(said(&keys(text("AKIA"), text("x"))), format!("Certain: has `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`: {win}"));
        assert_eq!(
            said(&keys(from("web"), from("web"))),
            format!("Certain: has `AWS_ACCESS_KEY_ID` (from Secret `web`) and `AWS_SECRET_ACCESS_KEY` (from Secret `web`): {win}")
        );
        assert_eq!(said(&with(&[(KEY.0, from("web"))])), format!("Certain: has `AWS_ACCESS_KEY_ID` (from Secret `web`): {win}"));
        assert_eq!(said(&with(&[(KEY.1, text("x"))])), "Possible: has `AWS_SECRET_ACCESS_KEY` without `AWS_ACCESS_KEY_ID`: half of a key");
        assert_eq!(said(&keys(text(""), text(""))), "");
        assert_eq!(said(&with(&[("AWS_SESSION_TOKEN", text("x"))])), "");
        assert_eq!(
            said(&with(&[(OLD_KEY.0, text("x")), (OLD_KEY.1, text("y"))])),
            "Possible: has `AWS_ACCESS_KEY` and `AWS_SECRET_KEY`: the AWS SDKs for Go and Java 1.x take these before the role"
        );
    }

    #[test]
    fn a_profile_may_win() {
        for name in PROFILES {
            let said = said(&with(&[(name, from("web"))]));
            assert_eq!(said, format!("Possible: has `{name}` (from Secret `web`): some AWS SDKs take what a profile says before the role"));
        }
        assert_eq!(said(&with(&[("AWS_PROFILE", text(""))])), "");
    }

    #[test]
    fn one_variable_of_two_gives_no_role() {
        assert_eq!(
            said(&only(&[(ROLE, text("arn:aws:iam::123456789012:role/app"))])),
            "Certain: has its own `AWS_ROLE_ARN` and no `AWS_WEB_IDENTITY_TOKEN_FILE`: EKS sets neither beside it, and AWS SDKs need both"
        );
        assert!(said(&only(&[(ROLE, from("web"))])).contains("its own `AWS_ROLE_ARN` (from Secret `web`) and no"));
        assert!(said(&only(&[(TOKEN_FILE, text(FILE))])).contains("has its own `AWS_WEB_IDENTITY_TOKEN_FILE` and no `AWS_ROLE_ARN`"));
        // The webhook looks at names: an empty one keeps it away too.
        assert!(said(&only(&[(ROLE, text(""))])).starts_with("Certain: has its own `AWS_ROLE_ARN` and no"));
    }

    #[test]
    fn another_role_is_named_and_one_that_cannot_be_seen_is_said_to_be_so() {
        assert_eq!(
            said(&with(&[(ROLE, text("arn:aws:iam::123456789012:role/old"))])),
            "Certain: asks for role `arn:aws:iam::123456789012:role/old`: the annotation named it when the pod was made, or `AWS_ROLE_ARN` is set by hand"
        );
        assert_eq!(
            said(&with(&[(ROLE, from("web")), (TOKEN_FILE, from("web"))])),
            "Possible: has its own `AWS_ROLE_ARN` from Secret `web`, whose value is not visible from here\n\
             Possible: has its own `AWS_WEB_IDENTITY_TOKEN_FILE` from Secret `web`, whose value is not visible from here"
        );
    }

    #[test]
    fn a_container_without_variables_is_told_why() {
        let none = Container { variables: BTreeMap::new(), ..injected() };
        let sidecar = Container { is_main: false, ..none.clone() };
        let skipped = |container: &Container| Container { is_skipped: true, ..container.clone() };
        let volumes = token(Some("sts.amazonaws.com"));
        let older = "Certain: runs without the role: its pod is older than the annotation of the ServiceAccount";
        assert_eq!(said(&none), older);
        assert_eq!(said(&sidecar), older);
        assert!(judged(&none, &volumes, true, None).starts_with("Certain: has no role though another container of its pod has one"));
        assert!(judged(&sidecar, &volumes, true, None).starts_with("Possible: has no role though another container of its pod has one"));
        let annotation = "has no role: the pod annotation `eks.amazonaws.com/skip-containers` names it";
        assert_eq!(judged(&skipped(&none), &volumes, true, None), format!("Certain: {annotation}"));
        assert_eq!(judged(&skipped(&sidecar), &volumes, true, None), format!("Possible: {annotation}"));
        // What is skipped and has both by hand has its role.
        assert_eq!(said(&skipped(&injected())), "");
    }

    #[test]
    fn the_variables_of_pod_identity_are_told_apart_by_whether_there_is_an_association() {
        let container = only(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", text("http://169.254.170.23/v1/credentials"))]);
        for (associated, start) in [(None, "Possible"), (Some(true), "Possible"), (Some(false), "Certain")] {
            let said = judged(&container, &BTreeMap::new(), false, associated);
            assert!(said.starts_with(&format!("{start}: has the variables of EKS Pod Identity")), "{said}");
        }
    }

    #[test]
    fn a_windows_container_has_its_token_too() {
        let file = r"C:\var\run\secrets\eks.amazonaws.com\serviceaccount\token";
        for path in [r"C:\var\run\secrets\eks.amazonaws.com\serviceaccount", "/var/run/secrets/eks.amazonaws.com/serviceaccount"] {
            let container = Container { mounts: vec![mount("aws-iam-token", path)], ..with(&[(TOKEN_FILE, text(file))]) };
            assert_eq!(said(&container), "", "{path}");
        }
    }

    #[test]
    fn the_token_must_be_where_the_variable_says_and_for_the_audience() {
        let volumes = token(Some("sts.amazonaws.com"));
        let mounted = |mounts: Vec<Mount>| Container { mounts, ..injected() };
        for (mounts, expected) in [
            (vec![], format!("Certain: has no volume at its `AWS_WEB_IDENTITY_TOKEN_FILE`, `{FILE}`")),
            (vec![mount("aws-iam-token", "/elsewhere")], format!("Certain: has no volume at its `AWS_WEB_IDENTITY_TOKEN_FILE`, `{FILE}`")),
            (
                vec![mount("aws-iam-token", "/var/run/secrets/eks.amazonaws.com/service")],
                format!("Certain: has no volume at its `AWS_WEB_IDENTITY_TOKEN_FILE`, `{FILE}`"),
            ),
            (
                vec![mount("aws-iam-token", "/var/run/secrets")],
                format!("Certain: has no token at `{FILE}`: volume `aws-iam-token` projects none there"),
            ),
            (
                vec![mount("gone", "/var/run/secrets/eks.amazonaws.com/serviceaccount/")],
                format!("Certain: mounts volume `gone` at `{FILE}`, which its pod does not have"),
            ),
            (
                vec![mount("files", "/var/run")],
                "Possible: takes its token from volume `files`, whose files are not visible from here".to_owned(),
            ),
            (vec![mount("files", "/"), mount("aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount/")], String::new()),
            (vec![Mount { sub_path: "token".to_owned(), ..mount("aws-iam-token", FILE) }], String::new()),
        ] {
            assert_eq!(judged(&mounted(mounts.clone()), &volumes, false, None), expected, "{mounts:?}");
        }
        assert_eq!(
            judged(&injected(), &token(Some("vault")), false, None),
            "Certain: has a token for `vault`, and the ServiceAccount's audience is `sts.amazonaws.com`: a pod keeps what it was made with"
        );
        assert!(judged(&injected(), &token(None), false, None).starts_with("Certain: has a token for the API server, and"));
    }

    #[test]
    fn keys_of_objects_that_are_not_read_are_said_to_be_unknown_unless_their_prefix_or_another_variable_excludes_them() {
        let sourced = |kind: SourceKind, prefix: &str, variables: &[(&str, Given)]| Container {
            sources: vec![Source { kind, name: "web".to_owned(), prefix: prefix.to_owned() }],
            ..with(variables)
        };
        assert_eq!(
            said(&sourced(SourceKind::Secret, "", &[])),
            "Possible: takes all keys of Secret `web` as variables: whether `AWS_ACCESS_KEY_ID` is one of them is not visible from here"
        );
        assert_eq!(
            said(&sourced(SourceKind::ConfigMap, "AWS_", &[])),
            "Possible: takes all keys of ConfigMap `web` as variables: whether `ACCESS_KEY_ID` is one of them is not visible from here"
        );
        assert_eq!(said(&sourced(SourceKind::Secret, "APP_", &[])), "");
        assert_eq!(said(&sourced(SourceKind::Secret, "", &[(KEY.0, text(""))])), "");
        let with_key = said(&sourced(SourceKind::Secret, "", &[(KEY.0, text("AKIA"))]));
        assert!(with_key.starts_with("Certain: has `AWS_ACCESS_KEY_ID`") && !with_key.contains('\n'), "{with_key}");
    }
}
