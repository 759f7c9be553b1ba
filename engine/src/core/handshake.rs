//! Handshake messages from the socket.

use super::knocks::{ANSWERED_AT_A_TIME, Knock};
use super::{DropReason, Engine, Event, PeerKind, peer::Stage, send};
use crate::generation::GenerationId;
use crate::wireguard::{Admission, COOKIE_LEN, Opened, Sealed};
use std::net::SocketAddr;
use std::time::Instant;

impl Engine {
    /// Type 1: someone knocks at our static key. Only a look that costs little is taken here.
    pub(super) fn handle_initiation(
        &mut self,
        message: &[u8],
        source: SocketAddr,
        now: Instant,
    ) -> Result<(), DropReason> {
        let mut cookie = [0; COOKIE_LEN];
        match self.responder.admit(source, message, self.knocks.are_many(), &mut cookie, now) {
            Admission::Admitted => {}
            Admission::Cookie => {
                self.transmits.push(source, &cookie);
                self.counters.handshakes_sent.add(1);
                return Err(DropReason::HandshakeRefused);
            }
            Admission::Refused => return Err(DropReason::HandshakeRefused),
        }
        if self.knocks.push(message, source) { Ok(()) } else { Err(DropReason::TooManyHandshakes) }
    }

    /// Answers the initiations that have waited longest.
    pub(super) fn answer_knocks(&mut self, now: Instant) {
        for _ in 0..ANSWERED_AT_A_TIME {
            let Some(Knock { message, source }) = self.knocks.pop() else { break };
            if let Err(reason) = self.answer_knock(&message, source, now) {
                self.counters.dropped(reason);
            }
        }
        self.knocks.postpone(now);
    }

    fn answer_knock(&mut self, message: &[u8], source: SocketAddr, now: Instant) -> Result<(), DropReason> {
        let knock = self.responder.read(message).ok_or(DropReason::HandshakeRefused)?;
        let &(slot, id) = self.initiators.get(&knock.peer).ok_or(DropReason::UnexpectedHandshake)?;
        let peer = &mut self.peers[slot];
        let kind = peer.kind;
        let (stage, generation) = peer.generation(id).ok_or(DropReason::UnexpectedHandshake)?;
        if stage == Stage::Draining || kind == PeerKind::Gateway {
            return Err(DropReason::UnexpectedHandshake);
        }
        let session = generation.transport.wireguard().ok_or(DropReason::UnexpectedHandshake)?;
        let initiation = self.responder.authenticate(knock, message, session.shared());
        let initiation = initiation.ok_or(DropReason::HandshakeRefused)?;
        // WireGuard paper, section 5.1: the timestamp must be greater than any seen from this key before.
        let timestamp = initiation.timestamp;
        if timestamp <= generation.last_handshake {
            return Err(DropReason::StaleHandshake);
        }
        let mut reply = [0; 148];
        match session.respond(initiation, source.ip(), message, &mut reply, now) {
            Opened::Reply(len) => {
                generation.last_handshake = timestamp;
                generation.counters.rx_bytes.add(message.len() as u64);
                generation.counters.tx_bytes.add(len as u64);
                generation.endpoint.get_or_insert(source);
                self.transmits.push(source, &reply[..len]);
                self.counters.handshakes_sent.add(1);
                let peer_public_key = generation.peer_public_key;
                self.events.push_back(Event::HandshakeSeen { peer_public_key, timestamp });
                self.arm(slot, now);
                Ok(())
            }
            _ => Err(DropReason::HandshakeRefused),
        }
    }

    /// Types 2 and 3: the answer to our own initiation.
    pub(super) fn handle_answer(
        &mut self,
        message: &[u8],
        receiver: u32,
        source: SocketAddr,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (slot, id) = self.indices.find(receiver).ok_or(DropReason::UnknownIndex)?;
        let peer = &mut self.peers[slot];
        let kind = peer.kind;
        let (stage, generation) = peer.generation(id).ok_or(DropReason::UnknownIndex)?;
        if stage == Stage::Draining || kind == PeerKind::Device {
            return Err(DropReason::UnexpectedHandshake);
        }
        let mut reply = [0; 148];
        let session = generation.transport.wireguard().ok_or(DropReason::UnexpectedHandshake)?;
        match session.answered(source.ip(), message, &mut reply, now) {
            Opened::Reply(len) => {
                // The library answers with a keepalive, which confirms the new keys to the peer.
                generation.answered(now);
                generation.counters.rx_bytes.add(message.len() as u64);
                generation.counters.tx_bytes.add(len as u64);
                generation.endpoint = Some(source);
                self.transmits.push(source, &reply[..len]);
                self.counters.handshakes.add(1);
                self.handshake_completed(slot, id, receiver);
                self.flush_waiting(slot, id, source, now);
                self.confirm(slot, id);
                self.arm(slot, now);
                Ok(())
            }
            Opened::Nothing => Ok(()),
            Opened::Replayed => Err(DropReason::Replayed),
            _ => Err(DropReason::Refused),
        }
    }

    /// Sends what waited inside the session for its keys.
    pub(super) fn flush_waiting(&mut self, slot: usize, id: GenerationId, destination: SocketAddr, now: Instant) {
        let Some((_, generation)) = self.peers[slot].generation(id) else { return };
        let room = &mut self.scratch[..];
        while let Some(session) = generation.transport.wireguard() {
            let ecn = session.waiting_ecn();
            let sealed = session.seal_waiting(room, now);
            let Some(Sealed::Data { len, receiver, counter }) = sealed else { break };
            self.transmits.push_with(destination, len, |datagram| {
                datagram.copy_from_slice(&room[..len]);
                Some((len, ecn))
            });
            generation.counters.tx_bytes.add(len as u64);
            generation.last_sealed = Some((receiver, counter));
            generation.counters.sealed.add(1);
            self.counters.sealed.add(1);
        }
    }

    /// The handshake is confirmed: both ends have the keys.
    pub(super) fn confirm(&mut self, slot: usize, id: GenerationId) {
        let peer = &mut self.peers[slot];
        let peer_id = peer.id;
        let Some((_, generation)) = peer.generation(id) else { return };
        if !generation.ready {
            generation.ready = true;
            let rtt = generation.rtt;
            self.events.push_back(Event::Ready { peer: peer_id, generation: id, rtt });
        }
    }

    /// Starts a new handshake of the active generation at once (after a resume, or when the gateway came back).
    pub fn rekey(&mut self, peer: super::PeerId, now: Instant) {
        let Some(&slot) = self.slots.get(&peer) else { return };
        let peer = &mut self.peers[slot];
        if peer.kind != PeerKind::Device
            && let Some(generation) = &mut peer.active
        {
            send::initiate(generation, &mut self.transmits, &self.counters, now);
        }
        self.renew_masque(slot, now);
        self.arm(slot, now);
    }
}
