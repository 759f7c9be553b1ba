//! What the two ends tell each other about a swap, inside the tunnel: marker, acknowledgement, end.

use super::control_packet::ControlPacket;
use super::peer::{Peer, Stage};
use super::{Engine, Event, PeerKind, send};
use crate::generation::{GenerationId, Marker};
use std::time::Instant;

impl Engine {
    /// Before a generation is replaced by one that travels another way: its last packet tells so.
    pub(super) fn send_end(&mut self, slot: usize, now: Instant) {
        let Peer { active: Some(old), preparing: Some(next), kind, .. } = &mut self.peers[slot] else { return };
        if *kind == PeerKind::Plain || !(old.transport.is_masque() || next.transport.is_masque()) {
            return;
        }
        let packet = ControlPacket::End { swap_seq: old.swap_seq }.encode();
        // If it is lost, the other end waits in vain, but not for long.
        let masque = self.masque.as_deref_mut();
        if send::seal(old, *kind, &packet, masque, &mut self.transmits, &self.counters, now).is_ok() {
            self.counters.control_sent.add(1);
        }
        // Nothing of the new generation may leave before it.
        self.flush_masque(now);
    }

    /// Tells the gateway that everything after this leaves under the new generation.
    pub(super) fn send_marker(&mut self, slot: usize, now: Instant) {
        let Peer { active: Some(active), kind, .. } = &mut self.peers[slot] else { return };
        let Some(marker) = active.marker else { return };
        let packet = ControlPacket::Marker {
            swap_seq: active.swap_seq,
            old_receiver: marker.old_receiver,
            old_counter: marker.old_counter,
        };
        // A lost marker is sent again, so that the outcome needs no look here.
        if send::seal(
            active,
            *kind,
            &packet.encode(),
            self.masque.as_deref_mut(),
            &mut self.transmits,
            &self.counters,
            now,
        )
        .is_ok()
        {
            self.counters.control_sent.add(1);
        }
        self.deadlines.arm(slot, marker.resend_at);
        self.arm(slot, now);
    }

    /// A device's active generation travels another way from now on: the gateway follows its packets, so one is due.
    pub(super) fn announce(&mut self, slot: usize, now: Instant) {
        let Peer { active: Some(active), kind: PeerKind::Gateway, .. } = &mut self.peers[slot] else { return };
        let rtt = active.rtt;
        active.marker.get_or_insert_with(|| Marker::new(None, rtt, now));
        self.send_marker(slot, now);
    }

    /// An inner control packet, opened by generation `id`.
    pub(super) fn handle_control(&mut self, slot: usize, id: GenerationId, packet: &[u8], now: Instant) -> bool {
        let Some(control) = ControlPacket::parse(packet) else { return false };
        let peer = &mut self.peers[slot];
        let (peer_id, kind) = (peer.id, peer.kind);
        let Some((stage, generation)) = peer.generation(id) else { return false };
        match (kind, control) {
            (PeerKind::Device, ControlPacket::Marker { swap_seq, old_receiver, old_counter }) => {
                if generation.swap_seq != swap_seq || stage == Stage::Draining {
                    return false;
                }
                if stage == Stage::Preparing && !self.commit_from_device(slot, id, now) {
                    return false;
                }
                let Peer { active: Some(active), draining, .. } = &mut self.peers[slot] else { return false };
                let old = draining.iter_mut().find(|old| old.index == Some(old_receiver >> 8));
                if let Some(drain) = old.and_then(|old| old.drain.as_mut()) {
                    drain.limit.get_or_insert((old_receiver, old_counter));
                }
                let answer = ControlPacket::Acknowledgement { swap_seq }.encode();
                let masque = self.masque.as_deref_mut();
                let sealed = send::seal(active, kind, &answer, masque, &mut self.transmits, &self.counters, now);
                self.counters.control_sent.add(u64::from(sealed.is_ok()));
                true
            }
            (PeerKind::Gateway, ControlPacket::Acknowledgement { swap_seq }) => {
                if stage == Stage::Preparing || generation.swap_seq != swap_seq {
                    return false;
                }
                if generation.marker.take().is_some() {
                    self.events.push_back(Event::Acknowledged { peer: peer_id, generation: id });
                }
                self.followed(slot, swap_seq, now);
                true
            }
            (PeerKind::Device | PeerKind::Gateway, ControlPacket::End { swap_seq }) => {
                if generation.swap_seq != swap_seq || stage == Stage::Preparing {
                    return false;
                }
                generation.ended_at.get_or_insert(now);
                self.ended(slot, id, now);
                true
            }
            _ => false,
        }
    }
}
