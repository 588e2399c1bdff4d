//! The `cluster:` section and the flags of `bootstrap`.

use super::*;
use crate::model::bootstrap::{BootstrapSpec, BoundaryChoice};

const CLUSTER: &str = r#"
defaults: {path: /shop/, tags: {team: shop, owner: "${NOT_SET}"}}
identities:
  - {serviceAccount: "${NOT_SET}", role: {tags: {cost-center: a}}}
  - {serviceAccount: other, unknown: 1}
job: {serviceAccount: jobs, name: "${NOT_SET}"}
cluster:
  name: prod
  region: eu-west-3
  namespaces: [z1a2b3c4-*, "${PATTERN}"]
  role: the-jobs
  permissionsBoundary: {file: boundary.json}
  roles: ["arn:aws:iam::123456789012:role/shop/shared"]
  podIdentity: "${YES:-true}"
  access: {namespace: platform, serviceAccount: sweeper}
  tags: {team: platform}
"#;

const LIMITED: &str = r#"{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}"#;

/// Loads with these flags, and a `qovery.yml` of this text beside a `boundary.json`.
fn bootstrapping(flags: &BootstrapFlags, variables: &[(&str, &str)], manifest: &str) -> Result<BootstrapConfig, Problems> {
    let flags = Flags { bootstrap: flags.clone(), ..Flags::default() };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_bootstrap(&flags, variables, |path| match path.to_str() {
        Some("qovery.yml") => Ok(manifest.as_bytes().to_vec()),
        Some("boundary.json") => Ok(LIMITED.as_bytes().to_vec()),
        Some("wrong.json") => Ok(br#"{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Principal": "*"}]}"#.to_vec()),
        Some("large.json") => Ok(LIMITED.replace("s3:*", &"s".repeat(6200)).into_bytes()),
        _ => missing(path),
    })
}

fn spec(keys: &str) -> BootstrapSpec {
    let manifest = format!("cluster: {{name: prod, namespaces: [z*], permissionsBoundary: none{keys}}}");
    bootstrapping(&BootstrapFlags::default(), &[], &manifest).unwrap_or_else(|problems| panic!("{problems}")).spec
}

fn problems(flags: &BootstrapFlags, variables: &[(&str, &str)], manifest: &str) -> String {
    let problems = bootstrapping(flags, variables, manifest).expect_err("problems");
    problems.iter().collect::<Vec<_>>().join("\n")
}

#[test]
fn every_key_of_the_cluster_is_read_and_mistakes_elsewhere_do_not_matter() {
    let config = bootstrapping(&BootstrapFlags::default(), &[("PATTERN", "y*")], CLUSTER).unwrap_or_else(|problems| panic!("{problems}"));
    let spec = config.spec;
    assert_eq!((spec.cluster.as_str(), spec.region.unwrap().as_str(), spec.role.as_str()), ("prod", "eu-west-3", "the-jobs"));
    assert_eq!((spec.path.as_str(), spec.service_account.as_str()), ("/shop/", "jobs"));
    assert_eq!(spec.namespaces.iter().map(NamespacePattern::as_str).collect::<Vec<_>>(), ["y*", "z1a2b3c4-*"]);
    assert_eq!(spec.boundary, BoundaryChoice::Document(serde_json::from_str(LIMITED).unwrap()));
    assert_eq!(spec.roles.first().unwrap().to_string(), "arn:aws:iam::123456789012:role/shop/shared");
    assert_eq!((spec.pod_identity, spec.access.unwrap().to_string()), (true, "platform/sweeper".to_owned()));
    assert_eq!(spec.tags.keys().map(crate::model::names::TagKey::as_str).collect::<Vec<_>>(), ["team"]);
    assert_eq!(spec.role_tags.iter().map(crate::model::names::TagKey::as_str).collect::<Vec<_>>(), ["cost-center", "owner", "team"]);
    assert_eq!((config.project, config.settle), (None, Duration::from_secs(8)));
}

#[test]
fn what_is_not_said_has_a_default() {
    let spec = spec("");
    assert_eq!((spec.role.as_str(), spec.path.as_str(), spec.service_account.as_str()), ("qovery-irsa-prod", "/qovery/", "qovery-irsa"));
    assert_eq!((spec.region, spec.access, spec.pod_identity, spec.boundary), (None, None, false, BoundaryChoice::None));
    let manifest = "cluster: {namespaces: [z*], permissionsBoundary: none, access: {namespace: platform}}";
    let variables = [("QOVERY_KUBERNETES_CLUSTER_NAME", "demo"), ("QOVERY_CLOUD_PROVIDER_REGION", "eu-west-3"), ("IRSA_PATH", "/shop/")];
    let spec = bootstrapping(&BootstrapFlags::default(), &variables, manifest).unwrap().spec;
    assert_eq!((spec.cluster.as_str(), spec.region.unwrap().as_str(), spec.path.as_str()), ("demo", "eu-west-3", "/shop/"));
    assert_eq!(spec.access.unwrap().to_string(), "platform/qovery-irsa-sweep");
}

#[test]
fn a_flag_wins_over_its_key_and_no_manifest_is_needed() {
    let text = |text: &str| Some(text.to_owned());
    let flags = BootstrapFlags {
        cluster: text("demo"),
        region: text("us-east-1"),
        namespaces: text("a*, b*"),
        boundary: text("arn:aws:iam::aws:policy/PowerUserAccess"),
        cluster_access: text("ops"),
        pod_identity: true,
        ..BootstrapFlags::default()
    };
    let loaded = load_bootstrap(&Flags { bootstrap: flags.clone(), ..Flags::default() }, [], missing).unwrap().spec;
    assert_eq!(loaded.namespaces.len(), 2);
    assert_eq!(loaded.boundary, BoundaryChoice::Policy("arn:aws:iam::aws:policy/PowerUserAccess".parse().unwrap()));
    assert_eq!((loaded.pod_identity, loaded.access.clone().unwrap().to_string()), (true, "ops/qovery-irsa-sweep".to_owned()));
    let both = bootstrapping(&flags, &[("PATTERN", "y*")], CLUSTER).unwrap().spec;
    assert_eq!(
        (both.cluster, both.region, both.namespaces, both.boundary),
        (loaded.cluster, loaded.region, loaded.namespaces, loaded.boundary)
    );
    assert_eq!(both.access.unwrap().to_string(), "ops/sweeper", "what the flag does not say stays");
}

#[test]
fn choices_without_a_default_are_explained() {
    let all = problems(&BootstrapFlags::default(), &[], "cluster: {}");
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 3, "{all}");
    for (line, says) in lines.iter().zip([
        "`--cluster` is not set: name the EKS cluster here, as `cluster.name` in the manifest, or by `QOVERY_KUBERNETES_CLUSTER_NAME`",
        "`--namespaces` is not set, nor is `cluster.namespaces` in the manifest: it says in which namespaces jobs may use the job's role, as patterns. `z*` is every environment of the cluster; a project's own beginning",
        "`--boundary` is not set, nor is `cluster.permissionsBoundary` in the manifest: it says what roles of the jobs can have at most, and there is no default. Choose one: a file with a policy document, of which `bootstrap` makes the policy; the ARN of a managed policy; or `none`, with which",
    ]) {
        assert!(line.starts_with(says), "{line}");
    }
    // A removal needs the cluster alone, and where a project is asked its namespaces may be missing.
    let removal = BootstrapFlags { delete: true, ..BootstrapFlags::default() };
    assert!(bootstrapping(&removal, &[], "cluster: {name: prod}").is_ok());
    let manifest = "cluster: {name: prod, namespaces: [z*], roles: [\"arn:aws:iam::210987654321:role/elsewhere\"]}";
    let removed = bootstrapping(&removal, &[("IRSA_ASSUME_ROLE_ARN", ROLE)], manifest).unwrap();
    assert!(removed.spec.roles.is_empty() && removed.spec.namespaces.is_empty(), "what is gone names no role");
    assert!(removed.notes.iter().any(|note| note.starts_with("`IRSA_ASSUME_ROLE_ARN` is not read")), "{:?}", removed.notes);
    let asking = BootstrapFlags { project: Some("1a2b3c4d-0000-4000-8000-000000000000".to_owned()), ..BootstrapFlags::default() };
    let manifest = "cluster: {name: prod, permissionsBoundary: none}";
    assert!(bootstrapping(&asking, &[("QOVERY_API_TOKEN", "qov_x")], manifest).unwrap().project.is_some());
    assert!(problems(&asking, &[], manifest).starts_with("`QOVERY_API_TOKEN` is not set: the project's namespaces are read through"));
}

#[test]
fn a_mistake_has_its_line_and_says_what_is_legal() {
    for (keys, expected) in [
        (
            "permissionsBoundary: {file: 3}",
            "qovery.yml:1: cluster.permissionsBoundary.file: must be the path of a file with a policy document",
        ),
        (
            "permissionsBoundary: {file: gone.json}",
            "qovery.yml:1: cluster.permissionsBoundary.file: `gone.json` cannot be read: no such file",
        ),
        ("permissionsBoundary: {file: wrong.json}", "qovery.yml:1: cluster.permissionsBoundary.file: `wrong.json`: Statement[0]"),
        ("permissionsBoundary: {file: large.json}", "characters without white space: a managed policy takes 6144"),
        ("permissionsBoundary: [a]", "qovery.yml:1: cluster.permissionsBoundary: must be an ARN, `{file: …}` or `none`"),
        ("permissionsBoundary: boundary", "cluster.permissionsBoundary: `boundary` is not the ARN of a managed policy"),
        ("permissionsBoundary: \"arn:aws:iam::123456789012:policy/*\"", "holds `arn:aws:iam::123456789012:policy/*` with `*`, `?` or `$`"),
        ("permissionsBoundary: none, namespaces: []", "qovery.yml:1: cluster.namespaces: is empty: it says in which namespaces"),
        ("permissionsBoundary: none, namespaces: [\"*\"]", "cluster.namespaces[0]: `*` is not a pattern of namespaces"),
        ("permissionsBoundary: none, roles: [\"arn:aws:iam::123456789012:role/Qovery-Irsa-Prod\"]", "is the job's own role"),
        ("permissionsBoundary: none, roles: [\"arn:aws:iam::123456789012:role/Qovery-Irsa-Prod-Access\"]", "is the role of cluster access"),
        ("permissionsBoundary: none, roles: [\"arn:aws:iam::123456789012:role/a*/b\"]", "a policy would take it for a pattern"),
        ("permissionsBoundary: none, access: {}", "qovery.yml:1: cluster.access: `namespace` is missing"),
        ("permissionsBoundary: none, tags: {\"qovery-irsa/owner\": a}", "`qovery-irsa/owner` is not a tag key"),
        ("permissionsBoundary: none, boundary: a", "cluster.boundary: unknown key"),
    ] {
        let namespaces = if keys.contains("namespaces") { "" } else { "namespaces: [z*], " };
        let manifest = format!("cluster: {{name: prod, {namespaces}{keys}}}");
        let said = problems(&BootstrapFlags::default(), &[], &manifest);
        assert!(said.contains(expected), "{keys}: {said}");
    }
    let long = format!("cluster: {{name: {}, namespaces: [z*], permissionsBoundary: none}}", "a".repeat(60));
    assert!(problems(&BootstrapFlags::default(), &[], &long).contains("is too long for the name of a role: give it one as `role`"));
    let flags = BootstrapFlags { boundary: Some("wrong.json".to_owned()), ..BootstrapFlags::default() };
    let said = problems(&flags, &[], "cluster: {name: prod, namespaces: [z*]}");
    assert!(said.starts_with("`--boundary`: `wrong.json`: Statement[0]"), "{said}");
    let flags = BootstrapFlags { boundary: Some("None".to_owned()), ..BootstrapFlags::default() };
    let said = problems(&flags, &[], "cluster: {name: prod, namespaces: [z*]}");
    let legal = "`None` cannot be read: no such file. Name a file with a policy document, the ARN of a managed policy, or `none`";
    assert_eq!(said, format!("`--boundary`: {legal}"));
    let manifest = "cluster: {name: prod, namespaces: [z*], permissionsBoundary: none}";
    let said = problems(&BootstrapFlags::default(), &[("IRSA_FORMAT", "yaml")], manifest);
    assert_eq!(said, "`IRSA_FORMAT`: `yaml` is not known: use `text` or `json`");
}

#[test]
fn the_jobs_role_stands_outside_the_path() {
    let manifest = "cluster: {name: prod, namespaces: [z*], permissionsBoundary: none}";
    for path in ["/", "/qovery*/", "/${aws:username}/"] {
        let said = problems(&BootstrapFlags::default(), &[("IRSA_PATH", path)], manifest);
        assert!(said.starts_with("`IRSA_PATH` "), "{said}");
        let escaped = path.replace('$', "$$");
        let said = problems(&BootstrapFlags::default(), &[], &format!("defaults: {{path: \"{escaped}\"}}\n{manifest}"));
        assert!(said.starts_with("qovery.yml:1: defaults.path: "), "{said}");
    }
    let said = problems(&BootstrapFlags::default(), &[], &format!("defaults: {{path: \"${{NOT_SET}}\"}}\n{manifest}"));
    assert_eq!(said, "qovery.yml:1: defaults.path: cannot be known here: write it without variables, or set those that it names");
}
