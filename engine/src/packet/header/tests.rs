#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::packet::testing::{Segment, host, icmp, ip, udp, with_extension_v6, with_options_v4};
use proptest::prelude::*;

fn fragment_v4(packet: &[u8], offset: usize, more: bool) -> Vec<u8> {
    let mut out = packet.to_vec();
    let word = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    out[4..6].copy_from_slice(&99u16.to_be_bytes());
    out[6..8].copy_from_slice(&word.to_be_bytes());
    out
}

fn fragment_header(offset: u16, more: bool) -> [u8; 8] {
    let word = (offset | u16::from(more)).to_be_bytes();
    [0, 0, word[0], word[1], 0, 0, 0, 99]
}

#[test]
fn tcp_facts() {
    for v6 in [false, true] {
        let segment =
            Segment { v6, options: vec![1; 8], flags: Tcp::ACK | Tcp::FIN, tos: 0xb9, ttl: 3, ..Default::default() };
        let mut packet = segment.build();
        let len = packet.len();
        packet.extend([0; 11]); // padding
        let headers = Headers::parse(&packet).unwrap();
        assert_eq!((headers.source, headers.destination), (host(v6, 1), host(v6, 2)));
        assert_eq!((headers.total_len, headers.tos, headers.ttl), (len, 0xb9, 3));
        assert_eq!((headers.protocol, headers.fragment), (TCP, Fragment::Whole));
        let tcp = headers.tcp().unwrap();
        assert_eq!((tcp.source_port, tcp.destination_port, tcp.seq, tcp.ack), (40_000, 443, 1000, 5000));
        assert_eq!((tcp.header_len, tcp.payload_len, tcp.next_seq()), (28, 100, 1101));
    }
}

#[test]
fn udp_and_echo() {
    for v6 in [false, true] {
        let headers = Headers::parse(&udp(v6, (53, 5353), &[])).unwrap();
        assert_eq!(headers.transport, Transport::Udp { source_port: 53, destination_port: 5353 });
        let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
        for (kind, is_reply) in [(request, false), (reply, true)] {
            let headers = Headers::parse(&icmp(v6, kind, 0, &[0x12, 0x34, 0, 1])).unwrap();
            assert_eq!(headers.transport, Transport::Echo { id: 0x1234, reply: is_reply });
        }
    }
}

#[test]
fn ipv4_options_are_skipped_and_source_routes_refused() {
    let packet = Segment::default().build();
    let headers = Headers::parse(&with_options_v4(&packet, &[1, 7, 3, 4])).unwrap();
    assert_eq!((headers.transport_offset, headers.tcp().unwrap().payload_len), (24, 100));
    for kind in [131, 137] {
        let routed = with_options_v4(&packet, &[1, kind, 7, 4, 10, 9, 9, 9]);
        assert_eq!(Headers::parse(&routed), Err(Malformed::SourceRoute));
    }
    // Behind the end of the list, or inside another option, the number means nothing.
    assert!(Headers::parse(&with_options_v4(&packet, &[0, 131, 7, 4])).is_ok());
    assert!(Headers::parse(&with_options_v4(&packet, &[68, 4, 131, 131])).is_ok());
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let mut packet = udp(true, (1, 2), b"hello");
    for (kind, header) in [
        (51, vec![0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]),
        (60, vec![0, 0, 1, 4, 0, 0, 0, 0]),
        (43, vec![0, 0, 0, 0, 0, 0, 0, 0]),
        (44, fragment_header(0, false).to_vec()),
        (0, vec![0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        packet = with_extension_v6(&packet, kind, &header);
        let headers = Headers::parse(&packet).unwrap();
        assert_eq!(headers.transport, Transport::Udp { source_port: 1, destination_port: 2 });
        assert_eq!(headers.fragment, Fragment::Whole);
        assert_eq!(headers.transport_offset, packet.len() - 13);
    }
}

#[test]
fn a_routing_header_with_segments_left_is_refused() {
    let packet = with_extension_v6(&udp(true, (1, 2), b"x"), 43, &[0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(Headers::parse(&packet), Err(Malformed::SourceRoute));
}

#[test]
fn the_extension_walk_is_bounded() {
    let mut packet = udp(true, (1, 2), b"x");
    for _ in 0..extension::MAX_EXTENSIONS {
        packet = with_extension_v6(&packet, 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    }
    assert!(Headers::parse(&packet).is_ok());
    packet = with_extension_v6(&packet, 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(Headers::parse(&packet), Err(Malformed::ExtensionCount));
}

#[test]
fn fragments_of_ipv4() {
    let packet = udp(false, (1, 2), &[0; 64]);
    let first = Headers::parse(&fragment_v4(&packet, 0, true)).unwrap();
    assert_eq!(first.fragment, Fragment::First { id: 99 });
    assert_eq!(first.transport, Transport::Udp { source_port: 1, destination_port: 2 });
    for more in [true, false] {
        let later = Headers::parse(&fragment_v4(&packet, 72, more)).unwrap();
        assert_eq!((later.fragment, later.transport), (Fragment::Later { id: 99 }, Transport::Opaque));
    }
}

#[test]
fn fragments_of_ipv6() {
    let packet = udp(true, (1, 2), &[0; 64]);
    let first = Headers::parse(&with_extension_v6(&packet, 44, &fragment_header(0, true))).unwrap();
    assert_eq!(first.fragment, Fragment::First { id: 99 });
    assert!(matches!(first.transport, Transport::Udp { .. }));
    let later = Headers::parse(&with_extension_v6(&packet, 44, &fragment_header(72, true))).unwrap();
    assert_eq!((later.fragment, later.transport), (Fragment::Later { id: 99 }, Transport::Opaque));
    let twice = with_extension_v6(&packet, 44, &fragment_header(0, true));
    let twice = with_extension_v6(&twice, 44, &fragment_header(0, true));
    assert_eq!(Headers::parse(&twice), Err(Malformed::Fragment));
}

#[test]
fn fragments_that_cheat_are_refused() {
    let packet = Segment { payload: vec![0; 44], ..Default::default() }.build(); // 64 bytes above IP
    // Reaches into the TCP header, ends beyond 65,535 bytes, is no multiple of 8.
    assert_eq!(Headers::parse(&fragment_v4(&packet, 8, false)), Err(Malformed::Fragment));
    assert_eq!(Headers::parse(&fragment_v4(&packet, 65_504, false)), Err(Malformed::Fragment));
    let odd = Segment { payload: vec![0; 45], ..Default::default() }.build();
    assert_eq!(Headers::parse(&fragment_v4(&odd, 800, true)), Err(Malformed::Fragment));
    assert!(Headers::parse(&fragment_v4(&odd, 800, false)).is_ok());
    // A first fragment too short for its transport header.
    let tiny = ip(host(false, 1), host(false, 2), TCP, &[0; 8], None);
    assert_eq!(Headers::parse(&fragment_v4(&tiny, 0, true)), Err(Malformed::Transport));
}

#[test]
fn lengths_that_do_not_fit_are_named() {
    let good = Segment::default().build();
    let broken = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        Headers::parse(&packet)
    };
    assert_eq!(Headers::parse(&[]), Err(Malformed::Empty));
    assert_eq!(broken(0, 0x55), Err(Malformed::Version));
    assert_eq!(broken(0, 0x44), Err(Malformed::IpHeader));
    assert_eq!(broken(2, 0xff), Err(Malformed::TotalLength));
    assert_eq!(broken(3, 19), Err(Malformed::TotalLength));
    assert_eq!(broken(3, 30), Err(Malformed::Transport));
    assert_eq!(broken(32, 0x40), Err(Malformed::TransportLength));
    assert_eq!(broken(9, 17), Err(Malformed::TransportLength)); // TCP's sequence number as a UDP length
    let mut v6 = udp(true, (1, 2), b"x");
    v6[4] = 1;
    assert_eq!(Headers::parse(&v6), Err(Malformed::TotalLength));
    assert_eq!(
        Headers::parse(&with_extension_v6(&udp(true, (1, 2), &[]), 60, &[0, 9, 0, 0, 0, 0, 0, 0])),
        Err(Malformed::Extension)
    );
}

#[test]
fn icmp_errors_name_what_they_quote() {
    for v6 in [false, true] {
        let inner = Segment { v6, payload: vec![7; 500], ..Default::default() }.build();
        let ip_len = if v6 { 40 } else { 20 };
        for quoted in [ip_len + 8, ip_len + 20, inner.len()] {
            let rest = [&[0; 4], &inner[..quoted]].concat();
            let packet = icmp(v6, if v6 { 1 } else { 3 }, 1, &rest);
            let headers = Headers::parse(&packet).unwrap();
            assert!(matches!(headers.transport, Transport::IcmpError { .. }));
            let quote = Headers::parse_quote(&packet, &headers).unwrap();
            assert_eq!((quote.source, quote.destination, quote.protocol), (host(v6, 1), host(v6, 2), TCP));
            let tcp = quote.tcp().unwrap();
            assert_eq!((tcp.source_port, tcp.destination_port, tcp.seq), (40_000, 443, 1000));
        }
        let short = [&[0; 4], &inner[..ip_len + 7]].concat();
        let packet = icmp(v6, if v6 { 1 } else { 3 }, 1, &short);
        let headers = Headers::parse(&packet).unwrap();
        assert_eq!(Headers::parse_quote(&packet, &headers), None);
    }
}

fn check_invariants(bytes: &[u8]) {
    let Ok(headers) = Headers::parse(bytes) else { return };
    assert!(headers.transport_offset <= headers.total_len && headers.total_len <= bytes.len());
    if let Some(tcp) = headers.tcp() {
        assert_eq!(headers.transport_offset + tcp.header_len + tcp.payload_len, headers.total_len);
    }
    if let Some(quote) = Headers::parse_quote(bytes, &headers) {
        assert!(quote.total_len < headers.total_len);
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60]),
        fix: bool,
    ) {
        if fix && bytes.len() >= 40 {
            // Get beyond the first checks.
            bytes[0] = version;
            let (len, at) = if version == 0x60 { (bytes.len() - 40, 4) } else { (bytes.len(), 2) };
            bytes[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
        }
        check_invariants(&bytes);
    }

    #[test]
    fn broken_packets_never_panic(v6: bool, kind in 0u8..4, cut in 0usize..200, at in 0usize..100, value: u8) {
        let inner = Segment { v6, ..Default::default() }.build();
        let mut packet = match kind {
            0 => inner,
            1 => udp(v6, (1, 2), &[5; 64]),
            2 => icmp(v6, if v6 { 1 } else { 3 }, 0, &[&[0; 4], &inner[..]].concat()),
            _ if v6 => with_extension_v6(&inner, 44, &fragment_header(0, true)),
            _ => with_options_v4(&inner, &[1, 1, 1, 0]),
        };
        let whole = packet.len();
        packet.truncate(cut.max(1));
        if cut < whole {
            prop_assert!(Headers::parse(&packet).is_err(), "a cut packet is no packet");
        }
        if let Some(byte) = packet.get_mut(at) {
            *byte = value;
        }
        check_invariants(&packet);
    }
}
