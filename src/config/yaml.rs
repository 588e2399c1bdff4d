//! YAML text to nodes, and a path of nodes back to its line. The only file that knows the YAML crate.
//!
//! The text is not trusted to be small: anchors are resolved within a budget of nodes, text and depth.

use std::{cell::Cell, collections::BTreeMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{
    node::{Node, Number},
    problems::{Step, quoted},
};
use crate::model::line::one_line;

/// The most nodes that a manifest may hold after its anchors are resolved.
const MOST_NODES: usize = 100_000;
/// The most bytes of strings and keys that a manifest may hold after its anchors are resolved.
const MOST_TEXT: usize = 4 << 20;
/// How deep lists and mappings may be nested.
const DEEPEST: usize = 64;
/// How many brackets may be open at once, those in strings and comments counted too.
const MOST_BRACKETS: usize = 4 * DEEPEST;
/// The longest message, in characters.
const LONGEST_MESSAGE: usize = 300;
/// The longest key, in bytes. YAML's own limit for a key on one line is the same.
const LONGEST_KEY: usize = 1024;

/// A text that is no manifest at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxProblem {
    /// Line and column, both from 1, where known.
    pub(super) position: Option<(usize, usize)>,
    /// What is wrong.
    pub(super) text: String,
}

/// Reads one YAML document.
///
/// # Errors
/// The text is not YAML, has a key twice in one mapping, uses a tag, a merge key or a second document, or is over the budget.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxProblem> {
    if brackets(text) > MOST_BRACKETS {
        return Err(SyntaxProblem { position: None, text: format!("nested deeper than {DEEPEST} levels") });
    }
    let budget = Budget::default();
    Build { budget: &budget, depth: 0 }.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| syntax_problem(&error))
}

/// The line, from 1, of the node that a path leads to: that of its key, or of the nearest node above it that exists.
pub(super) fn line_of(text: &str, path: &[Step]) -> Option<usize> {
    (0..=path.len()).rev().find_map(|length| {
        // The crate tells positions by its errors only: walk to the node and fail there.
        let walked = Walk(&path[..length]).deserialize(serde_yaml::Deserializer::from_str(text));
        walked.err()?.location().map(|location| location.line())
    })
}

/// How many brackets are open at most. The parser's time grows with their square, so this is looked at before it sees them.
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

fn syntax_problem(error: &serde_yaml::Error) -> SyntaxProblem {
    let position = error.location().map(|location| (location.line(), location.column()));
    let text = error.to_string();
    let text = match position {
        Some((line, column)) => text.replacen(&format!(" at line {line} column {column}"), "", 1),
        None => text,
    };
    let text = match text.as_str() {
        "deserializing from YAML containing more than one document is not supported" => "holds more than one YAML document".to_owned(),
        "repetition limit exceeded" => "its anchors are repeated too often".to_owned(),
        // The crate writes the path before its message, and keys of any text are in it.
        _ => one_line(&text),
    };
    let beyond = text.chars().count().saturating_sub(LONGEST_MESSAGE);
    let text = if beyond == 0 { text } else { format!("…{}", text.chars().skip(beyond).collect::<String>()) };
    SyntaxProblem { position, text }
}

/// What the tree may still take.
struct Budget {
    nodes: Cell<usize>,
    text: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { nodes: Cell::new(MOST_NODES), text: Cell::new(MOST_TEXT) }
    }
}

impl Budget {
    fn node<E: Error>(&self) -> Result<(), E> {
        let left = self
            .nodes
            .get()
            .checked_sub(1)
            .ok_or_else(|| E::custom(format_args!("more than {MOST_NODES} values after anchors are resolved")))?;
        self.nodes.set(left);
        Ok(())
    }

    fn text<E: Error>(&self, text: &str) -> Result<String, E> {
        let left = self
            .text
            .get()
            .checked_sub(text.len())
            .ok_or_else(|| E::custom(format_args!("more than {MOST_TEXT} bytes after anchors are resolved")))?;
        self.text.set(left);
        Ok(text.to_owned())
    }
}

/// Builds a node.
#[derive(Clone, Copy)]
struct Build<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Build<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEEPEST {
            return Err(E::custom(format_args!("nested deeper than {DEEPEST} levels")));
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
        self.budget.node()?;
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.budget.node()?;
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.budget.node()?;
        Ok(Node::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.budget.node()?;
        Ok(Node::Number(Number::Signed(value)))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Err(E::custom(format_args!("`{value}` is too large a number: put it in quotes")))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Err(E::custom(format_args!("`{value}` is too large a number: put it in quotes")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.budget.node()?;
        if value.is_finite() { Ok(Node::Number(Number::Float(value))) } else { Err(E::custom("infinity and `.nan` have no meaning here")) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.budget.node()?;
        Ok(Node::String(self.budget.text(text)?))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        self.budget.node()?;
        let element = self.deeper()?;
        let mut nodes = Vec::new();
        while let Some(node) = sequence.next_element_seed(element)? {
            nodes.push(node);
        }
        Ok(Node::Sequence(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Node, A::Error> {
        self.budget.node()?;
        let value = self.deeper()?;
        let mut entries = BTreeMap::new();
        while let Some(key) = mapping.next_key_seed(NewKey { budget: self.budget, entries: &entries })? {
            let node = mapping.next_value_seed(value)?;
            entries.insert(key, node);
        }
        Ok(Node::Mapping(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, content) = tagged.variant::<String>()?;
        content.newtype_variant::<IgnoredAny>()?;
        Err(A::Error::custom(format_args!("the tag {} has no meaning here", quoted(&format!("!{tag}")))))
    }
}

/// Reads a key that its mapping does not have yet.
///
/// A number or a boolean as a key is read as the text that stands there.
struct NewKey<'b> {
    budget: &'b Budget,
    entries: &'b BTreeMap<String, Node>,
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
            return Err(E::custom("the merge key `<<` is not supported: use `defaults`, or an alias as the whole value"));
        }
        if key.len() > LONGEST_KEY {
            return Err(E::custom(format_args!("the key {} is longer than {LONGEST_KEY} bytes", quoted(key))));
        }
        if self.entries.contains_key(key) {
            return Err(E::custom(format_args!("the key {} is there twice", quoted(key))));
        }
        self.budget.text(key)
    }
}

/// Walks along a path and fails at its end, with the position of that node.
#[derive(Clone, Copy)]
struct Walk<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.0.is_empty() { deserializer.deserialize_any(Stop) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rest of the path")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        if let Some((Step::Index(index), rest)) = self.0.split_first() {
            for _ in 0..*index {
                sequence.next_element::<IgnoredAny>()?;
            }
            sequence.next_element_seed(Walk(rest))?;
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<(), A::Error> {
        let way = self.0.split_first();
        while let Some(found) = mapping.next_key_seed(FindKey(way))? {
            match way {
                Some((_, rest)) if found => mapping.next_value_seed(Walk(rest))?,
                _ => {
                    mapping.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    // A path that does not exist ends at a scalar: no failure, so no position.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// Whether a key is the next step of the path; fails at the key if it is the last one.
struct FindKey<'p>(Option<(&'p Step, &'p [Step])>);

impl<'de> DeserializeSeed<'de> for FindKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FindKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match self.0 {
            Some((Step::Key(wanted), rest)) if wanted == key => {
                if rest.is_empty() {
                    Err(E::custom("here"))
                } else {
                    Ok(true)
                }
            }
            _ => Ok(false),
        }
    }
}

/// Fails at whatever it is given.
struct Stop;

impl Visitor<'_> for Stop {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of the path")
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
            assert_eq!(line_of(&text, &path), Some(line), "{path:?}");
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
