//! From YAML text to typed values, with the line of each: everything in `config` that knows no key of the manifest.
//!
//! `yaml.rs` parses the text once, into nodes that know their lines (`node.rs`). `interpolation.rs` inserts `${NAME}`. `reader.rs` turns
//! nodes into typed values; `pieces.rs` and `duration.rs` say what simple ones mean. `problems.rs` collects problems. `limits.rs` has
//! every size limit. Nothing here uses the rest of `config`.

pub(super) mod duration;
pub(super) mod interpolation;
pub(super) mod json;
pub(super) mod limits;
pub(super) mod node;
pub(super) mod pieces;
pub(super) mod problems;
pub(super) mod reader;
pub(super) mod yaml;
