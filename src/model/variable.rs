//! Variables of Qovery: as a manifest names them, and as they were seen.

use std::fmt;

use super::{names::name, qovery::QoveryId};

name!(
    /// The name of a variable that users may set: Qovery keeps those that begin with `QOVERY_` for itself.
    /// <https://www.qovery.com/docs/configuration/environment-variables>
    VariableName,
    "the name of a variable",
    "use letters, digits and `_`, not beginning with a digit, and no name that begins with `QOVERY_`",
    |text| {
        !text.starts_with(|first: char| first.is_ascii_digit())
            && (1..=255).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.to_ascii_uppercase().starts_with("QOVERY_")
    }
);

/// What AWS SDKs read before they look for a role.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
pub const AWS_KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
/// What EKS sets in a container, and does not if one of them is there.
/// <https://github.com/aws/amazon-eks-pod-identity-webhook>
pub const SET_BY_EKS: [&str; 2] = ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];

/// A variable as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedVariable {
    /// Its id.
    pub id: QoveryId,
    /// Its name.
    pub name: String,
    /// Its value; none of a secret.
    pub value: Option<String>,
    /// Where it is set.
    pub scope: VariableScope,
    /// Whether its value is hidden.
    pub is_secret: bool,
    /// Where Qovery mounts its value as a file, if it does.
    pub mount_path: Option<String>,
}

/// As messages name it: ``secret `X` of the project``.
impl fmt::Display for ObservedVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_secret { "secret" } else { "variable" };
        write!(f, "{kind} `{}`{}", self.name, self.scope)
    }
}

/// Where a variable is set. What is set further in covers what is set further out.
/// <https://www.qovery.com/docs/configuration/environment-variables>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VariableScope {
    /// By Qovery, for every service.
    BuiltIn,
    /// On the project: every service of every environment inherits it.
    Project,
    /// On the environment: every service of it inherits it.
    Environment,
    /// On the service whose variables were listed: it stays there.
    Service,
}

impl VariableScope {
    /// Reads Qovery's `scope`: each kind of service has one of its own.
    #[must_use]
    pub fn of(scope: &str) -> Self {
        match scope {
            "BUILT_IN" => Self::BuiltIn,
            "PROJECT" => Self::Project,
            "ENVIRONMENT" => Self::Environment,
            _ => Self::Service,
        }
    }

    /// Whether other services than the one that was asked for have it too.
    #[must_use]
    pub fn is_inherited(self) -> bool {
        self != Self::Service
    }
}

/// As it goes on after the variable's name.
impl fmt::Display for VariableScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BuiltIn => " of Qovery's own",
            Self::Project => " of the project",
            Self::Environment => " of the environment",
            Self::Service => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qoverys_own_variables_cannot_be_set() {
        for text in ["QOVERY_TOKEN", "qovery_token", "", "1A", "A-B", "A B"] {
            assert!(text.parse::<VariableName>().is_err(), "{text:?}");
        }
        assert!("IRSA_QOVERY_TOKEN".parse::<VariableName>().is_ok());
    }
}
