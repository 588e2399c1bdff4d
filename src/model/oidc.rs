//! The cluster as an OpenID Connect issuer, and the audience its tokens are for.

use std::{fmt, str::FromStr};

use super::{
    arn::Account,
    names::{NameProblem, name},
};

/// The issuer of a cluster's ServiceAccount tokens: the `iss` claim and the URL of the IAM OIDC provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL without `https://`: the name of the provider and the prefix of its condition keys (`…:sub`, `…:aud`).
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif>
    #[must_use]
    pub fn host_and_path(&self) -> &str {
        &self.0["https://".len()..]
    }

    /// The last part of the path: the id of an EKS cluster's issuer.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IssuerUrl {
    type Err = NameProblem;

    fn from_str(text: &str) -> Result<Self, NameProblem> {
        let legal = text.strip_prefix("https://").is_some_and(|rest| {
            !rest.is_empty()
                && text.len() <= 255
                && !rest.starts_with(['/', ':'])
                && !rest.ends_with('/')
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte))
        });
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameProblem::new(
                text,
                "an OIDC issuer",
                "use its URL: `https://`, then host and path, without query, fragment or a `/` at the end",
            ))
        }
    }
}

/// The IAM OIDC provider of a cluster's issuer, in the account of the roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its ARN.
    pub arn: String,
    /// Its issuer.
    pub issuer: IssuerUrl,
}

impl Provider {
    /// The provider of an issuer in an account. Its ARN is computable, so providers are never listed.
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html>
    #[must_use]
    pub fn of(issuer: &IssuerUrl, account: &Account) -> Self {
        let arn = format!("arn:{}:iam::{}:oidc-provider/{}", account.partition, account.id, issuer.host_and_path());
        Self { arn, issuer: issuer.clone() }
    }

    /// The condition key of the `sub` claim.
    #[must_use]
    pub fn subject_key(&self) -> String {
        format!("{}:sub", self.issuer.host_and_path())
    }

    /// The condition key of the `aud` claim.
    #[must_use]
    pub fn audience_key(&self) -> String {
        format!("{}:aud", self.issuer.host_and_path())
    }
}

name!(
    /// What a token is for: the `aud` claim. IAM's API calls it a client id.
    Audience,
    "an audience",
    "use at most 255 letters, digits and `_.:/=+-@`",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:/=+-@".contains(&byte))
);

impl Audience {
    /// `pods.eks.amazonaws.com`, the audience of the tokens that pods show to EKS Pod Identity.
    /// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
    #[must_use]
    pub fn of_pod_identity() -> Self {
        Self("pods.eks.amazonaws.com".to_owned())
    }
}

impl Default for Audience {
    /// `sts.amazonaws.com`, the audience of the tokens that the pod identity webhook mounts.
    /// <https://github.com/aws/amazon-eks-pod-identity-webhook>
    fn default() -> Self {
        Self("sts.amazonaws.com".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_gives_its_condition_key_prefix_and_id() {
        let issuer: IssuerUrl = "https://oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLE".parse().unwrap();
        assert_eq!(issuer.host_and_path(), "oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLE");
        assert_eq!(issuer.id(), "EXAMPLE");
    }

    #[test]
    fn what_is_no_issuer_is_refused() {
        for text in [
            "",
            "https://",
            "http://a",
            "https:///x",
            "https://a/",
            "https://a?x",
            "https://a#x",
            "https://a b",
            "https://a\"",
            "oidc.eks/id/x",
        ] {
            assert!(text.parse::<IssuerUrl>().is_err(), "{text}");
        }
    }
}
