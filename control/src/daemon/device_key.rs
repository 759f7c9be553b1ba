//! The device key: P-256, made on first start. Its public key's SHA-256 is the device id.

use crate::crypto::sha256;
use aws_lc_rs::{
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::fmt;
use zeroize::Zeroizing;

/// Signs for the device.
pub struct DeviceKey(EcdsaKeyPair);

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceKeyError {
    /// No key could be made, or it could not sign.
    #[error("the system's cryptography failed: expected a P-256 {0}, got an error")]
    Crypto(&'static str),
    /// What is stored is no key.
    #[error(
        "the stored device key is damaged: expected a P-256 key in PKCS #8 ({0}); restore it, or remove it to become a new device"
    )]
    Damaged(KeyRejected),
}

impl DeviceKey {
    /// A new key, and its PKCS #8 form to store.
    ///
    /// # Errors
    /// The system's random generator failed.
    pub fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), DeviceKeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|Unspecified| DeviceKeyError::Crypto("key"))?;
        let stored = Zeroizing::new(document.as_ref().to_vec());
        Ok((Self::restore(&stored)?, stored))
    }

    /// The key stored as PKCS #8.
    ///
    /// # Errors
    /// It is no P-256 key.
    pub fn restore(stored: &[u8]) -> Result<Self, DeviceKeyError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, stored).map(Self).map_err(DeviceKeyError::Damaged)
    }

    /// The public key: an uncompressed point, base64.
    #[must_use]
    pub fn public(&self) -> String {
        BASE64_STANDARD.encode(self.0.public_key().as_ref())
    }

    /// SHA-256 of the public key, hex.
    #[must_use]
    pub fn device_id(&self) -> String {
        hex::encode(sha256(self.0.public_key().as_ref()))
    }

    /// ECDSA over SHA-256 of `message`: 64 bytes, base64.
    ///
    /// # Errors
    /// The system's random generator failed.
    pub fn sign(&self, message: &[u8]) -> Result<String, DeviceKeyError> {
        let signature =
            self.0.sign(&SystemRandom::new(), message).map_err(|Unspecified| DeviceKeyError::Crypto("signature"))?;
        Ok(BASE64_STANDARD.encode(signature.as_ref()))
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.device_id())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    #[test]
    fn a_restored_key_is_the_same_device_and_its_signature_verifies() {
        let (key, stored) = DeviceKey::generate().unwrap();
        let again = DeviceKey::restore(&stored).unwrap();
        assert_eq!((key.device_id(), key.public()), (again.device_id(), again.public()));
        let signature = BASE64_STANDARD.decode(again.sign(b"message").unwrap()).unwrap();
        assert_eq!(signature.len(), 64);
        let public = BASE64_STANDARD.decode(key.public()).unwrap();
        assert_eq!(hex::encode(sha256(&public)), key.device_id());
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public);
        public.verify(b"message", &signature).unwrap();
        assert!(public.verify(b"another", &signature).is_err());
    }

    #[test]
    fn a_damaged_key_is_refused_with_what_to_do() {
        let (_, mut stored) = DeviceKey::generate().unwrap();
        stored.truncate(40);
        let error = DeviceKey::restore(&stored).unwrap_err().to_string();
        assert!(error.contains("PKCS #8") && error.contains("new device"), "{error}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let (key, stored) = DeviceKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(!stored.windows(16).any(|piece| shown.contains(&hex::encode(piece))));
    }
}
