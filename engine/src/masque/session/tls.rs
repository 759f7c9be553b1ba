//! TLS 1.3 for MASQUE: which algorithms, whom a client believes, whom a gateway lets in.

use ::aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, ServerConfig, SignatureScheme, WantsVerifier,
};
use std::sync::Arc;

/// HTTP/3's name in ALPN.
const ALPN: &[u8] = b"h3";

/// A chain, the own certificate first, and its key.
#[derive(Debug)]
pub struct Identity {
    /// The chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// Whom a client takes for its gateway.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Who has a certificate of one of these authorities for the server's name.
    Authorities(Arc<RootCertStore>),
    /// Who has one of these keys (DER of SubjectPublicKeyInfo); names and dates do not matter.
    Keys(Vec<Vec<u8>>),
    /// Who has one of the keys of these names ([`key_id`]); names and dates do not matter.
    KeyIds(Vec<[u8; 32]>),
}

/// AES-GCM first where the machine computes it, 128 bits before 256 (a third less work); X25519MLKEM768 is the first key
/// exchange by rustls' own order.
#[must_use]
pub fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    let order: [CipherSuite; 3] = if has_aes() {
        [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ]
    } else {
        [
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
        ]
    };
    provider.cipher_suites.sort_by_key(|suite| order.iter().position(|wanted| *wanted == suite.suite()));
    provider
}

fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// A client's settings. Without an identity it shows no certificate.
///
/// # Errors
/// The identity's key does not fit its certificate.
pub fn client(trust: Trust, identity: Option<Identity>) -> Result<ClientConfig, Error> {
    client_with(provider(), trust, identity)
}

/// As [`client`], with other algorithms.
///
/// # Errors
/// As [`client`], or there is none for TLS 1.3.
pub fn client_with(provider: CryptoProvider, trust: Trust, identity: Option<Identity>) -> Result<ClientConfig, Error> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match trust {
        Trust::Authorities(roots) => builder.with_root_certificates(roots),
        Trust::Keys(keys) => believing(builder, move |key| keys.iter().any(|known| known == key)),
        Trust::KeyIds(ids) => believing(builder, move |key| ids.contains(&key_id(key))),
    };
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Every connection proves its keys anew (docs/decisions/0017).
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Believes a server by its key.
fn believing(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    believes: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let believed = Believed::new(move |certificate: &CertificateDer<'_>| Ok(believes(&public_key(certificate)?)));
    builder.dangerous().with_custom_certificate_verifier(Arc::new(believed))
}

/// A gateway's settings. Any certificate a client shows is taken: its key is what counts, and whether that key belongs
/// to a registration is judged above.
///
/// # Errors
/// The identity's key does not fit its certificate.
pub fn server(identity: Identity) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey::of_anybody()))
        .with_single_cert(identity.chain, identity.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // What quinn asks for: all or nothing. 0-RTT data is refused, for a packet may be replayed in it, and no session is
    // resumed, for a ticket is no proof of a key (docs/decisions/0017).
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The public key of a certificate, as DER of SubjectPublicKeyInfo.
///
/// # Errors
/// It is no certificate.
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    Ok(ParsedCertificate::try_from(certificate)?.subject_public_key_info().to_vec())
}

/// Names a public key: the SHA-256 of its DER of SubjectPublicKeyInfo.
#[must_use]
pub fn key_id(public_key: &[u8]) -> [u8; 32] {
    let mut id = [0; 32];
    id.copy_from_slice(digest::digest(&digest::SHA256, public_key).as_ref());
    id
}

/// Believes a server by its certificate alone, whatever names and dates it has. That the server has the certificate's key
/// is proved as always.
pub struct Believed<F> {
    believes: F,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<F: Fn(&CertificateDer<'_>) -> Result<bool, Error>> Believed<F> {
    /// Believes those for which `believes` holds.
    pub fn new(believes: F) -> Self {
        Self { believes, algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }
}

impl<F> std::fmt::Debug for Believed<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Believed").finish_non_exhaustive()
    }
}

/// That the other end has the key of its certificate: alike for servers and for clients.
macro_rules! proofs {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signed, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl<F: Fn(&CertificateDer<'_>) -> Result<bool, Error> + Send + Sync> ServerCertVerifier for Believed<F> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if (self.believes)(end_entity)? {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    proofs!();
}

/// Takes any certificate of a client that proves its key, or none; what it is worth is judged elsewhere.
#[derive(Debug)]
pub struct AnyKey {
    offered: bool,
    authorities: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyKey {
    /// Asks every client for a certificate.
    #[must_use]
    pub fn of_anybody() -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { offered: true, authorities: Vec::new(), algorithms }
    }

    /// Asks for certificates of these authorities, by whose names browsers choose; nobody when there are none.
    #[must_use]
    pub fn named_by(authorities: Vec<DistinguishedName>) -> Self {
        Self { offered: !authorities.is_empty(), authorities, ..Self::of_anybody() }
    }
}

impl ClientCertVerifier for AnyKey {
    fn offer_client_auth(&self) -> bool {
        self.offered
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        public_key(end_entity).map(|_| ClientCertVerified::assertion())
    }

    proofs!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::NamedGroup;

    #[test]
    fn the_hybrid_key_exchange_and_the_machines_cipher_come_first() {
        let provider = provider();
        assert_eq!(provider.kx_groups.first().map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
        let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
        let chacha = suites.iter().position(|suite| *suite == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        assert_eq!(suites.len(), 3);
        assert_eq!(chacha, Some(if has_aes() { 2 } else { 0 }));
    }
}
