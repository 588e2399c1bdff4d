//! Policy documents in files of their own: where they are looked for, and what is wrong with them.

use std::cell::RefCell;

use super::{
    super::text::limits::{LARGEST_POLICY_FILE, MOST_POLICY_FILES},
    *,
};

const DOCUMENT: &str = r#"{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::${aws:username}/*"}]}"#;
const NAMED: &str = "identities:\n  - serviceAccount: app\n    role:\n      inlinePolicies:\n        own: {file: policies/own.json}\n";
/// Where the file is named in that.
const PLACE: &str = "qovery.yml:5: identities[0].role.inlinePolicies.own.file";

/// Loads a manifest whose files all hold this.
fn with_files(manifest: &str, content: &[u8]) -> Result<Config, Problems> {
    load(&Flags::default(), with(&[]), |path| {
        Ok(if path == Path::new(DEFAULT_MANIFEST) { manifest.as_bytes().to_vec() } else { content.to_vec() })
    })
}

fn documents(config: &Config) -> Vec<&serde_json::Value> {
    let made = config.identities.iter().filter_map(|identity| match &identity.role.origin {
        RoleOrigin::Managed(role) => Some(role.attributes.inline_policies.values()),
        RoleOrigin::Given(_) => None,
    });
    made.flatten().collect()
}

#[test]
fn a_file_is_the_document_as_it_stands_in_it() {
    let config = with_files(NAMED, DOCUMENT.as_bytes()).unwrap();
    let written: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
    assert_eq!(documents(&config), [&written]);
    let session = "identities: [{serviceAccount: app, podIdentity: {disableSessionTags: true, sessionPolicy: {file: own.json}}, role: {}}]";
    let identity = with_files(session, DOCUMENT.as_bytes()).unwrap().identities.remove(0);
    let crate::model::identity::Binding::PodIdentity(pods) = identity.binding else { panic!() };
    assert_eq!(pods.session_policy, Some(written));
}

#[test]
fn files_are_looked_for_beside_the_manifest() {
    for (manifest, file, expected) in [
        ("qovery.yml", "policies/own.json", "policies/own.json"),
        ("config/qovery.yml", "policies/own.json", "config/policies/own.json"),
        ("/app/qovery.yml", "own.json", "/app/own.json"),
        ("config/qovery.yml", "/etc/own.json", "/etc/own.json"),
        ("qovery.yml", "\"${DIRECTORY}/own.json\"", "shared/own.json"),
    ] {
        let asked = RefCell::new(Vec::new());
        let text = NAMED.replace("policies/own.json", file);
        let config = load(&Flags::default(), with(&[("IRSA_MANIFEST", manifest), ("DIRECTORY", "shared")]), |path| {
            asked.borrow_mut().push(path.to_owned());
            Ok(if path == Path::new(manifest) { text.clone().into_bytes() } else { DOCUMENT.into() })
        });
        assert_eq!(documents(&config.unwrap()).len(), 1);
        assert_eq!(asked.into_inner(), [PathBuf::from(manifest), PathBuf::from(expected)]);
    }
}

#[test]
fn each_mistake_names_the_line_of_the_manifest_and_the_file() {
    let statement = |rest: &str| format!(r#"{{"Statement": [{{"Action": "s3:GetObject", "Resource": "*", {rest}}}]}}"#);
    for (content, problem) in [
        (b"\xff".to_vec(), "`policies/own.json` is not UTF-8 text"),
        (b"Statement: []".to_vec(), "`policies/own.json` is not JSON: expected value at line 1 column 1"),
        (
            br#"{"Statement": [], "Statement": []}"#.to_vec(),
            "`policies/own.json` is not JSON: the key `Statement` is there twice at line 1 column 29",
        ),
        (b"[]".to_vec(), "`policies/own.json`: must be a policy document: a mapping with `Statement`"),
        (statement(r#""Effect": "allow""#).into_bytes(), "`policies/own.json`: Statement[0].Effect: must be `Allow` or `Deny`, spelt so"),
        (br#"{"file": "other.json"}"#.to_vec(), "`policies/own.json`: file: is not an element of a policy document"),
    ] {
        let problems = with_files(NAMED, &content).unwrap_err();
        assert_eq!(problems.iter().next(), Some(format!("{PLACE}: {problem}").as_str()));
    }
    let absent =
        load(&Flags::default(), with(&[]), |path| if path == Path::new(DEFAULT_MANIFEST) { Ok(NAMED.into()) } else { missing(path) });
    assert_eq!(shown(absent), format!("1 problem in the configuration\n  {PLACE}: `policies/own.json` cannot be read: no such file"));
    let unnamed = with_files(&NAMED.replace("policies/own.json", "\"\""), DOCUMENT.as_bytes());
    assert_eq!(shown(unnamed), format!("1 problem in the configuration\n  {PLACE}: names no file"));
}

#[test]
fn only_a_mapping_with_file_alone_names_one() {
    for document in
        ["{file: 1}", "{file: [a]}", "{file: own.json, Version: \"2012-10-17\"}", "{File: own.json}", "{Statement: [], file: a}"]
    {
        let manifest = NAMED.replace("{file: policies/own.json}", document);
        let config = load(&Flags::default(), with(&[]), |path| {
            assert_eq!(path, Path::new(DEFAULT_MANIFEST), "{document}");
            Ok(manifest.clone().into_bytes())
        });
        assert!(shown(config).contains("is not an element of a policy document"), "{document}");
    }
}

#[test]
fn a_directory_is_no_policy() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("qovery.yml");
    std::fs::create_dir(directory.path().join("policies")).unwrap();
    std::fs::write(&manifest, NAMED.replace("policies/own.json", "policies")).unwrap();
    let problems = shown(load(&Flags::default(), with(&[("IRSA_MANIFEST", manifest.to_str().unwrap())]), read_file));
    assert!(
        problems.contains("identities[0].role.inlinePolicies.own.file: `") && problems.contains("/policies` cannot be read: "),
        "{problems}"
    );
    std::fs::write(directory.path().join("policies/own.json"), DOCUMENT).unwrap();
    std::fs::write(&manifest, NAMED).unwrap();
    let config = load(&Flags::default(), with(&[("IRSA_MANIFEST", manifest.to_str().unwrap())]), read_file).unwrap();
    assert_eq!(documents(&config).len(), 1);
}

#[test]
fn a_policy_file_is_read_up_to_its_largest_size() {
    let of_size = |size: usize| format!("{DOCUMENT}{}", " ".repeat(size - DOCUMENT.len()));
    assert_eq!(documents(&with_files(NAMED, of_size(LARGEST_POLICY_FILE).as_bytes()).unwrap()).len(), 1);
    assert_eq!(
        shown(with_files(NAMED, of_size(LARGEST_POLICY_FILE + 1).as_bytes())),
        format!("1 problem in the configuration\n  {PLACE}: `policies/own.json` is larger than 64 KiB")
    );
}

#[test]
fn policy_files_are_read_up_to_their_size_together() {
    let content = format!("{DOCUMENT}{}", " ".repeat(LARGEST_POLICY_FILE - DOCUMENT.len()));
    let manifest = |count: usize| {
        let identity = |number| format!("{{serviceAccount: a{number}, role: {{inlinePolicies: {{own: {{file: own.json}}}}}}}}");
        format!("identities: [{}]", (0..count).map(identity).collect::<Vec<_>>().join(", "))
    };
    let most = MOST_POLICY_FILES / LARGEST_POLICY_FILE;
    assert_eq!(documents(&with_files(&manifest(most), content.as_bytes()).unwrap()).len(), most);
    let problems = shown(with_files(&manifest(most + 1), content.as_bytes()));
    assert_eq!(
        problems,
        format!(
            "1 problem in the configuration\n  qovery.yml:1: identities[{most}].role.inlinePolicies.own.file: `own.json` makes all policy files together larger than 4 MiB"
        )
    );
}

#[test]
fn documents_of_files_count_for_the_size_of_all() {
    let long = DOCUMENT.replace("s3:GetObject", &format!("s3:{}", "x".repeat(10_240)));
    let problems = shown(with_files(NAMED, long.as_bytes()));
    assert!(problems.contains("qovery.yml:4: identities[0].role.inlinePolicies: 10"), "{problems}");
    assert!(problems.contains("characters in all inline policies of the role: IAM takes 10240"), "{problems}");
}
