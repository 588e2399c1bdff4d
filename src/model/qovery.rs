//! How Qovery names things, and how its API is reached.

use super::{names::name, secret::Secret};

name!(
    /// The id of an environment, service or stage of Qovery: a UUID.
    /// <https://api-doc.qovery.com>
    QoveryId,
    "an id of Qovery",
    "use the id as the console and its URLs show it, as `1a2b3c4d-0000-4000-8000-000000000000`",
    |text| {
        text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| if [8, 13, 18, 23].contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
    }
);

name!(
    /// The name of a job or a deployment stage. Qovery ignores its case.
    QoveryName,
    "a name for Qovery",
    "use 1 to 255 characters, none of them a control character, and no space at the ends",
    |text| (1..=255).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(char::is_control)
);

name!(
    /// Where Qovery's API is: `https://` with host and perhaps a path, never with credentials, since messages show it. Without TLS only
    /// on `127.0.0.1`, where the token stays on the machine.
    ApiUrl,
    "the URL of an API",
    "use `https://` with a host, as `https://api.qovery.com`",
    |text| {
        let local = text.strip_prefix("http://").filter(|rest| rest.split([':', '/']).next() == Some("127.0.0.1"));
        text.strip_prefix("https://").or(local).is_some_and(|rest| {
            !rest.is_empty()
                && !rest.starts_with(['/', ':'])
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte))
        })
    }
);

/// How Qovery's API is reached, and which environment is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QoveryAccess {
    /// Where it is.
    pub url: ApiUrl,
    /// With what the job shows who it is.
    pub token: Secret,
    /// The environment.
    pub environment: QoveryId,
}

/// How Qovery's API is reached, and which project is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectAccess {
    /// Where it is.
    pub url: ApiUrl,
    /// With what the administrator shows who they are.
    pub token: Secret,
    /// The project.
    pub project: QoveryId,
}
