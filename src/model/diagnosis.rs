//! Why a token does not get a role, or an association does not give it: the links of the chain, each held against what was observed; and
//! what STS says then.

use std::time::Duration;

use serde_json::Value;

use super::{
    anchor::Anchor,
    arn::{ExternalId, RoleArn},
    explain::{PodSession, Said, Verdict, explain, named, verdict},
    observed::{ObservedProvider, ObservedRole},
    oidc::Provider,
    token::Claims,
    trust::TrustPolicy,
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
    /// EKS has an association of the ServiceAccount with the role.
    Association,
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
            Self::Association => "association",
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
    /// Whether it is somebody else's decision, which no write of this tool brings about: then it is no change that is still to show.
    pub is_foreign: bool,
}

/// What is seen of the chain from a token to a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// Every link is as it should be.
    Holds,
    /// No link is seen to be broken, and the trust policy depends on what cannot be judged from here: the statements, in words.
    Unknown(Vec<String>),
    /// The first link that is broken.
    Broken(Broken),
}

/// How long a read that shows a broken link may be of the past.
const SHOWS_THE_PAST: Duration = Duration::from_secs(10);
/// How long STS may know less than what is seen to be right and was not changed by this run.
const UNCHANGED: Duration = Duration::from_mins(1);

/// Why STS refuses a token although the whole chain is as it should be. A deny in a policy of the organization or of an endpoint shows in
/// no policy of the role.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>
pub const OTHER_CAUSES: &str = "if it stays, look for a deny outside the role: a service control policy (SCP) or resource control policy (RCP) of the organization, the policy of a VPC endpoint for STS; and whether STS is active for this region";

/// For how long it is worth asking STS again which refuses a token: for ever, if nothing is named.
///
/// | seen | chain changed by this run | |
/// |---|---|---|
/// | somebody else denies it | | not at all |
/// | a link is broken | | ten seconds: the read may be of the past |
/// | all right, or not to be judged | no | a minute |
/// | all right, or not to be judged | yes | until the deadline: the change must only show |
#[must_use]
pub fn worth_waiting(diagnosis: Option<&Diagnosis>, changed: bool) -> Option<Duration> {
    match diagnosis {
        Some(Diagnosis::Broken(broken)) => Some(if broken.is_foreign { Duration::ZERO } else { SHOWS_THE_PAST }),
        _ => (!changed).then_some(UNCHANGED),
    }
}

/// Looks for the first broken link between a token and a role.
#[must_use]
pub fn diagnose(claims: &Claims, provider: &Provider, observed: Option<&ObservedProvider>, role: Option<&ObservedRole>) -> Diagnosis {
    let found = |link, evidence: String, remedy: &str| {
        Diagnosis::Broken(Broken { link, evidence: vec![evidence], remedy: remedy.to_owned(), is_foreign: false })
    };
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
    trust(&role.trust, provider, claims)
}

fn trust(trust: &TrustPolicy, provider: &Provider, claims: &Claims) -> Diagnosis {
    let own = Anchor::Oidc(provider.clone());
    judged(trust, &explain(trust, provider, claims), |statement| own.is_own(statement))
}

/// Whether a trust policy lets EKS Pod Identity open this session.
#[must_use]
pub fn diagnose_session(trust: &TrustPolicy, session: &PodSession<'_>) -> Diagnosis {
    let own = Anchor::PodIdentity(session.cluster.clone(), session.tags);
    let of_action = |action: &&str| judged(trust, &session.explain(trust, action), |statement| own.is_own(statement));
    worst(session.actions().iter().map(of_action))
}

/// Whether the trust policy of a target role lets the role of an association go on to it. It is not the tool's to write.
#[must_use]
pub fn diagnose_target(trust: &TrustPolicy, role: &RoleArn, external_id: Option<&ExternalId>, session: &PodSession<'_>) -> Diagnosis {
    let of_action = |action: &&str| judged(trust, &session.explain_target(trust, role, external_id, action), |_| false);
    worst(session.actions().iter().map(of_action))
}

/// What is broken, else what is not known, of several that must all hold.
fn worst(all: impl Iterator<Item = Diagnosis>) -> Diagnosis {
    all.fold(Diagnosis::Holds, |worst, next| match (&worst, &next) {
        (Diagnosis::Broken(_), _) | (Diagnosis::Unknown(_), Diagnosis::Holds | Diagnosis::Unknown(_)) => worst,
        _ => next,
    })
}

/// What the statements say together, and which of them decide it.
fn judged(trust: &TrustPolicy, said: &[Said], is_own: impl Fn(&Value) -> bool) -> Diagnosis {
    // Only what decides is worth naming: nothing outweighs a certain denial, and what may allow does not matter beside what does.
    let (denied, allowed) = (said.contains(&Said::Denies), said.contains(&Said::Allows));
    let decides = |said: &Said| match said {
        Said::Allows => false,
        Said::Denies => true,
        Said::MayDeny(_) => !denied,
        Said::MayAllow(_) | Said::Silent(_) => !denied && !allowed,
    };
    let verdict = verdict(said);
    let deciding = (1..).zip(said).zip(trust.statements()).filter(|((_, said), _)| decides(said));
    let evidence = deciding.filter(|((_, said), _)| verdict != Verdict::Unknown || !matches!(said, Said::Silent(_)));
    let evidence = evidence.map(|((number, said), statement)| in_words(number, statement, said)).collect();
    match verdict {
        Verdict::Allowed => Diagnosis::Holds,
        Verdict::Unknown => Diagnosis::Unknown(evidence),
        Verdict::Refused => {
            let is_foreign = said.iter().zip(trust.statements()).any(|(said, statement)| *said == Said::Denies && !is_own(statement));
            let remedy = if is_foreign {
                "remove or narrow that statement of the trust policy by hand"
            } else {
                "run `start`: it repairs the trust policy"
            };
            Diagnosis::Broken(Broken { link: Link::Trust, evidence, remedy: remedy.to_owned(), is_foreign })
        }
    }
}

fn in_words(number: usize, statement: &Value, said: &Said) -> String {
    let says = match said {
        Said::Allows => "lets it in".to_owned(),
        Said::Denies => "denies it, whatever the others allow".to_owned(),
        Said::MayAllow(unknown) => format!("may let it in; cannot be judged from here: {}", unknown.join(", ")),
        Said::MayDeny(unknown) => format!("may deny it; cannot be judged from here: {}", unknown.join(", ")),
        Said::Silent(reasons) => format!("does not let it in: {}", reasons.join("; ")),
    };
    format!("{} {says}", named(number, statement))
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
            settings: crate::model::role::RoleSettings::default(),
            permissions_boundary: None,
            tags: BTreeMap::new(),
            trust: TrustPolicy::new(&Anchor::Oidc(provider()), &Trusted::named(&crate::model::oidc::Audience::default(), [&subject])),
            attached: BTreeSet::new(),
            inline_policies: BTreeMap::new(),
            instance_profiles: BTreeSet::new(),
        }
    }

    fn claims() -> Claims {
        Claims {
            issuer: provider().issuer.to_string(),
            audiences: vec!["sts.amazonaws.com".to_owned()],
            subject: "system:serviceaccount:z1:app".to_owned(),
            methods: Vec::new(),
        }
    }

    fn known() -> ObservedProvider {
        ObservedProvider { audiences: ["sts.amazonaws.com".to_owned()].into(), is_own: false }
    }

    #[test]
    fn the_first_broken_link_is_named_with_its_evidence() {
        let (claims, known) = (claims(), known());
        assert_eq!(diagnose(&claims, &provider(), Some(&known), Some(&role())), Diagnosis::Holds);

        let link = |claims: &Claims, observed: Option<&ObservedProvider>, role: Option<&ObservedRole>| match diagnose(
            claims,
            &provider(),
            observed,
            role,
        ) {
            Diagnosis::Broken(broken) => format!("{}: {}", broken.link.name(), broken.evidence.join(" / ")),
            other => panic!("{other:?}"),
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
            "trust: statement 1 `QoveryIrsalnlnei66` does not let it in: it wants `sub` = `system:serviceaccount:z1:app`, the token has `system:serviceaccount:z2:app`"
        );
        let mut denied = role();
        let mut document = denied.trust.to_value();
        document["Statement"].as_array_mut().unwrap().push(json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*"}));
        denied.trust = TrustPolicy::parse(&document.to_string()).unwrap();
        assert_eq!(link(&claims, Some(&known), Some(&denied)), "trust: statement 2 denies it, whatever the others allow");
    }

    fn with(statements: &[Value]) -> ObservedRole {
        let mut role = role();
        let mut document = role.trust.to_value();
        document["Statement"].as_array_mut().unwrap().extend(statements.iter().cloned());
        role.trust = TrustPolicy::parse(&document.to_string()).unwrap();
        role
    }

    fn of_role(role: &ObservedRole) -> Diagnosis {
        diagnose(&claims(), &provider(), Some(&known()), Some(role))
    }

    #[test]
    fn a_denial_that_depends_on_what_is_not_seen_is_named_as_unknown() {
        let region = json!({"Sid": "Region", "Effect": "Deny", "Principal": "*", "Action": "sts:*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": "eu-west-3"}}});
        let beside = json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"});
        assert_eq!(
            of_role(&with(&[beside, region.clone()])),
            Diagnosis::Unknown(vec!["statement 3 `Region` may deny it; cannot be judged from here: `aws:RequestedRegion`".to_owned()])
        );
        let everybody = json!({"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:*"});
        let Diagnosis::Broken(broken) = of_role(&with(&[region, everybody])) else { panic!() };
        assert_eq!(broken.evidence, ["statement 3 denies it, whatever the others allow"]);
        assert!(broken.is_foreign);
    }

    #[test]
    fn the_tools_own_denial_is_repaired_by_a_start() {
        let mut role = role();
        role.trust = role.trust.rendered(&Anchor::Oidc(provider()), &Trusted::nobody(crate::model::anchor::StatementKind::Subjects));
        let Diagnosis::Broken(broken) = of_role(&role) else { panic!() };
        assert_eq!((broken.is_foreign, broken.remedy.as_str()), (false, "run `start`: it repairs the trust policy"));
    }
}
