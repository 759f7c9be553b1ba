//! How long a generation drains.
//!
//! A drain is for what the other end has sent under the old generation and we have not read yet. Time alone does not say
//! when that is over, for either end may have had no processor in between. It is over when all of this is true:
//!
//! 1. The other end has moved on. A gateway hears that before it commits; a device hears it by the acknowledgement.
//!    Until then the gateway, however late it is, seals under the old generation.
//! 2. The other end has said so under the old generation, where that travels its own way (`ControlPacket::End`).
//! 3. What we have sealed ourselves has left: QUIC may still be waiting for the path to take it.
//! 4. `max(3 RTT, 1 s)` have passed since then, for what the path has delayed. Not counted is time in which we were not
//!    there: who looks late has not read what came meanwhile.
//!
//! It ends after `DRAIN_MAX` whatever is missing, and at once when the generation is revoked.

use super::peer::Peer;
use super::{Engine, PeerKind};
use crate::generation::DRAIN_MAX;
use std::time::{Duration, Instant};

/// Who looks so much later than asked had no processor, and has not read what came meanwhile.
pub(super) const LATE: Duration = Duration::from_millis(20);
/// Between two looks whether what is missing has come.
const LOOK: Duration = Duration::from_millis(50);

impl Engine {
    /// Ends the drains of a peer that are over.
    pub(super) fn end_drains(&mut self, slot: usize, now: Instant) {
        let mut at = 0;
        while at < self.peers[slot].draining.len() {
            if self.drains_on(slot, at, now) {
                at += 1;
            } else {
                let drained = self.peers[slot].draining.remove(at);
                self.end(drained);
            }
        }
    }

    /// The gateway acts under the generation of order `swap_seq`, and under none before it from now on.
    pub(super) fn followed(&mut self, slot: usize, swap_seq: u64, now: Instant) {
        let older = self.peers[slot].draining.iter_mut().filter(|old| old.swap_seq < swap_seq);
        for drain in older.filter_map(|old| old.drain.as_mut()).filter(|drain| !drain.followed) {
            drain.followed = true;
            drain.until = drain.until.max(now + drain.length).min(drain.since + DRAIN_MAX);
        }
    }

    fn drains_on(&mut self, slot: usize, at: usize, now: Instant) -> bool {
        let Peer { kind, draining, .. } = &mut self.peers[slot];
        let Some(old) = draining.get_mut(at) else { return false };
        let Some(drain) = &mut old.drain else { return false };
        if now < drain.until {
            return true;
        }
        let late = now.saturating_duration_since(drain.until);
        if late >= LATE {
            drain.since += late;
        }
        let end = drain.since + DRAIN_MAX;
        if now >= end {
            return false;
        }
        if late >= LATE {
            drain.until = end.min(now + drain.length);
            return true;
        }
        let followed = drain.followed;
        let path = old.transport.masque().and_then(|tunnel| tunnel.path);
        let unsaid = path.is_some() && old.ended_at.is_none() && *kind != PeerKind::Plain;
        let unsent = path.is_some_and(|path| self.masque.as_mut().is_some_and(|masque| masque.has_waiting(path)));
        let waits = !followed || unsaid || unsent;
        if let Some(drain) = old.drain.as_mut().filter(|_| waits) {
            drain.until = end.min(now + LOOK);
        }
        waits
    }
}
