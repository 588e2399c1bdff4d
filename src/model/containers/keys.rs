//! Keys and profiles of a container: what AWS SDKs take before a role, however the pod gets that.

use super::nouns::{Certainty, Container, Finding, Source, SourceKind, Wanted, finding};

/// The pair that every SDK takes before a role.
pub(super) const KEY: (&str, &str) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
/// Older names of the pair, which the SDKs for Go and for Java 1.x still read.
/// <https://pkg.go.dev/github.com/aws/aws-sdk-go-v2/config#EnvConfig>
pub(super) const OLD_KEY: (&str, &str) = ("AWS_ACCESS_KEY", "AWS_SECRET_KEY");
/// What points an SDK to a profile or to the files that hold profiles.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html>
pub const PROFILES: [&str; 4] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"];

pub(super) fn keys(container: &Container) -> Vec<Finding> {
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
pub(super) fn profiles(container: &Container) -> Option<Finding> {
    let has = container.named(&PROFILES)?;
    Some(finding(
        Certainty::Possible,
        format!("has {has}: some AWS SDKs take what a profile says before the role"),
        "remove it, unless its profile is meant to be used",
    ))
}

/// Sources whose keys may become a static key. A variable of `env` outweighs one of the same name from `envFrom`.
/// <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>
pub(super) fn hidden(container: &Container, wanted: &Wanted<'_>) -> Vec<Finding> {
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
