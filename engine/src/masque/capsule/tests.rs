//! Rules C1 to C14 and C16 of `docs/masque.md`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use ipnet::IpNet;

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn assigned(request_id: u64, text: &str) -> AssignedAddress {
    AssignedAddress { request_id, prefix: prefix(text) }
}

fn requested(id: u64, text: &str) -> RequestedAddress {
    RequestedAddress { request_id: id.try_into().unwrap(), prefix: prefix(text) }
}

fn range(start: &str, end: &str, protocol: u8) -> IpAddressRange {
    IpAddressRange { start: start.parse().unwrap(), end: end.parse().unwrap(), protocol }
}

/// A capsule of any bytes.
fn capsule(kind: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::encode(kind, &mut out);
    varint::encode(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

/// What `bytes` hold, and what ended it.
fn read(bytes: &[u8]) -> (Vec<String>, Result<(), CapsuleError>) {
    let mut decoder = Decoder::new(Limits::default());
    let (mut input, mut seen) = (bytes, Vec::new());
    loop {
        match decoder.next(&mut input) {
            Ok(Some(capsule)) => seen.push(format!("{capsule:?}")),
            Ok(None) => return (seen, decoder.finish()),
            Err(error) => return (seen, Err(error)),
        }
    }
}

fn error(bytes: &[u8]) -> CapsuleError {
    read(bytes).1.unwrap_err()
}

#[test]
fn rfc_9484_address_layout() {
    let mut out = Vec::new();
    Capsule::AddressAssign(vec![assigned(7, "192.0.2.0/24"), assigned(0, "2001:db8::/32")]).encode(&mut out);
    let v6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(out, [&[0x01, 26, 7, 4, 192, 0, 2, 0, 24, 0, 6][..], &v6, &[32]].concat());
    out.clear();
    Capsule::AddressRequest(vec![requested(1, "0.0.0.0/32")]).encode(&mut out);
    assert_eq!(out, [0x02, 7, 1, 4, 0, 0, 0, 0, 32]);
}

#[test]
fn rfc_9484_route_layout() {
    let mut out = Vec::new();
    let routes = Routes::new(vec![range("192.0.2.0", "192.0.2.255", 17)]).unwrap();
    Capsule::RouteAdvertisement(routes).encode(&mut out);
    assert_eq!(out, [0x03, 10, 4, 192, 0, 2, 0, 192, 0, 2, 255, 17]);
}

#[test]
fn c1_unknown_types_are_skipped() {
    let mut bytes = capsule(0x1234, &[9; 300]);
    encode_grease(5, b"nothing", &mut bytes);
    Capsule::Datagram(&[0, 1, 2]).encode(&mut bytes);
    let mut decoder = Decoder::new(Limits::default());
    let mut input = &bytes[..];
    assert_eq!(decoder.next(&mut input), Ok(Some(Capsule::Datagram(&[0, 1, 2]))));
    assert_eq!((decoder.skipped(), decoder.next(&mut input)), (2, Ok(None)));
    for n in [0, 1, u64::MAX] {
        assert_eq!((grease_type(n) - 0x17) % 0x29, 0);
        assert!(grease_type(n) <= varint::MAX);
    }
}

#[test]
fn c2_entries_are_judged_before_the_capsule_ends() {
    // The version is wrong: nobody waits for the megabyte that was announced.
    let mut bytes = vec![0x01];
    varint::encode(1 << 20, &mut bytes);
    bytes.extend([0, 5]);
    assert_eq!(error(&bytes), CapsuleError::IpVersion { kind: ADDRESS_ASSIGN, got: 5 });
}

#[test]
fn c2_absurd_datagrams_are_discarded_without_buffering() {
    let mut decoder = Decoder::new(Limits::default());
    let mut header = vec![0x00];
    varint::encode(varint::MAX, &mut header);
    assert_eq!(decoder.next(&mut &header[..]), Ok(None));
    for _ in 0..100 {
        assert_eq!(decoder.next(&mut &[0xff; 65_536][..]), Ok(None));
    }
    assert_eq!((decoder.oversize(), decoder.buffered()), (1, 0));
    // The largest packet there is still fits.
    let bytes = capsule(DATAGRAM, &[0; 65_536]);
    let mut input = &bytes[..];
    assert!(matches!(decoder.next(&mut input), Ok(None)), "the absurd one has not ended");
    let mut decoder = Decoder::new(Limits::default());
    let mut input = &bytes[..];
    assert!(matches!(decoder.next(&mut input), Ok(Some(Capsule::Datagram(payload))) if payload.len() == 65_536));
}

#[test]
fn c2_memory_is_bounded_whatever_length_is_announced() {
    let mut decoder = Decoder::new(Limits::default());
    let mut header = vec![0x03];
    varint::encode(varint::MAX, &mut header);
    decoder.next(&mut &header[..]).unwrap();
    let mut last = 0u32;
    let error = loop {
        let range = IpAddressRange { start: ip(last), end: ip(last), protocol: 6 };
        let mut bytes = Vec::new();
        range.encode(&mut bytes);
        last += 2;
        if let Err(error) = decoder.next(&mut &bytes[..]) {
            break error;
        }
    };
    assert_eq!(error, CapsuleError::TooMany { kind: ROUTE_ADVERTISEMENT, most: 4096 });
    assert!(decoder.buffered() <= 8192 * size_of::<IpAddressRange>());

    let many = Capsule::AddressAssign(vec![assigned(0, "10.0.0.1/32"); 257]);
    let mut bytes = Vec::new();
    many.encode(&mut bytes);
    assert_eq!(self::error(&bytes), CapsuleError::TooMany { kind: ADDRESS_ASSIGN, most: 256 });
}

fn ip(bits: u32) -> std::net::IpAddr {
    std::net::Ipv4Addr::from(bits).into()
}

#[test]
fn c3_values_hold_exactly_their_fields() {
    // One byte too few, one too many, for each list.
    for (kind, value) in [
        (ADDRESS_ASSIGN, &[0, 4, 10, 0, 0, 1, 32][..]),
        (ADDRESS_REQUEST, &[1, 4, 10, 0, 0, 1, 32]),
        (ROUTE_ADVERTISEMENT, &[4, 10, 0, 0, 1, 10, 0, 0, 2, 0]),
    ] {
        assert_eq!(read(&capsule(kind, value)).0.len(), 1);
        let short = &value[..value.len() - 1];
        assert_eq!(error(&capsule(kind, short)), CapsuleError::Truncated { kind, got: short.len() });
        let long = [value, &[4]].concat();
        assert_eq!(error(&capsule(kind, &long)), CapsuleError::Truncated { kind, got: 1 });
    }
}

#[test]
fn c3_an_end_inside_a_capsule_is_malformed() {
    let bytes = capsule(DATAGRAM, &[0; 100]);
    for cut in 1..bytes.len() {
        let missing = if cut < 3 { 0 } else { bytes.len() - cut } as u64;
        assert_eq!(error(&bytes[..cut]), CapsuleError::StreamEnded { missing });
    }
    assert_eq!(error(&capsule(0x29, &[0; 9])[..5]), CapsuleError::StreamEnded { missing: 6 });
    assert_eq!(error(&[0x01, 7, 0, 4, 10]), CapsuleError::StreamEnded { missing: 4 });
    assert_eq!(read(&[]).1, Ok(()));
}

#[test]
fn c4_nothing_is_read_behind_an_error() {
    let mut decoder = Decoder::new(Limits::default());
    let mut bytes = capsule(ADDRESS_ASSIGN, &[0, 9]);
    Capsule::Datagram(&[1]).encode(&mut bytes);
    let mut input = &bytes[..];
    let error = CapsuleError::IpVersion { kind: ADDRESS_ASSIGN, got: 9 };
    assert_eq!(decoder.next(&mut input), Err(error));
    assert_eq!(decoder.next(&mut input), Err(error));
    assert_eq!(decoder.finish(), Err(error));
}

#[test]
fn c5_an_empty_assignment_removes_all() {
    assert_eq!(read(&[0x01, 0]), (vec!["AddressAssign([])".to_owned()], Ok(())));
}

#[test]
fn c6_version_prefix_length_and_host_bits() {
    for kind in [ADDRESS_ASSIGN, ADDRESS_REQUEST] {
        let of = |value: &[u8]| error(&capsule(kind, value));
        assert_eq!(of(&[1, 7, 10, 0, 0, 0, 8]), CapsuleError::IpVersion { kind, got: 7 });
        assert_eq!(of(&[1, 4, 10, 0, 0, 0, 33]), CapsuleError::PrefixLength { kind, got: 33, most: 32 });
        let v6 = |prefix_len: u8| [&[1, 6][..], &[0x20; 16], &[prefix_len]].concat();
        assert_eq!(of(&v6(129)), CapsuleError::PrefixLength { kind, got: 129, most: 128 });
        assert_eq!(of(&[1, 4, 10, 0, 0, 1, 31]), CapsuleError::HostBits { kind, prefix_len: 31 });
        assert_eq!(of(&v6(64)), CapsuleError::HostBits { kind, prefix_len: 64 });
        for good in [&[1, 4, 10, 0, 0, 1, 32][..], &[1, 4, 0, 0, 0, 0, 0], &v6(128)] {
            assert_eq!(read(&capsule(kind, good)).1, Ok(()));
        }
    }
}

#[test]
fn c9_request_ids_are_not_zero_and_zero_addresses_mean_any() {
    assert_eq!(error(&capsule(ADDRESS_REQUEST, &[0, 4, 10, 0, 0, 1, 32])), CapsuleError::RequestIdZero);
    assert!(requested(1, "0.0.0.0/24").has_no_preference());
    assert!(!requested(1, "10.0.0.0/24").has_no_preference());
}

#[test]
fn c10_a_request_for_nothing_is_an_error() {
    assert_eq!(error(&[0x02, 0]), CapsuleError::NothingRequested);
}

#[test]
fn c11_a_refusal_is_all_zero_with_full_length() {
    for (wanted, refusal) in [("10.0.0.0/8", "0.0.0.0/32"), ("fd00::/8", "::/128")] {
        let refused = AssignedAddress::refusal(&requested(9, wanted));
        assert_eq!(refused, assigned(9, refusal));
        assert!(refused.is_refusal());
    }
    assert!(!assigned(9, "0.0.0.0/0").is_refusal());
}

#[test]
fn c12_an_empty_advertisement_withdraws_all() {
    assert_eq!(read(&[0x03, 0]), (vec!["RouteAdvertisement(Routes([]))".to_owned()], Ok(())));
}

#[test]
fn c13_ranges_ascend() {
    let (a, b) = (range("10.0.0.0", "10.0.0.9", 6), range("10.0.0.10", "10.0.0.10", 6));
    let (udp, v6) = (range("10.0.0.0", "10.0.0.9", 17), range("::", "::1", 0));
    assert!(Routes::new(vec![a, b, udp, v6]).is_ok());
    for wrong in [vec![b, a], vec![udp, a], vec![v6, a], vec![a, a], vec![a, range("10.0.0.9", "10.0.0.9", 6)]] {
        assert_eq!(Routes::new(wrong.clone()), Err(RouteError::Order { at: 1 }));
        let mut bytes = Vec::new();
        wrong.iter().for_each(|range| range.encode(&mut bytes));
        let error = error(&capsule(ROUTE_ADVERTISEMENT, &bytes));
        assert_eq!(error, CapsuleError::Routes(RouteError::Order { at: 1 }));
    }
    for wrong in [range("10.0.0.2", "10.0.0.1", 0), range("10.0.0.2", "::3", 0)] {
        assert_eq!(Routes::new(vec![wrong]), Err(RouteError::UpsideDown { at: 0 }));
    }
}

#[test]
fn c14_all_protocols_never_overlap_one() {
    let all = range("10.0.0.0", "10.0.0.255", 0);
    for tcp in [
        range("10.0.0.7", "10.0.0.7", 6),
        range("9.0.0.0", "11.0.0.0", 6),
        range("10.0.0.255", "10.0.1.0", 6),
        range("9.0.0.0", "10.0.0.0", 6),
    ] {
        assert_eq!(Routes::new(vec![all, tcp]), Err(RouteError::Overlap { at: 1 }));
        assert_eq!(Routes::normalised([tcp, all]).ranges().iter().filter(|range| range.protocol == 0).count(), 1);
    }
    assert!(Routes::new(vec![all, range("10.0.1.0", "10.0.1.0", 6)]).is_ok());
}

#[test]
fn u6_icmp_may_go_wherever_anything_may() {
    let routes = Routes::new(vec![range("10.0.0.0", "10.0.0.9", 6), range("fd00::", "fd00::f", 17)]).unwrap();
    let may = |address: &str, protocol| routes.contains(address.parse().unwrap(), protocol);
    assert!(may("10.0.0.9", 6) && may("10.0.0.9", 1) && may("fd00::1", 58) && may("fd00::1", 17));
    assert!(!may("10.0.0.9", 17) && !may("10.0.0.10", 1) && !may("fd00::1", 6) && !may("fd00::10", 58));
}

#[test]
fn an_advertisement_can_be_limited_to_prefixes() {
    let all = Routes::normalised([range("0.0.0.0", "255.255.255.255", 6), range("::", "ffff::", 0)]);
    let only = all.within(&[prefix("10.0.0.0/8"), prefix("11.0.0.0/8"), prefix("fd00::/16")]);
    let expected =
        [range("10.0.0.0", "11.255.255.255", 6), range("fd00::", "fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0)];
    assert_eq!(only.ranges(), expected);
    assert!(all.within(&[]).ranges().is_empty());
}
