//! Properties of the codec: any split, any bytes, any list.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use ipnet::IpNet;
use proptest::prelude::*;
use std::net::IpAddr;

fn prefix() -> impl Strategy<Value = IpNet> {
    (any::<IpAddr>(), any::<u8>()).prop_map(|(address, len)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, len % (most + 1)).unwrap().trunc()
    })
}

/// Ranges in a small space, so that they meet.
fn range() -> impl Strategy<Value = IpAddressRange> {
    (any::<bool>(), 0u8..40, 0u8..20, 0u8..3).prop_map(|(v6, start, len, protocol)| {
        let address = |number: u8| {
            if v6 { IpAddr::from([u16::MAX, 0, 0, 0, 0, 0, 0, number.into()]) } else { IpAddr::from([0, 0, 0, number]) }
        };
        IpAddressRange { start: address(start), end: address(start + len), protocol: [0, 6, 17][usize::from(protocol)] }
    })
}

#[derive(Clone, Debug)]
enum Sent {
    Datagram(Vec<u8>),
    Assign(Vec<AssignedAddress>),
    Request(Vec<RequestedAddress>),
    Routes(Routes),
    Grease(u64, Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let assigned = (0..varint::MAX, prefix()).prop_map(|(request_id, prefix)| AssignedAddress { request_id, prefix });
    let requested = (1..varint::MAX, prefix())
        .prop_map(|(id, prefix)| RequestedAddress { request_id: id.try_into().unwrap(), prefix });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Sent::Datagram),
        prop::collection::vec(assigned, 0..5).prop_map(Sent::Assign),
        prop::collection::vec(requested, 1..5).prop_map(Sent::Request),
        prop::collection::vec(range(), 0..9).prop_map(|ranges| Sent::Routes(Routes::normalised(ranges))),
        (any::<u64>(), prop::collection::vec(any::<u8>(), 0..90)).prop_map(|(n, value)| Sent::Grease(n, value)),
    ]
}

impl Sent {
    fn capsule(&self) -> Option<Capsule<'_>> {
        Some(match self {
            Self::Datagram(payload) => Capsule::Datagram(payload),
            Self::Assign(list) => Capsule::AddressAssign(list.clone()),
            Self::Request(list) => Capsule::AddressRequest(list.clone()),
            Self::Routes(routes) => Capsule::RouteAdvertisement(routes.clone()),
            Self::Grease(..) => return None,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Grease(n, value) => encode_grease(*n, value, out),
            other => other.capsule().unwrap().encode(out),
        }
    }
}

proptest! {
    #[test]
    fn c2_capsules_are_read_at_any_split(
        sent in prop::collection::vec(sent(), 0..8),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let mut bytes = Vec::new();
        sent.iter().for_each(|capsule| capsule.encode(&mut bytes));
        let mut decoder = Decoder::new(Limits::default());
        let mut expected = sent.iter().filter_map(Sent::capsule);
        let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (mut piece, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            rest = tail;
            while let Some(capsule) = decoder.next(&mut piece).unwrap() {
                prop_assert_eq!(Some(capsule), expected.next());
            }
            prop_assert!(piece.is_empty());
        }
        prop_assert!(expected.next().is_none());
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn c3_any_bytes_end_in_capsules_or_one_error(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        kinds in prop::collection::vec((0usize..300, 0u8..4), 0..20),
        cut in 1usize..50,
    ) {
        // Known types and small lengths at random places, or most of it would be skipped.
        for (at, kind) in kinds {
            if let Some(pair) = bytes.get_mut(at..at + 2) {
                pair[0] = kind;
                pair[1] &= 0x1f;
            }
        }
        let run = |size: usize| {
            let (mut decoder, mut seen) = (Decoder::new(Limits::default()), Vec::new());
            for mut piece in bytes.chunks(size) {
                loop {
                    match decoder.next(&mut piece) {
                        Ok(Some(capsule)) => seen.push(format!("{capsule:?}")),
                        Ok(None) => break,
                        Err(error) => return (seen, Err(error)),
                    }
                }
            }
            (seen, decoder.finish())
        };
        prop_assert_eq!(run(cut), run(bytes.len().max(1)), "where it is cut makes no difference");
    }

    #[test]
    fn c14_normalised_ranges_are_valid_and_mean_the_same(ranges in prop::collection::vec(range(), 0..12)) {
        let routes = Routes::normalised(ranges.clone());
        prop_assert_eq!(Routes::new(routes.ranges().to_vec()), Ok(routes.clone()));
        for number in 0..64u8 {
            for address in [IpAddr::from([0, 0, 0, number]), IpAddr::from([u16::MAX, 0, 0, 0, 0, 0, 0, number.into()])] {
                for protocol in [1, 6, 17, 50, 58] {
                    let icmp = matches!(protocol, 1 | 58);
                    let plain = ranges.iter().any(|range| {
                        (icmp || range.protocol == 0 || range.protocol == protocol)
                            && range.start <= address
                            && address <= range.end
                    });
                    prop_assert_eq!(routes.contains(address, protocol), plain);
                }
            }
        }
    }
}
