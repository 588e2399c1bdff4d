//! The calls to IAM, one method each. Missing is an answer; every other failure is a [`CallError`].

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::{
    error::{BuildError, ProvideErrorMetadata, SdkError},
    types::{SummaryKeyType, Tag},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::Value;

use super::{Aws, error};
use crate::{
    clients::call::CallError,
    model::{
        arn::{PolicyArn, RoleArn},
        document::percent_decoded,
        gather::Gather as _,
        names::{PolicyName, RoleName},
        observed::{MAKER_TAG, OWNER_TAG, ObservedProvider, ObservedRole},
        oidc::{Audience, Provider},
        role::{NewRole, RoleSettings},
        trust::TrustPolicy,
    },
};

/// The tag of an OIDC provider that the tool made.
const OWN_PROVIDER: (&str, &str) = (OWNER_TAG, "provider");

impl Aws {
    /// `GetOpenIDConnectProvider`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn provider(&self, arn: &str) -> Result<Option<ObservedProvider>, CallError> {
        let found = found(self.iam.get_open_id_connect_provider().open_id_connect_provider_arn(arn).send().await)?;
        Ok(found.map(|provider| ObservedProvider {
            audiences: provider.client_id_list().iter().cloned().gather(),
            is_own: provider.tags().iter().any(|tag| (tag.key(), tag.value()) == OWN_PROVIDER),
        }))
    }

    /// `CreateOpenIDConnectProvider`, without a thumbprint: IAM finds it. It is tagged as the tool's, and with who made it.
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn create_provider(&self, provider: &Provider, audiences: &BTreeSet<Audience>, maker: &str) -> Result<(), CallError> {
        let audiences = audiences.iter().map(|audience| audience.as_str().to_owned()).collect();
        let tag = |(key, value): (&str, &str)| Tag::builder().key(key).value(value).build().map_err(odd);
        let call = self.iam.create_open_id_connect_provider().url(provider.issuer.as_str()).set_client_id_list(Some(audiences));
        done(call.tags(tag(OWN_PROVIDER)?).tags(tag((MAKER_TAG, maker))?).send().await)
    }

    /// `DeleteOpenIDConnectProvider`; one that is gone is as good.
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn delete_provider(&self, provider: &Provider) -> Result<(), CallError> {
        found(self.iam.delete_open_id_connect_provider().open_id_connect_provider_arn(&provider.arn).send().await).map(drop)
    }

    /// `AddClientIDToOpenIDConnectProvider`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn add_audience(&self, provider: &Provider, audience: &Audience) -> Result<(), CallError> {
        let call =
            self.iam.add_client_id_to_open_id_connect_provider().open_id_connect_provider_arn(&provider.arn).client_id(audience.as_str());
        done(call.send().await)
    }

    /// `GetRole`: all but its permission policies, which are left empty.
    ///
    /// # Errors
    /// IAM refuses, does not answer, or answers in an unknown form.
    pub async fn role(&self, name: &RoleName) -> Result<Option<ObservedRole>, CallError> {
        let Some(role) = found(self.iam.get_role().role_name(name.as_str()).send().await)?.and_then(|output| output.role) else {
            return Ok(None);
        };
        let trust = decoded(role.assume_role_policy_document().unwrap_or_default())?;
        let boundary = role.permissions_boundary().and_then(|boundary| boundary.permissions_boundary_arn());
        Ok(Some(ObservedRole {
            arn: role.arn().parse().map_err(odd)?,
            settings: settings(&role),
            permissions_boundary: boundary.map(str::parse).transpose().map_err(odd)?,
            tags: role.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).gather(),
            trust: TrustPolicy::parse(&trust).map_err(odd)?,
            attached: BTreeSet::new(),
            inline_policies: BTreeMap::new(),
            instance_profiles: BTreeSet::new(),
        }))
    }

    /// `ListInstanceProfilesForRole`, all pages; none if the role is missing. A role in one cannot be deleted.
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn instance_profiles(&self, name: &RoleName) -> Result<BTreeSet<String>, CallError> {
        let mut pages = self.iam.list_instance_profiles_for_role().role_name(name.as_str()).into_paginator().send();
        let names = |page: aws_sdk_iam::operation::list_instance_profiles_for_role::ListInstanceProfilesForRoleOutput| {
            Ok(page.instance_profiles.into_iter().map(|profile| profile.instance_profile_name).collect())
        };
        all(async || pages.next().await, names).await
    }

    /// `GetAccountSummary`: how large a trust policy may be, in characters without white space, and how many managed policies a role may
    /// have.
    ///
    /// # Errors
    /// IAM refuses, does not answer, or does not say.
    pub async fn role_quotas(&self) -> Result<(usize, usize), CallError> {
        let summary = self.iam.get_account_summary().send().await.map_err(|error| error::of_sdk(&error))?;
        let quota = |key: SummaryKeyType| {
            let quota = summary.summary_map().and_then(|summary| summary.get(&key)).copied();
            quota.and_then(|quota| usize::try_from(quota).ok()).ok_or_else(|| odd(format!("no `{key}` in the account summary")))
        };
        Ok((quota(SummaryKeyType::AssumeRolePolicySizeQuota)?, quota(SummaryKeyType::AttachedPoliciesPerRoleQuota)?))
    }

    /// `ListRoles`: the names of the roles below a path, all pages.
    ///
    /// # Errors
    /// IAM refuses, does not answer, or answers in an unknown form.
    pub async fn roles_below(&self, path: &str) -> Result<Vec<RoleArn>, CallError> {
        let mut pages = self.iam.list_roles().path_prefix(path).into_paginator().send();
        all(async || pages.next().await, |page| page.roles.iter().map(|role| role.arn().parse().map_err(odd)).collect()).await
    }

    /// `CreateRole`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn create_role(&self, role: &NewRole) -> Result<(), CallError> {
        let call = self
            .iam
            .create_role()
            .role_name(role.arn.name.as_str())
            .path(role.arn.path.as_str())
            .assume_role_policy_document(role.trust.minified())
            .description(description(&role.settings))
            .max_session_duration(seconds(role.settings.max_session_duration))
            .set_permissions_boundary(role.permissions_boundary.as_ref().map(ToString::to_string))
            .set_tags(Some(sdk_tags(&role.tags)?));
        done(call.send().await)
    }

    /// `UpdateRole`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn update_role(&self, name: &RoleName, settings: &RoleSettings) -> Result<(), CallError> {
        let call = self
            .iam
            .update_role()
            .role_name(name.as_str())
            .description(description(settings))
            .max_session_duration(seconds(settings.max_session_duration));
        done(call.send().await)
    }

    /// `PutRolePermissionsBoundary`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn put_boundary(&self, name: &RoleName, boundary: &PolicyArn) -> Result<(), CallError> {
        done(self.iam.put_role_permissions_boundary().role_name(name.as_str()).permissions_boundary(boundary.as_str()).send().await)
    }

    /// `DeleteRolePermissionsBoundary`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn delete_boundary(&self, name: &RoleName) -> Result<(), CallError> {
        done(self.iam.delete_role_permissions_boundary().role_name(name.as_str()).send().await)
    }

    /// `TagRole`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn tag_role(&self, name: &RoleName, tags: &BTreeMap<String, String>) -> Result<(), CallError> {
        done(self.iam.tag_role().role_name(name.as_str()).set_tags(Some(sdk_tags(tags)?)).send().await)
    }

    /// `UntagRole`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn untag_role(&self, name: &RoleName, keys: &BTreeSet<String>) -> Result<(), CallError> {
        done(self.iam.untag_role().role_name(name.as_str()).set_tag_keys(Some(keys.iter().cloned().collect())).send().await)
    }

    /// `UpdateAssumeRolePolicy`: the whole document.
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn update_trust(&self, name: &RoleName, trust: &TrustPolicy) -> Result<(), CallError> {
        done(self.iam.update_assume_role_policy().role_name(name.as_str()).policy_document(trust.minified()).send().await)
    }

    /// `DeleteRole`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn delete_role(&self, name: &RoleName) -> Result<(), CallError> {
        done(self.iam.delete_role().role_name(name.as_str()).send().await)
    }

    /// `ListAttachedRolePolicies`, all pages; none if the role is missing.
    ///
    /// # Errors
    /// IAM refuses, does not answer, or answers in an unknown form.
    pub async fn attached_policies(&self, name: &RoleName) -> Result<BTreeSet<PolicyArn>, CallError> {
        let mut pages = self.iam.list_attached_role_policies().role_name(name.as_str()).into_paginator().send();
        all(
            async || pages.next().await,
            |page| page.attached_policies().iter().map(|policy| policy.policy_arn().unwrap_or_default().parse().map_err(odd)).collect(),
        )
        .await
    }

    /// `AttachRolePolicy`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn attach_policy(&self, name: &RoleName, policy: &PolicyArn) -> Result<(), CallError> {
        done(self.iam.attach_role_policy().role_name(name.as_str()).policy_arn(policy.as_str()).send().await)
    }

    /// `DetachRolePolicy`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn detach_policy(&self, name: &RoleName, policy: &PolicyArn) -> Result<(), CallError> {
        done(self.iam.detach_role_policy().role_name(name.as_str()).policy_arn(policy.as_str()).send().await)
    }

    /// `ListRolePolicies`, all pages; none if the role is missing.
    ///
    /// # Errors
    /// IAM refuses, does not answer, or answers in an unknown form.
    pub async fn inline_policies(&self, name: &RoleName) -> Result<BTreeSet<PolicyName>, CallError> {
        let mut pages = self.iam.list_role_policies().role_name(name.as_str()).into_paginator().send();
        all(async || pages.next().await, |page| page.policy_names.iter().map(|policy| policy.parse().map_err(odd)).collect()).await
    }

    /// `GetRolePolicy`
    ///
    /// # Errors
    /// IAM refuses, does not answer, or answers in an unknown form.
    pub async fn inline_policy(&self, name: &RoleName, policy: &PolicyName) -> Result<Option<Value>, CallError> {
        let found = found(self.iam.get_role_policy().role_name(name.as_str()).policy_name(policy.as_str()).send().await)?;
        found.map(|output| serde_json::from_str(&decoded(output.policy_document())?).map_err(odd)).transpose()
    }

    /// `PutRolePolicy`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn put_inline_policy(&self, name: &RoleName, policy: &PolicyName, document: &Value) -> Result<(), CallError> {
        let call = self.iam.put_role_policy().role_name(name.as_str()).policy_name(policy.as_str()).policy_document(document.to_string());
        done(call.send().await)
    }

    /// `DeleteRolePolicy`
    ///
    /// # Errors
    /// IAM refuses or does not answer.
    pub async fn delete_inline_policy(&self, name: &RoleName, policy: &PolicyName) -> Result<(), CallError> {
        done(self.iam.delete_role_policy().role_name(name.as_str()).policy_name(policy.as_str()).send().await)
    }

    /// `GetRole`, for whether it is there alone.
    ///
    /// # Errors
    /// The role is missing, or IAM refuses or does not answer.
    pub async fn role_exists(&self, name: &RoleName) -> Result<(), CallError> {
        done(self.iam.get_role().role_name(name.as_str()).send().await)
    }
}

/// A thing, or none if it is missing.
pub(super) fn found<T, E>(answer: Result<T, SdkError<E, HttpResponse>>) -> Result<Option<T>, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    SdkError<E, HttpResponse>: aws_sdk_iam::operation::RequestId,
{
    match answer.map_err(|error| error::of_sdk(&error)) {
        Ok(thing) => Ok(Some(thing)),
        Err(error) if error.kind.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// IAM answers with 100 a page if nothing is said: a list of more than 20,000 is taken for one that never ends.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html>
const MOST_PAGES: usize = 200;

/// What is kept of the pages of a list; nothing if what it is of is missing.
pub(super) async fn all<P, E, T, All>(
    mut next: impl AsyncFnMut() -> Option<Result<P, SdkError<E, HttpResponse>>>,
    kept: impl Fn(P) -> Result<Vec<T>, CallError>,
) -> Result<All, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    SdkError<E, HttpResponse>: aws_sdk_iam::operation::RequestId,
    All: FromIterator<T>,
{
    let mut all = Vec::new();
    for _ in 0..=MOST_PAGES {
        let Some(page) = next().await else { return Ok(all.into_iter().collect()) };
        let Some(page) = found(page)? else { return Ok(All::from_iter([])) };
        all.extend(kept(page)?);
    }
    Err(odd(format!("the list has more than {MOST_PAGES} pages")))
}

/// A change that was made.
pub(super) fn done<T, E>(answer: Result<T, SdkError<E, HttpResponse>>) -> Result<(), CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    SdkError<E, HttpResponse>: aws_sdk_iam::operation::RequestId,
{
    answer.map(drop).map_err(|error| error::of_sdk(&error))
}

pub(super) fn decoded(document: &str) -> Result<String, CallError> {
    percent_decoded(document).map_err(odd)
}

pub(super) fn sdk_tags(tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, CallError> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect::<Result<_, BuildError>>().map_err(odd)
}

/// What `GetRole` tells. Empty is as good as no description.
fn settings(role: &aws_sdk_iam::types::Role) -> RoleSettings {
    let description = role.description().filter(|text| !text.is_empty()).map(str::to_owned);
    let session = role.max_session_duration().and_then(|seconds| u32::try_from(seconds).ok());
    RoleSettings { description, max_session_duration: session.unwrap_or(RoleSettings::default().max_session_duration) }
}

/// Always said: left out, `UpdateRole` keeps what is there.
fn description(settings: &RoleSettings) -> &str {
    settings.description.as_deref().unwrap_or_default()
}

fn seconds(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

pub(super) fn odd(problem: impl std::fmt::Display) -> CallError {
    CallError::unreadable(problem.to_string())
}
