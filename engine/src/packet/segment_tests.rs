#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::packet::Offload;
use crate::packet::testing::{Segment, assert_checksums, udp, with_extension_v6, with_options_v4};
use proptest::prelude::*;

fn cut(bytes: &mut [u8], offload: Offload) -> Result<Vec<Vec<u8>>, SegmentError> {
    let mut packets = Vec::new();
    let count = segments(Frame { bytes, offload }, |packet| packets.push(packet.to_vec()))?;
    assert_eq!(count, packets.len());
    Ok(packets)
}

fn tso(size: u16) -> Offload {
    Offload { gso: Some(Gso::Tcp { size }), checksum: None }
}

#[test]
fn a_tcp_super_packet_becomes_packets() {
    for v6 in [false, true] {
        let payload: Vec<u8> = (0..=254u8).cycle().take(2500).collect();
        let flags = Tcp::ACK | Tcp::PSH | Tcp::FIN | Tcp::CWR;
        let whole = Segment {
            v6,
            payload: payload.clone(),
            flags,
            seq: u32::MAX - 1100,
            id: 65_535,
            options: vec![1; 12],
            ..Default::default()
        };
        let packets = cut(&mut whole.build(), tso(1000)).unwrap();
        let shape: Vec<_> = packets
            .iter()
            .map(|packet| {
                assert_checksums(packet);
                let headers = Headers::parse(packet).unwrap();
                assert_eq!(headers.total_len, packet.len());
                let tcp = *headers.tcp().unwrap();
                (tcp.seq, tcp.flags, tcp.payload_len)
            })
            .collect();
        assert_eq!(
            shape,
            [
                (u32::MAX - 1100, Tcp::ACK | Tcp::CWR, 1000),
                (u32::MAX - 100, Tcp::ACK, 1000),
                (899, Tcp::ACK | Tcp::PSH | Tcp::FIN, 500),
            ]
        );
        let header_len = packets[0].len() - 1000;
        let joined: Vec<u8> = packets.iter().flat_map(|packet| &packet[header_len..]).copied().collect();
        assert_eq!(joined, payload);
        if !v6 {
            let ids: Vec<_> = packets.iter().map(|packet| u16::from_be_bytes([packet[4], packet[5]])).collect();
            assert_eq!(ids, [65_535, 0, 1]);
        }
    }
}

#[test]
fn a_udp_super_packet_becomes_datagrams() {
    for v6 in [false, true] {
        let mut whole = udp(v6, (1, 2), &[9; 1001]);
        let offload = Offload { gso: Some(Gso::Udp { size: 500 }), checksum: None };
        let packets = cut(&mut whole, offload).unwrap();
        let header_len = if v6 { 48 } else { 28 };
        assert_eq!(packets.iter().map(|packet| packet.len() - header_len).collect::<Vec<_>>(), [500, 500, 1]);
        for packet in &packets {
            assert_checksums(packet);
            let len = u16::from_be_bytes([packet[header_len - 4], packet[header_len - 3]]);
            assert_eq!(usize::from(len), packet.len() - header_len + 8);
        }
    }
}

#[test]
fn udp_over_ipv4_without_checksum_stays_without() {
    let mut whole = udp(false, (1, 2), &[9; 600]);
    whole[26..28].fill(0);
    let packets = cut(&mut whole, Offload { gso: Some(Gso::Udp { size: 300 }), checksum: None }).unwrap();
    assert!(packets.iter().all(|packet| packet[26..28] == [0, 0]));
}

#[test]
fn options_and_extension_headers_are_repeated() {
    let v4 = with_options_v4(&Segment { payload: vec![3; 300], ..Default::default() }.build(), &[1, 1, 1, 0]);
    let v6 = Segment { v6: true, payload: vec![3; 300], ..Default::default() }.build();
    let v6 = with_extension_v6(&v6, 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    for mut whole in [v4, v6] {
        let extra = whole[20..24].to_vec();
        let packets = cut(&mut whole, tso(128)).unwrap();
        assert_eq!(packets.len(), 3);
        for packet in packets {
            assert_checksums(&packet);
            assert_eq!(packet[20..24], extra);
        }
    }
}

#[test]
fn a_partial_checksum_is_completed() {
    for v6 in [false, true] {
        for whole in [Segment { v6, ..Default::default() }.build(), udp(v6, (1, 2), b"odd")] {
            let headers = Headers::parse(&whole).unwrap();
            let offset = if headers.protocol == UDP { 6 } else { 16 };
            let start = headers.transport_offset;
            let mut bytes = whole.clone();
            let len = headers.transport_len() as u16;
            let partial = pseudo_header(headers.source, headers.destination, headers.protocol, len).fold();
            bytes[start + offset..start + offset + 2].copy_from_slice(&partial.to_be_bytes());
            let offload = Offload { gso: None, checksum: Some((start as u16, offset as u16)) };
            assert_eq!(cut(&mut bytes, offload).unwrap(), [whole]);
        }
    }
}

#[test]
fn a_udp_checksum_is_never_zero() {
    // Choose the payload such that the sum comes out as all ones.
    let mut bytes = udp(false, (1, 2), &[0, 0]);
    let sum = [bytes[26], bytes[27]];
    bytes[28..30].copy_from_slice(&sum);
    bytes[26..28].fill(0);
    let partial = {
        let headers = Headers::parse(&bytes).unwrap();
        pseudo_header(headers.source, headers.destination, UDP, 10).fold()
    };
    bytes[26..28].copy_from_slice(&partial.to_be_bytes());
    let packets = cut(&mut bytes, Offload { gso: None, checksum: Some((20, 6)) }).unwrap();
    assert_eq!(packets[0][26..28], [0xff, 0xff]);
    assert_checksums(&packets[0]);
}

#[test]
fn what_the_kernel_cannot_mean_is_refused() {
    let tcp = Segment::default().build();
    let udp = udp(false, (1, 2), &[0; 100]);
    assert_eq!(cut(&mut tcp.clone(), tso(0)), Err(SegmentError::ZeroSize));
    assert_eq!(cut(&mut udp.clone(), tso(10)), Err(SegmentError::Protocol));
    let uso = Offload { gso: Some(Gso::Udp { size: 10 }), checksum: None };
    assert_eq!(cut(&mut tcp.clone(), uso), Err(SegmentError::Protocol));
    let mut fragment = udp.clone();
    fragment[6] = 0x20;
    fragment[3] = 20 + 104;
    assert_eq!(cut(&mut fragment, uso), Err(SegmentError::Protocol));
    assert_eq!(cut(&mut [], tso(10)), Err(SegmentError::Malformed(crate::packet::Malformed::Empty)));
    for (start, offset) in [(2000, 0), (0, 2000), (0, 139), (140, 0), (u16::MAX, u16::MAX)] {
        let offload = Offload { gso: None, checksum: Some((start, offset)) };
        let refused = cut(&mut tcp.clone(), offload);
        assert!(matches!(refused, Err(SegmentError::ChecksumRange { len: 140, .. })), "{start}+{offset}: {refused:?}");
    }
    let mut long = Segment { v6: true, ..Default::default() }.build();
    for _ in 0..2 {
        long = with_extension_v6(&long, 60, &[&[0, 15], &[0; 126][..]].concat());
    }
    assert_eq!(cut(&mut long, tso(10)), Err(SegmentError::HeaderLength { got: 40 + 256 + 20 }));
}

#[test]
fn a_bare_ack_is_one_packet() {
    let packet = Segment { payload: Vec::new(), ..Default::default() }.build();
    assert_eq!(cut(&mut packet.clone(), tso(1000)).unwrap(), [packet]);
}

proptest! {
    #[test]
    fn any_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        gso in prop::option::of((any::<bool>(), any::<u16>())),
        checksum in prop::option::of((any::<u16>(), 0u16..400)),
    ) {
        let gso = gso.map(|(tcp, size)| if tcp { Gso::Tcp { size } } else { Gso::Udp { size } });
        let _ = cut(&mut bytes, Offload { gso, checksum });
    }

    #[test]
    fn broken_super_packets_never_panic(v6: bool, tcp: bool, size in 0u16..50, at in 0usize..80, value: u8, keep in 0usize..400) {
        let mut bytes =
            if tcp { Segment { v6, payload: vec![1; 300], ..Default::default() }.build() } else { udp(v6, (1, 2), &[2; 300]) };
        bytes[at] = value;
        bytes.truncate(keep);
        let gso = Some(if tcp { Gso::Tcp { size } } else { Gso::Udp { size } });
        let _ = cut(&mut bytes, Offload { gso, checksum: None });
    }

    #[test]
    fn every_packet_verifies_and_nothing_is_lost(v6: bool, payload in prop::collection::vec(any::<u8>(), 0..4000), size in 1u16..1500) {
        let segment = Segment { v6, payload, ..Default::default() };
        let packets = cut(&mut segment.build(), tso(size)).unwrap();
        let mut joined: Vec<u8> = Vec::new();
        for packet in &packets {
            assert_checksums(packet);
            let headers = Headers::parse(packet).unwrap();
            let tcp = headers.tcp().unwrap();
            prop_assert_eq!(tcp.seq as usize, 1000 + joined.len());
            joined.extend(&packet[headers.total_len - tcp.payload_len..]);
        }
        prop_assert_eq!(joined, segment.payload);
    }

    #[test]
    fn heads_are_whole_blocks_and_the_rest_is_the_frames_own(v6: bool, options in 0usize..11, payload in 0usize..4000, size in 1u16..1500) {
        let whole = Segment { v6, options: vec![1; options * 4], payload: vec![7; payload], ..Default::default() };
        let (mut bytes, mut head) = (whole.build(), Head::new());
        let range = bytes.as_ptr_range();
        let headers = Headers::parse(&bytes).unwrap();
        let cut = Cut::new(Frame { bytes: &mut bytes, offload: tso(size) }, &headers).unwrap();
        for number in 0..cut.count() {
            let rest = cut.packet(number, &mut head);
            prop_assert_eq!(head.bytes().len() + rest.len(), cut.packet_len(number));
            prop_assert!(rest.is_empty() || head.bytes().len() % HEAD_ALIGNMENT == 0);
            prop_assert!(rest.is_empty() || range.contains(&rest.as_ptr()));
        }
    }
}
