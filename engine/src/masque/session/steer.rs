//! What is done to connections and tunnels from above.

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::event::{Event, TunnelId};
use super::{ConnectionError, Counters, TunnelError};
use crate::masque::capsule::{RequestedAddress, Routes};
use crate::masque::ip::Scope;
use crate::masque::request::{Answer, Outgoing};
use crate::masque::tunnel::Tunnel;
use bytes::Bytes;
use h3wire::H3Code;
use ipnet::IpNet;
use quinn_proto::{ConnectionHandle, VarInt};
use rustls::pki_types::CertificateDer;
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

impl Endpoint {
    /// Asks for a tunnel through a connection of ours; what is known of it beforehand limits what is sent.
    pub fn open(
        &mut self,
        connection: ConnectionHandle,
        outgoing: Outgoing,
        scope: Scope,
        now: Instant,
    ) -> Option<TunnelId> {
        let (slot, _) = self.connections.get_mut(&connection)?;
        let id = slot.request(outgoing, scope, now, &mut self.events);
        self.touch(connection, now);
        Some(id)
    }

    /// Opens the tunnel a client asked for. False: it asked no longer.
    pub fn accept(&mut self, tunnel: TunnelId, scope: Scope, now: Instant) -> bool {
        self.with(tunnel, now, |connection, _| connection.accept(tunnel.stream, scope)).unwrap_or(false)
    }

    /// Refuses the tunnel a client asked for. False: it asked no longer.
    pub fn refuse(&mut self, tunnel: TunnelId, answer: &Answer, now: Instant) -> bool {
        self.with(tunnel, now, |connection, _| connection.refuse(tunnel.stream, answer)).unwrap_or(false)
    }

    /// Asks the peer for addresses.
    pub fn request_addresses(&mut self, tunnel: TunnelId, prefixes: &[IpNet], now: Instant) {
        self.with_tunnel(tunnel, now, |tunnel| tunnel.request_addresses(prefixes));
    }

    /// Answers the peer's request for addresses; `decide` gives `None` to refuse one.
    pub fn answer_addresses(
        &mut self,
        tunnel: TunnelId,
        requests: &[RequestedAddress],
        decide: impl FnMut(&RequestedAddress) -> Option<IpNet>,
        now: Instant,
    ) {
        self.with_tunnel(tunnel, now, |tunnel| tunnel.answer_addresses(requests, decide));
    }

    /// Gives the peer exactly these addresses from now on.
    pub fn assign(&mut self, tunnel: TunnelId, prefixes: &[IpNet], now: Instant) {
        self.with_tunnel(tunnel, now, |tunnel| tunnel.assign(prefixes));
    }

    /// Tells the peer exactly these routes from now on.
    pub fn advertise(&mut self, tunnel: TunnelId, routes: Routes, now: Instant) {
        self.with_tunnel(tunnel, now, |tunnel| tunnel.advertise(routes));
    }

    /// Proves by ICMPv6 echoes that 1280 bytes get through; if not, the tunnel ends.
    pub fn probe(&mut self, tunnel: TunnelId, source: Ipv6Addr, peer: Option<Ipv6Addr>, id: u16, now: Instant) {
        self.with_tunnel(tunnel, now, |tunnel| {
            tunnel.start_probe(source, peer, id, now);
            Ok(())
        });
    }

    /// Ends a tunnel in good order.
    pub fn close_tunnel(&mut self, tunnel: TunnelId, now: Instant) {
        self.with(tunnel, now, |connection, events| connection.close(tunnel.stream, events));
    }

    /// Ends a connection and all its tunnels.
    pub fn close(&mut self, connection: ConnectionHandle, now: Instant) {
        let Some((slot, _)) = self.connections.get_mut(&connection) else { return };
        let code = VarInt::from_u64(H3Code::NO_ERROR.0).unwrap_or(VarInt::MAX);
        slot.quic.close(now, code, Bytes::new());
        slot.h3.transport_closed();
        let reason = quinn_proto::ConnectionError::LocallyClosed;
        slot.ended(ConnectionError::Quic(reason), &mut self.events);
        self.touch(connection, now);
    }

    /// Our address has changed, or the way to the peer: moves a client's connection there, with a fresh connection ID, and
    /// tells the peer at once (RFC 9000 section 9). What is known of the old path, its round trip time and its MTU, is
    /// forgotten. False: the handshake is not done, and a connection cannot move before (RFC 9000 section 9).
    pub fn local_address_changed(&mut self, connection: ConnectionHandle, now: Instant) -> bool {
        let Some((slot, _)) = self.connections.get_mut(&connection) else { return false };
        if slot.quic.is_handshaking() {
            return false;
        }
        slot.path_changed(now);
        slot.quic.local_address_changed();
        self.touch(connection, now);
        true
    }

    /// What the peer proved its identity by, its own certificate first; `None` before [`Event::Connected`], or none.
    #[must_use]
    pub fn peer_certificates(&self, connection: ConnectionHandle) -> Option<Vec<CertificateDer<'static>>> {
        let (connection, _) = self.connections.get(&connection)?;
        connection.quic.crypto_session().peer_identity()?.downcast().ok().map(|chain| *chain)
    }

    /// True unless more is likely to fit a tunnel in a moment.
    #[must_use]
    pub fn is_sure(&self, tunnel: TunnelId, now: Instant) -> bool {
        let connection = self.connections.get(&tunnel.connection);
        let tunnel = connection.and_then(|(connection, _)| connection.tunnels.get(&tunnel.stream));
        tunnel.is_none_or(|tunnel| tunnel.is_sure(now))
    }

    /// The longest packet that a tunnel can come to carry, however wide the path is.
    #[must_use]
    pub fn most(&mut self, tunnel: TunnelId) -> Option<u16> {
        let (connection, _) = self.connections.get_mut(&tunnel.connection)?;
        u16::try_from(connection.most(tunnel.stream)).ok()
    }

    /// Where the peer of a connection is, and how long a packet takes to it and back.
    #[must_use]
    pub fn path(&self, connection: ConnectionHandle) -> Option<(SocketAddr, Duration)> {
        let (connection, _) = self.connections.get(&connection)?;
        Some((connection.quic.remote_address(), connection.quic.rtt()))
    }

    /// When the last datagram for a connection came, or the connection itself.
    #[must_use]
    pub fn heard(&self, connection: ConnectionHandle) -> Option<Instant> {
        self.connections.get(&connection).map(|(connection, _)| connection.heard)
    }

    /// What went through a tunnel.
    #[must_use]
    pub fn counters(&self, tunnel: TunnelId) -> Option<Counters> {
        let (connection, _) = self.connections.get(&tunnel.connection)?;
        connection.tunnels.get(&tunnel.stream).map(|tunnel| tunnel.counters)
    }

    fn with<T>(
        &mut self,
        tunnel: TunnelId,
        now: Instant,
        act: impl FnOnce(&mut Connection, &mut VecDeque<Event>) -> T,
    ) -> Option<T> {
        let (connection, _) = self.connections.get_mut(&tunnel.connection)?;
        let result = act(connection, &mut self.events);
        self.touch(tunnel.connection, now);
        Some(result)
    }

    fn with_tunnel(&mut self, id: TunnelId, now: Instant, act: impl FnOnce(&mut Tunnel) -> Result<(), TunnelError>) {
        self.with(id, now, |connection, events| {
            let failed = connection.tunnels.get_mut(&id.stream).and_then(|tunnel| act(tunnel).err());
            if let Some(error) = failed {
                connection.abort(id.stream, error, events);
            }
        });
    }
}
