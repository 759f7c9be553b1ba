//! What tunnels tell: tunnels asked for, opened, given addresses, and lost.

use super::{Owner, TunnelEnd, TunnelNews};
use crate::core::peer::Stage;
use crate::core::{self, Engine, PeerKind};
use crate::generation::{
    Carrier, Generation, GenerationId, MasqueEnd, MasqueTunnel, Path, PublicKey, Transport, Width,
};
use crate::masque::addresses::Changes;
use crate::masque::capsule::{RequestedAddress, Routes};
use crate::masque::ip::Scope;
use crate::masque::request::{Answer, Dialect, Incoming, Target};
use crate::masque::session::{ConnectionError, Event, Fault, TunnelError, TunnelId, tls};
use ipnet::IpNet;
use std::time::Instant;

impl Engine {
    /// Handles all that the endpoint has to tell.
    pub(super) fn masque_events(&mut self, now: Instant) {
        // What ended a connection is told after the ends of its tunnels.
        let mut lost = Vec::new();
        while let Some(event) = self.masque.as_mut().and_then(|masque| masque.endpoint.poll_event()) {
            if let Event::Ended(tunnel, _) = &event
                && let Some(names) = self.masque.as_mut().and_then(|masque| masque.names.as_mut())
            {
                names.forget(*tunnel);
            }
            match event {
                Event::Requested(tunnel, incoming) => self.tunnel_requested(tunnel, &incoming, now),
                Event::AddressesRequested(id, requests) => self.addresses_requested(Path::Quic(id), &requests, now),
                Event::Opened(tunnel) => self.tunnel_opened(tunnel, now),
                Event::Assigned(id, changes) => self.addresses_assigned(Path::Quic(id), &changes, now),
                Event::RoutesAdvertised(id, routes) => self.routes_advertised(Path::Quic(id), routes, now),
                Event::MtuChanged(id, mtu) => {
                    self.width_changed(id, now, |width| width.out = mtu);
                    self.with_tunnel(Path::Quic(id), now, |_| TunnelNews::Mtu(mtu));
                }
                Event::ReachedBy(id, mtu) => self.width_changed(id, now, |width| width.back = mtu),
                Event::Ended(tunnel, Some(TunnelError::Connection)) => lost.push(tunnel.connection),
                Event::Ended(tunnel, error) => {
                    self.count_fault(error.as_ref().map_or(Fault::None, TunnelError::fault));
                    self.tunnel_ended(tunnel, error.map_or(TunnelEnd::InOrder, TunnelEnd::Tunnel), now);
                }
                Event::Closed(connection, error) => {
                    self.count_closed(&error);
                    let end = if error.is_in_order() { TunnelEnd::InOrder } else { error.into() };
                    self.carrier_lost(Carrier::Quic(connection), end, now);
                }
                Event::Connected(_) => {}
            }
        }
        for connection in lost {
            self.carrier_lost(Carrier::Quic(connection), TunnelError::Connection.into(), now);
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

    pub(super) fn count_fault(&self, fault: Fault) {
        match fault {
            Fault::Malformed => self.counters.peers_malformed.add(1),
            Fault::Excessive => self.counters.peers_excessive.add(1),
            Fault::None => {}
        }
    }

    /// The peer's capsules say which addresses are ours.
    pub(super) fn addresses_assigned(&mut self, path: Path, changes: &Changes, now: Instant) {
        self.with_tunnel(path, now, |tunnel| {
            tunnel.assigned(&changes.added, &changes.removed);
            TunnelNews::Assigned(tunnel.addresses().to_vec())
        });
    }

    /// The peer's capsules say where it forwards to.
    pub(super) fn routes_advertised(&mut self, path: Path, routes: Routes, now: Instant) {
        self.with_tunnel(path, now, |tunnel| {
            tunnel.routed = true;
            TunnelNews::Routes(routes)
        });
    }

    /// A client asks over HTTP/3.
    pub(super) fn tunnel_requested(&mut self, id: TunnelId, incoming: &Incoming, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let chain = masque.endpoint.peer_certificates(id.connection);
        let client = chain.and_then(|chain| Some(tls::key_id(&tls::public_key(chain.first()?).ok()?)));
        let resolves = masque.names.is_some() && incoming.resolved.is_none();
        if let Target::Name(name) = &incoming.target
            && resolves
            && self.admit_owner(client, incoming).is_ok()
        {
            return self.want_name(id, incoming, name.clone(), now);
        }
        let admitted = self.admit_tunnel(client, incoming);
        let offered = admitted.map(|(owner, scope)| (owner, self.offer(owner.0, &scope), scope));
        let Some(masque) = &mut self.masque else { return };
        match offered {
            Ok((owner, (addresses, routes), scope)) => {
                if !masque.endpoint.accept(id, scope, now) {
                    return;
                }
                masque.endpoint.assign(id, &addresses, now);
                masque.endpoint.advertise(id, routes, now);
                masque.tunnels.insert(id, owner);
                masque.connections.insert(id.connection, owner);
                self.tunnel_accepted(owner, client, Path::Quic(id), now);
            }
            Err(status) => {
                masque.endpoint.refuse(id, &Answer::refused(status), now);
                self.counters.tunnels_refused.add(1);
            }
        }
    }

    /// Who is it, and what may go through the tunnel? Otherwise the status that refuses it.
    pub(super) fn admit_tunnel(&self, client: Option<[u8; 32]>, incoming: &Incoming) -> Result<(Owner, Scope), u16> {
        let owner = self.admit_owner(client, incoming)?;
        let targets = match &incoming.target {
            Target::Any => None,
            Target::Prefix(prefix) => Some(vec![*prefix]),
            // Somebody else resolves them, or nobody.
            Target::Name(_) => Some(incoming.resolved.iter().flatten().copied().map(IpNet::from).collect()),
        };
        if matches!(&targets, Some(targets) if targets.is_empty()) {
            return Err(501);
        }
        let scope = Scope::new(targets, incoming.protocol).map_err(|_| 501_u16)?;
        Ok((owner, scope))
    }

    /// Who is it? Otherwise the status that refuses it.
    pub(super) fn admit_owner(&self, client: Option<[u8; 32]>, incoming: &Incoming) -> Result<Owner, u16> {
        let masque = self.masque.as_ref().ok_or(503_u16)?;
        let clients = &masque.clients;
        let generation = |(slot, id): Owner| self.peers[slot].generations().find(move |generation| generation.id == id);
        let known = client.and_then(|client| clients.by_key(&client));
        let known = known.or_else(|| clients.by_credentials(&incoming.credentials));
        // What drains is not begun anew.
        let known = known.filter(|owner| generation(*owner).is_some_and(|generation| generation.drain.is_none()));
        let is_free = |owner: &Owner| generation(*owner).is_some_and(|generation| !generation.transport.has_tunnel());
        known.or_else(|| clients.places().iter().copied().find(is_free)).ok_or({
            if !clients.places().is_empty() {
                503
            } else if clients.takes_credentials() {
                401
            } else {
                403
            }
        })
    }

    /// The addresses of a peer, and where we forward its packets to.
    pub(super) fn offer(&self, slot: usize, scope: &Scope) -> (Vec<IpNet>, Routes) {
        let addresses = self.peers[slot].addresses.clone();
        let of = |v4: bool| addresses.iter().any(|prefix| prefix.addr().is_ipv4() == v4);
        let asked = scope.routes(of(true), of(false));
        let only = self.masque.as_ref().and_then(|masque| masque.routes.as_ref());
        let routes = only.map_or_else(|| asked.clone(), |only| asked.within(only));
        (addresses, routes)
    }

    pub(super) fn tunnel_accepted(&mut self, owner: Owner, client: Option<[u8; 32]>, path: Path, now: Instant) {
        self.tunnel_stands(owner, path, now);
        self.confirm(owner.0, owner.1);
        if let Some(client) = client {
            // There is no timestamp in it; that there was one is worth knowing.
            let peer_public_key = PublicKey(client);
            self.events.push_back(core::Event::HandshakeSeen { peer_public_key, timestamp: [0; 12] });
        }
    }

    pub(super) fn addresses_requested(&mut self, path: Path, requests: &[RequestedAddress], now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some((slot, _)) = masque.owner(path) else { return };
        let addresses = &self.peers[slot].addresses;
        let decide = |request: &RequestedAddress| -> Option<IpNet> {
            let wanted = request.prefix;
            let same = addresses.iter().filter(|own| own.addr().is_ipv4() == wanted.addr().is_ipv4());
            let any = wanted.addr().is_unspecified();
            same.copied().find(|own| any || own == &wanted)
        };
        match path {
            Path::Quic(id) => masque.endpoint.answer_addresses(id, requests, decide, now),
            Path::Stream(key) => {
                masque.streams.act(key, |stream| stream.answer_addresses(requests, decide));
            }
        }
    }

    /// Our request was accepted.
    fn tunnel_opened(&mut self, id: TunnelId, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some(owner) = masque.connections.get(&id.connection).copied() else { return };
        masque.tunnels.insert(id, owner);
        let most = masque.endpoint.most(id).unwrap_or(u16::MAX);
        let Some((_, generation)) = self.peers[owner.0].generation(owner.1) else { return };
        if generation.transport.masque().is_some_and(|transport| transport.waits(id, most, now)) {
            return self.look_at(owner.0, now);
        }
        self.tunnel_stands(owner, Path::Quic(id), now);
    }

    /// How long a packet may be in a tunnel over HTTP/3 has changed.
    fn width_changed(&mut self, id: TunnelId, now: Instant, note: impl FnOnce(&mut Width)) {
        let Some((slot, generation)) = self.masque.as_ref().and_then(|masque| masque.owner(Path::Quic(id))) else {
            return;
        };
        let Some((_, owner)) = self.peers[slot].generation(generation) else { return };
        if let Some(width) = owner.transport.masque().and_then(|transport| transport.width_of(Path::Quic(id))) {
            note(width);
        }
        self.judge_ready(slot, generation, now);
        self.let_arrive(slot, now);
    }

    /// Has tunnels over HTTP/3 that need not wait any longer take the place of those over HTTP/2.
    pub(in crate::core) fn let_arrive(&mut self, slot: usize, now: Instant) {
        let mtu = self.mtu;
        let arrived = |generation: &Generation| match &generation.transport {
            Transport::Masque(tunnel) => Some((generation.id, tunnel.arrived(mtu, now)?)),
            Transport::WireGuard(_) => None,
        };
        let arrived: Vec<_> = self.peers[slot].generations().filter_map(arrived).collect();
        for (id, tunnel) in arrived {
            self.tunnel_stands((slot, id), Path::Quic(tunnel), now);
        }
    }

    /// A tunnel is open.
    pub(super) fn tunnel_stands(&mut self, (slot, id): Owner, path: Path, now: Instant) {
        let mtu = u16::try_from(self.mtu).unwrap_or(u16::MAX);
        let Some(masque) = &mut self.masque else { return };
        let Some((stage, generation)) = self.peers[slot].generation(id) else { return };
        let Some(transport) = generation.transport.masque() else { return };
        let heard = transport.path.and_then(|current| masque.heard(current));
        if !transport.opened(path, heard, now, |carrier| masque.close(carrier)) {
            return;
        }
        if let MasqueEnd::Device(gateway) = &transport.end {
            match path {
                Path::Quic(tunnel) => masque.endpoint.request_addresses(tunnel, &gateway.addresses, now),
                Path::Stream(key) => masque.streams.act(key, |stream| stream.request_addresses(&gateway.addresses)),
            }
        }
        match path {
            Path::Quic(tunnel) => {
                transport.width.most = masque.endpoint.most(tunnel).unwrap_or(u16::MAX);
                if let Some((address, rtt)) = masque.endpoint.path(tunnel.connection) {
                    generation.endpoint = Some(address);
                    generation.rtt = rtt;
                }
            }
            Path::Stream(key) => {
                transport.width = Width::of_stream(mtu);
                generation.endpoint = masque.streams.remote(key);
            }
        }
        let endpoint = generation.endpoint;
        self.counters.handshakes.add(1);
        let device = self.peers[slot].kind == PeerKind::Gateway;
        if device {
            let (peer, http) = (self.peers[slot].id, path.carrier().http());
            self.events.push_back(core::Event::Carried { peer, generation: id, http, endpoint });
        }
        if device && stage == Stage::Active {
            self.announce(slot, now);
        }
        self.look_at(slot, now);
        if let Some(endpoint) = endpoint {
            self.tell_tunnel(slot, id, TunnelNews::Opened { endpoint, http: path.carrier().http() });
        }
    }

    fn with_tunnel(&mut self, path: Path, now: Instant, note: impl FnOnce(&mut MasqueTunnel) -> TunnelNews) {
        let Some((slot, id)) = self.masque.as_ref().and_then(|masque| masque.owner(path)) else { return };
        if let Some((_, generation)) = self.peers[slot].generation(id)
            && let Some(tunnel) = generation.transport.masque().filter(|tunnel| tunnel.path == Some(path))
        {
            let news = note(tunnel);
            self.tell_tunnel(slot, id, news);
        }
        self.judge_ready(slot, id, now);
    }

    /// A device's generation is ready once its tunnel may carry its traffic: the adapter's longest packets, or those that
    /// the one in use carries.
    pub(in crate::core) fn judge_ready(&mut self, slot: usize, id: GenerationId, now: Instant) {
        let in_use = self.peers[slot].active.as_ref().filter(|active| active.id != id);
        let narrow = in_use.and_then(|active| match &active.transport {
            Transport::Masque(tunnel) => tunnel.path_mtu(),
            Transport::WireGuard(_) => None,
        });
        let mtu = narrow.map_or(self.mtu, |narrow| self.mtu.min(narrow.into()));
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
            return self.carrier_lost(Carrier::Quic(tunnel.connection), end, now);
        }
        masque.tunnels.remove(&tunnel);
        if transport.lost(Carrier::Quic(tunnel.connection), now) {
            self.tell_tunnel(slot, id, TunnelNews::Ended(end));
        }
    }

    /// A carrier is gone: a device tries again.
    pub(super) fn carrier_lost(&mut self, carrier: Carrier, end: TunnelEnd, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let owner = match carrier {
            Carrier::Quic(connection) => masque.connections.get(&connection).copied(),
            Carrier::Stream(key) => masque.streams.owner(key),
        };
        let Some((slot, id)) = owner else { return };
        masque.close(carrier);
        let Some((_, generation)) = self.peers[slot].generation(id) else { return };
        if let Some(tunnel) = generation.transport.masque()
            && tunnel.lost(carrier, now)
        {
            let idle = masque.dialect == Dialect::Warp && end == TunnelEnd::InOrder;
            if idle {
                tunnel.sleep();
            }
            self.tell_tunnel(slot, id, TunnelNews::Ended(if idle { TunnelEnd::Idle } else { end }));
        }
        self.let_arrive(slot, now);
        self.look_at(slot, now);
    }
}
