//! Inbound: socket -> WireGuard | MASQUE -> classify -> policy -> adapter.
//!
//! 1. The socket lends a batch of datagrams; one may hold many segments (GRO), of several generations.
//! 2. Each segment's receiver index names the generation, whose keys open it, and the segments after it that are for
//!    the same session, into the deliveries' arena. QUIC packets go to the MASQUE endpoint instead (`masque/carry.rs`).
//! 3. What a router has marked outside is marked inside (ECN, `packet/ecn.rs`).
//! 4. The identity whose key opened the packet judges it; a denied one is answered through the tunnel.
//! 5. What is allowed joins its flow's super-packet for the adapter.

use super::control_packet::{CONTROL_LEN, ControlPacket};
use super::judge::{Judge, Judged, Walk};
use super::peer::{Peer, Stage};
use super::{DropReason, Engine, Event, PeerKind, send};
use crate::generation::{GenerationId, HOLD_MOST};
use crate::packet::header::Headers;
use crate::packet::rewrite::rewrite;
use crate::packet::{Datagrams, Ecn, Place, answer};
use crate::wireguard::{DATA_HEADER, DATA_OVERHEAD, Message, Opened};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use vestibule_aead::{Open, TAG_LEN};

/// Packets that are handed to the cipher at a time.
const GROUP: usize = 8;

/// A data message of a group.
#[derive(Clone, Default)]
struct Packet {
    counter: u64,
    /// Where its plaintext is in the deliveries' arena.
    range: Range<usize>,
    authentic: bool,
}

impl Engine {
    /// A batch from the socket. Fills [`Self::deliveries`] and [`Self::transmits`].
    pub fn handle_datagrams(&mut self, datagrams: &mut impl Datagrams, now: Instant) {
        loop {
            // QUIC opens its packets where they lie, and keeps them there until they are delivered.
            while let Some(given) = datagrams.give_datagram(|bytes, stride| self.takes_buffer(bytes, stride)) {
                self.quic_datagram(given, now);
            }
            let Some(datagram) = datagrams.next_datagram() else { break };
            let stride = datagram.stride.max(1);
            let mut rest = &datagram.bytes[..];
            while !rest.is_empty() {
                let taken = match self.inbound(rest, stride, (datagram.source, datagram.ecn), now) {
                    Ok(taken) => taken,
                    Err(reason) => {
                        self.counters.dropped(reason);
                        1
                    }
                };
                self.counters.datagrams.add(taken as u64);
                rest = rest.get(taken * stride..).unwrap_or_default();
            }
        }
        // Traffic first: handshakes wait until it has passed.
        self.answer_knocks(now);
        self.flush_masque(now);
        self.deliveries.finish();
    }

    /// Handles the first segment of `segments`, and those after it that one call opens with it; returns how many.
    fn inbound(
        &mut self,
        segments: &[u8],
        stride: usize,
        (source, ecn): (SocketAddr, Ecn),
        now: Instant,
    ) -> Result<usize, DropReason> {
        let segment = &segments[..stride.min(segments.len())];
        let Some(message) = Message::parse(segment) else {
            return self.quic_packets(segments, stride, (source, ecn), now).ok_or(DropReason::NotWireGuard);
        };
        match message {
            Message::Data { receiver, counter } => {
                let found = self.indices.find(receiver).ok_or(DropReason::UnknownIndex)?;
                if let Some(taken) = self.open_group(found, receiver, segments, stride, (source, ecn), now) {
                    return Ok(taken);
                }
                self.open_one(found, (receiver, counter), segment, (source, ecn), now)?;
            }
            Message::Initiation => self.handle_initiation(segment, source, now)?,
            Message::Response { receiver } | Message::Cookie { receiver } => {
                self.handle_answer(segment, receiver, source, now)?;
            }
        }
        Ok(1)
    }

    /// Opens the messages for one session at the start of `segments`. `None`: the session does not open batches.
    fn open_group(
        &mut self,
        (slot, id): (usize, GenerationId),
        receiver: u32,
        segments: &[u8],
        stride: usize,
        (source, ecn): (SocketAddr, Ecn),
        now: Instant,
    ) -> Option<usize> {
        let (_, generation) = self.peers[slot].generation(id)?;
        let limit = generation.drain.and_then(|drain| drain.limit).filter(|(session, _)| *session == receiver);
        let session = generation.transport.wireguard()?;
        let opening = session.opening(receiver, now)?;
        let (base, mut room) = self.deliveries.open(segments.len().min(GROUP * stride));
        let mut at = base;
        let mut batch: [Open<'_>; GROUP] =
            std::array::from_fn(|_| Open { counter: 0, sealed: &[], out: &mut [], authentic: false });
        let mut packets: [Packet; GROUP] = Default::default();
        let (mut taken, mut count) = (0, 0);
        for segment in segments.chunks(stride).take(GROUP) {
            let Some(Message::Data { receiver: to, counter }) = Message::parse(segment) else { break };
            if to != receiver {
                break;
            }
            taken += 1;
            if limit.is_some_and(|(_, last)| counter > last) {
                self.counters.dropped(DropReason::PastMarker);
                continue;
            }
            if !opening.window.would_accept(counter) {
                self.counters.dropped(DropReason::Replayed);
                continue;
            }
            let sealed = &segment[DATA_HEADER..];
            let (out, behind) = room.split_at_mut(sealed.len() - TAG_LEN);
            packets[count] = Packet { counter, range: at..at + out.len(), authentic: false };
            at += out.len();
            batch[count] = Open { counter, sealed, out, authentic: false };
            room = behind;
            count += 1;
        }
        opening.key().open(&mut batch[..count]);
        for (packet, opened) in packets.iter_mut().zip(&batch[..count]) {
            packet.authentic = opened.authentic;
        }
        let packets = &mut packets[..count];
        let (mut newest, mut data, mut bytes) = (None, false, 0);
        for packet in packets.iter_mut() {
            if !packet.authentic {
                self.counters.dropped(DropReason::Refused);
            } else if opening.window.accept(packet.counter) {
                newest = newest.max(Some(packet.counter));
                data |= !packet.range.is_empty();
                bytes += packet.range.len() + DATA_OVERHEAD;
            } else {
                packet.authentic = false;
                self.counters.dropped(DropReason::Replayed);
            }
        }
        if let Some(newest) = newest {
            generation.counters.rx_bytes.add(bytes as u64);
            session.received(receiver, now, data);
            self.heard((slot, id), (receiver, newest), source, now);
        }
        if ecn.changes_inner() {
            self.carry_ecn(ecn, packets);
        }
        for packet in packets {
            if packet.authentic
                && !packet.range.is_empty()
                && let Err(reason) = self.opened(slot, id, packet.range.clone().into(), now)
            {
                self.counters.dropped(reason);
            }
        }
        Some(taken)
    }

    /// Carries the outer header's ECN field into opened packets. One that must be dropped is no longer `authentic`.
    fn carry_ecn(&mut self, ecn: Ecn, packets: &mut [Packet]) {
        for packet in packets.iter_mut().filter(|packet| packet.authentic && !packet.range.is_empty()) {
            if !ecn.carry_into(self.deliveries.packet_mut(&mut packet.range.clone().into())) {
                packet.authentic = false;
                self.counters.dropped(DropReason::CongestionExperienced);
            }
        }
    }

    /// Opens one message by the session's own means.
    fn open_one(
        &mut self,
        (slot, id): (usize, GenerationId),
        (receiver, counter): (u32, u64),
        segment: &[u8],
        (source, ecn): (SocketAddr, Ecn),
        now: Instant,
    ) -> Result<(), DropReason> {
        let (_, generation) = self.peers[slot].generation(id).ok_or(DropReason::UnknownIndex)?;
        let limit = generation.drain.and_then(|drain| drain.limit);
        if limit.is_some_and(|(session, last)| session == receiver && counter > last) {
            return Err(DropReason::PastMarker);
        }
        let (start, room) = self.deliveries.open(segment.len());
        let session = generation.transport.wireguard().ok_or(DropReason::UnknownIndex)?;
        let opened = match session.open(source.ip(), segment, room, now) {
            Opened::Packet(len) => Some(start..start + len),
            Opened::Keepalive => None,
            Opened::Replayed => return Err(DropReason::Replayed),
            _ => return Err(DropReason::Refused),
        };
        generation.counters.rx_bytes.add(segment.len() as u64);
        self.heard((slot, id), (receiver, counter), source, now);
        let Some(mut place) = opened.map(Place::from) else { return Ok(()) };
        if ecn.changes_inner() && !ecn.carry_into(self.deliveries.packet_mut(&mut place)) {
            return Err(DropReason::CongestionExperienced);
        }
        self.opened(slot, id, place, now)
    }

    /// An authentic message came from `source`: it may move the endpoint, and the first one confirms the keys.
    fn heard(
        &mut self,
        (slot, id): (usize, GenerationId),
        (receiver, counter): (u32, u64),
        source: SocketAddr,
        now: Instant,
    ) {
        let Some((stage, generation)) = self.peers[slot].generation(id) else { return };
        if stage == Stage::Draining {
            return;
        }
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
            self.handshake_completed(slot, id, receiver);
            self.flush_waiting(slot, id, source, now);
        }
        self.arm(slot, now);
    }

    /// An inner packet lies opened among the deliveries.
    pub(super) fn opened(
        &mut self,
        slot: usize,
        id: GenerationId,
        mut place: Place,
        now: Instant,
    ) -> Result<(), DropReason> {
        let packet = self.deliveries.packet(&place);
        let mut headers = Headers::parse(packet).map_err(|_| DropReason::Malformed)?;
        let kind = self.peers[slot].kind;
        if kind != PeerKind::Plain && ControlPacket::claims(headers.source, headers.destination, headers.protocol) {
            let control = packet.get(..headers.total_len).and_then(|bytes| bytes.first_chunk());
            let control: [u8; CONTROL_LEN] =
                *control.filter(|_| headers.total_len == CONTROL_LEN).ok_or(DropReason::StaleControl)?;
            return if self.handle_control(slot, id, &control, now) { Ok(()) } else { Err(DropReason::StaleControl) };
        }
        let (mut stage, generation) = self.peers[slot].generation(id).ok_or(DropReason::UnknownIndex)?;
        // What was sent before the end may come after it, but not for long.
        if generation.ended_at.is_some_and(|ended| now > ended + HOLD_MOST) {
            return Err(DropReason::PastMarker);
        }
        if stage == Stage::Preparing {
            if kind != PeerKind::Device || !self.commit_from_device(slot, id, now) {
                return Err(DropReason::NotCommitted);
            }
            stage = Stage::Active;
        }
        if stage == Stage::Active && self.hold(slot, id, &place, now) {
            return Ok(());
        }
        if self.routes.owner(headers.source) != Some(slot) {
            return Err(DropReason::SourceNotAllowed);
        }
        self.counters.opened.add(1);
        match self.judge_inbound(slot, id, stage, &place, &headers, now)? {
            Judged::Allow => {}
            Judged::Redirect(elsewhere) => {
                let packet = self.deliveries.packet_mut(&mut place);
                headers = rewrite(packet, &headers, elsewhere, false).ok_or(DropReason::Malformed)?;
            }
            Judged::Drop(reason) => return Err(reason),
            Judged::Deny { closes } => {
                let answered = answer::deny(self.deliveries.packet(&place), &headers, None, &mut self.scratch);
                if let Some(len) = answered {
                    self.seal_answer(slot, len, now);
                }
                if let Some(flow) = closes {
                    self.close_flow(slot, flow, now);
                }
                return Err(DropReason::Denied);
            }
        }
        self.deliveries.deliver(place, &headers);
        self.counters.delivered.add(1);
        Ok(())
    }

    fn judge_inbound(
        &mut self,
        slot: usize,
        id: GenerationId,
        stage: Stage,
        place: &Place,
        headers: &Headers,
        now: Instant,
    ) -> Result<Judged, DropReason> {
        let peer = &mut self.peers[slot];
        let (kind, epoch) = (peer.kind, peer.epoch);
        let active = peer.active.as_ref().filter(|_| stage == Stage::Draining).map(|active| Arc::clone(&active.policy));
        let (_, generation) = peer.generation(id).ok_or(DropReason::UnknownIndex)?;
        generation.counters.opened.add(1);
        generation.counters.opened_bytes.add(headers.total_len as u64);
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
        let packet = self.deliveries.packet(place);
        Ok(if stage == Stage::Draining {
            judge.draining(packet, headers, active.as_deref())
        } else {
            judge.live(packet, headers, 1)
        })
    }

    /// Sends the answer in `scratch` back through the tunnel.
    pub(super) fn seal_answer(&mut self, slot: usize, len: usize, now: Instant) {
        let Peer { active: Some(active), kind, .. } = &mut self.peers[slot] else { return };
        let sealed = send::seal(
            active,
            *kind,
            &self.scratch[..len],
            self.masque.as_deref_mut(),
            &mut self.transmits,
            &self.counters,
            now,
        );
        match sealed {
            Ok(()) => self.counters.answers.add(1),
            Err(reason) => self.counters.dropped(reason),
        }
        self.arm(slot, now);
    }
}
