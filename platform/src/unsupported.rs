//! The honest answer of an operating system that has no implementation yet.

use std::io;

/// This operating system has no implementation of `what` yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not implemented on {}: use Linux, or the in-memory twin", std::env::consts::OS)]
pub struct Unsupported {
    /// The concern that is missing.
    pub what: &'static str,
}

impl From<Unsupported> for io::Error {
    fn from(error: Unsupported) -> Self {
        io::Error::new(io::ErrorKind::Unsupported, error)
    }
}
