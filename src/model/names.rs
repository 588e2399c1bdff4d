//! Names as types: parsed once at the edge, legal ever after.
//!
//! Each type says its rule and where the rule comes from. ARNs are in `arn.rs`, issuers in `oidc.rs`.

use std::fmt;

use thiserror::Error;

/// A text that is not the name it is meant to be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{value}` is not {kind}: {rule}")]
pub struct NameProblem {
    /// The text.
    pub value: String,
    /// What it should have been, with its article: `a ServiceAccount name`.
    pub kind: &'static str,
    /// What to do, as a sentence that begins with `use`.
    pub rule: &'static str,
}

impl NameProblem {
    /// The problem of one value.
    #[must_use]
    pub fn new(value: &str, kind: &'static str, rule: &'static str) -> Self {
        Self { value: value.to_owned(), kind, rule }
    }
}

/// Declares a name: a string that satisfies `$legal`.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $legal:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::model::names::NameProblem;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let legal: fn(&str) -> bool = $legal;
                if legal(text) { Ok(Self(text.to_owned())) } else { Err($crate::model::names::NameProblem::new(text, $kind, $rule)) }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use name;

name!(
    /// A Kubernetes namespace: a DNS-1123 label of at most 63 characters.
    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
    Namespace,
    "a namespace",
    "use at most 63 lower-case letters, digits and `-`",
    |text| text.len() <= 63 && is_dns_label(text)
);

name!(
    /// A pattern of namespaces: `*` is any text, `?` any one character. It begins with a letter or digit, so that it names a
    /// family of namespaces and not all of them.
    NamespacePattern,
    "a pattern of namespaces",
    "begin with the lower-case letter or digit that all of them begin with, as `z*`, then lower-case letters, digits, `-`, `*` and `?`, 63 characters at most",
    |text| {
        text.len() <= 63
            && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-*?".contains(&byte))
    }
);

name!(
    /// The name of a ServiceAccount: a DNS-1123 subdomain of at most 253 characters.
    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
    ServiceAccountName,
    "a ServiceAccount name",
    "use lower-case letters, digits, `-` and `.`, 253 characters at most",
    |text| text.len() <= 253 && text.split('.').all(is_dns_label)
);

name!(
    /// The name of an IAM role: at most 64 of `[A-Za-z0-9_+=,.@-]`, unique in the account ignoring case.
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
    RoleName,
    "a role name",
    "use at most 64 letters, digits and `_+=,.@-`",
    |text| is_iam_name(text, 64)
);

name!(
    /// The name of an inline policy: at most 128 of `[A-Za-z0-9_+=,.@-]`.
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html>
    PolicyName,
    "a policy name",
    "use at most 128 letters, digits and `_+=,.@-`",
    |text| is_iam_name(text, 128)
);

name!(
    /// The path of an IAM role: begins and ends with `/`, at most 512 printable ASCII characters.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
    RolePath,
    "a role path",
    "begin and end it with `/`, with printable ASCII characters between, 512 at most",
    |text| text.len() <= 512 && text.starts_with('/') && text.ends_with('/') && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
);

name!(
    /// The name of an EKS cluster: at most 100 letters, digits, `-` and `_`.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html>
    ClusterName,
    "an EKS cluster name",
    "use at most 100 letters, digits, `-` and `_`, beginning with a letter or digit",
    |text| {
        text.len() <= 100
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    }
);

name!(
    /// The name of an AWS region, as `eu-west-3`.
    Region,
    "an AWS region",
    "use a name like `eu-west-3`",
    |text| (3..=32).contains(&text.len()) && is_dns_label(text) && text.contains('-')
);

name!(
    /// The key of a tag on a role: at most 128 letters, digits, spaces and `_.:/=+-@`.
    /// Keys that differ only by case are one key for IAM.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html>
    TagKey,
    "a tag key",
    "use at most 128 letters, digits, spaces and `_.:/=+-@`, and none that begins with `aws:` or `qovery-irsa/`",
    |text| {
        let lower = text.to_lowercase();
        (1..=128).contains(&text.chars().count()) && text.chars().all(is_tag_character) && !lower.starts_with("aws:") && !lower.starts_with("qovery-irsa/")
    }
);

name!(
    /// The value of a tag on a role: at most 256 letters, digits, spaces and `_.:/=+-@`, or nothing.
    TagValue,
    "a tag value",
    "use at most 256 letters, digits, spaces and `_.:/=+-@`",
    |text| text.chars().count() <= 256 && text.chars().all(is_tag_character)
);

name!(
    /// The key of a label or an annotation: an optional DNS-1123 prefix and `/`, then at most 63 letters, digits, `-`, `_`, `.`.
    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
    MetadataKey,
    "a label or annotation key",
    "use `name` or `prefix/name`: at most 63 letters, digits, `-`, `_` and `.` after a DNS prefix",
    |text| {
        let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
        prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_dns_label)) && is_qualified_name(name)
    }
);

name!(
    /// The value of a label: at most 63 letters, digits, `-`, `_`, `.`, or nothing.
    LabelValue,
    "a label value",
    "use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
    |text| text.is_empty() || is_qualified_name(text)
);

impl RolePath {
    /// `/`, where roles without a path are.
    #[must_use]
    pub fn top() -> Self {
        Self("/".to_owned())
    }
}

impl RoleName {
    /// A name made by the tool itself, legal by construction.
    pub(super) fn trusted(name: String) -> Self {
        debug_assert!(is_iam_name(&name, 64), "{name}");
        Self(name)
    }
}

/// Who a token speaks for: `system:serviceaccount:<namespace>:<name>`, the `sub` claim of the ServiceAccount's tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The namespace of the ServiceAccount.
    pub namespace: Namespace,
    /// Its name.
    pub service_account: ServiceAccountName,
}

impl Subject {
    const PREFIX: &'static str = "system:serviceaccount:";

    /// The claim as it stands in tokens and trust policies.
    #[must_use]
    pub fn claim(&self) -> String {
        format!("{}{}:{}", Self::PREFIX, self.namespace, self.service_account)
    }

    /// Reads a claim; a pattern or another kind of subject is none.
    #[must_use]
    pub fn from_claim(text: &str) -> Option<Self> {
        let (namespace, name) = text.strip_prefix(Self::PREFIX)?.split_once(':')?;
        Some(Self { namespace: namespace.parse().ok()?, service_account: name.parse().ok()? })
    }
}

/// As people write it: `<namespace>/<name>`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service_account)
    }
}

impl std::str::FromStr for Subject {
    type Err = NameProblem;

    fn from_str(text: &str) -> Result<Self, NameProblem> {
        let problem = || NameProblem::new(text, "a subject", "use `namespace/service-account`, as `kube-system/keda-operator`");
        let (namespace, name) = text.split_once('/').ok_or_else(problem)?;
        Ok(Self { namespace: namespace.parse().map_err(|_| problem())?, service_account: name.parse().map_err(|_| problem())? })
    }
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_iam_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

fn is_qualified_name(text: &str) -> bool {
    let edge = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The characters IAM takes in tags: `[\p{L}\p{Z}\p{N}_.:/=+\-@]`.
fn is_tag_character(character: char) -> bool {
    character.is_alphanumeric() || character == ' ' || "_.:/=+-@".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_a_pattern_or_a_second_subject_is_none() {
        for text in ["*", "z*", "a?", "a:b", "a\"b", "a\nb", "a b", "", "-a", "a-", "A", "а" /* Cyrillic */, "a/b", "a,b", "ａ"] {
            assert!(text.parse::<Namespace>().is_err(), "{text:?} as a namespace");
            assert!(text.parse::<ServiceAccountName>().is_err(), "{text:?} as a ServiceAccount");
        }
    }

    #[test]
    fn a_pattern_that_could_match_every_namespace_is_none() {
        for text in ["*", "?*", "*z", "", "-*", "Z*", "z/*", "z:*", "z *"] {
            assert!(text.parse::<NamespacePattern>().is_err(), "{text:?}");
        }
        for text in ["z*", "z1a2-*", "z?", "prod"] {
            assert!(text.parse::<NamespacePattern>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn names_of_legal_form_are_taken() {
        assert!("z1a2b3c4-prod".parse::<Namespace>().is_ok());
        assert!("my.s3-role".parse::<ServiceAccountName>().is_ok());
        assert!("a".repeat(63).parse::<Namespace>().is_ok());
        assert!("a".repeat(64).parse::<Namespace>().is_err());
        assert!("a".repeat(64).parse::<RoleName>().is_ok());
        assert!("a".repeat(65).parse::<RoleName>().is_err());
        assert!("/qovery/".parse::<RolePath>().is_ok());
        assert!("/".parse::<RolePath>().is_ok());
        assert!("qovery/".parse::<RolePath>().is_err());
        assert!("team".parse::<TagKey>().is_ok());
        assert!("AWS:x".parse::<TagKey>().is_err());
        assert!("qovery-irsa/owner".parse::<TagKey>().is_err());
        assert!("example.com/team".parse::<MetadataKey>().is_ok());
        assert!("bad key!".parse::<MetadataKey>().is_err());
    }

    #[test]
    fn a_problem_names_the_value_the_kind_and_the_rule() {
        let problem = "Payments_API".parse::<ServiceAccountName>().unwrap_err();
        assert_eq!(
            problem.to_string(),
            "`Payments_API` is not a ServiceAccount name: use lower-case letters, digits, `-` and `.`, 253 characters at most"
        );
    }

    #[test]
    fn a_subject_reads_back_from_its_claim_and_a_pattern_does_not() {
        let subject: Subject = "kube-system/keda-operator".parse().unwrap();
        assert_eq!(subject.claim(), "system:serviceaccount:kube-system:keda-operator");
        assert_eq!(Subject::from_claim(&subject.claim()), Some(subject));
        for text in ["system:serviceaccount:z*:app", "system:serviceaccount:a", "system:node:a:b", "system:serviceaccount:a:b:c"] {
            assert_eq!(Subject::from_claim(text), None, "{text}");
        }
    }
}
