//! What holds of the source itself, the tests included.

use std::collections::BTreeSet;

use crate::support::repository::{read, sources};

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

/// The folder of a theme and the file, as the name of each of its tests has them.
fn module(file: &str) -> String {
    file.strip_prefix("tests/it/").unwrap().strip_suffix(".rs").unwrap().replace('/', "::")
}

#[test]
fn no_test_file_uses_another() {
    let files = sources("tests/it");
    let top = |file: &String| module(file).split("::").next().unwrap().to_owned();
    let themes: BTreeSet<String> = files.iter().map(|(file, _)| top(file)).filter(|theme| theme != "support").collect();
    assert!(themes.len() > 8, "{themes:?}");
    for (file, text) in &files {
        for (number, line) in (1..).zip(text.lines()) {
            let used = line.split("crate::").skip(1).find(|path| themes.iter().any(|theme| path.starts_with(&format!("{theme}::"))));
            assert_eq!(used, None, "{file}:{number}: {line}");
        }
    }
}

#[test]
fn every_test_that_has_a_long_extent_is_in_the_step_of_the_long_ones() {
    let steps = read(".ci/run");
    let step = steps.lines().find(|line| line.starts_with("step \"long tests\" env LONG=1 ")).unwrap();
    let words: Vec<&str> = step.split_once(" -- ").unwrap().1.split(' ').collect();
    let has_two = |text: &str| ["extent(", "worlds()"].iter().any(|call| text.contains(call));
    let long: Vec<String> = sources("tests/it")
        .into_iter()
        .filter(|(file, text)| !file.starts_with("tests/it/support/") && !file.ends_with("/source.rs") && has_two(text))
        .map(|(file, _)| module(&file))
        .collect();
    for module in &long {
        assert!(words.iter().any(|word| module.contains(word)), "{module} is not in `{step}`");
    }
    for word in words {
        assert!(long.iter().any(|module| module.contains(word)), "{word} of `{step}` is no test with a long extent");
    }
    assert!(
        read("CONTRIBUTING.md").contains(step.split_once(" env ").unwrap().1.replace(" --locked \"${all[@]}\"", "").as_str()),
        "{step}"
    );
}
