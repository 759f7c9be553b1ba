//! Packets for tests, and slow but plain oracles.

#![allow(clippy::unwrap_used)]

use super::header::{ICMP, ICMPV6, TCP, Tcp, UDP};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RFC 1071 section 4.1, as printed: big-endian 16-bit words in a 32-bit sum, folded at the end.
pub(crate) fn rfc1071(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u64::from(low));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A host of the test network.
pub(crate) fn host(v6: bool, number: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into()
    } else {
        Ipv4Addr::new(10, 0, 0, number).into()
    }
}

/// An IP packet around a transport header and payload whose checksum, `field` bytes in, is still to be computed.
pub(crate) fn ip(source: IpAddr, destination: IpAddr, protocol: u8, transport: &[u8], field: Option<usize>) -> Vec<u8> {
    let mut transport = transport.to_vec();
    let mut pseudo = Vec::new();
    let mut packet = Vec::new();
    let len = u16::try_from(transport.len()).unwrap();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet[2..4].copy_from_slice(&(20 + len).to_be_bytes());
            let sum = rfc1071(&packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            if protocol != ICMP {
                pseudo.extend(&packet[12..20]);
                pseudo.extend([0, protocol]);
                pseudo.extend(len.to_be_bytes());
            }
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet.extend([0x60, 0, 0, 0, 0, 0, protocol, 64]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet[4..6].copy_from_slice(&len.to_be_bytes());
            pseudo.extend(&packet[8..40]);
            pseudo.extend(u32::from(len).to_be_bytes());
            pseudo.extend([0, 0, 0, protocol]);
        }
        _ => panic!("two IP versions in one packet"),
    }
    if let Some(field) = field {
        pseudo.extend(&transport);
        let sum = rfc1071(&pseudo);
        transport[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend(transport);
    packet
}

/// A TCP packet to be.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) v6: bool,
    pub(crate) hosts: (u8, u8),
    pub(crate) ports: (u16, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) id: u16,
    pub(crate) may_fragment: bool,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            v6: false,
            hosts: (1, 2),
            ports: (40_000, 443),
            seq: 1000,
            ack: 5000,
            flags: Tcp::ACK,
            window: 512,
            options: Vec::new(),
            payload: vec![0xab; 100],
            id: 7,
            may_fragment: false,
            tos: 0,
            ttl: 64,
        }
    }
}

impl Segment {
    pub(crate) fn build(&self) -> Vec<u8> {
        assert!(self.options.len().is_multiple_of(4) && self.options.len() <= 40, "TCP options come in words");
        let mut tcp = Vec::new();
        tcp.extend(self.ports.0.to_be_bytes());
        tcp.extend(self.ports.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([(5 + self.options.len() as u8 / 4) << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0, 0, 0]);
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let mut packet = ip(host(self.v6, self.hosts.0), host(self.v6, self.hosts.1), TCP, &tcp, Some(16));
        if self.v6 {
            packet[0] |= self.tos >> 4;
            packet[1] |= self.tos << 4;
            packet[7] = self.ttl;
        } else {
            packet[1] = self.tos;
            packet[4..6].copy_from_slice(&self.id.to_be_bytes());
            packet[6] = if self.may_fragment { 0 } else { 0x40 };
            packet[8] = self.ttl;
            sum_v4(&mut packet);
        }
        packet
    }
}

/// Renews an IPv4 header's checksum.
pub(crate) fn sum_v4(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = rfc1071(&packet[..len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

pub(crate) fn udp(v6: bool, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    ip(host(v6, 1), host(v6, 2), UDP, &bytes, Some(6))
}

/// An ICMP or ICMPv6 message from host 1 to host 2.
pub(crate) fn icmp(v6: bool, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest);
    ip(host(v6, 1), host(v6, 2), if v6 { ICMPV6 } else { ICMP }, &bytes, Some(2))
}

/// An IPv4 packet with `options` (whole words) after its header.
pub(crate) fn with_options_v4(packet: &[u8], options: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4), "IPv4 options come in words");
    let mut out = [&packet[..20], options, &packet[20..]].concat();
    out[0] += options.len() as u8 / 4;
    let len = u16::from_be_bytes([packet[2], packet[3]]) + options.len() as u16;
    out[2..4].copy_from_slice(&len.to_be_bytes());
    sum_v4(&mut out);
    out
}

/// An IPv6 packet with an extension header of type `kind` after its fixed header; `header`'s first byte is set.
pub(crate) fn with_extension_v6(packet: &[u8], kind: u8, header: &[u8]) -> Vec<u8> {
    let mut out = [&packet[..40], header, &packet[40..]].concat();
    out[40] = packet[6];
    out[6] = kind;
    let len = u16::from_be_bytes([packet[4], packet[5]]) + header.len() as u16;
    out[4..6].copy_from_slice(&len.to_be_bytes());
    out
}

/// Panics unless all checksums of a TCP, UDP or ICMP packet are right by the RFC's plain loop.
pub(crate) fn assert_checksums(packet: &[u8]) {
    let headers = super::Headers::parse(packet).unwrap();
    let (ip, transport) = packet[..headers.total_len].split_at(headers.transport_offset);
    let mut bytes = Vec::new();
    match (headers.source, headers.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            assert_eq!(rfc1071(ip), 0, "IPv4 header checksum of {packet:02x?}");
            if headers.protocol != ICMP {
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                bytes.extend([0, headers.protocol]);
                bytes.extend((transport.len() as u16).to_be_bytes());
            }
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend((transport.len() as u32).to_be_bytes());
            bytes.extend([0, 0, 0, headers.protocol]);
        }
        _ => panic!("two IP versions in one packet"),
    }
    bytes.extend(transport);
    assert_eq!(rfc1071(&bytes), 0, "transport checksum of {packet:02x?}");
}
