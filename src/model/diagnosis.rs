//! Why a token does not get a role: the links of the chain, each held against what was observed.

use super::{
    explain::{Verdict, explain, lets_in},
    observed::{ObservedProvider, ObservedRole},
    oidc::Provider,
    token::Claims,
};

/// One link of the chain from a token to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The token is of the issuer that the provider stands for.
    Issuer,
    /// The account has the OIDC provider.
    Provider,
    /// The provider knows the token's audience.
    Audience,
    /// The role exists.
    Role,
    /// The role's trust policy lets the token in.
    Trust,
}

impl Link {
    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Provider => "provider",
            Self::Audience => "audience",
            Self::Role => "role",
            Self::Trust => "trust",
        }
    }
}

/// A link that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub link: Link,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What to do.
    pub remedy: String,
}

/// The first broken link between a token and a role, if there is one.
#[must_use]
pub fn broken(claims: &Claims, provider: &Provider, observed: Option<&ObservedProvider>, role: Option<&ObservedRole>) -> Option<Broken> {
    let found = |link, evidence: String, remedy: &str| Some(Broken { link, evidence: vec![evidence], remedy: remedy.to_owned() });
    if claims.issuer != provider.issuer.as_str() {
        let evidence = format!("the token is of issuer `{}`, the provider for `{}`", claims.issuer, provider.issuer);
        return found(Link::Issuer, evidence, "correct `IRSA_OIDC_ISSUER`, or the cluster that the job speaks to");
    }
    let Some(observed) = observed else {
        let evidence = format!("the account has no OIDC provider `{}`", provider.issuer.host_and_path());
        return found(Link::Provider, evidence, "run `start`: it makes the provider; or check which account the role is in");
    };
    if !claims.audiences.iter().any(|audience| observed.audiences.contains(audience)) {
        let known: Vec<&str> = observed.audiences.iter().map(String::as_str).collect();
        let evidence = format!("the token is for `{}`, the provider knows `{}`", claims.audiences.join("`, `"), known.join("`, `"));
        return found(Link::Audience, evidence, "run `start`: it adds the audience of the manifest to the provider");
    }
    let Some(role) = role else {
        return found(Link::Role, "the role does not exist".to_owned(), "run `start`, or correct the role's ARN");
    };
    let verdicts = explain(&role.trust, provider, claims);
    if lets_in(&verdicts) {
        return None;
    }
    let evidence = (1..).zip(&verdicts).filter_map(|(number, verdict)| match verdict {
        Verdict::Allows => None,
        Verdict::Denies => Some(format!("statement {number} denies it, whatever the others allow")),
        Verdict::Silent(reasons) => Some(format!("statement {number} does not let it in: {}", reasons.join("; "))),
    });
    let denied = verdicts.contains(&Verdict::Denies);
    let remedy =
        if denied { "remove or narrow that statement of the trust policy by hand" } else { "run `start`: it repairs the trust policy" };
    Some(Broken { link: Link::Trust, evidence: evidence.collect(), remedy: remedy.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::*;
    use crate::model::trust::{TrustPolicy, Trusted};

    fn provider() -> Provider {
        Provider {
            arn: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A".to_owned(),
            issuer: "https://oidc.example.com/id/A".parse().unwrap(),
        }
    }

    fn role() -> ObservedRole {
        let subject = "z1/app".parse().unwrap();
        ObservedRole {
            arn: "arn:aws:iam::123456789012:role/app".parse().unwrap(),
            description: String::new(),
            max_session_duration: 3600,
            permissions_boundary: None,
            tags: BTreeMap::new(),
            trust: TrustPolicy::new(&provider(), &Trusted::subjects(&crate::model::oidc::Audience::default(), [&subject])),
            attached: BTreeSet::new(),
            inline_policies: BTreeMap::new(),
            instance_profiles: BTreeSet::new(),
        }
    }

    #[test]
    fn the_first_broken_link_is_named_with_its_evidence() {
        let claims = Claims {
            issuer: provider().issuer.to_string(),
            audiences: vec!["sts.amazonaws.com".to_owned()],
            subject: "system:serviceaccount:z1:app".to_owned(),
        };
        let known = ObservedProvider { audiences: ["sts.amazonaws.com".to_owned()].into(), is_own: false };
        assert_eq!(broken(&claims, &provider(), Some(&known), Some(&role())), None);

        let link = |claims: &Claims, observed: Option<&ObservedProvider>, role: Option<&ObservedRole>| {
            broken(claims, &provider(), observed, role)
                .map(|broken| format!("{}: {}", broken.link.name(), broken.evidence.join(" / ")))
                .unwrap()
        };
        let other_issuer = Claims { issuer: "https://other".to_owned(), ..claims.clone() };
        assert_eq!(
            link(&other_issuer, Some(&known), Some(&role())),
            "issuer: the token is of issuer `https://other`, the provider for `https://oidc.example.com/id/A`"
        );
        assert_eq!(link(&claims, None, Some(&role())), "provider: the account has no OIDC provider `oidc.example.com/id/A`");
        let other = ObservedProvider { audiences: ["vault".to_owned()].into(), is_own: false };
        assert_eq!(
            link(&claims, Some(&other), Some(&role())),
            "audience: the token is for `sts.amazonaws.com`, the provider knows `vault`"
        );
        assert_eq!(link(&claims, Some(&known), None), "role: the role does not exist");
        let other_subject = Claims { subject: "system:serviceaccount:z2:app".to_owned(), ..claims.clone() };
        assert_eq!(
            link(&other_subject, Some(&known), Some(&role())),
            "trust: statement 1 does not let it in: it wants `sub` = `system:serviceaccount:z1:app`, the token has `system:serviceaccount:z2:app`"
        );
        let mut denied = role();
        let mut document = denied.trust.to_value();
        document["Statement"].as_array_mut().unwrap().push(json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*"}));
        denied.trust = TrustPolicy::parse(&document.to_string()).unwrap();
        assert_eq!(link(&claims, Some(&known), Some(&denied)), "trust: statement 2 denies it, whatever the others allow");
    }
}
