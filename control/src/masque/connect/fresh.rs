//! A certificate over a key that is known beforehand, made anew before it gets old: where the key counts and names do not,
//! certificates may be as short-lived as WARP's edge wants them.

use crate::masque::identity::IdentityError;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// How long a certificate is valid.
const VALID: Duration = Duration::from_secs(24 * 3600);
/// How long before now it begins, for clocks that are behind.
const BEFORE: Duration = Duration::from_secs(3600);
/// A certificate is shown for so long.
const SHOWN: Duration = Duration::from_secs(12 * 3600);

/// A P-256 key, and the newest certificate over it.
pub struct FreshIdentity {
    pair: KeyPair,
    key: Arc<dyn SigningKey>,
    newest: Mutex<(Instant, Arc<CertifiedKey>)>,
}

impl FreshIdentity {
    /// Takes a key.
    ///
    /// # Errors
    /// It is not of P-256.
    pub fn new(pair: KeyPair) -> Result<Self, IdentityError> {
        if !pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(IdentityError::Curve);
        }
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = any_ecdsa_type(&der)?;
        let newest = Mutex::new((Instant::now(), certify(&pair, &key)?));
        Ok(Self { pair, key, newest })
    }

    /// The certificate to show at this time.
    fn certificate(&self, now: Instant) -> Arc<CertifiedKey> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(newest.0) >= SHOWN {
            match certify(&self.pair, &self.key) {
                Ok(made) => *newest = (now, made),
                Err(error) => tracing::warn!(%error, "the old certificate is shown again"),
            }
        }
        Arc::clone(&newest.1)
    }
}

fn certify(pair: &KeyPair, key: &Arc<dyn SigningKey>) -> Result<Arc<CertifiedKey>, rcgen::Error> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (now - BEFORE, now - BEFORE + VALID);
    let certificate = params.self_signed(pair)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], Arc::clone(key))))
}

impl ResolvesClientCert for FreshIdentity {
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        schemes.contains(&SignatureScheme::ECDSA_NISTP256_SHA256).then(|| self.certificate(Instant::now()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for FreshIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreshIdentity")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_certificate_is_a_day_s_and_another_follows_it() {
        let fresh = FreshIdentity::new(KeyPair::generate().unwrap()).unwrap();
        let now = Instant::now();
        let first = fresh.certificate(now);
        let (_, parsed) = x509_parser::parse_x509_certificate(&first.cert[0]).unwrap();
        let validity = parsed.validity();
        assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 24 * 3600);
        assert!(validity.is_valid());
        assert!(Arc::ptr_eq(&first, &fresh.certificate(now + SHOWN / 2)));
        assert!(!Arc::ptr_eq(&first, &fresh.certificate(now + SHOWN)));
        assert_eq!(format!("{fresh:?}"), "FreshIdentity");
    }

    #[test]
    fn keys_of_other_curves_are_refused() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(matches!(FreshIdentity::new(pair), Err(IdentityError::Curve)));
    }
}
