//! Packets into QUIC and out of it.

use super::{Masque, Owner};
use crate::core::peer::Peer;
use crate::core::{DropReason, Engine};
use crate::generation::{Generation, Path};
use crate::masque::ip::Refusal;
use crate::masque::session::{Drops, Origin, SendError};
use crate::packet::fragment::fragments;
use crate::packet::{Cut, Ecn, GivenDatagram, Head, Headers};
use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::time::Instant;

/// From so many bytes on a buffer is taken without copying: an eighth of the socket's.
const WORTH_TAKING: usize = 8 << 10;

/// True of QUIC's packets with a short header, those after the handshake.
fn is_short(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 == 0x40)
}

/// True of the first byte of every QUIC packet and of no WireGuard message.
fn is_quic(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 != 0)
}

impl Masque {
    /// Sends a packet of our own under a generation.
    pub(in crate::core) fn send(&mut self, generation: &mut Generation, packet: &[u8]) -> Result<(), DropReason> {
        let path = generation.transport.masque().and_then(|tunnel| tunnel.path).ok_or(DropReason::NoSession)?;
        let mut packet = packet.to_vec();
        let sent = match path {
            Path::Quic(tunnel) => self.endpoint.send(tunnel, &mut packet, Origin::Local),
            Path::Stream(key) => self.streams.send(key, |stream| stream.send(&mut packet, Origin::Local)),
        };
        sent.map_err(|error| reason(&error))
    }
}

fn reason(error: &SendError) -> DropReason {
    match error {
        SendError::NotOpen => DropReason::NoSession,
        SendError::Full => DropReason::QueueFull,
        SendError::Refused(Refusal::TooBig { .. }) => DropReason::TooBig,
        SendError::Refused(Refusal::Malformed(_)) => DropReason::Malformed,
        SendError::Refused(Refusal::Source) => DropReason::SourceNotAllowed,
        SendError::Refused(Refusal::NoRoute) => DropReason::NoRoute,
        SendError::Refused(_) => DropReason::NotCarried,
    }
}

impl Engine {
    /// Gives a frame's packets to the active generation's tunnel. What it does not carry is answered to the adapter.
    pub(in crate::core) fn carry_frame(
        &mut self,
        slot: usize,
        cut: &Cut<'_>,
        headers: &Headers,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (Some(masque), Peer { active: Some(active), .. }) = (&mut self.masque, &mut self.peers[slot]) else {
            return Err(DropReason::NoGeneration);
        };
        let path = active.transport.masque().and_then(|tunnel| Some((tunnel.watch(now), tunnel.path?)));
        // Into the piece that QUIC wants, and by QUIC into its packet; over HTTP/2 into the batch alone.
        let copies = if matches!(path, Some((_, Path::Quic(_)))) { 2 } else { 1 };
        let (sent, error) = match path {
            Some((look_at, Path::Quic(tunnel))) => {
                if let Some(look_at) = look_at {
                    self.deadlines.arm(slot, look_at);
                }
                let outcome = masque.endpoint.send_frame(tunnel, headers, cut);
                masque.send_full(tunnel.connection, &mut self.transmits, now);
                outcome
            }
            Some((_, Path::Stream(key))) => match masque.streams.send(key, |stream| stream.send_frame(headers, cut)) {
                Ok(sent) => (sent, (sent < cut.count()).then_some(SendError::Full)),
                Err(error) => (0, Some(error)),
            },
            None => {
                if active.transport.masque().is_some_and(|tunnel| tunnel.wake(now)) {
                    self.deadlines.arm(slot, now);
                }
                (0, Some(SendError::NotOpen))
            }
        };
        let bytes: usize = (0..sent).map(|number| cut.packet_len(number)).sum();
        active.counters.sealed.add(sent as u64);
        active.counters.sealed_bytes.add(bytes as u64);
        active.counters.tx_bytes.add(bytes as u64);
        self.counters.sealed.add(sent as u64);
        self.counters.copied.add(copies * bytes as u64);
        let Some(error) = error else { return Ok(()) };
        if let SendError::Refused(Refusal::TooBig { mtu }) = error {
            if let Some(shorter) = cut.within(mtu.into()).filter(|_| sent == 0) {
                return self.carry_frame(slot, &shorter, headers, now);
            }
            if self.carry_fragments(slot, cut, sent, mtu) {
                return Ok(());
            }
        }
        if let SendError::Refused(refusal) = error
            && self.is_final(path.map(|(_, path)| path), refusal, now)
        {
            self.answer_refusal(cut, sent, refusal);
        }
        // The caller counts one.
        self.counters.dropped_many(reason(&error), (cut.count() - sent) as u64 - 1);
        Err(reason(&error))
    }

    /// Sends a frame's packets from `number` on in fragments. False: their sender does not allow it.
    #[cold]
    fn carry_fragments(&mut self, slot: usize, cut: &Cut<'_>, number: usize, mtu: u16) -> bool {
        let (Some(masque), Peer { active: Some(active), .. }) = (&mut self.masque, &mut self.peers[slot]) else {
            return false;
        };
        let (mut head, mut packet) = (Head::new(), Vec::new());
        for number in number..cut.count() {
            let rest = cut.packet(number, &mut head);
            packet.clear();
            packet.extend_from_slice(head.bytes());
            packet.extend_from_slice(rest);
            let mut outcome = Ok(());
            let (mut count, mut bytes) = (0, 0);
            let allowed = fragments(&packet, mtu.into(), |fragment| {
                if outcome.is_ok() {
                    outcome = masque.send(active, fragment);
                    (count, bytes) = (count + 1, bytes + fragment.len() as u64);
                }
            });
            if !allowed {
                return false;
            }
            match outcome {
                Ok(()) => {
                    active.counters.sealed.add(count);
                    active.counters.sealed_bytes.add(bytes);
                    active.counters.tx_bytes.add(bytes);
                    self.counters.sealed.add(count);
                    self.counters.fragmented.add(1);
                    // Together, apart, and as `Masque::send` and QUIC do it.
                    self.counters.copied.add(5 * bytes);
                }
                Err(reason) => self.counters.dropped(reason),
            }
        }
        true
    }

    /// True of what its sender should be told: not of a length that may well fit in a moment.
    fn is_final(&self, path: Option<Path>, refusal: Refusal, now: Instant) -> bool {
        match (&self.masque, path, refusal) {
            (Some(masque), Some(Path::Quic(tunnel)), Refusal::TooBig { .. }) => masque.endpoint.is_sure(tunnel, now),
            _ => true,
        }
    }

    /// Tells the sender of a frame why its packets from `number` on do not travel.
    #[cold]
    fn answer_refusal(&mut self, cut: &Cut<'_>, number: usize, refusal: Refusal) {
        let mut head = Head::new();
        let rest = cut.packet(number, &mut head);
        let packet = [head.bytes(), rest].concat();
        let Ok(headers) = Headers::parse(&packet) else { return };
        if let Some(len) = refusal.answer(&packet, &headers, None, &mut self.scratch) {
            self.deliveries.push(&self.scratch[..len]);
            self.counters.answers.add(1);
        }
    }

    /// Takes the QUIC packets at the start of `segments`; returns how many. `None`: the first is none, or there is no
    /// MASQUE here.
    pub(in crate::core) fn quic_packets(
        &mut self,
        segments: &[u8],
        stride: usize,
        (source, ecn): (SocketAddr, Ecn),
        now: Instant,
    ) -> Option<usize> {
        let count = segments.chunks(stride).take_while(|segment| is_quic(segment)).count();
        if self.masque.is_none() || count == 0 {
            return None;
        }
        let run = segments.get(..count * stride).unwrap_or(segments);
        // Memory of its own: a piece of a stream that waits for those before it holds all of it, and quinn counts no more
        // than its datagram.
        let run = BytesMut::from(run);
        self.counters.copied.add(run.len() as u64);
        self.quic_run(run, stride, (source, ecn), now);
        Some(count)
    }

    /// Whether a socket's buffer is to be given to QUIC as it is: there is much in it, and all of it is data, which goes
    /// to the adapter at once. Handshakes may lie about, and a little that does must not keep a large buffer from others.
    pub(in crate::core) fn takes_buffer(&self, bytes: &[u8], stride: usize) -> bool {
        self.masque.is_some() && bytes.len() >= WORTH_TAKING && bytes.chunks(stride.max(1)).all(is_short)
    }

    /// Takes QUIC packets and their memory.
    pub(in crate::core) fn quic_datagram(&mut self, datagram: GivenDatagram, now: Instant) {
        let GivenDatagram { bytes, stride, source, ecn } = datagram;
        self.counters.datagrams.add(bytes.len().div_ceil(stride.max(1)) as u64);
        self.quic_run(bytes, stride, (source, ecn), now);
    }

    fn quic_run(&mut self, mut run: BytesMut, stride: usize, (source, ecn): (SocketAddr, Ecn), now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        masque.now = now;
        while !run.is_empty() {
            let datagram = run.split_to(stride.clamp(1, run.len()));
            masque.endpoint.handle_datagram(source, None, ecn, datagram, now);
        }
        masque.endpoint.settle(now);
        self.masque_events(now);
        self.take_packets(now);
        self.count_drops();
    }

    /// Walks the packets that came out of tunnels on.
    fn take_packets(&mut self, now: Instant) {
        while let Some(masque) = &mut self.masque
            && let Some((tunnel, packet)) = masque.endpoint.poll_packet(now)
        {
            match masque.tunnels.get(&tunnel).copied() {
                Some(owner) => self.take_packet(owner, Path::Quic(tunnel), packet, now),
                None => self.counters.dropped(DropReason::NoTunnel),
            }
        }
    }

    /// Walks a packet on that came through a generation's tunnel.
    pub(super) fn take_packet(&mut self, (slot, id): Owner, path: Path, packet: Bytes, now: Instant) {
        if let Some((_, generation)) = self.peers[slot].generation(id) {
            generation.counters.rx_bytes.add(packet.len() as u64);
            if let Some(tunnel) = generation.transport.masque().filter(|tunnel| tunnel.may_follow(path)) {
                tunnel.follow(path);
                generation.endpoint =
                    self.masque.as_ref().and_then(|masque| masque.remote(path)).or(generation.endpoint);
            }
        }
        let place = self.deliveries.keep(packet);
        if let Err(reason) = self.opened(slot, id, place, now) {
            self.counters.dropped(reason);
        }
    }

    /// Counts what came to the endpoint and went no further.
    fn count_drops(&mut self) {
        let Some(masque) = &mut self.masque else { return };
        let drops = masque.endpoint.take_drops();
        if drops == Drops::default() {
            return;
        }
        for (reason, count) in [
            (DropReason::UnknownConnection, drops.no_connection),
            (DropReason::TooManyHandshakes, drops.busy),
            (DropReason::NoTunnel, drops.no_tunnel),
            (DropReason::UnknownContext, drops.no_context),
            (DropReason::NotCarried, drops.refused),
            (DropReason::QueueFull, drops.overrun),
        ] {
            self.counters.dropped_many(reason, count);
        }
        self.counters.peers_malformed.add(drops.malformed_requests);
        self.counters.tunnels_refused.add(drops.refused_requests);
    }

    /// Moves what QUIC wants to send to the socket's queue.
    pub(in crate::core) fn flush_masque(&mut self, now: Instant) {
        if let Some(masque) = &mut self.masque {
            masque.flush(&mut self.transmits, now);
        }
    }

    /// The same at the time of the last call.
    pub(in crate::core) fn flush_closed(&mut self) {
        if let Some(masque) = &mut self.masque {
            masque.flush(&mut self.transmits, masque.now);
        }
    }

    /// Runs what is due of QUIC's timers.
    pub(in crate::core) fn run_masque(&mut self, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        masque.now = now;
        if masque.endpoint.poll_deadline().is_some_and(|due| due <= now) {
            masque.endpoint.handle_deadline(now);
            self.masque_events(now);
            self.take_packets(now);
        }
        self.flush_masque(now);
    }
}
