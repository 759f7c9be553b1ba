//! Systems without logind.

use super::{SessionError, SessionSource, Watch};
use crate::Unsupported;
use std::convert::Infallible;

/// Sessions told by logind. There is none on this system, so no value of this type exists.
#[derive(Debug)]
pub struct Logind(Infallible);

impl Logind {
    /// Whether this system is run by systemd with logind.
    #[must_use]
    pub fn present() -> bool {
        false
    }

    /// Follows logind.
    ///
    /// # Errors
    /// Always [`SessionError::Unsupported`] on this system.
    pub fn connect() -> Result<Self, SessionError> {
        Err(Unsupported { what: "logind, which Linux alone has" }.into())
    }
}

impl SessionSource for Logind {
    fn watch(&self) -> Result<Watch, SessionError> {
        match self.0 {}
    }
}
