//! Why pods do not get the role of an association of EKS Pod Identity: the links of the chain, each held against what was observed.

use super::{
    arn::ClusterArn,
    association::{DesiredAssociation, ObservedAssociation},
    diagnosis::{Broken, Diagnosis, Link, diagnose_session},
    explain::PodSession,
    observed::ObservedRole,
};

/// Looks for the first broken link between a ServiceAccount and the role that its pods get. The target role, if there is one, is often of
/// another account and is not looked at.
#[must_use]
pub fn diagnose_association(
    wanted: &DesiredAssociation,
    cluster: &ClusterArn,
    observed: Option<&ObservedAssociation>,
    role: Option<&ObservedRole>,
) -> Diagnosis {
    let found = |link, evidence: String, remedy: &str| {
        Diagnosis::Broken(Broken { link, evidence: vec![evidence], remedy: remedy.to_owned(), is_foreign: false })
    };
    let Some(observed) = observed else {
        let evidence = format!("EKS has no association of ServiceAccount `{}`", wanted.subject);
        return found(Link::Association, evidence, "run `start`: it makes the association");
    };
    let (present, asked) = (&observed.settings, &wanted.settings);
    if (&present.role, &present.target) != (&asked.role, &asked.target) {
        let evidence = format!("association `{}` is with role `{}`, not `{}`", observed.id, present.of_pods(), asked.of_pods());
        return found(Link::Association, evidence, "run `start`: it changes the association");
    }
    let Some(role) = role else {
        return found(Link::Role, format!("role `{}` does not exist", asked.role), "run `start`, or correct the role's ARN");
    };
    diagnose_session(&role.trust, &PodSession { cluster, subject: &wanted.subject, tags: asked.session_tags })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::*;
    use crate::model::{
        anchor::{Anchor, StatementKind},
        association::{AssociationId, AssociationSettings, SessionTags},
        date::Date,
        oidc::Audience,
        role::RoleSettings,
        subjects::SubjectPattern,
        trust::{TrustPolicy, Trusted},
    };

    fn cluster() -> ClusterArn {
        "arn:aws:eks:eu-west-3:123456789012:cluster/demo".parse().unwrap()
    }

    fn wanted() -> DesiredAssociation {
        DesiredAssociation {
            cluster: "demo".parse().unwrap(),
            subject: "z1/app".parse().unwrap(),
            settings: AssociationSettings {
                role: "arn:aws:iam::123456789012:role/app".parse().unwrap(),
                target: None,
                session_tags: SessionTags::On,
                session_policy: None,
            },
            external_id: None,
            tags: BTreeMap::new(),
            kept: BTreeMap::new(),
            job: None,
        }
    }

    fn observed() -> ObservedAssociation {
        ObservedAssociation {
            id: AssociationId::read("a-1"),
            arn: "arn:aws:eks:eu-west-3:123456789012:podidentityassociation/demo/a-1".to_owned(),
            subject: wanted().subject,
            settings: wanted().settings,
            external_id: None,
            tags: BTreeMap::new(),
            add_on: None,
            created: Date::default(),
            changed: Date::default(),
        }
    }

    fn role(namespace: &str) -> ObservedRole {
        let mut trusted = Trusted::nobody(StatementKind::Subjects);
        trusted.add(&Audience::of_pod_identity().into(), SubjectPattern::read(&format!("system:serviceaccount:{namespace}:app")));
        ObservedRole {
            arn: wanted().settings.role,
            settings: RoleSettings::default(),
            permissions_boundary: None,
            tags: BTreeMap::new(),
            trust: TrustPolicy::new(&Anchor::PodIdentity(cluster(), SessionTags::On), &trusted),
            attached: BTreeSet::new(),
            inline_policies: BTreeMap::new(),
            instance_profiles: BTreeSet::new(),
        }
    }

    #[test]
    fn the_first_broken_link_is_named_with_its_evidence() {
        let said = |observed: Option<&ObservedAssociation>, role: Option<&ObservedRole>| match diagnose_association(
            &wanted(),
            &cluster(),
            observed,
            role,
        ) {
            Diagnosis::Broken(broken) => format!("{}: {}", broken.link.name(), broken.evidence.join(" / ")),
            other => format!("{other:?}"),
        };
        assert_eq!(said(Some(&observed()), Some(&role("z1"))), "Holds");
        assert_eq!(said(None, Some(&role("z1"))), "association: EKS has no association of ServiceAccount `z1/app`");
        let mut other = observed();
        other.settings.target = "arn:aws:iam::210987654321:role/data".parse().ok();
        assert_eq!(
            said(Some(&other), Some(&role("z1"))),
            "association: association `a-1` is with role `arn:aws:iam::210987654321:role/data`, not `arn:aws:iam::123456789012:role/app`"
        );
        assert_eq!(said(Some(&observed()), None), "role: role `arn:aws:iam::123456789012:role/app` does not exist");
        assert!(
            said(Some(&observed()), Some(&role("z2"))).starts_with("trust: statement 1 "),
            "{}",
            said(Some(&observed()), Some(&role("z2")))
        );
        let mut denied = role("z1");
        let mut document = denied.trust.to_value();
        document["Statement"].as_array_mut().unwrap().push(json!({"Effect": "Deny", "Principal": "*", "Action": "sts:TagSession"}));
        denied.trust = TrustPolicy::parse(&document.to_string()).unwrap();
        assert_eq!(said(Some(&observed()), Some(&denied)), "trust: statement 2 denies it, whatever the others allow");
    }
}
