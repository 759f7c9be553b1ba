//! Inner packets: sequence-stamped UDP and TCP-shaped traffic, single or as super-packets, built and checked here
//! without the engine's own header code.

use std::net::Ipv4Addr;
use vestibule_engine::packet::{Gso, Offload};

/// UDP's protocol number.
pub const UDP: u8 = 17;
/// TCP's protocol number.
pub const TCP: u8 = 6;
const MAGIC: u32 = 0x5653_494d;
/// Smallest payload: the stamp.
pub const STAMP: usize = 20;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Device to gateway.
    Up,
    /// Gateway to device.
    Down,
}

/// What a payload says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Flow number.
    pub flow: u32,
    /// Its way.
    pub direction: Direction,
    /// Position within flow and direction.
    pub sequence: u64,
}

/// Addresses and ports of a packet as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// From.
    pub source: (Ipv4Addr, u16),
    /// To.
    pub destination: (Ipv4Addr, u16),
    /// [`UDP`] or [`TCP`].
    pub protocol: u8,
}

/// The payload of `len` bytes that belongs to `stamp`.
#[must_use]
pub fn payload(stamp: Stamp, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.max(STAMP));
    bytes.extend(MAGIC.to_be_bytes());
    bytes.extend(stamp.flow.to_be_bytes());
    bytes.extend([u8::from(stamp.direction == Direction::Down), 0, 0, 0]);
    bytes.extend(stamp.sequence.to_be_bytes());
    let mut fill = crate::Random::new(u64::from(stamp.flow) << 33 ^ stamp.sequence);
    while bytes.len() < len {
        let rest = len - bytes.len();
        bytes.extend(&fill.bits().to_le_bytes()[..rest.min(8)]);
    }
    bytes
}

/// Reads and verifies a payload.
///
/// # Errors
/// When a byte differs from what was sent.
pub fn check_payload(bytes: &[u8]) -> Result<Stamp, String> {
    let stamp = bytes
        .get(..STAMP)
        .filter(|head| head[..4] == MAGIC.to_be_bytes())
        .map(|head| Stamp {
            flow: u32::from_be_bytes(head[4..8].try_into().unwrap_or_default()),
            direction: if head[8] == 1 { Direction::Down } else { Direction::Up },
            sequence: u64::from_be_bytes(head[12..20].try_into().unwrap_or_default()),
        })
        .ok_or_else(|| format!("a payload of {} bytes without a stamp", bytes.len()))?;
    if payload(stamp, bytes.len()) == bytes { Ok(stamp) } else { Err(format!("bytes of {stamp:?} changed on the way")) }
}

/// A finished IPv4 packet around `body`. `tcp_sequence` and `flags` matter to TCP only.
#[must_use]
pub fn build(tuple: Tuple, tcp_sequence: u32, flags: u8, body: &[u8], partial_checksum: bool) -> Vec<u8> {
    let transport_header = if tuple.protocol == TCP { 20 } else { 8 };
    let total = 20 + transport_header + body.len();
    let mut bytes = vec![0x45, 0];
    bytes.extend(u16::try_from(total).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend([0x12, 0x34, 0x40, 0, 64, tuple.protocol, 0, 0]);
    bytes.extend(tuple.source.0.octets());
    bytes.extend(tuple.destination.0.octets());
    let header = !fold(sum(&bytes));
    bytes[10..12].copy_from_slice(&header.to_be_bytes());
    bytes.extend(tuple.source.1.to_be_bytes());
    bytes.extend(tuple.destination.1.to_be_bytes());
    let at = if tuple.protocol == TCP {
        bytes.extend(tcp_sequence.to_be_bytes());
        bytes.extend(77u32.to_be_bytes());
        bytes.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
        36
    } else {
        bytes.extend(u16::try_from(8 + body.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend([0, 0]);
        26
    };
    bytes.extend(body);
    let pseudo = pseudo_header(&bytes);
    let value = if partial_checksum { fold(pseudo) } else { !fold(pseudo + sum(&bytes[20..])) };
    let value = if value == 0 && tuple.protocol == UDP && !partial_checksum { 0xffff } else { value };
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// What the simulation finds in a frame for the adapter.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Stamped packets, in order (several when the frame was a super-packet).
    Stamped {
        /// Their addresses.
        tuple: Tuple,
        /// Their stamps.
        stamps: Vec<Stamp>,
    },
    /// A TCP reset.
    Reset(Tuple),
    /// An ICMP message.
    Icmp,
    /// Something else that carries no payload of ours.
    Other,
}

/// Takes a frame for the adapter apart and verifies every byte of it.
///
/// # Errors
/// Broken lengths, checksums or payloads.
pub fn parse(frame: &[u8], offload: Offload) -> Result<Parsed, String> {
    if frame.first().map(|byte| byte >> 4) != Some(4) || frame.len() < 20 {
        return Ok(Parsed::Other);
    }
    if fold(sum(&frame[..20])) != 0xffff {
        return Err("the IPv4 header's checksum is wrong".into());
    }
    let protocol = frame[9];
    if protocol == 1 {
        return Ok(Parsed::Icmp);
    }
    let header = match protocol {
        TCP if frame.len() >= 40 => 20 + usize::from(frame[32] >> 4) * 4,
        UDP if frame.len() >= 28 => 28,
        _ => return Ok(Parsed::Other),
    };
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let tuple = Tuple { source: (address(12), word(20)), destination: (address(16), word(22)), protocol };
    if usize::from(word(2)) != frame.len() {
        return Err(format!("IPv4 says {} bytes, the frame has {}", word(2), frame.len()));
    }
    if offload.checksum.is_none() && fold(pseudo_header(frame) + sum(&frame[20..])) != 0xffff {
        return Err(format!("the transport checksum of {tuple:?} is wrong"));
    }
    if protocol == TCP && frame[33] & 0x04 != 0 {
        return Ok(Parsed::Reset(tuple));
    }
    let body = &frame[header.min(frame.len())..];
    let size = match offload.gso {
        Some(Gso::Tcp { size } | Gso::Udp { size }) => usize::from(size),
        None => body.len(),
    };
    let stamps = body.chunks(size.max(1)).map(check_payload).collect::<Result<_, _>>()?;
    Ok(Parsed::Stamped { tuple, stamps })
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn fold(mut value: u64) -> u16 {
    while value > 0xffff {
        value = (value & 0xffff) + (value >> 16);
    }
    u16::try_from(value).unwrap_or(0)
}

fn pseudo_header(packet: &[u8]) -> u64 {
    sum(&packet[12..20]) + u64::from(packet[9]) + (packet.len() as u64 - 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_parses_and_a_changed_byte_is_seen() {
        for protocol in [TCP, UDP] {
            let tuple = Tuple {
                source: (Ipv4Addr::new(100, 96, 0, 1), 4000),
                destination: (Ipv4Addr::new(10, 0, 0, 53), 53),
                protocol,
            };
            let stamp = Stamp { flow: 3, direction: Direction::Down, sequence: 9 };
            let mut bytes = build(tuple, 1, 0x18, &payload(stamp, 333), false);
            assert_eq!(parse(&bytes, Offload::default()), Ok(Parsed::Stamped { tuple, stamps: vec![stamp] }));
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert!(parse(&bytes, Offload::default()).is_err());
        }
    }
}
