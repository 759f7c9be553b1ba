//! Systems whose secret store is not written yet.

use super::{SecretError, Secrets};
use crate::Unsupported;
use std::{convert::Infallible, path::Path};
use zeroize::Zeroizing;

/// Secrets in files. There is no such store on this system yet, so no value of this type exists.
#[derive(Debug)]
pub struct FileStore(Infallible);

impl FileStore {
    /// Opens the store.
    ///
    /// # Errors
    /// Always [`SecretError::Unsupported`] on this system.
    pub fn open(_directory: &Path) -> Result<Self, SecretError> {
        Err(Unsupported { what: "the secret store" }.into())
    }
}

impl Secrets for FileStore {
    fn get(&self, _name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
        match self.0 {}
    }

    fn put(&self, _name: &str, _secret: &[u8]) -> Result<(), SecretError> {
        match self.0 {}
    }

    fn remove(&self, _name: &str) -> Result<bool, SecretError> {
        match self.0 {}
    }
}
