//! The second step: see what is there. Reads only, in parallel, in two rounds.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::{
    call::{CallError, Failed, Patience},
    connect::Connection,
    model::{
        identity::{Identity, RoleSpec},
        names::{PolicyName, RoleName, ServiceAccountName, Subject},
        observed::{Observed, ObservedProvider, ObservedRole, ObservedServiceAccount},
        oidc::Provider,
    },
};

/// Sees the OIDC provider, and the role and the ServiceAccount of each identity.
///
/// # Errors
/// A service refuses or does not answer.
pub async fn observe(identities: &[Identity], connection: &Connection, patience: &Patience) -> Result<Observed, Failed> {
    let observer = Observer { connection, patience };
    let wanted = roles(identities, connection);
    let (roles, service_accounts) = tokio::try_join!(
        try_join_all(wanted.iter().map(|(name, wanted)| observer.role(name, *wanted))),
        try_join_all(identities.iter().map(|identity| observer.service_account(connection.place.subject(identity)))),
    )?;
    let roles: Vec<SeenRole<'_>> = roles.into_iter().flatten().collect();
    let account = match roles.first() {
        // The account of a role saves the call that asks for it.
        Some(seen) => seen.role.arn.account.clone(),
        None => observer.call("ask who the job is for AWS", "sts:GetCallerIdentity", async || connection.aws.account().await).await?,
    };
    let provider = Provider::of(&connection.place.issuer, &account);
    let (provider, roles) =
        tokio::try_join!(observer.provider(&provider), try_join_all(roles.into_iter().map(|seen| observer.documents(seen))))?;
    Ok(Observed {
        account,
        provider,
        roles: roles.into_iter().collect(),
        service_accounts: service_accounts.into_iter().flatten().collect(),
    })
}

/// The roles to look for; for those of this environment also which inline policies are wanted.
type Wanted<'a> = Option<&'a BTreeMap<PolicyName, serde_json::Value>>;

fn roles<'a>(identities: &'a [Identity], connection: &Connection) -> BTreeMap<RoleName, Wanted<'a>> {
    let wanted = |identity: &'a Identity| match &identity.role {
        RoleSpec::Environment(role) => Some(&role.inline_policies),
        RoleSpec::Given(_) => None,
    };
    identities.iter().map(|identity| (connection.place.role_name(identity), wanted(identity))).collect()
}

/// A role before the documents of its inline policies were read.
struct SeenRole<'a> {
    /// The name it was looked for by: IAM ignores case.
    name: RoleName,
    role: ObservedRole,
    wanted: Wanted<'a>,
}

struct Observer<'a> {
    connection: &'a Connection,
    patience: &'a Patience,
}

impl Observer<'_> {
    async fn call<T>(
        &self,
        doing: impl Into<String>,
        call: &'static str,
        attempt: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, Failed> {
        self.patience.call(attempt).await.map_err(Failed::to(doing, call))
    }

    async fn role<'a>(&self, name: &RoleName, wanted: Wanted<'a>) -> Result<Option<SeenRole<'a>>, Failed> {
        let aws = &self.connection.aws;
        let found = self.call(format!("read role `{name}`"), "iam:GetRole", async || aws.role(name).await);
        if wanted.is_none() {
            // Of a role given by ARN the permission policies are nobody's business here.
            return Ok(found.await?.map(|role| SeenRole { name: name.clone(), role, wanted }));
        }
        let (found, attached, inline) = tokio::try_join!(
            found,
            self.call(format!("list the policies attached to role `{name}`"), "iam:ListAttachedRolePolicies", async || {
                aws.attached_policies(name).await
            }),
            self.call(format!("list the inline policies of role `{name}`"), "iam:ListRolePolicies", async || aws
                .inline_policies(name)
                .await),
        )?;
        let inline_policies = inline.into_iter().map(|policy| (policy, None)).collect();
        Ok(found.map(|role| SeenRole { name: name.clone(), role: ObservedRole { attached, inline_policies, ..role }, wanted }))
    }

    /// Reads the documents of the inline policies that are wanted.
    async fn documents(&self, mut seen: SeenRole<'_>) -> Result<(RoleName, ObservedRole), Failed> {
        let (aws, name) = (&self.connection.aws, &seen.name);
        let wanted =
            seen.role.inline_policies.iter_mut().filter(|(policy, _)| seen.wanted.is_some_and(|wanted| wanted.contains_key(*policy)));
        try_join_all(wanted.map(async |(policy, document)| {
            let doing = format!("read inline policy `{policy}` of role `{name}`");
            *document = self.call(doing, "iam:GetRolePolicy", async || aws.inline_policy(name, policy).await).await?;
            Ok(())
        }))
        .await?;
        Ok((seen.name, seen.role))
    }

    async fn provider(&self, provider: &Provider) -> Result<Option<ObservedProvider>, Failed> {
        let doing = format!("read OIDC provider `{}`", provider.issuer.host_and_path());
        self.call(doing, "iam:GetOpenIDConnectProvider", async || self.connection.aws.provider(&provider.arn).await).await
    }

    async fn service_account(&self, subject: Subject) -> Result<Option<(ServiceAccountName, ObservedServiceAccount)>, Failed> {
        let doing = format!("read ServiceAccount `{subject}`");
        let found =
            self.call(doing, "kubernetes:get serviceaccounts", async || self.connection.kubernetes.service_account(&subject).await).await?;
        Ok(found.map(|found| (subject.service_account, found)))
    }
}
