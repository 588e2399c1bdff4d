//! Amazon Resource Names of the few kinds that the job speaks of.
//!
//! The partition (`aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, `aws-iso`, …) always comes from what AWS or the user said, never from a literal.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>

use std::{fmt, str::FromStr};

use super::names::{ClusterName, NameProblem, Region, RoleName, RolePath, name};

name!(
    /// A 12-digit AWS account id.
    AccountId,
    "an AWS account id",
    "use 12 digits",
    |text| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
);

name!(
    /// A partition, as `aws` or `aws-cn`.
    Partition,
    "an AWS partition",
    "use `aws`, or a name that begins with `aws-`",
    |text| {
        let part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        text == "aws" || (text.starts_with("aws-") && (5..=32).contains(&text.len()) && text.bytes().all(part))
    }
);

name!(
    /// What a role's trust policy asks of whoever assumes it: the condition `sts:ExternalId`. It is no secret.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html>
    ExternalId,
    "an external ID",
    "use 2 to 1,224 letters, digits and `_+=,.@:/-`",
    |text| (2..=1224).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte))
);

/// One AWS account: where roles, policies and providers live.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The partition the account belongs to.
    pub partition: Partition,
    /// Its id.
    pub id: AccountId,
}

impl Account {
    /// The account of any ARN that carries one: that of the caller, say.
    ///
    /// # Errors
    /// The text is no ARN, or one without an account.
    pub fn of_arn(text: &str) -> Result<Self, NameProblem> {
        let problem = || NameProblem::new(text, "an ARN with an account", "use `arn:partition:service:region:account:resource`");
        let mut parts = text.splitn(6, ':');
        let (Some("arn"), Some(partition), Some(_), Some(_), Some(id), Some(_)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(problem());
        };
        Ok(Self { partition: partition.parse().map_err(|_| problem())?, id: id.parse().map_err(|_| problem())? })
    }

    /// The ARN of a role of this account.
    #[must_use]
    pub fn role_arn(&self, path: &RolePath, name: &RoleName) -> RoleArn {
        RoleArn { account: self.clone(), path: path.clone(), name: name.clone() }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// The ARN of a role: `arn:aws:iam::123456789012:role/path/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleArn {
    /// The account of the role.
    pub account: Account,
    /// Its path, `/` if it has none.
    pub path: RolePath,
    /// Its name.
    pub name: RoleName,
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:iam::{}:role{}{}", self.account.partition, self.account.id, self.path, self.name)
    }
}

impl FromStr for RoleArn {
    type Err = NameProblem;

    fn from_str(text: &str) -> Result<Self, NameProblem> {
        let problem = || NameProblem::new(text, "the ARN of a role", "use `arn:aws:iam::123456789012:role/name`");
        let (account, path, name) = iam_resource(text, "role").ok_or_else(problem)?;
        Ok(Self { account, path, name: name.parse().map_err(|_| problem())? })
    }
}

/// The ARN of a managed policy: AWS's own (`arn:aws:iam::aws:policy/ReadOnlyAccess`) or an account's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyArn(String);

impl PolicyArn {
    /// The ARN of a policy of an account that stands at the top, by its name: that of a role and a few letters, so legal.
    #[must_use]
    pub fn of(account: &Account, name: &str) -> Self {
        Self(format!("arn:{}:iam::{}:policy/{name}", account.partition, account.id))
    }

    /// The id of its account, `aws` for AWS's own.
    #[must_use]
    pub fn account_id(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }

    /// The ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition it belongs to.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The policy's name: the part after the last `/`.
    #[must_use]
    pub fn policy_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for PolicyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PolicyArn {
    type Err = NameProblem;

    fn from_str(text: &str) -> Result<Self, NameProblem> {
        let problem = || {
            NameProblem::new(
                text,
                "the ARN of a managed policy",
                "use `arn:aws:iam::aws:policy/name` or `arn:aws:iam::123456789012:policy/name`",
            )
        };
        // AWS's own policies stand in the account `aws`.
        let in_an_account = text.replacen(":iam::aws:policy/", ":iam::000000000000:policy/", 1);
        let (_, _, name) = iam_resource(&in_an_account, "policy").ok_or_else(problem)?;
        name.parse::<super::names::PolicyName>().map_err(|_| problem())?;
        Ok(Self(text.to_owned()))
    }
}

/// The ARN of an EKS cluster: `arn:aws:eks:eu-west-3:123456789012:cluster/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterArn(String);

impl ClusterArn {
    /// The ARN of a cluster by its name.
    #[must_use]
    pub fn of(account: &Account, region: &Region, name: &ClusterName) -> Self {
        Self(format!("arn:{}:eks:{region}:{}:cluster/{name}", account.partition, account.id))
    }

    /// The ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the cluster's account.
    #[must_use]
    pub fn account_id(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }

    /// The cluster's region.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> Option<ClusterName> {
        self.0.split_once(":cluster/")?.1.parse().ok()
    }
}

impl FromStr for ClusterArn {
    type Err = NameProblem;

    fn from_str(text: &str) -> Result<Self, NameProblem> {
        let problem = || NameProblem::new(text, "the ARN of an EKS cluster", "use `arn:aws:eks:eu-west-3:123456789012:cluster/name`");
        Account::of_arn(text).map_err(|_| problem())?;
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [_, _, "eks", region, _, resource] = parts[..] else { return Err(problem()) };
        let name = resource.strip_prefix("cluster/").ok_or_else(problem)?;
        name.parse::<super::names::ClusterName>().map_err(|_| problem())?;
        if region.is_empty() { Err(problem()) } else { Ok(Self(text.to_owned())) }
    }
}

/// Splits `arn:<partition>:iam::<account>:<kind><path><name>`.
fn iam_resource<'a>(text: &'a str, kind: &str) -> Option<(Account, RolePath, &'a str)> {
    let account = Account::of_arn(text).ok()?;
    let mut parts = text.splitn(6, ':').skip(2);
    let (service, region, _, resource) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if service != "iam" || !region.is_empty() {
        return None;
    }
    let path_and_name = resource.strip_prefix(kind)?;
    let (path, name) = path_and_name.split_at(path_and_name.rfind('/')? + 1);
    Some((account, path.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_arn_reads_back_with_and_without_a_path() {
        for text in ["arn:aws:iam::123456789012:role/app", "arn:aws-cn:iam::123456789012:role/qovery/demo/z1/app"] {
            let arn: RoleArn = text.parse().unwrap();
            assert_eq!(arn.to_string(), text);
            assert_eq!(arn.name.as_str(), "app");
        }
    }

    #[test]
    fn the_arn_of_a_cluster_names_its_account() {
        let cluster: ClusterArn = "arn:aws:eks:eu-west-3:123456789012:cluster/demo".parse().unwrap();
        assert_eq!((cluster.account_id(), cluster.region()), ("123456789012", "eu-west-3"));
        assert_eq!(cluster.name(), "demo".parse().ok());
        for text in [
            "demo",
            "arn:aws:eks::123456789012:cluster/demo",
            "arn:aws:eks:eu-west-3:123456789012:cluster/",
            "arn:aws:eks:eu-west-3:123456789012:cluster/*",
            "arn:aws:iam::123456789012:role/demo",
        ] {
            assert!(text.parse::<ClusterArn>().is_err(), "{text}");
        }
    }

    /// Which partitions there are is AWS's to say: one that is made tomorrow is none to refuse.
    #[test]
    fn every_partition_has_roles_policies_and_providers() {
        for partition in ["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-moon-2"] {
            let role: RoleArn = format!("arn:{partition}:iam::123456789012:role/qovery/app").parse().unwrap();
            assert_eq!(role.account.role_arn(&role.path, &role.name).to_string(), role.to_string());
            assert!(format!("arn:{partition}:iam::aws:policy/ReadOnlyAccess").parse::<PolicyArn>().is_ok(), "{partition}");
        }
        for partition in ["", "aws-", "azure", "AWS", "aws_cn", "aws-cn*"] {
            assert!(format!("arn:{partition}:iam::123456789012:role/app").parse::<RoleArn>().is_err(), "{partition}");
        }
    }

    #[test]
    fn what_is_no_role_arn_is_refused() {
        for text in [
            "",
            "app",
            "arn:aws:iam::123456789012:policy/app",
            "arn:aws:iam::12345678901:role/app",
            "arn:aws:iam::aws:role/app",
            "arn:aws:s3:::bucket",
            "arn:aws:iam:eu-west-3:123456789012:role/app",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:roles/app",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:sts::123456789012:assumed-role/app/session",
        ] {
            assert!(text.parse::<RoleArn>().is_err(), "{text}");
        }
    }

    /// The length and the characters that STS takes: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
    #[test]
    fn an_external_id_is_one_that_sts_takes() {
        let longest = "x".repeat(1224);
        for text in ["12", "Acme+=,.@:/-_", longest.as_str()] {
            assert_eq!(text.parse::<ExternalId>().unwrap().as_str(), text);
        }
        for text in ["", "1", "a b", "a*", "a\n", "é2", "$2", &format!("{longest}x")] {
            assert!(text.parse::<ExternalId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn managed_policies_are_of_aws_or_of_an_account() {
        for text in [
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
            "arn:aws:iam::aws:policy/service-role/X",
            "arn:aws-us-gov:iam::123456789012:policy/a/b",
        ] {
            assert_eq!(text.parse::<PolicyArn>().unwrap().to_string(), text);
        }
        for text in ["AmazonS3ReadOnlyAccess", "arn:aws:iam::aws:role/x", "arn:aws:iam:::policy/x", "arn:aws:iam::aws:policy/"] {
            assert!(text.parse::<PolicyArn>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_account_of_a_caller_is_read_from_any_arn() {
        let account = Account::of_arn("arn:aws-cn:sts::123456789012:assumed-role/job/session").unwrap();
        assert_eq!((account.partition.as_str(), account.id.as_str()), ("aws-cn", "123456789012"));
        assert!(Account::of_arn("arn:aws:s3:::bucket").is_err());
    }
}
