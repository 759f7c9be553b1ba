//! Capsules and packets of one connection.

use super::connection::Connection;
use super::event::{Event, TunnelId};
use super::{Origin, SendError, TunnelError};
use crate::masque::datagram::Prefix;
use crate::masque::ip::Refusal;
use crate::masque::tunnel::{Arrival, Phase};
use crate::packet::{Cut, Head, Headers};
use bytes::Bytes;
use h3wire::{Datagram, H3Code, StreamId as H3Stream};
use quinn_proto::SendDatagramError;
use std::collections::VecDeque;
use std::time::Instant;

/// Packets that came in capsules and wait to be taken; then the oldest are dropped.
const MAX_PACKETS: usize = 1024;
/// Bytes that may always wait to be sent.
const WAITS_LEAST: u64 = 32 << 10;
/// Room for packets is allocated in pieces of this size: one batch.
const POOL: usize = 64 << 10;

impl Connection {
    pub(super) fn read_capsules(&mut self, stream: u64, bytes: &[u8], now: Instant, events: &mut VecDeque<Event>) {
        let id = self.id(stream);
        let Some(tunnel) = self.tunnels.get_mut(&stream) else { return };
        let mut payloads = Vec::new();
        let tell = |news| events.push_back(Event::news(id, news));
        let read = tunnel.read(bytes, now, tell, |payload| payloads.push(Bytes::copy_from_slice(payload)));
        if tunnel.phase == Phase::Open {
            self.packets.extend(payloads.into_iter().map(|payload| (stream, payload)));
            let excess = self.packets.len().saturating_sub(MAX_PACKETS);
            self.packets.drain(..excess);
            self.drops.overrun += excess as u64;
        } else {
            self.drops.no_tunnel += payloads.len() as u64;
        }
        if let Err(error) = read {
            self.abort(stream, error, events);
        }
    }

    pub(super) fn finished(&mut self, stream: H3Stream, events: &mut VecDeque<Event>) {
        let id = self.id(stream.0);
        let Some(tunnel) = self.tunnels.get_mut(&stream.0) else { return };
        if let Err(error) = tunnel.finish() {
            self.abort(stream.0, TunnelError::Capsules(error), events);
        } else if tunnel.phase != Phase::Closing {
            tunnel.phase = Phase::Closing;
            events.push_back(Event::Ended(id, None));
        }
    }

    pub(super) fn probe(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        let due: Vec<_> = self.tunnels.iter_mut().map(|(stream, tunnel)| (*stream, tunnel.poll_probe(now))).collect();
        for (stream, request) in due {
            match request {
                // If it is lost, the next one follows.
                Ok(Some(request)) => drop(self.send_datagram(stream, [&request, &[]])),
                Ok(None) => {}
                Err(error) => self.abort(stream, error, events),
            }
        }
    }

    /// Sends a packet into a tunnel.
    pub(super) fn send(&mut self, stream: u64, packet: &mut [u8], origin: Origin) -> Result<(), SendError> {
        let tunnel = self.tunnels.get(&stream).filter(|tunnel| tunnel.phase == Phase::Open);
        tunnel.ok_or(SendError::NotOpen)?.admit(packet, origin).map_err(SendError::Refused)?;
        self.send_datagram(stream, [packet, &[]])
    }

    /// Sends a frame's packets into a tunnel; tells how many, and why the others are lost.
    pub(super) fn send_frame(&mut self, stream: u64, headers: &Headers, cut: &Cut<'_>) -> (usize, Option<SendError>) {
        let Some(tunnel) = self.tunnels.get(&stream).filter(|tunnel| tunnel.phase == Phase::Open) else {
            return (0, Some(SendError::NotOpen));
        };
        if let Err(refusal) = tunnel.judge(cut.frame(), headers, cut.packet_len(0)) {
            return (0, Some(SendError::Refused(refusal)));
        }
        let mut head = Head::new();
        for number in 0..cut.count() {
            let rest = cut.packet(number, &mut head);
            if let Err(error) = self.send_datagram(stream, [head.bytes(), rest]) {
                return (number, Some(error));
            }
        }
        (cut.count(), None)
    }

    /// While congestion is controlled, no more waits than about a round trip takes: the whole queue would be seconds on a
    /// slow path.
    fn is_backed_up(&mut self) -> bool {
        let window = self.quic.congestion_state().window();
        if window > u64::from(u32::MAX) {
            return false;
        }
        self.waiting() as u64 > window.max(WAITS_LEAST)
    }

    /// The packet is given in two pieces.
    fn send_datagram(&mut self, stream: u64, packet: [&[u8]; 2]) -> Result<(), SendError> {
        let backed_up = self.is_backed_up();
        let tunnel = self.tunnels.get_mut(&stream).ok_or(SendError::NotOpen)?;
        let in_datagrams = self.h3.peer_settings().is_some_and(|settings| settings.h3_datagram);
        if !in_datagrams {
            return tunnel.send_in_capsule(packet);
        }
        // Refused unless the setting was sent and received and our side of the stream is open.
        self.h3.datagram_prefix(H3Stream(stream), &mut [0; 8]).map_err(|_| SendError::NotOpen)?;
        let prefix = Prefix::quic(stream);
        let len = prefix.bytes().len() + packet[0].len() + packet[1].len();
        if backed_up {
            tunnel.counters.full += 1;
            return Err(SendError::Full);
        }
        if self.pool.capacity() < len {
            self.pool.reserve(POOL.max(len));
        }
        self.pool.extend_from_slice(prefix.bytes());
        self.pool.extend_from_slice(packet[0]);
        self.pool.extend_from_slice(packet[1]);
        match self.quic.datagrams().send(self.pool.split().freeze(), false) {
            Ok(()) => {
                tunnel.counters.sent += 1;
                Ok(())
            }
            Err(SendDatagramError::Blocked(_)) => {
                tunnel.counters.full += 1;
                Err(SendError::Full)
            }
            Err(SendDatagramError::TooLarge) => Err(SendError::Refused(Refusal::TooBig { mtu: tunnel.mtu })),
            Err(_) => Err(SendError::NotOpen),
        }
    }

    /// The next packet that came in, and through which tunnel.
    pub(super) fn receive(&mut self) -> Option<(TunnelId, Bytes)> {
        loop {
            let (stream, payload) = match self.packets.pop_front() {
                Some(packet) => packet,
                None => {
                    let frame = self.quic.datagrams().recv()?;
                    match self.h3.parse_datagram(&frame).ok()? {
                        Datagram::Deliver(stream, range) => (stream.0, frame.slice(range)),
                        // It came before its request, or after its end.
                        Datagram::NotYetOpen(..) | Datagram::Drop => {
                            self.drops.no_tunnel += 1;
                            continue;
                        }
                    }
                }
            };
            let Some(tunnel) = self.tunnels.get_mut(&stream) else {
                // A request without a tunnel has no datagrams (RFC 9297 section 2).
                let _ = self.h3.abort(H3Stream(stream), H3Code::DATAGRAM_ERROR);
                self.drops.no_tunnel += 1;
                continue;
            };
            if tunnel.phase != Phase::Open {
                self.drops.no_tunnel += 1;
                continue;
            }
            let former = tunnel.counters;
            let arrival = tunnel.receive(&payload);
            self.drops.no_context += tunnel.counters.unknown_context - former.unknown_context;
            self.drops.no_context += tunnel.counters.truncated - former.truncated;
            self.drops.refused += tunnel.counters.refused - former.refused;
            match arrival {
                Arrival::Deliver(offset) => return Some((self.id(stream), payload.slice(offset..))),
                // Errors and echoes are not worth waiting for room.
                Arrival::Answer(answer) => drop(self.send_datagram(stream, [&answer, &[]])),
                Arrival::Dropped => {}
            }
        }
    }
}
