//! What the QUIC endpoint tells: tunnels asked for, opened, given addresses, and lost.

use super::{Owner, TunnelEnd, TunnelNews};
use crate::core::peer::Stage;
use crate::core::{self, Engine};
use crate::generation::{GenerationId, MasqueEnd, MasqueTunnel, PublicKey};
use crate::masque::capsule::RequestedAddress;
use crate::masque::ip::Scope;
use crate::masque::request::{Answer, Incoming, Target};
use crate::masque::session::{ConnectionError, Event, Fault, TunnelError, TunnelId, tls};
use ipnet::IpNet;
use quinn_proto::ConnectionHandle;
use std::time::Instant;

impl Engine {
    /// Handles all that the endpoint has to tell.
    pub(super) fn masque_events(&mut self, now: Instant) {
        // What ended a connection is told after the ends of its tunnels.
        let mut lost = Vec::new();
        while let Some(event) = self.masque.as_mut().and_then(|masque| masque.endpoint.poll_event()) {
            match event {
                Event::Requested(tunnel, incoming) => self.tunnel_requested(tunnel, &incoming, now),
                Event::AddressesRequested(tunnel, requests) => self.addresses_requested(tunnel, &requests, now),
                Event::Opened(tunnel) => self.tunnel_opened(tunnel, now),
                Event::Assigned(id, changes) => {
                    self.with_tunnel(id, now, |tunnel| {
                        tunnel.assigned(&changes.added, &changes.removed);
                        TunnelNews::Assigned(tunnel.addresses().to_vec())
                    });
                }
                Event::RoutesAdvertised(id, routes) => self.with_tunnel(id, now, |tunnel| {
                    tunnel.routed = true;
                    TunnelNews::Routes(routes)
                }),
                Event::MtuChanged(id, mtu) => self.with_tunnel(id, now, |tunnel| {
                    tunnel.mtu = mtu;
                    TunnelNews::Mtu(mtu)
                }),
                Event::Ended(tunnel, Some(TunnelError::Connection)) => lost.push(tunnel.connection),
                Event::Ended(tunnel, error) => {
                    self.count_fault(error.as_ref().map_or(Fault::None, TunnelError::fault));
                    self.tunnel_ended(tunnel, error.map_or(TunnelEnd::InOrder, TunnelEnd::Tunnel), now);
                }
                Event::Closed(connection, error) => {
                    self.count_closed(&error);
                    let end = if error.is_in_order() { TunnelEnd::InOrder } else { error.into() };
                    self.connection_lost(connection, end, now);
                }
                Event::Connected(_) => {}
            }
        }
        for connection in lost {
            self.connection_lost(connection, TunnelError::Connection.into(), now);
        }
    }

    fn count_closed(&self, error: &ConnectionError) {
        self.count_fault(error.fault());
        match error {
            ConnectionError::Unused { .. } => self.counters.connections_unused.add(1),
            error if error.is_handshake() => self.counters.connections_failed.add(1),
            _ => {}
        }
    }

    fn count_fault(&self, fault: Fault) {
        match fault {
            Fault::Malformed => self.counters.peers_malformed.add(1),
            Fault::Excessive => self.counters.peers_excessive.add(1),
            Fault::None => {}
        }
    }

    /// A client asks: who is it?
    fn tunnel_requested(&mut self, id: TunnelId, incoming: &Incoming, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let chain = masque.endpoint.peer_certificates(id.connection);
        let client = chain.and_then(|chain| Some(tls::key_id(&tls::public_key(chain.first()?).ok()?)));
        let owner = client.and_then(|client| masque.clients.by_key(&client));
        let owner = owner.or_else(|| masque.clients.by_credentials(&incoming.credentials));
        // What drains is not begun anew.
        let owner = owner
            .filter(|(slot, id)| self.peers[*slot].generation(*id).is_some_and(|(stage, _)| stage != Stage::Draining));
        let is_free = |(slot, id): &Owner| {
            let generation = self.peers[*slot].generations().find(|generation| generation.id == *id);
            generation.is_some_and(|generation| !generation.transport.has_tunnel())
        };
        let places = masque.clients.places();
        let owner = owner.or_else(|| places.iter().copied().find(is_free));
        let targets = match &incoming.target {
            Target::Any => Some(None),
            Target::Prefix(prefix) => Some(Some(vec![*prefix])),
            Target::Name(_) => None,
        };
        let scope = targets.and_then(|targets| Scope::new(targets, incoming.protocol).ok());
        let (Some((slot, generation)), Some(scope)) = (owner, scope) else {
            // Not a client of ours, or nothing that we resolve or match by.
            let status = match owner {
                Some(_) => 501,
                None if !masque.clients.places().is_empty() => 503,
                None if masque.clients.takes_credentials() => 401,
                None => 403,
            };
            masque.endpoint.refuse(id, &Answer::refused(status), now);
            self.counters.tunnels_refused.add(1);
            return;
        };
        let addresses = &self.peers[slot].addresses;
        let of = |v4: bool| addresses.iter().any(|prefix| prefix.addr().is_ipv4() == v4);
        let routes = scope.routes(of(true), of(false));
        let routes = masque.routes.as_ref().map_or_else(|| routes.clone(), |only| routes.within(only));
        masque.endpoint.accept(id, scope, now);
        masque.endpoint.assign(id, addresses, now);
        masque.endpoint.advertise(id, routes, now);
        masque.tunnels.insert(id, (slot, generation));
        masque.connections.insert(id.connection, (slot, generation));
        self.tunnel_stands((slot, generation), id, now);
        self.confirm(slot, generation);
        if let Some(client) = client {
            // There is no timestamp in it; that there was one is worth knowing.
            let peer_public_key = PublicKey(client);
            self.events.push_back(core::Event::HandshakeSeen { peer_public_key, timestamp: [0; 12] });
        }
    }

    fn addresses_requested(&mut self, id: TunnelId, requests: &[RequestedAddress], now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some((slot, _)) = masque.tunnels.get(&id).copied() else { return };
        let addresses = &self.peers[slot].addresses;
        let decide = |request: &RequestedAddress| -> Option<IpNet> {
            let wanted = request.prefix;
            let same = addresses.iter().filter(|own| own.addr().is_ipv4() == wanted.addr().is_ipv4());
            let any = wanted.addr().is_unspecified();
            same.copied().find(|own| any || own == &wanted)
        };
        masque.endpoint.answer_addresses(id, requests, decide, now);
    }

    /// Our request was accepted.
    fn tunnel_opened(&mut self, id: TunnelId, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some(owner) = masque.connections.get(&id.connection).copied() else { return };
        masque.tunnels.insert(id, owner);
        self.tunnel_stands(owner, id, now);
    }

    /// A tunnel is open; one that the generation had before is given up.
    fn tunnel_stands(&mut self, (slot, id): Owner, tunnel: TunnelId, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some((_, generation)) = self.peers[slot].generation(id) else { return };
        let Some(transport) = generation.transport.masque() else { return };
        if let Some(former) = transport.connection.filter(|former| *former != tunnel.connection) {
            masque.close(former);
        }
        transport.opened(tunnel, now);
        if let MasqueEnd::Device(gateway) = &transport.end {
            masque.endpoint.request_addresses(tunnel, &gateway.addresses, now);
        }
        if let Some((address, rtt)) = masque.endpoint.path(tunnel.connection) {
            generation.endpoint = Some(address);
            generation.rtt = rtt;
        }
        let endpoint = generation.endpoint;
        self.counters.handshakes.add(1);
        self.look_at(slot, now);
        if let Some(endpoint) = endpoint {
            self.tell_tunnel(slot, id, TunnelNews::Opened { endpoint });
        }
    }

    fn with_tunnel(&mut self, id: TunnelId, now: Instant, note: impl FnOnce(&mut MasqueTunnel) -> TunnelNews) {
        let Some((slot, owner)) = self.masque.as_ref().and_then(|masque| masque.tunnels.get(&id).copied()) else {
            return;
        };
        if let Some((_, generation)) = self.peers[slot].generation(owner)
            && let Some(tunnel) = generation.transport.masque()
        {
            let news = note(tunnel);
            self.tell_tunnel(slot, owner, news);
        }
        self.judge_ready(slot, owner, now);
    }

    /// A device's generation is ready once its tunnel may carry its traffic.
    pub(in crate::core) fn judge_ready(&mut self, slot: usize, id: GenerationId, now: Instant) {
        let mtu = self.mtu;
        let Some((_, generation)) = self.peers[slot].generation(id) else { return };
        if generation.transport.masque().is_some_and(|tunnel| tunnel.is_ready(mtu, now)) {
            self.confirm(slot, id);
        }
    }

    /// A tunnel is gone. A client begins anew; a gateway leaves the connection to its client, which is to learn why.
    fn tunnel_ended(&mut self, tunnel: TunnelId, end: TunnelEnd, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some((slot, id)) = masque.connections.get(&tunnel.connection).copied() else { return };
        let Some((_, generation)) = self.peers[slot].generation(id) else { return };
        let Some(transport) = generation.transport.masque() else { return };
        if matches!(transport.end, MasqueEnd::Device(_)) {
            return self.connection_lost(tunnel.connection, end, now);
        }
        masque.tunnels.remove(&tunnel);
        if transport.tunnel == Some(tunnel) {
            transport.lost(now);
            self.tell_tunnel(slot, id, TunnelNews::Ended(end));
        }
    }

    /// A connection is gone: a client tries again.
    fn connection_lost(&mut self, connection: ConnectionHandle, end: TunnelEnd, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some((slot, id)) = masque.connections.get(&connection).copied() else { return };
        masque.close(connection);
        let Some((_, generation)) = self.peers[slot].generation(id) else { return };
        if let Some(tunnel) = generation.transport.masque() {
            tunnel.renewing.take_if(|renewing| *renewing == connection);
            if tunnel.connection == Some(connection) {
                tunnel.lost(now);
                self.tell_tunnel(slot, id, TunnelNews::Ended(end));
            }
        }
        self.look_at(slot, now);
    }
}
