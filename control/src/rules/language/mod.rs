//! The vendor's expression language: text -> typed tree -> text.
//!
//! ```text
//! or     = xor { ("or" | "||") xor }
//! xor    = and { ("xor" | "^^") and }
//! and    = unit { ("and" | "&&") unit }
//! unit   = ("not" | "!") unit | "(" or ")" | ("any" | "all") "(" test ")" | test
//! test   = path operator value
//! path   = name { "[*]" | "[" string "]" | name }
//! value  = word | string | "{" { word | string } "}" | "$" word
//! string = "\"" ... "\"" | "r" "#"* "\"" ... "\"" "#"*
//! ```
//!
//! Columns in errors count characters from 1.

mod error;
mod lexer;
mod parser;
mod print;
mod selectors;
mod tree;
pub(super) mod values;

pub use error::RuleError;
pub(super) use parser::parse;
pub use selectors::Scope;
#[cfg(test)]
pub(super) use selectors::{ACTIONS, OPERATORS, REFUSED, SELECTORS};
pub(super) use tree::{Comparison, Expression, Field, Quantifier, Test};
