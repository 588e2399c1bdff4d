//! What the documents promise, held against the job: permissions, commands, variables, links.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    proof::doctor::association,
    start::runs::by_hand,
    support::environment::{Environment, GIVEN, MANIFEST, given_roles_statement},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file of Kubernetes objects.
pub(crate) fn objects(path: &str) -> Vec<Value> {
    let text = read(path);
    serde_yaml::Deserializer::from_str(&text).map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
}

/// An environment whose job may do exactly what the files in `docs/permissions` say, and reaches Kubernetes by way of EKS.
fn least_privilege(manifest: &str, policy: &str, statements: &[Value]) -> Environment {
    let mut environment = Environment::new(manifest).with_permissions(policy, statements);
    environment.sandbox.aws(by_hand);
    environment.unset("KUBECONFIG");
    environment.set("QOVERY_JOB_ID", "1a2b3c4d-0000-4000-8000-000000000000");
    environment
}

fn addition() -> Value {
    let mut addition = given_roles_statement();
    addition["Resource"] = json!(["arn:aws:iam::123456789012:role/by-hand"]);
    addition
}

/// What `start`, drift of everything, an association in the way, another audience, a trust policy beyond the default quota, a smaller
/// manifest, `sweep` and `delete` ask for.
fn whole_life(environment: &Environment) {
    environment.guard("audiences", "['sts.amazonaws.com', 'another']");
    environment.start();
    environment.sandbox.aws(|aws| {
        aws.quotas_mut().trust_policy_size = 8192;
        let associations = &mut aws.cluster_mut("demo").unwrap().associations;
        associations.insert("a-1".to_owned(), association("arn:aws:iam::123456789012:role/shadow"));
    });
    environment.change_role(|role| {
        role.attached.clear();
        role.description = None;
        role.trust = role.trust.replace("StringEquals", "StringLike");
        role.boundary = None;
        role.tags.remove("team");
    });
    environment.start();
    let subjects: Vec<String> = (0..40).map(|number| format!("z{number:02}-of-somebody-else/app")).collect();
    environment.write_manifest(&format!(
        "identities: [{{serviceAccount: app, audience: another, role: {{extraSubjects: [{}]}}}}]",
        subjects.join(", ")
    ));
    environment.start();
    environment.write_manifest("identities: [{serviceAccount: app, role: {}}]");
    environment.start();
    // It finds the association that the first deploy was told of.
    environment.run(&["doctor"]).ended(1);
    environment.run(&["sweep"]).ended(0);
    // An identity leaves the manifest, and an hour passes: who still uses it is looked for.
    environment.write_manifest("identities: [{serviceAccount: other, role: {}}]");
    environment.start();
    let mark = "qovery-irsa/job/1a2b3c4d";
    environment.sandbox.aws(|aws| {
        let name = aws.roles().values().find(|role| role.tags.get(mark).is_some_and(|value| value != "wanted")).unwrap().name.clone();
        aws.role_mut(&name).unwrap().tags.insert(mark.to_owned(), "2026-01-01T00.00.00Z".to_owned());
    });
    let mut account = environment.service_account().unwrap();
    account["metadata"]["labels"]["qovery-irsa/job-1a2b3c4d"] = "2026-01-01T00.00.00Z".into();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(account));
    environment.start();
    assert_eq!(environment.service_account(), None);
    environment.delete();
}

/// The actions that a policy allows.
pub(crate) fn actions(policy: &Value) -> BTreeSet<String> {
    policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|statement| statement["Effect"] == "Allow")
        .flat_map(|statement| match &statement["Action"] {
            Value::Array(actions) => actions.iter().map(|action| action.as_str().unwrap().to_owned()).collect(),
            action => vec![action.as_str().unwrap().to_owned()],
        })
        .collect()
}

#[test]
fn the_published_policy_and_roles_are_enough_and_no_permission_is_unused() {
    let environment = least_privilege(MANIFEST, "docs/permissions/iam-policy.json", &[]);
    whole_life(&environment);
    let used: BTreeSet<String> =
        environment.sandbox.witness().operations().into_iter().filter(|operation| !operation.starts_with("kubernetes:")).collect();
    let policy: Value = serde_json::from_str(&read("docs/permissions/iam-policy.json")).unwrap();
    // The provider is made with its tag, which IAM permits by an action of its own.
    let unused: Vec<String> =
        actions(&policy).difference(&used).filter(|action| *action != "iam:TagOpenIDConnectProvider").cloned().collect();
    assert_eq!(unused, [] as [String; 0]);

    let rules = &objects("docs/permissions/rbac.yaml")[0]["rules"];
    let allowed: BTreeSet<String> = rules
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| {
            let texts = |key: &str| rule[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>();
            let (verbs, resources) = (texts("verbs"), texts("resources"));
            resources
                .into_iter()
                .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| format!("kubernetes:{verb} {resource}")))
        })
        .collect();
    let used: BTreeSet<String> =
        environment.sandbox.witness().operations().into_iter().filter(|operation| operation.starts_with("kubernetes:")).collect();
    // A server-side apply that creates is a patch to look at and a create to the authorizer.
    let unused: Vec<&String> = allowed.difference(&used).filter(|rule| *rule != "kubernetes:create serviceaccounts").collect();
    assert_eq!(unused, [] as [&String; 0]);
}

#[test]
fn the_policy_that_forces_a_boundary_lets_the_job_work_within_it_and_not_without() {
    let policy = "docs/permissions/iam-policy-with-boundary.json";
    let text = read(policy);
    let boundary = text.split('"').find(|text| text.contains(":policy/")).unwrap().replace("iam::*:", "iam::123456789012:");
    let environment = least_privilege(&MANIFEST.replace("arn:aws:iam::aws:policy/PowerUserAccess", &boundary), policy, &[]);
    let name = boundary.rsplit('/').next().unwrap().to_owned();
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}).to_string();
    environment.sandbox.aws(|aws| aws.call("CreatePolicy", &[("PolicyName", &name), ("PolicyDocument", &document)])).unwrap();
    environment.start();
    assert_eq!(environment.start().writes, 0);
    environment.delete();
    environment.write_manifest("identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/AdministratorAccess]}}]");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("AccessDenied") && run.err.contains("hint: allow `iam:CreateRole`"), "{}", run.err);
    assert!(!environment.sandbox.aws(|aws| aws.roles().values().any(|role| role.path.starts_with("/qovery/"))));
}

/// Whoever may change the manifest and nothing else: none of these manifests gets a role more than the boundary allows.
#[test]
fn no_manifest_gets_a_role_out_of_the_boundary_that_the_platform_team_requires() {
    let policy = "docs/permissions/iam-policy-with-boundary.json";
    let boundary = "arn:aws:iam::123456789012:policy/qovery-irsa-boundary";
    let bounded = "identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess], permissionsBoundary: \"arn:aws:iam::123456789012:policy/qovery-irsa-boundary\"}}]";
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}).to_string();
    let administrator = "arn:aws:iam::aws:policy/AdministratorAccess";
    let inline = r#"{inlinePolicies: {all: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}}}"#;
    for (evasion, denied) in [
        (format!("{{policies: [{administrator}]}}"), "iam:DeleteRolePermissionsBoundary"),
        (inline.to_owned(), "iam:DeleteRolePermissionsBoundary"),
        ("{}".to_owned(), "iam:DeleteRolePermissionsBoundary"),
        (format!("{{policies: [{administrator}], permissionsBoundary: {administrator}}}"), "iam:PutRolePermissionsBoundary"),
        (format!("{{name: second, policies: [{administrator}]}}"), "iam:CreateRole"),
        (format!("{{name: third, path: /, permissionsBoundary: \"{boundary}\"}}"), "iam:CreateRole"),
    ] {
        let environment = least_privilege(bounded, policy, &[]);
        environment
            .sandbox
            .aws(|aws| aws.call("CreatePolicy", &[("PolicyName", "qovery-irsa-boundary"), ("PolicyDocument", &document)]))
            .unwrap();
        environment.start();
        environment.write_manifest(&format!("identities: [{{serviceAccount: app, role: {evasion}}}]"));
        let run = environment.run(&["start"]).ended(1);
        // A path outside the job's is refused by the cluster's guard before IAM is asked.
        let guarded = run.err.contains("hint: the guard of the cluster refuses it");
        let denied = run.err.contains("AccessDenied: ") && run.err.contains(&format!("perform: {denied} on"));
        assert!(guarded || denied, "{evasion}: {}", run.err);
        let hint = run.err.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(
            (guarded || hint.contains("`permissionsBoundary`")) && !hint.contains("iam-policy.json"),
            "a hint never leads to the wider policy: {hint}"
        );
        let (roles, made) = environment.sandbox.aws(|aws| (aws.roles().clone(), aws.roles().contains_key("third")));
        assert!(!made, "{evasion}");
        for role in roles.values().filter(|role| role.path.starts_with("/qovery/")) {
            assert_eq!(role.boundary.as_deref(), Some(boundary), "{evasion}");
        }
    }
}

#[test]
fn a_role_given_by_arn_needs_the_documented_addition_and_no_more() {
    let addition = addition();
    let environment = least_privilege(GIVEN, "docs/permissions/iam-policy.json", std::slice::from_ref(&addition));
    environment.start();
    environment.delete();
    for action in actions(&json!({ "Statement": [addition.clone()] })) {
        let mut less = addition.clone();
        less["Action"].as_array_mut().unwrap().retain(|other| other.as_str() != Some(&action));
        let environment = least_privilege(GIVEN, "docs/permissions/iam-policy.json", &[less]);
        let command = if action == "iam:UntagRole" { "delete" } else { "start" };
        if command == "delete" {
            environment.start();
        }
        let run = environment.run(&[command]).ended(1);
        assert!(run.err.contains(&format!("hint: allow `{action}`")), "{action}: {}", run.err);
    }
}

/// All documents for people.
fn documents() -> Vec<(String, String)> {
    let mut names: Vec<String> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).into();
    names.extend(std::fs::read_dir(root().join("docs")).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        Path::new(&name).extension().is_some_and(|extension| extension == "md").then(|| format!("docs/{name}"))
    }));
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// The sentences of a text, lists, cells of tables and lines of code among them.
fn sentences(text: &str) -> Vec<String> {
    let text = text.replace("\n\n", " | ").replace("\n-", " | ").replace("\n*", " | ").replace('\n', " ");
    text.split(" | ").flat_map(|part| part.split_inclusive(". ")).map(str::to_owned).collect()
}

/// Sentences that could be read as advice to set AWS keys or an API token above the job: they name both, and do not warn.
fn above_the_job(text: &str) -> Vec<String> {
    let credential = |sentence: &str| {
        let named =
            ["AWS_ACCESS_KEY", "AWS_SECRET_ACCESS", "AWS_SESSION_TOKEN", "IRSA_QOVERY_TOKEN", "QOVERY_API_TOKEN", "QOVERY_CLI_ACCESS"];
        let said = ["aws key", "api token", "access key", "keys", "secrets", "a secret", "credentials"];
        named.iter().any(|name| sentence.contains(name)) || said.iter().any(|name| sentence.to_lowercase().contains(name))
    };
    let place = |sentence: &str| {
        let sentence = sentence.to_lowercase();
        let places = ["project", "environment"].iter().flat_map(|place| {
            ["on the ", "on a ", "on an ", "on your ", "in the ", "to the ", "of the ", "for the ", "at the "]
                .map(|before| format!("{before}{place}"))
        });
        // What a token may change, where SDKs look, and whose organization it is.
        let others = [
            "of the environment's organization",
            "services of the environment",
            "from the environment, a web",
            "manage the environments of",
            "secrets and leases",
        ];
        places.into_iter().any(|place| sentence.contains(&place)) && !others.iter().any(|other| sentence.contains(other))
    };
    let warns = |sentence: &str| {
        let sentence = sentence.to_lowercase();
        [
            "every service",
            "never",
            "not on",
            "inherit",
            "delete",
            "move them to the job",
            "before a role",
            "before the role",
            "refus",
            "whether",
            "no hint",
        ]
        .iter()
        .any(|warning| sentence.contains(warning))
    };
    sentences(text).into_iter().filter(|sentence| credential(sentence) && place(sentence) && !warns(sentence)).collect()
}

#[test]
fn nothing_tells_to_put_keys_or_a_token_above_the_job() {
    for (text, is_advice) in [
        ("Set `AWS_ACCESS_KEY_ID` as a secret on the project.", true),
        ("Add the API token to the environment.", true),
        ("- the job's credentials: secrets of the\nproject, once", true),
        ("| AWS keys | secrets of the environment |", true),
        ("Never put keys on a project: every service inherits them.", false),
        ("`AWS_ACCESS_KEY_ID` as a secret of the job itself. The environment has a name.", false),
    ] {
        assert_eq!(!above_the_job(text).is_empty(), is_advice, "{text}");
    }
    let environment = Environment::new(MANIFEST);
    let help = [&["--help"][..], &["install", "--help"], &["start", "--help"]].map(|arguments| environment.run(arguments).ended(0).out);
    let mut texts: Vec<(String, String)> = help.map(|help| ("--help".to_owned(), help)).into();
    let files = ["qovery.yml", "Dockerfile", "qovery.schema.json", "tests/sandbox/README.md", "tests/conformance/README.md"];
    texts.extend(files.map(|name| (name.to_owned(), read(name).replace("\n  #", " "))));
    texts.extend(documents());
    // What is said to people stands in strings; comments and tests say what is there.
    let spoken = |code: &String| code.contains("#[cfg(test)]") || !code.contains("#[test]");
    let code = sources(&root().join("src")).into_iter().filter(spoken);
    let strings = code.flat_map(|code| literals(code.split("#[cfg(test)]").next().unwrap_or_default()));
    texts.extend(strings.map(|text| ("src".to_owned(), text)));
    for (name, text) in &texts {
        assert_eq!(above_the_job(text), [] as [String; 0], "{name}");
    }
}

/// Wherever a document says that the job gets keys or a token as a secret, it says whose secret.
#[test]
fn a_secret_with_a_key_or_a_token_is_said_to_be_the_jobs_own() {
    let own = ["of the job", "of its own", "the job's own", "its own secret", "IRSA_SECRET_"];
    for (name, text) in documents() {
        for sentence in sentences(&text).iter().filter(|sentence| sentence.contains(" as a secret") || sentence.contains(" as secret")) {
            assert!(
                own.iter().any(|own| sentence.contains(own)) || sentence.contains("can read neither as a secret"),
                "{name}: {sentence}"
            );
        }
    }
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for (name, text) in documents() {
        let base = root().join(&name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(base.parent().unwrap().join(path).exists(), "{name}: {target}");
        }
    }
}

#[test]
fn every_variable_that_a_document_names_is_known_to_the_code() {
    let code: String = [
        "src/config/env.rs",
        "src/config/mod.rs",
        "src/clients/http.rs",
        "src/clients/kubernetes/access.rs",
        "src/steps/connect/mod.rs",
        "src/model/containers.rs",
    ]
    .map(read)
    .concat()
    .to_uppercase();
    let aws = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
        "AWS_PROFILE",
        "AWS_CONTAINER_",
        "AWS_STS_REGIONAL_ENDPOINTS",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_CONFIG_FILE",
    ];
    for (name, text) in documents() {
        let words = text.split(|character: char| !(character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'));
        for word in words.filter(|word| (word.starts_with("IRSA_") || word.starts_with("AWS_")) && word.len() > 5) {
            // What a secret of the job is set from is called after it.
            let word = word.strip_prefix("IRSA_SECRET_").filter(|secret| !secret.is_empty()).unwrap_or(word);
            let known = code.contains(word) || aws.iter().any(|known| word.starts_with(known));
            assert!(known, "{name}: {word}");
        }
    }
}

#[test]
fn the_readme_names_every_command_and_its_help_the_same() {
    let readme = read("README.md");
    let environment = Environment::new(MANIFEST);
    let help = environment.run(&["--help"]).ended(0).out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).filter(|command| *command != "help").collect();
    assert!(commands.len() >= 4, "{help}");
    for command in commands {
        assert!(readme.contains(&format!("| `{command}`")), "{command} is not in the README's table");
    }
}

/// Text without what varies: values in braces or after `…`, back-ticks, white space.
fn pieces(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut depth = 0;
    for character in text.replace("\\n", " ").replace("\\\"", "\"").replace("\\\n", " ").chars() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                plain.push('…');
            }
            '`' | '"' | '\\' => {}
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
    }
    plain.replace(": ", "…").split('…').map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Messages that no literal here holds: the words of the AWS SDK, of HTTP and of its client, and texts that are put together.
const ELSEWHERE: [&str; 10] = [
    "Unauthorized",
    "Forbidden",
    "Not Found",
    "Conflict",
    "Too Many Requests",
    "no credentials found in chain. Attempted",
    "tunnel error",
    "the variable NAME is not set",
    "use the identity's audience instead",
    "belongs to many environments (scope shared)",
];

/// The text literals of a source file.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find('"') {
        // A quotation mark as a character is none that opens a text.
        if rest[..start].ends_with('\'') || rest[..start].ends_with("'\\") {
            rest = &rest[start + 1..];
            continue;
        }
        let mut end = start + 1;
        let bytes = rest.as_bytes();
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        found.push(rest.get(start + 1..end).unwrap_or_default().replace("\\\"", "\""));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    found
}

#[test]
fn every_message_in_the_troubleshooting_tables_is_one_that_the_job_or_a_service_says() {
    // What the job says, and what the services say: the local ones speak in the words of the real ones.
    let said: Vec<String> = ["src", "tests/sandbox/src"]
        .iter()
        .flat_map(|room| sources(&root().join(room)))
        .flat_map(|text| literals(&text))
        .flat_map(|text| pieces(&text))
        .collect();
    let said = said.join("\u{0}");
    let text = read("docs/troubleshooting.md");
    let sections = text.split("\n## ").filter(|section| section.starts_with("Exit code") || section.starts_with("What `doctor`"));
    let (mut looked, mut missing) = (0, Vec::new());
    for row in sections.flat_map(str::lines).filter(|line| line.starts_with("| `")) {
        let message = row[2..].split(" | ").next().unwrap();
        // The spans of code in the first column; the rest of it is explanation.
        let spans = message.split('`').collect::<Vec<_>>();
        let spans = if message.starts_with("`` ") {
            vec![message.trim_start_matches("`` ").split(" ``").next().unwrap()]
        } else {
            spans.into_iter().skip(1).step_by(2).collect()
        };
        for piece in spans.iter().flat_map(|span| pieces(span)).map(|piece| piece.trim_matches([':', '.', ',', ' ']).to_owned()) {
            if piece.len() < 4 {
                continue;
            }
            looked += 1;
            // Every failed call says so; what it was to do is a text of its own.
            let piece = piece.strip_prefix("failed to ").unwrap_or(&piece);
            if !said.contains(piece) && !ELSEWHERE.contains(&piece) {
                missing.push(format!("{piece:?} of {message}"));
            }
        }
    }
    assert!(looked > 40, "{looked}");
    assert!(missing.is_empty(), "nobody says:\n{}", missing.join("\n"));
}

fn sources(directory: &Path) -> Vec<String> {
    std::fs::read_dir(directory)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                None if path.is_dir() => sources(&path),
                Some("rs") => vec![std::fs::read_to_string(path).unwrap()],
                _ => Vec::new(),
            }
        })
        .collect()
}
