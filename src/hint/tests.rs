use super::*;
use crate::clients::{
    aws::kind_of,
    call::{CallError, HeldField},
};

fn failed(call: &'static str, kind: ErrorKind) -> Failed {
    Failed::to("do it", call)(CallError::new(kind, "Code", "words"))
}

fn known() -> Known {
    Known {
        cluster: Some("demo".to_owned()),
        access_key: Some("AKIAIOSFODNN7EXAMPLE".to_owned()),
        provider: Some("arn:aws:iam::123456789012:oidc-provider/x".to_owned()),
        ..Known::default()
    }
}

fn hint(call: &'static str, kind: ErrorKind) -> String {
    of_call(&failed(call, kind), &known()).unwrap_or_default()
}

/// What AWS answers: code, message, what the hint says, what it must not say.
#[test]
fn each_answer_of_aws_has_the_hint_that_helps_or_none() {
    let user = "User: arn:aws:iam::123456789012:user/job is not authorized to perform:";
    let denied = |action: &str, end: &str| format!("{user} {action} on resource: arn:aws:iam::123456789012:role/qovery/x {end}");
    let implicit = |action: &str| denied(action, &format!("because no identity-based policy allows the {action} action"));
    for (call, code, message, says, never) in [
        ("iam:CreateRole", "ExpiredToken", "The security token included in the request is expired".to_owned(), "have expired", "give the job AWS credentials"),
        ("iam:CreateRole", "InvalidClientTokenId", "The security token included in the request is invalid.".to_owned(), "`AWS_ACCESS_KEY_ID` (`AKIA…MPLE`)", "give the job"),
        ("eks:DescribeCluster", "UnrecognizedClientException", "The security token included in the request is invalid.".to_owned(), "AWS does not know", "give the job"),
        ("sts:GetCallerIdentity", "SignatureDoesNotMatch", "The request signature we calculated does not match".to_owned(), "clock", "give the job"),
        ("iam:CreateRole", "AccessDenied", implicit("iam:TagRole"), "allow `iam:TagRole`", "`iam:CreateRole`"),
        ("iam:CreateRole", "AccessDenied", denied("iam:CreateRole", "with an explicit deny in a service control policy"), "service control policy of the organization denies", "for the job ("),
        ("iam:CreateRole", "AccessDenied", denied("iam:CreateRole", "with an explicit deny in a resource control policy"), "resource control policy", "for the job ("),
        ("iam:CreateRole", "AccessDenied", denied("iam:CreateRole", "because no permissions boundary allows the iam:CreateRole action"), "permissions boundary of the job's own", "for the job ("),
        ("iam:CreateRole", "AccessDenied", denied("iam:CreateRole", "because no VPC endpoint policy allows the iam:CreateRole action"), "VPC endpoint", "for the job ("),
        ("iam:CreateRole", "AccessDenied", denied("iam:CreateRole", "with an explicit deny in a session policy"), "session", "for the job ("),
        ("iam:CreateRole", "AccessDenied", implicit("iam:CreateRole"), "`IRSA_PERMISSIONS_BOUNDARY`", "iam-policy.json"),
        ("iam:DeleteRolePermissionsBoundary", "AccessDenied", denied("iam:DeleteRolePermissionsBoundary", "with an explicit deny in an identity-based policy"), "denies this on purpose", "for the job ("),
        ("iam:PutRolePermissionsBoundary", "AccessDenied", implicit("iam:PutRolePermissionsBoundary"), "one permissions boundary and no other", "for the job ("),
        ("iam:TagRole", "AccessDenied", denied("iam:TagRole", "with an explicit deny"), "AWS does not name", "for the job ("),
        ("iam:GetRole", "AccessDenied", "something new".to_owned(), "allow `iam:GetRole`", "iam-policy.json"),
        ("sts:AssumeRoleWithWebIdentity", "InvalidIdentityToken", "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint".to_owned(), "update-open-id-connect-provider-thumbprint --open-id-connect-provider-arn arn:aws:iam::123456789012:oidc-provider/x", "raise"),
        ("sts:AssumeRoleWithWebIdentity", "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements".to_owned(), "cannot fetch the keys", "give the job"),
        ("sts:AssumeRoleWithWebIdentity", "RegionDisabledException", "STS is not activated in this region".to_owned(), "activate STS", "raise"),
        ("sts:AssumeRoleWithWebIdentity", "PackedPolicyTooLarge", "x".to_owned(), "too large", "raise"),
        ("sts:AssumeRoleWithWebIdentity", "IDPRejectedClaim", "x".to_owned(), "rejects", "raise"),
        ("iam:UpdateAssumeRolePolicy", "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048".to_owned(), "--quota-code L-C07B4B0D --desired-value 4096", "permission"),
        ("iam:AttachRolePolicy", "LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10".to_owned(), "--quota-code L-0DA4ABF3", "permission"),
        ("iam:TagRole", "LimitExceeded", "Cannot exceed quota for TagsPerRole: 50".to_owned(), "Service Quotas console", "--quota-code"),
        ("iam:CreateOpenIDConnectProvider", "OpenIdIdpCommunicationError", "x".to_owned(), "deploy again", "allow"),
        ("iam:UpdateRole", "UnmodifiableEntity", "x".to_owned(), "AWS itself", "allow"),
        ("iam:AttachRolePolicy", "NoSuchEntity", "Policy arn:aws:iam::aws:policy/Nope does not exist or is not attachable.".to_owned(), "job-function", "allow"),
        ("iam:GetRole", "Unheard", "x".to_owned(), "", "allow"),
        ("eks:CreatePodIdentityAssociation", "AccessDeniedException", implicit("iam:PassRole"), "allow `iam:PassRole` for the job (docs/permissions/pod-identity-policy.json", "eks:Create"),
        ("eks:CreatePodIdentityAssociation", "AccessDeniedException", implicit("eks:TagResource"), "allow `eks:TagResource` for the job (docs/permissions/pod-identity-policy.json", "eks:Create"),
        ("eks:ListPodIdentityAssociations", "AccessDeniedException", implicit("eks:ListPodIdentityAssociations"), "allow `eks:ListPodIdentityAssociations` for the job (docs/permissions.md", "pod-identity-policy"),
        ("eks:CreatePodIdentityAssociation", "AccessDeniedException", denied("iam:PassRole", "with an explicit deny in a service control policy"), "service control policy", "for the job ("),
        ("eks:CreatePodIdentityAssociation", "AccessDeniedException", "Cross-account pass role is not allowed.".to_owned(), "`podIdentity.targetRoleArn`", "allow"),
        ("eks:CreatePodIdentityAssociation", "InvalidParameterException", "Role provided in the request does not exist.".to_owned(), "check its ARN", "allow"),
        ("eks:UpdatePodIdentityAssociation", "InvalidParameterException", "Trust policy of role is invalid.".to_owned(), "`sts:TagSession`", "allow"),
        ("eks:CreatePodIdentityAssociation", "InvalidParameterException", "x".to_owned(), "", "allow"),
        ("eks:CreatePodIdentityAssociation", "ResourceLimitExceededException", "x".to_owned(), "5,000 associations, and AWS does not raise this", "quota-code"),
        ("eks:UpdatePodIdentityAssociation", "InvalidRequestException", "The association is owned by the add-on x".to_owned(), "an add-on of the cluster owns", "AWS itself"),
        ("eks:ListPodIdentityAssociations", "ResourceNotFoundException", "No cluster found for name: demo.".to_owned(), "`QOVERY_KUBERNETES_CLUSTER_NAME`", "ARN"),
        ("eks:CreatePodIdentityAssociation", "ServerException", "x".to_owned(), "deploy again", "allow"),
    ] {
        let hint = hint(call, kind_of(code, 400, &message));
        assert!(hint.contains(says) && (!says.is_empty() || hint.is_empty()), "{code} {message}: {hint}");
        assert!(!hint.contains(never), "{code} {message}: {hint}");
    }
}

#[test]
fn a_session_that_eks_does_not_give_has_the_hint_that_helps_or_none() {
    let call = "eks-auth:AssumeRoleForPodIdentity";
    for (fault, says) in [
        (PodFault::Cluster, "`QOVERY_KUBERNETES_CLUSTER_NAME`"),
        (PodFault::Unbound, "when a pod of the ServiceAccount runs"),
        (PodFault::Audience, "names the cluster that the job speaks to"),
        (PodFault::Token, "names the cluster that the job speaks to"),
        (PodFault::Expired, "clocks"),
        (PodFault::State, "active"),
        // What is wrong there is a link of the chain, which the proof looks for.
        (PodFault::Association, ""),
        (PodFault::Role, ""),
        (PodFault::OtherRole, ""),
    ] {
        let hint = hint(call, ErrorKind::PodSession(fault));
        assert!(hint.contains(says) && (!says.is_empty() || hint.is_empty()), "{fault:?}: {hint}");
    }
    let action = Some(call.to_owned());
    let denied = hint(call, ErrorKind::Denied(Denial { action, by: DeniedBy::Identity, is_explicit: false, caller: None }));
    assert!(
        denied.starts_with("allow `eks-auth:AssumeRoleForPodIdentity` for the job (docs/permissions/pod-identity-policy.json"),
        "{denied}"
    );
}

#[test]
fn a_hint_of_rbac_is_for_rbac_alone() {
    let rbac = |caller: &str| {
        let action = Some("patch serviceaccounts".to_owned());
        ErrorKind::Denied(Denial { action, by: DeniedBy::Rbac, is_explicit: false, caller: Some(caller.to_owned()) })
    };
    let call = "kubernetes:patch serviceaccounts";
    assert!(hint(call, rbac("arn:aws:iam::123456789012:user/job")).starts_with("allow `patch serviceaccounts` for the job"));
    let mounted = hint(call, rbac("system:serviceaccount:z1-shop:job"));
    assert!(
        mounted.contains("ServiceAccount `z1-shop/job`, by its mounted token") && mounted.contains("`IRSA_KUBE_AUTH=eks`"),
        "{mounted}"
    );
    for (admission, says) in [
        (Admission::Webhook("v.gatekeeper.sh".to_owned()), "webhook `v.gatekeeper.sh`"),
        (Admission::BrokenWebhook("w".to_owned()), "does not answer"),
        (Admission::Policy("teams".to_owned()), "policy `teams`"),
        (Admission::Policy("qovery-irsa".to_owned()), "the guard of the cluster"),
        (Admission::BrokenPolicy("m".to_owned()), "policy `m`"),
        (Admission::Quota("none".to_owned()), "resource quota `none`"),
        (Admission::Terminating, "is being deleted"),
        (Admission::Other, "for a reason of its own"),
    ] {
        let hint = hint(call, ErrorKind::Admission(admission));
        assert!(hint.contains(says) && !hint.contains("rbac.yaml") && !hint.contains("allow `"), "{hint}");
    }
}

#[test]
fn other_answers_of_the_api_server_are_explained_by_what_they_are() {
    let unknown = hint("kubernetes:get serviceaccounts", ErrorKind::Credentials(CredentialFault::Unsaid));
    assert!(unknown.contains("aws eks create-access-entry --cluster-name demo "), "{unknown}");
    let held = |manager: &str| HeldField { manager: manager.to_owned(), field: ".metadata.labels.x".to_owned() };
    let managers = hint("kubernetes:patch serviceaccounts", ErrorKind::Held(vec![held("helm"), held("argocd"), held("helm")]));
    assert!(managers.contains("(`argocd`, `helm`)"), "{managers}");
    let overridden = Overridden {
        field: "label `team`".to_owned(),
        applied: "a".to_owned(),
        found: Some("b".to_owned()),
        manager: Some("kyverno".to_owned()),
    };
    let overridden = hint("kubernetes:patch serviceaccounts", ErrorKind::Overridden(vec![overridden]));
    assert!(overridden.contains("`kyverno`") && overridden.contains("label `team`"), "{overridden}");
    let missing = hint("kubernetes:patch serviceaccounts", ErrorKind::NotFound(Missing::Namespace));
    assert!(missing.contains("`QOVERY_KUBERNETES_NAMESPACE_NAME`"), "{missing}");
}

#[test]
fn what_answers_in_a_services_place_is_no_matter_of_rights() {
    for kind in [ErrorKind::Other, ErrorKind::Transient, ErrorKind::Credentials(CredentialFault::Unsaid)] {
        let mut failed = failed("iam:GetRole", kind);
        failed.source.is_foreign = true;
        assert!(of_call(&failed, &known()).unwrap().contains("in the service's place"));
    }
}

#[test]
fn documentation_has_an_address_where_the_package_has_one() {
    assert_eq!(docs_at("", "security.md"), "docs/security.md");
    assert_eq!(docs_at("https://example.com/a/b/", "security.md"), "docs/security.md, https://example.com/a/b/blob/HEAD/docs/security.md");
}

#[test]
fn no_more_of_a_key_is_shown_than_tells_it_from_another() {
    assert_eq!(shown_key("AKIAIOSFODNN7EXAMPLE"), "AKIA…MPLE");
    assert_eq!(shown_key("short"), "…");
}

#[test]
fn what_helps_a_job_without_credentials_depends_on_what_its_pod_has() {
    let of = |variables: &[(&str, &str)]| {
        Known::of(&variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
    };
    let hint = |known: &Known, fault| of_call(&failed("eks:DescribeCluster", ErrorKind::Credentials(fault)), known).unwrap();
    let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    let token = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token");
    assert!(hint(&of(&[]), CredentialFault::None).starts_with("give the job AWS credentials"));
    assert!(hint(&of(&[pod, token]), CredentialFault::None).starts_with("give the job AWS credentials"));
    let anew = hint(&of(&[pod]), CredentialFault::None);
    assert!(anew.contains("restarts keep the pod, so deploy again. Else give the job AWS credentials"), "{anew}");
    // Without a token file it is the old name of a role to be made.
    assert_eq!(of(&[pod, ("AWS_ROLE_ARN", "arn:x")]).own_role, None);
    let known = of(&[token, ("AWS_ROLE_ARN", "arn:x"), ("QOVERY_KUBERNETES_NAMESPACE_NAME", "z1")]);
    let said = hint(&known, CredentialFault::OwnTrust);
    assert!(said.starts_with("role `arn:x` does not let in the job's ServiceAccount in namespace `z1`: run `bootstrap`"), "{said}");
}
