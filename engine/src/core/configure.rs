//! What a WireGuard interface may be told while it runs, and what it tells of its peers.
//!
//! Addresses are [`Engine::set_peer`]'s. Another static key makes a new generation: [`Engine::renew`] carries over what
//! belongs to the peer, and the old one drains.

use super::{Engine, Event, PeerId, PeerKind, PrepareError};
use crate::generation::{Generation, GenerationConfig, GenerationId, PrivateKey};
use crate::wireguard::Responder;
use std::net::SocketAddr;
use std::time::Instant;

/// Bytes of whole datagrams, handshakes and overhead included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    sent: u64,
    received: u64,
}

/// What `wg show` tells of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStatistics {
    /// Where its newest authentic packet came from, or where it was told to be.
    pub endpoint: Option<SocketAddr>,
    /// Bytes of the datagrams sent to it, handshakes and overhead included.
    pub tx_bytes: u64,
    /// The same of the authentic datagrams received.
    pub rx_bytes: u64,
}

impl Engine {
    /// Changes the static key at which initiators knock. Generations keep the key that they were prepared with.
    pub fn set_private_key(&mut self, key: &PrivateKey, now: Instant) {
        self.responder = Responder::new(key, self.sessions.random.fork(), now);
    }

    /// Moves the active generation's endpoint; false without one. The peer's next authentic packet may move it again.
    pub fn set_endpoint(&mut self, peer: PeerId, endpoint: SocketAddr, now: Instant) -> bool {
        let Some(&slot) = self.slots.get(&peer) else { return false };
        let Some(active) = &mut self.peers[slot].active else { return false };
        active.endpoint = Some(endpoint);
        if let Some(session) = active.transport.wireguard() {
            session.resume_keepalive(now);
        }
        self.arm(slot, now);
        true
    }

    /// Where else the peer of a generation over WireGuard may be: while it answers nowhere and there is no session, all but
    /// the first initiation go there as well. From where it answers is its endpoint.
    pub fn set_further_endpoints(&mut self, peer: PeerId, id: GenerationId, further: Vec<SocketAddr>) {
        let Some(&slot) = self.slots.get(&peer) else { return };
        if let Some((_, generation)) = self.peers[slot].generation(id) {
            generation.further = further;
        }
    }

    /// Changes the active generation's keepalive; the first leaves at once, or a handshake in its place. False when it
    /// takes a new generation: there is none, or its session is boringtun's.
    pub fn set_keepalive(&mut self, peer: PeerId, seconds: Option<u16>, now: Instant) -> bool {
        let Some(&slot) = self.slots.get(&peer) else { return false };
        let session = self.peers[slot].active.as_mut().and_then(|active| active.transport.wireguard());
        let changed = session.is_some_and(|session| session.set_persistent_keepalive(seconds, now));
        self.arm(slot, now);
        changed
    }

    /// Changes the active generation's preshared key. As in WireGuard the keys in use stay, and the next handshake
    /// stands under the new one. False as for [`Self::set_keepalive`].
    pub fn set_preshared_key(&mut self, peer: PeerId, key: Option<&PrivateKey>) -> bool {
        let Some(&slot) = self.slots.get(&peer) else { return false };
        let session = self.peers[slot].active.as_mut().and_then(|active| active.transport.wireguard());
        session.is_some_and(|session| session.set_preshared_key(key))
    }

    /// Prepares `config` as the successor of the active generation: the greatest handshake timestamp seen, and the
    /// endpoint unless `config` names one, are carried over. When there was a session, its successor is begun at once,
    /// so that a peer which only sends need not find out by itself.
    ///
    /// # Errors
    /// As for [`Engine::prepare`].
    pub fn renew(&mut self, peer: PeerId, mut config: GenerationConfig, now: Instant) -> Result<(), PrepareError> {
        let active = self.slots.get(&peer).and_then(|&slot| self.peers[slot].active.as_ref());
        let mut had_session = false;
        if let Some(active) = active {
            had_session = active.completed.is_some();
            config.endpoint = config.endpoint.or(active.endpoint);
            if config.peer_public_key == active.peer_public_key {
                config.last_handshake = config.last_handshake.max(active.last_handshake);
            }
        }
        self.prepare(peer, config, now)?;
        if had_session {
            self.rekey(peer, now);
        }
        Ok(())
    }

    /// True when no living generation has this receiver index.
    #[must_use]
    pub fn is_index_free(&self, index: u32) -> bool {
        !self.indices.contains(index)
    }

    /// What is known of a peer; `None` for an unknown one.
    #[must_use]
    pub fn peer_statistics(&self, peer: PeerId) -> Option<PeerStatistics> {
        let peer = &self.peers[*self.slots.get(&peer)?];
        let mut traffic = peer.ended;
        for generation in peer.generations() {
            traffic.add(generation);
        }
        let endpoint = peer.active.as_ref().and_then(|active| active.endpoint);
        Some(PeerStatistics { endpoint, tx_bytes: traffic.sent, rx_bytes: traffic.received })
    }

    /// Tells that both ends have the keys of a plain peer's session `receiver`, once per session.
    pub(super) fn handshake_completed(&mut self, slot: usize, id: GenerationId, receiver: u32) {
        let plain = self.peers[slot].kind == PeerKind::Plain;
        let Some((_, generation)) = self.peers[slot].generation(id) else { return };
        if generation.completed.replace(receiver) != Some(receiver) && plain {
            self.events.push_back(Event::HandshakeCompleted { peer: generation.peer, generation: id });
        }
    }

    /// Keeps the traffic of a generation that ends.
    pub(super) fn fold(&mut self, generation: &Generation) {
        if let Some(&slot) = self.slots.get(&generation.peer) {
            self.peers[slot].ended.add(generation);
        }
    }
}

impl Traffic {
    fn add(&mut self, generation: &Generation) {
        self.sent += generation.counters.tx_bytes.get();
        self.received += generation.counters.rx_bytes.get();
    }
}
