#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::packet::testing::{Segment, assert_checksums, host, icmp, ip, udp, with_extension_v6};
use proptest::prelude::*;

fn answer_from(packet: &[u8], answerer: Option<IpAddr>) -> Option<Vec<u8>> {
    let headers = Headers::parse(packet).unwrap();
    let mut out = [0xcc; MAX_ANSWER];
    let len = deny(packet, &headers, answerer, &mut out)?;
    assert_checksums(&out[..len]);
    assert_eq!(Headers::parse(&out[..len]).unwrap().total_len, len);
    Some(out[..len].to_vec())
}

fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    answer_from(packet, None)
}

#[test]
fn a_syn_is_refused_as_by_a_closed_port() {
    for v6 in [false, true] {
        let syn = Segment { v6, flags: Tcp::SYN, payload: Vec::new(), ..Default::default() };
        let reply = answer(&syn.build()).unwrap();
        let headers = Headers::parse(&reply).unwrap();
        assert_eq!((headers.source, headers.destination), (host(v6, 2), host(v6, 1)));
        let tcp = headers.tcp().unwrap();
        assert_eq!((tcp.source_port, tcp.destination_port), (443, 40_000));
        assert_eq!((tcp.seq, tcp.ack, tcp.flags), (0, 1001, Tcp::RST | Tcp::ACK));
    }
}

#[test]
fn sequence_numbers_follow_the_rfc() {
    let refused = |flags: u8, payload: usize| {
        let segment = Segment { flags, payload: vec![0; payload], seq: u32::MAX, ..Default::default() };
        let reply = answer(&segment.build()).unwrap();
        let tcp = *Headers::parse(&reply).unwrap().tcp().unwrap();
        (tcp.seq, tcp.ack, tcp.flags)
    };
    assert_eq!(refused(Tcp::ACK, 100), (5000, 0, Tcp::RST));
    assert_eq!(refused(Tcp::SYN | Tcp::ACK, 0), (5000, 0, Tcp::RST));
    assert_eq!(refused(Tcp::SYN, 10), (0, 10, Tcp::RST | Tcp::ACK)); // SYN counts for one, and the space wraps
    assert_eq!(refused(Tcp::FIN, 0), (0, 0, Tcp::RST | Tcp::ACK));
    assert_eq!(refused(0, 4), (0, 3, Tcp::RST | Tcp::ACK));
}

#[test]
fn everything_else_is_administratively_prohibited() {
    for (v6, kind, code, room) in [(false, 3, 13, 576 - 28), (true, 1, 1, 1280 - 48)] {
        for packet in
            [udp(v6, (1, 2), &[1; 20]), udp(v6, (1, 2), &[1; 2000]), icmp(v6, if v6 { 128 } else { 8 }, 0, &[0; 4])]
        {
            let reply = answer(&packet).unwrap();
            let headers = Headers::parse(&reply).unwrap();
            assert_eq!((headers.source, headers.destination), (host(v6, 2), host(v6, 1)));
            let message = &reply[headers.transport_offset..];
            assert_eq!(message[..2], [kind, code]);
            assert_eq!(message[4..8], [0; 4]);
            assert_eq!(message[8..], packet[..packet.len().min(room)]);
        }
    }
}

#[test]
fn the_answerer_speaks_if_it_can() {
    let packet = udp(false, (1, 2), b"x");
    let source = |answerer| Headers::parse(&answer_from(&packet, Some(answerer)).unwrap()).unwrap().source;
    assert_eq!(source(host(false, 9)), host(false, 9));
    assert_eq!(source(host(true, 9)), host(false, 2)); // of the other version: the destination speaks
}

#[test]
fn padding_is_not_quoted() {
    let mut packet = udp(false, (1, 2), b"x");
    let len = packet.len();
    packet.extend([0; 100]);
    assert_eq!(answer(&packet).unwrap().len(), 28 + len);
}

#[test]
fn silence_where_an_answer_is_forbidden() {
    let between = |source: &str, destination: &str| {
        ip(source.parse().unwrap(), destination.parse().unwrap(), 17, &[0, 1, 0, 2, 0, 8, 0, 0], Some(6))
    };
    let tcp_between = |source: &str, destination: &str| {
        let mut segment = [0; 20];
        segment[12..14].copy_from_slice(&[0x50, Tcp::SYN]);
        ip(source.parse().unwrap(), destination.parse().unwrap(), 6, &segment, Some(16))
    };
    for (source, destination) in [
        ("0.0.0.0", "10.0.0.1"),
        ("127.0.0.1", "10.0.0.1"),
        ("224.0.0.5", "10.0.0.1"),
        ("255.255.255.255", "10.0.0.1"),
        ("10.0.0.1", "239.1.1.1"),
        ("10.0.0.1", "255.255.255.255"),
        ("::", "fd00::1"),
        ("::1", "fd00::1"),
        ("ff02::1", "fd00::1"),
        ("fd00::1", "ff02::fb"),
    ] {
        assert_eq!(answer(&between(source, destination)), None, "{source} to {destination}");
        assert_eq!(answer(&tcp_between(source, destination)), None, "{source} to {destination}");
    }
    assert_eq!(answer(&Segment { flags: Tcp::RST | Tcp::ACK, ..Default::default() }.build()), None);
    let inner = udp(false, (1, 2), b"x");
    for kind in [3, 4, 5, 11, 12] {
        assert_eq!(answer(&icmp(false, kind, 0, &[&[0; 4], &inner[..]].concat())), None);
    }
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        assert_eq!(answer(&icmp(true, kind, 0, &[0; 60])), None);
    }
}

#[test]
fn only_a_first_fragment_is_answered_and_by_icmp() {
    let mut first = Segment { payload: vec![0; 44], ..Default::default() }.build();
    first[6] = 0x20;
    assert_eq!(answer(&first).unwrap()[9], ICMP);
    let mut later = first.clone();
    later[7] = 100;
    assert_eq!(answer(&later), None);
    let packet = udp(true, (1, 2), &[0; 64]);
    assert!(answer(&with_extension_v6(&packet, 44, &[0, 0, 0, 1, 0, 0, 0, 1])).is_some());
    assert_eq!(answer(&with_extension_v6(&packet, 44, &[0, 0, 1, 1, 0, 0, 0, 1])), None);
}

#[test]
fn too_big_names_the_mtu() {
    for (v6, kind, code) in [(false, 3, 4), (true, 2, 0)] {
        let packet = Segment { v6, payload: vec![0; 1400], ..Default::default() }.build();
        let mut out = [0; MAX_ANSWER];
        let len = too_big(&packet, &Headers::parse(&packet).unwrap(), 1380, &mut out).unwrap();
        assert_checksums(&out[..len]);
        let headers = Headers::parse(&out[..len]).unwrap();
        let message = &out[headers.transport_offset..len];
        assert_eq!(message[..2], [kind, code]);
        assert_eq!(message[4..8], 1380u32.to_be_bytes());
        assert_eq!(Headers::parse_quote(&out[..len], &headers).unwrap().tcp().unwrap().seq, 1000);
    }
}

#[test]
fn a_live_flow_is_reset() {
    for v6 in [false, true] {
        let (from, to) = (SocketAddr::new(host(v6, 2), 443), SocketAddr::new(host(v6, 1), 40_000));
        for (ack, flags) in [(None, Tcp::RST), (Some(77), Tcp::RST | Tcp::ACK)] {
            let mut out = [0xcc; MAX_ANSWER];
            let len = reset(from, to, 1234, ack, &mut out);
            assert_checksums(&out[..len]);
            let headers = Headers::parse(&out[..len]).unwrap();
            assert_eq!((headers.source, headers.destination), (from.ip(), to.ip()));
            let tcp = headers.tcp().unwrap();
            assert_eq!((tcp.source_port, tcp.destination_port), (443, 40_000));
            assert_eq!((tcp.seq, tcp.ack, tcp.flags), (1234, ack.unwrap_or(0), flags));
            assert_eq!(reset(from, to, 1234, ack, &mut out[..len - 1]), 0);
        }
        assert_eq!(reset(from, SocketAddr::new(host(!v6, 1), 1), 1, None, &mut [0; 100]), 0);
    }
}

proptest! {
    #[test]
    fn an_answer_is_never_answered(v6: bool, flags: u8, tcp: bool, len in 0usize..1300) {
        let segment = Segment { v6, flags, payload: vec![1; len], ..Default::default() };
        let packet = if tcp { segment.build() } else { udp(v6, (1, 2), &segment.payload) };
        if let Some(reply) = answer(&packet) {
            prop_assert_eq!(answer(&reply), None);
        }
    }

    #[test]
    fn any_bytes_and_any_room_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 40..200), v6: bool, room in 0usize..300) {
        bytes[0] = if v6 { 0x60 } else { 0x45 };
        let (len, at) = if v6 { (bytes.len() - 40, 4) } else { (bytes.len(), 2) };
        bytes[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
        if let Ok(headers) = Headers::parse(&bytes) {
            let mut out = vec![0; room];
            for len in [deny(&bytes, &headers, None, &mut out), too_big(&bytes, &headers, 1280, &mut out)].into_iter().flatten() {
                prop_assert!(len <= room);
            }
            // Headers of another packet: no answer, or one, but no panic.
            let _ = deny(&bytes[..20], &headers, None, &mut out);
        }
    }
}
