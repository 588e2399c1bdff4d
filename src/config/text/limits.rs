//! Every limit on the size of input and on how much of it is shown, with its reason.
//!
//! Limits of AWS and Kubernetes are with the names and keys that they apply to. The number of identities has no limit of its own: each
//! consists of values, and values are limited.
//!
//! | limit | value | beyond it |
//! |---|---|---|
//! | `LARGEST_MANIFEST` | 1,048,576 bytes | the manifest is refused, and read no further |
//! | `MOST_BRACKETS` | 256 brackets | the manifest is refused before it is parsed |
//! | `DEEPEST` | 64 levels | the manifest is refused |
//! | `MOST_NODES` | 100,000 values | the manifest is refused |
//! | `MOST_TEXT` | 4,194,304 bytes | the manifest is refused |
//! | `LONGEST_KEY` | 1,024 bytes | the manifest is refused |
//! | `LARGEST_POLICY_FILE` | 65,536 bytes | the policy file is refused |
//! | `MOST_POLICY_FILES` | 4,194,304 bytes | each further policy file is refused |
//! | `MOST_INSERTED` | 4,194,304 bytes | each further `${NAME}` is a problem |
//! | `LONGEST_DURATION` | 16 bytes | the text is no duration |
//! | `LONGEST_GUESSED` | 64 bytes | no known name is suggested instead |
//! | `MOST_PROBLEMS` | 100 problems | further ones are counted |
//! | `MOST_PROBLEM_TEXT` | 32,768 bytes | further problems are counted |
//! | `LONGEST_PROBLEM` | 1,024 characters | its end is cut off |
//! | `LONGEST_SYNTAX_PROBLEM` | 300 characters | its beginning is cut off |
//! | `LONGEST_FILE` | 256 characters | its end is cut off |
//! | `LONGEST_VALUE` | 128 characters | its end is cut off |
//! | `LONGEST_BARE_KEY` | 64 bytes | the key is shown in quotes, as a value |
//! | `PATH_BEGINNING` | 100 characters | the middle of a path is left out |
//! | `PATH_END` | 200 characters | the middle of a path is left out |

/// The largest manifest, in bytes. Nobody writes a larger one, and this much is easily held in memory.
pub(in crate::config) const LARGEST_MANIFEST: usize = 1 << 20;
/// The most open brackets, those in strings and comments included. The YAML parser's time grows with their square.
pub(in crate::config) const MOST_BRACKETS: usize = 4 * DEEPEST;
/// The deepest nesting of lists and mappings. Each level takes stack, and the YAML crate itself gives up at 128.
pub(in crate::config) const DEEPEST: usize = 64;
/// The most values after aliases are resolved. Aliases of aliases would fill the memory.
pub(in crate::config) const MOST_NODES: usize = 100_000;
/// The most bytes of strings and keys after aliases are resolved. Many aliases of one long string would fill the memory.
pub(in crate::config) const MOST_TEXT: usize = 4 << 20;
/// The longest key, in bytes. YAML has the same limit for a key on one line.
pub(in crate::config) const LONGEST_KEY: usize = 1024;
/// The largest file with a policy document, in bytes. IAM takes 10,240 characters, not counting white space.
pub(in crate::config) const LARGEST_POLICY_FILE: usize = 64 << 10;
/// The most bytes of all policy files together. A manifest could name one file ten thousand times, and fill the memory.
pub(in crate::config) const MOST_POLICY_FILES: usize = 4 << 20;
/// The most bytes that all variables together insert. One long variable in many places would fill the memory.
pub(in crate::config) const MOST_INSERTED: usize = 4 << 20;
/// The longest text of a duration, in bytes. Near the end of its range humantime panics.
pub(in crate::config) const LONGEST_DURATION: usize = 16;
/// The longest name that is compared with the known ones, in bytes. A longer one is no slip, and a comparison takes the product of both
/// lengths.
pub(in crate::config) const LONGEST_GUESSED: usize = 64;
/// The most problems that are kept and shown. Nobody reads more.
pub(in crate::config) const MOST_PROBLEMS: usize = 100;
/// The most bytes of all problems that are shown. They are read in the log of a job.
pub(in crate::config) const MOST_PROBLEM_TEXT: usize = 32 * 1024;
/// The most characters of one problem that are shown.
pub(in crate::config) const LONGEST_PROBLEM: usize = 1024;
/// The most characters of a syntax problem that are shown. Its end says what is wrong.
pub(in crate::config) const LONGEST_SYNTAX_PROBLEM: usize = 300;
/// The most characters of a manifest's path, or of an unknown variable's name, that are shown. They precede each problem.
pub(in crate::config) const LONGEST_FILE: usize = 256;
/// The most characters of a value that are shown in a message.
pub(in crate::config) const LONGEST_VALUE: usize = 128;
/// The longest key that is shown in a path without quotes, in bytes.
pub(in crate::config) const LONGEST_BARE_KEY: usize = 64;
/// How many characters of a long path's beginning are shown.
pub(in crate::config) const PATH_BEGINNING: usize = 100;
/// How many characters of a long path's end are shown. The key with the problem is there.
pub(in crate::config) const PATH_END: usize = 200;
