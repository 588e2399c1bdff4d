//! The token of a container: whether the file that its variables name is one that the kubelet writes.

use std::collections::BTreeMap;

use super::nouns::{Certainty, Container, Finding, Given, Mount, Volume, finding, older, origin};
use crate::model::oidc::Audience;

/// The webhook sets neither variable in a container that has one of them.
pub(super) fn half(has: &str, given: &Given, lacks: &str) -> Finding {
    finding(
        Certainty::Certain,
        format!("has its own `{has}`{} and no `{lacks}`: EKS sets neither beside it, and AWS SDKs need both", origin(given)),
        format!(
            "delete `{has}` where it is set: on the service, its environment or its project, or in its chart; then deploy the service: EKS sets both"
        ),
    )
}

/// Whether the token file of these two variables is one that the kubelet writes, for the audience that is wanted.
pub(super) fn no_token(
    container: &Container,
    (other, variable): (&str, &str),
    file: &Given,
    volumes: &BTreeMap<String, Volume>,
    audience: &Audience,
) -> Option<Finding> {
    let own = format!("delete `{other}` and `{variable}` where they are set, and deploy the service: EKS sets both, and mounts the token");
    let file = match file {
        Given::Text(file) => file,
        Given::From(object) => {
            let reason = format!("has its own `{variable}` from {object}, whose value is not visible from here");
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
        return Some(finding(Certainty::Certain, format!("has no volume at its `{variable}`, `{file}`"), own));
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
    (token.audience.as_deref() != Some(audience.as_str())).then(|| {
        let has = token.audience.as_ref().map_or_else(|| "the API server".to_owned(), |audience| format!("`{audience}`"));
        older(format!("has a token for {has}, and the ServiceAccount's audience is `{audience}`: a pod keeps what it was made with"))
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
