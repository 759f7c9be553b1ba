//! Deadlines: sessions' timers, handshakes and markers sent again, the end of drains, sweeps.

use super::peer::Peer;
use super::{DropReason, Engine, Event, PeerKind, send};
use crate::generation::{Generation, PREPARE_TIMEOUT, Transport};
use crate::wireguard::Sealed;
use std::time::{Duration, Instant};

/// How often idle flows are looked for,
const SECOND: Duration = Duration::from_secs(1);
/// and how often when no packet has come since the last look: a quiet process sleeps.
const QUIET: Duration = Duration::from_secs(30);
/// Pause between two slices of a sweep.
const SLICE_PAUSE: Duration = Duration::from_millis(1);
/// Flows looked at per slice.
const SLICE: usize = 4096;

/// Peers looked at in one call, and handshakes begun: what is due for the others is done after a look at the traffic. A
/// look costs about a microsecond, an initiation about a hundred.
const PEERS: usize = 256;
/// See [`PEERS`].
const INITIATIONS: u64 = 8;
/// The others are due after this pause.
const PAUSE: Duration = Duration::from_micros(1);

/// When idle flows are looked for next.
#[derive(Debug, Default)]
pub(super) struct Housekeeping {
    at: Option<Instant>,
    /// Packets by then.
    seen: u64,
}

impl Engine {
    /// When [`Self::handle_deadline`] wants to be called next.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.deadlines
            .next()
            .into_iter()
            .chain(self.knocks.due())
            .chain(self.housekeeping.at)
            .chain(self.masque_deadline())
            .min()
    }

    /// Timers: call when the deadline has come (early calls are harmless).
    pub fn handle_deadline(&mut self, now: Instant) {
        if self.knocks.due().is_some_and(|due| due <= now) {
            self.answer_knocks(now);
        }
        let sent = self.counters.handshakes_sent.get();
        for slot in self.deadlines.take_due(now, PEERS) {
            if self.counters.handshakes_sent.get() - sent >= INITIATIONS {
                self.deadlines.arm(slot, now + PAUSE);
                continue;
            }
            self.end_drains(slot, now);
            self.expire_hold(slot, now);
            self.connect_masque(slot, now);
            self.let_arrive(slot, now);
            self.run_preparing(slot, now);
            self.run_active(slot, now);
            if self.peers[slot].sweeping.is_some() {
                self.sweep(slot, SLICE, now);
            }
            if let Some(next) = self.peers[slot].next_deadline(now) {
                self.deadlines.arm(slot, next);
            }
        }
        if self.housekeeping.at.is_some_and(|at| at <= now) {
            let seen = self.counters.frames.get() + self.counters.datagrams.get();
            let expired = self.flows.expire(now, SLICE);
            let pause = if expired == 0 && seen == self.housekeeping.seen { QUIET } else { SECOND };
            self.housekeeping = Housekeeping { at: (!self.flows.is_empty()).then(|| now + pause), seen };
        }
        self.run_masque(now);
    }

    /// After a generation has come: whatever is due for its peer.
    pub(super) fn look_at(&mut self, slot: usize, now: Instant) {
        if let Some(at) = self.peers[slot].next_deadline(now) {
            self.deadlines.arm(slot, at);
        }
    }

    /// After a batch, or whatever else a peer's sessions have seen: their timers may want an earlier look.
    pub(super) fn arm(&mut self, slot: usize, now: Instant) {
        let peer = &self.peers[slot];
        let sessions = peer.active.iter().chain(&peer.preparing);
        if let Some(at) = sessions.filter_map(|generation| generation.deadline(now)).min() {
            self.deadlines.arm(slot, at);
        }
        let soon = now + SECOND;
        if self.housekeeping.at.is_none_or(|at| at > soon) && !self.flows.is_empty() {
            self.housekeeping.at = Some(soon);
        }
    }

    fn run_preparing(&mut self, slot: usize, now: Instant) {
        let Peer { preparing: Some(preparing), kind, .. } = &mut self.peers[slot] else { return };
        let kind = *kind;
        if kind != PeerKind::Gateway {
            // The gateway keeps an order until the device follows it or sends another.
            if let Some(session) = preparing.transport.wireguard() {
                let _ = session.tick(&mut self.scratch, now, false);
            }
            return;
        }
        if !preparing.ready && now >= preparing.prepared_at + PREPARE_TIMEOUT {
            let (peer, generation) = (preparing.peer, preparing.id);
            if let Some(failed) = self.peers[slot].preparing.take() {
                self.end(failed);
            }
            self.events.push_back(Event::Failed { peer, generation });
            return;
        }
        let id = preparing.id;
        run_session(preparing, kind, &mut self.scratch, &mut self.transmits, &self.counters, now);
        if preparing.retries().is_some_and(|at| at <= now) {
            send::initiate(preparing, &mut self.transmits, &self.counters, now);
        }
        self.judge_ready(slot, id, now);
    }

    fn run_active(&mut self, slot: usize, now: Instant) {
        let Peer { active: Some(active), kind, .. } = &mut self.peers[slot] else { return };
        run_session(active, *kind, &mut self.scratch, &mut self.transmits, &self.counters, now);
        if *kind == PeerKind::Gateway && !active.transport.keeps_time() && active.wants_rekey(now) {
            send::initiate(active, &mut self.transmits, &self.counters, now);
        }
        if let Some(marker) = &mut active.marker {
            let due = now >= marker.resend_at;
            if due {
                marker.resent(now);
            }
            if due {
                self.send_marker(slot, now);
            }
        }
    }
}

impl Peer {
    /// When something is due for this peer.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let sessions = self.active.iter().chain(&self.preparing).filter_map(|generation| generation.deadline(now));
        let marker = self.active.iter().filter_map(|active| Some(active.marker?.resend_at));
        let trying = self.preparing.iter().filter(|preparing| self.kind == PeerKind::Gateway && !preparing.ready);
        let trying = trying
            .flat_map(|preparing| std::iter::once(preparing.prepared_at + PREPARE_TIMEOUT).chain(preparing.retries()));
        let drains = self.draining.iter().map(|old| old.drain.map_or(now, |drain| drain.until));
        let sweep = self.sweeping.iter().map(|_| now + SLICE_PAUSE);
        let holding = self.holding.iter().filter_map(|holding| holding.deadline());
        sessions.chain(marker).chain(holding).chain(trying).chain(drains).chain(sweep).min()
    }
}

/// A session's timers, with what they want to send.
fn run_session(
    generation: &mut Generation,
    kind: PeerKind,
    room: &mut [u8],
    transmits: &mut crate::packet::TransmitQueue,
    counters: &super::Counters,
    now: Instant,
) {
    if generation.transport.keeps_time() {
        let reachable = generation.endpoint.is_some();
        let tick = |transport: &mut Transport, room: &mut [u8]| transport.wireguard()?.tick(room, now, reachable).ok();
        while let Some(len @ 1..) = tick(&mut generation.transport, room) {
            let Some(endpoint) = generation.endpoint else { return };
            transmits.push(endpoint, &room[..len]);
            generation.counters.tx_bytes.add(len as u64);
            if room[0] == 1 {
                counters.handshakes_sent.add(1);
                for place in generation.elsewhere(now) {
                    transmits.push(place, &room[..len]);
                }
                generation.initiated(now);
            }
        }
        let given_up = generation.transport.wireguard().map_or(0, |session| session.take_given_up());
        counters.dropped_many(DropReason::GivenUp, given_up);
        return;
    }
    let Some(session) = generation.transport.wireguard() else { return };
    match session.tick(room, now, true) {
        Ok(0) => {}
        Ok(len) => {
            let initiation = room[0] == 1;
            // Only the client initiates: a gateway waits for its device's handshake.
            if initiation && kind == PeerKind::Device {
                return;
            }
            let Some(endpoint) = generation.endpoint else { return };
            // A device paces its own attempts (see `RENEW_LATER`). The library believes that it has sent something; a
            // keepalive in its place keeps the gateway's library from beginning a handshake of its own.
            if initiation && kind == PeerKind::Gateway && now < generation.retry_at() {
                let sealed = generation.transport.wireguard().map(|session| session.seal(&[], room, now));
                if let Some(Sealed::Data { len, .. }) = sealed {
                    transmits.push(endpoint, &room[..len]);
                    generation.counters.tx_bytes.add(len as u64);
                }
                return;
            }
            transmits.push(endpoint, &room[..len]);
            generation.counters.tx_bytes.add(len as u64);
            if initiation {
                counters.handshakes_sent.add(1);
                for place in generation.elsewhere(now) {
                    transmits.push(place, &room[..len]);
                }
                generation.initiated(now);
            }
        }
        // All keys have expired. A device wants its tunnel back; others wait for traffic or the peer.
        Err(()) if kind == PeerKind::Gateway && now >= generation.retry_at() => {
            send::initiate(generation, transmits, counters, now);
        }
        Err(()) => {}
    }
}
