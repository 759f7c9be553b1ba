//! Merging TCP packets, and UDP datagrams, of one flow into super-packets on their way to the adapter.

use super::checksum::{checksum, pseudo_header, transport_verifies};
use super::header::{Headers, TCP, Tcp, Transport, UDP};
use super::{DeliveryQueue, Gso, Offload, Place};
use std::net::IpAddr;

/// Flows that can be merged at a time. A batch seldom holds packets of more than a handful of busy ones.
const MAX_OPEN: usize = 16;
/// Most packets in a super-packet. 48 full TCP segments fill 64 KiB, and the gather list must stay well below IOV_MAX
/// (1024). For UDP it is what the kernel itself sends in one (`UDP_MAX_SEGMENTS`).
const MAX_PIECES: usize = 128;
const MAX_DATAGRAMS: usize = 64;
/// Longest super-packet: the IPv4 total length's limit, and IPv6's without jumbograms.
const MAX_TOTAL: usize = 65_535;

/// The super-packets that still take packets. Holds no more than [`MAX_OPEN`]; its memory is kept.
#[derive(Debug, Default)]
pub(super) struct OpenFlows {
    flows: Vec<OpenFlow>,
    /// Which one gives way next when all places are taken.
    next_victim: usize,
    /// The adapter takes UDP super-packets.
    udp: bool,
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
    /// Where its first packet is.
    first: Place,
    /// Where the transport header starts in it, and where its payload does.
    transport_offset: usize,
    header_len: usize,
    /// Payload bytes of each packet so far.
    size: usize,
    total_len: usize,
    /// TCP: what follows on; `None` for UDP.
    next_seq: Option<u32>,
    next_id: u16,
    /// The first packet's checksums were verified, which is put off until a second packet wants to join.
    verified: bool,
    pushed: bool,
}

/// What of a packet decides whether it merges.
struct Candidate {
    ports: (u16, u16),
    /// TCP's alone.
    tcp: Option<Tcp>,
    /// Bytes of the transport header.
    header_len: usize,
    payload_len: usize,
}

impl Candidate {
    /// `None` for what has no ports to tell its flow by, or is never merged with anything.
    fn of(headers: &Headers) -> Option<Self> {
        match headers.transport {
            _ if headers.is_fragment() => None,
            Transport::Tcp(tcp) => Some(Self {
                ports: (tcp.source_port, tcp.destination_port),
                tcp: Some(tcp),
                header_len: tcp.header_len,
                payload_len: tcp.payload_len,
            }),
            Transport::Udp { source_port, destination_port } => Some(Self {
                ports: (source_port, destination_port),
                tcp: None,
                header_len: 8,
                payload_len: headers.transport_len().saturating_sub(8),
            }),
            _ => None,
        }
    }

    fn pushed(&self) -> bool {
        self.tcp.is_some_and(|tcp| tcp.has(Tcp::PSH))
    }

    /// Data without IP options or extension headers; of TCP, with ACK and perhaps PSH; of UDP, with a checksum and no
    /// bytes behind the datagram.
    fn is_mergeable(&self, packet: &[u8], headers: &Headers) -> bool {
        let offset = headers.transport_offset;
        let plain = offset == if headers.source.is_ipv4() { 20 } else { 40 };
        let kind = match self.tcp {
            Some(tcp) => tcp.flags & !Tcp::PSH == Tcp::ACK,
            None => {
                let field = |at: usize| u16::from_be_bytes([packet[offset + at], packet[offset + at + 1]]);
                field(6) != 0 && usize::from(field(4)) == headers.transport_len()
            }
        };
        plain && kind && self.payload_len > 0
    }
}

impl DeliveryQueue {
    /// Whether UDP datagrams are merged as well: the adapter's other side must know how to cut them.
    pub fn merge_udp(&mut self, takes: bool) {
        self.open.udp = takes;
    }

    /// Appends the packet at `place`, which the caller has opened by [`Self::open`] and written, or given to
    /// [`Self::keep`]; `headers` are the packet's own. Padding behind it is left out. It joins an open super-packet of
    /// its flow where that changes nothing for the receiver: packets within a flow keep their order.
    pub fn deliver(&mut self, place: impl Into<Place>, headers: &Headers) {
        let place = place.into();
        let Some(place) = place.part(0..place.len().min(headers.total_len)) else { return };
        if place.is_empty() || !self.memory.has(&place) {
            return; // nothing was written
        }
        let Some(candidate) = Candidate::of(headers).filter(|candidate| candidate.tcp.is_some() || self.open.udp)
        else {
            if headers.is_fragment() && matches!(headers.protocol, TCP | UDP) {
                self.close_pair(headers);
            }
            self.append(place, Offload::default());
            return;
        };
        let packet = self.memory.at(&place);
        let mergeable = packet.len() == headers.total_len && candidate.is_mergeable(packet, headers);
        if let Some(at) = self.open.find(headers, &candidate) {
            if mergeable && self.joins(at, &place, headers, &candidate) {
                self.join(at, &place, headers, &candidate);
                return;
            }
            self.close(at);
        }
        let chain = self.append(place.clone(), Offload::default());
        // A pushed packet may end a super-packet, never begin one.
        if mergeable && !candidate.pushed() {
            self.open_flow(chain, place, headers, &candidate);
        }
    }

    /// Completes the headers of all super-packets. Call once per batch, before [`Self::frames`].
    pub fn finish(&mut self) {
        while !self.open.flows.is_empty() {
            self.close(self.open.flows.len() - 1);
        }
        if self.chains.is_empty() {
            self.memory.clear();
        }
    }

    fn open_flow(&mut self, chain: usize, first: Place, headers: &Headers, candidate: &Candidate) {
        if self.open.flows.len() == MAX_OPEN {
            self.open.next_victim = (self.open.next_victim + 1) % MAX_OPEN;
            self.close(self.open.next_victim);
        }
        let packet = self.memory.at(&first);
        let id = u16::from_be_bytes([packet[4], packet[5]]);
        self.open.flows.push(OpenFlow {
            source: headers.source,
            destination: headers.destination,
            ports: candidate.ports,
            chain,
            first,
            transport_offset: headers.transport_offset,
            header_len: headers.transport_offset + candidate.header_len,
            size: candidate.payload_len,
            total_len: headers.total_len,
            next_seq: candidate.tcp.map(|tcp| tcp.next_seq()),
            next_id: id.wrapping_add(1),
            verified: false,
            pushed: false,
        });
    }

    /// Whether the packet at `place` may join the open super-packet `at`.
    fn joins(&mut self, at: usize, place: &Place, headers: &Headers, candidate: &Candidate) -> bool {
        let flow = &mut self.open.flows[at];
        let fits = candidate.tcp.map(|tcp| tcp.seq) == flow.next_seq
            && candidate.payload_len <= flow.size
            && flow.total_len + candidate.payload_len <= MAX_TOTAL
            && flow.transport_offset == headers.transport_offset
            && flow.header_len == headers.transport_offset + candidate.header_len
            && self.chains[flow.chain].count < if candidate.tcp.is_some() { MAX_PIECES } else { MAX_DATAGRAMS };
        if !fits {
            return false;
        }
        let first = &self.memory.at(&flow.first)[..flow.header_len + flow.size];
        let packet = self.memory.at(place);
        let same_transport =
            candidate.tcp.is_none() || same_tcp(&first[..flow.header_len], packet, flow.transport_offset);
        if !same_ip(first, packet, flow.next_id) || !same_transport {
            return false;
        }
        // The receiver's kernel will trust the merged payload: it must not be handed what it would have thrown away.
        flow.verified = flow.verified || verifies(first, headers);
        flow.verified && verifies(packet, headers)
    }

    fn join(&mut self, at: usize, place: &Place, headers: &Headers, candidate: &Candidate) {
        let flow = &mut self.open.flows[at];
        let Some(payload) = place.part(flow.header_len..headers.total_len) else { return };
        flow.total_len += candidate.payload_len;
        flow.next_seq = candidate.tcp.map(|tcp| tcp.next_seq());
        flow.next_id = flow.next_id.wrapping_add(1);
        flow.pushed = candidate.pushed();
        let ends = flow.pushed || candidate.payload_len < flow.size;
        let chain = flow.chain;
        self.extend(chain, payload);
        if ends {
            self.close(at);
        }
    }

    /// Takes a super-packet out of the open ones and completes its headers. A single packet is left as it came.
    fn close(&mut self, at: usize) {
        let flow = self.open.flows.swap_remove(at);
        if self.chains[flow.chain].count < 2 {
            return;
        }
        let headers = self.head_mut(flow.chain, flow.header_len);
        let transport_len = (flow.total_len - flow.transport_offset) as u16;
        if flow.source.is_ipv4() {
            headers[2..4].copy_from_slice(&(flow.total_len as u16).to_be_bytes());
            headers[10..12].fill(0);
            let sum = checksum(&headers[..flow.transport_offset]);
            headers[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            headers[4..6].copy_from_slice(&transport_len.to_be_bytes());
        }
        let transport = &mut headers[flow.transport_offset..];
        let size = flow.size as u16;
        let (protocol, field, gso) = if flow.next_seq.is_some() {
            if flow.pushed {
                transport[13] |= Tcp::PSH;
            }
            (TCP, 16, Gso::Tcp { size })
        } else {
            transport[4..6].copy_from_slice(&transport_len.to_be_bytes());
            (UDP, 6, Gso::Udp { size })
        };
        let partial = pseudo_header(flow.source, flow.destination, protocol, transport_len).fold();
        transport[field..field + 2].copy_from_slice(&partial.to_be_bytes());
        self.chains[flow.chain].offload =
            Offload { gso: Some(gso), checksum: Some((flow.transport_offset as u16, field as u16)) };
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
    fn find(&self, headers: &Headers, candidate: &Candidate) -> Option<usize> {
        self.flows.iter().position(|flow| {
            flow.ports == candidate.ports
                && flow.next_seq.is_some() == candidate.tcp.is_some()
                && flow.source == headers.source
                && flow.destination == headers.destination
        })
    }
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
