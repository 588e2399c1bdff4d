//! Each limit of hostile input, at its value and one above.

use serde::Deserialize;

use super::super::text::{
    duration,
    interpolation::interpolate,
    limits::{
        DEEPEST, LARGEST_MANIFEST, LARGEST_POLICY_FILE, LONGEST_BARE_KEY, LONGEST_DURATION, LONGEST_FILE, LONGEST_GUESSED, LONGEST_KEY,
        LONGEST_PROBLEM, LONGEST_SYNTAX_PROBLEM, LONGEST_VALUE, MOST_BRACKETS, MOST_INSERTED, MOST_NODES, MOST_POLICY_FILES,
        MOST_PROBLEM_TEXT, MOST_PROBLEMS, MOST_TEXT, PATH_BEGINNING, PATH_END,
    },
    problems::quoted,
    reader::read,
    yaml,
};
use super::*;

/// What is wrong with a text, if anything is.
fn refusal(text: &str) -> Option<String> {
    yaml::parse(text).err().map(|problem| problem.text)
}

/// A log's only problem, as it is shown.
fn problem(report: impl FnOnce(&ProblemLog)) -> String {
    let log = ProblemLog::default();
    report(&log);
    let problems = log.into_problems("m.yml", |_| None);
    assert_eq!(problems.iter().count(), 1);
    problems.iter().next().unwrap().to_owned()
}

#[test]
fn a_manifest_is_read_up_to_its_largest_size() {
    let of_size = |size: usize| format!("{SMALLEST}\n{}", "#".repeat(size - SMALLEST.len() - 1));
    assert_eq!(loaded(&[], &of_size(LARGEST_MANIFEST)).unwrap().identities.len(), 1);
    assert_eq!(shown(loaded(&[], &of_size(LARGEST_MANIFEST + 1))), "1 problem in the configuration\n  qovery.yml: is larger than 1 MiB");
}

#[test]
fn brackets_are_counted_up_to_their_limit() {
    // Three are open within the manifest itself.
    let with_brackets = |count: usize| format!("# {}\n{SMALLEST}", "[".repeat(count - 3));
    assert_eq!(refusal(&with_brackets(MOST_BRACKETS)), None);
    assert_eq!(refusal(&with_brackets(MOST_BRACKETS + 1)).unwrap(), "nested deeper than 64 levels");
}

#[test]
fn lists_and_mappings_are_nested_up_to_the_deepest_level() {
    let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mappings = |depth: usize| (0..depth).map(|level| " ".repeat(level) + "a:\n").collect::<String>();
    for text in [lists(DEEPEST), mappings(DEEPEST)] {
        assert_eq!(refusal(&text), None);
    }
    for text in [lists(DEEPEST + 1), mappings(DEEPEST + 1)] {
        let refusal = refusal(&text).unwrap();
        assert!(refusal.ends_with("nested deeper than 64 levels"), "{refusal}");
    }
}

#[test]
fn values_are_counted_with_those_that_aliases_repeat() {
    // The mapping and its second list, and a thousand and one for the first list and each alias of it.
    let values = |more: usize| {
        let thousand = vec!["1"; 1000].join(",");
        let again = vec!["*a"; MOST_NODES / 1001 - 1].join(",");
        let counted = 2 + 1001 * (MOST_NODES / 1001);
        format!("a: &a [{thousand}]\nb: [{again}{}]", ",1".repeat(MOST_NODES + more - counted))
    };
    assert_eq!(refusal(&values(0)), None);
    assert_eq!(refusal(&values(1)).unwrap(), format!("b[{}]: more than 100000 values after anchors are resolved", last_of(&values(1))));
}

/// The index of the last element of the list in the last line.
fn last_of(text: &str) -> usize {
    text.lines().last().unwrap().matches(',').count()
}

#[test]
fn text_is_counted_with_what_aliases_repeat() {
    let quarter = "x".repeat(MOST_TEXT / 4);
    assert_eq!(refusal(&format!("[&a {quarter}, *a, *a, *a]")), None);
    assert_eq!(refusal(&format!("[&a {quarter}, *a, *a, *a, x]")).unwrap(), "[4]: more than 4194304 bytes after anchors are resolved");
}

#[test]
fn a_key_is_read_up_to_its_longest() {
    let explicit = |length: usize| format!("? {}\n: 1", "k".repeat(length));
    assert_eq!(refusal(&explicit(LONGEST_KEY)), None);
    assert!(refusal(&explicit(LONGEST_KEY + 1)).unwrap().ends_with("…` is longer than 1024 bytes"));
}

#[test]
fn variables_insert_no_more_than_they_may_together() {
    let variables = [("QUARTER", "x".repeat(MOST_INSERTED / 4)), ("ONE", "x".to_owned())];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    let problems = |text: &str| {
        let log = ProblemLog::default();
        interpolate(&mut yaml::parse(text).unwrap(), &variables, &At::root(&log));
        log.into_problems("m.yml", |_| None).iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let most = "'${QUARTER}', '${QUARTER}${QUARTER}', '${QUARTER}'";
    assert_eq!(problems(&format!("[{most}]")), [] as [&str; 0]);
    let problem = "m.yml: [3]: the values inserted into the manifest are larger than 4 MiB together";
    assert_eq!(problems(&format!("[{most}, '${{ONE}}']")), [problem]);
}

#[test]
fn a_duration_is_read_up_to_its_longest() {
    let text = |length: usize| format!("{}60", "0".repeat(length - 2));
    assert_eq!(duration::parse(&text(LONGEST_DURATION), &(0..=60)), Ok(60));
    assert!(duration::parse(&text(LONGEST_DURATION + 1), &(0..=60)).unwrap_err().contains("is not a duration"));
}

#[test]
fn a_name_is_guessed_up_to_its_longest() {
    const NAME: &str = "known-known-known-known-known-known-known-known-known-known-know";
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its name counts")]
    struct Known {
        #[serde(default, rename = "known-known-known-known-known-known-known-known-known-known-know")]
        known: Option<bool>,
    }
    assert_eq!(NAME.len(), LONGEST_GUESSED);
    let problem = |key: &str| {
        let node = yaml::parse(&format!("{key}: true")).unwrap();
        problem(|log| assert!(matches!(read::<Known>(&node, &At::root(log)), Typed::Value(_))))
    };
    let suggestion = format!("did you mean `{NAME}`?");
    assert!(problem(&format!("{}wo", &NAME[..LONGEST_GUESSED - 2])).ends_with(&suggestion));
    assert!(!problem(&format!("{NAME}n")).ends_with(&suggestion));
}

#[test]
fn problems_are_shown_up_to_their_number() {
    let problems = |count: usize| {
        let log = ProblemLog::default();
        for _ in 0..count {
            log.file("odd");
        }
        log.into_problems("m.yml", |_| None)
    };
    assert_eq!((problems(MOST_PROBLEMS).iter().count(), problems(MOST_PROBLEMS + 1).iter().count()), (MOST_PROBLEMS, MOST_PROBLEMS));
    assert!(!problems(MOST_PROBLEMS).to_string().ends_with("more"));
    assert!(problems(MOST_PROBLEMS + 1).to_string().ends_with("\n  and 1 more"));
}

#[test]
fn problems_are_shown_up_to_the_size_of_all() {
    let problems = |sizes: &[usize]| {
        let log = ProblemLog::default();
        for size in sizes {
            log.setting("A", "x".repeat(size - "`A` ".len()));
        }
        log.into_problems("m.yml", |_| None).iter().count()
    };
    let mut sizes = vec![LONGEST_PROBLEM; MOST_PROBLEM_TEXT / LONGEST_PROBLEM];
    assert_eq!(problems(&sizes), sizes.len());
    sizes.push("`A` x".len());
    assert_eq!(problems(&sizes), sizes.len() - 1);
}

#[test]
fn a_problem_is_shown_up_to_its_longest() {
    let problem = |length: usize| problem(|log| log.setting("A", "x".repeat(length - "`A` ".len())));
    assert_eq!(problem(LONGEST_PROBLEM), format!("`A` {}", "x".repeat(LONGEST_PROBLEM - 4)));
    assert_eq!(problem(LONGEST_PROBLEM + 1), format!("`A` {}…", "x".repeat(LONGEST_PROBLEM - 4)));
}

#[test]
fn a_problem_of_the_whole_text_is_shown_up_to_its_longest() {
    let message = ": the key `x` is there twice";
    let refusal = |length: usize| {
        let keys = ["k".repeat(50).as_str(); 5].join(": {");
        let last = "k".repeat(length - message.len() - 5 * 51);
        refusal(&format!("{{{keys}: {{{last}: {{x: 1, x: 1}}{}", "}".repeat(6))).unwrap()
    };
    let path = format!("{}.{}", ["k".repeat(50).as_str(); 5].join("."), "k".repeat(LONGEST_SYNTAX_PROBLEM - message.len() - 5 * 51));
    assert_eq!(refusal(LONGEST_SYNTAX_PROBLEM), format!("{path}{message}"));
    assert_eq!(refusal(LONGEST_SYNTAX_PROBLEM + 1), format!("…{}k{message}", &path[1..]));
}

#[test]
fn the_name_of_a_file_and_of_a_variable_is_shown_up_to_its_longest() {
    let file = |length: usize| {
        let name = "m".repeat(length);
        shown(load(&Flags::default(), with(&[("IRSA_MANIFEST", &name)]), missing))
    };
    let name = "m".repeat(LONGEST_FILE);
    assert_eq!(file(LONGEST_FILE), format!("1 problem in the configuration\n  {name}: cannot be read: no such file"));
    assert_eq!(file(LONGEST_FILE + 1), format!("1 problem in the configuration\n  {name}…: cannot be read: no such file"));

    let note = |length: usize| {
        let name = format!("IRSA_{}", "X".repeat(length - "IRSA_".len()));
        loaded(&[(&name, "x")], SMALLEST).unwrap().notes.concat()
    };
    let name = format!("IRSA_{}", "X".repeat(LONGEST_FILE - "IRSA_".len()));
    assert_eq!(note(LONGEST_FILE), format!("`{name}` is no setting of this tool, and not read"));
    assert_eq!(note(LONGEST_FILE + 1), format!("`{name}…` is no setting of this tool, and not read"));
}

#[test]
fn a_value_is_shown_up_to_its_longest() {
    let value = "x".repeat(LONGEST_VALUE);
    assert_eq!(quoted(&value), format!("`{value}`"));
    assert_eq!(quoted(&format!("{value}x")), format!("`{value}…`"));
}

#[test]
fn a_key_is_shown_without_quotes_up_to_its_longest() {
    let problem = |length: usize| problem(|log| At::root(log).key(&"k".repeat(length)).report("odd"));
    assert_eq!(problem(LONGEST_BARE_KEY), format!("m.yml: {}: odd", "k".repeat(LONGEST_BARE_KEY)));
    assert_eq!(problem(LONGEST_BARE_KEY + 1), format!("m.yml: [\"{}\"]: odd", "k".repeat(LONGEST_BARE_KEY + 1)));
}

#[test]
fn a_path_is_shown_up_to_its_beginning_and_its_end() {
    let problem = |path: &str| {
        let keys = path.split('.').map(|key| crate::model::grammar::Step::Key(key.to_owned())).collect::<Vec<_>>();
        problem(|log| At::root(log).below(&keys, "odd"))
    };
    let beginning = ["b".repeat(49), "b".repeat(50)].join(".");
    let end = vec!["e".repeat(39); 5].join(".");
    assert_eq!((beginning.len(), format!(".{end}").len()), (PATH_BEGINNING, PATH_END));
    assert_eq!(problem(&format!("{beginning}.{end}")), format!("m.yml: {beginning}.{end}: odd"));
    assert_eq!(problem(&format!("{beginning}b.{end}")), format!("m.yml: {beginning}….{end}: odd"));
}

/// The table is what people read: it names every limit of the file, with its value.
#[test]
fn the_table_of_limits_is_that_of_the_code() {
    let values = [
        ("LARGEST_MANIFEST", LARGEST_MANIFEST),
        ("MOST_BRACKETS", MOST_BRACKETS),
        ("DEEPEST", DEEPEST),
        ("MOST_NODES", MOST_NODES),
        ("MOST_TEXT", MOST_TEXT),
        ("LONGEST_KEY", LONGEST_KEY),
        ("LARGEST_POLICY_FILE", LARGEST_POLICY_FILE),
        ("MOST_POLICY_FILES", MOST_POLICY_FILES),
        ("MOST_INSERTED", MOST_INSERTED),
        ("LONGEST_DURATION", LONGEST_DURATION),
        ("LONGEST_GUESSED", LONGEST_GUESSED),
        ("MOST_PROBLEMS", MOST_PROBLEMS),
        ("MOST_PROBLEM_TEXT", MOST_PROBLEM_TEXT),
        ("LONGEST_PROBLEM", LONGEST_PROBLEM),
        ("LONGEST_SYNTAX_PROBLEM", LONGEST_SYNTAX_PROBLEM),
        ("LONGEST_FILE", LONGEST_FILE),
        ("LONGEST_VALUE", LONGEST_VALUE),
        ("LONGEST_BARE_KEY", LONGEST_BARE_KEY),
        ("PATH_BEGINNING", PATH_BEGINNING),
        ("PATH_END", PATH_END),
    ];
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/text/limits.rs")).unwrap();
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once("` | "));
    let rows: Vec<(&str, usize)> =
        rows.map(|(name, rest)| (name, rest.split(' ').next().unwrap().replace(',', "").parse().unwrap())).collect();
    assert_eq!(rows, values);
    let constants: Vec<&str> =
        source.lines().filter_map(|line| line.split_once(" const ")?.1.split_once(':')).map(|(name, _)| name).collect();
    assert_eq!(constants, values.map(|(name, _)| name));
}
