//! What holds of the source itself.

use std::{fs, path::Path};

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

fn files(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.display().to_string());
        }
    }
}

fn searches(text: &str) -> Vec<(usize, &'static str)> {
    let lines = (1..).zip(text.lines());
    lines
        .flat_map(|(number, line)| SEARCHES.iter().filter(move |search| line.contains(**search)).map(move |search| (number, *search)))
        .collect()
}

#[test]
fn the_words_of_a_service_are_read_in_its_client_and_nowhere_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(&root.join("src"), &mut found);
    assert!(found.len() > 50, "{found:?}");
    let mut in_clients = 0;
    for file in found {
        let name = file.strip_prefix(&format!("{}/", root.display())).unwrap().to_owned();
        let searches = searches(&fs::read_to_string(&file).unwrap());
        if name.starts_with(CLIENTS) {
            in_clients += searches.len();
        } else {
            assert!(searches.is_empty(), "{name} looks into what a service says, which its client should do: {searches:?}");
        }
    }
    assert!(in_clients > 0, "what is looked for occurs at all");
}
