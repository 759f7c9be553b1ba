#![allow(clippy::unwrap_used)]

use super::*;
use crate::packet::Headers;
use crate::packet::testing::{Segment, assert_checksums, sum_v4, udp};
use Ecn::{Ce, Ect0, Ect1, NotEct};
use proptest::prelude::*;

const ALL: [Ecn; 4] = [NotEct, Ect0, Ect1, Ce];

/// RFC 6040, figure 4, cell by cell: rows are the inner field, columns the outer one, both in the order of [`ALL`].
const TABLE: [[Option<Ecn>; 4]; 4] = [
    [Some(NotEct), Some(NotEct), Some(NotEct), None],
    [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)],
    [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)],
    [Some(Ce), Some(Ce), Some(Ce), Some(Ce)],
];

/// A packet with the type of service `tos`.
fn packet(v6: bool, tos: u8) -> Vec<u8> {
    let mut packet = udp(v6, (1000, 2000), b"payload");
    if v6 {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = tos << 4 | packet[1] & 0x0f;
    } else {
        packet[1] = tos;
        sum_v4(&mut packet);
    }
    packet
}

#[test]
fn the_table_holds_in_every_cell_for_both_families() {
    for (inner, row) in ALL.into_iter().zip(TABLE) {
        for (outer, wanted) in ALL.into_iter().zip(row) {
            assert_eq!(outer.onto(inner), wanted, "inner {inner:?}, outer {outer:?}");
            assert!(outer.changes_inner() || wanted == Some(inner), "inner {inner:?}, outer {outer:?}");
            for v6 in [false, true] {
                // Every DSCP: it is none of the table's business.
                for dscp in 0..64u8 {
                    let mut bytes = packet(v6, dscp << 2 | inner.bits());
                    let before = bytes.clone();
                    assert_eq!(Ecn::of(&bytes), inner);
                    assert_eq!(outer.carry_into(&mut bytes), wanted.is_some());
                    let expected = wanted.map_or(before, |wanted| packet(v6, dscp << 2 | wanted.bits()));
                    assert_eq!(bytes, expected, "inner {inner:?}, outer {outer:?}, DSCP {dscp}, IPv6: {v6}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_packet_is_left_alone() {
    for outer in ALL {
        for bytes in [&[][..], &[0x45], &[0x60], &[0x10, 0xff, 3], &[0x45, 0xff, 0, 20], &[0, 0]] {
            let mut after = bytes.to_vec();
            let _ = outer.carry_into(&mut after);
            assert_eq!(after, bytes);
        }
        assert!(outer.carry_into(&mut [0x10, 0]), "the parser says what is wrong with it");
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut bytes = packet(false, 2);
    bytes[10] ^= 0x40;
    assert!(Ce.carry_into(&mut bytes));
    assert_ne!(crate::packet::checksum::checksum(&bytes[..20]), 0);
}

proptest! {
    /// Whatever the header holds: only the field and the checksum change, and the checksum is right afterwards.
    #[test]
    fn marks_keep_everything_else(v6: bool, tos: u8, ttl: u8, id: u16, outer in 0u8..4, len in 0usize..100) {
        let outer = Ecn::from_tos(outer);
        let mut bytes = Segment { v6, tos, ttl, id, payload: vec![7; len], ..Segment::default() }.build();
        let (before, headers) = (bytes.clone(), Headers::parse(&bytes).unwrap());
        let kept = outer.carry_into(&mut bytes);
        prop_assert_eq!(kept, outer.onto(Ecn::from_tos(tos)).is_some());
        assert_checksums(&bytes);
        let after = Headers::parse(&bytes).unwrap();
        prop_assert_eq!(after.tos & !3, tos & !3);
        prop_assert_eq!(Headers { tos, ..after }, headers);
        if kept {
            prop_assert_eq!(Some(Ecn::from_tos(after.tos)), outer.onto(Ecn::from_tos(tos)));
        } else {
            prop_assert_eq!(bytes, before);
        }
    }
}
