//! A client's tunnel.

use super::driver::{Driver, Http2, within};
use super::mailbox::{InboxAddress, Input, Outbox};
use super::pump::Pump;
use super::{CarrierError, Settings, Stage, head, tcp};
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::unbounded_channel;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vestibule_engine::core::StreamTarget;
use vestibule_engine::masque::request::{Accepted, Dialect, HttpVersion, Outgoing};

/// Fields of an answer may be so long in all.
const MAX_FIELDS: u32 = 16 << 10;

/// Opens a tunnel through `io`, a TCP connection to the gateway: TLS, HTTP/2, the request, the answer. What the stream
/// brings goes to `inbox` under `key`; the connection is driven by a task of its own from then on, for this tunnel alone.
///
/// # Errors
/// Why there is no tunnel.
pub async fn connect<T>(
    io: T,
    tls: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    outgoing: &Outgoing,
    settings: Settings,
    inbox: &InboxAddress,
    key: u64,
) -> Result<Outbox, CarrierError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (driver, outbox) = establish(io, tls, server_name, outgoing, settings, inbox, key).await?;
    tokio::spawn(driver.run());
    Ok(outbox)
}

/// Dials, and opens a tunnel as [`connect`] does. All that comes of it, [`Input::Opened`] or [`Input::Lost`] first, goes to
/// `inbox` under `key`. `mark` marks our packets, for policy routing. Cancelled, it takes everything down.
pub async fn open(target: StreamTarget, mark: Option<u32>, settings: Settings, inbox: InboxAddress, key: u64) {
    let opening = async {
        let StreamTarget { addresses, server_name, tls, request } = target;
        let name =
            ServerName::try_from(server_name).map_err(|_| CarrierError::Request { what: "the server's name" })?;
        let io = tcp::dial_any(&addresses, mark, &settings).await?;
        establish(io, tls, name, &request, settings, &inbox, key).await
    };
    match opening.await {
        Ok((driver, outbox)) => {
            inbox.put(key, Input::Opened(outbox));
            driver.run().await;
        }
        Err(error) => inbox.put(key, Input::Lost(error)),
    }
}

async fn establish<T>(
    io: T,
    tls: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    outgoing: &Outgoing,
    settings: Settings,
    inbox: &InboxAddress,
    key: u64,
) -> Result<(Driver<Client<TlsStream<T>>>, Outbox), CarrierError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let request = head::request(outgoing)?;
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols = vec![tcp::ALPN.to_vec()];
    let io = within(&settings, Stage::Tls, async {
        let connecting = TlsConnector::from(Arc::new(tls)).connect(server_name, io);
        connecting.await.map_err(|error| CarrierError::Tls(Arc::new(error)))
    })
    .await?;
    if io.get_ref().1.alpn_protocol() != Some(tcp::ALPN) {
        return Err(CarrierError::Alpn);
    }
    // WARP's CONNECT over HTTP/2 is not extended.
    let extended = outgoing.dialect() == Dialect::Rfc9484;
    let greeting = greet(io, settings, extended);
    let (mut connection, pings, mut requests) = within(&settings, Stage::Settings, greeting).await?;
    let (answer, send) = requests.send_request(request, false).map_err(CarrierError::of_stream)?;
    let response = within(&settings, Stage::Answer, alongside(&mut connection, answer)).await?;
    let (parts, body) = response.into_parts();
    Accepted::judge(HttpVersion::Http2, parts.status.as_u16(), &head::fields(&parts.headers))
        .map_err(CarrierError::Response)?;

    let (outbox, orders) = Outbox::new(settings.batches);
    let pump = Pump::new(key, inbox.clone(), orders, send, body);
    // Nothing joins: the sender is dropped here.
    let (_, joining) = unbounded_channel();
    Ok((Driver::new(Client { connection }, vec![pump], joining, Some(pings), settings), outbox))
}

/// HTTP/2's beginning: until the peer has said that it serves extended CONNECT (RFC 8441 section 3), where that is wanted.
async fn greet<T>(
    io: T,
    settings: Settings,
    extended: bool,
) -> Result<(Connection<T>, PingPong, SendRequest<Bytes>), CarrierError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error| CarrierError::Http2(Arc::new(error));
    let (requests, mut connection) = Builder::new()
        .initial_window_size(settings.window)
        .initial_connection_window_size(settings.window)
        .max_frame_size(settings.frame)
        .max_header_list_size(MAX_FIELDS)
        .max_send_buffer_size(settings.send_buffer)
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(failed)?;
    let mut pings = connection.ping_pong().ok_or(CarrierError::Closed)?;
    // Settings are the first the peer sends: they are there before it answers a ping.
    pings.send_ping(Ping::opaque()).map_err(failed)?;
    poll_fn(|cx| {
        let end = Pin::new(&mut connection).poll(cx);
        if requests.is_extended_connect_protocol_enabled() {
            return Poll::Ready(Ok(()));
        }
        match end {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
            Poll::Ready(Ok(())) => return Poll::Ready(Err(CarrierError::Closed)),
            Poll::Pending => {}
        }
        match pings.poll_pong(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_)) if !extended => Poll::Ready(Ok(())),
            Poll::Ready(Ok(_)) => Poll::Ready(Err(CarrierError::NoExtendedConnect)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(failed(error))),
        }
    })
    .await?;
    Ok((connection, pings, requests))
}

/// Waits for `future` while the connection is driven.
async fn alongside<T, R>(
    connection: &mut Connection<T>,
    future: impl Future<Output = Result<R, h2::Error>>,
) -> Result<R, CarrierError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut future = pin!(future);
    poll_fn(|cx| {
        let end = Pin::new(&mut *connection).poll(cx);
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(CarrierError::of_stream)),
            Poll::Pending if end.is_ready() => Poll::Ready(Err(CarrierError::Closed)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

struct Client<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    connection: Connection<T>,
}

impl<T> Http2 for Client<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        // It closes itself once its one stream is over.
        Pin::new(&mut self.connection).poll(cx)
    }

    fn opened(&mut self) {}

    fn close(&mut self) {}
}
