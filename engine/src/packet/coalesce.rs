//! Merging TCP packets of one flow into super-packets on their way to the adapter.

use super::checksum::{checksum, pseudo_header, transport_verifies};
use super::header::{Headers, TCP, Tcp};
use super::{DeliveryQueue, Gso, Offload};
use std::net::IpAddr;

/// Flows that can be merged at a time. A batch seldom holds packets of more than a handful of busy ones.
const MAX_OPEN: usize = 16;
/// Most packets in a super-packet. 48 full ones fill 64 KiB; the gather list must stay well below IOV_MAX (1024).
const MAX_PIECES: usize = 128;
/// Longest super-packet: the IPv4 total length's limit, and IPv6's without jumbograms.
const MAX_TOTAL: usize = 65_535;

/// The super-packets that still take packets. Holds no more than [`MAX_OPEN`]; its memory is kept.
#[derive(Debug, Default)]
pub(super) struct OpenFlows {
    flows: Vec<OpenFlow>,
    /// Which one gives way next when all places are taken.
    next_victim: usize,
}

impl OpenFlows {
    pub(super) fn clear(&mut self) {
        self.flows.clear();
    }
}

/// A frame to which the flow's next packet may be added.
#[derive(Debug)]
struct OpenFlow {
    source: IpAddr,
    destination: IpAddr,
    ports: (u16, u16),
    chain: usize,
    /// Where its first packet is in the arena.
    start: usize,
    /// Where TCP starts in it, and where its payload does.
    transport_offset: usize,
    header_len: usize,
    /// Payload bytes of each packet so far.
    size: usize,
    total_len: usize,
    next_seq: u32,
    next_id: u16,
    /// The first packet's checksums were verified, which is put off until a second packet wants to join.
    verified: bool,
    pushed: bool,
}

impl DeliveryQueue {
    /// Room for a packet of up to `len` bytes at the arena's end. It is not part of any frame until
    /// [`Self::deliver`]; a second call without one gives the same room again.
    pub fn open_packet(&mut self, len: usize) -> &mut [u8] {
        self.reserve(len)
    }

    /// Appends the packet in the first `len` bytes of the room just opened; `headers` are its own. Padding behind the
    /// packet is left out. It joins an open super-packet of its flow where that changes nothing for the receiver:
    /// packets within a flow keep their order.
    pub fn deliver(&mut self, len: usize, headers: &Headers) {
        let start = self.used;
        let end = start + len.min(headers.total_len);
        if end <= start || end > self.arena.len() {
            return; // nothing was written
        }
        let Some(tcp) = headers.tcp().copied().filter(|_| !headers.is_fragment()) else {
            if headers.is_fragment() && headers.protocol == TCP {
                self.close_pair(headers);
            }
            self.append(start..end, Offload::default());
            return;
        };
        let mergeable = is_mergeable(headers, &tcp) && end - start == headers.total_len;
        if let Some(at) = self.open.find(headers, &tcp) {
            if mergeable && self.joins(at, headers, &tcp) {
                self.join(at, headers, &tcp);
                return;
            }
            self.close(at);
        }
        let chain = self.append(start..end, Offload::default());
        // A pushed packet may end a super-packet, never begin one.
        if mergeable && !tcp.has(Tcp::PSH) {
            self.open_flow(chain, start, headers, &tcp);
        }
    }

    /// Completes the headers of all super-packets. Call once per batch, before [`Self::frames`].
    pub fn finish(&mut self) {
        while !self.open.flows.is_empty() {
            self.close(self.open.flows.len() - 1);
        }
    }

    fn open_flow(&mut self, chain: usize, start: usize, headers: &Headers, tcp: &Tcp) {
        if self.open.flows.len() == MAX_OPEN {
            self.open.next_victim = (self.open.next_victim + 1) % MAX_OPEN;
            self.close(self.open.next_victim);
        }
        self.open.flows.push(OpenFlow {
            source: headers.source,
            destination: headers.destination,
            ports: (tcp.source_port, tcp.destination_port),
            chain,
            start,
            transport_offset: headers.transport_offset,
            header_len: headers.transport_offset + tcp.header_len,
            size: tcp.payload_len,
            total_len: headers.total_len,
            next_seq: tcp.next_seq(),
            next_id: u16::from_be_bytes([self.arena[start + 4], self.arena[start + 5]]).wrapping_add(1),
            verified: false,
            pushed: false,
        });
    }

    /// Whether the packet at the arena's end may join the open super-packet `at`.
    fn joins(&mut self, at: usize, headers: &Headers, tcp: &Tcp) -> bool {
        let flow = &mut self.open.flows[at];
        let fits = tcp.seq == flow.next_seq
            && tcp.payload_len <= flow.size
            && flow.total_len + tcp.payload_len <= MAX_TOTAL
            && flow.transport_offset == headers.transport_offset
            && flow.header_len == headers.transport_offset + tcp.header_len
            && self.chains[flow.chain].count < MAX_PIECES;
        if !fits {
            return false;
        }
        let first = &self.arena[flow.start..flow.start + flow.header_len + flow.size];
        let packet = &self.arena[self.used..self.used + headers.total_len];
        if !same_ip(first, packet, flow.next_id) || !same_tcp(&first[..flow.header_len], packet, flow.transport_offset)
        {
            return false;
        }
        // The receiver's kernel will trust the merged payload: it must not be handed what it would have thrown away.
        flow.verified = flow.verified || verifies(first, headers);
        flow.verified && verifies(packet, headers)
    }

    fn join(&mut self, at: usize, headers: &Headers, tcp: &Tcp) {
        let flow = &mut self.open.flows[at];
        let payload = self.used + flow.header_len..self.used + headers.total_len;
        flow.total_len += tcp.payload_len;
        flow.next_seq = tcp.next_seq();
        flow.next_id = flow.next_id.wrapping_add(1);
        flow.pushed = tcp.has(Tcp::PSH);
        let ends = flow.pushed || tcp.payload_len < flow.size;
        let chain = flow.chain;
        self.extend(chain, payload);
        if ends {
            self.close(at);
        }
    }

    /// Takes a super-packet out of the open ones and completes its headers. A single packet is left as it came.
    fn close(&mut self, at: usize) {
        let flow = self.open.flows.swap_remove(at);
        let chain = &mut self.chains[flow.chain];
        if chain.count < 2 {
            return;
        }
        let headers = &mut self.arena[flow.start..flow.start + flow.header_len];
        let transport_len = (flow.total_len - flow.transport_offset) as u16;
        if flow.source.is_ipv4() {
            headers[2..4].copy_from_slice(&(flow.total_len as u16).to_be_bytes());
            headers[10..12].fill(0);
            let sum = checksum(&headers[..flow.transport_offset]);
            headers[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            headers[4..6].copy_from_slice(&transport_len.to_be_bytes());
        }
        let tcp = &mut headers[flow.transport_offset..];
        if flow.pushed {
            tcp[13] |= Tcp::PSH;
        }
        let partial = pseudo_header(flow.source, flow.destination, TCP, transport_len).fold();
        tcp[16..18].copy_from_slice(&partial.to_be_bytes());
        chain.offload = Offload {
            gso: Some(Gso::Tcp { size: flow.size as u16 }),
            checksum: Some((flow.transport_offset as u16, 16)),
        };
    }

    /// A fragment has no ports to tell its flow by: it ends all between its two addresses.
    fn close_pair(&mut self, headers: &Headers) {
        let between = |flow: &OpenFlow| flow.source == headers.source && flow.destination == headers.destination;
        while let Some(at) = self.open.flows.iter().position(between) {
            self.close(at);
        }
    }
}

impl OpenFlows {
    fn find(&self, headers: &Headers, tcp: &Tcp) -> Option<usize> {
        let ports = (tcp.source_port, tcp.destination_port);
        self.flows.iter().position(|flow| {
            flow.ports == ports && flow.source == headers.source && flow.destination == headers.destination
        })
    }
}

/// Data with ACK, perhaps PSH, and no IP options or extension headers.
fn is_mergeable(headers: &Headers, tcp: &Tcp) -> bool {
    let plain = headers.transport_offset == if headers.source.is_ipv4() { 20 } else { 40 };
    plain && tcp.flags & !Tcp::PSH == Tcp::ACK && tcp.payload_len > 0
}

/// Whether two plain IP headers agree in all that is not derived from the length. `id` is the identification that a
/// receiver who cuts the super-packet again would give this packet; it is compared where fragments may depend on it.
fn same_ip(first: &[u8], packet: &[u8], id: u16) -> bool {
    if first[0] >> 4 == 6 {
        // Version, traffic class, flow label; next header and hop limit.
        return first[..4] == packet[..4] && first[6..8] == packet[6..8];
    }
    let may_fragment = packet[6] & 0x40 == 0;
    first[..2] == packet[..2]
        && first[6..10] == packet[6..10]
        && (!may_fragment || id == u16::from_be_bytes([packet[4], packet[5]]))
}

/// Whether two TCP headers agree in acknowledgement, data offset, window, urgent pointer and options. Flags and
/// sequence numbers were looked at before. A packet with another window must not lose it.
fn same_tcp(first: &[u8], packet: &[u8], offset: usize) -> bool {
    let (first, packet) = (&first[offset..], &packet[offset..]);
    first[8..13] == packet[8..13] && first[14..16] == packet[14..16] && first[18..] == packet[18..first.len()]
}

fn verifies(packet: &[u8], headers: &Headers) -> bool {
    let (ip, transport) = packet.split_at(headers.transport_offset);
    (headers.source.is_ipv6() || checksum(ip) == 0) && transport_verifies(headers, transport)
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
