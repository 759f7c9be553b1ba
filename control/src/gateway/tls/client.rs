//! Client certificates in the handshake: asked for, never demanded. What one is worth is decided where it is asked for,
//! by the authorities of that moment ([`crate::gateway::access::Authorities::judge`]); here its key alone is proved.

use crate::gateway::access::{Authorities, Presented};
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsConfig;
use rustls::RootCertStore;
use rustls::server::{Acceptor as Hello, ClientHello};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use vestibule_engine::masque::session::tls::AnyKey;
use vestibule_platform::carrier;

/// How long a handshake may take, of which the client's first message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for certificates of these; for none when there are none.
pub(super) fn asking_for(authorities: &Authorities) -> AnyKey {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.certificates().cloned());
    AnyKey::named_by(roots.subjects())
}

/// Accepts TLS connections; their calls know where they come from ([`ConnectInfo`]) and what was presented
/// ([`Presented`]). Those that ask for HTTP/2 alone are no callers, but tunnels.
#[derive(Clone, Debug)]
pub(in super::super) struct Acceptor {
    calls: RustlsConfig,
    tunnels: Arc<carrier::Server>,
}

impl Acceptor {
    pub(super) fn new(calls: RustlsConfig, tunnels: Arc<carrier::Server>) -> Self {
        Self { calls, tunnels }
    }
}

impl Accept<TcpStream, Router> for Acceptor {
    type Stream = TlsStream<TcpStream>;
    type Service = Router;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Router)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: Router) -> Self::Future {
        let Self { calls, tunnels } = self.clone();
        Box::pin(async move {
            let from = stream.peer_addr()?;
            carrier::prepare(&stream);
            let hello = timeout(PATIENCE, LazyConfigAcceptor::new(Hello::default(), stream)).await??;
            if asks_for_a_tunnel(&hello.client_hello()) {
                tunnels.take_hello(hello, from);
                // To the server of calls it is a connection that came to nothing.
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let stream = timeout(PATIENCE, hello.into_stream(calls.get_inner())).await??;
            let presented = Presented(stream.get_ref().1.peer_certificates().unwrap_or_default().into());
            let service = Router::new().fallback_service(service);
            Ok((stream, service.layer(Extension(presented)).layer(Extension(ConnectInfo(from)))))
        })
    }
}

fn asks_for_a_tunnel(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|protocols| protocols.eq([b"h2"]))
}
