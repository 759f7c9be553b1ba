//! Client certificates in the handshake: asked for, never demanded. What one is worth is decided where it is asked for,
//! by the authorities of that moment ([`crate::gateway::access::Authorities::judge`]); here its key alone is proved.

use crate::gateway::access::{Authorities, Presented};
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::RootCertStore;
use std::future::Future;
use std::io;
use std::pin::Pin;
use tokio::net::TcpStream;
use vestibule_engine::masque::session::tls::AnyKey;

/// Asks for certificates of these; for none when there are none.
pub(super) fn asking_for(authorities: &Authorities) -> AnyKey {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.certificates().cloned());
    AnyKey::named_by(roots.subjects())
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
