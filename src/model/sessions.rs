//! The sessions that STS gave to tokens of ServiceAccounts: what is known by them of a role, without a read.

use std::{collections::BTreeMap, fmt};

use super::{arn::RoleArn, gather::Gather as _, names::ServiceAccountName};

/// An assumed role, as STS names it: `arn:aws:sts::123456789012:assumed-role/<name>/<session>`, without the role's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumedRole(String);

impl AssumedRole {
    /// What STS answered.
    #[must_use]
    pub fn read(arn: &str) -> Self {
        Self(arn.to_owned())
    }

    /// Whether it is a session of this role, by account and name.
    #[must_use]
    pub fn is_of(&self, role: &RoleArn) -> bool {
        let mut parts = self.0.rsplitn(3, '/').skip(1);
        let (name, before) = (parts.next(), parts.next());
        name == Some(role.name.as_str()) && before.is_some_and(|before| before.contains(&format!(":{}:", role.account.id)))
    }
}

impl fmt::Display for AssumedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which role each ServiceAccount was given by STS for its token. A ServiceAccount that is not listed has no session, or was not asked for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(BTreeMap<ServiceAccountName, AssumedRole>);

impl Sessions {
    /// Whether this ServiceAccount was given this role.
    #[must_use]
    pub fn show(&self, service_account: &ServiceAccountName, role: &RoleArn) -> bool {
        self.0.get(service_account).is_some_and(|assumed| assumed.is_of(role))
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0.into_iter().chain(others.0).gather())
    }

    /// Whether this ServiceAccount was given any role. Then the OIDC provider exists and accepts the audience of its token.
    #[must_use]
    pub fn has(&self, service_account: &ServiceAccountName) -> bool {
        self.0.contains_key(service_account)
    }
}

impl FromIterator<(ServiceAccountName, AssumedRole)> for Sessions {
    fn from_iter<I: IntoIterator<Item = (ServiceAccountName, AssumedRole)>>(sessions: I) -> Self {
        Self(sessions.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_of_a_role_if_account_and_name_are_its() {
        let role: RoleArn = "arn:aws:iam::123456789012:role/qovery/demo/app".parse().unwrap();
        for (session, is) in [
            ("arn:aws:sts::123456789012:assumed-role/app/session", true),
            ("arn:aws:sts::123456789012:assumed-role/other/session", false),
            ("arn:aws:sts::210987654321:assumed-role/app/session", false),
            ("arn:aws:sts::123456789012:assumed-role/app", false),
            ("", false),
        ] {
            assert_eq!(AssumedRole::read(session).is_of(&role), is, "{session}");
        }
    }

    #[test]
    fn a_session_of_another_role_shows_the_provider_and_not_the_role() {
        let role: RoleArn = "arn:aws:iam::123456789012:role/app".parse().unwrap();
        let name: ServiceAccountName = "app".parse().unwrap();
        let other = AssumedRole::read("arn:aws:sts::123456789012:assumed-role/other/session");
        let sessions: Sessions = [(name.clone(), other)].into_iter().collect();
        assert!(sessions.has(&name) && !sessions.show(&name, &role));
    }
}
