#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::packet::checksum::{checksum, pseudo_header, transport_verifies};
use crate::packet::testing::{Segment, host, udp};
use proptest::prelude::*;

fn verifies(packet: &[u8], headers: &Headers) -> bool {
    (headers.source.is_ipv6() || checksum(&packet[..20]) == 0)
        && transport_verifies(headers, &packet[headers.transport_offset..])
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Source), Just(End::Destination)]
}

proptest! {
    #[test]
    fn checksums_stay_right(v6: bool, is_tcp: bool, end in ends(), number: u8, port: u16, payload: Vec<u8>) {
        let mut packet = if is_tcp {
            Segment { v6, payload, ..Segment::default() }.build()
        } else {
            udp(v6, (1000, 2000), &payload)
        };
        let before = Headers::parse(&packet).unwrap();
        prop_assert!(verifies(&packet, &before));
        let after = rewrite(&mut packet, &before, (end, host(v6, number), port), false).unwrap();
        prop_assert_eq!(Headers::parse(&packet).unwrap(), after);
        prop_assert!(verifies(&packet, &after));
        prop_assert!(is_tcp || packet[after.transport_offset + 6..][..2] != [0, 0]);
        // And back.
        let (address, port) = match (end, is_tcp) {
            (End::Source, true) => (before.source, 40_000),
            (End::Source, false) => (before.source, 1000),
            (End::Destination, true) => (before.destination, 443),
            (End::Destination, false) => (before.destination, 2000),
        };
        let again = rewrite(&mut packet, &after, (end, address, port), false).unwrap();
        prop_assert_eq!(again, before);
        prop_assert!(verifies(&packet, &again));
    }

    #[test]
    fn a_partial_checksum_is_the_pseudo_headers_of_the_new_addresses(v6: bool, end in ends(), number: u8, port: u16) {
        let mut packet = Segment { v6, payload: vec![7; 5000], ..Segment::default() }.build();
        let before = Headers::parse(&packet).unwrap();
        let len = before.transport_len() as u16;
        let field = before.transport_offset + 16;
        let partial = |headers: &Headers| pseudo_header(headers.source, headers.destination, 6, len).fold();
        packet[field..field + 2].copy_from_slice(&partial(&before).to_be_bytes());
        let after = rewrite(&mut packet, &before, (end, host(v6, number), port), true).unwrap();
        let found = u16::from_be_bytes([packet[field], packet[field + 1]]);
        // All ones and zero are the same number in one's complement.
        prop_assert!(found % 0xffff == partial(&after) % 0xffff, "{:x} {:x}", found, partial(&after));
    }
}

#[test]
fn an_address_of_the_other_version_changes_nothing() {
    let mut packet = Segment::default().build();
    let headers = Headers::parse(&packet).unwrap();
    let before = packet.clone();
    assert_eq!(rewrite(&mut packet, &headers, (End::Source, host(true, 9), 1), false), None);
    assert_eq!(packet, before);
}

#[test]
fn a_udp_datagram_without_a_checksum_gets_none() {
    let mut packet = udp(false, (1, 2), b"x");
    packet[26..28].fill(0);
    let headers = Headers::parse(&packet).unwrap();
    rewrite(&mut packet, &headers, (End::Destination, host(false, 9), 3), false).unwrap();
    assert_eq!(packet[26..28], [0, 0]);
}
