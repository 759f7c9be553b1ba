//! Systems whose TPM we do not use.

use super::{SigningError, SigningKey, SigningKeys};
use crate::Unsupported;

/// Keys in the machine's TPM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tpm;

impl SigningKeys for Tpm {
    fn create(&self, _: &str) -> Result<Box<dyn SigningKey>, SigningError> {
        Err(Unsupported { what: "keeping keys in a TPM" }.into())
    }

    fn open(&self, _: &str) -> Result<Option<Box<dyn SigningKey>>, SigningError> {
        Err(Unsupported { what: "keeping keys in a TPM" }.into())
    }
}
