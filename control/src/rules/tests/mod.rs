//! Traffic expressions from text to verdict, against a naive evaluator.
#![allow(clippy::unwrap_used)]

mod documents;
mod errors;
mod flows;
mod published;
mod random;
