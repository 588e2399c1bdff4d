//! A container that gets its role by an association of EKS Pod Identity; or still has it by a web identity from before.

use super::{
    nouns::{Beside, Certainty, Container, Earlier, Finding, Given, Node, Others, Remedy, finding, older, unless_main},
    token::{half, no_token},
    web_identity::{self, FULL_URI, RELATIVE_URI, ROLE, TOKEN_FILE, WEB_IDENTITY},
};
use crate::model::oidc::Audience;

const AUTHORIZATION_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// The two that EKS sets for an association.
pub const POD_IDENTITY: (&str, &str) = (FULL_URI, AUTHORIZATION_FILE);
/// Where the agent listens.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
const AGENT: [&str; 2] = ["http://169.254.170.23/", "http://[fd00:ec2::23]/"];

/// | the container has | finding |
/// |---|---|
/// | a web identity, and the role still takes it | none |
/// | a web identity that the role refuses, or of another role | certain |
/// | a web identity, and what becomes of it cannot be known | possible |
/// | the same beside the variables of the association | as above: SDKs take it first |
/// | anything, on Fargate or on Windows | certain; possible as long as a web identity works |
/// | the variables, and an address of ECS | certain: SDKs take that before |
/// | the variables with another address than the agent's | certain |
/// | one of the two | certain: the webhook adds neither beside it |
/// | a token file that no volume holds, or for another audience | certain |
/// | none, and the pod names it as skipped | certain for the main container, else possible |
/// | none, and another container of the pod has them | certain for the main container, else possible: it was added later |
/// | none | certain: the pod is older than the association |
pub(super) fn judge(container: &Container, beside: &Beside<'_>, earlier: &Earlier<'_>) -> Vec<Finding> {
    if container.has(WEB_IDENTITY) {
        let findings = from_before(container, beside, earlier);
        return if findings.is_empty() { on_node(beside.node, Certainty::Possible).into_iter().collect() } else { findings };
    }
    if let Some(never) = on_node(beside.node, Certainty::Certain) {
        return vec![never];
    }
    let mut findings = Vec::new();
    if let Some(has) = container.named(&[RELATIVE_URI]) {
        let remedy = format!("delete `{RELATIVE_URI}` where it is set, then deploy the service");
        findings.push(finding(Certainty::Certain, format!("has {has}: AWS SDKs take that before the address of EKS Pod Identity"), remedy));
    }
    match (container.variables.get(FULL_URI), container.variables.get(AUTHORIZATION_FILE)) {
        (None, None) => findings.push(without(container, beside.others)),
        (Some(address), None) => findings.push(half(FULL_URI, address, AUTHORIZATION_FILE)),
        (None, Some(file)) => findings.push(half(AUTHORIZATION_FILE, file, FULL_URI)),
        (Some(address), Some(file)) => {
            findings.extend(other_address(address));
            findings.extend(no_token(container, POD_IDENTITY, file, beside.volumes, &Audience::of_pod_identity()));
        }
    }
    findings
}

/// A web identity: EKS gave it before there was an association, or somebody by hand.
fn from_before(container: &Container, beside: &Beside<'_>, earlier: &Earlier<'_>) -> Vec<Finding> {
    let (Some(role), Some(file)) = (container.variables.get(ROLE), container.variables.get(TOKEN_FILE)) else { return Vec::new() };
    if container.has(POD_IDENTITY) {
        let remedy = format!("delete `{ROLE}` and `{TOKEN_FILE}` where they are set, and deploy the service");
        let reason = "has a web identity of its own beside the association: AWS SDKs take it first";
        return vec![finding(Certainty::Certain, reason, remedy)];
    }
    match earlier {
        Earlier::Works { role: wanted, audience } => {
            let no_token = no_token(container, WEB_IDENTITY, file, beside.volumes, audience);
            web_identity::other_role(role, wanted).into_iter().chain(no_token).collect()
        }
        Earlier::Refused => vec![older("has a web identity from before the association, and the role lets it in no more")],
        Earlier::Unknown => vec![Finding {
            certainty: Certainty::Possible,
            reason: "has a web identity from before the association; whether the role still lets it in could not be seen".to_owned(),
            remedy: Remedy::Restart,
        }],
    }
}

/// What a node without the agent means: nothing ever, or nothing once the web identity is gone.
fn on_node(node: Node, certainty: Certainty) -> Option<Finding> {
    let where_it_is = match node {
        Node::Linux => return None,
        Node::Fargate => "on Fargate",
        Node::Windows => "on Windows",
    };
    let reason = match certainty {
        Certainty::Certain => format!("runs {where_it_is}, where EKS Pod Identity gives no role"),
        Certainty::Possible => {
            format!("runs {where_it_is}, where EKS Pod Identity gives no role: made anew it loses the role that its web identity gives")
        }
    };
    let remedy = "run it on a Linux node of EC2, or give it a ServiceAccount of its own with IRSA (an identity without `podIdentity`)";
    Some(finding(certainty, reason, remedy))
}

fn without(container: &Container, others: Others) -> Finding {
    if container.is_skipped {
        return finding(
            unless_main(container),
            "has no role: the pod annotation `eks.amazonaws.com/skip-containers` names it",
            "if it needs the role, take it out of that annotation of the pod template, and deploy it",
        );
    }
    if others == Others::Injected {
        return finding(
            unless_main(container),
            "has no role though another container of its pod has one: it was added to the pod after the webhook of EKS had seen it",
            "if it needs the role, name it in the pod template itself",
        );
    }
    older("runs without the role: its pod is older than the association of the ServiceAccount")
}

fn other_address(address: &Given) -> Option<Finding> {
    let is_agent = |address: &str| AGENT.iter().any(|agent| address.starts_with(agent));
    let remedy = format!("delete `{FULL_URI}` and `{AUTHORIZATION_FILE}` where they are set, and deploy the service: EKS sets both");
    match address {
        Given::Text(address) if is_agent(address) => None,
        Given::Text(address) => {
            Some(finding(Certainty::Certain, format!("has its own `{FULL_URI}`, `{address}`: there the agent does not listen"), remedy))
        }
        Given::From(object) => {
            let reason = format!("has its own `{FULL_URI}` from {object}, whose value is not visible from here");
            Some(finding(Certainty::Possible, reason, remedy))
        }
    }
}
