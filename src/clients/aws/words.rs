//! What AWS says in sentences: whose policy denies which action, which quota is reached, why a token is not taken.
//!
//! A sentence that is not known says nothing: then the code alone counts.

use crate::clients::call::{Denial, DeniedBy, DocumentFault, Missing, PodFault, Quota, RoleFault, TokenFault};

/// Who may not do what, and whose policy says so.
///
/// `User: ARN is not authorized to perform: ACTION on resource: ARN because no KIND policy allows the ACTION action`, or
/// `… with an explicit deny in a KIND policy`, since 2026 with the policy's ARN behind it; of a trust policy STS says only
/// `Not authorized to perform sts:AssumeRoleWithWebIdentity`.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
pub(super) fn denial(message: &str) -> Denial {
    let after = |text: &str| {
        let (_, rest) = message.split_once(text)?;
        rest.split_whitespace().next().map(|word| word.trim_end_matches(['.', ',', ';']).to_owned())
    };
    let action = after("to perform: ").or_else(|| after("to perform ")).filter(|action| is_action(action));
    let said = message.to_ascii_lowercase();
    let (is_explicit, by) = match said.split_once("explicit deny") {
        Some((_, rest)) => (true, kind_of(rest)),
        None => (false, said.split_once(" because no ").map_or(DeniedBy::Unsaid, |(_, rest)| kind_of(rest))),
    };
    Denial { action, by, is_explicit, caller: after("User: ") }
}

fn is_action(text: &str) -> bool {
    text.split_once(':').is_some_and(|(service, name)| {
        let plain = |part: &str| !part.is_empty() && part.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
        plain(service) && plain(name)
    })
}

/// The kind of policy that a sentence names first.
fn kind_of(sentence: &str) -> DeniedBy {
    let kinds = [
        ("service control polic", DeniedBy::ServiceControl),
        ("resource control polic", DeniedBy::ResourceControl),
        ("permissions boundary", DeniedBy::Boundary),
        ("session polic", DeniedBy::Session),
        ("vpc endpoint polic", DeniedBy::Endpoint),
        ("identity-based polic", DeniedBy::Identity),
        ("resource-based polic", DeniedBy::Resource),
        ("role trust polic", DeniedBy::Resource),
    ];
    let named = kinds.into_iter().filter_map(|(words, kind)| Some((sentence.find(words)?, kind)));
    named.min_by_key(|(at, _)| *at).map_or(DeniedBy::Unsaid, |(_, kind)| kind)
}

/// `Cannot exceed quota for ACLSizePerRole: 2048`
pub(super) fn quota(message: &str) -> Quota {
    let said = message.split_once("quota for ").and_then(|(_, rest)| rest.split_once(':'));
    Quota {
        name: said.map(|(name, _)| name.trim().to_owned()).filter(|name| !name.is_empty()),
        limit: said.and_then(|(_, limit)| limit.trim().trim_end_matches('.').parse().ok()),
    }
}

/// `The role with name NAME cannot be found.`, `Policy ARN does not exist or is not attachable.`
pub(super) fn missing(message: &str) -> Missing {
    let role = message.split_once("role with name ").and_then(|(_, rest)| rest.split_once(" cannot be found"));
    match role {
        Some((name, _)) => Missing::Role(name.to_owned()),
        None if message.starts_with("Policy ") => Missing::Policy,
        None => Missing::Thing,
    }
}

/// Why `InvalidIdentityToken`. The sentences are those of <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
/// and of reports of users, as <https://github.com/awslabs/aws-sdk-rust/issues/827>.
pub(super) fn token_fault(message: &str) -> TokenFault {
    let said = message.to_ascii_lowercase();
    if said.contains("no openidconnect provider found") {
        TokenFault::NoProvider
    } else if said.contains("thumbprint") {
        TokenFault::Thumbprint
    } else if said.contains("verification key") || said.contains("could not be validated") {
        TokenFault::Keys
    } else if said.contains("audience") {
        TokenFault::Audience
    } else if said.contains("expired") {
        TokenFault::Expired
    } else {
        TokenFault::Other
    }
}

/// Why EKS does not take the role of an association, if that is what it says. The first two sentences are known from reports of users:
/// <https://github.com/hashicorp/terraform-provider-aws/issues/34711>, <https://github.com/hashicorp/terraform-provider-aws/issues/41483>.
pub(super) fn role_fault(message: &str) -> Option<RoleFault> {
    let said = message.to_ascii_lowercase();
    if said.contains("role provided in the request does not exist") {
        Some(RoleFault::Missing)
    } else if said.contains("trust policy of role is invalid") {
        Some(RoleFault::Trust)
    } else {
        said.contains("cross-account pass role is not allowed").then_some(RoleFault::OtherAccount)
    }
}

/// Whether it is that an add-on owns the association.
pub(super) fn is_of_add_on(message: &str) -> bool {
    let said = message.to_ascii_lowercase();
    said.contains("owned by") || said.contains("managed by")
}

/// Whether a token that has expired is the caller's own, which AWS calls a security token, and not the one that was shown.
pub(super) fn is_of_caller(message: &str) -> bool {
    message.to_ascii_lowercase().contains("security token")
}

/// What EKS does not know of a pod: its cluster, or an association.
pub(super) fn missing_for_pod(message: &str) -> PodFault {
    let said = message.to_ascii_lowercase();
    if said.contains("association") || !said.contains("cluster") { PodFault::Association } else { PodFault::Cluster }
}

/// Why `InvalidTokenException` of a pod's token. No public source lists the sentences.
pub(super) fn pod_token_fault(message: &str) -> PodFault {
    let said = message.to_ascii_lowercase();
    if said.contains("expired") {
        PodFault::Expired
    } else if said.contains("audience") {
        PodFault::Audience
    } else if said.contains("pod") || said.contains("bound") {
        PodFault::Unbound
    } else {
        PodFault::Token
    }
}

/// `Invalid principal in policy: "AWS":"…"`
pub(super) fn document_fault(message: &str) -> DocumentFault {
    if message.contains("Invalid principal") { DocumentFault::Principal } else { DocumentFault::Form }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_action_and_whose_policy_it_is() {
        let user = "User: arn:aws:iam::123456789012:user/job is not authorized to perform: iam:TagRole on resource: arn:aws:iam::123456789012:role/qovery/x";
        for (end, by, is_explicit) in [
            (" because no identity-based policy allows the iam:TagRole action", DeniedBy::Identity, false),
            (" with an explicit deny in an identity-based policy", DeniedBy::Identity, true),
            (" with an explicit deny in a service control policy", DeniedBy::ServiceControl, true),
            (
                " with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-1/service_control_policy/p-1",
                DeniedBy::ServiceControl,
                true,
            ),
            (" because no service control policy allows the iam:TagRole action", DeniedBy::ServiceControl, false),
            (" with an explicit deny in a resource control policy", DeniedBy::ResourceControl, true),
            (" because no permissions boundary allows the iam:TagRole action", DeniedBy::Boundary, false),
            (" with an explicit deny in a permissions boundary", DeniedBy::Boundary, true),
            (" because no session policy allows the iam:TagRole action", DeniedBy::Session, false),
            (" with an explicit deny in a VPC endpoint policy", DeniedBy::Endpoint, true),
            (" because no VPC endpoint policy allows the iam:TagRole action", DeniedBy::Endpoint, false),
            (" with an explicit deny in a resource-based policy", DeniedBy::Resource, true),
            (" with an explicit deny", DeniedBy::Unsaid, true),
            (" with an explicit deny in a policy of a kind to come", DeniedBy::Unsaid, true),
            ("", DeniedBy::Unsaid, false),
        ] {
            let caller = Some("arn:aws:iam::123456789012:user/job".to_owned());
            let wanted = Denial { action: Some("iam:TagRole".to_owned()), by, is_explicit, caller };
            assert_eq!(denial(&format!("{user}{end}")), wanted, "{end}");
        }
    }

    #[test]
    fn a_sentence_that_is_not_known_says_nothing() {
        let sts = denial("Not authorized to perform sts:AssumeRoleWithWebIdentity");
        assert_eq!((sts.action.as_deref(), sts.by, sts.is_explicit), (Some("sts:AssumeRoleWithWebIdentity"), DeniedBy::Unsaid, false));
        for message in ["", "no", "to perform: ", "to perform: nothing at all", "to perform: a:b:c", "to perform: \u{1b}:x"] {
            assert_eq!(denial(message).action, None, "{message}");
        }
    }

    #[test]
    fn quotas_are_read_with_their_number() {
        let of = |message: &str| {
            let Quota { name, limit } = quota(message);
            (name.unwrap_or_default(), limit)
        };
        assert_eq!(of("Cannot exceed quota for ACLSizePerRole: 2048"), ("ACLSizePerRole".to_owned(), Some(2048)));
        assert_eq!(of("Cannot exceed quota for PoliciesPerRole: 10."), ("PoliciesPerRole".to_owned(), Some(10)));
        assert_eq!(of("Cannot exceed quota for RolesPerAccount: many"), ("RolesPerAccount".to_owned(), None));
        assert_eq!(of("no more"), (String::new(), None));
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        assert_eq!(missing("The role with name app-z1 cannot be found."), Missing::Role("app-z1".to_owned()));
        assert_eq!(missing("Policy arn:aws:iam::aws:policy/Nope does not exist or is not attachable."), Missing::Policy);
        assert_eq!(missing("OpenIDConnect Provider not found for arn x"), Missing::Thing);
    }

    #[test]
    fn tokens_are_refused_for_a_reason() {
        for (message, fault) in [
            ("No OpenIDConnect provider found in your account for https://oidc.example.com", TokenFault::NoProvider),
            ("Incorrect token audience", TokenFault::Audience),
            (
                "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
                TokenFault::Keys,
            ),
            ("The ID Token provided could not be validated", TokenFault::Keys),
            ("OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint", TokenFault::Thumbprint),
            ("Token is expired", TokenFault::Expired),
            ("no", TokenFault::Other),
        ] {
            assert_eq!(token_fault(message), fault, "{message}");
        }
    }
}
