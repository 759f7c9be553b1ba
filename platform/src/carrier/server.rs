//! A gateway's end: connections of clients, and what they ask for.

use super::driver::{Driver, within};
use super::gate::Gate;
use super::half_open::{Connections, Place};
use super::request::Request;
use super::{CarrierError, CarrierThread, ServerSettings, Stage, tcp};
use bytes::Bytes;
use h2::server::Builder;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::{StartHandshake, TlsStream};
use vestibule_engine::masque::request::UriTemplate;

/// Fields of a request may be so long in all.
const MAX_FIELDS: u32 = 16 << 10;
/// What a client may send on a stream before it has a tunnel: the first capsules, and packets that are too early.
const WINDOW_UNANSWERED: u32 = 16 << 10;
/// When the system has no descriptors left, accepting pauses so long.
const BREATH: Duration = Duration::from_millis(50);

/// Takes connections and hands up their requests. Dropped, it ends them all.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    thread: CarrierThread,
}

/// What became of connections and requests so far, and how many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerCounters {
    /// Connections that came.
    pub connections: u64,
    /// Those that gave way to newer ones before they had a tunnel.
    pub gave_way: u64,
    /// Those whose TLS handshake failed or took too long.
    pub tls_failed: u64,
    /// Those on which HTTP/2 failed, or that asked for no tunnel in time.
    pub http_failed: u64,
    /// Requests that were malformed, for another protocol, or for another path.
    pub rejected: u64,
    /// Requests that were answered 503 since too many waited.
    pub overloaded: u64,
    /// Connections at this time.
    pub open: usize,
    /// Those of them that have no tunnel.
    pub half_open: usize,
}

/// What all connections of a server have.
#[derive(Debug)]
pub(super) struct Shared {
    tls: Tls,
    pub(super) templates: Vec<UriTemplate>,
    pub(super) settings: ServerSettings,
    pub(super) requests: Sender<Request>,
    connections: Arc<Connections>,
    pub(super) counted: Counted,
}

/// Its key is shown to nobody.
struct Tls(Arc<ServerConfig>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

#[derive(Debug, Default)]
pub(super) struct Counted {
    connections: AtomicU64,
    gave_way: AtomicU64,
    tls_failed: AtomicU64,
    http_failed: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) overloaded: AtomicU64,
}

impl Server {
    /// A server for the paths of `templates` (`UriTemplate::check_for_gateway`), and where its requests come out.
    ///
    /// # Errors
    /// No thread could be had for its connections.
    pub fn new(
        tls: Arc<ServerConfig>,
        templates: Vec<UriTemplate>,
        settings: ServerSettings,
    ) -> io::Result<(Self, Receiver<Request>)> {
        let thread = CarrierThread::start()?;
        let mut tls = Arc::unwrap_or_clone(tls);
        tls.alpn_protocols = vec![tcp::ALPN.to_vec()];
        let (requests, receiver) = channel(settings.requests.max(1));
        let shared = Shared {
            tls: Tls(Arc::new(tls)),
            templates,
            settings,
            requests,
            connections: Arc::new(Connections::new(settings.half_open)),
            counted: Counted::default(),
        };
        Ok((Self { shared: Arc::new(shared), thread }, receiver))
    }

    /// Takes connections from a socket, for ever.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn serve(&self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    tcp::prepare(&stream);
                    let tls = self.acceptor();
                    self.admit(remote, async move { tls.accept(moved(stream)?).await });
                }
                // The client is gone already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "no connection could be taken");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// Takes one connection, over anything.
    pub fn take<T>(&self, io: T, remote: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.admit(remote, self.acceptor().accept(io));
    }

    /// The same for one whose client's first message has been read, to see whom it is for.
    pub fn take_hello(&self, hello: StartHandshake<TcpStream>, remote: SocketAddr) {
        let tls = Arc::clone(&self.shared.tls.0);
        let StartHandshake { accepted, io, .. } = hello;
        self.admit(remote, async move { StartHandshake::from_parts(accepted, moved(io)?).into_stream(tls).await });
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.shared.tls.0))
    }

    fn admit<T>(&self, remote: SocketAddr, accepting: impl Future<Output = io::Result<TlsStream<T>>> + Send + 'static)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        count(&self.shared.counted.connections);
        let shared = Arc::clone(&self.shared);
        let gave_way = self.shared.connections.admit(|place| {
            let driving = self.thread.handle().spawn(async move {
                let place = Arc::new(place);
                let error = connection(&shared, accepting, remote, &place).await;
                tracing::debug!(%remote, %error, "a connection ended");
            });
            driving.abort_handle()
        });
        if gave_way {
            count(&self.shared.counted.gave_way);
        }
    }

    /// What became of connections and requests.
    #[must_use]
    pub fn counters(&self) -> ServerCounters {
        let counted = &self.shared.counted;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (open, half_open) = self.shared.connections.count();
        ServerCounters {
            connections: get(&counted.connections),
            gave_way: get(&counted.gave_way),
            tls_failed: get(&counted.tls_failed),
            http_failed: get(&counted.http_failed),
            rejected: get(&counted.rejected),
            overloaded: get(&counted.overloaded),
            open,
            half_open,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.connections.abort();
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// `stream`, woken from now on by the thread this is called on.
fn moved(stream: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream.into_std()?)
}

/// One connection from its first byte to its last.
async fn connection<T>(
    shared: &Arc<Shared>,
    accepting: impl Future<Output = io::Result<TlsStream<T>>>,
    remote: SocketAddr,
    place: &Arc<Place>,
) -> CarrierError
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let ServerSettings { settings, streams, .. } = shared.settings;
    let accepting = async { accepting.await.map_err(|error| CarrierError::Tls(Arc::new(error))) };
    let io = match within(&settings, Stage::Tls, accepting).await {
        Ok(io) if io.get_ref().1.alpn_protocol() == Some(tcp::ALPN) => io,
        Ok(_) => {
            count(&shared.counted.tls_failed);
            return CarrierError::Alpn;
        }
        Err(error) => {
            count(&shared.counted.tls_failed);
            return error;
        }
    };
    let chain = io.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let greeting = async {
        Builder::new()
            .enable_connect_protocol()
            .initial_window_size(WINDOW_UNANSWERED)
            .max_frame_size(settings.frame)
            .max_header_list_size(MAX_FIELDS)
            .max_concurrent_streams(streams)
            .max_send_buffer_size(settings.send_buffer)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|error| CarrierError::Http2(Arc::new(error)))
    };
    let mut connection = match within(&settings, Stage::Settings, greeting).await {
        Ok(connection) => connection,
        Err(error) => {
            count(&shared.counted.http_failed);
            return error;
        }
    };
    let pings = connection.ping_pong();
    let (joins, joining) = unbounded_channel();
    let gate = Gate::new(connection, Arc::clone(shared), remote, certificates, joins, Arc::clone(place));
    let error = Driver::new(gate, Vec::new(), joining, pings, settings).run().await;
    if !matches!(error, CarrierError::Closed) {
        count(&shared.counted.http_failed);
    }
    error
}
