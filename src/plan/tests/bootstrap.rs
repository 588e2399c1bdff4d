//! A trust zone in sync, one change, and the plan as the administrator reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    model::{
        agent::{AddOn, AutoMode},
        anchor::Anchor,
        arn::Account,
        bootstrap::{
            BootstrapSpec, BoundaryChoice, DesiredBootstrap, JOB_POLICY, ListedRole, ObservedAddOn, ObservedBootstrap, ObservedPolicy,
            ObservedZoneProvider, PolicyVersion, Zone,
        },
        observed::ObservedRole,
        oidc::Provider,
        role::RoleSettings,
        trust::TrustPolicy,
    },
    plan::{
        Call as _,
        bootstrap::{BootstrapPlan, Direction, plan},
    },
};

fn limit(action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})
}

pub(super) fn zone() -> Zone {
    Zone {
        account: Account { partition: "aws".parse().unwrap(), id: "123456789012".parse().unwrap() },
        region: "eu-west-3".parse().unwrap(),
        issuer: "https://oidc.example.com/id/A".parse().unwrap(),
        auto_mode: AutoMode::Off,
    }
}

pub(super) fn spec(namespaces: &[&str]) -> BootstrapSpec {
    BootstrapSpec {
        cluster: "demo".parse().unwrap(),
        region: None,
        namespaces: namespaces.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        service_account: "qovery-irsa".parse().unwrap(),
        role: "qovery-irsa-demo".parse().unwrap(),
        path: "/qovery/".parse().unwrap(),
        boundary: BoundaryChoice::Document(limit("s3:*")),
        roles: BTreeSet::new(),
        role_tags: BTreeSet::new(),
        pod_identity: true,
        access: None,
        tags: BTreeMap::new(),
    }
}

fn desired(spec: &BootstrapSpec) -> DesiredBootstrap {
    DesiredBootstrap::new(spec, &zone()).unwrap()
}

/// AWS as it is after the zone of this spec was made.
fn in_sync(spec: &BootstrapSpec) -> ObservedBootstrap {
    let desired = desired(spec);
    let role = ObservedRole {
        arn: desired.role.clone(),
        settings: RoleSettings { description: Some(desired.description.clone()), ..RoleSettings::default() },
        permissions_boundary: None,
        tags: desired.tags.clone(),
        trust: TrustPolicy::new(&desired.anchor(), &desired.trusted),
        attached: BTreeSet::new(),
        inline_policies: [(JOB_POLICY.parse().unwrap(), Some(desired.permissions.clone()))].into(),
        instance_profiles: BTreeSet::new(),
    };
    ObservedBootstrap {
        provider: Some(ObservedZoneProvider { audiences: ["sts.amazonaws.com".to_owned()].into(), tags: desired.tags.clone() }),
        own_boundary: Some(ObservedPolicy {
            arn: desired.own_boundary(),
            tags: desired.tags.clone(),
            document: limit("s3:*"),
            versions: vec![PolicyVersion { id: "v1".to_owned(), is_default: true }],
            uses: 0,
        }),
        named_boundary: None,
        role: Some(role),
        agent: Some(ObservedAddOn { state: AddOn::Installed, tags: desired.tags }),
        roles: Some(Vec::new()),
    }
}

fn lines(plan: &BootstrapPlan) -> Vec<String> {
    plan.actions.iter().map(ToString::to_string).collect()
}

fn made(spec: &BootstrapSpec, observed: &ObservedBootstrap) -> BootstrapPlan {
    plan(Direction::Make, &desired(spec), observed).unwrap_or_else(|refusals| panic!("{refusals}"))
}

#[test]
fn a_zone_in_sync_needs_nothing_whatever_form_aws_gives_its_documents() {
    let spec = spec(&["z*"]);
    let mut observed = in_sync(&spec);
    assert_eq!(made(&spec, &observed), BootstrapPlan::default());
    // A list of one for a string, and another order.
    observed.own_boundary.as_mut().unwrap().document =
        json!({"Statement": {"Resource": ["*"], "Action": ["S3:*"], "Effect": "Allow"}, "Version": "2012-10-17"});
    assert_eq!(lines(&made(&spec, &observed)), [] as [String; 0]);
}

#[test]
fn guards_come_before_grants() {
    let spec = spec(&["z*"]);
    let mut nothing = made(
        &spec,
        &ObservedBootstrap { agent: Some(ObservedAddOn { state: AddOn::Absent, tags: BTreeMap::new() }), ..ObservedBootstrap::default() },
    );
    assert_eq!(
        nothing.actions.drain(..).map(|action| action.call()).collect::<Vec<_>>(),
        ["iam:CreateOpenIDConnectProvider", "iam:CreatePolicy", "iam:CreateRole", "iam:PutRolePolicy", "eks:CreateAddon"]
    );
    // All that can differ, with a trust that lets in too many and too few.
    let mut observed = in_sync(&self::spec(&["y*", "z1-*"]));
    let role = observed.role.as_mut().unwrap();
    role.settings.description = None;
    role.tags.insert("team".to_owned(), "x".to_owned());
    role.inline_policies.clear();
    observed.provider.as_mut().unwrap().audiences.clear();
    observed.own_boundary.as_mut().unwrap().document = limit("*");
    let mut wanted = spec;
    wanted.tags = [("team".parse().unwrap(), "shop".parse().unwrap())].into();
    assert_eq!(
        lines(&made(&wanted, &observed)),
        [
            "narrow the trust policy of role `qovery-irsa-demo`",
            "add audience `sts.amazonaws.com` to OIDC provider `oidc.example.com/id/A`",
            "change policy `arn:aws:iam::123456789012:policy/qovery-irsa-demo-boundary`, the permissions boundary, by a new version",
            "tag policy `arn:aws:iam::123456789012:policy/qovery-irsa-demo-boundary`: `team` = `shop`",
            "change the description of role `qovery-irsa-demo`",
            "tag role `qovery-irsa-demo`: `team` = `shop`",
            "put policy `qovery-irsa` on role `qovery-irsa-demo`",
            "change the trust policy of role `qovery-irsa-demo`",
        ]
    );
}

/// The patterns that a plan leaves in between and at the end.
fn patterns_after(before: &[&str], after: &[&str]) -> Vec<Vec<String>> {
    let spec = spec(after);
    let plan = made(&spec, &in_sync(&self::spec(before)));
    let anchor = Anchor::Oidc(Provider::of(&zone().issuer, &zone().account));
    let trusts = plan.actions.iter().filter_map(|action| match action {
        crate::plan::bootstrap::BootstrapAction::UpdateTrust { trust, .. } => Some(trust),
        _ => None,
    });
    let short = |trust: &TrustPolicy| trust.patterns(&anchor).iter().map(|pattern| pattern.parts().unwrap().0.to_owned()).collect();
    trusts.map(short).collect()
}

#[test]
fn the_trust_is_narrowed_to_what_both_let_in_before_it_is_widened() {
    for (before, after, expected) in [
        (&["z*"][..], &["z1-*"][..], vec![vec!["z1-*"]]),
        (&["z1-*"], &["z*"], vec![vec!["z*"]]),
        (&["z*"], &["z1-*", "y*"], vec![vec!["z1-*"], vec!["y*", "z1-*"]]),
        (&["z1-*", "x*"], &["z*"], vec![vec!["z1-*"], vec!["z*"]]),
        // Nobody is in both: in between nobody is let in.
        (&["x*"], &["y*"], vec![vec![], vec!["y*"]]),
    ] {
        assert_eq!(patterns_after(before, after), expected, "{before:?} to {after:?}");
    }
}

#[test]
fn of_five_versions_the_oldest_that_does_not_count_goes() {
    let spec = spec(&["z*"]);
    let mut observed = in_sync(&spec);
    let boundary = observed.own_boundary.as_mut().unwrap();
    boundary.document = limit("*");
    boundary.versions = ["v12", "v9", "v10", "v11", "v8"].map(|id| PolicyVersion { id: id.to_owned(), is_default: id == "v8" }).into();
    assert!(lines(&made(&spec, &observed))[0].starts_with("delete version v9 of policy `"));
    observed.own_boundary.as_mut().unwrap().versions.pop();
    assert!(lines(&made(&spec, &observed))[0].starts_with("change policy `"));
}

#[test]
fn the_agent_is_installed_only_where_nothing_else_runs_it() {
    let spec = spec(&["z*"]);
    for (state, installs) in
        [(AddOn::Absent, true), (AddOn::Coming, false), (AddOn::Installed, false), (AddOn::Failed("X".to_owned()), false)]
    {
        let mut observed = in_sync(&spec);
        observed.agent = Some(ObservedAddOn { state: state.clone(), tags: BTreeMap::new() });
        assert_eq!(lines(&made(&spec, &observed)).len(), usize::from(installs), "{state:?}");
        let noted = made(&spec, &observed).notes.iter().any(|note| note.contains("has status `X`"));
        assert_eq!(noted, state == AddOn::Failed("X".to_owned()), "{state:?}");
    }
    let automatic = DesiredBootstrap::new(&spec, &Zone { auto_mode: AutoMode::On, ..zone() }).unwrap();
    let mut observed = in_sync(&spec);
    observed.agent = Some(ObservedAddOn { state: AddOn::Absent, tags: BTreeMap::new() });
    assert_eq!(lines(&plan(Direction::Make, &automatic, &observed).unwrap()), [] as [String; 0]);
}

#[test]
fn a_role_relies_on_the_cluster_by_its_place_or_by_its_trust() {
    let spec = spec(&["z*"]);
    let trust = |principal: &str| {
        let statement = json!({"Effect": "Allow", "Principal": {"Federated": principal}, "Action": "sts:AssumeRoleWithWebIdentity"});
        TrustPolicy::parse(&json!({"Statement": [statement]}).to_string()).ok()
    };
    let own = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A";
    for (path, trust, relies) in [
        ("/qovery/demo/z1/", None, true),
        ("/qovery/", trust(own), true),
        ("/qovery/other/z1/", trust(own), true),
        ("/qovery/", trust(&format!("{own}B")), false),
        ("/qovery/demo2/z1/", None, false),
        (
            "/qovery/",
            TrustPolicy::parse(
                &json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"aws:SourceArn": "arn:aws:eks:eu-west-3:123456789012:cluster/demo"}}}]})
                .to_string(),
            )
            .ok(),
            true,
        ),
    ] {
        let mut observed = in_sync(&spec);
        let role = format!("arn:aws:iam::123456789012:role{path}app").parse().unwrap();
        observed.roles = Some(vec![ListedRole { arn: role, trust }]);
        let planned = plan(Direction::Remove, &desired(&spec), &observed);
        assert_eq!(planned.is_err(), relies, "{path}");
        assert!(planned.err().is_none_or(|refused| refused.to_string().contains("1 role still relies on this cluster: `arn:")), "{path}");
    }
}

#[test]
fn what_another_zone_of_the_cluster_needs_is_left_and_named() {
    let spec = spec(&["z*"]);
    let desired = desired(&spec);
    let trust = Some(TrustPolicy::new(&desired.anchor(), &desired.trusted));
    let listed = |arn: &str| ListedRole { arn: arn.parse().unwrap(), trust: trust.clone() };
    let mut observed = in_sync(&spec);
    observed.roles = Some(vec![listed("arn:aws:iam::123456789012:role/qovery-irsa-demo")]);
    assert_eq!(lines(&plan(Direction::Remove, &desired, &observed).unwrap()).len(), 5, "the job's own role is none of another zone");
    observed.roles.as_mut().unwrap().push(listed("arn:aws:iam::123456789012:role/qovery-irsa-demo-prod"));
    let removal = plan(Direction::Remove, &desired, &observed).unwrap();
    assert_eq!(
        lines(&removal),
        [
            "delete policy `qovery-irsa` of role `qovery-irsa-demo`",
            "delete role `qovery-irsa-demo`",
            "delete policy `arn:aws:iam::123456789012:policy/qovery-irsa-demo-boundary`",
        ]
    );
    let by = "1 role elsewhere may need it: `arn:aws:iam::123456789012:role/qovery-irsa-demo-prod`";
    assert_eq!(
        removal.left,
        [format!("OIDC provider `oidc.example.com/id/A`: {by}"), format!("add-on `eks-pod-identity-agent` of EKS cluster `demo`: {by}")]
    );
    // Who lets nobody of this cluster in needs nothing of it.
    observed.roles = Some(vec![ListedRole { trust: None, ..listed("arn:aws:iam::123456789012:role/by-hand") }]);
    assert_eq!(lines(&plan(Direction::Remove, &desired, &observed).unwrap()).len(), 5);
}

#[test]
fn only_what_has_all_three_tags_is_bootstraps() {
    let spec = spec(&["z*"]);
    assert_eq!(lines(&plan(Direction::Remove, &desired(&spec), &in_sync(&spec)).unwrap()).len(), 5);
    for key in ["qovery-irsa/owner", "qovery-irsa/cluster", "qovery-irsa/region"] {
        let mut observed = in_sync(&spec);
        observed.role.as_mut().unwrap().tags.remove(key);
        observed.own_boundary.as_mut().unwrap().tags.remove(key);
        observed.provider.as_mut().unwrap().tags.remove(key);
        observed.agent.as_mut().unwrap().tags.remove(key);
        let removal = plan(Direction::Remove, &desired(&spec), &observed).unwrap();
        assert_eq!((lines(&removal).len(), removal.left.len()), (0, 3), "{key}");
        assert_eq!(plan(Direction::Make, &desired(&spec), &observed).unwrap_err().0.len(), 2, "{key}");
    }
}
