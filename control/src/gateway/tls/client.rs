//! Client certificates in the handshake: asked for, never demanded. What one is worth is decided where it is asked for,
//! by the authorities of that moment ([`crate::gateway::access::Authorities::judge`]); here its key alone is proved.

use crate::gateway::access::{Authorities, Presented};
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::future::Future;
use std::io;
use std::pin::Pin;
use tokio::net::TcpStream;

/// Takes whatever certificate comes, or none.
#[derive(Debug)]
pub(super) struct AskForCertificate {
    /// The authorities' names, by which browsers choose.
    names: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AskForCertificate {
    /// Asks for certificates of these; for none when there are none.
    pub(super) fn new(authorities: &Authorities) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.certificates().cloned());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { names: roots.subjects(), algorithms }
    }
}

impl ClientCertVerifier for AskForCertificate {
    fn offer_client_auth(&self) -> bool {
        !self.names.is_empty()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // A call with a certificate that does not count goes on without one; only what is none at all ends here.
        ParsedCertificate::try_from(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Accepts TLS connections; their calls know where they come from ([`ConnectInfo`]) and what was presented
/// ([`Presented`]).
#[derive(Clone, Debug)]
pub(in super::super) struct Acceptor(RustlsAcceptor);

impl Acceptor {
    pub(super) fn new(config: RustlsConfig) -> Self {
        Self(RustlsAcceptor::new(config))
    }
}

impl Accept<TcpStream, Router> for Acceptor {
    type Stream = <RustlsAcceptor as Accept<TcpStream, Router>>::Stream;
    type Service = Router;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Router)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: Router) -> Self::Future {
        let from = stream.peer_addr();
        let shaken = self.0.accept(stream, service);
        Box::pin(async move {
            let (from, (stream, service)) = (from?, shaken.await?);
            let presented = Presented(stream.get_ref().1.peer_certificates().unwrap_or_default().into());
            let service = Router::new().fallback_service(service);
            Ok((stream, service.layer(Extension(presented)).layer(Extension(ConnectInfo(from)))))
        })
    }
}
