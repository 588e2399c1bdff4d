//! Why a run failed: which exit code that is, and what a person can do.

use thiserror::Error;

use crate::{
    apply::ApplyError,
    call::{Failed, Kind},
    config::Problems,
    connect::ConnectError,
    http::FOREIGN,
    model::desired::DesiredProblem,
    output::OutputError,
    plan::Refusals,
    prove::NotProven,
};

/// Done, or nothing to do.
pub const DONE: u8 = 0;
/// A service failed: running again may help.
pub const FAILED: u8 = 1;
/// Configuration: running again does not help.
pub const MISCONFIGURED: u8 = 2;
/// Something may not be touched: a person must decide.
pub const REFUSED: u8 = 3;
/// All is as it should be, and yet no pod would get its role.
pub const NOT_PROVEN: u8 = 4;
/// `plan` found something to do.
pub const TO_DO: u8 = 10;

/// Why a run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] Problems),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What is there could not be seen.
    #[error(transparent)]
    Observe(#[from] Failed),
    /// The identities cannot be in this account.
    #[error(transparent)]
    Desired(#[from] DesiredProblem),
    /// Something may not be touched.
    #[error(transparent)]
    Refused(#[from] Refusals),
    /// The plan was not carried out whole.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// What was applied cannot be seen.
    #[error("applied, but this is still to do after {seconds} s:\n  {left}")]
    NotVerified {
        /// How long it was waited for.
        seconds: u64,
        /// The actions that are left, one a line.
        left: String,
    },
    /// All is as it should be, and yet no pod would get its role.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    NotProven(Vec<NotProven>),
    /// The outputs.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A signal came before anything was changed.
    #[error("interrupted by a signal")]
    Interrupted,
}

impl RunError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => REFUSED,
            Self::NotProven(_) => NOT_PROVEN,
            Self::Apply(ApplyError::Failed(failed)) if failed.iter().any(|failed| failed.source.kind == Kind::Held) => REFUSED,
            Self::Connect(ConnectError::Call(_) | ConnectError::Slow(_))
            | Self::Observe(_)
            | Self::Apply(_)
            | Self::NotVerified { .. }
            | Self::Output(_)
            | Self::Interrupted => FAILED,
            Self::Config(_) | Self::Desired(_) | Self::Connect(_) => MISCONFIGURED,
        }
    }

    /// One word for machines.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.exit_code() {
            MISCONFIGURED => "misconfigured",
            REFUSED => "refused",
            NOT_PROVEN => "not proven",
            _ => "failed",
        }
    }

    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(_) => Some("nothing was read from or changed in AWS or Kubernetes".to_owned()),
            Self::Connect(ConnectError::Call(failed)) | Self::Observe(failed) => hint_of_call(failed),
            Self::Connect(error) => hint_of_connection(error),
            Self::Desired(problem) => Some(problem.hint().to_owned()),
            Self::Refused(refusals) => Some(refusals.hint()),
            Self::Apply(ApplyError::Failed(failed)) => failed.iter().find_map(hint_of_call),
            Self::Apply(ApplyError::Interrupted) | Self::Interrupted => Some("deploy again: it continues where it stopped".to_owned()),
            Self::NotVerified { .. } => Some(
                "IAM may be slow, or something else changes the same things: deploy again; if it stays, see who changes them in CloudTrail"
                    .to_owned(),
            ),
            Self::NotProven(failed) => failed.iter().find_map(|failed| failed.hint().or_else(|| hint_of_call(&failed.source))),
            Self::Output(_) => {
                Some("AWS and Kubernetes are as they should be; make the directory writable, or set `IRSA_OUTPUT`".to_owned())
            }
        }
    }
}

fn hint_of_call(failed: &Failed) -> Option<String> {
    let (service, permission) = failed.call.split_once(':')?;
    if failed.source.code == FOREIGN {
        return Some(hint_of_foreign(service, failed.source.kind));
    }
    if service == "qovery" {
        return hint_of_qovery(failed, permission);
    }
    let of_kubernetes = service == "kubernetes";
    let again = "then deploy again: it continues where it stopped";
    match failed.source.kind {
        Kind::Denied if of_kubernetes => Some(format!("allow `{permission}` for the job in the namespace (docs/permissions/rbac.yaml), {again}")),
        // What only `sweep --issuer` asks for is in no job's policy.
        Kind::Denied if matches!(failed.call, "eks:ListClusters" | "iam:DeleteOpenIDConnectProvider") => {
            Some(format!("allow `{}` for as long as `sweep --issuer` needs it (docs/permissions/retire-policy.json)", failed.call))
        }
        Kind::Denied => Some(format!("allow `{}` for the job (docs/permissions/iam-policy.json), {again}", failed.call)),
        Kind::Unauthenticated if of_kubernetes => {
            Some("the API server does not know the job: give its IAM role an EKS access entry, or its pod a ServiceAccount with a mounted token".to_owned())
        }
        Kind::Unauthenticated if failed.source.message.contains("perform: sts:AssumeRole") => Some(
            "allow the job's own credentials `sts:AssumeRole` on the role of `IRSA_ASSUME_ROLE_ARN`, and let that role's trust policy name them"
                .to_owned(),
        ),
        Kind::Unauthenticated => {
            Some("give the job AWS credentials: a ServiceAccount with a role of its own, a Pod Identity association, or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` as secrets of the job itself".to_owned())
        }
        Kind::NotFound if of_kubernetes => Some("the namespace must exist: deploy the environment's services with it".to_owned()),
        Kind::NotFound if failed.call == "eks:DescribeCluster" => {
            Some("check `QOVERY_KUBERNETES_CLUSTER_NAME`, `QOVERY_CLOUD_PROVIDER_REGION` and the account of the credentials".to_owned())
        }
        Kind::NotFound => Some("check the ARNs in the manifest".to_owned()),
        Kind::Held => Some("another field manager holds it: remove it there, or delete the ServiceAccount, then deploy again".to_owned()),
        Kind::Throttled | Kind::Transient | Kind::Interrupted => Some("deploy again: it continues where it stopped".to_owned()),
        Kind::Other if failed.source.code == "UntrustedCertificate" && of_kubernetes => Some(
            "the cluster's own authority must have signed it: let a proxy pass the connection unopened (`NO_PROXY`), or correct the authority in the kubeconfig"
                .to_owned(),
        ),
        Kind::Other if failed.source.code == "UntrustedCertificate" => {
            Some("if a proxy stands between, set `SSL_CERT_FILE` to a PEM file of its certificate authority".to_owned())
        }
        Kind::Other if failed.source.code == "LimitExceeded" => Some("raise the quota in the Service Quotas console, or ask for less in the manifest".to_owned()),
        Kind::Other if failed.call == "iam:UpdateAssumeRolePolicy" && failed.source.message.contains("deleted principal") => {
            Some("remove that statement from the role's trust policy by hand: its principal no longer exists, and IAM takes the document back only without it".to_owned())
        }
        Kind::AlreadyExists | Kind::Other => None,
    }
}

fn hint_of_foreign(service: &str, kind: Kind) -> String {
    let endpoint = match service {
        "kubernetes" => "the server in the kubeconfig",
        "qovery" => "`IRSA_QOVERY_API_URL`",
        _ => "`AWS_ENDPOINT_URL` and its like",
    };
    let again = if matches!(kind, Kind::Throttled | Kind::Transient) { "deploy again; if it stays so: " } else { "" };
    format!(
        "{again}something else answers in the service's place, as a proxy or a firewall: let the job through, or look at {endpoint} if set"
    )
}

/// A policy token answers 401 to a call that it may not make, as an unknown token does to all.
/// <https://www.qovery.com/docs/configuration/organization/api-token>
fn hint_of_qovery(failed: &Failed, call: &str) -> Option<String> {
    let hint = match failed.source.kind {
        Kind::Unauthenticated => {
            return Some(format!(
                "Qovery does not know the token, or it is a policy token that may not call `{call}`: allow that call, or make an API token in the console (organization settings, API tokens); a job takes it as secret `IRSA_QOVERY_TOKEN` of its own, `install` as variable `QOVERY_API_TOKEN`"
            ));
        }
        Kind::Denied => "give the API token a role that may change the services of this environment",
        Kind::NotFound => "check `QOVERY_ENVIRONMENT_ID`, and that the API token is of the environment's organization",
        Kind::Throttled | Kind::Transient | Kind::Interrupted => "deploy again: it continues where it stopped",
        Kind::Other if failed.source.code == "UntrustedCertificate" => {
            "if a proxy stands between, set `SSL_CERT_FILE` to a PEM file of its certificate authority"
        }
        Kind::Other if failed.source.code == "Conflict" => "something else is changing the service: deploy again when that has ended",
        Kind::AlreadyExists | Kind::Held | Kind::Other => return None,
    };
    Some(hint.to_owned())
}

fn hint_of_connection(error: &ConnectError) -> Option<String> {
    let hint = match error {
        ConnectError::Aws(crate::aws::AwsProblem::NoRegion) => "set `QOVERY_CLOUD_PROVIDER_REGION` or `AWS_REGION`",
        ConnectError::NoToken(_) => {
            "turn on `security.automount_service_account_token` for the job, give it `security.service_account_name`, or leave `IRSA_KUBE_AUTH` out"
        }
        ConnectError::NoCluster => {
            "set it to the EKS cluster's name; or give the job a ServiceAccount with a mounted token; or set `KUBECONFIG`"
        }
        ConnectError::Contradiction { .. } => {
            "one of them is of another cluster: correct or remove `IRSA_OIDC_ISSUER`, or correct the cluster's name"
        }
        ConnectError::Slow(_) => "run that program by hand to see what it waits for",
        ConnectError::Kubernetes(crate::kubernetes::KubernetesProblem::Proxy) => {
            "write `proxy-url` in the kubeconfig, or else `HTTPS_PROXY`, as `http://` with host and port; or name the API server in `NO_PROXY`"
        }
        ConnectError::Kubernetes(crate::kubernetes::KubernetesProblem::Kubeconfig(_)) => "correct `KUBECONFIG`, or unset it",
        _ => return None,
    };
    Some(hint.to_owned())
}
