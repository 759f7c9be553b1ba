//! What is wrong with a configuration file: where, what was expected, what to do.

use crate::causes::printable;
use std::fmt;

/// Characters of a key that are shown. The longest that means something has 50.
const LONGEST_KEY: usize = 120;

/// Why a file was refused. Nothing of it is used then. Never contains a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.located())]
pub struct MdmError {
    /// The file, as the caller named it.
    pub file: String,
    /// Counted from 1; `None` when it concerns the whole file.
    pub line: Option<usize>,
    /// Path of the key, e.g. `configs[2].auto_connect`; empty when it concerns no key.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

impl MdmError {
    fn located(&self) -> String {
        located(&self.file, self.line, &self.key, &self.problem)
    }
}

fn located(file: &str, line: Option<usize>, key: &str, what: &dyn fmt::Display) -> String {
    let mut text = file.to_owned();
    if let Some(line) = line {
        text.push_str(&format!(": line {line}"));
    }
    if !key.is_empty() {
        let shown: String = key.chars().take(LONGEST_KEY).collect();
        let rest = if shown.len() < key.len() { "..." } else { "" };
        text.push_str(&format!(": `{shown}{rest}`"));
    }
    printable(&format!("{text}: {what}"))
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// More than [`MAX_BYTES`](super::MAX_BYTES).
    #[error("the file is larger than {limit} bytes ({got} read): this is not an MDM file, replace it")]
    TooLarge {
        /// Bytes that were read.
        got: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// Nothing but white space.
    #[error("the file is empty: expected a <dict>; remove the file to run without a configuration")]
    Empty,
    /// Neither UTF-8 nor UTF-16.
    #[error("the text is neither UTF-8 nor UTF-16: save it as UTF-8")]
    NotText,
    /// Not well-formed.
    #[error("not well-formed XML: {what}")]
    NotXml {
        /// Where it fails.
        what: String,
    },
    /// Ends inside an element.
    #[error("the file ends inside <{element}> of line {opened}: it is half-written, write it again as a whole")]
    HalfWritten {
        /// The innermost open element.
        element: String,
        /// Its line.
        opened: usize,
    },
    /// A bomb, or a mistake.
    #[error("elements are nested more than {limit} deep: an MDM file needs 4")]
    TooDeep {
        /// How deep is allowed.
        limit: usize,
    },
    /// Something stands where it must not.
    #[error("expected {expected}, got {got}")]
    Unexpected {
        /// What may stand there.
        expected: &'static str,
        /// What does.
        got: String,
    },
    /// `&name;` beyond the five of XML, or a DOCTYPE that declares some.
    #[error("{what}: entities are never expanded; write the text itself, `&amp;` for `&`, `&lt;` for `<`")]
    Entity {
        /// Which.
        what: String,
    },
    /// The same key twice in a dict.
    #[error("the key is already on line {first}: keep one of them")]
    Duplicate {
        /// Line of the first one.
        first: usize,
    },
    /// A value of another type.
    #[error("expected {expected}, got {got}")]
    WrongType {
        /// Type that belongs there.
        expected: &'static str,
        /// Type that is there.
        got: &'static str,
    },
    /// A value that is not one of the allowed ones.
    #[error("expected {expected}, got `{got}`")]
    WrongValue {
        /// What is allowed.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Present but empty.
    #[error("the value is empty: expected {expected}, or remove the key")]
    EmptyValue {
        /// What belongs there.
        expected: &'static str,
    },
    /// Longer than anything that is meant.
    #[error("the value has {got} bytes: at most {limit} are allowed")]
    TooLong {
        /// How many there are.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A key that must be there.
    #[error("the key is missing: {why}")]
    Missing {
        /// Because of what.
        why: String,
    },
    /// More than 25.
    #[error("{got} organisations: at most {limit} are allowed")]
    TooMany {
        /// How many there are.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
}

/// Something that is odd but does no harm: the file is used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MdmWarning {
    /// The file, as the caller named it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Path of the key.
    pub key: String,
    /// What is odd, and what to do.
    pub message: String,
}

impl fmt::Display for MdmWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&located(&self.file, Some(self.line), &self.key, &self.message))
    }
}
