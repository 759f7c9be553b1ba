//! The swap: `prepare -> ready -> commit -> drain -> retire`, or `abort` (DESIGN: "The swap").

use super::hold::Holding;
use super::peer::{Peer, Stage};
use super::sweep::Sweeping;
use super::{CommitError, Engine, Event, PeerId, PeerKind, PrepareError, send};
use crate::generation::{
    Bundle, DRAIN_EARLY, DRAIN_MAX, DRAIN_MIN, Drain, Generation, GenerationConfig, GenerationId, MAX_DRAINING, Marker,
    Transport,
};
use crate::policy::Policy;
use crate::wireguard::Role;
use std::borrow::BorrowMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Engine {
    /// Starts a generation beside the active one. `Device` and `Gateway` kinds: a still preparing one gives way.
    /// `Plain` kind: it becomes active at once, and its session handshakes when there is something to send.
    ///
    /// # Errors
    /// Unknown peer, index in use, a key of another peer, or `swap_seq` not above every one seen.
    pub fn prepare(&mut self, peer: PeerId, config: GenerationConfig, now: Instant) -> Result<(), PrepareError> {
        let (slot, kind) = self.admit_order(peer, config.swap_seq)?;
        if self.indices.contains(config.index) {
            return Err(PrepareError::IndexInUse(config.index));
        }
        let answers = kind != PeerKind::Gateway;
        if answers && self.initiators.get(&config.peer_public_key.0).is_some_and(|(owner, _)| *owner != slot) {
            return Err(PrepareError::KeyInUse);
        }
        let limiter = answers.then(|| self.responder.session_limiter());
        let role = match kind {
            PeerKind::Gateway => Role::Device,
            PeerKind::Device => Role::Gateway,
            PeerKind::Plain => Role::Plain,
        };
        let session =
            self.sessions.open(&config, self.responder.public_key_of(&config.private_key), role, limiter, now);
        let transport = Transport::WireGuard(session);
        let mut generation = Box::new(Generation::new(peer, &Bundle::from(&config), transport, &self.counters, now));
        generation.endpoint = config.endpoint;
        generation.index = Some(config.index & 0x00ff_ffff);
        generation.peer_public_key = config.peer_public_key;
        // Greatest handshake timestamps are kept per static key, not per generation.
        let known = self.peers[slot].generations().filter(|known| known.peer_public_key == config.peer_public_key);
        let greatest = known.map(|known| known.last_handshake).max().unwrap_or_default();
        generation.last_handshake = config.last_handshake.max(greatest);
        self.indices.insert(config.index, slot, config.id);
        if answers {
            self.initiators.insert(config.peer_public_key.0, (slot, config.id));
        }
        if kind == PeerKind::Gateway {
            send::initiate(&mut generation, &mut self.transmits, &self.counters, now);
        }
        self.place(slot, generation, now);
        Ok(())
    }

    /// Whether a new order may come; the peer's slot and kind.
    pub(super) fn admit_order(&self, peer: PeerId, got: u64) -> Result<(usize, PeerKind), PrepareError> {
        let &slot = self.slots.get(&peer).ok_or(PrepareError::UnknownPeer(peer))?;
        let Peer { kind, highest_seq: seen, .. } = self.peers[slot];
        if kind != PeerKind::Plain && got <= seen {
            return Err(PrepareError::StaleOrder { got, seen });
        }
        Ok((slot, kind))
    }

    /// Puts a new generation in its place; one that still prepares gives way.
    pub(super) fn place(&mut self, slot: usize, mut generation: Box<Generation>, now: Instant) {
        if let Some(stale) = self.peers[slot].preparing.take() {
            self.end(stale);
        }
        let peer = &mut self.peers[slot];
        peer.highest_seq = peer.highest_seq.max(generation.swap_seq);
        let plain = peer.kind == PeerKind::Plain;
        generation.ready |= plain;
        peer.preparing = Some(generation);
        if plain {
            self.switch(slot, now);
        }
        self.look_at(slot, now);
    }

    /// Makes a ready generation the one that everything leaves under, from the next batch on. The former one drains.
    ///
    /// # Errors
    /// Not prepared, handshake not confirmed yet, or too many generations still draining (`retry_after` says when).
    pub fn commit(&mut self, peer: PeerId, generation: GenerationId, now: Instant) -> Result<(), CommitError> {
        let slot = *self.slots.get(&peer).ok_or(CommitError::NotPreparing(generation))?;
        let preparing = self.peers[slot].preparing.as_ref().filter(|preparing| preparing.id == generation);
        if !preparing.ok_or(CommitError::NotPreparing(generation))?.ready {
            return Err(CommitError::NotReady(generation));
        }
        if let Some(retry_after) = self.drain_full(slot, now) {
            return Err(CommitError::DrainingFull { retry_after });
        }
        let replaces = self.peers[slot].active.is_some();
        self.switch(slot, now);
        if self.peers[slot].kind == PeerKind::Gateway {
            let old = self.peers[slot].draining.last().filter(|_| replaces).and_then(|old| old.last_sealed);
            if let Some(active) = &mut self.peers[slot].active {
                active.marker = Some(Marker::new(old, active.rtt, now));
            }
            self.send_marker(slot, now);
        }
        self.flush_masque(now);
        Ok(())
    }

    /// Gives up a generation that was not committed; the active one is not disturbed.
    pub fn abort(&mut self, peer: PeerId, generation: GenerationId) {
        let Some(&slot) = self.slots.get(&peer) else { return };
        if let Some(aborted) = self.peers[slot].preparing.take_if(|preparing| preparing.id == generation) {
            self.end(aborted);
            self.flush_closed();
        }
    }

    /// Ends a generation at once, whatever its state (revocation). Its keys are dropped.
    pub fn retire(&mut self, peer: PeerId, generation: GenerationId, now: Instant) {
        let Some(&slot) = self.slots.get(&peer) else { return };
        let Peer { active, preparing, draining, .. } = &mut self.peers[slot];
        let retired = active.take_if(|g| g.id == generation).or_else(|| preparing.take_if(|g| g.id == generation));
        let retired = retired.or_else(|| {
            let at = draining.iter().position(|g| g.id == generation)?;
            Some(Box::new(draining.remove(at)))
        });
        if let Some(retired) = retired {
            self.end(retired);
            self.flush_masque(now);
        }
    }

    /// New rules for a generation: a new epoch, no new keys. Live flows are judged again within a second. Returns the
    /// former rules: large ones take milliseconds to drop, which no packet should wait for.
    pub fn publish(
        &mut self,
        peer: PeerId,
        generation: GenerationId,
        policy: Arc<Policy>,
        now: Instant,
    ) -> Option<Arc<Policy>> {
        let &slot = self.slots.get(&peer)?;
        let (stage, live) = self.peers[slot].generation(generation)?;
        let former = std::mem::replace(&mut live.policy, policy);
        if stage == Stage::Active {
            self.new_epoch(slot, now);
        }
        Some(former)
    }

    /// The gateway's commit: the device's marker or first data came under the highest order.
    pub(super) fn commit_from_device(&mut self, slot: usize, id: GenerationId, now: Instant) -> bool {
        let peer = &self.peers[slot];
        let highest = peer.highest_seq;
        if !peer.preparing.as_ref().is_some_and(|preparing| preparing.id == id && preparing.swap_seq == highest) {
            return false;
        }
        // The device has moved on and cannot wait: the oldest generation gives way, finished or not.
        while self.peers[slot].draining.len() >= MAX_DRAINING {
            let oldest = self.peers[slot].draining.remove(0);
            self.end(oldest);
        }
        self.switch(slot, now);
        true
    }

    /// The one step in which everything moves: generation, identity, epoch.
    fn switch(&mut self, slot: usize, now: Instant) {
        let epoch = self.next_epoch();
        // From an earlier swap: whoever overtakes it does not wait for it.
        self.let_go(slot, now);
        self.send_end(slot, now);
        let peer = &mut self.peers[slot];
        let Some(next) = peer.preparing.take() else { return };
        let old = peer.active.as_ref().filter(|_| peer.kind != PeerKind::Plain);
        peer.holding = old.and_then(|old| Holding::between(old, &next));
        let committed = (next.id, next.swap_seq);
        let rtt = next.rtt;
        let previous = peer.active.replace(next);
        let previous_id = previous.as_ref().map(|generation| generation.id);
        let previous_rules = previous.as_ref().map(|generation| Arc::clone(&generation.policy));
        if let Some(mut old) = previous {
            let path = |generation: &mut Generation| generation.transport.masque().and_then(|tunnel| tunnel.path);
            if let (Some(masque), Some(former), Some(next)) =
                (&mut self.masque, path(&mut old), peer.active.as_deref_mut().and_then(path))
            {
                masque.succeed(former, next, now);
            }
            let length = (rtt.max(old.rtt) * 3).clamp(DRAIN_MIN, DRAIN_MAX);
            old.marker = None;
            // A gateway has been told already, by what makes it commit.
            let followed = peer.kind != PeerKind::Gateway;
            old.drain = Some(Drain { since: now, until: now + length, length, followed, limit: None });
            peer.draining.push(*old);
        }
        let peer = &mut self.peers[slot];
        peer.epoch = epoch;
        // Without a former generation, or under the same rules, no flow can be denied that was allowed.
        let same_rules = previous_rules.is_none_or(|former| peer.rules_are(&former));
        if peer.kind != PeerKind::Plain || !same_rules {
            peer.sweeping = Some(Sweeping::start());
        }
        let event =
            Event::Committed { peer: peer.id, generation: committed.0, previous: previous_id, swap_seq: committed.1 };
        self.events.push_back(event);
        self.counters.commits.add(1);
        self.deadlines.arm(slot, now);
    }

    fn new_epoch(&mut self, slot: usize, now: Instant) {
        self.peers[slot].epoch = self.next_epoch();
        self.peers[slot].sweeping = Some(Sweeping::start());
        self.deadlines.arm(slot, now);
    }

    /// Makes room for one more draining generation; otherwise how long until there is.
    fn drain_full(&mut self, slot: usize, now: Instant) -> Option<Duration> {
        let peer = &mut self.peers[slot];
        if peer.active.is_none() || peer.draining.len() < MAX_DRAINING {
            return None;
        }
        let oldest = peer.draining.first()?;
        let drain = oldest.drain?;
        let early = (oldest.rtt * 3).max(DRAIN_EARLY);
        let waited = now.saturating_duration_since(drain.since);
        if waited < early {
            return Some(early - waited);
        }
        // As long as the gateway has not moved on, it sends under the old generations.
        if !drain.followed && waited < DRAIN_MAX {
            return Some(early.min(DRAIN_MAX - waited));
        }
        let oldest = peer.draining.remove(0);
        self.end(oldest);
        None
    }

    /// The end of a generation: its session, and with it every key, is dropped.
    pub(super) fn end(&mut self, mut ended: impl BorrowMut<Generation>) {
        let generation = ended.borrow_mut();
        if let Some(index) = generation.index {
            self.indices.remove(index);
        }
        if let Some(masque) = &mut self.masque {
            masque.end(generation);
        }
        let key = generation.peer_public_key.0;
        if self.initiators.get(&key).is_some_and(|(_, id)| *id == generation.id) {
            self.initiators.remove(&key);
        }
        self.fold(generation);
        self.counters.close_generation(generation.id);
        self.events.push_back(Event::Retired { peer: generation.peer, generation: generation.id });
    }
}
