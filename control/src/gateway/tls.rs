//! The HTTPS certificate: given, or made on first start.

use super::files::{self, Directory};
use super::{GatewayError, Options};
use crate::api::pin::Pin;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{path::Path, sync::Arc};
use vestibule_engine::masque::session::tls;

/// What the certificate is for.
pub(super) struct Tls {
    /// The API.
    pub(super) https: Arc<ServerConfig>,
    /// The certificate's pin.
    pub(super) pin: Pin,
    /// Tunnels over MASQUE.
    pub(super) masque: Arc<ServerConfig>,
    /// The certificate's key: DER of SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
}

/// The server's TLS configurations.
pub(super) fn server_config(options: &Options) -> Result<Tls, GatewayError> {
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
    let (pin, public_key) = (Pin::of(first), tls::public_key(first)?);
    let key = PrivateKeyDer::from_pem_slice(&files::read(&key)?).map_err(|error| GatewayError::Content {
        path: key.clone(),
        expected: format!("a private key (PEM), got: {error}"),
    })?;
    let masque = tls::server(tls::Identity { chain: chain.clone(), key: key.clone_key() })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { https: Arc::new(config), pin, masque: Arc::new(masque), public_key })
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
