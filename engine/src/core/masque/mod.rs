//! Generations over MASQUE: one QUIC endpoint beside the WireGuard sessions, on the same socket.
//!
//! QUIC is told from WireGuard by a datagram's first byte: 1 to 4 for WireGuard, 64 and more for QUIC. By file: `set_up`
//! (what control calls), `events` (what the endpoint tells), `carry` (packets in and out).

mod carry;
mod events;
mod set_up;

pub use set_up::MasqueServer;

use crate::core::control_packet;
use crate::generation::{Generation, GenerationId, MasqueEnd, MasqueGateway, Transport};
use crate::masque::ip::Scope;
use crate::masque::session::{Congestion, ConnectError, Endpoint, EndpointConfig, Settings, TunnelId};
use crate::packet::TransmitQueue;
use crate::random::{Random, Seed};
use bytes::BytesMut;
use quinn_proto::ConnectionHandle;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Which generation: the peer's slot, and its id.
type Owner = (usize, GenerationId);

/// The engine's QUIC endpoint and whose its connections are.
pub(super) struct Masque {
    pub(super) endpoint: Endpoint,
    /// Connections of ours.
    connections: BTreeMap<ConnectionHandle, Owner>,
    tunnels: BTreeMap<TunnelId, Owner>,
    /// Keys of clients that are awaited.
    clients: BTreeMap<[u8; 32], Owner>,
    /// Memory for datagrams that came in; they are opened in place.
    pool: BytesMut,
    /// Bytes that were given to QUIC and not asked back yet.
    unsent: usize,
    /// The time of the last call.
    now: Instant,
}

impl Masque {
    fn new(server: Option<MasqueServer>, random: &mut Random, now: Instant) -> Result<Self, ConnectError> {
        let (server, templates) = server.map(|server| (server.tls, server.templates)).unzip();
        let settings = Settings {
            congestion: Congestion::Off,
            talk: Some(IpAddr::V4(control_packet::ADDRESS)),
            // What an adapter of 1420 bytes needs, at the first packet. The socket lets packets be fragmented, as WireGuard
            // wants it, so discovery would end here; but each end would do it in its own time, the gateway's after the
            // commit, and large packets would meanwhile be refused.
            initial_mtu: Settings::default().max_mtu,
            ..Settings::default()
        };
        let seed = Seed::new(*random.bytes());
        let config = EndpointConfig { settings, server, templates: templates.unwrap_or_default(), seed };
        Ok(Self {
            endpoint: Endpoint::new(config)?,
            connections: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            clients: BTreeMap::new(),
            pool: BytesMut::new(),
            unsent: 0,
            now,
        })
    }

    /// Moves what QUIC wants to send to the socket's queue, where its batches lie as they are.
    pub(super) fn flush(&mut self, transmits: &mut TransmitQueue, now: Instant) {
        self.now = now;
        self.unsent = 0;
        loop {
            let mut buffer = transmits.buffer();
            let Some(transmit) = self.endpoint.poll_transmit(&mut buffer, now) else {
                return transmits.give_back(buffer);
            };
            // QUIC keeps to the limits of a batch (`Endpoint::poll_transmit`).
            transmits.push_ready(transmit.destination, transmit.ecn, transmit.segment, buffer);
        }
    }

    /// Begins a connection and asks for a tunnel through it.
    fn connect(&mut self, gateway: &MasqueGateway, owner: Owner, now: Instant) -> Option<ConnectionHandle> {
        let (name, tls) = (&gateway.server_name, Arc::clone(&gateway.tls));
        let connection = self.endpoint.connect(gateway.address, name, tls, now).ok()?;
        self.endpoint.open(connection, gateway.request(), Scope::all(), now);
        self.connections.insert(connection, owner);
        Some(connection)
    }

    /// A generation ends: its connection is closed, and its client is awaited no longer.
    pub(super) fn end(&mut self, generation: &Generation) {
        let Transport::Masque(tunnel) = &generation.transport else { return };
        if let MasqueEnd::Gateway { client_key } = &tunnel.end
            && self.clients.get(client_key).is_some_and(|(_, id)| *id == generation.id)
        {
            self.clients.remove(client_key);
        }
        for connection in tunnel.connection.into_iter().chain(tunnel.renewing) {
            self.close(connection);
        }
    }

    fn close(&mut self, connection: ConnectionHandle) {
        self.connections.remove(&connection);
        let of = |stream| TunnelId { connection, stream };
        while let Some((&tunnel, _)) = self.tunnels.range(of(0)..=of(u64::MAX)).next() {
            self.tunnels.remove(&tunnel);
        }
        self.endpoint.close(connection, self.now);
    }
}
