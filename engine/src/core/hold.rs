//! Packets of a new generation that are held back for the last ones of the old.
//!
//! Where both travel over WireGuard on one path, their order is the order of sending. Between a QUIC connection and
//! anything else it is not: the sender ends the old generation by a control packet, and until that comes the receiver
//! holds what it has opened under the new one, at most `HOLD_MOST` and `HOLD_BYTES`. An expiry is counted.

use super::Engine;
use super::drains::LATE;
use super::peer::Peer;
use crate::generation::{Generation, GenerationId, HOLD_BYTES, HOLD_MOST};
use crate::packet::Place;
use std::collections::VecDeque;
use std::time::Instant;

/// What is held for a peer.
#[derive(Debug)]
pub(super) struct Holding {
    /// Whose end is awaited.
    old: GenerationId,
    packets: VecDeque<(GenerationId, Vec<u8>)>,
    bytes: usize,
    /// From the first packet on.
    until: Option<Instant>,
    /// It has been waited for twice: the first time we were not there to read it.
    again: bool,
}

impl Holding {
    /// What is to be held when `new` replaces `old`, if anything.
    pub(super) fn between(old: &Generation, new: &Generation) -> Option<Box<Self>> {
        let another_way = old.transport.is_masque() || new.transport.is_masque();
        let awaited = another_way && old.ended_at.is_none();
        awaited.then(|| Box::new(Self { old: old.id, packets: VecDeque::new(), bytes: 0, until: None, again: false }))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

impl Engine {
    /// Holds an opened packet back; false when nothing is awaited.
    pub(super) fn hold(&mut self, slot: usize, id: GenerationId, place: &Place, now: Instant) -> bool {
        let Peer { holding: Some(holding), draining, .. } = &mut self.peers[slot] else { return false };
        if draining.iter().all(|generation| generation.id != holding.old) {
            // It is over, and nothing of it can come any more.
            self.let_go(slot, now);
            return false;
        }
        let packet = self.deliveries.packet(place).to_vec();
        holding.bytes += packet.len();
        holding.packets.push_back((id, packet));
        let until = *holding.until.get_or_insert(now + HOLD_MOST);
        if holding.bytes > HOLD_BYTES {
            self.counters.holds_expired.add(1);
            self.let_go(slot, now);
        } else {
            self.deadlines.arm(slot, until);
        }
        true
    }

    /// The old generation has ended: what was held for it goes on.
    pub(super) fn ended(&mut self, slot: usize, old: GenerationId, now: Instant) {
        if self.peers[slot].holding.as_ref().is_some_and(|holding| holding.old == old) {
            self.let_go(slot, now);
        }
    }

    /// Nothing is waited for any longer than agreed.
    pub(super) fn expire_hold(&mut self, slot: usize, now: Instant) {
        let Some(holding) = &mut self.peers[slot].holding else { return };
        let Some(until) = holding.until.filter(|until| *until <= now) else { return };
        if now.saturating_duration_since(until) >= LATE && !std::mem::replace(&mut holding.again, true) {
            holding.until = Some(now + HOLD_MOST);
            return;
        }
        self.counters.holds_expired.add(1);
        self.let_go(slot, now);
        self.deliveries.finish();
    }

    pub(super) fn let_go(&mut self, slot: usize, now: Instant) {
        let Some(holding) = self.peers[slot].holding.take() else { return };
        for (id, packet) in holding.packets {
            let (start, room) = self.deliveries.open(packet.len());
            room.copy_from_slice(&packet);
            if let Err(reason) = self.opened(slot, id, (start..start + packet.len()).into(), now) {
                self.counters.dropped(reason);
            }
        }
    }
}
