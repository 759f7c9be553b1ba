//! All connections of one UDP socket.

use super::connection::Connection;
use super::event::{Event, Transmit, TunnelId};
use super::half_open::HalfOpen;
use super::settings::{BESIDE, ConnectError, ETHERNET, EndpointConfig, OVERHEAD, Settings};
use super::{Drops, Origin, SendError};
use crate::masque::ip::Role;
use crate::masque::request::UriTemplate;
use crate::packet::{Cut, Ecn, Headers, MAX_BATCH, MAX_SEGMENTS};
use crate::random::Random;
use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, ConnectionHandle, ServerConfig};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// QUIC connections and the tunnels in them; sans-IO.
pub struct Endpoint {
    pub(super) quic: quinn_proto::Endpoint,
    /// For paths over IPv4 and over IPv6.
    pub(super) transports: [Arc<quinn_proto::TransportConfig>; 2],
    server: Option<ServerConfig>,
    settings: Settings,
    templates: Arc<[UriTemplate]>,
    /// With their noted deadlines. Boxed: a node of the map has room for eleven, and is half empty.
    pub(super) connections: BTreeMap<ConnectionHandle, (Box<Connection>, Option<Instant>)>,
    pub(super) half_open: HalfOpen,
    deadlines: BTreeSet<(Instant, ConnectionHandle)>,
    sending: VecDeque<ConnectionHandle>,
    pub(super) receiving: VecDeque<ConnectionHandle>,
    /// Answers to datagrams that belong to no connection.
    pub(super) responses: VecDeque<(Transmit, Vec<u8>)>,
    pub(super) events: VecDeque<Event>,
    pub(super) drops: Drops,
    /// Room for packets on their way into QUIC.
    pool: BytesMut,
}

impl Endpoint {
    /// A new endpoint.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub fn new(config: EndpointConfig) -> Result<Self, ConnectError> {
        let transports = config.settings.transports().map_err(ConnectError::Settings)?;
        let crypto = config.server.map(QuicServerConfig::try_from).transpose().map_err(ConnectError::Tls)?;
        let server = crypto.map(|crypto| ServerConfig::with_crypto(Arc::new(crypto)));
        let whose = server.clone().map(Arc::new);
        let seed = Random::new(&config.seed).bytes::<32>();
        let mut endpoint = quinn_proto::EndpointConfig::default();
        // Never less than what Ethernet carries; the call fails only below 1200.
        let _ = endpoint.max_udp_payload_size(config.settings.max_mtu.max(ETHERNET));
        // The bit tells QUIC from WireGuard on a socket that carries both.
        endpoint.grease_quic_bit(false);
        Ok(Self {
            quic: quinn_proto::Endpoint::new(Arc::new(endpoint), whose, true, Some(*seed)),
            transports,
            server,
            settings: config.settings,
            templates: config.templates.into(),
            connections: BTreeMap::new(),
            half_open: HalfOpen::default(),
            deadlines: BTreeSet::new(),
            sending: VecDeque::new(),
            receiving: VecDeque::new(),
            responses: VecDeque::new(),
            events: VecDeque::new(),
            drops: Drops::default(),
            pool: BytesMut::new(),
        })
    }

    /// Begins a connection to a gateway; `server_name` is what its certificate is checked for.
    ///
    /// # Errors
    /// It cannot be tried.
    pub fn connect(
        &mut self,
        remote: SocketAddr,
        server_name: &str,
        tls: Arc<rustls::ClientConfig>,
        now: Instant,
    ) -> Result<ConnectionHandle, ConnectError> {
        let crypto = QuicClientConfig::try_from(tls).map_err(ConnectError::Tls)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transports[usize::from(remote.is_ipv6())]));
        let (handle, quic) = self.quic.connect(now, config, remote, server_name).map_err(ConnectError::Quic)?;
        self.add(handle, quic, Role::Client, now);
        Ok(handle)
    }

    /// How a connection from a client over IPv4 or IPv6 is set up.
    pub(super) fn server(&self, v6: bool) -> Option<Arc<ServerConfig>> {
        let mut server = self.server.clone()?;
        server.transport_config(Arc::clone(&self.transports[usize::from(v6)]));
        Some(Arc::new(server))
    }

    /// Connections from now on search their paths for room for packets of `longest` bytes, and no further.
    pub fn fit(&mut self, longest: usize) {
        let wanted = u16::try_from(longest + OVERHEAD + BESIDE).unwrap_or(u16::MAX);
        let settings = Settings { max_mtu: wanted.clamp(self.settings.initial_mtu, ETHERNET), ..self.settings };
        // No MTU that is clamped so contradicts the others.
        if let Ok(transports) = settings.transports() {
            (self.settings, self.transports) = (settings, transports);
        }
    }

    /// Queues a packet for the peer. A forwarded one's hop limit falls by one in place.
    ///
    /// # Errors
    /// It is lost; [`SendError::Refused`] tells what its sender should be told.
    pub fn send(&mut self, tunnel: TunnelId, packet: &mut [u8], origin: Origin) -> Result<(), SendError> {
        let (connection, _) = self.connections.get_mut(&tunnel.connection).ok_or(SendError::NotOpen)?;
        lent(&mut self.pool, connection, |connection| connection.send(tunnel.stream, packet, origin))?;
        self.will_send(tunnel.connection);
        Ok(())
    }

    /// Queues the packets of a frame, which this machine wrote or has forwarded already. Returns how many, and why the
    /// others are lost; [`SendError::Refused`] tells what their sender should be told. `headers` are the frame's own; it
    /// is judged once for all of its packets.
    pub fn send_frame(&mut self, tunnel: TunnelId, headers: &Headers, cut: &Cut<'_>) -> (usize, Option<SendError>) {
        let Some((connection, _)) = self.connections.get_mut(&tunnel.connection) else {
            return (0, Some(SendError::NotOpen));
        };
        let outcome = lent(&mut self.pool, connection, |connection| connection.send_frame(tunnel.stream, headers, cut));
        if outcome.0 > 0 {
            self.will_send(tunnel.connection);
        }
        outcome
    }

    fn will_send(&mut self, handle: ConnectionHandle) {
        if let Some((connection, _)) = self.connections.get_mut(&handle)
            && !std::mem::replace(&mut connection.sending, true)
        {
            self.sending.push_back(handle);
        }
    }

    /// Moves all that a batch of datagrams set going.
    pub fn settle(&mut self, now: Instant) {
        let mut touched: Vec<_> = self.receiving.iter().copied().collect();
        touched.sort_unstable();
        touched.dedup();
        self.receiving = touched.iter().copied().collect();
        for handle in touched {
            self.touch(handle, now);
        }
    }

    /// The next packet that came out of a tunnel.
    pub fn poll_packet(&mut self, now: Instant) -> Option<(TunnelId, Bytes)> {
        while let Some(handle) = self.receiving.front().copied() {
            if let Some((connection, _)) = self.connections.get_mut(&handle)
                && let Some(packet) = lent(&mut self.pool, connection, Connection::receive)
            {
                return Some(packet);
            }
            self.receiving.pop_front();
            // Answers and aborts may have come of it.
            self.touch(handle, now);
        }
        None
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Appends the next datagrams to `buffer`, which should be empty.
    pub fn poll_transmit(&mut self, buffer: &mut Vec<u8>, now: Instant) -> Option<Transmit> {
        if let Some((transmit, bytes)) = self.responses.pop_front() {
            buffer.extend_from_slice(&bytes);
            return Some(transmit);
        }
        while let Some(handle) = self.sending.pop_front() {
            let Some((connection, _)) = self.connections.get_mut(&handle) else { continue };
            if let Some(sent) = connection.quic.poll_transmit(now, segments(connection), buffer) {
                self.sending.push_back(handle);
                return Some(transmit(&sent, self.settings.congestion.reacts_to_ecn()));
            }
            if connection.is_unanswered(now) {
                // Alone in its packet, which gets through when large ones do not.
                connection.quic.ping();
                self.sending.push_back(handle);
                continue;
            }
            connection.sending = false;
            self.update(handle, now);
        }
        None
    }

    /// Like [`Self::poll_transmit`], of one connection, and only when the packets that wait fill a batch. What waits else
    /// does so for [`Self::poll_transmit`].
    pub fn poll_full(&mut self, handle: ConnectionHandle, buffer: &mut Vec<u8>, now: Instant) -> Option<Transmit> {
        let (connection, _) = self.connections.get_mut(&handle)?;
        let segments = segments(connection);
        if connection.waiting() < segments * usize::from(connection.quic.current_mtu()) {
            return None;
        }
        let sent = connection.quic.poll_transmit(now, segments, buffer)?;
        Some(transmit(&sent, self.settings.congestion.reacts_to_ecn()))
    }

    /// True while packets wait in a connection for the path to take them.
    #[must_use]
    pub fn has_waiting(&mut self, handle: ConnectionHandle) -> bool {
        let connection = self.connections.get_mut(&handle).filter(|(connection, _)| !connection.quic.is_closed());
        connection.is_some_and(|(connection, _)| connection.waiting() > 0)
    }

    /// When [`Self::handle_deadline`] wants to be called.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Runs what is due.
    pub fn handle_deadline(&mut self, now: Instant) {
        let due: Vec<_> = self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, handle)| *handle).collect();
        for handle in due {
            if let Some((connection, _)) = self.connections.get_mut(&handle) {
                connection.quic.handle_timeout(now);
            }
            self.touch(handle, now);
        }
    }

    /// Connections that are not forgotten yet.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn add(&mut self, handle: ConnectionHandle, quic: quinn_proto::Connection, role: Role, now: Instant) {
        let connection = Connection::new(handle, quic, role, &self.settings, Arc::clone(&self.templates), now);
        self.connections.insert(handle, (Box::new(connection), None));
        self.touch(handle, now);
    }

    /// Moves a connection on, and will poll it for something to send.
    pub(super) fn touch(&mut self, handle: ConnectionHandle, now: Instant) {
        let Some((connection, _)) = self.connections.get_mut(&handle) else { return };
        lent(&mut self.pool, connection, |connection| connection.drive(now, &mut self.events));
        self.drops.absorb(&mut connection.drops);
        if connection.is_half_open() {
            self.half_open.insert(handle, connection.quic.remote_address().ip(), true);
        } else {
            self.half_open.remove(handle);
        }
        if !std::mem::replace(&mut connection.sending, true) {
            self.sending.push_back(handle);
        }
        self.update(handle, now);
    }

    /// Hands events between the connection and QUIC's endpoint, both ways, and notes the deadline.
    fn update(&mut self, handle: ConnectionHandle, now: Instant) {
        let Some((connection, noted)) = self.connections.get_mut(&handle) else { return };
        while let Some(event) = connection.quic.poll_endpoint_events() {
            if let Some(back) = self.quic.handle_event(handle, event) {
                connection.quic.handle_event(back);
            }
        }
        let deadline = connection.deadline();
        if *noted != deadline {
            if let Some(old) = *noted {
                self.deadlines.remove(&(old, handle));
            }
            *noted = deadline;
            self.deadlines.extend(deadline.map(|deadline| (deadline, handle)));
        }
        if connection.quic.is_drained() {
            if let Some(deadline) = deadline {
                self.deadlines.remove(&(deadline, handle));
            }
            // What is left to tell was queued before.
            connection.drive(now, &mut self.events);
            self.connections.remove(&handle);
            self.half_open.remove(handle);
        }
    }
}

/// Does something with a connection that has the room for packets meanwhile: idle ones need none of their own.
fn lent<T>(pool: &mut BytesMut, connection: &mut Connection, act: impl FnOnce(&mut Connection) -> T) -> T {
    std::mem::swap(pool, &mut connection.pool);
    let result = act(connection);
    std::mem::swap(pool, &mut connection.pool);
    result
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

/// Most datagrams of full size in one batch. With a segment more, what an acknowledgement adds to the first one, and so
/// to all, would make the batch longer than the system takes.
fn segments(connection: &Connection) -> usize {
    (MAX_BATCH / usize::from(connection.quic.current_mtu())).clamp(1, MAX_SEGMENTS)
}

pub(super) fn transmit(sent: &quinn_proto::Transmit, may_mark: bool) -> Transmit {
    let ecn = match sent.ecn {
        Some(codepoint) if may_mark => Ecn::from_tos(codepoint as u8),
        _ => Ecn::NotEct,
    };
    Transmit {
        destination: sent.destination,
        source: sent.src_ip,
        len: sent.size,
        segment: sent.segment_size.unwrap_or(sent.size),
        ecn,
    }
}
