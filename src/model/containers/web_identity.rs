//! A container that gets its role by the annotation of its ServiceAccount.

use super::{
    nouns::{Beside, Certainty, Container, Finding, Given, Others, finding, older, unless_main},
    token::{half, no_token},
};
use crate::model::{arn::RoleArn, oidc::Audience};

pub(super) const ROLE: &str = "AWS_ROLE_ARN";
pub(super) const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
/// The two that EKS sets for the annotation.
pub const WEB_IDENTITY: (&str, &str) = (ROLE, TOKEN_FILE);
/// What EKS Pod Identity and ECS set.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
pub(super) const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
pub(super) const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";

/// | the container has | finding |
/// |---|---|
/// | no variable of EKS, and the pod names it as skipped | certain for the main container, else possible |
/// | none, but those of Pod Identity | possible; certain if there is no association |
/// | none, and another container of the pod has them | certain for the main container, else possible: it was added later |
/// | none | certain: the pod is older than the annotation |
/// | one of the two | certain: the webhook adds neither beside it |
/// | another role | certain |
/// | a role or file that is not given as text | possible |
/// | a token file that no volume holds, or for another audience | certain |
pub(super) fn judge(
    container: &Container,
    beside: &Beside<'_>,
    wanted: &RoleArn,
    audience: &Audience,
    associated: Option<bool>,
) -> Vec<Finding> {
    match (container.variables.get(ROLE), container.variables.get(TOKEN_FILE)) {
        (None, None) => vec![without(container, beside.others, associated)],
        (Some(role), None) => vec![half(ROLE, role, TOKEN_FILE)],
        (None, Some(file)) => vec![half(TOKEN_FILE, file, ROLE)],
        (Some(role), Some(file)) => {
            let no_token = no_token(container, WEB_IDENTITY, file, beside.volumes, audience);
            other_role(role, wanted).into_iter().chain(no_token).collect()
        }
    }
}

fn without(container: &Container, others: Others, associated: Option<bool>) -> Finding {
    if container.is_skipped {
        return finding(
            unless_main(container),
            "has no role: the pod annotation `eks.amazonaws.com/skip-containers` names it",
            "if it needs the role, take it out of that annotation of the pod template, and deploy it",
        );
    }
    if container.named(&[FULL_URI, RELATIVE_URI]).is_some() {
        return if associated == Some(false) {
            older("has the variables of EKS Pod Identity, and no association is there any more")
        } else {
            finding(
                Certainty::Possible,
                "has the variables of EKS Pod Identity: its role is that of an association, not the annotation's",
                "keep one of the two: delete the association, or remove the annotation; then restart the pod",
            )
        };
    }
    if others == Others::Injected {
        return finding(
            unless_main(container),
            "has no role though another container of its pod has one: it was added to the pod after the webhook of EKS had seen it",
            "if it needs the role, name it in the pod template itself",
        );
    }
    older("runs without the role: its pod is older than the annotation of the ServiceAccount")
}

pub(super) fn other_role(role: &Given, wanted: &RoleArn) -> Option<Finding> {
    match role {
        Given::Text(role) if *role == wanted.to_string() => None,
        Given::Text(role) => {
            Some(older(format!("asks for role `{role}`: the annotation named it when the pod was made, or `{ROLE}` is set by hand")))
        }
        Given::From(object) => Some(finding(
            Certainty::Possible,
            format!("has its own `{ROLE}` from {object}, whose value is not visible from here"),
            format!("delete `{ROLE}` and `{TOKEN_FILE}` where they are set, and deploy the service: EKS sets both"),
        )),
    }
}
