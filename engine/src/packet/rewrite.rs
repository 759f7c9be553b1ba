//! Another address and port in a packet's header, its checksums carried along.

use super::header::{Fragment, Headers, TCP, Transport, UDP};
use std::net::IpAddr;

/// Which end of a packet is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

/// Puts `address` and `port` in place of an end's in `packet`, whose headers these are, and returns its headers
/// afterwards. With a `partial` checksum the field holds the pseudo header's sum alone. A later fragment has no ports;
/// of protocols other than TCP and UDP the address alone changes.
///
/// `None`, and nothing written, when the address is of the other IP version.
pub(crate) fn rewrite(
    packet: &mut [u8],
    headers: &Headers,
    (end, address, port): (End, IpAddr, u16),
    partial: bool,
) -> Option<Headers> {
    let mut after = *headers;
    let old = match end {
        End::Source => std::mem::replace(&mut after.source, address),
        End::Destination => std::mem::replace(&mut after.destination, address),
    };
    let mut changes = Change::default();
    match (old, address, end) {
        (IpAddr::V4(old), IpAddr::V4(new), _) => {
            let at = if end == End::Source { 12 } else { 16 };
            changes.words(&old.octets(), &new.octets());
            packet.get_mut(at..at + 4)?.copy_from_slice(&new.octets());
            let sum = packet.get_mut(10..12)?.first_chunk_mut::<2>()?;
            *sum = changes.apply(u16::from_be_bytes(*sum)).to_be_bytes();
        }
        (IpAddr::V6(old), IpAddr::V6(new), _) => {
            let at = if end == End::Source { 8 } else { 24 };
            changes.words(&old.octets(), &new.octets());
            packet.get_mut(at..at + 16)?.copy_from_slice(&new.octets());
        }
        _ => return None,
    }
    if matches!(headers.fragment, Fragment::Later { .. }) {
        return Some(after);
    }
    let field = match headers.protocol {
        TCP => 16,
        UDP => 6,
        _ => return Some(after),
    };
    let transport = packet.get_mut(headers.transport_offset..)?;
    let at = if end == End::Source { 0 } else { 2 };
    let ports = transport.get_mut(at..at + 2)?.first_chunk_mut::<2>()?;
    if !partial {
        changes.words(ports, &port.to_be_bytes());
    }
    *ports = port.to_be_bytes();
    match &mut after.transport {
        Transport::Tcp(tcp) if end == End::Source => tcp.source_port = port,
        Transport::Tcp(tcp) => tcp.destination_port = port,
        Transport::Udp { source_port, .. } if end == End::Source => *source_port = port,
        Transport::Udp { destination_port, .. } => *destination_port = port,
        _ => {}
    }
    let sum = transport.get_mut(field..field + 2)?.first_chunk_mut::<2>()?;
    let before = u16::from_be_bytes(*sum);
    let changed = match (headers.protocol, partial) {
        // A sum, not yet a checksum.
        (_, true) => !changes.apply(!before),
        // RFC 768: none was computed.
        (UDP, false) if before == 0 => 0,
        // RFC 768: a computed zero is sent as all ones.
        (UDP, false) => match changes.apply(before) {
            0 => 0xffff,
            sum => sum,
        },
        (_, false) => changes.apply(before),
    };
    *sum = changed.to_be_bytes();
    Some(after)
}

/// What changed of the bytes under a checksum: RFC 1624's `~m + m'`, summed.
#[derive(Default)]
struct Change(u32);

impl Change {
    /// Bytes of even number; at most some tens, so that the sum cannot overflow.
    fn words(&mut self, old: &[u8], new: &[u8]) {
        for (old, new) in old.chunks_exact(2).zip(new.chunks_exact(2)) {
            self.0 += u32::from(!u16::from_be_bytes([old[0], old[1]]));
            self.0 += u32::from(u16::from_be_bytes([new[0], new[1]]));
        }
    }

    /// RFC 1624 section 3, equation 3: `HC' = ~(~HC + ~m + m')`.
    fn apply(&self, checksum: u16) -> u16 {
        let sum = u32::from(!checksum) + self.0;
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
