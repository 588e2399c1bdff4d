//! YAML text to nodes that know their lines, in one parse. The only file that knows the YAML crate.
//!
//! The text is not trusted to be small: aliases are resolved within a budget of nodes, text and depth.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    convert::Infallible,
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{
    limits::{DEEPEST, LONGEST_KEY, LONGEST_SYNTAX_PROBLEM, MOST_BRACKETS, MOST_NODES, MOST_TEXT},
    node::{Node, Number, Value},
    problems::{path_shown, quoted},
};
use crate::model::{grammar::Step, line::one_line};

/// A text that is no manifest at all.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct SyntaxProblem {
    /// Line and column, both from 1, where known.
    pub(in crate::config) position: Option<(usize, usize)>,
    /// What is wrong.
    pub(in crate::config) text: String,
}

/// Reads one YAML document.
///
/// # Errors
/// The text is not YAML, has a key twice in one mapping, uses a tag, a merge key or a second document, or is over the budget.
pub(in crate::config) fn parse(text: &str) -> Result<Node, SyntaxProblem> {
    if brackets(text) > MOST_BRACKETS {
        return Err(SyntaxProblem { position: None, text: format!("nested deeper than {DEEPEST} levels") });
    }
    let walk = Walk::default();
    let root = Build { walk: &walk, depth: 0, line: first_line(text) };
    root.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| walk.syntax_problem(&error))
}

/// How many brackets are open at most.
fn brackets(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// The line, from 1, on which the root begins: the first with more than white space, a comment, a directive or `---`.
fn first_line(text: &str) -> usize {
    let begins = |line: &str| {
        // After a byte order mark `---` is text.
        let rest = line.strip_prefix("---").or_else(|| line.strip_prefix('\u{feff}')).unwrap_or(line).trim_start_matches([' ', '\t']);
        !rest.is_empty() && !rest.starts_with('#') && !line.starts_with('%')
    };
    text.lines().position(begins).map_or(1, |index| index + 1)
}

/// One walk through the document: what it may still take, and why and where it was refused.
struct Walk {
    nodes: Cell<usize>,
    text: Cell<usize>,
    /// Why the text was refused, unless the crate says why.
    refusal: RefCell<Option<String>>,
    /// The path to the refused node, from its end.
    way_back: RefCell<Vec<Step>>,
}

impl Default for Walk {
    fn default() -> Self {
        Self { nodes: Cell::new(MOST_NODES), text: Cell::new(MOST_TEXT), refusal: RefCell::default(), way_back: RefCell::default() }
    }
}

impl Walk {
    fn count_node<E: Error>(&self) -> Result<(), E> {
        let left = self.nodes.get().checked_sub(1);
        let left = left.ok_or_else(|| self.refuse(format_args!("more than {MOST_NODES} values after anchors are resolved")))?;
        self.nodes.set(left);
        Ok(())
    }

    fn count_text<E: Error>(&self, text: &str) -> Result<String, E> {
        let left = self.text.get().checked_sub(text.len());
        let left = left.ok_or_else(|| self.refuse(format_args!("more than {MOST_TEXT} bytes after anchors are resolved")))?;
        self.text.set(left);
        Ok(text.to_owned())
    }

    /// An error to which the crate adds the position of the node. The path that it adds too is not shown: there [`Peek`] counts as an
    /// element of a list.
    fn refuse<E: Error>(&self, why: impl fmt::Display) -> E {
        let why = why.to_string();
        let error = E::custom(&why);
        self.refusal.replace(Some(why));
        error
    }

    /// Passes an error on, and records the step below which it happened.
    fn failed_below<E>(&self, step: Step, error: E) -> E {
        self.way_back.borrow_mut().push(step);
        error
    }

    fn syntax_problem(self, error: &serde_yaml::Error) -> SyntaxProblem {
        let position = error.location().map(|location| (location.line(), location.column()));
        let text = error.to_string();
        let text = match position {
            Some((line, column)) => text.replacen(&format!(" at line {line} column {column}"), "", 1),
            None => text,
        };
        // Of the crate's own messages these have its path before them.
        let of_crate = ["invalid type: ", "invalid value: "].into_iter().filter_map(|begin| text.find(begin)).min();
        let refusal = self.refusal.into_inner().or_else(|| Some(text.get(of_crate?..)?.to_owned()));
        let text = match (refusal, text.as_str()) {
            (Some(refusal), _) => {
                let path: Vec<Step> = self.way_back.into_inner().into_iter().rev().collect();
                format!("{}{}", path_shown(&path), one_line(&refusal))
            }
            (None, "deserializing from YAML containing more than one document is not supported") => {
                "holds more than one YAML document".to_owned()
            }
            (None, "repetition limit exceeded") => "its anchors are repeated too often".to_owned(),
            (None, text) => one_line(text),
        };
        let beyond = text.chars().count().saturating_sub(LONGEST_SYNTAX_PROBLEM);
        let text = if beyond == 0 { text } else { format!("…{}", text.chars().skip(beyond).collect::<String>()) };
        SyntaxProblem { position, text }
    }
}

/// Finds the position of the next key or element without taking it.
///
/// The YAML crate reports positions only in errors. A newtype nested beyond its limit is such an error, and the crate has read nothing
/// then: the same list or mapping can be asked again.
struct Peek {
    /// How often it is still nested: more often than the crate allows.
    left: u8,
}

const PEEK: Peek = Peek { left: u8::MAX };

impl<'de> DeserializeSeed<'de> for Peek {
    type Value = Infallible;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Infallible, D::Error> {
        let left = self.left.checked_sub(1).ok_or_else(|| D::Error::custom("newtypes can be nested without a limit"))?;
        deserializer.deserialize_newtype_struct("", Self { left })
    }
}

impl<'de> Visitor<'de> for Peek {
    type Value = Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Infallible, D::Error> {
        self.deserialize(deserializer)
    }
}

/// The line of the next key or element, from the error of [`Peek`]; nothing at the end of the list or mapping.
///
/// # Errors
/// The error has another reason: the text ends here, or is not YAML from here on.
fn next_line<E: fmt::Display>(peeked: Result<Option<Infallible>, E>) -> Result<Option<usize>, E> {
    match peeked {
        Ok(next) => Ok(next.map(|never| match never {})),
        Err(error) => line_of_limit(&error.to_string()).map_or(Err(error), |line| Ok(Some(line))),
    }
}

/// The line in the crate's message about its limit. The message has no position at the first line's first column.
fn line_of_limit(text: &str) -> Option<usize> {
    let place = text.strip_prefix("recursion limit exceeded")?;
    if place.is_empty() {
        return Some(1);
    }
    place.strip_prefix(" at line ")?.split(' ').next()?.parse().ok()
}

/// Builds a node.
#[derive(Clone, Copy)]
struct Build<'w> {
    walk: &'w Walk,
    depth: usize,
    line: usize,
}

impl Build<'_> {
    fn at(self, value: Value) -> Node {
        Node { line: self.line, value }
    }

    fn scalar<E: Error>(self, value: Value) -> Result<Node, E> {
        self.walk.count_node()?;
        Ok(self.at(value))
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEEPEST {
            return Err(self.walk.refuse(format_args!("nested deeper than {DEEPEST} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.scalar(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.scalar(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.scalar(Value::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.scalar(Value::Number(Number::Signed(value)))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Err(self.walk.refuse(format_args!("`{value}` is too large a number: put it in quotes")))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Err(self.walk.refuse(format_args!("`{value}` is too large a number: put it in quotes")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        if !value.is_finite() {
            return Err(self.walk.refuse("infinity and `.nan` have no meaning here"));
        }
        self.scalar(Value::Number(Number::Float(value)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.walk.count_node()?;
        Ok(self.at(Value::String(self.walk.count_text(text)?)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        self.walk.count_node()?;
        let element = self.deeper()?;
        let mut nodes = Vec::new();
        while let Some(line) = next_line(sequence.next_element_seed(PEEK))? {
            let node = sequence.next_element_seed(Build { line, ..element });
            nodes.extend(node.map_err(|error| self.walk.failed_below(Step::Index(nodes.len()), error))?);
        }
        Ok(self.at(Value::Sequence(nodes)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Node, A::Error> {
        self.walk.count_node()?;
        let value = self.deeper()?;
        let mut entries = BTreeMap::new();
        while let Some(line) = next_line(mapping.next_key_seed(PEEK))? {
            let Some(key) = mapping.next_key_seed(NewKey { walk: self.walk, entries: &entries })? else { break };
            let node = mapping.next_value_seed(Build { line, ..value });
            let node = node.map_err(|error| self.walk.failed_below(Step::Key(key.clone()), error))?;
            entries.insert(key, node);
        }
        Ok(self.at(Value::Mapping(entries)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, content) = tagged.variant::<String>()?;
        content.newtype_variant::<IgnoredAny>()?;
        Err(self.walk.refuse(format_args!("the tag {} has no meaning here", quoted(&format!("!{tag}")))))
    }
}

/// Reads a key that its mapping does not have yet.
///
/// A number or a boolean as a key is read as the text that stands there.
struct NewKey<'w> {
    walk: &'w Walk,
    entries: &'w BTreeMap<String, Node>,
}

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text as a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if key == "<<" {
            return Err(self.walk.refuse("the merge key `<<` is not supported: use `defaults`, or an alias as the whole value"));
        }
        if key.len() > LONGEST_KEY {
            return Err(self.walk.refuse(format_args!("the key {} is longer than {LONGEST_KEY} bytes", quoted(key))));
        }
        if self.entries.contains_key(key) {
            return Err(self.walk.refuse(format_args!("the key {} is there twice", quoted(key))));
        }
        self.walk.count_text(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let problem = parse(text).unwrap_err();
        let (line, column) = problem.position.unwrap_or_default();
        format!("{line}:{column}: {}", problem.text)
    }

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_position() {
        for (text, expected) in [
            ("a: b: c", "1:5: mapping values are not allowed in this context"),
            ("a:\n  - b\n c: d", "3:2: did not find expected key, while parsing a block mapping"),
            ("a: [1, 2", "2:1: did not find expected ',' or ']', while parsing a flow sequence at line 1 column 4"),
            ("a: 1\nb: 2\na: 3", "3:1: the key `a` is there twice"),
            ("a:\n  b: {c: 1, c: 2}", "2:13: a.b: the key `c` is there twice"),
            ("a: *b", "1:4: unknown anchor"),
            ("a: {<<: {b: 1}}", "1:5: a: the merge key `<<` is not supported: use `defaults`, or an alias as the whole value"),
            ("a: !env X", "1:4: a: the tag `!env` has no meaning here"),
            ("a: .nan", "1:4: a: infinity and `.nan` have no meaning here"),
            ("a: 123456789012345678901234567890", "1:4: a: `123456789012345678901234567890` is too large a number: put it in quotes"),
            ("a: 1\n---\nb: 2", "0:0: holds more than one YAML document"),
            ("[a, b]: c", "1:1: invalid type: sequence, expected text as a key"),
        ] {
            assert_eq!(problem(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_key_longer_than_those_on_one_line_can_be_is_refused() {
        let explicit = |length: usize| format!("? {}\n: 1", "k".repeat(length));
        assert!(parse(&explicit(1024)).is_ok());
        assert!(problem(&explicit(1025)).ends_with("…` is longer than 1024 bytes"), "{}", problem(&explicit(1025)));
    }

    #[test]
    fn anchors_are_resolved_and_a_bomb_of_them_is_not() {
        assert_eq!(parse("a: &x [1]\nb: *x").unwrap(), parse("a: [1]\nb: [1]").unwrap());

        let levels = (1..9).map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
        let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned()).chain(levels).collect();
        assert!(problem(&bomb).contains("more than 100000 values"), "{}", problem(&bomb));

        let long = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), vec!["*a"; 1000].join(", "));
        assert!(problem(&long).contains("more than 4194304 bytes"), "{}", problem(&long));

        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(problem(&deep).contains("nested deeper than 64 levels"), "{}", problem(&deep));

        assert!(parse("a: &a [*a]").is_err());
    }

    #[test]
    fn the_line_of_a_node_is_that_of_its_key() {
        let text = "# comment\nlist:\n  - a: 1\n    b:\n      c: |\n        text\n  - *x\n".replace("*x", "&x {d: 2}");
        let node = parse(&text).unwrap();
        for (path, line) in [
            (vec![], 2),
            (vec![key("list")], 2),
            (vec![key("list"), Step::Index(0)], 3),
            (vec![key("list"), Step::Index(0), key("b")], 4),
            (vec![key("list"), Step::Index(0), key("b"), key("c")], 5),
            (vec![key("list"), Step::Index(1), key("d")], 7),
            // What is missing is shown where it should stand.
            (vec![key("list"), Step::Index(1), key("missing"), key("deeper")], 7),
            (vec![key("list"), Step::Index(7)], 2),
        ] {
            assert_eq!(node.line_of(&path), line, "{path:?}");
        }
    }

    #[test]
    fn the_line_of_an_alias_is_where_it_stands_and_what_is_in_it_stands_where_it_was_written() {
        let node = parse("a: &x\n  b: 1\nc:\n  - 1\n  - *x\nd: *x").unwrap();
        for (path, line) in [(vec![key("c"), Step::Index(1)], 5), (vec![key("d")], 6), (vec![key("d"), key("b")], 2)] {
            assert_eq!(node.line_of(&path), line, "{path:?}");
        }
    }

    #[test]
    fn the_root_stands_where_its_first_word_does() {
        for (text, line) in [
            ("{}", 1),
            ("\n  \n# comment\n{}", 4),
            ("%YAML 1.1\n---\n# comment\n\n[]", 5),
            ("---  # comment\nx", 2),
            ("--- {}", 1),
            ("---x", 1),
            ("\u{feff}# comment\r\n--- # again\r\n5", 3),
            ("# comment\n\n&anchor\na: 1", 3),
            ("", 1),
        ] {
            assert_eq!(parse(text).unwrap().line_of(&[]), line, "{text:?}");
        }
    }

    #[test]
    fn a_problem_within_lists_has_the_index_of_each() {
        for (text, expected) in [
            ("a: [0, [1, {b: 1, b: 2}]]", "1:19: a[1][1]: the key `b` is there twice"),
            ("- 0\n- {c: !!int x}", "2:7: [1].c: invalid value: string \"x\", expected an integer"),
            ("- 0\n- ? [a]\n  : 1", "2:5: [1]: invalid type: sequence, expected text as a key"),
            ("- &a k\n- {*a : .inf}", "2:9: [1].k: infinity and `.nan` have no meaning here"),
            ("- a\n- b: [", "3:1: did not find expected node content, while parsing a flow node"),
        ] {
            assert_eq!(problem(text), expected, "{text:?}");
        }
    }

    #[test]
    fn brackets_beyond_counting_are_refused_before_they_cost_time() {
        for text in ["[".repeat(1 << 20), "{a: ".repeat(1 << 18)] {
            assert_eq!(problem(&text), "0:0: nested deeper than 64 levels");
        }
    }

    #[test]
    fn a_problem_deep_in_the_tree_is_one_line_of_bounded_length() {
        let text = format!("{}{{c: 1, c: 2}}{}", format!("{{\"{}\\n\": ", "k".repeat(1000)).repeat(60), "}".repeat(60));
        let problem = problem(&text);
        assert!(
            problem.ends_with("the key `c` is there twice") && problem.lines().count() == 1 && problem.chars().count() < 400,
            "{problem}"
        );
    }
}
