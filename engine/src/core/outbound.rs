//! Outbound: adapter -> classify -> policy -> WireGuard | MASQUE -> socket.
//!
//! 1. The adapter lends a batch of frames; each is one packet or one super-packet of a single flow.
//! 2. The headers are parsed once, the destination names the peer (cryptokey routing). Control packets are ours alone.
//! 3. The flow's verdict is looked up once per frame; a denied one is answered back to the adapter.
//! 4. The frame is cut into packets, and all are sealed from where they lie straight into the batch for the socket; or
//!    QUIC gets them, which makes such batches itself (`masque/carry.rs`).

use super::control_packet::ControlPacket;
use super::judge::{Judge, Judged, Walk};
use super::{DropReason, Engine, PeerKind, peer::Peer, seal, send};
use crate::packet::header::Headers;
use crate::packet::rewrite::rewrite;
use crate::packet::{Cut, Frame, Frames, Gso, Head, answer};
use std::time::Instant;

impl Engine {
    /// A batch from the adapter. Fills [`Self::transmits`], and [`Self::deliveries`] with deny answers.
    pub fn handle_frames(&mut self, frames: &mut impl Frames, now: Instant) {
        while let Some(frame) = frames.next_frame() {
            self.counters.frames.add(1);
            if let Err(reason) = self.outbound(frame, now) {
                self.counters.dropped(reason);
            }
        }
        self.flush_masque(now);
        self.deliveries.finish();
    }

    fn outbound(&mut self, frame: Frame<'_>, now: Instant) -> Result<(), DropReason> {
        let mut headers = Headers::parse(frame.bytes).map_err(|_| DropReason::Malformed)?;
        if ControlPacket::claims(headers.source, headers.destination, headers.protocol) {
            return Err(DropReason::StaleControl);
        }
        let slot = self.routes.owner(headers.destination).ok_or(DropReason::NoRoute)?;
        let peer = &mut self.peers[slot];
        let Peer { active: Some(active), kind, epoch, .. } = peer else { return Err(DropReason::NoGeneration) };
        let kind = *kind;

        let judged = Judge {
            flows: &mut self.flows,
            fragments: &mut self.fragments,
            counters: &self.counters,
            policy: &active.policy,
            slot,
            epoch: *epoch,
            walk: Walk::Outbound,
            from_device: kind == PeerKind::Gateway,
            now,
        }
        .live(frame.bytes, &headers, segments(&frame, &headers));

        match judged {
            Judged::Allow => {}
            Judged::Redirect(elsewhere) => {
                let partial = frame.offload.checksum.is_some();
                headers = rewrite(frame.bytes, &headers, elsewhere, partial).ok_or(DropReason::Malformed)?;
            }
            Judged::Drop(reason) => return Err(reason),
            Judged::Deny { closes } => {
                if let Some(len) = answer::deny(frame.bytes, &headers, None, &mut self.scratch) {
                    self.deliveries.push(&self.scratch[..len]);
                    self.counters.answers.add(1);
                }
                if let Some(flow) = closes {
                    self.close_flow(slot, flow, now);
                }
                return Err(DropReason::Denied);
            }
        }

        let cut = Cut::new(frame, &headers).map_err(|_| DropReason::Malformed)?;
        if active.transport.is_masque() {
            return self.carry_frame(slot, &cut, &headers, now);
        }
        let sealed =
            seal::seal_frame(active, &cut, self.mtu, &mut self.staging, &mut self.transmits, &self.counters, now);
        let outcome = sealed.unwrap_or_else(|| self.seal_one_by_one(slot, &cut, now));
        self.arm(slot, now);
        outcome
    }

    /// For sessions that have no keys yet, and for the library's: it seals one packet at a time, from one piece.
    fn seal_one_by_one(&mut self, slot: usize, cut: &Cut<'_>, now: Instant) -> Result<(), DropReason> {
        let Peer { active: Some(active), kind, .. } = &mut self.peers[slot] else {
            return Err(DropReason::NoGeneration);
        };
        let mut head = Head::new();
        let mut last = Ok(());
        for number in 0..cut.count() {
            let rest = cut.packet(number, &mut head);
            let (start, end) = self.scratch.split_at_mut(head.bytes().len());
            start.copy_from_slice(head.bytes());
            end[..rest.len()].copy_from_slice(rest);
            let packet = &self.scratch[..head.bytes().len() + rest.len()];
            if let Err(reason) = send::seal(active, *kind, packet, None, &mut self.transmits, &self.counters, now) {
                // The caller counts the last.
                if let Err(former) = std::mem::replace(&mut last, Err(reason)) {
                    self.counters.dropped(former);
                }
            }
        }
        last
    }
}

/// How many packets a frame will become.
fn segments(frame: &Frame<'_>, headers: &Headers) -> u32 {
    match frame.offload.gso {
        Some(Gso::Tcp { size } | Gso::Udp { size }) if size > 0 => {
            u32::try_from(headers.transport_len().div_ceil(usize::from(size))).unwrap_or(1).max(1)
        }
        _ => 1,
    }
}
