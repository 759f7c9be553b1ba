//! The `virtio_net_hdr` in front of every frame of a TUN device with `IFF_VNET_HDR`, and the engine's [`Offload`].

use vestibule_engine::packet::{Gso, Offload};

/// Length of the header, in native byte order: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
pub(super) const HEADER: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;
/// The congestion-window-reduced flag in the 14th byte of a TCP header.
const TCP_CWR: u8 = 0x80;

/// What the host left undone on `frame`; `None` when the header asks for the impossible.
pub(super) fn parse(header: &[u8; HEADER], frame: &[u8]) -> Option<Offload> {
    let [flags, gso_type, _, _, s0, s1, c0, c1, o0, o1] = *header;
    let size = u16::from_ne_bytes([s0, s1]);
    let (start, offset) = (u16::from_ne_bytes([c0, c1]), u16::from_ne_bytes([o0, o1]));
    let checksum = if flags & NEEDS_CHECKSUM == 0 {
        None
    } else if usize::from(start) + usize::from(offset) + 2 <= frame.len() {
        Some((start, offset))
    } else {
        return None;
    };
    let gso = match gso_type & !GSO_ECN {
        GSO_NONE => None,
        _ if size == 0 => return None,
        GSO_TCP4 | GSO_TCP6 => Some(Gso::Tcp { size }),
        GSO_UDP => Some(Gso::Udp { size }),
        _ => return None,
    };
    Some(Offload { gso, checksum })
}

/// The header for a frame of `len` bytes that starts with `head` (at least its headers).
pub(super) fn build(offload: &Offload, head: &[u8], len: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let (start, offset) = offload.checksum.unwrap_or_default();
    if offload.checksum.is_some() {
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
    }
    let Some(gso) = offload.gso else { return header };
    let transport = transport_start(offload, head);
    let (gso_type, size, headers) = match gso {
        Gso::Tcp { size } => {
            let version6 = head.first().is_some_and(|byte| byte >> 4 == 6);
            let cwr = head.get(transport + 13).is_some_and(|flags| flags & TCP_CWR != 0);
            let words = usize::from(head.get(transport + 12).copied().unwrap_or(0x50) >> 4);
            let gso_type = if version6 { GSO_TCP6 } else { GSO_TCP4 } | if cwr { GSO_ECN } else { 0 };
            (gso_type, size, transport + 4 * words)
        }
        Gso::Udp { size } => (GSO_UDP, size, transport + 8),
    };
    header[1] = gso_type;
    let headers = u16::try_from(headers.min(len)).unwrap_or(u16::MAX);
    header[2..4].copy_from_slice(&headers.to_ne_bytes());
    header[4..6].copy_from_slice(&size.to_ne_bytes());
    header
}

/// Where the TCP or UDP header starts: the checksum tells, or else the IP header.
fn transport_start(offload: &Offload, head: &[u8]) -> usize {
    match (offload.checksum, head.first()) {
        (Some((start, _)), _) => usize::from(start),
        (None, Some(first)) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
        _ => 40,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn tcp4(flags: u8) -> Vec<u8> {
        let mut frame = vec![0; 4000];
        frame[0] = 0x45;
        frame[32] = 0x80;
        frame[33] = flags;
        frame
    }

    #[test]
    fn a_tcp_super_packet_survives_both_ways() {
        let frame = tcp4(0);
        let offload = Offload { gso: Some(Gso::Tcp { size: 1380 }), checksum: Some((20, 16)) };
        let header = build(&offload, &frame, frame.len());
        assert_eq!(header[0..2], [NEEDS_CHECKSUM, GSO_TCP4]);
        // 20 bytes of IP, 32 bytes of TCP with its options.
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 52);
        assert_eq!(parse(&header, &frame), Some(offload));
    }

    #[test]
    fn a_reduced_congestion_window_is_announced() {
        let frame = tcp4(TCP_CWR);
        let offload = Offload { gso: Some(Gso::Tcp { size: 1380 }), checksum: Some((20, 16)) };
        assert_eq!(build(&offload, &frame, frame.len())[1], GSO_TCP4 | GSO_ECN);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let frame = [0x45; 40];
        let mut header = [0; HEADER];
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&39u16.to_ne_bytes());
        assert_eq!(parse(&header, &frame), None, "checksum beyond the frame");
        let mut header = [0; HEADER];
        header[1] = GSO_TCP4;
        assert_eq!(parse(&header, &frame), None, "segments of no size");
        header[1] = 3;
        header[4] = 1;
        assert_eq!(parse(&header, &frame), None, "an offload we never asked for");
    }

    proptest! {
        #[test]
        fn whatever_parses_is_inside_the_frame(header: [u8; HEADER], len in 0usize..2000) {
            let frame = vec![0x45; len];
            if let Some(Offload { checksum: Some((start, offset)), .. }) = parse(&header, &frame) {
                prop_assert!(usize::from(start) + usize::from(offset) + 2 <= len);
            }
        }

        #[test]
        fn what_is_built_parses_back(size in 1u16.., version6: bool, udp: bool) {
            let mut frame = vec![0; 3000];
            frame[0] = if version6 { 0x60 } else { 0x45 };
            let start = if version6 { 40 } else { 20 };
            frame[usize::from(start) + 12] = 0x50;
            let gso = Some(if udp { Gso::Udp { size } } else { Gso::Tcp { size } });
            let offload = Offload { gso, checksum: Some((start, if udp { 6 } else { 16 })) };
            prop_assert_eq!(parse(&build(&offload, &frame, frame.len()), &frame), Some(offload));
        }
    }
}
