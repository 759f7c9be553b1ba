//! IPv4 packets by hand: UDP, TCP without options, and the ICMP errors that come back.

use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_engine::packet::Gso;
use vestibule_platform::adapter::memory::HostFrame;

/// Bytes of an IPv4 header without options.
const IP: usize = 20;
/// Bytes of a TCP header without options.
pub(super) const TCP: usize = 20;
const UDP: usize = 8;

/// TCP flags.
pub(super) const FIN: u8 = 1;
/// See [`FIN`].
pub(super) const SYN: u8 = 2;
/// See [`FIN`].
pub(super) const RST: u8 = 4;
/// See [`FIN`].
pub(super) const ACK: u8 = 16;

/// What a packet is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// A datagram.
    Udp { source: SocketAddrV4, destination: SocketAddrV4, payload: &'a [u8] },
    /// A segment.
    Tcp { source: SocketAddrV4, destination: SocketAddrV4, seq: u32, ack: u32, flags: u8, payload: &'a [u8] },
    /// An error about a packet that `source` sent to `destination`.
    Unreachable { protocol: u8, source: SocketAddrV4, destination: SocketAddrV4 },
}

/// A UDP packet.
pub(super) fn udp(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut packet = ip(17, *source.ip(), *destination.ip(), UDP + payload.len());
    packet.extend(source.port().to_be_bytes());
    packet.extend(destination.port().to_be_bytes());
    packet.extend(((UDP + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend_from_slice(payload);
    let sum = match transport_sum(&packet, 17) {
        0 => 0xffff,
        sum => sum,
    };
    packet[IP + 6..IP + 8].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A TCP segment.
pub(super) fn tcp(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    (seq, ack, flags): (u32, u32, u8),
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = ip(6, *source.ip(), *destination.ip(), TCP + payload.len());
    packet.extend(source.port().to_be_bytes());
    packet.extend(destination.port().to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend(ack.to_be_bytes());
    packet.extend([(TCP as u8 / 4) << 4, flags]);
    packet.extend(u16::MAX.to_be_bytes());
    packet.extend([0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    let sum = transport_sum(&packet, 6);
    packet[IP + 16..IP + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn ip(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, payload: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(IP + payload);
    packet.extend([0x45, 0]);
    packet.extend(((IP + payload) as u16).to_be_bytes());
    // Identification 0, do not fragment, 64 hops.
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = checksum(0, &packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn transport_sum(packet: &[u8], protocol: u8) -> u16 {
    let addresses = packet[12..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let pseudo = addresses.sum::<u32>() + u32::from(protocol) + (packet.len() - IP) as u32;
    checksum(pseudo, &packet[IP..])
}

/// The Internet checksum (RFC 1071) of `bytes`, on top of `sum`.
fn checksum(mut sum: u32, bytes: &[u8]) -> u16 {
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Hands every packet in a frame to `take`: one, or the segments of a super-packet. What is none is left out.
pub(super) fn each(frame: &HostFrame, mut take: impl FnMut(Packet<'_>)) {
    let Some(whole) = parse(&frame.bytes) else { return };
    match (whole, frame.offload.gso) {
        (Packet::Udp { source, destination, payload }, Some(Gso::Udp { size })) => {
            for payload in payload.chunks(usize::from(size.max(1))) {
                take(Packet::Udp { source, destination, payload });
            }
        }
        (Packet::Tcp { source, destination, seq, ack, flags, payload }, Some(Gso::Tcp { size })) => {
            let count = payload.len().div_ceil(usize::from(size.max(1)));
            for (at, piece) in payload.chunks(usize::from(size.max(1))).enumerate() {
                let seq = seq.wrapping_add((at * usize::from(size)) as u32);
                let flags = if at + 1 == count { flags } else { flags & !FIN };
                take(Packet::Tcp { source, destination, seq, ack, flags, payload: piece });
            }
        }
        (packet, _) => take(packet),
    }
}

fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let (protocol, source, destination, body) = open(bytes)?;
    let port = |at: usize, body: &[u8]| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
    match protocol {
        17 => Some(Packet::Udp {
            source: SocketAddrV4::new(source, port(0, body)?),
            destination: SocketAddrV4::new(destination, port(2, body)?),
            payload: body.get(UDP..)?,
        }),
        6 => Some(Packet::Tcp {
            source: SocketAddrV4::new(source, port(0, body)?),
            destination: SocketAddrV4::new(destination, port(2, body)?),
            seq: word(4)?,
            ack: word(8)?,
            flags: *body.get(13)?,
            payload: body.get(usize::from(*body.get(12)? >> 4) * 4..)?,
        }),
        1 if body.first() == Some(&3) => {
            let (protocol, source, destination, quoted) = open(body.get(8..)?)?;
            Some(Packet::Unreachable {
                protocol,
                source: SocketAddrV4::new(source, port(0, quoted)?),
                destination: SocketAddrV4::new(destination, port(2, quoted)?),
            })
        }
        _ => None,
    }
}

/// Protocol, addresses and payload of an IPv4 packet, which may be cut short.
fn open(bytes: &[u8]) -> Option<(u8, Ipv4Addr, Ipv4Addr, &[u8])> {
    let header = usize::from(bytes.first()? & 0xf) * 4;
    if bytes[0] >> 4 != 4 || header < IP || bytes.len() < header {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    Some((bytes[9], address(12), address(16), &bytes[header..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_engine::packet::Offload;

    const A: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(100, 96, 0, 2), 7000);
    const B: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 10), 389);

    #[test]
    fn what_is_built_is_parsed_and_sums_to_zero() {
        let packet = udp(A, B, b"odd");
        assert_eq!(parse(&packet), Some(Packet::Udp { source: A, destination: B, payload: b"odd" }));
        assert_eq!((checksum(0, &packet[..IP]), transport_sum(&packet, 17)), (0, 0));
        let packet = tcp(A, B, (7, 9, SYN | ACK), b"");
        let parsed = Packet::Tcp { source: A, destination: B, seq: 7, ack: 9, flags: SYN | ACK, payload: b"" };
        assert_eq!(parse(&packet), Some(parsed));
        assert_eq!((checksum(0, &packet[..IP]), transport_sum(&packet, 6)), (0, 0));
    }

    #[test]
    fn super_packets_are_cut() {
        let offload = |gso| Offload { gso: Some(gso), ..Offload::default() };
        let mut sizes = Vec::new();
        let frame = HostFrame { bytes: udp(A, B, &[1; 250]), offload: offload(Gso::Udp { size: 100 }) };
        each(&frame, |packet| {
            let Packet::Udp { payload, .. } = packet else { panic!("{packet:?}") };
            sizes.push(payload.len());
        });
        assert_eq!(sizes, [100, 100, 50]);
        let mut segments = Vec::new();
        let frame =
            HostFrame { bytes: tcp(A, B, (5, 0, ACK | FIN), &[1; 250]), offload: offload(Gso::Tcp { size: 100 }) };
        each(&frame, |packet| {
            let Packet::Tcp { seq, flags, .. } = packet else { panic!("{packet:?}") };
            segments.push((seq, flags));
        });
        assert_eq!(segments, [(5, ACK), (105, ACK), (205, ACK | FIN)]);
    }

    #[test]
    fn errors_name_the_flow_and_rubbish_is_none() {
        let mut error = ip(1, *B.ip(), *A.ip(), 8 + 28);
        error.extend([3, 13, 0, 0, 0, 0, 0, 0]);
        error.extend(&udp(A, B, b"")[..28]);
        assert_eq!(parse(&error), Some(Packet::Unreachable { protocol: 17, source: A, destination: B }));
        for length in 0..error.len() {
            assert!(parse(&error[..length]).is_none() || length >= 52);
        }
        assert_eq!(parse(&[0x60; 60]), None);
    }
}
