//! Certificates: our own, and whom we believe.

use crate::crypto::sha256;
use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem, pem::PemObject as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vestibule_engine::masque::session::tls::{Identity, Trust, public_key};
use zeroize::Zeroizing;

/// Why there is no certificate, or nobody to believe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No file.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// Something else in it.
    #[error("{}: expected {expected} in PEM", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
        /// What is wrong.
        #[source]
        cause: Option<pem::Error>,
    },
    /// A certificate of no use.
    #[error("the certificate or its key is of no use")]
    Tls(#[from] rustls::Error),
    /// None could be made.
    #[error("no certificate could be made")]
    Make(#[from] rcgen::Error),
    /// A key of another kind.
    #[error("the key is not of P-256, which this dialect wants")]
    Curve,
    /// The system has no authorities.
    #[error("this system has no certificates of authorities: name one by --ca, or the peer's key by --pin")]
    NoRoots,
}

/// Whom a client takes for its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// The authorities that this system believes.
    System,
    /// The authorities in a file.
    Authorities(PathBuf),
    /// Who has one of these keys: SHA-256 of their SubjectPublicKeyInfo. Names and dates do not matter.
    Keys(Vec<[u8; 32]>),
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let text = std::fs::read(path).map_err(|cause| IdentityError::Read { path: path.to_owned(), cause })?;
    Ok(Zeroizing::new(text))
}

fn read_certificates(path: &Path, expected: &'static str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let refuse = |cause| IdentityError::Pem { path: path.to_owned(), expected, cause };
    let chain = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|cause| refuse(Some(cause)))?;
    if chain.is_empty() { Err(refuse(None)) } else { Ok(chain) }
}

/// A certificate with those between it and its authority, and its key.
///
/// # Errors
/// One of the files is not there, or something else.
pub fn read_identity(certificate: &Path, key: &Path) -> Result<Identity, IdentityError> {
    let chain = read_certificates(certificate, "a certificate")?;
    let refuse = |cause| IdentityError::Pem { path: key.to_owned(), expected: "a private key", cause: Some(cause) };
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(refuse)?;
    Ok(Identity { chain, key })
}

/// A private key alone.
///
/// # Errors
/// The file is not there, or something else.
pub fn read_key(path: &Path) -> Result<KeyPair, IdentityError> {
    let text = read(path)?;
    let refuse = || IdentityError::Pem { path: path.to_owned(), expected: "a private key", cause: None };
    std::str::from_utf8(&text).ok().and_then(|text| KeyPair::from_pem(text).ok()).ok_or_else(refuse)
}

/// A certificate of its own, P-256, for `names`, of which nobody has heard.
///
/// # Errors
/// It could not be made.
pub fn self_made(names: Vec<String>) -> Result<Identity, IdentityError> {
    let pair = KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(names)?.self_signed(&pair)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    Ok(Identity { chain: vec![certificate.into()], key })
}

/// Names the key of a certificate: SHA-256 of its SubjectPublicKeyInfo.
///
/// # Errors
/// There is no certificate, or it is none.
pub fn key_id(identity: &Identity) -> Result<[u8; 32], IdentityError> {
    let certificate = identity.chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
    Ok(sha256(&public_key(certificate)?))
}

/// Reads the name of a key: 64 hex digits, colons between them allowed.
///
/// # Errors
/// It is none.
pub fn parse_key_id(text: &str) -> Result<[u8; 32], String> {
    let mut id = [0; 32];
    let read = hex::decode_to_slice(text.trim().replace(':', ""), &mut id);
    read.map(|()| id).map_err(|_| {
        "expected the SHA-256 of a public key (SubjectPublicKeyInfo), 64 hex digits, as `vestibule masque listen` prints it"
            .to_owned()
    })
}

/// Reads what is needed to believe a peer.
///
/// # Errors
/// There is nobody to believe.
pub fn trust(trusted: &Trusted) -> Result<Trust, IdentityError> {
    let mut roots = RootCertStore::empty();
    match trusted {
        Trusted::Keys(ids) => return Ok(Trust::KeyIds(ids.clone())),
        Trusted::Authorities(path) => {
            for certificate in read_certificates(path, "certificates of authorities")? {
                roots.add(certificate)?;
            }
        }
        Trusted::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(IdentityError::NoRoots);
            }
        }
    }
    Ok(Trust::Authorities(Arc::new(roots)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_of_keys() {
        let id = sha256(b"a key");
        let text = hex::encode(id);
        let colons = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>();
        assert_eq!(parse_key_id(&text), Ok(id));
        assert_eq!(parse_key_id(&colons.join(":")), Ok(id));
        for wrong in ["", &text[1..], "key"] {
            assert!(parse_key_id(wrong).unwrap_err().contains("64 hex digits"), "{wrong}");
        }
    }

    #[test]
    fn files_that_hold_something_else_are_told() {
        let directory = crate::gateway::testing::Directory::new("masque-identity");
        let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&pair).unwrap();
        std::fs::write(&certificate, made.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let identity = read_identity(&certificate, &key).unwrap();
        assert_eq!(key_id(&identity).unwrap(), sha256(&public_key(made.der()).unwrap()));
        assert!(matches!(trust(&Trusted::Authorities(certificate.clone())), Ok(Trust::Authorities(_))));

        let told = |error: IdentityError| crate::causes::chain(&error);
        assert!(told(read_identity(&key, &key).unwrap_err()).contains("expected a certificate in PEM"));
        assert!(told(read_identity(&certificate, &certificate).unwrap_err()).contains("expected a private key in PEM"));
        let nowhere = directory.path().join("nowhere");
        assert!(told(read_identity(&nowhere, &key).unwrap_err()).starts_with("cannot read "));
        assert!(trust(&Trusted::Authorities(key)).is_err());
    }

    #[test]
    fn a_self_made_certificate_has_a_key_of_its_own() {
        let made = || key_id(&self_made(vec!["localhost".to_owned()]).unwrap()).unwrap();
        assert_ne!(made(), made());
    }
}
