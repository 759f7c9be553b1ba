//! Inbound: socket -> WireGuard -> classify -> policy -> adapter.
//!
//! 1. The socket lends a batch of datagrams; one may hold many segments (GRO), of several generations.
//! 2. Each segment's receiver index names the generation, whose keys open it into the deliveries' arena.
//! 3. The identity whose key opened the packet judges it; a denied one is answered through the tunnel.
//! 4. What is allowed joins its flow's super-packet for the adapter.

use super::control_packet::ControlPacket;
use super::judge::{Judge, Judged, Walk};
use super::peer::{Peer, Stage};
use super::{DropReason, Engine, Event, PeerKind, send};
use crate::generation::GenerationId;
use crate::packet::header::Headers;
use crate::packet::{Datagrams, answer};
use crate::wireguard::{Message, Opened};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

impl Engine {
    /// A batch from the socket. Fills [`Self::deliveries`] and [`Self::transmits`].
    pub fn handle_datagrams(&mut self, datagrams: &mut impl Datagrams, now: Instant) {
        while let Some(datagram) = datagrams.next_datagram() {
            for segment in datagram.bytes.chunks(datagram.stride.max(1)) {
                self.counters.datagrams.add(1);
                if let Err(reason) = self.inbound(segment, datagram.source, now) {
                    self.counters.dropped(reason);
                }
            }
        }
        self.deliveries.finish();
    }

    fn inbound(&mut self, segment: &[u8], source: SocketAddr, now: Instant) -> Result<(), DropReason> {
        match Message::parse(segment).ok_or(DropReason::NotWireGuard)? {
            Message::Data { receiver, counter } => self.data(segment, source, (receiver, counter), now),
            Message::Initiation => self.handle_initiation(segment, source, now),
            Message::Response { receiver } | Message::Cookie { receiver } => {
                self.handle_answer(segment, receiver, source, now)
            }
        }
    }

    fn data(
        &mut self,
        segment: &[u8],
        source: SocketAddr,
        (receiver, counter): (u32, u64),
        now: Instant,
    ) -> Result<(), DropReason> {
        let (slot, id) = self.indices.find(receiver).ok_or(DropReason::UnknownIndex)?;
        let peer = &mut self.peers[slot];
        let kind = peer.kind;
        let (mut stage, generation) = peer.generation(id).ok_or(DropReason::UnknownIndex)?;
        let limit = generation.drain.and_then(|drain| drain.limit);
        if limit.is_some_and(|(session, last)| session == receiver && counter > last) {
            return Err(DropReason::PastMarker);
        }

        let room = self.deliveries.open_packet(segment.len());
        let opened = match generation.session.open(source.ip(), segment, room, now) {
            Opened::Packet(len) => Some(len),
            Opened::Keepalive => None,
            Opened::Replayed => return Err(DropReason::Replayed),
            _ => return Err(DropReason::Refused),
        };
        if stage != Stage::Draining {
            let begins = generation.begins_session(receiver);
            if generation.is_newest(receiver, counter) && generation.endpoint != Some(source) {
                generation.endpoint = Some(source);
                self.events.push_back(Event::EndpointMoved { peer: generation.peer, generation: id, endpoint: source });
            }
            if !generation.ready {
                self.counters.handshakes.add(1);
                self.confirm(slot, id);
            }
            if begins {
                self.flush_waiting(slot, id, source, now);
            }
            self.arm(slot, now);
        }
        let Some(len) = opened else { return Ok(()) };

        let room = self.deliveries.open_packet(segment.len());
        let headers = Headers::parse(&room[..len]).map_err(|_| DropReason::Malformed)?;
        if kind != PeerKind::Plain && ControlPacket::claims(headers.source, headers.destination, headers.protocol) {
            let mut control = [0; super::control_packet::CONTROL_LEN];
            if len != control.len() {
                return Err(DropReason::StaleControl);
            }
            control.copy_from_slice(&room[..len]);
            return if self.handle_control(slot, id, &control, now) { Ok(()) } else { Err(DropReason::StaleControl) };
        }
        if stage == Stage::Preparing {
            if kind != PeerKind::Device || !self.commit_from_device(slot, id, now) {
                return Err(DropReason::NotCommitted);
            }
            stage = Stage::Active;
        }
        if !self.peers[slot].owns(headers.source) {
            return Err(DropReason::SourceNotAllowed);
        }
        self.counters.opened.add(1);
        match self.judge_inbound(slot, id, stage, len, &headers, now)? {
            Judged::Allow => {
                self.deliveries.deliver(len, &headers);
                self.counters.delivered.add(1);
                Ok(())
            }
            Judged::Drop(reason) => Err(reason),
            Judged::Deny { closes } => {
                let packet = &self.deliveries.open_packet(len)[..len];
                let answered = answer::deny(packet, &headers, None, &mut self.scratch);
                if let Some(len) = answered {
                    self.seal_answer(slot, len, now);
                }
                if let Some(flow) = closes {
                    self.close_flow(slot, flow, now);
                }
                Err(DropReason::Denied)
            }
        }
    }

    fn judge_inbound(
        &mut self,
        slot: usize,
        id: GenerationId,
        stage: Stage,
        len: usize,
        headers: &Headers,
        now: Instant,
    ) -> Result<Judged, DropReason> {
        let peer = &mut self.peers[slot];
        let (kind, epoch) = (peer.kind, peer.epoch);
        let active = peer.active.as_ref().filter(|_| stage == Stage::Draining).map(|active| Arc::clone(&active.policy));
        let (_, generation) = peer.generation(id).ok_or(DropReason::UnknownIndex)?;
        generation.counters.opened.add(1);
        generation.counters.opened_bytes.add(len as u64);
        let packet = &self.deliveries.open_packet(len)[..len];
        let mut judge = Judge {
            flows: &mut self.flows,
            fragments: &mut self.fragments,
            counters: &self.counters,
            policy: &generation.policy,
            slot,
            epoch,
            walk: Walk::Inbound,
            from_device: kind != PeerKind::Gateway,
            now,
        };
        Ok(if stage == Stage::Draining {
            judge.draining(packet, headers, active.as_deref())
        } else {
            judge.live(packet, headers, 1)
        })
    }

    /// Sends the answer in `scratch` back through the tunnel.
    pub(super) fn seal_answer(&mut self, slot: usize, len: usize, now: Instant) {
        let Peer { active: Some(active), kind, .. } = &mut self.peers[slot] else { return };
        let sealed = send::seal(active, *kind, &self.scratch[..len], &mut self.transmits, &self.counters, now);
        match sealed {
            Ok(()) => self.counters.answers.add(1),
            Err(reason) => self.counters.dropped(reason),
        }
        self.arm(slot, now);
    }
}
