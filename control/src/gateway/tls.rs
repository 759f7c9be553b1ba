//! TLS: the server's certificate (given, or made on first start), and the clients' that are asked for.

mod client;

use super::access::Authorities;
use super::files::{self, Directory};
use super::{GatewayError, Options};
use crate::api::pin::Pin;
use axum_server::tls_rustls::RustlsConfig;
use client::{Acceptor, asking_for};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use std::{path::Path, sync::Arc};
use vestibule_engine::masque::session::tls;
use vestibule_platform::carrier;

/// The server's certificate, and the TLS configuration that is in force.
pub(super) struct Tls {
    versions: ConfigBuilder<ServerConfig, WantsVerifier>,
    certificate: Arc<SingleCertAndKey>,
    live: RustlsConfig,
}

/// What else the certificate is for.
pub(super) struct Certificate {
    pub(super) pin: Pin,
    /// DER of SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
    /// Tunnels over MASQUE are served with it.
    pub(super) masque: Arc<ServerConfig>,
}

impl Tls {
    /// Reads or makes the certificate.
    pub(super) fn open(options: &Options, authorities: &Authorities) -> Result<(Self, Certificate), GatewayError> {
        let (certificate, key) = match &options.certificate {
            Some((certificate, key)) => (certificate.clone(), key.clone()),
            None => {
                let directory = Directory::open(options.data.join("tls"))?;
                let paths = (directory.path("cert.pem"), directory.path("key.pem"));
                if !paths.0.exists() || !paths.1.exists() {
                    make(options, &directory)?;
                }
                paths
            }
        };
        let chain = read_chain(&certificate)?;
        let first = chain.first().ok_or_else(|| GatewayError::Content {
            path: certificate.clone(),
            expected: "at least one certificate (PEM)".to_owned(),
        })?;
        let key = PrivateKeyDer::from_pem_slice(&files::read(&key)?).map_err(|error| GatewayError::Content {
            path: key.clone(),
            expected: format!("a private key (PEM), got: {error}"),
        })?;
        let (pin, public_key) = (Pin::of(first), tls::public_key(first)?);
        let masque = Arc::new(tls::server(tls::Identity { chain: chain.clone(), key: key.clone_key() })?);
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        let certificate = Arc::new(SingleCertAndKey::from(certified));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let live = RustlsConfig::from_config(config(versions.clone(), &certificate, authorities));
        Ok((Self { versions, certificate, live }, Certificate { pin, public_key, masque }))
    }

    /// From the next connection on callers are asked for certificates of these authorities; nobody is when there are none.
    pub(super) fn ask_for(&self, authorities: &Authorities) {
        self.live.reload_from_config(config(self.versions.clone(), &self.certificate, authorities));
    }

    /// Accepts connections by what is in force then; those of tunnels go to `tunnels`.
    pub(super) fn acceptor(&self, tunnels: Arc<carrier::Server>) -> Acceptor {
        Acceptor::new(self.live.clone(), tunnels)
    }
}

fn config(
    versions: ConfigBuilder<ServerConfig, WantsVerifier>,
    certificate: &Arc<SingleCertAndKey>,
    authorities: &Authorities,
) -> Arc<ServerConfig> {
    let mut config = versions
        .with_client_cert_verifier(Arc::new(asking_for(authorities)))
        .with_cert_resolver(Arc::clone(certificate) as Arc<_>);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, GatewayError> {
    CertificateDer::pem_slice_iter(&files::read(path)?).collect::<Result<_, _>>().map_err(|error| {
        GatewayError::Content { path: path.to_owned(), expected: format!("certificates (PEM), got: {error}") }
    })
}

fn make(options: &Options, directory: &Directory) -> Result<(), GatewayError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let addresses = [Some(options.https.ip()), options.advertise.map(|address| address.ip())];
    names.extend(addresses.into_iter().flatten().filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    let mut params = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("Vestibule gateway of {}", options.organization));
    params.distinguished_name = name;
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    // The key first: without a certificate the next start makes both again.
    directory.write("key.pem", zeroize::Zeroizing::new(pair.serialize_pem()).as_bytes())?;
    directory.write("cert.pem", made.pem().as_bytes())
}
