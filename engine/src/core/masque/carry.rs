//! Packets into QUIC and out of it.

use super::Masque;
use crate::core::peer::Peer;
use crate::core::{DropReason, Engine};
use crate::generation::Generation;
use crate::masque::ip::Refusal;
use crate::masque::session::{Origin, SendError};
use crate::packet::{Cut, Ecn, GivenDatagram, Head, Headers};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::Instant;

/// Memory for datagrams that came in is allocated in pieces of this size.
const POOL: usize = 1 << 18;

/// True of the first byte of every QUIC packet and of no WireGuard message.
fn is_quic(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 != 0)
}

impl Masque {
    /// Sends a packet of our own under a generation.
    pub(in crate::core) fn send(&mut self, generation: &mut Generation, packet: &[u8]) -> Result<(), DropReason> {
        let tunnel = generation.transport.masque().and_then(|tunnel| tunnel.tunnel).ok_or(DropReason::NoSession)?;
        self.endpoint.send(tunnel, &mut packet.to_vec(), Origin::Local).map_err(|error| reason(&error))
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
        let tunnel = active.transport.masque().and_then(|tunnel| tunnel.tunnel).ok_or(DropReason::NoSession)?;
        let count = cut.count();
        match masque.endpoint.send_frame(tunnel, headers, cut) {
            Ok(sent) => {
                let bytes: usize = (0..sent).map(|number| cut.packet_len(number)).sum();
                masque.send_full(tunnel.connection, &mut self.transmits, now);
                active.counters.sealed.add(sent as u64);
                active.counters.sealed_bytes.add(bytes as u64);
                active.counters.tx_bytes.add(bytes as u64);
                self.counters.sealed.add(sent as u64);
                // Into the piece that QUIC wants, and by QUIC into its packet.
                self.counters.copied.add(2 * bytes as u64);
                match count - sent {
                    0 => Ok(()),
                    lost => {
                        self.counters.dropped_many(DropReason::QueueFull, lost as u64 - 1);
                        Err(DropReason::QueueFull)
                    }
                }
            }
            Err(error) => {
                if let SendError::Refused(refusal) = error {
                    self.answer_refusal(cut, refusal);
                }
                self.counters.dropped_many(reason(&error), count as u64 - 1);
                Err(reason(&error))
            }
        }
    }

    /// Tells the sender of a frame why its packets do not travel.
    #[cold]
    fn answer_refusal(&mut self, cut: &Cut<'_>, refusal: Refusal) {
        let mut head = Head::new();
        let rest = cut.packet(0, &mut head);
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
        let masque = self.masque.as_mut()?;
        let count = segments.chunks(stride).take_while(|segment| is_quic(segment)).count();
        if count == 0 {
            return None;
        }
        let run = segments.get(..count * stride).unwrap_or(segments);
        if masque.pool.capacity() < run.len() {
            masque.pool.reserve(POOL.max(run.len()));
        }
        masque.pool.extend_from_slice(run);
        self.counters.copied.add(run.len() as u64);
        let run = masque.pool.split();
        self.quic_run(run, stride, (source, ecn), now);
        Some(count)
    }

    /// Whether a socket's datagrams are QUIC's alone, and it is spoken here.
    pub(in crate::core) fn is_all_quic(&self, bytes: &[u8], stride: usize) -> bool {
        self.masque.is_some() && bytes.chunks(stride.max(1)).all(is_quic)
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
    }

    /// Walks the packets that came out of tunnels on.
    fn take_packets(&mut self, now: Instant) {
        while let Some(masque) = &mut self.masque
            && let Some((tunnel, packet)) = masque.endpoint.poll_packet(now)
        {
            let Some((slot, id)) = masque.tunnels.get(&tunnel).copied() else {
                self.counters.dropped(DropReason::NoTunnel);
                continue;
            };
            if let Some((_, generation)) = self.peers[slot].generation(id) {
                generation.counters.rx_bytes.add(packet.len() as u64);
            }
            let place = self.deliveries.keep(packet);
            if let Err(reason) = self.opened(slot, id, place, now) {
                self.counters.dropped(reason);
            }
        }
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
