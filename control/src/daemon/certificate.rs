//! The device's client certificate: a file that the administrator deploys, read anew for every enrolment.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _};
use std::{io, path::Path};
use zeroize::Zeroizing;

/// Its name in the state directory.
pub(super) const FILE: &str = "client.pem";

/// A certificate with those that lead to its authority, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error("expected the certificate, those between it and its authority, and its private key, all in PEM")]
    Pem(#[from] pem::Error),
    #[error("expected a certificate in it, found none")]
    Empty,
}

/// Reads it; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Identity>, CertificateError> {
    let text = match std::fs::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() {
        return Err(CertificateError::Empty);
    }
    Ok(Some((chain, PrivateKeyDer::from_pem_slice(&text)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::testing::Directory;

    #[test]
    fn a_file_has_a_certificate_and_its_key_or_is_not_there() {
        let directory = Directory::new("client-certificate");
        let path = directory.path().join(FILE);
        assert!(read(&path).unwrap().is_none());
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let write = |text: String| std::fs::write(&path, text).unwrap();
        write(format!("{}{}", certificate.pem(), key.serialize_pem()));
        assert_eq!(read(&path).unwrap().unwrap().0, [certificate.der().clone()]);
        write(certificate.pem());
        assert!(matches!(read(&path), Err(CertificateError::Pem(_))));
        write(key.serialize_pem());
        assert!(matches!(read(&path), Err(CertificateError::Empty)));
    }
}
