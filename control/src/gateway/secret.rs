//! Secrets that are handed out once and kept as a hash.

use crate::crypto::{RandomError, random, sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// 64 hex digits: 256 random bits.
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    /// A new one.
    pub(super) fn new() -> Result<Self, RandomError> {
        let bytes = Zeroizing::new(random::<32>()?);
        Ok(Self(Zeroizing::new(hex::encode(bytes.as_slice()))))
    }

    /// What is stored.
    pub(super) fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }

    /// For the one answer that shows it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether `given` is the secret with this hash; takes the same time whatever is wrong with it.
pub(super) fn matches(given: &str, hash: &[u8; 32]) -> bool {
    sha256(given.as_bytes()).ct_eq(hash).into()
}

/// 32 hex digits: a public id in the vendor's form.
pub(super) fn id() -> Result<String, RandomError> {
    Ok(hex::encode(random::<16>()?))
}
