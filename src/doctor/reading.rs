//! What the chains read, each with one call and its patience; and what both say in the same words.

use crate::{
    clients::{
        aws::{ASSUME, ASSUME_FOR_POD},
        call::{CallError, Patience},
        kubernetes::{NAMESPACES, TOKEN},
    },
    model::{
        advice::{EKS_PREFIX, READ_BY_EKS},
        arn::RoleArn,
        association::ObservedAssociation,
        containers::Wanted,
        line::counted,
        names::{ClusterName, Subject},
        observed::{Field, ObservedProvider, ObservedRole, ObservedServiceAccount},
        oidc::{Audience, Provider},
        pods::{Judged, Pod, PodRef, judge_all},
        sessions::AssumedRole,
    },
    report::check::Check,
    steps::connect::Connection,
};

const AUDIENCE: &str = "eks.amazonaws.com/audience";
pub(super) const PROVIDER: &str = "iam:GetOpenIDConnectProvider";
pub(super) const ROLE: &str = "iam:GetRole";
pub(super) const ASSOCIATIONS: &str = "eks:ListPodIdentityAssociations";
pub(super) const PODS: &str = "kubernetes:list pods";
pub(super) const SERVICE_ACCOUNT: &str = "kubernetes:get serviceaccounts";

pub(super) struct Doctor<'a> {
    pub(super) connection: &'a Connection,
    pub(super) patience: &'a Patience,
    pub(super) provider: Provider,
}

impl Doctor<'_> {
    pub(super) async fn account(&self, subject: &Subject) -> Result<Option<ObservedServiceAccount>, CallError> {
        self.patience.call(SERVICE_ACCOUNT, async || self.connection.kubernetes.service_account(subject).await).await
    }

    pub(super) async fn token(&self, subject: &Subject, audience: &Audience) -> Result<String, CallError> {
        self.patience.call(TOKEN, async || self.connection.kubernetes.token(subject, audience).await).await
    }

    /// Whether the namespace is being deleted, as far as that can be seen.
    pub(super) async fn namespace_ends(&self, subject: &Subject) -> bool {
        let ends = self.patience.call(NAMESPACES, async || self.connection.kubernetes.namespace_ends(&subject.namespace).await).await;
        ends.unwrap_or(false)
    }

    pub(super) async fn known_provider(&self) -> Result<Option<ObservedProvider>, CallError> {
        self.patience.call(PROVIDER, async || self.connection.aws.provider(&self.provider.arn).await).await
    }

    /// The role of exactly this ARN.
    pub(super) async fn role(&self, role: &RoleArn) -> Result<Option<ObservedRole>, CallError> {
        let observed = self.patience.call(ROLE, async || self.connection.aws.role(&role.name).await).await;
        observed.map(|observed| observed.filter(|observed| observed.arn == *role))
    }

    /// What STS says to the token of a ServiceAccount.
    pub(super) async fn session(&self, role: &RoleArn, token: &str) -> Result<AssumedRole, CallError> {
        self.patience.call(ASSUME, async || self.connection.aws.assume_with_token(role, token).await).await
    }

    /// A token that is bound to this pod.
    pub(super) async fn token_of_pod(&self, subject: &Subject, pod: &PodRef) -> Result<String, CallError> {
        let audience = Audience::of_pod_identity();
        self.patience.call(TOKEN, async || self.connection.kubernetes.token_of_pod(subject, &audience, pod).await).await
    }

    /// What EKS says to the token of a pod.
    pub(super) async fn session_of_pod(&self, cluster: &ClusterName, token: &str) -> Result<AssumedRole, CallError> {
        self.patience.call(ASSUME_FOR_POD, async || self.connection.aws.assume_for_pod(cluster, token).await).await
    }

    /// The associations of a ServiceAccount: EKS allows one.
    pub(super) async fn associations(&self, cluster: &ClusterName, subject: &Subject) -> Result<Vec<ObservedAssociation>, CallError> {
        let (aws, namespace, account) = (&self.connection.aws, &subject.namespace, &subject.service_account);
        let listed = self.patience.call(ASSOCIATIONS, async || aws.associations(cluster, Some(namespace), Some(account)).await).await?;
        let mut found = Vec::new();
        for listed in listed {
            found.extend(self.patience.call(ASSOCIATIONS, async || aws.association(cluster, &listed.id).await).await?);
        }
        Ok(found)
    }

    pub(super) async fn pods(&self, subject: &Subject) -> Result<Vec<Pod>, CallError> {
        self.patience.call(PODS, async || self.connection.kubernetes.pods_of(subject).await).await
    }
}

/// What there is to say of the pods: how many containers have the role, in these words, and each that does not or may not.
pub(super) fn pods_checks(pods: &[Pod], wanted: &Wanted<'_>, with_it: &str) -> (Vec<Check>, Judged) {
    let judged = judge_all(pods, wanted);
    let with = match (judged.with_role, judged.findings.as_slice()) {
        (0, []) => Some("none runs".to_owned()),
        (0, _) => None,
        (containers, _) => Some(format!("{} of {} with {with_it}", counted(containers, "container"), counted(judged.pods, "pod"))),
    };
    let told = judged.findings.iter().map(|told| {
        let check = if told.is_certain { Check::broken } else { Check::note };
        check("pods", told.evidence.clone(), &told.remedy)
    });
    (with.map(|with| Check::ok("pods", with)).into_iter().chain(told).collect(), judged)
}

/// The audience that the annotations of a ServiceAccount ask for.
pub(super) fn audience(observed: &ObservedServiceAccount) -> Audience {
    let audience = observed.values.get(&Field::Annotation(AUDIENCE.to_owned()));
    audience.and_then(|audience| audience.parse().ok()).unwrap_or_default()
}

/// Annotations that are spelt like those of EKS and that it does not read.
pub(super) fn unread(observed: &ObservedServiceAccount) -> Option<Check> {
    let keys = observed.values.keys().filter_map(|field| match field {
        Field::Annotation(key) if key.starts_with(EKS_PREFIX) && !READ_BY_EKS.contains(&key.as_str()) => Some(format!("`{key}`")),
        _ => None,
    });
    let keys = keys.collect::<Vec<_>>().join(", ");
    let evidence = format!("EKS does not read {keys} on a ServiceAccount");
    (!keys.is_empty())
        .then(|| Check::note("annotation", evidence, &format!("remove it, or correct it: EKS reads `{}`", READ_BY_EKS.join("`, `"))))
}
