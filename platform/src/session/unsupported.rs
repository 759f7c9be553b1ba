//! Systems without local sockets of the kind the script needs.

use super::{SessionError, SessionSource, Watch};
use crate::Unsupported;
use std::{convert::Infallible, path::Path};

/// Sessions told by lines on a local socket. There is none on this system yet, so no value of this type exists.
#[derive(Debug)]
pub struct Scripted(Infallible);

impl Scripted {
    /// Listens.
    ///
    /// # Errors
    /// Always [`SessionError::Unsupported`] on this system.
    pub fn listen(_socket: &Path) -> Result<Self, SessionError> {
        Err(Unsupported { what: "the scripted session source" }.into())
    }
}

impl SessionSource for Scripted {
    fn watch(&self) -> Result<Watch, SessionError> {
        match self.0 {}
    }
}
