//! The whole room: from variables, flags and a manifest's text to a configuration or its problems.

mod artefacts;
#[cfg(feature = "laptop")]
mod cluster;
mod job;
mod keyless;
mod limits;
mod manifest;
mod pod_identity;
mod policies;

use std::{io, path::PathBuf, time::Duration};

use super::*;
use crate::model::{
    arn::PolicyArn,
    identity::{RoleOrigin, RoleSpec, Scope},
    names::NamespacePattern,
};
use proptest::prelude::*;

/// The variables that Qovery itself sets, and the token that only bound services need.
const BUILT_IN: [(&str, &str); 7] = [
    ("IRSA_QOVERY_TOKEN", "qov_token"),
    ("QOVERY_KUBERNETES_NAMESPACE_NAME", "z1a2b3c4-shop"),
    ("QOVERY_KUBERNETES_CLUSTER_NAME", "qovery-z0f1e2d3"),
    ("QOVERY_CLOUD_PROVIDER_REGION", "eu-west-3"),
    ("QOVERY_ENVIRONMENT_ID", "1a2b3c4d-0000-4000-8000-000000000000"),
    ("QOVERY_ENVIRONMENT_NAME", "shop"),
    ("QOVERY_PROJECT_ID", "9f8e7d6c-0000-4000-8000-000000000000"),
];

const ROLE: &str = "arn:aws:iam::123456789012:role/made-by-hand";
const POLICY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";
const SMALLEST: &str = "identities: [{serviceAccount: app, role: {}}]";

fn with(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let changed = |name: &str| variables.iter().any(|(changed, _)| *changed == name);
    let built_in = BUILT_IN.iter().filter(|(name, _)| !changed(name));
    built_in.chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads with Qovery's variables and these, and a `qovery.yml` of this text.
fn loaded(variables: &[(&str, &str)], manifest: &str) -> Result<Config, Problems> {
    load(&Flags::default(), with(variables), |_| Ok(manifest.as_bytes().to_vec()))
}

/// Loads with Qovery's variables and these; there is no manifest.
fn from_variables(variables: &[(&str, &str)]) -> Result<Config, Problems> {
    load(&Flags::default(), with(variables), missing)
}

fn missing(_: &Path) -> io::Result<Vec<u8>> {
    Err(io::Error::new(io::ErrorKind::NotFound, "no such file"))
}

fn shown(result: Result<Config, Problems>) -> String {
    result.expect_err("problems").to_string()
}

#[test]
fn the_defaults_need_no_variable_but_qoverys() {
    let config = loaded(&[("IRSA_QOVERY_TOKEN", "")], SMALLEST).unwrap();
    assert_eq!(config.qovery, None);
    assert_eq!(config.environment.namespace.as_str(), "z1a2b3c4-shop");
    assert_eq!(config.environment.cluster.unwrap().as_str(), "qovery-z0f1e2d3");
    assert_eq!(config.environment.region.unwrap().as_str(), "eu-west-3");
    assert_eq!(config.environment.name.as_deref(), Some("shop"));
    assert_eq!(
        config.access,
        Access {
            assume_role: None,
            external_id: None,
            kube_auth: KubeAuth::Auto,
            kube_token_directory: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
            issuer: None
        }
    );
    assert_eq!((config.timeout, config.settle, config.format), (Duration::from_mins(5), Duration::from_secs(8), Format::Text));
    assert_eq!(config.output, PathBuf::from("/qovery-output/qovery-output.json"));
    assert_eq!(config.termination_log, PathBuf::from("/dev/termination-log"));
    assert_eq!(config.identities.len(), 1);
}

#[test]
fn every_setting_can_be_set() {
    let config = loaded(
        &[
            ("IRSA_OIDC_ISSUER", "https://oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLE"),
            ("IRSA_KUBE_AUTH", "eks"),
            ("IRSA_KUBE_TOKEN_DIR", "/tmp/token"),
            ("IRSA_TIMEOUT", "1h"),
            ("IRSA_SETTLE", "1m"),
            ("IRSA_OUTPUT", "/tmp/out.json"),
            ("IRSA_TERMINATION_LOG", "/tmp/log"),
            ("IRSA_FORMAT", "json"),
            ("IRSA_ASSUME_ROLE_ARN", ROLE),
            ("IRSA_ASSUME_ROLE_EXTERNAL_ID", "acme-1"),
        ],
        SMALLEST,
    )
    .unwrap();
    assert_eq!(config.access.assume_role.unwrap().to_string(), ROLE);
    assert_eq!(config.access.external_id.unwrap().as_str(), "acme-1");
    assert_eq!(config.access.issuer.unwrap().id(), "EXAMPLE");
    assert_eq!((config.access.kube_auth, config.timeout, config.format), (KubeAuth::Eks, Duration::from_hours(1), Format::Json));
    assert_eq!((config.access.kube_token_directory, config.settle), (PathBuf::from("/tmp/token"), Duration::from_mins(1)));
    assert_eq!((config.output, config.termination_log), (PathBuf::from("/tmp/out.json"), PathBuf::from("/tmp/log")));
}

#[test]
fn the_region_of_the_cluster_beats_those_of_the_sdk() {
    for (variables, expected) in [
        (vec![("AWS_REGION", "us-east-1")], Some("eu-west-3")),
        (vec![("QOVERY_CLOUD_PROVIDER_REGION", ""), ("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "us-east-2")], Some("us-east-1")),
        (vec![("QOVERY_CLOUD_PROVIDER_REGION", ""), ("AWS_DEFAULT_REGION", "us-east-2")], Some("us-east-2")),
        (vec![("QOVERY_CLOUD_PROVIDER_REGION", "")], None),
    ] {
        let region = loaded(&variables, SMALLEST).unwrap().environment.region;
        assert_eq!(region.as_ref().map(crate::model::names::Region::as_str), expected, "{variables:?}");
    }
}

#[test]
fn of_a_variable_that_comes_twice_the_first_counts() {
    let variables = with(&[("IRSA_FORMAT", "json")]).into_iter().chain([("IRSA_FORMAT".to_owned(), "text".to_owned())]);
    assert_eq!(load(&Flags::default(), variables, |_| Ok(SMALLEST.into())).unwrap().format, Format::Json);
}

#[test]
fn the_report_is_written_as_configured_whatever_else_is_wrong() {
    let json = Flags { format: Some("json".into()), ..Flags::default() };
    for (flags, variables) in [
        (Flags::default(), vec![]),
        (Flags::default(), vec![("IRSA_FORMAT", "json"), ("IRSA_TERMINATION_LOG", "/tmp/log")]),
        (Flags::default(), vec![("IRSA_FORMAT", ""), ("IRSA_TERMINATION_LOG", "")]),
        (json, vec![("IRSA_FORMAT", "text")]),
    ] {
        let variables = with(&variables);
        let config = load(&flags, variables.clone(), |_| Ok(SMALLEST.into())).unwrap();
        assert_eq!(report_settings(&flags, &variables), (config.format, config.termination_log));
    }
    let unknown = with(&[("IRSA_FORMAT", "xml"), ("QOVERY_KUBERNETES_NAMESPACE_NAME", "")]);
    assert_eq!(report_settings(&Flags::default(), &unknown), (Format::Text, "/dev/termination-log".into()));
}

#[test]
fn a_flag_beats_its_variable() {
    let flags = Flags { manifest: Some("flag.yml".into()), format: Some("text".into()), timeout: Some("10".into()), ..Flags::default() };
    let variables = [("IRSA_MANIFEST", "variable.yml"), ("IRSA_FORMAT", "json"), ("IRSA_TIMEOUT", "1h")];
    let config = load(&flags, with(&variables), |path| {
        assert_eq!(path, Path::new("flag.yml"));
        Ok(SMALLEST.into())
    });
    let config = config.unwrap();
    assert_eq!((config.format, config.timeout), (Format::Text, Duration::from_secs(10)));

    let flags = Flags { format: Some("xml".into()), timeout: Some("1d".into()), ..Flags::default() };
    let problems = load(&flags, with(&variables), |path| {
        assert_eq!(path, Path::new("variable.yml"));
        Ok(SMALLEST.into())
    });
    insta::assert_snapshot!(shown(problems), @r"
        2 problems in the configuration
          `--timeout`: `1d` is not a duration: use seconds, or a text such as `90m` or `1h30m`
          `--format`: `xml` is not known: use `text` or `json`
        ");
}

#[test]
fn one_identity_needs_no_manifest() {
    for (variables, role) in [
        (vec![("IRSA_ROLE_ARN", ROLE)], Some(ROLE)),
        (vec![("AWS_ROLE_ARN", ROLE)], Some(ROLE)),
        (vec![("IRSA_ROLE_ARN", ROLE), ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/other")], Some(ROLE)),
        (vec![("IRSA_ROLE_ARN", ROLE), ("AWS_ROLE_ARN", "nonsense"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], Some(ROLE)),
        (vec![("IRSA_POLICY_ARNS", POLICY), ("AWS_ROLE_ARN", "nonsense"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], None),
        (vec![("IRSA_POLICY_ARNS", POLICY), ("IRSA_ROLE_ARN", "")], None),
    ] {
        let config = from_variables(&[vec![("SERVICE_ACCOUNT_NAME", "app")], variables.clone()].concat()).unwrap();
        let [identity] = &config.identities[..] else { panic!("{variables:?}") };
        assert_eq!(identity.service_account.name.as_str(), "app");
        match (&identity.role.origin, role) {
            (RoleOrigin::Given(given), Some(arn)) => {
                assert_eq!(given.to_string(), arn);
                assert_eq!(identity.role.scope, Scope::Shared { retain: false });
            }
            (RoleOrigin::Managed(made), None) => {
                assert_eq!((&identity.role.scope, &made.name), (&Scope::Environment, &None));
                assert_eq!(made.attributes.policies.iter().map(PolicyArn::as_str).collect::<Vec<_>>(), [POLICY]);
                assert_eq!((made.path.as_str(), made.attributes.settings.max_session_duration), ("/qovery/", 3600));
            }
            other => panic!("{variables:?}: {other:?}"),
        }
    }
}

#[test]
fn policies_of_the_one_identity_are_separated_by_commas() {
    let list = format!(" {POLICY}, ,arn:aws:iam::123456789012:policy/a/b,{POLICY},");
    let boundary = "arn:aws:iam::123456789012:policy/boundary";
    let variables = [("SERVICE_ACCOUNT_NAME", "app"), ("IRSA_POLICY_ARNS", &list), ("IRSA_PERMISSIONS_BOUNDARY", boundary)];
    let RoleOrigin::Managed(role) = from_variables(&variables).unwrap().identities.remove(0).role.origin else { panic!() };
    assert_eq!(role.attributes.policies.len(), 2);
    assert_eq!(role.attributes.permissions_boundary.unwrap().as_str(), boundary);
}

#[test]
fn the_one_identity_has_the_scope_of_its_variables() {
    let made = ("IRSA_POLICY_ARNS", POLICY);
    let given = ("IRSA_ROLE_ARN", ROLE);
    let (shared, cluster) = (("IRSA_SCOPE", "shared"), ("IRSA_SCOPE", "cluster"));
    let patterns = |patterns: &[&str]| Scope::Cluster { namespaces: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect() };
    for (variables, name, expected) in [
        (vec![made, ("IRSA_SCOPE", "environment")], None, Scope::Environment),
        (vec![made, ("IRSA_SCOPE", "")], None, Scope::Environment),
        (vec![made, ("IRSA_ROLE_NAME", "shop")], Some("shop"), Scope::Environment),
        (vec![made, shared, ("IRSA_ROLE_NAME", "shop")], Some("shop"), Scope::Shared { retain: false }),
        (vec![made, cluster, ("IRSA_ROLE_NAME", "shop"), ("IRSA_NAMESPACES", "z*")], Some("shop"), patterns(&["z*"])),
        (vec![given, shared], Some("made-by-hand"), Scope::Shared { retain: false }),
        (
            vec![("AWS_ROLE_ARN", ROLE), cluster, ("IRSA_NAMESPACES", " z1* ,, z2-?, z1*,")],
            Some("made-by-hand"),
            patterns(&["z1*", "z2-?"]),
        ),
    ] {
        let config = from_variables(&[vec![("SERVICE_ACCOUNT_NAME", "app")], variables.clone()].concat());
        let RoleSpec { origin, scope, extra_subjects, conditions: _ } = config.unwrap().identities.remove(0).role;
        assert_eq!((scope, extra_subjects.len()), (expected, 0), "{variables:?}");
        let named = match origin {
            RoleOrigin::Managed(made) => made.name,
            RoleOrigin::Given(arn) => Some(arn.name),
        };
        assert_eq!(named.as_ref().map(crate::model::names::RoleName::as_str), name, "{variables:?}");
    }
}

#[test]
fn scopes_in_variables_that_mean_nothing_say_so() {
    let made = ("IRSA_POLICY_ARNS", POLICY);
    let given = ("IRSA_ROLE_ARN", ROLE);
    let (shared, cluster, name) = (("IRSA_SCOPE", "shared"), ("IRSA_SCOPE", "cluster"), ("IRSA_ROLE_NAME", "shop"));
    let no_name = "`IRSA_ROLE_NAME` is not set: environments that have a role together must call it by one name";
    let no_namespaces = "`IRSA_NAMESPACES` is not set: write out which namespaces may use the role, as `z*`";
    let belongs = "`IRSA_NAMESPACES` is set, but belongs to `IRSA_SCOPE=cluster`";
    for (variables, expected) in [
        (
            vec![made, name, ("IRSA_SCOPE", "project"), ("IRSA_NAMESPACES", "z*")],
            vec!["`IRSA_SCOPE`: `project` is not a scope: use `environment`, `shared` or `cluster`"],
        ),
        (vec![given, ("IRSA_SCOPE", "Shared")], vec!["`IRSA_SCOPE`: `Shared` is not a scope: use `environment`, `shared` or `cluster`"]),
        (
            vec![given, ("IRSA_SCOPE", "environment")],
            vec!["`IRSA_SCOPE` is `environment`, but a given role cannot be one environment's: use `shared` or `cluster`"],
        ),
        (vec![made, shared], vec![no_name]),
        (vec![made, cluster, ("IRSA_NAMESPACES", "z*")], vec![no_name]),
        (vec![made, cluster, name], vec![no_namespaces]),
        (vec![made, cluster], vec![no_namespaces, no_name]),
        (vec![given, cluster], vec![no_namespaces]),
        (vec![made, ("IRSA_NAMESPACES", "z*")], vec![belongs]),
        (vec![made, shared, name, ("IRSA_NAMESPACES", "z*")], vec![belongs]),
        (vec![given, ("IRSA_NAMESPACES", "z*")], vec![belongs]),
        (vec![given, name], vec!["`IRSA_ROLE_NAME` cannot stand beside `IRSA_ROLE_ARN`: a given role has its name"]),
        (
            vec![("AWS_ROLE_ARN", ROLE), ("IRSA_ROLE_NAME", "a b")],
            vec!["`IRSA_ROLE_NAME` cannot stand beside `AWS_ROLE_ARN`: a given role has its name"],
        ),
        (
            vec![made, ("IRSA_ROLE_NAME", "a b")],
            vec!["`IRSA_ROLE_NAME`: `a b` is not a role name: use at most 64 letters, digits and `_+=,.@-`"],
        ),
        (vec![made, cluster, name, ("IRSA_NAMESPACES", " , ")], vec!["`IRSA_NAMESPACES` holds no pattern"]),
        (
            vec![given, made, ("IRSA_SCOPE", "environment")],
            vec!["`IRSA_ROLE_ARN` and `IRSA_POLICY_ARNS` are both set: give an existing role, or the policies of one to be made"],
        ),
    ] {
        let problems = from_variables(&[vec![("SERVICE_ACCOUNT_NAME", "app")], variables.clone()].concat()).unwrap_err();
        assert_eq!(problems.iter().collect::<Vec<_>>(), expected, "{variables:?}");
    }
    for pattern in ["*", "?*", "-z*", "Z*", "z:*", "z *"] {
        let list = format!("z*,{pattern}");
        let variables = [("SERVICE_ACCOUNT_NAME", "app"), given, cluster, ("IRSA_NAMESPACES", &list)];
        let problems = shown(from_variables(&variables));
        assert!(
            problems
                .starts_with(&format!("1 problem in the configuration\n  `IRSA_NAMESPACES`: `{pattern}` is not a pattern of namespaces: ")),
            "{problems}"
        );
    }
}

#[test]
fn without_a_service_account_every_variable_of_the_one_identity_is_a_problem() {
    let variables = [
        ("IRSA_ROLE_ARN", ROLE),
        ("IRSA_POLICY_ARNS", POLICY),
        ("IRSA_SCOPE", "environment"),
        ("IRSA_ROLE_NAME", "shop"),
        ("IRSA_NAMESPACES", "z*"),
    ];
    let expected = variables.map(|(name, _)| format!("`{name}` is set without `SERVICE_ACCOUNT_NAME`"));
    for (variable, expected) in variables.iter().zip(&expected) {
        assert_eq!(shown(from_variables(&[*variable])), format!("1 problem in the configuration\n  {expected}"));
        let none = [*variable, ("IRSA_MANIFEST", "none")];
        assert_eq!(shown(from_variables(&none)), format!("1 problem in the configuration\n  {expected}"));
    }
    assert_eq!(from_variables(&variables).unwrap_err().iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_settle_time_is_a_duration_of_a_minute_at_most() {
    for (text, seconds) in [("0", 0), ("0s", 0), ("1", 1), ("60", 60), ("60s", 60), ("1m", 60), ("", 8)] {
        assert_eq!(loaded(&[("IRSA_SETTLE", text)], SMALLEST).unwrap().settle, Duration::from_secs(seconds), "{text:?}");
    }
    for (text, expected) in [
        ("61", "`61` is out of bounds: use 0s to 1m"),
        ("1h", "`1h` is out of bounds: use 0s to 1m"),
        ("-1", "`-1` is not a duration: use seconds, or a text such as `90m` or `1h30m`"),
        ("8 s", "`8 s` is not a duration: use seconds, or a text such as `90m` or `1h30m`"),
        ("0.5s", "`0.5s` is not a duration: use seconds, or a text such as `90m` or `1h30m`"),
    ] {
        let problems = shown(loaded(&[("IRSA_SETTLE", text)], SMALLEST));
        assert_eq!(problems, format!("1 problem in the configuration\n  `IRSA_SETTLE`: {expected}"));
    }
}

#[test]
fn settings_that_mean_nothing_say_so() {
    let app = ("SERVICE_ACCOUNT_NAME", "app");
    for (variables, expected) in [
        (vec![("QOVERY_KUBERNETES_NAMESPACE_NAME", "")], "`QOVERY_KUBERNETES_NAMESPACE_NAME` is not set"),
        (
            vec![("QOVERY_KUBERNETES_NAMESPACE_NAME", "z*")],
            "`QOVERY_KUBERNETES_NAMESPACE_NAME`: `z*` is not a namespace: use at most 63 lower-case letters, digits and `-`",
        ),
        (vec![("IRSA_SCOPE", "shared")], "`IRSA_SCOPE` is set without `SERVICE_ACCOUNT_NAME`"),
        (vec![("IRSA_KUBE_AUTH", "EKS")], "`IRSA_KUBE_AUTH`: `EKS` is not known: use `auto`, `kubeconfig`, `token` or `eks`"),
        (vec![("IRSA_TIMEOUT", "9")], "`IRSA_TIMEOUT`: `9` is out of bounds: use 10s to 1h"),
        (vec![("IRSA_ROLE_ARN", ROLE)], "`IRSA_ROLE_ARN` is set without `SERVICE_ACCOUNT_NAME`"),
        (vec![("IRSA_POLICY_ARNS", POLICY)], "`IRSA_POLICY_ARNS` is set without `SERVICE_ACCOUNT_NAME`"),
        (
            vec![app],
            "`SERVICE_ACCOUNT_NAME` is set without a role: set `IRSA_ROLE_ARN` (an existing role) or `IRSA_POLICY_ARNS` (a role is made)",
        ),
        (
            vec![app, ("AWS_ROLE_ARN", ROLE), ("IRSA_POLICY_ARNS", POLICY)],
            "`AWS_ROLE_ARN` and `IRSA_POLICY_ARNS` are both set: give an existing role, or the policies of one to be made",
        ),
        (
            vec![app, ("IRSA_ROLE_ARN", ROLE), ("IRSA_PATH", "qovery")],
            "`IRSA_PATH`: `qovery` is not a role path: begin and end it with `/`, with printable ASCII characters between, 512 at most",
        ),
        (
            vec![app, ("IRSA_ROLE_ARN", ROLE), ("IRSA_ON_DELETE", "keep")],
            "`IRSA_ON_DELETE`: `keep` is not known: use `remove` or `keep-if-used`",
        ),
        (
            vec![app, ("IRSA_ROLE_ARN", ROLE), ("IRSA_PERMISSION_BOUNDARY", "x")],
            "`IRSA_PERMISSION_BOUNDARY` is no setting of this tool: did you mean `IRSA_PERMISSIONS_BOUNDARY`?",
        ),
        (vec![app, ("IRSA_POLICY_ARNS", " , ")], "`IRSA_POLICY_ARNS` holds no ARN"),
        (
            vec![app, ("IRSA_POLICY_ARNS", "ReadOnlyAccess")],
            "`IRSA_POLICY_ARNS`: `ReadOnlyAccess` is not the ARN of a managed policy: use `arn:aws:iam::aws:policy/name` or `arn:aws:iam::123456789012:policy/name`",
        ),
        (vec![app, ("AWS_ROLE_ARN", "x")], "`AWS_ROLE_ARN`: `x` is not the ARN of a role: use `arn:aws:iam::123456789012:role/name`"),
    ] {
        let problems = shown(from_variables(&variables));
        // Without a manifest nothing is an identity where none is given.
        let no_identity = |problem: &str| problem.starts_with("`SERVICE_ACCOUNT_NAME` is not set and there is no");
        let problems: Vec<&str> = problems.lines().skip(1).map(str::trim).filter(|problem| !no_identity(problem)).collect();
        assert_eq!(problems, [expected], "{variables:?}");
    }
}

/// Qovery gives the job its own outputs under their own names on its next run; an earlier version called them so.
#[test]
fn a_manifest_that_exists_wins_over_every_variable_of_the_one_identity() {
    let plain = loaded(&[], SMALLEST).unwrap();
    for variables in [
        vec![("SERVICE_ACCOUNT_NAME", "app")],
        vec![("SERVICE_ACCOUNT_NAME", "other"), ("ROLE_ARN", ROLE)],
        vec![("SERVICE_ACCOUNT_NAME", "app"), ("IRSA_ROLE_ARN", ROLE), ("AWS_ROLE_ARN", ROLE)],
        vec![("IRSA_ROLE_ARN", "no ARN"), ("IRSA_SCOPE", "no scope")],
        vec![("SERVICE_ACCOUNT_NAME", "app"), ("IRSA_POLICY_ARNS", POLICY), ("IRSA_MANIFEST", "m.yml")],
    ] {
        for purpose in [Purpose::Start, Purpose::Remove, Purpose::Examine] {
            let flags = Flags { purpose, ..Flags::default() };
            let config = load(&flags, with(&variables), |_| Ok(SMALLEST.into())).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(config.identities, plain.identities, "{variables:?}");
            assert!(config.notes[0].contains("not read, since the manifest gives the identities"), "{:?}", config.notes);
        }
    }
    assert_eq!(plain.notes, [] as [String; 0]);
    let variables = [("SERVICE_ACCOUNT_NAME", "worker"), ("IRSA_POLICY_ARNS", POLICY), ("IRSA_MANIFEST", "none")];
    let config = load(&Flags::default(), with(&variables), |path| panic!("{} is read", path.display())).unwrap();
    assert_eq!(config.identities[0].service_account.name.as_str(), "worker");
}

#[test]
fn a_variable_two_letters_from_a_setting_is_a_problem_and_any_other_is_named() {
    for (name, meant) in [
        ("IRSA_PERMISSION_BOUNDARY", "IRSA_PERMISSIONS_BOUNDARY"),
        ("IRSA_TIMOUT", "IRSA_TIMEOUT"),
        ("IRSA_ON_DELET", "IRSA_ON_DELETE"),
        ("IRSA_ASSUME_ROLES_ARN", "IRSA_ASSUME_ROLE_ARN"),
        ("irsa_settle", "IRSA_SETTLE"),
        ("IRSA_SETLTE", "IRSA_SETTLE"),
    ] {
        let problems = shown(loaded(&[(name, "x")], SMALLEST));
        assert_eq!(problems, format!("1 problem in the configuration\n  `{name}` is no setting of this tool: did you mean `{meant}`?"));
        let removal = load(&Flags { purpose: Purpose::Remove, ..Flags::default() }, with(&[(name, "x")]), |_| Ok(SMALLEST.into())).unwrap();
        assert_eq!(removal.notes, [format!("does not matter here: `{name}` is no setting of this tool: did you mean `{meant}`?")]);
    }
    let config = loaded(&[("IRSA_WHATEVER_ELSE", "x"), ("IRSA_SECRET_AWS_ACCESS_KEY_ID", "x"), ("OTHER", "x")], SMALLEST).unwrap();
    assert_eq!(config.notes, ["`IRSA_WHATEVER_ELSE` is no setting of this tool, and not read"]);
}

#[test]
fn an_output_of_this_job_is_no_setting_and_one_of_another_job_is() {
    let output = |digits: &str| format!("QOVERY_OUTPUT_JOB_Z{digits}_IRSA_ASSUME_ROLE_ARN");
    let role = ("IRSA_ASSUME_ROLE_ARN", ROLE);
    let job = ("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    let own = loaded(&[role, job, (&output("1A2B3C4D"), ROLE)], SMALLEST).unwrap();
    assert_eq!((own.access.assume_role, own.environment.job.unwrap().as_str()), (None, "1a2b3c4d"));
    let of_another = loaded(&[role, job, (&output("FFFFFFFF"), ROLE)], SMALLEST).unwrap();
    assert_eq!(of_another.access.assume_role.unwrap().to_string(), ROLE);
}

#[test]
fn an_external_id_without_the_role_that_asks_for_it_is_a_problem_and_none_for_a_removal() {
    let external_id = [("IRSA_ASSUME_ROLE_EXTERNAL_ID", "acme-1")];
    let problem = "`IRSA_ASSUME_ROLE_EXTERNAL_ID` is set without `IRSA_ASSUME_ROLE_ARN`, the role that asks for it";
    assert_eq!(shown(loaded(&external_id, SMALLEST)), format!("1 problem in the configuration\n  {problem}"));
    let removal = load(&Flags { purpose: Purpose::Remove, ..Flags::default() }, with(&external_id), |_| Ok(SMALLEST.into())).unwrap();
    assert_eq!(removal.notes, [format!("does not matter here: {problem}")]);
}

#[test]
fn a_removal_needs_to_know_where_things_are_and_nothing_else() {
    let flags = Flags { purpose: Purpose::Remove, ..Flags::default() };
    let removal = |variables: &[(&str, &str)], manifest: &str| load(&flags, with(variables), |_| Ok(manifest.into()));
    for manifest in
        ["identities: [", "", "\u{0}", "identities: 5", "identities: [{serviceAccount: app, role: {scope: galaxy}}]", "${X}: ${Y}"]
    {
        let config = removal(&[], manifest).unwrap_or_else(|problems| panic!("{manifest}: {problems}"));
        assert!(config.identities.is_empty() && !config.notes.is_empty(), "{manifest}: {:?}", config.notes);
    }
    // Of what a newer version knows the rest is still read.
    let newer = "newKey: 1\nidentities: [{serviceAccount: app, tomorrow: {a: 1}, role: {policies: [x], later: true}}]";
    let config =
        removal(&[("IRSA_TIMEOUT", "soon"), ("IRSA_PROOF", "double"), ("IRSA_SETTLE", "x"), ("IRSA_FORMAT", "yaml")], newer).unwrap();
    assert_eq!(config.identities[0].service_account.name.as_str(), "app");
    assert_eq!(config.notes.len(), 8, "{:#?}", config.notes);
    let none = load(&flags, with(&[]), missing).unwrap();
    assert_eq!((none.identities.len(), none.notes.len(), none.paths.len()), (0, 0, 1));
    assert_eq!(load(&flags, with(&[("IRSA_MANIFEST", "m.yml")]), missing).unwrap().notes.len(), 1);
    for (variable, value) in [
        ("QOVERY_KUBERNETES_NAMESPACE_NAME", ""),
        ("QOVERY_KUBERNETES_CLUSTER_NAME", "a b"),
        ("IRSA_ASSUME_ROLE_ARN", "x"),
        ("IRSA_ASSUME_ROLE_EXTERNAL_ID", "x"),
        ("IRSA_OIDC_ISSUER", "x"),
        ("IRSA_PATH", "x"),
        ("IRSA_KUBE_AUTH", "x"),
    ] {
        let role = ("IRSA_ASSUME_ROLE_ARN", if variable == "IRSA_ASSUME_ROLE_ARN" { value } else { ROLE });
        let problems = shown(removal(&[role, (variable, value)], SMALLEST));
        assert!(problems.contains(variable) && problems.starts_with("1 problem"), "{problems}");
    }
}

#[test]
fn what_delete_does_is_asked_chosen_or_where_the_choice_is_not_known_careful() {
    let flags = Flags { purpose: Purpose::Remove, ..Flags::default() };
    let on_delete = |variables: &[(&str, &str)]| load(&flags, with(variables), |_| Ok(SMALLEST.into())).unwrap().on_delete;
    assert_eq!(on_delete(&[]), OnDelete::Ask);
    assert_eq!(on_delete(&[("IRSA_ON_DELETE", "remove")]), OnDelete::Remove);
    assert_eq!(on_delete(&[("IRSA_ON_DELETE", "keep-if-used")]), OnDelete::KeepIfUsed);
    assert_eq!(on_delete(&[("IRSA_ON_DELETE", "of-a-newer-version")]), OnDelete::KeepIfUsed);
    // As good as a token that gets no answer, and not shown.
    let config = load(&flags, with(&[("IRSA_QOVERY_TOKEN", "se cret")]), |_| Ok(SMALLEST.into())).unwrap();
    assert_eq!((config.on_delete, config.qovery), (OnDelete::KeepIfUsed, None));
    assert!(config.notes[0].contains("`IRSA_QOVERY_TOKEN`") && !config.notes[0].contains("cret"));
}

#[test]
fn the_ledger_is_looked_for_below_the_paths_of_the_manifest_and_a_removal_looks_further() {
    let paths = |purpose, variables: &[(&str, &str)], manifest: &str| {
        let config = load(&Flags { purpose, ..Flags::default() }, with(variables), |_| Ok(manifest.into())).unwrap();
        config.paths.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let own = ("IRSA_PATH", "/own/");
    let stated = "defaults: {path: /stated/}\nidentities: [{serviceAccount: app, role: {}}, {serviceAccount: b, role: {path: /b/}}]";
    let given = "identities: [{serviceAccount: app, role: {arn: \"arn:aws:iam::123456789012:role/x\"}}]";
    assert_eq!(paths(Purpose::Start, &[], SMALLEST), ["/qovery/"]);
    assert_eq!(paths(Purpose::Start, &[own], SMALLEST), ["/own/"]);
    assert_eq!(paths(Purpose::Start, &[own], stated), ["/b/", "/stated/"]);
    assert_eq!(paths(Purpose::Start, &[own], given), ["/own/"]);
    assert_eq!(paths(Purpose::Remove, &[own], stated), ["/b/", "/own/", "/stated/"]);
    assert_eq!(paths(Purpose::Remove, &[], "not: [a manifest"), ["/qovery/"]);
}

#[test]
fn a_manifest_that_cannot_be_read_says_why() {
    let named = [("IRSA_MANIFEST", "conf/m.yml")];
    insta::assert_snapshot!(shown(load(&Flags::default(), with(&[]), missing)), @r"
        1 problem in the configuration
          `SERVICE_ACCOUNT_NAME` is not set and there is no `qovery.yml`: for one identity set it with `IRSA_ROLE_ARN` or `IRSA_POLICY_ARNS`, for more let `install` upload a `qovery.yml`, or name a manifest by `IRSA_MANIFEST`
        ");
    insta::assert_snapshot!(shown(load(&Flags::default(), with(&named), missing)), @r"
        1 problem in the configuration
          conf/m.yml: cannot be read: no such file
        ");
    insta::assert_snapshot!(shown(load(&Flags::default(), with(&named), |_| Ok(vec![b'a', 0xff]))), @r"
        1 problem in the configuration
          conf/m.yml: is not UTF-8 text
        ");
    insta::assert_snapshot!(shown(load(&Flags::default(), with(&named), |_| Ok(vec![b'#'; (1 << 20) + 1]))), @r"
        1 problem in the configuration
          conf/m.yml: is larger than 1 MiB
        ");
}

#[test]
fn a_file_is_read_and_only_as_far_as_needed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.yml");
    std::fs::write(&path, SMALLEST).unwrap();
    assert_eq!(read_file(&path).unwrap(), SMALLEST.as_bytes());
    std::fs::write(&path, vec![b'#'; 3 << 20]).unwrap();
    assert_eq!(read_file(&path).unwrap().len(), (1 << 20) + 1);
    assert!(read_file(directory.path()).is_err());
}

/// What may be typed by mistake.
const SLIP: &str = "[ \\-:{}\\[\\]&*!$'\"|>?#,~a1\n\t]{0,4}";

proptest! {
    #[test]
    fn any_manifest_and_any_values_load_or_are_problems(
        manifest in "(?s).{0,200}|(identities: |- |\\{|\\}|\\[|\\]|role: |serviceAccount: |app|, |\n|  |&a |\\*a|\\$\\{A\\}|\"|'|!x |\\? |: |policies: |podIdentity: |roleOnly: |true|inlinePolicies: |file: |<<: |---\n|[|>]|#|\t){0,40}",
        values in proptest::collection::vec("(?s).{0,20}", 24),
    ) {
        let names = ["QOVERY_KUBERNETES_NAMESPACE_NAME", "QOVERY_KUBERNETES_CLUSTER_NAME", "QOVERY_CLOUD_PROVIDER_REGION", "QOVERY_ENVIRONMENT_ID",
            "IRSA_SETTLE", "IRSA_PERMISSIONS_BOUNDARY", "IRSA_OIDC_ISSUER", "IRSA_KUBE_AUTH", "IRSA_ASSUME_ROLE_ARN", "IRSA_TIMEOUT", "IRSA_FORMAT", "A"];
        let variables = names.iter().zip(&values).map(|(name, value)| ((*name).to_owned(), value.clone()));
        match load(&Flags::default(), variables, |_| Ok(manifest.clone().into_bytes())) {
            Ok(config) => prop_assert!(!config.identities.is_empty()),
            Err(problems) => prop_assert!(problems.to_string().lines().skip(1).all(|line| line.starts_with("  "))),
        }
    }

    #[test]
    fn a_manifest_with_slips_loads_or_is_problems_with_lines(slips in proptest::collection::vec((0_usize..6000, 0_usize..6, SLIP), 1..4)) {
        let mut manifest: Vec<char> = manifest::EVERY_KEY.chars().collect();
        for (start, length, slip) in slips {
            let start = start % manifest.len();
            let end = (start + length).min(manifest.len());
            manifest.splice(start..end, slip.chars());
        }
        let manifest: String = manifest.into_iter().collect();
        if let Err(problems) = loaded(&[], &manifest) {
            prop_assert!(problems.to_string().lines().skip(1).all(|line| line.starts_with("  ")));
            for problem in problems.iter().filter(|problem| !problem.starts_with("qovery.yml: ")) {
                let line = problem.strip_prefix("qovery.yml:").and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
                prop_assert!(line.is_some_and(|line| line <= manifest.lines().count() + 1), "{problem}");
            }
        }
    }

    #[test]
    fn any_values_of_the_one_identity_load_or_are_problems(
        name in "[a-z*]{0,3}|(?s).{0,8}",
        role in "(?s).{0,30}",
        policies in "[,a:]{0,9}|(?s).{0,30}",
        scope in "|shared|cluster|(?s).{0,9}",
        role_name in "[a-z ]{0,3}|(?s).{0,9}",
        namespaces in "[,z*? -]{0,9}|(?s).{0,9}",
    ) {
        let variables = [("SERVICE_ACCOUNT_NAME", format!("{name}x")), ("IRSA_ROLE_ARN", role), ("IRSA_POLICY_ARNS", policies),
            ("IRSA_SCOPE", scope), ("IRSA_ROLE_NAME", role_name), ("IRSA_NAMESPACES", namespaces)];
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _ = from_variables(&variables);
    }

    #[test]
    fn whatever_loads_as_the_role_of_a_cluster_names_families_of_namespaces(namespaces in "[,az*?-]{1,9}") {
        let variables = [("SERVICE_ACCOUNT_NAME", "app"), ("IRSA_ROLE_ARN", ROLE), ("IRSA_SCOPE", "cluster"), ("IRSA_NAMESPACES", &namespaces)];
        let manifest = format!("identities: [{{serviceAccount: app, role: {{arn: \"{ROLE}\", scope: cluster, namespaces: [\"{}\"]}}}}]", namespaces.replace(',', "\",\""));
        for loaded in [from_variables(&variables), loaded(&[], &manifest)] {
            let Ok(config) = loaded else { continue };
            let Scope::Cluster { namespaces } = &config.identities[0].role.scope else { panic!() };
            prop_assert!(!namespaces.is_empty());
            prop_assert!(namespaces.iter().all(|pattern| pattern.as_str().starts_with(['a', 'z'])));
        }
    }

    #[test]
    fn an_inserted_value_is_one_string_of_one_key(value in "(?s).{1,30}") {
        let manifest = "identities: [{serviceAccount: app, annotations: {note: \"${NOTE}\"}, role: {}}]";
        let config = loaded(&[("NOTE", &value)], manifest).unwrap();
        prop_assert_eq!(config.identities.len(), 1);
        let annotations: Vec<_> = config.identities[0].service_account.annotations.values().collect();
        prop_assert_eq!(annotations, [&value]);
    }
}

const BOUND: &str = "identities: [{serviceAccount: app, bindServices: [api], role: {}}]";

#[test]
fn bound_services_need_the_id_of_the_environment_where_they_are_bound_and_nowhere_else() {
    let access = loaded(&[], BOUND).unwrap().qovery.unwrap();
    assert_eq!((access.url.as_str(), access.token.reveal()), ("https://api.qovery.com", "qov_token"));
    assert_eq!(access.environment.as_str(), "1a2b3c4d-0000-4000-8000-000000000000");
    insta::assert_snapshot!(shown(loaded(&[("QOVERY_ENVIRONMENT_ID", ""), ("IRSA_QOVERY_API_URL", "http://x")], BOUND)), @"
    2 problems in the configuration
      `QOVERY_ENVIRONMENT_ID` is not set: services are bound through Qovery's API, which asks for the environment's id
      `IRSA_QOVERY_API_URL`: `http://x` is not the URL of an API: use `https://` with a host, as `https://api.qovery.com`
    ");
    // Without a token the job does the rest, and says what it does not.
    let config = loaded(&[("IRSA_QOVERY_TOKEN", "")], BOUND).unwrap();
    assert_eq!(config.qovery, None);
    assert!(config.notes.iter().any(|note| note.starts_with("services are not bound by this run: `IRSA_QOVERY_TOKEN` is not set.")));
    for purpose in [Purpose::Remove, Purpose::Examine] {
        let flags = Flags { purpose, ..Flags::default() };
        let config = load(&flags, with(&[("IRSA_QOVERY_TOKEN", "")]), |_| Ok(BOUND.into())).unwrap();
        assert_eq!(config.qovery, None);
    }
}

#[test]
fn the_token_has_three_names_and_a_wrong_one_is_not_shown() {
    for (name, value) in [("QOVERY_API_TOKEN", "qov_two"), ("QOVERY_CLI_ACCESS_TOKEN", "qov_three")] {
        let config = loaded(&[("IRSA_QOVERY_TOKEN", ""), (name, value)], BOUND).unwrap();
        assert_eq!(config.qovery.unwrap().token.reveal(), value);
    }
    let problems = shown(loaded(&[("IRSA_QOVERY_TOKEN", "se cret")], BOUND));
    assert!(problems.contains("`IRSA_QOVERY_TOKEN` holds characters that no token has") && !problems.contains("cret"), "{problems}");
}
