//! Generations over MASQUE: one QUIC endpoint beside the WireGuard sessions, on the same socket.
//!
//! QUIC is told from WireGuard by a datagram's first byte: 1 to 4 for WireGuard, 64 and more for QUIC. Tunnels over HTTP/2
//! are byte streams that somebody else carries. By file: `set_up` (what control calls), `clients` (whom a gateway awaits),
//! `events` (what tunnels tell), `news` (what is passed on), `moved` (changes of network), `carry` (packets in and out),
//! `streams` (HTTP/2), `names` (targets that are to be resolved).

mod carry;
mod clients;
mod events;
mod moved;
mod names;
mod news;
mod set_up;
mod streams;

pub use names::{NameRequest, unresolved};
pub use news::{StreamLoss, TunnelEnd, TunnelNews};
pub use set_up::{MasqueServer, PlainMasque};
pub use streams::{StreamInput, StreamOrder, StreamTarget};

use crate::core::control_packet;
use crate::generation::{Carrier, Generation, GenerationId, Http, MasqueGateway, Path, Transport};
use crate::masque::request::Dialect;
use crate::masque::session::{ConnectError, Endpoint, EndpointConfig, Settings, Transmit, TunnelId};
use crate::packet::TransmitQueue;
use crate::random::{Random, Seed};
use clients::Clients;
use ipnet::IpNet;
use names::NamesAsked;
use quinn_proto::ConnectionHandle;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
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
    streams: streams::Streams,
    /// Clients that are awaited.
    clients: Clients,
    /// What is advertised to them; `None`: whatever they ask for.
    routes: Option<Vec<IpNet>>,
    /// Requests for names; `None`: they are answered 501.
    names: Option<NamesAsked>,
    /// Whose rules our requests keep to.
    dialect: Dialect,
    /// Both ends are ours.
    own: bool,
    /// The time of the last call.
    now: Instant,
}

impl Masque {
    /// As the product's ends want it, for packets of `mtu` bytes.
    fn new(server: Option<MasqueServer>, mtu: usize, random: &mut Random, now: Instant) -> Result<Self, ConnectError> {
        let settings = Settings {
            talk: Some(IpAddr::V4(control_packet::ADDRESS)),
            // Inner addresses are IPv4: there is no least MTU to keep, and any path that carries QUIC will do.
            initial_mtu: 1200,
            min_mtu: 1200,
            ..Settings::default()
        };
        let mut masque = Self::with(settings, server, random, now)?;
        masque.own = true;
        masque.fit(mtu);
        Ok(masque)
    }

    fn with(
        settings: Settings,
        server: Option<MasqueServer>,
        random: &mut Random,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let (server, templates) = server.map(|server| (server.tls, server.templates)).unzip();
        let seed = Seed::new(*random.bytes());
        let config = EndpointConfig { settings, server, templates: templates.unwrap_or_default(), seed };
        Ok(Self {
            endpoint: Endpoint::new(config)?,
            connections: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            streams: streams::Streams::new(settings.talk, settings.grease, settings.dialect),
            clients: Clients::default(),
            routes: None,
            names: None,
            dialect: settings.dialect,
            own: false,
            now,
        })
    }

    /// The adapter's packets are so long. Peers of others are told what to expect by whoever set them up.
    pub(super) fn fit(&mut self, mtu: usize) {
        if self.own {
            self.endpoint.fit(mtu);
        }
    }

    /// Moves what QUIC wants to send to the socket's queue, where its batches lie as they are.
    pub(super) fn flush(&mut self, transmits: &mut TransmitQueue, now: Instant) {
        self.now = now;
        queue_all(transmits, |buffer| self.endpoint.poll_transmit(buffer, now));
    }

    /// Moves what fills a connection's batches; the rest waits for the next frame, or for [`Self::flush`].
    fn send_full(&mut self, connection: ConnectionHandle, transmits: &mut TransmitQueue, now: Instant) {
        self.now = now;
        queue_all(transmits, |buffer| self.endpoint.poll_full(connection, buffer, now));
    }

    /// Begins a connection and asks for a tunnel through it.
    fn connect(
        &mut self,
        http: Http,
        (gateway, place): (&MasqueGateway, SocketAddr),
        owner: Owner,
        now: Instant,
    ) -> Option<Carrier> {
        match http {
            Http::Two => Some(Carrier::Stream(self.streams.connect(gateway, owner))),
            Http::Three => {
                let (name, tls) = (&gateway.server_name, Arc::clone(&gateway.tls));
                let connection = self.endpoint.connect(place, name, tls, now).ok()?;
                self.endpoint.open(connection, gateway.request().in_dialect(self.dialect), gateway.asks.scope(), now);
                self.connections.insert(connection, owner);
                Some(Carrier::Quic(connection))
            }
        }
    }

    /// Where the other end of a tunnel is.
    fn remote(&self, path: Path) -> Option<SocketAddr> {
        match path {
            Path::Quic(tunnel) => self.endpoint.path(tunnel.connection).map(|(remote, _)| remote),
            Path::Stream(key) => self.streams.remote(key),
        }
    }

    /// When the last datagram came over the connection of a tunnel.
    fn heard(&self, path: Path) -> Option<Instant> {
        self.answered(path.carrier())
    }

    /// When the last datagram came over a carrier, or it began.
    fn answered(&self, carrier: Carrier) -> Option<Instant> {
        match carrier {
            Carrier::Quic(connection) => self.endpoint.heard(connection),
            Carrier::Stream(_) => None,
        }
    }

    /// A generation's path takes the place of another's at the same peer.
    pub(super) fn succeed(&mut self, former: Path, next: Path, now: Instant) {
        if let (Path::Stream(former), Path::Stream(next)) = (former, next) {
            self.streams.succeed(former, next, now);
        }
    }

    /// True while packets of a path wait here. What waits for a stream is sent before it ends.
    pub(super) fn has_waiting(&mut self, path: Path) -> bool {
        match path {
            Path::Quic(tunnel) => self.endpoint.has_waiting(tunnel.connection),
            Path::Stream(_) => false,
        }
    }

    /// A generation ends: its connections are closed, and its client is awaited no longer.
    pub(super) fn end(&mut self, generation: &mut Generation) {
        let Transport::Masque(tunnel) = &mut generation.transport else { return };
        self.clients.remove(&tunnel.end, generation.id);
        for carrier in tunnel.take_all() {
            self.close(carrier);
        }
    }

    fn close(&mut self, carrier: Carrier) {
        let connection = match carrier {
            Carrier::Quic(connection) => connection,
            Carrier::Stream(key) => return self.streams.close(key),
        };
        self.connections.remove(&connection);
        let of = |stream| TunnelId { connection, stream };
        while let Some((&tunnel, _)) = self.tunnels.range(of(0)..=of(u64::MAX)).next() {
            self.tunnels.remove(&tunnel);
        }
        self.endpoint.close(connection, self.now);
    }

    fn owner(&self, path: Path) -> Option<Owner> {
        match path {
            Path::Quic(tunnel) => self.tunnels.get(&tunnel).copied(),
            Path::Stream(key) => self.streams.owner(key),
        }
    }
}

/// Queues what `poll` gives, until it gives nothing.
fn queue_all(transmits: &mut TransmitQueue, mut poll: impl FnMut(&mut Vec<u8>) -> Option<Transmit>) {
    loop {
        let mut buffer = transmits.buffer();
        let Some(transmit) = poll(&mut buffer) else { return transmits.give_back(buffer) };
        // QUIC keeps to the limits of a batch (`Endpoint::poll_transmit`).
        transmits.push_ready(transmit.destination, transmit.ecn, transmit.segment, buffer);
    }
}
