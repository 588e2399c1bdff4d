//! What `podIdentity` and `roleOnly` mean, and what does not go together with them.

use super::*;
use crate::model::{
    association::SessionTags,
    identity::{Binding, Keeper, PodIdentity},
};

const TARGET: &str = "arn:aws:iam::210987654321:role/data";

/// One identity with these keys.
fn of(keys: &str) -> String {
    format!("identities: [{{serviceAccount: app, {keys}}}]")
}

/// The bindings of a manifest's identities.
fn bindings(manifest: &str) -> Vec<Binding> {
    let config = loaded(&[("X", "true")], manifest).unwrap_or_else(|problems| panic!("{problems}\n{manifest}"));
    config.identities.into_iter().map(|identity| identity.binding).collect()
}

fn plain() -> Binding {
    Binding::PodIdentity(Box::default())
}

#[track_caller]
fn pods(binding: &Binding) -> &PodIdentity {
    match binding {
        Binding::PodIdentity(pods) => pods,
        Binding::Irsa { .. } => panic!("IRSA"),
    }
}

/// The problems of a manifest, without their places in the file.
fn problems(manifest: &str) -> Vec<String> {
    let problems = loaded(&[], manifest).expect_err(manifest);
    problems.iter().map(|problem| problem.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn an_identity_says_it_or_the_defaults_do() {
    for (default, own, expected) in [
        ("", "role: {}", Binding::default()),
        ("", "podIdentity: false, role: {}", Binding::default()),
        ("", "podIdentity: true, role: {}", plain()),
        ("", "podIdentity: \"${X}\", role: {}", plain()),
        ("", "podIdentity: {}, role: {}", plain()),
        ("", "podIdentity: ~, role: {}", Binding::default()),
        ("podIdentity: true", "role: {}", plain()),
        ("podIdentity: {}", "podIdentity: ~, role: {}", plain()),
        ("podIdentity: true", "podIdentity: false, role: {}", Binding::default()),
        ("podIdentity: false", "podIdentity: true, role: {}", plain()),
        ("podIdentity: false", "role: {}", Binding::default()),
        ("podIdentity: {disableSessionTags: true, tags: {a: b}}", "podIdentity: true, role: {}", plain()),
    ] {
        let manifest = format!("defaults: {{{default}}}\n{}", of(own));
        assert_eq!(bindings(&manifest), [expected], "{manifest}");
    }
}

#[test]
fn each_of_its_keys_is_read() {
    let keys = format!(
        "podIdentity: {{targetRoleArn: \"{TARGET}\", targetRoleExternalId: eu-west-3/1/a, disableSessionTags: true, tags: {{team: shop}}, \
         sessionPolicy: {{Statement: [{{Effect: Allow, Action: \"s3:GetObject\", Resource: \"*\"}}]}}}}"
    );
    let own = bindings(&of(&format!("{keys}, role: {{}}"))).remove(0);
    let target = pods(&own).target.as_ref().unwrap();
    assert_eq!((target.role.to_string().as_str(), target.external_id.as_ref().unwrap().as_str()), (TARGET, "eu-west-3/1/a"));
    assert_eq!((pods(&own).session_tags, pods(&own).tags.len()), (SessionTags::Off, 1));
    assert_eq!(pods(&own).session_policy.as_ref().unwrap()["Statement"][0]["Action"], "s3:GetObject");
    assert_eq!(bindings(&format!("defaults: {{{keys}}}\n{}", of("role: {}"))), [own]);
    assert_eq!(pods(&bindings(&of("podIdentity: {}, role: {}"))[0]).session_tags, SessionTags::On);
}

#[test]
fn each_of_its_mistakes_is_said_where_it_stands() {
    let tags = |count: usize| (0..count).map(|number| format!("t{number}: x")).collect::<Vec<_>>().join(", ");
    let policy = |size: usize| {
        let document = |name: &str| {
            format!(r#"{{"Statement": [{{"Action": "s3:GetObject", "Effect": "Allow", "Resource": "arn:aws:s3:::{name}"}}]}}"#)
        };
        let shortest = serde_json::from_str::<serde_json::Value>(&document("")).unwrap().to_string().len();
        format!("disableSessionTags: true, sessionPolicy: {}", document(&"x".repeat(size - shortest)))
    };
    let takes = |keys: &str| assert_eq!(bindings(&of(&format!("podIdentity: {{{keys}}}, role: {{}}"))).len(), 1, "{keys}");
    takes(&format!("tags: {{{}}}", tags(42)));
    takes(&policy(2048));
    for (keys, key, problem) in [
        (
            "targetRoleExternalId: abc".to_owned(),
            ".targetRoleExternalId",
            "belongs to `targetRoleArn`, the role whose trust policy asks for it",
        ),
        ("targetRoleArn: data".to_owned(), ".targetRoleArn", "`data` is not the ARN of a role: use `arn:aws:iam::123456789012:role/name`"),
        (
            format!("targetRoleArn: \"{TARGET}\", targetRoleExternalId: x"),
            ".targetRoleExternalId",
            "`x` is not an external ID: use 2 to 1,224 letters, digits and `_+=,.@:/-`",
        ),
        (
            "sessionPolicy: {Statement: []}".to_owned(),
            ".sessionPolicy",
            "needs `disableSessionTags: true` beside it: EKS limits only sessions without tags",
        ),
        (
            "disableSessionTags: true, sessionPolicy: {Statement: [{Effect: allow, Action: \"*\", Resource: \"*\"}]}".to_owned(),
            ".sessionPolicy.Statement[0].Effect",
            "must be `Allow` or `Deny`, spelt so",
        ),
        (policy(2049), ".sessionPolicy", "2049 characters without white space: EKS takes 2048"),
        (format!("tags: {{{}}}", tags(43)), ".tags", "43 tags: an association takes 42 beside the tool's own"),
        ("tags: {Team: a, team: b}".to_owned(), ".tags.team", "differs only by case from `Team`: write one of them"),
        (
            "tags: {qovery-irsa/owner: a}".to_owned(),
            ".tags[\"qovery-irsa/owner\"]",
            "`qovery-irsa/owner` is not a tag key: use at most 128 letters, digits, spaces and `_.:/=+-@`, and none that begins with `aws:` or `qovery-irsa/`",
        ),
        ("disableSessionTag: true".to_owned(), ".disableSessionTag", "unknown key, did you mean `disableSessionTags`?"),
        (
            "enabled: true".to_owned(),
            ".enabled",
            "unknown key, use `targetRoleArn`, `targetRoleExternalId`, `disableSessionTags`, `sessionPolicy` or `tags`",
        ),
        (
            "$switch: true".to_owned(),
            "[\"$switch\"]",
            "unknown key, use `targetRoleArn`, `targetRoleExternalId`, `disableSessionTags`, `sessionPolicy` or `tags`",
        ),
        ("disableSessionTags: 1".to_owned(), ".disableSessionTags", "must be `true` or `false`, not the number `1`"),
    ] {
        let own = problems(&of(&format!("podIdentity: {{{keys}}}, role: {{}}")));
        assert_eq!(own, [format!("identities[0].podIdentity{key}: {problem}")], "{keys}");
        let default = problems(&format!("defaults: {{podIdentity: {{{keys}}}}}\n{SMALLEST}"));
        assert_eq!(default, [format!("defaults.podIdentity{key}: {problem}")], "{keys}");
    }
}

#[test]
fn it_is_a_switch_or_a_mapping() {
    for (value, problem) in [
        ("yes please", "must be `true` or `false`, not `yes please`"),
        ("1", "must be `true`, `false` or a mapping, not the number `1`"),
        ("[true]", "must be `true`, `false` or a mapping, not a list"),
    ] {
        assert_eq!(problems(&of(&format!("podIdentity: {value}, role: {{}}"))), [format!("identities[0].podIdentity: {problem}")]);
    }
}

#[test]
fn what_eks_decides_cannot_stand_beside_it() {
    let decided = "cannot stand beside `podIdentity`: EKS decides these tokens. Remove it, or set `podIdentity: false`";
    let keys = "audience: sts.amazonaws.com, tokenExpiration: 1h, role: {extraSubjects: [kube-system/keda]}";
    let expected = [
        format!("identities[0].audience: {decided}"),
        format!("identities[0].tokenExpiration: {decided}"),
        "identities[0].role.extraSubjects: cannot stand beside `podIdentity`: an association is for one ServiceAccount. Give each an identity of its own"
            .to_owned(),
    ];
    assert_eq!(problems(&of(&format!("podIdentity: true, {keys}"))), expected);
    assert_eq!(problems(&format!("defaults: {{podIdentity: true}}\n{}", of(keys))), expected);
    assert_eq!(
        bindings(&format!("defaults: {{podIdentity: true}}\n{}", of(&format!("podIdentity: false, {keys}"))))[0],
        Binding::default()
    );
}

#[test]
fn conditions_that_the_tool_writes_or_that_no_session_meets_are_problems() {
    let written = "is written by the tool with `podIdentity`: whom the role trusts is the cluster, `serviceAccount`, and with scope `cluster` `namespaces`";
    let no_tag = "asks for a session tag, and with `disableSessionTags` sessions have none: remove one of the two";
    for (pods, key, problem) in [
        ("true", "aws:SourceAccount", Some(written)),
        ("true", "aws:sourcearn", Some(written)),
        ("true", "aws:RequestTag/kubernetes-namespace", Some(written)),
        ("{disableSessionTags: true}", "aws:RequestTag/kubernetes-service-account", Some(written)),
        ("{disableSessionTags: true}", "aws:RequestTag/kubernetes-pod-name", Some(no_tag)),
        ("{disableSessionTags: true}", "AWS:requestTAG/eks-cluster-name", Some(no_tag)),
        ("{disableSessionTags: true}", "aws:RequestedRegion", None),
        ("true", "aws:RequestTag/kubernetes-pod-name", None),
        ("false", "aws:SourceArn", None),
    ] {
        let manifest = of(&format!("podIdentity: {pods}, role: {{conditions: {{StringLike: {{\"{key}\": x}}}}}}"));
        match problem {
            Some(problem) => {
                assert_eq!(problems(&manifest), [format!("identities[0].role.conditions.StringLike[\"{key}\"]: {problem}")]);
            }
            None => assert_eq!(bindings(&manifest).len(), 1),
        }
    }
}

#[test]
fn without_session_tags_no_role_of_a_cluster_can_ask_for_namespaces() {
    let keys = |pods: &str| of(&format!("podIdentity: {pods}, role: {{scope: cluster, name: together, namespaces: [z*]}}"));
    assert_eq!(bindings(&keys("true")), [plain()]);
    assert_eq!(
        problems(&keys("{disableSessionTags: true}")),
        [
            "identities[0].role.scope: `cluster` asks for the namespace by a session tag, and with `disableSessionTags` sessions have none: the role would let in every namespace. Remove `disableSessionTags`"
        ]
    );
}

#[test]
fn identities_of_one_role_have_one_binding_unless_it_is_shared() {
    let of_scope = |scope: &str, first: &str, second: &str| {
        let role = format!("role: {{scope: {scope}, name: together}}");
        format!("identities: [{{serviceAccount: a, {first}, {role}}}, {{serviceAccount: b, {second}, {role}}}]")
    };
    let manifest = |first: &str, second: &str| of_scope("shared", first, second);
    let said = |key: &str| {
        [format!(
            "identities[1].role: `together` is the role of `identities[0]` too, but `{key}` differs: of one role both must say the same"
        )]
    };
    assert_eq!(bindings(&manifest("podIdentity: true", "podIdentity: false")), [plain(), Binding::default()]);
    let of_cluster = of_scope("cluster, namespaces: [z*]", "podIdentity: true", "podIdentity: false");
    assert_eq!(problems(&of_cluster), said("podIdentity"));
    assert_eq!(problems(&manifest("podIdentity: true", "podIdentity: {disableSessionTags: true}")), said("disableSessionTags"));
    let with_target = format!("podIdentity: {{targetRoleArn: \"{TARGET}\"}}");
    assert_eq!(bindings(&manifest("podIdentity: true", &with_target)).len(), 2);
}

#[test]
fn the_one_identity_has_the_binding_of_its_variable() {
    let one = [("SERVICE_ACCOUNT_NAME", "app"), ("IRSA_POLICY_ARNS", POLICY)];
    for (value, expected) in [("", Binding::default()), ("irsa", Binding::default()), ("podIdentity", plain())] {
        let config = from_variables(&[&one[..], &[("IRSA_BINDING", value)]].concat()).unwrap();
        assert_eq!(config.identities[0].binding, expected, "{value}");
    }
    assert_eq!(
        shown(from_variables(&[&one[..], &[("IRSA_BINDING", "podidentity")]].concat())),
        "1 problem in the configuration\n  `IRSA_BINDING`: `podidentity` is not known: use `irsa` or `podIdentity`"
    );
    assert_eq!(
        shown(from_variables(&[("IRSA_BINDING", "podIdentity")])),
        "1 problem in the configuration\n  `IRSA_BINDING` is set without `SERVICE_ACCOUNT_NAME`"
    );
    let notes = loaded(&[("IRSA_BINDING", "podIdentity")], SMALLEST).unwrap().notes;
    assert!(notes[0].starts_with("`IRSA_BINDING`: not read, since the manifest gives the identities"), "{notes:?}");
}

#[test]
fn the_proof_may_make_a_pod() {
    for (value, expected) in [("auto", Proof::Auto), ("pod", Proof::Pod), ("required", Proof::Required), ("off", Proof::Off)] {
        assert_eq!(loaded(&[("IRSA_PROOF", value)], SMALLEST).unwrap().proof, expected);
    }
}

#[test]
fn a_service_account_of_somebody_else_is_not_written() {
    let keeper = |keys: &str| loaded(&[("X", "true")], &of(keys)).unwrap().identities.remove(0).service_account.keeper;
    assert_eq!(keeper("role: {}"), Keeper::Tool);
    assert_eq!(keeper("roleOnly: false, labels: {a: b}, role: {}"), Keeper::Tool);
    assert_eq!(keeper("roleOnly: \"${X}\", bindServices: [api], audience: a.example.com, role: {}"), Keeper::Other);
    assert_eq!(keeper("roleOnly: true, podIdentity: true, role: {}"), Keeper::Other);
    let not_written = "cannot stand beside `roleOnly`: the tool does not write the ServiceAccount. Say it where that is made";
    let expected = ["labels", "annotations", "automount", "tokenExpiration"].map(|key| format!("identities[0].{key}: {not_written}"));
    let keys = "roleOnly: true, labels: {a: b}, annotations: {a: b}, automount: true, tokenExpiration: 2h, role: {}";
    assert_eq!(problems(&of(keys)), expected);
    // Told once.
    assert_eq!(problems(&of("roleOnly: true, podIdentity: true, tokenExpiration: 2h, role: {}")).len(), 1);
}

#[test]
fn a_removal_does_without_what_it_cannot_read() {
    let flags = Flags { purpose: Purpose::Remove, ..Flags::default() };
    let manifest = of("podIdentity: {newer: true}, audience: x, role: {inlinePolicies: {own: {file: gone.json}}}");
    let read = |path: &Path| if path == Path::new("qovery.yml") { Ok(manifest.clone().into_bytes()) } else { missing(path) };
    let config = load(&flags, with(&[]), read).unwrap();
    assert_eq!(config.identities[0].binding, plain());
    assert_eq!(config.notes.len(), 3, "{:?}", config.notes);
}
