//! What is wrong with an expression, and where.

use crate::causes::printable;

/// An expression that cannot be used. Columns count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The text does not continue as it must.
    #[error("column {column}: expected {expected}, got {}", printable(got))]
    Expected {
        /// Where.
        column: usize,
        /// What would have been right.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// The vendor's language has it, this gateway does not.
    #[error("column {column}: {} cannot be used here: {why}", printable(what))]
    Unsupported {
        /// Where.
        column: usize,
        /// The construct.
        what: String,
        /// Why not, and what to write.
        why: String,
    },
    /// A list that does not exist.
    #[error("column {column}: there is no list `{}`: create it under /gateway/lists first", printable(id))]
    UnknownList {
        /// Where.
        column: usize,
        /// The list's id.
        id: String,
    },
    /// A list of the wrong things.
    #[error("column {column}: `{selector}` is compared with lists of type {expected}, `{id}` is of type {got}")]
    WrongList {
        /// Where.
        column: usize,
        /// The list's id.
        id: String,
        /// The selector.
        selector: &'static str,
        /// The type that fits.
        expected: &'static str,
        /// The type it has.
        got: &'static str,
    },
    /// The expression has too many alternatives.
    #[error("the expression unfolds to more than {limit} alternatives: split it into several rules")]
    TooComplex {
        /// Most alternatives that a rule may have.
        limit: usize,
    },
    /// The expression asks too many things.
    #[error("column {column}: more than {limit} {what}: use sets, a list, or several rules")]
    TooMany {
        /// The first one too many.
        column: usize,
        /// Comparisons, or regular expressions.
        what: &'static str,
        /// Most of them in an expression.
        limit: usize,
    },
    /// The expression is too long.
    #[error("the expression has {got} bytes, at most {limit} are taken: use a list, or several rules")]
    TooLong {
        /// Its length.
        got: usize,
        /// Longest that is taken.
        limit: usize,
    },
}
