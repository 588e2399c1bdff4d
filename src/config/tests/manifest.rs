//! What each key of a manifest means, and what each mistake in one says.

use super::*;
use crate::model::identity::{EnvironmentRole, Identity};
use insta::assert_snapshot;

/// An identity with every key.
pub(super) const EVERY_KEY: &str = r#"
identities:
  - serviceAccount: app
    audience: sts.amazonaws.com.cn
    tokenExpiration: 10m
    labels: {team: shop, example.com/tier: "1"}
    annotations: {eks.amazonaws.com/sts-regional-endpoints: "true", eks.amazonaws.com/skip-containers: sidecar, note: a b}
    automount: false
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
"#;

/// The identities of a manifest, read with the built-in variables.
fn identities(manifest: &str) -> Vec<Identity> {
    loaded(&[], manifest).unwrap_or_else(|problems| panic!("{problems}\n{manifest}")).identities
}

fn made(identity: &Identity) -> &EnvironmentRole {
    match &identity.role {
        RoleSpec::Environment(role) => role,
        RoleSpec::Given(given) => panic!("{given:?}"),
    }
}

#[test]
fn every_key_of_an_identity_is_read() {
    let identities = identities(EVERY_KEY);
    let account = &identities[0].service_account;
    assert_eq!((account.name.as_str(), account.audience.as_str()), ("app", "sts.amazonaws.com.cn"));
    assert_eq!((account.token_expiration, account.automount), (Some(600), Some(false)));
    assert_eq!((account.labels.len(), account.annotations.len()), (2, 3));
    let role = made(&identities[0]);
    assert_eq!((role.name.as_ref().unwrap().as_str(), role.path.as_str()), ("shop-app", "/shop/"));
    assert_eq!((role.policies.len(), role.max_session_duration), (1, 43_200));
    let document = role.inline_policies.values().next().unwrap();
    assert_eq!(document["Statement"]["Resource"], "arn:aws:s3:::shop/${aws:username}");
    assert_eq!(role.permissions_boundary.as_ref().unwrap().policy_name(), "boundary");
    assert_eq!(role.description.as_deref(), Some("What the app may do"));
    assert_eq!((role.tags.len(), role.extra_subjects.iter().next().unwrap().to_string()), (1, "kube-system/keda-operator".to_owned()));
}

#[test]
fn what_is_left_out_has_its_default() {
    let identities = identities(SMALLEST);
    let account = &identities[0].service_account;
    assert_eq!((account.audience.as_str(), account.token_expiration, account.automount), ("sts.amazonaws.com", None, None));
    let role = made(&identities[0]);
    assert_eq!((&role.name, role.path.as_str(), role.max_session_duration), (&None, "/qovery/", 3600));
    assert_eq!((&role.permissions_boundary, &role.description), (&None, &None));
    assert!(role.policies.is_empty() && role.inline_policies.is_empty() && role.tags.is_empty() && role.extra_subjects.is_empty());
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
    assert_eq!((a.path.as_str(), a.max_session_duration), ("/d/", 7200));
    assert_eq!(a.permissions_boundary.as_ref().unwrap().policy_name(), "d");
    assert_eq!(a.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["cost=d", "team=a"]);
    assert_eq!((b.path.as_str(), b.max_session_duration, b.tags.len()), ("/b/", 9000, 2));
    assert_eq!(b.permissions_boundary.as_ref().unwrap().policy_name(), "b");
    let RoleSpec::Given(given) = &identities[2].role else { panic!() };
    assert_eq!((given.arn.name.as_str(), given.extra_subjects.len()), ("c", 1));
}

#[test]
fn the_boundary_of_the_variable_holds_where_the_manifest_names_none() {
    let boundary = [("IRSA_PERMISSIONS_BOUNDARY", "arn:aws:iam::123456789012:policy/v")];
    let of = |manifest: &str| {
        let identities = loaded(&boundary, manifest).unwrap().identities;
        made(&identities[0]).permissions_boundary.as_ref().unwrap().policy_name().to_owned()
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
    assert_eq!(problems("job: {}\nidentities: [{serviceAccount: a, role: {}}]"), "job: unknown key, use `defaults` or `identities`");
}

#[test]
fn an_identity_with_a_mistake_says_what_is_legal() {
    for (keys, expected) in [
        (
            "role: {}, bindServices: [api]",
            "identities[0].bindServices: unknown key, use `serviceAccount`, `audience`, `tokenExpiration`, `labels`, `annotations`, `automount` or `role`",
        ),
        ("role: {}, audiense: a", "identities[0].audiense: unknown key, did you mean `audience`?"),
        ("role: x", "identities[0].role: must be a mapping, not a string"),
        ("role: {}, audience: \"a b\"", "identities[0].audience: `a b` is not an audience: use at most 255 letters, digits and `_.:/=+-@`"),
        ("role: {}, tokenExpiration: 5m", "identities[0].tokenExpiration: `5m` is out of bounds: use 10m to 24h"),
        ("role: {}, tokenExpiration: 1.5", "identities[0].tokenExpiration: must be a duration, not the number `1.5`"),
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
        (
            "scope: shared",
            "ROLE.scope: `shared` is not a scope that this version knows: use `environment`, or give an existing role by `arn`",
        ),
        (
            "scope: cluster",
            "ROLE.scope: `cluster` is not a scope that this version knows: use `environment`, or give an existing role by `arn`",
        ),
        (
            "retain: true",
            "ROLE.retain: unknown key, use `scope`, `name`, `path`, `arn`, `policies`, `inlinePolicies`, `permissionsBoundary`, `maxSessionDuration`, `description`, `tags` or `extraSubjects`",
        ),
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
        ("inlinePolicies: {a: {Version: x}}", "ROLE.inlinePolicies.a: `Statement` is missing"),
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
fn beside_an_arn_only_further_subjects_stand() {
    let problems = of_role(
        "arn: \"arn:aws:iam::123456789012:role/a\", scope: environment, name: a, path: /, policies: [], inlinePolicies: {}, \
         permissionsBoundary: a, maxSessionDuration: 1h, description: a, tags: {}, extraSubjects: [a/b]",
    );
    let expected =
        ["scope", "name", "path", "policies", "inlinePolicies", "permissionsBoundary", "maxSessionDuration", "description", "tags"]
            .map(|key| format!("ROLE.{key}: cannot stand beside `arn`: only the trust of a given role is managed"));
    assert_eq!(problems, expected.join("\n"));
}

#[test]
fn what_iam_would_refuse_for_its_size_is_a_problem() {
    let tags = |count: usize| (0..count).map(|number| format!("t{number}: x")).collect::<Vec<_>>().join(", ");
    assert!(loaded(&[], &format!("identities: [{{serviceAccount: a, role: {{tags: {{{}}}}}}}]", tags(44))).is_ok());
    assert_eq!(
        of_role(&format!("tags: {{{}}}", tags(45))),
        "ROLE.tags: 45 tags, those of `defaults` included: a role takes 44 beside the tool's own"
    );
    let too_many = problems(&format!("defaults: {{tags: {{{}}}}}\nidentities: [{{serviceAccount: a, role: {{}}}}]", tags(45)));
    assert_eq!(too_many, "defaults.tags: 45 tags, those of `defaults` included: a role takes 44 beside the tool's own");
    let merged =
        problems(&format!("defaults: {{tags: {{{}}}}}\nidentities: [{{serviceAccount: a, role: {{tags: {{more: x}}}}}}]", tags(44)));
    assert_eq!(
        merged,
        "qovery.yml:2: identities[0].role.tags: 45 tags, those of `defaults` included: a role takes 44 beside the tool's own"
    );

    let policies = |size: usize| format!("inlinePolicies: {{a: {{Statement: [\"{}\"]}}, b: {{Statement: []}}}}", "x".repeat(size));
    let around = r#"{"Statement":[""]}{"Statement":[]}"#.len();
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
    bindServices: [api]
    labels:
      tier: 1
    role:
      scope: shared
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
          qovery.yml:20: identities[1].bindServices: unknown key, use `serviceAccount`, `audience`, `tokenExpiration`, `labels`, `annotations`, `automount` or `role`
          qovery.yml:22: identities[1].labels.tier: must be a string, not the number `1`: put it in quotes
          qovery.yml:24: identities[1].role.scope: `shared` is not a scope that this version knows: use `environment`, or give an existing role by `arn`
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
