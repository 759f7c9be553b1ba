//! Windows' key storage (CNG): the platform crypto provider, whose keys are in the TPM.
#![allow(unsafe_code, reason = "the key storage's own functions")]

use super::{PUBLIC, SIGNATURE, SigningError, SigningKey, SigningKeys};
use crate::win32::wide;
use std::{
    io,
    ptr::{null, null_mut},
};
use windows_sys::{
    Win32::{
        Foundation::{NTE_BAD_KEYSET, NTE_NOT_FOUND},
        Security::Cryptography::{
            BCRYPT_ECCPUBLIC_BLOB, BCRYPT_ECDSA_P256_ALGORITHM, BCRYPT_SHA256_ALG_HANDLE, BCryptHash,
            MS_PLATFORM_CRYPTO_PROVIDER, NCRYPT_FLAGS, NCRYPT_KEY_HANDLE, NCRYPT_MACHINE_KEY_FLAG, NCRYPT_SILENT_FLAG,
            NCryptCreatePersistedKey, NCryptExportKey, NCryptFinalizeKey, NCryptFreeObject, NCryptOpenKey,
            NCryptOpenStorageProvider, NCryptSignHash,
        },
    },
    core::PCWSTR,
};

/// `BCRYPT_ECCKEY_BLOB`: a magic number and the length of a coordinate.
const HEADER: usize = 8;

/// Keys in the machine's TPM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tpm;

impl SigningKeys for Tpm {
    fn create(&self, name: &str) -> Result<Box<dyn SigningKey>, SigningError> {
        Ok(Box::new(Key::create(MS_PLATFORM_CRYPTO_PROVIDER, name, NCRYPT_MACHINE_KEY_FLAG)?))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn SigningKey>>, SigningError> {
        let key = Key::open(MS_PLATFORM_CRYPTO_PROVIDER, name, NCRYPT_MACHINE_KEY_FLAG)?;
        Ok(key.map(|key| Box::new(key) as Box<dyn SigningKey>))
    }
}

/// Something of the key storage that is open: a provider, or a key.
struct Handle(usize);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this owns the handle, which is open. A failure leaves nothing to be done.
        unsafe { NCryptFreeObject(self.0) };
    }
}

/// A key of a provider.
struct Key {
    // Freed before its provider.
    key: Handle,
    _provider: Handle,
    public: [u8; PUBLIC],
}

impl Key {
    fn create(provider: PCWSTR, name: &str, flags: NCRYPT_FLAGS) -> Result<Self, SigningError> {
        let provider = open_provider(provider)?;
        let (name, mut key): (_, NCRYPT_KEY_HANDLE) = (wide(name), 0);
        // SAFETY: the provider is open; both texts end with a zero and outlive the call, which writes one handle.
        checked("make a key", unsafe {
            NCryptCreatePersistedKey(
                provider.0,
                &raw mut key,
                BCRYPT_ECDSA_P256_ALGORITHM,
                name.as_ptr(),
                0,
                flags | NCRYPT_SILENT_FLAG,
            )
        })?;
        let key = Handle(key);
        // SAFETY: the key is open. Only now it is stored.
        checked("make a key", unsafe { NCryptFinalizeKey(key.0, NCRYPT_SILENT_FLAG) })?;
        Self::of(provider, key)
    }

    fn open(provider: PCWSTR, name: &str, flags: NCRYPT_FLAGS) -> Result<Option<Self>, SigningError> {
        let provider = open_provider(provider)?;
        let (name, mut key): (_, NCRYPT_KEY_HANDLE) = (wide(name), 0);
        // SAFETY: as in `create`.
        let outcome = unsafe { NCryptOpenKey(provider.0, &raw mut key, name.as_ptr(), 0, flags | NCRYPT_SILENT_FLAG) };
        if outcome == NTE_BAD_KEYSET || outcome == NTE_NOT_FOUND {
            return Ok(None);
        }
        checked("find a key", outcome)?;
        Self::of(provider, Handle(key)).map(Some)
    }

    fn of(provider: Handle, key: Handle) -> Result<Self, SigningError> {
        let (mut blob, mut length) = ([0; HEADER + PUBLIC - 1], 0);
        // SAFETY: the key is open; no other key wraps this one; the buffer has the length that the call is told.
        checked("show a public key", unsafe {
            NCryptExportKey(
                key.0,
                0,
                BCRYPT_ECCPUBLIC_BLOB,
                null(),
                blob.as_mut_ptr(),
                blob.len() as u32,
                &raw mut length,
                NCRYPT_SILENT_FLAG,
            )
        })?;
        expect("a public key", blob.len(), length)?;
        let mut public = [4; PUBLIC];
        public[1..].copy_from_slice(&blob[HEADER..]);
        Ok(Self { key, _provider: provider, public })
    }
}

impl SigningKey for Key {
    fn public(&self) -> [u8; PUBLIC] {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE], SigningError> {
        let mut digest = [0_u8; 32];
        // SAFETY: the algorithm's handle is a constant that needs no opening; no secret; the message is only read; the
        // buffer has the length that the call is told.
        let hashed = unsafe {
            BCryptHash(
                BCRYPT_SHA256_ALG_HANDLE,
                null_mut(),
                0,
                message.as_ptr(),
                message.len() as u32,
                digest.as_mut_ptr(),
                digest.len() as u32,
            )
        };
        checked("hash a message", hashed)?;
        let (mut signature, mut length) = ([0; SIGNATURE], 0);
        // SAFETY: the key is open; ECDSA has no padding to tell of; both buffers have the lengths that the call is told.
        checked("sign", unsafe {
            NCryptSignHash(
                self.key.0,
                null(),
                digest.as_ptr(),
                digest.len() as u32,
                signature.as_mut_ptr(),
                signature.len() as u32,
                &raw mut length,
                NCRYPT_SILENT_FLAG,
            )
        })?;
        expect("a signature", SIGNATURE, length)?;
        Ok(signature)
    }
}

fn open_provider(name: PCWSTR) -> Result<Handle, SigningError> {
    let mut provider = 0;
    // SAFETY: the name is a constant that ends with a zero; the call writes one handle.
    checked("be opened", unsafe { NCryptOpenStorageProvider(&raw mut provider, name, 0) })?;
    Ok(Handle(provider))
}

fn checked(action: &'static str, outcome: i32) -> Result<(), SigningError> {
    if outcome >= 0 {
        return Ok(());
    }
    Err(SigningError::System { action, cause: io::Error::from_raw_os_error(outcome) })
}

fn expect(what: &'static str, expected: usize, got: u32) -> Result<(), SigningError> {
    let got = got as usize;
    if got == expected { Ok(()) } else { Err(SigningError::Form { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use windows_sys::Win32::Security::Cryptography::{MS_KEY_STORAGE_PROVIDER, NCryptDeleteKey};

    /// The software provider has the same calls; a TPM is not everywhere.
    #[test]
    fn a_key_is_made_found_again_and_signs() {
        let name = format!("Vestibule test {}", std::process::id());
        let made = match Key::create(MS_KEY_STORAGE_PROVIDER, &name, 0) {
            Ok(made) => made,
            Err(error) if crate::late::is_wine() => {
                println!("skipped: no P-256 keys in Wine's key storage ({error:?})");
                return;
            }
            Err(error) => panic!("{error:?}"),
        };
        let found = Key::open(MS_KEY_STORAGE_PROVIDER, &name, 0).unwrap().unwrap();
        assert_eq!(made.public(), found.public());
        assert_eq!(found.public()[0], 4);
        let signature = found.sign(b"message").unwrap();
        let algorithm = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let ecdsa =
            algorithm.mapping.iter().find(|(scheme, _)| *scheme == rustls::SignatureScheme::ECDSA_NISTP256_SHA256);
        let ecdsa = ecdsa.unwrap().1[0];
        ecdsa.verify_signature(&found.public(), b"message", &der(&signature)).unwrap();
        assert!(ecdsa.verify_signature(&found.public(), b"another", &der(&signature)).is_err());
        // SAFETY: the key is open; deleting frees the handle, which is not freed again.
        unsafe { NCryptDeleteKey(made.key.0, 0) };
        std::mem::forget(made.key);
        drop(found);
        assert!(Key::open(MS_KEY_STORAGE_PROVIDER, &name, 0).unwrap().is_none());
    }

    /// The two numbers of a signature in DER, as rustls takes them.
    fn der(signature: &[u8]) -> Vec<u8> {
        let number = |bytes: &[u8]| {
            let skipped = bytes.iter().take_while(|byte| **byte == 0).count().min(31);
            let mut digits = bytes[skipped..].to_vec();
            if digits[0] >= 0x80 {
                digits.insert(0, 0);
            }
            [vec![2, digits.len() as u8], digits].concat()
        };
        let both = [number(&signature[..32]), number(&signature[32..])].concat();
        [vec![0x30, both.len() as u8], both].concat()
    }
}
