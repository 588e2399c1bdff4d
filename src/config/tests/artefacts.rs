//! What stands in the repository for users agrees with the code: schema, sample and reference.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::super::{
    env, manifest,
    scope::ScopeWord,
    text::{
        reader::{Json, read},
        yaml,
    },
};
use super::{manifest::EVERY_KEY, *};

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text_of(file: &str) -> String {
    fs::read_to_string(repository(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn schema() -> Value {
    let mut schema = schemars::schema_for!(manifest::Manifest).to_value();
    schema["title"] = "Manifest of qovery-irsa".into();
    schema
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_types() {
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some_and(|value| value == "1") {
        fs::write(repository("qovery.schema.json"), &text).unwrap();
    }
    assert_eq!(text_of("qovery.schema.json"), text, "run this test with UPDATE_SCHEMA=1 to write it anew");
}

/// A manifest as an editor sees it.
fn value(manifest: &str) -> Value {
    let log = ProblemLog::default();
    let Typed::Value(Json(value)) = read(&yaml::parse(manifest).unwrap(), &At::root(&log)) else { panic!("{manifest}") };
    value
}

#[test]
fn the_schema_takes_what_loads_and_marks_what_it_can_know_to_be_wrong() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let reference = text_of("docs/configuration.md");
    let examples = reference.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let of_pods = [
        "podIdentity: \"${X}\"",
        "podIdentity: false, roleOnly: true",
        "podIdentity: {targetRoleArn: \"arn:aws:iam::210987654321:role/data\", targetRoleExternalId: a/b, tags: {a: b}}",
        "podIdentity: {disableSessionTags: true, sessionPolicy: {file: a.json}}",
    ];
    let of_pods = of_pods.map(|keys| format!("defaults: {{podIdentity: true}}\nidentities: [{{serviceAccount: app, {keys}, role: {{}}}}]"));
    let conditions = "identities: [{serviceAccount: app, role: {conditions: {Bool: {\"aws:SecureTransport\": true}}}}]";
    let all = [text_of("qovery.yml"), EVERY_KEY.to_owned(), conditions.to_owned()];
    for manifest in all.into_iter().chain(of_pods).chain(examples.map(str::to_owned)) {
        let value = value(&manifest);
        let wrong: Vec<String> = schema.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert_eq!(wrong, [] as [String; 0], "{manifest}");
    }
    for keys in [
        "podIdentity: 1",
        "podIdentity: maybe",
        "podIdentity: {targetRole: a}",
        "podIdentity: {targetRoleArn: data}",
        "podIdentity: {sessionPolicy: {file: 1}}",
        "role: {inlinePolicies: {own: {file: own.json, Version: \"2012-10-17\"}}}",
        "role: {inlinePolicies: {own: {}}}",
        "roleOnly: 1",
        "role: {conditions: []}",
    ] {
        let manifest =
            format!("identities: [{{serviceAccount: app, {keys}{}}}]", if keys.starts_with("role:") { "" } else { ", role: {}" });
        assert!(!schema.is_valid(&value(&manifest)), "{manifest}");
    }
}

#[test]
fn the_schema_offers_every_scope_and_no_other() {
    let offered = schema()["$defs"]["Role"]["properties"]["scope"]["anyOf"][0]["enum"].clone();
    let offered: Vec<String> = serde_json::from_value(offered).unwrap();
    let known: Vec<ScopeWord> = offered.iter().map(|word| word.parse().unwrap()).collect();
    assert_eq!(known, [ScopeWord::Environment, ScopeWord::Shared, ScopeWord::Cluster]);
}

#[test]
fn required_keys_of_the_schema_are_those_that_the_loader_requires() {
    let mut required = BTreeSet::new();
    let schema = schema();
    let named = schema["$defs"].as_object().unwrap().iter().map(|(name, part)| (name.as_str(), part));
    for (name, part) in named.chain([("Manifest", &schema)]) {
        required.extend(part["required"].as_array().into_iter().flatten().map(|key| format!("{name}.{}", key.as_str().unwrap())));
        assert_eq!(part.get("properties").is_some() && name != "PolicyDocument", part["additionalProperties"] == false, "{name}");
    }
    let expected = [
        "ChartGit.url",
        "ClusterAccess.namespace",
        "Git.url",
        "Identity.role",
        "Identity.serviceAccount",
        "Image.registry",
        "Job.name",
        "Manifest.identities",
    ];
    assert_eq!(required.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_sample_loads_with_qoverys_variables_alone() {
    let sample = text_of("qovery.yml");
    assert_eq!(sample.lines().next(), Some("# yaml-language-server: $schema=./qovery.schema.json"));
    let config = loaded(&[], &sample).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.identities[0].service_account.name.as_str(), "my-s3-role");
    let installed = load_install(&Flags::default(), with(&[]), |_| Ok(sample.clone().into_bytes()), None)
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(installed.job.name.as_str(), "aws-identity");
}

#[test]
fn every_example_of_the_reference_loads() {
    let text = text_of("docs/configuration.md");
    let examples: Vec<&str> = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 6);
    for example in examples {
        let variables = [("BUCKET", "bucket"), ("KEDA", "true")];
        // A file that it names holds the policy of the sample.
        let policy = r#"{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}"#;
        let read = |path: &Path| Ok(if path == Path::new(DEFAULT_MANIFEST) { example.into() } else { policy.into() });
        load(&Flags::default(), with(&variables), read).unwrap_or_else(|problems| panic!("{problems}\n{example}"));
        #[cfg(feature = "laptop")]
        if example.contains("\ncluster:") {
            let zone = load_bootstrap(&Flags::default(), with(&variables), read);
            zone.unwrap_or_else(|problems| panic!("{problems}\n{example}"));
        }
        if example.contains("\njob:") {
            let installed = load_install(&Flags::default(), with(&variables), |_| Ok(example.into()), None);
            installed.unwrap_or_else(|problems| panic!("{problems}\n{example}"));
        }
    }
}

/// The names in the first column of the tables of a section.
fn names(section: &str) -> BTreeSet<String> {
    let text = text_of("docs/configuration.md");
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section}"));
    let section = rest.split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_reference_names_every_variable_and_no_other() {
    let schema = schemars::schema_for!(env::Variables).to_value();
    let known = schema["properties"].as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
    assert_eq!(names("Variables"), known);
}

#[test]
fn the_reference_names_every_flag_and_no_other() {
    let Flags {
        purpose: _,
        environment: _,
        prints: _,
        issuer: _,
        manifest: _,
        format: _,
        timeout: _,
        service_account: _,
        namespace: _,
        bootstrap: _,
        install: _,
    } = Flags::default();
    assert_eq!(names("Flags"), ["--manifest", "--format", "--timeout"].map(str::to_owned).into());
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let mut known = BTreeSet::new();
    keys(&schema(), &schema(), "", &mut known);
    assert_eq!(names("Manifest"), known);
}

/// The paths of all keys of a part of the schema: `identities[].role.scope`.
fn keys(root: &Value, part: &Value, path: &str, found: &mut BTreeSet<String>) {
    let part = match part["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => part,
    };
    if part.get("items").is_some() {
        keys(root, &part["items"], &format!("{path}[]"), found);
    }
    // Only our own mappings have a closed set of keys; a policy document is IAM's.
    if part["additionalProperties"] == false {
        for (key, part) in part["properties"].as_object().unwrap() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            keys(root, part, &path, found);
            found.insert(path);
        }
    }
}
