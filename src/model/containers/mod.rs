//! A container of a pod, and the AWS credentials its SDK takes: the role that it is to have, or something else that wins over it.
//!
//! Only what a pod's spec shows is judged. The values of Secrets and `ConfigMaps` are never read; a variable counts by its name.
//!
//! The order in which SDKs search: <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>. What EKS adds to a
//! container, and when it does not: <https://github.com/aws/amazon-eks-pod-identity-webhook>.

mod keys;
mod nouns;
mod pod_identity;
mod token;
mod web_identity;

use self::keys::{hidden, keys, profiles};
pub use self::{
    keys::PROFILES,
    nouns::{
        Beside, Certainty, Container, Earlier, Finding, Given, Mount, Node, Others, ProjectedToken, Remedy, Source, SourceKind, Volume,
        Wanted, Way,
    },
    pod_identity::POD_IDENTITY,
    web_identity::WEB_IDENTITY,
};

/// What keeps a container from its role; nothing if it has it. What EKS should have given it is judged for each [`Way`].
///
/// | the container has | finding |
/// |---|---|
/// | a static key | certain: keys win |
/// | a profile, or older names of a key | possible: some SDKs take these first |
/// | `envFrom` that may hold a key | possible |
#[must_use]
pub fn judge(container: &Container, beside: &Beside<'_>, wanted: &Wanted<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = keys(container).into_iter().chain(profiles(container)).collect();
    findings.extend(match &wanted.way {
        Way::WebIdentity { audience, associated } => web_identity::judge(container, beside, wanted.role, audience, *associated),
        Way::PodIdentity(earlier) => pod_identity::judge(container, beside, earlier),
    });
    // What is certain already needs no guess.
    if findings.iter().all(|finding| finding.certainty == Certainty::Possible) {
        findings.extend(hidden(container, wanted));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        keys::{KEY, OLD_KEY},
        web_identity::{ROLE, TOKEN_FILE},
        *,
    };
    use crate::model::{arn::RoleArn, oidc::Audience};

    const FILE: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";

    fn text(value: &str) -> Given {
        Given::Text(value.to_owned())
    }

    fn from(name: &str) -> Given {
        Given::From(format!("Secret `{name}`"))
    }

    /// A container as the webhook of EKS leaves it.
    fn injected() -> Container {
        Container {
            name: "api".to_owned(),
            is_main: true,
            variables: [(ROLE.to_owned(), text("arn:aws:iam::123456789012:role/app")), (TOKEN_FILE.to_owned(), text(FILE))].into(),
            mounts: vec![mount("aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount")],
            ..Container::default()
        }
    }

    fn mount(volume: &str, path: &str) -> Mount {
        Mount { volume: volume.to_owned(), path: path.to_owned(), sub_path: String::new() }
    }

    fn with(variables: &[(&str, Given)]) -> Container {
        let mut container = injected();
        container.variables.extend(variables.iter().map(|(name, given)| ((*name).to_owned(), given.clone())));
        container
    }

    fn only(variables: &[(&str, Given)]) -> Container {
        Container { variables: variables.iter().map(|(name, given)| ((*name).to_owned(), given.clone())).collect(), ..injected() }
    }

    fn token(audience: Option<&str>) -> BTreeMap<String, Volume> {
        let token = ProjectedToken { path: "token".to_owned(), audience: audience.map(str::to_owned) };
        [("aws-iam-token".to_owned(), Volume::Projected(vec![token])), ("files".to_owned(), Volume::Other)].into()
    }

    fn judged(container: &Container, volumes: &BTreeMap<String, Volume>, others: bool, associated: Option<bool>) -> String {
        let (role, audience) = ("arn:aws:iam::123456789012:role/app".parse().unwrap(), Audience::default());
        let namespace = "z1".parse().unwrap();
        let wanted = Wanted { role: &role, namespace: &namespace, way: Way::WebIdentity { audience: &audience, associated } };
        let others = if others { Others::Injected } else { Others::Without };
        lines(&judge(container, &Beside { volumes, others, node: Node::Linux }, &wanted))
    }

    fn lines(findings: &[Finding]) -> String {
        let line = |finding: &Finding| {
            assert!(!matches!(&finding.remedy, Remedy::Words(words) if words.is_empty()));
            format!("{:?}: {}", finding.certainty, finding.reason)
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn said(container: &Container) -> String {
        judged(container, &token(Some("sts.amazonaws.com")), false, None)
    }

    #[test]
    fn a_container_as_eks_leaves_it_has_the_role() {
        assert_eq!(said(&injected()), "");
        assert_eq!(said(&with(&[("AWS_REGION", text("eu-west-3")), ("AWS_STS_REGIONAL_ENDPOINTS", text("regional"))])), "");
        // With both, SDKs take the web identity first.
        assert_eq!(said(&with(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", text("http://169.254.170.23/v1/credentials"))])), "");
    }

    #[test]
    fn keys_win_however_they_are_given_and_an_empty_one_is_none() {
        let keys = |id: Given, secret: Given| with(&[(KEY.0, id), (KEY.1, secret)]);
        let win = "AWS SDKs take keys before the role";
        assert_eq!(said(&keys(text("AKIA"), text("x"))), format!("Certain: has `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`: {win}"));
        assert_eq!(
            said(&keys(from("web"), from("web"))),
            format!("Certain: has `AWS_ACCESS_KEY_ID` (from Secret `web`) and `AWS_SECRET_ACCESS_KEY` (from Secret `web`): {win}")
        );
        assert_eq!(said(&with(&[(KEY.0, from("web"))])), format!("Certain: has `AWS_ACCESS_KEY_ID` (from Secret `web`): {win}"));
        assert_eq!(said(&with(&[(KEY.1, text("x"))])), "Possible: has `AWS_SECRET_ACCESS_KEY` without `AWS_ACCESS_KEY_ID`: half of a key");
        assert_eq!(said(&keys(text(""), text(""))), "");
        assert_eq!(said(&with(&[("AWS_SESSION_TOKEN", text("x"))])), "");
        assert_eq!(
            said(&with(&[(OLD_KEY.0, text("x")), (OLD_KEY.1, text("y"))])),
            "Possible: has `AWS_ACCESS_KEY` and `AWS_SECRET_KEY`: the AWS SDKs for Go and Java 1.x take these before the role"
        );
    }

    #[test]
    fn a_profile_may_win() {
        for name in PROFILES {
            let said = said(&with(&[(name, from("web"))]));
            assert_eq!(said, format!("Possible: has `{name}` (from Secret `web`): some AWS SDKs take what a profile says before the role"));
        }
        assert_eq!(said(&with(&[("AWS_PROFILE", text(""))])), "");
    }

    #[test]
    fn one_variable_of_two_gives_no_role() {
        assert_eq!(
            said(&only(&[(ROLE, text("arn:aws:iam::123456789012:role/app"))])),
            "Certain: has its own `AWS_ROLE_ARN` and no `AWS_WEB_IDENTITY_TOKEN_FILE`: EKS sets neither beside it, and AWS SDKs need both"
        );
        assert!(said(&only(&[(ROLE, from("web"))])).contains("its own `AWS_ROLE_ARN` (from Secret `web`) and no"));
        assert!(said(&only(&[(TOKEN_FILE, text(FILE))])).contains("has its own `AWS_WEB_IDENTITY_TOKEN_FILE` and no `AWS_ROLE_ARN`"));
        // The webhook looks at names: an empty one keeps it away too.
        assert!(said(&only(&[(ROLE, text(""))])).starts_with("Certain: has its own `AWS_ROLE_ARN` and no"));
    }

    #[test]
    fn another_role_is_named_and_one_that_cannot_be_seen_is_said_to_be_so() {
        assert_eq!(
            said(&with(&[(ROLE, text("arn:aws:iam::123456789012:role/old"))])),
            "Certain: asks for role `arn:aws:iam::123456789012:role/old`: the annotation named it when the pod was made, or `AWS_ROLE_ARN` is set by hand"
        );
        assert_eq!(
            said(&with(&[(ROLE, from("web")), (TOKEN_FILE, from("web"))])),
            "Possible: has its own `AWS_ROLE_ARN` from Secret `web`, whose value is not visible from here\n\
             Possible: has its own `AWS_WEB_IDENTITY_TOKEN_FILE` from Secret `web`, whose value is not visible from here"
        );
    }

    #[test]
    fn a_container_without_variables_is_told_why() {
        let none = Container { variables: BTreeMap::new(), ..injected() };
        let sidecar = Container { is_main: false, ..none.clone() };
        let skipped = |container: &Container| Container { is_skipped: true, ..container.clone() };
        let volumes = token(Some("sts.amazonaws.com"));
        let older = "Certain: runs without the role: its pod is older than the annotation of the ServiceAccount";
        assert_eq!(said(&none), older);
        assert_eq!(said(&sidecar), older);
        assert!(judged(&none, &volumes, true, None).starts_with("Certain: has no role though another container of its pod has one"));
        assert!(judged(&sidecar, &volumes, true, None).starts_with("Possible: has no role though another container of its pod has one"));
        let annotation = "has no role: the pod annotation `eks.amazonaws.com/skip-containers` names it";
        assert_eq!(judged(&skipped(&none), &volumes, true, None), format!("Certain: {annotation}"));
        assert_eq!(judged(&skipped(&sidecar), &volumes, true, None), format!("Possible: {annotation}"));
        // What is skipped and has both by hand has its role.
        assert_eq!(said(&skipped(&injected())), "");
    }

    #[test]
    fn the_variables_of_pod_identity_are_told_apart_by_whether_there_is_an_association() {
        let container = only(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", text("http://169.254.170.23/v1/credentials"))]);
        for (associated, start) in [(None, "Possible"), (Some(true), "Possible"), (Some(false), "Certain")] {
            let said = judged(&container, &BTreeMap::new(), false, associated);
            assert!(said.starts_with(&format!("{start}: has the variables of EKS Pod Identity")), "{said}");
        }
    }

    #[test]
    fn a_windows_container_has_its_token_too() {
        let file = r"C:\var\run\secrets\eks.amazonaws.com\serviceaccount\token";
        for path in [r"C:\var\run\secrets\eks.amazonaws.com\serviceaccount", "/var/run/secrets/eks.amazonaws.com/serviceaccount"] {
            let container = Container { mounts: vec![mount("aws-iam-token", path)], ..with(&[(TOKEN_FILE, text(file))]) };
            assert_eq!(said(&container), "", "{path}");
        }
    }

    #[test]
    fn the_token_must_be_where_the_variable_says_and_for_the_audience() {
        let volumes = token(Some("sts.amazonaws.com"));
        let mounted = |mounts: Vec<Mount>| Container { mounts, ..injected() };
        for (mounts, expected) in [
            (vec![], format!("Certain: has no volume at its `AWS_WEB_IDENTITY_TOKEN_FILE`, `{FILE}`")),
            (vec![mount("aws-iam-token", "/elsewhere")], format!("Certain: has no volume at its `AWS_WEB_IDENTITY_TOKEN_FILE`, `{FILE}`")),
            (
                vec![mount("aws-iam-token", "/var/run/secrets/eks.amazonaws.com/service")],
                format!("Certain: has no volume at its `AWS_WEB_IDENTITY_TOKEN_FILE`, `{FILE}`"),
            ),
            (
                vec![mount("aws-iam-token", "/var/run/secrets")],
                format!("Certain: has no token at `{FILE}`: volume `aws-iam-token` projects none there"),
            ),
            (
                vec![mount("gone", "/var/run/secrets/eks.amazonaws.com/serviceaccount/")],
                format!("Certain: mounts volume `gone` at `{FILE}`, which its pod does not have"),
            ),
            (
                vec![mount("files", "/var/run")],
                "Possible: takes its token from volume `files`, whose files are not visible from here".to_owned(),
            ),
            (vec![mount("files", "/"), mount("aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount/")], String::new()),
            (vec![Mount { sub_path: "token".to_owned(), ..mount("aws-iam-token", FILE) }], String::new()),
        ] {
            assert_eq!(judged(&mounted(mounts.clone()), &volumes, false, None), expected, "{mounts:?}");
        }
        assert_eq!(
            judged(&injected(), &token(Some("vault")), false, None),
            "Certain: has a token for `vault`, and the ServiceAccount's audience is `sts.amazonaws.com`: a pod keeps what it was made with"
        );
        assert!(judged(&injected(), &token(None), false, None).starts_with("Certain: has a token for the API server, and"));
    }

    #[test]
    fn keys_of_objects_that_are_not_read_are_said_to_be_unknown_unless_their_prefix_or_another_variable_excludes_them() {
        let sourced = |kind: SourceKind, prefix: &str, variables: &[(&str, Given)]| Container {
            sources: vec![Source { kind, name: "web".to_owned(), prefix: prefix.to_owned() }],
            ..with(variables)
        };
        assert_eq!(
            said(&sourced(SourceKind::Secret, "", &[])),
            "Possible: takes all keys of Secret `web` as variables: whether `AWS_ACCESS_KEY_ID` is one of them is not visible from here"
        );
        assert_eq!(
            said(&sourced(SourceKind::ConfigMap, "AWS_", &[])),
            "Possible: takes all keys of ConfigMap `web` as variables: whether `ACCESS_KEY_ID` is one of them is not visible from here"
        );
        assert_eq!(said(&sourced(SourceKind::Secret, "APP_", &[])), "");
        assert_eq!(said(&sourced(SourceKind::Secret, "", &[(KEY.0, text(""))])), "");
        let with_key = said(&sourced(SourceKind::Secret, "", &[(KEY.0, text("AKIA"))]));
        assert!(with_key.starts_with("Certain: has `AWS_ACCESS_KEY_ID`") && !with_key.contains('\n'), "{with_key}");
    }

    const PODS_FILE: &str = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token";
    const ADDRESS: &str = "http://169.254.170.23/v1/credentials";

    /// A container as the webhook of EKS leaves it where there is an association.
    fn associated() -> Container {
        Container {
            variables: [(POD_IDENTITY.0.to_owned(), text(ADDRESS)), (POD_IDENTITY.1.to_owned(), text(PODS_FILE))].into(),
            mounts: vec![mount("eks-pod-identity-token", "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount")],
            ..injected()
        }
    }

    /// What is said where the role comes by an association.
    fn said_of_pods(container: &Container, others: Others, node: Node, earlier: Earlier<'_>) -> String {
        let role = "arn:aws:iam::123456789012:role/app".parse().unwrap();
        let namespace = "z1".parse().unwrap();
        let wanted = Wanted { role: &role, namespace: &namespace, way: Way::PodIdentity(earlier) };
        let mut volumes = token(Some("sts.amazonaws.com"));
        let pods = ProjectedToken { path: "eks-pod-identity-token".to_owned(), audience: Some("pods.eks.amazonaws.com".to_owned()) };
        volumes.insert("eks-pod-identity-token".to_owned(), Volume::Projected(vec![pods]));
        lines(&judge(container, &Beside { volumes: &volumes, others, node }, &wanted))
    }

    fn said_of(container: &Container) -> String {
        said_of_pods(container, Others::Without, Node::Linux, Earlier::Refused)
    }

    fn and(container: &Container, variables: &[(&str, Given)]) -> Container {
        let mut container = container.clone();
        container.variables.extend(variables.iter().map(|(name, given)| ((*name).to_owned(), given.clone())));
        container
    }

    #[test]
    fn a_container_with_the_variables_of_an_association_has_the_role() {
        assert_eq!(said_of(&associated()), "");
        assert_eq!(said_of(&and(&associated(), &[(POD_IDENTITY.0, text("http://[fd00:ec2::23]/v1/credentials"))])), "");
        assert!(said_of(&and(&associated(), &[(KEY.0, text("AKIA"))])).starts_with("Certain: has `AWS_ACCESS_KEY_ID`: AWS SDKs take keys"));
        assert!(said_of(&and(&associated(), &[("AWS_PROFILE", text("x"))])).starts_with("Possible: has `AWS_PROFILE`"));
    }

    #[test]
    fn what_is_not_as_eks_gives_it_for_an_association_is_named() {
        let without = Container { variables: BTreeMap::new(), ..associated() };
        let sidecar = Container { is_main: false, ..without.clone() };
        let older = "Certain: runs without the role: its pod is older than the association of the ServiceAccount";
        assert_eq!(said_of(&without), older);
        assert_eq!(said_of(&sidecar), older);
        let with_others = said_of_pods(&sidecar, Others::Injected, Node::Linux, Earlier::Refused);
        assert!(with_others.starts_with("Possible: has no role though another container of its pod has one"), "{with_others}");
        assert!(said_of(&Container { is_skipped: true, ..without }).starts_with("Certain: has no role: the pod annotation"));
        let only = |name: &str, value: &str| Container { variables: [(name.to_owned(), text(value))].into(), ..associated() };
        let half = said_of(&only(POD_IDENTITY.0, ADDRESS));
        assert!(half.starts_with("Certain: has its own `AWS_CONTAINER_CREDENTIALS_FULL_URI` and no `AWS_CONTAINER_AUTH"), "{half}");
        let half = said_of(&only(POD_IDENTITY.1, PODS_FILE));
        assert!(half.starts_with("Certain: has its own `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` and no `AWS_CONTAINER_CRED"), "{half}");
        assert_eq!(
            said_of(&and(&associated(), &[(POD_IDENTITY.0, text("http://169.254.170.2/v2/credentials"))])),
            "Certain: has its own `AWS_CONTAINER_CREDENTIALS_FULL_URI`, `http://169.254.170.2/v2/credentials`: there the agent does not listen"
        );
        assert!(said_of(&and(&associated(), &[(POD_IDENTITY.0, from("web"))])).starts_with("Possible: has its own"));
        let of_ecs = said_of(&and(&associated(), &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", text("/v2/x"))]));
        assert_eq!(
            of_ecs,
            "Certain: has `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`: AWS SDKs take that before the address of EKS Pod Identity"
        );
        let unmounted = said_of(&Container { mounts: vec![], ..associated() });
        assert_eq!(unmounted, format!("Certain: has no volume at its `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, `{PODS_FILE}`"));
    }

    #[test]
    fn a_web_identity_from_before_the_association_counts_as_long_as_sts_takes_it() {
        let (role, audience): (RoleArn, _) = ("arn:aws:iam::123456789012:role/app".parse().unwrap(), Audience::default());
        let works = Earlier::Works { role: &role, audience: &audience };
        let of = |container: &Container, earlier| said_of_pods(container, Others::Without, Node::Linux, earlier);
        assert_eq!(of(&injected(), works), "");
        let before = "has a web identity from before the association";
        assert_eq!(of(&injected(), Earlier::Refused), format!("Certain: {before}, and the role lets it in no more"));
        assert_eq!(of(&injected(), Earlier::Unknown), format!("Possible: {before}; whether the role still lets it in could not be seen"));
        let other = and(&injected(), &[(ROLE, text("arn:aws:iam::123456789012:role/old"))]);
        assert!(of(&other, works).starts_with("Certain: asks for role `arn:aws:iam::123456789012:role/old`"));
        let both = and(&associated(), &[(ROLE, text("arn:aws:iam::123456789012:role/app")), (TOKEN_FILE, text(FILE))]);
        assert!(of(&both, works).starts_with("Certain: has a web identity of its own beside the association: AWS SDKs take it first"));
    }

    #[test]
    fn without_an_agent_on_its_node_a_container_never_gets_the_role_and_loses_the_one_it_has() {
        let (role, audience): (RoleArn, _) = ("arn:aws:iam::123456789012:role/app".parse().unwrap(), Audience::default());
        let works = Earlier::Works { role: &role, audience: &audience };
        for (node, place) in [(Node::Fargate, "Fargate"), (Node::Windows, "Windows")] {
            let of = |container: &Container| said_of_pods(container, Others::Without, node, works);
            let never = format!("runs on {place}, where EKS Pod Identity gives no role");
            assert_eq!(of(&associated()), format!("Certain: {never}"));
            assert_eq!(of(&Container { variables: BTreeMap::new(), ..associated() }), format!("Certain: {never}"));
            assert_eq!(of(&injected()), format!("Possible: {never}: made anew it loses the role that its web identity gives"));
        }
    }
}
