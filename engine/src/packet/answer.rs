//! Honest answers: the packets that tell a sender why its own went nowhere.

use super::checksum::{Sum, checksum, pseudo_header};
use super::header::{Fragment, Headers, ICMP, ICMPV6, TCP, Tcp, Transport};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Largest answer: ICMPv6 errors fill the minimum MTU (RFC 4443 section 2.4).
pub const MAX_ANSWER: usize = 1280;
/// Largest ICMPv4 error (RFC 1812 section 4.3.2.3).
const MAX_ANSWER_V4: usize = 576;
/// What we start with; RFC 1700's and everyone's default.
const TTL: u8 = 64;
/// RFC 1812 section 4.3.2.5: ICMP errors travel with precedence 6, internetwork control.
const INTERNETWORK_CONTROL: u8 = 0xc0;
/// ICMPv6 redirect: no error by its type, and yet never to be answered (RFC 4443 section 2.4(e)).
const REDIRECT_V6: u8 = 137;

/// Writes the answer to a denied packet into `out` ([`MAX_ANSWER`] bytes suffice) and returns its length: a TCP RST
/// in the destination's name, or ICMP "administratively prohibited" from `answerer` (the packet's destination if
/// `None`, or if it is of the other IP version).
///
/// `None` where an answer is forbidden (RFC 1122 section 3.2.2, RFC 4443 section 2.4, RFC 9293 section 3.10.7.1): to
/// ICMP errors, to RSTs, to later fragments, to or in the name of addresses that are not one host's; or when `out` is
/// too small.
pub fn deny(packet: &[u8], headers: &Headers, answerer: Option<IpAddr>, out: &mut [u8]) -> Option<usize> {
    match headers.transport {
        Transport::Tcp(tcp) if headers.fragment == Fragment::Whole => refuse(&tcp, headers, out),
        _ if headers.source.is_ipv4() => {
            icmp_error(packet, headers, answerer, IcmpMessage { kind: 3, code: 13, value: 0 }, out)
        }
        _ => icmp_error(packet, headers, answerer, IcmpMessage { kind: 1, code: 1, value: 0 }, out),
    }
}

/// Writes ICMP "fragmentation needed" or ICMPv6 "packet too big" with `mtu`, from the packet's destination.
///
/// `None` where no answer is allowed (see [`deny`]), or `out` is too small.
pub fn too_big(packet: &[u8], headers: &Headers, mtu: u16, out: &mut [u8]) -> Option<usize> {
    let value = u32::from(mtu);
    let (kind, code) = if headers.source.is_ipv4() { (3, 4) } else { (2, 0) };
    icmp_error(packet, headers, None, IcmpMessage { kind, code, value }, out)
}

/// Writes a TCP RST that closes a live flow, as if `source` had sent it, and returns its length; 0 if `out` is too
/// small or the two addresses are not of one version.
pub fn reset(source: SocketAddr, destination: SocketAddr, seq: u32, ack: Option<u32>, out: &mut [u8]) -> usize {
    if source.is_ipv4() != destination.is_ipv4() {
        return 0;
    }
    write_reset(source, destination, seq, ack, out).unwrap_or(0)
}

/// RFC 9293 section 3.10.7.1: the RST that answers a segment to a port where nobody listens.
fn refuse(tcp: &Tcp, headers: &Headers, out: &mut [u8]) -> Option<usize> {
    if tcp.has(Tcp::RST) || !is_one_host(headers.source) || !is_one_host(headers.destination) {
        return None;
    }
    let (seq, ack) = if tcp.has(Tcp::ACK) { (tcp.ack, None) } else { (0, Some(tcp.next_seq())) };
    let source = SocketAddr::new(headers.destination, tcp.destination_port);
    write_reset(source, SocketAddr::new(headers.source, tcp.source_port), seq, ack, out)
}

fn write_reset(
    source: SocketAddr,
    destination: SocketAddr,
    seq: u32,
    ack: Option<u32>,
    out: &mut [u8],
) -> Option<usize> {
    let (packet, offset) = write_ip(source.ip(), destination.ip(), TCP, 20, 0, out)?;
    let tcp = packet.get_mut(offset..)?;
    tcp.fill(0);
    tcp[0..2].copy_from_slice(&source.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&destination.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&ack.unwrap_or(0).to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = Tcp::RST | if ack.is_some() { Tcp::ACK } else { 0 };
    let sum = pseudo_header(source.ip(), destination.ip(), TCP, 20).with(tcp).finish();
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    Some(packet.len())
}

/// What an ICMP or ICMPv6 error says.
#[derive(Clone, Copy)]
pub(crate) struct IcmpMessage {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// The 32 bits after the checksum.
    pub(crate) value: u32,
}

/// Writes the error `message` about `packet`; see [`deny`] for when there is none.
pub(crate) fn icmp_error(
    packet: &[u8],
    headers: &Headers,
    answerer: Option<IpAddr>,
    message: IcmpMessage,
    out: &mut [u8],
) -> Option<usize> {
    let bytes = packet.get(..headers.total_len)?;
    let redirect = headers.protocol == ICMPV6 && bytes.get(headers.transport_offset) == Some(&REDIRECT_V6);
    let later = matches!(headers.fragment, Fragment::Later { .. });
    if later || redirect || matches!(headers.transport, Transport::IcmpError { .. }) {
        return None;
    }
    if !is_one_host(headers.source) || !is_one_host(headers.destination) {
        return None;
    }
    let same_version = |answerer: &IpAddr| answerer.is_ipv4() == headers.source.is_ipv4();
    let from = answerer.filter(same_version).unwrap_or(headers.destination);
    let v4 = from.is_ipv4();
    let (room, protocol, tos) =
        if v4 { (MAX_ANSWER_V4 - 28, ICMP, INTERNETWORK_CONTROL) } else { (MAX_ANSWER - 48, ICMPV6, 0) };
    let quote = &bytes[..bytes.len().min(room)];
    let (answer, offset) = write_ip(from, headers.source, protocol, 8 + quote.len(), tos, out)?;
    let icmp = answer.get_mut(offset..)?;
    icmp[0] = message.kind;
    icmp[1] = message.code;
    icmp[2..4].fill(0);
    icmp[4..8].copy_from_slice(&message.value.to_be_bytes());
    icmp[8..].copy_from_slice(quote);
    let start =
        if v4 { Sum::new() } else { pseudo_header(from, headers.source, protocol, u16::try_from(icmp.len()).ok()?) };
    let sum = start.with(icmp).finish();
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(answer.len())
}

/// Writes an IP header for `len` bytes of transport; returns the packet and where its transport header starts.
pub(crate) fn write_ip(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    len: usize,
    tos: u8,
    out: &mut [u8],
) -> Option<(&mut [u8], usize)> {
    let length = u16::try_from(len).ok()?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let packet = out.get_mut(..20 + len)?;
            packet[..20].fill(0);
            packet[0] = 0x45;
            packet[1] = tos;
            packet[2..4].copy_from_slice(&length.checked_add(20)?.to_be_bytes());
            packet[6] = 0x40; // don't fragment: then the identification may stay 0 (RFC 6864)
            packet[8] = TTL;
            packet[9] = protocol;
            packet[12..16].copy_from_slice(&source.octets());
            packet[16..20].copy_from_slice(&destination.octets());
            let sum = checksum(&packet[..20]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            Some((packet, 20))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let packet = out.get_mut(..40 + len)?;
            packet[..4].copy_from_slice(&[0x60 | tos >> 4, tos << 4, 0, 0]);
            packet[4..6].copy_from_slice(&length.to_be_bytes());
            packet[6] = protocol;
            packet[7] = TTL;
            packet[8..24].copy_from_slice(&source.octets());
            packet[24..40].copy_from_slice(&destination.octets());
            Some((packet, 40))
        }
        _ => None,
    }
}

/// True for an address that one host may hold and be reached at through a tunnel.
fn is_one_host(address: IpAddr) -> bool {
    match address {
        // 0/8 is "this host", 127/8 never travels, 224/4 is multicast, 240/4 reserved with the broadcast address.
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..) && v4 != Ipv4Addr::BROADCAST,
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast()),
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
