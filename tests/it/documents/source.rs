//! What holds of the source itself.

use crate::support::repository::sources;

/// Where services are spoken to, and so where their words are read.
const CLIENTS: &str = "src/clients/";

/// Ways to look into the code or the message of a failed call.
const SEARCHES: [&str; 12] = [
    ".message.contains",
    ".message.starts_with",
    ".message.ends_with",
    ".message.split",
    ".message.find",
    ".message.to_",
    ".message ==",
    ".code ==",
    ".code !=",
    ".code.as_str",
    ".code.starts_with",
    ".code.contains",
];

fn searches(text: &str) -> Vec<(usize, &'static str)> {
    let lines = (1..).zip(text.lines());
    lines
        .flat_map(|(number, line)| SEARCHES.iter().filter(move |search| line.contains(**search)).map(move |search| (number, *search)))
        .collect()
}

#[test]
fn the_words_of_a_service_are_read_in_its_client_and_nowhere_else() {
    let found = sources("src");
    assert!(found.len() > 50, "{found:?}");
    let mut in_clients = 0;
    for (name, text) in found {
        let searches = searches(&text);
        if name.starts_with(CLIENTS) {
            in_clients += searches.len();
        } else {
            assert!(searches.is_empty(), "{name} looks into what a service says, which its client should do: {searches:?}");
        }
    }
    assert!(in_clients > 0, "what is looked for occurs at all");
}

#[test]
fn no_test_file_uses_another() {
    let files = sources("tests/it");
    assert!(files.len() > 40, "{files:?}");
    for (file, text) in files {
        for (number, line) in (1..).zip(text.lines()) {
            let elsewhere = line.split("crate::").skip(1).any(|path| !path.starts_with("support::"));
            assert!(!elsewhere || file == "tests/it/documents/source.rs", "{file}:{number}: {line}");
        }
    }
}
