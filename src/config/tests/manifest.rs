//! What each key of a manifest means, and what each mistake in one says.

use super::*;
use crate::model::identity::{Binding, Identity, ManagedRole};
use insta::assert_snapshot;

/// Identities with every key: the first has all but those of other scopes.
pub(super) const EVERY_KEY: &str = r#"
identities:
  - serviceAccount: app
    audience: sts.amazonaws.com.cn
    tokenExpiration: 10m
    labels: {team: shop, example.com/tier: "1"}
    annotations: {eks.amazonaws.com/sts-regional-endpoints: "true", eks.amazonaws.com/skip-containers: sidecar, note: a b}
    automount: false
    bindServices: [api, 1A2B3C4D-0000-4000-8000-00000000000A]
    takeOver: true
    role:
      scope: environment
      name: shop-app
      path: /shop/
      policies: [arn:aws:iam::aws:policy/ReadOnlyAccess, arn:aws:iam::aws:policy/ReadOnlyAccess]
      inlinePolicies: {own: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "s3:*", Resource: "arn:aws:s3:::${QOVERY_ENVIRONMENT_NAME}/$${aws:username}"}}}
      permissionsBoundary: arn:aws:iam::123456789012:policy/boundary
      maxSessionDuration: 12h
      description: What the app may do
      tags: {team: shop}
      extraSubjects: [kube-system/keda-operator]
  - serviceAccount: queue
    role: {scope: shared, name: shop-queue, retain: true, policies: [arn:aws:iam::aws:policy/AmazonSQSFullAccess]}
  - serviceAccount: metrics
    role: {scope: cluster, name: shop-metrics, namespaces: [z1a2*, "zeta-?"]}
  - serviceAccount: legacy
    role: {arn: "arn:aws:iam::123456789012:role/made-by-hand", scope: cluster, namespaces: [z*], extraSubjects: [kube-system/keda-operator]}
  - serviceAccount: pods
    roleOnly: true
    podIdentity:
      targetRoleArn: arn:aws:iam::210987654321:role/data
      targetRoleExternalId: eu-west-3/210987654321
      disableSessionTags: true
      sessionPolicy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "*"}]}
      tags: {team: shop}
    role: {conditions: {StringEquals: {"aws:RequestedRegion": eu-west-3}}}
"#;

/// The identities of a manifest, read with the built-in variables.
fn identities(manifest: &str) -> Vec<Identity> {
    loaded(&[], manifest).unwrap_or_else(|problems| panic!("{problems}\n{manifest}")).identities
}

fn made(identity: &Identity) -> &ManagedRole {
    match &identity.role.origin {
        RoleOrigin::Managed(role) => role,
        RoleOrigin::Given(arn) => panic!("{arn}"),
    }
}

/// The patterns of a role of scope `cluster`.
fn patterns(identity: &Identity) -> Vec<&str> {
    match &identity.role.scope {
        Scope::Cluster { namespaces } => namespaces.iter().map(NamespacePattern::as_str).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn problems_are_few_enough_to_read_however_long_names_and_keys_are() {
    let long = format!("\"${{{}}}\"", "A".repeat(20_000));
    let deep = format!("{}\"${{X}}\"{}", format!("{{{}: ", "k".repeat(120)).repeat(50), "}".repeat(50));
    for value in [long, deep] {
        let all = format!("[&v {value}, {}]", vec!["*v"; 150].join(", "));
        let problems = shown(loaded(&[], &format!("identities: [{{serviceAccount: app, role: {{inlinePolicies: {{p: {all}}}}}}}]")));
        assert!(problems.len() < 64 * 1024, "{} bytes for {}…", problems.len(), &value[..40]);
        assert!(problems.starts_with("151 problems") && problems.contains("is not set") && problems.contains(" more"), "{problems}");
    }
}

#[test]
fn every_key_of_an_identity_is_read() {
    let identities = identities(EVERY_KEY);
    let account = &identities[0].service_account;
    assert_eq!((account.name.as_str(), identities[0].binding.audience().unwrap().as_str()), ("app", "sts.amazonaws.com.cn"));
    assert_eq!((account.token_expiration, account.automount), (Some(600), Some(false)));
    assert_eq!((account.labels.len(), account.annotations.len()), (2, 3));
    let services: Vec<&str> = identities[0].services.services.iter().map(crate::model::service::ServiceRef::as_str).collect();
    assert_eq!((services, identities[0].services.take_over), (vec!["1A2B3C4D-0000-4000-8000-00000000000A", "api"], true));
    let role = made(&identities[0]);
    assert_eq!((role.name.as_ref().unwrap().as_str(), role.path.as_str()), ("shop-app", "/shop/"));
    let role = &role.attributes;
    assert_eq!((role.policies.len(), role.settings.max_session_duration), (1, 43_200));
    let document = role.inline_policies.values().next().unwrap();
    assert_eq!(document["Statement"]["Resource"], "arn:aws:s3:::shop/${aws:username}");
    assert_eq!(role.permissions_boundary.as_ref().unwrap().policy_name(), "boundary");
    assert_eq!(role.settings.description.as_deref(), Some("What the app may do"));
    let RoleSpec { scope, extra_subjects, origin: _, conditions: _ } = &identities[0].role;
    assert_eq!((role.tags.len(), extra_subjects.iter().next().unwrap().to_string()), (1, "kube-system/keda-operator".to_owned()));
    assert_eq!(*scope, Scope::Environment);

    assert_eq!(identities[1].role.scope, Scope::Shared { retain: true });
    assert_eq!(made(&identities[1]).name.as_ref().unwrap().as_str(), "shop-queue");
    assert_eq!(made(&identities[2]).name.as_ref().unwrap().as_str(), "shop-metrics");
    assert_eq!(patterns(&identities[2]), ["z1a2*", "zeta-?"]);
    assert_eq!((patterns(&identities[3]), identities[3].role.extra_subjects.len()), (vec!["z*"], 1));
    let RoleOrigin::Given(arn) = &identities[3].role.origin else { panic!() };
    assert_eq!(arn.name.as_str(), "made-by-hand");
    // Its own keys are read in `pod_identity.rs`.
    assert!(matches!(identities[4].binding, Binding::PodIdentity(_)));
    assert!(!identities[4].role.conditions.is_empty());
}

#[test]
fn a_role_has_the_scope_it_says_or_that_of_its_kind() {
    for (keys, expected) in [
        ("policies: []", Scope::Environment),
        ("scope: ~, retain: ~, namespaces: ~", Scope::Environment),
        ("scope: environment, name: a", Scope::Environment),
        ("scope: shared, name: a", Scope::Shared { retain: false }),
        ("scope: shared, name: a, retain: false", Scope::Shared { retain: false }),
        ("scope: shared, name: a, retain: \"${NO:-true}\"", Scope::Shared { retain: true }),
        ("scope: \"${NO:-shared}\", name: a", Scope::Shared { retain: false }),
        (
            "scope: cluster, name: a, namespaces: [z*, \"${QOVERY_KUBERNETES_NAMESPACE_NAME}\", z*]",
            Scope::Cluster { namespaces: ["z*", "z1a2b3c4-shop"].map(|pattern| pattern.parse().unwrap()).into() },
        ),
        ("arn: \"arn:aws:iam::123456789012:role/a\"", Scope::Shared { retain: false }),
        ("arn: \"arn:aws:iam::123456789012:role/a\", scope: shared", Scope::Shared { retain: false }),
        (
            "arn: \"arn:aws:iam::123456789012:role/a\", scope: cluster, namespaces: [z*]",
            Scope::Cluster { namespaces: ["z*".parse().unwrap()].into() },
        ),
    ] {
        let identities = identities(&format!("identities: [{{serviceAccount: a, role: {{{keys}}}}}]"));
        assert_eq!(identities[0].role.scope, expected, "{keys}");
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let identities = identities(SMALLEST);
    let account = &identities[0].service_account;
    assert_eq!((identities[0].binding.clone(), account.token_expiration, account.automount), (Binding::default(), None, None));
    let role = made(&identities[0]);
    assert_eq!((&role.name, role.path.as_str(), role.attributes.settings.max_session_duration), (&None, "/qovery/", 3600));
    let role = &role.attributes;
    assert_eq!((&role.permissions_boundary, &role.settings.description), (&None, &None));
    assert!(role.policies.is_empty() && role.inline_policies.is_empty() && role.tags.is_empty());
    assert!(identities[0].role.extra_subjects.is_empty());
    assert_eq!(identities[0].role.scope, Scope::Environment);
}

#[test]
fn defaults_hold_where_a_role_says_nothing() {
    let manifest = "
defaults: {path: /d/, permissionsBoundary: arn:aws:iam::123456789012:policy/d, tags: {team: d, cost: d}, maxSessionDuration: 7200}
identities:
  - {serviceAccount: a, role: {tags: {team: a}}}
  - {serviceAccount: b, role: {path: /b/, permissionsBoundary: arn:aws:iam::123456789012:policy/b, maxSessionDuration: 2h30m}}
  - {serviceAccount: c, role: {arn: \"arn:aws:iam::123456789012:role/c\", extraSubjects: [x/y]}}
";
    let identities = identities(manifest);
    let (a, b) = (made(&identities[0]), made(&identities[1]));
    assert_eq!((a.path.as_str(), a.attributes.settings.max_session_duration), ("/d/", 7200));
    assert_eq!(a.attributes.permissions_boundary.as_ref().unwrap().policy_name(), "d");
    assert_eq!(a.attributes.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["cost=d", "team=a"]);
    assert_eq!((b.path.as_str(), b.attributes.settings.max_session_duration, b.attributes.tags.len()), ("/b/", 9000, 2));
    assert_eq!(b.attributes.permissions_boundary.as_ref().unwrap().policy_name(), "b");
    let RoleSpec { origin: RoleOrigin::Given(arn), extra_subjects, .. } = &identities[2].role else { panic!() };
    assert_eq!((arn.name.as_str(), extra_subjects.len()), ("c", 1));
}

#[test]
fn the_boundary_of_the_variable_holds_where_the_manifest_names_none() {
    let boundary = [("IRSA_PERMISSIONS_BOUNDARY", "arn:aws:iam::123456789012:policy/v")];
    let of = |manifest: &str| {
        let identities = loaded(&boundary, manifest).unwrap().identities;
        made(&identities[0]).attributes.permissions_boundary.as_ref().unwrap().policy_name().to_owned()
    };
    assert_eq!(of(SMALLEST), "v");
    assert_eq!(of("defaults: {permissionsBoundary: arn:aws:iam::123456789012:policy/d}\nidentities: [{serviceAccount: a, role: {}}]"), "d");
}

#[test]
fn anchors_and_interpolated_booleans_and_durations_are_read() {
    let manifest = "identities:\n  - serviceAccount: a\n    automount: ${ON}\n    tokenExpiration: ${FOR}\n    role: &r {maxSessionDuration: \"${X:-3600}\"}\n  - {serviceAccount: b, role: *r}";
    let config = loaded(&[("ON", "true"), ("FOR", "86400")], manifest).unwrap();
    assert_eq!(config.identities[0].service_account.automount, Some(true));
    assert_eq!(config.identities[0].service_account.token_expiration, Some(86_400));
    assert_eq!(config.identities[0].role, config.identities[1].role);
}

/// The problems of one identity with these keys beside its name.
fn of_identity(keys: &str) -> String {
    problems(&format!("identities: [{{serviceAccount: app, {keys}}}]"))
}

fn of_role(keys: &str) -> String {
    of_identity(&format!("role: {{{keys}}}")).replace("identities[0].role", "ROLE")
}

/// The problems without their first line, without the file's name.
fn problems(manifest: &str) -> String {
    let text = shown(loaded(&[], manifest));
    text.lines()
        .skip(1)
        .map(|line| line.trim_start().trim_start_matches("qovery.yml:1: ").trim_start_matches("qovery.yml: "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_manifest_without_identities_says_so() {
    assert_eq!(problems(""), "is empty: add `identities`");
    assert_eq!(problems("# nothing"), "is empty: add `identities`");
    assert_eq!(problems("{}"), "`identities` is missing");
    assert_eq!(problems("identities: ~"), "`identities` is missing");
    assert_eq!(problems("identities: []"), "identities: is empty: add at least one identity");
    assert_eq!(problems("identities: [~]"), "identities[0]: has no value");
    assert_eq!(problems("identities: [{}]"), "identities[0]: `serviceAccount` is missing\nidentities[0]: `role` is missing");
    assert_eq!(problems("identities: x"), "identities: must be a list, not a string");
    assert_eq!(
        problems("services: {}\nidentities: [{serviceAccount: a, role: {}}]"),
        "services: unknown key, use `defaults`, `identities`, `prune`, `job` or `cluster`"
    );
}

#[test]
fn an_identity_with_a_mistake_says_what_is_legal() {
    for (keys, expected) in [
        (
            "role: {}, namespaces: [api]",
            "identities[0].namespaces: unknown key, use `serviceAccount`, `audience`, `tokenExpiration`, `labels`, `annotations`, `automount`, `podIdentity`, `roleOnly`, `role`, `bindServices` or `takeOver`",
        ),
        ("role: {}, audiense: a", "identities[0].audiense: unknown key, did you mean `audience`?"),
        ("role: x", "identities[0].role: must be a mapping, not a string"),
        ("role: {}, audience: \"a b\"", "identities[0].audience: `a b` is not an audience: use at most 255 letters, digits and `_.:/=+-@`"),
        ("role: {}, tokenExpiration: 5m", "identities[0].tokenExpiration: `5m` is out of bounds: use 10m to 24h"),
        ("role: {}, tokenExpiration: 1.5", "identities[0].tokenExpiration: must be a duration, not the number `1.5`"),
        ("role: {}, takeOver: true", "identities[0].takeOver: belongs to `bindServices`"),
        (
            "role: {}, bindServices: [\" api\"]",
            "identities[0].bindServices[0]: ` api` is not a service: use the name or the id of an application, container, job or Terraform service of the environment",
        ),
        ("role: {}, bindServices: [api, API]", "identities[0].bindServices[1]: `API` is here twice"),
        ("role: {}, automount: 1", "identities[0].automount: must be `true` or `false`, not the number `1`"),
        (
            "role: {}, labels: {app.kubernetes.io/managed-by: x}",
            "identities[0].labels[\"app.kubernetes.io/managed-by\"]: is the tool's own label",
        ),
        ("role: {}, labels: {a: }", "identities[0].labels.a: has no value"),
        (
            "role: {}, labels: {a: -}",
            "identities[0].labels.a: `-` is not a label value: use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
        ),
        (
            "role: {}, annotations: {eks.amazonaws.com/role-arn: x}",
            "identities[0].annotations[\"eks.amazonaws.com/role-arn\"]: is set by the tool: use the identity's `role` instead",
        ),
        (
            "role: {}, annotations: {eks.amazonaws.com/token-expiration: \"600\"}",
            "identities[0].annotations[\"eks.amazonaws.com/token-expiration\"]: is set by the tool: use the identity's `tokenExpiration` instead",
        ),
        (
            "role: {}, annotations: {eks.amazonaws.com/role_arn: x}",
            "identities[0].annotations[\"eks.amazonaws.com/role_arn\"]: is read by nobody: did you mean `eks.amazonaws.com/role-arn`, which is the identity's `role`?",
        ),
        (
            "role: {}, annotations: {eks.amazonaws.com/sts-regional-endpoint: \"true\"}",
            "identities[0].annotations[\"eks.amazonaws.com/sts-regional-endpoint\"]: is read by nobody: did you mean `eks.amazonaws.com/sts-regional-endpoints`?",
        ),
        (
            "role: {}, annotations: {eks.amazonaw.com/audience: x}",
            "identities[0].annotations[\"eks.amazonaw.com/audience\"]: is read by nobody: did you mean `eks.amazonaws.com/audience`, which is the identity's `audience`?",
        ),
        (
            "role: {}, annotations: {\"a b\": x}",
            "identities[0].annotations[\"a b\"]: `a b` is not a label or annotation key: use `name` or `prefix/name`: at most 63 letters, digits, `-`, `_` and `.` after a DNS prefix",
        ),
        (
            "role: {}, annotations: {a: \"${NOT_SET}\"}",
            "identities[0].annotations.a: the variable `NOT_SET` is not set: set it, or write `${NOT_SET:-default}`",
        ),
    ] {
        let problems = of_identity(keys);
        assert_eq!(problems, expected, "{keys}");
    }
}

#[test]
fn a_role_with_a_mistake_says_what_is_legal() {
    for (keys, expected) in [
        ("scope: project", "ROLE.scope: `project` is not a scope: use `environment`, `shared` or `cluster`"),
        ("scope: Shared, name: a", "ROLE.scope: `Shared` is not a scope: use `environment`, `shared` or `cluster`"),
        ("scope: ''", "ROLE.scope: `` is not a scope: use `environment`, `shared` or `cluster`"),
        ("scope: 1", "ROLE.scope: must be a string, not the number `1`: put it in quotes"),
        (
            "trustPolicy: {}",
            "ROLE.trustPolicy: unknown key, use `scope`, `namespaces`, `retain`, `name`, `path`, `arn`, `policies`, `inlinePolicies`, `permissionsBoundary`, `maxSessionDuration`, `description`, `tags`, `conditions` or `extraSubjects`",
        ),
        ("namespace: z*", "ROLE.namespace: unknown key, did you mean `namespaces`?"),
        ("policys: []", "ROLE.policys: unknown key, did you mean `policies`?"),
        ("name: a b", "ROLE.name: `a b` is not a role name: use at most 64 letters, digits and `_+=,.@-`"),
        (
            "path: qovery",
            "ROLE.path: `qovery` is not a role path: begin and end it with `/`, with printable ASCII characters between, 512 at most",
        ),
        ("policies: [~]", "ROLE.policies[0]: has no value"),
        ("policies: a", "ROLE.policies: must be a list, not a string"),
        ("maxSessionDuration: 13h", "ROLE.maxSessionDuration: `13h` is out of bounds: use 1h to 12h"),
        ("maxSessionDuration: ''", "ROLE.maxSessionDuration: `` is not a duration: use seconds, or a text such as `90m` or `1h30m`"),
        ("description: \"a\\u20ac\"", "ROLE.description: `€` cannot stand in a description: IAM takes Latin-1 characters"),
        (
            "tags: {aws:x: y}",
            "ROLE.tags[\"aws:x\"]: `aws:x` is not a tag key: use at most 128 letters, digits, spaces and `_.:/=+-@`, and none that begins with `aws:` or `qovery-irsa/`",
        ),
        ("tags: {Team: a, team: b}", "ROLE.tags.team: differs only by case from `Team`: for IAM they are one key"),
        (
            "extraSubjects: ['z*/app']",
            "ROLE.extraSubjects[0]: `z*/app` is not a subject: use `namespace/service-account`, as `kube-system/keda-operator`",
        ),
        ("inlinePolicies: {a: x}", "ROLE.inlinePolicies.a: must be a policy document: a mapping with `Statement`"),
        ("inlinePolicies: {a: {}}", "ROLE.inlinePolicies.a: `Statement` is missing"),
        ("inlinePolicies: {a: {Version: 2012-10-18, Statement: []}}", "ROLE.inlinePolicies.a.Version: must be `\"2012-10-17\"`, in quotes"),
        (
            "inlinePolicies: {a: {Statement: [{Effect: Allow, Action: s3GetObject, Resource: '*'}]}}",
            "ROLE.inlinePolicies.a.Statement[0].Action: `s3GetObject` is not an action: use `service:Action`, as `s3:GetObject`, or `*`",
        ),
        ("path: /aws-reserved/sso/", "ROLE.path: roles below `/aws-reserved/` are AWS's own: nobody else can change them"),
        ("inlinePolicies: {a: {Statement: x}}", "ROLE.inlinePolicies.a.Statement: must be a list of statements, or one"),
        (
            "inlinePolicies: {a b: {Statement: []}}",
            "ROLE.inlinePolicies[\"a b\"]: `a b` is not a policy name: use at most 128 letters, digits and `_+=,.@-`",
        ),
        (
            "inlinePolicies: {a: {Statement: [{Resource: \"arn:aws:s3:::${aws:username}\"}]}}",
            "ROLE.inlinePolicies.a.Statement[0].Resource: `${aws:username}` is not a variable: use `${NAME}` or `${NAME:-default}`, and `$${aws:username}` for a variable of IAM",
        ),
        ("arn: x", "ROLE.arn: `x` is not the ARN of a role: use `arn:aws:iam::123456789012:role/name`"),
    ] {
        assert_eq!(of_role(keys), expected, "{keys}");
    }
}

#[test]
fn a_scope_without_what_belongs_to_it_says_so() {
    const NAME: &str = "ROLE: `name` is missing: environments that have a role together must call it by one name";
    const NAMESPACES: &str = "ROLE: `namespaces` is missing: write out which namespaces may use the role, as `namespaces: [z*]`";
    let given = "arn: \"arn:aws:iam::123456789012:role/a\"";
    for (keys, expected) in [
        ("scope: shared", vec![NAME]),
        ("scope: shared, name: ~", vec![NAME]),
        ("scope: shared, name: a b", vec!["ROLE.name: `a b` is not a role name: use at most 64 letters, digits and `_+=,.@-`"]),
        ("scope: cluster, namespaces: [z*]", vec![NAME]),
        ("scope: cluster, name: a", vec![NAMESPACES]),
        ("scope: cluster, name: a, namespaces: ~", vec![NAMESPACES]),
        ("scope: cluster", vec![NAMESPACES, NAME]),
        (
            "scope: cluster, name: a, namespaces: []",
            vec!["ROLE.namespaces: is empty: write out which namespaces may use the role, as `namespaces: [z*]`"],
        ),
        ("scope: cluster, name: a, namespaces: z*", vec!["ROLE.namespaces: must be a list, not a string"]),
        ("scope: cluster, name: a, namespaces: [1]", vec!["ROLE.namespaces[0]: must be a string, not the number `1`: put it in quotes"]),
        ("scope: cluster, name: a, namespaces: [~]", vec!["ROLE.namespaces[0]: has no value"]),
        (&format!("{given}, scope: cluster"), vec![NAMESPACES]),
    ] {
        assert_eq!(of_role(keys), expected.join("\n"), "{keys}");
    }
}

#[test]
fn what_belongs_to_another_scope_is_a_problem() {
    const NAMESPACES: &str = "ROLE.namespaces: belongs to scope `cluster`";
    const RETAIN: &str = "ROLE.retain: belongs to scope `shared`";
    const SCOPE: &str = "ROLE.scope: `sharde` is not a scope: use `environment`, `shared` or `cluster`";
    let given = "arn: \"arn:aws:iam::123456789012:role/a\"";
    for (keys, expected) in [
        ("retain: true", vec![RETAIN]),
        ("retain: false", vec![RETAIN]),
        ("scope: environment, retain: true, namespaces: [z*]", vec![RETAIN, NAMESPACES]),
        ("scope: cluster, name: a, namespaces: [z*], retain: true", vec![RETAIN]),
        ("namespaces: [z*]", vec![NAMESPACES]),
        ("namespaces: []", vec![NAMESPACES]),
        ("scope: shared, name: a, namespaces: [z*]", vec![NAMESPACES]),
        (&format!("{given}, namespaces: [z*]"), vec![NAMESPACES]),
        ("scope: shared, name: a, retain: 1", vec!["ROLE.retain: must be `true` or `false`, not the number `1`"]),
        // What belongs to a scope that nobody knows is not known either.
        ("scope: sharde, retain: true", vec![SCOPE]),
        ("scope: sharde, namespaces: [z*]", vec![SCOPE]),
        ("scope: [shared], retain: true, namespaces: [z*]", vec!["ROLE.scope: must be a string, not a list"]),
    ] {
        assert_eq!(of_role(keys), expected.join("\n"), "{keys}");
    }
}

#[test]
fn a_pattern_that_names_no_family_of_namespaces_is_a_problem() {
    let long = format!("z{}*", "x".repeat(62));
    for pattern in ["*", "?*", "-*", "", "Z*", "z/*", "z:*", "z *", "z[a]", "z.x", "$${aws:username}", "ж*", &long] {
        // Of any scope: the user learns all that is wrong.
        for scope in ["cluster", "clsuter"] {
            let problems = of_role(&format!("scope: {scope}, name: a, namespaces: [\"{pattern}\", z*]"));
            let shown = format!("ROLE.namespaces[0]: `{}` is not a pattern of namespaces: ", pattern.replace("$$", "$"));
            assert_eq!(problems.matches(&shown).count(), 1, "{pattern:?}: {problems}");
            assert_eq!(problems.lines().count(), if scope == "cluster" { 1 } else { 2 }, "{pattern:?}: {problems}");
        }
    }
    assert_snapshot!(of_role("scope: cluster, name: a, namespaces: ['*']"), @"ROLE.namespaces[0]: `*` is not a pattern of namespaces: begin with the lower-case letter or digit that all of them begin with, as `z*`, then lower-case letters, digits, `-`, `*` and `?`, 63 characters at most");
}

#[test]
fn beside_an_arn_only_what_concerns_its_trust_stands() {
    let others = "arn: \"arn:aws:iam::123456789012:role/a\", name: a, path: /, policies: [], inlinePolicies: {}, \
         permissionsBoundary: a, maxSessionDuration: 1h, description: a, tags: {}, retain: true, extraSubjects: [a/b]";
    let expected =
        ["name", "path", "policies", "inlinePolicies", "permissionsBoundary", "maxSessionDuration", "description", "tags", "retain"]
            .map(|key| format!("ROLE.{key}: cannot stand beside `arn`: only the trust of a given role is managed"))
            .join("\n");
    assert_eq!(of_role(others), expected);
    assert_eq!(of_role(&format!("{others}, scope: shared")), expected);
    assert_eq!(of_role(&format!("{others}, scope: cluster, namespaces: [z*]")), expected);
    assert_eq!(
        of_role(&format!("{others}, scope: environment")),
        format!("{expected}\nROLE.scope: a role given by `arn` cannot be one environment's: use `shared` or `cluster`")
    );
}

#[test]
fn conditions_are_read_for_every_role_and_their_problems_have_places() {
    let manifest = "identities:\n- serviceAccount: a\n  role:\n    arn: arn:aws:iam::123456789012:role/x\n    conditions:\n      IpAddress:\n        aws:SourceIp: [10.0.0.0/8]\n";
    let identities = loaded(&[], manifest).unwrap().identities;
    assert_eq!(
        serde_json::Value::Object(identities[0].role.conditions.to_members()),
        serde_json::json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    );
    assert_eq!(
        problems(&manifest.replace("[10.0.0.0/8]", "10.0.0.0/33")),
        "qovery.yml:7: identities[0].role.conditions.IpAddress[\"aws:SourceIp\"]: `10.0.0.0/33` is not an address or a network, as `10.0.0.0/8`"
    );
    assert!(
        problems(&manifest.replace("IpAddress", "IpAddres"))
            .starts_with("qovery.yml:6: identities[0].role.conditions.IpAddres: is no condition operator")
    );
    assert!(
        problems(&manifest.replace("aws:SourceIp: [10.0.0.0/8]", "oidc.example.com/id/A:sub: x").replace("IpAddress", "StringLike"))
            .contains("is written by the tool")
    );
}

#[test]
fn more_annotations_than_kubernetes_takes_are_a_problem() {
    let manifest = |size: usize| format!("identities: [{{serviceAccount: a, annotations: {{x: {}, y: z}}, role: {{}}}}]", "v".repeat(size));
    let most = 256 * 1024 - 8 * 1024;
    assert!(loaded(&[], &manifest(most - 3)).is_ok());
    assert_eq!(
        problems(&manifest(most - 2)),
        "identities[0].annotations: 253953 bytes in all annotations: Kubernetes takes 256 KiB, of which 253952 are left beside the tool's own"
    );
}

#[test]
fn what_iam_would_refuse_for_its_size_is_a_problem() {
    let tags = |count: usize| (0..count).map(|number| format!("t{number}: x")).collect::<Vec<_>>().join(", ");
    assert!(loaded(&[], &format!("identities: [{{serviceAccount: a, role: {{tags: {{{}}}}}}}]", tags(42))).is_ok());
    assert_eq!(
        of_role(&format!("tags: {{{}}}", tags(43))),
        "ROLE.tags: 43 tags, those of `defaults` included: a role takes 42 beside the tool's own"
    );
    let too_many = problems(&format!("defaults: {{tags: {{{}}}}}\nidentities: [{{serviceAccount: a, role: {{}}}}]", tags(43)));
    assert_eq!(too_many, "defaults.tags: 43 tags, those of `defaults` included: a role takes 42 beside the tool's own");
    let merged =
        problems(&format!("defaults: {{tags: {{{}}}}}\nidentities: [{{serviceAccount: a, role: {{tags: {{more: x}}}}}}]", tags(42)));
    assert_eq!(
        merged,
        "qovery.yml:2: identities[0].role.tags: 43 tags, those of `defaults` included: a role takes 42 beside the tool's own"
    );

    let policies = |size: usize| format!("inlinePolicies: {{a: {{Id: \"{}\", Statement: []}}, b: {{Statement: []}}}}", "x".repeat(size));
    let around = r#"{"Id":"","Statement":[]}{"Statement":[]}"#.len();
    let manifest = |size: usize| format!("identities: [{{serviceAccount: a, role: {{{}}}}}]", policies(size));
    assert!(loaded(&[], &manifest(10_240 - around)).is_ok());
    assert_eq!(
        of_role(&policies(10_241 - around)),
        "ROLE.inlinePolicies: 10241 characters in all inline policies of the role: IAM takes 10240, use a managed policy"
    );
    assert!(loaded(&[], &format!("identities: [{{serviceAccount: a, role: {{description: {}}}}}]", "é".repeat(1000))).is_ok());
    assert_eq!(of_role(&format!("description: {}", "é".repeat(1001))), "ROLE.description: 1001 characters: IAM takes 1000");
}

#[test]
fn tag_keys_that_differ_by_case_from_a_default_are_one_key() {
    let manifest = "defaults: {tags: {Team: a}}\nidentities: [{serviceAccount: a, role: {tags: {team: b}}}, {serviceAccount: b, role: {tags: {Team: b}}}]";
    assert_eq!(
        problems(manifest),
        "qovery.yml:2: identities[0].role.tags.team: differs only by case from `Team`: for IAM they are one key"
    );
}

#[test]
fn identities_that_share_a_name_are_a_problem() {
    let manifest = "identities:\n- {serviceAccount: a, role: {name: Shop}}\n- {serviceAccount: b, role: {name: shop}}\n- {serviceAccount: a, role: {}}\n- {serviceAccount: a, role: {}}";
    assert_snapshot!(problems(manifest), @r"
        qovery.yml:3: identities[1].role.name: `shop` is the name of the role of `identities[0]` too: IAM ignores case
        qovery.yml:4: identities[2].serviceAccount: `a` is the ServiceAccount of `identities[0]` too
        qovery.yml:5: identities[3].serviceAccount: `a` is the ServiceAccount of `identities[0]` too
        ");
}

#[test]
fn a_service_that_two_identities_bind_is_a_problem() {
    assert_eq!(
        problems("identities: [{serviceAccount: a, bindServices: [api], role: {}}, {serviceAccount: b, bindServices: [x, Api], role: {}}]"),
        "identities[1].bindServices[1]: `Api` is bound by `identities[0]` too"
    );
}

#[test]
fn a_role_of_an_unknown_scope_shares_its_name_with_nobody() {
    let manifest = "identities: [{serviceAccount: a, role: {name: r}}, {serviceAccount: b, role: {name: r, scope: sharde}}, {serviceAccount: c, role: {name: r, scope: 1}}]";
    assert_snapshot!(problems(manifest), @r"
        identities[2].role.scope: must be a string, not the number `1`: put it in quotes
        identities[1].role.scope: `sharde` is not a scope: use `environment`, `shared` or `cluster`
        ");
}

#[test]
fn identities_of_one_role_may_say_the_same_of_it() {
    for (one, other) in [
        ("scope: shared, name: r", "scope: shared, name: r"),
        ("scope: shared, name: r, policies: [arn:aws:iam::aws:policy/A]", "scope: shared, name: r, policies: [arn:aws:iam::aws:policy/A]"),
        ("scope: shared, name: r, retain: true", "scope: shared, name: r, retain: \"true\", extraSubjects: [a/b]"),
        ("scope: cluster, name: r, namespaces: [a*]", "scope: cluster, name: r, namespaces: [b*], extraSubjects: [a/b]"),
        ("scope: shared, name: r, maxSessionDuration: 1h", "scope: shared, name: r, path: /qovery/"),
        ("arn: \"arn:aws:iam::123456789012:role/r\"", "arn: \"arn:aws:iam::123456789012:role/r\", scope: shared"),
        (
            "arn: \"arn:aws:iam::123456789012:role/r\", scope: cluster, namespaces: [a*]",
            "arn: \"arn:aws:iam::123456789012:role/r\", scope: cluster, namespaces: [b*]",
        ),
        ("scope: shared, name: r", "scope: shared, name: s"),
        ("scope: shared, name: r", "policies: []"),
    ] {
        let manifest = format!("identities:\n- {{serviceAccount: a, role: {{{one}}}}}\n- {{serviceAccount: b, role: {{{other}}}}}");
        assert_eq!(identities(&manifest).len(), 2);
    }
}

#[test]
fn identities_of_one_role_that_say_different_things_of_it_are_a_problem() {
    for (one, other, key) in [
        ("scope: shared, name: r", "scope: cluster, name: r, namespaces: [z*]", "scope"),
        ("scope: shared, name: r", "scope: environment, name: r", "scope"),
        ("name: r", "scope: shared, name: r", "scope"),
        ("scope: shared, name: r", "scope: shared, name: R", "name"),
        ("scope: shared, name: r", "scope: shared, name: r, path: /other/", "path"),
        ("scope: shared, name: r", "scope: shared, name: r, policies: [arn:aws:iam::aws:policy/A]", "policies"),
        ("scope: shared, name: r", "scope: shared, name: r, inlinePolicies: {a: {Statement: []}}", "inlinePolicies"),
        ("scope: shared, name: r", "scope: shared, name: r, permissionsBoundary: arn:aws:iam::aws:policy/A", "permissionsBoundary"),
        ("scope: shared, name: r", "scope: shared, name: r, maxSessionDuration: 2h", "maxSessionDuration"),
        ("scope: shared, name: r", "scope: shared, name: r, description: other", "description"),
        ("scope: cluster, name: r, namespaces: [z*]", "scope: cluster, name: r, namespaces: [z*], tags: {a: b}", "tags"),
        ("scope: shared, name: r", "scope: shared, name: r, retain: true", "retain"),
        ("scope: shared, name: r", "arn: \"arn:aws:iam::123456789012:role/r\"", "arn"),
        ("name: r", "arn: \"arn:aws:iam::123456789012:role/r\"", "arn"),
        ("arn: \"arn:aws:iam::123456789012:role/r\"", "arn: \"arn:aws:iam::123456789012:role/x/r\"", "arn"),
        (
            "arn: \"arn:aws:iam::123456789012:role/r\"",
            "arn: \"arn:aws:iam::123456789012:role/r\", scope: cluster, namespaces: [z*]",
            "scope",
        ),
    ] {
        let manifest = format!("identities:\n- {{serviceAccount: a, role: {{{one}}}}}\n- {{serviceAccount: b, role: {{{other}}}}}");
        let name = if key == "name" { "R" } else { "r" };
        assert_eq!(
            problems(&manifest),
            format!(
                "qovery.yml:3: identities[1].role: `{name}` is the role of `identities[0]` too, but `{key}` differs: of one role both must say the same"
            ),
            "{one} / {other}"
        );
    }
}

#[test]
fn the_role_of_three_identities_is_compared_with_the_first() {
    let manifest = "identities:\n- {serviceAccount: a, role: {scope: shared, name: r}}\n- {serviceAccount: b}\n- {serviceAccount: c, role: {scope: shared, name: r}}\n- {serviceAccount: d, role: {scope: shared, name: r, tags: {a: b}}}";
    assert_snapshot!(problems(manifest), @r"
        qovery.yml:3: identities[1]: `role` is missing
        qovery.yml:5: identities[3].role: `r` is the role of `identities[0]` too, but `tags` differs: of one role both must say the same
        ");
}

#[test]
fn all_problems_of_variables_and_manifest_are_shown_at_once() {
    let manifest = r#"# identities of the shop
defaults:
  path: qovery
  tagz: {team: shop}
identities:
  - serviceAccount: my-s3-role
    tokenExpiration: 1m
    role:
      policies:
        - AmazonS3ReadOnlyAccess
        - arn:aws:iam::aws:policy/ReadOnlyAccess
      inlinePolicies:
        own-bucket:
          Version: "2012-10-17"
          Statement:
            - Effect: Allow
              Resource: "arn:aws:s3:::${BUCKET}/${aws:username}"
      maxSessionDuration: [1h]
  - serviceAccount: Payments_API
    services: [api]
    labels:
      tier: 1
    role:
      scope: project
  - audience: sts.amazonaws.com
    role:
      arn: arn:aws:iam::123456789012:role/by-hand
      policies: []
  - serviceAccount: my-s3-role
    role: {}
"#;
    let variables =
        [("QOVERY_KUBERNETES_NAMESPACE_NAME", ""), ("IRSA_TIMEOUT", "2 days"), ("IRSA_FORMAT", "xml"), ("IRSA_OIDC_ISSUER", "oidc.eks")];
    assert_snapshot!(shown(loaded(&variables, manifest)), @r"
        18 problems in the configuration
          `QOVERY_KUBERNETES_NAMESPACE_NAME` is not set
          `IRSA_OIDC_ISSUER`: `oidc.eks` is not an OIDC issuer: use its URL: `https://`, then host and path, without query, fragment or a `/` at the end
          `IRSA_TIMEOUT`: `2 days` is not a duration: use seconds, or a text such as `90m` or `1h30m`
          `IRSA_FORMAT`: `xml` is not known: use `text` or `json`
          qovery.yml:3: defaults.path: `qovery` is not a role path: begin and end it with `/`, with printable ASCII characters between, 512 at most
          qovery.yml:4: defaults.tagz: unknown key, did you mean `tags`?
          qovery.yml:7: identities[0].tokenExpiration: `1m` is out of bounds: use 10m to 24h
          qovery.yml:10: identities[0].role.policies[0]: `AmazonS3ReadOnlyAccess` is not the ARN of a managed policy: use `arn:aws:iam::aws:policy/name` or `arn:aws:iam::123456789012:policy/name`
          qovery.yml:17: identities[0].role.inlinePolicies.own-bucket.Statement[0].Resource: the variable `BUCKET` is not set: set it, or write `${BUCKET:-default}`
          qovery.yml:17: identities[0].role.inlinePolicies.own-bucket.Statement[0].Resource: `${aws:username}` is not a variable: use `${NAME}` or `${NAME:-default}`, and `$${aws:username}` for a variable of IAM
          qovery.yml:18: identities[0].role.maxSessionDuration: must be a duration, not a list
          qovery.yml:19: identities[1].serviceAccount: `Payments_API` is not a ServiceAccount name: use lower-case letters, digits, `-` and `.`, 253 characters at most
          qovery.yml:20: identities[1].services: unknown key, use `serviceAccount`, `audience`, `tokenExpiration`, `labels`, `annotations`, `automount`, `podIdentity`, `roleOnly`, `role`, `bindServices` or `takeOver`
          qovery.yml:22: identities[1].labels.tier: must be a string, not the number `1`: put it in quotes
          qovery.yml:24: identities[1].role.scope: `project` is not a scope: use `environment`, `shared` or `cluster`
          qovery.yml:25: identities[2]: `serviceAccount` is missing
          qovery.yml:28: identities[2].role.policies: cannot stand beside `arn`: only the trust of a given role is managed
          qovery.yml:29: identities[3].serviceAccount: `my-s3-role` is the ServiceAccount of `identities[0]` too
        ");
}

#[test]
fn a_text_that_is_not_yaml_is_one_problem_beside_those_of_the_variables() {
    assert_snapshot!(shown(loaded(&[("IRSA_FORMAT", "xml")], "identities:\n  - serviceAccount: a\n   role: {}\n")), @r"
        2 problems in the configuration
          `IRSA_FORMAT`: `xml` is not known: use `text` or `json`
          qovery.yml:3:4: did not find expected '-' indicator, while parsing a block collection at line 2 column 3
        ");
    assert_snapshot!(shown(loaded(&[], "identities:\n  - serviceAccount: a\n    role: {}\n    serviceAccount: b\n")), @r"
        1 problem in the configuration
          qovery.yml:4:5: identities[0]: the key `serviceAccount` is there twice
        ");
}

#[test]
fn what_an_identity_means_is_a_note_where_it_is_brought_about_and_nowhere_else() {
    let manifest =
        "identities: [{serviceAccount: default, tokenExpiration: 10m, role: {policies: [arn:aws:iam::aws:policy/AdministratorAccess]}}]";
    let of = |purpose| load(&Flags { purpose, ..Flags::default() }, with(&[]), |_| Ok(manifest.into())).unwrap().notes;
    let noted = of(Purpose::Start);
    assert_eq!(noted.len(), 3, "{noted:?}");
    assert!(noted.iter().all(|note| note.starts_with("identity `default`: ")), "{noted:?}");
    assert_eq!(of(Purpose::Remove), [] as [String; 0]);
    assert_eq!(of(Purpose::Examine), [] as [String; 0]);
}
