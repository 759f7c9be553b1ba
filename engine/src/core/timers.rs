//! Deadlines: the library's timers, handshakes and markers sent again, the end of drains, sweeps.

use super::peer::Peer;
use super::{Engine, Event, PeerKind, send};
use crate::generation::{GenerationId, PREPARE_TIMEOUT};
use crate::wireguard::Sealed;
use std::time::{Duration, Instant};

/// How often the library's timers are run.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// How often idle flows are looked for, and the handshake flood window opens anew.
const SECOND: Duration = Duration::from_secs(1);
/// Pause between two slices of a sweep.
const SLICE_PAUSE: Duration = Duration::from_millis(1);
/// Flows looked at per slice.
const SLICE: usize = 4096;

#[derive(Debug)]
pub(super) struct Timers {
    tick_at: Instant,
    second_at: Instant,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        Self { tick_at: now, second_at: now }
    }
}

impl Engine {
    /// Timers: call when the deadline has come (early calls are harmless).
    pub fn handle_deadline(&mut self, now: Instant) {
        if self.wake_at.is_none_or(|wake| now < wake) {
            return;
        }
        self.wake_at = None;
        let tick = now >= self.timers.tick_at;
        if tick {
            self.timers.tick_at = now + TICK;
        }
        let mut alive = false;
        for slot in 0..self.peers.len() {
            self.end_drains(slot, now);
            self.run_preparing(slot, tick, now);
            self.run_active(slot, tick, now);
            let peer = &self.peers[slot];
            alive |= peer.active.is_some() || peer.preparing.is_some();
            if peer.sweeping.is_some() {
                self.sweep(slot, SLICE, now);
                if self.peers[slot].sweeping.is_some() {
                    self.wake_by(now + SLICE_PAUSE);
                }
            }
        }
        if now >= self.timers.second_at {
            self.timers.second_at = now + SECOND;
            self.expire_flows(SLICE, now);
        }
        if alive {
            self.wake_by(self.timers.tick_at);
        }
    }

    fn end_drains(&mut self, slot: usize, now: Instant) {
        while let Some(at) =
            self.peers[slot].draining.iter().position(|old| old.drain.is_none_or(|drain| now >= drain.until))
        {
            let drained = self.peers[slot].draining.remove(at);
            self.end(drained);
        }
        if let Some(until) = self.peers[slot].draining.iter().filter_map(|old| Some(old.drain?.until)).min() {
            self.wake_by(until);
        }
    }

    fn run_preparing(&mut self, slot: usize, tick: bool, now: Instant) {
        let Peer { preparing: Some(preparing), kind, .. } = &mut self.peers[slot] else { return };
        let kind = *kind;
        if kind != PeerKind::Gateway {
            // The gateway keeps an order until the device follows it or sends another.
            if tick {
                let _ = preparing.session.tick(&mut self.scratch, now, false);
            }
            return;
        }
        if !preparing.ready && now >= preparing.prepared_at + PREPARE_TIMEOUT {
            let (peer, generation) = (preparing.peer, preparing.id);
            self.fail(slot, generation);
            self.events.push_back(Event::Failed { peer, generation });
            return;
        }
        if tick {
            run_session(preparing, kind, &mut self.scratch, &mut self.transmits, &self.counters, now);
        }
        if !preparing.ready {
            // A native session keeps its own times.
            if !preparing.session.is_native() {
                if now >= preparing.retry_at() {
                    send::initiate(preparing, &mut self.transmits, &self.counters, now);
                }
                let retry = preparing.retry_at();
                self.wake_by(retry);
            }
        }
    }

    fn fail(&mut self, slot: usize, generation: GenerationId) {
        if let Some(failed) = self.peers[slot].preparing.take_if(|preparing| preparing.id == generation) {
            self.end(failed);
        }
    }

    fn run_active(&mut self, slot: usize, tick: bool, now: Instant) {
        let Peer { active: Some(active), kind, .. } = &mut self.peers[slot] else { return };
        if tick {
            run_session(active, *kind, &mut self.scratch, &mut self.transmits, &self.counters, now);
            if *kind == PeerKind::Gateway && !active.session.is_native() && active.wants_rekey(now) {
                send::initiate(active, &mut self.transmits, &self.counters, now);
            }
        }
        if let Some(marker) = &mut active.marker {
            let due = now >= marker.resend_at;
            if due {
                marker.resent(now);
            }
            let resend_at = marker.resend_at;
            if due {
                self.send_marker(slot, now);
            }
            self.wake_by(resend_at);
        }
    }
}

/// One tick of the library's timers, with what it wants to send.
fn run_session(
    generation: &mut crate::generation::Generation,
    kind: PeerKind,
    room: &mut [u8],
    transmits: &mut crate::packet::TransmitQueue,
    counters: &super::Counters,
    now: Instant,
) {
    if generation.session.is_native() {
        while let Ok(len @ 1..) = generation.session.tick(room, now, generation.endpoint.is_some()) {
            let Some(endpoint) = generation.endpoint else { return };
            transmits.push(endpoint, &room[..len]);
            if room[0] == 1 {
                counters.handshakes_sent.add(1);
                generation.initiated(now);
            }
        }
        return;
    }
    match generation.session.tick(room, now, true) {
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
                if let Sealed::Data { len, .. } = generation.session.seal(&[], room, now) {
                    transmits.push(endpoint, &room[..len]);
                }
                return;
            }
            transmits.push(endpoint, &room[..len]);
            if initiation {
                counters.handshakes_sent.add(1);
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
