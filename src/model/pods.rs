//! Pods and what makes pods, as far as ServiceAccount and role are concerned.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    containers::{Beside, Certainty, Container, Finding, Node, Others, POD_IDENTITY, Remedy, Volume, WEB_IDENTITY, Wanted, Way, judge},
    names::{Namespace, ServiceAccountName},
};

/// A pod that runs or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name, and what tells it from others of that name.
    pub found: PodRef,
    /// Where it runs.
    pub node: Node,
    /// Kind and name of what made it.
    pub owner: Option<(String, String)>,
    /// Its containers, those of initialisation among them.
    pub containers: Vec<Container>,
    /// Its volumes by name.
    pub volumes: BTreeMap<String, Volume>,
}

/// Who uses a ServiceAccount or a role of the namespace: a pod, a workload that makes pods, or a service of Qovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Who, as messages name it: ``pod `api-5d8f` ``.
    pub user: String,
    /// The ServiceAccount it runs with or asks for.
    pub service_account: String,
    /// The roles in the environments of its containers.
    pub roles: BTreeSet<String>,
    /// Whether it is terminating.
    pub ends: bool,
    /// If it is a pod: what tells it from others of its name.
    pub pod: Option<PodRef>,
    /// In which ways its containers are told to get credentials of AWS.
    pub credentials: BTreeSet<Credentials>,
}

impl Use {
    /// Whether a container has the address of the agent of EKS Pod Identity.
    #[must_use]
    pub fn relies_on_association(&self) -> bool {
        self.credentials.contains(&Credentials::PodIdentity)
    }

    /// Whether a container has a web identity, of whatever role.
    #[must_use]
    pub fn has_web_identity(&self) -> bool {
        self.credentials.iter().any(|way| matches!(way, Credentials::WebIdentity(_)))
    }

    /// Whether a container may have one of these roles by a web identity: not if each says in plain text that it is another.
    #[must_use]
    pub fn may_have_by_web_identity(&self, roles: &BTreeSet<String>) -> bool {
        let may_be = |role: &Option<String>| role.as_ref().is_none_or(|role| roles.contains(role));
        !roles.is_empty() && self.credentials.iter().any(|way| matches!(way, Credentials::WebIdentity(role) if may_be(role)))
    }
}

/// A pod, by what a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its name.
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// Whether it runs.
    pub phase: Phase,
}

/// How far a pod that has not ended has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It was created, and does not run yet.
    Pending,
    /// It runs.
    Running,
}

/// The pods of the ServiceAccount that run and stay.
pub fn running_pods<'a>(uses: &'a [Use], service_account: &ServiceAccountName) -> impl Iterator<Item = &'a PodRef> {
    running(uses, service_account).map(|(_, pod)| pod)
}

/// The same, with what they are told.
pub fn running<'a>(uses: &'a [Use], service_account: &ServiceAccountName) -> impl Iterator<Item = (&'a Use, &'a PodRef)> {
    let stays = uses.iter().filter(move |used| used.service_account == service_account.as_str() && !used.ends);
    stays.filter_map(|used| Some((used, used.pod.as_ref()?))).filter(|(_, pod)| pod.phase == Phase::Running)
}

/// A way to credentials of AWS that a container was told when its pod was created: mostly by the webhook of EKS, which tells each container
/// one, unless it has one already. That never changes while the pod lives.
/// <https://github.com/aws/amazon-eks-pod-identity-webhook>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credentials {
    /// A role and a token to show STS: the ServiceAccount had the annotation, and no association was known. Which role, if it stands there in
    /// plain text.
    WebIdentity(Option<String>),
    /// The address of the agent of EKS Pod Identity: an association was known.
    PodIdentity,
}

/// The pods of a ServiceAccount, container by container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// How many containers use the role, as far as can be seen.
    pub with_role: usize,
    /// How many pods these are in.
    pub pods: usize,
    /// Who made the pods that have it by a web identity from before the association, as `Deployment api`, and how each is made anew.
    pub earlier: BTreeMap<String, String>,
    /// How many pods these are.
    pub earlier_pods: usize,
    /// What keeps others from it, what is certain first; what several pods share is told once.
    pub findings: Vec<Told>,
}

/// A finding about the containers of one name in the pods of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether it is certain that the role is not used.
    pub is_certain: bool,
    /// Which container of what, and why.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
}

/// Judges each container of each pod.
#[must_use]
pub fn judge_all(pods: &[Pod], wanted: &Wanted<'_>) -> Judged {
    let mut judged = Judged::default();
    let mut found: BTreeMap<(Finding, (String, String), String), usize> = BTreeMap::new();
    let is_injected = |container: &Container| match wanted.way {
        Way::WebIdentity { .. } => container.has(WEB_IDENTITY),
        Way::PodIdentity(_) => container.has(WEB_IDENTITY) || container.has(POD_IDENTITY),
    };
    for pod in pods {
        let owner = pod.owner.clone().unwrap_or_else(|| ("Pod".to_owned(), pod.found.name.clone()));
        let (mut with_role, mut earlier) = (0, 0);
        for (at, container) in pod.containers.iter().enumerate() {
            let others = pod.containers.iter().enumerate().any(|(other, found)| other != at && is_injected(found));
            let others = if others { Others::Injected } else { Others::Without };
            let findings = judge(container, &Beside { volumes: &pod.volumes, others, node: pod.node }, wanted);
            with_role += usize::from(findings.is_empty());
            let by_association = matches!(wanted.way, Way::PodIdentity(_));
            let has_it = findings.iter().all(|finding| finding.certainty == Certainty::Possible);
            earlier += usize::from(by_association && has_it && container.has(WEB_IDENTITY));
            for finding in findings {
                *found.entry((finding, owner.clone(), container.name.clone())).or_default() += 1;
            }
        }
        judged.with_role += with_role;
        judged.pods += usize::from(with_role > 0);
        if earlier > 0 {
            judged.earlier_pods += 1;
            judged.earlier.insert(format!("{} `{}`", owner.0, owner.1), restart(&owner, wanted.namespace));
        }
    }
    judged.findings = found
        .into_iter()
        .map(|((finding, owner, container), count)| {
            let of = match (count, owner.0.as_str()) {
                (1, "Pod") => String::new(),
                (1, _) => " (1 pod)".to_owned(),
                (count, _) => format!(" ({count} pods)"),
            };
            Told {
                is_certain: finding.certainty == Certainty::Certain,
                evidence: format!("container `{container}` of {} `{}`{of} {}", owner.0, owner.1, finding.reason),
                remedy: match finding.remedy {
                    Remedy::Restart => restart(&owner, wanted.namespace),
                    Remedy::Words(words) => words,
                },
            }
        })
        .collect();
    judged
}

/// What makes the pods of this owner anew.
fn restart((kind, name): &(String, String), namespace: &Namespace) -> String {
    match kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" => {
            format!("kubectl -n {namespace} rollout restart {}/{name}", kind.to_lowercase())
        }
        "Job" => format!("run {kind} `{name}` again"),
        _ => format!("kubectl -n {namespace} delete {}/{name}", kind.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        arn::RoleArn,
        containers::{Earlier, Given, Mount, ProjectedToken},
        oidc::Audience,
    };

    fn container(name: &str, variables: &[(&str, &str)]) -> Container {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), Given::Text((*value).to_owned())));
        Container { name: name.to_owned(), is_main: true, variables: variables.collect(), ..Container::default() }
    }

    fn pod(name: &str, owner: Option<(&str, &str)>, containers: Vec<Container>) -> Pod {
        let owner = owner.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
        let found = PodRef { name: name.to_owned(), uid: name.to_owned(), phase: Phase::Running };
        Pod { found, node: Node::Linux, owner, containers, volumes: BTreeMap::new() }
    }

    fn judged(pods: &[Pod]) -> Judged {
        let role: RoleArn = "arn:aws:iam::123456789012:role/app".parse().unwrap();
        let (audience, namespace) = (Audience::default(), "z1".parse().unwrap());
        let way = Way::WebIdentity { audience: &audience, associated: None };
        judge_all(pods, &Wanted { role: &role, namespace: &namespace, way })
    }

    #[test]
    fn what_pods_of_one_owner_share_is_told_once_with_the_command_that_makes_them_anew() {
        let pods = [
            pod("a", Some(("Deployment", "api")), vec![container("main", &[])]),
            pod("b", Some(("Deployment", "api")), vec![container("main", &[])]),
            pod("c", Some(("Deployment", "web")), vec![container("main", &[("AWS_ACCESS_KEY_ID", "AKIA")])]),
            pod("d", Some(("Job", "nightly")), vec![container("main", &[])]),
            pod("e", None, vec![container("main", &[])]),
        ];
        let told: Vec<String> = judged(&pods).findings.iter().map(|told| format!("{} -> {}", told.evidence, told.remedy)).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        container `main` of Deployment `web` (1 pod) has `AWS_ACCESS_KEY_ID`: AWS SDKs take keys before the role -> delete these variables where they are set: on the service, its environment or its project, or in its chart; then deploy the service. Keys that the job needs are secrets of the job itself
        container `main` of Deployment `api` (2 pods) runs without the role: its pod is older than the annotation of the ServiceAccount -> kubectl -n z1 rollout restart deployment/api
        container `main` of Deployment `web` (1 pod) runs without the role: its pod is older than the annotation of the ServiceAccount -> kubectl -n z1 rollout restart deployment/web
        container `main` of Job `nightly` (1 pod) runs without the role: its pod is older than the annotation of the ServiceAccount -> run Job `nightly` again
        container `main` of Pod `e` runs without the role: its pod is older than the annotation of the ServiceAccount -> kubectl -n z1 delete pod/e
        ");
    }

    #[test]
    fn containers_are_counted_one_by_one_and_only_those_that_have_the_role() {
        let with =
            container("main", &[("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t/token")]);
        let without_token = judged(&[pod("a", None, vec![with.clone()])]);
        assert_eq!((without_token.with_role, without_token.pods), (0, 0));
        let token = ProjectedToken { path: "token".to_owned(), audience: Some("sts.amazonaws.com".to_owned()) };
        let volumes = [("token".to_owned(), Volume::Projected(vec![token]))].into();
        let mount = Mount { volume: "token".to_owned(), path: "/t".to_owned(), sub_path: String::new() };
        let with = Container { mounts: vec![mount], ..with };
        let sidecar = Container { is_main: false, ..container("proxy", &[]) };
        let whole = Pod { volumes, ..pod("a", None, vec![with.clone(), with, sidecar]) };
        let seen = judged(&[whole]);
        assert_eq!((seen.with_role, seen.pods, seen.findings.len()), (2, 1, 1));
        assert!(!seen.findings[0].is_certain && seen.findings[0].evidence.starts_with("container `proxy` of Pod `a` has no role though"));
    }

    #[test]
    fn pods_from_before_an_association_are_named_by_owner_and_have_the_role_as_long_as_sts_takes_their_web_identity() {
        let role: RoleArn = "arn:aws:iam::123456789012:role/app".parse().unwrap();
        let (audience, namespace) = (Audience::default(), "z1".parse().unwrap());
        let pair = |(first, second): (&str, &str), one: &str| container("main", &[(first, one), (second, "/t/token")]);
        let mounted = |name: &str, owner: Option<(&str, &str)>, container: Container, audience: &str| {
            let token = ProjectedToken { path: "token".to_owned(), audience: Some(audience.to_owned()) };
            let mount = Mount { volume: "token".to_owned(), path: "/t".to_owned(), sub_path: String::new() };
            let volumes = [("token".to_owned(), Volume::Projected(vec![token]))].into();
            Pod { volumes, ..pod(name, owner, vec![Container { mounts: vec![mount], ..container }]) }
        };
        let old = pair(WEB_IDENTITY, "arn:aws:iam::123456789012:role/app");
        let new = pair(POD_IDENTITY, "http://169.254.170.23/v1/credentials");
        let pods = [
            mounted("a", Some(("Deployment", "api")), old.clone(), "sts.amazonaws.com"),
            mounted("b", Some(("Deployment", "api")), old, "sts.amazonaws.com"),
            mounted("c", Some(("Deployment", "api")), new, "pods.eks.amazonaws.com"),
            pod("d", None, vec![container("main", &[])]),
        ];
        let judged = |earlier| judge_all(&pods, &Wanted { role: &role, namespace: &namespace, way: Way::PodIdentity(earlier) });
        let seen = judged(Earlier::Works { role: &role, audience: &audience });
        assert_eq!((seen.with_role, seen.pods, seen.earlier_pods, seen.findings.len()), (3, 3, 2, 1));
        let restart = [("Deployment `api`".to_owned(), "kubectl -n z1 rollout restart deployment/api".to_owned())];
        assert_eq!(seen.earlier, restart.into());
        assert!(seen.findings[0].is_certain && seen.findings[0].evidence.contains("is older than the association"), "{seen:?}");
        let seen = judged(Earlier::Refused);
        assert_eq!((seen.with_role, seen.earlier_pods, seen.findings.len()), (1, 0, 2), "{seen:?}");
        let seen = judged(Earlier::Unknown);
        assert_eq!((seen.with_role, seen.earlier_pods, seen.findings.iter().filter(|told| told.is_certain).count()), (1, 2, 1), "{seen:?}");
    }
}
