//! The device key: P-256, made on first start. Its public key's SHA-256 is the device id.

use crate::{
    causes::chain,
    crypto::{random, sha256},
};
use aws_lc_rs::{
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use vestibule_platform::signing::{PUBLIC, SIGNATURE, SigningError, SigningKey, SigningKeys};
use zeroize::Zeroizing;

/// Signs for the device.
pub struct DeviceKey {
    signer: Arc<dyn SigningKey>,
    kept: KeyView,
}

/// Where the device key is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// `tpm`: it cannot leave the machine. `file`: in the state directory.
    pub keeper: Keeper,
    /// Why it is not in a TPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What keeps a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeper {
    /// The machine's TPM.
    Tpm,
    /// A file that the service alone reads.
    File,
}

/// What is stored of a key in a TPM.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    /// Its name there.
    tpm: String,
    /// Its public half, base64: another key under that name is another device's.
    public: String,
}

/// A key in our own memory.
struct Software(EcdsaKeyPair);

impl SigningKey for Software {
    fn public(&self) -> [u8; PUBLIC] {
        // Of an uncompressed point of this curve there are always that many.
        self.0.public_key().as_ref().try_into().unwrap_or([0; PUBLIC])
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE], SigningError> {
        let failed = || SigningError::System { action: "sign", cause: std::io::Error::other("no randomness") };
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|Unspecified| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }
}

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
    /// The TPM was cleared, or the disk is in another machine.
    #[error(
        "the TPM of this machine does not have the device key `{name}`: it was cleared, or the state directory is another \
         machine's; remove `device-key` from the state directory to become a new device"
    )]
    Gone {
        /// Its name there.
        name: String,
    },
    /// The key's keeper failed.
    #[error("the device key cannot be used")]
    Keeper(#[from] SigningError),
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

    /// A new key, in `tpm` if that works, and what to store of it.
    ///
    /// # Errors
    /// As [`Self::generate`]: a TPM that does not work is none.
    pub fn generate_in(tpm: &dyn SigningKeys) -> Result<(Self, Zeroizing<Vec<u8>>), DeviceKeyError> {
        let name =
            format!("Vestibule device {}", hex::encode(random::<8>().map_err(|_| DeviceKeyError::Crypto("name"))?));
        match tpm.create(&name) {
            Ok(signer) => {
                let public = BASE64_STANDARD.encode(signer.public());
                let stored = serde_json::to_vec(&Reference { tpm: name, public });
                let stored = stored.map_err(|_| DeviceKeyError::Crypto("reference"))?;
                let kept = KeyView { keeper: Keeper::Tpm, reason: None };
                Ok((Self { signer: signer.into(), kept }, Zeroizing::new(stored)))
            }
            Err(error) => {
                let (mut key, stored) = Self::generate()?;
                key.kept.reason = Some(chain(&error));
                Ok((key, stored))
            }
        }
    }

    /// The key stored as PKCS #8.
    ///
    /// # Errors
    /// It is no P-256 key.
    pub fn restore(stored: &[u8]) -> Result<Self, DeviceKeyError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, stored).map_err(DeviceKeyError::Damaged)?;
        let reason = Some("it was made as a file, and a key cannot move into a TPM".to_owned());
        Ok(Self { signer: Arc::new(Software(pair)), kept: KeyView { keeper: Keeper::File, reason } })
    }

    /// The key of which `stored` was stored: itself, or its name in `tpm`.
    ///
    /// # Errors
    /// It is no P-256 key, or the TPM does not have it any more.
    pub fn restore_from(stored: &[u8], tpm: &dyn SigningKeys) -> Result<Self, DeviceKeyError> {
        // PKCS #8 begins with the byte 0x30.
        let Ok(Reference { tpm: name, public }) = serde_json::from_slice(stored) else { return Self::restore(stored) };
        match tpm.open(&name)? {
            Some(signer) if BASE64_STANDARD.encode(signer.public()) == public => {
                Ok(Self { signer: signer.into(), kept: KeyView { keeper: Keeper::Tpm, reason: None } })
            }
            _ => Err(DeviceKeyError::Gone { name }),
        }
    }

    /// Where it is kept.
    #[must_use]
    pub fn kept(&self) -> &KeyView {
        &self.kept
    }

    /// The public key: an uncompressed point, base64.
    #[must_use]
    pub fn public(&self) -> String {
        BASE64_STANDARD.encode(self.signer.public())
    }

    /// SHA-256 of the public key, hex.
    #[must_use]
    pub fn device_id(&self) -> String {
        hex::encode(sha256(&self.signer.public()))
    }

    /// ECDSA over SHA-256 of `message`: 64 bytes, base64. A TPM takes some tenths of a second, in which the calling thread
    /// does other things.
    ///
    /// # Errors
    /// The key's keeper, or the system's random generator, failed.
    pub async fn sign(&self, message: &[u8]) -> Result<String, DeviceKeyError> {
        let signature = match self.kept.keeper {
            Keeper::File => self.signer.sign(message)?,
            Keeper::Tpm => {
                let (signer, message) = (Arc::clone(&self.signer), message.to_vec());
                let signed = tokio::task::spawn_blocking(move || signer.sign(&message)).await;
                signed.map_err(|_| DeviceKeyError::Crypto("signature"))??
            }
        };
        Ok(BASE64_STANDARD.encode(signature))
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
    use std::{
        sync::{Mutex, mpsc},
        time::Duration,
    };
    use vestibule_platform::signing::memory::MemoryKeys;

    #[tokio::test]
    async fn a_restored_key_is_the_same_device_and_its_signature_verifies() {
        let (key, stored) = DeviceKey::generate().unwrap();
        let again = DeviceKey::restore(&stored).unwrap();
        assert_eq!((key.device_id(), key.public()), (again.device_id(), again.public()));
        let signature = BASE64_STANDARD.decode(again.sign(b"message").await.unwrap()).unwrap();
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

    fn software() -> Arc<dyn SigningKey> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        Arc::new(Software(pair))
    }

    #[tokio::test]
    async fn a_key_in_a_tpm_is_stored_by_name_and_is_the_same_device_after_a_start() {
        let tpm = MemoryKeys::new(Some(software));
        let (key, stored) = DeviceKey::generate_in(&tpm).unwrap();
        assert_eq!(key.kept(), &KeyView { keeper: Keeper::Tpm, reason: None });
        let again = DeviceKey::restore_from(&stored, &tpm).unwrap();
        assert_eq!((again.device_id(), again.kept()), (key.device_id(), key.kept()));
        let signature = BASE64_STANDARD.decode(again.sign(b"message").await.unwrap()).unwrap();
        let public = BASE64_STANDARD.decode(key.public()).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public).verify(b"message", &signature).unwrap();
        tpm.clear();
        let error = DeviceKey::restore_from(&stored, &tpm).unwrap_err().to_string();
        assert!(error.contains("cleared") && error.contains("new device"), "{error}");
    }

    #[test]
    fn without_a_tpm_the_key_is_a_file_and_it_is_told_why() {
        let broken = MemoryKeys::new(None);
        let (key, stored) = DeviceKey::generate_in(&broken).unwrap();
        assert_eq!(key.kept().keeper, Keeper::File);
        assert!(key.kept().reason.as_ref().unwrap().contains("out of order"), "{:?}", key.kept());
        // A TPM that works later is not asked for a key that is a file.
        let later = DeviceKey::restore_from(&stored, &MemoryKeys::new(Some(software))).unwrap();
        assert_eq!((later.device_id(), later.kept().keeper), (key.device_id(), Keeper::File));
        // A TPM that does not answer at a start is not taken for one that was cleared.
        let (_, stored) = DeviceKey::generate_in(&MemoryKeys::new(Some(software))).unwrap();
        assert!(matches!(DeviceKey::restore_from(&stored, &broken), Err(DeviceKeyError::Keeper(_))));
    }

    /// Signs once it is told that others have run meanwhile.
    struct Slow(Mutex<mpsc::Receiver<()>>);

    impl SigningKey for Slow {
        fn public(&self) -> [u8; PUBLIC] {
            [4; PUBLIC]
        }

        fn sign(&self, _: &[u8]) -> Result<[u8; SIGNATURE], SigningError> {
            let waited = self.0.lock().unwrap().recv_timeout(Duration::from_secs(20));
            waited.map_err(|error| SigningError::System { action: "wait", cause: std::io::Error::other(error) })?;
            Ok([7; SIGNATURE])
        }
    }

    #[tokio::test]
    async fn a_slow_tpm_holds_nobody_up() {
        let (told, heard) = mpsc::channel();
        let signer = Arc::new(Slow(Mutex::new(heard)));
        let key = DeviceKey { signer, kept: KeyView { keeper: Keeper::Tpm, reason: None } };
        // One thread runs both.
        let (signature, ()) = tokio::join!(key.sign(b"message"), async { told.send(()).unwrap() });
        assert_eq!(signature.unwrap(), BASE64_STANDARD.encode([7; SIGNATURE]));
    }

    #[test]
    fn debug_shows_no_secret() {
        let (key, stored) = DeviceKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(!stored.windows(16).any(|piece| shown.contains(&hex::encode(piece))));
    }
}
