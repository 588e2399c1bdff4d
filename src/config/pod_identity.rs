//! EKS Pod Identity as meant: what `podIdentity` says, and what in an identity does not go together with it.

use super::{
    manifest,
    policies::{self, Files},
    tags::{Tagged, tags, too_many},
    text::{pieces::name, problems::At, reader::Typed},
};
use crate::model::{
    anchor::POD_IDENTITY_KEYS,
    association::SessionTags,
    conditions::Conditions,
    identity::{PodIdentity, Scope, Target},
};

/// In characters of the document without white space, as it is sent.
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html>
const LARGEST_SESSION_POLICY: usize = 2048;

/// With what the condition keys of session tags begin, in lower case.
const REQUEST_TAG: &str = "aws:requesttag/";

/// What a key `podIdentity` says.
#[derive(Clone, Default)]
pub(super) enum Said {
    /// It is not there, or has a problem.
    #[default]
    Nothing,
    /// Pods show STS a token.
    Irsa,
    /// Pods have an association.
    PodIdentity(Box<PodIdentity>),
}

impl Said {
    /// This, or where it says nothing what holds by default.
    pub(super) fn or(self, default: &Self) -> Option<Box<PodIdentity>> {
        match (self, default) {
            (Self::PodIdentity(said), _) => Some(said),
            (Self::Nothing, Self::PodIdentity(default)) => Some(default.clone()),
            (Self::Nothing | Self::Irsa, _) => None,
        }
    }
}

/// What the key says.
pub(super) fn said(typed: Typed<manifest::PodIdentity>, files: &Files<'_>, at: &At<'_>) -> Said {
    let Some(typed) = typed.value() else { return Said::Nothing };
    let manifest::PodIdentity { switch, target_role_arn, target_role_external_id, disable_session_tags, session_policy, tags: typed_tags } =
        typed;
    match switch {
        Typed::Value(false) => return Said::Irsa,
        Typed::Wrong => return Said::Nothing,
        Typed::Value(true) | Typed::Absent => {}
    }
    if target_role_arn.is_absent() && !target_role_external_id.is_absent() {
        at.key("targetRoleExternalId").report("belongs to `targetRoleArn`, the role whose trust policy asks for it");
    }
    let role = name(target_role_arn, &at.key("targetRoleArn"));
    let external_id = name(target_role_external_id, &at.key("targetRoleExternalId"));
    let session_tags = if disable_session_tags.value() == Some(true) { SessionTags::Off } else { SessionTags::On };
    let session_policy = {
        let at = at.key("sessionPolicy");
        if session_tags == SessionTags::On && !session_policy.is_absent() {
            at.report("needs `disableSessionTags: true` beside it: EKS limits only sessions without tags");
        }
        let document = session_policy.value().and_then(|typed| policies::document(typed, files, &at));
        let size = document.as_ref().map_or(0, |document| document.to_string().chars().count());
        if size > LARGEST_SESSION_POLICY {
            at.report(format_args!("{size} characters without white space: EKS takes {LARGEST_SESSION_POLICY}"));
        }
        document
    };
    let tags = tags(typed_tags, Tagged::Association, &std::collections::BTreeMap::new(), &at.key("tags"));
    if let Some(problem) = too_many(&tags, Tagged::Association) {
        at.key("tags").report(problem);
    }
    let target = role.map(|role| Target { role, external_id });
    Said::PodIdentity(Box::new(PodIdentity { target, session_tags, session_policy, tags }))
}

/// Reports what a role says that does not go together with it.
pub(super) fn report_role(pods: &PodIdentity, scope: Option<&Scope>, conditions: &Conditions, at: &At<'_>) {
    let is_without_tags = pods.session_tags == SessionTags::Off;
    if is_without_tags && matches!(scope, Some(Scope::Cluster { .. })) {
        at.key("scope").report(
            "`cluster` asks for the namespace by a session tag, and with `disableSessionTags` sessions have none: the role would let in every namespace. Remove `disableSessionTags`",
        );
    }
    for (operator, key) in conditions.keys() {
        let at = at.key("conditions");
        let (at, lower) = (at.key(operator), key.to_lowercase());
        if POD_IDENTITY_KEYS.iter().any(|own| own.eq_ignore_ascii_case(key)) {
            at.key(key).report(
                "is written by the tool with `podIdentity`: whom the role trusts is the cluster, `serviceAccount`, and with scope `cluster` `namespaces`",
            );
        } else if is_without_tags && lower.starts_with(REQUEST_TAG) {
            at.key(key).report("asks for a session tag, and with `disableSessionTags` sessions have none: remove one of the two");
        }
    }
}
