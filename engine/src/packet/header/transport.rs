//! The transport header behind the IP headers.

use super::{Fragment, Headers, ICMP, ICMPV6, Malformed, TCP, Tcp, Transport, UDP};

/// Reads the transport header of `packet`, which ends where its IP header says.
pub(super) fn parse(packet: &[u8], headers: &Headers) -> Result<Transport, Malformed> {
    if matches!(headers.fragment, Fragment::Later { .. }) {
        return Ok(Transport::Opaque);
    }
    let bytes = packet.get(headers.transport_offset..).ok_or(Malformed::Transport)?;
    match headers.protocol {
        TCP => {
            let (fixed, _) = bytes.split_first_chunk::<20>().ok_or(Malformed::Transport)?;
            let header_len = usize::from(fixed[12] >> 4) * 4;
            if header_len < 20 || header_len > bytes.len() {
                return Err(Malformed::TransportLength);
            }
            Ok(Transport::Tcp(Tcp {
                source_port: u16::from_be_bytes([fixed[0], fixed[1]]),
                destination_port: u16::from_be_bytes([fixed[2], fixed[3]]),
                seq: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
                ack: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
                flags: fixed[13],
                header_len,
                payload_len: bytes.len() - header_len,
            }))
        }
        UDP => {
            let (fixed, _) = bytes.split_first_chunk::<8>().ok_or(Malformed::Transport)?;
            let len = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
            let fits = len >= 8 && (len <= bytes.len() || headers.is_fragment());
            if !fits {
                return Err(Malformed::TransportLength);
            }
            Ok(Transport::Udp {
                source_port: u16::from_be_bytes([fixed[0], fixed[1]]),
                destination_port: u16::from_be_bytes([fixed[2], fixed[3]]),
            })
        }
        ICMP | ICMPV6 => icmp(bytes, headers).ok_or(Malformed::Transport),
        _ => Ok(Transport::Opaque),
    }
}

/// The same for the first bytes of a quoted packet: RFC 792 promises eight of them.
pub(super) fn parse_quoted(bytes: &[u8], headers: &Headers) -> Option<Transport> {
    if matches!(headers.fragment, Fragment::Later { .. }) {
        return None;
    }
    match headers.protocol {
        TCP | UDP => {
            let (fixed, _) = bytes.split_first_chunk::<8>()?;
            let source_port = u16::from_be_bytes([fixed[0], fixed[1]]);
            let destination_port = u16::from_be_bytes([fixed[2], fixed[3]]);
            if headers.protocol == UDP {
                return Some(Transport::Udp { source_port, destination_port });
            }
            let seq = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
            Some(Transport::Tcp(Tcp {
                source_port,
                destination_port,
                seq,
                ack: 0,
                flags: 0,
                header_len: 20,
                payload_len: 0,
            }))
        }
        ICMP | ICMPV6 => icmp(bytes, headers),
        _ => Some(Transport::Opaque),
    }
}

/// ICMP for one version inside the other means nothing to either: opaque.
fn icmp(bytes: &[u8], headers: &Headers) -> Option<Transport> {
    let (fixed, _) = bytes.split_first_chunk::<8>()?;
    let id = u16::from_be_bytes([fixed[4], fixed[5]]);
    let error = Transport::IcmpError { quote_offset: headers.transport_offset + 8 };
    Some(match (headers.protocol, headers.source.is_ipv4(), fixed[0]) {
        (ICMP, true, 8) | (ICMPV6, false, 128) => Transport::Echo { id, reply: false },
        (ICMP, true, 0) | (ICMPV6, false, 129) => Transport::Echo { id, reply: true },
        (ICMP, true, 3 | 4 | 5 | 11 | 12) => error,
        // RFC 4443: types below 128 are errors. 137 is a redirect, which quotes inside options: not an error here.
        (ICMPV6, false, kind) if kind < 128 => error,
        (ICMP, true, _) | (ICMPV6, false, _) => Transport::Icmp,
        _ => Transport::Opaque,
    })
}
