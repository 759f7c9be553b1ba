//! Keys that sign and never leave where they were made: in the machine's TPM, by Windows' platform crypto provider.
//!
//! All are ECDSA over P-256 with SHA-256. [`memory`] is the twin, which keeps any kind of key by name. Linux has no
//! implementation: its keys are files.

#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "unsupported.rs")]
mod imp;
pub mod memory;

pub use imp::Tpm;

use std::io;

/// An uncompressed point: 4, X, Y.
pub const PUBLIC: usize = 65;
/// r and s, 32 bytes each.
pub const SIGNATURE: usize = 64;

/// A key that signs.
pub trait SigningKey: Send + Sync {
    /// Its public half.
    fn public(&self) -> [u8; PUBLIC];

    /// Signs SHA-256 of `message`.
    ///
    /// # Errors
    /// The key's keeper failed.
    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE], SigningError>;
}

/// Keeps keys by name.
pub trait SigningKeys: Send + Sync {
    /// Makes a key.
    ///
    /// # Errors
    /// There is no such keeper here, or it failed; a key of that name is there.
    fn create(&self, name: &str) -> Result<Box<dyn SigningKey>, SigningError>;

    /// The key called `name`; `None` when there is none.
    ///
    /// # Errors
    /// There is no such keeper here, or it failed.
    fn open(&self, name: &str) -> Result<Option<Box<dyn SigningKey>>, SigningError>;
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The keeper failed.
    #[error("the keeper of keys cannot {action}: is there a TPM 2.0, and is it on and ready?")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// It did something else than it should.
    #[error("the keeper of keys gave {got} bytes: expected {expected} for {what}")]
    Form {
        /// Of what.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}
