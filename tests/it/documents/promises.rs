//! What the documents promise, held against the job: commands, variables, messages, links.

use std::{collections::BTreeSet, path::Path};

use crate::support::{
    environment::Environment,
    fixtures::MANIFEST,
    repository::{read, root, sources},
};

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
    let code = sources("src").into_iter().map(|(_, code)| code).filter(spoken);
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

/// What a heading is called in a link, as GitHub makes it: <https://docs.github.com/en/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#section-links>.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        if in_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter(|character| character.is_alphanumeric() || [' ', '-', '_'].contains(character));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|character| if character == ' ' { '-' } else { character }).collect();
        assert!(anchors.insert(anchor), "{line}: two headings of one name have one link");
    }
    anchors
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    assert_eq!(anchors("# `a`: B-c, d\n```\n# none\n```\n## e\nf"), ["a-b-c-d".to_owned(), "e".to_owned()].into());
    let mut to_headings = 0;
    for (name, text) in documents() {
        let base = root().join(&name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
            let file = if path.is_empty() { base.clone() } else { base.parent().unwrap().join(path) };
            assert!(file.exists(), "{name}: {target}");
            if let Some(heading) = heading {
                to_headings += 1;
                assert!(anchors(&std::fs::read_to_string(&file).unwrap()).contains(heading), "{name}: {target}");
            }
        }
    }
    assert!(to_headings > 40, "{to_headings}");
}

/// The variables that configure the job: the fields of one struct.
fn variables() -> BTreeSet<String> {
    let code = read("src/config/env.rs");
    let (_, fields) = code.split_once("struct Variables {\n").unwrap();
    let fields = fields.split("\n}").next().unwrap().lines();
    fields.map(|field| field.trim().strip_prefix("pub(super) ").unwrap().split(':').next().unwrap().to_uppercase()).collect()
}

/// What the SDK of AWS reads by itself, and what SDKs in the pods of services read.
const OF_AWS: [&str; 16] = [
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EKS",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
];

/// What documents name beside settings: with what variables begin, an example of a misspelling, and what another program of this repository
/// reads.
const BESIDE_SETTINGS: [&str; 7] =
    ["AWS_", "IRSA_", "IRSA_SECRET_", "IRSA_PERMISSIONS_BOUNDAR", "QOVERY_", "QOVERY_OUTPUT_JOB_", "QOVERY_IRSA_BINARY"];

#[test]
fn every_variable_that_a_document_names_is_one_that_is_read_and_each_is_named() {
    let settings = variables();
    let mut named = BTreeSet::new();
    for (name, text) in documents() {
        let words = text.split(|character: char| !(character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'));
        for word in words.filter(|word| ["IRSA_", "AWS_", "QOVERY_", "SERVICE_"].iter().any(|prefix| word.starts_with(prefix))) {
            // What a secret of the job is set from is called after it.
            let word = word.strip_prefix("IRSA_SECRET_").filter(|secret| !secret.is_empty()).unwrap_or(word);
            let of_output = word.strip_prefix("QOVERY_OUTPUT_JOB_Z").is_some();
            let known = settings.contains(word) || OF_AWS.contains(&word) || BESIDE_SETTINGS.contains(&word) || of_output;
            assert!(known, "{name}: {word}");
            named.insert(word.to_owned());
        }
    }
    let expected: BTreeSet<String> = settings.into_iter().chain(OF_AWS.into_iter().chain(BESIDE_SETTINGS).map(str::to_owned)).collect();
    let unnamed: Vec<&String> = expected.difference(&named).collect();
    assert_eq!(unnamed, [] as [&String; 0]);
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
        .flat_map(|room| sources(room))
        .flat_map(|(_, text)| literals(&text))
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
