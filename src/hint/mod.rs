//! What a person can do about a failure: from its kind alone, never from a service's words. A hint is right, or there is none; none leads
//! to more rights than the published policies give.

#[cfg(feature = "laptop")]
mod bootstrap;

#[cfg(feature = "laptop")]
pub use bootstrap::of_bootstrap;

use crate::{
    clients::{
        aws::AwsProblem,
        call::{
            Admission, CredentialFault, Denial, DeniedBy, DocumentFault, ErrorKind, Failed, Missing, PodFault, Quota, RoleFault, TokenFault,
        },
        kubernetes::KubernetesProblem,
    },
    model::{gather::Gather as _, observed::Overridden},
    steps::connect::ConnectError,
};

/// What is known of the run besides the failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The name of the EKS cluster.
    pub cluster: Option<String>,
    /// The id of the access key in `AWS_ACCESS_KEY_ID`: the SDKs look there first.
    pub access_key: Option<String>,
    /// The ARN of the OIDC provider.
    pub provider: Option<String>,
    /// The namespace that the run is for.
    pub namespace: Option<String>,
    /// The ARN of the role that the job gets by a web identity of its own.
    pub own_role: Option<String>,
    /// Whether it runs in a pod that EKS gave no role.
    pub is_pod_without_role: bool,
}

impl Known {
    /// What the variables tell.
    #[must_use]
    pub fn of(variables: &[(String, String)]) -> Self {
        let value = |name: &str| variables.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.clone());
        let of_pods = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"].map(value);
        Self {
            cluster: value("QOVERY_KUBERNETES_CLUSTER_NAME"),
            access_key: value("AWS_ACCESS_KEY_ID"),
            provider: None,
            namespace: value("QOVERY_KUBERNETES_NAMESPACE_NAME"),
            own_role: of_pods[0].as_ref().and_then(|_| value("AWS_ROLE_ARN")),
            is_pod_without_role: value("KUBERNETES_SERVICE_HOST").is_some() && of_pods.iter().all(Option::is_none),
        }
    }
}

/// Where the repository is published, if it is: the package says so.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

const AGAIN: &str = "then deploy again: it continues where it stopped";
#[cfg(feature = "laptop")]
const AGAIN_BOOTSTRAP: &str = "then run `bootstrap` again: it continues where it stopped";
const DEPLOY_AGAIN: &str = "deploy again: it continues where it stopped";

/// A file of the documentation: its path, and its address where there is one.
fn docs(path: &str) -> String {
    docs_at(REPOSITORY, path)
}

fn docs_at(repository: &str, path: &str) -> String {
    match repository {
        "" => format!("docs/{path}"),
        repository => format!("docs/{path}, {}/blob/HEAD/docs/{path}", repository.trim_end_matches('/')),
    }
}

/// What to do about a call that failed.
#[must_use]
pub fn of_call(failed: &Failed, known: &Known) -> Option<String> {
    let service = failed.service();
    let kind = &failed.source.kind;
    if failed.source.is_foreign {
        return Some(of_foreign(service, kind));
    }
    match (service, kind) {
        (_, ErrorKind::Throttled | ErrorKind::Transient) => Some(DEPLOY_AGAIN.to_owned()),
        (_, ErrorKind::Admission(admission)) => Some(of_admission(admission)),
        ("qovery", kind) => of_qovery(failed, kind),
        ("kubernetes", kind) => of_kubernetes(failed, kind, known),
        (_, kind) => of_aws(failed, kind, known),
    }
}

fn of_aws(failed: &Failed, kind: &ErrorKind, known: &Known) -> Option<String> {
    let hint = match kind {
        ErrorKind::Denied(denial) => return Some(of_denial(failed.call, denial)),
        ErrorKind::Credentials(fault) => return Some(of_credentials(*fault, known)),
        ErrorKind::Token(fault) => return of_token(*fault, known),
        ErrorKind::PodSession(fault) => of_pod_session(*fault)?,
        ErrorKind::Role(fault) => of_role(*fault),
        ErrorKind::Quota(_) if failed.call == "eks:CreatePodIdentityAssociation" => {
            "an EKS cluster takes 5,000 associations, and AWS does not raise this: run `sweep` to remove those of deleted environments, delete others that nobody needs, or let identities of this cluster get their roles without `podIdentity`"
        }
        ErrorKind::Quota(quota) => return Some(of_quota(quota)),
        ErrorKind::NotFound(_) if failed.call.starts_with("eks:") || failed.call.starts_with("eks-auth:") => {
            "check `QOVERY_KUBERNETES_CLUSTER_NAME`, `QOVERY_CLOUD_PROVIDER_REGION` and the account of the credentials"
        }
        ErrorKind::NotFound(Missing::Policy) => {
            "check the ARN of that policy in the manifest: job functions are below `policy/job-function/`, service roles below `policy/service-role/`"
        }
        ErrorKind::NotFound(_) => "check the ARNs in the manifest",
        ErrorKind::NoConnection => {
            "the job needs a way to STS and EKS in the region and to IAM, whose endpoint is one for all regions: check egress rules, VPC endpoints and `HTTPS_PROXY`; then deploy again"
        }
        ErrorKind::Timeout => DEPLOY_AGAIN,
        ErrorKind::UntrustedCertificate => "if a proxy stands between, set `SSL_CERT_FILE` to a PEM file of its certificate authority",
        ErrorKind::NoTls => "write `AWS_ENDPOINT_URL`, or `AWS_ENDPOINT_URL_STS`, with `https://`",
        ErrorKind::RegionDisabled => {
            "activate STS for this region: IAM console, account settings, security token service; an administrator of the account can"
        }
        ErrorKind::PackedPolicyTooLarge => "the tags and policies of the session are too large for STS: take some away",
        ErrorKind::Document(DocumentFault::Principal) if failed.call == "iam:UpdateAssumeRolePolicy" => {
            "remove the statement that names it from the role's trust policy by hand: IAM takes the document back only without it"
        }
        ErrorKind::Document(_) => "correct the document: IAM says what it does not take",
        ErrorKind::Protected if failed.call.starts_with("eks:") => {
            "an add-on of the cluster owns the association: change it there, or use another ServiceAccount"
        }
        ErrorKind::Protected => "AWS itself keeps that role or policy: use another",
        ErrorKind::InUse => "something holds on to the role, as an instance profile does: take it out there",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whose policy it is decides what helps.
fn of_denial(call: &str, denial: &Denial) -> String {
    let action = denial.action.as_deref().unwrap_or(call);
    let beyond = |whose: &str, who: &str| {
        let says = if denial.is_explicit { "denies" } else { "does not allow" };
        format!("{whose} {says} `{action}`: nothing that the job's own policy allows helps. Ask {who}")
    };
    match denial.by {
        DeniedBy::ServiceControl => beyond("a service control policy of the organization", "whoever manages the organization"),
        DeniedBy::ResourceControl => beyond("a resource control policy of the organization", "whoever manages the organization"),
        DeniedBy::Boundary => beyond("the permissions boundary of the job's own role or user", "whoever set it"),
        DeniedBy::Session => beyond("the policy of the job's session", "whoever made the session"),
        DeniedBy::Endpoint => beyond("the policy of the VPC endpoint", "whoever manages the network"),
        DeniedBy::Resource => beyond("the policy of the thing itself", "whoever owns it"),
        DeniedBy::Identity if denial.is_explicit && action.ends_with("RolePermissionsBoundary") => format!(
            "the job's policy denies this on purpose, so that no role loses its permissions boundary: set `permissionsBoundary` in the manifest or `IRSA_PERMISSIONS_BOUNDARY` again ({})",
            docs("permissions.md#with-a-permissions-boundary")
        ),
        DeniedBy::Identity if denial.is_explicit => {
            format!("a statement of the job's own policy denies `{action}`: see what it guards ({})", docs("permissions.md"))
        }
        _ if denial.is_explicit => beyond("a statement of a policy that AWS does not name", "whoever manages the account"),
        _ if action.ends_with("RolePermissionsBoundary") => format!(
            "the job's policy allows one permissions boundary and no other: set `permissionsBoundary` in the manifest or `IRSA_PERMISSIONS_BOUNDARY` to that one ({})",
            docs("permissions.md#with-a-permissions-boundary")
        ),
        // What only `sweep --issuer` asks for is in no job's policy.
        _ if matches!(call, "eks:ListClusters" | "iam:DeleteOpenIDConnectProvider") => {
            format!("allow `{action}` for as long as `sweep --issuer` needs it ({})", docs("permissions/retire-policy.json"))
        }
        _ if action == "iam:PassRole" => format!(
            "allow `{action}` for the job ({}; a role given by `arn` takes a statement of its own, {}), {AGAIN}",
            docs("permissions/pod-identity-policy.json"),
            docs("permissions.md")
        ),
        _ if is_of_pod_identity(action) => {
            format!("allow `{action}` for the job ({}), {AGAIN}", docs("permissions/pod-identity-policy.json"))
        }
        _ if call == "iam:CreateRole" && action == call => format!(
            "allow `{action}` on the role's path for the job; if its policy demands a permissions boundary, set `permissionsBoundary` in the manifest or `IRSA_PERMISSIONS_BOUNDARY` ({}); {AGAIN}",
            docs("permissions.md")
        ),
        _ => format!("allow `{action}` for the job ({}), {AGAIN}", docs("permissions.md")),
    }
}

/// Whether it is an action that the policy for EKS Pod Identity allows; what only reads associations is in the others.
fn is_of_pod_identity(action: &str) -> bool {
    let writes = action.ends_with("PodIdentityAssociation") && action != "eks:DescribePodIdentityAssociation";
    writes
        || action.starts_with("eks-auth:")
        || ["eks:DescribeAddon", "eks:TagResource", "eks:UntagResource", "iam:PassRole"].contains(&action)
}

/// Why EKS gives no session for the token of a pod, where the chain itself does not tell.
fn of_pod_session(fault: PodFault) -> Option<&'static str> {
    let hint = match fault {
        PodFault::Cluster => "check `QOVERY_KUBERNETES_CLUSTER_NAME`, `QOVERY_CLOUD_PROVIDER_REGION` and the account of the credentials",
        PodFault::Unbound => {
            "EKS takes only the token of a pod that runs: deploy again when a pod of the ServiceAccount runs, or set `IRSA_PROOF=auto`"
        }
        PodFault::Expired => "check the clocks of the cluster: a token it has just given has expired for AWS",
        PodFault::State => "wait until the cluster is active (`aws eks describe-cluster`), then deploy again",
        PodFault::Audience | PodFault::Token => {
            "check that `QOVERY_KUBERNETES_CLUSTER_NAME` names the cluster that the job speaks to: EKS takes only tokens of that one"
        }
        PodFault::Association | PodFault::Role | PodFault::OtherRole => return None,
    };
    Some(hint)
}

fn of_role(fault: RoleFault) -> &'static str {
    match fault {
        RoleFault::Missing => {
            "EKS does not see the role: check its ARN in the manifest; of a role that was made a moment ago, deploy again"
        }
        RoleFault::Trust => {
            "EKS does not see that the role trusts `pods.eks.amazonaws.com` for `sts:AssumeRole` and `sts:TagSession`: deploy again, which writes that statement if it is missing"
        }
        RoleFault::OtherAccount => {
            "EKS Pod Identity takes only roles of the cluster's account: give one, and the role of the other account as `podIdentity.targetRoleArn`"
        }
    }
}

/// Without a key first.
const CREDENTIALS: &str = "give the job AWS credentials: a ServiceAccount with a role of its own, a Pod Identity association, or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` as secrets of the job itself";

fn of_credentials(fault: CredentialFault, known: &Known) -> String {
    let key = known.access_key.as_deref().map(|id| format!("`AWS_ACCESS_KEY_ID` (`{}`)", shown_key(id)));
    let which = key.as_ref().map_or_else(|| "the job's AWS credentials".to_owned(), |key| format!("the credentials of the job, {key},"));
    // The SDKs take keys before a role that the job may have.
    let or_less = if key.is_some() { "; or take them away where the job has a role" } else { "" };
    let own_role = known.own_role.as_ref().map_or_else(|| "the job's role".to_owned(), |role| format!("role `{role}`"));
    let namespace = known.namespace.as_deref().unwrap_or("<namespace>");
    match fault {
        CredentialFault::None if known.is_pod_without_role => format!(
            "EKS gave the job's pod no role. If the job runs as a ServiceAccount with a role (`job.role`), the pod was created before EKS knew that: restarts keep the pod, so deploy again. Else {CREDENTIALS}"
        ),
        CredentialFault::None => CREDENTIALS.to_owned(),
        CredentialFault::OwnTrust => format!(
            "{own_role} does not let in the job's ServiceAccount in namespace `{namespace}`: run `bootstrap` with a pattern of namespaces that matches it, or correct `job.role` and `job.serviceAccount`; right after `bootstrap`, wait a minute; then deploy again"
        ),
        CredentialFault::OwnProvider => format!(
            "IAM does not take tokens of this cluster: run `bootstrap` for it in the account of {own_role}, which makes the OIDC provider; then deploy again"
        ),
        CredentialFault::Unsupported => {
            "export the profile's credentials with the AWS CLI and run again: `eval \"$(aws configure export-credentials --format env)\"`; or use the build for laptops: `cargo build --release`".to_owned()
        }
        CredentialFault::Expired => format!("{which} have expired: make new ones{or_less}"),
        CredentialFault::Unknown => format!(
            "AWS does not know {which} any more or yet: the key was deleted, deactivated or mistyped, or is of another partition; correct it{or_less}"
        ),
        CredentialFault::Signature => format!(
            "the secret and {} do not belong together, or the secret was copied with a blank, or the job's clock is wrong: give both again",
            key.as_deref().unwrap_or("the access key")
        ),
        CredentialFault::Inactive => "the AWS account of the credentials is not active for this service: ask whoever owns the account".to_owned(),
        CredentialFault::AssumeRole => {
            "allow the job's own credentials `sts:AssumeRole` on the role of `IRSA_ASSUME_ROLE_ARN`, and let that role's trust policy name them; if it asks for an external ID, set `IRSA_ASSUME_ROLE_EXTERNAL_ID`"
                .to_owned()
        }
        CredentialFault::Unsaid => format!("see why {which} cannot be used: the cause says what was tried"),
    }
}

/// The first and the last characters: enough to tell which key it is.
fn shown_key(id: &str) -> String {
    let characters: Vec<char> = id.chars().collect();
    match characters.len() {
        0..=8 => "…".to_owned(),
        length => format!("{}…{}", characters[..4].iter().collect::<String>(), characters[length - 4..].iter().collect::<String>()),
    }
}

fn of_token(fault: TokenFault, known: &Known) -> Option<String> {
    let hint = match fault {
        TokenFault::Keys => {
            "STS cannot fetch the keys of the cluster's OIDC issuer: `<issuer>/keys` must be reachable from the internet; of a new cluster it is a few minutes later"
        }
        TokenFault::Thumbprint => {
            let provider = known.provider.as_deref().unwrap_or("<provider>");
            return Some(format!(
                "the OIDC provider has the thumbprint of another certificate: `aws iam update-open-id-connect-provider-thumbprint --open-id-connect-provider-arn {provider} --thumbprint-list <thumbprint>`, with the thumbprint of the issuer's top certificate authority"
            ));
        }
        TokenFault::Expired => "check the clocks of the cluster: a token it has just given has expired for AWS",
        TokenFault::Claims => "the issuer or STS rejects what the token claims: check issuer and audience of the OIDC provider",
        TokenFault::NoProvider | TokenFault::Audience | TokenFault::Other => return None,
    };
    Some(hint.to_owned())
}

/// The quotas of IAM that a run can meet: as its errors name them, and their codes.
/// <https://docs.aws.amazon.com/general/latest/gr/iam-service.html>
const QUOTAS: [(&str, &str); 4] = [
    ("ACLSizePerRole", "L-C07B4B0D"),
    ("PoliciesPerRole", "L-0DA4ABF3"),
    ("RolesPerAccount", "L-FE177D64"),
    ("OpenIdConnectProvidersPerAccount", "L-858F3967"),
];

fn of_quota(quota: &Quota) -> String {
    let named = quota.name.as_deref().and_then(|name| QUOTAS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)));
    match (named, quota.limit) {
        (Some((_, code)), Some(limit)) => format!(
            "ask for less in the manifest, or raise the quota, which is {limit}: `aws service-quotas request-service-quota-increase --region us-east-1 --service-code iam --quota-code {code} --desired-value {}`",
            limit.saturating_mul(2)
        ),
        _ => "ask for less in the manifest, or raise the quota in the Service Quotas console".to_owned(),
    }
}

fn of_kubernetes(failed: &Failed, kind: &ErrorKind, known: &Known) -> Option<String> {
    let hint = match kind {
        ErrorKind::Denied(denial) => return Some(of_rbac(failed.call, denial)),
        ErrorKind::Credentials(_) => {
            let cluster = known.cluster.as_deref().unwrap_or("<cluster>");
            return Some(format!(
                "the API server does not know the job: give its IAM role an access entry (`aws eks create-access-entry --cluster-name {cluster} --principal-arn <role of the job> --kubernetes-groups qovery-irsa`), or its pod a ServiceAccount with a mounted token"
            ));
        }
        ErrorKind::NotFound(Missing::Namespace) => {
            "the namespace must exist: check `QOVERY_KUBERNETES_NAMESPACE_NAME` and the cluster, or deploy the environment's services with it"
        }
        ErrorKind::Held(held) => {
            let managers: std::collections::BTreeSet<String> = held.iter().map(|held| format!("`{}`", held.manager)).gather();
            let managers = managers.into_iter().collect::<Vec<_>>().join(", ");
            return Some(format!(
                "another field manager holds it ({managers}): remove it there, or delete the ServiceAccount, then deploy again"
            ));
        }
        ErrorKind::Overridden(overridden) => return overridden.first().map(of_overridden),
        ErrorKind::NoConnection => {
            "check the way from the job to that host: security groups, a private endpoint and its DNS, `HTTPS_PROXY` and `NO_PROXY`; then deploy again"
        }
        ErrorKind::Timeout => DEPLOY_AGAIN,
        ErrorKind::UntrustedCertificate => {
            "the cluster's own authority must have signed it: let a proxy pass the connection unopened (`NO_PROXY`), or correct the authority in the kubeconfig"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_rbac(call: &str, denial: &Denial) -> String {
    let action = denial.action.as_deref().unwrap_or_else(|| call.trim_start_matches("kubernetes:"));
    // Only ServiceAccounts may read it, unless somebody has opened it.
    if action.starts_with("get /.well-known/") {
        return "set `IRSA_OIDC_ISSUER` to the cluster's issuer, or `QOVERY_KUBERNETES_CLUSTER_NAME` to its name in EKS, which is then asked"
            .to_owned();
    }
    let mounted = denial.caller.as_deref().and_then(|caller| caller.strip_prefix("system:serviceaccount:"));
    // With this right alone the job could be every ServiceAccount of the cluster.
    let file = match action {
        "create serviceaccounts/token" => format!("{}, then {}", docs("permissions/admission-guard.yaml"), docs("permissions/rbac.yaml")),
        _ => docs("permissions/rbac.yaml"),
    };
    match mounted {
        Some(name) => format!(
            "the job speaks to the API server as ServiceAccount `{}`, by its mounted token: allow that `{action}` in the namespace ({file}); or, if the job's IAM role has an EKS access entry, set `IRSA_KUBE_AUTH=eks`; {AGAIN}",
            name.replacen(':', "/", 1)
        ),
        None => format!("allow `{action}` for the job in the namespace ({file}), {AGAIN}"),
    }
}

fn of_overridden(overridden: &Overridden) -> String {
    let who = overridden.manager.as_ref().map_or_else(
        || "a mutating webhook or policy of the cluster".to_owned(),
        |manager| format!("field manager `{manager}`, or a mutating webhook or policy of the cluster,"),
    );
    format!(
        "{who} changes {} on the way: let it leave ServiceAccounts of this namespace alone, or take the field out of the manifest",
        overridden.field
    )
}

/// The names of the policies in `docs/permissions/admission-guard.yaml` and `docs/permissions/admission-guard-pods.yaml`.
const GUARDS: [&str; 2] = ["qovery-irsa", "qovery-irsa-pods"];

fn of_admission(admission: &Admission) -> String {
    match admission {
        Admission::Webhook(name) => format!(
            "admission webhook `{name}` of the cluster refuses it, no right of the job helps: give the identity what it asks for (`labels`, `annotations` in the manifest), or have it leave this namespace out"
        ),
        Admission::Policy(name) if GUARDS.contains(&name.as_str()) => format!(
            "the guard of the cluster refuses it; if it is wanted, change the variables of that policy ({})",
            docs("permissions.md#the-guard")
        ),
        Admission::Policy(name) => format!(
            "admission policy `{name}` of the cluster refuses it, no right of the job helps: give the identity what it asks for (`labels`, `annotations` in the manifest), or have it leave this namespace out"
        ),
        Admission::BrokenWebhook(name) => {
            format!("admission webhook `{name}` of the cluster does not answer: whoever runs the cluster must mend it, then deploy again")
        }
        Admission::BrokenPolicy(name) => {
            format!("admission policy `{name}` of the cluster fails: whoever runs the cluster must mend it, then deploy again")
        }
        Admission::NoDryRun => "a webhook of the cluster cannot be asked by a dry run: deploy again".to_owned(),
        Admission::Quota(name) => format!("resource quota `{name}` of the namespace is used up: raise it there, or ask for less"),
        Admission::Terminating => {
            "the namespace is being deleted: nothing can be made in it. If it should be there, deploy again when it is gone".to_owned()
        }
        Admission::Other => {
            "the cluster refuses it for a reason of its own, which the cause tells; no right of the job helps: ask whoever runs the cluster"
                .to_owned()
        }
    }
}

fn of_foreign(service: &str, kind: &ErrorKind) -> String {
    let endpoint = match service {
        "kubernetes" => "the server in the kubeconfig",
        "qovery" => "`IRSA_QOVERY_API_URL`",
        _ => "`AWS_ENDPOINT_URL` and its like",
    };
    let again = if *kind == ErrorKind::Throttled || kind.passes() { "deploy again; if it stays so: " } else { "" };
    format!(
        "{again}something else answers in the service's place, as a proxy or a firewall: let the job through, or look at {endpoint} if set"
    )
}

/// A policy token answers 401 to a call that it may not make, as an unknown token does to all.
/// <https://www.qovery.com/docs/configuration/organization/api-policy-token>
fn of_qovery(failed: &Failed, kind: &ErrorKind) -> Option<String> {
    let call = failed.call.trim_start_matches("qovery:");
    let hint = match kind {
        ErrorKind::Credentials(_) => {
            return Some(format!(
                "Qovery does not know the token, or it is a policy token that may not call `{call}`: allow that call, or make an API token in the console (organization settings, API tokens); a job takes it as secret `IRSA_QOVERY_TOKEN` of its own, `install` as variable `QOVERY_API_TOKEN`"
            ));
        }
        ErrorKind::Denied(_) => "give the API token a role that may change the services of this environment",
        ErrorKind::NotFound(_) => {
            "check the environment's id (`QOVERY_ENVIRONMENT_ID`, of `install` `--environment`), and that the API token is of the environment's organization"
        }
        ErrorKind::NoConnection => "check the way from the job to Qovery's API, `HTTPS_PROXY` included; then deploy again",
        ErrorKind::Timeout => DEPLOY_AGAIN,
        ErrorKind::UntrustedCertificate => "if a proxy stands between, set `SSL_CERT_FILE` to a PEM file of its certificate authority",
        ErrorKind::Changed => "something else is changing the service: deploy again when that has ended",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What to do where there is no connection.
#[must_use]
pub fn of_connection(error: &ConnectError, known: &Known) -> Option<String> {
    let hint = match error {
        ConnectError::Call(failed) => return of_call(failed, known),
        ConnectError::Aws(AwsProblem::NoRegion) => "set `QOVERY_CLOUD_PROVIDER_REGION` or `AWS_REGION`",
        ConnectError::NoToken(_) => {
            "turn on `security.automount_service_account_token` for the job, give it `security.service_account_name`, or leave `IRSA_KUBE_AUTH` out"
        }
        ConnectError::NoCluster => {
            "set it to the EKS cluster's name; or give the job a ServiceAccount with a mounted token; or set `KUBECONFIG`"
        }
        ConnectError::Contradiction { .. } => {
            "one of them is of another cluster: correct or remove `IRSA_OIDC_ISSUER`, or correct the cluster's name"
        }
        ConnectError::OtherNamespace { .. } => {
            "a run is for the namespace that it runs in: leave `QOVERY_KUBERNETES_NAMESPACE_NAME` as Qovery sets it; for another namespace, reach the cluster another way (`IRSA_KUBE_AUTH=eks`)"
        }
        ConnectError::OtherCluster { cluster, .. } => {
            return Some(format!(
                "set `QOVERY_KUBERNETES_CLUSTER_NAME` to the name of the kubeconfig's cluster, or take the kubeconfig of this one (`aws eks update-kubeconfig --name {cluster}`); if it leads there by another address, let the job read `/.well-known/openid-configuration`"
            ));
        }
        ConnectError::Slow(_) => "run that program by hand to see what it waits for",
        ConnectError::Kubernetes(KubernetesProblem::Proxy) => {
            "write `proxy-url` in the kubeconfig, or else `HTTPS_PROXY`, as `http://` with host and port; or name the API server in `NO_PROXY`"
        }
        ConnectError::Kubernetes(KubernetesProblem::Plain(_)) => "write the address of the API server with `https://` in the kubeconfig",
        ConnectError::Kubernetes(KubernetesProblem::Kubeconfig(_)) => "correct `KUBECONFIG`, or unset it",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests;
